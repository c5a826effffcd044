use crate::folder::Folder;
use crate::program::{shanyraq, summary};
use crate::registers::repository;
use crate::snapshots::{SELDOM, newest, said, setup, tell};
use dataflows::model::Date;
use fixtures::country::morning;
use shanyraq::ledger::Reader;
use shanyraq::pipeline::{Pipeline, compact_now, copy_data, ledger_file, snapshots_folder};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A data folder that an older program wrote: `fixtures/formats` keeps one of each form, as it was.
fn written_by_another(folder: &Folder, name: &str) -> PathBuf {
    let packed = repository("fixtures/formats").join(name);
    assert!(Command::new("tar").arg("-xzf").arg(packed).arg("-C").arg(&folder.0).status().unwrap().success());
    folder.0.join("data")
}

/// Everything that was decided, and everybody who was written to.
fn told(ledger: &Path) -> Vec<String> {
    let sql = rusqlite::Connection::open(ledger).unwrap();
    let rows = |query: &str| {
        let mut query = sql.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<Vec<String>, _>>().unwrap()
    };
    let mut told = rows("SELECT epoch || date || decision || person || benefit || kind || chain FROM changes ORDER BY change");
    told.extend(rows("SELECT message || person || benefit || kind || phone || status || text FROM outbox ORDER BY message"));
    told.extend(rows("SELECT person || benefit || round || date || reply FROM consents ORDER BY person, benefit"));
    told
}

/// A ledger of an older form is put aside and written anew from the journal: the same was decided, and the same people were written to.
#[test]
fn an_older_ledger_is_written_anew() {
    for (name, format, texts) in [
        ("journal-2-snapshot-2-ledger-4", 4, 9),
        ("journal-2-snapshot-3-ledger-5", 5, 170),
        ("journal-2-snapshot-4-ledger-6", 6, 0),
        ("journal-2-snapshot-5-ledger-7", 7, 12),
    ] {
        let folder = Folder::new(name);
        let data = written_by_another(&folder, &format!("{name}.tar.gz"));
        let before = told(&ledger_file(&data));
        assert!(before.len() > 100, "{}", before.len());
        Pipeline::start(None, setup(&data, 1, SELDOM)).unwrap_or_else(|failure| panic!("{failure}")).stop();
        assert_eq!(told(&ledger_file(&data)), before, "{name}");
        assert_eq!(told(&data.join(format!("ledger.format-{format}.db"))), before, "{name}");
        let verified = Reader::open(&ledger_file(&data)).unwrap().verify().unwrap();
        assert_eq!(verified.unwrap().texts, texts, "{name}");
    }
}

/// Where the journal holds all that an older ledger tells, a data folder is copied, brought back and tried without its proof, which is said.
#[test]
fn a_folder_with_an_older_ledger_is_kept() {
    let folder = Folder::new("older-kept");
    let data = written_by_another(&folder, "journal-2-snapshot-5-ledger-7.tar.gz");
    let before = told(&ledger_file(&data));
    let [place, backup, restored, scratch] =
        [data.clone(), folder.0.join("backup"), folder.0.join("restored"), folder.0.join("scratch")].map(|path| path.display().to_string());
    let verified = shanyraq(["ledger", "verify", "--data", &place]);
    let message = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.code() == Some(1) && message.contains("of format 7, this program keeps format"), "{message}");
    for words in [["backup", &backup, "--data", &place], ["restore", &backup, "--data", &restored]] {
        let output = shanyraq(words);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && message.contains("of format 7, and was not verified"), "{message}");
        assert_eq!(summary(&output)["epoch"], 31);
    }
    let drill = summary(&shanyraq(["journal", "restore-drill", "--allow-assumed", "--scratch", &scratch, "--data", &restored]));
    assert_eq!(["epoch", "older_ledger"].map(|name| drill[name].as_u64().unwrap_or_default()), [31, 7], "{drill}");
    // Its snapshot is of an older form too, and passed over.
    assert!(drill["snapshot"].is_null(), "{drill}");
    let restored = folder.0.join("restored");
    Pipeline::start(None, setup(&restored, 1, SELDOM)).unwrap_or_else(|failure| panic!("{failure}")).stop();
    assert_eq!(told(&ledger_file(&restored)), before);
}

/// A snapshot of an older form is passed over: the journal is told instead, leads to the same, and a quarter later everybody is judged as
/// where there was no snapshot.
#[test]
fn an_older_snapshot_is_passed_over() {
    let folders = ["older-snapshot", "no-snapshot"].map(Folder::new);
    let [older, without] = folders.each_ref().map(|folder| written_by_another(folder, "journal-2-snapshot-4-ledger-6.tar.gz"));
    assert!(!newest(&older).is_empty());
    std::fs::remove_dir_all(snapshots_folder(&without)).unwrap();
    let before = told(&ledger_file(&older));
    assert!(before.len() > 100, "{}", before.len());
    let [older, without] = [older, without].map(|data| {
        let pipeline = Pipeline::start(None, setup(&data, 1, SELDOM)).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(told(&ledger_file(&data)), before);
        tell(&pipeline, &morning(Date(pipeline.progress.standing().date.0 + 92)));
        pipeline.stop();
        assert!(Reader::open(&ledger_file(&data)).unwrap().verify().unwrap().is_ok());
        assert!(told(&ledger_file(&data)).len() > before.len());
        said(&data)
    });
    assert_eq!(older, without);
}

/// Once the journal was compacted, what it said before is nowhere else: such a ledger is refused with the reason.
#[test]
fn an_older_ledger_behind_a_base_is_refused() {
    let folder = Folder::new("older-base");
    let data = written_by_another(&folder, "journal-2-snapshot-2-ledger-4.tar.gz");
    Pipeline::start(None, setup(&data, 1, SELDOM)).unwrap_or_else(|failure| panic!("{failure}")).stop();
    compact_now(&data, None).unwrap();
    rusqlite::Connection::open(ledger_file(&data)).unwrap().execute("UPDATE meta SET format = 99", []).unwrap();
    let Err(failure) = Pipeline::start(None, setup(&data, 1, SELDOM)) else { panic!("it starts") };
    let message = failure.to_string();
    assert!(message.contains("of format 99") && message.contains("cannot be written anew"), "{message}");
    let kept = copy_data(&data, &folder.0.join("backup")).map_err(|failure| failure.to_string());
    assert_eq!(kept, Err(message), "nor is it kept");
}
