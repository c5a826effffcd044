//! Room 8: decisions. What changed for each person within an epoch, with identities that do not depend on the run.

use crate::indicators::Right;
use crate::model::{Change, ChangeKind, Date, Decision, DecisionId, Epoch, Ground, SharedAnswer};
use crate::operators::{PerEpoch, Room, TURN, spread};
use crate::policy::Policy;
use std::sync::Arc;
use timely::dataflow::StreamVec;

/// The identity of a decision: person, benefit, ground, period, outcome and amount, by their outside names.
pub fn decision_id(policy: &Policy, decision: &Decision) -> DecisionId {
    let ground = ground_text(policy, &decision.ground);
    let text = format!(
        "{}|{}|{ground}|{}|{}|{}",
        policy.person.format(decision.person),
        policy.benefits[decision.benefit as usize].id,
        if decision.period == Date::NEVER { String::new() } else { decision.period.to_string() },
        decision.outcome.as_str(),
        decision.amount,
    );
    DecisionId(xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

/// `constant`, or the register and key of the record that founds the right.
pub fn ground_text(policy: &Policy, ground: &Ground) -> String {
    match ground {
        Ground::Constant => "constant".to_owned(),
        Ground::Record(register, key) => format!("{}:{key}", policy.registers[*register as usize].id),
    }
}

/// Nets the rights gained and lost in an epoch, person by person. Changes go into the answer; the stream only tells when the
/// epoch is through.
pub fn consolidate<'scope>(
    rights: [StreamVec<'scope, Epoch, Right>; 2],
    answer: SharedAnswer,
    policy: Arc<Policy>,
) -> StreamVec<'scope, Epoch, ()> {
    let [of_persons, of_households] = rights;
    let route = |(decision, _): &Right| spread(decision.person);
    let room = Room::new(of_persons.scope(), "Decisions").hear(of_persons, route).hear(of_households, route);
    let (through,) = room.run(Netter { policy, answer, pending: Vec::new() });
    through
}

struct Netter {
    policy: Arc<Policy>,
    answer: SharedAnswer,
    pending: Vec<Right>,
}

impl PerEpoch for Netter {
    type Event = Right;
    type Outlets = (Vec<()>,);

    fn receive(&mut self, right: Right, _: &mut (Vec<()>,)) {
        self.pending.push(right);
    }

    fn answer(&mut self, _: Epoch, _: &mut (Vec<()>,)) -> bool {
        differential_dataflow::consolidation::consolidate(&mut self.pending);
        let changes = &mut self.answer.borrow_mut().changes;
        // Sorted by person, benefit, ground and period first, the two sides of one right are neighbours.
        let mut rest = self.pending.drain(..).peekable();
        while let Some((decision, sign)) = rest.next() {
            debug_assert!(sign == 1 || sign == -1, "a right is there once or not at all");
            let other = rest.next_if(|(other, _)| same_right(&decision, other));
            changes.push(change(&self.policy, decision, sign, other));
        }
        drop(rest);
        self.pending.shrink_to(TURN);
        false
    }
}

fn same_right(one: &Decision, other: &Decision) -> bool {
    (one.person, one.benefit, &one.ground, one.period) == (other.person, other.benefit, &other.ground, other.period)
}

/// One right's change: from the decision, its sign, and its other side if there is one.
fn change(policy: &Policy, decision: Decision, sign: isize, other: Option<(Decision, isize)>) -> Change {
    let Some((other, _)) = other else {
        let kind = if sign > 0 { ChangeKind::Gained } else { ChangeKind::Lost };
        return Change { kind, id: decision_id(policy, &decision), decision, before: None };
    };
    let (before, now) = if sign > 0 { (other, decision) } else { (decision, other) };
    let same = (before.outcome, before.amount) == (now.outcome, now.amount);
    let kind = if same { ChangeKind::Attributes } else { ChangeKind::Amount };
    Change { kind, id: decision_id(policy, &now), decision: now, before: Some(Box::new(before)) }
}
