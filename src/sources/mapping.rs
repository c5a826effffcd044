//! Mappings: which records a row of a table gives (design.md 4.1).
//!
//! A section serves the files that its pattern names; each of its rows makes one record of every row of the table, by
//! templates over columns. All of it is checked against the registers before the first file is opened.
//!
//! ```toml
//! [office.people]
//! file      = "people*.csv*"         # by file name; `*` stands for any characters
//! delimiter = ";"                    # a comma unless said otherwise
//! dates     = "%d.%m.%Y"             # of columns that are dates by themselves; composed dates are YYYY-MM-DD
//! null      = ["", "NA"]             # texts that mean "no value"; the empty one unless said otherwise
//! rows      = [
//!   { register = "gbdfl.person", person = "{iin}", key = "main", seq = "{version}", data = { birth_date = "{born}", sex = "{sex}" } },
//!   # `needs`: rows of the table without these columns give no such record
//!   { register = "zags.marriage", needs = ["spouse"], key = "{act}", seq = 1,
//!     data = { man = "{iin}", woman = "{spouse}", registered = "{since}" } },
//! ]
//! ```
//!
//! A text with a column that has no value has none itself; `op` is upsert unless said otherwise.

use super::Chunk;
use super::blocks::{Block, line_feeds};
use crate::intake::{Decoded, Envelope, Intake, Rejection, Scalar, Schema, did_you_mean};
use csv::ByteRecord;
use dataflows::model::Date;
use dataflows::policy::{Field, FieldType, Register};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How dates are written unless a mapping says otherwise.
const ISO: &str = "%Y-%m-%d";

/// A section as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionText {
    file: String,
    rows: Vec<RowText>,
    dates: Option<String>,
    null: Option<Vec<String>>,
    delimiter: Option<char>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowText {
    register: String,
    person: Option<toml::Value>,
    key: toml::Value,
    seq: toml::Value,
    op: Option<toml::Value>,
    event_date: Option<toml::Value>,
    recorded_at: Option<toml::Value>,
    #[serde(default)]
    data: BTreeMap<String, toml::Value>,
    /// Columns without which a row of the table gives no such record.
    #[serde(default)]
    needs: Vec<String>,
}

/// A section, checked.
pub(crate) struct Section {
    name: String,
    pattern: String,
    pub(super) delimiter: u8,
    dates: String,
    null: Vec<String>,
    /// The columns that its templates name.
    columns: Vec<String>,
    rows: Vec<Plan>,
}

/// What makes one record.
struct Plan {
    register: u16,
    key: Template,
    seq: Template,
    op: Option<Template>,
    person: Option<Template>,
    event_date: Option<Template>,
    recorded_at: Option<Template>,
    /// Positions among the register's fields.
    data: Vec<(usize, Template)>,
    needs: Vec<usize>,
}

/// A text with placeholders for columns, by position in [`Section::columns`].
struct Template(Vec<Part>);

enum Part {
    Text(String),
    Column(usize),
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.name)
    }
}

/// Reads and checks mapping files; the error names file, section and place.
pub(crate) fn load(schema: &Schema, maps: &[PathBuf]) -> Result<Vec<Arc<Section>>, String> {
    let mut sections = Vec::new();
    for path in maps {
        let problem = |what: String| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        sections.extend(parse(schema, &text).map_err(problem)?);
    }
    Ok(sections)
}

/// Reads and checks the text of a mapping file; the error names section and place.
pub(crate) fn parse(schema: &Schema, text: &str) -> Result<Vec<Arc<Section>>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut sections = Vec::new();
    collect(schema, "", table, &mut sections)?;
    match sections.is_empty() {
        true => Err("no section: a section has `file` and `rows`".to_owned()),
        false => Ok(sections),
    }
}

/// Sections are the tables that have `file`; their names may have any number of dots.
fn collect(schema: &Schema, prefix: &str, table: toml::Table, sections: &mut Vec<Arc<Section>>) -> Result<(), String> {
    for (name, value) in table {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(table) if table.contains_key("file") => {
                let text: SectionText = table.try_into().map_err(|error: toml::de::Error| format!("[{name}] {}", error.message()))?;
                let section = Section::new(schema, &name, text).map_err(|what| format!("[{name}] {what}"))?;
                sections.push(Arc::new(section));
            }
            toml::Value::Table(table) => collect(schema, &name, table, sections)?,
            _ => return Err(format!("`{name}` belongs to no section with `file` and `rows`")),
        }
    }
    Ok(())
}

