//! Functions of texts.

use super::super::eval::MADE_MAX;
use super::super::value::Val;
use super::{moment, owned};
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use regex::Regex;
use serde_json::Value;
use std::fmt::Write;

/// Pieces as one text, or null where it would be too long.
pub(super) fn join<'a>(pieces: impl Iterator<Item = String>, between: &str) -> Val<'a> {
    let mut text = String::new();
    for (index, piece) in pieces.enumerate() {
        if 0 < index {
            text.push_str(between);
        }
        text.push_str(&piece);
        if MADE_MAX < text.len() {
            return Val::Null;
        }
    }
    owned(text)
}

pub(super) fn replace<'a>(values: &[Val<'a>]) -> Val<'a> {
    let [Some(text), Some(from), Some(to)] = [0, 1, 2].map(|it| values[it].as_str()) else {
        return Val::Null;
    };
    if from.is_empty() {
        return owned(text.to_owned());
    }
    let grows = to.len().saturating_sub(from.len());
    match text.len() + grows * text.matches(from).count() {
        0..=MADE_MAX => owned(text.replace(from, to)),
        _ => Val::Null,
    }
}

/// The groups that a replacement names as `$1`, `$name` or `${name}`; `$$` is a dollar sign.
pub(super) fn references(to: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = to;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            found.push(name);
            rest = after;
        } else {
            let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
            let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
            found.extend((0 < end).then(|| &rest[..end]));
            rest = &rest[end..];
        }
    }
    found
}

/// The text with each match of the pattern replaced; null where it would become too long.
pub(super) fn replace_pattern<'a>(values: &[Val<'a>], pattern: &Regex) -> Val<'a> {
    let (Some(text), Some(to)) = (values[0].as_str(), values[1].as_str()) else {
        return Val::Null;
    };
    let (mut made, mut at) = (String::new(), 0);
    for found in pattern.captures_iter(text) {
        let whole = found.get_match();
        made.push_str(&text[at..whole.start()]);
        found.expand(to, &mut made);
        at = whole.end();
        if MADE_MAX < made.len() {
            return Val::Null;
        }
    }
    made.push_str(&text[at..]);
    if MADE_MAX < made.len() { Val::Null } else { owned(made) }
}

/// The pieces between separators; without a separator, the words.
pub(super) fn split<'a>(values: &[Val<'a>]) -> Val<'a> {
    let Some(text) = values[0].as_str() else { return Val::Null };
    let pieces: Vec<Value> = match values.get(1).map(Val::as_str) {
        None => text.split_whitespace().map(Value::from).collect(),
        Some(Some("")) => text.chars().map(|letter| Value::from(letter.to_string())).collect(),
        Some(Some(between)) => text.split(between).map(Value::from).collect(),
        Some(None) => return Val::Null,
    };
    match text.len() + 16 * pieces.len() {
        0..=MADE_MAX => Val::Owned(Value::Array(pieces)),
        _ => Val::Null,
    }
}

/// From one place to another, of a text or list; negative ones count from the end.
pub(super) fn slice<'a>(values: &[Val<'a>]) -> Val<'a> {
    let place = |index: usize, length: usize| match values.get(index) {
        None => Some(length),
        Some(Val::Int(at)) if *at < 0 => {
            Some(length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)))
        }
        Some(Val::Int(at)) => Some(usize::try_from(*at).unwrap_or(usize::MAX).min(length)),
        Some(_) => None,
    };
    let range = |length| Some((place(1, length)?, place(2, length)?));
    match (values[0].as_json(), values[0].as_str()) {
        (Some(Value::Array(items)), _) => match range(items.len()) {
            Some((from, to)) => {
                let items = items.get(from..to).unwrap_or_default();
                Val::Owned(Value::Array(items.to_vec()))
            }
            None => Val::Null,
        },
        (_, Some(text)) => match range(text.chars().count()) {
            Some((from, to)) => {
                owned(text.chars().skip(from).take(to.saturating_sub(from)).collect())
            }
            None => Val::Null,
        },
        _ => Val::Null,
    }
}

/// `FRONT door` becomes `Front Door`.
pub(super) fn title(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut is_inside = false;
    for it in text.chars() {
        let is_part = it.is_alphanumeric() || it == '\'' || it == '’';
        match is_inside {
            true => made.extend(it.to_lowercase()),
            false => made.extend(it.to_uppercase()),
        }
        is_inside = is_part;
    }
    made
}

/// Filled up on the left, or on the right where the length is negative.
pub(super) fn pad<'a>(values: &[Val<'a>]) -> Val<'a> {
    let fill = values.get(2).map_or(Some(" "), Val::as_str).and_then(|it| it.chars().next());
    let (Val::Int(length), Some(fill), false) = (&values[1], fill, values[0].is_null()) else {
        return Val::Null;
    };
    let text = values[0].text();
    let wanted = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    let missing = wanted.saturating_sub(text.chars().count());
    if MADE_MAX < missing.saturating_mul(fill.len_utf8()).saturating_add(text.len()) {
        return Val::Null;
    }
    let filling = String::from(fill).repeat(missing);
    owned(if *length < 0 { text + &filling } else { filling + &text })
}

pub(super) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// The text that was encoded, with either alphabet and with or without `=` at the end; null when
/// it is none, or no text.
pub(super) fn unbase64<'a>(values: &[Val<'a>]) -> Val<'a> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoder = GeneralPurpose::new(&alphabet::STANDARD, config);
    let text = values[0].as_str().map(|text| text.trim().replace('-', "+").replace('_', "/"));
    let bytes = text.and_then(|text| decoder.decode(text).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map_or(Val::Null, owned)
}

/// The number that a text is, by itself.
pub fn number_of(text: &str) -> Option<Value> {
    let number = number(&Val::Text(text.into())).to_json();
    Some(number).filter(|it| !it.is_null())
}

/// The number that a text says, the seconds of a duration, or those of a time since 1970; null
/// where there is none.
pub(super) fn number<'a>(value: &Val<'a>) -> Val<'a> {
    let text = match value {
        Val::Int(_) | Val::Float(_) | Val::Long(_) => return value.clone(),
        Val::Time(time) => return moment::seconds(time.0),
        Val::Span(micros) => return moment::seconds(*micros),
        Val::Text(text) => text.trim(),
        _ => return Val::Null,
    };
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = bare.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && bare.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if !is_number {
        return Val::Null;
    }
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(whole), _) => Val::Int(whole),
        (_, Ok(float)) => Val::float(float),
        _ => Val::Null,
    }
}

pub(super) fn truncate(whole: &str, length: usize) -> String {
    let mut short: String = whole.chars().take(length).collect();
    if short.len() < whole.len() {
        short.push('…');
    }
    short
}

/// A text as one part of a path, or as a value of a query: everything but the unreserved characters
/// of RFC 3986 is encoded.
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    encoded
}

/// `Front Door!` becomes `front-door`.
pub(super) fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words =
        lower.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// `front_door` becomes `front door`, and `DOORBELL_PRESSED` becomes `doorbell pressed`.
pub(super) fn humanized(text: &str) -> String {
    let spaced = text.replace(['_', '-'], " ");
    if spaced.chars().any(char::is_lowercase) { spaced } else { spaced.to_lowercase() }
}
