//! Lines that were refused, kept whole with the reason.

use serde::Serialize;
use std::io::{self, Write};
use std::sync::Arc;

/// A line that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub file: Arc<str>,
    /// From 1; zero when the file as a whole is meant.
    pub line: u64,
    /// The member or field concerned; empty when it is the whole line.
    pub field: String,
    pub reason: String,
    pub raw: Vec<u8>,
}

#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    line: u64,
    field: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
}

/// Writes one row of `quarantine.ndjson`; what is not UTF-8 is written in base64.
pub fn write_quarantine(out: &mut impl Write, row: &Quarantined) -> io::Result<()> {
    let raw = std::str::from_utf8(&row.raw).ok();
    let raw_base64 = raw.is_none().then(|| base64(&row.raw));
    let row = Row { file: &row.file, line: row.line, field: &row.field, reason: &row.reason, raw, raw_base64 };
    serde_json::to_writer(&mut *out, &row)?;
    out.write_all(b"\n")
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_as_the_standard_says() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
