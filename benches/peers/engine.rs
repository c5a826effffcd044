//! This engine as a peer, driven as `shanyraq bench rescoring` drives it: decoded records in, changed scores out, by the policy package beside this file.

use crate::records::Record;
use crate::rules::Register;
use crate::telling::{Peer, summand, tell};
use dataflows::House;
use dataflows::model::{Date, EpochAnswer, HouseholdKey, Scores, Update};
use dataflows::policy::{FeedState, Policy};
use dataflows::records::Circumstances;
use serde_json::{Value, json};
use shanyraq::commands::load_policy;
use shanyraq::intake::{Intake, Item, Schema};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use timely::worker::Worker;

struct Engine<'a> {
    worker: &'a mut Worker,
    house: House,
    intake: Intake,
    now: Circumstances,
    answer: EpochAnswer,
    /// Nothing before the load.
    scores: HashMap<HouseholdKey, Scores>,
    sum: i64,
}

pub fn run(package: &Path, folder: &Path) {
    let policy = load_policy(package.to_str().expect("a path")).unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = folder.to_owned();
    let about = concat!("shanyraq ", env!("CARGO_PKG_VERSION"), ", incremental, one worker");
    timely::execute_directly(move |worker| tell(about, &mut Engine::new(worker, &policy), &folder));
}

impl<'a> Engine<'a> {
    fn new(worker: &'a mut Worker, policy: &Arc<Policy>) -> Engine<'a> {
        let mut house = House::build(worker, policy.clone());
        let today = Date::from_ymd(2026, 1, 1).expect("a day");
        let now = Circumstances { today, feeds: vec![FeedState::Fresh; policy.registers.len()] };
        house.set_circumstances(now.clone());
        let intake = Intake::new(Arc::new(Schema::from(&**policy)));
        Engine { worker, house, intake, now, answer: EpochAnswer::default(), scores: HashMap::new(), sum: 0 }
    }

    fn decode(&mut self, record: &Record) -> Update {
        match self.intake.decode(line(record).to_string().as_bytes()).expect("a record").item {
            Item::Update(update) => update,
            _ => unreachable!("no heartbeats are said"),
        }
    }
}

/// A household's part of the sum.
fn part(household: HouseholdKey, scores: &Scores) -> i64 {
    summand(household.anchor(), (scores.score, scores.category.into()))
}

impl Peer for Engine<'_> {
    type Ready = Vec<Update>;

    fn prepare(&mut self, records: Vec<Record>) -> Vec<Update> {
        records.iter().map(|record| self.decode(record)).collect()
    }

    fn take(&mut self, updates: &mut Vec<Update>) {
        self.house.submit(updates);
    }

    fn conclude(&mut self) {
        self.answer = self.house.close(self.worker);
    }

    fn answer(&mut self) -> (u64, i64) {
        if self.scores.is_empty() {
            let scores = &mut self.scores;
            self.house.judgements(&self.now, |household, _, judgement| scores.extend([(household, judgement.scores())]));
            self.sum = scores.iter().map(|(household, scores)| part(*household, scores)).sum();
            return (self.scores.len() as u64, self.sum);
        }
        for (household, now) in &self.answer.rejudged {
            let now = now.expect("no household ends here");
            let before = self.scores.insert(*household, now).expect("nor begins");
            self.sum += part(*household, &now) - part(*household, &before);
        }
        (self.answer.rejudged.len() as u64, self.sum)
    }
}

/// A record as its agency would send it.
fn line(record: &Record) -> Value {
    let Record { register, person, item, version, values } = record;
    let (name, fields) = names(*register);
    let key = match register {
        Register::Person => "person".to_owned(),
        Register::Parent => person.to_string(),
        _ => item.to_string(),
    };
    let mut line = json!({ "register": name, "key": key, "seq": version, "op": "upsert", "event_date": "2025-12-01" });
    // Whose child somebody is, is an act, which names the people it is about itself.
    if *register != Register::Parent {
        line["person"] = person.to_string().into();
    }
    let Some(values) = values else {
        line["op"] = "delete".into();
        return line;
    };
    line["data"] = match register {
        Register::Person => json!({ "child": values[0] == 1 }),
        Register::Parent => json!({ "child": person.to_string(), "parent": values[0].to_string() }),
        _ => std::iter::once(("item", i64::from(*item))).chain(fields.iter().copied().zip(*values)).collect(),
    };
    line
}

/// A register's name in the package, and of one whose records have an item the fields beside it.
fn names(register: Register) -> (&'static str, &'static [&'static str]) {
    match register {
        Register::Person => ("register.person", &[]),
        Register::Parent => ("register.parent", &[]),
        Register::Income => ("money.income", &["kind", "amount"]),
        Register::Loan => ("money.loan", &["balance", "payment", "overdue"]),
        Register::Property => ("property.object", &["kind", "value", "area"]),
        Register::Benefit => ("money.benefit", &["kind", "amount"]),
        Register::Employment => ("work.employment", &["hours", "service", "official"]),
        Register::Study => ("learning.study", &["level", "fee"]),
        Register::Health => ("health.finding", &["kind", "days"]),
    }
}
