//! What the engine says on a day of a story, and how it compares with a sentence.

use super::Event;
use super::expectation::{Expectation, Terms, What};
use dataflows::model::{Change, ChangeKind, Date, Decision, HouseholdKey, Outcome, PersonId};
use dataflows::policy::file::ABSENT;
use dataflows::policy::{Indicator, Judgement, Level, Policy, Trace, ValueKind, is_unknown, reason_of};
use std::collections::BTreeMap;

/// Everything that sentences may speak of.
pub struct Findings<'a> {
    pub policy: &'a Policy,
    pub names: &'a BTreeMap<String, PersonId>,
    /// Everybody who has a place.
    pub households: BTreeMap<PersonId, HouseholdKey>,
    pub judgements: BTreeMap<HouseholdKey, Judgement>,
    pub values: BTreeMap<PersonId, Vec<i64>>,
    /// The rights of today.
    pub decisions: &'a [Decision],
    /// Contradictions of today, by word and person.
    pub faults: &'a BTreeMap<(String, PersonId), isize>,
    /// What changed today.
    pub changes: &'a [Change],
    /// Conditions of the rights of those whom sentences name and of their households.
    pub traces: BTreeMap<PersonId, Vec<Trace>>,
}

/// What a sentence found instead of what it expected.
type Found = Result<(), String>;

