//! A small country that lives for a while, an update an epoch, and what each room of the house hears meanwhile.

use crate::alone::Alone;
use dataflows::decisions;
use dataflows::dwellings::{self, Lodged, Sums};
use dataflows::facts::{AdultFact, ChildFact, Resident};
use dataflows::files::{FileEvent, Files, SharedFiles};
use dataflows::households::{self, ListSizes};
use dataflows::indicators::{self, Decided, Measured};
use dataflows::judgements::{self, Rows, SharedRows};
use dataflows::model::{Change, ChangeKind, Date, HouseholdKey, Membership, PersonId, SharedAnswer, Update};
use dataflows::operators::{Entrance, Flow, Listed, PerEpoch, Restorer, Room, Saver};
use dataflows::persons::{self, Facts};
use dataflows::policy::{Policy, Row};
use dataflows::records::{self, ActEvent, Circumstances, SharedActs};
use fixtures::country::Country;
use shanyraq::commands::load_policy;
use shanyraq::intake::{Intake, Item, Schema};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use timely::ExchangeData;

/// A measure is of so many epochs, people, records or lines.
pub const THOUSAND: usize = 1000;
/// People, and days of their life: so many that each room hears something in a thousand epochs.
const PERSONS: usize = 10_000;
const DAYS: usize = 350;

/// Somebody, where they stand, and their packed file.
pub type Person = (PersonId, Membership, Box<[u8]>);

pub struct Life {
    pub policy: Arc<Policy>,
    pub circumstances: Circumstances,
    /// The lines of a thousand records.
    pub lines: Vec<Vec<u8>>,
    pub acts: Heard<Vec<ActEvent>>,
    /// Changes of files, whoever resolved the version.
    pub files: Heard<Vec<FileEvent>>,
    pub ties: Heard<Ties>,
    pub lodged: Heard<Vec<Lodged>>,
    pub measured: Heard<Vec<Measured>>,
    pub decided: Heard<Vec<Decided>>,
    /// A thousand people and households, as they are in the end.
    pub people: Vec<Person>,
    pub rows: Vec<(HouseholdKey, Row)>,
    /// A thousand decisions that were gained with the load.
    pub gained: Vec<Change>,
}

/// What a room heard: in the epoch in which the country was loaded, and in the first thousand in which it heard anything since.
pub struct Heard<Events> {
    pub load: Events,
    pub epochs: Vec<Events>,
}

/// What a room hears in an epoch.
pub trait Events: Clone {
    fn is_nothing(&self) -> bool;
}

impl<Item: Clone> Events for Vec<Item> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// What composition hears in an epoch.
#[derive(Clone)]
pub struct Ties {
    pub adults: Vec<Listed<AdultFact>>,
    pub residents: Vec<Listed<Resident>>,
    pub children: Vec<Listed<ChildFact>>,
}

impl Events for Ties {
    fn is_nothing(&self) -> bool {
        self.adults.is_empty() && self.residents.is_empty() && self.children.is_empty()
    }
}

impl<Of: Events> Heard<Of> {
    fn begin(load: Of) -> Self {
        Heard { load, epochs: Vec::new() }
    }

    fn note(&mut self, events: Of) {
        if !events.is_nothing() && self.epochs.len() < THOUSAND {
            self.epochs.push(events);
        }
    }
}

impl Life {
    /// The same at each run. The business date is the last day from the beginning, so that no epoch is of a new date.
    pub fn live() -> Life {
        let policy = load_policy("kz").unwrap_or_else(|failure| panic!("{}", failure.message));
        let country = Country::new(PERSONS, 1, Date::from_ymd(2026, 1, 1).expect("a day"));
        let mut intake = Intake::new(Arc::new(Schema::from(&*policy)));
        let mut house = House::new(policy.clone());
        let mut population = Vec::new();
        country.population(|line| population.extend(decode(&mut intake, line)));
        let mut life = house.load(policy, population, Date(country.start().0 + DAYS as i32));
        for (_, day) in country.days(DAYS) {
            for line in day.split(|byte| *byte == b'\n') {
                let Some(update) = decode(&mut intake, line) else { continue };
                if life.lines.len() < THOUSAND {
                    life.lines.push(line.to_vec());
                }
                house.epoch([update]);
                house.note(&mut life);
            }
        }
        house.look_around(&mut life);
        life
    }
}

fn decode(intake: &mut Intake, line: &[u8]) -> Option<Update> {
    match intake.decode(line).ok()?.item {
        Item::Update(update) => Some(update),
        Item::Heartbeat { .. } | Item::Calendar(_) => None,
    }
}

/// All rooms, joined as `dataflows::House` joins them, with somebody at each door who notes what is said.
struct House {
    rooms: Alone<(Entrance<FileEvent>, Entrance<ActEvent>)>,
    doors: Doors,
    answer: SharedAnswer,
    files: SharedFiles,
    rows: SharedRows,
}

#[derive(Default)]
struct Doors {
    acts: Door<ActEvent>,
    files: Door<FileEvent>,
    adults: Door<Listed<AdultFact>>,
    residents: Door<Listed<Resident>>,
    children: Door<Listed<ChildFact>>,
    lodged: Door<Lodged>,
    measured: Door<Measured>,
    decided: Door<Decided>,
}

