//! What is written to whom. [`World`] is the one harness: it makes changes as the house would, feeds them to a ledger, and
//! remembers what it did in the simplest form, so that checks need not ask the ledger what it believes.

use dataflows::model::{Change, ChangeKind, Date, Decision, Ground, HouseholdKey, Outcome, PersonId, PersonKind, Renumbering};
use dataflows::policy::Period;
use fixtures::phones::{Ask, Funnel, Incoming, MINUTES_PER_DAY, Network, Submission, Weather};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use shanyraq::dispatch::{BenefitTerms, Heard, HeldBack, Kind, NoteKind, OPEN_OFFERS_MAX, Order, Phone, RightKey, Stage, Terms};
use shanyraq::ledger::{Effects, Ledger, Message, Resettled};
use std::collections::{BTreeMap, BTreeSet};

const MONDAY: Date = Date(20_486);

const CHILD: u16 = 0;
const INCOME: u16 = 1;
const DRAFT: u16 = 2;
const NEVER_OFFERED: u16 = 3;
const BIRTH: u16 = 4;
const SILENT: u16 = 5;
const LATER: u16 = 6;
const CARE: u16 = 7;
const ASSUMED: u16 = 8;
const ALERT: u16 = 9;
const MEAL: u16 = 10;
const BENEFITS: u16 = 9;

fn terms() -> Terms {
    let texts = |kk: &str, ru: &str| BTreeMap::from([("kk".to_string(), kk.to_string()), ("ru".to_string(), ru.to_string())]);
    let benefit = |id: &str, period, consent, debounce_days, priority| BenefitTerms {
        id: id.to_string(),
        title: texts(&format!("{id} (kk)"), &format!("{id} (ru)")),
        period,
        consent,
        debounce_days,
        priority,
        in_kind: id == "meal",
        monthly: id == "child",
        to_worker: id == "alert",
        assumed: id == "assumed",
    };
    Terms {
        person: PersonKind::Integer,
        languages: vec!["kk".into(), "ru".into()],
        registers: vec!["zags.birth".into()],
        benefits: vec![
            benefit("child", Period::Open, true, 0, 5),
            benefit("income", Period::Quarter, true, 1, 3),
            benefit("draft", Period::Open, false, 0, 8),
            benefit("never_offered", Period::Open, true, 0, 1),
            benefit("birth", Period::Once, true, 0, 1),
            benefit("silent", Period::Open, false, 0, 1),
            benefit("later", Period::Open, true, 0, 2),
            benefit("care", Period::Open, true, 0, 7),
            benefit("assumed", Period::Open, true, 0, 4),
            benefit("alert", Period::Open, false, 0, 9),
            benefit("meal", Period::Open, true, 0, 6),
        ],
        messages: BTreeMap::from([
            (
                "offer".into(),
                texts("Сізге «{benefit}». Келісім – 1{tag}, бас тарту – 2{tag}.", "Вам «{benefit}». Согласны – 1{tag}, отказ – 2{tag}."),
            ),
            ("repeat".into(), texts("Еске саламыз: «{benefit}». 1{tag}, 2{tag}.", "Напоминаем: «{benefit}». 1{tag}, 2{tag}.")),
            ("account".into(), texts("IBAN жіберіңіз.", "Пришлите IBAN.")),
            ("assigned".into(), texts("«{benefit}»: {amount} ₸, {from} бастап.", "«{benefit}»: {amount} ₸ с {from}.")),
            ("assigned_in_kind".into(), texts("«{benefit}», {from} бастап.", "«{benefit}» с {from}.")),
            ("rejected".into(), texts("Бас тартылды: {reason}.", "Отказано: {reason}.")),
            ("lapsed".into(), texts("Ұсыныс жабылды.", "Предложение закрыто.")),
            ("unclear".into(), texts("Түсініксіз. «{benefit}»: 1{tag}, 2{tag}.", "Не распознан. «{benefit}»: 1{tag}, 2{tag}.")),
            ("declined".into(), texts("Бас тартуыңыз қабылданды.", "Отказ принят.")),
            ("draft".into(), texts("Әскерге шақырудан босатылдыңыз.", "Вы освобождены от призыва.")),
        ]),
        allow_assumed: false,
    }
}

/// A ledger, and what was done to it.
struct World {
    ledger: Ledger,
    epoch: u64,
    today: Date,
    live: bool,
    held: BTreeMap<RightKey, Decision>,
    /// Of those held, which no decision stands for: they are only in doubt.
    doubted: BTreeSet<RightKey>,
    /// Rights that were there before going live, and when they were lost.
    baseline: BTreeMap<RightKey, Option<Date>>,
    phones: BTreeMap<PersonId, Option<Phone>>,
    cases: BTreeSet<(RightKey, u32)>,
    /// What the epoch under way will carry.
    changes: Vec<Change>,
    heard: Vec<Heard>,
    replies: u128,
}

impl World {
    fn new() -> Self {
        World {
            ledger: Ledger::new(terms()),
            epoch: 0,
            today: MONDAY,
            live: false,
            held: BTreeMap::new(),
            doubted: BTreeSet::new(),
            baseline: BTreeMap::new(),
            phones: BTreeMap::new(),
            cases: BTreeSet::new(),
            changes: Vec::new(),
            heard: Vec::new(),
            replies: 0,
        }
    }

    /// Live, with one person of this number, who can be paid.
    fn with_person(person: PersonId, phone: Phone) -> Self {
        let mut world = World::new();
        world.contact(person, Some(phone), Some(1));
        world.heard.push(Heard::Account { person, iban: None });
        world.go_live();
        world.commit();
        world
    }

    fn go_live(&mut self) {
        self.live = true;
        self.ledger.go_live();
    }

    fn contact(&mut self, person: PersonId, phone: Option<Phone>, language: Option<usize>) {
        self.phones.insert(person, phone);
        self.heard.push(Heard::Contact { person, version: self.epoch, phone, language });
    }

    /// The right holds like this from now on.
    fn hold(&mut self, right: &RightKey, amount: i64, outcome: Outcome, addressee: PersonId) {
        let decision = Decision {
            person: right.person,
            benefit: right.benefit,
            ground: right.ground.clone(),
            period: right.period,
            outcome,
            amount,
            household: HouseholdKey::family(addressee),
            addressee,
            from: Date::BEFORE_ALL,
            until: Date::NEVER,
            proactive: match right.benefit {
                NEVER_OFFERED | ALERT => Date::NEVER,
                LATER => Date(MONDAY.0 + 20),
                _ => Date(MONDAY.0 - 1000),
            },
            failed: 0,
        };
        let before = self.held.insert(right.clone(), decision.clone());
        if self.doubted.remove(right) {
            self.changes.push(Change { kind: ChangeKind::Gained, decision, before: None });
            return;
        }
        let kind = match &before {
            None => ChangeKind::Gained,
            Some(before) if (before.outcome, before.amount) != (decision.outcome, decision.amount) => ChangeKind::Amount,
            Some(before) if *before != decision => ChangeKind::Attributes,
            Some(_) => return,
        };
        if before.is_none() {
            self.note_gain(right);
        }
        self.changes.push(Change { kind, decision, before: before.map(Box::new) });
    }

