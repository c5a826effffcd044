use crate::activation::later;
use crate::batch::{rows, shanyraq, summary};
use crate::folder::Folder;
use dataflows::model::Date;
use fixtures::country::Country;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};
use shanyraq::packages::{Package, fingerprint};
use shanyraq::pipeline::ledger_file;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of a test, killed with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The pretend gateway, and the log of what it took.
struct Gateway {
    _process: Process,
    address: String,
    log: PathBuf,
}

impl Gateway {
    fn start(folder: &Folder, name: &str) -> Gateway {
        let log = folder.0.join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pretend-gateway"));
        // It takes its time, so that many a kill falls between handing a text over and its receipt.
        let mut child = command.arg("127.0.0.1:0").arg(&log).arg("5").stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Gateway { _process: Process(child), address: format!("http://{}/", address.trim()), log }
    }

    /// What arrived, each as often as it did.
    fn taken(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A pipeline in a process of its own, that can be killed and started again.
struct Running {
    process: Process,
    url: String,
    data: PathBuf,
    gateway: String,
    /// What it said on the side, before it was killed too.
    said: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(data: &Path, gateway: &str) -> Running {
        Running::start_beside(data, gateway, Arc::default())
    }

    fn start_beside(data: &Path, gateway: &str, said: Arc<Mutex<Vec<String>>>) -> Running {
        // Whoever writes too long a file is told by an error alone.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_shanyraq")]);
        command.args(["run", "--policy", "kz", "--listen", "127.0.0.1:0", "--allow-assumed", "--smsc", gateway]);
        // Short segments, so that kills fall into their rotation too.
        let configuration = data.with_extension("toml");
        let watch = data.with_extension("in");
        std::fs::write(
            &configuration,
            format!(
                "segment_bytes = 40_000\nsnapshot_seconds = 0\ncompact_after_segments = 3\narchive = {:?}\nwatch = {:?}\n",
                data.join("archive"),
                watch
            ),
        )
        .unwrap();
        command.arg("--config").arg(&configuration).arg("--data").arg(data);
        Running::of(&mut command, data, gateway, said)
    }

    /// By this command.
    fn of(command: &mut Command, data: &Path, gateway: &str, said: Arc<Mutex<Vec<String>>>) -> Running {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let first: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
        let url = first["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{first}");
        let listener = said.clone();
        std::thread::spawn(move || lines.for_each(|line| listener.lock().unwrap().push(line.unwrap_or_default())));
        let running = Running { process: Process(child), url, data: data.to_owned(), gateway: gateway.to_owned(), said };
        running.insist("GET", "/readyz", b"").unwrap();
        running
    }

    /// As a power failure would end it.
    fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    fn start_again(&mut self) {
        *self = Running::start_beside(&self.data, &self.gateway, self.said.clone());
    }

    fn call(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, String), String> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = format!("{}{path}", self.url);
        let answer = match method {
            "GET" => agent.get(&url).call(),
            _ => agent.post(&url).header("content-type", "application/json").send(body),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), text))
    }

    /// Asks until there is an answer that is one: a pipeline that catches up says to come again.
    fn insist(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, String> {
        loop {
            match self.call(method, path, body)? {
                (200, text) => return Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
                (202 | 429 | 503, _) => {}
                (status, text) => panic!("{path}: {status} {text}"),
            }
        }
    }

    fn token(answer: &Value) -> String {
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Tells lines, and waits until the ledger has them and all texts have arrived.
    fn tell(&self, path: &str, body: &[u8]) -> Result<(), String> {
        match self.insist("POST", path, body)?["token"].as_str() {
            Some(token) => self.settle(token),
            None => Ok(()),
        }
    }

    fn settle(&self, token: &str) -> Result<(), String> {
        self.insist("GET", &format!("/v1/completion/{token}?wait=10s"), b"")?;
        let begun = Instant::now();
        while self.insist("GET", "/v1/status", b"")?["texts_under_way"] != 0 {
            assert!(begun.elapsed() < PATIENCE, "a text that was handed over is never answered for");
        }
        Ok(())
    }

    fn decisions(&self) -> BTreeSet<String> {
        self.export("decisions")
    }

    fn export(&self, view: &str) -> BTreeSet<String> {
        let (status, text) = self.call("GET", &format!("/v1/export/{view}"), b"").unwrap();
        assert_eq!(status, 200);
        text.lines().map(str::to_owned).collect()
    }

    /// Everything in order, then the end.
    fn stop(mut self) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status().unwrap().success());
        assert_eq!(self.process.0.wait().unwrap().code(), Some(0));
    }
}

