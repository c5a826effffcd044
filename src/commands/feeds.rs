//! Feeds on their way into an engine, one epoch a business date: what every command does that is given files of records.

use super::Failure;
use crate::engine::{Engine, EpochOutput};
use crate::intake::{Item, Schema};
use crate::sources::{Chunk, Feed, Options, Quarantined};
use clap::Args;
use dataflows::model::{Date, Update};
use dataflows::policy::Policy;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Threads that decode while the engine works; two keep one worker busy on two cores.
const DECODING_THREADS: usize = 2;

#[derive(Args, Clone, Debug)]
pub struct FeedArguments {
    /// A package's folder, or the name of a built-in package.
    #[arg(long)]
    pub policy: String,
    /// Files or folders of updates (NDJSON, or CSV with --map; plain, gzip or zstd).
    #[arg(long, required = true, num_args = 1..)]
    pub feed: Vec<PathBuf>,
    /// Mapping files for CSV sources.
    #[arg(long, num_args = 1..)]
    pub map: Vec<PathBuf>,
    /// The business date, instead of the feed's date records.
    #[arg(long, value_parser = parse_date)]
    pub as_of: Option<Date>,
    /// Worker threads of the dataflow.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
}

pub fn parse_date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "not a date of the form YYYY-MM-DD".to_owned())
}

/// Who reads along.
pub trait Reader {
    /// Lines were refused.
    fn refused(&mut self, _rows: &[Quarantined]) -> Result<(), Failure> {
        Ok(())
    }

    /// An epoch ended.
    fn epoch(&mut self, _output: EpochOutput) -> Result<(), Failure> {
        Ok(())
    }
}

/// An engine that is fed from files.
pub struct Load {
    pub engine: Engine,
    pub schema: Arc<Schema>,
    pub lines: u64,
    pub accepted: u64,
    pub quarantined: u64,
    pub epochs: u64,
    /// How long the engine was waited for.
    pub graph_seconds: f64,
    as_of: Option<Date>,
    map: Vec<PathBuf>,
}

impl Load {
    /// Starts an engine, with nothing read yet.
    pub fn start(policy: Arc<Policy>, arguments: &FeedArguments) -> Self {
        let schema = Arc::new(Schema::from(&*policy));
        let mut engine = Engine::start(policy, arguments.workers as usize);
        if let Some(date) = arguments.as_of {
            engine.set_date(date);
        }
        let (as_of, map) = (arguments.as_of, arguments.map.clone());
        Load { engine, schema, lines: 0, accepted: 0, quarantined: 0, epochs: 0, graph_seconds: 0.0, as_of, map }
    }

    /// Opens files by the mappings given.
    pub fn open(&self, paths: &[PathBuf]) -> Result<Feed, Failure> {
        let options = Options { threads: DECODING_THREADS, ..Options::default() };
        Feed::open(self.schema.clone(), paths, &self.map, options).map_err(Failure::usage)
    }

    /// Reads a feed to its end, an epoch a business date.
    pub fn read(&mut self, feed: Feed, reader: &mut impl Reader) -> Result<(), Failure> {
        for chunk in feed {
            self.take(chunk, reader)?;
        }
        if self.engine.today() > Date::BEFORE_ALL {
            return self.commit(reader);
        }
        self.expect_something()?;
        Err(Failure::usage("no date: the feed has no calendar record; give --as-of".to_owned()))
    }

    /// Fails if no line could be read.
    pub fn expect_something(&self) -> Result<(), Failure> {
        match self.accepted {
            0 => Err(Failure::rejected("nothing could be read: the view quarantine of `batch` tells why".to_owned())),
            _ => Ok(()),
        }
    }

    /// Says on the side how many lines were refused, for commands that keep none of them.
    pub fn tell_refused(&self) {
        if self.quarantined > 0 {
            eprintln!("{} of {} lines were refused: the view quarantine of `batch` tells why", self.quarantined, self.lines);
        }
    }

    /// Counts what was read, and tells what was refused.
    pub fn note(&mut self, chunk: &Chunk, reader: &mut impl Reader) -> Result<(), Failure> {
        self.lines += chunk.lines;
        self.accepted += chunk.items.len() as u64;
        self.quarantine(&chunk.rejected, reader)
    }

    /// Counts and tells lines that were refused.
    pub fn quarantine(&mut self, rows: &[Quarantined], reader: &mut impl Reader) -> Result<(), Failure> {
        self.quarantined += rows.len() as u64;
        reader.refused(rows)
    }

    /// Adds updates to the open epoch.
    pub fn submit(&mut self, updates: Vec<Update>) {
        if !updates.is_empty() {
            self.engine.submit(updates);
        }
    }

    /// Ends the open epoch.
    pub fn commit(&mut self, reader: &mut impl Reader) -> Result<(), Failure> {
        let started = Instant::now();
        let output = self.engine.commit();
        self.graph_seconds += started.elapsed().as_secs_f64();
        self.epochs += 1;
        reader.epoch(output)
    }

    fn take(&mut self, chunk: Chunk, reader: &mut impl Reader) -> Result<(), Failure> {
        self.note(&chunk, reader)?;
        let mut updates = Vec::with_capacity(chunk.items.len());
        for item in chunk.items {
            match item {
                Item::Update(update) => updates.push(update),
                Item::Heartbeat { register, date } => self.engine.hear(register, date),
                Item::Calendar(date) => {
                    self.submit(std::mem::take(&mut updates));
                    self.turn_page(date, reader)?;
                }
            }
        }
        self.submit(updates);
        Ok(())
    }

    /// A date record: what came since the last one belongs to the last date.
    fn turn_page(&mut self, date: Date, reader: &mut impl Reader) -> Result<(), Failure> {
        if self.as_of.is_some() || date <= self.engine.today() {
            return Ok(());
        }
        if self.engine.today() > Date::BEFORE_ALL {
            self.commit(reader)?;
        }
        self.engine.set_date(date);
        Ok(())
    }
}
