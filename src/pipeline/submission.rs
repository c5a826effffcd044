//! What comes in together: how bytes become it, and what of it is kept until the house takes it in.

use super::gathering::{Entries, Gathering};
use super::room::Held;
use crate::intake::{Contact, Decoded, Intake, Item, Rejection, Schema};
use crate::journal::entries::entries;
use crate::journal::{Dictionary, Entry, Own, Written};
use crate::sources::{Absence, Block, Bound, Piece, Pieces, Quarantined, Section, Snapshot};
use dataflows::model::Date;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

/// About how many bytes of lines are read at a time.
const BLOCK_BYTES: usize = 2 << 20;
/// Of a submission whose entries are longer, only these are held; what they say is read again from them.
pub const BULKY_BYTES: usize = 16 << 20;
/// Absences that are written as one part of what differs.
const ABSENCES_TOGETHER: usize = 10_000;

/// What comes in together.
pub struct Submission {
    /// Everything below, as the journal writes it.
    pub entries: Entries,
    pub items: Vec<Item>,
    pub contacts: Vec<Contact>,
    pub own: Vec<Own>,
    pub refused: Vec<Quarantined>,
    /// By what its records were read; nothing where there are none.
    pub schema: Option<Arc<Schema>>,
    /// By what they were written, if not by the same.
    pub written_by: Option<Arc<Dictionary>>,
    /// It begins with a date, and thereby an epoch.
    pub dated: bool,
    /// There is too much of it to be held twice: of all this only entries are here.
    pub bulky: bool,
    /// What it takes of the room there is, until the engine has it.
    pub room: Option<Held>,
    /// When the first of it came, and when it was in the journal; of what is told again nothing.
    pub arrived: Option<Instant>,
    pub journalled: Option<Instant>,
    /// Lines or rows that were accepted, and refused.
    pub accepted: u64,
    pub quarantined: u64,
    /// What its newest record is of.
    pub newest: Date,
}

impl Default for Submission {
    fn default() -> Self {
        Submission {
            entries: Entries::default(),
            items: Vec::new(),
            contacts: Vec::new(),
            own: Vec::new(),
            refused: Vec::new(),
            schema: None,
            written_by: None,
            dated: false,
            bulky: false,
            room: None,
            arrived: None,
            journalled: None,
            accepted: 0,
            quarantined: 0,
            newest: Date::BEFORE_ALL,
        }
    }
}

impl Submission {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Begins one that is read by this schema.
    pub fn begin(schema: &Arc<Schema>) -> Submission {
        Submission { arrived: Some(Instant::now()), schema: Some(schema.clone()), ..Submission::default() }
    }

