//! The conductor: takes durable epochs through the engine and the ledger, one at a time, and says how far that has come.

use super::keeper::Keeper;
use super::metrics::{InState, Metrics, TextState};
use super::progress::Progress;
use super::regime::{Regime, Taken, date_of};
use super::registrar::{ROWS_AHEAD, Registrar};
use super::retelling::retell;
use super::room::Waiting;
use super::scribe::Scribe;
use super::sender::Sender;
use super::submission::Submission;
use super::understudy::{Told, Understudy};
use super::{Failure, Setup, journal_folder, ledger_file, policies_folder, snapshots_folder};
use crate::dispatch::{Heard, RightKey, Terms};
use crate::engine::outcome::{Outcome, compare};
use crate::engine::regions::Regions;
use crate::engine::{Engine, EpochOutput};
use crate::journal::base::{self, Base};
use crate::journal::entries::stretches;
use crate::journal::{Disk, Own, Pausable, ReleasedRight};
use crate::ledger::{Families, Ledger, Message, Page, Reader, Resettled, Store, StoreFailure, WrittenSoFar, right_of};
use crate::memory;
use crate::network::Texts;
use crate::packages::{Packages, fingerprint, title};
use crate::snapshot::Snapshot;
use dataflows::model::{Change, ChangeKind, Date, Epoch, Outcome as Answered, PersonId};
use dataflows::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Answering, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Entries that are read at a time where there are many.
const STRETCH_BYTES: usize = 1 << 20;

/// So many days before its own a policy that was activated has an engine prepared: sooner it would take its memory for nothing.
const FORESIGHT_DAYS: i32 = 7;

/// What somebody wants to know of engine and ledger.
pub(super) type Question = Box<dyn FnOnce(&mut Engine, &Ledger) + Send>;

/// What the conductor does next.
pub(super) enum Work {
    /// An epoch that is durable, until it is through.
    Epoch(Epoch, Submission, Waiting),
    /// To be answered between epochs.
    Question(Question),
    /// An engine under the package of this fingerprint is to be prepared, if this date, from which it is to be in force, is near; how far it is.
    Understudy(String, Date, Answering<Result<Option<Told>, Failure>>),
    /// The ledger's file is to hear of what it was not told yet.
    CatchUp(Answering<()>),
    /// No text is handed over any more but those of which the journal is hearing.
    Farewell,
    /// Nothing more comes.
    End,
}

/// Everything behind the journal.
pub(super) struct Conductor {
    regime: Regime,
    packages: Packages,
    data: PathBuf,
    workers: usize,
    allow_assumed: bool,
    engine: Engine,
    /// One under the policy that comes next, if it is being prepared, and the date on which it was last looked whether one is to be.
    understudy: Option<Understudy>,
    foreseen: Date,
    ledger: Ledger,
    /// What was in the ledger's file at the start; what comes after is written beside.
    written: WrittenSoFar,
    registrar: Option<Registrar>,
    /// A whole country was told something: what that took of this thread's memory is given back to the system once it is written.
    has_told_many: bool,
    /// Once somebody has been offered something under the policy in force.
    regions: Option<Regions>,
    keeper: Keeper,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    sender: Sender,
}

/// The policy that was in force until now, and what was concluded under it.
struct Former {
    regime: Regime,
    outcome: Outcome,
}

impl Conductor {
    /// Begins with nothing, under a policy.
    pub fn new(
        policy: Arc<Policy>,
        (store, keeper): (Store, Keeper),
        packages: Packages,
        (progress, metrics): (Arc<Progress>, Arc<Metrics>),
        setup: &Setup,
    ) -> Self {
        let terms = Terms { allow_assumed: setup.allow_assumed, ..Terms::from(&*policy) };
        let regime = Regime::new(policy.clone(), &terms);
        let mut ledger = Ledger::new(terms);
        ledger.enact(fingerprint(&policy), &policy);
        Conductor {
            regime,
            packages,
            data: setup.data.clone(),
            workers: setup.workers,
            allow_assumed: setup.allow_assumed,
            ledger,
            engine: Engine::start(policy, setup.workers),
            understudy: None,
            foreseen: Date::BEFORE_ALL,
            written: store.written_so_far(),
            registrar: Some(Registrar::start(store, setup.data.clone(), (progress.clone(), metrics.clone()))),
            has_told_many: false,
            regions: None,
            keeper,
            sender: Sender::new(&setup.sending, metrics.clone()),
            progress,
            metrics,
        }
    }

