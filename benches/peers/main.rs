//! `cargo bench --bench peers`: the same records, the same rules (`benches/peers/rules.sql`, and the same as a policy package beside it) and the same batches
//! of changes through this engine, a hand-written program without a dataflow, and whoever `benches/peers/install` has installed, each a process of its own.
//! What each says of all households after each batch must be the same before any time counts. `cargo bench --bench peers -- PERSONS PEER…` for another size,
//! or for some alone.

mod country;
mod engine;
mod floor;
mod records;
mod rules;
mod table;
mod telling;

use country::Country;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As the program itself has it.
#[global_allocator]
static ALLOCATOR: shanyraq::memory::Memory = shanyraq::memory::Memory;

/// In the order in which they are shown.
const PEERS: [&str; 6] = ["shanyraq", "floor", "dbsp", "flink", "pathway", "duckdb"];
/// How many threads a peer may use that can use several.
const THREADS: &str = "2";

/// What a peer made of a batch: how long it took, how many households it changed, and a sum over all of them.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub seconds: f64,
    pub changed: u64,
    pub sum: i64,
    pub bytes: u64,
}

/// What a peer says of itself, and of each batch.
pub struct Tale {
    pub peer: &'static str,
    pub about: String,
    pub batches: BTreeMap<String, Told>,
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [peer @ ("floor" | "shanyraq"), folder, THREADS] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return own(peer, Path::new(folder));
    }
    let persons = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let named = |peer: &str| arguments.iter().any(|argument| argument == peer);
    let all = !PEERS.into_iter().any(named);
    let folder = repository("target/peers-records");
    let mut country = Country::new(persons);
    let changes = country.write(&folder).expect("the records can be written");
    let mut tales = Vec::new();
    for peer in PEERS.into_iter().filter(|peer| all || named(peer)) {
        match program(peer) {
            Some(program) => tales.push(hear(program, peer, &folder)),
            None => println!("{peer} is not there: benches/peers/install (dbsp with --dbsp)"),
        }
    }
    compare(&tales);
    println!("{persons} people, {} records; all agree after {} batches", country.len(), changes.len());
    table::print(&changes, &tales);
}

/// A peer of this program, told by a process of its own, as the others are.
fn own(peer: &str, folder: &Path) {
    match peer {
        "floor" => telling::tell("arrays and rules by hand, one thread", &mut floor::Floor::default(), folder),
        _ => engine::run(&repository("benches/peers/package"), folder),
    }
}

/// What runs a peer, if it is installed: this program, one of its own, or its script.
fn program(peer: &str) -> Option<Command> {
    if let "floor" | "shanyraq" = peer {
        let mut this = Command::new(std::env::current_exe().expect("this program is somewhere"));
        this.arg(peer);
        return Some(this);
    }
    let place = repository("target/peers").join(peer);
    let [python, own] = ["bin/python".to_owned(), format!("release/{peer}-peer")].map(|path| place.join(path));
    if own.exists() {
        return Some(Command::new(own));
    }
    let mut script = Command::new(&python);
    script.arg(repository("benches/peers").join(format!("{peer}_peer.py")));
    python.exists().then_some(script)
}

/// Has a peer tell its tale: it prints a line about itself, and one for each batch.
fn hear(mut program: Command, peer: &'static str, folder: &Path) -> Tale {
    let output = program.arg(folder).arg(THREADS).output().expect("the peer starts");
    assert!(output.status.success(), "{peer}: {}", String::from_utf8_lossy(&output.stderr));
    let mut tale = Tale { peer, about: String::new(), batches: BTreeMap::new() };
    for text in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{peer}: {text}"));
        if let Some(about) = line["about"].as_str() {
            tale.about = about.to_owned();
            continue;
        }
        let whole = |name: &str| line[name].as_i64().unwrap_or_else(|| panic!("{peer}: {text}"));
        let seconds = line["seconds"].as_f64().expect("a number of seconds");
        let told = Told { seconds, changed: whole("changed") as u64, sum: whole("sum"), bytes: whole("peak_bytes") as u64 };
        tale.batches.insert(line["batch"].as_str().expect("a batch").to_owned(), told);
    }
    tale
}

/// Everybody says the same after each batch.
fn compare(tales: &[Tale]) {
    let Some((first, others)) = tales.split_first() else { return };
    for tale in others {
        assert!(tale.batches.keys().eq(first.batches.keys()), "{} and {} tell of other batches", tale.peer, first.peer);
        for (batch, told) in &tale.batches {
            let expected = first.batches[batch];
            assert_eq!((told.sum, told.changed), (expected.sum, expected.changed), "{} and {} differ after {batch}", tale.peer, first.peer);
        }
    }
}
