//! A JSON Schema as a [`ValueType`]: what a value that fits it may be.
//!
//! Bounded, however hostile the schema: every subschema that is looked at and every part that is
//! laid over another costs some of [`WORK_MAX`]; where that does not do, nothing is known of the
//! whole. What is not understood (`not`, references that lead elsewhere) is left out, which only
//! makes the shape wider.

use super::value_type::{Bounds, Field, Fields, SchemaOrigin, ValueType};
use crate::diagnostic::SourceText;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The most steps that one schema may take.
const WORK_MAX: usize = 50_000;
/// How deep a schema is followed; below, nothing is known.
const DEPTH_MAX: usize = 32;

/// The shape of what fits `schema`, which was read from `source`.
pub fn of_schema(schema: &Value, source: &Arc<SourceText>) -> ValueType {
    let draft = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    let mut reader = SchemaReader {
        root: schema,
        source,
        work: WORK_MAX,
        refs: Vec::new(),
        refs_stand_alone: draft.contains("/draft-0"),
    };
    let shape = reader.narrow(ValueType::any(), schema, "", 0);
    if reader.work == 0 { ValueType::any() } else { shape }
}

struct SchemaReader<'s> {
    root: &'s Value,
    source: &'s Arc<SourceText>,
    /// What is left of [`WORK_MAX`].
    work: usize,
    /// The references that are being followed.
    refs: Vec<String>,
    /// Before draft 2019-09, nothing beside a `$ref` counts.
    refs_stand_alone: bool,
}

impl<'s> SchemaReader<'s> {
    /// What fits `schema` and has the shape `base`. `at` is the schema's JSON pointer.
    fn narrow(&mut self, base: ValueType, schema: &Value, at: &str, depth: usize) -> ValueType {
        self.work = self.work.saturating_sub(1);
        let Value::Object(schema) = schema else {
            return if *schema == Value::Bool(false) { ValueType::null() } else { base };
        };
        let is_elsewhere = 0 < depth && schema.contains_key("$id");
        if self.work == 0 || DEPTH_MAX < depth || is_elsewhere || schema.is_empty() {
            return if schema.is_empty() { base } else { ValueType::any() };
        }
        if self.refs_stand_alone && schema.contains_key("$ref") {
            return self.referred(base, schema, depth);
        }
        let base = if base.is_any() { ValueType::json() } else { base };
        let mut shape = typed(base.clone(), schema.get("type"));
        for word in ["enum", "const"] {
            if let Some(values) = schema.get(word) {
                let values =
                    if word == "enum" { values } else { &Value::Array(vec![values.clone()]) };
                let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
                let values = ValueType::of_values(values);
                shape = shape.and(&values, &mut self.work);
            }
        }
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let bounded = shape.number.map(|number| Bounds {
            least: number
                .least
                .max(bound("minimum").or(bound("exclusiveMinimum")).unwrap_or(number.least)),
            most: number
                .most
                .min(bound("maximum").or(bound("exclusiveMaximum")).unwrap_or(number.most)),
        });
        shape.number = bounded.filter(|bounded| bounded.least <= bounded.most);
        shape.list = shape.list.map(|it| self.items(it, schema, at, depth));
        shape.map = shape.map.map(|map| Arc::new(self.fields(&map, schema, at, depth)));
        shape = self.referred(shape, schema, depth);
        shape = self.combined(shape, schema, at, depth);
        // A contradiction says more of the schema than of the value.
        let is_contradiction = !shape.has_value() && !shape.null;
        if shape == ValueType::json() || is_contradiction { ValueType::any() } else { shape }
    }

    /// Pays for going through the fields of a shape.
    fn charge(&mut self, shape: &ValueType) {
        let names = shape.map.as_ref().map_or(0, |map| map.names.len());
        self.work = self.work.saturating_sub(names);
    }

