//! One right's conversation: a pure state machine.
//!
//! ```text
//! Eligible ──offer──> Sent1 ──yes──> Consented ──account known──> Case ──approved──> Assigned ──> Paid
//!    │                  │ ├─no──> Declined (90 days)   │            └─refused──> Rejected
//!    │                  │ └─3 days─> Sent2 ──3 days──> NoAnswer (30 days)
//!    │                  │              └─yes, no as above
//!    └─right lost─> Suppressed             Consented ──no account──> WaitAccount ──3 days twice──> NoAccount (30 days)
//! a right lost for more than 3 days ──> Withdrawn       another channel assigns ──> AssignedOther
//! an unclear reply ──> one clarification                death of the recipient ──> ClosedDeath
//! ```
//!
//! (domain.md 6.2.) [`step`] decides; whoever calls it acts. A day is a date step: 72 hours are three of them.

use super::terms::BenefitTerms;
use dataflows::model::{Date, PersonId};
use dataflows::policy::Period;
use serde::{Deserialize, Serialize};

/// Date steps to wait for an answer, or for a lost right to come back.
pub const WINDOW_DAYS: i32 = 3;
const DECLINED_DAYS: i32 = 90;
const SILENT_DAYS: i32 = 30;

/// A mobile number, as digits.
pub type Phone = u64;

/// A right as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// False while the data leave it in doubt: nothing new is said then, and nothing is taken back.
    pub certain: bool,
    pub amount: i64,
    pub from: Date,
    pub until: Date,
    /// Who is written to; zero: nobody.
    pub addressee: PersonId,
    /// No offer before this day; `Date::NEVER`: none at all.
    pub proactive: Date,
}

/// Where a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Nothing sent in this round.
    Eligible,
    /// There is nobody to write to, or no number: a social worker has been told.
    NoPhone,
    /// Told; no answer is expected.
    Noticed,
    /// Waiting for an answer to the offer, to the repeat.
    Sent1 {
        on: Date,
    },
    Sent2 {
        on: Date,
    },
    Declined,
    NoAnswer,
    /// A yes; on its way to the agency, held back only while the right is.
    Consented,
    /// Asked for an account number; `repeated` once.
    WaitAccount {
        on: Date,
        repeated: bool,
    },
    NoAccount,
    /// With the agency.
    Case,
    Assigned,
    Rejected,
    Paid,
    /// The right was lost after something was said, before it was said.
    Withdrawn,
    Suppressed,
    /// Assigned without our case.
    AssignedOther,
    ClosedDeath,
}

impl Stage {
    /// Every stage's name, in the order of the funnel.
    pub const NAMES: [&str; 18] = [
        "eligible",
        "no_phone",
        "noticed",
        "sent1",
        "sent2",
        "declined",
        "no_answer",
        "consented",
        "wait_account",
        "no_account",
        "case",
        "assigned",
        "rejected",
        "paid",
        "withdrawn",
        "suppressed",
        "assigned_other",
        "closed_death",
    ];

    pub fn name(self) -> &'static str {
        Stage::NAMES[self.position()]
    }

    /// Index into [`Stage::NAMES`].
    pub fn position(self) -> usize {
        match self {
            Stage::Eligible => 0,
            Stage::NoPhone => 1,
            Stage::Noticed => 2,
            Stage::Sent1 { .. } => 3,
            Stage::Sent2 { .. } => 4,
            Stage::Declined => 5,
            Stage::NoAnswer => 6,
            Stage::Consented => 7,
            Stage::WaitAccount { .. } => 8,
            Stage::NoAccount => 9,
            Stage::Case => 10,
            Stage::Assigned => 11,
            Stage::Rejected => 12,
            Stage::Paid => 13,
            Stage::Withdrawn => 14,
            Stage::Suppressed => 15,
            Stage::AssignedOther => 16,
            Stage::ClosedDeath => 17,
        }
    }

    /// Waits for a yes or a no.
    pub fn awaits_answer(self) -> bool {
        matches!(self, Stage::Sent1 { .. } | Stage::Sent2 { .. })
    }
    /// Waits for anything from the person: counts as an open offer.
    pub fn is_open(self) -> bool {
        self.awaits_answer() || matches!(self, Stage::WaitAccount { .. })
    }
    /// Something was said, or is paid: a lost right is waited for, then the offer withdrawn and the agency's payment questioned.
    fn ends_with_its_right(self) -> bool {
        self.is_open() || matches!(self, Stage::Consented | Stage::Case | Stage::Assigned | Stage::Paid | Stage::AssignedOther)
    }
}

