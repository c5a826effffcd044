//! Another policy: proposed, compared with the one in force on everybody as they are now, and activated.

use super::conductor::Work;
use super::moment::Moment;
use super::questions::Questions;
use super::understudy::{Told, Understudy};
use super::{Failure, Pipeline, Scribe, Submission, journal_folder, ledger_file, policies_folder};
use crate::engine::outcome::{Comparison, Conclusions, Outcome, compare};
use crate::engine::regions::Regions;
use crate::journal::{self, Folder, Own};
use crate::ledger::Reader;
use crate::packages::{Package, Packages, fingerprint, title};
use dataflows::decisions::ground_text;
use dataflows::model::{Change, ChangeKind, Date, Epoch, PersonId};
use dataflows::policy::{Policy, Right};
use dataflows::review::Part;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// An understudy is ready once it was told what had been passed when it began, and then what was passed meanwhile.
const ROUNDS: usize = 2;
/// Between looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// The workers of an engine that is only asked once.
const WORKERS: usize = 1;

/// About so many people are asked together.
const PART: usize = 20_000;

/// Of what a comparison was.
pub struct Compared {
    pub epoch: Epoch,
    pub date: Date,
    /// The policy in force, and the other one.
    pub before: Arc<Policy>,
    pub now: Arc<Policy>,
    /// How many rights are gained, lost, or of another amount.
    pub rights: usize,
    /// Whether an engine was told the whole journal for it.
    pub retold: bool,
}

/// The package in force in a data folder, whether or not a pipeline works in it, as its ledger knows it; nothing where there is no ledger. One that is
/// given must be it, or one that was.
pub fn in_force(data: &Path, given: Option<&Package>) -> Result<Option<Package>, Failure> {
    let (file, path) = (ledger_file(data), policies_folder(data));
    if !file.exists() {
        return Ok(None);
    }
    let enacted = Reader::open(&file)?.packages()?;
    let Some(last) = enacted.last() else { return Ok(None) };
    let in_force = Packages::open(&path).and_then(|packages| packages.load(last)).map_err(|error| Failure::Folder { path, error })?;
    given.map_or(Ok(()), |given| check_enacted(given, &enacted, &in_force.policy))?;
    Ok(Some(in_force))
}

/// Whether the ledger's file has not come as far as its journal, as after a kill or while it is written anew: which packages were in force
/// since is for a start to tell.
pub fn is_ledger_behind(data: &Path) -> Result<bool, Failure> {
    let told = journal::last_epoch(&Folder::beside(&journal_folder(data)))?;
    Ok(Reader::open(&ledger_file(data))?.frontier()? < told)
}

/// A data folder goes on under no package but one that was brought into force in it.
pub(super) fn check_enacted(given: &Package, enacted: &[String], in_force: &Policy) -> Result<(), Failure> {
    match enacted.contains(&fingerprint(&given.policy)) {
        true => Ok(()),
        false => Err(Failure::NotActivated { given: title(&given.policy), in_force: title(in_force) }),
    }
}

/// Keeps a package beside the one in force, for which it may be exchanged. The error says why it may not be.
pub fn propose(packages: &Packages, texts: Vec<(String, String)>, in_force: &Policy) -> Result<Package, String> {
    let package = Package::load(texts).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the package has {} mistakes\n{}", lines.len(), lines.join("\n"))
    })?;
    let policy = &package.policy;
    let differ = |what: &str| Err(format!("{what} of {} are others than those of {}, which is in force", title(policy), title(in_force)));
    match () {
        _ if policy.person != in_force.person => differ("the names of people"),
        // Conversations know languages by their place.
        _ if policy.languages != in_force.languages => differ("the languages"),
        _ if title(policy) == title(in_force) && fingerprint(policy) != fingerprint(in_force) => {
            Err(format!("{} is in force and says something else: an edited package needs another version", title(policy)))
        }
        _ => packages.keep(&package).map(|()| package).map_err(|error| error.to_string()),
    }
}

