use crate::faulty::*;
use crate::folder::Folder;
use crate::program::shanyraq;
use crate::registers::repository;
use crate::running::*;
use rusmpp::pdus::{DeliverSm, SubmitSm, SubmitSmResp};
use rusmpp::tokio_codec::CommandCodec;
use rusmpp::types::{COctetString, OctetString};
use rusmpp::values::EsmClass;
use rusmpp::{Command as Pdus, CommandStatus, Pdu};
use serde_json::{Value, json};
use shanyraq::ledger::reference_of;
use shanyraq::pipeline::ledger_file;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Encoder;

/// Through a centre at which everything goes wrong that can, with the process killed again and again, nothing is shown twice; what was taken was shown,
/// and of what was not it is known.
#[test]
fn through_a_faulty_centre_nothing_is_shown_twice() {
    println!("{}", through_a_faulty_centre(1_500, 6, 20, 5, 150));
}

/// Who is asked answers by phone, by way of the centre: a yes is heard, once.
#[test]
fn replies_come_by_the_centre() {
    let folder = Folder::new("replies");
    let centre = Centre::start(&folder, &["answer=100"]);
    let data = folder.0.join("data");
    let running = Running::start(&data, &centre.link("separate=true"));
    for (path, body) in &talkative_story(300, 4) {
        running.tell(path, body).unwrap();
    }
    // Whoever has agreed and can be paid is a case for an agency, which reads them as they come, from where it was.
    let cases = |after: &str| {
        let (status, text) = running.call("GET", &format!("/v1/cases?after={after}"), b"").unwrap();
        assert_eq!(status, 200);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = cases("0");
    let opened: BTreeSet<&str> = all.iter().filter(|row| row["change"] == "opened").map(|row| row["case"].as_str().unwrap()).collect();
    assert!(opened.len() > 5 && cases(all[all.len() - 3]["token"].as_str().unwrap()) == all[all.len() - 2..], "{all:?}");
    let fields = ["person", "benefit", "amount", "consented"];
    assert!(
        all.iter().all(|row| fields.iter().all(|name| !row[name].is_null()) && opened.contains(row["case"].as_str().unwrap())),
        "{all:?}"
    );
    running.stop();
    let sql = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    let yeses: usize = sql.query_row("SELECT count(*) FROM consents", [], |row| row.get(0)).unwrap();
    assert!(opened.len() <= yeses, "{} cases of {yeses} yeses", opened.len());
    let delivered = outbox(&data).iter().filter(|(.., status)| status == "delivered").count();
    assert!(yeses > 20 && delivered > yeses, "{yeses} yeses to {delivered} texts");

    // What operators are told of it adds up.
    let told = |report: &str| {
        let output = shanyraq(["dispatch", report, "--data", &data.display().to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows = String::from_utf8(output.stdout).unwrap();
        rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let funnel = told("funnel");
    let sum = |name: &str| funnel.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("agreed"), yeses as u64, "{funnel:?}");
    let steps = ["offered", "delivered", "answered", "agreed", "assigned", "paid"].map(sum);
    assert!(steps[0] >= steps[1] && steps[1] >= steps[3] && steps[2] >= steps[3] && steps[4] >= steps[5], "{steps:?}");
    let silent = |reason: &str| funnel.iter().filter_map(|row| row["silent"][reason].as_u64()).sum::<u64>();
    let unreached = told("unreached");
    let without_number = unreached.iter().filter(|row| row["reason"] == "no_phone").count() as u64;
    assert!(without_number > 0 && silent("no_phone") == without_number, "{funnel:?}");
    assert!(told("queue").iter().all(|row| row["status"] == "taken"), "receipts alone may be missing: {:?}", told("queue"));
}

/// A message centre that others wrote.
struct Independent {
    _process: Process,
    address: String,
    log: PathBuf,
}

impl Independent {
    /// With these files of a key and its certificate, under TLS.
    fn start(folder: &Folder, identity: &[PathBuf]) -> Independent {
        let log = folder.0.join("understood.log");
        let mut command = Command::new("node");
        command.arg(repository("fixtures/independent_centre.js")).arg(&log).args(identity);
        command.env("NODE_PATH", repository("target/node/node_modules"));
        let mut process = Process(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut address = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Independent { _process: process, address: address.trim().to_owned(), log }
    }

    /// What it has read, by number and reference and in the order of parts, from whom and how long each is to be tried; whether as one message or in parts.
    fn understood(&self, payload: bool) -> BTreeMap<(u64, u64), BTreeMap<u64, String>> {
        let mut understood: BTreeMap<(u64, u64), BTreeMap<u64, String>> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.log).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let said = ["source", "hours", "registered_delivery", "payload"].map(|name| line[name].clone());
            assert_eq!(said, [json!("1414"), json!(48), json!(1), json!(payload)], "{line}");
            let header: Option<Vec<u64>> = serde_json::from_value(line["header"].clone()).unwrap();
            let (part, class) = header.map_or((1, 0), |header| (header[4], 0x40));
            assert_eq!(line["esm_class"], json!(class), "{line}");
            let name = (line["phone"].as_str().unwrap().parse().unwrap(), line["reference"].as_u64().unwrap());
            let text = line["text"].as_str().unwrap().to_owned();
            assert!(understood.entry(name).or_default().insert(part, text).is_none(), "{line} comes twice");
        }
        understood
    }
}

/// All that was delivered was read as it was meant; how many texts that are, and how many people agreed.
fn compare(data: &Path, mut understood: BTreeMap<(u64, u64), BTreeMap<u64, String>>) -> (usize, usize) {
    let sql = rusqlite::Connection::open(ledger_file(data)).unwrap();
    let mut query = sql.prepare("SELECT message, phone, text FROM outbox WHERE status = 'delivered'").unwrap();
    let mut delivered = 0;
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (message, phone, text): (String, String, String) = (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        let reference = reference_of(u128::from_str_radix(&message, 16).unwrap());
        let parts = understood.remove(&(phone.parse().unwrap(), u64::from(reference))).unwrap();
        assert_eq!(parts.into_values().collect::<String>(), text);
        delivered += 1;
    }
    assert!(understood.is_empty(), "{understood:?}");
    (delivered, sql.query_row("SELECT count(*) FROM consents", [], |row| row.get(0)).unwrap())
}

/// A message centre that others wrote reads every text as it was meant; its receipts and the replies of its phones are understood. It refuses whoever it does
/// not know, and texts wait.
#[test]
fn a_centre_of_others_understands_everything() {
    let folder = Folder::new("independent");
    let centre = Independent::start(&folder, &[]);
    let data = folder.0.join("data");
    let story = talkative_story(300, 4);

    let stranger = Running::start(&folder.0.join("stranger"), &format!("smpp://stranger:secret@{}", centre.address));
    story[..2].iter().for_each(|(path, body)| drop(stranger.insist("POST", path, body).unwrap()));
    wait_until(&stranger, |line| line.contains("bind: EsmeRbindfail"));
    stranger.stop();

    let running = Running::start(&data, &format!("smpp://card:secret@{}?window=50&rate=2000", centre.address));
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    running.stop();
    let (delivered, yeses) = compare(&data, centre.understood(false));
    assert!(delivered > 100 && yeses > 20, "{delivered} delivered, {yeses} yeses");
}

fn wait_until(running: &Running, said: impl Fn(&String) -> bool) {
    let begun = Instant::now();
    while !running.said.lock().unwrap().iter().any(&said) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", running.said);
    }
}

/// The same under TLS, and with texts as one message each; a centre that cannot prove who it is gets none.
#[test]
fn a_centre_of_others_is_trusted_by_its_certificate() {
    let folder = Folder::new("certified");
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| folder.0.join(name));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=centre",
    ]);
    command
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    let made = command.output().expect("openssl is there: tests/install");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let centre = Independent::start(&folder, &[key, certificate.clone()]);
    let story = talkative_story(100, 2);

    let doubter = Running::start(&folder.0.join("doubter"), &format!("smpps://card:secret@{}", centre.address));
    story[..2].iter().for_each(|(path, body)| drop(doubter.insist("POST", path, body).unwrap()));
    wait_until(&doubter, |line| line.contains("tls: invalid peer certificate"));
    doubter.stop();

    let data = folder.0.join("data");
    let link = format!("smpps://card:secret@{}?payload=true&authorities={}&rate=2000", centre.address, certificate.display());
    let running = Running::start(&data, &link);
    story.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    running.stop();
    let (delivered, _) = compare(&data, centre.understood(true));
    assert!(delivered > 30, "{delivered} delivered");
}