    fn referred(
        &mut self,
        base: ValueType,
        schema: &Map<String, Value>,
        depth: usize,
    ) -> ValueType {
        if schema.contains_key("$dynamicRef") || schema.contains_key("$recursiveRef") {
            return ValueType::any();
        }
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return base };
        // Round and round says nothing new.
        if self.refs.iter().any(|it| it == reference) {
            return base;
        }
        let Some((target, pointer)) = self.target(reference) else { return ValueType::any() };
        self.refs.push(reference.to_owned());
        let shape = self.narrow(base, target, &pointer, depth + 1);
        self.refs.pop();
        shape
    }

    /// A local reference: a JSON pointer, or the name of an anchor.
    fn target(&self, reference: &str) -> Option<(&'s Value, String)> {
        let local = reference.strip_prefix('#')?;
        if local.is_empty() || local.starts_with('/') {
            return Some((self.root.pointer(local)?, local.to_owned()));
        }
        ["$defs", "definitions"].iter().find_map(|group| {
            let root: &'s Value = self.root;
            let mut named = root.get(*group)?.as_object()?.iter();
            let is_it = |value: &Value| {
                value.get("$anchor").and_then(Value::as_str) == Some(local)
                    || value.get("$id").and_then(Value::as_str) == Some(reference)
            };
            let (name, found) = named.find(|it| is_it(it.1))?;
            Some((found, format!("/{group}/{}", escaped(name))))
        })
    }

    /// `allOf`, `anyOf`, `oneOf`, `if` and what depends. Each alternative is laid over what the
    /// rest of the schema says, so that nothing of the rest is lost in another one.
    fn combined(
        &mut self,
        base: ValueType,
        schema: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> ValueType {
        let mut shape = base;
        let list = |word: &str| schema.get(word).and_then(Value::as_array);
        let has_choice = |it: &&(usize, &Value)| {
            ["anyOf", "oneOf", "if"].iter().any(|word| it.1.get(*word).is_some())
        };
        let all: Vec<(usize, &Value)> = list("allOf").into_iter().flatten().enumerate().collect();
        let (late, early): (Vec<_>, Vec<_>) = all.iter().partition(has_choice);
        for (index, part) in early.into_iter().chain(late) {
            shape = self.narrow(shape, part, &format!("{at}/allOf/{index}"), depth + 1);
        }
        for word in ["anyOf", "oneOf"] {
            let Some(parts) = list(word).filter(|it| !it.is_empty()) else { continue };
            let mut either = ValueType::never();
            for (index, part) in parts.iter().enumerate() {
                if self.work == 0 || either.is_any() {
                    return ValueType::any();
                }
                self.charge(&either);
                let at = format!("{at}/{word}/{index}");
                either = either.or(self.narrow(shape.clone(), part, &at, depth + 1));
            }
            shape = either;
        }
        if let Some(condition) = schema.get("if") {
            let mut yes = self.narrow(shape.clone(), condition, &format!("{at}/if"), depth + 1);
            if let Some(then) = schema.get("then") {
                yes = self.narrow(yes, then, &format!("{at}/then"), depth + 1);
            }
            if let Some(no) = schema.get("else") {
                shape = self.narrow(shape, no, &format!("{at}/else"), depth + 1);
            }
            shape = yes.or(shape);
        }
        let depending = schema.get("dependentSchemas").and_then(Value::as_object);
        for (name, part) in depending.into_iter().flatten() {
            self.charge(&shape);
            let at = format!("{at}/dependentSchemas/{}", escaped(name));
            shape = shape.clone().or(self.narrow(shape, part, &at, depth + 1));
        }
        shape
    }

    fn items(
        &mut self,
        base: Arc<ValueType>,
        schema: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Arc<ValueType> {
        let tuple = schema.get("prefixItems").or_else(|| schema.get("items"));
        let tuple = tuple.and_then(Value::as_array);
        let rest = match schema.get("items") {
            Some(Value::Array(_)) => schema.get("additionalItems"),
            other => other,
        };
        if tuple.is_none() && rest.is_none() {
            return base;
        }
        let mut items = match rest {
            Some(rest) => self.narrow((*base).clone(), rest, &format!("{at}/items"), depth + 1),
            None => return Arc::new(ValueType::any()),
        };
        for (index, part) in tuple.into_iter().flatten().enumerate() {
            let at = format!("{at}/prefixItems/{index}");
            items = items.or(self.narrow((*base).clone(), part, &at, depth + 1));
        }
        Arc::new(items)
    }

    fn fields(
        &mut self,
        base: &Fields,
        schema: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Fields {
        self.work = self.work.saturating_sub(base.names.len());
        let mut fields = base.clone();
        let says = |word: &str| schema.get(word).is_some_and(|it| *it != Value::Bool(false));
        fields.has_more |= says("additionalProperties")
            || says("unevaluatedProperties")
            || schema.contains_key("patternProperties");
        let is_false = |word: &str| schema.get(word) == Some(&Value::Bool(false));
        let is_closed = is_false("additionalProperties")
            || is_false("unevaluatedProperties")
            || base.is_listed && !base.is_loose;
        fields.is_loose = !is_closed;
        let listed = schema.get("properties").and_then(Value::as_object);
        for (name, part) in listed.into_iter().flatten() {
            fields.is_listed = true;
            let pointer = format!("{at}/properties/{}", escaped(name));
            let own = fields.names.remove(name.as_str());
            let (before, origin) = own.map_or((ValueType::any(), None), |it| (it.shape, it.origin));
            let shape = self.narrow(before, part, &pointer, depth + 1);
            let here =
                || Arc::new(SchemaOrigin { source: self.source.clone(), pointer: pointer.clone() });
            let field = Field { shape, origin: origin.or_else(|| Some(here())) };
            fields.names.insert(name.as_str().into(), field);
        }
        // What must be there is known to be there, even where it is not listed.
        let needed = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let depending = schema.get("dependentRequired").and_then(Value::as_object);
        let depending = depending.into_iter().flatten().filter_map(|it| it.1.as_array()).flatten();
        for name in needed.chain(depending).filter_map(Value::as_str) {
            let unknown = || Field { shape: ValueType::any(), origin: None };
            fields.names.entry(name.into()).or_insert_with(unknown);
        }
        fields
    }
}

/// What of `shape` the word or words of `type` leave.
fn typed(shape: ValueType, types: Option<&Value>) -> ValueType {
    let words: Vec<&str> = match types {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => return shape,
    };
    let has = |word: &str| words.contains(&word);
    let has_number = has("number") || has("integer");
    ValueType {
        null: shape.null && has("null"),
        truth: shape.truth.map(|truth| truth && has("boolean")),
        number: shape.number.filter(|_| has_number),
        text: shape.text.clone().filter(|_| has("string")),
        list: shape.list.clone().filter(|_| has("array")),
        map: shape.map.clone().filter(|_| has("object")),
        ..shape
    }
}

/// A name as a JSON pointer writes it.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(schema: &Value) -> ValueType {
        let source = SourceText { name: "s.json".to_owned(), text: schema.to_string() };
        of_schema(schema, &Arc::new(source))
    }

    /// What the schema says of the value at a path: `-` when nothing is there.
    fn at(schema: &Value, path: &str) -> String {
        let mut shape = shape(schema);
        for name in path.split('.').filter(|part| !part.is_empty()) {
            let next = match name.parse::<usize>() {
                Ok(_) => shape.item(),
                Err(_) => shape.field(name).map(|field| field.0),
            };
            match next {
                Some(next) => shape = next,
                None => return "-".to_owned(),
            }
        }
        shape.told()
    }

    #[track_caller]
    fn check(schema: &Value, expected: &[(&str, &str)]) {
        for (path, told) in expected {
            assert_eq!(at(schema, path), *told, "{path}");
        }
    }

    #[test]
    fn what_lists_properties_is_closed_and_what_lists_none_is_open() {
        let schema = json!({
            "type": "object",
            "properties": {
                "score": { "type": "number", "minimum": 0, "maximum": 1 },
                "state": { "enum": ["on", "off", null] },
                "extra": { "type": "object" },
                "more": { "properties": { "a": {} }, "additionalProperties": true },
                "some": { "properties": { "a": {} }, "patternProperties": { "^x": {} } },
                "none": { "properties": { "a": {} }, "additionalProperties": false },
                "boxes": { "type": "array", "items": { "properties": { "x": { "type": "integer" } } } },
            },
        });
        check(
            &schema,
            &[
                ("", "map"),
                ("score", "number 0–1"),
                ("state", "one of: off, on"),
                ("scor", "-"),
                ("score.x", "-"),
                ("extra.a.b.c", "anything"),
                ("more.b", "anything"),
                ("some.b", "anything"),
                ("none.b", "-"),
                ("boxes.0.x", "number"),
                ("boxes.0.z", "-"),
                ("boxes.x", "-"),
            ],
        );
        check(&json!({ "type": "object" }), &[("a.b", "anything")]);
        check(
            &json!({ "required": ["b"], "properties": { "a": {} } }),
            &[("b.c", "anything"), ("c", "-")],
        );
        check(&json!(true), &[("a", "anything")]);
    }

    #[test]
    fn parts_are_laid_over_each_other_and_alternatives_beside_each_other() {
        let schema = json!({
            "$defs": { "named": { "$anchor": "n", "properties": { "name": { "type": "string" } } } },
            "properties": { "kind": { "enum": ["a", "b", "c"] } },
            "allOf": [{ "$ref": "#n" }, { "required": ["kind"] }],
            "oneOf": [
                { "properties": { "kind": { "const": "a" }, "x": { "type": "number" } } },
                { "properties": { "kind": { "const": "b" }, "x": { "type": "string" } } },
                { "required": ["y"] },
            ],
            "if": { "properties": { "kind": { "const": "b" } } },
            "then": { "properties": { "z": { "type": "boolean" } } },
        });
        check(
            &schema,
            &[
                ("name", "text"),
                ("kind", "one of: a, b, c"),
                ("x", "number or text"),
                ("y", "anything"),
                ("z", "true or false"),
                ("w", "-"),
            ],
        );
        let open =
            json!({ "oneOf": [{ "properties": { "a": { "const": "1" } } }, { "type": "object" }] });
        check(&open, &[("a", "anything"), ("b", "anything")]);
        let branches = json!({
            "allOf": [{ "anyOf": [
                { "properties": { "a": { "const": "1" } } },
                { "properties": { "b": {} } },
            ] }],
            "properties": { "a": { "enum": ["1", "2"] } },
        });
        check(&branches, &[("a", "one of: 1, 2"), ("b", "anything"), ("c", "-")]);
    }

    #[test]
    fn tuples_and_contradictions_are_known_only_as_far_as_they_go() {
        let tuple = json!({ "type": "array", "prefixItems": [{ "type": "string" }], "items": { "type": "number" } });
        check(&tuple, &[("0", "number or text"), ("a", "-")]);
        check(&json!({ "prefixItems": [{ "type": "string" }] }), &[("0", "anything")]);
        check(
            &json!({ "allOf": [{ "type": "string" }, { "type": "number" }] }),
            &[("", "anything")],
        );
    }

    #[test]
    fn references_are_followed_inside_the_schema_only() {
        let tree = json!({
            "properties": { "name": { "type": "string" }, "child": { "$ref": "#" } },
        });
        check(
            &tree,
            &[
                ("child.name", "text"),
                ("child.nam", "-"),
                ("child.child.x", "anything"),
                ("nam", "-"),
            ],
        );
        check(&json!({ "$ref": "#" }), &[("a", "anything")]);
        let loops = json!({
            "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } },
            "properties": { "x": { "$ref": "#/$defs/a" } },
        });
        check(&loops, &[("x.y", "anything"), ("y", "-")]);
        for outside in ["http://example.org/a.json", "file:///etc/passwd", "other.json#/a", "#/no"]
        {
            let schema = json!({ "properties": { "x": { "$ref": outside } } });
            check(&schema, &[("x.y", "anything"), ("y", "-")]);
        }
        let old = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": { "a": { "properties": { "b": {} } } },
            "$ref": "#/definitions/a",
            "properties": { "ignored": {} },
        });
        check(&old, &[("b", "anything"), ("ignored", "-")]);
    }

    fn work(schema: &Value) -> usize {
        let source = Arc::new(SourceText { name: String::new(), text: String::new() });
        let mut reader = SchemaReader {
            root: schema,
            source: &source,
            work: WORK_MAX,
            refs: Vec::new(),
            refs_stand_alone: false,
        };
        reader.narrow(ValueType::any(), schema, "", 0);
        WORK_MAX - reader.work
    }

    #[test]
    fn a_hostile_schema_costs_a_bounded_amount_of_work() {
        let mut doubling = Map::new();
        for level in 0..60 {
            let next = json!({ "$ref": format!("#/$defs/d{}", level + 1) });
            doubling.insert(format!("d{level}"), json!({ "allOf": [next, next] }));
        }
        doubling.insert("d60".to_owned(), json!({ "properties": { "a": {} } }));
        let doubling = json!({ "$defs": doubling, "$ref": "#/$defs/d0" });
        assert_eq!(work(&doubling), WORK_MAX);
        check(&doubling, &[("b", "anything")]);
        let mut deep = json!({ "type": "string" });
        for _ in 0..500 {
            deep = json!({ "type": "object", "properties": { "a": deep } });
        }
        assert!(work(&deep) < 100, "{}", work(&deep));
        check(&deep, &[("a.a.a", "map"), ("a.b", "-")]);
        let nested = (0..16).fold(json!({ "type": "null" }), |it, _| json!({ "anyOf": [it, it] }));
        assert_eq!(work(&nested), WORK_MAX);
        let wide: Map<String, Value> =
            (0..5000).map(|it| (format!("p{it}"), json!({ "type": "number" }))).collect();
        check(&json!({ "properties": wide }), &[("p77", "number"), ("q", "-")]);
    }
}
