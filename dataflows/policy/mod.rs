//! The policy: what a package says, checked and compiled to programs over integers.
//!
//! [`Policy::load`] turns the texts of a package into a [`Policy`] or a list of [`Problem`]s; nothing else can fail. The
//! rooms then ask an [`Evaluator`] four things: what composition needs of a person ([`Evaluator::composition`]), what tied
//! people may know of them ([`Evaluator::kin`]), what they contribute to their household ([`Evaluator::contribution`]), and
//! what follows from a household's sums ([`Evaluator::judge`]). Every answer is a pure function of a file or a row, the
//! [`Environment`] (date, dated parameters, feeds that are heard) and the policy.

pub mod file;

use crate::model::{Date, PersonKind};
use std::collections::BTreeMap;

/// A text in each language of the package.
pub type Texts = BTreeMap<String, String>;

/// One mistake in a package, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// One-based; zero when the mistake has no place.
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// What a record's field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Shown only; never packed.
    Text,
    Person,
    Date,
    /// A month, kept as its first day.
    Month,
    Int,
    /// Whole units of the package's currency.
    Money,
    Bool,
    /// One of these words, kept as its index.
    Enum(Vec<String>),
    /// A text that rules only compare, kept as [`file::opaque`].
    Id,
}

/// A field of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub kind: FieldType,
    pub unit: String,
    pub optional: bool,
    /// Shown only (names, account numbers): not packed, so not in [`Register::fields`]' rule positions.
    pub card: bool,
}

/// What composition takes from a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TieKind {
    Spouses,
    /// `of = [child, parent]`.
    Parent,
    /// `of = [child, guardian]`.
    Guardian,
    /// `of = [child, holder]`.
    Custody,
    /// `of = [person, address]`; the address is an `id` or `int` field.
    Address,
    /// `of = [person]`: excluded while it lasts.
    Away,
}

/// A tie that a register declares; the numbers are positions among the packed fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    pub kind: TieKind,
    /// Position of the person in whose file it is seen; `None`: the person of the update.
    pub first: Option<usize>,
    pub second: Option<usize>,
    /// In force on `from <= day < until`; absent means open.
    pub from: Option<usize>,
    pub until: Option<usize>,
}

/// A register of an agency.
#[derive(Clone, Debug)]
pub struct Register {
    pub id: String,
    pub title: Texts,
    pub source: String,
    /// The record, not (person, record), is the identity; it enters the files of all people it names.
    pub global: bool,
    /// Template of a key over field names, for stories and the generator.
    pub key: String,
    /// Silent after so many days without a record or heartbeat.
    pub cadence_days: i32,
    /// Months after its period for which a record is kept; `None` for ever.
    pub retain_months: Option<i32>,
    /// Position of the packed field that holds the period; `None`: the event date.
    pub period: Option<usize>,
    /// All fields, as declared.
    pub fields: Vec<Field>,
    /// Positions in `fields` of those that are packed, in packed order.
    pub packed: Vec<usize>,
    pub ties: Vec<Tie>,
}

impl Register {
    /// Positions among the packed fields that hold people.
    pub fn people(&self) -> impl Iterator<Item = usize> + '_ {
        self.packed.iter().enumerate().filter(|(_, field)| self.fields[**field].kind == FieldType::Person).map(|(position, _)| position)
    }
}

/// Whether a register can be relied on today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedState {
    Fresh,
    /// Not heard for longer than its cadence.
    Silent,
    /// Never heard.
    NotConnected,
}

/// What composition takes from the package besides ties (domain.md 2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Composition {
    /// Some register describes this person.
    pub exists: bool,
    pub female: bool,
    pub alive: bool,
    pub minor: bool,
    /// A child beyond minority while unmarried and childless.
    pub student: bool,
    /// An adult who is placed with a parent at the same address.
    pub dependant: bool,
    /// Never a responsible adult.
    pub deprived: bool,
}

/// What one member adds to the sums of their household.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// One number per slot of [`Policy::slots`]; zero where it is unknown.
    pub values: Vec<i64>,
    /// Slots that are unknown for this member, with the reason: see [`reason`](Policy::reason).
    pub unknown: Vec<(u16, u16)>,
    /// The member's own rights.
    pub entitlements: Vec<Entitlement>,
}

/// A right, before it is given to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entitlement {
    pub benefit: u16,
    pub ground: crate::model::Ground,
    pub period: Date,
    pub outcome: crate::model::Outcome,
    pub amount: i64,
    pub from: Date,
    pub until: Date,
    /// Who receives it: zero for the person evaluated.
    pub recipient: crate::model::PersonId,
}

/// A household's sums: one number per slot, and how many members' share of a slot is unknown, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub values: Vec<i64>,
    /// `(slot, reason, members)`, sorted, without zero counts.
    pub unknown: Vec<(u16, u16, i32)>,
}

/// What follows from a household's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// One value per household indicator; see [`Policy::indicators`].
    pub indicators: Vec<i64>,
    pub points: Vec<i64>,
    pub score: i64,
    pub category: u8,
    pub level_points: Vec<i64>,
    pub level_score: i64,
    /// Index into the level letters, 0 = A; 255 when the package has none.
    pub level: u8,
    pub entitlements: Vec<Entitlement>,
}

#[allow(dead_code)]
struct Placeholder(PersonKind);
