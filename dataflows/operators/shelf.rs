//! Byte strings of a store, close together.
//!
//! A string of its own on the heap takes a pointer, a length, and what an allocator rounds up: some thirty bytes beside the thirty
//! of an act. On a shelf it takes a place (four bytes), its length (two) and on average two more. Pages hold strings of one size
//! each, as an allocator's do, and serve another size once they are empty: strings of all people may grow at the same time.

/// Where a string is; the default is the place of the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(u32);

/// Strings are laid out in steps of so many bytes.
const STEP: usize = 4;
const PAGE_STEPS: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 12;
const PAGE_BYTES: usize = PAGE_STEPS * STEP;
const PAGES_MAX: usize = 1 << (u32::BITS - PAGE_BITS);
/// What stands before a string: its length.
const HEAD: usize = 2;
/// Strings that need more steps have memory of their own.
const STEPS_MAX: usize = 512;
const BYTES_MAX: usize = STEPS_MAX * STEP - HEAD;
/// The length that says so: the number of the string follows.
const LONG: u16 = u16::MAX;
/// No step of a page.
const NOWHERE: u16 = u16::MAX;

/// Strings, each found by its place.
pub struct Shelf {
    pages: Vec<Page>,
    /// By steps that a string takes: pages with room for one.
    open: Vec<Vec<u32>>,
    /// Pages without a string.
    empty: Vec<u32>,
    long: Vec<Box<[u8]>>,
    long_free: Vec<u32>,
    long_bytes: usize,
}

struct Page {
    bytes: Box<[u8]>,
    /// How many steps each of its strings takes.
    steps: u16,
    strings: u16,
    /// The first step that was never used.
    fresh: u16,
    /// The first step of a freed string; in its place is the next one's.
    freed: u16,
    /// Whether it is among those with room.
    open: bool,
}

impl Page {
    fn is_full(&self) -> bool {
        self.freed == NOWHERE && usize::from(self.fresh) + usize::from(self.steps) > PAGE_STEPS
    }

    /// Turns to strings of so many steps, while it has none.
    fn serve(&mut self, steps: u16) {
        (self.steps, self.fresh, self.freed, self.open) = (steps, 0, NOWHERE, false);
    }

    fn read(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn write(&mut self, at: usize, value: u16) {
        self.bytes[at..at + HEAD].copy_from_slice(&value.to_le_bytes());
    }
}

impl Default for Shelf {
    fn default() -> Self {
        // The first step of the first page is nobody's, so that no string but the empty one is at place zero.
        let first = Page { bytes: vec![0; STEP].into(), steps: 0, strings: 1, fresh: NOWHERE, freed: NOWHERE, open: false };
        let open = vec![Vec::new(); STEPS_MAX + 1];
        Shelf { pages: vec![first], open, empty: Vec::new(), long: Vec::new(), long_free: Vec::new(), long_bytes: 0 }
    }
}

impl Shelf {
    /// The bytes of pages and long strings.
    pub fn bytes(&self) -> usize {
        (self.pages.len() - 1) * PAGE_BYTES + self.long_bytes + self.long.capacity() * size_of::<Box<[u8]>>()
    }

    /// The string at a place.
    pub fn get(&self, place: Place) -> &[u8] {
        let (page, at) = split(place);
        let page = &self.pages[page];
        match page.read(at) {
            LONG => &self.long[long_number(&page.bytes[at + HEAD..])],
            length => &page.bytes[at + HEAD..][..usize::from(length)],
        }
    }

    /// Has memory fetch the beginning of a string.
    pub fn fetch(&self, place: Place) {
        let (page, at) = split(place);
        std::hint::black_box(self.pages[page].bytes[at]);
    }

    /// Puts a string somewhere.
    pub fn put(&mut self, bytes: &[u8]) -> Place {
        match bytes.len() {
            0 => Place::default(),
            1..=BYTES_MAX => {
                let place = self.find_room(steps(bytes.len()));
                self.write(place, bytes.len() as u16, bytes);
                place
            }
            _ => {
                let place = self.find_room(steps(size_of::<u32>()));
                let number = self.keep_long(bytes);
                self.write(place, LONG, &number.to_le_bytes());
                place
            }
        }
    }

    /// Puts another string in the place of one; where it is from now on is written there.
    pub fn replace(&mut self, place: &mut Place, bytes: &[u8]) {
        if self.length(*place).is_some_and(|held| steps(held) == steps(bytes.len())) && bytes.len() <= BYTES_MAX {
            self.write(*place, bytes.len() as u16, bytes);
        } else {
            self.free(*place);
            *place = self.put(bytes);
        }
    }

    /// The length of a string on a page.
    fn length(&self, place: Place) -> Option<usize> {
        let (page, at) = split(place);
        let length = self.pages[page].read(at);
        (length != LONG && length > 0).then_some(usize::from(length))
    }

    fn write(&mut self, place: Place, length: u16, bytes: &[u8]) {
        let (page, at) = split(place);
        self.pages[page].write(at, length);
        self.pages[page].bytes[at + HEAD..][..bytes.len()].copy_from_slice(bytes);
    }

