//! Rooms 6 to 8: criteria, categories, entitlements. What follows from a household's row.
//!
//! All three are pure functions of one row, the circumstances and the policy, so they share the row's one keyed store and
//! keep nothing of their own: a touched row is judged as it was and as it is, and what differs is handed on.

use crate::indicators::{Decided, Difference, Measured, hand_on, leave_out_doubts};
use crate::model::{Epoch, HouseholdKey, SharedAnswer, Standing};
use crate::operators::{Flow, PerEpoch, Restorer, Room, Saver, StoreSize, TURN, Turns, append, hash, spread};
use crate::persons::concerns_everybody;
use crate::policy::file;
use crate::policy::{BUILT_IN_SLOTS, Claim, Environment, Evaluator, Judgement, Policy, Row};
use crate::records::Circumstances;
use hashbrown::{HashMap, HashTable};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Judges every household whose row or circumstances changed.
pub fn judge<'scope>(
    measured: [Flow<'scope, Measured>; 2],
    rows: SharedRows,
    answer: SharedAnswer,
    policy: Arc<Policy>,
) -> Flow<'scope, Decided> {
    let judge = Judge {
        rows,
        answer,
        evaluator: Evaluator::new(policy.clone()),
        policy,
        circumstances: None,
        next: None,
        turns: Turns::default(),
        before: Judgement::default(),
        now: Judgement::default(),
        row_before: Row::default(),
        row: Row::default(),
    };
    let room = Room::new(measured[0].site(), "Judgements");
    let (rights,) = measured.into_iter().fold(room, |room, measured| room.hear(measured, Measured::route)).run(judge);
    rights
}

/// A row as it was before the epoch in flight.
struct Changed {
    slot: u32,
    /// Packed; empty where nobody was there.
    values: Box<[u8]>,
    unknown: Vec<(u16, u16, i32)>,
    claims: Vec<Claim>,
}

/// The keyed store of one worker's household rows. Most sums are zero, so a row is packed: a bitmap of those that are not,
/// then their zigzag varints. A household without members has an empty row.
pub struct Rows {
    slots: usize,
    index: HashTable<u32>,
    keys: Vec<HouseholdKey>,
    values: Vec<Box<[u8]>>,
    /// Room for one unpacked row, and for one packed.
    unpacked: Vec<i64>,
    packed: Vec<u8>,
    /// Counters of unknown shares, only for households that have some.
    unknown: HashMap<u32, Vec<(u16, u16, i32)>>,
    /// What members claim.
    claims: Vec<Vec<Claim>>,
    free: Vec<u32>,
    /// Who is to be judged in this epoch, as they were before.
    changed: Vec<Changed>,
    /// Position in `changed` during an epoch.
    touched: Vec<u32>,
    /// Every household is to be judged in this epoch.
    everybody: bool,
    /// Whether any household was ever judged. Before, none needs to be remembered as it was.
    judged: bool,
}

/// The rows, shared with the reader of views on the same worker.
pub type SharedRows = Rc<RefCell<Rows>>;

const UNTOUCHED: u32 = u32::MAX;

impl Rows {
    /// An empty store for rows of so many slots.
    pub fn new(slots: usize) -> Self {
        Rows {
            slots,
            index: HashTable::new(),
            keys: Vec::new(),
            values: Vec::new(),
            unpacked: vec![0; slots],
            packed: Vec::new(),
            unknown: HashMap::new(),
            claims: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            touched: Vec::new(),
            everybody: false,
            judged: false,
        }
    }

