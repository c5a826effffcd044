use crate::folder::Folder as Temporary;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use shanyraq::journal::entries::{FieldWords, RegisterWords, Value, entries, values, write_value};
use shanyraq::journal::{Dictionary, Disk, DiskFile, Entry, Failure, Folder, Journal, Own, Summary, Written, read_epochs};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

fn dictionary(registers: &[&str]) -> Dictionary {
    let field = FieldWords { name: "amount".to_owned(), kind: "money".to_owned() };
    let register = |id: &&str| RegisterWords { id: (*id).to_owned(), fields: vec![field.clone()] };
    Dictionary { package: String::new(), person: "iin".to_owned(), registers: registers.iter().map(register).collect() }
}

/// A disk whose page cache can be lost: what a file holds for sure, and what was appended since the last sync; and names that are not synced.
#[derive(Clone, Default)]
struct Sea(Arc<Mutex<Water>>);

#[derive(Default)]
struct Water {
    files: BTreeMap<String, Bytes>,
    /// Names that a loss of power may take away, and those that the files had before, if any.
    loose: BTreeMap<String, Option<String>>,
    /// The next writes or syncs that fail, of bytes and of names; a write that fails leaves half of what it was given.
    failing_writes: usize,
    failing_syncs: usize,
    failing_names: usize,
    /// Names are never synced.
    forgetful: bool,
}

impl Water {
    /// Gives a file that is new, or had another name, this one.
    fn name(&mut self, name: &str, before: Option<&str>, bytes: Bytes) {
        before.into_iter().for_each(|before| drop((self.files.remove(before), self.loose.remove(before))));
        self.files.insert(name.to_owned(), bytes);
        self.loose.entry(name.to_owned()).or_insert(before.map(str::to_owned));
    }

    fn sync_names(&mut self) -> io::Result<()> {
        if self.failing_names > 0 {
            self.failing_names -= 1;
            return Err(io::Error::other("EIO"));
        }
        if !self.forgetful {
            self.loose.clear();
        }
        Ok(())
    }

    fn lose_names(&mut self) {
        for (name, before) in std::mem::take(&mut self.loose) {
            let lost = self.files.remove(&name);
            self.files.extend(before.zip(lost));
        }
    }
}

/// The file that is prepared to become the next one.
const NEXT: &str = "next";

/// What a file holds for sure, and what was written since the last sync, from which byte on.
#[derive(Clone, Default)]
struct Bytes {
    durable: Vec<u8>,
    at: usize,
    pending: Vec<u8>,
}

impl Bytes {
    fn as_read(&self) -> Vec<u8> {
        let Bytes { mut durable, at, pending } = self.clone();
        durable.resize(durable.len().max(at + pending.len()), 0);
        durable[at..at + pending.len()].copy_from_slice(&pending);
        durable
    }

    fn sync(&mut self) {
        *self = Bytes { durable: self.as_read(), at: self.at + self.pending.len(), pending: Vec::new() };
    }
}

struct SeaFile(Sea, String);

impl Sea {
    fn water(&self) -> std::sync::MutexGuard<'_, Water> {
        self.0.lock().unwrap()
    }

    /// How many of the next writes, syncs and syncs of names fail.
    fn fail_next(&self, writes: usize, syncs: usize, names: usize) {
        let mut water = self.water();
        (water.failing_writes, water.failing_syncs, water.failing_names) = (writes, syncs, names);
    }

    /// The power fails: of what was not synced only some of the first bytes are there, or none, of these the first may be missing, and
    /// one of them may be wrong; names that were not synced are those of before, or are there.
    fn storm(&self, kept: usize, missing: usize, wrong: Option<usize>, names: bool) {
        let mut water = self.water();
        if !names {
            water.lose_names();
        }
        water.loose.clear();
        for file in water.files.values_mut() {
            file.pending.truncate(kept);
            if let Some(byte) = wrong.and_then(|at| file.pending.get_mut(at)) {
                *byte ^= 0x40;
            }
            let before = file.durable.clone();
            for (at, byte) in file.pending.iter_mut().enumerate().take(missing) {
                *byte = before.get(file.at + at).copied().unwrap_or(0);
            }
            file.sync();
        }
    }
}

