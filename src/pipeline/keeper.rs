//! The keeper of snapshots: when one is due, who writes it, and from which one a start goes on.

use super::metrics::{Metrics, OfStore};
use super::news::News;
use super::{Failure, journal_folder, ledger_file, snapshots_folder};
use crate::engine::Engine;
use crate::journal::base::{self, Archive};
use crate::ledger::{Ledger, sync_ledger};
use crate::packages::fingerprint;
use crate::snapshot::{Copy, Snapshot, Snapshots, in_a_copy};
use dataflows::model::Epoch;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Between looks, when one is due and nothing has happened since the last.
const LOOK: Duration = Duration::from_millis(250);
/// After a snapshot that could not be written another one is not tried at once.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Keeper {
    snapshots: Snapshots,
    compaction: Compaction,
    compacting: Option<JoinHandle<Result<Compacted, Failure>>>,
    every: Duration,
    metrics: Arc<Metrics>,
    /// The epoch of the last one, and when it was begun.
    last: (Epoch, Instant),
    under_way: Option<JoinHandle<io::Result<()>>>,
}

impl Keeper {
    pub fn new(snapshots: Snapshots, compaction: Compaction, every: Duration, metrics: Arc<Metrics>) -> Self {
        Keeper { snapshots, compaction, compacting: None, every, metrics, last: (0, Instant::now()), under_way: None }
    }

    /// Restores the newest snapshot that can be read, of an epoch that the ledger's file has and behind which the journal goes on, into what `begin` gives for its package.
    /// Those that cannot are told and passed over. Nothing if there is none.
    pub fn recall(
        &mut self,
        within: RangeInclusive<Epoch>,
        begin: impl Fn(&str) -> io::Result<(Engine, Ledger)>,
    ) -> io::Result<Option<(Engine, Ledger)>> {
        for snapshot in self.snapshots.newest()?.into_iter().filter(|snapshot| within.contains(&snapshot.epoch)) {
            let begun = Instant::now();
            let news = News::of("restoring the snapshot", snapshot.bytes().unwrap_or_default()).watch(snapshot.read.clone());
            let restored = begin(&snapshot.package).and_then(|(mut engine, mut ledger)| {
                restore(&snapshot, &mut engine, &mut ledger)?;
                Ok((engine, ledger))
            });
            drop(news);
            match restored {
                Ok((engine, ledger)) => {
                    tracing::info!(epoch = snapshot.epoch, milliseconds = begun.elapsed().as_millis() as u64, "snapshot restored");
                    self.last.0 = snapshot.epoch;
                    self.measure(snapshot.completed()?);
                    return Ok(Some((engine, ledger)));
                }
                Err(error) => {
                    self.metrics.snapshots_failed.inc();
                    tracing::warn!(epoch = snapshot.epoch, %error, "snapshot passed over");
                }
            }
        }
        Ok(None)
    }

    /// How long until the next one may be due.
    pub fn rest(&self) -> Duration {
        self.every.saturating_sub(self.last.1.elapsed()).max(LOOK)
    }

    /// Whether one would be begun.
    pub fn is_due(&self, epoch: Epoch) -> bool {
        self.under_way.is_none() && epoch > self.last.0 && self.last.1.elapsed() >= self.every
    }

    /// Begins one if it is due: the stream stands still while the process is copied.
    pub fn look(&mut self, epoch: Epoch, engine: &Engine, ledger: &Ledger) {
        self.bury();
        if self.is_due(epoch) {
            self.begin(epoch, engine, ledger);
        }
    }

    /// Writes the last one before the end, unless there is one of this epoch.
    pub fn end(mut self, epoch: Epoch, engine: &Engine, ledger: &Ledger) {
        self.join();
        if epoch > self.last.0 {
            self.begin(epoch, engine, ledger);
            self.join();
        }
        self.end_compaction();
    }

    fn begin(&mut self, epoch: Epoch, engine: &Engine, ledger: &Ledger) {
        let begun = Instant::now();
        let draft = self.snapshots.begin(epoch, engine.workers(), fingerprint(engine.policy()));
        let copies = draft.map(|draft| (copy(&draft, engine, ledger), draft));
        self.measure_stores(engine);
        Metrics::since(&self.metrics.snapshot_stall, begun);
        self.last = (epoch, begun);
        let snapshots = self.snapshots.clone();
        let complete = move || {
            let (copies, draft) = copies?;
            // Each is waited for, whatever became of the others.
            let written: Vec<io::Result<()>> = copies.into_iter().map(|copy| copy.and_then(Copy::wait)).collect();
            written.into_iter().collect::<io::Result<()>>()?;
            snapshots.complete(&draft)
        };
        self.under_way = Some(std::thread::Builder::new().name("keeper".to_owned()).spawn(complete).expect("a thread can be started"));
    }

    fn measure(&self, completed: SystemTime) {
        self.metrics.snapshot_epoch.set(self.last.0 as i64);
        let since_1970 = completed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.metrics.snapshot_time.set(since_1970.as_secs() as i64);
    }

    /// How much the stores hold now.
    pub fn measure_stores(&self, engine: &Engine) {
        for (store, size) in engine.sizes().stores {
            let store = OfStore { store: store.to_owned() };
            self.metrics.store_keys.get_or_create(&store).set(size.keys as i64);
            self.metrics.store_bytes.get_or_create(&store).set(size.bytes as i64);
        }
    }

