//! The journal: everything that came in, in the order in which it counts, durable before anybody is told that it arrived.
//!
//! ```text
//!  journal/            0000000001.shj  0000000002.shj  …      each begins with a dictionary, then epochs
//!  an epoch            the entries that were written and synced together; the house takes it in as one
//!  base-0000001234/    what epochs up to this one said, as far as it still counts (`base.rs`), in the place of their segments
//!  next                the next segment, full of zeros, so that a sync of it need not wait for the file system
//! ```
//!
//! The journal is the truth: what the engine holds and what the ledger shows follow from it. A write that failed is cut off before the
//! next one, so that nothing half written is ever followed by anything.

pub mod base;
pub mod disk;
pub mod entries;
mod segment;

pub use disk::{Disk, DiskFile, Folder};
pub use entries::{Dictionary, Entry, Own, Pausable, ReleasedRight, Settlement, Written};

use segment::{
    BEGINNING_BYTES, Frame, HEADER_BYTES, Kind, MARKED_BYTES, PAYLOAD_MAX, check_header, continues, first_frame_bytes, header,
    marked_epoch, read_frame, write_frame, written,
};
use std::fmt;
use std::io;
use std::sync::Arc;

/// A segment is closed once it is as long.
pub const SEGMENT_BYTES: u64 = 64 << 20;
const SUFFIX: &str = ".shj";
/// So many bytes are written where it is tried whether any can be.
const TRIED_BYTES: usize = 64 << 10;

/// Bytes that nobody wrote like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where, in bytes from the beginning of the segment.
    pub at: usize,
    pub what: String,
}

/// Why a journal cannot be read or written.
#[derive(Debug)]
pub enum Failure {
    Disk {
        segment: String,
        error: io::Error,
    },
    Damaged {
        segment: String,
        damage: Damage,
    },
    /// A base that another program wrote.
    Form {
        base: String,
        form: u16,
        known: u16,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Disk { segment, error } => write!(f, "journal {segment}: {error}"),
            Failure::Damaged { segment, damage } => write!(f, "journal {segment}: damaged at byte {}: {}", damage.at, damage.what),
            Failure::Form { base, form, known } => write!(
                f,
                "journal {base}: of form {form}, this program reads form {known}: the program that wrote it reads it, and `shanyraq journal export` \
                 of that one writes its records"
            ),
        }
    }
}

impl std::error::Error for Failure {}

/// An epoch as it was written.
#[derive(Clone, Debug)]
pub struct Epoch {
    pub number: u64,
    pub dictionary: Arc<Dictionary>,
    /// See [`entries::entries`].
    pub entries: Vec<u8>,
}

/// A journal open for writing.
pub struct Journal<D: Disk> {
    disk: D,
    dictionary: Dictionary,
    segment: u64,
    file: D::File,
    /// How much of the segment is synced.
    length: u64,
    /// The last epoch that is synced.
    epoch: u64,
    /// What was appended after `length` may be there in part.
    torn: bool,
    segment_bytes: u64,
    /// What is appended next needs a segment of its own dictionary.
    turned: bool,
    buffer: Vec<u8>,
}

impl<D: Disk> Journal<D> {
    /// Opens a journal, or begins one. What was torn off at its end is cut; what is damaged is refused. From here on entries are
    /// written by this dictionary.
    ///
    /// A segment is closed once it is as long as `segment_bytes`. Epochs up to `base` are in a base, and need not be in segments.
    pub fn open(disk: D, dictionary: Dictionary, segment_bytes: u64, base: u64) -> Result<Self, Failure> {
        let reopen = |name: &str, length, room| disk.reopen(name, length, room).map_err(failed(name));
        let begun = opening(&dictionary).len() as u64;
        let (segment, length) = match segments(&disk)?.pop() {
            None => (1, None),
            Some(name) => {
                let (number, bytes) = (number_of(&name), read(&disk, &name)?);
                match beginning(&name, &bytes)? {
                    // The segment was begun, and nothing in it was ever acknowledged.
                    None => (number, None),
                    Some(Beginning { dictionary: known, end }) => {
                        let (end, _) = last_of_segment(&name, &bytes, end)?;
                        match known == dictionary {
                            true => (number, Some(end as u64)),
                            false => {
                                reopen(&name, end as u64, 0)?;
                                (number + 1, None)
                            }
                        }
                    }
                }
            }
        };
        if length.is_none() {
            new_segment(&disk, segment, &dictionary, segment_bytes)?;
        }
        let length = length.unwrap_or(begun);
        let file = reopen(&name_of(segment), length, segment_bytes)?;
        let epoch = last_epoch(&disk)?.max(base);
        Ok(Journal { disk, dictionary, segment, file, length, epoch, torn: false, segment_bytes, turned: false, buffer: Vec::new() })
    }

    /// The last epoch that is written; zero before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// From here on entries are written by this dictionary.
    pub fn write_by(&mut self, dictionary: Dictionary) {
        self.turned |= dictionary != self.dictionary;
        self.dictionary = dictionary;
    }

