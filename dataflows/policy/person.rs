//! The machine for people: what follows from a file on a day.
//!
//! Programs run in stages: scalars, then one pass over the packed file that serves all folds of the stage. What rests only on registers of
//! which somebody has no record is the same for all such people of a day: it is worked out once, for a *blank* file, and of a person only
//! the rest runs; a right whose conditions fail for a blank file is not asked about unless there is a record that may change that.

use super::bits::Bits;
use super::environment::{Environment, Loaded};
use super::file::{ABSENT, Brief, Record, briefs_of};
use super::graph::{FIELD_COUNT, FIELDS, FoldKind, Group, Item, Stage};
use super::openings::{Inquiry, Lock, closed_gates, locks};
use super::program::{Clock, LIMIT, Reg, Registers, is_unknown, reason_of, run, unknown};
use super::programs::{Gate, Layout};
use super::rights::{Machinery, Question, Trace};
use super::versions::Versions;
use super::{BUILT_IN_SLOTS, Claim, Contribution, Entitlement, Policy};
use crate::model::{Date, Ground, Membership, PersonId, Role};
use std::sync::Arc;

/// A machine for people on one day.
pub(super) struct Person {
    pub(super) loaded: Loaded,
    /// What the registers that nodes write hold for a blank file.
    blank: Vec<i64>,
    /// The first date on which that may change by itself.
    pub(super) horizon: i64,
    /// By benefit: the conditions that fail for a blank file; and the same for all of them together.
    closed: Vec<Vec<usize>>,
    locks: Vec<Lock>,
    /// The same of rights that are asked about again and again.
    chosen: (Arc<Bits>, Vec<Lock>),
    /// The nodes that fill slots which are not zero for a blank file.
    fillers: Bits,
    /// Nodes whose registers may hold something else now.
    dirty: Bits,
}

/// Room to work in, used again and again.
#[derive(Default)]
pub(super) struct Room {
    /// The records of the file at hand that rules see, and of which registers there are some.
    pub(super) seen: Vec<Brief>,
    pub(super) present: Bits,
    /// The nodes that these records show, and those that are never blank.
    pub(super) shown: Bits,
    /// Where the fields of each record seen are among those that were unpacked; whether rules see it, once it is unpacked.
    unpacked: Vec<Option<(u32, bool)>>,
    pub(super) fields: Vec<i64>,
    /// The records of the file at hand that may found rights, and of which registers there are some.
    pub(super) founding: Vec<Brief>,
    pub(super) grounds: Bits,
    /// Records that take the place of others among those seen.
    others: Vec<Brief>,
    /// Values met by folds that count different ones, by result register.
    distinct: Vec<(Reg, i64)>,
    /// Rights that the person at hand may have, or claim.
    pub(super) rights: Bits,
    /// The inputs of a claim.
    pub(super) inputs: Vec<i64>,
    /// Of two files: the records that rules see in one of them alone, and in which; and what filters say of them, by fold.
    pub(super) apart: Vec<(usize, Brief)>,
    pub(super) apart_passes: Vec<(usize, i64)>,
    /// Folds that may differ between these, the nodes that they need, and those that do not.
    pub(super) open: Bits,
    pub(super) needed: Bits,
    pub(super) same: Bits,
    /// Nodes that are asked for, and those of them that must run now.
    pub(super) asked: Bits,
    pub(super) due: Bits,
    /// Nodes at hand, and the registers whose records are read.
    nodes: Bits,
    read: Bits,
}

impl Person {
    pub(super) fn new() -> Self {
        Person {
            loaded: Loaded::new(),
            blank: Vec::new(),
            horizon: 0,
            closed: Vec::new(),
            locks: Vec::new(),
            chosen: (Arc::default(), Vec::new()),
            fillers: Bits::default(),
            dirty: Bits::default(),
        }
    }

    pub(super) fn pass<'a>(&'a mut self, policy: &'a Policy, environment: &'a Environment, room: &'a mut Room) -> Pass<'a> {
        let Person { loaded, blank, horizon, closed, locks, chosen: (_, chosen), fillers, dirty } = self;
        let mut clock = Clock::new(environment.today);
        clock.wake(*horizon);
        let regs = &mut *loaded.regs;
        Pass { policy, environment, file: &[], regs, clock, blank, closed, locks, chosen, fillers, dirty, room, expiring: None }
    }