/// What text it is. Within a round of an offer each is sent at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Offer,
    Repeat,
    Notice,
    Account,
    AccountRepeat,
    Unclear,
    Declined,
    Lapsed,
    Assigned,
    Rejected,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Offer,
        Kind::Repeat,
        Kind::Notice,
        Kind::Account,
        Kind::AccountRepeat,
        Kind::Unclear,
        Kind::Declined,
        Kind::Lapsed,
        Kind::Assigned,
        Kind::Rejected,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Offer => "offer",
            Kind::Repeat => "repeat",
            Kind::Notice => "notice",
            Kind::Account => "account",
            Kind::AccountRepeat => "account_repeat",
            Kind::Unclear => "unclear",
            Kind::Declined => "declined",
            Kind::Lapsed => "lapsed",
            Kind::Assigned => "assigned",
            Kind::Rejected => "rejected",
        }
    }
    /// Speaks of itself, rather than in answer: one a person a day.
    pub fn is_unasked(self) -> bool {
        matches!(self, Kind::Offer | Kind::Repeat | Kind::Notice)
    }
    /// What goes first where not everything may leave: answers, then what is waited for, then what begins.
    pub fn class(self) -> u8 {
        match self {
            Kind::Offer | Kind::Notice => 2,
            Kind::Repeat | Kind::AccountRepeat => 1,
            _ => 0,
        }
    }
    /// Asks the person to do something for a right: checked once more before it leaves.
    pub fn needs_right(self) -> bool {
        self.is_unasked() || matches!(self, Kind::Account | Kind::AccountRepeat)
    }
}

/// What happens to a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The right began, came back, or has other terms.
    Held(Standing),
    Lost,
    /// The dispatcher lets the first text of a round go, to this number, with this tag.
    Offer {
        phone: Phone,
        tag: u8,
    },
    /// There is no number to write to.
    Unreachable,
    /// A number became known.
    Reachable,
    /// A day may have passed.
    Tick,
    /// The answer, and a hash of the reply's text.
    Yes(Consent),
    No,
    Unclear,
    AccountKnown,
    /// An agency says that the benefit is held.
    Assigned,
    Refused(Box<str>),
    Paid,
    Died,
    /// The last check before sending stopped this text.
    NotSent(Kind),
}

/// What a conversation wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Text(Kind),
    OpenCase,
    WithdrawCase,
    Note(NoteKind),
}

/// Why a social worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoteKind {
    /// A right, and no adult to write to.
    NoAddressee,
    NoPhone,
    NoAccount,
    /// A reply from this number fits no open offer.
    LateReply,
    /// A reply was clarified, and the next one is not understood either: somebody should read it.
    Unreadable,
    /// What concerns the worker, not the family, holds; and holds no longer.
    Alert,
    AlertOver,
    /// A right that is paid again and again is lost while an agency still holds it assigned: what it pays from here on, and for the
    /// time that the loss reaches back, is overpaid (domain 2.3, E32). What is given once was given; that its condition passes with
    /// time takes nothing back, and is not told apart from an act that is withdrawn.
    Overpaid,
}

impl NoteKind {
    pub fn name(self) -> &'static str {
        match self {
            NoteKind::NoAddressee => "no_addressee",
            NoteKind::NoPhone => "no_phone",
            NoteKind::NoAccount => "no_account",
            NoteKind::LateReply => "late_reply",
            NoteKind::Unreadable => "unreadable",
            NoteKind::Alert => "alert",
            NoteKind::AlertOver => "alert_over",
            NoteKind::Overpaid => "overpaid",
        }
    }
}

