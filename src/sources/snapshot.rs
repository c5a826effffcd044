//! Full dumps: an agency delivers everything it has, and only the difference to what is held becomes updates.
//!
//! An identity that the dump lacks becomes a delete, one with other content the next version, one that is equal nothing. A dump
//! that was not read whole proves no absence, and one that would delete more than a small share needs somebody's word first.

use super::Chunk;
use crate::intake::{Contact, Item, Rejection, Schema};
use dataflows::model::{Date, PersonId, Update};
use dataflows::policy::Register;
use dataflows::policy::file::{NewRecord, Packing, Record};
use dataflows::records::Held;
use hashbrown::HashMap;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The share of what is held that may vanish without a confirmation.
pub const MAX_SHRINK: f64 = 0.02;

/// A dump being compared with what is held.
pub struct Snapshot {
    schema: Arc<Schema>,
    register: u16,
    states: HashMap<(PersonId, Box<str>), State>,
    /// What was alive before the dump.
    alive: u64,
    /// The latest date that the dump itself proves the register to be alive on.
    heard: Date,
    whole: bool,
    difference: Difference,
}

struct State {
    seq: u64,
    fingerprint: u32,
    deleted: bool,
    /// What the dump says of it.
    seen: Option<u32>,
}

/// What a dump changes: the updates of one epoch.
#[derive(Debug, Default)]
pub struct Difference {
    pub updates: Vec<Update>,
    pub contacts: Vec<Contact>,
    pub counts: Counts,
}

/// How many records a dump says what of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub equal: u64,
    pub new: u64,
    pub changed: u64,
    pub deleted: u64,
    /// Absent from the dump, but left alone because the dump was not read whole.
    pub spared: u64,
}

/// What is held and not in the dump: the version that deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    pub person: PersonId,
    pub key: Box<str>,
    pub seq: u64,
}

/// Too much would vanish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub would_vanish: u64,
    pub held: u64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} records held are not in the dump: confirm that they shall be deleted", self.would_vanish, self.held)
    }
}

impl Snapshot {
    /// Begins a dump of a register, given everything that is held of it.
    pub fn new(schema: Arc<Schema>, register: u16, held: impl IntoIterator<Item = Held>) -> Self {
        let state = |held: Held| {
            let Held { person, key, seq, fingerprint, deleted } = held;
            ((person, key), State { seq, fingerprint, deleted, seen: None })
        };
        let states: HashMap<_, _> = held.into_iter().map(state).collect();
        let alive = states.values().filter(|state| !state.deleted).count() as u64;
        Snapshot { schema, register, states, alive, heard: Date::BEFORE_ALL, whole: true, difference: Difference::default() }
    }

    /// Compares a chunk of the dump. What it refuses, as well as what was refused when the chunk was read, has the dump count as
    /// not read whole; the refusals come back.
    pub fn take(&mut self, chunk: Chunk) -> Vec<Rejection> {
        self.whole &= chunk.rejected.is_empty();
        let updates_before = self.difference.updates.len();
        let mut refused = Vec::new();
        for item in chunk.items {
            refused.extend(self.compare(item).err());
        }
        self.take_contacts(chunk.contacts, updates_before);
        refused
    }

    fn compare(&mut self, item: Item) -> Result<(), Rejection> {
        if let Some(seq) = self.version(&item)?
            && let Item::Update(update) = item
        {
            let register = &self.schema.registers[usize::from(self.register)];
            self.difference.updates.push(as_version(register, &update, &Record::read(&update.record), seq));
        }
        Ok(())
    }

    /// Which version a record of the dump is, if it says anything new. One that is refused has the dump count as not read whole.
    pub fn version(&mut self, item: &Item) -> Result<Option<u64>, Rejection> {
        let version = self.judge(item);
        self.whole &= version.is_ok();
        version
    }

    /// Something in the dump could not be read.
    pub fn miss(&mut self) {
        self.whole = false;
    }

