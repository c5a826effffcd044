//! List macros: over a register they become folds of the person's file, over `members` or `residents` they become additive slots.

use super::Level;
use super::compile::{Compiler, Group, Scope, Type, Value};
use super::expression::{Expression, Kind, canonical};
use super::graph::{Block, Code, Fold, FoldKind, SLOTS};
use super::program::{Op, Reg};
use super::source::Place;

struct Step<'e> {
    variable: &'e str,
    body: &'e Expression,
}

enum End<'e> {
    Size,
    Sum,
    Max,
    Min,
    Exists(Step<'e>),
    All(Step<'e>),
    Distinct(Step<'e>),
}

/// `root.filter(..).map(..).end()`, taken apart.
struct Chain<'e> {
    root: String,
    place: Place,
    filters: Vec<Step<'e>>,
    map: Option<Step<'e>>,
    end: End<'e>,
}

/// A condition on the way into a filter.
struct Condition<'c, 'e> {
    step: &'c Step<'e>,
    negated: bool,
}

impl<'e> Chain<'e> {
    /// All conditions that a record must meet to be counted; `all` counts those that break its own.
    fn conditions(&self) -> Vec<Condition<'_, 'e>> {
        let mut conditions: Vec<_> = self.filters.iter().map(|step| Condition { step, negated: false }).collect();
        match &self.end {
            End::Exists(step) => conditions.push(Condition { step, negated: false }),
            End::All(step) => conditions.push(Condition { step, negated: true }),
            _ => {}
        }
        conditions
    }

    /// What is taken of each record.
    fn value(&self) -> Option<&Step<'e>> {
        match &self.end {
            End::Distinct(step) => Some(step),
            End::Sum | End::Max | End::Min => self.map.as_ref(),
            _ => None,
        }
    }
}

/// Equal for conditions that are the same but for the variable's name.
fn filter_key(conditions: &[Condition<'_, '_>]) -> String {
    let texts = conditions.iter().map(|condition| {
        let text = canonical(condition.step.body, condition.step.variable);
        if condition.negated { format!("!({text})") } else { text }
    });
    texts.collect::<Vec<_>>().join(" && ")
}

impl Compiler<'_, '_> {
    /// A list macro: `target.name(arguments)`.
    pub fn list(
        &mut self,
        target: &Expression,
        name: &str,
        arguments: &[Expression],
        place: Place,
        scope: Scope<'_>,
        block: &mut Block,
    ) -> Option<Value> {
        let chain = self.chain(target, name, arguments, place)?;
        match scope {
            Scope::Person | Scope::Record { lists: true, .. } => {}
            Scope::Household if chain.root == "members" => return self.over_group(Group::Members, chain, place, block),
            Scope::Claim { .. } if chain.root == "residents" => {
                self.reads_residents = true;
                return self.over_group(Group::Residents, chain, place, block);
            }
            _ if chain.root == "residents" => {
                let hint = "a housing measure is a right of the person who asks for it, and sums over those registered where they are";
                self.problems.report_with_hint(chain.place, "`residents` is known to rights of people only", hint);
                return None;
            }
            Scope::Household => {
                let hint = "make an indicator of the person from it and sum that over members";
                self.problems.report_with_hint(
                    place,
                    format!("`{}` is a list of a person; households have only `members`", chain.root),
                    hint,
                );
                return None;
            }
            Scope::Claim { .. } => {
                let hint = "make an indicator of the list, and compare that";
                self.problems.report_with_hint(place, "a macro over records does not know the household's values", hint);
                return None;
            }
            Scope::Record { .. } | Scope::Member { .. } => {
                self.problems.report_with_hint(place, "macros do not nest", "make an indicator of the inner list");
                return None;
            }
        }
        let register = self.registers.iter().position(|register| register.id == chain.root);
        match register {
            Some(register) if chain.root != "kin" || self.kin => self.over_register(register as u16, chain, place, block),
            Some(_) => {
                self.problems.report(chain.place, "`kin` is not known where tied people's knowledge and composition are computed");
                None
            }
            None if chain.root == "members" => {
                self.problems.report(chain.place, "`members` is known to indicators and benefits of households only");
                None
            }
            None => {
                let names: Vec<String> = self.registers.iter().map(|register| register.id.clone()).collect();
                let message = format!("no register is called `{}`", chain.root);
                self.problems.unknown_name(chain.place, message, &chain.root, names.iter().map(String::as_str));
                None
            }
        }
    }

