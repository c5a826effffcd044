//! A person's file: their live records, packed one after another into bytes.
//!
//! A record is
//!
//! ```text
//! register varint | flags u8 | length of the rest varint | key length varint, key | seq varint
//!   | event date zigzag varint, if flagged | fingerprint u32 | null bitmap | fields, zigzag varints
//! ```
//!
//! Only rule fields are packed: every value is an `i64` (dates as days, booleans as 0 or 1, enumerations as their index,
//! people as their number, opaque texts as a hash). The fingerprint is a hash over all fields, shown ones included; it tells
//! versions of the same `seq` apart.

use crate::model::Date;
use std::cmp::Ordering;

/// A field, indicator or slot without a value. Unknown values lie just above it: see [`crate::policy::evaluate`].
pub const ABSENT: i64 = i64::MIN;

const DELETED: u8 = 1;
const CONFLICT: u8 = 2;
const DATED: u8 = 4;

/// A record as it is written: everything that version resolution and rules need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord<'a> {
    pub register: u16,
    pub key: &'a str,
    pub seq: u64,
    pub deleted: bool,
    pub event_date: Option<Date>,
    /// Hash over the canonical form of all fields.
    pub fingerprint: u32,
    /// One value per rule field, [`ABSENT`] where there is none; empty when deleted.
    pub fields: &'a [i64],
}

impl NewRecord<'_> {
    /// Appends the packed record.
    pub fn pack(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(self.key.len() + 16 + 3 * self.fields.len());
        write_varint(&mut body, self.key.len() as u64);
        body.extend_from_slice(self.key.as_bytes());
        write_varint(&mut body, self.seq);
        if let Some(date) = self.event_date {
            write_varint(&mut body, zigzag(i64::from(date.0)));
        }
        body.extend_from_slice(&self.fingerprint.to_le_bytes());
        let bitmap = body.len();
        body.resize(bitmap + self.fields.len().div_ceil(8), 0);
        for (index, &value) in self.fields.iter().enumerate() {
            if value == ABSENT {
                body[bitmap + index / 8] |= 1 << (index % 8);
            } else {
                write_varint(&mut body, zigzag(value));
            }
        }
        write_varint(out, u64::from(self.register));
        out.push(if self.deleted { DELETED } else { 0 } | if self.event_date.is_some() { DATED } else { 0 });
        write_varint(out, body.len() as u64);
        out.extend_from_slice(&body);
    }
}

/// A packed record within a file.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The whole record, as packed.
    pub bytes: &'a [u8],
    pub register: u16,
    flags: u8,
    key: &'a [u8],
    pub seq: u64,
    event_date: Option<Date>,
    fingerprint: u32,
    fields: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the head of `bytes`, and what follows it.
    pub fn split(bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        if bytes.is_empty() {
            return None;
        }
        let mut at = 0;
        let register = read_varint(bytes, &mut at) as u16;
        let flags = bytes[at];
        at += 1;
        let length = read_varint(bytes, &mut at) as usize;
        let end = at + length;
        let key_length = read_varint(bytes, &mut at) as usize;
        let key = &bytes[at..at + key_length];
        at += key_length;
        let seq = read_varint(bytes, &mut at);
        let event_date = (flags & DATED != 0).then(|| Date(unzigzag(read_varint(bytes, &mut at)) as i32));
        let fingerprint = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let record = Record { bytes: &bytes[..end], register, flags, key, seq, event_date, fingerprint, fields: &bytes[at + 4..end] };
        Some((record, &bytes[end..]))
    }

    /// The single record that `bytes` hold.
    pub fn read(bytes: &'a [u8]) -> Record<'a> {
        Record::split(bytes).expect("a packed record").0
    }

    /// The record's key within its register (and file).
    pub fn key(&self) -> &'a str {
        std::str::from_utf8(self.key).expect("keys are packed from text")
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
    /// The hash over all fields, shown ones included.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// Whether rules see it on this day: not deleted, and not waiting for its date.
    pub fn effective(&self, today: Date) -> bool {
        !self.deleted() && self.event_date.is_none_or(|date| date <= today)
    }

    /// Unpacks `count` fields into the front of `out`.
    pub fn unpack(&self, count: usize, out: &mut [i64]) {
        if self.deleted() {
            out[..count].fill(ABSENT);
        } else {
            unpack(self.fields, count, out);
        }
    }

    /// Which of two versions of one identity wins: the higher `seq`; then a delete; then the greater content. Equal only for
    /// equal content, so that "the greatest" does not depend on the order of arrival.
    pub fn compare_version(&self, other: &Record<'_>) -> Ordering {
        (self.seq, self.deleted(), self.event_date, self.fields, self.fingerprint).cmp(&(
            other.seq,
            other.deleted(),
            other.event_date,
            other.fields,
            other.fingerprint,
        ))
    }
}

/// What rules read of a record, by offsets into the file that holds it.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    pub register: u16,
    pub deleted: bool,
    pub event_date: Option<Date>,
    /// Where the record begins.
    pub start: u32,
    /// Where its packed fields begin.
    pub fields: u32,
}

/// The records of a file, without their keys.
pub fn briefs(file: &[u8]) -> impl Iterator<Item = Brief> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == file.len() {
            return None;
        }
        let start = at as u32;
        let register = read_varint(file, &mut at) as u16;
        let flags = file[at];
        at += 1;
        let length = read_varint(file, &mut at) as usize;
        let end = at + length;
        let key_length = read_varint(file, &mut at) as usize;
        at += key_length;
        read_varint(file, &mut at);
        let event_date = (flags & DATED != 0).then(|| Date(unzigzag(read_varint(file, &mut at)) as i32));
        let fields = at as u32 + 4;
        at = end;
        Some(Brief { register, deleted: flags & DELETED != 0, event_date, start, fields })
    })
}

/// Unpacks `count` fields from where they begin into the front of `out`.
pub fn unpack(fields: &[u8], count: usize, out: &mut [i64]) {
    let mut at = count.div_ceil(8);
    for (index, value) in out[..count].iter_mut().enumerate() {
        let absent = fields[index / 8] & (1 << (index % 8)) != 0;
        *value = if absent { ABSENT } else { unzigzag(read_varint(fields, &mut at)) };
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

/// Where a file holds the record of an identity: looks at no more of the others than it must.
pub fn find<'a>(file: &'a [u8], register: u16, key: &str) -> Option<(usize, Record<'a>)> {
    let mut start = 0;
    while start < file.len() {
        let mut at = start;
        let other = read_varint(file, &mut at);
        at += 1;
        let length = read_varint(file, &mut at) as usize;
        let end = at + length;
        if other == u64::from(register) {
            let key_length = read_varint(file, &mut at) as usize;
            if &file[at..at + key_length] == key.as_bytes() {
                return Some((start, Record::read(&file[start..end])));
            }
        }
        start = end;
    }
    None
}

/// An opaque text (an address code, an employer's number) as a non-negative number that is equal when the text is.
pub fn opaque(text: &str) -> i64 {
    (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) >> 2) as i64
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
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
