//! Reading a package: declarations first, then everything that is computed.

use super::builder::Builder;
use super::compile::{Compiler, Draft, State};
use super::expression::{Expression, Kind, parse};
use super::file::Packing;
use super::graph::FIELD_COUNT;
use super::key::PARTS_MAX;
use super::program::Rounding;
use super::proposal::proposals;
use super::source::{Entry, Node, Place, Problems, Value as Toml, nearest};
use super::{Alias, Field, FieldType, Level, Parameter, Policy, Problem, Register, Texts, Tie, TieKind};
use crate::model::{Date, PersonKind};
use std::collections::BTreeMap;

/// Names that mean something already.
const RESERVED: [&str; 17] = [
    "members",
    "residents",
    "head",
    "spouse",
    "child",
    "dependant",
    "adult",
    "counted",
    "self",
    "kin",
    "score",
    "category",
    "level",
    "level_score",
    "true",
    "false",
    "in",
];
/// The mark of what is a design choice: it has no source.
pub const ASSUMED: &str = "[assumed]";
pub const ROUNDINGS: [(&str, Rounding); 3] = [("down", Rounding::Down), ("up", Rounding::Up), ("nearest", Rounding::Nearest)];
pub const LEVELS: [(&str, Level); 2] = [("person", Level::Person), ("household", Level::Household)];

/// See [`Policy::load`].
pub fn load(files: &[(String, String)]) -> Result<Policy, Vec<Problem>> {
    let mut problems = Problems::new(files);
    let mut warnings = Problems::new(files);
    let package = Package::read(files, &mut problems);
    let policy = package.and_then(|package| build(&package, &mut problems, &mut warnings));
    match policy {
        Some(mut policy) if problems.is_empty() => {
            policy.story_people = story_people(files);
            policy.fingerprint = fingerprint(files);
            policy.warnings = warnings.finish();
            Ok(policy)
        }
        _ => Err(problems.finish()),
    }
}

