//! The files of a worker's people: one keyed store, written by the first room, read by those behind; and what of it changed in the epoch in
//! flight.

use crate::model::{Date, HouseholdKey, Ignored, Membership, PersonId, Role, Update};
use crate::operators::{Column, Place, ROOM, Restorer, Saver, Shelf, StoreSize, TOGETHER, Table, hash, spread};
use crate::policy::file::{self, Identity, Record};
use crate::policy::versions::{Shared, Versions};
use crate::policy::{Environment, Policy};
use crate::records::{Circumstances, Verdict, judge_version};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// A change of somebody's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FileEvent {
    /// A version of a record that the person owns.
    Version(Update),
    /// The winning version of a record of global identity that names the person.
    Put(PersonId, Box<[u8]>),
    /// That record names the person no longer, or is deleted.
    Remove(PersonId, u16, Box<str>),
    /// New circumstances for the worker of this index.
    Circumstances(u64, Box<Circumstances>),
    /// On the worker of this index, nobody is looked at before the next epoch ends.
    Hold(u64),
}

impl FileEvent {
    /// Whom it is about, if it is about somebody.
    pub fn person(&self) -> Option<PersonId> {
        match self {
            FileEvent::Version(update) => Some(update.person),
            FileEvent::Put(person, _) | FileEvent::Remove(person, ..) => Some(*person),
            FileEvent::Circumstances(..) | FileEvent::Hold(_) => None,
        }
    }

    /// The worker on which the event is due.
    pub fn route(&self) -> u64 {
        match self {
            FileEvent::Version(update) => spread(update.person),
            FileEvent::Put(person, _) | FileEvent::Remove(person, ..) => spread(*person),
            FileEvent::Circumstances(worker, _) | FileEvent::Hold(worker) => *worker,
        }
    }
}

/// So many registers are few. What an employer pays a month for somebody comes in three or four.
const FEW: usize = 6;

/// A few registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterSet {
    /// In no order; those beyond the count are zero.
    registers: [u16; FEW],
    count: u8,
}

impl RegisterSet {
    fn of(register: u16) -> Self {
        let mut registers = [0; FEW];
        registers[0] = register;
        RegisterSet { registers, count: 1 }
    }

    pub fn as_slice(&self) -> &[u16] {
        &self.registers[..usize::from(self.count)]
    }

    /// With others, unless that is too many.
    fn with(mut self, others: RegisterSet) -> Option<RegisterSet> {
        for register in others.as_slice() {
            if !self.as_slice().contains(register) {
                *self.registers.get_mut(usize::from(self.count))? = *register;
                self.count += 1;
            }
        }
        Some(self)
    }
}

/// What of a person changed in the epoch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Nothing that rules read.
    Nothing,
    /// Records of few registers, in their file.
    Records(RegisterSet),
    /// More than that: their date came, they have another place, records of many registers.
    Much,
}

impl Cause {
    fn join(&mut self, other: Cause) {
        *self = match (*self, other) {
            (Cause::Nothing, cause) | (cause, Cause::Nothing) => cause,
            (Cause::Records(some), Cause::Records(others)) => some.with(others).map_or(Cause::Much, Cause::Records),
            _ => Cause::Much,
        };
    }
}

/// A person as they were before the epoch in flight.
struct Changed {
    slot: u32,
    cause: Cause,
    /// Whether declared faults may have come or gone, for which nobody has looked yet.
    faults_left: bool,
    /// `None`: the same as now (the person was only woken by their date).
    file: Option<Was>,
    membership: Membership,
    /// The first date on which composition may place the person otherwise; set by the room that looks at people.
    horizon: Date,
    /// Whether composition gave the person a place in this epoch.
    placed: bool,
}

/// A file as it was before the epoch in flight.
#[derive(Clone)]
struct Was {
    /// Where it stands in [`Files::were`].
    at: Range<usize>,
    /// What it shares with the file that is.
    shared: Shared,
    /// Whether a record that differs is disputed.
    disputed: bool,
    /// The latest date of one that is not deleted.
    latest: Date,
}

