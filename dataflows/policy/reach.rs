//! What is never reached: bins that no value falls into, conditions that cannot hold, rates that nobody is paid, and families
//! that fall between the rows. Nothing here keeps a package from running.
//!
//! The bounds of every value are worked out from what computes it ([`Range`]); a parameter may be any number, as its values
//! change by date. Bounds are wider than the truth where values hang together, so a row that is said to be out of reach is;
//! not all such rows are found. A gap is told of only with an example that falls into it.

use super::bins::bounds;
use super::compile::Type;
use super::expression::{Expression, Kind, canonical};
use super::load::{Package, read_expression};
use super::program::LIMIT;
use super::ranges::Range;
use super::source::{Entry, Node, Place, Problems, Value as Toml};
use super::{Level, Problem};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// How many combinations of values are tried for an example.
const EXAMPLES_MAX: usize = 100_000;

/// All rows of a package that are out of reach, and examples of what falls between its rows.
pub fn unreached(files: &[(String, String)]) -> Vec<Problem> {
    let mut problems = Problems::new(files);
    let Some(package) = Package::read(files, &mut Problems::new(files)) else {
        return Vec::new();
    };
    let mut bounds = Bounds::new(&package, files);
    let mut rows = Rows { bounds: &mut bounds, problems: &mut problems };
    rows.package(&package);
    problems.finish()
}

/// A value: its type and what it may be.
#[derive(Clone, Debug)]
struct Known {
    kind: Type,
    range: Range,
}

impl Known {
    fn new(kind: Type, range: Range) -> Known {
        Known { kind, range }
    }

    fn number(range: Range) -> Known {
        Known::new(Type::Int, range)
    }

    fn flag(range: Range) -> Known {
        Known::new(Type::Bool, range)
    }

    /// All values of a type.
    fn all(kind: Type) -> Known {
        let range = match &kind {
            Type::Bool => Range::truth(true, true),
            Type::Enum(words) => Range::between(0, words.len() as i64 - 1),
            _ => Range::any(),
        };
        Known { kind, range }
    }

    fn can(&self, truth: bool) -> bool {
        self.range.holds(i64::from(truth))
    }

    /// As one value among those of another's type: a word has its meaning from what it is compared with.
    fn among(&self, other: &Type) -> Range {
        match (&self.kind, other) {
            (Type::Words(some), Type::Enum(words)) => {
                let numbers = some.iter().filter_map(|word| words.iter().position(|known| known == word));
                numbers.fold(Range::NONE, |all, number| all.or(&Range::one(number as i64)))
            }
            (Type::Words(_), _) => Range::any(),
            _ => self.range.clone(),
        }
    }

    /// One of two values, whichever it is.
    fn or(self, other: Known) -> Known {
        let kind = match (&self.kind, &other.kind) {
            (Type::Words(some), Type::Words(more)) => {
                let new = more.iter().filter(|word| !some.contains(word));
                return Known::all(Type::Words(Rc::new(some.iter().chain(new).cloned().collect())));
            }
            (Type::Words(_), words @ Type::Enum(_)) => words.clone(),
            (kind, _) => kind.clone(),
        };
        let range = self.among(&kind).or(&other.among(&kind));
        Known { kind, range }
    }

    /// Words become the enumeration of these words.
    fn settled(self) -> Known {
        match self.kind {
            Type::Words(words) => Known::all(Type::Enum(words)),
            _ => self,
        }
    }

    fn describe(&self) -> String {
        self.range.describe(|value| self.name(value))
    }

    fn name(&self, value: i64) -> String {
        match &self.kind {
            Type::Bool => (value == 1).to_string(),
            Type::Enum(words) => {
                usize::try_from(value).ok().and_then(|index| words.get(index)).map_or("?".into(), |word| format!("'{word}'"))
            }
            _ => value.to_string(),
        }
    }
}

/// What names mean where an expression stands.
#[derive(Clone, Copy, Default)]
struct Scope<'s> {
    household: bool,
    /// The name of the record at hand, and its register.
    record: Option<(&'s str, &'s str)>,
    /// The name of the member at hand.
    member: Option<&'s str>,
}

/// What is known of names and lists beyond what computes them, by their text.
type Facts = BTreeMap<String, Range>;

struct Indicator {
    level: Level,
    value: Option<Expression>,
    unknown: Option<Expression>,
    classes: Option<i64>,
}