/// See [`Policy::fingerprint`].
fn fingerprint(files: &[(String, String)]) -> u128 {
    let mut files: Vec<_> = files.iter().filter(|(path, _)| !path.starts_with("tests/")).collect();
    files.sort_unstable();
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for text in files.into_iter().flat_map(|(path, text)| [path, text]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.digest128()
}

fn story_people(files: &[(String, String)]) -> Vec<toml::Table> {
    let text = files.iter().find(|(path, _)| path == "policy.toml").map_or("", |(_, text)| text);
    let table: toml::Table = text.parse().unwrap_or_default();
    let people = table.get("story").and_then(|story| story.get("people")).and_then(toml::Value::as_array);
    people.into_iter().flatten().filter_map(|row| row.as_table().cloned()).collect()
}

/// The trees of a package's files.
pub struct Package {
    pub policy: Node,
    pub parameters: Vec<Entry>,
    pub registers: Vec<Entry>,
    pub indicators: Vec<Entry>,
    pub criteria: Vec<Entry>,
    pub levels: Vec<Entry>,
    pub faults: Vec<Entry>,
    pub category: Option<Entry>,
    pub level: Option<Entry>,
    /// With the file's name.
    pub benefits: Vec<(String, Node)>,
    pub messages: Vec<Entry>,
}

impl Package {
    pub fn read(files: &[(String, String)], problems: &mut Problems<'_>) -> Option<Package> {
        const SINGLE: [&str; 7] =
            ["policy.toml", "parameters.toml", "criteria.toml", "levels.toml", "categories.toml", "messages.toml", "faults.toml"];
        const FOLDERS: [&str; 4] = ["registers", "indicators", "benefits", "tests"];
        let mut single: BTreeMap<&str, Node> = BTreeMap::new();
        let mut folders: BTreeMap<&str, Vec<(String, Node)>> = BTreeMap::new();
        for (index, (path, _)) in files.iter().enumerate().filter(|(_, (path, _))| path.ends_with(".toml") && !path.ends_with(".map.toml"))
        {
            let place = Place { file: index as u32, at: 0 };
            match path.rsplit_once('/') {
                None if SINGLE.contains(&path.as_str()) => {
                    single.extend(problems.read(index).map(|node| (path.as_str(), node)));
                }
                None => problems.unknown_name(place, format!("a package has no file `{path}`"), path, SINGLE),
                Some(("tests", _)) => {}
                Some((folder, name)) if FOLDERS.contains(&folder) => {
                    let name = name.trim_end_matches(".toml").to_string();
                    folders.entry(folder).or_default().extend(problems.read(index).map(|node| (name, node)));
                }
                Some((folder, _)) if nearest(folder, FOLDERS).is_some() => {
                    problems.unknown_name(place, format!("a package has no folder `{folder}`"), folder, FOLDERS);
                }
                Some(_) => {}
            }
        }
        if !files.iter().any(|(path, _)| path == "policy.toml") {
            problems.report(Place { file: u32::MAX, at: 0 }, "the package has no policy.toml");
        }
        let mut table = |name: &str| single.remove(name).map(entries).unwrap_or_default();
        let categories = table("categories.toml");
        let of = |name: &str| categories.iter().find(|entry| entry.name == name).cloned();
        for entry in categories.iter().filter(|entry| !["category", "level"].contains(&entry.name.as_str())) {
            problems.unknown_name(entry.place, format!("unknown key `{}`", entry.name), &entry.name, ["category", "level"]);
        }
        let mut folder = |name: &str| folders.remove(name).unwrap_or_default();
        let flat = |files: Vec<(String, Node)>| files.into_iter().flat_map(|(_, node)| entries(node)).collect();
        Some(Package {
            parameters: table("parameters.toml"),
            criteria: table("criteria.toml"),
            levels: table("levels.toml"),
            faults: table("faults.toml"),
            messages: table("messages.toml"),
            category: of("category"),
            level: of("level"),
            registers: flat(folder("registers")),
            indicators: flat(folder("indicators")),
            benefits: folder("benefits"),
            policy: single.remove("policy.toml")?,
        })
    }
}

fn entries(node: Node) -> Vec<Entry> {
    match node.value {
        Toml::Table(entries) => entries,
        _ => Vec::new(),
    }
}

/// Reads what is declared, computes what is computed.
fn build<'p>(package: &Package, problems: &mut Problems<'p>, warnings: &mut Problems<'p>) -> Option<Policy> {
    let head = Head::read(&package.policy, problems);
    let declare = &mut Declarations { problems, languages: &head.languages, currency: &head.currency };
    let registers = declare.registers(&package.registers);
    let parameters = declare.parameters(&package.parameters);
    let drafts = declare.drafts(&package.indicators);
    let compiler = Compiler::new(problems, warnings, registers, &parameters, drafts);
    let mut builder = Builder::new(compiler, &head.languages);
    builder.kin(&package.policy);
    let faults = builder.faults(&package.faults);
    builder.composition(&package.policy);
    builder.tables(package.criteria.iter().chain(&package.levels));
    let indicators = builder.indicators(&package.indicators);
    let proposals = proposals(builder.compiler.problems, &package.parameters, &builder.compiler.drafts, &indicators);
    let criteria = builder.criteria(&package.criteria, false);
    let levels = builder.criteria(&package.levels, true);
    let categories = builder.category(package.category.as_ref());
    let level_letters = builder.level(package.level.as_ref());
    let assignment = builder.assignment(&package.policy);
    let benefits = builder.benefits(package, assignment);
    let contact = builder.contact(&package.policy);
    let region = builder.region(&package.policy, &indicators);
    builder.story(&package.policy);
    let messages = builder.messages(&package.messages, &benefits);
    let text_parts = builder.text_parts(&package.policy, &package.messages, &benefits);
    for register in &mut builder.compiler.registers {
        register.packing = Packing::new(register, head.person);
    }
    builder.finish_plans(&benefits, region.map(|region| indicators[region].position));
    let Builder { compiler, programs, .. } = builder;
    let (registers, slots, dwelling_slots) = (compiler.registers, compiler.members.slots.len(), compiler.residents.slots.len());
    let index = |ids: Vec<&String>| ids.into_iter().cloned().zip(0..).collect();
    let register_index = index(registers.iter().map(|register| &register.id).collect());
    let benefit_index = index(benefits.iter().map(|benefit| &benefit.id).collect());
    Some(Policy {
        id: head.id.clone(),
        version: head.version.clone(),
        fingerprint: 0,
        from: head.from,
        person: head.person,
        currency: head.currency.clone(),
        languages: head.languages.clone(),
        coverage: head.coverage.clone(),
        kin_register: (registers.len() - 1) as u16,
        registers,
        parameters,
        proposals,
        indicators,
        criteria,
        levels,
        faults,
        level_letters,
        categories,
        benefits,
        messages,
        assignment,
        contact,
        region,
        text_parts,
        story_people: Vec::new(),
        slots,
        dwelling_slots,
        warnings: Vec::new(),
        register_index,
        benefit_index,
        programs,
    })
}

