//! A whole engine on the virtual clock: its file, its store, its port, and an outside that is told
//! how to answer. Everything that happens is noted with the time since the start.

use super::Bare;
use compiler::files::PipelinePath;
use compiler::load::PipelineLoader;
use compiler::plan::RunMode;
use engine::engine::{Engine, IngestResult, Outbox, Overloaded, ReceivedMessage};
use engine::http::app::Hubs;
use engine::http::listener;
use engine::http::ports::{Port, Ports, Serving};
use engine::http::{BodyContent, Head, Hosts, Request, ServerContext, ServerLimits};
use engine::reload::{self, EngineParts, PipelineFile, Reloader};
use engine::run::OpenContext;
use engine::simulate::Simulation;
use kernel::env::{Clock, Pending};
use kernel::fault::{Cause, Fault};
use kernel::health::HealthState;
use kernel::testing::{ClientEnd, connection};
use kernel::time::Timestamp;
use serde_json::Value;
use smol::Executor;
use stages::catalog::Catalog;
use stages::contract::Programs;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{self, CommitObserver, Settings, StoreLocation, StoredEvent, Synchronous};
use tempfile::TempDir;
use wire::{Fetch, FetchRequest, FetchResponse};

/// 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp(1_767_225_600_000_000);

/// How the outside answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// This status, after this long.
    Status(u16, Duration),
    /// Nothing, until the caller gives up.
    Hang,
    /// No connection.
    Refuse,
}

/// What happened, in order.
#[derive(Default)]
pub(crate) struct Journal {
    lines: Mutex<Vec<String>>,
}

impl Journal {
    pub(crate) fn note(&self, clock: &dyn Clock, line: &str) {
        let seconds = clock.monotonic().as_secs_f64();
        self.lines.lock().expect("no panic").push(format!("{seconds:.1}s {line}"));
    }

    /// What was noted since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("no panic"))
    }
}

/// A call of the outside, as it saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) url: String,
    /// The idempotency key.
    pub(crate) key: String,
    pub(crate) body: String,
    /// When it began, on the monotonic clock.
    pub(crate) began: Duration,
    /// The status that was answered; `None` for a call that was given up or not answered.
    pub(crate) answered: Option<u16>,
    /// By the wall clock, when it began, and when it was answered, refused or given up.
    pub(crate) began_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    /// Whether its caller dropped it.
    pub(crate) is_given_up: bool,
}

/// Everything that stages and targets call.
pub(crate) struct Outside {
    clock: Arc<dyn Clock>,
    journal: Arc<Journal>,
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
    pub(crate) calls: Mutex<Vec<Call>>,
}

impl Outside {
    /// From now on, hosts are answered like this; others with 200 at once.
    pub(crate) fn behave(&self, host: &str, behaviour: Behaviour) {
        self.behaviours.lock().expect("no panic").insert(host.to_owned(), behaviour);
    }

    fn of(&self, url: &str) -> Behaviour {
        let host = url.split('/').nth(2).unwrap_or_default();
        let behaviours = self.behaviours.lock().expect("no panic");
        behaviours.get(host).copied().unwrap_or(Behaviour::Status(200, Duration::ZERO))
    }
}

/// Notes a call that its caller drops before the answer.
struct Underway {
    outside: Arc<Outside>,
    index: usize,
    name: String,
    has_ended: bool,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut calls = self.outside.calls.lock().expect("no panic");
        // Who looked at them before may have taken them out.
        if let Some(call) = calls.get_mut(self.index) {
            call.ended_at = Some(self.outside.clock.wall());
            call.is_given_up = !self.has_ended;
        }
        if !self.has_ended {
            self.outside.journal.note(&*self.outside.clock, &format!("{} given up", self.name));
        }
    }
}