    /// Writes entries as the next epoch and returns its number once they would outlive a loss of power. After a failure the
    /// next call begins anew, and nothing of them will be read, unless the process ends before that call and the disk has kept them.
    pub fn append(&mut self, entries: &[u8]) -> Result<u64, Failure> {
        self.prepare()?;
        let name = name_of(self.segment);
        let number = self.epoch + 1;
        self.torn = true;
        let (mut rest, mut length) = (entries, self.length);
        loop {
            let (part, others) = rest.split_at(rest.len().min(PAYLOAD_MAX));
            let kind = if others.is_empty() { Kind::Epoch } else { Kind::Part };
            self.buffer.clear();
            write_frame(&mut self.buffer, kind, number, part);
            self.file.append(&self.buffer).map_err(failed(&name))?;
            // Each part before the next: whatever a loss of power leaves, nothing whole follows what is torn.
            self.file.sync().map_err(failed(&name))?;
            (rest, length) = (others, length + self.buffer.len() as u64);
            if kind == Kind::Epoch {
                break;
            }
        }
        self.torn = false;
        (self.length, self.epoch) = (length, number);
        Ok(number)
    }

    /// Tries whether anything can be written: zeros, which are cut off before the next epoch, and which nobody takes for one.
    pub fn try_out(&mut self) -> Result<(), Failure> {
        self.prepare()?;
        self.torn = true;
        let written = self.file.append(&[0; TRIED_BYTES]).and_then(|()| self.file.sync());
        written.map_err(failed(&name_of(self.segment)))
    }

    /// Cuts off what was not acknowledged, and begins a segment where one is due.
    fn prepare(&mut self) -> Result<(), Failure> {
        if self.torn {
            let name = name_of(self.segment);
            self.file = self.disk.reopen(&name, self.length, 0).map_err(failed(&name))?;
            self.torn = false;
        }
        if self.length >= self.segment_bytes || self.turned {
            let file = new_segment(&self.disk, self.segment + 1, &self.dictionary, self.segment_bytes)?;
            std::mem::replace(&mut self.file, file).finish();
            self.segment += 1;
            self.length = opening(&self.dictionary).len() as u64;
            self.turned = false;
        }
        Ok(())
    }
}

/// Reads the epochs after one (zero is before all) and up to one, in order. Segments of which nothing is wanted are not looked at. Ends
/// at a torn tail, and fails at damage; what follows the last epoch wanted is not looked at, so that it may be being written.
pub fn read_epochs<D: Disk>(
    disk: &D,
    after: u64,
    until: u64,
    mut each: impl FnMut(Epoch) -> Result<(), Failure>,
) -> Result<Summary, Failure> {
    let mut names = segments(disk)?;
    let mut unwanted = 0;
    for (index, name) in names.iter().enumerate().filter(|_| after > 0) {
        if first_epoch(disk, name)?.is_some_and(|first| first <= after) {
            unwanted = index;
        }
    }
    names.drain(..unwanted);
    let mut summary = Summary::default();
    let mut each = |epoch: Epoch| if epoch.number > after { each(epoch) } else { Ok(()) };
    let mut reach = Reach { after, until, last: None };
    for (index, name) in names.iter().enumerate() {
        let bytes = read(disk, name)?;
        let end = read_segment(name, &bytes, &mut reach, &mut summary, &mut each)?;
        if summary.last_epoch >= until {
            break;
        }
        summary.torn_bytes = (written(&bytes).max(end) - end) as u64;
        if summary.torn_bytes > 0 && index + 1 < names.len() {
            return Err(damaged(name, end, "a frame does not check, and segments follow"));
        }
        summary.segments += 1;
        summary.bytes += end as u64;
    }
    Ok(summary)
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub segments: u64,
    pub epochs: u64,
    pub last_epoch: u64,
    pub bytes: u64,
    /// At the end, of a write that was never acknowledged.
    pub torn_bytes: u64,
}

/// The package under which a journal was begun; nothing if it was not.
pub fn first_package<D: Disk>(disk: &D) -> Result<Option<String>, Failure> {
    for name in segments(disk)? {
        if let Some(Beginning { dictionary, .. }) = beginning(&name, &read(disk, &name)?)? {
            return Ok(Some(dictionary.package));
        }
    }
    Ok(None)
}

/// How far is read, and has been.
struct Reach {
    after: u64,
    until: u64,
    last: Option<u64>,
}

/// Where the last whole epoch ends that was read.
fn read_segment(
    name: &str,
    bytes: &[u8],
    reach: &mut Reach,
    summary: &mut Summary,
    each: &mut impl FnMut(Epoch) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let Some(Beginning { dictionary, end }) = beginning(name, bytes)? else { return Ok(0) };
    let (dictionary, mut at, mut end, mut entries) = (Arc::new(dictionary), end, end, Vec::new());
    while let Some(frame) = read_frame(bytes, at) {
        entries.extend_from_slice(frame.payload);
        if frame.kind == Kind::Epoch {
            let follows = reach.last.map_or(frame.epoch <= reach.after + 1, |last| frame.epoch == last + 1);
            if !follows {
                return Err(damaged(name, at, &format!("epoch {} follows epoch {}", frame.epoch, reach.last.unwrap_or(reach.after))));
            }
            reach.last = Some(frame.epoch);
            (summary.epochs, summary.last_epoch) = (summary.epochs + 1, frame.epoch);
            each(Epoch { number: frame.epoch, dictionary: dictionary.clone(), entries: std::mem::take(&mut entries) })?;
            end = frame.end;
            if frame.epoch >= reach.until {
                return Ok(end);
            }
        }
        at = frame.end;
    }
    check_tail(name, bytes, at, summary.last_epoch)?;
    Ok(end)
}

