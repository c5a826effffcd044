//! The outbox: every text that was decided on, once, in the order of the decisions.

use crate::dispatch::{Kind, Phone, RightKey, Text};
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
    /// A message centre has taken it.
    Taken,
    /// Whether one has nobody knows; it is never handed over again.
    Uncertain,
    Delivered,
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Suppressed => "suppressed",
            Status::Submitted(_) => "submitted",
            Status::Taken => "taken",
            Status::Uncertain => "uncertain",
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

/// Receipts of parts that nobody knows yet are kept up to so many.
const EARLY_MAX: usize = 100_000;

/// What a message centre may give back with a receipt, so that a text is known of whose name nothing was heard.
pub fn reference_of(message: u128) -> u16 {
    message as u16
}

/// A centre's name as it may be written elsewhere: some write the number in decimal where they have written it in hexadecimal, or the reverse.
fn spellings(name: &str) -> Vec<Box<str>> {
    let bare = name.trim_start_matches('0').to_ascii_lowercase();
    let mut spellings: Vec<Box<str>> = vec![name.into(), bare.as_str().into()];
    spellings.extend(bare.parse::<u64>().map(|number| format!("{number:x}").into()));
    spellings.extend(u64::from_str_radix(&bare, 16).map(|number| number.to_string().into()));
    spellings
}

/// All texts, oldest first.
#[derive(Default, Serialize, Deserialize)]
pub struct Outbox {
    rows: Vec<Message>,
    by_id: HashMap<u128, usize>,
    waiting: BTreeSet<usize>,
    /// Handed over, and not answered for.
    submitted: BTreeSet<usize>,
    /// By phone and a centre's name the parts of texts that it has taken; and of each such text what became of its parts.
    taken: HashMap<(Phone, Box<str>), (usize, usize)>,
    parts: HashMap<usize, Vec<Option<bool>>>,
    /// What was said of parts before they were known to be taken.
    early: HashMap<(Phone, Box<str>), bool>,
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

    pub fn unanswered_count(&self) -> usize {
        self.submitted.len()
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

    /// A message centre has taken a text: its names for the parts. What it said of them before counts now.
    pub(super) fn take(&mut self, id: u128, names: &[String]) {
        let Some(&row) = self.by_id.get(&id) else { return };
        if !matches!(self.rows[row].status, Status::Submitted(_) | Status::Uncertain) {
            return;
        }
        let phone = self.rows[row].text.phone;
        self.answer(row, Status::Taken);
        self.parts.insert(row, vec![None; names.len()]);
        for (part, name) in names.iter().enumerate() {
            let early = spellings(name).into_iter().find_map(|name| self.early.remove(&(phone, name)));
            self.taken.insert((phone, name.as_str().into()), (row, part));
            if let Some(delivered) = early {
                self.part_arrived(row, part, delivered);
            }
        }
    }

    /// Whether a text was taken nobody knows.
    pub(super) fn doubt(&mut self, id: u128) {
        if let Some(&row) = self.by_id.get(&id)
            && matches!(self.rows[row].status, Status::Submitted(_))
        {
            self.answer(row, Status::Uncertain);
        }
    }

    /// A centre says whether a part of a text arrived at a number: by its name for it, else by our reference to a text that is uncertain.
    pub(super) fn deliver(&mut self, name: &str, reference: Option<u16>, phone: Phone, delivered: bool) {
        let known = spellings(name).into_iter().find_map(|name| self.taken.get(&(phone, name)).copied());
        if let Some((row, part)) = known {
            return self.part_arrived(row, part, delivered);
        }
        let is_meant =
            |row: &&Message| row.status == Status::Uncertain && row.text.phone == phone && reference == Some(reference_of(row.id));
        let mut meant = self.rows.iter().filter(is_meant).map(|row| row.id);
        match (meant.next(), meant.next()) {
            (Some(id), None) => self.answer(self.by_id[&id], if delivered { Status::Delivered } else { Status::Failed }),
            _ if self.early.len() < EARLY_MAX => drop(self.early.insert((phone, name.into()), delivered)),
            _ => {}
        }
    }

    /// Once all parts of a text have arrived it has, and once one has not it has not.
    fn part_arrived(&mut self, row: usize, part: usize, delivered: bool) {
        let Some(parts) = self.parts.get_mut(&row) else { return };
        parts[part] = Some(delivered);
        let arrived = parts.iter().try_fold(true, |arrived, part| part.map(|part| arrived && part));
        if !delivered || arrived == Some(true) {
            self.parts.remove(&row);
            self.answer(row, if delivered { Status::Delivered } else { Status::Failed });
        }
    }

    fn answer(&mut self, row: usize, status: Status) {
        self.submitted.remove(&row);
        self.rows[row].status = status;
        self.changed.insert(row);
    }

    fn leave(&mut self, id: u128, status: Status) -> &Message {
        let row = self.by_id[&id];
        self.waiting.remove(&row);
        self.changed.insert(row);
        self.rows[row].status = status;
        &self.rows[row]
    }
}