/// The bounds of everything that a package computes.
struct Bounds {
    indicators: HashMap<String, Indicator>,
    known: HashMap<String, Known>,
    /// By register and field.
    fields: HashMap<(String, String), Type>,
    kin: HashMap<String, Expression>,
    /// The last value of each.
    parameters: HashMap<String, i64>,
    /// The bins of criteria with what they give.
    tables: HashMap<String, Vec<(Range, i64)>>,
    totals: HashMap<&'static str, Range>,
    /// Branches and conditions of macros that are never taken, while they are looked for.
    idle: Option<Vec<(Place, String)>>,
}

impl Bounds {
    fn new(package: &Package, files: &[(String, String)]) -> Bounds {
        let mut problems = Problems::new(files);
        let mut read = |node: Option<&Node>| node.and_then(|node| read_expression(&mut problems, node));
        let indicator = |entry: &Entry, read: &mut dyn FnMut(Option<&Node>) -> Option<Expression>| Indicator {
            level: if text(&entry.node, "of") == Some("household") { Level::Household } else { Level::Person },
            value: read(entry.node.get("value")),
            unknown: read(entry.node.get("unknown")),
            classes: integer(&entry.node, "classes"),
        };
        let indicators = package.indicators.iter().map(|entry| (entry.name.clone(), indicator(entry, &mut read))).collect();
        let kin = package.policy.get("kin").and_then(|kin| kin.get("fields")).map_or(&[][..], Node::entries);
        let kin = kin.iter().filter_map(|field| Some((field.name.clone(), read(Some(&field.node))?))).collect();
        let mut fields = HashMap::new();
        for register in &package.registers {
            for field in register.node.get("fields").map_or(&[][..], Node::entries) {
                if let Toml::Text(declared) = &field.node.value {
                    fields.insert((register.name.clone(), field.name.clone()), field_type(declared));
                }
            }
        }
        let last = |entry: &Entry| {
            let Some(Node { value: Toml::Array(values), .. }) = entry.node.get("values") else { return None };
            let dated = values.iter().filter_map(|value| match value.get("from")?.value {
                Toml::Date(from) => Some((from, integer(value, "is")?)),
                _ => None,
            });
            Some((entry.name.clone(), dated.max()?.1))
        };
        let table = |entry: &Entry| {
            let bins = entry.node.get("points").map_or(&[][..], Node::entries);
            (entry.name.clone(), bins.iter().filter_map(|bin| Some((bin_range(&bin.name, &Type::Int)?, value_of(&bin.node)?))).collect())
        };
        Bounds {
            indicators,
            known: HashMap::new(),
            fields,
            kin,
            parameters: package.parameters.iter().filter_map(last).collect(),
            tables: package.criteria.iter().chain(&package.levels).map(table).collect(),
            totals: HashMap::new(),
            idle: None,
        }
    }

    /// What an indicator may be, whoever it is of.
    fn indicator(&mut self, id: &str) -> Option<Known> {
        if let Some(known) = self.known.get(id) {
            return Some(known.clone());
        }
        let Indicator { level, value, unknown, .. } = self.indicators.get(id)?;
        let (household, value, unknown) = (*level == Level::Household, value.clone()?, unknown.clone());
        let scope = Scope { household, ..Scope::default() };
        let mut known = self.value(&value, scope, &Facts::new()).settled();
        if let Some(unknown) = unknown {
            let unknown = self.value(&unknown, scope, &Facts::new()).among(&known.kind);
            known.range = known.range.or(&unknown);
        }
        self.known.insert(id.to_owned(), known.clone());
        Some(known)
    }

    fn value(&mut self, expression: &Expression, scope: Scope<'_>, facts: &Facts) -> Known {
        let known = match &expression.kind {
            Kind::Int(number) => Known::number(Range::one(*number)),
            Kind::Decimal { numerator, denominator } => Known::number(Range::one(*numerator).over(&Range::one(*denominator))),
            Kind::Bool(flag) => Known::flag(Range::one(i64::from(*flag))),
            Kind::Word(word) => Known::all(Type::Words(Rc::new(vec![word.clone()]))),
            Kind::List(_) => Known::number(Range::any()),
            Kind::Name(name) => self.name(name, scope),
            Kind::Call(name, arguments) => self.call(name, arguments, scope, facts),
            Kind::Method(target, end, arguments) => self.list(target, end, arguments, scope, facts),
        };
        match facts.get(&canonical(expression, "")).filter(|_| is_term(expression)) {
            Some(fact) => Known { range: known.range.and(fact), ..known },
            None => known,
        }
    }

