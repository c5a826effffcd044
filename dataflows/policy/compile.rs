//! From expressions to programs: names, types and units, indicators, and the slots of sums. What operators and functions do is in `calls`, list macros
//! are in `lists`.

use super::contents::root;
use super::expression::{Expression, Kind};
use super::file::opaque;
use super::graph::{Block, Code, DWELLING_SLOT_COUNT, DWELLING_SLOTS, DWELLING_SUMS, FIELDS, Graph, Input, SLOT_COUNT, SLOTS, SUMS};
use super::program::{Bins, Op, Reg, Rounding};
use super::rights::ClaimInput;
use super::source::{Place, Problems};
use super::{BUILT_IN_SLOTS, FieldType, Level, Parameter, Register, ValueKind, Window};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Int,
    Bool,
    Date,
    Enum(Rc<Vec<String>>),
    Id,
    Person,
    /// A quoted word, or one of several by `?:`, kept as [`opaque`]; it gets its meaning from what it is compared with.
    Words(Rc<Vec<String>>),
}

impl Type {
    /// The type of a field's values.
    pub fn of(field: &FieldType) -> Type {
        match field {
            FieldType::Text | FieldType::Id => Type::Id,
            FieldType::Person => Type::Person,
            FieldType::Date | FieldType::Month => Type::Date,
            FieldType::Int | FieldType::Money => Type::Int,
            FieldType::Bool => Type::Bool,
            FieldType::Enum(words) => Type::Enum(Rc::new(words.clone())),
        }
    }

    /// The field type of these values.
    pub fn field(&self) -> FieldType {
        match self {
            Type::Int => FieldType::Int,
            Type::Bool => FieldType::Bool,
            Type::Date => FieldType::Date,
            Type::Enum(words) => FieldType::Enum(words.to_vec()),
            Type::Id | Type::Words(_) => FieldType::Id,
            Type::Person => FieldType::Person,
        }
    }

    /// The kind that indicators of this type are shown as.
    pub fn kind(&self) -> ValueKind {
        match self {
            Type::Bool => ValueKind::Bool,
            Type::Date => ValueKind::Date,
            Type::Enum(words) => ValueKind::Enum(words.to_vec()),
            Type::Int | Type::Id | Type::Person | Type::Words(_) => ValueKind::Int,
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Type::Int => "a number".into(),
            Type::Bool => "a boolean".into(),
            Type::Date => "a date".into(),
            Type::Enum(words) => format!("one of {}", words.join(" | ")),
            Type::Id => "an id".into(),
            Type::Person => "a person".into(),
            Type::Words(words) if words.len() == 1 => format!("the word '{}'", words[0]),
            Type::Words(words) => format!("one of the words {}", words.join(" | ")),
        }
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Value {
    pub reg: Reg,
    /// It occupies two registers: see [`super::program`].
    pub fraction: bool,
    pub kind: Type,
    /// A bare number goes with any unit.
    pub unit: Option<String>,
    /// It may be absent.
    pub optional: bool,
}

impl Value {
    pub fn new(reg: Reg, kind: Type) -> Value {
        Value { reg, fraction: false, kind, unit: None, optional: false }
    }

    pub fn flag(reg: Reg) -> Value {
        Value::new(reg, Type::Bool)
    }

    pub fn number(reg: Reg) -> Value {
        Value::new(reg, Type::Int)
    }
}

/// Where an expression stands: what it may name.
#[derive(Clone, Copy)]
pub enum Scope<'s> {
    Person,
    /// Inside a macro over a register, or, with `lists`, a right for each of its records.
    Record {
        variable: &'s str,
        register: u16,
        lists: bool,
    },
    /// Inside a macro over members.
    Member {
        variable: &'s str,
    },
    Household,
    /// A person's right, founded on a record of this register or on nothing, that also reads values of the household.
    Claim {
        ground: Option<u16>,
    },
}

/// A right of a person: with a ground, for each of its records, named `r`.
pub fn own_scope(ground: Option<u16>) -> Scope<'static> {
    match ground {
        Some(register) => Scope::Record { variable: "r", register, lists: true },
        None => Scope::Person,
    }
}

/// How a slot is filled from a member's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub source: Reg,
    /// For a histogram: the class counted by this slot, and how many there are.
    pub class: Option<(u16, u16)>,
}

