//! Room 5: dwellings. What everybody registered at one address adds up to, for the rights that rest on that (domain.md 2.2, rule 9).
//!
//! A second grouping beside households: a family may span dwellings, a dwelling many families. Only housing measures look at it.
//! A claim that rests on a dwelling comes here first, is completed with the sums of the dwelling, and goes on to the household of
//! the person who claims; so a household's row knows all that it is judged by, and nothing is sent back to anybody.

use crate::indicators::{Difference, Measured};
use crate::model::HouseholdKey;
use crate::operators::{Column, Flow, PerEpoch, Restorer, Room, Saver, StoreSize, Table, hash, spread};
use crate::policy::{Claim, Policy};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// A change of what somebody gives to a dwelling. What they claim of it belongs to their household.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lodged {
    pub address: u64,
    pub household: HouseholdKey,
    /// Slots are counted from the first of the dwelling.
    pub difference: Difference,
}

/// Completes claims that rest on a dwelling, and completes them anew when its sums change.
pub fn complete<'scope>(lodged: Flow<'scope, Lodged>, policy: Arc<Policy>, sums: SharedSums) -> Flow<'scope, Measured> {
    let dwellings = Dwellings { policy, sums, claims: HashMap::new(), touched: HashMap::new() };
    let (completed,) = Room::new(lodged.site(), "Dwellings").hear(lodged, |lodged| spread(lodged.address)).run(dwellings);
    completed
}

/// Claims of the residents of a dwelling, each with the household that it goes to.
type Claims = Vec<(HouseholdKey, Claim)>;

/// Only dwellings with claims are remembered as they were before an epoch.
struct Dwellings {
    policy: Arc<Policy>,
    sums: SharedSums,
    claims: HashMap<u64, Claims>,
    /// What was completed before, of every dwelling that may now complete something else.
    touched: HashMap<u64, Claims>,
}

/// The keyed store of what one worker's dwellings add up to.
pub struct Sums {
    index: Table<u32>,
    addresses: Column<u64>,
    /// A column a sum.
    sums: Vec<Column<i64>>,
    /// Slots of nobody, where every sum is zero.
    free: Vec<u32>,
    /// `(slot of the sum, reason, residents)`, only for dwellings where some share is unknown.
    unknown: HashMap<u64, Vec<(u16, u16, i32)>>,
}

/// The sums, shared with whoever asks about claims on the same worker.
pub type SharedSums = Rc<RefCell<Sums>>;

impl PerEpoch for Dwellings {
    type Event = Lodged;
    type Outlets = (Vec<Measured>,);

    fn receive(&mut self, Lodged { address, household, difference }: Lodged, _: &mut Self::Outlets) {
        if (self.claims.contains_key(&address) || !difference.claims.is_empty()) && !self.touched.contains_key(&address) {
            let before = self.completed(address);
            self.touched.insert(address, before);
        }
        self.sums.borrow_mut().add(address, &difference);
        for (claim, sign) in difference.claims {
            let claims = self.claims.entry(address).or_default();
            if sign > 0 {
                claims.push((household, claim));
            } else {
                let gone = claims.iter().position(|known| *known == (household, claim.clone()));
                claims.swap_remove(gone.expect("only what was claimed can be claimed no longer"));
            }
        }
    }

    fn answer(&mut self, (measured,): &mut Self::Outlets) -> bool {
        for (address, mut before) in std::mem::take(&mut self.touched) {
            let mut now = self.completed(address);
            before.retain(|claim| match now.iter().position(|other| other == claim) {
                Some(same) => {
                    now.swap_remove(same);
                    false
                }
                None => true,
            });
            measured.extend(before.into_iter().map(|claim| difference(claim, -1)));
            measured.extend(now.into_iter().map(|claim| difference(claim, 1)));
            if self.claims.get(&address).is_some_and(Vec::is_empty) {
                self.claims.remove(&address);
            }
        }
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        self.sums.borrow().save(saver)?;
        saver.put_all(self.claims.iter(), |saver, claims| saver.put(&claims))
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.sums.borrow_mut().restore(restorer)?;
        restorer.get_all(|restorer| {
            let (address, claims): (u64, Claims) = restorer.get()?;
            if restorer.is_due(spread(address)) {
                self.claims.insert(address, claims);
            }
            Ok(())
        })
    }
}

