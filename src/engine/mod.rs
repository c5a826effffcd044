//! The engine: runs the house on worker threads, one epoch at a time, and reads it between epochs.
//!
//! It also keeps what the house is told about everybody: the greatest date seen, when each register was last heard, and which
//! numbers mean the same person.

mod numbers;
pub mod outcome;
pub mod regions;

use crate::memory;
use dataflows::aliases::Aliases;
use dataflows::decisions::standing;
use dataflows::files::FileEvent;
use dataflows::model::{
    Change, ChangeKind, Date, Decision, Epoch, EpochAnswer, Fault, HouseholdKey, Ignored, Membership, Move, PersonId, Rejudged,
    Renumbering, Restanding, Role, Standing, Update,
};
use dataflows::operators::{Restorer, Saver};
use dataflows::policy::{FeedState, Judgement, Policy, Right, Row};
use dataflows::records::{Circumstances, Held};
use dataflows::{House, Sizes};
use numbers::{Act, Numbers, Settled};
use outcome::{Conclusions, Outcome};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::iter::Flatten;
use std::sync::mpsc::{IntoIter, Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Commands that wait for a worker; beyond, whoever feeds it waits, so that memory stays flat.
const COMMANDS_AHEAD: usize = 8;
/// After an epoch with so many changes memory is given back.
const MUCH: usize = 100_000;
/// Rows of a view that travel together from a worker.
const VIEW_CHUNK_ROWS: usize = 128;
/// Chunks of a view that a worker may be ahead of its reader.
const VIEW_CHUNKS_AHEAD: usize = 4;

/// What an epoch changed.
#[derive(Clone, Debug)]
pub struct EpochOutput {
    pub epoch: Epoch,
    /// The business date at its end; `Date::BEFORE_ALL` before the first.
    pub date: Date,
    /// In the order of people and rights.
    pub changes: Vec<Change>,
    /// Faults that appeared (+1) and ended (−1), sorted.
    pub faults: Vec<(Fault, isize)>,
    pub standings: Vec<Restanding>,
    /// Who moved between households or has another role, in the order of people; see [`EpochAnswer::moves`].
    pub moves: Vec<Move>,
    /// Households with other scores, in the order of their keys.
    pub rejudged: Vec<Rejudged>,
    /// Nothing was said before: where everybody stands is told by views alone.
    pub is_first: bool,
    /// Households whose sums changed.
    pub rows_changed: u64,
    pub ignored: Ignored,
    /// Whose numbers mean something else than before.
    pub renumbered: Vec<Renumbering>,
}

/// A household, its row, and what follows from it.
pub type JudgedRow = (HouseholdKey, Row, Judgement);
/// A person and the values of all person indicators.
pub type PersonRow = (PersonId, Vec<i64>);

enum Command {
    Submit(Vec<Update>),
    Circumstances(Circumstances),
    Hold,
    Aliases(Aliases, Vec<Act>),
    Rewrite(Vec<FileEvent>),
    /// Ends an epoch with these updates.
    Close(Vec<Update>),
    Members(SyncSender<Vec<(HouseholdKey, PersonId, Role)>>),
    Judgements(Circumstances, SyncSender<Vec<JudgedRow>>),
    Persons(Circumstances, SyncSender<Vec<PersonRow>>),
    File(PersonId, Sender<Option<(Box<[u8]>, Membership)>>),
    Row(HouseholdKey, Sender<Option<Row>>),
    Held(u16, Sender<Vec<Held>>),
    Sizes(Sender<Sizes>),
    With(Box<dyn FnOnce(&mut House) + Send>),
}

struct WorkerHandle {
    commands: SyncSender<Command>,
    answers: Receiver<EpochAnswer>,
}

/// The house on N worker threads.
pub struct Engine {
    policy: Arc<Policy>,
    workers: Vec<WorkerHandle>,
    thread: Option<JoinHandle<()>>,
    epoch: Epoch,
    today: Date,
    heard: Vec<Option<Date>>,
    told: Option<Circumstances>,
    numbers: Numbers,
    next_worker: usize,
    /// The last updates of the open epoch, and whose they are: they go with what ends it, so that a worker is woken once for a small one.
    last: (usize, Vec<Update>),
}

impl Engine {
    /// Starts the workers. They end when the engine is dropped.
    pub fn start(policy: Arc<Policy>, workers: usize) -> Engine {
        let (handles, ends): (Vec<_>, Vec<_>) = (0..workers).map(|_| worker_channels()).unzip();
        let ends = Arc::new(Mutex::new(ends.into_iter().map(Some).collect::<Vec<_>>()));
        let house_policy = policy.clone();
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let configuration = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
            let guards = timely::execute(configuration, move |worker| {
                let end = ends.lock().expect("no worker panics while holding it")[worker.index()].take();
                let (commands, answers) = end.expect("each worker starts once");
                let _guard = Together;
                let house = House::build(worker, house_policy.clone());
                serve(worker, house, &commands, &answers);
            });
            drop(guards.expect("the configuration is valid"));
        });
        Engine {
            heard: vec![None; policy.registers.len()],
            numbers: Numbers::new(policy.clone()),
            policy,
            workers: handles,
            thread: Some(thread.expect("a thread can be started")),
            epoch: 0,
            today: Date::BEFORE_ALL,
            told: None,
            next_worker: 0,
            last: (0, Vec::new()),
        }
    }

    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The business date: the greatest seen.
    pub fn today(&self) -> Date {
        self.today
    }

    /// Adds updates to the open epoch.
    pub fn submit(&mut self, mut updates: Vec<Update>) {
        for update in &updates {
            self.hear(update.register, update.heard);
            self.numbers.note(update);
        }
        self.numbers.divert(&mut updates);
        let (worker, before) = std::mem::replace(&mut self.last, (self.next_worker, updates));
        if !before.is_empty() {
            self.send(worker, Command::Submit(before));
        }
        self.next_worker = (self.next_worker + 1) % self.workers.len();
    }

    /// A register was alive on this date.
    pub fn hear(&mut self, register: u16, date: Date) {
        let heard = &mut self.heard[register as usize];
        *heard = (*heard).max((date > Date::BEFORE_ALL).then_some(date));
    }

    /// When each register that ever was was last heard.
    pub fn heard(&self) -> impl Iterator<Item = (u16, Date)> {
        (0..).zip(&self.heard).filter_map(|(register, heard)| Some((register, (*heard)?)))
    }

    /// Moves the business date: never backwards.
    pub fn set_date(&mut self, date: Date) {
        self.today = self.today.max(date);
    }

    /// The day after, of which nothing is known but that whatever register can be relied on today is heard then too: one that is
    /// silent stays so.
    pub fn quiet_day(&mut self) -> EpochOutput {
        let feeds = self.circumstances().feeds;
        self.set_date(Date(self.today.0 + 1));
        for (register, _) in (0..).zip(feeds).filter(|(_, state)| *state == FeedState::Fresh) {
            self.hear(register, self.today);
        }
        self.commit()
    }

    /// Closes the epoch, and returns what it changed once all of it is known.
    pub fn commit(&mut self) -> EpochOutput {
        self.epoch += 1;
        let Settled { renumbered, mut faults, aliases } = self.numbers.settle(self.today);
        if aliases {
            faults.extend(self.regroup());
        }
        let rewritten = self.numbers.rewrite();
        if !rewritten.is_empty() {
            self.send(0, Command::Rewrite(rewritten));
        }
        let is_first = self.told.is_none() && self.today > Date::BEFORE_ALL;
        if self.today > Date::BEFORE_ALL {
            let now = self.circumstances();
            if self.told.as_ref() != Some(&now) {
                (0..self.workers.len()).for_each(|worker| self.send(worker, Command::Circumstances(now.clone())));
                self.told = Some(now);
            }
        }
        let last = std::mem::take(&mut self.last);
        let answers = self.close(last);
        let mut output = EpochOutput {
            epoch: self.epoch,
            date: self.today,
            changes: Vec::new(),
            faults,
            standings: Vec::new(),
            moves: Vec::new(),
            rejudged: Vec::new(),
            is_first,
            rows_changed: 0,
            ignored: Ignored::default(),
            renumbered,
        };
        for answer in answers {
            // A first load brings millions: those of one worker are not copied, and have room for the others behind them.
            let (mut roomy, mut rest) = (output.changes, answer.changes);
            if rest.capacity() > roomy.capacity() {
                std::mem::swap(&mut roomy, &mut rest);
            }
            roomy.extend(rest);
            output.changes = roomy;
            output.faults.extend(answer.faults);
            output.standings.extend(answer.standings);
            output.moves.extend(answer.moves);
            output.rejudged.extend(answer.rejudged);
            output.rows_changed += answer.rows_changed;
            output.ignored += answer.ignored;
        }
        let aliases = self.numbers.aliases();
        for change in output.changes.iter_mut().filter(|change| aliases.is_secret(change.decision.person)) {
            change.kind = ChangeKind::Sealed;
        }
        // Those of each worker are in order already, and need only be merged.
        output.changes.sort_by(Change::in_order);
        differential_dataflow::consolidation::consolidate(&mut output.faults);
        output.standings.sort_unstable();
        output.moves.sort_unstable();
        output.rejudged.sort_unstable_by_key(|(household, _)| *household);
        output
    }

    /// Ends an epoch of the house with its last updates.
    fn close(&self, (of, mut last): (usize, Vec<Update>)) -> impl Iterator<Item = EpochAnswer> + use<'_> {
        for worker in 0..self.workers.len() {
            let updates = if worker == of { std::mem::take(&mut last) } else { Vec::new() };
            self.send(worker, Command::Close(updates));
        }
        self.workers.iter().map(|worker| worker.answers.recv().expect("a worker lives as long as the engine"))
    }

    /// Has other numbers mean the same person from this epoch on: what came in it so far settles in files, and then what they hold is
    /// moved. To the outside both are one epoch. The faults that came up before.
    fn regroup(&mut self) -> Vec<(Fault, isize)> {
        (0..self.workers.len()).for_each(|worker| self.send(worker, Command::Hold));
        let last = std::mem::take(&mut self.last);
        let faults = self.close(last).flat_map(|answer| answer.faults).collect();
        let workers = &self.workers;
        let mut acts = self.numbers.regroup(|number| file(workers, number).map(|(file, _)| file));
        for worker in 0..self.workers.len() {
            self.send(worker, Command::Aliases(self.numbers.aliases().clone(), std::mem::take(&mut acts)));
        }
        faults
    }

    /// Date and feeds as they are now.
    pub fn circumstances(&self) -> Circumstances {
        self.circumstances_under(&self.policy)
    }

    /// The same as another policy with these registers has them.
    pub fn circumstances_under(&self, policy: &Policy) -> Circumstances {
        let heard: Vec<Option<Date>> = self.heard.iter().map(|heard| heard.map(|date| date.min(self.today))).collect();
        Circumstances { today: self.today, feeds: policy.feed_states(&heard, self.today) }
    }

    /// Everybody who has a place, by household and person. Here and below nothing else can be asked while a view is read: workers wait
    /// for its reader, and would answer nobody.
    pub fn members(&mut self) -> impl Iterator<Item = (HouseholdKey, PersonId, Role)> + use<'_> {
        merge(self.view(|_, to| Command::Members(to)), |member| *member)
    }

    /// The members of each household, in the order of keys.
    pub fn households(&mut self) -> impl Iterator<Item = (HouseholdKey, Vec<(PersonId, Role)>)> + use<'_> {
        let mut members = self.members().peekable();
        std::iter::from_fn(move || {
            let (household, person, role) = members.next()?;
            let mut family = vec![(person, role)];
            while let Some((_, person, role)) = members.next_if(|(other, ..)| *other == household) {
                family.push((person, role));
            }
            Some((household, family))
        })
    }

    /// All households, judged as they stand, in the order of keys.
    pub fn judgements(&mut self) -> impl Iterator<Item = JudgedRow> + use<'_> {
        merge(self.view(Command::Judgements), |(household, ..)| *household)
    }

    /// The person indicators of everybody who has a place, in the order of people.
    pub fn person_values(&mut self) -> impl Iterator<Item = PersonRow> + use<'_> {
        merge(self.view(Command::Persons), |(person, _)| *person)
    }

    /// What was concluded of everybody, from all that is held. It takes as long as looking at everybody once.
    pub fn outcome(&self) -> Outcome {
        let now = self.circumstances();
        let conclusions = self.with_houses(move |_, house| conclusions(house, &now));
        Outcome::new(self.policy.clone(), conclusions, &self.secret())
    }

    /// All numbers of people who have several.
    pub fn of_several_numbers(&self) -> BTreeSet<PersonId> {
        self.numbers.of_several()
    }

    /// Numbers that were given up in secret.
    pub fn secret(&self) -> BTreeSet<PersonId> {
        self.numbers.aliases().secret()
    }

    fn view<T: Send + 'static>(&self, command: impl Fn(Circumstances, SyncSender<Vec<T>>) -> Command) -> Vec<Flatten<IntoIter<Vec<T>>>> {
        let mut parts = Vec::new();
        for worker in 0..self.workers.len() {
            let (sender, receiver) = sync_channel::<Vec<T>>(VIEW_CHUNKS_AHEAD);
            self.send(worker, command(self.circumstances(), sender));
            parts.push(receiver.into_iter().flatten());
        }
        parts
    }

    /// The packed file and the place of a person.
    pub fn file(&self, person: PersonId) -> Option<(Box<[u8]>, Membership)> {
        file(&self.workers, person)
    }

    /// The same of several people.
    pub fn files(&self, people: &BTreeSet<PersonId>) -> HashMap<PersonId, (Box<[u8]>, Membership)> {
        let people = people.clone();
        let files = self.with_houses(move |_, house| {
            let file = |person: &PersonId| house.file(*person).map(|file| (*person, file));
            people.iter().filter_map(file).collect::<Vec<_>>()
        });
        files.into_iter().flatten().collect()
    }

    /// What stands of these people's rights, those in doubt among them; nothing of a number given up in secret.
    pub fn decisions_of(&self, people: &BTreeSet<PersonId>) -> Vec<Decision> {
        let now = self.circumstances();
        let own = self.with_houses({
            let (now, people) = (now.clone(), people.clone());
            move |_, house| house.own_rights(&now, &people)
        });
        let (own, households): (Vec<Vec<Right>>, Vec<BTreeSet<HouseholdKey>>) = own.into_iter().unzip();
        let households: BTreeSet<HouseholdKey> = households.into_iter().flatten().collect();
        let of_households = self.with_houses(move |_, house| house.household_rights(&now, &households));
        let rights = own.into_iter().chain(of_households).flatten();
        let secret = self.secret();
        let rights = rights.filter(|right| people.contains(&right.decision.person) && !secret.contains(&right.decision.person));
        standing(&self.policy, rights.collect())
    }

    /// The row of a household.
    pub fn row(&self, household: HouseholdKey) -> Option<Row> {
        let (sender, receiver) = channel();
        (0..self.workers.len()).for_each(|worker| self.send(worker, Command::Row(household, sender.clone())));
        drop(sender);
        receiver.into_iter().flatten().next()
    }

    /// The winning version of every identity of a register, as of the last commit.
    pub fn held(&self, register: u16) -> impl Iterator<Item = Held> {
        let (sender, receiver) = channel();
        (0..self.workers.len()).for_each(|worker| self.send(worker, Command::Held(register, sender.clone())));
        let originals = self.numbers.held(register);
        // What the house holds of people with several numbers is not as it came.
        let as_it_came = |held: &Held| !self.numbers.is_one_of_several(held.person);
        receiver.into_iter().flatten().filter(as_it_came).chain(originals)
    }

    /// What all workers hold together.
    pub fn sizes(&self) -> Sizes {
        let (sender, receiver) = channel();
        (0..self.workers.len()).for_each(|worker| self.send(worker, Command::Sizes(sender.clone())));
        drop(sender);
        let mut sizes = Sizes::default();
        receiver.into_iter().for_each(|part| sizes += part);
        sizes
    }

    /// Has each worker do something with its share of the house, between epochs; the answers in the order of workers.
    pub fn with_houses<T: Send + 'static>(&self, work: impl Fn(usize, &mut House) -> T + Clone + Send + 'static) -> Vec<T> {
        let mut answers = Vec::new();
        for worker in 0..self.workers.len() {
            let (sender, receiver) = channel();
            let work = work.clone();
            self.send(worker, Command::With(Box::new(move |house| drop(sender.send(work(worker, house))))));
            answers.push(receiver);
        }
        answers.into_iter().map(|answer| answer.recv().expect("a worker lives as long as the engine")).collect()
    }

    /// The last epoch that was committed.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Writes what is held beside the houses, between epochs.
    pub fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&(self.epoch, self.today, &self.heard, &self.told))?;
        self.numbers.save(saver)
    }

    /// Takes in what was written, of an engine of the same package whose houses are restored too, before anything is submitted.
    pub fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        (self.epoch, self.today, self.heard, self.told) = restorer.get()?;
        self.numbers.restore(restorer)?;
        self.resume_after(self.epoch);
        Ok(())
    }

    /// Goes on after this epoch, of which everything is known.
    pub fn resume_after(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.with_houses(move |_, house| house.resume_after(epoch));
    }

    fn send(&self, worker: usize, command: Command) {
        self.workers[worker].send(command);
    }
}

