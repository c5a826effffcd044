//! How the peers that are written in Rust tell what they make of the batches in a folder.

use crate::records::{Record, batches, parts};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

pub trait Peer {
    /// Records as the peer takes them in.
    type Ready;
    /// Brings records into this form, before the clock runs.
    fn prepare(&mut self, records: Vec<Record>) -> Self::Ready;
    /// Takes in records, of a load part by part.
    fn take(&mut self, ready: &mut Self::Ready);
    /// Judges anew whoever is concerned.
    fn conclude(&mut self);
    /// How many households are judged otherwise, and the summands of all of them.
    fn answer(&mut self) -> (u64, i64);
}

/// What is added up over households, so that it can be compared: the others write the same in SQL or Python.
pub fn summand(household: u64, (score, category): (i64, i64)) -> i64 {
    (household % 1_000_003) as i64 * (score * 10 + category + 1)
}

/// Prints a line that says who tells, and a JSON line for each batch: its name, seconds, changed households, and the sum over all of them.
pub fn tell(about: &str, peer: &mut impl Peer, folder: &Path) {
    println!("{}", json!({ "about": about }));
    for (name, path) in batches(folder) {
        let mut taken = Duration::ZERO;
        let mut clocked = |work: &mut dyn FnMut()| {
            let begun = Instant::now();
            work();
            taken += begun.elapsed();
        };
        for part in parts(&path) {
            let mut ready = peer.prepare(part);
            clocked(&mut || peer.take(&mut ready));
        }
        clocked(&mut || peer.conclude());
        let (changed, sum) = peer.answer();
        println!(
            "{}",
            json!({ "batch": name, "seconds": taken.as_secs_f64(), "changed": changed, "sum": sum, "peak_bytes": peak_bytes() })
        );
    }
}

/// The most memory that this process has had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    peak.unwrap_or(0) * 1024
}
