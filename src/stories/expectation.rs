//! The sentences of a story: what each expects, read from words.

use super::Event;
use dataflows::model::Date;

/// `saule gained rep_large_family 69330 from 2026-02-14`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub sentence: String,
    pub name: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Something happened to a right today.
    Happened {
        event: Event,
        benefit: String,
        terms: Terms,
    },
    /// A right is held today.
    Has {
        benefit: String,
        terms: Terms,
    },
    NotEligible {
        benefit: String,
        because: Option<String>,
    },
    Undetermined {
        benefit: String,
    },
    /// The engine reports a contradiction, or none of this kind.
    Fault {
        id: String,
        present: bool,
    },
    /// Nobody else is in the household.
    LivesWith {
        names: Vec<String>,
    },
    /// In no household: dead, departed, unknown, or under another number.
    Nowhere,
    /// An indicator, criterion, `score`, `category`, `level` or `level_score`.
    Value {
        id: String,
        value: String,
    },
    Unknown {
        id: String,
        reason: Option<String>,
    },
}

/// What a sentence says of a right; what it does not say may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub amount: Option<i64>,
    pub from: Option<Date>,
    pub until: Option<Date>,
    /// A condition that no longer holds.
    pub because: Option<String>,
}

const USAGE: &str = "NAME gained|lost|changed|has BENEFIT [AMOUNT] [from DATE] [until DATE] [because CONDITION], \
NAME not eligible BENEFIT [because CONDITION], NAME undetermined BENEFIT, NAME lives with NAMES, NAME alone, NAME nowhere, NAME has [no] fault FAULT, NAME THING = VALUE or NAME THING unknown [REASON]";

impl Expectation {
    /// Reads a sentence; the error says what sentences look like.
    pub fn read(sentence: &str) -> Result<Expectation, &'static str> {
        let words: Vec<&str> = sentence.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let [name, rest @ ..] = words.as_slice() else {
            return Err(USAGE);
        };
        let what = what(rest).ok_or(USAGE)?;
        Ok(Expectation { sentence: sentence.to_owned(), name: (*name).to_owned(), what })
    }

    /// The benefit that the sentence is about.
    pub fn benefit(&self) -> Option<&str> {
        match &self.what {
            What::Happened { benefit, .. }
            | What::Has { benefit, .. }
            | What::NotEligible { benefit, .. }
            | What::Undetermined { benefit } => Some(benefit),
            What::LivesWith { .. } | What::Nowhere | What::Fault { .. } | What::Value { .. } | What::Unknown { .. } => None,
        }
    }

    /// Whether the sentence accounts for a change of this right today.
    pub fn accounts_for(&self, name: &str, benefit: &str) -> bool {
        let tells = matches!(self.what, What::Happened { .. } | What::Undetermined { .. });
        tells && self.name == name && self.benefit() == Some(benefit)
    }
}

fn what(words: &[&str]) -> Option<What> {
    let text = |word: &&str| (*word).to_owned();
    Some(match words {
        ["not", "eligible", benefit] => What::NotEligible { benefit: text(benefit), because: None },
        ["not", "eligible", benefit, "because", condition] => What::NotEligible { benefit: text(benefit), because: Some(text(condition)) },
        ["undetermined", benefit] => What::Undetermined { benefit: text(benefit) },
        ["has", "fault", id] => What::Fault { id: text(id), present: true },
        ["has", "no", "fault", id] => What::Fault { id: text(id), present: false },
        ["has", benefit, terms @ ..] => What::Has { benefit: text(benefit), terms: read_terms(terms)? },
        ["lives", "with", names @ ..] if !names.is_empty() => What::LivesWith { names: names.iter().map(text).collect() },
        ["alone"] => What::LivesWith { names: Vec::new() },
        ["nowhere"] => What::Nowhere,
        [id, "=", value] => What::Value { id: text(id), value: text(value) },
        [id, "unknown"] => What::Unknown { id: text(id), reason: None },
        [id, "unknown", reason] => What::Unknown { id: text(id), reason: Some(text(reason)) },
        [event, benefit, terms @ ..] => {
            let (_, event) = Event::WORDS.iter().find(|(word, _)| word == event)?;
            What::Happened { event: *event, benefit: text(benefit), terms: read_terms(terms)? }
        }
        _ => return None,
    })
}

fn read_terms(words: &[&str]) -> Option<Terms> {
    let mut terms = Terms::default();
    let mut rest = words;
    loop {
        rest = match rest {
            [] => return Some(terms),
            ["from", date, rest @ ..] => {
                terms.from = Some(Date::parse(date)?);
                rest
            }
            ["until", date, rest @ ..] => {
                terms.until = Some(Date::parse(date)?);
                rest
            }
            ["because", condition, rest @ ..] => {
                terms.because = Some((*condition).to_owned());
                rest
            }
            [amount, rest @ ..] => {
                terms.amount = Some(amount.parse().ok()?);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_taken_apart() {
        let sentence = Expectation::read("saule gained rep_large_family 69330 from 2026-02-14").expect("a sentence");
        let terms = Terms { amount: Some(69330), from: Date::parse("2026-02-14"), ..Terms::default() };
        assert_eq!(sentence.what, What::Happened { event: Event::Gained, benefit: "rep_large_family".into(), terms });
        assert!(sentence.accounts_for("saule", "rep_large_family"));
        let names = |text: &str| Expectation::read(text).expect("a sentence").what;
        assert_eq!(names("saule lives with daulet, aidar"), What::LivesWith { names: vec!["daulet".into(), "aidar".into()] });
        assert_eq!(names("saule alone"), What::LivesWith { names: Vec::new() });
        let unknown = What::Unknown { id: "score".into(), reason: Some("silent:enpf.contribution".into()) };
        assert_eq!(names("saule score unknown silent:enpf.contribution"), unknown);
    }

    #[test]
    fn other_words_are_refused() {
        for sentence in ["saule", "saule likes tea", "saule gained rep_large_family much", "saule lives with"] {
            assert!(Expectation::read(sentence).is_err(), "{sentence}");
        }
    }
}
