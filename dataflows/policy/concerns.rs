//! What a change concerns: which programs must run again when only the records of one register changed in a file, or only some
//! sums of a household.
//!
//! An output that rests on nothing that changed is what it was, so nobody needs to compute it. A record that no filter lets pass, before
//! or now, changes nothing. What the outputs concerned rest on beside the change is computed once, for before and now together.

use super::Policy;
use super::bits::Bits;
use super::environment::Environment;
use super::graph::{Code, Graph, Input, slot_of};
use super::openings::Inquiry;
use super::program::{Op, Reg};
use super::programs::Programs;
use super::rights::BenefitProgram;
use std::collections::BTreeSet;
use std::ops::Range;

/// The nodes of both machines that a right needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    pub person: BTreeSet<usize>,
    pub household: BTreeSet<usize>,
}

/// What the records of a register concern, of one person.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concern {
    /// Who belongs together, or whether tied people know of the person.
    pub composition: bool,
    /// What tied people know of the person.
    pub told: bool,
    /// Declared faults.
    pub faults: Vec<u16>,
    pub slots: Vec<u16>,
    pub own_benefits: Vec<u16>,
    pub claims: Vec<u16>,
}

/// Outputs of a person's machine, and the nodes that they need.
pub(crate) struct Outputs<'a> {
    pub composition: &'a BTreeSet<usize>,
    pub faults: &'a [usize],
    pub kin_when: Option<usize>,
    pub kin_fields: &'a [usize],
    /// The node of each slot, from `first_slot` on.
    pub slots: &'a [usize],
    pub first_slot: usize,
    pub own_benefits: &'a [u16],
    pub claims: &'a [u16],
    /// By benefit.
    pub needs: &'a [Needs],
    pub grounds: &'a [Option<u16>],
}

impl Concern {
    /// Of the register of this number.
    pub fn new(register: u16, person: &Graph, outputs: &Outputs<'_>) -> Concern {
        let rests = |node: &usize| person.rests_on(*node, register);
        let right = |benefit: &u16| {
            let at = usize::from(*benefit);
            outputs.grounds[at] == Some(register) || outputs.needs[at].person.iter().any(rests)
        };
        let rights = |of: &[u16]| of.iter().copied().filter(right).collect::<Vec<_>>();
        let positions = |nodes: &[usize], first: usize| {
            let resting = (0..nodes.len()).filter(|at| rests(&nodes[*at]));
            resting.map(|at| (at + first) as u16).collect::<Vec<_>>()
        };
        Concern {
            composition: outputs.composition.iter().chain(&outputs.kin_when).any(rests),
            told: outputs.kin_fields.iter().any(rests),
            faults: positions(outputs.faults, 0),
            slots: positions(outputs.slots, outputs.first_slot),
            own_benefits: rights(outputs.own_benefits),
            claims: rights(outputs.claims),
        }
    }

    /// Whether anything that a person contributes or has a right to may change, or with `faults` a declared fault.
    pub fn is_of_outputs(&self, faults: bool) -> bool {
        let contributes = [&self.slots, &self.own_benefits, &self.claims].into_iter().any(|list| !list.is_empty());
        contributes || faults && !self.faults.is_empty()
    }
}

/// What records that changed bear on, of what their registers concern; in room that is used again.
#[derive(Default)]
pub(crate) struct Touched {
    /// Folds that may give something else, where that was looked at.
    pub folds: Bits,
    /// The nodes that may have another value.
    pub nodes: Bits,
    pub faults: Vec<u16>,
    pub slots: Vec<u16>,
    pub own_benefits: Vec<u16>,
    pub claims: Vec<u16>,
    /// Of another day: what everybody is asked for that may be other of their contributions and rights, and of faults and what tied people know.
    pub of_everybody: Inquiry,
    pub of_faults: Inquiry,
}

