//! What each room of the house costs by itself, and what stands before and behind it: `cargo bench --bench rooms`, or
//! `cargo bench --bench rooms -- judgements` for one.
//!
//! A small country lives for a while, and each room hears what it heard there, alone. A measure is of a thousand: what is said in milliseconds is
//! microseconds for each.

mod alone;
#[path = "../../tests/folder.rs"]
#[allow(dead_code)]
mod folder;
mod life;
mod memory;

use alone::{Alone, unheard};
use dataflows::files::{FileEvent, Files, SharedFiles};
use dataflows::judgements::Rows;
use dataflows::model::{Ignored, PersonId, SharedAnswer};
use dataflows::operators::{Place, Shelf, Table, hash};
use dataflows::persons::Facts;
use dataflows::policy::file::Record;
use dataflows::policy::versions::{Shared, Versions};
use dataflows::policy::{Contribution, Environment, Evaluator, Judgement, Policy};
use dataflows::records::SharedActs;
use dataflows::{decisions, dwellings, households, judgements, persons, records};
use divan::Bencher;
use divan::counter::ItemsCount;
use folder::Folder;
use life::{Events, Heard, Life, Person, THOUSAND};
use shanyraq::commands::package_texts;
use shanyraq::dispatch::Terms;
use shanyraq::engine::{Engine, EpochOutput};
use shanyraq::intake::{Intake, Schema};
use shanyraq::journal::entries::entries;
use shanyraq::journal::{Journal, SEGMENT_BYTES, read_epochs};
use shanyraq::ledger::{Ledger, Page, Resettled, Store};
use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// As the program itself has it.
#[global_allocator]
static ALLOCATOR: shanyraq::memory::Memory = shanyraq::memory::Memory;

static LIFE: LazyLock<Life> = LazyLock::new(Life::live);

/// Measures are repeated so often, or as often as it can be done in this time.
const ROUNDS: u32 = 20;
const LONGEST: Duration = Duration::from_secs(1);

fn main() {
    divan::Divan::default().sample_count(ROUNDS).sample_size(1).max_time(LONGEST).config_with_args().main();
}

/// What a thousand of anything costs; `begin` is not counted.
fn of_thousand<Begun, Ended>(bencher: Bencher<'_, '_>, begin: impl FnMut() -> Begun, work: impl FnMut(Begun) -> Ended) {
    bencher.counter(ItemsCount::new(THOUSAND)).with_inputs(begin).bench_local_values(work);
}

/// What a thousand epochs cost a room that has heard the load.
fn of_room<Room, Of: Events>(bencher: Bencher<'_, '_>, heard: &Heard<Of>, build: impl Fn() -> Room, hear: impl Fn(&mut Room, Of)) {
    assert_eq!(heard.epochs.len(), THOUSAND, "the country lives long enough");
    let loaded = || {
        let mut room = build();
        hear(&mut room, heard.load.clone());
        (room, heard.epochs.clone())
    };
    of_thousand(bencher, loaded, |(mut room, epochs)| {
        epochs.into_iter().for_each(|events| hear(&mut room, events));
        room
    });
}

#[divan::bench(name = "intake: a line")]
fn intake(bencher: Bencher<'_, '_>) {
    let schema = Arc::new(Schema::from(&*LIFE.policy));
    let begin = || Intake::new(schema.clone());
    of_thousand(bencher, begin, |mut intake| LIFE.lines.iter().filter(|line| intake.decode(line).is_ok()).count());
}

#[divan::bench(name = "journal: an epoch written")]
fn journal_written(bencher: Bencher<'_, '_>) {
    let (schema, epochs) = written();
    let begin = || Journal::open(memory::Memory::default(), schema.dictionary(), SEGMENT_BYTES, 0).expect("memory can be written");
    of_thousand(bencher, begin, |mut journal| {
        write(&mut journal, &epochs);
        journal
    });
}

