//! From the scheduled arrival of a record to its acknowledgement and to the ledger, through the whole pipeline; what the disk alone makes of the
//! same arrivals; and how long a start takes that tells the journal again.

use super::{days, fresh_folder, made_of_population, poisson, rss_bytes};
use crate::commands::feeds::parse_date;
use crate::commands::{Failure, load_package};
use crate::intake::{Intake, Schema};
use crate::ledger::sync_ledger;
use crate::packages::Package;
use crate::pipeline::{Answer, Pipeline, Setup, Submission, snapshots_folder};
use crate::snapshot::{Snapshot, Snapshots};
use clap::Args;
use dataflows::model::{Date, Epoch};
use dataflows::policy::Policy;
use fixtures::country::{Country, morning};
use hdrhistogram::Histogram;
use serde_json::json;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Arguments {
    /// A package's folder, or the name of a built-in package.
    #[arg(long, default_value = "kz")]
    policy: String,
    #[arg(long, default_value_t = 100_000)]
    persons: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Records a second, each a submission of its own.
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// From one snapshot to the next: at the default none falls into what is measured.
    #[arg(long, default_value_t = 900)]
    snapshot_seconds: u64,
    /// A folder that is not there yet, on the disk that is measured.
    #[arg(long, default_value = "bench-data")]
    data: PathBuf,
    #[arg(long, default_value = "2026-01-01", value_parser = parse_date)]
    start: Date,
}

/// Bytes before each sync by which the disk is measured, and of the file that they overwrite.
const SYNC_BYTES: usize = 200;
const ROOM_BYTES: usize = 64 << 20;
/// The disk is watched for so long at a time, until it is nearly as quick as before the load, but not for ever.
const WINDOW: Duration = Duration::from_secs(5);
const WINDOWS_MAX: usize = 24;
const CALM: f64 = 1.5;
/// So many seconds of the stream pass before anything is counted: in the first of them the host of a virtual machine takes back what memory the
/// load has freed, and writes wait meanwhile (35 ms for each 64 MiB; seen beside the kernel's count of the free pages it reports).
const WARM_UP: u64 = 10;
/// The stream and the disk alone are measured in turns of so many seconds: how quick a shared disk is changes by the minute.
/// A checkpoint of the ledger that time makes due falls into either: into each second of the stream as many as without turns, each half as large.
const TURN: u64 = 5;
const FOR_EVER: Duration = Duration::from_secs(600);

pub fn arrival(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { policy, persons, seed, rate, seconds, snapshot_seconds, data, start } = arguments;
    let setup = || Setup { snapshot_every: Duration::from_secs(*snapshot_seconds), ..Setup::quiet(data) };
    let problem = fresh_folder(data)?;
    let package = load_package(policy)?;
    let policy = &package.policy;
    let mut probe = Probe::new(data).map_err(problem)?;
    let mut calm = Disk::default();
    calm.try_for(&mut probe, *rate as f64, WINDOW).map_err(problem)?;
    let country = Country::new(*persons, *seed, *start);
    let (warm_up, wanted) = ((rate * WARM_UP) as usize, (rate * (WARM_UP + seconds)) as usize);
    let (mut first, mornings) = life(policy, &country, *persons, wanted);
    let records = first.split_off(warm_up);

    let loaded = Instant::now();
    let pipeline = begin(&package, setup())?;
    enter(&pipeline, population(policy, country).chain(mornings))?;
    let load_seconds = loaded.elapsed().as_secs_f64();
    let micros = |histogram: &Histogram<u64>, quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let budget = |syncs: &Histogram<u64>| 1.5 * micros(syncs, 0.99) + 3000.0;
    let quantiles = |histogram: &Histogram<u64>| json!({ "p50_us": micros(histogram, 0.5), "p99_us": micros(histogram, 0.99), "max_us": micros(histogram, 1.0) });
    // What the load left to be written would be written while the stream is measured.
    sync_ledger(&pipeline.ledger_file).map_err(|failure| Failure::failed(failure.to_string()))?;
    Command::new("sync").status().map_err(problem)?;
    let held_before = rss_bytes();
    // A disk that has been written much makes its users wait for a while, whoever they are.
    let rested = Instant::now();
    for _ in 0..WINDOWS_MAX {
        let mut now = Disk::default();
        now.try_for(&mut probe, *rate as f64, WINDOW).map_err(problem)?;
        if micros(&now.arrivals, 0.99) <= CALM * micros(&calm.arrivals, 0.99) {
            break;
        }
    }
    let rest_seconds = rested.elapsed().as_secs_f64();
    open_loop(&pipeline, first, *rate as f64);
    let mut disk = Disk::default();
    let (syncs_before, syncing_before) = pipeline.metrics.timed("sync");
    let (times, held) = by_turns(&pipeline, &mut probe, &mut disk, records, *rate).map_err(problem)?;
    let [acknowledged, mut known, later] = times;
    let halves = json!({ "first_half": quantiles(&known), "second_half": quantiles(&later) });
    known.add(later).expect("of one shape");
    let epochs = pipeline.progress.standing().epoch;
    let (snapshots, stall_seconds) = pipeline.metrics.timed("snapshot_stall");
    let (syncs, syncing) = pipeline.metrics.timed("sync");
    pipeline.stop();

    let snapshots_folder = snapshots_folder(data);
    let newest = Snapshots::open(&snapshots_folder, 1).and_then(|snapshots| snapshots.newest()?.first().map_or(Ok(0), Snapshot::bytes));
    let snapshot_bytes = newest.map_err(problem)?;
    let started = Instant::now();
    let pipeline = begin(&package, setup())?;
    let recall_seconds = started.elapsed().as_secs_f64();
    pipeline.stop();
    fs::remove_dir_all(&snapshots_folder).map_err(problem)?;
    let journal_bytes: u64 =
        fs::read_dir(data.join("journal")).map_err(problem)?.flatten().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let ledger_bytes = fs::metadata(data.join("ledger.db")).map_err(problem)?.len();
    let started = Instant::now();
    let pipeline = begin(&package, setup())?;
    let start_seconds = started.elapsed().as_secs_f64();
    pipeline.stop();
    fs::remove_dir_all(data).map_err(problem)?;
    println!(
        "{}",
        json!({ "bench": "arrival", "persons": persons, "rate": rate, "records": acknowledged.len(), "sync": quantiles(&disk.syncs), "sync_as_met": quantiles(&disk.met), "disk_alone": quantiles(&disk.arrivals), "acknowledged": quantiles(&acknowledged),
                "in_ledger": quantiles(&known), "in_ledger_by_halves": halves, "budget_p99_us": budget(&disk.syncs), "budget_as_met_p99_us": budget(&disk.met),
                "syncs": syncs - syncs_before, "syncs_in_flight": (syncing - syncing_before) / *seconds as f64, "epochs": epochs, "load_seconds": load_seconds, "rest_seconds": rest_seconds,
                "restart_seconds": start_seconds, "restart_from_snapshot_seconds": recall_seconds, "snapshot_bytes": snapshot_bytes,
                "snapshots": snapshots, "snapshot_stall_seconds": stall_seconds / snapshots.max(1) as f64, "journal_bytes": journal_bytes, "ledger_bytes": ledger_bytes, "rss_bytes_before": held_before, "rss_bytes_by_turn": held })
    );
    Ok(())
}

