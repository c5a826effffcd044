//! `policy test`: plays the stories of a package, traces one, or asks whether they would notice a mistake in it.

use super::super::{Failure, load_policy, package_texts, print};
use crate::stories::mutation::{Report, mutate};
use crate::stories::{self, Outcome};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Instant;

/// Play the stories of a package.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// A package's folder, or the name of a built-in package.
    policy: String,
    /// Only stories whose file or title contains this; with --mutate, only indicators and benefits whose id or file does.
    #[arg(long, default_value = "")]
    only: String,
    /// Play this one story (part of its file's name will do) and print every value on its days.
    #[arg(long, value_name = "STORY", conflicts_with_all = ["mutate", "only"])]
    trace: Option<String>,
    /// Change each expression of the package a little, one at a time: a story must fail.
    #[arg(long)]
    mutate: bool,
    /// The result of --mutate as one JSON object.
    #[arg(long, requires = "mutate")]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.trace {
        Some(story) => trace(&arguments.policy, story),
        None if arguments.mutate => try_mutants(arguments),
        None => test(&arguments.policy, &arguments.only),
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
        print(&told(&outcome));
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

/// Whether a story held, and what did not.
fn told(outcome: &Outcome) -> String {
    let word = if outcome.complaints.is_empty() { "ok    " } else { "FAILED" };
    let complaints = outcome.complaints.iter().map(|complaint| format!("        {complaint}\n"));
    format!("{word}  {}  {}\n{}", outcome.file, outcome.title, complaints.collect::<String>())
}

fn trace(name: &str, story: &str) -> Result<(), Failure> {
    let policy = load_policy(name)?;
    let texts = package_texts(name)?;
    let stories = || texts.iter().filter(|(file, _)| stories::is_story(file));
    let exact = stories().find(|(file, _)| *file == story || *file == format!("tests/{story}.toml"));
    let found: Vec<_> = exact.map_or_else(|| stories().filter(|(file, _)| file.contains(story)).collect(), |found| vec![found]);
    let [(file, text)] = found.as_slice() else {
        let files = if found.is_empty() { stories().collect() } else { found };
        let files: Vec<&str> = files.iter().map(|(file, _)| file.as_str()).collect();
        return Err(Failure::usage(format!("`{story}` is not the name of one story; there are {}", files.join(", "))));
    };
    let (outcome, journal) = stories::trace(&policy, file, text);
    print(&(journal + &told(&outcome)));
    if outcome.complaints.is_empty() { Ok(()) } else { Err(Failure::failed("the story failed".to_owned())) }
}

fn try_mutants(arguments: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&arguments.policy)?;
    let texts = package_texts(&arguments.policy)?;
    let start = Instant::now();
    let report = mutate(&texts, &policy, &arguments.only).map_err(|complaints| {
        let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        Failure::failed(format!("the stories must hold before anything is changed\n{}", lines.join("\n")))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if arguments.json {
        print_json(&report, seconds)
    } else {
        print_report(&report, seconds)
    }
    match (report.survivors.len(), report.complaints.len()) {
        (0, 0) => Ok(()),
        (0, wrong) => Err(Failure::failed(format!("{wrong} equivalents are declared wrongly"))),
        (survivors, _) => Err(Failure::failed(format!("{survivors} mutants survived"))),
    }
}

fn print_report(report: &Report, seconds: f64) {
    for survivor in &report.survivors {
        println!("{}:{}: {} {}", survivor.file, survivor.line, survivor.id, survivor.path);
        println!("    was     {}", survivor.original.trim());
        println!("    mutant  {}", survivor.mutant);
    }
    report.complaints.iter().for_each(|complaint| println!("{complaint}"));
    let Report { expressions, mutants, killed, equivalents, survivors, .. } = report;
    println!(
        "{mutants} mutants of {expressions} expressions in {seconds:.1} s: {killed} noticed, {equivalents} equivalent, {} survived",
        survivors.len()
    );
}

fn print_json(report: &Report, seconds: f64) {
    let complaints: Vec<String> = report.complaints.iter().map(ToString::to_string).collect();
    let report = json!({
        "expressions": report.expressions,
        "mutants": report.mutants,
        "killed": report.killed,
        "equivalent": report.equivalents,
        "survivors": report.survivors,
        "problems": complaints,
        "seconds": (seconds * 10.0).round() / 10.0,
    });
    println!("{report}");
}
