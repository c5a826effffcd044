//! The one family that is followed: from a birth to the benefits assigned for it.

use crate::dispatch::{Heard, Phone, grouped};
use crate::ledger::Message;
use dataflows::model::{Change, ChangeKind, Date, PersonId};
use dataflows::policy::file::Record;
use dataflows::policy::{Benefit, Policy, Register};
use fixtures::agency::Request;
use fixtures::country::Birth;
use serde_json::Value;

/// A mother, her newborn, and what has happened to them so far.
pub struct Family {
    mother: PersonId,
    act: String,
    children: usize,
    name: String,
    pub phone: Option<Phone>,
    story: Vec<String>,
    /// Lines of the story that were taken.
    told: usize,
    /// The act has been registered: what happens to the mother now is part of the story.
    begun: bool,
}

impl Family {
    pub fn of(birth: &Birth) -> Self {
        Family {
            mother: birth.mother,
            act: birth.act.clone(),
            children: birth.children_after,
            name: String::new(),
            phone: None,
            story: Vec::new(),
            told: 0,
            begun: false,
        }
    }

    /// Nobody is followed: nothing happened that would be worth it.
    pub fn nobody() -> Self {
        Family { mother: 0, act: String::new(), children: 0, name: String::new(), phone: None, story: Vec::new(), told: 0, begun: false }
    }

    /// `Аружан Серікова, 4 children with the newborn`; empty while nobody is followed.
    pub fn title(&self) -> String {
        if self.mother == 0 { String::new() } else { format!("{}, {} children with the newborn", self.name, self.children) }
    }

    pub fn story(&self) -> &[String] {
        &self.story
    }

    /// Lines that were not taken before.
    pub fn news(&mut self) -> Vec<String> {
        let news = self.story[self.told..].to_vec();
        self.told = self.story.len();
        news
    }

    /// A record on its way in: the act of the birth, or the mother's own person record, which holds her name.
    pub fn record(&mut self, date: Date, register: &Register, record: &Record, person: PersonId, line: &[u8]) {
        if register.id == "zags.birth" && !self.begun && record.key(&register.packing) == self.act {
            self.begun = true;
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            let born = line["data"]["born"].as_str().unwrap_or_default();
            self.story.push(format!("{date}  {}: birth registered, born {born}", self.title()));
        } else if register.id == "gbdfl.person" && person == self.mother && person != 0 {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            let part = |name: &str| line["data"][name].as_str().unwrap_or_default().to_owned();
            self.name = format!("{} {}", part("name"), part("surname"));
        }
    }

    pub fn contact(&mut self, heard: &Heard) {
        if let Heard::Contact { person, phone, .. } = heard
            && *person == self.mother
        {
            self.phone = *phone;
        }
    }

    pub fn changes(&mut self, date: Date, changes: &[Change], policy: &Policy) {
        let benefit = |change: &Change| &policy.benefits[usize::from(change.decision.benefit)];
        let hers = |change: &&Change| self.begun && change.decision.person == self.mother && !benefit(change).to_worker;
        for change in changes.iter().filter(hers) {
            let what = match change.kind {
                ChangeKind::Gained => "gained",
                ChangeKind::Lost => "lost",
                ChangeKind::Amount => "changed",
                ChangeKind::Doubted => "in doubt",
                ChangeKind::Refuted | ChangeKind::Attributes | ChangeKind::Sealed => continue,
            };
            let benefit = benefit(change);
            let before = change.before.as_ref().map_or(String::new(), |before| format!(" (was {})", grouped(before.amount)));
            self.story.push(format!("{date}  {what}: {}, {} {}{before}", title(benefit), grouped(change.decision.amount), benefit.unit));
        }
    }

    pub fn sent(&mut self, message: &Message) {
        if self.begun && message.text.addressee == self.mother {
            self.story.push(format!("{}  text: {}", message.date, message.text.body.replace('\n', " / ")));
        }
    }

    pub fn reply(&mut self, date: Date, phone: Phone, text: &str) {
        if self.begun && self.phone == Some(phone) {
            self.story.push(format!("{date}  she answers: {text}"));
        }
    }

    pub fn assigned(&mut self, date: Date, person: PersonId, benefit: &Benefit, request: &Request) {
        if self.begun && person == self.mother {
            self.story.push(format!(
                "{date}  assigned by the agency: {}, {} {} from {}",
                title(benefit),
                grouped(request.amount),
                benefit.unit,
                request.from
            ));
        }
    }

    pub fn paid(&mut self, date: Date, person: PersonId, benefit: &Benefit) {
        if self.begun && person == self.mother {
            self.story.push(format!("{date}  paid: {}", title(benefit)));
        }
    }
}

fn title(benefit: &Benefit) -> &str {
    benefit.title.get("en").unwrap_or(&benefit.id)
}
