//! Which numbers mean the same person.
//!
//! A record may say that a number was given up for another: on adoption, or because somebody had two (domain.md 2.3, E9 and E21).
//! [`Aliases`] is what such records together say on a day, a circumstance like the date: whoever has several numbers is known under
//! the one that stands, and the others are nobody. It is applied to records before they enter files, and never to what is kept of
//! them, so that an alias that turns out wrong is undone by applying another.
//!
//! A chain is followed to its end. Of several records that give up one number the latest counts, and in a circle the least number
//! stands; both are faults.

use crate::model::{Date, Fault, FaultKind, PersonId};
use crate::policy::file::{self, ABSENT, NewRecord, Record};
use crate::policy::{Alias, Policy};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What became of a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct GivenUp {
    /// The number that stands for it.
    kept: PersonId,
    /// It is in no output.
    secret: bool,
    /// The registers that say so.
    by: BTreeSet<u16>,
}

/// Records by register and key.
type Merged = BTreeMap<(u16, String), Box<[u8]>>;
/// A record under the number that stands, after what decides which one of a key is kept: the least stays.
type Ranked = (Reverse<Date>, bool, PersonId, String, Box<[u8]>);

/// The numbers that are given up on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases(HashMap<PersonId, GivenUp>);

/// What the records that declare aliases say on a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    pub aliases: Aliases,
    /// People who are said to have two numbers, of which neither is given up yet.
    pub doubtful: BTreeSet<PersonId>,
    pub faults: BTreeSet<Fault>,
}

/// An alias that is in force.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    given_up: PersonId,
    /// The latest first.
    from: Reverse<i64>,
    kept: PersonId,
    register: u16,
    key: String,
    secret: bool,
}

impl Declared {
    /// `records` are the winning versions of registers that declare an alias.
    pub fn on<'r>(policy: &Policy, records: impl Iterator<Item = Record<'r>>, today: Date) -> Declared {
        let (mut edges, mut reports) = (Vec::new(), Vec::new());
        for record in records.filter(|record| record.effective(today)) {
            let register = &policy.registers[usize::from(record.register)];
            let Some(alias) = &register.alias else { continue };
            let mut fields = vec![ABSENT; register.packed.len()];
            record.unpack(&register.packing, &mut fields);
            let begun = |position: usize| fields[position] != ABSENT && fields[position] <= i64::from(today.0);
            let (given_up, kept) = (fields[alias.given_up], fields[alias.kept]);
            if given_up == ABSENT || kept == ABSENT || given_up == kept {
                continue;
            }
            let (given_up, kept) = (given_up as PersonId, kept as PersonId);
            if begun(alias.from) {
                let secret = alias.secret.is_some_and(|position| fields[position] == 1);
                let (register, key) = (record.register, record.key(&register.packing));
                edges.push(Edge { given_up, from: Reverse(fields[alias.from]), kept, register, key, secret });
            } else if alias.reported.is_some_and(begun) {
                reports.push((given_up, kept, record));
            }
        }
        edges.sort();
        let mut declared = Declared::follow(&edges);
        for (one, other, record) in reports {
            let pair = [declared.aliases.kept(one), declared.aliases.kept(other)];
            for person in pair.into_iter().filter(|_| pair[0] != pair[1]) {
                let key = record.key(policy.packing(record.register)).into();
                declared.faults.insert(Fault { kind: FaultKind::TwoNumbers, register: record.register, key, person });
                declared.doubtful.insert(person);
            }
        }
        declared
    }

    /// Follows chains of sorted aliases to their ends.
    fn follow(edges: &[Edge]) -> Declared {
        let fault = |kind, edge: &Edge| Fault { kind, register: edge.register, key: edge.key.as_str().into(), person: 0 };
        let mut next: BTreeMap<PersonId, &Edge> = BTreeMap::new();
        let mut declared = Declared::default();
        for edge in edges {
            let counts = next.entry(edge.given_up).or_insert(edge);
            if counts.kept != edge.kept {
                declared.faults.insert(fault(FaultKind::TwoAliases, edge));
            }
        }
        for number in next.keys().copied() {
            let mut path = vec![number];
            let kept = loop {
                let last = path[path.len() - 1];
                let Some(edge) = next.get(&last) else { break last };
                if let Some(start) = path.iter().position(|other| *other == edge.kept) {
                    let circle = &path[start..];
                    declared.faults.extend(circle.iter().map(|number| fault(FaultKind::AliasCircle, next[number])));
                    break circle.iter().copied().min().expect("a circle has a number");
                }
                path.push(edge.kept);
            };
            if kept != number {
                let said = || edges.iter().filter(|edge| edge.given_up == number);
                let (secret, by) = (said().any(|edge| edge.secret), said().map(|edge| edge.register).collect());
                declared.aliases.0.insert(number, GivenUp { kept, secret, by });
            }
        }
        declared
    }
}