    /// Goes back to the newest snapshot that is of use; the epoch it is of, zero if there is none.
    pub fn recall(&mut self) -> Result<Epoch, Failure> {
        let at = |path: PathBuf| move |error| Failure::Folder { path, error };
        let base = base::newest(&journal_folder(&self.data)).map_err(at(journal_folder(&self.data)))?;
        let frontier = self.written.epoch;
        if let Some(base) = base.as_ref().filter(|base| frontier < base.epoch) {
            return Err(StoreFailure::Behind { written: frontier, base: base.epoch }.into());
        }
        let (packages, workers, allow_assumed) = (&self.packages, self.workers, self.allow_assumed);
        let begin = |package: &str| {
            let policy = packages.load(package)?.policy;
            let terms = Terms { allow_assumed, ..Terms::from(&*policy) };
            Ok((Engine::start(policy, workers), Ledger::new(terms)))
        };
        let recalled = match self
            .keeper
            .recall(base.as_ref().map_or(0, |base| base.epoch)..=frontier, begin)
            .map_err(at(snapshots_folder(&self.data)))?
        {
            Some(recalled) => Some(recalled),
            None => base.map(|base| from_base(&base, begin)).transpose()?,
        };
        if let Some((engine, ledger)) = recalled {
            (self.engine, self.ledger) = (engine, ledger);
            self.regime = Regime::new(self.engine.policy().clone(), self.ledger.desk().terms());
            self.tell_standing();
            self.tell_epoch(self.engine.epoch());
        }
        Ok(self.engine.epoch())
    }

    /// Tells everything that the journal holds after an epoch, as it was told before. Nothing is handed over meanwhile.
    pub fn tell_again<D: Disk + Sync>(&mut self, disk: &D, after: Epoch) -> Result<(), Failure> {
        self.written.check(after, &self.ledger)?;
        let (known, schema) = (self.written.epoch, self.regime.schema.clone());
        let last = retell(disk, after, known, schema, |number, submission| self.epoch(number, submission, None).map(drop))?;
        self.written.check_end(last)?;
        if self.catch_up() { Ok(()) } else { self.end_registrar() }
    }

    /// The last epoch that was told.
    pub fn epoch_reached(&self) -> Epoch {
        self.engine.epoch()
    }

    /// The policy in force, and which packages were.
    pub fn in_force(&self) -> (Arc<Policy>, &[String]) {
        (self.regime.policy.clone(), &self.ledger.packages().enacted)
    }

    /// Has the engine take in what came, as it is read under the policy in force: what was read under another one, or is too much to be
    /// held, is read from its entries, a stretch at a time.
    fn take_in(&mut self, epoch: Epoch, submission: Submission) -> Taken {
        // What is in the ledger's file was counted before.
        let expired = (epoch > self.written.epoch).then_some(0);
        let mut taken = Taken { expired, ..Taken::default() };
        let schema = submission.schema.clone().unwrap_or_else(|| self.regime.schema.clone());
        if !submission.bulky && schema.package == self.regime.schema.package {
            self.regime.take_in(&mut self.engine, submission, &mut taken);
            return taken;
        }
        let dictionary = submission.written_by.unwrap_or_else(|| Arc::new(schema.dictionary()));
        for stretch in stretches(&submission.entries, STRETCH_BYTES) {
            let submission = self.regime.restore(&dictionary, stretch);
            self.regime.take_in(&mut self.engine, submission, &mut taken);
        }
        taken
    }

    /// Brings the policy into force that is due with an epoch, if one is; what was concluded under the one before.
    fn succeed(&mut self, epoch: Epoch, date: Option<Date>) -> Result<Option<Former>, Failure> {
        let Some((package, from)) = self.ledger.packages().next.clone() else { return Ok(None) };
        if date.unwrap_or(Date::BEFORE_ALL).max(self.engine.today()) < from {
            return Ok(None);
        }
        let begun = Instant::now();
        // One that failed before its date may do better now.
        let is_of_use = |understudy: &Understudy| fingerprint(&understudy.policy) == package && !understudy.has_failed();
        let prepared = self.understudy.take().filter(is_of_use);
        let understudy = prepared.map_or_else(|| self.understudy(&package), Ok)?;
        understudy.stop_after(epoch - 1);
        let outcome = self.engine.outcome();
        self.engine = understudy.engine()?;
        let policy = self.engine.policy().clone();
        self.ledger.enact(package, &policy);
        let regime = std::mem::replace(&mut self.regime, Regime::new(policy, self.ledger.desk().terms()));
        tracing::info!(epoch, policy = title(&self.regime.policy), milliseconds = begun.elapsed().as_millis() as u64, "policy in force");
        Ok(Some(Former { regime, outcome }))
    }

