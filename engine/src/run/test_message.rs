//! One marked message through a notifier, to see whether it arrives.
//!
//! *Never:* it is an event: nothing of it is stored, counted or tried again, and it spends neither
//! the rate of its notifier nor an attempt.

use super::Target;
use super::deliver::guarded;
use kernel::env::Clock;
use kernel::event::{Body, DataAt, Envelope, Globals, Priority};
use kernel::fault::Fault;
use kernel::time::Timestamp;
use serde_json::{Value, json};
use stages::contract::{Notice, Outgoing};
use std::sync::Arc;
use store::StoredEvent;

/// Sends it; what came of it, for programs: `notifier`, `delivered`, `micros`, and the `class` and
/// `reason` of a fault, which is what the service answered or why it was not reached.
///
/// # Panics
///
/// When the target is a sink.
pub async fn send_test_message(
    target: &Target,
    pipeline: &str,
    globals: Arc<Globals>,
    clock: &dyn Clock,
) -> Value {
    let began = clock.monotonic();
    let sent = attempt(target, pipeline, globals, clock).await;
    let took = clock.monotonic() - began;
    let fault = sent.as_ref().err();
    json!({
        "notifier": &*target.name,
        "delivered": fault.is_none(),
        "class": fault.map(|fault| fault.class.word()),
        "reason": fault.map(|fault| fault.reason.as_str()),
        "micros": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    })
}

async fn attempt(
    target: &Target,
    pipeline: &str,
    globals: Arc<Globals>,
    clock: &dyn Clock,
) -> Result<(), Fault> {
    let (name, now) = (&target.name, clock.wall());
    let key = format!("test-{}/{name}", now.0);
    let stored = Arc::new(stand_in(format!("test-{}", now.0).into(), now));
    let notice = Notice {
        outgoing: Outgoing::new(stored, globals, key, target.policy.timeout),
        title: format!("Test message from {pipeline}"),
        message: format!("This tests the notifier \"{name}\". Nothing has happened."),
        update: None,
    };
    let sent = target.notify(&notice).expect("only a notifier is tested");
    guarded(clock, target, sent).await.and_then(|result| result)
}

/// What stands for the event that the message is about, for settings that read one.
fn stand_in(id: Arc<str>, now: Timestamp) -> StoredEvent {
    StoredEvent {
        pos: 0,
        seq: 0,
        generation: 0,
        envelope: Envelope {
            id,
            kind: "engine.test".into(),
            source: "engine".into(),
            subject: "test".into(),
            time: now,
            received: now,
            priority: Priority::Normal,
            correlation_id: None,
            parent_id: None,
        },
        body: Body { bytes: Arc::from(&b"{}"[..]), data: DataAt::Slice(0..2) },
        enrich: "{}".into(),
        stages: Arc::new([]),
        targets: Arc::new([]),
    }
}
