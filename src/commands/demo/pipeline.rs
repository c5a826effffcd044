//! The whole path in one process: lines in, through intake, engine and ledger, to texts and cases, and back.

use super::family::Family;
use super::tally::Tally;
use crate::dispatch::{Heard, Kind, Listener, Terms};
use crate::engine::{Engine, EpochOutput};
use crate::intake::{Intake, Item, Schema};
use crate::ledger::{Effects, Ledger, Message, Resettled};
use dataflows::model::{Date, Update};
use dataflows::policy::Policy;
use dataflows::policy::file::Record;
use fixtures::agency::{Agency, Answer, Request};
use fixtures::phones::{Ask, Funnel, Incoming, MINUTES_PER_DAY, Network, Submission, Weather};
use std::sync::Arc;

/// Of a thousand cases the pretend agency refuses so many.
const REFUSED_PERMILLE: u64 = 30;
/// Receipts that the pretend network loses, and deliveries that it makes twice: enough to show that neither matters.
const WEATHER: Weather = Weather { lost: 0.01, doubled: 0.01 };
/// Working days that the agency takes for a case: one, and from three to eight for what it pays by the quarter (domain.md 6.2).
const CASE_DAYS: (i32, i32) = (1, 1);
const QUARTER_CASE_DAYS: (i32, i32) = (3, 8);

/// Everything between the agencies' feeds and people's phones, and the pretend world on both ends.
pub struct Pipeline {
    policy: Arc<Policy>,
    intake: Intake,
    listener: Listener,
    engine: Engine,
    ledger: Ledger,
    network: Network,
    agency: Agency,
    /// Updates and news of the epoch under way.
    updates: Vec<Update>,
    heard: Vec<Heard>,
    pub family: Family,
    pub tally: Tally,
}

impl Pipeline {
    pub fn new(policy: Arc<Policy>, seed: u64, funnel: Funnel, family: Family) -> Self {
        let assignments = policy.assignment.map_or(String::new(), |place| policy.registers[usize::from(place.register)].id.clone());
        Pipeline {
            intake: Intake::new(Arc::new(Schema::from(&*policy))),
            listener: Listener::new(&policy, &Terms::from(&*policy)),
            engine: Engine::start(policy.clone(), 1),
            ledger: Ledger::new(Terms { allow_assumed: true, ..Terms::from(&*policy) }),
            network: Network::new(seed, funnel, WEATHER),
            agency: Agency::new(seed, &assignments, REFUSED_PERMILLE),
            policy,
            updates: Vec::new(),
            heard: Vec::new(),
            family,
            tally: Tally::default(),
        }
    }

