//! What a machine computes, as nodes that depend on each other, and in which order they run.
//!
//! A node is a *scalar* (a program) or a *fold* (a list of records condensed to one number). All of them have a [`Sequence`] of
//! stages: the scalars of a stage run first, then one pass over the person's file serves all of its folds. Which of them run is a
//! set of nodes, for whoever asks.

use super::bits::Bits;
use super::file::{ABSENT, FIELDS_MAX};
use super::program::{Bins, Op, Reg};
use super::shorten::shorten;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Registers that live only while one program runs.
pub const TEMPORARIES: Reg = 2048;
/// Where the fields of the record at hand are unpacked.
pub const FIELDS: Reg = TEMPORARIES;
/// How many fields a record may have.
pub const FIELD_COUNT: usize = FIELDS_MAX;
/// Where a household's slots are, unknown values included.
pub const SLOTS: Reg = FIELDS + FIELD_COUNT as Reg;
/// How many slots there may be.
pub const SLOT_COUNT: usize = 4096;
/// Where the same slots are as they were summed.
pub const SUMS: Reg = SLOTS + SLOT_COUNT as Reg;
/// Where sums over the residents of a dwelling are for the claim at hand, and how many there may be; then as they were summed.
pub const DWELLING_SLOTS: Reg = SUMS + SLOT_COUNT as Reg;
pub const DWELLING_SLOT_COUNT: usize = 64;
pub const DWELLING_SUMS: Reg = DWELLING_SLOTS + DWELLING_SLOT_COUNT as Reg;
const LASTING: Reg = DWELLING_SUMS + DWELLING_SLOT_COUNT as Reg;

/// A program and where its answer will be.
#[derive(Clone, Debug, Default)]
pub struct Code {
    pub ops: Vec<Op>,
    pub result: Reg,
}

impl Code {
    pub fn new(ops: Vec<Op>, result: Reg) -> Code {
        Code { ops: shorten(ops, Some(result)), result }
    }

    /// Every register from which the answer may come, with those that only this program uses.
    pub fn reads(&self) -> Vec<Reg> {
        let mut read = vec![self.result];
        self.ops.iter().for_each(|op| op.reads(|reg| read.push(reg)));
        read
    }
}

/// What the environment puts into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Constant(i64),
    TodayYear,
    Parameter(u16),
    WindowFrom(u16),
    WindowUntil(u16),
}

/// How a fold condenses the records that pass its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldKind {
    Count,
    Sum,
    Min,
    Max,
    /// One if any passes.
    Exists,
    /// One if any passes of those that are known, also of a register that cannot be relied on.
    Held,
    /// Zero if any passes: the filter is the negated condition.
    All,
    Distinct,
}

impl FoldKind {
    /// The result for no records.
    pub fn start(self) -> i64 {
        match self {
            FoldKind::Count | FoldKind::Sum | FoldKind::Exists | FoldKind::Held | FoldKind::Distinct => 0,
            FoldKind::All => 1,
            FoldKind::Min | FoldKind::Max => ABSENT,
        }
    }
}

/// A list condensed to a number.
#[derive(Clone, Debug)]
pub struct Fold {
    pub register: u16,
    /// Equal for equal filters.
    pub filter_key: String,
    pub filter: Option<Code>,
    pub map: Option<Code>,
    pub kind: FoldKind,
    pub result: Reg,
}

/// One thing to compute.
#[derive(Clone, Debug)]
pub struct Node {
    dependencies: BTreeSet<usize>,
    /// What it rests on, through whatever it needs: a person's value on the records of registers, a household's on slots.
    sources: BTreeSet<u16>,
    /// Registers of which a person must have records for it not to be blank.
    shown_by: BTreeSet<u16>,
    stage: usize,
    work: Work,
    /// It rests on the person's role.
    pub roles: bool,
    /// It rests on what is known of tied people.
    pub kin: bool,
}

#[derive(Clone, Debug)]
enum Work {
    Scalar(Vec<Op>),
    Fold(Fold),
}

/// The slot that a register of the household's machine shows, as it is or as it was summed.
pub fn slot_of(reg: Reg) -> Option<u16> {
    let slots = SLOT_COUNT as Reg;
    [SLOTS, SUMS].into_iter().find(|first| (*first..first + slots).contains(&reg)).map(|first| reg - first)
}

