//! The floor: a hand-written program on one thread, without a dataflow. Somebody is found by their number, and a record of theirs by its key; what changes is
//! taken from and added to the sums of the family, and each family that a batch touches is judged anew once.

use crate::records::Record;
use crate::rules::{Register, Sums, Values, add, judge};
use crate::telling::{Peer, summand};
use hashbrown::HashMap;

/// The version of a record that counts. One without values is deleted, and kept, so that no earlier version that comes late brings it back.
struct Held {
    register: Register,
    item: u32,
    version: u32,
    values: Option<Values>,
}

struct Person {
    number: u64,
    /// Where whoever their family is named after is in the list of people.
    head: u32,
    records: Vec<Held>,
    /// What is known of the family that is named after them.
    family: Option<Box<Family>>,
}

struct Family {
    sums: Sums,
    judged: Option<(i64, i64)>,
    touched: bool,
}

#[derive(Default)]
pub struct Floor {
    /// Where somebody is in the list of people.
    places: HashMap<u64, u32>,
    people: Vec<Person>,
    /// Heads of families that the batch touches.
    touched: Vec<u32>,
    /// Heads of families that the batch judged otherwise, and how they were judged before.
    changed: Vec<(u32, Option<(i64, i64)>)>,
    sum: i64,
}

impl Floor {
    /// The place of somebody; whoever was not known is alone.
    fn place(&mut self, number: u64) -> u32 {
        *self.places.entry(number).or_insert_with(|| {
            let head = self.people.len() as u32;
            self.people.push(Person { number, head, records: Vec::new(), family: None });
            head
        })
    }

    fn enter(&mut self, record: &Record) {
        let place = self.place(record.person);
        let person = &mut self.people[place as usize];
        let Some(before) = person.replace(record) else { return };
        if record.register == Register::Parent {
            let head = record.values.map_or(place, |[parent, ..]| self.place(parent as u64));
            return self.join(place, head);
        }
        let head = person.head;
        let sums = self.touch(head);
        before.iter().for_each(|values| add(sums, -1, record.register, values));
        record.values.iter().for_each(|values| add(sums, 1, record.register, values));
    }

    /// The sums of a family, which will be judged anew.
    fn touch(&mut self, head: u32) -> &mut Sums {
        let nothing = || Box::new(Family { sums: [0; 32], judged: None, touched: false });
        let family = self.people[head as usize].family.get_or_insert_with(nothing);
        if !std::mem::replace(&mut family.touched, true) {
            self.touched.push(head);
        }
        &mut family.sums
    }

    /// Somebody joins the family of somebody, with all that they have.
    fn join(&mut self, place: u32, head: u32) {
        let person = &mut self.people[place as usize];
        let before = std::mem::replace(&mut person.head, head);
        let mut moved = [0; 32];
        for Held { register, values, .. } in &person.records {
            values.iter().for_each(|values| add(&mut moved, 1, *register, values));
        }
        if moved != [0; 32] {
            self.touch(before).iter_mut().zip(moved).for_each(|(sum, part)| *sum -= part);
            self.touch(head).iter_mut().zip(moved).for_each(|(sum, part)| *sum += part);
        }
    }
}

impl Person {
    /// Takes a record in; what it said before, or nothing at all if a version is held that is not older.
    fn replace(&mut self, record: &Record) -> Option<Option<Values>> {
        let Record { register, item, version, values, .. } = *record;
        match self.records.iter_mut().find(|held| held.item == item && held.register == register) {
            Some(held) if held.version >= version => None,
            Some(held) => {
                held.version = version;
                Some(std::mem::replace(&mut held.values, values))
            }
            None => {
                self.records.push(Held { register, item, version, values });
                Some(None)
            }
        }
    }
}

impl Peer for Floor {
    type Ready = Vec<Record>;

    fn prepare(&mut self, records: Vec<Record>) -> Vec<Record> {
        records
    }

    fn take(&mut self, records: &mut Vec<Record>) {
        records.iter().for_each(|record| self.enter(record));
    }

    fn conclude(&mut self) {
        for head in self.touched.drain(..) {
            let family = self.people[head as usize].family.as_mut().expect("it was touched");
            family.touched = false;
            // A family without members is none.
            let now = (family.sums[0] > 0).then(|| judge(&family.sums));
            let before = std::mem::replace(&mut family.judged, now);
            if before != now {
                self.changed.push((head, before));
            }
        }
    }

    fn answer(&mut self) -> (u64, i64) {
        let changed = self.changed.len() as u64;
        for (head, before) in self.changed.drain(..) {
            let Person { number, family, .. } = &self.people[head as usize];
            let part = |judged: Option<(i64, i64)>| judged.map_or(0, |judged| summand(*number, judged));
            self.sum += part(family.as_ref().and_then(|family| family.judged)) - part(before);
        }
        (changed, self.sum)
    }
}
