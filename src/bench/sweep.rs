//! What the day costs on which something changes for everybody at once: a quarter begins, one epoch in which all people are looked at.

use super::book::{Book, commit, finish};
use super::report::{report, stores};
use super::{Decoded, Size, cpu_seconds, population};
use crate::commands::{Failure, load_policy, rss_bytes};
use crate::engine::{Engine, EpochOutput};
use crate::intake::{Intake, Schema};
use clap::Args;
use fixtures::country::{Country, morning};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// Also writes what changes into a ledger's file, beside, as the pipeline does; it is over once the file has all.
    #[arg(long)]
    ledger: bool,
}

pub fn sweep(Arguments { size, ledger }: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&size.policy)?;
    let country = Country::new(size.persons, size.seed, size.start);
    let mut engine = Engine::start(policy.clone(), usize::from(size.workers));
    for part in population(&policy, country) {
        part.enter(&mut engine);
    }
    let mut book = Book::begin(*ledger, &policy)?;
    commit(&mut engine, &mut book, |_| ())?;
    finish(&book)?;
    let quarter = size.start.quarter_start().add_months(3);
    let rss_before = rss_bytes();
    Decoded::read(&mut Intake::new(Arc::new(Schema::from(&*policy))), &morning(quarter)).enter(&mut engine);
    let (started, cpu_started) = (Instant::now(), cpu_seconds());
    let changed = |output: &EpochOutput| (output.rows_changed, output.changes.iter().filter(|change| change.is_of_decision()).count());
    let (rows, decisions) = commit(&mut engine, &mut book, changed)?;
    let decided = started.elapsed().as_secs_f64();
    finish(&book)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_started);
    let measured = json!({
        "ledger": ledger, "date": quarter.to_string(), "seconds": seconds, "decided_seconds": decided, "cpu_seconds": cpu,
        "cpu_us_per_person": cpu * 1e6 / size.persons.max(1) as f64, "rows_changed": rows, "changed_decisions": decisions,
        "rss_before_bytes": rss_before, "rss_bytes": rss_bytes(), "stores": stores(&engine.sizes(), size.persons),
    });
    report("sweep", size, measured);
    Ok(())
}
