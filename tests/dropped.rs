//! Futures that are dropped at any of their waits: what they hold comes back, and the engine
//! serves on.

use crate::support::world::{Behaviour, World};
use engine::engine::ReceivedMessage;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

const PIPELINE: &str = r#"
pipeline door schema-version=1
source http bell { path "/rings"; map { id "data.id" } }
enrich http weather { when "event.type == 'slow'"; get "http://weather/" }
sink sqlite db { path "x.db"; retention { keep "99d" } }
sink sse live { path "/live"; replay 2 }
notify webhook chat { url "http://chat/"; title "x"; concurrency 2 }
"#;

/// A future that is dropped when it has been polled so often.
struct DroppedAfter<F> {
    work: Option<Pin<Box<F>>>,
    polls: usize,
    has_ended: Arc<AtomicBool>,
}

impl<F: Future> Future for DroppedAfter<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polls == 0 {
            self.work = None;
        }
        self.polls = self.polls.saturating_sub(1);
        let Some(work) = &mut self.work else { return Poll::Ready(()) };
        if work.as_mut().poll(context).is_ready() {
            self.has_ended.store(true, Ordering::SeqCst);
            return Poll::Ready(());
        }
        // Polled again at once, so that it is dropped even where nothing wakes it.
        if self.polls == 0 {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder, PIPELINE, 1).expect("it starts");
    for number in 0..5 {
        let answer = world.post("bell", &format!("{{\"id\":\"first{number}\",\"type\":\"ring\"}}"));
        assert_eq!(answer, "accepted");
    }
    world
}

/// Drops what `make` gives after 0, 1, 2 … polls, until it ends by itself; each time the engine
/// must serve on.
fn drop_everywhere<F: Future + Send + 'static>(
    world: &World,
    make: impl Fn(&World, usize) -> F,
) -> usize {
    for polls in 0..1000 {
        let has_ended = Arc::new(AtomicBool::new(false));
        let work = Some(Box::pin(make(world, polls)));
        let dropped = DroppedAfter { work, polls, has_ended: has_ended.clone() };
        world.simulation.executor.spawn(dropped).detach();
        world.simulation.settle();
        serves_on(world, polls);
        if has_ended.load(Ordering::SeqCst) {
            return polls;
        }
    }
    panic!("it never ends");
}

/// Events are taken, queries answered, deliveries made and streams fed.
#[track_caller]
fn serves_on(world: &World, number: usize) {
    assert_eq!(world.engine.store.free_readers(), 2, "after {number} polls");
    let before = world.read(|reader| reader.pos_before_newest(0));
    let id = format!("probe-{}-{before}", world.journal.take().len());
    let answer = world.post("bell", &format!("{{\"id\":\"{id}\",\"type\":\"ring\"}}"));
    assert_eq!(answer, "accepted", "after {number} polls");
    world.connect("/live", Some(0), "client");
    world.simulation.settle();
    let happened = world.journal.take();
    let has = |text: &str| happened.iter().any(|line| line.contains(text));
    assert!(has(&format!("POST http://chat/ {id}/chat → 200")), "{happened:?}");
    assert!(has("client gets ring 1"), "{happened:?}");
}

#[test]
fn a_dropped_query_gives_its_connection_back() {
    let world = world();
    let polls = drop_everywhere(&world, |world, _| {
        let store = world.engine.store.clone();
        async move { store.read(|reader| reader.is_any_pending()).await }
    });
    assert!(0 < polls);
    drop_everywhere(&world, |world, _| {
        let store = world.engine.store.clone();
        async move { store.find("first1", vec!["bell".to_owned()]).await }
    });
    drop_everywhere(&world, |world, _| {
        let store = world.engine.store.clone();
        async move { store.tick().await }
    });
    world.close();
}

/// What was dropped before its answer is stored or not; sent again it is there once.
#[test]
fn a_dropped_message_is_stored_once_or_not_at_all() {
    for kind in ["ring", "slow"] {
        let world = world();
        let body = move |polls: usize| format!("{{\"id\":\"m{polls}\",\"type\":\"{kind}\"}}");
        let polls = drop_everywhere(&world, |world, polls| {
            let engine = world.engine.clone();
            let bytes = body(polls).into_bytes().into();
            let arrival = ReceivedMessage { bytes, ..ReceivedMessage::default() };
            async move { engine.ingest("bell", vec![arrival], Vec::new(), false).await }
        });
        for number in 0..=polls {
            let again = world.post("bell", &body(number));
            assert!(["accepted", "duplicate"].contains(&again.as_str()), "{again}");
        }
        world.simulation.advance(Duration::from_secs(60));
        let stored = world.stored.lock().expect("no panic");
        for number in 0..=polls {
            let id = format!("m{number}");
            let times = stored.iter().filter(|it| *it.envelope.id == *id).count();
            assert_eq!(times, 1, "{id} of {kind}");
        }
        drop(stored);
        world.close();
    }
}