impl Dwellings {
    /// The claims of a dwelling, with what it adds up to.
    fn completed(&self, address: u64) -> Claims {
        let sums = self.sums.borrow();
        let complete = |(household, claim): &(HouseholdKey, Claim)| (*household, sums.complete(&self.policy, address, claim));
        self.claims.get(&address).into_iter().flatten().map(complete).collect()
    }
}

impl Sums {
    /// Of nobody yet, under a policy that asks dwellings for so many.
    pub fn new(width: usize) -> Sums {
        let sums = (0..width).map(|_| Column::default()).collect();
        Sums { index: Table::default(), addresses: Column::default(), sums, free: Vec::new(), unknown: HashMap::new() }
    }

    /// A claim that somebody makes at an address, with what that adds up to, under a policy by which the sums mean the same.
    pub fn complete(&self, policy: &Policy, address: u64, claim: &Claim) -> Claim {
        let sums = self.find(address).map_or_else(|| vec![0; self.sums.len()], |slot| self.sums_of(slot));
        let counters = self.unknown.get(&address);
        let doubt = |slot| counters.into_iter().flatten().filter(|known| known.0 == slot).map(|known| known.1).min();
        policy.with_dwelling(claim, &sums, doubt)
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put_all(self.index.iter(), |saver, &slot| saver.put(&(self.addresses[slot], self.sums_of(slot))))?;
        saver.put_all(self.unknown.iter(), |saver, counters| saver.put(&counters))
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        restorer.get_all(|restorer| {
            let (address, sums): (u64, Vec<i64>) = restorer.get()?;
            if restorer.is_due(spread(address)) {
                let slot = self.settle(address);
                self.sums.iter_mut().zip(sums).for_each(|(column, sum)| column[slot] = sum);
            }
            Ok(())
        })?;
        restorer.get_all(|restorer| {
            let (address, counters) = restorer.get()?;
            if restorer.is_due(spread(address)) {
                self.unknown.insert(address, counters);
            }
            Ok(())
        })
    }

    fn find(&self, address: u64) -> Option<u32> {
        self.index.find(hash(address), |&slot| self.addresses[slot] == address).copied()
    }

    /// Adds what somebody gives to a dwelling.
    fn add(&mut self, address: u64, difference: &Difference) {
        self.add_values(address, &difference.values);
        for &(slot, reason, change) in &difference.unknown {
            let counters = self.unknown.entry(address).or_default();
            match counters.iter_mut().find(|known| (known.0, known.1) == (slot, reason)) {
                Some(counter) => counter.2 += change,
                None => counters.push((slot, reason, change)),
            }
            counters.retain(|(.., count)| *count != 0);
            if counters.is_empty() {
                self.unknown.remove(&address);
            }
        }
    }

    /// Adds to the sums of a dwelling, which is forgotten when all are zero.
    fn add_values(&mut self, address: u64, values: &[(u16, i64)]) {
        if values.is_empty() {
            return;
        }
        let slot = self.find(address).unwrap_or_else(|| self.settle(address));
        for &(position, change) in values {
            let sum = &mut self.sums[usize::from(position)][slot];
            *sum = sum.wrapping_add(change);
        }
        if self.sums.iter().all(|column| column[slot] == 0) && self.index.remove(hash(address), |&other| other == slot).is_some() {
            self.free.push(slot);
        }
    }

    fn sums_of(&self, slot: u32) -> Vec<i64> {
        self.sums.iter().map(|column| column[slot]).collect()
    }

    /// Makes room for a dwelling.
    fn settle(&mut self, address: u64) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.addresses.push(address);
            self.sums.iter_mut().for_each(|column| column.push(0));
            self.addresses.len() as u32 - 1
        });
        self.addresses[slot] = address;
        let addresses = &self.addresses;
        self.index.insert(hash(address), slot, |&slot| hash(addresses[slot]));
        slot
    }

    /// What the store takes, without the few counters of unknown shares.
    pub fn size(&self) -> StoreSize {
        let slots = self.addresses.bytes() + self.sums.iter().map(Column::bytes).sum::<usize>();
        StoreSize { keys: self.index.len() as u64, bytes: (slots + self.index.bytes()) as u64 }
    }
}

fn difference((household, claim): (HouseholdKey, Claim), sign: isize) -> Measured {
    Measured::Difference(household, Difference { claims: vec![(claim, sign)], ..Difference::default() })
}
