//! Room 9: decisions. What changed for each person within an epoch, with identities that do not depend on the run.

use crate::indicators::Decided;
use crate::model::{Change, ChangeKind, Date, Decision, DecisionId, Ground, Outcome, PersonId, PersonKind, SharedAnswer};
use crate::operators::{Flow, Listed, PerEpoch, ROOM, Restorer, Room, Rule, Saver, StoreSize, lists, spread};
use crate::policy::{Policy, Right};
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// The identity of a decision: person, benefit, ground, period, outcome and amount, by their outside names.
pub fn decision_id(policy: &Policy, decision: &Decision) -> DecisionId {
    identity(policy.person, &policy.benefits[decision.benefit as usize].id, |register| register_of(policy, register), decision)
}

/// The same, for somebody who knows these names without the policy.
pub fn identity<'n>(people: PersonKind, benefit: &str, register: impl Fn(u16) -> &'n str, decision: &Decision) -> DecisionId {
    let Decision { person, period, outcome, amount, ground, .. } = decision;
    // A first load names millions.
    let mut text = String::with_capacity(IDENTITY_BYTES);
    let write = || {
        people.write(*person, &mut text)?;
        write!(text, "|{benefit}|")?;
        write_ground(ground, register, &mut text)?;
        text.write_str("|")?;
        if *period != Date::NEVER {
            write!(text, "{period}")?;
        }
        write!(text, "|{}|{amount}", outcome.as_str())
    };
    write().expect("memory can be written");
    DecisionId(xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

/// The same of texts as they are written outside: person, benefit, ground, period (none is empty) and outcome.
pub fn identity_of([person, benefit, ground, period, outcome]: [&str; 5], amount: i64) -> DecisionId {
    DecisionId(xxhash_rust::xxh3::xxh3_128(format!("{person}|{benefit}|{ground}|{period}|{outcome}|{amount}").as_bytes()))
}

/// Few identities are longer.
const IDENTITY_BYTES: usize = 128;

/// `constant`, or the register and key of the record that founds the right.
pub fn ground_text(policy: &Policy, ground: &Ground) -> String {
    let mut text = String::new();
    write_ground(ground, |register| register_of(policy, register), &mut text).expect("memory can be written");
    text
}

/// The same, by the names that registers have somewhere.
pub fn write_ground<'n>(ground: &Ground, register: impl Fn(u16) -> &'n str, out: &mut impl fmt::Write) -> fmt::Result {
    match ground {
        Ground::Constant => out.write_str("constant"),
        Ground::Record(of, key) => write!(out, "{}:{key}", register(*of)),
    }
}

fn register_of(policy: &Policy, register: u16) -> &str {
    &policy.registers[usize::from(register)].id
}

/// Decides which rights stand beside each other, and nets those gained and lost in an epoch, person by person. Changes go into
/// the answer; the stream only tells when the epoch is through.
pub fn consolidate<'scope>(
    rights: [Flow<'scope, Decided>; 2],
    answer: SharedAnswer,
    policy: Arc<Policy>,
    stacked: Rc<Cell<StoreSize>>,
) -> Flow<'scope, ()> {
    let [of_persons, of_households] = rights;
    let route = |(right, _): &Decided| spread(right.decision.person);
    let room = Room::new(of_persons.site(), "Decisions").hear(of_persons, route).hear(of_households, route);
    let stacked = lists(Stacking(policy.clone()), stacked);
    let (through,) = room.run(Netter { policy, answer, stacked, concluded: (Vec::new(),), pending: Vec::new(), decided: false });
    through
}

/// Which of somebody's rights stand, of those that rule each other out. Listed by person.
struct Stacking(Arc<Policy>);

impl Rule for Stacking {
    type Fact = Right;
    type Conclusion = Decision;
    type Outlets = Pending;

    fn conclude(&self, _person: PersonId, known: &[Right], conclusions: &mut dyn FnMut(Decision)) {
        self.0.stack(known).into_iter().for_each(conclusions);
    }

    fn tell(&self, _person: PersonId, decision: Decision, sign: isize, (pending,): &mut Pending) {
        pending.push((decision, sign));
    }
}

/// Decisions that stand (+1) or stand no longer (−1).
type Pending = (Vec<(Decision, isize)>,);

