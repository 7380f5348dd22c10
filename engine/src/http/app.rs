//! What the HTTP surface shows of an engine: its streams, its tokens, its hosts.

use crate::engine::Engine;
use crate::http::auth::{Access, Denied, Scope, Tokens};
use crate::http::backlog::StoreBacklog;
use crate::http::front::Front;
use crate::http::gate::QueryGate;
use crate::http::hub::{Hub, Serialise};
use crate::http::ingest::ReplayedIds;
use crate::http::service::{ServerState, Service};
use crate::http::sessions::{self, Sessions};
use crate::http::sse::{Stream, StreamSettings, TURNS_MAX};
use crate::http::tls::{TlsFiles, TlsIdentity};
use crate::http::wire::head::Head;
use crate::http::wire::hosts::Hosts;
use crate::http::wire::request::Request;
use crate::reload::Status;
use crate::run::Generation;
use crate::run::rate::RateLimiter;
use crate::run::tap::TAPS_MAX;
use compiler::plan::diff::{Diff, PartFate, PlanRole};
use compiler::plan::{Plan, SourcePlan};
use compiler::spec::{RateLimit, ServerSettings};
use kernel::fault::Fault;
use kernel::health::{HealthPart, HealthProblem, PartRole};
use language::{Environment, Rate, ServedHost};
use smol::lock::Semaphore;
use stages::contract::{HttpRoute, StreamShape};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{StoredEvent, write_summary};
use wire::Fetch;

/// Most events read from the store at once, to fill the ring of a stream that is new.
const FILL: usize = 1000;
/// The code of a server that no client can connect to.
const NO_CONNECTIONS: &str = "no-connections";
/// What one read of these may hold, in bytes.
const FILL_BYTES: usize = 1 << 20;

/// How often notifiers are tested, all together: whoever may only send must not flood a phone.
const NOTIFIER_TESTS: RateLimit =
    RateLimit { rate: Rate { count: 6.0, per: Duration::from_secs(60) }, burst: 3 };

/// Where the page's own stream is; no sink of a file can have this path, and none this name.
pub(super) const PAGE_STREAM: &str = "/api/stream";
/// The most pages that may be open at once.
const PAGES_MAX: usize = 128;
/// Events that a page is shown when it is opened.
const PAGE_REPLAY: usize = 200;
/// What is sent to a page is gathered for this long.
const PAGE_PACE: Duration = Duration::from_millis(250);

/// What the HTTP surface shows of an engine.
#[derive(Clone)]
pub struct App {
    /// The engine.
    pub engine: Arc<Engine>,
    /// How the file on disk stands.
    pub status: Arc<Status>,
    /// The hubs that the writer publishes to.
    pub hubs: Arc<Hubs>,
    /// What makes requests to the outside.
    pub fetch: Arc<dyn Fetch>,
    /// What is shared with the listener.
    pub state: ServerState,
    /// Signed requests that came again under another id.
    pub(super) replayed: Arc<ReplayedIds>,
    /// Who may read the store now.
    pub(super) queries: Arc<QueryGate>,
    /// Who has signed in with a browser.
    pub(super) sessions: Arc<Sessions>,
    /// How often notifiers are tested.
    pub(super) notifier_tests: Arc<RateLimiter>,
    turns: Arc<Semaphore>,
    surface: Arc<RwLock<Arc<Surface>>>,
}

/// Everything that a request meets: routes, what guards them, and streams, all of one generation.
/// A reload replaces it as a whole, so that no route is served before its guard.
#[derive(Default)]
pub struct Surface {
    hosts: Hosts,
    /// What a variable gave as a host and is none.
    bad_hosts: Vec<String>,
    /// Routes with the sources whose they are.
    routes: Vec<(SourcePlan, HttpRoute)>,
    /// What HTTPS is served with, and where it was read.
    tls: Option<(TlsFiles, TlsIdentity)>,
    /// Why the files on disk are not what is served.
    bad_tls: Option<String>,
    /// The largest body of a request, in bytes.
    pub(super) body_max: u64,
    tokens: Tokens,
    streams: BTreeMap<String, LiveStream>,
    /// How many clients all streams together may have.
    stream_clients: usize,
}

