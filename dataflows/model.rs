//! The nouns that every room shares: people, dates, households, updates, decisions, faults.
//!
//! Inside the house a person is a `u64` (an ИИН read as a number, or the package's integer key), money is whole units of
//! the package's currency, and a date is a count of days. What cannot be represented is refused at the door.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::ops::AddAssign;
use std::rc::Rc;

/// One durable transaction of the journal, and the only timestamp of the dataflow. Totally ordered.
pub type Epoch = u64;

/// A person, as a number. Below 2^62; zero means "nobody".
pub type PersonId = u64;

/// A calendar day: days since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Date(pub i32);

impl Date {
    /// Later than every date that a record may carry.
    pub const NEVER: Date = Date(i32::MAX);
    /// Earlier than every date: what "today" is before the first calendar record.
    pub const BEFORE_ALL: Date = Date(i32::MIN);

    /// The day `year-month-day` of the Gregorian calendar; `None` when there is no such day.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Date> {
        let valid = (1..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        valid.then(|| Date(days_from_civil(year, month, day)))
    }

    /// Year, month 1..=12 and day 1..=31.
    pub fn ymd(self) -> (i32, u32, u32) {
        match table_month(self.0) {
            Some(index) => (TABLE_FROM + index as i32 / 12, index as u32 % 12 + 1, (self.0 - MONTHS[index] + 1) as u32),
            None => civil_from_days(self.0),
        }
    }

    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Date> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        Date::from_ymd(digits(&bytes[0..4])? as i32, digits(&bytes[5..7])?, digits(&bytes[8..10])?)
    }

    /// Reads `YYYY-MM` as the first day of the month.
    pub fn parse_month(text: &str) -> Option<Date> {
        let bytes = text.as_bytes();
        if bytes.len() != 7 || bytes[4] != b'-' {
            return None;
        }
        Date::from_ymd(digits(&bytes[0..4])? as i32, digits(&bytes[5..7])?, 1)
    }

    /// The same day `months` later (earlier if negative); the last day of the month where there is no such day.
    pub fn add_months(self, months: i32) -> Date {
        if let Some(index) = table_month(self.0) {
            let target = index as i64 + i64::from(months);
            if (0..MONTHS.len() as i64 - 1).contains(&target) {
                let (from, day, target) = (MONTHS[index], self.0, target as usize);
                return Date((MONTHS[target] + day - from).min(MONTHS[target + 1] - 1));
            }
        }
        let (year, month, day) = self.ymd();
        let index = year * 12 + month as i32 - 1 + months;
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
        Date(days_from_civil(year, month, day.min(days_in_month(year, month))))
    }

    /// Full months from `self` to `later`; negative when `later` is earlier.
    pub fn months_until(self, later: Date) -> i32 {
        let ((from_year, from_month, _), (year, month, _)) = (self.ymd(), later.ymd());
        let months = (year - from_year) * 12 + month as i32 - from_month as i32;
        if self.add_months(months) > later { months - 1 } else { months }
    }

    /// The first day of the month.
    pub fn month_start(self) -> Date {
        let (year, month, _) = self.ymd();
        Date(days_from_civil(year, month, 1))
    }

    /// The first day of the calendar quarter.
    pub fn quarter_start(self) -> Date {
        let (year, month, _) = self.ymd();
        Date(days_from_civil(year, (month - 1) / 3 * 3 + 1, 1))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Date::NEVER => write!(f, "never"),
            Date::BEFORE_ALL => write!(f, "before all"),
            date => write!(f, "{date}"),
        }
    }
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// Days in a month of the Gregorian calendar.
pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The first days of the months of the years in which nearly all dates lie, and of the one after: dates are computed for everybody
/// again and again, mostly from birthdays.
static MONTHS: [i32; (TABLE_YEARS * 12 + 1) as usize] = {
    let mut months = [0; (TABLE_YEARS * 12 + 1) as usize];
    let mut index = 0;
    while index < months.len() {
        months[index] = days_from_civil(TABLE_FROM + index as i32 / 12, index as u32 % 12 + 1, 1);
        index += 1;
    }
    months
};
const TABLE_FROM: i32 = 1900;
const TABLE_YEARS: i32 = 240;

/// Which month of the table a day lies in.
#[inline]
fn table_month(days: i32) -> Option<usize> {
    if !(MONTHS[0]..MONTHS[MONTHS.len() - 1]).contains(&days) {
        return None;
    }
    // Months are 30.44 days long: the guess is right, or one of those beside it is.
    let mut index = ((i64::from(days - MONTHS[0]) * 2153) >> 16) as usize;
    while MONTHS[index + 1] <= days {
        index += 1;
    }
    while MONTHS[index] > days {
        index -= 1;
    }
    Some(index)
}

