//! The doors of a pipeline: HTTP on one address.
//!
//! What comes in is answered once it is durable; what goes out is read from the ledger's file, never from the engine. Bodies that are being
//! taken in are bounded together: whoever comes when there is no room is asked to come again.

mod completion;
mod connections;
mod conversation;
mod folder;
mod intake;
mod policies;
mod quarantine;
mod tokens;

pub use connections::Connections;
pub use folder::watch;
pub(crate) use quarantine::ROWS_MAX;
pub use tokens::Tokens;

use crate::commands::{available_bytes, rss_bytes};
use crate::dispatch::conversation::Stage;
use crate::intake::did_you_mean;
use crate::journal::{Own, Pausable};
use crate::ledger::{Reader, StoreFailure, Stream, View, log_bytes};
use crate::packages::{Packages, fingerprint, title};
use crate::pipeline::metrics::{AtStage, Metrics, OfRegister};
use crate::pipeline::{
    Held, Opened, Pipeline, Progress, Questions, Room, Scribe, Setup, Standing, Submission, Told, Unavailable, ledger_file,
};
use crate::sources::feed_of;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dataflows::model::{Date, Epoch};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

/// What is said where a snapshot, or a day on which everybody is looked at, might not find the memory it needs.
const MEMORY_SHORT: &str =
    "short: give the machine more, or stop what else runs on it; a stop writes a snapshot, and a start from it takes seconds";
/// The texts of a package.
const PACKAGE_BYTES_MAX: usize = 16 << 20;
/// Changes in one answer.
const CHANGES_MAX: usize = 10_000;
/// Rows of an export that are ready before somebody reads them, by the chunk.
const EXPORT_CHUNKS_AHEAD: usize = 4;
const EXPORT_CHUNK_BYTES: usize = 64 << 10;

/// What the doors know.
pub struct Doors {
    metrics: Arc<Metrics>,
    ledger_file: PathBuf,
    /// Set once the data folder is open.
    progress: OnceLock<Arc<Progress>>,
    /// Set once the pipeline has caught up.
    inner: OnceLock<Inner>,
    room: Room,
    spooling: intake::Spooling,
    tokens: Tokens,
    /// So long a body may be silent.
    silence: Duration,
    /// The last epoch in which rows of the quarantine were settled.
    settled_by: Mutex<Epoch>,
}

struct Inner {
    scribe: Scribe,
    progress: Arc<Progress>,
    questions: Questions,
    packages: Packages,
    decoders: intake::Decoders,
    mappings: intake::Mappings,
}

type Shared = State<Arc<Doors>>;

impl Doors {
    /// Of a pipeline that is set up like this. Closed until [`Doors::open`]: only measures and how far it has come are told before.
    pub fn closed(tokens: Tokens, silence: Duration, setup: &Setup) -> Arc<Doors> {
        tokens.feeds.keys().for_each(|feed| setup.metrics.expect(feed));
        Arc::new(Doors {
            metrics: setup.metrics.clone(),
            ledger_file: ledger_file(&setup.data),
            progress: OnceLock::new(),
            inner: OnceLock::new(),
            room: Room::default(),
            spooling: intake::Spooling::default(),
            tokens,
            silence,
            settled_by: Mutex::default(),
        })
    }

    /// The data folder is open: from here on is told how far its journal has been.
    pub fn show(&self, opened: &Opened) {
        assert!(self.progress.set(opened.progress.clone()).is_ok(), "a data folder is opened once");
    }

    /// The pipeline has caught up.
    pub fn open(&self, pipeline: &Pipeline) {
        let inner = Inner {
            scribe: pipeline.scribe.clone(),
            progress: pipeline.progress.clone(),
            questions: pipeline.questions.clone(),
            packages: pipeline.packages.clone(),
            decoders: intake::Decoders::default(),
            mappings: intake::Mappings::open(pipeline.questions.data()),
        };
        assert!(self.inner.set(inner).is_ok(), "doors open once");
    }

