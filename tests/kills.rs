use crate::folder::Folder;
use crate::pipeline::{by_batch, quiet_story};
use crate::running::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long such a program may take to let go.
const FAREWELL: Duration = Duration::from_secs(2);

/// A program that meddles with calls of the system of a process, as long as it lives.
pub struct Tracer(Process);

impl Tracer {
    /// With those of all threads.
    pub fn of_all(running: &Running, what: &[&str]) -> Tracer {
        Tracer::begin(&["-f", "-p", &running.process.0.id().to_string()], what)
    }

    /// With those of a thread of this name; none if there is none at the moment.
    fn of_thread(running: &Running, name: &str, what: &[&str]) -> Option<Tracer> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", running.process.0.id())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let task = tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))?;
        Some(Tracer::begin(&["-p", task.file_name()?.to_str()?], what))
    }

    fn begin(whom: &[&str], what: &[&str]) -> Tracer {
        let mut command = Command::new("strace");
        command.args(["-o", "/dev/null"]).args(whom).args(what).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("attached")), "strace does not attach");
        // Whoever writes to nobody is ended.
        std::thread::spawn(move || lines.for_each(drop));
        Tracer(process)
    }

    pub fn end(mut self) {
        let pid = self.0.0.id().to_string();
        Command::new("sh").args(["-c", "kill -INT \"$1\" 2>/dev/null", "sh", &pid]).status().unwrap();
        let begun = Instant::now();
        while self.0.0.try_wait().unwrap().is_none() && begun.elapsed() < FAREWELL {}
        // It may wait for ever for a thread of a process that it has killed; whoever is left goes on without it.
    }
}

/// Killed again and again while a story is told, the pipeline loses nothing that it acknowledged, and nobody is texted twice.
#[test]
fn killed_at_any_moment_it_loses_nothing_and_texts_nobody_twice() {
    kill_again_and_again(200, 5);
}

/// A moment at which the process is killed.
struct Step {
    what: &'static str,
    /// Before this call of the system, when this thread makes it; any thread if it has no name.
    thread: &'static str,
    call: &'static str,
    /// Sometimes only the second or third such call.
    later: usize,
    /// What is done beside the stream is waited for so long.
    patience: Duration,
}

const fn step(what: &'static str, thread: &'static str, call: &'static str, later: usize, patience_milliseconds: u64) -> Step {
    Step { what, thread, call, later, patience: Duration::from_millis(patience_milliseconds) }
}

const STEPS: [Step; 8] = [
    step("an epoch is written to the journal", "scribe", "write", 3, 0),
    step("an epoch is synced", "scribe", "fdatasync", 3, 0),
    step("the journal goes on in another file", "scribe", "openat", 1, 0),
    step("an epoch is written to the ledger", "conductor", "pwrite64", 3, 0),
    step("a file, a snapshot, a base or the ledger is synced", "", "fsync", 3, 300),
    step("a text that was intended is handed over", "messenger", "sendto", 3, 0),
    step("what became of it is heard", "messenger", "recvfrom", 3, 0),
    step("a snapshot or a base takes its place, or a file goes to the archive", "", "rename", 3, 300),
];
/// How often each is met at least.
const TIMES: usize = 3;

/// Killed before each step that matters, three times at least, the pipeline loses nothing that it acknowledged, and nobody is texted twice.
#[test]
fn killed_before_each_step_it_loses_nothing_and_texts_nobody_twice() {
    let (mut tried, mut met) = (BTreeMap::new(), BTreeMap::new());
    tell_disturbed("steps", |running, path, body| {
        // Each body is told under one tracer at most before it is told in peace: for the step that was met least, since some are rare.
        let least = STEPS.iter().min_by_key(|step| met.get(step.what).copied().unwrap_or(0)).expect("there are steps");
        let Step { what, thread, call, later, patience } = *least;
        if met.get(what).is_some_and(|times| *times >= TIMES) {
            return None;
        }
        let tries: &mut usize = tried.entry(what).or_default();
        let when = 1 + *tries % later;
        *tries += 1;
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={when}"));
        let words = ["-e", &trace, "-e", &inject];
        let tracer = match thread {
            "" => Some(Tracer::of_all(running, &words)),
            thread => Tracer::of_thread(running, thread, &words),
        };
        let acknowledged = running.insist("POST", path, body);
        let told = acknowledged.as_ref().is_ok_and(|answer| running.settle_all(answer).is_ok());
        let ended = !told || passes_away(running, patience);
        tracer.into_iter().for_each(Tracer::end);
        // From here on nothing kills it; it may have been just before.
        if ended || running.call("GET", "/healthz", b"").is_err() {
            *met.entry(what).or_insert(0) += 1;
            running.process.0.wait().unwrap();
            running.start_again();
        }
        acknowledged.ok()
    });
    let missed: Vec<_> = STEPS.iter().map(|step| step.what).filter(|what| met.get(what).is_none_or(|times| *times < TIMES)).collect();
    assert!(missed.is_empty(), "{missed:?} of {met:?}");
}

/// A copy that is killed while it writes a snapshot leaves none, and the stream goes on; the next one is whole.
#[test]
fn a_snapshot_that_is_killed_is_none() {
    let folder = Folder::new("killed-copy");
    let story = quiet_story(400, 4, 6);
    let mut running = Running::start(&folder.0.join("data"), "none");
    let part = running.data.join("snapshots/draft/rest").display().to_string();
    let meddle = ["-f", "-P", &part, "-e", "trace=fsync", "-e", "inject=fsync:signal=KILL"];
    let (peace, trouble) = story.split_at(story.len() / 2);
    peace.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let tracer = Tracer::of_thread(&running, "conductor", &meddle).unwrap();
    trouble.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let said = |words: &str| running.said.lock().unwrap().iter().any(|line| line.contains(words));
    let begun = Instant::now();
    while !said("its copy was ended by SIGKILL") {
        assert!(begun.elapsed() < PATIENCE, "no copy was killed");
    }
    tracer.end();
    running.kill();
    running.start_again();
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// Whether the process ends within this time.
fn passes_away(running: &mut Running, patience: Duration) -> bool {
    let begun = Instant::now();
    while running.process.0.try_wait().unwrap().is_none() {
        if begun.elapsed() > patience {
            return false;
        }
    }
    true
}
