//! Which texts leave next, and when: quiet hours, the brake, the pace, and what the network still has to answer for are looked at here, and the intent
//! to hand over is journalled before a text is.

use super::brake::{Brake, BrakeTerms};
use super::leave::Leave;
use super::metrics::Metrics;
use super::pace::{Pace, PaceTerms};
use super::scribe::{Answer, Scribe};
use super::submission::Submission;
use crate::dispatch::Text;
use crate::journal::{Own, Pausable};
use crate::ledger::{Ledger, Message, Status};
use crate::network::{Network, Texts};
use dataflows::model::{Change, Date};
use dataflows::policy::Policy;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A text of which nobody knows whether it was taken is handed over again, where it is at all, if it is no older.
const VALID_DAYS: i32 = 2;

/// Who takes texts, and when they leave.
#[derive(Clone, Debug, Default)]
pub struct Sending {
    pub network: Network,
    /// When texts may leave, and to whom.
    pub leave: Leave,
    /// How fast.
    pub pace: PaceTerms,
    /// When they stop because too much changes.
    pub brake: BrakeTerms,
    /// Benefits of which it is better to be told twice than not at all.
    pub at_least_once: BTreeSet<String>,
}

pub(super) struct Sender {
    network: Network,
    leave: Leave,
    pace: Pace,
    brake: Brake,
    at_least_once: BTreeSet<String>,
    /// Where texts go; nothing while none is handed over.
    texts: Option<Texts>,
    /// No more of them are intended.
    is_ending: bool,
    /// Benefits at which the brake has stopped, and texts that are to be handed over again, until the journal says so.
    braked: Vec<String>,
    again: Vec<u128>,
    /// Intents that are on their way to the journal.
    intending: Option<Answer>,
    /// When that arrived which led to each text that the network has not answered for yet.
    unanswered: HashMap<u128, Instant>,
    metrics: Arc<Metrics>,
}

impl Sender {
    pub fn new(sending: &Sending, metrics: Arc<Metrics>) -> Sender {
        let Sending { network, leave, pace, brake, at_least_once } = sending.clone();
        Sender {
            network,
            leave,
            pace: Pace::new(pace),
            brake: Brake::new(brake, BTreeMap::new()),
            at_least_once,
            texts: None,
            is_ending: false,
            braked: Vec::new(),
            again: Vec::new(),
            intending: None,
            unanswered: HashMap::new(),
            metrics,
        }
    }

    /// Begins to hand over. What was handed over when the process ended and not answered for: a network that knows names is given it again, with
    /// any other it is uncertain.
    pub fn begin(&mut self, texts: Texts, holders: BTreeMap<String, u64>, ledger: &Ledger, scribe: &Scribe) {
        self.texts = Some(texts);
        self.brake.begin(holders);
        let unanswered = ledger.outbox().unanswered().cloned();
        match self.network.knows_names() {
            true => unanswered.for_each(|message| self.hand(message)),
            false => {
                let mut doubts = Submission::default();
                unanswered.for_each(|message| doubts.append(Submission::of_own(Own::Uncertain { message: message.id })));
                if !doubts.is_empty() {
                    // If the pipeline ends before it is journalled the next start does it.
                    drop(scribe.send(doubts));
                }
            }
        }
        let lately = Date(ledger.today().0.saturating_sub(VALID_DAYS));
        let uncertain = ledger.outbox().uncertain().filter(|message| message.date >= lately);
        self.again = uncertain.filter(|message| self.is_handed_again(ledger, message)).map(|message| message.id).collect();
    }

    /// Nothing is handed over any more but what the journal is hearing of: an intent that leads to nothing would leave its text uncertain.
    pub fn end(&mut self) {
        self.is_ending = true;
        self.end_if_told();
    }

    fn end_if_told(&mut self) {
        if self.is_ending && self.intending.is_none() {
            self.texts = None;
        }
    }

    /// Hands over what the journal intends.
    pub fn hand(&self, message: Message) {
        // Where nothing is handed over any more the next start does what is right.
        let Some(texts) = &self.texts else { return };
        if let Some(arrived) = self.unanswered.get(&message.id) {
            Metrics::since(&self.metrics.handed_over, *arrived);
        }
        drop(texts.send(message));
    }

    /// An operator has looked at what the brake stopped.
    pub fn release(&mut self, benefit: &str) {
        self.brake.release(benefit);
    }

    /// Takes note of what an epoch brought.
    pub fn heed(
        &mut self,
        (texts, own): (&[Message], &[Own]),
        (changes, date): (&[Change], Date),
        policy: &Policy,
        ledger: &Ledger,
        arrived: Instant,
    ) {
        self.time(texts, own, arrived);
        if own.iter().any(|own| matches!(own, Own::Intents(texts) if !texts.is_empty())) {
            self.intending = None;
        }
        let doubts =
            own.iter().filter_map(|own| if let Own::Uncertain { message } = own { ledger.outbox().message(*message) } else { None });
        let again: Vec<u128> = doubts.filter(|message| self.is_handed_again(ledger, message)).map(|message| message.id).collect();
        self.again.extend(again);
        let stops = self.brake.count(policy, changes, date, ledger.is_live());
        stops
            .iter()
            .for_each(|benefit| tracing::error!(benefit, "much of it would change: its texts are paused until somebody has looked"));
        self.metrics.braked.inc_by(stops.len() as u64);
        self.braked.extend(stops);
    }

    fn time(&mut self, texts: &[Message], own: &[Own], arrived: Instant) {
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

    fn is_handed_again(&self, ledger: &Ledger, message: &Message) -> bool {
        self.at_least_once.contains(&ledger.desk().terms().benefit(message.text.right.benefit).id)
    }

    /// How long until more may leave of what waits, or intents may be known to be refused; nothing if nothing does.
    pub fn rest(&self, ledger: &Ledger) -> Option<Duration> {
        let waits = self.intending.is_some() || ledger.outbox().waiting().next().is_some();
        waits.then(|| self.pace.rest())
    }

    /// Says in the journal which texts are handed over next.
    pub fn intend(&mut self, ledger: &Ledger, scribe: &Scribe) {
        while let Some(benefit) = self.braked.last() {
            let what = Pausable::Benefit(benefit.clone());
            if scribe.offer(Submission::of_own(Own::Paused { what, paused: true })).is_none() {
                break;
            }
            self.braked.pop();
        }
        while let Some(message) = self.again.last() {
            if scribe.offer(Submission::of_own(Own::Again { message: *message })).is_none() {
                break;
            }
            self.again.pop();
        }
        if self.intending.as_ref().is_some_and(Answer::is_refusal) {
            self.intending = None;
        }
        self.end_if_told();
        let room = self.network.on_the_way().saturating_sub(ledger.outbox().unanswered_count());
        if self.is_ending || self.intending.is_some() || room == 0 {
            return;
        }
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if !self.leave.holds_at(since_1970) {
            return;
        }
        let (terms, now) = (ledger.desk().terms(), Instant::now());
        let may_leave = |text: &Text| {
            let holds = self.leave.holds_for(text.phone) && !self.brake.holds_back(&terms.benefit(text.right.benefit).id);
            holds && self.pace.grants(text, now)
        };
        let waiting = ledger.waiting(room, may_leave);
        if !waiting.is_empty() {
            // The answer is the epoch itself. Where there is no room epochs are coming, and the next one asks again.
            self.intending = scribe.offer(Submission::of_own(Own::Intents(waiting)));
        }
    }
}