    /// Households with members.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What the store takes beside the packed rows (without the few counters of unknown shares), the packed rows alone, and what
    /// members claim.
    pub fn sizes(&self) -> [StoreSize; 3] {
        let slot = size_of::<HouseholdKey>() + size_of::<Box<[u8]>>() + size_of::<u32>();
        let slots = self.keys.capacity() * slot + self.index.allocation_size();
        let packed: usize = self.values.iter().map(|values| values.len()).sum();
        let size = |bytes: usize| StoreSize { keys: self.len() as u64, bytes: bytes as u64 };
        let each =
            |claims: &Vec<Claim>| size_of_val(claims.as_slice()) + claims.iter().map(|claim| size_of_val(&*claim.inputs)).sum::<usize>();
        let claims = StoreSize {
            keys: self.claims.iter().map(|claims| claims.len() as u64).sum(),
            bytes: (self.claims.capacity() * size_of::<Vec<Claim>>() + self.claims.iter().map(each).sum::<usize>()) as u64,
        };
        [size(slots), size(packed), claims]
    }

    /// All households of this worker, in the order of their keys.
    pub fn sorted_keys(&self) -> Vec<HouseholdKey> {
        let mut keys: Vec<HouseholdKey> = self.index.iter().map(|&slot| self.keys[slot as usize]).collect();
        keys.sort_unstable();
        keys
    }

    /// Copies the row of a household into `row`; false when there is none.
    pub fn read(&self, household: HouseholdKey, row: &mut Row) -> bool {
        let Some(&slot) = self.index.find(hash(household.0), |&slot| self.keys[slot as usize] == household) else { return false };
        self.copy(slot, row);
        true
    }

    fn copy(&self, slot: u32, row: &mut Row) {
        unpack(&self.values[slot as usize], self.slots, &mut row.values);
        row.unknown.clear();
        row.unknown.extend(self.unknown.get(&slot).into_iter().flatten().copied());
        row.claims.clear();
        row.claims.extend_from_slice(&self.claims[slot as usize]);
    }

    /// Copies the row of a slot into `row`, but lends what its members claim: see [`take_back`](Self::take_back).
    fn lend(&mut self, slot: u32, row: &mut Row) {
        unpack(&self.values[slot as usize], self.slots, &mut row.values);
        row.unknown.clear();
        row.unknown.extend(self.unknown.get(&slot).into_iter().flatten().copied());
        row.claims = std::mem::take(&mut self.claims[slot as usize]);
    }

    /// Takes back the claims of a row that was lent.
    fn take_back(&mut self, slot: u32, row: &mut Row) {
        self.claims[slot as usize] = std::mem::take(&mut row.claims);
    }

