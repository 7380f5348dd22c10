//! What a message shows of its sender, checked as the engine checks it.

use crate::intake::Rejection;
use compiler::plan::Plan;
use kernel::time::Timestamp;
use language::Environment;
use serde_json::Value;
use stages::contract::HttpRoute;
use stages::signature::Signed;

/// The scope of tokens that may send.
const SEND: &str = "send";

/// The tokens of the server, for sources that have no credential of their own.
pub(super) struct SenderTokens {
    /// Each secret, and whether it may send.
    tokens: Vec<(String, bool)>,
}

impl SenderTokens {
    pub(super) fn of(plan: &Plan, variables: &dyn Environment) -> Self {
        let tokens = plan.server.tokens.iter().map(|it| {
            let secret = it.value.value.resolve(variables).unwrap_or_default();
            (secret, it.scopes.iter().any(|scope| scope == SEND))
        });
        SenderTokens { tokens: tokens.collect() }
    }
}

/// Whether a source wants to know who sends.
pub(super) fn are_asked(route: &HttpRoute, tokens: &SenderTokens) -> bool {
    route.signature.is_some() || route.bearer.is_some() || !tokens.tokens.is_empty()
}

/// A signature where the source has one, else a token: the source's own before the server's.
pub(super) fn check(
    route: &HttpRoute,
    tokens: &SenderTokens,
    headers: &serde_json::Map<String, Value>,
    body: &[u8],
    now: Timestamp,
) -> Result<Signed, Rejection> {
    let header = |name: &str| headers.get(&name.to_ascii_lowercase())?.as_str();
    if let Some(signature) = &route.signature {
        return signature.check(&header, body, now).map_err(|it| refused(401, &it.to_string()));
    }
    let own = route.bearer.as_ref().map(|it| [(it.clone(), true)]);
    let known = own.as_ref().map_or(&tokens.tokens[..], |it| &it[..]);
    if known.is_empty() {
        return Ok(Signed::default());
    }
    let given = header("authorization").and_then(|it| it.split_once(' '));
    let given = given.filter(|it| it.0.eq_ignore_ascii_case("bearer")).map(|it| it.1.trim());
    let Some(given) = given else {
        return Err(refused(401, "send a token: `Authorization: Bearer TOKEN`"));
    };
    match known.iter().find(|it| it.0.trim() == given) {
        None => Err(refused(401, "unknown token")),
        Some((_, false)) => Err(refused(403, "this token lacks the scope `send`")),
        Some((_, true)) => Ok(Signed::default()),
    }
}

fn refused(status: u16, detail: &str) -> Rejection {
    Rejection {
        status,
        detail: detail.to_owned(),
        violations: Vec::new(),
        is_kept: false,
        source: None,
        id: None,
        stage: "intake".into(),
    }
}
