//! What people write back: its parts put together, and a name for it under which it is the same when a centre delivers it twice.

use super::encoding::decode;
use rusmpp::pdus::DeliverSm;
use rusmpp::values::GsmFeatures;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};
use xxhash_rust::xxh3::xxh3_128;

/// What is not whole by then never will be, and the same text after it is another one. A centre delivers once more what was not thanked for, within
/// less.
const TOGETHER: Duration = Duration::from_secs(120);
/// Replies that are remembered for that, and such as wait for parts; beyond, the oldest are forgotten.
const REMEMBERED: usize = 10_000;
/// Of the header of a part: what it is, and how long the rest of it is.
const CONCATENATED: [u8; 2] = [0, 3];

/// Something that was written, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub id: u128,
    pub phone: u64,
    pub text: String,
    /// The numbers of the commands that brought it.
    pub sequences: Vec<u32>,
}

/// Of which text a part is: from whom, under which reference, of how many.
type Of = (u64, u8, u8);
/// The number of the command that brought a part, and what it says.
type Piece = (u32, String);

/// What was heard lately.
#[derive(Default)]
pub(super) struct Replies {
    parts: HashMap<Of, (Instant, Vec<Option<Piece>>)>,
    heard: HashMap<u128, (Instant, u128)>,
}

impl Replies {
    /// What a message completes; nothing where parts are missing, or nobody can have written it.
    pub fn take(&mut self, sequence: u32, message: &DeliverSm, now: Instant) -> Option<Reply> {
        let phone = digits(message.source_addr.as_str())?;
        let bytes = message.short_message();
        let has_header = matches!(message.esm_class.gsm_features, GsmFeatures::UdhiIndicator | GsmFeatures::SetUdhiAndReplyPath);
        let (header, body) = if has_header { bytes.split_at_checked(1 + usize::from(*bytes.first()?))? } else { bytes.split_at(0) };
        let text = decode(message.data_coding, body);
        let (text, sequences) = match header {
            [_, rest @ ..] if rest.starts_with(&CONCATENATED) && rest.len() >= 5 => {
                self.put_together((phone, rest[2], rest[3]), rest[4], (sequence, text), now)?
            }
            _ => (text, vec![sequence]),
        };
        Some(Reply { id: self.id(phone, &text, now), phone, text, sequences })
    }

    /// Whether what a command brought is a part that waits for others.
    pub fn waits_for(&self, sequence: u32) -> bool {
        self.parts.values().flat_map(|(_, parts)| parts).flatten().any(|(known, _)| *known == sequence)
    }

    fn put_together(&mut self, of: Of, part: u8, piece: Piece, now: Instant) -> Option<(String, Vec<u32>)> {
        self.parts.retain(|_, (begun, _)| now - *begun < TOGETHER);
        if self.parts.len() >= REMEMBERED {
            return None;
        }
        let (_, parts) = self.parts.entry(of).or_insert_with(|| (now, vec![None; usize::from(of.2)]));
        *parts.get_mut(usize::from(part).checked_sub(1)?)? = Some(piece);
        if parts.iter().any(Option::is_none) {
            return None;
        }
        let (_, parts) = self.parts.remove(&of)?;
        let (sequences, texts): (Vec<u32>, Vec<String>) = parts.into_iter().flatten().unzip();
        Some((texts.concat(), sequences))
    }

    fn id(&mut self, phone: u64, text: &str, now: Instant) -> u128 {
        let said = xxh3_128(format!("{phone} {text}").as_bytes());
        if self.heard.len() >= REMEMBERED {
            self.heard.retain(|_, (at, _)| now - *at < TOGETHER);
        }
        // By the clock, so that it is the same in another process: but for what falls on two sides of a bound.
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let fresh = xxh3_128(format!("{said:032x} {}", since_1970.as_secs() / TOGETHER.as_secs()).as_bytes());
        let entry = self.heard.entry(said).or_insert((now, fresh));
        if now - entry.0 >= TOGETHER {
            *entry = (now, fresh);
        }
        entry.1
    }
}

/// A number as it is written with or without a plus.
fn digits(number: &str) -> Option<u64> {
    number.trim_start_matches('+').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusmpp::types::{COctetString, OctetString};
    use rusmpp::values::EsmClass;

    fn message(phone: &str, class: u8, bytes: &[u8]) -> DeliverSm {
        let phone = COctetString::from_slice(format!("{phone}\0").as_bytes()).unwrap();
        DeliverSm::builder()
            .source_addr(phone)
            .esm_class(EsmClass::from(class))
            .short_message(OctetString::from_slice(bytes).unwrap())
            .build()
    }

    #[test]
    fn parts_come_in_any_order_and_what_comes_twice_is_the_same() {
        let (mut replies, now) = (Replies::default(), Instant::now());
        let part = |number: u8, text: &[u8]| message("+77010000001", 0x40, &[&[5, 0, 3, 9, 2, number], text].concat());
        assert_eq!(replies.take(1, &part(2, b"ES"), now), None);
        let whole = replies.take(2, &part(1, b"Y"), now).unwrap();
        assert_eq!((whole.phone, whole.text.as_str(), whole.sequences.as_slice()), (77_010_000_001, "YES", &[2, 1][..]));
        let one = |replies: &mut Replies, at| replies.take(3, &message("77010000001", 0, b"1"), at).unwrap().id;
        let first = one(&mut replies, now);
        assert_eq!(one(&mut replies, now + TOGETHER / 2), first, "delivered again");
        assert_ne!(first, whole.id);
    }

    #[test]
    fn what_nobody_can_have_written_is_nothing() {
        let (mut replies, now) = (Replies::default(), Instant::now());
        for (phone, class, bytes) in [
            ("bank", 0, &b"1"[..]),
            ("7701", 0x40, &[]),
            ("7701", 0x40, &[9, 0, 3]),
            ("7701", 0x40, &[5, 0, 3, 1, 2, 7]),
            ("7701", 0x40, &[5, 0, 3, 1, 0, 0]),
        ] {
            assert_eq!(replies.take(1, &message(phone, class, bytes), now), None, "{phone} {bytes:?}");
        }
    }
}
