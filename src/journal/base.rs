//! Bases: what a journal said up to an epoch, as far as it still counts.
//!
//! ```text
//!  journal/base-0000001234/    complete once it has this name: stands for all epochs up to this one
//!      0000000001.shj …        the winning version of every record, by person, in the form of segments; the date, and when registers were heard;
//!                              an epoch of nothing, which says that this is all
//!      rest                    what engine and ledger held beside the houses after that epoch, from a snapshot
//! ```
//!
//! Its segments say in their headers which form of a base they are of; those of a journal say none.
//!
//! Of each record only the versions with the highest `seq` are kept (several if they contradict each other, which is a fault that lasts).
//! What was refused, and what the pipeline did itself, is in the ledger by then. Segments that a base stands for are no longer needed to
//! go on, and go to the archive.

use super::entries::{Dictionary, Entry, Written, entries};
use super::segment::{FORM_AT, FORM_BYTES};
use super::{Disk, Epoch, Failure, Folder, Journal, SUFFIX, damaged, failed, first_epoch, read_epochs, segments};
use dataflows::model::Date;
use hashbrown::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// The form of a base; a later one is a later program's. The first that had none told (0) had no mark at their ends.
const FORM: u16 = 1;
const NAME: &str = "base-";
const DRAFT: &str = "draft";
/// What a base takes of the snapshot.
const REST: &str = "rest";
/// About as many bytes of records are merged at a time.
const PART_BYTES: u64 = 128 << 20;
/// Entries that are read at once from a base.
const CHUNK_BYTES: usize = 1 << 20;
const SEGMENT_BYTES: u64 = 256 << 20;
const ARCHIVE_LEVEL: i32 = 3;
const PACKED: &str = ".zst";

/// Where segments go that a base stands for.
#[derive(Clone, Debug)]
pub struct Archive {
    pub folder: PathBuf,
    /// Those that were packed longer ago go.
    pub kept_for: Duration,
}

/// A base that is complete.
#[derive(Clone, Debug)]
pub struct Base {
    pub folder: PathBuf,
    pub epoch: u64,
}

/// The newest base of a journal's folder.
pub fn newest(journal: &Path) -> io::Result<Option<Base>> {
    Ok(bases(journal)?.pop())
}

/// All of them, the newest last.
fn bases(journal: &Path) -> io::Result<Vec<Base>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(journal)? {
        let folder = entry?.path();
        let epoch = folder.file_name().and_then(|name| name.to_str()?.strip_prefix(NAME)?.parse().ok());
        bases.extend(epoch.map(|epoch| Base { folder, epoch }));
    }
    bases.sort_unstable_by_key(|base| base.epoch);
    Ok(bases)
}

impl Base {
    /// How many bytes its segments have.
    pub fn bytes(&self) -> io::Result<u64> {
        segment_bytes(&self.folder)
    }

    /// Everything that it holds, in parts that belong to one epoch. Fails where it does not end with its mark: a base was whole when it took its
    /// place, so nothing of it is torn.
    pub fn read(&self, mut each: impl FnMut(Epoch) -> Result<(), Failure>) -> Result<(), Failure> {
        let (disk, base) = (Folder::beside(&self.folder), self.folder.file_name().unwrap_or_default().to_string_lossy());
        let other_form = |form| Failure::Form { base: base.clone().into_owned(), form, known: FORM };
        let mut oldest = FORM;
        for name in segments(&disk)? {
            let form = disk.read_part(&name, FORM_AT, FORM_BYTES).map_err(failed(&name))?;
            let form = <[u8; FORM_BYTES]>::try_from(form).map_or(FORM, u16::from_le_bytes);
            if form > FORM {
                return Err(other_form(form));
            }
            oldest = oldest.min(form);
        }
        let mut is_whole = false;
        let summary = read_epochs(&disk, 0, u64::MAX, |part| {
            is_whole = part.entries.is_empty();
            each(part)
        })?;
        if !is_whole && oldest < FORM {
            return Err(other_form(oldest));
        }
        if !is_whole || summary.torn_bytes > 0 {
            let what = "it does not end with its mark: part of it is damaged or missing";
            return Err(damaged(&base, summary.bytes as usize, what));
        }
        Ok(())
    }
}

