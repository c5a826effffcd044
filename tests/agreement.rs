//! The engine and the twin told the same lines, and what both say, so that it can be compared.

use dataflows::decisions::ground_text;
use dataflows::model::{Change, ChangeKind, Date, Decision, HouseholdKey, Membership, Outcome, PersonId, Role};
use dataflows::policy::file::ABSENT;
use dataflows::policy::{Contribution, Criterion, Evaluator, Indicator, Judgement, Level, Policy, ValueKind, is_unknown, reason_of};
use fixtures::twin::{DecisionView, Household, PersonView, Value, World};
use shanyraq::commands::package_texts;
use shanyraq::engine::{Engine, EpochOutput, JudgedRow};
use shanyraq::intake::{Intake, Item, Schema};
use shanyraq::views::Writer;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Person, benefit, ground and period of a right.
pub type RightName = (String, String, String, Option<Date>);

pub fn name(decision: &DecisionView) -> RightName {
    (decision.person.clone(), decision.benefit.clone(), decision.ground.clone(), decision.period)
}

/// The engine, and what a ledger would hold of its output.
pub struct Run {
    pub engine: Engine,
    intake: Intake,
    policy: Arc<Policy>,
    pub decisions: BTreeSet<DecisionView>,
    /// Rights that stood until they were doubted, and were not refuted since.
    doubted: BTreeSet<RightName>,
    faults: BTreeMap<(String, String, String, String), isize>,
    /// What the last epoch has somebody told.
    pub told: Vec<String>,
}

