//! `shanyraq batch`: feeds in, views out. Rows depend only on the set of records and the last date: they are equal to the
//! byte for any number of workers, any order of lines and any batching.

use super::feeds::{FeedArguments, Load, Reader};
use super::{Failure, load_policy};
use crate::engine::EpochOutput;
use crate::rights::Rights;
use crate::sources::{Feed, MAX_SHRINK, Quarantined, Snapshot, write_quarantine};
use crate::views::Writer as Rows;
use clap::Args;
use dataflows::model::Fault;
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
    #[command(flatten)]
    pub feeds: FeedArguments,
    /// After the feeds: a file that is all there is of a register. What it lacks is deleted. Repeatable.
    #[arg(long, value_name = "REGISTER=FILE", action = clap::ArgAction::Append, value_parser = parse_dump)]
    pub snapshot: Vec<(String, PathBuf)>,
    /// The share of a register that a full dump may delete.
    #[arg(long, default_value_t = MAX_SHRINK, value_parser = parse_share)]
    pub max_shrink: f64,
    /// The folder to write to.
    #[arg(long)]
    pub out: PathBuf,
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

fn parse_dump(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((register, file)) if !register.is_empty() && !file.is_empty() => Ok((register.to_owned(), PathBuf::from(file))),
        _ => Err("not of the form REGISTER=FILE".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "not a share from 0 to 1".to_owned())
}

/// Runs the command; returns an error for exit codes 1 to 3.
pub fn batch(arguments: BatchArguments) -> Result<(), Failure> {
    let policy = load_policy(&arguments.feeds.policy)?;
    let started = Instant::now();
    std::fs::create_dir_all(&arguments.out).map_err(|error| Failure::failed(format!("{}: {error}", arguments.out.display())))?;
    let load = Load::start(policy.clone(), &arguments.feeds);
    let feed = load.open(&arguments.feeds.feed)?;
    let dumps = Dump::open_all(&load, &arguments)?;
    let book = Book::new(policy, &arguments)?;
    let mut run = Run { arguments: &arguments, load, book, dumps: serde_json::Map::new() };
    run.read(feed)?;
    run.compare(dumps)?;
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
    fn open_all(load: &Load, arguments: &'a BatchArguments) -> Result<Vec<Self>, Failure> {
        let mut dumps: Vec<Dump<'a>> = Vec::new();
        for (name, path) in &arguments.snapshot {
            let unknown = || Failure::usage(format!("--snapshot: unknown register `{name}`"));
            let register = load.schema.register(name).ok_or_else(unknown)?;
            if dumps.iter().any(|dump| dump.register == register) {
                return Err(Failure::usage(format!("--snapshot: two dumps of {name}")));
            }
            let feed = load.open(std::slice::from_ref(path))?;
            dumps.push(Dump { register, name, file: path.display().to_string().into(), feed });
        }
        Ok(dumps)
    }
}

/// What is written down while the feeds are read.
struct Book {
    rows: Rows,
    outputs: Outputs,
    /// Today's rights, by person and right.
    rights: Rights,
    faults: BTreeMap<Fault, isize>,
    changes: u64,
}

impl Book {
    fn new(policy: Arc<Policy>, arguments: &BatchArguments) -> Result<Self, Failure> {
        let outputs = Outputs::new(&arguments.out, &arguments.views)?;
        Ok(Book { rows: Rows::new(policy), outputs, rights: Rights::default(), faults: BTreeMap::new(), changes: 0 })
    }
}

impl Reader for Book {
    fn refused(&mut self, rows: &[Quarantined]) -> Result<(), Failure> {
        rows.iter().try_for_each(|row| self.outputs.quarantine(row))
    }

    /// Keeps today's decisions and faults, and writes what changed on the date.
    fn epoch(&mut self, output: EpochOutput) -> Result<(), Failure> {
        let Book { rows, outputs, rights, changes, .. } = self;
        let mut written = Ok(());
        rights.fold(output.changes, |change| {
            let row = rows.change(output.date, change.kind, &change.decision);
            if let (Some(row), Ok(())) = (row, &written) {
                *changes += 1;
                written = outputs.write(View::Changes, &row);
            }
        });
        written?;
        for (fault, sign) in output.faults {
            let count = self.faults.entry(fault.clone()).or_default();
            *count += sign;
            if *count == 0 {
                self.faults.remove(&fault);
            }
        }
        Ok(())
    }
}

