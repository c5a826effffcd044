use crate::faulty::{Centre, outbox, shown, talkative_story};
use crate::folder::Folder;
use crate::pipeline::{measure, token};
use crate::program::{shanyraq, summary};
use crate::running::*;
use rusqlite::Connection;
use serde_json::{Value, json};
use shanyraq::pipeline::ledger_file;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// A pipeline with a configuration of its own, and this network.
pub fn configured(folder: &Folder, name: &str, smsc: &str, words: &str) -> Running {
    Running::of(&mut command(folder, name, smsc, words), &folder.0.join(name), smsc, Arc::default())
}

/// The command that starts it.
pub fn command(folder: &Folder, name: &str, smsc: &str, words: &str) -> Command {
    let configuration = folder.write(&format!("{name}.toml"), format!("quiet_hours = \"none\"\nallow_assumed = true\n{words}\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command.args(["run", "--policy", "kz", "--listen", "127.0.0.1:0", "--smsc", smsc, "--config"]);
    command.arg(&configuration).arg("--data").arg(folder.0.join(name));
    command
}

/// Where much of a benefit changes within days nobody is written to about it before somebody has looked, over a restart too; then they are.
#[test]
fn a_mass_change_waits_until_somebody_has_looked() {
    let folder = Folder::new("braked");
    let gateway = Gateway::start(&folder, "braked.log");
    let brake = "brake = { percent = 20, at_least = 30, days = 7 }";
    let running = configured(&folder, "data", &gateway.address, brake);
    running.tell("/v1/dispatch/live", b"").unwrap();
    // Everybody's rights are new at once.
    let mut last = Value::Null;
    for (path, body) in story(600, 5, 1).iter().filter(|(path, _)| path == "/v1/updates") {
        last = running.insist("POST", path, body).unwrap();
    }
    running.insist("GET", &format!("/v1/completion/{}?wait=10s", token(&last)), b"").unwrap();
    let paused = |running: &Running| {
        let status = running.insist("GET", "/v1/status", b"").unwrap();
        let paused = status["paused"].as_array().unwrap().iter().filter_map(|what| what["benefit"].as_str());
        (paused.map(str::to_owned).collect::<BTreeSet<String>>(), status["texts_under_way"].as_u64().unwrap())
    };
    let begun = Instant::now();
    while paused(&running).0.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nothing is paused");
    }
    running.stop();
    let running = configured(&folder, "data", &gateway.address, brake);
    let (benefits, under_way) = paused(&running);
    assert!(under_way > 30, "texts wait: {under_way} about {benefits:?}");
    let about = |benefits: &BTreeSet<String>| {
        let sql = rusqlite::Connection::open(running.data.join("ledger.db")).unwrap();
        let mut query = sql.prepare("SELECT benefit, status FROM outbox").unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let rows: Vec<(String, String)> = rows.map(Result::unwrap).collect();
        rows.into_iter().filter(|(benefit, _)| benefits.contains(benefit)).map(|(_, status)| status).collect::<Vec<_>>()
    };
    assert!(about(&benefits).iter().all(|status| status == "waiting"), "nobody was written to about any of them");
    for benefit in &benefits {
        assert!(shanyraq(["resume", "--benefit", benefit, "--to", &running.url]).status.success());
    }
    let begun = Instant::now();
    while paused(&running).1 > 0 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", paused(&running));
    }
    assert!(about(&benefits).iter().all(|status| status == "delivered" || status == "suppressed"), "{:?}", about(&benefits));
    running.stop();
}

