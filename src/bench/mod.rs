//! `shanyraq bench`: how long a changed record takes to become a changed decision, how long a country takes to load, and what
//! evaluation costs.
//!
//! Every measure is one JSON line. Latencies are taken open loop: updates arrive by a Poisson process whether or not the
//! engine is ready, and each is timed from its scheduled arrival, so a stall is charged to everybody who waited in it.

mod arrival;
mod dispatch;
mod evaluate;

use crate::commands::feeds::parse_date;
use crate::commands::{Failure, load_policy, peak_rss_bytes, rss_bytes};
use crate::engine::Engine;
use crate::intake::{Intake, Item, Schema};
use clap::{Args, Subcommand};
use dataflows::House;
use dataflows::model::{Change, Date, Update};
use dataflows::policy::Policy;
use dataflows::records::Circumstances;
use fixtures::country::{Country, in_order, opening};
use hdrhistogram::Histogram;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use timely::worker::Worker;

#[derive(Subcommand)]
pub enum Bench {
    /// Open loop: from the scheduled arrival of an update to everything that follows from it.
    Rescoring(Size),
    /// From a country's records to the first decision for everybody.
    Load(Size),
    /// Open loop through the whole pipeline: from the scheduled arrival of a record to its acknowledgement and to the ledger.
    Arrival(arrival::Arguments),
    /// How fast texts go out by message centres.
    Dispatch(dispatch::Arguments),
    /// Compiling the package; evaluating a person and a family, with the share of each room.
    Evaluate(evaluate::Arguments),
}

#[derive(Args)]
pub struct Size {
    /// A package's folder, or the name of a built-in package.
    #[arg(long, default_value = "kz")]
    policy: String,
    #[arg(long, default_value_t = 100_000)]
    persons: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Updates a second.
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Load: decode all records first, so that the graph is timed alone.
    #[arg(long)]
    decoded: bool,
    #[arg(long, default_value = "2026-01-01", value_parser = parse_date)]
    start: Date,
}

/// Threads that make and decode records while the engine works.
const DECODING_THREADS: usize = 2;
/// Fewer updates a person and day than the country has (domain 7.9: 1.39 m for 20.4 m people): so many days have enough.
const UPDATES_PER_PERSON_DAY: f64 = 0.05;
/// What an epoch left behind.
const LEFT: [&str; 3] = ["no indicator changed", "household row changed", "decision changed"];

pub fn bench(bench: Bench) -> Result<(), Failure> {
    match bench {
        Bench::Rescoring(size) => rescoring(&size),
        Bench::Load(size) => load(&size),
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
}

/// The country's records, made and decoded on other threads, in order.
fn population(policy: &Arc<Policy>, country: Country) -> impl Iterator<Item = Decoded> + use<> {
    let schema = Arc::new(Schema::from(&**policy));
    made_of_population(country, move |lines| Decoded::read(&mut Intake::new(schema.clone()), lines))
}

/// What is made of a country's lines, a neighbourhood at a time, on other threads and in order.
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

fn load(size: &Size) -> Result<(), Failure> {
    let policy = load_policy(&size.policy)?;
    let mut engine = Engine::start(policy.clone(), size.workers as usize);
    let mut parts = population(&policy, Country::new(size.persons, size.seed, size.start));
    let prepared: Vec<Decoded> = if size.decoded { parts.by_ref().collect() } else { Vec::new() };
    let mut updates = 0;
    let (started, cpu_started) = (Instant::now(), cpu_seconds());
    for part in prepared.into_iter().chain(parts) {
        part.heard.iter().for_each(|&(register, date)| engine.hear(register, date));
        part.date.into_iter().for_each(|date| engine.set_date(date));
        updates += part.updates.len() as u64;
        engine.submit(part.updates);
    }
    // Asking for sizes waits until every worker has taken in what was submitted.
    engine.sizes();
    let (submitted, submitted_bytes) = (started.elapsed().as_secs_f64(), rss_bytes());
    let output = engine.commit();
    let (seconds, cpu, sizes, held) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_started, engine.sizes(), rss_bytes());
    let stores: serde_json::Map<String, serde_json::Value> = sizes
        .stores
        .iter()
        .map(|(name, store)| (name.to_string(), json!({"keys": store.keys, "bytes_per_person": store.bytes as f64 / size.persons as f64})))
        .collect();
    println!(
        "{}",
        json!({"bench": "load", "policy": size.policy, "persons": size.persons, "workers": size.workers, "decoded_before": size.decoded,
               "people": sizes.store("people").keys, "updates": updates, "records_in_files": sizes.records, "households": sizes.store("households").keys,
               "decisions": output.changes.len(), "seconds": seconds, "submit_seconds": submitted, "submitted_rss_bytes": submitted_bytes,
               "records_per_s": updates as f64 / seconds, "cpu_seconds": cpu, "cpu_us_per_update": cpu * 1e6 / updates as f64,
               "rss_bytes": held, "peak_rss_bytes": peak_rss_bytes(), "bytes_per_person": held as f64 / size.persons as f64,
               "stores": stores})
    );
    Ok(())
}

