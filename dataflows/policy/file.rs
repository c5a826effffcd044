//! A person's file: their live records, packed one after another into bytes.
//!
//! A record is
//!
//! ```text
//! register varint | flags u8 | length of the rest varint
//!   | seq varint                 unless flagged as 1
//!   | event date zigzag varint   days since 2015-01-01, if flagged
//!   | length varint, key         unless flagged as told by the fields; a word if flagged, its bytes from the least, else text
//!   | hash of shown fields u32   if flagged: some field is only shown, and the key does not tell it
//!   | absent fields              one bit each, unless flagged as none
//!   | fields zigzag varints      dates as days since the event date, or since 2015-01-01
//! ```
//!
//! Only rule fields are packed: every value is an `i64` (dates as days, booleans as 0 or 1, enumerations as their index,
//! people as their number, opaque texts as [`opaque`]). A key is left out if the register's template makes it of the fields;
//! short ones are a word. Which form a key has follows from key and fields, so equal records are equal bytes. A register's
//! [`Packing`] says what of this its records need.

use super::key::{KeyValues, Template, Word};
pub use super::key::{opaque, transparent};
use super::{FieldType, Register};
use crate::model::{Date, PersonKind};
use std::cmp::Ordering;

/// A field, indicator or slot without a value. Unknown values lie just above it: see [`crate::policy::evaluate`].
pub const ABSENT: i64 = i64::MIN;

/// What dates are counted from: most are near it, so that two bytes hold them.
const EPOCH: Date = Date(16_436);
/// Fields of a register, at most: a bit each.
pub(super) const FIELDS_MAX: usize = 64;

const DELETED: u8 = 1;
const CONFLICT: u8 = 2;
const DATED: u8 = 4;
const FIRST: u8 = 8;
const TOLD: u8 = 16;
const WORD: u8 = 32;
const SHOWN: u8 = 64;
const WHOLE: u8 = 128;

/// How the records of a register are packed.
#[derive(Clone, Debug, Default)]
pub struct Packing {
    pub(super) shape: Shape,
    /// How the fields make the key, if rule fields alone do.
    template: Option<Template>,
    /// Position among all fields of the one, only shown and never absent, that is the key.
    pub named_by: Option<usize>,
}

/// The fields of a register, as far as unpacking needs to know them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    fields: usize,
    /// A bit for each field that holds a date.
    dates: u64,
}

impl Packing {
    /// How a register's records are packed, in a package that names people like this.
    pub fn new(register: &Register, people: PersonKind) -> Packing {
        let fields = || register.packed.iter().map(|&field| &register.fields[field]).take(FIELDS_MAX);
        let is_date = |kind: &FieldType| matches!(kind, FieldType::Date | FieldType::Month);
        let dates = fields().enumerate().filter(|(_, field)| is_date(&field.kind)).fold(0, |dates, (index, _)| dates | 1 << index);
        let name = register.key.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        Packing {
            shape: Shape { fields: fields().count(), dates },
            template: Template::new(register, people),
            named_by: register.fields.iter().position(|field| field.card && !field.optional && Some(field.name.as_str()) == name),
        }
    }

    /// The key that the register's template makes of these fields, if it can.
    pub fn key(&self, fields: &[i64]) -> Option<String> {
        let template = self.template.as_ref()?;
        template.positions().all(|position| fields[position] != ABSENT).then(|| template.text(of(template, fields)))
    }

    /// The values of the fields that a key is made of by the register's template.
    fn values(&self, key: &str) -> Option<KeyValues> {
        self.template.as_ref()?.read(key)
    }

    /// What a key that looks like the register's template says of the packed field at this position.
    pub fn read_key(&self, key: &str, position: usize) -> Option<i64> {
        self.template.as_ref()?.read_one(key, position)
    }

    /// Whether these fields tell the key.
    fn tells(&self, fields: &[i64], key: &str) -> bool {
        self.template.as_ref().is_some_and(|template| fields.len() == self.shape.fields && template.tells(fields, key))
    }
}

/// Those of the fields that make the key.
fn of<'a>(template: &'a Template, fields: &'a [i64]) -> impl Iterator<Item = i64> + 'a {
    template.positions().map(|position| fields[position])
}

/// A record as it is written: everything that version resolution and rules need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord<'a> {
    pub register: u16,
    pub key: &'a str,
    pub seq: u64,
    pub deleted: bool,
    pub event_date: Option<Date>,
    /// Hash over the fields that are only shown; zero where there are none, or the key tells them.
    pub shown: u32,
    /// One value per rule field, [`ABSENT`] where there is none; empty when deleted.
    pub fields: &'a [i64],
}

