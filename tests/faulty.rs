use crate::folder::Folder;
use crate::program::{shanyraq, summary};
use crate::running::*;
use serde_json::Value;
use shanyraq::ledger::reference_of;
use shanyraq::pipeline::ledger_file;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The pretend message centre, and the log of what its phones showed.
pub struct Centre {
    _process: Process,
    pub address: String,
    pub log: PathBuf,
}

impl Centre {
    pub fn start(folder: &Folder, faults: &[&str]) -> Centre {
        let log = folder.0.join("shown.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_pretend-centre"));
        let mut child = command.arg("127.0.0.1:0").arg(&log).args(faults).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Centre { _process: Process(child), address: address.trim().to_owned(), log }
    }

    pub fn link(&self, words: &str) -> String {
        format!("smpp://card:secret@{}?{words}", self.address)
    }

    /// The parts that were shown: by phone and our reference, each with its octets.
    pub fn shown(&self) -> Vec<(u64, u16, String)> {
        shown(&self.log)
    }
}

/// The same, from a centre's log.
pub fn shown(log: &Path) -> Vec<(u64, u16, String)> {
    // The last line may be half written.
    let text = std::fs::read_to_string(log).unwrap();
    let part = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let phone = line["phone"].as_str().unwrap().parse().unwrap();
        (phone, line["reference"].as_u64().unwrap() as u16, line["octets"].as_str().unwrap().to_owned())
    };
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(part).collect()
}

/// The outbox of a ledger: phone, reference and status of each text.
pub fn outbox(data: &Path) -> Vec<(u64, u16, String)> {
    let sql = rusqlite::Connection::open(ledger_file(data)).unwrap();
    let mut query = sql.prepare("SELECT message, phone, status FROM outbox").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
    let rows = query.query_map([], row).unwrap().map(Result::unwrap);
    rows.map(|(message, phone, status)| (phone.parse().unwrap(), reference_of(u128::from_str_radix(&message, 16).unwrap()), status))
        .collect()
}

/// Everybody is written to from the beginning: the more people, the more texts.
pub fn talkative_story(persons: usize, days: usize) -> Story {
    let mut story = story(persons, 3, days);
    let live = story.iter().position(|(path, _)| path == "/v1/dispatch/live").unwrap();
    let live = story.remove(live);
    story.insert(0, live);
    story
}

/// Through a centre at which everything goes wrong that can, with the process killed again and again, nothing is shown twice; what was taken was shown,
/// and of what was not it is known.
pub fn through_a_faulty_centre(persons: usize, days: usize, window: usize, most: usize, disconnect: u64) -> String {
    let folder = Folder::new(&format!("faulty-{persons}"));
    let faults =
        ["throttle", "busy", "never", "drop", "late", "lost", "twice", "early", "elsewhere", "garbage"].map(|fault| format!("{fault}=1"));
    let disconnect = format!("disconnect={disconnect}");
    let faults: Vec<&str> = faults.iter().map(String::as_str).chain([disconnect.as_str()]).collect();
    let centre = Centre::start(&folder, &faults);
    let data = folder.0.join("data");
    let mut running = Running::start(&data, &centre.link(&format!("window={window}&rate=100000&response_seconds=1")));
    let mut kills = 0;
    for (index, (path, body)) in talkative_story(persons, days).iter().enumerate() {
        running.insist("POST", path, body).unwrap();
        if index > 0 && kills < most {
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
    assert!(count("delivered") > persons / 3 && count("uncertain") > 0, "{counts:?}");
    // What is on its way when the process is killed, a link breaks, or an answer is dropped.
    assert!(count("uncertain") <= window * (kills + broken) + shown.len() / 20, "{counts:?} of {} parts, {broken} breaks", shown.len());
    let verified = summary(&shanyraq(["ledger", "verify", "--data", &data.display().to_string()]));
    assert_eq!(verified["texts"].as_u64(), Some(outbox.len() as u64));
    format!("{} texts, {} parts shown, {kills} kills, {broken} broken connections: {counts:?}", outbox.len(), shown.len())
}
