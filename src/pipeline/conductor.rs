//! The conductor: takes durable epochs through the engine and the ledger, one at a time, and says how far that has come.

use super::brake::Brake;
use super::keeper::Keeper;
use super::leave::Leave;
use super::metrics::{InState, Metrics, TextState};
use super::progress::Progress;
use super::regime::{Recall, Regime, Taken, date_of};
use super::scribe::{Answer, Scribe};
use super::submission::Submission;
use super::understudy::{self, Understudy};
use super::{Failure, Setup, journal_folder, policies_folder, snapshots_folder};
use crate::dispatch::{Heard, Terms, Text};
use crate::engine::outcome::{Outcome, compare};
use crate::engine::{Engine, EpochOutput};
use crate::intake::Schema;
use crate::journal::base::{self, Base};
use crate::journal::entries::stretches;
use crate::journal::{self, Disk, Own, Pausable, Summary, read_epochs};
use crate::ledger::{Ledger, Message, Page, Resettled, Status, Store, StoreFailure};
use crate::network::{Network, Texts};
use crate::packages::{Packages, fingerprint, title};
use crate::snapshot::Snapshot;
use dataflows::model::{Date, Epoch};
use dataflows::policy::Policy;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Between words on how far a start has come.
const NEWS: Duration = Duration::from_secs(1);

/// Entries that are read at a time where there are many.
const STRETCH_BYTES: usize = 1 << 20;
/// Stretches of epochs that are read before the engine takes them in.
const STRETCHES_AHEAD: usize = 4;

/// With nothing to do for so long the ledger's file hears of what brought it no rows.
const LEDGER_REST: Duration = Duration::from_millis(100);

/// Between looks at the clock, while texts wait.
const CLOCK_REST: Duration = Duration::from_secs(1);

/// Between attempts to write the ledger's file.
const PAUSE: Duration = Duration::from_millis(200);

/// What somebody wants to know of engine and ledger.
pub(super) type Question = Box<dyn FnOnce(&mut Engine, &Ledger) + Send>;