    fn name(&mut self, name: &str, scope: Scope<'_>) -> Known {
        const ROLES: [&str; 6] = ["counted", "head", "spouse", "child", "dependant", "adult"];
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        if let Some((_, register)) = scope.record.filter(|(variable, _)| *variable == first) {
            return self.field(register, rest);
        }
        let of_member = scope.member == Some(first);
        let name = if of_member { rest } else { name };
        if ROLES.contains(&name) && (of_member || !scope.household) {
            return Known::all(Type::Bool);
        }
        if let Some(total) = self.totals.get(name) {
            return Known::number(total.clone());
        }
        if first == "head" && scope.household {
            let of_head = self.indicator(rest);
            return of_head.map_or(Known::number(Range::any()), |known| Known { range: known.range.or(&Range::one(0)), ..known });
        }
        self.indicator(name).unwrap_or(Known::number(Range::any()))
    }

    fn field(&mut self, register: &str, name: &str) -> Known {
        let kinds = ["spouse", "parent", "child", "guardian", "ward"].map(String::from).to_vec();
        match (register, name) {
            ("kin", "kind") => Known::all(Type::Enum(Rc::new(kinds))),
            ("kin", _) => match self.kin.get(name).cloned() {
                Some(value) => self.value(&value, Scope::default(), &Facts::new()),
                None => Known::all(Type::Person),
            },
            _ => Known::all(self.fields.get(&(register.to_owned(), name.to_owned())).cloned().unwrap_or(Type::Person)),
        }
    }

    fn call(&mut self, name: &str, arguments: &[Expression], scope: Scope<'_>, facts: &Facts) -> Known {
        match (name, arguments) {
            ("_&&_" | "_||_", [left, right]) => self.junction(name == "_&&_", left, right, scope, facts),
            ("_?_:_", [condition, yes, no]) => self.choice(condition, yes, no, scope, facts),
            ("points", [criterion, value]) => {
                let value = self.value(value, scope, facts).range;
                let table = self.tables.get(&criterion.to_string()).map_or(&[][..], Vec::as_slice);
                let met = table.iter().filter(|(bin, _)| !bin.and(&value).is_none());
                Known::number(met.fold(Range::NONE, |all, (_, points)| all.or(&Range::one(*points))))
            }
            ("@in", [value, Expression { kind: Kind::List(items), .. }]) => {
                let value = self.value(value, scope, facts);
                let listed = self.listed(items, &value, scope, facts);
                let sure = !value.range.is_none() && value.range.without(&listed).is_none() && value.range.only().is_some();
                Known::flag(Range::truth(!sure && !value.range.is_none(), !value.range.and(&listed).is_none()))
            }
            _ => {
                let values: Vec<Known> = arguments.iter().map(|argument| self.value(argument, scope, facts)).collect();
                operation(name, &values)
            }
        }
    }

    fn listed(&mut self, items: &[Expression], value: &Known, scope: Scope<'_>, facts: &Facts) -> Range {
        items.iter().fold(Range::NONE, |all, item| all.or(&self.value(item, scope, facts).among(&value.kind)))
    }

    fn junction(&mut self, both: bool, left: &Expression, right: &Expression, scope: Scope<'_>, facts: &Facts) -> Known {
        let first = self.value(left, scope, facts);
        // The right side is looked at only where the left one leaves it open.
        let mut beside = facts.clone();
        self.assume(left, both, scope, &mut beside);
        let second = self.value(right, scope, &beside);
        let alone = self.value(right, scope, facts);
        Known::flag(match both {
            true => Range::truth(first.can(false) || alone.can(false), first.can(true) && second.can(true)),
            false => Range::truth(first.can(false) && second.can(false), first.can(true) || alone.can(true)),
        })
    }

    fn choice(&mut self, condition: &Expression, yes: &Expression, no: &Expression, scope: Scope<'_>, facts: &Facts) -> Known {
        let truth = self.value(condition, scope, facts);
        let mut chosen: Option<Known> = None;
        for (holds, branch) in [(true, yes), (false, no)] {
            let mut beside = facts.clone();
            self.assume(condition, holds, scope, &mut beside);
            let value = self.value(branch, scope, &beside);
            if !truth.can(holds) {
                let always = if holds { "never" } else { "always" };
                self.tell_idle(branch.place, || format!("this branch is never taken: `{condition}` {always} holds"));
                continue;
            }
            chosen = Some(match chosen {
                Some(other) => other.or(value),
                None => value,
            });
        }
        chosen.unwrap_or(Known::number(Range::NONE))
    }

