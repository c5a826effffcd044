//! `shanyraq policy propose-parameter`: the next value of a threshold that is relative to how people live, as a line for
//! parameters.toml. Somebody reads it and adds it: no threshold moves by itself.

use crate::commands::feeds::{FeedArguments, Load, Reader};
use crate::commands::{Failure, load_policy};
use clap::Args;
use dataflows::model::Date;
use dataflows::policy::{Policy, Proposal, Weigh, is_unknown, nearest};
use std::collections::BTreeMap;

#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// A parameter that declares `propose`.
    pub name: String,
    #[command(flatten)]
    pub feeds: FeedArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let policy = load_policy(&arguments.feeds.policy)?;
    let proposal = declared(&policy, &arguments.name)?;
    let mut load = Load::start(policy.clone(), &arguments.feeds);
    load.read(load.open(&arguments.feeds.feed)?, &mut Nobody)?;
    load.expect_something()?;
    load.tell_refused();
    let sample = Sample::take(&mut load, &policy, proposal);
    let from = load.engine.today().quarter_start().add_months(3);
    let (value, source) = sample.value(&policy, proposal, from, load.engine.today())?;
    println!("  {{ from = {from}, is = {value}, source = \"{source}\" }},");
    let Count { households, people } = sample.unknown;
    let of = &policy.indicators[proposal.of].id;
    println!("# left out, because {of} is unknown: {households} households, {people} people");
    Ok(())
}

/// Nothing but the population counts.
struct Nobody;

impl Reader for Nobody {}

fn declared<'p>(policy: &'p Policy, name: &str) -> Result<&'p Proposal, Failure> {
    let id = |proposal: &&Proposal| policy.parameters[proposal.parameter].id.as_str();
    let known = || policy.proposals.iter().map(|proposal| id(&proposal));
    policy.proposals.iter().find(|proposal| id(proposal) == name).ok_or_else(|| {
        let near = nearest(name, known()).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        let all: Vec<&str> = known().collect();
        let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        Failure::usage(format!("no parameter {name} that declares `propose`{near}; those that do: {all}"))
    })
}

#[derive(Clone, Copy, Default)]
struct Count {
    households: u64,
    people: u64,
}

impl Count {
    fn add(&mut self, people: u64) {
        self.households += 1;
        self.people += people;
    }

    fn weight(self, weigh: Weigh) -> u64 {
        match weigh {
            Weigh::People => self.people,
            Weigh::Households => self.households,
        }
    }
}

/// The values of all households.
#[derive(Default)]
struct Sample {
    known: BTreeMap<i64, Count>,
    unknown: Count,
}

impl Sample {
    fn take(load: &mut Load, policy: &Policy, proposal: &Proposal) -> Self {
        /// The slot of a row that counts members.
        const MEMBERS: usize = 0;
        let position = policy.indicators[proposal.of].position;
        let mut sample = Sample::default();
        for (_, row, judgement) in load.engine.judgements() {
            let value = judgement.indicators[position];
            let count = if is_unknown(value) { &mut sample.unknown } else { sample.known.entry(value).or_default() };
            count.add(row.values[MEMBERS].unsigned_abs());
        }
        sample
    }

    /// By nearest rank, which is exact and always somebody's value: the least value that at least `permille` thousandths of what
    /// counts do not exceed. Of an even number, 500 gives the lower of the two in the middle.
    fn quantile(&self, permille: i64, weigh: Weigh) -> Option<i64> {
        let all: u128 = self.known.values().map(|count| u128::from(count.weight(weigh))).sum();
        let rank = (all * permille.unsigned_abs() as u128).div_ceil(1000);
        let mut passed = 0;
        self.known.iter().find_map(|(value, count)| {
            passed += u128::from(count.weight(weigh));
            (passed >= rank).then_some(*value)
        })
    }

    /// The value, and where it comes from.
    fn value(&self, policy: &Policy, proposal: &Proposal, from: Date, today: Date) -> Result<(i64, String), Failure> {
        let of = &policy.indicators[proposal.of].id;
        let quantile = self.quantile(proposal.quantile, proposal.weigh);
        let quantile = quantile.ok_or_else(|| Failure::failed(format!("{of} is known of no household")))?;
        let value = share_of(quantile, proposal.share);
        let bound = proposal.at_least.map(|index| &policy.parameters[index]);
        let least = bound.and_then(|bound| Some((bound.on(from)?, bound))).filter(|(least, _)| *least > value);
        let people: u64 = self.known.values().map(|count| count.people).sum();
        let households: u64 = self.known.values().map(|count| count.households).sum();
        let counted = match proposal.weigh {
            Weigh::People => format!("{people} people in {households} households"),
            Weigh::Households => format!("{households} households"),
        };
        let mut source =
            format!("{} % of {} of {of}, computed on {today} from {counted}", percent(proposal.share), quantile_name(proposal.quantile));
        if let Some((_, bound)) = least {
            source += &format!(", which is {value}: raised to {}", bound.id);
        }
        Ok((least.map_or(value, |(least, _)| least), source))
    }
}

/// So many thousandths, rounded up to whole units.
fn share_of(value: i64, permille: i64) -> i64 {
    let product = i128::from(value) * i128::from(permille);
    (product.div_euclid(1000) + i128::from(product.rem_euclid(1000) != 0)).clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn percent(permille: i64) -> String {
    match permille % 10 {
        0 => (permille / 10).to_string(),
        tenth => format!("{}.{tenth}", permille / 10),
    }
}

fn quantile_name(permille: i64) -> String {
    match permille {
        500 => "the median".to_owned(),
        _ => format!("the {}th percentile", percent(permille)),
    }
}
