//! A text as the parts that a short message has room for, and what somebody wrote back as a text: seven bits a letter where the alphabet has all of
//! them, else sixteen.

use dataflows::policy::parts::LETTERS;
use rusmpp::extra::concatenation::SubmitSmMultipartExt;
use rusmpp::extra::encoding::gsm7bit::Gsm7BitUnpacked;
use rusmpp::extra::encoding::ucs2::Ucs2;
use rusmpp::pdus::SubmitSm;
use rusmpp::tlvs::MessageSubmissionRequestTlvValue;
use rusmpp::types::AnyOctetString;
use rusmpp::values::{DataCoding, MessagePayload};

/// Letters of seven bits that a single message has room for, and with the header of a part (six octets: seven of them) each part.
const SEPTETS: usize = 160;
const SEPTETS_OF_PART: usize = 153;
/// Octets that a message has room for, and the header of a part.
const OCTETS: usize = 140;
const HEADER: usize = 6;

/// A text as one message, of whatever length, which the centre cuts itself.
pub fn whole(mut message: SubmitSm, text: &str) -> Vec<SubmitSm> {
    let (coding, bytes) = match Gsm7BitUnpacked::new().encode_to_vec(text) {
        Ok(letters) => (DataCoding::McSpecific, letters),
        Err(_) => (DataCoding::Ucs2, text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    };
    let payload = AnyOctetString::from_slice(&bytes);
    message.data_coding = coding;
    message.push_tlv(MessageSubmissionRequestTlvValue::MessagePayload(MessagePayload::new(payload)));
    vec![message]
}

/// The parts of a text, made of a message that has everything but the text; where there are several each has a header that says so. The error says
/// why the text has none.
pub fn parts(message: SubmitSm, text: &str, reference: u8) -> Result<Vec<SubmitSm>, String> {
    let multipart = message.multipart(text).reference_u8(reference);
    match Gsm7BitUnpacked::new().encode_to_vec(text).map(|letters| letters.len()) {
        Ok(letters) => {
            let room = if letters <= SEPTETS { SEPTETS } else { SEPTETS_OF_PART + HEADER };
            multipart.max_short_message_size(room).gsm7bit_unpacked().build().map_err(|error| error.to_string())
        }
        Err(_) => multipart.max_short_message_size(OCTETS).encoder(Ucs2::new()).build().map_err(|error| error.to_string()),
    }
}

/// What somebody wrote, as it arrives; what cannot be read becomes replacement characters, which mean nothing to whoever reads replies.
pub fn decode(coding: DataCoding, bytes: &[u8]) -> String {
    match coding {
        DataCoding::Ucs2 => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        DataCoding::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
        DataCoding::McSpecific => of_seven_bits(bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn of_seven_bits(bytes: &[u8]) -> String {
    const ESCAPE: u8 = 0x1b;
    let code = |letter: char| Gsm7BitUnpacked::new().encode_to_vec(letter.encode_utf8(&mut [0; 4])).ok();
    let (mut text, mut rest) = (String::new(), bytes);
    while let Some(first) = rest.first() {
        let length = if *first == ESCAPE { rest.len().min(2) } else { 1 };
        let (letter, others) = rest.split_at(length);
        text.push(LETTERS.chars().find(|known| code(*known).as_deref() == Some(letter)).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = others;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<SubmitSm> {
        parts(SubmitSm::default(), text, 7).unwrap()
    }

    #[test]
    fn texts_are_cut_where_a_message_is_full() {
        let lengths = |text: &str| of(text).iter().map(|part| part.short_message().len()).collect::<Vec<_>>();
        assert_eq!((lengths(&"a".repeat(160)), lengths(&"a".repeat(161))), (vec![160], vec![6 + 153, 6 + 8]));
        // The euro sign takes two, and is not torn apart.
        assert_eq!(lengths(&format!("{}€", "a".repeat(159))), [6 + 153, 6 + 8]);
        // Kazakh takes sixteen bits a letter: 70 in one, else 67 in each; 97 letters were cut like this by two others.
        let text = "Сізге «Көпбалалы отбасыларға жәрдемақы» тағайындалуы мүмкін. Келісім – 1, бас тарту – 2 деп жіберіңіз";
        let letters = text.chars().count();
        assert_eq!(lengths(&"ә".repeat(70)), [140]);
        assert_eq!(lengths(text), [140, 6 + 2 * (letters - 67)]);
        assert_eq!(&of(text)[1].short_message()[..6], [5, 0, 3, 7, 2, 2]);
        // As many as the check of packages counts.
        for text in ["a".repeat(500), format!("{}ә", "a".repeat(300)), "€[".repeat(120), "ә€".repeat(90), text.to_owned()] {
            assert_eq!(of(&text).len(), dataflows::policy::parts::parts(&text), "{text}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for text in ["ИӘ 1", "1", "{yes} €5 [no] à"] {
            let part = of(text).remove(0);
            assert_eq!(decode(part.data_coding, part.short_message()), text);
        }
        assert_eq!(decode(DataCoding::Ucs2, &[0xd8, 0x00, 0x04]), "\u{fffd}", "half a pair, and half a letter");
        assert_eq!(decode(DataCoding::McSpecific, &[0x31, 0x1b]), "1\u{fffd}");
    }
}
