//! Files as blocks of whole lines: plain, gzip or zstd, told apart by their first bytes.

use crate::intake::LINE_MAX_BYTES;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

const READ_BUFFER_BYTES: usize = 128 << 10;
/// Of a line that cannot be read, so much is kept for quarantine.
const BEGINNING_BYTES: usize = 4 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whole lines, one after another.
pub(crate) struct Block {
    pub bytes: Vec<u8>,
    /// The number of its first line within the file, from 1.
    pub first_line: u64,
}

/// What a file consists of.
pub(crate) enum Piece {
    Block(Block),
    /// A line without an end, or the end of what can be read.
    Fault {
        line: u64,
        reason: String,
        raw: Vec<u8>,
        /// Nothing of what follows can be read.
        cut_short: bool,
    },
}

/// Opens a file, decompressing it if need be.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = BufReader::with_capacity(READ_BUFFER_BYTES, File::open(path)?);
    Ok(match *file.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

/// Where lines end.
pub(super) enum Bounds {
    /// At every line feed.
    Lines,
    /// At every line feed outside quotes (RFC 4180).
    Rows { delimiter: u8, state: Quotes, scanned: usize, last_end: usize },
}

/// Where in a row of CSV a byte stands.
#[derive(Clone, Copy)]
pub(super) enum Quotes {
    FieldStart,
    Bare,
    Quoted,
    /// After a quote within quotes: the field's end, or the first half of a quote.
    Closing,
}

impl Bounds {
    pub(super) fn rows(delimiter: u8) -> Self {
        Bounds::Rows { delimiter, state: Quotes::FieldStart, scanned: 0, last_end: 0 }
    }

    /// The end of the last whole line, zero if there is none. Rows are scanned only where they are new.
    fn last_end(&mut self, bytes: &[u8]) -> usize {
        match self {
            Bounds::Lines => bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1),
            Bounds::Rows { delimiter, state, scanned, last_end } => {
                for (position, &byte) in bytes.iter().enumerate().skip(*scanned) {
                    *state = state.after(byte, *delimiter);
                    if byte == b'\n' && matches!(state, Quotes::FieldStart) {
                        *last_end = position + 1;
                    }
                }
                *scanned = bytes.len();
                *last_end
            }
        }
    }

    /// The first `end` bytes, whole lines, were taken away.
    fn cut(&mut self, end: usize) {
        if let Bounds::Rows { scanned, last_end, .. } = self {
            (*scanned, *last_end) = (scanned.saturating_sub(end), 0);
        }
    }

    /// Whether what was scanned ends within quotes.
    fn within_quotes(&self) -> bool {
        matches!(self, Bounds::Rows { state: Quotes::Quoted, .. })
    }

    /// What follows begins a line, whatever came before.
    fn restart(&mut self) {
        if let Bounds::Rows { delimiter, .. } = *self {
            *self = Bounds::rows(delimiter);
        }
    }
}

impl Quotes {
    fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Quotes::Quoted, b'"') => Quotes::Closing,
            (Quotes::Quoted, _) => Quotes::Quoted,
            (Quotes::FieldStart, b'"') | (Quotes::Closing, b'"') => Quotes::Quoted,
            (_, b'\n' | b'\r') => Quotes::FieldStart,
            (_, byte) if byte == delimiter => Quotes::FieldStart,
            _ => Quotes::Bare,
        }
    }
}

/// Cuts what a reader gives into blocks. It holds one block and at most one line more.
pub(super) struct Cutter<R> {
    reader: R,
    bounds: Bounds,
    block_bytes: usize,
    buffer: Vec<u8>,
    line: u64,
    ended: bool,
    fault: Option<io::Error>,
}

impl<R: Read> Cutter<R> {
    pub(super) fn new(reader: R, bounds: Bounds, block_bytes: usize) -> Self {
        Cutter { reader, bounds, block_bytes, buffer: Vec::new(), line: 1, ended: false, fault: None }
    }

    /// Reads about a block more; a failing reader has ended, and what it gave before is kept.
    fn read(&mut self) {
        self.buffer.reserve(self.block_bytes);
        let before = self.buffer.len();
        let outcome = self.reader.by_ref().take(self.block_bytes as u64).read_to_end(&mut self.buffer);
        self.fault = outcome.err();
        self.ended = self.fault.is_some() || self.buffer.len() - before < self.block_bytes;
        if self.line == 1 && before == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
        }
    }

    fn cut(&mut self, end: usize) -> Block {
        let rest = self.buffer.split_off(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        self.bounds.cut(end);
        let first_line = self.line;
        self.line += line_feeds(&bytes);
        Block { bytes, first_line }
    }

    /// Drops a line that cannot be read, and begins afresh after it.
    fn skip_line(&mut self, reason: String) -> Piece {
        let line_end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
        let mut end = line_end(&self.buffer);
        let raw = self.buffer[..end.unwrap_or(self.buffer.len()).min(BEGINNING_BYTES)].trim_ascii_end().to_vec();
        let line = self.line;
        while end.is_none() && !self.ended {
            self.buffer.clear();
            self.read();
            end = line_end(&self.buffer);
        }
        self.line += u64::from(end.is_some());
        self.buffer.drain(..end.map_or(self.buffer.len(), |end| end + 1));
        self.bounds.restart();
        Piece::Fault { line, reason, raw, cut_short: false }
    }

    /// What is left at the end: an unfinished line, then the reason if there is one. A line of JSON proves by itself
    /// whether it is whole, an unfinished row does not.
    fn last(&mut self) -> Option<Piece> {
        if !self.buffer.is_empty() && (self.fault.is_none() || matches!(self.bounds, Bounds::Lines)) {
            return Some(match self.bounds.within_quotes() {
                true => self.skip_line("a quote is never closed".to_owned()),
                false => Piece::Block(self.cut(self.buffer.len())),
            });
        }
        let fault = self.fault.take()?;
        let mut raw = std::mem::take(&mut self.buffer);
        raw.truncate(BEGINNING_BYTES);
        Some(Piece::Fault { line: self.line, reason: format!("cannot be read further: {fault}"), raw, cut_short: true })
    }
}

impl<R: Read> Iterator for Cutter<R> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        loop {
            match self.bounds.last_end(&self.buffer) {
                0 if self.ended => return self.last(),
                0 if self.buffer.len() > LINE_MAX_BYTES => {
                    return Some(self.skip_line(format!("longer than {LINE_MAX_BYTES} bytes; its beginning is kept")));
                }
                0 => self.read(),
                end => return Some(Piece::Block(self.cut(end))),
            }
        }
    }
}

pub(super) fn line_feeds(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
