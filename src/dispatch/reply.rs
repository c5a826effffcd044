//! Reading a reply: yes, no, an account number, or nothing that we understand.

use super::iban::Iban;

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Consent, and the tag of the offer where one was written.
    Yes(Option<u8>),
    No(Option<u8>),
    /// The number of a bank account whose check digits agree.
    Account(Iban),
    /// No texts any more, and texts again.
    Stop,
    Start,
    Unclear,
}

const YES: [&str; 6] = ["1", "ИӘ", "ИЯ", "ДА", "YES", "R 1"];
const STOP: [&str; 6] = ["СТОП", "STOP", "ТОҚТАТУ", "ТОҚТА", "ОТПИСАТЬСЯ", "UNSUBSCRIBE"];
const START: [&str; 6] = ["СТАРТ", "START", "БАСТАУ", "БАСТА", "ПОДПИСАТЬСЯ", "SUBSCRIBE"];
const NO: [&str; 6] = ["2", "ЖОҚ", "ЖОК", "НЕТ", "NO", "R 2"];

/// Reads a reply as domain.md 6.2 has it: trimmed, upper-cased, look-alikes folded; a two-digit tag may follow the answer.
pub fn parse(text: &str) -> Reply {
    let folded = fold(text);
    let words: Vec<&str> = folded.split_whitespace().collect();
    if let Some(account) = Iban::parse(&words.concat()) {
        return Reply::Account(account);
    }
    let (answer, tag) = match words.split_last() {
        Some((last, before)) if !before.is_empty() && tag(last).is_some() => (before.join(" "), tag(last)),
        _ => (words.join(" "), None),
    };
    let means = |list: [&str; 6]| list.iter().any(|word| fold(word) == answer);
    match () {
        () if means(YES) => Reply::Yes(tag),
        () if means(NO) => Reply::No(tag),
        () if means(STOP) && tag.is_none() => Reply::Stop,
        () if means(START) && tag.is_none() => Reply::Start,
        () => Reply::Unclear,
    }
}

/// Two digits, 10 to 99.
fn tag(word: &str) -> Option<u8> {
    word.parse().ok().filter(|tag| (10..=99).contains(tag) && word.len() == 2)
}

/// Upper case with Cyrillic letters that look Latin made Latin, so that `ДA` and `HET` are read whatever keyboard wrote them.
fn fold(text: &str) -> String {
    let trimmed = text.trim_matches(|letter: char| letter.is_whitespace() || ".,!".contains(letter));
    trimmed.to_uppercase().chars().map(look_alike).collect()
}

fn look_alike(letter: char) -> char {
    const CYRILLIC: &str = "АВЕКМНОРСТУХІҺҚ";
    const LATIN: &str = "ABEKMHOPCTYXIHK";
    CYRILLIC.chars().zip(LATIN.chars()).find(|(cyrillic, _)| *cyrillic == letter).map_or(letter, |(_, latin)| latin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_keyboard_wrote_them() {
        for yes in ["1", " иә ", "ИЯ", "да", "Дa", "ДА.", "yes", "r 1", "R  1"] {
            assert_eq!(parse(yes), Reply::Yes(None), "{yes}");
        }
        for no in ["2", "жоқ", "ЖОК", "жoк", "нет", "HET", "No", "NО", "r 2!"] {
            assert_eq!(parse(no), Reply::No(None), "{no}");
        }
        for unclear in ["", "?", "3", "12", "1 2 3", "да нет", "1 7", "1 100", "27"] {
            assert_eq!(parse(unclear), Reply::Unclear, "{unclear}");
        }
    }

    #[test]
    fn who_wants_no_texts_says_so() {
        for (word, reply) in [("стоп", Reply::Stop), ("Stop!", Reply::Stop), ("тоқтату", Reply::Stop), ("ТОКТАТУ", Reply::Stop)]
        {
            assert_eq!(parse(word), reply, "{word}");
        }
        assert_eq!((parse("старт"), parse("бастау"), parse("стоп 27")), (Reply::Start, Reply::Start, Reply::Unclear));
    }

    #[test]
    fn a_tag_says_which_offer_is_meant() {
        assert_eq!(parse("1 27"), Reply::Yes(Some(27)));
        assert_eq!(parse("да  27"), Reply::Yes(Some(27)));
        assert_eq!(parse("R 2 10"), Reply::No(Some(10)));
        assert_eq!(parse("1 07"), Reply::Unclear);
    }

    #[test]
    fn an_account_is_taken_only_with_right_check_digits() {
        let account = Iban::parse("KZ86125KZT5004100100").unwrap();
        assert_eq!(parse("kz86 125k zt50 0410 0100"), Reply::Account(account));
        assert_eq!(parse("KZ87125KZT5004100100"), Reply::Unclear);
    }
}
