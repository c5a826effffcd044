//! The ledger: what the house has decided, what was said about it, and how it was answered.
//!
//! A fold over epochs with one door, [`Ledger::apply`]. An epoch enters whole or not at all, and once: applying it again
//! changes nothing. A text exists in the outbox exactly when the decision that it speaks of is in the ledger, since both come
//! of the same call. Until [`Ledger::go_live`] decisions are stored as the baseline, and nobody is written to.

mod checkpoints;
mod families;
mod lineage;
mod outbox;
mod page;
mod reader;
mod reports;
mod store;
mod tables;

pub use checkpoints::{log_bytes, sync_ledger};
pub use lineage::{FamilyEvent, FamilyId, Fate, Lineage, Resettled};
pub use outbox::{Message, Outbox, Status, reference_of};
pub use page::{Families, Page};
pub use reader::{Brought, Reader, Refused, Stream, Verified, View};
pub use reports::Report;
pub use store::{Store, WrittenSoFar};
pub use tables::StoreFailure;

use crate::dispatch::conversation::WINDOW_DAYS;
use crate::dispatch::{Action, Case, Desk, Heard, HeldBack, Note, Payment, Payments, Phone, RightKey, Standing, Step, Terms, Text};
use crate::journal::Pausable;
use dataflows::model::{Change, ChangeKind, Date, Decision, DecisionId, Epoch, Ground, Outcome, PersonId};
use dataflows::operators::{Restorer, Saver};
use dataflows::policy::Policy;
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use xxhash_rust::xxh3::xxh3_128;

/// What an epoch led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Texts that entered the outbox.
    pub texts: usize,
    pub cases_opened: Vec<Case>,
    pub cases_withdrawn: Vec<u128>,
    pub notes: Vec<Note>,
    /// What is to be paid, no more, or back.
    pub payments: Vec<Payment>,
    /// What became of families on the date that the epoch ended, if it began another.
    pub families: Vec<FamilyEvent>,
}

/// Why nobody is written to about a right in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    HeldBack(HeldBack),
    /// It is a refusal.
    NothingToOffer,
    /// A social worker is told.
    ToWorker,
}

impl Silence {
    pub fn name(self) -> &'static str {
        match self {
            Silence::HeldBack(reason) => reason.name(),
            Silence::NothingToOffer => "nothing_to_offer",
            Silence::ToWorker => "to_worker",
        }
    }
}

/// Which packages were in force, and which is to be, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// In their order; the last one is in force.
    pub enacted: Vec<String>,
    /// From the first later epoch on whose date is not before this one.
    pub next: Option<(String, Date)>,
}

/// The in-memory ledger.
#[derive(Serialize, Deserialize)]
pub struct Ledger {
    frontier: Option<Epoch>,
    today: Date,
    live: bool,
    /// What an operator has paused.
    paused: BTreeSet<Pausable>,
    packages: Packages,
    /// Rights in force that may be written about: what there is to offer, nothing where the answer was a refusal.
    rights: HashMap<RightKey, Option<Standing>>,
    /// The same, of which it is no longer known whether they stand: not lost, and not written about meanwhile.
    doubted: HashMap<RightKey, Option<Standing>>,
    /// Rights stored before going live, in force and doubted, of which nobody is written to: by hash, since there are millions.
    baseline: HashSet<u128>,
    baseline_doubted: HashSet<u128>,
    /// Baseline rights lost lately: back within the window they are the same right, and still not written about.
    baseline_lost: LostLately,
    /// A hash over all changes so far, each chained to those before it.
    chain: u128,
    desk: Desk,
    payments: Payments,
    outbox: Outbox,
    notes: Vec<Note>,
    lineage: Lineage,
}

/// Rights, by hash, and the days on which they were lost: on the first day of a quarter those of a whole country.
#[derive(Default, Serialize, Deserialize)]
struct LostLately {
    days: HashMap<u128, Date>,
    /// By day: some of these may have been taken since, or lost again.
    rights: BTreeMap<Date, Vec<u128>>,
}

impl LostLately {
    fn insert(&mut self, day: Date, name: u128) {
        self.days.insert(name, day);
        self.rights.entry(day).or_default().push(name);
    }

