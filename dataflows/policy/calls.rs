//! Operators and functions of expressions: what they ask of their operands, and the operations that they become.

use super::Window;
use super::compile::{Compiler, Scope, Type, Value};
use super::expression::{Expression, Kind, canonical};
use super::file::{ABSENT, opaque};
use super::graph::{Block, Input};
use super::program::{Bins, Op, Reg};
use super::source::Place;
use std::collections::BTreeMap;
use std::rc::Rc;

const FUNCTIONS: [&str; 19] = [
    "age",
    "age_months",
    "past",
    "active",
    "within",
    "add_days",
    "add_months",
    "year",
    "today_year",
    "min",
    "max",
    "points",
    "has",
    "previous_quarter",
    "last_months",
    "this_year",
    "filter",
    "map",
    "exists",
];

/// Whether an expression names a field of the record that a macro calls by this name, or is a list, which has no place in a macro.
fn is_of(expression: &Expression, variable: &str) -> bool {
    match &expression.kind {
        Kind::Name(name) => name.split_once('.').is_some_and(|(head, _)| head == variable),
        kind => matches!(kind, Kind::Method(..)),
    }
}

impl Compiler<'_, '_> {
    /// An operator or a function, by the name that the parser gives it.
    pub(super) fn call(
        &mut self,
        name: &str,
        arguments: &[Expression],
        place: Place,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Value> {
        match (name, arguments) {
            ("_&&_" | "_||_", [left, right]) => self.junction(name == "_&&_", left, right, scope, block),
            ("!_", [operand]) => {
                let operand = self.condition(operand, scope, block)?;
                Some(self.emit(block, |to| Op::Not(to, operand)))
            }
            ("_?_:_", [condition, yes, no]) => self.choice(condition, yes, no, place, scope, block),
            ("-_", [operand]) => self.negative(operand, scope, block),
            ("_+_" | "_-_" | "_*_" | "_/_" | "_%_" | "min" | "max", [left, right]) => {
                self.arithmetic(name, left, right, place, scope, block)
            }
            ("_==_" | "_!=_", [left, right]) => {
                let (left, right) = self.two(left, right, scope, block)?;
                self.equal(left, right, name == "_==_", place, scope, block)
            }
            ("_<_" | "_<=_" | "_>_" | "_>=_", [left, right]) => self.ordered(name, left, right, place, scope, block),
            ("@in", [value, Expression { kind: Kind::List(items), .. }]) => self.one_of(value, items, scope, block),
            ("@in", _) => {
                self.problems.report(place, "`in` needs a list of words or numbers in brackets on its right");
                None
            }
            ("has", [operand]) => {
                if !matches!(operand.kind, Kind::Name(_)) {
                    self.problems.report(place, "has(..) asks after a field or an indicator by its name");
                    return None;
                }
                let value = self.expression(operand, scope, block)?;
                Some(self.emit(block, |to| Op::Has(to, value.reg)))
            }
            ("points", [Expression { kind: Kind::Name(criterion), place: at }, value]) => self.points(criterion, *at, value, scope, block),
            _ => self.time(name, arguments, place, scope, block),
        }
    }

    pub fn emit(&mut self, block: &mut Block, op: impl FnOnce(Reg) -> Op) -> Value {
        let to = block.temporary();
        block.ops.push(op(to));
        Value::flag(to)
    }

    /// Compiles both sides, so that the mistakes of both are reported.
    fn two(&mut self, left: &Expression, right: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<(Value, Value)> {
        let left = self.operand(left, scope, block);
        let right = self.operand(right, scope, block);
        Some((left?, right?))
    }

    /// A value that an operation needs: warns where it may be absent and nothing guards it.
    fn operand(&mut self, expression: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let value = self.expression(expression, scope, block)?;
        let field = |name: &str| matches!(scope, Scope::Record { variable, .. } if name.split('.').next() == Some(variable));
        let of_record = matches!(&expression.kind, Kind::Name(name) if field(name));
        if value.optional && block.guards == 0 && (of_record || value.kind == Type::Int) {
            let hint = "guard it with has(..) && or a count > 0 &&, or declare unknown = …";
            self.warnings.report_with_hint(expression.place, "this may be absent, and then the whole is unknown", hint);
        }
        Some(value)
    }

    fn junction(&mut self, both: bool, left: &Expression, right: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let first = self.condition(left, scope, block).map(|first| block.reuse(first));
        let skip = block.reserve();
        block.guards += 1;
        let second = self.condition(right, scope, block);
        block.guards -= 1;
        let (to, second) = (first?, second?);
        block.ops.push(if both { Op::And(to, to, second) } else { Op::Or(to, to, second) });
        let count = block.since(skip);
        block.ops[skip] = if both { Op::SkipIfFalse(to, count) } else { Op::SkipIfTrue(to, count) };
        Some(Value::flag(to))
    }

    fn choice(
        &mut self,
        condition: &Expression,
        yes: &Expression,
        no: &Expression,
        place: Place,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Value> {
        let condition = self.condition(condition, scope, block)?;
        let to = block.temporary();
        let unknown = block.reserve();
        let skip = block.reserve();
        block.guards += 1;
        let yes = self.expression(yes, scope, block);
        let keep_yes = block.reserve();
        let done = block.reserve();
        block.ops[skip] = Op::SkipIfFalse(condition, block.since(skip));
        let no = self.expression(no, scope, block);
        let keep_no = block.reserve();
        block.guards -= 1;
        block.ops[done] = Op::Skip(block.since(done));
        block.ops[unknown] = Op::SkipIfUnknown(to, condition, block.since(unknown));
        let (yes, no) = (yes?, no?);
        let kind = match (&yes.kind, &no.kind) {
            (Type::Words(some), Type::Words(more)) => {
                let new = more.iter().filter(|word| !some.contains(word));
                Type::Words(Rc::new(some.iter().chain(new).cloned().collect()))
            }
            (Type::Words(_), words @ Type::Enum(_)) | (words @ Type::Enum(_), Type::Words(_)) => words.clone(),
            (one, other) if one == other => one.clone(),
            (one, other) => {
                let message = format!("either {} or {}: both sides of `:` must be alike", one.describe(), other.describe());
                self.problems.report(place, message);
                return None;
            }
        };
        let fraction = yes.fraction || no.fraction;
        for (index, side) in [(keep_yes, &yes), (keep_no, &no)] {
            block.ops[index] = match (&side.kind, &kind) {
                (Type::Words(some), Type::Enum(words)) => Op::Bins(to, side.reg, self.numbered(some, words, place, scope)?),
                _ if fraction && side.fraction => Op::FMove(to, side.reg),
                _ if fraction => Op::Fraction(to, side.reg),
                _ => Op::Move(to, side.reg),
            };
        }
        let unit = self.common_unit(&yes, &no, place);
        Some(Value { reg: to, fraction, unit, optional: yes.optional || no.optional, kind })
    }

    /// The table that turns words into their numbers in an enumeration.
    fn numbered(&mut self, some: &[String], words: &[String], place: Place, scope: Scope<'_>) -> Option<u16> {
        let mut numbers = BTreeMap::new();
        for word in some {
            numbers.insert(opaque(word), self.word(word, words, place)?);
        }
        let steps = numbers.into_iter().flat_map(|(hash, number)| [(hash, number), (hash + 1, ABSENT)]).collect();
        Some(self.graph(scope).bins(Bins { steps }))
    }

    /// One of several words becomes a value of the enumeration of these words, in the order in which they are written.
    pub fn settled(&mut self, value: Value, scope: Scope<'_>, block: &mut Block) -> Value {
        match &value.kind {
            Type::Words(words) if words.len() > 1 => {
                let table = self.numbered(words, words, Place::default(), scope).expect("every word is one of them");
                let to = block.temporary();
                block.ops.push(Op::Bins(to, value.reg, table));
                Value { reg: to, kind: Type::Enum(words.clone()), ..value }
            }
            _ => value,
        }
    }

    /// The unit that two values share; a bare number takes the other's.
    fn common_unit(&mut self, left: &Value, right: &Value, place: Place) -> Option<String> {
        match (&left.unit, &right.unit) {
            (Some(one), Some(other)) if one != other => {
                self.problems.report(place, format!("{one} and {other} do not go together"));
                None
            }
            (Some(unit), _) | (None, Some(unit)) => Some(unit.clone()),
            (None, None) => None,
        }
    }

    fn negative(&mut self, operand: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let place = operand.place;
        let value = self.operand(operand, scope, block)?;
        self.number(&value, place)?;
        let to = block.temporary();
        block.ops.push(if value.fraction { Op::FNeg(to, value.reg) } else { Op::Neg(to, value.reg) });
        Some(Value { reg: to, optional: false, ..value })
    }

    pub fn number(&mut self, value: &Value, place: Place) -> Option<()> {
        if value.kind != Type::Int {
            self.problems.report(place, format!("a number is needed here, not {}", value.kind.describe()));
            return None;
        }
        Some(())
    }

    fn arithmetic(
        &mut self,
        name: &str,
        left: &Expression,
        right: &Expression,
        place: Place,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Value> {
        let (a, b) = self.two(left, right, scope, block)?;
        if matches!(name, "min" | "max") && a.kind == Type::Date && b.kind == Type::Date {
            let to = block.temporary();
            block.ops.push(if name == "min" { Op::Min(to, a.reg, b.reg) } else { Op::Max(to, a.reg, b.reg) });
            return Some(Value { reg: to, optional: false, ..a });
        }
        if a.kind == Type::Date && matches!(name, "_+_" | "_-_") {
            self.problems.report_with_hint(place, "dates are not added", "use add_days(date, n), add_months(date, n) or age_months(date)");
            return None;
        }
        let (first, second) = (self.number(&a, left.place), self.number(&b, right.place));
        first.and(second)?;
        let unit = match name {
            "_*_" | "_/_" => None,
            "_%_" => a.unit.clone(),
            _ => self.common_unit(&a, &b, place),
        };
        let fraction = a.fraction || b.fraction || name == "_/_";
        if fraction && name == "_%_" {
            self.problems.report(place, "a remainder needs whole numbers");
            return None;
        }
        let (a, b) = if fraction { (self.as_fraction(&a, block), self.as_fraction(&b, block)) } else { (a.reg, b.reg) };
        let to = block.temporary();
        block.ops.push(match (name, fraction) {
            ("_+_", false) => Op::Add(to, a, b),
            ("_-_", false) => Op::Sub(to, a, b),
            ("_*_", false) => Op::Mul(to, a, b),
            ("_%_", _) => Op::Rem(to, a, b),
            ("min", false) => Op::Min(to, a, b),
            ("max", false) => Op::Max(to, a, b),
            ("_+_", true) => Op::FAdd(to, a, b),
            ("_-_", true) => Op::FSub(to, a, b),
            ("_*_", true) => Op::FMul(to, a, b),
            ("min", true) => Op::FMin(to, a, b),
            ("max", true) => Op::FMax(to, a, b),
            _ => Op::FDiv(to, a, b),
        });
        Some(Value { reg: to, fraction, unit, kind: Type::Int, optional: false })
    }

    fn as_fraction(&mut self, value: &Value, block: &mut Block) -> Reg {
        if value.fraction {
            return value.reg;
        }
        let to = block.temporary();
        block.ops.push(Op::Fraction(to, value.reg));
        to
    }

    /// The number of a word in an enumeration.
    pub(super) fn word(&mut self, word: &str, words: &[String], place: Place) -> Option<i64> {
        let index = words.iter().position(|known| known == word);
        if index.is_none() {
            let message = format!("'{word}' is not one of {}", words.join(" | "));
            self.problems.unknown_name(place, message, word, words.iter().map(String::as_str));
        }
        index.map(|index| index as i64)
    }

    fn equal(&mut self, a: Value, b: Value, positive: bool, place: Place, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let (a, b) = match (&a.kind, &b.kind) {
            (Type::Words(some), Type::Enum(words)) => (self.among(&a, some, words, place, scope, block)?, b),
            (Type::Enum(words), Type::Words(some)) => {
                let b = self.among(&b, some, words, place, scope, block)?;
                (a, b)
            }
            (Type::Words(_), Type::Id) | (Type::Id, Type::Words(_)) => (a, b),
            (Type::Words(some), Type::Words(more)) if some.len() + more.len() > 2 => (a, b),
            (one, other) if one == other && !matches!(one, Type::Words(_)) => (a, b),
            (one, other) => {
                self.problems.report(place, format!("{} cannot be compared with {}", one.describe(), other.describe()));
                return None;
            }
        };
        self.common_unit(&a, &b, place);
        let to = block.temporary();
        let fraction = a.fraction || b.fraction;
        let (a, b) = if fraction { (self.as_fraction(&a, block), self.as_fraction(&b, block)) } else { (a.reg, b.reg) };
        block.ops.push(match (fraction, positive) {
            (false, true) => Op::Eq(to, a, b),
            (false, false) => Op::Ne(to, a, b),
            (true, true) => Op::FEq(to, a, b),
            (true, false) => Op::FNe(to, a, b),
        });
        Some(Value::flag(to))
    }

    /// Words as values of an enumeration: one of them is a constant.
    fn among(
        &mut self,
        value: &Value,
        some: &[String],
        words: &[String],
        place: Place,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Value> {
        if let [word] = some {
            let index = self.word(word, words, place)?;
            return Some(Value::number(self.constant(scope, index)));
        }
        let (table, to) = (self.numbered(some, words, place, scope)?, block.temporary());
        block.ops.push(Op::Bins(to, value.reg, table));
        Some(Value::number(to))
    }

    fn ordered(
        &mut self,
        name: &str,
        left: &Expression,
        right: &Expression,
        place: Place,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Value> {
        if let Some(value) = self.age_limit(name, left, right, scope, block) {
            return Some(value);
        }
        let (a, b) = self.two(left, right, scope, block)?;
        if a.kind != b.kind || !matches!(a.kind, Type::Int | Type::Date) {
            let message = format!("{} cannot be compared with {} this way", a.kind.describe(), b.kind.describe());
            self.problems.report(place, message);
            return None;
        }
        self.common_unit(&a, &b, place);
        let fraction = a.fraction || b.fraction;
        let (a, b) = if fraction { (self.as_fraction(&a, block), self.as_fraction(&b, block)) } else { (a.reg, b.reg) };
        Some(self.emit(block, |to| match (name, fraction) {
            ("_<_", false) => Op::Lt(to, a, b),
            ("_<=_", false) => Op::Le(to, a, b),
            ("_>_", false) => Op::Gt(to, a, b),
            ("_>=_", false) => Op::Ge(to, a, b),
            ("_<_", true) => Op::FLt(to, a, b),
            ("_<=_", true) => Op::FLe(to, a, b),
            ("_>_", true) => Op::FGt(to, a, b),
            _ => Op::FGe(to, a, b),
        }))
    }

    /// `age(d) >= 18` asks whether a date is past, and so wakes the person once instead of at every birthday.
    fn age_limit(&mut self, name: &str, left: &Expression, right: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let (Kind::Call(function, arguments), Kind::Int(limit)) = (&left.kind, &right.kind) else {
            return None;
        };
        let months = match function.as_str() {
            "age" => 12,
            "age_months" => 1,
            _ => return None,
        };
        if matches!(scope, Scope::Household | Scope::Claim { .. }) || arguments.len() != 1 || !(0..=10_000).contains(limit) {
            return None;
        }
        let date = self.expression(&arguments[0], scope, block).filter(|date| date.kind == Type::Date)?;
        let months = self.constant(scope, (limit + i64::from(matches!(name, "_>_" | "_<=_"))) * months);
        let reached = self.emit(block, |to| Op::Reached(to, date.reg, months));
        Some(if matches!(name, "_>_" | "_>=_") { reached } else { self.emit(block, |to| Op::Not(to, reached.reg)) })
    }

    fn one_of(&mut self, value: &Expression, items: &[Expression], scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let place = value.place;
        let value = self.operand(value, scope, block)?;
        if let Type::Enum(words) = value.kind.clone()
            && words.len() < 63
        {
            let mut mask = 0;
            for item in items {
                match &item.kind {
                    Kind::Word(word) => mask |= 1 << self.word(word, &words, item.place)?,
                    _ => self.problems.report(item.place, "a word is needed here"),
                }
            }
            let mask = self.constant(scope, mask);
            return Some(self.emit(block, |to| Op::In(to, value.reg, mask)));
        }
        let zero = self.constant(scope, 0);
        let mut any = Value::flag(zero);
        for item in items {
            let item = self.expression(item, scope, block)?;
            let equal = self.equal(value.clone(), item, true, place, scope, block)?;
            any = self.emit(block, |to| Op::Or(to, any.reg, equal.reg));
        }
        Some(any)
    }

    fn points(&mut self, criterion: &str, at: Place, value: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let Some(bins) = self.tables.get(criterion).cloned() else {
            let known: Vec<String> = self.tables.keys().cloned().collect();
            self.problems.unknown_name(
                at,
                format!("no criterion with bins is called `{criterion}`"),
                criterion,
                known.iter().map(String::as_str),
            );
            return None;
        };
        let place = value.place;
        let value = self.operand(value, scope, block)?;
        self.number(&value, place)?;
        if value.fraction {
            self.problems.report_with_hint(place, "bins need a whole number", "make an indicator of it, with `round`");
            return None;
        }
        let table = self.graph(scope).bins(bins);
        let to = block.temporary();
        block.ops.push(Op::Bins(to, value.reg, table));
        Some(Value::number(to))
    }

    /// Functions of time, the only ones through which it enters.
    fn time(&mut self, name: &str, arguments: &[Expression], place: Place, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        if matches!(scope, Scope::Household | Scope::Claim { .. }) && matches!(name, "age" | "age_months" | "past" | "active") {
            let hint = "make an indicator of the person and use it through members or head";
            self.problems.report_with_hint(place, format!("`{name}` waits for a person's date; households have none"), hint);
            return None;
        }
        match (name, arguments) {
            ("age" | "age_months" | "past" | "year", [date]) => {
                let date = self.date(date, scope, block)?;
                let to = block.temporary();
                let (op, kind) = match name {
                    "age" => (Op::Age(to, date), Type::Int),
                    "age_months" => (Op::AgeMonths(to, date), Type::Int),
                    "past" => (Op::Past(to, date), Type::Bool),
                    _ => (Op::Year(to, date), Type::Int),
                };
                block.ops.push(op);
                Some(Value::new(to, kind))
            }
            ("active", [from, until]) => {
                let (from, until) = (self.date(from, scope, block), self.date(until, scope, block));
                let (from, until) = (from?, until?);
                Some(self.emit(block, |to| Op::Active(to, from, until)))
            }
            ("within", [date, window]) => {
                let date = self.date(date, scope, block);
                let window = self.window(window)?;
                let window = self.graph(scope).window(window);
                let date = date?;
                Some(self.emit(block, |to| Op::Within(to, date, window)))
            }
            ("add_days" | "add_months", _)
                if let Scope::Record { variable, lists: false, .. } = scope
                    && !arguments.iter().any(|argument| argument.any(&|inner| is_of(inner, variable))) =>
            {
                self.once(name, arguments, place, block)
            }
            ("add_days" | "add_months", [date, count]) => {
                let date = self.date(date, scope, block);
                let value = self.operand(count, scope, block)?;
                self.number(&value, count.place)?;
                if value.fraction {
                    self.problems.report(count.place, "a whole number is needed here");
                    return None;
                }
                let (date, to) = (date?, block.temporary());
                block.ops.push(if name == "add_days" { Op::AddDays(to, date, value.reg) } else { Op::AddMonths(to, date, value.reg) });
                Some(Value::new(to, Type::Date))
            }
            ("today_year", []) => {
                self.years = true;
                Some(Value::number(self.graph(scope).input(Input::TodayYear)))
            }
            ("previous_quarter" | "last_months" | "this_year", _) => {
                self.problems.report(place, format!("`{name}` is a window; it stands only in within(date, {name}(..))"));
                None
            }
            _ if FUNCTIONS.contains(&name) => {
                self.problems.report(place, format!("`{name}` is not used like this"));
                None
            }
            _ => {
                self.problems.unknown_name(place, format!("there is no function `{}`", name.trim_matches('_')), name, FUNCTIONS);
                None
            }
        }
    }

    /// A value that is the same for all records of a list: a node of its own, so that it is computed once for all of them.
    fn once(&mut self, name: &str, arguments: &[Expression], place: Place, block: &mut Block) -> Option<Value> {
        let told: Vec<String> = arguments.iter().map(|argument| canonical(argument, "")).collect();
        // Where nobody looks after what is absent, it must be told of, whoever was looked after before.
        let guarded = block.guards > 0;
        let key = format!("once|{name}({})|{}|{guarded}", told.join(","), self.despite_silence);
        let (node, value) = match self.folds.get(&key) {
            Some((node, value)) => (*node, value.clone()),
            None => {
                let mut own = Block::guarded(guarded);
                let value = self.time(name, arguments, place, Scope::Person, &mut own)?;
                let reg = self.person.keep(1);
                own.ops.push(Op::Move(reg, value.reg));
                self.check_length(&own, place);
                let node = self.person.add_scalar(own);
                let value = Value { reg, ..value };
                self.folds.insert(key, (node, value.clone()));
                (node, value)
            }
        };
        block.dependencies.insert(node);
        Some(value)
    }

    fn date(&mut self, expression: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Reg> {
        let value = self.expression(expression, scope, block)?;
        if value.kind != Type::Date {
            self.problems.report(expression.place, format!("a date is needed here, not {}", value.kind.describe()));
            return None;
        }
        Some(value.reg)
    }

    fn window(&mut self, expression: &Expression) -> Option<u16> {
        let window = match &expression.kind {
            Kind::Call(name, arguments) => match (name.as_str(), arguments.as_slice()) {
                ("previous_quarter", []) => Some(Window::PreviousQuarter),
                ("this_year", []) => Some(Window::ThisYear),
                ("last_months", [Expression { kind: Kind::Int(months @ 1..=1200), .. }]) => Some(Window::LastMonths(*months as i32)),
                _ => None,
            },
            _ => None,
        };
        let Some(window) = window else {
            let name = if let Kind::Call(name, _) = &expression.kind { name } else { "" };
            let message = "a window is needed here: previous_quarter(), last_months(12) or this_year()";
            self.problems.unknown_name(expression.place, message, name, ["previous_quarter", "last_months", "this_year"]);
            return None;
        };
        let index = self.windows.iter().position(|known| *known == window).unwrap_or(self.windows.len());
        if index == self.windows.len() {
            self.windows.push(window);
        }
        Some(index as u16)
    }
}
