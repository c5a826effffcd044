//! The ledger as it is read outside: an SQLite file that operators can look into with SQL.
//!
//! Changes are chained: each row carries the SHA-256 of the row before it and of what it says itself, so that none can be altered, left out or
//! put in between unseen. An epoch is one transaction; of one that brings no rows the file hears with the next that does, and soon. The file is written behind the journal and never synced by itself (WAL, `synchronous=NORMAL`): whatever
//! suffix of epochs a crash takes from it is told again from the journal. Its chain of changes must then come out as it was.

use super::checkpoints::checkpoints;
use super::{Effects, Ledger, Message, right_of};
use crate::beside::Beside;
use crate::dispatch::{Case, Consent, Conversation, Note, RightKey, Terms};
use crate::journal::Own;
use crate::packages::{fingerprint, title};
use crate::sources::Quarantined;
use crate::views::Writer;
use dataflows::model::{Change, ChangeKind, Date, Epoch, Ignored};
use dataflows::policy::Policy;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// How long the file may not know of epochs that bring nothing to write.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// The form of the tables; another one is another program's.
const FORMAT: i64 = 5;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta(
        format INTEGER NOT NULL, frontier INTEGER NOT NULL, date TEXT, live INTEGER NOT NULL, chain TEXT NOT NULL, policy TEXT NOT NULL,
        package TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS policies(epoch INTEGER PRIMARY KEY, date TEXT, policy TEXT NOT NULL, package TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS epochs(
        epoch INTEGER PRIMARY KEY, date TEXT, duplicates INTEGER, superseded INTEGER, expired INTEGER, changed INTEGER);
    CREATE TABLE IF NOT EXISTS decisions(
        person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, decision TEXT, household TEXT, outcome TEXT, amount INTEGER,
        \"from\" TEXT, until TEXT, reasons TEXT, silent TEXT, epoch INTEGER, PRIMARY KEY(person, benefit, ground, period)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS changes(
        change INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, decision TEXT, person TEXT, benefit TEXT, kind TEXT,
        chain TEXT);
    CREATE INDEX IF NOT EXISTS changes_by_person ON changes(person);
    CREATE TABLE IF NOT EXISTS outbox(
        message TEXT PRIMARY KEY, epoch INTEGER, date TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, round INTEGER,
        kind TEXT, phone TEXT, status TEXT, text TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS offers(
        person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, round INTEGER, stage TEXT, since TEXT, lost TEXT, quiet_until TEXT,
        phone TEXT, refusal TEXT, silent TEXT, epoch INTEGER, PRIMARY KEY(person, benefit, ground, period)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS consents(
        person TEXT, benefit TEXT, ground TEXT, period TEXT NOT NULL, round INTEGER, date TEXT, policy TEXT, reply TEXT, epoch INTEGER,
        PRIMARY KEY(person, benefit, ground, period, round)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS cases(
        number INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, \"case\" TEXT, change TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT,
        round INTEGER, amount INTEGER, \"from\" TEXT, until TEXT, consented TEXT);
    CREATE TABLE IF NOT EXISTS notes(
        number INTEGER PRIMARY KEY, epoch INTEGER, date TEXT, kind TEXT, person TEXT, benefit TEXT, ground TEXT, period TEXT, phone TEXT);
    CREATE TABLE IF NOT EXISTS quarantine(
        number INTEGER PRIMARY KEY, epoch INTEGER, feed TEXT, line INTEGER, field TEXT, reason TEXT, raw BLOB, state TEXT NOT NULL);
";

/// What must not be found: rights about which neither anything was said nor anything says why not, texts without a conversation, conversations in
/// which something was said and no text, yeses to nothing, and what was said twice.
const ACCOUNTS: [(&str, &str); 6] = [
    (
        "outbox: the same was written twice",
        "SELECT min(message) FROM outbox GROUP BY person, benefit, ground, period, round, kind HAVING count(*) > 1 LIMIT 1",
    ),
    (
        "outbox: a message is about no right that there is a conversation about",
        "SELECT message FROM outbox WHERE NOT EXISTS (SELECT 1 FROM offers WHERE offers.person = outbox.person AND offers.benefit = outbox.benefit
         AND offers.ground = outbox.ground AND offers.period = outbox.period AND offers.round >= outbox.round) LIMIT 1",
    ),
    (
        "offers: somebody was written to, and there is no message",
        "SELECT person || ' ' || benefit FROM offers WHERE phone IS NOT NULL AND stage IN ('noticed', 'sent1', 'sent2', 'no_answer', 'declined', 'consented', 'wait_account',
         'no_account', 'case', 'assigned', 'rejected', 'paid') AND NOT EXISTS (SELECT 1 FROM outbox WHERE offers.person = outbox.person
         AND offers.benefit = outbox.benefit AND offers.ground = outbox.ground AND offers.period = outbox.period AND offers.round = outbox.round) LIMIT 1",
    ),
    (
        "cases: a case is opened without a yes",
        "SELECT \"case\" FROM cases WHERE change = 'opened' AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.person = cases.person
         AND consents.benefit = cases.benefit AND consents.ground = cases.ground AND consents.period = cases.period
         AND consents.round = cases.round) LIMIT 1",
    ),
    (
        "consents: a yes is to nothing that was offered",
        "SELECT person || ' ' || benefit FROM consents WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE consents.person = outbox.person
         AND consents.benefit = outbox.benefit AND consents.ground = outbox.ground AND consents.period = outbox.period
         AND consents.round = outbox.round) LIMIT 1",
    ),
    (
        "decisions: nobody was written to about a right, and nothing says why",
        "SELECT person || ' ' || benefit FROM decisions WHERE silent IS NULL AND NOT EXISTS (SELECT 1 FROM offers WHERE offers.person = decisions.person
         AND offers.benefit = decisions.benefit AND offers.ground = decisions.ground AND offers.period = decisions.period AND (offers.silent IS NOT NULL
         OR EXISTS (SELECT 1 FROM outbox WHERE offers.person = outbox.person AND offers.benefit = outbox.benefit AND offers.ground = outbox.ground
         AND offers.period = outbox.period AND offers.round = outbox.round))) LIMIT 1",
    ),
];

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

/// The file, open for one writer.
pub struct Store {
    /// They end before the writer closes the file, and with it the log.
    _checkpoints: Beside,
    /// For them: how many rows were written.
    rows_written: Arc<AtomicU64>,
    connection: Connection,
    rows: Writer,
    policy: Arc<Policy>,
    /// Of the policy that was in force before the epoch that is written next, if another one comes into force with it.
    rows_before: Option<Writer>,
    /// The last epoch that is written, and the chain of changes then.
    frontier: Epoch,
    chain: String,
    /// Of the last row of changes.
    link: String,
    /// When the file was written, and what has passed since without anything to write.
    written: Instant,
    passed: Option<Passed>,
}

/// What an epoch leaves of itself that brings nothing else.
struct Passed {
    epoch: Epoch,
    date: Date,
    live: bool,
    chain: String,
}

/// What an epoch brings to the file, beside the ledger itself.
pub struct Page<'a> {
    pub epoch: Epoch,
    pub date: Date,
    /// What ended because the policy before is no longer in force, in its names.
    pub ended: &'a [Change],
    pub changes: &'a [Change],
    /// The same as the ledger calls what they are about.
    pub in_ledger: &'a [Change],
    pub texts: &'a [Message],
    /// Rights whose conversations began or went on.
    pub offers: &'a BTreeSet<RightKey>,
    /// Cases that were opened or withdrawn, and what social workers are told.
    pub effects: &'a Effects,
    pub refused: &'a [Quarantined],
    pub own: &'a [Own],
    pub ignored: Ignored,
    /// Records whose retention had ended when they came.
    pub expired: u64,
}