impl Touched {
    /// Picks from what these registers concern what is computed of nodes that are touched, or founded on a record.
    pub fn pick(&mut self, policy: &Policy, registers: &[u16]) {
        let programs = &policy.programs;
        let Touched { nodes, faults, slots, own_benefits, claims, .. } = self;
        [&mut *faults, slots, own_benefits, claims].into_iter().for_each(Vec::clear);
        for register in registers {
            let concern = &programs.concerns[usize::from(*register)];
            let of_node = |node: usize| nodes.contains(node);
            let right = |benefit: &u16| {
                let at = usize::from(*benefit);
                policy.benefits[at].ground_register == Some(*register) || programs.needs[at].meets(nodes)
            };
            faults.extend(concern.faults.iter().copied().filter(|fault| of_node(programs.fault_nodes[usize::from(*fault)])));
            slots.extend(concern.slots.iter().copied().filter(|slot| of_node(programs.slot_nodes[usize::from(*slot)])));
            own_benefits.extend(concern.own_benefits.iter().copied().filter(right));
            claims.extend(concern.claims.iter().copied().filter(right));
        }
        if registers.len() > 1 {
            for list in [faults, slots, own_benefits, claims] {
                list.sort_unstable();
                list.dedup();
            }
        }
    }

    /// What may be other for everybody on another day, of people whose own date has not come and whose records are the same, while the same
    /// registers can be relied on: what rests on a window, a parameter or the year, where they differ, and rights of another period.
    pub fn between(policy: &Policy, before: &Environment, now: &Environment) -> Touched {
        let programs = &policy.programs;
        let (mut nodes, mut inputs) = (Bits::default(), BTreeSet::new());
        for ((reg, input), readers) in programs.person.inputs.iter().zip(&programs.input_readers) {
            if before.value(*input) != now.value(*input) {
                nodes.join(readers);
                inputs.insert(*reg);
            }
        }
        let right = |benefit: &u16| {
            let program = &programs.benefits[usize::from(*benefit)];
            let mut read = program.codes().chain(program.inputs.iter().map(|input| &input.code)).flat_map(Code::reads);
            programs.needs[usize::from(*benefit)].meets(&nodes) || read.any(|reg| inputs.contains(&reg))
        };
        let of_nodes = |of: &[usize]| (0..of.len() as u16).filter(|at| nodes.contains(of[usize::from(*at)])).collect();
        let (faults, slots): (Vec<u16>, Vec<u16>) = (of_nodes(&programs.fault_nodes), of_nodes(&programs.slot_nodes));
        // A claim is of no period before it is decided with the row.
        let claims: Vec<u16> = programs.claims.iter().copied().filter(right).collect();
        let is_other = |benefit: &u16| right(benefit) || is_of_another_period(policy, *benefit, before, now);
        let own_benefits: Vec<u16> = programs.own_benefits.iter().copied().filter(is_other).collect();
        let of_everybody = Inquiry::new(policy, &slots, &[&claims, &own_benefits]);
        let mut of_faults = programs.kin_known.clone();
        faults.iter().for_each(|fault| of_faults.join(&programs.fault_needs[usize::from(*fault)]));
        let of_faults = Inquiry::of_nodes(policy, of_faults);
        Touched { folds: Bits::default(), nodes, faults, slots, own_benefits, claims, of_everybody, of_faults }
    }

    /// Whether who belongs together, or of whom tied people know, may be other.
    pub fn composes(&self, policy: &Policy) -> bool {
        let Programs { placing, kin_known, .. } = &policy.programs;
        [placing, kin_known].into_iter().any(|looked| looked.meets(&self.nodes))
    }

    /// Whether what a person contributes and has a right to is the same.
    pub fn contributes_nothing(&self) -> bool {
        self.slots.is_empty() && self.own_benefits.is_empty() && self.claims.is_empty()
    }
}

/// What a household's sums concern. A *unit* is a node of the household's machine; the one after all nodes is the standing (score,
/// category, level), those behind it are the rights, by benefit.
#[derive(Clone, Debug, Default)]
pub(crate) struct SumConcerns {
    /// The program of each node.
    pub nodes: Vec<Vec<Op>>,
    /// By slot: the units that rest on it.
    pub units: Vec<Bits>,
    /// By unit: the nodes that it needs.
    pub needs: Vec<Bits>,
    /// Rights that read the standing, by benefit.
    pub by_standing: Bits,
    /// What the environment puts into registers, of that what is not always the same, and the units that rest on it.
    inputs: Vec<(Reg, Input, Bits)>,
}

