//! Records of the comparison, as all peers read them: lines of comma-separated values in a file for the load and for each batch of changes.

use crate::rules::{Register, Values};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// So many records are read at once.
const PART: usize = 100_000;

/// What an agency says of somebody; of a register and a person the item is the key. A later version takes the place of an earlier one.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub register: Register,
    pub person: u64,
    pub item: u32,
    pub version: u32,
    /// None if the record is deleted.
    pub values: Option<Values>,
}

impl Record {
    fn read(line: &str) -> Option<Record> {
        let mut words = line.split(',');
        let register = Register::named(words.next()?)?;
        let (person, item, version) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mut number = || words.next()?.parse().ok();
        let values = number().zip(number()).zip(number()).map(|((first, second), third)| [first, second, third]);
        Some(Record { register, person, item, version, values })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { register, person, item, version, values } = self;
        write!(out, "{},{person},{item},{version},", register.name())?;
        match values {
            Some([first, second, third]) => write!(out, "{first},{second},{third}"),
            None => write!(out, ",,"),
        }
    }
}

/// The names of the batches that lie in a folder, in order, the load first, and the file of each.
pub fn batches(folder: &Path) -> Vec<(String, PathBuf)> {
    let files = folder.read_dir().expect("a folder of batches").map(|file| file.expect("a file").path());
    let named = |path: PathBuf| (path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned(), path);
    let mut batches: Vec<(String, PathBuf)> = files.map(named).collect();
    batches.sort();
    batches
}

/// The records of a batch, part by part, so that not all of a load are held at once.
pub fn parts(path: &Path) -> impl Iterator<Item = Vec<Record>> {
    let mut lines = BufReader::new(File::open(path).expect("a batch")).lines().skip(1);
    std::iter::from_fn(move || {
        let record = |line: std::io::Result<String>| line.ok().as_deref().and_then(Record::read).expect("a record");
        let part: Vec<Record> = lines.by_ref().take(PART).map(record).collect();
        (!part.is_empty()).then_some(part)
    })
}
