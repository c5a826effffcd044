//! Room 2: persons. Files in, everything composition needs of each person out, and what tied people may know of them.
//!
//! A person is looked at again when their file changes, when their personal date comes, or when the circumstances change for
//! everybody. What was said of them before is computed again from the file as it was, and the difference is handed on, so
//! nothing that a room said needs to be kept. Of records that say nothing of who belongs together only declared faults could
//! come or go: those are left to the room that measures.

use crate::facts::{AdultFact, Care, ChildFact, Resident};
use crate::files::{FileEvent, Files, RegisterSet, SharedFiles};
use crate::model::{Date, Fault, FaultKind, HouseholdKey, Membership, PersonId, Role, SharedAnswer};
use crate::operators::{Flow, Listed, PerEpoch, Restorer, Room, Saver, TOGETHER, Turns, spread};
use crate::policy::file::{self, ABSENT, Brief, NewRecord, Record};
use crate::policy::{Composition, Environment, Evaluator, Policy, Tie, TieKind, Touched};
use crate::records::Circumstances;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// One thing that a file says about who belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    /// Where somebody stands whose place depends on nobody else.
    Place(PersonId, Membership),
    Adult(PersonId, AdultFact),
    Child(PersonId, ChildFact),
    /// Is registered at an address.
    Resides(u64, Resident),
}

/// What the room behind composition is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// A place taken (+1) or left (−1).
    Place(PersonId, Membership, isize),
    /// A record about kin enters or leaves somebody's file.
    Kin(FileEvent),
    /// Somebody was looked at on the worker of this index: there is something to measure.
    Looked(u64),
    Circumstances(u64, Box<Circumstances>),
}

/// A place taken (+1) or left (−1).
pub type Placed = (PersonId, Membership, isize);

impl From<Placed> for Told {
    fn from((person, place, sign): Placed) -> Self {
        Told::Place(person, place, sign)
    }
}

impl Told {
    /// Whom it is about, if it is about somebody.
    pub fn person(&self) -> Option<PersonId> {
        match self {
            Told::Place(person, ..) => Some(*person),
            Told::Kin(event) => event.person(),
            Told::Looked(_) | Told::Circumstances(..) => None,
        }
    }

    /// The worker on which it is due.
    pub fn route(&self) -> u64 {
        match self {
            Told::Place(person, ..) => spread(*person),
            Told::Kin(event) => event.route(),
            Told::Looked(worker) | Told::Circumstances(worker, _) => *worker,
        }
    }
}

/// What composition is told of everybody.
pub struct Facts<'scope> {
    pub adults: Flow<'scope, Listed<AdultFact>>,
    pub residents: Flow<'scope, Listed<Resident>>,
    pub children: Flow<'scope, Listed<ChildFact>>,
}

/// Looks at every person whose file, date or circumstances changed: the versions that people own and those that were resolved.
pub fn look<'scope>(
    [owned, resolved]: [Flow<'scope, FileEvent>; 2],
    files: SharedFiles,
    answer: SharedAnswer,
    policy: Arc<Policy>,
) -> (Flow<'scope, Told>, Facts<'scope>) {
    let site = owned.site();
    let looker = Looker {
        worker: site.worker(),
        files,
        answer,
        eye: Eye::new(policy),
        circumstances: None,
        next: None,
        held: false,
        swept: None,
        turns: Turns::default(),
        before: View::default(),
        now: View::default(),
        differences: Vec::new(),
        fault_differences: Vec::new(),
    };
    let room = Room::new(site.clone(), "Persons").hear(owned, FileEvent::route).hear(resolved, FileEvent::route);
    let (told, adults, residents, children) = room.run(looker);
    (told, Facts { adults, residents, children })
}

/// Everything that one look at a file shows.
#[derive(Default)]
struct View {
    facts: Vec<Fact>,
    faults: Vec<Fault>,
    /// People to whom the kin row goes, with what the person is to them.
    kin: Vec<(PersonId, i64)>,
    /// The kin row's declared values; empty when there is none.
    kin_values: Vec<i64>,
}

