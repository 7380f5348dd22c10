//! A small world for the tests of kinds: events, a clock that stands still, a fake outside.

use crate::contract::{Closed, Emit, Kind, Message, Outgoing, Programs, Services};
use kernel::env::{Env, Pending, Pools, Random};
use kernel::event::Globals;
use kernel::fault::Fault;
use kernel::health::PartRole;
use kernel::testing::StillClock;
pub(crate) use kernel::testing::{event, globals};
use kernel::time::Timestamp;
use language::diagnostic::{Diagnostics, SourceText};
use language::{Context, Environment, Fields, Files};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::StoredEvent;
use wire::{Fetch, FetchRequest, FetchResponse};

/// Answers from a list and remembers what it was asked.
#[derive(Default)]
pub(crate) struct FakeFetch {
    pub(crate) asked: Mutex<Vec<FetchRequest>>,
    pub(crate) answers: Mutex<VecDeque<Result<FetchResponse, Fault>>>,
    /// The status by the request; 200 where it says none.
    decides: Option<fn(&FetchRequest) -> Option<u16>>,
}

impl FakeFetch {
    pub(crate) fn answering(status: u16, headers: &[(&str, &str)], body: &str) -> Arc<Self> {
        let fetch = FakeFetch::default();
        let headers =
            headers.iter().map(|header| (header.0.to_owned(), header.1.to_owned())).collect();
        let answer = FetchResponse { status, headers, body: body.as_bytes().to_vec() };
        fetch.answers.lock().unwrap().push_back(Ok(answer));
        Arc::new(fetch)
    }

    pub(crate) fn deciding(decides: fn(&FetchRequest) -> Option<u16>) -> Arc<Self> {
        Arc::new(FakeFetch { decides: Some(decides), ..FakeFetch::default() })
    }

    pub(crate) fn only_request(&self) -> FetchRequest {
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }
}

impl Fetch for FakeFetch {
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>> {
        let decided = self.decides.map(|decides| {
            let status = decides(&request).unwrap_or(200);
            Ok(FetchResponse { status, headers: Vec::new(), body: Vec::new() })
        });
        self.asked.lock().unwrap().push(request);
        let next = || self.answers.lock().unwrap().pop_front().expect("no answer is left");
        let answer = decided.unwrap_or_else(next);
        Box::pin(async move { answer })
    }
}

/// Variables by name.
pub(crate) struct TestVariables(pub(crate) BTreeMap<&'static str, &'static str>);

impl Environment for TestVariables {
    fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn is_empty(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.is_empty())
    }

    fn value(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|it| (*it).to_owned())
    }
}

/// A folder without files.
pub(crate) fn no_files() -> impl Files {
    FakeFiles(&[], Path::new("/nowhere"))
}

struct FakeFiles<'a>(&'a [(&'a str, &'a str)], &'a Path);

impl Files for FakeFiles<'_> {
    fn read(&mut self, path: &str) -> Result<Arc<SourceText>, language::FileFault> {
        let found = self.0.iter().find(|it| it.0 == path).ok_or_else(|| {
            let reason = "file not found".to_owned();
            language::FileFault { is_outside: false, is_missing: true, reason }
        })?;
        Ok(Arc::new(SourceText { name: path.to_owned(), text: found.1.to_owned() }))
    }

    fn place(&self, path: &str) -> PathBuf {
        self.1.join(path)
    }

    fn neighbours(&self, _path: &str) -> Vec<String> {
        self.0.iter().map(|it| it.0.to_owned()).collect()
    }
}

/// What was read, and each finding as `CODE message`.
pub(crate) type ReadIn<K> = (Option<<K as Kind>::Settings>, Vec<String>);