/// The sums over a group of people: where they are, and what fills them.
pub struct Sums {
    /// What rules call the group.
    pub group: &'static str,
    /// Where the household's machine shows the slots, unknown values included; then as they were summed.
    pub shown: Reg,
    pub summed: Reg,
    most: usize,
    pub slots: Vec<Slot>,
    /// How many of the slots the evaluator itself fills, and the nodes that fill the others.
    built_in: usize,
    pub nodes: Vec<usize>,
    pub known: HashMap<String, (u16, Value)>,
}

impl Sums {
    fn new(group: &'static str, [shown, summed]: [Reg; 2], most: usize, built_in: Vec<Slot>) -> Sums {
        Sums { group, shown, summed, most, built_in: built_in.len(), slots: built_in, nodes: Vec::new(), known: HashMap::new() }
    }
}

/// Whose sums: those of a household's members, or of everybody registered in a dwelling.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Members,
    Residents,
}

/// An indicator on its way.
pub struct Draft {
    pub id: String,
    pub place: Place,
    pub level: Level,
    pub value: Option<Expression>,
    pub unit: Option<(String, Place)>,
    pub rounding: Option<Rounding>,
    pub unknown: Option<Expression>,
    pub classes: Option<u16>,
    /// Where its value is kept, and the node that keeps it there.
    pub reg: Reg,
    pub node: Option<usize>,
    pub state: State,
}

/// How far an indicator has come.
pub enum State {
    Waiting,
    Working,
    Failed,
    /// Where others read it, and the node that leaves it there.
    Done(Value, usize),
}

const ROLES: [&str; 6] = ["counted", "head", "spouse", "child", "dependant", "adult"];

/// The six roles, as registers of the person machine.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// counted, head, spouse, child, dependant, adult; then the person's number.
    pub first: Reg,
}

/// Compiles a package's expressions into two machines: one for people, one for households.
pub struct Compiler<'c, 'p> {
    pub problems: &'c mut Problems<'p>,
    pub warnings: &'c mut Problems<'p>,
    pub registers: Vec<Register>,
    pub parameters: &'c [Parameter],
    pub drafts: Vec<Draft>,
    pub by_name: HashMap<String, usize>,
    /// Indicators under way, each for the one before it.
    working: Vec<usize>,
    pub person: Graph,
    pub household: Graph,
    pub roles: Roles,
    pub windows: Vec<Window>,
    /// Whether `today_year()` is used.
    pub years: bool,
    pub members: Sums,
    pub residents: Sums,
    /// The right at hand reads sums over residents.
    pub reads_residents: bool,
    /// What the claim at hand needs of the person, and the nodes of the person machine that it needs for them.
    pub claim_inputs: Vec<ClaimInput>,
    pub claim_nodes: BTreeSet<usize>,
    pub folds: HashMap<String, (usize, Value)>,
    /// Bins of criteria, for `points`.
    pub tables: BTreeMap<String, Bins>,
    /// What benefits and categories may also name: `score` and the like.
    pub extras: Vec<(&'static str, Reg)>,
    /// Whether decimals are allowed here.
    pub decimals: bool,
    /// Whether `kin` is there; it is not while it is being declared.
    pub kin: bool,
    /// Whether `exists` finds what is known, also of a register that cannot be relied on.
    pub despite_silence: bool,
}

impl<'c, 'p> Compiler<'c, 'p> {
    pub fn new(
        problems: &'c mut Problems<'p>,
        warnings: &'c mut Problems<'p>,
        registers: Vec<Register>,
        parameters: &'c [Parameter],
        drafts: Vec<Draft>,
    ) -> Self {
        let (mut person, household) = (Graph::new(), Graph::new());
        let roles = Roles { first: person.keep(7) };
        let by_name = drafts.iter().enumerate().map(|(index, draft)| (draft.id.clone(), index)).collect();
        let built_in = vec![Slot { source: roles.first, class: None }; BUILT_IN_SLOTS];
        Compiler {
            problems,
            warnings,
            registers,
            parameters,
            drafts,
            by_name,
            working: Vec::new(),
            person,
            household,
            roles,
            windows: Vec::new(),
            years: false,
            members: Sums::new("members", [SLOTS, SUMS], SLOT_COUNT, built_in),
            residents: Sums::new("residents", [DWELLING_SLOTS, DWELLING_SUMS], DWELLING_SLOT_COUNT, Vec::new()),
            reads_residents: false,
            claim_inputs: Vec::new(),
            claim_nodes: BTreeSet::new(),
            folds: HashMap::new(),
            tables: BTreeMap::new(),
            extras: Vec::new(),
            decimals: false,
            kin: false,
            despite_silence: false,
        }
    }