// Both conversions count years from March, so that the leap day is the last of its year, in eras of 400 years.
const fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month as i32 + 9) % 12) + 2) / 5 + day as i32 - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i32) -> (i32, u32, u32) {
    let days = i64::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = (year_of_era + era * 400) as i32 + i32::from(month <= 2);
    (year, month, day)
}

/// How a package names people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PersonKind {
    #[default]
    /// The 12-digit individual identification number of Kazakhstan, with its check digit.
    Iin,
    /// Any positive integer below 2^62.
    Integer,
}

impl PersonKind {
    /// Reads a person's identifier; the error says what is wrong with it.
    pub fn parse(self, text: &str) -> Result<PersonId, &'static str> {
        match self {
            PersonKind::Iin => parse_iin(text),
            // One person is written one way: "+7" and "007" are nobody.
            PersonKind::Integer => match text.parse::<u64>() {
                Ok(number) if number > 0 && number < 1 << 62 && text.starts_with(|first: char| matches!(first, '1'..='9')) => Ok(number),
                _ => Err("not a positive integer in plain digits"),
            },
        }
    }

    /// The identifier as it is written outside.
    pub fn format(self, person: PersonId) -> String {
        let mut text = String::new();
        self.write(person, &mut text).expect("memory can be written");
        text
    }

    /// Appends the identifier as it is written outside.
    pub fn write(self, person: PersonId, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            PersonKind::Iin => write!(out, "{person:012}"),
            PersonKind::Integer => write!(out, "{person}"),
        }
    }
}

/// Reads an ИИН and verifies its date part's shape and check digit (two passes modulo 11; Government decree № 565 of 2003).
fn parse_iin(text: &str) -> Result<PersonId, &'static str> {
    let bytes = text.as_bytes();
    if bytes.len() != 12 || !bytes.iter().all(u8::is_ascii_digit) {
        return Err("not 12 digits");
    }
    let digit = |index: usize| u32::from(bytes[index] - b'0');
    if check_digit(&std::array::from_fn(digit)) != Some(digit(11)) {
        return Err("wrong check digit");
    }
    Ok(bytes.iter().fold(0, |number, byte| number * 10 + u64::from(byte - b'0')))
}

/// The check digit of an ИИН's first eleven digits; `None` for numbers that are never issued.
pub fn check_digit(digits: &[u32; 11]) -> Option<u32> {
    let weighted = |shift: u32| digits.iter().zip(0..).map(|(digit, index)| digit * ((index + shift) % 11 + 1)).sum::<u32>() % 11;
    [weighted(0), weighted(2)].into_iter().find(|&check| check != 10)
}

/// Which family someone belongs to: a function of facts, the same in batch and live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HouseholdKey(pub u64);

impl HouseholdKey {
    const TAG_SHIFT: u32 = 62;
    /// No household: dead, departed or never registered.
    pub const NONE: HouseholdKey = HouseholdKey(0);

    /// The family placed at this responsible adult.
    pub fn family(anchor: PersonId) -> Self {
        HouseholdKey(anchor | 1 << Self::TAG_SHIFT)
    }
    /// A child without any responsible adult.
    pub fn orphan(child: PersonId) -> Self {
        HouseholdKey(child | 2 << Self::TAG_SHIFT)
    }
    /// Someone alive who is not counted anywhere: full state support, prison, term service.
    pub fn excluded(person: PersonId) -> Self {
        HouseholdKey(person | 3 << Self::TAG_SHIFT)
    }
    /// The person after whom the household is named.
    pub fn anchor(self) -> PersonId {
        self.0 & ((1 << Self::TAG_SHIFT) - 1)
    }
    pub fn is_family(self) -> bool {
        self.0 >> Self::TAG_SHIFT == 1
    }
    pub fn is_orphan(self) -> bool {
        self.0 >> Self::TAG_SHIFT == 2
    }
    pub fn is_excluded(self) -> bool {
        self.0 >> Self::TAG_SHIFT == 3
    }
    /// `F:…`, `O:…`, `X:…`; the empty string for none.
    pub fn format(self, kind: PersonKind) -> String {
        let prefix = match self.0 >> Self::TAG_SHIFT {
            1 => "F:",
            2 => "O:",
            3 => "X:",
            _ => return String::new(),
        };
        format!("{prefix}{}", kind.format(self.anchor()))
    }
}

/// What someone is within their household.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// In no family: dead, departed, unregistered or excluded.
    Outside,
    /// The adult after whom the family is named.
    Head,
    /// The head's spouse.
    Spouse,
    /// Placed with a responsible adult, or alone as an orphan.
    Child,
    /// An adult placed with a parent (domain rule 7).
    Dependant,
}

impl Role {
    pub const ALL: [Role; 5] = [Role::Outside, Role::Head, Role::Spouse, Role::Child, Role::Dependant];

