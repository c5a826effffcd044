//! `shanyraq batch`: feeds in, views out. Rows depend only on the set of records and the last date: they are equal to the
//! byte for any number of workers, any order of lines and any batching.

use crate::commands::{Failure, load_policy};
use crate::engine::{Engine, EpochOutput};
use crate::intake::{Item, Schema};
use crate::rights::Rights;
use crate::sources::{Chunk, Difference, Feed, MAX_SHRINK, Options, Quarantined, Snapshot, write_quarantine};
use crate::views::Writer as Rows;
use clap::Args;
use dataflows::model::{Date, Fault, HouseholdKey, PersonId, Role};
use dataflows::policy::Policy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub struct BatchArguments {
    /// A package's folder, or the name of a built-in package.
    #[arg(long)]
    pub policy: String,
    /// Files or folders of updates (NDJSON, or CSV with --map; plain, gzip or zstd).
    #[arg(long, required = true, num_args = 1..)]
    pub feed: Vec<PathBuf>,
    /// Mapping files for CSV sources.
    #[arg(long, num_args = 1..)]
    pub map: Vec<PathBuf>,
    /// After the feeds: a file that is all there is of a register. What it lacks is deleted. Repeatable.
    #[arg(long, value_name = "REGISTER=FILE", action = clap::ArgAction::Append, value_parser = parse_dump)]
    pub snapshot: Vec<(String, PathBuf)>,
    /// The share of a register that a full dump may delete.
    #[arg(long, default_value_t = MAX_SHRINK, value_parser = parse_share)]
    pub max_shrink: f64,
    /// The folder to write to.
    #[arg(long)]
    pub out: PathBuf,
    /// The business date, instead of the feed's date records.
    #[arg(long, value_parser = parse_date)]
    pub as_of: Option<Date>,
    /// Worker threads of the dataflow.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// What to write.
    #[arg(long, value_delimiter = ',', default_value = "households,categories,decisions,changes,faults,quarantine")]
    pub views: Vec<View>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    Households,
    Indicators,
    Criteria,
    Categories,
    Decisions,
    Changes,
    Faults,
    Quarantine,
}

pub fn parse_date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "not a date of the form YYYY-MM-DD".to_owned())
}

fn parse_dump(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((register, file)) if !register.is_empty() && !file.is_empty() => Ok((register.to_owned(), PathBuf::from(file))),
        _ => Err("not of the form REGISTER=FILE".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "not a share from 0 to 1".to_owned())
}

/// Threads that decode while the engine works; two keep one worker busy on two cores.
const DECODING_THREADS: usize = 2;

/// Runs the command; returns an error for exit codes 1 to 3.
pub fn batch(arguments: BatchArguments) -> Result<(), Failure> {
    let policy = load_policy(&arguments.policy)?;
    let started = Instant::now();
    std::fs::create_dir_all(&arguments.out).map_err(|error| Failure::failed(format!("{}: {error}", arguments.out.display())))?;
    let schema = Arc::new(Schema::from(&*policy));
    let options = Options { threads: DECODING_THREADS, ..Options::default() };
    let feed = Feed::open(schema.clone(), &arguments.feed, &arguments.map, options).map_err(Failure::usage)?;
    let dumps = Dump::open_all(&schema, &arguments, options).map_err(Failure::usage)?;
    let mut run = Run::new(policy, &arguments)?;
    for chunk in feed {
        run.take(chunk)?;
    }
    run.close_feeds()?;
    run.compare(dumps, &schema)?;
    let read = started.elapsed();
    run.finish(read.as_secs_f64())
}

/// A full dump that is to be compared.
struct Dump<'a> {
    register: u16,
    name: &'a str,
    file: Arc<str>,
    feed: Feed,
}

impl<'a> Dump<'a> {
    /// Opens the dumps asked for; each register may have one.
    fn open_all(schema: &Arc<Schema>, arguments: &'a BatchArguments, options: Options) -> Result<Vec<Self>, String> {
        let mut dumps: Vec<Dump<'a>> = Vec::new();
        for (name, path) in &arguments.snapshot {
            let register = schema.register(name).ok_or_else(|| format!("--snapshot: unknown register `{name}`"))?;
            if dumps.iter().any(|dump| dump.register == register) {
                return Err(format!("--snapshot: two dumps of {name}"));
            }
            let feed = Feed::open(schema.clone(), std::slice::from_ref(path), &arguments.map, options)?;
            dumps.push(Dump { register, name, file: path.display().to_string().into(), feed });
        }
        Ok(dumps)
    }
}

/// A batch under way.
struct Run<'a> {
    arguments: &'a BatchArguments,
    engine: Engine,
    rows: Rows,
    outputs: Outputs,
    /// Today's rights, by person and right.
    rights: Rights,
    faults: BTreeMap<Fault, isize>,
    summary: Summary,
}