    fn inner(&self) -> Result<&Inner, Refusal> {
        self.inner.get().ok_or_else(|| Refusal(StatusCode::SERVICE_UNAVAILABLE, "still catching up with the journal".to_owned()))
    }

    /// The ledger of a pipeline that has caught up.
    fn ledger(&self) -> Result<Reader, Refusal> {
        self.inner()?;
        Ok(Reader::open(&self.ledger_file)?)
    }

    /// Room for so many bytes that come in; whoever finds none comes again.
    fn take_room(&self, bytes: usize) -> Result<Held, Refusal> {
        self.room.take(bytes).ok_or_else(|| {
            self.metrics.turned_away.inc();
            Refusal(StatusCode::TOO_MANY_REQUESTS, "no room for this body at the moment".to_owned())
        })
    }

    /// Whether what comes is taken in, or why not.
    fn readiness(&self) -> Result<(), Refusal> {
        match self.inner()?.progress.standing().trouble() {
            None => Ok(()),
            Some(failure) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, failure.to_owned())),
        }
    }
}

/// All routes.
pub fn router(doors: Arc<Doors>) -> Router {
    Router::new()
        .route("/v1/updates", post(intake::updates))
        .route("/v1/mappings", post(intake::mapping))
        .route("/v1/completion/{token}", get(completion::completion))
        .route("/v1/changes", get(changes))
        .route("/v1/cases", get(cases))
        .route("/v1/payments", get(payments))
        .route("/v1/export/decisions", get(|doors: Shared| export(doors, View::Decisions)))
        .route("/v1/export/households", get(|doors: Shared| export(doors, View::Households)))
        .route("/v1/export/categories", get(|doors: Shared| export(doors, View::Categories)))
        .route("/v1/status", get(status))
        .route("/v1/replies", post(conversation::reply).get(conversation::written_back))
        .route("/v1/receipts", get(conversation::receipt))
        .route("/v1/dispatch/live", post(conversation::live))
        .route("/v1/dispatch/block", post(conversation::block))
        .route("/v1/dispatch/release", post(conversation::release))
        .route("/v1/quarantine", post(quarantine::settle))
        .route("/v1/pause", post(pause))
        .route("/v1/policies", post(policies::propose).layer(DefaultBodyLimit::max(PACKAGE_BYTES_MAX)))
        .route("/v1/policies/{package}/difference", get(policies::difference))
        .route("/v1/policies/{package}/activate", post(policies::activate))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .layer(axum::middleware::from_fn_with_state(doors.clone(), tokens::admit))
        .with_state(doors)
}

/// An answer that is no success, with the reason as JSON.
pub(crate) struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(status, error) = self;
        let mut headers = HeaderMap::new();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        (status, headers, Json(json!({ "error": error }))).into_response()
    }
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Self {
        Refusal(StatusCode::SERVICE_UNAVAILABLE, unavailable.to_string())
    }
}

impl From<StoreFailure> for Refusal {
    fn from(failure: StoreFailure) -> Self {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, failure.to_string())
    }
}

/// Does what blocks where blocking hurts nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// From where rows are read, and how many at most: with fewer there are no more at the moment.
#[derive(Deserialize)]
struct After {
    after: Option<String>,
    limit: Option<usize>,
}

/// Changes after a token, in their order; each has its own token to go on from.
async fn changes(State(doors): Shared, Query(after): Query<After>) -> Result<Response, Refusal> {
    rows(doors, after, Stream::Changes).await
}

/// Cases for agencies after a token, opened or withdrawn.
async fn cases(State(doors): Shared, Query(after): Query<After>) -> Result<Response, Refusal> {
    rows(doors, after, Stream::Cases).await
}

/// Orders of payments after a token, with their stops and recoveries.
async fn payments(State(doors): Shared, Query(after): Query<After>) -> Result<Response, Refusal> {
    rows(doors, after, Stream::Payments).await
}

