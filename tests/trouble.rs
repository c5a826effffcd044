use crate::faulty::{outbox, talkative_story};
use crate::folder::Folder;
use crate::kills::{Tracer, passes_away};
use crate::pipeline::{by_batch, measure, quiet_story, token};
use crate::program::{shanyraq, summary};
use crate::running::*;
use crate::sending::configured;
use crate::snapshots::newest;
use shanyraq::journal::{self, base, read_epochs};
use shanyraq::pipeline::journal_folder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

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
    let first = [running.data.join("journal").join("0000000001.shj")];
    let accepted = |running: &Running| measure(running, "shanyraq_records_accepted_total{feed=\"http\"}");
    for (index, (path, body)) in story.iter().enumerate() {
        // The first segment is the one that is written as long as nothing is in it.
        let (files, call) = if index == 0 { (first.as_slice(), "write") } else { ([].as_slice(), "fdatasync") };
        let failing = Tracer::of_all(&running, files, call, "error=EIO");
        let before = accepted(&running);
        for (method, path) in [("POST", path.as_str()), ("GET", "/readyz")] {
            let (status, text) = running.call(method, path, body).unwrap();
            assert!(status == 503 && text.contains("Input/output error"), "{path}: {status} {text}");
        }
        assert_eq!((measure(&running, "shanyraq_ready"), accepted(&running)), (Some(0.0), before), "nothing is counted that was refused");
        failing.end();
        // By itself: whoever waits until it is ready tells nothing before.
        running.insist("GET", "/readyz", b"").unwrap();
        assert_eq!(measure(&running, "shanyraq_ready"), Some(1.0));
        running.tell(path, body).unwrap();
    }
    running.kill();
    running.start_again();
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// Asked to end it does not wait for a disk: it says what could not be written, and where, and that nothing is lost.
fn ends_unwritten(running: &mut Running, failure: &str) {
    running.terminate();
    assert!(passes_away(running, PATIENCE), "it waits for the disk");
    assert_eq!(running.process.0.wait().unwrap().code(), Some(1));
    let place = running.data.display().to_string();
    let words = ["shanyraq: ", failure, &place, "Nothing that was acknowledged is lost"];
    let begun = Instant::now();
    while !running.said.lock().unwrap().iter().any(|line| words.iter().all(|word| line.contains(word))) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", running.said.lock().unwrap());
    }
}

