//! Everything that workers hold as it is after one epoch, to be asked while the stream goes on: copies of the process answer, one a worker.

use super::Failure;
use super::audit::said_by_twin;
use super::questions::Questions;
use crate::engine::outcome::Conclusions;
use crate::engine::regions::Regions;
use crate::engine::{Engine, conclusions};
use crate::snapshot::{Answering, answering};
use dataflows::House;
use dataflows::dwellings::Lodged;
use dataflows::model::{Date, Epoch, HouseholdKey, Membership, PersonId};
use dataflows::operators::spread;
use dataflows::policy::{Policy, Right, Row};
use dataflows::records::Circumstances;
use dataflows::review::{Gained, OfPeople, Part, Review, Rights};
use dataflows::ties::address;
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
    PeopleUnderBoth(Part),
    DwellingsUnderBoth(Vec<Lodged>),
    FamiliesUnderBoth(Part, Vec<Gained>),
    ByTwin(Vec<(String, String)>, Vec<(String, Vec<String>)>),
}

/// A policy, and date and registers as it has them.
type Under = (Arc<Policy>, Circumstances);

/// Packed files and places, by person.
pub(crate) type FilesOf = BTreeMap<PersonId, (Box<[u8]>, Membership)>;

impl Questions {
    /// The moment between two epochs; the stream stands still while the process is copied.
    pub(crate) fn moment(&self) -> Result<Moment, Failure> {
        self.moment_under(None)
    }

    /// The same, to be looked at under another policy too; regions are told in the words of that one.
    pub(super) fn moment_under(&self, other: Option<Arc<Policy>>) -> Result<Moment, Failure> {
        let at = |error| Failure::Folder { path: self.data.clone(), error };
        self.ask(|engine, _| Moment::of(engine, other)).ok_or_else(|| at(io::Error::other("the pipeline ended")))?.map_err(at)
    }
}