    /// A list condensed to a value.
    fn list(&mut self, target: &Expression, end: &str, arguments: &[Expression], scope: Scope<'_>, facts: &Facts) -> Known {
        let mut steps = Vec::new();
        let mut root = target;
        while let Kind::Method(inner, name, arguments) = &root.kind {
            steps.insert(0, (name.as_str(), arguments.as_slice()));
            root = inner;
        }
        let Kind::Name(list) = &root.kind else { return Known::number(Range::any()) };
        let mut passing = true;
        let mut taken = Known::number(Range::one(1));
        let mut facts = facts.clone();
        steps.push((end, arguments));
        for (name, arguments) in steps {
            let [Expression { kind: Kind::Name(variable), .. }, body] = arguments else { continue };
            let inner = match list.as_str() {
                "members" | "residents" => Scope { member: Some(variable), household: false, record: None },
                register => Scope { record: Some((variable, register)), ..scope },
            };
            let value = self.value(body, inner, &facts);
            match name {
                "map" => taken = self.classed(list, body, value),
                "filter" | "exists" => {
                    passing &= value.can(true);
                    if !value.can(true) {
                        self.tell_idle(body.place, || "no record meets this condition".to_owned());
                    }
                    self.assume(body, true, inner, &mut facts);
                }
                _ => {}
            }
        }
        condensed(end, passing, taken)
    }

    /// The greatest and least class of members is at most the last one.
    fn classed(&self, list: &str, body: &Expression, value: Known) -> Known {
        let name = body.to_string();
        let id = name.split_once('.').map_or("", |(_, id)| id);
        match self.indicators.get(id).and_then(|indicator| indicator.classes).filter(|_| ["members", "residents"].contains(&list)) {
            Some(classes) => Known { range: value.range.lesser(&Range::one(classes - 1)), ..value },
            None => value,
        }
    }

    /// Narrows what is known of names to what is possible while a condition is true, or false.
    fn assume(&mut self, condition: &Expression, truth: bool, scope: Scope<'_>, facts: &mut Facts) {
        let Kind::Call(name, arguments) = &condition.kind else {
            return narrow(condition, &Range::one(i64::from(truth)), facts);
        };
        match (name.as_str(), arguments.as_slice()) {
            ("!_", [operand]) => self.assume(operand, !truth, scope, facts),
            ("_&&_", [left, right]) if truth => [left, right].into_iter().for_each(|side| self.assume(side, true, scope, facts)),
            ("_||_", [left, right]) if !truth => [left, right].into_iter().for_each(|side| self.assume(side, false, scope, facts)),
            ("@in", [value, Expression { kind: Kind::List(items), .. }]) => {
                let known = self.value(value, scope, facts);
                let listed = self.listed(items, &known, scope, facts);
                narrow(value, &if truth { known.range.and(&listed) } else { known.range.without(&listed) }, facts);
            }
            ("_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => {
                let (a, b) = (self.value(left, scope, facts), self.value(right, scope, facts));
                let sides = (a.among(&b.kind), b.among(&a.kind));
                narrow(left, &compared(name, truth, &a.range, &sides.1), facts);
                narrow(right, &compared(turned(name), truth, &b.range, &sides.0), facts);
            }
            _ if is_term(condition) => narrow(condition, &Range::one(i64::from(truth)), facts),
            _ => {}
        }
    }

    fn tell_idle(&mut self, place: Place, message: impl FnOnce() -> String) {
        if let Some(idle) = &mut self.idle {
            idle.push((place, message()));
        }
    }

    /// An example: values of what an expression names under which it is one of those wanted and conditions do not fail.
    fn example(&mut self, by: &Expression, wanted: &Range, conditions: &[Expression], scope: Scope<'_>, facts: &Facts) -> Option<String> {
        let mut terms = Vec::new();
        self.terms(by, &mut terms);
        let mut numbers = vec![0, 1, 2, 3];
        constants(by, &mut numbers);
        let ends = wanted.intervals().iter().flat_map(|(first, last)| [*first, *last]);
        numbers.extend(ends.filter(|end| end.abs() < LIMIT));
        let numbers: Vec<i64> = numbers.iter().flat_map(|number| [*number, number - 1, number + 1]).collect();
        let choices: Vec<(String, Known, Vec<i64>)> = terms.iter().map(|term| self.candidates(term, &numbers, scope, facts)).collect();
        let combinations = choices.iter().map(|(.., values)| values.len()).product::<usize>().min(EXAMPLES_MAX);
        let mut pinned = facts.clone();
        pinned.extend(self.parameters.iter().map(|(name, value)| (name.clone(), Range::one(*value))));
        for turn in 0..combinations {
            let mut left = turn;
            let mut example = Vec::new();
            for (term, known, values) in &choices {
                let value = values[left % values.len()];
                left /= values.len();
                pinned.insert(term.clone(), Range::one(value));
                example.push(format!("{term} = {}", known.name(value)));
            }
            let found = self.value(by, scope, &pinned).range.only().is_some_and(|value| wanted.holds(value));
            if found && conditions.iter().all(|condition| self.value(condition, scope, &pinned).can(true)) {
                return Some(example.join(", "));
            }
        }
        None
    }

