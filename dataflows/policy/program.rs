//! Programs: flat lists of operations over registers of `i64`, and the loop that runs them.
//!
//! A value that is not known is carried in-band. `i64::MIN` is *absent*; `i64::MIN + 1 + reason` is *unknown*. Every operation
//! with an unknown side is unknown with the left side's reason first, absent counting as unknown with the reason `absent`; only
//! the operations of `&&`, `||`, `?:`, `has` and [`Op::Default`] look closer.
//!
//! Arithmetic saturates at ±2^62. A fraction occupies two registers, numerator and positive denominator. It is worked out in
//! 128 bits, reduced to lowest terms where it has outgrown 62 bits and, should it still not fit, shortened to them.

use super::file::ABSENT;
use crate::model::Date;
use std::cmp::Ordering;

/// The number of a register.
pub type Reg = u16;

/// All registers of a machine; there is one for every [`Reg`], so that none is ever out of bounds.
pub type Registers = [i64; 1 << 16];

/// Fresh registers, all zero.
pub fn registers() -> Box<Registers> {
    vec![0; 1 << 16].into_boxed_slice().try_into().expect("as many registers as there are numbers")
}

/// Above every unknown value.
const KNOWN: i64 = i64::MIN + (1 << 16) + 1;
/// Arithmetic saturates here.
pub const LIMIT: i64 = 1 << 62;
/// No record or rule reaches further from 1970, in days; keeps dates computed from dates representable.
const FAR: i64 = 4_000_000;

/// Reasons for not knowing that belong to no register.
pub const REASON_ABSENT: u16 = 0;
pub const REASON_UNDEFINED: u16 = 1;

/// Whether a value is absent or unknown.
#[inline(always)]
pub fn is_unknown(value: i64) -> bool {
    value < KNOWN
}

/// The value that says "unknown" for this reason.
#[inline(always)]
pub const fn unknown(reason: u16) -> i64 {
    i64::MIN + 1 + reason as i64
}

/// The reason of an unknown value.
#[inline(always)]
pub fn reason_of(value: i64) -> u16 {
    (value.max(i64::MIN + 1) - (i64::MIN + 1)) as u16
}

/// What an operation makes of an operand without a value: absent becomes unknown.
#[inline(always)]
fn doubt(value: i64) -> i64 {
    value.max(i64::MIN + 1)
}

/// How a fraction becomes an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Down,
    Up,
    /// Half up.
    Nearest,
}

/// One operation; the first register is the one written. `F…` operations work on fractions (register pairs).
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Move(Reg, Reg),
    /// The second if known, else the third.
    Default(Reg, Reg, Reg),
    Has(Reg, Reg),
    /// An unknown value whose reason is `absent` becomes absent again.
    Absent(Reg, Reg),
    Add(Reg, Reg, Reg),
    Sub(Reg, Reg, Reg),
    Mul(Reg, Reg, Reg),
    /// The remainder, with the sign of the left side.
    Rem(Reg, Reg, Reg),
    Min(Reg, Reg, Reg),
    Max(Reg, Reg, Reg),
    Neg(Reg, Reg),
    Not(Reg, Reg),
    Eq(Reg, Reg, Reg),
    Ne(Reg, Reg, Reg),
    Lt(Reg, Reg, Reg),
    Le(Reg, Reg, Reg),
    Gt(Reg, Reg, Reg),
    Ge(Reg, Reg, Reg),
    And(Reg, Reg, Reg),
    Or(Reg, Reg, Reg),
    /// Whether the bit of this number is set in a mask.
    In(Reg, Reg, Reg),
    /// Adds the third to the first if the second is true.
    AddIf(Reg, Reg, Reg),
    /// Skips so many operations.
    Skip(u16),
    SkipIfFalse(Reg, u16),
    SkipIfTrue(Reg, u16),
    /// Writes the second and skips, if that is false; or true.
    MoveSkipIfFalse(Reg, Reg, u16),
    MoveSkipIfTrue(Reg, Reg, u16),
    /// Writes the doubt of the second and skips, if that is unknown.
    SkipIfUnknown(Reg, Reg, u16),
    /// What the bins of this number give to a value; not covered is absent.
    Bins(Reg, Reg, u16),
    Age(Reg, Reg),
    AgeMonths(Reg, Reg),
    /// Whether so many months after the date are over: `age_months(date) >= months`.
    Reached(Reg, Reg, Reg),
    Past(Reg, Reg),
    Active(Reg, Reg, Reg),
    /// Whether a date lies in the window whose bounds start at this register.
    Within(Reg, Reg, Reg),
    AddDays(Reg, Reg, Reg),
    AddMonths(Reg, Reg, Reg),
    Year(Reg, Reg),
    /// The greatest or least class that anybody is in: so many counters from this register on.
    MaxClass(Reg, Reg, u16),
    MinClass(Reg, Reg, u16),
    Fraction(Reg, Reg),
    FAdd(Reg, Reg, Reg),
    FSub(Reg, Reg, Reg),
    FMul(Reg, Reg, Reg),
    FDiv(Reg, Reg, Reg),
    FMin(Reg, Reg, Reg),
    FMax(Reg, Reg, Reg),
    FNeg(Reg, Reg),
    FMove(Reg, Reg),
    FEq(Reg, Reg, Reg),
    FNe(Reg, Reg, Reg),
    FLt(Reg, Reg, Reg),
    FLe(Reg, Reg, Reg),
    FGt(Reg, Reg, Reg),
    FGe(Reg, Reg, Reg),
    Round(Reg, Reg, Rounding),
}

