//! The policy language: what packages mean, and what is said of their mistakes.

use dataflows::model::{Date, Decision, Ground, HouseholdKey, Membership, Outcome, Role};
use dataflows::policy::file::{ABSENT, NewRecord, opaque};
use dataflows::policy::{Contribution, Entitlement, Environment, Evaluator, FeedState, Judgement, Policy, Right, Row, unknown};
use std::sync::Arc;

/// Each kind of mistake, and what is said of it.
mod mistakes;
/// Rows that nobody reaches, and families that fall between them.
mod reach;

const POLICY: &str = r#"
id = "tiny"
version = "1"
from = 2026-01-01
person = "integer"
currency = "KZT"
languages = ["en"]
[composition]
exists = "reg.person.size() > 0"
female = "sex == 'F'"
alive = "!reg.death.exists(d, past(d.died))"
minor = "age(birth_date) < 18"
[kin]
when = "reg.death.exists(d, past(d.died))"
fields = { died = "reg.death.map(d, d.died).min()" }
[assignment]
register = "reg.assignment"
benefit = "benefit"
from = "from"
until = "until"
"#;

const PARAMETERS: &str = r#"
[MRP]
unit = "KZT"
values = [{ from = 2026-01-01, is = 4325 }, { from = 2025-01-01, is = 3932 }]
"#;

const REGISTER_FIELDS: &str = r#"
["reg.person"]
title = { en = "Person" }
source = "test"
key = "{person}"
cadence = "30 days"
["reg.person".fields]
birth_date = "date"
sex = "enum(M|F)"
name = "text"
["reg.death"]
title = { en = "Death" }
source = "test"
key = "{died}"
cadence = "30 days"
["reg.death".fields]
died = "date"
["reg.pay"]
title = { en = "Pay" }
source = "test"
key = "{period}-{employer}"
cadence = "45 days"
retain = "15 months"
period = "period"
["reg.pay".fields]
period = "month"
employer = "id"
amount = "money KZT/month"
["reg.car"]
title = { en = "Car" }
source = "test"
key = "{plate}"
cadence = "30 days"
["reg.car".fields]
plate = "id"
year = "int"
from = "date"
to = "date, optional"
["reg.assignment"]
title = { en = "Assignment" }
source = "test"
key = "{benefit}"
cadence = "30 days"
["reg.assignment".fields]
benefit = "enum(family|single|meal)"
from = "date"
until = "date, optional"
["reg.act"]
title = { en = "Act" }
source = "test"
identity = "global"
key = "{number}"
cadence = "30 days"
["reg.act".fields]
number = "text"
former = "person, optional"
now = "person"
other = "person, optional"
since = "date"
hidden = "bool"
["reg.act".alias]
of = ["former", "now"]
from = "since"
reported = "since"
secret = "hidden"
closes = ["reg.act.other"]
"#;

const INDICATORS: &str = r#"
[birth_date]
title = { en = "Born" }
source = "test"
of = "person"
unit = "date"
value = "reg.person.map(p, p.birth_date).max()"
[sex]
title = { en = "Sex" }
source = "test"
of = "person"
value = "reg.person.map(p, p.sex).max()"
[income]
title = { en = "Income" }
source = "test"
of = "person"
unit = "KZT/month"
value = "reg.pay.filter(p, within(p.period, previous_quarter())).map(p, p.amount).sum() / 3"
round = "down"
[cars]
title = { en = "Cars" }
source = "test"
of = "person"
classes = 4
value = "reg.car.filter(c, active(c.from, c.to)).size()"
[employers]
title = { en = "Employers" }
source = "test"
of = "person"
value = "reg.pay.distinct(p, p.employer)"
[orphan]
title = { en = "Orphan" }
source = "test"
of = "person"
value = "kin.exists(k, k.kind == 'parent' && has(k.died))"
[children]
title = { en = "Children" }
source = "test"
of = "household"
value = "members.filter(m, m.child).size()"
[per_capita]
title = { en = "Per head" }
source = "test"
of = "household"
unit = "KZT/month"
value = "members.map(m, m.income).sum() / members.size()"
round = "nearest"
[most_cars]
title = { en = "Most cars" }
source = "test"
of = "household"
value = "members.map(m, m.cars).max()"
[any_car]
title = { en = "Any car" }
source = "test"
of = "household"
value = "members.exists(m, m.cars > 0)"
[head_born]
title = { en = "Head's birth" }
source = "test"
of = "household"
value = "head.birth_date"
"#;

const CRITERIA: &str = r#"
[c_children]
title = { en = "Children" }
source = "test"
by = "children"
points = { "0" = 50, "1..3" = 10, "3.." = -30 }
add = [{ reason = "car", when = "any_car", points = 5 }]
unknown = 7
[c_income]
title = { en = "Income" }
source = "test"
by = "per_capita"
points = { "..1000" = -10, "1000..5000" = 0, "5000.." = 100 }
unknown = 1
"#;

const CATEGORIES: &str = r#"
[category]
by = "score"
bins = { "..0" = 1, "0..60" = 2, "60.." = 3 }
hard = [{ reason = "many_cars", when = "has(most_cars) && most_cars >= 3", category = 3 }]
mode = "all_or_score"
unknown = 2
[level]
bins = { "..1" = "B", "1.." = "A" }
"#;