    /// Takes the right of this hash out, if it is here.
    fn take(&mut self, name: u128) -> bool {
        self.days.remove(&name).is_some()
    }

    fn forget_before(&mut self, oldest: Date) {
        while let Some(entry) = self.rights.first_entry().filter(|entry| *entry.key() < oldest) {
            let (day, rights) = entry.remove_entry();
            for name in rights {
                if self.days.get(&name) == Some(&day) {
                    self.days.remove(&name);
                }
            }
        }
    }
}

impl Ledger {
    pub fn new(terms: Terms) -> Self {
        Ledger {
            frontier: None,
            today: Date::BEFORE_ALL,
            live: false,
            paused: BTreeSet::new(),
            packages: Packages::default(),
            rights: HashMap::new(),
            doubted: HashMap::new(),
            baseline: HashSet::new(),
            baseline_doubted: HashSet::new(),
            baseline_lost: LostLately::default(),
            chain: 0,
            desk: Desk::new(terms),
            payments: Payments::default(),
            outbox: Outbox::default(),
            notes: Vec::new(),
            lineage: Lineage::default(),
        }
    }

    /// Writes all of it, between epochs.
    pub fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(self)
    }

    /// Takes in what was written. Whether amounts are offered that are only assumed is this ledger's business.
    pub fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        let allow_assumed = self.desk.terms().allow_assumed;
        *self = restorer.get()?;
        self.desk.set_terms(Terms { allow_assumed, ..self.desk.terms().clone() });
        Ok(())
    }

    /// Another package comes into force.
    pub fn enact(&mut self, package: String, policy: &Policy) {
        self.desk.set_terms(self.desk.terms().followed_by(policy));
        self.packages.enacted.push(package);
        self.packages.next = None;
    }

    /// A package is to come into force; it takes the place of one that was to. Of the one that is in force: nothing is to change.
    pub fn activate(&mut self, package: String, from: Date) {
        let is_in_force = self.packages.enacted.last() == Some(&package);
        self.packages.next = (!is_in_force).then_some((package, from));
    }

    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// From here on people are written to; what is in the ledger by now is the baseline.
    pub fn go_live(&mut self) {
        self.live = true;
    }

    /// The epoch's business date, its households and changed decisions, and what else was heard in it, in this order.
    pub fn apply(&mut self, epoch: Epoch, today: Date, resettled: Resettled<'_>, changes: &[Change], heard: &[Heard]) -> Effects {
        if self.frontier.is_some_and(|frontier| epoch <= frontier) {
            return Effects::default();
        }
        self.frontier = Some(epoch);
        self.set_today(today);
        let mut effects = Effects { families: self.lineage.apply(self.today, resettled), ..Effects::default() };
        // What is lost goes first, so that a right that is lost and gained under another number is a changed right.
        let is_loss = |change: &&Change| matches!(change.kind, ChangeKind::Lost | ChangeKind::Refuted | ChangeKind::Sealed);
        let (lost, rest): (Vec<_>, Vec<_>) = changes.iter().partition(is_loss);
        for change in lost.into_iter().chain(rest) {
            // A doubt that nobody was told of leaves no trace: which worker would have told it hangs on how many there are.
            if matches!(change.kind, ChangeKind::Refuted | ChangeKind::Sealed) && !self.knows(&right_of(&change.decision)) {
                continue;
            }
            let id = self.desk.terms().decision_id(&change.decision);
            self.link(epoch, id, change.kind);
            if let Some(step) = self.fold(change) {
                let mut actions = self.desk.step(step);
                // Of a number given up in secret social workers are not told either.
                actions.retain(|action| change.kind != ChangeKind::Sealed || !matches!(action, Action::Note(_)));
                self.keep(epoch, actions, &mut effects);
            }
        }
        for news in heard {
            if let Heard::Receipt { message, delivered } = news {
                self.outbox.receipt(*message, *delivered);
            }
            let actions = self.desk.step(Step::Heard(news));
            self.keep(epoch, actions, &mut effects);
        }
        let actions = self.desk.settle();
        self.keep(epoch, actions, &mut effects);
        self.pay(&mut effects);
        effects
    }

    /// Looks at what is to be paid today, and at what may be to be paid no more.
    fn pay(&mut self, effects: &mut Effects) {
        let mut looked = self.desk.take_for_payments();
        looked.extend(self.payments.take_due(self.today));
        for right in looked {
            let Some(due) = self.desk.due(&right) else { continue };
            effects.payments.extend(self.payments.look(&right, due, self.today));
        }
    }

    /// Ends the business date, of which nothing more comes: what became of families on it.
    pub fn end_date(&mut self) -> Vec<FamilyEvent> {
        self.lineage.end_date()
    }

    /// Hands at most `limit` waiting texts to the sender. Each is checked once more: a right that has gone since is not written
    /// about. What is handed over is not handed over again.
    pub fn submit(&mut self, limit: usize) -> Vec<Message> {
        let waiting = self.waiting(limit, |_| true);
        self.hand_over(&waiting)
    }

    /// The first texts that wait for nothing but to be handed over, of those that may be.
    pub fn waiting(&self, limit: usize, mut may_leave: impl FnMut(&Text) -> bool) -> Vec<u128> {
        let is_paused = |text: &Text| {
            let benefit = &self.desk.terms().benefits[usize::from(text.right.benefit)].id;
            self.paused.iter().any(|what| match what {
                Pausable::Feed(_) => false,
                Pausable::Benefit(id) => id == benefit,
                Pausable::Template(name) => name == text.kind.name(),
            })
        };
        self.outbox
            .waiting()
            .filter(|message| !is_paused(&message.text) && may_leave(&message.text))
            .take(limit)
            .map(|message| message.id)
            .collect()
    }

    /// Pauses something, or lets it go on.
    pub fn pause(&mut self, what: &Pausable, paused: bool) {
        match paused {
            true => self.paused.insert(what.clone()),
            false => self.paused.remove(what),
        };
    }

    pub fn paused(&self) -> &BTreeSet<Pausable> {
        &self.paused
    }

    /// The same with chosen texts; those that no longer wait are left out.
    pub fn hand_over(&mut self, texts: &[u128]) -> Vec<Message> {
        let mut handed = Vec::new();
        for &id in texts.iter().filter(|id| self.outbox.is_waiting(**id)).collect::<Vec<_>>() {
            let (right, kind) = self.outbox.subject(id);
            let holds = self.desk.conversation(&right).is_some_and(|conversation| conversation.holds());
            let may_go = self.outbox.message(id).is_some_and(|message| !self.desk.is_blocked(message.text.phone));
            if may_go && (holds || !kind.needs_right()) {
                handed.push(self.outbox.submit(id, self.today).clone());
            } else {
                self.outbox.suppress(id);
                self.desk.step(Step::NotSent(right, kind));
            }
        }
        handed
    }

    /// A message centre has taken a text, under these names for its parts.
    pub fn take(&mut self, message: u128, names: &[String]) {
        self.outbox.take(message, names);
    }

    /// Whether a text was taken nobody knows.
    pub fn doubt(&mut self, message: u128) {
        self.outbox.doubt(message);
    }

    /// A text waits to be handed over again.
    pub fn hand_again(&mut self, message: u128) {
        self.outbox.again(message);
    }

    /// From now on this right is not of the baseline any more: what is said of it next begins a conversation. Whether it was.
    pub fn release(&mut self, right: &RightKey) -> bool {
        self.live && self.baseline.remove(&name_of(right))
    }

    /// A centre says whether a part of a text arrived.
    pub fn deliver(&mut self, name: &str, reference: Option<u16>, phone: Phone, delivered: bool) {
        self.outbox.deliver(name, reference, phone, delivered);
    }

    /// The families as they were when the last business date ended.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }
    pub fn frontier(&self) -> Option<Epoch> {
        self.frontier
    }
    pub fn today(&self) -> Date {
        self.today
    }
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }
    /// The texts that were entered or went on since this was last asked.
    pub fn take_changed_texts(&mut self) -> Vec<Message> {
        self.outbox.take_changed()
    }
    /// Those about whose rights conversations began or went on since this was last asked.
    pub fn take_changed_people(&mut self) -> Vec<PersonId> {
        self.desk.take_changed()
    }
    /// These rights of somebody, once.
    pub fn take_changed_offers_of(&mut self, person: PersonId) -> Vec<RightKey> {
        self.desk.take_changed_of(person)
    }
    /// Whether people are written to.
    pub fn is_live(&self) -> bool {
        self.live
    }
    pub fn desk(&self) -> &Desk {
        &self.desk
    }
    /// What social workers have been told.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
    /// A hash over every change so far and their order.
    pub fn chain(&self) -> u128 {
        self.chain
    }
    /// How many decisions are in force.
    pub fn in_force(&self) -> usize {
        self.rights.len() + self.baseline.len()
    }

    /// Why nobody was written to about this right in its present round; `None` when they were, or there is no such right.
    pub fn held_back(&self, right: &RightKey) -> Option<HeldBack> {
        // A right is known in one place at most.
        if self.rights.contains_key(right) || self.doubted.contains_key(right) {
            return self.desk.held_back(right);
        }
        let name = name_of(right);
        (self.baseline.contains(&name) || self.baseline_doubted.contains(&name)).then_some(HeldBack::Baseline)
    }

    /// Of each of these changes, if it is of a right in force, why there is no conversation about that.
    pub fn silences_of(&self, changes: &[Change]) -> Vec<Option<Silence>> {
        let silence = |change: &Change| {
            let right = right_of(&change.decision);
            let name = name_of(&right);
            let baseline = self.baseline.contains(&name) || self.baseline_doubted.contains(&name);
            let nothing = || self.rights.get(&right).is_some_and(Option::is_none).then_some(Silence::NothingToOffer);
            if baseline { Some(Silence::HeldBack(HeldBack::Baseline)) } else { nothing() }
        };
        changes.iter().map(silence).collect()
    }

    /// How many decisions in force are not written about, by reason.
    pub fn silences(&self) -> BTreeMap<HeldBack, usize> {
        let mut silences = BTreeMap::new();
        for reason in self.rights.keys().filter_map(|right| self.desk.held_back(right)) {
            *silences.entry(reason).or_default() += 1;
        }
        if !self.baseline.is_empty() {
            silences.insert(HeldBack::Baseline, self.baseline.len());
        }
        silences
    }

    /// Accounts for every right in force that may be written about: how many were written about in their present round, or told to a
    /// social worker whom they concern, and how many not, by reason. The error is a right of which neither is known.
    pub fn account(&self) -> Result<(usize, BTreeMap<HeldBack, usize>), RightKey> {
        let written: HashSet<(&RightKey, u32)> =
            self.outbox.rows().iter().map(|message| (&message.text.right, message.text.round)).collect();
        let mut told = 0;
        for (right, standing) in &self.rights {
            if standing.is_none() || self.desk.held_back(right).is_some() {
                continue;
            }
            let conversation = self.desk.conversation(right).ok_or_else(|| right.clone())?;
            let to_worker = self.desk.terms().benefits[usize::from(right.benefit)].to_worker;
            if !to_worker && !written.contains(&(right, conversation.round)) {
                return Err(right.clone());
            }
            told += 1;
        }
        Ok((told, self.silences()))
    }

    fn set_today(&mut self, today: Date) {
        self.today = self.today.max(today);
        self.desk.set_today(self.today);
        let oldest = Date(self.today.0.saturating_sub(WINDOW_DAYS));
        self.baseline_lost.forget_before(oldest);
    }

    fn link(&mut self, epoch: Epoch, id: DecisionId, kind: ChangeKind) {
        let mut bytes = [0; 16 + 8 + 16 + 1];
        bytes[..16].copy_from_slice(&self.chain.to_le_bytes());
        bytes[16..24].copy_from_slice(&epoch.to_le_bytes());
        bytes[24..40].copy_from_slice(&id.0.to_le_bytes());
        bytes[40] = kind as u8;
        self.chain = xxh3_128(&bytes);
    }

    /// Whether a right is in force, or was until it was doubted.
    fn knows(&self, right: &RightKey) -> bool {
        let name = name_of(right);
        let baseline = self.baseline.contains(&name) || self.baseline_doubted.contains(&name);
        baseline || self.rights.contains_key(right) || self.doubted.contains_key(right)
    }

    /// Folds a change into the rights in force; what it means to the conversation, if it may have one.
    fn fold(&mut self, change: &Change) -> Option<Step<'static>> {
        let right = right_of(&change.decision);
        let name = name_of(&right);
        let was_baseline = self.baseline.remove(&name) | self.baseline_doubted.remove(&name);
        let before = self.rights.remove(&right).or_else(|| self.doubted.remove(&right));
        match change.kind {
            ChangeKind::Lost | ChangeKind::Refuted | ChangeKind::Sealed if was_baseline => {
                self.baseline_lost.insert(self.today, name);
                None
            }
            ChangeKind::Lost | ChangeKind::Refuted | ChangeKind::Sealed => before.map(|_| Step::Lost(right)),
            // Nothing is withdrawn and nothing offered until more is known: a loss never rests on silence.
            ChangeKind::Doubted if was_baseline => {
                self.baseline_doubted.insert(name);
                None
            }
            ChangeKind::Doubted => {
                let standing = before?;
                self.doubted.insert(right.clone(), standing);
                standing.map(|standing| Step::Held(right, Standing { certain: false, ..standing }))
            }
            ChangeKind::Gained | ChangeKind::Amount | ChangeKind::Attributes => {
                if was_baseline || before.is_none() && (!self.live || self.baseline_lost.take(name)) {
                    self.baseline.insert(name);
                    return None;
                }
                let standing = standing_of(&change.decision);
                self.rights.insert(right.clone(), standing);
                Some(standing.map_or(Step::Lost(right.clone()), |standing| Step::Held(right, standing)))
            }
        }
    }

    fn keep(&mut self, epoch: Epoch, actions: Vec<Action>, effects: &mut Effects) {
        for action in actions {
            match action {
                Action::Text(text) => {
                    let id = self.desk.terms().offer_hash(&text.right, text.round, text.kind.name());
                    let entered = self.outbox.enter(id, epoch, self.today, text);
                    debug_assert!(entered, "a conversation says nothing twice");
                    effects.texts += usize::from(entered);
                }
                Action::OpenCase(case) => effects.cases_opened.push(case),
                Action::WithdrawCase(id) => effects.cases_withdrawn.push(id),
                Action::Note(note) => {
                    self.notes.push(note.clone());
                    effects.notes.push(note);
                }
            }
        }
    }
}

