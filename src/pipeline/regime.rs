//! The policy in force, and all that holds under it: how records are read, what conversations hear of them, and what the ledger calls its
//! benefits and registers.

use super::Failure;
use super::scribe::Submission;
use crate::dispatch::{Heard, Listener, Terms};
use crate::engine::Engine;
use crate::engine::outcome::Names;
use crate::intake::{Contact, Decoded, Intake, Item, Schema, Translation};
use crate::journal::base::Base;
use crate::journal::entries::{Entry, entries};
use crate::journal::{self, Dictionary};
use crate::sources::Quarantined;
use dataflows::model::{Change, Date, Update};
use dataflows::policy::Policy;
use std::borrow::Cow;
use std::sync::Arc;

pub(super) struct Regime {
    pub policy: Arc<Policy>,
    pub schema: Arc<Schema>,
    intake: Intake,
    listener: Listener,
    /// What the ledger calls the policy's benefits and registers.
    names: Names,
    /// What the numbers of the segment told last mean now.
    translation: Option<(Arc<Dictionary>, Translation)>,
}

impl Regime {
    /// `terms` are those of the ledger, in which this policy's are.
    pub fn new(policy: Arc<Policy>, terms: &Terms) -> Regime {
        let schema = Arc::new(Schema::from(&*policy));
        Regime {
            intake: Intake::new(schema.clone()),
            listener: Listener::new(&policy, terms),
            names: Names::by(&policy, |id| terms.benefit_named(id), |id| terms.register_named(id)),
            schema,
            policy,
            translation: None,
        }
    }

    /// An epoch as it came in.
    pub fn restore(&mut self, epoch: &journal::Epoch) -> Submission {
        let mut submission = Submission::default();
        if self.translation.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &epoch.dictionary)) {
            self.translation = Some((epoch.dictionary.clone(), Translation::new(self.intake.schema(), &epoch.dictionary)));
        }
        let (_, translation) = self.translation.as_ref().expect("just made");
        for entry in entries(&epoch.entries) {
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
        base.read(|part| {
            let items = self.restore(&part).items;
            self.tell(engine, items, |_| ());
            Ok(())
        })?;
        engine.commit();
        engine.resume_after(base.epoch);
        Ok(())
    }

    pub fn contact(&self, Contact { person, seq, phone, language }: &Contact) -> Heard {
        self.listener.contact(*person, *seq, phone, language)
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
