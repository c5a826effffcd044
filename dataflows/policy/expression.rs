//! Expressions: CEL, parsed by a library into a small tree of our own in which everything has a place.

use super::source::{Place, Problems};
use cel::common::ast::{Expr, IdedExpr, LiteralValue, SourceInfo};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::rc::Rc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Held for reading by whoever parses: the library that does has locks, and one that is held when the process is copied is held in the copy for ever.
static PARSING: RwLock<()> = RwLock::new(());

/// To be held while something is parsed.
pub fn parsing() -> RwLockReadGuard<'static, ()> {
    PARSING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Does something while nobody parses.
pub fn while_nobody_parses<T>(work: impl FnOnce() -> T) -> T {
    let _nobody = PARSING.write().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub struct Expression {
    pub place: Place,
    pub kind: Kind,
}

impl Expression {
    /// Whether something is found in it, in itself or in any part.
    pub fn any(&self, found: &impl Fn(&Expression) -> bool) -> bool {
        let within = match &self.kind {
            Kind::List(items) | Kind::Call(_, items) => items.iter().any(|item| item.any(found)),
            Kind::Method(target, _, arguments) => target.any(found) || arguments.iter().any(|argument| argument.any(found)),
            Kind::Int(_) | Kind::Decimal { .. } | Kind::Bool(_) | Kind::Word(_) | Kind::Name(_) => false,
        };
        within || found(self)
    }
}

/// What an expression is made of.
#[derive(Clone, Debug)]
pub enum Kind {
    Int(i64),
    /// A decimal number, exactly; only amounts may have them.
    Decimal {
        numerator: i64,
        denominator: i64,
    },
    Bool(bool),
    /// A quoted word.
    Word(String),
    List(Vec<Expression>),
    /// A name, dots included: `age`, `r.amount`, `zags.birth`.
    Name(String),
    /// A function, or an operator under CEL's name for it (`_+_`).
    Call(String, Vec<Expression>),
    /// `target.name(arguments)`.
    Method(Box<Expression>, String, Vec<Expression>),
}

/// How many trees are remembered: a package has hundreds of expressions.
const REMEMBERED: usize = 10_000;

thread_local! {
    /// Trees by text. Parsing is most of what loading a package takes, and tools load one thousands of times, a word apart.
    static TREES: RefCell<HashMap<String, Rc<(IdedExpr, SourceInfo)>>> = RefCell::default();
}

/// Parses the expression that stands at `place`; mistakes are reported.
pub fn parse(text: &str, place: Place, problems: &mut Problems<'_>) -> Option<Expression> {
    let source = multiply_amounts(text);
    if let Some(tree) = TREES.with_borrow(|trees| trees.get(&source).cloned()) {
        return Reader { source: &source, info: &tree.1, place, problems }.read(&tree.0);
    }
    let parsed = {
        let _parsing = parsing();
        cel::Env::default().parser().parse_with_source_info(&source)
    };
    match parsed {
        Ok(tree) => {
            let expression = Reader { source: &source, info: &tree.1, place, problems }.read(&tree.0);
            TREES.with_borrow_mut(|trees| {
                if trees.len() >= REMEMBERED {
                    trees.clear();
                }
                trees.insert(source, Rc::new(tree));
            });
            expression
        }
        Err(errors) => {
            for error in errors.errors.iter().take(1) {
                let at = offset(&source, error.pos.0, error.pos.1);
                problems.report(place.after(at), format!("not an expression: {}", error.msg.trim()));
            }
            None
        }
    }
}

/// `16.03 MRP` means `16.03 * MRP`: the blank between becomes the sign, so that places stay as they are.
fn multiply_amounts(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut quoted = None;
    for at in 0..bytes.len() {
        match (quoted, bytes[at]) {
            (None, quote @ (b'\'' | b'"')) => quoted = Some(quote),
            (Some(quote), byte) if byte == quote => quoted = None,
            (None, b' ') if at > 0 && bytes[at - 1].is_ascii_digit() && number_ends(&bytes[..at]) => {
                let rest = text[at..].trim_start();
                if rest.starts_with(|first: char| first.is_ascii_alphabetic()) && !rest.starts_with("in ") {
                    bytes[at] = b'*';
                }
            }
            _ => {}
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_string())
}

/// Whether the last token is a number, not a name that ends in a digit.
fn number_ends(bytes: &[u8]) -> bool {
    let token = bytes.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte == b'.').count();
    bytes[bytes.len() - token].is_ascii_digit()
}

/// The byte offset of a line (from one) and a column (from one).
fn offset(text: &str, line: isize, column: isize) -> usize {
    let start: usize = text.split_inclusive('\n').take((line - 1).max(0) as usize).map(str::len).sum();
    (start + (column - 1).max(0) as usize).min(text.len())
}

struct Reader<'a, 'p> {
    source: &'a str,
    info: &'a SourceInfo,
    place: Place,
    problems: &'a mut Problems<'p>,
}

impl Reader<'_, '_> {
    fn place(&self, node: &IdedExpr) -> Place {
        let characters = self.info.offset_for(node.id).map_or(0, |(start, _)| start as usize);
        let bytes = self.source.char_indices().nth(characters).map_or(self.source.len(), |(at, _)| at);
        self.place.after(bytes)
    }

    /// The parser places calls at their bracket, people at their name.
    fn name_before(&self, place: Place, name: &str) -> Place {
        let at = (place.at - self.place.at) as usize;
        let before = self.source[..at].trim_end();
        if before.ends_with(name) { Place { at: self.place.at + (before.len() - name.len()) as u32, ..place } } else { place }
    }

    fn all(&mut self, nodes: &[IdedExpr]) -> Option<Vec<Expression>> {
        nodes.iter().map(|node| self.read(node)).collect()
    }

    fn read(&mut self, node: &IdedExpr) -> Option<Expression> {
        let place = self.place(node);
        let kind = match &node.expr {
            Expr::Literal(literal) => self.literal(literal, place)?,
            Expr::Ident(name) => Kind::Name(name.clone()),
            Expr::Select(select) => {
                let operand = self.read(&select.operand)?;
                let Kind::Name(name) = operand.kind else {
                    self.problems.report(place, format!("`.{}` follows something that has no fields", select.field));
                    return None;
                };
                return Some(Expression { place: operand.place, kind: Kind::Name(format!("{name}.{}", select.field)) });
            }
            Expr::List(list) => Kind::List(self.all(&list.elements)?),
            Expr::Call(call) => {
                let place = self.name_before(place, &call.func_name);
                let arguments = self.all(&call.args)?;
                let kind = match &call.target {
                    Some(target) => Kind::Method(Box::new(self.read(target)?), call.func_name.clone(), arguments),
                    None => Kind::Call(call.func_name.clone(), arguments),
                };
                return Some(Expression { place, kind });
            }
            _ => {
                self.problems.report(place, "this part of CEL is not part of the policy language");
                return None;
            }
        };
        Some(Expression { place, kind })
    }

    fn literal(&mut self, literal: &LiteralValue, place: Place) -> Option<Kind> {
        match literal {
            LiteralValue::Boolean(flag) => Some(Kind::Bool(*flag.inner())),
            LiteralValue::Int(number) if number.inner().unsigned_abs() <= 1 << 62 => Some(Kind::Int(*number.inner())),
            LiteralValue::Int(_) => {
                self.problems.report(place, "numbers lie within ±2^62");
                None
            }
            LiteralValue::String(word) => Some(Kind::Word(word.inner().to_string())),
            LiteralValue::Double(number) => {
                let decimal = decimal(&number.inner().to_string());
                if decimal.is_none() {
                    self.problems.report(place, "this decimal number has too many digits");
                }
                decimal.map(|(numerator, denominator)| Kind::Decimal { numerator, denominator })
            }
            _ => {
                self.problems.report(place, "values are integers, booleans, dates and words");
                None
            }
        }
    }
}

/// A decimal number as a fraction.
fn decimal(text: &str) -> Option<(i64, i64)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let denominator = 10i64.checked_pow(part.len() as u32).filter(|_| part.len() <= 15)?;
    Some((format!("{whole}{part}").parse().ok()?, denominator))
}

