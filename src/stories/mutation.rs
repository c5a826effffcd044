//! Whether the stories of a package would notice a mistake: every expression of an indicator or a benefit is changed a little,
//! one change at a time, and at least one story must fail.

use super::Complaint;
use super::expectation::What;
use super::mutants::mutants;
use super::play::{Telling, play};
use super::text::Story;
use dataflows::policy::Policy;
use dataflows::policy::contents::{COMPOSITION, Contents, Item, Passage, Sort};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use toml::Spanned;

/// Where a package says which mutants mean the same as what they were made of, and why.
pub const EQUIVALENTS: &str = "tests/equivalents.toml";

/// An expression with a mistake that no story noticed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Survivor {
    pub file: String,
    pub line: usize,
    pub id: String,
    /// Where in the item: `value`, `when.four_children`.
    pub path: String,
    pub original: String,
    pub mutant: String,
}

/// What became of the mutants of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many expressions were changed.
    pub expressions: usize,
    /// How many mutants compiled.
    pub mutants: usize,
    pub killed: usize,
    /// Survivors that the package declares to mean the same.
    pub equivalents: usize,
    pub survivors: Vec<Survivor>,
    /// Declarations of equivalents that are not true, or not needed.
    pub complaints: Vec<Complaint>,
}

/// `[[equivalent]]`: the item, the place in it, the mutant, and why it means the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Equivalent {
    id: Spanned<String>,
    path: String,
    mutant: String,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EquivalentsText {
    #[serde(default)]
    equivalent: Vec<Equivalent>,
}

/// Tries all mutants of the expressions whose item or file has `only` in its name. The complaints are of stories that do not
/// hold to begin with, or of a file of equivalents that cannot be read.
pub fn mutate(texts: &[(String, String)], policy: &Arc<Policy>, only: &str) -> Result<Report, Vec<Complaint>> {
    let stories = Witnesses::read(texts, policy)?;
    let equivalents = equivalents(texts).map_err(|complaint| vec![complaint])?;
    let contents = Contents::read(texts);
    let changed =
        |item: &&Item| matches!(item.sort, Sort::Indicator | Sort::Benefit) && (item.id.contains(only) || item.file.contains(only));
    let passages: Vec<(&Item, &Passage)> =
        contents.items.iter().filter(changed).flat_map(|item| item.passages.iter().map(move |passage| (item, passage))).collect();
    let trial = Trial { texts, contents: &contents, witnesses: &stories };
    let fates: Vec<(Survivor, Fate)> = in_parallel(&passages, |(item, passage)| trial.passage(item, passage));
    let mut report = verdict(fates, &equivalents, only.is_empty());
    report.expressions = passages.len();
    Ok(report)
}

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Killed,
    Survived,
}

/// Runs a job for each item on all cores; the answers in order.
fn in_parallel<I: Sync, O: Send>(items: &[I], job: impl Fn(&I) -> Vec<O> + Sync) -> Vec<O> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, item)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, items.get(index)?))) {
            done.push((index, job(item)));
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, Vec<O>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a thread that tries mutants does not panic")).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().flat_map(|(_, answers)| answers).collect()
}

struct Trial<'t> {
    texts: &'t [(String, String)],
    contents: &'t Contents,
    witnesses: &'t Witnesses,
}

impl Trial<'_> {
    /// Tries the mutants of one expression that compile.
    fn passage(&self, item: &Item, passage: &Passage) -> Vec<(Survivor, Fate)> {
        let is_parameter = |name: &str| self.contents.named(name).any(|item| item.sort == Sort::Parameter);
        let mut witnesses = self.witnesses.of(item, self.contents);
        let mut fates = Vec::new();
        for mutant in mutants(&passage.expression, &is_parameter) {
            let Ok(policy) = Policy::load(&passage.replaced(self.texts, &mutant)).map(Arc::new) else {
                continue;
            };
            let fails = |story: &&Story| !play(&policy, story, Telling::UntilWrong).complaints.is_empty();
            let fate = match witnesses.iter().position(fails) {
                Some(first) => {
                    // Who noticed this mutant may well notice the next one.
                    witnesses[..=first].rotate_right(1);
                    Fate::Killed
                }
                None => Fate::Survived,
            };
            let survivor = Survivor {
                file: item.file.clone(),
                line: passage.line,
                id: item.id.clone(),
                path: passage.path.clone(),
                original: passage.text.clone(),
                mutant,
            };
            fates.push((survivor, fate));
        }
        fates
    }
}