/// What a call with a good status is answered; Slack's methods say which message it was.
fn answer(url: &str, index: usize) -> String {
    match url.contains("/chat.") {
        true => format!(r#"{{"ok":true,"channel":"C1","ts":"{index}.0"}}"#),
        false => r#"{"dark":true}"#.to_owned(),
    }
}

struct Wire(Arc<Outside>);

impl Fetch for Wire {
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>> {
        let outside = self.0.clone();
        let key =
            request.headers.iter().find(|header| header.0.eq_ignore_ascii_case("idempotency-key"));
        let key = key.map_or_else(String::new, |key| key.1.clone());
        let name = format!("{} {} {key}", request.method, request.url).trim_end().to_owned();
        let index = {
            let mut calls = outside.calls.lock().expect("no panic");
            let body = String::from_utf8_lossy(request.body.as_deref().unwrap_or_default());
            let (url, body) = (request.url.clone(), body.into_owned());
            let (began, began_at) = (outside.clock.monotonic(), outside.clock.wall());
            calls.push(Call {
                url,
                key,
                body,
                began,
                answered: None,
                began_at,
                ended_at: None,
                is_given_up: false,
            });
            calls.len() - 1
        };
        let behaviour = outside.of(&request.url);
        let mut call = Underway { outside: outside.clone(), index, name, has_ended: false };
        Box::pin(async move {
            let clock = outside.clock.clone();
            let (status, wait) = match behaviour {
                Behaviour::Status(status, wait) => (status, wait),
                Behaviour::Hang => {
                    outside.journal.note(&*clock, &format!("{} hangs", call.name));
                    std::future::pending().await
                }
                Behaviour::Refuse => {
                    call.has_ended = true;
                    outside.journal.note(&*clock, &format!("{} refused", call.name));
                    return Err(Fault::transient(Cause::Connect, "the connection was refused"));
                }
            };
            if !wait.is_zero() {
                clock.sleep(wait).await;
            }
            call.has_ended = true;
            outside.calls.lock().expect("no panic")[call.index].answered = Some(status);
            outside.journal.note(&*clock, &format!("{} → {status}", call.name));
            let body = answer(&request.url, call.index).into_bytes();
            Ok(FetchResponse { status, headers: Vec::new(), body })
        })
    }
}

/// The port of a world: addresses that are bound are noted.
struct NotedPorts {
    clock: Arc<dyn Clock>,
    journal: Arc<Journal>,
    /// Addresses that somebody else has.
    taken: Mutex<BTreeSet<String>>,
    /// What the port serves that was bound last.
    served: Mutex<Option<Arc<ServerContext>>>,
}

struct NotedPort(Arc<NotedPorts>, SocketAddr);

/// As the engine takes it.
struct SharedPorts(Arc<NotedPorts>);

impl Ports for SharedPorts {
    fn bind(&self, address: String) -> Pending<'static, Result<Box<dyn Port>, Fault>> {
        let ports = self.0.clone();
        Box::pin(async move {
            if ports.taken.lock().expect("no panic").contains(&address) {
                let reason = format!("cannot listen on {address}: address in use");
                return Err(Fault::transient(Cause::Other, reason));
            }
            ports.journal.note(&*ports.clock, &format!("{address} bound"));
            let address = address.parse().expect("an address");
            Ok(Box::new(NotedPort(ports, address)) as Box<dyn Port>)
        })
    }
}

impl Port for NotedPort {
    fn address(&self) -> SocketAddr {
        self.1
    }

    fn serve(
        self: Box<Self>,
        _: Arc<Executor<'static>>,
        site: Arc<ServerContext>,
    ) -> Box<dyn Serving> {
        *self.0.served.lock().expect("no panic") = Some(site);
        self.0.journal.note(&*self.0.clock, &format!("{} served", self.1));
        self
    }
}

impl Serving for NotedPort {
    fn drain(self: Box<Self>, _: Duration) -> Pending<'static, ()> {
        self.0.journal.note(&*self.0.clock, &format!("{} closed", self.1));
        Box::pin(async {})
    }
}

