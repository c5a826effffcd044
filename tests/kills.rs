use crate::folder::Folder;
use crate::pipeline::{by_batch, measure, quiet_story};
use crate::program::{shanyraq, summary};
use crate::running::*;
use crate::sending::{command, configured};
use crate::trouble::{COMPACTED_AT_ONCE, tell_until, told_by_archive_and_journal};
use fixtures::lives::is_calendar;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long such a program may take to let go.
const FAREWELL: Duration = Duration::from_secs(2);

/// A program that meddles with calls of the system of a process, as long as it lives.
pub struct Tracer(Process);

impl Tracer {
    /// With those of all threads: what befalls each such call for one of these files, for any if none is named.
    pub fn of_all(running: &Running, files: &[PathBuf], call: &str, what: &str) -> Tracer {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{what}"));
        let files = files.iter().flat_map(|path| ["-P", path.to_str().unwrap()]);
        let words: Vec<&str> = files.chain(["-e", &trace, "-e", &inject]).collect();
        Tracer::writing(Path::new("/dev/null"), running, &words)
    }

    /// With those of all threads, writing down what calls it sees.
    pub fn writing(to: &Path, running: &Running, what: &[&str]) -> Tracer {
        Tracer::begin(to, &["-f", "-p", &running.process.0.id().to_string()], what)
    }

    /// With those of a thread of this name; none if there is none at the moment.
    fn of_thread(running: &Running, name: &str, what: &[&str]) -> Option<Tracer> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", running.process.0.id())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let task = tasks.find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))?;
        Some(Tracer::begin(Path::new("/dev/null"), &["-p", task.file_name()?.to_str()?], what))
    }

    fn begin(to: &Path, whom: &[&str], what: &[&str]) -> Tracer {
        let mut command = Command::new("strace");
        command.arg("-o").arg(to).args(whom).args(what).stderr(Stdio::piped());
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

/// What makes a record the same: its register, key, version and person.
type Identity = (String, String, u64, String);

/// Of all records among lines; dates and heartbeats are none.
pub fn identities(lines: &[u8]) -> BTreeSet<Identity> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let records = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let records = records.filter(|record| record["register"] != "calendar" && record["register"] != "heartbeat");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let identity =
        |record: Value| (text(&record["register"]), text(&record["key"]), record["seq"].as_u64().unwrap(), text(&record["person"]));
    records.map(identity).collect()
}

