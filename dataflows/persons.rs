//! Room 2: persons. Files in, everything composition needs of each person out, and what tied people may know of them.
//!
//! A person is looked at again when their file changes, when their personal date comes, or when the circumstances change for
//! everybody. What was said of them before is computed again from the file as it was, and the difference is handed on, so
//! nothing that a room said needs to be kept. Of records that say nothing of who belongs together only declared faults could
//! come or go: those are left to the room that measures.

use crate::facts::{AdultFact, ChildFact, Resident};
use crate::files::{FileEvent, Files, RegisterSet, SharedFiles};
use crate::model::{Date, Fault, HouseholdKey, Membership, PersonId, SharedAnswer};
use crate::operators::{Flow, Listed, PerEpoch, Restorer, Room, Saver, TOGETHER, Turns, spread};
use crate::policy::file::{self, Brief, NewRecord};
use crate::policy::{Environment, Policy, Touched};
use crate::records::Circumstances;
use crate::ties::{Eye, Fact, View, declared};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// What the room behind composition is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// A place taken (+1) or left (−1).
    Place(PersonId, Membership, isize),
    /// A record about kin enters or leaves somebody's file.
    Kin(FileEvent),
    /// Somebody was looked at on the worker of this index: there is something to measure.
    Looked(u64),
    Circumstances(u64, Box<Circumstances>),
}

/// A place taken (+1) or left (−1).
pub type Placed = (PersonId, Membership, isize);

impl From<Placed> for Told {
    fn from((person, place, sign): Placed) -> Self {
        Told::Place(person, place, sign)
    }
}

impl Told {
    /// Whom it is about, if it is about somebody.
    pub fn person(&self) -> Option<PersonId> {
        match self {
            Told::Place(person, ..) => Some(*person),
            Told::Kin(event) => event.person(),
            Told::Looked(_) | Told::Circumstances(..) => None,
        }
    }

    /// The worker on which it is due.
    pub fn route(&self) -> u64 {
        match self {
            Told::Place(person, ..) => spread(*person),
            Told::Kin(event) => event.route(),
            Told::Looked(worker) | Told::Circumstances(worker, _) => *worker,
        }
    }
}

/// What composition is told of everybody.
pub struct Facts<'scope> {
    pub adults: Flow<'scope, Listed<AdultFact>>,
    pub residents: Flow<'scope, Listed<Resident>>,
    pub children: Flow<'scope, Listed<ChildFact>>,
}

/// Looks at every person whose file, date or circumstances changed: the versions that people own and those that were resolved.
pub fn look<'scope>(
    [owned, resolved]: [Flow<'scope, FileEvent>; 2],
    files: SharedFiles,
    answer: SharedAnswer,
    policy: Arc<Policy>,
) -> (Flow<'scope, Told>, Facts<'scope>) {
    let site = owned.site();
    let looker = Looker {
        worker: site.worker(),
        files,
        answer,
        eye: Eye::new(policy),
        circumstances: None,
        next: None,
        held: false,
        swept: None,
        turns: Turns::default(),
        before: View::default(),
        now: View::default(),
        differences: Vec::new(),
        fault_differences: Vec::new(),
    };
    let room = Room::new(site.clone(), "Persons").hear(owned, FileEvent::route).hear(resolved, FileEvent::route);
    let (told, adults, residents, children) = room.run(looker);
    (told, Facts { adults, residents, children })
}

struct Looker {
    worker: u64,
    files: SharedFiles,
    answer: SharedAnswer,
    eye: Eye,
    /// As of the last epoch; `None` before the first date.
    circumstances: Option<(Circumstances, Environment)>,
    next: Option<(Circumstances, Environment)>,
    /// Nobody is looked at in this epoch.
    held: bool,
    /// What may be other under the next circumstances of whoever did not change and whose date has not come, if that is not whom they belong to.
    swept: Option<Touched>,
    turns: Turns,
    before: View,
    now: View,
    differences: Vec<(Fact, isize)>,
    fault_differences: Vec<(Fault, isize)>,
}

/// Everything that the room says.
type Said = (Vec<Told>, Vec<Listed<AdultFact>>, Vec<Listed<Resident>>, Vec<Listed<ChildFact>>);

