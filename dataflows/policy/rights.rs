//! Rights: how one is decided, what a member claims of their household, and which rights stand beside each other.
//!
//! A right that reads only its person is decided with the person, a household's with the row. A person's right that reads
//! values of the household is a *claim*: what it needs of the person is computed with the person, added to the household's row
//! like a sum, and decided with the row. Which of somebody's rights rule out others is decided last, when all are known.

use super::environment::Environment;
use super::file::{read_varint, unzigzag, write_varint, zigzag};
use super::graph::{Code, DWELLING_SLOTS, DWELLING_SUMS};
use super::program::{Bins, Clock, Op, Reg, Registers, is_unknown, reason_of, run, unknown};
use super::{Benefit, BenefitKind, Claim, Entitlement, Policy};
use crate::model::{Date, Decision, Ground, Outcome, Role};
use crate::operators::Packed;
use serde::{Deserialize, Serialize};

/// How a right is decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct BenefitProgram {
    pub conditions: Vec<Code>,
    pub amount: Option<Code>,
    pub from: Option<Code>,
    pub until: Option<Code>,
    /// The first day of offers, where it is not the same for everybody.
    pub proactive: Option<Code>,
    /// Above zero if the right is held by an assignment.
    pub held: Option<Reg>,
    /// Of a claim: what is computed of the person.
    pub inputs: Vec<ClaimInput>,
    /// Of a claim: it also rests on sums over those registered where the person is.
    pub residents: bool,
    pub excludes: Vec<u16>,
}

impl BenefitProgram {
    /// All that is run to decide it.
    pub fn codes(&self) -> impl Iterator<Item = &Code> {
        self.conditions.iter().chain([&self.amount, &self.from, &self.until, &self.proactive].into_iter().flatten())
    }
}

/// A value of a person on which a claim rests.
#[derive(Clone, Debug)]
pub(crate) struct ClaimInput {
    pub code: Code,
    /// Where the household's machine reads it.
    pub reg: Reg,
    /// Registers that it occupies: two, if it is a fraction.
    pub width: usize,
    /// It is a condition by itself: false, there is nothing to claim.
    pub gate: bool,
}

impl ClaimInput {
    /// What it is in most claims: a condition that holds, a benefit that is not held. A claim of nothing else brings no inputs,
    /// and takes no room for them.
    fn plain(&self) -> i64 {
        i64::from(self.gate)
    }
}

/// The truth of every condition of a benefit, for stories and explanations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub benefit: u16,
    pub ground: Ground,
    /// As [`Benefit::reasons`]: 1, 0, or unknown.
    pub conditions: Vec<i64>,
    /// What would be paid, whatever the conditions say; zero for notices.
    pub amount: i64,
}

/// A machine at work.
pub(crate) struct Machinery<'a> {
    pub regs: &'a mut Registers,
    pub bins: &'a [Bins],
    pub clock: &'a mut Clock,
}

impl Machinery<'_> {
    /// Runs a program.
    pub fn run(&mut self, ops: &[Op]) {
        run(ops, self.regs, self.bins, self.clock);
    }

    /// What a program answers.
    pub fn value(&mut self, code: &Code) -> i64 {
        self.run(&code.ops);
        self.regs[usize::from(code.result)]
    }

    /// Puts what a claim brings where the programs of its benefit read it.
    pub fn load(&mut self, program: &BenefitProgram, claim: &Claim) {
        let mut values = claim.inputs.iter();
        for input in &program.inputs {
            let to = &mut self.regs[usize::from(input.reg)..][..input.width];
            match claim.inputs.is_empty() {
                true => to.fill(input.plain()),
                false => to.iter_mut().zip(&mut values).for_each(|(to, value)| *to = *value),
            }
        }
        for (slot, sum) in (0..).zip(values.as_slice().chunks_exact(2)) {
            self.regs[usize::from(DWELLING_SUMS + slot)] = sum[0];
            self.regs[usize::from(DWELLING_SLOTS + slot)] = sum[1];
        }
    }

    /// What a claim brings, nothing if it is plain; `None` where a condition of the person fails, unless all of it is wanted.
    /// `values` is room to work in.
    pub fn claim(&mut self, program: &BenefitProgram, all: bool, values: &mut Vec<i64>) -> Option<Box<[i64]>> {
        values.clear();
        let mut plain = true;
        for input in &program.inputs {
            if self.value(&input.code) == 0 && input.gate && !all {
                return None;
            }
            let found = &mut self.regs[usize::from(input.code.result)..][..input.width];
            if let [numerator, denominator] = found
                && is_unknown(*numerator)
            {
                // Nothing was divided: what stands there is left from something else.
                *denominator = 1;
            }
            plain &= found.iter().all(|value| *value == input.plain());
            values.extend_from_slice(found);
        }
        Some(if plain { Box::default() } else { values.as_slice().into() })
    }
}