/// The right that a decision answers.
pub fn right_of(decision: &Decision) -> RightKey {
    RightKey { person: decision.person, benefit: decision.benefit, ground: decision.ground.clone(), period: decision.period }
}

/// A hash of a right: two of a country's are not the same.
fn name_of(right: &RightKey) -> u128 {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(right.person.to_le_bytes());
    bytes.extend(right.benefit.to_le_bytes());
    bytes.extend(right.period.0.to_le_bytes());
    if let Ground::Record(register, key) = &right.ground {
        bytes.extend(register.to_le_bytes());
        bytes.extend(key.as_bytes());
    }
    xxh3_128(&bytes)
}

/// What there is to offer; nothing where the answer was a refusal.
fn standing_of(decision: &Decision) -> Option<Standing> {
    let certain = match decision.outcome {
        Outcome::Eligible | Outcome::Notice => true,
        Outcome::Undetermined | Outcome::InDoubt => false,
        Outcome::Refused => return None,
    };
    let Decision { amount, from, until, addressee, proactive, .. } = *decision;
    Some(Standing { certain, amount, from, until, addressee, proactive })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Within the window a right is there once, on the day on which it was lost last, and is kept as it was kept before there were two ways to it.
    #[test]
    fn rights_lost_lately_are_found_once_and_forgotten_after_the_window() {
        let mut lost = LostLately::default();
        (1..=4).for_each(|name| lost.insert(Date(10), name));
        assert!(lost.take(2) && !lost.take(2) && !lost.take(9));
        lost.insert(Date(20), 2);
        assert!(lost.take(3));
        lost.forget_before(Date(11));
        // Whatever was lost again since is not forgotten with the first time.
        assert!(!lost.take(1) && !lost.take(4) && lost.take(2));
        assert!(lost.days.is_empty() && lost.rights.len() == 1);
    }
}
