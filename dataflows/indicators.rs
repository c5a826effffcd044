//! Room 4: indicators. What each member contributes to the sums of their household, and the rights of persons.
//!
//! A household's row is a vector of sums, so a change of one person is one addition: what they contributed before, taken
//! from what they contribute now. Both are computed from the files; nothing that was sent needs to be kept.

use crate::model::{Date, Decision, Epoch, HouseholdKey, Membership, PersonId, Role};
use crate::operators::{PerEpoch, per_epoch, spread};
use crate::persons::{PEOPLE_PER_TURN, concerns_everybody};
use crate::policy::{Contribution, Entitlement, Environment, Evaluator, Policy};
use crate::records::{Circumstances, FileEvent, Files, SharedFiles};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use timely::dataflow::StreamVec;

/// What makes a person's contribution change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PersonEvent {
    /// A place taken (+1) or left (−1).
    Member(PersonId, Membership, isize),
    /// A record about kin enters or leaves the file.
    Kin(Box<FileEvent>),
    /// The room before has looked at somebody on the worker of this index.
    Looked(u64),
    Circumstances(u64, Box<Circumstances>),
}

impl PersonEvent {
    fn route(&self) -> u64 {
        match self {
            PersonEvent::Member(person, ..) => spread(*person),
            PersonEvent::Kin(event) => event.route(),
            PersonEvent::Looked(worker) | PersonEvent::Circumstances(worker, _) => *worker,
        }
    }
}

/// A change of a household's sums: `(slot, difference)`, and `(slot, reason, difference)` of the members for whom it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub values: Vec<(u16, i64)>,
    pub unknown: Vec<(u16, u16, i32)>,
}

/// What the room says.
#[derive(Clone, Debug)]
pub enum Measured {
    Household(HouseholdKey, Difference),
    Decision(Decision, Epoch, isize),
}

/// Measures everybody whose file, place, date or circumstances changed.
pub fn measure<'scope>(
    events: StreamVec<'scope, Epoch, PersonEvent>,
    files: SharedFiles,
    policy: Arc<Policy>,
) -> StreamVec<'scope, Epoch, Measured> {
    let measurer = Measurer {
        files,
        evaluator: Evaluator::new(policy.clone()),
        policy,
        circumstances: None,
        next: None,
        members: Vec::new(),
        position: None,
        before: Contribution::default(),
        now: Contribution::default(),
    };
    per_epoch(events, "Measures", PersonEvent::route, measurer)
}

struct Measurer {
    files: SharedFiles,
    policy: Arc<Policy>,
    evaluator: Evaluator,
    circumstances: Option<(Circumstances, Environment)>,
    next: Option<(Circumstances, Environment)>,
    members: Vec<(PersonId, isize, Membership)>,
    /// How far the list of changed people was measured in this epoch.
    position: Option<usize>,
    before: Contribution,
    now: Contribution,
}

impl PerEpoch<PersonEvent, Measured> for Measurer {
    fn receive(&mut self, event: PersonEvent) {
        match event {
            PersonEvent::Member(person, membership, sign) => self.members.push((person, sign, membership)),
            PersonEvent::Kin(event) => self.files.borrow_mut().receive(*event),
            PersonEvent::Looked(_) => {}
            PersonEvent::Circumstances(_, now) => {
                let environment = self.policy.environment(now.today, &now.feeds);
                self.next = Some((*now, environment));
            }
        }
    }

    fn answer(&mut self, epoch: Epoch, give: &mut dyn FnMut(Measured)) -> bool {
        let files = self.files.clone();
        let files = &mut *files.borrow_mut();
        if self.position.is_none() {
            self.move_members(files);
        }
        let position = self.position.unwrap_or(0);
        let stop = files.changed.len().min(position + PEOPLE_PER_TURN);
        for index in position..stop {
            self.compare(files, index, epoch, give);
        }
        if stop < files.changed.len() {
            self.position = Some(stop);
            return true;
        }
        files.changed.clear();
        self.position = None;
        if let Some((now, environment)) = self.next.take() {
            if self.circumstances.as_ref().is_some_and(|(before, _)| concerns_everybody(&self.policy, before, &now)) {
                files.purge(&self.policy, &environment);
            }
            self.circumstances = Some((now, environment));
        }
        false
    }
}

impl Measurer {
    /// Gives everybody the place that composition found, or none.
    fn move_members(&mut self, files: &mut Files) {
        self.members.sort_unstable();
        let mut rest = &self.members[..];
        while let Some((person, ..)) = rest.first() {
            let (of_person, following) = rest.split_at(rest.partition_point(|(other, ..)| other <= person));
            let slot = files.slot(*person);
            let before = files.entries[slot as usize].membership;
            let left = |place: &Membership| of_person.iter().filter(|(.., other)| other == place).map(|(_, sign, _)| *sign).sum::<isize>();
            let entered = of_person.iter().map(|(.., place)| place).find(|place| left(place) > 0);
            let now = entered.copied().unwrap_or(if left(&before) < 0 { Membership::OUTSIDE } else { before });
            if now != before {
                files.touch(slot);
                files.entries[slot as usize].membership = now;
            }
            rest = following;
        }
        self.members.clear();
    }

