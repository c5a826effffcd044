//! The doors for policies: a package is proposed, compared with the one in force, and activated, while the stream goes on.

use super::{Refusal, Shared, aside, streamed};
use crate::packages::{fingerprint, title};
use crate::pipeline::{Compared, propose as keep};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use dataflows::model::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::fmt::Display;

/// The texts of a package: names and contents of its files.
#[derive(Deserialize)]
pub(super) struct Proposed {
    texts: Vec<(String, String)>,
}

/// Keeps a package, if it is well and may take the place of the one in force.
pub(super) async fn propose(State(doors): Shared, Json(Proposed { texts }): Json<Proposed>) -> Result<Json<Value>, Refusal> {
    aside(move || {
        let inner = doors.inner()?;
        let in_force = inner.progress.standing().policy;
        let package = keep(&inner.packages, texts, &in_force).map_err(bad)?;
        Ok(Json(json!({ "package": fingerprint(&package.policy), "policy": title(&package.policy) })))
    })
    .await
}

/// Who would gain and lose by a package: a row a change as it is found, and at the end what was compared, or why that could not be done.
pub(super) async fn difference(State(doors): Shared, Path(package): Path<String>) -> Result<Response, Refusal> {
    let questioned = aside(move || {
        let inner = doors.inner()?;
        let policy = inner.packages.load(&package).map_err(bad)?.policy;
        Ok((inner.questions.clone(), policy))
    });
    let (questions, policy) = questioned.await?;
    Ok(streamed(move |lines| {
        let compared = questions.compare(&policy, |row| {
            lines.write(&row);
        });
        let end = match compared {
            Ok(Compared { epoch, date, before, now, rights, retold }) => {
                json!({ "epoch": epoch, "date": date.to_string(), "in_force": title(&before), "compared": title(&now), "rights": rights, "retold": retold })
            }
            Err(failure) => json!({ "failed": failure.to_string() }),
        };
        lines.write(&end);
        Ok::<(), Infallible>(())
    }))
}

#[derive(Deserialize)]
pub(super) struct From {
    from: String,
}

/// Brings a package into force from a date on.
pub(super) async fn activate(
    State(doors): Shared,
    Path(package): Path<String>,
    Json(From { from }): Json<From>,
) -> Result<Json<Value>, Refusal> {
    let from = Date::parse(&from).ok_or_else(|| bad(format!("from: `{from}` is not a date of the form YYYY-MM-DD")))?;
    let activated = aside(move || {
        let inner = doors.inner()?;
        inner.questions.activate(&inner.scribe, &package, from).map_err(bad)
    });
    let epoch = activated.await?;
    Ok(Json(json!({ "epoch": epoch, "token": epoch.to_string() })))
}

fn bad(reason: impl Display) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason.to_string())
}
