//! Evaluation: what follows from a file or a row on a day.
//!
//! An [`Evaluator`] holds the registers of machines for people and for households, and scratch space; once it is
//! warm, only entitlements allocate. A person's programs run in stages: scalars, then one pass over the packed file that serves
//! all folds of the stage. What rests only on registers of which somebody has no record is the same for all such people of a day:
//! it is worked out once, for a *blank* file, and of a person only the rest runs; a right whose conditions fail for a blank file
//! is not asked about unless there is a record that may change that. Every answer comes with a *horizon*, the first later date on which it may change by itself; a record
//! whose date is still to come, a term, a birthday, the end of a record's retention lower it.

use super::bits::Bits;
use super::concerns::{Concern, SumConcerns, Touched};
use super::file::{ABSENT, Brief, Record, Shape, briefs, different_records, registers_of};
use super::graph::{Code, FIELD_COUNT, FIELDS, FoldKind, Group, Input, Item, SLOTS, SUMS, Sequence, Stage};
use super::program::{Bins, Clock, LIMIT, Op, Reg, Registers, is_unknown, reason_of, registers, run, unknown};
use super::rights::{BenefitProgram, Machinery, Question, Trace};
use super::{BUILT_IN_SLOTS, Claim, Composition, Contribution, Entitlement, FeedState, Judgement, Period, Policy, Row, Window, year_start};
use crate::model::{Date, Ground, HouseholdKey, Membership, PersonId, Role};
use std::sync::Arc;

/// Reasons from here on say which register is silent or not connected.
pub const FIRST_FEED_REASON: u16 = 16;

/// What is the same for everybody on a day: the date, parameters, windows, and which registers can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    pub today: Date,
    shared: Arc<Shared>,
}

#[derive(Debug, PartialEq, Eq)]
struct Shared {
    year: i64,
    parameters: Vec<i64>,
    windows: Vec<(Date, Date)>,
    /// By register: zero if it can be relied on, else the value that everything resting on it has.
    doubts: Vec<i64>,
    /// By register with a retention: the last period that has expired.
    expired: Vec<i64>,
}

impl Environment {
    /// Whether records of a register with this period are kept no longer today.
    pub fn forgets(&self, register: u16, period: Date) -> bool {
        i64::from(period.0) <= self.shared.expired[usize::from(register)]
    }

    fn value(&self, input: Input) -> i64 {
        match input {
            Input::Constant(value) => value,
            Input::TodayYear => self.shared.year,
            Input::Parameter(index) => self.shared.parameters[usize::from(index)],
            Input::WindowFrom(index) => i64::from(self.shared.windows[usize::from(index)].0.0),
            Input::WindowUntil(index) => i64::from(self.shared.windows[usize::from(index)].1.0),
        }
    }
}

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
    /// All that is computed of a person; below, the nodes that each question needs.
    pub sequence: Sequence,
    pub composition: Bits,
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
    /// For all slots.
    pub filled: Bits,
    /// By slot.
    pub slot_needs: Vec<Bits>,
    /// By declared fault: its node, and the nodes that this needs.
    pub fault_nodes: Vec<usize>,
    pub fault_needs: Vec<Bits>,
    /// The nodes of what tied people know.
    pub kin_told: Bits,
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
    /// By register: whether its records found rights.
    pub founding: Vec<bool>,
    /// By benefit that excludes another or is excluded: its turn, after those that it excludes.
    pub stacking: Vec<Option<u16>>,
    /// By register: what its records concern.
    pub concerns: Vec<Concern>,
    /// What a household's sums concern.
    pub sum_concerns: SumConcerns,
}

impl Policy {
    /// Of each register that forgets the last day from which it has on this one; see [`super::Register::retained_from`].
    pub fn forgotten(&self, today: Date) -> Vec<Option<Date>> {
        let day = calendar(today);
        self.registers.iter().map(|register| register.retain_months.map(|months| last_expired(day, months))).collect()
    }

    /// What is the same for everybody on this day.
    pub fn environment(&self, today: Date, feeds: &[FeedState]) -> Environment {
        let (day, registers) = (calendar(today), self.registers.len() as u16);
        let doubt = |(register, state): (u16, &FeedState)| match state {
            FeedState::Fresh => 0,
            FeedState::NotConnected => unknown(FIRST_FEED_REASON + register),
            FeedState::Silent => unknown(FIRST_FEED_REASON + registers + register),
        };
        let missing = FeedState::NotConnected;
        let feeds = (0..self.registers.len()).map(|index| feeds.get(index).unwrap_or(&missing));
        let expired = self.forgotten(day).into_iter().map(|last| last.map_or(i64::MIN, |last| i64::from(last.0)));
        let parameter = |parameter: &super::Parameter| parameter.on(today).unwrap_or(unknown(super::program::REASON_UNDEFINED));
        let shared = Shared {
            year: i64::from(day.ymd().0),
            parameters: self.parameters.iter().map(parameter).collect(),
            windows: self.programs.windows.iter().map(|window| window.bounds(day)).collect(),
            doubts: (0..).zip(feeds).map(doubt).collect(),
            expired: expired.collect(),
        };
        Environment { today, shared: Arc::new(shared) }
    }

    /// The first later date on which something changes for everybody at once; [`Date::NEVER`] if none does.
    pub fn next_boundary(&self, after: Date) -> Date {
        let day = calendar(after);
        let (month, quarter) = (day.month_start().add_months(1), day.quarter_start().add_months(3));
        let windows = self.programs.windows.iter().map(|window| match window {
            Window::PreviousQuarter => quarter,
            Window::LastMonths(_) => month,
            Window::ThisYear => year_start(day).add_months(12),
        });
        let periods = self.benefits.iter().filter_map(|benefit| match benefit.period {
            Period::Month => Some(month),
            Period::Quarter => Some(quarter),
            Period::Once | Period::Open => None,
        });
        let years = self.programs.years.then(|| year_start(day).add_months(12));
        let parameters = self.parameters.iter().flat_map(|parameter| &parameter.values).map(|(from, _)| *from);
        let dates = windows.chain(periods).chain(years).chain(parameters);
        dates.filter(|date| *date > after).min().unwrap_or(Date::NEVER)
    }
}

