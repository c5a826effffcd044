//! What one change costs where much hangs together: a large family, a dormitory at one address, a person of thousands of records, a register
//! that is written anew; each beside the same change of somebody alone.

use super::report::{quantiles, report};
use super::{Decoded, Size, population, settle};
use crate::commands::{Failure, load_policy};
use crate::intake::{Intake, Schema};
use clap::Args;
use dataflows::House;
use dataflows::model::{Date, Update};
use dataflows::policy::Policy;
use dataflows::policy::file::{NewRecord, Record};
use fixtures::country::Country;
use fixtures::country::people::iin;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use timely::worker::Worker;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// Changes of each kind.
    #[arg(long, default_value_t = 500)]
    changes: u32,
    /// Records of a register that is written anew, several times if it has fewer: with the same content, and with another.
    #[arg(long, default_value_t = 100_000)]
    rewrite: usize,
}

const CHILDREN: u32 = 14;
const LODGERS: u32 = 4000;
const RECORDS: u32 = 5000;
/// Numbers of nobody in the country begin with this day.
const NUMBERED: Date = Date(-25_000);
/// The register that is written anew, its records of an epoch, and by how much each differs where they differ.
const REWRITTEN: &str = "enpf.contribution";
const PART: usize = 1000;
const MORE: i64 = 500;

pub fn skew(Arguments { size, changes, rewrite }: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&size.policy)?;
    let Some(rewritten) = policy.register(REWRITTEN) else {
        return Err(Failure::usage("--policy: skew knows people of the package kz alone".to_owned()));
    };
    let country = Country::new(size.persons, size.seed, size.start);
    let (size, changes, rewrite) = (size.clone(), *changes, *rewrite);
    timely::execute_directly(move |worker| {
        let house = House::build(worker, policy.clone());
        let intake = Intake::new(Arc::new(Schema::from(&*policy)));
        let mut bench = Bench { worker, house, intake, people: People::new(size.start), size };
        let (of_skew, mut register) = (Decoded::read(&mut bench.intake, bench.people.lines.as_bytes()), Vec::new());
        let of_country = population(&policy, country).inspect(|part| {
            let of_register = |update: &&Update| update.register == rewritten && !Record::read(&update.record).deleted();
            register.extend(part.updates.iter().filter(of_register).cloned());
        });
        settle(bench.worker, &mut bench.house, &policy, of_country.chain([of_skew]));
        bench.change(changes);
        let mut round = changes;
        for (of, more) in [("a register written anew with the same content", 0), ("a register written anew with another content", MORE)] {
            bench.rewrite(&policy, of, (&mut register, more), rewrite, &mut round);
        }
    });
    Ok(())
}

/// A country, and people of whom much is known.
struct Bench<'w> {
    worker: &'w mut Worker,
    house: House,
    intake: Intake,
    people: People,
    size: Size,
}

impl Bench<'_> {
    /// Each kind of change so many times, an epoch each.
    fn change(&mut self, changes: u32) {
        let mut ordinary = None;
        for (what, person, change) in self.people.changes() {
            let (mut times, mut rows) = (histogram(), 0);
            for round in 1..=changes {
                let (changed, took) = self.epoch(&change(&self.people, &person, round), &[]);
                rows += changed;
                times.saturating_record(took.as_nanos() as u64);
            }
            let median = times.value_at_quantile(0.5) as f64;
            let mut measured = quantiles(&times);
            measured.insert("of".to_owned(), json!(what));
            measured.insert("rows_changed".to_owned(), json!(rows));
            measured.insert("times_the_ordinary".to_owned(), json!(median / *ordinary.get_or_insert(median)));
            report("skew", &self.size, measured.into());
        }
    }

    /// One register is written anew under later versions, a part an epoch. In each epoch somebody alone earns otherwise too, who waits for all of it.
    fn rewrite(&mut self, policy: &Policy, of: &str, (register, more): (&mut [Update], i64), wanted: usize, round: &mut u32) {
        let (mut times, mut written, mut rows, mut seconds) = (histogram(), 0, 0, 0.0);
        while written < wanted && !register.is_empty() {
            for part in register.chunks_mut(PART).take((wanted - written).div_ceil(PART)) {
                *round += 1;
                part.iter_mut().for_each(|update| next_version(policy, update, more));
                let (changed, took) = self.epoch(&self.people.earns(&self.people.alone, *round), part);
                times.saturating_record(took.as_nanos() as u64);
                (written, rows, seconds) = (written + part.len(), rows + changed, seconds + took.as_secs_f64());
            }
        }
        let mut measured = quantiles(&times);
        let figures = json!({ "of": of, "updates": written, "batch": PART, "records_per_s": written as f64 / seconds,
                              "cpu_us_per_update": seconds * 1e6 / written as f64, "rows_changed": rows });
        measured.extend(figures.as_object().cloned().unwrap_or_default());
        report("skew", &self.size, measured.into());
    }

    /// An epoch of what this line says and of these records: how many rows changed, and how long it took.
    fn epoch(&mut self, line: &str, records: &[Update]) -> (u64, Duration) {
        let mut updates = Decoded::read(&mut self.intake, line.as_bytes()).updates;
        updates.extend_from_slice(records);
        let begun = Instant::now();
        self.house.submit(&mut updates);
        let rows = self.house.close(self.worker).rows_changed;
        (rows, begun.elapsed())
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits up to a minute")
}

