//! The door for updates: a body of lines, answered once they are durable.

use super::completion::hand_in;
use super::tokens::Name;
use super::{Doors, Refusal, Shared, aside};
use crate::intake::{Intake, Schema, did_you_mean};
use crate::journal::disk::write_whole;
use crate::pipeline::{BULKY_BYTES, Gathering, Held, Reading, Submission, mappings_folder};
use crate::sources::mapping::parse;
use crate::sources::{Counts, MAX_SHRINK, Section, Snapshot, file_of, section_for};
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use dataflows::model::Date;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use xxhash_rust::xxh3::xxh3_128;

/// The longest body that is held in memory.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;
/// The longest of all: it waits in a file until it is read, and becomes one epoch.
const SPOOLED_BYTES_MAX: u64 = 16 << 30;
/// A body of so many lines' bytes is worth a thread of its own for half of it.
const HALVED_BYTES: usize = 256 << 10;
/// What is unpacked, or comes from a file, takes as much at most before it goes to a file: what it says, as entries and as the house reads them.
const UNPACKED_BYTES: usize = 2 * BULKY_BYTES;

/// The leave to have a body, and what it says, in files: one has it at a time, and whoever comes next waits.
pub(super) struct Spooling(Arc<Semaphore>);

impl Default for Spooling {
    fn default() -> Self {
        Spooling(Arc::new(Semaphore::new(1)))
    }
}

type Leave = Option<OwnedSemaphorePermit>;

impl Spooling {
    async fn leave(&self) -> OwnedSemaphorePermit {
        self.0.clone().acquire_owned().await.expect("it is never closed")
    }
}

/// Decoders that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Decoders {
    idle: Mutex<Vec<Intake>>,
}

impl Decoders {
    /// Reads by this schema.
    pub fn with<T>(&self, schema: Arc<Schema>, work: impl FnOnce(&mut Intake) -> T) -> T {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut intake = idle.filter(|idle| Arc::ptr_eq(idle.schema(), &schema)).unwrap_or_else(|| Intake::journalling(schema));
        let done = work(&mut intake);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(intake);
        done
    }

    /// Every line of a body; the halves of a long one are read side by side, and told in their order.
    fn read(&self, schema: &Arc<Schema>, feed: &str, lines: &[u8]) -> Vec<Submission> {
        let read = |first, lines: &[u8]| self.with(schema.clone(), |intake| Submission::read(intake, feed, first, lines));
        let is_end = |byte: &u8| *byte == b'\n';
        let middle = if lines.len() < HALVED_BYTES { lines.len() } else { lines.len() / 2 };
        let (half, rest) = lines.split_at(middle + lines[middle..].iter().position(is_end).map_or(lines.len() - middle, |end| end + 1));
        if rest.is_empty() {
            return read(1, half);
        }
        let (mut parts, rest) = std::thread::scope(|scope| {
            let rest = scope.spawn(|| read(half.split(is_end).count() as u64, rest));
            (read(1, half), rest.join().expect("what cannot be read is refused"))
        });
        for part in rest {
            match parts.last_mut().filter(|_| !part.dated) {
                Some(last) => last.append(part),
                None => parts.push(part),
            }
        }
        parts
    }
}

/// How a body is to be read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// It is a table, read through this mapping, which [`mapping`] took in.
    mapping: Option<String>,
    /// It is all that there is of this register.
    snapshot: Option<String>,
    /// The share of what is held that may vanish by that.
    max_shrink: Option<f64>,
}

/// `POST /v1/updates`.
pub(super) async fn updates(
    State(doors): Shared,
    Query(how): Query<How>,
    Extension(Name(name)): Extension<Name>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let wanted = match wanted(&doors, &headers, name) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            drain(body, doors.silence).await;
            return Err(refusal);
        }
    };
    let (body, leave) = arrive(&doors, wanted.announced, body).await?;
    aside(move || take(&doors, &how, wanted, body, leave)).await
}

/// A body that has come.
enum Arrived {
    Whole(Vec<u8>),
    /// In a file that nobody else sees.
    Spooled(File),
}

