//! One JSON line a measure, with what it was taken on.

use super::Size;
use crate::commands::{peak_rss_bytes, rss_bytes};
use dataflows::Sizes;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Prints a measure of a size, beside what it says itself: the machine, the commit of the folder it was run in, and memory.
pub fn report(bench: &str, size: &Size, measured: Value) {
    let mut line = json!({
        "bench": bench, "policy": size.policy, "persons": size.persons, "workers": size.workers, "seed": size.seed,
        "machine": machine(), "commit": commit(), "peak_rss_bytes": peak_rss_bytes(),
    });
    let measured = measured.as_object().cloned().unwrap_or_default();
    let held = measured.get("rss_bytes").and_then(Value::as_u64).unwrap_or_else(rss_bytes);
    let line_fields = line.as_object_mut().expect("it was made as an object");
    line_fields.extend(measured);
    line_fields.insert("rss_bytes".to_owned(), json!(held));
    line_fields.insert("bytes_per_person".to_owned(), json!(held as f64 / size.persons as f64));
    println!("{line}");
}

/// Quantiles of times in nanoseconds, as microseconds.
pub fn quantiles(times: &Histogram<u64>) -> Map<String, Value> {
    let micros = |quantile: f64| json!(times.value_at_quantile(quantile) as f64 / 1000.0);
    [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)]
        .into_iter()
        .map(|(name, quantile)| (name.to_owned(), micros(quantile)))
        .collect()
}

/// Of every store, its keys and bytes a person.
pub fn stores(sizes: &Sizes, persons: usize) -> Map<String, Value> {
    let each = |(name, store): (&&str, &dataflows::operators::StoreSize)| {
        ((*name).to_owned(), json!({ "keys": store.keys, "bytes_per_person": store.bytes as f64 / persons as f64 }))
    };
    sizes.stores.iter().map(each).collect()
}

/// The processor, its cores and the memory, as far as the system tells.
fn machine() -> Value {
    let told = |path: &str, name: &str| {
        let text = fs::read_to_string(path).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split(':').nth(1)?.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "processor": told("/proc/cpuinfo", "model name"), "cores": cores, "memory": told("/proc/meminfo", "MemTotal") })
}

/// The commit that is checked out where the bench is run; nothing outside of a checkout.
fn commit() -> Option<String> {
    let here = std::env::current_dir().ok()?;
    let git = here.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists())?;
    let git = if git.is_file() { PathBuf::from(fs::read_to_string(git).ok()?.strip_prefix("gitdir:")?.trim()) } else { git };
    let read = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let head = read(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head) };
    let packed = || {
        let refs = read(&git.join("packed-refs"))?;
        refs.lines().find_map(|line| line.strip_suffix(name).map(|commit| commit.trim().to_owned()))
    };
    read(&git.join(name)).or_else(packed)
}