impl Op {
    /// The register of a truth value that this operation writes.
    pub fn writes(self) -> Option<Reg> {
        match self {
            Op::Not(to, _) | Op::Past(to, _) | Op::Has(to, _) => Some(to),
            Op::Eq(to, ..)
            | Op::Ne(to, ..)
            | Op::Lt(to, ..)
            | Op::Le(to, ..)
            | Op::Gt(to, ..)
            | Op::Ge(to, ..)
            | Op::And(to, ..)
            | Op::Or(to, ..) => Some(to),
            Op::In(to, ..) | Op::Reached(to, ..) | Op::Active(to, ..) | Op::Within(to, ..) => Some(to),
            _ => None,
        }
    }
}

impl Op {
    /// The first register that this operation writes, and how many.
    pub fn target(self) -> Option<(Reg, Reg)> {
        match self {
            Op::Skip(_) | Op::SkipIfFalse(..) | Op::SkipIfTrue(..) => None,
            Op::Fraction(to, _) | Op::FNeg(to, _) | Op::FMove(to, _) => Some((to, 2)),
            Op::FAdd(to, ..) | Op::FSub(to, ..) | Op::FMul(to, ..) | Op::FDiv(to, ..) | Op::FMin(to, ..) | Op::FMax(to, ..) => {
                Some((to, 2))
            }
            Op::Move(to, _) | Op::Has(to, _) | Op::Absent(to, _) | Op::Neg(to, _) | Op::Not(to, _) => Some((to, 1)),
            Op::MoveSkipIfFalse(to, ..) | Op::MoveSkipIfTrue(to, ..) => Some((to, 1)),
            Op::Bins(to, ..) | Op::SkipIfUnknown(to, ..) | Op::MaxClass(to, ..) | Op::MinClass(to, ..) | Op::Round(to, ..) => Some((to, 1)),
            Op::Age(to, _) | Op::AgeMonths(to, _) | Op::Past(to, _) | Op::Year(to, _) | Op::Within(to, ..) => Some((to, 1)),
            Op::Default(to, ..)
            | Op::Add(to, ..)
            | Op::Sub(to, ..)
            | Op::Mul(to, ..)
            | Op::Rem(to, ..)
            | Op::Min(to, ..)
            | Op::Max(to, ..)
            | Op::Eq(to, ..)
            | Op::Ne(to, ..)
            | Op::Lt(to, ..)
            | Op::Le(to, ..)
            | Op::Gt(to, ..)
            | Op::Ge(to, ..)
            | Op::And(to, ..)
            | Op::Or(to, ..)
            | Op::In(to, ..)
            | Op::AddIf(to, ..)
            | Op::Reached(to, ..)
            | Op::Active(to, ..)
            | Op::AddDays(to, ..)
            | Op::AddMonths(to, ..)
            | Op::FEq(to, ..)
            | Op::FNe(to, ..)
            | Op::FLt(to, ..)
            | Op::FLe(to, ..)
            | Op::FGt(to, ..)
            | Op::FGe(to, ..) => Some((to, 1)),
        }
    }

