//! The engine held against the twin: the same lines, evaluated incrementally and from nothing, must say the same on every date.

use dataflows::decisions::ground_text;
use dataflows::model::{Change, ChangeKind, Date, Decision, Membership, Role};
use dataflows::policy::file::ABSENT;
use dataflows::policy::{Contribution, Evaluator, Indicator, Level, Policy, ValueKind, is_unknown, reason_of};
use fixtures::country::morning;
use fixtures::lives::{is_calendar, lives, lives_under_many_numbers, shuffle};
use fixtures::twin::{DecisionView, Twin, Value, World};
use serde_json::{Value as Json, json};
use shanyraq::commands::package_texts;
use shanyraq::engine::{Engine, EpochOutput};
use shanyraq::intake::{Intake, Item, Schema};
use shanyraq::views::Writer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Person, benefit, ground and period of a right.
type RightName = (String, String, String, Option<Date>);

fn name(decision: &DecisionView) -> RightName {
    (decision.person.clone(), decision.benefit.clone(), decision.ground.clone(), decision.period)
}

/// The engine, and what a ledger would hold of its output.
struct Run {
    engine: Engine,
    intake: Intake,
    policy: Arc<Policy>,
    decisions: BTreeSet<DecisionView>,
    /// Rights that stood until they were doubted, and were not refuted since.
    doubted: BTreeSet<RightName>,
    faults: BTreeMap<(String, String, String, String), isize>,
    /// What the last epoch has somebody told.
    told: Vec<String>,
}

