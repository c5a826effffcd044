//! A package as it is written: its items, their expressions, and who reads whom. For tools that show, measure or change a
//! package; it is read as far as it can be, mistakes and all. What runs is compiled elsewhere.

use super::expression::{Expression, Kind};
use super::load::{Package, read_expression};
use super::source::{Entry, Node, Place, Problems, Value, line_and_column};
use super::{Level, Texts};
use std::collections::BTreeSet;

/// The ids of items that nobody writes or that have no name of their own.
pub const COMPOSITION: &str = "composition";
pub const KIN: &str = "kin";
pub const SCORE: &str = "score";
pub const LEVEL_SCORE: &str = "level_score";
pub const CATEGORY: &str = "category";
pub const LEVEL: &str = "level";

/// Names that rest on who belongs to whom.
const COMPOSED: [&str; 8] = ["members", "residents", "head", "spouse", "child", "dependant", "adult", "counted"];

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A section of policy.toml that computes something.
    Section,
    Register,
    Parameter,
    Indicator,
    Criterion,
    /// Points of the second scale.
    LevelPoints,
    /// The sum of points, which nobody writes.
    Total,
    /// The category or the level.
    Category,
    /// What cannot all be true of one person.
    Fault,
    Benefit,
    Message,
}

impl Sort {
    /// Where its expressions stand: `*` is any one part of a path.
    fn expressions(self, id: &str) -> &'static [&'static [&'static str]] {
        match self {
            Sort::Section if id == COMPOSITION => &[&["*"]],
            Sort::Section if id == KIN => &[&["when"], &["fields", "*"]],
            Sort::Section => &[&["person", "*"], &["household", "*"]],
            Sort::Indicator => &[&["value"]],
            Sort::Criterion | Sort::LevelPoints => &[&["by"], &["value"], &["add", "*", "when"]],
            Sort::Category => &[&["by"], &["hard", "*", "when"]],
            Sort::Fault => &[&["when"]],
            Sort::Benefit => &[
                &["while", "*"],
                &["when", "*"],
                &["from"],
                &["until"],
                &["proactive", "by"],
                &["amount", "value"],
                &["amount", "by"],
                &["amount", "pay", "*"],
            ],
            Sort::Register | Sort::Parameter | Sort::Total | Sort::Message => &[],
        }
    }

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Section => "section",
            Sort::Register => "register",
            Sort::Parameter => "parameter",
            Sort::Indicator => "indicator",
            Sort::Criterion => "criterion",
            Sort::LevelPoints => "level points",
            Sort::Total => "sum of points",
            Sort::Category => "category",
            Sort::Fault => "fault",
            Sort::Benefit => "benefit",
            Sort::Message => "message",
        }
    }
}

/// One thing that a package says.
#[derive(Clone, Debug)]
pub struct Item {
    pub sort: Sort,
    pub id: String,
    /// Path of its file; empty for what nobody writes.
    pub file: String,
    pub line: usize,
    /// Its title, or a message's text.
    pub title: Texts,
    pub level: Option<Level>,
    pub passages: Vec<Passage>,
    /// All that is said beside: path, and what stands there.
    pub details: Vec<(String, String)>,
    /// Ids of the items that it rests on.
    pub reads: BTreeSet<String>,
}

impl Item {
    /// What stands at a path.
    pub fn detail(&self, path: &str) -> Option<&str> {
        self.details.iter().find(|(known, _)| known == path).map(|(_, text)| text.as_str())
    }
}

/// An expression of an item, where it stands.
#[derive(Clone, Debug)]
pub struct Passage {
    /// `value`, `when.four_children`, `amount.pay.8..`.
    pub path: String,
    pub line: usize,
    pub text: String,
    pub expression: Expression,
    pub reads: BTreeSet<String>,
    /// Its file, and the bytes from one to the other, quotes included.
    file: usize,
    start: usize,
    end: usize,
}