/// Whether new circumstances concern everybody: a policy-wide date was passed, or a feed fell silent or was heard again.
pub fn concerns_everybody(policy: &Policy, before: &Circumstances, now: &Circumstances) -> bool {
    before.feeds != now.feeds || policy.next_boundary(before.today) <= now.today
}

impl PerEpoch for Looker {
    type Event = FileEvent;
    type Outlets = Said;

    fn expect(&self, events: &[FileEvent]) {
        self.files.borrow().expect(events.iter().filter_map(FileEvent::person));
    }

    fn receive(&mut self, event: FileEvent, _: &mut Said) {
        match event {
            FileEvent::Circumstances(_, now) => {
                let environment = self.eye.policy.environment(now.today, &now.feeds);
                self.next = Some((*now, environment));
            }
            FileEvent::Hold(_) => self.held = true,
            event => self.files.borrow_mut().receive(event),
        }
    }

    fn answer(&mut self, out: &mut Said) -> bool {
        if std::mem::take(&mut self.held) {
            return false;
        }
        let files = self.files.clone();
        let files = &mut *files.borrow_mut();
        if self.turns.is_first() {
            self.wake(files);
            self.answer.borrow_mut().ignored += std::mem::take(&mut files.ignored);
        }
        for index in self.turns.next(files.touched()) {
            if index % TOGETHER == 0 {
                files.expect_touched(index);
            }
            self.compare(files, files.touched_slot(index), out);
        }
        if self.turns.more(files.touched()) {
            return true;
        }
        if let Some((now, environment)) = self.next.take() {
            out.0.push(Told::Circumstances(self.worker, Box::new(now.clone())));
            self.circumstances = Some((now, environment));
            self.swept = None;
        } else if files.touched() > 0 {
            out.0.push(Told::Looked(self.worker));
        }
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.circumstances.as_ref().map(|(known, _)| known))?;
        self.files.borrow().save(saver)
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.circumstances = restorer.get::<Option<Circumstances>>()?.map(|known| known.in_force(&self.eye.policy));
        self.files.borrow_mut().restore(restorer)
    }
}

/// What may be other for everybody under new circumstances, of people whose own date has not come and whose records are the same; nothing
/// if that cannot be told: before the first, or where other registers can be relied on.
pub(crate) fn swept(
    policy: &Policy,
    before: Option<&(Circumstances, Environment)>,
    (now, environment): (&Circumstances, &Environment),
) -> Option<Touched> {
    let (_, past) = before.filter(|(before, _)| before.feeds == now.feeds)?;
    Some(Touched::between(policy, past, environment))
}

impl Looker {
    /// Has those looked at whom new circumstances concern.
    fn wake(&mut self, files: &mut Files) {
        let Some((now, environment)) = &self.next else { return };
        let policy = &self.eye.policy;
        self.swept = swept(policy, self.circumstances.as_ref(), (now, environment)).filter(|touched| !touched.composes(policy));
        files.wake(now.today);
        if self.circumstances.as_ref().is_none_or(|(before, _)| concerns_everybody(&self.eye.policy, before, now)) {
            files.touch_everybody();
        }
    }

    /// Says how the person of a slot differs from what was said of them before.
    fn compare(&mut self, files: &mut Files, slot: u32, out: &mut Said) {
        let entry = &files.entries[slot];
        let (person, has_place) = (entry.person, entry.membership().household != HouseholdKey::NONE);
        if has_place && files.is_unchanged(slot) && self.look_as_of_both_days(files, slot) {
            return self.tell_faults();
        }
        let Some((_, environment)) = self.next.as_ref().or(self.circumstances.as_ref()) else { return };
        if self.next.is_none()
            && let Some(registers) = self.only_concern(files, slot, environment.today)
            && !self.eye.evaluator.is_told(environment, person, registers.as_slice(), files.file(slot))
        {
            return files.leave_faults(slot);
        }
        match &self.circumstances {
            None => self.before.clear(),
            Some((_, environment)) => {
                self.eye.look(environment, person, files.before(slot).0, &mut self.before);
            }
        }
        let horizon = self.eye.look(environment, person, files.file(slot), &mut self.now);
        files.set_horizon(slot, horizon);
        difference(&mut self.differences, &mut self.before.facts, &mut self.now.facts);
        for (fact, sign) in self.differences.drain(..) {
            match fact {
                Fact::Place(person, place) => out.0.push(Told::Place(person, place, sign)),
                Fact::Adult(person, fact) => out.1.push((person, fact, sign)),
                Fact::Resides(address, resident) => out.2.push((address, resident, sign)),
                Fact::Child(person, fact) => out.3.push((person, fact, sign)),
            }
        }
        self.tell_faults();
        if self.before.kin != self.now.kin || self.before.kin_values != self.now.kin_values {
            self.tell_kin(person, &mut out.0);
        }
    }