/// The head of policy.toml.
pub struct Head {
    id: String,
    version: String,
    from: Date,
    person: PersonKind,
    currency: String,
    languages: Vec<String>,
    coverage: Option<String>,
}

impl Head {
    fn read(node: &Node, problems: &mut Problems<'_>) -> Head {
        problems.only(
            node,
            &[
                "id",
                "version",
                "from",
                "person",
                "currency",
                "languages",
                "coverage",
                "region",
                "text_parts",
                "title",
                "source",
                "composition",
                "kin",
                "assignment",
                "contact",
                "inherit",
                "story",
            ],
        );
        let mut text = |name: &str| problems.required(node, node.place, name).map(|(text, _)| text.to_string()).unwrap_or_default();
        let (id, version, currency) = (text("id"), text("version"), text("currency"));
        text("person");
        let from = problems.date(node, "from");
        if node.get("from").is_none() {
            problems.report(node.place, "`from` is missing");
        }
        let person = problems.word(node, "person", &[("iin", PersonKind::Iin), ("integer", PersonKind::Integer)]);
        let languages: Vec<String> = problems.texts(node, "languages").into_iter().map(|(text, _)| text.to_string()).collect();
        if languages.is_empty() {
            problems.report(node.place, "`languages` is missing: the languages of titles and messages");
        }
        Head {
            id,
            version,
            from: from.unwrap_or(Date::BEFORE_ALL),
            person: person.unwrap_or(PersonKind::Integer),
            currency,
            languages,
            coverage: problems.text(node, "coverage").map(|(text, _)| text.to_string()),
        }
    }
}

/// Reads what needs no compiling.
struct Declarations<'d, 'p> {
    problems: &'d mut Problems<'p>,
    languages: &'d [String],
    currency: &'d str,
}

/// A text in every language of the package.
pub fn texts(problems: &mut Problems<'_>, languages: &[String], entry: &Entry, what: &str) -> Texts {
    let mut texts = Texts::new();
    for Entry { name, place, node } in entry.node.entries() {
        match &node.value {
            Toml::Text(text) if languages.contains(name) => {
                texts.insert(name.clone(), text.clone());
            }
            Toml::Text(_) => {
                problems.unknown_name(*place, format!("the package has no language `{name}`"), name, languages.iter().map(String::as_str))
            }
            _ => problems.report(node.place, format!("{what} must be a text in each language")),
        }
    }
    let missing: Vec<&str> = languages.iter().filter(|language| entry.node.get(language).is_none()).map(String::as_str).collect();
    if !missing.is_empty() {
        problems.report(entry.place, format!("{what} is missing in {}", missing.join(", ")));
    }
    texts
}

/// Title and source, which everything has.
pub fn described(problems: &mut Problems<'_>, languages: &[String], node: &Node, place: Place) -> (Texts, String) {
    let title = match node.entries().iter().find(|entry| entry.name == "title") {
        Some(entry) => texts(problems, languages, entry, "`title`"),
        None => {
            problems.report(place, "`title` is missing");
            Texts::new()
        }
    };
    let source = problems.required(node, place, "source").map(|(text, _)| text.to_string()).unwrap_or_default();
    (title, source)
}

