//! Stories: people, days and what is expected of a policy package, told in its `tests/*.toml`.
//!
//! A story is played through the same door as every feed: its records become lines, the lines updates, the updates changes. What is
//! found is compared with what is expected, sentence by sentence.

mod expectation;
mod findings;
pub mod mutants;
pub mod mutation;
mod play;
mod text;
mod trace;

use dataflows::policy::Policy;
use play::{Telling, play};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A sentence that does not hold, or a story that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub file: String,
    /// One-based; zero when the complaint is about the whole file.
    pub line: usize,
    pub expected: String,
    pub found: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: expected {}; found {}", self.file, self.line, self.expected, self.found)
    }
}

/// A story, told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub file: String,
    pub title: String,
    pub complaints: Vec<Complaint>,
    /// Benefits that the story shows to be gained, and to be lost.
    pub shown: BTreeSet<(Event, String)>,
}

/// What the stories must show of every benefit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Gained,
    Lost,
    Changed,
    Doubted,
    Refused,
}

impl Event {
    const WORDS: [(&'static str, Event); 5] = [
        ("gained", Event::Gained),
        ("lost", Event::Lost),
        ("changed", Event::Changed),
        ("undetermined", Event::Doubted),
        ("refused", Event::Refused),
    ];

    fn word(self) -> &'static str {
        Event::WORDS.iter().find(|(_, event)| *event == self).map_or("", |(word, _)| word)
    }
}

/// Whether a file of a package is a story.
pub fn is_story(path: &str) -> bool {
    path.starts_with("tests/") && path != mutation::EQUIVALENTS
}

/// Tells all stories of a package, given its texts; each as soon as it is told.
pub fn tell<'a>(policy: &'a Arc<Policy>, texts: &'a [(String, String)]) -> impl Iterator<Item = Outcome> + 'a {
    texts.iter().filter(|(path, _)| is_story(path)).map(|(file, text)| tell_one(policy, file, text, Telling::Whole))
}

/// Tells one story; the second answer is everything that was found on its days.
pub fn trace(policy: &Arc<Policy>, file: &str, text: &str) -> (Outcome, String) {
    let mut journal = trace::Journal::default();
    let outcome = tell_one(policy, file, text, Telling::Traced(&mut journal));
    (outcome, journal.text)
}

fn tell_one(policy: &Arc<Policy>, file: &str, text: &str, telling: Telling<'_>) -> Outcome {
    match text::Story::read(file, text) {
        Ok(story) => play(policy, &story, telling),
        Err(complaint) => Outcome { file: file.to_owned(), title: String::new(), complaints: vec![complaint], shown: BTreeSet::new() },
    }
}

/// What `coverage` asks for and no story shows, a sentence each.
pub fn missing(policy: &Policy, shown: &BTreeSet<(Event, String)>) -> Vec<String> {
    let Some(wanted) = policy.coverage.as_deref().and_then(|coverage| coverage.strip_prefix("every benefit ")) else {
        return Vec::new();
    };
    let events = wanted.split(',').map(str::trim).filter_map(|word| Event::WORDS.iter().find(|(known, _)| *known == word));
    let pairs = events.flat_map(|(_, event)| policy.benefits.iter().map(|benefit| (*event, benefit.id.clone())));
    pairs.filter(|pair| !shown.contains(pair)).map(|(event, benefit)| format!("no story shows {benefit} {}", event.word())).collect()
}
