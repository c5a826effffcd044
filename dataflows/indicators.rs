//! Room 4: indicators. What each member contributes to the sums of their household, and the rights of persons.
//!
//! A household's row is a vector of sums, so a change of one person is one addition: what they contributed before, taken
//! from what they contribute now. Both are computed from the files; nothing that was sent needs to be kept. Of whoever need not be looked at
//! whole by the room of persons, declared faults are found here, in the same look at what changed.

use crate::dwellings::Lodged;
use crate::files::{Files, RegisterSet, SharedFiles};
use crate::model::{Date, Decision, Fault, HouseholdKey, Membership, Outcome, PersonId, Role, SharedAnswer};
use crate::operators::{Flow, PerEpoch, Restorer, Room, Saver, TOGETHER, Turns, spread};
use crate::persons::{Placed, Told, concerns_everybody, swept};
use crate::policy::versions::Versions;
use crate::policy::{Claim, Contribution, Entitlement, Environment, Evaluator, Policy, Right, Touched};
use crate::records::Circumstances;
use crate::ties::{address, declared};
use differential_dataflow::consolidation::consolidate;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::io;
use std::iter::Peekable;
use std::slice::Iter;
use std::sync::Arc;

/// A change of a household's sums: `(slot, difference)`, and `(slot, reason, difference)` of the members for whom it is unknown;
/// and the claims that a member has no longer (−1) or now (+1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub values: Vec<(u16, i64)>,
    pub unknown: Vec<(u16, u16, i32)>,
    pub claims: Vec<(Claim, isize)>,
}

/// For how many rights a person there is room in the answer to a first load.
const FIRST_RIGHTS_A_PERSON: usize = 4;

/// What makes a household be judged again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Measured {
    Difference(HouseholdKey, Difference),
    /// New circumstances for the worker of this index.
    Circumstances(u64, Box<Circumstances>),
}

impl Measured {
    /// The household that it is about, if it is about one.
    pub fn household(&self) -> Option<HouseholdKey> {
        match self {
            Measured::Difference(household, _) => Some(*household),
            Measured::Circumstances(..) => None,
        }
    }

    /// The worker on which it is due.
    pub fn route(&self) -> u64 {
        match self {
            Measured::Difference(household, _) => spread(household.0),
            Measured::Circumstances(worker, _) => *worker,
        }
    }
}

/// A right that somebody has (+1) or has no longer (−1), whatever their other rights.
pub type Decided = (Right, isize);

/// Measures everybody whose file, place, date or circumstances changed.
pub fn measure<'scope>(
    told: Flow<'scope, Told>,
    places: [Flow<'scope, Placed>; 3],
    files: SharedFiles,
    answer: SharedAnswer,
    policy: Arc<Policy>,
) -> (Flow<'scope, Measured>, Flow<'scope, Decided>, Flow<'scope, Lodged>) {
    let site = told.site();
    let measurer = Measurer {
        worker: site.worker(),
        workers: site.workers(),
        files,
        answer,
        evaluator: Evaluator::new(policy.clone()),
        policy,
        circumstances: None,
        next: None,
        swept: None,
        turns: Turns::default(),
        before: Contribution::default(),
        now: Contribution::default(),
        faults: Vec::new(),
        fields: Vec::new(),
    };
    let room = Room::new(site.clone(), "Measures").hear(told, Told::route);
    places.into_iter().fold(room, |room, places| room.hear(places, |(person, ..)| spread(*person))).run(measurer)
}

struct Measurer {
    worker: u64,
    workers: usize,
    files: SharedFiles,
    answer: SharedAnswer,
    policy: Arc<Policy>,
    evaluator: Evaluator,
    circumstances: Option<(Circumstances, Environment)>,
    next: Option<(Circumstances, Environment)>,
    /// What may be other for everybody under these; nothing where only looking at them whole tells.
    swept: Option<Touched>,
    turns: Turns,
    before: Contribution,
    now: Contribution,
    /// Declared faults that came (+1) or went (−1) with the person at hand.
    faults: Vec<(Fault, isize)>,
    /// Room for the fields of a record.
    fields: Vec<i64>,
}

/// What the room says.
type Said = (Vec<Measured>, Vec<Decided>, Vec<Lodged>);

impl PerEpoch for Measurer {
    type Event = Told;
    type Outlets = Said;

    fn expect(&self, events: &[Told]) {
        self.files.borrow().expect(events.iter().filter_map(Told::person));
    }

