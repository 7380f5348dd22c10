//! A stream lasts for as long as what opened it still opens it.
//!
//! *Invariant:* after a reload that took its token away or asks for one, and after a sign-out,
//! nothing more is sent to it.

use crate::http::app::App;
use crate::http::auth::Scope;
use crate::http::wire::request::Request;
use crate::http::wire::response::{Feed, Reply};
use event_listener::EventListener;
use kernel::env::Pending;

/// What a request showed when it opened a stream.
enum Shown {
    /// Nothing, because nothing was asked for.
    Nothing,
    /// The digest of a token.
    Token(u128),
    /// The digest of a session.
    Session(u128),
}

/// Why a stream is open.
struct StreamGrant {
    app: App,
    shown: Shown,
}

/// A stream and why it is open.
struct GrantedFeed {
    feed: Box<dyn Feed>,
    grant: StreamGrant,
}

/// The answer to a request that was allowed to read; its stream ends with the right to.
pub(super) fn while_allowed(app: &App, request: &Request<'_>, reply: Reply) -> Reply {
    reply.map_feed(|feed| {
        let grant = StreamGrant { app: app.clone(), shown: Shown::of(app, request) };
        Box::new(GrantedFeed { feed, grant })
    })
}

impl Shown {
    /// A token goes before a session, as it does for every request.
    fn of(app: &App, request: &Request<'_>) -> Self {
        if request.header("authorization").is_some() {
            let digest = app.surface().tokens().digest_shown(request);
            return digest.map_or(Shown::Nothing, Shown::Token);
        }
        app.session_in(request.head()).map_or(Shown::Nothing, Shown::Session)
    }
}

impl StreamGrant {
    fn is_in_force(&self) -> bool {
        let surface = self.app.surface();
        let tokens = surface.tokens();
        let token = match self.shown {
            Shown::Nothing => None,
            Shown::Token(digest) => Some(digest),
            Shown::Session(id) => {
                self.app.sessions.token_of(id, self.app.engine.env.clock.monotonic())
            }
        };
        tokens.is_empty() || token.is_some_and(|it| tokens.allow_digest(it, Scope::Read).is_ok())
    }

    /// Ends when somebody may have lost a right. To be made before looking.
    fn listen(&self) -> EventListener {
        self.app.sessions.listen()
    }
}

impl Feed for GrantedFeed {
    fn fill<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pending<'a, bool> {
        Box::pin(async move {
            let more = fill_while(&self.grant, self.feed.fill(out)).await;
            // Looked at again: what came meanwhile may be what it must not read any more.
            if let Some(more) = more.filter(|_| self.grant.is_in_force()) {
                return more;
            }
            out.clear();
            false
        })
    }
}

/// Waits for `filling`; `None` once the grant is gone.
async fn fill_while(grant: &StreamGrant, mut filling: Pending<'_, bool>) -> Option<bool> {
    loop {
        let changes = grant.listen();
        if !grant.is_in_force() {
            return None;
        }
        let changed = async {
            changes.await;
            None
        };
        let filled = smol::future::or(async { Some((&mut filling).await) }, changed).await;
        if filled.is_some() {
            return filled;
        }
    }
}
