//! What a message centre says of a text that it has taken (SMPP 3.4, appendix B): in fields of its own, or in words.

use rusmpp::pdus::DeliverSm;
use rusmpp::tlvs::TlvValue;
use rusmpp::values::{MessageState, MessageType};

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The centre's name for the part of a text, as it writes it here.
    pub name: String,
    /// Ours, if it gives it back.
    pub reference: Option<u16>,
    /// Nothing where that is not the end of it.
    pub delivered: Option<bool>,
}

/// The receipt that a message is; nothing if somebody wrote it.
pub fn receipt(message: &DeliverSm) -> Option<Receipt> {
    let values = || message.tlvs().iter().filter_map(|tlv| tlv.value());
    let name =
        values().find_map(|value| if let TlvValue::ReceiptedMessageId(name) = value { Some(name.as_str().to_owned()) } else { None });
    let is_receipt = message.esm_class.message_type == MessageType::ShortMessageContainsMCDeliveryReceipt || name.is_some();
    if !is_receipt {
        return None;
    }
    let words = String::from_utf8_lossy(message.short_message()).into_owned();
    let state = values().find_map(|value| if let TlvValue::MessageState(state) = value { Some(*state) } else { None });
    let reference =
        values().find_map(|value| if let TlvValue::UserMessageReference(reference) = value { Some(reference.value) } else { None });
    let delivered = match state {
        Some(state) => of_state(state),
        None => word(&words, "stat:").and_then(of_word),
    };
    Some(Receipt { name: name.or_else(|| word(&words, "id:").map(str::to_owned)).unwrap_or_default(), reference, delivered })
}

fn of_state(state: MessageState) -> Option<bool> {
    match state {
        MessageState::Delivered => Some(true),
        MessageState::Expired | MessageState::Deleted | MessageState::Undeliverable | MessageState::Rejected => Some(false),
        _ => None,
    }
}

fn of_word(word: &str) -> Option<bool> {
    match word.get(..5)?.to_ascii_uppercase().as_str() {
        "DELIV" => Some(true),
        "EXPIR" | "DELET" | "UNDEL" | "REJEC" => Some(false),
        _ => None,
    }
}

/// The word after a key.
fn word<'w>(words: &'w str, key: &str) -> Option<&'w str> {
    words.split_ascii_whitespace().find_map(|word| {
        let (head, rest) = word.split_at_checked(key.len())?;
        head.eq_ignore_ascii_case(key).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusmpp::types::OctetString;
    use rusmpp::values::EsmClass;

    fn said(class: u8, words: &str) -> Option<Receipt> {
        let words = OctetString::from_slice(words.as_bytes()).unwrap();
        receipt(&DeliverSm::builder().esm_class(EsmClass::from(class)).short_message(words).build())
    }

    #[test]
    fn receipts_are_told_from_what_people_write() {
        let words = "id:0A1b sub:001 dlvrd:001 submit date:2611290101 done date:2611290102 stat:DELIVRD err:000 text:id:7";
        let read = said(4, words).unwrap();
        assert_eq!((read.name.as_str(), read.delivered), ("0A1b", Some(true)));
        assert_eq!(said(4, "ID:7 STAT:UNDELIV").unwrap(), Receipt { name: "7".to_owned(), reference: None, delivered: Some(false) });
        assert_eq!(said(4, "id:7 stat:ENROUTE").unwrap().delivered, None);
        assert_eq!(said(4, "stat: id: әә").unwrap(), Receipt { name: String::new(), reference: None, delivered: None });
        assert_eq!(said(0, words), None, "whoever writes like a receipt is no centre");
    }
}
