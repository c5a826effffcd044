use crate::folder::Folder;
use crate::program::{rows, shanyraq, summary};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// The views of what `generate` writes with these arguments.
fn views(folder: &Folder, arguments: &[&str]) -> PathBuf {
    let country = folder.0.join("country");
    let out = country.display().to_string();
    let made = shanyraq(["generate"].iter().chain(arguments).chain(&["--out", &out]));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (population, views) = (country.join("population.ndjson.zst"), folder.0.join("views"));
    let [feed, out] = [&population, &views].map(|path| path.display().to_string());
    let wanted = "households,criteria,categories,decisions";
    summary(&shanyraq(["batch", "--policy", "kz", "--feed", &feed, "--out", &out, "--views", wanted, "--json"]));
    views
}

/// A share in per cent, of what was counted by name.
fn share(counts: &BTreeMap<String, usize>, names: &[&str]) -> f64 {
    let named: usize = names.iter().map(|name| counts.get(*name).copied().unwrap_or_default()).sum();
    100.0 * named as f64 / counts.values().sum::<usize>() as f64
}

#[track_caller]
fn within(what: &str, low: f64, measured: f64, high: f64) {
    assert!((low..=high).contains(&measured), "{what}: {measured:.2} is not in {low}..={high}");
}

/// Domain 7.4, 7.8 and 4.4 on two hundred thousand people; families are those of the rules, people in institutions are none.
#[test]
fn two_hundred_thousand_people_have_the_shares_of_the_country() {
    let folder = Folder::new("calibration");
    let views = views(&folder, &["--persons", "200000"]);
    let (mut members, mut families) = (0, HashSet::new());
    for row in rows(&views, "households").into_iter().filter(|row| row["kind"] != "excluded") {
        members += row["members"].as_array().unwrap().len();
        families.insert(row["household"].as_str().unwrap().to_owned());
    }
    within("members of a family", 3.1, members as f64 / families.len() as f64, 3.3);

    let (mut categories, mut levels): (BTreeMap<String, usize>, BTreeMap<String, usize>) = Default::default();
    for row in rows(&views, "categories").into_iter().filter(|row| families.contains(row["household"].as_str().unwrap())) {
        *categories.entry(row["category"].to_string()).or_default() += 1;
        *levels.entry(row["level"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(categories.values().sum::<usize>(), families.len());
    within("levels D and E", 14.0, share(&levels, &["D", "E"]), 17.0);
    // The shares of the calibration run that the domain describes; five points is what its marginals leave open.
    for (category, expected) in [("1", 6.1), ("2", 10.3), ("3", 20.1), ("4", 27.7), ("5", 25.5), ("6", 10.2)] {
        within(&format!("category {category}"), expected - 5.0, share(&categories, &[category]), expected + 5.0);
    }

    // The marginals of families by which that run was made, as far as points tell them apart; three points each, four for dwellings:
    // the rules of composition leave some grown children in families of their own, without a dwelling.
    let mut counts = [0; 8];
    for row in rows(&views, "criteria").into_iter().filter(|row| families.contains(row["household"].as_str().unwrap())) {
        let points = |criterion: &str| row["points"][criterion].as_i64().unwrap();
        let (dwellings, cars, business) = (points("c03_dwellings"), points("c07_cars"), points("c10_business"));
        let has = [
            points("c01_income_pc") == 0,
            dwellings == -60,
            dwellings >= 80,
            cars == -25,
            cars >= 60,
            [20, 80].contains(&business),
            business >= 60,
            points("c12_overdue") < 0,
        ];
        counts.iter_mut().zip(has).for_each(|(count, has)| *count += usize::from(has));
    }
    let marginals = [
        ("no income", 11.5, 3.0),
        ("no dwelling", 32.0, 4.0),
        ("two dwellings and more", 14.0, 3.0),
        ("no car", 49.0, 3.0),
        ("two cars and more", 13.0, 3.0),
        ("a sole trader", 19.0, 3.0),
        ("a founder", 6.6, 3.0),
        ("an overdue loan", 16.0, 3.0),
    ];
    for ((what, expected, tolerance), count) in marginals.into_iter().zip(counts) {
        within(what, expected - tolerance, 100.0 * count as f64 / families.len() as f64, expected + tolerance);
    }

    let allowance = |row: &Value| row["benefit"] == "rep_large_family" && row["outcome"] == "eligible";
    let large = rows(&views, "decisions").into_iter().filter(allowance).count();
    within("families with four children and more", 9.0, 100.0 * large as f64 / families.len() as f64, 10.5);
}

/// Domain 4.2: by service the applications, and those refused because the family is of the sixth category.
#[test]
fn of_the_pilots_applications_those_of_the_sixth_category_are_refused() {
    const SERVICES: [(&str, usize, usize); 4] = [
        ("loc_housing_aid", 1_821, 0),
        ("loc_rent_subsidy", 2_181, 839),
        ("loc_home_schooling", 1_677, 41),
        ("loc_school_help", 22_382, 74),
    ];
    let folder = Folder::new("pilot");
    let views = views(&folder, &["--scenario", "pilot"]);
    let category = |row: &Value| (row["household"].as_str().unwrap().to_owned(), row["category"].as_i64().unwrap());
    let categories: HashMap<String, i64> = rows(&views, "categories").iter().map(category).collect();
    let mut answers: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let services = SERVICES.map(|(service, ..)| service);
    for row in rows(&views, "decisions").into_iter().filter(|row| services.contains(&row["benefit"].as_str().unwrap())) {
        let (all, refused) = answers.entry(row["benefit"].as_str().unwrap().to_owned()).or_default();
        let sixth = categories[row["household"].as_str().unwrap()] == 6;
        assert_eq!(row["outcome"], if sixth { "refused" } else { "eligible" }, "{row}");
        *all += 1;
        *refused += usize::from(sixth);
    }
    let expected = SERVICES.map(|(service, all, refused)| (service.to_owned(), (all, refused)));
    assert_eq!(answers, BTreeMap::from(expected));
    assert_eq!(answers.values().map(|(all, refused)| all - refused).sum::<usize>(), 27_107, "the published number");
}