/// A stream that clients may connect to, and its place among the hubs.
#[derive(Clone)]
struct LiveStream {
    name: Arc<str>,
    stream: Stream,
    _seat: Arc<HubSeat>,
}

/// A stream to be opened: its name, and the sink whose events it has.
struct StreamPlan<'p> {
    name: Arc<str>,
    sink: &'p Arc<str>,
    shape: &'p StreamShape,
    settings: StreamSettings,
}

/// What HTTPS is served with, and why that is not what is on the disk.
type ReadTls = (Option<(TlsFiles, TlsIdentity)>, Option<String>);

/// The hubs that the writer publishes to.
#[derive(Default)]
pub struct Hubs(RwLock<Vec<Arc<Hub>>>);

/// A hub's place among those that are published to, until it is dropped.
struct HubSeat {
    hubs: Arc<Hubs>,
    hub: Arc<Hub>,
}

impl Hubs {
    /// Hands a committed batch to every hub, in the order of `pos`.
    pub fn publish(&self, batch: &[Arc<StoredEvent>]) {
        let hubs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        hubs.iter().for_each(|hub| hub.publish(batch));
    }

    /// Adds the hub that `make` gives. While it is made nothing is published, so that it can begin
    /// at what is visible now and misses nothing after it.
    fn add(self: &Arc<Self>, make: impl FnOnce() -> Arc<Hub>) -> HubSeat {
        let mut hubs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let hub = make();
        hubs.push(hub.clone());
        HubSeat { hubs: self.clone(), hub }
    }
}

impl Drop for HubSeat {
    fn drop(&mut self) {
        let mut hubs = self.hubs.0.write().unwrap_or_else(PoisonError::into_inner);
        hubs.retain(|hub| !Arc::ptr_eq(hub, &self.hub));
        drop(hubs);
        self.hub.close();
    }
}

impl App {
    /// The surface of an engine; until [`App::activate`] it has no route of a source, and no
    /// token opens anything.
    pub fn new(
        engine: Arc<Engine>,
        status: Arc<Status>,
        hubs: Arc<Hubs>,
        fetch: Arc<dyn Fetch>,
    ) -> Self {
        let (state, queries) = (ServerState::default(), Arc::default());
        let turns = Arc::new(Semaphore::new(TURNS_MAX));
        let (replayed, surface) = (Arc::default(), Arc::default());
        let sessions = Arc::default();
        let notifier_tests = Arc::new(RateLimiter::new(NOTIFIER_TESTS));
        App {
            engine,
            status,
            hubs,
            fetch,
            state,
            replayed,
            queries,
            sessions,
            notifier_tests,
            turns,
            surface,
        }
    }

