//! What one message tells of: the event that leads it, and others that waited with it.

use kernel::event::{Event, Globals};
use kernel::time::Timestamp;
use language::expr::{Scope, Template};
use serde_json::{Value, json};
use stages::contract::event_of;
use std::sync::Arc;
use store::StoredEvent;

/// Events beside the first one that are read for a message.
pub const EVENTS_MAX: usize = 49;
/// Bytes of all of them together; the first one is always there.
const BYTES_MAX: usize = 128 << 10;
/// Bytes of a line of `group.text`.
const LINE_MAX: usize = 200;
/// Lines of `group.text`.
const LINES_MAX: usize = 20;

/// The events that a message tells of beside the one that leads it.
#[derive(Debug, Default)]
pub struct MessageGroup {
    /// How many there are; not all of them are read.
    pub parts: u64,
    /// Whether they were gathered for a digest.
    pub is_digest: bool,
    /// The first ones, in the order of their numbers.
    pub events: Vec<StoredEvent>,
}

impl MessageGroup {
    /// Whether the message has the texts of a digest.
    pub fn has_digest_texts(&self) -> bool {
        self.is_digest && 0 < self.parts
    }

    /// What templates read as `group`; `title` is that of a single event.
    pub fn scope(&self, lead: &Event, title: &Template, now: Timestamp) -> Value {
        let globals = &lead.globals;
        let mut left = BYTES_MAX;
        let others = self.events.iter().take_while(|event| {
            let fits = event.size() <= left;
            left = left.saturating_sub(event.size());
            fits
        });
        let others: Vec<Event> =
            others.filter_map(|it| event_of(it, Arc::<Globals>::clone(globals))).collect();
        let all: Vec<&Event> = std::iter::once(lead).chain(&others).collect();
        let titles: Vec<String> = all.iter().map(|it| line_of(it, title, now)).collect();
        let count = self.parts + 1;
        json!({
            "count": count,
            "events": all.iter().map(|it| shown(it)).collect::<Vec<_>>(),
            "titles": titles,
            "more": count - all.len() as u64,
            "text": text(&titles, count),
        })
    }
}

/// An event as an item of `group.events`.
fn shown(event: &Event) -> Value {
    let envelope = &event.envelope;
    json!({
        "id": &*envelope.id,
        "type": &*envelope.kind,
        "source": &*envelope.source,
        "subject": &*envelope.subject,
        "time": envelope.time.to_string(),
        "priority": envelope.priority.word(),
        "data": &*event.data,
        "enrich": event.enrich.to_value(),
    })
}

/// The title that a message about this event alone would have.
fn line_of(event: &Event, title: &Template, now: Timestamp) -> String {
    let alone =
        json!({ "count": 1, "events": [shown(event)], "titles": [], "more": 0, "text": "" });
    let text = title.render(&Scope { group: Some(&alone), ..Scope::of(event, now) });
    let mut text = text.replace(['\n', '\r'], " ");
    if LINE_MAX < text.len() {
        let mut end = LINE_MAX - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A line for each, up to a limit.
fn text(titles: &[String], count: u64) -> String {
    let mut lines: Vec<String> = titles.iter().take(LINES_MAX).cloned().collect();
    let more = count - lines.len() as u64;
    if 0 < more {
        lines.push(format!("… and {more} more"));
    }
    lines.join("\n")
}
