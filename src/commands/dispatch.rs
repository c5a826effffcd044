//! `shanyraq dispatch`: from when on people are written to, and what becomes of it.

use super::Failure;
use super::feed::{get, post, wait_for};
use crate::ledger::{Reader, Report};
use crate::pipeline::ledger_file;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Look after what people are written.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// From here on people are written to; what holds by now is the baseline.
    Live(Place),
    /// Whether people are written to, how many texts are under way, and what is paused.
    Status(Place),
    /// Texts on their way, by benefit, kind and status.
    Queue(Data),
    /// Offered, delivered, answered, agreed, assigned, paid, by benefit; and why rights were not offered.
    Funnel(Data),
    /// Rights that nobody could be told of, one a line: the social worker's list.
    Unreached(Data),
}

#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The pipeline.
    #[arg(long, default_value = "http://127.0.0.1:7117")]
    to: String,
}

#[derive(Args, Clone, Debug)]
pub struct Data {
    /// The folder of journal and ledger; a pipeline may be at work in it.
    #[arg(long, default_value = "data")]
    data: PathBuf,
}

pub fn dispatch(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Live(Place { to }) => {
            let answer = post(&format!("{to}/v1/dispatch/live"), "", b"")?;
            wait_for(to, answer["token"].as_str().unwrap_or_default()).map(drop)
        }
        Command::Status(Place { to }) => status(to),
        Command::Queue(data) => report(data, Report::Queue),
        Command::Funnel(data) => report(data, Report::Funnel),
        Command::Unreached(data) => report(data, Report::Unreached),
    }
}

fn status(to: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{to}/v1/status: {error}"));
    let status: Value = serde_json::from_reader(get(&format!("{to}/v1/status"))?).map_err(|error| failed(&error))?;
    let said = ["date", "live", "texts", "texts_under_way", "paused"].map(|name| (name.to_owned(), status[name].clone()));
    println!("{}", json!(serde_json::Map::from_iter(said)));
    Ok(())
}

fn report(Data { data }: &Data, report: Report) -> Result<(), Failure> {
    let file = ledger_file(data);
    if !file.is_file() {
        return Err(Failure::usage(format!("{}: no ledger here", file.display())));
    }
    let rows = Reader::open(&file).and_then(|reader| reader.report(report)).map_err(|failure| Failure::failed(failure.to_string()))?;
    super::print(&rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    Ok(())
}
