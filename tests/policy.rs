use crate::folder::Folder;
use dataflows::policy::Policy;
use dataflows::policy::contents::{Contents, Sort};
use serde_json::{Value, json};
use shanyraq::commands::policy::schemas;
use shanyraq::commands::{load_policy, package_texts};
use shanyraq::stories::mutation::{EQUIVALENTS, Report, mutate};
use shanyraq::stories::tell;
use std::collections::BTreeMap;
use std::process::{Command, Output};

const PACKAGES: [&str; 2] = ["kz", "us-cps"];

fn policy(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shanyraq")).arg("policy").args(arguments).output().unwrap()
}

/// What a command that succeeds prints.
fn printed(arguments: &[&str]) -> String {
    let output = policy(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that fails with this code says.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = policy(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A package in a folder of its own.
fn written(name: &str, texts: &[(String, String)]) -> Folder {
    let folder = Folder::new(name);
    for (path, text) in texts {
        let path = folder.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn changed(package: &str, file: &str, from: &str, to: &str) -> Vec<(String, String)> {
    let mut texts = package_texts(package).expect("a built-in package");
    let (_, text) = texts.iter_mut().find(|(path, _)| path == file).expect("a file of the package");
    assert!(text.contains(from), "{file} does not say {from}");
    *text = text.replacen(from, to, 1);
    texts
}

fn path(folder: &Folder) -> &str {
    folder.0.to_str().unwrap()
}

fn checked(package: &str) -> Value {
    serde_json::from_str(&printed(&["check", package, "--json"])).expect("one object")
}

#[test]
fn check_counts_what_a_package_says() {
    let found = checked("us-cps");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let parts =
        ["benefits", "categories", "criteria", "indicators", "messages", "proactive", "problems", "registers", "stories", "warnings"];
    assert_eq!(keys(&found), parts);
    let is_counted = |name: &str, path: &str| path.starts_with(name) && path != EQUIVALENTS;
    let folder = |name: &str| package_texts("us-cps").unwrap().iter().filter(|(path, _)| is_counted(name, path)).count();
    assert_eq!(found["stories"], folder("tests/"));
    assert_eq!(
        found["benefits"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>(),
        folder("benefits/") as u64
    );
    let summary = load_policy("us-cps").unwrap().summary();
    let spheres = &found["indicators"];
    assert_eq!(keys(spheres), ["households", "people"]);
    assert_eq!(spheres["households"], summary.household_indicators);
    assert_eq!(spheres["people"], summary.person_indicators);
    assert_eq!((&found["registers"], &found["categories"]), (&json!(summary.registers), &json!(summary.categories)));
    assert_eq!((&found["proactive"], &found["messages"]), (&json!(summary.proactive), &json!(summary.messages)));
}

#[test]
fn helpers_are_not_counted_and_nothing_else_changes() {
    let before = checked("us-cps");
    let folder = written("helpers", &changed("us-cps", "indicators/people.toml", "\nof ", "\nhelper = true\nof "));
    let after = checked(path(&folder));
    assert_eq!(after["indicators"]["people"].as_u64(), before["indicators"]["people"].as_u64().map(|count| count - 1));
    assert_eq!(after["indicators"]["households"], before["indicators"]["households"]);
}

#[test]
fn check_prints_its_object_with_mistakes_too() {
    let texts = changed("us-cps", "benefits/snap.toml", "[when]", "[when]\nplanted = \"household_incom > 0\"");
    let folder = written("mistakes", &texts);
    let output = policy(&["check", path(&folder), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(found["registers"], checked("us-cps")["registers"]);
    let [problem] = found["problems"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&problem["file"], &problem["column"]), (&json!("benefits/snap.toml"), &json!(12)));
    assert_eq!(problem["hint"], "did you mean `household_income`?");
}

#[test]
fn a_text_that_is_too_long_is_a_mistake() {
    let words = "Вам положено «{benefit}»";
    let texts =
        changed("kz", "messages.toml", words, &format!("{} {words}", "Сообщаем, что после рассмотрения сведений ведомств ".repeat(3)));
    let folder = written("wordy", &texts);
    let told = policy(&["check", path(&folder)]);
    let message = String::from_utf8(told.stdout).unwrap();
    let expected =
        "messages.toml:5:7: about `rep_survivor_allowance` it takes 5 parts of a short message; the package allows 3 (`text_parts`)";
    assert!(told.status.code() == Some(1) && message.starts_with(expected), "{message}");
    let rows: Vec<Value> = printed(&["texts", "kz", "--price", "12.5"]).lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let offer = rows.iter().find(|row| row["message"] == "offer" && row["language"] == "kk").unwrap();
    let parts = offer["parts"].as_u64().unwrap();
    assert!((2..=3).contains(&parts) && offer["a_thousand_cost"].as_f64() == Some(12_500.0 * parts as f64), "{offer}");
}

#[test]
fn no_expression_rests_on_a_later_stratum() {
    for package in PACKAGES {
        let contents = Contents::read(&package_texts(package).unwrap());
        let highest = |id: &str| {
            let passages = contents.named(id).flat_map(|item| item.passages.iter().map(move |passage| (item, passage)));
            passages.map(|(item, passage)| contents.cost(item, passage).stratum).max().unwrap_or(0)
        };
        for item in contents.items.iter().filter(|item| !item.id.starts_with("inherit.")) {
            for passage in &item.passages {
                let stratum = contents.cost(item, passage).stratum;
                let later: Vec<_> = passage.reads.iter().filter(|id| highest(id) > stratum).collect();
                assert!(later.is_empty(), "{} {} is of stratum {stratum} and reads {later:?}", item.id, passage.path);
            }
        }
    }
}

#[test]
fn check_prints_what_expressions_cost() {
    let costs = printed(&["check", "kz", "--costs"]);
    let cost =
        |of: &str| costs.lines().find_map(|line| line.split_once(&format!(": {of}: "))).unwrap_or_else(|| panic!("no {of}")).1.to_owned();
    assert_eq!(cost("composition minor"), "3 composition and roles; own file; wakes on a date");
    assert_eq!(cost("kin when"), "2 kin facts; own file");
    assert_eq!(cost("eco_wage_quarter value"), "1 own facts; own file; swept at a policy date (previous_quarter())");
    assert_eq!(cost("soc_breadwinner_lost value"), "4 people: roles, kin, own rights; own file");
    assert_eq!(cost("eco_wage_income value"), "5 household sums; additive");
    let pay = "6 households: indicators, criteria, categories, rights; household's row; swept at a policy date (MRP)";
    assert_eq!(cost("rep_large_family amount.pay.4"), pay);
}

#[test]
fn show_tells_what_an_item_says_and_who_reads_it() {
    let indicator = printed(&["show", "eco_wage_quarter", "kz"]);
    for part in [
        "Тоқсандағы жалақы",
        "KZT/month",
        "of         person",
        "r.amount * 10).sum()",
        "register enpf.contribution",
        "indicator eco_wage_income",
    ] {
        assert!(indicator.contains(part), "{part}: {indicator}");
    }
    let (reads, read_by) = indicator.split_once("read by").unwrap();
    assert!(reads.contains("enpf.contribution") && !read_by.contains("enpf.contribution"), "{indicator}");
    let parameter = printed(&["show", "MRP", "kz"]);
    assert!(parameter.contains("from 2026-01-01  4325  [found F42]") && parameter.contains("benefit rep_large_family"), "{parameter}");
    assert!(printed(&["show", "score", "kz"]).contains("criterion c07_cars"));
    assert!(printed(&["show", "offer", "kz"]).contains("«{benefit}»"));
    let unknown = refused(&["show", "eco_wage_quater", "kz"], 2);
    assert!(unknown.contains("did you mean `eco_wage_quarter`?"), "{unknown}");
}

/// What is read but is no item would be missed by `show` and `--mutate`: here everything that is named is found.
#[test]
fn every_item_that_computes_something_reads_something_and_is_read() {
    let contents = Contents::read(&package_texts("kz").unwrap());
    for item in contents.of(Sort::Criterion).chain(contents.of(Sort::Benefit)) {
        assert!(!item.reads.is_empty(), "{} reads nothing", item.id);
    }
    let family = contents.resting_on("birth_date");
    for id in ["composition", "eco_income_per_capita", "score", "category", "rep_large_family"] {
        assert!(family.contains(id), "{id} does not rest on birth_date");
    }
    assert!(!contents.resting_on("rep_large_family").contains("category"));
}

#[test]
fn skeletons_pass_the_check_and_overwrite_nothing() {
    let folder = written("skeletons", &package_texts("kz").unwrap());
    let package = path(&folder);
    let before = checked(package);
    for (sort, id, file) in [
        ("register", "mine.rescue", "registers/mine_rescue.toml"),
        ("indicator", "eco_rescues", "indicators/eco_rescues.toml"),
        ("benefit", "loc_rescue", "benefits/loc_rescue.toml"),
    ] {
        let printed = printed(&["new", sort, id, "--policy", package]);
        assert!(printed.starts_with(folder.0.join(file).to_str().unwrap()), "{printed}");
        let refused = refused(&["new", sort, id, "--policy", package], 2);
        assert!(refused.contains("is there already"), "{refused}");
    }
    let after = checked(package);
    assert_eq!(after["problems"], json!([]));
    assert_eq!(after["registers"].as_u64(), before["registers"].as_u64().map(|count| count + 1));
    assert_eq!(after["indicators"]["eco_rescues"], 1);
    assert_eq!(after["benefits"]["local"].as_u64(), Some(before["benefits"]["local"].as_u64().unwrap_or(0) + 1));
    assert!(refused(&["new", "benefit", "Loc", "--policy", package], 2).contains("is no name"));
    assert!(refused(&["new", "benefit", "loc_rescue", "--policy", "kz"], 2).contains("is part of the program"));
}

#[test]
fn a_trace_prints_every_value_of_every_day() {
    let trace = printed(&["test", "us-cps", "--trace", "grandmother"]);
    for id in load_policy("us-cps").unwrap().indicators.iter().map(|indicator| &indicator.id) {
        assert!(trace.contains(&format!("    {id} = ")), "no {id}");
    }
    let days: Vec<&str> = trace.lines().filter(|line| line.starts_with("201")).collect();
    assert_eq!(days, ["2015-01-01", "2015-02-10", "2015-03-01"]);
    for line in [
        "  household of ann, ben, cara",
        "    category = 4   (was 2)",
        "    today: ann gained snap 197",
        "    today: doris lost ssi_aged 253",
    ] {
        assert!(trace.lines().any(|found| found.starts_with(line)), "no `{line}` in\n{trace}");
    }
    assert!(trace.contains("low_income no"), "{trace}");
    assert!(refused(&["test", "us-cps", "--trace", "grandfather"], 2).contains("tests/grandmother.toml"));
}

/// As validators see TOML: dates are texts.
fn as_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Table(table) => Value::Object(table.iter().map(|(key, value)| (key.clone(), as_json(value))).collect()),
        toml::Value::Array(items) => items.iter().map(as_json).collect(),
        other => serde_json::to_value(other).expect("a scalar"),
    }
}

/// What a file's schema says against it; `None` for a file without one.
fn faults(path: &str, text: &str) -> Option<Vec<String>> {
    let schema = schemas().into_iter().find(|schema| schema.is_of(path))?;
    let validator = jsonschema::draft202012::new(&schema.schema).expect("a schema");
    let file = as_json(&toml::Value::Table(text.parse().expect("TOML")));
    Some(validator.iter_errors(&file).map(|error| format!("{path}{}: {error}", error.instance_path())).collect())
}

#[test]
fn every_file_of_every_package_fits_its_schema() {
    let mut described = BTreeMap::new();
    for package in PACKAGES {
        for (path, text) in package_texts(package).unwrap() {
            let faults = faults(&path, &text).unwrap_or_else(|| panic!("no schema for {path}"));
            assert_eq!(faults, Vec::<String>::new(), "{package}");
            *described.entry(schemas().into_iter().position(|schema| schema.is_of(&path))).or_insert(0) += 1;
        }
    }
    // Equivalents alone may be missing: a package need not have any.
    assert!(described.len() + 1 >= schemas().len(), "{described:?}");
    let folder = Folder::new("schemas");
    let printed = printed(&["schema", "--out", path(&folder)]);
    assert_eq!(printed.lines().count(), schemas().len() + 1);
    for file in printed.lines().filter(|file| file.ends_with(".json")) {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

#[test]
fn schemas_refuse_planted_mistakes() {
    let planted = [
        ("policy.toml", "from      = 2014-01-01", "from      = \"soon\""),
        ("parameters.toml", "is = 11670", "is = 11670.5"),
        ("registers/money.toml", "cadence", "cadense"),
        ("registers/census.toml", "= \"date\"", "= \"data\""),
        ("indicators/people.toml", "\"person\"", "\"people\""),
        ("indicators/people.toml", "source", "sauce"),
        ("categories.toml", "\"..500\"", "\"..x500\""),
        ("benefits/snap.toml", "period", "perid"),
        ("messages.toml", "en", "english"),
        ("tests/grandmother.toml", "sex = \"F\"", "sex = \"W\""),
        ("tests/grandmother.toml", "expect", "expects"),
    ];
    for (file, from, to) in planted {
        let texts = changed("us-cps", file, from, to);
        let (_, text) = texts.iter().find(|(path, _)| path == file).unwrap();
        assert!(!faults(file, text).unwrap().is_empty(), "{file}: {to} is not refused");
    }
    for (file, from, to) in [("criteria.toml", "unknown", "unknwon"), ("levels.toml", "points ", "point ")] {
        let texts = changed("kz", file, from, to);
        let (_, text) = texts.iter().find(|(path, _)| path == file).unwrap();
        assert!(!faults(file, text).unwrap().is_empty(), "{file}: {to} is not refused");
    }
    assert!(!faults(EQUIVALENTS, "[[equivalent]]\nid = \"x\"\npath = \"value\"\nmutant = \"1\"").unwrap().is_empty());
}

fn mutated(texts: &[(String, String)], only: &str) -> Report {
    let policy = Policy::load(texts).expect("a package without mistakes");
    mutate(texts, &policy.into(), only).expect("stories that hold")
}

/// Adds a declaration that a mutant means the same.
fn excused(texts: &[(String, String)], id: &str, path: &str, mutant: &str) -> Vec<(String, String)> {
    let mut texts = texts.to_vec();
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let more = format!("[[equivalent]]\nid = {}\npath = {}\nmutant = {}\nreason = \"a test\"\n", quoted(id), quoted(path), quoted(mutant));
    match texts.iter_mut().find(|(path, _)| path == EQUIVALENTS) {
        Some((_, text)) => text.push_str(&more),
        None => texts.push((EQUIVALENTS.to_owned(), more)),
    }
    texts
}

/// The package `us-cps` with one story alone, which leaves much unsaid.
fn with_one_story() -> Vec<(String, String)> {
    let mut texts = package_texts("us-cps").unwrap();
    texts.retain(|(path, _)| !path.starts_with("tests/") || path == "tests/grandmother.toml");
    texts
}

#[test]
fn a_mistake_that_no_story_notices_survives_until_one_does() {
    let texts = with_one_story();
    let all = mutated(&texts, "snap");
    assert!(all.killed > 10 && all.mutants == all.killed + all.survivors.len(), "{all:?}");
    let is_noticed = |report: &Report, mutant: &str| !report.survivors.iter().any(|survivor| survivor.mutant == mutant);
    // The story says what a family of three gets, and nothing of larger ones.
    assert!(is_noticed(&all, "498 - snap_own_share"), "{:?}", all.survivors);
    let larger = all.survivors.iter().find(|survivor| survivor.path == "amount.pay.8..").expect("a survivor");
    assert_eq!((larger.file.as_str(), larger.id.as_str()), ("benefits/snap.toml", "snap"));
    let line = texts.iter().find(|(path, _)| path == "benefits/snap.toml").unwrap().1.lines().nth(larger.line - 1).unwrap();
    assert!(line.contains(&larger.original), "{line}");
    // Without its amount the story notices less.
    let mut vague = texts;
    let story = vague.iter_mut().find(|(path, _)| path == "tests/grandmother.toml").expect("a story");
    story.1 = story.1.replace("gained snap 197", "gained snap");
    let vague = mutated(&vague, "snap");
    assert!(vague.survivors.len() > all.survivors.len(), "{vague:?}");
}

#[test]
fn what_an_expression_is_printed_as_means_the_same() {
    for package in PACKAGES {
        let texts = package_texts(package).unwrap();
        for item in Contents::read(&texts).items {
            for passage in &item.passages {
                let printed = passage.expression.to_string();
                let again = Contents::read(&passage.replaced(&texts, &printed));
                let same = again.named(&item.id).flat_map(|item| &item.passages).find(|found| found.path == passage.path);
                assert_eq!(same.map(|found| found.expression.to_string()), Some(printed), "{} {}", item.id, passage.path);
                assert_eq!(same.map(|found| found.reads.clone()), Some(passage.reads.clone()), "{} {}", item.id, passage.path);
            }
        }
    }
}

/// Only stories that speak of what rests on an expression are played. Here some survive that all stories together would kill,
/// since two in three are left out; of those that are left, the ones passed over must not notice either.
#[test]
fn stories_that_are_passed_over_would_not_have_noticed() {
    let mut texts = package_texts("kz").unwrap();
    let mut stories = 0;
    texts.retain(|(path, _)| {
        stories += usize::from(path.starts_with("tests/"));
        !path.starts_with("tests/") || stories % 3 == 0
    });
    let contents = Contents::read(&texts);
    let report = mutated(&texts, "soc_pension");
    assert!(!report.survivors.is_empty() && report.killed > 0, "{report:?}");
    for survivor in &report.survivors {
        let item = contents.named(&survivor.id).next().expect("an item");
        let passage = item.passages.iter().find(|passage| passage.path == survivor.path).expect("an expression");
        let texts = passage.replaced(&texts, &survivor.mutant);
        let policy = Policy::load(&texts).expect("a mutant that compiles").into();
        let noticed = tell(&policy, &texts).find(|outcome| !outcome.complaints.is_empty());
        assert_eq!(noticed, None, "{survivor:?}");
    }
}

#[test]
fn equivalents_excuse_survivors_and_nothing_else() {
    let texts = with_one_story();
    let before = mutated(&texts, "snap");
    let mut excuses = texts.clone();
    for survivor in &before.survivors {
        excuses = excused(&excuses, &survivor.id, &survivor.path, &survivor.mutant);
    }
    let after = mutated(&excuses, "snap");
    assert_eq!((after.survivors.len(), after.equivalents, after.killed), (0, before.survivors.len(), before.killed));
    assert_eq!(after.complaints, []);
    let noticed = excused(&texts, "snap", "amount.pay.3", "498 - snap_own_share");
    let report = mutated(&noticed, "snap");
    assert_eq!(report.complaints.len(), 1, "{report:?}");
    assert!(report.complaints[0].to_string().starts_with("tests/equivalents.toml:2: "), "{}", report.complaints[0]);
    let nothing = mutated(&excused(&texts, "snap", "amount.pay.3", "1"), "");
    assert!(nothing.complaints[0].found.contains("no such mutant"), "{nothing:?}");
    let folder = written("excuses", &excuses);
    let found: Value = serde_json::from_str(&printed(&["test", path(&folder), "--mutate", "--only", "snap", "--json"])).unwrap();
    assert_eq!((&found["survivors"], &found["equivalent"]), (&json!([]), &json!(before.survivors.len())));
    let unexcused = written("unexcused", &texts);
    let survived = refused(&["test", path(&unexcused), "--mutate", "--only", "snap"], 1);
    assert!(survived.contains("mutants survived"), "{survived}");
}

#[test]
fn no_mistake_in_the_survey_package_goes_unnoticed() {
    let report = mutated(&package_texts("us-cps").unwrap(), "");
    assert!(report.killed > 100, "{report:?}");
    assert_eq!((report.survivors, report.complaints), (vec![], vec![]));
}

#[test]
fn stories_must_hold_before_anything_is_changed() {
    let texts = changed("us-cps", "tests/grandmother.toml", "gained snap 197", "gained snap 198");
    let folder = written("unsound", &texts);
    assert!(refused(&["test", path(&folder), "--mutate"], 1).contains("must hold"));
}
