use crate::registers::{self, iin, number};
use dataflows::model::{Date, Update};
use dataflows::policy::file::{ABSENT, Record, opaque};
use proptest::prelude::*;
use shanyraq::intake::{Contact, Decoded, Intake, Item, LINE_MAX_BYTES, Rejection, Schema};
use std::sync::Arc;

fn decode(line: &str) -> Result<Decoded, Rejection> {
    Intake::new(registers::kz()).decode(line.as_bytes())
}

fn update(line: &str) -> Update {
    match decode(line).unwrap().item {
        Item::Update(update) => update,
        other => panic!("{other:?}"),
    }
}

/// The key of an update's record.
fn key_of(update: &Update) -> String {
    let record = Record::read(&update.record);
    record.key(&registers::kz().registers[usize::from(record.register)].packing)
}

/// The rule fields of an update's record.
fn fields_of<const N: usize>(update: &Update) -> [i64; N] {
    let record = Record::read(&update.record);
    let mut fields = [0; N];
    record.unpack(&registers::kz().registers[usize::from(record.register)].packing, &mut fields);
    fields
}

/// A line with `data` and, for anything else, ordinary members.
fn line(register: &str, person: Option<&str>, data: &str) -> String {
    let person = person.map(|person| format!(r#""person":"{person}","#)).unwrap_or_default();
    format!(r#"{{"register":"{register}","key":"k1","seq":3,"op":"upsert","event_date":"2026-02-14",{person}"data":{data}}}"#)
}

fn person_line() -> String {
    line("gbdfl.person", Some(&iin(9001)), r#"{"birth_date":"1985-03-15","sex":"F","surname":"Сәрсен"}"#)
}

/// The line is refused with this field and a reason that has these words.
fn refused(line: &str, field: &str, words: &str) {
    let rejection = decode(line).expect_err(line);
    assert_eq!(rejection.field, field, "{rejection:?} of {line}");
    assert!(rejection.reason.contains(words), "{rejection:?} of {line}");
}

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

#[test]
fn a_record_is_packed_with_its_rule_fields_alone() {
    let update = update(&person_line());
    assert_eq!((update.person, update.heard), (number(&iin(9001)), day("2026-02-14")));
    let record = Record::read(&update.record);
    assert_eq!((record.register, key_of(&update).as_str(), record.seq, record.deleted()), (2, "k1", 3, false));
    assert_eq!(record.event_date(), Some(day("2026-02-14")));
    assert_eq!(fields_of::<2>(&update), [i64::from(day("1985-03-15").0), 1]);
}

#[test]
fn every_type_of_field_is_read() {
    let data = r#"{"flag":true,"count":-5,"ratio":12,"day":"2024-02-29"}"#;
    let fields = fields_of(&update(&line("test.kinds", Some(&iin(9002)), data)));
    assert_eq!(fields, [number(&iin(9002)) as i64, 1, -5, 12, i64::from(day("2024-02-29").0)]);

    let fields: [i64; 5] = fields_of(&update(&line("test.kinds", Some(&iin(9002)), r#"{"flag":null}"#)));
    assert_eq!(fields[1..], [ABSENT; 4]);

    let data = r#"{"period":"2026-01","employer":"9001\u0034","amount":85000}"#;
    let fields = fields_of(&update(&line("enpf.contribution", Some(&iin(9002)), data)));
    assert_eq!(fields, [i64::from(day("2026-01-01").0), opaque("90014"), 85000]);
}

#[test]
fn a_global_record_belongs_to_nobody_and_names_its_people() {
    let data = format!(r#"{{"man":"{}","woman":"{}","registered":"2026-02-14"}}"#, iin(9001), iin(9002));
    let update = update(&line("zags.marriage", None, &data));
    assert_eq!(update.person, 0);
    assert_eq!(fields_of(&update), [number(&iin(9001)) as i64, number(&iin(9002)) as i64, i64::from(day("2026-02-14").0), ABSENT]);
}

#[test]
fn the_fingerprint_knows_card_fields_but_not_the_order() {
    let fingerprinted = |data: &str| update(&line("gbdfl.person", Some(&iin(9001)), data)).record;
    let given = fingerprinted(r#"{"birth_date":"1985-03-15","sex":"F","surname":"A"}"#);
    assert_eq!(given, fingerprinted(r#" { "surname" : "A", "sex":"F", "birth_date":"1985-03-15", "patronymic": null } "#));
    assert_ne!(given, fingerprinted(r#"{"birth_date":"1985-03-15","sex":"F","surname":"B"}"#));
    assert_ne!(given, fingerprinted(r#"{"birth_date":"1985-03-15","sex":"F","surname":"A","patronymic":""}"#));
}

#[test]
fn what_the_key_says_is_not_kept_twice() {
    let policy = registers::package("kz");
    let mut intake = Intake::new(Arc::new(Schema::from(&policy)));
    let mut decode = |line: &str| match intake.decode(line.as_bytes()).unwrap().item {
        Item::Update(update) => update.record,
        other => panic!("{other:?}"),
    };
    let death = line("zags.death", Some(&iin(9001)), r#"{"act_no":"k1","died":"2026-02-14"}"#);
    let (named, other) = (decode(&death), decode(&death.replace("\"act_no\":\"k1\"", "\"act_no\":\"k2\"")));
    assert_eq!(Record::read(&named).shown(), 0);
    assert_ne!(Record::read(&named).fingerprint(), Record::read(&other).fingerprint());

    let pay = line("enpf.contribution", Some(&iin(9001)), r#"{"period":"2026-01","employer":"900","amount":5}"#);
    let (told, written) = (decode(&pay.replace("k1", "2026-01-900")), decode(&pay.replace("k1", "2026-01-0900")));
    assert_eq!(told.len() + "2026-01-0900".len() + 1, written.len());
    let key = |record: &[u8]| Record::read(record).key(policy.packing(policy.register("enpf.contribution").unwrap()));
    assert_eq!((key(&told).as_str(), key(&written).as_str()), ("2026-01-900", "2026-01-0900"));
}

#[test]
fn the_register_is_heard_on_the_later_of_both_dates() {
    let with =
        |recorded: &str| update(&person_line().replacen("\"person\"", &format!("\"recorded_at\":\"{recorded}\",\"person\""), 1)).heard;
    assert_eq!(with("2026-02-15T23:12:00+05:00"), day("2026-02-15"));
    assert_eq!(with("2026-03-01"), day("2026-03-01"));
    assert_eq!(with("2026-01-01T00:00:00.125Z"), day("2026-02-14"));
    let undated = person_line().replace(r#""event_date":"2026-02-14","#, "");
    assert_eq!(update(&undated).heard, Date::BEFORE_ALL);
    assert_eq!(update(&person_line().replace("2026-02-14", "2099-01-01")).heard, day("2099-01-01"));
}

#[test]
fn a_delete_needs_no_data() {
    let line =
        format!(r#"{{"op":"delete","seq":9,"key":"main","person":"{}","register":"gbdfl.person","data":{{"nonsense":1}}}}"#, iin(9001));
    let update = update(&line);
    let record = Record::read(&update.record);
    assert!(record.deleted());
    assert_eq!((record.seq, record.event_date()), (9, None));
    assert_eq!(update.heard, Date::BEFORE_ALL);
}

#[test]
fn calendar_and_heartbeats() {
    let calendar = r#"{"register":"calendar","key":"today","seq":1,"op":"upsert","data":{"date":"2026-11-23"}}"#;
    assert_eq!(decode(calendar).unwrap().item, Item::Calendar(day("2026-11-23")));
    let heartbeat = calendar.replace("calendar", "heartbeat").replace("today", "enpf.contribution");
    assert_eq!(decode(&heartbeat).unwrap().item, Item::Heartbeat { register: 1, date: day("2026-11-23") });
    refused(&calendar.replace("today", "tomorrow"), "key", "today");
    refused(&calendar.replace("2026-11-23", "2026-11-31"), "date", "not a date");
    refused(&calendar.replace(r#"{"date":"2026-11-23"}"#, "{}"), "date", "missing");
    refused(&calendar.replace(r#"{"date":"2026-11-23"}"#, "7"), "data", "");
    refused(&calendar.replace("upsert", "delete"), "op", "must be upsert");
    refused(&heartbeat.replace("enpf.contribution", "enpf.contributions"), "key", "did you mean enpf.contribution?");
}

#[test]
fn contacts_are_told_beside_the_record() {
    let given = line("bmg.phone", Some(&iin(9001)), r#"{"msisdn":"+77010000001","language":"kk"}"#);
    let contact = |phone: &str, language: &str| {
        Some(Contact { person: number(&iin(9001)), seq: 3, phone: phone.to_owned(), language: language.to_owned() })
    };
    assert_eq!(decode(&given).unwrap().contact, contact("+77010000001", "kk"));
    assert_eq!(decode(&given.replace("upsert", "delete")).unwrap().contact, contact("", ""));
    assert_eq!(decode(&person_line()).unwrap().contact, None);
}

#[test]
fn lines_that_are_no_json_object() {
    refused(r#"{"register":"gbdfl.person","key":"#, "", "broken JSON at byte 33");
    refused(&person_line().replace("\"F\"", "F"), "", "broken JSON at byte");
    refused("[1,2]", "", "not a JSON object");
    refused("12", "", "not a JSON object");
    refused(&format!("{} x", person_line()), "", "broken JSON");
    refused(&format!("{{{}", " ".repeat(LINE_MAX_BYTES)), "", "longer than 1048576 bytes");
    refused(&format!("{}{}", "[".repeat(5000), "]".repeat(5000)), "", "");
    let deep = line("gbdfl.person", Some(&iin(9001)), &format!(r#"{{"sex":{}{}}}"#, "[".repeat(9000), "]".repeat(9000)));
    refused(&deep, "sex", "must be a word, not a list");
    let mut bytes = person_line().into_bytes();
    bytes[20] = 0xff;
    let rejection = Intake::new(registers::kz()).decode(&bytes).unwrap_err();
    assert_eq!(rejection.reason, "not UTF-8 from byte 21 on");
}

#[test]
fn members_that_are_wrong() {
    let good = person_line();
    refused(&good.replace("gbdfl.person", "gbdfl.persom"), "register", "unknown register `gbdfl.persom` (did you mean gbdfl.person?)");
    refused(&good.replace("gbdfl.person", "kin"), "register", "unknown register");
    refused(&good.replace(r#""register":"gbdfl.person","#, ""), "register", "missing");
    refused(&good.replace(r#""key":"k1","#, ""), "key", "missing");
    refused(&good.replace(r#""k1""#, r#""""#), "key", "empty");
    refused(&good.replace(r#""k1""#, "1"), "key", "must be text, not a number");
    refused(&good.replace("k1", &"k".repeat(300)), "key", "longer than 256 bytes");
    refused(&good.replace(r#""seq":3,"#, ""), "seq", "missing");
    for seq in ["0", "-1", "1.5", "\"3\"", "99999999999999999999", "true"] {
        refused(&good.replace(r#""seq":3"#, &format!(r#""seq":{seq}"#)), "seq", "must be a positive integer");
    }
    refused(&good.replace(r#""op":"upsert","#, ""), "op", "missing");
    refused(&good.replace("upsert", "insert"), "op", "`insert` is neither upsert nor delete");
    refused(&good.replace("2026-02-14", "2026-02-30"), "event_date", "not a date");
    refused(&good.replace("\"event_date\"", "\"event_data\""), "event_data", "did you mean event_date?");
    refused(&good.replacen("\"seq\"", "\"recorded_at\":\"yesterday\",\"seq\"", 1), "recorded_at", "not a time");
    refused(&good.replacen("\"seq\"", "\"recorded_at\":\"2026-01-01T25:00:00Z\",\"seq\"", 1), "recorded_at", "not a time");
    refused(&good.replacen("\"seq\"", "\"seq\":2,\"seq\"", 1), "seq", "given twice");
}

#[test]
fn people_that_are_wrong() {
    let good = person_line();
    let mut wrong = iin(9001).into_bytes();
    wrong[11] = b'0' + (wrong[11] - b'0' + 1) % 10;
    refused(&good.replace(&iin(9001), std::str::from_utf8(&wrong).unwrap()), "person", "wrong check digit");
    refused(&good.replace(&iin(9001), "12"), "person", "not 12 digits");
    refused(&good.replace(&format!("\"{}\"", iin(9001)), "850315390013"), "person", "must be text of 12 digits, not a number");
    refused(&good.replace(&format!(r#""person":"{}","#, iin(9001)), ""), "person", "missing");
    let marriage = r#"{"registered":"2026-02-14"}"#;
    refused(&line("zags.marriage", Some(&iin(9001)), marriage), "person", "zags.marriage names its people in `data`");
    let kinds = format!(r#"{{"person":"{}"}}"#, iin(9001));
    refused(&line("test.kinds", Some(&iin(9001)), &kinds), "person", "beside `data`");
    refused(&line("zags.birth", None, r#"{"act_no":"1","child":"850315390010","born":"2026-01-01"}"#), "child", "wrong check digit");
}

#[test]
fn nobody_is_tied_to_themselves() {
    let same = format!(r#"{{"man":"{0}","woman":"{0}","registered":"2026-02-14"}}"#, iin(9001));
    refused(&line("zags.marriage", None, &same), "woman", "ties a person to themselves");
    let same = format!(r#"{{"act_no":"1","child":"{0}","father":"{0}","born":"2026-02-14"}}"#, iin(9001));
    refused(&line("zags.birth", None, &same), "father", "ties a person to themselves");
    let same = format!(r#"{{"carer":"{}","from":"2026-02-14"}}"#, iin(9001));
    refused(&line("guard.carer", Some(&iin(9001)), &same), "carer", "ties a person to themselves");
    assert!(decode(&line("zags.marriage", None, r#"{"registered":"2026-02-14"}"#)).is_ok(), "two unknown spouses are not one");
}

#[test]
fn fields_that_are_wrong() {
    let kinds = |data: &str, field: &str, words: &str| refused(&line("test.kinds", Some(&iin(9001)), data), field, words);
    kinds(r#"{"flag":1}"#, "flag", "must be true or false, not a number");
    kinds(r#"{"flag":"true"}"#, "flag", "must be true or false, not text");
    kinds(r#"{"count":1.5}"#, "count", "must be a whole number, not a number with a fraction");
    kinds(r#"{"count":"1"}"#, "count", "must be a whole number, not text");
    kinds(r#"{"ratio":1000000000000001}"#, "ratio", "beyond ±1000000000000000");
    kinds(r#"{"ratio":-9223372036854775808}"#, "ratio", "beyond");
    kinds(r#"{"ratio":18446744073709551615}"#, "ratio", "too large");
    kinds(r#"{"day":"2026-1-5"}"#, "day", "not a date");
    kinds(r#"{"day":{"year":2026}}"#, "day", "must be a date YYYY-MM-DD, not an object");
    kinds(r#"{"count":1,"count":2}"#, "count", "given twice");
    kinds(r#"{"counts":1}"#, "counts", "unknown field (did you mean count?)");
    kinds(r#"{"zebra":1}"#, "zebra", "unknown field");
    kinds(r#"[]"#, "data", "not a JSON object");
    kinds(r#"{"day":"\ud800"}"#, "data", "broken JSON");
    let person = |data: &str, field: &str, words: &str| refused(&line("gbdfl.person", Some(&iin(9001)), data), field, words);
    person(r#"{"birth_date":"1985-03-15","sex":"X","surname":"A"}"#, "sex", "`X` is not one of M, F");
    person(r#"{"sex":"F","surname":"A"}"#, "birth_date", "missing");
    person(r#"{"birth_date":null,"sex":"F","surname":"A"}"#, "birth_date", "missing");
    person(r#"{"birth_date":"1985-03-15","sex":"F","surname":7}"#, "surname", "must be text, not a number");
    person(r#"{"birth_date":"1985-03-15","sex":"F"}"#, "surname", "missing");
    let paid = |data: &str, field: &str, words: &str| refused(&line("enpf.contribution", Some(&iin(9001)), data), field, words);
    paid(r#"{"period":"2026-13","employer":"1","amount":1}"#, "period", "not a month");
    paid(r#"{"period":"2026-01-01","employer":"1","amount":1}"#, "period", "not a month");
    paid(r#"{"period":"2026-01","employer":"","amount":1}"#, "employer", "empty");
    refused(&line("gbdfl.person", Some(&iin(9001)), "null"), "data", "not a JSON object");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Intake::new(registers::kz()).decode(&bytes));
    }

    #[test]
    fn no_mutilation_of_a_good_line_makes_it_panic(cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)) {
        let mut bytes = person_line().into_bytes();
        for (index, byte, change) in cuts {
            let position = index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match change {
                0 if !bytes.is_empty() => drop(bytes.remove(position)),
                1 if !bytes.is_empty() => bytes[position] = byte,
                2 => bytes.truncate(position.max(1)),
                _ => bytes.insert(position.min(bytes.len()), byte),
            }
        }
        drop(Intake::new(registers::kz()).decode(&bytes));
    }
}
