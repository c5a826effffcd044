//! `shanyraq policy`: what policy packages say, whether they say it well, and help with writing them.

mod activation;
mod check;
mod new;
mod propose;
mod schema;
mod show;
mod test;
mod texts;

use super::Failure;
use clap::Subcommand;
use std::path::PathBuf;

pub use new::Skeleton;
pub use schema::{Schema, schemas};

/// Check, test, show and write policy packages.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Explain every mistake in a package, with file, line, column and a hint.
    Check {
        /// A package's folder, or the name of a built-in package.
        policy: String,
        /// One JSON object: how much the package says, and its mistakes.
        #[arg(long)]
        json: bool,
        /// What each expression costs: its stratum, and what makes it be computed again.
        #[arg(long, conflicts_with = "json")]
        costs: bool,
    },
    /// Play the stories of a package.
    Test(test::Arguments),
    /// Everything about a register, parameter, indicator, criterion, category, benefit or message: what it says, reads and is read by.
    Show {
        /// What it is called.
        id: String,
        /// A package's folder, or the name of a built-in package.
        policy: String,
    },
    /// How long each message is at its longest, in each language: parts of a short message, and what they cost.
    Texts(texts::Arguments),
    /// Write the skeleton of a register, an indicator or a benefit.
    New {
        #[arg(value_enum)]
        skeleton: Skeleton,
        /// What it is to be called.
        id: String,
        /// The package's folder.
        #[arg(long, default_value = ".")]
        policy: PathBuf,
    },
    /// Have a pipeline that runs check and keep a package, which may be compared and activated then.
    Propose(activation::Place),
    /// Who would gain and lose by a package, were it in force in a pipeline that runs: exactly, by benefit and region, with money.
    Diff(activation::DiffArguments),
    /// Bring a package that was proposed into force in a pipeline that runs, from a date on.
    Activate(activation::ActivateArguments),
    /// Propose the next value of a threshold that is relative to how people live.
    ProposeParameter(propose::Arguments),
    /// Write JSON Schemas of the files of packages, for editors.
    Schema {
        /// The folder that they are written into.
        #[arg(long, default_value = "schemas")]
        out: PathBuf,
    },
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check { policy, json: true, .. } => check::check_json(policy),
        Command::Check { policy, costs, .. } => check::check(policy, *costs),
        Command::Test(arguments) => test::run(arguments),
        Command::Show { id, policy } => show::show(id, policy),
        Command::Texts(arguments) => texts::texts(arguments),
        Command::New { skeleton, id, policy } => new::write(*skeleton, id, policy),
        Command::Propose(place) => activation::propose(place),
        Command::Diff(arguments) => activation::diff(arguments),
        Command::Activate(arguments) => activation::activate(arguments),
        Command::ProposeParameter(arguments) => propose::run(arguments),
        Command::Schema { out } => schema::write(out),
    }
}