    fn note_gain(&mut self, right: &RightKey) {
        match self.baseline.get(right) {
            Some(Some(lost)) if self.today.0 - lost.0 <= 3 => self.baseline.insert(right.clone(), None),
            _ if !self.live => self.baseline.insert(right.clone(), None),
            _ => self.baseline.remove(right),
        };
    }

    fn lose(&mut self, right: &RightKey) {
        if let Some(decision) = self.held.remove(right) {
            if let Some(lost) = self.baseline.get_mut(right) {
                *lost = Some(self.today);
            }
            let kind = if self.doubted.remove(right) { ChangeKind::Refuted } else { ChangeKind::Lost };
            self.changes.push(Change { kind, decision, before: None });
        }
    }

    /// It is no longer known whether the right stands, and no assignment keeps its decision.
    fn doubt(&mut self, right: &RightKey) {
        if let Some(decision) = self.held.get_mut(right)
            && self.doubted.insert(right.clone())
        {
            let change = Change { kind: ChangeKind::Doubted, decision: decision.clone(), before: None };
            decision.outcome = Outcome::Undetermined;
            self.changes.push(change);
        }
    }

    fn reply(&mut self, phone: Phone, text: &str) {
        self.replies += 1;
        self.heard.push(Heard::Reply { id: self.replies, phone, text: text.into(), at: None });
    }

    /// Ends the epoch, and hands what waits to the network.
    fn commit(&mut self) -> Effects {
        self.epoch += 1;
        let (changes, heard) = (std::mem::take(&mut self.changes), std::mem::take(&mut self.heard));
        let effects = self.ledger.apply(self.epoch, self.today, Resettled::default(), &changes, &heard);
        self.cases.extend(effects.cases_opened.iter().map(|case| (case.right.clone(), case.round)));
        self.ledger.submit(usize::MAX);
        effects
    }

    fn days(&mut self, days: i32) -> &mut Self {
        for _ in 0..days {
            self.today = Date(self.today.0 + 1);
            self.commit();
        }
        self
    }

    fn kinds(&self) -> Vec<Kind> {
        self.ledger.outbox().rows().iter().map(|row| row.text.kind).collect()
    }

    fn stage(&self, right: &RightKey) -> Stage {
        self.ledger.desk().conversation(right).expect("a conversation").stage
    }

    fn last_text(&self) -> &str {
        &self.ledger.outbox().rows().last().expect("a text").text.body
    }
}

fn right(person: PersonId, benefit: u16) -> RightKey {
    let ground = if benefit == BIRTH { Ground::Record(0, "act 1".into()) } else { Ground::Constant };
    let period = if benefit == INCOME { MONDAY.quarter_start() } else { Date::NEVER };
    RightKey { person, benefit, ground, period }
}

/// A live world in which person 1 has just gained this.
fn offered(benefit: u16) -> (World, RightKey) {
    let mut world = World::with_person(1, 77_010_000_001);
    let right = right(1, benefit);
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    world.commit();
    (world, right)
}

// Stories.

#[test]
fn a_yes_becomes_a_case_and_the_assignment_is_told() {
    let (mut world, right) = offered(CHILD);
    assert_eq!(world.last_text(), "Вам «child (ru)». Согласны – 1, отказ – 2.");
    world.reply(77_010_000_001, "Да");
    let effects = world.commit();
    assert_eq!(effects.cases_opened.len(), 1);
    assert_eq!((effects.cases_opened[0].amount, effects.cases_opened[0].from), (69_330, MONDAY));
    world.heard.push(Heard::Assignment { person: 1, benefit: CHILD, ground: "constant".into(), version: 1, until: Date::NEVER });
    world.commit();
    assert_eq!(world.last_text(), "«child (ru)»: 69 330 ₸ с 23.02.2026.".replace("23.02.2026", &readable(MONDAY)));
    world.heard.push(Heard::Payment { person: 1, benefit: CHILD, ground: "constant".into() });
    world.commit();
    assert_eq!((world.kinds(), world.stage(&right)), (vec![Kind::Offer, Kind::Assigned], Stage::Paid));
}

#[test]
fn of_a_meal_no_amount_is_told_and_no_account_asked_for() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(1, MEAL), 0, Outcome::Eligible, 1);
    world.commit();
    world.reply(77_010_000_001, "Да");
    assert_eq!(world.commit().cases_opened.len(), 1);
    world.heard.push(Heard::Assignment { person: 1, benefit: MEAL, ground: "constant".into(), version: 1, until: Date::NEVER });
    world.commit();
    assert_eq!(world.last_text(), format!("«meal (ru)» с {}.", readable(MONDAY)));
}

/// What the worker is told from here on, over so many days.
fn told_over(world: &mut World, days: i32) -> Vec<NoteKind> {
    let mut told = Vec::new();
    for _ in 0..days {
        told.extend(world.commit().notes.iter().map(|note| note.kind));
        world.today = Date(world.today.0 + 1);
    }
    told
}

/// A live world in which person 1 has agreed to this, and holds it assigned.
fn assigned(benefit: u16, until: Date) -> (World, RightKey) {
    let (mut world, right) = offered(benefit);
    world.reply(77_010_000_001, "Да");
    world.heard.push(Heard::Account { person: 1, iban: None });
    world.commit();
    world.heard.push(assignment(&world, &right, 1, until));
    world.commit();
    assert_eq!(world.stage(&right), Stage::Assigned);
    (world, right)
}

fn assignment(world: &World, right: &RightKey, version: u64, until: Date) -> Heard {
    let ground = world.ledger.desk().terms().ground(&right.ground).into();
    Heard::Assignment { person: right.person, benefit: right.benefit, ground, version, until }
}

fn payment(world: &World, right: &RightKey) -> Heard {
    Heard::Payment { person: right.person, benefit: right.benefit, ground: world.ledger.desk().terms().ground(&right.ground).into() }
}

