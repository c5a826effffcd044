//! What another version of the policy would decide of those whom a worker keeps, as they are now. Nobody is told anything again: only what
//! means something else under it is asked, under both, of people and then of their families.
//!
//! They are asked part by part, so that no more than a part of what they answer is held at a time.

use crate::House;
use crate::dwellings::Lodged;
use crate::indicators::{Difference, difference, right};
use crate::model::{HouseholdKey, Role};
use crate::operators::hash;
use crate::policy::{Asked, Contribution, Entitlement, Environment, Evaluator, FeedState, Policy, Revision, Right, Row};
use crate::records::Circumstances;
use crate::ties::address;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Compares two policies of which both read files and rows alike.
pub struct Review {
    revision: Revision,
    /// Under the policy in force (0) and under the other one (1), here and below.
    sides: [Side; 2],
    /// Slots of people and keys of families by part, once any part is asked.
    people: Option<Vec<(u32, u32)>>,
    families: Option<Vec<(u32, HouseholdKey)>>,
}

struct Side {
    policy: Arc<Policy>,
    environment: Environment,
    evaluator: Evaluator,
    contribution: Contribution,
    row: Row,
    entitlements: Vec<Entitlement>,
}

/// One of so many parts of all families.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Part {
    pub index: u32,
    pub of: u32,
}

impl Part {
    /// Everything that belongs to families, by the parts of these.
    fn sort<T: Ord>(self, of: impl Iterator<Item = (HouseholdKey, T)>) -> Vec<(u32, T)> {
        // Workers share families by other bits.
        let mut sorted: Vec<_> = of.map(|(household, thing)| (hash(household.0) as u32 % self.of, thing)).collect();
        sorted.sort_unstable();
        sorted
    }

    /// What is of this part.
    fn of<T: Copy>(self, sorted: &[(u32, T)]) -> Vec<T> {
        let from = |part: u32| sorted.partition_point(|(of, _)| *of < part);
        sorted[from(self.index)..from(self.index + 1)].iter().map(|(_, thing)| *thing).collect()
    }
}

/// Rights under either policy, each in its names: those by which they differ, and of those that rule each other out all if any may differ.
pub type Rights = [Vec<Right>; 2];

/// What a family's row has under the other policy that it has not under the one in force.
pub type Gained = (HouseholdKey, Difference);

/// What people answer.
#[derive(Default, Serialize, Deserialize)]
pub struct OfPeople {
    pub gained: Vec<Gained>,
    /// Claims that rest on where somebody is registered: what that adds up to is kept by whoever keeps the address.
    pub lodged: Vec<Lodged>,
    /// Rights that are theirs whatever their family is.
    pub rights: Rights,
}

impl Review {
    /// Of the policy in force and of another one, under which registers are in these states; `None` if that one must be told everything
    /// anew: see [`Revision::between`].
    pub fn new(in_force: &Arc<Policy>, other: &Arc<Policy>, now: &Circumstances, feeds: &[FeedState]) -> Option<Review> {
        let sides = [(in_force, &now.feeds[..]), (other, feeds)].map(|(policy, feeds)| Side {
            policy: policy.clone(),
            environment: policy.environment(now.today, feeds),
            evaluator: Evaluator::new(policy.clone()),
            contribution: Contribution::default(),
            row: Row::default(),
            entitlements: Vec::new(),
        });
        let [before, now] = &sides;
        let revision = Revision::between([&before.policy, &now.policy], [&before.environment, &now.environment])?;
        Some(Review { revision, sides, people: None, families: None })
    }

    /// Leaves those rights that both policies give alike, and hands on the others.
    fn tell(&mut self, household: HouseholdKey, rights: &mut Rights) {
        let Review { revision, sides: [before, now], .. } = self;
        let (before, now) = (&mut before.entitlements, &mut now.entitlements);
        before.retain(|old| match now.iter().position(|new| revision.is_same(old, new)) {
            Some(same) => {
                now.swap_remove(same);
                false
            }
            None => true,
        });
        for (rights, entitlements) in rights.iter_mut().zip([before, now]) {
            rights.extend(entitlements.drain(..).map(|entitlement| right(household, &entitlement)));
        }
    }

