//! The ledger behind an engine that is measured, as a pipeline has it: a fold of what changes, and its SQLite file.

use crate::commands::Failure;
use crate::dispatch::{Heard, Terms};
use crate::engine::regions::Regions;
use crate::engine::{Engine, EpochOutput};
use crate::ledger::{Ledger, Page, Resettled, Store, StoreFailure};
use crate::packages::fingerprint;
use dataflows::policy::Policy;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Book {
    ledger: Ledger,
    store: Store,
    regions: Option<Regions>,
    /// It ends after the file in it is closed.
    _folder: Temporary,
}

/// Ends an epoch, and has the ledger take in what it led to, where there is one: once this returns, all that the pipeline would have written is.
pub fn commit(engine: &mut Engine, book: &mut Option<Book>) -> Result<EpochOutput, Failure> {
    let output = engine.commit();
    match book {
        Some(book) => book.enter(engine, output).map_err(|failure| Failure::failed(failure.to_string())),
        None => Ok(output),
    }
}

impl Book {
    /// Begins a ledger in a temporary folder, if it is wanted.
    pub fn begin(is_wanted: bool, policy: &Arc<Policy>) -> Result<Option<Book>, Failure> {
        if !is_wanted {
            return Ok(None);
        }
        let folder = Temporary::new().map_err(|error| Failure::failed(format!("no temporary folder: {error}")))?;
        let store = Store::open(&folder.0.join("ledger.db"), policy.clone()).map_err(|failure| Failure::failed(failure.to_string()))?;
        let mut ledger = Ledger::new(Terms::from(&**policy));
        ledger.enact(fingerprint(policy), policy);
        Ok(Some(Book { ledger, store, regions: None, _folder: folder }))
    }

    /// What is known at first is the baseline; from then on people are written to, of whom nobody has told a phone here.
    fn enter(&mut self, engine: &mut Engine, mut output: EpochOutput) -> Result<EpochOutput, StoreFailure> {
        let heard: Vec<Heard> = output.renumbered.iter().copied().map(Heard::Renumbered).collect();
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let effects = self.ledger.apply(output.epoch, output.date, resettled, &output.changes, &heard);
        let silences = self.ledger.silences_of(&output.changes);
        let page = Page::of(&mut output, (silences, effects), (&mut self.ledger, engine), &mut self.regions);
        self.store.write(std::slice::from_ref(&page))?;
        if output.is_first {
            self.ledger.go_live();
        }
        output.changes = page.changes;
        Ok(output)
    }
}

/// A folder that is gone with whoever holds it.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> io::Result<Temporary> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("shanyraq-book-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        Ok(Temporary(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays behind is in the way of nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}
