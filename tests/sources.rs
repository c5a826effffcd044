use crate::folder::Folder;
use crate::registers::{self, iin};
use dataflows::model::{Date, Update};
use dataflows::policy::file::{ABSENT, Record, opaque};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use shanyraq::intake::{Contact, Intake, Item, LINE_MAX_BYTES, Schema};
use shanyraq::sources::{Chunk, Difference, Feed, Held, Options, Quarantined, Refusal, Snapshot, write_quarantine};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Small chunks on several threads, so that order is put to the test.
const OPTIONS: Options = Options { threads: 3, chunk_bytes: 1000 };

fn open(schema: &Arc<Schema>, paths: &[PathBuf], maps: &[PathBuf]) -> Result<Feed, String> {
    Feed::open(Arc::clone(schema), paths, maps, OPTIONS)
}

fn read(schema: &Arc<Schema>, paths: &[PathBuf], maps: &[PathBuf]) -> Chunk {
    whole(open(schema, paths, maps).unwrap())
}

/// Everything that a feed says, in one chunk.
fn whole(feed: Feed) -> Chunk {
    let mut all = Chunk::default();
    for chunk in feed {
        all.items.extend(chunk.items);
        all.contacts.extend(chunk.contacts);
        all.rejected.extend(chunk.rejected);
        all.lines += chunk.lines;
    }
    all
}

fn problem(schema: &Arc<Schema>, paths: &[PathBuf], maps: &[PathBuf]) -> String {
    open(schema, paths, maps).err().expect("a problem")
}

