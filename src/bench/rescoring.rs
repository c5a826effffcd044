//! Open loop: from the scheduled arrival of an update to everything that follows from it, by what it left behind.
//!
//! Updates arrive by a Poisson process whether or not the engine is ready, and each is timed from its scheduled arrival, so a stall is
//! charged to everybody who waited in it. The first second is not counted. With a ledger an update is through when that has taken in what followed, whose
//! file is written beside, and an engine on threads of its own is driven, as a pipeline's is.

use super::book::{Book, commit, finish};
use super::report::{quantiles, report, stores};
use super::{Curve, Decoded, Size, draw, life, poisson, population, settle};
use crate::commands::{Failure, load_policy, rss_bytes};
use crate::engine::Engine;
use clap::Args;
use dataflows::model::{Change, Update};
use dataflows::policy::Policy;
use dataflows::{House, Sizes};
use fixtures::country::Country;
use hdrhistogram::Histogram;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// Updates a second.
    #[arg(long, default_value_t = 5000)]
    rate: u64,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Also has a ledger take in what each epoch leads to, and its file written beside, as the pipeline does.
    #[arg(long)]
    ledger: bool,
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
    let Arguments { size, rate, ledger, plot, .. } = arguments;
    if size.workers != 1 && !ledger {
        return Err(Failure::usage("rescoring drives one worker on its own thread: --workers 1, or --ledger".to_owned()));
    }
    match plot {
        None => measure(arguments, size, *rate).map(|figures| figures.print(size, *rate)),
        Some(folder) => curves(arguments, folder),
    }
}

/// One run.
fn measure(Arguments { seconds, ledger, .. }: &Arguments, size: &Size, rate: u64) -> Result<Figures, Failure> {
    let policy = load_policy(&size.policy)?;
    let country = Country::new(size.persons, size.seed, size.start);
    let (updates, last_day) = life(&policy, &country, size.persons, (rate * (seconds + WARM_UP_SECONDS)) as usize);
    if updates.is_empty() {
        return Err(Failure::failed("too few people for a single update".to_owned()));
    }
    match ledger {
        true => {
            let parts = population(&policy, country).chain([last_day]);
            with_ledger(&policy, usize::from(size.workers), parts, updates, rate as f64)
        }
        false => timely::execute_directly(move |worker| {
            let mut house = House::build(worker, policy.clone());
            settle(worker, &mut house, &policy, population(&policy, country).chain([last_day]));
            let run = open_loop(updates, rate as f64, |batch| {
                house.submit(batch);
                let answer = house.close(worker);
                Ok(Left::of(&answer.changes, answer.rows_changed))
            })?;
            Ok(Figures { run, ledger: false, rss_bytes: rss_bytes(), sizes: house.sizes() })
        }),
    }
}

/// The same through an engine and into a ledger.
fn with_ledger(
    policy: &Arc<Policy>,
    workers: usize,
    parts: impl Iterator<Item = Decoded>,
    updates: Vec<Update>,
    rate: f64,
) -> Result<Figures, Failure> {
    let (mut engine, mut book) = (Engine::start(policy.clone(), workers), Book::begin(true, policy)?);
    parts.for_each(|part| part.enter(&mut engine));
    commit(&mut engine, &mut book, |_| ())?;
    finish(&book)?;
    let run = open_loop(updates, rate, |batch| {
        engine.submit(std::mem::take(batch));
        commit(&mut engine, &mut book, |output| Left::of(&output.changes, output.rows_changed))
    })?;
    finish(&book)?;
    Ok(Figures { run, ledger: true, rss_bytes: rss_bytes(), sizes: engine.sizes() })
}

/// Prints a run for each population and each rate, and draws them. What a large run leaves to the allocator would be counted as a smaller one's: they grow.
fn curves(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let Arguments { size, rate, .. } = arguments;
    let mut by_rate = [("p50", Vec::new()), ("p99", Vec::new()), ("p99.9", Vec::new())];
    let mut by_people = by_rate.clone();
    let mut memory = [("resident", Vec::new()), ("stores", Vec::new())];
    let run = |size: &Size, rate: u64, x: f64, curves: &mut [Curve; 3]| -> Result<(Figures, f64), Failure> {
        let figures = measure(arguments, size, rate)?;
        figures.print(size, rate);
        let changed = figures.run.changed();
        for ((_, points), quantile) in curves.iter_mut().zip([0.5, 0.99, 0.999]) {
            points.push((x, changed.took.value_at_quantile(quantile) as f64 / 1000.0));
        }
        Ok((figures, x))
    };
    for share in SHARES {
        let size = Size { persons: (size.persons / share).max(1), ..size.clone() };
        let (figures, x) = run(&size, *rate, size.persons as f64, &mut by_people)?;
        let stored: u64 = figures.sizes.stores.values().map(|store| store.bytes).sum();
        memory[0].1.push((x, figures.rss_bytes as f64 / 1e6));
        memory[1].1.push((x, stored as f64 / 1e6));
    }
    for rate in RATES {
        run(size, rate, rate as f64, &mut by_rate)?;
    }
    std::fs::create_dir_all(folder).map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    let title = format!("{} people: an update that changed a family or a decision", size.persons);
    draw(&folder.join("latency-by-rate.svg"), &title, ["updates a second", "microseconds"], &by_rate)?;
    let title = format!("{rate} updates a second: an update that changed a family or a decision");
    draw(&folder.join("latency-by-population.svg"), &title, ["people", "microseconds"], &by_people)?;
    draw(&folder.join("memory-by-population.svg"), "Memory", ["people", "megabytes"], &memory)
}

