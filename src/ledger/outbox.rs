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
    /// Whether a text is never handed over again.
    fn is_final(self) -> bool {
        matches!(self, Status::Suppressed | Status::Taken | Status::Delivered | Status::Failed)
    }

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

/// All texts, oldest first. What they say is gone from here once it was taken for the file and nobody hands it over again.
#[derive(Default, Serialize, Deserialize)]
pub struct Outbox {
    rows: Vec<Message>,
    by_id: HashMap<u128, usize>,
    /// By what goes first, and then by age.
    waiting: BTreeSet<(u8, usize)>,
    /// Handed over, and not answered for.
    submitted: BTreeSet<usize>,
    uncertain: BTreeSet<usize>,
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
        let row = self.rows.len();
        self.by_id.insert(id, row);
        self.waiting.insert((text.kind.class(), row));
        self.changed.insert(row);
        self.rows.push(Message { id, epoch, date, text, status: Status::Waiting });
        true
    }

    /// The texts that wait: answers first, then what is waited for, then what begins, each the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Message> {
        self.waiting.iter().map(|(_, row)| &self.rows[*row])
    }

    /// The texts of which nobody knows whether they were taken.
    pub fn uncertain(&self) -> impl Iterator<Item = &Message> {
        self.uncertain.iter().map(|row| &self.rows[*row])
    }

    pub fn message(&self, id: u128) -> Option<&Message> {
        self.by_id.get(&id).map(|row| &self.rows[*row])
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
        self.message(id).is_some_and(|message| message.status == Status::Waiting)
    }

    pub(super) fn take_changed(&mut self) -> Vec<Message> {
        let take = |row: usize| {
            let message = &mut self.rows[row];
            let taken = message.clone();
            if message.status.is_final() {
                message.text.body = String::new();
            }
            taken
        };
        std::mem::take(&mut self.changed).into_iter().map(take).collect()
    }

    /// What a text is about.
    pub(super) fn subject(&self, id: u128) -> (RightKey, Kind) {
        let text = &self.rows[self.by_id[&id]].text;
        (text.right.clone(), text.kind)
    }

    pub(super) fn submit(&mut self, id: u128, today: Date) -> &Message {
        let row = self.by_id[&id];
        self.set(row, Status::Submitted(today));
        &self.rows[row]
    }

    pub(super) fn suppress(&mut self, id: u128) {
        self.set(self.by_id[&id], Status::Suppressed);
    }

    /// What was handed over waits to be handed over again.
    pub(super) fn again(&mut self, id: u128) {
        if let Some(&row) = self.by_id.get(&id)
            && matches!(self.rows[row].status, Status::Submitted(_) | Status::Uncertain)
        {
            self.set(row, Status::Waiting);
        }
    }

    /// What the network says of a text that it was given. The last word counts; of one never given it has none.
    pub(super) fn receipt(&mut self, id: u128, delivered: bool) {
        let Some(&row) = self.by_id.get(&id) else { return };
        if !matches!(self.rows[row].status, Status::Waiting | Status::Suppressed) {
            self.set(row, arrived(delivered));
        }
    }

    /// A message centre has taken a text: its names for the parts. What it said of them before counts now.
    pub(super) fn take(&mut self, id: u128, names: &[String]) {
        let Some(&row) = self.by_id.get(&id) else { return };
        if !matches!(self.rows[row].status, Status::Submitted(_) | Status::Uncertain) {
            return;
        }
        let phone = self.rows[row].text.phone;
        self.set(row, Status::Taken);
        if !names.is_empty() {
            self.parts.insert(row, vec![None; names.len()]);
        }
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
            self.set(row, Status::Uncertain);
        }
    }

    /// A centre says whether a part of a text arrived at a number: by its name for it, else by our reference to a text that is uncertain.
    pub(super) fn deliver(&mut self, name: &str, reference: Option<u16>, phone: Phone, delivered: bool) {
        let known = spellings(name).into_iter().find_map(|name| self.taken.get(&(phone, name)).copied());
        if let Some((row, part)) = known {
            return self.part_arrived(row, part, delivered);
        }
        let is_meant = |row: &&usize| {
            let message = &self.rows[**row];
            message.text.phone == phone && reference == Some(reference_of(message.id))
        };
        let mut meant = self.uncertain.iter().filter(is_meant).copied();
        match (meant.next(), meant.next()) {
            (Some(row), None) => self.set(row, arrived(delivered)),
            _ if self.early.len() < EARLY_MAX => drop(self.early.insert((phone, name.into()), delivered)),
            _ => {}
        }
    }

    /// Once all parts of a text have arrived it has, and once one has not it has not.
    fn part_arrived(&mut self, row: usize, part: usize, delivered: bool) {
        let Some(parts) = self.parts.get_mut(&row) else { return };
        parts[part] = Some(delivered);
        let all = parts.iter().try_fold(true, |all, part| part.map(|part| all && part));
        if !delivered || all == Some(true) {
            self.parts.remove(&row);
            self.set(row, arrived(delivered));
        }
    }

    fn set(&mut self, row: usize, status: Status) {
        let message = &mut self.rows[row];
        let class = message.text.kind.class();
        match std::mem::replace(&mut message.status, status) {
            Status::Waiting => drop(self.waiting.remove(&(class, row))),
            Status::Submitted(_) => drop(self.submitted.remove(&row)),
            Status::Uncertain => drop(self.uncertain.remove(&row)),
            _ => {}
        }
        match status {
            Status::Waiting => drop(self.waiting.insert((class, row))),
            Status::Submitted(_) => drop(self.submitted.insert(row)),
            Status::Uncertain => drop(self.uncertain.insert(row)),
            _ => {}
        }
        self.changed.insert(row);
    }
}

fn arrived(delivered: bool) -> Status {
    if delivered { Status::Delivered } else { Status::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::model::Ground;

    /// What a text says is held as long as it may be handed over again, and until it was taken for the file; that it was decided on is never
    /// forgotten.
    #[test]
    fn what_a_text_says_goes_once_nobody_hands_it_over_again() {
        let right = RightKey { person: 7, benefit: 0, ground: Ground::Constant, period: Date::NEVER };
        let phone: Phone = 77_010_000_000;
        let text = Text { right, round: 1, kind: Kind::Offer, addressee: 7, phone, tag: None, body: "1414".to_owned() };
        let (mut outbox, today) = (Outbox::default(), Date(20_000));
        let held = |outbox: &Outbox| outbox.message(1).unwrap().text.body.clone();
        let taken = |outbox: &mut Outbox| outbox.take_changed().into_iter().map(|message| message.text.body).collect::<Vec<_>>();
        assert!(outbox.enter(1, 1, today, text.clone()));
        outbox.submit(1, today);
        outbox.doubt(1);
        assert_eq!((taken(&mut outbox), held(&outbox).as_str()), (vec!["1414".to_owned()], "1414"));
        outbox.again(1);
        assert_eq!(outbox.submit(1, today).text.body, "1414");
        outbox.take(1, &["a".to_owned()]);
        assert_eq!((taken(&mut outbox), held(&outbox).as_str()), (vec!["1414".to_owned()], ""));
        outbox.deliver("a", None, phone, true);
        assert_eq!(outbox.message(1).unwrap().status, Status::Delivered);
        assert!(!outbox.enter(1, 2, today, text), "it is not said twice");
    }
}