    pub fn name(self) -> &'static str {
        match self {
            Role::Outside => "outside",
            Role::Head => "head",
            Role::Spouse => "spouse",
            Role::Child => "child",
            Role::Dependant => "dependant",
        }
    }
}

/// Where someone belongs, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Membership {
    pub household: HouseholdKey,
    pub role: Role,
}

impl Membership {
    pub const OUTSIDE: Membership = Membership { household: HouseholdKey::NONE, role: Role::Outside };

    /// Who is written to about a right of this member: adults themselves, children and dependants through the adult whom their
    /// family is named after. Nobody (zero) for an orphan without a guardian (edge case E25).
    pub fn addressee(self, person: PersonId) -> PersonId {
        match self.role {
            Role::Head | Role::Spouse => person,
            Role::Child | Role::Dependant if self.household.is_family() => self.household.anchor(),
            _ => 0,
        }
    }
}

/// A checked record on its way into the house.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Update {
    /// Whose file it enters; for a register of global identity, zero.
    pub person: PersonId,
    /// The record's own, so that it need not be looked into on its way.
    pub register: u16,
    /// The latest date that the record itself proves its register to be alive on.
    pub heard: Date,
    /// The record, packed by [`crate::policy::file`].
    pub record: Box<[u8]>,
}

/// What a right is founded on, besides its conditions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ground {
    /// The conditions alone.
    Constant,
    /// One record: register index and key.
    Record(u16, Box<str>),
}

/// How a benefit was answered. Ineligible is the absence of a decision; so is [`Outcome::InDoubt`], which never leaves the house:
/// it only keeps what is not known apart from what is known not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    Eligible,
    Notice,
    Refused,
    /// Not known, of a right that is held by an assignment.
    Undetermined,
    /// Not known, and not held.
    InDoubt,
}

impl Outcome {
    /// The word used in files and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Eligible => "eligible",
            Outcome::Notice => "notice",
            Outcome::Refused => "refused",
            Outcome::Undetermined => "undetermined",
            Outcome::InDoubt => "in_doubt",
        }
    }
}

/// A right that a person has now. Household, addressee, dates and reasons are attributes: a change in them alone is no change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Who has the right.
    pub person: PersonId,
    /// Index of the benefit in the package.
    pub benefit: u16,
    pub ground: Ground,
    /// First day of the month or quarter for which the right holds; `Date::NEVER` for rights without a period.
    pub period: Date,
    pub outcome: Outcome,
    /// Money as the benefit declares, in whole units of the currency; zero for notices and undetermined rights.
    pub amount: i64,
    pub household: HouseholdKey,
    /// Who is written to: the person, or the adult after whom their family is named. Zero: nobody.
    pub addressee: PersonId,
    /// First and last day of the right where the benefit declares them, else `Date::BEFORE_ALL` and `Date::NEVER`.
    pub from: Date,
    pub until: Date,
    /// No offer before this day; `Date::NEVER`: none at all.
    pub proactive: Date,
    /// Of a refusal: which conditions fail, by bit, in the order of [`crate::policy::Policy::refusals`].
    pub failed: u64,
}

/// The identity of a decision: a hash over person, benefit, ground, period, outcome and amount, by their outside names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DecisionId(pub u128);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What happened to a right within one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChangeKind {
    Gained,
    /// It is known that the right is no more.
    Lost,
    /// No decision stands, because it is no longer known whether the right does. Nothing is lost: the right is gained again, or
    /// refuted, once more is known.
    Doubted,
    /// It is known that a right is not there which was in doubt. There was no decision: whoever knows of one that had been
    /// doubted (the ledger) learns that it is lost.
    Refuted,
    /// The same right with another amount or outcome.
    Amount,
    /// The same decision with other attributes (household, addressee, dates): no change to the person.
    Attributes,
    /// The decision of a number that was given up in secret is no more, and nothing is to be said of it.
    Sealed,
}

/// A changed decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// As it is now; as it was, if it is no more.
    pub decision: Decision,
    /// Under [`ChangeKind::Amount`] and [`ChangeKind::Attributes`]: the decision replaced.
    pub before: Option<Box<Decision>>,
}

impl Change {
    /// The order in which an epoch's changes are told.
    pub fn in_order(one: &Change, other: &Change) -> Ordering {
        one.decision.cmp(&other.decision)
    }

    /// Whether any decision is other than before, and may be spoken of: a change of attributes alone is none, and what is refuted
    /// never was one.
    pub fn is_of_decision(&self) -> bool {
        !matches!(self.kind, ChangeKind::Attributes | ChangeKind::Refuted | ChangeKind::Sealed)
    }
}

/// A contradiction in the data, present as long as it lasts. The engine never fails on a bad fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// Register index and key of the record concerned; of a declared fault [`Fault::NO_REGISTER`] and nothing.
    pub register: u16,
    pub key: Box<str>,
    /// In whose file it was seen; zero for none.
    pub person: PersonId,
}

