//! Reading feeds: files and directories, plain or compressed, NDJSON or through a mapping.
//!
//! One thread reads and cuts files into blocks of whole lines, several decode them, and [`Feed`] hands the chunks out in the
//! order of the lines. All queues are bounded, so memory does not depend on the size of the feed. A line that is refused never
//! stops it.

mod blocks;
pub(crate) mod mapping;
mod quarantine;
mod snapshot;

pub use dataflows::records::Held;
pub use quarantine::{Quarantined, write_quarantine};
pub use snapshot::{Absence, Counts, Difference, MAX_SHRINK, Refusal, Snapshot};

use crate::intake::{Contact, Decoded, Intake, Item, Rejection, Schema};
pub(crate) use blocks::{Block, Piece};
use blocks::{Bounds, Cutter};
pub(crate) use mapping::{Bound, Section};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many chunks may wait for each thread that decodes: enough to keep it busy while another is slow.
const CHUNKS_AHEAD: usize = 2;
/// The names by which a directory's NDJSON files are recognised; `.gz` or `.zst` may follow.
const NDJSON_SUFFIXES: [&str; 2] = [".ndjson", ".jsonl"];
const COMPRESSED_SUFFIXES: [&str; 2] = [".gz", ".zst"];

/// How a feed is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that decode, besides the one that reads.
    pub threads: usize,
    /// About how many bytes of lines make a chunk.
    pub chunk_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: thread::available_parallelism().map_or(1, usize::from), chunk_bytes: 512 << 10 }
    }
}

/// What some consecutive lines of a file say.
#[derive(Debug, Default)]
pub struct Chunk {
    pub items: Vec<Item>,
    pub contacts: Vec<Contact>,
    pub rejected: Vec<Quarantined>,
    /// Lines or rows read, blank ones not counted.
    pub lines: u64,
}

impl Chunk {
    fn accept(&mut self, decoded: Decoded) {
        self.items.push(decoded.item);
        self.contacts.extend(decoded.contact);
    }

    fn reject(&mut self, file: &Arc<str>, line: u64, rejection: Rejection, raw: &[u8]) {
        let Rejection { field, reason } = rejection;
        self.rejected.push(Quarantined { file: Arc::clone(file), line, field, reason, raw: raw.to_vec() });
    }
}

/// A feed being read: an iterator over its chunks, in the order of files and lines.
pub struct Feed {
    chunks: Receiver<Receiver<Chunk>>,
}

impl Feed {
    /// Opens files, and directories for the files in them that are NDJSON or served by a mapping. The error tells what is wrong
    /// with the paths or the mappings; what is wrong within files comes as rejected lines.
    pub fn open(schema: Arc<Schema>, paths: &[PathBuf], maps: &[PathBuf], options: Options) -> Result<Feed, String> {
        let sections = mapping::load(&schema, maps)?;
        let mut files = Vec::new();
        for path in paths {
            list(path, &sections, &mut files)?;
        }
        let threads = options.threads.max(1);
        let (deliver, chunks) = sync_channel(threads * CHUNKS_AHEAD);
        let (submit, jobs) = sync_channel(threads * CHUNKS_AHEAD);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads {
            let (jobs, intake) = (Arc::clone(&jobs), Intake::new(Arc::clone(&schema)));
            thread::spawn(move || decode(&jobs, intake));
        }
        let line = Line { deliver, submit, chunk_bytes: options.chunk_bytes.max(1) };
        thread::spawn(move || {
            // Nobody listens any more when a file cannot be finished: the feed was dropped.
            files.iter().try_for_each(|file| line.read(file))
        });
        Ok(Feed { chunks })
    }
}

impl Iterator for Feed {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().ok()?;
        Some(chunk.recv().expect("a decoding thread answers every job"))
    }
}

/// A file's lines, about so many bytes of whole ones at a time; packed files are unpacked.
pub(crate) fn blocks_of_lines(path: &Path, bytes: usize) -> std::io::Result<impl Iterator<Item = Piece> + use<>> {
    Ok(Cutter::new(blocks::open(path)?, Bounds::Lines, bytes))
}

/// Opens a file, unpacking it if need be.
pub(crate) fn open(path: &Path) -> std::io::Result<Box<dyn Read + Send>> {
    blocks::open(path)
}

/// What a reader gives, about so many bytes of whole lines or rows at a time. Rows come with what their columns mean.
pub(crate) struct Pieces<R> {
    cutter: Cutter<R>,
    section: Option<Arc<Section>>,
    bound: Option<Arc<Bound>>,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    /// Lines, or rows of a table that a section of a mapping serves.
    pub(crate) fn new(reader: R, section: Option<Arc<Section>>, bytes: usize) -> Pieces<R> {
        let bounds = section.as_ref().map_or(Bounds::Lines, |section| Bounds::rows(section.delimiter));
        Pieces { cutter: Cutter::new(reader, bounds, bytes), section, bound: None, ended: false }
    }
}

impl<R: Read> Iterator for Pieces<R> {
    type Item = (Piece, Option<Arc<Bound>>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = if self.ended { None } else { self.cutter.next() }?;
        if let (Some(section), None, Piece::Block(block)) = (&self.section, &self.bound, &mut piece) {
            match Bound::new(section, block) {
                Ok(bound) => self.bound = Some(Arc::new(bound)),
                Err(reason) => {
                    self.ended = true;
                    let (line, raw) = (block.first_line, Vec::new());
                    return Some((Piece::Fault { line, reason, raw, cut_short: true }, None));
                }
            }
        }
        Some((piece, self.bound.clone()))
    }
}

/// A file of the feed, and how it is read.
struct Source {
    path: PathBuf,
    name: Arc<str>,
    section: Option<Arc<Section>>,
}

