//! What rooms hold between epochs, on its way out of a process and into another one.
//!
//! A state writes itself item by item; items travel in frames of about a megabyte, whose way (compression, checksums, files) is not the
//! house's business. An item that is longer, like all that a ledger holds, goes on in the next frame. A state reads back what it wrote, in the same order. Where there are other workers than there were, each reads all
//! parts and keeps what is its own.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// A frame is handed on once it is as long.
const FRAME_BYTES: usize = 1 << 20;

/// Takes frames.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;
/// Gives frames, in the order in which they were taken.
pub type Source<'a> = &'a mut dyn FnMut() -> io::Result<Vec<u8>>;

/// Writes states.
pub struct Saver<'a> {
    sink: Sink<'a>,
    frame: Vec<u8>,
}

impl<'a> Saver<'a> {
    pub fn new(sink: Sink<'a>) -> Self {
        Saver { sink, frame: Vec::with_capacity(2 * FRAME_BYTES) }
    }

    pub fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        bincode::serialize_into(self, value).map_err(|error| problem(*error))
    }

    /// Bytes, which are written as they are.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.frame.extend_from_slice(bytes);
        self.flush_if(FRAME_BYTES)
    }

    /// How many follow, and then each of them.
    pub fn put_all<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut put: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        self.put(&(items.len() as u64))?;
        items.into_iter().try_for_each(|item| put(self, item))
    }

    /// Hands on what is not handed on yet.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush_if(1)
    }

    fn flush_if(&mut self, length: usize) -> io::Result<()> {
        if self.frame.len() >= length {
            (self.sink)(&self.frame)?;
            self.frame.clear();
        }
        Ok(())
    }
}

impl Write for Saver<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        self.flush_if(FRAME_BYTES)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads states back.
pub struct Restorer<'a> {
    source: Source<'a>,
    frame: Vec<u8>,
    at: usize,
    /// This worker, and how many there are.
    worker: u64,
    workers: u64,
}

impl<'a> Restorer<'a> {
    /// For the worker of this index, of so many.
    pub fn new(source: Source<'a>, worker: usize, workers: usize) -> Self {
        Restorer { source, frame: Vec::new(), at: 0, worker: worker as u64, workers: workers as u64 }
    }

    /// Whether something that is sent by this number belongs to this worker.
    pub fn is_due(&self, route: u64) -> bool {
        self.workers == 1 || route % self.workers == self.worker
    }

    pub fn get<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        bincode::deserialize_from(self).map_err(|error| problem(*error))
    }

    pub fn get_bytes(&mut self) -> io::Result<&[u8]> {
        let rest = self.rest()?;
        let (length, rest) = rest.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = u32::from_le_bytes(*length) as usize;
        if rest.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += 4 + length;
        Ok(&self.frame[self.at - length..self.at])
    }

    /// Reads what [`Saver::put_all`] wrote.
    pub fn get_all(&mut self, mut get: impl FnMut(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let count: u64 = self.get()?;
        (0..count).try_for_each(|_| get(self))
    }

    fn rest(&mut self) -> io::Result<&[u8]> {
        if self.at == self.frame.len() {
            self.frame = (self.source)()?;
            self.at = 0;
        }
        Ok(&self.frame[self.at..])
    }
}

impl Read for Restorer<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest()?;
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

fn problem(error: bincode::ErrorKind) -> io::Error {
    match error {
        bincode::ErrorKind::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_frames_is_read_back_in_order() {
        let mut frames = Vec::new();
        let numbers: Vec<u64> = (0..300_000).collect();
        let mut sink = |frame: &[u8]| {
            frames.push(frame.to_vec());
            Ok(())
        };
        let mut saver = Saver::new(&mut sink);
        saver.put_all(numbers.iter(), |saver, number| saver.put(number)).unwrap();
        saver.put(&numbers).unwrap();
        saver.put_bytes(b"").unwrap();
        saver.put_bytes(b"end").unwrap();
        saver.finish().unwrap();
        assert!(frames.len() > 4 && frames.iter().all(|frame| frame.len() <= FRAME_BYTES + 8), "{} frames", frames.len());

        let mut frames = frames.into_iter();
        let mut source = || frames.next().ok_or(io::ErrorKind::UnexpectedEof.into());
        let mut restorer = Restorer::new(&mut source, 1, 3);
        let mut due = Vec::new();
        restorer
            .get_all(|restorer| {
                let number = restorer.get::<u64>()?;
                if restorer.is_due(number) {
                    due.push(number);
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(restorer.get::<Vec<u64>>().unwrap(), numbers, "longer than a frame");
        assert_eq!(due, numbers.into_iter().filter(|number| number % 3 == 1).collect::<Vec<_>>());
        assert_eq!(restorer.get_bytes().unwrap(), b"");
        assert_eq!(restorer.get_bytes().unwrap(), b"end");
        assert_eq!(restorer.get_bytes().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
