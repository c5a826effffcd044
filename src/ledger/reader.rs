//! The ledger's file as others read it, beside its writer: views for exports, changes to follow, and the proof that it is whole.

use super::StoreFailure;
use super::families;
use super::tables::{FORMAT, Said, hex, is_begun, other_format};
use crate::journal::ReleasedRight;
use crate::sources::Quarantined;
use dataflows::decisions::identity_of;
use dataflows::model::Epoch;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// What must not be found: decisions other than what the changes lead to, rights about which neither anything was said nor anything says why not, texts
/// without a conversation or about no right that was gained, conversations about no decision or in which something was said and no text, yeses to
/// nothing, and what was said twice.
const ACCOUNTS: [(&str, &str); 13] = [
    (
        "outbox: two texts have one name",
        "SELECT message FROM outbox GROUP BY message HAVING count(*) > 1 LIMIT 1",
    ),
    (
        "outbox: a message is about no right that there is a conversation about",
        "SELECT message FROM outbox WHERE NOT EXISTS (SELECT 1 FROM offers WHERE offers.person = outbox.person AND offers.benefit = outbox.benefit
         AND offers.ground = outbox.ground AND offers.period = outbox.period AND offers.round >= outbox.round) LIMIT 1",
    ),
    (
        "outbox: a message is about no right that was ever gained",
        "SELECT message FROM outbox WHERE NOT EXISTS (SELECT 1 FROM changes WHERE changes.person = outbox.person AND changes.benefit = outbox.benefit
         AND changes.ground = outbox.ground AND changes.period = outbox.period AND changes.epoch <= outbox.epoch
         AND changes.kind IN ('gained', 'amount')) LIMIT 1",
    ),
    (
        "offers: a conversation is about a right of which there is no decision",
        "SELECT person || ' ' || benefit FROM offers WHERE lost IS NULL AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.person = offers.person
         AND decisions.benefit = offers.benefit AND decisions.ground = offers.ground AND decisions.period = offers.period) AND 'doubted' IS NOT
         (SELECT kind FROM changes WHERE changes.person = offers.person AND changes.benefit = offers.benefit AND changes.ground = offers.ground
         AND changes.period = offers.period ORDER BY change DESC LIMIT 1) LIMIT 1",
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
    (
        "decisions: a right stands otherwise than the changes tell",
        "SELECT person || ' ' || benefit FROM decisions WHERE decision IS NOT (SELECT iif(kind IN ('gained', 'amount'), changes.decision, '') FROM changes
         WHERE changes.person = decisions.person AND changes.benefit = decisions.benefit AND changes.ground = decisions.ground
         AND changes.period = decisions.period ORDER BY change DESC LIMIT 1) LIMIT 1",
    ),
    (
        "payments: a month is ordered twice",
        "SELECT person || ' ' || benefit || ' ' || month FROM payments WHERE change IN ('ordered', 'recover') GROUP BY person, benefit, ground, period, month
         HAVING sum(change = 'ordered') - sum(change = 'recover') NOT IN (0, 1) LIMIT 1",
    ),
    (
        "payments: something is ordered without a yes",
        "SELECT payment FROM payments WHERE change = 'ordered' AND NOT EXISTS (SELECT 1 FROM consents WHERE consents.person = payments.person
         AND consents.benefit = payments.benefit AND consents.ground = payments.ground AND consents.period = payments.period
         AND consents.round = payments.round) LIMIT 1",
    ),
    (
        "decisions: somebody has a right in a household that is not there",
        "SELECT person || ' ' || household FROM decisions WHERE household != '' AND NOT EXISTS (SELECT 1 FROM households
         WHERE households.household = decisions.household) LIMIT 1",
    ),
    (
        "categories: a household is judged that is not there",
        "SELECT household FROM categories WHERE NOT EXISTS (SELECT 1 FROM households WHERE households.household = categories.household) LIMIT 1",
    ),
];

const ORDERS: &str = "SELECT * FROM payments WHERE change = 'ordered' AND date BETWEEN ? AND ? AND NOT EXISTS
    (SELECT 1 FROM payments AS back WHERE back.payment = payments.payment AND back.change = 'recover') ORDER BY number";

/// A refused line that waits for somebody, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub number: u64,
    pub row: Quarantined,
    pub state: String,
}

/// What epochs brought: records that changed nothing because of what was held, those that had expired when they came, and how many decisions
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

/// A view that is exported, with the rows that `batch` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Decisions,
    Households,
    Categories,
}

/// Rows that others follow, each behind the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Changes,
    Cases,
    Payments,
}

