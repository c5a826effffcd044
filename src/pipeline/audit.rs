//! The audit: families picked at random are computed once more, by the twin, from what is known of them now, and compared.
//!
//! They are picked at a moment that is held still; what the engine concluded of them is asked there, and the records of everybody on whom that
//! may rest: their relatives, who is registered where they are, and so on. The twin (`fixtures/src/twin`) is told these records and nothing
//! else. What it says of the families must be the same. It panics at what it does not know, so a copy of the process asks it: the end of that
//! one is a failed audit, and no more.

use super::Failure;
use super::metrics::{LeftOut, LeftOutFor, Metrics};
use super::moment::Moment;
use super::questions::Questions;
use crate::beside::Beside;
use crate::packages::{Packages, fingerprint};
use dataflows::decisions::{ground_text, standing};
use dataflows::model::{Date, HouseholdKey, Outcome, PersonId, Role};
use dataflows::policy::file::{self, ABSENT, Record};
use dataflows::policy::{Environment, Evaluator, FieldType, Judgement, Policy};
use dataflows::ties::address;
use fixtures::twin::{Twin, World};
use hashbrown::{HashMap, HashSet};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How far what is known of a family reaches: to relatives and neighbours, and to those of theirs.
const STEPS: usize = 3;
/// A family on which more people than this have a bearing is left out: the twin would take too long.
const PEOPLE_MAX: usize = 400;

/// Between two audits; at least this long for each second that one takes.
const PAUSE: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(10);
/// Where it is written what differs, a JSON object a line.
const FILE: &str = "audit.ndjson";

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    pub families: usize,
    /// What the engine and the twin say of families on which they differ.
    pub differing: Vec<Value>,
    /// How many were picked and left out, and why.
    pub left_out: BTreeMap<LeftOut, usize>,
}

/// Audits families, and tells what comes of it: in measures, and where engine and twin differ in a file.
#[derive(Clone)]
pub struct Auditor {
    pub(super) questions: Questions,
    pub(super) packages: Packages,
    pub(super) metrics: Arc<Metrics>,
}

impl Auditor {
    /// Audits so many families, which `seed` picks, but for those that are left out.
    pub fn audit(&self, families: usize, seed: u64) -> Result<Audited, Failure> {
        let audited = self.compare(families, seed);
        self.metrics.audits_failed.inc_by(u64::from(audited.is_err()));
        let audited = audited?;
        self.tell(&audited);
        Ok(audited)
    }

    fn compare(&self, families: usize, seed: u64) -> Result<Audited, Failure> {
        let at = |error| Failure::Folder { path: self.questions.data.clone(), error };
        let Sample { moment, package, families, left_out } = Sample::take(self.questions.moment()?, families, seed).map_err(at)?;
        let texts = self.packages.load(&package).map_err(at)?.texts;
        let told = families.iter().map(|(engine, lines)| (engine["household"].as_str().unwrap_or_default().to_owned(), lines.clone()));
        let by_twin = moment.by_twin(texts, told.collect()).map_err(at)?;
        let mut audited = Audited { families: families.len(), left_out, ..Audited::default() };
        for ((engine, _), by_twin) in families.into_iter().zip(by_twin) {
            let by_twin: Value = serde_json::from_str(&by_twin).map_err(|error| at(error.into()))?;
            if by_twin != engine {
                audited.differing.push(json!({ "engine": engine, "twin": by_twin }));
            }
        }
        Ok(audited)
    }

