use crate::folder::Folder;
use crate::registers::repository;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One indented block of the walk: a file to write, or commands, each with what it prints.
enum Block {
    File(PathBuf, String),
    Commands(Vec<(String, Vec<String>)>),
}

/// The blocks in order; a file's first line is its path as a comment.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("    ") else { continue };
        let mut rest = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
            rest.push(line["    ".len()..].to_owned());
        }
        if let Some(path) = first.strip_prefix("# ") {
            blocks.push(Block::File(path.into(), rest.join("\n") + "\n"));
            continue;
        }
        let mut commands: Vec<(String, Vec<String>)> = Vec::new();
        for line in std::iter::once(first.to_owned()).chain(rest) {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), Vec::new())),
                None => commands.last_mut().expect("a command before what it prints").1.push(line),
            }
        }
        blocks.push(Block::Commands(commands));
    }
    blocks
}

/// Runs a command beside the built program; what it prints, errors included. It must succeed unless an error of it is shown.
fn run(folder: &Path, command: &str, shown: &[String]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_shanyraq")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let command = command.replace("dataflows/policies/kz", &repository("dataflows/policies/kz").display().to_string());
    let output = Command::new("sh").args(["-c", &command]).current_dir(folder).env("PATH", path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let fails = shown.iter().any(|line| line.starts_with("shanyraq: "));
    assert_eq!(output.status.success(), !fails, "{command}: {text}");
    text
}

#[test]
fn an_analyst_adds_a_register_an_indicator_and_a_benefit() {
    let folder = Folder::new("walk");
    let mut printed = Vec::new();
    let text = std::fs::read_to_string(repository("dataflows/policies/WALK.md")).unwrap();
    for block in blocks(&text) {
        match block {
            Block::File(path, text) => {
                let package = if path.extension().is_some_and(|extension| extension == "toml") { "mine" } else { "" };
                std::fs::write(folder.0.join(package).join(path), text).unwrap();
            }
            Block::Commands(commands) => {
                for (command, shown) in commands {
                    let text = run(&folder.0, &command, &shown);
                    for line in shown {
                        assert!(text.lines().any(|found| found == line), "{command} does not print\n{line}\nbut\n{text}");
                    }
                    printed.push((command, text));
                }
            }
        }
    }
    let (command, decisions) = printed.last().unwrap();
    assert!(command.starts_with("grep loc_donor"), "{command}");
    let rows: Vec<serde_json::Value> = decisions.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [right] = rows.as_slice() else { panic!("{decisions}") };
    assert_eq!((&right["person"], &right["amount"]), (&"880502490012".into(), &21_625.into()), "five of 4,325");
}
