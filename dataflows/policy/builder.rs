//! Building what is computed: composition, kin, indicators, criteria, categories and rights, as programs.

use super::bits::Bits;
use super::compile::{Compiler, Scope, State, Type, Value};
use super::concerns::{Concern, Needs, Outputs, SumConcerns};
use super::file::{ABSENT, Packing};
use super::graph::{Block, Code, FIELD_COUNT, Input, Sequence};
use super::load::{ROUNDINGS, braces, described, read_expression, texts};
use super::parts::parts;
use super::program::{Bins, Op, Reg};
use super::programs::{CategoryProgram, Gate, Layout, Machine, Programs};
use super::rights::BenefitProgram;
use super::source::{Entry, Node, Place, Value as Toml};
use super::{
    Assignment, BUILT_IN_SLOTS, Benefit, BenefitKind, Contact, Criterion, DeclaredFault, Field, FieldType, Indicator, Level, Register,
    Texts, ValueKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const COMPOSITION: [&str; 7] = ["exists", "female", "alive", "minor", "student", "dependant", "deprived"];
const MESSAGES: [&str; 8] = ["offer", "repeat", "account", "assigned", "rejected", "lapsed", "unclear", "declined"];
/// Instead of `assigned`, where there is nothing to pay.
const ASSIGNED_IN_KIND: &str = "assigned_in_kind";
/// Parts that a text may take where a package says nothing.
const TEXT_PARTS: usize = 3;
/// Letters of a reason that an agency gives.
const REASON: usize = 40;
const PLACEHOLDERS: [&str; 6] = ["benefit", "amount", "from", "date", "reason", "tag"];

/// Compiles the parts of a package in the order in which they rest on each other.
pub struct Builder<'b, 'c, 'p> {
    pub compiler: Compiler<'c, 'p>,
    pub programs: Programs,
    pub(super) languages: &'b [String],
    /// Nodes of all household indicators.
    values: BTreeSet<usize>,
    composition: BTreeSet<usize>,
    faults: Vec<usize>,
    kin_when: Option<usize>,
    kin_fields: Vec<usize>,
    /// What the right at hand needs, and what those before it do.
    pub(super) right: Needs,
    pub(super) needs: Vec<Needs>,
    /// What score, levels, category and level need.
    standing: BTreeSet<usize>,
}

impl<'b, 'c, 'p> Builder<'b, 'c, 'p> {
    pub fn new(compiler: Compiler<'c, 'p>, languages: &'b [String]) -> Self {
        let mut builder = Builder {
            compiler,
            programs: Programs::default(),
            languages,
            values: BTreeSet::new(),
            composition: BTreeSet::new(),
            faults: Vec::new(),
            kin_when: None,
            kin_fields: Vec::new(),
            right: Needs::default(),
            needs: Vec::new(),
            standing: BTreeSet::new(),
        };
        builder.keep_indicators();
        builder
    }

    /// Gives every indicator its place, so that those of a level lie side by side.
    fn keep_indicators(&mut self) {
        let compiler = &mut self.compiler;
        let count = |level| compiler.drafts.iter().filter(|draft| draft.level == level).count();
        let (people, households) = (count(Level::Person), count(Level::Household));
        let mut next_person = compiler.person.keep(people);
        let mut next_household = compiler.household.keep(households);
        self.programs.person_indicators = (next_person, people);
        self.programs.household_indicators = (next_household, households);
        self.programs.roles = compiler.roles.first;
        self.programs.totals = compiler.household.keep(4);
        for draft in &mut compiler.drafts {
            let next = if draft.level == Level::Person { &mut next_person } else { &mut next_household };
            draft.reg = *next;
            *next = next.saturating_add(1);
        }
    }

    /// A node of the person machine that keeps a value of somebody who has no role yet.
    fn person_node(&mut self, node: &Node, what: &str) -> Option<(Value, usize)> {
        let expression = read_expression(self.compiler.problems, node)?;
        let mut block = Block::guarded(true);
        let value = self.compiler.expression(&expression, Scope::Person, &mut block)?;
        let value = self.compiler.rounded(value, None, expression.place, &mut block)?;
        let reg = self.compiler.person.keep(1);
        block.ops.push(Op::Move(reg, value.reg));
        self.compiler.check_length(&block, expression.place);
        let index = self.compiler.person.add_scalar(block);
        if self.compiler.person.nodes[index].roles {
            let hint = "roles follow from composition, not the other way round";
            self.compiler.problems.report_with_hint(expression.place, format!("{what} must not rest on the person's role"), hint);
        }
        Some((Value { reg, ..value }, index))
    }