fn rescoring(size: &Size) -> Result<(), Failure> {
    if size.workers != 1 {
        return Err(Failure::usage("rescoring drives one worker on its own thread: --workers 1".to_owned()));
    }
    let policy = load_policy(&size.policy)?;
    let country = Country::new(size.persons, size.seed, size.start);
    let updates = life(&policy, &country, size.persons, (size.rate * size.seconds) as usize);
    if updates.is_empty() {
        return Err(Failure::failed("too few people for a single update".to_owned()));
    }
    let rate = size.rate as f64;
    let figures = timely::execute_directly(move |worker| {
        let mut house = House::build(worker, policy.clone());
        settle(worker, &mut house, &policy, population(&policy, country));
        open_loop(worker, &mut house, updates, rate)
    });
    figures.print(size);
    Ok(())
}

/// Records of the country's life, in order of arrival. The business date stands still while latency is measured: the days'
/// records arrive, their date records do not.
fn life(policy: &Arc<Policy>, country: &Country, persons: usize, wanted: usize) -> Vec<Update> {
    let mut intake = Intake::new(Arc::new(Schema::from(&**policy)));
    let mut updates = Vec::new();
    let days = (wanted as f64 / (persons as f64 * UPDATES_PER_PERSON_DAY)).ceil() as usize;
    for (_, lines) in country.days(days) {
        updates.append(&mut Decoded::read(&mut intake, &lines).updates);
    }
    updates.truncate(wanted);
    updates
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

/// What an open-loop run showed.
struct Figures {
    histograms: [Histogram<u64>; 3],
    decisions: u64,
    seconds: f64,
    cpu_seconds: f64,
    epochs: u64,
    rss_bytes: u64,
}

/// Feeds the updates at `rate` a second; an epoch takes whatever has arrived when the one before is through.
fn open_loop(worker: &mut Worker, house: &mut House, updates: Vec<Update>, rate: f64) -> Figures {
    let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits up to a minute");
    let mut figures = Figures {
        histograms: [histogram(), histogram(), histogram()],
        decisions: 0,
        seconds: 0.0,
        cpu_seconds: 0.0,
        epochs: 0,
        rss_bytes: 0,
    };
    let mut arrivals = poisson(rate);
    let mut waiting = updates.into_iter().map(|update| (arrivals(), update)).peekable();
    let (mut arrived, mut batch) = (Vec::new(), Vec::new());
    let (started, cpu_started) = (Instant::now(), cpu_seconds());
    while waiting.peek().is_some() {
        let now = started.elapsed().as_nanos() as u64;
        while let Some((at, update)) = waiting.next_if(|(at, _)| *at <= now) {
            arrived.push(at);
            batch.push(update);
        }
        if batch.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        house.submit(&mut batch);
        let answer = house.close(worker);
        let done = started.elapsed().as_nanos() as u64;
        let decided = answer.changes.iter().any(Change::is_of_decision);
        let left = if decided { 2 } else { usize::from(answer.rows_changed > 0) };
        figures.decisions += answer.changes.iter().filter(|change| change.is_of_decision()).count() as u64;
        figures.epochs += 1;
        arrived.drain(..).for_each(|at| figures.histograms[left].saturating_record(done - at));
        batch.clear();
    }
    figures.seconds = started.elapsed().as_secs_f64();
    figures.cpu_seconds = cpu_seconds() - cpu_started;
    figures.rss_bytes = rss_bytes();
    figures
}

impl Figures {
    fn print(&self, size: &Size) {
        let total: u64 = self.histograms.iter().map(Histogram::len).sum();
        let micros = |histogram: &Histogram<u64>, quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        for (left, histogram) in LEFT.iter().zip(&self.histograms) {
            println!(
                "{}",
                json!({"bench": "rescoring", "left": left, "policy": size.policy, "persons": size.persons, "rate": size.rate, "workers": size.workers,
                       "updates": histogram.len(), "share": histogram.len() as f64 / total as f64, "p50_us": micros(histogram, 0.5),
                       "p99_us": micros(histogram, 0.99), "p999_us": micros(histogram, 0.999), "max_us": histogram.max() as f64 / 1000.0,
                       "records_per_s": total as f64 / self.seconds, "cpu_us_per_update": self.cpu_seconds * 1e6 / total as f64, "epochs": self.epochs,
                       "changed_decisions": self.decisions, "rss_bytes": self.rss_bytes, "bytes_per_person": self.rss_bytes as f64 / size.persons as f64})
            );
        }
    }
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
