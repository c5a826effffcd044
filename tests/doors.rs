use crate::folder::Folder;
use crate::kills::{SENDERS, UNCOMPACTED, identities, journalled, parted, passes_away, tell_at_once};
use crate::pipeline::{by_batch, measure, quiet_story, token};
use crate::program::{rows, shanyraq, summary};
use crate::registers::repository;
use crate::running::*;
use crate::sending::configured;
use crate::snapshots::newest;
use fixtures::lives::is_calendar;
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

const FEED: &str = "c8bc2586cdd87cd6f970fc4262c4bbc49165811788825fbc1ba3366bfde45413";
const READER: &str = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30";
const OPERATOR: &str = "06e55b633481f7bb072957eabcf110c972e86691c3cfedabe088024bffe42f23";

/// What was refused is kept whole over a restart, is sent again when asked, and is done with when it is discarded.
#[test]
fn refused_lines_wait_until_somebody_looks_after_them() {
    let folder = Folder::new("refused");
    let data = folder.0.join("data");
    let mut running = Running::start(&data, "none");
    let line = |amount: &str| {
        format!(
            r#"{{"register":"enpf.contribution","person":"850315300019","key":"2026-01-E-1","seq":1,"op":"upsert","data":{{"period":"2026-01","employer":"E-1","amount":{amount}}}}}"#
        )
    };
    let body = [line("100").as_bytes(), b"\n", line("\"a lot\"").as_bytes(), b"\n\xff\xfe not text\n"].concat();
    let answer = running.insist("POST", "/v1/updates", &body).unwrap();
    assert_eq!((&answer["accepted"], &answer["quarantined"]), (&json!(1), &json!(2)));
    let counted = |running: &Running| {
        ["accepted", "refused"].map(|what| measure(running, &format!("shanyraq_records_{what}_total{{feed=\"http\"}}")))
    };
    assert_eq!(counted(&running), [Some(1.0), Some(2.0)]);
    running.kill();
    running.start_again();

    let quarantine = |words: &[&str]| {
        let output = shanyraq(
            ["quarantine"].iter().chain(words).copied().map(str::to_owned).chain(["--data".to_owned(), data.display().to_string()]),
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: Vec<Value> = quarantine(&["list"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let amount = json!({ "feed": "http", "field": "amount", "reason": "must be a whole number, not text", "lines": 1 });
    assert_eq!(listed, [json!({ "feed": "http", "field": "", "reason": "not UTF-8 from byte 1 on", "lines": 1 }), amount.clone()]);
    let shown: Vec<Value> = quarantine(&["show"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&shown[0]["raw"], &shown[0]["line"]), (&json!(line("\"a lot\"")), &json!(2)));
    assert_eq!(shown[1]["raw_base64"], "//4gbm90IHRleHQ=");

    assert_eq!(quarantine(&["discard", "--reason", "not UTF-8", "--to", &running.url]), "1 lines discarded\n");
    assert_eq!(quarantine(&["retry", "--to", &running.url]), "1 lines retried\n");
    let listed: Vec<Value> = quarantine(&["list"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed, [amount], "refused again");
    let shown: Value = serde_json::from_str(&quarantine(&["show"])).unwrap();
    assert_eq!((&shown["raw"], &shown["line"]), (&json!(line("\"a lot\"")), &json!(2)), "as it came");
    let ask = |rows: &str| running.call("POST", "/v1/quarantine", format!(r#"{{"rows":{rows},"how":"discarded"}}"#).as_bytes()).unwrap();
    let (status, text) = ask("[1,3,9]");
    assert!(status == 409 && text.contains("rows: not there: 9; done with already: 1"), "{status} {text}");
    assert_eq!(ask("[]").0, 400);

    let (_, measures) = running.call("GET", "/metrics", b"").unwrap();
    for line in ["shanyraq_quarantine_waiting 1", "shanyraq_frontier 3", "shanyraq_live 0", "shanyraq_offers{stage=\"sent1\"} 0"] {
        assert!(measures.lines().any(|measure| measure == line), "{line} is not in {measures}");
    }
    for measure in [
        "sync_seconds",
        "acknowledged_seconds",
        "decided_seconds",
        "written_seconds",
        "in_ledger_seconds",
        "handed_over_seconds",
        "answered_seconds",
    ] {
        assert!(measures.contains(&format!("shanyraq_{measure}_bucket")), "{measure} is not in {measures}");
    }
    let log: Option<u64> = measures.lines().find_map(|line| line.strip_prefix("shanyraq_ledger_log_bytes ")?.parse().ok());
    assert!(log > Some(0), "{measures}");
    assert_eq!(counted(&running), [None, None], "what is read again its feed did not send");
    assert!(!measures.contains("850315300019"), "nobody is named");
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    let bytes = ["resident_bytes", "available_bytes"].map(|name| status[name].as_u64().unwrap());
    assert!(bytes.iter().all(|bytes| (1 << 20..1 << 50).contains(bytes)) && status["date"].is_null(), "{status}");
    // Whoever comes second is told.
    let mut answers = std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(|| ask("[3]").0)).map(|asking| asking.join().unwrap()));
    answers.sort();
    assert_eq!(answers, [200, 409]);
    // More than one request asks for.
    running.tell("/v1/updates", "x\n".repeat(10_001).as_bytes()).unwrap();
    assert_eq!(quarantine(&["discard", "--to", &running.url]), "10001 lines discarded\n");
    assert_eq!(quarantine(&["list"]), "");
    running.stop();
}

/// Longer than the folder is left alone between two looks.
const SEVERAL_LOOKS: Duration = Duration::from_millis(700);

/// A complete file that is renamed into the watched folder is taken in and goes on, also when the process is killed over it.
#[test]
fn a_watched_folder_is_emptied() {
    let folder = Folder::new("watched");
    let (data, watched) = (folder.0.join("data"), folder.0.join("data.in"));
    let mut running = Running::start(&data, "none");
    let (feed, late) = (story(300, 4, 2), b"not a record\n");
    let lines: Vec<u8> = feed.iter().flat_map(|(_, body)| body.iter().copied()).collect();
    let packed = zstd::encode_all(lines.as_slice(), 1).unwrap();
    std::fs::rename(folder.write("first.ndjson.zst", packed), watched.join("first.ndjson.zst")).unwrap();
    running.kill();
    running.start_again();
    std::fs::rename(folder.write("second.ndjson", late), watched.join("second.ndjson")).unwrap();
    // A name is taken before the file gets it.
    let arrived = |name: &str| {
        let begun = Instant::now();
        while std::fs::metadata(watched.join(name)).map_or(0, |file| file.len()) == 0 {
            assert!(begun.elapsed() < PATIENCE, "{name} is not there");
        }
    };
    arrived("done/first.ndjson.zst");
    arrived("failed/second.ndjson");
    // Paused, the folder keeps what comes; a table is read through the mapping of the configuration once it goes on.
    let pause = |word: &str| assert!(shanyraq([word, "--feed", "folder", "--to", &running.url]).status.success());
    let table = |tenge: u32| format!("iin,month,tenge\n850315300019,2025-12,{tenge}\n");
    let put = |name: &str, text: &str| std::fs::rename(folder.write(name, text), watched.join(name)).unwrap();
    pause("pause");
    put("third.csv", &table(90_000));
    let begun = Instant::now();
    while begun.elapsed() < SEVERAL_LOOKS {
        assert!(watched.join("third.csv").exists(), "it was taken in");
    }
    pause("resume");
    arrived("done/third.csv");
    // What has the name of one before overwrites nothing.
    for tenge in [1, 2] {
        put("third.csv", &table(tenge));
        arrived(&format!("done/third.csv.{}", tenge + 1));
    }
    put("second.ndjson", "no record either\n");
    arrived("failed/second.ndjson.2");
    let texts = ["done/third.csv", "done/third.csv.2", "done/third.csv.3", "failed/second.ndjson", "failed/second.ndjson.2"]
        .map(|name| std::fs::read_to_string(watched.join(name)).unwrap());
    assert_eq!(texts, [table(90_000), table(1), table(2), "not a record\n".to_owned(), "no record either\n".to_owned()]);
    // What of them was refused is the folder's.
    let refused = || waiting_of(&data.display().to_string(), "folder");
    let begun = Instant::now();
    while refused().iter().map(|(_, lines)| lines).sum::<u64>() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", refused());
    }
    assert!(refused().iter().all(|(name, _)| name == "folder:second.ndjson"), "{:?}", refused());
    // One that cannot be moved away is taken in once, keeps none back that comes after it, and goes when it can.
    let refused_of =
        |name: &str| waiting_of(&data.display().to_string(), &format!("folder:{name}")).iter().map(|(_, lines)| lines).sum::<u64>();
    let taken_in = |name: &str| {
        let begun = Instant::now();
        while refused_of(name) == 0 {
            assert!(begun.elapsed() < PATIENCE, "{name} is not taken in");
        }
    };
    std::fs::remove_dir_all(watched.join("failed")).unwrap();
    std::os::unix::fs::symlink("nowhere", watched.join("failed")).unwrap();
    for name in ["fourth.ndjson", "later.ndjson"] {
        put(name, "not a record\n");
        taken_in(name);
    }
    assert!(refused_of("fourth.ndjson") == 1 && watched.join("fourth.ndjson").exists(), "it was taken in again");
    std::fs::remove_file(watched.join("failed")).unwrap();
    arrived("failed/fourth.ndjson");
    arrived("failed/later.ndjson");
    // What is written after the files is in the ledger after them.
    let heartbeat = br#"{"register":"heartbeat","key":"enpf.contribution","seq":1,"op":"upsert","data":{"date":"2026-01-01"}}"#;
    running.tell("/v1/updates", heartbeat).unwrap();
    assert_eq!(["fourth.ndjson", "later.ndjson"].map(refused_of), [1, 1], "each once");
    assert_eq!(running.decisions(), by_batch(&folder, &feed));
    running.stop();
}

/// A record that comes again changes nothing, and is counted; so is one of an older version, of one person or of several, and each of a body of several
/// dates.
#[test]
fn what_is_sent_again_is_known() {
    let folder = Folder::new("again");
    let running = Running::start(&folder.0.join("data"), "none");
    let wage = |seq: u32| {
        format!(
            r#"{{"register":"kgd.turnover","person":"850315300019","key":"2026-01","seq":{seq},"op":"upsert","data":{{"period":"2026-01","amount":{seq}}}}}"#
        )
    };
    let act = |seq: u32| {
        format!(
            r#"{{"register":"zags.marriage","key":"M-1","seq":{seq},"op":"upsert","data":{{"act_no":"M-1","man":"850315300019","registered":"2020-01-0{seq}"}}}}"#
        )
    };
    let told = |lines: [String; 2]| {
        let token = token(&running.insist("POST", "/v1/updates", lines.join("\n").as_bytes()).unwrap());
        let answer = running.insist("GET", &format!("/v1/completion/{token}?wait=10s"), b"").unwrap();
        (answer["duplicates"].as_u64().unwrap(), answer["superseded"].as_u64().unwrap())
    };
    assert_eq!(told([wage(2), act(2)]), (0, 0));
    assert_eq!(told([wage(2), act(2)]), (2, 0));
    assert_eq!(told([wage(1), act(1)]), (0, 2));
    assert_eq!(told([wage(3), act(2)]), (1, 0));
    // Turnovers are kept for 24 months: on this day one of 2023 has expired when it comes, and one of 2025 has not.
    running.tell("/v1/updates", &date("2026-03-01")).unwrap();
    let recorded = r#""recorded_at":"2026-02-20","data""#;
    let of = |month: &str| wage(1).replace("2026-01", month).replace(r#""data""#, recorded);
    let answer = running.insist("POST", "/v1/updates", [of("2023-11"), of("2025-11")].join("\n").as_bytes()).unwrap();
    let answer = running.insist("GET", &format!("/v1/completion/{}?wait=10s", token(&answer)), b"").unwrap();
    assert_eq!((&answer["expired"], &answer["duplicates"]), (&json!(1), &json!(0)), "{answer}");
    let (_, measures) = running.call("GET", "/metrics", b"").unwrap();
    assert!(measures.lines().any(|line| line == "shanyraq_feed_lag_days{feed=\"http\"} 9"), "{measures}");
    assert!(measures.contains("shanyraq_feed_time{feed=\"http\"} 1"), "in seconds since 1970");
    // So is each of a body of several dates, every one of which begins an epoch.
    let day = |day: &str| String::from_utf8(date(day)).unwrap();
    let body = [of("2025-08"), day("2026-03-02"), of("2025-09"), day("2026-03-03"), of("2025-10")].join("\n");
    for known in [0, 3] {
        let answer = running.insist("POST", "/v1/updates", body.as_bytes()).unwrap();
        let last = answer["epoch"].as_u64().unwrap();
        assert_eq!(token(&answer), format!("{}-{last}", last - 2));
        let answer = running.insist("GET", &format!("/v1/completion/{}?wait=10s", token(&answer)), b"").unwrap();
        assert_eq!((&answer["duplicates"], &answer["epoch"]), (&json!(known), &json!(last)), "{answer}");
    }
    // No record comes, and the date moves on.
    running.tell("/v1/updates", &date("2026-03-08")).unwrap();
    let (_, measures) = running.call("GET", "/metrics", b"").unwrap();
    assert!(measures.lines().any(|line| line == "shanyraq_feed_lag_days{feed=\"http\"} 16"), "{measures}");
    running.stop();
}

/// A pipeline at which the words "feed", "reader" and "operator" are tokens: `zags` is a feed.
fn with_tokens(folder: &Folder) -> Running {
    let data = folder.0.join("data");
    let configuration = folder.write(
        "tokens.toml",
        // By sha256sum.
        format!("watch = {:?}\ntokens = {{ feeds = {{ zags = \"{FEED}\" }}, readers = {{ board = \"{READER}\" }}, operators = {{ duty = \"{OPERATOR}\" }} }}\n", folder.0.join("in")),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(&configuration).arg("--data").arg(&data);
    Running::of(&mut command, &data, "none", Arc::default())
}

/// The program, run to its end by whoever has this token.
fn shanyraq_by(token: &str, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shanyraq")).args(words).env("SHANYRAQ_TOKEN", token).output().unwrap()
}

/// What it says that went well.
fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where tokens are configured, each opens its own door and nobody comes in without one.
#[test]
fn a_token_opens_its_own_door() {
    let folder = Folder::new("tokens");
    let begun = since_1970();
    let running = with_tokens(&folder);
    let url = running.url.as_str();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let status = |method: &str, path: &str, token: &str| {
        let (url, bearer) = (format!("{url}{path}"), format!("Bearer {token}"));
        let answer = match method {
            "GET" if token.is_empty() => agent.get(&url).call(),
            "GET" => agent.get(&url).header("authorization", bearer).call(),
            _ => agent.post(&url).header("authorization", bearer).send(&b"not a record"[..]),
        };
        answer.unwrap().status().as_u16()
    };
    let measures = || {
        let mut measures = agent.get(format!("{url}/metrics")).header("authorization", "Bearer reader").call().unwrap();
        measures.body_mut().read_to_string().unwrap()
    };
    // Of a feed that is configured it is known how long it has been silent, though it never came.
    let silent = measures();
    for feed in ["zags", "folder"] {
        let since = silent.lines().find_map(|line| line.strip_prefix(&format!("shanyraq_feed_time{{feed=\"{feed}\"}} "))?.parse().ok());
        assert!(since.is_some_and(|since| (begun..=since_1970()).contains(&since)), "{feed}: {silent}");
    }
    let statuses = |method: &str, path: &str| ["feed", "reader", "operator", "nobody"].map(|token| status(method, path, token));
    assert_eq!(statuses("POST", "/v1/updates"), [200, 403, 403, 403]);
    // What was refused an operator has read again, and sends nothing else; what is no mapping is told so to whoever may send one.
    assert_eq!(statuses("POST", "/v1/updates?retry=http"), [400, 403, 403, 403]);
    assert_eq!(statuses("POST", "/v1/quarantine"), [403, 403, 415, 403]);
    assert_eq!(statuses("POST", "/v1/mappings"), [400, 403, 400, 403]);
    assert_eq!(statuses("GET", "/v1/completion/1?wait=10s"), [200, 200, 200, 403]);
    assert_eq!(statuses("GET", "/v1/changes"), [403, 200, 200, 403]);
    assert_eq!(statuses("GET", "/v1/export/categories"), [403, 200, 200, 403]);
    assert_eq!(statuses("POST", "/v1/dispatch/live"), [403, 403, 200, 403]);
    assert_eq!((status("GET", "/v1/changes", ""), status("GET", "/readyz", "")), (401, 200));
    // Whatever it calls what it sends it is the same feed.
    let named = agent.post(format!("{url}/v1/updates")).header("authorization", "Bearer feed").header("x-feed", "acts.ndjson");
    assert_eq!(named.send(&b"not a record"[..]).unwrap().status().as_u16(), 200);
    let measures = measures();
    assert!(measures.contains("shanyraq_records_refused_total{feed=\"zags\"} 2") && !measures.contains("acts.ndjson"), "{measures}");
    running.stop();
}

/// A feed is one, by the name of its token or `http` without any, whatever the files are called that its command sends: paused it waits, and what it sent
/// wrongly is looked after by its name.
#[test]
fn a_feed_is_known_by_its_name() {
    let folder = Folder::new("named");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let file = folder.write("acts.ndjson", [date("2026-01-01"), b"\nnot a record\n".to_vec()].concat()).display().to_string();
    for (running, name, other) in [(with_tokens(&folder), "zags", "http"), (Running::start(&folder.0.join("open"), "none"), "http", "zags")]
    {
        let (data, url) = (running.data.display().to_string(), running.url.clone());
        let operate = |words: &[&str]| said(shanyraq_by("operator", &[words, &["--to", &url][..]].concat()));
        let send = || {
            let request = agent.post(format!("{url}/v1/updates")).header("authorization", "Bearer feed").header("x-feed", "acts.ndjson");
            let mut answer = request.send(&date("2026-01-01")[..]).unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        };
        operate(&["pause", "--feed", "folder"]);
        assert_eq!(send().0, 200, "another feed is paused");
        for misspelt in [other, &name[1..], "acts.ndjson"] {
            let refused = shanyraq_by("operator", &["pause", "--feed", misspelt, "--to", &url]);
            let message = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(
                refused.status.code() == Some(1) && message.contains(&format!("the feeds are {name}, folder")),
                "{misspelt}: {message}"
            );
        }
        operate(&["pause", "--feed", name]);
        let (status, text) = send();
        assert!(status == 503 && text.contains(&format!("feed {name}:acts.ndjson is paused")), "{status} {text}");
        let feeding = std::thread::spawn({
            let (file, url) = (file.clone(), url.clone());
            move || shanyraq_by("feed", &["feed", "--json", &file, "--to", &url])
        });
        operate(&["resume", "--feed", name]);
        let sent = summary(&feeding.join().unwrap());
        assert_eq!((&sent["accepted"], &sent["quarantined"]), (&json!(1), &json!(1)), "{sent}");
        // One file of it may wait by itself.
        let whole = format!("{name}:acts.ndjson");
        operate(&["pause", "--feed", &whole]);
        assert_eq!(send().0, 503, "{whole}");
        operate(&["resume", "--feed", &whole]);
        assert_eq!(send().0, 200, "{whole}");

        let mut measures = agent.get(format!("{url}/metrics")).header("authorization", "Bearer reader").call().unwrap();
        let measures = measures.body_mut().read_to_string().unwrap();
        let of_feed = format!("shanyraq_records_refused_total{{feed=\"{name}\"}} 1");
        assert!(measures.lines().any(|line| line == of_feed) && !measures.contains("acts.ndjson"), "{measures}");

        let waiting = |feed: &str| waiting_of(&data, feed);
        for known in [name, &whole] {
            assert_eq!(waiting(known), [(whole.clone(), 1)], "{known}");
        }
        for unknown in ["acts.ndjson", &name[..3], other] {
            assert_eq!(waiting(unknown), [], "{unknown}");
        }
        operate(&["quarantine", "discard", "--feed", other, "--data", &data]);
        assert_eq!(waiting(name).len(), 1, "another feed's are discarded");
        assert_eq!(operate(&["quarantine", "discard", "--feed", name, "--data", &data]), "1 lines discarded\n");
        assert_eq!(waiting(name), []);
        running.stop();
    }
}

/// Of a feed, what lines wait and how many, by what they came as.
fn waiting_of(data: &str, feed: &str) -> Vec<(String, u64)> {
    let listed = said(shanyraq(["quarantine", "list", "--feed", feed, "--data", data]));
    let rows = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["feed"].as_str().unwrap().to_owned(), row["lines"].as_u64().unwrap())).collect()
}

/// The token of a feed is all that it takes to send a table through a mapping, and that of an operator to have what of it was refused read by a mended one;
/// a feed that tries the latter doubles nothing.
#[test]
fn an_operator_sends_again_what_a_feed_sent_wrongly() {
    let folder = Folder::new("again-by-tokens");
    let running = with_tokens(&folder);
    let (data, url) = (running.data.display().to_string(), running.url.as_str());
    // A name with a `&` in it arrives whole.
    let table = folder.write("wages&co.csv", "iin,month,version,tenge\n850315300019,2026-01,v1,100000\n850315300019,2025-12,2,90000\n");
    let map = |name: &str, seq: &str| {
        let text = WAGES.replace("*.csv", "wages*.csv").replace("seq = 1", &format!("seq = {seq}"));
        folder.write(name, text).display().to_string()
    };
    let (first, mended) = (map("first.map.toml", "\"{version}\""), map("mended.map.toml", "1"));
    let sent = summary(&shanyraq_by("feed", &["feed", "--json", "--to", url, "--map", &first, &table.display().to_string()]));
    assert_eq!((&sent["accepted"], &sent["quarantined"]), (&json!(1), &json!(1)), "{sent}");
    let waiting = || waiting_of(&data, "zags");
    let one = [("zags:wages&co.csv".to_owned(), 1)];
    assert_eq!(waiting(), one);

    let retry =
        |token: &str, map: &str| shanyraq_by(token, &["quarantine", "retry", "--feed", "zags", "--map", map, "--data", &data, "--to", url]);
    let refused = retry("feed", &first);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && message.contains("this token opens another door"), "{message}");
    // With the next epoch in the ledger all before it are.
    said(shanyraq_by("operator", &["pause", "--template", "lapsed", "--to", url]));
    assert_eq!(waiting(), one, "it came again");
    // What is refused again is still its feed's.
    assert_eq!(said(retry("operator", &first)), "1 lines retried\n");
    assert_eq!(waiting(), one);
    assert_eq!(said(retry("operator", &mended)), "1 lines retried\n");
    assert_eq!(waiting(), []);
    running.stop();
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A feed that was broken off goes on where it was, by what the file says: another day's of the same name is sent from its beginning.
#[test]
fn a_feed_goes_on_where_it_was() {
    let folder = Folder::new("resumed");
    let running = Running::start(&folder.0.join("data"), "none");
    let story = quiet_story(3_000, 9, 1);
    let lines: Vec<u8> = story.iter().flat_map(|(_, body)| body.iter().copied()).collect();
    let whole = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    let half = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(whole as usize / 2).unwrap().0;
    let (file, remembered) = (folder.write("feed.ndjson", &lines[..=half]).display().to_string(), folder.0.join("feed.json"));
    let remembered = remembered.display().to_string();
    let feed_by = |words: &[&str]| {
        let fed = shanyraq([&["feed", "--json", "--resume", &remembered, "--to", &running.url][..], words].concat());
        let sent = summary(&fed);
        if !token(&sent).is_empty() {
            running.settle(&token(&sent)).unwrap();
        }
        let lines = ["accepted", "quarantined"].map(|name| sent[name].as_u64().unwrap()).iter().sum::<u64>();
        (lines, String::from_utf8_lossy(&fed.stderr).contains("it is sent from its beginning"))
    };
    let feed = || feed_by(&[&file]);
    let (first, anew) = feed();
    assert!(first > 1_000 && !anew && feed() == (0, false), "what was acknowledged is not sent again");
    folder.write("feed.ndjson", &lines);
    assert_eq!(feed(), (whole - first, false), "{first} of {whole}");
    assert_eq!(running.decisions(), by_batch(&folder, &story));

    let [one, two, three] = ["2026-02-01", "2026-02-02", "2026-02-03"].map(date);
    folder.write("feed.ndjson", [&one[..], &two].join(&b'\n'));
    assert_eq!((feed(), feed()), ((2, true), (0, false)), "the next day's, of which the last line has no end");
    folder.write("feed.ndjson", [&one[..], &two, &three].join(&b'\n'));
    assert_eq!(feed(), (2, false), "the line that had no end goes once more");
    folder.write("feed.ndjson", [&two[..], &three, &one].join(&b'\n'));
    assert_eq!(feed(), (3, true), "as long, and something else");
    let no_file = shanyraq(["feed", "--resume", &remembered, "--to", &running.url, "/dev/null"]);
    let message = String::from_utf8_lossy(&no_file.stderr).into_owned();
    assert!(no_file.status.code() == Some(2) && message.contains("/dev/null: --resume is for files"), "{message}");
    let map = folder.write("wages.map.toml", WAGES).display().to_string();
    let table = folder.0.join("wages.csv").display().to_string();
    for (tenge, anew) in [(1, false), (2, true)] {
        folder.write("wages.csv", format!("iin,month,tenge\n850315300019,2025-12,{tenge}\n"));
        assert_eq!((feed_by(&["--map", &map, &table]), feed_by(&["--map", &map, &table])), ((1, anew), (0, false)), "{tenge}");
    }
    running.stop();
}

fn date(day: &str) -> Vec<u8> {
    format!(r#"{{"register":"calendar","key":"today","seq":1,"op":"upsert","data":{{"date":"{day}"}}}}"#).into_bytes()
}

/// A feed of tables through the survey's mapping, as its command sends it.
fn feed(to: &str, files: &[PathBuf], more: &[&str]) -> Output {
    let map = repository("dataflows/policies/us-cps/cps.map.toml").display().to_string();
    let files = files.iter().map(|file| file.display().to_string());
    let words = ["feed", "--json", "--map", &map, "--to", to].map(str::to_owned).into_iter();
    shanyraq(words.chain(files).chain(more.iter().map(|word| (*word).to_owned())))
}

/// The survey's tables come in through their mapping, and full dumps of one of them are compared with what is held: all rows are those of `batch`, before
/// and after a kill, and what is the same changes nothing.
#[test]
fn tables_and_full_dumps_say_what_they_say_in_batch() {
    let folder = Folder::new("tables");
    let data = folder.0.join("data");
    let mut running = Running::under("us-cps", &data, "none", Arc::default());
    let tables = repository("fixtures/cps");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&tables).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.display().to_string().ends_with(".csv.gz"));
    files.sort();
    let sent = summary(&feed(&running.url, &files, &[]));
    assert_eq!((&sent["quarantined"], &sent["duplicates"], &sent["expired"]), (&json!(0), &json!(0), &json!(0)), "{sent}");
    let again = summary(&feed(&running.url, &files, &[]));
    assert_eq!((&again["accepted"], &again["duplicates"]), (&sent["accepted"], &sent["accepted"]), "what is sent again is known");
    running.tell("/v1/updates", &date("2015-01-01")).unwrap();
    let by_batch = |more: &[String]| {
        let [map, feed, out] = [repository("dataflows/policies/us-cps/cps.map.toml"), tables.clone(), folder.0.join("views")]
            .map(|path| path.display().to_string());
        let mut words = ["batch", "--policy", "us-cps", "--json", "--as-of", "2015-01-01", "--map", &map, "--feed", &feed, "--out", &out]
            .map(str::to_owned)
            .to_vec();
        words.extend(["--views".to_owned(), VIEWS.join(",")].into_iter().chain(more.iter().cloned()));
        let said = summary(&shanyraq(words));
        (VIEWS.map(|view| rows(Path::new(&out), view).iter().map(Value::to_string).collect::<BTreeSet<String>>()), said)
    };
    assert_eq!(VIEWS.map(|view| running.export(view)), by_batch(&[]).0, "of the tables");

    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(tables.join("income.csv.gz")).unwrap()).read_to_string(&mut text).unwrap();
    let (wages, interest) = ("7,2014,wages,", "7,2014,interest,");
    let changed = |line: &str| if line.starts_with(wages) { format!("{wages}90000") } else { line.to_owned() };
    let lines: Vec<String> = text.lines().filter(|line| !line.starts_with(interest)).map(changed).collect();
    let dump = folder.write("income-dump.csv", format!("{}\n", lines.join("\n")));
    let (expected, said) = by_batch(&["--snapshot".to_owned(), format!("irs.income={}", dump.display())]);
    let sent = summary(&feed(&running.url, std::slice::from_ref(&dump), &["--snapshot", "irs.income"]));
    assert_eq!(sent["snapshots"][dump.display().to_string()], said["snapshots"]["irs.income"], "{sent}");
    let differ = ["changed", "deleted"].map(|name| said["snapshots"]["irs.income"][name].as_u64());
    assert_eq!(differ, [Some(1), Some(1)], "{said}");
    assert_eq!(VIEWS.map(|view| running.export(view)), expected, "after the dump");
    running.kill();
    running = Running::under("us-cps", &data, "none", running.said);
    assert_eq!(VIEWS.map(|view| running.export(view)), expected, "told again");

    let epoch = |running: &Running| running.insist("GET", "/v1/status", b"").unwrap()["epoch"].clone();
    let before = epoch(&running);
    let same = summary(&feed(&running.url, std::slice::from_ref(&dump), &["--snapshot", "irs.income"]));
    assert_eq!((&same["accepted"], epoch(&running)), (&json!(0), before.clone()), "a dump of what is held");
    let short = folder.write("income-short.csv", format!("{}\n", lines[..20].join("\n")));
    let refused = feed(&running.url, std::slice::from_ref(&short), &["--snapshot", "irs.income"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(1) && message.contains("records held are not in the dump") && message.contains("max_shrink"),
        "{message}"
    );
    assert_eq!(epoch(&running), before, "nothing of it was taken in");
    let unknown = feed(&running.url, &[short], &["--snapshot", "irs.incme"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean irs.income?"));
    running.stop();
}

/// Rows that a wrong mapping refuses are kept under the names of their columns, and are read by a mended one.
#[test]
fn a_mended_mapping_reads_what_a_wrong_one_refused() {
    let folder = Folder::new("mended");
    let data = folder.0.join("data");
    let running = Running::start(&data, "none");
    let table = folder.write("wages.csv", "iin,month,version,tenge\n850315300019,2026-01,v1,100000\n850315300019,2025-12,2,90000\n");
    let map = |seq: &str| {
        format!(
            "[wages]\nfile = \"wages*.csv\"\nrows = [{{ register = \"enpf.contribution\", person = \"{{iin}}\", key = \"{{month}}-E-1\", seq = {seq}, data = {{ period = \"{{month}}\", employer = \"E-1\", amount = \"{{tenge}}\" }} }}]\n"
        )
    };
    let words = |map: &Path| {
        ["feed", "--json", "--to", &running.url, "--map", &map.display().to_string(), &table.display().to_string()].map(str::to_owned)
    };
    let wrong = folder.write("unknown.map.toml", map("1").replace("enpf.contribution", "enpf.contributions"));
    let refused = shanyraq(words(&wrong));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(1) && message.contains("did you mean enpf.contribution?") && message.contains("unknown.map.toml"),
        "{message}"
    );

    let sent = summary(&shanyraq(words(&folder.write("first.map.toml", map("\"{version}\"")))));
    assert_eq!((&sent["accepted"], &sent["quarantined"]), (&json!(1), &json!(1)), "{sent}");
    let quarantine = |words: &[&str]| {
        let place = ["--data".to_owned(), data.display().to_string()];
        shanyraq(["quarantine"].iter().chain(words).map(|word| (*word).to_owned()).chain(place))
    };
    let shown = quarantine(&["show"]).stdout;
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(
        (&shown["raw"], &shown["line"], &shown["field"]),
        (&json!("iin,month,version,tenge\n850315300019,2026-01,v1,100000"), &json!(2), &json!("seq"))
    );
    let helpless = quarantine(&["retry", "--to", &running.url]);
    assert!(helpless.status.code() == Some(2) && String::from_utf8_lossy(&helpless.stderr).contains("need --map"));
    let mended = folder.write("mended.map.toml", map("1")).display().to_string();
    assert_eq!(quarantine(&["retry", "--map", &mended, "--to", &running.url]).stdout, b"1 lines retried\n");
    assert!(quarantine(&["list"]).stdout.is_empty());
    running.stop();
    let exported = String::from_utf8(shanyraq(["journal", "export", "--data", &data.display().to_string()]).stdout).unwrap();
    let amounts: BTreeSet<i64> =
        exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, BTreeSet::from([90_000, 100_000]));
}

/// A backup has the mappings that were posted: where it is brought back, whoever names one goes on.
#[test]
fn a_backup_has_the_mappings() {
    let folder = Folder::new("mappings");
    let [data, backup, back] = ["data", "backup", "back"].map(|name| folder.0.join(name));
    let running = Running::start(&data, "none");
    let mapping = running.insist("POST", "/v1/mappings", WAGES.replace("*.csv", "*").as_bytes()).unwrap();
    let path = format!("/v1/updates?mapping={}", mapping["mapping"].as_str().unwrap());
    let table = |month: &str| format!("iin,month,tenge\n850315300019,{month},90000\n");
    running.tell(&path, table("2025-11").as_bytes()).unwrap();
    let copy =
        |word: &str, given: &Path, data: &Path| summary(&shanyraq([word.as_ref(), given.as_os_str(), "--data".as_ref(), data.as_os_str()]));
    copy("backup", &backup, &data);
    running.stop();
    copy("restore", &backup, &back);
    let running = Running::start(&back, "none");
    let (status, answer) = running.call("POST", &path, table("2025-12").as_bytes()).unwrap();
    assert!(status == 200 && answer.contains("\"accepted\":1"), "{status} {answer}");
    running.stop();
}

/// Bodies that are taken in are bounded together: whoever comes when there is no room is asked to come again, and finds it when others are through.
#[test]
fn whoever_finds_no_room_comes_again() {
    let folder = Folder::new("room");
    let running = Running::start(&folder.0.join("data"), "none");
    let until = |name: &str, value: f64| {
        let begun = Instant::now();
        while measure(&running, name) != Some(value) {
            assert!(begun.elapsed() < PATIENCE, "{name} is {:?}", measure(&running, name));
        }
    };
    // Bodies that are announced, and do not come.
    let announced = || {
        let mut stream = TcpStream::connect(running.url.strip_prefix("http://").unwrap().trim_end_matches('/')).unwrap();
        write!(stream, "POST /v1/updates HTTP/1.1\r\nhost: pipeline\r\ncontent-length: {}\r\n\r\n", 64 << 20).unwrap();
        stream
    };
    // Of each as much as is held in memory: of the others the rest goes to a file.
    let held: Vec<TcpStream> = (0..16).map(|_| announced()).collect();
    until("shanyraq_bodies_bytes", f64::from(256 << 20));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.post(format!("{}/v1/updates", running.url)).send(&date("2026-01-01")[..]).unwrap();
    let later = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!((answer.status().as_u16(), later.as_deref()), (429, Some("1")));
    let turned_away = "shanyraq_bodies_turned_away_total";
    assert_eq!(measure(&running, turned_away), Some(1.0));

    let file = folder.write("feed.ndjson", [date("2026-01-01"), b"\n".to_vec()].concat()).display().to_string();
    let words = ["feed", "--json", "--to", &running.url, &file].map(str::to_owned);
    let feeding = std::thread::spawn(move || summary(&shanyraq(words)));
    let begun = Instant::now();
    while measure(&running, turned_away) == Some(1.0) {
        assert!(begun.elapsed() < PATIENCE, "the feed was not turned away");
    }
    drop(held);
    assert_eq!(feeding.join().unwrap()["accepted"], json!(1), "it came again");
    until("shanyraq_bodies_bytes", 0.0);
    running.stop();
}

/// More than all that lies between who writes an answer and who reads it can hold.
const LONG_ANSWER: usize = 40 << 20;

/// Has the decisions of a ledger so long reasons that nobody is through with them who does not read them.
fn lengthen_decisions(data: &Path) {
    let sql = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    let decisions: usize = sql.query_row("SELECT count(*) FROM decisions", [], |row| row.get(0)).unwrap();
    let reasons = json!(["x".repeat(LONG_ANSWER / decisions)]).to_string();
    assert_eq!(sql.execute("UPDATE decisions SET reasons = ?", [reasons]).unwrap(), decisions);
}

/// A connection over which this was sent, and nothing more is.
fn half_sent(running: &Running, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(running.url.strip_prefix("http://").unwrap().trim_end_matches('/')).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// Half a body.
const HALF: &str = "POST /v1/updates HTTP/1.1\r\nhost: pipeline\r\ncontent-length: 1000\r\n\r\n{";

/// Somebody who asked for all decisions, and reads no more once the first have come.
fn stalled_reader(running: &Running) -> TcpStream {
    let mut stream = half_sent(running, "GET /v1/export/decisions HTTP/1.1\r\nhost: pipeline\r\n\r\n");
    let mut first = [0; 64 << 10];
    stream.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&first[..100]));
    stream
}

/// Whoever reads no more of an answer, or sends half a body, does not keep a process from ending: it ends in order, leaves a snapshot, and what it acknowledged
/// is there.
#[test]
fn whoever_is_slow_keeps_no_process_from_ending() {
    let folder = Folder::new("slow");
    let data = folder.0.join("data");
    let story = quiet_story(400, 4, 2);
    let mut running = configured(&folder, "data", "none", "drain_seconds = 1\nsnapshot_seconds = 3600");
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    lengthen_decisions(&data);
    let epoch = running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64();
    let _reader = stalled_reader(&running);
    let _sender = half_sent(&running, HALF);
    let begun = Instant::now();
    while measure(&running, "shanyraq_bodies_bytes") == Some(0.0) {
        assert!(begun.elapsed() < PATIENCE, "nobody waits for the body");
    }
    assert_eq!(newest(&data), Vec::<PathBuf>::new());
    running.terminate();
    assert!(passes_away(&mut running, PATIENCE), "it waits for whoever is slow");
    assert_eq!(running.process.0.wait().unwrap().code(), Some(0));
    let snapshots: Vec<Option<u64>> = newest(&data).iter().map(|path| path.file_name()?.to_str()?.parse().ok()).collect();
    assert_eq!(snapshots, [epoch]);
    let lines: Vec<u8> = story.iter().flat_map(|(_, body)| body.iter().copied()).collect();
    assert_eq!(journalled(&data), identities(&lines));
}

/// Whoever takes nothing of an answer, or sends nothing more of a body, for longer than is waited loses the connection: the ledger is not kept as it stood when they
/// asked.
#[test]
fn whoever_is_silent_is_not_waited_for() {
    let folder = Folder::new("silent");
    let data = folder.0.join("data");
    let running = configured(&folder, "data", "none", "silence_seconds = 1");
    quiet_story(400, 4, 2).iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let mut answer = String::new();
    half_sent(&running, &HALF.replace("host: pipeline", "host: pipeline\r\nconnection: close")).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("nothing of it came for 1 s"), "{answer}");

    lengthen_decisions(&data);
    let mut reader = stalled_reader(&running);
    // The log goes into the tables up to where the ledger stood for whoever has read longest.
    running.tell("/v1/updates", &date("2026-02-01")).unwrap();
    let sql = rusqlite::Connection::open(data.join("ledger.db")).unwrap();
    let is_kept = || sql.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get::<_, i64>(0)).unwrap() != 0;
    let begun = Instant::now();
    while is_kept() {
        assert!(begun.elapsed() < PATIENCE, "whoever is silent is waited for");
    }
    // What was on its way still comes; the answer has no end.
    let mut rest = Vec::new();
    drop(reader.read_to_end(&mut rest));
    assert!(rest.len() < LONG_ANSWER / 2 && !rest.ends_with(b"\r\n0\r\n\r\n"), "{} bytes", rest.len());
    running.stop();
}