/// A program under construction.
#[derive(Default)]
pub struct Block {
    pub ops: Vec<Op>,
    pub dependencies: BTreeSet<usize>,
    pub roles: bool,
    pub kin: bool,
    /// How deep we are behind a guard: to the right of `&&`, `||`, `?`.
    pub guards: usize,
    next: Reg,
}

impl Block {
    /// An empty program whose operands may be absent, since somebody looks after that.
    pub fn guarded(guarded: bool) -> Self {
        Block { guards: usize::from(guarded), ..Block::default() }
    }

    /// Registers for a value: two, should it turn out to be a fraction.
    pub fn temporary(&mut self) -> Reg {
        let reg = self.next.min(TEMPORARIES - 2);
        self.next += 2;
        reg
    }

    /// Whether the program needs more registers than there are.
    pub fn too_long(&self) -> bool {
        self.next > TEMPORARIES - 2 || self.ops.len() > usize::from(u16::MAX)
    }

    /// A register for what becomes of a value: its own, if the last operation wrote it for nobody else.
    pub fn reuse(&mut self, value: Reg) -> Reg {
        if value < TEMPORARIES && self.ops.last().is_some_and(|op| op.writes() == Some(value)) {
            return value;
        }
        let to = self.temporary();
        self.ops.push(Op::Move(to, value));
        to
    }

    /// Adds an operation that will be replaced.
    pub fn reserve(&mut self) -> usize {
        self.ops.push(Op::Skip(0));
        self.ops.len() - 1
    }

    /// How many operations follow the one at this index.
    pub fn since(&self, index: usize) -> u16 {
        (self.ops.len() - index - 1) as u16
    }
}

/// The nodes of a machine and the registers that keep their values.
pub struct Graph {
    next: Reg,
    inputs: BTreeMap<Input, Reg>,
    fractions: BTreeMap<(i64, i64), Reg>,
    pub nodes: Vec<Node>,
    pub bins: Vec<Bins>,
}

impl Graph {
    pub fn new() -> Self {
        Graph { next: LASTING, inputs: BTreeMap::new(), fractions: BTreeMap::new(), nodes: Vec::new(), bins: Vec::new() }
    }

    /// The first of so many registers that keep their values.
    pub fn keep(&mut self, count: usize) -> Reg {
        let free = usize::from(Reg::MAX - self.next);
        if count + 16 > free {
            self.next = Reg::MAX;
            return LASTING;
        }
        let reg = self.next;
        self.next += count as Reg;
        reg
    }

    /// Whether there are not enough registers.
    pub fn too_large(&self) -> bool {
        self.next == Reg::MAX
    }

    /// The register that holds something of the environment.
    pub fn input(&mut self, input: Input) -> Reg {
        if let Some(reg) = self.inputs.get(&input) {
            return *reg;
        }
        let reg = self.keep(1);
        self.inputs.insert(input, reg);
        reg
    }

    pub fn constant(&mut self, value: i64) -> Reg {
        self.input(Input::Constant(value))
    }

    /// Two registers in a row that hold a fraction.
    pub fn fraction(&mut self, numerator: i64, denominator: i64) -> Reg {
        if let Some(reg) = self.fractions.get(&(numerator, denominator)) {
            return *reg;
        }
        let reg = self.keep(2);
        self.fractions.insert((numerator, denominator), reg);
        reg
    }

    /// Two registers in a row that hold the bounds of a window.
    pub fn window(&mut self, window: u16) -> Reg {
        if let Some(reg) = self.inputs.get(&Input::WindowFrom(window)) {
            return *reg;
        }
        let reg = self.keep(2);
        self.inputs.insert(Input::WindowFrom(window), reg);
        self.inputs.insert(Input::WindowUntil(window), reg + 1);
        reg
    }

    /// Everything that the environment puts into registers.
    pub fn inputs(&self) -> Vec<(Reg, Input)> {
        let fractions = self.fractions.iter();
        let constants = fractions.flat_map(|((n, d), reg)| [(*reg, Input::Constant(*n)), (*reg + 1, Input::Constant(*d))]);
        self.inputs.iter().map(|(input, reg)| (*reg, *input)).chain(constants).collect()
    }

    pub fn bins(&mut self, bins: Bins) -> u16 {
        let index = self.bins.iter().position(|known| *known == bins).unwrap_or(self.bins.len());
        if index == self.bins.len() {
            self.bins.push(bins);
        }
        index as u16
    }

    /// Adds a program whose last operation writes a lasting register, or none where that is written already.
    pub fn add_scalar(&mut self, block: Block) -> usize {
        let Block { ops, dependencies, roles, kin, .. } = block;
        self.add(dependencies, roles, kin, Work::Scalar(shorten(ops, None)))
    }

