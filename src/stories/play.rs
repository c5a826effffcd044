//! Plays a story: writes its records, moves the date day by day, and compares what is found with what is expected.

use super::expectation::{Expectation, What};
use super::findings::{Findings, event};
use super::text::{Day, Person, Story};
use super::trace::Journal;
use super::{Complaint, Outcome};
use crate::engine::Engine;
use crate::intake::{Intake, Item, Schema};
use crate::rights::Rights;
use dataflows::model::{Change, Date, Decision, HouseholdKey, Membership, PersonId, PersonKind, Update, check_digit};
use dataflows::policy::{Evaluator, FieldType, Policy, Register, Row, Trace};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Made-up numbers have serials from here on, which registering bodies do not give out.
const FIRST_SERIAL: u64 = 9000;

/// How a story is told.
pub enum Telling<'t> {
    /// To the end, whatever fails on the way.
    Whole,
    /// Until something fails.
    UntilWrong,
    /// To the end, with everything that is found on its days.
    Traced(&'t mut Journal),
}

/// Tells a story.
pub fn play(policy: &Arc<Policy>, story: &Story, telling: Telling<'_>) -> Outcome {
    let mut stage = Stage::new(policy, story, telling);
    for (name, person) in &story.people {
        stage.introduce(name, person);
    }
    for (name, person) in &story.people {
        stage.write_person(name, person, 0);
    }
    let mut days = story.days.iter().peekable();
    while let Some(day) = days.next().filter(|_| stage.goes_on()) {
        stage.day(day);
        let until = days.peek().map_or(day.date, |next| Date(next.date.0 - 1));
        (day.date.0 + 1..=until.0).for_each(|date| stage.quiet_day(Date(date), day.line));
    }
    Outcome { file: story.file.clone(), title: story.title.clone(), complaints: stage.complaints, shown: stage.shown }
}

struct Stage<'a> {
    policy: &'a Arc<Policy>,
    file: &'a str,
    telling: Telling<'a>,
    engine: Engine,
    intake: Intake,
    evaluator: Evaluator,
    names: BTreeMap<String, PersonId>,
    serial: u64,
    /// The version last given of each record.
    versions: BTreeMap<(String, String, String), u64>,
    updates: Vec<Update>,
    silent: Vec<u16>,
    rights: Rights,
    /// Faults of today, by word and person.
    faults: BTreeMap<(String, PersonId), isize>,
    /// Benefits that the story names: their changes must all be told.
    watched: BTreeSet<u16>,
    complaints: Vec<Complaint>,
    shown: BTreeSet<(super::Event, String)>,
}

impl<'a> Stage<'a> {
    fn new(policy: &'a Arc<Policy>, story: &'a Story, telling: Telling<'a>) -> Self {
        let named = story.days.iter().flat_map(|day| &day.expect).filter_map(|(_, expectation)| policy.benefit(expectation.benefit()?));
        Stage {
            policy,
            file: &story.file,
            telling,
            engine: Engine::start(policy.clone(), 1),
            intake: Intake::new(Arc::new(Schema::from(&**policy))),
            evaluator: Evaluator::new(policy.clone()),
            names: BTreeMap::new(),
            serial: 0,
            versions: BTreeMap::new(),
            updates: Vec::new(),
            silent: Vec::new(),
            rights: Rights::default(),
            faults: BTreeMap::new(),
            watched: named.collect(),
            complaints: Vec::new(),
            shown: BTreeSet::new(),
        }
    }

    fn goes_on(&self) -> bool {
        self.complaints.is_empty() || !matches!(self.telling, Telling::UntilWrong)
    }

    fn complain(&mut self, line: usize, expected: impl Into<String>, found: impl Into<String>) {
        let complaint = Complaint { file: self.file.to_owned(), line, expected: expected.into(), found: found.into() };
        self.complaints.push(complaint);
    }

    fn day(&mut self, day: &Day) {
        if let Some(silent) = &day.silent {
            self.silent.clear();
            for register in silent {
                match self.policy.register(register) {
                    Some(register) => self.silent.push(register),
                    None => self.complain(day.line, "a register that keeps silent", format!("no register {register}")),
                }
            }
        }
        for (line, give) in &day.give {
            self.give(*line, give);
        }
        let changes = self.turn(day.date);
        let unmet = self.compare(&changes, &day.expect, day.line);
        self.complaints.extend(unmet);
        for (_, expectation) in &day.expect {
            if let What::Happened { event, benefit, .. } = &expectation.what {
                self.shown.insert((*event, benefit.clone()));
            }
        }
    }

