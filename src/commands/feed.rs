//! `shanyraq feed`: files of updates to a pipeline.

use super::Failure;
use crate::sources::{Piece, blocks_of_lines};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// About how many bytes of lines travel together.
const BODY_BYTES: usize = 2 << 20;
/// Between attempts, while the pipeline has no room or is not there.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS_MAX: u32 = 240;
/// Where a token is found, so that it is in no list of processes.
const TOKEN: &str = "SHANYRAQ_TOKEN";

/// Sends files of updates (NDJSON; plain, gzip or zstd) to a pipeline, in their order. A token is taken from SHANYRAQ_TOKEN.
#[derive(Args, Clone, Debug)]
pub struct FeedArguments {
    /// Files of updates.
    #[arg(required = true, num_args = 1..)]
    pub paths: Vec<PathBuf>,
    /// The pipeline.
    #[arg(long, default_value = "http://127.0.0.1:7117")]
    pub to: String,
    /// A file that remembers how far this feed came: with it, a feed that was broken off goes on where it was.
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
}

/// Sends everything, waiting while the pipeline cannot take it. What is sent twice is known already, so a feed that was broken off is simply
/// sent again.
pub fn feed(arguments: &FeedArguments) -> Result<(), Failure> {
    let (mut sent, mut progress) = (Sent::default(), Progress::read(arguments.resume.as_deref())?);
    for path in &arguments.paths {
        send_file(&arguments.to, path, &mut sent, &mut progress)?;
    }
    let Sent { accepted, quarantined, left_out, last_token } = sent;
    match arguments.json {
        true => println!(
            "{}",
            serde_json::json!({ "accepted": accepted, "quarantined": quarantined, "left_out": left_out, "token": last_token })
        ),
        false => println!("accepted {accepted}, quarantined {quarantined}, left out {left_out}; the last token is {last_token}"),
    }
    match (accepted, quarantined + left_out) {
        (0, 1..) => Err(Failure::rejected("every line was refused: the pipeline's quarantine tells why".to_owned())),
        _ => Ok(()),
    }
}

/// How far a feed came, file by file.
struct Progress<'a> {
    file: Option<&'a Path>,
    /// Lines that were acknowledged, by the file's name.
    lines: BTreeMap<PathBuf, u64>,
}

impl Progress<'_> {
    fn read(file: Option<&Path>) -> Result<Progress<'_>, Failure> {
        let lines = match file.map(std::fs::read) {
            Some(Ok(known)) => serde_json::from_slice(&known).map_err(|error| cannot(file, &error.into()))?,
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(cannot(file, &error)),
            _ => BTreeMap::new(),
        };
        Ok(Progress { file, lines })
    }

    fn is_sent(&self, path: &Path, line: u64) -> bool {
        self.lines.get(path).is_some_and(|sent| line <= *sent)
    }

    /// Everything up to a line of a file was acknowledged.
    fn set(&mut self, path: &Path, line: u64) -> Result<(), Failure> {
        let Some(file) = self.file else { return Ok(()) };
        self.lines.insert(path.to_owned(), line);
        let draft = file.with_extension("draft");
        let written = serde_json::to_vec(&self.lines).map_err(Into::into).and_then(|known| std::fs::write(&draft, known));
        written.and_then(|()| std::fs::rename(&draft, file)).map_err(|error| cannot(Some(file), &error))
    }
}

fn cannot(file: Option<&Path>, error: &std::io::Error) -> Failure {
    Failure::failed(format!("--resume {}: {error}", file.unwrap_or(Path::new("")).display()))
}

fn send_file(to: &str, path: &Path, sent: &mut Sent, progress: &mut Progress<'_>) -> Result<(), Failure> {
    let problem = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // It travels in a header.
    let name: String = name.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '_' }).collect();
    for piece in blocks_of_lines(path, BODY_BYTES).map_err(problem)? {
        match piece {
            Piece::Block(block) => {
                let last = block.first_line + block.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                if !progress.is_sent(path, last) {
                    send(to, &name, &block.bytes, sent)?;
                    progress.set(path, last)?;
                }
            }
            Piece::Fault { line, reason, .. } => {
                eprintln!("{}:{line}: {reason}", path.display());
                sent.left_out += 1;
            }
        }
    }
    Ok(())
}

fn send(to: &str, name: &str, body: &[u8], sent: &mut Sent) -> Result<(), Failure> {
    let row = post(&format!("{to}/v1/updates"), name, body)?;
    sent.accepted += row["accepted"].as_u64().unwrap_or(0);
    sent.quarantined += row["quarantined"].as_u64().unwrap_or(0);
    sent.last_token = row["token"].as_str().unwrap_or_default().to_owned();
    Ok(())
}

/// Waits until everything that a submission led to is in the ledger.
pub(super) fn wait_for(to: &str, token: &str) -> Result<(), Failure> {
    let url = format!("{to}/v1/completion/{token}?wait=10s");
    for _ in 0..ATTEMPTS_MAX {
        match with_token(ureq::get(&url)).call().map(|answer| answer.status().as_u16()) {
            Ok(200) => return Ok(()),
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
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut trouble = String::new();
    for _ in 0..ATTEMPTS_MAX {
        match with_token(agent.post(url)).header("content-type", "application/json").header("x-feed", feed).send(body) {
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