/// What the conductor does next.
pub(super) enum Work {
    /// An epoch that is durable.
    Epoch(Epoch, Submission),
    /// To be answered between epochs.
    Question(Question),
    /// An engine under the package of this fingerprint is to be prepared; how far it is.
    Understudy(String, Sender<Result<understudy::Told, Failure>>),
    /// No text is handed over any more.
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
    /// One under the policy that comes next, if it is being prepared.
    understudy: Option<Understudy>,
    ledger: Ledger,
    store: Store,
    keeper: Keeper,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    /// Who takes texts, and when they may leave.
    network: Network,
    leave: Leave,
    brake: Brake,
    /// Benefits at which it has stopped, until the journal says so.
    braked: Vec<String>,
    /// Intents that are on their way to the journal.
    intending: Option<Answer>,
    /// When that arrived which led to each text that the network has not answered for yet.
    unanswered: HashMap<u128, Instant>,
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
            store,
            keeper,
            progress,
            metrics,
            network: setup.network.clone(),
            leave: setup.leave.clone(),
            brake: Brake::new(setup.brake, BTreeMap::new()),
            braked: Vec::new(),
            intending: None,
            unanswered: HashMap::new(),
        }
    }

    /// Goes back to the newest snapshot that is of use; the epoch it is of, zero if there is none.
    pub fn recall(&mut self) -> Result<Epoch, Failure> {
        let at = |path: PathBuf| move |error| Failure::Folder { path, error };
        let base = base::newest(&journal_folder(&self.data)).map_err(at(journal_folder(&self.data)))?;
        let frontier = self.store.frontier();
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
            self.store.write_by(self.regime.policy.clone());
            self.tell_standing(self.engine.epoch());
        }
        Ok(self.engine.epoch())
    }

    /// Tells everything that the journal holds after an epoch, as it was told before. Nothing is handed over meanwhile.
    pub fn tell_again<D: Disk + Sync>(&mut self, disk: &D, after: Epoch) -> Result<(), Failure> {
        let begun = Instant::now();
        self.store.check(after, &self.ledger)?;
        let mut news = News { begun, spoken: begun, from: after, to: self.store.frontier() };
        let schema = self.regime.schema.clone();
        let summary = std::thread::scope(|scope| {
            let (ahead, stretches) = sync_channel(STRETCHES_AHEAD);
            let reading = scope.spawn(move || read_ahead(disk, after, schema, &ahead));
            for epochs in stretches {
                for (number, submission) in epochs {
                    self.epoch(number, submission, None)?;
                }
                news.tell(self.engine.epoch());
            }
            reading.join().expect("a reader does not panic").map_err(Failure::from)
        })?;
        tracing::info!(
            epochs = summary.last_epoch.saturating_sub(after),
            milliseconds = begun.elapsed().as_millis() as u64,
            "journal told again"
        );
        Ok(self.store.check_end(summary.last_epoch)?)
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
        let expired = (epoch > self.store.frontier()).then_some(0);
        let mut taken = Taken { arrived: submission.arrived, expired, ..Taken::default() };
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
        let prepared = self.understudy.take().filter(|understudy| fingerprint(&understudy.policy) == package);
        let understudy = prepared.map_or_else(|| self.understudy(&package), Ok)?;
        understudy.stop_after(epoch - 1);
        let outcome = self.engine.outcome();
        self.engine = understudy.engine()?;
        let policy = self.engine.policy().clone();
        self.ledger.enact(package, &policy);
        self.store.enact(policy.clone());
        let regime = std::mem::replace(&mut self.regime, Regime::new(policy, self.ledger.desk().terms()));
        tracing::info!(epoch, policy = title(&self.regime.policy), milliseconds = begun.elapsed().as_millis() as u64, "policy in force");
        Ok(Some(Former { regime, outcome }))
    }

    fn understudy(&self, package: &str) -> Result<Understudy, Failure> {
        let policy = self.packages.load(package).map_err(|error| Failure::Folder { path: policies_folder(&self.data), error })?.policy;
        Ok(Understudy::start(policy, self.workers, &self.data, self.progress.clone()))
    }

    /// One epoch through engine and ledger; the texts to hand over now. While a pipeline is at work, which `scribe` tells, its file is
    /// written as soon as it can be.
    fn epoch(&mut self, epoch: Epoch, submission: Submission, scribe: Option<&Scribe>) -> Result<Vec<Message>, Failure> {
        let begun = Instant::now();
        let before = match self.ledger.packages().next {
            Some(_) => self.succeed(epoch, date_of(&submission.entries))?,
            None => None,
        };
        let Taken { contacts: mut heard, news: told, own, refused, expired, arrived } = self.take_in(epoch, submission);
        heard.extend(told);
        let mut output = self.engine.commit();
        debug_assert_eq!(output.epoch, epoch, "an epoch of the journal is an epoch of the engine");
        let families_anew = output.is_first || before.is_some();
        let (mut ended, mut ended_for_ledger) = (Vec::new(), Vec::new());
        if let Some(Former { regime, outcome }) = before {
            let comparison = compare(outcome, self.engine.outcome(), &self.engine.secret());
            ended_for_ledger.extend(regime.for_ledger(&comparison.ended).into_owned());
            (ended, output.changes) = (comparison.ended, comparison.changes);
            (output.standings, output.moves) = (comparison.standings, comparison.moves);
        }
        heard.extend(output.renumbered.iter().copied().map(Heard::Renumbered));
        heard.extend(own.iter().filter_map(news));
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let mut changes = self.regime.for_ledger(&output.changes);
        if !ended_for_ledger.is_empty() {
            changes.to_mut().append(&mut ended_for_ledger);
        }
        let effects = self.ledger.apply(epoch, output.date, resettled, &changes, &heard);
        let handed = self.act(&own);
        let (texts, offers) = (self.ledger.take_changed_texts(), self.ledger.take_changed_offers());
        let page = Page {
            epoch,
            date: output.date,
            ended: &ended,
            changes: &output.changes,
            in_ledger: &changes,
            moves: &output.moves,
            rejudged: &output.rejudged,
            families_anew,
            texts: &texts,
            offers: &offers,
            effects: &effects,
            refused: &refused,
            own: &own,
            ignored: output.ignored,
            expired: expired.unwrap_or(0),
        };
        self.write(&page, scribe)?;
        if scribe.is_some() {
            self.time_texts(&texts, &own, arrived.unwrap_or(begun));
            let stops = self.brake.count(&self.regime.policy, &output.changes, output.date, self.ledger.is_live());
            stops
                .iter()
                .for_each(|benefit| tracing::error!(benefit, "much of it would change: its texts are paused until somebody has looked"));
            self.metrics.braked.inc_by(stops.len() as u64);
            self.braked.extend(stops);
        }
        self.measure(&output, begun, arrived);
        self.tell_standing(epoch);
        Ok(handed)
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
                        self.brake.release(benefit);
                    }
                }
                Own::Activated { package, from } => self.ledger.activate(package.clone(), *from),
                Own::Intents(texts) => handed.extend(self.ledger.hand_over(texts)),
                Own::Taken { message, names } => self.ledger.take(*message, names),
                Own::Uncertain { message } => self.ledger.doubt(*message),
                Own::Delivery { name, reference, phone, delivered } => self.ledger.deliver(name, *reference, *phone, *delivered),
                Own::Receipt { .. } | Own::Reply { .. } | Own::Settled { .. } => {}
            }
        }
        handed
    }

    fn write(&mut self, page: &Page<'_>, scribe: Option<&Scribe>) -> Result<(), Failure> {
        let epoch = page.epoch;
        while let Err(failure) = self.store.write(&self.ledger, page, &mut self.engine) {
            let may_pass = matches!(failure, StoreFailure::Sql(_)) && scribe.is_some_and(|scribe| !scribe.is_closed());
            if !may_pass {
                return Err(failure.into());
            }
            // A full disk, for one: nothing is lost, and nothing more is taken in than the queues hold.
            if self.progress.standing().failure.is_none() {
                tracing::error!(epoch, %failure, "the ledger cannot be written; trying again");
            }
            self.progress.change(|standing| standing.failure = Some(failure.to_string()));
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn tell_standing(&self, epoch: Epoch) {
        self.progress.change(|standing| {
            (standing.epoch, standing.date) = (epoch, self.engine.today());
            (standing.live, standing.texts) = (self.ledger.is_live(), self.ledger.outbox().rows().len() as u64);
            standing.failure = None;
            (standing.policy, standing.schema) = (self.regime.policy.clone(), self.regime.schema.clone());
            standing.packages.clone_from(self.ledger.packages());
            standing.heard.clear();
            standing.heard.extend(self.engine.heard());
            standing.paused.clone_from(self.ledger.paused());
            standing.offers.clear();
            standing.offers.extend_from_slice(self.ledger.desk().counts());
            standing.texts_under_way = self.ledger.outbox().under_way() as u64;
        });
    }

    fn time_texts(&mut self, texts: &[Message], own: &[Own], arrived: Instant) {
        for message in texts {
            match message.status {
                Status::Waiting => drop(self.unanswered.entry(message.id).or_insert(arrived)),
                Status::Suppressed => drop(self.unanswered.remove(&message.id)),
                _ => {}
            }
        }
        for own in own {
            if let Own::Receipt { message, .. } | Own::Taken { message, .. } = own
                && let Some(arrived) = self.unanswered.remove(message)
            {
                Metrics::since(&self.metrics.answered, arrived);
            }
        }
    }

    fn measure(&self, output: &EpochOutput, begun: Instant, arrived: Option<Instant>) {
        let (metrics, outbox) = (&self.metrics, self.ledger.outbox());
        Metrics::since(&metrics.epoch, begun);
        arrived.into_iter().for_each(|arrived| Metrics::since(&metrics.in_ledger, arrived));
        metrics.changes.inc_by(output.changes.iter().filter(|change| change.is_of_decision()).count() as u64);
        metrics.texts.inc_by((outbox.rows().len() as u64).saturating_sub(metrics.texts.get()));
        let submitted = outbox.unanswered().count();
        for (state, texts) in [(TextState::Waiting, outbox.under_way() - submitted), (TextState::Submitted, submitted)] {
            metrics.texts_under_way.get_or_create(&InState { state }).set(texts as i64);
        }
        metrics.frontier.set(output.epoch as i64);
        metrics.live.set(i64::from(self.ledger.is_live()));
    }

    /// Goes on with what comes from the scribe, until it comes no more.
    pub fn start(mut self, work: Receiver<Work>, scribe: Scribe, texts: Texts) -> JoinHandle<()> {
        let conduct = move || {
            let mut texts = Some(texts);
            match self.store.holders() {
                Ok(holders) => self.brake.begin(holders),
                Err(failure) => tracing::error!(%failure, "who holds what cannot be counted"),
            }
            self.resume(&scribe, texts.as_ref());
            self.intend(&scribe, false);
            loop {
                let (epoch, submission) = match work.recv_timeout(self.rest()) {
                    Ok(Work::Epoch(epoch, submission)) => (epoch, submission),
                    Ok(Work::Question(question)) => {
                        question(&mut self.engine, &self.ledger);
                        continue;
                    }
                    Ok(Work::Understudy(package, answer)) => {
                        // Whoever asked may have gone.
                        drop(answer.send(self.prepare(&package)));
                        continue;
                    }
                    Ok(Work::Farewell) => {
                        texts = None;
                        continue;
                    }
                    Ok(Work::End) | Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        self.intend(&scribe, false);
                        self.keep(true);
                        continue;
                    }
                };
                let intents = submission.own.iter().any(|own| matches!(own, Own::Intents(_)));
                match self.epoch(epoch, submission, Some(&scribe)) {
                    Ok(handed) => handed.into_iter().for_each(|message| hand(texts.as_ref(), message)),
                    Err(failure) => {
                        tracing::error!(epoch, %failure, "the pipeline gives up");
                        self.progress.change(|standing| standing.failure = Some(failure.to_string()));
                        scribe.close();
                        return;
                    }
                }
                self.intend(&scribe, intents);
                self.keep(false);
            }
            self.catch_up();
            self.keeper.end(self.engine.epoch(), &self.engine, &self.ledger);
        };
        std::thread::Builder::new().name("conductor".to_owned()).spawn(conduct).expect("a thread can be started")
    }

    /// How long may be waited for the next epoch.
    fn rest(&self) -> Duration {
        match () {
            () if self.store.is_behind() => LEDGER_REST,
            // They may leave as soon as the clock says so.
            () if self.ledger.outbox().waiting().next().is_some() => CLOCK_REST.min(self.keeper.rest()),
            () => self.keeper.rest(),
        }
    }

    /// What is done beside the stream: the ledger's file hears how far it has come, and a snapshot is begun if one is due. It is of use only
    /// where the file has come as far.
    fn keep(&mut self, idle: bool) {
        let epoch = self.engine.epoch();
        if (!idle && !self.keeper.is_due(epoch)) || self.catch_up() {
            self.keeper.look(epoch, &self.engine, &self.ledger);
        }
    }

    fn catch_up(&mut self) -> bool {
        let done = self.store.catch_up();
        if let Err(failure) = &done {
            tracing::error!(%failure, "the ledger cannot be written");
        }
        done.is_ok()
    }

    /// Prepares an engine under a package, if that is not done already.
    fn prepare(&mut self, package: &str) -> Result<understudy::Told, Failure> {
        let prepared = self.understudy.take().filter(|understudy| fingerprint(&understudy.policy) == package);
        let understudy = match prepared {
            Some(understudy) if understudy.has_failed() => return understudy.engine().map(|_| understudy::Told::default()),
            Some(understudy) => understudy,
            None => self.understudy(package)?,
        };
        let told = understudy.told.clone();
        self.understudy = Some(understudy);
        Ok(told)
    }

    /// What was handed over when the process ended and not answered for: a network that knows names is given it again, with any other it is
    /// uncertain.
    fn resume(&self, scribe: &Scribe, texts: Option<&Texts>) {
        let unanswered = self.ledger.outbox().unanswered().cloned();
        match self.network.knows_names() {
            true => unanswered.for_each(|message| hand(texts, message)),
            false => {
                let mut doubts = Submission::default();
                unanswered.for_each(|message| doubts.append(Submission::of_own(Own::Uncertain { message: message.id })));
                if !doubts.is_empty() {
                    // If the pipeline ends before it is journalled the next start does it.
                    drop(scribe.send(doubts));
                }
            }
        }
    }

    /// Says in the journal which texts are handed over next.
    fn intend(&mut self, scribe: &Scribe, intents_came: bool) {
        while let Some(benefit) = self.braked.last() {
            let what = Pausable::Benefit(benefit.clone());
            if scribe.offer(Submission::of_own(Own::Paused { what, paused: true })).is_none() {
                break;
            }
            self.braked.pop();
        }
        if intents_came || self.intending.as_ref().is_some_and(Answer::is_refusal) {
            self.intending = None;
        }
        let room = self.network.on_the_way().saturating_sub(self.ledger.outbox().unanswered_count());
        if self.intending.is_some() || room == 0 {
            return;
        }
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if !self.leave.holds_at(since_1970) {
            return;
        }
        let terms = self.ledger.desk().terms();
        let may_leave = |text: &Text| self.leave.holds_for(text.phone) && !self.brake.holds_back(&terms.benefit(text.right.benefit).id);
        let waiting = self.ledger.waiting(room, may_leave);
        if !waiting.is_empty() {
            // The answer is the epoch itself. Where there is no room epochs are coming, and the next one asks again.
            self.intending = scribe.offer(Submission::of_own(Own::Intents(waiting)));
        }
    }
}

