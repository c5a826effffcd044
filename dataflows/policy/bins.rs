//! Bins: tables from values to what is given for them. Gaps and overlaps are mistakes, and a value is named that shows them.

use super::builder::Builder;
use super::compile::Type;
use super::file::ABSENT;
use super::program::Bins;
use super::source::{Entry, Node, Place, Value as Toml};

/// What one bin stands for: bounds, what it gives, where that is written.
struct Step<'n> {
    name: &'n str,
    from: i64,
    until: i64,
    node: &'n Node,
    place: Place,
}

/// The bounds of the bin of this name, if it is one of values of this type: the first value, and the one after the last.
pub fn bounds(name: &str, kind: &Type) -> Option<(i64, i64)> {
    let name = name.trim();
    let number = |text: &str| text.trim().replace('_', "").parse::<i64>().ok();
    let word = |words: &[String]| words.iter().position(|word| word == name).map(|index| (index as i64, index as i64 + 1));
    match (kind, name.split_once("..")) {
        (Type::Bool, None) => word(&["false".into(), "true".into()]),
        (Type::Enum(words), None) => word(words),
        (Type::Bool | Type::Enum(_), Some(_)) => None,
        (_, None) => number(name).map(|value| (value, value + 1)),
        (_, Some((from, until))) => {
            let from = if from.trim().is_empty() { Some(i64::MIN) } else { number(from) };
            let until = if until.trim().is_empty() { Some(i64::MAX) } else { number(until) };
            from.zip(until).filter(|(from, until)| from < until)
        }
    }
}

impl Builder<'_, '_, '_> {
    /// Bins that give integers.
    pub(super) fn integer_bins(&mut self, node: &Node, kind: &Type) -> Option<Bins> {
        self.bins(node, kind, false, |builder, node| match node.value {
            Toml::Int(number) => Some(number),
            _ => {
                builder.compiler.problems.report(node.place, "a bin gives an integer");
                None
            }
        })
    }

    /// Bins in the order of their values; overlaps are mistakes, and gaps unless they mean something.
    pub(super) fn bins(
        &mut self,
        node: &Node,
        kind: &Type,
        gaps: bool,
        mut give: impl FnMut(&mut Self, &Node) -> Option<i64>,
    ) -> Option<Bins> {
        if !matches!(node.value, Toml::Table(_)) || node.entries().is_empty() {
            self.compiler.problems.report(node.place, "bins are a table such as { \"..10\" = 1, \"10..\" = 2 }");
            return None;
        }
        let mut steps = Vec::new();
        for entry in node.entries() {
            if let Some((from, until)) = self.bin(entry, kind) {
                steps.push(Step { name: &entry.name, from, until, node: &entry.node, place: entry.place });
            }
        }
        if steps.len() < node.entries().len() {
            return None;
        }
        steps.sort_by_key(|step| step.from);
        self.check_bins(&steps, kind, gaps);
        let mut bins = Bins { steps: Vec::new() };
        for (index, step) in steps.iter().enumerate() {
            bins.steps.push((step.from, give(self, step.node)?));
            if step.until != i64::MAX && steps.get(index + 1).is_none_or(|next| next.from > step.until) {
                bins.steps.push((step.until, ABSENT));
            }
        }
        Some(bins)
    }

    /// The bounds of one bin.
    fn bin(&mut self, entry: &Entry, kind: &Type) -> Option<(i64, i64)> {
        let bounds = bounds(&entry.name, kind);
        if bounds.is_none() {
            let hint = match kind {
                Type::Bool => "\"true\" or \"false\"".to_string(),
                Type::Enum(words) => format!("one of {}", words.join(", ")),
                _ => "\"3\", \"3..7\" (3 up to but not 7), \"..3\" or \"7..\"".to_string(),
            };
            self.compiler.problems.report_with_hint(entry.place, format!("`{}` is no bin of this value", entry.name.trim()), hint);
        }
        bounds
    }

    fn check_bins(&mut self, steps: &[Step<'_>], kind: &Type, gaps: bool) {
        for (step, next) in steps.iter().zip(&steps[1..]) {
            let Step { name, until, .. } = step;
            if next.from < *until {
                let shared = if next.from > i64::MIN { next.from } else { (*until).min(next.until) - 1 };
                self.compiler.problems.report(next.place, format!("this bin overlaps `{name}`: {shared} falls in both"));
            } else if next.from > *until && !gaps && !matches!(kind, Type::Bool | Type::Enum(_)) {
                let message = format!("between this bin and `{name}` there is a gap, {until}..{}: {until} falls in no bin", next.from);
                self.compiler.problems.report(next.place, message);
            }
        }
        let words = match kind {
            Type::Bool => vec!["false".to_string(), "true".to_string()],
            Type::Enum(words) => words.to_vec(),
            _ => return,
        };
        let missing: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| !steps.iter().any(|step| step.name.trim() == *word)).collect();
        if !missing.is_empty() && !gaps {
            self.compiler.problems.report(steps[0].place, format!("no bin for {}", missing.join(", ")));
        }
    }
}