/// What comes next of a body. Whoever sends nothing for long is not waited for: others want the room.
async fn next(chunks: &mut BodyDataStream, silence: Duration) -> Result<Option<Bytes>, Refusal> {
    let silent = |_| Refusal(StatusCode::REQUEST_TIMEOUT, format!("body: nothing of it came for {} s", silence.as_secs()));
    let broken = |error: axum::Error| Refusal(StatusCode::BAD_REQUEST, format!("body: {error}"));
    timeout(silence, chunks.next()).await.map_err(silent)?.transpose().map_err(broken)
}

/// Takes in a body; what is too much for memory goes to a file.
async fn arrive(doors: &Arc<Doors>, announced: usize, body: Body) -> Result<(Arrived, Leave), Refusal> {
    // Known from the start, it need not grow.
    let (mut chunks, mut whole) = (body.into_data_stream(), Vec::with_capacity(announced.min(BODY_BYTES_MAX)));
    while let Some(chunk) = next(&mut chunks, doors.silence).await? {
        whole.extend_from_slice(&chunk);
        if whole.len() > BODY_BYTES_MAX {
            let leave = doors.spooling.leave().await;
            let mut file = doors.inner()?.questions.nameless_file().map_err(no_room_on_disk)?;
            let mut bytes = 0;
            loop {
                tokio::task::block_in_place(|| file.write_all(&whole)).map_err(no_room_on_disk)?;
                bytes += whole.len() as u64;
                if bytes > SPOOLED_BYTES_MAX {
                    return Err(too_long());
                }
                match next(&mut chunks, doors.silence).await? {
                    Some(chunk) => whole = chunk.to_vec(),
                    None => break,
                }
            }
            file.rewind().map_err(no_room_on_disk)?;
            return Ok((Arrived::Spooled(file), Some(leave)));
        }
    }
    Ok((Arrived::Whole(whole), None))
}

fn no_room_on_disk(error: io::Error) -> Refusal {
    Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("no room on disk for this body: {error}"))
}

fn too_long() -> Refusal {
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {SPOOLED_BYTES_MAX} bytes"))
}

/// `POST /v1/mappings`: a mapping, checked under the policy in force, and the name under which it is known from here on.
pub(super) async fn mapping(State(doors): Shared, text: String) -> Result<Json<Value>, Refusal> {
    aside(move || {
        let inner = doors.inner()?;
        parse(&inner.progress.schema(), &text).map_err(|what| Refusal(StatusCode::BAD_REQUEST, what))?;
        let name = format!("{:032x}", xxh3_128(text.as_bytes()));
        inner.mappings.keep(&name, &text).map_err(|error| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
        Ok(Json(json!({ "mapping": name })))
    })
    .await
}

/// Mappings that were posted, each a file.
pub(super) struct Mappings(PathBuf);

impl Mappings {
    pub fn open(data: &Path) -> Mappings {
        Mappings(mappings_folder(data))
    }

    fn keep(&self, name: &str, text: &str) -> io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        write_whole(&self.path(name), text.as_bytes())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.toml"))
    }

    /// The section that serves a body of this name.
    pub fn section(&self, mapping: &str, schema: &Schema, name: &str) -> Result<Arc<Section>, String> {
        let is_name = !mapping.is_empty() && mapping.bytes().all(|letter| letter.is_ascii_hexdigit());
        let text = std::fs::read_to_string(self.path(mapping)).ok().filter(|_| is_name);
        let text = text.ok_or_else(|| format!("mapping: `{mapping}` is not known: POST it to /v1/mappings"))?;
        // A mapping knows files by what their feeds call them.
        let section = section_for(file_of(name), &parse(schema, &text)?).map_err(|what| format!("feed {name}: {what}"))?;
        section.ok_or_else(|| format!("feed {name}: no section of the mapping serves this file"))
    }
}

