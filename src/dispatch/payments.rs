//! Payments of what somebody agreed to and an agency holds assigned: what is ordered when, what is stopped, and what is asked back.
//!
//! A right that is paid by the month is ordered month by month, from the month in which it began; any other once. Orders of a month are made from the fifth
//! on; for what is assigned after the twenty-fifth the next month's are waited for (domain 6: the pay run, 5th to 25th). While a right may come back within its
//! window nothing is ordered and nothing stopped. What was ordered for months after the day on which it ended is asked back.

use super::desk::RightKey;
use super::iban::Iban;
use dataflows::model::{Date, PersonId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Days of the month on which orders are made first and last.
const FIRST_DAY: i32 = 5;
const LAST_DAY: i32 = 25;
/// A right that began long ago is paid for so many months before the one in which it was assigned, at most.
const BACK_MONTHS: i32 = 12;

/// What is to be paid for a right, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pay {
    pub round: u32,
    /// Of one month, or in all.
    pub amount: i64,
    pub monthly: bool,
    /// From the month of this day on, and not beyond the last.
    pub from: Date,
    pub until: Date,
    pub payee: PersonId,
    /// Where to, as far as it is known here.
    pub account: Option<Iban>,
}

/// How it stands with paying for a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Pay(Pay),
    /// It may end, or go on.
    Wait,
    /// It ended on this day.
    Over(Date),
}

/// What an agency is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Pay,
    /// No more orders follow, unless they do.
    Stop,
    /// This was ordered and is not due.
    Recover,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Order::Pay => "ordered",
            Order::Stop => "stopped",
            Order::Recover => "recover",
        }
    }
}

/// An order, its recovery under the same name, or the end of orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub order: Order,
    pub right: RightKey,
    /// The first day of the month that is paid; of a stop the day on which the right ended.
    pub month: Date,
    pub ordered: Ordered,
    pub payee: PersonId,
    pub account: Option<Iban>,
}

impl Payment {
    /// What its identity is made of, beside the right and the round.
    pub fn name(&self) -> String {
        let what = if self.order == Order::Stop { "stop" } else { "payment" };
        format!("{what}|{}|{}", self.month.0, self.ordered.turn)
    }
}

/// What was ordered for a right.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    /// When it was first to be paid, after it last was not.
    assigned: Date,
    /// By month.
    ordered: BTreeMap<Date, Ordered>,
    stopped: bool,
    /// How often it was stopped: what is ordered again after that is another order.
    turn: u32,
}

/// What tells an order of a month from others of the same right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    pub amount: i64,
    pub round: u32,
    pub turn: u32,
}

/// All that is paid, was, or is to be.
#[derive(Default, Serialize, Deserialize)]
pub struct Payments {
    plans: BTreeMap<RightKey, Plan>,
    /// Rights by the day on which there may be something to order.
    due: BTreeMap<Date, BTreeSet<RightKey>>,
}

impl Payments {
    /// Whether anything was ever to be paid for a right.
    pub fn knows(&self, right: &RightKey) -> bool {
        self.plans.contains_key(right)
    }

    /// Rights that are to be looked at on a day, or should have been before.
    pub fn take_due(&mut self, today: Date) -> BTreeSet<RightKey> {
        let later = self.due.split_off(&Date(today.0 + 1));
        std::mem::replace(&mut self.due, later).into_values().flatten().collect()
    }

    /// Looks at a right: what is to be ordered, stopped or asked back today.
    pub fn look(&mut self, right: &RightKey, due: Due, today: Date) -> Vec<Payment> {
        match due {
            Due::Wait => Vec::new(),
            Due::Pay(pay) if pay.amount > 0 => self.order(right, pay, today),
            Due::Pay(_) => Vec::new(),
            Due::Over(since) => self.stop(right, since),
        }
    }

    fn order(&mut self, right: &RightKey, pay: Pay, today: Date) -> Vec<Payment> {
        let plan = self.plans.entry(right.clone()).or_insert(Plan { assigned: today, ordered: BTreeMap::new(), stopped: false, turn: 0 });
        if std::mem::take(&mut plan.stopped) {
            plan.assigned = today;
        }
        let payment =
            |month, ordered| Payment { order: Order::Pay, right: right.clone(), month, ordered, payee: pay.payee, account: pay.account };
        let assigned = plan.assigned.month_start();
        let first = match pay.monthly {
            // One order, whenever it was made.
            false if !plan.ordered.is_empty() => return Vec::new(),
            false => assigned,
            true => pay.from.max(assigned.add_months(-BACK_MONTHS)).month_start(),
        };
        let mut payments = Vec::new();
        let mut month = first;
        while month < pay.until {
            let day = order_day(month, plan.assigned);
            if day > today {
                self.due.entry(day).or_default().insert(right.clone());
                break;
            }
            if !plan.ordered.contains_key(&month) {
                let ordered = Ordered { amount: pay.amount, round: pay.round, turn: plan.turn };
                plan.ordered.insert(month, ordered);
                payments.push(payment(month, ordered));
            }
            if !pay.monthly {
                break;
            }
            month = month.add_months(1);
        }
        payments
    }