    /// Has a family's row as it is under the other policy, of what means the same under the one in force. Of claims only those are left that
    /// are asked about.
    fn carry_over(&mut self) {
        let [Side { row: before, .. }, Side { row: now, .. }] = &mut self.sides;
        let Revision { slots, asked: [asked, _], .. } = &self.revision;
        before.claims.retain(|claim| asked.claimed.binary_search(&claim.benefit).is_ok());
        now.claims.clear();
        now.values.clear();
        now.values.extend(slots.iter().map(|slot| slot.map_or(0, |slot| before.values[usize::from(slot)])));
        now.unknown.clear();
        if !before.unknown.is_empty() {
            for (slot, same) in (0..).zip(slots) {
                let of_same = before.unknown.iter().filter(|(of, ..)| Some(*of) == *same);
                now.unknown.extend(of_same.map(|(_, reason, members)| (slot, *reason, *members)));
            }
        }
    }

    /// Adds what members bring to it.
    fn add(&mut self, gained: &Difference) {
        let row = &mut self.sides[1].row;
        gained.values.iter().for_each(|(slot, value)| row.values[usize::from(*slot)] += value);
        for (slot, reason, members) in &gained.unknown {
            match row.unknown.binary_search_by_key(&(*slot, *reason), |(slot, reason, _)| (*slot, *reason)) {
                Ok(at) => row.unknown[at].2 += members,
                Err(at) => row.unknown.insert(at, (*slot, *reason, *members)),
            }
        }
        row.claims.extend(gained.claims.iter().map(|(claim, _)| claim.clone()));
    }
}

impl House {
    /// Asks the people of this part of what is other under either policy.
    pub fn review_people(&self, review: &mut Review, part: Part) -> OfPeople {
        let mut answer = OfPeople::default();
        if !review.revision.asked.iter().any(Asked::is_of_people) {
            return answer;
        }
        let (files, mut fields) = (self.files.borrow(), Vec::new());
        let placed = || (0..).zip(files.entries.iter()).map(|(slot, entry)| (entry.membership().household, slot));
        let people = review.people.get_or_insert_with(|| part.sort(placed().filter(|(household, _)| *household != HouseholdKey::NONE)));
        for slot in part.of(people) {
            let entry = &files.entries[slot];
            let place = entry.membership();
            for (side, asked) in review.sides.iter_mut().zip(&review.revision.asked).filter(|(_, asked)| asked.is_of_people()) {
                let (who, file) = ((entry.person, place), files.file_of(entry));
                side.evaluator.contribution_of(&side.environment, asked, who, file, &mut side.contribution);
                std::mem::swap(&mut side.entitlements, &mut side.contribution.entitlements);
            }
            if place.role != Role::Outside {
                let Side { policy, environment, contribution, .. } = &review.sides[1];
                let more = |dwelling| difference(policy, dwelling, None, Some(contribution));
                answer.gained.extend(more(false).map(|more| (place.household, more)));
                answer.lodged.extend(more(true).map(|difference| {
                    let address = address(policy, environment, entry.person, files.file_of(entry), &mut fields);
                    Lodged { address, household: place.household, difference }
                }));
            }
            review.tell(place.household, &mut answer.rights);
        }
        answer
    }

    /// Completes claims that rest on dwellings, of those that this worker keeps.
    pub fn review_dwellings(&self, review: &Review, lodged: Vec<Lodged>) -> Vec<Gained> {
        let sums = self.dwellings.borrow();
        let complete = |Lodged { address, household, mut difference }| {
            for (claim, _) in &mut difference.claims {
                *claim = sums.complete(&review.sides[1].policy, address, claim);
            }
            (household, difference)
        };
        lodged.into_iter().map(complete).collect()
    }

    /// Asks the families of this part for their rights and for those that members have with them; `gained` is what people answered of them,
    /// whichever workers keep these.
    pub fn review_families(&self, review: &mut Review, part: Part, gained: Vec<Gained>) -> Rights {
        let mut rights = Rights::default();
        let asked = &review.revision.asked;
        let all = asked.iter().any(Asked::is_of_households);
        if !all && asked.iter().all(|asked| asked.claimed.is_empty()) {
            return rights;
        }
        let mut by_family: HashMap<HouseholdKey, Vec<Difference>> = HashMap::new();
        gained.into_iter().for_each(|(household, more)| by_family.entry(household).or_default().push(more));
        let rows = self.rows.borrow();
        let families = review.families.get_or_insert_with(|| part.sort(rows.keys().map(|household| (household, household))));
        for household in part.of(families) {
            rows.read(household, &mut review.sides[0].row);
            review.carry_over();
            by_family.get(&household).into_iter().flatten().for_each(|more| review.add(more));
            if !all && review.sides.iter().all(|side| side.row.claims.is_empty()) {
                continue;
            }
            for (side, asked) in review.sides.iter_mut().zip(&review.revision.asked) {
                side.evaluator.judge_of(&side.environment, asked, &side.row, household, &mut side.entitlements);
            }
            review.tell(household, &mut rights);
        }
        rights
    }
}