fn is_word(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_lowercase())
        && id.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

impl Declarations<'_, '_> {
    fn registers(&mut self, entries: &[Entry]) -> Vec<Register> {
        let mut registers: Vec<(Register, &Entry)> = Vec::new();
        for entry in entries {
            let words: Vec<&str> = entry.name.split('.').collect();
            if words[0] == "shanyraq" {
                self.problems.report(entry.place, "registers `shanyraq.*` are the engine's own; rules must not see them");
            } else if words.len() != 2 || !words.iter().all(|word| is_word(word)) {
                self.problems.report_with_hint(
                    entry.place,
                    format!("`{}` is no name of a register", entry.name),
                    "[\"agency.register\"], in quotes",
                );
            } else if registers.iter().any(|(known, _)| known.id == entry.name) {
                self.problems.report(entry.place, format!("the register `{}` is declared twice", entry.name));
            } else {
                registers.push((self.register(entry), entry));
            }
        }
        registers.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        let (mut registers, entries): (Vec<Register>, Vec<&Entry>) = registers.into_iter().unzip();
        self.aliases(&mut registers, &entries);
        registers
    }

    fn register(&mut self, entry: &Entry) -> Register {
        let node = &entry.node;
        self.problems.only(node, &["title", "source", "identity", "key", "cadence", "retain", "period", "fields", "tie", "alias"]);
        let (title, source) = described(self.problems, self.languages, node, entry.place);
        let identity = self.problems.word(node, "identity", &[("person", false), ("global", true)]);
        let key = self.problems.required(node, entry.place, "key").map(|(text, _)| text.to_string()).unwrap_or_default();
        self.problems.required(node, entry.place, "cadence");
        let cadence = self.span(node, "cadence", "day");
        let retain = self.span(node, "retain", "month");
        let fields = match node.get("fields") {
            Some(fields) => fields.entries().iter().filter_map(|field| self.field(field)).collect::<Vec<Field>>(),
            None => {
                self.problems.report(entry.place, "`fields` is missing");
                Vec::new()
            }
        };
        let packed: Vec<usize> =
            fields.iter().enumerate().filter(|(_, field): &(usize, &Field)| !field.card).map(|(index, _)| index).collect();
        if packed.len() > FIELD_COUNT {
            self.problems.report(entry.place, format!("a register has at most {FIELD_COUNT} fields that rules see"));
        }
        let mut register = Register {
            id: entry.name.clone(),
            title,
            source,
            global: identity.unwrap_or(false),
            key,
            cadence_days: cadence.unwrap_or(i32::MAX),
            retain_months: retain,
            period: None,
            fields,
            packed,
            ties: Vec::new(),
            alias: None,
            packing: Packing::default(),
        };
        self.key(&register, node);
        register.period = self.position(&register, node, "period", &[FieldType::Date, FieldType::Month]);
        register.ties = match node.get("tie") {
            Some(Node { value: Toml::Array(ties), .. }) => ties.iter().filter_map(|tie| self.tie(&register, tie)).collect(),
            Some(tie) => self.tie(&register, tie).into_iter().collect(),
            None => Vec::new(),
        };
        register
    }

    /// `45 days`, `30 months`, `forever`.
    fn span(&mut self, node: &Node, name: &str, unit: &str) -> Option<i32> {
        let (text, place) = self.problems.text(node, name)?;
        if text == "forever" {
            return None;
        }
        let number =
            text.split_once(' ').filter(|(_, word)| word.trim_end_matches('s') == unit).and_then(|(number, _)| number.parse().ok());
        match number {
            Some(number @ 1..=12_000) => Some(number),
            _ => {
                self.problems.report_with_hint(place, format!("`{name}` cannot be \"{text}\""), format!("\"30 {unit}s\" or \"forever\""));
                None
            }
        }
    }