impl Stream {
    /// Its table, what numbers its rows, and what tells a row from the one of this number in another ledger.
    fn columns(self) -> [&'static str; 3] {
        match self {
            Stream::Changes => ["changes", "change", "chain"],
            Stream::Cases => ["cases", "number", "epoch || \"case\" || change"],
            Stream::Payments => ["payments", "number", "epoch || payment || change"],
        }
    }
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

    /// The form of a file that another program wrote.
    pub fn other_format(&self) -> Result<Option<i64>, StoreFailure> {
        Ok(other_format(&self.0)?)
    }

    /// The fingerprints of the packages that were brought into force, in their order: the last one is in force. None in a file of another
    /// form, or that was not begun.
    pub fn packages(&self) -> Result<Vec<String>, StoreFailure> {
        if !is_begun(&self.0)? || self.other_format()?.is_some() {
            return Ok(Vec::new());
        }
        let mut query = self.0.prepare("SELECT package FROM policies ORDER BY epoch")?;
        Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// How many decisions are in force, by benefit.
    pub fn holders(&self) -> Result<BTreeMap<String, u64>, StoreFailure> {
        let mut query = self.0.prepare("SELECT benefit, count(*) FROM decisions GROUP BY benefit")?;
        Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// Copies the file, as of one epoch.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreFailure> {
        self.0.execute("VACUUM INTO ?", [path.to_string_lossy()])?;
        Ok(())
    }

    /// Of each table that tells what was decided and said, the sum of its rows' hashes.
    pub fn digests(&self) -> Result<BTreeMap<String, String>, StoreFailure> {
        let mut digests = BTreeMap::new();
        for table in ["policies", "decisions", "changes", "outbox", "offers", "consents", "cases", "payments", "notes", "quarantine"] {
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

    /// The rows of a view as they stand, until `each` wants no more.
    pub fn view(&self, view: View, mut each: impl FnMut(Value) -> bool) -> Result<(), StoreFailure> {
        let mut query = self.0.prepare(match view {
            View::Decisions => "SELECT decisions.*, policy FROM decisions, meta",
            View::Households => "SELECT * FROM households",
            View::Categories => "SELECT * FROM categories",
        })?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let row = match view {
                View::Decisions => decision(row)?,
                View::Households => families::household(row)?,
                View::Categories => families::category(row)?,
            };
            if !each(row) {
                break;
            }
        }
        Ok(())
    }

    /// Rights of a benefit that were there before anybody was written to, in the order in which they came to be.
    pub fn baseline(&self, benefit: &str) -> Result<Vec<ReleasedRight>, StoreFailure> {
        let mut query = self.0.prepare(
            "SELECT person, benefit, ground, period FROM decisions WHERE benefit = ? AND silent = 'baseline' AND outcome IN ('eligible', 'notice')
             ORDER BY epoch, person, ground, period",
        )?;
        let right = |row: &rusqlite::Row<'_>| {
            Ok(ReleasedRight { person: row.get(0)?, benefit: row.get(1)?, ground: row.get(2)?, period: row.get(3)? })
        };
        Ok(query.query_map([benefit], right)?.collect::<Result<_, _>>()?)
    }

    /// Rows of a stream after the one of this number, each with its `token`; at most so many.
    pub fn follow(&self, stream: Stream, after: i64, limit: usize) -> Result<Vec<Value>, StoreFailure> {
        let [table, number, told_by] = stream.columns();
        let rows = format!("SELECT *, {number} AS row, {told_by} AS told_by FROM {table} WHERE {number} > ? ORDER BY {number} LIMIT ?");
        let mut query = self.0.prepare_cached(&rows)?;
        let read = |row: &rusqlite::Row<'_>| {
            let mut told = match stream {
                Stream::Changes => change(row),
                Stream::Cases => case(row),
                Stream::Payments => payment(row),
            }?;
            told["token"] = token(row)?.into();
            Ok(told)
        };
        Ok(query.query_map(params![after, limit as i64], read)?.collect::<Result<_, _>>()?)
    }

    /// The number of a stream's last row; zero where there is none.
    pub fn end(&self, stream: Stream) -> Result<i64, StoreFailure> {
        let [table, number, _] = stream.columns();
        let mut query = self.0.prepare_cached(&format!("SELECT coalesce(max({number}), 0) FROM {table}"))?;
        Ok(query.query_row([], |row| row.get(0))?)
    }

    /// The token of a stream's row of this number.
    pub fn token(&self, stream: Stream, row: i64) -> Result<Option<String>, StoreFailure> {
        let [table, number, told_by] = stream.columns();
        let mut query = self.0.prepare_cached(&format!("SELECT {number} AS row, {told_by} AS told_by FROM {table} WHERE {number} = ?"))?;
        Ok(query.query_row([row], token).optional()?)
    }

