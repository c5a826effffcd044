//! What an epoch says: records with all their fields, dates, heartbeats, and what the pipeline itself did and heard.
//!
//! Entries know nothing of a policy: registers and fields are numbers of the segment's [`Dictionary`], people are numbers, and texts are
//! whole. So a journal can be read under any later policy; under the one it was written with that takes no parsing.

use dataflows::model::Date;
use dataflows::policy::FieldType;
use dataflows::policy::file::{read_varint, unzigzag, write_varint, zigzag};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What the numbers in a segment mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dictionary {
    /// The fingerprint of the package that they are of.
    pub package: String,
    /// How people are named.
    pub person: String,
    pub registers: Vec<RegisterWords>,
}

/// A register as it was when a segment began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterWords {
    pub id: String,
    pub fields: Vec<FieldWords>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldWords {
    pub name: String,
    /// As a package writes it.
    #[serde(rename = "type")]
    pub kind: String,
}

impl FieldWords {
    /// A field's type as a package writes it.
    pub fn kind_of(kind: &FieldType) -> String {
        match kind {
            FieldType::Person => "person".to_owned(),
            FieldType::Date => "date".to_owned(),
            FieldType::Month => "month".to_owned(),
            FieldType::Int => "int".to_owned(),
            FieldType::Money => "money".to_owned(),
            FieldType::Bool => "bool".to_owned(),
            FieldType::Enum(words) => format!("enum({})", words.join("|")),
            FieldType::Id => "id".to_owned(),
            FieldType::Text => "text".to_owned(),
        }
    }
}

/// A record as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written<'a> {
    pub register: u16,
    /// Zero if the register's records are nobody's alone.
    pub person: u64,
    pub key: &'a str,
    pub seq: u64,
    pub deleted: bool,
    pub event_date: Option<Date>,
    pub heard: Date,
    /// See [`values`].
    pub fields: &'a [u8],
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A date as its day, a word as its position, a person, a number, or 0 or 1.
    Number(i64),
    /// Of a text or an id.
    Text(&'a str),
}

/// One thing that an epoch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    Record(Written<'a>),
    Calendar(Date),
    Heartbeat {
        register: u16,
        date: Date,
    },
    /// A line that was refused, kept whole.
    Refused {
        feed: &'a str,
        line: u64,
        field: &'a str,
        reason: &'a str,
        raw: &'a [u8],
    },
    Own(Own),
}

/// What the pipeline did and heard: registers `shanyraq.*`, which no rule reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own {
    /// From the next epoch on people are written to.
    Live,
    /// These texts are about to be handed to the network.
    Intents(Vec<u128>),
    /// A text is to be handed over again: it is known that it was not taken, or its benefit is one of which it is better to be told twice.
    Again { message: u128 },
    /// Nobody is to be written to at this number, or again.
    Blocked { phone: u64, blocked: bool },
    /// These rights of the baseline are written about from now on.
    Released { rights: Vec<ReleasedRight> },
    /// Whether a text arrived.
    Receipt { message: u128, delivered: bool },
    /// A message centre has taken all parts of a text: its names for them.
    Taken { message: u128, names: Vec<String> },
    /// Whether a text was taken nobody knows.
    Uncertain { message: u128 },
    /// Whether a part of a text arrived at this number, by the centre's name for it; `reference` is ours for the text, if it was given back.
    Delivery { name: String, reference: Option<u16>, phone: u64, delivered: bool },
    /// What somebody wrote back; `id` is the network's.
    /// `at`: when it came, in seconds since the beginning of 1970; those of old have none.
    Reply {
        id: u128,
        phone: u64,
        text: String,
        #[serde(default)]
        at: Option<u64>,
    },
    /// Nothing of this is taken in or handed over, or it is again.
    Paused { what: Pausable, paused: bool },
    /// This package is in force from the first later epoch on whose date is not before this one.
    Activated { package: String, from: Date },
    /// These rows of the quarantine need nobody's attention any more.
    Settled { rows: Vec<u64>, how: Settlement },
}

/// A right by the names that it has outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReleasedRight {
    pub person: String,
    pub benefit: String,
    pub ground: String,
    /// Empty where the right has none.
    pub period: String,
}

impl Own {
    /// A reply that comes now.
    pub fn reply(id: u128, phone: u64, text: String) -> Own {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|time| time.as_secs());
        Own::Reply { id, phone, text, at }
    }
}

/// What an operator may pause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pausable {
    /// Whoever sends under this name is asked to come again.
    Feed(String),
    /// Texts about this benefit wait.
    Benefit(String),
    /// Texts of this kind wait.
    Template(String),
}

impl Pausable {
    pub fn name(&self) -> &str {
        let (Pausable::Feed(name) | Pausable::Benefit(name) | Pausable::Template(name)) = self;
        name
    }
}

/// What became of refused lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// They were sent once more.
    Retried,
    Discarded,
}