    /// Has what opens the rights of an inquiry ready.
    pub(super) fn choose(&mut self, policy: &Policy, Inquiry { rights, .. }: &Inquiry) {
        if !Arc::ptr_eq(&self.chosen.0, rights) {
            self.chosen = (rights.clone(), locks(policy, &self.closed, |benefit| rights.contains(benefit)));
        }
    }

    /// Turns to another day: runs everything for a blank file.
    pub(super) fn load(&mut self, policy: &Policy, environment: &Environment, room: &mut Room) {
        let programs = &policy.programs;
        self.loaded.load(&programs.person, environment);
        self.horizon = i64::from(Date::NEVER.0);
        self.loaded.regs[usize::from(programs.roles)..][..7].fill(0);
        let mut pass = self.pass(policy, environment, room);
        pass.run_blank();
        let closes = |gate: &Gate| pass.machinery().value(&gate.code) == 0;
        let closed = closed_gates(&programs.gates, closes);
        let slots = BUILT_IN_SLOTS..programs.slots.len();
        let fillers = slots.filter(|slot| pass.fills(*slot)).map(|slot| programs.slot_nodes[slot]).collect();
        let horizon = pass.clock.horizon;
        self.blank = programs.sequence.written.iter().map(|reg| self.loaded.regs[usize::from(*reg)]).collect();
        self.chosen = Default::default();
        self.locks = locks(policy, &closed, |_| true);
        (self.horizon, self.closed, self.fillers) = (horizon, closed, fillers);
        self.dirty.clear();
    }
}

/// A record as the ground of a right.
pub(super) fn ground(policy: &Policy, file: &[u8], record: &Brief) -> Ground {
    Ground::Record(record.register, Record::read(&file[record.start as usize..]).key(policy.packing(record.register)).into())
}

/// One evaluation of one person.
pub(super) struct Pass<'a> {
    pub(super) policy: &'a Policy,
    pub(super) environment: &'a Environment,
    pub(super) file: &'a [u8],
    pub(super) regs: &'a mut Registers,
    pub(super) clock: Clock,
    blank: &'a [i64],
    closed: &'a [Vec<usize>],
    locks: &'a [Lock],
    chosen: &'a [Lock],
    fillers: &'a Bits,
    dirty: &'a mut Bits,
    pub(super) room: &'a mut Room,
    /// The months for which the records at hand are retained, and the least period among them.
    expiring: Option<(i32, i64)>,
}

impl<'a> Pass<'a> {
    /// Takes up a file. A record that rules will see later lowers the horizon.
    pub(super) fn turn_to(&mut self, file: &'a [u8]) {
        self.read(file, |_| true);
    }

    /// Takes up the file as it was, after the one as it is: of records that both versions share nothing is read again.
    pub(super) fn turn_back(&mut self, versions: Versions<'a>) {
        self.file = versions.files[0];
        let founds = |record: &Brief| self.policy.programs.founding[usize::from(record.register)];
        versions.turn_back(&mut self.room.founding, versions.only_in(0).filter(founds));
        let mut others = std::mem::take(&mut self.room.others);
        others.clear();
        others.extend(versions.only_in(0).filter(|record| self.is_relied_on(record.register) && self.effective(record)));
        let nothing = std::iter::repeat_n(None, others.len());
        let replaced = versions.turn_back(&mut self.room.seen, others.drain(..));
        self.room.unpacked.splice(replaced, nothing);
        self.room.others = others;
        self.show();
    }

    fn read(&mut self, file: &'a [u8], wanted: impl Fn(u16) -> bool) {
        self.file = file;
        self.room.seen.clear();
        self.room.founding.clear();
        self.room.grounds.clear();
        for record in briefs_of(file, wanted) {
            let register = usize::from(record.register);
            if self.policy.programs.founding[register] {
                self.room.founding.push(record);
                self.room.grounds.insert(register);
            }
            if self.is_relied_on(record.register) && self.effective(&record) {
                self.room.seen.push(record);
            }
        }
        self.room.fields.clear();
        self.room.unpacked.clear();
        self.room.unpacked.resize(self.room.seen.len(), None);
        self.show();
    }

    /// Whether records of a register are read, while it can be relied on or even if it cannot.
    pub(super) fn is_relied_on(&self, register: u16) -> bool {
        let (sequence, at) = (&self.policy.programs.sequence, usize::from(register));
        sequence.registers[at] && (self.environment.doubt(register) == 0 || sequence.silent[at])
    }

