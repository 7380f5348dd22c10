//! Taking a message apart: text in it that is JSON, and a list in it of which each item is an event.
//!
//! An item is a message like one of an array body: with an id, an answer and a dead letter of its
//! own. The message around it is there for `map` alone, so nothing of it is stored with the item.

use super::reading::{self, Unread};
use super::{Rejection, pointer_of};
use crate::engine::ReceivedMessage;
use compiler::plan::{Plan, SourcePlan, Violation, violations};
use compiler::spec::{Map, OnInvalid};
use kernel::decode::{self, Unreadable};
use kernel::env::Random;
use kernel::time::Timestamp;
use language::expr::{PathRead, Root, Scope};
use serde_json::Value;
use std::sync::Arc;

/// Most events of one message, and of one request.
pub const ITEMS_MAX: usize = 1000;

/// What an item was taken from.
#[derive(Debug, Clone)]
pub struct ItemOrigin {
    /// The message.
    pub whole: Arc<WholeMessage>,
    /// Where the item is in it, as a JSON pointer; empty where that cannot be told.
    pub pointer: String,
}

/// A message whose items are events.
#[derive(Debug, Default)]
pub struct WholeMessage {
    /// As `map` reads it below `data`.
    pub data: Value,
    /// When it was written, where its line says so.
    pub time: Option<Timestamp>,
    /// As received, where `json` has changed it.
    pub raw: Option<Value>,
    /// What is wrong with it, where the file lets that pass.
    pub wrong: Vec<Violation>,
    /// What a dead letter of an item keeps of it: the parts of `data` and `raw` that `map` reads,
    /// and the time.
    pub around: serde_json::Map<String, Value>,
}

impl WholeMessage {
    /// As received.
    pub fn raw(&self) -> &Value {
        self.raw.as_ref().unwrap_or(&self.data)
    }
}

/// The messages that the items of one are, at most `max`; itself where its source takes nothing
/// apart.
pub fn spread(
    plan: &Plan,
    source: &SourcePlan,
    message: &ReceivedMessage,
    (now, random): (Timestamp, &Random),
    max: usize,
) -> Result<Vec<ReceivedMessage>, Rejection> {
    let Some(each) = &source.map.each else { return Ok(vec![message.clone()]) };
    let each = &each.value;
    let whole = match whole_of(plan, source, message, now) {
        Ok(whole) => whole,
        Err(Unread::Refused(refusal)) => return Err(refusal.of_whole()),
        // It is dropped where every line is.
        Err(Unread::Dropped) => return Ok(vec![message.clone()]),
    };
    let mut scope = Scope::at(now, &plan.globals);
    scope.data = Some(&whole.data);
    scope.raw = Some(whole.raw());
    scope.http = message.http.as_deref();
    scope.file = message.file.as_deref();
    scope.mqtt = message.mqtt.as_deref();
    scope.random = Some(random);
    let place = match each.plain_path() {
        Some((Root::Data | Root::Raw, path)) => Some(pointer_of(&path)),
        _ => None,
    };
    let items = match each.eval(&scope).to_json() {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        other => {
            let text = format!("`each` needs a list, and `{}` is {}", each.text(), told(&other));
            let instance = place.unwrap_or_default();
            let wrong = vec![Violation { instance, schema: "map".to_owned(), message: text }];
            return Err(refused(plan, wrong));
        }
    };
    if max < items.len() {
        let detail = format!(
            "`{}` has {} items, but a request or message may contain at most {ITEMS_MAX} events; send \
             them in parts",
            each.text(),
            items.len(),
        );
        return Err(Rejection::plain(413, detail, false).of_whole());
    }
    let whole = Arc::new(whole);
    let item = |(index, item): (usize, Value)| ReceivedMessage {
        bytes: item.to_string().into_bytes().into(),
        http: message.http.clone(),
        file: message.file.clone(),
        mqtt: message.mqtt.clone(),
        id: message.id.as_ref().map(|id| format!("{id}#{index}")),
        kind: message.kind.clone(),
        decoded: None,
        once: message.once.as_ref().map(|once| format!("{once}#{index}")),
        item_of: Some(ItemOrigin {
            whole: whole.clone(),
            pointer: place.as_ref().map(|place| format!("{place}/{index}")).unwrap_or_default(),
        }),
        time: message.time,
        subject: message.subject.clone(),
        noted: None,
    };
    Ok(items.into_iter().enumerate().map(item).collect())
}

/// The message, read and checked.
fn whole_of(
    plan: &Plan,
    source: &SourcePlan,
    message: &ReceivedMessage,
    now: Timestamp,
) -> Result<WholeMessage, Unread> {
    let arrived = (message.decoded.as_ref(), now);
    let read = reading::read(plan, source, &message.bytes, arrived)?;
    if let Some(tag) = &read.tag {
        let (instance, text) = (String::new(), tag["reason"].as_str().unwrap_or_default());
        let violation =
            Violation { instance, schema: reading::DECODE.to_owned(), message: text.to_owned() };
        return Err(Unread::Refused(refused(plan, vec![violation])));
    }
    let (mut data, time) = (read.value, read.time);
    let schema = source.schema.as_ref();
    let mut wrong =
        schema.map_or_else(Vec::new, |schema| violations(schema.validator(), &data, ""));
    let raw = (!source.map.json.is_empty()).then(|| data.clone());
    parse_texts(&source.map, &mut data, &mut wrong);
    let is_let_pass = matches!(plan.validate.on_invalid, OnInvalid::Tag | OnInvalid::Drop);
    if wrong.is_empty() || is_let_pass {
        let around = [("data", Some(&data)), ("raw", raw.as_ref())].into_iter();
        let around = around.filter_map(|(key, it)| Some((key, around_items(&source.map, it?))));
        let shown = time.map(|time| ("time", Value::String(time.to_string())));
        let around = around.chain(shown).map(|(key, it)| (key.to_owned(), it)).collect();
        return Ok(WholeMessage { data, time, raw, wrong, around });
    }
    Err(Unread::Refused(refused(plan, wrong)))
}