impl Page<'_> {
    /// About how many rows it has.
    fn rows(&self) -> usize {
        let told = self.ended.len() + self.changes.len() + self.refused.len() + self.texts.len() + self.offers.len() + self.own.len();
        let done = self.effects.cases_opened.len() + self.effects.cases_withdrawn.len() + self.effects.notes.len();
        told + done + usize::from(self.ignored != Ignored::default() || self.expired > 0)
    }
}

impl Store {
    /// Opens the file, or begins it; rows are written in the names of this policy.
    pub fn open(path: &Path, policy: Arc<Policy>) -> Result<Store, StoreFailure> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        if let Some(format) = other_format(&connection)? {
            return Err(StoreFailure::Format(format));
        }
        connection.execute_batch(TABLES)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let known: Option<(Epoch, String)> = connection.query_row("SELECT frontier, chain FROM meta", [], read).optional()?;
        let (frontier, chain) = match known {
            Some(known) => known,
            None => {
                let begin = "INSERT INTO meta VALUES (?, 0, NULL, 0, '', ?, ?)";
                connection.execute(begin, params![FORMAT, title(&policy), fingerprint(&policy)])?;
                connection.execute("INSERT INTO policies VALUES (0, NULL, ?, ?)", params![title(&policy), fingerprint(&policy)])?;
                (0, String::new())
            }
        };
        let link = connection.query_row("SELECT chain FROM changes ORDER BY change DESC LIMIT 1", [], |row| row.get(0)).optional()?;
        let rows_written = Arc::new(AtomicU64::new(0));
        let _checkpoints = checkpoints(path, rows_written.clone());
        let (rows, rows_before) = (Writer::new(policy.clone()), None);
        let (link, written, passed) = (link.unwrap_or_default(), Instant::now(), None);
        Ok(Store { _checkpoints, rows_written, connection, rows, policy, rows_before, frontier, chain, link, written, passed })
    }

    /// How many decisions are in force, by benefit.
    pub fn holders(&self) -> Result<BTreeMap<String, u64>, StoreFailure> {
        let mut query = self.connection.prepare("SELECT benefit, count(*) FROM decisions GROUP BY benefit")?;
        Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// Puts a file of another form aside, under a name that tells which. The journal leads to the same again.
    pub fn set_aside(path: &Path, format: i64) -> Result<(), StoreFailure> {
        // What is in its log goes into it first.
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "DELETE")?;
        drop(connection);
        std::fs::rename(path, path.with_extension(format!("format-{format}.db"))).map_err(StoreFailure::Aside)
    }

    /// The last epoch that is written; zero before the first.
    pub fn frontier(&self) -> Epoch {
        self.frontier
    }

    /// Rows are written in the names of this policy, under which the last epoch was.
    pub fn write_by(&mut self, policy: Arc<Policy>) {
        self.rows = Writer::new(policy.clone());
        self.policy = policy;
    }

    /// Rows of the next epoch are written in the names of this policy: it comes into force with it.
    pub fn enact(&mut self, policy: Arc<Policy>) {
        self.rows_before = Some(self.rows.clone());
        self.write_by(policy);
    }

    /// Checks that a ledger which was restored as of this epoch is the one that was written, if that epoch is the last.
    pub fn check(&self, epoch: Epoch, ledger: &Ledger) -> Result<(), StoreFailure> {
        let told = hex(ledger.chain());
        match epoch > 0 && epoch == self.frontier && told != self.chain {
            true => Err(StoreFailure::Parted { epoch, written: self.chain.clone(), told }),
            false => Ok(()),
        }
    }

    /// Checks that the journal, which ends with this epoch, told all that is written.
    pub fn check_end(&self, journal: Epoch) -> Result<(), StoreFailure> {
        match self.frontier > journal {
            true => Err(StoreFailure::Ahead { written: self.frontier, journal }),
            false => Ok(()),
        }
    }

    /// Writes what an epoch brought, once; of one that is written already it checks that the journal tells the same.
    pub fn write(&mut self, ledger: &Ledger, page: &Page<'_>) -> Result<(), StoreFailure> {
        let told = hex(ledger.chain());
        if page.epoch <= self.frontier {
            self.rows_before = None;
            return self.check(page.epoch, ledger);
        }
        self.passed = Some(Passed { epoch: page.epoch, date: page.date, live: ledger.is_live(), chain: told.clone() });
        if page.rows() == 0 && self.rows_before.is_none() {
            return if self.written.elapsed() < BEHIND_MAX { Ok(()) } else { self.catch_up() };
        }
        let (rows, transaction) = (&self.rows, self.connection.transaction()?);
        let mut link = self.link.clone();
        if let Some(rows_before) = &self.rows_before {
            write_changes(&transaction, rows_before, page, page.ended.iter().map(|change| (change, None)), &mut link)?;
            let begun = "INSERT INTO policies VALUES (?, ?, ?, ?)";
            transaction.execute(begun, params![page.epoch, page.date.to_string(), title(&self.policy), fingerprint(&self.policy)])?;
        }
        let silent = page.in_ledger.iter().map(|change| ledger.silence(&right_of(&change.decision)));
        write_changes(&transaction, rows, page, page.changes.iter().zip(silent), &mut link)?;
        write_texts(&transaction, ledger.desk().terms(), page.texts)?;
        write_offers(&transaction, ledger, &title(&self.policy), page)?;
        write_cases(&transaction, ledger.desk().terms(), page)?;
        write_notes(&transaction, ledger.desk().terms(), page)?;
        write_refused(&transaction, page)?;
        let changed = page.ended.iter().chain(page.changes).filter(|change| change.is_of_decision()).count();
        let Ignored { duplicates, superseded } = page.ignored;
        transaction.prepare_cached("INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
            page.epoch,
            page.date.to_string(),
            duplicates,
            superseded,
            page.expired,
            changed
        ])?;
        if let Some(passed) = &self.passed {
            write_passed(&transaction, passed, &self.policy)?;
        }
        transaction.commit()?;
        self.rows_written.fetch_add(page.rows() as u64, Ordering::Relaxed);
        (self.frontier, self.chain, self.link) = (page.epoch, told, link);
        (self.rows_before, self.passed, self.written) = (None, None, Instant::now());
        Ok(())
    }

    /// Whether epochs have passed of which the file does not know yet: they brought nothing to write.
    pub fn is_behind(&self) -> bool {
        self.passed.is_some()
    }

    /// Says in the file how far the ledger has come.
    pub fn catch_up(&mut self) -> Result<(), StoreFailure> {
        let Some(passed) = &self.passed else { return Ok(()) };
        write_passed(&self.connection, passed, &self.policy)?;
        self.rows_written.fetch_add(1, Ordering::Relaxed);
        (self.frontier, self.written) = (passed.epoch, Instant::now());
        self.chain.clone_from(&passed.chain);
        self.passed = None;
        Ok(())
    }
}

