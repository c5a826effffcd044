//! Rooms 6 to 8: criteria, categories, entitlements. What follows from a household's row.
//!
//! All three are pure functions of one row, the circumstances and the policy, so they share the row's one keyed store and
//! keep nothing of their own: a touched row is judged as it was and as it is, and what differs is handed on.

use crate::indicators::{Decided, Difference, Measured, hand_on, leave_out_doubts};
use crate::model::{HouseholdKey, SharedAnswer, Standing};
use crate::operators::{
    Column, Flow, Packed, PerEpoch, Place, ROOM, Restorer, Room, Saver, Shelf, StoreSize, TOGETHER, Table, Turns, hash, spread,
};
use crate::persons::concerns_everybody;
use crate::policy::file;
use crate::policy::{BUILT_IN_SLOTS, Claim, Environment, Evaluator, Judgement, Policy, Row, Turned};
use crate::records::Circumstances;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::io;
use std::ops::Range;
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
        turned: Turned::default(),
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
    /// Where it stands in [`Rows::were`], packed; empty where nobody was there.
    values: Range<usize>,
    unknown: Vec<(u16, u16, i32)>,
    /// The same of claims.
    claims: Range<usize>,
}

/// The keyed store of one worker's household rows. Most sums are zero, so a row is packed: a bitmap of those that are not,
/// then their zigzag varints. A household without members has an empty row.
pub struct Rows {
    slots: usize,
    index: Table<u32>,
    keys: Column<HouseholdKey>,
    values: Column<Place>,
    rows: Shelf,
    /// Room for a packed row, or claims, and for one claim.
    packed: Vec<u8>,
    packed_claim: Vec<u8>,
    /// Counters of unknown shares, only for households that have some.
    unknown: HashMap<u32, Vec<(u16, u16, i32)>>,
    /// What members claim, packed one after the other.
    claims: Column<Place>,
    claimed: Shelf,
    free: Vec<u32>,
    /// Who is to be judged in this epoch, as they were before.
    changed: Vec<Changed>,
    /// Rows and claims of these as they were, one after the other.
    were: Vec<u8>,
    /// Position in `changed` during an epoch.
    touched: Column<u32>,
    /// Every household is to be judged in this epoch.
    everybody: bool,
    /// Whether any household was ever judged. Before, none needs to be remembered as it was.
    judged: bool,
}

/// The rows, shared with the reader of views on the same worker.
pub type SharedRows = Rc<RefCell<Rows>>;

const UNTOUCHED: u32 = u32::MAX;

/// Most rows and their claims are shorter.
const WAS_BYTES: usize = 256;

