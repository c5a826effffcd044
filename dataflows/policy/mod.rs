//! The policy: what a package says, checked and compiled to programs over integers.
//!
//! [`Policy::load`] turns the texts of a package into a [`Policy`] or a list of [`Problem`]s; nothing else can fail. The
//! rooms then ask an [`Evaluator`] four things: what composition needs of a person ([`Evaluator::composition`]), what tied
//! people may know of them ([`Evaluator::kin`]), what they contribute to their household ([`Evaluator::contribution`]), and
//! what follows from a household's sums ([`Evaluator::judge`]). Every answer is a pure function of a file or a row, the
//! [`Environment`] (date, dated parameters, feeds that are heard) and the policy.

mod apart;
mod benefits;
mod bins;
mod bits;
mod builder;
mod calls;
mod compile;
mod concerns;
pub mod contents;
pub mod costs;
mod environment;
mod evaluate;
mod expression;
pub mod file;
mod graph;
mod household;
mod key;
mod lists;
mod load;
mod openings;
pub mod parts;
mod person;
mod program;
mod programs;
mod proposal;
mod ranges;
pub mod reach;
mod revision;
mod rights;
mod shorten;
mod source;
pub mod versions;

pub(crate) use concerns::{Touched, Turned};
pub use contents::Contents;
pub use environment::Environment;
pub use evaluate::Evaluator;
pub use expression::{Expression, Kind, parsing, while_nobody_parses};
pub use program::{is_unknown, reason_of, unknown};
pub use proposal::{Proposal, Weigh};
pub(crate) use revision::{Asked, Revision};
pub use rights::{Right, Trace};
pub use source::{Place, nearest};

use crate::model::{Date, FaultKind, Ground, Outcome, PersonId, PersonKind, Role, Scores};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

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

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
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

/// What makes two numbers one person: a record of this register says that one of them was given up for the other. The numbers
/// are positions among the packed fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub given_up: usize,
    /// Stands for the one given up.
    pub kept: usize,
    /// One person from this day on; absent in a record: not yet.
    pub from: usize,
    /// Said to be one person from this day on: until they are, nothing is offered to either.
    pub reported: Option<usize>,
    /// While true, the number given up is in no output.
    pub secret: Option<usize>,
    /// Records that name the number given up in this field of this register count for nobody.
    pub closes: Vec<(u16, usize)>,
}

/// A register of an agency.
#[derive(Clone, Debug)]
pub struct Register {
    pub id: String,
    pub title: Texts,
    pub source: String,
    /// The record, not (person, record), is the identity; it enters the files of all people it names.
    pub global: bool,
    /// Template of a key over field names. Records whose key it makes are packed without one: see [`file::Packing`].
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
    pub alias: Option<Alias>,
    pub packing: file::Packing,
}

impl Register {
    /// Whether its records say where people are registered.
    pub fn is_of_addresses(&self) -> bool {
        self.ties.iter().any(|tie| tie.kind == TieKind::Address)
    }

    /// Positions among the packed fields of the people whom a record concerns: a number that it declares given up is nobody.
    pub fn people(&self) -> impl Iterator<Item = usize> + '_ {
        let given_up = self.alias.as_ref().map(|alias| alias.given_up);
        let is_person = move |position: &usize| self.fields[self.packed[*position]].kind == FieldType::Person;
        (0..self.packed.len()).filter(is_person).filter(move |position| Some(*position) != given_up)
    }

    /// Whether a key may hold somebody's number: the template says so, or a number cannot be mistaken for anything else.
    pub fn keys_name_people(&self, people: PersonKind) -> bool {
        let is_person = |name: &str| self.fields.iter().any(|field| field.name == name && field.kind == FieldType::Person);
        people == PersonKind::Iin || load::braces(&self.key).any(|name| name == "person" || is_person(name))
    }

    /// The day from which retention counts, if the register forgets: the record's period (a tombstone's is told by its key),
    /// without which its event date. `fields` is room for its packed fields.
    pub fn retained_from(&self, record: &file::Record<'_>, fields: &mut [i64]) -> Option<Date> {
        self.retain_months?;
        let period = |position: usize| {
            if record.deleted() {
                return self.packing.read_key(&record.key(&self.packing), position);
            }
            record.unpack(&self.packing, &mut fields[..=position]);
            Some(fields[position]).filter(|&period| period != file::ABSENT)
        };
        self.period.and_then(period).map(|period| Date(period as i32)).or(record.event_date())
    }
}

/// Whether a register can be relied on today.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// A contradiction that the package describes: facts of one person that cannot all be true.
#[derive(Clone, Debug)]
pub struct DeclaredFault {
    pub id: String,
    pub title: Texts,
    pub source: String,
}

