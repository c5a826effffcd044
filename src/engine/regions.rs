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
    words: Vec<Arc<str>>,
}

impl Regions {
    pub fn new(policy: &Arc<Policy>, now: &Circumstances) -> Regions {
        let words = policy.region.map_or_else(Vec::new, |index| match &policy.indicators[index].kind {
            ValueKind::Enum(words) => words.iter().map(|word| Arc::from(word.as_str())).collect(),
            _ => Vec::new(),
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

    /// The region of somebody of whom this is known.
    pub fn read(&mut self, person: PersonId, file: &[u8], role: Role) -> Option<Arc<str>> {
        let region = self.evaluator.region(&self.environment, person, file, role)?;
        self.words.get(usize::try_from(region).ok()?).cloned()
    }
}
