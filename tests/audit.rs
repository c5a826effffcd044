use crate::folder::Folder;
use crate::packages::edit;
use crate::snapshots::{SELDOM, start, tell};
use dataflows::model::Date;
use fixtures::country::Country;
use fixtures::lives::lives_under_many_numbers;
use serde_json::{Value, json};
use shanyraq::commands::load_package;
use shanyraq::packages::Package;
use shanyraq::pipeline::metrics::LeftOut;
use shanyraq::pipeline::{Audited, Pipeline, snapshots_folder};
use shanyraq::snapshot::Snapshots;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

fn kz() -> Package {
    load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message))
}

/// A pipeline under this package that was told all of these lines.
fn told(package: &Package, data: &Path, workers: usize, lines: &[Vec<u8>]) -> Pipeline {
    let pipeline = start(package, data, workers, SELDOM);
    lines.iter().for_each(|lines| tell(&pipeline, lines));
    pipeline
}

fn audit(pipeline: &Pipeline, seed: u64) -> Audited {
    pipeline.auditor.audit(40, seed).unwrap_or_else(|failure| panic!("{failure}"))
}

/// What a pipeline has counted by this name, labels included.
fn counted(pipeline: &Pipeline, name: &str) -> usize {
    let (text, name) = (pipeline.metrics.text(), format!("shanyraq_{name} "));
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_else(|| panic!("no {name}: {text}"))
}

/// Families of a country, picked at random, come out of the twin as the engine has them.
#[test]
fn the_twin_agrees_about_families_picked_at_random() {
    let package = kz();
    for (seed, workers) in [(1, 1), (2, 3), (3, 2)] {
        let folder = Folder::new(&format!("audit-{seed}"));
        let country = Country::new(1_500, seed, Date::from_ymd(2026, 1, 1).unwrap());
        let lines: Vec<_> = country.population_blocks(1).chain(country.days(20 * seed as usize).map(|(_, lines)| lines)).collect();
        let pipeline = told(&package, &folder.0.join("data"), workers, &lines);
        let audited = audit(&pipeline, seed);
        assert!(audited.families > 30, "{seed}: {} of 40", audited.families);
        assert!(audited.differing.is_empty(), "{seed}: {} of {}: {:#?}", audited.differing.len(), audited.families, audited.differing[0]);
        assert_eq!([counted(&pipeline, "audited_total"), counted(&pipeline, "audits_differing_total")], [audited.families, 0]);
        pipeline.stop();
    }
}

/// Where the stores hold what would follow from other rules, in which wages count twice, what the twin says is counted, and what both say is written
/// where it belongs; the log tells of how many families, and of nobody.
#[test]
fn families_that_come_out_otherwise_are_counted_and_written_down() {
    let package = kz();
    let mut texts = package.texts.clone();
    let wages = |times| format!("previous_quarter())).map(r, r.amount * {times}).sum()");
    edit(&mut texts, "indicators/economic.toml", &wages(10), &wages(20));
    let other = Package::load(texts).unwrap();
    let folder = Folder::new("audit-differing");
    let [data, aside] = ["data", "aside"].map(|name| folder.0.join(name));
    let country = Country::new(400, 4, Date::from_ymd(2026, 1, 1).unwrap());
    let lines: Vec<_> = country.population_blocks(1).collect();
    told(&package, &data, 1, &lines).stop();
    let other = told(&other, &aside, 1, &lines);
    let snapshot = Snapshots::open(&snapshots_folder(&data), 1).unwrap().newest().unwrap().remove(0);
    let filled = other.questions.ask(move |engine, _| {
        engine.with_houses(move |worker, house| snapshot.write_worker(worker, |saver| house.save(saver)).map_err(|error| error.to_string()))
    });
    assert_eq!(filled, Some(vec![Ok(())]));
    other.stop();

    let pipeline = start(&package, &data, 1, SELDOM);
    let log = folder.0.join("log");
    let logging = tracing_subscriber::fmt().json().with_writer(Mutex::new(File::create(&log).unwrap())).finish();
    let audited = tracing::subscriber::with_default(logging, || audit(&pipeline, 1));
    let differing = audited.differing.len();
    assert!(differing > 10 && differing < audited.families, "{differing} of {}", audited.families);
    let counts = ["audited_total", "audits_differing_total"].map(|name| counted(&pipeline, name));
    assert_eq!(counts, [audited.families, differing]);
    pipeline.stop();

    let written = std::fs::read_to_string(data.join("audit.ndjson")).unwrap();
    let rows: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows, audited.differing);
    let names = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for row in &rows {
        assert_eq!(names(row), ["engine", "twin"]);
        let said = [&row["engine"], &row["twin"]];
        // What was concluded, and of whom; nothing of what registers say of them.
        said.iter().for_each(|said| assert_eq!(names(said), ["decisions", "household", "members", "points", "scores"]));
        assert_eq!((&said[0]["members"], &said[0]["household"]), (&said[1]["members"], &said[1]["household"]));
        assert!(said[0]["members"].as_array().unwrap().iter().all(|member| member.as_array().unwrap().len() == 2), "{row}");
        // Richer by the double wages, and by nothing else.
        assert_eq!(said[0]["points"]["c07_cars"], said[1]["points"]["c07_cars"]);
    }
    let points = |row: &Value, who: &str| row[who]["points"]["c01_income_pc"].as_i64().unwrap();
    assert!(rows.iter().filter(|row| points(row, "engine") > points(row, "twin")).count() > differing / 2, "{rows:#?}");
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["level"], &lines[0]["fields"]["families"]), (1, &json!("ERROR"), &json!(differing)), "{log}");
    assert!(!log.split(|letter: char| !letter.is_ascii_digit()).any(|digits| digits.len() > 8), "{log}");
}

