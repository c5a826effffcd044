//! How the demonstration looks: a picture redrawn in place on a terminal, else a line a day.

use super::tally::{Changes, Tally};
use crate::dispatch::{Stage, grouped};
use dataflows::model::Date;
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Lines of the family's story that fit.
const STORY_LINES: usize = 12;
const BAR_WIDTH: usize = 30;
/// Columns of a line; what is longer is cut, so that a line stays a line.
const COLUMNS: usize = 110;

/// What is shown.
#[derive(Clone)]
pub struct Snapshot {
    pub date: Date,
    pub day: usize,
    pub days: usize,
    pub people: u64,
    pub families: i64,
    pub records: u64,
    pub records_per_second: u64,
    pub epochs: u64,
    pub changes: Changes,
    pub today: Changes,
    pub latency: Latency,
    pub texts: Vec<(&'static str, u64)>,
    pub stages: Vec<(&'static str, usize)>,
    pub categories: Vec<(u8, i64)>,
    pub family: String,
    pub story: Vec<String>,
}

/// From a record's arrival to its decisions, in nanoseconds.
#[derive(Clone, Copy)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Latency { p50: histogram.value_at_quantile(0.5), p99: histogram.value_at_quantile(0.99), max: histogram.max() }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {}  p99 {}  max {}", duration(self.p50), duration(self.p99), duration(self.max))
    }
}

/// `85 µs`, `1.2 ms`.
fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{} µs", nanoseconds / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.1} s", nanoseconds as f64 / 1e9),
    }
}

/// Texts by kind, and the conversations that are somewhere.
pub fn texts(tally: &Tally) -> Vec<(&'static str, u64)> {
    tally.texts.iter().map(|(kind, count)| (kind.name(), *count)).collect()
}

pub fn stages(counts: &[usize]) -> Vec<(&'static str, usize)> {
    Stage::NAMES.into_iter().zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
}

/// Whether pictures can be drawn, and in colour.
#[derive(Clone, Copy)]
pub struct Terminal {
    pub live: bool,
    colour: bool,
}

impl Terminal {
    pub fn detect() -> Self {
        let live = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        Terminal { live, colour: live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Draws on a thread of its own, so that drawing delays no record.
pub struct Screen {
    snapshots: Option<SyncSender<Snapshot>>,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    pub fn open(terminal: Terminal) -> Self {
        let (sender, receiver) = sync_channel(1);
        let thread = std::thread::spawn(move || draw_all(terminal, &receiver));
        Screen { snapshots: Some(sender), thread: Some(thread) }
    }

    /// Shows this as soon as the last is drawn; while it is not, this one is left out.
    pub fn show(&self, snapshot: Snapshot) {
        if let Some(snapshots) = &self.snapshots {
            let _ = snapshots.try_send(snapshot);
        }
    }

    /// Shows this last.
    pub fn close(mut self, snapshot: Snapshot) {
        if let Some(snapshots) = self.snapshots.take() {
            let _ = snapshots.send(snapshot);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Redraws in place. A terminal that has gone away is no reason to stop.
fn draw_all(terminal: Terminal, snapshots: &Receiver<Snapshot>) {
    let mut lines_above = 0;
    for snapshot in snapshots {
        let picture = picture(terminal, &snapshot);
        let mut out = String::from("\x1b[?25l\x1b[?7l");
        if lines_above > 0 {
            let _ = write!(out, "\x1b[{lines_above}A");
        }
        for line in &picture {
            let _ = write!(out, "\r\x1b[2K{line}\n");
        }
        // Fewer lines than before: what is left below goes.
        out.push_str("\x1b[J\x1b[?7h\x1b[?25h");
        lines_above = picture.len();
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }
}

fn picture(terminal: Terminal, shown: &Snapshot) -> Vec<String> {
    let bold = |text: &str| terminal.paint("1", text);
    let mut lines = vec![
        bold(&format!("Shanyraq   {}   day {} of {}", shown.date, shown.day, shown.days)),
        format!("{} people in {} families; Ctrl-C ends", count(shown.people), count(shown.families.unsigned_abs())),
        String::new(),
        format!("records    {:>9}   {:>7} a second   epochs {:>8}", count(shown.records), count(shown.records_per_second), count(shown.epochs)),
        format!("decisions  {:>9}   changed: {}; today: {}", count(shown.changes.all()), changes(shown.changes), changes(shown.today)),
        format!("latency    {}   from a record's arrival to its decisions", shown.latency),
        String::new(),
    ];
    lines.push(bold("texts sent"));
    lines.extend(in_rows(shown.texts.iter().map(|(name, number)| (*name, *number)).collect()));
    lines.push(bold("conversations"));
    lines.extend(in_rows(shown.stages.iter().map(|(name, number)| (*name, *number as u64)).collect()));
    lines.push(bold("families by category"));
    lines.extend(shown.categories.iter().map(|(category, number)| bar(terminal, *category, *number, shown.families)));
    lines.push(bold(&shown.family));
    let first = shown.story.len().saturating_sub(STORY_LINES);
    lines.extend(shown.story[first..].iter().map(|line| format!("  {}", cut(line))));
    lines
}

fn bar(terminal: Terminal, category: u8, number: i64, families: i64) -> String {
    let share = number as f64 / families.max(1) as f64;
    let full = (share * BAR_WIDTH as f64).round() as usize;
    let bar = terminal.paint("36", &"█".repeat(full));
    format!("  {category}  {:>5.1} %  {bar}", share * 100.0)
}

/// Names and numbers, five in a row.
fn in_rows(pairs: Vec<(&'static str, u64)>) -> Vec<String> {
    pairs.chunks(5).map(|row| row.iter().map(|(name, number)| format!("  {name} {:<6}", count(*number))).collect()).collect()
}

fn changes(changes: Changes) -> String {
    format!("+{} gained −{} lost ~{} amount", count(changes.gained), count(changes.lost), count(changes.amount))
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

fn cut(line: &str) -> String {
    if line.chars().count() <= COLUMNS { line.to_owned() } else { line.chars().take(COLUMNS - 1).chain(['…']).collect() }
}

/// A day in a line, for logs and pipes.
pub fn day_line(shown: &Snapshot, records_of_day: u64) -> String {
    let texts: u64 = shown.texts.iter().map(|(_, number)| number).sum();
    format!(
        "{}  day {:>2}  records {:>7}  decisions {}  texts so far {:>6}  {}",
        shown.date,
        shown.day,
        count(records_of_day),
        changes(shown.today),
        count(texts),
        shown.latency,
    )
}
