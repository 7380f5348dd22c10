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
use crate::reload::Status;
use stages::contract::{Route, StreamShape};
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
    site: Arc<RwLock<Site>>,
}

/// What a reload may change.
#[derive(Default)]
struct Site {
    tokens: Tokens,
    /// Tokens of sources that have their own, by path.
    senders: BTreeMap<String, Tokens>,
    streams: BTreeMap<String, (Arc<str>, StreamShape, Stream)>,
}

/// The hubs that the writer publishes to.
#[derive(Default)]
pub struct Hubs(RwLock<Vec<Arc<Hub>>>);

impl Hubs {
    /// Hands a committed batch to every hub, in the order of `pos`.
    pub fn publish(&self, batch: &[Arc<Stored>]) {
        let hubs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        hubs.iter().for_each(|it| it.publish(batch));
    }
}

impl App {
    /// The surface of an engine; [`App::follow`] makes it fit the running generation.
    pub fn new(engine: Arc<Engine>, status: Arc<Status>, hubs: Arc<Hubs>) -> Self {
        App { engine, status, hubs, site: Arc::default() }
    }

    /// The service for a listener.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Front { app: self.clone(), router: api::router(self.clone()) })
    }

    /// Takes tokens and streams from the running generation. A stream whose settings are the same
    /// stays as it is, with its clients.
    pub async fn follow(&self, environment: &dyn Environment) {
        let generation = self.engine.generation();
        let mut tokens = Tokens::default();
        for token in &generation.plan.server.tokens {
            // The plan has seen that the variable is set; what is gone since then opens nothing.
            if let Ok(secret) = token.value.value.resolve(environment) {
                let scopes = token.scopes.iter().filter_map(|it| Scope::parse(it)).collect();
                tokens.add(token.name.value.clone(), &secret, scopes);
            }
        }
        let mut senders = BTreeMap::new();
        for (index, route) in &generation.routes {
            if let Some(secret) = &route.bearer {
                let mut own = Tokens::default();
                let name = generation.plan.sources[*index].name.to_string();
                own.add(name, secret, vec![Scope::Send]);
                senders.insert(route.path.clone(), own);
            }
        }
        let mut streams = BTreeMap::new();
        for (name, shape) in generation.plan.streams() {
            let stream = match self.kept(name, shape) {
                Some(stream) => stream,
                None => self.open_stream(name, shape, &generation.plan.name).await,
            };
            streams.insert(shape.path.clone(), (name.clone(), shape.clone(), stream));
        }
        let hubs = streams.values().map(|it| it.2.hub.clone()).collect();
        *self.hubs.0.write().unwrap_or_else(PoisonError::into_inner) = hubs;
        *self.site.write().unwrap_or_else(PoisonError::into_inner) =
            Site { tokens, senders, streams };
    }

    fn kept(&self, name: &Arc<str>, shape: &StreamShape) -> Option<Stream> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        let (known, known_shape, stream) = site.streams.get(&shape.path)?;
        (known == name && known_shape == shape).then(|| stream.clone())
    }

    /// A stream whose ring holds the newest events of the store.
    async fn open_stream(
        &self,
        name: &Arc<str>,
        shape: &StreamShape,
        pipeline: &Arc<str>,
    ) -> Stream {
        let (redact, pipeline) = (shape.redact.clone(), pipeline.clone());
        let serialise: Serialise = Arc::new(move |stored| {
            let mut text = String::with_capacity(512);
            write_summary(&mut text, stored, &pipeline, &redact);
            text
        });
        let store = &self.engine.store;
        let replay = shape.replay.min(FILL);
        let filled = store
            .read(move |it| {
                let after = it.pos_before_newest(replay)?;
                Ok((after, it.stream(after, u64::MAX >> 1, FILL)?))
            })
            .await;
        let (after, newest) = filled.unwrap_or_default();
        let hub = Arc::new(Hub::new(name.clone(), shape.replay, after, serialise));
        let newest: Vec<Arc<Stored>> = newest.into_iter().map(Arc::new).collect();
        hub.publish(&newest);
        Stream {
            hub,
            backlog: Arc::new(FromStore(store.clone())),
            settings: StreamSettings {
                clients_max: shape.clients_max,
                replay_max: shape.replay,
                heartbeat: shape.heartbeat,
                retry: Duration::from_secs(2),
            },
            clock: self.engine.env.clock.clone(),
        }
    }

    /// Whether a request may do what `scope` is for.
    fn allow(&self, request: &Request<'_>, scope: Scope) -> Result<(), Reply> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.tokens.allow(request, scope)
    }

    fn allow_send(&self, request: &Request<'_>, path: &str) -> Result<(), Reply> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.senders.get(path).unwrap_or(&site.tokens).allow(request, Scope::Send)
    }

    fn stream(&self, path: &str) -> Option<Stream> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.streams.get(path).map(|it| it.2.clone())
    }

    /// Every stream with its name.
    pub fn streams(&self) -> Vec<(Arc<str>, Stream)> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.streams.values().map(|it| (it.0.clone(), it.2.clone())).collect()
    }
}

struct Front {
    app: App,
    router: tide::Server<App>,
}

impl Front {
    async fn answer(&self, request: &mut Request<'_>) -> Reply {
        let path = request.head().path().to_owned();
        let generation = self.app.engine.generation();
        let route = generation.routes.iter().find(|it| it.1.path == path);
        if let Some((index, route)) = route {
            let source = generation.plan.sources[*index].name.clone();
            return self.ingest(request, route, &source, generation.plan.server.body_max).await;
        }
        if let Some(stream) = self.app.stream(&path) {
            if let Err(refused) = self.app.allow(request, Scope::Read) {
                return refused;
            }
            return stream.open(request);
        }
        self.routed(request, &path).await
    }

    async fn ingest(
        &self,
        request: &mut Request<'_>,
        route: &Route,
        source: &Arc<str>,
        body_max: u64,
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
            None => self.app.allow_send(request, &route.path),
        };
        if let Err(refused) = allowed {
            return refused;
        }
        let body_max = route.body_max.unwrap_or(body_max);
        ingest::answer(&self.app.engine, request, route, source, body_max).await
    }

    async fn routed(&self, request: &mut Request<'_>, path: &str) -> Reply {
        let is_open = matches!(path, "/healthz" | "/readyz");
        let scope =
            if path.starts_with("/api/dead-letters") { Scope::Redrive } else { Scope::Read };
        let is_known = self.app.allow(request, scope);
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

    fn damaged(&self, after_pos: u64, up_to: u64) -> Vec<u64> {
        self.0.damaged(after_pos, up_to)
    }
}