impl Fault {
    /// Where several records contradict each other.
    pub const NO_REGISTER: u16 = u16::MAX;
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    /// Two different contents under the winning version.
    Conflict,
    /// The event lies after today: the record waits.
    Future,
    /// The record speaks of somebody whom no person record describes.
    Nobody,
    /// Somebody married twice at once: the later act counts.
    TwoMarriages,
    /// A guardian who is a child.
    ChildGuardian,
    /// A number given up for two others: the later record counts.
    TwoAliases,
    /// Numbers given up for each other.
    AliasCircle,
    /// Somebody is said to have two numbers, and neither is given up.
    TwoNumbers,
    /// What the package calls a contradiction: index into [`crate::policy::Policy::faults`].
    Declared(u16),
}

impl FaultKind {
    /// The word used in files, and a sentence for people. Of declared faults the package knows.
    pub fn describe(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            FaultKind::Conflict => ("conflict", "two different contents carry the winning version; the greater one counts"),
            FaultKind::Future => ("future", "the event lies after today; the record waits for its date"),
            FaultKind::Nobody => ("nobody", "the record speaks of a person whom no person record describes"),
            FaultKind::TwoMarriages => ("two_marriages", "two marriages are in force at once; the later one counts"),
            FaultKind::ChildGuardian => ("child_guardian", "the guardian is a child; the next responsible adult is taken"),
            FaultKind::TwoAliases => ("two_aliases", "a number is given up for two others; the later record counts"),
            FaultKind::AliasCircle => ("alias_circle", "numbers are given up for each other; the least stands for all of them"),
            FaultKind::TwoNumbers => ("two_numbers", "said to have two numbers; nothing is offered until one is given up"),
            FaultKind::Declared(_) => return None,
        })
    }
}

/// What is other than before about people's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renumbering {
    /// The number is given up for another; `None`: it stands for itself again.
    GivenUp(PersonId, Option<PersonId>),
    /// The person is said to have two numbers of which neither is given up; false: no longer.
    Doubtful(PersonId, bool),
}

/// Category (1–6, 0 for none) and level (0 = A; 255 for none) of a household.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Standing {
    pub category: u8,
    pub level: u8,
}

/// A household that appeared, vanished, or changed its category or level: before and now.
pub type Restanding = (HouseholdKey, Option<Standing>, Option<Standing>);
/// A person whose household or role is another one: from and to.
pub type Move = (PersonId, Membership, Membership);

/// What the criteria and the level's points of a household add up to, and where that puts it; see [`Standing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores {
    pub score: i64,
    pub category: u8,
    pub level_score: i64,
    pub level: u8,
}

/// A household of which something else is said than before: what now, nothing if it is no more.
pub type Rejudged = (HouseholdKey, Option<Scores>);

/// What an epoch changed, as one worker saw it: all that leaves the house.
#[derive(Clone, Debug, Default)]
pub struct EpochAnswer {
    pub changes: Vec<Change>,
    /// Faults that appeared (+1) and ended (−1).
    pub faults: Vec<(Fault, isize)>,
    pub standings: Vec<Restanding>,
    /// Who moved or has another role: from where, and where to; either may be [`Membership::OUTSIDE`]. Nobody in the first epoch in
    /// which anything is said: where everybody stands then is no move.
    pub moves: Vec<Move>,
    /// Households with other scores, none in that first epoch either.
    pub rejudged: Vec<Rejudged>,
    /// Households whose sums changed.
    pub rows_changed: u64,
    pub ignored: Ignored,
}

/// Records that changed nothing, because of what was held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// The very version was there.
    pub duplicates: u64,
    /// A later version was.
    pub superseded: u64,
}

impl AddAssign for Ignored {
    fn add_assign(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.superseded += other.superseded;
    }
}

/// The answer of the epoch in flight, written by the rooms of one worker and complete when the last of them is through.
pub type SharedAnswer = Rc<RefCell<EpochAnswer>>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Days within the table, around its ends and beyond have one calendar.
    #[test]
    fn the_table_of_months_is_the_calendar() {
        for days in days_from_civil(1890, 1, 1)..days_from_civil(2150, 1, 1) {
            let (date, (year, month, day)) = (Date(days), civil_from_days(days));
            assert_eq!(date.ymd(), (year, month, day), "{days}");
            assert_eq!(days_from_civil(year, month, day), days);
            for months in [-1_200, -13, -1, 0, 1, 12, 216, 756] {
                let index = year * 12 + month as i32 - 1 + months;
                let (year, month) = (index.div_euclid(12), index.rem_euclid(12) as u32 + 1);
                let expected = Date(days_from_civil(year, month, day.min(days_in_month(year, month))));
                assert_eq!(date.add_months(months), expected, "{date} and {months} months");
            }
        }
    }
}
