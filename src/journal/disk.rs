//! What the journal needs of a disk, so that a test can take the disk away.

use crate::beside::{Beside, send_and_wait};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A folder of files that grow at their ends.
pub trait Disk: Send + 'static {
    type File: DiskFile;

    /// The names of the files there are, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// All that a file holds.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// At most so many bytes of a file, from this one on.
    fn read_part(&self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>>;
    /// A new file without content, whose name outlives a loss of power. Where it can be had there is room for so many bytes: zeros that
    /// appending overwrites.
    fn create(&self, name: &str, room: u64) -> io::Result<Self::File>;
    /// A file cut to this length, to append to; and room as above, up to this length of the file.
    fn reopen(&self, name: &str, length: u64, room: u64) -> io::Result<Self::File>;
}

/// A file being written. What is not synced may be lost.
pub trait DiskFile: Send + 'static {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything appended would outlive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
    /// Nothing more is appended: room that was not used is given back, if that can be done.
    fn finish(&mut self);
}

/// Writes a file that is there whole or not at all; returns once it would outlive a loss of power.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// A real folder, held by one process at a time.
///
/// A file that grows has its size and place to be written by each sync, and so waits for whatever else the file system writes at the
/// moment (a sync beside a busy database took tens of milliseconds). One that is overwritten has not: files are begun full of zeros,
/// the next one in the background.
pub struct Folder {
    path: PathBuf,
    /// Whether files are begun with room.
    room: bool,
    /// Ends before the lock does: nobody else finds it at work.
    preparing: Mutex<Option<Next>>,
    _lock: Option<Lock>,
}

/// Prepares the next file, until this is dropped.
struct Next {
    is_ready: Arc<AtomicBool>,
    work: Beside,
}

/// Held while a process works in the folder. Copies of it have it too, until they let go of everything: it ends with this one.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where that fails it ends with the last of them.
        let _ = self.0.unlock();
    }
}

/// The next file.
const NEXT: &str = "next";
/// As many zeros are sent to the disk together, and between them the next file rests so long, or so many times as long as that took: whoever
/// syncs meanwhile waits for few of them, and not again and again (64 MiB, 4 at a time, took 0.4 s, in which every sync waited). They are
/// synced once, at the end: with a sync each, those of the journal beside them took up to 48 ms.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
const REST: u32 = 8;
const REST_MIN: Duration = Duration::from_millis(20);

impl Folder {
    /// Opens or makes a folder and takes its lock; the error says so if another process has it.
    pub fn open(path: &Path) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new().create(true).append(true).open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process works in this folder"),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Folder { path: path.to_owned(), _lock: Some(Lock(lock)), room: true, preparing: Mutex::default() })
    }

    /// The same folder for somebody who reads in it beside whoever holds it.
    pub fn beside(path: &Path) -> Folder {
        Folder { path: path.to_owned(), _lock: None, room: false, preparing: Mutex::default() }
    }

    /// A folder whose files are written once, with nobody waiting for each sync.
    pub fn without_room(path: &Path) -> io::Result<Folder> {
        Ok(Folder { room: false, ..Folder::open(path)? })
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Gives the next file this path, if it is ready, and prepares another.
    fn take_next(&self, path: &Path, room: u64) -> bool {
        let mut preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if preparing.as_ref().is_some_and(|next| !next.work.has_ended()) {
            return false;
        }
        let next = self.path.join(NEXT);
        let is_ready = preparing.take().is_some_and(|next| next.is_ready.load(Ordering::Acquire));
        let taken = is_ready && fs::rename(&next, path).is_ok();
        let is_ready = Arc::new(AtomicBool::new(false));
        let told = is_ready.clone();
        // Where that fails the file after this one is begun without room.
        let work = Beside::start_idle("journal", move |end| {
            let filled = File::create(next).and_then(|mut file| fill(&mut file, room, |took| end.rest((took * REST).max(REST_MIN))));
            told.store(filled.unwrap_or(false), Ordering::Release);
        });
        *preparing = Some(Next { is_ready, work });
        taken
    }
}

/// Writes zeros from where a file ends up to this length, while it is told to go on after the time that a part of them took; whether it
/// came so far.
fn fill(file: &mut File, room: u64, goes_on: impl Fn(Duration) -> bool) -> io::Result<bool> {
    let mut left = room.saturating_sub(file.seek(SeekFrom::End(0))?);
    while left > 0 {
        let (begun, zeros) = (Instant::now(), &ZEROS[..left.min(ZEROS.len() as u64) as usize]);
        file.write_all(zeros)?;
        send_and_wait(file)?;
        left -= zeros.len() as u64;
        if !goes_on(begun.elapsed()) {
            return Ok(false);
        }
    }
    file.sync_all()?;
    Ok(true)
}

impl Disk for Folder {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<String>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path.join(name))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_part(&self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let (mut file, mut bytes) = (File::open(self.path.join(name))?, Vec::new());
        file.seek(SeekFrom::Start(from))?;
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str, room: u64) -> io::Result<File> {
        let path = self.path.join(name);
        let prepared = self.room && self.take_next(&path, room);
        // What an earlier attempt left of it holds nothing.
        let file = OpenOptions::new().create(true).write(true).truncate(!prepared).open(path)?;
        self.sync_names()?;
        Ok(file)
    }

    fn reopen(&self, name: &str, length: u64, room: u64) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(length)?;
        file.sync_all()?;
        if self.room && fill(&mut file, room, |_| true).is_err() {
            // A full disk: whether there is place for what is appended, appending tells.
            file.set_len(length)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(length))?;
        Ok(file)
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn finish(&mut self) {
        // Readers know zeros behind the last epoch for what they are.
        drop(self.stream_position().and_then(|end| self.set_len(end)));
    }
}
