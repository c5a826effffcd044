//! The registrar: writes what epochs brought into the ledger's file, on a thread of its own. On the first day of a quarter that takes minutes, in which
//! engine and ledger go on; what they decide meanwhile waits here, and is then written together.

use super::Failure;
use super::metrics::Metrics;
use super::progress::Progress;
use super::scribe::Scribe;
use crate::ledger::{Page, Store, StoreFailure};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rows that may wait; who brings more waits until nothing else does, and nothing is being written.
pub(super) const ROWS_AHEAD: usize = 1 << 17;
/// What a page counts for beside its rows.
const PAGE_ROWS: usize = 8;
/// Rows that are written together: those who read the file, and a checkpoint, wait for no more.
const ROWS_TOGETHER: usize = 1 << 14;
/// With nothing to write for so long the file hears of what brought it no rows.
const REST: Duration = Duration::from_millis(100);
/// Between attempts to write the file.
const PAUSE: Duration = Duration::from_millis(200);

/// What an epoch brings, and when that arrived and was decided, if it came just now.
struct Entry {
    page: Page,
    arrived: Option<Instant>,
    decided: Option<Instant>,
}

enum Task {
    Write(Box<Entry>),
    /// The file is to know of everything before this; then it is said.
    CatchUp(Sender<()>),
    /// From here on what cannot be written is tried again, as long as this does not leave.
    Insist(Scribe),
}

/// How much waits to be written.
#[derive(Default)]
struct Ahead {
    waiting: usize,
    writing: usize,
    /// Nobody writes any more.
    has_ended: bool,
}

impl Ahead {
    /// Whether so many rows may wait. Many may behind nothing: of two epochs that are told to a whole country one is held at a time.
    fn has_room(&self, rows: usize) -> bool {
        self.waiting + rows <= ROWS_AHEAD || self.waiting + self.writing == 0
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<(Mutex<Ahead>, Condvar)>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ahead> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Ahead)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// Waits until there is room for so many rows, and takes it.
    fn take_room(&self, rows: usize) {
        let is_full = |ahead: &mut Ahead| !ahead.has_room(rows) && !ahead.has_ended;
        self.0.1.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner).waiting += rows;
    }
}

/// The way to whoever writes.
pub(crate) struct Registrar {
    /// Nothing once it ends, and so with the thread.
    tasks: Option<Sender<Task>>,
    shared: Shared,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Registrar {
    /// Writes what is entered from here on; what cannot be written ends it, until [`Registrar::insist`].
    pub fn start(store: Store, data: PathBuf, (progress, metrics): (Arc<Progress>, Arc<Metrics>)) -> Registrar {
        let (tasks, received) = channel();
        let shared = Shared::default();
        let mut copyist = Copyist { store, shared: shared.clone(), insisting: None, data, progress, metrics };
        let work = move || {
            let done = copyist.work(&received);
            copyist.shared.change(|ahead| ahead.has_ended = true);
            done
        };
        let thread = std::thread::Builder::new().name("registrar".to_owned()).spawn(work).expect("a thread can be started");
        Registrar { tasks: Some(tasks), shared, thread: Some(thread) }
    }

    /// From here on what cannot be written is tried again until the pipeline leaves: a full disk, for one. Nothing is lost, and nothing more is taken in
    /// than there is room for.
    pub fn insist(&self, scribe: &Scribe) {
        // Whoever has ended says why at the next entry.
        self.send(Task::Insist(scribe.clone()));
    }

    /// Has an epoch written; waits for room. False if nothing is written any more, for which [`Registrar::end`] tells the reason.
    pub fn enter(&self, page: Page, arrived: Option<Instant>, decided: Option<Instant>) -> bool {
        self.shared.take_room(weight(&page));
        self.send(Task::Write(Box::new(Entry { page, arrived, decided })))
    }

    /// Has the file hear of everything that was entered; `answer` is told, or dropped if that cannot be.
    pub fn catch_up(&self, answer: Sender<()>) {
        self.send(Task::CatchUp(answer));
    }

    /// Whether what was entered is written soon: nothing of it is told to a whole country.
    pub fn is_near(&self) -> bool {
        let ahead = self.shared.lock();
        ahead.waiting + ahead.writing <= ROWS_AHEAD + ROWS_TOGETHER
    }

    /// Writes what was entered, and ends.
    pub fn end(mut self) -> Result<(), Failure> {
        self.join()
    }

    /// Whether somebody is there to do it.
    fn send(&self, task: Task) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok())
    }

    fn join(&mut self) -> Result<(), Failure> {
        drop(self.tasks.take());
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("the registrar does not panic"))
    }
}

