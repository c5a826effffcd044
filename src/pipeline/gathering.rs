//! What a body says, gathered until all of it is read: in memory while there is little of it, else in a file without a name.

use super::submission::{Submission, is_bulky};
use memmap2::Mmap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Of one body so many bytes of refused lines are kept: who sends more of them sends something else than is meant.
const REFUSED_BYTES_MAX: usize = 64 << 20;
/// And it has at most so many dates.
const DATES_MAX: usize = 100_000;

/// What a submission says, as the journal writes it.
pub enum Entries {
    Held(Vec<u8>),
    /// A part of a file that nobody else sees.
    Spooled(Arc<Mmap>, Range<usize>),
}

impl Default for Entries {
    fn default() -> Self {
        Entries::Held(Vec::new())
    }
}

impl Deref for Entries {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Entries::Held(bytes) => bytes,
            Entries::Spooled(file, range) => &file[range.clone()],
        }
    }
}

impl Entries {
    /// To write more of them: in memory.
    pub(super) fn held(&mut self) -> &mut Vec<u8> {
        if let Entries::Spooled(..) = self {
            *self = Entries::Held(self.to_vec());
        }
        match self {
            Entries::Held(bytes) => bytes,
            Entries::Spooled(..) => unreachable!("just taken into memory"),
        }
    }
}

/// What is gathered so far.
pub struct Gathering<'a> {
    parts: Vec<Submission>,
    held: usize,
    refused: usize,
    spool: Option<Spool>,
    /// Makes a file without a name, when it is needed.
    make_file: &'a mut dyn FnMut() -> io::Result<File>,
}

/// Where entries go that are too many to be held.
struct Spool {
    file: BufWriter<File>,
    length: usize,
    /// Of each part.
    ranges: Vec<Range<usize>>,
}

impl Spool {
    /// Takes the entries of a part: of a new one, or of the last.
    fn take(&mut self, part: &mut Submission, is_new: bool) -> io::Result<()> {
        let entries = std::mem::take(&mut part.entries);
        self.file.write_all(&entries)?;
        let from = self.length;
        self.length += entries.len();
        match self.ranges.last_mut().filter(|_| !is_new) {
            Some(last) => last.end = self.length,
            None => self.ranges.push(from..self.length),
        }
        Ok(())
    }
}

impl<'a> Gathering<'a> {
    pub fn new(make_file: &'a mut dyn FnMut() -> io::Result<File>) -> Gathering<'a> {
        Gathering { parts: Vec::new(), held: 0, refused: 0, spool: None, make_file }
    }

    /// Adds what comes next: one submission with what came before it, unless it begins with a date.
    pub fn add(&mut self, mut part: Submission) -> io::Result<()> {
        self.refused += part.refused.iter().map(|row| row.raw.len()).sum::<usize>();
        if self.refused > REFUSED_BYTES_MAX {
            let last = part.refused.last().map(|row| format!("line {}: {}: {}", row.line, row.field, row.reason)).unwrap_or_default();
            return Err(io::Error::other(format!("more than {REFUSED_BYTES_MAX} bytes of it are refused, at last {last}")));
        }
        let is_new = part.dated || self.parts.is_empty();
        if self.parts.len() > DATES_MAX {
            return Err(io::Error::other(format!("more than {DATES_MAX} dates in one body")));
        }
        match &mut self.spool {
            Some(spool) => spool.take(&mut part, is_new)?,
            None => self.held += part.entries.len(),
        }
        match self.parts.last_mut().filter(|_| !is_new) {
            Some(last) => last.append(part),
            None => self.parts.push(part),
        }
        if self.spool.is_none() && is_bulky(self.held) {
            let mut spool = Spool { file: BufWriter::new((self.make_file)()?), length: 0, ranges: Vec::new() };
            for part in &mut self.parts {
                spool.take(part, true)?;
                part.let_go();
            }
            self.spool = Some(spool);
        }
        if self.spool.is_some() {
            self.parts.last_mut().into_iter().for_each(Submission::let_go);
        }
        Ok(())
    }

    /// All of it: a submission, and another from each date on.
    pub fn finish(mut self) -> io::Result<Vec<Submission>> {
        if let Some(Spool { file, ranges, .. }) = self.spool {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            // SAFETY: the file has no name, so nobody writes or shortens it while it is mapped.
            let map = Arc::new(unsafe { Mmap::map(&file) }?);
            for (part, range) in self.parts.iter_mut().zip(ranges) {
                part.entries = Entries::Spooled(map.clone(), range);
            }
        }
        self.parts.retain(|part| !part.is_empty());
        Ok(self.parts)
    }
}
