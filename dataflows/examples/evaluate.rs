//! How long it takes to evaluate a person and a household: `cargo run --release -p dataflows --example evaluate`.
//!
//! The package is made up: forty indicators of people over twelve records, eighty sums over members, twenty-three criteria
//! and twenty benefits, about the size of a country's.

use dataflows::model::{Date, HouseholdKey, Membership, Role};
use dataflows::policy::file::{ABSENT, NewRecord};
use dataflows::policy::{Contribution, Evaluator, FeedState, Judgement, Policy, Row};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

const POLICY: &str = r#"
id = "speed"
version = "1"
from = 2026-01-01
person = "integer"
currency = "KZT"
languages = ["en"]
[composition]
exists = "reg.person.size() > 0"
female = "sex == 'F'"
minor = "age(birth_date) < 18"
"#;

const REGISTERS: &str = r#"
["reg.person"]
title = { en = "Person" }
source = "example"
key = "{person}"
cadence = "30 days"
fields = { birth_date = "date", sex = "enum(M|F)" }
["reg.pay"]
title = { en = "Pay" }
source = "example"
key = "{period}"
cadence = "45 days"
retain = "30 months"
period = "period"
fields = { period = "month", amount = "money KZT/month", kind = "enum(a|b|c|d)" }
["reg.thing"]
title = { en = "Thing" }
source = "example"
key = "{from}"
cadence = "30 days"
fields = { kind = "enum(a|b|c|d)", from = "date", to = "date, optional" }
"#;

fn entry(id: &str, body: &str) -> String {
    format!("[{id}]\ntitle = {{ en = \"x\" }}\nsource = \"example\"\n{body}\n")
}

fn package() -> Vec<(String, String)> {
    let mut indicators = entry("birth_date", "of = \"person\"\nvalue = \"reg.person.map(p, p.birth_date).max()\"");
    indicators += &entry("sex", "of = \"person\"\nvalue = \"reg.person.map(p, p.sex).max()\"");
    let (mut criteria, mut benefits) = (String::new(), Vec::new());
    for index in 0..38 {
        let kind = ["a", "b", "c", "d"][index % 4];
        let limit = index + 1;
        let value = match index % 5 {
            0 => format!("reg.pay.filter(p, p.kind == '{kind}' && within(p.period, previous_quarter())).map(p, p.amount).sum() / {limit}"),
            1 => format!("reg.thing.filter(t, t.kind == '{kind}' && active(t.from, t.to)).size()"),
            2 => format!("age(birth_date) < {limit} && reg.thing.exists(t, t.kind == '{kind}') ? {limit} : 0"),
            3 => format!("reg.pay.filter(p, p.amount > {limit}).map(p, p.amount).max() - {limit}"),
            _ => format!("(x{:02} + x{:02}) * {limit}", index - 1, index - 4),
        };
        indicators += &entry(&format!("x{index:02}"), &format!("of = \"person\"\nround = \"down\"\nunknown = 0\nvalue = \"{value}\""));
        let value = format!("members.map(m, m.x{index:02}).sum() - members.filter(m, m.adult && m.x{index:02} > {limit}).size()");
        indicators += &entry(&format!("h{index:02}"), &format!("of = \"household\"\nvalue = \"{value}\""));
        if index < 23 {
            let points = "points = { \"..0\" = -10, \"0..100\" = 0, \"100..1000\" = 20, \"1000..\" = 40 }\nunknown = 0";
            criteria += &entry(&format!("c{index:02}"), &format!("by = \"h{index:02}\"\n{points}"));
        }
        if index < 20 {
            let body = format!(
                "id = \"b{index:02}\"\ntitle = {{ en = \"x\" }}\nsource = \"example\"\nof = \"household\"\nrecipient = \"head\"\nperiod = \"open\"\n\
                 [when]\none = \"h{index:02} > 100\"\ntwo = \"score < 500\"\n[amount]\nunit = \"KZT\"\nround = \"up\"\nvalue = \"16.03 * h{index:02}\"\n"
            );
            benefits.push((format!("benefits/b{index:02}.toml"), body));
        }
    }
    let file = |path: &str, text: String| (path.to_string(), text);
    let mut files = vec![
        file("policy.toml", POLICY.into()),
        file("registers/reg.toml", REGISTERS.into()),
        file("indicators/all.toml", indicators),
        file("criteria.toml", criteria),
    ];
    files.extend(benefits);
    files
}

fn person(policy: &Policy, number: i64) -> Vec<u8> {
    let mut file = Vec::new();
    let mut add = |register: &str, key: &str, fields: &[i64]| {
        let register = policy.register(register).expect("declared above");
        NewRecord { register, key, seq: 1, deleted: false, event_date: Some(Date(10_000)), shown: 0, fields }
            .pack(policy.packing(register), &mut file);
    };
    add("reg.person", "1", &[10_000 + number % 7_000, number % 2]);
    for month in 0..8 {
        let period = Date::from_ymd(2026, 4 + month as u32, 1).expect("a month");
        add("reg.pay", &period.to_string()[..7], &[i64::from(period.0), 100_000 + number % 1000, month % 4]);
    }
    for thing in 0..3 {
        add("reg.thing", &Date(18_000).to_string(), &[thing, 18_000, if thing == 1 { 20_000 } else { ABSENT }]);
    }
    file
}

/// Nanoseconds of processor time, so that a busy machine does not count; of the wall clock where there is no Linux.
fn processor_time() -> u128 {
    static START: OnceLock<Instant> = OnceLock::new();
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = statistics.split(' ').next().and_then(|spent| spent.parse().ok());
    spent.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos())
}

fn measure(what: &str, count: usize, mut work: impl FnMut(usize)) {
    (0..count / 10).for_each(&mut work);
    let start = processor_time();
    (0..count).for_each(&mut work);
    println!("{what:<14} {:>7.0} ns", (processor_time() - start) as f64 / count as f64);
}

fn main() {
    let start = Instant::now();
    let policy = Arc::new(Policy::load(&package()).unwrap_or_else(|problems| panic!("{problems:#?}")));
    println!("loaded in {:?}: {:?}", start.elapsed(), policy.summary());
    let environment = policy.environment(Date::from_ymd(2026, 11, 22).expect("a day"), &vec![FeedState::Fresh; policy.registers.len()]);
    let files: Vec<Vec<u8>> = (0..10_000).map(|number| person(&policy, number)).collect();
    let mut evaluator = Evaluator::new(policy.clone());
    let head = Membership { household: HouseholdKey::family(1), role: Role::Head };
    let (mut contribution, mut judgement) = (Contribution::default(), Judgement::default());
    let mut row = Row { values: vec![0; policy.slots], ..Row::default() };
    for file in &files[..4] {
        evaluator.contribution(&environment, 1, file, head, &mut contribution);
        row.values.iter_mut().zip(&contribution.values).for_each(|(sum, value)| *sum += value);
    }
    let count = 200_000;
    let file = |index: usize| files[index % files.len()].as_slice();
    measure("composition", count, |index| {
        evaluator.composition(&environment, 1, file(index), |_| {});
    });
    measure("person_values", count, |index| {
        evaluator.person_values(&environment, 1, file(index), Role::Head);
    });
    measure("contribution", count, |index| {
        evaluator.contribution(&environment, 1, file(index), head, &mut contribution);
    });
    measure("judge", count, |index| {
        row.values[0] = 1 + index as i64 % 5;
        evaluator.judge_with_values(&environment, &row, HouseholdKey::family(1), &mut judgement);
    });
    println!("{} rights", judgement.entitlements.len());
}
