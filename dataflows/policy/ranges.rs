//! Ranges: what a value may be at most, as a few intervals of whole numbers.
//!
//! A range never leaves out a value that can be, and may hold some that cannot: what it rules out is ruled out. A fraction lies
//! between the whole numbers around it. No value is not a value: an empty range says that nothing can ever be known.

use super::program::LIMIT;

/// How many intervals are kept apart; more become one.
const INTERVALS_MAX: usize = 24;

/// Ascending intervals, both ends included, none touching the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Vec<(i64, i64)>);

impl Range {
    pub const NONE: Range = Range(Vec::new());

    /// Any number: arithmetic ends there, and nothing is told from it.
    pub fn any() -> Range {
        Range::between(-LIMIT, LIMIT)
    }

    pub fn one(value: i64) -> Range {
        Range::between(value, value)
    }

    /// Nothing, if the first is above the last.
    pub fn between(first: i64, last: i64) -> Range {
        Range::of(vec![(first, last)])
    }

    pub fn at_least(first: i64) -> Range {
        Range::between(first, LIMIT)
    }

    pub fn truth(false_too: bool, true_too: bool) -> Range {
        Range::between(i64::from(!false_too), i64::from(true_too))
    }

    fn of(mut intervals: Vec<(i64, i64)>) -> Range {
        intervals.iter_mut().for_each(|(first, last)| (*first, *last) = ((*first).clamp(-LIMIT, LIMIT), (*last).clamp(-LIMIT, LIMIT)));
        intervals.retain(|(first, last)| first <= last);
        intervals.sort_unstable();
        let mut whole: Vec<(i64, i64)> = Vec::new();
        for (first, last) in intervals {
            match whole.last_mut() {
                Some((_, before)) if first <= *before + 1 => *before = last.max(*before),
                _ => whole.push((first, last)),
            }
        }
        if whole.len() > INTERVALS_MAX {
            whole = vec![(whole[0].0, whole[whole.len() - 1].1)];
        }
        Range(whole)
    }

    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    pub fn intervals(&self) -> &[(i64, i64)] {
        &self.0
    }

    pub fn first(&self) -> Option<i64> {
        self.0.first().map(|(first, _)| *first)
    }

    pub fn last(&self) -> Option<i64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// The value, if there is only one.
    pub fn only(&self) -> Option<i64> {
        self.first().filter(|first| Some(*first) == self.last())
    }