    /// `type [unit] [, optional] [, card]`.
    fn field(&mut self, entry: &Entry) -> Option<Field> {
        let Toml::Text(text) = &entry.node.value else {
            self.problems.report(entry.node.place, "a field's type must be a text, as \"money KZT, optional\"");
            return None;
        };
        if !is_word(&entry.name) {
            self.problems.report(entry.place, format!("`{}` is no name of a field", entry.name));
        }
        let place = entry.node.place;
        let mut parts = text.split(',').map(str::trim);
        let declared = parts.next().unwrap_or_default();
        let (kind, unit) = match declared.split_once(' ') {
            Some((kind, unit)) if !kind.starts_with("enum(") => (kind, unit.trim()),
            _ => (declared, ""),
        };
        let kind = self.field_type(kind, place)?;
        let (mut optional, mut card) = (false, kind == FieldType::Text);
        for word in parts {
            match word {
                "optional" => optional = true,
                "card" => card = true,
                _ => self.problems.unknown_name(place, format!("`{word}` says nothing of a field"), word, ["optional", "card"]),
            }
        }
        let unit = if unit.is_empty() && kind == FieldType::Money { self.currency } else { unit };
        Some(Field { name: entry.name.clone(), kind, unit: unit.into(), optional, card })
    }

    fn field_type(&mut self, word: &str, place: Place) -> Option<FieldType> {
        if let Some(words) = word.strip_prefix("enum(").and_then(|rest| rest.strip_suffix(')')) {
            return Some(FieldType::Enum(words.split('|').map(|word| word.trim().to_string()).collect()));
        }
        let types = [
            ("text", FieldType::Text),
            ("person", FieldType::Person),
            ("date", FieldType::Date),
            ("month", FieldType::Month),
            ("int", FieldType::Int),
            ("money", FieldType::Money),
            ("bool", FieldType::Bool),
            ("id", FieldType::Id),
        ];
        let found = types.iter().find(|(name, _)| *name == word).map(|(_, kind)| kind.clone());
        if found.is_none() {
            let known = types.iter().map(|(name, _)| *name).chain(["enum(a|b)"]);
            self.problems.unknown_name(place, format!("there is no type `{word}`"), word, known);
        }
        found
    }

    /// Every name in braces must be a field.
    fn key(&mut self, register: &Register, node: &Node) {
        let Some((text, place)) = self.problems.text(node, "key") else {
            return;
        };
        if braces(text).count() > PARTS_MAX {
            self.problems.report(place, format!("`key` is made of at most {PARTS_MAX} fields"));
        }
        for name in braces(text) {
            if name != "person" && !register.fields.iter().any(|field| field.name == name) {
                let known = register.fields.iter().map(|field| field.name.as_str());
                self.problems.unknown_name(place, format!("`key` names `{name}`, which is no field"), name, known);
            }
        }
    }

    /// The packed position of the field that a key of a declaration names.
    fn position(&mut self, register: &Register, node: &Node, name: &str, kinds: &[FieldType]) -> Option<usize> {
        let (text, place) = self.problems.text(node, name)?;
        self.field_position(register, text, place, kinds)
    }

    fn field_position(&mut self, register: &Register, name: &str, place: Place, kinds: &[FieldType]) -> Option<usize> {
        let position = register.packed.iter().position(|index| register.fields[*index].name == name);
        let Some(position) = position else {
            let known = register.packed.iter().map(|index| register.fields[*index].name.as_str());
            self.problems.unknown_name(place, format!("{} has no field `{name}` that rules see", register.id), name, known);
            return None;
        };
        if !kinds.contains(&register.fields[register.packed[position]].kind) {
            self.problems.report(place, format!("the field `{name}` has another type than is needed here"));
            return None;
        }
        Some(position)
    }

