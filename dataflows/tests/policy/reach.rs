use super::mistakes::{Edit, edited};
use dataflows::policy::Policy;
use dataflows::policy::reach::unreached;

/// All that is said of the rows of the package after these edits, in the order of its files.
fn told(edits: &[Edit<'_>]) -> Vec<String> {
    let files = edited(edits);
    if let Err(problems) = Policy::load(&files) {
        panic!("{edits:?}: {problems:#?}");
    }
    let places = |problem: dataflows::policy::Problem| format!("{}: {}", problem.file, problem.message);
    // There are no points of the second scale, so that its sum is zero and nobody is in level A: of that the last test speaks.
    unreached(&files).into_iter().map(places).filter(|text| !text.ends_with("`level_score` is 0")).collect()
}

fn check(cases: &[(&str, &str, &str, &str)]) {
    for (path, from, to, message) in cases {
        let expected: Vec<String> = (!message.is_empty()).then(|| format!("{path}: {message}")).into_iter().collect();
        assert_eq!(told(&[(path, from, to)]), expected, "{to}");
    }
}

const C: &str = "criteria.toml";
const K: &str = "categories.toml";
const F: &str = "benefits/family.toml";
const S: &str = "benefits/single.toml";
const POINTS: &str = "by = \"children\"\npoints = { \"0\" = 50, \"1..3\" = 10, \"3..\" = -30 }";

#[test]
fn a_bin_that_no_value_falls_in_and_a_value_without_a_bin() {
    let by = |expression: &str, bins: &str| format!("by = \"{expression}\"\npoints = {{ {bins} }}");
    check(&[
        (C, "\"0\" = 50", "\"..0\" = 5, \"0\" = 50", "no value falls in this bin: `children` is at least 0"),
        (C, "\"3..\" = -30", "\"3..7\" = -30", "a family with children = 7 falls in no bin, and scores what not knowing scores"),
        (C, POINTS, &by("most_cars", "\"..4\" = 1, \"4..\" = 2"), "no value falls in this bin: `most_cars` is 0 to 3"),
        (C, POINTS, &by("most_cars", "\"..3\" = 1"), "a family with most_cars = 3 falls in no bin, and scores what not knowing scores"),
        (C, POINTS, &by("(any_car ? 1 : 0) + (children > 0 ? 2 : 0)", "\"0\" = 1, \"1\" = 1, \"2\" = 1, \"3\" = 1"), ""),
        (
            C,
            POINTS,
            &by("(any_car ? 1 : 0) + (children > 0 ? 2 : 0)", "\"0\" = 1, \"1\" = 1, \"2\" = 1"),
            "a family with any_car = true, children = 1 falls in no bin, and scores what not knowing scores",
        ),
        (C, POINTS, &by("any_car ? 5 : children < 0 ? 1 : 0", "\"0..5\" = 1, \"5..\" = 2"), ""),
        (
            C,
            POINTS,
            &by("min(children, 2) * -1", "\"..-2\" = 1, \"-2..\" = 2"),
            "no value falls in this bin: `min(children, 2) * -1` is -2 to 0",
        ),
        (C, POINTS, &by("points(c_income, per_capita)", "\"..0\" = 1, \"0..101\" = 2"), ""),
        // Points of -30 to 50, 5 more with a car, and of -10 to 100.
        (K, "\"60..\" = 3", "\"60..200\" = 3, \"200..\" = 4", "no value falls in this bin: `score` is -40 to 155"),
        (K, "\"60..\" = 3", "\"60..150\" = 3", "a family with score = 150 falls in no bin, and is given what not knowing gives"),
    ]);
}

#[test]
fn a_condition_that_never_holds() {
    let condition = |text: &str| format!("[when]\nmore = \"{text}\"");
    let fault = "[odd]\ntitle = { en = \"x\" }\nsource = \"test\"\nwhen = \"cars < 0\"\n";
    check(&[
        (C, "when = \"any_car\"", "when = \"most_cars > 3\"", "this never holds, since `most_cars` is 0 to 3: nothing is ever added"),
        (
            C,
            "when = \"any_car\"",
            "when = \"any_car && !any_car\"",
            "this never holds, since `any_car` is false or true: nothing is ever added",
        ),
        (K, "most_cars >= 3", "most_cars >= 4", "this never holds, since `most_cars` is 0 to 3: nobody is in this category by it"),
        (K, "all_or_score", "score", "this rule is never asked: with mode = \"score\" the bins alone decide"),
        ("faults.toml", "", fault, "this never holds, since `cars` is at least 0: this fault is never found"),
        (
            F,
            "poor = ",
            "few = \"children < 2\"\npoor = ",
            "`few` never holds beside the other conditions, since `children` is at least 2: nobody has this right",
        ),
        (
            F,
            "[when]",
            &condition("head.sex in ['M'] && head.sex == 'F'"),
            "`more` never holds, since `head.sex` is 'M' or 'F': nobody has this right",
        ),
        (F, "[when]", &condition("category == 4"), "`more` never holds, since `category` is 1 to 3: nobody has this right"),
        (F, "[when]", &condition("children >= 0"), "`more` always holds, since `children` is at least 0: it keeps nobody from this right"),
        (
            F,
            "[when]",
            &condition("members.filter(m, m.cars < 0).size() > 0"),
            "`more` never holds, since `members.filter(m, m.cars < 0).size()` is 0: nobody has this right",
        ),
        (
            S,
            "adult = \"age(birth_date) >= 18\"",
            "adult = \"age(birth_date) >= 18\"\nminor = \"age(birth_date) < 18\"",
            "`minor` never holds beside the other conditions, since `age(birth_date)` is at least 18: nobody has this right",
        ),
        (F, "[when]", &condition("children > MRP && children < 2 * MRP"), ""),
        (
            "indicators/all.toml",
            "k.kind == 'parent' && has(k.died)",
            "k.kind == 'parent' && k.kind == 'spouse'",
            "no record meets this condition",
        ),
        (
            "indicators/all.toml",
            "\"reg.pay.distinct(p, p.employer)\"",
            "\"cars < 0 ? 1 : 2\"",
            "this branch is never taken: `cars < 0` never holds",
        ),
    ]);
}

#[test]
fn a_rate_that_nobody_is_paid_and_a_family_without_a_rate() {
    check(&[
        (
            F,
            "\"2\" = \"16.03 MRP\"",
            "\"1\" = \"5 MRP\", \"2\" = \"16.03 MRP\"",
            "nobody is paid this rate: where the conditions hold, `children` is at least 2",
        ),
        (F, "\"3..\" = ", "\"4..\" = ", "a family with children = 3 passes the conditions, and no rate is for them"),
        // Where no condition speaks of it, the rates say who is meant.
        (F, "two = \"children >= 2\"\n", "", ""),
        (F, "\"4 MRP * children\"", "\"min(0, children)\"", "this is never above zero, since `children` is at least 3: nobody is paid it"),
        (S, "1000 * (cars + 1)", "-1 * cars", "this is never above zero, since `cars` is at least 0: nobody is paid it"),
    ]);
}

#[test]
fn a_level_that_nobody_is_in() {
    let found = unreached(&edited(&[]));
    let told: Vec<_> = found.iter().map(|problem| (problem.file.as_str(), problem.message.as_str())).collect();
    assert_eq!(told, [(K, "no value falls in this bin: `level_score` is 0")]);
}