impl Questions {
    /// Compares a policy with the one in force, of one epoch, exactly: `tell` hears of each right that somebody would gain, lose, or have with another
    /// amount, were it in force now. Everybody is asked under both as they are, in a copy; where the other policy reads records otherwise or
    /// puts others together, an engine is told the whole journal under it. The stream goes on meanwhile.
    pub fn compare(&self, policy: &Arc<Policy>, mut tell: impl FnMut(Value)) -> Result<Compared, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        let mut moment = self.moment_under(Some(policy.clone()))?;
        let Some(rights) = compare_in(&mut moment, policy, &mut tell).map_err(at)? else {
            drop(moment);
            return self.compare_anew(policy, tell);
        };
        Ok(Compared {
            epoch: moment.epoch,
            date: moment.now.today,
            before: moment.policy.clone(),
            now: policy.clone(),
            rights,
            retold: false,
        })
    }

    /// The same by an engine that is told the whole journal under the other policy, beside the stream.
    fn compare_anew(&self, policy: &Arc<Policy>, mut tell: impl FnMut(Value)) -> Result<Compared, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        let ended = || at(io::Error::other("the pipeline ended"));
        let understudy = Understudy::start(policy.clone(), WORKERS, &self.data, self.progress.clone());
        for _ in 0..ROUNDS {
            let passed = self.progress.standing().epoch;
            while understudy.told.epoch() < passed && !understudy.has_failed() {
                std::thread::sleep(LOOK);
            }
        }
        let asked = self.ask(move |engine, _| {
            understudy.stop_after(engine.epoch());
            (Moment::of(engine, None), understudy)
        });
        let (moment, understudy) = asked.ok_or_else(ended)?;
        let mut moment = moment.map_err(at)?;
        let before = Outcome::new(moment.policy.clone(), moment.conclusions().map_err(at)?, &moment.secret);
        let (epoch, in_force) = (moment.epoch, moment.policy.clone());
        drop(moment);
        let engine = understudy.engine()?;
        let comparison = compare(before, engine.outcome(), &engine.secret());
        let mut regions = Regions::new(policy, &engine.circumstances());
        let region = |person| {
            let (file, place) = engine.file(person)?;
            regions.name(person, &file, place.role)
        };
        let rights = tell_rows([&in_force, policy], &comparison, region, &mut tell);
        Ok(Compared { epoch, date: engine.today(), before: in_force, now: policy.clone(), rights, retold: true })
    }

    /// Brings a package into force from a date on, and where that is near once an engine under it is ready to take over; the first epoch that
    /// may be under it.
    pub fn activate(&self, scribe: &Scribe, package: &str, from: Date) -> Result<Epoch, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        for _ in 0..ROUNDS {
            let passed = self.progress.standing().epoch;
            while self.prepare(package, from)?.is_some_and(|told| told.epoch() < passed) {
                std::thread::sleep(LOOK);
            }
        }
        let submit = |own| scribe.submit(Submission::of_own(own)).map_err(|reason| at(io::Error::other(reason.to_string())));
        submit(Own::Activated { package: package.to_owned(), from })?;
        // It comes into force with the next epoch, which need not wait for somebody to send something.
        Ok(submit(Own::Intents(Vec::new()))?.epoch)
    }

    fn prepare(&self, package: &str, from: Date) -> Result<Option<Told>, Failure> {
        let (answer_in, answer) = channel();
        let ended = || Failure::Folder { path: self.data.clone(), error: io::Error::other("the pipeline ended") };
        self.work.send(Work::Understudy(package.to_owned(), from, answer_in)).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

impl Pipeline {
    /// See [`Questions::activate`].
    pub fn activate(&self, package: &str, from: Date) -> Result<Epoch, Failure> {
        self.questions.activate(&self.scribe, package, from)
    }
}

/// Compares the policy of a moment with the other one under which it can be looked at; how many rights are told. `None` if only an engine tells
/// that is told everything anew.
pub(crate) fn compare_in(moment: &mut Moment, other: &Arc<Policy>, mut tell: impl FnMut(Value)) -> io::Result<Option<usize>> {
    let parts = moment.housed()?.div_ceil(PART).max(1) as u32;
    let part = |index| Part { index, of: parts };
    let mut rights = 0;
    moment.ask_people_under_both(part(0))?;
    for index in 0..parts {
        let Some((gained, of_people)) = moment.people_under_both()? else { return Ok(None) };
        let of_families = moment.families_under_both(part(index), gained)?;
        let differing = of_people.into_iter().chain(of_families);
        let (before, now): (Vec<_>, Vec<_>) = differing.map(|[before, now]| (before, now)).unzip();
        let people = before.iter().chain(&now).flatten().map(|right| right.decision.person).collect();
        let regions = moment.regions(people)?;
        if index + 1 < parts {
            // While this part is told, the next one is asked.
            moment.ask_people_under_both(part(index + 1))?;
        }
        let outcome = |policy: &Arc<Policy>, rights: Vec<Vec<Right>>| {
            Outcome::new(policy.clone(), rights.into_iter().map(Conclusions::from).collect(), &moment.secret)
        };
        let changes = compare(outcome(&moment.policy, before), outcome(other, now), &moment.secret);
        rights += tell_rows([&moment.policy, other], &changes, |person| regions.get(&person).cloned(), &mut tell);
    }
    Ok(Some(rights))
}

/// Tells of each right that is other; how many there are.
fn tell_rows(
    [in_force, other]: [&Policy; 2],
    comparison: &Comparison,
    mut region_of: impl FnMut(PersonId) -> Option<String>,
    tell: &mut impl FnMut(Value),
) -> usize {
    let ended = comparison.ended.iter().filter_map(|change| row(in_force, change, None));
    let changes = comparison.changes.iter().filter_map(|change| row(other, change, region_of(change.decision.person)));
    ended.chain(changes).map(tell).count()
}

/// What changes for somebody; nothing if it is none of their business.
fn row(policy: &Policy, change: &Change, region: Option<String>) -> Option<Value> {
    let decision = &change.decision;
    let (kind, before, now) = match change.kind {
        ChangeKind::Gained => ("gained", 0, decision.amount),
        ChangeKind::Lost => ("lost", decision.amount, 0),
        ChangeKind::Doubted => ("doubted", decision.amount, 0),
        ChangeKind::Amount => ("amount", change.before.as_ref().map_or(0, |before| before.amount), decision.amount),
        ChangeKind::Attributes | ChangeKind::Refuted | ChangeKind::Sealed => return None,
    };
    Some(json!({
        "person": policy.person.format(decision.person), "benefit": policy.benefits[usize::from(decision.benefit)].id,
        "ground": ground_text(policy, &decision.ground), "region": region, "change": kind, "before": before, "now": now,
    }))
}