    /// The service for a listener.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Front::new(self.clone()))
    }

    /// What is in force; a request meets one surface from its beginning to its end.
    pub(super) fn surface(&self) -> Arc<Surface> {
        self.surface.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the surface of a generation that is not running yet. Streams that the diff keeps are
    /// shared with the one in force, with their clients. A secret that cannot be read is a fault:
    /// without it the surface would be open, or shut, to the wrong people.
    pub async fn prepare(
        &self,
        generation: &Generation,
        diff: &Diff,
        environment: &dyn Environment,
    ) -> Result<Surface, Fault> {
        let plan = &generation.plan;
        let mut tokens = self.sessions.tokens();
        for token in &plan.server.tokens {
            let secret = token.value.value.resolve(environment).map_err(|unset| {
                Fault::permanent(format!("the token `{}`: {unset}", token.name.value))
            })?;
            let scopes = token.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect();
            tokens.add(token.name.value.clone(), &secret, scopes);
        }
        assert_eq!(tokens.is_empty(), plan.server.tokens.is_empty(), "each token guards");
        let routes = generation.routes.iter();
        let routes =
            routes.map(|(index, route)| (plan.sources[*index].clone(), route.clone())).collect();
        let streams = self.streams_of(plan, diff).await;
        let (tls, bad_tls) = self.read_tls(&plan.server, environment).await?;
        let (hosts, bad_hosts) = hosts_of(&plan.server, environment);
        let body_max = plan.server.body_max;
        let clients = streams.values().map(|stream| stream.stream.settings.clients_max);
        let stream_clients = clients.fold(0, usize::saturating_add);
        Ok(Surface {
            hosts,
            bad_hosts,
            routes,
            tls,
            bad_tls,
            body_max,
            tokens,
            streams,
            stream_clients,
        })
    }

    /// The streams of a plan, by their paths, those of its sinks and the one of the page; what the
    /// diff keeps goes on.
    async fn streams_of(&self, plan: &Plan, diff: &Diff) -> BTreeMap<String, LiveStream> {
        let page = page_stream();
        let of_page = plan.store.iter().map(|(sink, _)| {
            let settings = StreamSettings {
                pace: PAGE_PACE,
                advice: "close a page that nobody looks at",
                ..settings_of(&page)
            };
            StreamPlan { name: PAGE_STREAM.into(), sink, shape: &page, settings }
        });
        let of_sinks = plan.streams().map(|(name, shape)| {
            let settings = settings_of(shape);
            StreamPlan { name: name.clone(), sink: name, shape, settings }
        });
        let (surface, mut streams) = (self.surface(), BTreeMap::new());
        for wanted in of_sinks.chain(of_page) {
            let (path, name) = (wanted.shape.path.clone(), wanted.name.clone());
            let is_kept = diff.fate(PlanRole::Sink, wanted.sink) == PartFate::Kept;
            let kept = surface.streams.get(&path).filter(|stream| is_kept && stream.name == name);
            let stream = match kept {
                Some(stream) => stream.clone(),
                None => self.open_stream(wanted, plan).await,
            };
            streams.insert(path, stream);
        }
        streams
    }

    /// Puts a surface in force. Streams that it does not share with the one before end, and their
    /// clients resume where they connect again.
    pub fn activate(&self, surface: Surface) {
        let surface = Arc::new(surface);
        self.sessions.follow(&surface.tokens);
        self.report_bad_hosts(&surface.bad_hosts);
        self.report_bad_tls(surface.bad_tls.as_deref());
        self.state.tls.set(surface.tls.as_ref().map(|tls| tls.1.clone()));
        self.state.hosts.set(surface.hosts.clone());
        self.state.places.make_room(surface.stream_clients.saturating_add(TAPS_MAX));
        let mut current = self.surface.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::replace(&mut *current, surface.clone());
        drop(current);
        self.sessions.notify();
        let goes_on = |stream: &LiveStream| {
            surface.streams.values().any(|new| Arc::ptr_eq(&new.stream.hub, &stream.stream.hub))
        };
        // A request under way may hold the earlier surface for a while; its streams end now.
        earlier
            .streams
            .values()
            .filter(|stream| !goes_on(stream))
            .for_each(|stream| stream.stream.hub.close());
        self.forget_closed(&surface);
    }

    /// What streams not in force had to say is over, also of those of a rejected reload.
    fn forget_closed(&self, surface: &Surface) {
        let health = &self.engine.env.health;
        let is_open =
            |part: &HealthPart| surface.streams.values().any(|open| open.name == part.name);
        let streams = health.report().into_iter().map(|report| report.part);
        for part in streams.filter(|stream| stream.role == PartRole::Stream && !is_open(stream)) {
            health.remove(&part);
        }
    }

    /// The certificate of a file's server. A fault rejects the start, or the reload that names other
    /// files; what has gone wrong with the files in use is a problem that the old one outlives.
    async fn read_tls(
        &self,
        server: &ServerSettings,
        environment: &dyn Environment,
    ) -> Result<ReadTls, Fault> {
        if server.tls.is_none() {
            return Ok((None, None));
        }
        let files = server.tls_files(environment).map(|(cert, key)| TlsFiles { cert, key });
        let unset = || Fault::permanent("`server.tls`: a variable is not set");
        let files = files.ok_or_else(unset)?;
        let (reading, pool) = (files.clone(), self.engine.env.pools.reload.clone());
        let read = pool.run(move || TlsIdentity::read(&reading)).await?;
        let surface = self.surface();
        match (read, surface.tls.as_ref().filter(|tls| tls.0 == files)) {
            (Ok(identity), _) => Ok((Some((files, identity)), None)),
            (Err(reason), Some((_, began))) => {
                // It may have been replaced since the surface began.
                let served = self.state.tls.get().unwrap_or_else(|| began.clone());
                Ok((Some((files, served)), Some(reason)))
            }
            (Err(reason), None) => Err(Fault::permanent(format!("`server.tls`: {reason}"))),
        }
    }

    /// Looks whether the certificate on disk is another one; new connections get it then.
    pub async fn refresh_tls(&self) {
        let surface = self.surface();
        let Some((files, served)) = surface.tls.clone() else { return };
        let pool = self.engine.env.pools.reload.clone();
        let Ok(read) = pool.run(move || TlsIdentity::read(&files)).await else { return };
        let current = self.state.tls.get().unwrap_or(served);
        match read {
            Ok(identity) => {
                self.report_bad_tls(None);
                if !identity.is_same(&current) {
                    self.state.tls.set(Some(identity));
                    tracing::info!("new connections get the new certificate");
                }
            }
            Err(reason) => self.report_bad_tls(Some(&reason)),
        }
    }

    /// Whether HTTPS is served.
    pub fn is_tls(&self) -> bool {
        self.state.tls.get().is_some()
    }

    fn report_bad_tls(&self, reason: Option<&str>) {
        let health = self.engine.env.health.part(PartRole::Server, "");
        match reason {
            None => health.clear("bad-certificate"),
            Some(reason) => {
                let reason = format!("the previous certificate is still being served: {reason}");
                let advice =
                    "correct the files of `server { tls }`; they are read when they change";
                health.report(HealthProblem::degraded("bad-certificate", reason).advise(advice));
            }
        }
    }

    /// Says in health whether clients can connect.
    pub(super) fn report_accepting(&self, fault: Option<&io::Error>) {
        let health = self.engine.env.health.part(PartRole::Server, "");
        let Some(fault) = fault else { return health.clear(NO_CONNECTIONS) };
        let reason = format!("no connection can be accepted: {fault}");
        let advice = "close other files and connections of the engine, or raise the limit of open \
                      files (`ulimit -n`, or `LimitNOFILE=` of the service); it is retried";
        health.report(HealthProblem::failed(NO_CONNECTIONS, reason).advise(advice));
    }

    fn report_bad_hosts(&self, hosts: &[String]) {
        let health = self.engine.env.health.part(PartRole::Server, "");
        health.clear("bad-host");
        for host in hosts {
            let problem = HealthProblem::degraded("bad-host", format!("`{host}` is not a host"));
            let advice = "correct the variables and files that `server { hosts }` uses";
            health.report(problem.about(host.clone()).advise(advice));
        }
    }

    /// A stream whose ring holds the newest events of the store.
    async fn open_stream(&self, wanted: StreamPlan<'_>, plan: &Plan) -> LiveStream {
        let StreamPlan { name, sink, shape, settings } = wanted;
        let (redact, pipeline) = (shape.redact.clone(), plan.name.clone());
        let serialise: Serialise = Arc::new(move |stored| {
            let mut text = String::with_capacity(512);
            write_summary(&mut text, stored, &pipeline, &redact);
            text
        });
        let store = &self.engine.store;
        let mut began = 0;
        let seat = self.hubs.add(|| {
            began = store.figures().highest_pos.load(Ordering::SeqCst);
            Arc::new(Hub::new(sink.clone(), shape.replay, began, serialise))
        });
        self.fill(&seat.hub, began, shape.replay.min(FILL)).await;
        let stream = Stream {
            hub: seat.hub.clone(),
            backlog: Arc::new(StoreBacklog(store.clone())),
            settings,
            clock: self.engine.env.clock.clone(),
            globals: plan.globals.clone(),
            turns: self.turns.clone(),
            health: self.engine.env.health.part(PartRole::Stream, name.clone()),
        };
        LiveStream { name, stream, _seat: Arc::new(seat) }
    }

    /// Puts what the store has of the time before `began` into a new ring. One that cannot be
    /// filled stays as it is: clients read the store instead.
    async fn fill(&self, hub: &Hub, began: u64, replay: usize) {
        let store = &self.engine.store;
        let Ok(from) = store.read(move |reader| reader.pos_before_newest(replay)).await else {
            return;
        };
        let mut older = hub.older(from.min(began));
        while older.to() < began {
            let from = older.to();
            let read = store.read(move |reader| reader.stream(from, began, FILL, FILL_BYTES)).await;
            let Ok(chunk) = read else { return };
            older.push(&chunk.events.into_iter().map(Arc::new).collect::<Vec<_>>(), chunk.to);
        }
        // Asked after the reads: what retention takes meanwhile is told too.
        hub.fill(older, store.figures().taken_pos.load(Ordering::SeqCst));
    }

    /// The name of the token that a request shows, or signed in with; empty where none is asked
    /// for.
    pub(super) fn who(&self, authorization: Option<&str>, cookie: Option<&str>) -> String {
        let surface = self.surface();
        let digest = match authorization {
            Some(field) => surface.tokens.digest_in(field),
            None => cookie.and_then(|field| {
                let name = self.cookie_name();
                let mut pairs = field.split(';').filter_map(|part| part.trim().split_once('='));
                let session = pairs.find(|pair| pair.0 == name)?.1;
                let session = self.sessions.id_of(session);
                self.sessions.token_of(session, self.engine.env.clock.monotonic())
            }),
        };
        digest.and_then(|digest| surface.tokens.name_of(digest)).unwrap_or_default().to_owned()
    }

    /// The session that a request brings.
    pub(super) fn session_in(&self, head: &Head) -> Option<u128> {
        sessions::session_of(head, &self.cookie_name()).map(|it| self.sessions.id_of(it))
    }

    /// What the cookie of this engine is called.
    pub(super) fn cookie_name(&self) -> String {
        sessions::cookie_name(&self.engine.generation().plan.name)
    }

    /// Every stream with its name.
    pub fn streams(&self) -> Vec<(Arc<str>, Stream)> {
        let surface = self.surface();
        surface
            .streams
            .values()
            .map(|stream| (stream.name.clone(), stream.stream.clone()))
            .collect()
    }
}