/// A batch under way.
struct Run<'a> {
    arguments: &'a BatchArguments,
    load: Load,
    book: Book,
    /// By register: how a full dump differed.
    dumps: serde_json::Map<String, Value>,
}

impl Run<'_> {
    /// Reads the feeds; what was refused is written even if they have no date.
    fn read(&mut self, feed: Feed) -> Result<(), Failure> {
        let read = self.load.read(feed, &mut self.book);
        if read.is_err() {
            self.book.outputs.finish()?;
        }
        read
    }

    /// Compares full dumps with what is held. What they change is one epoch.
    fn compare(&mut self, dumps: Vec<Dump<'_>>) -> Result<(), Failure> {
        if dumps.is_empty() {
            return Ok(());
        }
        let Run { load, book, .. } = self;
        for Dump { register, name, file, feed } in dumps {
            let mut snapshot = Snapshot::new(load.schema.clone(), register, load.engine.held(register));
            for chunk in feed {
                load.note(&chunk, book)?;
                let refused = snapshot.take(chunk).into_iter();
                let rows =
                    refused.map(|row| Quarantined { file: file.clone(), line: 0, field: row.field, reason: row.reason, raw: Vec::new() });
                load.quarantine(&rows.collect::<Vec<_>>(), book)?;
            }
            let difference = match snapshot.finish(self.arguments.max_shrink) {
                Ok(difference) => difference,
                Err(refusal) => {
                    book.outputs.finish()?;
                    return Err(Failure::failed(format!("{file}: {name}: {refusal} (--max-shrink)")));
                }
            };
            self.dumps.insert(name.to_owned(), json!(difference.counts));
            load.submit(difference.updates);
        }
        load.commit(book)
    }

    fn finish(mut self, read_seconds: f64) -> Result<(), Failure> {
        let written = Instant::now();
        self.write_households()?;
        let Book { rows, outputs, rights, faults, .. } = &mut self.book;
        for decision in rights.standing() {
            outputs.write(View::Decisions, &rows.decision(decision))?;
        }
        for fault in faults.keys() {
            outputs.write(View::Faults, &rows.fault(fault))?;
        }
        outputs.finish()?;
        self.report(read_seconds, written.elapsed().as_secs_f64());
        self.load.expect_something()
    }

    fn write_households(&mut self) -> Result<(), Failure> {
        let (engine, Book { rows, outputs, .. }) = (&mut self.load.engine, &mut self.book);
        if outputs.wants(View::Households) {
            for (household, members) in engine.households() {
                outputs.write(View::Households, &rows.household(household, &members))?;
            }
        }
        if [View::Indicators, View::Criteria, View::Categories].iter().any(|view| outputs.wants(*view)) {
            for (household, _, judgement) in engine.judgements() {
                outputs.write_with(View::Indicators, || rows.household_indicators(household, &judgement))?;
                outputs.write_with(View::Criteria, || rows.criteria(household, &judgement))?;
                outputs.write_with(View::Categories, || rows.category(household, &judgement))?;
            }
        }
        if outputs.wants(View::Indicators) {
            for (person, values) in engine.person_values() {
                outputs.write(View::Indicators, &rows.person_indicators(person, &values))?;
            }
        }
        Ok(())
    }

    fn report(&mut self, read_seconds: f64, write_seconds: f64) {
        let decisions = self.book.rights.standing().len();
        let (load, book) = (&self.load, &self.book);
        let sizes = load.engine.sizes();
        let mut row = json!({
            "date": load.engine.today().to_string(), "lines": load.lines, "accepted": load.accepted, "quarantined": load.quarantined,
            "records": sizes.records, "people": sizes.store("people").keys, "households": sizes.store("households").keys, "epochs": load.epochs,
            "decisions": decisions, "changes": book.changes, "faults": book.faults.len(),
            "read_seconds": rounded(read_seconds), "graph_seconds_beside_reading": rounded(load.graph_seconds), "write_seconds": rounded(write_seconds),
            "file_bytes": sizes.store("files").bytes, "store_bytes": sizes.stores.values().map(|store| store.bytes).sum::<u64>(), "rss_bytes": crate::commands::rss_bytes(),
            "peak_rss_bytes": crate::commands::peak_rss_bytes(),
        });
        if !self.dumps.is_empty() {
            row["snapshots"] = self.dumps.clone().into();
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
