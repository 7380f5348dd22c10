//! What a message shows of its sender, checked as the engine checks it.

use crate::http::auth::{Scope, Tokens};
use crate::intake::Rejection;
use compiler::plan::Plan;
use kernel::time::Timestamp;
use language::Environment;
use serde_json::Value;
use stages::contract::HttpRoute;
use stages::credential::{SenderRefusal, SenderState};
use stages::signature::Signed;

/// The tokens of the server, for sources that have no credential of their own.
pub(super) fn tokens_of(plan: &Plan, variables: &dyn Environment) -> Tokens {
    let mut tokens = Tokens::default();
    for token in &plan.server.tokens {
        let secret = token.value.value.resolve(variables).unwrap_or_default();
        let scopes = token.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect();
        tokens.add(token.name.value.clone(), &secret, scopes);
    }
    tokens
}

/// Whether a source wants to know who sends.
pub(super) fn are_asked(route: &HttpRoute, tokens: &Tokens) -> bool {
    !route.credentials.is_empty() || !tokens.is_empty()
}

/// The source's own credentials, else a token of the server; and whether they let in before the
/// message was looked at.
pub(super) fn check(
    route: &HttpRoute,
    tokens: &Tokens,
    headers: &serde_json::Map<String, Value>,
    body: &[u8],
    now: Timestamp,
) -> Result<Option<Signed>, Rejection> {
    let header = |name: &str| headers.get(&name.to_ascii_lowercase())?.as_str();
    let own = &route.credentials;
    if own.is_empty() {
        let allowed = tokens.allow_field(header("authorization"), Scope::Send);
        return allowed.map(|_| Some(Signed::default())).map_err(|denied| {
            let (status, detail) = denied.told();
            refused(status, detail)
        });
    }
    let checked = match own.check_headers(&header) {
        Ok(SenderState::Known) => Ok(Some(Signed::default())),
        Ok(SenderState::Unclear) => own.check_body(&header, body, now),
        Err(refusal) => Err(refusal),
    };
    checked.map_err(|fault| stranger(&fault))
}

/// The answer to who does not show a credential.
pub(super) fn stranger(refusal: &SenderRefusal) -> Rejection {
    refused(401, refusal.to_string())
}

pub(super) fn refused(status: u16, detail: String) -> Rejection {
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