/// The expression's text, equal for equal expressions: places are left out and the record's variable is written `_`.
pub fn canonical(expression: &Expression, variable: &str) -> String {
    let mut text = String::new();
    write_canonical(&mut text, expression, variable).expect("writing to a string cannot fail");
    text
}

fn write_canonical(out: &mut String, expression: &Expression, variable: &str) -> fmt::Result {
    match &expression.kind {
        Kind::Int(number) => write!(out, "{number}"),
        Kind::Decimal { numerator, denominator } => write!(out, "{numerator}:{denominator}"),
        Kind::Bool(flag) => write!(out, "{flag}"),
        Kind::Word(word) => write!(out, "{word:?}"),
        Kind::Name(name) => match name.split_once('.') {
            Some((head, field)) if head == variable => write!(out, "_.{field}"),
            _ => write!(out, "{name}"),
        },
        Kind::List(items) | Kind::Call(_, items) | Kind::Method(_, _, items) => {
            match &expression.kind {
                Kind::Call(name, _) => write!(out, "{name}")?,
                Kind::Method(target, name, _) => {
                    write_canonical(out, target, variable)?;
                    write!(out, ".{name}")?;
                }
                _ => {}
            }
            out.push('(');
            for item in items {
                write_canonical(out, item, variable)?;
                out.push(',');
            }
            out.push(')');
            Ok(())
        }
    }
}

