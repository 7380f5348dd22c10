//! Retries on a virtual clock: who waits for another try holds nobody else up.

use crate::support::world::settings;
use crate::support::{Bare, checked};
use engine::engine::{Engine, Outbox, ReceivedMessage};
use engine::run::{self, GenerationTag, OpenContext};
use engine::simulate::Simulation;
use kernel::env::{Clock, Pending};
use kernel::event::Outcome;
use kernel::fault::{Cause, Fault};
use kernel::time::Timestamp;
use stages::contract::Programs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{self, CommitObserver, RetentionPolicy, StoredEvent};
use wire::{Fetch, FetchRequest, FetchResponse};

/// Events of one run.
const EVENTS: usize = 1000;
/// Time between two of them.
const PACE: Duration = Duration::from_millis(10);
/// How long one call of the outside takes.
const CALL: Duration = Duration::from_millis(20);

/// What the outside says to a request, at a time.
pub(crate) type Answers =
    dyn Fn(&FetchRequest, Duration) -> Result<FetchResponse, Fault> + Send + Sync;

/// Answers after [`CALL`].
struct Outside {
    clock: Arc<dyn Clock>,
    answers: Arc<Answers>,
}

impl Fetch for Outside {
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>> {
        let answer = (self.answers)(&request, self.clock.monotonic());
        let called = self.clock.sleep(CALL);
        Box::pin(async move {
            called.await;
            answer
        })
    }
}

/// A good answer.
pub(crate) fn dark() -> Result<FetchResponse, Fault> {
    let body = br#"{"dark":true}"#.to_vec();
    Ok(FetchResponse { status: 200, headers: Vec::new(), body })
}

/// When each event was stored, and how, by its id.
pub(crate) type Ends = BTreeMap<String, (Duration, Arc<StoredEvent>)>;

/// Notes the end of each event.
#[derive(Clone)]
struct Seen {
    clock: Arc<dyn Clock>,
    stored: Arc<Mutex<Ends>>,
}

