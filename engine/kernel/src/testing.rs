//! A small world for the tests of every crate: an event, a clock that stands still, and a
//! connection in memory.

mod connection;

pub use connection::{ClientEnd, ServerEnd, connection};

use crate::additions::Additions;
use crate::env::{Clock, Pending};
use crate::event::{Body, DataAt, Envelope, Event, Globals, Priority};
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time that moves only when someone sleeps.
#[derive(Debug, Default)]
pub struct StillClock {
    passed: Mutex<Duration>,
}

impl StillClock {
    /// Lets time pass.
    pub fn pass(&self, duration: Duration) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) += duration;
    }
}

impl Clock for StillClock {
    fn monotonic(&self) -> Duration {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall(&self) -> Timestamp {
        let start = Timestamp::parse("2026-01-01T10:00:00Z").expect("it is a time");
        start.plus(self.monotonic())
    }

    fn sleep(&self, duration: Duration) -> Pending<'static, ()> {
        self.pass(duration);
        Box::pin(smol::future::yield_now())
    }
}

/// What expressions read besides an event.
pub fn globals() -> Arc<Globals> {
    Arc::new(Globals {
        zone: None,
        lifecycle: None,
        page: Some("http://127.0.0.1:8600".to_owned()),
        param: json!({ "limit": 3 }),
        server: json!({ "public_url": "http://127.0.0.1:8600" }),
        pipeline: json!({ "name": "door", "labels": { "site": "home" } }),
    })
}

/// An event with this payload, five seconds old.
pub fn event(data: Value) -> Event {
    let text = data.to_string();
    let time = Timestamp::parse("2026-01-01T09:59:55Z").expect("it is a time");
    Event {
        seq: 41,
        generation: 3,
        envelope: Envelope {
            id: "e-1".into(),
            kind: "door.bell".into(),
            source: "gate".into(),
            subject: "front".into(),
            time,
            received: time.plus(Duration::from_secs(1)),
            priority: Priority::High,
            correlation_id: Some("c-1".into()),
            parent_id: None,
        },
        body: Body { bytes: text.clone().into_bytes().into(), data: DataAt::Slice(0..text.len()) },
        data: Arc::new(data),
        raw: None,
        enrich: Additions::default(),
        globals: globals(),
    }
}
