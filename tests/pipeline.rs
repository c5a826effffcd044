use crate::folder::Folder;
use crate::packages::{edit, write};
use crate::program::{shanyraq, summary};
use crate::registers::repository;
use crate::running::*;
use crate::sending::configured;
use crate::snapshots::{SELDOM, start};
use dataflows::model::Date;
use serde_json::{Value, json};
use shanyraq::commands::{load_package, package_texts};
use shanyraq::intake::Intake;
use shanyraq::journal::Own;
use shanyraq::pipeline::{Submission, ledger_file};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

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

/// While the engine is at work for long, as on the first day of a quarter, what comes is durable and acknowledged, and enters the ledger later.
#[test]
fn nobody_is_kept_waiting_for_the_engine() {
    let package = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = Folder::new("busy");
    let pipeline = start(&package, &folder.0.join("data"), 1, SELDOM);
    let ((busy, begun), (go_on, rest)) = (channel(), channel::<()>());
    let questions = pipeline.questions.clone();
    let asking = std::thread::spawn(move || {
        questions.ask(move |_, _| {
            busy.send(()).unwrap();
            rest.recv().unwrap();
        })
    });
    begun.recv().unwrap();
    let (scribe, (acknowledged, last)) = (pipeline.scribe.clone(), channel());
    std::thread::spawn(move || {
        let told = (0..300).map(|_| scribe.submit(Submission::of_own(Own::Intents(Vec::new()))).unwrap().epoch);
        acknowledged.send(told.max()).unwrap();
    });
    let last = last.recv_timeout(PATIENCE).expect("the doors wait for the engine").unwrap();
    assert_eq!((pipeline.progress.standing().epoch, last), (0, 300));
    go_on.send(()).unwrap();
    asking.join().unwrap().unwrap();
    assert!(pipeline.progress.wait_for(last, PATIENCE));
    pipeline.stop();
}

/// While the ledger's file is written for long, as on the first day of a quarter, engine and ledger go on; what they decided is written then, each epoch as
/// it was.
#[test]
fn nobody_waits_for_the_ledgers_file_to_be_decided_about() {
    let package = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message));
    let folder = Folder::new("busy-file");
    let data = folder.0.join("data");
    let pipeline = start(&package, &data, 1, SELDOM);
    let somebody = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    let days = [20_000, 20_001, 20_031].map(Date);
    let told = days.map(|day| {
        let line =
            format!("{{\"register\":\"calendar\",\"key\":\"today\",\"seq\":1,\"op\":\"upsert\",\"data\":{{\"date\":\"{day}\"}}}}\nmuch\n");
        let [part] =
            Submission::read(&mut Intake::journalling(pipeline.progress.schema()), "test", 1, line.as_bytes()).try_into().ok().unwrap();
        pipeline.scribe.submit(part).unwrap().epoch
    });
    assert_eq!(pipeline.questions.ask(|engine, _| engine.today()), Some(days[2]), "the engine waits for the file");
    assert_eq!((pipeline.progress.standing().epoch, told), (0, [1, 2, 3]), "it is told before it is written");
    somebody.execute_batch("COMMIT").unwrap();
    assert!(pipeline.progress.wait_for(3, PATIENCE));
    let mut written = somebody.prepare("SELECT epoch, date FROM epochs ORDER BY epoch").unwrap();
    let written: Vec<(u64, String)> = written.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(written, told.into_iter().zip(days.map(|day| day.to_string())).collect::<Vec<_>>());
    pipeline.stop();
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
    story(1_000, 11, 25).iter().for_each(|(path, body)| running.tell(path, body).unwrap());
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
        // A baseline is spoken of with nobody, so that nothing else misses it.
        (
            "DELETE FROM decisions WHERE (person, benefit, ground, period) IN (SELECT person, benefit, ground, period FROM decisions WHERE silent = 'baseline' LIMIT 1)"
                .to_owned(),
            "that stand",
        ),
        ("UPDATE decisions SET amount = amount + 1 WHERE silent = 'baseline'".to_owned(), "decisions: what a row says is not what its name is a hash of"),
        ("DELETE FROM changes WHERE change = (SELECT max(change) FROM changes)".to_owned(), "that were told"),
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

    // A package that a start refuses is refused with the same words: another one, and the one in force as somebody has edited it.
    let mut texts = package_texts("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message));
    edit(&mut texts, "parameters.toml", "is = 11670", "is = 11671");
    let edited = folder.0.join("edited").display().to_string();
    write(&texts, Path::new(&edited));
    let place = data.display().to_string();
    for (package, title) in [("kz", "kz@"), (edited.as_str(), "us-cps@")] {
        let begin = |words: &[&str]| {
            let output = shanyraq([&["run", "--policy", package, "--data", &place, "--listen", "127.0.0.1:0"][..], words].concat());
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, said) = begin(&["--check"]);
        assert!(code == Some(1) && said.starts_with(&format!("shanyraq: the package {title}")), "{said}");
        assert!(said.contains("was never in force in this data folder, where us-cps@") && said.contains("policy propose"), "{said}");
        let (code, of_start) = begin(&[]);
        assert!(code == Some(1) && of_start.contains(&said), "{of_start}");
    }
    let checked = shanyraq(["run", "--check", "--policy", "us-cps", "--data", &place]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
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