    /// A day after the one told on this line, on which nothing is given and nothing expected.
    fn quiet_day(&mut self, date: Date, line: usize) {
        let changes = self.turn(date);
        if changes.iter().any(|change| self.watched.contains(&change.decision.benefit)) {
            let unexpected = self.compare(&changes, &[], line);
            self.complaints.extend(unexpected);
        }
    }

    /// Moves the date: every register that is not silent is heard, and the day's records are judged.
    fn turn(&mut self, date: Date) -> Vec<Change> {
        self.engine.set_date(date);
        for register in (0..self.policy.registers.len() as u16).filter(|register| !self.silent.contains(register)) {
            self.engine.hear(register, date);
        }
        if !self.updates.is_empty() {
            self.engine.submit(std::mem::take(&mut self.updates));
        }
        let output = self.engine.commit();
        for (fault, sign) in output.faults {
            *self.faults.entry((self.policy.describe(fault.kind).0.to_owned(), fault.person)).or_default() += sign;
        }
        self.faults.retain(|_, count| *count != 0);
        let mut told = Vec::new();
        self.rights.fold(output.changes, |change| told.push(change.clone()));
        told
    }

    /// Sentences that do not hold, and changes that no sentence tells.
    fn compare(&mut self, changes: &[Change], expect: &[(usize, Expectation)], line: usize) -> Vec<Complaint> {
        let decisions: Vec<Decision> = self.rights.standing().to_vec();
        let mut findings = Findings {
            policy: self.policy,
            names: &self.names,
            households: self.engine.members().map(|(household, person, _)| (person, household)).collect(),
            judgements: self.engine.judgements().map(|(household, _, judgement)| (household, judgement)).collect(),
            values: self.engine.person_values().collect(),
            decisions: &decisions,
            faults: &self.faults,
            changes,
            traces: BTreeMap::new(),
        };
        let named = expect.iter().filter_map(|(_, expectation)| self.names.get(&expectation.name));
        let looked_at: Vec<&PersonId> = match self.telling {
            Telling::Traced(_) => self.names.values().collect(),
            Telling::Whole | Telling::UntilWrong => named.collect(),
        };
        for person in looked_at {
            let household = findings.households.get(person).copied();
            findings.traces.insert(*person, traces(self.policy, &self.engine, &mut self.evaluator, *person, household));
        }
        if let Telling::Traced(journal) = &mut self.telling {
            journal.write(self.engine.today(), &findings);
        }
        let complaint = |line: usize, expected: String, found: String| Complaint { file: self.file.to_owned(), line, expected, found };
        let unmet = expect.iter().filter_map(|(line, expectation)| {
            let found = findings.check(expectation).err()?;
            Some(complaint(*line, expectation.sentence.clone(), found))
        });
        let untold = changes.iter().filter(|change| self.watched.contains(&change.decision.benefit) && event(change).is_some()).filter_map(
            |change| {
                let (name, benefit) =
                    (findings.name(change.decision.person), &self.policy.benefits[usize::from(change.decision.benefit)].id);
                let told = expect.iter().any(|(_, expectation)| expectation.accounts_for(&name, benefit));
                let found = findings.tell(change).filter(|_| !told)?;
                Some(complaint(line, format!("no such change on {}", self.engine.today()), found))
            },
        );
        unmet.chain(untold).collect()
    }
}

/// The conditions of a person's own rights, and of their household's.
fn traces(policy: &Policy, engine: &Engine, evaluator: &mut Evaluator, person: PersonId, household: Option<HouseholdKey>) -> Vec<Trace> {
    let now = engine.circumstances();
    let environment = policy.environment(now.today, &now.feeds);
    let nobody = || Row { values: vec![0; policy.slots], ..Row::default() };
    let row = household.and_then(|household| engine.row(household)).unwrap_or_else(nobody);
    let (file, place) = engine.file(person).unwrap_or((Box::default(), Membership::OUTSIDE));
    evaluator.trace(&environment, person, &file, place.role, &row)
}

