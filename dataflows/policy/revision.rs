//! What another version of a package says otherwise of the same facts on the same day, and what must be computed to know for whom.
//!
//! Whatever a package computes has a *meaning*: a hash over what is done, and over the meanings of what that reads, whatever numbers its
//! registers, slots and rights have. What means the same has the same value of everybody, so only what does not is computed, under both.

use super::bits::Bits;
use super::environment::Environment;
use super::graph::{Code, DWELLING_SLOTS, DWELLING_SUMS, Group, Item, SLOTS, SUMS};
use super::openings::Inquiry;
use super::program::{Bins, Op, Reg};
use super::programs::{Machine, Programs};
use super::{BUILT_IN_SLOTS, Benefit, Entitlement, Field, FieldType, Policy, Register};
use std::collections::HashMap;
use std::hash::Hash;
use xxhash_rust::xxh3::Xxh3;

/// What is other under the second of two policies than under the first, of which both read files and rows alike.
pub(crate) struct Revision {
    /// By slot of the second: the slot of the first that means the same.
    pub slots: Vec<Option<u16>>,
    /// What is to be asked under each.
    pub asked: [Asked; 2],
    /// By benefit of the first: the one of the second of which equal rights are the same, whatever else the person has.
    alike: Vec<Option<u16>>,
}

/// What is to be asked, each in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Of people: sums that no row has yet, rights of their own, claims that no row has yet.
    pub slots: Vec<u16>,
    pub own_benefits: Vec<u16>,
    pub claims: Vec<u16>,
    /// The same, ready to be asked.
    pub of_people: Inquiry,
    /// Of households: their rights, and which of their members' claims.
    pub household_benefits: Vec<u16>,
    pub claimed: Vec<u16>,
    /// The nodes of a household that these need, and whether they read where it stands.
    pub nodes: Bits,
    pub stands: bool,
}

impl Asked {
    /// Whether people are to be asked anything.
    pub fn is_of_people(&self) -> bool {
        [&self.slots, &self.own_benefits, &self.claims].into_iter().any(|asked| !asked.is_empty())
    }

    /// Whether households are, even if nobody in them claims anything.
    pub fn is_of_households(&self) -> bool {
        !self.household_benefits.is_empty()
    }

    /// Of rights of which something means something else, or of all that rule each other out.
    fn new(policy: &Policy, is_other: impl Fn(u16) -> bool) -> Asked {
        let (programs, concerns) = (&policy.programs, &policy.programs.sum_concerns);
        let other = |of: &[u16]| of.iter().copied().filter(|benefit| is_other(*benefit)).collect::<Vec<_>>();
        let mut asked = Asked {
            own_benefits: other(&programs.own_benefits),
            claimed: other(&programs.claims),
            household_benefits: other(&programs.household_benefits),
            ..Asked::default()
        };
        for benefit in asked.claimed.iter().chain(&asked.household_benefits) {
            asked.nodes.join(&concerns.needs[concerns.right(*benefit)]);
            asked.stands |= concerns.by_standing.contains(usize::from(*benefit));
        }
        if asked.stands {
            asked.nodes.join(&concerns.needs[concerns.standing()]);
        }
        asked
    }

    /// Whether any of the rights asked about rests on a slot.
    fn rests_on(&self, policy: &Policy, slot: u16) -> bool {
        let concerns = &policy.programs.sum_concerns;
        let units = &concerns.units[usize::from(slot)];
        let mut decided = self.claimed.iter().chain(&self.household_benefits);
        self.stands && units.contains(concerns.standing()) || decided.any(|benefit| units.contains(concerns.right(*benefit)))
    }
}

