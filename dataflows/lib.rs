//! The house: from checked records to changed decisions, as one differential dataflow.
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
//! date, and which feeds are heard) and the policy. It remembers none of its outputs, reads no clock, does no I/O and cannot
//! fail. Exactly one epoch is in flight. [`House::build`] is the one place where rooms are joined.

pub mod decisions;
pub mod households;
pub mod indicators;
pub mod judgements;
pub mod model;
pub mod operators;
pub mod persons;
pub mod policy;
pub mod records;

use differential_dataflow::AsCollection;
use indicators::{Measured, PersonEvent};
use judgements::{HouseholdEvent, Judged, SharedRows, Standing};
use model::{Change, Decision, Epoch, Fault, HouseholdKey, Membership, PersonId, Role, Update};
use persons::Said;
use policy::file::{self, Record};
use policy::{Evaluator, Judgement, Policy, Row};
use records::{Circumstances, FileEvent, Files, Held, Resolved, SharedActs, SharedFiles};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use timely::dataflow::operators::probe::Handle as Probe;
use timely::dataflow::operators::vec::{Map, Partition};
use timely::dataflow::operators::{Concat, Input, Inspect, Probe as _};
use timely::dataflow::{InputHandleVec, StreamVec};
use timely::worker::Worker;

/// What an epoch changed, as one worker saw it.
#[derive(Clone, Debug, Default)]
pub struct EpochAnswer {
    pub changes: Vec<Change>,
    pub faults: Vec<(Fault, isize)>,
    /// Households whose category or level changed: before and now.
    pub standings: Vec<(HouseholdKey, Option<Standing>, Option<Standing>)>,
    /// Households whose sums changed.
    pub rows_changed: u64,
}

/// One worker's share of the dataflow, with the handles to feed and read it.
pub struct House {
    policy: Arc<Policy>,
    epoch: Epoch,
    updates: InputHandleVec<Epoch, Update>,
    circumstances: InputHandleVec<Epoch, Circumstances>,
    probe: Probe<Epoch>,
    answer: Rc<RefCell<EpochAnswer>>,
    acts: SharedActs,
    files: SharedFiles,
    rows: SharedRows,
}

impl House {
    /// Builds the dataflow. Every worker builds the same one.
    pub fn build(worker: &mut Worker, policy: Arc<Policy>) -> House {
        let acts = SharedActs::default();
        let files: SharedFiles = Rc::new(RefCell::new(Files::new(policy.clone())));
        let rows: SharedRows = Rc::new(RefCell::new(judgements::Rows::new(policy.slots)));
        let answer = Rc::new(RefCell::new(EpochAnswer::default()));
        let probe = Probe::new();
        let (updates, circumstances) = worker.dataflow_named("House", |scope| {
            let (updates_in, updates) = scope.new_input::<Vec<Update>>();
            let (circumstances_in, circumstances) = scope.new_input::<Vec<Circumstances>>();
            let me = scope.index() as u64;
            let shared = Shared { acts: acts.clone(), files: files.clone(), rows: rows.clone() };
            let outcome = rooms(updates, circumstances, me, shared, policy.clone());
            outcome.listen(&answer, &probe);
            (updates_in, circumstances_in)
        });
        House { policy, epoch: 0, updates, circumstances, probe, answer, acts, files, rows }
    }

    /// Adds updates to the open epoch. Any worker may be given any update.
    pub fn submit(&mut self, updates: &mut Vec<Update>) {
        self.updates.send_batch(updates);
    }

    /// Changes the circumstances in the open epoch. Every worker must be told the same.
    pub fn set_circumstances(&mut self, circumstances: Circumstances) {
        self.circumstances.send(circumstances);
    }

    /// Ends the epoch and runs until everything that follows from it is known. Every worker must close it.
    pub fn close(&mut self, worker: &mut Worker) -> EpochAnswer {
        self.epoch += 1;
        self.updates.advance_to(self.epoch);
        self.circumstances.advance_to(self.epoch);
        self.updates.flush();
        self.circumstances.flush();
        let (probe, epoch) = (&self.probe, self.epoch);
        if worker.peers() == 1 {
            worker.step_while(|| probe.less_than(&epoch));
        } else {
            worker.step_or_park_while(None, || probe.less_than(&epoch));
        }
        std::mem::take(&mut *self.answer.borrow_mut())
    }

    /// Lets the dataflow take in what was submitted, without ending the epoch.
    pub fn work(&mut self, worker: &mut Worker) {
        self.updates.flush();
        worker.step();
    }

