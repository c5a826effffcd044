//! Telling the journal again at a start: a reader ahead of the engine that is told.

use super::Failure;
use super::news::News;
use super::regime::Recall;
use super::submission::Submission;
use crate::intake::Schema;
use crate::journal::{self, Disk, Summary, read_epochs};
use dataflows::model::Epoch;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

/// Epochs are handed on together that have so many bytes.
const STRETCH_BYTES: usize = 1 << 20;
/// Stretches of epochs that are read before the engine takes them in.
const STRETCHES_AHEAD: usize = 4;

/// Epochs in their order.
type Told = Vec<(Epoch, Submission)>;

/// Tells every epoch that the journal holds after one, as it is understood under the policy in force when the telling begins; the last one there is.
/// `known` is the last of which the ledger's file knows: not many come after it.
pub(super) fn retell<D: Disk + Sync>(
    disk: &D,
    after: Epoch,
    known: Epoch,
    schema: Arc<Schema>,
    mut tell: impl FnMut(Epoch, Submission) -> Result<(), Failure>,
) -> Result<Epoch, Failure> {
    let begun = Instant::now();
    let mut news = News::of("telling the journal again", known.saturating_sub(after));
    let summary = std::thread::scope(|scope| {
        let (ahead, stretches) = sync_channel(STRETCHES_AHEAD);
        let reading = scope.spawn(move || read_ahead(disk, after, schema, &ahead));
        for epochs in stretches {
            for (number, submission) in epochs {
                tell(number, submission)?;
                news.tell(number - after);
            }
        }
        reading.join().expect("a reader does not panic").map_err(Failure::from)
    })?;
    let epochs = summary.last_epoch.saturating_sub(after);
    tracing::info!(epochs, milliseconds = begun.elapsed().as_millis() as u64, "journal told again");
    Ok(summary.last_epoch)
}

/// Reads epochs after one beside the engine that is told them.
fn read_ahead<D: Disk>(disk: &D, after: Epoch, schema: Arc<Schema>, ahead: &SyncSender<Told>) -> Result<Summary, journal::Failure> {
    let mut recall = Recall::new(schema);
    let (mut epochs, mut bytes) = (Vec::new(), 0);
    let hand = |epochs: &mut Told| {
        // Whoever was told has failed, and says why.
        let _ = ahead.send(std::mem::take(epochs));
    };
    let summary = read_epochs(disk, after, Epoch::MAX, |journal::Epoch { number, dictionary, entries }| {
        bytes += entries.len();
        epochs.push((number, recall.recall(dictionary, entries)));
        if bytes >= STRETCH_BYTES {
            hand(&mut epochs);
            bytes = 0;
        }
        Ok(())
    })?;
    hand(&mut epochs);
    Ok(summary)
}
