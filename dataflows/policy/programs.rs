//! What a package is compiled to: all that is computed of people and households, and what rests on what.

use super::Window;
use super::bits::Bits;
use super::concerns::{Concern, SumConcerns};
use super::file::Shape;
use super::graph::{Code, Input, Sequence};
use super::program::{Bins, Op, Reg};
use super::rights::BenefitProgram;
use std::ops::Range;

/// A machine's constants and tables.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub inputs: Vec<(Reg, Input)>,
    pub bins: Vec<Bins>,
}

/// How rules see the records of a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub shape: Shape,
    pub period: Option<usize>,
    pub retain_months: Option<i32>,
}

/// A condition of a right, of a person or of their household's claim, without which it is none.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub code: Code,
    /// Registers whose records may change it.
    pub shown_by: Bits,
}

/// What decides a category.
#[derive(Clone, Debug)]
pub(crate) struct CategoryProgram {
    pub by: Code,
    pub bins: Bins,
    pub hard: Vec<(Code, u8)>,
    pub unknown: i64,
}

/// All programs of a package.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub person: Machine,
    pub household: Machine,
    pub layouts: Vec<Layout>,
    pub windows: Vec<Window>,
    pub years: bool,
    /// By input of the person's machine: the nodes that rest on it; none where it never changes.
    pub input_readers: Vec<Bits>,
    /// All that is computed of a person; below, the nodes that each question needs.
    pub sequence: Sequence,
    pub composition: Bits,
    /// Composition's flags alone, without faults.
    pub placing: Bits,
    /// exists, female, alive, minor, student, dependant, deprived.
    pub flags: [Option<Reg>; 7],
    /// Beside composition: one truth for each declared fault.
    pub faults: Vec<Reg>,
    /// Whether tied people know of the person, and what.
    pub kin_known: Bits,
    pub kin_when: Option<Reg>,
    pub kin: Bits,
    pub kin_fields: Vec<Reg>,
    pub person_values: Bits,
    /// Where somebody lives.
    pub region: Bits,
    /// For all slots.
    pub filled: Bits,
    /// By slot.
    pub slot_needs: Vec<Bits>,
    /// By declared fault: its node, and the nodes that this needs.
    pub fault_nodes: Vec<usize>,
    pub fault_needs: Vec<Bits>,
    /// By benefit.
    pub needs: Vec<Bits>,
    /// By benefit: conditions that a person fails who has no record of certain registers.
    pub gates: Vec<Vec<Gate>>,
    /// Six roles, then the person's number.
    pub roles: Reg,
    pub person_indicators: (Reg, usize),
    pub slots: Vec<super::compile::Slot>,
    /// By slot: the node that fills it; none of those that are built in.
    pub slot_nodes: Vec<usize>,
    /// The same by node: the slots that it fills, several of a histogram. Of the nodes that do, those for members and those for residents: in the
    /// order of their slots.
    pub filled_by: Vec<Range<u16>>,
    pub fillers: [Bits; 2],
    /// What decides a household's standing and rights; the second computes all its indicators too.
    pub judgement: Vec<Op>,
    pub judgement_with_values: Vec<Op>,
    pub household_indicators: (Reg, usize),
    pub criteria: Vec<Reg>,
    /// Beside each criterion: unknown if its points are those of not knowing.
    pub doubts: Vec<Reg>,
    pub levels: Vec<Reg>,
    /// Where score, level score, category and level are for benefits.
    pub totals: Reg,
    pub category: Option<CategoryProgram>,
    pub level: Option<(Code, Bins)>,
    pub benefits: Vec<BenefitProgram>,
    /// Which benefits are decided with the person, with the row, and which are claims.
    pub own_benefits: Vec<u16>,
    pub household_benefits: Vec<u16>,
    pub claims: Vec<u16>,
    /// The first and the last as sets.
    pub own_set: Bits,
    pub claim_set: Bits,
    /// By register: whether its records found rights.
    pub founding: Vec<bool>,
    /// By benefit that excludes another or is excluded: its turn, after those that it excludes.
    pub stacking: Vec<Option<u16>>,
    /// By register: what its records concern.
    pub concerns: Vec<Concern>,
    /// What a household's sums concern.
    pub sum_concerns: SumConcerns,
}
