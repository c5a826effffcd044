use crate::folder::Folder;
use crate::program::shanyraq;
use dataflows::model::Date;
use fixtures::country::Country;
use fixtures::lives::lives_under_many_numbers;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use rusqlite::types::ValueRef;
use shanyraq::commands::load_package;
use shanyraq::intake::Intake;
use shanyraq::journal::base::{self, Archive};
use shanyraq::journal::{Own, SEGMENT_BYTES};
use shanyraq::ledger::Reader;
use shanyraq::packages::Package;
use shanyraq::pipeline::{Pipeline, Setup, Submission, compact_now, copy_data, drill, journal_folder, ledger_file, snapshots_folder};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const PATIENCE: Duration = Duration::from_secs(60);
pub const OFTEN: Duration = Duration::from_millis(20);
pub const SELDOM: Duration = Duration::from_secs(3600);

pub fn setup(data: &Path, workers: usize, snapshot_every: Duration) -> Setup {
    let often = snapshot_every == OFTEN;
    Setup {
        workers,
        allow_assumed: true,
        segment_bytes: if often { 20_000 } else { SEGMENT_BYTES },
        snapshot_every,
        snapshots_kept: 3,
        compact_after_segments: if often { 2 } else { 0 },
        archive: Some(Archive { folder: data.join("archive"), kept_for: Duration::MAX }),
        ..Setup::quiet(data)
    }
}

pub fn start(package: &Package, data: &Path, workers: usize, snapshot_every: Duration) -> Pipeline {
    Pipeline::start(Some(package.clone()), setup(data, workers, snapshot_every)).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Tells a line, and waits until all that it led to is known: each is an epoch.
pub fn tell(pipeline: &Pipeline, line: &[u8]) {
    for part in Submission::read(&mut Intake::journalling(pipeline.progress.schema()), "test", 1, line) {
        submit(pipeline, part);
    }
}

pub fn submit(pipeline: &Pipeline, submission: Submission) {
    let epoch = pipeline.scribe.submit(submission).unwrap().epoch;
    assert!(pipeline.progress.wait_for(epoch, PATIENCE));
}

/// All that the ledger's file says.
pub fn said(data: &Path) -> Vec<String> {
    let sql = rusqlite::Connection::open(ledger_file(data)).unwrap();
    let mut said = Vec::new();
    // Whether a record that nobody needs any more is a duplicate hangs on whether a house has forgotten it yet: not compared.
    let tables = [("epochs WHERE changed > 0", "epoch, date, changed")].into_iter().chain(
        ["meta", "policies", "decisions", "changes", "outbox", "offers", "consents", "cases", "notes", "quarantine"]
            .map(|table| (table, "*")),
    );
    for (table, columns) in tables {
        let mut query = sql.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
        let columns = query.column_count();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let value = |column| match row.get_ref(column).unwrap() {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            };
            let values: Vec<String> = (0..columns).map(value).collect();
            said.push(format!("{table}: {}", values.join(" ")));
        }
    }
    said
}

pub fn newest(data: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(snapshots_folder(data)).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.file_name().unwrap().to_str().unwrap().parse::<u64>().is_ok());
    folders.sort();
    folders.reverse();
    folders
}

