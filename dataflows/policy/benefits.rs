//! Building rights: what they are founded on, their conditions, what they pay, and which of them exclude each other.

use super::builder::Builder;
use super::compile::{Group, Scope, Type, own_scope};
use super::expression::{Expression, Kind, parse};
use super::graph::{Block, Code, SUMS};
use super::load::{ASSUMED, LEVELS, Package, ROUNDINGS, described, read_expression};
use super::program::{Op, Reg, Rounding};
use super::rights::BenefitProgram;
use super::source::{Entry, Node, Place, Problems, Value as Toml};
use super::{Assignment, Benefit, BenefitKind, FieldType, Level, Period, Recipient};
use crate::model::Date;

/// What a benefit's file may say.
const MEMBERS: [&str; 22] = [
    "id",
    "title",
    "source",
    "of",
    "recipient",
    "ground",
    "period",
    "kind",
    "budget",
    "inherit",
    "proactive",
    "consent",
    "debounce_days",
    "priority",
    "from",
    "until",
    "excludes",
    "answers",
    "to",
    "while",
    "when",
    "amount",
];

/// A refusal names failed conditions by the bits of one number, two of which say other things.
const CONDITIONS_MAX: usize = 62;

impl Builder<'_, '_, '_> {
    /// Rights, sorted by id.
    pub fn benefits(&mut self, package: &Package, assignment: Option<Assignment>) -> Vec<Benefit> {
        let mut files: Vec<&(String, Node)> = package.benefits.iter().collect();
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let inherited = package.policy.get("inherit");
        let mut benefits = Vec::new();
        let mut excludes = Vec::new();
        for (name, node) in files {
            let (benefit, program) = self.benefit(name, node, inherited, assignment);
            excludes.push(self.compiler.problems.texts(node, "excludes"));
            benefits.push(benefit);
            self.programs.benefits.push(program);
        }
        for (index, names) in excludes.iter().enumerate() {
            for (name, place) in names {
                match benefits.iter().position(|other| other.id == *name) {
                    Some(other) => self.programs.benefits[index].excludes.push(other as u16),
                    None => {
                        let known = benefits.iter().map(|benefit| benefit.id.as_str());
                        self.compiler.problems.unknown_name(*place, format!("no benefit is called `{name}`"), name, known);
                    }
                }
            }
        }
        self.stacking(&benefits, &excludes);
        let founds = |register| benefits.iter().any(|benefit: &Benefit| benefit.ground_register == Some(register));
        self.programs.founding = (0..self.compiler.registers.len() as u16).map(founds).collect();
        benefits
    }

    /// Gives every right that excludes or is excluded its turn, after those that it excludes.
    fn stacking(&mut self, benefits: &[Benefit], excludes: &[Vec<(&str, Place)>]) {
        let mut order: Vec<u16> = Vec::new();
        while order.len() < benefits.len() {
            let ready = |index: &u16| {
                let program = &self.programs.benefits[usize::from(*index)];
                !order.contains(index) && program.excludes.iter().all(|other| order.contains(other))
            };
            let Some(next) = (0..benefits.len() as u16).find(ready) else {
                let circle = self.circle(&order);
                let place = excludes[circle[0]].first().map_or(Place::default(), |(_, place)| *place);
                let names: Vec<&str> = circle.iter().map(|index| benefits[*index].id.as_str()).collect();
                self.compiler.problems.report(place, format!("`{}` excludes itself: {}", names[0], names.join(" → ")));
                break;
            };
            order.push(next);
        }
        let excluded = |index: u16| self.programs.benefits.iter().any(|program| program.excludes.contains(&index));
        let stacked = |index: u16| excluded(index) || !self.programs.benefits[usize::from(index)].excludes.is_empty();
        let turn = |index: u16| order.iter().position(|other| *other == index).map(|turn| turn as u16).filter(|_| stacked(index));
        self.programs.stacking = (0..benefits.len() as u16).map(turn).collect();
    }

    /// Rights each of which excludes the next, the last one the first; `free` are in no such circle.
    fn circle(&self, free: &[u16]) -> Vec<usize> {
        let next = |index: usize| {
            self.programs.benefits[index].excludes.iter().find(|other| !free.contains(other)).map(|other| usize::from(*other))
        };
        let mut path: Vec<usize> = Vec::new();
        let mut at = (0..self.programs.benefits.len()).find(|index| !free.contains(&(*index as u16)));
        while let Some(index) = at {
            path.push(index);
            if let Some(first) = path.iter().position(|other| *other == index).filter(|first| first + 1 < path.len()) {
                return path.split_off(first);
            }
            at = next(index);
        }
        path
    }

    fn benefit(&mut self, name: &str, node: &Node, inherited: Option<&Node>, assignment: Option<Assignment>) -> (Benefit, BenefitProgram) {
        let (place, mut benefit) = (node.place, self.declared(name, node));
        benefit.ground_register = self.ground(node, benefit.level);
        self.applications(node, &mut benefit);
        let scope = match benefit.level {
            Level::Household => Scope::Household,
            Level::Person if self.reads_household(node, inherited) => Scope::Claim { ground: benefit.ground_register },
            Level::Person => own_scope(benefit.ground_register),
        };
        let (reasons, conditions) = self.conditions(node, inherited, benefit.level, scope);
        if conditions.len() > CONDITIONS_MAX {
            self.compiler.problems.report(place, format!("a right has at most {CONDITIONS_MAX} conditions"));
        }
        benefit.reasons = reasons;
        let mut program = BenefitProgram { conditions, ..BenefitProgram::default() };
        benefit.unit = self.amount(node, benefit.kind, scope, &mut program);
        benefit.assumed = node.get("amount").is_some_and(|amount| self.is_assumed(amount));
        program.from = node.get("from").and_then(|from| self.date_code(from, scope));
        program.until = node.get("until").and_then(|until| self.date_code(until, scope));
        match node.get("proactive") {
            Some(staged) if matches!(staged.value, Toml::Table(_)) => {
                program.proactive = self.staged(staged, scope, &mut benefit.proactive);
            }
            _ => benefit.proactive = self.compiler.problems.date(node, "proactive"),
        }
        program.held = assignment.and_then(|assignment| self.held(name, scope, benefit.kind, assignment, place));
        program.inputs = std::mem::take(&mut self.compiler.claim_inputs);
        program.residents = std::mem::take(&mut self.compiler.reads_residents);
        self.right.person.append(&mut self.compiler.claim_nodes);
        self.needs.push(std::mem::take(&mut self.right));
        let index = self.programs.benefits.len() as u16;
        match scope {
            Scope::Household => self.programs.household_benefits.push(index),
            Scope::Claim { .. } => self.programs.claims.push(index),
            _ => self.programs.own_benefits.push(index),
        }
        (benefit, program)
    }

    /// What a benefit's file says of it in words and numbers; its expressions are still to be compiled.
    fn declared(&mut self, name: &str, node: &Node) -> Benefit {
        let (place, problems) = (node.place, &mut *self.compiler.problems);
        problems.only(node, &MEMBERS);
        if let Some((id, at)) = problems.required(node, place, "id")
            && id != name
        {
            problems.report_with_hint(at, format!("`id` is \"{id}\", but the file is {name}.toml"), "make them equal");
        }
        let (title, source) = described(problems, self.languages, node, place);
        problems.required(node, place, "of");
        let level = problems.word(node, "of", &LEVELS).unwrap_or(Level::Person);
        let recipients = [("head", Recipient::Head), ("mother, else head", Recipient::Head)];
        let recipient = match level {
            Level::Person => problems.word(node, "recipient", &[("self", Recipient::Own)]).unwrap_or(Recipient::Own),
            Level::Household => {
                problems.required(node, place, "recipient");
                problems.word(node, "recipient", &recipients).unwrap_or(Recipient::Head)
            }
        };
        let periods = [("once", Period::Once), ("month", Period::Month), ("quarter", Period::Quarter), ("open", Period::Open)];
        problems.required(node, place, "period");
        let kinds = [("payment", BenefitKind::Payment), ("in kind", BenefitKind::InKind), ("notice", BenefitKind::Notice)];
        Benefit {
            id: name.to_string(),
            title,
            source,
            level,
            recipient,
            ground_register: None,
            period: problems.word(node, "period", &periods).unwrap_or(Period::Open),
            kind: problems.word(node, "kind", &kinds).unwrap_or(BenefitKind::Payment),
            answers: problems.boolean(node, "answers").unwrap_or(false),
            standing: 0,
            to_worker: problems.word(node, "to", &[("person", false), ("worker", true)]).unwrap_or(false),
            budget: problems.text(node, "budget").map(|(text, _)| text.to_string()).unwrap_or_default(),
            proactive: None,
            consent: problems.boolean(node, "consent").unwrap_or(false),
            debounce_days: problems.integer(node, "debounce_days").unwrap_or(0),
            priority: problems.integer(node, "priority").unwrap_or(0),
            unit: String::new(),
            assumed: false,
            reasons: Vec::new(),
        }
    }

    /// Whether its ground is a register of applications, and under how many conditions one of them stands.
    fn applications(&mut self, node: &Node, benefit: &mut Benefit) {
        let problems = &mut *self.compiler.problems;
        if benefit.answers && benefit.ground_register.is_none() {
            problems.report_with_hint(node.place, "`answers` needs applications to answer", "ground = a register of applications");
        }
        let Some(standing) = node.get("while") else { return };
        benefit.standing = standing.entries().len();
        if !benefit.answers {
            let hint = "put its conditions under [when]";
            problems.report_with_hint(standing.place, "`while` is of applications, with `answers = true`", hint);
        }
    }

    /// Whether a person's right reads values of the household. Mistakes are reported when it is compiled.
    fn reads_household(&self, node: &Node, inherited: Option<&Node>) -> bool {
        let group = match node.get("inherit").map(|name| &name.value) {
            Some(Toml::Text(name)) => inherited.and_then(|inherited| inherited.get(name)?.get("person")),
            _ => None,
        };
        let of = |table: &str, key: &str| node.get(table).and_then(|table| table.get(key));
        let whole = [node.get("from"), node.get("until"), of("proactive", "by"), of("amount", "value"), of("amount", "by")];
        let tables = [group, node.get("while"), node.get("when"), of("amount", "pay")];
        let entries = tables.into_iter().flatten().flat_map(Node::entries).map(|entry| &entry.node);
        whole.into_iter().flatten().chain(entries).any(|node| match &node.value {
            Toml::Text(text) => {
                parse(text, node.place, &mut Problems::new(&[])).is_some_and(|read| self.compiler.reads(&read, Level::Household))
            }
            _ => false,
        })
    }

    fn ground(&mut self, node: &Node, level: Level) -> Option<u16> {
        let (ground, place) = self.compiler.problems.text(node, "ground")?;
        if ground == "constant" {
            return None;
        }
        if level == Level::Household {
            self.compiler.problems.report(place, "a household's right has `ground = \"constant\"`; only people have records");
            return None;
        }
        self.named_register(ground, place)
    }

    /// Remembers what a program of a right needs.
    fn right_code(&mut self, block: Block, result: Reg, scope: Scope<'_>, place: Place) -> Code {
        self.compiler.check_length(&block, place);
        match scope {
            Scope::Household | Scope::Claim { .. } => self.right.household.extend(&block.dependencies),
            _ => self.right.person.extend(&block.dependencies),
        }
        Code::new(block.ops, result)
    }

    /// The conditions of a right: those under which an application stands first, inherited ones next.
    fn conditions(&mut self, node: &Node, inherited: Option<&Node>, level: Level, scope: Scope<'_>) -> (Vec<String>, Vec<Code>) {
        let mut entries: Vec<&Entry> = node.get("while").map_or(&[][..], Node::entries).iter().collect();
        if let Some((name, place)) = self.compiler.problems.text(node, "inherit") {
            let group = inherited.and_then(|inherited| inherited.get(name));
            match group {
                Some(group) => {
                    self.compiler.problems.only(group, &["person", "household"]);
                    let side = if level == Level::Person { "person" } else { "household" };
                    entries.extend(group.get(side).map_or(&[][..], Node::entries));
                }
                None => {
                    let known = inherited.map_or(&[][..], Node::entries).iter().map(|entry| entry.name.as_str());
                    self.compiler.problems.unknown_name(place, format!("policy.toml has no [inherit.{name}]"), name, known);
                }
            }
        }
        entries.extend(node.get("when").map_or(&[][..], Node::entries));
        if entries.is_empty() {
            self.compiler.problems.report(node.place, "`when` is missing: a right has at least one condition");
        }
        let (mut reasons, mut conditions): (Vec<String>, Vec<Code>) = (Vec::new(), Vec::new());
        for entry in entries {
            if reasons.contains(&entry.name) {
                self.compiler.problems.report(entry.place, format!("the condition `{}` is there twice", entry.name));
            }
            reasons.push(entry.name.clone());
            let Some(expression) = read_expression(self.compiler.problems, &entry.node) else {
                continue;
            };
            let mut block = Block::default();
            if let Some(result) = self.compiler.condition(&expression, scope, &mut block) {
                if let Some(input) = self.compiler.claim_inputs.last_mut() {
                    input.gate |= input.reg == result;
                }
                conditions.push(self.right_code(block, result, scope, expression.place));
            }
        }
        (reasons, conditions)
    }

    fn date_code(&mut self, node: &Node, scope: Scope<'_>) -> Option<Code> {
        let expression = read_expression(self.compiler.problems, node)?;
        let mut block = Block::guarded(true);
        let value = self.compiler.expression(&expression, scope, &mut block)?;
        if value.kind != Type::Date {
            self.compiler.problems.report(expression.place, "a date is needed here");
            return None;
        }
        Some(self.right_code(block, value.reg, scope, expression.place))
    }

    /// A start of offers that is not the same for everybody; `first` becomes the earliest.
    fn staged(&mut self, node: &Node, scope: Scope<'_>, first: &mut Option<Date>) -> Option<Code> {
        self.compiler.problems.only(node, &["by", "from"]);
        let (Some(by), Some(from)) = (node.get("by"), node.get("from")) else {
            let message = "`proactive` is a date, or has `by` and `from`: { by = \"…\", from = { \"1\" = 2025-09-01 } }";
            self.compiler.problems.report(node.place, message);
            return None;
        };
        let mut block = Block::guarded(true);
        let value = self.binnable(by, scope, &mut block)?;
        let bins = self.bins(from, &value.kind, true, |builder, node| {
            let Toml::Date(date) = node.value else {
                builder.compiler.problems.report(node.place, "a date is needed here, such as 2025-09-01");
                return None;
            };
            *first = Some(first.map_or(date, |first| first.min(date)));
            Some(i64::from(date.0))
        })?;
        let (table, to) = (self.compiler.graph(scope).bins(bins), block.temporary());
        block.ops.push(Op::Bins(to, value.reg, table));
        Some(self.right_code(block, to, scope, node.place))
    }

    /// What a right pays; the answer is the unit.
    fn amount(&mut self, node: &Node, kind: BenefitKind, scope: Scope<'_>, program: &mut BenefitProgram) -> String {
        let amount = match (node.get("amount"), kind) {
            (Some(amount), BenefitKind::Payment) => amount,
            (Some(amount), _) => {
                self.compiler.problems.report(amount.place, "only a payment has an amount");
                return String::new();
            }
            (None, kind) => {
                if kind == BenefitKind::Payment {
                    let message = "`[amount]` is missing; a right without one is `kind = \"notice\"` or \"in kind\"";
                    self.compiler.problems.report(node.place, message);
                }
                return String::new();
            }
        };
        let place = amount.place;
        self.compiler.problems.only(amount, &["source", "unit", "round", "by", "pay", "value"]);
        let unit = self.compiler.problems.required(amount, place, "unit").map(|(unit, _)| unit.to_string()).unwrap_or_default();
        let rounding = self.compiler.problems.word(amount, "round", &ROUNDINGS);
        let mut block = Block::guarded(true);
        self.compiler.decimals = true;
        let result = match (amount.get("value"), amount.get("by"), amount.get("pay")) {
            (Some(value), None, None) => self.sum_of_money(value, &unit, rounding, scope, &mut block),
            (None, Some(by), Some(pay)) => self.paid_by(by, pay, &unit, rounding, scope, &mut block),
            _ => {
                self.compiler.problems.report(place, "an amount has either `value`, or `by` and `pay`");
                None
            }
        };
        self.compiler.decimals = false;
        program.amount = result.map(|result| self.right_code(block, result, scope, place));
        unit
    }

    /// Whether an amount has no source: by its mark, or by that of a parameter that it names.
    fn is_assumed(&mut self, amount: &Node) -> bool {
        let marked = self.compiler.problems.text(amount, "source").is_some_and(|(source, _)| source.contains(ASSUMED));
        let rates = amount.get("pay").map_or(&[][..], Node::entries).iter().map(|rate| &rate.node).chain(amount.get("value"));
        let rates: Vec<Expression> = rates.filter_map(|rate| read_expression(self.compiler.problems, rate)).collect();
        let assumed = |name: &str| self.compiler.parameters.iter().any(|parameter| parameter.assumed && parameter.id == name);
        marked || rates.iter().any(|rate| rate.any(&|part| matches!(&part.kind, Kind::Name(name) if assumed(name))))
    }

    fn sum_of_money(&mut self, node: &Node, unit: &str, rounding: Option<Rounding>, scope: Scope<'_>, block: &mut Block) -> Option<Reg> {
        let expression = read_expression(self.compiler.problems, node)?;
        let value = self.compiler.expression(&expression, scope, block)?;
        self.compiler.number(&value, expression.place)?;
        if let Some(actual) = value.unit.clone()
            && actual != unit
        {
            self.compiler.problems.report(expression.place, format!("the amount is in {unit}, but this is in {actual}"));
        }
        Some(self.compiler.rounded(value, rounding, expression.place, block)?.reg)
    }

    /// An amount by bins; between them nothing is paid.
    fn paid_by(
        &mut self,
        by: &Node,
        pay: &Node,
        unit: &str,
        rounding: Option<Rounding>,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Reg> {
        let value = self.binnable(by, scope, block)?;
        let mut given: Vec<Node> = Vec::new();
        let bins = self.bins(pay, &value.kind, true, |_, node| {
            given.push(node.clone());
            Some(given.len() as i64 - 1)
        })?;
        let (chosen, to) = (block.temporary(), block.temporary());
        let graph = self.compiler.graph(scope);
        let (table, zero) = (graph.bins(bins), graph.constant(0));
        block.ops.extend([Op::Bins(chosen, value.reg, table), Op::Move(to, zero)]);
        let unknown = block.reserve();
        for (index, node) in given.iter().enumerate() {
            let index = self.compiler.constant(scope, index as i64);
            let equal = self.compiler.emit(block, |to| Op::Eq(to, chosen, index)).reg;
            // Between bins, or in another one: pay nothing from this one.
            let here = self.compiler.emit(block, |to| Op::Default(to, equal, zero)).reg;
            let skip = block.reserve();
            let amount = self.sum_of_money(node, unit, rounding, scope, block)?;
            block.ops.push(Op::Move(to, amount));
            block.ops[skip] = Op::SkipIfFalse(here, block.since(skip));
        }
        block.ops[unknown] = Op::SkipIfUnknown(to, value.reg, block.since(unknown));
        Some(to)
    }

    /// Where it stands whether a right is held by an assignment in force: of the person, or of how many members.
    fn held(&mut self, benefit: &str, scope: Scope<'_>, gives: BenefitKind, assignment: Assignment, place: Place) -> Option<Reg> {
        let register = &self.compiler.registers[usize::from(assignment.register)];
        let name = |position: usize| register.fields[register.packed[position]].name.clone();
        let kind = &register.fields[register.packed[assignment.benefit]].kind;
        if !matches!(kind, FieldType::Enum(words) if words.iter().any(|word| word == benefit)) {
            if gives == BenefitKind::Payment {
                let message = format!("`{benefit}` is not among the words of {}.{}", register.id, name(assignment.benefit));
                self.compiler.problems.report_with_hint(place, message, "add it to the enum, so that it can be held");
            }
            return None;
        }
        let mut text = format!("{}.exists(r, r.{} == '{benefit}'", register.id, name(assignment.benefit));
        text += &match (assignment.from.map(name), assignment.until.map(name)) {
            (Some(from), Some(until)) => format!(" && active(r.{from}, r.{until})"),
            (Some(from), None) => format!(" && past(r.{from})"),
            (None, Some(until)) => format!(" && (!has(r.{until}) || !past(r.{until}))"),
            (None, None) => String::new(),
        };
        text.push(')');
        let expression = parse(&text, place, self.compiler.problems)?;
        let mut block = Block::guarded(true);
        let own_scope = if let Scope::Claim { .. } = scope { Scope::Claim { ground: None } } else { Scope::Person };
        // An assignment that was told of stands, however long nothing was heard of others.
        self.compiler.despite_silence = true;
        let value = self.compiler.expression(&expression, own_scope, &mut block);
        self.compiler.despite_silence = false;
        let value = value?;
        if let Scope::Claim { .. } = scope {
            return Some(value.reg);
        }
        if !matches!(scope, Scope::Household) {
            self.right.person.extend(&block.dependencies);
            return Some(value.reg);
        }
        let source = self.compiler.person.keep(1);
        block.ops.push(Op::Move(source, value.reg));
        Some(SUMS + self.compiler.add_slot(Group::Members, block, source, None, place))
    }
}