/// Why nothing is sent now for a right that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldBack {
    /// Loaded before going live.
    Baseline,
    NotProactive,
    /// The amount rests on no source, and nobody answers for it.
    Assumed,
    /// Given without asking, and there is no text to tell it with.
    Automatic,
    /// Whoever has the right or would be written to is said to have two numbers: which of their records are theirs is open.
    TwoNumbers,
    /// Whoever would be written to wants no texts.
    OptedOut,
    InDoubt,
    NoAddressee,
    NoPhone,
    Debounce,
    CoolOff,
    /// An agency already pays it.
    Assigned,
    /// Waits for its day: another text of today, or three open offers.
    Limit,
    /// The agency refused; only a new right is offered again.
    Rejected,
    /// The recipient is dead, though the right is still held.
    Died,
}

impl HeldBack {
    pub fn name(self) -> &'static str {
        match self {
            HeldBack::Baseline => "baseline",
            HeldBack::NotProactive => "not_proactive",
            HeldBack::Assumed => "assumed",
            HeldBack::Automatic => "automatic",
            HeldBack::TwoNumbers => "two_numbers",
            HeldBack::OptedOut => "opted_out",
            HeldBack::InDoubt => "in_doubt",
            HeldBack::NoAddressee => "no_addressee",
            HeldBack::NoPhone => "no_phone",
            HeldBack::Debounce => "debounce",
            HeldBack::CoolOff => "cool_off",
            HeldBack::Assigned => "assigned",
            HeldBack::Limit => "limit",
            HeldBack::Rejected => "rejected",
            HeldBack::Died => "died",
        }
    }
}

/// A yes, as it must be proven later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The business date.
    pub on: Date,
    /// By the clock, in seconds since the beginning of 1970, if that is known.
    pub at: Option<u64>,
    pub reply_hash: u64,
}

/// What surrounds a conversation when something happens to it.
pub struct Context<'a> {
    pub today: Date,
    pub terms: &'a BenefitTerms,
    /// See [`Terms::allow_assumed`](super::terms::Terms::allow_assumed).
    pub allow_assumed: bool,
    /// There is a text to tell this benefit with, where it needs no consent.
    pub tellable: bool,
    pub account_known: bool,
    /// An agency says that the benefit is held now.
    pub assigned: bool,
    /// Somebody concerned is said to have two numbers.
    pub two_numbers: bool,
    /// The addressee has said that they want no texts.
    pub opted_out: bool,
    /// Where the addressee can be reached, and whether they have had no unasked text today.
    pub phone: Option<Phone>,
    pub day_free: bool,
}

/// One right's conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Offers made of this right, the open one included.
    pub round: u32,
    pub stage: Stage,
    pub standing: Standing,
    /// Since when the right holds without a break.
    pub since: Date,
    /// Since when it does not.
    pub lost: Option<Date>,
    /// No new round before this day.
    pub quiet_until: Date,
    /// Where the texts of this round go, and their tag.
    pub phone: Option<Phone>,
    pub tag: u8,
    pub consent: Option<Consent>,
    clarified: bool,
    pub refusal: Option<Box<str>>,
}

impl Conversation {
    /// About a right that begins today.
    pub fn begin(standing: Standing, today: Date) -> Self {
        Conversation {
            round: 0,
            stage: Stage::Eligible,
            standing,
            since: today,
            lost: None,
            quiet_until: Date::BEFORE_ALL,
            phone: None,
            tag: 0,
            consent: None,
            clarified: false,
            refusal: None,
        }
    }

    /// The right holds, beyond doubt.
    pub fn holds(&self) -> bool {
        self.lost.is_none() && self.standing.certain
    }

    /// Whether a first text may go, limits and numbers aside; else why not.
    pub fn ready(&self, context: &Context) -> Result<(), HeldBack> {
        if !self.holds() {
            Err(HeldBack::InDoubt)
        } else if context.terms.to_worker {
            Ok(())
        } else if context.today < self.standing.proactive {
            Err(HeldBack::NotProactive)
        } else if context.terms.assumed && !context.allow_assumed {
            Err(HeldBack::Assumed)
        } else if !context.terms.consent && !context.tellable {
            Err(HeldBack::Automatic)
        } else if context.two_numbers {
            Err(HeldBack::TwoNumbers)
        } else if context.opted_out {
            Err(HeldBack::OptedOut)
        } else if context.today < self.debounced(context.terms) {
            Err(HeldBack::Debounce)
        } else if context.today < self.quiet_until {
            Err(HeldBack::CoolOff)
        } else {
            Ok(())
        }
    }