/// A day on which calendar arithmetic is possible.
pub(crate) fn calendar(day: Date) -> Date {
    let first = Date::from_ymd(1, 1, 1).unwrap_or(day);
    let last = Date::from_ymd(9999, 12, 31).unwrap_or(day);
    Date(day.0.clamp(first.0, last.0))
}

/// The last day from which so many months are over today.
fn last_expired(today: Date, months: i32) -> Date {
    let mut day = today.add_months(-months);
    while Date(day.0 + 1).add_months(months) <= today {
        day = Date(day.0 + 1);
    }
    while day.add_months(months) > today {
        day = Date(day.0 - 1);
    }
    day
}

/// Registers filled from an environment; filled anew only when that changes.
struct Loaded {
    regs: Box<Registers>,
    environment: Option<Arc<Shared>>,
    clock: Clock,
}

impl Loaded {
    fn new() -> Self {
        Loaded { regs: registers(), environment: None, clock: Clock::new(Date::BEFORE_ALL) }
    }

    fn is_of(&self, environment: &Environment) -> bool {
        self.environment.as_ref().is_some_and(|known| Arc::ptr_eq(known, &environment.shared))
    }

    fn load(&mut self, machine: &Machine, environment: &Environment) {
        self.clock = Clock::new(environment.today);
        if self.is_of(environment) {
            return;
        }
        for (reg, input) in &machine.inputs {
            self.regs[usize::from(*reg)] = environment.value(*input);
        }
        self.environment = Some(environment.shared.clone());
    }
}

/// A machine for people on one day.
struct Person {
    loaded: Loaded,
    /// What the registers that nodes write hold for a blank file.
    blank: Vec<i64>,
    /// The first date on which that may change by itself.
    horizon: i64,
    /// By benefit: the conditions that fail for a blank file.
    closed: Vec<Vec<usize>>,
    /// Slots that are not zero for a blank file.
    filled: Bits,
    /// Nodes whose registers may hold something else now.
    dirty: Bits,
}

/// Room to work in, used again and again.
#[derive(Default)]
struct Room {
    /// The records of the file at hand that rules see, and of which registers there are some.
    seen: Vec<Brief>,
    present: Bits,
    /// The nodes that these records show, and those that are never blank.
    shown: Bits,
    /// Where the fields of each record seen are among those that were unpacked; whether rules see it, once it is unpacked.
    unpacked: Vec<Option<(u32, bool)>>,
    fields: Vec<i64>,
    /// The records of the file at hand that may found rights.
    founding: Vec<Brief>,
    /// Values met by folds that count different ones, by result register.
    distinct: Vec<(Reg, i64)>,
    /// The inputs of a claim.
    inputs: Vec<i64>,
    /// Nodes that are asked for, and those of them that must run now.
    asked: Bits,
    due: Bits,
}

/// Answers the questions that the rooms ask of a policy.
pub struct Evaluator {
    policy: Arc<Policy>,
    /// Of two days: people are often compared as of one with as of another.
    people: [Person; 2],
    /// Which of them was used last.
    latest: usize,
    household: Loaded,
    kin: Vec<i64>,
    room: Room,
    /// Nodes that the question at hand needs.
    wanted: Bits,
    touched: Touched,
    change: RowChange,
}

/// What a change of a household's sums concerns, in room that is used again.
#[derive(Default)]
struct RowChange {
    slots: Vec<u16>,
    /// Units that rest on these slots.
    units: Bits,
    /// Nodes that must run.
    nodes: Bits,
    /// Rights of the household, and positions of claims, that must be decided again.
    rights: Vec<u16>,
    claims: Vec<usize>,
}

impl Evaluator {
    pub fn new(policy: Arc<Policy>) -> Self {
        Evaluator {
            policy,
            people: [Person::new(), Person::new()],
            latest: 0,
            household: Loaded::new(),
            kin: Vec::new(),
            room: Room::default(),
            wanted: Bits::default(),
            touched: Touched::default(),
            change: RowChange::default(),
        }
    }

    /// What composition needs of a person, and the first date on which it may change by itself. `fault` is told of each
    /// declared fault that is true.
    pub fn composition(
        &mut self,
        environment: &Environment,
        person: PersonId,
        file: &[u8],
        mut fault: impl FnMut(u16),
    ) -> (Composition, Date) {
        let policy = self.policy.clone();
        let mut pass = self.pass(&policy, environment, person, file, Role::Outside);
        pass.run(&policy.programs.composition);
        let flag = |index: usize, doubt: bool| match policy.programs.flags[index].map(|reg| pass.regs[usize::from(reg)]) {
            Some(value) if !is_unknown(value) => value == 1,
            _ => doubt,
        };
        let composition = Composition {
            exists: flag(0, true),
            female: flag(1, false),
            alive: flag(2, true),
            minor: flag(3, false),
            student: flag(4, false),
            dependant: flag(5, false),
            deprived: flag(6, false),
        };
        let found = (0..).zip(&policy.programs.faults).filter(|(_, reg)| pass.regs[usize::from(**reg)] == 1);
        found.for_each(|(index, _)| fault(index));
        (composition, pass.clock.horizon())
    }

    /// What tied people may know of a person: the values of the declared fields, while there is anything to know.
    pub fn kin(&mut self, environment: &Environment, person: PersonId, file: &[u8]) -> (Option<&[i64]>, Date) {
        let policy = self.policy.clone();
        let Some(when) = policy.programs.kin_when else {
            return (None, Date::NEVER);
        };
        let mut kin = std::mem::take(&mut self.kin);
        kin.clear();
        let mut pass = self.pass(&policy, environment, person, file, Role::Outside);
        pass.run(&policy.programs.kin_known);
        let known = pass.regs[usize::from(when)] == 1;
        if known {
            pass.run(&policy.programs.kin);
            kin.extend(policy.programs.kin_fields.iter().map(|reg| match pass.regs[usize::from(*reg)] {
                value if is_unknown(value) => ABSENT,
                value => value,
            }));
        }
        let horizon = pass.clock.horizon();
        self.kin = kin;
        (known.then_some(self.kin.as_slice()), horizon)
    }