    /// Values of a term to try, the smallest first.
    fn candidates(&mut self, term: &Expression, numbers: &[i64], scope: Scope<'_>, facts: &Facts) -> (String, Known, Vec<i64>) {
        let known = self.value(term, scope, facts);
        let ends = known.range.intervals().iter().flat_map(|(first, last)| [*first, *last]);
        let mut values: Vec<i64> = numbers.iter().copied().chain(ends.filter(|end| end.abs() < LIMIT)).collect();
        values.retain(|value| known.range.holds(*value));
        values.sort_by_key(|value| (value.abs(), *value));
        values.dedup();
        (term.to_string(), known, values)
    }

    /// What an expression rests on: names, lists and functions, but no parameters.
    fn terms(&self, expression: &Expression, out: &mut Vec<Expression>) {
        if is_term(expression) {
            let is_new = |other: &Expression| other.to_string() != expression.to_string();
            if !self.parameters.contains_key(&expression.to_string()) && out.iter().all(is_new) {
                out.push(expression.clone());
            }
        } else if let Kind::Call(name, arguments) = &expression.kind {
            arguments.iter().skip(usize::from(name == "points")).for_each(|argument| self.terms(argument, out));
        }
    }
}

/// Whether something may be known of an expression as a whole: a name, a list, a function, but no operator.
fn is_term(expression: &Expression) -> bool {
    match &expression.kind {
        Kind::Name(_) | Kind::Method(..) => true,
        Kind::Call(name, _) => {
            !name.contains('_') && !["@in", "min", "max", "points", "has"].contains(&name.as_str()) || name == "age_months"
        }
        _ => false,
    }
}

fn narrow(term: &Expression, to: &Range, facts: &mut Facts) {
    if is_term(term) {
        let fact = facts.entry(canonical(term, "")).or_insert_with(Range::any);
        *fact = fact.and(to);
    }
}

/// What is left of a range that compares like this with another one.
fn compared(operator: &str, truth: bool, range: &Range, other: &Range) -> Range {
    match (operator, truth) {
        ("_==_", true) | ("_!=_", false) => range.and(other),
        ("_==_" | "_!=_", _) => other.only().map_or(range.clone(), |only| range.without(&Range::one(only))),
        ("_<_", true) | ("_>=_", false) => range.up_to(other, true),
        ("_<=_", true) | ("_>_", false) => range.up_to(other, false),
        ("_>_", true) | ("_<=_", false) => range.down_to(other, true),
        _ => range.down_to(other, false),
    }
}

/// The operator that says the same with its sides exchanged.
fn turned(operator: &str) -> &str {
    match operator {
        "_<_" => "_>_",
        "_<=_" => "_>=_",
        "_>_" => "_<_",
        "_>=_" => "_<=_",
        same => same,
    }
}

/// Operators and functions whose value depends on those of their operands alone.
fn operation(name: &str, values: &[Known]) -> Known {
    let not = |range: Range| Range::truth(range.holds(1), range.holds(0));
    match (name, values) {
        ("!_", [operand]) => Known::flag(not(operand.range.clone())),
        ("-_", [operand]) => Known::number(operand.range.negative()),
        ("_+_", [a, b]) => Known::number(a.range.plus(&b.range)),
        ("_-_", [a, b]) => Known::number(a.range.plus(&b.range.negative())),
        ("_*_", [a, b]) => Known::number(a.range.times(&b.range)),
        ("_/_", [a, b]) => Known::number(a.range.over(&b.range)),
        ("_%_", [a, b]) => Known::number(a.range.remainder(&b.range)),
        ("min", [a, b]) => Known::new(a.kind.clone(), a.range.lesser(&b.range)),
        ("max", [a, b]) => Known::new(a.kind.clone(), a.range.greater(&b.range)),
        ("_==_", [a, b]) => Known::flag(a.among(&b.kind).equals(&b.among(&a.kind))),
        ("_!=_", [a, b]) => Known::flag(not(a.among(&b.kind).equals(&b.among(&a.kind)))),
        ("_<_", [a, b]) => Known::flag(a.range.below(&b.range)),
        ("_>_", [a, b]) => Known::flag(b.range.below(&a.range)),
        ("_<=_", [a, b]) => Known::flag(not(b.range.below(&a.range))),
        ("_>=_", [a, b]) => Known::flag(not(a.range.below(&b.range))),
        ("age" | "age_months", _) => Known::number(Range::at_least(0)),
        ("past" | "active" | "within" | "has", _) => Known::all(Type::Bool),
        ("add_days" | "add_months", _) => Known::all(Type::Date),
        _ => Known::number(Range::any()),
    }
}