impl Run {
    pub fn new(policy: &Arc<Policy>, workers: usize) -> Run {
        Run {
            engine: Engine::start(policy.clone(), workers),
            intake: Intake::new(Arc::new(Schema::from(&**policy))),
            policy: policy.clone(),
            decisions: BTreeSet::new(),
            doubted: BTreeSet::new(),
            faults: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Takes in one line; false when the door turns it away.
    pub fn feed(&mut self, line: &[u8]) -> bool {
        match self.intake.decode(line).map(|decoded| decoded.item) {
            Ok(Item::Update(update)) => self.engine.submit(vec![update]),
            Ok(Item::Heartbeat { register, date }) => self.engine.hear(register, date),
            Ok(Item::Calendar(date)) => self.engine.set_date(date),
            Err(_) => return false,
        }
        true
    }

    pub fn commit(&mut self) {
        let EpochOutput { date, changes, faults, .. } = self.engine.commit();
        let writer = Writer::new(self.policy.clone());
        let rows = changes.iter().filter_map(|change| writer.change(date, change.kind, &change.decision));
        self.told = rows.map(|row| row.to_string()).collect();
        for change in changes {
            self.fold(change);
        }
        for (fault, sign) in faults {
            let (kind, _) = self.policy.describe(fault.kind);
            let person = if fault.person == 0 { String::new() } else { self.policy.person.format(fault.person) };
            let register = self.policy.registers.get(fault.register as usize).map_or(String::new(), |register| register.id.clone());
            let row = (kind.to_owned(), register, fault.key.to_string(), person);
            *self.faults.entry(row).or_default() += sign;
        }
        self.faults.retain(|_, count| *count != 0);
    }

    fn fold(&mut self, change: Change) {
        let right = |decision: &Decision| (decision.outcome, decision.amount);
        let view = self.view(&change.decision);
        let doubted = self.doubted.remove(&name(&view));
        match (change.kind, &change.before) {
            (ChangeKind::Gained, None) => assert!(self.decisions.insert(view), "nothing is gained twice"),
            (ChangeKind::Lost, None) => assert!(self.decisions.remove(&view), "only what was there is lost: {view:?}"),
            // What was only in doubt is sealed too: the number is no more.
            (ChangeKind::Sealed, _) => drop(self.decisions.remove(&view)),
            (ChangeKind::Doubted, None) => {
                assert!(self.decisions.remove(&view), "only what was there is doubted: {view:?}");
                assert!(self.doubted.insert(name(&view)));
            }
            (ChangeKind::Refuted, None) => assert!(doubted || !self.decisions.iter().any(|held| name(held) == name(&view))),
            (kind @ (ChangeKind::Amount | ChangeKind::Attributes), Some(before)) => {
                let called = if right(before) == right(&change.decision) { ChangeKind::Attributes } else { ChangeKind::Amount };
                assert_eq!(kind, called, "a change is called what it is: {change:?}");
                assert!(self.decisions.remove(&self.view(before)), "a change replaces what was there");
                assert!(self.decisions.insert(view), "nothing is there twice");
            }
            _ => panic!("such a change there is not: {change:?}"),
        }
    }

    /// Nothing is lost by silence: what was doubted stays so as long as it is in doubt. What stood before the one epoch that
    /// ended here, if it was one, is lost only if it is not in doubt.
    pub fn check_doubts(&self, worlds: &[World], stood: Option<&BTreeSet<RightName>>, what: &str) {
        let in_doubt: BTreeSet<RightName> = worlds.iter().flat_map(|world| &world.doubts).map(name).collect();
        let known: Vec<_> = self.doubted.difference(&in_doubt).collect();
        assert!(known.is_empty(), "{what}, {:?}: known, but still called doubted: {known:?}", self.engine.today());
        let lost: Vec<_> = stood.into_iter().flatten().filter(|right| in_doubt.contains(right) && !self.doubted.contains(right)).collect();
        assert!(lost.is_empty(), "{what}, {:?}: lost by silence: {lost:?}", self.engine.today());
    }

    fn view(&self, decision: &Decision) -> DecisionView {
        let person = |id: u64| if id == 0 { String::new() } else { self.policy.person.format(id) };
        let date = |date: Date| (date != Date::NEVER && date != Date::BEFORE_ALL).then_some(date);
        DecisionView {
            person: person(decision.person),
            benefit: self.policy.benefits[decision.benefit as usize].id.clone(),
            ground: ground_text(&self.policy, &decision.ground),
            period: date(decision.period),
            outcome: decision.outcome.as_str(),
            amount: decision.amount,
            from: date(decision.from),
            until: date(decision.until),
            proactive: date(decision.proactive),
            failed: self.policy.refusals(decision.benefit, decision.failed).map(str::to_owned).collect(),
            household: decision.household.format(self.policy.person),
            addressee: person(decision.addressee),
        }
    }

    /// Whether every household's row is the sum of what its members contribute, computed anew.
    pub fn audit(&mut self) -> Result<(), String> {
        let now = self.engine.circumstances();
        let environment = self.policy.environment(now.today, &now.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let mut sums: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        let members: Vec<_> = self.engine.members().filter(|(.., role)| *role != Role::Outside).collect();
        for (household, person, role) in members {
            let (file, _) = self.engine.file(person).expect("a member has a file");
            let mut contribution = Contribution::default();
            evaluator.contribution(&environment, person, &file, Membership { household, role }, &mut contribution);
            let sum = sums.entry(household).or_insert_with(|| vec![0; self.policy.slots]);
            let of_household = contribution.values.iter().filter(|(slot, _)| usize::from(*slot) < self.policy.slots);
            of_household.for_each(|(slot, value)| sum[usize::from(*slot)] += value);
        }
        for (household, row, _) in self.engine.judgements() {
            let sum = sums.remove(&household).unwrap_or_default();
            let differs: Vec<_> = (0..row.values.len()).filter(|&slot| sum.get(slot) != Some(&row.values[slot])).collect();
            if !differs.is_empty() {
                return Err(format!("{}: slots {differs:?} are {:?}, should be {sum:?}", household.format(self.policy.person), row.values));
            }
        }
        if sums.is_empty() { Ok(()) } else { Err(format!("without a row: {:?}", sums.keys())) }
    }

    /// Whether worlds that have nothing to do with each other say together what the engine says: values, places, scores, decisions
    /// and faults.
    pub fn agrees(&mut self, worlds: &[World]) -> bool {
        let placed = |view: &PersonView| !view.household.is_empty();
        let persons: HashMap<&str, &PersonView> =
            worlds.iter().flat_map(|world| &world.persons).filter(|(_, view)| placed(view)).map(|(id, view)| (id.as_str(), view)).collect();
        let families: HashMap<&str, &Household> = worlds.iter().flat_map(families_of).collect();
        let Run { engine, policy, .. } = self;
        let (mut members, mut computed, mut judged) = (0, 0, 0);
        let stands = |(household, person, role): (HouseholdKey, PersonId, Role)| {
            members += 1;
            let view = persons.get(policy.person.format(person).as_str());
            view.is_some_and(|view| view.household == household.format(policy.person) && view.role == role.name())
        };
        let all_stand = engine.members().all(stands);
        let is_computed = |(person, values): (PersonId, Vec<i64>)| {
            computed += 1;
            let view = persons.get(policy.person.format(person).as_str());
            view.is_some_and(|view| values_are(policy, Level::Person, &values, &view.indicators))
        };
        let all_computed = engine.person_values().all(is_computed);
        let is_scored = |(household, _, judgement): JudgedRow| {
            judged += 1;
            let view = families.get(household.format(policy.person).as_str());
            view.is_some_and(|view| is_judged(policy, &judgement, view))
        };
        let all_scored = engine.judgements().all(is_scored);
        let counts = (members, computed, judged) == (persons.len(), persons.len(), families.len());
        let decisions: BTreeSet<&DecisionView> = worlds.iter().flat_map(|world| &world.decisions).collect();
        let faults: BTreeSet<_> = worlds.iter().flat_map(|world| &world.faults).collect();
        let in_force: BTreeSet<DecisionView> = self
            .engine
            .outcome()
            .decisions
            .iter()
            .filter(|decision| decision.outcome != Outcome::InDoubt)
            .map(|decision| self.view(decision))
            .collect();
        assert_eq!(in_force, self.decisions, "what stands is what was said to be gained and not to be lost");
        all_stand && all_computed && all_scored && counts && self.decisions.iter().eq(decisions) && self.faults.keys().eq(faults)
    }

    /// Everything at once, as lines that can be compared.
    pub fn facts(&mut self) -> BTreeSet<String> {
        let mut facts = BTreeSet::new();
        let Run { engine, policy, .. } = &mut *self;
        for (household, person, role) in engine.members() {
            let (person, household) = (policy.person.format(person), household.format(policy.person));
            facts.insert(format!("{person} lives in {household} as {}", role.name()));
        }
        for (person, values) in engine.person_values() {
            facts.extend(values_of(policy, &policy.person.format(person), Level::Person, &values));
        }
        for (household, _, judgement) in engine.judgements() {
            let key = household.format(policy.person);
            facts.extend(values_of(policy, &key, Level::Household, &judgement.indicators));
            facts.extend(policy.criteria.iter().zip(&judgement.points).map(|(c, points)| format!("{key} {} scores {points}", c.id)));
            facts.extend(policy.levels.iter().zip(&judgement.level_points).map(|(c, points)| format!("{key} {} scores {points}", c.id)));
            let level = policy.level_letters.get(judgement.level as usize).cloned().unwrap_or_default();
            facts.insert(format!("{key} {} {} {} {level}", judgement.score, judgement.category, judgement.level_score));
        }
        facts.extend(self.decisions.iter().map(|decision| format!("{decision:?}")));
        facts.extend(self.faults.keys().map(|fault| format!("{fault:?}")));
        facts
    }
}

fn value(indicator: &Indicator, value: i64, policy: &Policy) -> Value {
    if value == ABSENT {
        return Value::Unknown("absent".to_owned());
    }
    if is_unknown(value) {
        return Value::Unknown(policy.reason(reason_of(value)));
    }
    match &indicator.kind {
        ValueKind::Int => Value::whole(value),
        ValueKind::Bool => Value::Bool(value != 0),
        ValueKind::Date => Value::Date(Date(value as i32)),
        ValueKind::Enum(words) => Value::word(&words[value as usize]),
    }
}

fn values_of(policy: &Policy, id: &str, level: Level, values: &[i64]) -> Vec<String> {
    let of_level = policy.indicators.iter().filter(|indicator| indicator.level == level);
    of_level.map(|indicator| format!("{id} {} = {:?}", indicator.id, value(indicator, values[indicator.position], policy))).collect()
}

fn values_are(policy: &Policy, level: Level, values: &[i64], expected: &BTreeMap<String, Value>) -> bool {
    let of_level = || policy.indicators.iter().filter(|indicator| indicator.level == level);
    let is = |indicator: &Indicator| expected.get(&indicator.id) == Some(&value(indicator, values[indicator.position], policy));
    of_level().count() == expected.len() && of_level().all(is)
}

fn is_judged(policy: &Policy, judgement: &Judgement, expected: &Household) -> bool {
    let points = |criteria: &[Criterion], points: &[i64], expected: &BTreeMap<String, i64>| {
        criteria.len() == expected.len()
            && criteria.iter().zip(points).all(|(criterion, points)| expected.get(&criterion.id) == Some(points))
    };
    let level = policy.level_letters.get(usize::from(judgement.level)).and_then(|letter| letter.chars().next());
    values_are(policy, Level::Household, &judgement.indicators, &expected.indicators)
        && points(&policy.criteria, &judgement.points, &expected.points)
        && points(&policy.levels, &judgement.level_points, &expected.level_points)
        && (Some(judgement.score), Some(judgement.level_score)) == (expected.score, expected.level_score)
        && (i64::from(judgement.category), level) == (expected.category.unwrap_or(0), expected.level)
}

/// The households of a world that are judged.
fn families_of(world: &World) -> impl Iterator<Item = (&str, &Household)> {
    world.households.iter().filter(|(_, household)| household.kind != "excluded").map(|(key, household)| (key.as_str(), household))
}

pub fn facts_of(world: &World) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for (person, view) in world.persons.iter().filter(|(_, view)| !view.household.is_empty()) {
        facts.insert(format!("{person} lives in {} as {}", view.household, view.role));
        facts.extend(view.indicators.iter().map(|(id, value)| format!("{person} {id} = {value:?}")));
    }
    for (key, household) in families_of(world) {
        facts.extend(household.indicators.iter().map(|(id, value)| format!("{key} {id} = {value:?}")));
        facts.extend(household.points.iter().chain(&household.level_points).map(|(id, points)| format!("{key} {id} scores {points}")));
        let number = |number: Option<i64>| number.unwrap_or(0);
        let level = household.level.map(String::from).unwrap_or_default();
        facts.insert(format!("{key} {} {} {} {level}", number(household.score), number(household.category), number(household.level_score)));
    }
    facts.extend(world.decisions.iter().map(|decision| format!("{decision:?}")));
    facts.extend(world.faults.iter().map(|fault| format!("{fault:?}")));
    facts
}

pub type Package = (Arc<Policy>, Vec<(String, String)>);

pub fn kz() -> Package {
    load(package_texts("kz").expect("the package is built in"))
}

pub fn load(texts: Vec<(String, String)>) -> Package {
    let policy = Policy::load(&texts).unwrap_or_else(|problems| panic!("{}", problems[0]));
    (Arc::new(policy), texts)
}
