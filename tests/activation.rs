use crate::folder::Folder;
use crate::packages::{Texts, edit, later, renamed, write};
use crate::program::shanyraq;
use crate::snapshots::{OFTEN, SELDOM, newest, said, setup, start, submit, tell};
use dataflows::decisions::ground_text;
use dataflows::model::{Change, ChangeKind, Date, Decision, Outcome as Answered};
use dataflows::policy::Policy;
use dataflows::policy::contents::{Contents, Sort};
use fixtures::country::{Country, morning};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use shanyraq::commands::load_package;
use shanyraq::engine::Engine;
use shanyraq::engine::outcome::{Comparison, Outcome, compare};
use shanyraq::intake::{Intake, Item, Schema};
use shanyraq::journal::Own;
use shanyraq::ledger::{Reader, View};
use shanyraq::packages::{Package, fingerprint};
use shanyraq::pipeline::{Pipeline, Submission, ledger_file, propose};
use shanyraq::stories::mutants::mutants;
use shanyraq::views::Writer;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

fn kz() -> Package {
    load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message))
}

fn proposed(pipeline: &Pipeline, texts: Texts) -> Package {
    let in_force = pipeline.progress.standing().policy;
    propose(&pipeline.packages, texts, &in_force).unwrap_or_else(|why| panic!("{why}"))
}

/// The population, then days, each a body.
fn lines(persons: usize, days: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let country = Country::new(persons, 7, Date::from_ymd(2026, 1, 1).unwrap());
    (country.population_blocks(1).collect(), country.days(days).map(|(_, lines)| lines).collect())
}

/// Tells an engine the lines of bodies.
fn tell_engine<'l>(engine: &mut Engine, bodies: impl IntoIterator<Item = &'l Vec<u8>>) {
    let mut intake = Intake::new(Arc::new(Schema::from(&**engine.policy())));
    for body in bodies {
        let mut updates = Vec::new();
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match intake.decode(line).unwrap().item {
                Item::Update(update) => updates.push(update),
                Item::Calendar(date) => {
                    engine.submit(std::mem::take(&mut updates));
                    engine.commit();
                    engine.set_date(date);
                }
                Item::Heartbeat { register, date } => engine.hear(register, date),
            }
        }
        engine.submit(updates);
        engine.commit();
    }
}

/// All decisions in force, as an engine has them that is told everything under one policy.
fn by_engine<'l>(package: &Package, bodies: impl IntoIterator<Item = &'l Vec<u8>>) -> BTreeSet<String> {
    let policy = &package.policy;
    let mut engine = Engine::start(policy.clone(), 1);
    tell_engine(&mut engine, bodies);
    let writer = Writer::new(policy.clone());
    let outcome = engine.outcome();
    let in_force = outcome.decisions.iter().filter(|decision| decision.outcome != Answered::InDoubt);
    in_force.map(|decision| writer.decision(decision).to_string()).collect()
}

fn in_ledger(data: &Path) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    Reader::open(&ledger_file(data)).unwrap().view(View::Decisions, |row| rows.insert(row.to_string())).unwrap();
    rows
}

