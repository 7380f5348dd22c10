//! What becomes of messages that find the queue full.

use crate::retry::{Machine, arrival, dark};
use std::sync::{Arc, Mutex};

/// Five messages at the same time, where one may wait; how many were answered, how many were
/// stored, and how many were counted as shed.
fn run(overflow: &str, is_answered: bool) -> (usize, usize, u64) {
    let pipeline = format!(
        r#"
pipeline overflow schema-version=1
limits {{ queue 1; {overflow} }}
source http front {{ path "/events"; map {{ id "data.id" }} }}
sink sqlite db {{ path "never.db"; retention {{ keep "1d" }} }}
"#
    );
    let machine = Machine::new(&pipeline, Arc::new(|_, _| dark()));
    let engine = machine.engine.clone();
    let answered = Arc::new(Mutex::new(0));
    for number in 0..5 {
        let (feeder, answered) = (engine.clone(), answered.clone());
        engine.spawn(async move {
            let remember = vec![("place".to_owned(), number.to_string())];
            let batch = vec![arrival(number)];
            let result = feeder.ingest("front", batch, remember, !is_answered).await;
            *answered.lock().expect("no test panics") += usize::from(result.is_ok());
        });
    }
    let stored = machine.run().len();
    let answered = *answered.lock().expect("no test panics");
    (answered, stored, engine.metrics.of(engine::metrics::EventCounter::Shed))
}

#[test]
fn a_full_queue_refuses_waits_or_lets_go() {
    assert_eq!(run("", true), (1, 1, 4));
    assert_eq!(run("overflow reject", false), (1, 1, 4), "they are offered again by the source");
    assert_eq!(run("overflow block", true), (5, 5, 0));
    assert_eq!(run("overflow drop-newest", true), (1, 1, 4));
    assert_eq!(run("overflow drop-newest", false), (5, 1, 4), "nobody waits for an answer");
}
