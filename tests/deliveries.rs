//! Deliveries to a target that is down for a while, on the virtual clock.

use crate::retry::{Answers, Machine, arrival, dark};
use engine::run::deliver::DeliveryWorker;
use kernel::fault::{Cause, Fault};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::FetchRequest;

const PIPELINE: &str = r#"
pipeline deliveries schema-version=1
source http front { path "/events"; map { id "data.id" } }
sink sqlite db { path "never.db"; retention { keep "1d" } }
notify webhook hook {
    url "http://127.0.0.1:1/"
    body "{{ event.id }}"
    concurrency 8
    retry { backoff exponential base="200ms" max="30s" }
}
"#;

const FAMILY: &str = r#"
pipeline deliveries schema-version=1
source http front { path "/events"; map { id "data.id" } }
sink sqlite db { path "never.db"; retention { keep "1d" } }
notify ntfy family {
    url "http://127.0.0.1:1/"
    topic eva max
    title "{{ event.id }}"
    message "rings"
    cooldown "1m" key="event.id"
    retry { backoff exponential base="200ms" max="30s" }
}
"#;

/// When each call was made, and for which event.
type Calls = Vec<(Duration, String)>;

/// Delivers `count` events while `answer` says what becomes of each call; all calls in order.
fn run(count: usize, fails: impl Fn(&str, Duration) -> bool + Send + Sync + 'static) -> Calls {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let answers = move |request: &FetchRequest, now: Duration| {
        let id = String::from_utf8(request.body.clone().unwrap_or_default()).expect("it is text");
        let has_failed = fails(&id, now);
        noted.lock().expect("no call panics").push((now, id));
        match has_failed {
            true => Err(Fault::transient(Cause::Status(503), "down")),
            false => dark(),
        }
    };
    deliver(PIPELINE, Arc::new(answers), count);
    Arc::into_inner(calls).expect("all calls have ended").into_inner().expect("no call panics")
}

/// Delivers `count` events to all targets of a pipeline.
fn deliver(text: &str, answers: Arc<Answers>, count: usize) {
    let machine = Machine::new(text, answers);
    let engine = machine.engine.clone();
    machine.engine.spawn(async move {
        for number in 0..count {
            let taken = engine.ingest("front", vec![arrival(number)], Vec::new(), false).await;
            taken.expect("it is taken");
        }
        for target in engine.generation().targets.values().cloned() {
            let worker = DeliveryWorker::new(engine.clone(), target);
            let stopped = engine.clone();
            engine.spawn(async move { worker.run_until(stopped.when_stopped()).await });
        }
        while 0 < engine.store.figures().outbox_rows.load(Ordering::Relaxed) {
            engine.env.clock.sleep(Duration::from_secs(1)).await;
        }
        engine.stop();
    });
    machine.run();
}

#[test]
fn each_recipient_has_deliveries_of_its_own() {
    let calls = Arc::new(Mutex::new(BTreeMap::<String, Vec<String>>::new()));
    let noted = calls.clone();
    let back = Duration::from_secs(600);
    let answers = move |request: &FetchRequest, now: Duration| {
        let body = request.body.as_deref().unwrap_or_default();
        let body: serde_json::Value = serde_json::from_slice(body).expect("it is JSON");
        let key =
            request.headers.iter().find(|header| header.0 == "Idempotency-Key").expect("a key");
        if body["topic"] == "max" && now < back {
            return Err(Fault::transient(Cause::Status(503), "down"));
        }
        let mut calls = noted.lock().expect("no call panics");
        let topic = body["topic"].as_str().expect("a topic").to_owned();
        calls.entry(topic).or_default().push(key.1.clone());
        dark()
    };
    deliver(FAMILY, Arc::new(answers), 20);
    let mut calls = calls.lock().expect("no call panics").clone();
    let mut keys = |topic: &str| {
        let mut keys = calls.remove(topic).expect("some");
        keys.sort();
        keys
    };
    let expected = |target: &str| {
        let mut keys: Vec<String> = (0..20).map(|it| format!("e-{it}/{target}")).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys("eva"), expected("family"), "nobody is told twice because another is down");
    assert_eq!(keys("max"), expected("family.2"));
}

#[test]
fn a_target_that_is_down_is_asked_now_and_then_and_gets_everything_when_it_is_back() {
    let back = Duration::from_secs(600);
    let calls = run(1000, move |_, now| now < back);
    let (down, up): (Calls, Calls) = calls.into_iter().partition(|it| it.0 < back);
    assert!(down.len() < 120, "{} calls in ten minutes", down.len());
    assert_eq!(up.len(), 1000, "each once");
    let end = up.last().expect("there are some").0;
    assert!(end < back + Duration::from_secs(60), "all are delivered at {end:?}");
    let touched: BTreeMap<&String, usize> = down.iter().fold(BTreeMap::new(), |mut all, it| {
        *all.entry(&it.1).or_default() += 1;
        all
    });
    assert!(touched.len() < 15, "the others wait untouched: {touched:?}");
}

#[test]
fn one_event_that_cannot_be_taken_holds_nobody_up() {
    let end = Duration::from_secs(3600);
    let calls = run(200, move |id, now| id == "e-7" && now < end);
    let good: Calls = calls.iter().filter(|it| it.1 != "e-7").cloned().collect();
    assert_eq!(good.len(), 199);
    let last = good.last().expect("there are some").0;
    assert!(last < Duration::from_secs(30), "the others are delivered at {last:?}");
    let tries = calls.len() - good.len();
    assert!((50..1000).contains(&tries), "it is tried {tries} times in an hour");
}

#[test]
fn a_target_that_fails_now_and_then_still_gets_everything() {
    for seed in 0..5 {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let calls = run(500, move |_, _| random.lock().expect("no call panics").u8(..10) == 0);
        let ids: std::collections::BTreeSet<&String> = calls.iter().map(|it| &it.1).collect();
        assert_eq!(ids.len(), 500, "seed {seed}");
        let end = calls.last().expect("there are some").0;
        assert!(end < Duration::from_secs(120), "seed {seed}: all are delivered at {end:?}");
    }
}