#[divan::bench(name = "journal: an epoch read")]
fn journal_read(bencher: Bencher<'_, '_>) {
    let ((schema, epochs), disk) = (written(), memory::Memory::default());
    let mut journal = Journal::open(disk.clone(), schema.dictionary(), SEGMENT_BYTES, 0).expect("memory can be written");
    write(&mut journal, &epochs);
    of_thousand(
        bencher,
        || 0,
        |mut records| {
            let read = read_epochs(&disk, 0, u64::MAX, |epoch| {
                records += entries(&epoch.entries).count();
                Ok(())
            });
            read.expect("it was written just now");
            records
        },
    );
}

fn write(journal: &mut Journal<memory::Memory>, epochs: &[Vec<u8>]) {
    for entries in epochs {
        journal.append(entries).expect("memory can be written");
    }
}

/// A thousand records as the journal has them, an epoch each.
fn written() -> (Arc<Schema>, Vec<Vec<u8>>) {
    let schema = Arc::new(Schema::from(&*LIFE.policy));
    let mut intake = Intake::journalling(schema.clone());
    let mut write = |line: &Vec<u8>| {
        intake.decode(line).expect("it was accepted before");
        intake.take_entries()
    };
    let epochs = LIFE.lines.iter().map(&mut write).collect();
    (schema, epochs)
}

#[divan::bench(name = "operators: a key put into a table")]
fn table_put(bencher: Bencher<'_, '_>) {
    let known = keys(&LIFE.people);
    of_thousand(bencher, Table::<PersonId>::default, |mut table| {
        known.iter().for_each(|person| table.insert(hash(*person), *person, |person| hash(*person)));
        table
    });
}

#[divan::bench(name = "operators: a key found in a table")]
fn table_found(bencher: Bencher<'_, '_>) {
    let (known, mut table) = (keys(&LIFE.people), Table::<PersonId>::default());
    known.iter().for_each(|person| table.insert(hash(*person), *person, |person| hash(*person)));
    of_thousand(bencher, || (), |()| known.iter().filter(|person| table.find(hash(**person), |key| key == *person).is_some()).count());
}

fn keys(people: &[Person]) -> Vec<PersonId> {
    people.iter().map(|(person, ..)| *person).collect()
}

#[divan::bench(name = "operators: a file put on a shelf")]
fn shelf_put(bencher: Bencher<'_, '_>) {
    of_thousand(bencher, Shelf::default, |mut shelf| {
        let places: Vec<Place> = LIFE.people.iter().map(|(.., file)| shelf.put(file)).collect();
        (shelf, places)
    });
}

#[divan::bench(name = "operators: a file replaced by another one's")]
fn shelf_replaced(bencher: Bencher<'_, '_>) {
    let begin = || {
        let mut shelf = Shelf::default();
        let places: Vec<Place> = LIFE.people.iter().map(|(.., file)| shelf.put(file)).collect();
        (shelf, places)
    };
    of_thousand(bencher, begin, |(mut shelf, mut places)| {
        places.iter_mut().zip(LIFE.people.iter().rev()).for_each(|(place, (.., file))| shelf.replace(place, file));
        (shelf, places)
    });
}

#[divan::bench(name = "records: versions of acts resolved")]
fn resolved(bencher: Bencher<'_, '_>) {
    let build = || {
        Alone::build(|site| {
            let (entrance, acts) = site.enter();
            (entrance, unheard([records::resolve(acts, SharedActs::default(), SharedAnswer::default(), LIFE.policy.clone())]))
        })
    };
    of_room(bencher, &LIFE.acts, build, Alone::hear);
}

#[divan::bench(name = "files: records taken in")]
fn taken_in(bencher: Bencher<'_, '_>) {
    let build = || Files::new(LIFE.policy.clone());
    of_room(bencher, &LIFE.files, build, |files, events| {
        events.into_iter().filter(is_about_a_file).for_each(|event| files.receive(event));
        end_epoch(files);
    });
}

fn is_about_a_file(event: &FileEvent) -> bool {
    matches!(event, FileEvent::Version(_) | FileEvent::Put(..) | FileEvent::Remove(..))
}

/// As the room does that looks at people last.
fn end_epoch(files: &mut Files) {
    for turn in 0..files.touched() {
        let slot = files.touched_slot(turn);
        files.settle(slot, files.horizon(slot));
    }
    files.finish(true);
}