/// In a trial only numbers on the list are written to, and in quiet hours nobody is: texts wait.
#[test]
fn a_trial_and_quiet_hours_hold_texts_back() {
    let folder = Folder::new("trial");
    let gateway = Gateway::start(&folder, "all.log");
    let tell = |running: &Running| {
        running.tell("/v1/dispatch/live", b"").unwrap();
        for (path, body) in story(300, 5, 1).iter().filter(|(path, _)| path == "/v1/updates") {
            let answer = running.insist("POST", path, body).unwrap();
            running.insist("GET", &format!("/v1/completion/{}?wait=10s", token(&answer)), b"").unwrap();
        }
    };
    let all = configured(&folder, "all", &gateway.address, "");
    tell(&all);
    let begun = Instant::now();
    while all.insist("GET", "/v1/status", b"").unwrap()["texts_under_way"] != 0 {
        assert!(begun.elapsed() < PATIENCE);
    }
    all.stop();
    let texts = gateway.taken();
    let phone = texts[texts.len() / 2]["phone"].as_str().unwrap().to_owned();
    let expected: Vec<String> = texts.iter().filter(|text| text["phone"] == phone.as_str()).map(Value::to_string).collect();
    assert!(texts.len() > 20 && expected.len() < texts.len());

    let trial = Gateway::start(&folder, "trial.log");
    let running = configured(&folder, "trial", &trial.address, &format!("trial = [{phone}]"));
    tell(&running);
    let begun = Instant::now();
    while trial.taken().len() < expected.len() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", trial.taken());
    }
    running.stop();
    assert_eq!(trial.taken().iter().map(Value::to_string).collect::<Vec<_>>(), expected);

    // Whatever the time is where people live, these are quiet hours: all but a minute that is half a day away.
    let seconds = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let away = (seconds + 5 * 3600 + 12 * 3600) % 86_400 / 60;
    let hours = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let quiet = Gateway::start(&folder, "quiet.log");
    let configuration = format!("quiet_hours = \"{}-{}\"\nallow_assumed = true\n", hours((away + 1) % 1440), hours(away));
    let configuration = folder.write("quiet.toml", configuration);
    let data = folder.0.join("quiet");
    let mut command = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    command
        .args(["run", "--policy", "kz", "--listen", "127.0.0.1:0", "--smsc", &quiet.address, "--config"])
        .arg(&configuration)
        .arg("--data")
        .arg(&data);
    let running = Running::of(&mut command, &data, &quiet.address, Arc::default());
    tell(&running);
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    running.stop();
    assert_eq!((status["texts_under_way"].as_u64(), quiet.taken().len()), (Some(texts.len() as u64), 0));
}

/// Where there is only a pretend network each text arrives, and stops nowhere.
#[test]
fn a_pretend_network_takes_everything() {
    let folder = Folder::new("pretend");
    let running = Running::start(&folder.0.join("data"), "pretend");
    for (path, body) in &story(500, 5, 8) {
        running.tell(path, body).unwrap();
    }
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    assert!(status["texts"].as_u64() > Some(2) && status["texts_under_way"] == 0, "{status}");
    running.stop();
}

