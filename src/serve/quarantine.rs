//! The door for rows of the quarantine: they are sent once more as they came, or are done with.
//!
//! What is sent again is what the ledger has kept, under the name by which it came: nobody who may ask for it can send anything else. That rows are done
//! with is an entry of the same epoch as the last of what they say: after a kill in between what came before is sent once more, and known already.

use super::completion::{WAIT_MAX, hand_in};
use super::intake::{BODY_BYTES_MAX, Mappings};
use super::{Doors, Refusal, Shared, aside};
use crate::intake::Intake;
use crate::journal::{Own, Settlement};
use crate::ledger::{Reader, Refused};
use crate::pipeline::{Reading, Submission};
use crate::sources::Section;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

/// Rows in one request.
pub(crate) const ROWS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    rows: BTreeSet<u64>,
    how: Settlement,
    /// By which rows of tables are read.
    mapping: Option<String>,
}

/// `POST /v1/quarantine`: rows need nobody's attention any more, since they are sent once more or because nobody wants them.
pub(super) async fn settle(State(doors): Shared, Json(settle): Json<Settle>) -> Result<Json<Value>, Refusal> {
    aside(move || {
        doors.readiness()?;
        let Settle { rows, how, mapping } = settle;
        if !(1..=ROWS_MAX).contains(&rows.len()) {
            return Err(bad(format!("rows: {} are not between 1 and {ROWS_MAX}", rows.len())));
        }
        // One after the other: what was settled so far must be settled in the ledger.
        let mut settled_by = doors.settled_by.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = doors.inner()?;
        if !inner.progress.wait_for(*settled_by, WAIT_MAX) {
            return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "rows that were settled before are not in the ledger yet".to_owned()));
        }
        inner.questions.catch_up();
        let ledger = doors.ledger()?;
        let bytes = check(&ledger, &rows)?;
        let mut parts = match how {
            Settlement::Discarded => Vec::new(),
            Settlement::Retried => again(&doors, &ledger, &rows, bytes, mapping.as_deref())?,
        };
        let count = |each: fn(&Submission) -> u64| parts.iter().map(each).sum::<u64>();
        let (accepted, quarantined) = (count(|part| part.accepted), count(|part| part.quarantined));
        let settled = Submission::of_own(Own::Settled { rows: rows.into_iter().collect(), how });
        match parts.last_mut() {
            Some(last) => last.append(settled),
            None => parts.push(settled),
        }
        let epochs = hand_in(&doors, parts)?;
        *settled_by = epochs.last();
        Ok(Json(json!({ "epoch": epochs.last(), "accepted": accepted, "quarantined": quarantined, "token": epochs.to_string() })))
    })
    .await
}

fn bad(what: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, what)
}

/// That all of these rows wait; how many bytes they have together.
fn check(ledger: &Reader, rows: &BTreeSet<u64>) -> Result<usize, Refusal> {
    let (mut bytes, mut unknown, mut settled) = (0, Vec::new(), Vec::new());
    for row in rows {
        match ledger.state_of_refused(*row)? {
            None => unknown.push(row.to_string()),
            Some((state, _)) if state != "waiting" => settled.push(row.to_string()),
            Some((_, length)) => bytes += length,
        }
    }
    let told = |what: &str, rows: &[String]| (!rows.is_empty()).then(|| format!("{what}: {}", rows.join(", ")));
    let wrong: Vec<String> = [told("not there", &unknown), told("done with already", &settled)].into_iter().flatten().collect();
    match wrong.is_empty() {
        true => Ok(bytes),
        false => Err(Refusal(StatusCode::CONFLICT, format!("rows: {}", wrong.join("; ")))),
    }
}

/// What these rows say, read once more: one submission, and another from each date on.
fn again(doors: &Doors, ledger: &Reader, rows: &BTreeSet<u64>, bytes: usize, mapping: Option<&str>) -> Result<Vec<Submission>, Refusal> {
    if bytes > BODY_BYTES_MAX {
        let what = format!("rows: {bytes} bytes, of {BODY_BYTES_MAX} at most: ask for fewer at a time");
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, what));
    }
    let (inner, room) = (doors.inner()?, doors.take_room(bytes)?);
    let standing = inner.progress.standing();
    let read = inner.decoders.with(standing.schema.clone(), |intake| {
        let (mut again, mut read) = (Again { mappings: &inner.mappings, mapping, sections: BTreeMap::new(), intake }, Vec::new());
        for row in rows {
            let Some(refused) = ledger.refused_row(*row)? else { continue };
            let name = &refused.row.file;
            if standing.is_paused(name) {
                return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("feed {name} is paused")));
            }
            read.extend(again.read(&refused)?);
        }
        Ok(read)
    })?;
    let mut parts = Vec::<Submission>::new();
    for part in read {
        match parts.last_mut().filter(|_| !part.dated) {
            Some(last) => last.append(part),
            None => parts.push(part),
        }
    }
    if let Some(last) = parts.last_mut() {
        last.room = Some(room);
    }
    Ok(parts)
}

/// How rows are read once more.
struct Again<'a> {
    mappings: &'a Mappings,
    mapping: Option<&'a str>,
    /// Those of the mapping that serve the names of rows so far.
    sections: BTreeMap<Arc<str>, Arc<Section>>,
    intake: &'a mut Intake,
}

impl Again<'_> {
    /// A row of a table is kept under the names of its columns, and is a table by itself; anything else is a line.
    fn read(&mut self, Refused { number, row, .. }: &Refused) -> Result<Vec<Submission>, Refusal> {
        if !row.raw.contains(&b'\n') {
            return Ok(Submission::read(self.intake, &row.file, row.line, &row.raw));
        }
        let of_row = |what: String| bad(format!("row {number}: {what}"));
        let section = match self.sections.get(&row.file) {
            Some(section) => section.clone(),
            None => {
                let mapping = self.mapping.ok_or_else(|| of_row("it is of a table, and needs a mapping".to_owned()))?;
                let section = self.mappings.section(mapping, self.intake.schema(), &row.file).map_err(of_row)?;
                self.sections.insert(row.file.clone(), section.clone());
                section
            }
        };
        let mut reading = Reading::new(row.raw.as_slice(), &row.file, Some(section));
        let blocks = std::iter::from_fn(|| reading.next(self.intake)).collect::<Result<Vec<_>, _>>();
        Ok(blocks.map_err(|error| of_row(error.to_string()))?.into_iter().flatten().collect())
    }
}
