//! `shanyraq`: agency records in, changed decisions and consent texts out.

use clap::{Parser, Subcommand};
use shanyraq::bench::Bench;
use shanyraq::commands::{Failure, batch, demo, generate, policy};
use std::process::ExitCode;

// The system's allocator gives memory back inside merges, and a load frees what it allocates on other threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Write a synthetic country: its population, its life by day, and the truth beside it.
    Generate(generate::GenerateArguments),
    /// Feeds in, views out.
    Batch(batch::BatchArguments),
    /// Look after a policy package.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Measure the engine.
    #[command(subcommand)]
    Bench(Bench),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shanyraq: {}", failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(arguments) => demo::demo(arguments),
        Command::Generate(arguments) => generate::generate(arguments),
        Command::Batch(arguments) => batch::batch(arguments),
        Command::Policy(command) => policy::policy(command),
        Command::Bench(command) => shanyraq::bench::bench(command),
    }
}
