//! `cargo bench --bench peers`: the same records, the same rules (`benches/peers/rules.sql`, and the same as a policy package beside it) and the same batches
//! of changes through this engine, a hand-written program without a dataflow, and whoever `benches/peers/install` has installed. What each says of all
//! households after each batch must be the same before any time counts. `cargo bench --bench peers -- PERSONS PEER…` for another size, or for some alone.

mod floor;
mod records;
mod rules;

use dataflows::House;
use dataflows::model::{Date, HouseholdKey, Scores, Update};
use dataflows::policy::{FeedState, Policy};
use dataflows::records::Circumstances;
use records::{Batch, Records};
use serde_json::Value;
use shanyraq::commands::load_policy;
use shanyraq::intake::{Intake, Item, Schema};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use timely::worker::Worker;

/// As the program itself has it.
#[global_allocator]
static ALLOCATOR: shanyraq::memory::Memory = shanyraq::memory::Memory;

/// What a peer made of a batch: how long it took, how many households it changed, and a sum over all of them.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub seconds: f64,
    pub changed: u64,
    pub sum: i128,
    pub bytes: u64,
}

/// By batch; the load is the first.
pub type Tale = BTreeMap<String, Told>;

/// What is added up over households: others write it in SQL.
pub fn summand(household: u64, score: i64, category: i64) -> i128 {
    i128::from(household) * i128::from(score * 10 + category + 1)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let persons = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let wanted =
        |peer: &str| arguments.iter().all(|argument| argument.parse::<u64>().is_ok()) || arguments.iter().any(|argument| argument == peer);
    let records = Records::new(persons);
    let folder = repository("target/peers-records");
    records.write(&folder).expect("the records can be written");
    let mut tales: Vec<(&str, Tale)> = Vec::new();
    if wanted("floor") {
        tales.push(("a program without a dataflow, one thread", floor::tell(&records)));
    }
    if wanted("shanyraq") {
        tales.push(("shanyraq, one worker", engine(&records)));
    }
    let others = [
        ("duckdb", "DuckDB, everything anew, two threads"),
        ("pathway", "Pathway, incremental"),
        ("flink", "Apache Flink SQL, incremental, one slot, 2 GiB of heap"),
        ("dbsp", "dbsp, incremental, one worker"),
    ];
    for (peer, title) in others {
        match program(peer).filter(|_| wanted(peer)) {
            Some(program) => tales.push((title, tell(program, peer, &folder))),
            None if wanted(peer) => println!("{peer} is not there: benches/peers/install (dbsp with --dbsp)"),
            None => {}
        }
    }
    compare(&tales);
    print(persons, &records, &tales);
}

/// Everybody says the same after each batch.
fn compare(tales: &[(&str, Tale)]) {
    for (title, tale) in tales {
        for (batch, told) in tale {
            let (first, expected) = (tales[0].0, tales[0].1[batch]);
            assert_eq!((told.sum, told.changed), (expected.sum, expected.changed), "{title} and {first} differ after {batch}");
        }
    }
}

fn print(persons: usize, records: &Records, tales: &[(&str, Tale)]) {
    println!("{persons} people, {} records; all agree after {} batches", records.len(), records.batches.len());
    let tale_of = |name: &str| tales.iter().find(|(title, _)| title.starts_with(name)).map(|(_, tale)| medians(records, tale));
    let ours = tale_of("shanyraq");
    for (title, tale) in tales {
        let load = tale["0-load"];
        println!(
            "{title}: load {:.2} s, {:.0} MB at most",
            load.seconds,
            tale.values().map(|told| told.bytes).max().unwrap_or(0) as f64 / 1e6
        );
        for (index, (size, median)) in medians(records, tale).into_iter().enumerate() {
            let times = ours.as_ref().map_or(String::new(), |ours| format!(", {:>8.2} times what shanyraq takes", median / ours[index].1));
            println!("    batches of {size:>6}: median {:>11.1} us, {:>10.0} changes/s{times}", median * 1e6, size as f64 / median);
        }
        println!("    of batches of 1 the hundredth slowest: {:.1} us", of_size(tale, 1).rev().nth(1).unwrap_or(0.0) * 1e6);
    }
    if let (Some(ours), Some(anew)) = (ours, tale_of("DuckDB")) {
        match break_even(&ours, &anew) {
            Some(size) => println!("computing everything anew in DuckDB is quicker from batches of some {size:.0} changes on"),
            None => println!("computing everything anew in DuckDB is quicker at no batch size measured"),
        }
    }
}

/// How long the batches of a size took, ascending.
fn of_size(tale: &Tale, size: usize) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
    let mut seconds: Vec<f64> =
        tale.iter().filter(|(batch, _)| records::size_of(batch) == Some(size)).map(|(_, told)| told.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.into_iter()
}