    /// Finds out of which registers there are records, and which nodes these show.
    fn show(&mut self) {
        let (sequence, Room { seen, present, shown, .. }) = (&self.policy.programs.sequence, &mut *self.room);
        present.clear();
        seen.iter().for_each(|record| present.insert(usize::from(record.register)));
        shown.copy(&sequence.personal);
        present.each(present, true, |register| shown.join(&sequence.shown_by[register]));
    }

    /// Has these nodes hold what they do for a blank file.
    pub(super) fn make_blank(&mut self, nodes: &Bits) {
        let (sequence, blank, regs) = (&self.policy.programs.sequence, self.blank, &mut *self.regs);
        self.dirty.each(nodes, true, |node| {
            sequence.written_by(node).for_each(|at| regs[usize::from(sequence.written[at])] = blank[at]);
        });
        self.dirty.remove(nodes);
    }

    /// Goes on with the file that another pass has taken up, of the same person on another day: the nodes wanted that are not among others
    /// hold what they do there.
    pub(super) fn go_on(&mut self, file: &'a [u8], wanted: &Bits, others: &Bits, there: &Registers) {
        let sequence = &self.policy.programs.sequence;
        let mut same = std::mem::take(&mut self.room.asked);
        same.copy(wanted);
        same.remove(others);
        self.make_blank(&same);
        same.each(&self.room.shown, true, |node| {
            sequence.written[sequence.written_by(node)].iter().for_each(|reg| self.regs[usize::from(*reg)] = there[usize::from(*reg)]);
        });
        same.meet(&self.room.shown);
        self.dirty.join(&same);
        self.room.asked = same;
        self.file = file;
    }

    /// Whether the person may have (or claim) a right: whether there is a ground for it, and no condition fails for a blank file that the same
    /// registers show.
    fn is_open(&self, benefit: u16) -> bool {
        let (gates, closed) = (&self.policy.programs.gates[usize::from(benefit)], &self.closed[usize::from(benefit)]);
        let ground = self.policy.benefits[usize::from(benefit)].ground_register;
        ground.is_none_or(|register| self.room.grounds.contains(usize::from(register)))
            && closed.iter().all(|gate| gates[*gate].shown_by.meets(&self.room.present))
    }

    /// Has those of these rights asked about that the person may have, and adds what they need.
    pub(super) fn want(&mut self, benefits: &[u16], wanted: &mut Bits) {
        for benefit in benefits {
            if self.is_open(*benefit) {
                self.room.rights.insert(usize::from(*benefit));
                wanted.join(&self.policy.programs.needs[usize::from(*benefit)]);
            }
        }
    }

    /// The same of all rights there are.
    pub(super) fn want_all(&mut self, wanted: &mut Bits) {
        self.open(self.locks, wanted);
    }

    /// Has what is asked of everybody asked; its rights were chosen before.
    pub(super) fn want_of(&mut self, inquiry: &Inquiry, wanted: &mut Bits) {
        wanted.join(&inquiry.needs);
        self.open(self.chosen, wanted);
    }

    fn open(&mut self, locks: &[Lock], wanted: &mut Bits) {
        let Room { present, grounds, rights, .. } = &mut *self.room;
        for lock in locks.iter().filter(|lock| lock.is_opened_by(present, grounds)) {
            rights.join(&lock.rights);
            wanted.join(&lock.needs);
        }
    }

    /// Takes up a file as far as what is asked of everybody may need it.
    pub(super) fn turn_to_of(&mut self, file: &'a [u8], Inquiry { read, .. }: &Inquiry) {
        let founding = &self.policy.programs.founding;
        self.read(file, |register| founding[usize::from(register)] || read.contains(usize::from(register)));
    }

    /// Runs the nodes wanted of which it is true that others have them.
    pub(super) fn run_among(&mut self, wanted: &Bits, others: &Bits) {
        self.run_if(wanted, |due| due.meet(others));
    }

    /// Runs the nodes wanted of which it is not.
    pub(super) fn run_beside(&mut self, wanted: &Bits, others: &Bits) {
        self.run_if(wanted, |due| due.remove(others));
    }

    pub(super) fn run(&mut self, wanted: &Bits) {
        self.run_if(wanted, |_| {});
    }

    /// Runs all nodes for a file of nothing.
    fn run_blank(&mut self) {
        let programs = &self.policy.programs;
        for stage in &programs.sequence.stages {
            stage.scalars.each(&stage.scalars, true, |node| {
                run(programs.sequence.program(node), self.regs, &programs.person.bins, &mut self.clock);
            });
            for (reg, kind, register) in &stage.starts {
                let doubt = self.environment.doubt(*register);
                self.regs[usize::from(*reg)] = if doubt == 0 || *kind == FoldKind::Held { kind.start() } else { doubt };
            }
        }
    }