/// How many segments hold nothing that comes after an epoch.
pub fn segments_until(journal: &Path, epoch: u64) -> Result<usize, Failure> {
    past(journal, epoch).map(|past| past.len())
}

/// Their names: of each the next one begins with an epoch that is not behind the one after.
fn past(journal: &Path, epoch: u64) -> Result<Vec<String>, Failure> {
    let disk = Folder::beside(journal);
    let names = segments(&disk)?;
    let mut past = 0;
    for (index, name) in names.iter().enumerate().skip(1) {
        if first_epoch(&disk, name)?.is_some_and(|first| first <= epoch + 1) {
            past = index;
        }
    }
    Ok(names.into_iter().take(past).collect())
}

/// Makes a base of everything up to an epoch, with `rest` of a snapshot of that epoch, and puts it in the place of the segments that it
/// stands for. These go into `archive`, packed, or nowhere. Whatever ends the process meanwhile, the journal is whole.
pub fn compact(journal: &Path, epoch: u64, rest: &Path, archive: Option<&Archive>) -> Result<(), Failure> {
    let draft = journal.join(DRAFT);
    let written = write_base(journal, epoch, rest, &draft);
    if written.is_err() {
        // The snapshot may have given way to a newer one meanwhile. Whatever stays behind the next one or the next start takes away.
        drop(fs::remove_dir_all(&draft));
    }
    written.and_then(|()| clear(journal, archive))
}

/// Writes what counts of everything up to an epoch as a draft, and gives it its name once it would outlive a loss of power.
fn write_base(journal: &Path, epoch: u64, rest: &Path, draft: &Path) -> Result<(), Failure> {
    let at = |error| Failure::Disk { segment: DRAFT.to_owned(), error };
    if draft.exists() {
        fs::remove_dir_all(draft).map_err(at)?;
    }
    let spool = draft.join("spool");
    fs::create_dir_all(&spool).map_err(at)?;
    let before = newest(journal).map_err(at)?;
    let mut merge = Merge::new(&spool, held_bytes(journal, before.as_ref()).map_err(at)?);
    if let Some(before) = &before {
        before.read(|part| merge.take(&part))?;
    }
    let after = before.as_ref().map_or(0, |before| before.epoch);
    read_epochs(&Folder::beside(journal), after, epoch, |part| merge.take(&part))?;
    merge.write(draft)?;
    write_form(draft).map_err(at)?;
    fs::remove_dir_all(spool).map_err(at)?;
    fs::copy(rest, draft.join(REST)).and_then(|_| File::open(draft.join(REST))?.sync_all()).map_err(at)?;
    File::open(draft).and_then(|folder| folder.sync_all()).map_err(at)?;
    fs::rename(draft, journal.join(format!("{NAME}{epoch:010}"))).map_err(at)?;
    File::open(journal).and_then(|folder| folder.sync_all()).map_err(at)
}

/// Has each segment of a base say in its header which form that is of.
fn write_form(folder: &Path) -> io::Result<()> {
    for name in Folder::beside(folder).list()?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
        let mut file = File::options().write(true).open(folder.join(name))?;
        file.seek(SeekFrom::Start(FORM_AT))?;
        file.write_all(&FORM.to_le_bytes())?;
        file.sync_all()?;
    }
    Ok(())
}

/// Removes what the newest base stands for, and what an end of the process left of another one.
pub fn clear(journal: &Path, archive: Option<&Archive>) -> Result<(), Failure> {
    let at = |error| Failure::Disk { segment: NAME.to_owned(), error };
    if journal.join(DRAFT).exists() {
        fs::remove_dir_all(journal.join(DRAFT)).map_err(at)?;
    }
    let mut bases = bases(journal).map_err(at)?;
    let Some(newest) = bases.pop() else { return Ok(()) };
    for segment in past(journal, newest.epoch)? {
        let path = journal.join(&segment);
        let archived = archive.map_or(Ok(()), |archive| archive.keep(&path));
        archived.and_then(|()| fs::remove_file(path)).map_err(|error| Failure::Disk { segment, error })?;
    }
    bases.iter().try_for_each(|old| fs::remove_dir_all(&old.folder)).map_err(at)
}