/// What one member adds to the sums of their household.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Numbers by slot of the household ([`Policy::slots`]), then by slot of the dwelling, in the order of slots; those that are zero
    /// or unknown are left out.
    pub values: Vec<(u16, i64)>,
    /// Slots that are unknown for this member, with the reason: see [`reason`](Policy::reason).
    pub unknown: Vec<(u16, u16)>,
    /// Rights that read the household's values too.
    pub claims: Vec<Claim>,
    /// Rights that the member has whatever the household is.
    pub entitlements: Vec<Entitlement>,
}

impl Contribution {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.values.clear();
        self.unknown.clear();
        self.claims.clear();
        self.entitlements.clear();
    }
}

/// A member's right that reads the household's values: what it needs of the member, to be decided with the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub benefit: u16,
    pub person: PersonId,
    pub role: Role,
    pub ground: Ground,
    /// Unknown if the register it is founded on cannot be relied on.
    pub doubt: i64,
    /// What it rests on; nothing if the person's own conditions hold and all else is zero. See also [`Policy::with_dwelling`].
    pub inputs: Box<[i64]>,
}

/// A right of somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entitlement {
    pub benefit: u16,
    pub ground: Ground,
    pub period: Date,
    pub outcome: Outcome,
    pub amount: i64,
    pub from: Date,
    pub until: Date,
    /// By an assignment in force, or by an application that must be answered.
    pub held: bool,
    pub proactive: Date,
    /// See [`Decision::failed`](crate::model::Decision::failed).
    pub failed: u64,
    pub recipient: PersonId,
    /// Who is written to; zero for nobody.
    pub addressee: PersonId,
}

/// Slots that every package has: members, and the head's number.
pub const BUILT_IN_SLOTS: usize = 2;

/// A household's sums: one number per slot, and how many members' share of a slot is unknown, by reason; and what its members
/// claim, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub values: Vec<i64>,
    /// `(slot, reason, members)`, sorted, without zero counts.
    pub unknown: Vec<(u16, u16, i32)>,
    pub claims: Vec<Claim>,
}

impl Row {
    /// Why a slot is unknown, if it is: the least reason.
    pub fn doubt(&self, slot: u16) -> Option<u16> {
        let first = self.unknown.partition_point(|(other, ..)| *other < slot);
        self.unknown.get(first).filter(|(other, ..)| *other == slot).map(|(_, reason, _)| *reason)
    }
}

/// What follows from a household's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// One value per household indicator; see [`Policy::indicators`]. Like all points, only where they are wanted: see
    /// [`Evaluator::judge_with_values`].
    pub indicators: Vec<i64>,
    pub points: Vec<i64>,
    /// Beside each criterion: unknown, with its reason, if the points are those of not knowing.
    pub doubts: Vec<i64>,
    pub score: i64,
    pub category: u8,
    pub level_points: Vec<i64>,
    pub level_score: i64,
    /// Index into the level letters, 0 = A; 255 when the package has none.
    pub level: u8,
    pub entitlements: Vec<Entitlement>,
}

impl Judgement {
    /// Forgets everything, but keeps room for rights.
    pub fn clear(&mut self) {
        self.entitlements.clear();
        *self = Judgement { entitlements: std::mem::take(&mut self.entitlements), ..Judgement::default() };
    }

    pub fn scores(&self) -> Scores {
        let Judgement { score, category, level_score, level, .. } = *self;
        Scores { score, category, level_score, level }
    }
}

/// A dated number that rules name in capitals.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub id: String,
    pub unit: String,
    /// From each date on, ascending.
    pub values: Vec<(Date, i64)>,
    /// The last value is a design choice without a source.
    pub assumed: bool,
}

impl Parameter {
    /// The value on a day; `None` before the first.
    pub fn on(&self, day: Date) -> Option<i64> {
        self.values.iter().rev().find(|(from, _)| *from <= day).map(|(_, value)| *value)
    }
}

/// Of whom something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Person,
    Household,
}

/// How an indicator's number is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Int,
    Bool,
    Date,
    Enum(Vec<String>),
}

/// Something computed of a person or a household.
#[derive(Clone, Debug)]
pub struct Indicator {
    pub id: String,
    pub title: Texts,
    pub source: String,
    pub level: Level,
    pub unit: String,
    pub kind: ValueKind,
    /// Index among the values of people, or of households.
    pub position: usize,
}

/// Something that scores points.
#[derive(Clone, Debug)]
pub struct Criterion {
    pub id: String,
    pub title: Texts,
    pub source: String,
}

