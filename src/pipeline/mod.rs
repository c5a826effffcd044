//! The long-lived pipeline in one process.
//!
//! ```text
//!  doors (HTTP) ─► scribe ─────────────► conductor ───────────────────► network (`crate::network`)
//!  decode, refuse   one group of          engine, ledger, its file:      hands texts over,
//!                   submissions = one     one epoch at a time            hears what became of them
//!                   epoch, synced         │                                   │
//!                      ▲                  │                                   │
//!                      └──────────────────┴─── intents, receipts, replies ────┘
//! ```
//!
//! A submission is acknowledged once its epoch is synced; what follows from it is known once the ledger has passed that epoch. Everything
//! after the journal is a function of the journal: a start tells it again, and the ledger's file checks that it leads to the same.

mod audit;
mod brake;
mod conductor;
mod gathering;
mod keeper;
mod leave;
pub mod metrics;
pub(crate) mod moment;
mod news;
mod pace;
mod policies;
mod progress;
mod questions;
mod regime;
mod registrar;
mod retelling;
mod room;
mod safekeeping;
mod scribe;
mod sender;
mod submission;
mod understudy;

pub use audit::{Audited, Auditor};
pub use brake::BrakeTerms;
pub use gathering::Gathering;
pub use keeper::compact_now;
pub use leave::Leave;
pub(crate) use moment::Moment;
pub use pace::PaceTerms;
pub(crate) use policies::compare_in;
pub use policies::{Compared, in_force, is_ledger_behind, propose};
pub use progress::{Progress, Standing};
pub use questions::Questions;
pub(crate) use registrar::Registrar;
pub use room::{Held, Room};
pub use safekeeping::{Kept, copy_data, drill};
pub use scribe::{Acknowledgement, Answer, Scribe, Unavailable};
pub use sender::Sending;
pub use submission::{BULKY_BYTES, Reading, Submission};
pub use understudy::Told;

use crate::beside::Beside;
use crate::intake::Schema;
use crate::journal::base::Archive;
use crate::journal::{self, Folder, Journal, SEGMENT_BYTES, base};
use crate::ledger::{Store, StoreFailure};
use crate::network;
use crate::packages::{Package, Packages};
use crate::snapshot::Snapshots;
use conductor::{Conductor, Work};
use keeper::{Compaction, Keeper};
use metrics::Metrics;
use policies::check_enacted;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why a pipeline does not start, or does not end in order.
#[derive(Debug)]
pub enum Failure {
    Folder {
        path: PathBuf,
        error: io::Error,
    },
    Journal(journal::Failure),
    Ledger(StoreFailure),
    /// The package was never in force here.
    NotActivated {
        given: String,
        in_force: String,
    },
    /// Nothing is there yet, and no package is given.
    NoPackage,
    /// A disk failed until the end.
    Unwritten {
        data: PathBuf,
        what: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Folder { path, error } => write!(f, "{}: {error}", path.display()),
            Failure::Journal(failure) => failure.fmt(f),
            Failure::Ledger(failure) => failure.fmt(f),
            Failure::NoPackage => f.write_str("nothing is there yet, and no package is given"),
            Failure::Unwritten { data, what } => {
                write!(
                    f,
                    "{what} (in {}). Nothing that was acknowledged is lost: mend that, and the next start goes on from the journal",
                    data.display()
                )
            }
            Failure::NotActivated { given, in_force } => {
                write!(
                    f,
                    "the package {given}, as it is now, was never in force in this data folder, where {in_force} is. Start without naming a package, then: \
                     shanyraq policy propose PACKAGE, policy diff PACKAGE, policy activate PACKAGE --from DATE"
                )
            }
        }
    }
}

impl From<journal::Failure> for Failure {
    fn from(failure: journal::Failure) -> Self {
        Failure::Journal(failure)
    }
}

impl From<StoreFailure> for Failure {
    fn from(failure: StoreFailure) -> Self {
        Failure::Ledger(failure)
    }
}

