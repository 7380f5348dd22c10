//! Bearer tokens and what they allow.

use crate::http::problem::ProblemDetails;
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Seeing events, figures and the plan.
    Read,
    /// Posting events.
    Send,
    /// Dead letters.
    Redrive,
    /// Asking for a reload.
    Reload,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Send, Scope::Redrive, Scope::Reload];

    /// Its word in the file.
    pub fn word(self) -> &'static str {
        ["read", "send", "redrive", "reload"][self as usize]
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Why a request may do what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody may.
    Open,
    /// It has shown a right token.
    Shown,
}

/// Why a request may not do what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It shows no token.
    Missing,
    /// It shows one that is not known.
    Unknown,
    /// Its token is good for other things.
    Scope(Scope),
}

impl Denied {
    /// Its word in `/metrics`.
    pub fn word(self) -> &'static str {
        match self {
            Denied::Missing => "missing",
            Denied::Unknown => "unknown",
            Denied::Scope(_) => "scope",
        }
    }

    /// The status of the answer, and what it says.
    pub(crate) fn told(self) -> (u16, String) {
        match self {
            Denied::Missing => (401, "send a token: `Authorization: Bearer TOKEN`".to_owned()),
            Denied::Unknown => (401, "unknown token".to_owned()),
            Denied::Scope(scope) => {
                let word = scope.word();
                (403, format!("this token lacks the scope `{word}`; add it to its `scope=`"))
            }
        }
    }
}

impl From<Denied> for Reply {
    fn from(denied: Denied) -> Reply {
        let (status, detail) = denied.told();
        let reply = Reply::from(ProblemDetails::new(status, detail));
        match denied {
            Denied::Missing | Denied::Unknown => {
                reply.with("www-authenticate", "Bearer realm=\"engine\"")
            }
            Denied::Scope(_) => reply,
        }
    }
}

/// One token; its text is not kept.
#[derive(Clone)]
pub struct BearerToken {
    /// For logs and messages.
    pub name: String,
    digest: u128,
    /// What it is good for.
    pub scopes: Vec<Scope>,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("scopes", &self.scopes).finish()
    }
}

/// The tokens of a running engine. Without any, everything is allowed: that such an engine
/// listens on loopback only is seen to elsewhere.
///
/// Compared are digests of one size under a key that this process drew and never shows. Without
/// the key nobody can tell which text has which digest, so the time of a comparison says nothing
/// about the token, even where the machine compares a word at a time.
#[derive(Clone)]
pub struct Tokens {
    key: (u64, u64),
    entries: Vec<BearerToken>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

impl Default for Tokens {
    fn default() -> Self {
        // The standard library seeds this from the operating system.
        let draw = || RandomState::new().build_hasher().finish();
        Tokens { key: (draw(), draw()), entries: Vec::new() }
    }
}

impl Tokens {
    /// None yet, with a key that others share.
    pub(super) fn keyed(key: (u64, u64)) -> Self {
        Tokens { key, entries: Vec::new() }
    }

    /// Whether there is a token of this digest.
    pub(super) fn has(&self, digest: u128) -> bool {
        self.entries.iter().any(|entry| entry.digest == digest)
    }

    /// What tokens of this digest are good for.
    pub(super) fn scopes_of(&self, digest: u128) -> Vec<Scope> {
        let same = self.entries.iter().filter(|entry| entry.digest == digest);
        same.flat_map(|it| it.scopes.iter().copied()).collect()
    }

    /// Whether somebody who showed a token of this digest before may do what `scope` is for.
    pub(super) fn allow_digest(&self, digest: u128, scope: Scope) -> Result<Access, Denied> {
        match self.scopes_of(digest) {
            scopes if scopes.contains(&scope) => Ok(Access::Shown),
            _ if self.has(digest) => Err(Denied::Scope(scope)),
            _ => Err(Denied::Missing),
        }
    }

    /// One more token. Two of one name are two tokens, for rotation.
    pub fn add(&mut self, name: impl Into<String>, secret: &str, scopes: Vec<Scope>) {
        let digest = self.digest(secret);
        self.entries.push(BearerToken { name: name.into(), digest, scopes });
    }

    /// There is none, and everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the request may do what `scope` is for, before any of its body is read. Only
    /// `Authorization: Bearer` counts: a token in a URL ends in logs.
    pub fn allow(&self, request: &Request<'_>, scope: Scope) -> Result<Access, Denied> {
        self.allow_secret(bearer(request), scope)
    }

