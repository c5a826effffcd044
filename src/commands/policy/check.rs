//! `policy check`: the mistakes of a package, how much it says, what its expressions cost.

use super::super::{Failure, package_texts, print};
use crate::stories::is_story;
use dataflows::policy::contents::{Contents, Item, Sort};
use dataflows::policy::costs::{STACKING, STRATA};
use dataflows::policy::reach::unreached;
use dataflows::policy::{Policy, Problem};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Prints mistakes, or how much the package says.
pub fn check(name: &str, costs: bool) -> Result<(), Failure> {
    let texts = package_texts(name)?;
    match Policy::load(&texts) {
        Ok(policy) => {
            let warnings = warnings(&policy, &texts);
            warnings.iter().for_each(|warning| println!("{warning}"));
            if costs {
                print(&costs_of(&Contents::read(&texts)));
            }
            let sum = policy.summary();
            println!(
                "{}@{}: {} registers, {} indicators, {} criteria, {} benefits, {} warnings",
                policy.id,
                policy.version,
                sum.registers,
                sum.person_indicators + sum.household_indicators,
                sum.criteria,
                sum.benefits,
                warnings.len()
            );
            Ok(())
        }
        Err(problems) => {
            problems.iter().for_each(|problem| println!("{problem}"));
            Err(failure(&problems))
        }
    }
}

/// What is not wrong but looks like a mistake, in the order of the files.
fn warnings(policy: &Policy, texts: &[(String, String)]) -> Vec<Problem> {
    let mut warnings = policy.warnings.clone();
    warnings.extend(unreached(texts));
    warnings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    warnings
}

fn failure(problems: &[Problem]) -> Failure {
    Failure::failed(format!("{} mistakes", problems.len()))
}

/// Prints one object, with mistakes or without.
pub fn check_json(name: &str) -> Result<(), Failure> {
    let texts = package_texts(name)?;
    let (warnings, problems) = match Policy::load(&texts) {
        Ok(policy) => (warnings(&policy, &texts), Vec::new()),
        Err(problems) => (Vec::new(), problems),
    };
    println!("{}", summary(&texts, &problems, &warnings));
    if problems.is_empty() { Ok(()) } else { Err(failure(&problems)) }
}

/// Counts of what the law speaks of: helpers are not among the indicators, notices not among what budgets pay.
fn summary(texts: &[(String, String)], problems: &[Problem], warnings: &[Problem]) -> Value {
    let contents = Contents::read(texts);
    let count = |sort| contents.of(sort).count();
    let (mut spheres, mut benefits) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    for indicator in contents.of(Sort::Indicator) {
        if indicator.detail("helper") != Some("true") {
            *spheres.entry(stem(&indicator.file)).or_default() += 1;
        }
    }
    for benefit in contents.of(Sort::Benefit) {
        let notice = benefit.detail("kind") == Some("notice");
        *benefits.entry(if notice { "notice" } else { benefit.detail("budget").unwrap_or("none") }).or_default() += 1;
    }
    let proactive = |path: &str| path == "proactive" || path.starts_with("proactive.");
    let offered = |benefit: &&Item| benefit.details.iter().any(|(path, _)| proactive(path));
    let problem = |problem: &Problem| {
        let Problem { file, line, column, message, hint } = problem;
        json!({ "file": file, "line": line, "column": column, "message": message, "hint": hint })
    };
    json!({
        "registers": count(Sort::Register),
        "indicators": spheres,
        "criteria": count(Sort::Criterion),
        "categories": contents.categories.len(),
        "benefits": benefits,
        "proactive": contents.of(Sort::Benefit).filter(offered).count(),
        "messages": count(Sort::Message),
        "stories": texts.iter().filter(|(path, _)| is_story(path)).count(),
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(problem).collect::<Vec<_>>(),
    })
}

/// The name of a file without folder and ending.
fn stem(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.trim_end_matches(".toml")
}

/// A line for each expression, and for each right that others come before.
fn costs_of(contents: &Contents) -> String {
    let mut lines = String::new();
    for item in &contents.items {
        for passage in &item.passages {
            let cost = contents.cost(item, passage);
            lines += &format!("{}:{}: {} {}: {cost}\n", item.file, passage.line, item.id, passage.path);
        }
        if let Some(excluded) = item.detail("excludes").filter(|_| item.sort == Sort::Benefit) {
            lines += &format!("{}:1: {} excludes: {STACKING} {}; after {excluded}\n", item.file, item.id, STRATA[STACKING - 1]);
        }
    }
    lines
}