/// A twin that does not know something of the package ends a copy of the process alone: the audit has failed, which is counted, and the
/// pipeline goes on.
#[test]
fn a_twin_that_panics_is_an_audit_that_failed() {
    let mut texts = kz().texts;
    // Room around words the engine passes over; to the twin it is no type.
    edit(&mut texts, "registers/care.toml", "enum(registered|deferred|exempt|served)", "enum(registered | deferred|exempt|served)");
    let folder = Folder::new("audit-panic");
    let country = Country::new(200, 6, Date::from_ymd(2026, 1, 1).unwrap());
    let lines: Vec<_> = country.population_blocks(1).collect();
    let pipeline = told(&Package::load(texts).unwrap(), &folder.0.join("data"), 2, &lines);
    let failure = pipeline.auditor.audit(10, 1).unwrap_err().to_string();
    assert!(failure.contains("the twin gives no answer"), "{failure}");
    assert_eq!(["audits_failed_total", "audited_total"].map(|name| counted(&pipeline, name)), [1, 0]);
    country.days(1).for_each(|(_, lines)| tell(&pipeline, &lines));
    pipeline.stop();
}

/// Families that are picked and left out are counted, each by the reason.
#[test]
fn families_that_are_left_out_are_counted() {
    let folder = Folder::new("audit-left-out");
    // Everybody lives at one address, so that whatever is known of anybody may have a bearing on everybody.
    let country = Country::new(1_000, 5, Date::from_ymd(2026, 1, 1).unwrap());
    let crowded = country.population_blocks(1).map(|block| {
        let lines = block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        for line in lines.iter_mut().filter(|line| line["register"] == "gbdfl.residence") {
            (line["key"], line["data"]["rka"]) = (json!("0000000000000001"), json!("0000000000000001"));
        }
        lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
    });
    let stories = [
        (crowded.collect::<Vec<_>>(), LeftOut::ManyPeople, "ManyPeople"),
        (lives_under_many_numbers(1, 12, 25), LeftOut::SeveralNumbers, "SeveralNumbers"),
    ];
    for (lines, reason, label) in stories {
        let pipeline = told(&kz(), &folder.0.join(label), 1, &lines);
        let audited = audit(&pipeline, 3);
        let left_out = audited.left_out.get(&reason).copied().unwrap_or(0);
        assert!(left_out > 0 && audited.left_out.len() == 1, "{audited:?}");
        assert_eq!(counted(&pipeline, &format!("audits_left_out_total{{reason=\"{label}\"}}")), left_out);
        assert!(audited.differing.is_empty(), "{audited:#?}");
        pipeline.stop();
    }
}
