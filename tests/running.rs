use crate::folder::Folder;
use crate::packages::{later, write};
use crate::program::{rows, shanyraq, summary};
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
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process of a test, killed with it.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The pretend gateway, and the log of what it took.
pub struct Gateway {
    _process: Process,
    pub address: String,
    pub log: PathBuf,
}

impl Gateway {
    pub fn start(folder: &Folder, name: &str) -> Gateway {
        let log = folder.0.join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pretend-gateway"));
        // It takes its time, so that many a kill falls between handing a text over and its receipt.
        let mut child = command.arg("127.0.0.1:0").arg(&log).arg("5").stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Gateway { _process: Process(child), address: format!("http://{}/", address.trim()), log }
    }

    /// What arrived, each as often as it did.
    pub fn taken(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        // The last line may be half written.
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A mapping for tables of wages.
pub const WAGES: &str = r#"[wages]
file = "*.csv"
rows = [{ register = "enpf.contribution", person = "{iin}", key = "{month}-E-1", seq = 1, data = { period = "{month}", employer = "E-1", amount = "{tenge}" } }]
"#;

/// A mapping of another package's.
const NOTHING: &str = "[none]\nfile = \"none.csv\"\nrows = []\n";

/// A pipeline in a process of its own, that can be killed and started again.
pub struct Running {
    pub process: Process,
    pub url: String,
    pub data: PathBuf,
    pub gateway: String,
    /// What it said on the side, before it was killed too.
    pub said: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub fn start(data: &Path, gateway: &str) -> Running {
        Running::start_beside(data, gateway, Arc::default())
    }

    pub fn start_beside(data: &Path, gateway: &str, said: Arc<Mutex<Vec<String>>>) -> Running {
        Running::under("kz", data, gateway, said)
    }

    /// Under this package.
    pub fn under(package: &str, data: &Path, gateway: &str, said: Arc<Mutex<Vec<String>>>) -> Running {
        // Whoever writes too long a file is told by an error alone.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_shanyraq")]);
        command.args([
            "run",
            "--policy",
            package,
            "--listen",
            "127.0.0.1:0",
            "--allow-assumed",
            "--quiet-hours",
            "none",
            "--smsc",
            gateway,
        ]);
        // Short segments, so that kills fall into their rotation too.
        let configuration = data.with_extension("toml");
        let watch = data.with_extension("in");
        let map = data.with_extension("map.toml");
        // The package of the survey knows no wages.
        std::fs::write(&map, if package == "kz" { WAGES } else { NOTHING }).unwrap();
        std::fs::write(
            &configuration,
            format!(
                "segment_bytes = 40_000\nsnapshot_seconds = 0\ncompact_after_segments = 3\nbrake = {{ percent = 0, at_least = 1, days = 1 }}\narchive = {:?}\nwatch = {:?}\nmaps = [{:?}]\n",
                data.join("archive"),
                watch,
                map
            ),
        )
        .unwrap();
        command.arg("--config").arg(&configuration).arg("--data").arg(data);
        Running::of(&mut command, data, gateway, said)
    }

    /// By this command.
    pub fn of(command: &mut Command, data: &Path, gateway: &str, said: Arc<Mutex<Vec<String>>>) -> Running {
        let running = Running::begun(command, data, gateway, said);
        running.insist("GET", "/readyz", b"").unwrap();
        running
    }

    /// The same, of which nothing is there yet but its doors.
    pub fn begun(command: &mut Command, data: &Path, gateway: &str, said: Arc<Mutex<Vec<String>>>) -> Running {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let first: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
        let url = first["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{first}");
        let listener = said.clone();
        std::thread::spawn(move || lines.for_each(|line| listener.lock().unwrap().push(line.unwrap_or_default())));
        Running { process: Process(child), url, data: data.to_owned(), gateway: gateway.to_owned(), said }
    }

    /// As a power failure would end it.
    pub fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        *self = Running::start_beside(&self.data, &self.gateway, self.said.clone());
    }

    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, String), String> {
        call(&self.url, method, path, body)
    }

