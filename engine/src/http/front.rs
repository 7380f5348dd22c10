//! Who answers a request: a source, a stream, or a page of the router.
//!
//! In this order a request is asked: which page sent it, who sent it, whether the path takes its
//! method, and only then what it brings.

use crate::http::api;
use crate::http::app::{App, Surface};
use crate::http::auth::{Access, Denied, Scope};
use crate::http::browser::{self, PathKind};
use crate::http::convert::through_tide;
use crate::http::grant;
use crate::http::guessing::Guesses;
use crate::http::ingest::{self, Entrance, NotTaken};
use crate::http::listener::counted_address;
use crate::http::paths;
use crate::http::places::{Seat, SeatPhase};
use crate::http::problem::ProblemDetails;
use crate::http::service::{Service, count};
use crate::http::sessions::{self, GUARD_FIELD};
use crate::http::sse::Stream;
use crate::http::tap;
use crate::http::wire::head::Method;
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use compiler::plan::SourcePlan;
use kernel::decode::{self, Unreadable};
use kernel::env::Pending;
use language::nearest;
use serde_json::json;
use stages::contract::HttpRoute;
use stages::credential::{SenderRefusal, SenderState};
use std::io;

/// The largest body of a request that is no event.
const BODY_MAX: usize = 1 << 16;

/// Where a browser signs in and out.
const SESSION: &str = "/api/session";

/// Answers every request of one engine.
pub(super) struct Front {
    app: App,
    router: tide::Server<App>,
    guesses: Guesses,
}

/// What a path leads to.
enum FrontTarget<'s> {
    Source(&'s SourcePlan, &'s HttpRoute),
    Stream(&'s Stream),
    Page,
}

impl FrontTarget<'_> {
    fn kind(&self) -> PathKind {
        match self {
            FrontTarget::Source(..) => PathKind::Source,
            FrontTarget::Stream(_) => PathKind::Stream,
            FrontTarget::Page => PathKind::Page,
        }
    }
}

impl Front {
    pub(super) fn new(app: App) -> Self {
        let router = api::router(app.clone());
        Front { app, router, guesses: Guesses::default() }
    }

    async fn answer(&self, request: &mut Request<'_>) -> Reply {
        let path = request.head().path().to_owned();
        let surface = self.app.surface();
        let target = target(&surface, &path);
        let hosts = self.app.state.hosts.get();
        if let Err(foreign) = browser::check(request.head(), &hosts, target.kind()) {
            count(&self.app.state.counters.foreign_pages);
            return foreign.into();
        }
        match target {
            FrontTarget::Source(source, route) => {
                self.source(request, route, source, &surface).await
            }
            FrontTarget::Stream(stream) => self.stream(request, stream, &surface).await,
            FrontTarget::Page => self.page(request, &path, &surface).await,
        }
    }

    async fn source(
        &self,
        request: &mut Request<'_>,
        route: &HttpRoute,
        source: &SourcePlan,
        surface: &Surface,
    ) -> Reply {
        let sender = match route.credentials.is_empty() {
            true => {
                let allowed = surface.allow(request, Scope::Send, self.signed_in(request));
                match self.admitted(request, allowed).await {
                    Ok(()) => SenderState::Known,
                    Err(refused) => return refused,
                }
            }
            false => match ingest::check_headers(&route.credentials, request) {
                Ok(state) => state,
                Err(refusal) => return self.stranger(request, route, refusal).await,
            },
        };
        if sender == SenderState::Known && !route.credentials.is_empty() {
            request.seat().inspect(|seat: &&Seat| seat.vouch());
        }
        let method = request.head().method();
        if route.methods.iter().any(|it| it == method.word()) {
            let body_max = route.body_max.unwrap_or(surface.body_max);
            let entrance = Entrance { source, route, body_max };
            return match ingest::answer(&self.app, request, entrance, sender).await {
                Ok(reply) | Err(NotTaken::Unreadable(reply)) => reply,
                Err(NotTaken::Stranger(refusal)) => self.stranger(request, route, refusal).await,
            };
        }
        let mut methods: Vec<&str> = route.methods.iter().map(String::as_str).collect();
        methods.extend(["HEAD", "OPTIONS"]);
        match method {
            // Some services ask so whether there is somebody, before they send.
            Method::Head => Reply::empty(200).with("allow", methods.join(", ")),
            Method::Options => Reply::empty(204).with("allow", methods.join(", ")),
            _ => wrong_method(method, &methods),
        }
    }

    /// The answer to who does not show a credential of the source; a wrong one waits for it.
    async fn stranger(
        &self,
        request: &mut Request<'_>,
        route: &HttpRoute,
        refusal: SenderRefusal,
    ) -> Reply {
        let word = match refusal {
            SenderRefusal::Missing(_) => Denied::Missing.word(),
            SenderRefusal::Unknown => Denied::Unknown.word(),
            SenderRefusal::Unsigned(_) => "signature",
        };
        self.app.state.counters.auth_failures.note(word);
        if refusal == SenderRefusal::Unknown {
            self.hold(request).await;
        }
        let scheme = if route.credentials.has_basic() { "Basic" } else { "Bearer" };
        Reply::from(ProblemDetails::new(401, refusal.to_string()))
            .with("www-authenticate", format!("{scheme} realm=\"engine\""))
    }

