use crate::registers::{self, iin, number};
use dataflows::model::{Date, PersonKind};
use dataflows::policy::Register;
use dataflows::policy::file::{ABSENT, Identity, NewRecord, Packing, Record, find, opaque, transparent};
use proptest::prelude::*;
use std::cmp::Ordering;

/// A key may be made of fields of every type, with something between them or not.
const TEMPLATES: [&str; 10] = [
    "main",
    "{period}-{employer}",
    "{employer}-{day}",
    "{employer}-{other}",
    "{other}{employer}",
    "{count}",
    "{kind}/{flag}:{count}",
    "no {who}.",
    "{day}{period}{count}",
    "{note}",
];
const FIELDS: &str = "period month, employer id, other id, count int optional, day date optional, kind enum(a|b|a-b) optional, flag bool, who person, note text";

/// A register with a key like this and a field of each type.
fn register(key: &str) -> Register {
    let mut register = registers::register("test.kinds", false, FIELDS);
    register.key = key.to_owned();
    register.packing = Packing::new(&register, PersonKind::Iin);
    register
}

/// A record with nothing borrowed.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    key: String,
    seq: u64,
    deleted: bool,
    event_date: Option<Date>,
    shown: u32,
    fields: Vec<i64>,
}

impl Content {
    fn pack(&self, packing: &Packing) -> Vec<u8> {
        let Content { ref key, seq, deleted, event_date, shown, ref fields } = *self;
        let mut bytes = Vec::new();
        NewRecord { register: 300, key, seq, deleted, event_date, shown, fields }.pack(packing, &mut bytes);
        bytes
    }
}

/// Few of them, so that two are often equal or look alike.
fn id() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["7", "07", "A-7", "2026-01", "2026-01-07", "", "a", "-", "7-7", "no word, and long"])
}

fn fields() -> impl Strategy<Value = Vec<i64>> {
    let month = prop::sample::select(vec!["2026-01-01", "2026-02-01"]).prop_map(|day| Date::parse(day).unwrap().0.into());
    let day = prop::sample::select(vec!["2026-01-07", "1926-01-07", "9999-12-31"]).prop_map(|day| Date::parse(day).unwrap().0.into());
    let count = prop_oneof![-1..12_i64, any::<i64>()];
    let or_absent = |value: BoxedStrategy<i64>| prop_oneof![3 => value, 1 => Just(ABSENT)];
    let who = (9001..9003_u32).prop_map(|serial| number(&iin(serial)) as i64);
    let values = (month, id().prop_map(opaque), id().prop_map(opaque), or_absent(count.boxed()), or_absent(day.boxed()));
    (values, or_absent((0..3_i64).boxed()), 0..2_i64, who)
        .prop_map(|((period, employer, other, count, day), kind, flag, who)| vec![period, employer, other, count, day, kind, flag, who])
}

/// A key: what a template makes of some fields, or a text that looks like it, or any.
fn key() -> impl Strategy<Value = String> {
    let made = (prop::sample::select(TEMPLATES.to_vec()), fields())
        .prop_map(|(template, fields)| register(template).packing.key(&fields).unwrap_or_else(|| "none".to_owned()));
    let joined =
        (id(), prop::sample::select(vec!["-", "", "/"]), id()).prop_map(|(first, between, second)| format!("{first}{between}{second}"));
    prop_oneof![made, joined, Just(i64::MIN.to_string()), "[+-]?0{0,2}[0-9]", "[0-9A-Z-]{1,14}", "\\PC{0,20}"]
}

/// A record whose key is often the one that the template makes of its fields.
fn content(template: &'static str) -> impl Strategy<Value = Content> {
    let date = prop::option::of(prop_oneof![20_000..20_010_i32, -800_000..3_000_000_i32]).prop_map(|date| date.map(Date));
    let seq = prop_oneof![1..3_u64, any::<u64>()];
    let shown = prop_oneof![Just(0), any::<u32>()];
    (fields(), key(), any::<bool>(), seq, prop::bool::weighted(0.2), date, shown).prop_map(
        move |(fields, key, made, seq, deleted, event_date, shown)| {
            let key = register(template).packing.key(&fields).filter(|_| made).unwrap_or(key);
            let fields = if deleted { Vec::new() } else { fields };
            Content { key, seq, deleted, event_date, shown, fields }
        },
    )
}

/// A template, and records of its register.
fn contents(count: usize) -> impl Strategy<Value = (Register, Vec<Content>)> {
    prop::sample::select(TEMPLATES.to_vec()).prop_flat_map(move |template| {
        prop::collection::vec(content(template), count).prop_map(move |records| (register(template), records))
    })
}

/// Digits, words and other texts, at and beyond the lengths that can be turned back.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9]{0,20}", "0{0,3}[01]{0,2}", "[0-9A-Z-]{0,13}", "[0A-]{0,3}", "\\PC{0,12}", "[0-9a-z]{0,4}"]
}

