//! Room for what was taken in and the engine does not have yet: whoever brings more than there is room for is asked to come again.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that are taken in at a time.
const ROOM_BYTES: usize = 256 << 20;
/// Room is given by this unit.
const UNIT_BYTES: usize = 4 << 10;

/// All the room there is.
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(ROOM_BYTES / UNIT_BYTES)))
    }
}

impl Room {
    /// Takes so many bytes of it, if they are there.
    pub fn take(&self, bytes: usize) -> Option<Held> {
        self.0.clone().try_acquire_many_owned(units(bytes) as u32).ok().map(Held)
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        ROOM_BYTES - self.0.available_permits() * UNIT_BYTES
    }
}

/// Room that is taken until this is dropped.
pub struct Held(OwnedSemaphorePermit);

impl Held {
    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        drop(self.0.split(self.0.num_permits().saturating_sub(units(bytes))));
    }

    pub(super) fn join(&mut self, other: Held) {
        self.0.merge(other.0);
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).max(1)
}