    /// How many operations it may skip, if it is one that may.
    pub fn skips(self) -> Option<u16> {
        match self {
            Op::Skip(count) | Op::SkipIfFalse(_, count) | Op::SkipIfTrue(_, count) => Some(count),
            Op::SkipIfUnknown(.., count) | Op::MoveSkipIfFalse(.., count) | Op::MoveSkipIfTrue(.., count) => Some(count),
            _ => None,
        }
    }

    /// The same operation, if it may skip skipping so many.
    pub fn skipping(mut self, so_many: u16) -> Op {
        match &mut self {
            Op::Skip(count) | Op::SkipIfFalse(_, count) | Op::SkipIfTrue(_, count) => *count = so_many,
            Op::SkipIfUnknown(.., count) | Op::MoveSkipIfFalse(.., count) | Op::MoveSkipIfTrue(.., count) => *count = so_many,
            _ => {}
        }
        self
    }

    /// Has it work on one register instead of another, wherever it names that.
    pub fn rename(&mut self, from: Reg, to: Reg) {
        let named: [Option<&mut Reg>; 3] = match self {
            Op::Skip(_) => [None, None, None],
            Op::SkipIfFalse(a, _) | Op::SkipIfTrue(a, _) => [Some(a), None, None],
            Op::Move(a, b)
            | Op::Has(a, b)
            | Op::Absent(a, b)
            | Op::Neg(a, b)
            | Op::Not(a, b)
            | Op::SkipIfUnknown(a, b, _)
            | Op::MoveSkipIfFalse(a, b, _)
            | Op::MoveSkipIfTrue(a, b, _)
            | Op::Bins(a, b, _)
            | Op::Age(a, b)
            | Op::AgeMonths(a, b)
            | Op::Past(a, b)
            | Op::Year(a, b)
            | Op::MaxClass(a, b, _)
            | Op::MinClass(a, b, _)
            | Op::Fraction(a, b)
            | Op::FNeg(a, b)
            | Op::FMove(a, b)
            | Op::Round(a, b, _) => [Some(a), Some(b), None],
            Op::Default(a, b, c)
            | Op::Add(a, b, c)
            | Op::Sub(a, b, c)
            | Op::Mul(a, b, c)
            | Op::Rem(a, b, c)
            | Op::Min(a, b, c)
            | Op::Max(a, b, c)
            | Op::Eq(a, b, c)
            | Op::Ne(a, b, c)
            | Op::Lt(a, b, c)
            | Op::Le(a, b, c)
            | Op::Gt(a, b, c)
            | Op::Ge(a, b, c)
            | Op::And(a, b, c)
            | Op::Or(a, b, c)
            | Op::In(a, b, c)
            | Op::AddIf(a, b, c)
            | Op::Reached(a, b, c)
            | Op::Active(a, b, c)
            | Op::Within(a, b, c)
            | Op::AddDays(a, b, c)
            | Op::AddMonths(a, b, c)
            | Op::FAdd(a, b, c)
            | Op::FSub(a, b, c)
            | Op::FMul(a, b, c)
            | Op::FDiv(a, b, c)
            | Op::FMin(a, b, c)
            | Op::FMax(a, b, c)
            | Op::FEq(a, b, c)
            | Op::FNe(a, b, c)
            | Op::FLt(a, b, c)
            | Op::FLe(a, b, c)
            | Op::FGt(a, b, c)
            | Op::FGe(a, b, c) => [Some(a), Some(b), Some(c)],
        };
        named.into_iter().flatten().filter(|reg| **reg == from).for_each(|reg| *reg = to);
    }

