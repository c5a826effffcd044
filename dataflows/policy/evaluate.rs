//! Evaluation: what follows from a file or a row on a day.
//!
//! An [`Evaluator`] holds the registers of machines for people and for households, and scratch space; once it is warm, only entitlements
//! allocate. Every answer comes with a *horizon*, the first later date on which it may change by itself; a record whose date is still to
//! come, a term, a birthday, the end of a record's retention lower it.

use super::bits::Bits;
use super::concerns::{Touched, Turned};
use super::environment::{Environment, Loaded};
use super::file::{ABSENT, briefs_of};
use super::graph::{SLOTS, SUMS};
use super::household::{JudgeAtWork, RowChange};
use super::openings::Inquiry;
use super::person::{Pass, Person, Room};
use super::program::{Clock, Reg, is_unknown, unknown};
use super::rights::{Machinery, Question, Trace};
use super::versions::Versions;
use super::{Asked, Claim, Composition, Contribution, Entitlement, Judgement, Policy, Row};
use crate::model::{Date, Ground, HouseholdKey, Membership, PersonId, Role};
use std::sync::Arc;

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

    /// Whether tied people know of a person of whom this is known, where records of these registers may change what they know.
    pub fn is_told(&mut self, environment: &Environment, person: PersonId, registers: &[u16], file: &[u8]) -> bool {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        let may_tell = registers.iter().any(|register| programs.concerns[usize::from(*register)].told);
        let Some(when) = programs.kin_when.filter(|_| may_tell) else { return false };
        // Of most people there is no record on which that rests.
        let shows = |register: u16| programs.sequence.shown_by[usize::from(register)].meets(&programs.kin_known);
        let file = if briefs_of(file, shows).next().is_some() { file } else { &[] };
        let mut pass = self.pass(&policy, environment, person, file, Role::Outside);
        pass.run(&programs.kin_known);
        pass.regs[usize::from(when)] == 1
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

    /// The indicator that tells where a person lives.
    pub fn region(&mut self, environment: &Environment, person: PersonId, file: &[u8], role: Role) -> Option<i64> {
        let policy = self.policy.clone();
        let position = policy.indicators[policy.region?].position;
        let mut pass = self.pass(&policy, environment, person, file, role);
        pass.run(&policy.programs.region);
        Some(pass.regs[usize::from(policy.programs.person_indicators.0) + position])
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
        pass.want_all(&mut wanted);
        pass.run(&wanted);
        out.clear();
        pass.give_all(person, place, out);
        let horizon = pass.clock.horizon();
        self.wanted = wanted;
        horizon
    }

    /// The same of these slots, claims and rights alone, for now.
    pub(crate) fn contribution_of(
        &mut self,
        environment: &Environment,
        asked: &Asked,
        (person, place): (PersonId, Membership),
        file: &[u8],
        out: &mut Contribution,
    ) {
        let policy = self.policy.clone();
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.clear();
        let machine = self.take_up(&policy, environment, person, place.role);
        self.people[machine].choose(&policy, &asked.of_people);
        let mut pass = self.people[machine].pass(&policy, environment, &mut self.room);
        pass.turn_to_of(file, &asked.of_people);
        pass.want_of(&asked.of_people, &mut wanted);
        pass.run(&wanted);
        out.clear();
        pass.give_of(person, place, &asked.of_people, out);
        // A histogram may be asked for in part.
        out.values.retain(|(slot, _)| asked.slots.binary_search(slot).is_ok());
        out.unknown.retain(|(slot, _)| asked.slots.binary_search(slot).is_ok());
        self.wanted = wanted;
    }

    /// What of this may differ between two files in which only the records of few registers do; the answer is the first date on
    /// which that may change by itself now. `fault`, if there is one, is told of declared faults that are true before (0) and now (1), of
    /// those that may differ.
    pub fn contributions(
        &mut self,
        environment: &Environment,
        (person, place): (PersonId, Membership),
        registers: &[u16],
        versions: Versions<'_>,
        out: [&mut Contribution; 2],
        mut fault: Option<impl FnMut(usize, u16)>,
    ) -> Date {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        let (files, [before, now]) = (versions.files, out);
        before.clear();
        now.clear();
        if !registers.iter().any(|register| programs.concerns[usize::from(*register)].is_of_outputs(fault.is_some())) {
            return Date::NEVER;
        }
        let (mut wanted, mut touched) = (std::mem::take(&mut self.wanted), std::mem::take(&mut self.touched));
        let mut pass = self.pass(&policy, environment, person, files[1], place.role);
        pass.touch(registers, versions, &mut touched.folds);
        pass.narrow(files, &touched.folds, &mut touched.nodes);
        touched.pick(&policy, registers);
        if fault.is_none() {
            touched.faults.clear();
        }
        if !touched.contributes_nothing() || !touched.faults.is_empty() {
            wanted.clear();
            touched.faults.iter().for_each(|fault| wanted.join(&programs.fault_needs[usize::from(*fault)]));
            touched.slots.iter().for_each(|slot| wanted.join(&programs.slot_needs[usize::from(*slot)]));
            // What is asked about one of both is asked about both: as if either had such records.
            for register in registers.iter().map(|register| usize::from(*register)) {
                pass.room.present.insert(register);
                pass.room.grounds.insert(register);
            }
            pass.want(&touched.claims, &mut wanted);
            pass.want(&touched.own_benefits, &mut wanted);
            pass.run_beside(&wanted, &touched.nodes);
            let mut give = |pass: &mut Pass<'_>, side: usize, out: &mut Contribution| {
                pass.run_among(&wanted, &touched.nodes);
                if let Some(fault) = &mut fault {
                    let found = touched.faults.iter().filter(|index| pass.regs[usize::from(programs.faults[usize::from(**index)])] == 1);
                    found.for_each(|index| fault(side, *index));
                }
                pass.give(person, place, &touched.nodes, out);
            };
            give(&mut pass, 1, now);
            pass.turn_back(versions);
            give(&mut pass, 0, before);
        }
        let horizon = pass.clock.horizon();
        (self.wanted, self.touched) = (wanted, touched);
        horizon
    }

    /// What of this may differ between two days, of somebody whose file is the same and whose own date has not come; the answer is the first
    /// date on which that may change by itself now.
    pub(crate) fn contributions_of_days(
        &mut self,
        days: [&Environment; 2],
        touched: &Touched,
        (person, place): (PersonId, Membership),
        file: &[u8],
        [before, now]: [&mut Contribution; 2],
    ) -> Date {
        before.clear();
        now.clear();
        if touched.contributes_nothing() {
            return Date::NEVER;
        }
        let Touched { nodes, of_everybody, .. } = touched;
        let out = [before, now];
        self.compare_days(days, nodes, of_everybody, (person, place.role), file, |pass, side| {
            pass.give_of(person, place, of_everybody, out[side]);
        })
    }

    /// Which declared faults are true as of two days, of those that may differ: `fault` is told of those before (0) and now (1). The answer is as
    /// above; `None` if what tied people know of the person may differ, and they know of them.
    pub(crate) fn contradictions_of_days(
        &mut self,
        days: [&Environment; 2],
        Touched { nodes, faults, of_faults, .. }: &Touched,
        person: PersonId,
        file: &[u8],
        mut fault: impl FnMut(usize, u16),
    ) -> Option<Date> {
        let policy = self.policy.clone();
        let programs = &policy.programs;
        let kin_when = programs.kin_when.filter(|_| programs.kin.meets(nodes));
        if faults.is_empty() && kin_when.is_none() {
            return Some(Date::NEVER);
        }
        let mut is_told = false;
        let horizon = self.compare_days(days, nodes, of_faults, (person, Role::Outside), file, |pass, side| {
            is_told |= kin_when.is_some_and(|when| pass.regs[usize::from(when)] == 1);
            let found = faults.iter().filter(|fault| pass.regs[usize::from(programs.faults[usize::from(**fault)])] == 1);
            found.for_each(|index| fault(side, *index));
        });
        (!is_told).then_some(horizon)
    }

    /// Has what is wanted run as of two days, of somebody whose file is the same and whose own date has not come: the nodes that may differ as of
    /// both, those beside them once. `tell` hears when it has as of the second (1) and the first (0); the answer is when it may change by itself.
    fn compare_days(
        &mut self,
        days: [&Environment; 2],
        nodes: &Bits,
        inquiry: &Inquiry,
        (person, role): (PersonId, Role),
        file: &[u8],
        mut tell: impl FnMut(&mut Pass<'_>, usize),
    ) -> Date {
        let policy = self.policy.clone();
        let [_, latest] = days.map(|day| self.take_up(&policy, day, person, role));
        let Evaluator { people: [one, other], room, wanted, .. } = self;
        let [past, present] = if latest == 0 { [other, one] } else { [one, other] };
        wanted.clear();
        past.choose(&policy, inquiry);
        present.choose(&policy, inquiry);
        let mut pass = present.pass(&policy, days[1], room);
        pass.turn_to_of(file, inquiry);
        let horizon = pass.clock.horizon();
        pass.want_of(inquiry, wanted);
        // What is asked about as of one of the days is asked about as of both.
        past.pass(&policy, days[0], room).want_of(inquiry, wanted);
        let mut pass = present.pass(&policy, days[1], room);
        pass.file = file;
        pass.run(wanted);
        tell(&mut pass, 1);
        let horizon = horizon.min(pass.clock.horizon());
        let mut pass = past.pass(&policy, days[0], room);
        pass.go_on(file, wanted, nodes, &present.loaded.regs);
        pass.run_among(wanted, nodes);
        tell(&mut pass, 0);
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
        policy.programs.claims.iter().for_each(|benefit| pass.claim(*benefit, person, role, true, &mut claims));
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

    /// The same of these rights alone, and of all that the row's members claim.
    pub(crate) fn judge_of(
        &mut self,
        environment: &Environment,
        asked: &Asked,
        row: &Row,
        household: HouseholdKey,
        out: &mut Vec<Entitlement>,
    ) {
        let policy = self.policy.clone();
        self.load_row(&policy, environment, row);
        let mut judge = self.judge_at_work(&policy, environment);
        asked.nodes.each(&asked.nodes, true, |node| judge.machinery.run(&policy.programs.sum_concerns.nodes[node]));
        if asked.stands {
            judge.stand(&mut Judgement::default());
        }
        out.clear();
        judge.rights_of_household(&asked.household_benefits, row, household, out);
        judge.claims(&row.claims, household, out);
    }

    /// The same, with all indicators and points, for people to read.
    pub fn judge_with_values(&mut self, environment: &Environment, row: &Row, household: HouseholdKey, out: &mut Judgement) {
        self.judge(environment, row, household, out);
        let policy = self.policy.clone();
        self.total(&policy, environment, row, out);
    }

    /// What of this may differ between two rows of one household that have the same head and number of members, as of two days (or one). What
    /// members claim is told beside them.
    pub(crate) fn judgements(
        &mut self,
        days: [&Environment; 2],
        turned: &Turned,
        household: HouseholdKey,
        rows: [&Row; 2],
        claims: [&[Claim]; 2],
        out: [&mut Judgement; 2],
    ) {
        let policy = self.policy.clone();
        let concerns = &policy.programs.sum_concerns;
        let mut change = std::mem::take(&mut self.change);
        change.find(&policy, rows, claims, turned);
        if change.is_of_nothing(concerns) {
            out.into_iter().for_each(Judgement::clear);
            self.change = change;
            return;
        }
        self.load_row(&policy, days[1], rows[1]);
        let mut judge = self.judge_at_work(&policy, days[1]);
        change.nodes.each(&change.units, false, |node| judge.machinery.run(&concerns.nodes[node]));
        let stands_anew = change.units.contains(concerns.standing());
        if !stands_anew {
            judge.stand(&mut Judgement::default());
        }
        // As of the second day last: that is what stays loaded.
        for (side, (row, out)) in rows.into_iter().zip(out).enumerate() {
            judge.environment = days[side];
            *judge.machinery.clock = Clock::new(days[side].today);
            turned.inputs.iter().for_each(|(reg, values)| judge.machinery.regs[usize::from(*reg)] = values[side]);
            change.slots.iter().for_each(|slot| judge.load_slot(row, *slot));
            change.nodes.each(&change.units, true, |node| judge.machinery.run(&concerns.nodes[node]));
            out.clear();
            if stands_anew {
                judge.stand(out);
            }
            judge.rights_of_household(&change.rights, row, household, &mut out.entitlements);
            judge.claims(change.claims.iter().filter_map(|claim| claims[side].get(*claim)), household, &mut out.entitlements);
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
        let machine = self.take_up(policy, environment, person, role);
        self.people[machine].pass(policy, environment, &mut self.room)
    }

    /// Has a machine turn to a day and a person; which.
    fn take_up(&mut self, policy: &Policy, environment: &Environment, person: PersonId, role: Role) -> usize {
        if !self.people[self.latest].loaded.is_of(environment) {
            self.latest = 1 - self.latest;
        }
        self.room.rights.clear();
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
        self.latest
    }
}