impl Aliases {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number that stands for this one: itself, unless it is given up.
    pub fn kept(&self, number: PersonId) -> PersonId {
        self.0.get(&number).map_or(number, |given_up| given_up.kept)
    }

    /// Whether the number is given up and in no output.
    pub fn is_secret(&self, number: PersonId) -> bool {
        self.0.get(&number).is_some_and(|given_up| given_up.secret)
    }

    /// The numbers that are given up and in no output.
    pub fn secret(&self) -> BTreeSet<PersonId> {
        self.0.iter().filter(|(_, given_up)| given_up.secret).map(|(number, _)| *number).collect()
    }

    /// Everybody who has several numbers: the one that stands, and all of them, both ascending.
    pub fn people(&self) -> BTreeMap<PersonId, BTreeSet<PersonId>> {
        let mut people: BTreeMap<PersonId, BTreeSet<PersonId>> = BTreeMap::new();
        for (number, GivenUp { kept, .. }) in &self.0 {
            people.entry(*kept).or_insert_with(|| BTreeSet::from([*kept])).insert(*number);
        }
        people
    }

    /// The numbers given up, each with the one that stands for it.
    pub fn given_up(&self) -> BTreeMap<PersonId, PersonId> {
        self.0.iter().map(|(number, given_up)| (*number, given_up.kept)).collect()
    }

    /// Whether an act names a number that is given up.
    pub fn concern(&self, policy: &Policy, act: &Record<'_>) -> bool {
        if self.is_empty() {
            return false;
        }
        let (register, fields) = unpacked(policy, act);
        policy.registers[register].people().any(|position| self.0.contains_key(&(fields[position] as PersonId)))
    }

    /// Whether an act counts for nobody: it names a number where whatever gave that up closes such acts.
    pub fn close(&self, policy: &Policy, act: &Record<'_>) -> bool {
        if self.is_empty() {
            return false;
        }
        let (register, fields) = unpacked(policy, act);
        policy.registers[register].people().any(|position| {
            let given_up = self.0.get(&(fields[position] as PersonId));
            let mut by = given_up.into_iter().flat_map(|given_up| &given_up.by);
            let closes = |alias: &Alias| alias.closes.contains(&(act.register, position));
            by.any(|declaring| policy.registers[usize::from(*declaring)].alias.as_ref().is_some_and(closes))
        })
    }

    /// Whether a text names a number that was given up in secret.
    pub fn are_told_by(&self, policy: &Policy, text: &str) -> bool {
        let numbers = || text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| policy.person.parse(digits).ok());
        !self.is_empty() && numbers().any(|number| self.is_secret(number))
    }

    /// A record with the numbers that stand in place of those given up, wherever it names people, and in its key in place of these
    /// `numbers`.
    pub fn rename(&self, policy: &Policy, record: &Record<'_>, numbers: &[PersonId]) -> Box<[u8]> {
        let (register, mut fields) = unpacked(policy, record);
        let register = &policy.registers[register];
        for position in register.people() {
            if fields[position] != ABSENT {
                fields[position] = self.kept(fields[position] as PersonId) as i64;
            }
        }
        let mut key = record.key(&register.packing);
        for number in numbers.iter().filter(|_| register.keys_name_people(policy.person)) {
            key = replace_number(&key, &policy.person.format(*number), &policy.person.format(self.kept(*number)));
        }
        let fields = if record.deleted() { &[] } else { fields.as_slice() };
        let (seq, deleted, event_date, shown) = (record.seq, record.deleted(), record.event_date(), record.shown());
        let mut bytes = Vec::with_capacity(record.bytes.len());
        NewRecord { register: record.register, key: &key, seq, deleted, event_date, shown, fields }.pack(&register.packing, &mut bytes);
        file::set_conflict(&mut bytes, record.conflict());
        bytes.into()
    }

    /// The records of somebody who has several numbers, under the one that stands. Under all of them a key means one record: of
    /// those that are not deleted the one kept longest, of equals the one under the number that stands, then under the least, then of
    /// the least key as it came.
    pub fn merge<'f>(&self, policy: &Policy, files: impl Iterator<Item = (PersonId, &'f [u8])>) -> Merged {
        let files: Vec<(PersonId, &[u8])> = files.collect();
        let numbers: Vec<PersonId> = files.iter().map(|(number, _)| *number).collect();
        let mut merged: BTreeMap<(u16, String), Ranked> = BTreeMap::new();
        for (number, file) in files {
            for record in file::records(file).filter(|record| !record.deleted()) {
                let register = &policy.registers[usize::from(record.register)];
                let until = register.retained_from(&record, &mut vec![ABSENT; register.packed.len()]).unwrap_or(Date::NEVER);
                let renamed = self.rename(policy, &record, &numbers);
                let identity = (record.register, Record::read(&renamed).key(&register.packing));
                let rank = (Reverse(until), self.kept(number) != number, number, record.key(&register.packing), renamed);
                match merged.get_mut(&identity) {
                    Some(held) if *held <= rank => {}
                    Some(held) => *held = rank,
                    None => drop(merged.insert(identity, rank)),
                }
            }
        }
        merged.into_iter().map(|(identity, (.., record))| (identity, record)).collect()
    }
}

