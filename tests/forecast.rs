use crate::folder::Folder;
use crate::registers::iin;
use dataflows::model::Date;
use fixtures::country::{morning, opening};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn shanyraq(arguments: &[&str], feed: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_shanyraq");
    Command::new(program).args(arguments).args(["--policy", "kz", "--feed"]).arg(feed).output().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The days of a forecast, and its totals.
fn forecast(feed: &Path, days: u32) -> (Vec<Value>, Value) {
    let mut rows = rows(&text(&shanyraq(&["forecast", "--json", "--days", &days.to_string()], feed)));
    let total = rows.pop().unwrap();
    assert_eq!((rows.len() as u32, &total["days"]), (days, &json!(days)));
    (rows, total)
}

fn record(register: &str, key: &str, person: &str, data: &Value) -> Vec<u8> {
    let mut line = json!({"register": register, "key": key, "seq": 1, "op": "upsert", "event_date": "2025-12-01", "data": data});
    if !person.is_empty() {
        line["person"] = person.into();
    }
    line.to_string().into_bytes()
}

fn described(person: &str, sex: &str, born: &str) -> Vec<u8> {
    let data = json!({"birth_date": born, "sex": sex, "citizenship": "kz", "surname": "Ахметова", "name": "Айгуль"});
    record("gbdfl.person", person, person, &data)
}

/// A mother with a loan, which rules out social assistance, and children born on these days.
fn family(lines: &mut Vec<Vec<u8>>, serial: u32, born: [&str; 4]) {
    let mother = iin(serial);
    lines.push(described(&mother, "F", "1985-03-15"));
    lines.push(loan(&mother));
    for (index, born) in (1..).zip(born) {
        let child = iin(serial + 20 * index);
        lines.push(described(&child, "F", born));
        let act = format!("B-{child}");
        lines.push(record("zags.birth", &act, "", &json!({"act_no": act, "child": child, "mother": mother, "born": born})));
    }
}

fn loan(person: &str) -> Vec<u8> {
    let data = json!({"contract": "L-1", "kind": "consumer", "opened": "2025-11-01", "balance": 300_000, "monthly_payment": 20_000,
                      "overdue_days": 0, "overdue_amount": 0});
    record("pkb.loan", "L-1", person, &data)
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

/// Two mothers of four, one of whose children comes of age on 20 December, and somebody disabled until 10 January.
fn country() -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    family(&mut lines, 9001, ["2007-12-20", "2012-05-01", "2013-05-01", "2014-05-01"]);
    family(&mut lines, 9201, ["2011-05-01", "2012-05-01", "2013-05-01", "2014-05-01"]);
    let disabled = iin(9401);
    lines.push(described(&disabled, "M", "1985-03-15"));
    lines.push(loan(&disabled));
    let data = json!({"group": "g3", "since_childhood": false, "from": "2025-01-10", "reexam": "2026-01-10"});
    lines.push(record("cbdi.disability", "2025-01-10", &disabled, &data));
    lines
}

/// Date, benefit, and how many rights are gained, lost and changed in amount, of the benefits that are reasoned about.
fn told(days: &[Value]) -> Vec<(String, String, [u64; 3])> {
    const REASONED: [&str; 3] = ["rep_asp_conditional", "rep_disability_allowance", "rep_large_family"];
    let counts = counts_of_forecast(days).into_iter().filter(|((_, benefit), _)| REASONED.contains(&benefit.as_str()));
    counts.map(|((date, benefit), [gained, lost, amount, _])| (date, benefit, [gained, lost, amount])).collect()
}

#[test]
fn what_the_calendar_will_change_is_told_by_day_and_benefit() {
    let folder = Folder::new("forecast-reasoned");
    let mut lines = country();
    lines.push(opening(date("2025-12-15")));
    let feed = folder.write("feed.ndjson", joined(&lines));
    let (days, total) = forecast(&feed, 120);
    let wanted = [
        // A child comes of age: the mother has three left, and the child is a family without income or loan, which has a right to
        // assistance by the quarter.
        ("2025-12-20", "rep_asp_conditional", [1, 0, 0]),
        ("2025-12-20", "rep_large_family", [0, 1, 0]),
        // The quarter turns: the right to assistance in one ends, and that in the next begins. MRP and PM move: the other mother and
        // the disabled receive more.
        ("2026-01-01", "rep_asp_conditional", [1, 1, 0]),
        ("2026-01-01", "rep_disability_allowance", [0, 0, 1]),
        ("2026-01-01", "rep_large_family", [0, 0, 1]),
        // The disability was to be examined again.
        ("2026-01-10", "rep_disability_allowance", [0, 1, 0]),
        ("2026-04-01", "rep_asp_conditional", [1, 1, 0]),
    ];
    assert_eq!(told(&days), wanted.map(|(date, benefit, counts)| (date.to_owned(), benefit.to_owned(), counts)));
    let appeared = |day: &Value| day["households"]["appeared"] == 1;
    assert!(days.iter().all(|day| appeared(day) == (day["date"] == "2025-12-20")));
    assert_eq!(total["benefits"]["rep_asp_conditional"], json!({"gained": 3, "lost": 2, "amount": 0, "doubted": 0}));
    assert_eq!(
        (&total["from"], &total["until"], &total["households"]["appeared"]),
        (&json!("2025-12-16"), &json!("2026-04-14"), &json!(1))
    );

    // For people: only days on which something changes, and the totals.
    let text = text(&shanyraq(&["forecast", "--days", "120"], &feed));
    let dates: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("  ")).map(|(start, _)| start).filter(|start| !start.is_empty()).collect();
    let changes = |day: &&Value| day["benefits"] != json!({}) || day["households"].as_object().unwrap().values().any(|count| *count != 0);
    let wanted = days.iter().filter(changes).map(|day| day["date"].as_str().unwrap());
    assert_eq!(dates, wanted.chain(["in all"]).collect::<Vec<_>>());
    assert!(dates.len() < 20, "most days change nothing: {dates:?}");
}

