//! The door for whoever waits until what they sent is in the ledger, and the token by which they ask.

use super::{Doors, Refusal, Shared, aside};
use crate::ledger::Brought;
use crate::pipeline::Submission;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dataflows::model::Epoch;
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// The longest that anybody waits for a completion in one request.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// The epochs of what came in together, which with several dates are several, and others' may be in between: written `17,19-21`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs(Vec<RangeInclusive<Epoch>>);

impl Epochs {
    /// The last of them: zero where nothing came in.
    pub fn last(&self) -> Epoch {
        self.0.last().map_or(0, |range| *range.end())
    }

    /// Adds one that is not before any of them.
    fn add(&mut self, epoch: Epoch) {
        match self.0.last_mut().filter(|range| epoch <= *range.end() + 1) {
            Some(range) => *range = *range.start()..=epoch,
            None => self.0.push(epoch..=epoch),
        }
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("0");
        }
        let written = self.0.iter().map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
        f.write_str(&written.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Epochs {
    type Err = ();

    fn from_str(text: &str) -> Result<Epochs, ()> {
        let number = |text: &str| text.parse::<Epoch>().map_err(drop);
        let range = |text: &str| match text.split_once('-') {
            Some((first, last)) => Ok(number(first)?..=number(last)?),
            None => number(text).map(|epoch| epoch..=epoch),
        };
        let ranges = text.split(',').map(range).collect::<Result<Vec<_>, ()>>()?;
        let in_order = ranges.iter().all(|range| !range.is_empty()) && ranges.is_sorted_by(|one, next| one.end() < next.start());
        if in_order { Ok(Epochs(ranges)) } else { Err(()) }
    }
}

/// Hands in what came together, and waits until all of it is durable.
pub(super) fn hand_in(doors: &Doors, parts: Vec<Submission>) -> Result<Epochs, Refusal> {
    let scribe = &doors.inner()?.scribe;
    let answers = parts.into_iter().map(|part| scribe.send(part)).collect::<Result<Vec<_>, _>>()?;
    let mut epochs = Epochs::default();
    for answer in answers {
        epochs.add(answer.wait()?.epoch);
    }
    Ok(epochs)
}

#[derive(Deserialize)]
pub(super) struct Wait {
    wait: Option<String>,
}

/// 200 once everything that a submission led to is in the ledger, 202 before.
pub(super) async fn completion(
    State(doors): Shared,
    Path(token): Path<String>,
    Query(Wait { wait }): Query<Wait>,
) -> Result<Response, Refusal> {
    let unknown = |()| Refusal(StatusCode::BAD_REQUEST, format!("`{token}` is not a token that was given"));
    let epochs: Epochs = token.parse().map_err(unknown)?;
    let wait = wait.map_or(Ok(Duration::ZERO), |wait| seconds(&wait))?;
    aside(move || {
        let inner = doors.inner()?;
        if !inner.progress.wait_for(epochs.last(), wait.min(WAIT_MAX)) {
            return Ok((StatusCode::ACCEPTED, Json(json!({ "token": token, "complete": false }))).into_response());
        }
        inner.questions.catch_up();
        let Brought { duplicates, superseded, expired, changed } = doors.ledger()?.brought(&epochs.0)?;
        let counts = json!({ "token": token, "complete": true, "epoch": epochs.last(), "duplicates": duplicates, "superseded": superseded,
                             "expired": expired, "changed": changed });
        Ok(Json(counts).into_response())
    })
    .await
}

/// `5s` or `5`.
fn seconds(text: &str) -> Result<Duration, Refusal> {
    let number = text.strip_suffix('s').unwrap_or(text);
    number.parse().map(Duration::from_secs).map_err(|_| Refusal(StatusCode::BAD_REQUEST, format!("wait: `{text}` is not like 5s")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_epochs_of_what_came_and_no_others() {
        for (epochs, token) in
            [(&[][..], "0"), (&[17][..], "17"), (&[17, 17, 18, 19][..], "17-19"), (&[17, 19, 20, 21, 30][..], "17,19-21,30")]
        {
            let mut came = Epochs::default();
            epochs.iter().for_each(|epoch| came.add(*epoch));
            assert_eq!((came.to_string().as_str(), came.last()), (token, epochs.last().copied().unwrap_or(0)));
            assert_eq!(token.parse::<Epochs>().map(|read| read.to_string()), Ok(token.to_owned()));
        }
        for wrong in ["", "x", "17-", "19-17", "17,17", "17-19,18", "17,,19", "-1"] {
            assert_eq!(wrong.parse::<Epochs>(), Err(()), "{wrong}");
        }
    }
}