/// How tightly operators bind, and the texts of the binary ones; CEL's names for them are the keys.
const BINARY: [(&str, &str, u8); 14] = [
    ("_||_", "||", 2),
    ("_&&_", "&&", 3),
    ("_==_", "==", 4),
    ("_!=_", "!=", 4),
    ("_<_", "<", 4),
    ("_<=_", "<=", 4),
    ("_>_", ">", 4),
    ("_>=_", ">=", 4),
    ("@in", "in", 4),
    ("_+_", "+", 5),
    ("_-_", "-", 5),
    ("_*_", "*", 6),
    ("_/_", "/", 6),
    ("_%_", "%", 6),
];
const CHOICE: u8 = 1;
const UNARY: u8 = 7;

/// As an author would write it: with no more brackets than needed.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Int(number) => write!(f, "{number}"),
            Kind::Decimal { numerator, denominator } => {
                let digits = denominator.ilog10() as usize;
                write!(f, "{}.{:0digits$}", numerator / denominator, (numerator % denominator).abs())
            }
            Kind::Bool(flag) => write!(f, "{flag}"),
            Kind::Word(word) => write!(f, "'{}'", word.replace('\\', "\\\\").replace('\'', "\\'")),
            Kind::Name(name) => write!(f, "{name}"),
            Kind::List(items) => write!(f, "[{}]", listed(items)),
            Kind::Method(target, name, arguments) => write!(f, "{target}.{name}({})", listed(arguments)),
            Kind::Call(name, arguments) => write_call(f, name, arguments),
        }
    }
}

fn listed(items: &[Expression]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn write_call(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[Expression]) -> fmt::Result {
    match (name, arguments) {
        ("!_", [operand]) => write!(f, "!{}", bracketed(operand, UNARY)),
        ("-_", [operand]) => write!(f, "-{}", bracketed(operand, UNARY)),
        ("_?_:_", [condition, yes, no]) => {
            write!(f, "{} ? {} : {}", bracketed(condition, CHOICE + 1), bracketed(yes, CHOICE + 1), bracketed(no, CHOICE))
        }
        (_, [left, right]) if let Some((_, sign, binds)) = BINARY.iter().find(|(known, ..)| *known == name) => {
            // The parser groups long chains of && and || as it likes, since they mean the same: they need no brackets.
            let is_chain = matches!(name, "_&&_" | "_||_");
            write!(f, "{} {sign} {}", bracketed(left, *binds), bracketed(right, binds + u8::from(!is_chain)))
        }
        _ => write!(f, "{name}({})", listed(arguments)),
    }
}

/// In brackets, if it binds less tightly than its surroundings.
fn bracketed(expression: &Expression, surroundings: u8) -> String {
    let binds = match &expression.kind {
        Kind::Call(name, _) => match name.as_str() {
            "_?_:_" => CHOICE,
            "!_" | "-_" => UNARY,
            name => BINARY.iter().find(|(known, ..)| *known == name).map_or(u8::MAX, |(.., binds)| *binds),
        },
        _ => u8::MAX,
    };
    if binds < surroundings { format!("({expression})") } else { expression.to_string() }
}