    /// Calls `read` with every register that this operation reads, those of windows, fractions and classes included.
    pub fn reads(self, mut read: impl FnMut(Reg)) {
        match self {
            Op::Skip(_) => {}
            Op::Move(_, a)
            | Op::Has(_, a)
            | Op::Absent(_, a)
            | Op::Neg(_, a)
            | Op::Not(_, a)
            | Op::Bins(_, a, _)
            | Op::SkipIfFalse(a, _)
            | Op::SkipIfTrue(a, _)
            | Op::SkipIfUnknown(_, a, _)
            | Op::MoveSkipIfFalse(_, a, _)
            | Op::MoveSkipIfTrue(_, a, _)
            | Op::Age(_, a)
            | Op::AgeMonths(_, a)
            | Op::Past(_, a)
            | Op::Year(_, a)
            | Op::Fraction(_, a) => read(a),
            Op::FNeg(_, a) | Op::FMove(_, a) | Op::Round(_, a, _) => [a, a + 1].into_iter().for_each(read),
            Op::MaxClass(_, base, count) | Op::MinClass(_, base, count) => (base..base + count).for_each(read),
            Op::Within(_, a, window) => [a, window, window + 1].into_iter().for_each(read),
            Op::AddIf(to, a, b) => [to, a, b].into_iter().for_each(read),
            Op::Default(_, a, b)
            | Op::Add(_, a, b)
            | Op::Sub(_, a, b)
            | Op::Mul(_, a, b)
            | Op::Rem(_, a, b)
            | Op::Min(_, a, b)
            | Op::Max(_, a, b)
            | Op::Eq(_, a, b)
            | Op::Ne(_, a, b)
            | Op::Lt(_, a, b)
            | Op::Le(_, a, b)
            | Op::Gt(_, a, b)
            | Op::Ge(_, a, b)
            | Op::And(_, a, b)
            | Op::Or(_, a, b)
            | Op::In(_, a, b)
            | Op::Reached(_, a, b)
            | Op::Active(_, a, b)
            | Op::AddDays(_, a, b)
            | Op::AddMonths(_, a, b) => [a, b].into_iter().for_each(read),
            Op::FAdd(_, a, b)
            | Op::FSub(_, a, b)
            | Op::FMul(_, a, b)
            | Op::FDiv(_, a, b)
            | Op::FMin(_, a, b)
            | Op::FMax(_, a, b)
            | Op::FEq(_, a, b)
            | Op::FNe(_, a, b)
            | Op::FLt(_, a, b)
            | Op::FLe(_, a, b)
            | Op::FGt(_, a, b)
            | Op::FGe(_, a, b) => [a, a + 1, b, b + 1].into_iter().for_each(read),
        }
    }
}

/// Bins of a criterion, an amount or a category: what is given to values from each start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bins {
    /// Ascending starts, with what they give; [`ABSENT`] where nothing does.
    pub steps: Vec<(i64, i64)>,
}

impl Bins {
    /// What these bins give to a known value.
    pub fn of(&self, value: i64) -> i64 {
        match self.steps.partition_point(|(start, _)| *start <= value) {
            0 => ABSENT,
            after => self.steps[after - 1].1,
        }
    }
}

/// Today, and the first later date on which an answer may change by itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub today: i64,
    pub horizon: i64,
}

impl Clock {
    pub fn new(today: Date) -> Self {
        Clock { today: i64::from(today.0), horizon: i64::from(Date::NEVER.0) }
    }

    /// Something changes on this date, if it is still to come.
    #[inline(always)]
    pub fn wake(&mut self, date: i64) {
        if date > self.today && date < self.horizon {
            self.horizon = date;
        }
    }

    /// The horizon as a date.
    pub fn horizon(&self) -> Date {
        Date(self.horizon as i32)
    }

    fn age_in_months(&mut self, born: i64, step: i64) -> i64 {
        let (birth, today) = (day(born), Date(self.today as i32));
        let months = if birth > today { 0 } else { i64::from(birth.months_until(today)) / step };
        self.wake(i64::from(birth.add_months(((months + 1) * step) as i32).0));
        months
    }

    fn reached(&mut self, born: i64, months: i64) -> i64 {
        if months <= 0 {
            return 1;
        }
        self.past(add_months(born, months))
    }

    #[inline(always)]
    fn past(&mut self, date: i64) -> i64 {
        self.wake(date);
        i64::from(date <= self.today)
    }