impl Section {
    fn new(schema: &Schema, name: &str, text: SectionText) -> Result<Self, String> {
        let delimiter = text.delimiter.unwrap_or(',');
        let mut section = Section {
            name: name.to_owned(),
            pattern: text.file,
            delimiter: u8::try_from(delimiter).map_err(|_| format!("delimiter: `{delimiter}` is not an ASCII character"))?,
            dates: text.dates.unwrap_or_else(|| ISO.to_owned()),
            null: text.null.unwrap_or_else(|| vec![String::new()]),
            columns: Vec::new(),
            rows: Vec::new(),
        };
        check_date_format(&section.dates)?;
        for (index, row) in text.rows.iter().enumerate() {
            let plan = section.plan(schema, row).map_err(|what| format!("rows[{index}].{what}"))?;
            section.rows.push(plan);
        }
        Ok(section)
    }

    fn plan(&mut self, schema: &Schema, row: &RowText) -> Result<Plan, String> {
        let index = schema.register(&row.register).ok_or_else(|| {
            let hint = did_you_mean(&row.register, schema.registers.iter().map(|register| register.id.as_str()));
            format!("register: unknown register `{}`{hint}", row.register)
        })?;
        let register = &schema.registers[usize::from(index)];
        match (register.global, &row.person) {
            (true, Some(_)) => return Err(format!("person: {} names its people in `data`", register.id)),
            (false, None) => return Err("person: missing".to_owned()),
            _ => {}
        }
        Ok(Plan {
            register: index,
            key: self.template("key", &row.key)?,
            seq: self.template("seq", &row.seq)?,
            op: self.optional("op", &row.op)?,
            person: self.optional("person", &row.person)?,
            event_date: self.optional("event_date", &row.event_date)?,
            recorded_at: self.optional("recorded_at", &row.recorded_at)?,
            data: self.data(register, &row.data)?,
            needs: row.needs.iter().map(|column| self.column(column)).collect(),
        })
    }

    fn data(&mut self, register: &Register, data: &BTreeMap<String, toml::Value>) -> Result<Vec<(usize, Template)>, String> {
        let names = || register.fields.iter().map(|field| field.name.as_str());
        let mut templates = Vec::new();
        for (name, value) in data {
            let position = names()
                .position(|known| known == name)
                .ok_or_else(|| format!("data.{name}: {} has no such field{}", register.id, did_you_mean(name, names())))?;
            templates.push((position, self.template(&format!("data.{name}"), value)?));
        }
        let is_owner = |name: &str| name == "person" && !register.global;
        match register.fields.iter().find(|field| !field.optional && !is_owner(&field.name) && !data.contains_key(&field.name)) {
            Some(field) => Err(format!("data.{}: missing", field.name)),
            None => Ok(templates),
        }
    }

    fn optional(&mut self, place: &str, value: &Option<toml::Value>) -> Result<Option<Template>, String> {
        value.as_ref().map(|value| self.template(place, value)).transpose()
    }

    /// Text with `{column}` placeholders, or a constant of any plain type.
    fn template(&mut self, place: &str, value: &toml::Value) -> Result<Template, String> {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => value.to_string(),
            other => return Err(format!("{place}: must be text, not {}", other.type_str())),
        };
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            let (column, following) = after.split_once('}').ok_or_else(|| format!("{place}: `{{` without `}}`"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Column(self.column(column)));
            rest = following;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template(parts))
    }

    fn column(&mut self, name: &str) -> usize {
        self.columns.iter().position(|column| column == name).unwrap_or_else(|| {
            self.columns.push(name.to_owned());
            self.columns.len() - 1
        })
    }

    /// Whether a file of this name is read through this section.
    pub(super) fn serves(&self, file_name: &str) -> bool {
        matches_pattern(&self.pattern, file_name)
    }
}

/// `*` stands for any characters.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let ends = name.char_indices().map(|(index, _)| index).chain([name.len()]);
            ends.into_iter().any(|index| matches_pattern(rest, &name[index..]))
        }),
    }
}

/// A section joined to the header of a file.
pub(crate) struct Bound {
    section: Arc<Section>,
    /// The row with the names of the columns, as it is written.
    header: Vec<u8>,
    /// Where each of [`Section::columns`] stands in a row.
    positions: Vec<usize>,
    width: usize,
}