/// The writer's view of the world.
struct Commits {
    clock: Arc<dyn Clock>,
    journal: Arc<Journal>,
    hubs: Arc<Hubs>,
    outbox: Arc<Outbox>,
    stored: Arc<Mutex<Vec<Arc<StoredEvent>>>>,
}

impl CommitObserver for Commits {
    fn committed(&mut self, batch: &[Arc<StoredEvent>]) {
        for stored in batch {
            let (id, generation) = (&stored.envelope.id, stored.generation);
            self.journal.note(&*self.clock, &format!("{id} stored, generation {generation}"));
        }
        self.stored.lock().expect("no panic").extend(batch.iter().cloned());
        self.hubs.publish(batch);
    }

    fn deliveries(&mut self, sinks: &BTreeSet<Arc<str>>) {
        sinks.iter().for_each(|sink| self.outbox.wake(sink));
    }

    fn unclaimed(&mut self) {
        self.outbox.leave_in_inbox();
    }

    fn emitted(&mut self, seqs: &[u64]) {
        self.outbox.emitted(seqs);
    }

    fn wakes(&mut self, _: Timestamp) {
        self.outbox.wake_timers();
    }
}

type Running = Arc<smol::lock::Mutex<Reloader>>;

/// An engine, its file, and what surrounds it.
pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) folder: TempDir,
    pub(crate) journal: Arc<Journal>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) stored: Arc<Mutex<Vec<Arc<StoredEvent>>>>,
    ports: Arc<NotedPorts>,
    running: Running,
    health: BTreeMap<String, String>,
    place: StoreLocation,
}

/// The store of a world that is started again.
const STORE: &str = "db.sqlite";

impl World {
    /// Starts the pipeline `text`; other files lie in `folder` already. The error is why it does
    /// not start.
    pub(crate) fn start(folder: TempDir, text: &str, seed: u64) -> Result<World, String> {
        World::open(folder, text, Simulation::new(START, seed), StoreLocation::Memory)
    }

    /// The same with a store in `folder`, so that it can be started again.
    pub(crate) fn start_durable(folder: TempDir, text: &str) -> World {
        let place = StoreLocation::File(folder.path().join(STORE));
        World::open(folder, text, Simulation::new(START, 1), place).expect("it starts")
    }

    /// Stops, and starts again so much later.
    pub(crate) fn restart(self, text: &str, down: Duration) -> World {
        self.stop();
        self.start_again(text, down)
    }

    fn start_again(self, text: &str, down: Duration) -> World {
        let simulation = Simulation::new(self.simulation.env.clock.wall().plus(down), 1);
        let (folder, place) = self.into_files();
        World::open(folder, text, simulation, place).expect("it starts again")
    }

    /// What is left when everything else is dropped, and with it the lock of the store.
    fn into_files(self) -> (TempDir, StoreLocation) {
        (self.folder, self.place)
    }

    /// Starts again so much later with the files as they are now, whatever is under way.
    pub(crate) fn kill(self, text: &str, down: Duration) -> World {
        let of_store = |ending: &str| self.path(&format!("{STORE}{ending}"));
        let kept = ["", "-wal"].map(|it| (of_store(it), std::fs::read(of_store(it))));
        self.stop();
        std::fs::remove_file(of_store("-shm")).ok();
        for (path, bytes) in kept {
            std::fs::write(path, bytes.expect("it is there")).expect("it writes");
        }
        self.start_again(text, down)
    }

