//! Which of a person's rights are asked about at all: those that have a ground, and of which no condition fails for a blank file unless there are records
//! that may change that. And what is asked of everybody alike.

use super::Policy;
use super::bits::Bits;
use super::programs::Gate;
use std::sync::Arc;

/// What opens rights of which the same conditions fail for a blank file, and that are founded on records of the same register, if on any.
pub(super) struct Lock {
    /// Of each of these there must be a record.
    shown_by: Vec<Bits>,
    ground: Option<u16>,
    pub rights: Bits,
    /// The nodes that these need.
    pub needs: Bits,
}

impl Lock {
    /// Whether it is opened by records of these registers, of which some may found rights.
    pub fn is_opened_by(&self, present: &Bits, grounds: &Bits) -> bool {
        let has_ground = self.ground.is_none_or(|register| grounds.contains(usize::from(register)));
        has_ground && self.shown_by.iter().all(|shown| shown.meets(present))
    }
}

/// What is asked of everybody alike: sums, by the nodes that fill them, and rights.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    pub fillers: Bits,
    pub rights: Arc<Bits>,
    /// The nodes that the sums need.
    pub needs: Bits,
    /// The registers whose records may be read for the sums or for any of these rights.
    pub read: Bits,
}

impl Inquiry {
    pub fn new(policy: &Policy, slots: &[u16], rights: &[&[u16]]) -> Inquiry {
        let programs = &policy.programs;
        let mut inquiry = Inquiry::default();
        for slot in slots.iter().map(|slot| usize::from(*slot)) {
            inquiry.fillers.insert(programs.slot_nodes[slot]);
            inquiry.needs.join(&programs.slot_needs[slot]);
        }
        let rights = || rights.iter().copied().flatten().map(|benefit| usize::from(*benefit));
        inquiry.rights = Arc::new(rights().collect());
        let mut most = inquiry.needs.clone();
        rights().for_each(|benefit| most.join(&programs.needs[benefit]));
        programs.sequence.registers_of(&most, &mut inquiry.read);
        inquiry
    }

    /// One that only has these nodes run.
    pub fn of_nodes(policy: &Policy, nodes: Bits) -> Inquiry {
        let mut inquiry = Inquiry::default();
        policy.programs.sequence.registers_of(&nodes, &mut inquiry.read);
        inquiry.needs = nodes;
        inquiry
    }
}

/// By benefit, which of its conditions close it.
pub(super) fn closed_gates(gates: &[Vec<Gate>], mut closes: impl FnMut(&Gate) -> bool) -> Vec<Vec<usize>> {
    gates.iter().map(|gates| (0..gates.len()).filter(|gate| closes(&gates[*gate])).collect()).collect()
}

/// The same for all benefits of people that are meant, by what opens them.
pub(super) fn locks(policy: &Policy, closed: &[Vec<usize>], is_meant: impl Fn(usize) -> bool) -> Vec<Lock> {
    let programs = &policy.programs;
    let mut locks: Vec<Lock> = Vec::new();
    let of_people = programs.own_benefits.iter().chain(&programs.claims).map(|benefit| usize::from(*benefit));
    for benefit in of_people.filter(|benefit| is_meant(*benefit)) {
        let mut shown_by: Vec<Bits> = Vec::new();
        for gate in &closed[benefit] {
            let shown = &programs.gates[benefit][*gate].shown_by;
            if !shown_by.contains(shown) {
                shown_by.push(shown.clone());
            }
        }
        let ground = policy.benefits[benefit].ground_register;
        let known = locks.iter().position(|lock| (&lock.shown_by, lock.ground) == (&shown_by, ground));
        let at = known.unwrap_or(locks.len());
        if known.is_none() {
            locks.push(Lock { shown_by, ground, rights: Bits::default(), needs: Bits::default() });
        }
        locks[at].rights.insert(benefit);
        locks[at].needs.join(&programs.needs[benefit]);
    }
    locks
}
