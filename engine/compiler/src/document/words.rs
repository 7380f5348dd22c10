//! What a bare word seems to be.

use language::{nearest, parse_bytes, parse_duration, parse_rate};

/// Whether KDL reads this as a number.
pub(super) fn is_number(word: &str) -> bool {
    let word = word.strip_prefix(['+', '-']).unwrap_or(word);
    let digits = |text: &str, radix: u32| {
        text.starts_with(|letter: char| letter.is_digit(radix))
            && text.chars().all(|letter| letter.is_digit(radix) || letter == '_')
    };
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = word.strip_prefix(prefix) {
            return digits(rest, radix);
        }
    }
    let (base, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = base.split_once('.').unwrap_or((base, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole, 10) && digits(fraction, 10) && digits(exponent, 10)
}

/// Whether a word begins like a number.
pub(super) fn begins_with_digit(word: &str) -> bool {
    let word = word.strip_prefix(['+', '-']).unwrap_or(word);
    let word = word.strip_prefix('.').unwrap_or(word);
    word.starts_with(|letter: char| letter.is_ascii_digit())
}

/// Whether quotes around the word are all that is missing: `5s`, `2xx`, `22:00`. What has a unit
/// that does not exist (`1M`) was meant otherwise.
pub(super) fn is_sure(word: &str) -> bool {
    let plain = |text: &str| {
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || ".:-/_+".contains(letter))
    };
    let is_class = word.len() == 3 && word.ends_with("xx");
    plain(word) && (is_class || meant(word) != "a word that begins with a digit")
}

/// Whether a bare word is one, and nothing else is hidden in it.
pub(super) fn is_plain(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && word
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
        && keyword(word).is_none()
}

/// What the word would be in quotes.
pub(super) fn meant(word: &str) -> &'static str {
    let is_date = word.len() >= 8 && word.matches('-').count() == 2;
    match word {
        _ if parse_duration(word).is_some() => "a duration",
        _ if parse_bytes(word).is_some() => "a size",
        _ if parse_rate(word).is_some() => "a rate",
        _ if is_date => "a date",
        _ if word.contains(':') && word.contains('.') => "an address",
        _ if word.contains(':') => "a time",
        _ => "a word that begins with a digit",
    }
}

/// The word that was meant by `true`, `True`, `#yes`.
pub(super) fn keyword(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Some("#true"),
        "false" => Some("#false"),
        "null" => Some("#null"),
        _ => match word {
            "inf" => Some("#inf"),
            "-inf" => Some("#-inf"),
            "nan" => Some("#nan"),
            _ => None,
        },
    }
}

/// The word that was meant by `#tru`.
pub(super) fn near_keyword(word: &str) -> Option<&'static str> {
    keyword(nearest(word, ["true", "false", "null"])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_words_that_begin_like_one() {
        for word in ["1", "-1", "1_000", "1.5", "1e9", "1.5E-3", "0xff", "0b1_0", "0o17"] {
            assert!(is_number(word), "{word}");
        }
        for word in ["10m", "1.", "5xx", "1.2.3", "0xg", "1e", "", "a", "10/min", ".5"] {
            assert!(!is_number(word), "{word}");
        }
    }

    #[test]
    fn a_word_is_called_what_it_would_be() {
        let check = |word, expected| assert_eq!(meant(word), expected, "{word}");
        check("10m", "a duration");
        check("2GiB", "a size");
        check("10/min", "a rate");
        check("2026-01-13", "a date");
        check("127.0.0.1:80", "an address");
        check("22:00-07:00", "a time");
        check("5xx", "a word that begins with a digit");
    }
}
