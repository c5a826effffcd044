//! The outbox: every text that was decided on, once, in the order of the decisions.

use crate::dispatch::{Kind, RightKey, Text};
use dataflows::model::{Date, Epoch};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How far a text has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Waiting,
    /// Stopped by the last check: its right had gone.
    Suppressed,
    Submitted(Date),
    Delivered,
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Suppressed => "suppressed",
            Status::Submitted(_) => "submitted",
            Status::Delivered => "delivered",
            Status::Failed => "failed",
        }
    }
}

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// A hash over the offer's key, its round and the kind of the text: the same in every replay.
    pub id: u128,
    pub epoch: Epoch,
    pub date: Date,
    pub text: Text,
    pub status: Status,
}

/// All texts, oldest first.
#[derive(Default, Serialize, Deserialize)]
pub struct Outbox {
    rows: Vec<Message>,
    by_id: HashMap<u128, usize>,
    waiting: BTreeSet<usize>,
    /// Handed over, and not answered for.
    submitted: BTreeSet<usize>,
    /// Rows that were entered or changed since they were last taken.
    changed: BTreeSet<usize>,
}

impl Outbox {
    pub fn rows(&self) -> &[Message] {
        &self.rows
    }

    /// One JSON object a line, as [`crate::ledger::Ledger`] would export it.
    pub fn to_ndjson(&self) -> String {
        let mut out = String::new();
        for Message { id, epoch, date, text, status } in &self.rows {
            let body = serde_json::Value::from(text.body.as_str());
            let (kind, phone, status) = (text.kind.name(), text.phone, status.name());
            let (person, benefit, round) = (text.right.person, text.right.benefit, text.round);
            writeln!(
                out,
                r#"{{"message":"{id:032x}","epoch":{epoch},"date":"{date}","person":{person},"benefit":{benefit},"round":{round},"kind":"{kind}","phone":"{phone}","status":"{status}","text":{body}}}"#
            )
            .expect("a string takes all that is written");
        }
        out
    }

    /// Enters a text unless it is there already; whether it was entered.
    pub(super) fn enter(&mut self, id: u128, epoch: Epoch, date: Date, text: Text) -> bool {
        if self.by_id.contains_key(&id) {
            return false;
        }
        self.by_id.insert(id, self.rows.len());
        self.waiting.insert(self.rows.len());
        self.changed.insert(self.rows.len());
        self.rows.push(Message { id, epoch, date, text, status: Status::Waiting });
        true
    }

    /// The texts that wait, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Message> {
        self.waiting.iter().map(|row| &self.rows[*row])
    }

    /// The texts that were handed over, and of which nobody has said whether they arrived.
    pub fn unanswered(&self) -> impl Iterator<Item = &Message> {
        self.submitted.iter().map(|row| &self.rows[*row])
    }

    /// How many texts wait, or were handed over and not answered for.
    pub fn under_way(&self) -> usize {
        self.waiting.len() + self.submitted.len()
    }

    pub(super) fn is_waiting(&self, id: u128) -> bool {
        self.by_id.get(&id).is_some_and(|row| self.waiting.contains(row))
    }

    pub(super) fn take_changed(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.changed).into_iter().map(|row| self.rows[row].clone()).collect()
    }

    /// What a text is about.
    pub(super) fn subject(&self, id: u128) -> (RightKey, Kind) {
        let text = &self.rows[self.by_id[&id]].text;
        (text.right.clone(), text.kind)
    }

    pub(super) fn submit(&mut self, id: u128, today: Date) -> &Message {
        self.submitted.insert(self.by_id[&id]);
        self.leave(id, Status::Submitted(today))
    }

    pub(super) fn suppress(&mut self, id: u128) {
        self.leave(id, Status::Suppressed);
    }

    /// What the network says of a text that it was given. The last word counts; of one never given it has none.
    pub(super) fn receipt(&mut self, id: u128, delivered: bool) {
        let Some(row) = self.by_id.get(&id) else { return };
        let status = &mut self.rows[*row].status;
        if !matches!(status, Status::Waiting | Status::Suppressed) {
            *status = if delivered { Status::Delivered } else { Status::Failed };
            self.submitted.remove(row);
            self.changed.insert(*row);
        }
    }

    fn leave(&mut self, id: u128, status: Status) -> &Message {
        let row = self.by_id[&id];
        self.waiting.remove(&row);
        self.changed.insert(row);
        self.rows[row].status = status;
        &self.rows[row]
    }
}