/// Everything that is kept of one person: 32 bytes beside the records.
pub struct Entry {
    pub person: PersonId,
    /// Where the live records are, packed: see [`Files::file`].
    file: Place,
    household: HouseholdKey,
    role: Role,
    /// The next date on which something may change by itself.
    pub wake: Date,
    /// Position in [`Files::changed`] during an epoch, else [`UNCHANGED`].
    changed: u32,
}

const UNCHANGED: u32 = u32::MAX;

/// Most files are shorter.
const WAS_BYTES: usize = 512;

impl Entry {
    /// Where the person stands.
    pub fn membership(&self) -> Membership {
        Membership { household: self.household, role: self.role }
    }

    fn stand(&mut self, Membership { household, role }: Membership) {
        (self.household, self.role) = (household, role);
    }
}

/// The keyed store of one worker's people.
pub struct Files {
    policy: Arc<Policy>,
    index: Table<u32>,
    pub entries: Column<Entry>,
    shelf: Shelf,
    /// Room for one file, and for the fields of one record.
    packed: Vec<u8>,
    fields: Vec<i64>,
    /// Who is to be looked at in this epoch, as they were before.
    changed: Vec<Changed>,
    /// The files of these as they were, one after the other.
    were: Vec<u8>,
    /// Everybody is to be looked at in this epoch.
    everybody: bool,
    /// Then: when composition may place them otherwise, by slot.
    horizons: Vec<Date>,
    /// Whether anything was ever said of anybody. Before, nobody needs to be remembered as they were.
    spoken: bool,
    calendar: BTreeMap<Date, Vec<u32>>,
    /// Records held, tombstones included.
    pub records: u64,
    /// Versions that changed nothing, of the epoch in flight.
    pub ignored: Ignored,
}

/// The store, shared by the rooms of one worker; never by two workers.
pub type SharedFiles = Rc<RefCell<Files>>;

impl Files {
    /// Nobody's files yet.
    pub fn new(policy: Arc<Policy>) -> Files {
        let fields = policy.registers.iter().map(|register| register.packed.len()).max().unwrap_or(0);
        Files {
            policy,
            index: Table::default(),
            entries: Column::default(),
            shelf: Shelf::default(),
            packed: Vec::new(),
            fields: vec![0; fields],
            changed: Vec::new(),
            were: Vec::new(),
            everybody: false,
            horizons: Vec::new(),
            spoken: false,
            calendar: BTreeMap::new(),
            records: 0,
            ignored: Ignored::default(),
        }
    }

    /// What the store takes beside the packed files, and the packed files.
    pub fn sizes(&self) -> (StoreSize, StoreSize) {
        let waiting: usize = self.calendar.values().map(|slots| slots.capacity() * size_of::<u32>()).sum();
        let entries = self.entries.bytes() + self.index.bytes();
        let size = |bytes: usize| StoreSize { keys: self.entries.len() as u64, bytes: bytes as u64 };
        (size(entries + waiting), size(self.shelf.bytes()))
    }

    /// The live records of the person of a slot, packed.
    pub fn file(&self, slot: u32) -> &[u8] {
        self.file_of(&self.entries[slot])
    }

    /// The same of an entry.
    pub fn file_of(&self, entry: &Entry) -> &[u8] {
        self.shelf.get(entry.file)
    }

    /// Has memory fetch the files of so many people.
    pub fn expect(&self, people: impl Iterator<Item = PersonId>) {
        let (mut slots, mut count) = ([0; TOGETHER], 0);
        for slot in people.filter_map(|person| self.index.candidate(hash(person)).copied()).take(TOGETHER) {
            slots[count] = slot;
            count += 1;
        }
        self.expect_slots(&slots[..count]);
    }

    /// The same of those of these slots.
    pub fn expect_slots(&self, slots: &[u32]) {
        let (mut places, mut rest) = ([Place::default(); TOGETHER], slots);
        while !rest.is_empty() {
            let (some, others) = rest.split_at(rest.len().min(TOGETHER));
            for (place, slot) in places.iter_mut().zip(some) {
                *place = self.entries[*slot].file;
            }
            places[..some.len()].iter().for_each(|place| self.shelf.fetch(*place));
            rest = others;
        }
    }

    /// The slot of a person, if anything is known of them.
    pub fn find(&self, person: PersonId) -> Option<u32> {
        self.index.find(hash(person), |&slot| self.entries[slot].person == person).copied()
    }