impl Rows {
    /// An empty store for rows of so many slots.
    pub fn new(slots: usize) -> Self {
        Rows {
            slots,
            index: Table::default(),
            keys: Column::default(),
            values: Column::default(),
            rows: Shelf::default(),
            packed: Vec::new(),
            packed_claim: Vec::new(),
            unknown: HashMap::new(),
            claims: Column::default(),
            claimed: Shelf::default(),
            free: Vec::new(),
            changed: Vec::new(),
            were: Vec::new(),
            touched: Column::default(),
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

    /// What the store takes beside the packed rows (without the few counters of unknown shares), the packed rows, and what members
    /// claim.
    pub fn sizes(&self) -> [StoreSize; 3] {
        let slots = self.keys.bytes() + self.values.bytes() + self.claims.bytes() + self.touched.bytes();
        let bytes = [slots + self.index.bytes(), self.rows.bytes(), self.claimed.bytes()];
        bytes.map(|bytes| StoreSize { keys: self.len() as u64, bytes: bytes as u64 })
    }

    /// All households of this worker, in no order.
    pub fn keys(&self) -> impl Iterator<Item = HouseholdKey> {
        self.index.iter().map(|&slot| self.keys[slot])
    }

    /// The same, in the order of their keys.
    pub fn sorted_keys(&self) -> Vec<HouseholdKey> {
        let mut keys: Vec<HouseholdKey> = self.keys().collect();
        keys.sort_unstable();
        keys
    }

    /// Copies the row of a household into `row`; false when there is none.
    pub fn read(&self, household: HouseholdKey, row: &mut Row) -> bool {
        let Some(&slot) = self.index.find(hash(household.0), |&slot| self.keys[slot] == household) else { return false };
        self.copy(slot, row);
        true
    }

    fn copy(&self, slot: u32, row: &mut Row) {
        unpack(self.packed(slot), self.slots, &mut row.values);
        row.unknown.clear();
        row.unknown.extend(self.unknown.get(&slot).into_iter().flatten().copied());
        unpack_claims(self.claimed.get(self.claims[slot]), &mut row.claims);
    }

    /// The packed row of a slot.
    fn packed(&self, slot: u32) -> &[u8] {
        self.rows.get(self.values[slot])
    }

    /// Has memory fetch the rows of so many households.
    fn expect(&self, households: impl Iterator<Item = HouseholdKey>) {
        let (mut slots, mut count) = ([0; TOGETHER], 0);
        for slot in households.filter_map(|household| self.index.candidate(hash(household.0)).copied()).take(TOGETHER) {
            slots[count] = slot;
            count += 1;
        }
        self.expect_slots(&slots[..count]);
    }

    /// The same of those of these slots.
    fn expect_slots(&self, slots: &[u32]) {
        let mut places = [[Place::default(); 2]; TOGETHER];
        for (places, slot) in places.iter_mut().zip(slots) {
            std::hint::black_box((self.keys[*slot], self.touched[*slot]));
            *places = [self.values[*slot], self.claims[*slot]];
        }
        for [values, claims] in &places[..slots.len().min(TOGETHER)] {
            self.rows.fetch(*values);
            self.claimed.fetch(*claims);
        }
    }

    /// Has memory fetch the rows that are judged from this turn on.
    fn expect_turns(&self, turn: usize) {
        let (mut slots, turns) = ([0; TOGETHER], turn..self.count().min(turn + TOGETHER));
        let count = turns.len();
        slots.iter_mut().zip(turns).for_each(|(slot, turn)| *slot = self.turn(turn));
        self.expect_slots(&slots[..count]);
    }

    /// The slot of the row that is judged in this turn.
    fn turn(&self, turn: usize) -> u32 {
        if self.everybody { turn as u32 } else { self.changed[turn].slot }
    }

    fn slot(&mut self, household: HouseholdKey) -> u32 {
        if let Some(&slot) = self.index.find(hash(household.0), |&slot| self.keys[slot] == household) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.keys.push(household);
            self.touched.push(UNTOUCHED);
            self.values.push(Place::default());
            self.claims.push(Place::default());
            self.keys.len() as u32 - 1
        });
        self.keys[slot] = household;
        let keys = &self.keys;
        self.index.insert(hash(household.0), slot, |&slot| hash(keys[slot].0));
        slot
    }

    fn touch(&mut self, slot: u32) {
        if self.judged && self.touched[slot] == UNTOUCHED {
            self.touched[slot] = self.changed.len() as u32;
            let unknown = self.unknown.get(&slot).cloned().unwrap_or_default();
            let Rows { were, rows, claimed, .. } = self;
            let mut keep = |bytes: &[u8]| {
                let from = were.len();
                were.extend_from_slice(bytes);
                from..were.len()
            };
            let (values, claims) = (keep(rows.get(self.values[slot])), keep(claimed.get(self.claims[slot])));
            self.changed.push(Changed { slot, values, unknown, claims });
        }
    }

    fn add(&mut self, household: HouseholdKey, difference: Difference) {
        let slot = self.slot(household);
        self.touch(slot);
        merge(self.rows.get(self.values[slot]), self.slots, &difference.values, &mut self.packed);
        self.rows.replace(&mut self.values[slot], &self.packed);
        if !difference.unknown.is_empty() {
            let counters = self.unknown.entry(slot).or_default();
            for (position, reason, change) in difference.unknown {
                match counters.binary_search_by_key(&(position, reason), |&(position, reason, _)| (position, reason)) {
                    Ok(at) => counters[at].2 += change,
                    Err(at) => counters.insert(at, (position, reason, change)),
                }
            }
        }
        if difference.claims.is_empty() {
            return;
        }
        let Rows { claims, claimed, packed, packed_claim, .. } = self;
        let place = &mut claims[slot];
        packed.clear();
        packed.extend_from_slice(claimed.get(*place));
        for (claim, sign) in difference.claims {
            packed_claim.clear();
            claim.pack(packed_claim);
            if sign > 0 {
                packed.extend_from_slice(packed_claim);
            } else {
                let gone = claims_within(packed).find(|stretch| packed[stretch.clone()] == **packed_claim);
                packed.drain(gone.expect("only what was claimed can be claimed no longer"));
            }
        }
        claimed.replace(place, packed);
    }