    /// The day on which the right will have held long enough.
    fn debounced(&self, terms: &BenefitTerms) -> Date {
        Date(self.since.0.saturating_add(terms.debounce_days))
    }

    /// The next day on which a tick may do something; `None` when only news can.
    pub fn next_look(&self, terms: &BenefitTerms) -> Option<Date> {
        if let Some(lost) = self.lost {
            return self.stage.ends_with_its_right().then(|| after_window(lost));
        }
        match self.stage {
            Stage::Sent1 { on } | Stage::Sent2 { on } | Stage::WaitAccount { on, .. } => Some(after_window(on)),
            Stage::Declined | Stage::NoAnswer | Stage::NoAccount => Some(self.quiet_until),
            Stage::Eligible if self.standing.proactive < Date::NEVER => {
                Some(self.debounced(terms).max(self.quiet_until).max(self.standing.proactive))
            }
            _ => None,
        }
    }

    fn text(&self, kind: Kind) -> Vec<Act> {
        let allowed = if kind.needs_right() { self.holds() } else { self.lost.is_none() };
        if allowed { vec![Act::Text(kind)] } else { Vec::new() }
    }

    /// Ends the round, and lets no new one begin for so many days.
    fn close(&mut self, stage: Stage, today: Date, quiet_days: i32) {
        self.stage = stage;
        self.quiet_until = Date(today.0 + quiet_days);
    }
}

/// What becomes of a conversation, and what is to be done.
pub fn step(mut conversation: Conversation, event: Event, context: &Context) -> (Conversation, Vec<Act>) {
    let acts = match event {
        Event::Held(standing) => held(&mut conversation, standing, context),
        Event::Lost => lost(&mut conversation, context),
        Event::Offer { phone, tag } => offer(&mut conversation, phone, tag, context),
        Event::Unreachable => unreachable(&mut conversation),
        Event::Reachable => reachable(&mut conversation),
        Event::Tick => tick(&mut conversation, context),
        Event::Yes(consent) => yes(&mut conversation, consent, context),
        Event::No => no(&mut conversation, context.today),
        Event::Unclear => unclear(&mut conversation),
        Event::AccountKnown => account_known(&mut conversation, context),
        Event::Assigned => assigned(&mut conversation),
        Event::Refused(reason) => refused(&mut conversation, reason),
        Event::Paid => paid(&mut conversation),
        Event::Died => died(&mut conversation),
        Event::NotSent(kind) => not_sent(&mut conversation, kind),
    };
    (conversation, acts)
}

/// The right holds. Back within the window, everything stays as it was; later it is a new right.
fn held(conversation: &mut Conversation, standing: Standing, context: &Context) -> Vec<Act> {
    let mut acts = Vec::new();
    let before = std::mem::replace(&mut conversation.standing, standing);
    if conversation.stage == Stage::NoPhone && before.addressee != standing.addressee {
        conversation.stage = Stage::Eligible;
    }
    if let Some(lost_on) = conversation.lost.take() {
        if context.today > after_window(lost_on) && conversation.stage.ends_with_its_right() {
            acts.extend(withdraw(conversation, context));
        }
        conversation.since = context.today;
        let begins_anew = match conversation.stage {
            Stage::Withdrawn | Stage::Suppressed | Stage::ClosedDeath | Stage::Rejected | Stage::Noticed => true,
            Stage::Paid | Stage::AssignedOther => !context.assigned,
            _ => false,
        };
        if begins_anew {
            conversation.stage = Stage::Eligible;
        }
    } else if standing.certain && !before.certain && conversation.stage == Stage::Eligible {
        conversation.since = context.today;
    }
    if conversation.stage == Stage::Eligible && context.assigned {
        conversation.stage = Stage::AssignedOther;
    }
    acts.extend(proceed(conversation, context));
    acts
}

