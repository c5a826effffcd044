//! Copies of a data folder: made while a pipeline works in it, brought back, and tried.

use super::{Failure, Pipeline, Setup, journal_folder, ledger_file, mappings_folder, policies_folder, snapshots_folder};
use crate::journal::{Folder, base, read_epochs};
use crate::ledger::{Reader, StoreFailure, View};
use crate::snapshot::{Snapshot, Snapshots};
use crate::views::Writer;
use dataflows::model::Epoch;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_128;

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The last epoch of the ledger. The journal may go on: what it holds more is told at the next start.
    pub epoch: Epoch,
    pub journal_epoch: Epoch,
    /// That of the snapshot; nothing if there was none of use.
    pub snapshot: Option<Epoch>,
    /// The form of a ledger that another program wrote: not verified, since a start writes it anew from the journal.
    pub older_ledger: Option<i64>,
}

/// Copies a data folder into one that is empty or not there, whether or not a pipeline works in it: first the ledger, then a snapshot that
/// is no newer, then the journal, which is ahead of both, the packages that it speaks of, and the mappings that feeds name. Checks every sum of the copy. A
/// ledger of another form is of use only where the journal holds everything that it tells.
pub fn copy_data(from: &Path, to: &Path) -> Result<Kept, Failure> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Folder { path, error }
    };
    fs::create_dir_all(to).map_err(at(to))?;
    if fs::read_dir(to).map_err(at(to))?.next().is_some() {
        return Err(at(to)(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "something is there already")));
    }
    let ledger = Reader::open(&ledger_file(from))?;
    ledger.copy_to(&ledger_file(to))?;
    File::open(ledger_file(to)).and_then(|file| file.sync_all()).map_err(at(to))?;
    let copy = Reader::open(&ledger_file(to))?;
    let older_ledger = copy.other_format()?;
    if older_ledger.is_none() {
        copy.verify()?.map_err(|what| at(&ledger_file(from))(io::Error::new(io::ErrorKind::InvalidData, what)))?;
    }
    let epoch = copy.frontier()?;
    let snapshot = copy_snapshot(&snapshots_folder(from), &snapshots_folder(to), epoch).map_err(at(&snapshots_folder(from)))?;
    copy_journal(&journal_folder(from), &journal_folder(to)).map_err(at(&journal_folder(from)))?;
    copy_files(&policies_folder(from), &policies_folder(to)).map_err(at(&policies_folder(from)))?;
    if mappings_folder(from).exists() {
        copy_files(&mappings_folder(from), &mappings_folder(to)).map_err(at(&mappings_folder(from)))?;
    }
    let journal = Folder::open(&journal_folder(to)).map_err(at(&journal_folder(to)))?;
    let base = base::newest(&journal_folder(to)).map_err(at(&journal_folder(to)))?;
    if let (Some(format), Some(_)) = (older_ledger, &base) {
        return Err(StoreFailure::Format(format).into());
    }
    base.iter().try_for_each(|base| base.read(|_| Ok(())))?;
    let base = base.map_or(0, |base| base.epoch);
    if base > epoch {
        let what = "its journal was compacted meanwhile, beyond what the ledger of the copy holds: try again";
        return Err(at(from)(io::Error::new(io::ErrorKind::Interrupted, what)));
    }
    let journal_epoch = read_epochs(&journal, base, Epoch::MAX, |_| Ok(()))?.last_epoch.max(base);
    if journal_epoch < epoch {
        let what = format!("its journal ends with epoch {journal_epoch}, its ledger with {epoch}");
        return Err(at(from)(io::Error::new(io::ErrorKind::InvalidData, what)));
    }
    Ok(Kept { epoch, journal_epoch, snapshot, older_ledger })
}

/// Copies the newest snapshot that is whole and not newer than this epoch.
fn copy_snapshot(from: &Path, to: &Path, epoch: Epoch) -> io::Result<Option<Epoch>> {
    let mut below = epoch + 1;
    loop {
        let newest = Snapshots::open(from, 1)?.newest()?;
        let Some(snapshot) = newest.into_iter().find(|snapshot| snapshot.epoch < below) else { return Ok(None) };
        let target = to.join(snapshot.folder().file_name().unwrap_or_default());
        match copy_files(snapshot.folder(), &target) {
            Ok(()) => match Snapshot::of(target.clone(), snapshot.epoch).check() {
                Ok(()) => return Ok(Some(snapshot.epoch)),
                Err(error) => {
                    tracing::warn!(epoch = snapshot.epoch, %error, "a snapshot is of no use, and not copied");
                    below = snapshot.epoch;
                }
            },
            // Newer ones took its place meanwhile.
            Err(_) if !snapshot.folder().exists() => {}
            Err(error) => return Err(error),
        }
        fs::remove_dir_all(target)?;
    }
}

/// Copies a journal that may be compacted meanwhile: then once more.
fn copy_journal(from: &Path, to: &Path) -> io::Result<()> {
    loop {
        let before = base::newest(from)?.map(|base| base.epoch);
        let copied = copy_files(from, to).and_then(|()| match base::newest(from)? {
            Some(base) => copy_files(&base.folder, &to.join(base.folder.file_name().unwrap_or_default())),
            None => Ok(()),
        });
        if base::newest(from)?.map(|base| base.epoch) == before {
            return copied;
        }
        fs::remove_dir_all(to)?;
    }
}