    /// Writes what is held between epochs.
    fn save(&self, saver: &mut Saver<'_>) -> io::Result<()> {
        saver.put(&self.judged)?;
        saver.put_all(self.index.iter(), |saver, &slot| {
            let unknown = self.unknown.get(&slot).map_or(&[][..], Vec::as_slice);
            saver.put(&(self.keys[slot], unknown))?;
            saver.put_bytes(self.claimed.get(self.claims[slot]))?;
            saver.put_bytes(self.packed(slot))
        })
    }

    /// Takes in what was written.
    fn restore(&mut self, restorer: &mut Restorer<'_>) -> io::Result<()> {
        self.judged = restorer.get()?;
        restorer.get_all(|restorer| {
            let (household, unknown): (HouseholdKey, Vec<(u16, u16, i32)>) = restorer.get()?;
            let due = restorer.is_due(spread(household.0));
            let claims = self.claimed.put(if due { restorer.get_bytes()? } else { &[] });
            let values = restorer.get_bytes()?;
            if due {
                let slot = self.slot(household);
                self.values[slot] = self.rows.put(values);
                self.claims[slot] = claims;
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

    /// Whether the row of a slot is what it was before this epoch, and whether what members claim is.
    fn is_as_before(&self, slot: u32) -> (bool, bool) {
        let Some(changed) = self.changed.get(self.touched[slot] as usize) else { return (self.judged, self.judged) };
        (false, self.were[changed.claims.clone()] == *self.claimed.get(self.claims[slot]))
    }

    /// Copies the row of a slot as it was before this epoch into `row`, without claims if these are as they were; false when nobody was there.
    fn copy_before(&mut self, slot: u32, claims: bool, row: &mut Row) -> bool {
        let Some(changed) = self.changed.get_mut(self.touched[slot] as usize) else {
            self.copy(slot, row);
            return self.judged && !self.packed(slot).is_empty();
        };
        unpack(&self.were[changed.values.clone()], self.slots, &mut row.values);
        row.unknown = std::mem::take(&mut changed.unknown);
        unpack_claims(if claims { &self.were[changed.claims.clone()] } else { &[] }, &mut row.claims);
        !changed.values.is_empty()
    }

    /// Ends the epoch for one household: forgets zero counters, and the household when nobody is left.
    fn settle(&mut self, slot: u32) {
        self.touched[slot] = UNTOUCHED;
        if let Some(counters) = self.unknown.get_mut(&slot) {
            counters.retain(|(.., count)| *count != 0);
            if counters.is_empty() {
                self.unknown.remove(&slot);
            }
        }
        if self.packed(slot).is_empty() {
            let household = self.keys[slot];
            if self.index.remove(hash(household.0), |&other| other == slot).is_some() {
                self.free.push(slot);
            }
        }
    }
}

/// Adds to a packed row of so many slots, in their order; without members (slot 0) nothing is left of it.
fn merge(row: &[u8], slots: usize, changes: &[(u16, i64)], out: &mut Vec<u8>) {
    let bitmap = slots.div_ceil(8);
    out.clear();
    out.resize(bitmap, 0);
    let mut write = |slot: u16, value: i64| {
        if value != 0 {
            out[usize::from(slot) / 8] |= 1 << (slot % 8);
            file::write_varint(out, file::zigzag(value));
        }
    };
    let (mut at, mut changes) = (bitmap, changes.iter().peekable());
    for (byte, bits) in (0..).zip(&row[..bitmap.min(row.len())]) {
        let mut bits = *bits;
        while bits != 0 {
            let slot = byte * 8 + bits.trailing_zeros() as u16;
            while let Some((new, value)) = changes.next_if(|(new, _)| *new < slot) {
                write(*new, *value);
            }
            let change = changes.next_if(|(changed, _)| *changed == slot).map_or(0, |(_, change)| *change);
            write(slot, file::unzigzag(file::read_varint(row, &mut at)).wrapping_add(change));
            bits &= bits - 1;
        }
    }
    changes.for_each(|(new, value)| write(*new, *value));
    if out.first().is_none_or(|bits| bits & 1 == 0) {
        debug_assert!(out.iter().all(|byte| *byte == 0), "nobody contributes nothing: {out:?}");
        out.clear();
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

/// Unpacks what members claim.
fn unpack_claims(packed: &[u8], claims: &mut Vec<Claim>) {
    claims.clear();
    let mut at = 0;
    while at < packed.len() {
        claims.push(Claim::unpack(packed, &mut at));
    }
}

/// Where each packed claim is.
fn claims_within(packed: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at;
        (at < packed.len()).then(|| {
            Claim::unpack(packed, &mut at);
            from..at
        })
    })
}

struct Judge {
    rows: SharedRows,
    answer: SharedAnswer,
    policy: Arc<Policy>,
    evaluator: Evaluator,
    circumstances: Option<(Circumstances, Environment)>,
    next: Option<(Circumstances, Environment)>,
    /// What may be other under these of families whose rows are the same.
    turned: Turned,
    turns: Turns,
    before: Judgement,
    now: Judgement,
    row_before: Row,
    row: Row,
}

impl PerEpoch for Judge {
    type Event = Measured;
    type Outlets = (Vec<Decided>,);

    fn expect(&self, events: &[Measured]) {
        self.rows.borrow().expect(events.iter().filter_map(Measured::household));
    }

    fn receive(&mut self, event: Measured, _: &mut (Vec<Decided>,)) {
        match event {
            Measured::Difference(household, difference) => self.rows.borrow_mut().add(household, difference),
            Measured::Circumstances(_, now) => {
                let environment = self.policy.environment(now.today, &now.feeds);
                if let Some((_, before)) = &self.circumstances {
                    self.turned = Turned::between(&self.policy, before, &environment);
                }
                self.next = Some((*now, environment));
            }
        }
    }

    fn answer(&mut self, (rights,): &mut (Vec<Decided>,)) -> bool {
        let rows = self.rows.clone();
        let rows = &mut *rows.borrow_mut();
        if self.turns.is_first() {
            rows.everybody = self.everybody();
        }
        for index in self.turns.next(rows.count()) {
            if index % TOGETHER == 0 {
                rows.expect_turns(index);
            }
            self.compare(rows, rows.turn(index), rights);
        }
        if self.turns.more(rows.count()) {
            return true;
        }
        self.answer.borrow_mut().rows_changed += if rows.judged { rows.changed.len() } else { rows.len() } as u64;
        rows.changed.clear();
        rows.changed.shrink_to(ROOM);
        rows.were.clear();
        rows.were.shrink_to(ROOM * WAS_BYTES);
        rows.judged |= self.next.is_some() || self.circumstances.is_some();
        if self.next.is_some() {
            self.circumstances = self.next.take();
            self.turned = Turned::default();
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
        let household = rows.keys[slot];
        let (is_same, claims_are_same) = rows.is_as_before(slot);
        let was = if is_same { !rows.packed(slot).is_empty() } else { rows.copy_before(slot, !claims_are_same, &mut self.row_before) };
        rows.settle(slot);
        if self.circumstances.is_none() && self.next.is_none() {
            return;
        }
        let is = !rows.packed(slot).is_empty();
        rows.copy(slot, &mut self.row);
        let (before, now) = (&mut self.before, &mut self.now);
        let has_same_head = is_same || self.row_before.values[..BUILT_IN_SLOTS] == self.row.values[..BUILT_IN_SLOTS];
        let row_before = if is_same { &self.row } else { &self.row_before };
        match (&self.circumstances, &self.next) {
            (Some((_, past)), next) if was && is && has_same_head => {
                let days = [past, next.as_ref().map_or(past, |(_, present)| present)];
                let claims = [if claims_are_same { &self.row.claims } else { &row_before.claims }, &self.row.claims];
                let claims = claims.map(Vec::as_slice);
                self.evaluator.judgements(days, &self.turned, household, [row_before, &self.row], claims, [before, now]);
            }
            (known, next) => {
                if let (true, Some((_, environment))) = (was, known) {
                    // Here the row is another one.
                    if claims_are_same {
                        self.row_before.claims.clone_from(&self.row.claims);
                    }
                    self.evaluator.judge(environment, &self.row_before, household, before);
                }
                if let (true, Some((_, environment))) = (is, next.as_ref().or(known.as_ref())) {
                    self.evaluator.judge(environment, &self.row, household, now);
                }
            }
        }
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