    fn open(
        folder: TempDir,
        text: &str,
        simulation: Simulation,
        location: StoreLocation,
    ) -> Result<World, String> {
        let (env, journal) = (simulation.env.clone(), Arc::<Journal>::default());
        let clock = env.clock.clone();
        let outside = Arc::new(Outside {
            clock: clock.clone(),
            journal: journal.clone(),
            behaviours: Mutex::default(),
            calls: Mutex::default(),
        });
        let (taken, served) = (Mutex::default(), Mutex::default());
        let (port_clock, port_journal) = (clock.clone(), journal.clone());
        let ports =
            Arc::new(NotedPorts { clock: port_clock, journal: port_journal, taken, served });
        let path = folder.path().join("pipeline.kdl");
        std::fs::write(&path, text).expect("it writes");
        let place = PipelinePath::of(&path, None, None);
        let (catalog, mode) = (Arc::new(Catalog::built_in()), RunMode::default());
        let loader =
            PipelineLoader { place: &place, overrides: &[], catalog: &catalog, environment: &Bare };
        let loaded = loader.load(mode).expect("it reads");
        let plan = loaded.plan.ok_or_else(|| compiler::report::headline(&loaded.diagnostics))?;
        let (hubs, outbox) = (Arc::<Hubs>::default(), Arc::<Outbox>::default());
        let stored = Arc::<Mutex<Vec<Arc<StoredEvent>>>>::default();
        let commits = Commits {
            clock,
            journal: journal.clone(),
            hubs: hubs.clone(),
            outbox: outbox.clone(),
            stored: stored.clone(),
        };
        let settings = Settings { place: location.clone(), ..settings() };
        let opened = store::open(settings, reload::policy(&plan), env.clone(), Box::new(commits));
        let (store, writer) = opened.expect("a store opens");
        simulation.executor.spawn(writer.run_as_task()).detach();
        let parts = EngineParts {
            store,
            executor: simulation.executor.clone(),
            outbox,
            hubs,
            ports: Arc::new(SharedPorts(ports.clone())),
            context: OpenContext {
                env,
                environment: Arc::new(Bare),
                fetch: Arc::new(Wire(outside.clone())),
                demo: None,
                programs: Programs::Refused,
                outside: None,
            },
            file: PipelineFile { place, overrides: Vec::new(), catalog, mode },
            show: Arc::new(|_| ()),
        };
        let started = simulation.complete(Reloader::start(parts, plan, loaded.hash));
        let reloader = started.expect("a start takes no time").map_err(|fault| fault.reason)?;
        let engine = reloader.engine().clone();
        let running = Arc::new(smol::lock::Mutex::new(reloader));
        let health = BTreeMap::new();
        simulation.settle();
        let place = location;
        Ok(World {
            simulation,
            folder,
            journal,
            outside,
            engine,
            stored,
            ports,
            running,
            health,
            place,
        })
    }

    /// Somebody else has this address.
    pub(crate) fn take_address(&self, address: &str) {
        self.ports.taken.lock().expect("no panic").insert(address.to_owned());
    }

    /// Nobody else has this address any more.
    pub(crate) fn free_address(&self, address: &str) {
        self.ports.taken.lock().expect("no panic").remove(address);
    }

    /// Writes the pipeline file, lets the engine look at it, and waits until it has.
    pub(crate) fn reload(&self, text: &str) {
        let path = self.folder.path().join("pipeline.kdl");
        std::fs::write(path, text).expect("it writes");
        let running = self.running.clone();
        let task = self.simulation.executor.spawn(async move {
            running.lock().await.reload().await;
        });
        let is_over = self.simulation.run_until(|| task.is_finished());
        assert!(is_over, "a reload waits for what never comes");
    }

    /// How the last reload ended, in a line.
    pub(crate) fn last_reload(&self) -> String {
        if self.health_of("config").is_none() && self.is_refused_last() {
            let number = self.engine.generation().number;
            return format!("the file matches generation {number} again");
        }
        let reloads = self.read(|reader| reader.reloads(1));
        let last = &reloads[0];
        let text = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
        match last["outcome"].as_str() {
            Some("refused") => {
                let why = self.health_of("config").unwrap_or_default();
                let folder = self.folder.path().display().to_string();
                format!("rejected: {}", why.replace(&format!("{folder}/"), ""))
            }
            outcome => {
                let outcome = outcome.unwrap_or_default();
                format!("{outcome} generation {}: {}", last["generation"], text("changes"))
            }
        }
    }