/// Who of a household receives a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The person whose right it is.
    Own,
    /// Also "mother, else head": families are named after the woman of a couple, so a mother is the head.
    Head,
}

/// For how long a right is one right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    Once,
    Month,
    Quarter,
    Open,
}

impl Period {
    /// The first day of the period of which a right is on this day; one day for all where rights have no periods.
    pub(crate) fn begun_on(self, today: Date) -> Date {
        match self {
            Period::Month => environment::calendar(today).month_start(),
            Period::Quarter => environment::calendar(today).quarter_start(),
            Period::Once | Period::Open => Date::NEVER,
        }
    }
}

/// What a right gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenefitKind {
    Payment,
    /// A place, a meal, a service: nothing is paid.
    InKind,
    /// Only something to know.
    Notice,
}

/// A right that the package grants.
#[derive(Clone, Debug)]
pub struct Benefit {
    pub id: String,
    pub title: Texts,
    pub source: String,
    pub level: Level,
    pub recipient: Recipient,
    /// One right for each record of this register; `None`: one right.
    pub ground_register: Option<u16>,
    pub period: Period,
    pub kind: BenefitKind,
    /// The ground is an application: whoever applies is answered, with reasons if by a refusal.
    pub answers: bool,
    /// How many of its conditions, the first ones, say that an application stands: while one is false, nothing is to be answered.
    pub standing: usize,
    /// It concerns the social worker, who is told instead of the person.
    pub to_worker: bool,
    pub budget: String,
    /// The first day of offers anywhere in the country; `None`: never offered.
    pub proactive: Option<Date>,
    pub consent: bool,
    pub debounce_days: i64,
    pub priority: i64,
    /// Unit of the amount.
    pub unit: String,
    /// The amount rests on no source: it is marked so, or the last value of a parameter that it names is.
    pub assumed: bool,
    /// Keys of the conditions, inherited ones first.
    pub reasons: Vec<String>,
}

/// Which records say that a benefit is held; the numbers are positions among the packed fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub register: u16,
    pub benefit: usize,
    pub from: Option<usize>,
    pub until: Option<usize>,
}

/// Where the dispatcher finds a telephone and a language: a register and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub register: u16,
    pub phone: String,
    pub language: String,
}

/// A span of the calendar that moves with today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    PreviousQuarter,
    LastMonths(i32),
    ThisYear,
}

impl Window {
    /// First day, and the day after the last, seen from today.
    pub fn bounds(self, today: Date) -> (Date, Date) {
        match self {
            Window::PreviousQuarter => (today.quarter_start().add_months(-3), today.quarter_start()),
            Window::LastMonths(months) => (today.month_start().add_months(-months), today.month_start()),
            Window::ThisYear => (year_start(today), year_start(today).add_months(12)),
        }
    }
}

/// The first day of the calendar year.
fn year_start(day: Date) -> Date {
    let (_, month, _) = day.ymd();
    day.month_start().add_months(1 - month as i32)
}

/// How much a package says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub registers: usize,
    pub parameters: usize,
    pub person_indicators: usize,
    pub household_indicators: usize,
    pub criteria: usize,
    pub levels: usize,
    pub categories: usize,
    pub benefits: usize,
    pub notices: usize,
    /// Benefits that are offered without an application.
    pub proactive: usize,
    pub messages: usize,
    pub slots: usize,
}

/// A package, checked and compiled.
#[derive(Debug)]
pub struct Policy {
    pub id: String,
    pub version: String,
    /// A hash over the package's files, its stories aside: two packages of one are the same policy.
    pub fingerprint: u128,
    pub from: Date,
    pub person: PersonKind,
    pub currency: String,
    pub languages: Vec<String>,
    pub coverage: Option<String>,
    /// Sorted by id; the last one is the built-in `kin`.
    pub registers: Vec<Register>,
    pub kin_register: u16,
    pub parameters: Vec<Parameter>,
    /// From what the next values of parameters are proposed.
    pub proposals: Vec<Proposal>,
    pub indicators: Vec<Indicator>,
    pub criteria: Vec<Criterion>,
    pub levels: Vec<Criterion>,
    pub faults: Vec<DeclaredFault>,
    pub level_letters: Vec<String>,
    /// The categories that are given out, ascending.
    pub categories: Vec<u8>,
    /// Sorted by id.
    pub benefits: Vec<Benefit>,
    pub messages: BTreeMap<String, Texts>,
    pub assignment: Option<Assignment>,
    pub contact: Option<Contact>,
    /// Index of the person indicator that tells where somebody lives: comparisons of policies are told by it.
    pub region: Option<usize>,
    /// Parts of a short message that a text in one language takes at most.
    pub text_parts: usize,
    pub story_people: Vec<toml::Table>,
    /// Length of [`Row::values`]: 0 counts members, 1 is the head's number.
    pub slots: usize,
    /// How many sums over residents there are of a dwelling; they come after the slots in what somebody contributes.
    pub dwelling_slots: usize,
    /// What is not wrong but looks like a mistake.
    pub warnings: Vec<Problem>,
    pub(crate) register_index: HashMap<String, u16>,
    pub(crate) benefit_index: HashMap<String, u16>,
    pub(crate) programs: programs::Programs,
}

