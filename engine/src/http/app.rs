//! What the HTTP surface shows of an engine: its streams, its tokens, its hosts.

use crate::engine::Engine;
use crate::http::auth::{Access, Denied, Scope, Tokens};
use crate::http::backlog::StoreBacklog;
use crate::http::front::Front;
use crate::http::gate::QueryGate;
use crate::http::hub::{Hub, Serialise};
use crate::http::service::{ServerState, Service};
use crate::http::sse::{Stream, StreamSettings, TURNS_MAX};
use crate::http::wire::hosts::Hosts;
use crate::http::wire::request::Request;
use crate::reload::Status;
use crate::spec::Server;
use smol::lock::Semaphore;
use stages::contract::StreamShape;
use stages::health::{PartRole, Problem};
use stages::language::{Environment, ServedHost};
use stages::store::{Stored, write_summary};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Most events read from the store to fill the ring of a stream that is new.
const FILL: usize = 1000;
/// What one read of these may hold, in bytes.
const FILL_BYTES: usize = 1 << 20;

/// What the HTTP surface shows of an engine.
#[derive(Clone)]
pub struct App {
    /// The engine.
    pub engine: Arc<Engine>,
    /// How the file on disk stands.
    pub status: Arc<Status>,
    /// The hubs that the writer publishes to.
    pub hubs: Arc<Hubs>,
    /// What is shared with the listener.
    pub state: ServerState,
    /// Who may read the store now.
    pub(super) queries: Arc<QueryGate>,
    turns: Arc<Semaphore>,
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
        let (state, queries) = (ServerState::default(), Arc::default());
        let turns = Arc::new(Semaphore::new(TURNS_MAX));
        App { engine, status, hubs, state, queries, turns, site: Arc::default() }
    }

    /// The service for a listener.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Front::new(self.clone()))
    }

    /// Takes tokens and streams from the running generation. A stream whose settings are the same
    /// stays as it is, with its clients.
    pub async fn follow(&self, environment: &dyn Environment) {
        let generation = self.engine.generation();
        self.state.hosts.set(self.hosts_of(&generation.plan.server, environment));
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

    /// The hosts that requests may be addressed to. One that comes from outside the file and is no
    /// host is left out, and reported.
    fn hosts_of(&self, server: &Server, environment: &dyn Environment) -> Hosts {
        let health = self.engine.env.health.part(PartRole::Server, "");
        health.clear("bad-host");
        let given = server.hosts.iter().filter_map(|it| it.value.resolve(environment).ok());
        let mut served = Vec::new();
        // A variable may hold several.
        for host in
            given.flat_map(|it| it.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        {
            match ServedHost::parse(&host) {
                Some(host) => served.push(host),
                None => {
                    let problem = Problem::degraded("bad-host", format!("`{host}` is not a host"));
                    let advice = "correct what `server { hosts }` takes from outside the file";
                    health.report(problem.about(host).advise(advice));
                }
            }
        }
        let public = server.public_url.as_ref();
        let public = public.and_then(|it| it.value.resolve(environment).ok());
        Hosts::new(served, public.as_deref())
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
        let after = store.read(move |it| it.pos_before_newest(replay)).await.unwrap_or_default();
        let hub = Arc::new(Hub::new(name.clone(), shape.replay, after, serialise));
        let (mut from, end) = (after, u64::MAX >> 1);
        while from < end {
            let read = store.read(move |it| it.stream(from, end, FILL, FILL_BYTES)).await;
            // Without them the stream begins with what comes; its clients read the store.
            let Ok(chunk) = read else { break };
            from = chunk.to;
            hub.publish(&chunk.events.into_iter().map(Arc::new).collect::<Vec<_>>());
        }
        Stream {
            hub,
            backlog: Arc::new(StoreBacklog(store.clone())),
            settings: StreamSettings {
                clients_max: shape.clients_max,
                replay_max: shape.replay,
                heartbeat: shape.heartbeat,
                retry: Duration::from_secs(2),
            },
            clock: self.engine.env.clock.clone(),
            turns: self.turns.clone(),
        }
    }

    /// Whether a request may do what `scope` is for.
    pub(super) fn allow(&self, request: &Request<'_>, scope: Scope) -> Result<Access, Denied> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.tokens.allow(request, scope)
    }

    pub(super) fn allow_send(&self, request: &Request<'_>, path: &str) -> Result<Access, Denied> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.senders.get(path).unwrap_or(&site.tokens).allow(request, Scope::Send)
    }

    pub(super) fn stream(&self, path: &str) -> Option<Stream> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.streams.get(path).map(|it| it.2.clone())
    }

    /// Where the streams are.
    pub(super) fn stream_paths(&self) -> Vec<String> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.streams.keys().cloned().collect()
    }

    /// Every stream with its name.
    pub fn streams(&self) -> Vec<(Arc<str>, Stream)> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        site.streams.values().map(|it| (it.0.clone(), it.2.clone())).collect()
    }
}