/// How many rows each table has.
fn counts(data: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in said(data) {
        *counts.entry(row.split(':').next().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// Whether an engine is being prepared for the package that comes next, once everything that was told is through.
fn is_prepared(pipeline: &Pipeline) -> bool {
    pipeline.questions.catch_up();
    pipeline.progress.standing().understudy.is_some()
}

/// A package that is activated comes into force on its date, at once for everybody, and an engine is prepared for it a week before, not sooner.
/// However often a pipeline is ended meanwhile, and from whatever it starts again, it says the same.
#[test]
fn another_policy_comes_into_force_on_its_date() {
    let folder = Folder::new("activation");
    let [calm, broken] = ["calm", "broken"].map(|name| folder.0.join(name));
    let (population, days) = lines(1_500, 16);
    let (undisturbed, mut disturbed) = (start(&kz(), &calm, 1, SELDOM), start(&kz(), &broken, 1, OFTEN));
    let mut chance = Pcg64Mcg::seed_from_u64(4);
    let both = |disturbed: &Pipeline, body: &[u8]| [&undisturbed, disturbed].into_iter().for_each(|pipeline| tell(pipeline, body));
    population.iter().for_each(|body| both(&disturbed, body));
    [&undisturbed, &disturbed].into_iter().for_each(|pipeline| submit(pipeline, Submission::of_own(Own::Live)));
    let from = Date::from_ymd(2026, 1, 10).unwrap();
    let mut prepared_anew = 0;
    for (day, body) in days.iter().enumerate() {
        if day == 1 {
            for pipeline in [&undisturbed, &disturbed] {
                let package = proposed(pipeline, later());
                pipeline.activate(&fingerprint(&package.policy), from).unwrap_or_else(|failure| panic!("{failure}"));
                assert_eq!(pipeline.progress.standing().policy.version, "2026.1", "not before its date");
                assert!(!is_prepared(pipeline), "its date is not near");
            }
        }
        both(&disturbed, body);
        if chance.next_u32() % 3 == 0 || day == 5 {
            disturbed.stop();
            let lost = chance.next_u32() as usize % 5;
            newest(&broken).iter().take(lost).for_each(|snapshot| std::fs::remove_dir_all(snapshot).unwrap());
            disturbed = start(&kz(), &broken, 1 + chance.next_u32() as usize % 3, OFTEN);
        }
        let date = undisturbed.progress.standing().date;
        let version = undisturbed.progress.standing().policy.version.clone();
        assert_eq!(version, if date < from { "2026.1" } else { "2026.2" }, "on {date}");
        let is_near = day >= 1 && date < from && from.0 - date.0 <= 7;
        assert_eq!([is_prepared(&undisturbed), is_prepared(&disturbed)], [is_near; 2], "on {date}");
        prepared_anew += usize::from(is_near && day == 5);
    }
    assert_eq!(prepared_anew, 1, "started again between");
    let later = Package::load(later()).unwrap();
    let everything = || population.iter().chain(&days);
    undisturbed.stop();
    disturbed.stop();
    assert_eq!(in_ledger(&calm), by_engine(&later, everything()), "as if there had never been another policy");
    assert_eq!(said(&calm), said(&broken));
    // What is said goes on about the same rights, whatever number their benefits have by now.
    let verified = Reader::open(&ledger_file(&calm)).unwrap().verify().unwrap().unwrap();
    assert!(verified.texts > 5, "{verified:?}");
    // From the journal alone, on which both packages were in force, follows the same.
    let before = said(&calm);
    std::fs::remove_dir_all(calm.join("snapshots")).unwrap();
    std::fs::remove_file(ledger_file(&calm)).unwrap();
    start(&later, &calm, 1, SELDOM).stop();
    assert_eq!(said(&calm), before, "told again");
}

/// What a comparison says of everybody is what changes when the package comes into force.
#[test]
fn a_comparison_tells_exactly_what_changes() {
    let folder = Folder::new("comparison");
    let data = folder.0.join("data");
    let (population, days) = lines(1_500, 3);
    let pipeline = start(&kz(), &data, 2, SELDOM);
    population.iter().chain(&days).for_each(|body| tell(&pipeline, body));
    let later_policy = proposed(&pipeline, later()).policy;
    let (package, mut rows) = (fingerprint(&later_policy), Vec::new());
    let compared = pipeline.questions.compare(&later_policy, |row| rows.push(row)).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(compared.retold && compared.rights == rows.len(), "a register more: records are read otherwise");
    let before = in_ledger(&data);
    let epoch = pipeline.activate(&package, Date::from_ymd(2026, 1, 1).unwrap()).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(pipeline.progress.wait_for(epoch, std::time::Duration::from_secs(60)));
    pipeline.stop();
    assert_eq!(in_ledger(&data), by_engine(&Package::load(later()).unwrap(), population.iter().chain(&days)));
    assert_ne!(in_ledger(&data), before);
    let sql = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    let mut query = sql.prepare("SELECT kind, person, benefit FROM changes WHERE epoch = ?").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok([0, 1, 2].map(|column| row.get::<_, String>(column).unwrap()));
    let mut changed: Vec<[String; 3]> = query.query_map([epoch], row).unwrap().map(Result::unwrap).collect();
    let name = |row: &Value| ["change", "person", "benefit"].map(|name| row[name].as_str().unwrap().to_owned());
    let mut said: Vec<[String; 3]> = rows.iter().map(name).collect();
    [&mut changed, &mut said].into_iter().for_each(|rows| rows.sort());
    assert_eq!(changed, said);
    let of = |kind: &str, benefit: &str| said.iter().filter(|[change, _, of]| change == kind && of == benefit).count();
    assert!(of("lost", "loc_transport_pass") > 50 && of("gained", "aaa_town_pass") > 50 && of("amount", "rep_large_family") > 5);
    assert!(rows.iter().any(|row| row["region"].is_string() && row["now"].as_i64() > row["before"].as_i64()));
}

/// What a policy says of everybody, told the lines under it.
fn outcome_of(policy: &Arc<Policy>, bodies: &[&Vec<u8>]) -> (Outcome, Engine) {
    let mut engine = Engine::start(policy.clone(), 1);
    tell_engine(&mut engine, bodies.iter().copied());
    (engine.outcome(), engine)
}

/// The rights that are other under another policy, by engines that are told everything under each.
fn told_anew(policies: [&Arc<Policy>; 2], bodies: &[&Vec<u8>]) -> BTreeSet<String> {
    let [(before, _), (now, engine)] = policies.map(|policy| outcome_of(policy, bodies));
    let Comparison { ended, changes, .. } = compare(before, now, &engine.secret());
    let row = |policy: &Policy, change: &Change| {
        let Decision { person, benefit, amount, .. } = change.decision;
        let was = change.before.as_ref().map_or(amount, |before| before.amount);
        let (kind, before, now) = match change.kind {
            ChangeKind::Gained => ("gained", 0, amount),
            ChangeKind::Lost => ("lost", amount, 0),
            ChangeKind::Doubted => ("doubted", amount, 0),
            ChangeKind::Amount => ("amount", was, amount),
            ChangeKind::Attributes | ChangeKind::Refuted | ChangeKind::Sealed => return None,
        };
        let (person, benefit) = (policy.person.format(person), &policy.benefits[usize::from(benefit)].id);
        Some(format!("{person} {benefit} {} {kind} {before} {now}", ground_text(policy, &change.decision.ground)))
    };
    let ended = ended.iter().filter_map(|change| row(policies[0], change));
    ended.chain(changes.iter().filter_map(|change| row(policies[1], change))).collect()
}

/// Asked as they are, people say of another policy what engines say that are told everything under it: of mistakes picked at random, and of
/// whole benefits that are gone, new, or rule out others.
#[test]
fn a_comparison_of_people_as_they_are_is_exact() {
    let folder = Folder::new("as-they-are");
    let (population, days) = lines(1_000, 5);
    let bodies: Vec<&Vec<u8>> = population.iter().chain(&days).collect();
    let pipeline = start(&kz(), &folder.0.join("data"), 2, SELDOM);
    bodies.iter().for_each(|body| tell(&pipeline, body));
    let in_force = pipeline.progress.standing().policy;
    let (mut others, mut asked, mut other_rights) = (changed_packages(), 0, 0);
    others.extend(mistaken_packages(60, 1));
    for (what, texts) in others {
        let Ok(policy) = Policy::load(&texts).map(Arc::new) else { continue };
        let mut rows = BTreeSet::new();
        let compared = pipeline.questions.compare(&policy, |row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let right = ["person", "benefit", "ground", "change"].map(text).join(" ");
            assert!(rows.insert(format!("{right} {} {}", row["before"], row["now"])), "{what}: told twice: {row}");
        });
        let compared = compared.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert_eq!(rows, told_anew([&in_force, &policy], &bodies), "{what}");
        assert_eq!(compared.rights, rows.len(), "{what}");
        asked += usize::from(!compared.retold);
        other_rights += usize::from(!compared.retold && !rows.is_empty());
    }
    pipeline.stop();
    assert!(asked > 50 && other_rights > 20, "{asked} asked, {other_rights} with other rights");
}

/// Packages in which something of each kind is other.
fn changed_packages() -> Vec<(String, Texts)> {
    let changed = |what: &str, change: &dyn Fn(&mut Texts)| {
        let mut texts = renamed("2026.2");
        change(&mut texts);
        (what.to_owned(), texts)
    };
    let pass = "benefits/loc_transport_pass.toml";
    let take = |texts: &mut Texts, file: &str| texts.remove(texts.iter().position(|(name, _)| name == file).unwrap()).1;
    vec![
        changed("nothing", &|_| {}),
        changed("all amounts", &|texts| edit(texts, "parameters.toml", "is = 4325", "is = 4500")),
        changed("a benefit under another name", &|texts| {
            let town = take(texts, pass).replace("loc_transport_pass", "aaa_town_pass").replace("edu_pupil ||", "");
            texts.push(("benefits/aaa_town_pass.toml".to_owned(), town));
        }),
        changed("a benefit that rules out no other", &|texts| {
            let file = "benefits/rep_childcare_1_5.toml";
            edit(texts, file, "excludes  = [\"gfss_childcare\"]\n", "");
        }),
    ]
}

/// So many packages with a mistake each, picked at random.
fn mistaken_packages(count: usize, seed: u64) -> Vec<(String, Texts)> {
    let texts = renamed("2026.2");
    let contents = Contents::read(&texts);
    let is_parameter = |name: &str| contents.named(name).any(|item| item.sort == Sort::Parameter);
    let passages = contents.items.iter().flat_map(|item| item.passages.iter().map(move |passage| (item, passage)));
    let mut all: Vec<(String, Texts)> = Vec::new();
    let mut chance = Pcg64Mcg::seed_from_u64(seed);
    let passages: Vec<_> = passages.collect();
    while all.len() < count {
        let (item, passage) = passages[chance.next_u32() as usize % passages.len()];
        let mistakes = mutants(&passage.expression, &is_parameter);
        if !mistakes.is_empty() {
            let mistake = &mistakes[chance.next_u32() as usize % mistakes.len()];
            all.push((format!("{} {}: {mistake}", item.id, passage.path), passage.replaced(&texts, mistake)));
        }
    }
    all
}

/// A package under which everybody has what they had changes nothing and texts nobody.
#[test]
fn a_package_that_says_the_same_changes_nothing() {
    let folder = Folder::new("same");
    let data = folder.0.join("data");
    let (population, days) = lines(1_500, 10);
    let pipeline = start(&kz(), &data, 1, SELDOM);
    population.iter().for_each(|body| tell(&pipeline, body));
    submit(&pipeline, Submission::of_own(Own::Live));
    days.iter().for_each(|body| tell(&pipeline, body));
    let package = fingerprint(&proposed(&pipeline, renamed("2026.3")).policy);
    let before = counts(&data);
    assert!(before["outbox"] > 3 && before["changes"] > 1_000, "{before:?}");
    let epoch = pipeline.activate(&package, Date::from_ymd(2026, 1, 1).unwrap()).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(pipeline.progress.wait_for(epoch, std::time::Duration::from_secs(60)));
    assert_eq!(pipeline.progress.standing().policy.version, "2026.3");
    pipeline.stop();
    let after = counts(&data);
    assert_eq!((&after["outbox"], &after["changes"], &after["decisions"]), (&before["outbox"], &before["changes"], &before["decisions"]));
    assert!(in_ledger(&data).iter().all(|row| row.contains("kz@2026.3")));
}

/// What a start accepts a check does not refuse: where the ledger's file does not know of the journal's end, it says so.
#[test]
fn a_check_refuses_nothing_that_a_start_accepts() {
    let folder = Folder::new("check-behind");
    let data = folder.0.join("data");
    let texts = later();
    let package = folder.0.join("later");
    write(&texts, &package);
    let package = package.display().to_string();
    let check = |package: &str| {
        let output = shanyraq(["run", "--check", "--policy", package, "--data", &data.display().to_string()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let day = |day| morning(Date::from_ymd(2026, 1, day).unwrap());
    let pipeline = start(&kz(), &data, 1, SELDOM);
    tell(&pipeline, &day(1));
    pipeline.stop();
    let (code, said) = check(&package);
    assert!(code == Some(1) && said.contains("the package kz@2026.2, as it is now, was never in force"), "{said}");
    // As a loss of power may leave it: the ledger's file ends before the journal.
    let earlier = std::fs::read(ledger_file(&data)).unwrap();
    let pipeline = start(&kz(), &data, 1, SELDOM);
    let later = proposed(&pipeline, texts);
    pipeline.activate(&fingerprint(&later.policy), Date::from_ymd(2026, 1, 2).unwrap()).unwrap_or_else(|failure| panic!("{failure}"));
    tell(&pipeline, &day(2));
    pipeline.stop();
    assert_eq!(check(&package), (Some(0), String::new()));
    assert_eq!(check("us-cps").0, Some(1));
    std::fs::write(ledger_file(&data), earlier).unwrap();
    // Of its log, in which nothing is left, readers may have left files.
    ["db-wal", "db-shm"].iter().for_each(|extension| drop(std::fs::remove_file(ledger_file(&data).with_extension(extension))));
    for package in [package.as_str(), "us-cps"] {
        let (code, said) = check(package);
        assert!(code == Some(0) && said.contains("only a start can tell"), "{said}");
    }
    start(&later, &data, 1, SELDOM).stop();
    assert_eq!(check(&package), (Some(0), String::new()));
}

/// A folder goes on under no package that was not activated in it, and none is taken that cannot follow the one in force.
#[test]
fn a_package_that_was_not_activated_is_refused() {
    let folder = Folder::new("refused-package");
    let data = folder.0.join("data");
    start(&kz(), &data, 1, SELDOM).stop();
    let start_under = |package: Option<Package>| Pipeline::start(package, setup(&data, 1, SELDOM));
    let later = Package::load(later()).unwrap();
    let why = start_under(Some(later.clone())).err().unwrap().to_string();
    assert!(why.contains("the package kz@2026.2, as it is now, was never in force") && why.contains("policy activate"), "{why}");
    let pipeline = start_under(None).unwrap_or_else(|failure| panic!("{failure}"));
    let refused = |texts: Texts| propose(&pipeline.packages, texts, &pipeline.progress.standing().policy).err().unwrap_or_default();
    let mut edited = renamed("2026.1");
    edit(&mut edited, "parameters.toml", "is = 4325", "is = 4326");
    assert!(refused(edited).contains("an edited package needs another version"));
    let mut languages = renamed("2026.2");
    edit(&mut languages, "policy.toml", "[\"kk\", \"ru\", \"en\"]", "[\"ru\", \"kk\", \"en\"]");
    assert!(refused(languages).contains("the languages of kz@2026.2 are others"));
    let mut broken = renamed("2026.2");
    edit(&mut broken, "parameters.toml", "is = 4325", "is = \"many\"");
    assert!(refused(broken).contains("parameters.toml:12"));
    let unknown = pipeline.activate(&fingerprint(&later.policy), Date(0)).unwrap_err().to_string();
    assert!(unknown.contains("was never proposed here"), "{unknown}");
    pipeline.stop();
}
