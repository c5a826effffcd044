//! What an expression costs: the stratum in which it is computed, and what makes it be computed again.
//!
//! Nothing rests on a later stratum. A change in one is followed through the later ones for one person, or one household; only
//! a policy date sweeps over everybody.

use super::Level;
use super::contents::{CATEGORY, COMPOSITION, Contents, Item, KIN, LEVEL, LEVEL_SCORE, Passage, SCORE, Sort, root};
use super::expression::{Expression, Kind};
use std::collections::BTreeSet;

/// The strata in order, from one: see [`Cost::stratum`].
pub const STRATA: [&str; 8] = [
    "own facts",
    "kin facts",
    "composition and roles",
    "people: roles, kin, own rights",
    "household sums",
    "households: indicators, criteria, categories, rights",
    "people's rights that read their household",
    "stacking",
];

/// The stratum of what excludes: it takes no expression, only other rights.
pub const STACKING: usize = STRATA.len();

/// What an expression costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// From one; [`STRATA`] has the names.
    pub stratum: usize,
    pub class: Class,
    /// A date in somebody's file makes it computed again.
    pub wakes: bool,
    /// What sweeps over everybody: windows, the year, dated parameters.
    pub swept: BTreeSet<String>,
}

/// What is read to compute an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One person's file, what tied people let know of themselves included.
    OwnFile,
    /// A sum over members or residents, kept by adding and taking away.
    Additive,
    /// A household's sums, as they stand.
    Row,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let class = match self.class {
            Class::OwnFile => "own file",
            Class::Additive => "additive",
            Class::Row => "household's row",
        };
        write!(f, "{} {}; {class}", self.stratum, STRATA[self.stratum - 1])?;
        if self.wakes {
            write!(f, "; wakes on a date")?;
        }
        if !self.swept.is_empty() {
            write!(f, "; swept at a policy date ({})", self.swept.iter().map(String::as_str).collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

impl Contents {
    /// What an expression of an item costs.
    pub fn cost(&self, item: &Item, passage: &Passage) -> Cost {
        let mut found = Found::default();
        found.look(&passage.expression);
        let parameters = self.of(Sort::Parameter).filter(|parameter| passage.reads.contains(&parameter.id));
        found.swept.extend(parameters.map(|parameter| parameter.id.clone()));
        let class = match of_people(item, passage) {
            _ if found.members => Class::Additive,
            true => Class::OwnFile,
            false => Class::Row,
        };
        Cost { stratum: self.stratum(item, passage, found.members), class, wakes: found.wakes, swept: found.swept }
    }

    fn stratum(&self, item: &Item, passage: &Passage, sums: bool) -> usize {
        let of_household = |id: &String| {
            let total = [SCORE, LEVEL_SCORE, CATEGORY, LEVEL].contains(&id.as_str());
            total || self.named(id).any(|read| read.sort == Sort::Indicator && read.level == Some(Level::Household))
        };
        let reads_household = passage.reads.iter().any(of_household);
        if !of_people(item, passage) {
            return if item.sort == Sort::Indicator && !reads_household { 5 } else { 6 };
        }
        let foundations = self.foundations(&passage.reads);
        match (item.sort, item.id.as_str()) {
            (_, KIN) => 2,
            (_, COMPOSITION) => 3,
            (Sort::Indicator | Sort::Fault, _) if !foundations.contains(COMPOSITION) && !foundations.contains(KIN) => 1,
            _ if reads_household || sums => 7,
            _ => 4,
        }
    }
}

/// Whether it is computed for each person, not for each household.
fn of_people(item: &Item, passage: &Passage) -> bool {
    match item.sort {
        Sort::Section => !passage.path.starts_with("household."),
        _ => item.level == Some(Level::Person),
    }
}

#[derive(Default)]
struct Found {
    members: bool,
    wakes: bool,
    swept: BTreeSet<String>,
}

impl Found {
    fn look(&mut self, expression: &Expression) {
        match &expression.kind {
            Kind::Name(name) => self.members |= name.starts_with("head."),
            Kind::Call(name, arguments) => {
                match name.as_str() {
                    "age" | "age_months" | "past" | "active" => self.wakes = true,
                    "previous_quarter" | "last_months" | "this_year" | "today_year" => {
                        self.swept.insert(expression.to_string());
                    }
                    _ => {}
                }
                arguments.iter().for_each(|argument| self.look(argument));
            }
            Kind::List(items) => items.iter().for_each(|item| self.look(item)),
            Kind::Method(target, _, arguments) => {
                self.members |= matches!(root(target), Some("members" | "residents"));
                self.look(target);
                arguments.iter().for_each(|argument| self.look(argument));
            }
            Kind::Int(_) | Kind::Decimal { .. } | Kind::Bool(_) | Kind::Word(_) => {}
        }
    }
}