impl WorkerHandle {
    fn send(&self, command: Command) {
        self.commands.send(command).expect("a worker lives as long as the engine");
    }
}

/// The packed file and the place of a person, from the worker that keeps them.
fn file(workers: &[WorkerHandle], person: PersonId) -> Option<(Box<[u8]>, Membership)> {
    let (sender, receiver) = channel();
    workers.iter().for_each(|worker| worker.send(Command::File(person, sender.clone())));
    drop(sender);
    receiver.into_iter().flatten().next()
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.workers.clear();
        if let Some(thread) = self.thread.take() {
            // A panic of a worker was reported where it happened.
            let _ = thread.join();
        }
    }
}

type WorkerEnds = (Receiver<Command>, Sender<EpochAnswer>);

fn worker_channels() -> (WorkerHandle, WorkerEnds) {
    let (commands, commands_end) = sync_channel(COMMANDS_AHEAD);
    let (answers_end, answers) = channel();
    (WorkerHandle { commands, answers }, (commands_end, answers_end))
}

/// What a worker's house concluded of everybody it keeps.
pub fn conclusions(house: &House, now: &Circumstances) -> Conclusions {
    let mut conclusions = Conclusions { rights: house.rights(now), ..Conclusions::default() };
    house.members(|(household, person, role)| conclusions.places.push((person, Membership { household, role })));
    house.judgements(now, |household, _, judgement| {
        conclusions.standings.push((household, Standing { category: judgement.category, level: judgement.level }));
    });
    conclusions
}