impl Archive {
    /// Packs a segment; returns once it would outlive a loss of power.
    fn keep(&self, segment: &Path) -> io::Result<()> {
        let Archive { folder, .. } = self;
        fs::create_dir_all(folder)?;
        let name = segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (draft, path) = (folder.join(DRAFT), folder.join(format!("{name}{PACKED}")));
        let mut out = File::create(&draft)?;
        zstd::stream::copy_encode(BufReader::new(File::open(segment)?), &mut out, ARCHIVE_LEVEL)?;
        out.sync_all()?;
        fs::rename(draft, path)?;
        File::open(folder)?.sync_all()
    }

    /// Removes the segments in it that are kept no longer, and nothing else that lies there.
    pub fn prune(&self) -> io::Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let is_segment = entry.file_name().to_string_lossy().ends_with(&format!("{SUFFIX}{PACKED}"));
            // A clock that was put back makes nothing old.
            if is_segment && entry.metadata()?.modified()?.elapsed().unwrap_or_default() > self.kept_for {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn held_bytes(journal: &Path, before: Option<&Base>) -> io::Result<u64> {
    Ok(segment_bytes(journal)? + before.map_or(Ok(0), Base::bytes)?)
}

fn segment_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_segment = entry.file_name().to_string_lossy().ends_with(SUFFIX);
        bytes += if is_segment { entry.metadata()?.len() } else { 0 };
    }
    Ok(bytes)
}

/// Sorts records apart by whom they are about, and then keeps what counts of each part.
struct Merge {
    spool: PathBuf,
    parts: u64,
    dictionaries: Vec<Dictionary>,
    /// What is waiting to be written, by dictionary and part.
    files: HashMap<(usize, u64), BufWriter<File>>,
    today: Option<Date>,
    /// When each register was last heard, by id.
    heard: HashMap<String, Date>,
    entry: Vec<u8>,
}

/// Where a version lies: dictionary, and from where to where.
struct Version {
    seq: u64,
    dictionary: usize,
    bytes: std::ops::Range<usize>,
}

impl Merge {
    fn new(spool: &Path, bytes: u64) -> Merge {
        Merge {
            spool: spool.to_owned(),
            parts: 1 + bytes / PART_BYTES,
            dictionaries: Vec::new(),
            files: HashMap::new(),
            today: None,
            heard: HashMap::new(),
            entry: Vec::new(),
        }
    }

    fn take(&mut self, epoch: &Epoch) -> Result<(), Failure> {
        let dictionary = match self.dictionaries.iter().position(|known| *known == *epoch.dictionary) {
            Some(known) => known,
            None => {
                self.dictionaries.push((*epoch.dictionary).clone());
                self.dictionaries.len() - 1
            }
        };
        for entry in entries(&epoch.entries) {
            match &entry {
                Entry::Record(record) => {
                    self.hear(&epoch.dictionary, record.register, record.heard);
                    self.spool(dictionary, record).map_err(|error| Failure::Disk { segment: DRAFT.to_owned(), error })?;
                }
                Entry::Calendar(date) => self.today = self.today.max(Some(*date)),
                Entry::Heartbeat { register, date } => self.hear(&epoch.dictionary, *register, *date),
                Entry::Refused { .. } | Entry::Own(_) => {}
            }
        }
        Ok(())
    }

    fn hear(&mut self, dictionary: &Dictionary, register: u16, date: Date) {
        let id = &dictionary.registers[usize::from(register)].id;
        match self.heard.get_mut(id) {
            Some(heard) => *heard = (*heard).max(date),
            None => drop(self.heard.insert(id.clone(), date)),
        }
    }