    fn judge(&mut self, item: &Item) -> Result<Option<u64>, Rejection> {
        let Item::Update(update) = item else {
            return Err(Rejection::new("register", "a dump has records of its register alone"));
        };
        if update.register != self.register {
            return Err(Rejection::new("register", "a dump has records of its register alone"));
        }
        let record = Record::read(&update.record);
        if record.deleted() {
            return Err(Rejection::new("op", "a dump says what there is: absence is a delete"));
        }
        self.heard = self.heard.max(update.heard);
        let fingerprint = record.fingerprint();
        let packing = &self.schema.registers[usize::from(self.register)].packing;
        let fresh = State { seq: 0, fingerprint, deleted: true, seen: None };
        let state = self.states.entry((update.person, Box::from(record.key(packing)))).or_insert(fresh);
        match state.seen.replace(fingerprint) {
            Some(seen) if seen == fingerprint => return Ok(None),
            Some(_) => return Err(Rejection::new("key", "twice in the dump, with different content")),
            None => {}
        }
        if !state.deleted && state.fingerprint == fingerprint {
            self.difference.counts.equal += 1;
            return Ok(None);
        }
        let next = state.seq.checked_add(1).ok_or_else(|| Rejection::new("seq", "no version is left"))?;
        *(if state.deleted { &mut self.difference.counts.new } else { &mut self.difference.counts.changed }) += 1;
        Ok(Some(next))
    }

    /// Keeps the contacts of the records that changed, under their new version.
    fn take_contacts(&mut self, contacts: Vec<Contact>, updates_before: usize) {
        if contacts.is_empty() {
            return;
        }
        let changed = self.difference.updates[updates_before..].iter();
        let versions: HashMap<PersonId, u64> = changed.map(|update| (update.person, Record::read(&update.record).seq)).collect();
        let versioned = |contact: Contact| versions.get(&contact.person).map(|&seq| Contact { seq, ..contact });
        self.difference.contacts.extend(contacts.into_iter().filter_map(versioned));
    }

    /// Ends the dump: what was alive and is not in it, in order, and the date on which that was heard. More than `max_shrink` of what was alive
    /// may not vanish; 1.0 confirms anything.
    pub fn absences(&mut self, max_shrink: f64) -> Result<(Vec<Absence>, Date), Refusal> {
        let absent = |state: &State| !state.deleted && state.seen.is_none();
        let absence = |((person, key), state): ((PersonId, Box<str>), State)| Absence { person, key, seq: state.seq.saturating_add(1) };
        let mut absences: Vec<Absence> = self.states.drain().filter(|(_, state)| absent(state)).map(absence).collect();
        let would_vanish = absences.len() as u64;
        if !self.whole {
            self.difference.counts.spared = would_vanish;
            return Ok((Vec::new(), self.heard));
        }
        if would_vanish as f64 > max_shrink * self.alive as f64 {
            return Err(Refusal { would_vanish, held: self.alive });
        }
        self.difference.counts.deleted = would_vanish;
        absences.sort_by(|one, other| (one.person, &one.key).cmp(&(other.person, &other.key)));
        Ok((absences, self.heard))
    }

    /// What the dump said of how many records.
    pub fn counts(&self) -> Counts {
        self.difference.counts
    }

    /// Ends the dump, as [`Snapshot::absences`] does: everything that it changes.
    pub fn finish(mut self, max_shrink: f64) -> Result<Difference, Refusal> {
        let (absences, heard) = self.absences(max_shrink)?;
        let is_contact = self.schema.contact.as_ref().is_some_and(|contact| contact.register == self.register);
        let packing = &self.schema.registers[usize::from(self.register)].packing;
        for Absence { person, key, seq } in absences {
            let tombstone = NewRecord { register: self.register, key: &key, seq, deleted: true, event_date: None, shown: 0, fields: &[] };
            self.difference.updates.push(Update { person, register: self.register, heard, record: packed(&tombstone, packing) });
            if is_contact {
                self.difference.contacts.push(Contact { person, seq, phone: String::new(), language: String::new() });
            }
        }
        Ok(self.difference)
    }
}

/// The same record as the version `seq`.
fn as_version(register: &Register, update: &Update, record: &Record<'_>, seq: u64) -> Update {
    let mut values = vec![0; register.packed.len()];
    record.unpack(&register.packing, &mut values);
    let next = NewRecord {
        register: record.register,
        key: &record.key(&register.packing),
        seq,
        deleted: false,
        event_date: record.event_date(),
        shown: record.shown(),
        fields: &values,
    };
    Update { record: packed(&next, &register.packing), ..*update }
}

fn packed(record: &NewRecord<'_>, packing: &Packing) -> Box<[u8]> {
    let mut bytes = Vec::new();
    record.pack(packing, &mut bytes);
    bytes.into_boxed_slice()
}
