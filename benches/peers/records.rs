//! Records of the comparison: people with incomes and loans, and batches of changes, the same ones at each run.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Sizes of batches, and how many of each there are.
pub const SIZES: [usize; 4] = [1, 100, 10_000, 100_000];
const TIMES: [usize; 4] = [200, 40, 5, 2];

/// Of a batch's name its size.
pub fn size_of(name: &str) -> Option<usize> {
    name.split('-').nth(1)?.parse().ok()
}

#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Nothing for an adult.
    pub parent: Option<u64>,
}

/// What changes; `version` is that of the record.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Income { person: u64, source: u64, amount: i64, version: u64 },
    Loan { person: u64, contract: u64, balance: i64, overdue: i64 },
    Repaid { person: u64, contract: u64 },
}

pub struct Batch {
    pub name: String,
    pub changes: Vec<Change>,
}

pub struct Records {
    /// People are numbered from one.
    pub people: Vec<Person>,
    pub incomes: BTreeMap<(u64, u64), i64>,
    pub loans: BTreeMap<(u64, u64), (i64, i64)>,
    pub batches: Vec<Batch>,
}

impl Records {
    pub fn new(persons: usize) -> Records {
        let mut dice = Pcg64Mcg::seed_from_u64(2026);
        let mut roll = move |below: u64| dice.next_u64() % below;
        let (mut people, mut incomes, mut loans) = (Vec::with_capacity(persons), BTreeMap::new(), BTreeMap::new());
        let mut adult = 0;
        for person in 1..=persons as u64 {
            let parent = (adult > 0 && roll(100) < 40).then_some(adult);
            if parent.is_none() {
                adult = person;
                let (sources, contracts) = (1 + roll(3), roll(3));
                incomes.extend((0..sources).map(|source| ((person, source), 20_000 + roll(40) as i64 * 10_000)));
                loans.extend((0..contracts).map(|contract| ((person, contract), loan(&mut roll))));
            }
            people.push(Person { parent });
        }
        let batches = batches(&mut roll, &incomes, &loans);
        Records { people, incomes, loans, batches }
    }

    /// How many there are at first.
    pub fn len(&self) -> usize {
        self.people.len() + self.people.iter().filter(|person| person.parent.is_some()).count() + self.incomes.len() + self.loans.len()
    }

    /// As agencies would send them.
    pub fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (person, Person { parent }) in (1_u64..).zip(&self.people) {
            line(&mut lines, "register.person", "person", Some(person), 1, Some(json!({ "child": parent.is_some() })));
            if let Some(parent) = parent {
                let data = json!({ "child": person.to_string(), "parent": parent.to_string() });
                line(&mut lines, "register.parent", &person.to_string(), None, 1, Some(data));
            }
        }
        let incomes = self.incomes.iter().map(|(&(person, source), &amount)| Change::Income { person, source, amount, version: 1 });
        let loans = self.loans.iter().map(|(&(person, contract), &(balance, overdue))| Change::Loan { person, contract, balance, overdue });
        incomes.chain(loans).for_each(|change| change.write(&mut lines));
        lines
    }

    /// Writes tables and batches for those who read files.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        drop(std::fs::remove_dir_all(folder));
        std::fs::create_dir_all(folder.join("batches"))?;
        let mut text = String::from("person,child,parent\n");
        for (person, Person { parent }) in (1..).zip(&self.people) {
            let shown = parent.map_or_else(String::new, |parent| parent.to_string());
            let _ = writeln!(text, "{person},{},{shown}", parent.is_some());
        }
        std::fs::write(folder.join("person.csv"), &text)?;
        let rows = self.incomes.iter().map(|((person, source), amount)| format!("{person},{source},{amount}\n"));
        std::fs::write(folder.join("income.csv"), format!("person,source,amount\n{}", rows.collect::<String>()))?;
        let rows = self.loans.iter().map(|((person, contract), (balance, overdue))| format!("{person},{contract},{balance},{overdue}\n"));
        std::fs::write(folder.join("loan.csv"), format!("person,contract,balance,overdue\n{}", rows.collect::<String>()))?;
        for Batch { name, changes } in &self.batches {
            let rows = changes.iter().map(|change| match *change {
                Change::Income { person, source, amount, .. } => format!("income,{person},{source},{amount},0\n"),
                Change::Loan { person, contract, balance, overdue } => format!("loan,{person},{contract},{balance},{overdue}\n"),
                Change::Repaid { person, contract } => format!("repaid,{person},{contract},0,0\n"),
            });
            std::fs::write(
                folder.join("batches").join(format!("{name}.csv")),
                format!("kind,person,id,value,overdue\n{}", rows.collect::<String>()),
            )?;
        }
        Ok(())
    }
}

