//! Streams over a connection in memory, on a clock that is moved by hand.

use super::*;
use crate::http::service::Service;
use crate::http::testing::{ManualClock, Talk};
use kernel::event::{Body, DataAt, Envelope};
use kernel::health::{Health, PartRole};
use kernel::time::Timestamp;
use std::sync::Mutex;

/// A store of every event from 1 on, of which retention took some and some are damaged.
#[derive(Default)]
struct Shelf {
    events: Mutex<Vec<Arc<StoredEvent>>>,
    taken: Mutex<u64>,
    damaged: Mutex<Vec<u64>>,
}

impl Backlog for Shelf {
    fn chunk(&self, after_pos: u64, up_to: u64) -> Pending<'_, Result<BacklogChunk, String>> {
        let taken = self.taken_pos();
        let (events, damaged) = (self.events.lock().unwrap(), self.damaged.lock().unwrap());
        let is_there = |pos| after_pos.max(taken) < pos && pos <= up_to;
        let range =
            |stored: &&Arc<StoredEvent>| is_there(stored.pos) && !damaged.contains(&stored.pos);
        let events: Vec<_> = events.iter().filter(range).take(CHUNK).cloned().collect();
        let to = events.last().filter(|_| CHUNK <= events.len()).map_or(up_to, |event| event.pos);
        Box::pin(async move { Ok(BacklogChunk { events, to }) })
    }

    fn taken_pos(&self) -> u64 {
        *self.taken.lock().unwrap()
    }

    fn highest_pos(&self) -> u64 {
        self.events.lock().unwrap().last().map_or(0, |event| event.pos)
    }

    fn damaged(&self, after_pos: u64, up_to: u64) -> Vec<u64> {
        let damaged = self.damaged.lock().unwrap();
        damaged.iter().copied().filter(|it| after_pos < *it && *it <= up_to).collect()
    }
}

fn stored(pos: u64, kind: &str, target: &str) -> Arc<StoredEvent> {
    let envelope = Envelope {
        id: format!("id-{pos}").into(),
        kind: kind.into(),
        source: "door".into(),
        subject: "".into(),
        time: Timestamp(0),
        received: Timestamp(0),
        priority: Priority::High,
        correlation_id: None,
        parent_id: None,
    };
    let body = Body { bytes: Arc::from(&b"{}"[..]), data: DataAt::Slice(0..2) };
    Arc::new(StoredEvent {
        pos,
        seq: pos,
        generation: 1,
        envelope,
        body,
        enrich: "{}".into(),
        stages: [].into(),
        targets: Arc::from([Arc::from(target)]),
    })
}

struct Room {
    hub: Arc<Hub>,
    shelf: Arc<Shelf>,
    stream: Stream,
    clock: Arc<ManualClock>,
    health: Arc<Health>,
}

struct Open(Stream);

impl Service for Open {
    fn respond<'a>(&'a self, request: &'a mut Request<'_>) -> Pending<'a, Reply> {
        Box::pin(async move { self.0.open(request) })
    }
}

impl Room {
    /// A ring of three, and room for two clients.
    fn new() -> Self {
        let serialise: Serialise = Arc::new(|it| format!("{{\"pos\":\r\n{}}}", it.pos));
        let hub = Arc::new(Hub::new("live".into(), 3, 0, serialise));
        let (shelf, clock) = (Arc::new(Shelf::default()), ManualClock::new());
        let health = Health::new(clock.clone());
        let settings = StreamSettings { clients_max: 2, replay_max: 2, ..Default::default() };
        let stream = Stream {
            hub: hub.clone(),
            backlog: shelf.clone(),
            settings,
            clock: clock.clone(),
            globals: Arc::default(),
            turns: Arc::new(Semaphore::new(TURNS_MAX)),
            health: health.part(PartRole::Stream, "live"),
        };
        Room { hub, shelf, stream, clock, health }
    }

    fn store(&self, events: impl IntoIterator<Item = Arc<StoredEvent>>) {
        let events: Vec<_> = events.into_iter().collect();
        self.shelf.events.lock().unwrap().extend(events.iter().cloned());
        self.hub.publish(&events);
    }