    fn is_refused_last(&self) -> bool {
        self.read(|reader| reader.reloads(1))[0]["outcome"] == "refused"
    }

    fn health_of(&self, part: &str) -> Option<String> {
        let report = self.simulation.env.health.report();
        let part = report.into_iter().find(|it| it.part.to_string() == part)?;
        part.problems.first().map(|problem| problem.problem.reason.clone())
    }

    /// One message to a source; how it is answered, in a word.
    pub(crate) fn post(&self, source: &str, body: &str) -> String {
        let arrival =
            ReceivedMessage { bytes: body.as_bytes().into(), ..ReceivedMessage::default() };
        let (engine, source) = (self.engine.clone(), source.to_owned());
        let answers: Option<Result<Vec<IngestResult>, Overloaded>> =
            self.simulation.complete(async move {
                engine.ingest(&source, vec![arrival], Vec::new(), false).await
            });
        match answers.expect("an answer takes no time") {
            Ok(answers) => answers.first().expect("one message has one answer").word().to_owned(),
            Err(unavailable) => format!("unavailable: {}", unavailable.reason),
        }
    }

    /// A request and its answer: the status, and the body as JSON where it is.
    pub(crate) fn request(&self, head: &str, body: &str) -> (u16, Value) {
        let task = self.simulation.executor.spawn(self.requesting(head, body));
        let is_over = self.simulation.run_until(|| task.is_finished());
        assert!(is_over, "a request waits for what never comes");
        self.simulation.complete(task).expect("it is over")
    }

    /// The same, for as long as it is polled.
    pub(crate) fn requesting(
        &self,
        head: &str,
        body: &str,
    ) -> impl Future<Output = (u16, Value)> + Send + 'static + use<> {
        let answer = self.answering(head, body);
        async move {
            let (status, bytes) = answer.await;
            (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        }
    }

    /// Everything that `/metrics` says.
    pub(crate) fn metrics(&self) -> String {
        let task = self.simulation.executor.spawn(self.answering("GET /metrics HTTP/1.1", ""));
        assert!(self.simulation.run_until(|| task.is_finished()), "a request waits forever");
        let (status, bytes) = self.simulation.complete(task).expect("it is over");
        assert_eq!(status, 200);
        String::from_utf8(bytes).expect("it is text")
    }

