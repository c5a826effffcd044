//! What registers and fields of an older journal are under the policy of today.

use super::{Rejection, Scalar, Schema};
use crate::journal::entries::{Dictionary, FieldWords, RegisterWords, Value};
use dataflows::model::{Date, PersonKind};
use std::borrow::Cow;

/// By number in the journal.
pub struct Translation {
    registers: Vec<(String, Option<(u16, Fields)>)>,
}

/// By number in the journal; none where the field is no more.
pub(crate) struct Fields(Vec<Option<Field>>);

/// A field as it is now.
pub(crate) enum Field {
    /// Of the same type.
    Same(usize),
    /// Of another one: what the journal has is read again.
    Other(usize, FieldWords),
}

impl Translation {
    pub fn new(schema: &Schema, dictionary: &Dictionary) -> Self {
        let register = |words: &RegisterWords| {
            let index = schema.register(&words.id);
            (words.id.clone(), index.map(|index| (index, Fields::new(schema, index, words))))
        };
        Translation { registers: dictionary.registers.iter().map(register).collect() }
    }

    /// The number that a register has now.
    pub fn register(&self, number: u16) -> Option<u16> {
        self.registers.get(usize::from(number))?.1.as_ref().map(|(register, _)| *register)
    }

    pub(crate) fn of(&self, number: u16) -> Result<(u16, &Fields), Rejection> {
        match self.registers.get(usize::from(number)) {
            Some((_, Some((register, fields)))) => Ok((*register, fields)),
            Some((id, None)) => Err(Rejection::new("register", &format!("`{id}` is no longer a register"))),
            None => Err(Rejection::new("register", "not in the journal's dictionary")),
        }
    }
}

impl Fields {
    fn new(schema: &Schema, register: u16, words: &RegisterWords) -> Self {
        let fields = &schema.registers[usize::from(register)].fields;
        let field = |words: &FieldWords| {
            let position = fields.iter().position(|field| field.name == words.name)?;
            let same = FieldWords::kind_of(&fields[position].kind) == words.kind;
            Some(if same { Field::Same(position) } else { Field::Other(position, words.clone()) })
        };
        Fields(words.fields.iter().map(field).collect())
    }

    pub(crate) fn of(&self, number: usize) -> Option<&Field> {
        self.0.get(number)?.as_ref()
    }
}

impl FieldWords {
    /// A value as it came, before it was read as of this type.
    pub(crate) fn scalar<'v>(&self, value: Value<'v>, people: PersonKind) -> Scalar<'v> {
        let number = match value {
            Value::Text(text) => return Scalar::Text(Cow::Borrowed(text)),
            Value::Number(number) => number,
        };
        let text = |text: String| Scalar::Text(Cow::Owned(text));
        match self.kind.as_str() {
            "date" => text(Date(number as i32).to_string()),
            "month" => text(Date(number as i32).to_string()[..7].to_owned()),
            "bool" => Scalar::Bool(number != 0),
            "person" if people == PersonKind::Iin => text(people.format(number.unsigned_abs())),
            kind => match kind.strip_prefix("enum(").and_then(|words| words.strip_suffix(')')?.split('|').nth(number as usize)) {
                Some(word) => text(word.to_owned()),
                None => Scalar::Integer(number),
            },
        }
    }
}
