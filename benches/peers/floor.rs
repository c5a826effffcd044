//! The floor: a hand-written program on one thread, without a dataflow. Arrays of people and families; a change is entered, and the families touched by a
//! batch are added up and judged anew.

use super::records::{Batch, Change, Records};
use super::rules::judge;
use super::{Tale, Told, summand};
use std::time::Instant;

#[derive(Default)]
struct Person {
    family: u32,
    child: bool,
    incomes: Vec<(u64, i64)>,
    loans: Vec<(u64, i64, i64)>,
}

struct Family {
    number: u64,
    members: Vec<u32>,
    score: i64,
    category: i64,
    touched: bool,
}

struct World {
    people: Vec<Person>,
    families: Vec<Family>,
}

pub fn tell(records: &Records) -> Tale {
    let begun = Instant::now();
    let mut world = World::load(records);
    let seconds = begun.elapsed().as_secs_f64();
    let told = |world: &World, seconds, changed| Told { seconds, changed, sum: world.sum(), bytes: shanyraq::commands::rss_bytes() };
    let mut tale = Tale::from([("0-load".to_owned(), told(&world, seconds, world.families.len() as u64))]);
    for Batch { name, changes } in &records.batches {
        let begun = Instant::now();
        let changed = world.change(changes);
        let seconds = begun.elapsed().as_secs_f64();
        tale.insert(name.clone(), told(&world, seconds, changed));
    }
    tale
}

impl World {
    fn load(records: &Records) -> World {
        let mut world = World { people: Vec::with_capacity(records.people.len()), families: Vec::new() };
        for (number, person) in (1..).zip(&records.people) {
            if person.parent.is_none() {
                world.families.push(Family { number, members: Vec::new(), score: 0, category: 0, touched: false });
            }
            // Children follow the adult they live with.
            let family = world.families.len() as u32 - 1;
            world.families[family as usize].members.push(number as u32 - 1);
            world.people.push(Person { family, child: person.parent.is_some(), ..Person::default() });
        }
        for (&(person, source), &amount) in &records.incomes {
            world.people[person as usize - 1].incomes.push((source, amount));
        }
        for (&(person, contract), &(balance, overdue)) in &records.loans {
            world.people[person as usize - 1].loans.push((contract, balance, overdue));
        }
        for family in 0..world.families.len() {
            world.judge(family);
        }
        world
    }

    /// Enters changes, and judges the families that they touch; how many are judged otherwise.
    fn change(&mut self, changes: &[Change]) -> u64 {
        let mut touched = Vec::new();
        for change in changes {
            let (Change::Income { person, .. } | Change::Loan { person, .. } | Change::Repaid { person, .. }) = *change;
            let somebody = &mut self.people[person as usize - 1];
            match *change {
                Change::Income { source, amount, .. } => {
                    somebody.incomes.iter_mut().filter(|(known, _)| *known == source).for_each(|(_, known)| *known = amount);
                }
                Change::Loan { contract, balance, overdue, .. } => somebody.loans.push((contract, balance, overdue)),
                Change::Repaid { contract, .. } => somebody.loans.retain(|(known, ..)| *known != contract),
            }
            let family = somebody.family as usize;
            if !std::mem::replace(&mut self.families[family].touched, true) {
                touched.push(family);
            }
        }
        let mut changed = 0;
        for family in touched {
            self.families[family].touched = false;
            changed += u64::from(self.judge(family));
        }
        changed
    }

    /// Adds a family up, and judges it; whether it is judged otherwise than before.
    fn judge(&mut self, family: usize) -> bool {
        let (mut income, mut debt, mut arrears, mut children) = (0, 0, 0, 0);
        for member in &self.families[family].members {
            let person = &self.people[*member as usize];
            income += person.incomes.iter().map(|(_, amount)| amount).sum::<i64>();
            debt += person.loans.iter().map(|(_, balance, _)| balance).sum::<i64>();
            arrears += person.loans.iter().filter(|(.., overdue)| *overdue > 90).count() as i64;
            children += i64::from(person.child);
        }
        let family = &mut self.families[family];
        let (score, category) = judge(family.members.len() as i64, children, income, debt, arrears);
        let before = (std::mem::replace(&mut family.score, score), std::mem::replace(&mut family.category, category));
        before != (score, category)
    }

    fn sum(&self) -> i128 {
        self.families.iter().map(|family| summand(family.number, family.score, family.category)).sum()
    }
}