    /// Such a node of a condition: its register and its number.
    fn person_condition(&mut self, node: &Node, what: &str) -> Option<(Reg, usize)> {
        let (value, index) = self.person_node(node, what)?;
        Some((self.boolean(value, node.place)?, index))
    }

    fn boolean(&mut self, value: Value, place: Place) -> Option<Reg> {
        if value.kind != Type::Bool {
            self.compiler.problems.report(place, "this must be true or false");
            return None;
        }
        Some(value.reg)
    }

    /// What tied people may know: compiled first, since it makes the register `kin`.
    pub fn kin(&mut self, policy: &Node) {
        let plain = |name: &str, kind: FieldType| Field { name: name.into(), kind, unit: String::new(), optional: false, card: false };
        let kinds = ["spouse", "parent", "child", "guardian", "ward"].map(String::from).to_vec();
        let mut fields = vec![plain("kind", FieldType::Enum(kinds)), plain("person", FieldType::Person)];
        if let Some(node) = policy.get("kin") {
            self.compiler.problems.only(node, &["when", "fields"]);
            let place = node.place;
            match node.get("when") {
                Some(when) => {
                    let condition = self.person_condition(when, "kin");
                    self.programs.kin_when = condition.map(|(reg, _)| reg);
                    self.kin_when = condition.map(|(_, index)| index);
                }
                None => self.compiler.problems.report(place, "`when` is missing: only while it is true is there anything to know"),
            }
            for entry in node.get("fields").map_or(&[][..], Node::entries) {
                if let Some((value, index)) = self.person_node(&entry.node, "kin") {
                    self.kin_fields.push(index);
                    self.programs.kin_fields.push(value.reg);
                    let unit = value.unit.unwrap_or_default();
                    fields.push(Field { unit, optional: true, ..plain(&entry.name, value.kind.field()) });
                }
            }
            if fields.len() > FIELD_COUNT {
                let most = FIELD_COUNT - 2;
                self.compiler.problems.report(place, format!("kin may know at most {most} fields"));
            }
        }
        let packed = (0..fields.len()).collect();
        self.compiler.registers.push(Register {
            id: "kin".into(),
            title: Texts::new(),
            source: "what tied people may know".into(),
            global: false,
            key: "{kind}-{person}".into(),
            cadence_days: i32::MAX,
            retain_months: None,
            period: None,
            fields,
            packed,
            ties: Vec::new(),
            alias: None,
            packing: Packing::default(),
        });
    }

    pub fn composition(&mut self, policy: &Node) {
        if let Some(node) = policy.get("composition") {
            self.compiler.problems.only(node, &COMPOSITION);
            for (index, name) in COMPOSITION.iter().enumerate() {
                if let Some(flag) = node.get(name) {
                    let condition = self.person_condition(flag, "composition");
                    self.programs.flags[index] = condition.map(|(reg, _)| reg);
                    self.composition.extend(condition.map(|(_, index)| index));
                }
            }
        }
        self.compiler.kin = true;
    }

    /// Contradictions, which are looked for together with composition.
    pub fn faults(&mut self, entries: &[Entry]) -> Vec<DeclaredFault> {
        let mut faults = Vec::new();
        for Entry { name, place, node } in entries {
            self.compiler.problems.only(node, &["title", "source", "when"]);
            let (title, source) = described(self.compiler.problems, self.languages, node, *place);
            let Some(when) = node.get("when") else {
                self.compiler.problems.report(*place, "`when` is missing: what contradicts itself");
                continue;
            };
            let condition = self.person_condition(when, "a fault");
            self.programs.faults.extend(condition.map(|(reg, _)| reg));
            self.faults.extend(condition.map(|(_, index)| index));
            faults.push(DeclaredFault { id: name.clone(), title, source });
        }
        faults
    }