    /// The slot of a person, made where there is none.
    pub fn slot(&mut self, person: PersonId) -> u32 {
        if let Some(slot) = self.find(person) {
            return slot;
        }
        let slot = self.entries.len() as u32;
        let Membership { household, role } = Membership::OUTSIDE;
        let entry = Entry { person, file: Place::default(), household, role, wake: Date::NEVER, changed: UNCHANGED };
        self.entries.push(entry);
        let entries = &self.entries;
        self.index.insert(hash(person), slot, |&slot| hash(entries[slot].person));
        slot
    }

    /// Notes that a person must be looked at again, and returns them as they were, if that matters.
    fn touch(&mut self, slot: u32, cause: Cause) -> Option<&mut Changed> {
        if !self.spoken {
            return None;
        }
        let entry = &mut self.entries[slot];
        if entry.changed == UNCHANGED {
            entry.changed = self.changed.len() as u32;
            let (membership, horizon) = (entry.membership(), entry.wake);
            self.changed.push(Changed { slot, cause: Cause::Nothing, faults_left: false, file: None, membership, horizon, placed: false });
        }
        let changed = &mut self.changed[entry.changed as usize];
        changed.cause.join(cause);
        Some(changed)
    }

    /// The few registers whose records alone changed in somebody's file in this epoch, if nothing else about them did.
    pub fn only_changed(&self, slot: u32) -> Option<RegisterSet> {
        match self.changed.get(self.entries[slot].changed as usize)?.cause {
            Cause::Records(registers) if !self.everybody => Some(registers),
            _ => None,
        }
    }

    /// Leaves it to whoever measures a person to look for declared faults that came or went.
    pub fn leave_faults(&mut self, slot: u32) {
        if let Some(changed) = self.touch(slot, Cause::Nothing) {
            changed.faults_left = true;
        }
    }

    /// Whether that was left.
    pub fn faults_left(&self, slot: u32) -> bool {
        self.changed.get(self.entries[slot].changed as usize).is_some_and(|changed| changed.faults_left)
    }

    /// Whether nothing about a person changed in this epoch, and their date has not come.
    pub fn is_unchanged(&self, slot: u32) -> bool {
        self.entries[slot].changed == UNCHANGED
    }

    /// Has everybody looked at in this epoch.
    pub fn touch_everybody(&mut self) {
        self.everybody = true;
    }

    /// How many people are to be looked at in this epoch, as far as it is known.
    pub fn touched(&self) -> usize {
        if self.everybody { self.entries.len() } else { self.changed.len() }
    }

    /// The slot of the person who is looked at in this turn.
    pub fn touched_slot(&self, turn: usize) -> u32 {
        if self.everybody { turn as u32 } else { self.changed[turn].slot }
    }