/// What of households may be other on another day, whatever their sums.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    /// Registers of the household's machine that hold something else, with what they hold on either day.
    pub inputs: Vec<(Reg, [i64; 2])>,
    /// Units that rest on these, and rights of another period.
    pub units: Bits,
}

impl Turned {
    /// Between two days.
    pub fn between(policy: &Policy, before: &Environment, now: &Environment) -> Turned {
        let (concerns, mut turned) = (&policy.programs.sum_concerns, Turned::default());
        for (reg, input, units) in &concerns.inputs {
            let values = [before, now].map(|day| day.value(*input));
            if values[0] != values[1] {
                turned.inputs.push((*reg, values));
                turned.units.join(units);
            }
        }
        let is_other = |benefit: &u16| is_of_another_period(policy, *benefit, before, now);
        let of_households = policy.programs.household_benefits.iter().chain(&policy.programs.claims).copied();
        of_households.filter(is_other).for_each(|benefit| turned.units.insert(concerns.right(benefit)));
        turned
    }
}

/// Whether a right is not the same one on two days, since rights of its benefit have periods.
fn is_of_another_period(policy: &Policy, benefit: u16, before: &Environment, now: &Environment) -> bool {
    let period = policy.benefits[usize::from(benefit)].period;
    period.begun_on(before.today) != period.begun_on(now.today)
}

impl SumConcerns {
    /// Of so many slots. The standing is computed by nodes, and by programs that run after them; `totals` are the registers that
    /// then hold it.
    pub fn new(
        slots: usize,
        household: &Graph,
        (nodes, programs): (&BTreeSet<usize>, Vec<&Code>),
        needs: &[Needs],
        benefits: &[BenefitProgram],
        totals: Range<Reg>,
    ) -> SumConcerns {
        let is_variable = |(_, input): &(Reg, Input)| !matches!(input, Input::Constant(_));
        let inputs = household.inputs().into_iter().filter(is_variable).map(|(reg, input)| (reg, input, Bits::default())).collect();
        let mut concerns =
            SumConcerns { nodes: household.scalars(), units: vec![Bits::default(); slots], inputs, ..SumConcerns::default() };
        for node in 0..concerns.nodes.len() {
            concerns.add_unit(household, &BTreeSet::from([node]), &[]);
        }
        let read: Vec<Reg> = programs.into_iter().flat_map(Code::reads).collect();
        concerns.add_unit(household, nodes, &read);
        for (benefit, (needs, program)) in needs.iter().zip(benefits).enumerate() {
            let read: Vec<Reg> = program.codes().flat_map(Code::reads).chain(program.held).collect();
            concerns.add_unit(household, &needs.household, &read);
            if read.iter().any(|reg| totals.contains(reg)) {
                concerns.by_standing.insert(benefit);
            }
        }
        concerns
    }

    /// The unit of the standing.
    pub fn standing(&self) -> usize {
        self.nodes.len()
    }

    /// The unit of a right.
    pub fn right(&self, benefit: u16) -> usize {
        self.nodes.len() + 1 + usize::from(benefit)
    }

    /// Adds a unit that needs these nodes and reads these registers beside.
    fn add_unit(&mut self, household: &Graph, nodes: &BTreeSet<usize>, read: &[Reg]) {
        let unit = self.needs.len();
        let of_nodes = nodes.iter().flat_map(|node| household.sources(*node)).copied();
        for slot in of_nodes.chain(read.iter().filter_map(|reg| slot_of(*reg))) {
            if let Some(units) = self.units.get_mut(usize::from(slot)) {
                units.insert(unit);
            }
        }
        let needed = household.needed(nodes);
        let mut all_read: BTreeSet<Reg> = read.iter().copied().collect();
        needed.iter().flat_map(|node| &self.nodes[*node]).for_each(|op| op.reads(|reg| all_read.extend([reg])));
        self.inputs.iter_mut().filter(|(reg, ..)| all_read.contains(reg)).for_each(|(.., units)| units.insert(unit));
        self.needs.push(needed.into_iter().collect());
    }
}
