//! Room 1: versions resolved. Updates in, the live file of each person out.
//!
//! A record of a register with `identity = "person"` is resolved in its owner's file. A record of global identity (an act, a
//! custody, a vehicle) is resolved by key, and then put into, or removed from, the files of the people it names. The files
//! of a worker's people are one keyed store, read by the rooms behind: [`Files`].

use crate::aliases::Aliases;
use crate::model::{Date, Epoch, Fault, FaultKind, HouseholdKey, Ignored, Membership, PersonId, Role, SharedAnswer, Update};
use crate::operators::{Flow, PerEpoch, Place, Restorer, Room, Saver, Shelf, StoreSize, TURN, append, hash, spread};
use crate::policy::file::{self, Identity, Packing, Record};
use crate::policy::{Environment, FeedState, Policy};
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// What everybody's rules depend on: the date, and which feeds are heard. Each worker is told by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Circumstances {
    pub today: Date,
    /// One state per register.
    pub feeds: Vec<FeedState>,
}

impl Circumstances {
    /// Itself, and what evaluations need of it.
    pub fn in_force(self, policy: &Policy) -> (Circumstances, Environment) {
        let environment = policy.environment(self.today, &self.feeds);
        (self, environment)
    }
}

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

/// News for whoever resolves records of global identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ActEvent {
    Version(Update),
    /// Other numbers mean the same person from now on, on the worker of this index.
    Aliases(u64, Box<Aliases>),
    /// The act of this register and key names a number whose meaning changes in this epoch.
    Again(u16, Box<str>),
}

impl FileEvent {
    /// The worker on which the event is due.
    pub fn route(&self) -> u64 {
        match self {
            FileEvent::Version(update) => spread(update.person),
            FileEvent::Put(person, _) | FileEvent::Remove(person, ..) => spread(*person),
            FileEvent::Circumstances(worker, _) | FileEvent::Hold(worker) => *worker,
        }
    }
}

/// The winning version of each record of global identity that a worker keeps, tombstones included.
#[derive(Default)]
pub struct Acts {
    index: HashTable<Place>,
    shelf: Shelf,
}

/// The store, shared with the reader of views on the same worker.
pub type SharedActs = Rc<RefCell<Acts>>;

impl Acts {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.index.iter().map(|place| self.shelf.get(*place))
    }

    pub fn size(&self) -> StoreSize {
        StoreSize { keys: self.index.len() as u64, bytes: (self.index.allocation_size() + self.shelf.bytes()) as u64 }
    }

    /// Where the act of this identity is; `hash` is that of the identity.
    fn find(&self, hash: u64, identity: &Identity<'_>) -> Option<Place> {
        self.index.find(hash, |place| identity.is_of(&Record::read(self.shelf.get(*place)))).copied()
    }

    /// Keeps the act of an identity of which there is none.
    fn insert(&mut self, policy: &Policy, hash: u64, act: &[u8]) {
        let Acts { index, shelf } = self;
        let place = shelf.put(act);
        index.insert_unique(hash, place, |place| identity_hash(policy, &Record::read(shelf.get(*place))));
    }

    /// Keeps another version of the act at a place.
    fn replace(&mut self, hash: u64, place: Place, act: &[u8]) {
        let held = self.index.find_mut(hash, |held| *held == place).expect("it was found there");
        self.shelf.replace(held, act);
    }
}

/// Resolves the versions of records of global identity, by register and key.
pub fn resolve<'scope>(
    acts_heard: Flow<'scope, ActEvent>,
    acts: SharedActs,
    answer: SharedAnswer,
    policy: Arc<Policy>,
) -> Flow<'scope, FileEvent> {
    let routing = policy.clone();
    let route = move |event: &ActEvent| match event {
        ActEvent::Version(update) => identity_hash(&routing, &Record::read(&update.record)),
        ActEvent::Again(register, key) => key_hash(*register, key),
        ActEvent::Aliases(worker, _) => *worker,
    };
    let room = Room::new(acts_heard.site(), "Resolver").hear(acts_heard, route);
    let (aliases, next, again, watched) = (Aliases::default(), None, Vec::new(), BTreeSet::new());
    let (events,) = room.run(Resolver { policy, acts, answer, aliases, next, again, watched });
    events
}

/// The winning version of an identity, as it is held: what a full dump is compared with.
#[derive(Clone, Debug)]
pub struct Held {
    /// Zero in a register of global identity.
    pub person: PersonId,
    pub key: Box<str>,
    pub seq: u64,
    pub fingerprint: u32,
    /// Only its tombstone is held.
    pub deleted: bool,
}

impl Held {
    /// `packing` is that of the record's register.
    pub fn new(person: PersonId, record: &Record<'_>, packing: &Packing) -> Self {
        let deleted = record.deleted();
        Held { person, key: record.key(packing).into(), seq: record.seq, fingerprint: record.fingerprint(), deleted }
    }
}