impl CommitObserver for Seen {
    fn committed(&mut self, batch: &[Arc<StoredEvent>]) {
        let now = self.clock.monotonic();
        let mut stored = self.stored.lock().expect("no test panics");
        for it in batch {
            stored.insert(it.envelope.id.to_string(), (now, it.clone()));
        }
    }

    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

const PIPELINE: &str = r#"
pipeline retry schema-version=1
source http front {
    path "/events"
    map { id "data.id" }
}
enrich http weather {
    get "http://127.0.0.1:1/{{ event.id }}"
    retry 3 { backoff constant base="500ms" jitter=none }
    concurrency 8
}
enrich set told { needs weather; set "told" "{{ enrich.weather.dark }}" }
sink sqlite db { path "never.db"; retention { keep "1d" } }
"#;

/// Runs the events with these failing once; when each was stored, and how.
fn run(fails: &BTreeSet<String>) -> Ends {
    let (fails, failed) = (fails.clone(), Mutex::new(BTreeSet::new()));
    let answers = move |request: &FetchRequest, _: Duration| {
        let id = request.url.rsplit('/').next().expect("a path").to_owned();
        if failed.lock().expect("no call panics").insert(id.clone()) && fails.contains(&id) {
            return Err(Fault::transient(Cause::Status(503), "busy"));
        }
        dark()
    };
    let ends = run_pipeline(PIPELINE, EVENTS, PACE, Arc::new(answers));
    assert_eq!(ends.len(), EVENTS, "none is lost");
    ends
}

/// Sends `count` events `{"id":"e-0","type":"ring","number":0}` to the source `front` of a
/// pipeline, one each `pace`, and waits until nothing is left to do.
pub(crate) fn run_pipeline(
    pipeline: &str,
    count: usize,
    pace: Duration,
    answers: Arc<Answers>,
) -> Ends {
    let machine = Machine::new(pipeline, answers);
    let (feeder, clock) = (machine.engine.clone(), machine.engine.env.clock.clone());
    machine.engine.spawn(async move {
        for number in 0..count {
            feeder
                .ingest("front", vec![arrival(number)], Vec::new(), false)
                .await
                .expect("it is taken");
            clock.sleep(pace).await;
        }
    });
    machine.run()
}

/// The event of this number.
pub(crate) fn arrival(number: usize) -> ReceivedMessage {
    let body = format!(r#"{{"id":"e-{number}","type":"ring","number":{number}}}"#);
    let bytes = body.into_bytes().into();
    ReceivedMessage { bytes, ..ReceivedMessage::default() }
}

/// An engine on the virtual clock, its store in memory.
pub(crate) struct Machine {
    /// The engine.
    pub(crate) engine: Arc<Engine>,
    simulation: Simulation,
    seen: Seen,
}

impl Machine {
    /// Runs what the text says; `answers` is the outside.
    pub(crate) fn new(pipeline: &str, answers: Arc<Answers>) -> Machine {
        let simulation = Simulation::new(Timestamp(1_767_225_600_000_000), 7);
        let env = simulation.env.clone();
        let loaded = checked(Path::new("retry.kdl"), "retry.kdl", pipeline.as_bytes(), &Bare);
        let plan = loaded.plan.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let outside = Outside { clock: env.clock.clone(), answers };
        let context = OpenContext {
            env: env.clone(),
            environment: Arc::new(Bare),
            fetch: Arc::new(outside),
            demo: None,
            programs: Programs::Refused,
            outside: None,
        };
        let seen = Seen { clock: env.clock.clone(), stored: Arc::default() };
        let opened = store::open(
            settings(),
            RetentionPolicy::default(),
            env.clone(),
            Box::new(seen.clone()),
        );
        let (store, writer) = opened.expect("a store in memory opens");
        let executor = simulation.executor.clone();
        executor.spawn(writer.run_as_task()).detach();
        let tag = GenerationTag { number: 1, hash: String::new() };
        let opened = smol::block_on(run::open(plan, tag, &context, None));
        let generation = Arc::new(opened.expect("nothing to open fails").generation);
        let (remembering, remember) = (store.clone(), generation.remember());
        executor.spawn(async move { remembering.submit(vec![remember]).await }).detach();
        let engine =
            Engine::new(env.clone(), store, executor, Arc::new(Outbox::default()), generation);
        Machine { engine, simulation, seen }
    }

    /// Until nothing is left to do; what was stored.
    pub(crate) fn run(self) -> Ends {
        let is_over = self.simulation.run_until(|| self.engine.running() == 0);
        assert!(is_over, "someone waits for what never comes");
        self.seen.stored.lock().expect("no test panics").clone()
    }
}

#[test]
fn what_waits_for_another_try_holds_nobody_else_up() {
    let mut random = fastrand::Rng::with_seed(5);
    let failing: BTreeSet<String> =
        (0..EVENTS).filter(|_| random.f64() < 0.05).map(|it| format!("e-{it}")).collect();
    assert!((20..100).contains(&failing.len()), "about one in twenty fails");
    let (calm, busy) = (run(&BTreeSet::new()), run(&failing));
    for (id, (time, stored)) in &busy {
        let weather =
            stored.stages.iter().find(|stage| &*stage.stage == "weather").expect("it ran");
        let told = stored.stages.iter().find(|stage| &*stage.stage == "told").expect("it ran");
        assert_eq!((weather.outcome, told.outcome), (Outcome::Ok, Outcome::Ok), "{id}");
        assert_eq!(&*stored.enrich, r#"{"told":true,"weather":{"dark":true}}"#, "{id}");
        if failing.contains(id) {
            assert_eq!(weather.attempts, 2, "{id}");
            assert_eq!(*time, calm[id].0 + CALL + Duration::from_millis(500), "{id}");
        } else {
            assert_eq!(*time, calm[id].0, "{id} is stored when it would be without failures");
        }
    }
}