/// Edge case E32: what was paid is not lost in silence.
#[test]
fn a_right_that_is_lost_while_an_agency_pays_is_told_to_the_worker_as_overpaid_once() {
    for paid in [false, true] {
        let (mut world, right) = assigned(CHILD, Date::NEVER);
        if paid {
            world.heard.push(payment(&world, &right));
            world.commit();
        }
        world.lose(&right);
        assert_eq!(told_over(&mut world, 3), [], "it may be back within the window");
        assert_eq!(told_over(&mut world, 30), [NoteKind::Overpaid], "paid: {paid}");
        // Nothing that comes later about the same loss tells it again.
        world.heard.push(assignment(&world, &right, 2, Date::NEVER));
        assert_eq!(told_over(&mut world, 10), []);
        world.heard.push(Heard::Death { person: 1, on: None });
        assert_eq!(told_over(&mut world, 10), []);
    }
}

#[test]
fn a_right_that_ends_with_its_assignment_is_not_overpaid() {
    let (mut world, right) = assigned(CHILD, Date(MONDAY.0 + 10));
    world.days(10);
    world.lose(&right);
    assert_eq!(told_over(&mut world, 30), []);
}

/// A lump sum is no longer due a year after the birth; it was when it was paid.
#[test]
fn what_was_given_once_is_not_overpaid_when_its_condition_passes() {
    let (mut world, right) = assigned(BIRTH, Date::NEVER);
    world.heard.push(payment(&world, &right));
    world.commit();
    world.lose(&right);
    assert_eq!(told_over(&mut world, 30), []);
}

/// Whether anything is paid after a death only the payments tell (edge case E4).
#[test]
fn a_death_alone_is_not_overpaid() {
    let (mut world, _) = assigned(CHILD, Date::NEVER);
    world.heard.push(Heard::Death { person: 1, on: None });
    assert_eq!(told_over(&mut world, 30), []);
}

fn readable(date: Date) -> String {
    let (year, month, day) = date.ymd();
    format!("{day:02}.{month:02}.{year}")
}

#[test]
fn silence_is_asked_twice_then_left_alone_for_thirty_days() {
    let (mut world, right) = offered(CHILD);
    world.days(2);
    assert_eq!(world.kinds(), [Kind::Offer]);
    world.days(1);
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Repeat]);
    world.days(3);
    assert_eq!((world.kinds(), world.stage(&right)), (vec![Kind::Offer, Kind::Repeat, Kind::Lapsed], Stage::NoAnswer));
    world.days(29);
    assert_eq!(world.ledger.held_back(&right), Some(HeldBack::CoolOff));
    world.days(1);
    assert_eq!(world.kinds().len(), 4);
    assert_eq!(world.ledger.desk().conversation(&right).map(|conversation| conversation.round), Some(2));
}

#[test]
fn a_no_is_respected_for_ninety_days_but_a_new_child_is_a_new_ground() {
    let (mut world, first) = offered(BIRTH);
    world.reply(77_010_000_001, "жоқ");
    world.commit();
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Declined]);
    world.days(80);
    assert_eq!(world.kinds().len(), 2);
    let second = RightKey { ground: Ground::Record(0, "act 2".into()), ..first.clone() };
    world.hold(&second, 164_350, Outcome::Eligible, 1);
    world.commit();
    assert!(matches!((world.stage(&first), world.stage(&second)), (Stage::Declined, Stage::Sent1 { .. })));
    world.days(10);
    assert!(matches!(world.stage(&first), Stage::Sent1 { .. }));
}

#[test]
fn an_unclear_reply_is_clarified_once_and_wins_no_time() {
    let (mut world, _) = offered(CHILD);
    let mut told = Vec::new();
    for text in ["кто это?", "не понял"] {
        world.reply(77_010_000_001, text);
        told.push(world.commit().notes.iter().map(|note| note.kind).collect::<Vec<_>>());
    }
    assert_eq!(told, [vec![], vec![NoteKind::Unreadable]], "somebody reads what is not understood twice");
    world.days(3);
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Unclear, Kind::Repeat]);
}

#[test]
fn a_flap_within_the_window_keeps_the_offer_and_a_longer_gap_withdraws_it() {
    let (mut world, right) = offered(CHILD);
    world.days(1);
    world.lose(&right);
    world.commit();
    world.days(1);
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    world.commit();
    world.days(1);
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Repeat]);
    world.lose(&right);
    world.commit();
    world.days(3);
    assert_eq!((world.kinds().len(), world.stage(&right)), (2, Stage::Withdrawn));
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    world.commit();
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Repeat, Kind::Offer]);
}

#[test]
fn a_yes_during_a_flap_goes_to_the_agency_when_the_right_is_back() {
    let (mut world, right) = offered(CHILD);
    world.lose(&right);
    world.reply(77_010_000_001, "1");
    assert_eq!(world.commit().cases_opened.len(), 0);
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    assert_eq!(world.commit().cases_opened.len(), 1);
}

#[test]
fn a_right_of_one_day_says_nothing_where_two_are_asked_for() {
    let (mut world, right) = offered(INCOME);
    assert_eq!(world.ledger.held_back(&right), Some(HeldBack::Debounce));
    world.lose(&right);
    world.days(1);
    assert_eq!((world.kinds().len(), world.stage(&right)), (0, Stage::Suppressed));
    world.hold(&right, 20_000, Outcome::Eligible, 1);
    world.commit();
    world.days(1);
    assert_eq!(world.kinds(), [Kind::Offer]);
}

#[test]
fn an_amount_that_is_only_assumed_is_not_offered_unless_somebody_answers_for_it() {
    let (mut world, right) = offered(ASSUMED);
    world.days(40);
    assert_eq!((world.kinds().len(), world.ledger.held_back(&right)), (0, Some(HeldBack::Assumed)));
    assert_eq!(world.ledger.silences()[&HeldBack::Assumed], 1);
    let mut world = World { ledger: Ledger::new(Terms { allow_assumed: true, ..terms() }), ..World::new() };
    world.contact(1, Some(77_010_000_001), Some(1));
    world.go_live();
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    world.commit();
    assert_eq!((world.kinds(), world.ledger.held_back(&right)), (vec![Kind::Offer], None));
}

/// What has no source in the package has none in dispatch: the row's own mark, or that of a parameter that the amount names.
#[test]
fn the_mark_of_an_amount_is_that_of_the_package() {
    let policy = crate::registers::package("kz");
    let terms = Terms::from(&policy);
    let assumed = |id: &str| terms.benefit(terms.benefit_named(id).unwrap()).assumed;
    assert!(assumed("rep_hazard_special"), "7.5 МРП are marked [assumed]");
    assert!(assumed("loc_solid_fuel"), "SOLID_FUEL_MRP is");
    assert!(!assumed("rep_large_family"), "[found F32], whatever else of the row is assumed");
    assert!(!assumed("ntc_help_centre") && !terms.allow_assumed);
}

