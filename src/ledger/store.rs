//! The ledger as it is read outside: an SQLite file that operators can look into with SQL.
//!
//! Changes are chained: each row carries the SHA-256 of the row before it and of what it says itself, so that none can be altered, left out or
//! put in between unseen. An epoch is one transaction; of one that brings no rows but where families stand the file hears with the next that does, and within
//! [`BEHIND_MAX`]. The file is written behind the journal and never synced by itself (WAL, `synchronous=NORMAL`): whatever
//! suffix of epochs a crash takes from it is told again from the journal. Its chain of changes must then come out as it was.

use super::checkpoints::{LOG_BYTES_KEPT, checkpoints};
use super::families;
use super::tables::{FORMAT, Said, StoreFailure, TABLES, hex, other_format};
use super::{Effects, Ledger, Message, right_of};
use crate::beside::Beside;
use crate::dispatch::{Case, Consent, Conversation, Kind, Note, Payment, RightKey, Terms};
use crate::engine::regions::Regions;
use crate::engine::{Engine, EpochOutput};
use crate::journal::Own;
use crate::packages::{fingerprint, title};
use crate::sources::Quarantined;
use crate::views::{DecisionRow, Writer, name_of_change};
use dataflows::model::{Change, ChangeKind, Date, Epoch, HouseholdKey, Ignored, Move, Rejudged, Scores};
use dataflows::policy::Policy;
use dataflows::policy::parts::parts;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the file may not know of epochs that bring nothing to write.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// Statements that stay prepared: more than there are here.
const STATEMENTS_MAX: usize = 64;
/// Of so many offers people are asked together where they live.
const OFFERS_TOGETHER: usize = 4096;

/// The file, open for one writer.
pub struct Store {
    /// They end before the writer closes the file, and with it the log.
    _checkpoints: Beside,
    /// For them: how many rows were written.
    rows_written: Arc<AtomicU64>,
    connection: Connection,
    rows: Writer,
    policy: Arc<Policy>,
    /// Once somebody has been offered something under it.
    regions: Option<Regions>,
    /// Of the policy that was in force before the epoch that is written next, if another one comes into force with it.
    rows_before: Option<Writer>,
    /// The last epoch that is written, and the chain of changes then.
    frontier: Epoch,
    chain: String,
    tally: Tally,
    /// When the file was written, and what has passed since without anything to write.
    written: Instant,
    passed: Option<Passed>,
}

/// What the file must hold: rows of changes with the link of the last one, and rows of decisions.
#[derive(Clone, Default)]
struct Tally {
    changes: u64,
    link: String,
    decisions: u64,
}

/// What epochs leave of themselves that bring nothing else: how far they came, and who moved or is judged otherwise, each as it is now.
struct Passed {
    epoch: Epoch,
    date: Date,
    live: bool,
    chain: String,
    moves: Vec<Move>,
    rejudged: BTreeMap<HouseholdKey, Option<Scores>>,
}

/// The package of that of two texts which was sent last. One that was sent may wait to be sent again; one that was suppressed never was.
const SENT_LAST: &str =
    "SELECT policy FROM outbox WHERE message IN (?, ?) ORDER BY status = 'suppressed', status = 'waiting', epoch DESC LIMIT 1";

/// What an epoch brings to the file, beside the ledger itself.
pub struct Page<'a> {
    pub epoch: Epoch,
    pub date: Date,
    /// What ended because the policy before is no longer in force, in its names.
    pub ended: &'a [Change],
    pub changes: &'a [Change],
    /// The same as the ledger calls what they are about.
    pub in_ledger: &'a [Change],
    pub moves: &'a [Move],
    pub rejudged: &'a [Rejudged],
    /// Whether families are to be written as they stand, since all of them are other than before.
    pub families_anew: bool,
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

