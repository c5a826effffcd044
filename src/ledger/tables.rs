//! The form of the ledger's file: its tables, the link of a change to the one before, and why a file cannot be used.

use dataflows::model::Epoch;
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;

/// The form of the tables; another one is another program's.
pub(super) const FORMAT: i64 = 9;

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta(
        format INTEGER NOT NULL, frontier INTEGER NOT NULL, date TEXT, live INTEGER NOT NULL, chain TEXT NOT NULL, policy TEXT NOT NULL,
        package TEXT NOT NULL, changes INTEGER NOT NULL, link TEXT NOT NULL, decisions INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS policies(epoch INTEGER PRIMARY KEY, date TEXT, policy TEXT NOT NULL, package TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS epochs(
        epoch INTEGER PRIMARY KEY, date TEXT, duplicates INTEGER, superseded INTEGER, expired INTEGER, changed INTEGER);
    CREATE TABLE IF NOT EXISTS decisions(
        person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, decision TEXT, household TEXT, outcome TEXT, amount INTEGER,
        \"from\" TEXT, until TEXT, reasons TEXT, silent TEXT, epoch INTEGER, PRIMARY KEY(person, benefit, ground, period)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS changes(
        change INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, decision TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL,
        kind TEXT, chain TEXT);
    CREATE INDEX IF NOT EXISTS changes_by_person ON changes(person);
    CREATE TABLE IF NOT EXISTS outbox(
        message TEXT NOT NULL, epoch INTEGER, date TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT, round INTEGER, kind TEXT, phone TEXT,
        status TEXT, text TEXT, parts INTEGER, policy TEXT, PRIMARY KEY(person, benefit, ground, period, round, kind)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS offers(
        person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, round INTEGER, stage TEXT, since TEXT, lost TEXT, quiet_until TEXT,
        phone TEXT, refusal TEXT, silent TEXT, region TEXT, language TEXT, epoch INTEGER, PRIMARY KEY(person, benefit, ground, period)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS consents(
        person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, round INTEGER, date TEXT, time TEXT, policy TEXT, reply TEXT, epoch INTEGER,
        PRIMARY KEY(person, benefit, ground, period, round)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS cases(
        number INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, \"case\" TEXT, change TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT,
        round INTEGER, amount INTEGER, \"from\" TEXT, until TEXT, consented TEXT);
    CREATE INDEX IF NOT EXISTS cases_by_name ON cases(\"case\");
    CREATE TABLE IF NOT EXISTS payments(
        number INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, payment TEXT, change TEXT, person TEXT, payee TEXT, account TEXT, benefit TEXT,
        ground TEXT, period TEXT, round INTEGER, month TEXT, amount INTEGER);
    CREATE INDEX IF NOT EXISTS payments_by_name ON payments(payment);
    CREATE TABLE IF NOT EXISTS notes(
        number INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, kind TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT, phone TEXT);
    CREATE TABLE IF NOT EXISTS quarantine(
        number INTEGER PRIMARY KEY, epoch INTEGER, feed TEXT, line INTEGER, field TEXT, reason TEXT, raw BLOB, state TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS households(household TEXT PRIMARY KEY, head TEXT, kind TEXT, members TEXT, epoch INTEGER) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS categories(
        household TEXT PRIMARY KEY, score INTEGER, category INTEGER, level_score INTEGER, level TEXT, epoch INTEGER) WITHOUT ROWID;
";

/// Why the ledger's file cannot be used.
#[derive(Debug)]
pub enum StoreFailure {
    Sql(rusqlite::Error),
    /// It was written by a program that keeps other tables.
    Format(i64),
    /// Such a file cannot be put aside.
    Aside(io::Error),
    /// The journal tells another story than the one that is written here.
    Parted {
        epoch: Epoch,
        written: String,
        told: String,
    },
    /// What is written here ends before the base of the journal.
    Behind {
        written: Epoch,
        base: Epoch,
    },
    /// The journal ends before what is written here.
    Ahead {
        written: Epoch,
        journal: Epoch,
    },
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreFailure::Sql(error) => write!(f, "ledger: {error}"),
            StoreFailure::Format(format) => {
                write!(
                    f,
                    "ledger: of format {format}, this program keeps format {FORMAT}; the journal was compacted, so that it cannot be written anew"
                )
            }
            StoreFailure::Aside(error) => write!(f, "ledger: of another format, and cannot be put aside: {error}"),
            StoreFailure::Ahead { written, journal } => {
                write!(f, "ledger: holds epoch {written}, but the journal ends with {journal}: part of the journal is missing")
            }
            StoreFailure::Behind { written, base } => {
                write!(
                    f,
                    "ledger: ends with epoch {written}, but the journal begins with {}: what is missing must come from a backup",
                    base + 1
                )
            }
            StoreFailure::Parted { epoch, written, told } => {
                write!(
                    f,
                    "ledger: at epoch {epoch} its chain of changes is {written}, but the journal leads to {told}: one of them was altered"
                )
            }
        }
    }
}

impl std::error::Error for StoreFailure {}

impl From<rusqlite::Error> for StoreFailure {
    fn from(error: rusqlite::Error) -> Self {
        StoreFailure::Sql(error)
    }
}

/// Whether there are tables: whoever ends while a file is begun leaves one without any.
pub(super) fn is_begun(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) > 0 FROM sqlite_master WHERE name = 'meta'", [], |row| row.get(0))
}

/// The form of the tables of a file that another program wrote.
pub(super) fn other_format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let format = || connection.query_row("SELECT format FROM meta", [], |row| row.get(0)).optional();
    let format: Option<i64> = if is_begun(connection)? { format()? } else { None };
    Ok(format.filter(|format| *format != FORMAT))
}

/// What a row of changes says. Ground and period are in the decision, which is a hash over them.
pub(super) struct Said<'a> {
    pub epoch: Epoch,
    pub date: &'a str,
    pub decision: &'a str,
    pub person: &'a str,
    pub benefit: &'a str,
    pub kind: &'a str,
}

impl Said<'_> {
    /// Its link in the chain, after the one before.
    pub fn link(&self, before: &str) -> String {
        let Said { epoch, date, decision, person, benefit, kind } = self;
        let text = format!("{before}|{epoch}|{date}|{decision}|{person}|{benefit}|{kind}");
        let digits = Sha256::digest(text).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
    }
}

pub(super) fn hex(number: u128) -> String {
    format!("{number:032x}")
}
