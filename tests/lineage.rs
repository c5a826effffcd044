use crate::registers::{iin, number};
use dataflows::model::{Date, HouseholdKey, Membership, Move, PersonId, Rejudged, Scores};
use dataflows::policy::Policy;
use fixtures::country::morning;
use fixtures::lives::{is_calendar, lives, shuffle};
use serde_json::{Value, json};
use shanyraq::commands::load_policy;
use shanyraq::dispatch::Terms;
use shanyraq::engine::Engine;
use shanyraq::intake::{Intake, Item, Schema};
use shanyraq::ledger::{FamilyId, Fate, Ledger, Resettled};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Families = BTreeMap<HouseholdKey, FamilyId>;

/// How a date's lines are cut into epochs.
#[derive(Clone, Copy)]
struct Cut {
    workers: usize,
    commit_every: usize,
}

const BY_LINE: Cut = Cut { workers: 1, commit_every: 1 };
const BY_DAY: Cut = Cut { workers: 1, commit_every: usize::MAX };

/// What a journal of lines led to.
#[derive(Default, PartialEq, Debug)]
struct History {
    /// The ids at the end of each date.
    days: BTreeMap<Date, Families>,
    fates: Vec<(Date, Fate)>,
}

/// Lines on their way through intake, engine and ledger.
struct Replay {
    intake: Intake,
    engine: Engine,
    ledger: Ledger,
    history: History,
    /// Where everybody stands, by moves alone since the first date.
    places: Option<BTreeMap<PersonId, Membership>>,
    /// How every household is judged, by what is said of those judged otherwise alone.
    scores: BTreeMap<HouseholdKey, Scores>,
}

impl Replay {
    fn of(policy: &Arc<Policy>, lines: &[Vec<u8>], cut: Cut) -> History {
        let mut replay = Replay {
            intake: Intake::new(Arc::new(Schema::from(&**policy))),
            engine: Engine::start(policy.clone(), cut.workers),
            ledger: Ledger::new(Terms::from(&**policy)),
            history: History::default(),
            places: None,
            scores: BTreeMap::new(),
        };
        for (index, line) in lines.iter().enumerate() {
            if is_calendar(line) || index % cut.commit_every == 0 {
                replay.commit();
            }
            match replay.intake.decode(line).map(|decoded| decoded.item) {
                Ok(Item::Update(update)) => replay.engine.submit(vec![update]),
                Ok(Item::Heartbeat { register, date }) => replay.engine.hear(register, date),
                Ok(Item::Calendar(date)) => replay.engine.set_date(date),
                Err(_) => {}
            }
        }
        replay.commit();
        let fates = replay.ledger.end_date().into_iter().map(|event| (event.date, event.fate));
        replay.history.fates.extend(fates);
        let stand = replay.places.take().unwrap_or_default();
        replay.note(replay.engine.today(), &stand);
        replay.history
    }

    fn commit(&mut self) {
        let before = self.ledger.today();
        let output = self.engine.commit();
        let stood = self.places.clone();
        self.check_moves(&output.moves);
        self.check_scores(output.is_first, &output.rejudged);
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let effects = self.ledger.apply(output.epoch, output.date, resettled, &output.changes, &[]);
        self.history.fates.extend(effects.families.into_iter().map(|event| (event.date, event.fate)));
        if let Some(stood) = stood.filter(|_| before < output.date) {
            self.note(before, &stood);
        }
    }

    /// Moves are all there is between where people stood and where they stand.
    fn check_moves(&mut self, moves: &[Move]) {
        let place = |(household, person, role)| (person, Membership { household, role });
        let stand: BTreeMap<_, _> = self.engine.members().map(place).collect();
        if self.engine.today() == Date::BEFORE_ALL {
            return;
        }
        let Some(places) = &mut self.places else {
            assert!(moves.is_empty(), "where people stand at first is no move");
            self.places = Some(stand);
            return;
        };
        for (person, from, to) in moves {
            assert_eq!(places.remove(person).unwrap_or(Membership::OUTSIDE), *from, "{person}");
            if *to != Membership::OUTSIDE {
                places.insert(*person, *to);
            }
        }
        assert_eq!(*places, stand);
    }

    /// What is said of households judged otherwise is all that differs.
    fn check_scores(&mut self, is_first: bool, rejudged: &[Rejudged]) {
        assert!(!is_first || rejudged.is_empty() && self.scores.is_empty(), "how households are judged at first is no change");
        let stand = self.engine.judgements().map(|(household, _, judgement)| (household, judgement.scores()));
        let stand: BTreeMap<_, _> = stand.filter(|_| self.places.is_some()).collect();
        for (household, scores) in rejudged {
            let before = match scores {
                Some(scores) => self.scores.insert(*household, *scores),
                None => self.scores.remove(household),
            };
            assert_ne!(before, *scores, "{household:?} is said to be judged otherwise");
        }
        if is_first {
            self.scores.clone_from(&stand);
        }
        assert_eq!(self.scores, stand);
    }

