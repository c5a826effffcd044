//! What an epoch brings to the ledger's file: whole, so that whoever writes it needs neither the engine nor the ledger, which may have gone on by then.

use super::{Effects, Ledger, Message, Silence};
use crate::dispatch::{Consent, Conversation, Phone, RightKey, Terms};
use crate::engine::regions::Regions;
use crate::engine::{Engine, EpochOutput};
use crate::journal::Own;
use crate::sources::Quarantined;
use dataflows::model::{Change, Date, Epoch, HouseholdKey, Ignored, Move, PersonId, Rejudged, Role, Scores};
use dataflows::policy::Policy;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Of so many offers people are asked together where they live.
const OFFERS_TOGETHER: usize = 4096;

pub struct Page {
    pub epoch: Epoch,
    pub date: Date,
    /// Whether people are written to, and the chain of changes, after it.
    pub live: bool,
    pub chain: u128,
    /// In whose names its rows are, and in which terms its rights.
    pub policy: Arc<Policy>,
    pub terms: Arc<Terms>,
    /// If another policy came into force with it: the one before, and what ended for that, in its names.
    pub former: Option<(Arc<Policy>, Vec<Change>)>,
    pub changes: Vec<Change>,
    /// Of each change why there is no conversation about the right, if there is none.
    pub silences: Vec<Option<Silence>>,
    pub moves: Vec<Move>,
    pub rejudged: Vec<Rejudged>,
    /// Families as they stand, where all of them are other than before.
    pub families: Option<Families>,
    pub texts: Vec<Message>,
    /// Conversations that began or went on.
    pub offers: Vec<Offer>,
    /// Cases that were opened or withdrawn, what is to be paid, and what social workers are told.
    pub effects: Effects,
    pub refused: Vec<Quarantined>,
    pub own: Vec<Own>,
    pub ignored: Ignored,
    /// Records whose retention had ended when they came.
    pub expired: u64,
}

/// Who lives with whom, and how each household stands, in the order of households.
pub struct Families {
    pub members: Vec<(HouseholdKey, Vec<(PersonId, Role)>)>,
    pub scores: Vec<(HouseholdKey, Scores)>,
}

/// Where a conversation is.
pub struct Offer {
    pub right: RightKey,
    pub round: u32,
    pub stage: &'static str,
    pub since: Date,
    pub lost: Option<Date>,
    pub quiet_until: Date,
    pub phone: Option<Phone>,
    pub consent: Option<Box<Consent>>,
    pub refusal: Option<Box<str>>,
    /// Why nobody is written to.
    pub silent: Option<&'static str>,
    pub region: Option<Arc<str>>,
    /// By its place in the terms.
    pub language: Option<usize>,
}

impl Page {
    /// What an epoch of an engine brings, which is taken out of its output, and what it led to in the ledger: effects, and the texts and conversations that
    /// changed since this was last asked. `silences` are those of its changes.
    pub fn of(
        output: &mut EpochOutput,
        (silences, effects): (Vec<Option<Silence>>, Effects),
        (ledger, engine): (&mut Ledger, &mut Engine),
        regions: &mut Option<Regions>,
    ) -> Page {
        let (texts, changed) = (ledger.take_changed_texts(), ledger.take_changed_offers());
        Page {
            epoch: output.epoch,
            date: output.date,
            live: ledger.is_live(),
            chain: ledger.chain(),
            policy: engine.policy().clone(),
            terms: ledger.desk().shared_terms(),
            former: None,
            changes: std::mem::take(&mut output.changes),
            silences,
            moves: std::mem::take(&mut output.moves),
            rejudged: std::mem::take(&mut output.rejudged),
            families: output.is_first.then(|| Families::of(engine)),
            texts,
            offers: offers(ledger, engine, regions, changed),
            effects,
            refused: Vec::new(),
            own: Vec::new(),
            ignored: output.ignored,
            expired: 0,
        }
    }

    /// About how many rows it has that cannot wait: who moved or is judged otherwise can, for a moment.
    pub fn rows(&self) -> usize {
        let told = self.changes.len() + self.refused.len() + self.texts.len() + self.offers.len() + self.own.len();
        let Effects { cases_opened, cases_withdrawn, payments, notes, .. } = &self.effects;
        let done = cases_opened.len() + cases_withdrawn.len() + payments.len() + notes.len();
        let ended = self.former.as_ref().map_or(0, |(_, ended)| 1 + ended.len());
        let families = self.families.as_ref().map_or(0, |families| 1 + families.members.len() + families.scores.len());
        told + done + ended + families + usize::from(self.ignored != Ignored::default() || self.expired > 0)
    }

    /// About how many rows it has in all.
    pub fn size(&self) -> usize {
        self.rows() + self.moves.len() + self.rejudged.len()
    }
}

impl Families {
    /// All families as they stand.
    pub fn of(engine: &mut Engine) -> Families {
        let members = engine.households().collect();
        let scores = engine.judgements().map(|(household, _, judgement)| (household, judgement.scores())).collect();
        Families { members, scores }
    }
}

/// Where the conversations about these rights are.
fn offers(ledger: &Ledger, engine: &Engine, regions: &mut Option<Regions>, rights: BTreeSet<RightKey>) -> Vec<Offer> {
    if rights.is_empty() {
        return Vec::new();
    }
    let (desk, now) = (ledger.desk(), engine.circumstances());
    let known = regions.take().filter(|regions| regions.are_of(engine.policy()));
    let regions = regions.insert(known.unwrap_or_else(|| Regions::new(engine.policy(), &now)));
    regions.turn_to(&now);
    // What a social worker is told is written to nobody.
    let to_worker = |right: &RightKey| desk.terms().benefit(right.benefit).to_worker.then_some("to_worker");
    let mut offers = Vec::with_capacity(rights.len());
    let mut rights = rights.into_iter().peekable();
    // All are asked for together: on the first day of a quarter there are millions.
    while rights.peek().is_some() {
        let together: Vec<RightKey> = rights.by_ref().take(OFFERS_TOGETHER).collect();
        let files = engine.files(&together.iter().map(|right| right.person).collect());
        for right in together {
            let Some(conversation) = desk.conversation(&right) else { continue };
            let region = files.get(&right.person).and_then(|(file, place)| regions.read(right.person, file, place.role));
            let Conversation { round, stage, since, lost, quiet_until, phone, consent, refusal, .. } = conversation;
            offers.push(Offer {
                round: *round,
                stage: stage.name(),
                since: *since,
                lost: *lost,
                quiet_until: *quiet_until,
                phone: *phone,
                consent: consent.map(Box::new),
                refusal: refusal.clone(),
                silent: ledger.held_back(&right).map_or_else(|| to_worker(&right), |reason| Some(reason.name())),
                region,
                language: desk.language_known(conversation.standing.addressee),
                right,
            });
        }
    }
    offers
}
