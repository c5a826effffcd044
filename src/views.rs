//! The engine's rows as they are written outside: one JSON object a line, keys and names as the package gives them.

use dataflows::decisions::{decision_id, ground_text};
use dataflows::model::{ChangeKind, Date, Decision, Fault, HouseholdKey, Outcome, PersonId, Role};
use dataflows::policy::file::ABSENT;
use dataflows::policy::{Indicator, Judgement, Level, Policy, ValueKind, is_unknown, reason_of};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What a row of the view `decisions` says.
pub struct DecisionRow<'p> {
    pub decision: String,
    pub person: String,
    pub household: String,
    pub benefit: &'p str,
    pub ground: String,
    pub period: Option<String>,
    pub outcome: &'static str,
    pub amount: i64,
    pub from: Option<String>,
    pub until: Option<String>,
    pub reasons: Vec<&'p str>,
}

/// How a change of a decision is named outside; `None` for what changes none.
pub fn name_of_change(kind: ChangeKind) -> Option<&'static str> {
    match kind {
        ChangeKind::Gained => Some("gained"),
        ChangeKind::Lost => Some("lost"),
        ChangeKind::Amount => Some("amount"),
        ChangeKind::Doubted => Some("doubted"),
        ChangeKind::Attributes | ChangeKind::Refuted | ChangeKind::Sealed => None,
    }
}

/// Writes rows in the names of one package.
#[derive(Clone)]
pub struct Writer {
    policy: Arc<Policy>,
    person_indicators: Vec<usize>,
    household_indicators: Vec<usize>,
}

impl Writer {
    pub fn new(policy: Arc<Policy>) -> Self {
        let of = |level: Level| (0..policy.indicators.len()).filter(|&index| policy.indicators[index].level == level).collect();
        Writer { person_indicators: of(Level::Person), household_indicators: of(Level::Household), policy }
    }

    /// A person's number as it is written outside.
    pub fn person(&self, person: PersonId) -> String {
        self.policy.person.format(person)
    }

    /// Whose number that is.
    pub fn person_named(&self, text: &str) -> Option<PersonId> {
        self.policy.person.parse(text).ok()
    }

    pub fn household_key(&self, household: HouseholdKey) -> String {
        household.format(self.policy.person)
    }

    /// A row of the view `households`, from a household's members.
    pub fn household(&self, household: HouseholdKey, members: &[(PersonId, Role)]) -> Value {
        let count = |role: Role| members.iter().filter(|(_, other)| *other == role).count();
        let head = members.iter().find(|(_, role)| *role == Role::Head).map(|(person, _)| self.person(*person));
        let adults = count(Role::Head) + count(Role::Spouse);
        let kind = match () {
            _ if household.is_excluded() => "excluded",
            _ if household.is_orphan() => "orphan",
            _ if members.len() == 1 => "alone",
            _ if adults == 1 && count(Role::Child) > 0 => "incomplete",
            _ => "full",
        };
        let counted = members.iter().filter(|(_, role)| *role != Role::Outside).map(|(person, _)| self.person(*person));
        json!({"household": self.household_key(household), "head": head, "members": counted.collect::<Vec<_>>(), "kind": kind})
    }

    /// A row of the view `indicators`: a household's, or with [`Writer::person_indicators`] a person's.
    pub fn household_indicators(&self, household: HouseholdKey, judgement: &Judgement) -> Value {
        let (values, unknown) = self.values(&self.household_indicators, &judgement.indicators);
        json!({"subject": "household", "id": self.household_key(household), "values": values, "unknown": unknown})
    }

    pub fn person_indicators(&self, person: PersonId, values: &[i64]) -> Value {
        let (values, unknown) = self.values(&self.person_indicators, values);
        json!({"subject": "person", "id": self.person(person), "values": values, "unknown": unknown})
    }

    fn values(&self, indicators: &[usize], values: &[i64]) -> (Map<String, Value>, Map<String, Value>) {
        let (mut known, mut unknown) = (Map::new(), Map::new());
        for indicator in indicators.iter().map(|&index| &self.policy.indicators[index]) {
            let value = values[indicator.position];
            if is_unknown(value) {
                unknown.insert(indicator.id.clone(), self.policy.reason(reason_of(value)).into());
            } else {
                known.insert(indicator.id.clone(), show(indicator, value));
            }
        }
        (known, unknown)
    }