    fn slot(&mut self, household: HouseholdKey) -> u32 {
        if let Some(&slot) = self.index.find(hash(household.0), |&slot| self.keys[slot as usize] == household) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            append(&mut self.keys, household);
            append(&mut self.touched, UNTOUCHED);
            append(&mut self.values, Box::default());
            append(&mut self.claims, Vec::new());
            self.keys.len() as u32 - 1
        });
        self.keys[slot as usize] = household;
        let keys = &self.keys;
        self.index.insert_unique(hash(household.0), slot, |&slot| hash(keys[slot as usize].0));
        slot
    }

    fn touch(&mut self, slot: u32) {
        if self.judged && self.touched[slot as usize] == UNTOUCHED {
            self.touched[slot as usize] = self.changed.len() as u32;
            let unknown = self.unknown.get(&slot).cloned().unwrap_or_default();
            let claims = self.claims[slot as usize].clone();
            self.changed.push(Changed { slot, values: self.values[slot as usize].clone(), unknown, claims });
        }
    }

    fn add(&mut self, household: HouseholdKey, difference: Difference) {
        let slot = self.slot(household);
        self.touch(slot);
        unpack(&self.values[slot as usize], self.slots, &mut self.unpacked);
        for (position, change) in difference.values {
            let value = &mut self.unpacked[position as usize];
            *value = value.wrapping_add(change);
        }
        self.packed.clear();
        pack(&self.unpacked, &mut self.packed);
        self.values[slot as usize] = self.packed.as_slice().into();
        if !difference.unknown.is_empty() {
            let counters = self.unknown.entry(slot).or_default();
            for (position, reason, change) in difference.unknown {
                match counters.binary_search_by_key(&(position, reason), |&(position, reason, _)| (position, reason)) {
                    Ok(at) => counters[at].2 += change,
                    Err(at) => counters.insert(at, (position, reason, change)),
                }
            }
        }
        let claims = &mut self.claims[slot as usize];
        for (claim, sign) in difference.claims {
            if sign > 0 {
                claims.reserve_exact(1);
                claims.push(claim);
            } else {
                let at = claims.iter().position(|known| *known == claim).expect("only what was claimed can be claimed no longer");
                claims.swap_remove(at);
            }
        }
    }

    /// Writes what is held between epochs.
    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.judged)?;
        saver.put_all(self.index.iter(), |saver, &slot| {
            let unknown = self.unknown.get(&slot).map_or(&[][..], Vec::as_slice);
            saver.put(&(self.keys[slot as usize], unknown, &self.claims[slot as usize]))?;
            saver.put_bytes(&self.values[slot as usize])
        })
    }

    /// Takes in what was written.
    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.judged = restorer.get()?;
        restorer.get_all(|restorer| {
            let (household, unknown, claims): (HouseholdKey, Vec<(u16, u16, i32)>, Vec<Claim>) = restorer.get()?;
            let due = restorer.is_due(spread(household.0));
            let values = restorer.get_bytes()?;
            if due {
                let slot = self.slot(household);
                self.values[slot as usize] = values.into();
                self.claims[slot as usize] = claims;
                if !unknown.is_empty() {
                    self.unknown.insert(slot, unknown);
                }
            }
            Ok(())
        })
    }

    /// How many households are to be judged in this epoch.
    fn count(&self) -> usize {
        if self.everybody { self.keys.len() } else { self.changed.len() }
    }

    /// Copies the row of a slot as it was before this epoch into `row`; false when nobody was there.
    fn copy_before(&mut self, slot: u32, row: &mut Row) -> bool {
        let Some(changed) = self.changed.get_mut(self.touched[slot as usize] as usize) else {
            self.copy(slot, row);
            return self.judged && !self.values[slot as usize].is_empty();
        };
        unpack(&changed.values, self.slots, &mut row.values);
        row.unknown = std::mem::take(&mut changed.unknown);
        row.claims = std::mem::take(&mut changed.claims);
        !changed.values.is_empty()
    }

    /// Ends the epoch for one household: forgets zero counters, and the household when nobody is left.
    fn settle(&mut self, slot: u32) {
        self.touched[slot as usize] = UNTOUCHED;
        if let Some(counters) = self.unknown.get_mut(&slot) {
            counters.retain(|(.., count)| *count != 0);
            if counters.is_empty() {
                self.unknown.remove(&slot);
            }
        }
        if self.values[slot as usize].is_empty() {
            let household = self.keys[slot as usize];
            if let Ok(entry) = self.index.find_entry(hash(household.0), |&other| other == slot) {
                entry.remove();
                self.free.push(slot);
            }
        }
    }
}

/// Packs a row; without members (slot 0) there is nothing to pack.
fn pack(values: &[i64], out: &mut Vec<u8>) {
    if values[0] == 0 {
        debug_assert!(values.iter().all(|value| *value == 0), "nobody contributes nothing: {values:?}");
        return;
    }
    out.resize(values.len().div_ceil(8), 0);
    for (slot, &value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
        out[slot / 8] |= 1 << (slot % 8);
        file::write_varint(out, file::zigzag(value));
    }
}

/// Unpacks a row of so many slots.
fn unpack(packed: &[u8], slots: usize, values: &mut Vec<i64>) {
    values.clear();
    values.resize(slots, 0);
    if packed.is_empty() {
        return;
    }
    let mut at = slots.div_ceil(8);
    for (byte, bits) in packed[..at].iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            values[byte * 8 + bits.trailing_zeros() as usize] = file::unzigzag(file::read_varint(packed, &mut at));
            bits &= bits - 1;
        }
    }
}

struct Judge {
    rows: SharedRows,
    answer: SharedAnswer,
    policy: Arc<Policy>,
    evaluator: Evaluator,
    circumstances: Option<(Circumstances, Environment)>,
    next: Option<(Circumstances, Environment)>,
    turns: Turns,
    before: Judgement,
    now: Judgement,
    row_before: Row,
    row: Row,
}

