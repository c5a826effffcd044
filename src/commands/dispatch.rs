//! `shanyraq dispatch`: from when on people are written to, and what becomes of it.

use super::feed::{get, post, wait_for};
use super::pause::{PauseArguments, pause};
use super::{Failure, payments};
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
    /// Texts wait, or go on: about a benefit, or of a kind.
    Pause(PauseArguments),
    Resume(PauseArguments),
    /// Nobody is written to at a number; what they would be told is on the social worker's list.
    Block(Number),
    Unblock(Number),
    /// A wave: so many rights that were there before anybody was written to are offered from here on.
    Release(Release),
    /// Texts on their way, by benefit, kind and status.
    Queue(Data),
    /// Offered, delivered, answered, agreed, assigned, paid, by benefit; and why rights were not offered.
    Funnel(Data),
    /// What social workers were told, one a line: replies that nobody could read, rights without a number or an account, what was overpaid.
    Notes(Data),
    /// Orders of payments as a file that banks take (pain.001.001.09).
    Payments(payments::Arguments),
    /// Every text that was written, one a line: without its content, and without a number in clear.
    Log(Data),
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
pub struct Number {
    /// In digits, like 77010000001.
    phone: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Clone, Debug)]
pub struct Release {
    #[arg(long)]
    benefit: String,
    /// People who live there alone, in the words of the package.
    #[arg(long)]
    region: Option<String>,
    /// The oldest of them, so many at most.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    place: Place,
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
        Command::Pause(arguments) => pause(arguments, true),
        Command::Resume(arguments) => pause(arguments, false),
        Command::Block(number) => block(number, true),
        Command::Unblock(number) => block(number, false),
        Command::Release(release) => self::release(release),
        Command::Status(Place { to }) => status(to),
        Command::Queue(data) => report(data, Report::Queue),
        Command::Funnel(data) => report(data, Report::Funnel),
        Command::Payments(arguments) => payments::payments(arguments),
        Command::Notes(data) => report(data, Report::Notes),
        Command::Log(data) => report(data, Report::Log),
        Command::Unreached(data) => report(data, Report::Unreached),
    }
}

fn block(Number { phone, place: Place { to } }: &Number, blocked: bool) -> Result<(), Failure> {
    let body = json!({ "phone": phone.to_string(), "blocked": blocked });
    let answer = post(&format!("{to}/v1/dispatch/block"), "", body.to_string().as_bytes())?;
    wait_for(to, answer["token"].as_str().unwrap_or_default()).map(drop)
}

fn release(Release { benefit, region, limit, place: Place { to } }: &Release) -> Result<(), Failure> {
    let body = json!({ "benefit": benefit, "region": region, "limit": limit });
    let answer = post(&format!("{to}/v1/dispatch/release"), "", body.to_string().as_bytes())?;
    if let Some(token) = answer["token"].as_str() {
        wait_for(to, token)?;
    }
    println!("{}", json!({ "released": answer["released"] }));
    Ok(())
}

fn status(to: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{to}/v1/status: {error}"));
    let status: Value = serde_json::from_reader(get(&format!("{to}/v1/status"))?).map_err(|error| failed(&error))?;
    let said = ["state", "date", "live", "texts", "texts_under_way", "paused"].map(|name| (name.to_owned(), status[name].clone()));
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
