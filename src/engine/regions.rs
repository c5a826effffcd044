//! Where people live, in the words of the package.

use dataflows::model::{PersonId, Role};
use dataflows::policy::{Environment, Evaluator, Policy, ValueKind};
use dataflows::records::Circumstances;
use std::sync::Arc;

/// Reads regions out of files.
pub struct Regions {
    policy: Arc<Policy>,
    evaluator: Evaluator,
    now: Circumstances,
    environment: Environment,
    /// The indicator's words; none where the package tells no regions.
    words: Arc<[String]>,
}

impl Regions {
    pub fn new(policy: &Arc<Policy>, now: &Circumstances) -> Regions {
        let words = policy.region.map_or_else(Arc::default, |index| match &policy.indicators[index].kind {
            ValueKind::Enum(words) => words.as_slice().into(),
            _ => Arc::default(),
        });
        let environment = policy.environment(now.today, &now.feeds);
        Regions { policy: policy.clone(), evaluator: Evaluator::new(policy.clone()), now: now.clone(), environment, words }
    }

    /// Whether they are read as this policy has them.
    pub fn are_of(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.policy, policy)
    }

    /// Has them read as of these circumstances.
    pub fn turn_to(&mut self, now: &Circumstances) {
        if self.now != *now {
            self.environment = self.policy.environment(now.today, &now.feeds);
            self.now.clone_from(now);
        }
    }

    /// What the regions are called.
    pub fn words(&self) -> Arc<[String]> {
        self.words.clone()
    }

    /// The region of somebody of whom this is known, by its place among what regions are called.
    pub fn read(&mut self, person: PersonId, file: &[u8], role: Role) -> Option<u16> {
        let region = self.evaluator.region(&self.environment, person, file, role)?;
        u16::try_from(region).ok().filter(|region| usize::from(*region) < self.words.len())
    }

    /// The same in the words of the package.
    pub fn name(&mut self, person: PersonId, file: &[u8], role: Role) -> Option<String> {
        let region = self.read(person, file, role)?;
        Some(self.words[usize::from(region)].clone())
    }
}
