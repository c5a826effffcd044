//! The machine for households: what follows from a row on a day, and what of it may differ between two rows.

use super::bits::Bits;
use super::concerns::{SumConcerns, Turned};
use super::environment::Environment;
use super::file::ABSENT;
use super::graph::{SLOTS, SUMS};
use super::program::{Bins, Clock, LIMIT, Reg, Registers, is_unknown, run, unknown};
use super::programs::CategoryProgram;
use super::rights::{Machinery, Question};
use super::{Claim, Entitlement, Judgement, Policy, Row};
use crate::model::{Ground, HouseholdKey, Membership, PersonId, Role};

/// What a change of a household's sums concerns, in room that is used again.
#[derive(Default)]
pub(super) struct RowChange {
    pub(super) slots: Vec<u16>,
    /// Units that rest on these slots.
    pub(super) units: Bits,
    /// Nodes that must run.
    pub(super) nodes: Bits,
    /// Rights of the household, and positions of claims, that must be decided again.
    pub(super) rights: Vec<u16>,
    pub(super) claims: Vec<usize>,
}

/// The household's machine, with a row in it.
pub(super) struct JudgeAtWork<'a> {
    pub(super) policy: &'a Policy,
    pub(super) environment: &'a Environment,
    pub(super) machinery: Machinery<'a>,
}

impl JudgeAtWork<'_> {
    /// Puts one sum of another row where programs read it.
    pub(super) fn load_slot(&mut self, row: &Row, slot: u16) {
        let value = row.values[usize::from(slot)];
        let regs = &mut *self.machinery.regs;
        regs[usize::from(SUMS + slot)] = value;
        regs[usize::from(SLOTS + slot)] = row.doubt(slot).map_or(value, unknown);
    }

    /// Score, category and level, of criteria that have run; also where rights read them.
    pub(super) fn stand(&mut self, out: &mut Judgement) {
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
    pub(super) fn rights_of_household(&mut self, benefits: &[u16], row: &Row, household: HouseholdKey, out: &mut Vec<Entitlement>) {
        let Some((recipient, role)) = recipient(row, household) else { return };
        let addressee = Membership { household, role }.addressee(recipient);
        for index in benefits {
            let right = Question::new(self.policy, *index, 0).decide(|| Ground::Constant, &mut self.machinery, self.environment);
            out.extend(right.map(|right| Entitlement { recipient, addressee, ..right }));
        }
    }

    /// Decides what members claim.
    pub(super) fn claims<'c>(&mut self, claims: impl IntoIterator<Item = &'c Claim>, household: HouseholdKey, out: &mut Vec<Entitlement>) {
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
    /// Finds out what differs between two rows, or two days, and what rests on it.
    pub(super) fn find(&mut self, policy: &Policy, rows: [&Row; 2], [before, now]: [&[Claim]; 2], turned: &Turned) {
        let (programs, concerns) = (&policy.programs, &policy.programs.sum_concerns);
        self.slots.clear();
        if !std::ptr::eq(rows[0], rows[1]) {
            differing_slots(rows, &mut self.slots);
        }
        self.units.copy(&turned.units);
        self.slots.iter().for_each(|slot| self.units.join(&concerns.units[usize::from(*slot)]));
        let stands_anew = self.units.contains(concerns.standing());
        let concerned = |benefit: u16| {
            self.units.contains(concerns.right(benefit)) || stands_anew && concerns.by_standing.contains(usize::from(benefit))
        };
        self.rights.clear();
        self.rights.extend(programs.household_benefits.iter().copied().filter(|benefit| concerned(*benefit)));
        // Where others claim, or other things, all claims are compared.
        let most = before.len().max(now.len());
        let all = !std::ptr::eq(before, now) && before != now;
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

    /// Whether neither the standing nor any right may be other.
    pub(super) fn is_of_nothing(&self, concerns: &SumConcerns) -> bool {
        self.rights.is_empty() && self.claims.is_empty() && !self.units.contains(concerns.standing())
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
