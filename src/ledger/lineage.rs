//! The lineage of families: ids that stay when the household key changes.
//!
//! A household key is a function of facts: when the wife dies, her family is named after her husband from then on. To whoever
//! follows a family (a case, a visit, a statistic) it is the same one. This fold gives each family an id, and tells its fate:
//!
//! - A key that nobody came from is **founded**; so is every key of the first date, when nothing is known of before.
//! - A family whose key vanished goes where most of its people went (ties: to a key that appeared, then to the lowest). If that
//!   key appeared and no other family brings it more people (ties: the lower old key), the id is **carried over** to it. If it is
//!   a family of its own, the vanished one is **merged** into it. With nobody left it is **closed**.
//! - A key that appeared and carries no id on is **split** from the family that most of its people came from (ties: the lower id).
//! - Excluded people (prison, term service, full state support) still belong to the family they left, and their keys (`X:`) are no
//!   families. A family of which only such people are left waits, and goes on when its key appears again or its people found
//!   another.
//!
//! One date is one step: what appears and vanishes, leaves and comes back within a date has never been. So ids depend on the
//! records up to each business date alone, and not on how a date's records were cut into epochs, on their order, or on the number
//! of workers. For the same reason a family that appeared today has its id once the date is over.

use dataflows::model::{Date, HouseholdKey, Move, PersonId, Restanding};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// A family, whatever its key: a hash of its first key and the date on which that appeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FamilyId(pub u128);

impl FamilyId {
    /// A key appears at most once on a date, so nobody else has this id.
    fn new(key: HouseholdKey, date: Date) -> Self {
        let mut bytes = key.0.to_le_bytes().to_vec();
        bytes.extend(date.0.to_le_bytes());
        FamilyId(xxh3_128(&bytes))
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What became of a family on a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fate {
    CarriedOver { family: FamilyId, from_key: HouseholdKey, to_key: HouseholdKey },
    Founded { family: FamilyId, key: HouseholdKey },
    Split { from: FamilyId, to: FamilyId, key: HouseholdKey },
    Merged { from: FamilyId, into: FamilyId },
    Closed { family: FamilyId },
}

impl Fate {
    /// The word used in counts.
    pub fn name(self) -> &'static str {
        match self {
            Fate::CarriedOver { .. } => "carried over",
            Fate::Founded { .. } => "founded",
            Fate::Split { .. } => "split",
            Fate::Merged { .. } => "merged",
            Fate::Closed { .. } => "closed",
        }
    }
}

/// A line of a family's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FamilyEvent {
    pub date: Date,
    pub fate: Fate,
}

/// What an epoch says of households: which of them appeared or vanished, and who moved between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resettled<'a> {
    pub standings: &'a [Restanding],
    pub moves: &'a [Move],
}

/// The ids of all families.
#[derive(Default, Serialize, Deserialize)]
pub struct Lineage {
    /// By key, the last one of a family that waits.
    families: HashMap<HouseholdKey, FamilyId>,
    /// Families without anybody counted, while somebody of theirs is away: their last keys.
    waiting: BTreeMap<FamilyId, HouseholdKey>,
    away: Away,
    under_way: Option<Day>,
}

/// People who are excluded, and where they belong.
#[derive(Default, Serialize, Deserialize)]
struct Away {
    homes: HashMap<PersonId, FamilyId>,
    /// By family: how many of its people are away.
    absent: HashMap<FamilyId, u32>,
}

impl Away {
    fn leave(&mut self, person: PersonId, home: FamilyId) {
        self.homes.insert(person, home);
        *self.absent.entry(home).or_default() += 1;
    }

    fn back(&mut self, person: PersonId) -> Option<FamilyId> {
        let home = self.homes.remove(&person)?;
        let absent = self.absent.get_mut(&home)?;
        *absent -= 1;
        if *absent == 0 {
            self.absent.remove(&home);
        }
        Some(home)
    }
}

/// What has happened on a date so far, net.
#[derive(Serialize, Deserialize)]
struct Day {
    date: Date,
    /// Whether the key was there before, and is there now.
    keys: BTreeMap<HouseholdKey, (bool, bool)>,
    moves: BTreeMap<PersonId, (HouseholdKey, HouseholdKey)>,
}

impl Day {
    fn new(date: Date) -> Self {
        Day { date, keys: BTreeMap::new(), moves: BTreeMap::new() }
    }

    fn keys(&self, from: bool, to: bool) -> impl Iterator<Item = HouseholdKey> + '_ {
        self.keys.iter().filter(move |(_, was_is)| **was_is == (from, to)).map(|(key, _)| *key)
    }
}

/// How many people of a family went to a household, on one date.
type Flows = BTreeMap<FamilyId, BTreeMap<HouseholdKey, usize>>;

impl Lineage {
    /// Takes in an epoch, whose business date is never before those of earlier ones; what became of families on the date that it
    /// ends, if it begins another.
    pub fn apply(&mut self, date: Date, Resettled { standings, moves }: Resettled<'_>) -> Vec<FamilyEvent> {
        let ended = if self.under_way.as_ref().is_some_and(|day| day.date < date) { self.end_date() } else { Vec::new() };
        let day = self.under_way.get_or_insert_with(|| Day::new(date));
        for (key, before, now) in standings.iter().filter(|(_, before, now)| before.is_some() != now.is_some()) {
            day.keys.entry(*key).or_insert((before.is_some(), false)).1 = now.is_some();
        }
        // On the first date families come from nowhere, whatever part of them was said in its first epoch.
        let moved = |(_, from, to): &&Move| from.household != to.household && !self.families.is_empty();
        for (person, from, to) in moves.iter().filter(moved) {
            day.moves.entry(*person).or_insert((from.household, to.household)).1 = to.household;
        }
        ended
    }

