//! A year of many families, every day of which the engine is held against the twin: with one worker and an epoch a day, and with three
//! and an epoch every few lines.

use crate::agreement::{Package, Run, facts_of, kz, name};
use dataflows::model::Date;
use fixtures::lives::{Day, Worlds};
use fixtures::twin::{Twin, World};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

/// How large the year is. Worlds know nothing of each other, so that the twin can be asked about each alone.
#[derive(Clone, Copy, Debug)]
pub struct Year {
    pub seed: u64,
    pub worlds: usize,
    /// In each world, on the first day.
    pub persons: usize,
    pub days: usize,
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    pub days: usize,
    pub lines: usize,
    /// On the last day.
    pub families: usize,
    pub people: usize,
    pub decisions: usize,
    /// On all days together, whatever they are about.
    pub decisions_of_all_days: usize,
}

/// A January, three quarters and twelve months begin after this day.
const START: &str = "2025-06-20";
/// Lines in an epoch of the house with three workers.
const EPOCH_LINES: usize = 40;

/// Lives the year; panics on the first day on which engine and twin differ. `tell` hears of every day.
pub fn live(year: Year, mut tell: impl FnMut(Date, &Compared)) -> Compared {
    let (package, start) = (kz(), Date::parse(START).expect("a date"));
    let mut worlds = Worlds::new(year.seed, year.worlds, year.persons, start);
    let mut runs = [Run::new(&package.0, 1), Run::new(&package.0, 3)];
    let mut compared = Compared::default();
    std::thread::scope(|scope| {
        let twins = Twins::start(scope, &package, year.worlds);
        for _ in 0..year.days {
            let day = worlds.next_day();
            let accepted = feed(&mut runs, &day);
            let stood: BTreeSet<_> = runs[0].decisions.iter().map(name).collect();
            runs.iter_mut().for_each(Run::commit);
            let said = twins.ask(&day, &accepted);
            disjoint(&worlds, year);
            compared.days += 1;
            compared.lines += day.morning.len() + day.worlds.iter().map(Vec::len).sum::<usize>();
            compare(&mut runs, &said, year);
            runs[0].check_doubts(&said, Some(&stood), &format!("{year:?}"));
            runs[1].check_doubts(&said, None, &format!("{year:?}"));
            compared.people = said.iter().map(|world| world.persons.len()).sum();
            compared.families = said.iter().map(|world| world.households.len()).sum();
            compared.decisions = runs[0].decisions.len();
            compared.decisions_of_all_days += compared.decisions;
            tell(runs[0].engine.today(), &compared);
        }
    });
    runs[1].audit().unwrap_or_else(|difference| panic!("{year:?}: {difference}"));
    compared
}

/// Worlds that share a number would not be worlds: such a seed proves nothing.
fn disjoint(worlds: &Worlds, year: Year) {
    let numbers: Vec<&str> = (0..year.worlds).flat_map(|world| worlds.people(world).collect::<BTreeSet<_>>()).collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "{year:?}: take another seed");
}

/// Tells both houses of the day; which lines of each world the door lets in.
fn feed(runs: &mut [Run; 2], day: &Day) -> Vec<Vec<bool>> {
    for line in &day.morning {
        runs.iter_mut().for_each(|run| assert!(run.feed(line)));
    }
    let (mut accepted, mut fed) = (Vec::new(), 0);
    for lines in &day.worlds {
        let mut of_world = Vec::new();
        for line in lines {
            let [one, three] = &mut *runs;
            of_world.push(one.feed(line));
            assert_eq!(three.feed(line), of_world[of_world.len() - 1]);
            fed += 1;
            if fed % EPOCH_LINES == 0 {
                three.commit();
            }
        }
        accepted.push(of_world);
    }
    accepted
}

/// Both houses say what the worlds say, and nothing of a number that was given up in secret.
fn compare(runs: &mut [Run; 2], worlds: &[World], year: Year) {
    for (run, workers) in runs.iter_mut().zip([1, 3]) {
        if !run.agrees(worlds) {
            let (engine, twin) = (run.facts(), worlds.iter().flat_map(facts_of).collect::<BTreeSet<_>>());
            let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
                one.difference(other).take(12).cloned().collect::<Vec<_>>().join("\n    ")
            };
            panic!(
                "{year:?}, {workers} workers, {}\n  the engine alone:\n    {}\n  the twin alone:\n    {}",
                run.engine.today(),
                only(&engine, &twin),
                only(&twin, &engine)
            );
        }
        let told: BTreeSet<&str> =
            run.decisions.iter().flat_map(|decision| [&decision.person, &decision.addressee]).map(String::as_str).collect();
        for secret in worlds.iter().flat_map(|world| &world.secret) {
            assert!(!told.contains(secret.as_str()), "{year:?}, {}: {secret} is told", run.engine.today());
            assert!(!run.told.iter().any(|row| row.contains(secret.as_str())), "{year:?}, {}: {secret} is told", run.engine.today());
        }
    }
}

