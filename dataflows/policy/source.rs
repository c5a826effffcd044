//! The texts of a package as trees with places, and the mistakes found in them.

use super::Problem;
use crate::model::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

/// Where something stands: a file of the package and a byte offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: u32,
    pub at: u32,
}

impl Place {
    /// The place so many bytes further on.
    pub fn after(self, bytes: usize) -> Place {
        Place { file: self.file, at: self.at + bytes as u32 }
    }
}

/// A value of a TOML file and where it stands; a text's place is that of its first character.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    /// Where it ends in its file, quotes included.
    pub end: u32,
    pub value: Value,
}

/// A TOML value, with the little of TOML that packages use.
#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
    Date(Date),
    Array(Vec<Node>),
    Table(Vec<Entry>),
    /// Floats, times, integers beyond ±2^62: nothing that a package may contain.
    Other,
}

/// One key of a table, in the order of the file.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    fn describe(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Int(_) => "an integer",
            Value::Bool(_) => "a boolean",
            Value::Date(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other => "a float, a time or a number beyond 2^62",
        }
    }

    /// The entries of a table; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }
}

/// The package's texts, and what is wrong with them.
pub struct Problems<'a> {
    files: &'a [(String, String)],
    found: Vec<(Place, String, Option<String>)>,
}

impl<'a> Problems<'a> {
    pub fn new(files: &'a [(String, String)]) -> Self {
        Problems { files, found: Vec::new() }
    }

    pub fn report(&mut self, place: Place, message: impl Into<String>) {
        self.found.push((place, message.into(), None));
    }

    pub fn report_with_hint(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push((place, message.into(), Some(hint.into())));
    }

    /// Reports a name that nothing has, with the nearest one that something has.
    pub fn unknown_name<'n>(&mut self, place: Place, message: impl Into<String>, name: &str, known: impl IntoIterator<Item = &'n str>) {
        let hint = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        self.found.push((place, message.into(), hint));
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All mistakes in the order of the files, each once.
    pub fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(place, ..)| *place);
        self.found.dedup();
        let files = self.files;
        self.found.into_iter().map(|(place, message, hint)| locate(files, place, message, hint)).collect()
    }

    /// Reads a file into a tree; mistakes of syntax are reported.
    pub fn read(&mut self, file: usize) -> Option<Node> {
        let place = Place { file: file as u32, at: 0 };
        let text = &self.files[file].1;
        match DeTable::parse(text) {
            Ok(table) => Some(Node { place, end: text.len() as u32, value: read_table(text, place, table.get_ref()) }),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                self.report(place.after(at), error.message().to_string());
                None
            }
        }
    }

    /// Reports the keys of a table that are none of these.
    pub fn only(&mut self, node: &Node, known: &[&str]) {
        if !matches!(node.value, Value::Table(_)) {
            self.report(node.place, format!("a table is expected here, not {}", node.describe()));
        }
        for entry in node.entries() {
            if !known.contains(&entry.name.as_str()) {
                self.unknown_name(entry.place, format!("unknown key `{}`", entry.name), &entry.name, known.iter().copied());
            }
        }
    }

    fn wrong(&mut self, node: &Node, name: &str, expected: &str) {
        self.report(node.place, format!("`{name}` must be {expected}, not {}", node.describe()));
    }

    /// A text, if the key is there.
    pub fn text<'n>(&mut self, table: &'n Node, name: &str) -> Option<(&'n str, Place)> {
        let node = table.get(name)?;
        match &node.value {
            Value::Text(text) => Some((text, node.place)),
            _ => {
                self.wrong(node, name, "a text");
                None
            }
        }
    }

    /// A text that must be there.
    pub fn required<'n>(&mut self, table: &'n Node, place: Place, name: &str) -> Option<(&'n str, Place)> {
        if table.get(name).is_none() {
            self.report(place, format!("`{name}` is missing"));
        }
        self.text(table, name)
    }

    pub fn integer(&mut self, table: &Node, name: &str) -> Option<i64> {
        let node = table.get(name)?;
        match node.value {
            Value::Int(number) => Some(number),
            _ => {
                self.wrong(node, name, "an integer");
                None
            }
        }
    }

    pub fn boolean(&mut self, table: &Node, name: &str) -> Option<bool> {
        let node = table.get(name)?;
        match node.value {
            Value::Bool(flag) => Some(flag),
            _ => {
                self.wrong(node, name, "true or false");
                None
            }
        }
    }

    pub fn date(&mut self, table: &Node, name: &str) -> Option<Date> {
        let node = table.get(name)?;
        match node.value {
            Value::Date(date) => Some(date),
            _ => {
                self.wrong(node, name, "a date such as 2026-01-01");
                None
            }
        }
    }

    /// A list; empty when the key is not there.
    pub fn list<'n>(&mut self, table: &'n Node, name: &str) -> &'n [Node] {
        match table.get(name) {
            Some(Node { value: Value::Array(items), .. }) => items,
            Some(node) => {
                self.wrong(node, name, "a list");
                &[]
            }
            None => &[],
        }
    }

    /// A list of texts; empty when the key is not there.
    pub fn texts<'n>(&mut self, table: &'n Node, name: &str) -> Vec<(&'n str, Place)> {
        let mut texts = Vec::new();
        for node in self.list(table, name) {
            match &node.value {
                Value::Text(text) => texts.push((text.as_str(), node.place)),
                _ => self.wrong(node, name, "a list of texts"),
            }
        }
        texts
    }

    /// One of these words.
    pub fn word<T: Copy>(&mut self, table: &Node, name: &str, words: &[(&str, T)]) -> Option<T> {
        let (text, place) = self.text(table, name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
            self.report_with_hint(place, format!("`{name}` cannot be \"{text}\""), format!("one of {all}"));
        }
        found
    }
}

