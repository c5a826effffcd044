//! A person's file as it was and as it is: what both share, and which records only one of them has.

use super::file::{Brief, briefs_of};
use std::ops::Range;

/// How many bytes two files share, in whole records: at the beginning and at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    pub head: usize,
    pub tail: usize,
}

impl Shared {
    /// Of a file of so many bytes, of which this stretch is replaced.
    pub fn beside(stretch: Range<usize>, length: usize) -> Shared {
        Shared { head: stretch.start, tail: length - stretch.end }
    }

    /// What both share that share this and that with a third one.
    pub fn meet(self, other: Shared) -> Shared {
        Shared { head: self.head.min(other.head), tail: self.tail.min(other.tail) }
    }
}

/// A file as it was (0) and as it is (1).
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    pub files: [&'a [u8]; 2],
    pub shared: Shared,
}

impl<'a> Versions<'a> {
    /// The records that only one of the files has; of those between the first and the last of them perhaps others too.
    pub(super) fn only_in(&self, side: usize) -> impl Iterator<Item = Brief> + use<'a> {
        let (file, Shared { head, tail }) = (self.files[side], self.shared);
        briefs_of(&file[head..file.len() - tail], |_| true).map(move |record| record.moved(head as u32))
    }

    /// Makes of records of the file as it is, in its order, those of the file as it was: others take the place of what the former alone has, and
    /// what both share is where it was. The answer is which were replaced.
    pub(super) fn turn_back(&self, records: &mut Vec<Brief>, others: impl Iterator<Item = Brief>) -> Range<usize> {
        let [before, now] = self.files.map(<[u8]>::len);
        let by = (before as u32).wrapping_sub(now as u32);
        let from = |start: usize| records.partition_point(|record| (record.start as usize) < start);
        let only = from(self.shared.head)..from(now - self.shared.tail);
        records[only.end..].iter_mut().for_each(|record| *record = record.moved(by));
        records.splice(only.clone(), others);
        only
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{NewRecord, Packing};
    use super::*;

    /// The bytes of one record after the other.
    fn packed(records: &[(u16, u64)]) -> Vec<Vec<u8>> {
        let pack = |&(register, seq): &(u16, u64)| {
            let mut bytes = Vec::new();
            let record = NewRecord { register, key: "k", seq, deleted: false, event_date: None, shown: 0, fields: &[] };
            record.pack(&Packing::default(), &mut bytes);
            bytes
        };
        records.iter().map(pack).collect()
    }

    /// From which position, how many, by which.
    type Replaced<'a> = (usize, usize, &'a [(u16, u64)]);

    /// With which file, and of which register, records are that differ where records are replaced by others one after the other.
    fn differing(records: &[(u16, u64)], replaced: &[Replaced<'_>]) -> Vec<(usize, u16)> {
        let before = packed(records);
        let (mut now, mut shared) = (before.clone(), None);
        for (from, count, by) in replaced {
            let start = now[..*from].concat().len();
            let stretch = start..start + now[*from..from + count].concat().len();
            let beside = Shared::beside(stretch, now.concat().len());
            shared = Some(shared.map_or(beside, |shared: Shared| shared.meet(beside)));
            now.splice(*from..from + count, packed(by));
        }
        let mut seen = Vec::new();
        let [before, now] = [before, now].map(|records| records.concat());
        let versions = Versions { files: [&before, &now], shared: shared.expect("something is replaced") };
        (0..2).for_each(|side| seen.extend(versions.only_in(side).map(|record| (side, record.register))));
        let [was, mut records] = [&before, &now].map(|file| briefs_of(file, |_| true).collect::<Vec<Brief>>());
        versions.turn_back(&mut records, versions.only_in(0));
        assert_eq!(records, was);
        seen
    }

    #[test]
    fn only_records_that_differ_are_visited() {
        let before = [(1, 1), (2, 1), (3, 1), (3, 1), (4, 1)];
        // As files grow: at the beginning; several of them.
        assert_eq!(differing(&before, &[(0, 0, &[(9, 1)])]), [(1, 9)]);
        assert_eq!(differing(&before, &[(0, 0, &[(9, 1)]), (0, 0, &[(8, 1)])]), [(1, 8), (1, 9)]);
        assert_eq!(differing(&[], &[(0, 0, &[(1, 1)])]), [(1, 1)]);
        // Another version in the middle, longer or as long as the one before; the same one twice; one taken out; the last one.
        assert_eq!(differing(&before, &[(1, 1, &[(2, 70_000)])]), [(0, 2), (1, 2)]);
        assert_eq!(differing(&before, &[(1, 1, &[(2, 7)]), (1, 1, &[(2, 300)])]), [(0, 2), (1, 2)]);
        assert_eq!(differing(&before, &[(2, 1, &[])]), [(0, 3)]);
        assert_eq!(differing(&before, &[(4, 1, &[])]), [(0, 4)]);
        // Of two that differ, those between them too.
        assert_eq!(differing(&before, &[(4, 1, &[]), (2, 1, &[(5, 1)])]), [(0, 3), (0, 3), (0, 4), (1, 5), (1, 3)]);
    }
}
