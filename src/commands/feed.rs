//! `shanyraq feed`: files of updates to a pipeline.

use super::Failure;
use crate::sources::{Block, Piece, blocks_of_lines, is_ndjson, open};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

/// About how many bytes of lines travel together.
const BODY_BYTES: usize = 2 << 20;
/// How many of them wait to be sent.
const PIECES_AHEAD: usize = 2;
/// So much of a table or a full dump is read at a time to know it by.
const READ_BYTES: usize = 128 << 10;
/// Between attempts, while the pipeline has no room or is not there.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS_MAX: u32 = 240;
/// Where a token is found, so that it is in no list of processes.
const TOKEN: &str = "SHANYRAQ_TOKEN";

/// Sends files to a pipeline, in their order: updates (NDJSON), tables through a mapping, full dumps; plain, gzip or zstd. A token is taken from
/// SHANYRAQ_TOKEN.
#[derive(Args, Clone, Debug)]
pub struct FeedArguments {
    /// Files of updates or tables.
    #[arg(required = true, num_args = 1..)]
    pub paths: Vec<PathBuf>,
    /// The pipeline.
    #[arg(long, default_value = "http://127.0.0.1:7117")]
    pub to: String,
    /// A mapping for those of the files that are no NDJSON. Each of them becomes one epoch.
    #[arg(long)]
    pub map: Option<PathBuf>,
    /// The files say all that there is of this register: what they lack is deleted. Each becomes one epoch.
    #[arg(long)]
    pub snapshot: Option<String>,
    /// The share of what is held that may vanish by a full dump; 1 confirms anything [default: 0.02].
    #[arg(long, requires = "snapshot")]
    pub max_shrink: Option<f64>,
    /// A file that remembers how far this feed came: with it, a feed that was broken off goes on where it was. A file that no longer begins with what was
    /// acknowledged of it is sent from its beginning.
    #[arg(long)]
    pub resume: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What became of what was sent.
#[derive(Default)]
struct Sent {
    accepted: u64,
    quarantined: u64,
    /// What is too long, or cannot be read, to be sent.
    left_out: u64,
    last_token: String,
    tokens: BTreeSet<String>,
    /// What full dumps said, by file.
    dumps: serde_json::Map<String, Value>,
}

/// Sends everything, waiting while the pipeline cannot take it. What is sent twice is known already, so a feed that was broken off is simply
/// sent again.
pub fn feed(arguments: &FeedArguments) -> Result<(), Failure> {
    let (mut sent, mut progress) = (Sent::default(), Progress::read(arguments.resume.as_deref())?);
    for path in &arguments.paths {
        match arguments.snapshot.is_none() && (arguments.map.is_none() || is_ndjson(&name_of(path))) {
            true => send_lines(&arguments.to, path, &mut sent, &mut progress)?,
            false => send_whole(arguments, path, &mut sent, &mut progress)?,
        }
    }
    let (mut summary, known) = (serde_json::Map::new(), known(&arguments.to, &sent.tokens)?);
    summary.insert("accepted".to_owned(), sent.accepted.into());
    ["duplicates", "superseded", "expired", "changed"]
        .into_iter()
        .zip(known)
        .for_each(|(name, count)| drop(summary.insert(name.to_owned(), count.into())));
    summary.insert("quarantined".to_owned(), sent.quarantined.into());
    summary.insert("left_out".to_owned(), sent.left_out.into());
    if !sent.dumps.is_empty() {
        summary.insert("snapshots".to_owned(), sent.dumps.into());
    }
    summary.insert("token".to_owned(), sent.last_token.into());
    match arguments.json {
        true => println!("{}", Value::Object(summary)),
        false => summary.iter().for_each(|(name, value)| println!("{name:>12}  {value}")),
    }
    match (sent.accepted, sent.quarantined + sent.left_out) {
        (0, 1..) => Err(Failure::rejected("every line was refused: the pipeline's quarantine tells why".to_owned())),
        _ => Ok(()),
    }
}

/// What the pipeline knew already of what came in the epochs of these tokens, and what it led to. Others may have sent in the same epochs.
fn known(to: &str, tokens: &BTreeSet<String>) -> Result<[u64; 4], Failure> {
    let mut sums = [0; 4];
    for token in tokens {
        let row = wait_for(to, token)?;
        for (sum, name) in sums.iter_mut().zip(["duplicates", "superseded", "expired", "changed"]) {
            *sum += row[name].as_u64().unwrap_or(0);
        }
    }
    Ok(sums)
}

/// How far a feed came, file by file.
struct Progress<'a> {
    file: Option<&'a Path>,
    acknowledged: BTreeMap<PathBuf, Acknowledged>,
}

/// What was acknowledged of a file: its name alone says nothing, since tomorrow's may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Acknowledged {
    /// Unpacked, and without what was left out.
    bytes: u64,
    hash: String,
    /// The words with which a table or a full dump was sent; nothing where it was lines.
    sent_with: Option<String>,
}