impl Disk for Sea {
    type File = SeaFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.water().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.water().files.get(name).ok_or(io::ErrorKind::NotFound)?.as_read())
    }

    fn read_part(&self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>> {
        Ok(self.read(name)?.into_iter().skip(from as usize).take(length).collect())
    }

    /// The file that was prepared becomes it, and another one is prepared.
    fn create(&self, name: &str, room: u64) -> io::Result<SeaFile> {
        let mut water = self.water();
        let zeros = Bytes { durable: vec![0; room as usize], ..Bytes::default() };
        let prepared = water.files.contains_key(NEXT).then_some(NEXT);
        water.name(name, prepared, zeros.clone());
        water.sync_names()?;
        water.name(NEXT, None, zeros);
        drop(water);
        Ok(SeaFile(self.clone(), name.to_owned()))
    }

    fn reopen(&self, name: &str, length: u64, room: u64) -> io::Result<SeaFile> {
        let (mut durable, at) = (self.read(name)?, length as usize);
        durable.truncate(at);
        durable.resize(at.max(room as usize), 0);
        self.water().files.insert(name.to_owned(), Bytes { durable, at, pending: Vec::new() });
        Ok(SeaFile(self.clone(), name.to_owned()))
    }
}

impl DiskFile for SeaFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut water = self.0.water();
        let fails = water.failing_writes > 0;
        water.failing_writes -= usize::from(fails);
        let written = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        water.files.get_mut(&self.1).unwrap().pending.extend_from_slice(written);
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut water = self.0.water();
        if water.failing_syncs > 0 {
            water.failing_syncs -= 1;
            return Err(io::Error::other("EIO"));
        }
        water.files.get_mut(&self.1).unwrap().sync();
        Ok(())
    }

    fn finish(&mut self) {
        let mut water = self.0.water();
        let file = water.files.get_mut(&self.1).unwrap();
        file.durable.truncate(file.at);
    }
}

/// Epochs that can be read: numbers and entries.
type Told = Vec<(u64, Vec<u8>)>;

fn told<D: Disk>(disk: &D) -> Result<(Told, Summary), Failure> {
    let mut epochs = Vec::new();
    let summary = read_epochs(disk, 0, u64::MAX, |epoch| {
        epochs.push((epoch.number, epoch.entries));
        Ok(())
    })?;
    Ok((epochs, summary))
}

fn open(disk: &Sea, segment_bytes: u64) -> Journal<Sea> {
    Journal::open(disk.clone(), dictionary(&["a.b"]), segment_bytes, 0).unwrap()
}

/// What happens to a journal.
#[derive(Clone, Debug)]
enum Happening {
    Append(Vec<u8>),
    /// The power fails while this is being written; the journal is opened again.
    Storm {
        during: Vec<u8>,
        kept: usize,
        missing: usize,
        wrong: Option<usize>,
        /// Whether names outlive it that were not synced, and whether it comes before a new one is, if one is given.
        names: bool,
        while_naming: bool,
    },
    /// A write or a sync fails, once.
    Failure {
        of: Failing,
        during: Vec<u8>,
    },
    /// It is tried whether anything can be written.
    TryOut,
    OpenAgain,
}

