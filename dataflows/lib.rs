//! The house: from checked records to changed decisions, as one dataflow of differences.
//!
//! ```text
//!  updates ─► records ──► persons ──► households ──► indicators ──► criteria, categories, entitlements ─► decisions
//!             versions    facts of    who belongs    sums by        pure functions of a row               only
//!             resolved    each person together       household      and the circumstances                 changes
//!                 │            │           │                                                                │
//!                 └────────────┴───────────┴─────────────► faults                                           ▼
//! ```
//!
//! The house is a function of three things: the winning version of every retained record, the circumstances (the business
//! date, which feeds are heard, and which numbers mean the same person) and the policy. It remembers none of its outputs, reads no clock, does no I/O and cannot
//! fail. Exactly one epoch is in flight. [`House::build`] is the one place where rooms are joined.

pub mod aliases;
pub mod decisions;
pub mod dwellings;
pub mod facts;
pub mod files;
pub mod households;
pub mod indicators;
pub mod judgements;
pub mod model;
pub mod operators;
pub mod persons;
pub mod policy;
pub mod records;
pub mod review;
pub mod ties;

use aliases::Aliases;
use dwellings::SharedSums;
use files::{FileEvent, Files, SharedFiles};
use households::ListSizes;
use indicators::{measure_one, right};
use judgements::SharedRows;
use model::{Epoch, EpochAnswer, HouseholdKey, Membership, PersonId, Role, SharedAnswer, Update};
use operators::{Entrance, Kept, Passage, Restorer, Saver, StoreSize};
use policy::file::{self, Record};
use policy::{Contribution, Evaluator, Judgement, Policy, Right, Row};
use records::{ActEvent, Circumstances, Held, SharedActs};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::AddAssign;
use std::rc::Rc;
use std::sync::Arc;
use timely::worker::Worker;

/// One worker's share of the dataflow, with the handles to feed and read it.
pub struct House {
    policy: Arc<Policy>,
    worker: u64,
    epoch: Epoch,
    /// Versions of records that a person owns, and the circumstances.
    owned: Entrance<FileEvent>,
    /// Versions of records of global identity.
    global: Entrance<ActEvent>,
    passage: Passage,
    answer: SharedAnswer,
    acts: SharedActs,
    files: SharedFiles,
    rows: SharedRows,
    lists: ListSizes,
    dwellings: SharedSums,
    stacked: Rc<Cell<StoreSize>>,
    kept: Vec<Rc<dyn Kept>>,
}

impl House {
    /// Builds the dataflow. Every worker builds the same one. This is the one place where rooms are joined; each sees only what
    /// those before it hand over.
    pub fn build(worker: &mut Worker, policy: Arc<Policy>) -> House {
        let answer = SharedAnswer::default();
        let acts = SharedActs::default();
        let files: SharedFiles = Rc::new(RefCell::new(Files::new(policy.clone())));
        let rows: SharedRows = Rc::new(RefCell::new(judgements::Rows::new(policy.slots)));
        let lists = ListSizes::default();
        let dwellings: SharedSums = Rc::new(RefCell::new(dwellings::Sums::new(policy.dwelling_slots)));
        let stacked = Rc::new(Cell::default());
        let ((owned, global), passage, kept) = operators::build(worker, "House", |site| {
            let ((owned_in, owned), (global_in, global)) = (site.enter(), site.enter());
            let resolved = records::resolve(global, acts.clone(), answer.clone(), policy.clone());
            let (told, facts) = persons::look([owned, resolved], files.clone(), answer.clone(), policy.clone());
            let places = households::compose(facts, &lists);
            let (measured, of_persons, lodged) = indicators::measure(told, places, files.clone(), answer.clone(), policy.clone());
            let completed = dwellings::complete(lodged, policy.clone(), dwellings.clone());
            let of_households = judgements::judge([measured, completed], rows.clone(), answer.clone(), policy.clone());
            let rights = [of_persons, of_households];
            let through = decisions::consolidate(rights, answer.clone(), policy.clone(), stacked.clone());
            ((owned_in, global_in), through)
        });
        House {
            policy,
            worker: worker.index() as u64,
            epoch: 0,
            owned,
            global,
            passage,
            answer,
            acts,
            files,
            rows,
            lists,
            dwellings,
            stacked,
            kept,
        }
    }