/// The files of a folder, without those of folders in it, and without drafts: whoever writes them renames them.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() || entry.path().extension().is_some_and(|extension| extension == "draft") {
            continue;
        }
        let target = to.join(entry.file_name());
        fs::copy(entry.path(), &target)?;
        File::open(&target)?.sync_all()?;
    }
    File::open(to)?.sync_all()
}

/// Restores a copy of a data folder twice in `scratch`, from its snapshot and from its journal alone, and compares all that either says;
/// the error names what differs. Every right in force was written about, or there is a reason why not. Removes what it made, whatever comes of it.
pub fn drill(data: &Path, scratch: &Path, allow_assumed: bool) -> Result<Value, Failure> {
    let folders = ["recalled", "told"].map(|name| scratch.join(name));
    if let Some(path) = folders.iter().find(|folder| folder.exists()) {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "something is there already");
        return Err(Failure::Folder { path: path.clone(), error });
    }
    let outcome = restore_twice(data, scratch, &folders, allow_assumed);
    for path in folders.into_iter().filter(|folder| folder.exists()) {
        fs::remove_dir_all(&path).map_err(|error| Failure::Folder { path, error })?;
    }
    // Unless somebody keeps something else in it.
    drop(fs::remove_dir(scratch));
    outcome
}

fn restore_twice(data: &Path, scratch: &Path, [recalled, told]: &[PathBuf; 2], allow_assumed: bool) -> Result<Value, Failure> {
    let at = |error| Failure::Folder { path: scratch.to_owned(), error };
    let kept = copy_data(data, recalled)?;
    copy_journal(&journal_folder(recalled), &journal_folder(told)).map_err(at)?;
    if base::newest(&journal_folder(told)).map_err(at)?.is_some() {
        // What a base stands for is nowhere else but in the ledger.
        fs::copy(ledger_file(recalled), ledger_file(told)).map_err(at)?;
    }
    copy_files(&policies_folder(recalled), &policies_folder(told)).map_err(at)?;
    let digests = [recalled, told].map(|folder| {
        let setup = Setup { allow_assumed, ..Setup::quiet(folder) };
        let pipeline = Pipeline::start(None, setup)?;
        let views = digests(&pipeline);
        let accounted = pipeline.questions.ask(|_, ledger| ledger.account());
        pipeline.stop();
        let unaccounted = || io::Error::new(io::ErrorKind::InvalidData, "a right in force was not written about, and nothing says why");
        let (told, silences) = accounted.and_then(Result::ok).ok_or_else(unaccounted).map_err(at)?;
        let mut views = views.map_err(at)?;
        let ledger = Reader::open(&ledger_file(folder))?;
        for (name, view) in [("households", View::Households), ("categories", View::Categories)] {
            let mut digest = 0;
            ledger.view(view, |row| {
                add(&mut digest, &row);
                true
            })?;
            if views.get(name) != Some(&hex(digest)) {
                let what = format!("the ledger's file has other {name} than what follows from the journal");
                return Err(at(io::Error::new(io::ErrorKind::InvalidData, what)));
            }
        }
        views.extend(ledger.digests()?);
        let silences: BTreeMap<&str, usize> = silences.into_iter().map(|(reason, rights)| (reason.name(), rights)).collect();
        Ok::<_, Failure>((views, json!({ "written_about": told, "silent": silences })))
    });
    let [recalled, told] = digests;
    let ((recalled, accounted), (told, _)) = (recalled?, told?);
    let differs: Vec<&String> = recalled.iter().filter(|(view, digest)| told.get(*view) != Some(digest)).map(|(view, _)| view).collect();
    if !differs.is_empty() {
        let what = format!("from its snapshot of epoch {:?} and from its journal alone different {differs:?} follow", kept.snapshot);
        return Err(at(io::Error::new(io::ErrorKind::InvalidData, what)));
    }
    Ok(
        json!({ "epoch": kept.epoch, "journal_epoch": kept.journal_epoch, "snapshot": kept.snapshot, "older_ledger": kept.older_ledger, "rights": accounted,
                "digests": recalled }),
    )
}

/// Of each view of the engine the sum of its rows' hashes, whatever their order.
fn digests(pipeline: &Pipeline) -> io::Result<BTreeMap<String, String>> {
    let digests = pipeline.questions.ask(|engine, _| {
        let writer = Writer::new(engine.policy().clone());
        let mut digests: BTreeMap<String, u128> = BTreeMap::new();
        let mut add = |view: &str, row: &Value| add(digests.entry(view.to_owned()).or_default(), row);
        engine.members().for_each(|(household, person, role)| add("members", &json!([household.0, person, role as u8])));
        engine.households().for_each(|(household, members)| add("households", &writer.household(household, &members)));
        for (household, row, judgement) in engine.judgements() {
            add("rows", &json!([household.0, row.values, row.unknown]));
            add("criteria", &writer.criteria(household, &judgement));
            add("categories", &writer.category(household, &judgement));
        }
        engine.person_values().for_each(|(person, values)| add("indicators", &writer.person_indicators(person, &values)));
        digests
    });
    let digests = digests.ok_or_else(|| io::Error::other("the pipeline ended"))?;
    Ok(digests.into_iter().map(|(view, digest)| (view, hex(digest))).collect())
}

fn add(digest: &mut u128, row: &Value) {
    *digest = digest.wrapping_add(xxh3_128(row.to_string().as_bytes()));
}

fn hex(digest: u128) -> String {
    format!("{digest:032x}")
}