/// What is told, body by body, each to its door.
type Story = Vec<(String, Vec<u8>)>;

/// The population, that people are now written to, and some days; each the way to tell it.
fn story(persons: usize, seed: u64, days: usize) -> Story {
    let country = Country::new(persons, seed, Date::from_ymd(2026, 1, 1).unwrap());
    let updates = |lines| ("/v1/updates".to_owned(), lines);
    let mut story: Story = country.population_blocks(1).map(updates).collect();
    story.push(("/v1/dispatch/live".to_owned(), Vec::new()));
    story.extend(country.days(days).map(|(_, lines)| updates(lines)));
    story
}

/// The same, and on the way another package comes into force, which lies in this folder.
fn story_of_two_packages(persons: usize, seed: u64, days: usize, package: &Path) -> Story {
    let texts = later();
    for (name, text) in &texts {
        let path = package.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let fingerprint = fingerprint(&Package::load(texts.clone()).unwrap().policy);
    let mut story = story(persons, seed, days);
    let propose = ("/v1/policies".to_owned(), json!({ "texts": texts }).to_string().into_bytes());
    let activate = (format!("/v1/policies/{fingerprint}/activate"), json!({ "from": "2026-01-20" }).to_string().into_bytes());
    let at = story.len() - days + 12;
    story.splice(at..at, [propose, activate]);
    story
}

/// The same, and nobody is written to.
fn quiet_story(persons: usize, seed: u64, days: usize) -> Story {
    story(persons, seed, days).into_iter().filter(|(path, _)| path == "/v1/updates").collect()
}

/// Everybody who was asked says yes, once, in the order of their messages.
fn replies(gateway: &Gateway, answered: &mut BTreeSet<String>) -> Vec<Vec<u8>> {
    let taken: BTreeSet<(String, String)> = gateway
        .taken()
        .iter()
        .map(|text| (text["message"].as_str().unwrap().to_owned(), text["phone"].as_str().unwrap().to_owned()))
        .collect();
    let new: Vec<_> = taken.into_iter().filter(|(message, _)| answered.insert(message.clone())).collect();
    new.into_iter().map(|(message, phone)| json!({ "id": message, "phone": phone, "text": "ДА" }).to_string().into_bytes()).collect()
}

/// Tells a story without a hitch: decisions, and the texts that arrived.
fn undisturbed(folder: &Folder, story: &[(String, Vec<u8>)]) -> (BTreeSet<String>, Vec<String>) {
    let gateway = Gateway::start(folder, "undisturbed.log");
    let running = Running::start(&folder.0.join("undisturbed"), &gateway.address);
    let mut answered = BTreeSet::new();
    for (path, body) in story {
        running.tell(path, body).unwrap();
        for reply in replies(&gateway, &mut answered) {
            running.tell("/v1/replies", &reply).unwrap();
        }
    }
    let decisions = running.decisions();
    running.stop();
    (decisions, sorted(&gateway))
}

fn sorted(gateway: &Gateway) -> Vec<String> {
    let mut taken: Vec<String> = gateway.taken().iter().map(Value::to_string).collect();
    taken.sort_unstable();
    taken
}

/// The decisions that `batch` makes of all lines of a story.
fn by_batch(folder: &Folder, story: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let [_, _, decisions] = views_by_batch(folder, "kz", story);
    decisions
}

const VIEWS: [&str; 3] = ["households", "categories", "decisions"];

/// The rows that `batch` makes of all records of a story, under this package.
fn views_by_batch(folder: &Folder, policy: &str, story: &[(String, Vec<u8>)]) -> [BTreeSet<String>; 3] {
    let updates = story.iter().filter(|(path, _)| path == "/v1/updates");
    let lines: Vec<u8> = updates.flat_map(|(_, body)| body.iter().copied()).collect();
    let (feed, out) = (folder.write("story.ndjson", lines), folder.0.join("views"));
    let [feed, views] = [&feed, &out].map(|path| path.display().to_string());
    summary(&shanyraq(["batch", "--policy", policy, "--json", "--views", &VIEWS.join(","), "--feed", &feed, "--out", &views]));
    VIEWS.map(|view| rows(&out, view).iter().map(Value::to_string).collect())
}

/// Killed again and again while a story is told, the pipeline loses nothing that it acknowledged, and nobody is texted twice.
#[test]
fn killed_at_any_moment_it_loses_nothing_and_texts_nobody_twice() {
    kill_again_and_again(200, 5);
}

/// Tells a story while the process is killed so often, at moments that `seed` chooses; panics if anything is lost or anybody texted twice.
pub fn kill_again_and_again(most: usize, seed: u64) {
    let folder = Folder::new(&format!("killed-{seed}"));
    let package = folder.0.join("later");
    let story = story_of_two_packages(2_000, 11, 45, &package);
    let package = package.display().to_string();
    let (decisions, texts) = undisturbed(&folder, &story);
    assert!(texts.len() > 30, "a story in which hardly anybody is written to shows nothing: {texts:?}");
    let batch = views_by_batch(&folder, &package, &story);
    assert_eq!(decisions, batch[2], "live and batch");

    let gateway = Gateway::start(&folder, "killed.log");
    let mut running = Running::start(&folder.0.join("killed"), &gateway.address);
    let (mut chance, mut kills, mut answered) = (Pcg64Mcg::seed_from_u64(seed), 0, BTreeSet::new());
    for (path, body) in &story {
        let mut bodies = vec![(path.clone(), body.clone())];
        while let Some((path, body)) = bodies.pop() {
            while kills < most && chance.next_u32() % 100 < 75 {
                kills += 1;
                let (url, body) = (format!("{}{path}", running.url), body.clone());
                let telling = std::thread::spawn(move || drop(ureq::post(&url).header("content-type", "application/json").send(&body[..])));
                // Half of the kills fall into what follows the acknowledgement.
                if chance.next_u32() % 2 == 0 {
                    telling.join().unwrap();
                    std::thread::sleep(Duration::from_micros(u64::from(chance.next_u32() % 40_000)));
                    running.kill();
                } else {
                    std::thread::sleep(Duration::from_micros(u64::from(chance.next_u32() % 20_000)));
                    running.kill();
                    telling.join().unwrap();
                }
                running.start_again();
            }
            running.tell(&path, &body).unwrap();
            bodies.extend(replies(&gateway, &mut answered).into_iter().rev().map(|reply| ("/v1/replies".to_owned(), reply)));
        }
    }
    assert_eq!(kills, most);
    assert_eq!(running.decisions(), decisions, "what holds");
    let exported = VIEWS.map(|view| running.export(view));
    assert!(exported == batch && !exported[0].is_empty(), "all views are those of batch");
    assert_eq!(std::fs::read_dir(running.data.join("exports")).unwrap().count(), 0, "what was read is gone");
    assert_eq!(sorted(&gateway), texts, "what arrived, each once");
    let data = running.data.display().to_string();
    // People and phones have twelve and eleven digits.
    let names_somebody = |line: &String| line.split(|letter: char| !letter.is_ascii_digit()).any(|digits| digits.len() > 8);
    let said = running.said.lock().unwrap().clone();
    assert!(!said.is_empty() && !said.iter().any(names_somebody), "{said:?}");
    running.stop();
    let verified = summary(&shanyraq(["ledger", "verify", "--data", &data]));
    assert_eq!((&verified["decisions"], &verified["texts"]), (&json!(decisions.len()), &json!(texts.len())));
    let scratch = folder.0.join("drill").display().to_string();
    let drill = summary(&shanyraq(["journal", "restore-drill", "--allow-assumed", "--scratch", &scratch, "--data", &data]));
    let (written, silent) = (&drill["rights"]["written_about"], &drill["rights"]["silent"]);
    assert!(written.as_u64() > Some(20) && silent["baseline"].as_u64() > Some(1000), "{drill}");
    let exported = shanyraq(["journal", "export", "--data", &data]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let journal = [("/v1/updates".to_owned(), exported.stdout)];
    assert_eq!(views_by_batch(&folder, &package, &journal)[2], decisions, "batch on what the journal holds");
    // Who said yes, to what and when, can be proven; and a message that is taken away is missed.
    let ledger = rusqlite::Connection::open(ledger_file(Path::new(&data))).unwrap();
    let yeses = "SELECT count(*) FROM consents WHERE length(reply) = 16 AND policy LIKE 'kz@%' AND date >= '2026-01-01'";
    let yeses: usize = ledger.query_row(yeses, [], |row| row.get(0)).unwrap();
    assert!(yeses > 10, "{yeses}");
    assert!(ledger.execute("DELETE FROM outbox WHERE kind = 'offer'", []).unwrap() > 10);
    let output = shanyraq(["ledger", "verify", "--data", &data]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("there is no message"), "{message}");
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

    let (_, measures) = running.call("GET", "/metrics", b"").unwrap();
    for line in [
        "shanyraq_records_refused_total{feed=\"http\"} 1",
        "shanyraq_quarantine_waiting 1",
        "shanyraq_frontier 4",
        "shanyraq_live 0",
        "shanyraq_offers{stage=\"sent1\"} 0",
    ] {
        assert!(measures.lines().any(|measure| measure == line), "{line} is not in {measures}");
    }
    for measure in ["sync_seconds", "acknowledged_seconds", "epoch_seconds", "in_ledger_seconds"] {
        assert!(measures.contains(&format!("shanyraq_{measure}_bucket")), "{measure} is not in {measures}");
    }
    assert!(!measures.contains("850315300019"), "nobody is named");
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    let bytes = ["resident_bytes", "available_bytes"].map(|name| status[name].as_u64().unwrap());
    assert!(bytes.iter().all(|bytes| (1 << 20..1 << 50).contains(bytes)), "{status}");
    running.stop();
}

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
    let arrived = |name: &str| {
        let begun = Instant::now();
        while !watched.join(name).exists() {
            assert!(begun.elapsed() < PATIENCE, "{name} is not there");
        }
    };
    arrived("done/first.ndjson.zst");
    arrived("failed/second.ndjson");
    // What is written after the files is in the ledger after them.
    let heartbeat = br#"{"register":"heartbeat","key":"enpf.contribution","seq":1,"op":"upsert","data":{"date":"2026-01-01"}}"#;
    running.tell("/v1/updates", heartbeat).unwrap();
    assert_eq!(running.decisions(), by_batch(&folder, &feed));
    running.stop();
}

/// A record that comes again changes nothing, and is counted; so is one of an older version, of one person or of several.
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
        let token = Running::token(&running.insist("POST", "/v1/updates", lines.join("\n").as_bytes()).unwrap());
        let answer = running.insist("GET", &format!("/v1/completion/{token}?wait=10s"), b"").unwrap();
        (answer["duplicates"].as_u64().unwrap(), answer["superseded"].as_u64().unwrap())
    };
    assert_eq!(told([wage(2), act(2)]), (0, 0));
    assert_eq!(told([wage(2), act(2)]), (2, 0));
    assert_eq!(told([wage(1), act(1)]), (0, 2));
    assert_eq!(told([wage(3), act(2)]), (1, 0));
    running.stop();
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