/// What the end of a chain of macros makes of the values taken; `passing` if any record may pass its filters.
fn condensed(end: &str, passing: bool, taken: Known) -> Known {
    match end {
        "size" | "distinct" => Known::number(if passing { Range::at_least(0) } else { Range::one(0) }),
        "exists" => Known::flag(Range::truth(true, passing)),
        "all" => Known::all(Type::Bool),
        "sum" => {
            let (less, more) = (taken.range.first().is_some_and(|first| first < 0), taken.range.last().is_some_and(|last| last > 0));
            let bound = |open: bool, bound: i64| if open && passing { bound } else { 0 };
            Known::number(Range::between(bound(less, -LIMIT), bound(more, LIMIT)))
        }
        _ if passing => taken,
        _ => Known { range: Range::NONE, ..taken },
    }
}

fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    match &node.get(name)?.value {
        Toml::Text(text) => Some(text),
        _ => None,
    }
}

fn value_of(node: &Node) -> Option<i64> {
    if let Toml::Int(number) = node.value { Some(number) } else { None }
}

fn integer(node: &Node, name: &str) -> Option<i64> {
    node.get(name).and_then(value_of)
}

/// The values that fall in the bin of this name.
fn bin_range(name: &str, kind: &Type) -> Option<Range> {
    bounds(name, kind).map(|(from, until)| Range::between(from.max(-LIMIT), until.saturating_sub(1).min(LIMIT)))
}

/// The type of a field's values, as far as it says what they may be.
fn field_type(declared: &str) -> Type {
    let kind = declared.split(',').next().unwrap_or_default().trim();
    match kind.strip_prefix("enum(").and_then(|words| words.strip_suffix(')')) {
        Some(words) => Type::Enum(Rc::new(words.split('|').map(|word| word.trim().to_owned()).collect())),
        None if kind == "bool" => Type::Bool,
        None if kind == "date" || kind == "month" => Type::Date,
        None if kind.starts_with("int") || kind.starts_with("money") => Type::Int,
        None => Type::Id,
    }
}

/// The numbers that an expression speaks of.
fn constants(expression: &Expression, out: &mut Vec<i64>) {
    match &expression.kind {
        Kind::Int(number) => out.push(*number),
        Kind::Call(_, arguments) | Kind::List(arguments) => arguments.iter().for_each(|argument| constants(argument, out)),
        _ => {}
    }
}

/// Looks through the rows of a package.
struct Rows<'r, 'p> {
    bounds: &'r mut Bounds,
    problems: &'r mut Problems<'p>,
}

const HOUSEHOLD: Scope<'static> = Scope { household: true, record: None, member: None };
const PERSON: Scope<'static> = Scope { household: false, record: None, member: None };

impl Rows<'_, '_> {
    fn package(&mut self, package: &Package) {
        self.bounds.idle = Some(Vec::new());
        for entry in &package.indicators {
            self.bounds.indicator(&entry.name);
        }
        self.bounds.idle.take().into_iter().flatten().for_each(|(place, message)| self.problems.report(place, message));
        for entry in &package.faults {
            self.condition(entry.node.get("when"), PERSON, "this fault is never found");
        }
        let score = self.total(&package.criteria);
        let level_score = self.total(&package.levels);
        self.bounds.totals.extend([("score", score), ("level_score", level_score)]);
        if let Some(entry) = &package.category {
            let given = self.category(&entry.node);
            self.bounds.totals.insert("category", given);
        }
        if let Some(entry) = &package.level {
            let letters = self.level(&entry.node);
            self.bounds.totals.insert("level", letters);
        }
        for (_, node) in &package.benefits {
            self.benefit(node, package.policy.get("inherit"));
        }
    }