    /// Runs those nodes wanted that are left over and not as for a blank file.
    fn run_if(&mut self, wanted: &Bits, leave: impl FnOnce(&mut Bits)) {
        let programs = &self.policy.programs;
        let sequence = &programs.sequence;
        let (mut asked, mut due) = (std::mem::take(&mut self.room.asked), std::mem::take(&mut self.room.due));
        asked.copy(wanted);
        leave(&mut asked);
        due.copy(&asked);
        due.meet(&self.room.shown);
        // A program writes what is its own, whatever it skips.
        let mut blank = std::mem::take(&mut self.room.nodes);
        blank.copy(&due);
        blank.meet(&sequence.scalars);
        asked.remove(&blank);
        self.room.nodes = blank;
        self.make_blank(&asked);
        self.dirty.join(&due);
        for stage in &sequence.stages {
            due.each(&stage.scalars, true, |node| run(sequence.program(node), self.regs, &programs.person.bins, &mut self.clock));
            if due.meets(&stage.all_folds) {
                self.run_folds(stage, &due);
            }
        }
        (self.room.asked, self.room.due) = (asked, due);
    }

    /// Has one pass over the file serve the folds of a stage that are due.
    fn run_folds(&mut self, stage: &Stage, due: &Bits) {
        self.room.distinct.clear();
        let (mut read, mut folds) = (std::mem::take(&mut self.room.read), std::mem::take(&mut self.room.nodes));
        folds.copy(&stage.all_folds);
        folds.meet(due);
        self.policy.programs.sequence.registers_of(&folds, &mut read);
        for index in 0..self.room.seen.len() {
            let record = self.room.seen[index];
            if read.contains(usize::from(record.register)) && self.lay_out(index, &record) {
                let groups = &stage.groups[usize::from(record.register)];
                let doubted = self.environment.doubt(record.register) != 0;
                let due_groups = groups.iter().filter(|group| group.is_due(due));
                let counted = due_groups.fold(false, |counted, group| self.fold(group, doubted, due) | counted);
                if counted {
                    self.expires(&record);
                }
            }
        }
        self.wake_when_expired();
        (self.room.read, self.room.nodes) = (read, folds);
    }

    pub(super) fn effective(&mut self, record: &Brief) -> bool {
        if let Some(date) = record.event_date
            && date > self.environment.today
            && !record.deleted()
        {
            self.clock.wake(i64::from(date.0));
            return false;
        }
        !record.deleted()
    }

    /// Puts the fields of a record seen where programs read them; false if its retention has ended. Stages share one unpacking.
    pub(super) fn lay_out(&mut self, index: usize, record: &Brief) -> bool {
        let count = self.policy.programs.layouts[usize::from(record.register)].shape.fields();
        if let Some((from, is_kept)) = self.room.unpacked[index] {
            self.regs[usize::from(FIELDS)..][..count].copy_from_slice(&self.room.fields[from as usize..][..count]);
            return is_kept;
        }
        let (is_kept, from) = (self.unpack(record), self.room.fields.len() as u32);
        self.room.fields.extend_from_slice(&self.regs[usize::from(FIELDS)..][..count]);
        self.room.unpacked[index] = Some((from, is_kept));
        is_kept
    }

    /// Unpacks a record, unless its retention has ended.
    pub(super) fn unpack(&mut self, record: &Brief) -> bool {
        let layout = &self.policy.programs.layouts[usize::from(record.register)];
        record.unpack(self.file, layout.shape, &mut self.regs[usize::from(FIELDS)..]);
        layout.retain_months.is_none()
            || self.period(record, layout).is_none_or(|period| !self.environment.forgets(record.register, Date(period as i32)))
    }

    /// The date from which a record's retention counts.
    fn period(&self, record: &Brief, layout: &Layout) -> Option<i64> {
        match layout.period.map(|position| self.regs[usize::from(FIELDS) + position]) {
            Some(period) if period != ABSENT => Some(period),
            _ => record.event_date.map(|date| i64::from(date.0)),
        }
    }