/// How a version meets the one held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The version held.
    Duplicate,
    /// An older one.
    Superseded,
    /// The version held stays, but another content claims its `seq`.
    Disputed,
    /// The new version replaces the one held; true when both claim the same `seq`.
    Wins(bool),
}

/// The order of arrival does not matter: the greatest version wins, and it is in dispute when two contents carried its `seq`.
fn judge_version(held: &Record<'_>, new: &Record<'_>) -> Verdict {
    match (new.seq.cmp(&held.seq), new.compare_version(held)) {
        (Ordering::Greater, _) => Verdict::Wins(false),
        (Ordering::Less, _) => Verdict::Superseded,
        (_, Ordering::Equal) => Verdict::Duplicate,
        (Ordering::Equal, Ordering::Greater) => Verdict::Wins(true),
        (Ordering::Equal, Ordering::Less) => Verdict::Disputed,
    }
}

fn identity_hash(policy: &Policy, record: &Record<'_>) -> u64 {
    key_hash(record.register, &record.key(policy.packing(record.register)))
}

fn key_hash(register: u16, key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), u64::from(register))
}

/// Resolves records of global identity.
struct Resolver {
    policy: Arc<Policy>,
    acts: SharedActs,
    answer: SharedAnswer,
    aliases: Aliases,
    /// The aliases from now on, if they change in this epoch.
    next: Option<Aliases>,
    /// Acts to be looked at again then.
    again: Vec<(u16, Box<str>)>,
    /// Acts that mean something else when aliases change: they name a number given up, or are in dispute.
    watched: BTreeSet<(u16, Box<str>)>,
}

impl PerEpoch for Resolver {
    type Event = ActEvent;
    type Outlets = (Vec<FileEvent>,);

    fn receive(&mut self, event: ActEvent, (events,): &mut (Vec<FileEvent>,)) {
        match event {
            ActEvent::Version(update) => self.version(update, events),
            ActEvent::Aliases(_, aliases) => self.next = Some(*aliases),
            ActEvent::Again(register, key) => self.again.push((register, key)),
        }
    }

    fn answer(&mut self, _: Epoch, (events,): &mut (Vec<FileEvent>,)) -> bool {
        if let Some(aliases) = self.next.take() {
            self.rename(aliases, events);
        }
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&(&self.aliases, &self.watched))?;
        saver.put_all(self.acts.borrow().iter(), Saver::put_bytes)
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        let (aliases, watched): (Aliases, BTreeSet<(u16, Box<str>)>) = restorer.get()?;
        self.aliases = aliases;
        self.watched.extend(watched.into_iter().filter(|(register, key)| restorer.is_due(key_hash(*register, key))));
        let (policy, mut acts) = (&self.policy, self.acts.borrow_mut());
        restorer.get_all(|restorer| {
            let act: Box<[u8]> = restorer.get_bytes()?.into();
            let hash = identity_hash(policy, &Record::read(&act));
            if restorer.is_due(hash) {
                acts.insert(policy, hash, &act);
            }
            Ok(())
        })
    }
}

impl Resolver {
    fn version(&mut self, update: Update, events: &mut Vec<FileEvent>) {
        let new = Record::read(&update.record);
        let (hash, packing) = (identity_hash(&self.policy, &new), self.policy.packing(new.register));
        let identity = Identity::of(&new, packing);
        if self.aliases.concern(&self.policy, &new) {
            self.watched.insert((new.register, new.key(packing).into()));
        }
        let mut acts = self.acts.borrow_mut();
        let Some(place) = acts.find(hash, &identity) else {
            let now = Share::of(&self.policy, &self.aliases, &update.record);
            put(&self.policy, &new, Share::default(), now, events);
            return acts.insert(&self.policy, hash, &update.record);
        };
        let mut held: Box<[u8]> = acts.shelf.get(place).into();
        let was = self.is_faulty(&held);
        match judge_version(&Record::read(&held), &new) {
            Verdict::Duplicate => return self.answer.borrow_mut().ignored.duplicates += 1,
            Verdict::Superseded => return self.answer.borrow_mut().ignored.superseded += 1,
            Verdict::Disputed => file::set_conflict(&mut held, true),
            Verdict::Wins(in_dispute) => {
                let share = |act| Share::of(&self.policy, &self.aliases, act);
                put(&self.policy, &new, share(&held), share(&update.record), events);
                held = update.record;
                file::set_conflict(&mut held, in_dispute);
            }
        }
        acts.replace(hash, place, &held);
        let record = Record::read(&held);
        if record.conflict() {
            self.watched.insert((record.register, record.key(packing).into()));
        }
        self.tell_fault(&held, was, self.is_faulty(&held));
    }