    /// Takes a chain of macros apart.
    fn chain<'e>(&mut self, target: &'e Expression, name: &'e str, arguments: &'e [Expression], place: Place) -> Option<Chain<'e>> {
        let mut chain = Chain { root: String::new(), place, end: End::Size, filters: Vec::new(), map: None };
        chain.end = match (name, arguments) {
            ("size", []) => End::Size,
            ("sum", []) => End::Sum,
            ("max", []) => End::Max,
            ("min", []) => End::Min,
            ("exists" | "all" | "distinct", [variable, body]) => {
                let step = self.step(variable, body)?;
                match name {
                    "exists" => End::Exists(step),
                    "all" => End::All(step),
                    _ => End::Distinct(step),
                }
            }
            ("filter" | "map", _) => {
                self.problems.report_with_hint(place, "a list is no value", "end it with .sum(), .max(), .min() or .size()");
                return None;
            }
            _ => {
                let known = ["size", "sum", "max", "min", "exists", "all", "distinct", "filter", "map"];
                self.problems.unknown_name(place, format!("lists have no `.{name}` with {} arguments", arguments.len()), name, known);
                return None;
            }
        };
        let mut inner = target;
        loop {
            match &inner.kind {
                Kind::Method(target, name, arguments) if name == "filter" && arguments.len() == 2 => {
                    chain.filters.insert(0, self.step(&arguments[0], &arguments[1])?);
                    inner = target;
                }
                Kind::Method(target, name, arguments)
                    if name == "map" && arguments.len() == 2 && chain.map.is_none() && chain.filters.is_empty() =>
                {
                    chain.map = Some(self.step(&arguments[0], &arguments[1])?);
                    inner = target;
                }
                Kind::Name(name) => {
                    chain.root = name.clone();
                    chain.place = inner.place;
                    break;
                }
                _ => {
                    self.problems.report_with_hint(
                        inner.place,
                        "this is no list",
                        "a list is REGISTER or members, then .filter(..), then .map(..)",
                    );
                    return None;
                }
            }
        }
        if matches!(chain.end, End::Sum | End::Max | End::Min) && chain.map.is_none() {
            self.problems.report_with_hint(place, format!("what of the records is to be taken for `.{name}()`?"), "add .map(r, r.field)");
            return None;
        }
        if matches!(chain.end, End::Exists(_) | End::All(_) | End::Distinct(_)) && chain.map.is_some() {
            self.problems.report(place, format!("`.{name}` does not follow `.map`"));
            return None;
        }
        Some(chain)
    }

    fn step<'e>(&mut self, variable: &'e Expression, body: &'e Expression) -> Option<Step<'e>> {
        match &variable.kind {
            Kind::Name(name) if !name.contains('.') => Some(Step { variable: name, body }),
            _ => {
                self.problems.report(variable.place, "a macro begins with a name for the record: filter(r, …)");
                None
            }
        }
    }

    /// Compiles conditions into one; `None` inside when there are none.
    fn filter<'s>(
        &mut self,
        conditions: &[Condition<'_, 's>],
        scope: impl Fn(&'s str) -> Scope<'s>,
        block: &mut Block,
    ) -> Option<Option<Reg>> {
        let mut whole: Option<Reg> = None;
        for condition in conditions {
            let Condition { step, negated } = condition;
            let before = whole.map(|before| (block.reuse(before), block.reserve()));
            block.guards += usize::from(before.is_some());
            let holds = self.condition(step.body, scope(step.variable), block);
            block.guards -= usize::from(before.is_some());
            let mut holds = holds?;
            if *negated {
                holds = self.emit(block, |to| Op::Not(to, holds)).reg;
            }
            whole = Some(match before {
                None => holds,
                Some((before, skip)) => {
                    block.ops.push(Op::And(before, before, holds));
                    block.ops[skip] = Op::SkipIfFalse(before, block.since(skip));
                    before
                }
            });
        }
        Some(whole)
    }

    /// A list of the person's own records: a fold.
    fn over_register(&mut self, register: u16, chain: Chain<'_>, place: Place, block: &mut Block) -> Option<Value> {
        let kind = match chain.end {
            End::Size => FoldKind::Count,
            End::Sum => FoldKind::Sum,
            End::Max => FoldKind::Max,
            End::Min => FoldKind::Min,
            End::Exists(_) if self.despite_silence => FoldKind::Held,
            End::Exists(_) => FoldKind::Exists,
            End::All(_) => FoldKind::All,
            End::Distinct(_) => FoldKind::Distinct,
        };
        let conditions = chain.conditions();
        let filter_key = filter_key(&conditions);
        let map_key = chain.value().map(|step| canonical(step.body, step.variable)).unwrap_or_default();
        let key = format!("{register}|{filter_key}|{kind:?}|{map_key}");
        if let Some((node, value)) = self.folds.get(&key) {
            block.dependencies.insert(*node);
            return Some(value.clone());
        }
        let scope = |variable| Scope::Record { variable, register, lists: false };
        let mut filter = Block::default();
        filter.kin = chain.root == "kin";
        let passes = self.filter(&conditions, scope, &mut filter)?;
        let mut map = Block::guarded(passes.is_some());
        let taken = match chain.value() {
            Some(step) => Some((self.expression(step.body, scope(step.variable), &mut map)?, step.body.place)),
            None => None,
        };
        let value = self.fold_value(kind, taken.as_ref())?;
        self.check_length(&filter, place);
        self.check_length(&map, place);
        let reg = self.person.keep(1);
        let fold = Fold {
            register,
            filter_key,
            filter: passes.map(|result| Code::new(filter.ops, result)),
            map: taken.map(|(taken, _)| Code::new(map.ops, taken.reg)),
            kind,
            result: reg,
        };
        let dependencies = filter.dependencies.union(&map.dependencies).copied().collect();
        let node = self.person.add_fold(fold, dependencies, filter.roles || map.roles, filter.kin);
        let value = Value { reg, ..value };
        self.folds.insert(key, (node, value.clone()));
        block.dependencies.insert(node);
        Some(value)
    }

    /// The type of a fold's result.
    fn fold_value(&mut self, kind: FoldKind, taken: Option<&(Value, Place)>) -> Option<Value> {
        if let Some((taken, at)) = taken
            && taken.fraction
        {
            self.problems.report_with_hint(*at, "records are condensed in whole numbers", "divide after the macro");
            return None;
        }
        match (kind, taken) {
            (FoldKind::Exists | FoldKind::Held | FoldKind::All, _) => Some(Value::flag(0)),
            (FoldKind::Sum, Some((taken, at))) => {
                self.number(taken, *at)?;
                Some(Value { optional: false, ..taken.clone() })
            }
            (FoldKind::Max | FoldKind::Min, Some((taken, at))) => {
                if matches!(taken.kind, Type::Bool | Type::Words(_)) {
                    self.problems.report_with_hint(*at, "booleans have no greatest", "use .exists(..) or .all(..)");
                    return None;
                }
                Some(Value { optional: true, ..taken.clone() })
            }
            (FoldKind::Count | FoldKind::Distinct, _) => Some(Value::number(0)),
            // Taking the chain apart has told of it.
            (FoldKind::Sum | FoldKind::Max | FoldKind::Min, None) => None,
        }
    }

    /// A list of the household's members, or of the dwelling's residents: slots that add up.
    fn over_group(&mut self, group: Group, chain: Chain<'_>, place: Place, block: &mut Block) -> Option<Value> {
        let conditions = chain.conditions();
        let (shown, summed) = (self.sums(group).shown, self.sums(group).summed);
        match &chain.end {
            End::Distinct(_) => {
                let name = self.sums(group).group;
                let hint = format!("count {name} by filter(..).size()");
                self.problems.report_with_hint(place, format!("different values of {name} do not add up"), hint);
                None
            }
            End::Size if conditions.is_empty() && group == Group::Members => Some(Value::number(SLOTS)),
            End::Size => {
                let slot = self.counted(group, &conditions, place)?;
                Some(Value::number(shown + slot))
            }
            End::Exists(_) | End::All(_) => {
                let slot = self.counted(group, &conditions, place)?;
                let zero = self.household.constant(0);
                // One known member is enough, whatever is unknown of the others.
                let known = self.emit(block, |to| Op::Lt(to, zero, summed + slot));
                let some = self.emit(block, |to| Op::Lt(to, zero, shown + slot));
                let any = self.emit(block, |to| Op::Or(to, known.reg, some.reg));
                Some(if matches!(chain.end, End::All(_)) { self.emit(block, |to| Op::Not(to, any.reg)) } else { any })
            }
            End::Sum => self.summed(group, &chain, &conditions),
            End::Max | End::Min => self.extreme(group, &chain, &conditions, place, block),
        }
    }

    /// A slot that counts the members who meet the conditions.
    fn counted(&mut self, group: Group, conditions: &[Condition<'_, '_>], place: Place) -> Option<u16> {
        let key = format!("{}|count", filter_key(conditions));
        if let Some((slot, _)) = self.sums(group).known.get(&key) {
            return Some(*slot);
        }
        let mut member = Block::default();
        let counted = self.filter(conditions, |variable| Scope::Member { variable }, &mut member)?;
        let reg = self.person.keep(1);
        member.ops.push(Op::Move(reg, counted.unwrap_or(self.roles.first)));
        let slot = self.add_slot(group, member, reg, None, place);
        self.sums(group).known.insert(key, (slot, Value::number(0)));
        Some(slot)
    }

    fn summed(&mut self, group: Group, chain: &Chain<'_>, conditions: &[Condition<'_, '_>]) -> Option<Value> {
        let step = chain.map.as_ref()?;
        let key = format!("{}|sum {}", filter_key(conditions), canonical(step.body, step.variable));
        let sums = self.sums(group);
        let shown = sums.shown;
        if let Some((slot, value)) = sums.known.get(&key) {
            return Some(Value { reg: shown + slot, ..value.clone() });
        }
        let (member, reg, value) = self.member_value(step, conditions, 0)?;
        if value.kind == Type::Bool {
            let hint = format!("count: {}.filter(m, …).size()", chain.root);
            self.problems.report_with_hint(step.body.place, "booleans are not summed", hint);
            return None;
        }
        self.number(&value, step.body.place)?;
        let slot = self.add_slot(group, member, reg, None, step.body.place);
        let value = Value { optional: false, ..value };
        self.sums(group).known.insert(key, (slot, value.clone()));
        Some(Value { reg: shown + slot, ..value })
    }

    /// The value of a member who meets the conditions, `otherwise` of one who does not.
    fn member_value(&mut self, step: &Step<'_>, conditions: &[Condition<'_, '_>], otherwise: i64) -> Option<(Block, Reg, Value)> {
        let mut member = Block::default();
        let meets = self.filter(conditions, |variable| Scope::Member { variable }, &mut member)?;
        let reg = self.person.keep(1);
        let skips = meets.map(|meets| {
            let otherwise = self.person.constant(otherwise);
            member.ops.push(Op::Move(reg, otherwise));
            (meets, member.reserve(), member.reserve())
        });
        member.guards += usize::from(skips.is_some());
        let value = self.expression(step.body, Scope::Member { variable: step.variable }, &mut member)?;
        if value.fraction {
            let hint = "a sum of rounded or exact shares: divide after the macro, or make an indicator with `round`";
            self.problems.report_with_hint(step.body.place, "fractions of members are not summed", hint);
            return None;
        }
        if member.ops.is_empty() {
            // An indicator or a constant: it is where it is.
            return Some((member, value.reg, value));
        }
        member.ops.push(Op::Move(reg, value.reg));
        if let Some((meets, skip, unknown)) = skips {
            member.ops[skip] = Op::SkipIfFalse(meets, member.since(skip));
            member.ops[unknown] = Op::SkipIfUnknown(reg, meets, member.since(unknown));
        }
        Some((member, reg, value))
    }

    /// The greatest or least class of any member: a histogram.
    fn extreme(
        &mut self,
        group: Group,
        chain: &Chain<'_>,
        conditions: &[Condition<'_, '_>],
        place: Place,
        block: &mut Block,
    ) -> Option<Value> {
        let step = chain.map.as_ref()?;
        let classes = match &step.body.kind {
            Kind::Name(name) => name.strip_prefix(&format!("{}.", step.variable)).and_then(|name| self.classes(name)),
            _ => None,
        };
        let Some(classes) = classes else {
            let hint = "give the person's indicator `classes = N` (0 <= value < N <= 16) and take it alone: members.map(m, m.x).max()";
            self.problems.report_with_hint(place, "the greatest or least of members does not add up", hint);
            return None;
        };
        let key = format!("{}|classes {}", filter_key(conditions), canonical(step.body, step.variable));
        let (slot, value) = match self.sums(group).known.get(&key) {
            Some((slot, value)) => (*slot, value.clone()),
            None => {
                let (member, reg, value) = self.member_value(step, conditions, -1)?;
                self.number(&value, step.body.place)?;
                let slot = self.add_slot(group, member, reg, Some(classes), place);
                self.sums(group).known.insert(key, (slot, value.clone()));
                (slot, value)
            }
        };
        let to = block.temporary();
        let base = self.sums(group).shown + slot;
        block.ops.push(if matches!(chain.end, End::Max) { Op::MaxClass(to, base, classes) } else { Op::MinClass(to, base, classes) });
        Some(Value { reg: to, optional: true, ..value })
    }

    fn classes(&self, name: &str) -> Option<u16> {
        let draft = &self.drafts[*self.by_name.get(name)?];
        draft.classes.filter(|_| draft.level == Level::Person)
    }
}