    /// The node of whose value a program only makes a copy, and where it is.
    pub fn copied(&self, block: &Block) -> Option<(usize, Reg)> {
        let [Op::Move(_, from)] = shorten(block.ops.clone(), None)[..] else { return None };
        let writes = |node: &usize| match &self.nodes[*node].work {
            Work::Scalar(ops) => ops.iter().any(|op| op.target().is_some_and(|(first, _)| first == from)),
            Work::Fold(fold) => fold.result == from,
        };
        Some((block.dependencies.iter().copied().find(writes)?, from))
    }

    /// Adds a fold that needs what these blocks need.
    pub fn add_fold(&mut self, fold: Fold, dependencies: BTreeSet<usize>, roles: bool, kin: bool) -> usize {
        self.add(dependencies, roles, kin, Work::Fold(fold))
    }

    fn add(&mut self, dependencies: BTreeSet<usize>, roles: bool, kin: bool, work: Work) -> usize {
        let needed = || dependencies.iter().map(|index| &self.nodes[*index]);
        let stage = needed().map(|node| node.stage + usize::from(matches!(node.work, Work::Fold(_)))).max().unwrap_or(0);
        let roles = roles || needed().any(|node| node.roles);
        let kin = kin || needed().any(|node| node.kin);
        let own = match &work {
            Work::Scalar(ops) => {
                let mut slots = BTreeSet::new();
                ops.iter().for_each(|op| op.reads(|reg| slots.extend(slot_of(reg))));
                slots
            }
            Work::Fold(fold) => BTreeSet::from([fold.register]),
        };
        let shown_by = match &work {
            Work::Scalar(_) => needed().flat_map(|node| &node.shown_by).copied().collect(),
            Work::Fold(fold) => BTreeSet::from([fold.register]),
        };
        let sources = needed().flat_map(|node| &node.sources).copied().chain(own).collect();
        self.nodes.push(Node { dependencies, sources, shown_by, stage, work, roles, kin });
        self.nodes.len() - 1
    }

    /// Whether a node rests on the records of a register, or on a slot.
    pub fn rests_on(&self, node: usize, source: u16) -> bool {
        self.nodes[node].sources.contains(&source)
    }

    /// Everything on which a node rests.
    pub fn sources(&self, node: usize) -> &BTreeSet<u16> {
        &self.nodes[node].sources
    }

    /// The nodes that read a register of the environment's, and all that rest on one of them.
    pub fn readers(&self, input: Reg) -> BTreeSet<usize> {
        let mut readers = BTreeSet::new();
        // A node has a greater index than what it needs.
        for (index, node) in self.nodes.iter().enumerate() {
            let mut reads = node.dependencies.iter().any(|needed| readers.contains(needed));
            match &node.work {
                Work::Scalar(ops) => ops.iter().for_each(|op| op.reads(|reg| reads |= reg == input)),
                Work::Fold(fold) => reads |= [&fold.filter, &fold.map].into_iter().flatten().any(|code| code.reads().contains(&input)),
            }
            if reads {
                readers.insert(index);
            }
        }
        readers
    }

    /// These nodes and all that they need. A node has a greater index than what it needs.
    pub fn needed(&self, roots: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<usize> = roots.iter().copied().collect();
        while let Some(index) = open.pop() {
            if needed.insert(index) {
                open.extend(&self.nodes[index].dependencies);
            }
        }
        needed
    }

    /// The program of each scalar, by node.
    pub fn scalars(&self) -> Vec<Vec<Op>> {
        let program = |node: &Node| match &node.work {
            Work::Scalar(ops) => ops.clone(),
            Work::Fold(_) => Vec::new(),
        };
        self.nodes.iter().map(program).collect()
    }

    /// One program for these nodes and all that they need, where none is a fold.
    pub fn program(&self, roots: &BTreeSet<usize>) -> Vec<Op> {
        let scalars = self.scalars();
        self.needed(roots).into_iter().flat_map(|node| scalars[node].iter().copied()).collect()
    }