    fn stop(&mut self, right: &RightKey, since: Date) -> Vec<Payment> {
        let Some(plan) = self.plans.get_mut(right).filter(|plan| !plan.stopped) else { return Vec::new() };
        let stopped = Ordered { amount: 0, round: 0, turn: plan.turn };
        (plan.stopped, plan.turn) = (true, plan.turn + 1);
        let not_due = plan.ordered.split_off(&Date(since.0.saturating_add(1)));
        let payment = |order, month, ordered| Payment { order, right: right.clone(), month, ordered, payee: right.person, account: None };
        let recovered = not_due.into_iter().map(|(month, ordered)| payment(Order::Recover, month, ordered));
        std::iter::once(payment(Order::Stop, since, stopped)).chain(recovered).collect()
    }
}

/// The first day on which a month of something that was assigned on a day may be ordered.
fn order_day(month: Date, assigned: Date) -> Date {
    let begun = assigned.month_start();
    match () {
        () if month > begun => Date(month.0 + FIRST_DAY - 1),
        () if assigned.0 - begun.0 < LAST_DAY => assigned.max(Date(begun.0 + FIRST_DAY - 1)),
        () => Date(begun.add_months(1).0 + FIRST_DAY - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::Ground;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn right() -> RightKey {
        RightKey { person: 1, benefit: 0, ground: Ground::Constant, period: Date::NEVER }
    }

    fn pay(monthly: bool, from: &str, until: Date) -> Due {
        Due::Pay(Pay { round: 1, amount: 1000, monthly, from: day(from), until, payee: 2, account: None })
    }

    /// What is ordered from one day to another, looked at whenever it is due: days and months.
    fn orders(payments: &mut Payments, due: Due, from: &str, to: &str) -> Vec<(String, String)> {
        let mut ordered = Vec::new();
        for today in day(from).0..=day(to).0 {
            let today = Date(today);
            let mut looked = payments.take_due(today);
            looked.extend((today == day(from)).then(right));
            for right in looked {
                ordered.extend(payments.look(&right, due, today).into_iter().map(|payment| (today.to_string(), payment.month.to_string())));
            }
        }
        ordered
    }

    fn told(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(day, month)| ((*day).to_owned(), (*month).to_owned())).collect()
    }

    #[test]
    fn months_are_ordered_one_after_the_other() {
        let mut payments = Payments::default();
        let due = pay(true, "2026-01-20", day("2026-05-01"));
        let expected =
            told(&[("2026-02-10", "2026-01-01"), ("2026-02-10", "2026-02-01"), ("2026-03-05", "2026-03-01"), ("2026-04-05", "2026-04-01")]);
        assert_eq!(orders(&mut payments, due, "2026-02-10", "2026-08-01"), expected);
        assert_eq!(orders(&mut payments, due, "2026-08-02", "2026-09-01"), []);
    }

    #[test]
    fn late_in_a_month_the_next_is_waited_for_and_early_its_fifth() {
        let late = orders(&mut Payments::default(), pay(true, "2026-02-01", Date::NEVER), "2026-02-26", "2026-03-31");
        assert_eq!(late, told(&[("2026-03-05", "2026-02-01"), ("2026-03-05", "2026-03-01")]));
        let early = orders(&mut Payments::default(), pay(true, "2026-02-01", Date::NEVER), "2026-02-02", "2026-02-28");
        assert_eq!(early, told(&[("2026-02-05", "2026-02-01")]));
        let once = orders(&mut Payments::default(), pay(false, "2026-02-01", Date::NEVER), "2026-02-02", "2026-12-31");
        assert_eq!(once, told(&[("2026-02-05", "2026-02-01")]));
        let long_ago = orders(&mut Payments::default(), pay(true, "2020-02-01", Date::NEVER), "2026-02-12", "2026-02-12");
        assert_eq!((long_ago.len(), long_ago[0].1.as_str()), (13, "2025-02-01"));
    }

    #[test]
    fn what_was_ordered_beyond_its_end_is_asked_back_once() {
        let mut payments = Payments::default();
        let due = pay(true, "2026-01-01", Date::NEVER);
        orders(&mut payments, due, "2026-01-10", "2026-04-30");
        assert_eq!(payments.look(&right(), Due::Wait, day("2026-05-01")), []);
        let over = payments.look(&right(), Due::Over(day("2026-02-15")), day("2026-05-02"));
        let said: Vec<(Order, String)> = over.iter().map(|payment| (payment.order, payment.month.to_string())).collect();
        let expected = [(Order::Stop, "2026-02-15"), (Order::Recover, "2026-03-01"), (Order::Recover, "2026-04-01")];
        assert_eq!(said, expected.map(|(order, month)| (order, month.to_owned())));
        assert_eq!(payments.look(&right(), Due::Over(day("2026-02-15")), day("2026-05-03")), []);
        // Back again it is paid from there on, and for what was asked back.
        let again = orders(&mut payments, due, "2026-05-10", "2026-05-31");
        assert_eq!(again.iter().map(|(_, month)| month.as_str()).collect::<Vec<_>>(), ["2026-03-01", "2026-04-01", "2026-05-01"]);
    }
}