impl PerEpoch for Judge {
    type Event = Measured;
    type Outlets = (Vec<Decided>,);

    fn receive(&mut self, event: Measured, _: &mut (Vec<Decided>,)) {
        match event {
            Measured::Difference(household, difference) => self.rows.borrow_mut().add(household, difference),
            Measured::Circumstances(_, now) => {
                let environment = self.policy.environment(now.today, &now.feeds);
                self.next = Some((*now, environment));
            }
        }
    }

    fn answer(&mut self, _: Epoch, (rights,): &mut (Vec<Decided>,)) -> bool {
        let rows = self.rows.clone();
        let rows = &mut *rows.borrow_mut();
        if self.turns.is_first() {
            rows.everybody = self.everybody();
        }
        for index in self.turns.next(rows.count()) {
            let slot = if rows.everybody { index as u32 } else { rows.changed[index].slot };
            self.compare(rows, slot, rights);
        }
        if self.turns.more(rows.count()) {
            return true;
        }
        self.answer.borrow_mut().rows_changed += if rows.judged { rows.changed.len() } else { rows.len() } as u64;
        rows.changed.clear();
        rows.changed.shrink_to(TURN);
        rows.judged |= self.next.is_some() || self.circumstances.is_some();
        if self.next.is_some() {
            self.circumstances = self.next.take();
        }
        false
    }

    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.circumstances.as_ref().map(|(known, _)| known))?;
        self.rows.borrow().save(saver)
    }

    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.circumstances = restorer.get::<Option<Circumstances>>()?.map(|known| known.in_force(&self.policy));
        self.rows.borrow_mut().restore(restorer)
    }
}

impl Judge {
    fn everybody(&self) -> bool {
        let Some((now, _)) = &self.next else { return false };
        self.circumstances.as_ref().is_none_or(|(before, _)| concerns_everybody(&self.policy, before, now))
    }

    /// Hands on what differs between a household as it was and as it is.
    fn compare(&mut self, rows: &mut Rows, slot: u32, rights: &mut Vec<Decided>) {
        let household = rows.keys[slot as usize];
        let was = rows.copy_before(slot, &mut self.row_before);
        rows.settle(slot);
        if self.circumstances.is_none() && self.next.is_none() {
            return;
        }
        let is = !rows.values[slot as usize].is_empty();
        rows.lend(slot, &mut self.row);
        let (before, now) = (&mut self.before, &mut self.now);
        match (&self.circumstances, &self.next) {
            (Some((_, environment)), None)
                if was && is && self.row_before.values[..BUILT_IN_SLOTS] == self.row.values[..BUILT_IN_SLOTS] =>
            {
                self.evaluator.judgements(environment, household, [&self.row_before, &self.row], [before, now]);
            }
            (known, next) => {
                if let (true, Some((_, environment))) = (was, known) {
                    self.evaluator.judge(environment, &self.row_before, household, before);
                }
                if let (true, Some((_, environment))) = (is, next.as_ref().or(known.as_ref())) {
                    self.evaluator.judge(environment, &self.row, household, now);
                }
            }
        }
        rows.take_back(slot, &mut self.row);
        if !rows.judged {
            leave_out_doubts(&self.policy, &mut self.now.entitlements);
        }
        let standing = |judgement: &Judgement| Standing { category: judgement.category, level: judgement.level };
        let (before, now) = (was.then(|| standing(&self.before)), is.then(|| standing(&self.now)));
        if before != now {
            self.answer.borrow_mut().standings.push((household, before, now));
        }
        let (before, now) = (was.then(|| self.before.scores()), is.then(|| self.now.scores()));
        if rows.judged && before != now {
            self.answer.borrow_mut().rejudged.push((household, now));
        }
        let before = if was { self.before.entitlements.as_slice() } else { &[] };
        let now = if is { self.now.entitlements.as_slice() } else { &[] };
        hand_on(household, before, now, rights);
    }
}