    /// Which declared faults are true, of those that may differ between two files in which only the records of few registers do:
    /// `fault` is told of those before (0) and now (1). The answer is the first date on which that may change by itself; `None` if
    /// what tied people know of the person may differ, and they know of them.
    pub fn contradictions(
        &mut self,
        environment: &Environment,
        person: PersonId,
        registers: &[u16],
        [before, now]: [&[u8]; 2],
        mut fault: impl FnMut(usize, u16),
    ) -> Option<Date> {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        let (mut wanted, mut touched) = (std::mem::take(&mut self.wanted), std::mem::take(&mut self.touched));
        let mut pass = self.begin(&policy, environment, person, Role::Outside);
        pass.touch(registers, [before, now], &mut touched.nodes);
        touched.pick(&policy, registers);
        wanted.clear();
        touched.faults.iter().for_each(|index| wanted.join(&programs.fault_needs[usize::from(*index)]));
        let may_tell = touched.nodes.meets(&programs.kin_told);
        if may_tell {
            wanted.join(&programs.kin_known);
        }
        let mut is_told = false;
        if may_tell || !touched.faults.is_empty() {
            pass.turn_to(now);
            pass.run_beside(&wanted, &touched.nodes);
            is_told = may_tell && programs.kin_when.is_some_and(|when| pass.regs[usize::from(when)] == 1);
            let mut tell = |pass: &mut Pass<'_>, side| {
                pass.run_among(&wanted, &touched.nodes);
                let found = touched.faults.iter().filter(|index| pass.regs[usize::from(programs.faults[usize::from(**index)])] == 1);
                found.for_each(|index| fault(side, *index));
            };
            tell(&mut pass, 1);
            pass.turn_to(before);
            tell(&mut pass, 0);
        }
        let horizon = pass.clock.horizon();
        (self.wanted, self.touched) = (wanted, touched);
        (!is_told).then_some(horizon)
    }

    /// All indicators of a person; a value that is not known is carried in-band: see [`is_unknown`].
    pub fn person_values(&mut self, environment: &Environment, person: PersonId, file: &[u8], role: Role) -> (&[i64], Date) {
        let policy = self.policy.clone();
        let mut pass = self.pass(&policy, environment, person, file, role);
        pass.run(&policy.programs.person_values);
        let horizon = pass.clock.horizon();
        let (first, count) = policy.programs.person_indicators;
        (&self.people[self.latest].loaded.regs[usize::from(first)..usize::from(first) + count], horizon)
    }

    /// What a person adds to their household, and their own rights.
    pub fn contribution(
        &mut self,
        environment: &Environment,
        person: PersonId,
        file: &[u8],
        place: Membership,
        out: &mut Contribution,
    ) -> Date {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.copy(&programs.filled);
        let mut pass = self.pass(&policy, environment, person, file, place.role);
        pass.want(&programs.claims, &mut wanted);
        pass.want(&programs.own_benefits, &mut wanted);
        pass.run(&wanted);
        out.clear();
        if place.role != Role::Outside {
            out.values.push((0, 1));
            out.values.extend((place.role == Role::Head).then_some((1, person as i64)));
        }
        let slots = BUILT_IN_SLOTS as u16..(policy.slots + policy.dwelling_slots) as u16;
        pass.give(person, place, slots, &programs.claims, &programs.own_benefits, out);
        let horizon = pass.clock.horizon();
        self.wanted = wanted;
        horizon
    }

    /// What of this may differ between two files in which only the records of few registers do; the answer is the first date on
    /// which that may change by itself now.
    pub fn contributions(
        &mut self,
        environment: &Environment,
        person: PersonId,
        registers: &[u16],
        files: [&[u8]; 2],
        place: Membership,
        out: [&mut Contribution; 2],
    ) -> Date {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        let (mut wanted, mut touched) = (std::mem::take(&mut self.wanted), std::mem::take(&mut self.touched));
        let mut pass = self.begin(&policy, environment, person, place.role);
        pass.touch(registers, files, &mut touched.nodes);
        touched.pick(&policy, registers);
        let [before, now] = out;
        before.clear();
        now.clear();
        if !touched.contributes_nothing() {
            wanted.clear();
            touched.slots.iter().for_each(|slot| wanted.join(&programs.slot_needs[usize::from(*slot)]));
            pass.turn_to(files[1]);
            // What is asked about one of both is asked about both: as if either had such records.
            let mut present = std::mem::take(&mut pass.room.asked);
            present.copy(&pass.room.present);
            registers.iter().for_each(|register| pass.room.present.insert(usize::from(*register)));
            pass.want(&touched.claims, &mut wanted);
            pass.want(&touched.own_benefits, &mut wanted);
            std::mem::swap(&mut pass.room.present, &mut present);
            pass.room.asked = present;
            pass.run_beside(&wanted, &touched.nodes);
            let give = |pass: &mut Pass<'_>, out: &mut Contribution| {
                pass.run_among(&wanted, &touched.nodes);
                pass.give(person, place, touched.slots.iter().copied(), &touched.claims, &touched.own_benefits, out);
            };
            give(&mut pass, now);
            pass.turn_to(files[0]);
            give(&mut pass, before);
        }
        let horizon = pass.clock.horizon();
        (self.wanted, self.touched) = (wanted, touched);
        horizon
    }

    /// The truth of every condition of the rights of a person and of their household. What rests on a dwelling is unknown of a right
    /// that the row knows no claim of, since the person's own conditions fail.
    pub fn trace(&mut self, environment: &Environment, person: PersonId, file: &[u8], role: Role, row: &Row) -> Vec<Trace> {
        let policy = self.policy.clone();
        let mut wanted = Bits::default();
        policy.programs.needs.iter().for_each(|needs| wanted.join(needs));
        let mut pass = self.pass(&policy, environment, person, file, role);
        pass.run(&wanted);
        let (mut traces, mut claims) = (pass.traces(), Vec::new());
        pass.claims(&policy.programs.claims, person, role, true, &mut claims);
        self.total(&policy, environment, row, &mut Judgement::default());
        let mut machinery = self.judge_at_work(&policy, environment).machinery;
        for mut claim in claims {
            let question = Question::new(&policy, claim.benefit, claim.doubt);
            if question.program.residents {
                let same = |other: &&Claim| (other.benefit, other.person, &other.ground) == (claim.benefit, claim.person, &claim.ground);
                let nobody = || policy.with_dwelling(&claim, &vec![ABSENT; policy.dwelling_slots], |_| None);
                claim = row.claims.iter().find(same).cloned().unwrap_or_else(nobody);
            }
            machinery.load(question.program, &claim);
            traces.push(question.trace(claim.ground, &mut machinery));
        }
        for index in &policy.programs.household_benefits {
            traces.push(Question::new(&policy, *index, 0).trace(Ground::Constant, &mut machinery));
        }
        traces
    }

    /// What follows from a household's sums, and from what its members claim.
    pub fn judge(&mut self, environment: &Environment, row: &Row, household: HouseholdKey, out: &mut Judgement) {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        self.load_row(&policy, environment, row);
        let mut judge = self.judge_at_work(&policy, environment);
        judge.machinery.run(&programs.judgement);
        judge.stand(out);
        out.entitlements.clear();
        judge.rights_of_household(&programs.household_benefits, row, household, &mut out.entitlements);
        judge.claims(&row.claims, household, &mut out.entitlements);
        out.entitlements.sort();
    }

    /// The same, with all indicators and points, for people to read.
    pub fn judge_with_values(&mut self, environment: &Environment, row: &Row, household: HouseholdKey, out: &mut Judgement) {
        self.judge(environment, row, household, out);
        let policy = self.policy.clone();
        self.total(&policy, environment, row, out);
    }

    /// What of this may differ between two rows of one household that have the same head and number of members.
    pub fn judgements(&mut self, environment: &Environment, household: HouseholdKey, rows: [&Row; 2], out: [&mut Judgement; 2]) {
        let policy = self.policy.clone();
        let concerns = &policy.programs.sum_concerns;
        let mut change = std::mem::take(&mut self.change);
        change.find(&policy, rows);
        self.load_row(&policy, environment, rows[1]);
        let mut judge = self.judge_at_work(&policy, environment);
        change.nodes.each(&change.units, false, |node| judge.machinery.run(&concerns.nodes[node]));
        let stands_anew = change.units.contains(concerns.standing());
        if !stands_anew {
            judge.stand(&mut Judgement::default());
        }
        for (row, out) in rows.into_iter().zip(out) {
            change.slots.iter().for_each(|slot| judge.load_slot(row, *slot));
            change.nodes.each(&change.units, true, |node| judge.machinery.run(&concerns.nodes[node]));
            *out = Judgement { entitlements: std::mem::take(&mut out.entitlements), ..Judgement::default() };
            if stands_anew {
                judge.stand(out);
            }
            out.entitlements.clear();
            judge.rights_of_household(&change.rights, row, household, &mut out.entitlements);
            judge.claims(change.claims.iter().filter_map(|claim| row.claims.get(*claim)), household, &mut out.entitlements);
            out.entitlements.sort();
        }
        self.change = change;
    }

    fn judge_at_work<'a>(&'a mut self, policy: &'a Policy, environment: &'a Environment) -> JudgeAtWork<'a> {
        let Loaded { regs, clock, .. } = &mut self.household;
        let machinery = Machinery { regs, bins: &policy.programs.household.bins, clock };
        JudgeAtWork { policy, environment, machinery }
    }

    /// Puts a household's sums where programs read them.
    fn load_row(&mut self, policy: &Policy, environment: &Environment, row: &Row) {
        self.household.load(&policy.programs.household, environment);
        let regs = &mut self.household.regs;
        let count = policy.slots.min(row.values.len());
        for base in [SLOTS, SUMS] {
            regs[usize::from(base)..usize::from(base) + count].copy_from_slice(&row.values[..count]);
            regs[usize::from(base) + count..usize::from(base) + policy.slots].fill(0);
        }
        // The list is sorted: the last to be written is the least reason of a slot.
        for (slot, reason, _) in row.unknown.iter().rev() {
            regs[usize::from(SLOTS + slot)] = unknown(*reason);
        }
    }

    /// Indicators, points, category and level of a household.
    fn total(&mut self, policy: &Policy, environment: &Environment, row: &Row, out: &mut Judgement) {
        let programs = &policy.programs;
        self.load_row(policy, environment, row);
        let mut judge = self.judge_at_work(policy, environment);
        judge.machinery.run(&programs.judgement_with_values);
        judge.stand(out);
        let value = |reg: &Reg| judge.machinery.regs[usize::from(*reg)];
        let (first, count) = programs.household_indicators;
        out.indicators = (first..first + count as Reg).map(|reg| value(&reg)).collect();
        out.points = programs.criteria.iter().map(value).collect();
        out.doubts = programs.doubts.iter().map(value).collect();
        out.level_points = programs.levels.iter().map(value).collect();
    }

    fn pass<'a>(&'a mut self, policy: &'a Policy, environment: &'a Environment, person: PersonId, file: &'a [u8], role: Role) -> Pass<'a> {
        let mut pass = self.begin(policy, environment, person, role);
        pass.turn_to(file);
        pass
    }

    /// Takes up a person, with no file yet.
    fn begin<'a>(&'a mut self, policy: &'a Policy, environment: &'a Environment, person: PersonId, role: Role) -> Pass<'a> {
        if !self.people[self.latest].loaded.is_of(environment) {
            self.latest = 1 - self.latest;
        }
        let machine = &mut self.people[self.latest];
        if !machine.loaded.is_of(environment) {
            machine.load(policy, environment, &mut self.room);
        }
        let flags = [
            role != Role::Outside,
            role == Role::Head,
            role == Role::Spouse,
            role == Role::Child,
            role == Role::Dependant,
            matches!(role, Role::Head | Role::Spouse | Role::Dependant),
        ];
        let first = usize::from(policy.programs.roles);
        for (reg, flag) in machine.loaded.regs[first..].iter_mut().zip(flags) {
            *reg = i64::from(flag);
        }
        machine.loaded.regs[first + 6] = person as i64;
        machine.pass(policy, environment, &mut self.room)
    }
}

