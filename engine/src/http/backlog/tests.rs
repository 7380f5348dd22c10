//! Streams over a real store, whose clients leave at every moment.

use super::*;
use crate::http::hub::{Hub, Serialise};
use crate::http::sse::{Stream, StreamSettings, TURNS_MAX};
use crate::http::testing::{poll_once, request_head};
use crate::http::wire::request::Request;
use crate::http::wire::response::{BodyContent, Feed};
use kernel::additions::Additions;
use kernel::env::Env;
use kernel::event::{Body, DataAt, Envelope, Event, Priority};
use kernel::health::PartRole;
use kernel::time::Timestamp;
use smol::lock::Semaphore;
use std::collections::BTreeSet;
use std::time::Duration;
use store::{
    self, CommitObserver, FinishedEvent, RetentionPolicy, Settings, StoreEntry, StoreLocation,
    StoredEvent, Synchronous,
};

struct ToHub(Arc<Hub>);

impl CommitObserver for ToHub {
    fn committed(&mut self, batch: &[Arc<StoredEvent>]) {
        self.0.publish(batch);
    }

    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

struct House {
    store: Store,
    stream: Stream,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl House {
    /// A store of `count` events of `size` bytes, and a stream whose ring holds the newest three.
    fn new(count: usize, size: usize) -> Self {
        let serialise: Serialise = Arc::new(|it| it.body.data_text().to_owned());
        let hub = Arc::new(Hub::new("live".into(), 3, 0, serialise));
        let settings = Settings {
            place: StoreLocation::Memory,
            synchronous: Synchronous::Full,
            batch: 64,
            linger: Duration::ZERO,
            name: "db".into(),
        };
        let env = Env::system();
        let (store, writer) = store::open(
            settings,
            RetentionPolicy::default(),
            env.clone(),
            Box::new(ToHub(hub.clone())),
        )
        .expect("it opens");
        let writer = Some(std::thread::spawn(|| writer.run()));
        let entries = (0..count).map(|it| record(it, size)).collect();
        smol::block_on(store.submit(entries)).expect("it is written");
        let stream = Stream {
            hub,
            backlog: Arc::new(StoreBacklog(store.clone())),
            settings: StreamSettings { clients_max: 1000, ..StreamSettings::default() },
            clock: env.clock.clone(),
            globals: Arc::default(),
            turns: Arc::new(Semaphore::new(TURNS_MAX)),
            health: env.health.part(PartRole::Stream, "live"),
        };
        House { store, stream, writer }
    }

    fn connect(&self) -> Box<dyn Feed> {
        let head = "GET /live HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n";
        let mut body = Vec::new();
        let request = Request::new(request_head(head), None, &mut body);
        match self.stream.open(&request).into_content() {
            BodyContent::Stream(feed) => feed,
            _ => panic!("it is a stream"),
        }
    }

    /// Everything that clients held is free again.
    fn assert_free(&self) {
        let clients = &self.stream.hub.counters.clients;
        assert_eq!(clients.load(Ordering::Relaxed), 0, "places");
        assert!(self.stream.turns.try_acquire().is_some(), "turns at the store");
        let both = smol::future::zip(self.store.read(|_| Ok(())), self.store.read(|_| Ok(())));
        let (one, other) = smol::block_on(both);
        assert!(one.is_ok() && other.is_ok(), "readers");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        smol::block_on(self.store.close());
        self.writer.take().expect("it runs").join().expect("the writer ends well");
    }
}

fn record(number: usize, size: usize) -> StoreEntry {
    let now = Timestamp(1_767_225_600_000_000);
    let text = format!("\"{}\"", "x".repeat(size));
    let envelope = Envelope {
        id: format!("e-{number}").into(),
        kind: "A".into(),
        source: "door".into(),
        subject: "".into(),
        time: now,
        received: now,
        priority: Priority::Normal,
        correlation_id: None,
        parent_id: None,
    };
    let event = Event {
        seq: 0,
        generation: 1,
        envelope,
        body: Body { bytes: text.as_bytes().into(), data: DataAt::Slice(0..text.len()) },
        data: Arc::new(serde_json::Value::Null),
        raw: None,
        globals: Arc::default(),
        enrich: Additions::default(),
    };
    let targets = ["db".into(), "live".into()].into();
    let (event, stages) = (event.into(), [].into());
    StoreEntry::Record(FinishedEvent {
        event,
        stages,
        targets,
        deliveries: Vec::new(),
        silences: Vec::new(),
        answers: Vec::new(),
    })
}

fn events(piece: &[u8]) -> usize {
    String::from_utf8_lossy(piece).matches("event: message\n").count()
}

#[test]
fn a_client_that_leaves_at_any_moment_gives_back_what_it_held() {
    let house = House::new(300, 10);
    // One is dropped after each number of looks, until there is nothing left to wait for.
    for looks in 0..200 {
        let mut client = house.connect();
        let mut out = Vec::new();
        let mut filling = client.fill(&mut out);
        let mut is_full = false;
        for _ in 0..looks {
            is_full = poll_once(filling.as_mut()).is_some();
            if is_full {
                break;
            }
        }
        drop(filling);
        drop(client);
        house.assert_free();
        if is_full {
            return;
        }
    }
    // A look that comes too early finds the read still under way; those are enough.
}

#[test]
fn many_that_leave_at_once_hold_nobody_up() {
    let house = House::new(300, 10);
    let mut clients: Vec<_> = (0..50).map(|_| (house.connect(), Vec::new())).collect();
    let mut waiting: Vec<_> = clients.iter_mut().map(|(client, out)| client.fill(out)).collect();
    for it in &mut waiting {
        poll_once(it.as_mut());
    }
    drop(waiting);
    drop(clients);
    house.assert_free();
}

#[test]
fn a_piece_holds_little_more_than_one_large_event() {
    let house = House::new(40, 200_000);
    let (mut client, mut positions, mut most) = (house.connect(), 0, 0);
    while positions < 40 {
        let mut piece = Vec::new();
        assert!(smol::block_on(client.fill(&mut piece)), "it goes on");
        positions += events(&piece);
        most = most.max(piece.len());
    }
    assert!(most < 300_000, "{most}");
    drop(client);
    house.assert_free();
}

#[test]
fn one_client_reads_the_store_at_a_time_and_the_others_wait() {
    let house = House::new(100, 10);
    let turn = smol::block_on(house.stream.turns.acquire());
    let (mut one, mut other) = (house.connect(), house.connect());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    {
        let (mut one, mut other) = (one.fill(&mut first), other.fill(&mut second));
        assert!(poll_once(one.as_mut()).is_none() && poll_once(other.as_mut()).is_none());
        // Queries have the store to themselves meanwhile.
        assert!(smol::block_on(house.store.read(|reader| reader.stats(1, Timestamp(0)))).is_ok());
        drop(turn);
        let (one, other) = smol::block_on(smol::future::zip(one, other));
        assert!(one && other);
    }
    assert_eq!((events(&first), events(&second)), (100, 100));
}
