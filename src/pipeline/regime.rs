//! The policy in force, and all that holds under it: how records are read, what conversations hear of them, and what the ledger calls its
//! benefits and registers.

use super::Failure;
use super::gathering::Entries;
use super::news::News;
use super::submission::{Submission, is_bulky};
use crate::dispatch::{Heard, Listener, Terms};
use crate::engine::Engine;
use crate::engine::outcome::Names;
use crate::intake::{Contact, Decoded, Intake, Item, Schema, Translation};
use crate::journal::base::Base;
use crate::journal::entries::{Entry, entries};
use crate::journal::{Dictionary, Own, ReleasedRight};
use crate::sources::Quarantined;
use dataflows::decisions::ground_text;
use dataflows::model::{Change, Date, Decision, Update};
use dataflows::policy::Policy;
use dataflows::policy::file::Record;
use std::borrow::Cow;
use std::sync::Arc;

pub(super) struct Regime {
    pub policy: Arc<Policy>,
    pub schema: Arc<Schema>,
    recall: Recall,
    listener: Listener,
    /// What the ledger calls the policy's benefits and registers.
    names: Names,
    /// As of a date, of each register that forgets the last day from which it has; and room for a record's fields.
    forgotten: (Date, Vec<Option<Date>>),
    fields: Vec<i64>,
}

/// Reads what the journal has, as it is understood under a policy.
pub(super) struct Recall {
    intake: Intake,
    /// What the numbers of the segment told last mean now.
    translation: Option<(Arc<Dictionary>, Translation)>,
}

impl Recall {
    pub fn new(schema: Arc<Schema>) -> Recall {
        Recall { intake: Intake::new(schema), translation: None }
    }

    /// An epoch as it came in; of one that is long only the entries.
    pub fn recall(&mut self, dictionary: Arc<Dictionary>, entries: Vec<u8>) -> Submission {
        let mut submission =
            Submission { schema: Some(self.intake.schema().clone()), bulky: is_bulky(entries.len()), ..Submission::default() };
        if !submission.bulky {
            submission = self.restore(&dictionary, &entries);
        }
        Submission { entries: Entries::Held(entries), written_by: Some(dictionary), ..submission }
    }

    /// What was written as these entries, by this dictionary.
    pub fn restore(&mut self, dictionary: &Arc<Dictionary>, bytes: &[u8]) -> Submission {
        let mut submission = Submission { schema: Some(self.intake.schema().clone()), ..Submission::default() };
        if self.translation.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, dictionary)) {
            self.translation = Some((dictionary.clone(), Translation::new(self.intake.schema(), dictionary)));
        }
        let (_, translation) = self.translation.as_ref().expect("just made");
        for entry in entries(bytes) {
            match entry {
                Entry::Record(record) => match self.intake.restore(&record, translation) {
                    Ok(Decoded { item, contact }) => {
                        submission.items.push(item);
                        submission.contacts.extend(contact);
                    }
                    Err(rejection) => submission.refused.push(Quarantined {
                        file: Arc::from("journal"),
                        line: 0,
                        field: rejection.field,
                        reason: rejection.reason,
                        raw: record.key.as_bytes().to_vec(),
                    }),
                },
                Entry::Calendar(date) => submission.items.push(Item::Calendar(date)),
                Entry::Heartbeat { register, date } => {
                    submission.items.extend(translation.register(register).map(|register| Item::Heartbeat { register, date }));
                }
                Entry::Own(own) => submission.own.push(own),
                Entry::Refused { feed, line, field, reason, raw } => submission.refused.push(Quarantined {
                    file: Arc::from(feed),
                    line,
                    field: field.to_owned(),
                    reason: reason.to_owned(),
                    raw: raw.to_vec(),
                }),
            }
        }
        submission
    }
}

/// What an epoch says besides what the engine takes in.
#[derive(Default)]
pub(super) struct Taken {
    pub contacts: Vec<Heard>,
    pub news: Vec<Heard>,
    pub own: Vec<Own>,
    pub refused: Vec<Quarantined>,
    /// Records whose retention had ended when they came, if they are counted.
    pub expired: Option<u64>,
}