    /// The bins of criteria, for `points(..)`.
    pub fn tables<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        for entry in entries {
            if let Some(points) = entry.node.get("points")
                && points.entries().iter().all(|bin| bin.name.starts_with(|first: char| !first.is_ascii_alphabetic()))
                && let Some(bins) = self.integer_bins(points, &Type::Int)
            {
                self.compiler.tables.insert(entry.name.clone(), bins);
            }
        }
    }

    pub fn indicators(&mut self, entries: &[Entry]) -> Vec<Indicator> {
        let mut indicators = Vec::new();
        for index in 0..self.compiler.drafts.len() {
            let place = self.compiler.drafts[index].place;
            let done = self.compiler.indicator(index, place);
            let (id, level) = (self.compiler.drafts[index].id.clone(), self.compiler.drafts[index].level);
            let Some(entry) = entries.iter().find(|entry| entry.name == id) else {
                continue;
            };
            let (title, source) = described(self.compiler.problems, self.languages, &entry.node, entry.place);
            let Some((value, _)) = done else {
                continue;
            };
            if level == Level::Household {
                self.values.extend(self.compiler.drafts[index].node);
            }
            let first = if level == Level::Person { self.programs.person_indicators.0 } else { self.programs.household_indicators.0 };
            let position = usize::from(self.compiler.drafts[index].reg - first);
            let unit = self.compiler.drafts[index].unit.clone().map(|(unit, _)| unit).or(value.unit).unwrap_or_default();
            indicators.push(Indicator { id, title, source, level, unit, kind: value.kind.kind(), position });
        }
        indicators
    }

    /// Criteria, or the points of the second scale.
    pub fn criteria(&mut self, entries: &[Entry], levels: bool) -> Vec<Criterion> {
        let mut criteria: Vec<Criterion> = Vec::new();
        for entry in entries {
            let (title, source) = described(self.compiler.problems, self.languages, &entry.node, entry.place);
            if let Some((reg, doubt)) = self.criterion(entry) {
                if levels {
                    self.programs.levels.push(reg);
                } else {
                    self.programs.criteria.push(reg);
                    self.programs.doubts.push(doubt);
                }
            }
            criteria.push(Criterion { id: entry.name.clone(), title, source });
        }
        criteria
    }

    /// Where its points are, and the reason for which they may be those of not knowing.
    fn criterion(&mut self, entry: &Entry) -> Option<(Reg, Reg)> {
        let node = &entry.node;
        self.compiler.problems.only(node, &["title", "source", "by", "points", "value", "round", "add", "unknown"]);
        let unknown = self.compiler.problems.integer(node, "unknown");
        if node.get("unknown").is_none() {
            self.compiler.problems.report_with_hint(entry.place, "`unknown` is missing", "say what not knowing scores: unknown = 0");
        }
        let mut block = Block::guarded(true);
        let points = match (node.get("by"), node.get("points"), node.get("value")) {
            (Some(by), Some(points), None) => self.binned(by, points, &mut block),
            (None, None, Some(value)) => self.direct(value, node, &mut block),
            _ => {
                self.compiler.problems.report(entry.place, "a criterion has either `by` and `points`, or `value`");
                None
            }
        }?;
        let unknown = self.compiler.household.constant(unknown?);
        let reg = self.compiler.household.keep(1);
        // Defaulting a value to itself keeps the reason of a doubt beside the points.
        let doubt = self.compiler.household.keep(1);
        block.ops.push(Op::Default(doubt, points, points));
        block.ops.push(Op::Default(reg, points, unknown));
        for add in self.compiler.problems.list(node, "add") {
            self.compiler.problems.only(add, &["reason", "when", "points"]);
            let points = self.compiler.problems.integer(add, "points");
            let when = add.get("when").and_then(|when| read_expression(self.compiler.problems, when));
            let (Some(points), Some(when)) = (points, when) else {
                self.compiler.problems.report(add.place, "an addition has `reason`, `when` and `points`");
                continue;
            };
            if let Some(holds) = self.compiler.condition(&when, Scope::Household, &mut block) {
                let points = self.compiler.household.constant(points);
                block.ops.push(Op::AddIf(reg, holds, points));
            }
        }
        self.compiler.check_length(&block, entry.place);
        let index = self.compiler.household.add_scalar(block);
        self.standing.insert(index);
        Some((reg, doubt))
    }

    /// Points by bins of an expression.
    fn binned(&mut self, by: &Node, points: &Node, block: &mut Block) -> Option<Reg> {
        let value = self.binnable(by, Scope::Household, block);
        let kind = value.as_ref().map_or(Type::Int, |value| value.kind.clone());
        let bins = self.integer_bins(points, &kind);
        let (value, bins) = (value?, bins?);
        let table = self.compiler.household.bins(bins);
        let to = block.temporary();
        block.ops.push(Op::Bins(to, value.reg, table));
        Some(to)
    }

    /// A value that bins can be made of.
    pub(super) fn binnable(&mut self, by: &Node, scope: Scope<'_>, block: &mut Block) -> Option<Value> {
        let expression = read_expression(self.compiler.problems, by)?;
        let value = self.compiler.expression(&expression, scope, block)?;
        let value = self.compiler.settled(value, scope, block);
        if value.fraction {
            let hint = "make an indicator of it, with `round`";
            self.compiler.problems.report_with_hint(expression.place, "bins need a whole number, not a fraction", hint);
            return None;
        }
        if !matches!(value.kind, Type::Int | Type::Bool | Type::Enum(_)) {
            self.compiler.problems.report(expression.place, "bins are of numbers, booleans and words");
            return None;
        }
        Some(value)
    }

    /// Points computed by an expression.
    fn direct(&mut self, value: &Node, node: &Node, block: &mut Block) -> Option<Reg> {
        let expression = read_expression(self.compiler.problems, value)?;
        let rounding = self.compiler.problems.word(node, "round", &ROUNDINGS);
        let value = self.compiler.expression(&expression, Scope::Household, block)?;
        self.compiler.number(&value, expression.place)?;
        Some(self.compiler.rounded(value, rounding, expression.place, block)?.reg)
    }

    /// A program that is run on its own; what it needs of a household joins the standing.
    fn household_code(&mut self, node: &Node, boolean: bool) -> Option<Code> {
        let expression = read_expression(self.compiler.problems, node)?;
        let mut block = Block::guarded(true);
        let value = self.compiler.expression(&expression, Scope::Household, &mut block)?;
        if boolean && value.kind != Type::Bool {
            self.compiler.problems.report(expression.place, "a condition must be true or false");
            return None;
        }
        self.compiler.check_length(&block, expression.place);
        self.standing.extend(&block.dependencies);
        Some(Code::new(block.ops, value.reg))
    }

    /// The program whose bins decide: `by`, or a total.
    fn decider(&mut self, node: &Node, total: Reg) -> Option<Code> {
        let Some(by) = node.get("by") else {
            return Some(Code { ops: Vec::new(), result: total });
        };
        let mut block = Block::guarded(true);
        let value = self.binnable(by, Scope::Household, &mut block)?;
        self.standing.extend(&block.dependencies);
        Some(Code::new(block.ops, value.reg))
    }

    pub fn category(&mut self, entry: Option<&Entry>) -> Vec<u8> {
        self.compiler.extras = vec![("score", self.programs.totals), ("level_score", self.programs.totals + 1)];
        let Some(Entry { node, place, .. }) = entry else {
            return Vec::new();
        };
        self.compiler.problems.only(node, &["title", "source", "by", "bins", "hard", "mode", "unknown"]);
        let totals = self.programs.totals;
        let by = self.decider(node, totals);
        let unknown = self.compiler.problems.integer(node, "unknown");
        if node.get("unknown").is_none() {
            self.compiler.problems.report_with_hint(*place, "`unknown` is missing", "say which category not knowing gives");
        }
        let bins = match node.get("bins") {
            Some(bins) => self.integer_bins(bins, &Type::Int),
            None => {
                self.compiler.problems.report(*place, "`bins` is missing");
                None
            }
        };
        let modes = [("all", 0), ("score", 1), ("all_or_score", 2)];
        let mode = self.compiler.problems.word(node, "mode", &modes).unwrap_or(2);
        let hard = if mode == 1 { Vec::new() } else { self.hard_rules(node) };
        let mut bins = bins.unwrap_or(Bins { steps: Vec::new() });
        let mut given: BTreeSet<i64> = bins.steps.iter().map(|(_, category)| *category).filter(|category| *category != ABSENT).collect();
        given.extend(hard.iter().map(|(_, category)| i64::from(*category)));
        given.extend(unknown);
        if given.iter().any(|category| !(1..=255).contains(category)) {
            self.compiler.problems.report(*place, "categories are numbers from 1 to 255");
        }
        if mode == 0 && bins.steps.len() > 1 {
            bins.steps.pop();
        }
        if let (Some(by), Some(unknown)) = (by, unknown) {
            self.programs.category = Some(CategoryProgram { by, bins, hard, unknown });
        }
        self.compiler.extras.push(("category", totals + 2));
        given.into_iter().map(|category| category as u8).collect()
    }

    fn hard_rules(&mut self, node: &Node) -> Vec<(Code, u8)> {
        let mut rules = Vec::new();
        for rule in self.compiler.problems.list(node, "hard") {
            self.compiler.problems.only(rule, &["reason", "when", "category"]);
            let category = self.compiler.problems.integer(rule, "category");
            let when = rule.get("when").and_then(|when| self.household_code(when, true));
            match (when, category) {
                (Some(when), Some(category)) => rules.push((when, category.clamp(0, 255) as u8)),
                _ => self.compiler.problems.report(rule.place, "a hard rule has `reason`, `when` and `category`"),
            }
        }
        rules
    }

    pub fn level(&mut self, entry: Option<&Entry>) -> Vec<String> {
        let Some(Entry { node, place, .. }) = entry else {
            return Vec::new();
        };
        self.compiler.problems.only(node, &["title", "source", "by", "bins"]);
        let by = self.decider(node, self.programs.totals + 1);
        let Some(bins) = node.get("bins") else {
            self.compiler.problems.report(*place, "`bins` is missing");
            return Vec::new();
        };
        let letter = |entry: &Entry| match &entry.node.value {
            Toml::Text(letter) => Some(letter.clone()),
            _ => None,
        };
        let letters: Vec<String> = bins.entries().iter().filter_map(letter).collect::<BTreeSet<_>>().into_iter().collect();
        let bins = self.bins(bins, &Type::Int, false, |builder, node| match &node.value {
            Toml::Text(letter) => letters.iter().position(|known| known == letter).map(|index| index as i64),
            _ => {
                builder.compiler.problems.report(node.place, "a level is a letter in quotes");
                None
            }
        });
        self.programs.level = by.zip(bins);
        self.compiler.extras.push(("level", self.programs.totals + 3));
        letters
    }

    /// The field of a register that a section of policy.toml names.
    fn named_field(&mut self, register: u16, node: &Node, key: &str, packed: bool) -> Option<usize> {
        let (name, place) = self.compiler.problems.text(node, key)?;
        let register = &self.compiler.registers[usize::from(register)];
        let found = match packed {
            true => register.packed.iter().position(|index| register.fields[*index].name == name),
            false => register.fields.iter().position(|field| field.name == name),
        };
        if found.is_none() {
            let known: Vec<&str> = register.fields.iter().map(|field| field.name.as_str()).collect();
            self.compiler.problems.unknown_name(place, format!("{} has no field `{name}`", register.id), name, known);
        }
        found
    }

    pub(super) fn named_register(&mut self, name: &str, place: Place) -> Option<u16> {
        let found = self.compiler.registers.iter().position(|register| register.id == name);
        if found.is_none() {
            let known: Vec<&str> = self.compiler.registers.iter().map(|register| register.id.as_str()).collect();
            self.compiler.problems.unknown_name(place, format!("no register is called `{name}`"), name, known);
        }
        found.map(|index| index as u16)
    }

    pub fn assignment(&mut self, policy: &Node) -> Option<Assignment> {
        let node = policy.get("assignment")?;
        self.compiler.problems.only(node, &["register", "benefit", "from", "until"]);
        let (name, place) = self.compiler.problems.required(node, node.place, "register")?;
        let register = self.named_register(name, place)?;
        self.compiler.problems.required(node, node.place, "benefit");
        let benefit = self.named_field(register, node, "benefit", true)?;
        let declared = &self.compiler.registers[usize::from(register)];
        if !matches!(declared.fields[declared.packed[benefit]].kind, FieldType::Enum(_)) {
            self.compiler.problems.report(node.place, "`benefit` must name an enum field of benefit ids");
            return None;
        }
        let from = self.named_field(register, node, "from", true);
        let until = self.named_field(register, node, "until", true);
        Some(Assignment { register, benefit, from, until })
    }

    /// `register.field`, where the field may be shown only.
    pub fn contact(&mut self, policy: &Node) -> Option<Contact> {
        let node = policy.get("contact")?;
        self.compiler.problems.only(node, &["phone", "language"]);
        let mut found = Vec::new();
        for key in ["phone", "language"] {
            let (path, place) = self.compiler.problems.required(node, node.place, key)?;
            let (register, field) = path.rsplit_once('.').unwrap_or((path, ""));
            let register = self.named_register(register, place)?;
            let fields = &self.compiler.registers[usize::from(register)].fields;
            if !fields.iter().any(|known| known.name == field) {
                let known: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
                let message = format!("this register has no field `{field}`");
                self.compiler.problems.unknown_name(place, message, field, known.iter().map(String::as_str));
                return None;
            }
            found.push((register, field.to_string()));
        }
        let (language, phone) = (found.pop()?, found.pop()?);
        if language.0 != phone.0 {
            self.compiler.problems.report(node.place, "`phone` and `language` must be of one register");
        }
        Some(Contact { register: phone.0, phone: phone.1, language: language.1 })
    }

    /// `region`: a person indicator with words for values.
    pub fn region(&mut self, policy: &Node, indicators: &[Indicator]) -> Option<usize> {
        let (id, place) = self.compiler.problems.text(policy, "region")?;
        let is_region = |known: &&Indicator| known.level == Level::Person && matches!(known.kind, ValueKind::Enum(_));
        let found = indicators.iter().position(|known| known.id == id && is_region(&known));
        if found.is_none() {
            let known: Vec<String> = indicators.iter().filter(is_region).map(|known| known.id.clone()).collect();
            let message = format!("`{id}` is no person indicator of an enum");
            self.compiler.problems.unknown_name(place, message, id, known.iter().map(String::as_str));
        }
        found
    }

    /// What a story's people write must go to registers that there are.
    pub fn story(&mut self, policy: &Node) {
        let Some(node) = policy.get("story") else {
            return;
        };
        self.compiler.problems.only(node, &["people"]);
        for row in self.compiler.problems.list(node, "people") {
            if let Some((name, place)) = self.compiler.problems.required(row, row.place, "register") {
                self.named_register(name, place);
            }
        }
    }

    pub fn messages(&mut self, entries: &[Entry], benefits: &[Benefit]) -> BTreeMap<String, Texts> {
        let notices: Vec<&str> = benefits
            .iter()
            .filter(|benefit| benefit.kind == BenefitKind::Notice && !benefit.to_worker)
            .map(|benefit| benefit.id.as_str())
            .collect();
        let mut messages = BTreeMap::new();
        for entry in entries {
            let known = || MESSAGES.iter().chain(&notices).copied().chain([ASSIGNED_IN_KIND]);
            if !known().any(|known| known == entry.name) {
                let known = known();
                self.compiler.problems.unknown_name(entry.place, format!("there is no message `{}`", entry.name), &entry.name, known);
            }
            for text in entry.node.entries() {
                if let Toml::Text(content) = &text.node.value {
                    for name in braces(content).filter(|name| !PLACEHOLDERS.contains(name)) {
                        let message = format!("there is no placeholder `{{{name}}}`");
                        self.compiler.problems.unknown_name(text.node.place, message, name, PLACEHOLDERS);
                    }
                }
            }
            let texts = texts(self.compiler.problems, self.languages, entry, &format!("the message `{}`", entry.name));
            messages.insert(entry.name.clone(), texts);
        }
        let offered = |kind| benefits.iter().any(|benefit| benefit.proactive.is_some() && benefit.kind == kind);
        let (paid, given) = (offered(BenefitKind::Payment), offered(BenefitKind::InKind));
        let needed = MESSAGES.iter().filter(|_| paid || given).chain(&notices).copied().chain(given.then_some(ASSIGNED_IN_KIND));
        let missing: Vec<&str> = needed.filter(|name| !messages.contains_key(*name)).collect();
        if !missing.is_empty() {
            let place = entries.first().map_or(Place { file: u32::MAX, at: 0 }, |entry| Place { at: 0, ..entry.place });
            self.compiler.problems.report(place, format!("messages.toml has no {}", missing.join(", ")));
        }
        messages
    }

    /// `text_parts`, and that no message takes more, whatever it is about. Of what an agency writes [`REASON`] letters are counted.
    pub fn text_parts(&mut self, policy: &Node, entries: &[Entry], benefits: &[Benefit]) -> usize {
        let most = self.compiler.problems.integer(policy, "text_parts").map_or(TEXT_PARTS, |parts| parts.max(1) as usize);
        for entry in entries {
            for text in entry.node.entries() {
                let Toml::Text(template) = &text.node.value else { continue };
                let (parts, about) = longest(template, &text.name, &entry.name, benefits);
                if parts > most {
                    let message =
                        format!("about `{about}` it takes {parts} parts of a short message; the package allows {most} (`text_parts`)");
                    self.compiler.problems.report_with_hint(text.node.place, message, "say it in fewer words");
                }
            }
        }
        most
    }

    /// Turns what was compiled into what runs.
    pub fn finish_plans(&mut self, benefits: &[Benefit], region: Option<usize>) {
        let compiler = &mut self.compiler;
        if compiler.person.too_large() || compiler.household.too_large() {
            compiler.problems.report(Place { file: u32::MAX, at: 0 }, "the package computes more values than the engine has room for");
        }
        let registers = compiler.registers.len();
        let done = |draft: &super::compile::Draft| match draft.state {
            State::Done(..) if draft.level == Level::Person => draft.node,
            _ => None,
        };
        let indicators: BTreeSet<usize> = compiler.drafts.iter().filter_map(done).collect();
        let filled = compiler.members.nodes.iter().chain(&compiler.residents.nodes).copied().collect();
        let household_needs = self.needs.iter().flat_map(|needs| &needs.household);
        let decided: BTreeSet<usize> = self.standing.iter().chain(household_needs).copied().collect();
        let programs = &mut self.programs;
        let looked = self.composition.iter().chain(&self.faults).copied().collect();
        let roles = compiler.roles.first..compiler.roles.first + 7;
        let needed = |roots: &BTreeSet<usize>| compiler.person.needed(roots).into_iter().collect();
        programs.sequence = compiler.person.sequence(registers, roles.clone());
        programs.composition = needed(&looked);
        programs.placing = needed(&self.composition);
        programs.kin_known = needed(&self.kin_when.into_iter().collect());
        programs.kin = needed(&self.kin_fields.iter().copied().collect());
        programs.person_values = needed(&indicators);
        let written_by = |node: &usize, reg: Reg| programs.sequence.written[programs.sequence.written_by(*node)].contains(&reg);
        let region = region.map(|position| programs.person_indicators.0 + position as Reg);
        programs.region =
            needed(&region.and_then(|reg| (0..programs.sequence.nodes()).find(|node| written_by(node, reg))).into_iter().collect());
        programs.filled = needed(&filled);
        programs.needs = self.needs.iter().map(|needs| needed(&needs.person)).collect();
        programs.gates = vec![Vec::new(); benefits.len()];
        for (indices, are_claims) in [(&programs.own_benefits, false), (&programs.claims, true)] {
            for index in indices.iter().map(|index| usize::from(*index)) {
                programs.gates[index] = gates(&benefits[index], are_claims, &programs.benefits[index], &programs.sequence, &roles);
            }
        }
        programs.slot_nodes = [&vec![usize::MAX; BUILT_IN_SLOTS][..], &compiler.members.nodes, &compiler.residents.nodes].concat();
        programs.fillers = [&compiler.members.nodes, &compiler.residents.nodes].map(|nodes| nodes.iter().copied().collect());
        programs.filled_by = vec![0..0; programs.sequence.nodes()];
        for (slot, node) in programs.slot_nodes.iter().enumerate().skip(BUILT_IN_SLOTS) {
            let slots = &mut programs.filled_by[*node];
            *slots = if slots.end == 0 { slot as u16 } else { slots.start }..slot as u16 + 1;
        }
        let set = |benefits: &[u16]| benefits.iter().map(|benefit| usize::from(*benefit)).collect();
        (programs.own_set, programs.claim_set) = (set(&programs.own_benefits), set(&programs.claims));
        let of_node = |node: &usize| if *node == usize::MAX { Bits::default() } else { needed(&BTreeSet::from([*node])) };
        programs.slot_needs = programs.slot_nodes.iter().map(of_node).collect();
        programs.fault_needs = self.faults.iter().map(of_node).collect();
        programs.fault_nodes = self.faults.clone();
        programs.judgement = compiler.household.program(&decided);
        let all: BTreeSet<usize> = self.values.union(&decided).copied().collect();
        programs.judgement_with_values = compiler.household.program(&all);
        self.concerns(registers, benefits);
        let (compiler, programs) = (&mut self.compiler, &mut self.programs);
        programs.person = Machine { inputs: compiler.person.inputs(), bins: std::mem::take(&mut compiler.person.bins) };
        let readers = |(reg, input): &(Reg, Input)| match input {
            Input::Constant(_) => Bits::default(),
            _ => compiler.person.readers(*reg).into_iter().collect(),
        };
        programs.input_readers = programs.person.inputs.iter().map(readers).collect();
        programs.household = Machine { inputs: compiler.household.inputs(), bins: std::mem::take(&mut compiler.household.bins) };
        programs.slots = [&compiler.members.slots[..], &compiler.residents.slots].concat();
        programs.windows = compiler.windows.clone();
        programs.years = compiler.years;
        let layout =
            |register: &Register| Layout { shape: register.packing.shape, period: register.period, retain_months: register.retain_months };
        programs.layouts = compiler.registers.iter().map(layout).collect();
    }

    /// What changes of each register's records, and of each slot, concern.
    fn concerns(&mut self, registers: usize, benefits: &[Benefit]) {
        let (compiler, programs) = (&self.compiler, &mut self.programs);
        let grounds: Vec<Option<u16>> = benefits.iter().map(|benefit| benefit.ground_register).collect();
        let outputs = Outputs {
            composition: &self.composition,
            faults: &self.faults,
            kin_when: self.kin_when,
            kin_fields: &self.kin_fields,
            slots: &programs.slot_nodes[BUILT_IN_SLOTS..],
            first_slot: BUILT_IN_SLOTS,
            own_benefits: &programs.own_benefits,
            claims: &programs.claims,
            needs: &self.needs,
            grounds: &grounds,
        };
        let concern = |register: u16| {
            let concern = Concern::new(register, &compiler.person, &outputs);
            let ties = !compiler.registers[usize::from(register)].ties.is_empty();
            Concern { composition: concern.composition || ties, ..concern }
        };
        programs.concerns = (0..registers as u16).map(concern).collect();
        let category = programs.category.iter().flat_map(|category| category.hard.iter().map(|(code, _)| code).chain([&category.by]));
        let standing = category.chain(programs.level.iter().map(|(code, _)| code)).collect();
        let totals = programs.totals..programs.totals + 4;
        programs.sum_concerns = SumConcerns::new(
            compiler.members.slots.len(),
            &compiler.household,
            (&self.standing, standing),
            &self.needs,
            &programs.benefits,
            totals,
        );
    }
}

