//! Checkpoints of the ledger's file: what its log holds goes into its tables beside the writer, who would have to wait for syncs of a file
//! that is a thousand times as long as what an epoch writes.

use super::StoreFailure;
use crate::beside::{Beside, End};
use dataflows::model::Epoch;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;

/// Between two checkpoints.
const PAUSE: Duration = Duration::from_secs(1);
/// Pages in the log at which it is to begin anew. The writer waits for that, and for no more than what came during the checkpoint before.
const PAGES_MAX: i64 = 1 << 14;

/// Makes checkpoints until this is dropped.
pub(super) fn checkpoints(path: &Path) -> Beside {
    let path = path.to_owned();
    Beside::start("checkpoints", move |end| {
        if let Err(error) = checkpoint(&path, end) {
            // The writer makes them itself when it closes the file.
            tracing::error!(%error, "no checkpoints of the ledger");
        }
    })
}

/// Has everything that is committed outlive a loss of power; the last epoch of it.
pub fn sync_ledger(path: &Path) -> Result<Epoch, StoreFailure> {
    let connection = Connection::open(path)?;
    let frontier = connection.query_row("SELECT frontier FROM meta", [], |row| row.get(0))?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0))?;
    Ok(if busy == 0 { frontier } else { 0 })
}

fn checkpoint(path: &Path, end: &End) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    let checkpoint = |how: &str| connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get::<_, i64>(1));
    while end.rest(PAUSE) {
        // Where the disk is full or the file is locked the next one may do better.
        if checkpoint("PASSIVE").is_ok_and(|pages| pages > PAGES_MAX) {
            drop(checkpoint("RESTART"));
        }
    }
    Ok(())
}
