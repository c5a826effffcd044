//! `shanyraq bench evaluate`: how long a package takes to compile, and what a person and a family cost to evaluate.
//!
//! A country is loaded once; then everybody's file is evaluated again and again outside of the graph, a room at a time. What a
//! part of a room costs is the difference to the same package without that part. Times are of the processor, so that a busy
//! machine does not count.

use super::{population, settle};
use crate::commands::feeds::parse_date;
use crate::commands::{Failure, load_policy, package_texts};
use clap::Args;
use dataflows::House;
use dataflows::model::{Date, HouseholdKey, Membership, PersonId};
use dataflows::policy::{Contribution, Environment, Evaluator, FeedState, Judgement, Policy, Row};
use fixtures::country::Country;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    /// A package's folder, or the name of a built-in package.
    #[arg(long, default_value = "kz")]
    policy: String,
    #[arg(long, default_value_t = 20_000)]
    persons: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "2026-01-01", value_parser = parse_date)]
    start: Date,
    /// Every measure is the median of so many.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

type Texts = Vec<(String, String)>;

/// Prints a line each for compiling, a person, and a family.
pub fn evaluate(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { policy: name, rounds, .. } = arguments;
    let texts = package_texts(name)?;
    let whole = load_policy(name)?;
    println!("{}", json!({"bench": "evaluate", "of": "package", "policy": name, "compile_seconds": compile_seconds(&texts, *rounds)}));
    let population = Population::new(arguments, &whole);
    let without = |files: &[&str]| {
        let is_left = |path: &str| !files.iter().any(|file| path.starts_with(file));
        let left: Texts = texts.iter().filter(|(path, _)| is_left(path)).cloned().collect();
        let mistakes =
            |problems: Vec<_>| Failure::failed(format!("{name} does not stand without {}: {}", files.join(", "), problems.len()));
        Policy::load(&left).map(|policy| Bench::new(Arc::new(policy), &population, *rounds)).map_err(mistakes)
    };
    let mut all = Bench::new(whole.clone(), &population, *rounds);
    let mut no_rights = without(&["benefits/", "messages.toml"])?;
    let mut no_category = without(&["benefits/", "messages.toml", "categories.toml"])?;
    let mut indicators = without(&["benefits/", "messages.toml", "categories.toml", "criteria.toml", "levels.toml"])?;
    let contribution = no_rights.contribution();
    let rooms = [
        ("composition", all.composition()),
        ("kin", all.kin()),
        ("contribution", contribution),
        ("own rights and claims", all.contribution() - contribution),
    ];
    print(name, "person", population.people.len(), &rooms);
    let (judged, scored, categorised) = (indicators.judgement(), no_category.judgement(), no_rights.judgement());
    let rooms = [
        ("indicators", judged),
        ("criteria", scored - judged),
        ("category", categorised - scored),
        ("rights", all.judgement() - categorised),
    ];
    print(name, "family", all.rows.len(), &rooms);
    Ok(())
}

/// The nanoseconds of each room, and its share of the whole.
fn print(policy: &str, of: &str, count: usize, rooms: &[(&str, f64)]) {
    let whole: f64 = rooms.iter().map(|(_, time)| time).sum();
    let each = |value: &dyn Fn(f64) -> f64| -> Map<String, Value> {
        rooms.iter().map(|(room, time)| ((*room).to_owned(), json!(value(*time)))).collect()
    };
    let (times, shares) = (each(&f64::round), each(&|time| (time / whole * 1000.0).round() / 1000.0));
    println!(
        "{}",
        json!({"bench": "evaluate", "of": of, "policy": policy, "count": count, "ns": whole.round(), "rooms": times, "share": shares})
    );
}

/// The median. Every time on a thread of its own, since a thread remembers what it has parsed.
fn compile_seconds(texts: &Texts, rounds: u16) -> f64 {
    let compile = || {
        let begun = processor_time();
        Policy::load(texts).expect("it has been loaded before");
        (processor_time() - begun) as f64
    };
    let once = || std::thread::scope(|scope| scope.spawn(compile).join().expect("loading a package does not panic"));
    median((0..rounds).map(|_| once()).collect()) / 1e9
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Everybody's file and place, on the country's first day.
struct Population {
    people: Vec<(PersonId, Membership, Box<[u8]>)>,
    today: Date,
    feeds: Vec<FeedState>,
}

impl Population {
    fn new(arguments: &Arguments, policy: &Arc<Policy>) -> Population {
        let country = Country::new(arguments.persons, arguments.seed, arguments.start);
        let policy = policy.clone();
        timely::execute_directly(move |worker| {
            let mut house = House::build(worker, policy.clone());
            let circumstances = settle(worker, &mut house, &policy, population(&policy, country));
            let mut people = Vec::new();
            house.members(|(_, person, _)| people.extend(house.file(person).map(|(file, place)| (person, place, file))));
            Population { people, today: circumstances.today, feeds: circumstances.feeds }
        })
    }
}

/// One package at work on the population.
struct Bench<'p> {
    population: &'p Population,
    environment: Environment,
    evaluator: Evaluator,
    rows: Vec<(HouseholdKey, Row)>,
    rounds: u16,
}

