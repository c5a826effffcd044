//! The doors for policies: a package is proposed, compared with the one in force, and activated, while the stream goes on.

use super::{Refusal, Shared, aside};
use crate::packages::{fingerprint, title};
use crate::pipeline::{Difference, propose as keep};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dataflows::model::Date;
use serde::Deserialize;
use serde_json::{Value, json};
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

/// Who would gain and lose by a package: a row a change, and at the end what was compared.
pub(super) async fn difference(State(doors): Shared, Path(package): Path<String>) -> Result<Response, Refusal> {
    let difference = aside(move || {
        let inner = doors.inner()?;
        inner.questions.compare(&inner.packages, &package).map_err(bad)
    });
    let Difference { epoch, date, before, now, rows } = difference.await?;
    let mut lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let compared =
        json!({ "epoch": epoch, "date": date.to_string(), "in_force": title(&before), "compared": title(&now), "people": rows.len() });
    lines += &format!("{compared}\n");
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from(lines)).into_response())
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