    /// Everybody of this worker who has a place, by household and person.
    pub fn members(&self) -> Vec<(HouseholdKey, PersonId, Role)> {
        let files = self.files.borrow();
        let places = files.entries.iter().map(|entry| (entry.membership.household, entry.person, entry.membership.role));
        let mut members: Vec<_> = places.filter(|(household, ..)| *household != HouseholdKey::NONE).collect();
        members.sort_unstable();
        members
    }

    /// Judges every household of this worker as it stands, in the order of keys.
    pub fn judgements(&self, circumstances: &Circumstances, mut each: impl FnMut(HouseholdKey, &Row, &Judgement)) {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let (mut row, mut judgement) = (Row::default(), Judgement::default());
        let rows = self.rows.borrow();
        for household in rows.sorted_keys() {
            rows.read(household, &mut row);
            evaluator.judge(&environment, &row, household, &mut judgement);
            each(household, &row, &judgement);
        }
    }

    /// The person indicators of everybody of this worker who has a place, in the order of people.
    pub fn person_values(&self, circumstances: &Circumstances, mut each: impl FnMut(PersonId, &[i64])) {
        let environment = self.policy.environment(circumstances.today, &circumstances.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let files = self.files.borrow();
        let mut people: Vec<_> = files.entries.iter().filter(|entry| entry.membership.household != HouseholdKey::NONE).collect();
        people.sort_unstable_by_key(|entry| entry.person);
        for entry in people {
            let (values, _) = evaluator.person_values(&environment, entry.person, &entry.file, entry.membership.role);
            each(entry.person, values);
        }
    }

    /// The packed file and the place of a person, if this worker keeps them.
    pub fn file(&self, person: PersonId) -> Option<(Box<[u8]>, Membership)> {
        let files = self.files.borrow();
        let entry = &files.entries[files.find(person)? as usize];
        Some((entry.file.clone(), entry.membership))
    }

    /// The winning version of every identity of a register that this worker keeps.
    pub fn held(&self, register: u16) -> Vec<Held> {
        let of_register = |record: &Record<'_>| record.register == register;
        let packing = self.policy.packing(register);
        if self.policy.registers[register as usize].global {
            let acts = self.acts.borrow();
            return acts.iter().map(|act| Record::read(act)).filter(of_register).map(|record| Held::new(0, &record, packing)).collect();
        }
        let mut held = Vec::new();
        for entry in &self.files.borrow().entries {
            held.extend(file::records(&entry.file).filter(of_register).map(|record| Held::new(entry.person, &record, packing)));
        }
        held
    }

    /// The row of a household, if this worker keeps it.
    pub fn row(&self, household: HouseholdKey) -> Option<Row> {
        let mut row = Row::default();
        self.rows.borrow().read(household, &mut row).then_some(row)
    }

    /// People, records and households held by this worker.
    pub fn sizes(&self) -> Sizes {
        let files = self.files.borrow();
        let file_bytes = files.entries.iter().map(|entry| entry.file.len() as u64).sum();
        let rows = self.rows.borrow();
        Sizes {
            people: files.entries.len() as u64,
            records: files.records,
            households: rows.len() as u64,
            file_bytes,
            row_bytes: rows.bytes(),
        }
    }
}

/// What a worker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Everybody of whom something is known, described or not.
    pub people: u64,
    /// Records in files, tombstones included.
    pub records: u64,
    pub households: u64,
    /// Packed files and packed rows, without what holds them.
    pub file_bytes: u64,
    pub row_bytes: u64,
}

/// The stores that rooms of one worker share with each other and with whoever reads the house.
struct Shared {
    acts: SharedActs,
    files: SharedFiles,
    rows: SharedRows,
}

/// What leaves the house.
struct Outcome<'scope> {
    changes: StreamVec<'scope, Epoch, Change>,
    faults: StreamVec<'scope, Epoch, (Fault, Epoch, isize)>,
    standings: StreamVec<'scope, Epoch, (HouseholdKey, Option<Standing>, Option<Standing>)>,
    rows: StreamVec<'scope, Epoch, u64>,
}