/// Started again and again, from the newest snapshot or an older one, with as many workers as it happens, a pipeline says what it says
/// when nothing ends it.
#[test]
fn a_start_from_a_snapshot_goes_on_as_if_nothing_had_ended() {
    let package = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let mut counts = [0; 3];
    let country = Country::new(600, 3, Date::from_ymd(2026, 1, 1).unwrap());
    let of_country = country.population_blocks(1).chain(country.days(25).map(|(_, lines)| lines)).collect();
    let stories = [lives_under_many_numbers(1, 12, 25), lives_under_many_numbers(2, 12, 25), of_country];
    for (seed, lines) in (0..).zip(stories) {
        let folder = Folder::new(&format!("snapshots-{seed}"));
        let [calm, broken] = ["calm", "broken"].map(|name| folder.0.join(name));
        let mut chance = Pcg64Mcg::seed_from_u64(seed);
        let (undisturbed, mut disturbed) = (start(&package, &calm, 1, SELDOM), start(&package, &broken, 1, OFTEN));
        let mut recalled = 0;
        for (index, line) in lines.iter().enumerate() {
            if index == lines.len() / 3 {
                [&undisturbed, &disturbed].into_iter().for_each(|pipeline| submit(pipeline, Submission::of_own(Own::Live)));
            }
            [&undisturbed, &disturbed].into_iter().for_each(|pipeline| tell(pipeline, line));
            if chance.next_u32() % (lines.len() as u32 / 12).max(1) == 0 {
                disturbed.stop();
                for lost in newest(&broken).iter().take(chance.next_u32() as usize % 5) {
                    std::fs::remove_dir_all(lost).unwrap();
                }
                recalled += usize::from(!newest(&broken).is_empty());
                disturbed = start(&package, &broken, 1 + chance.next_u32() as usize % 3, OFTEN);
            }
        }
        undisturbed.stop();
        disturbed.stop();
        assert!(recalled > 2, "seed {seed}: hardly ever was anything to go on from");
        let compacted = base::newest(&journal_folder(&broken)).unwrap().map(|base| base.epoch);
        assert!(compacted > Some(0) && broken.join("archive").read_dir().unwrap().count() > 2, "seed {seed}: {compacted:?}");
        let verified = Reader::open(&ledger_file(&broken)).unwrap().verify().unwrap();
        assert!(verified.is_ok(), "seed {seed}: {verified:?}");
        let (calm, broken) = (said(&calm), said(&broken));
        for (count, table) in counts.iter_mut().zip(["decisions", "changes", "outbox"]) {
            *count += calm.iter().filter(|row| row.starts_with(table)).count();
        }
        let only = |of: &[String], other: &[String]| of.iter().filter(|row| !other.contains(row)).take(6).cloned().collect::<Vec<_>>();
        let (missing, strange) = (only(&calm, &broken), only(&broken, &calm));
        assert!(calm == broken, "seed {seed}: missing {missing:#?}, strange {strange:#?}");
    }
    assert!(counts.iter().all(|count| *count > 5), "stories of which little is said show nothing: {counts:?}");
}

/// A snapshot that is damaged, of another package or another format is passed over, and nothing is missing.
#[test]
fn a_snapshot_of_no_use_is_passed_over() {
    let package = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = Folder::new("snapshots-damaged");
    let data = folder.0.join("data");
    let lines = lives_under_many_numbers(9, 8, 20);
    let pipeline = start(&package, &data, 1, Duration::ZERO);
    lines.iter().for_each(|line| tell(&pipeline, line));
    pipeline.stop();
    let before = said(&data);
    let alter = |path: &Path, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = at.min(bytes.len() - 9);
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    // A byte of the newest one's stores, then its format, then a part that is missing.
    let damages: [&dyn Fn(&Path); 3] =
        [&|newest| alter(&newest.join("worker-0"), 5_000), &|newest| alter(&newest.join("rest"), 4), &|newest| {
            std::fs::remove_file(newest.join("worker-0")).unwrap()
        }];
    for damage in damages {
        let kept = newest(&data);
        assert!(kept.len() > 1, "{kept:?}");
        damage(&kept[0]);
        let failed = "shanyraq_snapshots_failed_total 1";
        let before_it: u64 = kept[1].file_name().unwrap().to_str().unwrap().parse().unwrap();
        let pipeline = start(&package, &data, 1, SELDOM);
        // It goes on from the one before; whoever tells the whole journal again goes on from none.
        for line in [failed, &format!("shanyraq_snapshot_epoch {before_it}")] {
            assert!(pipeline.metrics.text().lines().any(|measure| measure == line), "{line}: {}", pipeline.metrics.text());
        }
        pipeline.stop();
        assert_eq!(said(&data), before);
        // What was of no use is written anew at the end.
        assert_eq!(newest(&data), kept);
        let pipeline = start(&package, &data, 1, SELDOM);
        assert!(!pipeline.metrics.text().lines().any(|line| line == failed));
        pipeline.questions.catch_up();
        assert!(pipeline.metrics.text().contains("shanyraq_store_keys{store=\"people\"} "), "stores are measured from the start on");
        pipeline.stop();
    }
    // Without the end of its journal a pipeline does not go on, whatever its snapshot holds.
    let backup = folder.0.join("backup");
    copy_data(&data, &backup).unwrap_or_else(|failure| panic!("{failure}"));
    std::fs::remove_dir_all(journal_folder(&backup)).unwrap();
    let refused = Pipeline::start(Some(package.clone()), setup(&backup, 1, SELDOM)).err().map(|failure| failure.to_string());
    assert!(refused.as_ref().is_some_and(|why| why.contains("part of the journal is missing")), "{refused:?}");
    // One of a package that nobody knows here is of no use.
    std::fs::remove_dir_all(data.join("policies")).unwrap();
    let unknown = Pipeline::start(None, setup(&data, 1, SELDOM)).err().map(|failure| failure.to_string());
    assert!(unknown.as_ref().is_some_and(|why| why.contains("was never proposed here")), "{unknown:?}");
}