async fn rows(doors: Arc<Doors>, After { after, limit }: After, stream: Stream) -> Result<Response, Refusal> {
    let limit = limit.unwrap_or(CHANGES_MAX);
    if !(1..=CHANGES_MAX).contains(&limit) {
        return Err(Refusal(StatusCode::BAD_REQUEST, format!("limit: {limit} is not between 1 and {CHANGES_MAX}")));
    }
    aside(move || {
        let ledger = doors.ledger()?;
        let after = after.map_or(Ok(0), |token| row_of(&ledger, stream, &token))?;
        let rows = ledger.follow(stream, after, limit)?;
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
    })
    .await
}

/// The number of the row whose token somebody shows, or zero. A ledger that was restored from a backup does not have the last ones that they read, or has
/// others by now: to go on would be to miss what became of them, unseen.
fn row_of(ledger: &Reader, stream: Stream, token: &str) -> Result<i64, Refusal> {
    let number = token.split_once('-').map_or(token, |(number, _)| number).parse::<i64>().ok().filter(|number| *number >= 0);
    let is_number = token.bytes().all(|digit| digit.is_ascii_digit());
    // The beginning alone is none but a number.
    let number = number
        .filter(|number| is_number == (*number == 0))
        .ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, format!("after: `{token}` is not a token that was given")))?;
    let end = ledger.end(stream)?;
    let parted = match number {
        0 => return Ok(number),
        _ if number > end => format!("this ledger ends at {end}"),
        _ if ledger.token(stream, number)?.as_deref() == Some(token) => return Ok(number),
        _ => format!("row {number} of this ledger is another one"),
    };
    let why = "it was restored from a backup of before. Read again from a row that both you and it have, or from 0";
    Err(Refusal(StatusCode::CONFLICT, format!("after: {token}: {parted}: {why}")))
}

/// The rows of a view, of one moment of the ledger.
async fn export(State(doors): Shared, view: View) -> Result<Response, Refusal> {
    let reader = aside(move || {
        doors.inner()?.questions.catch_up();
        doors.ledger()
    })
    .await?;
    Ok(streamed(move |lines| reader.view(view, |row: Value| lines.write(&row))))
}

/// Lines on their way to whoever asked, who may be slow.
struct Lines {
    chunk: Vec<u8>,
    chunks: Sender<io::Result<Vec<u8>>>,
}

impl Lines {
    /// Whether anybody still listens.
    fn write(&mut self, row: &Value) -> bool {
        self.chunk.extend_from_slice(row.to_string().as_bytes());
        self.chunk.push(b'\n');
        self.chunk.len() < EXPORT_CHUNK_BYTES || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.chunks.blocking_send(Ok(std::mem::take(&mut self.chunk))).is_ok()
    }
}