impl Settlement {
    pub fn name(self) -> &'static str {
        match self {
            Settlement::Retried => "retried",
            Settlement::Discarded => "discarded",
        }
    }
}

const RECORD: u8 = 1;
const DELETED: u8 = 2;
const CALENDAR: u8 = 3;
const HEARTBEAT: u8 = 4;
const OWN: u8 = 5;
const REFUSED: u8 = 6;

/// Appends the value of a field.
pub fn write_value(out: &mut Vec<u8>, field: usize, value: Value<'_>) {
    match value {
        Value::Number(number) => {
            write_varint(out, (field as u64) << 1);
            write_varint(out, zigzag(number));
        }
        Value::Text(text) => {
            write_varint(out, (field as u64) << 1 | 1);
            write_bytes(out, text.as_bytes());
        }
    }
}

impl Entry<'_> {
    /// Appends the entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Record(record) => record.write(out),
            Entry::Calendar(date) => {
                out.push(CALENDAR);
                write_date(out, *date);
            }
            Entry::Heartbeat { register, date } => {
                out.push(HEARTBEAT);
                write_varint(out, u64::from(*register));
                write_date(out, *date);
            }
            Entry::Refused { feed, line, field, reason, raw } => {
                out.push(REFUSED);
                write_varint(out, *line);
                [feed.as_bytes(), field.as_bytes(), reason.as_bytes(), raw].into_iter().for_each(|bytes| write_bytes(out, bytes));
            }
            Entry::Own(own) => {
                out.push(OWN);
                write_bytes(out, &serde_json::to_vec(own).expect("all of it is JSON"));
            }
        }
    }
}

impl Written<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(if self.deleted { DELETED } else { RECORD });
        write_varint(out, u64::from(self.register));
        write_varint(out, self.person);
        write_bytes(out, self.key.as_bytes());
        write_varint(out, self.seq);
        // No date is zero, the first day one: days are counted from 1 up.
        write_varint(out, self.event_date.map_or(0, |date| zigzag(i64::from(date.0)) + 1));
        write_date(out, self.heard);
        write_bytes(out, self.fields);
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_date(out: &mut Vec<u8>, date: Date) {
    write_varint(out, zigzag(i64::from(date.0)));
}

/// The entries of an epoch, in order. Their bytes were checked by their frame; what this program did not write is a reason to stop.
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The entries that these bytes hold.
pub fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries { bytes, at: 0 }
}

/// These bytes in stretches of about so many, each of whole entries.
pub fn stretches(bytes: &[u8], about: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut reading = entries(rest);
        let is_short = rest.len() <= about;
        while !is_short && reading.read() < about && reading.next().is_some() {}
        let (stretch, others) = rest.split_at(if is_short { rest.len() } else { reading.read() });
        rest = others;
        (!stretch.is_empty()).then_some(stretch)
    })
}

impl<'a> Entries<'a> {
    /// How many bytes are read so far.
    pub fn read(&self) -> usize {
        self.at
    }

    fn number(&mut self) -> u64 {
        read_varint(self.bytes, &mut self.at)
    }

    fn date(&mut self) -> Date {
        Date(unzigzag(self.number()) as i32)
    }

    fn slice(&mut self) -> &'a [u8] {
        let length = self.number() as usize;
        let slice = &self.bytes[self.at..self.at + length];
        self.at += length;
        slice
    }

    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.slice()).expect("texts are written from texts")
    }

    fn record(&mut self, deleted: bool) -> Written<'a> {
        let (register, person, key, seq) = (self.number() as u16, self.number(), self.text(), self.number());
        let event_date = self.number().checked_sub(1).map(|day| Date(unzigzag(day) as i32));
        Written { register, person, key, seq, deleted, event_date, heard: self.date(), fields: self.slice() }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let tag = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(match tag {
            RECORD | DELETED => Entry::Record(self.record(tag == DELETED)),
            CALENDAR => Entry::Calendar(self.date()),
            HEARTBEAT => Entry::Heartbeat { register: self.number() as u16, date: self.date() },
            REFUSED => {
                let line = self.number();
                Entry::Refused { line, feed: self.text(), field: self.text(), reason: self.text(), raw: self.slice() }
            }
            OWN => Entry::Own(serde_json::from_slice(self.slice()).expect("an entry of a known kind")),
            other => panic!("an entry of kind {other} in a frame that checks"),
        })
    }
}

/// Fields and their values, as [`write_value`] wrote them.
pub fn values(fields: &[u8]) -> impl Iterator<Item = (usize, Value<'_>)> {
    let mut rest = entries(fields);
    std::iter::from_fn(move || {
        (rest.at < rest.bytes.len()).then(|| {
            let head = rest.number();
            let value = if head & 1 == 1 { Value::Text(rest.text()) } else { Value::Number(unzigzag(rest.number())) };
            ((head >> 1) as usize, value)
        })
    })
}
