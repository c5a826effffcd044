//! `shanyraq ledger`: looks into the ledger's file.

use super::Failure;
use crate::ledger::Reader;
use crate::pipeline::ledger_file;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// Look into the ledger's file.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Checks the chain of all changes, that they lead to the decisions, and that every text belongs to a conversation about one of them.
    Verify(Place),
}

#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The folder of journal and ledger.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
}

pub fn ledger(command: &Command) -> Result<(), Failure> {
    let Command::Verify(Place { data }) = command;
    let file = ledger_file(data);
    if !file.is_file() {
        return Err(Failure::usage(format!("{}: no ledger here", file.display())));
    }
    let verified = Reader::open(&file).and_then(|reader| reader.verify()).map_err(|failure| Failure::failed(failure.to_string()))?;
    let verified = verified.map_err(Failure::failed)?;
    println!(
        "{}",
        json!({ "changes": verified.changes, "decisions": verified.decisions, "texts": verified.texts, "chain": verified.link })
    );
    Ok(())
}