    /// In force from one date until before the other; absent bounds are open, unknown ones are doubt.
    #[inline(always)]
    fn active(&mut self, from: i64, until: i64) -> i64 {
        if is_unknown(from) && from != ABSENT {
            return from;
        }
        if is_unknown(until) && until != ABSENT {
            return until;
        }
        if until != ABSENT && until <= self.today {
            return 0;
        }
        if from != ABSENT && from > self.today {
            self.wake(from);
            return 0;
        }
        self.wake(until);
        1
    }
}

fn day(days: i64) -> Date {
    Date(days.clamp(-FAR, FAR) as i32)
}

fn add_months(date: i64, months: i64) -> i64 {
    i64::from(day(date).add_months(months.clamp(-120_000, 120_000) as i32).0).clamp(-FAR, FAR)
}

fn limited(value: i64) -> i64 {
    value.clamp(-LIMIT, LIMIT)
}

/// Runs a program.
#[inline]
pub fn run(code: &[Op], regs: &mut Registers, bins: &[Bins], clock: &mut Clock) {
    let mut at = 0;
    while let Some(op) = code.get(at) {
        at += 1 + step(*op, regs, bins, clock);
    }
}

/// Applies a function to two operands that have values.
macro_rules! both {
    ($regs:ident, $to:ident, $left:ident, $right:ident, $f:expr) => {{
        let (left, right) = ($regs[$left as usize], $regs[$right as usize]);
        $regs[$to as usize] = if is_unknown(left) {
            doubt(left)
        } else if is_unknown(right) {
            doubt(right)
        } else {
            $f(left, right)
        };
    }};
}

/// Applies a function to an operand that has a value.
macro_rules! one {
    ($regs:ident, $to:ident, $from:ident, $f:expr) => {{
        let value = $regs[$from as usize];
        $regs[$to as usize] = if is_unknown(value) { doubt(value) } else { $f(value) };
    }};
}