fn write_passed(connection: &Connection, Passed { epoch, date, live, chain }: &Passed, policy: &Policy) -> Result<(), StoreFailure> {
    connection.prepare_cached("UPDATE meta SET frontier = ?, date = ?, live = ?, chain = ?, policy = ?, package = ?")?.execute(params![
        epoch,
        date.to_string(),
        live,
        chain,
        title(policy),
        fingerprint(policy)
    ])?;
    Ok(())
}

/// The form of the tables of a file that another program wrote.
fn other_format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let begun: bool = connection.query_row("SELECT count(*) > 0 FROM sqlite_master WHERE name = 'meta'", [], |row| row.get(0))?;
    let format = || connection.query_row("SELECT format FROM meta", [], |row| row.get(0)).optional();
    let format: Option<i64> = if begun { format()? } else { None };
    Ok(format.filter(|format| *format != FORMAT))
}

/// Changes, each with the reason why there is no conversation about the right, if there is none.
fn write_changes<'c>(
    transaction: &Transaction<'_>,
    rows: &Writer,
    page: &Page<'_>,
    changes: impl Iterator<Item = (&'c Change, Option<&'static str>)>,
    link: &mut String,
) -> Result<(), StoreFailure> {
    let mut enter = transaction.prepare_cached("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut remove = transaction.prepare_cached("DELETE FROM decisions WHERE person = ? AND benefit = ? AND ground = ? AND period = ?")?;
    let mut tell = transaction
        .prepare_cached("INSERT INTO changes(epoch, date, decision, person, benefit, kind, chain) VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    for (change, silent) in changes {
        let row = rows.decision(&change.decision);
        let text = |name: &str| row[name].as_str();
        let period = text("period").unwrap_or_default();
        match change.kind {
            ChangeKind::Gained | ChangeKind::Amount | ChangeKind::Attributes => {
                let (amount, reasons) = (row["amount"].as_i64(), row["reasons"].to_string());
                let dates = (text("from"), text("until"));
                enter.execute(params![
                    text("person"),
                    text("benefit"),
                    text("ground"),
                    period,
                    text("decision"),
                    text("household"),
                    text("outcome"),
                    amount,
                    dates.0,
                    dates.1,
                    reasons,
                    silent,
                    page.epoch
                ])?;
            }
            ChangeKind::Lost | ChangeKind::Doubted | ChangeKind::Refuted | ChangeKind::Sealed => {
                remove.execute(params![text("person"), text("benefit"), text("ground"), period])?;
            }
        }
        if let Some(told) = rows.change(page.date, change.kind, &change.decision) {
            let said = Said {
                epoch: page.epoch,
                date: &page.date.to_string(),
                decision: text("decision").unwrap_or_default(),
                person: text("person").unwrap_or_default(),
                benefit: text("benefit").unwrap_or_default(),
                kind: told["change"].as_str().unwrap_or_default(),
            };
            *link = said.link(link);
            tell.execute(params![said.epoch, said.date, said.decision, said.person, said.benefit, said.kind, &*link])?;
        }
    }
    Ok(())
}

fn write_texts(transaction: &Transaction<'_>, terms: &Terms, texts: &[Message]) -> Result<(), StoreFailure> {
    let mut enter = transaction.prepare_cached("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for Message { id, epoch, date, text, status } in texts {
        let [person, benefit, ground, period] = names_of(terms, &text.right);
        let (kind, phone) = (text.kind.name(), text.phone.to_string());
        enter.execute(params![
            hex(*id),
            epoch,
            date.to_string(),
            person,
            benefit,
            ground,
            period,
            text.round,
            kind,
            phone,
            status.name(),
            text.body
        ])?;
    }
    Ok(())
}

/// Where conversations are, and the yeses among them: to texts of which package, and what was replied, by its hash.
fn write_offers(transaction: &Transaction<'_>, ledger: &Ledger, policy: &str, page: &Page<'_>) -> Result<(), StoreFailure> {
    let mut enter = transaction.prepare_cached("INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut agree = transaction.prepare_cached("INSERT OR IGNORE INTO consents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let day = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then(|| date.to_string());
    // What a social worker is told is written to nobody.
    let to_worker = |right: &RightKey| ledger.desk().terms().benefit(right.benefit).to_worker.then_some("to_worker");
    for right in page.offers {
        let Some(conversation) = ledger.desk().conversation(right) else { continue };
        let [person, benefit, ground, period] = names_of(ledger.desk().terms(), right);
        let Conversation { round, stage, since, lost, quiet_until, phone, consent, refusal, .. } = conversation;
        enter.execute(params![
            person,
            benefit,
            ground,
            period,
            round,
            stage.name(),
            day(*since),
            lost.and_then(day),
            day(*quiet_until),
            phone.map(|phone| phone.to_string()),
            refusal.as_deref(),
            ledger.held_back(right).map_or_else(|| to_worker(right), |reason| Some(reason.name())),
            page.epoch
        ])?;
        if let Some(Consent { on, reply_hash }) = consent {
            let reply = format!("{reply_hash:016x}");
            agree.execute(params![person, benefit, ground, period, round, day(*on), policy, reply, page.epoch])?;
        }
    }
    Ok(())
}

/// Cases for agencies: each once opened, and once withdrawn if it is.
fn write_cases(transaction: &Transaction<'_>, terms: &Terms, page: &Page<'_>) -> Result<(), StoreFailure> {
    const COLUMNS: &str = "epoch, date, \"case\", change, person, benefit, ground, period, round, amount, \"from\", until, consented";
    let (epoch, today) = (page.epoch, page.date.to_string());
    let day = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then(|| date.to_string());
    let mut open =
        transaction.prepare_cached(&format!("INSERT INTO cases({COLUMNS}) VALUES (?, ?, ?, 'opened', ?, ?, ?, ?, ?, ?, ?, ?, ?)"))?;
    for Case { id, right, round, amount, from, until, consent } in &page.effects.cases_opened {
        let [person, benefit, ground, period] = names_of(terms, right);
        let (from, until, consented) = (day(*from), day(*until), day(consent.on));
        open.execute(params![epoch, today, hex(*id), person, benefit, ground, period, round, amount, from, until, consented])?;
    }
    let mut withdraw = transaction.prepare_cached(&format!(
        "INSERT INTO cases({COLUMNS}) SELECT ?, ?, \"case\", 'withdrawn', person, benefit, ground, period, round, amount, \"from\", until, consented
         FROM cases WHERE \"case\" = ? AND change = 'opened' LIMIT 1"
    ))?;
    for id in &page.effects.cases_withdrawn {
        withdraw.execute(params![epoch, today, hex(*id)])?;
    }
    Ok(())
}

/// What social workers are told.
fn write_notes(transaction: &Transaction<'_>, terms: &Terms, page: &Page<'_>) -> Result<(), StoreFailure> {
    let mut enter = transaction
        .prepare_cached("INSERT INTO notes(epoch, date, kind, person, benefit, ground, period, phone) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for Note { kind, right, phone } in &page.effects.notes {
        let names = right.as_ref().map(|right| names_of(terms, right));
        let [person, benefit, ground, period] = names.map_or([const { None }; 4], |names| names.map(Some));
        let phone = phone.map(|phone| phone.to_string());
        enter.execute(params![page.epoch, page.date.to_string(), kind.name(), person, benefit, ground, period, phone])?;
    }
    Ok(())
}

/// Person, benefit, ground and period of a right, as they are named outside.
fn names_of(terms: &Terms, right: &RightKey) -> [String; 4] {
    let period = if right.period == Date::NEVER { String::new() } else { right.period.to_string() };
    [terms.person.format(right.person), terms.benefit(right.benefit).id.clone(), terms.ground(&right.ground), period]
}

fn write_refused(transaction: &Transaction<'_>, page: &Page<'_>) -> Result<(), StoreFailure> {
    let mut enter = transaction
        .prepare_cached("INSERT INTO quarantine(epoch, feed, line, field, reason, raw, state) VALUES (?, ?, ?, ?, ?, ?, 'waiting')")?;
    for Quarantined { file, line, field, reason, raw } in page.refused {
        enter.execute(params![page.epoch, &**file, line, field, reason, raw])?;
    }
    let mut settle = transaction.prepare_cached("UPDATE quarantine SET state = ? WHERE number = ?")?;
    for own in page.own {
        if let Own::Settled { rows, how } = own {
            for row in rows {
                settle.execute(params![how.name(), row])?;
            }
        }
    }
    Ok(())
}

/// What a row of changes says.
struct Said<'a> {
    epoch: Epoch,
    date: &'a str,
    decision: &'a str,
    person: &'a str,
    benefit: &'a str,
    kind: &'a str,
}

impl Said<'_> {
    /// Its link in the chain, after the one before.
    fn link(&self, before: &str) -> String {
        let Said { epoch, date, decision, person, benefit, kind } = self;
        let text = format!("{before}|{epoch}|{date}|{decision}|{person}|{benefit}|{kind}");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}

/// A refused line that waits for somebody, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub number: u64,
    pub row: Quarantined,
    pub state: String,
}

