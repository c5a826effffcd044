//! What was measured, as a table with a column for each peer, and where a peer is quicker than this engine.

use crate::Tale;
use crate::country::{LOAD, SIZES, size_of};

/// The median time of the batches of a size, and how many changes they have.
#[derive(Clone, Copy)]
struct Median {
    changes: f64,
    seconds: f64,
}

pub fn print(changes: &[(String, usize)], tales: &[Tale]) {
    for tale in tales {
        println!("    {:<10}{}", tale.peer, tale.about);
    }
    let medians: Vec<Vec<Median>> = tales.iter().map(|tale| medians(changes, tale)).collect();
    let ours = tales.iter().position(|tale| tale.peer == "shanyraq").map(|place| &medians[place]);
    row("", tales.iter().map(|tale| tale.peer.to_owned()));
    row("load, s", tales.iter().map(|tale| format!("{:.2}", tale.batches[LOAD].seconds)));
    row("memory at most, MB", tales.iter().map(|tale| format!("{:.0}", most_bytes(tale) as f64 / 1e6)));
    for index in 0..SIZES.len() {
        let of_size = || medians.iter().map(|medians| medians[index]);
        let Some(Median { changes, .. }) = of_size().next() else { return };
        row(&format!("batches of {changes}: median, us"), of_size().map(|median| format!("{:.1}", median.seconds * 1e6)));
        row("    changes a second", of_size().map(|median| format!("{:.0}", median.changes / median.seconds)));
        if let Some(ours) = ours {
            row("    times what shanyraq takes", of_size().map(|median| format!("{:.2}", median.seconds / ours[index].seconds)));
        }
    }
    row("the hundredth slowest of 1, us", tales.iter().map(|tale| format!("{:.1}", hundredth_slowest(tale) * 1e6)));
    let Some(ours) = ours else { return };
    for (tale, theirs) in tales.iter().zip(&medians).filter(|(tale, _)| tale.peer != "shanyraq") {
        println!("{}", verdict(tale.peer, ours, theirs));
    }
}

fn row(title: &str, cells: impl Iterator<Item = String>) {
    println!("{title:<34}{}", cells.map(|cell| format!("{cell:>14}")).collect::<String>());
}

fn most_bytes(tale: &Tale) -> u64 {
    tale.batches.values().map(|told| told.bytes).max().unwrap_or(0)
}

/// How long the batches of a size took, ascending.
fn of_size(tale: &Tale, size: usize) -> Vec<f64> {
    let mut seconds: Vec<f64> =
        tale.batches.iter().filter(|(batch, _)| size_of(batch) == Some(size)).map(|(_, told)| told.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// Of the changes that came alone the time that one in a hundred takes longer than.
fn hundredth_slowest(tale: &Tale) -> f64 {
    let seconds = of_size(tale, 1);
    seconds[seconds.len() - 1 - seconds.len() / 100]
}

/// By size; of few people there are fewer changes in the larger batches.
fn medians(changes: &[(String, usize)], tale: &Tale) -> Vec<Median> {
    let median = |size: usize| {
        let seconds = of_size(tale, size);
        let (_, changes) = changes.iter().find(|(batch, _)| size_of(batch) == Some(size)).expect("each size is tried");
        Median { changes: *changes as f64, seconds: seconds[seconds.len() / 2] }
    };
    SIZES.into_iter().map(median).collect()
}

/// At which sizes of batches another peer is quicker, and from which size on.
fn verdict(peer: &str, ours: &[Median], theirs: &[Median]) -> String {
    let quicker = ours.iter().zip(theirs).filter(|(ours, theirs)| theirs.seconds < ours.seconds);
    let quicker: Vec<String> =
        quicker.map(|(ours, theirs)| format!("{} ({:.1} times)", ours.changes, ours.seconds / theirs.seconds)).collect();
    let from = break_even(ours, theirs).map_or(String::new(), |size| format!(": from some {size:.0} changes on"));
    match quicker.is_empty() {
        true => format!("{peer} is quicker at no size of batches"),
        false => format!("{peer} is quicker in batches of {}{from}", quicker.join(", ")),
    }
}

/// The size of batches from which on others are quicker, between those measured by straight lines.
fn break_even(ours: &[Median], theirs: &[Median]) -> Option<f64> {
    let behind = |index: usize| theirs[index].seconds - ours[index].seconds;
    let index = (0..ours.len()).rev().take_while(|index| behind(*index) < 0.0).last()?;
    let Some(before) = index.checked_sub(1) else { return Some(ours[0].changes) };
    let (from, to) = (ours[before].changes, ours[index].changes);
    Some(from + (to - from) * behind(before) / (behind(before) - behind(index)))
}