    fn receive(&mut self, event: Told, _: &mut Said) {
        match event {
            Told::Place(person, place, sign) => self.files.borrow_mut().place(person, place, sign),
            Told::Kin(event) => self.files.borrow_mut().receive(event),
            Told::Looked(_) => {}
            Told::Circumstances(_, now) => {
                let environment = self.policy.environment(now.today, &now.feeds);
                self.swept = swept(&self.policy, self.circumstances.as_ref(), (&now, &environment));
                self.next = Some((*now, environment));
            }
        }
    }

    fn answer(&mut self, out: &mut Said) -> bool {
        let files = self.files.clone();
        let files = &mut *files.borrow_mut();
        if self.turns.is_first() && self.circumstances.is_none() && self.next.is_some() {
            // A first load decides millions of rights: with room for all of them none is copied as their list grows, and those of other
            // workers find room behind them. Room that is not used costs nothing.
            self.answer.borrow_mut().changes.reserve(files.entries.len() * FIRST_RIGHTS_A_PERSON * self.workers);
        }
        let forgets = self.circumstances.as_ref().zip(self.next.as_ref());
        let forgets = forgets.is_some_and(|((before, _), (now, _))| concerns_everybody(&self.policy, before, now));
        for index in self.turns.next(files.touched()) {
            if index % TOGETHER == 0 {
                files.expect_touched(index);
            }
            let slot = files.touched_slot(index);
            self.compare(files, slot, out);
            if let (true, Some((_, environment))) = (forgets, &self.next) {
                files.purge(environment, slot);
            }
        }
        if self.turns.more(files.touched()) {
            return true;
        }
        if let Some((now, environment)) = self.next.take() {
            out.0.push(Measured::Circumstances(self.worker, Box::new(now.clone())));
            self.circumstances = Some((now, environment));
            self.swept = None;
        }
        files.finish(self.circumstances.is_some());
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.circumstances.as_ref().map(|(known, _)| known))
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.circumstances = restorer.get::<Option<Circumstances>>()?.map(|known| known.in_force(&self.policy));
        Ok(())
    }
}

impl Measurer {
    /// Says how much the contribution of one changed person differs from before and whether they moved, and sets when to wake them.
    fn compare(&mut self, files: &mut Files, slot: u32, out: &mut Said) {
        if self.circumstances.is_none() && self.next.is_none() {
            return;
        }
        let entry = &files.entries[slot];
        let (person, is, (before, was)) = (entry.person, entry.membership(), files.before(slot));
        let was = if self.circumstances.is_none() { Membership::OUTSIDE } else { was };
        let subject = Subject { person, places: [was, is], files: [before, files.file(slot)] };
        let has_place = is.household != HouseholdKey::NONE;
        let only = files.only_changed(slot).filter(|_| self.next.is_none() && has_place);
        let is_swept = self.swept.is_some() && files.is_unchanged(slot) && has_place;
        let addresses = if is_swept { None } else { self.addresses(&subject, only) };
        let moves = addresses.is_some_and(|[lived_at, lives_at]| lived_at != lives_at);
        let own_horizon = match only.filter(|_| !moves) {
            _ if is_swept => self.measure_swept(&subject).min(entry.wake),
            // What was not looked at may change when it might have before.
            Some(registers) => self.measure_changed(&subject, registers, files.versions(slot), files.faults_left(slot)).min(entry.wake),
            None => self.measure(&subject, files.faults_left(slot)),
        };
        if !self.faults.is_empty() {
            consolidate(&mut self.faults);
            self.answer.borrow_mut().faults.append(&mut self.faults);
        }
        if self.circumstances.is_none() {
            leave_out_doubts(&self.policy, &mut self.now.entitlements);
        } else if was != is {
            self.answer.borrow_mut().moves.push((person, was, is));
        }
        self.tell(&subject, addresses, out);
        files.settle(slot, files.horizon(slot).min(own_horizon));
    }

    /// Where somebody is registered, before and now, if that may be elsewhere or was not known; these registers alone changed, if few did.
    fn addresses(&mut self, subject: &Subject<'_>, only: Option<RegisterSet>) -> Option<[u64; 2]> {
        let Measurer { policy, circumstances, next, fields, .. } = self;
        let of_addresses = |register: &u16| policy.registers[usize::from(*register)].is_of_addresses();
        let (_, before) = circumstances.as_ref().filter(|_| policy.dwelling_slots > 0)?;
        if only.is_some_and(|few| !few.as_slice().iter().any(of_addresses)) {
            return None;
        }
        let days = [before, next.as_ref().map_or(before, |(_, now)| now)];
        Some([0, 1].map(|side| address(policy, days[side], subject.person, subject.files[side], fields)))
    }

