use crate::folder::Folder;
use crate::program::{rows, shanyraq, summary};
use crate::registers::{iin, repository};
use dataflows::model::Date;
use fixtures::country::opening;
use fixtures::lives::{is_calendar, shuffle};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Output;

/// Every view whose bytes depend on nothing but the records and the last date.
const VIEWS: [&str; 7] = ["households", "indicators", "criteria", "categories", "decisions", "changes", "faults"];

/// The message of a run that ended with this exit code.
pub fn failure(output: &Output, code: i32) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    message
}

/// `batch` over the `kz` package, writing every view into `out`.
fn batch(out: &Path, feed: &[PathBuf], more: &[&str]) -> Output {
    let mut command: Vec<String> = ["batch", "--policy", "kz", "--json", "--feed"].map(String::from).to_vec();
    command.extend(feed.iter().map(|path| path.display().to_string()));
    command.extend(["--out".to_owned(), out.display().to_string(), "--views".to_owned(), format!("{},quarantine", VIEWS.join(","))]);
    command.extend(more.iter().map(|word| (*word).to_owned()));
    shanyraq(command)
}

fn row(out: &Path, view: &str, member: &str, value: &str) -> Value {
    let found: Vec<Value> = rows(out, view).into_iter().filter(|row| row[member] == value).collect();
    assert_eq!(found.len(), 1, "{view} with {member} {value}");
    found.into_iter().next().unwrap()
}

fn views(out: &Path) -> Vec<Vec<u8>> {
    VIEWS.iter().map(|view| std::fs::read(out.join(format!("{view}.ndjson"))).unwrap()).collect()
}

fn assert_same(one: &[Vec<u8>], other: &[Vec<u8>], what: &str) {
    for (index, view) in VIEWS.iter().enumerate() {
        assert!(one[index] == other[index], "{view} differs: {what}");
    }
}

