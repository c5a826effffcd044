//! What the demonstration counts.

use crate::dispatch::Kind;
use crate::engine::EpochOutput;
use dataflows::model::ChangeKind;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies are kept in nanoseconds to three digits; one beyond an hour counts as an hour.
const DIGITS: u8 = 3;
const LATENCY_MAX: u64 = 3_600_000_000_000;

/// Counts since the beginning, and of today.
pub struct Tally {
    pub people: u64,
    pub records: u64,
    pub refused: u64,
    pub epochs: u64,
    pub changes: Changes,
    pub today: Changes,
    /// Texts by kind, in the order of kinds.
    pub texts: BTreeMap<Kind, u64>,
    pub replies: u64,
    pub cases: u64,
    pub assigned: u64,
    pub notes: u64,
    /// What became of families, by the name of their fate.
    pub fates: BTreeMap<&'static str, u64>,
    /// Families by category.
    pub categories: BTreeMap<u8, i64>,
    /// From a record's arrival to the decisions that follow from it, in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Changed decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub gained: u64,
    pub lost: u64,
    pub amount: u64,
}

impl Changes {
    pub fn all(self) -> u64 {
        self.gained + self.lost + self.amount
    }

    fn count(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::Gained => self.gained += 1,
            ChangeKind::Lost => self.lost += 1,
            ChangeKind::Amount => self.amount += 1,
            ChangeKind::Doubted | ChangeKind::Refuted | ChangeKind::Attributes | ChangeKind::Sealed => (),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            people: 0,
            records: 0,
            refused: 0,
            epochs: 0,
            changes: Changes::default(),
            today: Changes::default(),
            texts: BTreeMap::new(),
            replies: 0,
            cases: 0,
            assigned: 0,
            notes: 0,
            fates: BTreeMap::new(),
            categories: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS).expect("the bounds are in order"),
        }
    }
}

impl Tally {
    pub fn epoch(&mut self, output: &EpochOutput) {
        self.epochs += 1;
        for change in &output.changes {
            self.changes.count(change.kind);
            self.today.count(change.kind);
        }
        for (_, before, now) in &output.standings {
            before.iter().for_each(|standing| *self.categories.entry(standing.category).or_default() -= 1);
            now.iter().for_each(|standing| *self.categories.entry(standing.category).or_default() += 1);
        }
    }

    /// The baseline is loaded: what is counted from here on is life.
    pub fn forget_changes(&mut self) {
        *self = Tally { categories: std::mem::take(&mut self.categories), ..Tally::default() };
    }

    pub fn begin_day(&mut self) {
        self.today = Changes::default();
    }

    pub fn text(&mut self, kind: Kind) {
        *self.texts.entry(kind).or_default() += 1;
    }

    pub fn latency(&mut self, took: Duration) {
        self.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn families(&self) -> i64 {
        self.categories.values().sum()
    }

    pub fn texts_sent(&self) -> u64 {
        self.texts.values().sum()
    }
}
