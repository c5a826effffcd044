use crate::folder::Folder;
use crate::snapshots::{SELDOM, start, tell};
use dataflows::model::Date;
use fixtures::country::Country;
use shanyraq::commands::load_package;

/// Families of a country, picked at random, come out of the twin as the engine has them.
#[test]
fn the_twin_agrees_about_families_picked_at_random() {
    let package = load_package("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    for (seed, workers) in [(1, 1), (2, 3), (3, 2)] {
        let folder = Folder::new(&format!("audit-{seed}"));
        let pipeline = start(&package, &folder.0.join("data"), workers, SELDOM);
        let country = Country::new(1_500, seed, Date::from_ymd(2026, 1, 1).unwrap());
        let lines = country.population_blocks(1).chain(country.days(20 * seed as usize).map(|(_, lines)| lines));
        lines.for_each(|lines| tell(&pipeline, &lines));
        let audited = pipeline.questions.audit(&pipeline.packages, 40, seed).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(audited.families > 30, "{seed}: {} of 40", audited.families);
        assert!(audited.differing.is_empty(), "{seed}: {} of {}: {:#?}", audited.differing.len(), audited.families, audited.differing[0]);
        pipeline.stop();
    }
}
