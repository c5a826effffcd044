//! How fast texts leave: so many of a kind a second, and not several at once to one number. It changes when somebody is written to, never whether.

use crate::dispatch::{Kind, Phone, Text};
use hashbrown::HashMap;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Numbers are forgotten once there are so many that may be written to again.
const NUMBERS_MAX: usize = 100_000;

/// By template, texts a second; and seconds from one text to a number to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaceTerms {
    pub templates: BTreeMap<String, u32>,
    pub number_seconds: u64,
}

impl PaceTerms {
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        let is_known = |name: &str| Kind::ALL.iter().any(|kind| kind.name() == name);
        match self.templates.iter().find(|(name, rate)| !is_known(name) || **rate == 0) {
            Some((name, 0)) => Err(format!("{name}: at least 1 a second; what is not to leave at all is paused")),
            Some((name, _)) => Err(format!("there is no template `{name}`; there are {:?}", Kind::ALL.map(Kind::name))),
            None => Ok(()),
        }
    }
}

/// What has left lately.
pub(super) struct Pace {
    terms: PaceTerms,
    templates: BTreeMap<Kind, Bucket>,
    numbers: HashMap<Phone, Instant>,
}

/// So many tokens are there, as of then; a second of the rate at most.
struct Bucket {
    tokens: f64,
    counted: Instant,
}

impl Pace {
    pub fn new(terms: PaceTerms) -> Pace {
        Pace { terms, templates: BTreeMap::new(), numbers: HashMap::new() }
    }

    /// Whether a text may leave now; if so it counts.
    pub fn grants(&mut self, text: &Text, now: Instant) -> bool {
        let pause = Duration::from_secs(self.terms.number_seconds);
        if self.numbers.get(&text.phone).is_some_and(|last| now < *last + pause) {
            return false;
        }
        if let Some(rate) = self.terms.templates.get(text.kind.name()).map(|rate| f64::from(*rate)) {
            let bucket = self.templates.entry(text.kind).or_insert(Bucket { tokens: rate, counted: now });
            bucket.tokens = (bucket.tokens + rate * (now - bucket.counted).as_secs_f64()).min(rate);
            bucket.counted = now;
            if bucket.tokens < 1.0 {
                return false;
            }
            bucket.tokens -= 1.0;
        }
        if !pause.is_zero() {
            if self.numbers.len() >= NUMBERS_MAX {
                self.numbers.retain(|_, last| now < *last + pause);
            }
            self.numbers.insert(text.phone, now);
        }
        true
    }

    /// How long until more may leave of what was held back.
    pub fn rest(&self) -> Duration {
        let fastest = self.terms.templates.values().max().map(|rate| Duration::from_secs(1) / *rate);
        fastest.unwrap_or(Duration::from_secs(1)).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::RightKey;
    use dataflows::model::{Date, Ground};

    fn text(kind: Kind, phone: Phone) -> Text {
        let right = RightKey { person: 1, benefit: 0, ground: Ground::Constant, period: Date::NEVER };
        Text { right, round: 1, kind, addressee: 1, phone, tag: None, body: String::new() }
    }

    #[test]
    fn a_template_leaves_at_its_rate_and_a_number_rests() {
        let terms = PaceTerms { templates: BTreeMap::from([("offer".to_owned(), 10)]), number_seconds: 5 };
        let (mut pace, begun) = (Pace::new(terms), Instant::now());
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let granted =
            |pace: &mut Pace, kind, from: u64, at| (from..from + 100).filter(|phone| pace.grants(&text(kind, *phone), at)).count();
        assert_eq!(granted(&mut pace, Kind::Offer, 0, at(0)), 10, "a second's worth");
        assert_eq!(granted(&mut pace, Kind::Offer, 100, at(500)), 5);
        assert_eq!(granted(&mut pace, Kind::Repeat, 200, at(500)), 100, "another template");
        assert!(!pace.grants(&text(Kind::Repeat, 200), at(5_400)) && pace.grants(&text(Kind::Repeat, 200), at(5_500)));
        assert_eq!(granted(&mut pace, Kind::Offer, 300, at(60_000)), 10, "no more is saved");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |name: &str, rate| PaceTerms { templates: BTreeMap::from([(name.to_owned(), rate)]), number_seconds: 0 }.check();
        assert!(wrong("ofer", 1).unwrap_err().contains("there is no template `ofer`"));
        assert!(wrong("offer", 0).unwrap_err().contains("at least 1 a second"));
        assert_eq!(wrong("offer", 1), Ok(()));
    }
}
