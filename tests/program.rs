use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// The program, run to its end.
pub fn shanyraq<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shanyraq")).args(arguments).output().unwrap()
}

/// The summary of a run that went well.
pub fn summary(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rows of a view that was written into this folder.
pub fn rows(out: &Path, view: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join(format!("{view}.ndjson"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