    /// Counts what was audited; where engine and twin differ, what both say goes into a file of the data folder.
    fn tell(&self, audited: &Audited) {
        self.metrics.audited.inc_by(audited.families as u64);
        self.metrics.audits_differing.inc_by(audited.differing.len() as u64);
        for (&reason, &families) in &audited.left_out {
            self.metrics.audits_left_out.get_or_create(&LeftOutFor { reason }).inc_by(families as u64);
        }
        if audited.differing.is_empty() {
            return;
        }
        let path = self.questions.data.join(FILE);
        tracing::error!(families = audited.differing.len(), file = %path.display(), "the twin says something else than the engine");
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| audited.differing.iter().try_for_each(|row| writeln!(file, "{row}")));
        if let Err(error) = written {
            tracing::error!(%error, "what differs cannot be written");
        }
    }

    /// Audits some families each minute, until what this gives is dropped.
    pub(super) fn begin(self, families: usize) -> Beside {
        Beside::start("auditor", move |end| {
            let mut pause = PAUSE;
            while families > 0 && end.rest(pause) {
                let begun = Instant::now();
                // Whom it falls upon need not be known before, nor after.
                let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
                if let Err(failure) = self.audit(families, seed) {
                    tracing::error!(%failure, "no audit");
                }
                // Copies look at everybody: of a whole country not every minute.
                pause = PAUSE.max(REST * begun.elapsed().as_secs() as u32);
            }
        })
    }
}

/// What is to be compared.
struct Sample {
    moment: Moment,
    /// The fingerprint of the package in force.
    package: String,
    /// Of each family what the engine concluded, and what is known of everybody on whom that may rest, as agencies would say it.
    families: Vec<(Value, Vec<String>)>,
    left_out: BTreeMap<LeftOut, usize>,
}

/// A family that was picked, and everybody on whom what is concluded of it may rest.
struct Family {
    household: HouseholdKey,
    members: BTreeMap<PersonId, Role>,
    concerned: BTreeSet<PersonId>,
}

/// What is known of whom at a moment, as far as it was asked.
struct Known {
    moment: Moment,
    policy: Arc<Policy>,
    environment: Environment,
    /// Nothing of those of whom nothing is known.
    files: HashMap<PersonId, Option<Box<[u8]>>>,
}

impl Sample {
    fn take(moment: Moment, families: usize, seed: u64) -> io::Result<Sample> {
        let policy = moment.policy.clone();
        let environment = policy.environment(moment.now.today, &moment.now.feeds);
        let mut known = Known { moment, policy, environment, files: HashMap::new() };
        let mut families = known.pick(families, seed)?;
        let mut left_out = BTreeMap::new();
        for _ in 0..STEPS {
            known.reach_further(&mut families)?;
            families.retain(|family| is_audited(family, &known.moment.several, &mut left_out));
        }
        known.learn(&families)?;
        let package = fingerprint(&known.policy);
        let lines = |known: &Known, family: &Family| known.lines(&family.concerned).iter().map(Value::to_string).collect();
        let told = families.iter().map(|family| Ok((known.concluded(family)?, lines(&known, family))));
        let families = told.collect::<io::Result<_>>()?;
        Ok(Sample { moment: known.moment, package, families, left_out })
    }
}

/// Whether a family is, as far as is known of whom it concerns; if not, it is counted. What is known of people with several numbers the engine keeps by the
/// number under which it came, and no copy of a house has it.
fn is_audited(family: &Family, several: &BTreeSet<PersonId>, left_out: &mut BTreeMap<LeftOut, usize>) -> bool {
    let reason = match () {
        _ if family.concerned.len() > PEOPLE_MAX => LeftOut::ManyPeople,
        _ if !family.concerned.is_disjoint(several) => LeftOut::SeveralNumbers,
        _ => return true,
    };
    *left_out.entry(reason).or_default() += 1;
    false
}

impl Known {
    /// Families of people who are picked by their place among all who have a family.
    fn pick(&mut self, families: usize, seed: u64) -> io::Result<Vec<Family>> {
        let housed = self.moment.housed()?;
        let mut state = seed;
        let places: BTreeSet<usize> = (0..families.min(housed))
            .map(|_| {
                // A step of a linear congruential generator is chance enough to pick by.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % housed
            })
            .collect();
        let households = self.moment.households(&places)?;
        let mut members: BTreeMap<HouseholdKey, BTreeMap<PersonId, Role>> = BTreeMap::new();
        for (person, place) in self.moment.members(&households)? {
            members.entry(place.household).or_default().insert(person, place.role);
        }
        let family = |(household, members): (HouseholdKey, BTreeMap<PersonId, Role>)| Family {
            household,
            concerned: members.keys().copied().collect(),
            members,
        };
        Ok(members.into_iter().map(family).collect())
    }

