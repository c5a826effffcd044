//! Another policy: proposed, compared with the one in force on everybody as they are now, and activated.

use super::conductor::Work;
use super::moment::Moment;
use super::questions::Questions;
use super::understudy::{Told, Understudy};
use super::{Failure, Pipeline, Scribe, Submission};
use crate::engine::Engine;
use crate::engine::outcome::{Comparison, Outcome, compare};
use crate::engine::regions::Regions;
use crate::journal::Own;
use crate::packages::{Package, Packages, fingerprint, title};
use dataflows::decisions::ground_text;
use dataflows::model::{Change, ChangeKind, Date, Epoch};
use dataflows::policy::Policy;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// An understudy is ready once it was told what had been passed when it began, and then what was passed meanwhile.
const ROUNDS: usize = 2;
/// Between looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// The workers of an engine that is only asked once.
const WORKERS: usize = 1;

/// What another policy would change, were it in force now.
pub struct Difference {
    pub epoch: Epoch,
    pub date: Date,
    /// The policy in force, and the other one.
    pub before: Arc<Policy>,
    pub now: Arc<Policy>,
    /// Who gains, loses, or is given another amount: the people behind every number.
    pub rows: Vec<Value>,
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
    /// Compares a package with the one in force, of one epoch, exactly. An engine is told the whole journal for it, beside the stream.
    pub fn compare(&self, packages: &Packages, package: &str) -> Result<Difference, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        let ended = || at(io::Error::other("the pipeline ended"));
        let policy = packages.load(package).map_err(at)?.policy;
        let understudy = Understudy::start(policy, WORKERS, &self.data, self.progress.clone());
        for _ in 0..ROUNDS {
            let passed = self.progress.standing().epoch;
            while understudy.told.epoch() < passed && !understudy.has_failed() {
                std::thread::sleep(LOOK);
            }
        }
        let asked = self.ask(move |engine, _| {
            understudy.stop_after(engine.epoch());
            (Moment::of(engine), understudy)
        });
        let (moment, understudy) = asked.ok_or_else(ended)?;
        let mut moment = moment.map_err(at)?;
        let before = Outcome::new(moment.policy.clone(), moment.conclusions().map_err(at)?, &moment.secret);
        let (epoch, in_force) = (moment.epoch, moment.policy.clone());
        drop(moment);
        let engine = understudy.engine()?;
        let comparison = compare(before, engine.outcome(), &engine.secret());
        let rows = rows(&engine, &in_force, &comparison);
        Ok(Difference { epoch, date: engine.today(), before: in_force, now: engine.policy().clone(), rows })
    }

    /// Brings a package into force from a date on, once an engine under it is ready to take over; the first epoch that may be under it.
    pub fn activate(&self, scribe: &Scribe, package: &str, from: Date) -> Result<Epoch, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        for _ in 0..ROUNDS {
            let passed = self.progress.standing().epoch;
            while self.prepare(package)?.epoch() < passed {
                std::thread::sleep(LOOK);
            }
        }
        let submit = |own| scribe.submit(Submission::of_own(own)).map_err(|reason| at(io::Error::other(reason.to_string())));
        submit(Own::Activated { package: package.to_owned(), from })?;
        // It comes into force with the next epoch, which need not wait for somebody to send something.
        Ok(submit(Own::Intents(Vec::new()))?.epoch)
    }

    fn prepare(&self, package: &str) -> Result<Told, Failure> {
        let (answer_in, answer) = channel();
        let ended = || Failure::Folder { path: self.data.clone(), error: io::Error::other("the pipeline ended") };
        self.work.send(Work::Understudy(package.to_owned(), answer_in)).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

impl Pipeline {
    /// See [`Questions::activate`].
    pub fn activate(&self, package: &str, from: Date) -> Result<Epoch, Failure> {
        self.questions.activate(&self.scribe, package, from)
    }
}

fn rows(engine: &Engine, in_force: &Policy, comparison: &Comparison) -> Vec<Value> {
    let mut regions = Regions::new(engine.policy(), &engine.circumstances());
    let mut region_of = |person| {
        let (file, place) = engine.file(person)?;
        regions.read(person, &file, place.role).map(str::to_owned)
    };
    let ended = comparison.ended.iter().filter_map(|change| row(in_force, change, None));
    let mut rows: Vec<Value> = ended.collect();
    for change in &comparison.changes {
        rows.extend(row(engine.policy(), change, region_of(change.decision.person)));
    }
    rows
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
