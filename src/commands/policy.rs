//! `shanyraq policy`: what policy packages say, and whether they say it well.

use super::{Failure, load_policy, package_texts};
use crate::stories;
use clap::Subcommand;
use dataflows::policy::Policy;
use std::collections::BTreeSet;

/// Check and test policy packages.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Explain every mistake in a package, with file, line, column and a hint.
    Check {
        /// A package's folder, or the name of a built-in package.
        policy: String,
    },
    /// Play the stories of a package.
    Test {
        /// A package's folder, or the name of a built-in package.
        policy: String,
        /// Only stories whose file or title contains this.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Propose the next value of a threshold that is relative to how people live.
    ProposeParameter(super::propose::Arguments),
}

/// Runs the command.
pub fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check { policy } => check(policy),
        Command::ProposeParameter(arguments) => super::propose::run(arguments),
        Command::Test { policy, only } => test(policy, only),
    }
}

fn check(name: &str) -> Result<(), Failure> {
    match Policy::load(&package_texts(name)?) {
        Ok(policy) => {
            policy.warnings.iter().for_each(|warning| println!("{warning}"));
            let sum = policy.summary();
            println!(
                "{}@{}: {} registers, {} indicators, {} criteria, {} benefits, {} warnings",
                policy.id,
                policy.version,
                sum.registers,
                sum.person_indicators + sum.household_indicators,
                sum.criteria,
                sum.benefits,
                policy.warnings.len()
            );
            Ok(())
        }
        Err(problems) => {
            problems.iter().for_each(|problem| println!("{problem}"));
            Err(Failure::failed(format!("{} mistakes", problems.len())))
        }
    }
}

fn test(name: &str, only: &str) -> Result<(), Failure> {
    let policy = load_policy(name)?;
    let texts = package_texts(name)?;
    let (mut passed, mut failed) = (0, 0);
    let mut shown = BTreeSet::new();
    let wanted = |(file, text): &&(String, String)| file.contains(only) || text.contains(only);
    let texts: Vec<_> = texts.iter().filter(wanted).cloned().collect();
    for outcome in stories::tell(&policy, &texts) {
        let word = if outcome.complaints.is_empty() { "ok    " } else { "FAILED" };
        println!("{word}  {}  {}", outcome.file, outcome.title);
        outcome.complaints.iter().for_each(|complaint| println!("        {complaint}"));
        if outcome.complaints.is_empty() {
            passed += 1
        } else {
            failed += 1
        }
        shown.extend(outcome.shown);
    }
    let missing = if only.is_empty() { stories::missing(&policy, &shown) } else { Vec::new() };
    println!("{passed} passed, {failed} failed");
    missing.iter().for_each(|gap| println!("coverage: {gap}"));
    match (failed, missing.len()) {
        (0, 0) => Ok(()),
        (0, gaps) => Err(Failure::failed(format!("the stories leave {gaps} gaps"))),
        (failed, _) => Err(Failure::failed(format!("{failed} stories failed"))),
    }
}
