//! `shanyraq backup`, `restore` and `journal restore-drill`: copies of a data folder.

use super::Failure;
use crate::pipeline::{copy_data, drill};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Copy a data folder while a pipeline works in it: journal, ledger, a snapshot, packages and mappings, checked.
#[derive(Args, Clone, Debug)]
pub struct BackupArguments {
    /// A folder that is empty or not there.
    pub out: PathBuf,
    /// The folder of journal and ledger.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
}

/// Bring a backup back into a data folder that is empty or not there, checked.
#[derive(Args, Clone, Debug)]
pub struct RestoreArguments {
    pub backup: PathBuf,
    /// The folder of journal and ledger.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
}

/// Restore a copy of a data folder from its snapshot and from its journal alone, and compare all that follows.
#[derive(Args, Clone, Debug)]
pub struct DrillArguments {
    /// The folder of journal and ledger; a pipeline may work in it.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
    /// Where to; removed afterwards. It takes twice the room of the data folder.
    #[arg(long, default_value = "drill")]
    pub scratch: PathBuf,
    /// As the pipeline runs.
    #[arg(long)]
    pub allow_assumed: bool,
}

pub fn backup(arguments: &BackupArguments) -> Result<(), Failure> {
    copy(&arguments.data, &arguments.out)
}

pub fn restore(arguments: &RestoreArguments) -> Result<(), Failure> {
    copy(&arguments.backup, &arguments.data)
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<(), Failure> {
    let kept = copy_data(from, to).map_err(|failure| Failure::failed(failure.to_string()))?;
    tell_older_ledger(kept.older_ledger);
    println!("{}", json!({ "epoch": kept.epoch, "journal_epoch": kept.journal_epoch, "snapshot": kept.snapshot }));
    Ok(())
}

fn tell_older_ledger(format: Option<i64>) {
    if let Some(format) = format {
        eprintln!("the ledger is of format {format}, and was not verified: a start writes it anew from the journal");
    }
}

pub fn restore_drill(arguments: &DrillArguments) -> Result<(), Failure> {
    let DrillArguments { data, scratch, allow_assumed } = arguments;
    if scratch.exists() {
        return Err(Failure::usage(format!("--scratch {}: is there already", scratch.display())));
    }
    let outcome = drill(data, scratch, *allow_assumed).map_err(|failure| Failure::failed(failure.to_string()))?;
    tell_older_ledger(outcome["older_ledger"].as_i64());
    println!("{outcome}");
    Ok(())
}
