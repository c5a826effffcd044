//! `shanyraq`: agency records in, changed decisions and consent texts out.

use clap::{Parser, Subcommand};
use shanyraq::bench::Bench;
use shanyraq::commands::{
    Failure, batch, demo, dispatch, feed, forecast, generate, journal, ledger, pause, policy, quarantine, run, safekeeping,
};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: shanyraq::memory::Memory = shanyraq::memory::Memory;

/// An engine for proactive social support: agency records in, changed decisions and consent texts out.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything embedded: a synthetic country, its life, pretend phones and agency.
    Demo(demo::DemoArguments),
    Generate(generate::Arguments),
    Run(run::RunArguments),
    Backup(safekeeping::BackupArguments),
    Restore(safekeeping::RestoreArguments),
    Feed(feed::FeedArguments),
    #[command(subcommand)]
    Dispatch(dispatch::Command),
    /// Let a feed, or texts about a benefit or of a kind, wait.
    Pause(pause::PauseArguments),
    /// Let them go on.
    Resume(pause::PauseArguments),
    /// Look into a journal.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Look after the lines that a pipeline refused.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Look into the ledger's file.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Feeds in, views out.
    Batch(batch::BatchArguments),
    /// What the calendar alone will change, and for how many.
    Forecast(forecast::ForecastArguments),
    /// Check and test policy packages.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Measure the engine.
    #[command(subcommand)]
    Bench(Bench),
}

fn main() -> ExitCode {
    match start(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shanyraq: {}", failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}

fn start(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::demo(arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Backup(arguments) => safekeeping::backup(&arguments),
        Command::Restore(arguments) => safekeeping::restore(&arguments),
        Command::Dispatch(command) => dispatch::dispatch(&command),
        Command::Pause(arguments) => pause::pause(&arguments, true),
        Command::Resume(arguments) => pause::pause(&arguments, false),
        Command::Quarantine(command) => quarantine::quarantine(&command),
        Command::Ledger(command) => ledger::ledger(&command),
        Command::Journal(command) => journal::journal(&command),
        Command::Feed(arguments) => feed::feed(&arguments),
        Command::Batch(arguments) => batch::batch(arguments),
        Command::Forecast(arguments) => forecast::forecast(&arguments),
        Command::Policy(command) => policy::run(&command),
        Command::Bench(command) => shanyraq::bench::bench(command),
    }
}
