//! What enrichments added to an event: the tree under `enrich`.
//!
//! Most of it is stored and read by nobody before. So a stage may add JSON text, which becomes a
//! tree when something reads it, and is stored as it is when nothing does.

use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The tree under `enrich`, by the names at its top.
#[derive(Debug, Clone, Default)]
pub struct Additions(BTreeMap<String, AdditionPart>);

#[derive(Debug, Clone)]
enum AdditionPart {
    Tree(Value),
    Text(JsonText),
}

/// JSON text, parsed when it is read.
#[derive(Debug, Clone)]
struct JsonText {
    text: Arc<str>,
    value: OnceLock<Value>,
}

impl AdditionPart {
    fn value(&self) -> &Value {
        match self {
            AdditionPart::Tree(value) => value,
            AdditionPart::Text(text) => text.value.get_or_init(|| parsed(&text.text)),
        }
    }

    /// Bytes of JSON to begin with, its name included; a tree may need more.
    fn size_guess(&self) -> usize {
        match self {
            AdditionPart::Tree(_) => 256,
            AdditionPart::Text(text) => 64 + text.text.len(),
        }
    }

    /// To be changed: it is a tree from now on.
    fn tree(&mut self) -> &mut Value {
        if let AdditionPart::Text(text) = self {
            let value = text.value.take().unwrap_or_else(|| parsed(&text.text));
            *self = AdditionPart::Tree(value);
        }
        match self {
            AdditionPart::Tree(value) => value,
            AdditionPart::Text(_) => unreachable!("it was just made a tree"),
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("what a stage adds as text is JSON")
}

impl Additions {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is something of this name at the top.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What is there under this name at the top.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(AdditionPart::value)
    }

    /// All of it.
    pub fn to_value(&self) -> Value {
        let parts = self.0.iter().map(|(name, part)| (name.clone(), part.value().clone()));
        Value::Object(parts.collect())
    }

    /// All of it as the text of a JSON object, names in order.
    pub fn to_json(&self) -> String {
        let mut json = Vec::with_capacity(self.0.values().map(AdditionPart::size_guess).sum());
        json.push(b'{');
        for (name, part) in &self.0 {
            if 1 < json.len() {
                json.push(b',');
            }
            write_json(&mut json, name);
            json.push(b':');
            match part {
                AdditionPart::Tree(value) => write_json(&mut json, value),
                AdditionPart::Text(text) => json.extend_from_slice(text.text.as_bytes()),
            }
        }
        json.push(b'}');
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Puts a value at a path, making maps on the way; without a path it changes nothing.
    pub fn put(&mut self, path: &[String], value: Value) {
        let Some((name, below)) = path.split_first() else { return };
        let Some((last, between)) = below.split_last() else {
            self.0.insert(name.clone(), AdditionPart::Tree(value));
            return;
        };
        let empty = || AdditionPart::Tree(Value::Object(Map::new()));
        let mut here = self.0.entry(name.clone()).or_insert_with(empty).tree();
        for name in between {
            here = map_at(here).entry(name.clone()).or_insert(Value::Null);
        }
        map_at(here).insert(last.clone(), value);
    }

    /// The same with JSON text.
    ///
    /// # Panics
    ///
    /// When it is not JSON: here where the path has several names, else when it is read.
    pub fn put_text(&mut self, path: &[String], text: Arc<str>) {
        match path {
            [name] => {
                let text = JsonText { text, value: OnceLock::new() };
                self.0.insert(name.clone(), AdditionPart::Text(text));
            }
            _ => self.put(path, parsed(&text)),
        }
    }
}

fn write_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("memory takes every value");
}

/// The value as a map; what was there instead is replaced.
fn map_at(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

impl From<Map<String, Value>> for Additions {
    fn from(map: Map<String, Value>) -> Self {
        Additions(map.into_iter().map(|(name, value)| (name, AdditionPart::Tree(value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn what_nobody_reads_stays_the_text_that_it_was() {
        let mut additions = Additions::default();
        assert_eq!(additions.to_json(), "{}");
        additions.put_text(&path("meta"), r#"{ "n": 1.50 }"#.into());
        additions.put(&path("a\"b"), json!(null));
        assert_eq!(additions.to_json(), r#"{"a\"b":null,"meta":{ "n": 1.50 }}"#);
        assert_eq!(
            additions.get("meta").map(|addition| addition["n"].to_string()).as_deref(),
            Some("1.50")
        );
        assert_eq!(additions.to_json(), r#"{"a\"b":null,"meta":{ "n": 1.50 }}"#);
        assert!(additions.contains("meta") && !additions.contains("n") && !additions.is_empty());
    }

    #[test]
    fn text_that_something_is_put_into_becomes_a_tree() {
        let mut additions = Additions::default();
        additions.put_text(&path("meta"), r#"{"n":1,"deep":{"a":1}}"#.into());
        additions.put(&path("meta.deep.b"), json!(2));
        additions.put_text(&path("meta.c"), "[3]".into());
        additions.put(&path("meta.n.x"), json!("in place of a number"));
        let meta =
            json!({ "n": { "x": "in place of a number" }, "deep": { "a": 1, "b": 2 }, "c": [3] });
        assert_eq!(additions.get("meta"), Some(&meta));
        assert_eq!(additions.to_value(), json!({ "meta": meta }));
        additions.put_text(&path("meta"), "0".into());
        additions.put(&[], json!(1));
        assert_eq!(additions.to_value(), json!({ "meta": 0 }), "the last one counts");
    }

    /// As trees alone would have it, whatever is read in between.
    #[test]
    fn text_and_trees_come_to_the_same() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut texts, mut trees) = (Additions::default(), Additions::default());
            for _ in 0..random.usize(..12) {
                let names = (0..random.usize(1..4)).map(|_| random.choice(["a", "b", "c"]));
                let path: Vec<String> = names.flatten().map(str::to_owned).collect();
                let value =
                    random.choice([json!({ "a": 1 }), json!([2]), json!({ "b": { "c": 3 } })]);
                let value = value.expect("there are some");
                match random.u8(..3) {
                    0 => texts.put(&path, value.clone()),
                    1 => texts.put_text(&path, value.to_string().into()),
                    _ => {
                        texts.get(&path[0]);
                        texts.put_text(&path, value.to_string().into());
                    }
                }
                trees.put(&path, value);
            }
            assert_eq!(texts.to_value(), trees.to_value(), "seed {seed}");
            let written: Value = serde_json::from_str(&texts.to_json()).unwrap();
            assert_eq!(written, trees.to_value(), "seed {seed}");
        }
    }
}