    /// A record that counted stops counting when its retention ends; of the records of a register the first one matters.
    pub(super) fn expires(&mut self, record: &Brief) {
        let layout = &self.policy.programs.layouts[usize::from(record.register)];
        let (Some(months), Some(period)) = (layout.retain_months, self.period(record, layout)) else {
            return;
        };
        match &mut self.expiring {
            Some((same, first)) if *same == months => *first = period.min(*first),
            _ => {
                self.wake_when_expired();
                self.expiring = Some((months, period));
            }
        }
    }

    pub(super) fn wake_when_expired(&mut self) {
        if let Some((months, period)) = self.expiring.take() {
            self.clock.wake(i64::from(Date(period as i32).add_months(months).0));
        }
    }

    /// Whether the record at hand passes the filter of a group.
    #[inline]
    pub(super) fn passes(&mut self, group: &Group) -> i64 {
        let Some(filter) = &group.filter else { return 1 };
        run(&filter.ops, self.regs, &self.policy.programs.person.bins, &mut self.clock);
        self.regs[usize::from(filter.result)]
    }

    /// Adds the record at hand to the folds of a group; whether it passed. Of a doubted register only some folds take it.
    fn fold(&mut self, group: &Group, doubted: bool, due: &Bits) -> bool {
        let passes = self.passes(group);
        if passes == 0 {
            return false;
        }
        for item in group.items.iter().filter(|item| due.contains(item.node) && (!doubted || item.kind == FoldKind::Held)) {
            let before = self.regs[usize::from(item.result)];
            self.regs[usize::from(item.result)] = match item.kind {
                FoldKind::Exists | FoldKind::Held if passes == 1 => 1,
                FoldKind::All if passes == 1 => 0,
                FoldKind::Exists | FoldKind::Held if before == 1 => 1,
                FoldKind::All if before == 0 => 0,
                _ if is_unknown(before) && before != ABSENT => before,
                _ if is_unknown(passes) => passes.max(unknown(0)),
                _ => self.take(item, before),
            };
        }
        true
    }

    /// A fold's result with the record at hand.
    pub(super) fn take(&mut self, item: &Item, before: i64) -> i64 {
        let value = match &item.map {
            Some(map) => {
                run(&map.ops, self.regs, &self.policy.programs.person.bins, &mut self.clock);
                self.regs[usize::from(map.result)]
            }
            None => 1,
        };
        if is_unknown(value) {
            return value.max(unknown(0));
        }
        match item.kind {
            FoldKind::Min if before != ABSENT => before.min(value),
            FoldKind::Max if before != ABSENT => before.max(value),
            FoldKind::Min | FoldKind::Max => value,
            FoldKind::Distinct if self.room.distinct.contains(&(item.result, value)) => before,
            FoldKind::Distinct => {
                self.room.distinct.push((item.result, value));
                before + 1
            }
            FoldKind::Count | FoldKind::Sum | FoldKind::Exists | FoldKind::Held | FoldKind::All => {
                before.saturating_add(value).clamp(-LIMIT, LIMIT)
            }
        }
    }

    /// What the person gives to their household in slots that these nodes fill, and what is said of the rights asked about.
    pub(super) fn give(&mut self, person: PersonId, place: Membership, nodes: &Bits, out: &mut Contribution) {
        if place.role != Role::Outside {
            self.fill(Some(nodes), out);
        }
        self.decide(person, place, out);
    }

    /// The same of what is asked of everybody.
    pub(super) fn give_of(&mut self, person: PersonId, place: Membership, inquiry: &Inquiry, out: &mut Contribution) {
        self.give(person, place, &inquiry.fillers, out);
    }

    /// What the person gives to their household, and what is said of the rights asked about.
    pub(super) fn give_all(&mut self, person: PersonId, place: Membership, out: &mut Contribution) {
        if place.role != Role::Outside {
            out.values.push((0, 1));
            out.values.extend((place.role == Role::Head).then_some((1, person as i64)));
            self.fill(None, out);
        }
        self.decide(person, place, out);
    }

    /// What of the rights asked about the person claims of their household, and what they have themselves.
    fn decide(&mut self, person: PersonId, place: Membership, out: &mut Contribution) {
        let (programs, rights) = (&self.policy.programs, std::mem::take(&mut self.room.rights));
        if place.role != Role::Outside {
            rights.each(&programs.claim_set, true, |benefit| self.claim(benefit as u16, person, place.role, false, &mut out.claims));
        }
        let addressee = place.addressee(person);
        rights.each(&programs.own_set, true, |benefit| {
            self.right(benefit as u16, |right| out.entitlements.push(Entitlement { recipient: person, addressee, ..right }));
        });
        out.entitlements.sort();
        self.room.rights = rights;
    }