/// Each reload drops the attempts under way; whatever they had come to, every delivery ends.
#[test]
fn dropped_deliveries_are_made_again() {
    let mut world = world();
    let other = PIPELINE.replace("http://chat/", "http://talk/");
    for (number, wait) in [0, 1, 50, 100, 101, 150].into_iter().enumerate() {
        world.outside.behave("talk", Behaviour::Status(200, Duration::from_millis(100)));
        world.reload(&other);
        for event in 0..3 {
            let body = format!("{{\"id\":\"d{number}-{event}\",\"type\":\"ring\"}}");
            assert_eq!(world.post("bell", &body), "accepted");
        }
        world.simulation.advance(Duration::from_millis(wait));
        world.reload(PIPELINE);
        world.simulation.advance(Duration::from_secs(1));
        serves_on(&world, number);
    }
    let pending = world.read(|reader| reader.is_any_pending());
    assert_eq!((pending, world.health_changes()), (false, Vec::<String>::new()));
    world.close();
}

/// Clients that leave while they catch up, or while they wait, hold nothing back.
#[test]
fn a_client_that_leaves_at_any_time_holds_nothing() {
    let world = world();
    for polls in 0..40 {
        let client = world.client("/live", Some(0), "leaver");
        let has_ended = Arc::default();
        let dropped = DroppedAfter { work: Some(Box::pin(client)), polls, has_ended };
        world.simulation.executor.spawn(dropped).detach();
        world.simulation.settle();
        serves_on(&world, polls);
    }
    world.close();
}

/// Whoever asks and leaves gives the reader back at once, whatever was asked.
#[test]
fn a_question_that_is_dropped_at_any_wait_holds_nothing() {
    let world = world();
    for path in [
        "/api/events?where=lower(event.id)=='x'&count=true",
        "/api/events/first1",
        "/api/stats",
        "/api/series?by=stage",
        "/api/notifications",
        "/api/dead-letters",
        "/api/storage",
        "/api/audit",
        "/api/retention",
        "/api/retention/first1",
    ] {
        let asked = format!("GET {path} HTTP/1.1");
        assert_eq!(world.request(&asked, "").0, 200, "{path}");
        let polls = drop_everywhere(&world, |world, _| world.requesting(&asked, ""));
        assert!(0 < polls, "{path} waits for the store");
    }
    world.close();
}

/// Who leaves while a notifier is tested ends the call, and nothing is told of it later.
#[test]
fn a_test_message_that_is_dropped_at_any_wait_leaves_nothing() {
    let world = world();
    world.outside.behave("chat", Behaviour::Status(200, Duration::from_millis(100)));
    for polls in 0..6 {
        world.simulation.advance(Duration::from_secs(60));
        world.journal.take();
        let asked = "POST /api/notifications/test HTTP/1.1";
        let work = world.requesting(asked, "{\"notifier\":\"chat\"}");
        let has_ended = Arc::default();
        let dropped = DroppedAfter { work: Some(Box::pin(work)), polls, has_ended };
        world.simulation.executor.spawn(dropped).detach();
        world.simulation.advance(Duration::from_secs(1));
        assert_eq!(world.engine.store.free_readers(), 2, "after {polls} polls");
        assert!(!world.read(|reader| reader.is_any_pending()), "after {polls} polls");
    }
    world.simulation.advance(Duration::from_secs(60));
    let (status, answer) =
        world.request("POST /api/notifications/test HTTP/1.1", "{\"notifier\":\"chat\"}");
    assert_eq!((status, &answer["delivered"]), (200, &true.into()), "{answer}");
    world.close();
}

/// Whoever orders a pause and leaves has ordered it or not: memory and store agree.
#[test]
fn an_order_to_pause_that_is_dropped_at_any_wait_is_carried_out_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let mail = "notify webhook mail { url \"http://mail/\" }";
    let world = World::start(folder, &format!("{PIPELINE}{mail}"), 1).expect("it starts");
    let polls = drop_everywhere(&world, |world, polls| {
        let resumed = world.request("POST /api/resume HTTP/1.1", "{\"name\":\"mail\"}");
        assert_eq!(resumed.0, 200, "{resumed:?}");
        let is_stored = world.read(|reader| {
            let states = reader.states(".pauses")?;
            Ok(states.iter().any(|(_, state)| state.contains("paused")))
        });
        assert!(!is_stored, "before {polls} polls");
        let (engine, order) = (world.engine.clone(), "{\"name\":\"mail\"}");
        let asking = world.requesting("POST /api/pause HTTP/1.1", order);
        async move {
            let answer = asking.await;
            assert!(engine.pauses().is_paused("mail"), "{answer:?}");
        }
    });
    assert!(0 < polls, "it waits for the commit");
    world.close();
}

/// What the engine cannot do without begins again; what ends by itself does not.
#[test]
fn what_panics_begins_again_after_a_moment() {
    let world = world();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    world.engine.keep_running("a test", move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { assert_eq!(number, 2, "the first two panic") }
    });
    for expected in [1, 2, 3, 3] {
        world.simulation.settle();
        assert_eq!(begun.load(Ordering::SeqCst), expected);
        serves_on(&world, expected);
        world.simulation.advance(Duration::from_secs(1));
    }
    world.close();
}
