//! What an epoch brings to the ledger's file: whole, so that whoever writes it needs neither the engine nor the ledger, which may have gone on by then.

use super::{Effects, Ledger, Message, Silence};
use crate::dispatch::{Consent, Conversation, Phone, RightKey, Stage, Terms};
use crate::engine::regions::Regions;
use crate::engine::{Engine, EpochOutput};
use crate::journal::Own;
use crate::sources::Quarantined;
use dataflows::model::{Change, Date, Epoch, HouseholdKey, Ignored, Move, PersonId, Rejudged, Role, Scores};
use dataflows::policy::Policy;
use std::num::NonZero;
use std::sync::Arc;

/// So many people are asked together where they live.
const PEOPLE_TOGETHER: usize = 4096;

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
    pub regions: Arc<[String]>,
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

/// Where a conversation is: on the first day of a quarter there are millions of them in memory.
pub struct Offer {
    pub right: RightKey,
    pub round: u32,
    pub stage: Stage,
    pub since: Date,
    pub lost: Option<Date>,
    pub quiet_until: Date,
    pub phone: Option<NonZero<Phone>>,
    /// Where anybody said something.
    pub answers: Option<Box<Answers>>,
    /// Why nobody is written to.
    pub silence: Option<Silence>,
    /// Where the person lives, by its place among the page's regions, and their language, by its place in the terms.
    pub region: Option<u16>,
    pub language: Option<u8>,
}

/// The yes, and why the agency refused.
pub struct Answers {
    pub consent: Option<Consent>,
    pub refusal: Option<Box<str>>,
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
        let people = ledger.take_changed_people();
        let (offers, regions) = if people.is_empty() { Default::default() } else { offers(ledger, engine, regions, &people) };
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
            texts: ledger.take_changed_texts(),
            offers,
            regions,
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

/// Where the conversations about these people's rights are that began or went on since this was last asked, and what their regions are called.
fn offers(ledger: &mut Ledger, engine: &Engine, regions: &mut Option<Regions>, people: &[PersonId]) -> (Vec<Offer>, Arc<[String]>) {
    let now = engine.circumstances();
    let known = regions.take().filter(|regions| regions.are_of(engine.policy()));
    let regions = regions.insert(known.unwrap_or_else(|| Regions::new(engine.policy(), &now)));
    regions.turn_to(&now);
    let mut offers = Vec::with_capacity(people.len());
    // All are asked for together: on the first day of a quarter there are millions.
    for people in people.chunks(PEOPLE_TOGETHER) {
        let files = engine.files(&people.iter().copied().collect());
        for &person in people {
            let region = files.get(&person).and_then(|(file, place)| regions.read(person, file, place.role));
            let rights = ledger.take_changed_offers_of(person);
            offers.extend(rights.into_iter().filter_map(|right| offer(ledger, right, region)));
        }
    }
    (offers, regions.words())
}

fn offer(ledger: &Ledger, right: RightKey, region: Option<u16>) -> Option<Offer> {
    let desk = ledger.desk();
    let Conversation { round, stage, standing, since, lost, quiet_until, phone, consent, refusal, .. } = desk.conversation(&right)?;
    // What a social worker is told is written to nobody.
    let to_worker = || desk.terms().benefit(right.benefit).to_worker.then_some(Silence::ToWorker);
    let is_answered = consent.is_some() || refusal.is_some();
    Some(Offer {
        round: *round,
        stage: *stage,
        since: *since,
        lost: *lost,
        quiet_until: *quiet_until,
        phone: phone.and_then(NonZero::new),
        answers: is_answered.then(|| Box::new(Answers { consent: *consent, refusal: refusal.clone() })),
        silence: ledger.held_back(&right).map_or_else(to_worker, |reason| Some(Silence::HeldBack(reason))),
        region,
        language: desk.language_known(standing.addressee),
        right,
    })
}