/// Makes a contribution its own next version, by which so much more was paid.
fn next_version(policy: &Policy, update: &mut Update, more: i64) {
    let register = &policy.registers[usize::from(update.register)];
    let record = Record::read(&update.record);
    let (key, mut fields, mut packed) = (record.key(&register.packing), vec![0; register.packed.len()], Vec::new());
    record.unpack(&register.packing, &mut fields);
    let paid = register.packed.iter().position(|field| register.fields[*field].name == "amount");
    fields[paid.expect("a contribution is an amount")] += more;
    let (seq, event_date, shown) = (record.seq + 1, record.event_date(), record.shown());
    let next = NewRecord { register: record.register, key: &key, seq, deleted: false, event_date, shown, fields: &fields };
    next.pack(&register.packing, &mut packed);
    update.record = packed.into();
}

/// Those of whom everything is known beforehand.
struct People {
    start: Date,
    alone: String,
    mother: String,
    lodgers: Vec<String>,
    recorded: String,
    /// Everything that is known of them.
    lines: String,
}

/// A change: of what kind, of whom, and how it is written at each round.
type Change = (&'static str, String, fn(&People, &str, u32) -> String);

impl People {
    fn new(start: Date) -> People {
        let mut numbers = (0..).flat_map(|day| (9000..10_000).filter_map(move |serial| iin(Date(NUMBERED.0 + day), false, serial)));
        let mut person = || format!("{:012}", numbers.next().expect("there are enough numbers"));
        let (alone, mother, recorded) = (person(), person(), person());
        let lodgers: Vec<String> = (0..LODGERS).map(|_| person()).collect();
        let children: Vec<String> = (0..CHILDREN).map(|_| person()).collect();
        let (adult, young) = (Date(start.0 - 11_000), Date(start.0 - 1000));
        let mut people = People { start, alone, mother, lodgers, recorded, lines: String::new() };
        let adults = [&people.alone, &people.mother, &people.recorded].into_iter().chain(&people.lodgers);
        let mut lines: String = adults.map(|person| described(person, adult)).collect();
        for (number, child) in children.iter().enumerate() {
            lines += &described(child, young);
            let act = json!({ "act_no": format!("S-{number}"), "child": child, "mother": people.mother, "born": young.to_string() });
            lines += &line("zags.birth", &format!("S-{number}"), 1, young, None, &act);
        }
        lines.extend(people.lodgers.iter().map(|person| people.lodges(person, 0)));
        for number in 0..RECORDS {
            let skill = json!({ "skill": number.to_string(), "confirmed": adult.to_string() });
            lines += &line("enbek.skill", &number.to_string(), 1, adult, Some(&people.recorded), &skill);
        }
        people.lines = lines;
        people
    }

    /// Somebody alone comes first.
    fn changes(&self) -> [Change; 5] {
        [
            ("somebody alone", self.alone.clone(), People::earns),
            ("a mother in a family of fifteen", self.mother.clone(), People::earns),
            ("somebody among 4,000 at one address", self.lodgers[0].clone(), People::earns),
            ("somebody of 5,000 records", self.recorded.clone(), People::earns),
            ("somebody leaves 4,000 at one address, or comes", self.lodgers[1].clone(), People::lodges),
        ]
    }

    /// What a month's pay was, said once more.
    fn earns(&self, person: &str, round: u32) -> String {
        let month = self.start.month_start().add_months(-1);
        let period = month.to_string()[..7].to_owned();
        let paid = json!({ "period": period, "employer": "070640000408", "amount": 20_000 + 10 * round });
        line("enpf.contribution", &format!("{period}-070640000408"), round + 1, month, Some(person), &paid)
    }

    /// A place of residence, left in every other round.
    fn lodges(&self, person: &str, round: u32) -> String {
        let from = Date(self.start.0 - 500);
        let mut residence = json!({ "rka": "S-1", "region": "75", "settlement": "oblast", "from": from.to_string() });
        if round % 2 == 1 {
            residence["to"] = json!(Date(self.start.0 - 1).to_string());
        }
        line("gbdfl.residence", "S-1", round + 1, from, Some(person), &residence)
    }
}

fn line(register: &str, key: &str, seq: u32, date: Date, person: Option<&str>, data: &Value) -> String {
    let mut line = json!({ "register": register, "key": key, "seq": seq, "op": "upsert", "event_date": date.to_string(), "data": data });
    line["person"] = json!(person);
    format!("{line}\n")
}

fn described(person: &str, born: Date) -> String {
    let data = json!({ "birth_date": born.to_string(), "sex": "F", "citizenship": "kz", "surname": "S", "name": "K" });
    line("gbdfl.person", person, 1, born, Some(person), &data)
}