struct Netter<Stacked> {
    policy: Arc<Policy>,
    answer: SharedAnswer,
    stacked: Stacked,
    /// What stacking says.
    concluded: Pending,
    pending: Vec<(Decision, isize)>,
    /// Whether any epoch had decisions here. In the first one, of which there are millions, nothing can be lost or refuted: a right
    /// that rests on no other is gained as soon as it is heard of.
    decided: bool,
}

impl<Stacked: PerEpoch<Event = Listed<Right>, Outlets = Pending>> PerEpoch for Netter<Stacked> {
    type Event = Decided;
    type Outlets = (Vec<()>,);

    fn receive(&mut self, (right, sign): Decided, _: &mut (Vec<()>,)) {
        match self.policy.is_stacked(right.decision.benefit) {
            true => self.stacked.receive((right.decision.person, right, sign), &mut self.concluded),
            false if self.decided || sign < 0 => self.pending.push((right.decision, sign)),
            false => self.answer.borrow_mut().changes.extend(change(None, Some(right.decision))),
        }
    }

    fn answer(&mut self, _: &mut (Vec<()>,)) -> bool {
        while self.stacked.answer(&mut self.concluded) {}
        self.pending.append(&mut self.concluded.0);
        self.concluded.0.shrink_to(ROOM);
        let first = !std::mem::replace(&mut self.decided, true);
        differential_dataflow::consolidation::consolidate(&mut self.pending);
        let changes = &mut self.answer.borrow_mut().changes;
        // Sorted by person, benefit, ground and period first, the two sides of one right are neighbours.
        let mut rest = self.pending.drain(..).peekable();
        while let Some((decision, sign)) = rest.next() {
            debug_assert!(sign == 1 || sign == -1, "a right is there once or not at all");
            let other = rest.next_if(|(other, _)| same_right(&decision, other)).map(|(other, _)| other);
            let (before, now) = if sign > 0 { (other, Some(decision)) } else { (Some(decision), other) };
            changes.extend(change(before, now).filter(|change| !(first && change.kind == ChangeKind::Refuted)));
        }
        drop(rest);
        self.pending.shrink_to(ROOM);
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.decided)?;
        self.stacked.save(saver)
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.decided = restorer.get()?;
        self.stacked.restore(restorer)
    }
}

fn same_right(one: &Decision, other: &Decision) -> bool {
    (one.person, one.benefit, &one.ground, one.period) == (other.person, other.benefit, &other.ground, other.period)
}

/// The decisions that follow from all rights there are, those in doubt among them, in their order.
pub fn standing(policy: &Policy, mut rights: Vec<Right>) -> Vec<Decision> {
    rights.sort_unstable();
    let of_person = |one: &Right, other: &Right| one.decision.person == other.decision.person;
    let mut standing: Vec<Decision> = Vec::with_capacity(rights.len());
    for rights in rights.chunk_by(of_person) {
        let (stacked, alone): (Vec<_>, Vec<_>) = rights.iter().partition(|right| policy.is_stacked(right.decision.benefit));
        let stacked: Vec<Right> = stacked.into_iter().cloned().collect();
        standing.extend(policy.stack(&stacked));
        standing.extend(alone.into_iter().map(|right| right.decision.clone()));
    }
    standing.sort_unstable();
    standing
}

/// One right's change, if it is one: what was in doubt and still is, or is for the first time, is none.
pub fn change(before: Option<Decision>, now: Option<Decision>) -> Option<Change> {
    let stands = |decision: &Decision| decision.outcome != Outcome::InDoubt;
    let (stood, is_known) = (before.as_ref().is_some_and(stands), now.as_ref().is_none_or(stands));
    let (kind, decision, before) = match (before, now) {
        (Some(before), Some(now)) if stood && is_known => {
            let same = (before.outcome, before.amount) == (now.outcome, now.amount);
            (if same { ChangeKind::Attributes } else { ChangeKind::Amount }, now, Some(Box::new(before)))
        }
        (_, Some(now)) if is_known => (ChangeKind::Gained, now, None),
        (Some(before), None) => (if stood { ChangeKind::Lost } else { ChangeKind::Refuted }, before, None),
        (Some(before), Some(_)) if stood => (ChangeKind::Doubted, before, None),
        _ => return None,
    };
    Some(Change { kind, decision, before })
}