/// While calls of the system to this process fail: those that `what` names.
struct Failing(Process);

impl Failing {
    fn begin(running: &Running, what: &[&str]) -> Failing {
        let pid = running.process.0.id().to_string();
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid]).args(what).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("attached")), "strace does not attach");
        // Whoever writes to nobody is ended.
        std::thread::spawn(move || lines.for_each(drop));
        Failing(process)
    }

    fn end(mut self) {
        let pid = self.0.0.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -INT \"$1\"", "sh", &pid]).status().unwrap().success());
        self.0.0.wait().unwrap();
    }
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
        let failing = Failing::begin(&running, if index == 0 { &write } else { &sync });
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
    let token = Running::token(&running.insist("POST", path, body).unwrap());
    let begun = Instant::now();
    while running.call("GET", "/readyz", b"").unwrap().0 != 503 {
        assert!(begun.elapsed() < PATIENCE, "nobody is told");
    }
    let (status, text) = running.call("POST", path, body).unwrap();
    assert!(status == 503 && text.contains("database is locked"), "{status} {text}");
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
    free.stop();
    let texts = sorted(&gateway);
    assert!(texts.len() > 10, "{texts:?}");

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
        let token = Running::token(&running.insist("POST", path, body).unwrap());
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

/// Where tokens are configured, each opens its own door and nobody comes in without one.
#[test]
fn a_token_opens_its_own_door() {
    let folder = Folder::new("tokens");
    let configuration = folder.write(
        "tokens.toml",
        // Of the words "feed", "reader" and "operator", by sha256sum.
        format!("data = {:?}\ntokens = {{ feeds = {{ zags = \"{FEED}\" }}, readers = {{ board = \"{READER}\" }}, operators = {{ duty = \"{OPERATOR}\" }} }}\n", folder.0.join("data")),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["run", "--listen", "127.0.0.1:0", "--config"]).arg(&configuration).stderr(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let url = first["url"].as_str().unwrap().to_owned();
    assert!(lines.any(|line| line.unwrap().contains("\"ready\"")));

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
    let statuses = |method: &str, path: &str| ["feed", "reader", "operator", "nobody"].map(|token| status(method, path, token));
    assert_eq!(statuses("POST", "/v1/updates"), [200, 403, 403, 403]);
    assert_eq!(statuses("GET", "/v1/completion/1?wait=10s"), [200, 200, 200, 403]);
    assert_eq!(statuses("GET", "/v1/changes"), [403, 200, 200, 403]);
    assert_eq!(statuses("GET", "/v1/export/categories"), [403, 200, 200, 403]);
    assert_eq!(statuses("POST", "/v1/dispatch/live"), [403, 403, 200, 403]);
    assert_eq!((status("GET", "/v1/changes", ""), status("GET", "/readyz", "")), (401, 200));
    let mut measures = agent.get(format!("{url}/metrics")).header("authorization", "Bearer reader").call().unwrap();
    let measures = measures.body_mut().read_to_string().unwrap();
    assert!(measures.contains("shanyraq_records_refused_total{feed=\"zags\"} 1"), "{measures}");
}

const FEED: &str = "c8bc2586cdd87cd6f970fc4262c4bbc49165811788825fbc1ba3366bfde45413";
const READER: &str = "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30";
const OPERATOR: &str = "06e55b633481f7bb072957eabcf110c972e86691c3cfedabe088024bffe42f23";

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

/// A feed that was broken off goes on where it was.
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
    let feed = || {
        let sent = summary(&shanyraq(["feed", &file, "--json", "--resume", &remembered, "--to", &running.url]));
        if !Running::token(&sent).is_empty() {
            running.settle(&Running::token(&sent)).unwrap();
        }
        sent["accepted"].as_u64().unwrap()
    };
    let first = feed();
    assert!(first > 1_000 && feed() == 0, "what was acknowledged is not sent again");
    folder.write("feed.ndjson", &lines);
    // The last block was not full, and goes once more with what has come since.
    let second = feed();
    assert!(second >= whole - first && second < whole, "{first} and {second} of {whole}");
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}