/// What many tell while a process ends in order is acknowledged, and there, or is not acknowledged.
#[test]
fn what_is_told_while_it_ends_is_acknowledged_or_not() {
    let folder = Folder::new("ending");
    let data = folder.0.join("data");
    let story = quiet_story(2_000, 4, 0);
    let start = || configured(&folder, "data", "none", UNCOMPACTED);
    let lines: Vec<u8> = story.iter().flat_map(|(_, body)| body.iter().copied()).collect();
    let (dates, mut bodies) = parted(&lines, 100 * SENDERS);
    let mut running = start();
    running.tell("/v1/updates", &dates).unwrap();
    for acknowledged_before in [1, SENDERS, 4 * SENDERS] {
        let url = running.url.clone();
        let told = tell_at_once(&url, &bodies, |acknowledgements| {
            acknowledgements.iter().take(acknowledged_before).for_each(drop);
            running.terminate();
        });
        assert!(passes_away(&mut running, PATIENCE), "it does not end");
        assert_eq!(running.process.0.wait().unwrap().code(), Some(0));
        let (acknowledged, others): (Vec<_>, Vec<_>) = told.into_iter().partition(|(_, told)| told.is_ok());
        assert!(acknowledged.len() >= acknowledged_before && !others.is_empty(), "{} and {}", acknowledged.len(), others.len());
        let is_refusal = |why: &&String| why.starts_with("503 ") || !why.starts_with(|letter: char| letter.is_ascii_digit());
        let other = others.iter().filter_map(|(_, told)| told.as_ref().err()).find(|why| !is_refusal(why));
        assert_eq!(other, None, "neither acknowledged nor refused");
        let journalled = journalled(&data);
        for (body, _) in &acknowledged {
            assert!(identities(body).is_subset(&journalled), "something acknowledged is missing");
        }
        bodies = others.into_iter().map(|(body, _)| body).collect();
        running = start();
    }
    let told = tell_at_once(&running.url, &bodies, |_| {});
    assert!(told.iter().all(|(_, told)| told.is_ok()), "{:?}", told.iter().find_map(|(_, told)| told.as_ref().err()));
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// A body of so many lines with a name of so many letters in each: 400 MiB.
const LONG_LINES: usize = 4_000;
const LONG_NAME: usize = 100 << 10;
/// A body told so many times over.
const LONG_BODY: usize = 140 << 20;
const TIMES: usize = 4;
/// More memory than this a body does not take, however long it is.
const LONG_BODY_MEMORY: u64 = 160 << 20;
/// Between two looks at a process's memory: what it has for shorter is not seen.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// How much more memory of its own a process had at most while something was done than before: not what is mapped of files, which the system takes back
/// when it needs it.
fn most_memory_while<T>(process: u32, work: impl FnOnce() -> T) -> (T, u64) {
    let own = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix("kB")).unwrap();
        kilobytes.trim().parse::<u64>().unwrap() << 10
    };
    let before = own();
    let (at_work, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let mut most = before;
            while is_done.recv_timeout(BETWEEN_LOOKS) == Err(RecvTimeoutError::Timeout) {
                most = most.max(own());
            }
            most - before
        });
        let done = work();
        drop(at_work);
        (done, watching.join().unwrap())
    })
}