/// What a thread is asked: the lines of a day, by world.
type Question = Vec<(usize, Vec<Vec<u8>>)>;

/// A twin for each world, on as many threads as there are processors.
struct Twins<'scope> {
    worlds: usize,
    questions: Vec<Sender<Question>>,
    answers: Receiver<(usize, World)>,
    _threads: Vec<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Twins<'scope> {
    fn start(scope: &'scope Scope<'scope, '_>, package: &'scope Package, worlds: usize) -> Twins<'scope> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(worlds);
        let (answer, answers) = channel();
        let (mut questions, mut handles) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (ask, asked) = channel::<Question>();
            let answer = answer.clone();
            questions.push(ask);
            handles.push(scope.spawn(move || reply(&package.1, &asked, &answer)));
        }
        Twins { worlds, questions, answers, _threads: handles }
    }

    /// What is true in each world at the end of the day. A record of one world is a heartbeat to all.
    fn ask(&self, day: &Day, accepted: &[Vec<bool>]) -> Vec<World> {
        let let_in = |world: usize| {
            let lines = day.worlds[world].iter().zip(&accepted[world]);
            lines.filter(|(_, accepted)| **accepted).map(|(line, _)| line.clone())
        };
        let heard = heartbeats((0..self.worlds).flat_map(let_in));
        let mut asked: Vec<Question> = self.questions.iter().map(|_| Vec::new()).collect();
        for world in 0..self.worlds {
            let lines = day.morning.iter().chain(&heard).cloned().chain(let_in(world)).collect();
            asked[world % self.questions.len()].push((world, lines));
        }
        for (thread, question) in self.questions.iter().zip(asked) {
            thread.send(question).expect("a twin that fails says so");
        }
        let said: BTreeMap<usize, World> = (0..self.worlds).map(|_| self.answers.recv().expect("a twin that fails says so")).collect();
        said.into_values().collect()
    }
}

fn reply(texts: &[(String, String)], asked: &Receiver<Question>, answer: &Sender<(usize, World)>) {
    let mut twins: BTreeMap<usize, Twin> = BTreeMap::new();
    for (world, lines) in asked.iter().flatten() {
        let twin = twins.entry(world).or_insert_with(|| Twin::new(texts));
        for line in lines {
            twin.feed(&line).unwrap_or_else(|reason| panic!("the twin refuses what the door lets in: {reason}"));
        }
        if answer.send((world, twin.evaluate())).is_err() {
            return;
        }
    }
}

/// The days until which records, and heartbeats among them, prove their registers to be alive.
fn heartbeats(lines: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut heard: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let line: Json = serde_json::from_slice(&line).expect("a line that the door let in");
        let text = |value: &Json| value.as_str().map(str::to_owned);
        let day = |value: &Json| text(value).map(|moment| moment[..10].to_owned());
        let (register, day) = match line["register"] == "heartbeat" {
            true => (text(&line["key"]), day(&line["data"]["date"])),
            false => (text(&line["register"]), day(&line["event_date"]).max(day(&line["recorded_at"]))),
        };
        let last = heard.entry(register.expect("every line has one")).or_default();
        *last = day.unwrap_or_default().max(std::mem::take(last));
    }
    let beat = |(register, date): (String, String)| {
        json!({ "register": "heartbeat", "key": register, "seq": 1, "op": "upsert", "data": { "date": date } }).to_string().into_bytes()
    };
    heard.into_iter().map(beat).collect()
}

#[test]
fn every_day_of_a_year_is_what_the_twin_says() {
    let compared = live(Year { seed: 1, worlds: 4, persons: 40, days: 365 }, |_, _| ());
    assert_eq!(compared.days, 365);
    assert!(compared.decisions_of_all_days > 365 * 100, "somebody has a right: {compared:?}");
}
