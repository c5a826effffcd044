//! The ledger as it is read outside: an SQLite file that operators can look into with SQL.
//!
//! Changes are chained: each row carries the SHA-256 of the row before it and of what it says itself, so that none can be altered, left out or
//! put in between unseen. An epoch is one transaction; of one that brings no rows but where families stand the file hears with the next that does, and within
//! [`BEHIND_MAX`]. The file is written behind the journal and never synced by itself (WAL, `synchronous=NORMAL`): whatever
//! suffix of epochs a crash takes from it is told again from the journal. Its chain of changes must then come out as it was.

use super::checkpoints::{LOG_BYTES_KEPT, checkpoints};
use super::families;
use super::tables::{FORMAT, Said, StoreFailure, TABLES, hex, other_format};
use super::{Ledger, Message, Page, Silence};
use crate::beside::Beside;
use crate::dispatch::{Case, Consent, Note, Payment, RightKey, Terms};
use crate::journal::Own;
use crate::packages::{fingerprint, title};
use crate::sources::Quarantined;
use crate::views::{DecisionRow, Writer, name_of_change};
use dataflows::model::{Change, ChangeKind, Date, Epoch, HouseholdKey, Ignored, Move, Scores};
use dataflows::policy::Policy;
use dataflows::policy::parts::parts;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the file may not know of epochs that bring nothing to write.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// Of a file that is begun. Each page that is read is looked for in the log first, which has millions of them while a whole country is told something: with half
/// as large ones that took two fifths of the time.
pub(super) const PAGE_BYTES: i64 = 8192;

/// Statements that stay prepared: more than there are here.
const STATEMENTS_MAX: usize = 64;

/// The file, open for one writer.
pub struct Store {
    /// They end before the writer closes the file, and with it the log.
    _checkpoints: Beside,
    /// For them: how many rows were written.
    rows_written: Arc<AtomicU64>,
    connection: Connection,
    names: Names,
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

/// In whose names rows are written.
struct Names {
    policy: Arc<Policy>,
    writer: Writer,
}

/// What epochs leave of themselves that bring nothing else: how far they came, and who moved or is judged otherwise, each as it is now.
struct Passed {
    epoch: Epoch,
    date: Date,
    live: bool,
    chain: String,
    policy: Arc<Policy>,
    moves: Vec<Move>,
    rejudged: BTreeMap<HouseholdKey, Option<Scores>>,
}

/// The package of that of a round's offer and its repeat which was sent last. One that was sent may wait to be sent again; one that was suppressed never was.
const SENT_LAST: &str = "SELECT policy FROM outbox WHERE person = ?1 AND benefit = ?2 AND ground = ?3 AND period = ?4 AND round = ?5
     AND kind IN ('offer', 'repeat') ORDER BY status = 'suppressed', status = 'waiting', epoch DESC LIMIT 1";

/// The last epoch that is written, zero before the first, and the chain of changes then.
#[derive(Clone, Debug)]
pub struct WrittenSoFar {
    pub epoch: Epoch,
    chain: String,
}

impl WrittenSoFar {
    /// Checks that a ledger which came to be what it is as of this epoch is the one that was written, if that epoch is the last.
    pub fn check(&self, epoch: Epoch, ledger: &Ledger) -> Result<(), StoreFailure> {
        let told = hex(ledger.chain());
        match epoch > 0 && epoch == self.epoch && told != self.chain {
            true => Err(StoreFailure::Parted { epoch, written: self.chain.clone(), told }),
            false => Ok(()),
        }
    }

    /// Checks that the journal, which ends with this epoch, told all that is written.
    pub fn check_end(&self, journal: Epoch) -> Result<(), StoreFailure> {
        match self.epoch > journal {
            true => Err(StoreFailure::Ahead { written: self.epoch, journal }),
            false => Ok(()),
        }
    }
}

impl Store {
    /// Opens the file, or begins it; rows are written in the names of this policy.
    pub fn open(path: &Path, policy: Arc<Policy>) -> Result<Store, StoreFailure> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
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
        let (written, passed) = (Instant::now(), None);
        Ok(Store { _checkpoints, rows_written, connection, names: Names::new(policy), frontier, chain, tally, written, passed })
    }

