//! The door: one line in, one packed record or one clear reason out.
//!
//! Everything that a line alone can prove wrong is refused here, with the name of the field and the reason. What takes other
//! records to know (nobody has this id, the event lies after today) is the house's business.

mod envelope;
mod scalar;
mod translation;

pub(crate) use envelope::Envelope;
pub use scalar::NUMBER_MAX;
pub(crate) use scalar::{Scalar, shown};
pub use translation::Translation;

use crate::journal::entries::{self, Dictionary, Entry, FieldWords, RegisterWords, Value, Written, write_value};
use crate::packages;
use dataflows::model::{Date, PersonId, PersonKind, Update};
use dataflows::policy::file::{ABSENT, NewRecord, opaque};
use dataflows::policy::{self, Field, FieldType, Policy, Register, TieKind, nearest};
use hashbrown::HashMap;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The longest line that is read: some thousand times an ordinary record.
pub const LINE_MAX_BYTES: usize = 1 << 20;
/// The longest key of a record: it is kept in memory as long as the record lives.
pub const KEY_MAX_BYTES: usize = 256;

/// The relation that the house makes by itself: no feed may write it.
const BUILT_IN: &str = "kin";

/// What intake needs of a policy.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The fingerprint of the package.
    pub package: String,
    pub person: PersonKind,
    pub registers: Vec<Register>,
    /// Where people's telephone numbers and languages are.
    pub contact: Option<policy::Contact>,
}

impl From<&Policy> for Schema {
    fn from(policy: &Policy) -> Self {
        Schema {
            package: packages::fingerprint(policy),
            person: policy.person,
            registers: policy.registers.clone(),
            contact: policy.contact.clone(),
        }
    }
}

impl Schema {
    /// What the journal needs to know of it.
    pub fn dictionary(&self) -> Dictionary {
        let field = |field: &Field| FieldWords { name: field.name.clone(), kind: FieldWords::kind_of(&field.kind) };
        let register = |register: &Register| RegisterWords { id: register.id.clone(), fields: register.fields.iter().map(field).collect() };
        let person = match self.person {
            PersonKind::Iin => "iin",
            PersonKind::Integer => "integer",
        };
        Dictionary { package: self.package.clone(), person: person.to_owned(), registers: self.registers.iter().map(register).collect() }
    }

    /// The index of a register that feeds may write.
    pub fn register(&self, id: &str) -> Option<u16> {
        let index = self.registers.iter().position(|register| register.id == id && id != BUILT_IN)?;
        u16::try_from(index).ok()
    }
}

/// A line that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub item: Item,
    pub contact: Option<Contact>,
}

/// What an accepted line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Update(Update),
    Calendar(Date),
    Heartbeat { register: u16, date: Date },
}

/// How to reach a person; both texts are empty once the record is deleted. The highest `seq` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub person: PersonId,
    pub seq: u64,
    pub phone: String,
    pub language: String,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The member or field concerned; empty when it is the whole line.
    pub field: String,
    pub reason: String,
}

impl Rejection {
    pub(crate) fn new(field: &str, reason: &str) -> Self {
        Rejection { field: field.to_owned(), reason: reason.to_owned() }
    }
}

/// The fields of a record on its way into the house.
pub(crate) enum Data<'a, 'b> {
    Json(Option<&'a RawValue>),
    /// Positions among the register's fields, and their values.
    Cells(&'b [(usize, Scalar<'a>)]),
    /// As the journal has them, and what its fields are now.
    Written(&'a [u8], &'b translation::Fields),
}

/// Checks lines against a schema. It keeps its buffers, so each thread has its own.
pub struct Intake {
    schema: Arc<Schema>,
    targets: HashMap<Box<str>, Target>,
    layouts: Vec<Layout>,
    sheet: Sheet,
    /// Everything accepted, as the journal writes it, if it is to be written.
    journal: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Target {
    Record(u16),
    Calendar,
    Heartbeat,
}

/// What a register's records need besides its fields; positions among all fields.
struct Layout {
    /// The field that holds whom the record is about.
    owner: Option<usize>,
    phone: Option<usize>,
    language: Option<usize>,
}

/// The record being read: one number per declared field.
#[derive(Default)]
struct Sheet {
    numbers: Vec<i64>,
    given: Vec<bool>,
    packed: Vec<i64>,
    bytes: Vec<u8>,
    /// The fields given, as the journal writes them.
    written: Vec<u8>,
    phone: String,
    language: String,
}

/// The checked envelope of a record.
struct Head<'a> {
    register: u16,
    key: &'a str,
    seq: u64,
    deleted: bool,
    event_date: Option<Date>,
    heard: Date,
    person: PersonId,
}

