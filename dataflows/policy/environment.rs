//! What is the same for everybody on a day: the date, parameters, windows, and which registers can be relied on.

use super::graph::Input;
use super::program::{Clock, Registers, registers, unknown};
use super::programs::Machine;
use super::{FeedState, Period, Policy, Window, year_start};
use crate::model::Date;
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
    /// Zero if a register can be relied on, else the value that everything resting on it has.
    pub(super) fn doubt(&self, register: u16) -> i64 {
        self.shared.doubts[usize::from(register)]
    }

    /// Whether records of a register with this period are kept no longer today.
    pub fn forgets(&self, register: u16, period: Date) -> bool {
        i64::from(period.0) <= self.shared.expired[usize::from(register)]
    }

    pub(super) fn value(&self, input: Input) -> i64 {
        match input {
            Input::Constant(value) => value,
            Input::TodayYear => self.shared.year,
            Input::Parameter(index) => self.shared.parameters[usize::from(index)],
            Input::WindowFrom(index) => i64::from(self.shared.windows[usize::from(index)].0.0),
            Input::WindowUntil(index) => i64::from(self.shared.windows[usize::from(index)].1.0),
        }
    }
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
pub(super) struct Loaded {
    pub(super) regs: Box<Registers>,
    environment: Option<Arc<Shared>>,
    pub(super) clock: Clock,
}

impl Loaded {
    pub(super) fn new() -> Self {
        Loaded { regs: registers(), environment: None, clock: Clock::new(Date::BEFORE_ALL) }
    }

    pub(super) fn is_of(&self, environment: &Environment) -> bool {
        self.environment.as_ref().is_some_and(|known| Arc::ptr_eq(known, &environment.shared))
    }

    pub(super) fn load(&mut self, machine: &Machine, environment: &Environment) {
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
