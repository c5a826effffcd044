//! Where people live, in the words of the package.

use dataflows::model::{PersonId, Role};
use dataflows::policy::{Environment, Evaluator, Policy, ValueKind};
use dataflows::records::Circumstances;
use std::sync::Arc;

/// Reads regions out of files.
pub struct Regions {
    evaluator: Evaluator,
    environment: Environment,
    /// The indicator's position, and its words; nothing where the package tells no regions.
    region: Option<(usize, Vec<String>)>,
}

impl Regions {
    pub fn new(policy: &Arc<Policy>, now: &Circumstances) -> Regions {
        let region = policy.region.map(|index| &policy.indicators[index]).map(|indicator| {
            let words = if let ValueKind::Enum(words) = &indicator.kind { words.clone() } else { Vec::new() };
            (indicator.position, words)
        });
        let environment = policy.environment(now.today, &now.feeds);
        Regions { evaluator: Evaluator::new(policy.clone()), environment, region }
    }

    /// The region of somebody of whom this is known.
    pub fn read(&mut self, person: PersonId, file: &[u8], role: Role) -> Option<&str> {
        let (position, words) = self.region.as_ref()?;
        let (values, _) = self.evaluator.person_values(&self.environment, person, file, role);
        words.get(usize::try_from(values[*position]).ok()?).map(String::as_str)
    }
}