impl Person {
    fn new() -> Self {
        Person { loaded: Loaded::new(), blank: Vec::new(), horizon: 0, closed: Vec::new(), filled: Bits::default(), dirty: Bits::default() }
    }

    fn pass<'a>(&'a mut self, policy: &'a Policy, environment: &'a Environment, room: &'a mut Room) -> Pass<'a> {
        let Person { loaded, blank, horizon, closed, filled, dirty } = self;
        let mut clock = Clock::new(environment.today);
        clock.wake(*horizon);
        Pass { policy, environment, file: &[], regs: &mut loaded.regs, clock, blank, closed, filled, dirty, room, expiring: None }
    }

    /// Turns to another day: runs everything for a blank file.
    fn load(&mut self, policy: &Policy, environment: &Environment, room: &mut Room) {
        let programs = &policy.programs;
        self.loaded.load(&programs.person, environment);
        self.horizon = i64::from(Date::NEVER.0);
        self.loaded.regs[usize::from(programs.roles)..][..7].fill(0);
        let mut pass = self.pass(policy, environment, room);
        pass.run_blank();
        let closes = |gate: &Gate| pass.machinery().value(&gate.code) == 0;
        let closed = closed_gates(&programs.gates, closes);
        let slots = BUILT_IN_SLOTS..programs.slots.len();
        let filled = slots.filter(|slot| pass.contribution(*slot) != Ok(0)).collect();
        let horizon = pass.clock.horizon;
        self.blank = programs.sequence.written.iter().map(|reg| self.loaded.regs[usize::from(*reg)]).collect();
        (self.horizon, self.closed, self.filled) = (horizon, closed, filled);
        self.dirty.clear();
    }
}