/// A base was whole when it took its place. Where a byte of it is wrong, its end is cut off, its file is gone or another program wrote it, a
/// start that needs it says so, and so do `journal verify`, a backup and the next compaction; once it is as it was, nothing is missing.
#[test]
fn a_base_of_which_something_is_missing_is_refused() {
    let package = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = Folder::new("base-damaged");
    let [data, backup, aside] = ["data", "backup", "aside"].map(|name| folder.0.join(name));
    let small = || Setup { segment_bytes: 2_000, ..setup(&data, 1, SELDOM) };
    let pipeline = Pipeline::start(Some(package), small()).unwrap_or_else(|failure| panic!("{failure}"));
    lives_under_many_numbers(6, 8, 20).iter().for_each(|line| tell(&pipeline, line));
    pipeline.stop();
    compact_now(&data, None).unwrap_or_else(|failure| panic!("{failure}"));
    let before = said(&data);
    let base = base::newest(&journal_folder(&data)).unwrap().expect("it was compacted");
    let file = base.folder.join("0000000001.shj");
    let whole = std::fs::read(&file).unwrap();
    let end = whole.len();
    let mut wrong = whole.clone();
    wrong[end - 40] ^= 1;
    // One that an older program wrote has no mark, and says of no form that it has one.
    let mut older = whole[..end - 17].to_vec();
    older[6..8].fill(0);
    let of_form = "of form 0, this program reads form 1: the program that wrote it reads it";
    // The mark at the end is a frame of nothing, of 17 bytes: without it what is left ends with a whole frame.
    let damages = [Some(wrong.as_slice()), Some(&whole[..end - 1]), Some(&whole[..end - 17]), Some(&whole[..end - 40]), None];
    for (damaged, expected) in damages.map(|damaged| (damaged, "damaged")).into_iter().chain([(Some(older.as_slice()), of_form)]) {
        match damaged {
            Some(bytes) => std::fs::write(&file, bytes).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let at = damaged.map(<[u8]>::len);
        let refused = |what: &str, why: Option<String>| {
            let why = why.unwrap_or_else(|| panic!("{what} takes a base of {at:?} bytes"));
            assert!(why.contains(expected), "{what}: {why}");
        };
        refused("a backup", copy_data(&data, &backup).err().map(|failure| failure.to_string()));
        std::fs::remove_dir_all(&backup).unwrap();
        let next = base::compact(&journal_folder(&data), base.epoch + 1, &base.folder.join("rest"), None);
        refused("a compaction", next.err().map(|failure| failure.to_string()));
        let verified = shanyraq(["journal", "verify", "--data", &data.display().to_string()]);
        refused("verify", (!verified.status.success()).then(|| String::from_utf8_lossy(&verified.stderr).into_owned()));
        std::fs::rename(snapshots_folder(&data), &aside).unwrap();
        refused("a start", Pipeline::start(None, small()).err().map(|failure| failure.to_string()));
        drop(std::fs::remove_dir_all(snapshots_folder(&data)));
        std::fs::rename(&aside, snapshots_folder(&data)).unwrap();
    }
    std::fs::write(&file, &whole).unwrap();
    std::fs::remove_dir_all(snapshots_folder(&data)).unwrap();
    Pipeline::start(None, small()).unwrap_or_else(|failure| panic!("{failure}")).stop();
    assert_eq!(said(&data), before);
}

/// Snapshots and files of the archive go once they are older than they are kept, but for the newest snapshot, and for what others put there.
#[test]
fn what_is_kept_for_a_time_goes_afterwards() {
    let package = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = Folder::new("snapshots-kept");
    let (data, archive) = (folder.0.join("data"), folder.0.join("archive"));
    std::fs::create_dir(&archive).unwrap();
    let (day, strange) = (Duration::from_secs(24 * 60 * 60), folder.write("archive/notes.txt", "of somebody else"));
    let lines = lives_under_many_numbers(4, 8, 20);
    let mut parts = lines.chunks(lines.len().div_ceil(4));
    // Each writes a snapshot at its end, and then makes a base of what is behind it.
    let mut run = || {
        let archive = Some(Archive { folder: archive.clone(), kept_for: day });
        let kept = Setup { snapshots_kept: 9, snapshots_kept_for: day, archive, ..setup(&data, 1, SELDOM) };
        let setup = Setup { segment_bytes: 2_000, compact_after_segments: 1, ..kept };
        let pipeline = Pipeline::start(Some(package.clone()), setup).unwrap_or_else(|failure| panic!("{failure}"));
        parts.next().unwrap().iter().for_each(|line| tell(&pipeline, line));
        pipeline.stop();
        newest(&data)
    };
    let archived = || {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let age = |path: &Path| std::fs::File::open(path).unwrap().set_modified(SystemTime::now() - 2 * day).unwrap();
    run();
    let (snapshots, files) = (run(), archived());
    assert!(snapshots.len() == 2 && files.len() > 3 && files.contains(&strange), "{snapshots:?} {files:?}");
    [&snapshots[1], &files[0], &strange].into_iter().for_each(|path| age(path));
    let (now, left) = (run(), archived());
    assert_eq!((now.len(), &now[1]), (2, &snapshots[0]), "the old one is gone, the young ones are not");
    assert!(!left.contains(&files[0]) && files[1..].iter().all(|file| left.contains(file)), "{files:?} {left:?}");
    now.iter().for_each(|path| age(path));
    assert_eq!(run().len(), 1, "the newest is kept");
}

/// A backup that is made while a pipeline works is whole, goes on where it was made, and a drill finds that its snapshot and its journal
/// say the same; a drill with another story in the ledger says that it is another.
#[test]
fn a_backup_of_a_pipeline_at_work_is_whole() {
    let package = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = Folder::new("snapshots-backup");
    let [data, backup, back, again, scratch] = ["data", "backup", "back", "again", "scratch"].map(|name| folder.0.join(name));
    let lines = lives_under_many_numbers(5, 10, 20);
    let (early, late) = lines.split_at(lines.len() / 2);
    let pipeline = start(&package, &data, 1, Duration::ZERO);
    early.iter().for_each(|line| tell(&pipeline, line));
    let mut chance = Pcg64Mcg::seed_from_u64(1);
    let mut copied = Vec::new();
    for line in late {
        tell(&pipeline, line);
        if copied.len() < 5 && chance.next_u32() % 20 == 0 {
            // Beside it the pipeline goes on: with whatever it does next, the copy is one of a moment.
            let (from, to) = (data.clone(), folder.0.join(format!("backup-{}", copied.len())));
            copied.push((to.clone(), std::thread::spawn(move || copy_data(&from, &to).map_err(|failure| failure.to_string()))));
        }
    }
    assert!(copied.len() > 2);
    for (to, copying) in copied {
        let kept = copying.join().unwrap().unwrap();
        assert!(kept.epoch > 0 && kept.journal_epoch >= kept.epoch, "{kept:?}");
        start(&package, &to, 1, SELDOM).stop();
    }
    copy_data(&data, &backup).unwrap_or_else(|failure| panic!("{failure}"));
    pipeline.stop();
    copy_data(&backup, &back).unwrap_or_else(|failure| panic!("{failure}"));
    start(&package, &back, 1, SELDOM).stop();
    assert_eq!(said(&back), said(&data));
    assert!(copy_data(&backup, &back).unwrap_err().to_string().contains("something is there already"));

    let outcome = drill(&data, &scratch, true).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(outcome["snapshot"].as_u64() > Some(0) && !scratch.exists(), "{outcome}");
    copy_data(&data, &again).unwrap_or_else(|failure| panic!("{failure}"));
    let sql = rusqlite::Connection::open(ledger_file(&again)).unwrap();
    assert!(sql.execute("UPDATE households SET kind = 'whole' WHERE kind = 'full'", []).unwrap() > 0);
    let error = drill(&again, &scratch, true).unwrap_err().to_string();
    assert!(error.contains("the ledger's file has other households than what follows from the journal"), "{error}");
    sql.execute("UPDATE households SET kind = 'full' WHERE kind = 'whole'", []).unwrap();
    assert!(sql.execute("UPDATE decisions SET amount = amount + 1", []).unwrap() > 0);
    let error = drill(&again, &scratch, true).unwrap_err().to_string();
    assert!(error.contains("decisions: what a row says is not what its name is a hash of"), "{error}");
    // What is in no hash is in the sum of all rows.
    sql.execute("UPDATE decisions SET amount = amount - 1, until = '2099-01-01'", []).unwrap();
    let error = drill(&again, &scratch, true).unwrap_err().to_string();
    assert!(error.contains("different [\"decisions\"] follow"), "{error}");
}