impl<'a> Page<'a> {
    /// What an epoch of an engine brings, and what it led to in the ledger: texts, conversations and the rest. `in_ledger` are its changes as the
    /// ledger calls what they are about.
    pub fn of(
        output: &'a EpochOutput,
        in_ledger: &'a [Change],
        (texts, offers, effects): (&'a [Message], &'a BTreeSet<RightKey>, &'a Effects),
    ) -> Self {
        Page {
            epoch: output.epoch,
            date: output.date,
            ended: &[],
            changes: &output.changes,
            in_ledger,
            moves: &output.moves,
            rejudged: &output.rejudged,
            families_anew: output.is_first,
            texts,
            offers,
            effects,
            refused: &[],
            own: &[],
            ignored: output.ignored,
            expired: 0,
        }
    }

    /// About how many rows it has that cannot wait: who moved or is judged otherwise can, for a moment.
    fn rows(&self) -> usize {
        let told = self.ended.len() + self.changes.len() + self.refused.len() + self.texts.len() + self.offers.len() + self.own.len();
        let done =
            self.effects.cases_opened.len() + self.effects.cases_withdrawn.len() + self.effects.payments.len() + self.effects.notes.len();
        told + done + usize::from(self.families_anew || self.ignored != Ignored::default() || self.expired > 0)
    }
}

impl Store {
    /// Opens the file, or begins it; rows are written in the names of this policy.
    pub fn open(path: &Path, policy: Arc<Policy>) -> Result<Store, StoreFailure> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        if let Some(format) = other_format(&connection)? {
            return Err(StoreFailure::Format(format));
        }
        let (frontier, chain, tally) = begun(&mut connection, &policy)?;
        let rows_written = Arc::new(AtomicU64::new(0));
        let _checkpoints = checkpoints(path, rows_written.clone());
        let (rows, rows_before, regions) = (Writer::new(policy.clone()), None, None);
        let (written, passed) = (Instant::now(), None);
        Ok(Store { _checkpoints, rows_written, connection, rows, policy, regions, rows_before, frontier, chain, tally, written, passed })
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
        self.regions = None;
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

    /// Writes what an epoch brought, once; of one that is written already it checks that the journal tells the same. The engine is asked
    /// where families are written anew.
    pub fn write(&mut self, ledger: &Ledger, page: &Page<'_>, engine: &mut Engine) -> Result<(), StoreFailure> {
        let told = hex(ledger.chain());
        if page.epoch <= self.frontier {
            self.rows_before = None;
            return self.check(page.epoch, ledger);
        }
        self.pass(ledger, page, &told);
        if page.rows() == 0 && self.rows_before.is_none() {
            return if self.written.elapsed() < BEHIND_MAX { Ok(()) } else { self.catch_up() };
        }
        let (rows, transaction) = (&self.rows, self.connection.transaction()?);
        let mut tally = self.tally.clone();
        if let Some(rows_before) = &self.rows_before {
            write_changes(&transaction, rows_before, page, page.ended.iter().map(|change| (change, None)), &mut tally)?;
            let begun = "INSERT INTO policies VALUES (?, ?, ?, ?)";
            transaction.execute(begun, params![page.epoch, page.date.to_string(), title(&self.policy), fingerprint(&self.policy)])?;
        }
        let silent = page.in_ledger.iter().map(|change| ledger.silence(&right_of(&change.decision)));
        write_changes(&transaction, rows, page, page.changes.iter().zip(silent), &mut tally)?;
        write_texts(&transaction, ledger.desk().terms(), &title(&self.policy), page.texts)?;
        write_offers(&transaction, (ledger, engine), (&self.policy, &mut self.regions), page)?;
        write_cases(&transaction, ledger.desk().terms(), page)?;
        write_payments(&transaction, ledger, page)?;
        write_notes(&transaction, ledger.desk().terms(), page)?;
        write_refused(&transaction, page)?;
        if page.families_anew {
            families::write_all(&transaction, rows, page.epoch, engine)?;
        }
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
        let written = self.passed.as_ref().map_or(Ok(0), |passed| write_passed(&transaction, rows, passed, &self.policy, &tally))?;
        transaction.commit()?;
        self.rows_written.fetch_add((page.rows() + written) as u64, Ordering::Relaxed);
        (self.frontier, self.chain, self.tally) = (page.epoch, told, tally);
        (self.rows_before, self.passed, self.written) = (None, None, Instant::now());
        Ok(())
    }

    /// Takes note of an epoch, once, however often it is tried to be written. Where families are written anew what was noted of them is among that.
    fn pass(&mut self, ledger: &Ledger, page: &Page<'_>, told: &str) {
        if self.passed.as_ref().is_some_and(|passed| passed.epoch == page.epoch) {
            return;
        }
        let before = self.passed.take().filter(|_| !page.families_anew);
        let (mut moves, mut rejudged) = before.map_or_else(Default::default, |passed| (passed.moves, passed.rejudged));
        if !page.families_anew {
            moves.extend_from_slice(page.moves);
            rejudged.extend(page.rejudged.iter().copied());
        }
        let (live, chain) = (ledger.is_live(), told.to_owned());
        self.passed = Some(Passed { epoch: page.epoch, date: page.date, live, chain, moves, rejudged });
    }