/// An answer whose lines are written while it is read; where that fails it breaks off.
fn streamed<E: ToString>(write: impl FnOnce(&mut Lines) -> Result<(), E> + Send + 'static) -> Response {
    let (chunks, answer) = channel(EXPORT_CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut lines = Lines { chunk: Vec::with_capacity(EXPORT_CHUNK_BYTES), chunks };
        // Whoever asked may have gone.
        match write(&mut lines) {
            Ok(()) => drop(lines.flush()),
            Err(error) => drop(lines.chunks.blocking_send(Err(io::Error::other(error.to_string())))),
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(ReceiverStream::new(answer))).into_response()
}

/// In which state the pipeline is, and where: while it catches up, how far it has come with what it was told before.
async fn status(State(doors): Shared) -> Json<Value> {
    let state = match (doors.readiness(), doors.inner.get()) {
        (Ok(()), _) => "ready",
        (Err(_), None) => "catching up",
        (Err(_), Some(_)) => "failing",
    };
    let (resident, available) = (rss_bytes(), available_bytes());
    let memory = if available < resident / 4 { MEMORY_SHORT } else { "enough" };
    let mut status = doors.progress.get().map_or_else(|| json!({}), |progress| place(&progress.standing()));
    status["state"] = state.into();
    (status["resident_bytes"], status["available_bytes"], status["memory"]) = (resident.into(), available.into(), memory.into());
    Json(status)
}

fn place(standing: &Standing) -> Value {
    let told = standing.understudy.as_ref().map(Told::epoch);
    let date = (standing.date > Date::BEFORE_ALL).then(|| standing.date.to_string());
    let next = standing.packages.next.as_ref().map(|(package, from)| json!({ "package": package, "from": from.to_string(), "told": told }));
    json!({ "epoch": standing.epoch, "date": date, "live": standing.live, "texts": standing.texts, "texts_under_way": standing.texts_under_way,
            "failure": standing.trouble(), "paused": standing.paused, "policy": title(&standing.policy), "package": fingerprint(&standing.policy), "next_package": next })
}

#[derive(Deserialize)]
struct Pause {
    #[serde(flatten)]
    what: Pausable,
    paused: bool,
}

/// A feed, or texts about a benefit or of a kind, wait until they may go on. What is paused may always go on, also where it is known no more.
async fn pause(State(doors): Shared, Json(Pause { what, paused }): Json<Pause>) -> Result<Json<Value>, Refusal> {
    let inner = doors.inner()?;
    if paused || !inner.progress.standing().paused.contains(&what) {
        is_there(&what, &inner.questions.pausable(), &doors.tokens.feeds()).map_err(|what| Refusal(StatusCode::BAD_REQUEST, what))?;
    }
    submit(doors, Own::Paused { what, paused }).await
}

/// Whether there is what somebody would pause: one file of a feed is there where the feed is.
fn is_there(what: &Pausable, known: &BTreeSet<Pausable>, feeds: &[&str]) -> Result<(), String> {
    let name = what.name();
    match what {
        Pausable::Feed(_) if feeds.contains(&feed_of(name)) => Ok(()),
        Pausable::Feed(_) => {
            let hint = did_you_mean(name, feeds.iter().copied());
            Err(format!("there is no feed `{name}`{hint}: the feeds are {}", feeds.join(", ")))
        }
        _ if known.contains(what) => Ok(()),
        _ => Err(format!("`{name}` is not known{}", did_you_mean(name, known.iter().map(Pausable::name)))),
    }
}

async fn submit(doors: Arc<Doors>, own: Own) -> Result<Json<Value>, Refusal> {
    let epoch = aside(move || Ok(doors.inner()?.scribe.submit(Submission::of_own(own))?.epoch)).await?;
    Ok(Json(json!({ "epoch": epoch, "token": epoch.to_string() })))
}

/// All measures in the text format of Prometheus.
async fn metrics(State(doors): Shared) -> Result<Response, Refusal> {
    aside(move || {
        let metrics = &doors.metrics;
        metrics.ready.set(i64::from(doors.readiness().is_ok()));
        // A ledger that is not there yet, or is of an older form and about to be written anew, says nothing.
        if let Ok(waiting) = Reader::open(&doors.ledger_file).and_then(|ledger| ledger.waiting()) {
            metrics.quarantine.set(waiting as i64);
        }
        if let Ok(inner) = doors.inner() {
            measure(metrics, &inner.progress.standing());
        }
        metrics.ledger_log_bytes.set(log_bytes(&doors.ledger_file) as i64);
        metrics.resident_bytes.set(rss_bytes() as i64);
        metrics.available_bytes.set(available_bytes() as i64);
        metrics.bodies_bytes.set(doors.room.taken() as i64);
        Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.text()).into_response())
    })
    .await
}

/// What is measured of where a pipeline stands, once that is now.
fn measure(metrics: &Metrics, standing: &Standing) {
    for &(register, heard) in standing.heard.iter().filter(|_| standing.date > Date::BEFORE_ALL) {
        let register = OfRegister { register: standing.schema.registers[usize::from(register)].id.clone() };
        metrics.unheard_days.get_or_create(&register).set(i64::from(standing.date.0 - heard.0).max(0));
    }
    for (stage, offers) in Stage::NAMES.iter().zip(&standing.offers) {
        metrics.offers.get_or_create(&AtStage { stage: (*stage).to_owned() }).set(*offers as i64);
    }
    metrics.measure_lags(standing.date);
}

async fn healthy() -> &'static str {
    "ok"
}

async fn ready(State(doors): Shared) -> Result<&'static str, Refusal> {
    doors.readiness().map(|()| "ready")
}