impl Passage {
    /// The package's texts with this expression replaced.
    pub fn replaced(&self, files: &[(String, String)], text: &str) -> Vec<(String, String)> {
        let mut files = files.to_vec();
        files[self.file].1.replace_range(self.start..self.end, &toml::Value::from(text).to_string());
        files
    }
}

/// Everything that a package says.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub items: Vec<Item>,
    /// The categories that are given out.
    pub categories: BTreeSet<i64>,
}

impl Contents {
    /// Reads `(path relative to the package, text)` of each of its files.
    pub fn read(files: &[(String, String)]) -> Contents {
        let mut problems = Problems::new(files);
        let Some(package) = Package::read(files, &mut problems) else {
            return Contents::default();
        };
        let mut reader = Reader { files, problems, items: Vec::new() };
        reader.package(&package);
        let mut items = reader.items;
        resolve(&mut items);
        Contents { items, categories: categories(package.category.as_ref()) }
    }

    /// The items of this name: a notice and its message share one.
    pub fn named<'c>(&'c self, id: &'c str) -> impl Iterator<Item = &'c Item> {
        self.items.iter().filter(move |item| item.id == id)
    }

    pub fn of(&self, sort: Sort) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.sort == sort)
    }

    /// Who reads an item.
    pub fn readers<'c>(&'c self, id: &'c str) -> impl Iterator<Item = &'c Item> {
        self.items.iter().filter(move |item| item.reads.contains(id))
    }

    /// The item and everything that rests on it, however far.
    pub fn resting_on<'c>(&'c self, id: &'c str) -> BTreeSet<&'c str> {
        let mut found = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.readers(id).map(|item| item.id.as_str()));
            }
        }
        found
    }

    /// Everything that these items rest on, however far, themselves included.
    pub fn foundations<'c>(&'c self, ids: &'c BTreeSet<String>) -> BTreeSet<&'c str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = ids.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.named(id).flat_map(|item| &item.reads).map(String::as_str));
            }
        }
        found
    }
}

/// The categories that bins, hard rules and not knowing give.
fn categories(entry: Option<&Entry>) -> BTreeSet<i64> {
    let Some(Entry { node, .. }) = entry else {
        return BTreeSet::new();
    };
    let bins = node.get("bins").map_or(&[][..], Node::entries).iter().map(|bin| &bin.node);
    let hard = match node.get("hard") {
        Some(Node { value: Value::Array(rules), .. }) => rules.as_slice(),
        _ => &[],
    };
    let given = bins.chain(hard.iter().filter_map(|rule| rule.get("category"))).chain(node.get("unknown"));
    given.filter_map(|node| if let Value::Int(category) = node.value { Some(category) } else { None }).collect()
}

/// Turns trees into items.
struct Reader<'f> {
    files: &'f [(String, String)],
    problems: Problems<'f>,
    items: Vec<Item>,
}