/// What an epoch brought: records that changed nothing because of what was held, those that had expired when they came, and how many decisions
/// changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Brought {
    pub duplicates: u64,
    pub superseded: u64,
    pub expired: u64,
    pub changed: u64,
}

/// What a ledger's file holds, and the last link of its chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub changes: u64,
    pub decisions: u64,
    pub texts: u64,
    pub link: String,
}

/// The file as others read it, beside its writer.
pub struct Reader(Connection);

impl Reader {
    pub fn open(path: &Path) -> Result<Reader, StoreFailure> {
        Ok(Reader(Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?))
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }

    /// The last epoch that is written.
    pub fn frontier(&self) -> Result<Epoch, StoreFailure> {
        Ok(self.0.query_row("SELECT frontier FROM meta", [], |row| row.get(0))?)
    }

    /// Copies the file, as of one epoch.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreFailure> {
        self.0.execute("VACUUM INTO ?", [path.to_string_lossy()])?;
        Ok(())
    }

    /// Of each table that tells what was decided and said, the sum of its rows' hashes.
    pub fn digests(&self) -> Result<BTreeMap<String, String>, StoreFailure> {
        let mut digests = BTreeMap::new();
        for table in ["policies", "decisions", "changes", "outbox", "offers", "consents", "cases", "notes", "quarantine"] {
            let mut query = self.0.prepare(&format!("SELECT * FROM {table}"))?;
            let columns = query.column_count();
            let (mut rows, mut digest) = (query.query([])?, 0_u128);
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|column| Ok(format!("{:?}", row.get_ref(column)?)));
                let row = values.collect::<rusqlite::Result<Vec<String>>>()?.join("|");
                digest = digest.wrapping_add(xxh3_128(row.as_bytes()));
            }
            digests.insert(table.to_owned(), hex(digest));
        }
        Ok(digests)
    }

    /// All decisions in force, as rows of the view `decisions`.
    pub fn decisions(&self, mut each: impl FnMut(Value) -> bool) -> Result<(), StoreFailure> {
        let mut query = self.0.prepare("SELECT decisions.*, policy FROM decisions, meta")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let text = |name: &str| row.get::<_, Option<String>>(name);
            let reasons = text("reasons")?.and_then(|reasons| serde_json::from_str::<Value>(&reasons).ok());
            let goes_on = each(json!({
                "decision": text("decision")?, "person": text("person")?, "household": text("household")?, "benefit": text("benefit")?,
                "ground": text("ground")?, "period": text("period")?.filter(|period| !period.is_empty()), "outcome": text("outcome")?,
                "amount": row.get::<_, i64>("amount")?, "from": text("from")?, "until": text("until")?, "reasons": reasons,
                "policy": text("policy")?,
            }));
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Changes after the one of this number, as rows of the view `changes`, each with its number as `token`; at most so many.
    pub fn changes(&self, after: i64, limit: usize) -> Result<Vec<Value>, StoreFailure> {
        let mut query = self
            .0
            .prepare_cached("SELECT change, date, decision, person, benefit, kind FROM changes WHERE change > ? ORDER BY change LIMIT ?")?;
        let row = |row: &rusqlite::Row<'_>| {
            let text = |at: usize| row.get::<_, String>(at);
            Ok(
                json!({ "token": row.get::<_, i64>(0)?, "date": text(1)?, "decision": text(2)?, "person": text(3)?, "benefit": text(4)?, "change": text(5)? }),
            )
        };
        Ok(query.query_map(params![after, limit as i64], row)?.collect::<Result<_, _>>()?)
    }

    /// Cases opened and withdrawn after the one of this number, each with its number as `token`; at most so many. An agency that is told of one twice
    /// knows it by its `case`.
    pub fn cases(&self, after: i64, limit: usize) -> Result<Vec<Value>, StoreFailure> {
        let mut query = self.0.prepare_cached("SELECT * FROM cases WHERE number > ? ORDER BY number LIMIT ?")?;
        let row = |row: &rusqlite::Row<'_>| {
            let text = |name: &str| row.get::<_, Option<String>>(name);
            Ok(json!({
                "token": row.get::<_, i64>("number")?, "case": text("case")?, "change": text("change")?, "date": text("date")?, "person": text("person")?,
                "benefit": text("benefit")?, "ground": text("ground")?, "period": text("period")?.filter(|period| !period.is_empty()),
                "amount": row.get::<_, i64>("amount")?, "from": text("from")?, "until": text("until")?, "consented": text("consented")?,
            }))
        };
        Ok(query.query_map(params![after, limit as i64], row)?.collect::<Result<_, _>>()?)
    }

    /// Checks the chain of changes from its beginning, and that every text is about a right that was gained or changed before. The error
    /// of the answer names the first row that does not fit.
    pub fn verify(&self) -> Result<Result<Verified, String>, StoreFailure> {
        let mut query =
            self.0.prepare("SELECT change, epoch, date, decision, person, benefit, kind, chain FROM changes ORDER BY change")?;
        let (mut rows, mut link, mut verified) = (query.query([])?, String::new(), Verified::default());
        while let Some(row) = rows.next()? {
            let text = |at: usize| row.get_ref(at).map(|text| text.as_str().unwrap_or_default());
            let (number, chain): (u64, String) = (row.get(0)?, row.get(7)?);
            let said = Said { epoch: row.get(1)?, date: text(2)?, decision: text(3)?, person: text(4)?, benefit: text(5)?, kind: text(6)? };
            link = said.link(&link);
            verified.changes += 1;
            if link != chain || number != verified.changes {
                return Ok(Err(format!("changes: the chain breaks at change {number}")));
            }
        }
        for (what, query) in ACCOUNTS {
            if let Some(row) = self.0.query_row(query, [], |row| row.get::<_, String>(0)).optional()? {
                return Ok(Err(format!("{what} ({row})")));
            }
        }
        let stray = "SELECT message FROM outbox WHERE NOT EXISTS (SELECT 1 FROM changes WHERE changes.person = outbox.person
            AND changes.benefit = outbox.benefit AND changes.epoch <= outbox.epoch AND changes.kind IN ('gained', 'amount')) LIMIT 1";
        if let Some(message) = self.0.query_row(stray, [], |row| row.get::<_, String>(0)).optional()? {
            return Ok(Err(format!("outbox: message {message} is about no right that was ever gained")));
        }
        let count = |table: &str| self.0.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        (verified.decisions, verified.texts, verified.link) = (count("decisions")?, count("outbox")?, link);
        Ok(Ok(verified))
    }

    /// How many texts are in which status.
    pub fn texts_by_status(&self) -> Result<BTreeMap<String, u64>, StoreFailure> {
        let mut query = self.0.prepare("SELECT status, count(*) FROM outbox GROUP BY status")?;
        Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// Refused lines, oldest first.
    pub fn refused(&self) -> Result<Vec<Refused>, StoreFailure> {
        let mut query = self.0.prepare("SELECT number, feed, line, field, reason, raw, state FROM quarantine ORDER BY number")?;
        let read = |row: &rusqlite::Row<'_>| {
            let file: String = row.get(1)?;
            let quarantined =
                Quarantined { file: file.into(), line: row.get(2)?, field: row.get(3)?, reason: row.get(4)?, raw: row.get(5)? };
            Ok(Refused { number: row.get(0)?, row: quarantined, state: row.get(6)? })
        };
        Ok(query.query_map([], read)?.collect::<Result<_, _>>()?)
    }

    /// How many refused lines wait for somebody.
    pub fn waiting(&self) -> Result<u64, StoreFailure> {
        Ok(self.0.query_row("SELECT count(*) FROM quarantine WHERE state = 'waiting'", [], |row| row.get(0))?)
    }

    /// What an epoch brought.
    pub fn brought(&self, epoch: Epoch) -> Result<Brought, StoreFailure> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Brought { duplicates: row.get(0)?, superseded: row.get(1)?, expired: row.get(2)?, changed: row.get(3)? })
        };
        Ok(self
            .0
            .query_row("SELECT duplicates, superseded, expired, changed FROM epochs WHERE epoch = ?", [epoch], read)
            .optional()?
            .unwrap_or_default())
    }
}
