//! Bytes to the message that `map` reads: JSON, what a source has decoded, or the fields of a line.

use super::{IncomingMessage, Intake, Rejection};
use compiler::plan::{Plan, SourcePlan, Violation};
use kernel::additions::Additions;
use kernel::decode::{self, Unreadable};
use kernel::env::Random;
use kernel::event::{Body, DataAt, Envelope, Event};
use kernel::time::Timestamp;
use serde_json::{Value, json};
use stages::decode::{DecodeMoment, LineDecoder, OnMismatch};
use std::sync::Arc;

/// Who is named where a line is not what `decode` says, and where that is noted below `enrich`.
pub(super) const DECODE: &str = "decode";

/// A message that was read.
pub(super) struct ReadMessage {
    pub(super) value: Value,
    /// When it was written, where its line says so.
    pub(super) time: Option<Timestamp>,
    /// What is noted of a line that is not what `decode` says.
    pub(super) tag: Option<Value>,
}

/// Why there is no message.
pub(super) enum Unread {
    Refused(Rejection),
    /// The file drops such lines.
    Dropped,
}

/// Whether a message that was stopped by this name never came to the filters.
pub(crate) fn is_before_filters(name: &str) -> bool {
    matches!(name, "validate" | DECODE)
}

/// Reads a message; `decoded` stands for it when it is not JSON.
pub(super) fn read(
    plan: &Plan,
    source: &SourcePlan,
    bytes: &[u8],
    (decoded, received): (Option<&Value>, Timestamp),
) -> Result<ReadMessage, Unread> {
    let whole = |value| ReadMessage { value, time: None, tag: None };
    match (decoded, source.spec.decoder()) {
        (Some(Value::String(line)), Some(decoder)) => {
            let moment = DecodeMoment { received, globals: &plan.globals };
            decode_line(decoder, line, moment)
        }
        (Some(decoded), _) => Ok(whole(decoded.clone())),
        (None, _) => parse(bytes).map(whole).map_err(Unread::Refused),
    }
}

fn decode_line(
    decoder: &LineDecoder,
    line: &str,
    moment: DecodeMoment<'_>,
) -> Result<ReadMessage, Unread> {
    let reason = match decoder.decode(line, moment) {
        Ok(line) => return Ok(ReadMessage { value: line.fields, time: line.time, tag: None }),
        Err(reason) => reason,
    };
    match decoder.on_mismatch {
        OnMismatch::Drop => Err(Unread::Dropped),
        OnMismatch::Tag => {
            let tag = Some(json!({ "reason": reason, "line": line }));
            Ok(ReadMessage { value: decoder.blank(), time: None, tag })
        }
        OnMismatch::DeadLetter => {
            let (instance, schema) = (String::new(), DECODE.to_owned());
            let violations = vec![Violation { instance, schema, message: reason }];
            let detail = "the line cannot be decoded".to_owned();
            let refusal = Rejection::plain(422, detail, true);
            Err(Unread::Refused(Rejection { violations, stage: DECODE.into(), ..refusal }))
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Rejection> {
    decode::parse(bytes).map_err(|fault| match fault {
        Unreadable::NotJson(reason) => Rejection::plain(400, format!("not JSON: {reason}"), false),
        Unreadable::Refused(reason) => {
            let violation = Violation {
                instance: String::new(),
                schema: String::new(),
                message: reason.clone(),
            };
            let mut refusal = Rejection::plain(422, reason, true);
            refusal.violations.push(violation);
            refusal
        }
    })
}

/// A line that the file drops: as much of an event as there is.
pub(super) fn dropped(plan: &Plan, incoming: &IncomingMessage<'_>, random: &Random) -> Intake {
    let received = incoming.received;
    let envelope = Envelope {
        id: random.uuid(received).to_string().into(),
        kind: incoming.source.kind.clone().unwrap_or_else(|| "".into()),
        source: incoming.source.name.clone(),
        subject: "".into(),
        time: received,
        received,
        priority: plan.priority.default,
        correlation_id: None,
        parent_id: None,
    };
    let event = Event {
        seq: 0,
        generation: incoming.generation,
        envelope,
        body: Body { bytes: incoming.bytes.clone(), data: DataAt::Own("null".into()) },
        data: Arc::new(Value::Null),
        raw: None,
        enrich: Additions::default(),
        globals: plan.globals.clone(),
    };
    Intake::Discarded(Box::new(event), DECODE.into(), Vec::new())
}