    /// Whether epochs have passed of which the file does not know yet: they brought nothing that could not wait.
    pub fn is_behind(&self) -> bool {
        self.passed.is_some()
    }

    /// Says in the file how far the ledger has come.
    pub fn catch_up(&mut self) -> Result<(), StoreFailure> {
        let Some(passed) = &self.passed else { return Ok(()) };
        let transaction = self.connection.transaction()?;
        let written = write_passed(&transaction, &self.rows, passed, &self.policy, &self.tally)?;
        transaction.commit()?;
        self.rows_written.fetch_add(1 + written as u64, Ordering::Relaxed);
        (self.frontier, self.written) = (passed.epoch, Instant::now());
        self.chain.clone_from(&passed.chain);
        self.passed = None;
        Ok(())
    }
}

/// Makes what is not there yet of the tables, and their first rows, all or nothing; how far the file has come.
fn begun(connection: &mut Connection, policy: &Policy) -> Result<(Epoch, String, Tally), StoreFailure> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    let read = |row: &rusqlite::Row<'_>| {
        let tally = Tally { changes: row.get(2)?, link: row.get(3)?, decisions: row.get(4)? };
        Ok((row.get(0)?, row.get(1)?, tally))
    };
    let known = transaction.query_row("SELECT frontier, chain, changes, link, decisions FROM meta", [], read).optional()?;
    if known.is_none() {
        let begin = "INSERT INTO meta VALUES (?, 0, NULL, 0, '', ?, ?, 0, '', 0)";
        transaction.execute(begin, params![FORMAT, title(policy), fingerprint(policy)])?;
        transaction.execute("INSERT INTO policies VALUES (0, NULL, ?, ?)", params![title(policy), fingerprint(policy)])?;
    }
    transaction.commit()?;
    Ok(known.unwrap_or_default())
}

/// Writes how far epochs came, and what is other of families since; how many rows of these.
fn write_passed(
    transaction: &Transaction<'_>,
    rows: &Writer,
    passed: &Passed,
    policy: &Policy,
    Tally { changes, link, decisions }: &Tally,
) -> Result<usize, StoreFailure> {
    let Passed { epoch, date, live, chain, moves, rejudged } = passed;
    families::write_moves(transaction, rows, *epoch, moves)?;
    families::write_rejudged(transaction, rows, *epoch, rejudged)?;
    transaction
        .prepare_cached(
            "UPDATE meta SET frontier = ?, date = ?, live = ?, chain = ?, policy = ?, package = ?, changes = ?, link = ?, decisions = ?",
        )?
        .execute(params![epoch, date.to_string(), live, chain, title(policy), fingerprint(policy), changes, link, decisions])?;
    Ok(moves.len() + rejudged.len())
}

/// Changes, each with the reason why there is no conversation about the right, if there is none.
fn write_changes<'c>(
    transaction: &Transaction<'_>,
    rows: &Writer,
    page: &Page<'_>,
    changes: impl Iterator<Item = (&'c Change, Option<&'static str>)>,
    tally: &mut Tally,
) -> Result<(), StoreFailure> {
    let mut enter =
        transaction.prepare_cached("INSERT OR IGNORE INTO decisions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")?;
    let mut alter = transaction.prepare_cached(
        "UPDATE decisions SET decision = ?5, household = ?6, outcome = ?7, amount = ?8, \"from\" = ?9, until = ?10, reasons = ?11, silent = ?12, epoch = ?13
         WHERE person = ?1 AND benefit = ?2 AND ground = ?3 AND period = ?4",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM decisions WHERE person = ? AND benefit = ? AND ground = ? AND period = ?")?;
    let mut tell = transaction.prepare_cached(
        "INSERT INTO changes(epoch, date, decision, person, benefit, ground, period, kind, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let (epoch, date) = (page.epoch, page.date.to_string());
    for (change, silent) in changes {
        let DecisionRow { decision, person, household, benefit, ground, period, outcome, amount, from, until, reasons } =
            rows.decision_row(&change.decision);
        let period = period.unwrap_or_default();
        match change.kind {
            ChangeKind::Gained | ChangeKind::Amount | ChangeKind::Attributes => {
                let reasons = json!(reasons).to_string();
                let row =
                    params![person, benefit, ground, period, decision, household, outcome, amount, from, until, reasons, silent, epoch];
                match enter.execute(row)? {
                    0 => drop(alter.execute(row)?),
                    _ => tally.decisions += 1,
                }
            }
            ChangeKind::Lost | ChangeKind::Doubted | ChangeKind::Refuted | ChangeKind::Sealed => {
                tally.decisions -= remove.execute(params![person, benefit, ground, period])? as u64;
            }
        }
        if let Some(kind) = name_of_change(change.kind) {
            tally.link = Said { epoch, date: &date, decision: &decision, person: &person, benefit, kind }.link(&tally.link);
            tally.changes += 1;
            tell.execute(params![epoch, date, decision, person, benefit, ground, period, kind, tally.link])?;
        }
    }
    Ok(())
}

/// Texts, each with the package under which it was written.
fn write_texts(transaction: &Transaction<'_>, terms: &Terms, policy: &str, texts: &[Message]) -> Result<(), StoreFailure> {
    let mut enter = transaction.prepare_cached(
        "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message) DO UPDATE SET status = excluded.status",
    )?;
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
            text.body,
            parts(&text.body),
            policy
        ])?;
    }
    Ok(())
}