    fn policy(&self, package: &str) -> Result<Arc<Policy>, Failure> {
        Ok(self.packages.load(package).map_err(|error| Failure::Folder { path: policies_folder(&self.data), error })?.policy)
    }

    fn understudy(&self, package: &str) -> Result<Understudy, Failure> {
        Ok(Understudy::start(self.policy(package)?, self.workers, &self.data, self.progress.clone()))
    }

    /// One epoch through engine and ledger; the texts to hand over now. It is written beside.
    fn epoch(&mut self, epoch: Epoch, submission: Submission, scribe: Option<&Scribe>) -> Result<Vec<Message>, Failure> {
        let (begun, arrived, journalled) = (Instant::now(), submission.arrived, submission.journalled);
        let before = match self.ledger.packages().next {
            Some(_) => self.succeed(epoch, date_of(&submission.entries))?,
            None => None,
        };
        let Taken { contacts: mut heard, news: told, own, refused, expired } = self.take_in(epoch, submission);
        heard.extend(told);
        let mut output = self.engine.commit();
        debug_assert_eq!(output.epoch, epoch, "an epoch of the journal is an epoch of the engine");
        let (former, mut ended) = before.map(|before| self.succeeded(before, &mut output)).unzip();
        heard.extend(output.renumbered.iter().copied().map(Heard::Renumbered));
        heard.extend(own.iter().filter_map(news));
        self.release(&own, &mut output.changes);
        let decided = Instant::now();
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let mut changes = self.regime.for_ledger(&output.changes);
        ended.iter_mut().filter(|ended| !ended.is_empty()).for_each(|ended| changes.to_mut().append(ended));
        let effects = self.ledger.apply(epoch, output.date, resettled, &changes, &heard);
        let handed = self.act(&own);
        let silences = self.ledger.silences_of(&changes[..output.changes.len()]);
        self.measure(&output, journalled, decided);
        if epoch <= self.written.epoch {
            return self.pass(epoch).map(|()| handed);
        }
        let mut page = Page::of(&mut output, (silences, effects), (&mut self.ledger, &mut self.engine), &mut self.regions);
        if former.is_some() {
            page.families = Some(Families::of(&mut self.engine));
        }
        if scribe.is_some() {
            let changed = (page.changes.as_slice(), page.date);
            self.sender.heed((&page.texts, &own), changed, &self.regime.policy, &self.ledger, arrived.unwrap_or(begun));
        }
        self.tell_standing();
        let page = Page { former, refused, own, expired: expired.unwrap_or(0), ..page };
        self.has_told_many |= page.size() > ROWS_AHEAD;
        let is_written = self.registrar.as_ref().is_some_and(|registrar| registrar.enter(page, arrived, journalled.map(|_| decided)));
        if is_written { Ok(handed) } else { self.end_registrar().map(|()| handed) }
    }

    /// What is other by a policy that came into force takes the place of what the engine says of the epoch. The policy before and what ended for that, and the
    /// same as the ledger calls it.
    fn succeeded(&self, Former { regime, outcome }: Former, output: &mut EpochOutput) -> ((Arc<Policy>, Vec<Change>), Vec<Change>) {
        let comparison = compare(outcome, self.engine.outcome(), &self.engine.secret());
        let ended_for_ledger = regime.for_ledger(&comparison.ended).into_owned();
        output.changes = comparison.changes;
        (output.standings, output.moves) = (comparison.standings, comparison.moves);
        ((regime.policy, comparison.ended), ended_for_ledger)
    }

    /// What changed with an epoch is in the file already, if the ledger is the one that was written.
    fn pass(&mut self, epoch: Epoch) -> Result<(), Failure> {
        drop(self.ledger.take_changed_texts());
        for person in self.ledger.take_changed_people() {
            self.ledger.take_changed_offers_of(person);
        }
        self.tell_standing();
        self.tell_epoch(epoch);
        Ok(self.written.check(epoch, &self.ledger)?)
    }