impl Policy {
    /// The most parts that a message takes in a language, whatever it is about, and about which benefit it does.
    pub fn longest_text(&self, message: &str, language: &str) -> Option<(usize, &str)> {
        Some(builder::longest(self.messages.get(message)?.get(language)?, language, message, &self.benefits))
    }

    /// Reads a package: `(path relative to the package, text)` of each of its files.
    pub fn load(files: &[(String, String)]) -> Result<Policy, Vec<Problem>> {
        load::load(files)
    }

    /// The number of a register.
    pub fn register(&self, id: &str) -> Option<u16> {
        self.register_index.get(id).copied()
    }

    /// The number of a benefit.
    pub fn benefit(&self, id: &str) -> Option<u16> {
        self.benefit_index.get(id).copied()
    }

    /// The word for a fault, and a sentence for people, in the package's last language.
    pub fn describe(&self, fault: FaultKind) -> (&str, &str) {
        let FaultKind::Declared(index) = fault else {
            return fault.describe().expect("all others are known");
        };
        let DeclaredFault { id, title, .. } = &self.faults[usize::from(index)];
        (id, self.languages.last().and_then(|language| title.get(language)).map_or("", String::as_str))
    }

    /// How the records of a register are packed.
    pub fn packing(&self, register: u16) -> &file::Packing {
        &self.registers[usize::from(register)].packing
    }

    /// The name of a reason for not knowing.
    pub fn reason(&self, code: u16) -> String {
        match code {
            program::REASON_ABSENT => "absent".into(),
            program::REASON_UNDEFINED => "undefined".into(),
            _ => {
                let feed = usize::from(code.saturating_sub(environment::FIRST_FEED_REASON));
                let (kind, index) = match feed.checked_sub(self.registers.len()) {
                    None => ("not_connected", feed),
                    Some(index) => ("silent", index),
                };
                let register = self.registers.get(index);
                format!("{kind}:{}", register.map_or("?", |register| &register.id))
            }
        }
    }

    /// Whether each register can be relied on, by the last date on which it was heard.
    pub fn feed_states(&self, heard: &[Option<Date>], today: Date) -> Vec<FeedState> {
        let state = |(index, register): (usize, &Register)| match heard.get(index).copied().flatten() {
            _ if index == usize::from(self.kin_register) => FeedState::Fresh,
            None => FeedState::NotConnected,
            Some(last) if i64::from(today.0) - i64::from(last.0) > i64::from(register.cadence_days) => FeedState::Silent,
            Some(_) => FeedState::Fresh,
        };
        self.registers.iter().enumerate().map(state).collect()
    }

    /// What the bits of a refusal say: the failed conditions, `amount` where there is nothing to pay, `excluded` where another
    /// right rules it out.
    pub fn refusals(&self, benefit: u16, failed: u64) -> impl Iterator<Item = &str> {
        let reasons = self.benefits[usize::from(benefit)].reasons.iter().map(String::as_str).chain(["amount", "excluded"]);
        reasons.enumerate().filter(move |(index, _)| failed >> index & 1 == 1).map(|(_, reason)| reason)
    }

    /// Whether records of a register may say who belongs together, what tied people know, or that facts contradict each other.
    pub fn concerns_composition(&self, register: u16) -> bool {
        self.programs.concerns[usize::from(register)].composition
    }

    /// How much the package says.
    pub fn summary(&self) -> Summary {
        let of = |level| self.indicators.iter().filter(|indicator| indicator.level == level).count();
        Summary {
            registers: self.registers.len() - 1,
            parameters: self.parameters.len(),
            person_indicators: of(Level::Person),
            household_indicators: of(Level::Household),
            criteria: self.criteria.len(),
            levels: self.level_letters.len(),
            categories: self.categories.len(),
            benefits: self.benefits.len(),
            notices: self.benefits.iter().filter(|benefit| benefit.kind == BenefitKind::Notice).count(),
            proactive: self.benefits.iter().filter(|benefit| benefit.proactive.is_some()).count(),
            messages: self.messages.len(),
            slots: self.slots,
        }
    }
}