    /// Writes what every room holds of this worker's, between epochs.
    pub fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        self.kept.iter().try_for_each(|room| room.save(saver))
    }

    /// Takes in what the rooms of a worker wrote, before anything is submitted: of every worker there was, if there were others.
    pub fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.kept.iter().try_for_each(|room| room.restore(restorer))
    }

    /// Goes on after this epoch, whose outcome was restored.
    pub fn resume_after(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.owned.advance_to(epoch);
        self.global.advance_to(epoch);
    }

    /// Adds updates to the open epoch. Any worker may be given any update.
    pub fn submit(&mut self, updates: &mut Vec<Update>) {
        for update in updates.drain(..) {
            if update.person == 0 {
                self.global.send(ActEvent::Version(update));
            } else {
                self.owned.send(FileEvent::Version(update));
            }
        }
    }

    /// Changes the circumstances in the open epoch. Every worker must be told the same.
    pub fn set_circumstances(&mut self, circumstances: Circumstances) {
        self.owned.send(FileEvent::Circumstances(self.worker, Box::new(circumstances)));
    }

    /// Has what comes in this epoch settle in files, while nobody is looked at before the next one ends: what both bring is one
    /// change to whoever stands outside. Every worker must be told.
    pub fn hold(&mut self) {
        self.owned.send(FileEvent::Hold(self.worker));
    }

    /// Changes which numbers mean the same person: acts are looked at again that name any of them, `acts` (register and key) among
    /// them. Every worker must be told the same, in an epoch without versions of acts.
    pub fn set_aliases(&mut self, aliases: Aliases, acts: Vec<(u16, Box<str>)>) {
        self.global.send(ActEvent::Aliases(self.worker, Box::new(aliases)));
        acts.into_iter().for_each(|(register, key)| self.global.send(ActEvent::Again(register, key)));
    }

    /// Changes files of people who have several numbers, whose versions are resolved before.
    pub fn rewrite(&mut self, events: Vec<FileEvent>) {
        events.into_iter().for_each(|event| self.owned.send(event));
    }

    /// Ends the epoch and runs until everything that follows from it is known. Every worker must close it.
    pub fn close(&mut self, worker: &mut Worker) -> EpochAnswer {
        self.epoch += 1;
        self.owned.advance_to(self.epoch);
        self.global.advance_to(self.epoch);
        self.passage.complete(worker, self.epoch);
        std::mem::take(&mut *self.answer.borrow_mut())
    }

    /// Lets the dataflow take in what was submitted, without ending the epoch.
    pub fn work(&mut self, worker: &mut Worker) {
        self.owned.flush();
        self.global.flush();
        self.passage.work(worker);
    }

    /// Everybody of this worker who has a place, by household and person.
    pub fn members(&self, each: impl FnMut((HouseholdKey, PersonId, Role))) {
        let files = self.files.borrow();
        let member = |slot: &u32| {
            let entry = &files.entries[*slot];
            (entry.membership().household, entry.person, entry.membership().role)
        };
        let mut slots: Vec<u32> = (0..files.entries.len() as u32).collect();
        slots.sort_unstable_by_key(member);
        slots.iter().map(member).filter(|(household, ..)| *household != HouseholdKey::NONE).for_each(each);
    }

    /// Judges every household of this worker as it stands, in the order of keys.
    pub fn judgements(&self, circumstances: &Circumstances, mut each: impl FnMut(HouseholdKey, &Row, &Judgement)) {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let (mut row, mut judgement) = (Row::default(), Judgement::default());
        let rows = self.rows.borrow();
        for household in rows.sorted_keys() {
            rows.read(household, &mut row);
            evaluator.judge_with_values(&environment, &row, household, &mut judgement);
            each(household, &row, &judgement);
        }
    }

    /// The person indicators of everybody of this worker who has a place, in the order of people.
    pub fn person_values(&self, circumstances: &Circumstances, mut each: impl FnMut(PersonId, &[i64])) {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let files = self.files.borrow();
        let mut people: Vec<_> = files.entries.iter().filter(|entry| entry.membership().household != HouseholdKey::NONE).collect();
        people.sort_unstable_by_key(|entry| entry.person);
        for entry in people {
            let (values, _) = evaluator.person_values(&environment, entry.person, files.file_of(entry), entry.membership().role);
            each(entry.person, values);
        }
    }

    /// The rights of this worker's people and households as they stand, whatever else stands beside them.
    pub fn rights(&self, circumstances: &Circumstances) -> Vec<Right> {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let (mut evaluator, mut rights) = (Evaluator::new(self.policy.clone()), Vec::new());
        let mut contribution = Contribution::default();
        let files = self.files.borrow();
        for entry in files.entries.iter() {
            measure_one(&mut evaluator, &environment, entry.person, files.file_of(entry), entry.membership(), &mut contribution);
            rights.extend(contribution.entitlements.iter().map(|entitlement| right(entry.membership().household, entitlement)));
        }
        let (rows, mut row, mut judgement) = (self.rows.borrow(), Row::default(), Judgement::default());
        for household in rows.sorted_keys() {
            rows.read(household, &mut row);
            evaluator.judge(&environment, &row, household, &mut judgement);
            rights.extend(judgement.entitlements.iter().map(|entitlement| right(household, entitlement)));
        }
        rights
    }

    /// What these people have by themselves, of those whom this worker keeps, and the households in which they are.
    pub fn own_rights(&self, circumstances: &Circumstances, people: &BTreeSet<PersonId>) -> (Vec<Right>, BTreeSet<HouseholdKey>) {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let (mut rights, mut households, mut contribution) = (Vec::new(), BTreeSet::new(), Contribution::default());
        for (person, (file, place)) in people.iter().filter_map(|person| Some((*person, self.file(*person)?))) {
            measure_one(&mut evaluator, &environment, person, &file, place, &mut contribution);
            rights.extend(contribution.entitlements.iter().map(|entitlement| right(place.household, entitlement)));
            households.insert(place.household);
        }
        (rights, households)
    }

    /// What follows from these households' rows, of those that this worker keeps.
    pub fn household_rights(&self, circumstances: &Circumstances, households: &BTreeSet<HouseholdKey>) -> Vec<Right> {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let (rows, mut row, mut judgement, mut rights) = (self.rows.borrow(), Row::default(), Judgement::default(), Vec::new());
        for household in households {
            if !rows.read(*household, &mut row) {
                continue;
            }
            evaluator.judge(&environment, &row, *household, &mut judgement);
            rights.extend(judgement.entitlements.iter().map(|entitlement| right(*household, entitlement)));
        }
        rights
    }

    /// Everybody of this worker of whom anything is known: their packed files and places.
    pub fn files(&self, mut each: impl FnMut(PersonId, &[u8], Membership)) {
        let files = self.files.borrow();
        files.entries.iter().for_each(|entry| each(entry.person, files.file_of(entry), entry.membership()));
    }

    /// The packed file and the place of a person, if this worker keeps them.
    pub fn file(&self, person: PersonId) -> Option<(Box<[u8]>, Membership)> {
        let files = self.files.borrow();
        let entry = &files.entries[files.find(person)?];
        Some((files.file_of(entry).into(), entry.membership()))
    }

    /// The winning version of every identity of a register that this worker keeps.
    pub fn held(&self, register: u16) -> Vec<Held> {
        let of_register = |record: &Record<'_>| record.register == register;
        let packing = self.policy.packing(register);
        if self.policy.registers[register as usize].global {
            let acts = self.acts.borrow();
            return acts.iter().map(Record::read).filter(of_register).map(|record| Held::new(0, &record, packing)).collect();
        }
        let mut held = Vec::new();
        let files = self.files.borrow();
        for entry in files.entries.iter() {
            held.extend(file::records(files.file_of(entry)).filter(of_register).map(|record| Held::new(entry.person, &record, packing)));
        }
        held
    }

    /// The row of a household, if this worker keeps it.
    pub fn row(&self, household: HouseholdKey) -> Option<Row> {
        let mut row = Row::default();
        self.rows.borrow().read(household, &mut row).then_some(row)
    }

    /// What this worker holds.
    pub fn sizes(&self) -> Sizes {
        let (people, files) = self.files.borrow().sizes();
        let [households, rows, claims] = self.rows.borrow().sizes();
        let stores = [
            ("people", people),
            ("files", files),
            ("acts", self.acts.borrow().size()),
            ("adults", self.lists.adults.get()),
            ("addresses", self.lists.addresses.get()),
            ("children", self.lists.children.get()),
            ("followers", self.lists.followers.get()),
            ("households", households),
            ("rows", rows),
            ("claims", claims),
            ("dwellings", self.dwellings.borrow().size()),
            ("stacked", self.stacked.get()),
        ];
        Sizes { records: self.files.borrow().records, stores: stores.into() }
    }
}

/// What a worker holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Records in files, tombstones included.
    pub records: u64,
    /// Every keyed store by name: of `people` (everybody of whom something is known, described or not) their packed `files`,
    /// the global records (`acts`), composition's lists, the sums of `dwellings`, of `households` their packed `rows`.
    pub stores: BTreeMap<&'static str, StoreSize>,
}

impl Sizes {
    /// How much the store of this name holds; nothing if there is none.
    pub fn store(&self, name: &str) -> StoreSize {
        self.stores.get(name).copied().unwrap_or_default()
    }
}

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        for (name, size) in other.stores {
            *self.stores.entry(name).or_default() += size;
        }
    }
}