    pub fn graph(&mut self, scope: Scope<'_>) -> &mut Graph {
        match scope {
            Scope::Household | Scope::Claim { .. } => &mut self.household,
            _ => &mut self.person,
        }
    }

    pub fn constant(&mut self, scope: Scope<'_>, value: i64) -> Reg {
        self.graph(scope).constant(value)
    }

    /// Compiles an indicator, if it has not been; `None` if it cannot be.
    pub fn indicator(&mut self, index: usize, place: Place) -> Option<(Value, usize)> {
        match &self.drafts[index].state {
            State::Done(value, node) => return Some((value.clone(), *node)),
            State::Failed => return None,
            State::Working => {
                let circle = self.working.iter().skip_while(|other| **other != index).chain([&index]);
                let circle: Vec<&str> = circle.map(|other| self.drafts[*other].id.as_str()).collect();
                self.problems.report(place, format!("`{}` is computed from itself: {}", circle[0], circle.join(" → ")));
                return None;
            }
            State::Waiting => {}
        }
        self.drafts[index].state = State::Working;
        self.working.push(index);
        let expression = self.drafts[index].value.take();
        let done = expression.and_then(|expression| self.finish_indicator(index, &expression));
        self.working.pop();
        self.drafts[index].state = done.clone().map_or(State::Failed, |(value, node)| State::Done(value, node));
        done
    }

    fn finish_indicator(&mut self, index: usize, expression: &Expression) -> Option<(Value, usize)> {
        let scope = match self.drafts[index].level {
            Level::Person => Scope::Person,
            Level::Household => Scope::Household,
        };
        let mut block = Block::default();
        let guarded = self.drafts[index].unknown.is_some();
        block.guards += usize::from(guarded);
        let (rounding, reg) = (self.drafts[index].rounding, self.drafts[index].reg);
        let mut value = self.expression(expression, scope, &mut block)?;
        value = self.settled(value, scope, &mut block);
        if let Type::Words(words) = &value.kind {
            self.problems.report(expression.place, format!("'{}' alone says nothing; words are only compared", words[0]));
            return None;
        }
        value = self.rounded(value, rounding, expression.place, &mut block)?;
        self.check_unit(index, &mut value);
        // What is another node's value is read there.
        let is_copy = block.ops.is_empty() && !guarded && !block.roles && block.dependencies.len() == 1;
        let source = block.dependencies.first().copied().filter(|_| is_copy);
        match self.drafts[index].unknown.take() {
            Some(other) => {
                let other = self.expression(&other, scope, &mut block)?;
                let other = self.alike(&other, &value, expression.place, scope)?;
                block.ops.push(Op::Default(reg, value.reg, other));
                value.optional = false;
            }
            None => block.ops.push(Op::Move(reg, value.reg)),
        }
        self.check_length(&block, expression.place);
        let node = self.graph(scope).add_scalar(block);
        self.drafts[index].node = Some(node);
        if let Some(source) = source {
            return Some((value, source));
        }
        value.reg = reg;
        Some((value, node))
    }

    pub fn check_length(&mut self, block: &Block, place: Place) {
        if block.too_long() {
            self.problems.report(place, "this expression is too long; make an indicator of a part of it");
        }
    }

    /// An `unknown =` value as the register of a value like another.
    fn alike(&mut self, other: &Value, value: &Value, place: Place, scope: Scope<'_>) -> Option<Reg> {
        match (&other.kind, &value.kind) {
            (Type::Words(one), Type::Enum(words)) => {
                let index = self.word(&one[0], words, place)?;
                Some(self.constant(scope, index))
            }
            (a, b) if a == b && !other.fraction => Some(other.reg),
            (a, b) => {
                self.problems.report(place, format!("`unknown` is {}, but the value is {}", a.describe(), b.describe()));
                None
            }
        }
    }