    fn spool(&mut self, dictionary: usize, record: &Written<'_>) -> io::Result<()> {
        let of = if record.person == 0 { xxh3_64(record.key.as_bytes()) } else { record.person };
        let part = of % self.parts;
        self.entry.clear();
        Entry::Record(*record).write(&mut self.entry);
        let file = match self.files.entry((dictionary, part)) {
            hashbrown::hash_map::Entry::Occupied(file) => file.into_mut(),
            hashbrown::hash_map::Entry::Vacant(place) => {
                place.insert(BufWriter::new(File::create(self.spool.join(format!("{dictionary}-{part}")))?))
            }
        };
        file.write_all(&self.entry)
    }

    /// Writes what counts.
    fn write(mut self, to: &Path) -> Result<(), Failure> {
        let at = |error| Failure::Disk { segment: DRAFT.to_owned(), error };
        self.files.values_mut().try_for_each(BufWriter::flush).map_err(at)?;
        let Some(last) = self.dictionaries.last() else { return Ok(()) };
        let mut out = Journal::open(Folder::without_room(to).map_err(at)?, last.clone(), SEGMENT_BYTES, 0)?;
        for dictionary in &self.dictionaries {
            let news = self.news(dictionary);
            if !news.is_empty() {
                out.write_by(dictionary.clone());
                out.append(&news)?;
            }
        }
        for part in 0..self.parts {
            let counting = self.counting(part).map_err(at)?;
            for (dictionary, chunks) in self.dictionaries.iter().zip(counting) {
                if !chunks.is_empty() {
                    out.write_by(dictionary.clone());
                }
                chunks.iter().try_for_each(|chunk| out.append(chunk).map(drop))?;
            }
        }
        out.append(&[]).map(drop)
    }

    /// The date, and when the registers of a dictionary were heard.
    fn news(&self, dictionary: &Dictionary) -> Vec<u8> {
        let mut news = Vec::new();
        self.today.into_iter().for_each(|today| Entry::Calendar(today).write(&mut news));
        for (register, words) in (0_u16..).zip(&dictionary.registers) {
            if let Some(&date) = self.heard.get(&words.id) {
                Entry::Heartbeat { register, date }.write(&mut news);
            }
        }
        news
    }

    /// The versions of a part that count, in chunks, by dictionary.
    fn counting(&self, part: u64) -> io::Result<Vec<Vec<Vec<u8>>>> {
        let mut held: Vec<Vec<u8>> = Vec::new();
        for dictionary in 0..self.dictionaries.len() {
            let mut bytes = Vec::new();
            if self.files.contains_key(&(dictionary, part)) {
                File::open(self.spool.join(format!("{dictionary}-{part}")))?.read_to_end(&mut bytes)?;
            }
            held.push(bytes);
        }
        let mut versions: HashMap<(u64, &str, &str), Vec<Version>> = HashMap::new();
        for (index, bytes) in held.iter().enumerate() {
            let mut each = entries(bytes);
            let mut begin = 0;
            while let Some(entry) = each.next() {
                let range = begin..each.read();
                begin = range.end;
                let Entry::Record(Written { register, person, key, seq, .. }) = entry else { continue };
                let register = self.dictionaries[index].registers[usize::from(register)].id.as_str();
                let known = versions.entry((person, register, key)).or_default();
                if known.first().is_some_and(|version| version.seq < seq) {
                    known.clear();
                }
                let same = |version: &Version| held[version.dictionary][version.bytes.clone()] == bytes[range.clone()];
                if known.first().is_none_or(|version| version.seq == seq) && !known.iter().any(same) {
                    known.push(Version { seq, dictionary: index, bytes: range });
                }
            }
        }
        let mut sorted: Vec<_> = versions.into_iter().collect();
        sorted.sort_unstable_by_key(|(identity, _)| *identity);
        let mut chunks: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.dictionaries.len()];
        for Version { dictionary, bytes, .. } in sorted.into_iter().flat_map(|(_, versions)| versions) {
            let chunks = &mut chunks[dictionary];
            if chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK_BYTES) {
                chunks.push(Vec::with_capacity(CHUNK_BYTES + 256));
            }
            let chunk = chunks.last_mut().expect("there is one");
            chunk.extend_from_slice(&held[dictionary][bytes]);
        }
        Ok(chunks)
    }
}
