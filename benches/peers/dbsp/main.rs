//! The rules of `../rules.sql` as one circuit of dbsp: tables that are written over by key, a join that brings what people have to their household, and sums
//! over households as a linear aggregate, by one worker, as the engine has. `dbsp-peer FOLDER` reads what the bench wrote there, and prints a JSON line for
//! each batch: its name, seconds, changed households, and a sum over all of them.

#[path = "../rules.rs"]
mod rules;

use dbsp::operator::Update;
use dbsp::typed_batch::{IndexedZSetReader, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3, Tup5};
use dbsp::{DBSPHandle, MapHandle, OrdZSet, OutputHandle, RootCircuit, Runtime, ZSetHandle};
use rules::judge;
use serde_json::json;
use std::fs::read_to_string;
use std::path::Path;
use std::time::Instant;

/// Somebody, whether a child, and their household.
type Person = Tup3<i64, bool, i64>;
/// Of a person the source of an income, or the contract of a loan.
type Key = Tup2<i64, i64>;
/// Balance and days overdue.
type Loan = Tup2<i64, i64>;
/// Members, children, income, debt, loans in arrears.
type Sums = Tup5<i64, i64, i64, i64, i64>;
/// A household, its score and its category.
type Judged = Tup3<i64, i64, i64>;

struct Handles {
    people: ZSetHandle<Person>,
    incomes: MapHandle<Key, i64, i64>,
    loans: MapHandle<Key, Loan, Loan>,
    judged: OutputHandle<SpineSnapshot<OrdZSet<Judged>>>,
}

fn build(circuit: &mut RootCircuit) -> anyhow::Result<Handles> {
    let (person, people) = circuit.add_input_zset::<Person>();
    let (income, incomes) = circuit.add_input_map::<Key, i64, i64, _>(|amount, now| *amount = *now);
    let (loan, loans) = circuit.add_input_map::<Key, Loan, Loan, _>(|loan, now| *loan = *now);
    let lives = person.map_index(|Tup3(person, _, household)| (*person, *household));
    let of_income = income.map_index(|(Tup2(person, _), amount)| (*person, Tup5(0, 0, *amount, 0, 0)));
    let of_loan = loan.map_index(|(Tup2(person, _), Tup2(balance, overdue))| (*person, Tup5(0, 0, 0, *balance, i64::from(*overdue > 90))));
    let owned = of_income.plus(&of_loan).join(&lives, |_, sums, household| Tup2(*household, *sums));
    let selves = person.map(|Tup3(_, child, household)| Tup2(*household, Tup5(1, i64::from(*child), 0, 0, 0)));
    let by_household = owned.plus(&selves).map_index(|Tup2(household, sums): &Tup2<i64, Sums>| (*household, *sums));
    let judged = by_household.aggregate_linear(|sums| *sums).map(|(household, Tup5(members, children, income, debt, arrears))| {
        let (score, category) = judge(*members, *children, *income, *debt, *arrears);
        Tup3(*household, score, category)
    });
    Ok(Handles { people, incomes, loans, judged: judged.accumulate_output() })
}

/// The rows of a table, each as its words.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn number(row: &[String], at: usize) -> i64 {
    row[at].parse().unwrap_or_else(|_| panic!("{row:?} has no number at {at}"))
}

fn key(row: &[String], at: usize) -> Key {
    Tup2(number(row, at), number(row, at + 1))
}

/// What is told, ready to be handed in.
#[derive(Default)]
struct Told {
    people: Vec<Tup2<Person, i64>>,
    incomes: Vec<Tup2<Key, Update<i64, i64>>>,
    loans: Vec<Tup2<Key, Update<Loan, Loan>>>,
}

impl Told {
    fn first(folder: &Path) -> Told {
        let person = |row: &Vec<String>| {
            let number = number(row, 0);
            Tup2(Tup3(number, row[1] == "true", row[2].parse().unwrap_or(number)), 1)
        };
        let income = |row: &Vec<String>| Tup2(key(row, 0), Update::Insert(number(row, 2)));
        let loan = |row: &Vec<String>| Tup2(key(row, 0), Update::Insert(Tup2(number(row, 2), number(row, 3))));
        let read = |table: &str| rows(&folder.join(table));
        Told {
            people: read("person.csv").iter().map(person).collect(),
            incomes: read("income.csv").iter().map(income).collect(),
            loans: read("loan.csv").iter().map(loan).collect(),
        }
    }

    fn batch(path: &Path) -> Told {
        let mut told = Told::default();
        for row in rows(path) {
            let key = key(&row, 1);
            match row[0].as_str() {
                "income" => told.incomes.push(Tup2(key, Update::Insert(number(&row, 3)))),
                "loan" => told.loans.push(Tup2(key, Update::Insert(Tup2(number(&row, 3), number(&row, 4))))),
                _ => told.loans.push(Tup2(key, Update::Delete)),
            }
        }
        told
    }
}

struct Peer {
    circuit: DBSPHandle,
    handles: Handles,
    sum: i64,
}

impl Peer {
    fn tell(&mut self, name: &str, mut told: Told) {
        let begun = Instant::now();
        if !told.people.is_empty() {
            self.handles.people.append(&mut told.people);
        }
        self.handles.incomes.append(&mut told.incomes);
        self.handles.loans.append(&mut told.loans);
        // In as many steps as it takes: what it puts out is accumulated over them.
        self.circuit.transaction().expect("a transaction of the circuit");
        let judged = self.handles.judged.concat().consolidate();
        let seconds = begun.elapsed().as_secs_f64();
        let mut changed = 0;
        for (Tup3(household, score, category), (), weight) in judged.iter() {
            changed += weight.max(0);
            self.sum += weight * household * (score * 10 + category + 1);
        }
        println!("{}", json!({ "batch": name, "seconds": seconds, "changed": changed, "sum": self.sum, "peak_bytes": peak_bytes() }));
    }
}

fn peak_bytes() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    peak.unwrap_or(0) * 1024
}

fn main() {
    let folder = std::env::args().nth(1).expect("dbsp-peer FOLDER");
    let folder = Path::new(&folder);
    let (circuit, handles) = Runtime::init_circuit(1, build).expect("a circuit");
    let mut peer = Peer { circuit, handles, sum: 0 };
    peer.tell("load", Told::first(folder));
    let mut batches: Vec<_> = folder.join("batches").read_dir().expect("batches").map(|entry| entry.expect("a file").path()).collect();
    batches.sort();
    for path in batches {
        peer.tell(path.file_stem().and_then(|name| name.to_str()).expect("a name"), Told::batch(&path));
    }
}
