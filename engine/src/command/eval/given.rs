//! The event that an expression is tried on: as the engine shows it, or only its `data`.

use kernel::decode::{self, Unreadable};
use kernel::event::{Body, DataAt, Envelope, Event, Priority};
use kernel::time::Timestamp;
use language::expr::Scope;
use serde_json::{Map, Value};
use std::io::Read;
use std::sync::Arc;

/// The most that is read, in bytes.
const SIZE_MAX: u64 = 10 << 20;

/// What an event has where the engine shows one.
const MEMBERS: &[&str] = &[
    "seq",
    "pos",
    "id",
    "type",
    "source",
    "subject",
    "time",
    "received",
    "priority",
    "correlation_id",
    "parent_id",
    "pipeline",
    "generation",
    "data",
    "enrich",
    "stages",
    "deliveries",
];

/// What was given to try an expression on. Nothing of what is missing reads as anything.
#[derive(Debug, Default)]
pub(in crate::command) struct EvalInput {
    event: Option<Event>,
    /// Without an event: its `data`, which is the whole message then.
    data: Option<Value>,
    pipeline: Option<Value>,
}

impl EvalInput {
    pub(in crate::command) fn scope(&self, now: Timestamp) -> Scope<'_> {
        let scope = match &self.event {
            Some(event) => Scope::of(event, now),
            None => Scope {
                data: self.data.as_ref(),
                raw: self.data.as_ref(),
                ..Scope::without_pipeline(now)
            },
        };
        Scope { pipeline: self.pipeline.as_ref(), ..scope }
    }
}

/// Reads the argument of `--event`. The error says what is wrong with it.
pub(super) fn read(argument: &str, now: Timestamp) -> Result<EvalInput, String> {
    let bytes = match argument.strip_prefix('@') {
        None => argument.as_bytes().to_vec(),
        Some("-") => all(std::io::stdin().lock(), "standard input")?,
        Some(path) => {
            let file = std::fs::File::open(path);
            all(file.map_err(|fault| format!("cannot read {path}: {fault}"))?, path)?
        }
    };
    let value = decode::parse(&bytes).map_err(|fault| match fault {
        Unreadable::NotJson(reason) => format!("the event is not JSON: {reason}"),
        Unreadable::Refused(reason) => format!("the event cannot be read: {reason}"),
    })?;
    match value {
        Value::Object(members) if is_event(&members) => event(members, now),
        data => Ok(EvalInput { data: Some(data), ..EvalInput::default() }),
    }
}

fn all(from: impl Read, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = from.take(SIZE_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|fault| format!("cannot read {name}: {fault}"))?;
    if SIZE_MAX < bytes.len() as u64 {
        return Err(format!("{name} is larger than {} MiB", SIZE_MAX >> 20));
    }
    Ok(bytes)
}

/// A message may have a `data` of its own; an event has nothing but an event's members.
fn is_event(members: &Map<String, Value>) -> bool {
    members.contains_key("data") && members.keys().all(|key| MEMBERS.contains(&key.as_str()))
}

/// An event as the engine shows it; the error says which member is wrong. What the JSON leaves out
/// is as in an event that brought nothing: texts are empty, the times are now.
pub(in crate::command) fn event(
    mut members: Map<String, Value>,
    now: Timestamp,
) -> Result<EvalInput, String> {
    let data = members.remove("data").unwrap_or_default();
    let enrich = match members.remove("enrich") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(enrich)) => enrich,
        Some(_) => return Err("`enrich` of the event must be an object".to_owned()),
    };
    let members = Members(members);
    let or_empty = |text: Option<Arc<str>>| text.unwrap_or_else(|| "".into());
    let text: Arc<str> = data.to_string().into();
    let event = Event {
        seq: members.number("seq")?,
        generation: members.number("generation")?,
        envelope: Envelope {
            id: or_empty(members.text("id")?),
            kind: or_empty(members.text("type")?),
            source: or_empty(members.text("source")?),
            subject: or_empty(members.text("subject")?),
            time: members.time("time")?.unwrap_or(now),
            received: members.time("received")?.unwrap_or(now),
            priority: members.priority()?,
            correlation_id: members.text("correlation_id")?,
            parent_id: members.text("parent_id")?,
        },
        body: Body { bytes: text.as_bytes().into(), data: DataAt::Own(text) },
        data: Arc::new(data),
        raw: None,
        enrich: enrich.into(),
        globals: Arc::default(),
    };
    let name = members.text("pipeline")?;
    let pipeline = name.map(|name| serde_json::json!({ "name": &*name }));
    Ok(EvalInput { event: Some(event), data: None, pipeline })
}

/// The members of an event, which may be missing or null but not of another type.
struct Members(Map<String, Value>);

impl Members {
    fn some(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|it| !it.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<Arc<str>>, String> {
        match self.some(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str().into())),
            Some(_) => Err(format!("`{name}` of the event must be text")),
        }
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        let wrong = || format!("`{name}` of the event must be a whole number");
        self.some(name).map_or(Ok(0), |it| it.as_u64().ok_or_else(wrong))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let wrong = || format!("`{name}` of the event must be a time such as 2026-01-01T09:50:04Z");
        Timestamp::parse(&text).map(Some).ok_or_else(wrong)
    }

    fn priority(&self) -> Result<Priority, String> {
        let Some(word) = self.text("priority")? else { return Ok(Priority::default()) };
        Priority::parse(&word).ok_or_else(|| {
            let words = Priority::ALL.map(Priority::word).join(", ");
            format!("`priority` of the event must be one of {words}")
        })
    }
}
