//! How far the ledger has come, for all who wait for it.

use super::understudy::Told;
use crate::intake::Schema;
use crate::journal::Pausable;
use crate::ledger::Packages;
use crate::sources::is_meant;
use dataflows::model::{Date, Epoch};
use dataflows::policy::Policy;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between looks whether the ledger's file can be written.
const LOOK: Duration = Duration::from_millis(100);

/// What the ledger has reached.
#[derive(Clone, Debug)]
pub struct Standing {
    pub epoch: Epoch,
    /// When the ledger had it.
    pub since: Instant,
    pub date: Date,
    /// The policy in force, and how lines are read under it.
    pub policy: Arc<Policy>,
    pub schema: Arc<Schema>,
    pub packages: Packages,
    /// How far the engine is that is being prepared under the next package.
    pub understudy: Option<Told>,
    pub live: bool,
    /// When each register that ever was was last heard.
    pub heard: Vec<(u16, Date)>,
    /// Texts decided on so far, and those of them that wait or were not answered for.
    pub texts: u64,
    pub texts_under_way: u64,
    /// Conversations by their stage, in the order of [`crate::dispatch::conversation::Stage::NAMES`].
    pub offers: Vec<usize>,
    /// What an operator has paused.
    pub paused: BTreeSet<Pausable>,
    /// Why the pipeline takes in nothing more, if so: the ledger cannot be written, for one.
    pub failure: Option<String>,
    /// Why the journal cannot be written, if so: whatever comes has it tried again.
    pub journal_failure: Option<String>,
}

impl Standing {
    /// Whether what has this name waits: it alone, or its feed.
    pub fn is_paused(&self, name: &str) -> bool {
        self.paused.iter().any(|what| matches!(what, Pausable::Feed(feed) if is_meant(name, feed)))
    }

    /// Why what comes is not taken in, if so.
    pub fn trouble(&self) -> Option<&str> {
        self.failure.as_deref().or(self.journal_failure.as_deref())
    }
}

/// Shared between the conductor, who moves it, and everybody who waits.
pub struct Progress {
    standing: Mutex<Standing>,
    moved: Condvar,
}

impl Progress {
    /// Nothing is reached yet under this policy.
    pub fn new(policy: Arc<Policy>, schema: Arc<Schema>) -> Self {
        let standing = Standing {
            policy,
            schema,
            packages: Packages::default(),
            understudy: None,
            epoch: 0,
            since: Instant::now(),
            date: Date::BEFORE_ALL,
            live: false,
            heard: Vec::new(),
            texts: 0,
            texts_under_way: 0,
            offers: Vec::new(),
            paused: BTreeSet::new(),
            failure: None,
            journal_failure: None,
        };
        Progress { standing: Mutex::new(standing), moved: Condvar::new() }
    }

    /// How lines are read now.
    pub fn schema(&self) -> Arc<Schema> {
        self.lock().schema.clone()
    }

    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.lock());
        self.moved.notify_all();
    }

    /// When the ledger had the last epoch that it has.
    pub fn since(&self) -> Instant {
        self.lock().since
    }

    /// Waits until whoever writes the ledger's file says something; false if they do not, since it cannot be written.
    pub(super) fn hear(&self, answer: &Receiver<()>) -> bool {
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) if self.lock().failure.is_some() => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits until the ledger has passed an epoch, so long at the most; whether it has.
    pub fn wait_for(&self, epoch: Epoch, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut standing = self.lock();
        while standing.epoch < epoch {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            standing = self.moved.wait_timeout(standing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
