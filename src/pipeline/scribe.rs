//! The scribe: gathers what waits at the doors into one epoch, writes and syncs it, and only then says that it arrived.
//!
//! While one epoch is being synced the next gathers: under load groups grow by themselves, and alone a submission waits for one sync. A
//! date begins an epoch, so that what changed on a day is never netted with what changed on another.

use super::conductor::Work;
use super::metrics::Metrics;
use super::progress::Progress;
use super::room::Backlog;
use super::submission::Submission;
use crate::intake::Schema;
use crate::journal::{self, Disk, Journal};
use dataflows::model::Epoch;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of entries that one epoch gathers, unless a single submission brings more.
const EPOCH_BYTES: usize = 4 << 20;
/// Submissions that may wait; beyond, doors wait.
const SUBMISSIONS_AHEAD: usize = 64;
/// Between looks whether a journal that could not be written can be again, while nothing comes.
const PAUSE: Duration = Duration::from_millis(200);

/// A submission that would outlive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub epoch: Epoch,
}

/// Nothing is taken in: why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The answer to a submission, once there is one.
pub struct Answer(Receiver<Result<Acknowledgement, Unavailable>>);

impl Answer {
    pub fn wait(self) -> Result<Acknowledgement, Unavailable> {
        self.0.recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Whether it is known by now that nothing was written.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.0.try_recv(), Ok(Err(_)))
    }
}

type Reply = Sender<Result<Acknowledgement, Unavailable>>;

/// A submission, and who waits for the answer.
type Submitted = (Submission, Reply);

type Door = SyncSender<Submitted>;

/// The way to the scribe.
#[derive(Clone)]
pub struct Scribe {
    /// Taken away when the pipeline closes.
    door: Arc<Mutex<Option<Door>>>,
    /// The pipeline is to end.
    leaving: Arc<AtomicBool>,
}

impl Scribe {
    /// Starts the thread that writes; epochs go on as `work` in their order.
    pub(super) fn start<D: Disk>(
        journal: Journal<D>,
        work: Sender<Work>,
        (progress, metrics): (Arc<Progress>, Arc<Metrics>),
    ) -> (Scribe, JoinHandle<()>) {
        let (door, submissions) = sync_channel(SUBMISSIONS_AHEAD);
        let write = move || write(Tried { journal, failing: false, progress: &progress }, &submissions, &work, &metrics);
        let thread = std::thread::Builder::new().name("scribe".to_owned()).spawn(write).expect("a thread can be started");
        (Scribe { door: Arc::new(Mutex::new(Some(door))), leaving: Arc::default() }, thread)
    }

    /// Hands in a submission and waits until it is durable.
    pub fn submit(&self, submission: Submission) -> Result<Acknowledgement, Unavailable> {
        self.send(submission)?.wait()
    }

    /// Hands in a submission; the answer comes once it is durable.
    pub fn send(&self, submission: Submission) -> Result<Answer, Unavailable> {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = channel();
        door.ok_or_else(closed)?.send((submission, reply)).map_err(|_| closed())?;
        Ok(Answer(answer))
    }

    /// The same without waiting for room: nothing if there is none.
    pub(super) fn offer(&self, submission: Submission) -> Option<Answer> {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        let (reply, answer) = channel();
        door.as_ref()?.try_send((submission, reply)).ok().map(|()| Answer(answer))
    }

    /// Whether nothing is taken in any more.
    pub fn is_closed(&self) -> bool {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// The pipeline is to end: whatever fails from here on is not tried again.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Takes in nothing more; what was taken in is written.
    pub(super) fn close(&self) {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn closed() -> Unavailable {
    Unavailable("the pipeline is stopping".to_owned())
}

/// The journal, and whether it could be written when that was tried last, for all who ask.
struct Tried<'p, D: Disk> {
    journal: Journal<D>,
    failing: bool,
    progress: &'p Progress,
}

impl<D: Disk> Tried<'_, D> {
    fn append(&mut self, entries: &[u8]) -> Result<Epoch, journal::Failure> {
        let written = self.journal.append(entries);
        self.note(written.as_ref().err());
        written
    }

    /// What comes next. Until then a journal that cannot be written is tried now and then: whoever comes only to a pipeline that is ready would never come.
    fn next(&mut self, submissions: &Receiver<Submitted>) -> Option<Submitted> {
        while self.failing {
            match submissions.recv_timeout(PAUSE) {
                Err(RecvTimeoutError::Timeout) => {
                    let tried = self.journal.try_out();
                    self.note(tried.err().as_ref());
                }
                received => return received.ok(),
            }
        }
        submissions.recv().ok()
    }

    fn note(&mut self, failure: Option<&journal::Failure>) {
        if self.failing || failure.is_some() {
            self.failing = failure.is_some();
            self.progress.change(|standing| standing.journal_failure = failure.map(ToString::to_string));
        }
    }
}

fn write<D: Disk>(mut journal: Tried<'_, D>, submissions: &Receiver<Submitted>, work: &Sender<Work>, metrics: &Metrics) {
    let (mut next, backlog) = (None, Backlog::default());
    // By what was read what was written last.
    let mut last: Option<Arc<Schema>> = None;
    while let Some((mut group, reply)) = next.take().or_else(|| journal.next(submissions)) {
        let mut waiting = vec![(group.arrived, reply)];
        while group.entries.len() < EPOCH_BYTES
            && let Ok((submission, reply)) = submissions.try_recv()
        {
            if !group.may_be_followed_by(&submission) {
                next = Some((submission, reply));
                break;
            }
            waiting.push((submission.arrived, reply));
            group.append(submission);
        }
        if let Some(schema) = group.schema.as_ref().filter(|schema| last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, schema))) {
            journal.journal.write_by(schema.dictionary());
            last = Some(schema.clone());
        }
        let begun = Instant::now();
        let written = journal.append(&group.entries);
        group.journalled = Some(Instant::now());
        Metrics::since(&metrics.sync, begun);
        match &written {
            Ok(_) => {
                metrics.journal_bytes.inc_by(group.entries.len() as u64);
            }
            Err(failure) => {
                tracing::error!(%failure, "the journal cannot be written");
                metrics.journal_failed.inc();
            }
        }
        let answer = written.as_ref().map(|epoch| Acknowledgement { epoch: *epoch }).map_err(|failure| Unavailable(failure.to_string()));
        // What is durable is on its way at once: nobody waits for the conductor to hear that it is.
        let is_gone = written.is_ok_and(|epoch| {
            let waiting = backlog.add(if group.bulky { 0 } else { group.entries.len() });
            work.send(Work::Epoch(epoch, group, waiting)).is_err()
        });
        for (arrived, reply) in waiting {
            arrived.into_iter().for_each(|arrived| Metrics::since(&metrics.acknowledged, arrived));
            // Whoever went away will ask again, and be told that it is a duplicate.
            let _ = reply.send(answer.clone());
        }
        if is_gone {
            return;
        }
        backlog.wait_for_room();
    }
}
