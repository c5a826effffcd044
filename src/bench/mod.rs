//! `shanyraq bench`: how long a changed record takes to become a changed decision, how long a country takes to load, and what
//! evaluation costs.
//!
//! Every measure is one JSON line.

mod arrival;
mod book;
mod catchup;
mod clerk;
mod curves;
mod dispatch;
mod evaluate;
mod load;
mod policy;
mod report;
mod rescoring;
mod restart;
mod skew;
mod sweep;

use crate::commands::feeds::parse_date;
use crate::commands::{Failure, rss_bytes};
use crate::engine::Engine;
use crate::intake::{Intake, Item, Schema};
use clap::{Args, Subcommand};
use clerk::Clerk;
use curves::{Curve, draw};
use dataflows::House;
use dataflows::model::{Date, Update};
use dataflows::policy::Policy;
use dataflows::records::Circumstances;
use fixtures::country::{Country, in_order, opening};
use std::io;
use std::path::Path;
use std::sync::Arc;
use timely::worker::Worker;

#[derive(Subcommand)]
pub enum Bench {
    /// Open loop: from the scheduled arrival of an update to everything that follows from it.
    Rescoring(rescoring::Arguments),
    /// From a country's records to the first decision for everybody.
    Load(load::Arguments),
    /// How fast a backlog of updates is worked off.
    Catchup(catchup::Arguments),
    /// What the day costs on which a quarter begins.
    Sweep(sweep::Arguments),
    /// How long it takes to say who would gain and lose by another policy.
    Policy(policy::Arguments),
    /// What a change costs where much hangs together.
    Skew(skew::Arguments),
    /// How long a start takes: from a snapshot, and telling the whole journal again.
    Restart(restart::Arguments),
    /// Open loop through the whole pipeline: from the scheduled arrival of a record to its acknowledgement and to the ledger.
    Arrival(arrival::Arguments),
    /// How fast texts go out by message centres.
    Dispatch(dispatch::Arguments),
    /// Compiling the package; evaluating a person and a family, with the share of each room.
    Evaluate(evaluate::Arguments),
}

/// A country and how many workers keep it.
#[derive(Args, Clone)]
pub struct Size {
    /// A package's folder, or the name of a built-in package.
    #[arg(long, default_value = "kz")]
    policy: String,
    #[arg(long, default_value_t = 100_000)]
    persons: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    #[arg(long, default_value = "2026-01-01", value_parser = parse_date)]
    start: Date,
}

/// Threads that make and decode records while the engine works.
const DECODING_THREADS: usize = 2;
/// Fewer updates a person and day than the country has (domain 7.9: 1.39 m for 20.4 m people): so many days have enough.
const UPDATES_PER_PERSON_DAY: f64 = 0.05;

pub fn bench(bench: Bench) -> Result<(), Failure> {
    match bench {
        Bench::Rescoring(arguments) => rescoring::rescoring(&arguments),
        Bench::Load(arguments) => load::load(&arguments),
        Bench::Catchup(arguments) => catchup::catchup(&arguments),
        Bench::Sweep(arguments) => sweep::sweep(&arguments),
        Bench::Policy(arguments) => policy::policy(&arguments),
        Bench::Skew(arguments) => skew::skew(&arguments),
        Bench::Restart(arguments) => restart::restart(&arguments),
        Bench::Arrival(arguments) => arrival::arrival(&arguments),
        Bench::Dispatch(arguments) => dispatch::dispatch(&arguments),
        Bench::Evaluate(arguments) => evaluate::evaluate(&arguments),
    }
}

/// What a stretch of NDJSON lines holds.
#[derive(Default)]
struct Decoded {
    updates: Vec<Update>,
    heard: Vec<(u16, Date)>,
    date: Option<Date>,
}

impl Decoded {
    fn read(intake: &mut Intake, lines: &[u8]) -> Decoded {
        let mut decoded = Decoded::default();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // The country's life has bad records on purpose: the door turns them away.
            let Ok(accepted) = intake.decode(line) else { continue };
            match accepted.item {
                Item::Update(update) => decoded.updates.push(update),
                Item::Heartbeat { register, date } => decoded.heard.push((register, date)),
                Item::Calendar(date) => decoded.date = decoded.date.max(Some(date)),
            }
        }
        decoded
    }

    /// Adds it to the open epoch of an engine.
    fn enter(self, engine: &mut Engine) {
        self.heard.iter().for_each(|&(register, date)| engine.hear(register, date));
        self.date.into_iter().for_each(|date| engine.set_date(date));
        engine.submit(self.updates);
    }
}