    /// Ends the date under way, of which nothing more may come: what became of families.
    pub fn end_date(&mut self) -> Vec<FamilyEvent> {
        let Some(day) = self.under_way.take() else { return Vec::new() };
        let mut appeared: BTreeSet<HouseholdKey> = day.keys(false, true).collect();
        let (flows, mut homeless) = self.follow(&day);
        for key in appeared.clone() {
            // A family that waited under this key goes on.
            if let Some(family) = self.families.get(&key) {
                self.waiting.remove(family);
                homeless.remove(family);
                appeared.remove(&key);
            }
        }
        let mut fates = self.carry_over(&flows, &mut appeared, &mut homeless);
        fates.extend(self.begin(day.date, &flows, &appeared));
        fates.extend(homeless.into_iter().filter_map(|(family, key)| self.end(family, key, &flows)));
        fates.sort_unstable();
        fates.into_iter().map(|fate| FamilyEvent { date: day.date, fate }).collect()
    }

    /// The family under this key when the last date ended.
    pub fn family(&self, key: HouseholdKey) -> Option<FamilyId> {
        self.families.get(&key).copied()
    }

    /// All families when the last date ended, by key and in no order; of those that wait, the last key.
    pub fn families(&self) -> impl ExactSizeIterator<Item = (HouseholdKey, FamilyId)> {
        self.families.iter().map(|(key, family)| (*key, *family))
    }

    /// Notes who is away now; where people of each family went, and which families have no key today, with their last ones.
    fn follow(&mut self, day: &Day) -> (Flows, BTreeMap<FamilyId, HouseholdKey>) {
        let mut flows = Flows::new();
        let mut homeless: BTreeMap<FamilyId, HouseholdKey> =
            day.keys(true, false).filter_map(|key| Some((*self.families.get(&key)?, key))).collect();
        for (&person, &(from, to)) in day.moves.iter().filter(|(_, (from, to))| from != to) {
            let home = if from.is_excluded() { self.away.back(person) } else { self.families.get(&from).copied() };
            let Some(home) = home else { continue };
            homeless.extend(self.waiting.get(&home).map(|key| (home, *key)));
            if to.is_excluded() {
                self.away.leave(person, home);
            } else if to != HouseholdKey::NONE {
                *flows.entry(home).or_default().entry(to).or_default() += 1;
            }
        }
        (flows, homeless)
    }

    /// Gives keys that appeared the ids of families that have none today; both leave the lists.
    fn carry_over(
        &mut self,
        flows: &Flows,
        appeared: &mut BTreeSet<HouseholdKey>,
        homeless: &mut BTreeMap<FamilyId, HouseholdKey>,
    ) -> Vec<Fate> {
        let mut claims: BTreeMap<HouseholdKey, (usize, Reverse<HouseholdKey>, FamilyId)> = BTreeMap::new();
        for (&family, &key) in homeless.iter() {
            let went = flows.get(&family).into_iter().flatten();
            let most = went.map(|(to, people)| (*people, appeared.contains(to), Reverse(*to))).max();
            if let Some((people, true, Reverse(to))) = most {
                let claim = (people, Reverse(key), family);
                claims.entry(to).and_modify(|first| *first = claim.max(*first)).or_insert(claim);
            }
        }
        let carry = |(to_key, (_, Reverse(from_key), family))| {
            appeared.remove(&to_key);
            homeless.remove(&family);
            self.waiting.remove(&family);
            self.families.remove(&from_key);
            self.families.insert(to_key, family);
            Fate::CarriedOver { family, from_key, to_key }
        };
        claims.into_iter().map(carry).collect()
    }

    /// New families: split from those that most of their people came from, or founded.
    fn begin(&mut self, date: Date, flows: &Flows, appeared: &BTreeSet<HouseholdKey>) -> Vec<Fate> {
        let mut origins: BTreeMap<HouseholdKey, (usize, Reverse<FamilyId>)> = BTreeMap::new();
        for (from, went) in flows {
            for (to, people) in went {
                let origin = (*people, Reverse(*from));
                origins.entry(*to).and_modify(|first| *first = origin.max(*first)).or_insert(origin);
            }
        }
        let begin = |&key: &HouseholdKey| {
            let family = FamilyId::new(key, date);
            self.families.insert(key, family);
            match origins.get(&key) {
                Some((_, Reverse(from))) => Fate::Split { from: *from, to: family, key },
                None => Fate::Founded { family, key },
            }
        };
        appeared.iter().map(begin).collect()
    }

    /// A family without a key waits as long as somebody is away, else it ends.
    fn end(&mut self, family: FamilyId, key: HouseholdKey, flows: &Flows) -> Option<Fate> {
        if self.away.absent.contains_key(&family) {
            self.waiting.insert(family, key);
            return None;
        }
        self.waiting.remove(&family);
        self.families.remove(&key);
        let went = flows.get(&family).into_iter().flatten();
        let most = went.map(|(to, people)| (*people, Reverse(*to))).max();
        Some(match most.and_then(|(_, Reverse(to))| self.family(to)) {
            Some(into) => Fate::Merged { from: family, into },
            None => Fate::Closed { family },
        })
    }
}