/// What is read of a file, on the way to knowing it again.
#[derive(Default)]
struct Sum {
    bytes: u64,
    hash: Xxh3,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn known_as(&self, sent_with: Option<&str>) -> Acknowledged {
        let hash = format!("{:032x}", self.hash.digest128());
        Acknowledged { bytes: self.bytes, hash, sent_with: sent_with.map(str::to_owned) }
    }
}

impl Progress<'_> {
    fn read(file: Option<&Path>) -> Result<Progress<'_>, Failure> {
        let acknowledged = match file.map(std::fs::read) {
            Some(Ok(known)) => serde_json::from_slice(&known).map_err(|error| cannot(file, &error.into()))?,
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(cannot(file, &error)),
            _ => BTreeMap::new(),
        };
        Ok(Progress { file, acknowledged })
    }

    /// What was acknowledged of a file, which must be one that can be read again.
    fn known_of(&self, path: &Path) -> Result<Option<Acknowledged>, Failure> {
        if self.file.is_some() && !path.is_file() {
            return Err(Failure::usage(format!("{}: --resume is for files, which can be read again", path.display())));
        }
        Ok(self.acknowledged.get(path).cloned())
    }

    fn set(&mut self, path: &Path, acknowledged: Acknowledged) -> Result<(), Failure> {
        let Some(file) = self.file else { return Ok(()) };
        self.acknowledged.insert(path.to_owned(), acknowledged);
        let draft = file.with_extension("draft");
        let written = serde_json::to_vec(&self.acknowledged).map_err(Into::into).and_then(|known| std::fs::write(&draft, known));
        written.and_then(|()| std::fs::rename(&draft, file)).map_err(|error| cannot(Some(file), &error))
    }
}

fn cannot(file: Option<&Path>, error: &std::io::Error) -> Failure {
    Failure::failed(format!("--resume {}: {error}", file.unwrap_or(Path::new("")).display()))
}

/// A file's name as it travels in a header.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '_' }).collect()
}

fn is_other(path: &Path) {
    eprintln!("{}: not what was acknowledged of it before: it is sent from its beginning", path.display());
}

/// Sends the lines of a file behind those that were acknowledged, or all where it does not begin with these any more.
fn send_lines(to: &str, path: &Path, sent: &mut Sent, progress: &mut Progress<'_>) -> Result<(), Failure> {
    if !send_behind(progress.known_of(path)?.as_ref(), to, path, sent, progress)? {
        is_other(path);
        send_behind(None, to, path, sent, progress)?;
    }
    Ok(())
}

/// Sends what is behind the lines that are known, unless the file does not begin with them: then it sends nothing, and says so.
fn send_behind(known: Option<&Acknowledged>, to: &str, path: &Path, sent: &mut Sent, progress: &mut Progress<'_>) -> Result<bool, Failure> {
    let problem = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let (name, url, mut sum) = (name_of(path), format!("{to}/v1/updates"), Sum::default());
    let mut known = known.filter(|known| known.bytes > 0);
    for piece in ahead(blocks_of_lines(path, BODY_BYTES).map_err(problem)?) {
        match piece {
            Piece::Block(Block { bytes, .. }) => {
                let met = bytes.len().min(known.map_or(0, |known| (known.bytes - sum.bytes) as usize));
                sum.add(&bytes[..met]);
                if let Some(before) = known.take_if(|before| before.bytes == sum.bytes)
                    && sum.known_as(None) != *before
                {
                    return Ok(false);
                }
                if met < bytes.len() {
                    sum.add(&bytes[met..]);
                    // A line that had no end yet goes once more, whole.
                    let from = bytes[..met].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                    sent.note(&post(&url, &name, &bytes[from..])?);
                    progress.set(path, sum.known_as(None))?;
                }
            }
            Piece::Fault { line, reason, .. } if known.is_none() => {
                eprintln!("{}:{line}: {reason}", path.display());
                sent.left_out += 1;
            }
            // It was told of before.
            Piece::Fault { .. } => {}
        }
    }
    Ok(known.is_none())
}

/// The same pieces, of which the next are read and unpacked while the pipeline has one.
fn ahead(mut pieces: impl Iterator<Item = Piece> + Send + 'static) -> impl Iterator<Item = Piece> {
    let (ahead, read) = sync_channel(PIECES_AHEAD);
    // Once nobody wants its pieces it is not waited for: what it reads may be no file, and have none for long.
    let mut reader = Some(std::thread::spawn(move || drop(pieces.try_for_each(|piece| ahead.send(piece)))));
    std::iter::from_fn(move || {
        let piece = read.recv().ok();
        if piece.is_none() {
            reader.take().into_iter().for_each(|reader| reader.join().expect("a file is read to its end, or to a fault"));
        }
        piece
    })
}