#[test]
fn the_baseline_texts_nobody_even_when_it_flaps_or_changes_its_amount() {
    let mut world = World::new();
    world.contact(1, Some(77_010_000_001), Some(0));
    let right = right(1, CHILD);
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    world.commit();
    world.go_live();
    world.days(5);
    world.hold(&right, 86_670, Outcome::Eligible, 1);
    world.commit();
    world.lose(&right);
    world.days(2);
    world.hold(&right, 86_670, Outcome::Eligible, 1);
    world.days(5);
    assert_eq!((world.kinds().len(), world.ledger.held_back(&right)), (0, Some(HeldBack::Baseline)));
    world.lose(&right);
    world.days(10);
    world.hold(&right, 86_670, Outcome::Eligible, 1);
    world.commit();
    assert_eq!(world.kinds(), [Kind::Offer]);
}

#[test]
fn offers_wait_for_their_day_and_the_more_important_goes_first() {
    let mut world = World::with_person(1, 77_010_000_001);
    for benefit in [CHILD, CARE, BIRTH, DRAFT] {
        world.hold(&right(1, benefit), 1_000, Outcome::Eligible, 1);
    }
    world.commit();
    world.days(3);
    let sent: Vec<u16> = world.ledger.outbox().rows().iter().map(|row| row.text.right.benefit).collect();
    // On the fourth day the repeat of the first takes the day; the notice follows on the fifth.
    assert_eq!(sent, [BIRTH, CHILD, CARE, BIRTH]);
    assert_eq!(world.ledger.held_back(&right(1, DRAFT)), Some(HeldBack::Limit));
}

#[test]
fn a_fourth_offer_waits_until_one_of_three_is_closed() {
    let mut world = World::new();
    world.contact(1, Some(77_010_000_001), Some(1));
    world.go_live();
    for benefit in [CHILD, CARE, BIRTH, INCOME] {
        world.hold(&right(1, benefit), 1_000, Outcome::Eligible, 1);
    }
    world.commit();
    for _ in 0..3 {
        let conversations = world.ledger.desk().conversations();
        let tags: Vec<u8> = conversations.filter(|(_, other)| other.stage.awaits_answer()).map(|(_, other)| other.tag).collect();
        tags.iter().for_each(|tag| world.reply(77_010_000_001, &format!("1 {tag}")));
        world.commit();
        world.days(1);
    }
    // Three wait for an account; the fourth would have had this day.
    assert_eq!((world.ledger.held_back(&right(1, CARE)), world.kinds().len()), (Some(HeldBack::Limit), 7));
    world.heard.push(Heard::Account { person: 1, iban: None });
    world.commit();
    assert_eq!(world.kinds().last(), Some(&Kind::Offer));
}

#[test]
fn a_notice_is_told_once_and_a_right_that_comes_and_goes_once_a_month() {
    let (mut world, right) = offered(DRAFT);
    world.days(40);
    assert_eq!(world.kinds(), [Kind::Notice]);
    for _ in 0..20 {
        world.lose(&right);
        world.days(4);
        world.hold(&right, 0, Outcome::Notice, 1);
        world.days(1);
    }
    assert_eq!(world.kinds().len(), 1 + 4);
}

#[test]
fn where_several_offers_wait_the_tag_says_which_is_meant() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(1, BIRTH), 1_000, Outcome::Eligible, 1);
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.commit();
    world.days(1);
    let tag = world.ledger.desk().conversation(&right(1, CHILD)).expect("a conversation").tag;
    assert_eq!(world.last_text(), format!("Вам «child (ru)». Согласны – 1 {tag}, отказ – 2 {tag}."));
    world.reply(77_010_000_001, "1");
    world.commit();
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Offer, Kind::Unclear, Kind::Unclear]);
    world.reply(77_010_000_001, &format!("1 {tag}"));
    world.commit();
    assert!(matches!((world.stage(&right(1, BIRTH)), world.stage(&right(1, CHILD))), (Stage::Sent1 { .. }, Stage::Case)));
}

#[test]
fn a_reply_delivered_twice_agrees_to_one_offer() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(1, BIRTH), 1_000, Outcome::Eligible, 1);
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.commit();
    world.reply(77_010_000_001, "1");
    let again = world.heard.clone();
    world.commit();
    world.days(1);
    world.heard = again;
    world.commit();
    assert!(matches!(world.stage(&right(1, CHILD)), Stage::Sent1 { .. }));
}

#[test]
fn an_account_is_asked_for_twice_and_taken_from_the_reply() {
    let mut world = World::new();
    world.contact(1, Some(77_010_000_001), None);
    world.go_live();
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.commit();
    world.reply(77_010_000_001, "1");
    world.commit();
    assert_eq!(world.last_text(), "IBAN жіберіңіз.\nПришлите IBAN.");
    world.days(3);
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Account, Kind::AccountRepeat]);
    world.reply(77_010_000_001, "KZ86 125K ZT50 0410 0100");
    assert_eq!(world.commit().cases_opened.len(), 1);
}

#[test]
fn nobody_to_write_to_is_a_line_on_the_social_workers_list() {
    let mut world = World::new();
    world.go_live();
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.hold(&right(2, CHILD), 1_000, Outcome::Eligible, 0);
    let notes: Vec<NoteKind> = world.commit().notes.into_iter().map(|note| note.kind).collect();
    assert_eq!(notes, [NoteKind::NoAddressee, NoteKind::NoPhone]);
    world.days(5);
    assert_eq!((world.kinds().len(), world.ledger.notes().len()), (0, 2));
    world.contact(1, Some(77_010_000_001), Some(0));
    world.commit();
    assert_eq!(world.kinds(), [Kind::Offer]);
}

#[test]
fn death_another_channel_and_refusal_end_an_offer() {
    let (mut world, right) = offered(CHILD);
    world.heard.push(Heard::Death { person: 1, on: None });
    world.commit();
    assert_eq!(world.stage(&right), Stage::ClosedDeath);

    let (mut world, right) = offered(CHILD);
    world.heard.push(Heard::Assignment { person: 1, benefit: CHILD, ground: "x".into(), version: 1, until: Date(MONDAY.0 + 10) });
    world.commit();
    assert_eq!((world.kinds(), world.stage(&right)), (vec![Kind::Offer], Stage::AssignedOther));
    world.days(10);
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Offer]);

    let (mut world, right) = offered(CHILD);
    world.reply(77_010_000_001, "1");
    world.commit();
    world.heard.push(Heard::Refusal { person: 1, benefit: CHILD, ground: "constant".into(), reason: "доход".into() });
    world.commit();
    assert_eq!((world.last_text(), world.stage(&right)), ("Отказано: доход.", Stage::Rejected));
}

#[test]
fn the_last_check_stops_a_text_whose_right_has_gone() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    let gained = std::mem::take(&mut world.changes);
    world.lose(&right(1, CHILD));
    let lost = std::mem::take(&mut world.changes);
    world.ledger.apply(10, MONDAY, Resettled::default(), &gained, &[]);
    world.ledger.apply(11, MONDAY, Resettled::default(), &lost, &[]);
    assert_eq!(world.ledger.submit(10), []);
    assert_eq!((world.ledger.outbox().rows()[0].status.name(), world.stage(&right(1, CHILD))), ("suppressed", Stage::Suppressed));
}