fn refused(plan: &Plan, wrong: Vec<Violation>) -> Rejection {
    let is_kept = plan.validate.on_invalid == OnInvalid::DeadLetter;
    let detail = "the message cannot be split into items".to_owned();
    Rejection { violations: wrong, ..Rejection::plain(422, detail, is_kept) }.of_whole()
}

impl Rejection {
    fn of_whole(self) -> Self {
        Rejection { is_whole: true, ..self }
    }
}

/// Puts the values in place of the texts that `json` names.
pub(super) fn parse_texts(map: &Map, message: &mut Value, wrong: &mut Vec<Violation>) {
    for it in &map.json {
        let Some((_, path)) = it.value.plain_path() else { continue };
        let instance = pointer_of(&path);
        let Some(Value::String(text)) = message.pointer(&instance) else { continue };
        match decode::parse_below(text.as_bytes(), path.len()) {
            Ok(value) => {
                let place = message.pointer_mut(&instance).expect("it is there");
                *place = value;
            }
            Err(fault) => {
                let message = match fault {
                    Unreadable::NotJson(reason) => format!("must be JSON text: {reason}"),
                    Unreadable::Refused(reason) => reason,
                };
                let known = wrong.iter().any(|known| known.instance == instance);
                if !known {
                    wrong.push(Violation { instance, schema: "map".to_owned(), message });
                }
            }
        }
    }
}

/// What `map` reads of a message besides the items: what a dead letter of one needs of it.
fn around_items(map: &Map, message: &Value) -> Value {
    let is_message = |it: &PathRead| matches!(it.root, Root::Data | Root::Raw);
    let read = map.parts().flat_map(|part| part.value.reads()).filter(is_message);
    let read: Vec<Vec<String>> = read.map(|it| it.path).collect();
    kept(message, &mut Vec::new(), &read)
}

/// The parts of a value that lie on a path, or below the end of one.
fn kept(value: &Value, at: &mut Vec<String>, paths: &[Vec<String>]) -> Value {
    if paths.iter().any(|path| at.starts_with(path)) {
        return value.clone();
    }
    let Value::Object(fields) = value else { return Value::Null };
    let mut part = serde_json::Map::new();
    for (name, field) in fields {
        at.push(name.clone());
        if paths.iter().any(|path| path.starts_with(at) || at.starts_with(path)) {
            part.insert(name.clone(), kept(field, at, paths));
        }
        at.pop();
    }
    Value::Object(part)
}

fn told(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::expr::{Expr, Roots};
    use language::spanned::Spanned;
    use serde_json::json;

    fn expr(text: &str) -> Spanned<Expr> {
        Spanned::new(Expr::parse(text, Roots::MAP_ITEM).unwrap(), 0..0)
    }

    #[test]
    fn a_letter_keeps_what_the_map_reads_around_an_item() {
        let message = json!({ "camera": { "id": 1, "x": 2 }, "list": [1, 2], "z": [{ "a": 1 }] });
        for (read, expected) in [
            ("item.name", json!({})),
            ("data.camera.id + item.name", json!({ "camera": { "id": 1 } })),
            ("raw.z[0].a + data.none.deep", json!({ "z": [{ "a": 1 }] })),
            ("data.camera.id.deeper", json!({ "camera": { "id": null } })),
            ("len(data)", message.clone()),
        ] {
            let map = Map { id: Some(expr(read)), each: Some(expr("data.list")), ..Map::default() };
            assert_eq!(around_items(&map, &message), expected, "{read}");
        }
    }

    #[test]
    fn text_that_is_json_is_read_where_it_is() {
        let deep = format!("{}1{}", "[".repeat(63), "]".repeat(63));
        for (text, expected, problem) in [
            (json!("{\"b\": [1]}"), json!({ "b": [1] }), ""),
            (json!("null"), json!(null), ""),
            (json!({ "b": 1 }), json!({ "b": 1 }), ""),
            (json!(null), json!(null), ""),
            (json!("no"), json!("no"), "must be JSON text: expected ident at line 1 column 2"),
            (json!(deep), json!(deep), "nested deeper than 64 levels"),
        ] {
            let map = Map { json: vec![expr("data.a.b")], ..Map::default() };
            let (mut message, mut wrong) = (json!({ "a": { "b": text } }), Vec::new());
            parse_texts(&map, &mut message, &mut wrong);
            assert_eq!(message, json!({ "a": { "b": expected } }));
            let told: Vec<&str> = wrong.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(told.join(" "), problem, "{text}");
        }
        let map = Map { json: vec![expr("data.a.b")], ..Map::default() };
        let mut message = json!({ "a": 1 });
        parse_texts(&map, &mut message, &mut Vec::new());
        assert_eq!(message, json!({ "a": 1 }));
    }
}
