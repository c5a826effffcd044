//! The form of a part: a file of compressed, checksummed frames.
//!
//! ```text
//! part     magic "SHQS" | format u16 | reserved u16, then frames: the title (JSON, not compressed), and what was saved
//! frame    length u32 | CRC-32 of what follows u32 | bytes (zstd)
//! end      length zero | how many frames there were u32
//! ```
//!
//! All numbers are little-endian. The format is a new one whenever anything that is saved has another form.

use dataflows::model::Epoch;
use dataflows::operators::{Restorer, Saver};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

pub const FORMAT: u16 = 7;
const MAGIC: &[u8; 4] = b"SHQS";
const LEVEL: i32 = 1;
/// Synced so often that no sync is long: the journal's own wait behind them.
const FRAMES_UNSYNCED: u32 = 8;
/// No frame is as long: a length beyond is damage.
const FRAME_BYTES_MAX: u32 = 1 << 30;
/// Frames that are read ahead of whoever restores.
const FRAMES_AHEAD: usize = 8;

/// What a part is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    pub epoch: Epoch,
    pub package: String,
    pub part: String,
    /// How many workers the snapshot was written by.
    pub workers: usize,
}

/// Writes a part; returns once it would outlive a loss of power.
pub fn write_part(path: &Path, title: &Title, save: impl FnOnce(&mut Saver<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&[FORMAT.to_le_bytes(), [0; 2]].concat())?;
    write_frame(&mut file, &serde_json::to_vec(title)?)?;
    let mut frames = 0_u32;
    let mut sink = |frame: &[u8]| {
        frames += 1;
        write_frame(&mut file, &zstd::bulk::compress(frame, LEVEL)?)?;
        if frames.is_multiple_of(FRAMES_UNSYNCED) { file.sync_data() } else { Ok(()) }
    };
    let mut saver = Saver::new(&mut sink);
    save(&mut saver)?;
    saver.finish()?;
    file.write_all(&0_u32.to_le_bytes())?;
    file.write_all(&frames.to_le_bytes())?;
    file.sync_all()
}

fn write_frame(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| invalid(format!("a frame of {} bytes, which nobody would read", bytes.len())))?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&crc32fast::hash(bytes).to_le_bytes())?;
    file.write_all(bytes)
}

/// Of which snapshot a part is.
pub fn title_of(path: &Path) -> io::Result<Title> {
    open(path).map(|(title, _)| title)
}

/// Reads a part to its end, for one worker of so many; adds to `read` how many bytes that were. An error says why it is of no use.
pub fn read_part(
    path: &Path,
    title: &Title,
    (worker, workers): (usize, usize),
    read: &Arc<AtomicU64>,
    mut restore: impl FnMut(&mut Restorer<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let (found, file) = open(path)?;
    if found != *title {
        return Err(invalid(format!("it is {} of epoch {} under package {}", found.part, found.epoch, found.package)));
    }
    let (frames_in, frames) = sync_channel(FRAMES_AHEAD);
    let reading = std::thread::spawn({
        let read = read.clone();
        move || read_frames(file, |frame| Ok(frames_in.send(zstd::decode_all(frame)?).is_ok()), &read)
    });
    let mut source = || frames.recv().map_err(|_| invalid("it ends too early".to_owned()));
    let restored = restore(&mut Restorer::new(&mut source, worker, workers));
    let rest = frames.iter().count();
    let read = reading.join().map_err(|_| invalid("it cannot be read".to_owned()))?;
    // What is wrong with the file says more than what came of it.
    read.and(restored)?;
    if rest > 0 { Err(invalid("it holds more than it should".to_owned())) } else { Ok(()) }
}

/// Checks every sum of a part.
pub fn check_part(path: &Path, title: &Title) -> io::Result<()> {
    let (found, file) = open(path)?;
    if found != *title {
        return Err(invalid("it is part of another one".to_owned()));
    }
    read_frames(file, |_| Ok(true), &AtomicU64::new(0))
}

fn open(path: &Path) -> io::Result<(Title, BufReader<File>)> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut header = [0; 8];
    file.read_exact(&mut header)?;
    if header[..4] != *MAGIC {
        return Err(invalid("no part of a snapshot".to_owned()));
    }
    match u16::from_le_bytes([header[4], header[5]]) {
        FORMAT => {}
        other => return Err(invalid(format!("format {other}, of which this program knows only {FORMAT}"))),
    }
    let title = read_frame(&mut file)?.map_err(|_| invalid("no title".to_owned()))?;
    Ok((serde_json::from_slice(&title)?, file))
}

/// The next frame; at the end, how many there were.
fn read_frame(file: &mut impl Read) -> io::Result<Result<Vec<u8>, u32>> {
    let (length, sum) = (read_word(file)?, read_word(file)?);
    if length == 0 {
        return Ok(Err(sum));
    }
    if length > FRAME_BYTES_MAX {
        return Err(invalid("a frame has an impossible length".to_owned()));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    if crc32fast::hash(&bytes) == sum { Ok(Ok(bytes)) } else { Err(invalid("a frame does not check".to_owned())) }
}

fn read_word(file: &mut impl Read) -> io::Result<u32> {
    let mut word = [0; 4];
    file.read_exact(&mut word)?;
    Ok(u32::from_le_bytes(word))
}

/// Reads all frames, as long as `each` wants more.
fn read_frames(mut file: BufReader<File>, mut each: impl FnMut(&[u8]) -> io::Result<bool>, read: &AtomicU64) -> io::Result<()> {
    let mut frames = 0;
    loop {
        match read_frame(&mut file)? {
            Ok(frame) => {
                frames += 1;
                read.fetch_add(frame.len() as u64, Ordering::Relaxed);
                if !each(&frame)? {
                    return Ok(());
                }
            }
            Err(count) if count == frames => return Ok(()),
            Err(count) => return Err(invalid(format!("{frames} of {count} frames are there"))),
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_that_is_damaged_or_missing_is_told() {
        let path = std::env::temp_dir().join(format!("shanyraq-part-{}", std::process::id()));
        let title = Title { epoch: 7, package: "p".to_owned(), part: "rest".to_owned(), workers: 1 };
        write_part(&path, &title, |saver| (0..100_u64).try_for_each(|number| saver.put(&number))).unwrap();
        let read = || {
            let mut numbers = Vec::new();
            let got = |restorer: &mut Restorer<'_>| {
                for _ in 0..100 {
                    numbers.push(restorer.get::<u64>()?);
                }
                Ok(())
            };
            read_part(&path, &title, (0, 1), &Arc::default(), got).map(|()| numbers)
        };
        assert_eq!(read().unwrap(), (0..100).collect::<Vec<_>>());
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).filter(|at| !(6..8).contains(at)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            read().expect_err(&format!("byte {at}"));
            std::fs::write(&path, &whole[..at]).unwrap();
            read().expect_err(&format!("cut at {at}"));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
