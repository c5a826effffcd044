use crate::folder::Folder;
use crate::kills::Tracer;
use crate::program::{shanyraq, summary};
use crate::registers::repository;
use crate::running::*;
use crate::sending::configured;
use serde_json::{Value, json};
use shanyraq::journal::{self, base, read_epochs};
use shanyraq::pipeline::{journal_folder, ledger_file};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What `/metrics` says of something.
pub fn measure(running: &Running, name: &str) -> Option<f64> {
    let (status, measures) = running.call("GET", "/metrics", b"").unwrap();
    assert_eq!(status, 200, "{measures}");
    measures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The token of an acknowledgement.
pub fn token(answer: &Value) -> String {
    answer["token"].as_str().unwrap().to_owned()
}

/// The decisions that `batch` makes of all lines of a story.
pub fn by_batch(folder: &Folder, story: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let [_, _, decisions] = views_by_batch(folder, "kz", story);
    decisions
}

/// The population and some days, and nobody is written to.
pub fn quiet_story(persons: usize, seed: u64, days: usize) -> Story {
    story(persons, seed, days).into_iter().filter(|(path, _)| path == "/v1/updates").collect()
}

/// Up to which epoch archive and journal together hold all that was ever told; nothing that was begun is left unfinished beside them.
pub fn told_by_archive_and_journal(folder: &Folder, data: &Path) -> u64 {
    let drafts = ["journal", "archive", "snapshots"].map(|folder| data.join(folder).join("draft").exists());
    assert_eq!(drafts, [false; 3]);
    let whole = folder.0.join("whole");
    std::fs::create_dir(&whole).unwrap();
    let files = |folder: &str| std::fs::read_dir(data.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    for packed in files("archive") {
        std::fs::write(whole.join(packed.file_stem().unwrap()), zstd::decode_all(File::open(&packed).unwrap()).unwrap()).unwrap();
    }
    for segment in files("journal").filter(|path| path.extension().is_some_and(|extension| extension == "shj")) {
        std::fs::copy(&segment, whole.join(segment.file_name().unwrap())).unwrap();
    }
    // That none is missing between is seen while they are read.
    let summary = read_epochs(&journal::Folder::beside(&whole), 0, u64::MAX, |_| Ok(())).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(summary.epochs, summary.last_epoch);
    summary.last_epoch
}

/// A ledger in which somebody altered a row, and a journal that leads elsewhere, are told so.
#[test]
fn what_was_altered_is_noticed() {
    let folder = Folder::new("altered");
    let gateway = Gateway::start(&folder, "altered.log");
    let data = folder.0.join("data");
    let running = Running::start(&data, &gateway.address);
    for (path, body) in story(200, 3, 3) {
        running.tell(&path, &body).unwrap();
    }
    running.stop();
    let sql = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    let place = ["ledger", "verify", "--data", &data.display().to_string()].map(str::to_owned);
    assert!(shanyraq(&place).status.success());
    assert_eq!(sql.execute("UPDATE changes SET kind = 'lost' WHERE change = 20 AND kind = 'gained'", []).unwrap(), 1);
    let output = shanyraq(&place);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), message.as_str()), (Some(1), "shanyraq: changes: the chain breaks at change 20\n"));

    for (alteration, expected) in [
        ("UPDATE meta SET chain = 'other'", "its chain of changes is other, but the journal leads to"),
        ("UPDATE meta SET frontier = frontier + 5", "part of the journal is missing"),
    ] {
        sql.execute(alteration, []).unwrap();
        let start = ["run", "--listen", "127.0.0.1:0", "--data", &data.display().to_string()].map(str::to_owned);
        let output = shanyraq(&start);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

/// Each text belongs to a conversation, that to the decision of its right, and decisions to the changes that led to them: where a link is missing, it is
/// told which.
#[test]
fn a_text_without_its_decision_is_noticed() {
    let folder = Folder::new("links");
    let data = folder.0.join("data");
    let running = configured(&folder, "data", "pretend", "brake = { percent = 0, at_least = 1, days = 1 }");
    running.tell("/v1/dispatch/live", b"").unwrap();
    story(300, 5, 5).iter().filter(|(path, _)| path == "/v1/updates").for_each(|(path, body)| running.tell(path, body).unwrap());
    running.stop();
    let verify = || {
        let output = shanyraq(["ledger", "verify", "--data", &data.display().to_string()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(verify(), (Some(0), String::new()));
    let (ledger, whole) = (ledger_file(&data), folder.0.join("whole.db"));
    std::fs::copy(&ledger, &whole).unwrap();
    let written_to = "(person, benefit, ground, period) = (SELECT person, benefit, ground, period FROM outbox JOIN decisions USING (person, benefit, ground, period)
        ORDER BY message LIMIT 1)";
    for (alteration, expected) in [
        (format!("DELETE FROM decisions WHERE {written_to}"), "offers: a conversation is about a right of which there is no decision"),
        (format!("UPDATE decisions SET decision = 'other' WHERE {written_to}"), "decisions: a right stands otherwise than the changes tell"),
        (
            "INSERT INTO decisions SELECT person, benefit, ground, '2020-01-01', decision, household, outcome, amount, \"from\", until, reasons, 'baseline', epoch
             FROM decisions WHERE period = '' LIMIT 1"
                .to_owned(),
            "decisions: a right stands otherwise than the changes tell",
        ),
        (
            "UPDATE outbox SET ground = 'other'; UPDATE offers SET ground = 'other'".to_owned(),
            "outbox: a message is about no right that was ever gained",
        ),
        ("UPDATE outbox SET epoch = 1".to_owned(), "outbox: a message is about no right that was ever gained"),
    ] {
        std::fs::copy(&whole, &ledger).unwrap();
        let sql = rusqlite::Connection::open(&ledger).unwrap();
        sql.execute_batch(&alteration).unwrap();
        assert!(sql.query_row("SELECT total_changes()", [], |row| row.get::<_, u64>(0)).unwrap() > 0, "{alteration}");
        drop(sql);
        let (code, message) = verify();
        assert!(code == Some(1) && message.contains(expected), "{alteration}: {message}");
    }
}

/// While it tells its journal again a process says that it does, and how far it is; whoever watches it sees that it is there.
#[test]
fn a_pipeline_that_catches_up_is_seen() {
    let folder = Folder::new("catching-up");
    let (data, held) = (folder.0.join("data"), folder.0.join("held"));
    let story = quiet_story(3_000, 4, 3);
    let configuration = folder.write("long.toml", "segment_bytes = 20_000\ncompact_after_segments = 0\nsnapshot_seconds = 3600\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(&configuration).arg("--data").arg(&data);
    let mut running = Running::of(&mut command, &data, "none", Arc::default());
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let last = running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64().unwrap();
    running.kill();
    // Whoever reads the last file of the journal waits until somebody writes it.
    let journal = std::fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let end = journal.filter(|path| path.extension().is_some_and(|extension| extension == "shj")).max().unwrap();
    std::fs::rename(&end, &held).unwrap();
    assert!(Command::new("mkfifo").arg(&end).status().unwrap().success());

    let running = Running::begun(&mut command, &data, "none", Arc::default());
    let begun = Instant::now();
    let status = loop {
        let status = running.insist("GET", "/v1/status", b"").unwrap();
        assert_eq!(status["state"], "catching up", "{status}");
        if status["epoch"].as_u64() > Some(0) {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing of the journal is told: {status}");
    };
    assert!(status["epoch"].as_u64() < Some(last) && status["resident_bytes"].as_u64() > Some(0), "{status}");
    assert_eq!(measure(&running, "shanyraq_ready"), Some(0.0));
    assert!(measure(&running, "shanyraq_frontier") > Some(0.0));
    for path in ["/readyz", "/v1/changes", "/v1/export/decisions"] {
        assert_eq!(running.call("GET", path, b"").unwrap().0, 503, "{path}");
    }
    let mut reader = std::fs::File::options().write(true).open(&end).unwrap();
    std::fs::rename(&held, &end).unwrap();
    reader.write_all(&std::fs::read(&end).unwrap()).unwrap();
    drop(reader);
    running.insist("GET", "/readyz", b"").unwrap();
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    assert_eq!((&status["state"], &status["epoch"]), (&json!("ready"), &json!(last)));
    assert_eq!((measure(&running, "shanyraq_ready"), measure(&running, "shanyraq_frontier")), (Some(1.0), Some(last as f64)));
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// In one data folder one process works: another one ends and says why, and the first goes on unharmed.
#[test]
fn a_second_process_is_refused() {
    let folder = Folder::new("second");
    let story = quiet_story(400, 4, 4);
    let data = folder.0.join("data");
    let running = Running::start(&data, "none");
    let (before, after) = story.split_at(story.len() / 2);
    before.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["run", "--listen", "127.0.0.1:0", "--data"]).arg(&data).stderr(Stdio::piped());
    let mut second = Process(command.spawn().unwrap());
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = second.0.try_wait().unwrap() {
            break status.code();
        }
        assert!(begun.elapsed() < PATIENCE, "two processes work in one folder");
    };
    let message = std::io::read_to_string(second.0.stderr.take().unwrap()).unwrap();
    let expected = format!("shanyraq: {}: another process works in this folder", data.join("journal").display());
    assert!(code == Some(1) && message.contains(&expected), "{message}");
    after.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
    let running = Running::start(&data, "none");
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// What a configuration says of registers and benefits is checked against the package in force in the data folder, which it need not name.
#[test]
fn a_configuration_is_checked_against_the_package_in_force() {
    let folder = Folder::new("checked");
    let data = folder.0.join("data");
    Running::under("us-cps", &data, "none", Arc::default()).stop();
    let check = |said: &str| {
        let configuration = folder.write("checked.toml", said).display().to_string();
        let output = shanyraq(["run", "--check", "--config", &configuration, "--data", &data.display().to_string()]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, said) = check(&format!("maps = [{:?}]", repository("dataflows/policies/us-cps/cps.map.toml")));
    assert!(code == Some(0) && said.starts_with("us-cps@") && said.ends_with("all is well\n"), "{said}");
    // A register and a benefit of the package that comes with the program, which is not in force here.
    let map = folder.write("wages.map.toml", WAGES);
    let (code, said) = check(&format!("maps = [{map:?}]"));
    assert!(code == Some(2) && said.contains("maps:") && said.contains("enpf.contribution"), "{said}");
    let (code, said) = check("at_least_once = [\"rep_large_family\"]");
    assert_eq!((code, said.as_str()), (Some(2), "shanyraq: at_least_once: there is no benefit `rep_large_family`\n"));
}

/// With no room on the disk nothing more is acknowledged, and a reason is given; with room again all goes on, and nothing is lost.
#[test]
fn a_full_disk_is_told_and_passes() {
    let folder = Folder::new("full");
    let story = quiet_story(400, 4, 3);
    let running = Running::start(&folder.0.join("data"), "none");
    // Files that may not grow are what a full disk is to whoever writes them.
    let limit = |bytes: &str| {
        let pid = running.process.0.id().to_string();
        assert!(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}")]).status().unwrap().success());
    };
    for (path, body) in &story {
        limit("1:unlimited");
        let (status, text) = running.call("POST", path, body).unwrap();
        assert!(status == 503 && text.contains("File too large"), "{status} {text}");
        limit("unlimited:unlimited");
        running.tell(path, body).unwrap();
    }
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// A disk that fails to write or to sync: what was not acknowledged is told not to be, and once it works again all goes on.
#[test]
fn a_broken_disk_is_told_and_passes() {
    let folder = Folder::new("broken");
    let story = quiet_story(400, 4, 4);
    let mut running = Running::start(&folder.0.join("data"), "none");
    let journal = running.data.join("journal").join("0000000001.shj").display().to_string();
    let sync = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"];
    let write = ["-P", &journal, "-e", "trace=write", "-e", "inject=write:error=EIO"];
    for (index, (path, body)) in story.iter().enumerate() {
        // The first segment is the one that is written as long as nothing is in it.
        let failing = Tracer::of_all(&running, if index == 0 { &write } else { &sync });
        let (status, text) = running.call("POST", path, body).unwrap();
        assert!(status == 503 && text.contains("Input/output error"), "{status} {text}");
        failing.end();
        running.tell(path, body).unwrap();
    }
    running.kill();
    running.start_again();
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// A ledger's file on a disk that is full or broken: what was acknowledged waits, whoever asks is told, and once there is room again it is written.
#[test]
fn a_ledger_on_a_full_or_broken_disk_is_told_and_passes() {
    let folder = Folder::new("full-ledger");
    let mut story = quiet_story(400, 4, 0);
    let opening = story.pop().unwrap();
    let lines: Vec<&[u8]> = story[0].1.split_inclusive(|byte| *byte == b'\n').collect();
    let mut running = Running::start(&folder.0.join("data"), "none");
    running.tell(&opening.0, &opening.1).unwrap();
    let log = running.data.join("ledger.db-wal").display().to_string();
    let troubles = [("ENOSPC", "database or disk is full"), ("EIO", "disk I/O error")];
    for (lines, (error, said)) in lines.chunks(lines.len().div_ceil(6)).zip(troubles.into_iter().cycle()) {
        let inject = format!("inject=pwrite64:error={error}");
        let failing = Tracer::of_all(&running, &["-P", &log, "-e", "trace=pwrite64", "-e", &inject]);
        let token = token(&running.insist("POST", "/v1/updates", &lines.concat()).unwrap());
        let begun = Instant::now();
        while running.call("GET", "/readyz", b"").unwrap().0 != 503 {
            assert!(begun.elapsed() < PATIENCE, "nobody is told");
        }
        for (method, path) in [("GET", "/readyz"), ("POST", "/v1/updates")] {
            let (status, text) = running.call(method, path, &lines.concat()).unwrap();
            assert!(status == 503 && text.contains(said), "{path}: {status} {text}");
        }
        failing.end();
        running.settle(&token).unwrap();
        assert_eq!(running.call("GET", "/readyz", b"").unwrap().0, 200);
    }
    story.push(opening);
    let decisions = by_batch(&folder, &story);
    assert_eq!(running.decisions(), decisions);
    running.kill();
    running.start_again();
    assert_eq!(running.decisions(), decisions);
    let data = running.data.display().to_string();
    running.stop();
    summary(&shanyraq(["ledger", "verify", "--data", &data]));
}

/// A disk that fails while a snapshot, a base, the archive or a checkpoint of the ledger is written: it is counted and told why, the stream goes on, and
/// once the disk works again the next one is whole.
#[test]
fn a_disk_that_fails_beside_the_stream_is_told_and_passes() {
    const TROUBLES: [(&str, &str, &str, &str); 13] = [
        ("snapshots/draft/worker-0", "write", "ENOSPC", "snapshots_failed"),
        ("snapshots/draft/worker-0", "fsync", "EIO", "snapshots_failed"),
        ("snapshots/draft/rest", "write", "ENOSPC", "snapshots_failed"),
        ("snapshots/draft", "rename", "EIO", "snapshots_failed"),
        ("ledger.db", "pwrite64", "ENOSPC", "compactions_failed"),
        ("ledger.db", "fsync", "EIO", "compactions_failed"),
        ("journal/draft/0000000001.shj", "write", "ENOSPC", "compactions_failed"),
        ("journal/draft/0000000001.shj", "fdatasync", "EIO", "compactions_failed"),
        ("journal/draft/rest", "fsync", "EIO", "compactions_failed"),
        ("journal/draft", "rename", "EIO", "compactions_failed"),
        ("archive/draft", "write", "ENOSPC", "compactions_failed"),
        ("archive/draft", "fsync", "EIO", "compactions_failed"),
        ("archive/draft", "rename", "EIO", "compactions_failed"),
    ];
    let folder = Folder::new("beside");
    let data = folder.0.join("data");
    let story = quiet_story(400, 4, 20);
    let mut running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    // What was told already is an epoch too.
    let mut bodies = story.iter().cycle();
    for (file, call, error, what) in TROUBLES {
        let counted = format!("shanyraq_{what}_total");
        let before = measure(&running, &counted);
        let (path, trace, inject) =
            (data.join(file).display().to_string(), format!("trace={call}"), format!("inject={call}:error={error}"));
        let failing = Tracer::of_all(&running, &["-P", &path, "-e", &trace, "-e", &inject]);
        tell_until(&running, &mut bodies, file, || measure(&running, &counted) > before);
        failing.end();
        let epoch = running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64();
        tell_until(&running, &mut bodies, file, || compacted(&data) > epoch);
    }
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    for words in
        ["no snapshot", "no compaction", "No space left on device", "Input/output error", "database or disk is full", "disk I/O error"]
    {
        assert!(running.said.lock().unwrap().iter().any(|line| line.contains(words)), "{words}");
    }
    let decisions = by_batch(&folder, &story);
    assert_eq!(running.decisions(), decisions);
    running.kill();
    running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    assert_eq!((running.decisions(), measure(&running, "shanyraq_snapshots_failed_total")), (decisions.clone(), Some(0.0)));
    running.kill();
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    assert_eq!(running.decisions(), decisions, "from a base");
    running.stop();
    assert!(told_by_archive_and_journal(&folder, &data) > story.len() as u64);
}

/// Each epoch is a segment, and gives way to the next base.
pub const COMPACTED_AT_ONCE: &str =
    "segment_bytes = 1\nsnapshot_seconds = 0\ncompact_after_segments = 1\nbrake = { percent = 0, at_least = 1, days = 1 }";

/// The epoch of the newest base.
fn compacted(data: &Path) -> Option<u64> {
    base::newest(&journal_folder(data)).unwrap().map(|base| base.epoch)
}

/// Tells one body after the other until something has come to pass.
pub fn tell_until<'s>(
    running: &Running,
    bodies: &mut impl Iterator<Item = &'s (String, Vec<u8>)>,
    what: &str,
    has_come: impl Fn() -> bool,
) {
    let begun = Instant::now();
    while !has_come() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come to pass");
        let (path, body) = bodies.next().unwrap();
        running.tell(path, body).unwrap();
    }
}

/// An archive that cannot be written keeps nothing from going on, nor from starting: what was compacted stays where it is until there is room.
#[test]
fn an_archive_that_cannot_be_written_stops_nothing() {
    let folder = Folder::new("no-archive");
    let data = folder.0.join("data");
    std::fs::create_dir(&data).unwrap();
    // Where its folder should be there is a file.
    std::fs::write(data.join("archive"), b"").unwrap();
    let story = quiet_story(400, 4, 20);
    let (early, late) = story.split_at(story.len() / 2);
    let mut running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    tell_until(&running, &mut early.iter().cycle(), "archive", || {
        measure(&running, "shanyraq_compactions_failed_total") > Some(0.0) && compacted(&data).is_some()
    });
    running.kill();
    running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    assert_eq!(measure(&running, "shanyraq_compactions_failed_total"), Some(1.0), "at the start");
    let told = |line: &String| line.contains("what was compacted cannot be cleared away") && line.contains("File exists");
    assert!(running.said.lock().unwrap().iter().any(told), "{:?}", running.said.lock().unwrap());
    early.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    std::fs::remove_file(data.join("archive")).unwrap();
    late.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let epoch = running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64();
    tell_until(&running, &mut late.iter().cycle(), "archive", || compacted(&data) > epoch && data.join("archive").is_dir());
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
    assert!(Some(told_by_archive_and_journal(&folder, &data)) > epoch);
}

/// In a folder that may only be read a pipeline does not start, says which it is, and harms nothing.
#[test]
fn a_folder_that_may_only_be_read_is_refused() {
    let folder = Folder::new("read-only");
    let story = quiet_story(400, 4, 2);
    let data = folder.0.join("data");
    let running = Running::start(&data, "none");
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    running.stop();
    let read_only = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$2\" run --listen 127.0.0.1:0 --data \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", read_only, "sh"]).arg(&data).arg(env!("CARGO_BIN_EXE_shanyraq"));
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(&data.join("journal").display().to_string()) && message.contains("Read-only file system"), "{message}");
    let running = Running::start(&data, "none");
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// A clock that jumps a lifetime back and forth, and runs a thousand times too fast, moves no date and loses nothing.
#[test]
fn a_clock_that_jumps_moves_nothing() {
    let folder = Folder::new("clock");
    let story = quiet_story(400, 4, 6);
    let data = folder.0.join("data");
    for (clock, part) in ["-40y", "+40y x1000", "-10y x0.1"].iter().zip(story.chunks(story.len().div_ceil(3))) {
        let mut command = Command::new("sh");
        let false_clock = "LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) FAKETIME=\"$1\" exec \"$2\" run --policy kz --listen 127.0.0.1:0 --data \"$3\"";
        command.args(["-c", false_clock, "sh", clock, env!("CARGO_BIN_EXE_shanyraq")]).arg(&data);
        // What jumps is the clock on the wall: the other one never does.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let running = Running::of(&mut command, &data, "none", Arc::default());
        part.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
        running.stop();
    }
    let running = Running::start(&data, "none");
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// A clock that jumps by years while texts wait for the morning, forwards and back, over ends of the process too, moves when they leave and nothing
/// else: none leaves at night, and each arrives once.
#[test]
fn a_clock_that_jumps_while_texts_wait_tells_nobody_twice() {
    let folder = Folder::new("jumping");
    let story = story(1_000, 11, 25);
    let (decisions, texts) = undisturbed(&folder, &story);
    assert!(texts.len() > 5, "{texts:?}");
    let gateway = Gateway::start(&folder, "jumping.log");
    let (data, clock) = (folder.0.join("data"), folder.0.join("clock"));
    let turn_to = |hour: i64, years: i64| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let until_then = (hour * 3600 - now - 5 * 3600).rem_euclid(86_400);
        std::fs::rename(folder.write("turned", format!("{:+}", until_then + years * 365 * 86_400)), &clock).unwrap();
    };
    let words = "quiet_hours = \"21:00-09:00\"\nholidays = []\nallow_assumed = true\nbrake = { percent = 0, at_least = 1, days = 1 }\n";
    let configuration = folder.write("jumping.toml", words);
    let start = || {
        let false_clock = "LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1) exec \"$@\"";
        let mut command = Command::new("sh");
        command.args([
            "-c",
            false_clock,
            "sh",
            env!("CARGO_BIN_EXE_shanyraq"),
            "run",
            "--policy",
            "kz",
            "--listen",
            "127.0.0.1:0",
            "--smsc",
        ]);
        command.arg(&gateway.address).arg("--config").arg(&configuration).arg("--data").arg(&data);
        command.env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Running::of(&mut command, &data, &gateway.address, Arc::default())
    };
    turn_to(2, 0);
    let (mut running, mut answered, mut waited) = (start(), BTreeSet::new(), 0.0);
    for ((index, (path, body)), years) in story.iter().enumerate().zip([1, -1, 20, 0, -25].into_iter().cycle()) {
        turn_to(2, years);
        let arrived = gateway.taken().len();
        let complete = |running: &Running| {
            let token = token(&running.insist("POST", path, body).unwrap());
            running.insist("GET", &format!("/v1/completion/{token}?wait=10s"), b"").unwrap();
            token
        };
        let mut token = complete(&running);
        if index % 5 == 2 {
            running.kill();
            running = start();
        }
        // With the second of two epochs that follow it is known whether anything was handed over after the first.
        for years in [-years, years] {
            turn_to(23, years);
            token = complete(&running);
        }
        waited += measure(&running, "shanyraq_texts_under_way{state=\"Waiting\"}").unwrap();
        let submitted = measure(&running, "shanyraq_texts_under_way{state=\"Submitted\"}");
        assert_eq!((submitted, gateway.taken().len()), (Some(0.0), arrived), "at night");
        turn_to(12, 2 - years);
        running.settle(&token).unwrap();
        replies(&gateway, &mut answered).into_iter().for_each(|reply| running.tell("/v1/replies", &reply).unwrap());
    }
    assert!(waited > 5.0, "{waited}");
    assert_eq!((running.decisions(), sorted(&gateway)), (decisions, texts));
    running.stop();
    summary(&shanyraq(["ledger", "verify", "--data", &data.display().to_string()]));
}

/// While the ledger's file cannot be written, what was acknowledged waits, whoever asks is told, and nothing is lost.
#[test]
fn a_ledger_that_cannot_be_written_is_told_and_passes() {
    let folder = Folder::new("held");
    let story = quiet_story(400, 4, 2);
    let data = folder.0.join("data");
    let running = Running::start(&data, "none");
    running.tell(&story[0].0, &story[0].1).unwrap();
    let somebody = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (path, body) = &story[2];
    let token = token(&running.insist("POST", path, body).unwrap());
    let begun = Instant::now();
    while running.call("GET", "/readyz", b"").unwrap().0 != 503 {
        assert!(begun.elapsed() < PATIENCE, "nobody is told");
    }
    let (status, text) = running.call("POST", path, body).unwrap();
    assert!(status == 503 && text.contains("database is locked"), "{status} {text}");
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    assert!(status["state"] == "failing" && status["failure"].as_str().unwrap().contains("database is locked"), "{status}");
    assert_eq!(measure(&running, "shanyraq_ready"), Some(0.0));
    somebody.execute_batch("COMMIT").unwrap();
    running.settle(&token).unwrap();
    running.tell(&story[3].0, &story[3].1).unwrap();
    assert_eq!((running.call("GET", "/readyz", b"").unwrap().0, running.decisions()), (200, by_batch(&folder, &story)));
    running.stop();
}

/// Whoever supervises the process hears when it is ready, not before it has caught up, and when it stops.
#[test]
fn a_supervisor_is_told() {
    let folder = Folder::new("told");
    let path = folder.0.join("supervisor");
    let supervisor = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let data = folder.0.join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["run", "--listen", "127.0.0.1:0", "--data"]).arg(&data).env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
    let mut process = Process(command.spawn().unwrap());
    let hear = || {
        let mut heard = [0; 100];
        let length = supervisor.recv(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..length]).trim().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    let pid = process.0.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status().unwrap().success());
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(process.0.wait().unwrap().code(), Some(0));
}

/// What is paused waits, over a restart too, and goes on when it may; nothing is lost, and nobody is written to twice.
#[test]
fn what_is_paused_waits() {
    let folder = Folder::new("paused");
    let story = story(2_000, 11, 20);
    let gateway = Gateway::start(&folder, "free.log");
    let free = Running::start(&folder.0.join("free"), &gateway.address);
    story.iter().for_each(|(path, body)| free.tell(path, body).unwrap());
    let texts = sorted(&gateway);
    assert!(texts.len() > 10, "{texts:?}");
    // Each was timed once, to where it was handed over and to its answer; each epoch to its decisions and to the ledger.
    let timed = |what: &str| measure(&free, &format!("shanyraq_{what}_seconds_count"));
    assert_eq!([timed("handed_over"), timed("answered")], [Some(texts.len() as f64); 2]);
    assert_eq!([timed("decided"), timed("written")], [measure(&free, "shanyraq_frontier"); 2]);
    let sum = |what: &str| measure(&free, &format!("shanyraq_{what}_seconds_sum")).unwrap();
    assert!(sum("handed_over") < sum("answered") && sum("decided") > 0.0 && sum("written") > 0.0);
    free.stop();

    let gateway = Gateway::start(&folder, "paused.log");
    let mut running = Running::start(&folder.0.join("data"), &gateway.address);
    let pause = |running: &Running, words: &[&str]| {
        let output = shanyraq(words.iter().copied().chain(["--to", running.url.as_str()]));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let kinds = ["offer", "notice", "repeat", "account", "lapsed"];
    for kind in kinds {
        assert_eq!(pause(&running, &["pause", "--template", kind]), (Some(0), String::new()));
    }
    let (code, message) = pause(&running, &["pause", "--benefit", "rep_large_famly"]);
    assert!(code == Some(1) && message.contains("did you mean rep_large_family?"), "{message}");
    for (path, body) in &story {
        let token = token(&running.insist("POST", path, body).unwrap());
        running.insist("GET", &format!("/v1/completion/{token}?wait=10s"), b"").unwrap();
    }
    running.kill();
    running.start_again();
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    assert_eq!(status["paused"].as_array().map(Vec::len), Some(kinds.len()), "{status}");
    assert!(gateway.taken().is_empty() && status["texts_under_way"].as_u64() == Some(texts.len() as u64), "{status} {:?}", gateway.taken());

    assert_eq!(pause(&running, &["pause", "--feed", "http"]).0, Some(0));
    let (path, body) = &story[0];
    let (code, text) = running.call("POST", path, body).unwrap();
    assert!(code == 503 && text.contains("feed http is paused"), "{code} {text}");
    assert_eq!(pause(&running, &["resume", "--feed", "http"]).0, Some(0));
    kinds.into_iter().for_each(|kind| assert_eq!(pause(&running, &["resume", "--template", kind]).0, Some(0)));
    running.tell(path, body).unwrap();
    // Whose right has gone meanwhile is not written to about it.
    let arrived = sorted(&gateway);
    assert!(arrived.len() > 10 && arrived.windows(2).all(|pair| pair[0] < pair[1]), "each once: {arrived:?}");
    assert!(arrived.iter().all(|text| texts.contains(text)), "{arrived:?} of {texts:?}");
    running.stop();
}

/// By its commands: what a package would change is told by benefit and region, then it is proposed, activated and in force.
#[test]
fn another_policy_by_commands() {
    let folder = Folder::new("commands");
    let package = folder.0.join("later");
    let story = story_of_two_packages(1_000, 5, 14, &package);
    let running = Running::start(&folder.0.join("data"), "none");
    let updates = story.iter().filter(|(path, _)| path == "/v1/updates");
    updates.clone().for_each(|(path, body)| running.tell(path, body).unwrap());
    let (package, people) = (package.display().to_string(), folder.0.join("people.ndjson"));
    let to = ["--to", running.url.as_str()];
    let refused = shanyraq(["policy", "activate", &package, "--from", "2026-01-01"].iter().chain(&to));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was never proposed here"));
    let diff = |more: &[&str]| shanyraq(["policy", "diff", &package].iter().chain(&to).chain(more));
    let told = diff(&["--json", "--people", &people.display().to_string()]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let rows: Vec<Value> = String::from_utf8_lossy(&told.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (compared, sums) = rows.split_last().unwrap();
    assert_eq!((&compared["in_force"], &compared["compared"]), (&json!("kz@2026.1"), &json!("kz@2026.2")));
    let number = |row: &Value, name: &str| row[name].as_i64().unwrap();
    let behind: Vec<Value> = std::fs::read_to_string(&people).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Every number is as many people, and every sum is theirs.
    for sum in sums {
        let is_of = |row: &&Value| row["benefit"] == sum["benefit"] && row["region"].as_str().unwrap_or_default() == sum["region"];
        let of_sum: Vec<&Value> = behind.iter().filter(is_of).collect();
        let of_kind = |kind: &str| of_sum.iter().filter(|row| row["change"] == kind).count() as i64;
        assert_eq!([number(sum, "gained"), number(sum, "lost")], [of_kind("gained"), of_kind("lost")], "{sum}");
        let money = |name: &str| of_sum.iter().map(|row| number(row, name)).sum::<i64>();
        assert_eq!([number(sum, "money_before"), number(sum, "money_now")], [money("before"), money("now")], "{sum}");
    }
    let people_of = |name: &str| sums.iter().map(|sum| number(sum, name)).sum::<i64>();
    assert!(people_of("gained") > 50 && people_of("lost") > 50 && people_of("more") > 20, "{sums:?}");
    let table = String::from_utf8_lossy(&diff(&[]).stdout).into_owned();
    assert!(table.contains("aaa_town_pass") && table.contains("kz@2026.2 instead of kz@2026.1"), "{table}");
    let activated = shanyraq(["policy", "activate", &package, "--from", "2026-01-01"].iter().chain(&to));
    assert!(activated.status.success(), "{}", String::from_utf8_lossy(&activated.stderr));
    assert_eq!(running.insist("GET", "/v1/status", b"").unwrap()["policy"], "kz@2026.2");
    let batch = views_by_batch(&folder, &package, &updates.cloned().collect::<Story>());
    assert_eq!(running.decisions(), batch[2]);
    running.stop();
}

/// Archived by hand, a journal gives way to a base, from which a start goes on; a folder in which a pipeline works is left alone.
#[test]
fn a_journal_is_archived_by_hand() {
    let folder = Folder::new("archived");
    let (data, out) = (folder.0.join("data"), folder.0.join("packed"));
    let story = quiet_story(400, 6, 3);
    let configuration = folder.write("long.toml", "segment_bytes = 20_000\ncompact_after_segments = 0\nsnapshot_seconds = 3600\n");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
        command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(&configuration).arg("--data").arg(&data);
        Running::of(&mut command, &data, "none", Arc::default())
    };
    let running = start();
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let place = data.display().to_string();
    let archive = ["journal", "archive", "--data", &place, "--out", &out.display().to_string()].map(str::to_owned);
    let refused = shanyraq(&archive);
    assert!(refused.status.code() == Some(1) && String::from_utf8_lossy(&refused.stderr).contains("another process works in this folder"));
    running.stop();
    let archived = summary(&shanyraq(&archive));
    let segments = |name: &str| archived[name].as_u64().unwrap();
    assert!(segments("segments_before") > 2 && segments("segments") < segments("segments_before"), "{archived}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count() as u64, segments("segments_before") - segments("segments"));
    let verified = summary(&shanyraq(["journal", "verify", "--data", &place]));
    assert!(verified["base"].as_u64() > Some(0), "{verified}");
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    let running = start();
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}