// What the story gives becomes lines, as feeds would bring them.
impl Stage<'_> {
    /// Gives somebody a number.
    fn introduce(&mut self, name: &str, person: &Person) {
        let id = match self.policy.person {
            PersonKind::Iin => made_up_number(person, &mut self.serial),
            PersonKind::Integer => {
                self.serial += 1;
                self.serial
            }
        };
        self.names.insert(name.to_owned(), id);
    }

    /// The records that the package's template writes of a person.
    fn write_person(&mut self, name: &str, person: &Person, line: usize) {
        let number = |name: &String| self.names.get(name).map(|id| self.policy.person.format(*id));
        let known = [
            ("name", Some(name.to_owned())),
            ("id", number(&name.to_owned())),
            ("born", Some(person.born.to_string())),
            ("sex", person.sex.clone()),
            ("address", person.address.clone()),
            ("mother", person.mother.as_ref().and_then(number)),
            ("father", person.father.as_ref().and_then(number)),
        ];
        for parent in [&person.mother, &person.father].into_iter().flatten().filter(|parent| !self.names.contains_key(*parent)) {
            let complaint = Complaint {
                file: self.file.to_owned(),
                line,
                expected: format!("parents of {name}"),
                found: format!("nobody called {parent}"),
            };
            self.complaints.push(complaint);
        }
        for row in &self.policy.story_people {
            let row = toml::Value::Table(row.clone());
            if let Some(Value::Object(row)) = fill(&row, &|name| known.iter().find(|(known, _)| *known == name)?.1.clone()) {
                self.line(row, Some(person.born), line);
            }
        }
    }

    /// Records of a day: people by name, months as ranges, several owners at once.
    fn give(&mut self, line: usize, give: &toml::Table) {
        let Some(register) = give.get("register").and_then(toml::Value::as_str) else {
            return self.complain(line, "register = \"…\"", "none");
        };
        let Some(index) = self.policy.register(register) else {
            return self.complain(line, "a register of the package", register);
        };
        let policy = self.policy.clone();
        let register = &policy.registers[usize::from(index)];
        let mut give = give.clone();
        self.meet(register, &mut give, line);
        let owners = match give.remove("person") {
            Some(toml::Value::Array(owners)) => owners.into_iter().map(Some).collect(),
            owner => vec![owner],
        };
        for owner in owners {
            let mut give = give.clone();
            give.extend(owner.map(|owner| ("person".to_owned(), owner)));
            for record in months(register, give) {
                match self.record(register, record) {
                    Ok((row, event_date)) => self.line(row, event_date, line),
                    Err(found) => self.complain(line, "a record", found),
                }
            }
        }
    }

    /// Somebody named for the first time, with `sex` and `born` beside: a new person.
    fn meet(&mut self, register: &Register, give: &mut toml::Table, line: usize) {
        let is_field = |name: &str| register.fields.iter().any(|field| field.name == name);
        let sex = if is_field("sex") { None } else { give.remove("sex") };
        let born = give.get("born").and_then(|born| Date::parse(&text(born)));
        let (Some(sex), Some(born)) = (sex, born) else {
            return;
        };
        if !is_field("born") {
            give.remove("born");
        }
        let people = register.fields.iter().filter(|field| field.kind == FieldType::Person);
        let new = people.filter_map(|field| give.get(&field.name)?.as_str()).find(|name| !self.names.contains_key(*name));
        if let Some(name) = new.map(str::to_owned) {
            let person = Person { sex: Some(text(&sex)), born, mother: None, father: None, address: None };
            self.introduce(&name, &person);
            self.write_person(&name, &person, line);
        }
    }

    /// A record of the story as a line's object, and the date of its event.
    fn record(&self, register: &Register, give: toml::Table) -> Result<(Map<String, Value>, Option<Date>), String> {
        let number = |name: &str| match self.names.get(name) {
            Some(id) => Ok(self.policy.person.format(*id)),
            None => Err(format!("nobody called {name}")),
        };
        let mut row = Map::new();
        let mut data = Map::new();
        for (name, value) in &give {
            let field = register.fields.iter().find(|field| field.name == *name);
            let value = match (name.as_str(), value) {
                ("person", toml::Value::String(name)) => number(name)?.into(),
                (_, toml::Value::String(name)) if field.is_some_and(|field| field.kind == FieldType::Person) => number(name)?.into(),
                (_, value) => to_json(value),
            };
            match name.as_str() {
                "register" | "key" | "seq" | "op" | "event_date" => row.insert(name.clone(), value),
                "person" if field.is_none() || !register.global => row.insert(name.clone(), value),
                _ => data.insert(name.clone(), value),
            };
        }
        if !row.contains_key("key") {
            let template = toml::Value::String(register.key.clone());
            let key = fill(&template, &|name| Some(plain(data.get(name).or_else(|| row.get(name))?)));
            row.insert("key".into(), key.ok_or_else(|| format!("no key: {} asks for {}", register.id, register.key))?);
        }
        let event_date = event_date(register, &data);
        let deleted = row.get("op").is_some_and(|op| op == "delete");
        if !deleted {
            row.insert("data".into(), Value::Object(data));
        }
        Ok((row, event_date.filter(|_| !deleted)))
    }

    /// Hands a line to the door.
    fn line(&mut self, mut row: Map<String, Value>, event_date: Option<Date>, line: usize) {
        if let (None, Some(date)) = (row.get("event_date"), event_date) {
            row.insert("event_date".into(), date.to_string().into());
        }
        if !row.contains_key("seq") {
            let part = |name: &str| row.get(name).map(plain).unwrap_or_default();
            let version = self.versions.entry((part("register"), part("person"), part("key"))).or_default();
            *version += 1;
            let version = *version;
            row.insert("seq".into(), version.into());
        }
        row.entry("op").or_insert_with(|| json!("upsert"));
        let row = Value::Object(row).to_string();
        match self.intake.decode(row.as_bytes()).map(|decoded| decoded.item) {
            Ok(Item::Update(update)) => self.updates.push(update),
            Ok(_) => self.complain(line, "a record", row),
            Err(rejection) => self.complain(line, "a record", format!("{}: {} in {row}", rejection.field, rejection.reason)),
        }
    }
}

