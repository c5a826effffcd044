//! How long it takes to say who would gain and lose by another policy, of everybody as they are.

use super::report::report;
use super::{Size, population};
use crate::commands::{Failure, load_package};
use crate::engine::Engine;
use crate::pipeline::{Moment, compare_in};
use clap::Args;
use dataflows::policy::Policy;
use dataflows::review::Review;
use fixtures::country::Country;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    size: Size,
    /// The parameter that is another one in a policy of which nothing else is.
    #[arg(long, default_value = "POVERTY_PM_SHARE")]
    parameter: String,
}

/// By how much parameters are others.
const RAISED: i64 = 10;

pub fn policy(Arguments { size, parameter }: &Arguments) -> Result<(), Failure> {
    let package = load_package(&size.policy)?;
    let raised = |is_other: &dyn Fn(&str) -> bool| {
        let mut policy = Policy::load(&package.texts).expect("it was loaded before");
        let others = policy.parameters.iter_mut().filter(|parameter| is_other(&parameter.id));
        others.filter_map(|parameter| parameter.values.last_mut()).for_each(|(_, value)| *value += (*value / RAISED).max(1));
        Arc::new(policy)
    };
    if !package.policy.parameters.iter().any(|known| known.id == *parameter) {
        return Err(Failure::usage(format!("--parameter {parameter}: the package has none of this name")));
    }
    let mut engine = Engine::start(package.policy.clone(), usize::from(size.workers));
    for part in population(&package.policy, Country::new(size.persons, size.seed, size.start)) {
        part.enter(&mut engine);
    }
    drop(engine.commit());
    // What relatives know of each other is in their files as the policy in force has it.
    let now = engine.circumstances();
    let is_asked = |other: &Arc<Policy>| Review::new(&package.policy, other, &now, &now.feeds).is_some();
    let asked: BTreeSet<&str> =
        package.policy.parameters.iter().map(|known| known.id.as_str()).filter(|id| is_asked(&raised(&|other| other == *id))).collect();
    let others = [("one parameter", raised(&|id| id == parameter)), ("parameters", raised(&|id| asked.contains(id)))];
    for (what, other) in others {
        let failed = |error: std::io::Error| Failure::failed(error.to_string());
        let (held, started) = (dirty_bytes(), Instant::now());
        let mut moment = Moment::of(&engine, Some(other.clone())).map_err(failed)?;
        let stall_seconds = started.elapsed().as_secs_f64();
        let (mut rights, mut most) = (0_u64, 0);
        let compared = compare_in(&mut moment, &other, |_| {
            rights += 1;
            if rights.is_multiple_of(LOOK) {
                most = most.max(dirty_bytes());
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        let most = most.max(dirty_bytes());
        compared.map_err(failed)?.ok_or_else(|| Failure::failed("such a policy is told everything anew".to_owned()))?;
        drop(moment);
        let measured = json!({ "other": what, "parameters": asked.len(), "seconds": seconds, "stall_seconds": stall_seconds,
                               "changed_rights": rights, "held_bytes": held, "more_bytes": most.saturating_sub(held) });
        report("policy", size, measured);
    }
    Ok(())
}

/// Between looks at memory, in rights that are told.
const LOOK: u64 = 50_000;

/// What this process and its copies hold of their own.
fn dirty_bytes() -> u64 {
    let children = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = children.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let copies: Vec<String> = children.flat_map(|pids| pids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let own = |process: &str| {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Dirty:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    own("self") + copies.iter().map(|copy| own(copy)).sum::<u64>()
}