/// The median time of the batches of each size.
fn medians(records: &Records, tale: &Tale) -> Vec<(usize, f64)> {
    let median = |size: usize| {
        let mut seconds = of_size(tale, size);
        let middle = seconds.len() / 2;
        // Of few people there are fewer changes.
        let first = records.batches.iter().find(|batch| records::size_of(&batch.name) == Some(size));
        (first.map_or(size, |batch| batch.changes.len()), seconds.nth(middle).expect("each size is tried"))
    };
    records::SIZES.into_iter().map(median).collect()
}

/// The batch size from which on the second is quicker, between those measured by straight lines.
fn break_even(one: &[(usize, f64)], other: &[(usize, f64)]) -> Option<f64> {
    let ahead = |index: usize| other[index].1 - one[index].1;
    let index = (0..one.len()).find(|index| ahead(*index) <= 0.0)?;
    let Some(before) = index.checked_sub(1) else { return Some(one[0].0 as f64) };
    let (from, to) = (one[before].0 as f64, one[index].0 as f64);
    Some(from + (to - from) * ahead(before) / (ahead(before) - ahead(index)))
}

/// What runs a peer, if it is installed: its script, or a program of its own.
fn program(peer: &str) -> Option<Command> {
    let place = repository("target/peers").join(peer);
    let [python, own] = ["bin/python".to_owned(), format!("release/{peer}-peer")].map(|path| place.join(path));
    if own.exists() {
        return Some(Command::new(own));
    }
    let mut script = Command::new(&python);
    script.arg(repository("benches/peers").join(format!("{peer}_peer.py")));
    python.exists().then_some(script)
}

/// Has a peer tell its tale: it prints a line a batch.
fn tell(mut program: Command, peer: &str, folder: &Path) -> Tale {
    let output = program.arg(folder).arg("2").output().expect("the peer starts");
    assert!(output.status.success(), "{peer}: {}", String::from_utf8_lossy(&output.stderr));
    let told = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{peer}: {line}"));
        let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{peer}: {line}"));
        let told = Told {
            seconds: number("seconds"),
            changed: number("changed") as u64,
            sum: line["sum"].as_i64().expect("a sum").into(),
            bytes: number("peak_bytes") as u64,
        };
        let batch = line["batch"].as_str().expect("a batch");
        (if batch == "load" { "0-load".to_owned() } else { batch.to_owned() }, told)
    };
    String::from_utf8_lossy(&output.stdout).lines().map(told).collect()
}

/// This engine, as `bench rescoring` drives it: decoded records in, changed scores out.
fn engine(records: &Records) -> Tale {
    let policy =
        load_policy(repository("benches/peers/package").to_str().expect("a path")).unwrap_or_else(|failure| panic!("{}", failure.message));
    let decode = |lines: &[u8], intake: &mut Intake| -> Vec<Update> {
        let items =
            lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| intake.decode(line).expect("a record").item);
        items.filter_map(|item| if let Item::Update(update) = item { Some(update) } else { None }).collect()
    };
    let mut intake = Intake::new(Arc::new(Schema::from(&*policy)));
    let first = decode(&records.lines(), &mut intake);
    let batches: Vec<(String, Vec<Update>)> =
        records.batches.iter().map(|Batch { name, changes }| (name.clone(), decode(&records::lines_of(changes), &mut intake))).collect();
    timely::execute_directly(move |worker| drive(worker, &policy, first, batches))
}

fn drive(worker: &mut Worker, policy: &Arc<Policy>, mut first: Vec<Update>, batches: Vec<(String, Vec<Update>)>) -> Tale {
    let mut house = House::build(worker, policy.clone());
    let today = Date::from_ymd(2026, 1, 1).expect("a day");
    let now = Circumstances { today, feeds: vec![FeedState::Fresh; policy.registers.len()] };
    let begun = Instant::now();
    house.submit(&mut first);
    house.set_circumstances(now.clone());
    house.close(worker);
    let seconds = begun.elapsed().as_secs_f64();
    let mut scores: HashMap<HouseholdKey, Scores> = HashMap::new();
    house.judgements(&now, |household, _, judgement| scores.extend([(household, judgement.scores())]));
    let part = |household: HouseholdKey, scores: &Scores| summand(household.anchor(), scores.score, scores.category.into());
    let mut sum = scores.iter().map(|(household, scores)| part(*household, scores)).sum();
    let bytes = shanyraq::commands::rss_bytes;
    let mut tale = Tale::from([("0-load".to_owned(), Told { seconds, changed: scores.len() as u64, sum, bytes: bytes() })]);
    for (name, mut updates) in batches {
        let begun = Instant::now();
        house.submit(&mut updates);
        let answer = house.close(worker);
        let seconds = begun.elapsed().as_secs_f64();
        for (household, now) in &answer.rejudged {
            let now = now.expect("no household ends here");
            let before = scores.insert(*household, now).expect("nor begins");
            sum += part(*household, &now) - part(*household, &before);
        }
        tale.insert(name, Told { seconds, changed: answer.rejudged.len() as u64, sum, bytes: bytes() });
    }
    tale
}
