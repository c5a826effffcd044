//! Checkpoints of the ledger's file: what its log holds goes into its tables beside the writer, who would have to wait for syncs of a file
//! that is a thousand times as long as what an epoch writes.

use super::StoreFailure;
use dataflows::model::Epoch;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two checkpoints.
const PAUSE: Duration = Duration::from_secs(1);
/// Pages in the log at which it is to begin anew. The writer waits for that, and for no more than what came during the checkpoint before.
const PAGES_MAX: i64 = 1 << 14;

/// A thread that makes checkpoints until this is dropped.
pub(super) struct Checkpoints {
    /// Whose end the thread hears.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub fn start(path: &Path) -> Checkpoints {
        let (stop, stopped) = channel();
        let path = path.to_owned();
        let work = move || {
            if let Err(error) = checkpoint(&path, &stopped) {
                // The writer makes them itself when it closes the file.
                tracing::error!(%error, "no checkpoints of the ledger");
            }
        };
        let thread = std::thread::Builder::new().name("checkpoints".to_owned()).spawn(work).expect("a thread can be started");
        Checkpoints { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop.take();
        // A panic of the thread was reported where it happened.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Has everything that is committed outlive a loss of power; the last epoch of it.
pub fn sync_ledger(path: &Path) -> Result<Epoch, StoreFailure> {
    let connection = Connection::open(path)?;
    let frontier = connection.query_row("SELECT frontier FROM meta", [], |row| row.get(0))?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0))?;
    Ok(if busy == 0 { frontier } else { 0 })
}

fn checkpoint(path: &PathBuf, stopped: &Receiver<()>) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    let checkpoint = |how: &str| connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get::<_, i64>(1));
    while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        // Where the disk is full or the file is locked the next one may do better.
        if checkpoint("PASSIVE").is_ok_and(|pages| pages > PAGES_MAX) {
            drop(checkpoint("RESTART"));
        }
    }
    Ok(())
}