/// By benefit, which of its conditions close it.
fn closed_gates(gates: &[Vec<Gate>], mut closes: impl FnMut(&Gate) -> bool) -> Vec<Vec<usize>> {
    gates.iter().map(|gates| (0..gates.len()).filter(|gate| closes(&gates[*gate])).collect()).collect()
}

/// The household's machine, with a row in it.
struct JudgeAtWork<'a> {
    policy: &'a Policy,
    environment: &'a Environment,
    machinery: Machinery<'a>,
}

impl JudgeAtWork<'_> {
    /// Puts one sum of another row where programs read it.
    fn load_slot(&mut self, row: &Row, slot: u16) {
        let value = row.values[usize::from(slot)];
        let regs = &mut *self.machinery.regs;
        regs[usize::from(SUMS + slot)] = value;
        regs[usize::from(SLOTS + slot)] = row.doubt(slot).map_or(value, unknown);
    }

    /// Score, category and level, of criteria that have run; also where rights read them.
    fn stand(&mut self, out: &mut Judgement) {
        let programs = &self.policy.programs;
        let Machinery { regs, bins, clock } = &mut self.machinery;
        let sum =
            |criteria: &[Reg]| criteria.iter().fold(0, |sum: i64, reg| sum.saturating_add(regs[usize::from(*reg)]).clamp(-LIMIT, LIMIT));
        (out.score, out.level_score) = (sum(&programs.criteria), sum(&programs.levels));
        let totals = usize::from(programs.totals);
        regs[totals] = out.score;
        regs[totals + 1] = out.level_score;
        out.category = programs.category.as_ref().map_or(0, |category| categorise(category, regs, bins, clock));
        regs[totals + 2] = i64::from(out.category);
        out.level = programs.level.as_ref().map_or(255, |(by, letters)| {
            run(&by.ops, regs, bins, clock);
            let value = regs[usize::from(by.result)];
            if is_unknown(value) { 255 } else { u8::try_from(letters.of(value)).unwrap_or(255) }
        });
        regs[totals + 3] = i64::from(out.level) + 1;
    }

    /// Decides rights of the household.
    fn rights_of_household(&mut self, benefits: &[u16], row: &Row, household: HouseholdKey, out: &mut Vec<Entitlement>) {
        let Some((recipient, role)) = recipient(row, household) else { return };
        let addressee = Membership { household, role }.addressee(recipient);
        for index in benefits {
            let right = Question::new(self.policy, *index, 0).decide(|| Ground::Constant, &mut self.machinery, self.environment);
            out.extend(right.map(|right| Entitlement { recipient, addressee, ..right }));
        }
    }

    /// Decides what members claim.
    fn claims<'c>(&mut self, claims: impl IntoIterator<Item = &'c Claim>, household: HouseholdKey, out: &mut Vec<Entitlement>) {
        for claim in claims {
            let question = Question::new(self.policy, claim.benefit, claim.doubt);
            self.machinery.load(question.program, claim);
            let right = question.decide(|| claim.ground.clone(), &mut self.machinery, self.environment);
            let addressee = Membership { household, role: claim.role }.addressee(claim.person);
            out.extend(right.map(|right| Entitlement { recipient: claim.person, addressee, ..right }));
        }
    }
}

impl RowChange {
    /// Finds out what differs between two rows, and what rests on it.
    fn find(&mut self, policy: &Policy, rows: [&Row; 2]) {
        let (programs, concerns) = (&policy.programs, &policy.programs.sum_concerns);
        self.slots.clear();
        differing_slots(rows, &mut self.slots);
        self.units.clear();
        self.slots.iter().for_each(|slot| self.units.join(&concerns.units[usize::from(*slot)]));
        let stands_anew = self.units.contains(concerns.standing());
        let concerned = |benefit: u16| {
            self.units.contains(concerns.right(benefit)) || stands_anew && concerns.by_standing.contains(usize::from(benefit))
        };
        self.rights.clear();
        self.rights.extend(programs.household_benefits.iter().copied().filter(|benefit| concerned(*benefit)));
        // Where others claim, or other things, all claims are compared.
        let [before, now] = rows.map(|row| &row.claims);
        let most = before.len().max(now.len());
        let all = before != now;
        self.claims.clear();
        self.claims.extend((0..most).filter(|at| all || concerned(now[*at].benefit)));
        self.nodes.clear();
        let claimed = self.claims.iter().flat_map(|at| [before, now].into_iter().filter_map(|claims| claims.get(*at)));
        let mut standing = stands_anew;
        for benefit in self.rights.iter().copied().chain(claimed.map(|claim| claim.benefit)) {
            self.nodes.join(&concerns.needs[concerns.right(benefit)]);
            standing |= concerns.by_standing.contains(usize::from(benefit));
        }
        if standing {
            self.nodes.join(&concerns.needs[concerns.standing()]);
        }
    }
}