    /// What the pipeline itself did or was told in an epoch; the texts to hand over.
    fn act(&mut self, own: &[Own]) -> Vec<Message> {
        let mut handed = Vec::new();
        for own in own {
            match own {
                Own::Live => self.ledger.go_live(),
                Own::Paused { what, paused } => {
                    self.ledger.pause(what, *paused);
                    if let (Pausable::Benefit(benefit), false) = (what, *paused) {
                        self.sender.release(benefit);
                    }
                }
                Own::Activated { package, from } => {
                    self.ledger.activate(package.clone(), *from);
                    let coming = self.coming();
                    drop(self.understudy.take_if(|understudy| coming.as_ref() != Some(&fingerprint(&understudy.policy))));
                }
                Own::Intents(texts) => handed.extend(self.ledger.hand_over(texts)),
                Own::Taken { message, names } => self.ledger.take(*message, names),
                Own::Uncertain { message } => self.ledger.doubt(*message),
                Own::Again { message } => self.ledger.hand_again(*message),
                Own::Delivery { name, reference, phone, delivered } => self.ledger.deliver(name, *reference, *phone, *delivered),
                Own::Receipt { .. } | Own::Reply { .. } | Own::Settled { .. } | Own::Blocked { .. } | Own::Released { .. } => {}
            }
        }
        handed
    }

    /// Takes rights out of the baseline that are released and still stand, each as a change: what is said of them begins here.
    fn release(&mut self, own: &[Own], changes: &mut Vec<Change>) {
        let released = own.iter().filter_map(|own| if let Own::Released { rights } = own { Some(rights) } else { None });
        let released: BTreeSet<&ReleasedRight> = released.flatten().collect();
        let person = |right: &&ReleasedRight| self.regime.policy.person.parse(&right.person).ok();
        let people: BTreeSet<PersonId> = released.iter().filter_map(person).collect();
        if people.is_empty() {
            return;
        }
        let changed: BTreeSet<RightKey> = changes.iter().map(|change| right_of(&change.decision)).collect();
        for decision in self.engine.decisions_of(&people) {
            let stands = matches!(decision.outcome, Answered::Eligible | Answered::Notice);
            if !stands || !released.contains(&self.regime.name_of(&decision)) {
                continue;
            }
            let right = right_of(&decision);
            let change = Change { kind: ChangeKind::Attributes, decision, before: None };
            let in_ledger = self.regime.for_ledger(std::slice::from_ref(&change))[0].clone();
            if self.ledger.release(&right_of(&in_ledger.decision)) && !changed.contains(&right) {
                changes.push(change);
            }
        }
        changes.sort_unstable_by(Change::in_order);
    }

    /// What became of whoever writes the ledger's file, which ends with this.
    fn end_registrar(&mut self) -> Result<(), Failure> {
        self.registrar.take().map_or(Ok(()), Registrar::end)
    }

    /// Says how engine and ledger stand; of which epoch that is told once it is written.
    fn tell_standing(&self) {
        self.metrics.live.set(i64::from(self.ledger.is_live()));
        self.progress.change(|standing| {
            standing.date = self.engine.today();
            (standing.live, standing.texts) = (self.ledger.is_live(), self.ledger.outbox().rows().len() as u64);
            (standing.policy, standing.schema) = (self.regime.policy.clone(), self.regime.schema.clone());
            standing.packages.clone_from(self.ledger.packages());
            standing.heard.clear();
            standing.heard.extend(self.engine.heard());
            standing.paused.clone_from(self.ledger.paused());
            standing.offers.clear();
            standing.offers.extend_from_slice(self.ledger.desk().counts());
            standing.texts_under_way = self.ledger.outbox().under_way() as u64;
            standing.understudy = self.understudy.as_ref().map(|understudy| understudy.told.clone());
        });
    }

    /// Says that an epoch is told which was written before.
    fn tell_epoch(&self, epoch: Epoch) {
        self.metrics.frontier.set(epoch as i64);
        self.progress.change(|standing| (standing.epoch, standing.since) = (epoch, Instant::now()));
    }