impl Intake {
    pub fn new(schema: Arc<Schema>) -> Self {
        let records = (0_u16..).zip(&schema.registers).filter(|(_, register)| register.id != BUILT_IN);
        let mut targets: HashMap<Box<str>, Target> =
            records.map(|(index, register)| (Box::from(register.id.as_str()), Target::Record(index))).collect();
        targets.insert(Box::from("calendar"), Target::Calendar);
        targets.insert(Box::from("heartbeat"), Target::Heartbeat);
        let layouts = (0_u16..).zip(&schema.registers).map(|(index, register)| Layout::new(&schema, index, register)).collect();
        Intake { schema, targets, layouts, sheet: Sheet::default(), journal: None }
    }

    /// One that also writes down what it accepts.
    pub fn journalling(schema: Arc<Schema>) -> Self {
        Intake { journal: Some(Vec::new()), ..Intake::new(schema) }
    }

    /// What was accepted since it was last asked, as the journal writes it.
    pub fn take_entries(&mut self) -> Vec<u8> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Reads what the journal has. What a later policy has no use for is rejected.
    pub fn restore(&mut self, entry: &Written<'_>, translation: &Translation) -> Result<Decoded, Rejection> {
        let Written { register, person, key, seq, deleted, event_date, heard, fields } = *entry;
        let (register, names) = translation.of(register)?;
        self.record(&Head { register, key, seq, deleted, event_date, heard, person }, Data::Written(fields, names), "")
    }

    /// The schema that lines are checked against.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Reads one line of NDJSON.
    pub fn decode(&mut self, line: &[u8]) -> Result<Decoded, Rejection> {
        if line.len() > LINE_MAX_BYTES {
            return Err(Rejection::new("", &format!("longer than {LINE_MAX_BYTES} bytes")));
        }
        let text = std::str::from_utf8(line)
            .map_err(|error| Rejection::new("", &format!("not UTF-8 from byte {} on", error.valid_up_to() + 1)))?;
        let line: envelope::Line<'_> = serde_json::from_str(text).map_err(|error| broken(&error, 0))?;
        match line.rejected {
            Some(rejection) => Err(rejection),
            None => self.check(&line.envelope, Data::Json(line.data), text),
        }
    }

    /// Reads what a mapping made of a row of a table.
    pub(crate) fn decode_cells(&mut self, envelope: &Envelope<'_>, cells: &[(usize, Scalar<'_>)]) -> Result<Decoded, Rejection> {
        self.check(envelope, Data::Cells(cells), "")
    }

    fn check(&mut self, envelope: &Envelope<'_>, data: Data<'_, '_>, text: &str) -> Result<Decoded, Rejection> {
        let register = required_text("register", &envelope.register)?;
        match self.targets.get(register) {
            Some(&Target::Record(index)) => {
                let head = head(index, &self.schema.registers[usize::from(index)], self.schema.person, envelope)?;
                self.record(&head, data, text)
            }
            Some(Target::Calendar) => self.calendar(envelope, &data),
            Some(Target::Heartbeat) => self.heartbeat(envelope, &data),
            None => Err(self.unknown_register("register", register)),
        }
    }

    fn unknown_register(&self, field: &str, id: &str) -> Rejection {
        let hint = did_you_mean(id, self.targets.keys().map(|known| &**known));
        Rejection::new(field, &format!("unknown register `{}`{hint}", shown(id)))
    }

    fn calendar(&mut self, envelope: &Envelope<'_>, data: &Data<'_, '_>) -> Result<Decoded, Rejection> {
        if required_text("key", &envelope.key)? != "today" {
            return Err(Rejection::new("key", "must be \"today\" in a calendar record"));
        }
        let date = announced_date(envelope, data)?;
        self.write(&Entry::Calendar(date));
        Ok(Decoded { item: Item::Calendar(date), contact: None })
    }

    fn write(&mut self, entry: &Entry<'_>) {
        if let Some(journal) = &mut self.journal {
            entry.write(journal);
        }
    }

    fn heartbeat(&mut self, envelope: &Envelope<'_>, data: &Data<'_, '_>) -> Result<Decoded, Rejection> {
        let id = required_text("key", &envelope.key)?;
        let Some(&Target::Record(register)) = self.targets.get(id) else {
            return Err(self.unknown_register("key", id));
        };
        let date = announced_date(envelope, data)?;
        self.write(&Entry::Heartbeat { register, date });
        Ok(Decoded { item: Item::Heartbeat { register, date }, contact: None })
    }

    fn record(&mut self, head: &Head<'_>, data: Data<'_, '_>, text: &str) -> Result<Decoded, Rejection> {
        let Intake { schema, layouts, sheet, journal, .. } = self;
        let (register, layout) = (&schema.registers[usize::from(head.register)], &layouts[usize::from(head.register)]);
        sheet.clear(register);
        let mut shown = 0;
        if !head.deleted {
            sheet.fill(register, layout, schema.person, data, text)?;
            sheet.settle(register, layout, head.person)?;
            shown = sheet.shown(register, head.key);
        }
        let contact = layout.phone.map(|_| Contact {
            person: head.person,
            seq: head.seq,
            phone: std::mem::take(&mut sheet.phone),
            language: std::mem::take(&mut sheet.language),
        });
        let record = sheet.pack(register, head, shown);
        let update = Update { person: head.person, register: head.register, heard: head.heard, record };
        if let Some(journal) = journal {
            let Head { register, key, seq, deleted, event_date, heard, person } = *head;
            Entry::Record(Written { register, person, key, seq, deleted, event_date, heard, fields: &sheet.written }).write(journal);
        }
        Ok(Decoded { item: Item::Update(update), contact })
    }
}