/// Runs one operation; the answer is how many to skip.
#[inline(always)]
fn step(op: Op, regs: &mut Registers, bins: &[Bins], clock: &mut Clock) -> usize {
    match op {
        Op::Move(to, from) => regs[to as usize] = regs[from as usize],
        Op::Default(to, value, other) => {
            let value = regs[value as usize];
            regs[to as usize] = if is_unknown(value) { regs[other as usize] } else { value };
        }
        Op::Has(to, from) => {
            let value = regs[from as usize];
            regs[to as usize] = if value == ABSENT {
                0
            } else if is_unknown(value) {
                value
            } else {
                1
            };
        }
        Op::Absent(to, from) => {
            let value = regs[from as usize];
            regs[to as usize] = if value == unknown(REASON_ABSENT) { ABSENT } else { value };
        }
        Op::Add(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| limited(a.saturating_add(b))),
        Op::Sub(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| limited(a.saturating_sub(b))),
        Op::Mul(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| limited(a.saturating_mul(b))),
        Op::Rem(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| a.checked_rem(b).unwrap_or(unknown(REASON_UNDEFINED))),
        Op::Min(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| a.min(b)),
        Op::Max(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| a.max(b)),
        Op::Neg(to, a) => one!(regs, to, a, |a: i64| limited(-a)),
        Op::Not(to, a) => one!(regs, to, a, |a: i64| 1 - a),
        Op::Eq(to, a, b) => both!(regs, to, a, b, |a, b| i64::from(a == b)),
        Op::Ne(to, a, b) => both!(regs, to, a, b, |a, b| i64::from(a != b)),
        Op::Lt(to, a, b) => both!(regs, to, a, b, |a, b| i64::from(a < b)),
        Op::Le(to, a, b) => both!(regs, to, a, b, |a, b| i64::from(a <= b)),
        Op::Gt(to, a, b) => both!(regs, to, a, b, |a, b| i64::from(a > b)),
        Op::Ge(to, a, b) => both!(regs, to, a, b, |a, b| i64::from(a >= b)),
        Op::And(to, a, b) => regs[to as usize] = and(regs[a as usize], regs[b as usize]),
        Op::Or(to, a, b) => regs[to as usize] = or(regs[a as usize], regs[b as usize]),
        Op::In(to, a, mask) => both!(regs, to, a, mask, |a: i64, mask: i64| mask >> (a & 63) & 1),
        Op::AddIf(to, condition, points) => {
            if regs[condition as usize] == 1 {
                regs[to as usize] = limited(regs[to as usize].saturating_add(regs[points as usize]));
            }
        }
        Op::Skip(count) => return count as usize,
        Op::SkipIfFalse(a, count) => return if regs[a as usize] == 0 { count as usize } else { 0 },
        Op::SkipIfTrue(a, count) => return if regs[a as usize] == 1 { count as usize } else { 0 },
        Op::MoveSkipIfFalse(to, from, count) => {
            let value = regs[from as usize];
            regs[to as usize] = value;
            return if value == 0 { count as usize } else { 0 };
        }
        Op::MoveSkipIfTrue(to, from, count) => {
            let value = regs[from as usize];
            regs[to as usize] = value;
            return if value == 1 { count as usize } else { 0 };
        }
        Op::SkipIfUnknown(to, a, count) => {
            let value = regs[a as usize];
            if is_unknown(value) {
                regs[to as usize] = doubt(value);
                return count as usize;
            }
        }
        Op::Bins(to, a, table) => one!(regs, to, a, |a| bins[table as usize].of(a)),
        Op::Age(to, a) => one!(regs, to, a, |a| clock.age_in_months(a, 12)),
        Op::AgeMonths(to, a) => one!(regs, to, a, |a| clock.age_in_months(a, 1)),
        Op::Reached(to, a, months) => both!(regs, to, a, months, |a, months| clock.reached(a, months)),
        Op::Past(to, a) => one!(regs, to, a, |a| clock.past(a)),
        Op::Active(to, from, until) => regs[to as usize] = clock.active(regs[from as usize], regs[until as usize]),
        Op::Within(to, a, window) => {
            let (from, until) = (regs[window as usize], regs[window as usize + 1]);
            both!(regs, to, a, window, |a, _| i64::from(from <= a && a < until));
        }
        Op::AddDays(to, a, b) => both!(regs, to, a, b, |a: i64, b: i64| a.saturating_add(b).clamp(-FAR, FAR)),
        Op::AddMonths(to, a, b) => both!(regs, to, a, b, add_months),
        Op::Year(to, a) => one!(regs, to, a, |a| i64::from(day(a).ymd().0)),
        Op::MaxClass(to, base, count) => regs[to as usize] = class(regs, base, (0..count).rev()),
        Op::MinClass(to, base, count) => regs[to as usize] = class(regs, base, 0..count),
        _ => fraction_step(op, regs),
    }
    0
}

#[inline(always)]
fn and(a: i64, b: i64) -> i64 {
    match (a, b) {
        (0, _) | (_, 0) => 0,
        _ if is_unknown(a) => doubt(a),
        _ => doubt(b),
    }
}

#[inline(always)]
fn or(a: i64, b: i64) -> i64 {
    match (a, b) {
        (1, _) | (_, 1) => 1,
        _ if is_unknown(a) => doubt(a),
        _ => doubt(b),
    }
}

/// The first class of these that somebody is in. What is unknown of any member stands in the first counter.
fn class(regs: &Registers, base: Reg, mut order: impl Iterator<Item = u16>) -> i64 {
    let first = regs[base as usize];
    if is_unknown(first) {
        return doubt(first);
    }
    order.find(|class| regs[base as usize + *class as usize] > 0).map_or(ABSENT, i64::from)
}

type Pair = (i64, i64);