    fn read(&mut self, node: Option<&Node>) -> Option<Expression> {
        node.and_then(|node| read_expression(self.problems, node))
    }

    /// Reports a condition that never holds; whether it may.
    fn condition(&mut self, node: Option<&Node>, scope: Scope<'_>, so: &str) -> bool {
        let Some(condition) = self.read(node) else { return true };
        let holds = self.bounds.value(&condition, scope, &Facts::new()).can(true);
        if !holds {
            let why = self.why(&condition, scope, &Facts::new());
            self.problems.report(condition.place, format!("this never holds{why}: {so}"));
        }
        holds
    }

    /// What the names of a condition may be.
    fn why(&mut self, condition: &Expression, scope: Scope<'_>, facts: &Facts) -> String {
        let mut terms = Vec::new();
        self.bounds.terms(condition, &mut terms);
        let told: Vec<String> =
            terms.iter().map(|term| format!("`{term}` is {}", self.bounds.value(term, scope, facts).describe())).collect();
        if told.is_empty() { String::new() } else { format!(", since {}", told.join(", ")) }
    }

    /// What the points of criteria may add up to.
    fn total(&mut self, criteria: &[Entry]) -> Range {
        let mut total = Range::one(0);
        for Entry { node, .. } in criteria {
            let unknown = integer(node, "unknown").map_or(Range::NONE, Range::one);
            let mut points = match (self.read(node.get("by")), node.get("points")) {
                (Some(by), Some(bins)) => self.binned(&by, bins, HOUSEHOLD, "and scores what not knowing scores").or(&unknown),
                _ => self
                    .read(node.get("value"))
                    .map_or(unknown.clone(), |value| self.bounds.value(&value, HOUSEHOLD, &Facts::new()).range.or(&unknown)),
            };
            let Some(Node { value: Toml::Array(additions), .. }) = node.get("add") else {
                total = total.plus(&hull(&points));
                continue;
            };
            for addition in additions {
                if self.condition(addition.get("when"), HOUSEHOLD, "nothing is ever added") {
                    points = points.or(&points.plus(&Range::one(integer(addition, "points").unwrap_or(0))));
                }
            }
            total = total.plus(&hull(&points));
        }
        total
    }

    /// Looks at every bin, and for values without one; the answer is all that the bins in reach give.
    fn binned(&mut self, by: &Expression, bins: &Node, scope: Scope<'_>, so: &str) -> Range {
        let known = self.bounds.value(by, scope, &Facts::new()).settled();
        let (mut left, mut given) = (known.range.clone(), Range::NONE);
        for bin in bins.entries() {
            let Some(range) = bin_range(&bin.name, &known.kind) else { continue };
            left = left.without(&range);
            if known.range.and(&range).is_none() {
                self.problems.report(bin.place, format!("no value falls in this bin: `{by}` is {}", known.describe()));
            } else {
                given = given.or(&value_of(&bin.node).map_or(Range::NONE, Range::one));
            }
        }
        if let Some(example) = self.example(by, &left, &[], scope, &Facts::new()) {
            self.problems.report(bins.place, format!("a family with {example} falls in no bin, {so}"));
        }
        given
    }

    fn example(&mut self, by: &Expression, left: &Range, conditions: &[Expression], scope: Scope<'_>, facts: &Facts) -> Option<String> {
        if left.is_none() { None } else { self.bounds.example(by, left, conditions, scope, facts) }
    }

    fn category(&mut self, node: &Node) -> Range {
        let by = self.read(node.get("by")).unwrap_or(Expression { place: node.place, kind: Kind::Name("score".into()) });
        let mut given =
            node.get("bins").map_or(Range::NONE, |bins| self.binned(&by, bins, HOUSEHOLD, "and is given what not knowing gives"));
        if let Some(Node { value: Toml::Array(rules), .. }) = node.get("hard") {
            for rule in rules {
                if text(node, "mode") == Some("score") {
                    self.problems.report(rule.place, "this rule is never asked: with mode = \"score\" the bins alone decide");
                } else if self.condition(rule.get("when"), HOUSEHOLD, "nobody is in this category by it") {
                    given = given.or(&integer(rule, "category").map_or(Range::NONE, Range::one));
                }
            }
        }
        given.or(&integer(node, "unknown").map_or(Range::NONE, Range::one))
    }