/// Where conversations are, and the yeses among them: to texts of which package, and what was replied, by its hash.
fn write_offers(
    transaction: &Transaction<'_>,
    (ledger, engine): (&Ledger, &Engine),
    (policy, regions): (&Arc<Policy>, &mut Option<Regions>),
    page: &Page<'_>,
) -> Result<(), StoreFailure> {
    if page.offers.is_empty() {
        return Ok(());
    }
    let now = engine.circumstances();
    let regions = regions.get_or_insert_with(|| Regions::new(policy, &now));
    regions.turn_to(&now);
    let mut enter = transaction.prepare_cached("INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    // A yes is to the text that was sent last, whatever package is in force by now.
    let mut agree =
        transaction.prepare_cached(&format!("INSERT OR IGNORE INTO consents VALUES (?, ?, ?, ?, ?, ?, ?, ({SENT_LAST}), ?, ?)"))?;
    let day = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then(|| date.to_string());
    // What a social worker is told is written to nobody.
    let to_worker = |right: &RightKey| ledger.desk().terms().benefit(right.benefit).to_worker.then_some("to_worker");
    let offers: Vec<&RightKey> = page.offers.iter().collect();
    // All are asked for together: on the first day of a quarter there are millions.
    let with_files = offers.chunks(OFFERS_TOGETHER).flat_map(|offers| {
        let files = Rc::new(engine.files(&offers.iter().map(|right| right.person).collect()));
        offers.iter().map(move |right| (*right, files.clone()))
    });
    for (right, files) in with_files {
        let Some(conversation) = ledger.desk().conversation(right) else { continue };
        let region = files.get(&right.person).and_then(|(file, place)| regions.read(right.person, file, place.role));
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
            region,
            ledger.desk().language(conversation.standing.addressee),
            page.epoch
        ])?;
        if let Some(Consent { on, at, reply_hash }) = consent {
            let reply = format!("{reply_hash:016x}");
            let [offer, repeat] = [Kind::Offer, Kind::Repeat].map(|kind| hex(ledger.desk().offer_hash(right, *round, kind.name())));
            agree.execute(params![person, benefit, ground, period, round, day(*on), at.map(time), offer, repeat, reply, page.epoch])?;
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

/// What is to be paid, no more, or back.
fn write_payments(transaction: &Transaction<'_>, ledger: &Ledger, page: &Page<'_>) -> Result<(), StoreFailure> {
    const COLUMNS: &str = "epoch, date, payment, change, person, payee, account, benefit, ground, period, round, month, amount";
    let mut enter =
        transaction.prepare_cached(&format!("INSERT INTO payments({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))?;
    let terms = ledger.desk().terms();
    for payment in &page.effects.payments {
        let Payment { order, right, month, ordered, payee, account } = payment;
        let [person, benefit, ground, period] = names_of(terms, right);
        let id = hex(ledger.desk().offer_hash(right, ordered.round, &payment.name()));
        let (payee, account) = (terms.person.format(*payee), account.map(|account| account.to_string()));
        let (today, month) = (page.date.to_string(), month.to_string());
        enter.execute(params![
            page.epoch,
            today,
            id,
            order.name(),
            person,
            payee,
            account,
            benefit,
            ground,
            period,
            ordered.round,
            month,
            ordered.amount
        ])?;
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

/// A time of the clock, given in seconds since the beginning of 1970.
fn time(seconds: u64) -> String {
    let (day, second) = (Date((seconds / 86_400) as i32), seconds % 86_400);
    format!("{day}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
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

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;
    use crate::commands::load_package;

    /// What of earlier epochs waits is written with the next one that cannot wait, though that fails at first.
    #[test]
    fn what_waits_outlives_a_write_that_fails() {
        let path = std::env::temp_dir().join(format!("shanyraq-store-{}.db", std::process::id()));
        let policy = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message)).policy;
        let mut store = Store::open(&path, policy.clone()).unwrap();
        let (mut engine, ledger) = (Engine::start(policy.clone(), 1), Ledger::new(Terms::from(&*policy)));
        let (offers, effects) = (BTreeSet::new(), Effects::default());
        let page = |epoch| Page {
            epoch,
            date: Date(20_000),
            ended: &[],
            changes: &[],
            in_ledger: &[],
            moves: &[],
            rejudged: &[],
            families_anew: false,
            texts: &[],
            offers: &offers,
            effects: &effects,
            refused: &[],
            own: &[],
            ignored: Ignored::default(),
            expired: 0,
        };
        store.write(&ledger, &Page { families_anew: true, ..page(1) }, &mut engine).unwrap();
        let scores = Scores { score: 5, category: 1, level_score: 0, level: 0 };
        let rejudged = [(HouseholdKey::family(7), Some(scores))];
        store.written = Instant::now();
        store.write(&ledger, &Page { rejudged: &rejudged, ..page(2) }, &mut engine).unwrap();
        let other = Connection::open(&path).unwrap();
        let judged = || other.query_row("SELECT count(*) FROM categories", [], |row| row.get::<_, u64>(0)).unwrap();
        assert!(store.is_behind() && judged() == 0, "it waits");
        other.execute_batch("ALTER TABLE epochs RENAME TO hidden").unwrap();
        let urgent = Page { expired: 1, ..page(3) };
        (0..2).for_each(|_| assert!(store.write(&ledger, &urgent, &mut engine).is_err()));
        other.execute_batch("ALTER TABLE hidden RENAME TO epochs").unwrap();
        store.write(&ledger, &urgent, &mut engine).unwrap();
        assert_eq!((judged(), store.frontier()), (1, 3));
        drop(store);
        remove(&path);
    }

    fn remove(path: &Path) {
        ["db", "db-wal", "db-shm"].iter().for_each(|extension| drop(std::fs::remove_file(path.with_extension(extension))));
    }

    /// A file of which the beginning was broken off holds nothing of it, and is begun by the next opening.
    #[test]
    fn a_file_is_begun_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("shanyraq-begun-{}.db", std::process::id()));
        let policy = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message)).policy;
        let other = Connection::open(&path).unwrap();
        // A table of this name that takes no row of ours.
        other.execute_batch("CREATE TABLE policies(word TEXT)").unwrap();
        assert!(Store::open(&path, policy.clone()).is_err());
        let tables: String = other.query_row("SELECT group_concat(name) FROM sqlite_master", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, "policies");
        other.execute_batch("DROP TABLE policies").unwrap();
        assert_eq!(Reader::open(&path).unwrap().packages().unwrap(), Vec::<String>::new(), "nothing is in force before it is begun");
        drop(Store::open(&path, policy.clone()).unwrap());
        assert_eq!(Reader::open(&path).unwrap().packages().unwrap(), [fingerprint(&policy)]);
        drop(other);
        remove(&path);
    }

    /// A yes is to what was sent last: what waits behind it, or was held back, nobody has read.
    #[test]
    fn a_yes_is_to_the_text_that_was_sent_last() {
        let ledger = Connection::open_in_memory().unwrap();
        ledger.execute_batch(TABLES).unwrap();
        let texts = "('offer', '', 1, 'before'), ('repeat', '', 2, 'now')";
        ledger.execute_batch(&format!("INSERT INTO outbox(message, period, epoch, policy) VALUES {texts}")).unwrap();
        let answered = |offer: &str, repeat: &str| {
            ledger.execute("UPDATE outbox SET status = iif(message = 'offer', ?, ?)", [offer, repeat]).unwrap();
            ledger.query_row(SENT_LAST, ["offer", "repeat"], |row| row.get::<_, String>(0)).unwrap()
        };
        assert_eq!([answered("delivered", "submitted"), answered("failed", "taken")], ["now", "now"]);
        assert_eq!([answered("delivered", "waiting"), answered("submitted", "suppressed")], ["before", "before"]);
        // Sent, and after a start to be sent again.
        assert_eq!([answered("waiting", "suppressed"), answered("delivered", "waiting")], ["before", "before"]);
    }
}