impl Bound {
    /// Takes the header away from a file's first block. The error is a reason for people.
    pub(super) fn new(section: &Arc<Section>, block: &mut Block) -> Result<Self, String> {
        let mut reader = reader(section, &block.bytes);
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header).map_err(|error| format!("no header: {error}"))?;
        let end = skip_line_ends(&block.bytes, reader.position().byte() as usize);
        let names: Vec<Cow<'_, str>> = header.iter().map(String::from_utf8_lossy).collect();
        let position = |column: &String| {
            names.iter().position(|name| name.trim() == column).ok_or_else(|| {
                let hint = did_you_mean(column, names.iter().map(|name| name.trim()));
                format!("the header has no column `{column}`{hint}, which {section} needs")
            })
        };
        let positions = section.columns.iter().map(position).collect::<Result<_, _>>()?;
        block.first_line += line_feeds(&block.bytes[..end]);
        let width = header.len();
        let header = block.bytes.drain(..end).collect();
        Ok(Bound { section: Arc::clone(section), header, positions, width })
    }

    /// A row by itself under the names of its columns: a table again.
    pub(crate) fn under_header(&self, row: &[u8]) -> Vec<u8> {
        [self.header.trim_ascii_end(), b"\n", row].concat()
    }

    /// Makes records of the rows of a block.
    pub(crate) fn decode(&self, intake: &mut Intake, file: &Arc<str>, block: &Block) -> Chunk {
        let mut chunk = Chunk::default();
        let mut reader = reader(&self.section, &block.bytes);
        let mut record = ByteRecord::new();
        let (mut line, mut counted) = (block.first_line, 0);
        // Reading from memory, without demands on the number of columns, does not fail.
        while reader.read_byte_record(&mut record).unwrap_or(false) {
            let start = record.position().map_or(0, |position| skip_line_ends(&block.bytes, position.byte() as usize));
            let raw = block.bytes[start..reader.position().byte() as usize].trim_ascii_end();
            line += line_feeds(&block.bytes[counted..start]);
            counted = start;
            chunk.lines += 1;
            match self.texts(&record) {
                Err(rejection) => chunk.reject(file, line, rejection, raw),
                Ok(texts) => {
                    for plan in self.section.rows.iter().filter(|plan| plan.needs.iter().all(|column| texts[*column].is_some())) {
                        match self.section.record(plan, &texts, intake) {
                            Ok(decoded) => chunk.accept(decoded),
                            Err(rejection) => chunk.reject(file, line, rejection, raw),
                        }
                    }
                }
            }
        }
        chunk
    }

    /// The columns that templates name; `None` where there is no value.
    fn texts<'r>(&self, record: &'r ByteRecord) -> Result<Vec<Option<&'r str>>, Rejection> {
        if record.len() != self.width {
            return Err(Rejection::new("", &format!("{} columns where the header has {}", record.len(), self.width)));
        }
        let text = |(column, position): (&String, &usize)| {
            let text = std::str::from_utf8(&record[*position]).map_err(|_| Rejection::new(column, "not UTF-8"))?;
            Ok(Some(text).filter(|text| !self.section.null.iter().any(|null| null == text)))
        };
        self.section.columns.iter().zip(&self.positions).map(text).collect()
    }
}

/// Where the next row begins: the reader may stop within a line's end, and skips blank lines.
fn skip_line_ends(bytes: &[u8], from: usize) -> usize {
    from + bytes[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

fn reader<'b>(section: &Section, bytes: &'b [u8]) -> csv::Reader<&'b [u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(section.delimiter).from_reader(bytes)
}

impl Section {
    /// One record of a row.
    fn record(&self, plan: &Plan, texts: &[Option<&str>], intake: &mut Intake) -> Result<Decoded, Rejection> {
        let schema = Arc::clone(intake.schema());
        let register = &schema.registers[usize::from(plan.register)];
        let envelope = Envelope {
            register: Scalar::Text(Cow::Borrowed(&register.id)),
            key: plan.key.text(texts),
            seq: plan.seq.integer(texts),
            op: plan.op.as_ref().map_or(Scalar::Text(Cow::Borrowed("upsert")), |op| op.text(texts)),
            event_date: match &plan.event_date {
                Some(template) => self.date("event_date", template, texts)?,
                None => Scalar::Null,
            },
            recorded_at: plan.recorded_at.as_ref().map_or(Scalar::Null, |template| template.text(texts)),
            person: plan.person.as_ref().map_or(Scalar::Null, |template| template.text(texts)),
        };
        let mut cells = Vec::with_capacity(plan.data.len());
        for (position, template) in &plan.data {
            cells.push((*position, self.value(&register.fields[*position], template, texts)?));
        }
        intake.decode_cells(&envelope, &cells)
    }

