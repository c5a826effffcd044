//! What stores of millions of keys are made of: lists and hash tables that grow a part at a time.
//!
//! A list or a table in one piece moves all that it holds when it grows, which at the size of a country is hundreds of megabytes, while nobody
//! hears of changes.

use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;
use std::iter::Flatten;
use std::ops::{Index, IndexMut};
use std::slice;

/// Items in a page of a list.
const PAGE: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 12;

/// A list of which no item ever moves.
pub struct Column<T> {
    /// All full but the last.
    pages: Vec<Vec<T>>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Column { pages: Vec::new() }
    }
}

impl<T> Column<T> {
    pub fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    pub fn push(&mut self, item: T) {
        match self.pages.last_mut().filter(|last| last.len() < PAGE) {
            Some(last) => last.push(item),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(item);
                self.pages.push(page);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flatten()
    }

    /// What the items take, and the room for those to come.
    pub fn bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<T>()
    }
}

impl<T> Index<u32> for Column<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.pages[(at >> PAGE_BITS) as usize][at as usize & (PAGE - 1)]
    }
}

impl<T> IndexMut<u32> for Column<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.pages[(at >> PAGE_BITS) as usize][at as usize & (PAGE - 1)]
    }
}

/// Parts of a table: at the size of a country each has some forty thousand keys. With four times as many parts, batches took longer.
const PARTS: usize = 1 << 8;
/// The first of the bits of a hash that tell its part: not of those by which a part tells its keys apart, the lowest and the highest.
const PART_BIT: u32 = 40;

/// A hash table of parts.
pub struct Table<T> {
    parts: Box<[HashTable<T>]>,
    len: usize,
    bytes: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0, bytes: 0 }
    }
}

fn part(hash: u64) -> usize {
    (hash >> PART_BIT) as usize & (PARTS - 1)
}

impl<T> Table<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the parts take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[part(hash)].find(hash, is_it)
    }

    /// An item of this hash, most likely the one that is looked for: without looking at more than the table.
    pub fn candidate(&self, hash: u64) -> Option<&T> {
        self.find(hash, |_| true)
    }

    pub fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.parts[part(hash)].find_mut(hash, is_it)
    }

    /// Inserts what is not there; `hash_of` gives the hash of any item.
    pub fn insert(&mut self, hash: u64, item: T, hash_of: impl Fn(&T) -> u64) {
        let part = &mut self.parts[part(hash)];
        let grows = part.len() == part.capacity();
        let before = if grows { part.allocation_size() } else { 0 };
        part.insert_unique(hash, item, hash_of);
        if grows {
            self.bytes = self.bytes + part.allocation_size() - before;
        }
        self.len += 1;
    }

    /// Takes out what is there.
    pub fn remove(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let found = self.parts[part(hash)].find_entry(hash, is_it).ok().map(OccupiedEntry::remove);
        self.len -= usize::from(found.is_some());
        found.map(|(item, _)| item)
    }

    /// All items, in no order.
    pub fn iter(&self) -> Items<'_, T> {
        Items { parts: self.parts.iter().flatten(), left: self.len }
    }
}

/// The items of a table.
pub struct Items<'a, T> {
    parts: Flatten<slice::Iter<'a, HashTable<T>>>,
    left: usize,
}

impl<'a, T> Iterator for Items<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        let item = self.parts.next();
        self.left -= usize::from(item.is_some());
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Items<'_, T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::hash;

    /// Whatever is inserted and removed, what is there is found, nothing else is, and what the parts take is counted right.
    #[test]
    fn a_table_holds_what_was_inserted_and_not_removed() {
        let (mut table, mut list) = (Table::default(), Column::default());
        for key in 0..60_000_u64 {
            list.push(key * 7);
            table.insert(hash(key * 7), key as u32, |at| hash(list[*at]));
        }
        for key in (0..60_000_u64).step_by(3) {
            assert_eq!(table.remove(hash(key * 7), |at| list[*at] == key * 7), Some(key as u32));
        }
        for key in 0..420_000_u64 {
            let known = key % 7 == 0 && key / 7 % 3 != 0;
            assert_eq!(table.find(hash(key), |at| list[*at] == key).is_some(), known, "{key}");
        }
        let mut left: Vec<u32> = table.iter().copied().collect();
        left.sort_unstable();
        assert_eq!((left.len(), table.len()), (40_000, 40_000));
        assert!(left.iter().zip((0..60_000).filter(|key| key % 3 != 0)).all(|(at, key)| *at == key));
        assert_eq!(table.bytes(), table.parts.iter().map(HashTable::allocation_size).sum::<usize>());
    }

    #[test]
    fn a_list_has_its_items_in_order() {
        let mut list = Column::default();
        (0..10_000_u32).for_each(|item| list.push(item));
        list.iter_mut().for_each(|item| *item += 1);
        list[5_000] += 1;
        assert_eq!((list.len(), list[0], list[4_095], list[4_096], list[5_000], list[9_999]), (10_000, 1, 4_096, 4_097, 5_002, 10_000));
        assert!(list.iter().copied().eq((1..=10_000).map(|item| if item == 5_001 { 5_002 } else { item })));
    }
}
