//! What a person's file says of who belongs together: ties of people and addresses, faults among them, and whom tied people are told of.
//!
//! One look at a file is a pure function of the file, the circumstances and the policy.

use crate::facts::{AdultFact, Care, ChildFact, Resident};
use crate::model::{Date, Fault, FaultKind, HouseholdKey, Membership, PersonId, Role};
use crate::policy::file::{self, ABSENT, Record};
use crate::policy::{Composition, Environment, Evaluator, Policy, Tie, TieKind};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One thing that a file says about who belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// Where somebody stands whose place depends on nobody else.
    Place(PersonId, Membership),
    Adult(PersonId, AdultFact),
    Child(PersonId, ChildFact),
    /// Is registered at an address.
    Resides(u64, Resident),
}

/// Everything that one look at a file shows.
#[derive(Default)]
pub(crate) struct View {
    pub facts: Vec<Fact>,
    pub faults: Vec<Fault>,
    /// People to whom the kin row goes, with what the person is to them.
    pub kin: Vec<(PersonId, i64)>,
    /// The kin row's declared values; empty when there is none.
    pub kin_values: Vec<i64>,
}

impl View {
    pub fn clear(&mut self) {
        self.facts.clear();
        self.faults.clear();
        self.kin.clear();
        self.kin_values.clear();
    }
}

/// What the records in force say beside the ties themselves.
struct Ties {
    /// The first date on which they may say something else by themselves.
    horizon: Date,
    away: bool,
    /// Whether any record is seen at all: nobody is there of whom none is.
    seen: bool,
}

/// How long a tie is in force, as its record says.
struct Term {
    from: Option<i64>,
    until: Option<i64>,
}

impl Term {
    fn of(tie: &Tie, fields: &[i64]) -> Term {
        let bound = |position: Option<usize>| position.map(|position| fields[position]).filter(|&date| date != ABSENT);
        Term { from: bound(tie.from), until: bound(tie.until) }
    }

    fn is_in_force(&self, today: Date) -> bool {
        let today = i64::from(today.0);
        self.from.is_none_or(|date| date <= today) && self.until.is_none_or(|date| today < date)
    }
}

/// Whom a tie joins, or a person and an address.
fn ends(tie: &Tie, person: PersonId, fields: &[i64]) -> (i64, Option<i64>) {
    let first = tie.first.map_or(person as i64, |position| fields[position]);
    (first, tie.second.map(|position| fields[position]))
}

/// The dwelling of somebody who is registered nowhere is their own; codes of addresses are smaller.
const NOWHERE: u64 = 1 << 63;

