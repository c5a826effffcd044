//! What two engines decided of the same people under different policies, compared: what a change of the policy means to each of them.

use crate::ledger::right_of;
use crate::views::Writer;
use dataflows::decisions::{change, standing};
use dataflows::model::{Change, ChangeKind, Decision, Ground, HouseholdKey, Membership, Move, PersonId, Restanding, Standing};
use dataflows::policy::{Policy, Right};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

/// What one worker's house concluded.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Conclusions {
    pub(super) rights: Vec<Right>,
    pub(super) places: Vec<(PersonId, Membership)>,
    pub(super) standings: Vec<(HouseholdKey, Standing)>,
}

impl From<Vec<Right>> for Conclusions {
    fn from(rights: Vec<Right>) -> Self {
        Conclusions { rights, ..Conclusions::default() }
    }
}

/// What an engine concluded of everybody after an epoch.
pub struct Outcome {
    pub policy: Arc<Policy>,
    /// The decisions that stand, those in doubt among them, in their order; none of a number given up in secret.
    pub decisions: Vec<Decision>,
    /// Everybody who has a place, in the order of people.
    places: Vec<(PersonId, Membership)>,
    /// In the order of households.
    standings: Vec<(HouseholdKey, Standing)>,
}

impl Outcome {
    /// Of the conclusions of all workers.
    pub fn new(policy: Arc<Policy>, conclusions: Vec<Conclusions>, secret: &BTreeSet<PersonId>) -> Outcome {
        let (mut rights, mut places, mut standings) = (Vec::new(), Vec::new(), Vec::new());
        for mut part in conclusions {
            rights.append(&mut part.rights);
            places.append(&mut part.places);
            standings.append(&mut part.standings);
        }
        let mut decisions = standing(&policy, rights);
        decisions.retain(|decision| !secret.contains(&decision.person));
        places.sort_unstable();
        standings.sort_unstable();
        Outcome { policy, decisions, places, standings }
    }
}

/// What is other under one policy than under another.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What ended because the later policy does not know the benefit or the register any more, in the names of the earlier one.
    pub ended: Vec<Change>,
    /// All else, in the names of the later policy.
    pub changes: Vec<Change>,
    pub standings: Vec<Restanding>,
    pub moves: Vec<Move>,
}

/// How much differs. Decisions that say the same of the same right are no change, whatever the version under which they were made; of
/// somebody who is secret by now nothing is said.
pub fn compare(before: Outcome, now: Outcome, secret: &BTreeSet<PersonId>) -> Comparison {
    let names = Names::new(&before.policy, &now.policy);
    let (writer_before, writer_now) = (Writer::new(before.policy.clone()), Writer::new(now.policy.clone()));
    let mut comparison = Comparison::default();
    let mut known: Vec<(Decision, Decision)> = Vec::with_capacity(before.decisions.len());
    for decision in before.decisions {
        match names.translate(decision.clone()) {
            Some(translated) => known.push((translated, decision)),
            None => comparison.ended.extend(change(Some(decision), None)),
        }
    }
    known.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let right = |decision: &Decision| right_of(decision);
    let pairs = pairs(known, now.decisions, |(decision, _)| right(decision), right);
    for pair in pairs {
        comparison.changes.extend(match pair {
            (Some((translated, as_it_was)), Some(now)) => {
                let same = translated == now && writer_before.reasons(&as_it_was) == writer_now.reasons(&now);
                if same { None } else { change(Some(translated), Some(now)) }
            }
            (before, now) => change(before.map(|(translated, _)| translated), now),
        });
    }
    for change in comparison.ended.iter_mut().chain(&mut comparison.changes) {
        if secret.contains(&change.decision.person) {
            change.kind = ChangeKind::Sealed;
        }
    }
    for pair in pairs_of(before.places, now.places) {
        let (person, was, is) = pair;
        if was != is {
            let place = |place: Option<Membership>| place.unwrap_or(Membership::OUTSIDE);
            comparison.moves.push((person, place(was), place(is)));
        }
    }
    comparison.standings = pairs_of(before.standings, now.standings).filter(|(_, was, is)| was != is).collect();
    comparison
}

/// Two lists of values by key, side by side.
fn pairs_of<K: Copy + Ord, V: Copy>(before: Vec<(K, V)>, now: Vec<(K, V)>) -> impl Iterator<Item = (K, Option<V>, Option<V>)> {
    let key = |(key, _): &(K, V)| *key;
    let pairs = pairs(before, now, key, key);
    pairs.map(|(was, is)| {
        let key = was.as_ref().or(is.as_ref()).map(|(key, _)| *key).expect("one of the two is there");
        (key, was.map(|(_, value)| value), is.map(|(_, value)| value))
    })
}

/// Two sorted lists side by side.
fn pairs<A, B, K: Ord>(
    one: Vec<A>,
    other: Vec<B>,
    key: impl Fn(&A) -> K,
    other_key: impl Fn(&B) -> K,
) -> impl Iterator<Item = (Option<A>, Option<B>)> {
    let (mut one, mut other): (Peekable<_>, Peekable<_>) = (one.into_iter().peekable(), other.into_iter().peekable());
    std::iter::from_fn(move || {
        let order = match (one.peek(), other.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => key(one).cmp(&other_key(other)),
        };
        Some((one.next_if(|_| order.is_le()), other.next_if(|_| order.is_ge())))
    })
}

/// What the numbers of one policy's benefits and registers are in another list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    benefits: Vec<Option<u16>>,
    registers: Vec<Option<u16>>,
}

impl Names {
    pub fn new(from: &Policy, to: &Policy) -> Names {
        Names::by(from, |id| to.benefit(id), |id| to.register(id))
    }

    /// By what a benefit and a register of these ids are called elsewhere.
    pub fn by(from: &Policy, benefit: impl Fn(&str) -> Option<u16>, register: impl Fn(&str) -> Option<u16>) -> Names {
        Names {
            benefits: from.benefits.iter().map(|known| benefit(&known.id)).collect(),
            registers: from.registers.iter().map(|known| register(&known.id)).collect(),
        }
    }

    /// Whether everything is called the same.
    pub fn are_the_same(&self) -> bool {
        [&self.benefits, &self.registers].into_iter().all(|numbers| (0..).zip(numbers).all(|(number, other)| *other == Some(number)))
    }

    /// A decision in the other names; nothing where they have none for it.
    pub fn translate(&self, mut decision: Decision) -> Option<Decision> {
        decision.benefit = self.benefits[usize::from(decision.benefit)]?;
        if let Ground::Record(register, _) = &mut decision.ground {
            *register = self.registers[usize::from(*register)]?;
        }
        Some(decision)
    }

    /// A change in the other names.
    pub fn translate_change(&self, change: &Change) -> Option<Change> {
        let before = match &change.before {
            Some(before) => Some(Box::new(self.translate((**before).clone())?)),
            None => None,
        };
        Some(Change { kind: change.kind, decision: self.translate(change.decision.clone())?, before })
    }
}
