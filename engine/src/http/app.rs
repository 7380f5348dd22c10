//! The engine behind the guard: ingest and streams are served here, everything else through the
//! router.

use crate::engine::Engine;
use crate::http::api;
use crate::http::auth::{Scope, Tokens};
use crate::http::convert::through_tide;
use crate::http::hub::{Hub, Serialise};
use crate::http::ingest;
use crate::http::problem::Problem;
use crate::http::service::Service;
use crate::http::sse::{Backlog, Stream, StreamSettings};
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use crate::plan::diff::{Diff, PartFate, PlanRole};
use crate::reload::Status;
use crate::run::Generation;
use stages::contract::{Fault, Route, StreamShape};
use stages::env::Pending;
use stages::language::Environment;
use stages::store::{Store, Stored, write_summary};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Events read from the store to fill the ring of a stream that is new.
const FILL: usize = 1000;

/// What the HTTP surface shows of an engine.
#[derive(Clone)]
pub struct App {
    /// The engine.
    pub engine: Arc<Engine>,
    /// How the file on disk stands.
    pub status: Arc<Status>,
    /// The hubs that the writer publishes to.
    pub hubs: Arc<Hubs>,
    surface: Arc<RwLock<Arc<Surface>>>,
}

/// Everything that a request meets: routes, what guards them, and streams, all of one generation.
/// A reload replaces it as a whole, so that no route is served before its guard.
#[derive(Default)]
pub struct Surface {
    /// Routes of sources with the names of their sources.
    routes: Vec<(Arc<str>, Route)>,
    /// The largest body of a request.
    body_max: u64,
    tokens: Tokens,
    /// Tokens of sources that have their own, by path.
    senders: BTreeMap<String, Tokens>,
    streams: BTreeMap<String, LiveStream>,
}

/// A stream that clients may connect to, and its place among the hubs.
#[derive(Clone)]
struct LiveStream {
    name: Arc<str>,
    stream: Stream,
    _seat: Arc<HubSeat>,
}

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
    pub fn publish(&self, batch: &[Arc<Stored>]) {
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
    pub fn new(engine: Arc<Engine>, status: Arc<Status>, hubs: Arc<Hubs>) -> Self {
        App { engine, status, hubs, surface: Arc::default() }
    }

    /// The service for a listener.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Front { app: self.clone(), router: api::router(self.clone()) })
    }

    fn surface(&self) -> Arc<Surface> {
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
        let mut tokens = Tokens::default();
        for token in &plan.server.tokens {
            let secret = token.value.value.resolve(environment).map_err(|unset| {
                Fault::permanent(format!("the token `{}`: {unset}", token.name.value))
            })?;
            let scopes = token.scopes.iter().filter_map(|it| Scope::parse(it)).collect();
            tokens.add(token.name.value.clone(), &secret, scopes);
        }
        assert_eq!(tokens.is_empty(), plan.server.tokens.is_empty(), "each token guards");
        let (mut senders, mut routes) = (BTreeMap::new(), Vec::new());
        for (index, route) in &generation.routes {
            let source = &plan.sources[*index].name;
            if let Some(secret) = &route.bearer {
                let mut own = Tokens::default();
                own.add(source.to_string(), secret, vec![Scope::Send]);
                senders.insert(route.path.clone(), own);
            }
            routes.push((source.clone(), route.clone()));
        }
        let (surface, mut streams) = (self.surface(), BTreeMap::new());
        for (name, shape) in plan.streams() {
            let is_kept = diff.fate(PlanRole::Sink, name) == PartFate::Kept;
            let kept = surface.streams.get(&shape.path).filter(|it| is_kept && it.name == *name);
            let stream = match kept {
                Some(stream) => stream.clone(),
                None => self.open_stream(name, shape, &plan.name).await,
            };
            streams.insert(shape.path.clone(), stream);
        }
        let body_max = plan.server.body_max;
        Ok(Surface { routes, body_max, tokens, senders, streams })
    }

    /// Puts a surface in force. Streams that it does not share with the one before end, and their
    /// clients resume where they connect again.
    pub fn activate(&self, surface: Surface) {
        let surface = Arc::new(surface);
        let mut current = self.surface.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::replace(&mut *current, surface.clone());
        drop(current);
        let goes_on = |it: &LiveStream| {
            surface.streams.values().any(|new| Arc::ptr_eq(&new.stream.hub, &it.stream.hub))
        };
        // A request under way may hold the earlier surface for a while; its streams end now.
        earlier.streams.values().filter(|it| !goes_on(it)).for_each(|it| it.stream.hub.close());
    }

    /// A stream whose ring holds the newest events of the store.
    async fn open_stream(
        &self,
        name: &Arc<str>,
        shape: &StreamShape,
        pipeline: &Arc<str>,
    ) -> LiveStream {
        let (redact, pipeline) = (shape.redact.clone(), pipeline.clone());
        let serialise: Serialise = Arc::new(move |stored| {
            let mut text = String::with_capacity(512);
            write_summary(&mut text, stored, &pipeline, &redact);
            text
        });
        let store = &self.engine.store;
        let mut began = 0;
        let seat = self.hubs.add(|| {
            began = store.figures().highest_pos.load(Ordering::SeqCst);
            Arc::new(Hub::new(name.clone(), shape.replay, began, serialise))
        });
        let replay = shape.replay.min(FILL);
        let older = store
            .read(move |reader| {
                let from = reader.pos_before_newest(replay)?.min(began);
                Ok((from, reader.stream(from, began, FILL)?))
            })
            .await;
        // A ring that cannot be filled is empty: clients read the store instead.
        if let Ok((from, older)) = older {
            seat.hub.fill(began, from, older.into_iter().map(Arc::new).collect());
        }
        let stream = Stream {
            hub: seat.hub.clone(),
            backlog: Arc::new(FromStore(store.clone())),
            settings: StreamSettings {
                clients_max: shape.clients_max,
                replay_max: shape.replay,
                heartbeat: shape.heartbeat,
                retry: Duration::from_secs(2),
            },
            clock: self.engine.env.clock.clone(),
        };
        LiveStream { name: name.clone(), stream, _seat: Arc::new(seat) }
    }

    /// Every stream with its name.
    pub fn streams(&self) -> Vec<(Arc<str>, Stream)> {
        let surface = self.surface();
        surface.streams.values().map(|it| (it.name.clone(), it.stream.clone())).collect()
    }
}