/// Makes a folder that must not be there yet; the answer says of an error that it is of this folder.
fn fresh_folder(folder: &Path) -> Result<impl Fn(io::Error) -> Failure + Copy, Failure> {
    let problem = move |error: io::Error| Failure::failed(format!("{}: {error}", folder.display()));
    if folder.exists() {
        return Err(Failure::usage(format!("--data {}: is there already", folder.display())));
    }
    std::fs::create_dir_all(folder).map_err(problem)?;
    Ok(problem)
}

/// The country's records, made and checked on other threads, a neighbourhood at a time and in order; its opening comes last.
fn population(policy: &Arc<Policy>, country: Country) -> impl Iterator<Item = Decoded> + use<> {
    let schema = Arc::new(Schema::from(&**policy));
    let opened = Decoded::read(&mut Intake::new(schema.clone()), &opening(country.start()));
    let neighbourhoods = in_order(DECODING_THREADS, country.neighbourhoods(), move |index| {
        let mut clerk = Clerk::new(schema.clone());
        country.neighbourhood(index).population(country.seed(), &mut clerk);
        clerk.taken
    });
    neighbourhoods.chain(std::iter::once(opened))
}

/// What is made of the lines that a country's agencies write, a neighbourhood at a time, on other threads and in order.
fn made_of_population<T: Send + 'static>(country: Country, make: impl Fn(&[u8]) -> T + Clone + Send + 'static) -> impl Iterator<Item = T> {
    let neighbourhoods = country.neighbourhoods();
    in_order(DECODING_THREADS, neighbourhoods + 1, move |index| {
        let mut lines = Vec::new();
        if index < neighbourhoods {
            country.neighbourhood(index).population(country.seed(), &mut lines);
        } else {
            lines = opening(country.start());
        }
        make(&lines)
    })
}

/// Records of the country's life, in order of arrival; and its last day, on which the business date stands while they are taken in, so
/// that none of them is of a day to come. Whoever loads the population begins with that day.
fn life(policy: &Arc<Policy>, country: &Country, persons: usize, wanted: usize) -> (Vec<Update>, Decoded) {
    let mut intake = Intake::new(Arc::new(Schema::from(&**policy)));
    let (mut updates, mut last) = (Vec::new(), Decoded::default());
    for (_, lines) in country.days(days(persons, wanted)) {
        last = Decoded::read(&mut intake, &lines);
        updates.append(&mut last.updates);
    }
    updates.truncate(wanted);
    (updates, last)
}

/// Days of a country's life that have so many records.
fn days(persons: usize, wanted: usize) -> usize {
    (wanted as f64 / (persons as f64 * UPDATES_PER_PERSON_DAY)).ceil() as usize
}

/// Loads the population in one epoch; the answer is how things stand then.
fn settle(worker: &mut Worker, house: &mut House, policy: &Policy, parts: impl Iterator<Item = Decoded>) -> Circumstances {
    let mut heard = vec![None; policy.registers.len()];
    let mut today = Date::BEFORE_ALL;
    for mut part in parts {
        for (register, date) in part.heard {
            heard[register as usize] = heard[register as usize].max(Some(date));
        }
        today = part.date.map_or(today, |date| today.max(date));
        house.submit(&mut part.updates);
        house.work(worker);
    }
    let circumstances = Circumstances { today, feeds: policy.feed_states(&heard, today) };
    house.set_circumstances(circumstances.clone());
    house.close(worker);
    circumstances
}

/// Arrival times in nanoseconds, exponentially spaced; the same ones at each run.
fn poisson(rate: f64) -> impl FnMut() -> u64 {
    let (mut state, mut at) = (0x853c_49e6_748f_ea9b_u64, 0.0);
    move || {
        // xorshift64*: enough for spacing arrivals.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let unit = (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64;
        at -= (1.0 - unit).ln() * 1e9 / rate;
        at as u64
    }
}

/// Processor time of all threads of this process, in seconds.
fn cpu_seconds() -> f64 {
    // Fields 14 and 15 of stat are user and system time in clock ticks, 100 a second on Linux; the name before may hold spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
