//! The people of the comparison, made up: their records in nine registers, some twelve each, and batches of changes; the same ones at each run.

use crate::records::Record;
use crate::rules::{Register, Values};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Sizes of batches, and how many of each there are.
pub const SIZES: [usize; 4] = [1, 100, 10_000, 100_000];
const TIMES: [usize; 4] = [200, 40, 5, 3];

pub const LOAD: &str = "0-load";

/// Of a batch's name its size; of the load's none.
pub fn size_of(name: &str) -> Option<usize> {
    name.split('-').nth(1)?.parse().ok()
}

/// Registers of which records come and go.
const PASSING: [Register; 4] = [Register::Loan, Register::Property, Register::Benefit, Register::Employment];

pub struct Country {
    dice: Pcg64Mcg,
    adults: Vec<u64>,
    /// In the order in which they are said.
    load: Vec<Record>,
    /// By register those that stand, of the registers that change.
    held: [Vec<Record>; Register::ALL.len()],
    /// The item that came last.
    last: u32,
}

impl Country {
    pub fn new(persons: usize) -> Country {
        let dice = Pcg64Mcg::seed_from_u64(2026);
        let mut country = Country { dice, adults: Vec::new(), load: Vec::new(), held: Default::default(), last: 1000 };
        for serial in 1..=persons as u64 {
            country.settle(number(serial));
        }
        for record in &country.load {
            if record.register == Register::Income || PASSING.contains(&record.register) {
                country.held[record.register as usize].push(*record);
            }
        }
        country
    }

    pub fn len(&self) -> usize {
        self.load.len()
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice.next_u64() % below
    }

    /// Somebody comes with all their records: two in five are children of the adult who came last.
    fn settle(&mut self, person: u64) {
        let child = self.roll(100) < 40 && !self.adults.is_empty();
        match self.adults.last() {
            Some(adult) if child => self.say(Register::Parent, person, 0, [*adult as i64, 0, 0]),
            _ => self.adults.push(person),
        }
        self.say(Register::Person, person, 0, [child.into(), 0, 0]);
        let numbers = match child {
            true => [(Register::Benefit, 0, 4), (Register::Study, 1, 2), (Register::Health, 1, 3)].as_slice(),
            false => &[
                (Register::Income, 1, 7),
                (Register::Loan, 0, 5),
                (Register::Property, 0, 5),
                (Register::Benefit, 0, 4),
                (Register::Employment, 0, 5),
                (Register::Study, 0, 2),
                (Register::Health, 1, 3),
            ],
        };
        for (register, least, more) in numbers {
            for item in 0..least + self.roll(*more) {
                let values = self.values(*register);
                self.say(*register, person, item as u32, values);
            }
        }
    }

    fn say(&mut self, register: Register, person: u64, item: u32, values: Values) {
        self.load.push(Record { register, person, item, version: 1, values: Some(values) });
    }

    /// What a record of a register says.
    fn values(&mut self, register: Register) -> Values {
        let mut roll = |below: i64| self.roll(below as u64) as i64;
        match register {
            Register::Person | Register::Parent => unreachable!("said by whoever comes"),
            Register::Income => [roll(4), 5_000 + roll(40) * 5_000, 0],
            Register::Loan => {
                let balance = 100_000 * (1 + roll(80));
                [balance, balance / (12 + roll(48)), if roll(10) == 0 { 30 * roll(8) } else { 0 }]
            }
            Register::Property => {
                let kind = roll(4);
                [kind, 500_000 * (1 + roll(60)), if kind == 0 { 20 + roll(100) } else { 0 }]
            }
            Register::Benefit => [roll(3), 5_000 + roll(20) * 2_000, 0],
            Register::Employment => [[10, 20, 40][roll(3) as usize], roll(120), roll(4).min(1)],
            Register::Study => [roll(3), roll(20) * 10_000, 0],
            Register::Health => [[0, 0, 0, 0, 0, 0, 1, 1, 1, 2][roll(10) as usize], roll(30), 0],
        }
    }

    /// Writes the load and all batches to a folder, a file each; how many changes each batch has.
    pub fn write(&mut self, folder: &Path) -> io::Result<Vec<(String, usize)>> {
        drop(std::fs::remove_dir_all(folder));
        std::fs::create_dir_all(folder)?;
        write(folder, LOAD, &self.load)?;
        let most = self.held[Register::Income as usize].len() / 2;
        let mut written = Vec::new();
        for (turn, (size, times)) in SIZES.into_iter().zip(TIMES).enumerate() {
            for time in 0..times {
                let name = format!("{}-{size:06}-{time:03}", turn + 1);
                // Of few people there are fewer changes.
                let batch = self.batch(size.min(most));
                write(folder, &name, &batch)?;
                written.push((name, batch.len()));
            }
        }
        Ok(written)
    }

    /// Changes of records, each record once.
    fn batch(&mut self, size: usize) -> Vec<Record> {
        let (mut batch, mut touched) = (Vec::with_capacity(size), HashSet::new());
        while batch.len() < size {
            let (place, change) = self.change();
            if touched.insert((change.register, change.person, change.item)) {
                self.enter(place, change);
                batch.push(change);
            }
        }
        batch
    }

    /// Four of five changes are of an income; else something comes or goes: loans, property, benefits, jobs. With it the place of what it changes.
    fn change(&mut self) -> (usize, Record) {
        let (what, passing) = (self.roll(10), self.roll(PASSING.len() as u64));
        let register = if what < 8 { Register::Income } else { PASSING[passing as usize] };
        let place = self.roll(self.held[register as usize].len() as u64) as usize;
        let Record { person, item, version, .. } = self.held[register as usize][place];
        match what {
            0..8 => (place, Record { register, person, item, version: version + 1, values: Some(self.values(register)) }),
            8 => (place, Record { register, person, item, version: version + 1, values: None }),
            _ => {
                let adult = self.roll(self.adults.len() as u64);
                let person = self.adults[adult as usize];
                self.last += 1;
                (place, Record { register, person, item: self.last, version: 1, values: Some(self.values(register)) })
            }
        }
    }

    fn enter(&mut self, place: usize, change: Record) {
        let held = &mut self.held[change.register as usize];
        match change {
            Record { values: None, .. } => drop(held.swap_remove(place)),
            Record { version: 1, .. } => held.push(change),
            _ => held[place] = change,
        }
    }
}

/// The number of somebody: sparse, as national numbers are, of forty bits.
fn number(serial: u64) -> u64 {
    let mixed = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15) & ((1 << 40) - 1);
    mixed ^ mixed >> 20
}

fn write(folder: &Path, name: &str, records: &[Record]) -> io::Result<()> {
    let mut text = String::from("register,person,item,version,first,second,third\n");
    for record in records {
        let _ = writeln!(text, "{record}");
    }
    std::fs::write(folder.join(name).with_extension("csv"), text)
}