/// Reads what nobody wants: whoever is still sending when the connection closes never hears why.
pub(super) async fn drain(body: Body, silence: Duration) {
    let (mut chunks, mut left) = (body.into_data_stream(), BODY_BYTES_MAX);
    while let Ok(Some(chunk)) = next(&mut chunks, silence).await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

/// A body that may come in.
struct Wanted {
    encoding: String,
    name: String,
    /// How many bytes it has, as far as its sender says.
    announced: usize,
    /// Held until the engine has it.
    room: Held,
}

fn wanted(doors: &Doors, headers: &HeaderMap, name: String) -> Result<Wanted, Refusal> {
    let inner = doors.inner()?;
    let standing = inner.progress.standing();
    if let Some(failure) = &standing.failure {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, failure.clone()));
    }
    // Before room is taken for a body that is not wanted now.
    if standing.is_paused(&name) {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("feed {name} is paused")));
    }
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes as u64 > SPOOLED_BYTES_MAX) {
        return Err(too_long());
    }
    let bytes = announced.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
    let room = doors.take_room(if is_plain(&encoding) { bytes } else { bytes.max(UNPACKED_BYTES) })?;
    Ok(Wanted { encoding, name, announced: announced.unwrap_or(0), room })
}

fn take(
    doors: &Arc<Doors>,
    how: &How,
    Wanted { encoding, name, mut room, .. }: Wanted,
    body: Arrived,
    mut leave: Leave,
) -> Result<Json<Value>, Refusal> {
    let (encoding, name) = (encoding.as_str(), name.as_str());
    let (inner, bad) = (doors.inner()?, |what: String| Refusal(StatusCode::BAD_REQUEST, what));
    let schema = inner.progress.schema();
    let section = how.mapping.as_ref().map(|mapping| inner.mappings.section(mapping, &schema, name)).transpose().map_err(bad)?;
    let register = how.snapshot.as_ref().map(|id| register(&schema, id)).transpose().map_err(bad)?;
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull => no_room_on_disk(error),
        _ => bad(format!("body: {error}")),
    };
    let (mut parts, dumped) = match (body, register) {
        (Arrived::Whole(lines), None) if section.is_none() && is_plain(encoding) => {
            room.shrink(lines.len());
            (inner.decoders.read(&schema, name, &lines), None)
        }
        (body, register) => {
            let mut make_file = || {
                leave.get_or_insert_with(|| Handle::current().block_on(doors.spooling.leave()));
                inner.questions.nameless_file()
            };
            let mut reading = Reading::new(unpacked(encoding, &body).map_err(broken)?, name, section);
            let read = inner.decoders.with(schema, |intake| match register {
                None => Ok((reading.all(intake, &mut make_file).map_err(broken)?, None)),
                Some(register) => dump(doors, register, how.max_shrink, &mut reading, intake, Gathering::new(&mut make_file), broken),
            })?;
            room.shrink(UNPACKED_BYTES);
            read
        }
    };
    let count = |each: fn(&Submission) -> u64| parts.iter().map(each).sum::<u64>();
    let (accepted, quarantined) = (count(|part| part.accepted), count(|part| part.quarantined));
    let newest = parts.iter().map(|part| part.newest).max().unwrap_or(Date::BEFORE_ALL);
    // With what comes last: whatever came before has been taken in by then.
    if let Some(last) = parts.last_mut() {
        last.room = Some(room);
    }
    let epochs = hand_in(doors, parts)?;
    doors.metrics.fed(name, (accepted, quarantined), newest);
    let mut row = json!({ "epoch": epochs.last(), "accepted": accepted, "quarantined": quarantined, "token": epochs.to_string() });
    if let Some(counts) = dumped {
        row["snapshot"] = json!(counts);
    }
    Ok(Json(row))
}

/// A full dump of a register against what is held of it: one epoch of what differs.
fn dump<R: Read>(
    doors: &Arc<Doors>,
    register: u16,
    max_shrink: Option<f64>,
    reading: &mut Reading<R>,
    intake: &mut Intake,
    mut gathering: Gathering<'_>,
    broken: impl Fn(io::Error) -> Refusal,
) -> Result<(Vec<Submission>, Option<Counts>), Refusal> {
    let held = doors.inner()?.questions.ask(move |engine, _| engine.held(register).collect::<Vec<_>>());
    let held = held.ok_or_else(|| Refusal(StatusCode::SERVICE_UNAVAILABLE, "the pipeline is stopping".to_owned()))?;
    let mut snapshot = Snapshot::new(intake.schema().clone(), register, held);
    reading.difference(intake, &mut snapshot, &mut gathering).map_err(&broken)?;
    let (absences, heard) = snapshot
        .absences(max_shrink.unwrap_or(MAX_SHRINK))
        .map_err(|refusal| Refusal(StatusCode::CONFLICT, format!("{refusal} (max_shrink)")))?;
    let mut absent = Submission::of_absent(intake.schema(), register, &absences, heard);
    absent.try_for_each(|part| gathering.add(part)).map_err(&broken)?;
    Ok((gathering.finish().map_err(&broken)?, Some(snapshot.counts())))
}