/// Of disabilities nothing was heard for two weeks, and they are reported weekly: whether anybody has the right is not known, and the
/// next morning will not tell.
#[test]
fn a_register_that_is_silent_stays_silent() {
    let folder = Folder::new("forecast-silent");
    let mut lines = country();
    let heard = opening(date("2025-12-15"));
    let of_disability = |line: &&[u8]| String::from_utf8_lossy(line).contains("\"cbdi.disability\"");
    assert_eq!(heard.split(|&byte| byte == b'\n').filter(of_disability).count(), 1);
    lines.extend(heard.split(|&byte| byte == b'\n').filter(|line| !of_disability(line)).map(<[u8]>::to_vec));
    let (_, total) = forecast(&folder.write("feed.ndjson", joined(&lines)), 40);
    let benefits = &total["benefits"];
    assert!(benefits.get("rep_large_family").is_some() && benefits.get("rep_disability_allowance").is_none(), "{benefits}");
}

/// Gained, lost, changed in amount and doubted, by date and benefit.
type Counts = BTreeMap<(String, String), [u64; 4]>;

fn counts_of_batch(out: &Path) -> Counts {
    let mut counts = Counts::new();
    for row in rows(&std::fs::read_to_string(out.join("changes.ndjson")).unwrap()) {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let kind = ["gained", "lost", "amount", "doubted"].iter().position(|kind| row["change"] == *kind).unwrap();
        counts.entry((text("date"), text("benefit"))).or_default()[kind] += 1;
    }
    counts
}

fn counts_of_forecast(days: &[Value]) -> Counts {
    let mut counts = Counts::new();
    for day in days {
        for (benefit, changes) in day["benefits"].as_object().unwrap() {
            let numbers = ["gained", "lost", "amount", "doubted"].map(|kind| changes[kind].as_u64().unwrap());
            counts.insert((day["date"].as_str().unwrap().to_owned(), benefit.clone()), numbers);
        }
    }
    counts
}

