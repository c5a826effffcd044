//! The conductor: takes durable epochs through the engine and the ledger, one at a time, and says how far that has come.

use super::keeper::Keeper;
use super::metrics::{InState, Metrics, TextState};
use super::progress::Progress;
use super::scribe::{Answer, Scribe, Submission};
use super::{Failure, Network, Setup};
use crate::dispatch::{Heard, Listener, Terms};
use crate::engine::{Engine, EpochOutput};
use crate::intake::{Contact, Decoded, Intake, Item, Schema, Translation};
use crate::journal::entries::{Entry, entries};
use crate::journal::{self, Dictionary, Disk, Own, read_epochs};
use crate::ledger::{Ledger, Message, Page, Resettled, Store, StoreFailure};
use crate::sources::Quarantined;
use dataflows::model::{Epoch, Update};
use dataflows::policy::Policy;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Texts that are on their way at a time.
const TEXTS_ON_THE_WAY: usize = 64;

/// Between words on how far a start has come.
const NEWS: Duration = Duration::from_secs(2);

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
    /// Nothing more comes.
    End,
}

/// Everything behind the journal.
pub(super) struct Conductor {
    policy: Arc<Policy>,
    workers: usize,
    terms: Terms,
    engine: Engine,
    intake: Intake,
    listener: Listener,
    ledger: Ledger,
    store: Store,
    keeper: Keeper,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    /// Whether anybody takes texts.
    hands_over: bool,
    /// Intents that are on their way to the journal.
    intending: Option<Answer>,
    /// What the numbers of the segment told last mean now.
    translation: Option<(Arc<Dictionary>, Translation)>,
}

impl Conductor {
    pub fn new(
        policy: Arc<Policy>,
        schema: Arc<Schema>,
        (store, keeper): (Store, Keeper),
        (progress, metrics): (Arc<Progress>, Arc<Metrics>),
        setup: &Setup,
    ) -> Self {
        let terms = Terms { allow_assumed: setup.allow_assumed, ..Terms::from(&*policy) };
        Conductor {
            intake: Intake::new(schema),
            listener: Listener::new(&policy),
            ledger: Ledger::new(terms.clone()),
            engine: Engine::start(policy.clone(), setup.workers),
            policy,
            workers: setup.workers,
            terms,
            store,
            keeper,
            progress,
            metrics,
            hands_over: setup.network != Network::Nowhere,
            intending: None,
            translation: None,
        }
    }

    /// Goes back to the newest snapshot that is of use; the epoch it is of, zero if there is none.
    pub fn recall(&mut self) -> io::Result<Epoch> {
        let begin = || (Engine::start(self.policy.clone(), self.workers), Ledger::new(self.terms.clone()));
        if let Some((engine, ledger)) = self.keeper.recall(self.store.frontier(), begin)? {
            (self.engine, self.ledger) = (engine, ledger);
            self.tell_standing(self.engine.epoch());
        }
        Ok(self.engine.epoch())
    }

    /// Tells everything that the journal holds after an epoch, as it was told before. Nothing is handed over meanwhile.
    pub fn tell_again<D: Disk>(&mut self, disk: &D, after: Epoch) -> Result<(), Failure> {
        let (begun, mut spoken) = (Instant::now(), Instant::now());
        let mut failure = self.store.check(after, &self.ledger).err();
        let summary = read_epochs(disk, after, |epoch| {
            if failure.is_none() {
                if spoken.elapsed() >= NEWS {
                    spoken = Instant::now();
                    tracing::info!(epoch = epoch.number, "telling the journal again");
                }
                let submission = self.restore(&epoch);
                failure = self.epoch(epoch.number, submission, None).err();
            }
            Ok(())
        })?;
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        tracing::info!(
            epochs = summary.last_epoch.saturating_sub(after),
            milliseconds = begun.elapsed().as_millis() as u64,
            "journal told again"
        );
        Ok(self.store.check_end(summary.last_epoch)?)
    }