#[test]
fn a_key_that_the_fields_tell_takes_no_room() {
    let register = register("{period}-{employer}");
    let period = Date::parse("2026-01-01").unwrap();
    let fields = vec![i64::from(period.0), opaque("070640000408"), opaque("1"), 1, ABSENT, 0, 0, number(&iin(9001)) as i64];
    let told = Content {
        key: "2026-01-070640000408".to_owned(),
        seq: 1,
        deleted: false,
        event_date: Some(period),
        shown: 0,
        fields: fields.clone(),
    };
    let packed = told.pack(&register.packing);
    // Register, flags and length in 4 bytes, the event date in 2; absent fields in 1; period in 1, employer in 6, who in 6, four in 1 each.
    assert_eq!(packed.len(), 4 + 2 + 1 + 1 + 6 + 6 + 4);
    assert_eq!(Record::read(&packed).key(&register.packing), told.key);
    let numbered = Content { key: "2026-01-70640000408".to_owned(), ..told };
    assert_eq!(Record::read(&numbered.pack(&register.packing)).key(&register.packing), "2026-01-70640000408");
}

#[test]
fn opaque_texts_lie_below_two_to_the_62() {
    for text in ["", "99999999999999999", "-----------", "ZZZZZZZZZZZ", "a", "no word, and long"] {
        assert!((0..1 << 62).contains(&opaque(text)), "{text}: {}", opaque(text));
    }
    assert_eq!(transparent(opaque("00000000000000000")).as_deref(), Some("00000000000000000"));
    assert_eq!(transparent(opaque("-----------")).as_deref(), Some("-----------"));
    assert_eq!(transparent(opaque("lower")), None);
}

proptest! {
    #[test]
    fn what_is_packed_is_read(((register, records), more) in (contents(3), 0..9_usize)) {
        let packing = &register.packing;
        let file: Vec<u8> = records.iter().flat_map(|record| record.pack(packing)).collect();
        let read: Vec<Content> = dataflows::policy::file::records(&file)
            .map(|record| {
                assert_eq!((record.register, record.conflict()), (300, false));
                let mut fields = vec![0; register.packed.len() + more];
                record.unpack(packing, &mut fields);
                assert!(fields.drain(register.packed.len()..).all(|value| value == 0));
                Content {
                    key: record.key(packing),
                    seq: record.seq,
                    deleted: record.deleted(),
                    event_date: record.event_date(),
                    shown: record.shown(),
                    fields: if record.deleted() { Vec::new() } else { fields },
                }
            })
            .collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn two_keys_are_one_identity_if_their_texts_are_equal((register, records) in contents(2), key in key()) {
        let packing = &register.packing;
        let packed: Vec<Vec<u8>> = records.iter().map(|record| record.pack(packing)).collect();
        let (one, other) = (Record::read(&packed[0]), Record::read(&packed[1]));
        let equal = records[0].key == records[1].key;
        prop_assert_eq!(Identity::of(&one, packing).is_of(&other), equal);
        prop_assert_eq!(Identity::of(&other, packing).is_of(&one), equal);
        prop_assert_eq!(Identity::new(300, &records[0].key, packing).is_of(&other), equal);
        prop_assert!(!Identity::new(301, &records[0].key, packing).is_of(&one));
        let file = packed.concat();
        let place = records.iter().position(|record| record.key == key).map(|index| index * packed[0].len());
        prop_assert_eq!(find(&file, &Identity::new(300, &key, packing)).map(|(start, _)| start), place);
    }

    #[test]
    fn versions_are_equal_if_their_content_is((register, mut records) in contents(3), same in any::<bool>()) {
        if same {
            records[1] = records[0].clone();
        }
        let packed: Vec<Vec<u8>> = records.iter().map(|record| record.pack(&register.packing)).collect();
        let versions: Vec<Record<'_>> = packed.iter().map(|bytes| Record::read(bytes)).collect();
        for (one, version) in records.iter().zip(&versions) {
            for (other, another) in records.iter().zip(&versions) {
                let equal = Content { key: String::new(), ..one.clone() } == Content { key: String::new(), ..other.clone() };
                let order = version.compare_version(another);
                prop_assert_eq!(order == Ordering::Equal, equal);
                prop_assert_eq!(order, another.compare_version(version).reverse());
                if one.seq == other.seq && !one.deleted && !other.deleted {
                    prop_assert_eq!(version.fingerprint() == another.fingerprint(), equal);
                }
            }
        }
    }

    #[test]
    fn opaque_confuses_no_two_texts(one in text(), other in text()) {
        prop_assert_eq!(opaque(&one) == opaque(&other), one == other);
        let back = transparent(opaque(&one));
        prop_assert!(back.as_ref().is_none_or(|back| *back == one));
        let of = |allowed: fn(char) -> bool, most: usize| one.len() <= most && one.chars().all(allowed);
        let is_word = of(|letter| letter.is_ascii_digit(), 17)
            || of(|letter| letter.is_ascii_digit() || letter.is_ascii_uppercase() || letter == '-', 11);
        prop_assert_eq!(back.is_some(), is_word);
    }
}