/// Sends a table or a full dump, which is one body however long it is.
fn send_whole(arguments: &FeedArguments, path: &Path, sent: &mut Sent, progress: &mut Progress<'_>) -> Result<(), Failure> {
    let problem = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let FeedArguments { to, map, snapshot, max_shrink, .. } = arguments;
    let mut words = Vec::new();
    if let Some(map) = map.as_ref().filter(|_| !is_ndjson(&name_of(path))) {
        words.push(format!("mapping={}", register_mapping(to, map)?));
    }
    words.extend(snapshot.iter().map(|register| format!("snapshot={register}")));
    words.extend(max_shrink.iter().map(|share| format!("max_shrink={share}")));
    let words = words.join("&");
    let known = progress.known_of(path)?;
    // Where nothing is remembered it is read but once: it may be no file that can be read again.
    let acknowledged = progress.file.map(|_| Ok(sum_of(path)?.known_as(Some(&words)))).transpose().map_err(problem)?;
    match known {
        Some(known) if acknowledged.as_ref() == Some(&known) => return Ok(()),
        Some(_) => is_other(path),
        None => {}
    }
    let url = format!("{to}/v1/updates?{words}");
    // It travels as its lines, whichever way the file is packed.
    let row = post_with(&url, &name_of(path), |request| {
        let file = open(path).map_err(problem)?;
        Ok(request.send(ureq::SendBody::from_owned_reader(file)))
    })?;
    sent.note(&row);
    if row["snapshot"].is_object() {
        sent.dumps.insert(path.display().to_string(), row["snapshot"].clone());
    }
    acknowledged.map_or(Ok(()), |acknowledged| progress.set(path, acknowledged))
}

/// All that a file says, whichever way it is packed.
fn sum_of(path: &Path) -> std::io::Result<Sum> {
    let (mut file, mut sum, mut buffer) = (open(path)?, Sum::default(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sum),
            read => sum.add(&buffer[..read]),
        }
    }
}

/// Makes a mapping known to a pipeline; the name that it has there.
pub(super) fn register_mapping(to: &str, map: &Path) -> Result<String, Failure> {
    let text = std::fs::read(map).map_err(|error| Failure::usage(format!("{}: {error}", map.display())))?;
    let row = post(&format!("{to}/v1/mappings"), "", &text);
    let row = row.map_err(|failure| Failure { message: format!("{}: {}", map.display(), failure.message), ..failure })?;
    Ok(row["mapping"].as_str().unwrap_or_default().to_owned())
}

impl Sent {
    fn note(&mut self, row: &Value) {
        self.accepted += row["accepted"].as_u64().unwrap_or(0);
        self.quarantined += row["quarantined"].as_u64().unwrap_or(0);
        self.last_token = row["token"].as_str().unwrap_or_default().to_owned();
        self.tokens.insert(self.last_token.clone());
    }
}

/// Waits until everything that a submission led to is in the ledger; what its epoch brought.
pub(super) fn wait_for(to: &str, token: &str) -> Result<Value, Failure> {
    let url = format!("{to}/v1/completion/{token}?wait=10s");
    for _ in 0..ATTEMPTS_MAX {
        match with_token(ureq::get(&url)).call() {
            Ok(mut answer) if answer.status().as_u16() == 200 => {
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                return Ok(serde_json::from_str(&text).unwrap_or_default());
            }
            Ok(_) => {}
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    Err(Failure::failed(format!("{url}: the ledger does not come so far")))
}

/// A request that shows the token of the environment, if there is one.
fn with_token<Body>(request: ureq::RequestBuilder<Body>) -> ureq::RequestBuilder<Body> {
    match std::env::var(TOKEN) {
        Ok(token) => request.header("authorization", format!("Bearer {token}")),
        Err(_) => request,
    }
}

/// Reads from a pipeline, however long it takes.
pub(super) fn get(url: &str) -> Result<impl std::io::Read + use<>, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = with_token(agent.get(url)).call().map_err(|error| Failure::failed(format!("{url}: {error}")))?;
    match answer.status().is_success() {
        true => Ok(answer.into_body().into_reader()),
        false => Err(Failure::failed(format!("{url}: {}: {}", answer.status(), answer.body_mut().read_to_string().unwrap_or_default()))),
    }
}

/// Posts a body to a pipeline and gives its answer, waiting while the pipeline cannot take it.
pub(super) fn post(url: &str, feed: &str, body: &[u8]) -> Result<Value, Failure> {
    post_with(url, feed, |request| Ok(request.send(body)))
}

type Request = ureq::RequestBuilder<ureq::typestate::WithBody>;
type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// The same of a request that is made ready and sent anew each time.
fn post_with(url: &str, feed: &str, send: impl Fn(Request) -> Result<Answer, Failure>) -> Result<Value, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut trouble = String::new();
    for _ in 0..ATTEMPTS_MAX {
        match send(with_token(agent.post(url)).header("content-type", "application/json").header("x-feed", feed))? {
            Ok(mut answer) => {
                let status = answer.status();
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                let row: Value = serde_json::from_str(&text).unwrap_or_default();
                if status.is_success() {
                    return Ok(row);
                }
                trouble = format!("{status}: {}", row["error"].as_str().unwrap_or(&text));
                if !matches!(status.as_u16(), 429 | 503) {
                    break;
                }
            }
            Err(error) => trouble = error.to_string(),
        }
        std::thread::sleep(PAUSE);
    }
    Err(Failure::failed(format!("{url}: {trouble}")))
}
