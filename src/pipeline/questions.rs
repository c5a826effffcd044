//! What anybody may ask of engine and ledger between two epochs.

use super::conductor::Work;
use super::progress::Progress;
use crate::dispatch::Kind;
use crate::engine::Engine;
use crate::journal::Pausable;
use crate::ledger::Ledger;
use nix::libc;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// The way to ask.
#[derive(Clone)]
pub struct Questions {
    pub(super) work: Sender<Work>,
    pub(super) progress: Arc<Progress>,
    pub(super) data: PathBuf,
}

impl Questions {
    /// What of a policy may be paused: its benefits, and the kinds of its texts.
    pub fn pausable(&self) -> BTreeSet<Pausable> {
        let policy = self.progress.standing().policy;
        let benefits = policy.benefits.iter().map(|benefit| Pausable::Benefit(benefit.id.clone()));
        benefits.chain(Kind::ALL.map(|kind| Pausable::Template(kind.name().to_owned()))).collect()
    }

    /// Asks between two epochs, while nothing moves; nothing if the pipeline has ended.
    pub fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Engine, &Ledger) -> T + Send + 'static) -> Option<T> {
        let (answer_in, answer) = channel();
        let question = move |engine: &mut Engine, ledger: &Ledger| drop(answer_in.send(question(engine, ledger)));
        self.work.send(Work::Question(Box::new(question))).ok()?;
        answer.recv().ok()
    }

    /// Has the ledger's file hear of everything that was taken in so far: where families stand it hears a moment later.
    pub fn catch_up(&self) {
        let (answer_in, answer) = channel();
        if self.work.send(Work::CatchUp(answer_in)).is_ok() {
            // A pipeline that has ended has told it.
            self.progress.hear(&answer);
        }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A file without a name: it is gone with whoever has it.
    pub fn nameless_file(&self) -> io::Result<File> {
        File::options().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(&self.data)
    }
}
