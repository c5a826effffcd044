//! One value of a line, borrowed from it, and how a register's field reads it.

use dataflows::model::{Date, PersonKind};
use dataflows::policy::file::opaque;
use dataflows::policy::{Field, FieldType};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The greatest magnitude of a number in a record: sums over any household stay far from the limits of `i64`.
pub const NUMBER_MAX: i64 = 1_000_000_000_000_000;

/// A JSON value, as far as records have use for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// `null`, or not there at all.
    #[default]
    Null,
    Bool(bool),
    Integer(i64),
    Text(Cow<'a, str>),
    /// Anything else, named for people.
    Other(&'static str),
}

impl Scalar<'_> {
    /// What it is, for people.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "true or false",
            Scalar::Integer(_) => "a number",
            Scalar::Text(_) => "text",
            Scalar::Other(name) => name,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Other("a number that is too large"), Scalar::Integer))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other("a number with a fraction"))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("a list"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}

/// The number that stands for a field's value; texts and ids stand as their hash. The error is a reason for people.
pub(crate) fn number(field: &Field, value: &Scalar<'_>, people: PersonKind) -> Result<i64, String> {
    match (&field.kind, value) {
        (FieldType::Int | FieldType::Money, Scalar::Integer(number)) if number.abs_diff(0) <= NUMBER_MAX.unsigned_abs() => Ok(*number),
        (FieldType::Int | FieldType::Money, Scalar::Integer(_)) => Err(format!("beyond ±{NUMBER_MAX}")),
        (FieldType::Bool, Scalar::Bool(value)) => Ok(i64::from(*value)),
        (FieldType::Person, value) => person(value, people).map(|person| person as i64),
        (FieldType::Date, Scalar::Text(text)) => day(text).map(|date| i64::from(date.0)),
        (FieldType::Month, Scalar::Text(text)) => month(text).map(|date| i64::from(date.0)),
        (FieldType::Enum(words), Scalar::Text(text)) => word(words, text),
        (FieldType::Id, Scalar::Text(text)) if text.is_empty() => Err("empty".to_owned()),
        (FieldType::Id | FieldType::Text, Scalar::Text(text)) => Ok(opaque(text)),
        (kind, value) => Err(format!("must be {}, not {}", expected(kind), value.describe())),
    }
}

/// Reads a person: text, or for integer keys a JSON integer too.
pub(crate) fn person(value: &Scalar<'_>, people: PersonKind) -> Result<u64, String> {
    match (value, people) {
        (Scalar::Text(text), _) => people.parse(text).map_err(str::to_owned),
        (Scalar::Integer(number), PersonKind::Integer) if (1..1 << 62).contains(number) => Ok(number.unsigned_abs()),
        (Scalar::Integer(_), PersonKind::Integer) => Err("not a positive integer".to_owned()),
        (value, PersonKind::Integer) => Err(format!("must be a positive integer, not {}", value.describe())),
        (value, PersonKind::Iin) => Err(format!("must be text of 12 digits, not {}", value.describe())),
    }
}

/// Reads `YYYY-MM-DD`.
pub(crate) fn day(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "not a date YYYY-MM-DD of the calendar".to_owned())
}

/// Reads `YYYY-MM` as the first day of the month.
fn month(text: &str) -> Result<Date, String> {
    Date::parse_month(text).ok_or_else(|| "not a month YYYY-MM".to_owned())
}

fn word(words: &[String], text: &str) -> Result<i64, String> {
    match words.iter().position(|word| word == text) {
        Some(index) => Ok(index as i64),
        None => Err(format!("`{}` is not one of {}", shown(text), words.join(", "))),
    }
}

fn expected(kind: &FieldType) -> &'static str {
    match kind {
        FieldType::Text | FieldType::Id => "text",
        FieldType::Person => "a person",
        FieldType::Date => "a date YYYY-MM-DD",
        FieldType::Month => "a month YYYY-MM",
        FieldType::Int | FieldType::Money => "a whole number",
        FieldType::Bool => "true or false",
        FieldType::Enum(_) => "a word",
    }
}

/// A text from outside, short enough for a message.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    const SHOWN_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