impl Regime {
    /// `terms` are those of the ledger, in which this policy's are.
    pub fn new(policy: Arc<Policy>, terms: &Terms) -> Regime {
        let schema = Arc::new(Schema::from(&*policy));
        Regime {
            recall: Recall::new(schema.clone()),
            listener: Listener::new(&policy, terms),
            names: Names::by(&policy, |id| terms.benefit_named(id), |id| terms.register_named(id)),
            forgotten: (Date::BEFORE_ALL, policy.forgotten(Date::BEFORE_ALL)),
            fields: vec![0; policy.registers.iter().map(|register| register.packed.len()).max().unwrap_or(0)],
            schema,
            policy,
        }
    }

    /// What was written as these entries, by this dictionary.
    pub fn restore(&mut self, dictionary: &Arc<Dictionary>, bytes: &[u8]) -> Submission {
        self.recall.restore(dictionary, bytes)
    }

    /// Has an engine take in what came, and notes what else it says.
    pub fn take_in(&mut self, engine: &mut Engine, mut submission: Submission, taken: &mut Taken) {
        taken.contacts.extend(submission.contacts.iter().map(|contact| self.contact(contact)));
        self.count_expired(engine.today(), &submission.items, taken);
        self.tell(engine, submission.items, |news| taken.news.push(news));
        taken.own.append(&mut submission.own);
        taken.refused.append(&mut submission.refused);
    }

    fn count_expired(&mut self, today: Date, items: &[Item], taken: &mut Taken) {
        let Some(expired) = &mut taken.expired else { return };
        let today = items.iter().fold(today, |today, item| if let Item::Calendar(date) = item { today.max(*date) } else { today });
        if self.forgotten.0 != today {
            self.forgotten = (today, self.policy.forgotten(today));
        }
        for item in items {
            if let Item::Update(update) = item {
                let register = usize::from(update.register);
                let Some(last) = self.forgotten.1[register] else { continue };
                let from = self.policy.registers[register].retained_from(&Record::read(&update.record), &mut self.fields);
                *expired += u64::from(from.is_some_and(|from| from <= last));
            }
        }
    }

    /// Has an engine take in what was accepted; `heard` is what it says to the conversations.
    pub fn tell(&self, engine: &mut Engine, items: Vec<Item>, mut heard: impl FnMut(Heard)) {
        let mut updates: Vec<Update> = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Update(update) => {
                    self.listener.hear(&update).into_iter().for_each(&mut heard);
                    updates.push(update);
                }
                Item::Calendar(date) => engine.set_date(date),
                Item::Heartbeat { register, date } => engine.hear(register, date),
            }
        }
        engine.submit(updates);
    }

    /// Has an engine that knows nothing take in a base, and go on after the epoch for which it stands.
    pub fn tell_base(&mut self, engine: &mut Engine, base: &Base) -> Result<(), Failure> {
        let in_folder = |error| Failure::Folder { path: base.folder.clone(), error };
        let (mut news, mut told) = (News::of("telling the base of the journal", base.bytes().map_err(in_folder)?), 0);
        base.read(|part| {
            let items = self.restore(&part.dictionary, &part.entries).items;
            self.tell(engine, items, |_| ());
            told += part.entries.len() as u64;
            news.tell(told);
            Ok(())
        })?;
        engine.commit();
        engine.resume_after(base.epoch);
        Ok(())
    }

    pub fn contact(&self, Contact { person, seq, phone, language }: &Contact) -> Heard {
        self.listener.contact(*person, *seq, phone, language)
    }

    /// A decision's right, by the names that it has outside.
    pub fn name_of(&self, decision: &Decision) -> ReleasedRight {
        let policy = &self.policy;
        ReleasedRight {
            person: policy.person.format(decision.person),
            benefit: policy.benefits[usize::from(decision.benefit)].id.clone(),
            ground: ground_text(policy, &decision.ground),
            period: if decision.period == Date::NEVER { String::new() } else { decision.period.to_string() },
        }
    }

    /// Changes as the ledger calls what they are about.
    pub fn for_ledger<'c>(&self, changes: &'c [Change]) -> Cow<'c, [Change]> {
        if self.names.are_the_same() {
            return Cow::Borrowed(changes);
        }
        let translate =
            |change| self.names.translate_change(change).expect("the ledger's terms hold those of each policy that was in force");
        Cow::Owned(changes.iter().map(translate).collect())
    }
}

/// The date that an epoch begins with, if it does.
pub(super) fn date_of(bytes: &[u8]) -> Option<Date> {
    entries(bytes).find_map(|entry| match entry {
        Entry::Calendar(date) => Some(date),
        _ => None,
    })
}
