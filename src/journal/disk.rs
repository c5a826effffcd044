//! What the journal needs of a disk, so that a test can take the disk away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A folder of files that grow at their ends.
pub trait Disk: Send + 'static {
    type File: DiskFile;

    /// The names of the files there are, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// All that a file holds.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// At most so many bytes of a file, from this one on.
    fn read_part(&self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>>;
    /// A new, empty file whose name outlives a loss of power.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// A file cut to this length, to append to.
    fn reopen(&self, name: &str, length: u64) -> io::Result<Self::File>;
}

/// A file being written. What is not synced may be lost.
pub trait DiskFile: Send + 'static {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything appended would outlive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real folder, held by one process at a time.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens or makes a folder and takes its lock; the error says so if another process has it.
    pub fn open(path: &Path) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        let lock = OpenOptions::new().create(true).append(true).open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process works in this folder"),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
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

    fn create(&self, name: &str) -> io::Result<File> {
        // What an earlier attempt left of it holds nothing.
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(self.path.join(name))?;
        self.sync_names()?;
        Ok(file)
    }

    fn reopen(&self, name: &str, length: u64) -> io::Result<File> {
        let mut file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(length)?;
        file.sync_all()?;
        file.seek(SeekFrom::End(0))?;
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
}
