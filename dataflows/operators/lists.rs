//! Keyed lists of facts, and what follows from each list.

use super::{Outlets, PerEpoch, Place, ROOM, Restorer, Saver, Shelf, StoreSize, Table, Turns, hash, spread};
use crate::policy::file::{read_varint, write_varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

/// What has a short form in bytes that says by itself where it ends.
pub trait Packed: Sized {
    fn pack(&self, out: &mut Vec<u8>);
    /// Reads what [`pack`](Self::pack) wrote, from a position, which then is behind it.
    fn unpack(bytes: &[u8], at: &mut usize) -> Self;
}

/// A fact appears under a key (+1) or is no longer there (−1). Under one key a fact is known once or not at all.
pub type Listed<Fact> = (u64, Fact, isize);

/// What follows from everything known under one key: a function of the set of facts, whatever their order.
pub trait Rule: 'static {
    type Fact: Packed + Clone + PartialEq + Serialize + DeserializeOwned + 'static;
    type Conclusion: Ord + 'static;
    type Outlets: Outlets;

    /// Draws the conclusions from what is known under `key`.
    fn conclude(&self, key: u64, known: &[Self::Fact], conclusions: &mut dyn FnMut(Self::Conclusion));
    /// Hands on a conclusion that is now drawn (+1) or no longer drawn (−1).
    fn tell(&self, key: u64, conclusion: Self::Conclusion, sign: isize, out: &mut Self::Outlets);
}

/// Keeps the lists and tells, after each epoch, which conclusions are new and which are gone. Conclusions are not kept: those
/// drawn before are drawn again from the list as it was. `size` always says how much is held.
pub fn lists<R: Rule>(rule: R, size: Rc<Cell<StoreSize>>) -> impl PerEpoch<Event = Listed<R::Fact>, Outlets = R::Outlets> {
    Lists {
        rule,
        table: Table::default(),
        shelf: Shelf::default(),
        size,
        changed: Vec::new(),
        turns: Turns::default(),
        known: Vec::new(),
        packed: Vec::new(),
        conclusions: Vec::new(),
    }
}

struct Lists<R: Rule> {
    rule: R,
    /// By key: the list, packed as below.
    table: Table<Place>,
    shelf: Shelf,
    size: Rc<Cell<StoreSize>>,
    /// Lists as they were before this epoch, packed.
    changed: Vec<(u64, Box<[u8]>)>,
    turns: Turns,
    /// Room for the facts of a list, and for one packed.
    known: Vec<R::Fact>,
    packed: Vec<u8>,
    conclusions: Vec<(R::Conclusion, isize)>,
}

/// A packed list: whether it changed in this epoch, its key, its facts.
#[derive(Clone, Copy)]
struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// Packs an empty list.
    fn begin(key: u64, out: &mut Vec<u8>) {
        out.clear();
        out.push(0);
        write_varint(out, key);
    }

    fn key(self) -> u64 {
        read_varint(self.0, &mut 1)
    }

    fn has_changed(self) -> bool {
        self.0[0] != 0
    }

    /// Where its facts begin.
    fn head(self) -> usize {
        let mut at = 1;
        read_varint(self.0, &mut at);
        at
    }

    /// Its facts, and where each is.
    fn facts<Fact: Packed>(self) -> impl Iterator<Item = (Fact, Range<usize>)> + 'a {
        let mut at = self.head();
        std::iter::from_fn(move || {
            let from = at;
            (from < self.0.len()).then(|| (Fact::unpack(self.0, &mut at), from..at))
        })
    }
}

impl<R: Rule> PerEpoch for Lists<R> {
    type Event = Listed<R::Fact>;
    type Outlets = R::Outlets;

    fn receive(&mut self, (key, fact, sign): Listed<R::Fact>, _: &mut R::Outlets) {
        let Lists { table, shelf, changed, packed, .. } = self;
        let found = table.find_mut(hash(key), |place| List(shelf.get(*place)).key() == key);
        match &found {
            Some(place) => {
                packed.clear();
                packed.extend_from_slice(shelf.get(**place));
            }
            None => List::begin(key, packed),
        }
        if !List(packed).has_changed() {
            changed.push((key, packed.as_slice().into()));
            packed[0] = 1;
        }
        if sign > 0 {
            debug_assert!(!List(packed).facts::<R::Fact>().any(|(known, _)| known == fact), "known once");
            fact.pack(packed);
        } else {
            let known = List(packed).facts::<R::Fact>().find(|(known, _)| *known == fact);
            let (_, stretch) = known.expect("only what is known can be gone");
            packed.drain(stretch);
        }
        match found {
            Some(place) => shelf.replace(place, packed),
            None => {
                let place = shelf.put(packed);
                table.insert(hash(key), place, |place| hash(List(shelf.get(*place)).key()));
            }
        }
    }

    fn answer(&mut self, out: &mut R::Outlets) -> bool {
        let part = self.turns.next(self.changed.len());
        let Lists { rule, table, shelf, changed, known, packed, conclusions, .. } = self;
        for (key, before) in &mut changed[part] {
            let (key, before) = (*key, std::mem::take(before));
            let Some(place) = table.find_mut(hash(key), |place| List(shelf.get(*place)).key() == key) else { continue };
            packed.clear();
            packed.extend_from_slice(shelf.get(*place));
            packed[0] = 0;
            for (list, sign) in [(List(&before), -1), (List(packed), 1)] {
                known.clear();
                known.extend(list.facts().map(|(fact, _)| fact));
                rule.conclude(key, known, &mut |conclusion| conclusions.push((conclusion, sign)));
            }
            if known.is_empty() {
                let empty = *place;
                table.remove(hash(key), |place| *place == empty);
                shelf.free(empty);
            } else {
                shelf.replace(place, packed);
            }
            differential_dataflow::consolidation::consolidate(conclusions);
            conclusions.drain(..).for_each(|(conclusion, sign)| rule.tell(key, conclusion, sign, out));
        }
        if self.turns.more(self.changed.len()) {
            return true;
        }
        self.changed.clear();
        self.changed.shrink_to(ROOM);
        self.measure();
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put_all(self.table.iter(), |saver, place| saver.put_bytes(self.shelf.get(*place)))
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        restorer.get_all(|restorer| {
            let Lists { table, shelf, packed, .. } = self;
            packed.clear();
            packed.extend_from_slice(restorer.get_bytes()?);
            let key = List(packed).key();
            if restorer.is_due(spread(key)) {
                let place = shelf.put(packed);
                table.insert(hash(key), place, |place| hash(List(shelf.get(*place)).key()));
            }
            Ok(())
        })?;
        self.measure();
        Ok(())
    }
}

impl<R: Rule> Lists<R> {
    fn measure(&self) {
        let bytes = self.table.bytes() + self.shelf.bytes();
        self.size.set(StoreSize { keys: self.table.len() as u64, bytes: bytes as u64 });
    }
}
