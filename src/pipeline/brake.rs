//! The brake: where a large share of those who hold a benefit would gain or lose it within some days, somebody should look before anybody is written
//! to about it. A mistake in a feed or in a package looks like that.
//!
//! What it stops is paused in the journal, until an operator resumes it. What it counts by is not: a start counts anew.

use dataflows::model::{Change, ChangeKind, Date};
use dataflows::policy::Policy;
use hashbrown::HashMap;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// When to stop; never, where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrakeTerms {
    /// Of those who hold a benefit, gained and lost together; 0: never.
    pub percent: u64,
    /// And at least so many.
    pub at_least: u64,
    /// Within so many business days.
    pub days: i32,
}

pub(super) struct Brake {
    terms: BrakeTerms,
    counts: HashMap<String, Count>,
    stopped: BTreeSet<String>,
}

/// Of a benefit how many hold it, and how many gained or lost it on each of the last days.
#[derive(Default)]
struct Count {
    holders: u64,
    recent: VecDeque<(Date, u64)>,
}

impl Brake {
    pub fn new(terms: BrakeTerms, holders: BTreeMap<String, u64>) -> Brake {
        let counts = holders.into_iter().map(|(benefit, holders)| (benefit, Count { holders, ..Count::default() })).collect();
        Brake { terms, counts, stopped: BTreeSet::new() }
    }

    /// Begins with those who hold each benefit.
    pub fn begin(&mut self, holders: BTreeMap<String, u64>) {
        *self = Brake::new(self.terms, holders);
    }

    /// Whether texts about a benefit are stopped.
    pub fn holds_back(&self, benefit: &str) -> bool {
        self.stopped.contains(benefit)
    }

    /// An operator has looked.
    pub fn release(&mut self, benefit: &str) {
        self.stopped.remove(benefit);
        if let Some(count) = self.counts.get_mut(benefit) {
            count.recent.clear();
        }
    }

    /// Counts what changed on a date; the benefits at which it stops now, if people are written to.
    pub fn count(&mut self, policy: &Policy, changes: &[Change], date: Date, live: bool) -> Vec<String> {
        let (mut changed, mut stops) = (BTreeSet::new(), Vec::new());
        for change in changes {
            let step = match change.kind {
                ChangeKind::Gained => 1,
                ChangeKind::Lost => -1,
                _ => continue,
            };
            let benefit = &policy.benefits[usize::from(change.decision.benefit)].id;
            let count = self.counts.entry_ref(benefit.as_str()).or_default();
            count.holders = count.holders.saturating_add_signed(step);
            if !live {
                continue;
            }
            match count.recent.back_mut() {
                Some((day, number)) if *day == date => *number += 1,
                _ => count.recent.push_back((date, 1)),
            }
            changed.insert(benefit.as_str());
        }
        let BrakeTerms { percent, at_least, days } = self.terms;
        for benefit in changed {
            let Some(count) = self.counts.get_mut(benefit) else { continue };
            while count.recent.front().is_some_and(|(day, _)| day.0 <= date.0 - days) {
                count.recent.pop_front();
            }
            let recent: u64 = count.recent.iter().map(|(_, number)| number).sum();
            let is_much = percent > 0 && recent >= at_least && recent * 100 > count.holders * percent;
            if is_much && self.stopped.insert(benefit.to_owned()) {
                stops.push(benefit.to_owned());
            }
        }
        stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::load_package;
    use dataflows::model::{Decision, Ground, HouseholdKey, Outcome};

    fn changes(kind: ChangeKind, people: std::ops::Range<u64>) -> Vec<Change> {
        let decision = |person| Decision {
            person,
            household: HouseholdKey::NONE,
            benefit: 0,
            ground: Ground::Constant,
            period: Date::NEVER,
            outcome: Outcome::Eligible,
            amount: 1,
            from: Date(0),
            until: Date::NEVER,
            addressee: person,
            proactive: Date::BEFORE_ALL,
            failed: 0,
        };
        people.map(|person| Change { kind, decision: decision(person), before: None }).collect()
    }

    #[test]
    fn it_stops_where_many_change_within_days_and_only_there() {
        let policy = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message)).policy;
        let benefit = policy.benefits[0].id.as_str();
        let terms = BrakeTerms { percent: 20, at_least: 50, days: 7 };
        let begin = || Brake::new(terms, BTreeMap::from([(benefit.to_owned(), 1000)]));
        let day = |number| Date(20_000 + number);

        // A hundred and ninety of some thousand in a week are fewer than a fifth; with thirty more they are not.
        let mut brake = begin();
        for number in 0..19 {
            assert!(
                brake.count(&policy, &changes(ChangeKind::Gained, number * 10..number * 10 + 10), day(number as i32 / 3), true).is_empty()
            );
        }
        assert!(!brake.holds_back(benefit));
        assert_eq!(brake.count(&policy, &changes(ChangeKind::Lost, 0..60), day(6), true), [benefit]);
        assert!(brake.holds_back(benefit) && !brake.holds_back("another"));
        assert!(brake.count(&policy, &changes(ChangeKind::Lost, 60..70), day(6), true).is_empty(), "it says so once");

        // Released, it counts anew; and what is longer ago than a week is no more.
        brake.release(benefit);
        assert!(!brake.holds_back(benefit));
        assert!(brake.count(&policy, &changes(ChangeKind::Lost, 70..80), day(6), true).is_empty());
        assert!(brake.count(&policy, &changes(ChangeKind::Lost, 80..230), day(6), true).is_empty());
        assert!(brake.count(&policy, &changes(ChangeKind::Lost, 230..380), day(13), true).is_empty());
        assert_eq!(brake.count(&policy, &changes(ChangeKind::Lost, 380..400), day(13), true), [benefit]);

        // A baseline is no change.
        let mut quiet = begin();
        assert!(quiet.count(&policy, &changes(ChangeKind::Gained, 0..900), day(0), false).is_empty());
        assert!(quiet.count(&policy, &changes(ChangeKind::Gained, 900..1000), day(0), true).is_empty());

        // Few are few, whatever share they are.
        let mut small = Brake::new(terms, BTreeMap::new());
        assert!(small.count(&policy, &changes(ChangeKind::Gained, 0..49), day(0), true).is_empty());
        let mut never = Brake::new(BrakeTerms { percent: 0, ..terms }, BTreeMap::new());
        assert!(never.count(&policy, &changes(ChangeKind::Gained, 0..500), day(0), true).is_empty());
    }
}
