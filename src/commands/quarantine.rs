//! `shanyraq quarantine`: the lines that a pipeline refused, and what is done about them.

use super::Failure;
use super::feed::{post, register_mapping, wait_for};
use crate::journal::Settlement;
use crate::ledger::{Reader, Refused};
use crate::pipeline::ledger_file;
use crate::serve::ROWS_MAX;
use crate::sources::{is_meant, write_quarantine};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// Rows that have more bytes than this together are sent by several requests: a single one has less.
const BYTES_TOGETHER: usize = 4 << 20;

/// Look after the lines that a pipeline refused.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// How many wait, by feed, field and reason.
    List(Choice),
    /// Those that wait, whole, as NDJSON.
    Show(Choice),
    /// Send those that wait once more: for when the package has learned to take them.
    Retry(Retry),
    /// Those that wait need nobody's attention any more; they stay where they are.
    Discard(Sending),
}

/// Which refused lines.
#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// The folder of journal and ledger.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Of this feed alone, or of one file of it (zags:acts.ndjson).
    #[arg(long)]
    feed: Option<String>,
    /// Whose reason has these words in it.
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub struct Sending {
    #[command(flatten)]
    choice: Choice,
    /// The pipeline.
    #[arg(long, default_value = "http://127.0.0.1:7117")]
    to: String,
}

#[derive(Args, Clone, Debug)]
pub struct Retry {
    #[command(flatten)]
    sending: Sending,
    /// A mended mapping, for rows of tables.
    #[arg(long)]
    map: Option<PathBuf>,
}

pub fn quarantine(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(choice) => list(&waiting(choice)?),
        Command::Show(choice) => show(&waiting(choice)?)?,
        Command::Retry(arguments) => retry(arguments)?,
        Command::Discard(sending) => settle(&sending.to, &waiting(&sending.choice)?, Settlement::Discarded, None)?,
    }
    Ok(())
}

fn waiting(choice: &Choice) -> Result<Vec<Refused>, Failure> {
    let file = ledger_file(&choice.data);
    if !file.is_file() {
        return Err(Failure::usage(format!("{}: no ledger here", file.display())));
    }
    let refused = Reader::open(&file).and_then(|reader| reader.refused()).map_err(|failure| Failure::failed(failure.to_string()))?;
    let is_chosen = |refused: &Refused| {
        refused.state == "waiting"
            && choice.feed.as_ref().is_none_or(|feed| is_meant(&refused.row.file, feed))
            && choice.reason.as_ref().is_none_or(|words| refused.row.reason.contains(words))
    };
    Ok(refused.into_iter().filter(is_chosen).collect())
}

fn list(refused: &[Refused]) {
    let mut counts = std::collections::BTreeMap::new();
    for Refused { row, .. } in refused {
        *counts.entry((&*row.file, row.field.as_str(), row.reason.as_str())).or_insert(0u64) += 1;
    }
    for ((feed, field, reason), count) in counts {
        println!("{}", json!({ "feed": feed, "field": field, "reason": reason, "lines": count }));
    }
}

fn show(refused: &[Refused]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    refused.iter().try_for_each(|refused| write_quarantine(&mut out, &refused.row)).map_err(|error| Failure::failed(error.to_string()))
}

/// A line that is refused again is a new row of the quarantine, with its new reason; it stays its feed's.
fn retry(Retry { sending, map }: &Retry) -> Result<(), Failure> {
    let refused = waiting(&sending.choice)?;
    // A row of a table is kept under the names of its columns.
    let of_table = refused.iter().find(|refused| refused.row.raw.contains(&b'\n'));
    let mapping = match (map, of_table) {
        (Some(map), _) => Some(register_mapping(&sending.to, map)?),
        (None, Some(refused)) => {
            return Err(Failure::usage(format!("{} line {}: rows of tables need --map", refused.row.file, refused.row.line)));
        }
        (None, None) => None,
    };
    settle(&sending.to, &refused, Settlement::Retried, mapping.as_deref())
}

/// So many at a time that none of it is too much for the pipeline.
fn settle(to: &str, refused: &[Refused], how: Settlement, mapping: Option<&str>) -> Result<(), Failure> {
    let mut rest = refused;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |refused: &&Refused| {
            bytes += refused.row.raw.len();
            bytes <= BYTES_TOGETHER
        };
        let together = rest.iter().take(ROWS_MAX).take_while(fits).count().max(1);
        let (now, later) = rest.split_at(together);
        let rows: Vec<u64> = now.iter().map(|refused| refused.number).collect();
        let body = json!({ "rows": rows, "how": how, "mapping": mapping }).to_string();
        let answer = post(&format!("{to}/v1/quarantine"), "", body.as_bytes())?;
        wait_for(to, answer["token"].as_str().unwrap_or_default())?;
        rest = later;
    }
    println!("{} lines {}", refused.len(), how.name());
    Ok(())
}