/// A number that nobody has: the birth date, the century and sex, a high serial, and the right check digit.
fn made_up_number(person: &Person, serial: &mut u64) -> PersonId {
    let (year, month, day) = person.born.ymd();
    let century = (year / 100 - 18).clamp(0, 2) as u64 * 2 + if person.sex.as_deref() == Some("F") { 2 } else { 1 };
    let start = ((year as u64 % 100 * 100 + u64::from(month)) * 100 + u64::from(day)) * 10 + century;
    loop {
        let eleven = start * 10_000 + FIRST_SERIAL + *serial;
        *serial += 1;
        let digits = std::array::from_fn(|index| (eleven / 10_u64.pow(10 - index as u32) % 10) as u32);
        if let Some(check) = check_digit(&digits) {
            return eleven * 10 + u64::from(check);
        }
    }
}

/// A range of months, `2025-10..2025-12`, as one record a month.
fn months(register: &Register, give: toml::Table) -> Vec<toml::Table> {
    let is_month = |name: &str| register.fields.iter().any(|field| field.name == name && field.kind == FieldType::Month);
    let range = give.iter().find_map(|(name, value)| {
        let (first, last) = value.as_str()?.split_once("..").filter(|_| is_month(name))?;
        let day = |month: &str| Date::parse(&format!("{month}-01"));
        Some((name.clone(), day(first)?, day(last)?))
    });
    let Some((name, first, last)) = range else {
        return vec![give];
    };
    let dates = std::iter::successors(Some(first), |month| Some(month.add_months(1))).take_while(|month| *month <= last);
    dates
        .map(|month| {
            let mut give = give.clone();
            give.insert(name.clone(), month.to_string()[..7].into());
            give
        })
        .collect()
}

/// The last day of the period's month, else the first date that the record gives.
fn event_date(register: &Register, data: &Map<String, Value>) -> Option<Date> {
    let period = register.period.map(|position| &register.fields[register.packed[position]]);
    if let Some(month) = period.and_then(|field| data.get(&field.name)?.as_str()) {
        return Some(Date(Date::parse(&format!("{month}-01"))?.add_months(1).0 - 1));
    }
    let dates = register.fields.iter().filter(|field| field.kind == FieldType::Date);
    dates.filter_map(|field| data.get(&field.name)?.as_str().and_then(Date::parse)).next()
}

/// Fills `{name}` placeholders; nothing when a name has no value.
fn fill(template: &toml::Value, value: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    Some(match template {
        toml::Value::String(text) => {
            let (mut filled, mut rest) = (String::new(), text.as_str());
            while let Some((before, after)) = rest.split_once('{') {
                let (name, following) = after.split_once('}')?;
                filled += before;
                filled += &value(name)?;
                rest = following;
            }
            (filled + rest).into()
        }
        toml::Value::Table(table) => {
            let entries = table.iter().map(|(name, template)| Some((name.clone(), fill(template, value)?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
        other => to_json(other),
    })
}

fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        other => text(other).into(),
    }
}

fn text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