/// Reads the children `text` of a node of kind `K` in a file that lies in `folder`.
pub(crate) fn read_in<K: Kind>(text: &str, folder: &Path, files: &[(&str, &str)]) -> ReadIn<K> {
    let text = format!("node {{\n{text}\n}}");
    let document: kdl::KdlDocument = text.parse().expect("the test's KDL parses");
    let source = Arc::new(SourceText { name: "test.kdl".to_owned(), text });
    let mut diagnostics = Diagnostics::new(source);
    let mut context = Context {
        diagnostics: &mut diagnostics,
        files: &mut FakeFiles(files, folder),
        environment: &TestVariables(BTreeMap::new()),
    };
    let settings = K::read(&Fields::of_kind(&document.nodes()[0], K::NODES, folder), &mut context);
    let found = diagnostics.sorted();
    (settings, found.iter().map(|it| format!("{} {}", it.rule.code(), it.message)).collect())
}

/// Reads what has no finding.
#[track_caller]
pub(crate) fn settings<K: Kind>(text: &str) -> K::Settings {
    let (settings, found) = read_in::<K>(text, Path::new("/nowhere"), &[]);
    assert_eq!(found, Vec::<String>::new());
    settings.expect("there is no finding")
}

/// What a kind reports about its own part of the file.
pub(crate) fn findings<K: Kind>(text: &str) -> Vec<String> {
    read_in::<K>(text, Path::new("/nowhere"), &[]).1
}

pub(crate) fn services(fetch: Arc<dyn Fetch>) -> Services {
    let env = Env::new(Arc::new(StillClock::default()), Random::seeded(7), Pools::system());
    Services {
        health: env.health.part(PartRole::Stage, "tested"),
        env,
        environment: Arc::new(TestVariables(BTreeMap::from([
            ("TOKEN", "t0k"),
            ("URL", "http://u/x"),
        ]))),
        fetch,
        programs: Programs::Allowed,
        pipeline: "door".into(),
        globals: globals(),
        store: None,
    }
}

/// Services of a world without an outside.
pub(crate) fn alone() -> Services {
    services(Arc::new(FakeFetch::default()))
}

pub(crate) fn outgoing(data: Value) -> Outgoing {
    let event = event(data);
    let stored = StoredEvent {
        pos: 43,
        seq: event.seq,
        generation: event.generation,
        envelope: event.envelope.clone(),
        body: event.body.clone(),
        enrich: "{}".into(),
        stages: [].into(),
        targets: Arc::new([]),
    };
    let timeout = Duration::from_secs(2);
    Outgoing::new(Arc::new(stored), event.globals, "e-1/out".to_owned(), timeout)
}

/// Keeps what was emitted, and closes after `batches_max` batches.
pub(crate) struct Inbox {
    pub(crate) batches: Mutex<Vec<Vec<Message>>>,
    pub(crate) remembered: Mutex<BTreeMap<String, String>>,
    pub(crate) batches_max: usize,
}

impl Inbox {
    pub(crate) fn open() -> Self {
        Inbox::closing_after(usize::MAX)
    }

    pub(crate) fn closing_after(batches_max: usize) -> Self {
        Inbox { batches: Mutex::default(), remembered: Mutex::default(), batches_max }
    }

    /// Every body so far, as text.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let batches = self.batches.lock().unwrap();
        let bodies = batches.iter().flatten();
        bodies.map(|body| String::from_utf8_lossy(&body.body).into_owned()).collect()
    }
}

impl Emit for Inbox {
    fn emit<'a>(
        &'a self,
        messages: Vec<Message>,
        remember: Vec<(String, String)>,
    ) -> Pending<'a, Result<(), Closed>> {
        let mut batches = self.batches.lock().unwrap();
        let is_open = batches.len() < self.batches_max;
        if is_open {
            batches.push(messages);
            let mut remembered = self.remembered.lock().unwrap();
            for (key, value) in remember {
                match value.is_empty() {
                    true => remembered.remove(&key),
                    false => remembered.insert(key, value),
                };
            }
        }
        Box::pin(async move { if is_open { Ok(()) } else { Err(Closed) } })
    }

    fn recall(&self) -> Pending<'_, Result<Vec<(String, String)>, Closed>> {
        let rows = self.remembered.lock().unwrap().clone().into_iter().collect();
        Box::pin(async move { Ok(rows) })
    }

    fn globals(&self) -> Arc<Globals> {
        globals()
    }

    fn closed(&self) -> Pending<'_, ()> {
        if self.batches_max <= self.batches.lock().unwrap().len() {
            return Box::pin(async {});
        }
        Box::pin(std::future::pending())
    }
}