impl Reader<'_> {
    fn package(&mut self, package: &Package) {
        for entry in package.policy.entries() {
            match entry.name.as_str() {
                COMPOSITION | KIN => self.entry(Sort::Section, entry),
                "inherit" => entry.node.entries().iter().for_each(|group| {
                    self.item(Sort::Section, format!("inherit.{}", group.name), group.place, &group.node);
                }),
                _ => {}
            }
        }
        let groups = [
            (Sort::Register, &package.registers),
            (Sort::Parameter, &package.parameters),
            (Sort::Indicator, &package.indicators),
            (Sort::Criterion, &package.criteria),
            (Sort::LevelPoints, &package.levels),
            (Sort::Fault, &package.faults),
        ];
        for (sort, entries) in groups {
            entries.iter().for_each(|entry| self.entry(sort, entry));
        }
        self.total(SCORE, Sort::Criterion);
        self.total(LEVEL_SCORE, Sort::LevelPoints);
        for (entry, total) in [(&package.category, SCORE), (&package.level, LEVEL_SCORE)] {
            if let Some(entry) = entry {
                self.entry(Sort::Category, entry);
                if let (Some(item), None) = (self.items.last_mut(), entry.node.get("by")) {
                    item.reads.insert(total.to_owned());
                }
            }
        }
        for (id, node) in &package.benefits {
            self.benefit(id, node);
        }
        package.messages.iter().for_each(|entry| self.entry(Sort::Message, entry));
    }

    /// A sum of points rests on all that give them.
    fn total(&mut self, id: &str, of: Sort) {
        let reads: BTreeSet<String> = self.items.iter().filter(|item| item.sort == of).map(|item| item.id.clone()).collect();
        if !reads.is_empty() {
            self.items.push(Item {
                sort: Sort::Total,
                id: id.to_owned(),
                file: String::new(),
                line: 0,
                title: Texts::new(),
                level: Some(Level::Household),
                passages: Vec::new(),
                details: Vec::new(),
                reads,
            });
        }
    }

    fn benefit(&mut self, id: &str, node: &Node) {
        self.item(Sort::Benefit, id.to_owned(), node.place, node);
        let Some(item) = self.items.last_mut() else {
            return;
        };
        item.reads.extend(item.detail("ground").filter(|ground| *ground != "constant").map(str::to_owned));
        item.reads.extend(item.detail("inherit").map(|group| format!("inherit.{group}")));
        let excluded = node.get("excludes").map(list_of_texts).unwrap_or_default();
        item.reads.extend(excluded);
        // A household's right goes to its head.
        item.reads.extend((item.level == Some(Level::Household)).then(|| COMPOSITION.to_owned()));
    }

    fn entry(&mut self, sort: Sort, entry: &Entry) {
        self.item(sort, entry.name.clone(), entry.place, &entry.node);
    }

    fn item(&mut self, sort: Sort, id: String, place: Place, node: &Node) {
        let (file, text) = &self.files[place.file as usize];
        let (line, _) = line_and_column(text, place.at);
        let title = if sort == Sort::Message { Some(node) } else { node.get("title") };
        let title =
            title.map_or(&[][..], Node::entries).iter().filter_map(|text| Some((text.name.clone(), written(&text.node)?))).collect();
        let level = match node.get("of").and_then(written).as_deref() {
            Some("person") => Some(Level::Person),
            Some("household") => Some(Level::Household),
            _ => match sort {
                Sort::Criterion | Sort::LevelPoints | Sort::Category => Some(Level::Household),
                Sort::Fault => Some(Level::Person),
                _ => None,
            },
        };
        let (mut passages, mut details) = (Vec::new(), Vec::new());
        for (path, leaf) in leaves(node).into_iter().filter(|(path, _)| sort != Sort::Message && path[0] != "title") {
            let is_expression = |pattern: &&&[&str]| {
                pattern.len() == path.len() && pattern.iter().zip(&path).all(|(part, name)| *part == "*" || part == name)
            };
            let expression = sort.expressions(&id).iter().find(is_expression).and_then(|_| read_expression(&mut self.problems, leaf));
            let (path, content) = (path.join("."), written(leaf).unwrap_or_default());
            match expression {
                Some(expression) => passages.push(self.passage(path, leaf, content, expression, sort == Sort::Benefit)),
                None => details.push((path, content)),
            }
        }
        let reads = passages.iter().flat_map(|passage| passage.reads.iter().cloned()).collect();
        self.items.push(Item { sort, id, file: file.clone(), line, title, level, passages, details, reads });
    }

    fn passage(&self, path: String, node: &Node, content: String, expression: Expression, of_benefit: bool) -> Passage {
        let (file, text) = (node.place.file as usize, &self.files[node.place.file as usize].1);
        let mut start = node.place.at as usize;
        if matches!(node.value, Value::Text(_)) {
            // The place is that of the first character: before it are one quote, or three and perhaps the end of a line.
            start = text[..start].trim_end_matches(['\r', '\n']).len();
            let quote = if text[..start].ends_with("\"\"\"") || text[..start].ends_with("'''") { 3 } else { 1 };
            start -= quote.min(start);
        }
        let mut reads = BTreeSet::new();
        // A right for each record of a register calls that record `r`.
        let mut bound: Vec<&str> = if of_benefit { vec!["r"] } else { Vec::new() };
        names(&expression, &mut bound, &mut reads);
        let (line, _) = line_and_column(text, node.place.at);
        Passage { path, line, text: content, expression, reads, file, start, end: node.end as usize }
    }
}

