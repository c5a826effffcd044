//! Thresholds that are relative to how people live: a parameter may say from what its next value is to be proposed. The value itself
//! is dated like any other, so that nobody's right hangs on what others earn today.

use super::compile::Draft;
use super::source::{Entry, Node, Place, Problems};
use super::{Indicator, Level, ValueKind};

const KEYS: [&str; 5] = ["of", "quantile", "share", "at_least", "weigh"];
const WEIGHTS: [(&str, Weigh); 2] = [("people", Weigh::People), ("households", Weigh::Households)];

/// How the next value of a parameter is proposed: a share of a quantile of an indicator of households.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Index of the parameter in the package.
    pub parameter: usize,
    /// Index of the indicator in the package.
    pub of: usize,
    /// In thousandths, from 1 to 1000: the least value that at least so many are not above. 500 is the lower median.
    pub quantile: i64,
    /// In thousandths of the quantile.
    pub share: i64,
    /// Index of the parameter that bounds the value from below.
    pub at_least: Option<usize>,
    pub weigh: Weigh,
}

/// What counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weigh {
    /// A household counts once for each member.
    People,
    Households,
}

/// Reads `propose` of every parameter. An indicator that is declared and does not compile has its own mistakes.
pub fn proposals(problems: &mut Problems<'_>, parameters: &[Entry], drafts: &[Draft], indicators: &[Indicator]) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for (parameter, entry) in parameters.iter().enumerate() {
        let Some(node) = entry.node.get("propose") else { continue };
        problems.only(node, &KEYS);
        let of = indicator(problems, node, drafts, indicators);
        let quantile = thousandths(problems, node, "quantile", 1000);
        let share = thousandths(problems, node, "share", 1 << 20);
        let at_least = bound(problems, node, parameters, parameter);
        let weigh = problems.word(node, "weigh", &WEIGHTS).unwrap_or(Weigh::People);
        if let (Some(of), Some(quantile), Some(share)) = (of, quantile, share) {
            proposals.push(Proposal { parameter, of, quantile, share, at_least, weigh });
        }
    }
    proposals
}

fn indicator(problems: &mut Problems<'_>, node: &Node, drafts: &[Draft], indicators: &[Indicator]) -> Option<usize> {
    let (name, place) = problems.required(node, node.place, "of")?;
    let households = || drafts.iter().filter(|draft| draft.level == Level::Household);
    if !households().any(|draft| draft.id == name) {
        let known = households().map(|draft| draft.id.as_str());
        problems.unknown_name(place, format!("no indicator of households is called `{name}`"), name, known);
        return None;
    }
    let index = indicators.iter().position(|indicator| indicator.id == name)?;
    if indicators[index].kind != ValueKind::Int {
        problems.report(place, format!("`{name}` is no number: nothing can be a share of it"));
    }
    Some(index)
}

fn thousandths(problems: &mut Problems<'_>, node: &Node, name: &str, most: i64) -> Option<i64> {
    if node.get(name).is_none() {
        problems.report(node.place, format!("`{name}` is missing"));
    }
    let number = problems.integer(node, name)?;
    if !(1..=most).contains(&number) {
        problems.report(node.place, format!("`{name}` is in thousandths, from 1 to {most}"));
    }
    Some(number)
}

fn bound(problems: &mut Problems<'_>, node: &Node, parameters: &[Entry], own: usize) -> Option<usize> {
    let (name, place): (&str, Place) = problems.text(node, "at_least")?;
    let found = parameters.iter().position(|entry| entry.name == name).filter(|index| *index != own);
    if found.is_none() {
        let known = parameters.iter().enumerate().filter(|(index, _)| *index != own).map(|(_, entry)| entry.name.as_str());
        problems.unknown_name(place, format!("no other parameter is called `{name}`"), name, known);
    }
    found
}
