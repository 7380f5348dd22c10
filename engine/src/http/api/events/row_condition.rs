//! A `where`, asked of the rows of a store.

use kernel::additions::Additions;
use kernel::condition::Condition;
use kernel::decode::WantedParts;
use kernel::event::{Body, DataAt, Event, Globals};
use kernel::time::Timestamp;
use language::expr::{Expr, Root, Scope};
use serde_json::Value;
use std::sync::Arc;
use store::EventRow;

/// An expression with what it reads of an event. No more of a row is parsed.
///
/// *Invariant:* it holds where it holds for the whole event, and for nothing else.
pub(super) struct RowCondition {
    condition: Expr,
    globals: Arc<Globals>,
    now: Timestamp,
    data: WantedParts,
    enrich: WantedParts,
    raw: WantedParts,
    reads_envelope: bool,
}

impl RowCondition {
    pub(super) fn new(condition: Expr, globals: Arc<Globals>, now: Timestamp) -> Self {
        let [mut data, mut enrich, mut raw] = [const { WantedParts::NONE }; 3];
        let mut reads_envelope = false;
        for read in condition.reads() {
            match read.root {
                Root::Data => data.add(&read.path),
                Root::Enrich => enrich.add(&read.path),
                Root::Raw => raw.add(&read.path),
                Root::Event => reads_envelope = true,
                _ => {}
            }
        }
        if let Some(visit) =
            globals.lifecycle.clone().filter(|_| condition.reads_event("lifecycle"))
        {
            enrich.add(&[visit]);
        }
        RowCondition { condition, globals, now, data, enrich, raw, reads_envelope }
    }

    /// What of the condition the store can tell by itself; whether that is all of it.
    pub(super) fn stored(&self) -> (Condition, bool) {
        self.condition.condition(&Scope::at(self.now, &self.globals))
    }

    /// Whether it holds for the event of a row; `None` where the row cannot be read.
    pub(super) fn holds(&self, row: &mut EventRow<'_, '_>) -> Option<bool> {
        let data = parts(&self.data, || row.data())?;
        // A message need not be JSON.
        let message = || row.message().and_then(|it| std::str::from_utf8(it).ok());
        let raw = parts(&self.raw, message).unwrap_or_default();
        let enrich = match parts(&self.enrich, || row.enrich())? {
            Value::Object(map) => Additions::from(map),
            _ => Additions::default(),
        };
        let event = if self.reads_envelope { Some(self.event(row, &enrich)?) } else { None };
        let scope = Scope {
            event: event.as_ref(),
            data: Some(&data),
            raw: Some(&raw),
            enrich: Some(&enrich),
            ..Scope::at(self.now, &self.globals)
        };
        Some(self.condition.is_true(&scope))
    }

    /// What is read as `event.…`.
    fn event(&self, row: &mut EventRow<'_, '_>, enrich: &Additions) -> Option<Event> {
        Some(Event {
            seq: row.seq()?,
            generation: row.generation()?,
            envelope: row.envelope()?,
            body: Body { bytes: Arc::default(), data: DataAt::Alone(None) },
            data: Arc::default(),
            raw: None,
            enrich: enrich.clone(),
            globals: self.globals.clone(),
        })
    }
}

/// What is wanted of JSON text, which is not looked at where nothing is.
fn parts<'a>(wanted: &WantedParts, text: impl FnOnce() -> Option<&'a str>) -> Option<Value> {
    match wanted.is_none() {
        true => Some(Value::Null),
        false => wanted.parse(text()?),
    }
}