    /// Orders made on days from one to another, both included, but for those that were asked back.
    pub fn orders(&self, from: &str, until: &str) -> Result<Vec<Value>, StoreFailure> {
        let mut query = self.0.prepare(ORDERS)?;
        Ok(query.query_map([from, until], payment)?.collect::<Result<_, _>>()?)
    }

    /// Checks the chain of changes from its beginning to its end, that decisions are what they lead to and what their names are hashes of, that none is
    /// missing, and that every text belongs to a conversation, and that to the decision of its right. The error of the answer names the first row that
    /// does not fit.
    pub fn verify(&self) -> Result<Result<Verified, String>, StoreFailure> {
        if let Some(format) = self.other_format()? {
            let what = "have it verified by the program that wrote it, or start this one, which writes it anew from a journal that was not compacted";
            return Ok(Err(format!("ledger: of format {format}, this program keeps format {FORMAT}: {what}")));
        }
        // All of it as it was at one moment, though somebody writes.
        let _moment = self.0.unchecked_transaction()?;
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
        let meta = self.0.query_row("SELECT changes, link, decisions FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (changes, end, decisions): (u64, String, u64) = meta?;
        if (verified.changes, &link) != (changes, &end) {
            return Ok(Err(format!("changes: {} are there, of {changes} that were told", verified.changes)));
        }
        for (what, query) in ACCOUNTS {
            if let Some(row) = self.0.query_row(query, [], |row| row.get::<_, String>(0)).optional()? {
                return Ok(Err(format!("{what} ({row})")));
            }
        }
        if let Some(altered) = self.altered_decision()? {
            return Ok(Err(format!("decisions: what a row says is not what its name is a hash of ({altered})")));
        }
        let count = |table: &str| self.0.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        (verified.decisions, verified.texts, verified.link) = (count("decisions")?, count("outbox")?, link);
        if verified.decisions != decisions {
            return Ok(Err(format!("decisions: {} are there, of {decisions} that stand", verified.decisions)));
        }
        Ok(Ok(verified))
    }

    /// A decision whose name is not the hash of person, benefit, ground, period, outcome and amount; its name.
    fn altered_decision(&self) -> Result<Option<String>, StoreFailure> {
        let mut query = self.0.prepare("SELECT person, benefit, ground, period, outcome, amount, decision FROM decisions")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let text = |at: usize| row.get_ref(at).map(|text| text.as_str().unwrap_or_default());
            let name = identity_of([text(0)?, text(1)?, text(2)?, text(3)?, text(4)?], row.get(5)?).to_string();
            if name != text(6)? {
                return Ok(Some(text(6)?.to_owned()));
            }
        }
        Ok(None)
    }