    /// Measures, as of both days, somebody who changed nothing and whose own date has not come.
    fn measure_swept(&mut self, subject: &Subject<'_>) -> Date {
        let Measurer { evaluator, circumstances, next, swept, before, now, .. } = self;
        let (Some((_, past)), Some((_, present)), Some(touched)) = (circumstances, next, swept) else {
            unreachable!("who is swept has both days")
        };
        let [_, is] = subject.places;
        evaluator.contributions_of_days([past, present], touched, (subject.person, is), subject.files[1], [before, now])
    }

    /// Measures what records of these registers bear on that came or went, of somebody of whom nothing else changed.
    fn measure_changed(&mut self, subject: &Subject<'_>, registers: RegisterSet, versions: Versions<'_>, faults_left: bool) -> Date {
        let Measurer { evaluator, circumstances, before, now, faults, .. } = self;
        let Some((_, environment)) = circumstances else { unreachable!("nothing changes before the first date") };
        let (person, [_, is]) = (subject.person, subject.places);
        let fault = faults_left.then_some(|side, index| faults.push(fault(side, index, person)));
        evaluator.contributions(environment, (person, is), registers.as_slice(), versions, [before, now], fault)
    }

    /// Measures somebody whole, as they were and as they are.
    fn measure(&mut self, subject: &Subject<'_>, faults_left: bool) -> Date {
        let Measurer { evaluator, circumstances, next, before, now, faults, .. } = self;
        let Subject { person, places: [was, is], files: [file_before, file] } = *subject;
        let Some((_, environment)) = next.as_ref().or(circumstances.as_ref()) else { return Date::NEVER };
        if faults_left {
            for (side, file) in subject.files.into_iter().enumerate() {
                evaluator.composition(environment, person, file, |index| faults.push(fault(side, index, person)));
            }
        }
        before.clear();
        if let Some((_, past)) = &*circumstances {
            measure_one(evaluator, past, person, file_before, was, before);
        }
        measure_one(evaluator, environment, person, file, is, now)
    }

    /// Hands on what differs of what was measured.
    fn tell(&mut self, subject: &Subject<'_>, addresses: Option<[u64; 2]>, (measured, rights, lodged): &mut Said) {
        let Measurer { policy, circumstances, next, before, now, fields, .. } = self;
        let [was, is] = subject.places;
        let of_members = [(was, &*before), (is, &*now)].map(|(place, contribution)| (place.role != Role::Outside).then_some(contribution));
        for (_, household, [before, now]) in subject.sides(true, of_members, None) {
            let difference = difference(policy, false, before, now);
            measured.extend(difference.map(|difference| Measured::Difference(household, difference)));
        }
        let stays = addresses.is_none_or(|[lived_at, lives_at]| lived_at == lives_at);
        for (side, household, [before, now]) in subject.sides(stays, of_members, None) {
            let Some(difference) = difference(policy, true, before, now) else { continue };
            let environment = next.as_ref().or(circumstances.as_ref()).map(|(_, environment)| environment);
            let lives_at = || address(policy, environment.expect("there is a date"), subject.person, subject.files[1], fields);
            let address = addresses.map_or_else(lives_at, |addresses| addresses[side]);
            lodged.push(Lodged { address, household, difference });
        }
        for (_, household, [before, now]) in subject.sides(true, [&before.entitlements[..], &now.entitlements], &[]) {
            hand_on(household, before, now, rights);
        }
    }
}

/// Somebody who is compared: as they were (0) and as they are (1).
struct Subject<'f> {
    person: PersonId,
    places: [Membership; 2],
    files: [&'f [u8]; 2],
}

impl Subject<'_> {
    /// To which households it is told what was and what is, and of which of both sides: to one, both together, where the person stays; else what was to
    /// the one that they left, what is to the other.
    fn sides<T: Copy>(&self, stays: bool, [before, now]: [T; 2], nothing: T) -> impl Iterator<Item = (usize, HouseholdKey, [T; 2])> {
        let [was, is] = self.places.map(|place| place.household);
        let left = (0, was, [before, nothing]);
        let sides = if stays && was == is { [None, Some((1, is, [before, now]))] } else { [Some(left), Some((1, is, [nothing, now]))] };
        sides.into_iter().flatten()
    }
}