#[test]
fn doubt_stops_the_clock_and_takes_nothing_back() {
    let (mut world, right) = offered(CHILD);
    world.hold(&right, 0, Outcome::Undetermined, 1);
    world.days(10);
    assert_eq!(world.kinds(), [Kind::Offer]);
    world.hold(&right, 69_330, Outcome::Eligible, 1);
    world.commit();
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Repeat]);
}

#[test]
fn an_offer_outlives_the_silence_of_a_register_until_the_right_is_refuted() {
    let (mut world, right) = offered(CHILD);
    world.doubt(&right);
    world.days(10);
    assert_eq!(
        (world.kinds(), world.stage(&right)),
        (vec![Kind::Offer], Stage::Sent1 { on: MONDAY }),
        "nothing is withdrawn, nothing asked"
    );
    world.reply(77_010_000_001, "1");
    world.commit();
    assert_eq!((world.cases.len(), world.stage(&right)), (0, Stage::Consented), "a yes waits until the right is known again");
    world.lose(&right);
    world.days(4);
    assert_eq!(world.stage(&right), Stage::Withdrawn, "what is known not to be is withdrawn");
}

#[test]
fn a_right_that_is_doubted_before_its_offer_is_held_back_and_then_offered_once() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(1, INCOME), 1_000, Outcome::Eligible, 1);
    world.commit();
    world.doubt(&right(1, INCOME));
    world.days(10);
    assert_eq!((world.ledger.held_back(&right(1, INCOME)), world.kinds().len()), (Some(HeldBack::InDoubt), 0));
    world.hold(&right(1, INCOME), 1_000, Outcome::Eligible, 1);
    world.days(2);
    assert_eq!(world.kinds(), [Kind::Offer]);
}

#[test]
fn a_baseline_right_that_was_doubted_for_months_is_still_baseline() {
    let mut world = World::new();
    world.contact(1, Some(77_010_000_001), Some(0));
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.commit();
    world.go_live();
    world.doubt(&right(1, CHILD));
    world.days(100);
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.days(10);
    assert_eq!((world.ledger.held_back(&right(1, CHILD)), world.kinds().len()), (Some(HeldBack::Baseline), 0));
}

#[test]
fn what_concerns_the_worker_is_a_line_on_their_list_and_no_text() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(1, ALERT), 0, Outcome::Notice, 1);
    let notes = world.commit().notes;
    assert_eq!((notes.len(), notes[0].kind), (1, NoteKind::Alert));
    world.lose(&right(1, ALERT));
    let notes = world.commit().notes;
    assert_eq!((notes.len(), notes[0].kind, world.kinds().len()), (1, NoteKind::AlertOver, 0));
    world.hold(&right(1, ALERT), 0, Outcome::Notice, 1);
    assert_eq!(world.commit().notes.len(), 1);
}

// Funnels.

/// Of 20,000 offers, what share was agreed to.
/// Edge case E21: the right stands, and is offered once it is known whose records are whose.
#[test]
fn nothing_is_offered_to_or_for_somebody_said_to_have_two_numbers() {
    let mut world = World::with_person(1, 77_010_000_001);
    let doubtful = |person, is| Heard::Renumbered(Renumbering::Doubtful(person, is));
    world.heard.extend([doubtful(1, true), doubtful(3, true)]);
    world.hold(&right(1, CHILD), 1_000, Outcome::Eligible, 1);
    world.hold(&right(2, CHILD), 1_000, Outcome::Eligible, 1);
    world.contact(4, Some(77_010_000_004), Some(1));
    world.hold(&right(3, CHILD), 1_000, Outcome::Eligible, 4);
    world.commit();
    world.days(9);
    for person in [1, 2, 3] {
        assert_eq!(world.ledger.held_back(&right(person, CHILD)), Some(HeldBack::TwoNumbers));
    }
    assert_eq!((world.kinds().len(), HeldBack::TwoNumbers.name()), (0, "two_numbers"));
    world.heard.push(doubtful(3, false));
    world.commit();
    assert!(matches!((world.stage(&right(3, CHILD)), world.kinds().len()), (Stage::Sent1 { .. }, 1)));
    world.heard.push(doubtful(1, false));
    world.commit();
    world.days(1);
    assert_eq!(world.kinds(), [Kind::Offer; 3]);
}

/// An offer made before stays open, and may be answered; it is not repeated.
#[test]
fn an_offer_is_not_repeated_while_the_person_is_said_to_have_two_numbers() {
    let (mut world, right) = offered(CHILD);
    world.heard.push(Heard::Renumbered(Renumbering::Doubtful(1, true)));
    world.days(10);
    assert_eq!(world.kinds(), [Kind::Offer]);
    world.heard.push(Heard::Renumbered(Renumbering::Doubtful(1, false)));
    world.days(1);
    assert_eq!(world.kinds(), [Kind::Offer, Kind::Repeat]);
    assert!(matches!(world.stage(&right), Stage::Sent2 { .. }));
}

/// Phone, account and assignments came under the number that is given up.
#[test]
fn what_was_heard_of_a_number_is_known_of_the_one_that_stands_for_it_and_only_as_long() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.heard.push(Heard::Assignment { person: 1, benefit: BIRTH, ground: "zags.birth:act 1".into(), version: 1, until: Date::NEVER });
    world.hold(&right(2, BIRTH), 1_000, Outcome::Eligible, 2);
    world.hold(&right(2, CHILD), 1_000, Outcome::Eligible, 2);
    world.commit();
    assert_eq!(world.ledger.held_back(&right(2, CHILD)), Some(HeldBack::NoPhone));
    world.heard.push(Heard::Renumbered(Renumbering::GivenUp(1, Some(2))));
    world.commit();
    assert_eq!((world.stage(&right(2, BIRTH)), world.kinds()), (Stage::AssignedOther, vec![Kind::Offer]));
    world.reply(77_010_000_001, "1");
    assert_eq!(world.commit().cases_opened.len(), 1, "the account is theirs");
    world.heard.push(Heard::Renumbered(Renumbering::GivenUp(1, None)));
    world.commit();
    world.days(1);
    assert_eq!(world.ledger.held_back(&right(2, BIRTH)), Some(HeldBack::NoPhone), "neither assigned nor reached");
}