/// The stories, each with what it speaks of.
struct Witnesses(Vec<(Story, BTreeSet<String>)>);

impl Witnesses {
    fn read(texts: &[(String, String)], policy: &Arc<Policy>) -> Result<Witnesses, Vec<Complaint>> {
        let (mut stories, mut complaints) = (Vec::new(), Vec::new());
        for (path, text) in texts.iter().filter(|(path, _)| super::is_story(path)) {
            match Story::read(path, text) {
                Ok(story) => {
                    complaints.extend(play(policy, &story, Telling::Whole).complaints);
                    let subjects = subjects(&story);
                    stories.push((story, subjects));
                }
                Err(complaint) => complaints.push(complaint),
            }
        }
        if complaints.is_empty() { Ok(Witnesses(stories)) } else { Err(complaints) }
    }

    /// The stories that speak of an item or of what rests on it; no other can notice a change. Those that speak of it most
    /// directly come first.
    fn of(&self, item: &Item, contents: &Contents) -> Vec<&Story> {
        let resting = contents.resting_on(&item.id);
        let speaks = |subjects: &BTreeSet<String>| subjects.iter().any(|id| resting.contains(id.as_str()));
        let mut witnesses: Vec<_> = self.0.iter().filter(|(_, subjects)| speaks(subjects)).collect();
        witnesses.sort_by_key(|(_, subjects)| {
            let directly = subjects.contains(&item.id);
            (!directly, !contents.readers(&item.id).any(|reader| subjects.contains(&reader.id)))
        });
        witnesses.into_iter().map(|(story, _)| story).collect()
    }
}

/// The ids that a story's sentences speak of.
fn subjects(story: &Story) -> BTreeSet<String> {
    let of_sentence = |what: &What| match what {
        What::Value { id, .. } | What::Unknown { id, .. } | What::Fault { id, .. } => id.clone(),
        What::LivesWith { .. } | What::Nowhere => COMPOSITION.to_owned(),
        What::Happened { benefit, .. } | What::Has { benefit, .. } | What::NotEligible { benefit, .. } | What::Undetermined { benefit } => {
            benefit.clone()
        }
    };
    story.days.iter().flat_map(|day| &day.expect).map(|(_, expectation)| of_sentence(&expectation.what)).collect()
}

/// The declared equivalents, each with its line.
fn equivalents(texts: &[(String, String)]) -> Result<Vec<(usize, Equivalent)>, Complaint> {
    let Some((_, text)) = texts.iter().find(|(path, _)| path == EQUIVALENTS) else {
        return Ok(Vec::new());
    };
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let read: EquivalentsText = toml::from_str(text).map_err(|error| Complaint {
        file: EQUIVALENTS.to_owned(),
        line: line(error.span().map_or(0, |span| span.start)),
        expected: "[[equivalent]] with id, path, mutant and reason".to_owned(),
        found: error.message().to_owned(),
    })?;
    Ok(read.equivalent.into_iter().map(|equivalent| (line(equivalent.id.span().start), equivalent)).collect())
}

/// Counts the fates. An equivalent must be the name of a survivor: else it is an excuse for nothing.
fn verdict(fates: Vec<(Survivor, Fate)>, equivalents: &[(usize, Equivalent)], all_tried: bool) -> Report {
    let mut report = Report { mutants: fates.len(), ..Report::default() };
    let declared = |equivalent: &Equivalent, survivor: &Survivor| {
        (equivalent.id.as_ref(), &equivalent.path, &equivalent.mutant) == (&survivor.id, &survivor.path, &survivor.mutant)
    };
    for (line, equivalent) in equivalents {
        let fate = fates.iter().find(|(survivor, _)| declared(equivalent, survivor)).map(|(_, fate)| *fate);
        let found = match fate {
            Some(Fate::Survived) => continue,
            Some(Fate::Killed) => "a story notices it",
            None if all_tried => "there is no such mutant",
            None => continue,
        };
        let Equivalent { id, path, mutant, reason } = equivalent;
        let expected = format!("`{mutant}` to mean the same in {} {path}, since {reason}", id.as_ref());
        report.complaints.push(Complaint { file: EQUIVALENTS.to_owned(), line: *line, expected, found: found.to_owned() });
    }
    for (survivor, fate) in fates {
        match fate {
            Fate::Killed => report.killed += 1,
            Fate::Survived if equivalents.iter().any(|(_, equivalent)| declared(equivalent, &survivor)) => report.equivalents += 1,
            Fate::Survived => report.survivors.push(survivor),
        }
    }
    report
}