    /// Asks for the files of everybody concerned.
    fn learn(&mut self, families: &[Family]) -> io::Result<()> {
        let concerned = families.iter().flat_map(|family| &family.concerned);
        let new: BTreeSet<PersonId> = concerned.copied().filter(|person| !self.files.contains_key(person)).collect();
        let mut files = self.moment.files(new.clone())?;
        self.files.extend(new.into_iter().map(|person| (person, files.remove(&person).map(|(file, _)| file))));
        Ok(())
    }

    fn file(&self, person: PersonId) -> Option<&[u8]> {
        self.files.get(&person)?.as_deref()
    }

    /// Adds everybody whom a record of somebody concerned names, and who is registered where one of them is.
    fn reach_further(&mut self, families: &mut [Family]) -> io::Result<()> {
        self.learn(families)?;
        let (mut homes, mut fields) = (BTreeMap::<u64, BTreeSet<usize>>::new(), Vec::new());
        for (index, family) in families.iter_mut().enumerate() {
            let mut named = Vec::new();
            for person in &family.concerned {
                let Some(file) = self.file(*person) else { continue };
                homes.entry(address(&self.policy, &self.environment, *person, file, &mut fields)).or_default().insert(index);
                let records = file::records(file).filter(|record| record.register != self.policy.kin_register);
                named.extend(records.flat_map(|record| self.named(&record)));
            }
            family.concerned.extend(named);
        }
        for (address, person) in self.moment.residents(homes.keys().copied().collect())? {
            for index in &homes[&address] {
                families[*index].concerned.insert(person);
            }
        }
        Ok(())
    }

    fn values(&self, record: &Record<'_>) -> Vec<i64> {
        let register = &self.policy.registers[usize::from(record.register)];
        let mut values = vec![ABSENT; register.packed.len()];
        record.unpack(&register.packing, &mut values);
        values
    }

    /// Whom a record names.
    fn named(&self, record: &Record<'_>) -> Vec<PersonId> {
        let register = &self.policy.registers[usize::from(record.register)];
        let values = self.values(record);
        let is_person = |position: &usize| register.fields[register.packed[*position]].kind == FieldType::Person;
        let named = (0..values.len()).filter(is_person).filter(|position| values[*position] != ABSENT);
        named.map(|position| values[position].unsigned_abs()).collect()
    }

    /// What the engine concluded of a family.
    fn concluded(&mut self, Family { household, members, .. }: &Family) -> io::Result<Value> {
        let (policy, household) = (self.policy.clone(), *household);
        let mut judgement = Judgement::default();
        if let Some(row) = self.moment.row(household)? {
            Evaluator::new(policy.clone()).judge_with_values(&self.environment, &row, household, &mut judgement);
        }
        let rights = standing(&policy, self.moment.rights(household, members.keys().copied().collect())?);
        let person = |person: PersonId| policy.person.format(person);
        let decisions = rights.iter().filter(|decision| decision.outcome != Outcome::InDoubt).map(|decision| {
            let period = if decision.period == Date::NEVER { String::new() } else { decision.period.to_string() };
            let ground = ground_text(&policy, &decision.ground);
            json!([
                person(decision.person),
                policy.benefits[usize::from(decision.benefit)].id,
                ground,
                period,
                decision.outcome.as_str(),
                decision.amount
            ])
        });
        let points: Map<String, Value> =
            policy.criteria.iter().zip(&judgement.points).map(|(criterion, points)| (criterion.id.clone(), (*points).into())).collect();
        let level = policy.level_letters.get(usize::from(judgement.level)).cloned().unwrap_or_default();
        let roles: Vec<Value> = members.iter().map(|(member, role)| json!([person(*member), role.name()])).collect();
        Ok(said(
            &household.format(policy.person),
            roles,
            points.into(),
            json!([judgement.score, judgement.category, level]),
            decisions.collect(),
        ))
    }