    /// Asks until there is an answer that is one: a pipeline that catches up says to come again. Panics if that never ends.
    pub fn insist(&self, method: &str, path: &str, body: &[u8]) -> Result<Value, String> {
        let begun = Instant::now();
        loop {
            match self.call(method, path, body)? {
                (200, text) => return Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
                (202 | 429 | 503, _) if begun.elapsed() < 2 * PATIENCE => {}
                (status, text) => panic!("{path}: {status} {text}"),
            }
        }
    }

    /// Tells lines, and waits until the ledger has them and all texts have arrived.
    pub fn tell(&self, path: &str, body: &[u8]) -> Result<(), String> {
        self.settle_all(&self.insist("POST", path, body)?)
    }

    /// Waits for all that follows from what was acknowledged by this answer.
    pub fn settle_all(&self, acknowledgement: &Value) -> Result<(), String> {
        acknowledgement["token"].as_str().map_or(Ok(()), |token| self.settle(token))
    }

    pub fn settle(&self, token: &str) -> Result<(), String> {
        self.insist("GET", &format!("/v1/completion/{token}?wait=10s"), b"")?;
        let begun = Instant::now();
        while self.insist("GET", "/v1/status", b"")?["texts_under_way"] != 0 {
            assert!(begun.elapsed() < PATIENCE, "a text that was handed over is never answered for");
        }
        Ok(())
    }

    pub fn decisions(&self) -> BTreeSet<String> {
        self.export("decisions")
    }

    pub fn export(&self, view: &str) -> BTreeSet<String> {
        let (status, text) = self.call("GET", &format!("/v1/export/{view}"), b"").unwrap();
        assert_eq!(status, 200);
        text.lines().map(str::to_owned).collect()
    }

    /// Asks it to end in order.
    pub fn terminate(&self) {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status().unwrap().success());
    }

    /// Everything in order, then the end; whatever was done with it, its log names nobody (segments and limits of the system have ten digits).
    pub fn stop(mut self) {
        self.terminate();
        assert_eq!(self.process.0.wait().unwrap().code(), Some(0));
        assert_eq!(self.said.lock().unwrap().iter().find(|line| has_number(line, 10)), None);
    }
}

/// Whether a line of a log has a number of more digits: people have twelve, phones eleven, or ten as they are said at home. Names of messages and packages are
/// hashes.
fn has_number(line: &str, digits_max: usize) -> bool {
    let words = line.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| word.len() != 32);
    words.flat_map(|word| word.split(|letter: char| !letter.is_ascii_digit())).any(|digits| digits.len() > digits_max)
}

pub fn call(url: &str, method: &str, path: &str, body: &[u8]) -> Result<(u16, String), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{url}{path}");
    let answer = match method {
        "GET" => agent.get(&url).call(),
        _ => agent.post(&url).header("content-type", "application/json").send(body),
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().map_err(|error| error.to_string())?;
    Ok((answer.status().as_u16(), text))
}

/// What is told, body by body, each to its door.
pub type Story = Vec<(String, Vec<u8>)>;

/// The population, that people are now written to, and some days; each the way to tell it.
pub fn story(persons: usize, seed: u64, days: usize) -> Story {
    let country = Country::new(persons, seed, Date::from_ymd(2026, 1, 1).unwrap());
    let updates = |lines| ("/v1/updates".to_owned(), lines);
    let mut story: Story = country.population_blocks(1).map(updates).collect();
    story.push(("/v1/dispatch/live".to_owned(), Vec::new()));
    story.extend(country.days(days).map(|(_, lines)| updates(lines)));
    story
}

/// The same, and on the way another package comes into force, which lies in this folder.
pub fn story_of_two_packages(persons: usize, seed: u64, days: usize, package: &Path) -> Story {
    let texts = later();
    write(&texts, package);
    let fingerprint = fingerprint(&Package::load(texts.clone()).unwrap().policy);
    let mut story = story(persons, seed, days);
    let propose = ("/v1/policies".to_owned(), json!({ "texts": texts }).to_string().into_bytes());
    let activate = (format!("/v1/policies/{fingerprint}/activate"), json!({ "from": "2026-01-20" }).to_string().into_bytes());
    let at = story.len() - days + 12;
    story.splice(at..at, [propose, activate]);
    story
}