impl Layout {
    fn new(schema: &Schema, index: u16, register: &Register) -> Self {
        let position = |name: &str| register.fields.iter().position(|field| field.name == name);
        let contact = schema.contact.as_ref().filter(|contact| contact.register == index);
        let is_owner = |field: &usize| register.fields[*field].kind == FieldType::Person && register.packed.contains(field);
        Layout {
            owner: position("person").filter(|field| !register.global && is_owner(field)),
            phone: contact.and_then(|contact| position(&contact.phone)),
            language: contact.and_then(|contact| position(&contact.language)),
        }
    }
}

impl Sheet {
    fn clear(&mut self, register: &Register) {
        let fields = register.fields.len();
        self.numbers.clear();
        self.numbers.resize(fields, ABSENT);
        self.given.clear();
        self.given.resize(fields, false);
        self.packed.clear();
        self.written.clear();
        self.phone.clear();
        self.language.clear();
    }

    /// Reads the fields given.
    fn fill(&mut self, register: &Register, layout: &Layout, people: PersonKind, data: Data<'_, '_>, text: &str) -> Result<(), Rejection> {
        match data {
            Data::Cells(cells) => {
                cells.iter().try_for_each(|(position, value)| self.set(*position, &register.fields[*position], layout, people, value))
            }
            Data::Written(fields, names) => entries::values(fields).try_for_each(|(position, value)| match names.of(position) {
                Some(translation::Field::Same(position)) => {
                    self.keep(*position, layout, value);
                    Ok(())
                }
                Some(translation::Field::Other(position, words)) => {
                    self.set(*position, &register.fields[*position], layout, people, &words.scalar(value, people))
                }
                None => Ok(()),
            }),
            Data::Json(None) => Ok(()),
            Data::Json(Some(data)) => {
                let take = |position: usize, value: &Scalar<'_>| self.set(position, &register.fields[position], layout, people, value);
                let mut reader = serde_json::Deserializer::from_str(data.get());
                let offset = data.get().as_ptr() as usize - text.as_ptr() as usize;
                let members = envelope::Members { fields: &register.fields, take };
                members.deserialize(&mut reader).map_err(|error| Rejection { field: "data".to_owned(), ..broken(&error, offset) })?
            }
        }
    }

    fn set(&mut self, position: usize, field: &Field, layout: &Layout, people: PersonKind, value: &Scalar<'_>) -> Result<(), Rejection> {
        if std::mem::replace(&mut self.given[position], true) {
            return Err(Rejection::new(&field.name, "given twice"));
        }
        if layout.owner == Some(position) {
            return Err(Rejection::new(&field.name, "is said beside `data`, not within it"));
        }
        if let Scalar::Null = value {
            return Ok(());
        }
        let number = scalar::number(field, value, people).map_err(|reason| Rejection::new(&field.name, &reason))?;
        match value {
            Scalar::Text(text) if matches!(field.kind, FieldType::Id | FieldType::Text) => self.keep(position, layout, Value::Text(text)),
            _ => self.keep(position, layout, Value::Number(number)),
        }
        Ok(())
    }

