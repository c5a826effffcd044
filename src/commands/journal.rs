//! `shanyraq journal`: looks into the journal of a pipeline that is not running, and tries whether a folder can be restored.

use super::Failure;
use super::safekeeping::{DrillArguments, restore_drill};
use crate::intake::Scalar;
use crate::journal::entries::{FieldWords, entries, values};
use crate::journal::{self, Dictionary, Entry, Folder, Summary, Written, base, read_epochs};
use crate::pipeline::{compact_now, journal_folder};
use clap::{Args, Subcommand};
use dataflows::model::{Date, PersonKind};
use serde_json::{Map, Value, json};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Look into a journal.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Reads all of it, checks every sum, and says what it holds.
    Verify(Place),
    RestoreDrill(DrillArguments),
    /// Puts a base of what still counts in the place of the files behind the newest snapshot, and packs these into another folder.
    Archive(ArchiveArguments),
    /// Writes every record that it holds as a line of NDJSON, in order: a feed for `batch`.
    Export(Place),
}

#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The folder of journal and ledger.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
}

#[derive(Args, Clone, Debug)]
pub struct ArchiveArguments {
    #[command(flatten)]
    pub place: Place,
    /// Where the files go; without it they are gone.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

pub fn journal(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Verify(place) => verify(place),
        Command::Export(place) => export(place),
        Command::RestoreDrill(arguments) => restore_drill(arguments),
        Command::Archive(arguments) => archive(arguments),
    }
}

fn open(place: &Place) -> Result<Folder, Failure> {
    let folder = journal_folder(&place.data);
    if !folder.is_dir() {
        return Err(Failure::usage(format!("{}: no journal here", folder.display())));
    }
    Folder::open(&folder).map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))
}

/// Reads a base, if there is one, and what follows it; what the segments hold, and the epoch of the base.
fn read(place: &Place, mut each: impl FnMut(&journal::Epoch)) -> Result<(Summary, u64), Failure> {
    let failed = |failure: journal::Failure| Failure::failed(failure.to_string());
    let (disk, folder) = (open(place)?, journal_folder(&place.data));
    let base = base::newest(&folder).map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    let mut each = |epoch: journal::Epoch| {
        each(&epoch);
        Ok(())
    };
    base.iter().try_for_each(|base| base.read(&mut each)).map_err(failed)?;
    let base = base.map_or(0, |base| base.epoch);
    Ok((read_epochs(&disk, base, u64::MAX, &mut each).map_err(failed)?, base))
}

fn verify(place: &Place) -> Result<(), Failure> {
    let (mut records, mut refused, mut own) = (0u64, 0u64, 0u64);
    let (summary, base) = read(place, |epoch| {
        for entry in entries(&epoch.entries) {
            match entry {
                Entry::Record(_) => records += 1,
                Entry::Refused { .. } => refused += 1,
                Entry::Own(_) => own += 1,
                Entry::Calendar(_) | Entry::Heartbeat { .. } => {}
            }
        }
    })?;
    println!(
        "{}",
        json!({ "base": base, "segments": summary.segments, "epochs": summary.epochs, "last_epoch": summary.last_epoch.max(base), "bytes": summary.bytes,
                "torn_bytes": summary.torn_bytes, "records": records, "refused": refused, "own": own })
    );
    Ok(())
}

fn export(place: &Place) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let mut broken = None;
    read(place, |epoch| {
        for line in entries(&epoch.entries).filter_map(|entry| line(&entry, &epoch.dictionary)) {
            if broken.is_none() {
                broken = writeln!(out, "{line}").err();
            }
        }
    })?;
    match broken.or_else(|| out.flush().err()) {
        Some(error) => Err(Failure::failed(format!("cannot write: {error}"))),
        None => Ok(()),
    }
}

/// Compacts, beside nobody.
fn archive(arguments: &ArchiveArguments) -> Result<(), Failure> {
    let ArchiveArguments { place, out } = arguments;
    let _held = open(place)?;
    let before = segments(place)?;
    compact_now(&place.data, out.as_deref()).map_err(|failure| Failure::failed(failure.to_string()))?;
    println!("{}", json!({ "segments_before": before, "segments": segments(place)? }));
    Ok(())
}

fn segments(place: &Place) -> Result<usize, Failure> {
    base::segments_until(&journal_folder(&place.data), u64::MAX - 1).map_err(|failure| Failure::failed(failure.to_string()))
}

/// An entry as the agency wrote it; nothing for what the pipeline itself did, and for what was refused.
fn line(entry: &Entry<'_>, dictionary: &Dictionary) -> Option<Value> {
    let announced = |register: &str, key: &str, date: Date| json!({ "register": register, "key": key, "seq": 1, "op": "upsert", "data": { "date": date.to_string() } });
    match entry {
        Entry::Record(record) => record_line(record, dictionary),
        Entry::Calendar(date) => Some(announced("calendar", "today", *date)),
        Entry::Heartbeat { register, date } => Some(announced("heartbeat", &dictionary.registers.get(usize::from(*register))?.id, *date)),
        Entry::Refused { .. } | Entry::Own(_) => None,
    }
}

fn record_line(record: &Written<'_>, dictionary: &Dictionary) -> Option<Value> {
    let register = dictionary.registers.get(usize::from(record.register))?;
    let people = if dictionary.person == "iin" { PersonKind::Iin } else { PersonKind::Integer };
    let mut data = Map::new();
    for (field, value) in values(record.fields) {
        let words: &FieldWords = register.fields.get(field)?;
        data.insert(words.name.clone(), value_of(words.scalar(value, people)));
    }
    let op = if record.deleted { "delete" } else { "upsert" };
    let mut line = json!({ "register": register.id, "key": record.key, "seq": record.seq, "op": op, "data": data });
    if record.person != 0 {
        line["person"] = person(record.person, people);
    }
    if let Some(date) = record.event_date {
        line["event_date"] = date.to_string().into();
    }
    if record.event_date.is_none_or(|date| date < record.heard) && record.heard > Date::BEFORE_ALL {
        line["recorded_at"] = record.heard.to_string().into();
    }
    Some(line)
}

fn person(person: u64, people: PersonKind) -> Value {
    match people {
        PersonKind::Iin => people.format(person).into(),
        PersonKind::Integer => person.into(),
    }
}

fn value_of(scalar: Scalar<'_>) -> Value {
    match scalar {
        Scalar::Bool(value) => value.into(),
        Scalar::Integer(number) => number.into(),
        Scalar::Text(text) => text.into(),
        Scalar::Null | Scalar::Other(_) => Value::Null,
    }
}