/// Of all that a journal holds in which nobody writes.
pub fn journalled(data: &Path) -> BTreeSet<Identity> {
    let exported = shanyraq(["journal", "export", "--data", &data.display().to_string()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    identities(&exported.stdout)
}

/// No record gives way to a newer version of it.
pub const UNCOMPACTED: &str = "segment_bytes = 40_000\nsnapshot_seconds = 0\ncompact_after_segments = 0";

/// The dates among lines, and the others in so many bodies at most that may come in any order.
pub fn parted(lines: &[u8], bodies: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    let (dates, others): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| is_calendar(line));
    let length = others.len().div_ceil(bodies).max(1);
    (dates.concat(), others.chunks(length).map(<[&[u8]]>::concat).collect())
}

/// So many tell at once.
pub const SENDERS: usize = 8;

/// A body, and the epoch in which it was acknowledged, or why it was not.
type Told = (Vec<u8>, Result<u64, String>);

/// Bodies are told by many at once, of whom each goes on with its share until one is not acknowledged. What is done meanwhile hears of each that is.
pub fn tell_at_once(url: &str, bodies: &[Vec<u8>], meanwhile: impl FnOnce(&Receiver<()>)) -> Vec<Told> {
    let tell = |body: &[u8]| match call(url, "POST", "/v1/updates", body)? {
        (200, text) => Ok(serde_json::from_str::<Value>(&text).unwrap()["epoch"].as_u64().unwrap()),
        (status, text) => Err(format!("{status} {text}")),
    };
    let (tells, acknowledgements) = channel();
    std::thread::scope(|scope| {
        let begin = |sender: usize| {
            let tells = tells.clone();
            scope.spawn(move || {
                let mut goes_on = true;
                let told = bodies.iter().skip(sender).step_by(SENDERS).map(|body| {
                    let told = if goes_on { tell(body) } else { Err("not told".to_owned()) };
                    goes_on = told.is_ok();
                    // Nobody listens any more once what is done meanwhile is done.
                    if goes_on {
                        let _ = tells.send(());
                    }
                    (body.clone(), told)
                });
                told.collect::<Vec<Told>>()
            })
        };
        let telling: Vec<_> = (0..SENDERS).map(begin).collect();
        drop(tells);
        meanwhile(&acknowledgements);
        telling.into_iter().flat_map(|telling| telling.join().unwrap()).collect()
    })
}

/// How often the process is killed at most while many tell.
const KILLS_AMONG_MANY: usize = 40;

/// Told by many at once, whose bodies become one epoch as they come, and killed among them again and again, the pipeline loses nothing that it acknowledged
/// to any of them.
#[test]
fn killed_while_many_tell_it_loses_nothing_that_it_acknowledged() {
    let folder = Folder::new("many");
    let data = folder.0.join("data");
    let story = quiet_story(2_000, 4, 8);
    let start = || configured(&folder, "data", "none", UNCOMPACTED);
    let (mut running, mut chance) = (start(), Pcg64Mcg::seed_from_u64(8));
    let (mut kills, mut divided, mut gathered) = (0, 0, 0);
    for (path, body) in &story {
        let (dates, mut bodies) = parted(body, 5 * SENDERS);
        if !dates.is_empty() {
            running.tell(path, &dates).unwrap();
        }
        while !bodies.is_empty() {
            let is_killed = kills < KILLS_AMONG_MANY;
            let url = running.url.clone();
            let told = tell_at_once(&url, &bodies, |acknowledgements| {
                if is_killed {
                    kills += 1;
                    acknowledgements.iter().take(1 + chance.next_u32() as usize % bodies.len()).for_each(drop);
                    std::thread::sleep(Duration::from_micros(u64::from(chance.next_u32() % 300)));
                    running.kill();
                }
            });
            let epochs: Vec<u64> = told.iter().filter_map(|(_, told)| told.as_ref().ok().copied()).collect();
            assert!(
                is_killed || epochs.len() == told.len(),
                "in peace each is acknowledged: {:?}",
                told.iter().find_map(|(_, told)| told.as_ref().err())
            );
            gathered += epochs.len() - epochs.iter().collect::<BTreeSet<_>>().len();
            divided += usize::from(!epochs.is_empty() && epochs.len() < told.len());
            // Only what was not acknowledged is told again.
            bodies = told.into_iter().filter(|(_, told)| told.is_err()).map(|(body, _)| body).collect();
            if is_killed {
                running = start();
            }
        }
    }
    assert!(divided > kills / 4 && gathered > SENDERS, "of {kills} kills {divided} among bodies, of which {gathered} were gathered");
    let decisions = by_batch(&folder, &story);
    assert_eq!(running.decisions(), decisions);
    running.kill();
    let lines: Vec<u8> = story.iter().flat_map(|(_, body)| body.iter().copied()).collect();
    let (told, journalled) = (identities(&lines), journalled(&data));
    assert!(told == journalled, "{:?} is missing", told.difference(&journalled).next());
    running = start();
    assert_eq!(running.decisions(), decisions);
    running.stop();
}

/// Of bodies that are one epoch, whose sync fails, nobody hears that theirs is durable, and nothing of them is there; told again they all are.
#[test]
fn many_whose_epoch_is_not_synced_hear_so_and_come_again() {
    let folder = Folder::new("many-broken");
    let data = folder.0.join("data");
    let mut story = quiet_story(400, 4, 0);
    let opening = story.pop().unwrap();
    let start = || configured(&folder, "data", "none", UNCOMPACTED);
    let mut running = start();
    running.tell(&opening.0, &opening.1).unwrap();
    let lines: Vec<u8> = story.iter().flat_map(|(_, body)| body.iter().copied()).collect();
    let (_, bodies) = parted(&lines, SENDERS);
    assert_eq!(bodies.len(), SENDERS);
    let epoch = |running: &Running| running.insist("GET", "/v1/status", b"").unwrap()["epoch"].as_u64().unwrap();
    let before = epoch(&running);
    // A sync takes so long that the others gather behind the first one.
    let failing = Tracer::of_all(&running, &[], "fdatasync", "error=EIO:delay_enter=500000");
    let told = tell_at_once(&running.url, &bodies, |_| {});
    failing.end();
    let is_refused =
        |told: &Result<u64, String>| told.as_ref().is_err_and(|why| why.starts_with("503") && why.contains("Input/output error"));
    assert!(told.iter().all(|(_, told)| is_refused(told)), "{:?}", told.iter().map(|(_, told)| told).collect::<Vec<_>>());
    let failed = measure(&running, "shanyraq_journal_failed_total").unwrap();
    assert!((1.0..SENDERS as f64).contains(&failed), "{failed} epochs: nobody's failed together with another's");
    assert_eq!(epoch(&running), before);
    let told = tell_at_once(&running.url, &bodies, |_| {});
    assert!(told.iter().all(|(_, told)| told.as_ref().is_ok_and(|epoch| *epoch > before)));
    running.kill();
    assert_eq!(journalled(&data), identities(&lines));
    running = start();
    story.push(opening);
    assert_eq!(running.decisions(), by_batch(&folder, &story));
    running.stop();
}

/// Leaves the beginning of a write at the end of the journal, as a loss of power does.
fn tear(data: &Path) {
    let files = std::fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let end = files.filter(|path| path.extension().is_some_and(|extension| extension == "shj")).max().unwrap();
    File::options().append(true).open(end).unwrap().write_all(b"half an epoch").unwrap();
}

/// Killed while it starts, again and again, with the end of its journal torn, a base and a snapshot half made, and its snapshots lost, the pipeline loses
/// nothing.
#[test]
fn killed_while_it_starts_it_loses_nothing() {
    let folder = Folder::new("starts");
    let data = folder.0.join("data");
    let story = quiet_story(600, 11, 8);
    let begin = || Running::begun(&mut command(&folder, "data", "none", COMPACTED_AT_ONCE), &data, "none", Arc::default());
    let (mut running, mut chance, mut unready) = (begin(), Pcg64Mcg::seed_from_u64(3), 0);
    let mut wait = |longest: Duration| {
        std::thread::sleep(Duration::from_micros(u64::from(chance.next_u32()) % (longest.as_micros() as u64 + 1)));
    };
    for (index, (path, body)) in story.iter().enumerate() {
        let begun = Instant::now();
        running.insist("GET", "/readyz", b"").unwrap();
        let start = begun.elapsed();
        running.insist("POST", path, body).unwrap();
        // Many a time that is while a snapshot or a base is written, or a segment goes to the archive.
        wait(Duration::from_millis(60));
        running.kill();
        tear(&data);
        if index % 3 == 2 {
            std::fs::remove_dir_all(data.join("snapshots")).unwrap();
        }
        for _ in 0..2 {
            let mut starting = begin();
            wait(start);
            unready += usize::from(starting.call("GET", "/readyz", b"").unwrap().0 != 200);
            starting.kill();
        }
        running = begin();
    }
    assert!(unready > story.len() / 2, "{unready} of {} starts were under way", 2 * story.len());
    running.insist("GET", "/readyz", b"").unwrap();
    let decisions = by_batch(&folder, &story);
    assert_eq!(running.decisions(), decisions);
    running.kill();
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    assert_eq!(running.decisions(), decisions, "from a base");
    running.stop();
    assert!(told_by_archive_and_journal(&folder, &data) >= story.len() as u64);
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
    step("an epoch is written to the ledger", "registrar", "pwrite64", 3, 0),
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
        let tracer = match thread {
            "" => Some(Tracer::of_all(running, &[], call, &format!("signal=KILL:when={when}"))),
            thread => {
                let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={when}"));
                Tracer::of_thread(running, thread, &["-e", &trace, "-e", &inject])
            }
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

/// A moment of a compaction: before this call of the system for one of the files whose names begin so.
struct Moment {
    what: &'static str,
    files: &'static str,
    call: &'static str,
}

const fn moment(what: &'static str, files: &'static str, call: &'static str) -> Moment {
    Moment { what, files, call }
}

const COMPACTION: [Moment; 9] = [
    moment("what counts is written", "journal/draft/0000000001.shj", "write"),
    moment("what counts is synced", "journal/draft/0000000001.shj", "fdatasync"),
    moment("what a snapshot holds beside it is synced", "journal/draft/rest", "fsync"),
    moment("the base takes its place", "journal/draft", "rename"),
    moment("a segment is packed", "archive/draft", "write"),
    moment("what is packed is synced", "archive/draft", "fsync"),
    moment("what is packed takes its place", "archive/draft", "rename"),
    moment("a segment goes", "journal/0", "unlink"),
    moment("the base before goes", "journal/base-", "unlinkat"),
];

impl Moment {
    /// Kills the process then.
    fn kill(&self, running: &Running) -> Tracer {
        let path = running.data.join(self.files);
        let (folder, begins) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
        let there = |name: &String| name.starts_with(begins) && name != begins;
        let names = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: Vec<PathBuf> = names.filter(there).map(|name| folder.join(name)).chain([path.clone()]).collect();
        Tracer::of_all(running, &files, self.call, "signal=KILL")
    }
}

/// Killed before each step of a compaction, three times at least, and each time told on from the base alone, the pipeline loses nothing, neither of
/// what counts nor of what goes to the archive, and nobody is texted twice.
#[test]
fn killed_before_each_step_of_a_compaction_it_loses_nothing_and_texts_nobody_twice() {
    let folder = Folder::new("compacting");
    let story = story(600, 11, 45);
    let (decisions, texts) = undisturbed(&folder, &story);
    assert!(texts.len() > 10, "{texts:?}");
    let gateway = Gateway::start(&folder, "compacted.log");
    let start = || configured(&folder, "data", &gateway.address, COMPACTED_AT_ONCE);
    let (mut running, mut answered, mut met) = (start(), BTreeSet::new(), [0; COMPACTION.len()]);
    for (path, body) in &story {
        let mut bodies = vec![(path.clone(), body.clone())];
        while let Some((path, body)) = bodies.pop() {
            // The first bodies leave something to compact.
            let least = (0..met.len()).min_by_key(|index| met[*index]).expect("there are steps");
            let mut acknowledged = None;
            if met[least] < TIMES && running.data.join("archive").exists() {
                let tracer = COMPACTION[least].kill(&running);
                acknowledged = running.insist("POST", &path, &body).ok();
                let ended = acknowledged.is_none() || passes_away(&mut running, Duration::from_secs(10));
                tracer.end();
                if ended || running.call("GET", "/healthz", b"").is_err() {
                    met[least] += 1;
                    running.process.0.wait().unwrap();
                    std::fs::remove_dir_all(running.data.join("snapshots")).unwrap();
                    running = start();
                }
            }
            match acknowledged {
                Some(acknowledgement) => running.settle_all(&acknowledgement).unwrap(),
                None => running.tell(&path, &body).unwrap(),
            }
            bodies.extend(replies(&gateway, &mut answered).into_iter().rev().map(|reply| ("/v1/replies".to_owned(), reply)));
        }
    }
    let missed: Vec<_> = COMPACTION.iter().zip(met).filter(|(_, times)| *times < TIMES).map(|(step, times)| (step.what, times)).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert_eq!(running.decisions(), decisions, "what holds");
    assert_eq!(sorted(&gateway), texts, "what arrived, each once");
    let data = running.data.clone();
    running.stop();
    let verified = summary(&shanyraq(["journal", "verify", "--data", &data.display().to_string()]));
    assert!(verified["last_epoch"].as_u64() > Some(story.len() as u64), "{verified}");
    assert_eq!(Some(told_by_archive_and_journal(&folder, &data)), verified["last_epoch"].as_u64());
}

/// What would be lost with the power, as a trace of calls of the system tells, and what was done that rests on something else.
#[derive(Default)]
struct Ashore {
    /// Files that were written and not synced since, and names that were given and not synced since.
    bytes: BTreeSet<String>,
    names: BTreeSet<String>,
    archived: BTreeSet<String>,
    /// The epoch of the newest base.
    based: u64,
    /// What took its place, and what went.
    seen: BTreeMap<&'static str, usize>,
}

impl Ashore {
    fn given(&self, begins: &str) -> Vec<&String> {
        self.names.iter().filter(|name| name.contains(begins)).collect()
    }

    /// Takes note of a call, by its name, its words, and the files among them.
    fn see(&mut self, call: &str, words: &str) {
        let files: Vec<&str> = words.split(['"', '<', '>']).filter(|word| word.starts_with('/')).collect();
        if words.contains(" = -1 ") {
            return;
        }
        match (call, files.as_slice()) {
            ("openat", [.., file, _]) if words.contains("O_CREAT") => drop(self.names.insert((*file).to_owned())),
            ("write", [file, ..]) | ("copy_file_range", [_, file, ..]) => drop(self.bytes.insert((*file).to_owned())),
            ("fsync" | "fdatasync", [file, ..]) => self.sync(call, file),
            ("rename", [from, to]) => self.rename(from, to),
            ("unlink", [file]) if file.ends_with(".shj") => self.remove_segment(file),
            ("unlinkat", [folder, ..]) if folder.contains("/journal/base-") => self.remove_behind("base", "/journal/base-"),
            ("unlinkat", [folder, ..]) if folder.contains("/snapshots/0") => self.remove_behind("snapshot", "/snapshots/0"),
            // Of a folder that goes nobody needs anything.
            ("unlinkat", [folder, ..]) => {
                [&mut self.bytes, &mut self.names].into_iter().for_each(|files| files.retain(|file| !file.starts_with(folder)));
            }
            _ => {}
        }
    }

    fn sync(&mut self, call: &str, file: &str) {
        self.bytes.remove(file);
        if call == "fsync" {
            self.names.retain(|name| name.rsplit_once('/').is_none_or(|(folder, _)| folder != file));
        }
        let is_segment = file.contains("/journal/0");
        assert!(!is_segment || !self.names.contains(file), "{file} is synced, and its name is not");
    }

    fn rename(&mut self, from: &str, to: &str) {
        if from.ends_with("/draft") {
            let within = |name: &&String| name.starts_with(from);
            let loose: Vec<_> =
                self.bytes.iter().filter(within).chain(self.names.iter().filter(within).filter(|name| *name != from)).collect();
            assert!(loose.is_empty(), "{to} takes its place before all of it is synced: {loose:?}");
            let what = ["/journal/base-", "/snapshots/0", "/archive/0"].into_iter().find(|place| to.contains(place)).expect("a place");
            *self.seen.entry(what).or_default() += 1;
            self.based = to.rsplit_once("/base-").map_or(self.based, |(_, epoch)| epoch.parse().unwrap());
            self.archived.extend(to.contains("/archive/").then(|| to.replace("/archive/", "/journal/").replace(".zst", "")));
        }
        self.names.remove(from);
        self.names.insert(to.to_owned());
    }

    fn remove_segment(&mut self, file: &str) {
        let number: u64 = file.rsplit(['/', '.']).nth(1).unwrap().parse().unwrap();
        // Nothing is in the first segment, and one epoch in each other.
        assert!(number <= self.based + 1, "{file} goes before a base stands for it");
        assert!(self.archived.contains(file), "{file} goes before it is packed");
        self.remove_behind("segment", "/journal/base-");
        assert_eq!(self.given("/archive/0"), Vec::<&String>::new(), "{file} goes before what it is packed as is synced");
    }

    /// Something goes that another one stands for.
    fn remove_behind(&mut self, what: &'static str, stands: &str) {
        assert_eq!(self.given(stands), Vec::<&String>::new(), "a {what} goes before the name of what stands for it is synced");
        *self.seen.entry(what).or_default() += 1;
    }
}

/// Nothing is done that rests on bytes or names which a loss of power may take away: an epoch is acknowledged in a file whose name is synced, a base, a
/// snapshot or a packed segment has its name once all that it holds is synced, and what it stands for goes once that name is.
#[test]
fn whatever_rests_on_a_file_comes_after_its_bytes_and_its_name_are_synced() {
    let folder = Folder::new("ashore");
    let story = quiet_story(400, 4, 12);
    let running = configured(&folder, "data", "none", COMPACTED_AT_ONCE);
    let trace = folder.0.join("trace");
    let calls = "trace=openat,rename,unlink,unlinkat,write,copy_file_range,fsync,fdatasync";
    let tracer = Tracer::writing(&trace, &running, &["-y", "-s", "0", "-e", calls, "-e", "signal=none"]);
    let mut bodies = story.iter().cycle();
    let bases = || running.said.lock().unwrap().iter().filter(|line| line.contains("journal compacted")).count();
    tell_until(&running, &mut bodies, "bases", || bases() > 3);
    tracer.end();
    running.stop();

    let (mut ashore, mut begun) = (Ashore::default(), BTreeMap::new());
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        let (thread, words) = line.split_once(' ').unwrap();
        let words = match words.trim().strip_prefix("<... ") {
            Some(rest) => begun.remove(thread).unwrap_or_default() + rest,
            None => words.trim().to_owned(),
        };
        let (call, rest) = words.split_once('(').unwrap_or_default();
        match words.strip_suffix("<unfinished ...>") {
            // What goes may be gone before the call returns; what is done otherwise is sure once it does.
            Some(words) if !call.starts_with("unlink") => drop(begun.insert(thread.to_owned(), words.to_owned())),
            _ => ashore.see(call, rest),
        }
    }
    let seen = |what: &str| ashore.seen.get(what).copied().unwrap_or(0);
    let often = ["/journal/base-", "/snapshots/0", "/archive/0", "segment", "base", "snapshot"].map(|what| seen(what) > 2);
    assert_eq!(often, [true; 6], "{:?}", ashore.seen);
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
pub fn passes_away(running: &mut Running, patience: Duration) -> bool {
    let begun = Instant::now();
    while running.process.0.try_wait().unwrap().is_none() {
        if begun.elapsed() > patience {
            return false;
        }
    }
    true
}
