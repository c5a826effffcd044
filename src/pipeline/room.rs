//! Room for what was taken in and the engine does not have yet: whoever brings more than there is room for is asked to come again. What of it is durable
//! waits in the backlog: on the first day of a quarter the engine is at work for minutes, and who brings little meanwhile is not kept waiting for that.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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

/// Bytes of epochs that may be durable before the engine has taken them in; beyond, the scribe waits, and with it the doors.
const BACKLOG_BYTES: usize = 64 << 20;
/// What an epoch takes beside its entries, about.
const EPOCH_BYTES: usize = 1 << 10;

/// How much is durable that the engine does not have yet.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<(Mutex<usize>, Condvar)>);

impl Backlog {
    /// Counts an epoch that has so many bytes in memory.
    pub fn add(&self, bytes: usize) -> Waiting {
        let bytes = bytes + EPOCH_BYTES;
        *self.bytes() += bytes;
        Waiting { backlog: self.clone(), bytes }
    }

    /// Waits until there is room for more.
    pub fn wait_for_room(&self) {
        drop(self.0.1.wait_while(self.bytes(), |bytes| *bytes > BACKLOG_BYTES).unwrap_or_else(PoisonError::into_inner));
    }

    fn bytes(&self) -> MutexGuard<'_, usize> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An epoch that waits for the engine until this is dropped.
pub(super) struct Waiting {
    backlog: Backlog,
    bytes: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.backlog.bytes() -= self.bytes;
        self.backlog.0.1.notify_all();
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).max(1)
}
