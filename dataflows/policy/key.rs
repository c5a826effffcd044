//! Keys and other texts that are compared and seldom shown: as numbers where they can be turned back, and keys not at all where
//! the fields of their record already say them.

use super::file::ABSENT;
use super::{FieldType, Register};
use crate::model::{Date, PersonKind};
use std::fmt::{self, Write as _};

/// Digits that fit, with a one before them that keeps leading zeros, below [`FIRST_LETTERS`].
const DIGITS_MAX: usize = 17;
const FIRST_LETTERS: u64 = 2 * 10_u64.pow(17);
/// Letters that fit between [`FIRST_LETTERS`] and [`FIRST_HASH`].
const LETTERS_MAX: usize = 11;
const LETTERS_BASE: u64 = 38;
const FIRST_HASH: u64 = 1 << 59;
const END: u64 = 1 << 62;

/// An opaque text (an address code, an employer's number) as a non-negative number below 2^62 that is equal when the text is.
///
/// Digits, and short texts of digits, capitals and hyphens, can be turned back; everything else becomes a hash. Each of the
/// three has a range of its own.
pub fn opaque(text: &str) -> i64 {
    let number = match Word::read(text) {
        Some(Word::Digits(number)) => number,
        Some(Word::Letters(number)) => FIRST_LETTERS + number,
        None => FIRST_HASH + xxhash_rust::xxh3::xxh3_64(text.as_bytes()) % (END - FIRST_HASH),
    };
    number as i64
}

/// The text that [`opaque`] made this number of, unless it became a hash.
pub fn transparent(number: i64) -> Option<String> {
    let number = u64::try_from(number).ok()?;
    let word = if number < FIRST_LETTERS { Word::Digits(number) } else { Word::Letters(number - FIRST_LETTERS) };
    is_transparent(number as i64).then(|| word.text())
}

/// Whether [`opaque`] made this number of a text that can be turned back.
fn is_transparent(number: i64) -> bool {
    (0..FIRST_HASH as i64).contains(&number)
}

/// A text that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Decimal digits, with a one before them.
    Digits(u64),
    /// Digits, capitals and hyphens as the digits 1 to 37 of base 38.
    Letters(u64),
}

impl Word {
    pub fn read(text: &str) -> Option<Word> {
        let bytes = text.as_bytes();
        if bytes.len() <= DIGITS_MAX && !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
            return Some(Word::Digits(bytes.iter().fold(1, |number, byte| number * 10 + u64::from(byte - b'0'))));
        }
        if bytes.len() > LETTERS_MAX {
            return None;
        }
        let letter = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0' + 1),
            b'A'..=b'Z' => Some(byte - b'A' + 11),
            b'-' => Some(37),
            _ => None,
        };
        let number = bytes.iter().try_fold(0, |number, byte| Some(number * LETTERS_BASE + u64::from(letter(*byte)?)));
        number.map(Word::Letters)
    }

    pub fn text(self) -> String {
        let mut number = match self {
            Word::Digits(number) => return number.to_string().split_off(1),
            Word::Letters(number) => number,
        };
        let mut letters = Vec::with_capacity(LETTERS_MAX);
        while number > 0 {
            letters.push(match (number % LETTERS_BASE) as u8 {
                digit @ ..=10 => (b'0' + digit).saturating_sub(1),
                capital @ 11..=36 => b'A' + capital - 11,
                _ => b'-',
            });
            number /= LETTERS_BASE;
        }
        letters.iter().rev().map(|letter| char::from(*letter)).collect()
    }

    /// Both kinds in turn, so that short texts are small numbers.
    pub fn pack(self) -> u64 {
        match self {
            Word::Digits(number) => number << 1,
            Word::Letters(number) => number << 1 | 1,
        }
    }

    pub fn unpack(number: u64) -> Word {
        if number & 1 == 0 { Word::Digits(number >> 1) } else { Word::Letters(number >> 1) }
    }
}

/// A key is made of so many fields at most.
pub(super) const PARTS_MAX: usize = 8;

/// The values of the fields that a key is made of, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyValues {
    values: [i64; PARTS_MAX],
    count: usize,
}

impl KeyValues {
    fn push(&mut self, value: i64) {
        self.values[self.count] = value;
        self.count += 1;
    }

    pub fn of(values: impl Iterator<Item = i64>) -> KeyValues {
        let mut all = KeyValues::default();
        values.for_each(|value| all.push(value));
        all
    }
}

/// How a register's keys follow from the rule fields of its records.
///
/// Reading a key gives values for which there is no other key: two keys are equal when what is read of them is.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// What stands behind the last part.
    end: String,
    people: PersonKind,
}

#[derive(Clone, Debug)]
struct Part {
    /// What stands before the field.
    before: String,
    /// Position among the packed fields.
    position: usize,
    kind: FieldType,
}