/// Slots that two rows do not share, some of them perhaps twice.
fn differing_slots([before, now]: [&Row; 2], slots: &mut Vec<u16>) {
    let values = before.values.iter().zip(&now.values).enumerate();
    slots.extend(values.filter(|(_, (before, now))| before != now).map(|(slot, _)| slot as u16));
    if before.unknown != now.unknown {
        let missing = |row: &Row, other: &Row| {
            row.unknown.iter().filter(|known| !other.unknown.contains(known)).map(|known| known.0).collect::<Vec<_>>()
        };
        slots.extend(missing(before, now).into_iter().chain(missing(now, before)));
    }
}

fn categorise(category: &CategoryProgram, regs: &mut Registers, bins: &[Bins], clock: &mut Clock) -> u8 {
    for (when, hard) in &category.hard {
        run(&when.ops, regs, bins, clock);
        if regs[usize::from(when.result)] == 1 {
            return *hard;
        }
    }
    run(&category.by.ops, regs, bins, clock);
    let value = regs[usize::from(category.by.result)];
    let given = if is_unknown(value) { ABSENT } else { category.bins.of(value) };
    (if given == ABSENT { category.unknown } else { given }) as u8
}

/// Who receives a household's right, if anybody.
///
/// The mother, else the head: families are anchored at the woman of a couple, so whenever there is a mother she is the head.
/// The household of an orphan has no head: the right is the child's.
fn recipient(row: &Row, household: HouseholdKey) -> Option<(PersonId, Role)> {
    match row.values.get(1).copied().unwrap_or(0) as PersonId {
        0 if household.is_orphan() => Some((household.anchor(), Role::Child)),
        0 => None,
        head => Some((head, Role::Head)),
    }
}

/// A record as the ground of a right.
fn ground(policy: &Policy, file: &[u8], record: &Brief) -> Ground {
    Ground::Record(record.register, Record::read(&file[record.start as usize..]).key(policy.packing(record.register)).into())
}

/// One evaluation of one person.
struct Pass<'a> {
    policy: &'a Policy,
    environment: &'a Environment,
    file: &'a [u8],
    regs: &'a mut Registers,
    clock: Clock,
    blank: &'a [i64],
    closed: &'a [Vec<usize>],
    filled: &'a Bits,
    dirty: &'a mut Bits,
    room: &'a mut Room,
    /// The months for which the records at hand are retained, and the least period among them.
    expiring: Option<(i32, i64)>,
}

impl<'a> Pass<'a> {
    /// Takes up a file. A record that rules will see later lowers the horizon.
    fn turn_to(&mut self, file: &'a [u8]) {
        let (policy, sequence) = (self.policy, &self.policy.programs.sequence);
        self.file = file;
        self.room.seen.clear();
        self.room.founding.clear();
        self.room.present.clear();
        for record in briefs(file) {
            let register = usize::from(record.register);
            if policy.programs.founding[register] {
                self.room.founding.push(record);
            }
            let relied_on = self.environment.shared.doubts[register] == 0 || sequence.silent[register];
            if sequence.registers[register] && relied_on && self.effective(&record) {
                self.room.seen.push(record);
                self.room.present.insert(register);
            }
        }
        self.room.fields.clear();
        self.room.unpacked.clear();
        self.room.unpacked.resize(self.room.seen.len(), None);
        let Room { present, shown, .. } = &mut *self.room;
        shown.copy(&sequence.personal);
        present.each(present, true, |register| shown.join(&sequence.shown_by[register]));
    }