    /// Says of each group of folds what its filter reads, and of each fold what it needs and what rests on it.
    fn complete_folds(&self, sequence: &mut Sequence, roles: &Range<Reg>) {
        let writers = sequence.written_by.iter().enumerate().flat_map(|(node, written)| written.clone().map(move |at| (at, node)));
        let writers: BTreeMap<Reg, usize> = writers.map(|(at, node)| (sequence.written[at], node)).collect();
        for group in sequence.stages.iter_mut().flat_map(|stage| stage.groups.iter_mut().flatten()) {
            let read: Vec<Reg> = group.filter.iter().flat_map(Code::reads).collect();
            let needs = self.needed(&read.iter().filter_map(|reg| writers.get(reg)).copied().collect());
            group.filter_needs = (!read.iter().any(|reg| roles.contains(reg))).then(|| needs.into_iter().collect());
        }
        sequence.needs.resize(self.nodes.len(), Bits::default());
        sequence.bears_on.resize(self.nodes.len(), Bits::default());
        let is_fold = |node: &usize| matches!(self.nodes[*node].work, Work::Fold(_));
        for fold in (0..self.nodes.len()).filter(is_fold) {
            sequence.needs[fold] = self.needed(&self.nodes[fold].dependencies).into_iter().collect();
            if matches!(&self.nodes[fold].work, Work::Fold(work) if matches!(work.kind, FoldKind::Exists | FoldKind::Held | FoldKind::All))
            {
                sequence.existential.insert(fold);
            }
            let bears_on = &mut sequence.bears_on[fold];
            bears_on.insert(fold);
            // A node has a greater index than what it needs.
            for (index, node) in self.nodes.iter().enumerate() {
                if node.dependencies.iter().any(|needed| bears_on.contains(*needed)) {
                    bears_on.insert(index);
                }
            }
        }
    }

    /// All nodes, for a person's file: so many registers of records, and the roles (with the person's number) in these.
    pub fn sequence(&self, registers: usize, roles: Range<Reg>) -> Sequence {
        let shown_by = |register| (0..self.nodes.len()).filter(|node| self.nodes[*node].shown_by.contains(&register)).collect();
        let mut sequence = Sequence { shown_by: (0..registers as u16).map(shown_by).collect(), ..Sequence::default() };
        for (index, node) in self.nodes.iter().enumerate() {
            if sequence.stages.len() <= node.stage {
                sequence.stages.resize_with(node.stage + 1, || Stage::new(registers));
            }
            sequence.add(index, node, &roles);
        }
        self.complete_folds(&mut sequence, &roles);
        let stages = &sequence.stages;
        let uses = |register: usize| stages.iter().any(|stage: &Stage| !stage.groups[register].is_empty());
        let is_over = |register: usize, node: usize| usize::from(sequence.fold_over[node]) == register && !sequence.scalars.contains(node);
        let read_by = (0..registers).map(|register| (0..self.nodes.len()).filter(|node| is_over(register, *node)).collect()).collect();
        let holds = |register: usize| stages.iter().any(|stage: &Stage| stage.groups[register].iter().any(Group::holds));
        (sequence.registers, sequence.silent) = ((0..registers).map(uses).collect(), (0..registers).map(holds).collect());
        sequence.read_by = read_by;
        sequence
    }
}

/// All nodes of a person's machine, as they run.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    pub stages: Vec<Stage>,
    ops: Vec<Op>,
    /// By node: its operations, none of a fold.
    programs: Vec<Range<usize>>,
    /// The lasting registers that nodes write, and which of them by node.
    pub written: Vec<Reg>,
    written_by: Vec<Range<usize>>,
    /// Whose records are looked at.
    pub registers: Vec<bool>,
    /// Whose records are looked at even if the register cannot be relied on.
    pub silent: Vec<bool>,
    /// By register: the nodes that may not be blank where there are records of it.
    pub shown_by: Vec<Bits>,
    /// By register: the folds over its records; and by node, of folds, the register.
    pub read_by: Vec<Bits>,
    fold_over: Vec<u16>,
    /// Folds that only ask whether some record passes.
    pub existential: Bits,
    /// By node, of folds: all nodes that it needs; it and all that rest on it.
    pub needs: Vec<Bits>,
    pub bears_on: Vec<Bits>,
    /// Nodes that rest on the person's role or number, whatever records there are.
    pub personal: Bits,
    pub scalars: Bits,
}

