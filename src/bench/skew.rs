//! What one change costs where much hangs together: a large family, a dormitory at one address, a person of thousands of records, a register
//! that is written anew; each beside the same change of somebody alone.

use super::report::{quantiles, report};
use super::{Decoded, Size, population, settle};
use crate::commands::{Failure, load_policy};
use crate::intake::{Intake, Schema};
use clap::Args;
use dataflows::House;
use dataflows::model::Date;
use fixtures::country::Country;
use fixtures::country::people::iin;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use timely::worker::Worker;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// Changes of each kind.
    #[arg(long, default_value_t = 500)]
    changes: u32,
}

const CHILDREN: u32 = 14;
const LODGERS: u32 = 4000;
const RECORDS: u32 = 5000;
/// Numbers of nobody in the country begin with this day.
const NUMBERED: Date = Date(-25_000);

pub fn skew(Arguments { size, changes }: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&size.policy)?;
    if policy.register("enpf.contribution").is_none() {
        return Err(Failure::usage("--policy: skew knows people of the package kz alone".to_owned()));
    }
    let country = Country::new(size.persons, size.seed, size.start);
    let schema = Arc::new(Schema::from(&*policy));
    let (people, size, changes) = (People::new(size.start), size.clone(), *changes);
    timely::execute_directly(move |worker| {
        let mut intake = Intake::new(schema);
        let mut house = House::build(worker, policy.clone());
        let of_skew = Decoded::read(&mut intake, people.lines.as_bytes());
        settle(worker, &mut house, &policy, population(&policy, country).chain([of_skew]));
        let mut ordinary = None;
        for (what, person, change) in people.changes() {
            let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("three digits up to a minute");
            let mut rows = 0;
            for round in 0..changes {
                // The first version of what comes is known already.
                let mut update = Decoded::read(&mut intake, change(&people, person, round + 1).as_bytes()).updates;
                let begun = Instant::now();
                house.submit(&mut update);
                rows += house.close(worker).rows_changed;
                times.saturating_record(begun.elapsed().as_nanos() as u64);
            }
            let median = times.value_at_quantile(0.5) as f64;
            let mut measured = quantiles(&times);
            measured.insert("of".to_owned(), json!(what));
            measured.insert("rows_changed".to_owned(), json!(rows));
            measured.insert("times_the_ordinary".to_owned(), json!(median / *ordinary.get_or_insert(median)));
            report("skew", &size, measured.into());
        }
        rewrite(worker, &mut house, &mut intake, &people, &size);
    });
    Ok(())
}

/// One register is written anew: the same content under later versions.
fn rewrite(worker: &mut Worker, house: &mut House, intake: &mut Intake, people: &People, size: &Size) {
    let lines: String = people.lodgers.iter().map(|person| described(person, Date(people.start.0 - 11_000), 2)).collect();
    let mut updates = Decoded::read(intake, lines.as_bytes()).updates;
    let records = updates.len();
    let begun = Instant::now();
    house.submit(&mut updates);
    let rows = house.close(worker).rows_changed;
    let seconds = begun.elapsed().as_secs_f64();
    let measured = json!({ "of": "a register written anew", "records_per_s": records as f64 / seconds, "cpu_us_per_update": seconds * 1e6 / records as f64, "rows_changed": rows });
    report("skew", size, measured);
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
type Change<'a> = (&'static str, &'a str, fn(&People, &str, u32) -> String);

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
        let mut lines: String = adults.map(|person| described(person, adult, 1)).collect();
        for (number, child) in children.iter().enumerate() {
            lines += &described(child, young, 1);
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
    fn changes(&self) -> [Change<'_>; 5] {
        [
            ("somebody alone", &self.alone, People::earns),
            ("a mother in a family of fifteen", &self.mother, People::earns),
            ("somebody among 4,000 at one address", &self.lodgers[0], People::earns),
            ("somebody of 5,000 records", &self.recorded, People::earns),
            ("somebody leaves 4,000 at one address, or comes", &self.lodgers[1], People::lodges),
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

fn described(person: &str, born: Date, seq: u32) -> String {
    let data = json!({ "birth_date": born.to_string(), "sex": "F", "citizenship": "kz", "surname": "S", "name": "K" });
    line("gbdfl.person", person, seq, born, Some(person), &data)
}