    pub fn holds(&self, value: i64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&value))
    }

    pub fn or(&self, other: &Range) -> Range {
        Range::of(self.0.iter().chain(&other.0).copied().collect())
    }

    pub fn and(&self, other: &Range) -> Range {
        self.each(other, |(a, b), (c, d)| (a.max(c), b.min(d)))
    }

    pub fn without(&self, other: &Range) -> Range {
        other.0.iter().fold(self.clone(), |left, (first, last)| {
            let cut = left.0.iter().flat_map(|(from, to)| [(*from, (*to).min(first - 1)), ((*from).max(last + 1), *to)]);
            Range::of(cut.collect())
        })
    }

    /// Of every interval with every other one.
    fn each(&self, other: &Range, combine: impl Fn((i64, i64), (i64, i64)) -> (i64, i64)) -> Range {
        Range::of(self.0.iter().flat_map(|one| other.0.iter().map(|another| combine(*one, *another))).collect())
    }

    pub fn plus(&self, other: &Range) -> Range {
        self.each(other, |(a, b), (c, d)| (sum(a, c), sum(b, d)))
    }

    pub fn negative(&self) -> Range {
        Range::of(self.0.iter().map(|(first, last)| (-last, -first)).collect())
    }

    pub fn times(&self, other: &Range) -> Range {
        self.each(other, |(a, b), (c, d)| {
            let corners = [(a, c), (a, d), (b, c), (b, d)].map(|(one, other)| i128::from(one) * i128::from(other));
            ends(&corners)
        })
    }

    /// Of whole numbers a fraction: the whole numbers around it.
    pub fn over(&self, other: &Range) -> Range {
        self.each(&other.without(&Range::one(0)), |(a, b), (c, d)| {
            let corners = [(a, c), (a, d), (b, c), (b, d)].map(|(one, other)| (i128::from(one), i128::from(other)));
            let down = corners.map(|(one, other)| (one * other.signum()).div_euclid(other.abs()));
            let up = corners.map(|(one, other)| -(-one * other.signum()).div_euclid(other.abs()));
            (ends(&down).0, ends(&up).1)
        })
    }

    /// What is left of a division, with the sign of the left side.
    pub fn remainder(&self, other: &Range) -> Range {
        let most = other.0.iter().map(|(first, last)| first.abs().max(last.abs()) - 1).max();
        let sign = |(first, last): (i64, i64), most: i64| (if first < 0 { -most } else { 0 }, if last > 0 { most } else { 0 });
        most.map_or(Range::NONE, |most| Range::of(self.0.iter().map(|interval| sign(*interval, most)).collect()))
    }

    pub fn lesser(&self, other: &Range) -> Range {
        self.each(other, |(a, b), (c, d)| (a.min(c), b.min(d)))
    }

    pub fn greater(&self, other: &Range) -> Range {
        self.each(other, |(a, b), (c, d)| (a.max(c), b.max(d)))
    }

    /// Whether both can be equal, and whether they can differ.
    pub fn equals(&self, other: &Range) -> Range {
        let differ = !self.is_none() && !other.is_none() && (self.only().is_none() || self.only() != other.only());
        Range::truth(differ, !self.and(other).is_none())
    }

    /// Whether this can be below the other, and whether it can fail to be.
    pub fn below(&self, other: &Range) -> Range {
        match (self.first().zip(self.last()), other.first().zip(other.last())) {
            (Some((first, last)), Some((other_first, other_last))) => Range::truth(last >= other_first, first < other_last),
            _ => Range::NONE,
        }
    }

    /// What remains of a whole number that is at most the greatest of the other, or less.
    pub fn up_to(&self, other: &Range, less: bool) -> Range {
        other.last().map_or(Range::NONE, |last| self.and(&Range::between(-LIMIT, last - i64::from(less && last < LIMIT))))
    }

    pub fn down_to(&self, other: &Range, more: bool) -> Range {
        other.first().map_or(Range::NONE, |first| self.and(&Range::at_least(first + i64::from(more && first > -LIMIT))))
    }

    /// For people; `name` says what a value is called.
    pub fn describe(&self, name: impl Fn(i64) -> String) -> String {
        let interval = |(first, last): &(i64, i64)| match (*first <= -LIMIT, *last >= LIMIT) {
            (true, true) => "anything".to_owned(),
            (true, false) => format!("at most {}", name(*last)),
            (false, true) => format!("at least {}", name(*first)),
            (false, false) if first == last => name(*first),
            (false, false) if first + 1 == *last => format!("{} or {}", name(*first), name(*last)),
            (false, false) => format!("{} to {}", name(*first), name(*last)),
        };
        match self.0.as_slice() {
            [] => "never known".to_owned(),
            intervals => intervals.iter().map(interval).collect::<Vec<_>>().join(" or "),
        }
    }
}

fn sum(a: i64, b: i64) -> i64 {
    match (a.abs() >= LIMIT, b.abs() >= LIMIT) {
        (true, _) => a,
        (_, true) => b,
        _ => a + b,
    }
}

fn ends(corners: &[i128]) -> (i64, i64) {
    let limited = |corner: i128| corner.clamp(-i128::from(LIMIT), i128::from(LIMIT)) as i64;
    let all = || corners.iter().map(|corner| limited(*corner));
    (all().min().unwrap_or(-LIMIT), all().max().unwrap_or(LIMIT))
}