#[derive(Clone, Copy, Debug)]
enum Failing {
    Write,
    Sync,
    /// If a name is given.
    Names,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let one = prop_oneof![
        5 => bytes().prop_map(Happening::Append),
        2 => (bytes(), 0..300usize, 0..100usize, prop::option::of(0..300usize), any::<(bool, bool)>()).prop_map(
            |(during, kept, missing, wrong, (names, while_naming))| Happening::Storm { during, kept, missing, wrong, names, while_naming }
        ),
        3 => (prop::sample::select(vec![Failing::Write, Failing::Sync, Failing::Names]), bytes())
            .prop_map(|(of, during)| Happening::Failure { of, during }),
        1 => Just(Happening::TryOut),
        1 => Just(Happening::OpenAgain),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/journal.txt"))), ..ProptestConfig::default() })]

    /// Whatever is lost of what was not synced, and whichever writes fail: everything acknowledged is told, in order, once.
    #[test]
    fn nothing_acknowledged_is_ever_lost(happenings in happenings(), segment_bytes in 100..2_000u64) {
        let sea = Sea::default();
        let mut journal = open(&sea, segment_bytes);
        let mut acknowledged: Vec<(u64, Vec<u8>)> = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Append(entries) => acknowledged.push((journal.append(&entries).unwrap(), entries)),
                Happening::Storm { during, kept, missing, wrong, names, while_naming } => {
                    // The sync does not return before the power fails.
                    sea.fail_next(0, 1, usize::from(while_naming));
                    prop_assert!(journal.append(&during).is_err());
                    sea.storm(kept, missing, wrong, names);
                    sea.fail_next(0, 0, 0);
                    journal = open(&sea, segment_bytes);
                    // All of it may have reached the disk without anybody having been told so.
                    if journal.epoch() > acknowledged.last().map_or(0, |(epoch, _)| *epoch) {
                        acknowledged.push((journal.epoch(), during));
                    }
                }
                Happening::Failure { of, during } => {
                    match of {
                        Failing::Write => sea.fail_next(1, 0, 0),
                        Failing::Sync => sea.fail_next(0, 1, 0),
                        Failing::Names => sea.fail_next(0, 0, 1),
                    }
                    if let Ok(epoch) = journal.append(&during) {
                        prop_assert!(matches!(of, Failing::Names));
                        acknowledged.push((epoch, during));
                    }
                    sea.fail_next(0, 0, 0);
                }
                Happening::TryOut => {
                    sea.fail_next(0, 1, 0);
                    prop_assert!(journal.try_out().is_err());
                    prop_assert!(journal.try_out().is_ok());
                }
                Happening::OpenAgain => {
                    drop(journal);
                    journal = open(&sea, segment_bytes);
                    if journal.epoch() > acknowledged.last().map_or(0, |(epoch, _)| *epoch) {
                        // Written whole by an append that was told to have failed: it may stand, and then stands once.
                        let (epochs, _) = told(&sea).unwrap();
                        acknowledged.push(epochs.last().unwrap().clone());
                    }
                }
            }
        }
        let last = acknowledged.last().map_or(0, |(epoch, _)| *epoch);
        let (mut epochs, _) = told(&sea).unwrap();
        // What stands behind them was written whole, and nobody was told.
        epochs.retain(|(epoch, _)| *epoch <= last);
        prop_assert_eq!(epochs, acknowledged);
    }
}

/// On a disk that gives files names which do not outlive a loss of power, what was acknowledged is lost: such a loss would be seen above.
#[test]
fn where_names_are_not_synced_what_was_acknowledged_is_lost() {
    for forgetful in [false, true] {
        let sea = Sea::default();
        let mut journal = open(&sea, 100);
        sea.water().forgetful = forgetful;
        let acknowledged = (0..10).map(|_| journal.append(b"what somebody is told to be safe").unwrap()).max().unwrap();
        sea.storm(0, 0, None, false);
        let known = open(&sea, 100).epoch();
        assert!(acknowledged == 10 && if forgetful { known < 10 } else { known == 10 }, "{known}");
    }
}

/// Three epochs in one segment, and where the frames of the second and the third begin.
fn three_epochs(folder: &Temporary) -> (std::path::PathBuf, Vec<u8>) {
    let disk = Folder::open(&folder.0).unwrap();
    let mut journal = Journal::open(disk, dictionary(&["a.b"]), 1_000, 0).unwrap();
    for entries in [&b"first"[..], b"second", b"third"] {
        journal.append(entries).unwrap();
    }
    let file = folder.0.join("0000000001.shj");
    let mut bytes = std::fs::read(&file).unwrap();
    // There is room behind them.
    assert_eq!((bytes.len(), bytes.last()), (1_000, Some(&0)));
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    (file, bytes)
}

#[test]
fn a_torn_tail_is_cut_and_the_next_epoch_follows_what_is_whole() {
    let folder = Temporary::new("torn");
    let (file, bytes) = three_epochs(&folder);
    for cut in 1..=b"third".len() + 17 {
        std::fs::write(&file, &bytes[..bytes.len() - cut]).unwrap();
        let disk = Folder::open(&folder.0).unwrap();
        let (epochs, summary) = told(&disk).unwrap();
        assert_eq!(epochs.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2], "cut by {cut}");
        // Zeros at its end are as good as none.
        assert_eq!(summary.torn_bytes == 0, cut == b"third".len() + 17);
        let mut journal = Journal::open(disk, dictionary(&["a.b"]), 1_000, 0).unwrap();
        assert_eq!(journal.append(b"another").unwrap(), 3);
        drop(journal);
        let (epochs, summary) = told(&Folder::open(&folder.0).unwrap()).unwrap();
        assert_eq!((epochs[2].1.as_slice(), summary.torn_bytes), (&b"another"[..], 0));
    }
}

