//! What the ledger's file needs beside its writer. Its log is on its way to the disk soon after it is written, since the system would send
//! half a minute of it at once, and whoever syncs then waits. Checkpoints bring what the log holds into the tables: the writer would have to
//! wait for syncs of a file that is a thousand times as long as what an epoch writes.

use super::StoreFailure;
use super::store::PAGE_BYTES;
use crate::beside::{Beside, End, send};
use dataflows::model::Epoch;
use rusqlite::{Connection, ffi};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between looks whether there is anything to send, or a checkpoint is due.
const LOOK: Duration = Duration::from_millis(100);
/// With so many rows in the log it is, and after so long with any. Not sooner: a sync of the ledger's file is a commit of the file system, for which the syncs
/// of the journal beside it wait (with one each second the hundredth slowest record took 16 ms to be acknowledged, where the disk alone takes 2).
const ROWS: u64 = 16_000;
const LONGEST: Duration = Duration::from_secs(60);
/// Pages in the log at which it is to begin anew. The writer waits for that, and for no more than what came during the checkpoint before.
const PAGES_MAX: i64 = 1 << 13;
/// What of its file stays where it begins anew, however long it became meanwhile.
pub(super) const LOG_BYTES_KEPT: i64 = 2 * PAGES_MAX * PAGE_BYTES;
/// A checkpoint that ends the log waits so long for those who read an older state, and whoever writes waits with it.
const PATIENCE: Duration = Duration::from_millis(100);
/// What must reach the disk tries so often, and pauses so long between: another checkpoint may be under way.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(400);

/// How long the log is; nothing where there is none.
pub fn log_bytes(ledger: &Path) -> u64 {
    log_of(ledger).metadata().map_or(0, |log| log.len())
}

fn log_of(ledger: &Path) -> PathBuf {
    ledger.with_extension("db-wal")
}

/// Makes checkpoints until this is dropped; `rows` is counted up by the writer.
pub(super) fn checkpoints(path: &Path, rows: Arc<AtomicU64>) -> Beside {
    let path = path.to_owned();
    Beside::start_idle("checkpoints", move |end| {
        if let Err(error) = checkpoint(&path, &rows, end) {
            // The writer makes them itself when it closes the file.
            tracing::error!(%error, "no checkpoints of the ledger");
        }
    })
}

/// Has everything that is committed outlive a loss of power; the last epoch of it, zero if somebody reads an older state all the time.
pub fn sync_ledger(path: &Path) -> Result<Epoch, StoreFailure> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    let frontier = connection.query_row("SELECT frontier FROM meta", [], |row| row.get(0))?;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0))?;
        if busy == 0 {
            return Ok(frontier);
        }
    }
    Ok(0)
}

/// Has the disk take what was brought into the tables; nobody waits for that.
fn sync_tables(connection: &Connection) -> rusqlite::Result<()> {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    let to = std::ptr::from_mut(&mut file).cast();
    // SAFETY: the connection is open and used by this thread alone. Its file is open as long, and its methods are those of the system's files, each of
    // which can be synced.
    let code = unsafe {
        match ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), ffi::SQLITE_FCNTL_FILE_POINTER, to) {
            ffi::SQLITE_OK => match file.as_ref().and_then(|file| file.pMethods.as_ref()).and_then(|methods| methods.xSync) {
                Some(sync) => sync(file, ffi::SQLITE_SYNC_NORMAL),
                None => ffi::SQLITE_OK,
            },
            code => code,
        }
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

fn checkpoint(path: &Path, rows: &AtomicU64, end: &End) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    let checkpoint = |how: &str| connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get::<_, i64>(1));
    let log = File::open(log_of(path)).ok();
    let (mut last, mut counted) = (Instant::now(), rows.load(Ordering::Relaxed));
    let mut sent = counted;
    while end.rest(LOOK) {
        let now = rows.load(Ordering::Relaxed);
        if std::mem::replace(&mut sent, now) != now {
            // That nothing is sent costs time alone.
            log.iter().for_each(|log| drop(send(log)));
        }
        if now - counted < if last.elapsed() < LONGEST { ROWS } else { 1 } {
            continue;
        }
        (last, counted) = (Instant::now(), now);
        // Where the disk is full or the file is locked the next one may do better.
        if checkpoint("PASSIVE").is_ok_and(|pages| pages > PAGES_MAX) {
            // While somebody writes, that one leaves the sync of the tables to the next, for which whoever writes waits. The log is not begun anew
            // while the disk does not have what it holds.
            match sync_tables(&connection) {
                Ok(()) => drop(checkpoint("RESTART")),
                Err(error) => tracing::error!(%error, "the disk does not take the ledger's tables"),
            }
        }
    }
    Ok(())
}
