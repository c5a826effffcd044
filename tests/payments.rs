use crate::faulty::talkative_story;
use crate::folder::Folder;
use crate::pipeline::token;
use crate::program::{shanyraq, summary};
use crate::registers::repository;
use crate::running::*;
use crate::sending::configured;
use serde_json::{Value, json};
use shanyraq::commands::load_policy;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Whoever agreed and holds a benefit assigned is paid, month by month; whoever has lost it is paid no more, and of the dead what was ordered beyond is asked
/// back. What was ordered is a file that banks take, by their own schema.
#[test]
fn what_was_agreed_to_is_paid() {
    let folder = Folder::new("payments");
    let gateway = Gateway::start(&folder, "payments.log");
    let words = "compact_after_segments = 0\nbrake = { percent = 0, at_least = 1, days = 1 }";
    let start = || configured(&folder, "data", &gateway.address, words);
    let mut running = start();
    let mut answered = BTreeSet::new();
    for (path, body) in &talkative_story(250, 6) {
        running.tell(path, body).unwrap();
        for reply in replies(&gateway, &mut answered) {
            running.tell("/v1/replies", &reply).unwrap();
        }
    }
    let rows = |running: &Running, path: &str| -> Vec<Value> {
        let (status, text) = running.call("GET", path, b"").unwrap();
        assert_eq!(status, 200, "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // The agency assigns every case, for ever, and time goes by.
    let cases: Vec<Value> = rows(&running, "/v1/cases?after=0").into_iter().filter(|case| case["change"] == "opened").collect();
    assert!(cases.len() > 20, "{}", cases.len());
    let line = |register: &str, key: &str, person: Option<&Value>, on: &str, data: Value| {
        let mut line = json!({ "register": register, "key": key, "seq": 1, "op": "upsert", "event_date": on, "data": data });
        if let Some(person) = person {
            line["person"] = person.clone();
        }
        format!("{line}\n")
    };
    // Every register is alive on every day: what nobody is heard of waits.
    let policy = load_policy("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let date = |date: &str| {
        let registers = policy.registers.iter().map(|register| register.id.as_str()).filter(|id| *id != "kin");
        let beats = registers.map(|id| line("heartbeat", id, None, date, json!({ "date": date })));
        beats.chain([line("calendar", "today", None, date, json!({ "date": date }))]).collect::<String>()
    };
    let assigned = |case: &Value| {
        let key = format!("{}-{}", case["benefit"].as_str().unwrap(), case["ground"].as_str().unwrap());
        line(
            "cbd.assignment",
            &key,
            Some(&case["person"]),
            "2026-01-08",
            json!({ "benefit": case["benefit"], "ground": case["ground"], "amount": case["amount"], "from": case["from"] }),
        )
    };
    let tell = |running: &Running, text: &str| {
        let answer = running.insist("POST", "/v1/updates", text.as_bytes()).unwrap();
        assert_eq!((answer["accepted"].as_u64(), &answer["quarantined"]), (Some(text.lines().count() as u64), &json!(0)), "{answer}");
        running.settle(&token(&answer)).unwrap();
    };
    tell(&running, &cases.iter().map(assigned).collect::<String>());
    for day in ["2026-01-26", "2026-02-04", "2026-02-05", "2026-03-05", "2026-04-05"] {
        tell(&running, &date(day));
    }
    let payments = rows(&running, "/v1/payments?after=0");
    let mut ordered: BTreeMap<(String, String, String), BTreeSet<String>> = BTreeMap::new();
    for order in payments.iter().filter(|order| order["change"] == "ordered") {
        let text = |name: &str| order[name].as_str().unwrap().to_owned();
        assert!(order["amount"].as_i64() > Some(0), "{order}");
        assert!(ordered.entry((text("person"), text("benefit"), text("ground"))).or_default().insert(text("month")), "twice: {order}");
    }
    let months: Vec<usize> = ordered.values().map(BTreeSet::len).collect();
    assert!(months.contains(&1) && months.iter().any(|months| *months >= 4), "{months:?}");
    let accounts = payments.iter().filter(|order| order["account"].is_string()).count();
    assert!(accounts > 20, "{accounts} of {}", payments.len());

    // Somebody who is paid by the month turns out to have died in February.
    let monthly = |order: &&Value| {
        let text = |name: &str| order[name].as_str().unwrap().to_owned();
        ordered[&(text("person"), text("benefit"), text("ground"))].contains("2026-04-01")
    };
    let dead = payments.iter().find(monthly).unwrap();
    let all = rows(&running, "/v1/payments?after=0");
    let last = all.last().unwrap()["token"].as_str().unwrap();
    tell(&running, &line("zags.death", "D-1", Some(&dead["person"]), "2026-02-10", json!({ "act_no": "D-1", "died": "2026-02-10" })));
    let after = rows(&running, &format!("/v1/payments?after={last}"));
    let of = |change: &str| -> BTreeSet<String> {
        let of_them =
            after.iter().filter(|row| row["change"] == change && row["person"] == dead["person"] && row["benefit"] == dead["benefit"]);
        of_them.map(|row| row["month"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("stopped"), BTreeSet::from(["2026-02-10".to_owned()]), "{after:?}");
    assert_eq!(of("recover"), BTreeSet::from(["2026-03-01".to_owned(), "2026-04-01".to_owned()]), "{after:?}");

    // Told again it is the same.
    let all = rows(&running, "/v1/payments?after=0");
    running.kill();
    std::fs::remove_dir_all(running.data.join("snapshots")).unwrap();
    std::fs::remove_file(running.data.join("ledger.db")).unwrap();
    for log in ["ledger.db-wal", "ledger.db-shm"] {
        drop(std::fs::remove_file(running.data.join(log)));
    }
    let running = start();
    assert_eq!(rows(&running, "/v1/payments?after=0"), all);
    running.stop();
    let data = folder.0.join("data").display().to_string();
    summary(&shanyraq(["ledger", "verify", "--data", &data]));

    let file = folder.0.join("pain.xml");
    let pay = |from: &str, until: &str, iban: &str| {
        let out = file.display().to_string();
        let payer = ["--payer", "Мемлекеттік корпорация & Ко", "--iban", iban, "--bank", "KZKAKZKA", "--out", &out];
        shanyraq([&["dispatch", "payments", "--data", &data, "--from", from, "--until", until][..], &payer].concat())
    };
    let wrong = pay("2026-02-05", "2026-02-05", "KZ87125KZT5004100100");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--iban: `KZ87125KZT5004100100` has not the form"), "{wrong:?}");
    let paid = summary(&pay("2026-02-05", "2026-02-05", "KZ86125KZT5004100100"));
    let of_day: Vec<&Value> = all.iter().filter(|row| row["date"] == "2026-02-05" && row["account"].is_string()).collect();
    assert_eq!(paid["transfers"].as_u64(), Some(of_day.len() as u64), "{paid}");
    assert_eq!(paid["sum"].as_i64(), Some(of_day.iter().map(|row| row["amount"].as_i64().unwrap()).sum()));
    let schema = repository("target/python/sepaxml/schemas/pain.001.001.09.xsd");
    let valid = |file: &std::path::Path| {
        Command::new("xmllint").args(["--noout", "--schema"]).arg(&schema).arg(file).output().expect("xmllint is there: tests/install")
    };
    let told = valid(&file);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    let broken = folder.write("broken.xml", text.replacen("<EndToEndId>", "<EndToEnd>", 1).replacen("</EndToEndId>", "</EndToEnd>", 1));
    assert!(!valid(&broken).status.success(), "the schema sees what is wrong");
}