/// What an epoch left behind.
struct Left {
    rows: u64,
    decisions: u64,
}

impl Left {
    fn of(changes: &[Change], rows: u64) -> Left {
        Left { rows, decisions: changes.iter().filter(|change| change.is_of_decision()).count() as u64 }
    }

    /// Which of [`LEFT`] it is.
    fn kind(&self) -> usize {
        if self.decisions > 0 { 2 } else { usize::from(self.rows > 0) }
    }
}

/// The updates of epochs that left the same behind.
#[derive(Clone)]
struct Kind {
    /// From when each was due until it was through.
    took: Histogram<u64>,
    /// How long the engine was at work with one that had its epoch for itself.
    alone: Histogram<u64>,
    /// The same with all of them, in nanoseconds.
    busy: u64,
}

impl Kind {
    fn new() -> Kind {
        let times = || Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("three digits up to a minute");
        Kind { took: times(), alone: times(), busy: 0 }
    }

    fn and(&self, other: &Kind) -> Kind {
        let mut both = self.clone();
        both.took.add(&other.took).expect("of one shape");
        both.alone.add(&other.alone).expect("of one shape");
        both.busy += other.busy;
        both
    }
}

/// What an open loop showed.
struct Run {
    /// In the order of [`LEFT`].
    kinds: [Kind; 3],
    decisions: u64,
    seconds: f64,
    epochs: u64,
}

/// The same, and what was held at its end.
struct Figures {
    run: Run,
    ledger: bool,
    rss_bytes: u64,
    sizes: Sizes,
}

/// Feeds the updates at `rate` a second; an epoch takes whatever has arrived when the one before is through.
fn open_loop(updates: Vec<Update>, rate: f64, mut epoch: impl FnMut(&mut Vec<Update>) -> Result<Left, Failure>) -> Result<Run, Failure> {
    let mut run = Run { kinds: [(); 3].map(|()| Kind::new()), decisions: 0, seconds: 0.0, epochs: 0 };
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
        let left = epoch(&mut batch)?;
        let done = elapsed();
        run.count(&left, &arrived, [begun, done], counted_from);
        arrived.clear();
        batch.clear();
    }
    run.seconds = (elapsed().saturating_sub(counted_from)) as f64 / 1e9;
    Ok(run)
}

impl Run {
    /// Counts an epoch of the updates that arrived at these times.
    fn count(&mut self, left: &Left, arrived: &[u64], [begun, done]: [u64; 2], counted_from: u64) {
        let kind = &mut self.kinds[left.kind()];
        arrived.iter().filter(|at| **at >= counted_from).for_each(|at| kind.took.saturating_record(done - at));
        if begun < counted_from {
            return;
        }
        kind.busy += done - begun;
        if arrived.len() == 1 {
            kind.alone.saturating_record(done - begun);
        }
        (self.decisions, self.epochs) = (self.decisions + left.decisions, self.epochs + 1);
    }

    /// The updates that changed a household's row or a decision.
    fn changed(&self) -> Kind {
        self.kinds[1].and(&self.kinds[2])
    }
}

impl Figures {
    /// A line for each kind of update, one for those that changed anything, and one for all of them. What one costs that has its epoch for itself
    /// is told by median; of an epoch of several all count as what they left behind together.
    fn print(&self, size: &Size, rate: u64) {
        let Figures { run, ledger, rss_bytes, sizes } = self;
        let changed = run.changed();
        let all = changed.and(&run.kinds[0]);
        let updates = all.took.len();
        let kinds = LEFT.into_iter().zip(&run.kinds).chain([("row or decision changed", &changed), ("any", &all)]);
        for (left, Kind { took, alone, busy }) in kinds {
            let (mut measured, busy_seconds) = (quantiles(took), *busy as f64 / 1e9);
            let figures = json!({
                "left": left, "ledger": ledger, "rate": rate, "updates": took.len(), "share": took.len() as f64 / updates.max(1) as f64,
                "records_per_s": updates as f64 / run.seconds, "cpu_seconds": busy_seconds,
                "cpu_us_per_update": busy_seconds * 1e6 / took.len().max(1) as f64,
                "alone": alone.len(), "alone_p50_us": alone.value_at_quantile(0.5) as f64 / 1000.0, "epochs": run.epochs,
                "changed_decisions": run.decisions, "rss_bytes": rss_bytes, "stores": stores(sizes, size.persons),
            });
            measured.extend(figures.as_object().cloned().unwrap_or_default());
            report("rescoring", size, measured.into());
        }
    }
}