fn contribution(seq: usize) -> String {
    let data = format!(r#"{{"period":"2026-01","employer":"{}","amount":{seq}}}"#, seq % 7);
    format!(r#"{{"register":"enpf.contribution","key":"k{seq}","seq":{seq},"op":"upsert","person":"{}","data":{data}}}"#, iin(9001))
}

fn contributions(count: usize) -> String {
    (1..=count).map(|seq| contribution(seq) + "\n").collect()
}

fn update(item: &Item) -> &Update {
    match item {
        Item::Update(update) => update,
        other => panic!("{other:?}"),
    }
}

fn updates(chunk: &Chunk) -> Vec<&Update> {
    chunk.items.iter().map(update).collect()
}

/// Key and packed fields of each record.
fn rows(schema: &Schema, chunk: &Chunk) -> Vec<(String, Vec<i64>)> {
    let row = |update: &Update| {
        let record = Record::read(&update.record);
        let register = &schema.registers[usize::from(record.register)];
        let mut values = vec![0; register.packed.len()];
        record.unpack(&register.packing, &mut values);
        (record.key(&register.packing), values)
    };
    updates(chunk).into_iter().map(row).collect()
}

/// Field and reason of each row in quarantine.
fn refusals(chunk: &Chunk) -> Vec<(u64, &str, &str)> {
    chunk.rejected.iter().map(|row| (row.line, row.field.as_str(), row.reason.as_str())).collect()
}

#[test]
fn plain_gzip_and_zstd_say_the_same_in_the_same_order() {
    let folder = Folder::new("compression");
    let text = contributions(2000);
    let (first, second) = text.split_at(text.len() / 2);
    let compressed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let files = [
        folder.write("plain.ndjson", &text),
        folder.write("carriage.ndjson", format!("\u{feff}{}", text.trim_end().replace('\n', "\r\n\r\n"))),
        folder.write("gzip.ndjson", gzip(text.as_bytes())),
        folder.write("members.ndjson.gz", [gzip(first.as_bytes()), gzip(second.as_bytes())].concat()),
        folder.write("zstd.ndjson.zst", compressed),
    ];
    let wanted: Vec<Item> = {
        let mut intake = Intake::new(registers::kz());
        text.lines().map(|line| intake.decode(line.as_bytes()).unwrap().item).collect()
    };
    for file in files {
        let chunk = read(&registers::kz(), std::slice::from_ref(&file), &[]);
        assert_eq!((chunk.items == wanted, chunk.lines, chunk.rejected.len()), (true, 2000, 0), "{}", file.display());
    }
}

#[test]
fn a_directory_is_read_by_name_and_without_what_is_no_feed() {
    let folder = Folder::new("directory");
    folder.write("b.ndjson", contribution(2));
    folder.write("a.ndjson.gz", gzip(contribution(1).as_bytes()));
    folder.write("notes.txt", "not a feed");
    std::fs::create_dir(folder.0.join("truth")).unwrap();
    let keys: Vec<_> =
        rows(&registers::kz(), &read(&registers::kz(), std::slice::from_ref(&folder.0), &[])).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["k1", "k2"]);
    assert!(problem(&registers::kz(), &[folder.0.join("truth")], &[]).ends_with("no file of a feed in this directory"));
    assert!(problem(&registers::kz(), &[folder.0.join("absent.ndjson")], &[]).contains("absent.ndjson: No such file"));
}

#[test]
fn a_bad_line_stops_nothing() {
    let folder = Folder::new("bad-lines");
    let mut bytes = [contribution(1), contribution(2).replace("enpf", "eqpf"), contribution(3)].join("\n").into_bytes();
    bytes.extend_from_slice(b"\n\n\xff\xfe\n");
    bytes.extend(std::iter::repeat_n(b'x', 3 * LINE_MAX_BYTES));
    bytes.push(b'\n');
    bytes.extend_from_slice(contribution(4).as_bytes());
    let chunk = read(&registers::kz(), &[folder.write("feed.ndjson", bytes)], &[]);
    assert_eq!(rows(&registers::kz(), &chunk).len(), 3);
    let refusals = refusals(&chunk);
    assert_eq!(refusals[0], (2, "register", "unknown register `eqpf.contribution` (did you mean enpf.contribution?)"));
    assert_eq!(refusals[1], (5, "", "not UTF-8 from byte 1 on"));
    assert_eq!(refusals[2], (6, "", "longer than 1048576 bytes; its beginning is kept"));
    assert_eq!(refusals.len(), 3);
    assert_eq!(chunk.rejected[0].raw, contribution(2).replace("enpf", "eqpf").as_bytes());
}

#[test]
fn a_truncated_file_is_read_as_far_as_it_goes() {
    let folder = Folder::new("truncated");
    let text: String = (0..4000).map(|seq| contribution(seq * 7919 % 100_003 + 1) + "\n").collect();
    for (name, bytes) in [("a.ndjson.gz", gzip(text.as_bytes())), ("a.ndjson.zst", zstd::encode_all(text.as_bytes(), 1).unwrap())] {
        let file = folder.write(name, &bytes[..bytes.len() / 2]);
        let chunk = read(&registers::kz(), &[file], &[]);
        let lines = chunk.items.len();
        assert!(lines > 1000, "{name}: {lines}");
        let last = refusals(&chunk).last().copied().unwrap();
        assert!(last.2.starts_with("cannot be read further: "), "{name}: {last:?}");
        assert_eq!(chunk.items, read(&registers::kz(), &[folder.write("whole.ndjson", &text)], &[]).items[..lines]);
    }
}

#[test]
fn a_feed_may_be_dropped_half_way() {
    let folder = Folder::new("dropped");
    let file = folder.write("feed.ndjson", contributions(5000));
    let mut feed = open(&registers::kz(), &[file], &[]).unwrap();
    assert!(feed.next().is_some());
}

#[test]
fn quarantine_keeps_raw_bytes() {
    let row = |raw: &[u8]| {
        let row =
            Quarantined { file: Arc::from("a.ndjson"), line: 7, field: "sex".to_owned(), reason: "`X`".to_owned(), raw: raw.to_vec() };
        let mut out = Vec::new();
        write_quarantine(&mut out, &row).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(row(b"{\"a\""), "{\"file\":\"a.ndjson\",\"line\":7,\"field\":\"sex\",\"reason\":\"`X`\",\"raw\":\"{\\\"a\\\"\"}\n");
    assert_eq!(row(b"\xff"), "{\"file\":\"a.ndjson\",\"line\":7,\"field\":\"sex\",\"reason\":\"`X`\",\"raw_base64\":\"/w==\"}\n");
}

const INCOME: &str = r#"
[cps.income]
file  = "income*.csv*"
rows  = [{ register = "irs.income", person = "{person}", key = "{person}-{year}-{kind}", seq = "1", event_date = "{year}-12-31",
           data = { year = "{year}", kind = "{kind}", amount = "{amount_usd}" } }]
null  = ["", "NA"]
"#;

#[test]
fn a_table_becomes_records() {
    let folder = Folder::new("table");
    let map = folder.write("cps.toml", INCOME);
    let table = "person,year,kind,amount_usd\r\n1,2014,wages,36501\r\n207,2014,self_employment,-14519\r\n3,2014,alms,5\r\n\
                 4,2014,wages,NA\r\n\r\n5,2014,\"wages\",12\r\n6,2014,wages\r\n7,2014,wages,1.5\r\n0,2014,wages,1\r\n";
    let chunk = read(&registers::us(), &[folder.write("income-2014.csv.gz", gzip(table.as_bytes()))], &[map]);
    let wanted = [("1-2014-wages", [2014, 0, 36501]), ("207-2014-self_employment", [2014, 1, -14519]), ("5-2014-wages", [2014, 0, 12])];
    assert_eq!(rows(&registers::us(), &chunk), wanted.map(|(key, values)| (key.to_owned(), values.to_vec())));
    let update = updates(&chunk)[1];
    assert_eq!((update.person, update.heard), (207, Date::parse("2014-12-31").unwrap()));
    assert_eq!(
        refusals(&chunk),
        [
            (4, "kind", "`alms` is not one of wages, self_employment, interest"),
            (5, "amount", "missing"),
            (8, "", "3 columns where the header has 4"),
            (9, "amount", "must be a whole number, not text"),
            (10, "person", "not a positive integer in plain digits"),
        ]
    );
    assert_eq!(chunk.rejected[0].raw, b"3,2014,alms,5");
    assert_eq!(chunk.lines, 8);
}

#[test]
fn a_row_may_give_several_records() {
    let folder = Folder::new("several");
    let map = folder.write(
        "map.toml",
        r#"
        [people]
        file      = "people.csv"
        delimiter = ";"
        dates     = "%d.%m.%Y"
        rows      = [
          { register = "census.person", person = "{id}", key = "main", seq = 4, data = { birth_year = "{born}", state = "US-{state}" } },
          { register = "court.marriage", key = "{id}", seq = "{version}", needs = ["spouse"], event_date = "{since}",
            data = { one = "{id}", other = "{spouse}", since = "{since}" } },
        ]"#,
    );
    let table = "id;born;state;spouse;since;version;remark\n1;1966;23;2;14.2.2014;3;\"line one\nline \"\"two\"\";\"\n2;1969;;;;;5\" wide\n\
                 3;1970;9;4;2014-02-14;1;\n";
    let chunk = read(&registers::us(), &[folder.write("people.csv", table)], &[map]);
    let since = i64::from(Date::parse("2014-02-14").unwrap().0);
    let us = |state: &str| opaque(&format!("US-{state}"));
    let unpacked: Vec<Vec<i64>> = rows(&registers::us(), &chunk).into_iter().map(|(_, values)| values).collect();
    assert_eq!(unpacked, [vec![1966, us("23")], vec![1, 2, since], vec![1969, ABSENT], vec![1970, us("9")]]);
    assert_eq!(refusals(&chunk), [(5, "event_date", "not a date %d.%m.%Y of the calendar")]);
}

#[test]
fn rows_keep_their_order_and_numbers_across_chunks() {
    let folder = Folder::new("chunks");
    let map = folder.write("cps.toml", INCOME);
    let mut table = "kind,person,amount_usd,year,note\n".to_owned();
    for person in 1..=3000 {
        let kind = if person % 1000 == 0 { "alms" } else { "wages" };
        table.push_str(&format!("{kind},{person},{person},2014,\"two\nlines, \"\"quoted\"\"\"\n"));
    }
    let chunk = read(&registers::us(), &[folder.write("income.csv", &table)], &[map]);
    let people: Vec<u64> = updates(&chunk).iter().map(|update| update.person).collect();
    assert_eq!(people, (1..=3000).filter(|person| person % 1000 != 0).collect::<Vec<_>>());
    assert_eq!(refusals(&chunk).iter().map(|row| row.0).collect::<Vec<_>>(), [2000, 4000, 6000]);
}

#[test]
fn mappings_are_checked_before_any_file_is_read() {
    let folder = Folder::new("mappings");
    let table = folder.write("income.csv", "person,year,kind,amount\n1,2014,wages,1\n");
    let with = |from: &str, to: &str| folder.write("map.toml", INCOME.replace(from, to));
    let refused = |from: &str, to: &str, words: &str| {
        let problem = problem(&registers::us(), std::slice::from_ref(&table), &[with(from, to)]);
        assert!(problem.contains(words), "{problem}");
    };
    refused(
        "irs.income",
        "irs.incomes",
        "map.toml: [cps.income] rows[0].register: unknown register `irs.incomes` (did you mean irs.income?)",
    );
    refused(
        "amount = \"{amount_usd}\"",
        "amounts = \"{amount_usd}\"",
        "rows[0].data.amounts: irs.income has no such field (did you mean amount?)",
    );
    refused(", amount = \"{amount_usd}\"", "", "rows[0].data.amount: missing");
    refused("person = \"{person}\",", "", "rows[0].person: missing");
    refused("{year}-12-31", "{year-12-31", "rows[0].event_date: `{` without `}`");
    refused("null  =", "nulls =", "unknown field `nulls`");
    refused("null  =", "dates = \"%y\"\nnull =", "dates: `%y` must have %Y, %m and %d, each once");
    refused("income*.csv*", "incomes.csv", "income.csv: no section of a mapping serves this file");
    refused("[cps.income]", "[cps.income", "map.toml: ");

    let chunk = read(&registers::us(), std::slice::from_ref(&table), &[with("", "")]);
    assert_eq!(refusals(&chunk), [(1, "", "the header has no column `amount_usd`, which [cps.income] needs")]);
}

#[test]
fn a_quote_that_is_never_closed_costs_one_row() {
    let folder = Folder::new("quote");
    let map = folder.write("cps.toml", INCOME);
    let table = "person,year,kind,amount_usd\n1,2014,wages,1\n2,2014,\"wages,2\n3,2014,wages,3\n4,2014,wages,4";
    let chunk = read(&registers::us(), &[folder.write("income.csv", table)], &[map]);
    assert_eq!(updates(&chunk).iter().map(|update| update.person).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(refusals(&chunk), [(3, "", "a quote is never closed")]);
    assert_eq!(chunk.rejected[0].raw, b"2,2014,\"wages,2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn where_chunks_are_cut_does_not_matter(rows in proptest::collection::vec("1,2014,(wages|\"wages\")?,[0-9\",\r\n]{0,6}", 0..40), chunk_bytes in 1..80_usize) {
        let folder = Folder::new("cuts");
        let map = folder.write("cps.toml", INCOME);
        let table = folder.write("income.csv", format!("person,year,kind,amount_usd\n{}", rows.join("\n")));
        let lines = folder.write("table.ndjson", rows.join("\n"));
        let with = |chunk_bytes| {
            let options = Options { threads: 2, chunk_bytes };
            let feed = Feed::open(registers::us(), &[table.clone(), lines.clone()], std::slice::from_ref(&map), options).unwrap();
            let chunk = whole(feed);
            (chunk.items, chunk.rejected, chunk.lines)
        };
        prop_assert_eq!(with(chunk_bytes), with(1 << 20));
    }
}

#[test]
fn the_survey_is_read_through_its_mapping() {
    let schema = Arc::new(Schema::from(&registers::package("us-cps")));
    let map = registers::repository("dataflows/policies/us-cps/cps.map.toml");
    let chunk = read(&schema, &[registers::repository("fixtures/cps")], &[map]);
    assert_eq!(refusals(&chunk), []);
    assert_eq!(chunk.items.len() as u64, chunk.lines);
    let of = |register: &str| {
        let register = schema.register(register).unwrap();
        updates(&chunk).into_iter().map(|update| Record::read(&update.record)).filter(move |record| record.register == register)
    };
    assert!(of("census.person").count() > 900);
    let amount = |record: Record<'_>| {
        let mut values = [0; 3];
        record.unpack(&schema.registers[usize::from(record.register)].packing, &mut values);
        values[2]
    };
    assert!(of("irs.income").map(amount).any(|amount| amount < 0), "losses are kept");
}

#[test]
fn the_synthetic_country_is_understood() {
    let mut intake = Intake::new(Arc::new(Schema::from(&registers::package("kz"))));
    let country = fixtures::country::Country::new(1000, 7, Date::parse("2026-01-01").unwrap());
    let (mut records, mut contacts, mut refused) = (0, 0, BTreeMap::new());
    country.population(|line| match intake.decode(line) {
        Ok(decoded) => {
            records += 1;
            contacts += usize::from(decoded.contact.is_some());
        }
        Err(rejection) => drop(refused.insert((rejection.field, rejection.reason), String::from_utf8_lossy(line).into_owned())),
    });
    assert!(refused.is_empty(), "one line of each kind refused: {refused:#?}");
    assert!(records > 8000 && contacts > 300, "{records} records, {contacts} contacts");
}

/// What is held after an ordinary feed of contributions 1 to `count`.
fn held(count: usize) -> Vec<Held> {
    let chunk = {
        let folder = Folder::new(&format!("held-{count}-{:?}", std::thread::current().id()));
        read(&registers::kz(), &[folder.write("feed.ndjson", contributions(count))], &[])
    };
    updates(&chunk).into_iter().map(as_held).collect()
}

fn as_held(update: &Update) -> Held {
    let record = Record::read(&update.record);
    Held {
        person: update.person,
        key: Box::from(record.key(&registers::kz().registers[usize::from(record.register)].packing)),
        seq: record.seq,
        fingerprint: record.fingerprint(),
        deleted: record.deleted(),
    }
}

/// Compares a dump of these lines with what is held.
fn dump(register: u16, held: Vec<Held>, lines: &[String], max_shrink: f64) -> Result<Difference, Refusal> {
    let folder = Folder::new(&format!("dump-{:?}", std::thread::current().id()));
    let mut snapshot = Snapshot::new(registers::kz(), register, held);
    snapshot.take(read(&registers::kz(), &[folder.write("dump.ndjson", lines.join("\n"))], &[]));
    snapshot.finish(max_shrink)
}

#[test]
fn a_dump_gives_only_the_difference() {
    let mut before = held(100);
    before[6].deleted = true;
    // 1 vanishes, 2 changes, 7 comes back, 101 is new, the others are as they were.
    let mut lines: Vec<String> = (2..=101).map(|seq| contribution(seq).replace(&format!(r#""seq":{seq}"#), r#""seq":1"#)).collect();
    lines[0] = lines[0].replace(r#""amount":2"#, r#""amount":20"#);
    lines.push(lines[50].clone());
    let difference = dump(1, before, &lines, 0.02).unwrap();
    let counts =
        (difference.counts.equal, difference.counts.new, difference.counts.changed, difference.counts.deleted, difference.counts.spared);
    assert_eq!(counts, (97, 2, 1, 1, 0));
    let versions: Vec<(Box<str>, u64, bool)> =
        difference.updates.iter().map(as_held).map(|held| (held.key, held.seq, held.deleted)).collect();
    assert_eq!(
        versions.iter().map(|(key, seq, deleted)| (&**key, *seq, *deleted)).collect::<Vec<_>>(),
        [("k2", 3, false), ("k7", 8, false), ("k101", 1, false), ("k1", 2, true)]
    );
}

#[test]
fn a_dump_that_would_delete_much_is_refused() {
    let lines: Vec<String> = (4..=100).map(contribution).collect();
    assert_eq!(dump(1, held(100), &lines, 0.02).unwrap_err(), Refusal { would_vanish: 3, held: 100 });
    assert_eq!(dump(1, held(100), &lines, 0.03).unwrap().counts.deleted, 3);
}

#[test]
fn a_dump_that_was_not_read_whole_deletes_nothing() {
    let mut lines: Vec<String> = (1..=99).map(contribution).collect();
    lines[3].truncate(20);
    let difference = dump(1, held(100), &lines, 0.02).unwrap();
    assert_eq!((difference.counts.deleted, difference.counts.spared, difference.counts.equal), (0, 2, 98));
}

#[test]
fn a_dump_of_telephones_tells_what_became_of_them() {
    let phone = |serial: u32, number: &str| {
        let data = format!(r#"{{"msisdn":"{number}","language":"kk"}}"#);
        format!(r#"{{"register":"bmg.phone","key":"main","seq":5,"op":"upsert","person":"{}","data":{data}}}"#, iin(serial))
    };
    let before = [phone(9001, "+7701"), phone(9002, "+7702"), phone(9003, "+7703")].map(|line| {
        let decoded = Intake::new(registers::kz()).decode(line.as_bytes()).unwrap();
        as_held(update(&decoded.item))
    });
    let after = [phone(9001, "+7701"), phone(9002, "+7709")];
    let difference = dump(0, before.to_vec(), &after, 0.5).unwrap();
    let contact = |serial: u32, phone: &str, language: &str| Contact {
        person: registers::number(&iin(serial)),
        seq: 6,
        phone: phone.to_owned(),
        language: language.to_owned(),
    };
    assert_eq!(difference.contacts, [contact(9002, "+7709", "kk"), contact(9003, "", "")]);
}
