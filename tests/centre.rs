use crate::folder::Folder;
use crate::program::{shanyraq, summary};
use crate::registers::repository;
use crate::running::*;
use serde_json::{Value, json};
use shanyraq::ledger::reference_of;
use shanyraq::pipeline::ledger_file;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The pretend message centre, and the log of what its phones showed.
struct Centre {
    _process: Process,
    address: String,
    log: PathBuf,
}

impl Centre {
    fn start(folder: &Folder, faults: &[&str]) -> Centre {
        let log = folder.0.join("shown.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pretend-centre"));
        let mut child = command.arg("127.0.0.1:0").arg(&log).args(faults).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Centre { _process: Process(child), address: address.trim().to_owned(), log }
    }

    fn link(&self, words: &str) -> String {
        format!("smpp://card:secret@{}?{words}", self.address)
    }

    /// The parts that were shown: by phone and our reference, each with its octets.
    fn shown(&self) -> Vec<(u64, u16, String)> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let part = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let phone = line["phone"].as_str().unwrap().parse().unwrap();
            (phone, line["reference"].as_u64().unwrap() as u16, line["octets"].as_str().unwrap().to_owned())
        };
        text.lines().map(part).collect()
    }
}

/// The outbox of a ledger: phone, reference and status of each text.
fn outbox(data: &Path) -> Vec<(u64, u16, String)> {
    let sql = rusqlite::Connection::open(ledger_file(data)).unwrap();
    let mut query = sql.prepare("SELECT message, phone, status FROM outbox").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
    let rows = query.query_map([], row).unwrap().map(Result::unwrap);
    rows.map(|(message, phone, status)| (phone.parse().unwrap(), reference_of(u128::from_str_radix(&message, 16).unwrap()), status))
        .collect()
}

/// Everybody is written to from the beginning: the more people, the more texts.
fn talkative_story(persons: usize, days: usize) -> Story {
    let mut story = story(persons, 3, days);
    let live = story.iter().position(|(path, _)| path == "/v1/dispatch/live").unwrap();
    let live = story.remove(live);
    story.insert(0, live);
    story
}

/// Through a centre at which everything goes wrong that can, with the process killed again and again, nothing is shown twice; what was taken was shown,
/// and of what was not it is known.
#[test]
fn through_a_faulty_centre_nothing_is_shown_twice() {
    const WINDOW: usize = 20;
    const KILLS: usize = 5;
    let folder = Folder::new("faulty");
    let faults =
        ["throttle", "busy", "never", "drop", "late", "lost", "twice", "early", "elsewhere", "garbage"].map(|fault| format!("{fault}=1"));
    let faults: Vec<&str> = faults.iter().map(String::as_str).chain(["disconnect=150"]).collect();
    let centre = Centre::start(&folder, &faults);
    let data = folder.0.join("data");
    let mut running = Running::start(&data, &centre.link(&format!("window={WINDOW}&rate=10000&response_seconds=1")));
    let mut kills = 0;
    for (index, (path, body)) in talkative_story(1_500, 6).iter().enumerate() {
        running.insist("POST", path, body).unwrap();
        if index > 0 && kills < KILLS {
            kills += 1;
            running.kill();
            running.start_again();
        }
        running.tell(path, body).unwrap();
    }
    let broken = running.said.lock().unwrap().iter().filter(|line| line.contains("link broken")).count();
    running.stop();

    let (shown, outbox) = (centre.shown(), outbox(&data));
    let once: BTreeSet<_> = shown.iter().collect();
    assert_eq!(once.len(), shown.len(), "nothing is shown twice");
    let mut parts: BTreeMap<(u64, u16), usize> = BTreeMap::new();
    shown.iter().for_each(|(phone, reference, _)| *parts.entry((*phone, *reference)).or_default() += 1);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (phone, reference, status) in &outbox {
        *counts.entry(status).or_default() += 1;
        let parts = parts.remove(&(*phone, *reference)).unwrap_or(0);
        match status.as_str() {
            "taken" | "delivered" => assert!(parts > 0, "{phone} {reference} was taken and never shown"),
            "waiting" | "suppressed" => assert_eq!(parts, 0, "{phone} {reference} is {status} and was shown"),
            "uncertain" | "failed" => {}
            other => panic!("{other}"),
        }
    }
    assert!(parts.is_empty(), "shown, and nobody knows of it: {parts:?}");
    let count = |status: &str| counts.get(status).copied().unwrap_or(0);
    assert!(count("delivered") > 500 && count("uncertain") > 0, "{counts:?}");
    // What is on its way when the process is killed, a link breaks, or an answer is dropped.
    let on_the_way = 64;
    assert!(
        count("uncertain") <= on_the_way * KILLS + WINDOW * broken + shown.len() / 20,
        "{counts:?} of {} parts, {broken} breaks",
        shown.len()
    );
    let verified = summary(&shanyraq(["ledger", "verify", "--data", &data.display().to_string()]));
    assert_eq!(verified["texts"].as_u64(), Some(outbox.len() as u64));
}