    /// Gives acts that name numbers of another meaning than before to those whom they name now.
    fn rename(&mut self, aliases: Aliases, events: &mut Vec<FileEvent>) {
        let before = std::mem::replace(&mut self.aliases, aliases);
        let mut concerned = std::mem::take(&mut self.watched);
        concerned.extend(self.again.drain(..));
        let acts = self.acts.clone();
        for (register, key) in concerned {
            let identity = Identity::new(register, &key, self.policy.packing(register));
            let acts = acts.borrow();
            let Some(held) = acts.find(key_hash(register, &key), &identity).map(|place| acts.shelf.get(place)) else { continue };
            let (record, policy) = (Record::read(held), &self.policy);
            put(policy, &record, Share::of(policy, &before, held), Share::of(policy, &self.aliases, held), events);
            self.tell_fault(held, is_faulty(policy, &before, &record), self.is_faulty(held));
            if record.conflict() || self.aliases.concern(policy, &record) {
                self.watched.insert((register, key));
            }
        }
    }

    fn is_faulty(&self, act: &[u8]) -> bool {
        is_faulty(&self.policy, &self.aliases, &Record::read(act))
    }

    fn tell_fault(&self, act: &[u8], was: bool, is: bool) {
        if was != is {
            let record = Record::read(act);
            let key = record.key(self.policy.packing(record.register)).into();
            let fault = Fault { kind: FaultKind::Conflict, register: record.register, key, person: 0 };
            self.answer.borrow_mut().faults.push((fault, if is { 1 } else { -1 }));
        }
    }
}

/// Whether a dispute about an act is to be told: not about one that counts for nobody, or whose key would tell a secret.
fn is_faulty(policy: &Policy, aliases: &Aliases, act: &Record<'_>) -> bool {
    act.conflict() && !aliases.close(policy, act) && !aliases.are_told_by(policy, &act.key(policy.packing(act.register)))
}

/// What an act is to files: whose it enters, and as what.
#[derive(Default)]
struct Share<'a> {
    people: Vec<PersonId>,
    record: Cow<'a, [u8]>,
}

impl<'a> Share<'a> {
    fn of(policy: &Policy, aliases: &Aliases, act: &'a [u8]) -> Self {
        let record = Record::read(act);
        if !aliases.concern(policy, &record) {
            return Share { people: people(policy, &record), record: Cow::Borrowed(act) };
        }
        if aliases.close(policy, &record) {
            return Share::default();
        }
        let renamed = aliases.rename(policy, &record, &[]);
        Share { people: people(policy, &Record::read(&renamed)), record: Cow::Owned(renamed.into()) }
    }
}

/// Takes a record out of the files of people whom only the version before named, and puts it into those it names now.
fn put(policy: &Policy, record: &Record<'_>, before: Share<'_>, now: Share<'_>, events: &mut Vec<FileEvent>) {
    for person in before.people.iter().filter(|person| !now.people.contains(person)) {
        events.push(FileEvent::Remove(*person, record.register, record.key(policy.packing(record.register)).into()));
    }
    events.extend(now.people.iter().map(|person| FileEvent::Put(*person, (*now.record).into())));
}