    /// Puts a file of another form aside, under a name that tells which. The journal leads to the same again.
    pub fn set_aside(path: &Path, format: i64) -> Result<(), StoreFailure> {
        // What is in its log goes into it first.
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "DELETE")?;
        drop(connection);
        std::fs::rename(path, path.with_extension(format!("format-{format}.db"))).map_err(StoreFailure::Aside)
    }

    /// What is written by now.
    pub fn written_so_far(&self) -> WrittenSoFar {
        WrittenSoFar { epoch: self.frontier, chain: self.chain.clone() }
    }

    /// Writes what epochs brought, together: all of it or nothing. None of them is written already; whoever tries again does so with the same.
    pub fn write(&mut self, pages: &[Page]) -> Result<(), StoreFailure> {
        pages.iter().for_each(|page| self.pass(page));
        let rows: usize = pages.iter().map(Page::rows).sum();
        if rows == 0 {
            return if self.written.elapsed() < BEHIND_MAX { Ok(()) } else { self.catch_up() };
        }
        let (transaction, mut tally) = (self.connection.transaction()?, self.tally.clone());
        for page in pages.iter().filter(|page| page.rows() > 0) {
            self.names.turn_to(&page.policy);
            write_page(&transaction, &self.names.writer, page, &mut tally)?;
        }
        let passed = self.passed.as_ref().map_or(Ok(0), |passed| write_passed(&transaction, &mut self.names, passed, &tally))?;
        transaction.commit()?;
        self.rows_written.fetch_add((rows + passed) as u64, Ordering::Relaxed);
        self.tally = tally;
        self.note_written();
        Ok(())
    }

    /// Takes note of an epoch, once, however often it is tried to be written. Where families are written anew what was noted of them is among that.
    fn pass(&mut self, page: &Page) {
        if self.passed.as_ref().is_some_and(|passed| passed.epoch >= page.epoch) {
            return;
        }
        let before = self.passed.take().filter(|_| page.families.is_none());
        let (mut moves, mut rejudged) = before.map_or_else(Default::default, |passed| (passed.moves, passed.rejudged));
        if page.families.is_none() {
            moves.extend_from_slice(&page.moves);
            rejudged.extend(page.rejudged.iter().copied());
        }
        let Page { epoch, date, live, chain, .. } = *page;
        self.passed = Some(Passed { epoch, date, live, chain: hex(chain), policy: page.policy.clone(), moves, rejudged });
    }

    /// Whether epochs have passed of which the file does not know yet: they brought nothing that could not wait.
    pub fn is_behind(&self) -> bool {
        self.passed.is_some()
    }

    /// Says in the file how far the ledger has come.
    pub fn catch_up(&mut self) -> Result<(), StoreFailure> {
        let Some(passed) = &self.passed else { return Ok(()) };
        let transaction = self.connection.transaction()?;
        let written = write_passed(&transaction, &mut self.names, passed, &self.tally)?;
        transaction.commit()?;
        self.rows_written.fetch_add(1 + written as u64, Ordering::Relaxed);
        self.note_written();
        Ok(())
    }

    /// The file knows of everything.
    fn note_written(&mut self) {
        if let Some(passed) = self.passed.take() {
            (self.frontier, self.chain) = (passed.epoch, passed.chain);
        }
        self.written = Instant::now();
    }
}

impl Names {
    fn new(policy: Arc<Policy>) -> Names {
        Names { writer: Writer::new(policy.clone()), policy }
    }