/// A small country and five days of its life, as lines.
fn country(folder: &Folder) -> Vec<Vec<u8>> {
    let out = folder.0.join("country");
    let made = shanyraq(["generate", "--persons", "1000", "--days", "5", "--seed", "3", "--out", &out.display().to_string()]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    let mut lines = Vec::new();
    for name in ["population.ndjson.zst", "updates.ndjson.zst"] {
        let bytes = zstd::decode_all(std::fs::File::open(out.join(name)).unwrap()).unwrap();
        lines.extend(bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
    }
    lines
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn rows_depend_on_the_records_and_the_date_alone() {
    let folder = Folder::new("batch-order");
    let lines = country(&folder);
    let plain = joined(&lines);
    let feed = [folder.write("feed.ndjson", &plain)];
    let out = folder.0.join("plain");
    let read = summary(&batch(&out, &feed, &[]));
    assert_eq!(read["lines"], lines.len());
    assert_eq!(read["date"], "2026-01-06");
    let wanted = views(&out);
    for (index, view) in VIEWS.iter().enumerate().filter(|(_, view)| **view != "faults") {
        assert!(!wanted[index].is_empty(), "{view} says nothing");
    }
    let same = |name: &str, bytes: &[u8], more: &[&str]| {
        let out = folder.0.join("other");
        summary(&batch(&out, &[folder.write(name, bytes)], more));
        assert_same(&wanted, &views(&out), name);
    };
    same("feed.ndjson", &plain, &["--workers", "3"]);
    same("shuffled.ndjson", &joined(&shuffle(&lines, 11)), &[]);
    same("shuffled again.ndjson", &joined(&shuffle(&lines, 12)), &["--workers", "3"]);
    same("feed.ndjson.gz", &gzip(&plain), &[]);
    same("feed.ndjson.zst", &zstd::encode_all(plain.as_slice(), 1).unwrap(), &[]);
}

#[test]
fn the_business_date_is_given_once() {
    let folder = Folder::new("batch-date");
    let lines = country(&folder);
    let feed = [folder.write("feed.ndjson", joined(&lines))];
    let out = folder.0.join("out");
    let read = summary(&batch(&out, &feed, &["--as-of", "2026-01-03"]));
    assert_eq!((&read["date"], &read["epochs"]), (&json!("2026-01-03"), &json!(1)), "date records do not count beside --as-of");
    assert!(rows(&out, "changes").iter().all(|change| change["date"] == "2026-01-03"));

    let undated: Vec<Vec<u8>> = lines.into_iter().filter(|line| !is_calendar(line)).collect();
    let feed = [folder.write("undated.ndjson", joined(&undated))];
    assert!(failure(&batch(&out, &feed, &[]), 2).contains("give --as-of"));
    assert_eq!(summary(&batch(&out, &feed, &["--as-of", "2026-01-03"]))["date"], "2026-01-03");
}

#[test]
fn a_feed_of_which_nothing_can_be_read_is_refused() {
    let folder = Folder::new("batch-nothing");
    let feed = [folder.write("feed.ndjson", "no JSON\n{\"register\":\n")];
    for (name, more) in [("dated", &["--as-of", "2026-01-03"][..]), ("undated", &[])] {
        let out = folder.0.join(name);
        assert!(failure(&batch(&out, &feed, more), 3).contains("nothing could be read"));
        let kept: Vec<Value> = rows(&out, "quarantine").into_iter().map(|row| row["raw"].clone()).collect();
        assert_eq!(kept, ["no JSON", "{\"register\":"], "{name}");
    }
}

/// A line of the `kz` package. An empty person is none.
fn line(register: &str, key: &str, date: &str, person: &str, data: &Value) -> String {
    let mut line = json!({"register": register, "key": key, "seq": 1, "op": "upsert", "event_date": date, "data": data});
    if !person.is_empty() {
        line["person"] = person.into();
    }
    line.to_string()
}

fn described(person: &str, born: &str) -> String {
    let data = json!({"birth_date": born, "sex": "F", "citizenship": "kz", "surname": "Ахметова", "name": "Айгуль"});
    line("gbdfl.person", person, born, person, &data)
}

fn income(person: &str, key: &str, date: &str, amount: &Value) -> String {
    line("enpf.contribution", key, date, person, &json!({"period": "2025-12", "employer": "070640000408", "amount": amount}))
}

fn marriage(act: &str, man: &str, woman: &str) -> String {
    line("zags.marriage", act, "2020-05-01", "", &json!({"act_no": act, "man": man, "woman": woman, "registered": "2020-05-01"}))
}

fn guardianship(case: &str, child: &str, guardian: &str) -> String {
    let data = json!({"case_no": case, "child": child, "guardian": guardian, "kind": "guardian", "from": "2024-01-01"});
    line("guard.guardianship", case, "2024-01-01", "", &data)
}

/// A valid ИИН with its last digit changed.
fn misspelt(person: &str) -> String {
    let last = (person.as_bytes()[11] - b'0' + 1) % 10;
    format!("{}{last}", &person[..11])
}

#[test]
fn bad_lines_are_told_apart_and_the_rest_is_processed() {
    let folder = Folder::new("batch-bad");
    let [good, stranger, married] = [1, 2, 3].map(|index| iin(9000 + 20 * index));
    let refused: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"{\"register\": \"gbdfl.person\", ".to_vec(), "", "broken JSON at byte"),
        (
            line("gbdfl.persons", "x", "2025-01-01", &good, &json!({})).into(),
            "register",
            "unknown register `gbdfl.persons` (did you mean gbdfl.person?)",
        ),
        (income(&good, "wrong", "2025-12-31", &json!("much")).into(), "amount", "must be a whole number"),
        (described(&misspelt(&good), "1985-03-15").into(), "person", "check"),
        (marriage("M-1", &married, &married).into(), "woman", "ties a person to themselves"),
        (income(&good, &"k".repeat(1 << 20), "2025-12-31", &json!(1)).into(), "", "longer than 1048576 bytes"),
        (b"{\"register\":\"gbdfl.person\",\"key\":\"\xff\xfe\"}".to_vec(), "", "not UTF-8"),
    ];
    let mut lines: Vec<Vec<u8>> = refused.iter().map(|(line, ..)| line.clone()).collect();
    // About somebody whom no one describes, before its time, and wards of each other; every register is heard.
    let (first, second) = (iin(9200), iin(9220));
    for accepted in [
        income(&stranger, "2025-12", "2025-12-31", &json!(5000)),
        income(&good, "later", "2026-02-01", &json!(5000)),
        described(&good, "1985-03-15"),
        described(&married, "1985-03-15"),
        described(&first, "2015-03-15"),
        described(&second, "2016-03-15"),
        guardianship("G-1", &first, &second),
        guardianship("G-2", &second, &first),
    ] {
        lines.push(accepted.into());
    }
    let today = Date::from_ymd(2026, 1, 15).unwrap();
    lines.push(opening(today));
    let truncated = gzip(income(&married, "2025-12", "2025-12-31", &json!(7000)).repeat(50).as_bytes());
    let feed = [folder.write("cut off.ndjson.gz", &truncated[..truncated.len() - 12]), folder.write("feed.ndjson", joined(&lines))];
    let out = folder.0.join("out");
    summary(&batch(&out, &feed, &["--as-of", &today.to_string()]));

    let kept = rows(&out, "quarantine");
    let of = |name: &str| kept.iter().filter(|row| row["file"].as_str().unwrap().ends_with(name)).collect::<Vec<_>>();
    for ((row, (_, field, reason)), number) in of("feed.ndjson").iter().zip(&refused).zip(1..) {
        assert_eq!((&row["line"], &row["field"]), (&json!(number), &json!(field)), "{row}");
        assert!(row["reason"].as_str().unwrap().contains(reason), "{row}");
    }
    assert_eq!(of("feed.ndjson").len(), refused.len());
    assert!(of("cut off.ndjson.gz").iter().any(|row| row["reason"].as_str().unwrap().contains("cannot be read further")), "{kept:?}");

    let mut faults: Vec<(String, String)> = rows(&out, "faults")
        .iter()
        .map(|row| (row["fault"].as_str().unwrap().to_owned(), row["key"].as_str().unwrap().to_owned()))
        .collect();
    faults.sort();
    let wanted = [("child_guardian", "G-1"), ("child_guardian", "G-2"), ("future", "later"), ("nobody", "2025-12")];
    assert_eq!(faults, wanted.map(|(fault, key)| (fault.to_owned(), key.to_owned())));

    for person in [&good, &married] {
        assert_eq!(row(&out, "households", "head", person)["kind"], "alone");
    }
    let placed: Vec<Value> = rows(&out, "households").into_iter().filter(|row| row["members"].to_string().contains(&first)).collect();
    assert_eq!(placed.len(), 1, "a child of a child is placed once");
}

/// `batch` over the survey's extract with the package `us-cps`.
fn survey(out: &Path, date: &str, more: &[String]) -> Output {
    let mut command: Vec<String> = ["batch", "--policy", "us-cps", "--json", "--as-of", date, "--feed"].map(String::from).to_vec();
    command.extend([repository("fixtures/cps").display().to_string(), "--out".to_owned(), out.display().to_string()]);
    command.extend(["--map".to_owned(), repository("dataflows/policies/us-cps/cps.map.toml").display().to_string()]);
    command.extend(["--views".to_owned(), format!("{},quarantine", VIEWS.join(","))]);
    command.extend(more.iter().cloned());
    shanyraq(command)
}

/// A table of the extract, without its header.
fn table(name: &str) -> Vec<Vec<String>> {
    let mut text = String::new();
    let file = std::fs::File::open(repository("fixtures/cps").join(format!("{name}.csv.gz"))).unwrap();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Dollars of a table that these people received, of these kinds if any are named.
fn dollars(name: &str, people: &[&str], kinds: &[&str]) -> i64 {
    let counted = |row: &&Vec<String>| people.contains(&row[0].as_str()) && (kinds.is_empty() || kinds.contains(&row[2].as_str()));
    table(name).iter().filter(counted).map(|row| row[3].parse::<i64>().unwrap()).sum()
}

#[test]
fn real_people_are_classed_by_their_income() {
    let folder = Folder::new("batch-survey");
    let out = folder.0.join("out");
    // The incomes are those of 2014, and rules read the year before today's.
    let read = summary(&survey(&out, "2015-01-01", &[]));
    let people = table("persons").len();
    assert_eq!((&read["people"], &read["quarantined"], &read["faults"]), (&json!(people), &json!(0), &json!(0)));
    let households = rows(&out, "households");
    let placed: usize = households.iter().map(|row| row["members"].as_array().unwrap().len()).sum();
    assert_eq!(placed, people, "everybody lives somewhere, once");
    assert!(!households.is_empty() && households.len() < people);
    for category in 1..=5 {
        assert!(rows(&out, "categories").iter().any(|row| row["category"] == category), "nobody is in category {category}");
    }

    // Persons 207 and 208 are married and share a dwelling, without children: a household of two. He lost money as a farmer or
    // trader, and received SSI; food stamps are no cash. For two the guideline of 2014 is 11,670 + 4,060 = 15,730 dollars. A
    // negative income is below half of it: category 1, deep poverty.
    let couple = ["207", "208"];
    let income =
        dollars("income", &couple, &[]) + dollars("benefits", &couple, &["social_security", "unemployment", "ssi", "tanf", "veterans"]);
    assert!(income < 0 && dollars("benefits", &couple, &["snap"]) > 0);
    assert_household(&out, "207", &couple, income, 11_670 + 4_060, 1);

    // Person 7 raises person 8, born in 2001, alone. Wages and interest, no benefits: between the guideline and 1.3 times it,
    // category 3, near poverty.
    let family = ["7", "8"];
    let income = dollars("income", &family, &[]);
    assert!((15_730..20_449).contains(&income) && dollars("benefits", &family, &[]) == 0);
    assert_household(&out, "7", &family, income, 11_670 + 4_060, 3);
}

fn assert_household(out: &Path, head: &str, members: &[&str], income: i64, line: i64, category: i64) {
    let household = row(out, "households", "head", head);
    assert_eq!(household["members"], json!(members));
    let key = household["household"].as_str().unwrap();
    let values = &row(out, "indicators", "id", key)["values"];
    let found = ["household_size", "household_income", "poverty_line", "income_to_line"].map(|name| values[name].as_i64().unwrap());
    let ratio = (1000 * income).div_euclid(line);
    assert_eq!(found, [members.len() as i64, income, line, ratio]);
    assert_eq!(row(out, "categories", "household", key)["category"], category);
}

/// A full dump of a table, as CSV that the survey's mapping reads.
fn dump(folder: &Folder, name: &str, header: &str, rows: &[Vec<String>]) -> PathBuf {
    let lines: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
    folder.write(&format!("{name}-dump.csv"), format!("{header}\n{}\n", lines.join("\n")))
}

fn snapshot(register: &str, file: &Path) -> Vec<String> {
    vec!["--snapshot".to_owned(), format!("{register}={}", file.display())]
}

const INCOME_HEADER: &str = "person,year,kind,amount_usd";

#[test]
fn a_full_dump_deletes_what_it_lacks_and_changes_what_it_says() {
    let folder = Folder::new("batch-dump");
    let out = folder.0.join("out");
    let mut incomes = table("income");
    let marriages: Vec<Vec<String>> = table("marriages").into_iter().filter(|row| row[1] != "207").collect();
    let interest = incomes.iter().position(|row| row[0] == "7" && row[2] == "interest").unwrap();
    incomes.remove(interest);
    let wages = incomes.iter_mut().find(|row| row[0] == "7" && row[2] == "wages").unwrap();
    wages[3] = "90000".to_owned();
    let mut more = snapshot("irs.income", &dump(&folder, "income", INCOME_HEADER, &incomes));
    more.extend(snapshot("registry.marriage", &dump(&folder, "marriages", "act,spouse_a,spouse_b", &marriages)));
    more.extend(["--workers".to_owned(), "3".to_owned()]);
    let read = summary(&survey(&out, "2015-01-01", &more));
    let counts =
        |register: &str| ["equal", "new", "changed", "deleted", "spared"].map(|name| read["snapshots"][register][name].as_u64().unwrap());
    assert_eq!(counts("irs.income"), [incomes.len() as u64 - 1, 0, 1, 1, 0]);
    assert_eq!(counts("registry.marriage"), [marriages.len() as u64, 0, 0, 1, 0]);

    // More than four times the guideline, and the interest is gone.
    assert_household(&out, "7", &["7", "8"], 90_000, 11_670 + 4_060, 5);
    for divorced in ["207", "208"] {
        assert_eq!(row(&out, "households", "head", divorced)["members"], json!([divorced]));
    }
}

#[test]
fn a_full_dump_that_says_the_same_changes_nothing() {
    let folder = Folder::new("batch-same-dump");
    let (without, with) = (folder.0.join("without"), folder.0.join("with"));
    summary(&survey(&without, "2015-01-01", &[]));
    let mut more = snapshot("irs.income", &dump(&folder, "income", INCOME_HEADER, &table("income")));
    more.extend(snapshot("registry.marriage", &dump(&folder, "marriages", "act,spouse_a,spouse_b", &table("marriages"))));
    summary(&survey(&with, "2015-01-01", &more));
    assert_same(&views(&without), &views(&with), "with dumps of what is held");
}

#[test]
fn a_full_dump_that_shrinks_a_register_needs_a_word() {
    let folder = Folder::new("batch-shrinking-dump");
    let out = folder.0.join("out");
    let incomes = table("income");
    let kept = &incomes[..incomes.len() * 9 / 10];
    let mut more = snapshot("irs.income", &dump(&folder, "income", INCOME_HEADER, kept));
    let message = failure(&survey(&out, "2015-01-01", &more), 1);
    let numbers = format!("irs.income: {} of {} records held are not in the dump", incomes.len() - kept.len(), incomes.len());
    assert!(message.contains(&numbers), "{message}");
    more.extend(["--max-shrink".to_owned(), "0.2".to_owned()]);
    let read = summary(&survey(&out, "2015-01-01", &more));
    assert_eq!(read["snapshots"]["irs.income"]["deleted"], incomes.len() - kept.len());

    assert!(failure(&survey(&out, "2015-01-01", &snapshot("irs.incomes", &out)), 2).contains("unknown register `irs.incomes`"));
}