/// Category and level of each household.
fn standings(out: &Path) -> BTreeMap<String, (Value, Value)> {
    let rows = rows(&std::fs::read_to_string(out.join("categories.ndjson")).unwrap());
    rows.into_iter().map(|row| (row["household"].as_str().unwrap().to_owned(), (row["category"].clone(), row["level"].clone()))).collect()
}

/// Over a turn of the year, of two quarters and of parameters: `batch` that is given nothing but dates and heartbeats says the same.
#[test]
fn a_forecast_is_what_batch_says_of_the_same_days() {
    let folder = Folder::new("forecast-batch");
    let country = folder.0.join("country");
    let made = ["generate", "--persons", "1000", "--seed", "5", "--start", "2025-12-15", "--out", country.to_str().unwrap()];
    assert!(Command::new(env!("CARGO_BIN_EXE_shanyraq")).args(made).output().unwrap().status.success());
    let population = zstd::decode_all(std::fs::File::open(country.join("population.ndjson.zst")).unwrap()).unwrap();
    let start = date("2025-12-15");
    let batch = |name: &str, days: i32| -> PathBuf {
        let mornings = (1..=days).flat_map(|day| morning(Date(start.0 + day)));
        let feed = folder.write(&format!("{name}.ndjson"), population.iter().copied().chain(mornings).collect::<Vec<u8>>());
        let out = folder.0.join(name);
        text(&shanyraq(&["batch", "--out", out.to_str().unwrap()], &feed));
        out
    };
    const DAYS: i32 = 110;
    let (days, total) = forecast(&country.join("population.ndjson.zst"), DAYS as u32);
    let mut wanted = counts_of_batch(&batch("all", DAYS));
    wanted.retain(|(date, _), _| *date > start.to_string());
    assert!(wanted.keys().any(|(date, _)| date == "2026-01-01") && wanted.keys().any(|(date, _)| date == "2026-04-01"));
    assert!((0..3).all(|kind| wanted.values().any(|counts| counts[kind] > 0)), "rights are gained, lost, and change in amount");
    assert_eq!(counts_of_forecast(&days), wanted);
    let of_total = total["benefits"].as_object().unwrap().values().map(|changes| changes["lost"].as_u64().unwrap());
    assert_eq!(of_total.sum::<u64>(), wanted.values().map(|counts| counts[1]).sum::<u64>());

    // The day on which parameters move: how many households stand otherwise than the evening before.
    let turn = days.iter().position(|day| day["date"] == "2026-01-01").unwrap();
    let (before, now) = (standings(&batch("before", turn as i32)), standings(&batch("turned", turn as i32 + 1)));
    let changed = |differ: fn(&(Value, Value), &(Value, Value)) -> bool| {
        now.iter().filter(|(household, standing)| before.get(*household).is_some_and(|before| differ(before, standing))).count()
    };
    let households = &days[turn]["households"];
    let found = json!({
        "category": changed(|before, now| before.0 != now.0), "level": changed(|before, now| before.1 != now.1),
        "appeared": now.keys().filter(|household| !before.contains_key(*household)).count(),
        "vanished": before.keys().filter(|household| !now.contains_key(*household)).count(),
    });
    assert_eq!(*households, found);
    assert!(found["category"] != 0 && found["level"] != 0, "{found}");
}

#[test]
fn a_feed_of_which_nothing_can_be_read_has_no_future() {
    let folder = Folder::new("forecast-nothing");
    let feed = folder.write("feed.ndjson", "no JSON\n");
    let refused = shanyraq(&["forecast", "--days", "3", "--as-of", "2026-01-03"], &feed);
    assert_eq!(refused.status.code(), Some(3));
    let undated = shanyraq(&["forecast", "--days", "3"], &folder.write("feed.ndjson", joined(&[described(&iin(9001), "F", "1985-03-15")])));
    assert_eq!(undated.status.code(), Some(2));
}