/// The feed of a name, by which it is paused, measured and looked after: what stands before the colon. What a feed calls the parts of what it sends makes it
/// no other feed.
pub fn feed_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(feed, _)| feed)
}

/// What its feed calls what has this name: what stands behind the colon.
pub(crate) fn file_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, file)| file)
}

/// Whether somebody who names a feed, or one file of it, means what has this name.
pub(crate) fn is_meant(name: &str, named: &str) -> bool {
    named == name || named == feed_of(name)
}

/// What a file is read by: a section of mappings that serves its name; nothing where it has lines of updates.
pub(crate) fn section_for(name: &str, sections: &[Arc<Section>]) -> Result<Option<Arc<Section>>, String> {
    let mut serving = sections.iter().filter(|section| section.serves(name));
    let section = serving.next().cloned();
    match (&section, serving.next()) {
        (Some(one), Some(other)) => Err(format!("served by two sections, {one} and {other}")),
        (None, _) if is_csv(name) => Err("no section of a mapping serves this file".to_owned()),
        _ => Ok(section),
    }
}

/// Adds a file, or the files of a directory that are part of a feed, by name.
fn list(path: &Path, sections: &[Arc<Section>], files: &mut Vec<Source>) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", path.display());
    if !std::fs::metadata(path).map_err(problem)?.is_dir() {
        files.push(source(path, sections)?);
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(problem)?.collect::<Result<Vec<_>, _>>().map_err(problem)?;
    let mut inside: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(|path| path.is_file()).collect();
    inside.sort();
    let before = files.len();
    for file in inside {
        let name = file_name(&file);
        if is_ndjson(&name) || is_csv(&name) || sections.iter().any(|section| section.serves(&name)) {
            files.push(source(&file, sections)?);
        }
    }
    match files.len() - before {
        0 => Err(format!("{}: no file of a feed in this directory", path.display())),
        _ => Ok(()),
    }
}

fn source(path: &Path, sections: &[Arc<Section>]) -> Result<Source, String> {
    let section = section_for(&file_name(path), sections).map_err(|what| format!("{}: {what}", path.display()))?;
    Ok(Source { path: path.to_owned(), name: Arc::from(path.display().to_string()), section })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn uncompressed(name: &str) -> &str {
    COMPRESSED_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

pub(crate) fn is_ndjson(name: &str) -> bool {
    NDJSON_SUFFIXES.iter().any(|suffix| uncompressed(name).ends_with(suffix))
}

fn is_csv(name: &str) -> bool {
    uncompressed(name).ends_with(".csv")
}

/// Lines on their way to a thread that decodes them.
struct Job {
    file: Arc<str>,
    block: Block,
    /// The mapping, for rows of a table.
    bound: Option<Arc<Bound>>,
    reply: SyncSender<Chunk>,
}

/// Nobody listens any more.
struct Hangup;

/// Where the reading thread puts what it reads: the promise of a chunk to the consumer, the work to whoever is free.
struct Line {
    deliver: SyncSender<Receiver<Chunk>>,
    submit: SyncSender<Job>,
    chunk_bytes: usize,
}

impl Line {
    fn read(&self, file: &Source) -> Result<(), Hangup> {
        match blocks::open(&file.path) {
            Err(error) => self.fault(&file.name, 0, format!("cannot be read: {error}"), Vec::new()),
            Ok(reader) => {
                let mut pieces = Pieces::new(reader, file.section.clone(), self.chunk_bytes);
                pieces.try_for_each(|(piece, bound)| self.forward(file, piece, bound))
            }
        }
    }

    fn forward(&self, file: &Source, piece: Piece, bound: Option<Arc<Bound>>) -> Result<(), Hangup> {
        match piece {
            Piece::Fault { line, reason, raw, .. } => self.fault(&file.name, line, reason, raw),
            Piece::Block(block) => {
                let (reply, chunk) = sync_channel(1);
                self.deliver.send(chunk).map_err(|_| Hangup)?;
                let job = Job { file: Arc::clone(&file.name), block, bound, reply };
                self.submit.send(job).map_err(|_| Hangup)
            }
        }
    }

    /// A chunk with nothing but a quarantine row.
    fn fault(&self, file: &Arc<str>, line: u64, reason: String, raw: Vec<u8>) -> Result<(), Hangup> {
        let (reply, promise) = sync_channel(1);
        let mut chunk = Chunk::default();
        chunk.reject(file, line, Rejection { field: String::new(), reason }, &raw);
        self.deliver.send(promise).map_err(|_| Hangup)?;
        reply.send(chunk).map_err(|_| Hangup)
    }
}

/// Decodes jobs until there are no more.
fn decode(jobs: &Mutex<Receiver<Job>>, mut intake: Intake) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { file, block, bound, reply }) = job else {
            return;
        };
        let chunk = match bound {
            None => decode_lines(&mut intake, &file, &block),
            Some(bound) => bound.decode(&mut intake, &file, &block),
        };
        // Fails when the feed was dropped; the reading thread notices too, and this loop ends.
        drop(reply.send(chunk));
    }
}

fn decode_lines(intake: &mut Intake, file: &Arc<str>, block: &Block) -> Chunk {
    /// Lines are about this long, at least: room for the items without growing much.
    const LINE_BYTES: usize = 200;
    let mut chunk = Chunk { items: Vec::with_capacity(block.bytes.len() / LINE_BYTES + 1), ..Chunk::default() };
    for (number, line) in (block.first_line..).zip(block.bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        chunk.lines += 1;
        match intake.decode(line) {
            Ok(decoded) => chunk.accept(decoded),
            Err(rejection) => chunk.reject(file, number, rejection, line.strip_suffix(b"\r").unwrap_or(line)),
        }
    }
    chunk
}