fn lost(conversation: &mut Conversation, context: &Context) -> Vec<Act> {
    if conversation.lost.is_some() {
        return Vec::new();
    }
    conversation.lost = Some(context.today);
    match conversation.stage {
        Stage::Eligible | Stage::NoPhone => conversation.stage = Stage::Suppressed,
        Stage::Noticed if context.terms.to_worker => return vec![Act::Note(NoteKind::AlertOver)],
        _ => {}
    }
    Vec::new()
}

fn offer(conversation: &mut Conversation, phone: Phone, tag: u8, context: &Context) -> Vec<Act> {
    conversation.round += 1;
    conversation.phone = Some(phone);
    conversation.tag = tag;
    conversation.consent = None;
    conversation.clarified = false;
    conversation.refusal = None;
    if context.terms.consent {
        conversation.stage = Stage::Sent1 { on: context.today };
        conversation.text(Kind::Offer)
    } else {
        conversation.close(Stage::Noticed, context.today, SILENT_DAYS);
        conversation.text(Kind::Notice)
    }
}

fn unreachable(conversation: &mut Conversation) -> Vec<Act> {
    if conversation.stage == Stage::NoPhone {
        return Vec::new();
    }
    conversation.stage = Stage::NoPhone;
    let why = if conversation.standing.addressee == 0 { NoteKind::NoAddressee } else { NoteKind::NoPhone };
    vec![Act::Note(why)]
}

fn reachable(conversation: &mut Conversation) -> Vec<Act> {
    if conversation.stage == Stage::NoPhone {
        conversation.stage = Stage::Eligible;
    }
    Vec::new()
}

