//! One JSON line a measure, with what it was taken on.

use super::Size;
use crate::commands::{peak_rss_bytes, rss_bytes};
use dataflows::Sizes;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Prints a measure of a size, beside what it says itself: the machine, the commit, and memory.
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

/// The commit that is checked out where the bench is run, or else where the program was built; nothing where neither is a checkout.
fn commit() -> Option<String> {
    [std::env::current_dir(), std::env::current_exe()].into_iter().flatten().find_map(|place| commit_at(&place))
}

fn commit_at(place: &Path) -> Option<String> {
    let read = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let folder = place.ancestors().find(|folder| folder.join(".git").exists())?;
    let mut git = folder.join(".git");
    if let Some(elsewhere) = read(&git) {
        git = folder.join(elsewhere.strip_prefix("gitdir:")?.trim());
    }
    let head = read(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head) };
    // A further work tree of a repository has a HEAD of its own, and no branches.
    let shared = read(&git.join("commondir")).map_or(git.clone(), |shared| git.join(shared));
    let packed = || {
        let refs = read(&shared.join("packed-refs"))?;
        refs.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned))
    };
    read(&shared.join(name)).or_else(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A branch, packed or not, and a commit without one, in a repository and in a further work tree of it.
    #[test]
    fn the_commit_is_that_of_the_work_tree() {
        let root = std::env::temp_dir().join(format!("shanyraq-commit-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).unwrap();
            fs::write(path, text).unwrap();
        };
        write("first/.git/HEAD", "ref: refs/heads/main\n");
        write("first/.git/refs/heads/main", "1a\n");
        write("first/.git/packed-refs", "# pack-refs\n2b refs/heads/not/main\n3c refs/heads/part\n");
        write("first/.git/worktrees/second/commondir", "../..\n");
        write("first/.git/worktrees/second/HEAD", "ref: refs/heads/part\n");
        write("second/.git", "gitdir: ../first/.git/worktrees/second\n");
        write("second/target/program", "");
        let commit = |place: &str| commit_at(&root.join(place));
        let [first, second] = ["first", "second/target/program"].map(commit);
        write("second/.git", "gitdir: ../first/.git/worktrees/third");
        write("first/.git/worktrees/third/HEAD", "4d");
        let third = commit("second");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!([first, second, third].map(|commit| commit.unwrap_or_default()), ["1a", "3c", "4d"]);
    }
}