    /// Loads lines without closing the epoch.
    pub fn load(&mut self, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.take(line);
        }
        self.engine.submit(std::mem::take(&mut self.updates));
    }

    /// What has been loaded is the baseline; from here on people are written to.
    pub fn go_live(&mut self) {
        self.commit(0);
        self.ledger.end_date();
        self.tally.forget_changes();
        self.ledger.go_live();
        self.tally.people = self.engine.sizes().store("people").keys;
        self.family.phone.into_iter().for_each(|phone| self.network.make_eager(phone));
    }

    /// What the agencies' day begins with: the date, heartbeats, and the pretend agency's answers to cases.
    pub fn morning(&mut self, date: Date, lines: &[&[u8]]) {
        for answer in self.agency.answers(date) {
            self.answer(date, answer);
        }
        self.epoch(lines, minute(date, 0.0));
        self.tally.begin_day();
    }

    /// One epoch: lines of the agencies and whatever has come from phones by now. Whether there was anything.
    pub fn epoch(&mut self, lines: &[&[u8]], now: i64) -> bool {
        for incoming in self.network.due(now) {
            self.incoming(incoming);
        }
        lines.iter().for_each(|line| self.take(line));
        let anything = !lines.is_empty() || !self.heard.is_empty() || !self.updates.is_empty();
        if anything {
            self.commit(now);
        }
        anything
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Decodes a line into the open epoch; a line that is refused is counted.
    fn take(&mut self, line: &[u8]) {
        self.tally.records += 1;
        let Ok(decoded) = self.intake.decode(line) else {
            self.tally.refused += 1;
            return;
        };
        if let Some(contact) = decoded.contact {
            let heard = self.listener.contact(contact.person, contact.seq, &contact.phone, &contact.language);
            self.family.contact(&heard);
            self.heard.push(heard);
        }
        match decoded.item {
            Item::Update(update) => {
                let record = Record::read(&update.record);
                self.family.record(self.engine.today(), &self.policy.registers[usize::from(update.register)], &record, update.person, line);
                self.heard.extend(self.listener.hear(&update));
                self.updates.push(update);
            }
            Item::Calendar(date) => self.engine.set_date(date),
            Item::Heartbeat { register, date } => self.engine.hear(register, date),
        }
    }

    fn commit(&mut self, now: i64) {
        self.engine.submit(std::mem::take(&mut self.updates));
        let output = self.engine.commit();
        let mut heard = std::mem::take(&mut self.heard);
        heard.extend(output.renumbered.iter().copied().map(Heard::Renumbered));
        self.family.changes(output.date, &output.changes, &self.policy);
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let effects = self.ledger.apply(output.epoch, output.date, resettled, &output.changes, &heard);
        self.tally.epoch(&output);
        self.act(&output, &effects, now);
    }

    /// Cases to the agency, texts to the network.
    fn act(&mut self, output: &EpochOutput, effects: &Effects, now: i64) {
        for case in &effects.cases_opened {
            let request = self.request(case);
            self.agency.open(output.date, request);
        }
        effects.cases_withdrawn.iter().for_each(|case| self.agency.withdraw(*case));
        self.tally.cases += effects.cases_opened.len() as u64;
        self.tally.notes += effects.notes.len() as u64;
        for event in &effects.families {
            *self.tally.fates.entry(event.fate.name()).or_default() += 1;
        }
        for message in self.ledger.submit(usize::MAX) {
            self.tally.text(message.text.kind);
            self.family.sent(&message);
            self.network.submit(now, &submission(&message));
        }
    }

    fn request(&self, case: &crate::dispatch::Case) -> Request {
        let terms = self.ledger.desk().terms();
        let by_quarter = terms.benefit(case.right.benefit).period == dataflows::policy::Period::Quarter;
        Request {
            id: case.id,
            person: terms.person.format(case.right.person),
            benefit: terms.benefit(case.right.benefit).id.clone(),
            ground: terms.ground(&case.right.ground),
            amount: case.amount,
            from: case.from,
            until: case.until,
            working_days: if by_quarter { QUARTER_CASE_DAYS } else { CASE_DAYS },
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        self.heard.push(match incoming {
            Incoming::Receipt { message } => Heard::Receipt { message, delivered: true },
            Incoming::Reply { id, phone, text } => {
                self.family.reply(self.engine.today(), phone, &text);
                self.tally.replies += 1;
                Heard::Reply { id, phone, text: text.into(), at: None }
            }
        });
    }

    /// The agency's answer: an assignment is a record like any other, the rest is heard by the conversation alone.
    fn answer(&mut self, date: Date, answer: Answer) {
        let named = |request: &Request| {
            let person = self.policy.person.parse(&request.person).expect("a case names the person of a decision");
            let benefit = self.policy.benefit(&request.benefit).expect("a case names the benefit of a decision");
            (person, benefit, Box::from(request.ground.as_str()))
        };
        match answer {
            Answer::Assigned { request, line } => {
                self.tally.assigned += 1;
                let (person, benefit, _) = named(&request);
                self.family.assigned(date, person, &self.policy.benefits[usize::from(benefit)], &request);
                self.take(line.as_bytes());
            }
            Answer::Refused { request, reason } => {
                let (person, benefit, ground) = named(&request);
                self.heard.push(Heard::Refusal { person, benefit, ground, reason: reason.into() });
            }
            Answer::Paid { request } => {
                let (person, benefit, ground) = named(&request);
                self.family.paid(date, person, &self.policy.benefits[usize::from(benefit)]);
                self.heard.push(Heard::Payment { person, benefit, ground });
            }
        }
    }
}

/// Minutes since 1970-01-01, so far into the day. People are written to from nine in the morning to nine in the evening.
pub fn minute(date: Date, share: f64) -> i64 {
    const MORNING: i64 = 9 * 60;
    const WAKING: f64 = 12.0 * 60.0;
    i64::from(date.0) * MINUTES_PER_DAY + MORNING + (share * WAKING) as i64
}

fn submission(message: &Message) -> Submission {
    let ask = match message.text.kind {
        Kind::Offer => Ask::Offer,
        Kind::Repeat => Ask::Repeat,
        Kind::Unclear => Ask::Again,
        Kind::Account | Kind::AccountRepeat => Ask::Account,
        Kind::Notice | Kind::Declined | Kind::Lapsed | Kind::Assigned | Kind::Rejected => Ask::Nothing,
    };
    Submission { id: message.id, phone: message.text.phone, ask, tag: message.text.tag }
}