/// The people whom a record names, each once; nobody when it is deleted.
fn people(policy: &Policy, record: &Record<'_>) -> Vec<PersonId> {
    let register = &policy.registers[record.register as usize];
    let mut fields = vec![0; register.packed.len()];
    record.unpack(&register.packing, &mut fields);
    let mut named: Vec<PersonId> =
        register.people().map(|position| fields[position]).filter(|&id| id > 0).map(|id| id as PersonId).collect();
    named.sort_unstable();
    named.dedup();
    named
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
    /// `None`: the same as now (the person was only woken by their date).
    file: Option<Box<[u8]>>,
    membership: Membership,
    /// The first date on which composition may place the person otherwise; set by the room that looks at people.
    horizon: Date,
    /// Whether composition gave the person a place in this epoch.
    placed: bool,
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
    index: HashTable<u32>,
    pub entries: Vec<Entry>,
    shelf: Shelf,
    /// Room for one file.
    packed: Vec<u8>,
    /// Who is to be looked at in this epoch, as they were before.
    changed: Vec<Changed>,
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
        Files {
            policy,
            index: HashTable::new(),
            entries: Vec::new(),
            shelf: Shelf::default(),
            packed: Vec::new(),
            changed: Vec::new(),
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
        let entries = self.entries.capacity() * size_of::<Entry>() + self.index.allocation_size();
        let size = |bytes: usize| StoreSize { keys: self.entries.len() as u64, bytes: bytes as u64 };
        (size(entries + waiting), size(self.shelf.bytes()))
    }

    /// The live records of the person of a slot, packed.
    pub fn file(&self, slot: u32) -> &[u8] {
        self.file_of(&self.entries[slot as usize])
    }

    /// The same of an entry.
    pub fn file_of(&self, entry: &Entry) -> &[u8] {
        self.shelf.get(entry.file)
    }

    /// The slot of a person, if anything is known of them.
    pub fn find(&self, person: PersonId) -> Option<u32> {
        self.index.find(hash(person), |&slot| self.entries[slot as usize].person == person).copied()
    }

    /// The slot of a person, made where there is none.
    pub fn slot(&mut self, person: PersonId) -> u32 {
        if let Some(slot) = self.find(person) {
            return slot;
        }
        let slot = self.entries.len() as u32;
        let Membership { household, role } = Membership::OUTSIDE;
        let entry = Entry { person, file: Place::default(), household, role, wake: Date::NEVER, changed: UNCHANGED };
        append(&mut self.entries, entry);
        let entries = &self.entries;
        self.index.insert_unique(hash(person), slot, |&slot| hash(entries[slot as usize].person));
        slot
    }

    /// Notes that a person must be looked at again, and returns them as they were, if that matters.
    fn touch(&mut self, slot: u32, cause: Cause) -> Option<&mut Changed> {
        if !self.spoken {
            return None;
        }
        let entry = &mut self.entries[slot as usize];
        if entry.changed == UNCHANGED {
            entry.changed = self.changed.len() as u32;
            let (membership, horizon) = (entry.membership(), entry.wake);
            self.changed.push(Changed { slot, cause: Cause::Nothing, file: None, membership, horizon, placed: false });
        }
        let changed = &mut self.changed[entry.changed as usize];
        changed.cause.join(cause);
        Some(changed)
    }

    /// The few registers whose records alone changed in somebody's file in this epoch, if nothing else about them did.
    pub fn only_changed(&self, slot: u32) -> Option<RegisterSet> {
        match self.changed.get(self.entries[slot as usize].changed as usize)?.cause {
            Cause::Records(registers) if !self.everybody => Some(registers),
            _ => None,
        }
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

    /// The file and the place of somebody before this epoch.
    pub fn before(&self, slot: u32) -> (&[u8], Membership) {
        let entry = &self.entries[slot as usize];
        match self.changed.get(entry.changed as usize) {
            Some(changed) => (changed.file.as_deref().unwrap_or_else(|| self.file_of(entry)), changed.membership),
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
        let entry = &self.entries[slot as usize];
        let noted = self.changed.get(entry.changed as usize).map_or(entry.wake, |changed| changed.horizon);
        self.horizons.get(slot as usize).copied().unwrap_or(noted)
    }

    /// Ends the epoch: whoever is told of everybody from now on was told of them once.
    pub fn finish(&mut self, spoken: bool) {
        self.changed.clear();
        self.changed.shrink_to(TURN);
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
            self.entries[slot as usize].stand(place);
        } else if !placed {
            self.entries[slot as usize].stand(Membership::OUTSIDE);
        }
    }

    /// Ends the epoch for one person: sets when to wake them next.
    pub fn settle(&mut self, slot: u32, wake: Date) {
        let entry = &mut self.entries[slot as usize];
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
                if self.entries[slot as usize].wake == date {
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
        let place = std::mem::take(&mut self.entries[slot as usize].file);
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
        let Files { entries, shelf, packed, changed, .. } = self;
        let entry = &mut entries[slot as usize];
        let file = shelf.get(entry.file);
        packed.clear();
        packed.extend_from_slice(&file[..start]);
        packed.extend_from_slice(new);
        packed.extend_from_slice(&file[end..]);
        if in_dispute {
            file::set_conflict(&mut packed[start..start + new.len()], true);
        }
        if let Some(changed) = changed.get_mut(entry.changed as usize) {
            changed.file.get_or_insert_with(|| file.into());
        }
        shelf.replace(&mut entry.file, packed);
    }

    /// Drops what no rule sees any more because its period is past. Not a change: rules skip such records anyway.
    pub fn purge(&mut self, policy: &Policy, environment: &Environment) {
        let mut fields = vec![0; policy.registers.iter().map(|register| register.packed.len()).max().unwrap_or(0)];
        let mut kept = Vec::new();
        for entry in &mut self.entries {
            kept.clear();
            let mut dropped = 0;
            for record in file::records(self.shelf.get(entry.file)) {
                let period = policy.registers[record.register as usize].retained_from(&record, &mut fields);
                if period.is_some_and(|period| environment.forgets(record.register, period)) {
                    dropped += 1;
                } else {
                    kept.extend_from_slice(record.bytes);
                }
            }
            if dropped > 0 {
                self.shelf.replace(&mut entry.file, &kept);
                self.records -= dropped;
            }
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
                let entry = &mut self.entries[slot as usize];
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
