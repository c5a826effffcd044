//! Room 1: versions resolved. Updates in, the live file of each person out.
//!
//! A record of a register with `identity = "person"` is resolved in its owner's file. A record of global identity (an act, a
//! custody, a vehicle) is resolved by key, and then put into, or removed from, the files of the people it names. The files
//! of a worker's people are one keyed store, read by the rooms behind: [`crate::files`].

use crate::aliases::Aliases;
use crate::files::FileEvent;
use crate::model::{Date, Fault, FaultKind, PersonId, SharedAnswer, Update};
use crate::operators::{Flow, PerEpoch, Place, Restorer, Room, Saver, Shelf, StoreSize, Table};
use crate::policy::file::{self, Identity, Packing, Record};
use crate::policy::{Environment, FeedState, Policy};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io;
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

/// News for whoever resolves records of global identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ActEvent {
    Version(Update),
    /// Other numbers mean the same person from now on, on the worker of this index.
    Aliases(u64, Box<Aliases>),
    /// The act of this register and key names a number whose meaning changes in this epoch.
    Again(u16, Box<str>),
}

/// The winning version of each record of global identity that a worker keeps, tombstones included.
#[derive(Default)]
pub struct Acts {
    index: Table<Place>,
    shelf: Shelf,
}

/// The store, shared with the reader of views on the same worker.
pub type SharedActs = Rc<RefCell<Acts>>;

impl Acts {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.index.iter().map(|place| self.shelf.get(*place))
    }

    pub fn size(&self) -> StoreSize {
        StoreSize { keys: self.index.len() as u64, bytes: (self.index.bytes() + self.shelf.bytes()) as u64 }
    }

    /// Where the act of this identity is; `hash` is that of the identity.
    fn find(&self, hash: u64, identity: &Identity<'_>) -> Option<Place> {
        self.index.find(hash, |place| identity.is_of(&Record::read(self.shelf.get(*place)))).copied()
    }

    /// Keeps the act of an identity of which there is none.
    fn insert(&mut self, policy: &Policy, hash: u64, act: &[u8]) {
        let Acts { index, shelf } = self;
        let place = shelf.put(act);
        index.insert(hash, place, |place| identity_hash(policy, &Record::read(shelf.get(*place))));
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
pub(crate) enum Verdict {
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
pub(crate) fn judge_version(held: &Record<'_>, new: &Record<'_>) -> Verdict {
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

    fn answer(&mut self, (events,): &mut (Vec<FileEvent>,)) -> bool {
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
