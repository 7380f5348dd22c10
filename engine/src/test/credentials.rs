//! What a message shows of its sender, checked as the engine checks it.

use crate::http::auth::{Scope, Tokens};
use crate::intake::Rejection;
use compiler::plan::Plan;
use kernel::time::Timestamp;
use language::Environment;
use serde_json::Value;
use stages::contract::HttpRoute;
use stages::signature::Signed;

/// The tokens of the server, for sources that have no credential of their own.
pub(super) fn tokens_of(plan: &Plan, variables: &dyn Environment) -> Tokens {
    let mut tokens = Tokens::default();
    for token in &plan.server.tokens {
        let secret = token.value.value.resolve(variables).unwrap_or_default();
        let scopes = token.scopes.iter().filter_map(|it| Scope::parse(it)).collect();
        tokens.add(token.name.value.clone(), &secret, scopes);
    }
    tokens
}

/// Whether a source wants to know who sends.
pub(super) fn are_asked(route: &HttpRoute, tokens: &Tokens) -> bool {
    route.signature.is_some() || route.bearer.is_some() || !tokens.is_empty()
}

/// A signature where the source has one, else a token: the source's own before the server's.
pub(super) fn check(
    route: &HttpRoute,
    tokens: &Tokens,
    headers: &serde_json::Map<String, Value>,
    body: &[u8],
    now: Timestamp,
) -> Result<Signed, Rejection> {
    let header = |name: &str| headers.get(&name.to_ascii_lowercase())?.as_str();
    if let Some(signature) = &route.signature {
        return signature.check(&header, body, now).map_err(|it| refused(401, it.to_string()));
    }
    let own = route.bearer.as_ref().map(|secret| {
        let mut own = Tokens::default();
        own.add("own", secret, vec![Scope::Send]);
        own
    });
    let shown = header("authorization");
    let allowed = own.as_ref().unwrap_or(tokens).allow_field(shown, Scope::Send);
    allowed.map(|_| Signed::default()).map_err(|denied| {
        let (status, detail) = denied.told();
        refused(status, detail)
    })
}

fn refused(status: u16, detail: String) -> Rejection {
    Rejection {
        is_whole: false,
        status,
        detail,
        violations: Vec::new(),
        is_kept: false,
        source: None,
        id: None,
        stage: "intake".into(),
    }
}
