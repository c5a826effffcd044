//! The rights that stand, folded from the change stream. What was only doubted is remembered, so that a right which is refuted
//! later is lost, as it would have been without the doubt.

use crate::dispatch::RightKey;
use crate::ledger::right_of;
use dataflows::model::{Change, ChangeKind, Decision};
use std::collections::BTreeMap;

/// All rights by key.
#[derive(Default)]
pub struct Rights {
    standing: BTreeMap<RightKey, Decision>,
    doubted: BTreeMap<RightKey, Change>,
}

impl Rights {
    /// Folds a change; the answer is what it means to somebody who knows only decisions: a refuted right is lost if it ever
    /// stood, else nothing.
    pub fn fold(&mut self, change: Change) -> Option<Change> {
        let right = right_of(&change.decision);
        let doubted = self.doubted.remove(&right);
        match change.kind {
            ChangeKind::Gained | ChangeKind::Amount | ChangeKind::Attributes => {
                self.standing.insert(right, change.decision.clone());
            }
            ChangeKind::Lost => {
                self.standing.remove(&right);
            }
            ChangeKind::Doubted => {
                self.standing.remove(&right);
                self.doubted.insert(right, change.clone());
            }
            ChangeKind::Refuted => return doubted.map(|doubted| Change { kind: ChangeKind::Lost, ..doubted }),
        }
        Some(change)
    }

    /// The decisions in force, in the order of their rights.
    pub fn standing(&self) -> impl ExactSizeIterator<Item = &Decision> {
        self.standing.values()
    }

    /// Rights that stood until they were doubted, and are not refuted, with the change that said so.
    pub fn doubted(&self) -> &BTreeMap<RightKey, Change> {
        &self.doubted
    }
}