    fn keep_long(&mut self, bytes: &[u8]) -> u32 {
        self.long_bytes += bytes.len();
        match self.long_free.pop() {
            Some(number) => {
                self.long[number as usize] = bytes.into();
                number
            }
            None => {
                self.long.push(bytes.into());
                self.long.len() as u32 - 1
            }
        }
    }

    /// Takes a string out.
    pub fn free(&mut self, place: Place) {
        if place == Place::default() {
            return;
        }
        let (number, at) = split(place);
        let page = &mut self.pages[number];
        if page.read(at) == LONG {
            let long = long_number(&page.bytes[at + HEAD..]);
            self.long_bytes -= std::mem::take(&mut self.long[long]).len();
            self.long_free.push(long as u32);
        }
        page.strings -= 1;
        let next = std::mem::replace(&mut page.freed, (at / STEP) as u16);
        page.write(at, next);
        if page.strings == 0 {
            page.serve(0);
            self.empty.push(number as u32);
        } else if !page.open {
            page.open = true;
            self.open[usize::from(page.steps)].push(number as u32);
        }
    }

    /// A place for a string of so many steps.
    fn find_room(&mut self, steps: usize) -> Place {
        let number = self.page_with_room(steps);
        let page = &mut self.pages[number as usize];
        page.strings += 1;
        let step = if page.freed == NOWHERE {
            page.fresh += steps as u16;
            usize::from(page.fresh) - steps
        } else {
            let step = usize::from(page.freed);
            page.freed = page.read(step * STEP);
            step
        };
        Place(number << PAGE_BITS | step as u32)
    }

    /// A page that has room for a string of so many steps.
    fn page_with_room(&mut self, steps: usize) -> u32 {
        while let Some(&number) = self.open[steps].last() {
            let page = &mut self.pages[number as usize];
            let serves = usize::from(page.steps) == steps;
            if serves && !page.is_full() {
                return number;
            }
            // It is full, or has served others since.
            page.open &= !serves;
            self.open[steps].pop();
        }
        let number = self.empty.pop().unwrap_or_else(|| {
            assert!(self.pages.len() < PAGES_MAX, "a store of one worker holds no more than 16 GiB: more workers share it");
            self.pages.push(Page { bytes: vec![0; PAGE_BYTES].into(), steps: 0, strings: 0, fresh: 0, freed: NOWHERE, open: false });
            self.pages.len() as u32 - 1
        });
        self.pages[number as usize].serve(steps as u16);
        self.pages[number as usize].open = true;
        self.open[steps].push(number);
        number
    }
}

/// The page of a place, and the byte in it.
fn split(place: Place) -> (usize, usize) {
    ((place.0 >> PAGE_BITS) as usize, (place.0 as usize & (PAGE_STEPS - 1)) * STEP)
}

/// How many steps a string of so many bytes takes.
fn steps(bytes: usize) -> usize {
    (HEAD + bytes).div_ceil(STEP)
}

fn long_number(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is put, replaced and freed in between, each string is where its place says; and a shelf whose strings all grow does not
    /// grow with what they were.
    #[test]
    fn strings_are_where_their_places_say() {
        let (mut shelf, mut chance) = (Shelf::default(), 1_u64);
        let mut roll = |below: usize| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as usize % below
        };
        let mut known: Vec<(Place, Vec<u8>)> = Vec::new();
        for round in 0..60_000 {
            let length = if roll(200) == 0 { 2_000 + roll(3_000) } else { roll(90) };
            let bytes: Vec<u8> = (0..length).map(|at| (round + at) as u8).collect();
            match roll(5) {
                0 | 1 => known.push((shelf.put(&bytes), bytes)),
                2 | 3 if !known.is_empty() => {
                    let at = roll(known.len());
                    shelf.replace(&mut known[at].0, &bytes);
                    known[at].1 = bytes;
                }
                4 if !known.is_empty() => {
                    let (place, bytes) = known.swap_remove(roll(known.len()));
                    assert_eq!(shelf.get(place), bytes);
                    shelf.free(place);
                }
                _ => {}
            }
        }
        assert!(known.len() > 1_000, "{}", known.len());
        known.iter().for_each(|(place, bytes)| assert_eq!(shelf.get(*place), bytes));
        known.iter().for_each(|(place, _)| shelf.free(*place));
        let pages = shelf.pages.len();
        assert_eq!((shelf.empty.len(), shelf.long_bytes), (pages - 1, 0), "all is free");

        let mut places = vec![Place::default(); 20_000];
        for length in 1..60 {
            places.iter_mut().for_each(|place| shelf.replace(place, &vec![length as u8; length]));
        }
        let (held, needed) = (shelf.bytes(), 20_000 * steps(59) * STEP);
        assert!(held < needed * 11 / 10 + pages * PAGE_BYTES, "{held} bytes for {needed}");
        places.iter().for_each(|place| assert_eq!(shelf.get(*place), [59; 59]));
    }
}