    fn turn_to(&mut self, policy: &Arc<Policy>) {
        if !Arc::ptr_eq(&self.policy, policy) {
            *self = Names::new(policy.clone());
        }
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

/// Writes what cannot wait of an epoch.
fn write_page(transaction: &Transaction<'_>, rows: &Writer, page: &Page, tally: &mut Tally) -> Result<(), StoreFailure> {
    let mut changed = page.changes.iter().filter(|change| change.is_of_decision()).count();
    if let Some((policy, ended)) = &page.former {
        write_changes(transaction, &Writer::new(policy.clone()), page, ended.iter().map(|change| (change, None)), tally)?;
        let begun = "INSERT INTO policies VALUES (?, ?, ?, ?)";
        transaction.execute(begun, params![page.epoch, page.date.to_string(), title(&page.policy), fingerprint(&page.policy)])?;
        changed += ended.iter().filter(|change| change.is_of_decision()).count();
    }
    write_changes(transaction, rows, page, page.changes.iter().zip(page.silences.iter().copied()), tally)?;
    write_texts(transaction, &page.terms, &title(&page.policy), &page.texts)?;
    write_offers(transaction, page)?;
    write_cases(transaction, page)?;
    write_payments(transaction, page)?;
    write_notes(transaction, page)?;
    write_refused(transaction, page)?;
    if let Some(families) = &page.families {
        families::write_all(transaction, rows, page.epoch, families)?;
    }
    let Ignored { duplicates, superseded } = page.ignored;
    transaction.prepare_cached("INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
        page.epoch,
        page.date.to_string(),
        duplicates,
        superseded,
        page.expired,
        changed
    ])?;
    Ok(())
}

/// Writes how far epochs came, and what is other of families since; how many rows of these.
fn write_passed(transaction: &Transaction<'_>, names: &mut Names, passed: &Passed, tally: &Tally) -> Result<usize, StoreFailure> {
    let Passed { epoch, date, live, chain, policy, moves, rejudged } = passed;
    let Tally { changes, link, decisions } = tally;
    names.turn_to(policy);
    families::write_moves(transaction, &names.writer, *epoch, moves)?;
    families::write_rejudged(transaction, &names.writer, *epoch, rejudged)?;
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
    page: &Page,
    changes: impl Iterator<Item = (&'c Change, Option<Silence>)>,
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
                let (reasons, silent) = (json!(reasons).to_string(), silent.map(Silence::name));
                let row =
                    params![person, benefit, ground, period, decision, household, outcome, amount, from, until, reasons, silent, epoch];
                // What is gained is a new row as a rule, and what changes is none.
                let is_new = match change.kind {
                    ChangeKind::Gained => enter.execute(row)? > 0 || alter.execute(row)? == 0,
                    _ => alter.execute(row)? == 0 && enter.execute(row)? > 0,
                };
                tally.decisions += u64::from(is_new);
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
        "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (person, benefit, ground, period, round, kind) DO UPDATE SET status = excluded.status",
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
fn write_offers(transaction: &Transaction<'_>, page: &Page) -> Result<(), StoreFailure> {
    let mut enter = transaction.prepare_cached("INSERT OR REPLACE INTO offers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    // A yes is to the text that was sent last, whatever package is in force by now.
    let mut agree = transaction
        .prepare_cached(&format!("INSERT OR IGNORE INTO consents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ({SENT_LAST}), ?8, ?9)"))?;
    let day = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then(|| date.to_string());
    for offer in &page.offers {
        let [person, benefit, ground, period] = names_of(&page.terms, &offer.right);
        let language = offer.language.and_then(|language| page.terms.languages.get(usize::from(language)));
        let region = offer.region.map(|region| &page.regions[usize::from(region)]);
        let answers = offer.answers.as_deref();
        let refusal = answers.and_then(|answers| answers.refusal.as_deref());
        enter.execute(params![
            person,
            benefit,
            ground,
            period,
            offer.round,
            offer.stage.name(),
            day(offer.since),
            offer.lost.and_then(day),
            day(offer.quiet_until),
            offer.phone.map(|phone| phone.to_string()),
            refusal,
            offer.silence.map(Silence::name),
            region,
            language,
            page.epoch
        ])?;
        if let Some(Consent { on, at, reply_hash }) = answers.and_then(|answers| answers.consent) {
            let reply = format!("{reply_hash:016x}");
            agree.execute(params![person, benefit, ground, period, offer.round, day(on), at.map(time), reply, page.epoch])?;
        }
    }
    Ok(())
}

/// Cases for agencies: each once opened, and once withdrawn if it is.
fn write_cases(transaction: &Transaction<'_>, page: &Page) -> Result<(), StoreFailure> {
    const COLUMNS: &str = "epoch, date, \"case\", change, person, benefit, ground, period, round, amount, \"from\", until, consented";
    let (epoch, today) = (page.epoch, page.date.to_string());
    let day = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then(|| date.to_string());
    let mut open =
        transaction.prepare_cached(&format!("INSERT INTO cases({COLUMNS}) VALUES (?, ?, ?, 'opened', ?, ?, ?, ?, ?, ?, ?, ?, ?)"))?;
    for Case { id, right, round, amount, from, until, consent } in &page.effects.cases_opened {
        let [person, benefit, ground, period] = names_of(&page.terms, right);
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
fn write_payments(transaction: &Transaction<'_>, page: &Page) -> Result<(), StoreFailure> {
    const COLUMNS: &str = "epoch, date, payment, change, person, payee, account, benefit, ground, period, round, month, amount";
    let mut enter =
        transaction.prepare_cached(&format!("INSERT INTO payments({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))?;
    let terms = &page.terms;
    for payment in &page.effects.payments {
        let Payment { order, right, month, ordered, payee, account } = payment;
        let [person, benefit, ground, period] = names_of(terms, right);
        let id = hex(terms.offer_hash(right, ordered.round, &payment.name()));
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
fn write_notes(transaction: &Transaction<'_>, page: &Page) -> Result<(), StoreFailure> {
    let mut enter = transaction
        .prepare_cached("INSERT INTO notes(epoch, date, kind, person, benefit, ground, period, phone) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for Note { kind, right, phone } in &page.effects.notes {
        let names = right.as_ref().map(|right| names_of(&page.terms, right));
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

fn write_refused(transaction: &Transaction<'_>, page: &Page) -> Result<(), StoreFailure> {
    let mut enter = transaction
        .prepare_cached("INSERT INTO quarantine(epoch, feed, line, field, reason, raw, state) VALUES (?, ?, ?, ?, ?, ?, 'waiting')")?;
    for Quarantined { file, line, field, reason, raw } in &page.refused {
        enter.execute(params![page.epoch, &**file, line, field, reason, raw])?;
    }
    let mut settle = transaction.prepare_cached("UPDATE quarantine SET state = ? WHERE number = ?")?;
    for own in &page.own {
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
    use super::super::{Effects, Families, Reader};
    use super::*;
    use crate::commands::load_package;

    /// What an epoch brings that brings nothing.
    fn blank(epoch: Epoch, policy: &Arc<Policy>) -> Page {
        Page {
            epoch,
            date: Date(20_000),
            live: false,
            chain: epoch.into(),
            policy: policy.clone(),
            terms: Arc::new(Terms::from(&**policy)),
            former: None,
            changes: Vec::new(),
            silences: Vec::new(),
            moves: Vec::new(),
            rejudged: Vec::new(),
            families: None,
            texts: Vec::new(),
            offers: Vec::new(),
            regions: Arc::default(),
            effects: Effects::default(),
            refused: Vec::new(),
            own: Vec::new(),
            ignored: Ignored::default(),
            expired: 0,
        }
    }

    /// What of earlier epochs waits is written with the next one that cannot wait, though that fails at first.
    #[test]
    fn what_waits_outlives_a_write_that_fails() {
        let path = std::env::temp_dir().join(format!("shanyraq-store-{}.db", std::process::id()));
        let policy = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message)).policy;
        let mut store = Store::open(&path, policy.clone()).unwrap();
        let families = || Some(Families { members: Vec::new(), scores: Vec::new() });
        store.write(&[Page { families: families(), ..blank(1, &policy) }]).unwrap();
        let scores = Scores { score: 5, category: 1, level_score: 0, level: 0 };
        let rejudged = |household| vec![(HouseholdKey::family(household), Some(scores))];
        store.written = Instant::now();
        store.write(&[Page { rejudged: rejudged(7), ..blank(2, &policy) }]).unwrap();
        let other = Connection::open(&path).unwrap();
        let judged = || other.query_row("SELECT count(*) FROM categories", [], |row| row.get::<_, u64>(0)).unwrap();
        assert!(store.is_behind() && judged() == 0, "it waits");
        other.execute_batch("ALTER TABLE epochs RENAME TO hidden").unwrap();
        let urgent = [Page { expired: 1, rejudged: rejudged(8), ..blank(3, &policy) }, Page { rejudged: rejudged(9), ..blank(4, &policy) }];
        (0..2).for_each(|_| assert!(store.write(&urgent).is_err()));
        other.execute_batch("ALTER TABLE hidden RENAME TO epochs").unwrap();
        store.write(&urgent).unwrap();
        assert_eq!((judged(), store.written_so_far().epoch), (3, 4));
        // Families that are written anew take the place of all that waits before them, and of nothing that comes behind.
        store.written = Instant::now();
        store.write(&[Page { rejudged: rejudged(10), ..blank(5, &policy) }]).unwrap();
        store.write(&[Page { families: families(), ..blank(6, &policy) }, Page { rejudged: rejudged(11), ..blank(7, &policy) }]).unwrap();
        assert_eq!((judged(), store.written_so_far().epoch), (1, 7));
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
        let texts =
            ["('offer', 1, 'before')", "('repeat', 2, 'now')"].map(|text| text.replace('(', "('7', 'child', 'constant', '', 1, '', "));
        let columns = "person, benefit, ground, period, round, message, kind, epoch, policy";
        ledger.execute_batch(&format!("INSERT INTO outbox({columns}) VALUES {}", texts.join(","))).unwrap();
        let answered = |offer: &str, repeat: &str| {
            ledger.execute("UPDATE outbox SET status = iif(kind = 'offer', ?, ?)", [offer, repeat]).unwrap();
            ledger.query_row(SENT_LAST, params!["7", "child", "constant", "", 1], |row| row.get::<_, String>(0)).unwrap()
        };
        assert_eq!([answered("delivered", "submitted"), answered("failed", "taken")], ["now", "now"]);
        assert_eq!([answered("delivered", "waiting"), answered("submitted", "suppressed")], ["before", "before"]);
        // Sent, and after a start to be sent again.
        assert_eq!([answered("waiting", "suppressed"), answered("delivered", "waiting")], ["before", "before"]);
    }
}
