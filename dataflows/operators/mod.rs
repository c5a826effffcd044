//! What the substrate lacks: operators that keep keyed state of their own and answer once an epoch is complete.
//!
//! An operator costs an epoch nothing unless something reaches it: it is woken by events, and by the progress of others only
//! while it holds events to answer ([`FrontierInterest::IfCapability`]).

mod kept;
mod lists;
mod rooms;
mod shelf;
mod table;

pub use kept::{Restorer, Saver, Sink, Source};
pub use lists::{Listed, Packed, Rule, lists};
pub use rooms::{Entrance, Flow, Kept, Outlets, Passage, Room, Site, build};
pub use shelf::{Place, Shelf};
pub use table::{Column, Table};

use std::io;
use std::ops::Range;

/// State that takes in events as they come, and answers when no more can come for their epoch.
///
/// Exactly one epoch is in flight (the engine closes an epoch only when the one before is through), so events may change
/// the state on arrival, before their epoch is complete.
pub trait PerEpoch: 'static {
    type Event: 'static;
    /// What is said, and to whom: a buffer for each stream that leaves.
    type Outlets: Outlets;

    /// Has memory fetch what these events will need, which are taken in next: all of it at the same time.
    fn expect(&self, _events: &[Self::Event]) {}

    /// Takes in one event, and says what does not depend on those still to come.
    fn receive(&mut self, event: Self::Event, out: &mut Self::Outlets);

    /// Gives (part of) the answer to the events received; true when there is more to give. An operator that gives in parts
    /// lets those behind it work in between, so that a load does not pile up in channels.
    fn answer(&mut self, out: &mut Self::Outlets) -> bool;

    /// Writes what is held between epochs.
    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()>;

    /// Takes in what the same state wrote, where nothing is held yet; if several parts were written, one after the other.
    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()>;
}

/// So many events or keys are looked at together beforehand. Where each of them is in memory depends on where it was found before, so one after
/// the other a store of millions keeps a processor waiting; of several it waits for all at once.
pub const TOGETHER: usize = 32;

/// How many keys an operator answers for before those behind it work.
pub const TURN: usize = 4096;

/// Lists that are longer for once give their room back.
pub const ROOM: usize = 1 << 14;

/// How far an answer that is given in parts has come.
#[derive(Default)]
pub struct Turns {
    done: usize,
}

impl Turns {
    /// Whether nothing of the answer was given yet.
    pub fn is_first(&self) -> bool {
        self.done == 0
    }

    /// The part that is due now, of so many.
    pub fn next(&mut self, count: usize) -> Range<usize> {
        let start = self.done;
        self.done = count.min(start + TURN);
        start..self.done
    }

    /// Whether more is due, now that there are so many; if not, the next answer starts anew.
    pub fn more(&mut self, count: usize) -> bool {
        let more = self.done < count;
        if !more {
            self.done = 0;
        }
        more
    }
}

/// How much a keyed store holds, without what the allocator adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    pub keys: u64,
    pub bytes: u64,
}

impl std::ops::AddAssign for StoreSize {
    fn add_assign(&mut self, other: Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
    }
}

/// Spreads keys over workers: neighbouring numbers must not share one.
pub fn spread(key: u64) -> u64 {
    hash(key) >> 32
}

/// Hashes keys for tables, which look at the lowest and the highest bits.
pub fn hash(key: u64) -> u64 {
    let product = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ product >> 32
}