    /// The file of somebody before this epoch, and now.
    pub fn versions(&self, slot: u32) -> Versions<'_> {
        let now = self.file(slot);
        let shared = self.was(slot).map_or(Shared { head: now.len(), tail: 0 }, |was| was.shared);
        Versions { files: [self.before(slot).0, now], shared }
    }

    /// Whether a record of somebody that came or went in this epoch is disputed, or waits for a date after this one.
    pub fn waits_or_is_disputed(&self, slot: u32, today: Date) -> bool {
        self.was(slot).is_some_and(|was| was.disputed || was.latest > today)
    }

    /// What is known of the file before this epoch, if it was another one.
    fn was(&self, slot: u32) -> Option<&Was> {
        self.changed.get(self.entries[slot].changed as usize)?.file.as_ref()
    }

    /// Has memory fetch the files of those who are looked at from this turn on.
    pub fn expect_touched(&self, turn: usize) {
        let (mut slots, turns) = ([0; TOGETHER], turn..self.touched().min(turn + TOGETHER));
        let count = turns.len();
        slots.iter_mut().zip(turns).for_each(|(slot, turn)| *slot = self.touched_slot(turn));
        self.expect_slots(&slots[..count]);
    }

    /// The file and the place of somebody before this epoch.
    pub fn before(&self, slot: u32) -> (&[u8], Membership) {
        let entry = &self.entries[slot];
        match self.changed.get(entry.changed as usize) {
            Some(Changed { file: Some(was), membership, .. }) => (&self.were[was.at.clone()], *membership),
            Some(changed) => (self.file_of(entry), changed.membership),
            None => (self.file_of(entry), entry.membership()),
        }
    }

    /// Sets the first date on which composition may place somebody otherwise.
    pub fn set_horizon(&mut self, slot: u32, horizon: Date) {
        if self.everybody {
            self.horizons.resize(self.entries.len(), Date::NEVER);
            self.horizons[slot as usize] = horizon;
        } else if let Some(changed) = self.touch(slot, Cause::Nothing) {
            changed.horizon = horizon;
        }
    }

    /// The first date on which composition may place somebody otherwise, who is looked at in this epoch.
    pub fn horizon(&self, slot: u32) -> Date {
        let entry = &self.entries[slot];
        let noted = self.changed.get(entry.changed as usize).map_or(entry.wake, |changed| changed.horizon);
        self.horizons.get(slot as usize).copied().unwrap_or(noted)
    }

    /// Ends the epoch: whoever is told of everybody from now on was told of them once.
    pub fn finish(&mut self, spoken: bool) {
        self.changed.clear();
        self.changed.shrink_to(ROOM);
        self.were.clear();
        self.were.shrink_to(ROOM * WAS_BYTES);
        self.horizons = Vec::new();
        self.everybody = false;
        self.spoken |= spoken;
    }

    /// Somebody takes a place (+1) or leaves theirs (−1). Within an epoch both may come, in any order, and from two rules that
    /// name the same place.
    pub fn place(&mut self, person: PersonId, place: Membership, sign: isize) {
        let slot = self.slot(person);
        let placed = self.touch(slot, Cause::Much).is_some_and(|changed| {
            changed.placed |= sign > 0;
            changed.placed
        });
        if sign > 0 {
            self.entries[slot].stand(place);
        } else if !placed {
            self.entries[slot].stand(Membership::OUTSIDE);
        }
    }

    /// Ends the epoch for one person: sets when to wake them next.
    pub fn settle(&mut self, slot: u32, wake: Date) {
        let entry = &mut self.entries[slot];
        entry.changed = UNCHANGED;
        if entry.wake != wake {
            entry.wake = wake;
            if wake < Date::NEVER {
                self.calendar.entry(wake).or_default().push(slot);
            }
        }
    }

    /// Touches everybody whose date has come.
    pub fn wake(&mut self, today: Date) {
        while let Some(page) = self.calendar.first_entry().filter(|page| *page.key() <= today) {
            let (date, slots) = page.remove_entry();
            for slot in slots {
                if self.entries[slot].wake == date {
                    self.touch(slot, Cause::Much);
                }
            }
        }
    }

    /// Resolves a version of a record that the person owns.
    fn version(&mut self, person: PersonId, new: &[u8]) {
        let slot = self.slot(person);
        let record = Record::read(new);
        let identity = Identity::of(&record, self.policy.packing(record.register));
        let Some((start, held)) = file::find(self.file(slot), &identity) else {
            self.splice(slot, record.register, 0..0, new, false);
            self.records += 1;
            return;
        };
        let (end, in_dispute) = (start + held.bytes.len(), held.conflict());
        match judge_version(&held, &record) {
            Verdict::Duplicate => self.ignored.duplicates += 1,
            Verdict::Superseded => self.ignored.superseded += 1,
            Verdict::Disputed if in_dispute => {}
            Verdict::Disputed => {
                let held = held.bytes.to_vec();
                self.splice(slot, record.register, start..end, &held, true);
            }
            Verdict::Wins(in_dispute) => self.splice(slot, record.register, start..end, new, in_dispute),
        }
    }

    /// Puts a record without looking at versions: they were resolved before.
    pub fn put(&mut self, person: PersonId, new: &[u8]) {
        let slot = self.slot(person);
        let record = Record::read(new);
        let identity = Identity::of(&record, self.policy.packing(record.register));
        let place = file::find(self.file(slot), &identity).map(|(start, held)| (start, start + held.bytes.len()));
        self.records += u64::from(place.is_none());
        let (start, end) = place.unwrap_or((0, 0));
        self.splice(slot, record.register, start..end, new, false);
    }

    /// Takes all records of the person of a slot out.
    pub fn forget(&mut self, slot: u32) {
        let place = std::mem::take(&mut self.entries[slot].file);
        self.shelf.free(place);
    }

    /// Takes a record out.
    pub fn remove(&mut self, person: PersonId, register: u16, key: &str) {
        let slot = self.slot(person);
        let identity = Identity::new(register, key, self.policy.packing(register));
        if let Some((start, held)) = file::find(self.file(slot), &identity) {
            let end = start + held.bytes.len();
            self.splice(slot, register, start..end, &[], false);
            self.records -= 1;
        }
    }

    /// Replaces a stretch of a file that a record of this register takes, keeping the file as it was before the epoch.
    fn splice(&mut self, slot: u32, register: u16, Range { start, end }: Range<usize>, new: &[u8], in_dispute: bool) {
        self.touch(slot, Cause::Records(RegisterSet::of(register)));
        let Files { entries, shelf, packed, changed, were, .. } = self;
        let entry = &mut entries[slot];
        let file = shelf.get(entry.file);
        packed.clear();
        packed.extend_from_slice(&file[..start]);
        packed.extend_from_slice(new);
        packed.extend_from_slice(&file[end..]);
        if in_dispute {
            file::set_conflict(&mut packed[start..start + new.len()], true);
        }
        if let Some(changed) = changed.get_mut(entry.changed as usize) {
            let beside = Shared::beside(start..end, file.len());
            let was = changed.file.get_or_insert_with(|| {
                let from = were.len();
                were.extend_from_slice(file);
                Was { at: from..were.len(), shared: beside, disputed: false, latest: Date::BEFORE_ALL }
            });
            was.shared = was.shared.meet(beside);
            for record in [&file[start..end], &packed[start..start + new.len()]].into_iter().flat_map(file::records) {
                was.disputed |= record.conflict();
                was.latest = was.latest.max(record.event_date().filter(|_| !record.deleted()).unwrap_or(Date::BEFORE_ALL));
            }
        }
        shelf.replace(&mut entry.file, packed);
    }

    /// Drops of the file of a slot what no rule sees any more because its period is past. Not a change: rules skip such records anyway.
    pub fn purge(&mut self, environment: &Environment, slot: u32) {
        let Files { policy, entries, shelf, packed, fields, records, .. } = self;
        let place = &mut entries[slot].file;
        let register = |index: u16| &policy.registers[usize::from(index)];
        if !file::registers_of(shelf.get(*place)).any(|index| register(index).retain_months.is_some()) {
            return;
        }
        packed.clear();
        let mut dropped = 0;
        for record in file::records(shelf.get(*place)) {
            let period = register(record.register).retained_from(&record, fields);
            if period.is_some_and(|period| environment.forgets(record.register, period)) {
                dropped += 1;
            } else {
                packed.extend_from_slice(record.bytes);
            }
        }
        if dropped > 0 {
            shelf.replace(place, packed);
            *records -= dropped;
        }
    }
}