impl Revision {
    /// What the second policy says otherwise than the first; `None` where it must be told everything anew: it reads records otherwise,
    /// puts others together, or asks dwellings for other sums.
    pub fn between(policies: [&Policy; 2], environments: [&Environment; 2]) -> Option<Revision> {
        let [before, now] = policies;
        let alike = before.person == now.person && before.registers.len() == now.registers.len();
        if !alike || !before.registers.iter().zip(&now.registers).all(|(before, now)| reads_the_same(before, now)) {
            return None;
        }
        let meanings = [Meanings::of(before, environments[0])?, Meanings::of(now, environments[1])?];
        let [meant, means] = &meanings;
        if meant.composition != means.composition || meant.dwelling != means.dwelling {
            return None;
        }
        let counterpart = |side: usize, benefit: u16| policies[1 - side].benefit(&policies[side].benefits[usize::from(benefit)].id);
        let is_other = |side: usize, benefit: u16| {
            let meaning = meanings[side].rights[usize::from(benefit)];
            counterpart(side, benefit).is_none_or(|other| meanings[1 - side].rights[usize::from(other)] != meaning)
        };
        // Of rights that rule each other out, under either policy, all are wanted where one is other: which of them stand hangs on all.
        let is_stacked = |side: usize, benefit: u16| {
            policies[side].is_stacked(benefit) || counterpart(side, benefit).is_some_and(|other| policies[1 - side].is_stacked(other))
        };
        let benefits = |side: usize| 0..policies[side].benefits.len() as u16;
        let restacks = [0, 1].into_iter().any(|side| benefits(side).any(|benefit| is_stacked(side, benefit) && is_other(side, benefit)));
        let is_asked = |side: usize, benefit: u16| is_other(side, benefit) || restacks && is_stacked(side, benefit);
        let asked = [0, 1].map(|side| Asked::new(policies[side], |benefit| is_asked(side, benefit)));
        let known: HashMap<u128, u16> = meant.slots.iter().copied().zip(0..).collect();
        let slots: Vec<Option<u16>> = means.slots.iter().map(|slot| known.get(slot).copied()).collect();
        let [mut of_before, mut of_now] = asked;
        let missing = (0..).zip(&slots).filter(|(slot, known)| known.is_none() && of_now.rests_on(now, *slot)).map(|(slot, _)| slot);
        of_now.slots = missing.collect();
        of_now.claims.clone_from(&of_now.claimed);
        for (policy, asked) in [(before, &mut of_before), (now, &mut of_now)] {
            asked.of_people = Inquiry::new(policy, &asked.slots, &[&asked.claims, &asked.own_benefits]);
        }
        let alike = (0..).zip(&before.benefits).map(|(benefit, known)| {
            let other = counterpart(0, benefit)?;
            (!is_stacked(0, benefit) && now.benefits[usize::from(other)].reasons == known.reasons).then_some(other)
        });
        Some(Revision { slots, asked: [of_before, of_now], alike: alike.collect() })
    }

    /// Whether two rights, one under each policy, are the same whatever else the person has.
    pub fn is_same(&self, before: &Entitlement, now: &Entitlement) -> bool {
        let benefit = self.alike[usize::from(before.benefit)];
        benefit == Some(now.benefit) && *now == Entitlement { benefit: now.benefit, ..before.clone() }
    }
}

/// Whether records that were packed as one register says are what they were as another one reads them, and as many are kept. Words may have
/// come in behind those that there were.
fn reads_the_same(before: &Register, now: &Register) -> bool {
    let same_words = |(one, other): (&Field, &Field)| match (&one.kind, &other.kind) {
        (FieldType::Enum(words), FieldType::Enum(more)) => {
            more.starts_with(words) && *one == Field { kind: one.kind.clone(), ..other.clone() }
        }
        _ => one == other,
    };
    (&before.id, before.global, &before.key, &before.packed) == (&now.id, now.global, &now.key, &now.packed)
        && (before.retain_months, before.period) == (now.retain_months, now.period)
        && (&before.ties, &before.alias) == (&now.ties, &now.alias)
        && before.fields.len() == now.fields.len()
        && before.fields.iter().zip(&now.fields).all(same_words)
}

/// What all of a policy means on a day.
struct Meanings {
    /// Of sums of a household, and of a dwelling, by slot.
    slots: Vec<u128>,
    dwelling: Vec<u128>,
    /// Who belongs together, and what tied people know.
    composition: Vec<u128>,
    /// By benefit.
    rights: Vec<u128>,
}