impl View {
    fn clear(&mut self) {
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
struct Eye {
    policy: Arc<Policy>,
    evaluator: Evaluator,
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
    fn new(policy: Arc<Policy>) -> Self {
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
    fn look(&mut self, environment: &Environment, person: PersonId, file: &[u8], view: &mut View) -> Date {
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

    /// Writes which declared faults may be other on the second day than on the first, of somebody of whom nothing else is; false if more
    /// than that must be looked at.
    fn look_as_of(&mut self, days: [&Environment; 2], touched: &Touched, files: &mut Files, slot: u32, views: [&mut View; 2]) -> bool {
        let [before, now] = views;
        before.clear();
        now.clear();
        let entry = &files.entries[slot];
        let (person, wake) = (entry.person, entry.wake);
        let horizon = self.evaluator.contradictions_of_days(days, touched, person, files.file(slot), |side, index| {
            let faults = if side == 0 { &mut before.faults } else { &mut now.faults };
            faults.push(declared(index, person));
        });
        if let Some(horizon) = horizon {
            // What was not looked at may change when it might have before.
            files.set_horizon(slot, horizon.min(wake));
        }
        horizon.is_some()
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

struct Looker {
    worker: u64,
    files: SharedFiles,
    answer: SharedAnswer,
    eye: Eye,
    /// As of the last epoch; `None` before the first date.
    circumstances: Option<(Circumstances, Environment)>,
    next: Option<(Circumstances, Environment)>,
    /// Nobody is looked at in this epoch.
    held: bool,
    /// What may be other under the next circumstances of whoever did not change and whose date has not come, if that is not whom they belong to.
    swept: Option<Touched>,
    turns: Turns,
    before: View,
    now: View,
    differences: Vec<(Fact, isize)>,
    fault_differences: Vec<(Fault, isize)>,
}

/// Everything that the room says.
type Said = (Vec<Told>, Vec<Listed<AdultFact>>, Vec<Listed<Resident>>, Vec<Listed<ChildFact>>);

/// Whether new circumstances concern everybody: a policy-wide date was passed, or a feed fell silent or was heard again.
pub fn concerns_everybody(policy: &Policy, before: &Circumstances, now: &Circumstances) -> bool {
    before.feeds != now.feeds || policy.next_boundary(before.today) <= now.today
}

impl PerEpoch for Looker {
    type Event = FileEvent;
    type Outlets = Said;

    fn expect(&self, events: &[FileEvent]) {
        self.files.borrow().expect(events.iter().filter_map(FileEvent::person));
    }

    fn receive(&mut self, event: FileEvent, _: &mut Said) {
        match event {
            FileEvent::Circumstances(_, now) => {
                let environment = self.eye.policy.environment(now.today, &now.feeds);
                self.next = Some((*now, environment));
            }
            FileEvent::Hold(_) => self.held = true,
            event => self.files.borrow_mut().receive(event),
        }
    }

    fn answer(&mut self, out: &mut Said) -> bool {
        if std::mem::take(&mut self.held) {
            return false;
        }
        let files = self.files.clone();
        let files = &mut *files.borrow_mut();
        if self.turns.is_first() {
            self.wake(files);
            self.answer.borrow_mut().ignored += std::mem::take(&mut files.ignored);
        }
        for index in self.turns.next(files.touched()) {
            if index % TOGETHER == 0 {
                files.expect_touched(index);
            }
            self.compare(files, files.touched_slot(index), out);
        }
        if self.turns.more(files.touched()) {
            return true;
        }
        if let Some((now, environment)) = self.next.take() {
            out.0.push(Told::Circumstances(self.worker, Box::new(now.clone())));
            self.circumstances = Some((now, environment));
            self.swept = None;
        } else if files.touched() > 0 {
            out.0.push(Told::Looked(self.worker));
        }
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.circumstances.as_ref().map(|(known, _)| known))?;
        self.files.borrow().save(saver)
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.circumstances = restorer.get::<Option<Circumstances>>()?.map(|known| known.in_force(&self.eye.policy));
        self.files.borrow_mut().restore(restorer)
    }
}

/// What may be other for everybody under new circumstances, of people whose own date has not come and whose records are the same; nothing
/// if that cannot be told: before the first, or where other registers can be relied on.
pub(crate) fn swept(
    policy: &Policy,
    before: Option<&(Circumstances, Environment)>,
    (now, environment): (&Circumstances, &Environment),
) -> Option<Touched> {
    let (_, past) = before.filter(|(before, _)| before.feeds == now.feeds)?;
    Some(Touched::between(policy, past, environment))
}

impl Looker {
    /// Has those looked at whom new circumstances concern.
    fn wake(&mut self, files: &mut Files) {
        let Some((now, environment)) = &self.next else { return };
        let policy = &self.eye.policy;
        self.swept = swept(policy, self.circumstances.as_ref(), (now, environment)).filter(|touched| !touched.composes(policy));
        files.wake(now.today);
        if self.circumstances.as_ref().is_none_or(|(before, _)| concerns_everybody(&self.eye.policy, before, now)) {
            files.touch_everybody();
        }
    }

    /// Says how the person of a slot differs from what was said of them before.
    fn compare(&mut self, files: &mut Files, slot: u32, out: &mut Said) {
        let Some((_, environment)) = self.next.as_ref().or(self.circumstances.as_ref()) else { return };
        let entry = &files.entries[slot];
        let person = entry.person;
        if self.next.is_none()
            && let Some(registers) = self.only_concern(files, slot, environment.today)
            && !self.eye.evaluator.is_told(environment, person, registers.as_slice(), files.file(slot))
        {
            return files.leave_faults(slot);
        }
        if let (Some(touched), Some((_, past))) = (&self.swept, &self.circumstances)
            && files.is_unchanged(slot)
            && entry.membership().household != HouseholdKey::NONE
            && self.eye.look_as_of([past, environment], touched, files, slot, [&mut self.before, &mut self.now])
        {
            return self.tell_faults();
        }
        match &self.circumstances {
            None => self.before.clear(),
            Some((_, environment)) => {
                self.eye.look(environment, person, files.before(slot).0, &mut self.before);
            }
        }
        let horizon = self.eye.look(environment, person, files.file(slot), &mut self.now);
        files.set_horizon(slot, horizon);
        difference(&mut self.differences, &mut self.before.facts, &mut self.now.facts);
        for (fact, sign) in self.differences.drain(..) {
            match fact {
                Fact::Place(person, place) => out.0.push(Told::Place(person, place, sign)),
                Fact::Adult(person, fact) => out.1.push((person, fact, sign)),
                Fact::Resides(address, resident) => out.2.push((address, resident, sign)),
                Fact::Child(person, fact) => out.3.push((person, fact, sign)),
            }
        }
        self.tell_faults();
        if self.before.kin != self.now.kin || self.before.kin_values != self.now.kin_values {
            self.tell_kin(person, &mut out.0);
        }
    }

    fn tell_faults(&mut self) {
        difference(&mut self.fault_differences, &mut self.before.faults, &mut self.now.faults);
        self.answer.borrow_mut().faults.append(&mut self.fault_differences);
    }

    /// The registers whose records alone changed, if a person who has a place is certain to be where they were: they say nothing of
    /// composition, none that came or went is disputed or waits for its date, and others last that tell of the person.
    fn only_concern(&self, files: &Files, slot: u32, today: Date) -> Option<RegisterSet> {
        let (policy, (before, place)) = (&self.eye.policy, files.before(slot));
        let registers = files.only_changed(slot)?;
        let changed = |register: u16| registers.as_slice().contains(&register);
        if place.household == HouseholdKey::NONE || registers.as_slice().iter().any(|register| policy.concerns_composition(*register)) {
            return None;
        }
        let stays =
            |other: u16| !changed(other) && other != policy.kin_register && policy.registers[usize::from(other)].retain_months.is_none();
        // Records of other registers are the same in both.
        let mut others = file::briefs_of(before, stays);
        let lasts = |record: Brief| !record.deleted() && record.event_date.is_none_or(|date| date <= today);
        (!files.waits_or_is_disputed(slot, today) && others.any(lasts)).then_some(registers)
    }

    /// Takes the kin row from those who are no longer told, and gives it to those who are.
    fn tell_kin(&self, person: PersonId, told: &mut Vec<Told>) {
        let register = self.eye.policy.kin_register;
        let packing = self.eye.policy.packing(register);
        let key = |kind: i64| packing.key(&[kind, person as i64]).expect("the template of kin is over kind and person");
        for (other, kind) in self.before.kin.iter().filter(|told| !self.now.kin.contains(told)) {
            told.push(Told::Kin(FileEvent::Remove(*other, register, key(*kind).into())));
        }
        for (other, kind) in &self.now.kin {
            let fields: Vec<i64> = [*kind, person as i64].into_iter().chain(self.now.kin_values.iter().copied()).collect();
            let mut bytes = Vec::new();
            let record = NewRecord { register, key: &key(*kind), seq: 1, deleted: false, event_date: None, shown: 0, fields: &fields };
            record.pack(packing, &mut bytes);
            told.push(Told::Kin(FileEvent::Put(*other, bytes.into())));
        }
    }
}

/// What a package's own description of a fault is of a person.
pub(crate) fn declared(index: u16, person: PersonId) -> Fault {
    Fault { kind: FaultKind::Declared(index), register: Fault::NO_REGISTER, key: Box::default(), person }
}

/// What is in one list and not in the other, as signed differences.
fn difference<T: Ord + Clone>(out: &mut Vec<(T, isize)>, before: &mut Vec<T>, now: &mut Vec<T>) {
    if before == now {
        return;
    }
    out.extend(before.drain(..).map(|item| (item, -1)));
    out.extend(now.drain(..).map(|item| (item, 1)));
    differential_dataflow::consolidation::consolidate(out);
}
