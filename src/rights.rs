//! The rights that stand, folded from the change stream. What was only doubted is remembered, so that a right which is refuted
//! later is lost, as it would have been without the doubt.

use crate::dispatch::RightKey;
use crate::ledger::right_of;
use dataflows::model::{Change, ChangeKind, Decision};
use std::collections::BTreeMap;

/// All rights. A first load brings millions in their order, so they lie in one sorted list; what changes later waits beside it.
#[derive(Default)]
pub struct Rights {
    settled: Vec<Decision>,
    /// What changed since; `None`: the right stands no longer.
    newer: BTreeMap<RightKey, Option<Decision>>,
    /// Rights that stood until they were doubted, and are not refuted, with the change that said so.
    doubted: BTreeMap<RightKey, Change>,
}

/// How much waits before it is settled: so much, or such a part of what is settled.
const NEWER_MIN: usize = 1 << 10;
const NEWER_PART: usize = 32;

impl Rights {
    /// Folds an epoch's changes, and tells what they mean to somebody who knows only decisions: a refuted right is lost if it
    /// ever stood, else nothing.
    pub fn fold(&mut self, changes: Vec<Change>, mut tell: impl FnMut(&Change)) {
        let first = self.settled.is_empty() && self.newer.is_empty() && self.doubted.is_empty();
        if first && changes.iter().all(|change| change.kind == ChangeKind::Gained) {
            changes.iter().for_each(tell);
            // Where the changes lay: a first load brings so many that they should not lie there twice.
            self.settled = changes.into_iter().map(|change| change.decision).collect();
            return;
        }
        changes.into_iter().filter_map(|change| self.fold_one(change)).for_each(|change| tell(&change));
    }

    fn fold_one(&mut self, change: Change) -> Option<Change> {
        let right = right_of(&change.decision);
        let doubted = self.doubted.remove(&right);
        match change.kind {
            ChangeKind::Gained | ChangeKind::Amount | ChangeKind::Attributes => self.put(right, Some(change.decision.clone())),
            ChangeKind::Lost | ChangeKind::Sealed => self.put(right, None),
            ChangeKind::Doubted => {
                self.doubted.insert(right.clone(), change.clone());
                self.put(right, None);
            }
            ChangeKind::Refuted => return doubted.map(|doubted| Change { kind: ChangeKind::Lost, ..doubted }),
        }
        Some(change)
    }

    fn put(&mut self, right: RightKey, decision: Option<Decision>) {
        let comes_last = self.newer.is_empty() && self.settled.last().is_none_or(|last| right_of(last) < right);
        match decision {
            Some(decision) if comes_last => self.settled.push(decision),
            decision => {
                self.newer.insert(right, decision);
                if self.newer.len() > NEWER_MIN.max(self.settled.len() / NEWER_PART) {
                    self.settle();
                }
            }
        }
    }

    fn settle(&mut self) {
        if self.newer.is_empty() {
            return;
        }
        let newer = std::mem::take(&mut self.newer);
        self.settled.retain(|decision| !newer.contains_key(&right_of(decision)));
        self.settled.extend(newer.into_values().flatten());
        self.settled.sort();
    }

    /// The decisions in force, in the order of their rights.
    pub fn standing(&mut self) -> &[Decision] {
        self.settle();
        &self.settled
    }
}
