//! JSON text to the parts of its tree that somebody reads.

use super::NUMBER_KEY;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Which parts of a JSON value are read.
#[derive(Debug, Clone, PartialEq)]
pub enum WantedParts {
    /// All of it.
    All,
    /// What is below these names.
    Below(BTreeMap<String, WantedParts>),
}

impl WantedParts {
    /// Nothing of it.
    pub const NONE: WantedParts = WantedParts::Below(BTreeMap::new());

    /// Wants also what is at the end of this path; without a name on it, all.
    pub fn add(&mut self, path: &[String]) {
        match (path.split_first(), self) {
            (_, WantedParts::All) => {}
            (None, this) => *this = WantedParts::All,
            (Some((name, rest)), WantedParts::Below(names)) => {
                names.entry(name.clone()).or_insert(WantedParts::NONE).add(rest);
            }
        }
    }

    /// Whether nothing is wanted.
    pub fn is_none(&self) -> bool {
        *self == WantedParts::NONE
    }

    /// The value without what nobody wants; `None` when the text is not JSON. Wherever a wanted
    /// path leads, it finds what it finds in the whole value, or null in place of nothing.
    ///
    /// Of what is passed over, only the grammar is looked at.
    pub fn parse(&self, text: &str) -> Option<Value> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = self.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(value)
    }
}

impl<'de> DeserializeSeed<'de> for &WantedParts {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self {
            WantedParts::All => serde::Deserialize::deserialize(from),
            WantedParts::Below(names) => from.deserialize_any(PartsVisitor(names)),
        }
    }
}

/// Goes into a map. What is none has nothing below a name.
struct PartsVisitor<'a>(&'a BTreeMap<String, WantedParts>);

impl<'de> Visitor<'de> for PartsVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let (mut is_first, mut is_number) = (true, false);
        while let Some(key) = entries.next_key_seed(WantedKey(self.0))? {
            is_number |= is_first && matches!(key, PartKey::Number);
            is_first = false;
            match key {
                PartKey::Wanted(name, parts) => {
                    map.insert(name.clone(), entries.next_value_seed(parts)?);
                }
                PartKey::Number | PartKey::Other => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(if is_number { Value::Null } else { Value::Object(map) })
    }
}

enum PartKey<'a> {
    Wanted(&'a String, &'a WantedParts),
    /// `serde_json` hands over a number as a map that begins with this key.
    Number,
    Other,
}

struct WantedKey<'a>(&'a BTreeMap<String, WantedParts>);

impl<'de, 'a> DeserializeSeed<'de> for WantedKey<'a> {
    type Value = PartKey<'a>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<PartKey<'a>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for WantedKey<'a> {
    type Value = PartKey<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<PartKey<'a>, E> {
        Ok(match self.0.get_key_value(name) {
            Some((name, parts)) => PartKey::Wanted(name, parts),
            None if name == NUMBER_KEY => PartKey::Number,
            None => PartKey::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    fn wanted(paths: &[&str]) -> WantedParts {
        let mut wanted = WantedParts::NONE;
        for path in paths {
            let names = path.split('.').filter(|name| !name.is_empty()).map(str::to_owned);
            wanted.add(&names.collect::<Vec<_>>());
        }
        wanted
    }

    #[track_caller]
    fn check(paths: &[&str], text: &str, expected: Option<&str>) {
        let found = wanted(paths).parse(text).map(|it| it.to_string());
        assert_eq!(found.as_deref(), expected, "{paths:?} of {text}");
    }

    #[test]
    fn only_what_is_wanted_is_there() {
        let text = r#" {"a": {"b": 1.50, "c": [1, 2]}, "d": "x", "\u0061\"": null} "#;
        check(&[], text, Some("{}"));
        check(&["a.b"], text, Some(r#"{"a":{"b":1.50}}"#));
        check(&["a.b", "d"], text, Some(r#"{"a":{"b":1.50},"d":"x"}"#));
        check(&["a.b", "a", "a.c"], text, Some(r#"{"a":{"b":1.50,"c":[1,2]}}"#));
        check(&["a.c.x", "d.x", "no"], text, Some(r#"{"a":{"c":null},"d":null}"#));
        check(&["a\""], text, Some(r#"{"a\"":null}"#));
        check(&["a", ""], r#"{"a":1,"b":2}"#, Some(r#"{"a":1,"b":2}"#));
        for scalar in ["1", "-0.5", "null", "true", "\"a\"", "[{\"a\":1}]", "1e400"] {
            check(&["a"], scalar, Some("null"));
        }
        for broken in
            ["", "{", r#"{"a":1"#, r#"{"a":1}}"#, r#"{"a":1,}"#, r#"{"a" 1}"#, "{\"b\":\u{7}}"]
        {
            check(&["a"], broken, None);
        }
    }

    fn random_text(random: &mut Rng, depth: u32) -> String {
        const SCALARS: [&str; 7] = ["1", "-0", "1.50", "1e400", "null", "\"a\"", "true"];
        let items = random.usize(..4);
        match random.u32(..if depth == 0 { 1 } else { 4 }) {
            0 => SCALARS[random.usize(..SCALARS.len())].to_owned(),
            1 => {
                let all: Vec<String> = (0..items).map(|_| random_text(random, depth - 1)).collect();
                format!("[{}]", all.join(", "))
            }
            _ => {
                let mut names = ["a", "b", "\\u0061", NUMBER_KEY, "c d"];
                random.shuffle(&mut names);
                let one = |name: &&str| format!("\"{name}\": {}", random_text(random, depth - 1));
                let all: Vec<String> = names[..items].iter().map(one).collect();
                format!("{{{}}}", all.join(" , "))
            }
        }
    }

    /// Wherever a path that is wanted leads, the part has what the whole has.
    #[test]
    fn a_wanted_path_finds_what_it_finds_in_the_whole() {
        let mut random = Rng::with_seed(7);
        let (mut found, mut compared) = (0, 0);
        for _ in 0..20_000 {
            let text = random_text(&mut random, 4);
            let Ok(whole) = serde_json::from_str::<Value>(&text) else { continue };
            let paths: Vec<String> = (0..random.usize(..4))
                .map(|_| {
                    let names =
                        (0..random.usize(1..4)).map(|_| ["a", "b", "c d"][random.usize(..3)]);
                    names.collect::<Vec<_>>().join(".")
                })
                .collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let part = wanted(&paths).parse(&text).expect(&text);
            for path in &paths {
                let at = |value: &Value| {
                    let mut names = path.split('.');
                    names.try_fold(value.clone(), |value, name| value.get(name).cloned())
                };
                let (expected, shown) = (at(&whole), at(&part));
                assert_eq!(
                    shown.unwrap_or_default(),
                    expected.clone().unwrap_or_default(),
                    "{path} of {text}"
                );
                found += usize::from(expected.is_some());
                compared += 1;
            }
        }
        assert!(1000 < found && 10_000 < compared, "{found} of {compared}");
    }
}