/// Of what a right is decided.
pub(crate) struct Question<'a> {
    pub index: u16,
    pub benefit: &'a Benefit,
    pub program: &'a BenefitProgram,
    /// Unknown if the register it is founded on cannot be relied on.
    pub doubt: i64,
}

impl<'a> Question<'a> {
    pub fn new(policy: &'a Policy, index: u16, doubt: i64) -> Question<'a> {
        let at = usize::from(index);
        Question { index, benefit: &policy.benefits[at], program: &policy.programs.benefits[at], doubt }
    }

    /// Decides: a condition that is false, or nothing to pay, is no right, or a refusal where an application that stands must be
    /// answered; if none is but something is unknown, it is in doubt.
    pub fn decide(&self, ground: impl FnOnce() -> Ground, machinery: &mut Machinery<'_>, environment: &Environment) -> Option<Entitlement> {
        let (mut certain, mut failed) = (!is_unknown(self.doubt), 0);
        for (index, condition) in self.program.conditions.iter().enumerate() {
            match machinery.value(condition) {
                0 if self.benefit.answers && index >= self.benefit.standing => failed |= 1 << index,
                0 => return None,
                value => certain &= !is_unknown(value),
            }
        }
        let mut amount = self.amount(machinery);
        match (is_unknown(amount), amount <= 0 && self.benefit.kind == BenefitKind::Payment) {
            (true, _) => certain = false,
            (false, true) if self.benefit.answers => failed |= 1 << self.program.conditions.len(),
            (false, true) => return None,
            (false, false) => {}
        }
        let held = self.benefit.answers || self.program.held.is_some_and(|held| machinery.regs[usize::from(held)] > 0);
        let outcome = match (failed, certain) {
            (0, true) if self.benefit.kind == BenefitKind::Notice => Outcome::Notice,
            (0, true) => Outcome::Eligible,
            (0, false) => doubtful(held),
            _ => Outcome::Refused,
        };
        if outcome != Outcome::Eligible {
            amount = 0;
        }
        let mut date = |code: &Option<Code>, open: Date| match code.as_ref().map(|code| machinery.value(code)) {
            Some(value) if !is_unknown(value) => Date(value as i32),
            _ => open,
        };
        let (from, until) = (date(&self.program.from, Date::BEFORE_ALL), date(&self.program.until, Date::NEVER));
        let proactive = match &self.program.proactive {
            None => self.benefit.proactive.unwrap_or(Date::NEVER),
            table => date(table, Date::NEVER),
        };
        let period = self.benefit.period.begun_on(environment.today);
        Some(Entitlement {
            benefit: self.index,
            ground: ground(),
            period,
            outcome,
            amount,
            from,
            until,
            held,
            proactive,
            failed,
            recipient: 0,
            addressee: 0,
        })
    }

    /// What is paid; nothing for notices.
    fn amount(&self, machinery: &mut Machinery<'_>) -> i64 {
        self.program.amount.as_ref().map_or(0, |amount| machinery.value(amount))
    }

    /// Evaluates everything, whatever fails.
    pub fn trace(&self, ground: Ground, machinery: &mut Machinery<'_>) -> Trace {
        let mut condition = |code: &Code| match machinery.value(code) {
            value if value != 0 && is_unknown(self.doubt) => self.doubt,
            value => value,
        };
        let conditions = self.program.conditions.iter().map(&mut condition).collect();
        Trace { benefit: self.index, ground, conditions, amount: self.amount(machinery) }
    }
}

fn doubtful(held: bool) -> Outcome {
    if held { Outcome::Undetermined } else { Outcome::InDoubt }
}

/// A right as it was decided, before it is known which others the person has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Right {
    pub decision: Decision,
    /// By an assignment in force, or by an application that must be answered.
    pub held: bool,
}