    fn answering(
        &self,
        head: &str,
        body: &str,
    ) -> impl Future<Output = (u16, Vec<u8>)> + Send + 'static + use<> {
        let fields = "Host: localhost\r\nContent-Type: application/json";
        let size = match body.len() {
            0 => String::new(),
            size => format!("\r\nContent-Length: {size}"),
        };
        let head = format!("{head}\r\n{fields}{size}\r\n\r\n");
        let head = Head::parse(head.as_bytes(), &ServerLimits::default(), &Hosts::default(), None);
        let (head, mut body) = (head.expect("a head of ours"), body.as_bytes().to_vec());
        let running = self.running.clone();
        async move {
            let service = running.lock().await.app().service();
            let reply = service.respond(&mut Request::unconnected(head, &mut body)).await;
            let status = reply.status();
            match reply.into_content() {
                BodyContent::Full(bytes) => (status, bytes),
                _ => (status, Vec::new()),
            }
        }
    }

    /// A connection from an address, of which the client takes `room` bytes at first.
    pub(crate) fn dial(&self, peer: [u8; 4], room: usize) -> ClientEnd {
        let (stream, client) = connection(room);
        let site = self.site();
        listener::connect(&site, &self.simulation.executor, stream, peer.into());
        self.simulation.settle();
        client
    }

    /// What the port serves.
    pub(crate) fn site(&self) -> Arc<ServerContext> {
        self.ports.served.lock().expect("no panic").clone().expect("it is served")
    }

    /// Connects to a stream; what it sends is noted under `name`.
    pub(crate) fn connect(&self, path: &str, last_id: Option<u64>, name: &str) {
        self.simulation.executor.spawn(self.client(path, last_id, name)).detach();
        self.simulation.settle();
    }

    /// A client of a stream, for as long as it is polled.
    pub(crate) fn client(
        &self,
        path: &str,
        last_id: Option<u64>,
        name: &str,
    ) -> impl Future<Output = ()> + Send + 'static {
        let id = last_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{id}\r\n");
        let head = Head::parse(head.as_bytes(), &ServerLimits::default(), &Hosts::default(), None);
        let head = head.expect("a head of ours");
        let (running, journal) = (self.running.clone(), self.journal.clone());
        let (clock, name) = (self.simulation.env.clock.clone(), name.to_owned());
        async move {
            let service = running.lock().await.app().service();
            let mut body = Vec::new();
            let reply = service.respond(&mut Request::unconnected(head, &mut body)).await;
            let status = reply.status();
            let BodyContent::Stream(mut feed) = reply.into_content() else {
                return journal.note(&*clock, &format!("{name} is answered {status}"));
            };
            let mut has_more = true;
            while has_more {
                let mut frames = Vec::new();
                has_more = feed.fill(&mut frames).await;
                let text = String::from_utf8(frames).expect("it is text");
                for frame in text.split_terminator("\n\n") {
                    let field = |word: &str| frame.lines().find_map(|line| line.strip_prefix(word));
                    if let Some(id) = field("id: ") {
                        let data = field("data: ").unwrap_or_default();
                        let event: serde_json::Value = serde_json::from_str(data).expect("JSON");
                        let what = match field("event: ") {
                            Some("message") => event["type"].as_str().expect("each has a type"),
                            other => other.expect("each says what it is"),
                        };
                        journal.note(&*clock, &format!("{name} gets {what} {id}"));
                    }
                }
            }
            journal.note(&*clock, &format!("{name} is disconnected"));
        }
    }

    /// What the store answers.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&store::Reader<'_>) -> Result<T, store::StoreFault> + Send + 'static,
    ) -> T {
        let store = self.engine.store.clone();
        let read = self.simulation.complete(async move { store.read(job).await });
        read.expect("a read takes no time").expect("a store in memory is read")
    }

    /// Parts whose health has changed since the last look: `target chat failed: reason`.
    pub(crate) fn health_changes(&mut self) -> Vec<String> {
        let mut now = BTreeMap::new();
        for report in self.simulation.env.health.report() {
            let reason = report.problems.first().map(|problem| problem.problem.reason.clone());
            let state = match report.state {
                HealthState::Ok => "ok".to_owned(),
                state => format!("{}: {}", state.word(), reason.unwrap_or_default()),
            };
            now.insert(report.part.to_string(), state);
        }
        let folder = format!("{}/", self.folder.path().display());
        let mut changes = Vec::new();
        for (part, state) in &now {
            let before = self.health.get(part).map_or("ok", String::as_str);
            if before != state {
                changes.push(format!("{part} is {state}").replace(&folder, ""));
            }
        }
        for part in self.health.keys().filter(|key| !now.contains_key(*key)) {
            changes.push(format!("{part} is gone"));
        }
        self.health = now;
        changes
    }

    /// Ends everything.
    pub(crate) fn close(self) {
        self.stop();
    }

    fn stop(&self) {
        let running = self.running.clone();
        let task = self.simulation.executor.spawn(async move {
            running.lock().await.close(Duration::from_secs(5)).await;
        });
        assert!(self.simulation.run_until(|| task.is_finished()), "a stop waits forever");
        let store = self.engine.store.clone();
        self.simulation.complete(async move { store.close().await });
        // A process would end here; what still runs would keep the lock of the store.
        self.simulation.run_until(|| self.engine.running() == 0);
    }

    /// The path of a file beside the pipeline.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A store in memory under the name `db`.
pub(crate) fn settings() -> Settings {
    Settings {
        place: store::StoreLocation::Memory,
        synchronous: Synchronous::Full,
        batch: 64,
        linger: Duration::ZERO,
        name: "db".into(),
    }
}
