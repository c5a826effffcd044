//! The doors: one file a command. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 input rejected.

pub mod batch;
mod configuration;
pub mod demo;
pub mod dispatch;
pub mod feed;
pub mod feeds;
pub mod forecast;
pub mod generate;
pub mod journal;
pub mod ledger;
pub mod pause;
mod payments;
pub mod policy;
pub mod quarantine;
pub mod run;
pub mod safekeeping;

use crate::packages::Package;
use dataflows::policy::Policy;
use include_dir::{Dir, include_dir};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The packages that come with the program.
static PACKAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/dataflows/policies");

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit_code: u8,
    pub message: String,
}

impl Failure {
    pub fn failed(message: String) -> Self {
        Failure { exit_code: 1, message }
    }
    pub fn usage(message: String) -> Self {
        Failure { exit_code: 2, message }
    }
    pub fn rejected(message: String) -> Self {
        Failure { exit_code: 3, message }
    }
}

/// The texts of a package: of a folder, or of a built-in package by name.
pub fn package_texts(name: &str) -> Result<Vec<(String, String)>, Failure> {
    let folder = Path::new(name);
    let mut texts = Vec::new();
    if folder.join("policy.toml").is_file() {
        collect_folder(folder, folder, &mut texts).map_err(|error| Failure::failed(format!("{name}: {error}")))?;
    } else if let Some(package) = PACKAGES.get_dir(name) {
        collect_built_in(package, name, &mut texts);
    } else {
        let known: Vec<_> = PACKAGES.dirs().filter_map(|package| package.path().to_str()).collect();
        return Err(Failure::usage(format!("{name}: neither a folder with a policy.toml nor one of {}", known.join(", "))));
    }
    texts.sort();
    Ok(texts)
}

fn collect_folder(root: &Path, folder: &Path, texts: &mut Vec<(String, String)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_folder(root, &path, texts)?;
        } else if is_package_text(&path) {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            texts.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn collect_built_in(folder: &Dir<'_>, name: &str, texts: &mut Vec<(String, String)>) {
    for file in folder.files().filter(|file| is_package_text(file.path())) {
        let path = file.path().strip_prefix(name).unwrap_or(file.path()).to_string_lossy().into_owned();
        texts.push((path, file.contents_utf8().unwrap_or_default().to_owned()));
    }
    folder.dirs().for_each(|inner| collect_built_in(inner, name, texts));
}

/// Mappings lie beside the package and are not part of it.
fn is_package_text(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") && !path.to_string_lossy().ends_with(".map.toml")
}

/// Reads, checks and compiles a package.
pub fn load_package(name: &str) -> Result<Package, Failure> {
    Package::load(package_texts(name)?).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}/{problem}")).collect();
        Failure::failed(format!("the policy package has {} mistakes\n{}", lines.len(), lines.join("\n")))
    })
}

/// The same without its texts.
pub fn load_policy(name: &str) -> Result<Arc<Policy>, Failure> {
    load_package(name).map(|package| package.policy)
}

/// Prints a long text, of which a reader may have enough before its end.
pub fn print(text: &str) {
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// The greatest memory that this process ever held; zero where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    status_bytes("VmHWM:")
}

/// The memory that this process holds now; zero where the system does not tell.
pub fn rss_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// The memory that this process may still take: what the machine has left, or a control group it is in if that is less; the most there can be
/// where the system does not tell.
pub fn available_bytes() -> u64 {
    let of_machine = field_bytes("/proc/meminfo", "MemAvailable:").unwrap_or(u64::MAX);
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    of_machine.min(left_by_groups(Path::new("/sys/fs/cgroup"), own))
}

/// What the limits of a control group, and of those that it is in, leave; the most there can be where there are none. Pages of files are
/// counted as taken, and are given up as soon as somebody needs the room.
fn left_by_groups(root: &Path, own: &str) -> u64 {
    let left = |group: &Path| {
        let text = |name: &str| std::fs::read_to_string(root.join(group).join(name)).ok();
        let read = |name: &str| text(name)?.trim().parse::<u64>().ok();
        let of_files = |line: &str| line.strip_prefix("inactive_file ").or(line.strip_prefix("active_file "))?.parse::<u64>().ok();
        let given_up: u64 = text("memory.stat").unwrap_or_default().lines().filter_map(of_files).sum();
        Some(read("memory.max")?.saturating_sub(read("memory.current")?.saturating_sub(given_up)))
    };
    Path::new(own.trim_start_matches('/')).ancestors().filter_map(left).min().unwrap_or(u64::MAX)
}

fn status_bytes(name: &str) -> u64 {
    field_bytes("/proc/self/status", name).unwrap_or(0)
}

/// A field of a file of the system, which is in kB.
fn field_bytes(file: &str, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(file).ok()?;
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Limits are set on a service as on the slice that it is in: the least that is left counts.
    #[test]
    fn memory_ends_where_a_control_group_ends_it() {
        let root = std::env::temp_dir().join(format!("shanyraq-groups-{}", std::process::id()));
        let group = |path: &str, most: &str, held: u64| {
            std::fs::create_dir_all(root.join(path)).unwrap();
            std::fs::write(root.join(path).join("memory.max"), format!("{most}\n")).unwrap();
            std::fs::write(root.join(path).join("memory.current"), format!("{held}\n")).unwrap();
        };
        group("slice/service", "max", 700);
        assert_eq!(left_by_groups(&root, "/slice/service"), u64::MAX);
        group("slice", "5000", 900);
        assert_eq!(left_by_groups(&root, "/slice/service"), 4100);
        group("slice/service", "1000", 700);
        assert_eq!(left_by_groups(&root, "/slice/service"), 300);
        assert_eq!((left_by_groups(&root, "/slice/other"), left_by_groups(&root, "/")), (4100, u64::MAX));
        let stat = "anon 250\ninactive_anon 50\nactive_anon 200\ninactive_file 300\nactive_file 100\nunevictable 0\n";
        std::fs::write(root.join("slice/service/memory.stat"), stat).unwrap();
        assert_eq!(left_by_groups(&root, "/slice/service"), 700, "pages of files are given up");
        std::fs::remove_dir_all(root).unwrap();
    }
}