/// Where a person is registered, as composition sees it: of several addresses in force the one begun last; who is registered
/// nowhere has an address for themselves. `fields` is room to work in.
pub fn address(policy: &Policy, environment: &Environment, person: PersonId, file: &[u8], fields: &mut Vec<i64>) -> u64 {
    let mut latest: Option<(i64, Record<'_>, u64)> = None;
    for record in file::records(file) {
        let register = &policy.registers[record.register as usize];
        let mut ties = register.ties.iter().filter(|tie| tie.kind == TieKind::Address).peekable();
        if ties.peek().is_none() || !record.effective(environment.today) {
            continue;
        }
        fields.resize(register.packed.len().max(fields.len()), ABSENT);
        if register.retained_from(&record, fields).is_some_and(|period| environment.forgets(record.register, period)) {
            continue;
        }
        record.unpack(&register.packing, fields);
        for tie in ties {
            let (term, ends) = (Term::of(tie, fields), ends(tie, person, fields));
            if let (true, (first, Some(second))) = (term.is_in_force(environment.today), ends)
                && first == person as i64
                && second != ABSENT
                && second != first
            {
                let from = term.from.unwrap_or(ABSENT);
                let key = |record: &Record<'_>| record.key(policy.packing(record.register));
                let later = |known: &(i64, Record<'_>, u64)| {
                    from > known.0 || from == known.0 && (key(&record), second as u64) > (key(&known.1), known.2)
                };
                if latest.as_ref().is_none_or(later) {
                    latest = Some((from, record, second as u64));
                }
            }
        }
    }
    latest.map_or(NOWHERE | person, |(.., address)| address)
}

/// Reads files: pure, but for its buffers.
pub(crate) struct Eye {
    pub policy: Arc<Policy>,
    pub evaluator: Evaluator,
    fields: Vec<i64>,
    marriages: Vec<Tied>,
    guardians: Vec<(i64, PersonId)>,
    holders: Vec<(i64, PersonId)>,
    parents: Vec<PersonId>,
    wards: Vec<PersonId>,
    /// Guardianships held.
    guardianships: Vec<Tied>,
    children: Vec<PersonId>,
    addresses: Vec<Tied>,
}

/// With whom, or with which address, a record ties a person.
#[derive(Clone, Copy)]
struct Tied {
    from: i64,
    other: u64,
    register: u16,
    /// Where in the file the record is: its key counts only among ties that begin on one day, and in faults.
    at: u32,
}

impl Tied {
    fn key(&self, policy: &Policy, file: &[u8]) -> String {
        Record::read(&file[self.at as usize..]).key(policy.packing(self.register))
    }

    /// The latest first; of one day the one with the greatest key.
    fn later(&self, other: &Tied, policy: &Policy, file: &[u8]) -> Ordering {
        let by_key = || other.key(policy, file).cmp(&self.key(policy, file));
        let by_end = || (other.other, other.register).cmp(&(self.other, self.register));
        other.from.cmp(&self.from).then_with(by_key).then_with(by_end)
    }
}

/// What kin is called in the built-in register's `kind`, by index.
const SPOUSE: i64 = 0;
const PARENT: i64 = 1;
const CHILD: i64 = 2;
const GUARDIAN: i64 = 3;
const WARD: i64 = 4;

impl Eye {
    pub fn new(policy: Arc<Policy>) -> Self {
        let width = policy.registers.iter().map(|register| register.packed.len()).max().unwrap_or(0);
        Eye {
            evaluator: Evaluator::new(policy.clone()),
            fields: vec![ABSENT; width],
            policy,
            marriages: Vec::new(),
            guardians: Vec::new(),
            holders: Vec::new(),
            parents: Vec::new(),
            wards: Vec::new(),
            guardianships: Vec::new(),
            children: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// Writes what `file` says of `person` into `view`; returns the first date on which it may say something else by itself.
    pub fn look(&mut self, environment: &Environment, person: PersonId, file: &[u8], view: &mut View) -> Date {
        view.clear();
        let mut found = Vec::new();
        let (composition, horizon) = self.evaluator.composition(environment, person, file, |index| found.push(index));
        let Ties { mut horizon, away, seen } = self.read_ties(environment, person, file, composition.exists, horizon, &mut view.faults);
        if seen {
            view.faults.extend(found.into_iter().map(|index| declared(index, person)));
        }
        if composition.exists && seen {
            self.compose(person, &composition, away, file, view);
        }
        let (values, kin_horizon) = self.evaluator.kin(environment, person, file);
        horizon = horizon.min(kin_horizon);
        if let Some(values) = values {
            view.kin_values.extend_from_slice(values);
            self.tied_people(person, &mut view.kin);
        }
        horizon
    }

    /// What composition is told of somebody who exists, and the contradictions among their ties.
    fn compose(&self, person: PersonId, composition: &Composition, away: bool, file: &[u8], view: &mut View) {
        let key = |tied: &Tied| tied.key(&self.policy, file).into();
        if let [latest, _, ..] = &self.marriages[..] {
            view.faults.push(Fault { kind: FaultKind::TwoMarriages, register: latest.register, key: key(latest), person });
        }
        let child = self.is_child(composition);
        if child {
            let fault = |held: &Tied| Fault { kind: FaultKind::ChildGuardian, register: held.register, key: key(held), person: held.other };
            view.faults.extend(self.guardianships.iter().map(fault));
        }
        if composition.alive {
            self.place(person, composition, child, away, &mut view.facts);
        }
    }

    /// Collects the ties of the records in force, and the faults of all records.
    fn read_ties(
        &mut self,
        environment: &Environment,
        person: PersonId,
        file: &[u8],
        exists: bool,
        mut horizon: Date,
        faults: &mut Vec<Fault>,
    ) -> Ties {
        self.clear();
        let (policy, today) = (self.policy.clone(), environment.today);
        let (mut away, mut seen, mut lasting, mut passing_fault) = (false, false, false, false);
        let mut next = 0;
        for record in file::records(file) {
            let at = next;
            next += record.bytes.len() as u32;
            if record.register == policy.kin_register {
                continue;
            }
            let register = &policy.registers[record.register as usize];
            let period = register.retained_from(&record, &mut self.fields);
            let mut fault = |kind| {
                passing_fault |= period.is_some();
                faults.push(Fault { kind, register: record.register, key: record.key(&register.packing).into(), person });
            };
            if period.is_some_and(|period| environment.forgets(record.register, period)) {
                continue;
            }
            if record.conflict() && !register.global {
                fault(FaultKind::Conflict);
            }
            if let Some(date) = record.event_date().filter(|date| *date > today && !record.deleted()) {
                fault(FaultKind::Future);
                horizon = horizon.min(date);
            }
            if !record.effective(today) {
                continue;
            }
            seen = true;
            lasting |= period.is_none();
            if !exists {
                fault(FaultKind::Nobody);
            }
            if register.ties.is_empty() {
                continue;
            }
            // What ties people does so for no longer than it is kept.
            let expiry = period.zip(register.retain_months).map(|(period, months)| period.add_months(months));
            horizon = expiry.map_or(horizon, |expiry| horizon.min(expiry));
            record.unpack(&register.packing, &mut self.fields);
            for tie in &register.ties {
                let term = Term::of(tie, &self.fields);
                for date in [term.from, term.until].into_iter().flatten().filter(|&date| date > i64::from(today.0)) {
                    horizon = horizon.min(Date(date as i32));
                }
                if term.is_in_force(today) {
                    away |= tie.kind == TieKind::Away;
                    let from = term.from.unwrap_or(ABSENT);
                    self.take_tie(tie.kind, person, ends(tie, person, &self.fields), |other| Tied {
                        from,
                        other,
                        register: record.register,
                        at,
                    });
                }
            }
        }
        self.sort(file);
        // Of somebody of whom only passing records are known, nothing may be known on another day; a fault passes with its record.
        let passing = passing_fault || seen && !lasting;
        let horizon = if passing { horizon.min(self.first_expiry(today, file)) } else { horizon };
        Ties { horizon, away, seen }
    }

    /// The first later day on which a record of the file is kept no longer.
    fn first_expiry(&mut self, today: Date, file: &[u8]) -> Date {
        let expiry = |record: Record<'_>| {
            let register = &self.policy.registers[record.register as usize];
            Some(register.retained_from(&record, &mut self.fields)?.add_months(register.retain_months?))
        };
        file::records(file).filter_map(expiry).filter(|expiry| *expiry > today).min().unwrap_or(Date::NEVER)
    }

    fn take_tie(&mut self, kind: TieKind, person: PersonId, ends: (i64, Option<i64>), tied: impl Fn(u64) -> Tied) {
        let (first, second) = (ends.0, ends.1.unwrap_or(ABSENT));
        if second == ABSENT || first == ABSENT || first == second {
            return;
        }
        let me = person as i64;
        let from = tied(0).from;
        match kind {
            TieKind::Address if first == me => self.addresses.push(tied(second as u64)),
            TieKind::Address | TieKind::Away => {}
            TieKind::Spouses => {
                let spouse = if first == me { second } else { first };
                self.marriages.push(tied(spouse as PersonId));
            }
            TieKind::Parent if first == me => self.parents.push(second as PersonId),
            TieKind::Parent => self.children.push(first as PersonId),
            TieKind::Guardian if first == me => self.guardians.push((from, second as PersonId)),
            TieKind::Custody if first == me => self.holders.push((from, second as PersonId)),
            TieKind::Guardian => {
                self.wards.push(first as PersonId);
                self.guardianships.push(tied(first as PersonId));
            }
            TieKind::Custody => self.wards.push(first as PersonId),
        }
    }

    fn clear(&mut self) {
        self.marriages.clear();
        self.guardians.clear();
        self.holders.clear();
        self.parents.clear();
        self.wards.clear();
        self.guardianships.clear();
        self.children.clear();
        self.addresses.clear();
    }

    /// The latest first, so that the first marriage, address, guardian and holder is the one that counts.
    fn sort(&mut self, file: &[u8]) {
        let policy = &self.policy;
        self.marriages.sort_unstable_by(|a, b| a.later(b, policy, file));
        self.addresses.sort_unstable_by(|a, b| a.later(b, policy, file));
        let latest = |(from, person): &(i64, PersonId)| (std::cmp::Reverse(*from), *person);
        self.guardians.sort_unstable_by_key(latest);
        self.holders.sort_unstable_by_key(latest);
        for appointed in [&mut self.guardians, &mut self.holders] {
            let mut named = BTreeSet::new();
            appointed.retain(|(_, person)| named.insert(*person));
        }
        for people in [&mut self.parents, &mut self.wards, &mut self.children] {
            people.sort_unstable();
            people.dedup();
        }
    }

    /// Domain rule 5: a minor, or a student without a child of their own; not married.
    fn is_child(&self, composition: &Composition) -> bool {
        self.marriages.is_empty() && (composition.minor || composition.student && self.children.is_empty())
    }

    /// What composition is told of somebody alive (domain.md 2.2, rules 3 to 7).
    fn place(&self, person: PersonId, composition: &Composition, child: bool, away: bool, facts: &mut Vec<Fact>) {
        let latest = |tied: &[Tied]| tied.first().map_or(0, |latest| latest.other);
        let (address, spouse) = (latest(&self.addresses), latest(&self.marriages));
        let cares = !(self.children.is_empty() && self.wards.is_empty());
        let dependant = spouse == 0 && !child && !cares && composition.dependant;
        let placed = !away && (child || dependant);
        if address != 0 {
            facts.push(Fact::Resides(address, Resident::new(person, placed)));
        }
        if away {
            facts.push(Fact::Place(person, Membership { household: HouseholdKey::excluded(person), role: Role::Outside }));
            return;
        }
        let (female, responsible) = (composition.female, cares && !composition.deprived);
        if placed {
            facts.push(Fact::Child(person, ChildFact::Needs { dependant, responsible }));
            if responsible {
                facts.push(Fact::Adult(person, AdultFact::StandsAsChild { address, female }));
                facts.extend(self.children.iter().map(|other| Fact::Child(person, ChildFact::Takes(*other))));
            }
            self.supports(person, child, address, facts);
        } else if spouse != 0 || responsible {
            facts.push(Fact::Adult(person, AdultFact::Stands { spouse, address, female, responsible }));
            if spouse != 0 {
                facts.push(Fact::Adult(spouse, AdultFact::ClaimedBy { spouse: person, female }));
            }
        } else {
            facts.push(Fact::Place(person, Membership { household: HouseholdKey::family(person), role: Role::Head }));
        }
    }

    /// Who may answer for a child (of a dependant: the parents only).
    fn supports(&self, person: PersonId, child: bool, address: u64, facts: &mut Vec<Fact>) {
        let supported = |by: PersonId, care: Care| Fact::Adult(by, AdultFact::AnswersFor { child: person, address, care });
        if child {
            // Nobody has so many: whoever comes after the 255th is as good as the 255th.
            let positions = || (0..=u8::MAX).chain(std::iter::repeat(u8::MAX));
            facts.extend(self.guardians.iter().zip(positions()).map(|((_, by), position)| supported(*by, Care::Guardian(position))));
            facts.extend(self.holders.iter().zip(positions()).map(|((_, by), position)| supported(*by, Care::Custody(position))));
        }
        facts.extend(self.parents.iter().map(|by| supported(*by, Care::Parent)));
    }

    /// Who is told, and what the person is to them.
    fn tied_people(&self, person: PersonId, kin: &mut Vec<(PersonId, i64)>) {
        kin.extend(self.marriages.iter().map(|marriage| (marriage.other, SPOUSE)));
        kin.extend(self.children.iter().map(|child| (*child, PARENT)));
        kin.extend(self.parents.iter().map(|parent| (*parent, CHILD)));
        kin.extend(self.wards.iter().map(|ward| (*ward, GUARDIAN)));
        kin.extend(self.guardians.iter().chain(&self.holders).map(|(_, by)| (*by, WARD)));
        kin.retain(|(other, _)| *other != person);
        kin.sort_unstable();
        kin.dedup();
    }
}

/// What a package's own description of a fault is of a person.
pub(crate) fn declared(index: u16, person: PersonId) -> Fault {
    Fault { kind: FaultKind::Declared(index), register: Fault::NO_REGISTER, key: Box::default(), person }
}