impl Moment {
    pub fn of(engine: &Engine, other: Option<Arc<Policy>>) -> io::Result<Moment> {
        let (policy, now) = (engine.policy().clone(), engine.circumstances());
        let other: Option<Under> = other.map(|other| (other.clone(), engine.circumstances_under(&other)));
        let copies = engine.with_houses({
            let (policy, now) = (policy.clone(), now.clone());
            move |_, house| {
                let mut respondent = Respondent { house, in_force: (policy.clone(), now.clone()), other: other.clone(), review: None };
                answering(|question, out| respondent.answer(question, out))
            }
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

    /// Asks the people of a part of all families under both policies; the answer is [`Moment::people_under_both`].
    pub fn ask_people_under_both(&mut self, part: Part) -> io::Result<()> {
        self.copies.iter_mut().try_for_each(|copy| copy.ask(&Question::PeopleUnderBoth(part)))
    }

    /// What the people answer who were asked last: what their families' rows have more under the other policy, with what their dwellings add
    /// up to, and the rights by which both differ. `None` if only an engine that is told everything tells.
    pub fn people_under_both(&mut self) -> io::Result<Option<(Vec<Gained>, Vec<Rights>)>> {
        let answers = self.copies.iter_mut().map(Answering::answer).collect::<io::Result<Vec<Option<OfPeople>>>>()?;
        let Some(answers) = answers.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let (mut gained, mut lodged, mut rights) = (Vec::new(), Vec::new(), Vec::new());
        for answer in answers {
            gained.extend(answer.gained);
            lodged.extend(answer.lodged);
            rights.push(answer.rights);
        }
        if !lodged.is_empty() {
            let completed: Vec<Vec<Gained>> = self.ask_keepers(lodged, |lodged| lodged.address, Question::DwellingsUnderBoth)?;
            gained.extend(completed.into_iter().flatten());
        }
        Ok(Some((gained, rights)))
    }

    /// What their families answer, of whom `gained` is known: the rights by which both policies differ.
    pub fn families_under_both(&mut self, part: Part, gained: Vec<Gained>) -> io::Result<Vec<Rights>> {
        self.ask_keepers(gained, |(household, _)| household.0, |gained| Question::FamiliesUnderBoth(part, gained))
    }

    /// What the twin says of families, each told by its lines, under a package of these texts. Where it panics a copy ends, and no more.
    pub fn by_twin(mut self, texts: Vec<(String, String)>, families: Vec<(String, Vec<String>)>) -> io::Result<Vec<String>> {
        // The others would keep memory for nothing.
        self.copies.truncate(1);
        self.copies[0].ask(&Question::ByTwin(texts, families))?;
        let said: io::Result<Result<Vec<String>, String>> = self.copies[0].answer();
        said.map_err(|error| io::Error::new(error.kind(), format!("the twin gives no answer: {error}")))?.map_err(io::Error::other)
    }

    /// Asks each copy about those things that it keeps.
    fn ask_keepers<T, A: DeserializeOwned>(
        &mut self,
        things: Vec<T>,
        key: impl Fn(&T) -> u64,
        question: impl Fn(Vec<T>) -> Question,
    ) -> io::Result<Vec<A>> {
        let mut shares: Vec<Vec<T>> = self.copies.iter().map(|_| Vec::new()).collect();
        for thing in things {
            let keeper = spread(key(&thing)) % self.copies.len() as u64;
            shares[keeper as usize].push(thing);
        }
        for (copy, share) in self.copies.iter_mut().zip(shares) {
            copy.ask(&question(share))?;
        }
        self.copies.iter_mut().map(Answering::answer).collect()
    }

    /// Where these people live, of those of whom it is known.
    pub fn regions(&mut self, people: BTreeSet<PersonId>) -> io::Result<BTreeMap<PersonId, String>> {
        Ok(self.ask::<BTreeMap<_, _>>(&Question::Regions(people))?.into_iter().flatten().collect())
    }
}

/// A copy of a worker that is asked.
struct Respondent<'a> {
    house: &'a House,
    in_force: Under,
    /// What else it is to be looked at under.
    other: Option<Under>,
    review: Option<Review>,
}

impl Respondent<'_> {
    fn answer(&mut self, question: Question, out: &mut dyn Write) -> io::Result<()> {
        let (house, (policy, now)) = (self.house, &self.in_force);
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
            Question::Regions(people) => put(out, &self.regions(people)),
            Question::Row(household) => put(out, &house.row(household)),
            Question::Rights(household, members) => {
                let (mut rights, _) = house.own_rights(now, &members);
                rights.extend(house.household_rights(now, &BTreeSet::from([household])));
                put(out, &rights)
            }
            Question::PeopleUnderBoth(part) => {
                let answer = self.review().map(|review| house.review_people(review, part));
                put(out, &answer)
            }
            Question::DwellingsUnderBoth(lodged) => {
                let answer = self.review().map(|review| house.review_dwellings(review, lodged));
                put(out, &answer.unwrap_or_default())
            }
            Question::FamiliesUnderBoth(part, gained) => {
                let answer = self.review().map(|review| house.review_families(review, part, gained));
                put(out, &answer.unwrap_or_default())
            }
            Question::ByTwin(texts, families) => put(out, &said_by_twin(&texts, &families)),
        }
    }

    fn regions(&self, people: BTreeSet<PersonId>) -> BTreeMap<PersonId, String> {
        let (policy, now) = self.other.as_ref().unwrap_or(&self.in_force);
        let mut reader = Regions::new(policy, now);
        let mut region = |person| {
            let (file, place) = self.house.file(person)?;
            Some((person, reader.name(person, &file, place.role)?))
        };
        people.into_iter().filter_map(&mut region).collect()
    }

    /// What compares the two policies, if that can be done.
    fn review(&mut self) -> Option<&mut Review> {
        if self.review.is_none() {
            let ((policy, now), (other, under)) = (&self.in_force, self.other.as_ref()?);
            self.review = Review::new(policy, other, now, &under.feeds);
        }
        self.review.as_mut()
    }
}

fn put(out: &mut dyn Write, answer: &impl Serialize) -> io::Result<()> {
    bincode::serialize_into(out, answer).map_err(io::Error::other)
}

fn is_housed(place: Membership) -> bool {
    place.household != HouseholdKey::NONE && !place.household.is_excluded()
}