/// Where a pipeline keeps what.
pub fn journal_folder(data: &Path) -> PathBuf {
    data.join("journal")
}

pub fn snapshots_folder(data: &Path) -> PathBuf {
    data.join("snapshots")
}

fn policies_folder(data: &Path) -> PathBuf {
    data.join("policies")
}

/// Mappings that were posted.
pub fn mappings_folder(data: &Path) -> PathBuf {
    data.join("mappings")
}

pub fn ledger_file(data: &Path) -> PathBuf {
    data.join("ledger.db")
}

/// A pipeline at work.
pub struct Pipeline {
    pub scribe: Scribe,
    pub progress: Arc<Progress>,
    pub metrics: Arc<Metrics>,
    pub packages: Packages,
    pub ledger_file: PathBuf,
    pub questions: Questions,
    pub auditor: Auditor,
    work: Sender<Work>,
    scribe_thread: JoinHandle<()>,
    conductor_thread: JoinHandle<()>,
    network_threads: [JoinHandle<()>; 2],
    auditing: Beside,
}

/// How a pipeline is set up.
pub struct Setup {
    pub data: PathBuf,
    pub workers: usize,
    pub sending: Sending,
    /// Amounts that the package only assumes may be offered.
    pub allow_assumed: bool,
    /// A segment of the journal is closed once it is as long.
    pub segment_bytes: u64,
    /// From one snapshot to the next, if anything happens between.
    pub snapshot_every: Duration,
    /// How many of the newest snapshots are kept.
    pub snapshots_kept: usize,
    /// Those of them that are older go too, but for the newest.
    pub snapshots_kept_for: Duration,
    /// With so many closed segments behind the newest snapshot they give way to a base; never at zero.
    pub compact_after_segments: usize,
    /// How many families are audited each minute.
    pub audited_families: usize,
    /// Where those segments go, packed; nothing: they are gone.
    pub archive: Option<Archive>,
    /// What it counts and times: whoever watches has it before it is at work.
    pub metrics: Arc<Metrics>,
}

impl Setup {
    /// Of a pipeline that hands over nothing, and takes no snapshot but its last.
    pub fn quiet(data: &Path) -> Setup {
        Setup {
            data: data.to_owned(),
            workers: 1,
            sending: Sending::default(),
            allow_assumed: false,
            segment_bytes: SEGMENT_BYTES,
            snapshot_every: Duration::from_secs(u32::MAX.into()),
            snapshots_kept: 1,
            snapshots_kept_for: Duration::MAX,
            compact_after_segments: 0,
            audited_families: 0,
            archive: None,
            metrics: Arc::default(),
        }
    }
}

/// A data folder that is open, and of which the journal is to be told again.
pub struct Opened {
    pub progress: Arc<Progress>,
    given: Option<Package>,
    setup: Setup,
    disk: Folder,
    packages: Packages,
    conductor: Conductor,
}

impl Pipeline {
    /// Opens the data folder and catches up.
    pub fn start(given: Option<Package>, setup: Setup) -> Result<Pipeline, Failure> {
        Pipeline::open(given, setup)?.catch_up()
    }