/// Who is asked answers by phone, by way of the centre: a yes is heard, once.
#[test]
fn replies_come_by_the_centre() {
    let folder = Folder::new("replies");
    let centre = Centre::start(&folder, &["answer=100"]);
    let data = folder.0.join("data");
    let running = Running::start(&data, &centre.link("separate=true"));
    for (path, body) in &talkative_story(300, 4) {
        running.tell(path, body).unwrap();
    }
    running.stop();
    let sql = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    let yeses: usize = sql.query_row("SELECT count(*) FROM consents", [], |row| row.get(0)).unwrap();
    let delivered = outbox(&data).iter().filter(|(.., status)| status == "delivered").count();
    assert!(yeses > 20 && delivered > yeses, "{yeses} yeses to {delivered} texts");
}

/// A message centre that others wrote reads every text as it was meant, from whom and how long it is to be tried; its receipts and the replies of its phones are
/// understood. It refuses whoever it does not know, and texts wait.
#[test]
fn a_centre_of_others_understands_everything() {
    let folder = Folder::new("independent");
    let log = folder.0.join("understood.log");
    let mut command = Command::new("node");
    command.arg(repository("fixtures/independent_centre.js")).arg(&log).env("NODE_PATH", repository("target/node/node_modules"));
    let mut process = Process(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut address = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let data = folder.0.join("data");
    let story = talkative_story(300, 4);

    let stranger = Running::start(&folder.0.join("stranger"), &format!("smpp://stranger:secret@{}", address.trim()));
    story[..2].iter().for_each(|(path, body)| drop(stranger.insist("POST", path, body).unwrap()));
    let begun = Instant::now();
    while !stranger.said.lock().unwrap().iter().any(|line| line.contains("bind: EsmeRbindfail")) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", stranger.said);
    }
    stranger.stop();

    let running = Running::start(&data, &format!("smpp://card:secret@{}?window=50&rate=2000", address.trim()));
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    running.stop();
    let mut understood: BTreeMap<(u64, u64), BTreeMap<u64, String>> = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["source"], &line["hours"], &line["registered_delivery"]), (&json!("1414"), &json!(48), &json!(1)), "{line}");
        let header: Option<Vec<u64>> = serde_json::from_value(line["header"].clone()).unwrap();
        let (part, class) = header.map_or((1, 0), |header| (header[4], 0x40));
        assert_eq!(line["esm_class"], json!(class), "{line}");
        let parts = understood.entry((line["phone"].as_str().unwrap().parse().unwrap(), line["reference"].as_u64().unwrap())).or_default();
        assert!(parts.insert(part, line["text"].as_str().unwrap().to_owned()).is_none(), "{line} comes twice");
    }
    let sql = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    let mut query = sql.prepare("SELECT message, phone, text FROM outbox WHERE status = 'delivered'").unwrap();
    let mut delivered = 0;
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (message, phone, text): (String, String, String) = (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        let reference = reference_of(u128::from_str_radix(&message, 16).unwrap());
        let parts = understood.remove(&(phone.parse().unwrap(), u64::from(reference))).unwrap();
        assert_eq!(parts.into_values().collect::<String>(), text);
        delivered += 1;
    }
    let yeses: usize = sql.query_row("SELECT count(*) FROM consents", [], |row| row.get(0)).unwrap();
    assert!(delivered > 100 && yeses > 20 && understood.is_empty(), "{delivered} delivered, {yeses} yeses, {understood:?}");
}
