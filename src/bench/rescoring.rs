//! Open loop: from the scheduled arrival of an update to everything that follows from it, by what it left behind.
//!
//! Updates arrive by a Poisson process whether or not the engine is ready, and each is timed from its scheduled arrival, so a stall is
//! charged to everybody who waited in it. The first second is not counted.

use super::report::{quantiles, report, stores};
use super::{Curve, Size, draw, life, poisson, population, settle};
use crate::commands::{Failure, load_policy, rss_bytes};
use clap::Args;
use dataflows::model::Update;
use dataflows::{House, Sizes};
use fixtures::country::Country;
use hdrhistogram::Histogram;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use timely::worker::Worker;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// Updates a second.
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Also writes curves into this folder, as SVG: latency by rate, latency and memory by population.
    #[arg(long, value_name = "FOLDER")]
    plot: Option<PathBuf>,
}

/// What an epoch left behind.
const LEFT: [&str; 3] = ["no indicator changed", "household row changed", "decision changed"];
/// What runs before anything is counted.
const WARM_UP_SECONDS: u64 = 1;
/// Rates and shares of the population that are plotted.
const RATES: [u64; 5] = [1000, 5000, 20_000, 50_000, 100_000];
const SHARES: [usize; 4] = [50, 10, 4, 1];

pub fn rescoring(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { size, rate, seconds, plot } = arguments;
    if size.workers != 1 {
        return Err(Failure::usage("rescoring drives one worker on its own thread: --workers 1".to_owned()));
    }
    match plot {
        None => measure(size, *rate, *seconds).map(|figures| figures.print(size, *rate)),
        Some(folder) => curves(size, *rate, *seconds, folder),
    }
}

/// One run.
fn measure(size: &Size, rate: u64, seconds: u64) -> Result<Figures, Failure> {
    let policy = load_policy(&size.policy)?;
    let country = Country::new(size.persons, size.seed, size.start);
    let (updates, last_day) = life(&policy, &country, size.persons, (rate * (seconds + WARM_UP_SECONDS)) as usize);
    if updates.is_empty() {
        return Err(Failure::failed("too few people for a single update".to_owned()));
    }
    Ok(timely::execute_directly(move |worker| {
        let mut house = House::build(worker, policy.clone());
        settle(worker, &mut house, &policy, population(&policy, country).chain([last_day]));
        open_loop(worker, &mut house, updates, rate as f64)
    }))
}

/// Prints a run for each rate and each population, and draws them.
fn curves(size: &Size, rate: u64, seconds: u64, folder: &Path) -> Result<(), Failure> {
    let mut by_rate = [("p50", Vec::new()), ("p99", Vec::new()), ("p99.9", Vec::new())];
    let mut by_people = by_rate.clone();
    let mut memory = [("resident", Vec::new()), ("stores", Vec::new())];
    let run = |size: &Size, rate: u64, x: f64, curves: &mut [Curve; 3]| -> Result<(Figures, f64), Failure> {
        let figures = measure(size, rate, seconds)?;
        figures.print(size, rate);
        let changed = figures.changed();
        for ((_, points), quantile) in curves.iter_mut().zip([0.5, 0.99, 0.999]) {
            points.push((x, changed.value_at_quantile(quantile) as f64 / 1000.0));
        }
        Ok((figures, x))
    };
    for rate in RATES {
        run(size, rate, rate as f64, &mut by_rate)?;
    }
    for share in SHARES {
        let size = Size { persons: (size.persons / share).max(1), ..size.clone() };
        let (figures, x) = run(&size, rate, size.persons as f64, &mut by_people)?;
        let stored: u64 = figures.sizes.stores.values().map(|store| store.bytes).sum();
        memory[0].1.push((x, figures.rss_bytes as f64 / 1e6));
        memory[1].1.push((x, stored as f64 / 1e6));
    }
    std::fs::create_dir_all(folder).map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    let title = format!("{} people: an update that changed a family or a decision", size.persons);
    draw(&folder.join("latency-by-rate.svg"), &title, ["updates a second", "microseconds"], &by_rate)?;
    let title = format!("{rate} updates a second: an update that changed a family or a decision");
    draw(&folder.join("latency-by-population.svg"), &title, ["people", "microseconds"], &by_people)?;
    draw(&folder.join("memory-by-population.svg"), "Memory", ["people", "megabytes"], &memory)
}