    /// The declared unit must fit the value's.
    fn check_unit(&mut self, index: usize, value: &mut Value) {
        let Some((unit, place)) = self.drafts[index].unit.clone() else {
            return;
        };
        let wrong = match (&value.kind, unit.as_str()) {
            (Type::Bool, "bool") | (Type::Date, "date") => false,
            (Type::Bool | Type::Date, _) | (_, "bool" | "date") => true,
            (Type::Int, _) => value.unit.as_ref().is_some_and(|actual| *actual != unit),
            _ => false,
        };
        if wrong {
            let actual = value.unit.clone().unwrap_or_else(|| value.kind.describe());
            self.problems.report(place, format!("the unit is declared as {unit}, but the value is {actual}"));
        }
        if value.kind == Type::Int {
            value.unit = Some(unit);
        }
    }

    /// A fraction rounded as declared.
    pub fn rounded(&mut self, value: Value, rounding: Option<Rounding>, place: Place, block: &mut Block) -> Option<Value> {
        if !value.fraction {
            return Some(value);
        }
        let Some(rounding) = rounding else {
            self.problems.report_with_hint(place, "this is a fraction", "say how it is rounded: round = \"down\", \"up\" or \"nearest\"");
            return None;
        };
        let reg = block.temporary();
        block.ops.push(Op::Round(reg, value.reg, rounding));
        Some(Value { reg, fraction: false, ..value })
    }