pub fn begin(package: &Package, setup: Setup) -> Result<Pipeline, Failure> {
    Pipeline::start(Some(package.clone()), setup).map_err(|failure| Failure::failed(failure.to_string()))
}

/// Has a pipeline take in submissions, and waits until all of them are in the ledger.
pub fn enter(pipeline: &Pipeline, submissions: impl Iterator<Item = Submission>) -> Result<(), Failure> {
    let failed = |reason: String| Failure::failed(reason);
    let mut last = None;
    for part in submissions {
        last = Some(pipeline.scribe.send(part).map_err(|reason| failed(reason.to_string()))?);
    }
    let epoch = last.map_or(Ok(0), |answer| answer.wait().map(|answer| answer.epoch));
    pipeline.progress.wait_for(epoch.map_err(|reason| failed(reason.to_string()))?, FOR_EVER);
    Ok(())
}

/// A file full of zeros by which the disk is measured. It is there all the time: what a file leaves that is taken away may be given back to the
/// disk at once (`discard`), and whoever syncs then waits (64 MiB: up to 150 ms).
struct Probe(File);

impl Probe {
    fn new(folder: &Path) -> std::io::Result<Probe> {
        let mut file = File::create(folder.join("probe"))?;
        file.write_all(&vec![0; ROOM_BYTES])?;
        file.sync_all()?;
        Ok(Probe(file))
    }
}

/// What the disk alone makes of the same arrivals.
struct Disk {
    /// How long each sync took.
    syncs: Histogram<u64>,
    /// The same as arrivals meet them, which find the disk in a long one more often than in a short one: a sync counts once, and once more
    /// for each arrival that is expected while it lasts.
    met: Histogram<u64>,
    /// From when something was due until it was durable: behind a sync that takes long others wait.
    arrivals: Histogram<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        Disk { syncs: histogram(), met: histogram(), arrivals: histogram() }
    }
}