/// Edge case E9: the child's former number had a right that a social worker was told of.
#[test]
fn of_a_number_given_up_in_secret_nobody_is_told() {
    let mut world = World::with_person(1, 77_010_000_001);
    world.hold(&right(2, ALERT), 0, Outcome::Eligible, 1);
    world.hold(&right(2, CHILD), 1_000, Outcome::Eligible, 1);
    world.commit();
    assert_eq!((world.ledger.notes().len(), world.kinds()), (1, vec![Kind::Offer]));
    world.lose(&right(2, ALERT));
    world.lose(&right(2, CHILD));
    world.changes.iter_mut().for_each(|change| change.kind = ChangeKind::Sealed);
    assert_eq!(world.commit(), Effects::default());
    world.reply(77_010_000_001, "1");
    world.days(30);
    assert_eq!((world.ledger.notes().len(), world.kinds()), (1, vec![Kind::Offer]));
    assert_eq!(world.ledger.in_force(), 0);
}

fn share_of_yes(funnel: Funnel, weather: Weather) -> f64 {
    const PEOPLE: u64 = 20_000;
    let mut world = World::new();
    world.go_live();
    for person in 1..=PEOPLE {
        world.contact(person, Some(77_000_000_000 + person), Some((person % 2) as usize));
        world.heard.push(Heard::Account { person, iban: None });
        world.hold(&right(person, CHILD), 69_330, Outcome::Eligible, person);
    }
    let mut network = Network::new(2026, funnel, weather);
    for day in 0..9 {
        let now = day * MINUTES_PER_DAY + 600;
        for incoming in network.due(now) {
            world.heard.push(heard(incoming));
        }
        world.today = Date(MONDAY.0 + day as i32);
        world.epoch += 1;
        let (changes, news) = (std::mem::take(&mut world.changes), std::mem::take(&mut world.heard));
        let effects = world.ledger.apply(world.epoch, world.today, Resettled::default(), &changes, &news);
        world.cases.extend(effects.cases_opened.iter().map(|case| (case.right.clone(), case.round)));
        for message in world.ledger.submit(usize::MAX) {
            network.submit(now, &submission(&message));
        }
    }
    world.cases.len() as f64 / PEOPLE as f64
}

fn heard(incoming: Incoming) -> Heard {
    match incoming {
        Incoming::Receipt { message } => Heard::Receipt { message, delivered: true },
        Incoming::Reply { id, phone, text } => Heard::Reply { id, phone, text: text.into(), at: None },
    }
}

fn submission(message: &Message) -> Submission {
    let ask = match message.text.kind {
        Kind::Offer => Ask::Offer,
        Kind::Repeat => Ask::Repeat,
        Kind::Unclear => Ask::Again,
        Kind::Account | Kind::AccountRepeat => Ask::Account,
        _ => Ask::Nothing,
    };
    Submission { id: message.id, phone: message.text.phone, ask, tag: message.text.tag }
}

#[test]
fn the_pilot_and_2025_answer_as_they_did() {
    let calm = Weather::default();
    let pilot = share_of_yes(Funnel::PILOT, calm);
    assert!((pilot - 0.2267).abs() < 0.01, "pilot: {pilot}");
    let year = share_of_yes(Funnel::YEAR_2025, calm);
    assert!((year - 0.5215).abs() < 0.01, "2025: {year}");
    assert_eq!(share_of_yes(Funnel::PILOT, Weather { lost: 0.2, doubled: 0.2 }), pilot, "lost and doubled receipts change nothing");
}

// Random lives.

/// What may happen next. People are 1 to 4, numbers few enough to be shared.
#[derive(Clone, Debug)]
enum Happening {
    Hold { person: u64, benefit: u16, amount: i64, doubt: bool, addressee: u64 },
    Lose { person: u64, benefit: u16 },
    Doubt { person: u64, benefit: u16 },
    Days(i32),
    Contact { person: u64, phone: Option<u64> },
    Account { person: u64 },
    Reply { phone: u64, text: usize, tag_of: Option<u16> },
    Block { phone: u64, blocked: bool },
    ReplyAgain { back: usize },
    Receipt { row: usize, delivered: bool },
    Assign { person: u64, benefit: u16, days: Option<i32> },
    AssignmentEnds { person: u64, benefit: u16 },
    Refuse { person: u64, benefit: u16 },
    Pay { person: u64, benefit: u16 },
    Die { person: u64 },
    EpochAgain,
    EndEpoch,
    Submit,
}

fn happening() -> impl Strategy<Value = Happening> {
    let (person, benefit, phone) = (1..=4u64, 0..BENEFITS, 1..=3u64);
    let two = (person.clone(), benefit.clone());
    prop_oneof![
        12 => (two.clone(), 1..4i64, prop::bool::weighted(0.1), 0..=4u64)
            .prop_map(|((person, benefit), amount, doubt, addressee)| Happening::Hold { person, benefit, amount: amount * 1000, doubt, addressee }),
        5 => two.clone().prop_map(|(person, benefit)| Happening::Lose { person, benefit }),
        3 => two.clone().prop_map(|(person, benefit)| Happening::Doubt { person, benefit }),
        8 => prop_oneof![8 => 1..4i32, 2 => 4..12i32, 1 => 30..100i32].prop_map(Happening::Days),
        3 => (person.clone(), prop::option::weighted(0.8, phone.clone())).prop_map(|(person, phone)| Happening::Contact { person, phone }),
        2 => person.clone().prop_map(|person| Happening::Account { person }),
        1 => (phone.clone(), prop::bool::weighted(0.3)).prop_map(|(phone, blocked)| Happening::Block { phone, blocked }),
        8 => (phone, prop_oneof![10 => 0..5usize, 1 => 5..7usize], prop::option::of(benefit.clone())).prop_map(|(phone, text, tag_of)| Happening::Reply { phone, text, tag_of }),
        2 => (0..4usize).prop_map(|back| Happening::ReplyAgain { back }),
        2 => (0..30usize, any::<bool>()).prop_map(|(row, delivered)| Happening::Receipt { row, delivered }),
        2 => (two.clone(), prop::option::of(0..20i32)).prop_map(|((person, benefit), days)| Happening::Assign { person, benefit, days }),
        1 => two.clone().prop_map(|(person, benefit)| Happening::AssignmentEnds { person, benefit }),
        1 => two.clone().prop_map(|(person, benefit)| Happening::Refuse { person, benefit }),
        1 => two.prop_map(|(person, benefit)| Happening::Pay { person, benefit }),
        1 => person.prop_map(|person| Happening::Die { person }),
        2 => Just(Happening::EpochAgain),
        10 => Just(Happening::EndEpoch),
        4 => Just(Happening::Submit),
    ]
}

