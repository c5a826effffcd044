//! Keyed lists of facts, and what follows from each list.

use super::{Outlets, PerEpoch, Restorer, Saver, StoreSize, TURN, Turns, hash, spread};
use crate::model::Epoch;
use hashbrown::HashTable;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// A fact appears under a key (+1) or is no longer there (−1). Under one key a fact is known once or not at all.
pub type Listed<Fact> = (u64, Fact, isize);

/// What follows from everything known under one key: a function of the set of facts, whatever their order.
pub trait Rule: 'static {
    type Fact: Clone + PartialEq + Serialize + DeserializeOwned + 'static;
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
    Lists { rule, table: HashTable::new(), room: 0, size, changed: Vec::new(), turns: Turns::default(), conclusions: Vec::new() }
}

struct List<Fact> {
    key: u64,
    facts: Vec<Fact>,
    /// Whether `changed` holds the list as it was before this epoch.
    changed: bool,
}

struct Lists<R: Rule> {
    rule: R,
    table: HashTable<List<R::Fact>>,
    /// Facts for which all lists together have room.
    room: usize,
    size: Rc<Cell<StoreSize>>,
    /// Lists as they were before this epoch.
    changed: Vec<(u64, Box<[R::Fact]>)>,
    turns: Turns,
    conclusions: Vec<(R::Conclusion, isize)>,
}

/// Short lists grow by what they need: most of millions never grow again.
const SHORT_LIST: usize = 16;

impl<R: Rule> PerEpoch for Lists<R> {
    type Event = Listed<R::Fact>;
    type Outlets = R::Outlets;

    fn receive(&mut self, (key, fact, sign): Listed<R::Fact>, _: &mut R::Outlets) {
        let entry = self.table.entry(hash(key), |list| list.key == key, |list| hash(list.key));
        let mut entry = entry.or_insert_with(|| List { key, facts: Vec::new(), changed: false });
        let List { facts, changed, .. } = entry.get_mut();
        if !*changed {
            *changed = true;
            self.changed.push((key, facts.as_slice().into()));
        }
        if sign > 0 {
            debug_assert!(!facts.contains(&fact), "known once");
            let room = facts.capacity();
            if facts.len() < SHORT_LIST {
                facts.reserve_exact(1);
            }
            facts.push(fact);
            self.room += facts.capacity() - room;
        } else {
            let position = facts.iter().position(|known| *known == fact).expect("only what is known can be gone");
            facts.swap_remove(position);
        }
    }

    fn answer(&mut self, _: Epoch, out: &mut R::Outlets) -> bool {
        let part = self.turns.next(self.changed.len());
        for (key, before) in &mut self.changed[part] {
            let (key, before) = (*key, std::mem::take(before));
            let Ok(mut entry) = self.table.find_entry(hash(key), |list| list.key == key) else { continue };
            let list = entry.get_mut();
            list.changed = false;
            self.rule.conclude(key, &before, &mut |conclusion| self.conclusions.push((conclusion, -1)));
            self.rule.conclude(key, &list.facts, &mut |conclusion| self.conclusions.push((conclusion, 1)));
            if list.facts.is_empty() {
                self.room -= list.facts.capacity();
                entry.remove();
            }
            differential_dataflow::consolidation::consolidate(&mut self.conclusions);
            self.conclusions.drain(..).for_each(|(conclusion, sign)| self.rule.tell(key, conclusion, sign, out));
        }
        if self.turns.more(self.changed.len()) {
            return true;
        }
        self.changed.clear();
        self.changed.shrink_to(TURN);
        self.measure();
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put_all(self.table.iter(), |saver, list| {
            saver.put(&list.key)?;
            saver.put(&list.facts)
        })
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        restorer.get_all(|restorer| {
            let key = restorer.get()?;
            let mut facts: Vec<R::Fact> = restorer.get()?;
            if restorer.is_due(spread(key)) {
                facts.shrink_to_fit();
                self.room += facts.capacity();
                self.table.insert_unique(hash(key), List { key, facts, changed: false }, |list| hash(list.key));
            }
            Ok(())
        })?;
        self.measure();
        Ok(())
    }
}

impl<R: Rule> Lists<R> {
    fn measure(&self) {
        let bytes = self.table.allocation_size() + self.room * size_of::<R::Fact>();
        self.size.set(StoreSize { keys: self.table.len() as u64, bytes: bytes as u64 });
    }
}