/// A mistake, with the line and column of its place.
fn locate(files: &[(String, String)], place: Place, message: String, hint: Option<String>) -> Problem {
    let Some((file, text)) = files.get(place.file as usize) else {
        return Problem { file: String::new(), line: 0, column: 0, message, hint };
    };
    let (line, column) = line_and_column(text, place.at);
    Problem { file: file.clone(), line, column, message, hint }
}

/// Both one-based; columns count characters.
pub fn line_and_column(text: &str, at: u32) -> (usize, usize) {
    let mut at = (at as usize).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn read_table(text: &str, start: Place, table: &DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            name: key.get_ref().to_string(),
            place: Place { at: key.span().start as u32, ..start },
            node: read_value(text, start.file, value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.place);
    Value::Table(entries)
}

fn read_value(text: &str, file: u32, value: &Spanned<DeValue<'_>>) -> Node {
    let (place, end) = (Place { file, at: value.span().start as u32 }, value.span().end as u32);
    let value = match value.get_ref() {
        DeValue::String(content) => {
            let place = place.after(opening(&text[place.at as usize..]));
            return Node { place, end, value: Value::Text(content.to_string()) };
        }
        DeValue::Integer(number) => integer(&number.as_str().replace('_', ""), number.radix()).map_or(Value::Other, Value::Int),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(Datetime { date: Some(date), time: None, offset: None }) => {
            Date::from_ymd(i32::from(date.year), u32::from(date.month), u32::from(date.day)).map_or(Value::Other, Value::Date)
        }
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
        DeValue::Array(items) => Value::Array(items.iter().map(|item| read_value(text, file, item)).collect()),
        DeValue::Table(table) => read_table(text, place, table),
    };
    Node { place, end, value }
}

/// An integer that the engine can carry.
fn integer(text: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(text, radix).ok().filter(|number| number.unsigned_abs() <= 1 << 62)
}

/// How many bytes open the quoted text at the head of `text`.
fn opening(text: &str) -> usize {
    if text.starts_with("\"\"\"") || text.starts_with("'''") {
        3 + ["\r\n", "\n"].iter().find(|newline| text[3..].starts_with(**newline)).map_or(0, |newline| newline.len())
    } else {
        1
    }
}

/// The name that is most alike, if any is alike enough to have been meant.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let (distance, near) = known.into_iter().map(|near| (edits(name, near), near)).min()?;
    (distance <= 1 + name.len() / 4).then_some(near)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                    let edited = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
                    if swapped { edited.min(rows[i - 2][j - 2] + 1) } else { edited }
                }
            };
        }
    }
    rows[from.len()][to.len()]
}