#[derive(Default)]
struct Summary {
    lines: u64,
    accepted: u64,
    quarantined: u64,
    epochs: u64,
    changes: u64,
    graph_seconds: f64,
    /// By register: how a full dump differed.
    dumps: serde_json::Map<String, Value>,
}

impl<'a> Run<'a> {
    fn new(policy: Arc<Policy>, arguments: &'a BatchArguments) -> Result<Self, Failure> {
        let mut engine = Engine::start(policy.clone(), arguments.workers as usize);
        if let Some(date) = arguments.as_of {
            engine.set_date(date);
        }
        Ok(Run {
            arguments,
            engine,
            rows: Rows::new(policy),
            outputs: Outputs::new(&arguments.out, &arguments.views)?,
            rights: Rights::default(),
            faults: BTreeMap::new(),
            summary: Summary::default(),
        })
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), Failure> {
        self.note(&chunk)?;
        let mut updates = Vec::with_capacity(chunk.items.len());
        for item in chunk.items {
            match item {
                Item::Update(update) => updates.push(update),
                Item::Heartbeat { register, date } => self.engine.hear(register, date),
                Item::Calendar(date) => {
                    self.submit(std::mem::take(&mut updates));
                    self.turn_page(date)?;
                }
            }
        }
        self.submit(updates);
        Ok(())
    }

    /// Counts what was read and keeps what was refused.
    fn note(&mut self, chunk: &Chunk) -> Result<(), Failure> {
        self.summary.lines += chunk.lines;
        self.summary.accepted += chunk.items.len() as u64;
        self.quarantine(&chunk.rejected)
    }

    fn quarantine(&mut self, rows: &[Quarantined]) -> Result<(), Failure> {
        self.summary.quarantined += rows.len() as u64;
        rows.iter().try_for_each(|row| self.outputs.quarantine(row))
    }

    fn submit(&mut self, updates: Vec<dataflows::model::Update>) {
        if !updates.is_empty() {
            self.engine.submit(updates);
        }
    }

    /// A date record: what came since the last one belongs to the last date.
    fn turn_page(&mut self, date: Date) -> Result<(), Failure> {
        if self.arguments.as_of.is_some() || date <= self.engine.today() {
            return Ok(());
        }
        if self.engine.today() > Date::BEFORE_ALL {
            self.commit()?;
        }
        self.engine.set_date(date);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        let output = self.engine.commit();
        self.summary.graph_seconds += started.elapsed().as_secs_f64();
        self.summary.epochs += 1;
        self.fold(output)
    }

    /// Keeps today's decisions and faults, and writes what changed on the date.
    fn fold(&mut self, output: EpochOutput) -> Result<(), Failure> {
        for change in output.changes.into_iter().filter_map(|change| self.rights.fold(change)) {
            if let Some(row) = self.rows.change(output.date, change.kind, change.id, &change.decision) {
                self.summary.changes += 1;
                self.outputs.write(View::Changes, &row)?;
            }
        }
        for (fault, sign) in output.faults {
            let count = self.faults.entry(fault.clone()).or_default();
            *count += sign;
            if *count == 0 {
                self.faults.remove(&fault);
            }
        }
        Ok(())
    }

    /// Ends the last epoch of the feeds.
    fn close_feeds(&mut self) -> Result<(), Failure> {
        if self.engine.today() > Date::BEFORE_ALL {
            return self.commit();
        }
        self.outputs.finish()?;
        self.expect_something()?;
        Err(Failure::usage("no date: the feed has no calendar record; give --as-of".to_owned()))
    }

    fn expect_something(&self) -> Result<(), Failure> {
        match self.summary.accepted {
            0 => Err(Failure::rejected("nothing could be read: see quarantine.ndjson".to_owned())),
            _ => Ok(()),
        }
    }

    /// Compares full dumps with what is held. What they change is one epoch.
    fn compare(&mut self, dumps: Vec<Dump<'_>>, schema: &Arc<Schema>) -> Result<(), Failure> {
        if dumps.is_empty() {
            return Ok(());
        }
        for Dump { register, name, file, feed } in dumps {
            let mut snapshot = Snapshot::new(schema.clone(), register, self.engine.held(register));
            for chunk in feed {
                self.note(&chunk)?;
                let refused = snapshot.take(chunk).into_iter();
                let rows =
                    refused.map(|row| Quarantined { file: file.clone(), line: 0, field: row.field, reason: row.reason, raw: Vec::new() });
                self.quarantine(&rows.collect::<Vec<_>>())?;
            }
            let difference = match snapshot.finish(self.arguments.max_shrink) {
                Ok(difference) => difference,
                Err(refusal) => {
                    self.outputs.finish()?;
                    return Err(Failure::failed(format!("{file}: {name}: {refusal} (--max-shrink)")));
                }
            };
            self.summary.dumps.insert(name.to_owned(), counts(&difference));
            self.submit(difference.updates);
        }
        self.commit()
    }