#[test]
fn damage_in_the_middle_is_refused_with_its_place() {
    let folder = Temporary::new("damage");
    let (file, bytes) = three_epochs(&folder);
    let second = bytes.windows(6).position(|window| window == b"second").unwrap();
    let mut damaged = bytes.clone();
    damaged[second] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    let frame = second - 17;
    let expected = format!("journal 0000000001.shj: damaged at byte {frame}: a frame does not check, and others follow");
    let disk = Folder::open(&folder.0).unwrap();
    assert_eq!(told(&disk).unwrap_err().to_string(), expected);
    assert_eq!(Journal::open(disk, dictionary(&["a.b"]), 1_000, 0).err().unwrap().to_string(), expected);
}

#[test]
fn one_process_at_a_time_and_another_format_is_refused() {
    let folder = Temporary::new("lock");
    let (file, mut bytes) = three_epochs(&folder);
    let held = Folder::open(&folder.0).unwrap();
    assert_eq!(Folder::open(&folder.0).err().unwrap().to_string(), "another process works in this folder");
    bytes[4] = 9;
    std::fs::write(&file, bytes).unwrap();
    let message = told(&held).unwrap_err().to_string();
    assert_eq!(message, "journal 0000000001.shj: damaged at byte 0: format 9, of which this program knows only 2");
}

#[test]
fn a_new_policy_begins_a_segment_with_its_own_dictionary() {
    let sea = Sea::default();
    open(&sea, 10_000).append(b"old").unwrap();
    let mut journal = Journal::open(sea.clone(), dictionary(&["a.b", "c.d"]), 10_000, 0).unwrap();
    assert_eq!(journal.append(b"new").unwrap(), 2);
    let mut words = Vec::new();
    read_epochs(&sea, 0, u64::MAX, |epoch| {
        words.push((epoch.number, epoch.dictionary.registers.len()));
        Ok(())
    })
    .unwrap();
    assert_eq!(words, [(1, 1), (2, 2)]);
}

#[test]
fn an_epoch_longer_than_a_frame_is_one_epoch() {
    let sea = Sea::default();
    let long: Vec<u8> = (0..40_000_000u32).map(|at| at as u8).collect();
    let mut journal = open(&sea, 1 << 20);
    journal.append(&long).unwrap();
    journal.append(b"").unwrap();
    let (epochs, summary) = told(&sea).unwrap();
    assert!(epochs == [(1, long), (2, Vec::new())]);
    assert_eq!(summary.segments, 2);
}

proptest! {
    /// What is written is what is read.
    #[test]
    fn entries_are_read_as_they_were_written(
        (person, seq, key, day) in (0..1u64 << 40, 1..u64::MAX, "[a-zÀ-ӿ0-9-]{1,20}", prop::option::of(-30_000..30_000i32)),
        fields in prop::collection::vec((0..40usize, prop_oneof![any::<i64>().prop_map(Ok), "\\PC{0,12}".prop_map(Err)]), 0..6),
        raw in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        let mut packed = Vec::new();
        let value = |value: &Result<i64, String>| match value { Ok(number) => Ok(*number), Err(text) => Err(text.clone()) };
        for (field, given) in &fields {
            match given {
                Ok(number) => write_value(&mut packed, *field, Value::Number(*number)),
                Err(text) => write_value(&mut packed, *field, Value::Text(text)),
            }
        }
        let date = day.map(dataflows::model::Date);
        let record = Written { register: 7, person, key: &key, seq, deleted: seq % 2 == 0, event_date: date, heard: dataflows::model::Date(-3), fields: &packed };
        let written = [
            Entry::Record(record),
            Entry::Refused { feed: "feed", line: seq, field: "", reason: &key, raw: &raw },
            Entry::Calendar(dataflows::model::Date(20_000)),
            Entry::Heartbeat { register: 300, date: dataflows::model::Date(1) },
            Entry::Own(Own::Reply { id: u128::from(seq), phone: person, text: key.clone(), at: (seq % 2 == 0).then_some(seq) }),
            Entry::Own(Own::Intents(vec![1, u128::MAX])),
        ];
        let mut bytes = Vec::new();
        written.iter().for_each(|entry| entry.write(&mut bytes));
        prop_assert_eq!(entries(&bytes).collect::<Vec<_>>(), written);
        let read: Vec<_> = values(&packed).map(|(field, value)| match value {
            Value::Number(number) => (field, Ok(number)),
            Value::Text(text) => (field, Err(text.to_owned())),
        }).collect();
        prop_assert_eq!(read, fields.iter().map(|(field, given)| (*field, value(given))).collect::<Vec<_>>());
    }
}
