//! Putting a message of the policy into words.

use super::terms::Terms;
use dataflows::model::Date;

/// What the placeholders of a message stand for.
#[derive(Clone, Debug)]
pub struct Filling<'a> {
    pub benefit: u16,
    pub amount: i64,
    pub from: Date,
    pub date: Date,
    pub reason: &'a str,
    /// Shown after each answer, so that `1{tag}` becomes `1 27`, where several offers wait for an answer.
    pub tag: Option<u8>,
}

/// Languages in which somebody is written to whose own is unknown: more would be too long a text.
const LANGUAGES_MAX: usize = 2;

/// The text in the person's language; where that is unknown, in the first languages of the package, one under the other.
/// `None` when the package has no such message.
pub fn render(terms: &Terms, message: &str, language: Option<usize>, filling: &Filling) -> Option<String> {
    let texts = terms.messages.get(message)?;
    let preferred = language.map(|index| &terms.languages[index]).filter(|language| texts.contains_key(*language));
    let written: Vec<String> = match preferred {
        Some(language) => vec![fill(terms, &texts[language], language, filling)],
        None => {
            let known = terms.languages.iter().filter(|language| texts.contains_key(*language)).take(LANGUAGES_MAX);
            known.map(|language| fill(terms, &texts[language], language, filling)).collect()
        }
    };
    (!written.is_empty()).then(|| written.join("\n"))
}

fn fill(terms: &Terms, template: &str, language: &str, filling: &Filling) -> String {
    let benefit = terms.benefit(filling.benefit);
    let title = benefit.title.get(language).unwrap_or(&benefit.id);
    template
        .replace("{benefit}", title)
        .replace("{amount}", &grouped(filling.amount))
        .replace("{from}", &day(filling.from))
        .replace("{date}", &day(filling.date))
        .replace("{reason}", filling.reason)
        .replace("{tag}", &filling.tag.map_or_else(String::new, |tag| format!(" {tag}")))
}

/// `69 330`: thousands apart, as both languages write them.
pub fn grouped(amount: i64) -> String {
    let digits = amount.unsigned_abs().to_string();
    let mut text = String::from(if amount < 0 { "-" } else { "" });
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `14.02.2026`; nothing for a date that is not a day.
fn day(date: Date) -> String {
    if date == Date::NEVER || date == Date::BEFORE_ALL {
        return String::new();
    }
    let (year, month, day) = date.ymd();
    format!("{day:02}.{month:02}.{year:04}")
}
