//! Doors of the conversation: what people write back and what became of texts, as gateways tell it; and what operators say about who is written to.

use super::{Doors, Refusal, Shared, aside, submit};
use crate::journal::{Own, ReleasedRight};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use dataflows::model::PersonId;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Rights that are released at a time, if nobody says how many, and at most.
const RELEASED: usize = 1_000;
const RELEASED_MAX: usize = 20_000;

#[derive(Deserialize)]
pub(super) struct Incoming {
    /// The network's name for the reply, the same when it delivers twice.
    id: String,
    phone: String,
    text: String,
}

fn bad(field: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, format!("{field}: not as expected"))
}

fn digits(phone: &str) -> Result<u64, Refusal> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    digits.parse().map_err(|_| bad("phone"))
}

/// What somebody wrote back: a network of our own kind names it with 32 hexadecimal digits at most, others as they like.
pub(super) async fn reply(State(doors): Shared, Json(Incoming { id, phone, text }): Json<Incoming>) -> Result<Json<Value>, Refusal> {
    if id.is_empty() {
        return Err(bad("id"));
    }
    let id = u128::from_str_radix(&id, 16).unwrap_or_else(|_| xxh3_128(id.as_bytes()));
    submit(doors, Own::reply(id, digits(&phone)?, text)).await
}

/// The same, as an address that a gateway of others asks for; nothing is to be sent back.
pub(super) async fn written_back(doors: Shared, Query(incoming): Query<Incoming>) -> Result<&'static str, Refusal> {
    reply(doors, Json(incoming)).await.map(|_| "")
}

#[derive(Deserialize)]
pub(super) struct Receipt {
    /// Ours.
    message: String,
    /// As Kannel counts (1 delivered, 2 not, 16 refused; others are not the end), or as message centres write.
    status: String,
}

/// What became of a text, as a gateway of others tells it.
pub(super) async fn receipt(State(doors): Shared, Query(Receipt { message, status }): Query<Receipt>) -> Result<&'static str, Refusal> {
    let message = u128::from_str_radix(&message, 16).map_err(|_| bad("message"))?;
    let delivered = match status.to_ascii_uppercase().as_str() {
        "1" | "DELIVRD" | "DELIVERED" => true,
        "2" | "16" | "UNDELIV" | "EXPIRED" | "REJECTD" | "DELETED" | "FAILED" => false,
        _ => return Ok(""),
    };
    submit(doors, Own::Receipt { message, delivered }).await.map(|_| "")
}

/// From here on people are written to.
pub(super) async fn live(State(doors): Shared) -> Result<Json<Value>, Refusal> {
    submit(doors, Own::Live).await
}

#[derive(Deserialize)]
pub(super) struct Block {
    phone: String,
    blocked: bool,
}

/// Nobody is written to at a number, or again.
pub(super) async fn block(State(doors): Shared, Json(Block { phone, blocked }): Json<Block>) -> Result<Json<Value>, Refusal> {
    submit(doors, Own::Blocked { phone: digits(&phone)?, blocked }).await
}

#[derive(Deserialize)]
pub(super) struct Release {
    benefit: String,
    region: Option<String>,
    limit: Option<usize>,
}

/// A wave: so many rights of the baseline are written about from here on.
pub(super) async fn release(State(doors): Shared, Json(release): Json<Release>) -> Result<Json<Value>, Refusal> {
    let rights = aside({
        let doors = doors.clone();
        move || chosen(&doors, &release)
    })
    .await?;
    let released = rights.len();
    let mut answer = if rights.is_empty() { Json(json!({})) } else { submit(doors, Own::Released { rights }).await? };
    answer["released"] = released.into();
    Ok(answer)
}

fn chosen(doors: &Arc<Doors>, Release { benefit, region, limit }: &Release) -> Result<Vec<ReleasedRight>, Refusal> {
    let inner = doors.inner()?;
    let standing = inner.progress.standing();
    if !standing.live {
        return Err(Refusal(
            StatusCode::CONFLICT,
            "nobody is written to yet: what holds becomes the baseline with `dispatch live`".to_owned(),
        ));
    }
    if standing.policy.benefit(benefit).is_none() {
        let hint = crate::intake::did_you_mean(benefit, standing.policy.benefits.iter().map(|benefit| benefit.id.as_str()));
        return Err(Refusal(StatusCode::BAD_REQUEST, format!("benefit: there is no `{benefit}`{hint}")));
    }
    let mut rights = doors.ledger()?.baseline(benefit)?;
    if let Some(region) = region {
        let person = |right: &ReleasedRight| standing.policy.person.parse(&right.person).ok();
        let people: BTreeSet<PersonId> = rights.iter().filter_map(person).collect();
        let failed = |error: &dyn std::fmt::Display| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        let mut moment = inner.questions.moment().map_err(|failure| failed(&failure))?;
        let regions = moment.regions(people).map_err(|error| failed(&error))?;
        rights.retain(|right| person(right).and_then(|person| regions.get(&person)) == Some(region));
    }
    rights.truncate(limit.unwrap_or(RELEASED).min(RELEASED_MAX));
    Ok(rights)
}
