//! A story as it is written.

use super::Complaint;
use super::expectation::Expectation;
use dataflows::model::Date;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::value::Datetime;

/// A story, read.
pub struct Story {
    pub file: String,
    pub title: String,
    pub people: BTreeMap<String, Person>,
    pub days: Vec<Day>,
}

/// Somebody in a story.
#[derive(Clone, Debug)]
pub struct Person {
    pub sex: Option<String>,
    pub born: Date,
    /// Mother and father, as far as they are known.
    pub mother: Option<String>,
    pub father: Option<String>,
    pub address: Option<String>,
}

pub struct Day {
    pub line: usize,
    pub date: Date,
    pub give: Vec<(usize, toml::Table)>,
    /// Registers that keep silent from this day on.
    pub silent: Option<Vec<String>>,
    pub expect: Vec<(usize, Expectation)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoryText {
    story: String,
    #[serde(default)]
    people: BTreeMap<String, Spanned<PersonText>>,
    #[serde(default)]
    silent: Vec<String>,
    day: Vec<DayText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonText {
    sex: Option<String>,
    born: Datetime,
    #[serde(default)]
    of: Vec<String>,
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DayText {
    date: Spanned<Datetime>,
    #[serde(default)]
    give: Vec<Spanned<toml::Table>>,
    silent: Option<Vec<String>>,
    #[serde(default)]
    expect: Vec<Spanned<String>>,
}

/// A file while it is being read.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        self.text.as_bytes()[..span.start.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn complain(&self, span: Range<usize>, expected: &str, found: impl Into<String>) -> Complaint {
        Complaint { file: self.file.to_owned(), line: self.line(span), expected: expected.to_owned(), found: found.into() }
    }

    fn date(&self, span: Range<usize>, date: &Datetime) -> Result<Date, Complaint> {
        Date::parse(&date.to_string()).ok_or_else(|| self.complain(span, "a date", date.to_string()))
    }

    fn person(&self, person: Spanned<PersonText>) -> Result<Person, Complaint> {
        let span = person.span();
        let person = person.into_inner();
        if person.of.len() > 2 {
            return Err(self.complain(span, "of = [mother, father]", format!("{} names", person.of.len())));
        }
        let parent = |index: usize| person.of.get(index).filter(|name| !name.is_empty()).cloned();
        Ok(Person { mother: parent(0), father: parent(1), born: self.date(span, &person.born)?, sex: person.sex, address: person.address })
    }

    fn day(&self, day: DayText) -> Result<Day, Complaint> {
        let expect = |sentence: Spanned<String>| {
            let expectation = Expectation::read(sentence.as_ref());
            let expectation = expectation.map_err(|usage| self.complain(sentence.span(), usage, format!("`{}`", sentence.as_ref())))?;
            Ok((self.line(sentence.span()), expectation))
        };
        Ok(Day {
            line: self.line(day.date.span()),
            date: self.date(day.date.span(), day.date.as_ref())?,
            give: day.give.into_iter().map(|give| (self.line(give.span()), give.into_inner())).collect(),
            silent: day.silent,
            expect: day.expect.into_iter().map(expect).collect::<Result<_, _>>()?,
        })
    }
}

impl Story {
    /// Reads a story; the complaint says where it is not one.
    pub fn read(file: &str, text: &str) -> Result<Story, Complaint> {
        let reader = Reader { file, text };
        let story: StoryText = toml::from_str(text)
            .map_err(|error| reader.complain(error.span().unwrap_or_default(), "a story", error.message().to_owned()))?;
        let person = |(name, person)| Ok((name, reader.person(person)?));
        let people = story.people.into_iter().map(person).collect::<Result<_, _>>()?;
        let mut days = story.day.into_iter().map(|day| reader.day(day)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = days.first_mut() else {
            return Err(reader.complain(0..0, "days", "none"));
        };
        first.silent.get_or_insert(story.silent);
        if let Some(pair) = days.windows(2).find(|pair| pair[0].date >= pair[1].date) {
            return Err(reader.complain(0..0, &format!("a day after {}", pair[0].date), pair[1].date.to_string()));
        }
        Ok(Story { file: file.to_owned(), title: story.story, people, days })
    }
}
