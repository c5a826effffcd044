//! An understudy: an engine under a policy that is not in force, which is told the journal beside the one at work, so that the stream need
//! not stand still while everything is told again. It takes as much memory as that one, until it takes over or nobody wants it any more.

use super::progress::Progress;
use super::regime::Regime;
use super::{Failure, journal_folder};
use crate::dispatch::Terms;
use crate::engine::Engine;
use crate::journal::{self, Folder, base, read_epochs};
use dataflows::model::Epoch;
use dataflows::policy::Policy;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between looks for what the journal holds more. The segment that is being written is read again at each; what comes between two is told in a moment.
const LOOK: Duration = Duration::from_secs(5);
/// Nobody waits for an epoch yet.
const NONE: u64 = u64::MAX;

/// How far an understudy is.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicU64>);

impl Told {
    pub fn epoch(&self) -> Epoch {
        self.0.load(Ordering::Acquire)
    }
}

pub(super) struct Understudy {
    pub policy: Arc<Policy>,
    pub told: Told,
    wanted: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Engine, Failure>>>,
}

impl Understudy {
    /// Begins to tell it what the journal of a data folder holds, and goes on with what `progress` has passed.
    pub fn start(policy: Arc<Policy>, workers: usize, data: &Path, progress: Arc<Progress>) -> Understudy {
        let (told, wanted) = (Told::default(), Arc::new(AtomicU64::new(NONE)));
        let journal = journal_folder(data);
        let follow = {
            let (policy, told, wanted) = (policy.clone(), told.clone(), wanted.clone());
            move || follow(policy, workers, journal, &progress, &told, &wanted)
        };
        let thread = std::thread::Builder::new().name("understudy".to_owned()).spawn(follow).expect("a thread can be started");
        Understudy { policy, told, wanted, thread: Some(thread) }
    }

    /// Has it stop after this epoch, which is durable: the last one that was passed when this is called.
    pub fn stop_after(&self, epoch: Epoch) {
        self.wanted.store(epoch, Ordering::Release);
        self.thread.iter().for_each(|thread| thread.thread().unpark());
    }

    /// Whether it stopped without being asked to: its engine tells why.
    pub fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished) && self.wanted.load(Ordering::Acquire) == NONE
    }

    /// Its engine, once it has stopped where it was asked to.
    pub fn engine(mut self) -> Result<Engine, Failure> {
        let thread = self.thread.take().expect("its engine is asked for once");
        thread.join().expect("an understudy does not panic")
    }
}

impl Drop for Understudy {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Nobody needs it any more.
            self.stop_after(0);
        }
    }
}

fn follow(
    policy: Arc<Policy>,
    workers: usize,
    journal: PathBuf,
    progress: &Progress,
    told: &Told,
    wanted: &AtomicU64,
) -> Result<Engine, Failure> {
    let mut regime = Regime::new(policy.clone(), &Terms::from(&*policy));
    let begin = |regime: &mut Regime| -> Result<Engine, Failure> {
        loop {
            let mut engine = Engine::start(policy.clone(), workers);
            let base = base::newest(&journal).map_err(|error| Failure::Folder { path: journal.clone(), error })?;
            let Some(base) = base else { return Ok(engine) };
            match regime.tell_base(&mut engine, &base) {
                Ok(()) => return Ok(engine),
                Err(failure) if !is_in_base(&journal, base.epoch + 1) => return Err(failure),
                Err(_) => {}
            }
        }
    };
    let mut engine = begin(&mut regime)?;
    told.0.store(engine.epoch(), Ordering::Release);
    let disk = Folder::beside(&journal);
    loop {
        let last = match wanted.load(Ordering::Acquire) {
            // Nobody knows yet where to stop: not beyond what has been passed, so that it can stop there.
            NONE => progress.standing().epoch,
            epoch => epoch,
        };
        let after = engine.epoch();
        if after < last {
            let read = read_epochs(&disk, after, last, |epoch| {
                let submission = regime.restore(&epoch.dictionary, &epoch.entries);
                regime.tell(&mut engine, submission.items, |_| ());
                engine.commit();
                told.0.store(epoch.number, Ordering::Release);
                Ok(())
            });
            match read {
                Ok(_) => {}
                Err(_) if is_in_base(&journal, engine.epoch() + 1) => engine = begin(&mut regime)?,
                // Its segment was of no interest, and gave way to a base after it was listed.
                Err(journal::Failure::Disk { error, .. }) if error.kind() == io::ErrorKind::NotFound => std::thread::park_timeout(LOOK),
                Err(failure) => return Err(failure.into()),
            }
        } else if wanted.load(Ordering::Acquire) == last {
            return Ok(engine);
        } else {
            std::thread::park_timeout(LOOK);
        }
    }
}

/// Whether a base stands for this epoch: then what was about to be read may have gone meanwhile.
fn is_in_base(journal: &Path, epoch: Epoch) -> bool {
    base::newest(journal).ok().flatten().is_some_and(|base| base.epoch >= epoch)
}