    /// Compiles a condition.
    pub fn condition(&mut self, expression: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Reg> {
        let value = self.expression(expression, scope, block)?;
        if value.kind != Type::Bool {
            self.problems.report(expression.place, format!("a condition must be true or false; this is {}", value.kind.describe()));
            return None;
        }
        Some(value.reg)
    }

    /// Compiles an expression into a block.
    pub fn expression(&mut self, expression: &Expression, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let place = expression.place;
        if let Scope::Claim { ground } = scope
            && self.reads(expression, Level::Person)
            && !self.reads(expression, Level::Household)
        {
            return self.claim_input(expression, ground, block);
        }
        match &expression.kind {
            Kind::Int(number) => Some(Value::number(self.constant(scope, *number))),
            Kind::Bool(flag) => Some(Value::flag(self.constant(scope, i64::from(*flag)))),
            Kind::Word(word) => Some(Value::new(self.constant(scope, opaque(word)), Type::Words(Rc::new(vec![word.clone()])))),
            Kind::Decimal { numerator, denominator } => self.decimal(*numerator, *denominator, place, scope),
            Kind::List(_) => {
                self.problems.report(place, "a list in brackets stands only to the right of `in`");
                None
            }
            Kind::Name(name) => self.name(name, place, scope, block),
            Kind::Call(name, arguments) => self.call(name, arguments, place, scope, block),
            Kind::Method(target, name, arguments) => self.list(target, name, arguments, place, scope, block),
        }
    }

    /// Whether an expression of a person's right names something of the person, or of the household.
    pub fn reads(&self, expression: &Expression, level: Level) -> bool {
        match &expression.kind {
            Kind::Int(_) | Kind::Bool(_) | Kind::Word(_) | Kind::Decimal { .. } => false,
            Kind::List(items) => items.iter().any(|item| self.reads(item, level)),
            Kind::Name(name) => {
                let draft = self.by_name.get(name).map(|index| self.drafts[*index].level);
                let of_household = draft == Some(Level::Household) || self.extras.iter().any(|(extra, _)| extra == name);
                let parameter = self.parameters.iter().any(|parameter| parameter.id == *name);
                !parameter && of_household == (level == Level::Household)
            }
            Kind::Call(name, arguments) => {
                let named = usize::from(name == "points");
                arguments.iter().skip(named).any(|argument| self.reads(argument, level))
            }
            // Who else is registered in a dwelling is nothing that a person's file says.
            Kind::Method(target, ..) if root(target) == Some("residents") => level == Level::Household,
            Kind::Method(target, _, arguments) => {
                level == Level::Person || self.reads(target, level) || arguments.iter().any(|argument| self.reads(argument, level))
            }
        }
    }

    /// Has the person's side compute a value, and the household's read it.
    fn claim_input(&mut self, expression: &Expression, ground: Option<u16>, block: &Block) -> Option<Value> {
        let mut own = Block::guarded(block.guards > 0);
        let value = self.expression(expression, own_scope(ground), &mut own)?;
        self.check_length(&own, expression.place);
        let width = 1 + usize::from(value.fraction);
        let reg = self.household.keep(width);
        self.claim_nodes.extend(&own.dependencies);
        self.claim_inputs.push(ClaimInput { code: Code::new(own.ops, value.reg), reg, width, gate: false });
        Some(Value { reg, ..value })
    }

    fn decimal(&mut self, numerator: i64, denominator: i64, place: Place, scope: Scope<'_>) -> Option<Value> {
        if !self.decimals {
            self.problems.report_with_hint(place, "decimals stand only in amounts", "write a fraction: 3 / 2");
            return None;
        }
        let reg = self.graph(scope).fraction(numerator, denominator);
        Some(Value { fraction: true, ..Value::number(reg) })
    }

    fn name(&mut self, name: &str, place: Place, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        if let Some((head, rest)) = name.split_once('.') {
            match scope {
                Scope::Record { variable, register, .. } if head == variable => return self.field(register, rest, place),
                Scope::Member { variable } if head == variable => return self.of_member(rest, place, block),
                Scope::Household if head == "head" => return self.of_head(rest, place, block),
                _ => {}
            }
        }
        if let Some(index) = self.parameters.iter().position(|parameter| parameter.id == name) {
            let reg = self.graph(scope).input(Input::Parameter(index as u16));
            let unit = Some(self.parameters[index].unit.clone()).filter(|unit| !unit.is_empty());
            return Some(Value { unit, ..Value::number(reg) });
        }
        match scope {
            Scope::Person | Scope::Record { .. } => self.person_name(name, place, block),
            Scope::Household | Scope::Claim { .. } => self.household_name(name, place, block),
            Scope::Member { variable } => {
                let hint =
                    format!("inside a macro over members only `{variable}.indicator` and parameters are known; take it outside the macro");
                self.problems.report_with_hint(
                    place,
                    format!("`{name}` does not belong to a member, so this is no sum over members"),
                    hint,
                );
                None
            }
        }
    }

    /// A role or an indicator of the person whose file this is.
    fn person_name(&mut self, name: &str, place: Place, block: &mut Block) -> Option<Value> {
        if let Some(role) = ROLES.iter().position(|role| *role == name) {
            block.roles = true;
            return Some(Value::flag(self.roles.first + role as Reg));
        }
        if name == "self" {
            return Some(Value::new(self.roles.first + 6, Type::Person));
        }
        match self.by_name.get(name).copied() {
            Some(index) if self.drafts[index].level == Level::Person => {
                let (value, node) = self.indicator(index, place)?;
                block.dependencies.insert(node);
                Some(value)
            }
            Some(_) => {
                let hint = "only rights of people may read their household's values, and outside of macros";
                self.problems.report_with_hint(place, format!("`{name}` is an indicator of households"), hint);
                None
            }
            None => {
                self.unknown_name(name, place, Level::Person);
                None
            }
        }
    }

    fn household_name(&mut self, name: &str, place: Place, block: &mut Block) -> Option<Value> {
        if let Some((_, reg)) = self.extras.iter().find(|(extra, _)| *extra == name) {
            return Some(Value::number(*reg));
        }
        match self.by_name.get(name).copied() {
            Some(index) if self.drafts[index].level == Level::Household => {
                let (value, node) = self.indicator(index, place)?;
                block.dependencies.insert(node);
                Some(value)
            }
            Some(_) => {
                let hint = format!("say whose: members.map(m, m.{name}).sum(), or head.{name}");
                self.problems.report_with_hint(place, format!("`{name}` is an indicator of people"), hint);
                None
            }
            None => {
                self.unknown_name(name, place, Level::Household);
                None
            }
        }
    }

    fn unknown_name(&mut self, name: &str, place: Place, level: Level) {
        let known = self.drafts.iter().filter(|draft| draft.level == level).map(|draft| draft.id.as_str());
        let parameters = self.parameters.iter().map(|parameter| parameter.id.as_str());
        let registers = self.registers.iter().map(|register| register.id.as_str()).filter(|_| level == Level::Person);
        let others: &[&str] = if level == Level::Person { &ROLES } else { &["members", "score", "category", "level", "level_score"] };
        let all: Vec<&str> = known.chain(parameters).chain(registers).chain(others.iter().copied()).collect();
        let message = match self.registers.iter().any(|register| register.id == name) {
            true => format!("`{name}` is a register; a list must end in .size(), .sum(), .exists(..) or the like"),
            false => format!("nothing is called `{name}` here"),
        };
        self.problems.unknown_name(place, message, name, all);
    }

    /// A field of the record at hand.
    fn field(&mut self, register: u16, name: &str, place: Place) -> Option<Value> {
        let register = &self.registers[usize::from(register)];
        let position = register.packed.iter().position(|field| register.fields[*field].name == name);
        match position {
            Some(position) if register.alias.as_ref().is_some_and(|alias| alias.given_up == position) => {
                self.problems.report(place, format!("`{name}` is a number given up; rules do not see it"));
                None
            }
            Some(position) => {
                let field = &register.fields[register.packed[position]];
                let unit = Some(field.unit.clone()).filter(|unit| !unit.is_empty());
                let value = Value::new(FIELDS + position as Reg, Type::of(&field.kind));
                Some(Value { unit, optional: field.optional, ..value })
            }
            None if register.fields.iter().any(|field| field.name == name) => {
                self.problems.report(place, format!("`{name}` is only shown; rules do not see it"));
                None
            }
            None => {
                let message = format!("{} has no field `{name}`", register.id);
                let names: Vec<&str> = register.packed.iter().map(|field| register.fields[*field].name.as_str()).collect();
                self.problems.unknown_name(place, message, name, names);
                None
            }
        }
    }

    /// An indicator or role of the member at hand.
    fn of_member(&mut self, name: &str, place: Place, block: &mut Block) -> Option<Value> {
        self.person_name(name, place, block)
    }

    /// An indicator of the head: a slot to which nobody else adds.
    fn of_head(&mut self, name: &str, place: Place, block: &mut Block) -> Option<Value> {
        let mut member = Block::default();
        let value = self.person_name(name, place, &mut member)?;
        let key = format!("head|{name}");
        let slot = match self.members.known.get(&key) {
            Some((slot, _)) => *slot,
            None => {
                let reg = self.person.keep(1);
                member.roles = true;
                let head = self.roles.first + 1;
                member.ops.extend([Op::Move(reg, head), Op::SkipIfFalse(head, 1), Op::Move(reg, value.reg)]);
                let slot = self.add_slot(Group::Members, member, reg, None, place);
                self.members.known.insert(key, (slot, value.clone()));
                slot
            }
        };
        let mut reg = SLOTS + slot;
        if value.optional {
            reg = block.temporary();
            block.ops.push(Op::Absent(reg, SLOTS + slot));
        }
        Some(Value { reg, ..value })
    }

    /// Adds a slot, or one for each class, that the block's last operation fills; the answer is the first one's number.
    pub fn add_slot(&mut self, group: Group, member: Block, source: Reg, classes: Option<u16>, place: Place) -> u16 {
        self.check_length(&member, place);
        // What is kept for others already is read there. Nodes of slots are in the order of these, and no node fills two of them by itself.
        let (latest, others) = (self.sums(group).nodes.last().copied(), [&self.members, &self.residents].map(|sums| &sums.nodes));
        let is_free = |node: usize| latest.is_none_or(|latest| node > latest) && !others.iter().any(|nodes| nodes.contains(&node));
        let kept = self.person.copied(&member).filter(|(node, _)| is_free(*node));
        let (node, source) = kept.unwrap_or_else(|| (self.person.add_scalar(member), source));
        let sums = self.sums(group);
        let first = sums.slots.len();
        match classes {
            None => sums.slots.push(Slot { source, class: None }),
            Some(count) => sums.slots.extend((0..count).map(|class| Slot { source, class: Some((class, count)) })),
        }
        let (most, name, full) = (sums.most, sums.group, sums.slots.len() > sums.most);
        sums.slots.truncate(most);
        sums.nodes.resize(sums.slots.len() - sums.built_in, node);
        if full {
            self.problems.report(place, format!("more than {most} sums over {name}"));
        }
        first.min(most - 1) as u16
    }

    pub fn sums(&mut self, group: Group) -> &mut Sums {
        match group {
            Group::Members => &mut self.members,
            Group::Residents => &mut self.residents,
        }
    }
}