fn fraction_step(op: Op, regs: &mut Registers) {
    match op {
        Op::Fraction(to, a) => set(regs, to, (regs[a as usize], 1)),
        Op::FMove(to, a) => set(regs, to, pair(regs, a)),
        Op::FNeg(to, a) => on_pair(regs, to, a, |(n, d)| (-n, d)),
        Op::FAdd(to, a, b) => on_pairs(regs, to, a, b, sum),
        Op::FSub(to, a, b) => on_pairs(regs, to, a, b, |a, b| sum(a, (-b.0, b.1))),
        Op::FMul(to, a, b) => on_pairs(regs, to, a, b, |a, b| reduce(wide(a.0, b.0), wide(a.1, b.1))),
        Op::FDiv(to, a, b) => on_pairs(regs, to, a, b, |a, b| match b.0 {
            0 => (unknown(REASON_UNDEFINED), 1),
            _ => reduce(wide(a.0, b.1), wide(a.1, b.0)),
        }),
        Op::FMin(to, a, b) => on_pairs(regs, to, a, b, |a, b| if order(a, b).is_gt() { b } else { a }),
        Op::FMax(to, a, b) => on_pairs(regs, to, a, b, |a, b| if order(a, b).is_lt() { b } else { a }),
        Op::FEq(to, a, b) => compare(regs, to, a, b, Ordering::is_eq),
        Op::FNe(to, a, b) => compare(regs, to, a, b, Ordering::is_ne),
        Op::FLt(to, a, b) => compare(regs, to, a, b, Ordering::is_lt),
        Op::FLe(to, a, b) => compare(regs, to, a, b, Ordering::is_le),
        Op::FGt(to, a, b) => compare(regs, to, a, b, Ordering::is_gt),
        Op::FGe(to, a, b) => compare(regs, to, a, b, Ordering::is_ge),
        Op::Round(to, a, rounding) => {
            let (n, d) = pair(regs, a);
            regs[to as usize] = if is_unknown(n) { doubt(n) } else { round((n, d), rounding) };
        }
        _ => {}
    }
}

fn pair(regs: &Registers, at: Reg) -> Pair {
    (regs[at as usize], regs[at as usize + 1])
}

fn set(regs: &mut Registers, to: Reg, (n, d): Pair) {
    regs[to as usize] = n;
    regs[to as usize + 1] = d;
}

fn on_pair(regs: &mut Registers, to: Reg, a: Reg, f: impl Fn(Pair) -> Pair) {
    let a = pair(regs, a);
    set(regs, to, if is_unknown(a.0) { (doubt(a.0), 1) } else { f(a) });
}

fn on_pairs(regs: &mut Registers, to: Reg, a: Reg, b: Reg, f: impl Fn(Pair, Pair) -> Pair) {
    let (a, b) = (pair(regs, a), pair(regs, b));
    let result = if is_unknown(a.0) {
        (doubt(a.0), 1)
    } else if is_unknown(b.0) {
        (doubt(b.0), 1)
    } else {
        f(a, b)
    };
    set(regs, to, result);
}

fn compare(regs: &mut Registers, to: Reg, a: Reg, b: Reg, holds: impl Fn(Ordering) -> bool) {
    let (a, b) = (pair(regs, a), pair(regs, b));
    regs[to as usize] = if is_unknown(a.0) {
        doubt(a.0)
    } else if is_unknown(b.0) {
        doubt(b.0)
    } else {
        i64::from(holds(order(a, b)))
    };
}

fn wide(a: i64, b: i64) -> i128 {
    i128::from(a) * i128::from(b)
}

fn order(a: Pair, b: Pair) -> Ordering {
    wide(a.0, b.1).cmp(&wide(b.0, a.1))
}

fn sum(a: Pair, b: Pair) -> Pair {
    reduce(wide(a.0, b.1).saturating_add(wide(b.0, a.1)), wide(a.1, b.1))
}

/// A positive denominator; in lowest terms where it must be, shortened where even that does not fit.
fn reduce(n: i128, d: i128) -> Pair {
    const FITS: i128 = LIMIT as i128;
    let (mut n, mut d) = if d < 0 { (-n, -d) } else { (n, d) };
    if n.abs() > FITS || d > FITS {
        let common = gcd(n.unsigned_abs(), d.unsigned_abs()) as i128;
        (n, d) = (n / common, d / common);
    }
    while d > FITS {
        (n, d) = (n / 2, d / 2);
    }
    (n.clamp(-FITS, FITS) as i64, d as i64)
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn round((n, d): Pair, rounding: Rounding) -> i64 {
    match rounding {
        Rounding::Down => n.div_euclid(d),
        Rounding::Up => -(-n).div_euclid(d),
        Rounding::Nearest => (2 * i128::from(n) + i128::from(d)).div_euclid(2 * i128::from(d)) as i64,
    }
}