fn bytes_of(pdu: impl Into<Pdu>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    CommandCodec::new().encode(Pdus::new(CommandStatus::EsmeRok, 7, pdu), &mut bytes).unwrap();
    bytes.to_vec()
}

/// A centre that sends what no centre should, replies of strangers and receipts of nothing among it, ends no pipeline and changes no consent.
#[test]
fn a_hostile_centre_changes_nothing() {
    let folder = Folder::new("hostile");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let link = format!("smpp://card:secret@{}?enquire_seconds=1", listener.local_addr().unwrap());
    let message = |phone: &str, class: u8, text: &[u8]| {
        let phone = COctetString::from_slice(format!("{phone}\0").as_bytes()).unwrap();
        bytes_of(
            DeliverSm::builder()
                .source_addr(phone)
                .esm_class(EsmClass::from(class))
                .short_message(OctetString::from_slice(text).unwrap())
                .build(),
        )
    };
    let strangers = [
        message("70000000001", 0, b"1"),
        message("bank", 0, b"1"),
        message("+", 0, b"1"),
        message("70000000001", 4, b"id:1 stat:DELIVRD"),
        message("70000000001", 4, b"stat: id:"),
        message("70000000001", 0x40, &[5, 0, 3, 1, 0, 0]),
        message("70000000001", 0x40, &[200]),
        bytes_of(SubmitSmResp::default()),
        bytes_of(Pdu::UnbindResp),
        bytes_of(Pdu::GenericNack),
        bytes_of(SubmitSm::default()),
    ];
    // What no command is ends the connection, and the next one is another chance.
    let broken: [&[u8]; 5] = [
        &[0, 0, 0, 8, 0, 0, 0, 5],
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0xff; 64],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 17, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    ];
    let scenes: Vec<Vec<u8>> = broken.iter().map(|bytes| [strangers.concat(), bytes.to_vec()].concat()).collect();
    let centre = std::thread::spawn(move || {
        for scene in scenes {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bind = [0; 4];
            stream.read_exact(&mut bind).unwrap();
            let mut rest = vec![0; u32::from_be_bytes(bind) as usize - 4];
            stream.read_exact(&mut rest).unwrap();
            stream.write_all(&[&[0, 0, 0, 17, 0x80, 0, 0, 9, 0, 0, 0, 0][..], &rest[8..12], &[0]].concat()).unwrap();
            stream.write_all(&scene).unwrap();
            // Until the other side has had enough.
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    let data = folder.0.join("data");
    let running = Running::start(&data, &link);
    centre.join().unwrap();
    let status = running.insist("GET", "/v1/status", b"").unwrap();
    assert_eq!(status["failure"], Value::Null);
    running.stop();
    let sql = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    let count = |table: &str| sql.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(["consents", "outbox", "offers"].map(count), [0, 0, 0]);
}
