//! `shanyraq policy propose`, `diff` and `activate`: another package for a pipeline that runs.

use crate::commands::feed::{get, post, wait_for};
use crate::commands::feeds::parse_date;
use crate::commands::{Failure, load_package};
use crate::packages::fingerprint;
use clap::Args;
use dataflows::model::Date;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

/// A package, and the pipeline that it is for.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// A package's folder, or the name of a built-in package.
    pub policy: String,
    /// The pipeline.
    #[arg(long, default_value = "http://127.0.0.1:7117")]
    pub to: String,
}

#[derive(Args, Clone, Debug)]
pub struct DiffArguments {
    #[command(flatten)]
    pub place: Place,
    /// A JSON object a benefit and region instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Write a JSON object for each person whose right changes into this file.
    #[arg(long)]
    pub people: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub struct ActivateArguments {
    #[command(flatten)]
    pub place: Place,
    /// The first business date under it; from the next epoch on if that is past already.
    #[arg(long, value_parser = parse_date)]
    pub from: Date,
}

/// Has the pipeline check and keep a package.
pub fn propose(place: &Place) -> Result<(), Failure> {
    println!("{}", proposed(place)?);
    Ok(())
}

fn proposed(Place { policy, to }: &Place) -> Result<Value, Failure> {
    let package = load_package(policy)?;
    post(&format!("{to}/v1/policies"), "", json!({ "texts": package.texts }).to_string().as_bytes())
}

/// Tells who would gain and lose by a package, were it in force now.
pub fn diff(arguments: &DiffArguments) -> Result<(), Failure> {
    let DiffArguments { place, json, people } = arguments;
    let package = proposed(place)?["package"].as_str().unwrap_or_default().to_owned();
    let cannot = |path: &PathBuf| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::failed(format!("{path}: {error}"))
    };
    let mut list = match people {
        Some(path) => Some((path, BufWriter::new(std::fs::File::create(path).map_err(cannot(path))?))),
        None => None,
    };
    let (mut sums, mut compared) = (BTreeMap::<(String, String), Sum>::new(), Value::Null);
    for line in BufReader::new(get(&format!("{}/v1/policies/{package}/difference", place.to))?).lines() {
        let line = line.map_err(|error| Failure::failed(format!("{}: {error}", place.to)))?;
        let row: Value = serde_json::from_str(&line).map_err(|error| Failure::failed(format!("{}: {error}", place.to)))?;
        if let Some(reason) = row["failed"].as_str() {
            return Err(Failure::failed(reason.to_owned()));
        }
        if row["compared"].is_string() {
            compared = row;
            continue;
        }
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        sums.entry((text("benefit"), text("region"))).or_default().add(&row);
        if let Some((path, list)) = &mut list {
            writeln!(list, "{line}").map_err(cannot(path))?;
        }
    }
    if let Some((path, mut list)) = list {
        list.flush().map_err(cannot(path))?;
    }
    // The end tells that nothing is missing.
    let end = compared["compared"].as_str().ok_or_else(|| Failure::failed(format!("{}: the comparison ended too early", place.to)))?;
    if *json {
        sums.iter().for_each(|((benefit, region), sum)| println!("{}", sum.row(benefit, region)));
        println!("{compared}");
        return Ok(());
    }
    let columns = ["benefit", "region", "gained", "lost", "doubted", "more", "less", "money before", "money now"];
    let mut table = vec![columns.map(str::to_owned)];
    table.extend(sums.iter().map(|((benefit, region), sum)| {
        let Sum { gained, lost, doubted, more, less, before, now } = *sum;
        let [gained, lost, doubted, more, less] = [gained, lost, doubted, more, less].map(|number| number.to_string());
        [benefit.clone(), region.clone(), gained, lost, doubted, more, less, before.to_string(), now.to_string()]
    }));
    for row in &table {
        let [benefit, region, numbers @ ..] = row;
        println!("{benefit:<32} {region:<8} {}", numbers.iter().map(|number| format!("{number:>12}")).collect::<String>());
    }
    println!(
        "{end} instead of {}, on {}, after epoch {}",
        compared["in_force"].as_str().unwrap_or_default(),
        compared["date"].as_str().unwrap_or_default(),
        compared["epoch"]
    );
    Ok(())
}

/// How many rights change, and what they pay before and after.
#[derive(Default)]
struct Sum {
    gained: u64,
    lost: u64,
    doubted: u64,
    more: u64,
    less: u64,
    before: i64,
    now: i64,
}

impl Sum {
    fn add(&mut self, row: &Value) {
        let amount = |name: &str| row[name].as_i64().unwrap_or(0);
        let (before, now) = (amount("before"), amount("now"));
        match row["change"].as_str() {
            Some("gained") => self.gained += 1,
            Some("lost") => self.lost += 1,
            Some("doubted") => self.doubted += 1,
            _ if now > before => self.more += 1,
            _ => self.less += u64::from(now < before),
        }
        self.before += before;
        self.now += now;
    }

    fn row(&self, benefit: &str, region: &str) -> Value {
        let Sum { gained, lost, doubted, more, less, before, now } = self;
        json!({ "benefit": benefit, "region": region, "gained": gained, "lost": lost, "doubted": doubted, "more": more, "less": less, "money_before": before, "money_now": now })
    }
}

/// Brings a package into force that was proposed.
pub fn activate(arguments: &ActivateArguments) -> Result<(), Failure> {
    let ActivateArguments { place: Place { policy, to }, from } = arguments;
    let package = fingerprint(&load_package(policy)?.policy);
    let body = json!({ "from": from.to_string() }).to_string();
    let answer = post(&format!("{to}/v1/policies/{package}/activate"), "", body.as_bytes())?;
    wait_for(to, answer["token"].as_str().unwrap_or_default()).map(drop)
}