impl Run {
    fn new(policy: &Arc<Policy>, workers: usize) -> Run {
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
    fn feed(&mut self, line: &[u8]) -> bool {
        match self.intake.decode(line).map(|decoded| decoded.item) {
            Ok(Item::Update(update)) => self.engine.submit(vec![update]),
            Ok(Item::Heartbeat { register, date }) => self.engine.hear(register, date),
            Ok(Item::Calendar(date)) => self.engine.set_date(date),
            Err(_) => return false,
        }
        true
    }

    fn commit(&mut self) {
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
    fn check_doubts(&self, world: &World, stood: Option<&BTreeSet<RightName>>, what: &str) {
        let in_doubt: BTreeSet<RightName> = world.doubts.iter().map(name).collect();
        let known: Vec<_> = self.doubted.difference(&in_doubt).collect();
        assert!(known.is_empty(), "{what}, {:?}: known, but still called doubted: {known:?}", world.today);
        let lost: Vec<_> = stood.into_iter().flatten().filter(|right| in_doubt.contains(right) && !self.doubted.contains(right)).collect();
        assert!(lost.is_empty(), "{what}, {:?}: lost by silence: {lost:?}", world.today);
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
    fn audit(&self) -> Result<(), String> {
        let now = self.engine.circumstances();
        let environment = self.policy.environment(now.today, &now.feeds);
        let mut evaluator = Evaluator::new(self.policy.clone());
        let mut sums: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        for (household, person, role) in self.engine.members().filter(|(.., role)| *role != Role::Outside) {
            let (file, _) = self.engine.file(person).expect("a member has a file");
            let mut contribution = Contribution::default();
            evaluator.contribution(&environment, person, &file, Membership { household, role }, &mut contribution);
            let sum = sums.entry(household).or_insert_with(|| vec![0; contribution.values.len()]);
            sum.iter_mut().zip(&contribution.values).for_each(|(sum, value)| *sum += value);
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

    /// Everything at once, as lines that can be compared.
    fn facts(&self) -> BTreeSet<String> {
        let mut facts = BTreeSet::new();
        for (household, person, role) in self.engine.members() {
            let role = if role == Role::Outside { "outside".to_owned() } else { format!("{role:?}").to_lowercase() };
            facts.insert(format!("{} lives in {} as {role}", self.policy.person.format(person), household.format(self.policy.person)));
        }
        for (person, values) in self.engine.person_values() {
            facts.extend(self.values(&self.policy.person.format(person), Level::Person, &values));
        }
        for (household, _, judgement) in self.engine.judgements() {
            let key = household.format(self.policy.person);
            facts.extend(self.values(&key, Level::Household, &judgement.indicators));
            facts.extend(self.policy.criteria.iter().zip(&judgement.points).map(|(c, points)| format!("{key} {} scores {points}", c.id)));
            facts.extend(
                self.policy.levels.iter().zip(&judgement.level_points).map(|(c, points)| format!("{key} {} scores {points}", c.id)),
            );
            let level = self.policy.level_letters.get(judgement.level as usize).cloned().unwrap_or_default();
            facts.insert(format!("{key} {} {} {} {level}", judgement.score, judgement.category, judgement.level_score));
        }
        facts.extend(self.decisions.iter().map(|decision| format!("{decision:?}")));
        facts.extend(self.faults.keys().map(|fault| format!("{fault:?}")));
        facts
    }

    fn values(&self, id: &str, level: Level, values: &[i64]) -> Vec<String> {
        let of_level = self.policy.indicators.iter().filter(|indicator| indicator.level == level);
        of_level
            .map(|indicator| format!("{id} {} = {:?}", indicator.id, value(indicator, values[indicator.position], &self.policy)))
            .collect()
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

fn facts_of(world: &World) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for (person, view) in world.persons.iter().filter(|(_, view)| !view.household.is_empty()) {
        facts.insert(format!("{person} lives in {} as {}", view.household, view.role));
        facts.extend(view.indicators.iter().map(|(id, value)| format!("{person} {id} = {value:?}")));
    }
    for (key, household) in world.households.iter().filter(|(_, household)| household.kind != "excluded") {
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

type Package = (Arc<Policy>, Vec<(String, String)>);

fn kz() -> Package {
    load(package_texts("kz").expect("the package is built in"))
}

fn load(texts: Vec<(String, String)>) -> Package {
    let policy = Policy::load(&texts).unwrap_or_else(|problems| panic!("{}", problems[0]));
    (Arc::new(policy), texts)
}

/// The package with rights that read across levels and rule each other out across them.
fn kz_across_levels() -> Package {
    let mut texts = package_texts("kz").expect("the package is built in");
    let mut change = |benefit: &str, after: &str, text: &str| {
        let path = format!("benefits/{benefit}.toml");
        let (_, known) = texts.iter_mut().find(|(known, _)| *known == path).expect("a benefit of the package");
        assert!(known.contains(after), "{path} has no {after}");
        *known = known.replacen(after, &format!("{text}{after}"), 1);
    };
    // A person's rights, the second founded on records, that read their household.
    change("rep_mother_award", "[amount]", "needy = \"category <= 3 || soc_household_size > 2 && head\"\n");
    change("gfss_childcare", "[amount]", "poor = \"soc_household_size >= 3 ? eco_income_per_capita < 40000 : level > 2\"\n");
    // A household's right that a person's rules out, and the other way round, both by way of the one who receives them.
    change("rep_large_family", "[when]", "excludes = [\"rep_mother_award\", \"rep_disability_allowance\"]\n");
    change("rep_disability_allowance", "[when]", "excludes = [\"rep_asp_unconditional\", \"gfss_survivor\"]\n");
    let meal = r#"
id = "loc_meal"
title = { kk = "Тамақ", ru = "Питание", en = "Meals" }
source = "test"
of = "person"
ground = "nobd.contingent"
period = "month"
budget = "local"
excludes = ["rep_survivor_allowance"]
from = "r.from"
[when]
child = "child && r.level in ['school', 'preschool']"
needy = "eco_income_asp_pc < eco_poverty_line || soc_children_u23 > 2 && r.form == 'full'"
[amount]
unit = "KZT/month"
round = "up"
value = "0.3 MRP * soc_household_size + eco_income_asp_pc / 3"
"#;
    let place = r#"
id = "loc_place"
title = { kk = "Орын", ru = "Место", en = "A place" }
source = "test"
of = "person"
ground = "nobd.contingent"
answers = true
kind = "in kind"
period = "open"
budget = "local"
excludes = ["loc_meal"]
proactive = { by = "soc_household_size", from = { "2" = 2025-09-01, "3.." = 2026-09-01 } }
[when]
counted = "counted"
pupil = "r.level in ['school', 'college']"
not_wealthy = "!(soc_children_u23 >= 1 && category >= 4)"
poor = "eco_income_per_capita < 60000 || hlt_disability_group > 0"
"#;
    texts.push(("benefits/loc_meal.toml".to_owned(), meal.to_owned()));
    texts.push(("benefits/loc_place.toml".to_owned(), place.to_owned()));
    let (_, money) = texts.iter_mut().find(|(path, _)| path == "registers/money.toml").expect("the register of assignments");
    *money = money.replacen("benefit = \"enum(", "benefit = \"enum(loc_meal|loc_place|", 1);
    load(texts)
}

/// Feeds the lines and compares at the end of every date; `commit_every` lines make an epoch of their own.
fn agree((policy, texts): &Package, lines: &[Vec<u8>], workers: usize, commit_every: usize, what: &str) {
    let (mut run, mut twin) = (Run::new(policy, workers), Twin::new(texts));
    let compare = |run: &mut Run, twin: &Twin| {
        let stood: BTreeSet<RightName> = run.decisions.iter().map(name).collect();
        run.commit();
        if twin.today().is_none() {
            return;
        }
        run.audit().unwrap_or_else(|difference| panic!("{what}, {:?}: {difference}", twin.today()));
        let world = twin.evaluate();
        run.check_doubts(&world, Some(&stood).filter(|_| commit_every == usize::MAX), what);
        let (engine, oracle) = (run.facts(), facts_of(&world));
        let only =
            |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).take(12).cloned().collect::<Vec<_>>().join("\n    ");
        assert!(
            engine == oracle,
            "{what}, {:?}\n  the engine alone:\n    {}\n  the twin alone:\n    {}",
            twin.today(),
            only(&engine, &oracle),
            only(&oracle, &engine)
        );
        for number in &world.secret {
            let telling: Vec<&String> = engine.iter().chain(&run.told).filter(|fact| fact.contains(number.as_str())).collect();
            assert!(telling.is_empty(), "{what}, {:?}: {number} is told: {telling:?}", twin.today());
        }
    };
    for (index, line) in lines.iter().enumerate() {
        if is_calendar(line) {
            compare(&mut run, &twin);
        } else if index % commit_every == 0 {
            run.commit();
        }
        if run.feed(line) {
            twin.feed(line).unwrap_or_else(|reason| panic!("the twin refuses what the door lets in: {reason}"));
        }
    }
    compare(&mut run, &twin);
}

#[test]
fn random_lives_line_by_line() {
    // The last ones once told engine and twin apart.
    for seed in (0..12).chain([1000, 1021, 1032]) {
        agree(&kz(), &lives(seed, 12, 12), 1, 1, &format!("seed {seed}, an epoch a line"));
    }
}

#[test]
fn random_lives_under_rules_across_levels() {
    for seed in 300..310 {
        let lines = lives(seed, 20, 12);
        agree(&kz_across_levels(), &lines, 1, 1, &format!("seed {seed}, an epoch a line"));
        agree(&kz_across_levels(), &shuffle(&lines, seed), 3, usize::MAX, &format!("seed {seed}, an epoch a day, three workers"));
    }
}

#[test]
fn random_lives_in_any_order_and_batching() {
    for seed in (100..112).chain([2009, 2030, 2033, 2043, 2078]) {
        let lines = shuffle(&lives(seed, 25, 15), seed);
        agree(&kz(), &lines, 1, usize::MAX, &format!("seed {seed}, an epoch a day"));
        agree(&kz(), &lines, 3, 7, &format!("seed {seed}, three workers"));
    }
}

#[test]
fn random_lives_of_people_with_several_numbers() {
    for seed in 400..415 {
        let lines = lives_under_many_numbers(seed, 16, 12);
        agree(&kz(), &lines, 1, 1, &format!("seed {seed}, an epoch a line"));
        agree(&kz(), &shuffle(&lines, seed), 3, usize::MAX, &format!("seed {seed}, an epoch a day, three workers"));
    }
}

/// A record of somebody, or of global identity.
fn line(register: &str, key: &str, seq: u64, person: Option<&str>, data: Json) -> Vec<u8> {
    let mut line = json!({"register": register, "key": key, "seq": seq, "op": "upsert", "event_date": "2025-12-31", "data": data});
    if let Some(person) = person {
        line["person"] = json!(person);
    }
    line.to_string().into_bytes()
}

/// A morning on which every register is heard.
fn day(text: &str) -> Vec<Vec<u8>> {
    let lines = morning(Date::parse(text).expect("a date"));
    lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Random lives hardly ever lead to two dwellings, two cars, a company and a high income at once: this one does, for a day.
#[test]
fn wealth_counts_whatever_the_score() {
    let owner = crate::registers::iin(9001);
    let dwelling = json!({"object": "H", "kind": "residential", "share": 1000, "area": 40, "from": "2015-01-01"});
    let car = |seq, year: i64, to: Option<&str>| {
        let data = json!({"vin": format!("V-{year}"), "owner": owner, "category": "car", "year": year, "from": "2015-01-01", "to": to});
        line("mvd.vehicle", &format!("V-{year}"), seq, None, data)
    };
    let mut lines = day("2026-02-15");
    let person = json!({"birth_date": "1985-03-15", "sex": "M", "citizenship": "kz", "surname": "Омаров", "name": "Ерлан"});
    lines.push(line("gbdfl.person", &owner, 1, Some(&owner), person));
    for key in ["H-1", "H-2"] {
        let mut dwelling = dwelling.clone();
        dwelling["object"] = json!(key);
        lines.push(line("egkn.right", key, 1, Some(&owner), dwelling));
    }
    lines.extend([car(1, 2005, None), car(1, 2006, None)]);
    lines.push(line("gbdul.founder", "B-1", 1, Some(&owner), json!({"bin": "B-1", "share": 1, "from": "2019-01-01"})));
    for period in ["2025-10", "2025-11", "2025-12"] {
        let data = json!({"period": period, "code": "other", "amount": 300_000});
        lines.push(line("cbd.payment", &format!("{period}-other"), 1, Some(&owner), data));
    }
    let mut twin = Twin::new(&kz().1);
    lines.iter().for_each(|line| twin.feed(line).unwrap());
    let family = twin.evaluate().households.into_values().find(|household| household.category == Some(6)).expect("the rule of the sixth");
    assert!(family.score.is_some_and(|score| score < 460), "the score alone says less: {:?}", family.score);

    lines.extend(day("2026-02-16"));
    lines.push(car(2, 2006, Some("2026-02-16")));
    agree(&kz(), &lines, 1, usize::MAX, "wealth for a day");
}

/// The father's address tells where a child of two households lives until a sixteenth person is registered there (edge case E24);
/// then the child moves to another crowd.
#[test]
fn the_sixteenth_resident_makes_an_address_say_nothing() {
    let people: Vec<String> = (0..33).map(|index| crate::registers::iin(9001 + 10 * index)).collect();
    let [mother, father, child, lodgers @ ..] = &people[..] else { unreachable!("thirty-three people") };
    let person = |who: &str, born: &str, sex: &str| {
        let data = json!({"birth_date": born, "sex": sex, "citizenship": "kz", "surname": "Омаров", "name": "Ерлан"});
        line("gbdfl.person", who, 1, Some(who), data)
    };
    let lives_at = |who: &str, address: &str| {
        let data = json!({"rka": address, "region": "35", "settlement": "oblast", "from": "2015-06-01"});
        line("gbdfl.residence", address, 1, Some(who), data)
    };
    let mut lines = day("2026-02-15");
    lines.extend([person(mother, "1985-03-15", "F"), person(father, "1985-03-15", "M"), person(child, "2015-05-01", "F")]);
    let birth = json!({"act_no": "B-1", "child": child, "born": "2015-05-01", "mother": mother, "father": father});
    lines.push(line("zags.birth", "B-1", 1, None, birth));
    lines.extend([lives_at(mother, "R-1"), lives_at(father, "R-2"), lives_at(child, "R-2")]);
    for lodger in &lodgers[..13] {
        lines.extend([person(lodger, "1985-03-15", "M"), lives_at(lodger, "R-2")]);
    }
    let fifteen = lines.len();
    lines.extend(day("2026-02-16"));
    lines.extend([person(&lodgers[13], "1985-03-15", "M"), lives_at(&lodgers[13], "R-2")]);
    for lodger in &lodgers[14..] {
        lines.extend([person(lodger, "1985-03-15", "M"), lives_at(lodger, "R-3")]);
    }
    let before_the_move = lines.len();
    lines.extend(day("2026-02-17"));
    let data = json!({"rka": "R-3", "region": "35", "settlement": "oblast", "from": "2026-02-17"});
    lines.push(line("gbdfl.residence", "R-3", 1, Some(child), data));

    let mut twin = Twin::new(&kz().1);
    lines[..fifteen].iter().for_each(|line| twin.feed(line).unwrap());
    assert_eq!(twin.evaluate().persons[child].household, format!("F:{father}"));
    lines[fifteen..before_the_move].iter().for_each(|line| twin.feed(line).unwrap());
    assert_eq!(twin.evaluate().persons[child].household, format!("F:{mother}"));
    agree(&kz(), &lines, 1, usize::MAX, "a crowd");
}