/// Everybody who was asked says yes, once, in the order of their messages.
pub fn replies(gateway: &Gateway, answered: &mut BTreeSet<String>) -> Vec<Vec<u8>> {
    let taken: BTreeSet<(String, String)> = gateway
        .taken()
        .iter()
        .map(|text| (text["message"].as_str().unwrap().to_owned(), text["phone"].as_str().unwrap().to_owned()))
        .collect();
    let new: Vec<_> = taken.into_iter().filter(|(message, _)| answered.insert(message.clone())).collect();
    new.into_iter().map(|(message, phone)| json!({ "id": message, "phone": phone, "text": "ДА" }).to_string().into_bytes()).collect()
}

/// Tells a story without a hitch: decisions, and the texts that arrived.
pub fn undisturbed(folder: &Folder, story: &[(String, Vec<u8>)]) -> (BTreeSet<String>, Vec<String>) {
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

pub fn sorted(gateway: &Gateway) -> Vec<String> {
    let mut taken: Vec<String> = gateway.taken().iter().map(Value::to_string).collect();
    taken.sort_unstable();
    taken
}

pub const VIEWS: [&str; 3] = ["households", "categories", "decisions"];

/// The rows that `batch` makes of all records of a story, under this package.
pub fn views_by_batch(folder: &Folder, policy: &str, story: &[(String, Vec<u8>)]) -> [BTreeSet<String>; 3] {
    let updates = story.iter().filter(|(path, _)| path == "/v1/updates");
    let lines: Vec<u8> = updates.flat_map(|(_, body)| body.iter().copied()).collect();
    let (feed, out) = (folder.write("story.ndjson", lines), folder.0.join("views"));
    let [feed, views] = [&feed, &out].map(|path| path.display().to_string());
    summary(&shanyraq(["batch", "--policy", policy, "--json", "--views", &VIEWS.join(","), "--feed", &feed, "--out", &views]));
    VIEWS.map(|view| rows(&out, view).iter().map(Value::to_string).collect())
}

/// Tells a story while the process is killed so often, at moments that `seed` chooses; panics if anything is lost or anybody texted twice.
pub fn kill_again_and_again(most: usize, seed: u64) {
    let (mut chance, mut kills, mut kills_of_acknowledged) = (Pcg64Mcg::seed_from_u64(seed), 0, 0);
    tell_disturbed(&format!("killed-{seed}"), |running, path, body| {
        let mut acknowledged = None;
        while kills < most && chance.next_u32() % 100 < 75 {
            kills += 1;
            let (url, path, body) = (running.url.clone(), path.to_owned(), body.to_vec());
            let is_known = acknowledged.is_some();
            let telling = std::thread::spawn(move || match is_known {
                true => None,
                false => call(&url, "POST", &path, &body).ok().filter(|(status, _)| *status == 200).map(|(_, text)| text),
            });
            // Half of the kills fall into what follows the acknowledgement.
            let answer = if chance.next_u32() % 2 == 0 {
                let answer = telling.join().unwrap();
                std::thread::sleep(Duration::from_micros(u64::from(chance.next_u32() % 40_000)));
                running.kill();
                answer
            } else {
                std::thread::sleep(Duration::from_micros(u64::from(chance.next_u32() % 20_000)));
                running.kill();
                telling.join().unwrap()
            };
            acknowledged = acknowledged.or_else(|| answer.map(|text| serde_json::from_str(&text).unwrap()));
            kills_of_acknowledged += usize::from(acknowledged.is_some());
            running.start_again();
        }
        acknowledged
    });
    assert_eq!(kills, most);
    assert!(kills_of_acknowledged > most / 4, "{kills_of_acknowledged} of {kills} after something was acknowledged");
}

fn surnames(story: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let lines = story.iter().filter(|(path, _)| path == "/v1/updates").flat_map(|(_, body)| body.split(|byte| *byte == b'\n'));
    let records = lines.filter(|line| !line.is_empty()).map(|line| serde_json::from_slice::<Value>(line).unwrap());
    records.filter_map(|record| record["data"]["surname"].as_str().map(str::to_owned)).collect()
}

/// Tells a story, each body after a disturbance of the pipeline; panics if anything is lost or anybody texted twice. The disturbance may tell the body:
/// if it says by which answer that was acknowledged, nobody tells it again.
pub fn tell_disturbed(name: &str, mut disturb: impl FnMut(&mut Running, &str, &[u8]) -> Option<Value>) {
    let folder = Folder::new(name);
    let package = folder.0.join("later");
    let story = story_of_two_packages(2_000, 11, 45, &package);
    let package = package.display().to_string();
    let (decisions, texts) = undisturbed(&folder, &story);
    assert!(texts.len() > 30, "a story in which hardly anybody is written to shows nothing: {texts:?}");
    let batch = views_by_batch(&folder, &package, &story);
    assert_eq!(decisions, batch[2], "live and batch");

    let gateway = Gateway::start(&folder, "killed.log");
    let mut running = Running::start(&folder.0.join("killed"), &gateway.address);
    let mut answered = BTreeSet::new();
    for (path, body) in &story {
        let mut bodies = vec![(path.clone(), body.clone())];
        while let Some((path, body)) = bodies.pop() {
            match disturb(&mut running, &path, &body) {
                Some(acknowledgement) => running.settle_all(&acknowledgement).unwrap(),
                None => running.tell(&path, &body).unwrap(),
            }
            bodies.extend(replies(&gateway, &mut answered).into_iter().rev().map(|reply| ("/v1/replies".to_owned(), reply)));
        }
    }
    assert_eq!(running.decisions(), decisions, "what holds");
    let exported = VIEWS.map(|view| running.export(view));
    assert!(exported == batch && !exported[0].is_empty(), "all views are those of batch");
    assert_eq!(sorted(&gateway), texts, "what arrived, each once");
    let data = running.data.display().to_string();
    let surnames = surnames(&story);
    let said = running.said.lock().unwrap().clone();
    assert!(!said.is_empty() && surnames.len() > 10, "{surnames:?}");
    let telling = said.iter().find(|line| has_number(line, 8) || surnames.iter().any(|surname| line.contains(surname)));
    assert_eq!(telling, None, "no log says who anybody is");
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
    // Who said yes, to which of the texts that they answered and when, can be proven; and a message that is taken away is missed.
    let ledger = rusqlite::Connection::open(ledger_file(Path::new(&data))).unwrap();
    let count = |table: &str| ledger.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, usize>(0)).unwrap();
    ledger.execute_batch("CREATE TEMP TABLE answered(message TEXT PRIMARY KEY)").unwrap();
    for message in &answered {
        ledger.execute("INSERT INTO answered VALUES (?)", [message]).unwrap();
    }
    let proven = "consents WHERE length(reply) = 16 AND date >= '2026-01-01' AND unixepoch(time) BETWEEN unixepoch() - 3600 AND unixepoch() AND policy =
        (SELECT policy FROM outbox JOIN answered USING (message) WHERE outbox.person = consents.person AND outbox.benefit = consents.benefit
        AND outbox.ground = consents.ground AND outbox.period = consents.period AND outbox.round = consents.round AND kind IN ('offer', 'repeat')
        ORDER BY epoch LIMIT 1)";
    let yeses = count(proven);
    assert!(yeses > 10 && yeses == count("consents"), "{yeses} of {}", count("consents"));
    assert!(ledger.execute("DELETE FROM outbox WHERE kind = 'offer'", []).unwrap() > 10);
    let output = shanyraq(["ledger", "verify", "--data", &data]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("there is no message"), "{message}");
    assert!(ledger.execute("UPDATE decisions SET silent = NULL WHERE silent = 'baseline'", []).unwrap() > 1000);
    ledger.execute_batch("DELETE FROM outbox; DELETE FROM offers; DELETE FROM consents; DELETE FROM cases").unwrap();
    let output = shanyraq(["ledger", "verify", "--data", &data]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("nothing says why"), "{message}");
    ledger.execute_batch("UPDATE decisions SET silent = 'baseline'; DELETE FROM households WHERE members LIKE '%head%spouse%'").unwrap();
    let output = shanyraq(["ledger", "verify", "--data", &data]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && message.contains("a household that is not there"), "{message}");
}