/// The conditions of a right that rest on nothing but records of certain registers, and without which it is none.
fn gates(benefit: &Benefit, is_claim: bool, program: &BenefitProgram, sequence: &Sequence, roles: &Range<Reg>) -> Vec<Gate> {
    let gate = |code: &Code| Some(Gate { code: code.clone(), shown_by: sequence.shows(code, roles)? });
    if is_claim {
        return program.inputs.iter().filter(|input| input.gate && !benefit.answers).filter_map(|input| gate(&input.code)).collect();
    }
    let due = if benefit.answers { benefit.standing } else { program.conditions.len() };
    program.conditions.iter().take(due).filter_map(gate).collect()
}

/// The most parts that a message takes in a language, and about which benefit.
pub fn longest<'b>(template: &str, language: &str, message: &str, benefits: &'b [Benefit]) -> (usize, &'b str) {
    let is_meant = |benefit: &&Benefit| match message {
        ASSIGNED_IN_KIND => benefit.kind == BenefitKind::InKind,
        _ => benefit.id == message || MESSAGES.contains(&message) && benefit.kind != BenefitKind::Notice,
    };
    let told = |benefit: &'b Benefit| {
        let title = benefit.title.get(language).unwrap_or(&benefit.id);
        let text = template.replace("{benefit}", title).replace("{amount}", "9 999 999").replace("{from}", "31.12.2026");
        let text = text.replace("{date}", "31.12.2026").replace("{reason}", &"ж".repeat(REASON)).replace("{tag}", " 99");
        (parts(&text), benefit.id.as_str())
    };
    benefits.iter().filter(|benefit| !benefit.to_worker).filter(is_meant).map(told).max().unwrap_or((0, ""))
}