    /// Opens the data folder, which no other process has open.
    ///
    /// An empty folder begins under the package that is `given`. Another one has its own in force: the one given must be it, or one that was.
    pub fn open(given: Option<Package>, setup: Setup) -> Result<Opened, Failure> {
        let folder = |path: PathBuf| Folder::open(&path).map_err(|error| Failure::Folder { path, error });
        let disk = folder(journal_folder(&setup.data))?;
        let path = policies_folder(&setup.data);
        let in_folder = |error| Failure::Folder { path: path.clone(), error };
        let packages = Packages::open(&path).map_err(in_folder)?;
        let first = match journal::first_package(&disk)? {
            Some(first) => packages.load(&first).map_err(in_folder)?,
            None => given.clone().ok_or(Failure::NoPackage)?,
        };
        packages.keep(&first).map_err(in_folder)?;
        let policy = first.policy;
        let ledger_file = ledger_file(&setup.data);
        let store = match Store::open(&ledger_file, policy.clone()) {
            Err(StoreFailure::Format(format)) if base::newest(&journal_folder(&setup.data)).is_ok_and(|base| base.is_none()) => {
                tracing::warn!(format, "the ledger is of another format: it is put aside, and written anew from the journal");
                Store::set_aside(&ledger_file, format)?;
                Store::open(&ledger_file, policy.clone())
            }
            opened => opened,
        }?;
        let progress = Arc::new(Progress::new(policy.clone(), Arc::new(Schema::from(&*policy))));
        let metrics = setup.metrics.clone();
        let path = snapshots_folder(&setup.data);
        let in_folder = |error| Failure::Folder { path: path.clone(), error };
        let snapshots = Snapshots::open(&path, setup.snapshots_kept).map_err(in_folder)?.kept_for(setup.snapshots_kept_for);
        let compaction = Compaction {
            journal: journal_folder(&setup.data),
            ledger: ledger_file,
            archive: setup.archive.clone(),
            after_segments: setup.compact_after_segments,
        };
        if let Err(failure) = base::clear(&compaction.journal, compaction.archive.as_ref()) {
            // No room in the archive, for one: what the base stands for stays where it is, and the next compaction tries again.
            tracing::error!(%failure, "what was compacted cannot be cleared away");
            metrics.compactions_failed.inc();
        }
        let keeper = Keeper::new(snapshots, compaction, setup.snapshot_every, metrics.clone());
        let conductor = Conductor::new(policy, (store, keeper), packages.clone(), (progress.clone(), metrics), &setup);
        Ok(Opened { progress, given, setup, disk, packages, conductor })
    }
}

impl Opened {
    /// Restores the newest snapshot, tells again what the journal holds after it, and goes on from there. Returns once everything written has been told; texts that
    /// were handed over and not answered for are then handed over again.
    pub fn catch_up(self) -> Result<Pipeline, Failure> {
        let Opened { progress, given, setup, disk, packages, mut conductor } = self;
        let after = conductor.recall()?;
        conductor.tell_again(&disk, after)?;
        let (in_force, enacted) = conductor.in_force();
        given.map_or(Ok(()), |given| check_enacted(&given, enacted, &in_force))?;
        let journal = Journal::open(disk, Schema::from(&*in_force).dictionary(), setup.segment_bytes, conductor.epoch_reached())?;

        let (work, works) = channel();
        let questions = Questions { work: work.clone(), progress: progress.clone(), data: setup.data.clone() };
        let metrics = setup.metrics;
        let (scribe, scribe_thread) = Scribe::start(journal, work.clone(), (progress.clone(), metrics.clone()));
        let (texts, network_threads) = network::start(setup.sending.network, scribe.clone());
        let conductor_thread = conductor.start(works, scribe.clone(), texts);
        let auditor = Auditor { questions: questions.clone(), packages: packages.clone(), metrics: metrics.clone() };
        let auditing = auditor.clone().begin(setup.audited_families);
        Ok(Pipeline {
            auditor,
            auditing,
            scribe,
            progress,
            metrics,
            packages,
            ledger_file: ledger_file(&setup.data),
            questions,
            work,
            scribe_thread,
            conductor_thread,
            network_threads,
        })
    }
}

impl Pipeline {
    /// Takes in nothing more, and returns once everything taken in is in the ledger, a snapshot is written and nothing is being handed
    /// over. What cannot be written or reached now is given up, which the standing tells.
    pub fn stop(self) {
        let join = |thread: JoinHandle<()>| thread.join().expect("no thread of the pipeline panics");
        // Before anybody is waited for who waits for a disk.
        self.scribe.leave();
        // What the network says of what it was given is still heard. A conductor that gave up is gone already.
        let _ = self.work.send(Work::Farewell);
        drop(self.auditing);
        self.network_threads.into_iter().for_each(join);
        self.scribe.close();
        join(self.scribe_thread);
        let _ = self.work.send(Work::End);
        join(self.conductor_thread);
    }
}
