//! The door for files: a folder into which agencies rename what is complete, and out of which it goes to `done/` or `failed/`.
//!
//! A file is taken in line by line, as a body is, or row by row where a mapping serves it; it leaves once all of it would outlive a loss of power. Whatever ends the process before
//! that, the file is still there and is taken in again: what it says twice is known already. One that was taken in and cannot be moved is not taken in
//! again by the same process, however long it stays.

use crate::intake::Intake;
use crate::pipeline::metrics::Metrics;
use crate::pipeline::{Pipeline, Progress, Reading, Scribe, Unavailable};
use crate::sources::mapping::load;
use crate::sources::{open, section_for};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// The name under which the folder is paused and measured.
pub(super) const FEED: &str = "folder";
const DONE: &str = "done";
const FAILED: &str = "failed";
/// Between looks into the folder.
const PAUSE: Duration = Duration::from_millis(250);

/// A folder that is watched.
struct Watch {
    folder: PathBuf,
    /// Mappings for the tables among the files.
    maps: Vec<PathBuf>,
    intake: Intake,
    scribe: Scribe,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    /// Files that were taken in and could not be moved away, and where they belong: they are not taken in again.
    left: BTreeMap<PathBuf, (Identity, &'static str)>,
}

/// By what a file is known to be the one that was read: its length, when it was written, and its number on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, SystemTime, u64);

impl Identity {
    fn of(path: &Path) -> io::Result<Identity> {
        let file = fs::metadata(path)?;
        Ok(Identity(file.len(), file.modified()?, file.ino()))
    }
}

/// Why a file was not taken in.
enum Trouble {
    /// It cannot be read, or all of it was refused.
    File(String),
    /// Nothing is taken in at the moment.
    Pipeline,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::File(error.to_string())
    }
}

impl From<Unavailable> for Trouble {
    fn from(_: Unavailable) -> Self {
        Trouble::Pipeline
    }
}

/// Watches a folder until the pipeline takes in nothing more. The error is that of making its folders.
pub fn watch(folder: &Path, maps: Vec<PathBuf>, pipeline: &Pipeline) -> io::Result<JoinHandle<()>> {
    for out in [DONE, FAILED] {
        fs::create_dir_all(folder.join(out))?;
    }
    pipeline.metrics.expect(FEED);
    let mut watch = Watch {
        folder: folder.to_owned(),
        maps,
        intake: Intake::journalling(pipeline.progress.schema()),
        scribe: pipeline.scribe.clone(),
        progress: pipeline.progress.clone(),
        metrics: pipeline.metrics.clone(),
        left: BTreeMap::new(),
    };
    std::thread::Builder::new().name("folder".to_owned()).spawn(move || {
        while !watch.scribe.is_closed() {
            if !watch.look() {
                std::thread::sleep(PAUSE);
            }
        }
    })
}

impl Watch {
    /// Takes in the files that are there and not paused, by name; whether any went.
    fn look(&mut self) -> bool {
        let Ok(entries) = fs::read_dir(&self.folder) else { return false };
        let standing = self.progress.standing();
        if !Arc::ptr_eq(self.intake.schema(), &standing.schema) {
            self.intake = Intake::journalling(standing.schema.clone());
        }
        self.left.retain(|file, _| file.is_file());
        let is_wanted = |path: &PathBuf| {
            let name = name_of(path);
            path.is_file() && !name.starts_with('.') && !standing.is_paused(&known_as(&name))
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_wanted).collect();
        files.sort_unstable();
        let mut any_went = false;
        for file in &files {
            match self.pass(file) {
                Some(went) => any_went |= went,
                // The file stays where it is, and is taken in when the pipeline can.
                None => return false,
            }
        }
        any_went
    }

    /// Takes in a file, unless that was done, and moves it away; whether it went, and nothing while nothing is taken in.
    fn pass(&mut self, file: &Path) -> Option<bool> {
        let (name, identity) = (name_of(file), Identity::of(file).ok());
        let left = self.left.get(file).filter(|(left, _)| identity == Some(*left)).map(|(_, out)| *out);
        let out = match left {
            Some(out) => out,
            None => match self.take(file, &name) {
                Ok(()) => DONE,
                Err(Trouble::Pipeline) => return None,
                Err(Trouble::File(reason)) => {
                    tracing::warn!(%reason, "watched file failed");
                    FAILED
                }
            },
        };
        let moved = put_away(file, &self.folder.join(out), &name);
        match (&moved, identity) {
            (Ok(()), _) => drop(self.left.remove(file)),
            (Err(error), Some(identity)) if left.is_none() => {
                tracing::error!(out, %error, "watched file cannot be moved: it is not taken in again, and goes when it can");
                self.left.insert(file.to_owned(), (identity, out));
            }
            (Err(_), _) => {}
        }
        Some(moved.is_ok())
    }

    fn take(&mut self, path: &Path, name: &str) -> Result<(), Trouble> {
        let (mut accepted, mut refused) = (0, 0);
        let sections = load(self.intake.schema(), &self.maps).map_err(Trouble::File)?;
        let mut reading = Reading::new(open(path)?, &known_as(name), section_for(name, &sections).map_err(Trouble::File)?);
        let mut cut_short = None;
        while let Some(block) = reading.next(&mut self.intake) {
            let parts = match block {
                Ok(parts) => parts,
                Err(error) => {
                    cut_short = Some(error);
                    break;
                }
            };
            for part in parts {
                let (brought, newest) = ((part.accepted, part.quarantined), part.newest);
                self.scribe.submit(part)?;
                self.metrics.fed(FEED, brought, newest);
                (accepted, refused) = (accepted + brought.0, refused + brought.1);
            }
        }
        // What came before the place where it cannot be read further is taken in.
        if let Some(error) = cut_short {
            return Err(error.into());
        }
        match (accepted, refused) {
            (0, 1..) => Err(Trouble::File(format!("all {refused} lines of a file were refused: the quarantine tells why"))),
            _ => Ok(()),
        }
    }
}

/// Moves a file into a folder, which is made again if it is gone; where its name is taken there it gets one of its own, `name.2` and so on. A name is
/// taken by a file of no length before anything is moved to it, so that nothing is ever overwritten.
fn put_away(file: &Path, folder: &Path, name: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (mut target, mut number) = (folder.join(name), 1);
    while let Err(error) = File::create_new(&target) {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        number += 1;
        target = folder.join(format!("{name}.{number}"));
    }
    fs::rename(file, &target).inspect_err(|_| drop(fs::remove_file(&target)))
}

/// How a file of the folder is known where files of all feeds are.
fn known_as(name: &str) -> String {
    format!("{FEED}:{name}")
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