    /// Says how much the contribution of one changed person differs from before, and sets when to wake them.
    fn compare(&mut self, files: &mut Files, index: usize, epoch: Epoch, give: &mut dyn FnMut(Measured)) {
        let changed = &files.changed[index];
        let (slot, horizon) = (changed.slot, changed.horizon);
        let entry = &files.entries[slot as usize];
        let (person, was, is) = (entry.person, changed.membership, entry.membership);
        let Some((_, environment)) = self.next.as_ref().or(self.circumstances.as_ref()) else {
            files.settle(slot, Date::NEVER);
            return;
        };
        match &self.circumstances {
            Some((_, environment)) => {
                measure_one(&mut self.evaluator, environment, person, files.file_before(changed), was, &mut self.before);
            }
            None => clear(&mut self.before),
        }
        let own_horizon = measure_one(&mut self.evaluator, environment, person, &entry.file, is, &mut self.now);

        if was.household == is.household {
            if is.role != Role::Outside {
                send(is.household, Some(&self.before), Some(&self.now), give);
            }
        } else {
            if was.role != Role::Outside {
                send(was.household, Some(&self.before), None, give);
            }
            if is.role != Role::Outside {
                send(is.household, None, Some(&self.now), give);
            }
        }
        if self.before.entitlements != self.now.entitlements || was != is {
            for (contribution, place, sign) in [(&self.before, was, -1), (&self.now, is, 1)] {
                for entitlement in &contribution.entitlements {
                    give(Measured::Decision(own_decision(person, place, entitlement), epoch, sign));
                }
            }
        }
        files.settle(slot, horizon.min(own_horizon));
    }
}

fn clear(contribution: &mut Contribution) {
    contribution.values.clear();
    contribution.unknown.clear();
    contribution.entitlements.clear();
}

/// What a person contributes where they stand; nothing where they stand nowhere.
fn measure_one(
    evaluator: &mut Evaluator,
    environment: &Environment,
    person: PersonId,
    file: &[u8],
    place: Membership,
    contribution: &mut Contribution,
) -> Date {
    if place.household == HouseholdKey::NONE {
        clear(contribution);
        return Date::NEVER;
    }
    evaluator.contribution(environment, person, file, place.role, contribution)
}

/// Sends what a household gains by `now` and loses by `before`, unless nothing differs.
fn send(household: HouseholdKey, before: Option<&Contribution>, now: Option<&Contribution>, give: &mut dyn FnMut(Measured)) {
    let values = |contribution: Option<&Contribution>, slot: usize| contribution.map_or(0, |c| c.values.get(slot).copied().unwrap_or(0));
    let slots = [before, now].into_iter().flatten().map(|contribution| contribution.values.len()).max().unwrap_or(0);
    let mut difference = Difference::default();
    for slot in 0..slots {
        let change = values(now, slot).wrapping_sub(values(before, slot));
        if change != 0 {
            difference.values.push((slot as u16, change));
        }
    }
    if before.map(|contribution| &contribution.unknown) != now.map(|contribution| &contribution.unknown) {
        for (contribution, sign) in [(before, -1), (now, 1)] {
            difference.unknown.extend(contribution.into_iter().flat_map(|c| &c.unknown).map(|&(slot, reason)| (slot, reason, sign)));
        }
    }
    if !difference.values.is_empty() || !difference.unknown.is_empty() {
        give(Measured::Household(household, difference));
    }
}

/// A person's own right as a decision. Children and dependants are written to through the adult whom their family is named after.
fn own_decision(person: PersonId, place: Membership, entitlement: &Entitlement) -> Decision {
    let addressee = match place.role {
        Role::Head | Role::Spouse => person,
        Role::Child | Role::Dependant if place.household.is_family() => place.household.anchor(),
        _ => 0,
    };
    decision(entitlement, person, addressee, place.household)
}

/// An entitlement, given to somebody.
pub fn decision(entitlement: &Entitlement, person: PersonId, addressee: PersonId, household: HouseholdKey) -> Decision {
    Decision {
        person,
        benefit: entitlement.benefit,
        ground: entitlement.ground.clone(),
        period: entitlement.period,
        outcome: entitlement.outcome,
        amount: entitlement.amount,
        household,
        addressee,
        from: entitlement.from,
        until: entitlement.until,
    }
}