    /// Every line of a body, accepted or refused: one submission, and another from each date on. `feed` is named beside what is refused.
    /// Its first line is this one of it.
    pub fn read(intake: &mut Intake, feed: &str, first_line: u64, body: &[u8]) -> Vec<Submission> {
        let begin = |intake: &Intake| Submission::begin(intake.schema());
        let (mut parts, mut submission) = (Vec::new(), begin(intake));
        let name: Arc<str> = Arc::from(feed);
        for (line, bytes) in (first_line..).zip(body.split(|byte| *byte == b'\n')) {
            let raw = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if raw.trim_ascii().is_empty() {
                continue;
            }
            match intake.decode(raw) {
                Ok(decoded) => {
                    if matches!(decoded.item, Item::Calendar(_)) {
                        let next = Submission { dated: true, ..begin(intake) };
                        parts.push(std::mem::replace(&mut submission, next));
                    }
                    submission.accept(decoded, &mut intake.take_entries());
                }
                Err(rejection) => {
                    let (field, reason) = (rejection.field, rejection.reason);
                    submission.refuse(Quarantined { file: name.clone(), line, field, reason, raw: raw.to_vec() });
                }
            }
        }
        parts.push(submission);
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Every row of a part of a table. What is refused is kept under the names of its columns, so that it can be read by itself.
    fn read_rows(intake: &mut Intake, feed: &Arc<str>, bound: &Bound, block: &Block) -> Submission {
        let chunk = bound.decode(intake, feed, block);
        let mut submission = Submission::begin(intake.schema());
        submission.entries = Entries::Held(intake.take_entries());
        submission.accepted = chunk.items.len() as u64;
        submission.newest = chunk.items.iter().map(of).max().unwrap_or(Date::BEFORE_ALL);
        (submission.items, submission.contacts) = (chunk.items, chunk.contacts);
        for row in chunk.rejected {
            submission.refuse(Quarantined { raw: bound.under_header(&row.raw), ..row });
        }
        submission
    }

    /// A record as it was accepted, and its entry.
    pub(super) fn accept(&mut self, Decoded { item, contact }: Decoded, entry: &mut Vec<u8>) {
        self.entries.held().append(entry);
        self.newest = self.newest.max(of(&item));
        self.items.push(item);
        self.contacts.extend(contact);
        self.accepted += 1;
    }

    /// What was refused before it could be read as a line.
    pub fn of_refused(row: Quarantined) -> Submission {
        let mut submission = Submission::default();
        submission.refuse(row);
        submission
    }

    pub(super) fn refuse(&mut self, row: Quarantined) {
        let Quarantined { file, line, field, reason, raw } = &row;
        Entry::Refused { feed: file, line: *line, field, reason, raw }.write(self.entries.held());
        self.refused.push(row);
        self.quarantined += 1;
    }

    /// What the pipeline itself did or heard.
    pub fn of_own(own: Own) -> Submission {
        let mut entries = Vec::new();
        Entry::Own(own.clone()).write(&mut entries);
        Submission { entries: Entries::Held(entries), own: vec![own], ..Submission::default() }
    }

    /// Adds another's; both become one epoch.
    pub(crate) fn append(&mut self, mut other: Submission) {
        self.entries.held().extend_from_slice(&other.entries);
        self.items.append(&mut other.items);
        self.contacts.append(&mut other.contacts);
        self.own.append(&mut other.own);
        self.refused.append(&mut other.refused);
        self.arrived = self.arrived.or(other.arrived);
        self.schema = self.schema.take().or(other.schema);
        self.accepted += other.accepted;
        self.quarantined += other.quarantined;
        self.newest = self.newest.max(other.newest);
        match (&mut self.room, other.room) {
            (Some(room), Some(other)) => room.join(other),
            (room, other) => *room = room.take().or(other),
        }
        if self.bulky || other.bulky || is_bulky(self.entries.len()) {
            self.let_go();
        }
    }

    /// Lets go of what can be read again from its entries.
    pub(super) fn let_go(&mut self) {
        self.bulky = true;
        (self.items, self.contacts) = (Vec::new(), Vec::new());
        (self.own, self.refused) = (Vec::new(), Vec::new());
    }

    /// What of a part of a dump is not held.
    fn unlike(self, snapshot: &mut Snapshot, feed: &Arc<str>) -> Submission {
        let mut unlike =
            Submission { arrived: self.arrived, schema: self.schema, refused: self.refused, bulky: true, ..Submission::default() };
        let mut items = self.items.iter();
        for entry in entries(&self.entries) {
            let item = match &entry {
                Entry::Record(_) | Entry::Calendar(_) | Entry::Heartbeat { .. } => items.next(),
                Entry::Refused { .. } | Entry::Own(_) => None,
            };
            match (item.map(|item| snapshot.version(item)), entry) {
                (Some(Ok(Some(seq))), Entry::Record(record)) => {
                    Entry::Record(Written { seq, ..record }).write(unlike.entries.held());
                    unlike.accepted += 1;
                }
                (Some(Err(Rejection { field, reason })), entry) => {
                    let raw = if let Entry::Record(record) = entry { record.key.as_bytes().to_vec() } else { Vec::new() };
                    unlike.refuse(Quarantined { file: feed.clone(), line: 0, field, reason, raw });
                }
                (None, refused) => {
                    snapshot.miss();
                    refused.write(unlike.entries.held());
                    unlike.quarantined += 1;
                }
                (Some(Ok(_)), _) => {}
            }
        }
        unlike
    }

    /// That these records are no more: what a full dump of their register does not have.
    pub fn of_absent(schema: &Arc<Schema>, register: u16, absences: &[Absence], heard: Date) -> impl Iterator<Item = Submission> {
        absences.chunks(ABSENCES_TOGETHER).map(move |absences| {
            let mut entries = Vec::new();
            for Absence { person, key, seq } in absences {
                let (person, seq, fields) = (*person, *seq, &[]);
                Entry::Record(Written { register, person, key, seq, deleted: true, event_date: None, heard, fields }).write(&mut entries);
            }
            Submission { entries: Entries::Held(entries), accepted: absences.len() as u64, bulky: true, ..Submission::begin(schema) }
        })
    }

    /// Whether another may follow in the same epoch: no date, nothing that was read under another policy, and nothing bulky.
    pub(super) fn may_be_followed_by(&self, other: &Submission) -> bool {
        let differ = self.schema.as_ref().zip(other.schema.as_ref()).is_some_and(|(one, other)| !Arc::ptr_eq(one, other));
        !other.dated && !differ && !self.bulky && !other.bulky
    }
}

/// Of which date a record is.
fn of(item: &Item) -> Date {
    match item {
        Item::Update(update) => update.heard,
        Item::Calendar(_) | Item::Heartbeat { .. } => Date::BEFORE_ALL,
    }
}

/// Whether so many bytes of entries are too many to be held twice.
pub(super) fn is_bulky(bytes: usize) -> bool {
    bytes > BULKY_BYTES
}

/// Lines, or rows of a table, on their way to submissions: a block at a time.
pub struct Reading<R> {
    pieces: Pieces<R>,
    feed: Arc<str>,
}

impl<R: Read> Reading<R> {
    /// Begins a feed of lines, or of rows that a section of a mapping serves.
    pub(crate) fn new(reader: R, feed: &str, section: Option<Arc<Section>>) -> Reading<R> {
        Reading { pieces: Pieces::new(reader, section, BLOCK_BYTES), feed: Arc::from(feed) }
    }