    /// The value of a field: the type that JSON would have is the one that the register declares.
    fn value<'r>(&self, field: &Field, template: &'r Template, texts: &[Option<&'r str>]) -> Result<Scalar<'r>, Rejection> {
        match field.kind {
            FieldType::Date => self.date(&field.name, template, texts),
            FieldType::Int | FieldType::Money => Ok(template.integer(texts)),
            FieldType::Bool => Ok(template.truth(texts)),
            _ => Ok(template.text(texts)),
        }
    }

    /// A date: a column by itself is written as `dates` says, anything composed is `YYYY-MM-DD`.
    fn date<'r>(&self, field: &str, template: &'r Template, texts: &[Option<&'r str>]) -> Result<Scalar<'r>, Rejection> {
        match (template.render(texts), template.0.as_slice()) {
            (None, _) => Ok(Scalar::Null),
            (Some(text), [Part::Column(_)]) if self.dates != ISO => match read_date(&self.dates, &text) {
                Some(date) => Ok(Scalar::Text(Cow::Owned(date.to_string()))),
                None => Err(Rejection::new(field, &format!("not a date {} of the calendar", self.dates))),
            },
            (Some(text), _) => Ok(Scalar::Text(text)),
        }
    }
}

impl Template {
    /// The text; nothing when one of its columns has no value.
    fn render<'r>(&'r self, texts: &[Option<&'r str>]) -> Option<Cow<'r, str>> {
        let part = |part: &'r Part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Column(column) => texts[*column],
        };
        match self.0.as_slice() {
            [only] => part(only).map(Cow::Borrowed),
            parts => parts.iter().map(part).collect::<Option<String>>().map(Cow::Owned),
        }
    }

    fn text<'r>(&'r self, texts: &[Option<&'r str>]) -> Scalar<'r> {
        self.render(texts).map_or(Scalar::Null, Scalar::Text)
    }

    fn integer<'r>(&'r self, texts: &[Option<&'r str>]) -> Scalar<'r> {
        let number = |text: Cow<'r, str>| text.trim().parse().map_or(Scalar::Text(text), Scalar::Integer);
        self.render(texts).map_or(Scalar::Null, number)
    }

    fn truth<'r>(&'r self, texts: &[Option<&'r str>]) -> Scalar<'r> {
        match self.render(texts) {
            None => Scalar::Null,
            Some(text) => match &*text {
                "true" | "1" => Scalar::Bool(true),
                "false" | "0" => Scalar::Bool(false),
                _ => Scalar::Text(text),
            },
        }
    }
}

fn check_date_format(format: &str) -> Result<(), String> {
    let named = |part: &str| format.matches(part).count() == 1;
    match format.matches('%').count() == 3 && named("%Y") && named("%m") && named("%d") {
        true => Ok(()),
        false => Err(format!("dates: `{format}` must have %Y, %m and %d, each once")),
    }
}

/// Reads a date of the format: `%Y` is four digits, `%m` and `%d` one or two.
fn read_date(format: &str, text: &str) -> Option<Date> {
    let (mut year, mut month, mut day) = (0, 0, 0);
    let (mut format, mut text) = (format, text);
    while let Some(letter) = format.chars().next() {
        if let Some(rest) = text.strip_prefix(letter).filter(|_| letter != '%') {
            (format, text) = (&format[letter.len_utf8()..], rest);
            continue;
        }
        let (slot, digits_max) = match format.get(..2)? {
            "%Y" => (&mut year, 4),
            "%m" => (&mut month, 2),
            "%d" => (&mut day, 2),
            _ => return None,
        };
        let digits = text.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
        *slot = text[..digits].parse().ok()?;
        (format, text) = (&format[2..], &text[digits..]);
    }
    text.is_empty().then(|| Date::from_ymd(year as i32, month, day)).flatten()
}