fn loan(roll: &mut impl FnMut(u64) -> u64) -> (i64, i64) {
    let overdue = if roll(10) == 0 { 30 * roll(8) as i64 } else { 0 };
    (100_000 * (1 + roll(80) as i64), overdue)
}

/// Nine of ten changes are of an income, the others new loans and loans repaid. Within a batch each record changes once.
fn batches(roll: &mut impl FnMut(u64) -> u64, incomes: &BTreeMap<(u64, u64), i64>, loans: &BTreeMap<(u64, u64), (i64, i64)>) -> Vec<Batch> {
    let keys: Vec<(u64, u64)> = incomes.keys().copied().collect();
    let mut open: Vec<(u64, u64)> = loans.keys().copied().collect();
    let (mut versions, mut contract, mut batches) = (BTreeMap::<(u64, u64), u64>::new(), 1000, Vec::new());
    for (turn, (size, times)) in SIZES.into_iter().zip(TIMES).enumerate() {
        for time in 0..times {
            let (mut changes, mut touched) = (Vec::with_capacity(size), std::collections::HashSet::new());
            while changes.len() < size.min(keys.len() / 2) {
                match roll(100) {
                    0..92 => {
                        let (person, source) = keys[roll(keys.len() as u64) as usize];
                        if touched.insert((person, source)) {
                            let version = versions.entry((person, source)).or_insert(1);
                            *version += 1;
                            changes.push(Change::Income { person, source, amount: 20_000 + roll(40) as i64 * 10_000, version: *version });
                        }
                    }
                    92..96 if !open.is_empty() => {
                        let (person, contract) = open.swap_remove(roll(open.len() as u64) as usize);
                        match touched.insert((person, contract + 10)) {
                            true => changes.push(Change::Repaid { person, contract }),
                            false => open.push((person, contract)),
                        }
                    }
                    _ => {
                        let (person, _) = keys[roll(keys.len() as u64) as usize];
                        contract += 1;
                        let (balance, overdue) = loan(roll);
                        touched.insert((person, contract + 10));
                        open.push((person, contract));
                        changes.push(Change::Loan { person, contract, balance, overdue });
                    }
                }
            }
            batches.push(Batch { name: format!("{}-{size:06}-{time:03}", turn + 1), changes });
        }
    }
    batches
}

/// Changes as agencies would send them.
pub fn lines_of(changes: &[Change]) -> Vec<u8> {
    let mut lines = Vec::new();
    changes.iter().for_each(|change| change.write(&mut lines));
    lines
}

impl Change {
    fn write(&self, lines: &mut Vec<u8>) {
        match *self {
            Change::Income { person, source, amount, version } => {
                line(
                    lines,
                    "money.income",
                    &source.to_string(),
                    Some(person),
                    version,
                    Some(json!({ "source": source, "amount": amount })),
                );
            }
            Change::Loan { person, contract, balance, overdue } => {
                let data = json!({ "contract": contract, "balance": balance, "overdue": overdue });
                line(lines, "money.loan", &contract.to_string(), Some(person), 1, Some(data));
            }
            Change::Repaid { person, contract } => line(lines, "money.loan", &contract.to_string(), Some(person), 2, None),
        }
    }
}

fn line(lines: &mut Vec<u8>, register: &str, key: &str, person: Option<u64>, version: u64, data: Option<Value>) {
    let mut line = json!({ "register": register, "key": key, "seq": version, "op": "upsert", "event_date": "2025-12-01" });
    if let Some(person) = person {
        line["person"] = person.to_string().into();
    }
    match data {
        Some(data) => line["data"] = data,
        None => line["op"] = "delete".into(),
    }
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}