/// What an open-loop run showed.
struct Figures {
    histograms: [Histogram<u64>; 3],
    decisions: u64,
    seconds: f64,
    /// How long the engine was at work.
    busy_seconds: f64,
    epochs: u64,
    rss_bytes: u64,
    sizes: Sizes,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits up to a minute")
}

/// Feeds the updates at `rate` a second; an epoch takes whatever has arrived when the one before is through.
fn open_loop(worker: &mut Worker, house: &mut House, updates: Vec<Update>, rate: f64) -> Figures {
    let mut histograms = [histogram(), histogram(), histogram()];
    let (mut decisions, mut epochs, mut busy) = (0, 0, 0);
    let mut arrivals = poisson(rate);
    let mut waiting = updates.into_iter().map(|update| (arrivals(), update)).peekable();
    let (mut arrived, mut batch) = (Vec::new(), Vec::new());
    let (started, counted_from) = (Instant::now(), WARM_UP_SECONDS * 1_000_000_000);
    let elapsed = || started.elapsed().as_nanos() as u64;
    while waiting.peek().is_some() {
        let begun = elapsed();
        while let Some((at, update)) = waiting.next_if(|(at, _)| *at <= begun) {
            arrived.push(at);
            batch.push(update);
        }
        if batch.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        house.submit(&mut batch);
        let answer = house.close(worker);
        let done = elapsed();
        let counted = arrived.drain(..).filter(|at| *at >= counted_from);
        let decided = answer.changes.iter().filter(|change| change.is_of_decision()).count();
        let left = if decided > 0 { 2 } else { usize::from(answer.rows_changed > 0) };
        counted.for_each(|at| histograms[left].saturating_record(done - at));
        if begun >= counted_from {
            (decisions, epochs, busy) = (decisions + decided as u64, epochs + 1, busy + done - begun);
        }
        batch.clear();
    }
    let seconds = (elapsed().saturating_sub(counted_from)) as f64 / 1e9;
    Figures { histograms, decisions, seconds, busy_seconds: busy as f64 / 1e9, epochs, rss_bytes: rss_bytes(), sizes: house.sizes() }
}

impl Figures {
    /// Times of the updates that changed a household's row or a decision.
    fn changed(&self) -> Histogram<u64> {
        let [_, rows, decisions] = &self.histograms;
        let mut changed = rows.clone();
        changed.add(decisions).expect("of one shape");
        changed
    }

    /// A line for each kind of update, one for those that changed anything, and one for all of them.
    fn print(&self, size: &Size, rate: u64) {
        let changed = self.changed();
        let mut all = changed.clone();
        all.add(&self.histograms[0]).expect("of one shape");
        let kinds = LEFT.into_iter().zip(&self.histograms).chain([("row or decision changed", &changed), ("any", &all)]);
        for (left, histogram) in kinds {
            let mut measured = quantiles(histogram);
            let figures = json!({
                "left": left, "rate": rate, "updates": histogram.len(), "share": histogram.len() as f64 / all.len().max(1) as f64,
                "records_per_s": all.len() as f64 / self.seconds, "cpu_seconds": self.busy_seconds,
                "cpu_us_per_update": self.busy_seconds * 1e6 / all.len().max(1) as f64, "epochs": self.epochs,
                "changed_decisions": self.decisions, "rss_bytes": self.rss_bytes, "stores": stores(&self.sizes, size.persons),
            });
            measured.extend(figures.as_object().cloned().unwrap_or_default());
            report("rescoring", size, measured.into());
        }
    }
}