    /// What the next block says; nothing at the end. An error where what follows cannot be read, with its line; a line that cannot is refused alone.
    pub fn next(&mut self, intake: &mut Intake) -> Option<io::Result<Vec<Submission>>> {
        Some(Ok(match self.pieces.next()? {
            (Piece::Fault { line, reason, cut_short: true, .. }, _) => {
                return Some(Err(io::Error::other(format!("line {line}: {reason}"))));
            }
            (Piece::Fault { line, reason, raw, .. }, _) => {
                vec![Submission::of_refused(Quarantined { file: self.feed.clone(), line, field: String::new(), reason, raw })]
            }
            (Piece::Block(block), None) => Submission::read(intake, &self.feed, block.first_line, &block.bytes),
            (Piece::Block(block), Some(bound)) => vec![Submission::read_rows(intake, &self.feed, &bound, &block)],
        }))
    }

    /// What a full dump says that is not held: each record of it as the version after the one held. What cannot be read is refused, and has the dump count
    /// as not read whole.
    pub fn difference(&mut self, intake: &mut Intake, snapshot: &mut Snapshot, gathering: &mut Gathering<'_>) -> io::Result<()> {
        while let Some(block) = self.next(intake) {
            block?.into_iter().try_for_each(|part| gathering.add(part.unlike(snapshot, &self.feed)))?;
        }
        Ok(())
    }

    /// All of it as one submission, and another from each date on. A file without a name is made where that is too much to be held.
    pub fn all(&mut self, intake: &mut Intake, make_file: &mut dyn FnMut() -> io::Result<File>) -> io::Result<Vec<Submission>> {
        let mut gathering = Gathering::new(make_file);
        while let Some(block) = self.next(intake) {
            block?.into_iter().try_for_each(|part| gathering.add(part))?;
        }
        gathering.finish()
    }
}