    fn bury(&mut self) {
        if self.under_way.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join();
        }
    }

    fn join(&mut self) {
        let Some(under_way) = self.under_way.take() else { return };
        match under_way.join().expect("a keeper does not panic") {
            Ok(()) => {
                tracing::info!(epoch = self.last.0, milliseconds = self.last.1.elapsed().as_millis() as u64, "snapshot written");
                self.measure(SystemTime::now());
                self.compact();
            }
            Err(error) => {
                tracing::error!(epoch = self.last.0, %error, "no snapshot");
                self.metrics.snapshots_failed.inc();
                self.last = (0, Instant::now() + PAUSE);
            }
        }
    }
}

impl Keeper {
    /// Makes a base of what the newest snapshot has behind it, beside the stream, once there is enough.
    fn compact(&mut self) {
        if self.compacting.as_ref().is_some_and(|compacting| !compacting.is_finished()) {
            return;
        }
        self.end_compaction();
        let (compaction, snapshots) = (self.compaction.clone(), self.snapshots.clone());
        let compact = move || compaction.run(&snapshots);
        self.compacting = Some(std::thread::Builder::new().name("compaction".to_owned()).spawn(compact).expect("a thread can be started"));
    }

    fn end_compaction(&mut self) {
        let Some(compacting) = self.compacting.take() else { return };
        match compacting.join().expect("a compaction does not panic") {
            Ok(Compacted::Done) => {}
            Ok(Compacted::PutOff) => {
                self.metrics.compactions_put_off.inc();
            }
            Err(failure) => {
                tracing::error!(%failure, "no compaction");
                self.metrics.compactions_failed.inc();
            }
        }
    }
}

/// When segments of the journal give way to a base, and where they go.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    pub journal: PathBuf,
    pub ledger: PathBuf,
    /// Nothing: they are gone.
    pub archive: Option<Archive>,
    /// So many closed segments behind the newest snapshot; never at zero.
    pub after_segments: usize,
}

/// What came of a compaction.
enum Compacted {
    /// There is a base, or too little to make one of.
    Done,
    /// The next snapshot tries again.
    PutOff,
}

/// Compacts the journal of a data folder in which no pipeline works, behind its newest snapshot.
pub fn compact_now(data: &Path, archive: Option<&Path>) -> Result<(), Failure> {
    let path = snapshots_folder(data);
    let snapshots = Snapshots::open(&path, 1).map_err(|error| Failure::Folder { path, error })?;
    let archive = archive.map(|folder| Archive { folder: folder.to_owned(), kept_for: Duration::MAX });
    let (journal, ledger) = (journal_folder(data), ledger_file(data));
    Compaction { journal, ledger, archive, after_segments: 1 }.run(&snapshots).map(drop)
}

impl Compaction {
    /// Once a snapshot is complete. What is old leaves the archive in any case: it may be full.
    fn run(&self, snapshots: &Snapshots) -> Result<Compacted, Failure> {
        let compacted = self.compact(snapshots);
        let Some(archive) = &self.archive else { return compacted };
        let pruned = archive.prune().map_err(|error| Failure::Folder { path: archive.folder.clone(), error });
        compacted.and_then(|compacted| pruned.map(|()| compacted))
    }

    fn compact(&self, snapshots: &Snapshots) -> Result<Compacted, Failure> {
        let at = |error| Failure::Folder { path: self.journal.clone(), error };
        let Some(snapshot) = snapshots.newest().map_err(at)?.into_iter().next() else { return Ok(Compacted::Done) };
        let segments = base::segments_until(&self.journal, snapshot.epoch)?;
        if self.after_segments == 0 || segments < self.after_segments {
            return Ok(Compacted::Done);
        }
        let begun = Instant::now();
        // What the base stands for is nowhere else but in the ledger then.
        let synced = sync_ledger(&self.ledger)?;
        if synced < snapshot.epoch {
            // Somebody still reads how the ledger stood before, and its log grows meanwhile. The next snapshot tries again.
            tracing::warn!(epoch = snapshot.epoch, "compaction waits: the ledger's file cannot be synced so far");
            return Ok(Compacted::PutOff);
        }
        base::compact(&self.journal, snapshot.epoch, &snapshot.rest(), self.archive.as_ref())?;
        tracing::info!(epoch = snapshot.epoch, segments, milliseconds = begun.elapsed().as_millis() as u64, "journal compacted");
        Ok(Compacted::Done)
    }
}

/// Has each thread that holds something write it in a copy of the process.
fn copy(draft: &Snapshot, engine: &Engine, ledger: &Ledger) -> Vec<io::Result<Copy>> {
    let of_worker = draft.clone();
    let mut copies = engine.with_houses(move |worker, house| in_a_copy(|| of_worker.write_worker(worker, |saver| house.save(saver))));
    copies.push(in_a_copy(|| {
        draft.write_rest(|saver| {
            engine.save(saver)?;
            ledger.save(saver)
        })
    }));
    copies
}

fn restore(snapshot: &Snapshot, engine: &mut Engine, ledger: &mut Ledger) -> io::Result<()> {
    let (workers, of_worker) = (engine.workers(), snapshot.clone());
    let houses = engine.with_houses(move |worker, house| of_worker.read_worker(worker, workers, |restorer| house.restore(restorer)));
    houses.into_iter().collect::<io::Result<()>>()?;
    snapshot.read_rest(|restorer| {
        engine.restore(restorer)?;
        ledger.restore(restorer)
    })
}