/// A ledger's file on a disk that is full or broken: what was acknowledged waits, whoever asks is told, and once there is room again it is written, by the next
/// start if the process was asked to end before.
#[test]
fn a_ledger_on_a_full_or_broken_disk_is_told_and_passes() {
    let folder = Folder::new("full-ledger");
    let mut story = quiet_story(400, 4, 0);
    let opening = story.pop().unwrap();
    let lines: Vec<&[u8]> = story[0].1.split_inclusive(|byte| *byte == b'\n').collect();
    let mut running = Running::start(&folder.0.join("data"), "none");
    running.tell(&opening.0, &opening.1).unwrap();
    let log = [running.data.join("ledger.db-wal")];
    let troubles = [("ENOSPC", "database or disk is full"), ("EIO", "disk I/O error")];
    let (lines, last) = lines.split_at(lines.len() - lines.len() / 7);
    for (lines, (error, said)) in lines.chunks(lines.len().div_ceil(6)).zip(troubles.into_iter().cycle()) {
        let failing = Tracer::of_all(&running, &log, "pwrite64", &format!("error={error}"));
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
    let failing = Tracer::of_all(&running, &log, "pwrite64", "error=ENOSPC");
    let acknowledged = running.insist("POST", "/v1/updates", &last.concat()).unwrap();
    // As many epochs more as may wait for the one that cannot be written.
    (0..4).for_each(|_| drop(running.insist("POST", "/v1/pause", br#"{ "feed": "http:another", "paused": true }"#).unwrap()));
    ends_unwritten(&mut running, "database or disk is full");
    failing.end();
    running.start_again();
    running.settle_all(&acknowledged).unwrap();
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

/// Asked to end while the journal cannot be written, and with it what the network says of a text, the process ends; the next start hands the text over again, under
/// its name.
#[test]
fn a_broken_disk_keeps_no_process_from_ending() {
    let folder = Folder::new("unheard");
    let (data, story) = (folder.0.join("data"), talkative_story(100, 2));
    let words = "segment_bytes = 1_000_000\nbrake = { percent = 0, at_least = 1, days = 1 }";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut running = configured(&folder, "data", &format!("http://{}/", listener.local_addr().unwrap()), words);
    story.iter().for_each(|(path, body)| drop(running.insist("POST", path, body).unwrap()));
    let (mut given, _) = listener.accept().unwrap();
    let failing = Tracer::of_all(&running, &[data.join("journal").join("0000000001.shj")], "fdatasync", "error=EIO");
    given.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let begun = Instant::now();
    while running.call("GET", "/readyz", b"").unwrap().0 != 503 {
        assert!(begun.elapsed() < PATIENCE, "what the network says is not journalled");
    }
    ends_unwritten(&mut running, "Input/output error");
    failing.end();

    let gateway = Gateway::start(&folder, "heard.log");
    let running = configured(&folder, "data", &gateway.address, words);
    running.settle("0").unwrap();
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
    let outbox = outbox(&data);
    let delivered = outbox.iter().filter(|(.., status)| status == "delivered").count();
    // Whether what was said of the first one outlived its failed sync is the disk's to say: if so it is not handed over again.
    let taken = gateway.taken().len();
    assert!(delivered > 10 && (delivered - 1..=delivered).contains(&taken), "{delivered} delivered, {taken} taken");
    assert!(outbox.iter().all(|(.., status)| status == "delivered" || status == "suppressed"), "{outbox:?}");
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
        let failing = Tracer::of_all(&running, &[data.join(file)], call, &format!("error={error}"));
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

/// Somebody who goes on reading how the ledger stood keeps the journal from giving way to a newer base: it is told, and once they are gone it does.
#[test]
fn a_compaction_waits_for_whoever_reads_on() {
    let folder = Folder::new("waiting");
    let data = folder.0.join("data");
    let story = quiet_story(400, 4, 4);
    let running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    let epoch = || running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64();
    // One body a snapshot: told as fast as it can be, a journal grows quicker than this build compacts it.
    let tell_until = |what: &str, has_come: &dyn Fn() -> bool| {
        let is_kept = || newest(&data).first().map(|folder| folder.file_name().unwrap().to_str().unwrap().parse().unwrap()) >= epoch();
        let begun = Instant::now();
        tell_until(&running, &mut story.iter().cycle(), what, || {
            while !has_come() && epoch() > Some(0) && !is_kept() {
                assert!(begun.elapsed() < PATIENCE, "{what}: no snapshot comes");
            }
            has_come()
        });
    };
    tell_until("a base", &|| compacted(&data).is_some());
    let reader = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let read: u64 = reader.query_row("SELECT frontier FROM meta", [], |row| row.get(0)).unwrap();
    tell_until("waiting", &|| running.said.lock().unwrap().iter().any(|line| line.contains("compaction waits")));
    assert!(compacted(&data) <= Some(read), "a base of what the ledger's file does not have for sure");
    reader.execute_batch("COMMIT").unwrap();
    let waited = epoch();
    tell_until("a newer base", &|| compacted(&data) > waited);
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
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
    // What was acknowledged is not through: whoever asks for it is not told so.
    for wait in ["", "?wait=1s"] {
        let (status, text) = running.call("GET", &format!("/v1/completion/{token}{wait}"), b"").unwrap();
        assert!(status == 202 && text.contains("\"complete\":false"), "{status} {text}");
    }
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    assert!(status["state"] == "failing" && status["failure"].as_str().unwrap().contains("database is locked"), "{status}");
    assert_eq!(measure(&running, "shanyraq_ready"), Some(0.0));
    somebody.execute_batch("COMMIT").unwrap();
    running.settle(&token).unwrap();
    running.tell(&story[3].0, &story[3].1).unwrap();
    assert_eq!((running.call("GET", "/readyz", b"").unwrap().0, running.decisions()), (200, by_batch(&folder, &story)));
    running.stop();
}