#[divan::bench(name = "persons: files taken in and looked at")]
fn looked_at(bencher: Bencher<'_, '_>) {
    let build = || {
        let files: SharedFiles = Rc::new(RefCell::new(Files::new(LIFE.policy.clone())));
        let rooms = Alone::build(|site| {
            let ((entrance, owned), (_, resolved)) = (site.enter(), site.enter());
            let (told, facts) = persons::look([owned, resolved], files.clone(), SharedAnswer::default(), LIFE.policy.clone());
            unheard([facts.adults]);
            unheard([facts.residents]);
            unheard([facts.children]);
            (entrance, unheard([told]))
        });
        (rooms, files)
    };
    of_room(bencher, &LIFE.files, build, |(rooms, files), events| {
        rooms.hear(events);
        end_epoch(&mut files.borrow_mut());
    });
}

#[divan::bench(name = "persons: composition of a file")]
fn composition(bencher: Bencher<'_, '_>) {
    of_people(bencher, |evaluator, environment, (person, _, file)| {
        black_box(evaluator.composition(environment, *person, file, |_| {}));
    });
}

#[divan::bench(name = "households: lists of whoever belongs together")]
fn composed(bencher: Bencher<'_, '_>) {
    let build = || {
        Alone::build(|site| {
            let ((adults_in, adults), (residents_in, residents), (children_in, children)) = (site.enter(), site.enter(), site.enter());
            let places = households::compose(Facts { adults, residents, children }, &households::ListSizes::default());
            ((adults_in, residents_in, children_in), unheard(places))
        })
    };
    of_room(bencher, &LIFE.ties, build, |rooms, ties| {
        let (adults, residents, children) = &mut rooms.entrances;
        ties.adults.into_iter().for_each(|fact| adults.send(fact));
        ties.residents.into_iter().for_each(|fact| residents.send(fact));
        ties.children.into_iter().for_each(|fact| children.send(fact));
        rooms.close();
    });
}

#[divan::bench(name = "indicators: contribution of a person")]
fn contribution(bencher: Bencher<'_, '_>) {
    let mut contribution = Contribution::default();
    of_people(bencher, |evaluator, environment, (person, place, file)| {
        black_box(evaluator.contribution(environment, *person, file, *place, &mut contribution));
    });
}

#[divan::bench(name = "indicators: contribution of a person, a record changed")]
fn contribution_changed(bencher: Bencher<'_, '_>) {
    let (changed, environment) = (changed_files(), environment());
    assert_eq!(changed.len(), THOUSAND, "the country lives long enough");
    let (mut before, mut now) = (Contribution::default(), Contribution::default());
    of_thousand(
        bencher,
        || Evaluator::new(LIFE.policy.clone()),
        |mut evaluator| {
            for ((person, place, file), register, file_now) in &changed {
                let no_fault = None::<fn(usize, u16)>;
                let sides = [&mut before, &mut now];
                // The last record is the other one.
                let versions = Versions { files: [file, file_now], shared: Shared { head: file.len(), tail: 0 } };
                black_box(evaluator.contributions(&environment, (*person, *place), &[*register], versions, sides, no_fault));
            }
        },
    );
}

/// People of whom one record is another one: as they were, its register, and their file as it is.
fn changed_files() -> Vec<(Person, u16, Box<[u8]>)> {
    let mut changed = Vec::new();
    for (person, place, file) in &LIFE.people {
        let records: Vec<Record<'_>> = dataflows::policy::file::records(file).collect();
        let Some(last) = records.last() else { continue };
        let without: Vec<u8> = records[..records.len() - 1].iter().flat_map(|record| record.bytes).copied().collect();
        changed.push(((*person, *place, without.into()), last.register, file.clone()));
    }
    changed
}

#[divan::bench(name = "dwellings: claims completed")]
fn completed(bencher: Bencher<'_, '_>) {
    let build = || {
        Alone::build(|site| {
            let (entrance, lodged) = site.enter();
            let sums = Rc::new(RefCell::new(dwellings::Sums::new(LIFE.policy.dwelling_slots)));
            (entrance, unheard([dwellings::complete(lodged, LIFE.policy.clone(), sums)]))
        })
    };
    of_room(bencher, &LIFE.lodged, build, Alone::hear);
}