    async fn stream(&self, request: &mut Request<'_>, stream: &Stream, surface: &Surface) -> Reply {
        let allowed = surface.allow(request, Scope::Read, self.signed_in(request));
        if let Err(refused) = self.admitted(request, allowed).await {
            return refused;
        }
        match request.head().method() {
            Method::Get | Method::Head => {
                let query = request.head().query().unwrap_or_default();
                if let Err(detail) = paths::check_parameters(paths::STREAM, query) {
                    return ProblemDetails::new(400, detail).into();
                }
                grant::while_allowed(&self.app, request, stream.open(request))
            }
            Method::Options => Reply::empty(204).with("allow", "GET, HEAD, OPTIONS"),
            method => wrong_method(method, &["GET", "HEAD", "OPTIONS"]),
        }
    }

    async fn page(&self, request: &mut Request<'_>, path: &str, surface: &Surface) -> Reply {
        if path == "*" {
            return Reply::empty(204).with("allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        }
        if path == SESSION {
            return self.session(request, surface).await;
        }
        let is_by_hand = path.starts_with("/api/dead-letters") || path == "/api/audit";
        let scope = match path {
            "/api/reload" | "/api/pause" | "/api/resume" => Scope::Reload,
            "/api/notifications/test" => Scope::Send,
            _ if is_by_hand => Scope::Redrive,
            _ => Scope::Read,
        };
        let allowed = surface.allow(request, scope, self.signed_in(request));
        let method = request.head().method();
        if path == "/readyz" && matches!(method, Method::Get | Method::Head) {
            // A probe without a right token learns no more than up or down.
            let is_probe = allowed == Err(Denied::Missing);
            let may_know = !is_probe && self.admitted(request, allowed).await.is_ok();
            return api::ready(&self.app, may_know);
        }
        let is_open = path == "/healthz" || api::is_file(path);
        if !is_open && let Err(refused) = self.admitted(request, allowed).await {
            return refused;
        }
        let Some(methods) = paths::methods_of(path) else {
            return unknown_path(path, &surface.paths());
        };
        match method {
            Method::Options => return Reply::empty(204).with("allow", methods.join(", ")),
            _ if !methods.contains(&method.word()) => return wrong_method(method, methods),
            Method::Post if !is_json(request) => {
                let detail = "send the header `Content-Type: application/json`";
                return ProblemDetails::new(415, detail).into();
            }
            _ => {}
        }
        let query = request.head().query().unwrap_or_default();
        if let Err(detail) = paths::check_query(path, query) {
            return ProblemDetails::new(400, detail).into();
        }
        if path == tap::PATH {
            let reply = tap::open(&self.app.engine, request);
            return grant::while_allowed(&self.app, request, reply);
        }
        let body = match request.body(BODY_MAX).await {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        if method == Method::Post
            && let Err(detail) = check_json(&body)
        {
            return ProblemDetails::new(400, detail).into();
        }
        let _query = match self.app.queries.enter(path).await {
            Ok(permit) => permit,
            Err(problem) => return problem.into(),
        };
        through_tide(&self.router, request.head(), body).await
    }

    /// The token that the browser of a request signed in with.
    fn signed_in(&self, request: &Request<'_>) -> Option<u128> {
        let session = self.app.session_in(request.head())?;
        self.app.sessions.token_of(session, self.app.engine.env.clock.monotonic())
    }

    /// Signs a browser in by a token that it shows once, and out.
    async fn session(&self, request: &mut Request<'_>, surface: &Surface) -> Reply {
        let methods = ["POST", "DELETE", "OPTIONS"];
        match request.head().method() {
            Method::Post => self.sign_in(request, surface).await,
            Method::Delete => self.sign_out(request),
            Method::Options => Reply::empty(204).with("allow", methods.join(", ")),
            method => wrong_method(method, &methods),
        }
    }

    async fn sign_in(&self, request: &mut Request<'_>, surface: &Surface) -> Reply {
        let tokens = surface.tokens();
        let shown = match tokens.is_empty() {
            true => Ok(None),
            false => tokens.shown(request).map(Some),
        };
        let allowed = shown.map(|it| if it.is_some() { Access::Shown } else { Access::Open });
        if let Err(refused) = self.admitted(request, allowed).await {
            return refused;
        }
        if let Err(error) = request.body(BODY_MAX).await {
            return error.into();
        }
        let Ok(Some(token)) = shown else {
            return Reply::json(200, &json!({ "scopes": Scope::ALL.map(Scope::word) }));
        };
        let now = self.app.engine.env.clock.monotonic();
        let Some(session) = self.app.sessions.begin(token, now) else {
            return ProblemDetails::new(503, "the system gives no random bytes").into();
        };
        let scopes: Vec<&str> = tokens.scopes_of(token).into_iter().map(Scope::word).collect();
        let cookie = self.cookie(request, Some(&session));
        Reply::json(200, &json!({ "scopes": scopes })).with("set-cookie", cookie)
    }

    fn sign_out(&self, request: &Request<'_>) -> Reply {
        if request.header(GUARD_FIELD).is_none() {
            return ProblemDetails::new(403, "send the header `X-Engine: page`").into();
        }
        let session = sessions::session_of(request.head(), &self.app.cookie_name());
        session.inspect(|session| self.app.sessions.end(session));
        Reply::empty(204).with("set-cookie", self.cookie(request, None))
    }

    /// The browser's own page says in `Origin` whether it came encrypted, also through a proxy. Who
    /// asks by the name of the public URL comes as that says.
    fn cookie(&self, request: &Request<'_>, session: Option<&str>) -> String {
        let host = request.head().host();
        let is_encrypted = self.app.is_tls()
            || self.app.state.hosts.get().is_public_https(host)
            || request.header("origin").is_some_and(|header| header.starts_with("https:"));
        sessions::set_cookie(&self.app.cookie_name(), session, is_encrypted)
    }

    /// The answer to give to who may not, and when: wrong tokens wait for theirs.
    async fn admitted(
        &self,
        request: &mut Request<'_>,
        allowed: Result<Access, Denied>,
    ) -> Result<(), Reply> {
        let denied = match allowed {
            Ok(Access::Open) => return Ok(()),
            Ok(Access::Shown) => {
                request.seat().inspect(|seat| seat.vouch());
                return Ok(());
            }
            Err(denied) => denied,
        };
        self.app.state.counters.auth_failures.note(denied.word());
        if denied == Denied::Unknown {
            self.hold(request).await;
        }
        Err(denied.into())
    }

    /// Holds an answer about a wrong token back. The connection may be closed meanwhile, when its
    /// place is needed.
    async fn hold(&self, request: &mut Request<'_>) {
        let Some(peer) = request.peer() else { return };
        let clock = &self.app.engine.env.clock;
        let hold = self.guesses.note(counted_address(peer), clock.monotonic());
        if hold.is_first {
            tracing::warn!(%peer, "wrong tokens keep coming from one address; its responses are delayed");
        }
        if hold.time.is_zero() {
            return;
        }
        request.seat().inspect(|seat: &&Seat| seat.enter(SeatPhase::Held, clock.monotonic()));
        clock.sleep(hold.time).await;
        request.seat().inspect(|seat: &&Seat| seat.enter(SeatPhase::Answering, clock.monotonic()));
    }
}

/// What a path leads to on this surface.
fn target<'s>(surface: &'s Surface, path: &str) -> FrontTarget<'s> {
    match (surface.source(path), surface.stream(path)) {
        (Some((source, route)), _) => FrontTarget::Source(source, route),
        (None, Some(stream)) => FrontTarget::Stream(stream),
        (None, None) => FrontTarget::Page,
    }
}

impl Service for Front {
    fn respond<'a>(&'a self, request: &'a mut Request<'_>) -> Pending<'a, Reply> {
        Box::pin(self.answer(request))
    }

    fn accepting(&self, fault: Option<&io::Error>) {
        self.app.report_accepting(fault);
    }
}

