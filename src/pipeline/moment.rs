//! Everything that workers hold as it is after one epoch, to be asked while the stream goes on: copies of the process answer, one a worker.

use super::Failure;
use super::questions::Questions;
use crate::engine::outcome::Conclusions;
use crate::engine::regions::Regions;
use crate::engine::{Engine, conclusions};
use crate::snapshot::{Answering, answering};
use dataflows::House;
use dataflows::model::{Date, Epoch, HouseholdKey, Membership, PersonId};
use dataflows::persons::address;
use dataflows::policy::{Policy, Right, Row};
use dataflows::records::Circumstances;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

/// The moment, and what is known of it without asking.
pub(crate) struct Moment {
    pub epoch: Epoch,
    pub policy: Arc<Policy>,
    pub now: Circumstances,
    pub heard: Vec<(u16, Date)>,
    /// Numbers that were given up in secret, and those of people who have several: what is known of these is kept elsewhere.
    pub secret: BTreeSet<PersonId>,
    pub several: BTreeSet<PersonId>,
    copies: Vec<Answering>,
}

/// What a worker is asked; each keeps a part of everything.
#[derive(Serialize, Deserialize)]
enum Question {
    Conclusions,
    Housed,
    Households(BTreeSet<usize>),
    Members(BTreeSet<HouseholdKey>),
    Files(BTreeSet<PersonId>),
    Residents(BTreeSet<u64>),
    Row(HouseholdKey),
    Rights(HouseholdKey, BTreeSet<PersonId>),
    Regions(BTreeSet<PersonId>),
}

/// Packed files and places, by person.
pub(crate) type FilesOf = BTreeMap<PersonId, (Box<[u8]>, Membership)>;

impl Questions {
    /// The moment between two epochs; the stream stands still while the process is copied.
    pub(crate) fn moment(&self) -> Result<Moment, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        self.ask(|engine, _| Moment::of(engine)).ok_or_else(|| at(io::Error::other("the pipeline ended")))?.map_err(at)
    }
}

impl Moment {
    pub fn of(engine: &Engine) -> io::Result<Moment> {
        let (policy, now) = (engine.policy().clone(), engine.circumstances());
        let copies = engine.with_houses({
            let (policy, now) = (policy.clone(), now.clone());
            move |_, house| answering(|question, out| answer(house, &policy, &now, &question, out))
        });
        Ok(Moment {
            epoch: engine.epoch(),
            policy,
            now,
            heard: engine.heard().collect(),
            secret: engine.secret(),
            several: engine.of_several_numbers(),
            copies: copies.into_iter().collect::<io::Result<_>>()?,
        })
    }

    /// What all workers answer, in their order.
    fn ask<A: DeserializeOwned>(&mut self, question: &Question) -> io::Result<Vec<A>> {
        self.copies.iter_mut().try_for_each(|copy| copy.ask(question))?;
        self.copies.iter_mut().map(Answering::answer).collect()
    }

    /// What is concluded of everybody.
    pub fn conclusions(&mut self) -> io::Result<Vec<Conclusions>> {
        self.ask(&Question::Conclusions)
    }

    /// How many people have a family.
    pub fn housed(&mut self) -> io::Result<usize> {
        Ok(self.ask::<usize>(&Question::Housed)?.into_iter().sum())
    }

    /// The families of those who have these places among all who have one.
    pub fn households(&mut self, places: &BTreeSet<usize>) -> io::Result<BTreeSet<HouseholdKey>> {
        let (mut households, mut first) = (BTreeSet::new(), 0);
        for (worker, housed) in self.ask::<usize>(&Question::Housed)?.into_iter().enumerate() {
            let places = places.range(first..first + housed).map(|place| place - first).collect();
            self.copies[worker].ask(&Question::Households(places))?;
            households.extend(self.copies[worker].answer::<Vec<HouseholdKey>>()?);
            first += housed;
        }
        Ok(households)
    }