/// What a segment begins with.
struct Beginning {
    dictionary: Dictionary,
    /// Where its first epoch begins.
    end: usize,
}

/// The beginning of a segment; nothing where it was only begun.
fn beginning(name: &str, bytes: &[u8]) -> Result<Option<Beginning>, Failure> {
    if let Err(damage) = check_header(bytes) {
        // Power that fails while a segment is begun may leave anything there, but no epoch.
        return if continues(bytes, 0, 1) { Err(Failure::Damaged { segment: name.to_owned(), damage }) } else { Ok(None) };
    }
    let Some(first) = read_frame(bytes, HEADER_BYTES).filter(|frame| frame.kind == Kind::Dictionary) else {
        return if continues(bytes, HEADER_BYTES, 1) { Err(damaged(name, HEADER_BYTES, "no dictionary")) } else { Ok(None) };
    };
    let dictionary = serde_json::from_slice(first.payload).map_err(|error| damaged(name, first.at, &error.to_string()))?;
    Ok(Some(Beginning { dictionary, end: first.end }))
}

/// Where the last whole epoch of a segment ends, and which it is; zero if there is none.
fn last_of_segment(name: &str, bytes: &[u8], begin: usize) -> Result<(usize, u64), Failure> {
    let (mut at, mut last) = (begin, (begin, 0));
    while let Some(Frame { kind, epoch, end, .. }) = read_frame(bytes, at) {
        if kind == Kind::Epoch {
            last = (end, epoch);
        }
        at = end;
    }
    check_tail(name, bytes, at, last.1)?;
    Ok(last)
}

/// Refuses what no end of a process leaves behind.
fn check_tail(name: &str, bytes: &[u8], at: usize, last: u64) -> Result<(), Failure> {
    match at < bytes.len() && continues(bytes, at, last) {
        true => Err(damaged(name, at, "a frame does not check, and others follow")),
        false => Ok(()),
    }
}

/// The header and the dictionary.
fn opening(dictionary: &Dictionary) -> Vec<u8> {
    let mut bytes = header().to_vec();
    let json = serde_json::to_vec(dictionary).expect("a dictionary is JSON");
    write_frame(&mut bytes, Kind::Dictionary, 0, &json);
    bytes
}

fn new_segment<D: Disk>(disk: &D, number: u64, dictionary: &Dictionary, room: u64) -> Result<D::File, Failure> {
    let name = name_of(number);
    let mut file = disk.create(&name, room).map_err(failed(&name))?;
    file.append(&opening(dictionary)).map_err(failed(&name))?;
    file.sync().map_err(failed(&name))?;
    Ok(file)
}

/// The last epoch that is whole: of the last segment that has any.
pub fn last_epoch<D: Disk>(disk: &D) -> Result<u64, Failure> {
    for name in segments(disk)?.iter().rev() {
        let bytes = read(disk, name)?;
        if let Some(Beginning { end, .. }) = beginning(name, &bytes)?
            && let (_, epoch @ 1..) = last_of_segment(name, &bytes, end)?
        {
            return Ok(epoch);
        }
    }
    Ok(0)
}

/// With which epoch a segment begins, without reading it; nothing where none is to be seen.
fn first_epoch<D: Disk>(disk: &D, name: &str) -> Result<Option<u64>, Failure> {
    let part = |from: usize, length| disk.read_part(name, from as u64, length).map_err(failed(name));
    let Some(dictionary) = first_frame_bytes(&part(0, BEGINNING_BYTES)?) else { return Ok(None) };
    Ok(marked_epoch(&part(HEADER_BYTES + dictionary, MARKED_BYTES)?).filter(|epoch| *epoch > 0))
}

fn segments<D: Disk>(disk: &D) -> Result<Vec<String>, Failure> {
    let mut names = disk.list().map_err(failed("folder"))?;
    names.retain(|name| name.ends_with(SUFFIX));
    Ok(names)
}

fn read<D: Disk>(disk: &D, name: &str) -> Result<Vec<u8>, Failure> {
    disk.read(name).map_err(failed(name))
}

fn name_of(segment: u64) -> String {
    format!("{segment:010}{SUFFIX}")
}

fn number_of(name: &str) -> u64 {
    name.trim_end_matches(SUFFIX).parse().unwrap_or(0)
}

fn failed(segment: &str) -> impl FnOnce(io::Error) -> Failure + use<> {
    let segment = segment.to_owned();
    move |error| Failure::Disk { segment, error }
}

fn damaged(segment: &str, at: usize, what: &str) -> Failure {
    Failure::Damaged { segment: segment.to_owned(), damage: Damage { at, what: what.to_owned() } }
}