impl Meanings {
    /// `None` if a program reads what nobody is known to write.
    fn of(policy: &Policy, environment: &Environment) -> Option<Meanings> {
        let programs = &policy.programs;
        let person = person(programs, environment)?;
        let slots = programs.slots.iter().enumerate().map(|(index, slot)| {
            let source = if index < BUILT_IN_SLOTS { hash(("built in", index)) } else { person.of(slot.source)? };
            Some(hash((source, slot.class)))
        });
        let mut slots = slots.collect::<Option<Vec<u128>>>()?;
        let dwelling = slots.split_off(policy.slots);
        let flags = programs.flags.iter().chain([&programs.kin_when]).map(|reg| reg.map_or(Some(0), |reg| person.of(reg)));
        let composition = flags.chain(programs.kin_fields.iter().map(|reg| person.of(*reg))).collect::<Option<Vec<u128>>>()?;
        let rights = rights(policy, &person, household(policy, environment, [&slots, &dwelling])?)?;
        Some(Meanings { slots, dwelling, composition, rights })
    }
}

fn hash(what: impl Hash) -> u128 {
    let mut hasher = Xxh3::new();
    what.hash(&mut hasher);
    hasher.digest128()
}

/// What the registers of a machine mean.
struct Sense<'a> {
    bins: &'a [Bins],
    meanings: HashMap<Reg, u128>,
}

impl<'a> Sense<'a> {
    /// With what the environment puts there.
    fn new(machine: &'a Machine, environment: &Environment) -> Sense<'a> {
        let meanings = machine.inputs.iter().map(|(reg, input)| (*reg, hash(("value", environment.value(*input)))));
        Sense { bins: &machine.bins, meanings: meanings.collect() }
    }

    fn of(&self, reg: Reg) -> Option<u128> {
        self.meanings.get(&reg).copied()
    }

    /// What a program means, and which registers it leaves that others read, in the order in which it first writes them.
    fn program(&self, ops: &[Op]) -> Option<(u128, Vec<Reg>)> {
        let (mut hasher, mut written) = (Xxh3::new(), Vec::new());
        for op in ops {
            std::mem::discriminant(op).hash(&mut hasher);
            let mut is_known = true;
            op.reads(|reg| is_known &= self.name(reg, &written).map(|name| name.hash(&mut hasher)).is_some());
            if !is_known {
                return None;
            }
            let (first, width) = op.target().unwrap_or_default();
            for reg in first..first + width {
                if reg >= SLOTS && !written.contains(&reg) {
                    written.push(reg);
                }
                self.name(reg, &written).hash(&mut hasher);
            }
            op.skips().hash(&mut hasher);
            match *op {
                Op::MaxClass(_, _, count) | Op::MinClass(_, _, count) => count.hash(&mut hasher),
                Op::Bins(_, _, bins) => self.bins[usize::from(bins)].steps.hash(&mut hasher),
                Op::Round(_, _, rounding) => (rounding as u8).hash(&mut hasher),
                _ => {}
            }
        }
        Some((hasher.digest128(), written))
    }

    /// What a register is called within a program that has written these: by its number where it is the program's own, or a field of the
    /// record at hand.
    fn name(&self, reg: Reg, written: &[Reg]) -> Option<(u8, u128)> {
        match written.iter().position(|own| *own == reg) {
            Some(position) => Some((0, position as u128)),
            None if reg < SLOTS => Some((1, u128::from(reg))),
            None => Some((2, self.of(reg)?)),
        }
    }

    /// What a program's answer means.
    fn code(&self, code: &Code) -> Option<u128> {
        let (program, written) = self.program(&code.ops)?;
        Some(hash((program, self.name(code.result, &written)?)))
    }

    fn codes<'c>(&self, codes: impl IntoIterator<Item = &'c Code>) -> Option<Vec<u128>> {
        codes.into_iter().map(|code| self.code(code)).collect()
    }

    fn maybe(&self, code: Option<&Code>) -> Option<Option<u128>> {
        code.map_or(Some(None), |code| self.code(code).map(Some))
    }

    /// Takes in what a scalar writes.
    fn learn(&mut self, ops: &[Op]) -> Option<()> {
        let (program, written) = self.program(ops)?;
        self.meanings.extend(written.into_iter().enumerate().map(|(position, reg)| (reg, hash((program, position)))));
        Some(())
    }
}