impl Files {
    /// Writes what is held between epochs.
    pub fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&(self.spoken, self.entries.len() as u64))?;
        self.entries.iter().try_for_each(|entry| {
            saver.put(&(entry.person, entry.membership(), entry.wake))?;
            saver.put_bytes(self.file_of(entry))
        })
    }

    /// Takes in what was written.
    pub fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        let (spoken, people): (bool, u64) = restorer.get()?;
        self.spoken = spoken;
        for _ in 0..people {
            let (person, membership, wake): (PersonId, Membership, Date) = restorer.get()?;
            let due = restorer.is_due(spread(person));
            let file = restorer.get_bytes()?;
            if due {
                self.records += file::records(file).count() as u64;
                let file = self.shelf.put(file);
                let slot = self.slot(person);
                let entry = &mut self.entries[slot];
                entry.file = file;
                entry.stand(membership);
                self.settle(slot, wake);
            }
        }
        Ok(())
    }

    /// Takes in a change of a file.
    pub fn receive(&mut self, event: FileEvent) {
        match event {
            FileEvent::Version(update) => self.version(update.person, &update.record),
            FileEvent::Put(person, record) => self.put(person, &record),
            FileEvent::Remove(person, register, key) => self.remove(person, register, &key),
            FileEvent::Circumstances(..) | FileEvent::Hold(_) => unreachable!("not about one file"),
        }
    }
}