    fn level(&mut self, node: &Node) -> Range {
        let by = self.read(node.get("by")).unwrap_or(Expression { place: node.place, kind: Kind::Name("level_score".into()) });
        let Some(bins) = node.get("bins") else { return Range::NONE };
        self.binned(&by, bins, HOUSEHOLD, "and has no level");
        // Without a level the number is beyond all of them.
        Range::between(1, bins.entries().len() as i64).or(&Range::one(256))
    }

    fn benefit(&mut self, node: &Node, inherited: Option<&Node>) {
        let household = text(node, "of") == Some("household");
        let record = text(node, "ground").filter(|ground| *ground != "constant").map(|register| ("r", register));
        let scope = Scope { household, record, member: None };
        let side = if household { "household" } else { "person" };
        let group = text(node, "inherit").and_then(|name| inherited?.get(name)?.get(side));
        let entries = node.get("while").into_iter().chain(group).chain(node.get("when")).flat_map(Node::entries);
        let conditions: Vec<(&str, Expression)> =
            entries.filter_map(|entry| Some((entry.name.as_str(), self.read(Some(&entry.node))?))).collect();
        let (facts, possible) = self.conditions(&conditions, scope);
        let conditions: Vec<Expression> = conditions.into_iter().map(|(_, condition)| condition).collect();
        if let (Some(amount), true) = (node.get("amount"), possible) {
            self.amount(amount, &conditions, scope, &facts);
        }
    }

    /// Reports conditions that never hold, alone or beside those before them; what is known where all hold, and whether all may.
    fn conditions(&mut self, conditions: &[(&str, Expression)], scope: Scope<'_>) -> (Facts, bool) {
        let (mut facts, mut possible) = (Facts::new(), true);
        for (reason, condition) in conditions {
            let alone = self.bounds.value(condition, scope, &Facts::new());
            let beside = self.bounds.value(condition, scope, &facts);
            if !beside.can(true) {
                let known = if alone.can(true) { facts.clone() } else { Facts::new() };
                let others = if alone.can(true) { " beside the other conditions" } else { "" };
                let why = self.why(condition, scope, &known);
                self.problems.report(condition.place, format!("`{reason}` never holds{others}{why}: nobody has this right"));
                possible = false;
            } else if !alone.can(false) && !matches!(condition.kind, Kind::Bool(_)) {
                let why = self.why(condition, scope, &Facts::new());
                self.problems.report(condition.place, format!("`{reason}` always holds{why}: it keeps nobody from this right"));
            }
            self.bounds.assume(condition, true, scope, &mut facts);
        }
        (facts, possible)
    }

    /// Reports rates that nobody is paid, and families who meet the conditions and are paid nothing.
    fn amount(&mut self, amount: &Node, conditions: &[Expression], scope: Scope<'_>, facts: &Facts) {
        if let Some(value) = self.read(amount.get("value")) {
            self.rate(&value, scope, facts);
        }
        let (Some(by), Some(pay)) = (self.read(amount.get("by")), amount.get("pay")) else { return };
        let known = self.bounds.value(&by, scope, facts);
        let mut left = known.range.clone();
        for bin in pay.entries() {
            let Some(range) = bin_range(&bin.name, &known.kind) else { continue };
            left = left.without(&range);
            if known.range.and(&range).is_none() {
                self.problems
                    .report(bin.place, format!("nobody is paid this rate: where the conditions hold, `{by}` is {}", known.describe()));
            } else if let Some(value) = self.read(Some(&bin.node)) {
                let mut here = facts.clone();
                narrow(&by, &range, &mut here);
                self.rate(&value, scope, &here);
            }
        }
        // Rates may leave values out on purpose; where a condition speaks of the same value, it says who is meant.
        let narrowed = self.bounds.value(&by, scope, &Facts::new()).range != known.range;
        if let Some(example) = self.example(&by, &left, conditions, scope, facts).filter(|_| narrowed) {
            let whose = if scope.household { "a family" } else { "somebody" };
            self.problems.report(pay.place, format!("{whose} with {example} passes the conditions, and no rate is for them"));
        }
    }

    fn rate(&mut self, value: &Expression, scope: Scope<'_>, facts: &Facts) {
        let known = self.bounds.value(value, scope, facts);
        if known.range.last().is_none_or(|last| last <= 0) {
            let why = self.why(value, scope, facts);
            self.problems.report(value.place, format!("this is never above zero{why}: nobody is paid it"));
        }
    }
}

fn hull(range: &Range) -> Range {
    range.first().zip(range.last()).map_or(Range::NONE, |(first, last)| Range::between(first, last))
}
