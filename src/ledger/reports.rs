//! What operators ask of the ledger's file: where texts are, what became of offers, and who cannot be reached.

use super::{Reader, StoreFailure};
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

/// A report: one row an object, by the names of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Texts that are on their way, by benefit, kind and status.
    Queue,
    /// From an offer to a payment, by benefit, region and language; and rights that were not offered, by the reason.
    Funnel,
    /// Rights that nobody could be told of: no number, or no text arrived and no answer came.
    Unreached,
    /// What social workers were told, replies that nobody could read among it.
    Notes,
    /// Every text, without its content and without a number in clear.
    Log,
}

const QUEUE: &str = "
    SELECT benefit, kind, status, count(*) AS texts, sum(parts) AS parts, min(date) AS oldest FROM outbox WHERE status IN ('waiting', 'submitted', 'taken', 'uncertain')
    GROUP BY benefit, kind, status ORDER BY benefit, kind, status";

/// An offer is what a text asked about; it was delivered if any of its texts was, and answered once its conversation went beyond asking. Of rights
/// without a conversation nobody has looked where their people live.
const FUNNEL: &str = "
    WITH asked AS (
        SELECT person, benefit, ground, period, round, max(status = 'delivered') AS delivered FROM outbox WHERE kind IN ('offer', 'repeat')
        AND status NOT IN ('waiting', 'suppressed') GROUP BY person, benefit, ground, period, round),
    steps AS (
        SELECT asked.benefit, region, language, count(*) AS offered, sum(delivered) AS delivered,
            sum(stage IN ('declined', 'consented', 'wait_account', 'no_account', 'case', 'assigned', 'rejected', 'paid')) AS answered,
            sum(EXISTS (SELECT 1 FROM consents WHERE consents.person = asked.person AND consents.benefit = asked.benefit AND consents.ground = asked.ground
                AND consents.period = asked.period AND consents.round = asked.round)) AS agreed,
            sum(stage IN ('assigned', 'paid')) AS assigned, sum(stage = 'paid') AS paid
        FROM asked LEFT JOIN offers USING (person, benefit, ground, period, round) GROUP BY asked.benefit, region, language),
    silences AS (
        SELECT benefit, region, language, silent, count(*) AS rights FROM (
            SELECT benefit, NULL AS region, NULL AS language, silent FROM decisions WHERE silent IS NOT NULL
            UNION ALL SELECT benefit, region, language, silent FROM offers WHERE silent IS NOT NULL AND lost IS NULL)
        GROUP BY benefit, region, language, silent),
    reasons AS (SELECT benefit, region, language, json_group_object(silent, rights) AS silent FROM silences GROUP BY benefit, region, language),
    groups AS (SELECT benefit, region, language FROM steps UNION SELECT benefit, region, language FROM reasons)
    SELECT groups.benefit, groups.region, groups.language, coalesce(offered, 0) AS offered, coalesce(delivered, 0) AS delivered,
        coalesce(answered, 0) AS answered, coalesce(agreed, 0) AS agreed, coalesce(assigned, 0) AS assigned, coalesce(paid, 0) AS paid, reasons.silent
    FROM groups
        LEFT JOIN steps ON steps.benefit = groups.benefit AND steps.region IS groups.region AND steps.language IS groups.language
        LEFT JOIN reasons ON reasons.benefit = groups.benefit AND reasons.region IS groups.region AND reasons.language IS groups.language
    ORDER BY 1, 2, 3";

const LOG: &str = "
    SELECT message, date, benefit, kind, round, status, parts, policy, substr(phone, 1, 4) || '*****' || substr(phone, -2) AS phone FROM outbox ORDER BY epoch, message";

const UNREACHED: &str = "
    SELECT person, benefit, ground, period, silent AS reason, since FROM offers WHERE silent IN ('no_phone', 'no_addressee') AND lost IS NULL
    UNION ALL
    SELECT person, benefit, ground, period, 'not_delivered', since FROM offers WHERE stage IN ('sent1', 'sent2', 'no_answer') AND lost IS NULL
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE offers.person = outbox.person AND offers.benefit = outbox.benefit AND offers.ground = outbox.ground
            AND offers.period = outbox.period AND offers.round = outbox.round AND outbox.status NOT IN ('failed', 'uncertain', 'suppressed'))
    ORDER BY 1, 2, 3, 4";

impl Report {
    pub(super) fn query(self) -> &'static str {
        match self {
            Report::Queue => QUEUE,
            Report::Funnel => FUNNEL,
            Report::Unreached => UNREACHED,
            Report::Notes => "SELECT date, kind, person, benefit, ground, period, phone FROM notes ORDER BY number",
            Report::Log => LOG,
        }
    }
}

impl Reader {
    pub fn report(&self, report: Report) -> Result<Vec<Value>, StoreFailure> {
        let mut query = self.connection().prepare(report.query())?;
        let names: Vec<String> = query.column_names().map(str::to_owned).collect();
        let (mut rows, mut report) = (query.query([])?, Vec::new());
        while let Some(row) = rows.next()? {
            let mut object = Map::new();
            for (column, name) in names.iter().enumerate() {
                let value = match row.get_ref(column)? {
                    ValueRef::Integer(number) => number.into(),
                    ValueRef::Text(text) => as_json(&String::from_utf8_lossy(text)),
                    _ => Value::Null,
                };
                object.insert(name.clone(), value);
            }
            report.push(object.into());
        }
        Ok(report)
    }
}

/// An object that a query made is one; all else is text.
fn as_json(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| text.into())
}