impl NewRecord<'_> {
    /// Appends the packed record; `packing` is its register's.
    pub fn pack(&self, packing: &Packing, out: &mut Vec<u8>) {
        let key = if packing.tells(self.fields, self.key) { Key::Told } else { Key::written(self.key) };
        let flag = |condition: bool, flag: u8| if condition { flag } else { 0 };
        let flags = flag(self.deleted, DELETED)
            | flag(self.event_date.is_some(), DATED)
            | flag(self.seq == 1, FIRST)
            | flag(key == Key::Told, TOLD)
            | flag(matches!(key, Key::Word(_)), WORD)
            | flag(self.shown != 0, SHOWN)
            | flag(!self.fields.contains(&ABSENT), WHOLE);
        write_varint(out, u64::from(self.register));
        out.push(flags);
        let begin = out.len();
        if self.seq != 1 {
            write_varint(out, self.seq);
        }
        if let Some(date) = self.event_date {
            write_varint(out, zigzag(i64::from(date.0) - i64::from(EPOCH.0)));
        }
        key.write(out);
        if self.shown != 0 {
            out.extend_from_slice(&self.shown.to_le_bytes());
        }
        self.pack_fields(packing.shape, flags & WHOLE != 0, out);
        // How long it is stands before it: mostly a byte.
        let (length, end) = ((out.len() - begin) as u64, out.len());
        write_varint(out, length);
        let written = out.len() - end;
        out[begin..].rotate_right(written);
    }

    fn pack_fields(&self, shape: Shape, whole: bool, out: &mut Vec<u8>) {
        if !whole {
            let absent = self.fields.iter().rev().fold(0_u64, |bits, value| bits << 1 | u64::from(*value == ABSENT));
            out.extend_from_slice(&absent.to_le_bytes()[..self.fields.len().div_ceil(8)]);
        }
        for (index, &value) in self.fields.iter().enumerate().filter(|(_, value)| **value != ABSENT) {
            write_varint(out, zigzag(value.wrapping_sub(shape.base(index, self.event_date))));
        }
    }
}

impl Shape {
    /// How many fields there are.
    pub fn fields(self) -> usize {
        self.fields
    }

    /// What a field's value is counted from.
    fn base(self, field: usize, event_date: Option<Date>) -> i64 {
        let days = i64::from(event_date.unwrap_or(EPOCH).0);
        if self.dates >> field & 1 == 1 { days } else { 0 }
    }
}

/// A key, as a record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key<'a> {
    /// By the fields.
    Told,
    Word(u64),
    Text(&'a [u8]),
}

impl<'a> Key<'a> {
    /// The one form in which a text is written.
    fn written(text: &'a str) -> Self {
        Word::read(text).map_or(Key::Text(text.as_bytes()), |word| Key::Word(word.pack()))
    }

    fn read(flags: u8, bytes: &'a [u8], at: &mut usize) -> Self {
        if flags & TOLD != 0 {
            return Key::Told;
        }
        let length = read_varint(bytes, at) as usize;
        let written = &bytes[*at..*at + length];
        *at += length;
        if flags & WORD == 0 {
            Key::Text(written)
        } else {
            Key::Word(written.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Key::Told => {}
            Key::Word(word) => {
                let length = (u64::BITS - word.leading_zeros()).div_ceil(8);
                write_varint(out, u64::from(length));
                out.extend_from_slice(&word.to_le_bytes()[..length as usize]);
            }
            Key::Text(text) => {
                write_varint(out, text.len() as u64);
                out.extend_from_slice(text);
            }
        }
    }
}

/// A packed record within a file.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The whole record, as packed.
    pub bytes: &'a [u8],
    pub register: u16,
    flags: u8,
    key: Key<'a>,
    pub seq: u64,
    event_date: Option<Date>,
    shown: u32,
    fields: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the head of `bytes`, and what follows it.
    pub fn split(bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        if bytes.is_empty() {
            return None;
        }
        let mut at = 0;
        let Head { register, flags, end } = Head::read(bytes, &mut at);
        let seq = read_seq(flags, bytes, &mut at);
        let event_date = read_event_date(flags, bytes, &mut at);
        let key = Key::read(flags, bytes, &mut at);
        let mut shown = 0;
        if flags & SHOWN != 0 {
            shown = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            at += 4;
        }
        let record = Record { bytes: &bytes[..end], register, flags, key, seq, event_date, shown, fields: &bytes[at..end] };
        Some((record, &bytes[end..]))
    }