    /// The same for what the field `Authorization` says, where it stands.
    pub(crate) fn allow_field(
        &self,
        authorization: Option<&str>,
        scope: Scope,
    ) -> Result<Access, Denied> {
        self.allow_secret(authorization.and_then(secret_of), scope)
    }

    fn allow_secret(&self, secret: Option<&str>, scope: Scope) -> Result<Access, Denied> {
        if self.entries.is_empty() {
            return Ok(Access::Open);
        }
        let Some(secret) = secret else { return Err(Denied::Missing) };
        let digest = self.digest(secret);
        // Every entry is looked at, so that the time says nothing about the place of a match.
        let same = |token: &BearerToken| (token.digest ^ digest) == 0;
        let (known, allowed) = self.entries.iter().fold((false, false), |(known, allowed), it| {
            let hit = same(it);
            (known | hit, allowed | (hit & it.scopes.contains(&scope)))
        });
        match (known, allowed) {
            (_, true) => Ok(Access::Shown),
            (true, false) => Err(Denied::Scope(scope)),
            (false, _) => Err(Denied::Unknown),
        }
    }

    /// The digest of the token that a request shows.
    pub(super) fn shown(&self, request: &Request<'_>) -> Result<u128, Denied> {
        let digest = self.digest_shown(request).ok_or(Denied::Missing)?;
        Some(digest).filter(|it| self.has(*it)).ok_or(Denied::Unknown)
    }

    /// The same, of a token that need not be known.
    pub(super) fn digest_shown(&self, request: &Request<'_>) -> Option<u128> {
        bearer(request).map(|it| self.digest(it))
    }

    /// The digest of the token in the field `Authorization`.
    pub(super) fn digest_in(&self, authorization: &str) -> Option<u128> {
        secret_of(authorization).map(|it| self.digest(it))
    }

    /// The name of the token of this digest, for the audit.
    pub(super) fn name_of(&self, digest: u128) -> Option<&str> {
        self.entries.iter().find(|entry| entry.digest == digest).map(|entry| &*entry.name)
    }

    fn digest(&self, secret: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        hasher.write(secret.as_bytes());
        hasher.finish128().as_u128()
    }
}

/// More than one `Authorization` is none: which of them counts would be a guess.
fn bearer<'r>(request: &'r Request<'_>) -> Option<&'r str> {
    let mut all = request
        .head()
        .headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .map(|(_, value)| value);
    let value = std::str::from_utf8(all.next()?).ok()?;
    if all.next().is_some() {
        return None;
    }
    secret_of(value)
}

fn secret_of(authorization: &str) -> Option<&str> {
    let (scheme, secret) = authorization.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request_head;

    fn tokens() -> Tokens {
        let mut tokens = Tokens::default();
        tokens.add("page", "s3cret", vec![Scope::Read]);
        tokens.add("door", "other", vec![Scope::Send]);
        tokens
    }

    #[track_caller]
    fn check(tokens: &Tokens, fields: &str, scope: Scope, status: u16) {
        let head = request_head(&format!(
            "GET /?token=s3cret HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ));
        let mut body = Vec::new();
        let request = Request::new(head, None, &mut body);
        let answer = tokens.allow(&request, scope);
        assert_eq!(answer.map_or_else(|answer| Reply::from(answer).status(), |_| 200), status);
    }

    #[test]
    fn a_token_opens_what_its_scopes_say_and_nothing_else() {
        let tokens = tokens();
        check(&tokens, "Authorization: Bearer s3cret\r\n", Scope::Read, 200);
        check(&tokens, "Authorization: bearer other\r\n", Scope::Send, 200);
        check(&tokens, "Authorization: Bearer s3cret\r\n", Scope::Send, 403);
        check(&tokens, "Authorization: Bearer s3cre\r\n", Scope::Read, 401);
        check(&tokens, "Authorization: Basic s3cret\r\n", Scope::Read, 401);
        check(&tokens, "", Scope::Read, 401);
    }

    #[test]
    fn two_authorizations_are_none() {
        let fields = "Authorization: Bearer s3cret\r\nAuthorization: Bearer s3cret\r\n";
        check(&tokens(), fields, Scope::Read, 401);
    }

    #[test]
    fn without_tokens_everything_is_allowed() {
        check(&Tokens::default(), "", Scope::Reload, 200);
    }
}