    /// Keeps a value that is known to fit its field.
    fn keep(&mut self, position: usize, layout: &Layout, value: Value<'_>) {
        write_value(&mut self.written, position, value);
        self.numbers[position] = match value {
            Value::Number(number) => number,
            Value::Text(text) => opaque(text),
        };
        if let Value::Text(text) = value {
            if layout.phone == Some(position) {
                self.phone.push_str(text);
            } else if layout.language == Some(position) {
                self.language.push_str(text);
            }
        }
    }

    /// Adds whom the record is about, and checks the record as a whole.
    fn settle(&mut self, register: &Register, layout: &Layout, person: PersonId) -> Result<(), Rejection> {
        if let Some(owner) = layout.owner {
            self.numbers[owner] = person as i64;
        }
        if let Some((_, field)) = self.numbers.iter().zip(&register.fields).find(|(number, field)| **number == ABSENT && !field.optional) {
            return Err(Rejection::new(&field.name, "missing"));
        }
        self.packed.extend(register.packed.iter().map(|&field| self.numbers[field]));
        for tie in register.ties.iter().filter(|tie| !matches!(tie.kind, TieKind::Address | TieKind::Away)) {
            let number = |position: Option<usize>| position.map_or(person as i64, |position| self.packed[position]);
            let (first, second) = (number(tie.first), number(tie.second));
            if first == second && first != ABSENT {
                let named = tie.second.or(tie.first).map_or("person", |position| &register.fields[register.packed[position]].name);
                return Err(Rejection::new(named, "ties a person to themselves"));
            }
        }
        if let Some(alias) = register.alias.as_ref().filter(|alias| self.packed[alias.given_up] == self.packed[alias.kept])
            && self.packed[alias.kept] != ABSENT
        {
            let field = &register.fields[register.packed[alias.given_up]].name;
            return Err(Rejection::new(field, "cannot be given up for itself"));
        }
        Ok(())
    }

    /// A hash over the fields that are only shown, in the order of their declaration; zero if the key says everything.
    fn shown(&mut self, register: &Register, key: &str) -> u32 {
        self.bytes.clear();
        let is_key = |position: usize| register.packing.named_by == Some(position) && self.numbers[position] == opaque(key);
        for (position, _) in register.fields.iter().enumerate().filter(|(_, field)| field.card) {
            if self.numbers[position] != ABSENT && !is_key(position) {
                self.bytes.extend_from_slice(&(position as u64).to_le_bytes());
                self.bytes.extend_from_slice(&self.numbers[position].to_le_bytes());
            }
        }
        if self.bytes.is_empty() { 0 } else { xxhash_rust::xxh3::xxh3_64(&self.bytes) as u32 }
    }

    fn pack(&mut self, register: &Register, head: &Head<'_>, shown: u32) -> Box<[u8]> {
        let packing = &register.packing;
        let Head { register, key, seq, deleted, event_date, .. } = *head;
        self.bytes.clear();
        NewRecord { register, key, seq, deleted, event_date, shown, fields: &self.packed }.pack(packing, &mut self.bytes);
        Box::from(self.bytes.as_slice())
    }
}

/// Checks everything that a record says besides its fields.
fn head<'a>(index: u16, register: &Register, people: PersonKind, envelope: &'a Envelope<'_>) -> Result<Head<'a>, Rejection> {
    let key = required_text("key", &envelope.key)?;
    if key.len() > KEY_MAX_BYTES {
        return Err(Rejection::new("key", &format!("longer than {KEY_MAX_BYTES} bytes")));
    }
    let seq = seq(&envelope.seq)?;
    let deleted = match required_text("op", &envelope.op)? {
        "upsert" => false,
        "delete" => true,
        other => return Err(Rejection::new("op", &format!("`{}` is neither upsert nor delete", shown(other)))),
    };
    let person = owner(register, people, &envelope.person)?;
    let event_date = optional_date("event_date", &envelope.event_date, scalar::day)?;
    let recorded = optional_date("recorded_at", &envelope.recorded_at, day_of_timestamp)?;
    let heard = event_date.max(recorded).unwrap_or(Date::BEFORE_ALL);
    Ok(Head { register: index, key, seq, deleted, event_date, heard, person })
}