    /// The single record that `bytes` hold.
    pub fn read(bytes: &'a [u8]) -> Record<'a> {
        Record::split(bytes).expect("a packed record").0
    }

    /// The record's key within its register (and file); `packing` is its register's, here as everywhere.
    pub fn key(&self, packing: &Packing) -> String {
        match self.key {
            Key::Told => {
                let mut fields = [0; FIELDS_MAX];
                self.unpack(packing, &mut fields);
                packing.key(&fields).expect("packed with a key that the fields tell")
            }
            Key::Word(word) => Word::unpack(word).text(),
            Key::Text(text) => std::str::from_utf8(text).expect("keys are packed from text").to_string(),
        }
    }

    /// Whether this is the tombstone of a deleted record.
    pub fn deleted(&self) -> bool {
        self.flags & DELETED != 0
    }
    /// Whether another content was seen under the same version.
    pub fn conflict(&self) -> bool {
        self.flags & CONFLICT != 0
    }
    pub fn event_date(&self) -> Option<Date> {
        self.event_date
    }
    /// See [`NewRecord::shown`].
    pub fn shown(&self) -> u32 {
        self.shown
    }

    /// A hash over the content: the event date and all fields, shown ones included.
    pub fn fingerprint(&self) -> u32 {
        let date = self.event_date.map_or(i64::MIN, |date| i64::from(date.0));
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&date.to_le_bytes());
        hash.update(&self.shown.to_le_bytes());
        hash.update(&[self.flags & WHOLE]);
        hash.update(self.fields);
        hash.digest() as u32
    }

    /// Whether rules see it on this day: not deleted, and not waiting for its date.
    pub fn effective(&self, today: Date) -> bool {
        !self.deleted() && self.event_date.is_none_or(|date| date <= today)
    }

    /// Unpacks the fields into the front of `out`, as many as it has room for.
    pub fn unpack(&self, packing: &Packing, out: &mut [i64]) {
        let count = packing.shape.fields.min(out.len());
        if self.deleted() {
            out[..count].fill(ABSENT);
        } else {
            unpack(self.fields, self.flags & WHOLE != 0, self.event_date, packing.shape, &mut out[..count]);
        }
    }

    /// Which of two versions of one identity wins: the higher `seq`; then a delete; then the greater content. Equal only for
    /// equal content, so that "the greatest" does not depend on the order of arrival.
    pub fn compare_version(&self, other: &Record<'_>) -> Ordering {
        let version = |record: &Record<'_>| (record.seq, record.deleted(), record.event_date, record.flags & WHOLE, record.shown);
        version(self).cmp(&version(other)).then_with(|| self.fields.cmp(other.fields))
    }
}

/// What every record begins with.
struct Head {
    register: u16,
    flags: u8,
    end: usize,
}

impl Head {
    fn read(bytes: &[u8], at: &mut usize) -> Head {
        let register = read_varint(bytes, at) as u16;
        let flags = bytes[*at];
        *at += 1;
        let length = read_varint(bytes, at) as usize;
        Head { register, flags, end: *at + length }
    }
}

fn read_seq(flags: u8, bytes: &[u8], at: &mut usize) -> u64 {
    if flags & FIRST != 0 { 1 } else { read_varint(bytes, at) }
}

fn read_event_date(flags: u8, bytes: &[u8], at: &mut usize) -> Option<Date> {
    (flags & DATED != 0).then(|| Date((unzigzag(read_varint(bytes, at)) + i64::from(EPOCH.0)) as i32))
}

/// What rules read of a record, by offsets into the file that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    pub register: u16,
    flags: u8,
    pub event_date: Option<Date>,
    /// Where the record begins.
    pub start: u32,
    /// Where its packed fields begin.
    fields: u32,
}

impl Brief {
    pub fn deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// See [`Record::conflict`].
    pub fn conflict(&self) -> bool {
        self.flags & CONFLICT != 0
    }

    /// Reads what follows a head.
    fn read(file: &[u8], at: &mut usize, (register, flags, start): (u16, u8, u32)) -> Brief {
        read_seq(flags, file, at);
        let event_date = read_event_date(flags, file, at);
        if flags & TOLD == 0 {
            let length = read_varint(file, at) as usize;
            *at += length;
        }
        let fields = (*at + if flags & SHOWN != 0 { 4 } else { 0 }) as u32;
        Brief { register, flags, event_date, start, fields }
    }

    /// The same record where its file has so many bytes more before it.
    pub(super) fn moved(self, by: u32) -> Brief {
        Brief { start: self.start.wrapping_add(by), fields: self.fields.wrapping_add(by), ..self }
    }

