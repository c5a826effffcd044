use dataflows::policy::Policy;
use shanyraq::commands::{load_policy, package_texts};
use shanyraq::stories::{Outcome, missing, tell};
use std::collections::BTreeSet;
use std::sync::Arc;

fn stories_of(package: &str) -> (Arc<Policy>, Vec<Outcome>) {
    let policy = load_policy(package).expect("a package without mistakes");
    let texts = package_texts(package).expect("a built-in package");
    let outcomes = tell(&policy, &texts).collect();
    (policy, outcomes)
}

fn complaints(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().flat_map(|outcome| &outcome.complaints).map(ToString::to_string).collect()
}

#[test]
fn every_story_of_every_package_holds_and_covers_what_it_must() {
    for package in ["kz", "us-cps"] {
        let (policy, outcomes) = stories_of(package);
        assert!(!outcomes.is_empty(), "{package} has no stories");
        assert_eq!(complaints(&outcomes), Vec::<String>::new());
        let shown: BTreeSet<_> = outcomes.into_iter().flat_map(|outcome| outcome.shown).collect();
        assert_eq!(missing(&policy, &shown), Vec::<String>::new());
    }
}

/// Tells one story of the Kazakhstan package with a sentence replaced.
fn tell_otherwise(file: &str, sentence: &str, otherwise: &str) -> Vec<String> {
    let policy = load_policy("kz").expect("a package without mistakes");
    let texts = package_texts("kz").expect("a built-in package");
    let (name, text) = texts.iter().find(|(name, _)| name == file).expect("a story");
    assert!(text.contains(sentence), "{file} does not say {sentence}");
    let texts = [(name.clone(), text.replace(sentence, otherwise))];
    complaints(&tell(&policy, &texts).collect::<Vec<_>>())
}

#[test]
fn a_wrong_sentence_is_told_with_its_line_and_what_was_found() {
    let wrong = tell_otherwise("tests/large_family.toml", "69330 from", "69331 from");
    let expected = "tests/large_family.toml:17: expected saule gained rep_large_family 69331 from 2026-02-14; \
                    found saule gained rep_large_family 69330 from 2026-02-14";
    assert_eq!(wrong, [expected]);
    let unexplained = tell_otherwise("tests/job_loss.toml", "because still_paid", "because participated");
    assert_eq!(unexplained.len(), 1, "{unexplained:?}");
    assert!(unexplained[0].contains("participated yes, still_paid no"), "{unexplained:?}");
}

#[test]
fn a_change_that_nobody_told_fails_the_story_on_a_quiet_day_too() {
    let untold = tell_otherwise("tests/disability_adult.toml", "date   = 2026-06-01", "date   = 2026-06-02");
    assert!(untold[0].contains("no such change on 2026-06-01; found second lost rep_disability_allowance"), "{untold:?}");
}

#[test]
fn what_is_no_story_is_refused_with_its_line() {
    let unread = tell_otherwise("tests/conscript.toml", "\"daulet alone\"", "\"daulet likes tea\"");
    assert!(unread[0].starts_with("tests/conscript.toml:15: expected NAME gained"), "{unread:?}");
    let nobody = tell_otherwise("tests/conscript.toml", "\"daulet alone\"", "\"dauren alone\"");
    assert!(nobody[0].ends_with("found nobody called dauren"), "{nobody:?}");
}
