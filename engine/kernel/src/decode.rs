//! Received bytes to a JSON value, strictly: no duplicate keys, bounded depth and size.

mod partial;
mod unlike;

pub use partial::WantedParts;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;
use std::ops::Range;

/// The byte order mark with which Windows programs begin UTF-8 text. It is no part of the text.
pub const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// The deepest nesting of a message.
pub const DEPTH_MAX: usize = 64;
/// Most values in a message.
const VALUES_MAX: usize = 100_000;
/// The longest text in a message, in bytes.
const TEXT_MAX: usize = 256 << 10;

/// How `serde_json` hands over a number with all of its digits: as a map with this key. A message
/// that has the key itself is read as that number, or refused.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Not JSON at all.
    NotJson(String),
    /// JSON that is refused: duplicate keys, too deep, too large.
    Refused(String),
}

/// Parses one JSON value that fills `bytes`.
pub fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    parse_below(bytes, 0)
}

/// The same of text in a message, `depth` levels below its top: the whole is no deeper than a
/// message may be.
pub fn parse_below(bytes: &[u8], depth: usize) -> Result<Value, Unreadable> {
    read(bytes, depth, Sizes { values: VALUES_MAX, text: TEXT_MAX })
}

/// The same of what a service has answered, whose size has a limit of its own.
pub fn parse_response(bytes: &[u8]) -> Result<Value, Unreadable> {
    read(bytes, 0, Sizes { values: usize::MAX, text: usize::MAX })
}

fn read(bytes: &[u8], depth: usize, sizes: Sizes) -> Result<Value, Unreadable> {
    let not_json = |reason: String| match unlike::unlike_json(bytes) {
        Some(told) => Unreadable::NotJson(told.to_owned()),
        None => Unreadable::NotJson(reason),
    };
    let text =
        std::str::from_utf8(bytes).map_err(|fault| not_json(format!("not UTF-8 text: {fault}")))?;
    let limits = DecodeLimits { sizes, values: Cell::new(0), refused: Cell::new(false) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth, limits: &limits }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|fault| {
        if limits.refused.get() {
            let words = fault.to_string();
            Unreadable::Refused(words.split(" at line ").next().unwrap_or(&words).to_owned())
        } else {
            not_json(fault.to_string())
        }
    })
}

/// The most values, and the longest text in bytes.
struct Sizes {
    values: usize,
    text: usize,
}

struct DecodeLimits {
    sizes: Sizes,
    values: Cell<usize>,
    refused: Cell<bool>,
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    limits: &'a DecodeLimits,
}