    /// Unpacks the fields of a record that is not deleted into the front of `out`; `file` is the one it was read of.
    pub(super) fn unpack(&self, file: &[u8], shape: Shape, out: &mut [i64]) {
        unpack(&file[self.fields as usize..], self.flags & WHOLE != 0, self.event_date, shape, &mut out[..shape.fields]);
    }
}

/// The records of some registers of a file, without their keys; of the others no more is read than how long they are.
pub fn briefs_of<'a>(file: &'a [u8], wanted: impl Fn(u16) -> bool + 'a) -> impl Iterator<Item = Brief> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < file.len() {
            let start = at as u32;
            let Head { register, flags, end } = Head::read(file, &mut at);
            if wanted(register) {
                let brief = Brief::read(file, &mut at, (register, flags, start));
                at = end;
                return Some(brief);
            }
            at = end;
        }
        None
    })
}

/// The register of each record of a file.
pub fn registers_of(file: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = (at < file.len()).then(|| Head::read(file, &mut at))?;
        at = head.end;
        Some(head.register)
    })
}

fn unpack(bytes: &[u8], whole: bool, event_date: Option<Date>, shape: Shape, out: &mut [i64]) {
    let (mut at, mut absent) = (0, 0);
    if !whole {
        at = shape.fields.div_ceil(8);
        absent = bytes[..at].iter().rev().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    }
    for (index, value) in out.iter_mut().enumerate() {
        *value = if absent >> index & 1 == 1 {
            ABSENT
        } else {
            unzigzag(read_varint(bytes, &mut at)).wrapping_add(shape.base(index, event_date))
        };
    }
}

/// Marks or unmarks a packed record as one whose winning version is disputed.
pub fn set_conflict(record: &mut [u8], conflict: bool) {
    let mut at = 0;
    read_varint(record, &mut at);
    record[at] = if conflict { record[at] | CONFLICT } else { record[at] & !CONFLICT };
}

/// The records of a file, in the order in which they are kept.
pub fn records(file: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = file;
    std::iter::from_fn(move || {
        let (record, following) = Record::split(rest)?;
        rest = following;
        Some(record)
    })
}

/// Which record is meant: its register and its key, however a record has it.
pub struct Identity<'a> {
    register: u16,
    packing: &'a Packing,
    /// `None`: told by the values.
    written: Option<Key<'a>>,
    /// The values that the key is made of, if the register's template makes it.
    values: Option<KeyValues>,
}

impl<'a> Identity<'a> {
    /// The record of this key; `packing` is its register's.
    pub fn new(register: u16, key: &'a str, packing: &'a Packing) -> Self {
        Identity { register, packing, written: Some(Key::written(key)), values: packing.values(key) }
    }

    /// The identity of a record.
    pub fn of(record: &Record<'a>, packing: &'a Packing) -> Self {
        let Some(template) = packing.template.as_ref().filter(|_| record.key == Key::Told) else {
            let values = packing.template.as_ref().and_then(|template| template.read(&record.key(packing)));
            return Identity { register: record.register, packing, written: Some(record.key), values };
        };
        Identity { register: record.register, packing, written: None, values: Some(values_of(record, packing, template)) }
    }

    /// Whether a record has this identity: the same register, and a key of the same text.
    pub fn is_of(&self, record: &Record<'_>) -> bool {
        record.register == self.register
            && match (record.key, self.written) {
                (Key::Told, _) => self.values.is_some_and(|values| {
                    self.packing.template.as_ref().is_some_and(|template| values_of(record, self.packing, template) == values)
                }),
                (key, Some(written)) => key == written,
                (_, None) => self.values == self.packing.values(&record.key(self.packing)),
            }
    }
}

/// The values of the fields that make a record's key by the template.
fn values_of(record: &Record<'_>, packing: &Packing, template: &Template) -> KeyValues {
    let mut fields = [0; FIELDS_MAX];
    record.unpack(packing, &mut fields[..template.reach()]);
    KeyValues::of(of(template, &fields))
}

/// Where a file holds the record of an identity: looks at no more of the others than it must.
pub fn find<'a>(file: &'a [u8], identity: &Identity<'_>) -> Option<(usize, Record<'a>)> {
    let mut start = 0;
    while start < file.len() {
        let mut at = start;
        let Head { register, end, .. } = Head::read(file, &mut at);
        if register == identity.register {
            let record = Record::read(&file[start..end]);
            if identity.is_of(&record) {
                return Some((start, record));
            }
        }
        start = end;
    }
    None
}

pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}