/// Ends the process with a worker that panics: its peers would wait for it for ever.
struct Together;

impl Drop for Together {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// One worker's loop: ends when the engine is gone.
fn serve(worker: &mut timely::worker::Worker, mut house: House, commands: &Receiver<Command>, answers: &Sender<EpochAnswer>) {
    let mut much_was_said = false;
    // A reader that went away is no failure: what it asked for is dropped.
    for command in commands {
        if std::mem::take(&mut much_was_said) {
            // Whoever it was said to is through with it.
            memory::give_back();
        }
        match command {
            Command::Submit(mut updates) => {
                house.submit(&mut updates);
                house.work(worker);
            }
            Command::Circumstances(now) => house.set_circumstances(now),
            Command::Hold => house.hold(),
            Command::Aliases(aliases, acts) => house.set_aliases(aliases, acts),
            Command::Rewrite(events) => house.rewrite(events),
            Command::Close(mut updates) => {
                house.submit(&mut updates);
                let mut answer = house.close(worker);
                answer.changes.sort_unstable_by(Change::in_order);
                much_was_said = answer.changes.len() >= MUCH;
                let _ = answers.send(answer);
                if much_was_said {
                    // What was in hand meanwhile is free at once: the ledger needs room for what was said.
                    memory::give_back();
                }
            }
            Command::Members(to) => {
                let mut rows = Chunks { rows: Vec::new(), to };
                house.members(|member| rows.push(member));
                rows.flush();
            }
            Command::Judgements(now, to) => {
                let mut rows = Chunks { rows: Vec::new(), to };
                house.judgements(&now, |household, row, judgement| rows.push((household, row.clone(), judgement.clone())));
                rows.flush();
            }
            Command::Persons(now, to) => {
                let mut rows = Chunks { rows: Vec::new(), to };
                house.person_values(&now, |person, values| rows.push((person, values.to_vec())));
                rows.flush();
            }
            Command::File(person, to) => {
                let _ = to.send(house.file(person));
            }
            Command::Row(household, to) => {
                let _ = to.send(house.row(household));
            }
            Command::Held(register, to) => {
                let _ = to.send(house.held(register));
            }
            Command::Sizes(to) => {
                let _ = to.send(house.sizes());
            }
            Command::With(work) => work(&mut house),
        }
    }
}

/// Rows on their way to a reader.
struct Chunks<T> {
    rows: Vec<T>,
    to: SyncSender<Vec<T>>,
}

impl<T> Chunks<T> {
    fn push(&mut self, row: T) {
        self.rows.push(row);
        if self.rows.len() == VIEW_CHUNK_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let _ = self.to.send(std::mem::take(&mut self.rows));
    }
}

/// Merges sorted parts into one sorted sequence.
fn merge<T, K: Ord, I: Iterator<Item = T>>(parts: Vec<I>, key: impl Fn(&T) -> K) -> impl Iterator<Item = T> {
    let mut parts: Vec<_> = parts.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let least = (0..parts.len()).filter_map(|index| parts[index].peek().map(|head| (key(head), index))).min()?.1;
        parts[least].next()
    })
}
