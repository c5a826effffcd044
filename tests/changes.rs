use crate::folder::Folder;
use crate::program::{shanyraq, summary};
use crate::running::*;
use crate::sending::configured;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use shanyraq::pipeline::ledger_file;
use std::collections::BTreeMap;

fn page(running: &Running, stream: &str, after: &str, limit: usize) -> Vec<Value> {
    let (status, text) = running.call("GET", &format!("/v1/{stream}?after={after}&limit={limit}"), b"").unwrap();
    assert_eq!(status, 200, "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The token of the last of so many changes.
fn token_of(changes: &[Value], count: usize) -> String {
    count.checked_sub(1).map_or("0".to_owned(), |last| changes[last]["token"].as_str().unwrap().to_owned())
}

/// The decision about each right, by its name.
type Standing = BTreeMap<[String; 4], String>;

fn right(row: &Value) -> [String; 4] {
    ["person", "benefit", "ground", "period"].map(|name| row[name].as_str().unwrap_or_default().to_owned())
}

/// What whoever follows the stream knows.
struct Follower {
    known: Vec<Value>,
    chance: Pcg64Mcg,
}

impl Follower {
    /// Reads so many pages, each from behind some change that is known, and of some length: what is known already is told again, word for word.
    fn read(&mut self, running: &Running, pages: usize) {
        for _ in 0..pages {
            let known = self.known.len();
            let after = known - (self.chance.next_u32() as usize % 50).min(known);
            let limit = [1, 7, 64, 333][self.chance.next_u32() as usize % 4];
            let rows = page(running, "changes", &token_of(&self.known, after), limit);
            assert!(rows.len() <= limit);
            let again = rows.len().min(known - after);
            assert_eq!(rows[..again], self.known[after..after + again], "after {after}, {limit} at most");
            self.known.extend_from_slice(&rows[again..]);
        }
    }
}

/// Read in pieces of any length, from any token, while the process is killed and the ledger's file loses what was written last, the stream is each change
/// once and in order; taken in right by right, from nothing, it is the decisions that stand, over a change of the policy too. Of a ledger that was restored
/// nobody is told what follows on changes that it does not have.
#[test]
fn read_in_pieces_it_is_each_change_once_and_adds_up_to_what_holds() {
    let folder = Folder::new("changes");
    let story = story_of_two_packages(1_000, 5, 30, &folder.0.join("later"));
    // What the ledger's file loses the journal tells again.
    let words = "segment_bytes = 40_000\ncompact_after_segments = 0\nbrake = { percent = 0, at_least = 1, days = 1 }";
    let start = || configured(&folder, "data", "pretend", words);
    let (mut running, mut follower) = (start(), Follower { known: Vec::new(), chance: Pcg64Mcg::seed_from_u64(7) });
    let (ledger, old) = (ledger_file(&folder.0.join("data")), folder.0.join("old.db"));
    let copy = |word: &str, data: &str| {
        let [backup, data] = ["backup", data].map(|name| folder.0.join(name).display().to_string());
        summary(&shanyraq([word, &backup, "--data", &data]))
    };
    let mut lost = 0;
    for (index, (path, body)) in story.iter().enumerate() {
        running.tell(path, body).unwrap();
        follower.read(&running, 4);
        match index {
            8 => {
                running.stop();
                copy("backup", "data");
                std::fs::copy(&ledger, &old).unwrap();
                running = start();
            }
            16 => {
                while !page(&running, "changes", &token_of(&follower.known, follower.known.len()), 1).is_empty() {
                    follower.read(&running, 10);
                }
                running.kill();
                ["db-wal", "db-shm"].iter().for_each(|extension| drop(std::fs::remove_file(ledger.with_extension(extension))));
                std::fs::copy(&old, &ledger).unwrap();
                let sql = rusqlite::Connection::open(&ledger).unwrap();
                lost = follower.known.len() - sql.query_row("SELECT count(*) FROM changes", [], |row| row.get::<_, usize>(0)).unwrap();
                drop(sql);
                running = start();
            }
            12 | 24 => {
                running.kill();
                running = start();
            }
            _ => {}
        }
    }
    assert!(lost > 10, "{lost} changes that were told once were written twice");
    while !page(&running, "changes", &token_of(&follower.known, follower.known.len()), 1).is_empty() {
        follower.read(&running, 10);
    }
    let mut whole: Vec<Value> = Vec::new();
    while let more = page(&running, "changes", &token_of(&whole, whole.len()), 10_000)
        && !more.is_empty()
    {
        whole.extend(more);
    }
    assert!(follower.known == whole, "{} changes, {} at once", follower.known.len(), whole.len());
    assert!(whole.iter().zip(1_u64..).all(|(row, number)| row["token"].as_str().unwrap().starts_with(&format!("{number}-"))));

    let (mut standing, mut rights, mut kinds) = (Standing::new(), BTreeMap::new(), BTreeMap::<String, usize>::new());
    for row in &whole {
        let (decision, kind) = (row["decision"].as_str().unwrap().to_owned(), row["change"].as_str().unwrap());
        *kinds.entry(kind.to_owned()).or_default() += 1;
        match kind {
            "gained" | "amount" => {
                let before = standing.insert(right(row), decision.clone());
                assert!(before.is_some() == (kind == "amount") && before.as_ref() != Some(&decision), "{row}");
                before.into_iter().for_each(|before| drop(rights.remove(&before)));
                rights.insert(decision, right(row));
            }
            // Nothing but the decision says which right it was about.
            "lost" | "doubted" => drop(standing.remove(&rights.remove(&decision).unwrap_or_else(|| panic!("{row}")))),
            other => panic!("{other}"),
        }
    }
    let held = running.decisions();
    let held = held.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
    let held: Standing = held.map(|row| (right(&row), row["decision"].as_str().unwrap().to_owned())).collect();
    assert!(standing == held && held.len() > 1_000, "{} by changes, {} held", standing.len(), held.len());
    assert!(["gained", "lost", "amount"].iter().all(|kind| kinds.get(*kind).is_some_and(|times| *times > 50)), "{kinds:?}");

    // Cases and payments are read in the same way.
    assert!(page(&running, "cases", "0", 1).len() <= 1 && page(&running, "payments", "0", 1).len() <= 1);
    for limit in ["0", "10001", "many"] {
        assert_eq!(running.call("GET", &format!("/v1/changes?limit={limit}"), b"").unwrap().0, 400, "{limit}");
    }
    for stream in ["changes", "cases", "payments"] {
        let ask = |after: &str| running.call("GET", &format!("/v1/{stream}?after={after}"), b"").unwrap();
        for after in ["7", "0-", "x", "-1"] {
            assert_eq!(ask(after).0, 400, "{stream}: {after}");
        }
        let (status, text) = ask("1000000-01234567");
        assert!(status == 409 && text.contains("this ledger ends at"), "{stream}: {status} {text}");
        for row in page(&running, stream, "0", 1) {
            let token = row["token"].as_str().unwrap();
            assert_eq!((token.split_once('-').unwrap().0, ask(token).0), ("1", 200), "{stream}");
            let (status, text) = ask("1-01234567");
            assert!(status == 409 && text.contains("row 1 of this ledger is another one"), "{stream}: {status} {text}");
        }
    }
    running.stop();

    // Restored from a backup it says so to whoever read on before, as long as it is shorter and once it has gone on otherwise.
    copy("restore", "back");
    let back = configured(&folder, "back", "pretend", words);
    let kept = page(&back, "changes", "0", 10_000);
    assert!(whole.starts_with(&kept) && kept.len() < whole.len(), "{} of {}", kept.len(), whole.len());
    let ask = |count: usize| back.call("GET", &format!("/v1/changes?after={}", token_of(&whole, count)), b"").unwrap();
    assert_eq!(ask(kept.len()), (200, String::new()));
    let (status, text) = ask(kept.len() + 1);
    assert!(status == 409 && text.contains(&format!("this ledger ends at {}", kept.len())), "{status} {text}");
    let (path, body) = story.last().unwrap();
    back.tell(path, body).unwrap();
    let (status, text) = ask(kept.len() + 1);
    assert!(status == 409 && text.contains("of this ledger is another one"), "{status} {text}");
    back.stop();
}