    /// Who is in these households, and as what.
    pub fn members(&mut self, households: &BTreeSet<HouseholdKey>) -> io::Result<Vec<(PersonId, Membership)>> {
        Ok(self.ask::<Vec<_>>(&Question::Members(households.clone()))?.concat())
    }

    /// What is known of these people.
    pub fn files(&mut self, people: BTreeSet<PersonId>) -> io::Result<FilesOf> {
        Ok(self.ask::<FilesOf>(&Question::Files(people))?.into_iter().flatten().collect())
    }

    /// Who is registered at these addresses.
    pub fn residents(&mut self, addresses: BTreeSet<u64>) -> io::Result<Vec<(u64, PersonId)>> {
        Ok(self.ask::<Vec<_>>(&Question::Residents(addresses))?.concat())
    }

    /// The row of a household.
    pub fn row(&mut self, household: HouseholdKey) -> io::Result<Option<Row>> {
        Ok(self.ask::<Option<Row>>(&Question::Row(household))?.into_iter().flatten().next())
    }

    /// The rights of a household and of those in it.
    pub fn rights(&mut self, household: HouseholdKey, members: BTreeSet<PersonId>) -> io::Result<Vec<Right>> {
        Ok(self.ask::<Vec<Right>>(&Question::Rights(household, members))?.concat())
    }

    /// Where these people live, of those of whom it is known.
    pub fn regions(&mut self, people: BTreeSet<PersonId>) -> io::Result<BTreeMap<PersonId, String>> {
        Ok(self.ask::<BTreeMap<_, _>>(&Question::Regions(people))?.into_iter().flatten().collect())
    }
}

/// Writes what a worker answers.
fn answer(house: &House, policy: &Arc<Policy>, now: &Circumstances, question: &Question, out: &mut dyn Write) -> io::Result<()> {
    match question {
        Question::Conclusions => put(out, &conclusions(house, now)),
        Question::Housed => {
            let mut housed = 0;
            house.files(|_, _, place| housed += usize::from(is_housed(place)));
            put(out, &housed)
        }
        Question::Households(places) => {
            let (mut households, mut at) = (Vec::new(), 0);
            house.files(|_, _, place| {
                if is_housed(place) {
                    households.extend(places.contains(&at).then_some(place.household));
                    at += 1;
                }
            });
            put(out, &households)
        }
        Question::Members(households) => {
            let mut members = Vec::new();
            house.files(|person, _, place| members.extend(households.contains(&place.household).then_some((person, place))));
            put(out, &members)
        }
        Question::Files(people) => {
            let files: FilesOf = people.iter().filter_map(|person| Some((*person, house.file(*person)?))).collect();
            put(out, &files)
        }
        Question::Residents(addresses) => {
            let environment = policy.environment(now.today, &now.feeds);
            let (mut residents, mut fields) = (Vec::new(), Vec::new());
            house.files(|person, file, _| {
                let address = address(policy, &environment, person, file, &mut fields);
                residents.extend(addresses.contains(&address).then_some((address, person)));
            });
            put(out, &residents)
        }
        Question::Regions(people) => {
            let mut reader = Regions::new(policy, now);
            let mut region = |person| {
                let (file, place) = house.file(person)?;
                Some((person, reader.read(person, &file, place.role)?.to_owned()))
            };
            let regions: BTreeMap<PersonId, String> = people.iter().filter_map(|person| region(*person)).collect();
            put(out, &regions)
        }
        Question::Row(household) => put(out, &house.row(*household)),
        Question::Rights(household, members) => {
            let (mut rights, _) = house.own_rights(now, members);
            rights.extend(house.household_rights(now, &BTreeSet::from([*household])));
            put(out, &rights)
        }
    }
}

fn put(out: &mut dyn Write, answer: &impl Serialize) -> io::Result<()> {
    bincode::serialize_into(out, answer).map_err(io::Error::other)
}

fn is_housed(place: Membership) -> bool {
    place.household != HouseholdKey::NONE && !place.household.is_excluded()
}
