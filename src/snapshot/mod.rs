//! Snapshots: what engine and ledger hold after an epoch, so that a start need not tell the whole journal again.
//!
//! ```text
//!  snapshots/0000000123/    after epoch 123: complete once it has this name
//!      worker-0 …           the stores of each worker's house
//!      rest                 what engine and ledger hold beside them
//! ```
//!
//! Copies of the process write it, one for each thread that holds something: the system copies a page only when it changes, so all of
//! it is of one epoch, and the stream stands still no longer than the copying of page tables takes. A snapshot is a cache of the
//! journal: one that is damaged, of another package or another format is passed over for the one before, and with none the journal is
//! told from its beginning.

mod copy;
mod part;

pub use copy::{Answering, Copy, answering, in_a_copy};

use dataflows::model::Epoch;
use dataflows::operators::{Restorer, Saver};
use part::{Title, check_part, read_part, write_part};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

/// What is not complete yet.
const DRAFT: &str = "draft";
const REST: &str = "rest";

/// The snapshots of a data folder.
#[derive(Clone, Debug)]
pub struct Snapshots {
    folder: PathBuf,
    keep: usize,
    keep_for: Duration,
}

/// A snapshot: complete, or being written.
#[derive(Clone, Debug)]
pub struct Snapshot {
    folder: PathBuf,
    pub epoch: Epoch,
    /// By how many workers it is written, and under which package.
    workers: usize,
    pub package: String,
    /// How many bytes of it were read.
    pub read: Arc<AtomicU64>,
}

impl Snapshots {
    /// Opens the folder, or makes it; `keep` of the newest are kept.
    pub fn open(folder: &Path, keep: usize) -> io::Result<Snapshots> {
        fs::create_dir_all(folder)?;
        Ok(Snapshots { folder: folder.to_owned(), keep: keep.max(1), keep_for: Duration::MAX })
    }

    /// The same, of which those that are older are not kept either, but for the newest.
    pub fn kept_for(self, keep_for: Duration) -> Snapshots {
        Snapshots { keep_for, ..self }
    }

    /// Begins one, of so many workers under this package; what was begun before and never completed is gone.
    pub fn begin(&self, epoch: Epoch, workers: usize, package: String) -> io::Result<Snapshot> {
        let folder = self.folder.join(DRAFT);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        Ok(Snapshot { folder, epoch, workers, package, read: Arc::default() })
    }

    /// Completes one whose parts are written, and removes those that are no longer kept.
    pub fn complete(&self, draft: &Snapshot) -> io::Result<()> {
        File::open(&draft.folder)?.sync_all()?;
        let folder = self.folder.join(format!("{:010}", draft.epoch));
        if folder.exists() {
            // It was of no use, or this one would not have been begun.
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&draft.folder, folder)?;
        File::open(&self.folder)?.sync_all()?;
        for (index, snapshot) in self.newest()?.iter().enumerate().skip(1) {
            // A clock that was put back makes nothing old.
            let age = snapshot.completed()?.elapsed().unwrap_or_default();
            if index >= self.keep || age > self.keep_for {
                fs::remove_dir_all(&snapshot.folder)?;
            }
        }
        Ok(())
    }

    /// Those that are complete, the newest first. One that does not even tell what it is of has no package.
    pub fn newest(&self) -> io::Result<Vec<Snapshot>> {
        let mut complete = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let folder = entry?.path();
            let epoch = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
            complete.extend(epoch.map(|epoch| Snapshot::of(folder, epoch)));
        }
        complete.sort_unstable_by_key(|snapshot| std::cmp::Reverse(snapshot.epoch));
        Ok(complete)
    }
}

impl Snapshot {
    /// The one that a folder holds, of this epoch, or what a base holds of one.
    pub fn of(folder: PathBuf, epoch: Epoch) -> Snapshot {
        let title = part::title_of(&folder.join(REST));
        let (workers, package) = title.map_or_else(|_| Default::default(), |title| (title.workers, title.package));
        Snapshot { folder, epoch, workers, package, read: Arc::default() }
    }

    /// Where that lies which is beside the houses.
    pub fn rest(&self) -> PathBuf {
        self.folder.join(REST)
    }

    /// Writes what a worker holds.
    pub fn write_worker(&self, worker: usize, save: impl FnOnce(&mut Saver<'_>) -> io::Result<()>) -> io::Result<()> {
        self.write(&worker_name(worker), save)
    }

    pub fn write_rest(&self, save: impl FnOnce(&mut Saver<'_>) -> io::Result<()>) -> io::Result<()> {
        self.write(REST, save)
    }

    fn write(&self, name: &str, save: impl FnOnce(&mut Saver<'_>) -> io::Result<()>) -> io::Result<()> {
        write_part(&self.folder.join(name), &self.title(name), save)
    }

    /// Reads what is due to a worker, one of so many: its own part, or of all parts if there were others than now.
    pub fn read_worker(
        &self,
        worker: usize,
        workers: usize,
        mut restore: impl FnMut(&mut Restorer<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let parts = if self.workers == workers { worker..worker + 1 } else { 0..self.workers };
        parts.into_iter().try_for_each(|part| self.read(&worker_name(part), (worker, workers), &mut restore))
    }

    pub fn read_rest(&self, restore: impl FnMut(&mut Restorer<'_>) -> io::Result<()>) -> io::Result<()> {
        self.read(REST, (0, 1), restore)
    }

    fn read(&self, name: &str, worker: (usize, usize), restore: impl FnMut(&mut Restorer<'_>) -> io::Result<()>) -> io::Result<()> {
        let path = self.folder.join(name);
        read_part(&path, &self.title(name), worker, &self.read, restore)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// Checks every sum of it; the error says why it is of no use.
    pub fn check(&self) -> io::Result<()> {
        let mut parts = (0..self.workers).map(worker_name).chain([REST.to_owned()]);
        parts.try_for_each(|name| check_part(&self.folder.join(&name), &self.title(&name)))
    }

    fn title(&self, name: &str) -> Title {
        Title { epoch: self.epoch, package: self.package.clone(), part: name.to_owned(), workers: self.workers }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// When it was complete.
    pub fn completed(&self) -> io::Result<SystemTime> {
        fs::metadata(&self.folder)?.modified()
    }

    /// How long it is, in bytes.
    pub fn bytes(&self) -> io::Result<u64> {
        fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
    }
}

fn worker_name(worker: usize) -> String {
    format!("worker-{worker}")
}
