use crate::folder::Folder;
use crate::registers::repository;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const INDICATORS: &str = r#"
[some_income]
title = { en = "Greatest income" }
source = "test"
of = "person"
unit = "USD/year"
value = "irs.income.map(r, r.amount).max()"
[head_income]
title = { en = "Greatest income of the head" }
source = "test"
of = "household"
unit = "USD/year"
value = "head.some_income"
"#;

/// The package `us-cps` with a threshold that is 35 % of a median, with more said of how.
fn package(folder: &Folder, more: &str, values: &str) -> PathBuf {
    let root = folder.0.join("package");
    copy(&repository("dataflows/policies/us-cps"), &root);
    let append = |path: &str, text: &str| {
        let path = root.join(path);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, before + text).unwrap();
    };
    append("indicators/households.toml", INDICATORS);
    append(
        "parameters.toml",
        &format!(
            "\n[LINE]\ntitle = {{ en = \"Relative line\" }}\nunit = \"USD/year\"\n\
             propose = {{ of = \"head_income\", quantile = 500, share = 350{more} }}\n\
             values = [\n  {{ from = 2014-01-01, is = 1, source = \"test\" }},\n{values}]\n"
        ),
    );
    root
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(path, target).map(drop).unwrap() }
    }
}

/// Heads of one with 100, 200 and 400 dollars, a mother of three with 301, and a head of whom no income is known.
fn feed(folder: &Folder) -> PathBuf {
    let line = |register: &str, key: &str, person: Option<u64>, data: serde_json::Value| {
        let mut line = json!({"register": register, "key": key, "seq": 1, "op": "upsert", "event_date": "2014-01-01", "data": data});
        if let Some(person) = person {
            line["person"] = person.to_string().into();
        }
        line.to_string()
    };
    let mut lines = Vec::new();
    let mut person =
        |id: u64, born: &str| lines.push(line("census.person", &id.to_string(), Some(id), json!({"birth_date": born, "state": 23})));
    (1..=5).for_each(|head| person(head, "1980-07-01"));
    (11..=13).for_each(|child| person(child, "2008-07-01"));
    for child in 11..=13 {
        lines.push(line("registry.parentage", &format!("{child}-3"), None, json!({"child": child.to_string(), "parent": "3"})));
    }
    for (head, amount) in [(1, 100), (2, 200), (3, 301), (4, 400)] {
        lines.push(line("irs.income", "2013-wages", Some(head), json!({"year": 2013, "kind": "wages", "amount": amount})));
    }
    folder.write("feed.ndjson", lines.join("\n"))
}

fn propose(name: &str, package: &Path, feed: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["policy", "propose-parameter", name, "--as-of", "2014-08-15", "--policy"]).arg(package);
    command.arg("--feed").arg(feed).output().unwrap()
}

fn proposed(name: &str, more: &str) -> (String, String) {
    let folder = Folder::new(name);
    let output = propose("LINE", &package(&folder, more, ""), &feed(&folder));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (line, rest) = text.split_once('\n').unwrap();
    (line.to_owned(), rest.to_owned())
}

/// By household the values are 100, 200, 301 and 400: the lower of the two in the middle is 200, and 35 % of it 70.
#[test]
fn a_household_may_count_once() {
    let (line, rest) = proposed("propose-households", ", weigh = \"households\"");
    let source = "35 % of the median of head_income, computed on 2014-08-15 from 4 households";
    assert_eq!(line, format!("  {{ from = 2014-10-01, is = 70, source = \"{source}\" }},"));
    assert_eq!(rest, "# left out, because head_income is unknown: 1 households, 1 people\n");
}

/// By people the family of four makes it 100, 200, 301 four times and 400: the fourth of seven is 301, and 35 % of it 105.35.
#[test]
fn a_household_counts_once_a_member_and_fractions_are_rounded_up() {
    let (line, _) = proposed("propose-people", "");
    assert!(line.contains("is = 106,") && line.contains("from 7 people in 4 households"), "{line}");
}

#[test]
fn another_parameter_is_the_least_that_is_proposed() {
    let (line, _) = proposed("propose-bound", ", at_least = \"SSI_RATE\"");
    assert!(line.contains("is = 721,") && line.contains("which is 106: raised to SSI_RATE"), "{line}");
}

#[test]
fn the_line_proposed_can_be_added_to_the_package() {
    let (line, _) = proposed("propose-line", "");
    let folder = Folder::new("propose-added");
    let check = |values: &str| {
        let package = package(&folder, "", values);
        Command::new(env!("CARGO_BIN_EXE_shanyraq")).args(["policy", "check"]).arg(package).output().unwrap()
    };
    let output = check(&format!("{line}\n"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_cannot_be_proposed_is_told() {
    let folder = Folder::new("propose-nothing");
    let (package, feed) = (package(&folder, "", ""), feed(&folder));
    let failure = |name: &str, feed: &Path, code: i32| {
        let output = propose(name, &package, feed);
        assert_eq!(output.status.code(), Some(code));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(failure("LIEN", &feed, 2).contains("did you mean LINE?"));
    assert!(failure("SSI_RATE", &feed, 2).contains("those that do: LINE"));
    let text = std::fs::read_to_string(&feed).unwrap();
    let poor: Vec<&str> = text.lines().filter(|line| !line.contains("irs.income")).collect();
    let unknown = failure("LINE", &folder.write("poor.ndjson", poor.join("\n")), 1);
    assert!(unknown.contains("head_income is known of no household"), "{unknown}");
}