    fn many(&self, positions: std::ops::RangeInclusive<u64>) {
        self.store(positions.map(|position| stored(position, "A", "live")));
    }

    fn connect(&self, target: &str, fields: &str) -> Talk {
        let talk = Talk::clocked(self.clock.clone(), Open(self.stream.clone()));
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        talk.send(head.as_bytes());
        talk
    }
}

/// The ids, gaps and comments in what a client received.
fn shown(talk: &Talk) -> String {
    let text = talk.received();
    let lines = text.lines().filter_map(|line| {
        let gap = line.strip_prefix("data: {\"from\"").map(|it| format!("gap{it}"));
        let id = line.strip_prefix("data: {\"pos\":  ").map(|it| it.replace('}', ""));
        let beat = line.starts_with(':').then(|| "beat".to_owned());
        gap.or(id).or(beat)
    });
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_new_client_gets_what_comes_next_as_frames() {
    let room = Room::new();
    room.many(1..=2);
    let talk = room.connect("/live", "");
    let head = talk.received();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\nd\r\nretry: 2000\n\n\r\n"), "{head}");
    room.many(3..=3);
    talk.settle();
    let frame = "id: 3\nevent: message\ndata: {\"pos\":  3}\n\n";
    assert_eq!(talk.received(), format!("{:x}\r\n{frame}\r\n", frame.len()));
    assert_eq!(room.hub.counters.sent.load(Ordering::Relaxed), 1);
}

#[test]
fn a_client_behind_the_ring_reads_the_store_first_and_misses_nothing() {
    let room = Room::new();
    room.many(1..=200);
    let talk = room.connect("/live", "Last-Event-ID: 2\r\n");
    let expected: Vec<_> = (3..=200).map(|number: u64| number.to_string()).collect();
    assert_eq!(shown(&talk), expected.join(" "));
    room.many(201..=201);
    talk.settle();
    assert_eq!(shown(&talk), "201");
}

#[test]
fn events_for_others_are_passed_over_in_ring_and_store() {
    let room = Room::new();
    let target = |pos: u64| if pos.is_multiple_of(2) { "live" } else { "file" };
    room.store((1..=20).map(|it| stored(it, "A", target(it))));
    let talk = room.connect("/live?last_event_id=9", "");
    assert_eq!(shown(&talk), "10 12 14 16 18 20");
}

#[test]
fn a_condition_lets_through_what_it_holds_for_and_a_wrong_one_says_where_it_is_wrong() {
    let room = Room::new();
    room.store((1..=6).map(|it| stored(it, if it % 3 == 0 { "B" } else { "A" }, "live")));
    let target = "/live?last_event_id=0&where=event.type%20==%20%27B%27";
    assert_eq!(shown(&room.connect(target, "")), "3 6");
    let refused = room.connect("/live?where=event.type%20==", "").received();
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(refused.contains("`where`, character"), "{refused}");
}

#[test]
fn what_comes_at_the_same_time_is_sent_together_where_there_is_a_pace() {
    let mut room = Room::new();
    room.stream.settings.pace = Duration::from_millis(250);
    let talk = room.connect("/live", "");
    talk.settle();
    talk.received();
    room.many(1..=1);
    talk.settle();
    room.many(2..=2);
    talk.settle();
    assert_eq!(shown(&talk), "", "it is gathered");
    room.clock.advance(Duration::from_millis(250));
    talk.settle();
    assert_eq!(shown(&talk), "1 2");
}

#[test]
fn what_retention_took_is_a_gap_and_the_rest_follows() {
    let room = Room::new();
    room.many(1..=10);
    *room.shelf.taken.lock().unwrap() = 5;
    let talk = room.connect("/live", "Last-Event-ID: 2\r\n");
    assert_eq!(shown(&talk), "gap:2,\"to\":5} 6 7 8 9 10");
    assert_eq!(room.hub.counters.gaps.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_damaged_is_a_gap_in_its_place() {
    let room = Room::new();
    room.many(1..=9);
    *room.shelf.damaged.lock().unwrap() = vec![2, 3, 5];
    let client = room.connect("/live", "Last-Event-ID: 0\r\n");
    assert_eq!(shown(&client), "1 gap:1,\"to\":2} gap:2,\"to\":3} 4 gap:4,\"to\":5} 6 7 8 9");
}

#[test]
fn an_id_ahead_of_the_store_is_a_gap_and_the_ring() {
    let room = Room::new();
    room.many(1..=5);
    let talk = room.connect("/live", "Last-Event-ID: 900\r\n");
    assert_eq!(shown(&talk), "gap:900,\"to\":2} 3 4 5");
}

#[test]
fn an_id_of_another_stream_is_a_gap_and_never_refused() {
    for (target, fields) in [
        ("/live", "Last-Event-ID: +5\r\n"),
        ("/live", "Last-Event-ID: 99999999999999999999999\r\n"),
        ("/live", "Last-Event-ID: 01JG8Z-abc\r\n"),
        ("/live?last_event_id=x%20y", ""),
    ] {
        let room = Room::new();
        room.many(1..=5);
        let talk = room.connect(target, fields);
        assert_eq!(shown(&talk), "gap:0,\"to\":2} 3 4 5", "{target} {fields}");
    }
    let room = Room::new();
    room.many(1..=5);
    assert_eq!(shown(&room.connect("/live?last_event_id=", "")), "", "none is no foreign one");
}

#[test]
fn replay_gives_the_newest_but_no_more_than_the_sink_has() {
    let room = Room::new();
    room.many(1..=5);
    assert_eq!(shown(&room.connect("/live?replay=1", "")), "5");
    assert_eq!(shown(&room.connect("/live?replay=99", "")), "4 5");
}

#[test]
fn filters_hold_for_replay_and_for_what_comes() {
    let room = Room::new();
    room.store([stored(1, "A", "live"), stored(2, "B", "live"), stored(3, "C", "live")]);
    let talk = room.connect("/live?type=A&type=C&priority=HIGH&source=door&replay=2", "");
    assert_eq!(shown(&talk), "1 3");
    room.store([stored(4, "B", "live"), stored(5, "A", "live")]);
    talk.settle();
    assert_eq!(shown(&talk), "5");
}

#[test]
fn what_is_not_understood_is_told() {
    let room = Room::new();
    for (target, fields) in [
        ("/live?kind=A", ""),
        ("/live?priority=urgent", ""),
        ("/live?replay=-1", ""),
        ("/live?type=%f", ""),
    ] {
        let answer = room.connect(target, fields).received();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target} {fields} {answer}");
    }
}

#[test]
fn large_events_leave_the_ring_early_and_are_found_in_the_store() {
    let mut room = Room::new();
    let serialise: Serialise = Arc::new(|it| format!("{{\"pos\":\r\n{}}}", it.pos));
    room.hub = Arc::new(Hub::new("live".into(), 10_000, 0, serialise));
    room.stream.hub = room.hub.clone();
    let large = |pos: u64| {
        let bytes: Arc<[u8]> = vec![b' '; 200_000].into();
        let body = Body { bytes, data: DataAt::Slice(0..2) };
        Arc::new(StoredEvent { body, ..(*stored(pos, "A", "live")).clone() })
    };
    room.store((1..=100).map(large));
    let (after, to) = room.hub.range();
    assert!(75 < after && after < 90 && to == 100, "{after} to {to}");
    let talk = room.connect("/live", "Last-Event-ID: 50\r\n");
    let expected: Vec<_> = (51..=100).map(|number: u64| number.to_string()).collect();
    assert_eq!(shown(&talk), expected.join(" "));
    // The newest stays, however large it is.
    let huge = Body { bytes: vec![b' '; 20 << 20].into(), data: DataAt::Slice(0..2) };
    room.store([Arc::new(StoredEvent { body: huge, ..(*stored(101, "A", "live")).clone() })]);
    assert_eq!(room.hub.range(), (100, 101));
}

#[test]
fn silence_is_broken_by_a_comment() {
    let room = Room::new();
    let talk = room.connect("/live", "");
    talk.received();
    talk.pass(Duration::from_secs(14));
    assert_eq!(shown(&talk), "");
    talk.pass(Duration::from_secs(1));
    assert_eq!(shown(&talk), "beat");
    talk.pass(Duration::from_secs(15));
    assert_eq!(shown(&talk), "beat");
}

#[test]
fn over_the_cap_is_503_and_a_client_that_leaves_makes_room_at_once() {
    let room = Room::new();
    let first = room.connect("/live", "");
    let _second = room.connect("/live", "");
    let third = room.connect("/live", "").received();
    assert!(third.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{third}");
    assert!(third.contains("retry-after: 2\r\n"), "{third}");
    assert_eq!(room.hub.counters.refused.load(Ordering::Relaxed), 1);
    let health = |room: &Room| room.health.report().remove(0);
    let report = health(&room);
    assert_eq!(report.part.to_string(), "stream live");
    let [open] = &report.problems[..] else { panic!("{report:?}") };
    let reason = "all 2 places are in use; more clients are rejected";
    assert_eq!((open.problem.code, &*open.problem.reason), ("full", reason));
    first.hang_up();
    assert_eq!(health(&room).problems, []);
    assert_eq!(room.hub.counters.clients.load(Ordering::Relaxed), 1);
    assert!(first.is_over());
}

#[test]
fn a_slow_reader_holds_nobody_up_and_finds_all_in_the_store() {
    let room = Room::new();
    let talk = room.connect("/live", "");
    talk.received();
    talk.narrow(64);
    for pos in 1..=100 {
        room.many(pos..=pos);
        talk.settle();
    }
    talk.narrow(1 << 20);
    let mut all = shown(&talk);
    all.push_str(&shown(&talk));
    assert!(all.ends_with("99 100"), "{all}");
    assert_eq!(room.hub.counters.sent.load(Ordering::Relaxed), 100);
    assert_eq!(room.hub.counters.gaps.load(Ordering::Relaxed), 0);
}

#[test]
fn a_reader_that_takes_nothing_is_closed_after_its_time() {
    let room = Room::new();
    let talk = room.connect("/live", "");
    talk.received();
    talk.narrow(16);
    room.many(1..=1);
    talk.settle();
    talk.pass(Duration::from_secs(29));
    assert!(!talk.is_over());
    talk.pass(Duration::from_secs(1));
    assert!(talk.is_over());
    assert_eq!(room.hub.counters.clients.load(Ordering::Relaxed), 0);
}

#[test]
fn a_stop_ends_streams_with_their_last_chunk() {
    let room = Room::new();
    let talk = room.connect("/live", "");
    talk.received();
    talk.site.stop.stop();
    talk.settle();
    assert_eq!(talk.received(), "0\r\n\r\n");
    assert!(talk.is_closed());
}

#[test]
fn a_ring_that_was_filled_after_retention_tells_what_it_took() {
    let mut room = Room::new();
    let serialise: Serialise = Arc::new(|it| format!("{{\"pos\":\r\n{}}}", it.pos));
    room.hub = Arc::new(Hub::new("live".into(), 3, 4, serialise));
    room.stream.hub = room.hub.clone();
    let (left, mut older) = ([1, 2].map(|pos| stored(pos, "A", "live")), room.hub.older(0));
    older.push(&left, 4);
    room.hub.fill(older, 4);
    room.shelf.events.lock().unwrap().extend(left);
    *room.shelf.taken.lock().unwrap() = 4;
    for (fields, told) in [
        ("Last-Event-ID: 4\r\n", ""),
        ("Last-Event-ID: 3\r\n", "gap:3,\"to\":4}"),
        ("Last-Event-ID: 2\r\n", "gap:2,\"to\":4}"),
        ("Last-Event-ID: 0\r\n", "gap:0,\"to\":4}"),
    ] {
        assert_eq!(shown(&room.connect("/live", fields)), told, "{fields}");
    }
    assert_eq!(shown(&room.connect("/live?replay=2", "")), "1 2");
}