impl Findings<'_> {
    /// Whether a sentence holds; if not, what was found.
    pub fn check(&self, expectation: &Expectation) -> Found {
        let Some(&person) = self.names.get(&expectation.name) else {
            return Err(format!("nobody called {}", expectation.name));
        };
        match &expectation.what {
            What::Happened { event, benefit, terms } => self.happened(person, *event, benefit, terms),
            What::Has { benefit, terms } => self.has(person, benefit, terms),
            What::NotEligible { benefit, because } => self.not_eligible(person, benefit, because.as_deref()),
            What::Undetermined { benefit } => self.undetermined(person, benefit),
            What::LivesWith { names } => self.lives_with(person, names),
            What::Nowhere => match self.households.get(&person) {
                None => Ok(()),
                Some(_) => Err("in a household".to_owned()),
            },
            What::Fault { id, present } => {
                let of_person: Vec<&str> = self.faults.keys().filter(|(_, of)| *of == person).map(|(id, _)| id.as_str()).collect();
                if of_person.contains(&id.as_str()) == *present { Ok(()) } else { Err(format!("faults: {}", of_person.join(", "))) }
            }
            What::Value { id, value } => {
                let found = self.value(person, id)?;
                if found == *value { Ok(()) } else { Err(found) }
            }
            What::Unknown { id, reason } => {
                let found = self.value(person, id)?;
                let wanted = reason.as_ref().map_or_else(|| "unknown".to_owned(), |reason| format!("unknown {reason}"));
                let holds = found == wanted || (reason.is_none() && found.starts_with("unknown"));
                if holds { Ok(()) } else { Err(found) }
            }
        }
    }

    /// A change that no sentence accounts for, told as one.
    pub fn tell(&self, change: &Change) -> Option<String> {
        let event = event(change)?;
        let decision = &change.decision;
        let benefit = &self.policy.benefits[usize::from(decision.benefit)].id;
        Some(format!("{} {} {}", self.name(decision.person), event.word(), self.describe(benefit, decision)))
    }

    /// The story's name of a person; the number of somebody whom the story does not name.
    pub fn name(&self, person: PersonId) -> String {
        let named = self.names.iter().find(|(_, id)| **id == person);
        named.map_or_else(|| self.policy.person.format(person), |(name, _)| name.clone())
    }

    fn happened(&self, person: PersonId, event: Event, benefit: &str, terms: &Terms) -> Found {
        let index = self.benefit(benefit)?;
        let of_right = |change: &&Change| change.decision.person == person && change.decision.benefit == index;
        let mut of_today = self.changes.iter().filter(of_right).filter(|change| self::event(change).is_some()).peekable();
        if of_today.peek().is_none() {
            let now = self.decisions.iter().find(|decision| decision.person == person && decision.benefit == index);
            let now =
                now.map_or_else(|| self.conditions(person, benefit), |decision| format!("it has {}", self.describe(benefit, decision)));
            return Err(format!("no change: {now}"));
        }
        let mut found = Vec::new();
        for change in of_today {
            if self::event(change) == Some(event) && self.fits(&change.decision, terms) {
                return terms.because.as_ref().map_or(Ok(()), |condition| self.broken(person, benefit, condition));
            }
            found.extend(self.tell(change));
        }
        Err(found.join(", "))
    }

    fn has(&self, person: PersonId, benefit: &str, terms: &Terms) -> Found {
        let index = self.benefit(benefit)?;
        let mut held = self.decisions.iter().filter(|decision| decision.person == person && decision.benefit == index);
        let granted = |decision: &&Decision| matches!(decision.outcome, Outcome::Eligible | Outcome::Notice) && self.fits(decision, terms);
        if held.clone().any(|decision| granted(&decision)) {
            return Ok(());
        }
        Err(held.next().map_or_else(|| self.conditions(person, benefit), |decision| self.describe(benefit, decision)))
    }

    fn not_eligible(&self, person: PersonId, benefit: &str, because: Option<&str>) -> Found {
        let index = self.benefit(benefit)?;
        let granted =
            |decision: &&Decision| decision.person == person && decision.benefit == index && decision.outcome == Outcome::Eligible;
        if let Some(decision) = self.decisions.iter().find(granted) {
            return Err(self.describe(benefit, decision));
        }
        because.map_or(Ok(()), |condition| self.broken(person, benefit, condition))
    }

    fn undetermined(&self, person: PersonId, benefit: &str) -> Found {
        let index = self.benefit(benefit)?;
        let undecided = |trace: &&Trace| !trace.conditions.contains(&0) && trace.conditions.iter().any(|condition| is_unknown(*condition));
        if self.traces_of(person, index).any(|trace| undecided(&trace)) { Ok(()) } else { Err(self.conditions(person, benefit)) }
    }

    fn lives_with(&self, person: PersonId, names: &[String]) -> Found {
        let Some(household) = self.households.get(&person) else {
            return Err("no household".to_owned());
        };
        let others = self.households.iter().filter(|(other, key)| *key == household && **other != person);
        let mut found: Vec<String> = others.map(|(other, _)| self.name(*other)).collect();
        let mut wanted = names.to_vec();
        found.sort();
        wanted.sort();
        match found {
            found if found == wanted => Ok(()),
            found if found.is_empty() => Err("alone".to_owned()),
            found => Err(format!("lives with {}", found.join(", "))),
        }
    }

    /// Whether one of the rights of this benefit fails by this condition.
    fn broken(&self, person: PersonId, benefit: &str, condition: &str) -> Found {
        let index = self.benefit(benefit)?;
        let reasons = &self.policy.benefits[usize::from(index)].reasons;
        let Some(position) = reasons.iter().position(|reason| reason == condition) else {
            return Err(format!("no condition {condition}; there are {}", reasons.join(", ")));
        };
        let mut traces = self.traces_of(person, index).peekable();
        // Without a record to found it on there is no right whose conditions could hold.
        if traces.peek().is_none() || traces.any(|trace| trace.conditions[position] == 0) {
            return Ok(());
        }
        Err(self.conditions(person, benefit))
    }

    fn traces_of(&self, person: PersonId, benefit: u16) -> impl Iterator<Item = &Trace> {
        self.traces.get(&person).into_iter().flatten().filter(move |trace| trace.benefit == benefit)
    }

    /// Conditions and amount, as they are.
    fn conditions(&self, person: PersonId, benefit: &str) -> String {
        let Ok(index) = self.benefit(benefit) else {
            return String::new();
        };
        let traces: Vec<String> = self.traces_of(person, index).map(|trace| self.tell_trace(trace)).collect();
        if traces.is_empty() { format!("nothing that founds {benefit}") } else { traces.join("; ") }
    }

    /// The conditions and the amount of a right.
    pub fn tell_trace(&self, trace: &Trace) -> String {
        let truth = |value: i64| match value {
            0 => "no".to_owned(),
            1 => "yes".to_owned(),
            value => format!("unknown ({})", self.policy.reason(reason_of(value))),
        };
        let reasons = &self.policy.benefits[usize::from(trace.benefit)].reasons;
        let conditions = reasons.iter().zip(&trace.conditions).map(|(reason, value)| format!("{reason} {}", truth(*value)));
        let amount = if is_unknown(trace.amount) { "unknown".to_owned() } else { trace.amount.to_string() };
        format!("{}, amount {amount}", conditions.collect::<Vec<_>>().join(", "))
    }

    fn fits(&self, decision: &Decision, terms: &Terms) -> bool {
        terms.amount.is_none_or(|amount| amount == decision.amount)
            && terms.from.is_none_or(|from| from == decision.from)
            && terms.until.is_none_or(|until| until == decision.until)
    }

    /// A right in the words of sentences.
    pub fn describe(&self, benefit: &str, decision: &Decision) -> String {
        let mut text = format!("{benefit} {}", decision.amount);
        if decision.outcome != Outcome::Eligible {
            text = format!("{benefit} ({})", decision.outcome.as_str());
        }
        if decision.from != Date::BEFORE_ALL {
            text += &format!(" from {}", decision.from);
        }
        if decision.until != Date::NEVER {
            text += &format!(" until {}", decision.until);
        }
        text
    }

    fn benefit(&self, id: &str) -> Result<u16, String> {
        self.policy.benefit(id).ok_or_else(|| format!("no benefit {id}"))
    }

    /// A value by its name, as sentences write it.
    fn value(&self, person: PersonId, id: &str) -> Result<String, String> {
        if let Some(indicator) = self.policy.indicators.iter().find(|indicator| indicator.id == id) {
            let values = match indicator.level {
                Level::Person => self.values.get(&person),
                Level::Household => self.judgement(person).map(|judgement| &judgement.indicators),
            };
            let values = values.ok_or_else(|| "no household".to_owned())?;
            return Ok(self.show(indicator, values[indicator.position]));
        }
        let judgement = self.judgement(person).ok_or_else(|| "no household".to_owned())?;
        let points = |criteria: &[dataflows::policy::Criterion], points: &[i64]| {
            criteria.iter().position(|criterion| criterion.id == id).map(|index| points[index].to_string())
        };
        match id {
            "score" => Ok(judgement.score.to_string()),
            "level_score" => Ok(judgement.level_score.to_string()),
            "category" => Ok(judgement.category.to_string()),
            "level" => self.policy.level_letters.get(usize::from(judgement.level)).cloned().ok_or_else(|| "no level".to_owned()),
            _ => points(&self.policy.criteria, &judgement.points)
                .or_else(|| points(&self.policy.levels, &judgement.level_points))
                .ok_or_else(|| format!("nothing called {id}")),
        }
    }

    pub fn judgement(&self, person: PersonId) -> Option<&Judgement> {
        self.judgements.get(self.households.get(&person)?)
    }

    /// An indicator's value, as sentences write it.
    pub fn show(&self, indicator: &Indicator, value: i64) -> String {
        if is_unknown(value) {
            return format!("unknown {}", self.policy.reason(reason_of(value)));
        }
        match &indicator.kind {
            _ if value == ABSENT => "unknown absent".to_owned(),
            ValueKind::Int => value.to_string(),
            ValueKind::Bool => (value != 0).to_string(),
            ValueKind::Date => Date(value as i32).to_string(),
            ValueKind::Enum(words) => words.get(value as usize).cloned().unwrap_or_default(),
        }
    }
}

/// What a change is called in sentences; one that changes no decision is none.
pub fn event(change: &Change) -> Option<Event> {
    match change.kind {
        ChangeKind::Gained | ChangeKind::Amount if change.decision.outcome == Outcome::Refused => Some(Event::Refused),
        ChangeKind::Gained => Some(Event::Gained),
        ChangeKind::Lost => Some(Event::Lost),
        ChangeKind::Amount => Some(Event::Changed),
        ChangeKind::Doubted => Some(Event::Doubted),
        ChangeKind::Attributes | ChangeKind::Refuted | ChangeKind::Sealed => None,
    }
}