impl Drop for Registrar {
    /// The file is closed once this is gone.
    fn drop(&mut self) {
        if let Err(failure) = self.join() {
            tracing::error!(%failure, "the ledger cannot be written");
        }
    }
}

fn weight(page: &Page) -> usize {
    page.size() + PAGE_ROWS
}

/// Who writes.
struct Copyist {
    store: Store,
    shared: Shared,
    /// With whom attempts end; nothing while none is repeated.
    insisting: Option<Scribe>,
    data: PathBuf,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
}

impl Copyist {
    fn work(&mut self, tasks: &Receiver<Task>) -> Result<(), Failure> {
        let mut next = None;
        loop {
            let task = match next.take() {
                Some(task) => task,
                None => match self.wait(tasks) {
                    Ok(task) => task,
                    Err(RecvTimeoutError::Timeout) => {
                        self.try_until_done(Store::catch_up)?;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return self.try_until_done(Store::catch_up),
                },
            };
            match task {
                Task::Write(entry) => next = self.write(*entry, tasks)?,
                Task::CatchUp(answer) => {
                    self.try_until_done(Store::catch_up)?;
                    // Whoever asked may have gone.
                    let _ = answer.send(());
                }
                Task::Insist(scribe) => self.insisting = Some(scribe),
            }
        }
    }

    fn wait(&self, tasks: &Receiver<Task>) -> Result<Task, RecvTimeoutError> {
        if self.store.is_behind() { tasks.recv_timeout(REST) } else { tasks.recv().map_err(|_| RecvTimeoutError::Disconnected) }
    }

    /// Writes an epoch, and those that wait behind it; what came then that is no epoch.
    fn write(&mut self, first: Entry, tasks: &Receiver<Task>) -> Result<Option<Task>, Failure> {
        let mut rows = weight(&first.page);
        let (mut pages, mut times, mut next) = (vec![first.page], vec![(first.arrived, first.decided)], None);
        while rows < ROWS_TOGETHER {
            match tasks.try_recv() {
                Ok(Task::Write(entry)) => {
                    rows += weight(&entry.page);
                    pages.push(entry.page);
                    times.push((entry.arrived, entry.decided));
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.shared.change(|ahead| (ahead.waiting, ahead.writing) = (ahead.waiting - rows, rows));
        self.try_until_done(|store| store.write(&pages))?;
        let epoch = pages.last().map_or(0, |page| page.epoch);
        self.metrics.frontier.set(epoch as i64);
        for (arrived, decided) in times {
            decided.into_iter().for_each(|decided| Metrics::since(&self.metrics.written, decided));
            arrived.into_iter().for_each(|arrived| Metrics::since(&self.metrics.in_ledger, arrived));
        }
        self.progress.change(|standing| (standing.epoch, standing.since) = (epoch, Instant::now()));
        drop(pages);
        self.shared.change(|ahead| ahead.writing = 0);
        Ok(next)
    }

    fn try_until_done(&mut self, mut attempt: impl FnMut(&mut Store) -> Result<(), StoreFailure>) -> Result<(), Failure> {
        let mut has_failed = false;
        loop {
            let is_last = self.insisting.as_ref().is_some_and(Scribe::is_leaving);
            let Err(failure) = attempt(&mut self.store) else {
                if has_failed {
                    self.progress.change(|standing| standing.failure = None);
                }
                return Ok(());
            };
            if self.insisting.is_none() {
                return Err(failure.into());
            }
            if is_last {
                return Err(Failure::Unwritten { data: self.data.clone(), what: failure.to_string() });
            }
            if !has_failed {
                tracing::error!(%failure, "the ledger cannot be written; trying again");
            }
            has_failed = true;
            self.progress.change(|standing| standing.failure = Some(failure.to_string()));
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Little waits behind whatever is being written, and much behind nothing.
    #[test]
    fn there_is_room_for_little_and_once_for_much() {
        let ahead = |waiting, writing| Ahead { waiting, writing, has_ended: false };
        let much = 100 * ROWS_AHEAD;
        assert!(ahead(0, 0).has_room(much) && ahead(0, much).has_room(ROWS_AHEAD) && ahead(ROWS_AHEAD - 1, much).has_room(1));
        assert!(!ahead(0, 1).has_room(much) && !ahead(1, 0).has_room(much) && !ahead(ROWS_AHEAD, much).has_room(1));
        assert!(!ahead(much, 0).has_room(1), "nor behind much that waits");
    }
}