impl Surface {
    fn allow_send(&self, request: &Request<'_>, path: &str) -> Result<(), Reply> {
        self.senders.get(path).unwrap_or(&self.tokens).allow(request, Scope::Send)
    }
}

struct Front {
    app: App,
    router: tide::Server<App>,
}

impl Front {
    async fn answer(&self, request: &mut Request<'_>) -> Reply {
        let path = request.head().path().to_owned();
        let surface = self.app.surface();
        if let Some((source, route)) = surface.routes.iter().find(|it| it.1.path == path) {
            return self.ingest(request, route, source, &surface).await;
        }
        if let Some(live) = surface.streams.get(&path) {
            if let Err(refused) = surface.tokens.allow(request, Scope::Read) {
                return refused;
            }
            return live.stream.open(request);
        }
        self.routed(request, &path, &surface).await
    }

    async fn ingest(
        &self,
        request: &mut Request<'_>,
        route: &Route,
        source: &Arc<str>,
        surface: &Surface,
    ) -> Reply {
        let method = request.head().method().word();
        if !route.methods.iter().any(|it| it == method) {
            let allowed = route.methods.join(", ");
            let problem = Problem::new(405, format!("this path takes {allowed}"));
            return Reply::from(problem).with("allow", allowed);
        }
        // A signature is over the body: it is checked when that is read, before it is parsed.
        let allowed = match &route.signature {
            Some(signature) => ingest::is_signed(signature, request),
            None => surface.allow_send(request, &route.path),
        };
        if let Err(refused) = allowed {
            return refused;
        }
        let body_max = route.body_max.unwrap_or(surface.body_max);
        ingest::answer(&self.app.engine, request, route, source, body_max).await
    }

    async fn routed(&self, request: &mut Request<'_>, path: &str, surface: &Surface) -> Reply {
        let is_open = matches!(path, "/healthz" | "/readyz");
        let scope =
            if path.starts_with("/api/dead-letters") { Scope::Redrive } else { Scope::Read };
        let is_known = surface.tokens.allow(request, scope);
        if path == "/readyz" {
            return api::ready(&self.app, is_known.is_ok());
        }
        if let (Err(refused), false) = (is_known, is_open) {
            return refused;
        }
        let is_safe = matches!(request.head().method().word(), "GET" | "HEAD");
        // A page of another site can make a browser send, but not with this type.
        let is_json =
            request.header("content-type").is_some_and(|it| it.starts_with("application/json"));
        if !is_safe && !is_json && request.head().method().word() == "POST" {
            return Problem::new(415, "send `content-type: application/json`").into();
        }
        let body = match request.body(1 << 16).await {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        through_tide(&self.router, request.head(), body).await
    }
}

impl Service for Front {
    fn respond<'a>(&'a self, request: &'a mut Request<'_>) -> Pending<'a, Reply> {
        Box::pin(self.answer(request))
    }
}

/// What a client that is behind the ring reads.
struct FromStore(Store);

impl Backlog for FromStore {
    fn chunk(
        &self,
        after_pos: u64,
        up_to: u64,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Arc<Stored>>, String>> {
        Box::pin(async move {
            let rows = self.0.read(move |it| it.stream(after_pos, up_to, limit)).await;
            rows.map(|it| it.into_iter().map(Arc::new).collect()).map_err(|it| it.reason)
        })
    }

    fn taken_pos(&self) -> u64 {
        self.0.figures().taken_pos.load(Ordering::Relaxed)
    }

    fn highest_pos(&self) -> u64 {
        self.0.figures().highest_pos.load(Ordering::Relaxed)
    }
}