    /// Keeps the ids at the end of a date: whoever is counted has one, and there are more only of families that wait for somebody.
    fn note(&mut self, date: Date, stood: &BTreeMap<PersonId, Membership>) {
        let families: Families = self.ledger.lineage().families().collect();
        let ids: BTreeSet<FamilyId> = families.values().copied().collect();
        assert_eq!(ids.len(), families.len(), "no two families share an id on {date:?}");
        let (away, counted): (Vec<HouseholdKey>, Vec<_>) =
            stood.values().map(|place| place.household).partition(|household| household.is_excluded());
        let households = BTreeSet::from_iter(counted);
        assert!(households.iter().all(|household| families.contains_key(household)), "every household has an id on {date:?}");
        assert!(families.len() <= households.len() + away.len(), "no other has one on {date:?}");
        self.history.days.insert(date, families);
    }
}

fn line(register: &str, key: &str, seq: u64, person: Option<&str>, data: &Value) -> Vec<u8> {
    let mut line = json!({"register": register, "key": key, "seq": seq, "op": "upsert", "event_date": "2026-01-31", "data": data});
    if let Some(person) = person {
        line["person"] = person.into();
    }
    line.to_string().into_bytes()
}

fn person(who: &str, sex: &str, born: &str) -> Vec<u8> {
    let data = json!({"birth_date": born, "sex": sex, "citizenship": "kz", "surname": "Омаров", "name": "Ерлан"});
    line("gbdfl.person", who, 1, Some(who), &data)
}

fn marriage(man: &str, woman: &str, seq: u64, ended: Option<&str>) -> Vec<u8> {
    let key = format!("M-{man}");
    let data = json!({"act_no": key, "man": man, "woman": woman, "registered": "2026-01-31", "ended": ended});
    line("zags.marriage", &key, seq, None, &data)
}

fn birth(child: &str, mother: &str, father: &str) -> Vec<u8> {
    let key = format!("B-{child}");
    line("zags.birth", &key, 1, None, &json!({"act_no": key, "child": child, "born": "2026-01-31", "mother": mother, "father": father}))
}

fn death(who: &str) -> Vec<u8> {
    line("zags.death", &format!("D-{who}"), 1, Some(who), &json!({"act_no": format!("D-{who}"), "died": "2026-01-31"}))
}

fn prison(who: &str, seq: u64, to: Option<&str>) -> Vec<u8> {
    let data = json!({"org": "I-1", "kind": "prison", "full_state_support": true, "from": "2026-01-31", "to": to});
    line("instit.stay", "I-1-2026-01-31", seq, Some(who), &data)
}

/// A journal of days of February 2026, each with its lines.
fn journal(days: impl IntoIterator<Item = (u32, Vec<Vec<u8>>)>) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    for (day, records) in days {
        lines.extend(morning(february(day)).split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        lines.extend(records);
    }
    lines
}

fn february(day: u32) -> Date {
    Date::from_ymd(2026, 2, day).unwrap()
}

/// The history of a journal, which is the same however its dates are cut.
fn history(lines: &[Vec<u8>]) -> History {
    let policy = load_policy("kz").expect("a package without mistakes");
    let history = Replay::of(&policy, lines, BY_DAY);
    for cut in [BY_LINE, Cut { workers: 3, commit_every: 4 }] {
        assert_eq!(Replay::of(&policy, lines, cut), history);
    }
    history
}

impl History {
    fn family(&self, day: u32, head: &str) -> Option<FamilyId> {
        self.days[&february(day)].get(&key(head)).copied()
    }

    /// What became of families after the first date.
    fn later(&self) -> Vec<(u32, Fate)> {
        let later = self.fates.iter().filter(|(date, _)| *date > february(1));
        later.map(|(date, fate)| (date.ymd().2, *fate)).collect()
    }
}

fn key(head: &str) -> HouseholdKey {
    HouseholdKey::family(number(head))
}

#[test]
fn a_family_goes_on_through_marriage_birth_prison_and_divorce() {
    let [woman, man, child] = [9001, 9021, 9041].map(iin);
    let mut days = vec![(1, vec![person(&woman, "F", "1990-05-02"), person(&man, "M", "1988-05-02")])];
    days.push((2, vec![marriage(&man, &woman, 1, None)]));
    days.push((3, vec![person(&child, "F", "2026-01-31"), birth(&child, &woman, &man)]));
    // The family is named after the father as long as the mother is away.
    days.push((4, vec![prison(&woman, 1, None)]));
    days.push((6, vec![prison(&woman, 2, Some("2026-02-06"))]));
    days.push((7, vec![marriage(&man, &woman, 2, Some("2026-02-07"))]));
    let history = history(&journal(days));

    let (family, his) = (history.family(1, &woman).unwrap(), history.family(1, &man).unwrap());
    let again = history.family(7, &man).unwrap();
    assert!(again != his && again != family, "a family that was merged does not come back");
    let carried = |from: &str, to: &str| Fate::CarriedOver { family, from_key: key(from), to_key: key(to) };
    let wanted = [
        (2, Fate::Merged { from: his, into: family }),
        (4, carried(&woman, &man)),
        (6, carried(&man, &woman)),
        (7, Fate::Split { from: family, to: again, key: key(&man) }),
    ];
    assert_eq!(history.later(), wanted);
    assert_eq!(history.family(7, &woman), Some(family));
}