/// Timers. Doubt stops those that would speak; a lost right has a timer of its own.
fn tick(conversation: &mut Conversation, context: &Context) -> Vec<Act> {
    let due = |on: Date| context.today >= after_window(on);
    if let Some(lost_on) = conversation.lost {
        return if due(lost_on) && conversation.stage.ends_with_its_right() { withdraw(conversation, context) } else { Vec::new() };
    }
    if !conversation.standing.certain && conversation.stage.is_open() {
        return Vec::new();
    }
    match conversation.stage {
        Stage::Eligible if context.terms.to_worker && conversation.ready(context).is_ok() => {
            conversation.stage = Stage::Noticed;
            vec![Act::Note(NoteKind::Alert)]
        }
        Stage::Sent1 { on } if due(on) => repeat(conversation, context),
        Stage::Sent2 { on } if due(on) => {
            conversation.close(Stage::NoAnswer, context.today, SILENT_DAYS);
            conversation.text(Kind::Lapsed)
        }
        Stage::WaitAccount { on, repeated: false } if due(on) => {
            conversation.stage = Stage::WaitAccount { on: context.today, repeated: true };
            conversation.text(Kind::AccountRepeat)
        }
        Stage::WaitAccount { on, repeated: true } if due(on) => {
            conversation.close(Stage::NoAccount, context.today, SILENT_DAYS);
            vec![Act::Note(NoteKind::NoAccount)]
        }
        Stage::Declined | Stage::NoAnswer | Stage::NoAccount if context.today >= conversation.quiet_until => {
            conversation.stage = Stage::Eligible;
            Vec::new()
        }
        Stage::Assigned | Stage::Paid | Stage::AssignedOther if !context.assigned => {
            conversation.stage = Stage::Eligible;
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// The second text, when the person's day is free; it goes where the addressee can be reached now.
fn repeat(conversation: &mut Conversation, context: &Context) -> Vec<Act> {
    match context.phone {
        None => unreachable(conversation),
        // Asked at another number, before they wrote from this one that they want no texts.
        Some(_) if context.opted_out => {
            conversation.close(Stage::NoAnswer, context.today, SILENT_DAYS);
            Vec::new()
        }
        Some(_) if !context.day_free || context.two_numbers => Vec::new(),
        Some(phone) => {
            conversation.phone = Some(phone);
            conversation.stage = Stage::Sent2 { on: context.today };
            conversation.text(Kind::Repeat)
        }
    }
}

fn yes(conversation: &mut Conversation, consent: Consent, context: &Context) -> Vec<Act> {
    if !conversation.stage.awaits_answer() {
        return Vec::new();
    }
    conversation.stage = Stage::Consented;
    conversation.consent = Some(consent);
    proceed(conversation, context)
}

fn no(conversation: &mut Conversation, today: Date) -> Vec<Act> {
    if !conversation.stage.awaits_answer() {
        return Vec::new();
    }
    conversation.close(Stage::Declined, today, DECLINED_DAYS);
    conversation.text(Kind::Declined)
}

/// One clarification a round; the timer is not extended.
fn unclear(conversation: &mut Conversation) -> Vec<Act> {
    if !conversation.stage.awaits_answer() {
        return Vec::new();
    }
    if std::mem::replace(&mut conversation.clarified, true) {
        return vec![Act::Note(NoteKind::Unreadable)];
    }
    conversation.text(Kind::Unclear)
}

/// From a yes to the agency, as soon as the right holds and there is an account to pay into.
fn proceed(conversation: &mut Conversation, context: &Context) -> Vec<Act> {
    if conversation.stage != Stage::Consented || !conversation.holds() {
        return Vec::new();
    }
    if conversation.standing.amount > 0 && !context.account_known {
        conversation.stage = Stage::WaitAccount { on: context.today, repeated: false };
        return conversation.text(Kind::Account);
    }
    conversation.stage = Stage::Case;
    vec![Act::OpenCase]
}

/// An account ends the wait for it, and a wait that was given up: the yes still stands.
fn account_known(conversation: &mut Conversation, context: &Context) -> Vec<Act> {
    if !matches!(conversation.stage, Stage::WaitAccount { .. } | Stage::NoAccount) {
        return Vec::new();
    }
    conversation.stage = Stage::Consented;
    proceed(conversation, context)
}

fn assigned(conversation: &mut Conversation) -> Vec<Act> {
    match conversation.stage {
        Stage::Case => {
            conversation.stage = Stage::Assigned;
            conversation.text(Kind::Assigned)
        }
        // What was withdrawn is no right: it is looked at again when it is one.
        Stage::Assigned | Stage::Paid | Stage::ClosedDeath | Stage::Withdrawn => Vec::new(),
        _ => {
            conversation.stage = Stage::AssignedOther;
            Vec::new()
        }
    }
}

fn refused(conversation: &mut Conversation, reason: Box<str>) -> Vec<Act> {
    if conversation.stage != Stage::Case {
        return Vec::new();
    }
    conversation.stage = Stage::Rejected;
    conversation.refusal = Some(reason);
    conversation.text(Kind::Rejected)
}

fn paid(conversation: &mut Conversation) -> Vec<Act> {
    if conversation.stage == Stage::Assigned {
        conversation.stage = Stage::Paid;
    }
    Vec::new()
}

fn died(conversation: &mut Conversation) -> Vec<Act> {
    let acts = stop_the_case(conversation);
    conversation.stage = Stage::ClosedDeath;
    acts
}

/// An offer that never left is no offer; a right that is only in doubt may be offered again.
fn not_sent(conversation: &mut Conversation, kind: Kind) -> Vec<Act> {
    if matches!(kind, Kind::Offer | Kind::Notice) {
        conversation.stage = if conversation.lost.is_some() { Stage::Suppressed } else { Stage::Eligible };
    }
    Vec::new()
}

/// The right is lost for good: the offer is taken back, and the case where one is open.
fn withdraw(conversation: &mut Conversation, context: &Context) -> Vec<Act> {
    let mut acts = stop_the_case(conversation);
    if context.assigned && context.terms.period != Period::Once {
        acts.push(Act::Note(NoteKind::Overpaid));
    }
    conversation.stage = Stage::Withdrawn;
    acts
}

fn stop_the_case(conversation: &Conversation) -> Vec<Act> {
    if matches!(conversation.stage, Stage::Case | Stage::Assigned) { vec![Act::WithdrawCase] } else { Vec::new() }
}

fn after_window(day: Date) -> Date {
    Date(day.0 + WINDOW_DAYS)
}
