//! What anybody may ask of engine and ledger between two epochs. What is long is written by copies of the process, one a worker, so that
//! the stream goes on meanwhile.

use super::conductor::Work;
use super::progress::Progress;
use crate::dispatch::Kind;
use crate::engine::Engine;
use crate::journal::Pausable;
use crate::ledger::Ledger;
use crate::snapshot::{Copy, in_a_copy};
use crate::views::Writer;
use dataflows::House;
use dataflows::model::{HouseholdKey, PersonId, Role};
use dataflows::records::Circumstances;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, channel};

/// A view of the engine, with the rows that `batch` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Households,
    Categories,
}

/// Rows of a view, one JSON object a line: sorted by household where there is one worker, else worker by worker.
pub struct Export {
    /// What is still to be read, the next one last.
    parts: Vec<PathBuf>,
    reading: Option<BufReader<File>>,
}

/// The way to ask.
#[derive(Clone)]
pub struct Questions {
    pub(super) work: SyncSender<Work>,
    pub(super) progress: Arc<Progress>,
    pub(super) data: PathBuf,
    /// Where exports are, until they are read.
    folder: PathBuf,
    begun: Arc<AtomicU64>,
}

impl Questions {
    /// Opens the folder of exports, or makes it; what was begun in another process is gone.
    pub(super) fn open(work: SyncSender<Work>, folder: &Path, data: PathBuf, progress: Arc<Progress>) -> io::Result<Questions> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        Ok(Questions { work, progress, data, folder: folder.to_owned(), begun: Arc::default() })
    }

    /// What of a policy may be paused: its benefits, and the kinds of its texts.
    pub fn pausable(&self) -> BTreeSet<Pausable> {
        let policy = self.progress.standing().policy;
        let benefits = policy.benefits.iter().map(|benefit| Pausable::Benefit(benefit.id.clone()));
        benefits.chain(Kind::ALL.map(|kind| Pausable::Template(kind.name().to_owned()))).collect()
    }

    /// Asks between two epochs, while nothing moves; nothing if the pipeline has ended.
    pub fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Engine, &Ledger) -> T + Send + 'static) -> Option<T> {
        let (answer_in, answer) = channel();
        let question = move |engine: &mut Engine, ledger: &Ledger| drop(answer_in.send(question(engine, ledger)));
        self.work.send(Work::Question(Box::new(question))).ok()?;
        answer.recv().ok()
    }

    /// All rows of a view as they are between two epochs; nothing of it is held in memory.
    pub fn export(&self, view: View) -> io::Result<Export> {
        let path = self.place();
        let copies = self.ask(move |engine, _| {
            let writer = Writer::new(engine.policy().clone());
            let write = move |house: &House, now: &Circumstances, out: &mut dyn Write| write(house, view, now, &writer, out);
            copies(engine, &path, write)
        });
        let parts = written(copies)?;
        Ok(Export { parts, reading: None })
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A file without a name: it is gone with whoever has it.
    pub fn nameless_file(&self) -> io::Result<File> {
        let path = self.place();
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    /// Where something may be written that is read once.
    pub(super) fn place(&self) -> PathBuf {
        self.folder.join(self.begun.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// Copies of the process that write, and where each does.
type Copies = Vec<(PathBuf, io::Result<Copy>)>;

/// Begins copies of the process that write what each worker holds.
pub(super) fn copies(
    engine: &Engine,
    path: &Path,
    write: impl Fn(&House, &Circumstances, &mut dyn Write) -> io::Result<()> + Clone + Send + 'static,
) -> Copies {
    let (now, path) = (engine.circumstances(), path.to_owned());
    engine.with_houses(move |worker, house| {
        let path = path.with_extension(worker.to_string());
        let copy = in_a_copy(|| {
            let mut out = BufWriter::new(File::create(&path)?);
            write(house, &now, &mut out)?;
            out.flush()
        });
        (path, copy)
    })
}

/// The files that copies wrote, the last worker's first.
pub(super) fn written(copies: Option<Copies>) -> io::Result<Vec<PathBuf>> {
    let (mut parts, mut written) = (Vec::new(), Ok(()));
    for (path, copy) in copies.ok_or_else(|| io::Error::other("the pipeline ended"))? {
        parts.push(path);
        // Each is waited for, whatever became of the others.
        written = written.and(copy.and_then(Copy::wait));
    }
    parts.reverse();
    written.map(|()| parts)
}

/// Writes the rows of a worker's households.
fn write(house: &House, view: View, now: &Circumstances, writer: &Writer, out: &mut dyn Write) -> io::Result<()> {
    let mut written = Ok(());
    let mut enter = |row: Value| {
        if written.is_ok() {
            written = writeln!(out, "{row}");
        }
    };
    match view {
        View::Categories => house.judgements(now, |household, _, judgement| enter(writer.category(household, judgement))),
        View::Households => {
            let mut family: (HouseholdKey, Vec<(PersonId, Role)>) = (HouseholdKey::NONE, Vec::new());
            let mut close = |(household, members): &(HouseholdKey, Vec<(PersonId, Role)>)| {
                if !members.is_empty() {
                    enter(writer.household(*household, members));
                }
            };
            house.members(|(household, person, role)| {
                if household != family.0 {
                    close(&std::mem::replace(&mut family, (household, Vec::new())));
                }
                family.1.push((person, role));
            });
            close(&family);
        }
    }
    written
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(reading) = &mut self.reading {
                let length = reading.read(buffer)?;
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
            }
            let Some(next) = self.parts.pop() else { return Ok(0) };
            self.reading = Some(BufReader::new(File::open(&next)?));
            // It is read to its end, and then there is nothing left of it.
            fs::remove_file(&next)?;
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Whoever asked has gone.
        self.parts.drain(..).for_each(|part| drop(fs::remove_file(part)));
    }
}