/// The scalars and lists of texts within a table, by path.
fn leaves(node: &Node) -> Vec<(Vec<String>, &Node)> {
    let inner = |name: String, node| -> Vec<(Vec<String>, _)> {
        let below = leaves(node).into_iter();
        below.map(|(path, leaf)| (std::iter::once(name.clone()).chain(path).collect(), leaf)).collect()
    };
    match &node.value {
        Value::Table(entries) => entries.iter().flat_map(|entry| inner(entry.name.clone(), &entry.node)).collect(),
        Value::Array(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
            items.iter().enumerate().flat_map(|(index, item)| inner(index.to_string(), item)).collect()
        }
        _ => vec![(Vec::new(), node)],
    }
}

/// A scalar, or a list of them, as text.
fn written(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Date(date) => Some(date.to_string()),
        Value::Array(_) => Some(list_of_texts(node).join(", ")),
        Value::Table(_) | Value::Other => None,
    }
}

fn list_of_texts(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Array(items) => items.iter().filter_map(written).collect(),
        _ => Vec::new(),
    }
}

/// The names in an expression but for those of records at hand; members' indicators by their own names.
fn names<'e>(expression: &'e Expression, bound: &mut Vec<&'e str>, out: &mut BTreeSet<String>) {
    match &expression.kind {
        Kind::Name(name) => {
            let (head, _) = name.split_once('.').unwrap_or((name, ""));
            if !bound.contains(&head) {
                out.insert(name.clone());
            }
        }
        Kind::List(items) | Kind::Call(_, items) => items.iter().for_each(|item| names(item, bound, out)),
        Kind::Method(target, _, arguments) => {
            names(target, bound, out);
            match arguments.as_slice() {
                [Expression { kind: Kind::Name(variable), .. }, body] => {
                    let of_members = matches!(root(target), Some("members" | "residents"));
                    if !of_members {
                        bound.push(variable);
                    }
                    names(body, bound, out);
                    if !of_members {
                        bound.pop();
                    }
                }
                others => others.iter().for_each(|argument| names(argument, bound, out)),
            }
        }
        Kind::Int(_) | Kind::Decimal { .. } | Kind::Bool(_) | Kind::Word(_) => {}
    }
}

/// What a chain of macros runs over.
pub fn root(expression: &Expression) -> Option<&str> {
    match &expression.kind {
        Kind::Name(name) => Some(name),
        Kind::Method(target, ..) => root(target),
        _ => None,
    }
}

/// Names become ids: `head.x`, `m.x` and the like are the item x; what rests on roles or members rests on composition.
fn resolve(items: &mut [Item]) {
    let ids: BTreeSet<String> = items.iter().map(|item| item.id.clone()).collect();
    let resolved = |names: &BTreeSet<String>| -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for name in names {
            let (head, tail) = name.split_once('.').unwrap_or((name, ""));
            if COMPOSED.contains(&head) || COMPOSED.contains(&tail) {
                found.insert(COMPOSITION.to_owned());
            }
            found.extend([name.as_str(), tail].into_iter().find(|id| ids.contains(*id)).map(str::to_owned));
        }
        found
    };
    for item in items {
        item.reads = resolved(&item.reads);
        for passage in &mut item.passages {
            passage.reads = resolved(&passage.reads);
        }
    }
}