/// A page of another site can make a browser send, but not with this type.
fn is_json(request: &Request<'_>) -> bool {
    let kind = request.header("content-type").and_then(|header| header.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// A body is read as events are: without a name that is given twice, of which one would be lost.
fn check_json(body: &[u8]) -> Result<(), String> {
    if body.is_empty() {
        return Ok(());
    }
    match decode::parse(body) {
        Ok(_) => Ok(()),
        Err(Unreadable::NotJson(reason)) => Err(format!("the body is not JSON: {reason}")),
        Err(Unreadable::Refused(reason)) => Err(format!("the body cannot be read: {reason}")),
    }
}

fn wrong_method(method: Method, methods: &[&str]) -> Reply {
    let methods = methods.join(", ");
    let detail = format!("this path does not support {method}, only {methods}");
    Reply::from(ProblemDetails::new(405, detail)).with("allow", methods)
}

/// Longest path that is repeated to the client.
const PATH_SHOWN: usize = 100;

/// Most paths that a 404 lists.
const PATHS_SHOWN: usize = 5;

/// `own` are the paths that the file gives to sources and streams.
fn unknown_path(path: &str, own: &[String]) -> Reply {
    let shown: String = path.chars().take(PATH_SHOWN).collect();
    let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
    for path in paths::all() {
        all.push(path);
    }
    let without_slash = path.strip_suffix('/').filter(|it| all.contains(it));
    let help = match without_slash.or_else(|| nearest(&shown, all)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if own.is_empty() => "try the page at `/`, or `/api/…`".to_owned(),
        None => {
            let listed = own.iter().take(PATHS_SHOWN).map(|it| format!("`{it}`, "));
            format!("there is {}and `/api/…`", listed.collect::<String>())
        }
    };
    ProblemDetails::new(404, format!("there is nothing at `{shown}`; {help}")).into()
}
