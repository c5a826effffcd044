//! The policy language: what packages mean, and what is said of their mistakes.

use dataflows::model::{Date, Ground, HouseholdKey, Outcome, Role};
use dataflows::policy::file::{ABSENT, NewRecord, opaque};
use dataflows::policy::{Contribution, Environment, Evaluator, FeedState, Judgement, Level, Policy, Problem, Row, is_unknown, unknown};
use std::sync::Arc;

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
benefit = "enum(family|single)"
from = "date"
until = "date, optional"
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
            fingerprint: 0,
            fields,
        };
        record.pack(&mut self.0);
        self
    }
}

fn everything_heard(policy: &Policy, today: &str) -> Environment {
    policy.environment(date(today), &vec![FeedState::Fresh; policy.registers.len()])
}

#[test]
fn a_package_loads() {
    let policy = load();
    let summary = policy.summary();
    assert_eq!((summary.registers, summary.person_indicators, summary.household_indicators), (5, 6, 5));
    assert_eq!((summary.criteria, summary.categories, summary.benefits), (2, 3, 2));
    assert_eq!(policy.registers.last().map(|register| register.id.as_str()), Some("kin"));
    assert_eq!(policy.level_letters, ["A", "B"]);
}