impl<'p> Bench<'p> {
    fn new(policy: Arc<Policy>, population: &'p Population, rounds: u16) -> Self {
        let environment = policy.environment(population.today, &population.feeds);
        let mut evaluator = Evaluator::new(policy.clone());
        let rows = rows(&policy, population, &environment, &mut evaluator);
        Bench { population, environment, evaluator, rows, rounds }
    }

    fn composition(&mut self) -> f64 {
        self.of_people(|evaluator, environment, person, _, file| {
            evaluator.composition(environment, person, file, |_| {});
        })
    }

    fn kin(&mut self) -> f64 {
        self.of_people(|evaluator, environment, person, _, file| {
            evaluator.kin(environment, person, file);
        })
    }

    fn contribution(&mut self) -> f64 {
        let mut contribution = Contribution::default();
        self.of_people(|evaluator, environment, person, place, file| {
            evaluator.contribution(environment, person, file, place, &mut contribution);
        })
    }

    /// Nanoseconds a person.
    fn of_people(&mut self, mut work: impl FnMut(&mut Evaluator, &Environment, PersonId, Membership, &[u8])) -> f64 {
        let Bench { population, environment, evaluator, rounds, .. } = self;
        timed(*rounds, population.people.len(), || {
            population.people.iter().for_each(|(person, place, file)| work(evaluator, environment, *person, *place, file));
        })
    }

    /// Nanoseconds a family.
    fn judgement(&mut self) -> f64 {
        let Bench { environment, evaluator, rows, rounds, .. } = self;
        let mut judgement = Judgement::default();
        timed(*rounds, rows.len(), || {
            rows.iter().for_each(|(household, row)| evaluator.judge(environment, row, *household, &mut judgement));
        })
    }
}

/// By slot and reason: for how many members it is unknown.
type Unknown = BTreeMap<(u16, u16), i32>;

/// The sums of every household, in the order of keys.
fn rows(policy: &Policy, population: &Population, environment: &Environment, evaluator: &mut Evaluator) -> Vec<(HouseholdKey, Row)> {
    let mut rows: BTreeMap<HouseholdKey, (Row, Unknown)> = BTreeMap::new();
    let mut contribution = Contribution::default();
    for (person, place, file) in &population.people {
        evaluator.contribution(environment, *person, file, *place, &mut contribution);
        let (row, unknown) = rows.entry(place.household).or_default();
        row.values.resize(policy.slots, 0);
        let of_household = contribution.values.iter().filter(|(slot, _)| usize::from(*slot) < policy.slots);
        of_household.for_each(|(slot, value)| row.values[usize::from(*slot)] = row.values[usize::from(*slot)].saturating_add(*value));
        contribution.unknown.iter().for_each(|slot| *unknown.entry(*slot).or_default() += 1);
        row.claims.append(&mut contribution.claims);
    }
    let counted = |unknown: Unknown| unknown.into_iter().map(|((slot, reason), members)| (slot, reason, members)).collect();
    rows.into_iter().map(|(household, (row, unknown))| (household, Row { unknown: counted(unknown), ..row })).collect()
}

/// The median of so many rounds, divided by how many each round does.
fn timed(rounds: u16, count: usize, mut round: impl FnMut()) -> f64 {
    round();
    let mut once = || {
        let begun = processor_time();
        round();
        (processor_time() - begun) as f64
    };
    median((0..rounds).map(|_| once()).collect()) / count.max(1) as f64
}

/// Nanoseconds of this thread's processor time; of the wall clock where there is no Linux.
fn processor_time() -> u128 {
    static START: OnceLock<Instant> = OnceLock::new();
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = statistics.split(' ').next().and_then(|spent| spent.parse().ok());
    spent.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos())
}
