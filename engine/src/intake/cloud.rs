//! CloudEvents 1.0: where the parts of an event are in a message that is one.
//!
//! Every mode arrives as the structured one, so there is one reading of them, and a dead letter of
//! any of them can come in again.

use super::Part;
use compiler::spec::Map;
use language::expr::{Expr, Roots};
use language::spanned::Spanned;
use serde_json::{Value, json};
use stages::contract::CloudEvents;
use std::sync::LazyLock;

/// The attribute that no other message has.
const VERSION: &str = "specversion";

/// The attributes that every CloudEvent has.
const REQUIRED: [&str; 4] = [VERSION, "id", "source", "type"];

/// Where the specification has them; `priority`, `correlationid` and `parentid` are extensions, of
/// which the first may mean something else to its sender.
static PARTS: LazyLock<Map> = LazyLock::new(|| {
    let part = |text: &str| {
        let parsed = Expr::parse(text, Roots::MAP).ok();
        Some(Spanned::new(parsed.expect("it is an expression"), 0..0))
    };
    let level = "lower(data.priority ?? '') in ['low', 'normal', 'high', 'critical'] \
                 ? data.priority : null";
    Map {
        id: part("data.id"),
        kind: part("data.type"),
        source: part("data.source"),
        subject: part("data.subject"),
        time: part("data.time"),
        data: part("data.data"),
        priority: part(level),
        correlation_id: part("data.correlationid"),
        parent_id: part("data.parentid"),
        ..Map::default()
    }
});

/// Whether a message is one.
pub(super) fn is_one(which: CloudEvents, map: &Map, message: &Value) -> bool {
    match which {
        CloudEvents::Never => false,
        CloudEvents::Some => map.each.is_none() && message.get(VERSION).is_some(),
        CloudEvents::All => map.each.is_none(),
    }
}

/// What is wrong with its attributes: the name, and the message.
pub(super) fn complaints(message: &Value) -> Vec<(&'static str, String)> {
    let missing = REQUIRED.into_iter().filter(|it| {
        let given = message.get(it).and_then(Value::as_str);
        given.is_none_or(str::is_empty)
    });
    let mut found: Vec<(&str, String)> = missing
        .map(|missing| (missing, format!("a CloudEvent needs the attribute `{missing}`, a text")))
        .collect();
    let version = message.get(VERSION).and_then(Value::as_str).unwrap_or_default();
    if !version.is_empty() && version != "1.0" {
        found.push((VERSION, "must be \"1.0\"".to_owned()));
    }
    found
}

/// Where the parts of an event are: as the map of the file says, else as the specification does.
pub(super) struct Parts<'a> {
    pub(super) id: Part<'a>,
    pub(super) kind: Part<'a>,
    pub(super) source: Part<'a>,
    pub(super) subject: Part<'a>,
    pub(super) time: Part<'a>,
    pub(super) data: Part<'a>,
    pub(super) priority: Part<'a>,
    pub(super) correlation_id: Part<'a>,
    pub(super) parent_id: Part<'a>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(map: &'a Map, is_cloud_event: bool) -> Self {
        let own = Parts::from(map);
        if !is_cloud_event {
            return own;
        }
        let standard = Parts::from(&*PARTS);
        Parts {
            id: own.id.or(standard.id),
            kind: own.kind.or(standard.kind),
            source: own.source.or(standard.source),
            subject: own.subject.or(standard.subject),
            time: own.time.or(standard.time),
            data: own.data.or(standard.data),
            priority: own.priority.or(standard.priority),
            correlation_id: own.correlation_id.or(standard.correlation_id),
            parent_id: own.parent_id.or(standard.parent_id),
        }
    }
}

impl<'a> From<&'a Map> for Parts<'a> {
    fn from(map: &'a Map) -> Self {
        Parts {
            id: map.id.as_ref(),
            kind: map.kind.as_ref(),
            source: map.source.as_ref(),
            subject: map.subject.as_ref(),
            time: map.time.as_ref(),
            data: map.data.as_ref(),
            priority: map.priority.as_ref(),
            correlation_id: map.correlation_id.as_ref(),
            parent_id: map.parent_id.as_ref(),
        }
    }
}

/// The payload of one that has bytes instead of JSON.
pub(super) fn binary_data(message: &Value) -> Option<Value> {
    let bytes = message.get("data_base64").filter(|it| it.is_string())?;
    Some(json!({ "data_base64": bytes }))
}
