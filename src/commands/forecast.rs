//! `shanyraq forecast`: what will change by the calendar alone, and for how many. Children come of age, terms end, quarters turn,
//! parameters move; nothing else is supposed to happen.
//!
//! So a month that nobody has reported yet is one without income: behind the turn of a quarter, rights that rest on income are
//! forecast as if everybody had stopped earning on the last date.

use super::feeds::{FeedArguments, Load, Reader};
use super::{Failure, load_policy};
use crate::engine::EpochOutput;
use crate::rights::Rights;
use clap::Args;
use dataflows::model::{ChangeKind, Date, Restanding};
use dataflows::policy::Policy;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::AddAssign;

#[derive(Args)]
pub struct ForecastArguments {
    #[command(flatten)]
    pub feeds: FeedArguments,
    /// Days to look ahead. Months that nobody has reported by then count as months without income.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_660))]
    pub days: u32,
    /// Print a JSON object a day, and one of totals.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command; returns an error for exit codes 1 to 3.
pub fn forecast(arguments: &ForecastArguments) -> Result<(), Failure> {
    let policy = load_policy(&arguments.feeds.policy)?;
    let mut load = Load::start(policy.clone(), &arguments.feeds);
    let mut rights = Rights::default();
    load.read(load.open(&arguments.feeds.feed)?, &mut rights)?;
    load.expect_something()?;
    load.tell_refused();
    let (first, mut total) = (Date(load.engine.today().0 + 1), Outlook::default());
    for _ in 0..arguments.days {
        let output = load.engine.quiet_day();
        let (date, day) = (output.date, Outlook::of(output, &mut rights));
        if arguments.json {
            println!("{}", day.row(&policy, json!({"date": date.to_string()})));
        } else if day != Outlook::default() {
            day.print(&policy, &date.to_string());
        }
        total += day;
    }
    let last = load.engine.today();
    if arguments.json {
        println!("{}", total.row(&policy, json!({"from": first.to_string(), "until": last.to_string(), "days": arguments.days})));
    } else {
        println!("from {first} until {last}");
        total.print(&policy, "in all");
    }
    Ok(())
}

/// Whoever forecasts knows the rights by what was said of them.
impl Reader for Rights {
    fn epoch(&mut self, output: EpochOutput) -> Result<(), Failure> {
        self.fold(output.changes, |_| {});
        Ok(())
    }
}

/// What changes in some days.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outlook {
    /// By benefit.
    rights: BTreeMap<u16, Changes>,
    households: Households,
}

/// How many rights change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changes {
    gained: u64,
    lost: u64,
    amount: u64,
    doubted: u64,
}

/// How many households change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Households {
    category: u64,
    level: u64,
    appeared: u64,
    vanished: u64,
}

impl Outlook {
    fn of(output: EpochOutput, rights: &mut Rights) -> Self {
        let mut outlook = Outlook::default();
        rights.fold(output.changes, |change| {
            if change.is_of_decision() {
                outlook.rights.entry(change.decision.benefit).or_default().count(change.kind);
            }
        });
        output.standings.iter().for_each(|household| outlook.households.count(household));
        outlook
    }

    fn row(&self, policy: &Policy, mut row: Value) -> Value {
        let of_benefit = |(benefit, changes): (&u16, &Changes)| {
            let Changes { gained, lost, amount, doubted } = changes;
            let row = json!({"gained": gained, "lost": lost, "amount": amount, "doubted": doubted});
            (policy.benefits[usize::from(*benefit)].id.clone(), row)
        };
        let Households { category, level, appeared, vanished } = self.households;
        row["benefits"] = self.rights.iter().map(of_benefit).collect::<Map<_, _>>().into();
        row["households"] = json!({"category": category, "level": level, "appeared": appeared, "vanished": vanished});
        row
    }

    /// A line for each benefit of which something changes, and one for households; the date stands before the first.
    fn print(&self, policy: &Policy, when: &str) {
        let mut lines = Vec::new();
        for (benefit, Changes { gained, lost, amount, doubted }) in &self.rights {
            let numbers = [("gained", *gained), ("lost", *lost), ("amount", *amount), ("doubted", *doubted)];
            lines.push((policy.benefits[usize::from(*benefit)].id.as_str(), numbers));
        }
        let Households { category, level, appeared, vanished } = self.households;
        lines.push(("households", [("category", category), ("level", level), ("appeared", appeared), ("vanished", vanished)]));
        let mut when = Some(when);
        for (what, numbers) in lines {
            let told = numbers.iter().filter(|(_, number)| *number > 0).map(|(name, number)| format!("{name} {number}"));
            let told = told.collect::<Vec<_>>().join(", ");
            if !told.is_empty() {
                println!("{:10}  {what:<28}  {told}", when.take().unwrap_or_default());
            }
        }
    }
}

impl Changes {
    fn count(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::Gained => self.gained += 1,
            ChangeKind::Lost => self.lost += 1,
            ChangeKind::Amount => self.amount += 1,
            ChangeKind::Doubted => self.doubted += 1,
            ChangeKind::Attributes | ChangeKind::Refuted | ChangeKind::Sealed => {}
        }
    }
}

impl Households {
    fn count(&mut self, (_, before, now): &Restanding) {
        match (before, now) {
            (Some(before), Some(now)) => {
                self.category += u64::from(before.category != now.category);
                self.level += u64::from(before.level != now.level);
            }
            (None, _) => self.appeared += 1,
            (_, None) => self.vanished += 1,
        }
    }
}

impl AddAssign for Outlook {
    fn add_assign(&mut self, other: Self) {
        for (benefit, Changes { gained, lost, amount, doubted }) in other.rights {
            let sum = self.rights.entry(benefit).or_default();
            *sum =
                Changes { gained: sum.gained + gained, lost: sum.lost + lost, amount: sum.amount + amount, doubted: sum.doubted + doubted };
        }
        let (sum, Households { category, level, appeared, vanished }) = (self.households, other.households);
        self.households = Households {
            category: sum.category + category,
            level: sum.level + level,
            appeared: sum.appeared + appeared,
            vanished: sum.vanished + vanished,
        };
    }
}