    /// Finds out which declared faults are other than before of somebody who changed nothing and whose date has not come; false if more than that must be
    /// looked at.
    fn look_as_of_both_days(&mut self, files: &mut Files, slot: u32) -> bool {
        let Looker { eye, circumstances: Some((_, past)), next: Some((_, environment)), swept: Some(touched), before, now, .. } = self
        else {
            return false;
        };
        before.clear();
        now.clear();
        let (person, wake) = (files.entries[slot].person, files.entries[slot].wake);
        let horizon = eye.evaluator.contradictions_of_days([past, environment], touched, person, files.file(slot), |side, index| {
            let faults = if side == 0 { &mut before.faults } else { &mut now.faults };
            faults.push(declared(index, person));
        });
        if let Some(horizon) = horizon {
            // What was not looked at may change when it might have before.
            files.set_horizon(slot, horizon.min(wake));
        }
        horizon.is_some()
    }

    fn tell_faults(&mut self) {
        difference(&mut self.fault_differences, &mut self.before.faults, &mut self.now.faults);
        self.answer.borrow_mut().faults.append(&mut self.fault_differences);
    }

    /// The registers whose records alone changed, if a person who has a place is certain to be where they were: they say nothing of
    /// composition, none that came or went is disputed or waits for its date, and others last that tell of the person.
    fn only_concern(&self, files: &Files, slot: u32, today: Date) -> Option<RegisterSet> {
        let (policy, (before, place)) = (&self.eye.policy, files.before(slot));
        let registers = files.only_changed(slot)?;
        let changed = |register: u16| registers.as_slice().contains(&register);
        if place.household == HouseholdKey::NONE || registers.as_slice().iter().any(|register| policy.concerns_composition(*register)) {
            return None;
        }
        let stays =
            |other: u16| !changed(other) && other != policy.kin_register && policy.registers[usize::from(other)].retain_months.is_none();
        // Records of other registers are the same in both.
        let mut others = file::briefs_of(before, stays);
        let lasts = |record: Brief| !record.deleted() && record.event_date.is_none_or(|date| date <= today);
        (!files.waits_or_is_disputed(slot, today) && others.any(lasts)).then_some(registers)
    }

    /// Takes the kin row from those who are no longer told, and gives it to those who are.
    fn tell_kin(&self, person: PersonId, told: &mut Vec<Told>) {
        let register = self.eye.policy.kin_register;
        let packing = self.eye.policy.packing(register);
        let key = |kind: i64| packing.key(&[kind, person as i64]).expect("the template of kin is over kind and person");
        for (other, kind) in self.before.kin.iter().filter(|told| !self.now.kin.contains(told)) {
            told.push(Told::Kin(FileEvent::Remove(*other, register, key(*kind).into())));
        }
        for (other, kind) in &self.now.kin {
            let fields: Vec<i64> = [*kind, person as i64].into_iter().chain(self.now.kin_values.iter().copied()).collect();
            let mut bytes = Vec::new();
            let record = NewRecord { register, key: &key(*kind), seq: 1, deleted: false, event_date: None, shown: 0, fields: &fields };
            record.pack(packing, &mut bytes);
            told.push(Told::Kin(FileEvent::Put(*other, bytes.into())));
        }
    }
}

/// What is in one list and not in the other, as signed differences.
fn difference<T: Ord + Clone>(out: &mut Vec<(T, isize)>, before: &mut Vec<T>, now: &mut Vec<T>) {
    if before == now {
        return;
    }
    out.extend(before.drain(..).map(|item| (item, -1)));
    out.extend(now.drain(..).map(|item| (item, 1)));
    differential_dataflow::consolidation::consolidate(out);
}