#[divan::bench(name = "judgements: a row changed")]
fn judged(bencher: Bencher<'_, '_>) {
    let build = || {
        Alone::build(|site| {
            let ((entrance, measured), (_, completed)) = (site.enter(), site.enter());
            let rows = Rc::new(RefCell::new(Rows::new(LIFE.policy.slots)));
            let judged = judgements::judge([measured, completed], rows, SharedAnswer::default(), LIFE.policy.clone());
            (entrance, unheard([judged]))
        })
    };
    of_room(bencher, &LIFE.measured, build, Alone::hear);
}

#[divan::bench(name = "judgements: a row judged")]
fn judgement(bencher: Bencher<'_, '_>) {
    let (mut judgement, environment) = (Judgement::default(), environment());
    of_thousand(
        bencher,
        || Evaluator::new(LIFE.policy.clone()),
        |mut evaluator| {
            LIFE.rows.iter().for_each(|(household, row)| evaluator.judge(&environment, row, *household, &mut judgement));
        },
    );
}

#[divan::bench(name = "decisions: rights netted")]
fn netted(bencher: Bencher<'_, '_>) {
    let build = || {
        Alone::build(|site| {
            let ((entrance, of_persons), (_, of_households)) = (site.enter(), site.enter());
            let rights = [of_persons, of_households];
            (entrance, decisions::consolidate(rights, SharedAnswer::default(), LIFE.policy.clone(), Rc::default()))
        })
    };
    of_room(bencher, &LIFE.decided, build, Alone::hear);
}

/// The whole package. On a thread of its own, since a thread remembers what it has parsed.
#[divan::bench(name = "policy: the package compiled (one)")]
fn compiled(bencher: Bencher<'_, '_>) {
    let texts = package_texts("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
    let load = || Policy::load(&texts).expect("a built-in package");
    bencher.bench_local(|| std::thread::scope(|scope| scope.spawn(load).join().expect("loading does not panic")));
}

#[divan::bench(name = "policy: all indicators of a person")]
fn values(bencher: Bencher<'_, '_>) {
    of_people(bencher, |evaluator, environment, (person, place, file)| {
        black_box(evaluator.person_values(environment, *person, file, place.role));
    });
}

fn environment() -> Environment {
    LIFE.policy.environment(LIFE.circumstances.today, &LIFE.circumstances.feeds)
}

/// What evaluations of a thousand people cost.
fn of_people(bencher: Bencher<'_, '_>, mut evaluate: impl FnMut(&mut Evaluator, &Environment, &Person)) {
    let environment = environment();
    of_thousand(
        bencher,
        || Evaluator::new(LIFE.policy.clone()),
        |mut evaluator| {
            LIFE.people.iter().for_each(|person| evaluate(&mut evaluator, &environment, person));
        },
    );
}

#[divan::bench(name = "ledger: a change written, of a thousand")]
fn ledger(bencher: Bencher<'_, '_>) {
    let (policy, mut engine) = (&LIFE.policy, Engine::start(LIFE.policy.clone(), 1));
    let output = EpochOutput {
        epoch: 1,
        date: LIFE.circumstances.today,
        changes: LIFE.gained.clone(),
        faults: Vec::new(),
        standings: Vec::new(),
        moves: Vec::new(),
        rejudged: Vec::new(),
        is_first: false,
        rows_changed: 0,
        ignored: Ignored::default(),
        renumbered: Vec::new(),
    };
    let mut begun = 0;
    let begin = || {
        begun += 1;
        let folder = Folder::new(&format!("rooms-{begun}"));
        let store = Store::open(&folder.0.join("ledger.db"), policy.clone()).expect("a file can be made");
        (store, Ledger::new(Terms::from(&**policy)), output.clone(), folder)
    };
    of_thousand(bencher, begin, |(mut store, mut ledger, mut output, folder)| {
        let resettled = Resettled { standings: &output.standings, moves: &output.moves };
        let effects = ledger.apply(output.epoch, output.date, resettled, &output.changes, &[]);
        let silences = ledger.silences_of(&output.changes);
        let page = Page::of(&mut output, (silences, effects), (&mut ledger, &mut engine), &mut None);
        store.write(&[page]).expect("a file can be written");
        (store, ledger, folder)
    });
}
