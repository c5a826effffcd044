//! People who have several numbers: the records that say so, and what came under each number.
//!
//! The house knows everybody under one number (`dataflows/aliases.rs`). Which one that is, is a circumstance that it is told. What is
//! said of people with several numbers keeps the number that it came under, and is resolved by it, here; the house is given what
//! follows under the number that stands. So an alias that is deleted or corrected brings back what would have been without it.

use dataflows::aliases::{Aliases, Declared};
use dataflows::files::{FileEvent, Files};
use dataflows::model::{Date, Fault, PersonId, Renumbering, Update};
use dataflows::operators::{Restorer, Saver};
use dataflows::policy::Policy;
use dataflows::policy::file::{self, Record};
use dataflows::records::Held;
use hashbrown::HashMap;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// How what is declared of numbers is other than before.
#[derive(Default)]
pub(super) struct Settled {
    pub renumbered: Vec<Renumbering>,
    pub faults: Vec<(Fault, isize)>,
    /// Whether the house must be told other aliases.
    pub aliases: bool,
}

/// Records of one owner by register and key.
type Records = BTreeMap<(u16, String), Box<[u8]>>;

/// An act, by register and key.
pub(super) type Act = (u16, Box<str>);

pub(super) struct Numbers {
    policy: Arc<Policy>,
    /// The winning versions of records that declare an alias.
    declarations: Records,
    /// For which day they were read last; `None` when another has come since.
    read_on: Option<Date>,
    declared: Declared,
    /// Everybody who has several numbers, by each of them: the one that stands.
    kept: HashMap<PersonId, PersonId>,
    /// What came under these numbers.
    originals: Files,
    /// What the house was given of it, by number.
    given: BTreeMap<PersonId, Records>,
    /// Numbers whose records are to be given anew.
    touched: BTreeSet<PersonId>,
}

impl Numbers {
    pub fn new(policy: Arc<Policy>) -> Self {
        Numbers {
            originals: Files::new(policy.clone()),
            policy,
            declarations: Records::new(),
            read_on: None,
            declared: Declared::default(),
            kept: HashMap::new(),
            given: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Writes what is held between epochs.
    pub fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&(&self.declarations, self.read_on, &self.declared, &self.kept, &self.given))?;
        self.originals.save(saver)
    }