const FAMILY: &str = r#"
id = "family"
title = { en = "Family" }
source = "test"
of = "household"
recipient = "mother, else head"
period = "month"
from = "head_born"
[when]
two = "children >= 2"
poor = "per_capita < 5000"
[amount]
unit = "KZT/month"
round = "up"
by = "children"
pay = { "2" = "16.03 MRP", "3.." = "4 MRP * children" }
"#;

const SINGLE: &str = r#"
id = "single"
title = { en = "Single" }
source = "test"
of = "person"
ground = "reg.car"
period = "once"
until = "r.to"
[when]
active = "active(r.from, r.to)"
adult = "age(birth_date) >= 18"
[amount]
unit = "KZT"
value = "1000 * (cars + 1)"
"#;

fn package() -> Vec<(String, String)> {
    let file = |path: &str, text: &str| (path.to_string(), text.to_string());
    vec![
        file("policy.toml", POLICY),
        file("parameters.toml", PARAMETERS),
        file("registers/reg.toml", REGISTER_FIELDS),
        file("indicators/all.toml", INDICATORS),
        file("criteria.toml", CRITERIA),
        file("categories.toml", CATEGORIES),
        file("benefits/family.toml", FAMILY),
        file("benefits/single.toml", SINGLE),
    ]
}

fn load() -> Arc<Policy> {
    match Policy::load(&package()) {
        Ok(policy) => Arc::new(policy),
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn date(text: &str) -> Date {
    Date::parse(text).expect("a date")
}

fn day(text: &str) -> i64 {
    i64::from(date(text).0)
}

#[derive(Default)]
struct File(Vec<u8>);

impl File {
    fn with(mut self, policy: &Policy, register: &str, key: &str, event: Option<&str>, fields: &[i64]) -> Self {
        let record = NewRecord {
            register: policy.register(register).expect("a register"),
            key,
            seq: 1,
            deleted: false,
            event_date: event.map(date),
            shown: 0,
            fields,
        };
        record.pack(policy.packing(record.register), &mut self.0);
        self
    }
}

fn everything_heard(policy: &Policy, today: &str) -> Environment {
    policy.environment(date(today), &vec![FeedState::Fresh; policy.registers.len()])
}

/// The code of a reason: those of registers begin at 16, first that they are not connected, then that they are silent.
fn not_connected(policy: &Policy, register: &str) -> u16 {
    16 + policy.register(register).expect("a register")
}

fn fell_silent(policy: &Policy, register: &str) -> u16 {
    not_connected(policy, register) + policy.registers.len() as u16
}

#[test]
fn a_package_loads() {
    let policy = load();
    let summary = policy.summary();
    assert_eq!((summary.registers, summary.person_indicators, summary.household_indicators), (6, 6, 5));
    assert_eq!((summary.criteria, summary.categories, summary.benefits), (2, 3, 2));
    assert_eq!(policy.registers.last().map(|register| register.id.as_str()), Some("kin"));
    assert_eq!(policy.level_letters, ["A", "B"]);
}

/// Loads the package with one more person indicator, `probe`.
fn with_probe(value: &str, more: &str) -> Arc<Policy> {
    let mut files = package();
    let probe = format!("[probe]\ntitle = {{ en = \"Probe\" }}\nsource = \"test\"\nof = \"person\"\nvalue = \"\"\"{value}\"\"\"\n{more}\n");
    files.push(("indicators/probe.toml".into(), probe));
    match Policy::load(&files) {
        Ok(policy) => Arc::new(policy),
        Err(problems) => panic!("{value}: {problems:#?}"),
    }
}

fn position(policy: &Policy, id: &str) -> usize {
    policy.indicators.iter().find(|indicator| indicator.id == id).expect("an indicator").position
}

/// The value of one expression over a file on a day, and its horizon.
fn probe(value: &str, more: &str, file: impl FnOnce(&Policy) -> File, today: &str, states: &[(&str, FeedState)]) -> (i64, Date) {
    let policy = with_probe(value, more);
    let mut feeds = vec![FeedState::Fresh; policy.registers.len()];
    for (register, state) in states {
        feeds[usize::from(policy.register(register).expect("a register"))] = *state;
    }
    let environment = policy.environment(date(today), &feeds);
    let file = file(&policy);
    let mut evaluator = Evaluator::new(policy.clone());
    let (values, horizon) = evaluator.person_values(&environment, 7, &file.0, Role::Head);
    (values[position(&policy, "probe")], horizon)
}

fn known(value: &str) -> i64 {
    probe(value, "", |_| File::default(), "2026-11-22", &[]).0
}

#[test]
fn three_valued_logic_follows_the_truth_table() {
    let states = [("reg.car", FeedState::Silent), ("reg.death", FeedState::NotConnected)];
    let policy = load();
    let (left, right) = (unknown(fell_silent(&policy, "reg.car")), unknown(not_connected(&policy, "reg.death")));
    let table = [
        ("true", "false", 0, 1),
        ("true", "true", 1, 1),
        ("false", "false", 0, 0),
        ("true", "R", right, 1),
        ("false", "R", 0, right),
        ("L", "true", left, 1),
        ("L", "false", 0, left),
        ("L", "R", left, left),
    ];
    let text = |word: &str| word.replace('L', "reg.car.size() > 0").replace('R', "reg.death.size() > 0");
    for (a, b, and, or) in table {
        for (operator, expected) in [("&&", and), ("||", or)] {
            let expression = format!("({}) {operator} ({})", text(a), text(b));
            assert_eq!(probe(&expression, "", |_| File::default(), "2026-11-22", &states).0, expected, "{expression}");
        }
    }
    for (expression, expected) in [
        ("!(L)", left),
        ("L ? true : false", left),
        ("(L) == (R)", left),
        ("(R) == (L)", right),
        ("(false) ? (L) : true", 1),
        ("reg.car.size() + reg.death.size()", left),
        ("reg.car.exists(c, true)", left),
        ("cars", left),
        ("has(cars) ? cars : 0", left),
    ] {
        assert_eq!(probe(&text(expression), "", |_| File::default(), "2026-11-22", &states).0, expected, "{expression}");
    }
    assert_eq!(probe("reg.car.size()", "unknown = 5", |_| File::default(), "2026-11-22", &states).0, 5);
    assert_eq!(policy.reason(fell_silent(&policy, "reg.car")), "silent:reg.car");
    assert_eq!(policy.reason(not_connected(&policy, "reg.death")), "not_connected:reg.death");
    assert_eq!((policy.reason(0), policy.reason(1)), ("absent".into(), "undefined".into()));
}

#[test]
fn absent_is_not_unknown_until_it_is_used() {
    assert_eq!(known("birth_date"), ABSENT);
    assert_eq!(known("has(birth_date) ? 1 : 2"), 2);
    assert_eq!(known("age(birth_date)"), unknown(0));
    assert_eq!(known("reg.car.map(c, c.year).max() + 1"), unknown(0));
}

#[test]
fn fractions_are_exact_and_rounded_once() {
    let rounded = |value: &str, how: &str| probe(value, &format!("round = \"{how}\""), |_| File::default(), "2026-11-22", &[]).0;
    assert_eq!(rounded("1 / 3 * 3", "down"), 1);
    assert_eq!((rounded("7 / 2", "down"), rounded("7 / 2", "up"), rounded("7 / 2", "nearest")), (3, 4, 4));
    assert_eq!((rounded("-7 / 2", "down"), rounded("-7 / 2", "up"), rounded("-7 / 2", "nearest")), (-4, -3, -3));
    assert_eq!(rounded("10 / 4 - 1 / 2 + 1 / 3 + 2 / 3", "down"), 3);
    assert_eq!(rounded("max(1 / 3, 1 / 2) * 6", "down"), 3);
    assert_eq!(rounded("(true ? 1 / 2 : 3) * 4", "up"), 2);
    assert_eq!(rounded("1 / (cars - cars)", "up"), unknown(1));
    assert_eq!(known("1000000007 / 1000000009 < 1000000009 / 1000000011"), 1);
    assert_eq!((known("2 / 4 == 1 / 2"), known("-7 % 3")), (1, -1));
    assert_eq!(known("4000000000000000000 * 4000000000000000000 > 0"), 1);
}

fn person(policy: &Policy, born: &str) -> File {
    File::default().with(policy, "reg.person", "7", Some(born), &[day(born), 1])
}

#[test]
fn folds_condense_records() {
    let file = |policy: &Policy| {
        File::default()
            .with(policy, "reg.pay", "1", None, &[day("2026-07-01"), opaque("a"), 100])
            .with(policy, "reg.pay", "2", None, &[day("2026-08-01"), opaque("b"), 200])
            .with(policy, "reg.pay", "3", None, &[day("2026-08-01"), opaque("a"), 50])
            .with(policy, "reg.pay", "4", None, &[day("2026-10-01"), opaque("c"), 1000])
            .with(policy, "reg.pay", "5", None, &[day("2025-08-01"), opaque("d"), 9])
            .with(policy, "reg.car", "1", Some("2027-01-01"), &[1, 2020, day("2027-01-01"), ABSENT])
            .with(policy, "reg.car", "2", Some("2020-01-01"), &[2, 2010, day("2020-01-01"), ABSENT])
    };
    let value = |expression: &str| probe(expression, "round = \"down\"", file, "2026-11-22", &[]).0;
    assert_eq!(value("income"), 350 / 3);
    assert_eq!(value("reg.pay.size()"), 4, "the record of August 2025 has expired");
    assert_eq!((value("reg.pay.map(p, p.amount).max()"), value("reg.pay.map(p, p.amount).min()")), (1000, 50));
    assert_eq!(value("employers"), 3);
    assert_eq!(value("reg.pay.filter(p, within(p.period, last_months(2))).map(p, p.amount).sum()"), 1000);
    assert_eq!(value("reg.pay.exists(p, p.employer == 'c')"), 1);
    assert_eq!((value("reg.pay.all(p, p.amount > 40)"), value("reg.pay.all(p, p.amount > 60)")), (1, 0));
    assert_eq!(value("reg.car.size()"), 1, "the car of 2027 waits");
    assert_eq!(value("reg.car.filter(c, c.to > c.from).size()"), unknown(0));
    assert_eq!(value("reg.car.exists(c, c.to > c.from || c.year == 2010)"), 1);
    assert_eq!(value("reg.pay.filter(p, p.amount > reg_limit(p)).size()".replace("reg_limit(p)", "income").as_str()), 2);
    assert_eq!((value("MRP"), value("today_year()"), value("sex == 'F' || self == self")), (4325, 2026, 1));
}

#[test]
fn a_value_holds_on_every_day_before_its_horizon() {
    let file = |policy: &Policy| {
        person(policy, "2008-02-29")
            .with(policy, "reg.car", "1", Some("2026-01-10"), &[1, 2020, day("2026-01-10"), day("2026-03-05")])
            .with(policy, "reg.car", "2", Some("2026-02-01"), &[2, 2020, day("2026-04-01"), ABSENT])
            .with(policy, "reg.pay", "1", None, &[day("2025-01-01"), 1, 100])
    };
    for expression in [
        "age(birth_date)",
        "age_months(birth_date)",
        "age(birth_date) >= 18",
        "age(birth_date) < 18 && cars > 0",
        "cars",
        "reg.car.size()",
        "reg.pay.size()",
        "past(add_months(birth_date, 12 * 18 + 1))",
        "reg.car.map(c, c.from).max()",
        "orphan ? 0 : age(birth_date) + cars * 100",
    ] {
        let policy = with_probe(expression, "");
        let mut evaluator = Evaluator::new(policy.clone());
        let (file, at) = (file(&policy), position(&policy, "probe"));
        let mut value = |day: Date| {
            let environment = policy.environment(day, &vec![FeedState::Fresh; policy.registers.len()]);
            let (values, horizon) = evaluator.person_values(&environment, 7, &file.0, Role::Child);
            (values[at], horizon)
        };
        let mut flips = 0;
        let (mut last, mut horizon) = value(date("2025-12-01"));
        for days in 1..500 {
            let today = Date(date("2025-12-01").0 + days);
            let (now, next) = value(today);
            assert!(next > today);
            if today < horizon {
                assert_eq!(now, last, "{expression} changed on {today}, before {horizon}");
            } else {
                flips += usize::from(now != last);
                (last, horizon) = (now, next);
            }
        }
        assert!(flips > 0, "{expression} never changed, so this test shows nothing");
    }
}

#[test]
fn ages_wake_once_where_only_a_limit_is_asked() {
    let horizon = |expression: &str, today: &str| {
        let policy = with_probe(expression, "");
        let file = person(&policy, "2008-04-10");
        let mut evaluator = Evaluator::new(policy.clone());
        evaluator.composition(&everything_heard(&policy, today), 7, &file.0, |_| {})
    };
    let (composition, next) = horizon("1", "2020-01-01");
    assert!(composition.exists && composition.female && composition.alive && composition.minor);
    assert_eq!(next, date("2026-04-10"));
    let (composition, next) = horizon("1", "2026-04-10");
    assert!(!composition.minor);
    assert_eq!(next, Date::NEVER);
}

#[test]
fn composition_of_a_silent_register_assumes_life() {
    let policy = load();
    let environment = policy.environment(date("2026-11-22"), &vec![FeedState::NotConnected; policy.registers.len()]);
    let (composition, _) = Evaluator::new(policy).composition(&environment, 7, &[], |_| {});
    assert_eq!((composition.exists, composition.alive, composition.female, composition.minor), (true, true, false, false));
}

#[test]
fn kin_rows_exist_while_their_condition_holds() {
    let policy = load();
    let environment = everything_heard(&policy, "2026-11-22");
    let dead = person(&policy, "1970-01-01").with(&policy, "reg.death", "1", Some("2026-01-01"), &[day("2026-01-01")]);
    let mut evaluator = Evaluator::new(policy.clone());
    assert_eq!(evaluator.kin(&environment, 7, &dead.0).0, Some(&[day("2026-01-01")][..]));
    assert_eq!(evaluator.kin(&environment, 7, &person(&policy, "1970-01-01").0).0, None);
    let child = person(&policy, "2015-01-01").with(&policy, "kin", "1-8", None, &[1, 8, day("2026-01-01")]);
    let (values, _) = evaluator.person_values(&environment, 7, &child.0, Role::Child);
    assert_eq!(values[position(&policy, "orphan")], 1);
}

/// The row of a family, as the engine sums it.
fn sum(policy: &Arc<Policy>, environment: &Environment, members: &[(u64, &File, Role)]) -> Row {
    let mut evaluator = Evaluator::new(policy.clone());
    let mut row = Row { values: vec![0; policy.slots], ..Row::default() };
    let mut counts = std::collections::BTreeMap::new();
    for (person, file, role) in members {
        let mut contribution = Contribution::default();
        let place = Membership { household: HouseholdKey::family(7), role: *role };
        evaluator.contribution(environment, *person, &file.0, place, &mut contribution);
        row.claims.append(&mut contribution.claims);
        let of_household = contribution.values.iter().filter(|(slot, _)| usize::from(*slot) < policy.slots);
        of_household.for_each(|(slot, value)| row.values[usize::from(*slot)] += value);
        contribution.unknown.iter().for_each(|key| *counts.entry(*key).or_insert(0) += 1);
    }
    row.unknown = counts.into_iter().map(|((slot, reason), count)| (slot, reason, count)).collect();
    row
}

fn paid(policy: &Policy, file: File, amount: i64) -> File {
    ["2026-07-01", "2026-08-01", "2026-09-01"]
        .iter()
        .fold(file, |file, month| file.with(policy, "reg.pay", month, None, &[day(month), 1, amount]))
}

#[test]
fn a_household_is_judged_from_its_sums() {
    let policy = load();
    let environment = everything_heard(&policy, "2026-11-22");
    let mother = paid(&policy, person(&policy, "1990-05-05"), 10_000);
    let car = |file: File, key: &str| file.with(&policy, "reg.car", key, Some("2020-01-01"), &[1, 2010, day("2020-01-01"), ABSENT]);
    let father = File::default().with(&policy, "reg.person", "8", None, &[day("1985-01-01"), 0]);
    let father = car(car(father, "1"), "2");
    let child = person(&policy, "2015-01-01");
    let members = [(7, &mother, Role::Head), (8, &father, Role::Spouse), (9, &child, Role::Child), (10, &child, Role::Child)];
    let row = sum(&policy, &environment, &members);
    assert_eq!((row.values[0], row.values[1]), (4, 7));
    let mut evaluator = Evaluator::new(policy.clone());
    let mut judgement = Judgement::default();
    evaluator.judge_with_values(&environment, &row, HouseholdKey::family(7), &mut judgement);
    let value = |id: &str| judgement.indicators[position(&policy, id)];
    assert_eq!((value("children"), value("per_capita"), value("most_cars"), value("any_car")), (2, 2500, 2, 1));
    assert_eq!(value("head_born"), day("1990-05-05"));
    assert_eq!((judgement.points.as_slice(), judgement.score), ([15, 0].as_slice(), 15));
    assert_eq!((judgement.category, judgement.level), (2, 1));
    let right = &judgement.entitlements[0];
    assert_eq!((judgement.entitlements.len(), right.benefit, right.outcome), (1, policy.benefit("family").unwrap(), Outcome::Eligible));
    assert_eq!((right.amount, right.recipient), (69_330, 7), "16.03 * 4325 = 69329.75, rounded up, to the mother");
    assert_eq!((right.period, right.from), (date("2026-11-01"), date("1990-05-05")));
}

#[test]
fn doubt_about_one_member_is_doubt_about_the_sum() {
    let policy = load();
    let mut feeds = vec![FeedState::Fresh; policy.registers.len()];
    let pay = policy.register("reg.pay").unwrap();
    feeds[usize::from(pay)] = FeedState::Silent;
    let environment = policy.environment(date("2026-11-22"), &feeds);
    let assigned = |file: File| file.with(&policy, "reg.assignment", "family", None, &[0, day("2026-01-01"), ABSENT]);
    let (mother, child) = (person(&policy, "1990-05-05"), person(&policy, "2015-01-01"));
    let holder = assigned(person(&policy, "1990-05-05"));
    for (parent, outcomes) in [(&mother, vec![Outcome::InDoubt]), (&holder, vec![Outcome::Undetermined])] {
        let row = sum(&policy, &environment, &[(7, parent, Role::Head), (9, &child, Role::Child), (10, &child, Role::Child)]);
        let mut judgement = Judgement::default();
        Evaluator::new(policy.clone()).judge_with_values(&environment, &row, HouseholdKey::family(7), &mut judgement);
        assert_eq!(judgement.indicators[position(&policy, "per_capita")], unknown(fell_silent(&policy, "reg.pay")));
        assert_eq!(judgement.points, [10, 1], "what not knowing scores");
        assert_eq!(judgement.entitlements.iter().map(|right| right.outcome).collect::<Vec<_>>(), outcomes);
        assert!(judgement.entitlements.iter().all(|right| right.amount == 0));
    }
}

#[test]
fn every_record_of_a_ground_is_a_right_of_its_own() {
    let policy = load();
    let environment = everything_heard(&policy, "2026-11-22");
    let file = person(&policy, "1990-05-05")
        .with(&policy, "reg.car", "A", Some("2020-01-01"), &[1, 2010, day("2020-01-01"), ABSENT])
        .with(&policy, "reg.car", "B", Some("2020-01-01"), &[2, 2010, day("2020-01-01"), day("2026-12-01")])
        .with(&policy, "reg.car", "C", Some("2020-01-01"), &[3, 2010, day("2020-01-01"), day("2026-10-01")]);
    let mut contribution = Contribution::default();
    let mut evaluator = Evaluator::new(policy.clone());
    let horizon = evaluator.contribution(&environment, 7, &file.0, Membership::OUTSIDE, &mut contribution);
    assert_eq!(horizon, date("2026-12-01"));
    assert_eq!(contribution.values, []);
    let register = policy.register("reg.car").unwrap();
    let rights: Vec<_> = contribution.entitlements.iter().map(|right| (right.ground.clone(), right.amount, right.until)).collect();
    assert_eq!(
        rights,
        [(Ground::Record(register, "A".into()), 3000, Date::NEVER), (Ground::Record(register, "B".into()), 3000, date("2026-12-01"))]
    );
    let trace = evaluator.trace(&environment, 7, &file.0, Role::Outside, &sum(&policy, &environment, &[]));
    let trace = trace.iter().filter(|trace| Some(trace.benefit) == policy.benefit("single"));
    assert_eq!(trace.map(|trace| trace.conditions.as_slice()).collect::<Vec<_>>(), [[1, 1], [1, 1], [0, 1]]);
}

#[test]
fn boundaries_are_those_that_the_package_uses() {
    let policy = load();
    assert_eq!(policy.next_boundary(date("2026-11-22")), date("2026-12-01"), "a right by the month");
    assert_eq!(policy.next_boundary(date("2024-12-15")), date("2025-01-01"));
    assert!(policy.next_boundary(Date::BEFORE_ALL) < date("2025-01-01"));
    let heard = vec![Some(date("2026-10-01")); policy.registers.len()];
    let states = policy.feed_states(&heard, date("2026-11-01"));
    assert_eq!(states[usize::from(policy.register("reg.pay").unwrap())], FeedState::Fresh, "31 of 45 days");
    assert_eq!(states[usize::from(policy.register("reg.car").unwrap())], FeedState::Silent, "31 of 30 days");
    assert_eq!(states[usize::from(policy.kin_register)], FeedState::Fresh);
    assert_eq!(policy.feed_states(&[], date("2026-11-01"))[0], FeedState::NotConnected);
}

/// The package with further texts at the end of its files, or with further files.
fn extended(more: &[(&str, &str)]) -> Arc<Policy> {
    let mut files = package();
    for (path, text) in more {
        match files.iter_mut().find(|(known, _)| known == path) {
            Some((_, known)) => known.push_str(text),
            None => files.push((path.to_string(), text.to_string())),
        }
    }
    Policy::load(&files).map(Arc::new).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn rights_inherit_conditions_and_exclude_each_other() {
    let right = |id: &str, condition: &str, more: &str| {
        format!(
            "id = \"{id}\"\ntitle = {{ en = \"x\" }}\nsource = \"test\"\nof = \"household\"\nrecipient = \"head\"\nperiod = \"open\"\n\
             kind = \"notice\"\ninherit = \"base\"\n{more}\n[when]\nown = \"{condition}\"\n"
        )
    };
    // The one that excludes comes first by name, and is decided after the other all the same.
    let policy = extended(&[
        ("policy.toml", "[inherit.base]\nhousehold = { inhabited = \"members.size() > 0\" }\n"),
        ("benefits/a.toml", &right("a", "children >= 1", "excludes = [\"b\"]")),
        ("benefits/b.toml", &right("b", "children >= 2", "")),
        ("messages.toml", "[a]\nen = \"{benefit}\"\n[b]\nen = \"{benefit}\"\n"),
    ]);
    assert_eq!(policy.benefits[0].reasons, ["inhabited", "own"]);
    let environment = everything_heard(&policy, "2026-11-22");
    let file = person(&policy, "2015-01-01");
    let mut members = vec![(7, &file, Role::Head), (8, &file, Role::Child)];
    for expected in ["a", "b"] {
        let row = sum(&policy, &environment, &members);
        let mut judgement = Judgement::default();
        Evaluator::new(policy.clone()).judge_with_values(&environment, &row, HouseholdKey::family(7), &mut judgement);
        let family = policy.benefit("family");
        let notices = stacked(&policy, &judgement).into_iter().filter(|decision| Some(decision.benefit) != family);
        assert_eq!(notices.map(|decision| policy.benefits[usize::from(decision.benefit)].id.as_str()).collect::<Vec<_>>(), [expected]);
        members.push((9, &file, Role::Child));
    }
    let row = sum(&policy, &environment, &members);
    let trace = Evaluator::new(policy.clone()).trace(&environment, 7, &file.0, Role::Head, &row);
    let of = |id: &str| trace.iter().find(|trace| trace.benefit == policy.benefit(id).unwrap()).unwrap();
    assert_eq!((of("b").conditions.as_slice(), of("family").amount), ([1, 1].as_slice(), 4 * 4325 * 3));
}

/// The rights of a judgement that stand beside each other, for one person.
fn stacked(policy: &Policy, judgement: &Judgement) -> Vec<Decision> {
    let right = |right: &Entitlement| Right {
        decision: Decision {
            person: right.recipient,
            benefit: right.benefit,
            ground: right.ground.clone(),
            period: right.period,
            outcome: right.outcome,
            amount: right.amount,
            household: HouseholdKey::family(7),
            addressee: right.addressee,
            from: right.from,
            until: right.until,
            proactive: right.proactive,
            failed: right.failed,
        },
        held: right.held,
    };
    let (stacked, free): (Vec<Right>, Vec<Right>) =
        judgement.entitlements.iter().map(right).partition(|right| policy.is_stacked(right.decision.benefit));
    policy.stack(&stacked).into_iter().chain(free.into_iter().map(|right| right.decision)).collect()
}

#[test]
fn a_person_may_have_a_right_that_reads_their_household() {
    let meal = "id = \"meal\"\ntitle = { en = \"A meal\" }\nsource = \"test\"\nof = \"person\"\nrecipient = \"self\"\nground = \"reg.car\"\n\
                period = \"open\"\nkind = \"payment\"\nbudget = \"local\"\nfrom = \"head_born\"\nuntil = \"r.to\"\n\
                [when]\nchild = \"child\"\nneedy = \"children >= 2 && (r.year < 2015 || category == 3)\"\n\
                [amount]\nunit = \"EUR\"\nround = \"up\"\nvalue = \"r.year / 3 + children\"\n";
    let policy = extended(&[("benefits/meal.toml", meal)]);
    let environment = everything_heard(&policy, "2026-11-22");
    let plain = person(&policy, "2015-01-01");
    let until = day("2027-01-01");
    let owner = person(&policy, "2016-01-01").with(&policy, "reg.car", "A", Some("2020-01-01"), &[1, 2010, day("2020-01-01"), until]).with(
        &policy,
        "reg.car",
        "B",
        Some("2020-01-01"),
        &[2, 2020, day("2020-01-01"), ABSENT],
    );
    let head = person(&policy, "1990-05-05");
    let judged = |members: &[(u64, &File, Role)]| {
        let row = sum(&policy, &environment, members);
        let mut judgement = Judgement::default();
        Evaluator::new(policy.clone()).judge_with_values(&environment, &row, HouseholdKey::family(7), &mut judgement);
        let meals = judgement.entitlements.into_iter().filter(|right| Some(right.benefit) == policy.benefit("meal"));
        let shown =
            |right: Entitlement| (right.ground, right.outcome, right.amount, right.from, right.until, right.recipient, right.addressee);
        (row.claims.len(), meals.map(shown).collect::<Vec<_>>())
    };
    let alone = judged(&[(7, &head, Role::Head), (8, &owner, Role::Child)]);
    assert_eq!(alone, (2, vec![]), "one child is not needy");
    let ground = Ground::Record(policy.register("reg.car").unwrap(), "A".into());
    let right = (ground, Outcome::Eligible, 672, date("1990-05-05"), date("2027-01-01"), 8, 7);
    let two = judged(&[(7, &head, Role::Head), (8, &owner, Role::Child), (9, &plain, Role::Child)]);
    assert_eq!(two, (2, vec![right]), "2010 / 3 + 2, written to the head; the second car is too new");
    let grown = judged(&[(7, &owner, Role::Head), (8, &plain, Role::Child), (9, &plain, Role::Child)]);
    assert_eq!(grown, (0, vec![]), "who is no child claims nothing");
}

#[test]
fn beside_a_right_in_doubt_another_is_in_doubt_and_stays_with_whoever_holds_it() {
    let notice = |id: &str, excludes: &str| {
        format!(
            "id = \"{id}\"\ntitle = {{ en = \"x\" }}\nsource = \"test\"\nof = \"person\"\nperiod = \"open\"\nkind = \"notice\"\n{excludes}\n\
             [when]\nown = \"head\"\n"
        )
    };
    let policy = extended(&[
        ("benefits/a.toml", &notice("a", "excludes = [\"b\"]")),
        ("benefits/b.toml", &notice("b", "")),
        ("messages.toml", "[a]\nen = \"{benefit}\"\n[b]\nen = \"{benefit}\"\n"),
    ]);
    let right = |benefit: &str, outcome, amount, held| {
        let (benefit, ground) = (policy.benefit(benefit).unwrap(), Ground::Constant);
        let (period, household, from, until) = (Date::NEVER, HouseholdKey::family(7), Date::BEFORE_ALL, Date::NEVER);
        let (person, addressee, proactive, failed) = (7, 7, Date::NEVER, 0);
        let decision = Decision { person, benefit, ground, period, outcome, amount, household, addressee, from, until, proactive, failed };
        Right { decision, held }
    };
    let stacked = |other: Outcome, held: bool| {
        let rights = [right("a", Outcome::Eligible, 100, held), right("b", other, 0, false)];
        policy.stack(&rights).into_iter().map(|decision| (decision.outcome, decision.amount)).collect::<Vec<_>>()
    };
    assert_eq!(stacked(Outcome::Notice, true), [(Outcome::Notice, 0)]);
    assert_eq!(stacked(Outcome::InDoubt, false), [(Outcome::InDoubt, 0), (Outcome::InDoubt, 0)]);
    assert_eq!(stacked(Outcome::Undetermined, true), [(Outcome::Undetermined, 0), (Outcome::Undetermined, 0)]);
}

#[test]
fn categories_follow_their_mode() {
    let judged = |mode: &str, cars: usize, score: &str| {
        let mut files = package();
        files[5].1 = files[5].1.replace("all_or_score", mode).replace("by = \"score\"", &format!("by = \"{score}\""));
        let policy = Policy::load(&files).map(Arc::new).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let environment = everything_heard(&policy, "2026-11-22");
        let car = |file: File, key: usize| file.with(&policy, "reg.car", &key.to_string(), None, &[1, 2010, day("2020-01-01"), ABSENT]);
        let file = (0..cars).fold(person(&policy, "1990-01-01"), car);
        let row = sum(&policy, &environment, &[(7, &file, Role::Head)]);
        let mut judgement = Judgement::default();
        Evaluator::new(policy.clone()).judge_with_values(&environment, &row, HouseholdKey::family(7), &mut judgement);
        judgement.category
    };
    assert_eq!((judged("all_or_score", 0, "10"), judged("all_or_score", 0, "90"), judged("all_or_score", 3, "10")), (2, 3, 3));
    assert_eq!((judged("score", 3, "10"), judged("score", 3, "90")), (2, 3), "hard rules do not count");
    assert_eq!((judged("all", 0, "90"), judged("all", 3, "10")), (2, 3), "the top is for hard rules alone");
    assert_eq!(judged("all_or_score", 0, "10 / 5 > 1 ? MRP - 4325 : 1"), 2);
    assert_eq!(judged("all_or_score", 9, "most_cars"), 3, "nine cars are counted as three");
}

#[test]
fn members_are_asked_one_by_one() {
    let probe = "[probe]\ntitle = { en = \"x\" }\nsource = \"test\"\nof = \"household\"\nvalue = \"";
    let value = |expression: &str, silent: bool| {
        let policy = extended(&[("indicators/probe.toml", &format!("{probe}{expression}\"\n"))]);
        let mut feeds = vec![FeedState::Fresh; policy.registers.len()];
        if silent {
            feeds[usize::from(policy.register("reg.person").unwrap())] = FeedState::Silent;
        }
        let environment = policy.environment(date("2026-11-22"), &feeds);
        let car = |file: File| file.with(&policy, "reg.car", "1", None, &[1, 2010, day("2020-01-01"), ABSENT]);
        let (head, child, nobody) = (car(person(&policy, "1990-01-01")), person(&policy, "2020-01-01"), File::default());
        let row = sum(&policy, &environment, &[(7, &head, Role::Head), (8, &child, Role::Child), (9, &nobody, Role::Dependant)]);
        let mut judgement = Judgement::default();
        Evaluator::new(policy.clone()).judge_with_values(&environment, &row, HouseholdKey::family(7), &mut judgement);
        let silence = unknown(fell_silent(&policy, "reg.person"));
        match judgement.indicators[position(&policy, "probe")] {
            value if value == silence => -1,
            value if value == unknown(0) => -2,
            value if value == ABSENT => -3,
            value => value,
        }
    };
    assert_eq!(value("members.size()", false), 3);
    assert_eq!(value("members.filter(m, m.adult).size()", false), 2);
    assert_eq!(value("members.filter(m, has(m.birth_date) && age(m.birth_date) < 18).size()", false), 1);
    assert_eq!(value("members.filter(m, age(m.birth_date) < 18).size()", false), -2, "the third one's birth is absent");
    assert_eq!(value("members.exists(m, m.cars > 0)", false), 1);
    assert_eq!(value("members.exists(m, m.cars > 0 || m.sex == 'M')", true), 1, "one is enough, whatever is not known of others");
    assert_eq!(value("members.exists(m, m.sex == 'M')", true), -1);
    assert_eq!(value("members.all(m, m.head || m.cars > 0)", false), 0);
    assert_eq!(value("members.all(m, m.cars >= 0)", false), 1);
    assert_eq!(value("members.filter(m, !m.head).map(m, m.cars).max()", false), 0);
    assert_eq!(value("members.filter(m, m.spouse).map(m, m.cars).max()", false), -3);
    assert_eq!(value("members.map(m, m.cars).min()", false), 0);
    assert_eq!(value("members.map(m, 1 + m.cars * 10).sum()", false), 13);
    assert_eq!(value("head.cars + (head.sex == 'F' ? 100 : 0)", false), 101);
    assert_eq!(value("year(head.birth_date)", false), 1990);
    assert_eq!(value("points(c_children, 2) + points(c_children, -1)", false), -2, "no bin gives anything to -1");
    assert_eq!(value("members.map(m, m.income).sum() / members.size() > 1000 ? 1 : 2", false), 2);
}

#[test]
fn what_may_be_absent_is_warned_of() {
    let warned = |value: &str, more: &str| with_probe(value, more).warnings.iter().filter(|warning| warning.file.contains("probe")).count();
    assert_eq!(warned("reg.car.filter(c, c.to > c.from).size()", ""), 1);
    assert_eq!(warned("reg.car.filter(c, has(c.to) && c.to > c.from).size()", ""), 0);
    assert_eq!(warned("reg.car.map(c, c.year).max() + 1", ""), 1);
    assert_eq!(warned("reg.car.map(c, c.year).max() + 1", "unknown = 0"), 0);
}
