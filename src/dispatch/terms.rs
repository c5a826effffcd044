//! What the conversation needs of the policy, and nothing more.

use super::RightKey;
use dataflows::decisions::{identity, write_ground};
use dataflows::model::{Decision, DecisionId, Ground, PersonKind};
use dataflows::policy::{BenefitKind, Period, Policy, Texts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_128;

/// What the conversation needs of a benefit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenefitTerms {
    pub id: String,
    pub title: Texts,
    pub period: Period,
    /// The person's yes is needed. Without it a benefit is told once (where there is a text for it) or given silently.
    pub consent: bool,
    /// Days beyond the first on which the right must still hold before anybody is written to.
    pub debounce_days: i32,
    /// Lower goes first.
    pub priority: i64,
    /// A place, a meal, a service: no amount is told.
    pub in_kind: bool,
    /// Its amount is one of each month.
    pub monthly: bool,
    /// It concerns the social worker: a line on their list instead of a text.
    pub to_worker: bool,
    /// Its amount has no source: it is not offered unless [`Terms::allow_assumed`] says so.
    pub assumed: bool,
}

/// The package as the conversation sees it. Numbers of benefits and registers stay what they are when another package comes into force: it
/// appends what is new, and what it no longer knows keeps its place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Terms {
    pub person: PersonKind,
    /// In the order in which a text is given to somebody whose language is unknown.
    pub languages: Vec<String>,
    /// Names of the registers, by index: identities that leave the process must not depend on the index.
    pub registers: Vec<String>,
    /// By index, as decisions name them.
    pub benefits: Vec<BenefitTerms>,
    /// By id; a notice has the id of its benefit.
    pub messages: BTreeMap<String, Texts>,
    /// Amounts that the package only assumes may be offered: of a pretend country, or by whoever answers for them.
    pub allow_assumed: bool,
}

impl From<&Policy> for Terms {
    fn from(policy: &Policy) -> Self {
        let benefits = policy.benefits.iter().map(|benefit| BenefitTerms {
            id: benefit.id.clone(),
            title: benefit.title.clone(),
            period: benefit.period,
            consent: benefit.consent,
            debounce_days: i32::try_from(benefit.debounce_days).unwrap_or(i32::MAX),
            priority: benefit.priority,
            in_kind: benefit.kind == BenefitKind::InKind,
            monthly: benefit.unit.ends_with("/month"),
            to_worker: benefit.to_worker,
            assumed: benefit.assumed,
        });
        Terms {
            person: policy.person,
            languages: policy.languages.clone(),
            registers: policy.registers.iter().map(|register| register.id.clone()).collect(),
            benefits: benefits.collect(),
            messages: policy.messages.clone(),
            allow_assumed: false,
        }
    }
}

impl Terms {
    /// The terms of a package that comes into force after these.
    pub fn followed_by(&self, policy: &Policy) -> Terms {
        let Terms { benefits, registers, allow_assumed, .. } = self.clone();
        let mut next = Terms { benefits, registers, allow_assumed, ..Terms::from(policy) };
        let Terms { benefits, registers, .. } = Terms::from(policy);
        for benefit in benefits {
            match next.benefits.iter_mut().find(|known| known.id == benefit.id) {
                Some(known) => *known = benefit,
                None => next.benefits.push(benefit),
            }
        }
        let new: Vec<String> = registers.into_iter().filter(|register| !next.registers.contains(register)).collect();
        next.registers.extend(new);
        next
    }

    /// Index of the register with this id.
    pub fn register_named(&self, id: &str) -> Option<u16> {
        self.registers.iter().position(|register| register == id).map(|index| index as u16)
    }

    pub fn benefit(&self, benefit: u16) -> &BenefitTerms {
        &self.benefits[usize::from(benefit)]
    }

    /// Index of the benefit with this id.
    pub fn benefit_named(&self, id: &str) -> Option<u16> {
        self.benefits.iter().position(|benefit| benefit.id == id).map(|index| index as u16)
    }

    /// The identity of a decision, as the house gives it.
    pub fn decision_id(&self, decision: &Decision) -> DecisionId {
        identity(self.person, &self.benefit(decision.benefit).id, |register| self.register(register), decision)
    }

    /// A ground as it is named outside.
    pub fn ground(&self, ground: &Ground) -> String {
        let mut text = String::new();
        write_ground(ground, |register| self.register(register), &mut text).expect("memory can be written");
        text
    }

    /// The identity of what belongs to a round of an offer, by names that outlive the process.
    pub fn offer_hash(&self, right: &RightKey, round: u32, what: &str) -> u128 {
        let (benefit, ground) = (&self.benefit(right.benefit).id, self.ground(&right.ground));
        let name = format!("{}|{benefit}|{ground}|{}|{round}|{what}", self.person.format(right.person), right.period.0);
        xxh3_128(name.as_bytes())
    }

    fn register(&self, register: u16) -> &str {
        &self.registers[usize::from(register)]
    }
}
