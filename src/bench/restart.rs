//! How long a start takes: from a snapshot, and telling the whole journal again.

use super::arrival::{begin, enter, population};
use super::report::report;
use super::{Size, fresh_folder};
use crate::commands::{Failure, load_package};
use crate::journal::entries::entries;
use crate::journal::{Entry, Folder, read_epochs};
use crate::pipeline::{Setup, snapshots_folder};
use clap::Args;
use fixtures::country::Country;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// A folder that is not there yet.
    #[arg(long, default_value = "bench-data")]
    data: PathBuf,
}

pub fn restart(Arguments { size, data }: &Arguments) -> Result<(), Failure> {
    let problem = fresh_folder(data)?;
    let package = load_package(&size.policy)?;
    let setup = || Setup { workers: size.workers.into(), ..Setup::quiet(data) };
    let started = Instant::now();
    let pipeline = begin(&package, setup())?;
    enter(&pipeline, population(&package.policy, Country::new(size.persons, size.seed, size.start)))?;
    let load_seconds = started.elapsed().as_secs_f64();
    pipeline.stop();

    let timed = || -> Result<f64, Failure> {
        let started = Instant::now();
        let pipeline = begin(&package, setup())?;
        let seconds = started.elapsed().as_secs_f64();
        pipeline.stop();
        Ok(seconds)
    };
    let from_snapshot = timed()?;
    fs::remove_dir_all(snapshots_folder(data)).map_err(problem)?;
    let from_journal = timed()?;
    let mut records = 0;
    let folder = Folder::open(&data.join("journal")).map_err(problem)?;
    let summary = read_epochs(&folder, 0, u64::MAX, |epoch| {
        records += entries(&epoch.entries).filter(|entry| matches!(entry, Entry::Record(_))).count();
        Ok(())
    });
    let bytes = summary.map_err(|failure| Failure::failed(failure.to_string()))?.bytes;
    fs::remove_dir_all(data).map_err(problem)?;
    let measured = json!({
        "load_seconds": load_seconds, "from_snapshot_seconds": from_snapshot, "from_journal_seconds": from_journal, "records": records,
        "records_per_s": records as f64 / from_journal, "journal_bytes": bytes, "journal_bytes_per_record": bytes as f64 / records as f64,
    });
    report("restart", size, measured);
    Ok(())
}
