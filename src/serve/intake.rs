//! The door for updates: a body of lines, answered once they are durable.

use super::tokens::FEED;
use super::{Doors, Refusal, Shared, aside};
use crate::intake::{Intake, Schema};
use crate::journal::Pausable;
use crate::pipeline::Submission;
use crate::pipeline::metrics::OfFeed;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt;

/// The longest body, as it comes and unpacked.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of bodies that are taken in at a time.
const ROOM_BYTES: usize = 256 << 20;
/// Room is given by this unit.
const ROOM_UNIT: usize = 4 << 10;

/// Room for bodies.
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT)))
    }
}

impl Room {
    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        ROOM_BYTES - self.0.available_permits() * ROOM_UNIT
    }
}

/// Decoders that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Decoders {
    idle: Mutex<Vec<Intake>>,
}

impl Decoders {
    /// Reads by this schema.
    fn with<T>(&self, schema: Arc<Schema>, work: impl FnOnce(&mut Intake) -> T) -> T {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut intake = idle.filter(|idle| Arc::ptr_eq(idle.schema(), &schema)).unwrap_or_else(|| Intake::journalling(schema));
        let done = work(&mut intake);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(intake);
        done
    }
}

/// `POST /v1/updates`.
pub(super) async fn updates(State(doors): Shared, headers: HeaderMap, body: Body) -> Result<Json<Value>, Refusal> {
    let Wanted { encoding, feed, room } = match wanted(&doors, &headers) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            drain(body).await;
            return Err(refusal);
        }
    };
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("body: {error}")))?;
    aside(move || {
        let _room = room;
        take(&doors, &encoding, &feed, &body)
    })
    .await
}

/// Reads what nobody wants: whoever is still sending when the connection closes never hears why.
pub(super) async fn drain(body: Body) {
    let (mut chunks, mut left) = (body.into_data_stream(), BODY_BYTES_MAX);
    while let Some(Ok(chunk)) = chunks.next().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

/// A body that may come in.
struct Wanted {
    encoding: String,
    feed: String,
    room: OwnedSemaphorePermit,
}

fn wanted(doors: &Doors, headers: &HeaderMap) -> Result<Wanted, Refusal> {
    let inner = doors.inner()?;
    let standing = inner.progress.standing();
    if let Some(failure) = standing.failure {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, failure));
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (encoding, feed) = (text(header::CONTENT_ENCODING.as_str()), text(FEED));
    let feed = if feed.is_empty() { "http".to_owned() } else { feed };
    // Before room is taken for a body that is not wanted now.
    if standing.paused.contains(&Pausable::Feed(feed.clone())) {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("feed {feed} is paused")));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let too_long = || Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {BODY_BYTES_MAX} bytes"));
    let bytes = announced.unwrap_or(BODY_BYTES_MAX);
    if bytes > BODY_BYTES_MAX {
        return Err(too_long());
    }
    let room = doors.room.0.clone().try_acquire_many_owned(bytes.div_ceil(ROOM_UNIT).max(1) as u32);
    let room = room.map_err(|_| {
        inner.metrics.turned_away.inc();
        Refusal(StatusCode::TOO_MANY_REQUESTS, "no room for this body at the moment".to_owned())
    })?;
    Ok(Wanted { encoding, feed, room })
}

fn take(doors: &Arc<Doors>, encoding: &str, feed: &str, body: &[u8]) -> Result<Json<Value>, Refusal> {
    let inner = doors.inner()?;
    let lines = unpacked(encoding, body).map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("body: {error}")))?;
    let parts = inner.decoders.with(inner.progress.schema(), |intake| Submission::read(intake, feed, 1, lines.as_deref().unwrap_or(body)));
    let count = |each: fn(&Submission) -> usize| parts.iter().map(each).sum::<usize>();
    let (accepted, quarantined) = (count(|part| part.items.len()), count(|part| part.refused.len()));
    let of_feed = OfFeed { feed: feed.to_owned() };
    inner.metrics.accepted.get_or_create(&of_feed).inc_by(accepted as u64);
    inner.metrics.refused.get_or_create(&of_feed).inc_by(quarantined as u64);
    let answers = parts.into_iter().map(|part| inner.scribe.send(part)).collect::<Result<Vec<_>, _>>()?;
    let mut epoch = 0;
    for answer in answers {
        epoch = answer.wait()?.epoch;
    }
    Ok(Json(json!({ "epoch": epoch, "accepted": accepted, "quarantined": quarantined, "token": epoch.to_string() })))
}

/// The body's lines, if it was packed.
fn unpacked(encoding: &str, body: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let reader: Box<dyn Read + '_> = match encoding {
        "" | "identity" => return Ok(None),
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "zstd" => Box::new(zstd::Decoder::new(body)?),
        other => return Err(io::Error::other(format!("content-encoding `{other}` is neither gzip nor zstd"))),
    };
    let mut lines = Vec::new();
    reader.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut lines)?;
    if lines.len() > BODY_BYTES_MAX {
        return Err(io::Error::other(format!("unpacked longer than {BODY_BYTES_MAX} bytes")));
    }
    Ok(Some(lines))
}