/// Epochs in their order.
type Told = Vec<(Epoch, Submission)>;

/// Reads epochs after one beside the engine that is told them, under the policy in force when the telling begins.
fn read_ahead<D: Disk>(disk: &D, after: Epoch, schema: Arc<Schema>, ahead: &SyncSender<Told>) -> Result<Summary, journal::Failure> {
    let mut recall = Recall::new(schema);
    let (mut epochs, mut bytes) = (Vec::new(), 0);
    let hand = |epochs: &mut Told| {
        // Whoever was told has failed, and says why.
        let _ = ahead.send(std::mem::take(epochs));
    };
    let summary = read_epochs(disk, after, Epoch::MAX, |journal::Epoch { number, dictionary, entries }| {
        bytes += entries.len();
        epochs.push((number, recall.recall(dictionary, entries)));
        if bytes >= STRETCH_BYTES {
            hand(&mut epochs);
            bytes = 0;
        }
        Ok(())
    })?;
    hand(&mut epochs);
    Ok(summary)
}

/// Words on how far a start has come.
struct News {
    begun: Instant,
    spoken: Instant,
    from: Epoch,
    /// The last epoch that the ledger's file has: not many come after it.
    to: Epoch,
}

impl News {
    /// A bar on a terminal, else a line of the log.
    fn tell(&mut self, epoch: Epoch) {
        if self.spoken.elapsed() < NEWS {
            return;
        }
        self.spoken = Instant::now();
        let percent = ((epoch - self.from) * 100).checked_div(self.to.saturating_sub(self.from)).unwrap_or(100).min(100);
        let seconds_left = self.begun.elapsed().as_secs() * (100 - percent) / percent.max(1);
        if io::stderr().is_terminal() {
            let bar = "█".repeat(percent as usize / 4);
            eprint!("\rtelling the journal again  {bar:·<25} {percent:>3} %  {seconds_left} s left  ");
        } else {
            tracing::info!(epoch, percent, seconds_left, "telling the journal again");
        }
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

fn hand(texts: Option<&Texts>, message: Message) {
    // Where nothing is handed over any more the next start does what is right.
    if let Some(texts) = texts {
        drop(texts.send(message));
    }
}

/// What an entry of the pipeline's own says to the conversations.
fn news(own: &Own) -> Option<Heard> {
    match own {
        Own::Receipt { message, delivered } => Some(Heard::Receipt { message: *message, delivered: *delivered }),
        Own::Reply { id, phone, text, at } => Some(Heard::Reply { id: *id, phone: *phone, text: text.as_str().into(), at: *at }),
        Own::Live | Own::Intents(_) | Own::Paused { .. } | Own::Activated { .. } | Own::Settled { .. } => None,
        Own::Taken { .. } | Own::Uncertain { .. } | Own::Delivery { .. } => None,
    }
}