impl House {
    fn new(policy: Arc<Policy>) -> House {
        let (doors, answer, sums) = (Doors::default(), SharedAnswer::default(), Rc::new(RefCell::new(Sums::new(policy.dwelling_slots))));
        let files: SharedFiles = Rc::new(RefCell::new(Files::new(policy.clone())));
        let rows: SharedRows = Rc::new(RefCell::new(Rows::new(policy.slots)));
        let rooms = Alone::build(|site| {
            let ((owned_in, owned), (acts_in, acts)) = (site.enter(), site.enter());
            let resolved = records::resolve(doors.acts.pass(acts), SharedActs::default(), answer.clone(), policy.clone());
            let changed = [owned, resolved].map(|changed| doors.files.pass(changed));
            let (told, Facts { adults, residents, children }) = persons::look(changed, files.clone(), answer.clone(), policy.clone());
            let (adults, residents, children) = (doors.adults.pass(adults), doors.residents.pass(residents), doors.children.pass(children));
            let places = households::compose(Facts { adults, residents, children }, &ListSizes::default());
            let (measured, of_persons, lodged) = indicators::measure(told, places, files.clone(), answer.clone(), policy.clone());
            let completed = dwellings::complete(doors.lodged.pass(lodged), policy.clone(), sums);
            let measured = [measured, completed].map(|measured| doors.measured.pass(measured));
            let of_households = judgements::judge(measured, rows.clone(), answer.clone(), policy.clone());
            let rights = [of_persons, of_households].map(|rights| doors.decided.pass(rights));
            ((owned_in, acts_in), decisions::consolidate(rights, answer.clone(), policy.clone(), Rc::default()))
        });
        House { rooms, doors, answer, files, rows }
    }

    /// The load; all registers are heard on the business date.
    fn load(&mut self, policy: Arc<Policy>, population: Vec<Update>, today: Date) -> Life {
        let feeds = policy.feed_states(&vec![Some(today); policy.registers.len()], today);
        let circumstances = Circumstances { today, feeds };
        self.rooms.entrances.0.send(FileEvent::Circumstances(0, Box::new(circumstances.clone())));
        self.epoch(population);
        let is_gained = |change: &Change| change.kind == ChangeKind::Gained;
        let gained = self.answer.take().changes.into_iter().filter(is_gained).take(THOUSAND).collect();
        let doors = &self.doors;
        Life {
            policy,
            circumstances,
            lines: Vec::new(),
            acts: Heard::begin(doors.acts.told()),
            files: Heard::begin(doors.files.told()),
            ties: Heard::begin(doors.ties()),
            lodged: Heard::begin(doors.lodged.told()),
            measured: Heard::begin(doors.measured.told()),
            decided: Heard::begin(doors.decided.told()),
            people: Vec::new(),
            rows: Vec::new(),
            gained,
        }
    }

    fn epoch(&mut self, updates: impl IntoIterator<Item = Update>) {
        let (owned, acts) = &mut self.rooms.entrances;
        for update in updates {
            match update.person {
                0 => acts.send(ActEvent::Version(update)),
                _ => owned.send(FileEvent::Version(update)),
            }
        }
        self.rooms.close();
    }

    /// Notes what rooms heard in the last epoch.
    fn note(&mut self, life: &mut Life) {
        life.acts.note(self.doors.acts.told());
        life.files.note(self.doors.files.told());
        life.ties.note(self.doors.ties());
        life.lodged.note(self.doors.lodged.told());
        life.measured.note(self.doors.measured.told());
        life.decided.note(self.doors.decided.told());
    }

    /// Notes how people and households are in the end.
    fn look_around(&self, life: &mut Life) {
        let (files, rows) = (self.files.borrow(), self.rows.borrow());
        let is_anybody = |entry: &&_| dataflows::files::Entry::membership(entry).household != HouseholdKey::NONE;
        let person = |entry: &dataflows::files::Entry| (entry.person, entry.membership(), Box::from(files.file_of(entry)));
        life.people.extend(files.entries.iter().filter(is_anybody).take(THOUSAND).map(person));
        for household in rows.sorted_keys().into_iter().take(THOUSAND) {
            let mut row = Row::default();
            rows.read(household, &mut row);
            life.rows.push((household, row));
        }
    }
}

impl Doors {
    fn ties(&self) -> Ties {
        Ties { adults: self.adults.told(), residents: self.residents.told(), children: self.children.told() }
    }
}

/// Notes what goes through.
struct Door<Item>(Rc<RefCell<Vec<Item>>>);

impl<Item> Default for Door<Item> {
    fn default() -> Self {
        Door(Rc::default())
    }
}

impl<Item: ExchangeData + Clone> Door<Item> {
    fn pass<'scope>(&self, flow: Flow<'scope, Item>) -> Flow<'scope, Item> {
        let (through,) = Room::new(flow.site(), "Door").hear(flow, |_| 0).run(Door(self.0.clone()));
        through
    }

    /// What went through since this was last asked.
    fn told(&self) -> Vec<Item> {
        self.0.take()
    }
}

impl<Item: ExchangeData + Clone> PerEpoch for Door<Item> {
    type Event = Item;
    type Outlets = (Vec<Item>,);

    fn receive(&mut self, item: Item, (through,): &mut Self::Outlets) {
        self.0.borrow_mut().push(item.clone());
        through.push(item);
    }

    fn answer(&mut self, _: &mut Self::Outlets) -> bool {
        false
    }

    fn save(&self, _: &mut Saver<'_>) -> io::Result<()> {
        Ok(())
    }

    fn restore(&mut self, _: &mut Restorer<'_>) -> io::Result<()> {
        Ok(())
    }
}