impl Disk {
    /// Short writes over zeros, as the journal makes them, whatever waits together with the next sync.
    fn try_for(&mut self, probe: &mut Probe, rate: f64, duration: Duration) -> std::io::Result<()> {
        let file = &mut probe.0;
        file.rewind()?;
        let (mut due, mut arrivals) = (Duration::ZERO, poisson(rate));
        let mut next = move || Duration::from_nanos(arrivals());
        let started = Instant::now();
        let mut following = next();
        while due < duration {
            due = following;
            std::thread::sleep(due.saturating_sub(started.elapsed()));
            let begun = started.elapsed();
            let mut waiting = vec![due];
            following = next();
            while following <= begun {
                waiting.push(following);
                following = next();
            }
            file.write_all(&[7; SYNC_BYTES])?;
            file.sync_data()?;
            let done = started.elapsed();
            let took = (done - begun).as_nanos() as u64;
            self.syncs.saturating_record(took);
            self.met.record_correct(took, (1e9 / rate) as u64).expect("no sync takes ten minutes");
            waiting.into_iter().for_each(|due| self.arrivals.saturating_record((done - due).as_nanos() as u64));
        }
        Ok(())
    }
}

/// The country's records, a submission or two a neighbourhood.
pub fn population(policy: &Arc<Policy>, country: Country) -> impl Iterator<Item = Submission> + use<> {
    let schema = Arc::new(Schema::from(&**policy));
    made_of_population(country, move |lines| Submission::read(&mut Intake::journalling(schema.clone()), "country", 1, lines)).flatten()
}

/// Records of the country's life, a submission each; and what begins its days, which comes before them so that none is of a day to come.
fn life(policy: &Arc<Policy>, country: &Country, persons: usize, wanted: usize) -> (Vec<Submission>, Vec<Submission>) {
    let mut intake = Intake::journalling(Arc::new(Schema::from(&**policy)));
    let mut read = |lines: &[u8]| Submission::read(&mut intake, "country", 1, lines);
    let (mut records, mut mornings) = (Vec::new(), Vec::new());
    for (day, lines) in country.days(days(persons, wanted)) {
        let beginning = morning(day);
        let of_life = lines.strip_prefix(beginning.as_slice()).expect("a day begins with its morning");
        mornings.append(&mut read(&beginning));
        of_life.split(|byte| *byte == b'\n').for_each(|line| records.append(&mut read(line)));
    }
    records.truncate(wanted);
    (records, mornings)
}

/// The disk alone and the stream by turns: how long until each record was acknowledged, and until the ledger had it, of the first half and of the
/// second; and what the process held after each turn.
fn by_turns(
    pipeline: &Pipeline,
    probe: &mut Probe,
    disk: &mut Disk,
    records: Vec<Submission>,
    rate: u64,
) -> std::io::Result<([Histogram<u64>; 3], Vec<u64>)> {
    let [mut acknowledged, mut earlier, mut later] = [(); 3].map(|()| histogram());
    let (middle, mut records, mut held) = (records.len() / 2, records.into_iter(), Vec::new());
    while records.len() > 0 {
        disk.try_for(probe, rate as f64, Duration::from_secs(TURN))?;
        let half = if records.len() > middle { &mut earlier } else { &mut later };
        let [durable, known] = open_loop(pipeline, records.by_ref().take((rate * TURN) as usize).collect(), rate as f64);
        acknowledged.add(durable).expect("of one shape");
        half.add(known).expect("of one shape");
        held.push(rss_bytes());
    }
    Ok(([acknowledged, earlier, later], held))
}

/// Sends each record when it is due, whatever became of those before; how long until each was acknowledged, and until the ledger had it.
fn open_loop(pipeline: &Pipeline, records: Vec<Submission>, rate: f64) -> [Histogram<u64>; 2] {
    let (sent, waiting) = channel();
    let (durable, written) = channel();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let acknowledging = scope.spawn(move || acknowledgements(started, waiting, &durable));
        let knowing = scope.spawn(move || passages(pipeline, started, written));
        let mut arrivals = poisson(rate);
        for record in records {
            let due = Duration::from_nanos(arrivals());
            while started.elapsed() < due {
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
            let Ok(answer) = pipeline.scribe.send(record) else { break };
            sent.send((due, answer)).expect("whoever waits for answers stays as long as anything is sent");
        }
        drop(sent);
        [acknowledging, knowing].map(|watcher| watcher.join().expect("no watcher panics"))
    })
}

/// How long after it was due each record was durable.
fn acknowledgements(started: Instant, waiting: Receiver<(Duration, Answer)>, durable: &Sender<(Duration, Epoch)>) -> Histogram<u64> {
    let mut took = histogram();
    for (due, answer) in waiting {
        let Ok(answer) = answer.wait() else { break };
        took.saturating_record((started.elapsed() - due).as_nanos() as u64);
        durable.send((due, answer.epoch)).expect("whoever watches the ledger stays");
    }
    took
}

/// How long after it was due the ledger had each record, with all that it led to: by its own watch, since whoever waits for it is woken later.
fn passages(pipeline: &Pipeline, started: Instant, written: Receiver<(Duration, Epoch)>) -> Histogram<u64> {
    let mut took = histogram();
    for (due, epoch) in written {
        pipeline.progress.wait_for(epoch, FOR_EVER);
        took.saturating_record((pipeline.progress.since() - started - due).as_nanos() as u64);
    }
    took
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("three digits up to ten minutes")
}