impl Strict<'_> {
    fn refuse<E: Error>(self, message: impl fmt::Display) -> E {
        self.limits.refused.set(true);
        E::custom(message)
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if DEPTH_MAX <= self.depth {
            return Err(self.refuse(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Strict { depth: self.depth + 1, ..self })
    }

    /// A number keeps its digits. One that no reader could hold is none.
    fn number<E: Error>(self, digits: &str) -> Result<Value, E> {
        self.text(digits)?;
        let number: Number = digits.parse().map_err(|_| E::custom("invalid number"))?;
        match number.as_f64().filter(|number| number.is_finite()) {
            Some(_) => Ok(Value::Number(number)),
            None => Err(E::custom("number out of range")),
        }
    }

    fn text<E: Error>(self, text: &str) -> Result<(), E> {
        let most = self.limits.sizes.text;
        if most < text.len() {
            return Err(self.refuse(format_args!("a text of more than {most} bytes")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let count = self.limits.values.get() + 1;
        self.limits.values.set(count);
        let most = self.limits.sizes.values;
        if most < count {
            return Err(self.refuse(format_args!("more than {most} values")));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(Number::from_f64(it).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, it: &str) -> Result<Value, E> {
        self.text(it)?;
        Ok(Value::String(it.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut next = entries.next_key::<String>()?;
        if next.as_deref() == Some(NUMBER_KEY) {
            return self.number(&entries.next_value::<String>()?);
        }
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = next {
            self.text(&key)?;
            let value = entries.next_value_seed(inner)?;
            if map.contains_key(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(self.refuse(format_args!("the key `{shown}` appears twice")));
            }
            map.insert(key, value);
            next = entries.next_key()?;
        }
        Ok(Value::Object(map))
    }
}

/// Where the value at `path` stands in JSON text that has been parsed before. `None` when there
/// is none.
pub fn range_of(text: &[u8], path: &[String]) -> Option<Range<usize>> {
    let mut scan = Scan { text, at: 0 };
    scan.blanks();
    for name in path {
        scan.enter(name)?;
    }
    let start = scan.at;
    scan.value();
    Some(start..scan.at)
}

/// A scanner over text that is known to be JSON.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    /// Moves to the value of `name` in the object that begins here.
    fn enter(&mut self, name: &str) -> Option<()> {
        if self.peek() != b'{' {
            return None;
        }
        self.at += 1;
        loop {
            self.blanks();
            if self.peek() != b'"' {
                return None;
            }
            let start = self.at;
            self.string();
            let key = &self.text[start..self.at];
            self.blanks();
            self.at += 1;
            self.blanks();
            if is_key(key, name) {
                return Some(());
            }
            self.value();
            self.blanks();
            if self.peek() != b',' {
                return None;
            }
            self.at += 1;
        }
    }

    fn string(&mut self) {
        self.at += 1;
        while self.at < self.text.len() && self.peek() != b'"' {
            self.at += if self.peek() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
    }

    fn value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => self.string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => self.at += 1,
                _ => {
                    while !matches!(
                        self.peek(),
                        0 | b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'}' | b']'
                    ) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 || self.text.len() <= self.at {
                return;
            }
        }
    }
}

/// Whether a key as written (in quotes, perhaps with escapes) is `name`.
fn is_key(written: &[u8], name: &str) -> bool {
    if written.contains(&b'\\') {
        return serde_json::from_slice::<String>(written).is_ok_and(|slice| slice == name);
    }
    written.len() == name.len() + 2 && &written[1..=name.len()] == name.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        assert_eq!(parse(text.as_bytes()), Err(Unreadable::Refused(reason.to_owned())));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        refused(r#"{"a": 1, "a": 2}"#, "the key `a` appears twice");
        refused(
            &format!("{}1{}", "[".repeat(100), "]".repeat(100)),
            "nested deeper than 64 levels",
        );
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for text in ["", "{", "nul", "\u{feff}{}", "{} {}", "1e400"] {
            assert!(matches!(parse(text.as_bytes()), Err(Unreadable::NotJson(_))), "{text}");
        }
        assert!(matches!(parse(&[0xff, 0xfe]), Err(Unreadable::NotJson(_))));
    }

    #[test]
    fn a_value_is_found_where_it_stands() {
        let text = br#" {"x": "a\"}", "data": {"b": [1, 2]}, "\u0064": 7}"#;
        let found = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|it| (*it).to_owned()).collect();
            range_of(text, &path).map(|it| std::str::from_utf8(&text[it]).expect("ASCII"))
        };
        assert_eq!(found(&["data"]), Some(r#"{"b": [1, 2]}"#));
        assert_eq!(found(&["data", "b"]), Some("[1, 2]"));
        assert_eq!(found(&["d"]), Some("7"));
        assert_eq!(found(&["nothing"]), None);
        assert_eq!(found(&["x", "y"]), None);
    }

    proptest! {
        #[test]
        fn the_scanner_agrees_with_the_parser(keys in prop::collection::btree_map("[a-c\"\\\\{}]{0,3}", "[ -~]{0,6}", 0..5)) {
            let text = serde_json::to_string_pretty(&keys).expect("a map serialises");
            for (key, value) in &keys {
                let range = range_of(text.as_bytes(), std::slice::from_ref(key)).expect("it is there");
                prop_assert_eq!(&serde_json::from_str::<String>(&text[range]).expect("a text"), value);
            }
        }
    }
}
