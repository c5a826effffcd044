//! The form of a segment: a file of checksummed frames.
//!
//! ```text
//! segment    magic "SHQJ" | format u16 | form of the base that it is of u16, else zero; then frames
//! frame      length of the payload u32 | CRC-32 of what follows u32 | kind u8 | epoch u64 | payload
//! ```
//!
//! All numbers are little-endian. The first frame is the dictionary: what the numbers of registers and fields mean in this segment. An
//! epoch is one frame or several, of which the last says so; it counts only when its last frame is whole. A frame that does not check
//! and is followed by nothing that does is a torn tail, of a write that was never acknowledged; one in the middle is damage. Zeros at the
//! end are room for what comes.

use super::Damage;

pub const FORMAT: u16 = 2;
const MAGIC: &[u8; 4] = b"SHQJ";
pub const HEADER_BYTES: usize = 8;
/// Where a header says of which form of a base its segment is.
pub const FORM_AT: u64 = 6;
pub const FORM_BYTES: usize = 2;
const FRAME_HEAD_BYTES: usize = 8;
const FRAME_MARK_BYTES: usize = 9;
/// The longest payload of a frame: longer epochs are several frames.
pub const PAYLOAD_MAX: usize = 16 << 20;

/// So many epochs a segment may hold after a damaged one.
const EPOCHS_IN_SIGHT: u64 = 1 << 24;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Dictionary = 1,
    /// Some of an epoch's entries; more follow.
    Part = 2,
    /// The last of an epoch's entries.
    Epoch = 3,
}

impl Kind {
    fn read(byte: u8) -> Option<Kind> {
        [Kind::Dictionary, Kind::Part, Kind::Epoch].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A frame of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: Kind,
    pub epoch: u64,
    pub payload: &'a [u8],
    /// Where it begins and ends in the segment.
    pub at: usize,
    pub end: usize,
}

/// What a segment begins with.
pub fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(MAGIC);
    header[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    header
}

/// Checks what a segment begins with.
pub fn check_header(bytes: &[u8]) -> Result<(), Damage> {
    let damage = |what: String| Err(Damage { at: 0, what });
    if bytes.len() < HEADER_BYTES || &bytes[..4] != MAGIC {
        return damage("not a segment of a journal".to_owned());
    }
    match u16::from_le_bytes([bytes[4], bytes[5]]) {
        FORMAT => Ok(()),
        other => damage(format!("format {other}, of which this program knows only {FORMAT}")),
    }
}

/// Appends a frame.
pub fn write_frame(out: &mut Vec<u8>, kind: Kind, epoch: u64, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let checksum = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind as u8);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(payload);
    let sum = crc32fast::hash(&out[checksum + 4..]);
    out[checksum..checksum + 4].copy_from_slice(&sum.to_le_bytes());
}

/// The frame at `at`, if it is whole.
pub fn read_frame(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (length, sum) = (word(at)? as usize, word(at + 4)?);
    let end = at + FRAME_HEAD_BYTES + FRAME_MARK_BYTES + length;
    let body = bytes.get(at + FRAME_HEAD_BYTES..end).filter(|_| length <= PAYLOAD_MAX)?;
    if crc32fast::hash(body) != sum {
        return None;
    }
    let epoch = u64::from_le_bytes(body[1..FRAME_MARK_BYTES].try_into().ok()?);
    Some(Frame { kind: Kind::read(body[0])?, epoch, payload: &body[FRAME_MARK_BYTES..], at, end })
}

/// How long the first frame of a segment is, of which at least its length is there.
pub fn first_frame_bytes(bytes: &[u8]) -> Option<usize> {
    check_header(bytes).ok()?;
    let length = u32::from_le_bytes(bytes.get(HEADER_BYTES..HEADER_BYTES + 4)?.try_into().ok()?);
    Some(FRAME_HEAD_BYTES + FRAME_MARK_BYTES + length as usize)
}

/// The epoch of a frame of which at least the mark is there.
pub fn marked_epoch(frame: &[u8]) -> Option<u64> {
    let mark = frame.get(FRAME_HEAD_BYTES + 1..FRAME_HEAD_BYTES + FRAME_MARK_BYTES)?;
    Some(u64::from_le_bytes(mark.try_into().ok()?))
}

/// What of a segment's beginning tells how long its first frame is, and what of a frame tells its epoch.
pub const BEGINNING_BYTES: usize = HEADER_BYTES + 4;
pub const MARKED_BYTES: usize = FRAME_HEAD_BYTES + FRAME_MARK_BYTES;

/// Whether a whole frame of a later epoch than `last` begins after `at`: then what stands there was not torn off by the end of a
/// process, it is damaged.
pub fn continues(bytes: &[u8], at: usize, last: u64) -> bool {
    // Nearly all places are ruled out by the mark, before anything is summed.
    let marked = |place: usize| {
        let mark = bytes.get(place + FRAME_HEAD_BYTES..place + FRAME_HEAD_BYTES + FRAME_MARK_BYTES)?;
        let epoch = u64::from_le_bytes(mark[1..].try_into().ok()?);
        (Kind::read(mark[0]).is_some() && (last..last + EPOCHS_IN_SIGHT).contains(&epoch)).then_some(place)
    };
    (at + 1..written(bytes)).filter_map(marked).any(|place| read_frame(bytes, place).is_some())
}

/// Up to where a segment is written: behind the last byte that is not zero there is nothing but room.
pub fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