/// A random life: the world, and what its checks remember beside it.
struct Life {
    world: World,
    /// With the day on which each came first.
    replies: Vec<(Date, Heard)>,
    yes_replies: BTreeSet<u128>,
    /// Numbers that want no texts, and such as are not to have any.
    opted_out: BTreeSet<Phone>,
    blocked: BTreeSet<Phone>,
    /// Months that are ordered, by right.
    ordered: BTreeSet<(RightKey, Date)>,
    last_epoch: (Vec<Change>, Vec<Heard>),
    /// Rows of the outbox that have been checked.
    checked: usize,
    assigned: BTreeMap<(PersonId, u16), Date>,
}

/// Plays a life; the outbox and the chain in the end.
fn live(happenings: &[Happening], live_from: usize) -> Result<(String, u128), TestCaseError> {
    let mut life = Life {
        world: World::new(),
        replies: Vec::new(),
        yes_replies: BTreeSet::new(),
        opted_out: BTreeSet::new(),
        blocked: BTreeSet::new(),
        ordered: BTreeSet::new(),
        last_epoch: Default::default(),
        checked: 0,
        assigned: BTreeMap::new(),
    };
    for (index, happening) in happenings.iter().enumerate() {
        if index == live_from {
            life.end_epoch()?;
            life.world.go_live();
        }
        life.happen(happening)?;
    }
    life.end_epoch()?;
    Ok((life.world.ledger.outbox().to_ndjson(), life.world.ledger.chain()))
}

impl Life {
    fn happen(&mut self, happening: &Happening) -> Result<(), TestCaseError> {
        let world = &mut self.world;
        let ground = |benefit: u16| if benefit == BIRTH { "zags.birth:act 1".into() } else { "constant".into() };
        match *happening {
            Happening::Hold { person, benefit, amount, doubt, addressee } => {
                let outcome = if doubt { Outcome::Undetermined } else { Outcome::Eligible };
                world.hold(&right(person, benefit), amount, outcome, addressee);
                self.end_epoch()?;
            }
            Happening::Lose { person, benefit } => world.lose(&right(person, benefit)),
            Happening::Doubt { person, benefit } => {
                world.doubt(&right(person, benefit));
                self.end_epoch()?;
            }
            Happening::Days(days) => {
                self.end_epoch()?;
                self.world.today = Date(self.world.today.0 + days);
            }
            Happening::Contact { person, phone } => world.contact(person, phone, [None, Some(0), Some(1)][person as usize % 3]),
            Happening::Account { person } => world.heard.push(Heard::Account { person, iban: None }),
            Happening::Reply { phone, text, tag_of } => self.reply(phone, ["1", "да", "2", "HET", "мм", "стоп", "START"][text], tag_of),
            Happening::Block { phone, blocked } => {
                if blocked {
                    self.blocked.insert(phone)
                } else {
                    self.blocked.remove(&phone)
                };
                world.heard.push(Heard::Blocked { phone, blocked });
            }
            Happening::ReplyAgain { back } => {
                // Gateways deliver again within days, and the desk remembers for a month.
                let known = self.replies.iter().rev().nth(back).filter(|(came, _)| self.world.today.0 < came.0 + 30);
                self.world.heard.extend(known.map(|(_, reply)| reply.clone()));
            }
            Happening::Receipt { row, delivered } => {
                let message = world.ledger.outbox().rows().get(row).map_or(7, |row| row.id);
                world.heard.push(Heard::Receipt { message, delivered });
            }
            Happening::Assign { person, benefit, days } => {
                let until = days.map_or(Date::NEVER, |days| Date(world.today.0 + days));
                self.assigned.insert((person, benefit), until);
                world.heard.push(Heard::Assignment { person, benefit, ground: ground(benefit), version: world.epoch, until });
            }
            Happening::AssignmentEnds { person, benefit } => {
                self.assigned.remove(&(person, benefit));
                world.heard.push(Heard::Assignment {
                    person,
                    benefit,
                    ground: ground(benefit),
                    version: world.epoch,
                    until: Date::BEFORE_ALL,
                });
            }
            Happening::Refuse { person, benefit } => {
                world.heard.push(Heard::Refusal { person, benefit, ground: ground(benefit), reason: "доход".into() });
            }
            Happening::Pay { person, benefit } => world.heard.push(Heard::Payment { person, benefit, ground: ground(benefit) }),
            Happening::Die { person } => world.heard.push(Heard::Death { person, on: None }),
            Happening::EpochAgain => self.epoch_again()?,
            Happening::EndEpoch => self.end_epoch()?,
            Happening::Submit => drop(world.ledger.submit(2)),
        }
        Ok(())
    }

    fn reply(&mut self, phone: Phone, text: &str, tag_of: Option<u16>) {
        let desk = self.world.ledger.desk();
        let tag = tag_of.and_then(|benefit| desk.conversations().find(|(right, _)| right.benefit == benefit)).map(|(_, known)| known.tag);
        let about_all = ["стоп", "START"].contains(&text);
        let text = tag.filter(|_| !about_all).map_or_else(|| text.to_string(), |tag| format!("{text} {tag}"));
        match text.as_str() {
            "стоп" => drop(self.opted_out.insert(phone)),
            "START" => drop(self.opted_out.remove(&phone)),
            _ => {}
        }
        self.world.reply(phone, &text);
        if text.starts_with('1') || text.starts_with("да") {
            self.yes_replies.insert(self.world.replies);
        }
        self.replies.extend(self.world.heard.last().map(|reply| (self.world.today, reply.clone())));
    }

    fn end_epoch(&mut self) -> Result<(), TestCaseError> {
        let world = &mut self.world;
        world.epoch += 1;
        self.last_epoch = (std::mem::take(&mut world.changes), std::mem::take(&mut world.heard));
        let effects = world.ledger.apply(world.epoch, world.today, Resettled::default(), &self.last_epoch.0, &self.last_epoch.1);
        for case in effects.cases_opened {
            prop_assert!(world.held.contains_key(&case.right), "a case for a right that does not hold: {case:?}");
            prop_assert!(world.cases.insert((case.right, case.round)), "one case a round");
        }
        prop_assert!(world.cases.len() <= self.yes_replies.len(), "every case has a yes of its own");
        for payment in effects.payments {
            let name = (payment.right.clone(), payment.month);
            let agreed = world.cases.iter().any(|(right, _)| *right == payment.right);
            match payment.order {
                Order::Pay => {
                    let certain = world.held.get(&payment.right).is_some_and(|decision| decision.outcome == Outcome::Eligible);
                    prop_assert!(certain && agreed && payment.month <= world.today, "ordered for what does not hold: {payment:?}");
                    prop_assert!(self.ordered.insert(name), "a month is ordered twice: {payment:?}");
                }
                Order::Recover => prop_assert!(self.ordered.remove(&name), "asked back what was not ordered: {payment:?}"),
                Order::Stop => prop_assert!(agreed, "nothing was to be paid: {payment:?}"),
            }
        }
        self.check_new_texts()?;
        self.check_silence()
    }

