//! Takes in a synthetic country's records as its agencies mean them, without a text in between: what a load is measured by is then the
//! engine, and not the reading of JSON.

use super::Decoded;
use crate::intake::{Intake, Item, Schema, Translation};
use crate::journal::entries::{self, Written, write_value};
use dataflows::model::Update;
use dataflows::policy::{Field, FieldType, Register};
use fixtures::country::{Draft, Recipient, Value};
use hashbrown::HashMap;
use std::sync::Arc;

pub struct Clerk {
    schema: Arc<Schema>,
    intake: Intake,
    /// Registers and fields are what they are: the country writes for the package at hand.
    translation: Translation,
    /// By name; none where the package has no such register.
    registers: HashMap<&'static str, Option<u16>>,
    fields: Vec<u8>,
    pub taken: Decoded,
}

impl Clerk {
    pub fn new(schema: Arc<Schema>) -> Clerk {
        let translation = Translation::new(&schema, &schema.dictionary());
        let intake = Intake::new(schema.clone());
        Clerk { schema, intake, translation, registers: HashMap::new(), fields: Vec::new(), taken: Decoded::default() }
    }

    /// The record, if the package has a place for it: the door turns other lines away too.
    fn read(&mut self, record: &Draft) -> Option<Update> {
        let Clerk { schema, intake, translation, registers, fields, .. } = self;
        let register = (*registers.entry(record.register).or_insert_with(|| schema.register(record.register)))?;
        let declared = &schema.registers[usize::from(register)];
        fields.clear();
        let mut next = 0;
        for (name, value) in record.fields() {
            let position = position(declared, name, next)?;
            write_value(fields, position, entry_value(&declared.fields[position], value)?);
            next = position + 1;
        }
        let Draft { person, seq, event, ref key, .. } = *record;
        let (seq, event_date) = (u64::from(seq), Some(event));
        let written = Written { register, person, key, seq, deleted: false, event_date, heard: event, fields };
        match intake.restore(&written, translation).ok()?.item {
            Item::Update(update) => Some(update),
            Item::Calendar(_) | Item::Heartbeat { .. } => None,
        }
    }
}

impl Recipient for Clerk {
    fn take(&mut self, record: &Draft) {
        let update = self.read(record);
        self.taken.updates.extend(update);
    }
}

/// Where a field is among those of its register, first looked for where it is expected.
fn position(register: &Register, name: &str, expected: usize) -> Option<usize> {
    let is = |position: &usize| register.fields.get(*position).is_some_and(|field| field.name == name);
    Some(expected).filter(is).or_else(|| (0..register.fields.len()).find(is))
}

/// A value as the journal has it.
fn entry_value<'v>(field: &Field, value: Value<'v>) -> Option<entries::Value<'v>> {
    let number = match (value, &field.kind) {
        (Value::Text(text), FieldType::Enum(words)) => words.iter().position(|word| word == text)? as i64,
        (Value::Text(text), _) => return Some(entries::Value::Text(text)),
        (Value::Number(number), _) => number,
        (Value::Flag(flag), _) => i64::from(flag),
        (Value::Date(date) | Value::Month(date), _) => i64::from(date.0),
        (Value::Person(iin), _) => iin as i64,
    };
    Some(entries::Value::Number(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::load_policy;
    use dataflows::model::Date;
    use fixtures::country::Country;

    /// What agencies mean is what they write.
    #[test]
    fn a_clerk_takes_in_what_lines_say() {
        let policy = load_policy("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
        let schema = Arc::new(Schema::from(&*policy));
        let country = Country::new(900, 7, Date::from_ymd(2026, 1, 1).expect("a day"));
        let (mut lines, mut clerk) = (Vec::new(), Clerk::new(schema.clone()));
        country.neighbourhood(0).population(country.seed(), &mut lines);
        country.neighbourhood(0).population(country.seed(), &mut clerk);
        let read = Decoded::read(&mut Intake::new(schema), &lines);
        assert!(read.updates.len() > 9_000, "{} records", read.updates.len());
        assert_eq!(read.updates, clerk.taken.updates);
    }
}
