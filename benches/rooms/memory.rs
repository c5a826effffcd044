//! A disk that is none, so that what a journal itself costs is seen.

use shanyraq::journal::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// The files, by name.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

pub struct MemoryFile(Memory, String);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl Disk for Memory {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_part(&self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>> {
        Ok(self.read(name)?.into_iter().skip(from as usize).take(length).collect())
    }

    fn create(&self, name: &str, room: u64) -> io::Result<MemoryFile> {
        self.reopen(name, 0, room)
    }

    fn reopen(&self, name: &str, length: u64, _room: u64) -> io::Result<MemoryFile> {
        self.files().entry(name.to_owned()).or_default().truncate(length as usize);
        Ok(MemoryFile(self.clone(), name.to_owned()))
    }
}

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let MemoryFile(memory, name) = self;
        memory.files().get_mut(name).ok_or(io::ErrorKind::NotFound)?.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) {}
}