    fn epoch_again(&mut self) -> Result<(), TestCaseError> {
        let before = (self.world.ledger.outbox().to_ndjson(), self.world.ledger.chain(), self.world.ledger.desk().counts().to_vec());
        let (changes, heard) = &self.last_epoch;
        let effects = self.world.ledger.apply(self.world.epoch, self.world.today, Resettled::default(), changes, heard);
        let after = (self.world.ledger.outbox().to_ndjson(), self.world.ledger.chain(), self.world.ledger.desk().counts().to_vec());
        prop_assert_eq!((before, Effects::default()), (after, effects));
        Ok(())
    }

    /// What must be true of every text of this epoch.
    fn check_new_texts(&mut self) -> Result<(), TestCaseError> {
        let world = &self.world;
        let (old, new) = world.ledger.outbox().rows().split_at(self.checked);
        prop_assert!(world.live || new.is_empty(), "nobody is written to before going live");
        for row in new {
            let text = &row.text;
            let decision = world.held.get(&text.right);
            prop_assert!(decision.is_some(), "a text for a right that does not hold: {row:?}");
            let certain = decision.is_some_and(|decision| decision.outcome == Outcome::Eligible);
            prop_assert!(certain || !text.kind.needs_right(), "asked while in doubt: {row:?}");
            prop_assert!(!world.baseline.contains_key(&text.right), "the baseline is written about: {row:?}");
            prop_assert!(!matches!(text.right.benefit, NEVER_OFFERED | SILENT), "written about what is never offered: {row:?}");
            if text.kind.is_unasked() {
                prop_assert_eq!(world.phones.get(&text.addressee).copied().flatten(), Some(text.phone), "written to another's number");
                prop_assert_eq!(decision.map(|decision| decision.addressee), Some(text.addressee));
                let silenced = self.opted_out.contains(&text.phone);
                prop_assert!(!silenced && !self.blocked.contains(&text.phone), "they want no texts, or are not to have any: {row:?}");
            }
            if text.kind == Kind::Offer {
                let desk = world.ledger.desk();
                let open = desk.conversations().filter(|(_, other)| other.standing.addressee == text.addressee && other.stage.is_open());
                prop_assert!(open.count() <= OPEN_OFFERS_MAX, "too many open offers: {row:?}");
            }
        }
        for (index, row) in new.iter().enumerate() {
            check_against(row, old.iter().chain(&new[..index]))?;
        }
        self.checked = old.len() + new.len();
        Ok(())
    }

    /// Whoever has a right has been written to in this round, or there is a true reason why not.
    fn check_silence(&self) -> Result<(), TestCaseError> {
        let world = &self.world;
        for (right, decision) in &world.held {
            let rows = || world.ledger.outbox().rows().iter().filter(|row| row.text.right == *right);
            let conversation = world.ledger.desk().conversation(right);
            let round = conversation.map_or(0, |conversation| conversation.round);
            let told = rows().any(|row| row.text.round == round && matches!(row.text.kind, Kind::Offer | Kind::Notice));
            let said = |kind: Kind, days: i32| rows().any(|row| row.text.kind == kind && row.date.0 + days > world.today.0);
            let phone = world.phones.get(&decision.addressee).copied().flatten();
            let truth = match world.ledger.held_back(right) {
                None => told,
                Some(HeldBack::Baseline) => world.baseline.contains_key(right),
                Some(HeldBack::NotProactive) => decision.proactive > world.today,
                Some(HeldBack::Assumed) => right.benefit == ASSUMED,
                Some(HeldBack::Automatic) => right.benefit == SILENT,
                Some(HeldBack::InDoubt) => decision.outcome == Outcome::Undetermined,
                Some(HeldBack::NoAddressee) => decision.addressee == 0,
                Some(HeldBack::NoPhone) => phone.is_none_or(|phone| self.blocked.contains(&phone)),
                Some(HeldBack::OptedOut) => phone.is_some_and(|phone| self.opted_out.contains(&phone)),
                Some(HeldBack::Debounce) => right.benefit == INCOME,
                Some(HeldBack::CoolOff) => {
                    let quiet_until = conversation.map_or(Date::BEFORE_ALL, |conversation| conversation.quiet_until);
                    quiet_until > world.today && (told || said(Kind::Notice, 30)) || decision.outcome == Outcome::Undetermined
                }
                Some(HeldBack::Assigned) => self.assigned.contains_key(&(right.person, right.benefit)),
                Some(HeldBack::Limit) => {
                    let texts = world.ledger.outbox().rows().iter();
                    let mut today = texts.filter(|row| row.date == world.today && row.text.addressee == decision.addressee);
                    let others = world.ledger.desk().conversations();
                    let open = others.filter(|(_, other)| other.standing.addressee == decision.addressee && other.stage.is_open());
                    today.any(|row| row.text.kind.is_unasked()) || open.count() >= OPEN_OFFERS_MAX
                }
                Some(HeldBack::Rejected | HeldBack::Died) => true,
                Some(HeldBack::TwoNumbers) => false,
            };
            prop_assert!(truth, "{right:?} {:?} {conversation:?}", world.ledger.held_back(right));
        }
        Ok(())
    }
}

/// A text against those before it: never twice, one unasked a person a day, and no sooner than the protocol allows.
fn check_against<'a>(row: &Message, earlier: impl Iterator<Item = &'a Message>) -> Result<(), TestCaseError> {
    for other in earlier {
        prop_assert_ne!(row.id, other.id);
        let same_day = row.date == other.date && row.text.addressee == other.text.addressee;
        prop_assert!(
            !(same_day && row.text.kind.is_unasked() && other.text.kind.is_unasked()),
            "two unasked texts in a day: {row:?} {other:?}"
        );
        if row.text.right != other.text.right {
            continue;
        }
        let same_round = row.text.round == other.text.round;
        prop_assert!(!(same_round && row.text.kind == other.text.kind), "the same text twice: {row:?} {other:?}");
        let waited = row.date.0 - other.date.0;
        let due = match (row.text.kind, other.text.kind) {
            (Kind::Repeat, Kind::Offer) | (Kind::Lapsed, Kind::Repeat) if same_round => 3,
            (Kind::Offer, Kind::Declined) => 90,
            (Kind::Offer, Kind::Lapsed) | (Kind::Notice, Kind::Notice) => 30,
            _ => 0,
        };
        prop_assert!(waited >= due, "{row:?} only {waited} days after {other:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/dispatch.txt"))), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_protocol_is_kept(happenings in prop::collection::vec(happening(), 1..120), live_from in 0..30usize) {
        let once = live(&happenings, live_from)?;
        let again = live(&happenings, live_from)?;
        prop_assert_eq!(once, again, "a replay writes the same outbox");
    }
}