impl Surface {
    /// The source that takes what is sent to a path.
    pub(super) fn source(&self, path: &str) -> Option<&(SourcePlan, HttpRoute)> {
        self.routes.iter().find(|route| route.1.path == path)
    }

    /// The stream at a path.
    pub(super) fn stream(&self, path: &str) -> Option<&Stream> {
        self.streams.get(path).map(|stream| &stream.stream)
    }

    /// Where the file's sources and streams are.
    pub(super) fn paths(&self) -> Vec<String> {
        let sources = self.routes.iter().map(|route| route.1.path.clone());
        let streams = self.streams.keys().filter(|key| *key != PAGE_STREAM);
        sources.chain(streams.cloned()).collect()
    }

    /// Whether a request may do what `scope` is for: by the token that it shows, else by that of
    /// its session.
    pub(super) fn allow(
        &self,
        request: &Request<'_>,
        scope: Scope,
        session: Option<u128>,
    ) -> Result<Access, Denied> {
        match session {
            Some(token) if request.header("authorization").is_none() => {
                self.tokens.allow_digest(token, scope)
            }
            _ => self.tokens.allow(request, scope),
        }
    }

    /// The tokens of the file.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

/// How a sink's stream treats its clients.
fn settings_of(shape: &StreamShape) -> StreamSettings {
    StreamSettings {
        clients_max: shape.clients_max,
        replay_max: shape.replay,
        heartbeat: shape.heartbeat,
        ..StreamSettings::default()
    }
}

/// The stream of the page: what the store has, as it comes.
fn page_stream() -> StreamShape {
    StreamShape {
        path: PAGE_STREAM.to_owned(),
        clients_max: PAGES_MAX,
        replay: PAGE_REPLAY,
        heartbeat: Duration::from_secs(15),
        redact: Vec::new(),
    }
}

/// The hosts that requests may be addressed to, and what comes from outside the file and is no
/// host.
fn hosts_of(server: &ServerSettings, environment: &dyn Environment) -> (Hosts, Vec<String>) {
    let given = server.hosts.iter().filter_map(|host| host.value.resolve(environment).ok());
    let (mut served, mut bad) = (Vec::new(), Vec::new());
    for text in given {
        // A variable may hold several.
        for host in text.split_whitespace() {
            match ServedHost::parse(host) {
                Some(host) => served.push(host),
                None => bad.push(host.to_owned()),
            }
        }
    }
    let public = server.public_url.as_ref();
    let public = public.and_then(|public| public.value.resolve(environment).ok());
    (Hosts::new(served, public.as_deref()), bad)
}
