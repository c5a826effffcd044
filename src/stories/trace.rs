//! What is found on the days of a story, in full: for authors who look for the value that went astray.

use super::findings::Findings;
use dataflows::model::{Date, HouseholdKey, PersonId};
use dataflows::policy::{Level, is_unknown, reason_of};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The days told so far.
#[derive(Default)]
pub struct Journal {
    pub text: String,
    /// What was last written of each value, by whose it is and what it is called.
    before: BTreeMap<(String, String), String>,
}

impl Journal {
    /// Writes everything that is known of the people of a story on a day; values that changed say what they were.
    pub fn write(&mut self, today: Date, findings: &Findings<'_>) {
        self.line(format!("{today}"));
        let mut households: BTreeMap<HouseholdKey, Vec<PersonId>> = BTreeMap::new();
        for person in findings.names.values() {
            if let Some(household) = findings.households.get(person) {
                households.entry(*household).or_default().push(*person);
            }
        }
        for people in households.values() {
            self.household(findings, people);
        }
        for (name, person) in findings.names {
            self.person(findings, name, *person);
        }
        self.decisions(findings);
    }

    fn line(&mut self, line: String) {
        writeln!(self.text, "{line}").expect("writing to a string cannot fail");
    }

    fn household(&mut self, findings: &Findings<'_>, people: &[PersonId]) {
        let names: Vec<String> = people.iter().map(|person| findings.name(*person)).collect();
        let whose = format!("household of {}", names.join(", "));
        self.line(format!("  {whose}"));
        let Some(judgement) = findings.judgement(people[0]) else {
            return;
        };
        let policy = findings.policy;
        for indicator in policy.indicators.iter().filter(|indicator| indicator.level == Level::Household) {
            let value = findings.show(indicator, judgement.indicators[indicator.position]);
            self.value(&whose, &indicator.id, value);
        }
        for (index, criterion) in policy.criteria.iter().enumerate() {
            let doubt = judgement.doubts.get(index).copied().filter(|doubt| is_unknown(*doubt));
            let doubt = doubt.map_or(String::new(), |doubt| format!(" (unknown {})", policy.reason(reason_of(doubt))));
            self.value(&whose, &criterion.id, format!("{} points{doubt}", judgement.points[index]));
        }
        for (criterion, points) in policy.levels.iter().zip(&judgement.level_points) {
            self.value(&whose, &criterion.id, format!("{points} points"));
        }
        self.value(&whose, "score", judgement.score.to_string());
        self.value(&whose, "category", judgement.category.to_string());
        if let Some(letter) = policy.level_letters.get(usize::from(judgement.level)) {
            self.value(&whose, "level_score", judgement.level_score.to_string());
            self.value(&whose, "level", letter.clone());
        }
        self.rights(findings, &whose, people[0], Level::Household);
    }

    fn person(&mut self, findings: &Findings<'_>, name: &str, person: PersonId) {
        self.line(format!("  {name}"));
        let Some(values) = findings.values.get(&person) else {
            return self.line("    no records".to_owned());
        };
        for indicator in findings.policy.indicators.iter().filter(|indicator| indicator.level == Level::Person) {
            self.value(name, &indicator.id, findings.show(indicator, values[indicator.position]));
        }
        self.rights(findings, name, person, Level::Person);
    }

    /// Conditions with their truth, whether or not there is a right.
    fn rights(&mut self, findings: &Findings<'_>, whose: &str, person: PersonId, level: Level) {
        let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
        for trace in findings.traces.get(&person).into_iter().flatten() {
            let benefit = &findings.policy.benefits[usize::from(trace.benefit)];
            if benefit.level == level {
                let count = seen.entry(trace.benefit).or_default();
                *count += 1;
                // A right for each record: the second, third … get a number.
                let id = if *count == 1 { benefit.id.clone() } else { format!("{} {count}", benefit.id) };
                self.value(whose, &id, findings.tell_trace(trace));
            }
        }
    }

    fn decisions(&mut self, findings: &Findings<'_>) {
        self.line("  decisions".to_owned());
        for decision in findings.decisions {
            let benefit = &findings.policy.benefits[usize::from(decision.benefit)].id;
            self.line(format!("    {} {}", findings.name(decision.person), findings.describe(benefit, decision)));
        }
        for change in findings.changes.iter().filter_map(|change| findings.tell(change)) {
            self.line(format!("    today: {change}"));
        }
    }

    fn value(&mut self, whose: &str, id: &str, value: String) {
        let before = self.before.insert((whose.to_owned(), id.to_owned()), value.clone());
        let was = before.filter(|before| *before != value).map_or(String::new(), |before| format!("   (was {before})"));
        self.line(format!("    {id} = {value}{was}"));
    }
}
