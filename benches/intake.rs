//! Nanoseconds that a line costs at the door, by register, and lines a second of a compressed file: `cargo bench --bench intake`.

#[path = "../tests/registers.rs"]
#[allow(dead_code)]
mod registers;

use registers::iin;
use shanyraq::intake::Intake;
use shanyraq::sources::{Feed, Options};
use std::hint::black_box;
use std::time::Instant;

const LINES: usize = 10_000;
const ROUNDS: usize = 50;

fn main() {
    let contribution = |serial: u32| {
        let month = serial % 12 + 1;
        let data = format!(r#"{{"period":"2026-{month:02}","employer":"1205400{serial:05}","amount":{}}}"#, 85_000 + serial);
        format!(
            r#"{{"register":"enpf.contribution","key":"2026-{month:02}-{serial}","seq":1,"op":"upsert","event_date":"2026-{month:02}-28","recorded_at":"2026-12-15T09:12:00+05:00","person":"{}","data":{data}}}"#,
            iin(serial % 900 + 9000)
        )
    };
    let marriage = |serial: u32| {
        let data = format!(
            r#"{{"man":"{}","woman":"{}","registered":"2026-02-14","ended":null}}"#,
            iin(serial % 400 + 9000),
            iin(serial % 400 + 9500)
        );
        format!(r#"{{"register":"zags.marriage","key":"M-77-{serial}","seq":3,"op":"upsert","event_date":"2026-02-14","data":{data}}}"#)
    };
    let person = |serial: u32| {
        let data = r#"{"birth_date":"1985-03-15","sex":"F","surname":"Сәрсенбаева","patronymic":"Ерланқызы"}"#;
        format!(
            r#"{{"register":"gbdfl.person","key":"main","seq":1,"op":"upsert","event_date":"1985-03-15","person":"{}","data":{data}}}"#,
            iin(serial % 900 + 9000)
        )
    };
    measure("enpf.contribution", contribution);
    read("enpf.contribution", contribution);
    measure("zags.marriage", marriage);
    measure("gbdfl.person", person);
}

/// Prints one JSON line: the best round, which other processes disturbed least, and the median.
fn measure(register: &str, line: impl Fn(u32) -> String) {
    let lines: Vec<String> = (0..LINES as u32).map(line).collect();
    let mut intake = Intake::new(registers::kz());
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for line in &lines {
                black_box(intake.decode(black_box(line.as_bytes())).is_ok());
            }
            start.elapsed().as_nanos() as f64 / LINES as f64
        })
        .collect();
    assert!(lines.iter().all(|line| intake.decode(line.as_bytes()).is_ok()), "every line of the benchmark is a good one");
    rounds.sort_by(f64::total_cmp);
    let bytes = lines.iter().map(String::len).sum::<usize>() / LINES;
    let (best, median) = (rounds[0], rounds[ROUNDS / 2]);
    println!(
        r#"{{"bench":"intake","register":"{register}","bytes_per_line":{bytes},"best_ns_per_line":{best:.0},"median_ns_per_line":{median:.0}}}"#
    );
}

/// Reads a file of many lines, compressed as `generate` does, through all threads.
fn read(register: &str, line: impl Fn(u32) -> String) {
    const FILE_LINES: u32 = 1_000_000;
    let path = std::env::temp_dir().join(format!("shanyraq-bench-{}.ndjson.zst", std::process::id()));
    let text: String = (0..FILE_LINES).map(|serial| line(serial) + "\n").collect();
    std::fs::write(&path, zstd::encode_all(text.as_bytes(), 1).expect("compression")).expect("a file in the temporary directory");
    drop(text);
    let start = Instant::now();
    let feed = Feed::open(registers::kz(), std::slice::from_ref(&path), &[], Options::default()).expect("the file just written");
    let items: usize = feed.map(|chunk| chunk.items.len()).sum();
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_file(&path).expect("the file just written");
    println!(r#"{{"bench":"sources","register":"{register}","lines":{items},"lines_per_s":{:.0}}}"#, items as f64 / seconds);
}