    fn finish(mut self, read_seconds: f64) -> Result<(), Failure> {
        let written = Instant::now();
        self.write_households()?;
        for decision in self.rights.standing() {
            self.outputs.write(View::Decisions, &self.rows.decision(decision))?;
        }
        for fault in self.faults.keys() {
            self.outputs.write(View::Faults, &self.rows.fault(fault))?;
        }
        self.outputs.finish()?;
        self.report(read_seconds, written.elapsed().as_secs_f64());
        self.expect_something()
    }

    fn write_households(&mut self) -> Result<(), Failure> {
        if self.outputs.wants(View::Households) {
            let mut members: Vec<(PersonId, Role)> = Vec::new();
            let mut current = HouseholdKey::NONE;
            for (household, person, role) in self.engine.members().chain([(HouseholdKey::NONE, 0, Role::Outside)]) {
                if household != current && !members.is_empty() {
                    self.outputs.write(View::Households, &self.rows.household(current, &members))?;
                    members.clear();
                }
                current = household;
                members.push((person, role));
            }
        }
        if [View::Indicators, View::Criteria, View::Categories].iter().any(|view| self.outputs.wants(*view)) {
            for (household, _, judgement) in self.engine.judgements() {
                self.outputs.write_with(View::Indicators, || self.rows.household_indicators(household, &judgement))?;
                self.outputs.write_with(View::Criteria, || self.rows.criteria(household, &judgement))?;
                self.outputs.write_with(View::Categories, || self.rows.category(household, &judgement))?;
            }
        }
        if self.outputs.wants(View::Indicators) {
            for (person, values) in self.engine.person_values() {
                self.outputs.write(View::Indicators, &self.rows.person_indicators(person, &values))?;
            }
        }
        Ok(())
    }

    fn report(&self, read_seconds: f64, write_seconds: f64) {
        let (sizes, summary) = (self.engine.sizes(), &self.summary);
        let mut row = json!({
            "date": self.engine.today().to_string(), "lines": summary.lines, "accepted": summary.accepted, "quarantined": summary.quarantined,
            "records": sizes.records, "people": sizes.store("people").keys, "households": sizes.store("households").keys, "epochs": summary.epochs,
            "decisions": self.rights.standing().len(), "changes": summary.changes, "faults": self.faults.len(),
            "read_seconds": rounded(read_seconds), "graph_seconds_beside_reading": rounded(summary.graph_seconds), "write_seconds": rounded(write_seconds),
            "file_bytes": sizes.store("files").bytes, "row_bytes": sizes.store("rows").bytes, "rss_bytes": crate::commands::rss_bytes(),
            "peak_rss_bytes": crate::commands::peak_rss_bytes(),
        });
        if !summary.dumps.is_empty() {
            row["snapshots"] = summary.dumps.clone().into();
        }
        if self.arguments.json {
            println!("{row}");
        } else {
            for (name, value) in row.as_object().into_iter().flatten() {
                println!("{name:>30}  {value}");
            }
        }
    }
}

fn counts(difference: &Difference) -> Value {
    let Difference { equal, new, changed, deleted, spared, .. } = difference;
    json!({"equal": equal, "new": new, "changed": changed, "deleted": deleted, "spared": spared})
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The files of the views asked for.
struct Outputs {
    files: Vec<(View, PathBuf, BufWriter<File>)>,
}

impl Outputs {
    fn new(folder: &Path, views: &[View]) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for view in views {
            let path = folder.join(format!("{}.ndjson", format!("{view:?}").to_lowercase()));
            let file = File::create(&path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
            files.push((*view, path, BufWriter::with_capacity(1 << 20, file)));
        }
        Ok(Outputs { files })
    }

    fn wants(&self, view: View) -> bool {
        self.files.iter().any(|(other, ..)| *other == view)
    }

    fn write(&mut self, view: View, row: &Value) -> Result<(), Failure> {
        self.with(view, |file| {
            serde_json::to_writer(&mut *file, row)?;
            file.write_all(b"\n")
        })
    }

    fn write_with(&mut self, view: View, row: impl FnOnce() -> Value) -> Result<(), Failure> {
        if self.wants(view) { self.write(view, &row()) } else { Ok(()) }
    }

    fn quarantine(&mut self, row: &Quarantined) -> Result<(), Failure> {
        self.with(View::Quarantine, |file| write_quarantine(file, row))
    }

    fn with(&mut self, view: View, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<(), Failure> {
        let Some((_, path, file)) = self.files.iter_mut().find(|(other, ..)| *other == view) else { return Ok(()) };
        write(file).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        for (_, path, file) in &mut self.files {
            file.flush().map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }
}
