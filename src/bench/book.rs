//! The ledger behind an engine that is measured, as a pipeline has it: a fold of what changes, and its SQLite file, which is written beside.

use crate::commands::Failure;
use crate::dispatch::{Heard, Terms};
use crate::engine::regions::Regions;
use crate::engine::{Engine, EpochOutput};
use crate::intake::Schema;
use crate::ledger::{Ledger, Page, Resettled, Store};
use crate::packages::fingerprint;
use crate::pipeline::{Progress, Registrar};
use dataflows::policy::Policy;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

pub struct Book {
    ledger: Ledger,
    registrar: Registrar,
    regions: Option<Regions>,
    /// It ends after the file in it is closed.
    _folder: Temporary,
}

/// Ends an epoch, looks at what it led to, and has the ledger take that in, where there is one: once this returns, all is decided that would be in a
/// pipeline, and written soon.
pub fn commit<T>(engine: &mut Engine, book: &mut Option<Book>, look: impl FnOnce(&EpochOutput) -> T) -> Result<T, Failure> {
    let output = engine.commit();
    let seen = look(&output);
    if let Some(book) = book {
        book.enter(engine, output)?;
    }
    Ok(seen)
}

/// Waits until all of it is written, where there is a ledger.
pub fn finish(book: &Option<Book>) -> Result<(), Failure> {
    let Some(book) = book else { return Ok(()) };
    let (answer_in, answer) = channel();
    book.registrar.catch_up(answer_in);
    answer.recv().map_err(|_| unwritten())
}

fn unwritten() -> Failure {
    Failure::failed("the ledger's file cannot be written".to_owned())
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
        let progress = Progress::new(policy.clone(), Arc::new(Schema::from(&**policy)));
        let registrar = Registrar::start(store, folder.0.clone(), (Arc::new(progress), Arc::default()));
        Ok(Some(Book { ledger, registrar, regions: None, _folder: folder }))
    }

    /// What is known at first is the baseline; from then on people are written to, of whom nobody has told a phone here.
    fn enter(&mut self, engine: &mut Engine, mut output: EpochOutput) -> Result<(), Failure> {
        let heard: Vec<Heard> = output.renumbered.iter().copied().map(Heard::Renumbered).collect();
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let effects = self.ledger.apply(output.epoch, output.date, resettled, &output.changes, &heard);
        let silences = self.ledger.silences_of(&output.changes);
        let page = Page::of(&mut output, (silences, effects), (&mut self.ledger, engine), &mut self.regions);
        if output.is_first {
            self.ledger.go_live();
        }
        if self.registrar.enter(page, None, None) { Ok(()) } else { Err(unwritten()) }
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
