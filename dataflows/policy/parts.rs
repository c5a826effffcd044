//! How many parts of a short message a text takes: seven bits a letter where the alphabet has all of them, else sixteen (3GPP TS 23.038 and 23.040).

/// The letters of the alphabet of seven bits, in no order (3GPP TS 23.038, 6.2.1).
pub const LETTERS: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€";
/// Those of them that take two places.
const TWICE: &str = "^{}\\[~]|€";

/// Places that one message has, and with the header of a part each part: of seven bits, and of sixteen.
const SEPTETS: [usize; 2] = [160, 153];
const UNITS: [usize; 2] = [70, 67];

/// Whether seven bits a letter do.
pub fn takes_seven_bits(text: &str) -> bool {
    text.chars().all(|letter| LETTERS.contains(letter))
}

/// The parts of a text; none of one that is empty.
pub fn parts(text: &str) -> usize {
    match takes_seven_bits(text) {
        true => cut(text.chars().map(|letter| 1 + usize::from(TWICE.contains(letter))), SEPTETS),
        false => cut(text.chars().map(char::len_utf16), UNITS),
    }
}

/// In how many parts letters fit that take so many places each, and are not torn apart.
fn cut(letters: impl Iterator<Item = usize> + Clone, [alone, in_part]: [usize; 2]) -> usize {
    let all: usize = letters.clone().sum();
    if all <= alone {
        return usize::from(all > 0);
    }
    let (mut parts, mut left) = (0, 0);
    for places in letters {
        if places > left {
            (parts, left) = (parts + 1, in_part);
        }
        left -= places;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_a_part_is_full() {
        let lengths = |letter: &str, counts: [usize; 4]| counts.map(|count| parts(&letter.repeat(count)));
        assert_eq!(lengths("a", [160, 161, 306, 307]), [1, 2, 2, 3]);
        assert_eq!(lengths("ә", [70, 71, 134, 135]), [1, 2, 2, 3]);
        assert_eq!(lengths("€", [80, 81, 152, 153]), [1, 2, 2, 3], "of 153 places an odd one stays empty");
        assert_eq!(parts(""), 0);
    }
}