/// A body that is too much for memory waits in a file, and is one epoch; told again it leads to the same.
#[test]
fn a_long_body_is_one_epoch() {
    let folder = Folder::new("long");
    let data = folder.0.join("data");
    let mut running = Running::start(&data, "none");
    let story = quiet_story(2_000, 8, 1);
    let lines: Vec<&[u8]> = story.iter().flat_map(|(_, body)| body.split_inclusive(|byte| *byte == b'\n')).collect();
    let (dates, records): (Vec<&[u8]>, Vec<&[u8]>) = lines.into_iter().partition(|line| is_calendar(line));
    // Long by white space, so that what is measured is the body, and not what the engine makes of so many records.
    let padding = vec![b' '; LONG_BODY / TIMES / records.len()];
    let once: Vec<u8> = records.iter().flat_map(|line| [b"{", padding.as_slice(), &line[1..]].concat()).collect();
    let long = once.repeat(TIMES);
    dates.iter().for_each(|date| running.tell("/v1/updates", date).unwrap());
    let before = running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64().unwrap();
    let process = running.process.0.id();
    let (answer, memory) = most_memory_while(process, || {
        let answer = running.insist("POST", "/v1/updates", &long).unwrap();
        running.settle(&token(&answer)).unwrap();
        answer
    });
    let accepted = answer["accepted"].as_u64().unwrap();
    assert_eq!((answer["epoch"].as_u64().unwrap(), accepted % TIMES as u64), (before + 1, 0), "{answer}");
    assert!(memory < (LONG_BODY / 5 * 8) as u64, "{memory} bytes for a body of {}", long.len());
    let completion = running.insist("GET", &format!("/v1/completion/{}", token(&answer)), b"").unwrap();
    // All but the first of each: some are older versions than the last of those before.
    assert!(completion["duplicates"].as_u64() > Some(accepted / 2) && completion["superseded"].as_u64() > Some(0), "{completion}");
    let decisions =
        |told: &[&[u8]]| by_batch(&folder, &told.iter().map(|body| ("/v1/updates".to_owned(), body.to_vec())).collect::<Vec<_>>());
    let dates = dates.concat();
    assert!(running.decisions() == decisions(&[&dates, &once]), "it says otherwise than batch");
    // Packed it is short, and still too much for memory: a name as long as no other, again and again.
    let name = "A".repeat(LONG_NAME);
    let line = |citizenship: &str| {
        format!(
            r#"{{"register":"gbdfl.person","person":"850315300019","key":"main","seq":1,"op":"upsert","data":{{"birth_date":"1985-03-15","sex":"M",{citizenship}"surname":"{name}"}}}}"#
        ) + "\n"
    };
    let packed = |line: &str| zstd::encode_all(line.repeat(LONG_LINES).as_bytes(), 1).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let send = |packed: &[u8]| {
        let mut answer = agent.post(format!("{}/v1/updates", running.url)).header("content-encoding", "zstd").send(packed).unwrap();
        let body: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        (answer.status().as_u16(), body)
    };
    let ((status, refused), memory) = most_memory_while(process, || send(&packed(&line(""))));
    assert!(status == 400 && refused["error"].as_str().unwrap().contains("citizenship: missing"), "{status}: {refused}");
    assert!(memory < LONG_BODY_MEMORY, "{memory} bytes for lines that are refused");
    let line = line(r#""citizenship":"kz","name":"A","#);
    let packed = packed(&line);
    let (body, memory) = most_memory_while(process, || {
        let (status, body) = send(&packed);
        assert_eq!(status, 200, "{body}");
        running.settle(&token(&body)).unwrap();
        body
    });
    assert_eq!((body["epoch"].as_u64().unwrap(), body["accepted"].as_u64().unwrap()), (before + 2, LONG_LINES as u64), "{body}");
    assert!(packed.len() < 1 << 20 && memory < LONG_BODY_MEMORY, "{memory} bytes for {} packed", packed.len());
    let decisions = decisions(&[&dates, &once, line.as_bytes()]);
    assert!(running.decisions() == decisions, "it says otherwise than batch");
    running.kill();
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    running.start_again();
    assert!(running.decisions() == decisions, "it says otherwise when told again");
    running.stop();
}