/// Walks the updates through the rooms, each of which sees only what those before it hand over.
fn rooms<'scope>(
    updates: StreamVec<'scope, Epoch, Update>,
    circumstances: StreamVec<'scope, Epoch, Circumstances>,
    me: u64,
    Shared { acts, files, rows }: Shared,
    policy: Arc<Policy>,
) -> Outcome<'scope> {
    let (owned, global) = two(updates.partition(2, |update| (u64::from(update.person == 0), update)));
    let (resolved, disputed) =
        two(records::resolve(global, acts, policy.clone()).partition(2, |said| (u64::from(matches!(said, Resolved::Fault(..))), said)));
    let file_events = owned
        .map(FileEvent::Version)
        .concat(resolved.flat_map(|said| if let Resolved::File(event) = said { Some(event) } else { None }))
        .concat(circumstances.clone().map(move |now| FileEvent::Circumstances(me, now)));
    let port = |said: &Said| match said {
        Said::Fact(..) => 0,
        Said::Kin(_) => 1,
        Said::Fault(..) => 2,
        Said::Looked => 3,
    };
    let mut said = persons::place(file_events, files.clone(), policy.clone()).partition(4, move |said| (port(&said), said)).into_iter();
    let mut next = || said.next().expect("four ports");
    let (facts, kin, faults, looked) = (next(), next(), next(), next());

    let facts = facts.flat_map(|said| if let Said::Fact(fact, epoch, sign) = said { Some((fact, epoch, sign)) } else { None });
    let memberships = households::compose(facts.as_collection());
    let person_events = memberships
        .inner
        .map(|((person, place), _, sign)| PersonEvent::Member(person, place, sign))
        .concat(kin.flat_map(|said| if let Said::Kin(event) = said { Some(PersonEvent::Kin(Box::new(event))) } else { None }))
        .concat(looked.map(move |_| PersonEvent::Looked(me)))
        .concat(circumstances.clone().map(move |now| PersonEvent::Circumstances(me, Box::new(now))));
    let (differences, own_rights) = two(indicators::measure(person_events, files, policy.clone())
        .partition(2, |said| (u64::from(matches!(said, Measured::Decision(..))), said)));

    let row_events = differences
        .flat_map(|said| {
            if let Measured::Household(household, difference) = said {
                Some(HouseholdEvent::Difference(household, difference))
            } else {
                None
            }
        })
        .concat(circumstances.map(move |now| HouseholdEvent::Circumstances(me, now)));
    let port = |said: &Judged| match said {
        Judged::Standing(..) => 0,
        Judged::Decision(..) => 1,
        Judged::Rows(_) => 2,
    };
    let mut judged = judgements::judge(row_events, rows, policy.clone()).partition(3, move |said| (port(&said), said)).into_iter();
    let mut next = || judged.next().expect("three ports");
    let (standings, rights, rows) = (next(), next(), next());

    let decisions: StreamVec<'scope, Epoch, (Decision, Epoch, isize)> = rights
        .flat_map(|said| if let Judged::Decision(decision, epoch, sign) = said { Some((decision, epoch, sign)) } else { None })
        .concat(
            own_rights
                .flat_map(|said| if let Measured::Decision(decision, epoch, sign) = said { Some((decision, epoch, sign)) } else { None }),
        );
    let disputed = disputed.flat_map(|said| if let Resolved::Fault(fault, sign) = said { Some((fault, 0, sign)) } else { None });
    let faults = faults.flat_map(|said| if let Said::Fault(fault, epoch, sign) = said { Some((fault, epoch, sign)) } else { None });
    Outcome {
        changes: decisions::consolidate(decisions, policy),
        faults: faults.concat(disputed),
        standings: standings
            .flat_map(|said| if let Judged::Standing(household, before, now) = said { Some((household, before, now)) } else { None }),
        rows: rows.flat_map(|said| if let Judged::Rows(count) = said { Some(count) } else { None }),
    }
}

fn two<T>(parts: Vec<T>) -> (T, T) {
    let mut parts = parts.into_iter();
    let mut next = || parts.next().expect("two parts");
    (next(), next())
}

impl Outcome<'_> {
    /// Collects what leaves the house; complete for an epoch once the probe has passed it.
    fn listen(self, answer: &Rc<RefCell<EpochAnswer>>, probe: &Probe<Epoch>) {
        let to = answer.clone();
        self.changes.inspect(move |change| to.borrow_mut().changes.push(change.clone())).probe_with(probe);
        let to = answer.clone();
        self.faults.inspect(move |(fault, _, sign)| to.borrow_mut().faults.push((fault.clone(), *sign))).probe_with(probe);
        let to = answer.clone();
        self.standings.inspect(move |standing| to.borrow_mut().standings.push(*standing)).probe_with(probe);
        let to = answer.clone();
        self.rows.inspect(move |count| to.borrow_mut().rows_changed += count).probe_with(probe);
    }
}