/// The register of a record, as an index, and all of its packed fields.
fn unpacked(policy: &Policy, record: &Record<'_>) -> (usize, Vec<i64>) {
    let index = usize::from(record.register);
    let register = &policy.registers[index];
    let mut fields = vec![ABSENT; register.packed.len()];
    record.unpack(&register.packing, &mut fields);
    (index, fields)
}

/// A key with another number in place of one, where that is not part of a longer one.
fn replace_number(key: &str, number: &str, other: &str) -> String {
    let mut replaced = String::new();
    let mut rest = key;
    while let Some(at) = rest.find(number) {
        let (before, after) = (&rest[..at], &rest[at + number.len()..]);
        let part = before.ends_with(|last: char| last.is_ascii_digit()) || after.starts_with(|first: char| first.is_ascii_digit());
        replaced.push_str(before);
        replaced.push_str(if part { number } else { other });
        rest = after;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(given_up: PersonId, kept: PersonId, from: i64, secret: bool) -> Edge {
        Edge { given_up, from: Reverse(from), kept, register: 0, key: format!("{given_up}-{kept}"), secret }
    }

    /// Number and what stands for it, and the faults by kind and key.
    type Followed = (Vec<(PersonId, PersonId)>, Vec<(FaultKind, String)>);

    fn follow(mut edges: Vec<Edge>) -> Followed {
        edges.sort();
        let declared = Declared::follow(&edges);
        let faults = declared.faults.iter().map(|fault| (fault.kind, fault.key.to_string())).collect();
        (declared.aliases.given_up().into_iter().collect(), faults)
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        assert_eq!(follow(vec![edge(1, 2, 10, true), edge(2, 3, 5, false)]), (vec![(1, 3), (2, 3)], vec![]));
    }

    #[test]
    fn of_two_records_about_one_number_the_later_counts() {
        let (aliases, faults) = follow(vec![edge(1, 2, 10, false), edge(1, 3, 11, false), edge(1, 3, 9, false)]);
        assert_eq!(aliases, [(1, 3)]);
        assert_eq!(faults, [(FaultKind::TwoAliases, "1-2".to_owned())]);
    }

    #[test]
    fn in_a_circle_the_least_number_stands_also_for_those_who_lead_to_it() {
        let (aliases, faults) = follow(vec![edge(7, 4, 1, false), edge(4, 5, 1, false), edge(5, 3, 1, false), edge(3, 4, 1, false)]);
        assert_eq!(aliases, [(4, 3), (5, 3), (7, 3)]);
        let circle = ["3-4", "4-5", "5-3"].map(|key| (FaultKind::AliasCircle, key.to_owned()));
        assert_eq!(faults, circle);
    }

    #[test]
    fn one_secret_record_makes_a_number_secret() {
        let mut edges = vec![edge(1, 2, 10, false), edge(1, 2, 3, true), edge(3, 2, 3, false)];
        edges.sort();
        let Declared { aliases, .. } = Declared::follow(&edges);
        assert!(aliases.is_secret(1) && !aliases.is_secret(2) && !aliases.is_secret(3));
    }

    #[test]
    fn a_number_within_a_longer_one_is_another() {
        assert_eq!(replace_number("17-2017-17/3 17", "17", "5"), "5-2017-5/3 5");
        assert_eq!(replace_number("170", "17", "5"), "170");
    }
}