/// What a person's machine computes.
fn person<'a>(programs: &'a Programs, environment: &Environment) -> Option<Sense<'a>> {
    let (sequence, mut sense) = (&programs.sequence, Sense::new(&programs.person, environment));
    sense.meanings.extend((0..7).map(|role| (programs.roles + role, hash(("role", role)))));
    let mut folds: HashMap<usize, (usize, &Group, &Item)> = HashMap::new();
    for (register, groups) in sequence.stages.iter().flat_map(|stage| stage.groups.iter().enumerate()) {
        let items = groups.iter().flat_map(|group| group.items.iter().map(move |item| (group, item)));
        folds.extend(items.map(|(group, item)| (item.node, (register, group, item))));
    }
    // A node has a greater index than what it needs.
    for node in 0..sequence.nodes() {
        match folds.get(&node) {
            None => sense.learn(sequence.program(node))?,
            Some((register, group, item)) => {
                let (layout, doubt) = (programs.layouts[*register], environment.doubt(*register as u16));
                let seen = (register, layout.retain_months, layout.period, doubt);
                let taken = (sense.maybe(group.filter.as_ref())?, sense.maybe(item.map.as_ref())?, item.kind as u8);
                sense.meanings.insert(item.result, hash((seen, taken)));
            }
        }
    }
    Some(sense)
}

/// What a household's machine computes of sums that mean this.
fn household<'a>(policy: &'a Policy, environment: &Environment, [slots, dwelling]: [&[u128]; 2]) -> Option<Sense<'a>> {
    let programs = &policy.programs;
    let mut sense = Sense::new(&programs.household, environment);
    for (sums, shown, summed) in [(slots, SLOTS, SUMS), (dwelling, DWELLING_SLOTS, DWELLING_SUMS)] {
        for (slot, meaning) in (0..).zip(sums) {
            sense.meanings.extend([(shown + slot, hash(("shown", meaning))), (summed + slot, hash(("summed", meaning)))]);
        }
    }
    programs.sum_concerns.nodes.iter().try_for_each(|ops| sense.learn(ops))?;
    for (total, points) in (programs.totals..).zip([&programs.criteria, &programs.levels]) {
        let points = points.iter().map(|reg| sense.of(*reg)).collect::<Option<Vec<_>>>()?;
        sense.meanings.insert(total, hash(("total", points)));
    }
    if let Some(category) = &programs.category {
        let hard = sense.codes(category.hard.iter().map(|(code, _)| code))?;
        let given: Vec<u8> = category.hard.iter().map(|(_, given)| *given).collect();
        let meaning = hash((hard, given, sense.code(&category.by)?, &category.bins.steps, category.unknown));
        sense.meanings.insert(programs.totals + 2, meaning);
    }
    if let Some((by, letters)) = &programs.level {
        let meaning = hash((sense.code(by)?, &letters.steps));
        sense.meanings.insert(programs.totals + 3, meaning);
    }
    Some(sense)
}

/// What each right means, of a person and of a household of whom this is computed.
fn rights(policy: &Policy, person: &Sense<'_>, mut household: Sense<'_>) -> Option<Vec<u128>> {
    let programs = &policy.programs;
    let mut rights = Vec::new();
    for (index, (benefit, program)) in (0..).zip(policy.benefits.iter().zip(&programs.benefits)) {
        let mut claimed = Vec::new();
        if programs.claims.contains(&index) {
            for input in &program.inputs {
                let meaning = person.code(&input.code)?;
                claimed.push((meaning, input.width, input.gate));
                let values = (0..input.width as Reg).map(|at| (input.reg + at, hash(("claimed", meaning, at))));
                household.meanings.extend(values);
            }
        }
        let sense = if programs.own_benefits.contains(&index) { person } else { &household };
        let dates = [&program.from, &program.until, &program.proactive].map(|code| sense.maybe(code.as_ref()));
        let [from, until, proactive] = dates;
        let given = (sense.maybe(program.amount.as_ref())?, from?, until?, proactive?);
        let held = program.held.map_or(Some(0), |held| sense.of(held))?;
        let excludes: Vec<&str> = program.excludes.iter().map(|other| policy.benefits[usize::from(*other)].id.as_str()).collect();
        rights.push(hash((said(benefit), claimed, sense.codes(&program.conditions)?, given, held, (excludes, program.residents))));
    }
    Some(rights)
}

/// What is said of a right beside its programs.
fn said(benefit: &Benefit) -> impl Hash {
    let kinds = (benefit.level as u8, benefit.recipient as u8, benefit.period as u8, benefit.kind as u8);
    (kinds, benefit.ground_register, benefit.answers, benefit.standing, benefit.proactive, benefit.reasons.clone())
}