impl Packed for Claim {
    fn pack(&self, out: &mut Vec<u8>) {
        write_varint(out, u64::from(self.benefit));
        write_varint(out, self.person);
        out.push(self.role as u8);
        match &self.ground {
            Ground::Constant => write_varint(out, 0),
            Ground::Record(register, key) => {
                write_varint(out, u64::from(*register) + 1);
                write_varint(out, key.len() as u64);
                out.extend_from_slice(key.as_bytes());
            }
        }
        write_varint(out, if is_unknown(self.doubt) { u64::from(reason_of(self.doubt)) + 1 } else { 0 });
        write_varint(out, self.inputs.len() as u64);
        self.inputs.iter().for_each(|input| write_varint(out, zigzag(*input)));
    }

    fn unpack(bytes: &[u8], at: &mut usize) -> Self {
        let (benefit, person) = (read_varint(bytes, at) as u16, read_varint(bytes, at));
        let role = Role::ALL[usize::from(bytes[*at])];
        *at += 1;
        let ground = match read_varint(bytes, at) {
            0 => Ground::Constant,
            register => {
                let length = read_varint(bytes, at) as usize;
                let key = std::str::from_utf8(&bytes[*at..][..length]).expect("it was packed from text");
                *at += length;
                Ground::Record((register - 1) as u16, key.into())
            }
        };
        let doubt = match read_varint(bytes, at) {
            0 => 0,
            reason => unknown((reason - 1) as u16),
        };
        let inputs = (0..read_varint(bytes, at)).map(|_| unzigzag(read_varint(bytes, at))).collect();
        Claim { benefit, person, role, ground, doubt, inputs }
    }
}

impl Packed for Right {
    fn pack(&self, out: &mut Vec<u8>) {
        bincode::serialize_into(out, self).expect("a vector takes all there is");
    }

    fn unpack(bytes: &[u8], at: &mut usize) -> Self {
        let mut rest = &bytes[*at..];
        let right = bincode::deserialize_from(&mut rest).expect("it was packed");
        *at = bytes.len() - rest.len();
        right
    }
}

impl Policy {
    /// Whether a right of this benefit rests on sums over the residents of a dwelling too.
    pub fn reads_residents(&self, benefit: u16) -> bool {
        self.programs.benefits[usize::from(benefit)].residents
    }

    /// A claim that rests on a dwelling, with what that adds up to: each sum over its residents, then the same or why it is unknown.
    pub fn with_dwelling(&self, claim: &Claim, sums: &[i64], doubt: impl Fn(u16) -> Option<u16>) -> Claim {
        let program = &self.programs.benefits[usize::from(claim.benefit)];
        let plain = program.inputs.iter().flat_map(|input| std::iter::repeat_n(input.plain(), input.width));
        let own: Vec<i64> = if claim.inputs.is_empty() { plain.collect() } else { claim.inputs.to_vec() };
        let shown = (0..).zip(sums).flat_map(|(slot, sum)| [*sum, doubt(slot).map_or(*sum, unknown)]);
        Claim { inputs: own.into_iter().chain(shown).collect(), ..claim.clone() }
    }

    /// Whether a right of this benefit may rule out another, or be ruled out.
    pub fn is_stacked(&self, benefit: u16) -> bool {
        self.programs.stacking[usize::from(benefit)].is_some()
    }

    /// Which of somebody's rights stand beside each other: benefits are taken after those that they exclude. Beside an excluded
    /// one that is eligible or a notice a right is none (an application is refused); beside one in doubt it is itself in doubt.
    pub fn stack(&self, rights: &[Right]) -> Vec<Decision> {
        let mut rights: Vec<&Right> = rights.iter().collect();
        rights.sort_by_key(|right| (self.programs.stacking[usize::from(right.decision.benefit)], *right));
        let mut standing: Vec<Decision> = Vec::new();
        for Right { decision, held } in rights {
            let excludes = &self.programs.benefits[usize::from(decision.benefit)].excludes;
            let beside = || standing.iter().filter(|other| excludes.contains(&other.benefit)).map(|other| other.outcome);
            let certain = |outcome| matches!(outcome, Outcome::Eligible | Outcome::Notice);
            let doubted = |outcome| matches!(outcome, Outcome::Undetermined | Outcome::InDoubt);
            let mut decision = decision.clone();
            if beside().any(certain) {
                let benefit = &self.benefits[usize::from(decision.benefit)];
                if !benefit.answers {
                    continue;
                }
                decision.failed |= 1 << (benefit.reasons.len() + 1);
                (decision.outcome, decision.amount) = (Outcome::Refused, 0);
            } else if beside().any(doubted) && certain(decision.outcome) {
                (decision.outcome, decision.amount) = (doubtful(*held), 0);
            }
            standing.push(decision);
        }
        standing
    }
}