/// A declared fault that goes (0) or comes (1).
fn fault(side: usize, index: u16, person: PersonId) -> (Fault, isize) {
    (declared(index, person), if side == 0 { -1 } else { 1 })
}

/// What a person contributes where they stand; nothing where they stand nowhere.
pub(crate) fn measure_one(
    evaluator: &mut Evaluator,
    environment: &Environment,
    person: PersonId,
    file: &[u8],
    place: Membership,
    contribution: &mut Contribution,
) -> Date {
    if place.household == HouseholdKey::NONE {
        contribution.clear();
        return Date::NEVER;
    }
    evaluator.contribution(environment, person, file, place, contribution)
}

/// What a household (or a dwelling) gains by `now` and loses by `before`; nothing if nothing differs.
pub(crate) fn difference(policy: &Policy, dwelling: bool, before: Option<&Contribution>, now: Option<&Contribution>) -> Option<Difference> {
    let slots = if dwelling { policy.slots..policy.slots + policy.dwelling_slots } else { 0..policy.slots };
    let first = slots.start;
    let [lost, gained] = [before, now].map(|contribution| {
        let values = contribution.map_or(&[][..], |contribution| &contribution.values);
        let from = |slot: usize| values.partition_point(|(position, _)| usize::from(*position) < slot);
        &values[from(slots.start)..from(slots.end)]
    });
    let mut difference = Difference { values: changes(lost, gained), ..Difference::default() };
    difference.values.iter_mut().for_each(|(slot, _)| *slot -= first as u16);
    if before.map(|contribution| &contribution.unknown) != now.map(|contribution| &contribution.unknown) {
        for (contribution, sign) in [(before, -1), (now, 1)] {
            let unknown = contribution.into_iter().flat_map(|c| &c.unknown).filter(|(slot, _)| slots.contains(&usize::from(*slot)));
            difference.unknown.extend(unknown.map(|&(slot, reason)| (slot - first as u16, reason, sign)));
        }
    }
    if before.map(|contribution| &contribution.claims) != now.map(|contribution| &contribution.claims) {
        for (contribution, sign) in [(before, -1), (now, 1)] {
            let claims = contribution.into_iter().flat_map(|c| &c.claims).filter(|claim| policy.reads_residents(claim.benefit) == dwelling);
            difference.claims.extend(claims.map(|claim| (claim.clone(), sign)));
        }
    }
    (difference != Difference::default()).then_some(difference)
}

/// By how much numbers differ, in the order of slots.
fn changes(before: &[(u16, i64)], now: &[(u16, i64)]) -> Vec<(u16, i64)> {
    let (mut before, mut now, mut changes) = (before.iter().peekable(), now.iter().peekable(), Vec::new());
    while let Some(slot) = before.peek().into_iter().chain(now.peek()).map(|(slot, _)| *slot).min() {
        let of = |side: &mut Peekable<Iter<'_, (u16, i64)>>| side.next_if(|(other, _)| *other == slot).map_or(0, |(_, value)| *value);
        let change = of(&mut now).wrapping_sub(of(&mut before));
        if change != 0 {
            changes.push((slot, change));
        }
    }
    changes
}

/// Before anything was said, nothing can be lost: what is in doubt from the first need not be told, unless others rest on it.
pub fn leave_out_doubts(policy: &Policy, entitlements: &mut Vec<Entitlement>) {
    entitlements.retain(|right| right.outcome != Outcome::InDoubt || policy.is_stacked(right.benefit));
}

/// Hands on the rights by which two sorted lists of one household differ.
pub fn hand_on(household: HouseholdKey, before: &[Entitlement], now: &[Entitlement], rights: &mut Vec<Decided>) {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let (old, new) = (before.next_if(|_| order.is_le()), now.next_if(|_| order.is_ge()));
        if order.is_ne() {
            rights.extend(old.map(|old| (right(household, old), -1)));
            rights.extend(new.map(|new| (right(household, new), 1)));
        }
    }
}

pub(crate) fn right(household: HouseholdKey, entitlement: &Entitlement) -> Right {
    let Entitlement { benefit, ref ground, period, outcome, amount, from, until, held, proactive, failed, recipient: person, addressee } =
        *entitlement;
    let ground = ground.clone();
    let decision = Decision { person, benefit, ground, period, outcome, amount, household, addressee, from, until, proactive, failed };
    Right { decision, held }
}
