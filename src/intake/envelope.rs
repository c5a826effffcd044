//! The shape of a line: the members of its object, unchecked, borrowed from the text.

use super::scalar::{Scalar, shown};
use super::{Rejection, did_you_mean};
use dataflows::policy::Field;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What a line, or a row of a mapping, says of a record besides its fields.
#[derive(Debug, Default)]
pub(crate) struct Envelope<'a> {
    pub register: Scalar<'a>,
    pub key: Scalar<'a>,
    pub seq: Scalar<'a>,
    pub op: Scalar<'a>,
    pub event_date: Scalar<'a>,
    pub recorded_at: Scalar<'a>,
    pub person: Scalar<'a>,
}

/// The names in the order in which feeds usually write them.
const MEMBERS: [&str; 8] = ["register", "key", "seq", "op", "event_date", "recorded_at", "person", "data"];

impl<'a> Envelope<'a> {
    fn slot(&mut self, member: usize) -> &mut Scalar<'a> {
        match member {
            0 => &mut self.register,
            1 => &mut self.key,
            2 => &mut self.seq,
            3 => &mut self.op,
            4 => &mut self.event_date,
            5 => &mut self.recorded_at,
            _ => &mut self.person,
        }
    }
}

/// A line taken apart. Its outer error is broken JSON, the inner one a member that should not be there.
pub(super) struct Line<'a> {
    pub envelope: Envelope<'a>,
    pub data: Option<&'a RawValue>,
    pub rejected: Option<Rejection>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Line<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut line = Line { envelope: Envelope::default(), data: None, rejected: None };
        let (mut given, mut next) = (0_u8, 0);
        while let Some(name) = object.next_key_seed(Name { names: |index| MEMBERS.get(index).copied(), next })? {
            let member = match name {
                Ok(member) if given & (1 << member) == 0 => member,
                Ok(member) => {
                    object.next_value::<IgnoredAny>()?;
                    line.rejected.get_or_insert_with(|| Rejection::new(MEMBERS[member], "given twice"));
                    continue;
                }
                Err(name) => {
                    object.next_value::<IgnoredAny>()?;
                    line.rejected.get_or_insert_with(|| unknown(&name, MEMBERS.into_iter()));
                    continue;
                }
            };
            given |= 1 << member;
            next = member + 1;
            if member == MEMBERS.len() - 1 {
                line.data = Some(object.next_value()?);
            } else {
                *line.envelope.slot(member) = object.next_value()?;
            }
        }
        Ok(line)
    }
}

/// Looks a member's name up, first where it is expected; the error is the unknown name.
struct Name<F> {
    names: F,
    next: usize,
}

impl<'n, F: Fn(usize) -> Option<&'n str>> Name<F> {
    fn find(&self, name: &str) -> Result<usize, String> {
        if (self.names)(self.next) == Some(name) {
            return Ok(self.next);
        }
        (0..).map_while(|index| (self.names)(index)).position(|known| known == name).ok_or_else(|| shown(name).into_owned())
    }
}

impl<'de, 'n, F: Fn(usize) -> Option<&'n str>> DeserializeSeed<'de> for Name<F> {
    type Value = Result<usize, String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n, F: Fn(usize) -> Option<&'n str>> Visitor<'_> for Name<F> {
    type Value = Result<usize, String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.find(name))
    }
}

/// Walks over the members of `data`, handing each known one to `take`; ends at the first that is refused.
pub(super) struct Members<'n, F> {
    pub fields: &'n [Field],
    pub take: F,
}

impl<'de, F> DeserializeSeed<'de> for Members<'_, F>
where
    F: FnMut(usize, &Scalar<'de>) -> Result<(), Rejection>,
{
    type Value = Result<(), Rejection>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F> Visitor<'de> for Members<'_, F>
where
    F: FnMut(usize, &Scalar<'de>) -> Result<(), Rejection>,
{
    type Value = Result<(), Rejection>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut next = 0;
        let fields = self.fields;
        let names = |index: usize| fields.get(index).map(|field: &Field| field.name.as_str());
        while let Some(name) = object.next_key_seed(Name { names, next })? {
            let taken = match name {
                Ok(position) => {
                    next = position + 1;
                    let value = object.next_value()?;
                    (self.take)(position, &value)
                }
                Err(name) => {
                    object.next_value::<IgnoredAny>()?;
                    Err(unknown(&name, fields.iter().map(|field| field.name.as_str())))
                }
            };
            if taken.is_err() {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(taken);
            }
        }
        Ok(Ok(()))
    }
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Rejection {
    Rejection::new(name, &format!("unknown field{}", did_you_mean(name, known)))
}
