//! From a country's records to the first decision for everybody.

use super::book::{Book, commit, finish};
use super::report::{report, stores};
use super::{Decoded, Size, cpu_seconds, population};
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
    /// Decode all records first, so that the graph is timed alone.
    #[arg(long)]
    decoded: bool,
    /// Also writes what is decided into a ledger's file, as the pipeline does; it is over once the file has all.
    #[arg(long)]
    ledger: bool,
}

pub fn load(Arguments { size, decoded, ledger }: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&size.policy)?;
    let mut engine = Engine::start(policy.clone(), usize::from(size.workers));
    let mut parts = population(&policy, Country::new(size.persons, size.seed, size.start));
    let prepared: Vec<Decoded> = if *decoded { parts.by_ref().collect() } else { Vec::new() };
    let (mut updates, mut book) = (0, Book::begin(*ledger, &policy)?);
    let (started, cpu_started) = (Instant::now(), cpu_seconds());
    for part in prepared.into_iter().chain(parts) {
        updates += part.updates.len();
        part.enter(&mut engine);
    }
    // Asking for sizes waits until every worker has taken in what was submitted.
    engine.sizes();
    let (submitted, submitted_bytes) = (started.elapsed().as_secs_f64(), rss_bytes());
    let decisions = commit(&mut engine, &mut book, |output| output.changes.len())?;
    let decided = started.elapsed().as_secs_f64();
    finish(&book)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_started);
    let (sizes, held) = (engine.sizes(), rss_bytes());
    let measured = json!({
        "decoded_before": decoded, "ledger": ledger, "people": sizes.store("people").keys, "updates": updates, "records_in_files": sizes.records,
        "households": sizes.store("households").keys, "decisions": decisions, "seconds": seconds, "decided_seconds": decided, "submit_seconds": submitted,
        "submitted_rss_bytes": submitted_bytes, "records_per_s": updates as f64 / seconds, "cpu_seconds": cpu,
        "cpu_us_per_update": cpu * 1e6 / updates.max(1) as f64, "rss_bytes": held, "stores": stores(&sizes, size.persons),
    });
    report("load", size, measured);
    Ok(())
}