    /// A row of the view `criteria`; `unknown` tells why a criterion scored what not knowing scores.
    pub fn criteria(&self, household: HouseholdKey, judgement: &Judgement) -> Value {
        let points: Map<String, Value> =
            self.policy.criteria.iter().zip(&judgement.points).map(|(c, points)| (c.id.clone(), (*points).into())).collect();
        let doubted = self.policy.criteria.iter().zip(&judgement.doubts).filter(|(_, doubt)| is_unknown(**doubt));
        let unknown: Map<String, Value> = doubted.map(|(c, doubt)| (c.id.clone(), self.policy.reason(reason_of(*doubt)).into())).collect();
        json!({"household": self.household_key(household), "points": points, "unknown": unknown, "score": judgement.score})
    }

    /// A row of the view `categories`.
    pub fn category(&self, household: HouseholdKey, judgement: &Judgement) -> Value {
        json!({"household": self.household_key(household), "score": judgement.score, "category": judgement.category,
               "level_score": judgement.level_score, "level": self.level(judgement.level)})
    }

    /// The letter of a level; nothing where the package has none.
    pub fn level(&self, level: u8) -> Option<&str> {
        self.policy.level_letters.get(usize::from(level)).map(String::as_str)
    }

    /// A row of the view `decisions`.
    pub fn decision(&self, decision: &Decision) -> Value {
        let DecisionRow { decision, person, household, benefit, ground, period, outcome, amount, from, until, reasons } =
            self.decision_row(decision);
        json!({"decision": decision, "person": person, "household": household, "benefit": benefit, "ground": ground, "period": period,
               "outcome": outcome, "amount": amount, "from": from, "until": until, "reasons": reasons,
               "policy": format!("{}@{}", self.policy.id, self.policy.version)})
    }

    /// What such a row says, in parts.
    pub fn decision_row(&self, decision: &Decision) -> DecisionRow<'_> {
        let date = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then(|| date.to_string());
        DecisionRow {
            decision: decision_id(&self.policy, decision).to_string(),
            person: self.person(decision.person),
            household: self.household_key(decision.household),
            benefit: &self.policy.benefits[usize::from(decision.benefit)].id,
            ground: ground_text(&self.policy, &decision.ground),
            period: date(decision.period),
            outcome: decision.outcome.as_str(),
            amount: decision.amount,
            from: date(decision.from),
            until: date(decision.until),
            reasons: self.reasons(decision),
        }
    }

    /// Why: the conditions that hold, or of a refusal those that fail.
    pub fn reasons(&self, decision: &Decision) -> Vec<&str> {
        match decision.outcome {
            Outcome::Refused => self.policy.refusals(decision.benefit, decision.failed).collect(),
            _ => self.policy.benefits[decision.benefit as usize].reasons.iter().map(String::as_str).collect(),
        }
    }

    /// A row of the view `changes`: of a right that stands, ground and period too, so that it is known which decision this one takes the place of; what
    /// stands no longer is known by its decision, and the key of a record that may have a secret number in it is not told. `None` for what changes no
    /// decision.
    pub fn change(&self, date: Date, kind: ChangeKind, decision: &Decision) -> Option<Value> {
        let (stands, kind) = (matches!(kind, ChangeKind::Gained | ChangeKind::Amount), name_of_change(kind)?);
        let benefit = &self.policy.benefits[decision.benefit as usize].id;
        let ground = stands.then(|| ground_text(&self.policy, &decision.ground));
        let period = (stands && decision.period != Date::NEVER).then(|| decision.period.to_string());
        Some(
            json!({"date": date.to_string(), "decision": decision_id(&self.policy, decision).to_string(), "person": self.person(decision.person),
                    "benefit": benefit, "ground": ground, "period": period, "change": kind}),
        )
    }

    /// A row of the view `faults`.
    pub fn fault(&self, fault: &Fault) -> Value {
        let (kind, detail) = self.policy.describe(fault.kind);
        let register = self.policy.registers.get(fault.register as usize).map_or("", |register| &register.id);
        let person = if fault.person == 0 { String::new() } else { self.person(fault.person) };
        json!({"fault": kind, "register": register, "key": fault.key, "person": person, "detail": detail})
    }
}

/// A value in the form that its kind asks for.
fn show(indicator: &Indicator, value: i64) -> Value {
    if value == ABSENT {
        return Value::Null;
    }
    match &indicator.kind {
        ValueKind::Int => value.into(),
        ValueKind::Bool => (value != 0).into(),
        ValueKind::Date => Date(value as i32).to_string().into(),
        ValueKind::Enum(words) => words.get(value as usize).cloned().map_or(Value::Null, Value::from),
    }
}