/// What a query of the ledger's file gives, as texts.
fn asked(data: &Path, query: &str) -> Vec<Vec<String>> {
    let sql = Connection::open(ledger_file(data)).unwrap();
    let mut query = sql.prepare(query).unwrap();
    let columns = query.column_count();
    let text = |row: &rusqlite::Row<'_>, column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| text(row, column)).collect();
    query.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// What was there before anybody was written to is offered in waves: so many, of one benefit, of one region; and no more, told again or not.
#[test]
fn the_baseline_is_released_in_waves() {
    let folder = Folder::new("waves");
    let gateway = Gateway::start(&folder, "waves.log");
    let mut running = Running::start(&folder.0.join("data"), &gateway.address);
    let refused = shanyraq(["dispatch", "release", "--benefit", "rep_birth", "--to", &running.url]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nobody is written to yet"), "{refused:?}");
    let story = story(2_000, 3, 6);
    let live = story.iter().position(|(path, _)| path == "/v1/dispatch/live").unwrap();
    story[..=live].iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let data = running.data.clone();
    let baseline = "SELECT benefit, cast(count(*) AS TEXT) FROM decisions WHERE silent = 'baseline' AND outcome = 'eligible' GROUP BY benefit ORDER BY count(*) DESC";
    let held = asked(&data, baseline);
    let unknown = shanyraq(["dispatch", "release", "--benefit", "no_such", "--to", &running.url]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("benefit: there is no `no_such`"), "{unknown:?}");

    // The largest benefits, ten of each.
    let mut released = 0;
    for benefit in held.iter().take(8).map(|row| &row[0]) {
        let wave = summary(&shanyraq(["dispatch", "release", "--benefit", benefit, "--limit", "10", "--to", &running.url]));
        assert_eq!(wave["released"], 10, "{benefit}");
        released += 10;
    }
    let offers = || asked(&data, "SELECT person, benefit, region FROM offers WHERE epoch > 0 ORDER BY 1, 2");
    assert_eq!(offers().len(), released, "each is a conversation, and nothing else is");
    let silent = asked(&data, "SELECT person FROM decisions WHERE silent IS NULL");
    assert_eq!(silent.len(), released);

    // One more benefit, where one region's people live.
    let (benefit, region) = (&held[8][0], &offers()[0][2]);
    assert!(!region.is_empty());
    let wave = summary(&shanyraq(["dispatch", "release", "--benefit", benefit, "--region", region, "--to", &running.url]));
    let of_region = offers().into_iter().filter(|row| &row[1] == benefit).collect::<Vec<_>>();
    assert!(wave["released"].as_u64() == Some(of_region.len() as u64) && of_region.iter().all(|row| &row[2] == region), "{of_region:?}");
    assert!(of_region.len() > 3 && of_region.len() < held[8][1].parse().unwrap(), "{of_region:?} of {:?}", held[8]);

    // Within days they are written to, one a person a day; whoever was not released is not.
    story[live + 1..].iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let texts = || asked(&data, "SELECT message, person, benefit FROM outbox WHERE kind IN ('offer', 'notice') ORDER BY 1");
    let of_waves = |texts: &[Vec<String>]| texts.iter().filter(|row| offers().iter().any(|offer| offer[..2] == row[1..])).count();
    assert!(of_waves(&texts()) > 10 && of_waves(&texts()) == texts().len(), "{:?}", texts());
    let (before, offered) = (texts(), offers());
    running.kill();
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    running.start_again();
    assert_eq!((texts(), offers()), (before, offered), "told again");
    running.stop();
    summary(&shanyraq(["ledger", "verify", "--data", &data.display().to_string()]));
}

/// Whoever writes that they want no texts gets no offers until they write otherwise; a number that is blocked gets nothing, and those whose it is are on
/// the social worker's list.
#[test]
fn who_wants_no_texts_gets_none() {
    let folder = Folder::new("silenced");
    let gateway = Gateway::start(&folder, "silenced.log");
    let running = Running::start(&folder.0.join("data"), &gateway.address);
    let story = talkative_story(400, 8);
    let (first, rest) = story.split_at(story.len() - 8);
    first.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let data = running.data.clone();
    // Two numbers to which more is to come: several rights wait for their days.
    let more = "SELECT outbox.phone FROM outbox JOIN offers AS waiting ON waiting.silent = 'limit' AND waiting.person IN
        (SELECT person FROM outbox AS other WHERE other.phone = outbox.phone) GROUP BY outbox.phone ORDER BY count(*) DESC";
    let phones: Vec<String> = asked(&data, more).into_iter().map(|row| row[0].clone()).collect();
    let [quiet, blocked] = &phones[..2] else { panic!("{phones:?}") };
    let stop = json!({ "id": "1", "phone": quiet, "text": "СТОП" }).to_string();
    running.tell("/v1/replies", stop.as_bytes()).unwrap();
    assert!(shanyraq(["dispatch", "block", blocked, "--to", &running.url]).status.success());
    let to = |phone: &String| gateway.taken().iter().filter(|text| text["phone"] == phone.as_str()).count();
    let before = [to(quiet), to(blocked)];
    rest[..4].iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    assert_eq!([to(quiet), to(blocked)], before, "nothing more");
    assert!(asked(&data, "SELECT silent FROM offers WHERE silent = 'opted_out'").len() > 1);
    let unreached = shanyraq(["dispatch", "unreached", "--data", &data.display().to_string()]);
    assert!(String::from_utf8_lossy(&unreached.stdout).contains("no_phone"));

    running.tell("/v1/replies", json!({ "id": "2", "phone": quiet, "text": "Старт" }).to_string().as_bytes()).unwrap();
    assert!(shanyraq(["dispatch", "unblock", blocked, "--to", &running.url]).status.success());
    rest[4..].iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    assert!(to(quiet) > before[0] && to(blocked) > before[1], "{before:?}");
    // The log of all this has neither contents nor numbers in clear.
    let log = shanyraq(["dispatch", "log", "--data", &data.display().to_string()]);
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(log.lines().count() == asked(&data, "SELECT message FROM outbox").len() && log.contains("*****") && log.contains("\"parts\":"));
    assert!(!log.contains(quiet.as_str()) && !log.contains("1414:"), "{log}");
    running.stop();
    summary(&shanyraq(["ledger", "verify", "--data", &data.display().to_string()]));
}

/// Of a benefit of which it is better to be told twice than not at all no text stays uncertain, of others it does and none is shown twice.
#[test]
fn some_benefits_are_told_at_least_once() {
    let folder = Folder::new("twice");
    let centre = Centre::start(&folder, &["drop=20"]);
    let benefits = asked_benefits();
    let words = format!("at_least_once = {:?}\nbrake = {{ percent = 0, at_least = 1, days = 1 }}", &benefits[..1]);
    let running = configured(&folder, "data", &centre.link("window=20&rate=1000&response_seconds=1"), &words);
    for (path, body) in &talkative_story(500, 3) {
        running.tell(path, body).unwrap();
    }
    running.stop();
    let data = folder.0.join("data");
    let uncertain: BTreeSet<String> =
        asked(&data, "SELECT benefit FROM outbox WHERE status = 'uncertain'").into_iter().map(|row| row[0].clone()).collect();
    assert!(!uncertain.contains(&benefits[0]) && !uncertain.is_empty(), "{uncertain:?}");
    let mut shown = centre.shown();
    shown.sort();
    let twice: BTreeSet<(u64, u16)> = shown.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| (pair[0].0, pair[0].1)).collect();
    let of_benefit = format!("SELECT message, phone FROM outbox WHERE benefit = '{}'", benefits[0]);
    let may: BTreeSet<(u64, u16)> = asked(&data, &of_benefit)
        .into_iter()
        .map(|row| (row[1].parse().unwrap(), shanyraq::ledger::reference_of(u128::from_str_radix(&row[0], 16).unwrap())))
        .collect();
    assert!(!twice.is_empty() && twice.is_subset(&may), "{twice:?}");
    let wrong = folder.write("wrong.toml", "at_least_once = [\"rep_brith\"]");
    let output = shanyraq(["run", "--check", "--policy", "kz", "--config", &wrong.display().to_string()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no benefit `rep_brith`"), "{output:?}");
}

/// The benefits about which most texts of the story are, the first one first.
fn asked_benefits() -> Vec<String> {
    let folder = Folder::new("counted");
    let running = Running::start(&folder.0.join("data"), "pretend");
    for (path, body) in &talkative_story(500, 3) {
        running.tell(path, body).unwrap();
    }
    running.stop();
    let counted = asked(&folder.0.join("data"), "SELECT benefit FROM outbox GROUP BY benefit ORDER BY count(*) DESC");
    counted.into_iter().map(|row| row[0].clone()).collect()
}

/// Texts that no route has taken when the process ends are not handed over, which is known: the next start hands them over, each once.
#[test]
fn what_nobody_took_leaves_after_the_next_start() {
    let folder = Folder::new("untaken");
    let data = folder.0.join("data");
    let story = talkative_story(100, 2);
    let running = Running::start(&data, "smpp://card:secret@127.0.0.1:9?window=10");
    story.iter().for_each(|(path, body)| drop(running.insist("POST", path, body).unwrap()));
    let begun = Instant::now();
    while measure(&running, "shanyraq_texts_under_way{state=\"Submitted\"}") != Some(10.0) {
        assert!(begun.elapsed() < PATIENCE, "nothing is on its way");
    }
    running.stop();
    let known = |status: &str| outbox(&data).iter().filter(|(.., known)| known == status).count();
    assert!(known("waiting") > 10 && known("submitted") + known("uncertain") == 0, "{:?}", outbox(&data));

    let centre = Centre::start(&folder, &[]);
    let running = Running::start(&data, &centre.link("window=10&rate=1000"));
    running.settle("0").unwrap();
    running.stop();
    assert!(known("delivered") + known("taken") > 10 && known("uncertain") + known("waiting") == 0, "{:?}", outbox(&data));
    let shown = centre.shown();
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len(), "nothing is shown twice");
}

/// Where one of two centres ends the other one takes what comes; what was on its way to the first is known or uncertain, and shown once.
#[test]
fn when_one_centre_ends_another_takes_over() {
    let folder = Folder::new("failover");
    let folders = ["first", "second"].map(|name| Folder::new(&format!("failover-{name}")));
    let mut centres: Vec<Centre> = folders.iter().map(|folder| Centre::start(folder, &[])).collect();
    let link = |centre: &Centre| {
        format!("[[links]]\naddress = \"{}\"\nsystem_id = \"card\"\npassword = \"secret\"\nwindow = 5\nrate = 200\n", centre.address)
    };
    let links: String = centres.iter().map(link).collect();
    let running = configured(&folder, "data", "none", &format!("brake = {{ percent = 0, at_least = 1, days = 1 }}\n{links}"));
    let story = talkative_story(800, 3);
    let (begun_with, rest) = story.split_at(story.len() - 2);
    for (path, body) in begun_with {
        running.insist("POST", path, body).unwrap();
    }
    // Whichever takes more ends while it does.
    let begun = Instant::now();
    let busy = loop {
        let shown: Vec<usize> = centres.iter().map(|centre| centre.shown().len()).collect();
        if shown.iter().sum::<usize>() > 20 {
            break usize::from(shown[1] > shown[0]);
        }
        assert!(begun.elapsed() < PATIENCE, "nobody takes anything");
    };
    let log = centres[busy].log.clone();
    drop(centres.remove(busy));
    rest.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    running.stop();
    let (before, after) = (shown(&log), centres[0].shown());
    let once: BTreeSet<_> = before.iter().chain(&after).collect();
    assert_eq!(once.len(), before.len() + after.len(), "nothing is shown twice");
    let outbox = outbox(&folder.0.join("data"));
    let count = |status: &str| outbox.iter().filter(|(.., known)| known == status).count();
    assert!(count("uncertain") <= 5 && count("waiting") == 0, "{} uncertain, {} waiting", count("uncertain"), count("waiting"));
    assert!(count("delivered") + count("taken") > 100 && after.len() > 100, "{} after {}", after.len(), before.len());
}