/// A kind that remembers, with what it keeps, and the events that it sent.
pub(crate) struct Memorised {
    open: crate::memory::OpenMemory,
    rows: BTreeMap<String, (String, Option<Timestamp>)>,
    /// The wall clock: that of the newest event, until it is set.
    pub(crate) now: Timestamp,
    /// How many events there were.
    count: usize,
    pub(crate) sent: Vec<store::Emission>,
}

impl Memorised {
    pub(crate) fn new(kind: impl crate::memory::Remember) -> Self {
        Memorised {
            open: crate::memory::OpenMemory::of(kind),
            rows: BTreeMap::new(),
            now: Timestamp(i64::MIN),
            count: 0,
            sent: Vec::new(),
        }
    }

    /// An event with this data happens at this second; `None` where it does not concern the kind.
    pub(crate) fn event(&mut self, second: i64, data: Value) -> Option<store::Step> {
        self.typed("door.bell", second, data)
    }

    pub(crate) fn typed(&mut self, kind: &str, second: i64, data: Value) -> Option<store::Step> {
        self.sent_by(None, kind, second, data)
    }

    /// The same, where another node of the file may have sent it.
    pub(crate) fn sent_by(
        &mut self,
        sender: Option<&str>,
        kind: &str,
        second: i64,
        data: Value,
    ) -> Option<store::Step> {
        let time = Timestamp(second * 1_000_000);
        self.pass(time);
        let mut event = event(data);
        (event.envelope.time, event.envelope.kind) = (time, kind.into());
        match sender {
            Some(sender) => event.envelope.source = sender.into(),
            None => event.seq = 0,
        }
        self.count += 1;
        event.envelope.id = format!("e-{}", self.count).into();
        let (key, noted) = self.open.reader.note(&event, time)?;
        let kept = self.rows.get(&key).map(|row| row.0.clone());
        self.now = self.now.max(time);
        let moment = store::Moment { key: &key, time, now: self.now };
        let step = self.open.memory.step(kept.as_deref(), &noted, &moment);
        self.keep(key, &step);
        Some(step)
    }

    /// Time passes, and whoever wanted to look again by then, does.
    pub(crate) fn pass(&mut self, time: Timestamp) {
        loop {
            let due = self.rows.iter().filter_map(|(key, it)| Some((it.1?, key.clone())));
            let Some((due, key)) = due.min().filter(|it| it.0 <= time) else { return };
            let kept = self.rows[&key].0.clone();
            let moment = store::Moment { key: &key, time: due, now: self.now.max(due) };
            let step = self.open.memory.wake(&kept, &moment);
            self.keep(key, &step);
        }
    }

    fn keep(&mut self, key: String, step: &store::Step) {
        self.sent.extend(step.emits.iter().cloned());
        match &step.kept {
            Some(kept) => self.rows.insert(key, (kept.clone(), step.due)),
            None => self.rows.remove(&key),
        };
    }

    /// How many keys are kept.
    pub(crate) fn keys(&self) -> usize {
        self.rows.len()
    }

    /// What was sent since the last call: type, second, data.
    pub(crate) fn told(&mut self) -> Vec<(String, i64, Value)> {
        let sent = self.sent.drain(..);
        sent.map(|sent| (sent.kind.to_string(), sent.time.0 / 1_000_000, sent.data)).collect()
    }
}