    fn tie(&mut self, register: &Register, node: &Node) -> Option<Tie> {
        self.problems.only(node, &["kind", "of", "from", "until"]);
        let kinds = [
            ("spouses", TieKind::Spouses),
            ("parent", TieKind::Parent),
            ("guardian", TieKind::Guardian),
            ("custody", TieKind::Custody),
            ("address", TieKind::Address),
            ("away", TieKind::Away),
        ];
        self.problems.required(node, node.place, "kind");
        let kind = self.problems.word(node, "kind", &kinds)?;
        let mut of = self.problems.texts(node, "of");
        let count = if kind == TieKind::Away { 1 } else { 2 };
        if of.len() != count {
            self.problems.report(node.place, format!("`of` must name {count} fields for this kind of tie"));
            return None;
        }
        let owner = |name: &str| name == "person" && !register.global && !register.fields.iter().any(|field| field.name == "person");
        if kind == TieKind::Spouses && owner(of[1].0) {
            of.swap(0, 1);
        }
        let first = if owner(of[0].0) { None } else { Some(self.field_position(register, of[0].0, of[0].1, &[FieldType::Person])?) };
        let seconds: &[FieldType] = if kind == TieKind::Address { &[FieldType::Id, FieldType::Int] } else { &[FieldType::Person] };
        let second = match of.get(1) {
            Some((name, place)) => Some(self.field_position(register, name, *place, seconds)?),
            None => None,
        };
        let dates = [FieldType::Date, FieldType::Month];
        let from = self.position(register, node, "from", &dates);
        let until = self.position(register, node, "until", &dates);
        Some(Tie { kind, first, second, from, until })
    }

    /// The aliases that registers declare, once all registers are known.
    fn aliases(&mut self, registers: &mut [Register], entries: &[&Entry]) {
        let mut any = false;
        for index in 0..registers.len() {
            if let Some(node) = entries[index].node.get("alias") {
                any = true;
                registers[index].alias = self.alias(registers, index, node);
            }
        }
        for (register, entry) in registers.iter().zip(entries).filter(|(register, _)| any && !register.global) {
            for field in register.people().map(|position| &register.fields[register.packed[position]].name).filter(|name| *name != "person")
            {
                let message = format!("`{field}` names another person, whose number may be given up (some register declares an alias)");
                self.problems.report_with_hint(entry.place, message, "identity = \"global\"");
            }
        }
    }

    fn alias(&mut self, registers: &[Register], index: usize, node: &Node) -> Option<Alias> {
        let register = &registers[index];
        self.problems.only(node, &["of", "from", "reported", "secret", "closes"]);
        if !register.global || register.retain_months.is_some() {
            let hint = "identity = \"global\", retain = \"forever\"";
            self.problems.report_with_hint(node.place, "an alias is about two numbers, and for ever", hint);
        }
        let of = self.problems.texts(node, "of");
        let [(given_up, given_up_place), (kept, kept_place)] = of[..] else {
            self.problems.report(node.place, "`of` must name two fields: the number given up, and the one that stands for it");
            return None;
        };
        if given_up == kept {
            self.problems.report(kept_place, "a number cannot stand for itself");
        }
        self.problems.required(node, node.place, "from");
        let closes = self.problems.texts(node, "closes").into_iter().filter_map(|(path, place)| self.closed(registers, path, place));
        let closes = closes.collect();
        Some(Alias {
            given_up: self.field_position(register, given_up, given_up_place, &[FieldType::Person])?,
            kept: self.field_position(register, kept, kept_place, &[FieldType::Person])?,
            from: self.position(register, node, "from", &[FieldType::Date])?,
            reported: self.position(register, node, "reported", &[FieldType::Date]),
            secret: self.position(register, node, "secret", &[FieldType::Bool]),
            closes,
        })
    }

    /// `agency.register.field`: a field that names a person in a record of global identity.
    fn closed(&mut self, registers: &[Register], path: &str, place: Place) -> Option<(u16, usize)> {
        let (id, field) = path.rsplit_once('.').unwrap_or((path, ""));
        let Some(index) = registers.iter().position(|register| register.id == id && register.global) else {
            let known = registers.iter().filter(|register| register.global).map(|register| register.id.as_str());
            self.problems.unknown_name(place, format!("`{path}` is no \"agency.register.field\" of a global register"), id, known);
            return None;
        };
        Some((index as u16, self.field_position(&registers[index], field, place, &[FieldType::Person])?))
    }