impl Template {
    /// The template of a register, if rule fields alone make its keys.
    pub fn new(register: &Register, people: PersonKind) -> Option<Template> {
        let (mut parts, mut end) = (Vec::new(), register.key.as_str());
        while let Some((before, rest)) = end.split_once('{') {
            let (name, after) = rest.split_once('}')?;
            let position = register.packed.iter().position(|&field| register.fields[field].name == name)?;
            let kind = register.fields[register.packed[position]].kind.clone();
            parts.push(Part { before: before.to_string(), position, kind });
            end = after;
        }
        Some(Template { parts, end: end.to_string(), people })
    }

    /// How many packed fields there are up to the last that makes the key.
    pub fn reach(&self) -> usize {
        self.positions().max().map_or(0, |last| last + 1)
    }

    /// Positions among the packed fields of those that make the key.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().map(|part| part.position)
    }

    /// The values of the fields that a key is made of; `None` if it is made of something else.
    pub fn read(&self, key: &str) -> Option<KeyValues> {
        let mut values = KeyValues::default();
        self.split(key, |part, text| {
            values.push(self.value(&part.kind, text)?);
            Some(())
        })?;
        Some(values)
    }

    /// Whether these packed fields are what is read of a key.
    pub fn tells(&self, fields: &[i64], key: &str) -> bool {
        let is_read = |part: &Part, text: &str| (self.value(&part.kind, text)? == fields[part.position]).then_some(());
        self.split(key, is_read).is_some()
    }

    /// The value that a key gives the packed field at this position.
    pub fn read_one(&self, key: &str, position: usize) -> Option<i64> {
        let mut found = None;
        self.split(key, |part, text| {
            if part.position == position && found.is_none() {
                found = Some(self.value(&part.kind, text));
            }
            Some(())
        })?;
        found.flatten()
    }

    /// Shows each part with what a key says of its field; `None` if the key does not look like the template, or a part is not agreed to.
    fn split(&self, key: &str, mut agrees: impl FnMut(&Part, &str) -> Option<()>) -> Option<()> {
        let mut rest = key;
        for (index, part) in self.parts.iter().enumerate() {
            let text = rest.strip_prefix(part.before.as_str())?;
            let length = match part.kind {
                FieldType::Date => "YYYY-MM-DD".len(),
                FieldType::Month => "YYYY-MM".len(),
                _ => match self.parts.get(index + 1).map_or(self.end.as_str(), |next| &next.before) {
                    "" => text.len(),
                    separator => text.find(separator)?,
                },
            };
            let (text, after) = text.split_at_checked(length)?;
            agrees(part, text)?;
            rest = after;
        }
        (rest == self.end).then_some(())
    }

    /// The only value that is written like this; never [`ABSENT`].
    fn value(&self, kind: &FieldType, text: &str) -> Option<i64> {
        let value = match kind {
            FieldType::Date => Date::parse(text).map(|date| i64::from(date.0)),
            FieldType::Month => Date::parse_month(text).map(|date| i64::from(date.0)),
            FieldType::Int | FieldType::Money => text.parse().ok().filter(|_| is_plain(text)),
            FieldType::Person => {
                self.people.parse(text).ok().filter(|_| self.people == PersonKind::Iin || is_plain(text)).map(|id| id as i64)
            }
            FieldType::Bool => ["false", "true"].iter().position(|word| *word == text).map(|index| index as i64),
            FieldType::Enum(words) => words.iter().position(|word| word == text).map(|index| index as i64),
            FieldType::Id | FieldType::Text => Some(opaque(text)).filter(|number| is_transparent(*number)),
        };
        value.filter(|value| *value != ABSENT)
    }

    /// The key that these values are read of.
    pub fn text(&self, values: impl IntoIterator<Item = i64>) -> String {
        let mut key = String::new();
        for (part, value) in self.parts.iter().zip(values) {
            key.push_str(&part.before);
            self.write(&part.kind, value, &mut key).expect("memory can be written");
        }
        key + &self.end
    }

    fn write(&self, kind: &FieldType, value: i64, key: &mut String) -> fmt::Result {
        match kind {
            FieldType::Date => write!(key, "{}", Date(value as i32)),
            FieldType::Month => {
                let (year, month, _) = Date(value as i32).ymd();
                write!(key, "{year:04}-{month:02}")
            }
            FieldType::Int | FieldType::Money => write!(key, "{value}"),
            FieldType::Person => self.people.write(value as u64, key),
            FieldType::Bool => write!(key, "{}", value == 1),
            FieldType::Enum(words) => key.write_str(&words[value as usize]),
            FieldType::Id | FieldType::Text => key.write_str(&transparent(value).unwrap_or_default()),
        }
    }
}

/// Whether a number is written in the one way in which it is formatted: no plus, no leading zeros.
fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || digits.starts_with(|first: char| ('1'..='9').contains(&first))
}