    /// Everything that is known of these people, as agencies would say it.
    fn lines(&self, concerned: &BTreeSet<PersonId>) -> Vec<Value> {
        let policy = &self.policy;
        let announced = |register: &str, key: &str, date: Date| json!({ "register": register, "key": key, "seq": 1, "op": "upsert", "data": { "date": date.to_string() } });
        let mut lines: Vec<Value> = self
            .moment
            .heard
            .iter()
            .map(|(register, date)| announced("heartbeat", &policy.registers[usize::from(*register)].id, *date))
            .collect();
        let mut acts = HashSet::new();
        for (person, file) in concerned.iter().filter_map(|person| Some((*person, self.file(*person)?))) {
            for record in file::records(file).filter(|record| record.register != policy.kin_register && !record.deleted()) {
                let register = &policy.registers[usize::from(record.register)];
                let key = record.key(&register.packing);
                if register.global && !acts.insert((record.register, key.clone())) {
                    continue;
                }
                let mut data = Map::new();
                for (position, value) in self.values(&record).into_iter().enumerate().filter(|(_, value)| *value != ABSENT) {
                    let field = &register.fields[register.packed[position]];
                    data.insert(field.name.clone(), self.shown(&field.kind, value));
                }
                let mut line = json!({ "register": register.id, "key": key, "seq": 1, "op": "upsert", "data": data });
                line["event_date"] = record.event_date().unwrap_or(self.moment.now.today).to_string().into();
                if !register.global {
                    line["person"] = policy.person.format(person).into();
                }
                lines.push(line);
            }
        }
        lines.push(announced("calendar", "today", self.moment.now.today));
        lines
    }

    fn shown(&self, kind: &FieldType, value: i64) -> Value {
        match kind {
            FieldType::Person => self.policy.person.format(value.unsigned_abs()).into(),
            FieldType::Date => Date(value as i32).to_string().into(),
            FieldType::Month => Date(value as i32).to_string()[..7].into(),
            FieldType::Bool => (value != 0).into(),
            FieldType::Enum(words) => words[value as usize].as_str().into(),
            // Of an identifier a hash is kept: all that matters of it is whether two are the same.
            FieldType::Id | FieldType::Text => value.to_string().into(),
            FieldType::Int | FieldType::Money => value.into(),
        }
    }
}

/// What is said of a family, so that it can be compared.
fn said(household: &str, mut roles: Vec<Value>, points: Value, scores: Value, mut decisions: Vec<Value>) -> Value {
    [&mut roles, &mut decisions].into_iter().for_each(|rows| rows.sort_by_key(Value::to_string));
    json!({ "household": household, "members": roles, "points": points, "scores": scores, "decisions": decisions })
}

/// What the twin says of families under a package of these texts, each told by the lines of everybody on whom it may rest.
pub(super) fn said_by_twin(texts: &[(String, String)], families: &[(String, Vec<String>)]) -> Result<Vec<String>, String> {
    let said = families.iter().map(|(household, lines)| {
        let mut twin = Twin::new(texts);
        lines.iter().try_for_each(|line| twin.feed(line.as_bytes()))?;
        Ok(by_twin(&twin.evaluate(), household).to_string())
    });
    said.collect()
}

fn by_twin(world: &World, household: &str) -> Value {
    let of_household = world.persons.iter().filter(|(_, view)| view.household == household);
    let roles = of_household.map(|(person, view)| json!([person, view.role])).collect();
    let decisions = world.decisions.iter().filter(|decision| decision.household == household).map(|decision| {
        let period = decision.period.map(|period| period.to_string()).unwrap_or_default();
        json!([decision.person, decision.benefit, decision.ground, period, decision.outcome, decision.amount])
    });
    let judged = world.households.get(household);
    let number = |number: Option<i64>| number.unwrap_or(0);
    let level = judged.and_then(|judged| judged.level).map(String::from).unwrap_or_default();
    let scores = judged.map(|judged| json!([number(judged.score), number(judged.category), level]));
    said(household, roles, json!(judged.map(|judged| &judged.points)), scores.unwrap_or_default(), decisions.collect())
}