    fn parameters(&mut self, entries: &[Entry]) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for entry in entries {
            let capital = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
            if !entry.name.starts_with(|first: char| first.is_ascii_uppercase()) || !entry.name.chars().all(capital) {
                self.problems.report(entry.place, format!("parameters are named in capitals, not `{}`", entry.name));
            }
            self.problems.only(&entry.node, &["title", "source", "unit", "values", "propose"]);
            let mut values = Vec::new();
            let mut last = (Date::BEFORE_ALL, false);
            for value in self.problems.list(&entry.node, "values") {
                self.problems.only(value, &["from", "is", "source"]);
                let assumed = self.problems.text(value, "source").is_some_and(|(source, _)| source.contains(ASSUMED));
                match (self.problems.date(value, "from"), self.problems.integer(value, "is")) {
                    (Some(from), Some(is)) => {
                        values.push((from, is));
                        last = last.max((from, assumed));
                    }
                    _ => self.problems.report(value.place, "a value has `from`, a date, and `is`, an integer"),
                }
            }
            if values.is_empty() {
                self.problems.report(entry.place, "`values` is missing");
            }
            values.sort();
            let unit = self.problems.text(&entry.node, "unit").map(|(text, _)| text.to_string()).unwrap_or_default();
            parameters.push(Parameter { id: entry.name.clone(), unit, values, assumed: last.1 });
        }
        parameters
    }

    fn drafts(&mut self, entries: &[Entry]) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = Vec::new();
        for entry in entries {
            if let Some(known) = drafts.iter().find(|draft| draft.id == entry.name) {
                let id = known.id.clone();
                self.problems.report(entry.place, format!("the indicator `{id}` is declared twice"));
                continue;
            }
            drafts.push(self.draft(entry));
        }
        drafts
    }

    fn draft(&mut self, entry: &Entry) -> Draft {
        let node = &entry.node;
        self.problems.only(node, &["title", "source", "of", "unit", "value", "round", "classes", "unknown", "helper"]);
        self.problems.boolean(node, "helper");
        if !is_word(&entry.name) || RESERVED.contains(&entry.name.as_str()) {
            self.problems.report(entry.place, format!("`{}` cannot be the name of an indicator", entry.name));
        }
        self.problems.required(node, entry.place, "of");
        let level = self.problems.word(node, "of", &LEVELS).unwrap_or(Level::Person);
        if node.get("value").is_none() {
            self.problems.report(entry.place, "`value` is missing");
        }
        let value = node.get("value").and_then(|value| read_expression(self.problems, value));
        let unknown = node.get("unknown").and_then(|value| read_literal(self.problems, value));
        let classes = self.problems.integer(node, "classes");
        if classes.is_some_and(|count| !(2..=16).contains(&count)) {
            self.problems.report(entry.place, "`classes` lies between 2 and 16");
        }
        Draft {
            id: entry.name.clone(),
            place: entry.place,
            level,
            value,
            unit: self.problems.text(node, "unit").map(|(text, place)| (text.to_string(), place)),
            rounding: self.problems.word(node, "round", &ROUNDINGS),
            unknown,
            classes: classes.filter(|count| (2..=16).contains(count)).map(|count| count as u16),
            reg: 0,
            node: None,
            state: State::Waiting,
        }
    }
}

/// The names in braces within a text.
pub fn braces(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// An expression, written as a text, an integer or a boolean.
pub fn read_expression(problems: &mut Problems<'_>, node: &Node) -> Option<Expression> {
    match &node.value {
        Toml::Text(text) => parse(text, node.place, problems),
        _ => read_literal(problems, node),
    }
}

/// A value written down: an integer, a boolean or a word.
pub fn read_literal(problems: &mut Problems<'_>, node: &Node) -> Option<Expression> {
    let kind = match &node.value {
        Toml::Int(number) => Kind::Int(*number),
        Toml::Bool(flag) => Kind::Bool(*flag),
        Toml::Text(word) => Kind::Word(word.clone()),
        _ => {
            let hint = "decimals stand in quotes, and only in amounts: \"16.03 MRP\"";
            problems.report_with_hint(node.place, "an integer, a boolean or a text is needed here", hint);
            return None;
        }
    };
    Some(Expression { place: node.place, kind })
}