#[test]
fn a_widower_keeps_the_family_and_a_grown_child_leaves_it() {
    let [wife, husband, child, baby] = [9001, 9021, 9041, 9061].map(iin);
    let first = vec![
        person(&wife, "F", "1980-05-02"),
        person(&husband, "M", "1978-05-02"),
        marriage(&husband, &wife, 1, None),
        person(&child, "M", "2008-02-04"),
        birth(&child, &wife, &husband),
        person(&baby, "M", "2020-02-04"),
        birth(&baby, &wife, &husband),
    ];
    let history = history(&journal([(1, first), (2, vec![death(&wife)]), (3, vec![]), (4, vec![])]));
    let family = history.family(1, &wife).unwrap();
    let grown = history.family(4, &child).unwrap();
    let wanted = [
        (2, Fate::CarriedOver { family, from_key: key(&wife), to_key: key(&husband) }),
        (4, Fate::Split { from: family, to: grown, key: key(&child) }),
    ];
    assert_eq!(history.later(), wanted);
    assert_eq!((history.family(4, &husband), history.days[&february(4)].len()), (Some(family), 2));
}

#[test]
fn who_is_away_still_belongs_to_a_family_that_waits() {
    let [alone, mother, father, child] = [9001, 9021, 9041, 9061].map(iin);
    let first = vec![
        person(&alone, "M", "1980-05-02"),
        person(&mother, "F", "1980-05-02"),
        person(&father, "M", "1978-05-02"),
        person(&child, "M", "2015-02-04"),
        birth(&child, &mother, &father),
    ];
    // The child goes to the father's family meanwhile, and back.
    let days = [
        (1, first),
        (2, vec![prison(&alone, 1, None), prison(&mother, 1, None)]),
        (3, vec![]),
        (4, vec![prison(&alone, 2, Some("2026-02-04")), prison(&mother, 2, Some("2026-02-04"))]),
        (5, vec![prison(&alone, 3, None)]),
        (6, vec![death(&alone)]),
    ];
    let history = history(&journal(days));
    for head in [&alone, &mother] {
        let family = history.family(1, head);
        assert!(family.is_some() && family == history.family(3, head) && family == history.family(4, head), "a family waits");
    }
    assert_eq!(history.later(), [(6, Fate::Closed { family: history.family(1, &alone).unwrap() })], "who dies away ends the family");
}

/// On one day the mother dies, three children come of age, and the father takes the two young ones to his new wife. Three of six went
/// to her and one to each new key, so that the family is merged into hers, and no grown child carries it on.
#[test]
fn most_people_decide_where_a_family_goes() {
    let [mother, father, wife, young, younger] = [9001, 9021, 9041, 9061, 9081].map(iin);
    let grown = [9101, 9121, 9141].map(iin);
    let mut first = vec![person(&mother, "F", "1970-05-02"), person(&father, "M", "1970-05-02"), person(&wife, "F", "1980-05-02")];
    first.push(marriage(&father, &mother, 1, None));
    let born = |child: &String, born: &str| [person(child, "M", born), birth(child, &mother, &father)];
    first.extend([&young, &younger].into_iter().flat_map(|child| born(child, "2015-02-04")));
    first.extend(grown.iter().flat_map(|child| born(child, "2008-02-02")));
    let mut second = vec![death(&mother), marriage(&father, &mother, 2, Some("2026-02-01"))];
    second.push(line("zags.marriage", "M-2", 1, None, &json!({"act_no": "M-2", "man": father, "woman": wife, "registered": "2026-02-01"})));
    let history = history(&journal([(1, first), (2, second)]));
    let (from, into) = (history.family(1, &mother).unwrap(), history.family(1, &wife).unwrap());
    let mut wanted: Vec<_> =
        grown.iter().map(|child| Fate::Split { from, to: history.family(2, child).unwrap(), key: key(child) }).collect();
    wanted.sort();
    wanted.push(Fate::Merged { from, into });
    assert_eq!(history.later().into_iter().map(|(_, fate)| fate).collect::<Vec<_>>(), wanted);
}

#[test]
fn ids_do_not_depend_on_epochs_order_or_workers() {
    let policy = load_policy("kz").expect("a package without mistakes");
    let mut seen = BTreeSet::new();
    for seed in 500..512 {
        let lines = lives(seed, 25, 20);
        let history = Replay::of(&policy, &lines, BY_DAY);
        assert_eq!(Replay::of(&policy, &lines, BY_LINE), history, "seed {seed}, an epoch a line");
        let shuffled = shuffle(&lines, seed);
        assert_eq!(Replay::of(&policy, &shuffled, Cut { workers: 3, commit_every: 5 }), history, "seed {seed}, three workers");
        seen.extend(history.fates.iter().map(|(_, fate)| fate.name()));
    }
    assert_eq!(seen, BTreeSet::from(["carried over", "closed", "founded", "merged", "split"]), "random lives show every fate");
}
