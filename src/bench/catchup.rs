//! How fast a backlog is worked off: days of a country's life, decoded before, in epochs as large as a pipeline's.

use super::book::{Book, commit, finish};
use super::report::{report, stores};
use super::{Size, cpu_seconds, life, population};
use crate::commands::{Failure, load_policy, rss_bytes};
use crate::engine::Engine;
use clap::Args;
use fixtures::country::Country;
use serde_json::json;
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// How many updates wait.
    #[arg(long, default_value_t = 200_000)]
    updates: usize,
    /// Updates of an epoch.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Also writes what each epoch leads to into a ledger's file, beside, as the pipeline does; it is over once the file has all.
    #[arg(long)]
    ledger: bool,
}

pub fn catchup(Arguments { size, updates, batch, ledger }: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&size.policy)?;
    let country = Country::new(size.persons, size.seed, size.start);
    let (waiting, last_day) = life(&policy, &country, size.persons, *updates);
    let mut engine = Engine::start(policy.clone(), usize::from(size.workers));
    for part in population(&policy, country) {
        part.enter(&mut engine);
    }
    last_day.enter(&mut engine);
    let mut book = Book::begin(*ledger, &policy)?;
    commit(&mut engine, &mut book, |_| ())?;
    finish(&book)?;
    let records = waiting.len();
    let (mut epochs, mut rows, mut decisions) = (0, 0, 0);
    let mut waiting = waiting.into_iter();
    let (started, cpu_started) = (Instant::now(), cpu_seconds());
    while waiting.len() > 0 {
        engine.submit(waiting.by_ref().take(*batch as usize).collect());
        commit(&mut engine, &mut book, |output| {
            epochs += 1;
            rows += output.rows_changed;
            decisions += output.changes.iter().filter(|change| change.is_of_decision()).count();
        })?;
    }
    let decided = started.elapsed().as_secs_f64();
    finish(&book)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_started);
    let measured = json!({
        "ledger": ledger, "batch": batch, "updates": records, "epochs": epochs, "rows_changed": rows, "changed_decisions": decisions, "seconds": seconds,
        "decided_seconds": decided, "records_per_s": records as f64 / seconds, "cpu_seconds": cpu, "cpu_us_per_update": cpu * 1e6 / records.max(1) as f64,
        "rss_bytes": rss_bytes(), "stores": stores(&engine.sizes(), size.persons),
    });
    report("catchup", size, measured);
    Ok(())
}