    /// Fills slots of a member in their order, all of them or those that these nodes fill, which have run: what is zero for a blank file stays so
    /// where nothing has run.
    fn fill(&mut self, nodes: Option<&Bits>, out: &mut Contribution) {
        let programs = &self.policy.programs;
        let mut filling = std::mem::take(&mut self.room.nodes);
        filling.copy(&self.room.due);
        filling.join(self.fillers);
        nodes.into_iter().for_each(|nodes| filling.meet(nodes));
        for fillers in &programs.fillers {
            filling.each(fillers, true, |node| {
                let first = programs.filled_by[node].start;
                let slot = &programs.slots[usize::from(first)];
                match (self.regs[usize::from(slot.source)], slot.class) {
                    (0, None) => {}
                    (value, _) if is_unknown(value) => out.unknown.push((first, reason_of(value))),
                    (value, None) => out.values.push((first, value)),
                    (value, Some((_, count))) if value >= 0 => out.values.push((first + value.min(i64::from(count) - 1) as u16, 1)),
                    _ => {}
                }
            });
        }
        self.room.nodes = filling;
    }

    /// Whether a member adds anything to a slot, or it is unknown what.
    fn fills(&self, slot: usize) -> bool {
        let slot = &self.policy.programs.slots[slot];
        let value = self.regs[usize::from(slot.source)];
        is_unknown(value) || slot.class.map_or(value != 0, |(class, count)| value.min(i64::from(count) - 1) == i64::from(class))
    }

    /// Decides a right of the person's own.
    fn right(&mut self, benefit: u16, mut give: impl FnMut(Entitlement)) {
        let policy = self.policy;
        self.grounds(benefit, |pass, doubt, ground| {
            let environment = pass.environment;
            let right = Question::new(policy, benefit, doubt).decide(ground, &mut pass.machinery(), environment);
            right.into_iter().for_each(&mut give);
        });
    }

    /// What the person claims of their household, of this benefit; with `all`, also what cannot come true.
    pub(super) fn claim(&mut self, benefit: u16, person: PersonId, role: Role, all: bool, out: &mut Vec<Claim>) {
        let policy = self.policy;
        let program = &policy.programs.benefits[usize::from(benefit)];
        self.grounds(benefit, |pass, doubt, ground| {
            let mut room = std::mem::take(&mut pass.room.inputs);
            let inputs = pass.machinery().claim(program, all || policy.benefits[usize::from(benefit)].answers, &mut room);
            pass.room.inputs = room;
            if let Some(inputs) = inputs {
                out.push(Claim { benefit, person, role, ground: ground(), doubt, inputs });
            }
        });
    }

    pub(super) fn traces(&mut self) -> Vec<Trace> {
        let policy = self.policy;
        let mut traces = Vec::new();
        for index in &policy.programs.own_benefits {
            self.grounds(*index, |pass, doubt, ground| {
                traces.push(Question::new(policy, *index, doubt).trace(ground(), &mut pass.machinery()));
            });
        }
        traces
    }

    fn machinery(&mut self) -> Machinery<'_> {
        Machinery { regs: self.regs, bins: &self.policy.programs.person.bins, clock: &mut self.clock }
    }

    /// Asks on each ground that a benefit may have: with the record unpacked, and unknown if its register cannot be relied on.
    fn grounds(&mut self, benefit: u16, mut ask: impl FnMut(&mut Self, i64, &dyn Fn() -> Ground)) {
        let (policy, file) = (self.policy, self.file);
        let Some(register) = policy.benefits[usize::from(benefit)].ground_register else {
            return ask(self, 0, &|| Ground::Constant);
        };
        let doubt = self.environment.doubt(register);
        for index in 0..self.room.founding.len() {
            let record = self.room.founding[index];
            if record.register == register && self.founds(&record, doubt) {
                ask(self, doubt, &|| ground(policy, file, &record));
            }
        }
        self.wake_when_expired();
    }

    /// Unpacks a record that may found a right. Nothing is known of it while its register is silent.
    fn founds(&mut self, record: &Brief, doubt: i64) -> bool {
        if !self.effective(record) || !self.unpack(record) {
            return false;
        }
        self.expires(record);
        if is_unknown(doubt) {
            self.regs[usize::from(FIELDS)..][..FIELD_COUNT].fill(doubt);
        }
        true
    }
}
