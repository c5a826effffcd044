//! What an update costs the graph when nothing else waits, by what it left behind: `cargo bench --bench rescoring`.
//!
//! Closed loop: one update an epoch, so that medians hold on a busy machine, and counts of instructions (under valgrind's callgrind,
//! with `--toggle-collect='*rescoring::epoch*'`) are the same at each run.

use dataflows::House;
use dataflows::model::{Change, Date, EpochAnswer, Update};
use dataflows::policy::Policy;
use dataflows::records::Circumstances;
use fixtures::country::Country;
use shanyraq::commands::load_policy;
use shanyraq::intake::{Intake, Item, Schema};
use std::sync::Arc;
use std::time::Instant;
use timely::worker::Worker;

const LEFT: [&str; 3] = ["no indicator changed", "household row changed", "decision changed"];

fn main() {
    let argument = |name: &str, default: usize| {
        let found = std::env::args().skip_while(|argument| argument != name).nth(1);
        found.map_or(default, |text| text.parse().expect("a number"))
    };
    let (persons, updates) = (argument("--persons", 20_000), argument("--updates", 20_000));
    let policy = load_policy("kz").expect("a built-in package");
    let start = Date::from_ymd(2026, 1, 1).expect("a date");
    let country = Country::new(persons, 1, start);
    timely::execute_directly(move |worker| {
        let mut house = House::build(worker, policy.clone());
        let mut intake = Intake::new(Arc::new(Schema::from(&*policy)));
        load(worker, &mut house, &policy, &country, &mut intake);
        let mut costs: [Vec<u64>; 3] = Default::default();
        'days: for (day, lines) in country.days(365) {
            dawn(worker, &mut house, &policy, day);
            for update in lines.split(|byte| *byte == b'\n').filter_map(|line| decode(&mut intake, line)) {
                let started = Instant::now();
                let answer = epoch(worker, &mut house, update);
                let cost = started.elapsed().as_nanos() as u64;
                let decided = answer.changes.iter().any(Change::is_of_decision);
                costs[if decided { 2 } else { usize::from(answer.rows_changed > 0) }].push(cost);
                if costs.iter().map(Vec::len).sum::<usize>() == updates {
                    break 'days;
                }
            }
        }
        for (left, costs) in LEFT.iter().zip(&mut costs) {
            costs.sort_unstable();
            let quantile = |share: f64| costs.get((costs.len() as f64 * share) as usize).map_or(0.0, |cost| *cost as f64 / 1000.0);
            let (median, p90) = (quantile(0.5), quantile(0.9));
            println!(
                r#"{{"bench":"rescoring, closed loop","left":"{left}","persons":{persons},"updates":{},"p50_us":{median:.1},"p90_us":{p90:.1}}}"#,
                costs.len()
            );
        }
    });
}

/// One update, through to everything that follows from it.
#[inline(never)]
fn epoch(worker: &mut Worker, house: &mut House, update: Update) -> EpochAnswer {
    house.submit(&mut vec![update]);
    house.close(worker)
}

fn decode(intake: &mut Intake, line: &[u8]) -> Option<Update> {
    match intake.decode(line).ok()?.item {
        Item::Update(update) => Some(update),
        Item::Heartbeat { .. } | Item::Calendar(_) => None,
    }
}

/// The population in one epoch, every register heard on the first day.
fn load(worker: &mut Worker, house: &mut House, policy: &Policy, country: &Country, intake: &mut Intake) {
    for index in 0..country.neighbourhoods() {
        let mut lines = Vec::new();
        country.neighbourhood(index).population(country.seed(), &mut lines);
        let mut updates: Vec<Update> = lines.split(|byte| *byte == b'\n').filter_map(|line| decode(intake, line)).collect();
        house.submit(&mut updates);
        house.work(worker);
    }
    dawn(worker, house, policy, country.start());
}

/// A day begins, and every register is heard.
fn dawn(worker: &mut Worker, house: &mut House, policy: &Policy, today: Date) {
    let heard = vec![Some(today); policy.registers.len()];
    house.set_circumstances(Circumstances { today, feeds: policy.feed_states(&heard, today) });
    house.close(worker);
}