    /// An epoch as it came in.
    fn restore(&mut self, epoch: &journal::Epoch) -> Submission {
        let mut submission = Submission::default();
        if self.translation.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &epoch.dictionary)) {
            self.translation = Some((epoch.dictionary.clone(), Translation::new(self.intake.schema(), &epoch.dictionary)));
        }
        let (_, translation) = self.translation.as_ref().expect("just made");
        for entry in entries(&epoch.entries) {
            match entry {
                Entry::Record(record) => match self.intake.restore(&record, translation) {
                    Ok(Decoded { item, contact }) => {
                        submission.items.push(item);
                        submission.contacts.extend(contact);
                    }
                    Err(rejection) => submission.refused.push(Quarantined {
                        file: Arc::from("journal"),
                        line: 0,
                        field: rejection.field,
                        reason: rejection.reason,
                        raw: record.key.as_bytes().to_vec(),
                    }),
                },
                Entry::Calendar(date) => submission.items.push(Item::Calendar(date)),
                Entry::Heartbeat { register, date } => {
                    submission.items.extend(translation.register(register).map(|register| Item::Heartbeat { register, date }));
                }
                Entry::Own(own) => submission.own.push(own),
                Entry::Refused { feed, line, field, reason, raw } => submission.refused.push(Quarantined {
                    file: Arc::from(feed),
                    line,
                    field: field.to_owned(),
                    reason: reason.to_owned(),
                    raw: raw.to_vec(),
                }),
            }
        }
        submission
    }

    /// One epoch through engine and ledger; the texts to hand over now. While a pipeline is at work, which `scribe` tells, its file is
    /// written as soon as it can be.
    fn epoch(&mut self, epoch: Epoch, submission: Submission, scribe: Option<&Scribe>) -> Result<Vec<Message>, StoreFailure> {
        let begun = Instant::now();
        let Submission { items, contacts, own, refused, arrived, .. } = submission;
        let mut heard: Vec<Heard> = contacts.iter().map(|contact| self.contact(contact)).collect();
        let mut updates: Vec<Update> = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Update(update) => {
                    heard.extend(self.listener.hear(&update));
                    updates.push(update);
                }
                Item::Calendar(date) => self.engine.set_date(date),
                Item::Heartbeat { register, date } => self.engine.hear(register, date),
            }
        }
        self.engine.submit(updates);
        let output = self.engine.commit();
        debug_assert_eq!(output.epoch, epoch, "an epoch of the journal is an epoch of the engine");
        heard.extend(output.renumbered.iter().copied().map(Heard::Renumbered));
        heard.extend(own.iter().filter_map(news));
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        self.ledger.apply(epoch, output.date, resettled, &output.changes, &heard);
        let mut handed = Vec::new();
        for own in &own {
            match own {
                Own::Live => self.ledger.go_live(),
                Own::Paused { what, paused } => self.ledger.pause(what, *paused),
                Own::Intents(texts) => handed.extend(self.ledger.hand_over(texts)),
                Own::Receipt { .. } | Own::Reply { .. } | Own::Settled { .. } => {}
            }
        }
        let texts = self.ledger.take_changed_texts();
        let page = Page {
            epoch,
            date: output.date,
            changes: &output.changes,
            texts: &texts,
            refused: &refused,
            own: &own,
            ignored: output.ignored,
        };
        while let Err(failure) = self.store.write(&self.ledger, &page) {
            let may_pass = matches!(failure, StoreFailure::Sql(_)) && scribe.is_some_and(|scribe| !scribe.is_closed());
            if !may_pass {
                return Err(failure);
            }
            // A full disk, for one: nothing is lost, and nothing more is taken in than the queues hold.
            if self.progress.standing().failure.is_none() {
                tracing::error!(epoch, %failure, "the ledger cannot be written; trying again");
            }
            self.progress.change(|standing| standing.failure = Some(failure.to_string()));
            std::thread::sleep(PAUSE);
        }
        self.measure(&output, begun, arrived);
        self.tell_standing(epoch);
        Ok(handed)
    }

    fn tell_standing(&self, epoch: Epoch) {
        self.progress.change(|standing| {
            (standing.epoch, standing.date) = (epoch, self.engine.today());
            (standing.live, standing.texts) = (self.ledger.is_live(), self.ledger.outbox().rows().len() as u64);
            standing.failure = None;
            standing.heard.clear();
            standing.heard.extend(self.engine.heard());
            standing.paused.clone_from(self.ledger.paused());
            standing.offers.clear();
            standing.offers.extend_from_slice(self.ledger.desk().counts());
            standing.texts_under_way = self.ledger.outbox().under_way() as u64;
        });
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

    fn contact(&self, Contact { person, seq, phone, language }: &Contact) -> Heard {
        self.listener.contact(*person, *seq, phone, language)
    }

    /// Goes on with what comes from the scribe, until it comes no more.
    pub fn start(mut self, work: Receiver<Work>, scribe: Scribe, messenger: Sender<Message>) -> JoinHandle<()> {
        let conduct = move || {
            self.resume(&messenger);
            self.intend(&scribe, false);
            loop {
                let (epoch, submission) = match work.recv_timeout(self.keeper.rest()) {
                    Ok(Work::Epoch(epoch, submission)) => (epoch, submission),
                    Ok(Work::Question(question)) => {
                        question(&mut self.engine, &self.ledger);
                        continue;
                    }
                    Ok(Work::End) | Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        self.keeper.look(self.engine.epoch(), &self.engine, &self.ledger);
                        continue;
                    }
                };
                let intents = submission.own.iter().any(|own| matches!(own, Own::Intents(_)));
                match self.epoch(epoch, submission, Some(&scribe)) {
                    Ok(handed) => handed.into_iter().for_each(|message| hand(&messenger, message)),
                    Err(failure) => {
                        tracing::error!(epoch, %failure, "the pipeline gives up");
                        self.progress.change(|standing| standing.failure = Some(failure.to_string()));
                        scribe.close();
                        return;
                    }
                }
                self.intend(&scribe, intents);
                self.keeper.look(epoch, &self.engine, &self.ledger);
            }
            self.keeper.end(self.engine.epoch(), &self.engine, &self.ledger);
        };
        std::thread::Builder::new().name("conductor".to_owned()).spawn(conduct).expect("a thread can be started")
    }

    /// Hands over again what was handed over when the process ended: the network knows what it was given already.
    fn resume(&self, messenger: &Sender<Message>) {
        self.ledger.outbox().unanswered().for_each(|message| hand(messenger, message.clone()));
    }

    /// Says in the journal which texts are handed over next.
    fn intend(&mut self, scribe: &Scribe, intents_came: bool) {
        if intents_came || self.intending.as_ref().is_some_and(Answer::is_refusal) {
            self.intending = None;
        }
        if self.intending.is_some() || !self.hands_over {
            return;
        }
        let waiting = self.ledger.waiting(TEXTS_ON_THE_WAY);
        if !waiting.is_empty() {
            // The answer is the epoch itself. Where there is no room epochs are coming, and the next one asks again.
            self.intending = scribe.offer(Submission::of_own(Own::Intents(waiting)));
        }
    }
}

fn hand(messenger: &Sender<Message>, message: Message) {
    // A messenger that is gone goes with the pipeline; the next start hands over what was not answered for.
    let _ = messenger.send(message);
}

/// What an entry of the pipeline's own says to the conversations.
fn news(own: &Own) -> Option<Heard> {
    match own {
        Own::Receipt { message, delivered } => Some(Heard::Receipt { message: *message, delivered: *delivered }),
        Own::Reply { id, phone, text } => Some(Heard::Reply { id: *id, phone: *phone, text: text.as_str().into() }),
        Own::Live | Own::Intents(_) | Own::Paused { .. } | Own::Settled { .. } => None,
    }
}