    /// Says which nodes may have other values for one of two files than for the other, in which only records of these registers differ:
    /// those on which a record that is in one of them alone bears, unless it is not seen or a filter turns it away (one that needs nodes
    /// which are not blank is not asked). When it may let the record pass lowers the horizon.
    fn touch(&mut self, registers: &[u16], files: [&'a [u8]; 2], nodes: &mut Bits) {
        let (policy, sequence) = (self.policy, &self.policy.programs.sequence);
        nodes.clear();
        let (mut shown, mut is_known) = (std::mem::take(&mut self.room.shown), false);
        different_records(files, |side, record| {
            let register = usize::from(record.register);
            let doubted = self.environment.shared.doubts[register] != 0;
            let is_read = sequence.registers[register] && (!doubted || sequence.silent[register]) && registers.contains(&record.register);
            self.file = files[side];
            if !is_read || !self.effective(&record) || !self.unpack(&record) {
                return;
            }
            for group in sequence.stages.iter().flat_map(|stage| &stage.groups[register]).filter(|group| !doubted || group.holds()) {
                let passes = match (&group.filter, &group.filter_needs) {
                    (Some(filter), Some(needs))
                        if needs.is_empty() || {
                            if !std::mem::replace(&mut is_known, true) {
                                self.find_shown(files, &mut shown);
                            }
                            !needs.meets(&shown)
                        } =>
                    {
                        self.make_blank(needs);
                        run(&filter.ops, self.regs, &policy.programs.person.bins, &mut self.clock);
                        self.regs[usize::from(filter.result)] != 0
                    }
                    _ => true,
                };
                if passes {
                    nodes.join(&group.bears_on);
                    self.expires(&record);
                }
            }
        });
        self.room.shown = shown;
        self.wake_when_expired();
    }

    /// Finds out which nodes may not be blank for one of two files.
    fn find_shown(&self, files: [&[u8]; 2], shown: &mut Bits) {
        let sequence = &self.policy.programs.sequence;
        shown.copy(&sequence.personal);
        let mut last = None;
        for register in files.into_iter().flat_map(registers_of).map(usize::from) {
            if last.replace(register) != Some(register) {
                shown.join(&sequence.shown_by[register]);
            }
        }
    }

    /// Has these nodes hold what they do for a blank file.
    fn make_blank(&mut self, nodes: &Bits) {
        let (sequence, blank, regs) = (&self.policy.programs.sequence, self.blank, &mut *self.regs);
        self.dirty.each(nodes, true, |node| {
            sequence.written_by(node).for_each(|at| regs[usize::from(sequence.written[at])] = blank[at]);
        });
    }

    /// Whether the person may have (or claim) a right: whether no condition fails for a blank file that the same registers show.
    fn is_open(&self, benefit: u16) -> bool {
        let (gates, closed) = (&self.policy.programs.gates[usize::from(benefit)], &self.closed[usize::from(benefit)]);
        closed.iter().all(|gate| gates[*gate].shown_by.meets(&self.room.present))
    }

    /// Adds what those of these rights need that the person may have.
    fn want(&self, benefits: &[u16], wanted: &mut Bits) {
        let open = benefits.iter().filter(|benefit| self.is_open(**benefit));
        open.for_each(|benefit| wanted.join(&self.policy.programs.needs[usize::from(*benefit)]));
    }

    /// Runs the nodes wanted of which it is true that others have them.
    fn run_among(&mut self, wanted: &Bits, others: &Bits) {
        self.run_if(wanted, |due| due.meet(others));
    }

    /// Runs the nodes wanted of which it is not.
    fn run_beside(&mut self, wanted: &Bits, others: &Bits) {
        self.run_if(wanted, |due| due.remove(others));
    }

    fn run(&mut self, wanted: &Bits) {
        self.run_if(wanted, |_| {});
    }

    /// Runs all nodes for a file of nothing.
    fn run_blank(&mut self) {
        let programs = &self.policy.programs;
        for stage in &programs.sequence.stages {
            stage.scalars.each(&stage.scalars, true, |node| {
                run(programs.sequence.program(node), self.regs, &programs.person.bins, &mut self.clock);
            });
            for (reg, kind, register) in &stage.starts {
                let doubt = self.environment.shared.doubts[usize::from(*register)];
                self.regs[usize::from(*reg)] = if doubt == 0 || *kind == FoldKind::Held { kind.start() } else { doubt };
            }
        }
    }

    /// Runs those nodes wanted that are left over and not as for a blank file.
    fn run_if(&mut self, wanted: &Bits, leave: impl FnOnce(&mut Bits)) {
        let programs = &self.policy.programs;
        let sequence = &programs.sequence;
        let (mut asked, mut due) = (std::mem::take(&mut self.room.asked), std::mem::take(&mut self.room.due));
        asked.copy(wanted);
        leave(&mut asked);
        due.copy(&asked);
        due.meet(&self.room.shown);
        self.make_blank(&asked);
        self.dirty.join(&due);
        for stage in &sequence.stages {
            due.each(&stage.scalars, true, |node| run(sequence.program(node), self.regs, &programs.person.bins, &mut self.clock));
            if due.meets(&stage.all_folds) {
                self.run_folds(stage, &due);
            }
        }
        (self.room.asked, self.room.due) = (asked, due);
    }

    /// Has one pass over the file serve the folds of a stage that are due.
    fn run_folds(&mut self, stage: &Stage, due: &Bits) {
        self.room.distinct.clear();
        for index in 0..self.room.seen.len() {
            let record = self.room.seen[index];
            if due.meets(&stage.folds[usize::from(record.register)]) && self.lay_out(index, &record) {
                let groups = &stage.groups[usize::from(record.register)];
                let doubted = self.environment.shared.doubts[usize::from(record.register)] != 0;
                let due_groups = groups.iter().filter(|group| group.is_due(due));
                let counted = due_groups.fold(false, |counted, group| self.fold(group, doubted, due) | counted);
                if counted {
                    self.expires(&record);
                }
            }
        }
        self.wake_when_expired();
    }

    fn effective(&mut self, record: &Brief) -> bool {
        if let Some(date) = record.event_date
            && date > self.environment.today
            && !record.deleted()
        {
            self.clock.wake(i64::from(date.0));
            return false;
        }
        !record.deleted()
    }

    /// Puts the fields of a record seen where programs read them; false if its retention has ended. Stages share one unpacking.
    fn lay_out(&mut self, index: usize, record: &Brief) -> bool {
        let count = self.policy.programs.layouts[usize::from(record.register)].shape.fields();
        if let Some((from, is_kept)) = self.room.unpacked[index] {
            self.regs[usize::from(FIELDS)..][..count].copy_from_slice(&self.room.fields[from as usize..][..count]);
            return is_kept;
        }
        let (is_kept, from) = (self.unpack(record), self.room.fields.len() as u32);
        self.room.fields.extend_from_slice(&self.regs[usize::from(FIELDS)..][..count]);
        self.room.unpacked[index] = Some((from, is_kept));
        is_kept
    }

    /// Unpacks a record, unless its retention has ended.
    fn unpack(&mut self, record: &Brief) -> bool {
        let layout = &self.policy.programs.layouts[usize::from(record.register)];
        record.unpack(self.file, layout.shape, &mut self.regs[usize::from(FIELDS)..]);
        layout.retain_months.is_none()
            || self.period(record, layout).is_none_or(|period| period > self.environment.shared.expired[usize::from(record.register)])
    }

    /// The date from which a record's retention counts.
    fn period(&self, record: &Brief, layout: &Layout) -> Option<i64> {
        match layout.period.map(|position| self.regs[usize::from(FIELDS) + position]) {
            Some(period) if period != ABSENT => Some(period),
            _ => record.event_date.map(|date| i64::from(date.0)),
        }
    }

    /// A record that counted stops counting when its retention ends; of the records of a register the first one matters.
    fn expires(&mut self, record: &Brief) {
        let layout = &self.policy.programs.layouts[usize::from(record.register)];
        let (Some(months), Some(period)) = (layout.retain_months, self.period(record, layout)) else {
            return;
        };
        match &mut self.expiring {
            Some((same, first)) if *same == months => *first = period.min(*first),
            _ => {
                self.wake_when_expired();
                self.expiring = Some((months, period));
            }
        }
    }

    fn wake_when_expired(&mut self) {
        if let Some((months, period)) = self.expiring.take() {
            self.clock.wake(i64::from(Date(period as i32).add_months(months).0));
        }
    }

    /// Adds the record at hand to the folds of a group; whether it passed. Of a doubted register only some folds take it.
    fn fold(&mut self, group: &Group, doubted: bool, due: &Bits) -> bool {
        let bins = &self.policy.programs.person.bins;
        let passes = match &group.filter {
            Some(filter) => {
                run(&filter.ops, self.regs, bins, &mut self.clock);
                self.regs[usize::from(filter.result)]
            }
            None => 1,
        };
        if passes == 0 {
            return false;
        }
        for item in group.items.iter().filter(|item| due.contains(item.node) && (!doubted || item.kind == FoldKind::Held)) {
            let before = self.regs[usize::from(item.result)];
            self.regs[usize::from(item.result)] = match item.kind {
                FoldKind::Exists | FoldKind::Held if passes == 1 => 1,
                FoldKind::All if passes == 1 => 0,
                FoldKind::Exists | FoldKind::Held if before == 1 => 1,
                FoldKind::All if before == 0 => 0,
                _ if is_unknown(before) && before != ABSENT => before,
                _ if is_unknown(passes) => passes.max(unknown(0)),
                _ => self.take(item, before),
            };
        }
        true
    }

    /// A fold's result with the record at hand.
    fn take(&mut self, item: &Item, before: i64) -> i64 {
        let value = match &item.map {
            Some(map) => {
                run(&map.ops, self.regs, &self.policy.programs.person.bins, &mut self.clock);
                self.regs[usize::from(map.result)]
            }
            None => 1,
        };
        if is_unknown(value) {
            return value.max(unknown(0));
        }
        match item.kind {
            FoldKind::Min if before != ABSENT => before.min(value),
            FoldKind::Max if before != ABSENT => before.max(value),
            FoldKind::Min | FoldKind::Max => value,
            FoldKind::Distinct if self.room.distinct.contains(&(item.result, value)) => before,
            FoldKind::Distinct => {
                self.room.distinct.push((item.result, value));
                before + 1
            }
            FoldKind::Count | FoldKind::Sum | FoldKind::Exists | FoldKind::Held | FoldKind::All => {
                before.saturating_add(value).clamp(-LIMIT, LIMIT)
            }
        }
    }

    /// What the person gives to their household in these slots, claims of it, and has a right to themselves.
    fn give(
        &mut self,
        person: PersonId,
        place: Membership,
        slots: impl Iterator<Item = u16>,
        claims: &[u16],
        own_benefits: &[u16],
        out: &mut Contribution,
    ) {
        if place.role != Role::Outside {
            self.fill(slots, out);
            self.claims(claims, person, place.role, false, &mut out.claims);
        }
        let addressee = place.addressee(person);
        self.rights(own_benefits, |right| out.entitlements.push(Entitlement { recipient: person, addressee, ..right }));
        out.entitlements.sort();
    }

    /// Fills slots of a member, in their order, after the nodes that they need have run: those that are zero for a blank file stay so
    /// where nothing has run.
    fn fill(&self, slots: impl Iterator<Item = u16>, out: &mut Contribution) {
        let programs = &self.policy.programs;
        for index in slots {
            let at = usize::from(index);
            if !self.filled.contains(at) && !self.room.due.contains(programs.slot_nodes[at]) {
                continue;
            }
            match self.contribution(at) {
                Ok(0) => {}
                Ok(value) => out.values.push((index, value)),
                Err(reason) => out.unknown.extend(reason.map(|reason| (index, reason))),
            }
        }
    }

    /// What a slot gains by a member; or why that is unknown, if it is this slot that says so.
    fn contribution(&self, slot: usize) -> Result<i64, Option<u16>> {
        let slot = &self.policy.programs.slots[slot];
        match (self.regs[usize::from(slot.source)], slot.class) {
            (value, class) if is_unknown(value) => Err(class.is_none_or(|(class, _)| class == 0).then(|| reason_of(value))),
            (value, None) => Ok(value),
            (value, Some((class, count))) => Ok(i64::from(value.min(i64::from(count) - 1) == i64::from(class))),
        }
    }

    /// Decides the person's own rights, of these benefits.
    fn rights(&mut self, benefits: &[u16], mut give: impl FnMut(Entitlement)) {
        let policy = self.policy;
        for index in benefits {
            if !self.is_open(*index) {
                continue;
            }
            self.grounds(*index, |pass, doubt, ground| {
                let environment = pass.environment;
                let right = Question::new(policy, *index, doubt).decide(ground, &mut pass.machinery(), environment);
                right.into_iter().for_each(&mut give);
            });
        }
    }

    /// What the person claims of their household, of these benefits; with `all`, also what cannot come true.
    fn claims(&mut self, benefits: &[u16], person: PersonId, role: Role, all: bool, out: &mut Vec<Claim>) {
        let policy = self.policy;
        for &benefit in benefits {
            if !all && !self.is_open(benefit) {
                continue;
            }
            let program = &policy.programs.benefits[usize::from(benefit)];
            self.grounds(benefit, |pass, doubt, ground| {
                let mut room = std::mem::take(&mut pass.room.inputs);
                let inputs = pass.machinery().claim(program, all || policy.benefits[usize::from(benefit)].answers, &mut room);
                pass.room.inputs = room;
                if let Some(inputs) = inputs {
                    out.push(Claim { benefit, person, role, ground: ground(), doubt, inputs });
                }
            });
        }
    }

    fn traces(&mut self) -> Vec<Trace> {
        let policy = self.policy;
        let mut traces = Vec::new();
        for index in &policy.programs.own_benefits {
            self.grounds(*index, |pass, doubt, ground| {
                traces.push(Question::new(policy, *index, doubt).trace(ground(), &mut pass.machinery()));
            });
        }
        traces
    }

    fn machinery(&mut self) -> Machinery<'_> {
        Machinery { regs: self.regs, bins: &self.policy.programs.person.bins, clock: &mut self.clock }
    }

    /// Asks on each ground that a benefit may have: with the record unpacked, and unknown if its register cannot be relied on.
    fn grounds(&mut self, benefit: u16, mut ask: impl FnMut(&mut Self, i64, &dyn Fn() -> Ground)) {
        let (policy, file) = (self.policy, self.file);
        let Some(register) = policy.benefits[usize::from(benefit)].ground_register else {
            return ask(self, 0, &|| Ground::Constant);
        };
        let doubt = self.environment.shared.doubts[usize::from(register)];
        for index in 0..self.room.founding.len() {
            let record = self.room.founding[index];
            if record.register == register && self.founds(&record, doubt) {
                ask(self, doubt, &|| ground(policy, file, &record));
            }
        }
        self.wake_when_expired();
    }

    /// Unpacks a record that may found a right. Nothing is known of it while its register is silent.
    fn founds(&mut self, record: &Brief, doubt: i64) -> bool {
        if !self.effective(record) || !self.unpack(record) {
            return false;
        }
        self.expires(record);
        if is_unknown(doubt) {
            self.regs[usize::from(FIELDS)..][..FIELD_COUNT].fill(doubt);
        }
        true
    }
}