/// Whose file the record enters: said exactly if the register's records are identified by person.
fn owner(register: &Register, people: PersonKind, person: &Scalar<'_>) -> Result<PersonId, Rejection> {
    match (register.global, person) {
        (true, Scalar::Null) => Ok(0),
        (true, _) => Err(Rejection::new("person", &format!("{} names its people in `data`", register.id))),
        (false, Scalar::Null) => Err(Rejection::new("person", "missing")),
        (false, person) => scalar::person(person, people).map_err(|reason| Rejection::new("person", &reason)),
    }
}

fn seq(seq: &Scalar<'_>) -> Result<u64, Rejection> {
    match seq {
        Scalar::Null => Err(Rejection::new("seq", "missing")),
        Scalar::Integer(seq) if *seq > 0 => Ok(seq.unsigned_abs()),
        Scalar::Integer(_) => Err(Rejection::new("seq", "must be a positive integer")),
        other => Err(Rejection::new("seq", &format!("must be a positive integer, not {}", other.describe()))),
    }
}

fn required_text<'a>(field: &str, value: &'a Scalar<'_>) -> Result<&'a str, Rejection> {
    match value {
        Scalar::Null => Err(Rejection::new(field, "missing")),
        Scalar::Text(text) if text.is_empty() => Err(Rejection::new(field, "empty")),
        Scalar::Text(text) => Ok(text),
        other => Err(Rejection::new(field, &format!("must be text, not {}", other.describe()))),
    }
}

fn optional_date(field: &str, value: &Scalar<'_>, read: fn(&str) -> Result<Date, String>) -> Result<Option<Date>, Rejection> {
    match value {
        Scalar::Null => Ok(None),
        Scalar::Text(text) => read(text).map(Some).map_err(|reason| Rejection::new(field, &reason)),
        other => Err(Rejection::new(field, &format!("must be a date, not {}", other.describe()))),
    }
}

/// The day, where it was written, of `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`; a day alone is a timestamp too.
fn day_of_timestamp(text: &str) -> Result<Date, String> {
    let day = text.get(..10).and_then(Date::parse).filter(|_| text.len() == 10 || is_time_of_day(&text[10..]));
    day.ok_or_else(|| "not a time like 2026-02-15T09:12:00+05:00".to_owned())
}

fn is_time_of_day(text: &str) -> bool {
    let matches = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, shape)| byte == shape || shape == b'0' && byte.is_ascii_digit())
    };
    let Some((clock, rest)) = text.split_at_checked(9).filter(|(clock, _)| matches(clock, "T00:00:00")) else {
        return false;
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|digit: char| digit.is_ascii_digit()),
        None => rest,
    };
    clock[1..3] < *"24"
        && clock[4..6] < *"60"
        && clock[7..9] <= *"60"
        && (zone == "Z" || matches(zone, "+00:00") || matches(zone, "-00:00"))
}

/// The `data.date` of a calendar or heartbeat record.
fn announced_date(envelope: &Envelope<'_>, data: &Data<'_, '_>) -> Result<Date, Rejection> {
    seq(&envelope.seq)?;
    if required_text("op", &envelope.op)? != "upsert" {
        return Err(Rejection::new("op", "must be upsert here"));
    }
    if envelope.person != Scalar::Null {
        return Err(Rejection::new("person", "not expected here"));
    }
    let Data::Json(Some(data)) = data else {
        return Err(Rejection::new("data", "missing"));
    };
    let fields = [Field { name: "date".to_owned(), kind: FieldType::Date, unit: String::new(), optional: false, card: false }];
    let mut date = None;
    let take = |_: usize, value: &Scalar<'_>| {
        date = optional_date("date", value, scalar::day)?;
        Ok(())
    };
    let mut reader = serde_json::Deserializer::from_str(data.get());
    envelope::Members { fields: &fields, take }
        .deserialize(&mut reader)
        .map_err(|error| Rejection { field: "data".to_owned(), ..broken(&error, 0) })??;
    date.ok_or_else(|| Rejection::new("date", "missing"))
}

/// A syntax error at its byte of the line; `offset` is where the text that was read begins.
fn broken(error: &serde_json::Error, offset: usize) -> Rejection {
    if error.is_data() {
        return Rejection::new("", "not a JSON object");
    }
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    Rejection::new("", &format!("broken JSON at byte {}: {what}", error.column() + offset))
}

/// ` (did you mean …?)` when a known name may have been meant, else nothing.
pub(crate) fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(name, known).map(|known| format!(" (did you mean {known}?)")).unwrap_or_default()
}