    /// How many texts are in which status.
    pub fn texts_by_status(&self) -> Result<BTreeMap<String, u64>, StoreFailure> {
        let mut query = self.0.prepare("SELECT status, count(*) FROM outbox GROUP BY status")?;
        Ok(query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// Refused lines, oldest first.
    pub fn refused(&self) -> Result<Vec<Refused>, StoreFailure> {
        let mut query = self.0.prepare("SELECT number, feed, line, field, reason, raw, state FROM quarantine ORDER BY number")?;
        Ok(query.query_map([], refused)?.collect::<Result<_, _>>()?)
    }

    /// The refused line of this number.
    pub fn refused_row(&self, number: u64) -> Result<Option<Refused>, StoreFailure> {
        let mut query = self.0.prepare_cached("SELECT number, feed, line, field, reason, raw, state FROM quarantine WHERE number = ?")?;
        Ok(query.query_row([number], refused).optional()?)
    }

    /// What became of the refused line of this number, and how many bytes it has.
    pub fn state_of_refused(&self, number: u64) -> Result<Option<(String, usize)>, StoreFailure> {
        // No row has a greater one than the file can write.
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let mut query = self.0.prepare_cached("SELECT state, length(raw) FROM quarantine WHERE number = ?")?;
        Ok(query.query_row([number], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    /// How many refused lines wait for somebody.
    pub fn waiting(&self) -> Result<u64, StoreFailure> {
        Ok(self.0.query_row("SELECT count(*) FROM quarantine WHERE state = 'waiting'", [], |row| row.get(0))?)
    }

    /// What these epochs brought together.
    pub fn brought(&self, epochs: &[RangeInclusive<Epoch>]) -> Result<Brought, StoreFailure> {
        let mut query = self.0.prepare_cached(
            "SELECT coalesce(sum(duplicates), 0), coalesce(sum(superseded), 0), coalesce(sum(expired), 0), coalesce(sum(changed), 0) FROM epochs
             WHERE epoch BETWEEN ? AND ?",
        )?;
        let mut brought = Brought::default();
        for range in epochs {
            let Brought { duplicates, superseded, expired, changed } = query.query_row(params![range.start(), range.end()], |row| {
                Ok(Brought { duplicates: row.get(0)?, superseded: row.get(1)?, expired: row.get(2)?, changed: row.get(3)? })
            })?;
            brought.duplicates += duplicates;
            brought.superseded += superseded;
            brought.expired += expired;
            brought.changed += changed;
        }
        Ok(brought)
    }
}

/// The number of a row, and a sum over what tells it from others of this number.
fn token(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    let (number, told_by): (i64, String) = (row.get("row")?, row.get("told_by")?);
    Ok(format!("{number}-{:08x}", xxh3_128(told_by.as_bytes()) as u32))
}

/// A row of the view `changes`. Whoever takes all of them in, right by right, holds the decisions that stand.
fn change(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let text = |name: &str| row.get::<_, String>(name);
    let kind = text("kind")?;
    let stands = matches!(kind.as_str(), "gained" | "amount");
    Ok(json!({
        "date": text("date")?, "decision": text("decision")?, "person": text("person")?, "benefit": text("benefit")?,
        "ground": Some(text("ground")?).filter(|_| stands),
        "period": Some(text("period")?).filter(|period| stands && !period.is_empty()), "change": kind,
    }))
}

/// A case that was opened or withdrawn. An agency that is told of one twice knows it by its `case`.
fn case(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    Ok(json!({
        "case": text("case")?, "change": text("change")?, "date": text("date")?, "person": text("person")?, "benefit": text("benefit")?,
        "ground": text("ground")?, "period": text("period")?.filter(|period| !period.is_empty()), "amount": row.get::<_, i64>("amount")?,
        "from": text("from")?, "until": text("until")?, "consented": text("consented")?,
    }))
}

fn refused(row: &rusqlite::Row<'_>) -> rusqlite::Result<Refused> {
    let file: String = row.get(1)?;
    let quarantined = Quarantined { file: file.into(), line: row.get(2)?, field: row.get(3)?, reason: row.get(4)?, raw: row.get(5)? };
    Ok(Refused { number: row.get(0)?, row: quarantined, state: row.get(6)? })
}

/// The order of a payment, its stop or its recovery. Whoever is told of one twice knows it by its `payment` and `change`.
fn payment(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    Ok(json!({
        "payment": text("payment")?, "change": text("change")?, "date": text("date")?, "person": text("person")?,
        "payee": text("payee")?, "account": text("account")?, "benefit": text("benefit")?, "ground": text("ground")?,
        "period": text("period")?.filter(|period| !period.is_empty()), "month": text("month")?, "amount": row.get::<_, i64>("amount")?,
    }))
}

fn decision(row: &rusqlite::Row<'_>) -> rusqlite::Result<Value> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let reasons = text("reasons")?.and_then(|reasons| serde_json::from_str::<Value>(&reasons).ok());
    Ok(json!({
        "decision": text("decision")?, "person": text("person")?, "household": text("household")?, "benefit": text("benefit")?,
        "ground": text("ground")?, "period": text("period")?.filter(|period| !period.is_empty()), "outcome": text("outcome")?,
        "amount": row.get::<_, i64>("amount")?, "from": text("from")?, "until": text("until")?, "reasons": reasons,
        "policy": text("policy")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::reports::Report;
    use super::super::tables::TABLES;
    use super::*;
    use std::collections::BTreeSet;

    /// However much the ledger holds, no query looks through a table for each row of another.
    #[test]
    fn no_table_is_looked_through_for_each_row() {
        let ledger = Connection::open_in_memory().unwrap();
        ledger.execute_batch(TABLES).unwrap();
        let reports = [Report::Queue, Report::Funnel, Report::Unreached, Report::Notes, Report::Log].map(Report::query);
        for query in ACCOUNTS.map(|(_, query)| query).into_iter().chain(reports).chain([ORDERS]) {
            let mut plan = ledger.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let (mut steps, mut for_each_row, mut scanned) = (plan.raw_query(), BTreeSet::<i64>::new(), BTreeSet::<i64>::new());
            while let Some(row) = steps.next().unwrap() {
                let (step, within, what): (i64, i64, String) = (row.get(0).unwrap(), row.get(1).unwrap(), row.get(3).unwrap());
                if what.starts_with("CORRELATED") || for_each_row.contains(&within) {
                    for_each_row.insert(step);
                }
                // Of two tables that are joined the second one is looked through for each row of the first.
                let is_repeated = what.starts_with("SCAN") && (for_each_row.contains(&step) || !scanned.insert(within));
                assert!(!is_repeated, "{what} in {query}");
            }
        }
    }
}