    /// Takes in what was written.
    pub fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        (self.declarations, self.read_on, self.declared, self.kept, self.given) = restorer.get()?;
        self.originals.restore(restorer)
    }

    /// The aliases that the house was told last.
    pub fn aliases(&self) -> &Aliases {
        &self.declared.aliases
    }

    /// Looks at a record on its way into the house: it may declare an alias.
    pub fn note(&mut self, update: &Update) {
        let register = &self.policy.registers[usize::from(update.register)];
        if register.alias.is_none() {
            return;
        }
        let record = Record::read(&update.record);
        let identity = (record.register, record.key(&register.packing));
        let known = self.declarations.get(&identity).map(|held| record.compare_version(&Record::read(held)));
        if known.is_none_or(Ordering::is_gt) {
            self.declarations.insert(identity, record.bytes.into());
            self.read_on = None;
        }
    }

    /// Keeps back what is owned by people with several numbers.
    pub fn divert(&mut self, updates: &mut Vec<Update>) {
        if self.kept.is_empty() {
            return;
        }
        for update in updates.extract_if(.., |update| self.kept.contains_key(&update.person)) {
            self.touched.insert(self.kept[&update.person]);
            self.originals.receive(FileEvent::Version(update));
        }
    }

    /// Reads what is declared as of today.
    pub fn settle(&mut self, today: Date) -> Settled {
        if self.declarations.is_empty() || self.read_on == Some(today) {
            return Settled::default();
        }
        self.read_on = Some(today);
        let declarations = self.declarations.values().map(|bytes| Record::read(bytes));
        let now = Declared::on(&self.policy, declarations, today);
        let before = std::mem::replace(&mut self.declared, now);
        let now = &self.declared;
        let (were, are) = (before.aliases.given_up(), now.aliases.given_up());
        let numbers: BTreeSet<PersonId> = were.keys().chain(are.keys()).copied().collect();
        let changed = numbers.into_iter().filter(|number| were.get(number) != are.get(number));
        let given_up = changed.map(|number| Renumbering::GivenUp(number, are.get(&number).copied()));
        let doubtful = signed(&before.doubtful, &now.doubtful).map(|(person, is)| Renumbering::Doubtful(person, is));
        Settled {
            renumbered: given_up.chain(doubtful).collect(),
            faults: signed(&before.faults, &now.faults).map(|(fault, is)| (fault, if is { 1 } else { -1 })).collect(),
            aliases: before.aliases != now.aliases,
        }
    }

    /// Takes in other aliases, once all that came before them has entered the files of the house, which `fetch` reads. The acts that
    /// name a number which is given up from now on.
    pub fn regroup(&mut self, fetch: impl Fn(PersonId) -> Option<Box<[u8]>>) -> Vec<Act> {
        let people = self.declared.aliases.people();
        let kept = people.iter().flat_map(|(kept, numbers)| numbers.iter().map(|number| (*number, *kept)));
        let before = std::mem::replace(&mut self.kept, kept.collect());
        let mut acts = BTreeSet::new();
        for (number, kept) in self.kept.iter().filter(|(number, kept)| before.get(*number) != Some(*kept)) {
            let file = fetch(*number).unwrap_or_default();
            let is_owned = |record: &Record<'_>| {
                record.register != self.policy.kin_register && !self.policy.registers[usize::from(record.register)].global
            };
            let (owned, others): (Vec<_>, Vec<_>) = file::records(&file).partition(is_owned);
            let of_acts = others.iter().filter(|record| record.register != self.policy.kin_register);
            acts.extend(of_acts.map(|record| (record.register, record.key(self.policy.packing(record.register)).into())));
            if !before.contains_key(number) {
                owned.iter().for_each(|record| self.originals.put(*number, record.bytes));
                self.given.insert(*number, whole(&self.policy, owned.into_iter()));
            }
            self.touched.extend([*number, *kept]);
        }
        for (number, kept) in before.iter().filter(|(number, kept)| self.kept.get(*number) != Some(*kept)) {
            self.touched.extend([*number, *kept]);
        }
        acts.into_iter().collect()
    }

    /// What the house is to be given anew.
    pub fn rewrite(&mut self) -> Vec<FileEvent> {
        let mut events = Vec::new();
        if self.touched.is_empty() {
            return events;
        }
        let people = self.declared.aliases.people();
        for number in std::mem::take(&mut self.touched) {
            let now = match self.kept.get(&number) {
                Some(kept) if *kept == number => {
                    let files = people[&number].iter().map(|number| (*number, self.original(*number)));
                    self.declared.aliases.merge(&self.policy, files)
                }
                Some(_) => Records::new(),
                None => whole(&self.policy, file::records(self.original(number))),
            };
            let before = self.given.remove(&number).unwrap_or_default();
            for (register, key) in before.keys().filter(|identity| !now.contains_key(*identity)) {
                events.push(FileEvent::Remove(number, *register, key.as_str().into()));
            }
            let new = now.iter().filter(|(identity, record)| before.get(*identity) != Some(*record));
            events.extend(new.map(|(_, record)| FileEvent::Put(number, record.clone())));
            if self.kept.contains_key(&number) {
                self.given.insert(number, now);
            } else if let Some(slot) = self.originals.find(number) {
                self.originals.forget(slot);
            }
        }
        events
    }

    /// Whether somebody has several numbers, of which this is one.
    pub fn is_one_of_several(&self, number: PersonId) -> bool {
        self.kept.contains_key(&number)
    }

    /// All numbers of people who have several.
    pub fn of_several(&self) -> BTreeSet<PersonId> {
        self.kept.keys().copied().collect()
    }

    /// The winning version of every identity of a register that came under these numbers.
    pub fn held(&self, register: u16) -> Vec<Held> {
        let packing = self.policy.packing(register);
        let records = self
            .originals
            .entries
            .iter()
            .flat_map(|entry| file::records(self.originals.file_of(entry)).map(move |record| (entry.person, record)));
        let of_register = records.filter(|(_, record)| record.register == register);
        of_register.map(|(person, record)| Held::new(person, &record, packing)).collect()
    }

    fn original(&self, number: PersonId) -> &[u8] {
        self.originals.find(number).map_or(&[], |slot| self.originals.file(slot))
    }
}

/// All records as they are.
fn whole<'f>(policy: &Policy, records: impl Iterator<Item = Record<'f>>) -> Records {
    let identity = |record: &Record<'_>| (record.register, record.key(policy.packing(record.register)));
    records.map(|record| (identity(&record), record.bytes.into())).collect()
}

/// What is now and was not (true), and what was and is no longer.
fn signed<'s, T: Ord + Clone>(before: &'s BTreeSet<T>, now: &'s BTreeSet<T>) -> impl Iterator<Item = (T, bool)> + 's {
    let gone = before.difference(now).map(|item| (item.clone(), false));
    gone.chain(now.difference(before).map(|item| (item.clone(), true)))
}
