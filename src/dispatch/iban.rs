//! Numbers of bank accounts in Kazakhstan: `KZ`, two check digits, three digits of the bank and thirteen letters or digits (ISO 13616).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZero;

/// Letters and digits after the country, packed to the base of 36.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Iban(NonZero<u128>);

const COUNTRY: &str = "KZ";
const LENGTH: usize = 20;

impl Iban {
    /// Reads a number in capitals whose check digits agree.
    pub fn parse(text: &str) -> Option<Iban> {
        let rest = text.strip_prefix(COUNTRY).filter(|_| text.len() == LENGTH)?;
        let shaped = rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        let turned = text.bytes().cycle().skip(4).take(LENGTH);
        let remainder = turned.fold(0_u32, |remainder, byte| match byte {
            b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
            _ => (remainder * 100 + u32::from(byte.wrapping_sub(b'A')) + 10) % 97,
        });
        let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' + 10 };
        // A number of zeros alone has other check digits.
        let packed = || NonZero::new(rest.bytes().fold(0, |number, byte| number * 36 + u128::from(digit(byte))));
        (shaped && remainder == 1).then(packed).flatten().map(Iban)
    }

    /// The bank's three digits.
    pub fn bank(self) -> String {
        self.to_string()[4..7].to_owned()
    }
}

impl fmt::Display for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rest, mut letters) = (self.0.get(), [b'0'; LENGTH - COUNTRY.len()]);
        for letter in letters.iter_mut().rev() {
            let digit = (rest % 36) as u8;
            *letter = if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
            rest /= 36;
        }
        write!(f, "{COUNTRY}{}", String::from_utf8_lossy(&letters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_only_with_right_check_digits() {
        let number = Iban::parse("KZ86125KZT5004100100").unwrap();
        assert_eq!((number.to_string().as_str(), number.bank().as_str()), ("KZ86125KZT5004100100", "125"));
        for wrong in
            ["KZ87125KZT5004100100", "KZ86125KZT500410010", "kz86125kzt5004100100", "DE86125KZT5004100100", "", "KZ86125KZT50041001ә"]
        {
            assert_eq!(Iban::parse(wrong), None, "{wrong}");
        }
    }
}
