use shanyraq::pipeline::metrics::{InState, Metrics, OfFeed, OfRegister, TextState};
use std::collections::{BTreeMap, BTreeSet};

/// What a container is built from is all that cargo needs, and nothing that it built.
#[test]
fn the_container_file_copies_what_is_built() {
    let file = include_str!("../src/operations/Containerfile");
    let copies = file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|copy| !copy.starts_with("--from"));
    let sources = copies.flat_map(|copy| copy.split(' ').rev().skip(1));
    let copied: BTreeSet<&str> = sources.collect();
    let manifest: toml::Table = toml::from_str(include_str!("../Cargo.toml")).unwrap();
    let targets = ["bin", "bench"].iter().flat_map(|kind| manifest[*kind].as_array().unwrap());
    let paths = targets.map(|target| target.get("path").map_or("benches", |path| path.as_str().unwrap()));
    let members = manifest["workspace"]["members"].as_array().unwrap().iter().map(|member| member.as_str().unwrap());
    let needed = paths.chain(members).chain(["Cargo.toml", "Cargo.lock", "src", "tests"]);
    let needed: BTreeSet<&str> = needed.map(|path| path.split('/').next().unwrap()).collect();
    assert_eq!(copied, needed);
}

/// Every alert is about something that a pipeline measures, in the way in which that moves, and tells what to do.
#[test]
fn alerts_are_about_what_is_measured_and_say_what_to_do() {
    let metrics = Metrics::default();
    // What is measured by feed, register or state is shown once there is one.
    metrics.accepted.get_or_create(&OfFeed { feed: "one".to_owned() }).inc();
    metrics.refused.get_or_create(&OfFeed { feed: "one".to_owned() }).inc();
    metrics.feed_time.get_or_create(&OfFeed { feed: "one".to_owned() }).set(1);
    metrics.unheard_days.get_or_create(&OfRegister { register: "one".to_owned() }).set(1);
    metrics.texts_under_way.get_or_create(&InState { state: TextState::Waiting }).set(1);
    let measures = metrics.text();
    let measured: BTreeMap<&str, &str> = measures.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(measured.len() > 15, "{measured:?}");
    let alerts = include_str!("../src/operations/alerts.yml");
    let (mut names, mut playbooks) = (0, 0);
    for (number, line) in alerts.lines().enumerate() {
        names += usize::from(line.trim_start().starts_with("- alert:"));
        playbooks += usize::from(line.trim_start().starts_with("playbook:"));
        let Some(expression) = line.trim_start().strip_prefix("expr:") else { continue };
        let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let words: Vec<&str> = words.collect();
        for (place, word) in words.iter().enumerate().filter(|(_, word)| word.starts_with("shanyraq_")) {
            let family = ["_bucket", "_count", "_sum", "_total"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
            let kind = measured.get(family);
            assert!(kind.is_some(), "line {}: nothing measures {family}: {measured:?}", number + 1);
            // What goes up and down did not start anew wherever it went down.
            let moves = place.checked_sub(1).map_or("", |before| words[before]);
            let is_counted = matches!(moves, "rate" | "increase");
            assert!(!is_counted || kind != Some(&"gauge"), "line {}: {moves} of {family}, which is a gauge", number + 1);
            assert!(moves != "delta" || kind == Some(&"gauge"), "line {}: {moves} of {family}, which is no gauge", number + 1);
        }
    }
    assert!(names > 8 && names == playbooks, "{names} alerts, {playbooks} playbooks");
}
