//! What the conversation hears of the agencies' records, on their way into the house.

use super::desk::Heard;
use super::iban::Iban;
use super::terms::Terms;
use dataflows::model::{Date, Update};
use dataflows::policy::file::{ABSENT, Packing, Record};
use dataflows::policy::{self, FieldType, Policy};

/// Where banks report accounts and the registry office deaths. A package without these registers pays and buries without us.
const ACCOUNTS: &str = "bank.account";
const DEATHS: &str = "zags.death";

/// Picks the records that the conversation is interested in.
pub struct Listener {
    accounts: Option<u16>,
    /// Their key is the number.
    account_packing: Packing,
    deaths: Option<u16>,
    assignment: Option<Assignments>,
    languages: Vec<String>,
}

/// Where the package finds assignments, and which benefit each of its words is.
struct Assignments {
    place: policy::Assignment,
    packing: Packing,
    fields: usize,
    /// By word of the record's enumeration: the benefit's id and number.
    benefits: Vec<(String, Option<u16>)>,
}

impl Listener {
    /// Benefits are heard by the numbers that `terms` give them.
    pub fn new(policy: &Policy, terms: &Terms) -> Self {
        let assignment = policy.assignment.map(|place| {
            let register = &policy.registers[usize::from(place.register)];
            let words = match &register.fields[register.packed[place.benefit]].kind {
                FieldType::Enum(words) => words.clone(),
                _ => Vec::new(),
            };
            let benefits = words.into_iter().map(|word| (terms.benefit_named(&word), word)).map(|(number, word)| (word, number)).collect();
            Assignments { place, packing: register.packing.clone(), fields: register.packed.len(), benefits }
        });
        let accounts = policy.register(ACCOUNTS);
        let account_packing = accounts.map(|register| policy.packing(register).clone()).unwrap_or_default();
        Listener { accounts, account_packing, deaths: policy.register(DEATHS), assignment, languages: policy.languages.clone() }
    }

    /// What an update says to the conversation, if anything.
    pub fn hear(&self, update: &Update) -> Option<Heard> {
        let Update { person, register, ref record, .. } = *update;
        // Most records say nothing, and are not looked into.
        let assignment = self.assignment.as_ref().filter(|assignment| assignment.place.register == register);
        if assignment.is_none() && ![self.accounts, self.deaths].contains(&Some(register)) {
            return None;
        }
        let record = Record::read(record);
        if let Some(assignment) = assignment {
            return assignment.hear(person, &record);
        }
        let said = || match Some(register) == self.accounts {
            true => Heard::Account { person, iban: Iban::parse(&record.key(&self.account_packing)) },
            false => Heard::Death { person, on: record.event_date() },
        };
        (!record.deleted()).then(said)
    }

    /// A telephone and a language as intake read them.
    pub fn contact(&self, person: u64, version: u64, phone: &str, language: &str) -> Heard {
        let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
        let language = self.languages.iter().position(|known| known == language);
        Heard::Contact { person, version, phone: digits.parse().ok(), language }
    }
}

impl Assignments {
    /// The benefit and the ground are read from the key, `benefit-ground`: a deleted record has nothing else.
    fn hear(&self, person: u64, record: &Record) -> Option<Heard> {
        let key = record.key(&self.packing);
        let written = |(word, number): &(String, Option<u16>)| {
            let ground = key.strip_prefix(word.as_str())?.strip_prefix('-')?;
            Some(((*number)?, Box::from(ground)))
        };
        let (benefit, ground) = self.benefits.iter().find_map(written)?;
        let until = if record.deleted() { Date::BEFORE_ALL } else { self.until(record) };
        Some(Heard::Assignment { person, benefit, ground, version: record.seq, until })
    }

    fn until(&self, record: &Record) -> Date {
        let mut fields = vec![ABSENT; self.fields];
        record.unpack(&self.packing, &mut fields);
        let until = self.place.until.map_or(ABSENT, |position| fields[position]);
        i32::try_from(until).map_or(Date::NEVER, Date)
    }
}