    fn measure(&self, output: &EpochOutput, journalled: Option<Instant>, decided: Instant) {
        let (metrics, outbox) = (&self.metrics, self.ledger.outbox());
        journalled.into_iter().for_each(|journalled| metrics.decided.observe(decided.duration_since(journalled).as_secs_f64()));
        metrics.changes.inc_by(output.changes.iter().filter(|change| change.is_of_decision()).count() as u64);
        metrics.texts.inc_by((outbox.rows().len() as u64).saturating_sub(metrics.texts.get()));
        let submitted = outbox.unanswered().count();
        for (state, texts) in [(TextState::Waiting, outbox.under_way() - submitted), (TextState::Submitted, submitted)] {
            metrics.texts_under_way.get_or_create(&InState { state }).set(texts as i64);
        }
    }

    /// Everything that was written has been told: from here on texts are handed over.
    fn begin(&mut self, texts: Texts, scribe: &Scribe) {
        self.registrar.iter().for_each(|registrar| registrar.insist(scribe));
        let holders = Reader::open(&ledger_file(&self.data)).and_then(|reader| reader.holders()).unwrap_or_else(|failure| {
            tracing::error!(%failure, "who holds what cannot be counted");
            BTreeMap::new()
        });
        self.sender.begin(texts, holders, &self.ledger, scribe);
        self.sender.intend(&self.ledger, scribe);
        self.keeper.measure_stores(&self.engine);
        self.foresee();
    }

    /// Goes on with what comes from the scribe, until it comes no more.
    pub fn start(mut self, work: Receiver<Work>, scribe: Scribe, texts: Texts) -> JoinHandle<()> {
        let conduct = move || {
            self.begin(texts, &scribe);
            loop {
                let (epoch, submission, _waiting) = match work.recv_timeout(self.rest()) {
                    Ok(Work::Epoch(epoch, submission, waiting)) => (epoch, submission, waiting),
                    Ok(Work::Question(question)) => {
                        question(&mut self.engine, &self.ledger);
                        continue;
                    }
                    Ok(Work::Understudy(package, from, answer)) => {
                        let told = match self.is_soon(from) {
                            true => self.prepare(&package).map(Some),
                            false => self.policy(&package).map(|_| None),
                        };
                        // Whoever asked may have gone.
                        drop(answer.send(told));
                        continue;
                    }
                    Ok(Work::CatchUp(answer)) => {
                        self.registrar.iter().for_each(|registrar| registrar.catch_up(answer.clone()));
                        continue;
                    }
                    Ok(Work::Farewell) => {
                        self.sender.end();
                        continue;
                    }
                    Ok(Work::End) | Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        self.sender.intend(&self.ledger, &scribe);
                        self.keep();
                        continue;
                    }
                };
                match self.epoch(epoch, submission, Some(&scribe)) {
                    Ok(handed) => handed.into_iter().for_each(|message| self.sender.hand(message)),
                    Err(failure) => {
                        self.give_up(&failure);
                        scribe.close();
                        return;
                    }
                }
                self.sender.intend(&self.ledger, &scribe);
                self.keep();
            }
            if let Err(failure) = self.end_registrar() {
                self.give_up(&failure);
            }
            self.keeper.end(self.engine.epoch(), &self.engine, &self.ledger);
        };
        std::thread::Builder::new().name("conductor".to_owned()).spawn(conduct).expect("a thread can be started")
    }

    fn give_up(&self, failure: &Failure) {
        tracing::error!(epoch = self.engine.epoch(), %failure, "the pipeline gives up");
        self.progress.change(|standing| standing.failure = Some(failure.to_string()));
    }

    /// How long may be waited for the next epoch.
    fn rest(&self) -> Duration {
        match self.sender.rest(&self.ledger) {
            Some(rest) => rest.min(self.keeper.rest()),
            None => self.keeper.rest(),
        }
    }

    /// What is done beside the stream: a snapshot is begun if one is due. It is of use only where the ledger's file has come as far, which is waited for
    /// where that is soon. On another date a policy may be near.
    fn keep(&mut self) {
        if self.engine.today() > self.foreseen {
            self.foresee();
        }
        let epoch = self.engine.epoch();
        let is_near = self.registrar.as_ref().is_some_and(Registrar::is_near);
        if is_near && std::mem::take(&mut self.has_told_many) {
            memory::give_back();
        }
        if !self.keeper.is_due(epoch) || is_near && self.catch_up() {
            self.keeper.look(epoch, &self.engine, &self.ledger);
        }
    }

    /// Waits until the ledger's file has all that was told; false if it cannot be written.
    fn catch_up(&self) -> bool {
        let (answer_in, answer) = channel();
        self.registrar.iter().for_each(|registrar| registrar.catch_up(answer_in.clone()));
        drop(answer_in);
        self.progress.hear(&answer)
    }

    /// The package that comes into force within days, if one does.
    fn coming(&self) -> Option<String> {
        let (package, from) = self.ledger.packages().next.as_ref()?;
        self.is_soon(*from).then(|| package.clone())
    }

    fn is_soon(&self, from: Date) -> bool {
        from.0.saturating_sub(self.engine.today().0) <= FORESIGHT_DAYS
    }

    /// Prepares an engine under the package that comes into force within days, also after a start: on its date the stream would stand still
    /// while everything is told.
    fn foresee(&mut self) {
        self.foreseen = self.engine.today();
        if let Some(Err(failure)) = self.coming().map(|package| self.prepare(&package)) {
            tracing::error!(%failure, "no engine under the policy that comes");
        }
    }

    /// Prepares an engine under a package, if that is not done already.
    fn prepare(&mut self, package: &str) -> Result<Told, Failure> {
        let prepared = self.understudy.take().filter(|understudy| fingerprint(&understudy.policy) == package);
        let understudy = match prepared {
            Some(understudy) if understudy.has_failed() => return understudy.engine().map(|_| Told::default()),
            Some(understudy) => understudy,
            None => self.understudy(package)?,
        };
        let told = understudy.told.clone();
        self.understudy = Some(understudy);
        self.progress.change(|standing| standing.understudy = Some(told.clone()));
        Ok(told)
    }
}