fn register(schema: &Schema, id: &str) -> Result<u16, String> {
    let known = schema.registers.iter().map(|register| register.id.as_str());
    schema.register(id).ok_or_else(|| format!("snapshot: unknown register `{id}`{}", did_you_mean(id, known)))
}

fn is_plain(encoding: &str) -> bool {
    matches!(encoding, "" | "identity")
}

/// A body's lines.
fn unpacked<'a>(encoding: &str, body: &'a Arrived) -> io::Result<Box<dyn Read + 'a>> {
    let packed: Box<dyn Read + 'a> = match body {
        Arrived::Whole(bytes) => Box::new(bytes.as_slice()),
        Arrived::Spooled(file) => Box::new(file),
    };
    let reader: Box<dyn Read + 'a> = match encoding {
        _ if is_plain(encoding) => return Ok(packed),
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        "zstd" => Box::new(zstd::Decoder::new(packed)?),
        other => return Err(io::Error::other(format!("content-encoding `{other}` is neither gzip nor zstd"))),
    };
    Ok(Box::new(Limited { reader, left: SPOOLED_BYTES_MAX }))
}

/// What may be unpacked, which little may become: beyond, it is an error.
struct Limited<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::other(format!("unpacked longer than {SPOOLED_BYTES_MAX} bytes")))?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::load_package;
    use std::fmt::Write as _;

    /// Dates, lines that are refused and a last line without an end fall into either half.
    #[test]
    fn halves_that_are_read_side_by_side_say_what_the_whole_says() {
        let package = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message));
        let schema = Arc::new(Schema::from(&*package.policy));
        let beat = |key: &str, line: usize, day: usize| {
            let register = if key == "today" { "calendar" } else { "heartbeat" };
            format!(r#"{{"register":"{register}","key":"{key}","seq":{line},"op":"upsert","data":{{"date":"2026-01-{day:02}"}}}}"#)
        };
        let heard = package.policy.registers[0].id.as_str();
        let mut body = String::new();
        for line in 1..=4_000 {
            let said = match line {
                _ if line % 700 == 0 => beat("today", line, line / 700),
                _ if line % 90 == 0 => "{".to_owned(),
                _ => beat(heard, line, 1 + line % 28),
            };
            writeln!(body, "{said}").unwrap();
        }
        let told = |parts: Vec<Submission>| {
            let part = |part: Submission| (part.dated, part.accepted, part.items.len(), part.refused, part.entries.to_vec());
            parts.into_iter().map(part).collect::<Vec<_>>()
        };
        for length in [body.len(), body.len() - 1, body.len() - 500, HALVED_BYTES, HALVED_BYTES - 1] {
            let body = &body.as_bytes()[..length];
            let whole = told(Submission::read(&mut Intake::journalling(schema.clone()), "feed", 1, body));
            assert!(whole.len() > 3 && whole.iter().any(|(.., refused, _)| refused.len() > 4));
            assert_eq!(told(Decoders::default().read(&schema, "feed", body)), whole);
        }
        // One line, however long, has no halves.
        let line = vec![b'x'; 2 * HALVED_BYTES];
        assert_eq!(told(Decoders::default().read(&schema, "feed", &line)).len(), 1);
    }

    #[test]
    fn what_becomes_too_long_is_an_error() {
        let read = |left| {
            let mut bytes = Vec::new();
            Limited { reader: &[7; 10][..], left }.read_to_end(&mut bytes).map(|_| bytes.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read(10), Ok(10));
        assert_eq!(read(9), Err(format!("unpacked longer than {SPOOLED_BYTES_MAX} bytes")));
    }
}