impl Sequence {
    fn add(&mut self, index: usize, node: &Node, roles: &Range<Reg>) {
        let (from, stage) = (self.ops.len(), &mut self.stages[node.stage]);
        let mut written = BTreeSet::new();
        self.fold_over.push(if let Work::Fold(fold) = &node.work { fold.register } else { 0 });
        match &node.work {
            Work::Scalar(ops) => {
                // Nothing is to be done where a value is where it is wanted.
                if !ops.is_empty() {
                    stage.scalars.insert(index);
                }
                self.scalars.insert(index);
                self.ops.extend(ops);
                let mut personal = node.dependencies.iter().any(|needed| self.personal.contains(*needed));
                for op in ops {
                    op.reads(|reg| personal |= roles.contains(&reg));
                    written.extend(op.target().into_iter().flat_map(|(reg, width)| reg..reg + width).filter(|reg| *reg >= LASTING));
                }
                if personal {
                    self.personal.insert(index);
                }
            }
            Work::Fold(fold) => {
                stage.add(index, fold);
                written.insert(fold.result);
            }
        }
        self.programs.push(from..self.ops.len());
        self.written_by.push(self.written.len()..self.written.len() + written.len());
        self.written.extend(written);
    }

    /// Becomes those registers whose records these nodes read.
    pub fn registers_of(&self, nodes: &Bits, registers: &mut Bits) {
        registers.clear();
        nodes.each(&self.scalars, false, |node| registers.insert(usize::from(self.fold_over[node])));
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.programs.len()
    }

    /// The operations of a scalar.
    #[inline]
    pub fn program(&self, node: usize) -> &[Op] {
        &self.ops[self.programs[node].clone()]
    }

    /// Positions in `written` of the registers that a node writes.
    #[inline]
    pub fn written_by(&self, node: usize) -> Range<usize> {
        self.written_by[node].clone()
    }

    /// The registers of which a person must have records for a program that runs after all nodes not to be blank; `None` if it rests
    /// on more than that.
    pub fn shows(&self, code: &Code, roles: &Range<Reg>) -> Option<Bits> {
        let own = FIELDS..FIELDS + FIELD_COUNT as Reg;
        let mut shown = Bits::default();
        for reg in code.reads().into_iter().filter(|reg| *reg >= TEMPORARIES) {
            let node = (0..self.written_by.len()).find(|node| self.written[self.written_by[*node].clone()].contains(&reg));
            if roles.contains(&reg) || own.contains(&reg) || node.is_some_and(|node| self.personal.contains(node)) {
                return None;
            }
            let shows = |register: &usize| node.is_some_and(|node| self.shown_by[*register].contains(node));
            (0..self.shown_by.len()).filter(shows).for_each(|register| shown.insert(register));
        }
        Some(shown)
    }
}

/// Scalars, then folds over one pass of the file.
#[derive(Clone, Debug)]
pub struct Stage {
    pub scalars: Bits,
    /// By register: the folds over its records, by filter; and which nodes all of them are.
    pub groups: Vec<Vec<Group>>,
    pub all_folds: Bits,
    /// Where each fold's result is, what kind it is, and the register it rests on.
    pub starts: Vec<(Reg, FoldKind, u16)>,
}

/// Folds over the records of one register that pass one filter.
#[derive(Clone, Debug)]
pub struct Group {
    key: String,
    pub filter: Option<Code>,
    pub items: Vec<Item>,
    /// The nodes that the filter needs, beside the record and the day; `None` if it reads the person's role or number.
    pub filter_needs: Option<Bits>,
}

/// What one fold does with a record that passes.
#[derive(Clone, Debug)]
pub struct Item {
    pub node: usize,
    pub kind: FoldKind,
    pub map: Option<Code>,
    pub result: Reg,
}

impl Group {
    /// Whether some of its folds must run.
    #[inline]
    pub fn is_due(&self, due: &Bits) -> bool {
        self.items.iter().any(|item| due.contains(item.node))
    }

    /// Whether some of its folds take records of a register that cannot be relied on.
    pub fn holds(&self) -> bool {
        self.items.iter().any(|item| item.kind == FoldKind::Held)
    }
}

impl Stage {
    fn new(registers: usize) -> Self {
        Stage { scalars: Bits::default(), groups: vec![Vec::new(); registers], all_folds: Bits::default(), starts: Vec::new() }
    }

    fn add(&mut self, node: usize, fold: &Fold) {
        self.starts.push((fold.result, fold.kind, fold.register));
        self.all_folds.insert(node);
        let item = Item { node, kind: fold.kind, map: fold.map.clone(), result: fold.result };
        let groups = &mut self.groups[usize::from(fold.register)];
        match groups.iter_mut().find(|group| group.key == fold.filter_key) {
            Some(group) => group.items.push(item),
            None => groups.push(Group { key: fold.filter_key.clone(), filter: fold.filter.clone(), items: vec![item], filter_needs: None }),
        }
    }
}