/// Engine and ledger as they were after the epoch for which a base stands.
fn from_base(base: &Base, begin: impl Fn(&str) -> io::Result<(Engine, Ledger)>) -> Result<(Engine, Ledger), Failure> {
    let at = |error| Failure::Folder { path: base.folder.clone(), error };
    let begun = Instant::now();
    let beside = Snapshot::of(base.folder.clone(), base.epoch);
    let (mut engine, mut ledger) = begin(&beside.package).map_err(at)?;
    Regime::new(engine.policy().clone(), ledger.desk().terms()).tell_base(&mut engine, base)?;
    let restored = beside.read_rest(|restorer| {
        engine.restore(restorer)?;
        ledger.restore(restorer)
    });
    restored.map_err(at)?;
    tracing::info!(epoch = base.epoch, milliseconds = begun.elapsed().as_millis() as u64, "base of the journal told");
    Ok((engine, ledger))
}

/// What an entry of the pipeline's own says to the conversations.
fn news(own: &Own) -> Option<Heard> {
    match own {
        Own::Receipt { message, delivered } => Some(Heard::Receipt { message: *message, delivered: *delivered }),
        Own::Reply { id, phone, text, at } => Some(Heard::Reply { id: *id, phone: *phone, text: text.as_str().into(), at: *at }),
        Own::Blocked { phone, blocked } => Some(Heard::Blocked { phone: *phone, blocked: *blocked }),
        Own::Again { .. }
        | Own::Released { .. }
        | Own::Live
        | Own::Intents(_)
        | Own::Paused { .. }
        | Own::Activated { .. }
        | Own::Settled { .. } => None,
        Own::Taken { .. } | Own::Uncertain { .. } | Own::Delivery { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::load_package;
    use crate::pipeline::{BULKY_BYTES, Opened, Pipeline};
    use crate::sources::Quarantined;

    /// What the pipeline itself said is heard where so much came with it that only its entries are held: intents, for one, without which no more follow.
    #[test]
    fn what_comes_with_much_is_heard() {
        let folder = std::env::temp_dir().join(format!("shanyraq-much-{}", std::process::id()));
        let package = load_package("us-cps").unwrap_or_else(|failure| panic!("{}", failure.message));
        let opened = Pipeline::open(Some(package), Setup::quiet(&folder)).unwrap_or_else(|failure| panic!("{failure}"));
        let Opened { mut conductor, .. } = opened;
        let intents = Own::Intents(vec![7]);
        let mut group = Submission::of_own(intents.clone());
        let (file, field, reason, raw) = (Arc::from("feed"), String::new(), "much".to_owned(), vec![b'1'; BULKY_BYTES]);
        group.append(Submission::of_refused(Quarantined { file, line: 1, field, reason, raw }));
        assert!(group.bulky && group.own.is_empty());
        assert_eq!(conductor.take_in(1, group).own, [intents]);
        drop(conductor);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
