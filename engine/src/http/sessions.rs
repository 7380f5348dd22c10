//! Who has signed in with a browser, which sends a cookie and cannot send a token with a stream.
//!
//! *Invariant:* a session is worth what its token is worth now: it ends with the token, and after
//! [`AGE_MAX`]. *Never:* the text of a session is kept; who reads the memory of a stopped engine
//! cannot go on with it.

use crate::http::auth::Tokens;
use crate::http::wire::head::{Head, Method};
use event_listener::{Event, EventListener};
use rustix::rand::{GetRandomFlags, getrandom};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long somebody stays signed in.
const AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// The most sessions; the oldest one ends for the next.
const SESSIONS_MAX: usize = 64;
/// Without this field no session changes anything: a page of another address cannot send it.
pub(super) const GUARD_FIELD: &str = "x-engine";

/// Every session.
pub(super) struct Sessions {
    /// Under it tokens and sessions are compared, for as long as this process runs.
    key: (u64, u64),
    all: Mutex<VecDeque<PageSession>>,
    /// A session has ended, or the tokens are others.
    changed: Event,
}

struct PageSession {
    id: u128,
    token: u128,
    until: Duration,
}

impl Default for Sessions {
    fn default() -> Self {
        // The standard library seeds this from the operating system.
        let draw = || RandomState::new().build_hasher().finish();
        Sessions { key: (draw(), draw()), all: Mutex::default(), changed: Event::new() }
    }
}

impl Sessions {
    /// Tokens whose sessions go on over a reload.
    pub(super) fn tokens(&self) -> Tokens {
        Tokens::keyed(self.key)
    }

    /// A new session of a token; `None` where the system gives no random bytes.
    pub(super) fn begin(&self, token: u128, now: Duration) -> Option<String> {
        let mut bytes = [0_u8; 32];
        if getrandom(&mut bytes[..], GetRandomFlags::empty()).ok()? != bytes.len() {
            return None;
        }
        let text = bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        while SESSIONS_MAX <= all.len() {
            all.pop_front();
        }
        all.push_back(PageSession { id: self.digest(&text), token, until: now + AGE_MAX });
        drop(all);
        self.notify();
        Some(text)
    }

    /// The digest under which a session is known.
    pub(super) fn id_of(&self, text: &str) -> u128 {
        self.digest(text)
    }

    /// The token that a session is of.
    pub(super) fn token_of(&self, id: u128, now: Duration) -> Option<u128> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|it| now < it.until);
        all.iter().find(|it| it.id == id).map(|it| it.token)
    }

    /// Ends a session.
    pub(super) fn end(&self, text: &str) {
        let id = self.digest(text);
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|it| it.id != id);
        self.notify();
    }

    /// Ends when a session has ended, or the tokens are others.
    pub(super) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// Says so to those who listen.
    pub(super) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// Ends those whose token is not known any more.
    pub(super) fn follow(&self, tokens: &Tokens) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|it| tokens.has(it.token));
    }

    fn digest(&self, text: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        // Not the digest that a token of this text has.
        hasher.write(b"session ");
        hasher.write(text.as_bytes());
        hasher.finish128().as_u128()
    }
}

/// The session that a request brings, where it may use it: whatever changes something needs
/// [`GUARD_FIELD`] too.
pub(super) fn session_of<'h>(head: &'h Head, cookie: &str) -> Option<&'h str> {
    let is_read = matches!(head.method(), Method::Get | Method::Head | Method::Options);
    let is_guarded = head.headers().any(|header| header.0.eq_ignore_ascii_case(GUARD_FIELD));
    if !is_read && !is_guarded {
        return None;
    }
    let fields = head.headers().filter(|header| header.0.eq_ignore_ascii_case("cookie"));
    let pairs = fields
        .filter_map(|field| std::str::from_utf8(field.1).ok())
        .flat_map(|utf8| utf8.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|it| it.0 == cookie).map(|it| it.1)
}

/// What the cookie of an engine is called. Browsers send it to every port of a host, so two engines
/// of one host need two.
pub(super) fn cookie_name(pipeline: &str) -> String {
    let mut hasher = SipHasher24::new();
    hasher.write(pipeline.as_bytes());
    format!("engine-{:08x}", hasher.finish128().as_u128() as u32)
}

/// The field that gives a browser its session, or takes it away.
pub(super) fn set_cookie(name: &str, session: Option<&str>, is_encrypted: bool) -> String {
    let secure = if is_encrypted { "; Secure" } else { "" };
    let age = if session.is_some() { AGE_MAX.as_secs() } else { 0 };
    let text = session.unwrap_or_default();
    format!("{name}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::Scope;
    use crate::http::testing::request_head;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_session_ends_with_its_age_its_token_and_by_hand() {
        let sessions = Sessions::default();
        let begin = |token| sessions.begin(token, Duration::ZERO).expect("random bytes");
        let (one, other) = (begin(1), begin(2));
        assert_eq!((one.len(), one == other), (64, false));
        assert_eq!(sessions.token_of(sessions.id_of(&one), 11 * HOUR), Some(1));
        sessions.end(&one);
        assert_eq!(sessions.token_of(sessions.id_of(&one), HOUR), None);
        assert_eq!(sessions.token_of(sessions.id_of(""), HOUR), None);
        assert_eq!(sessions.token_of(sessions.id_of(&other), HOUR), Some(2));
        assert_eq!(sessions.token_of(sessions.id_of(&other), 12 * HOUR), None);
        let mut tokens = sessions.tokens();
        tokens.add("a", "secret", vec![Scope::Read]);
        let known = tokens.digest_in("Bearer secret").expect("a token");
        let (kept, gone) = (begin(known), begin(3));
        sessions.follow(&tokens);
        assert_eq!(
            [&kept, &gone].map(|it| sessions.token_of(sessions.id_of(it), HOUR)),
            [Some(known), None]
        );
    }

    #[test]
    fn there_are_no_more_than_some() {
        let sessions = Sessions::default();
        let all: Vec<String> =
            (0..100).filter_map(|it| sessions.begin(it, Duration::ZERO)).collect();
        let known =
            all.iter().filter(|it| sessions.token_of(sessions.id_of(it), HOUR).is_some()).count();
        assert_eq!((known, sessions.token_of(sessions.id_of(&all[0]), HOUR)), (SESSIONS_MAX, None));
    }

    #[test]
    fn what_changes_something_needs_more_than_the_cookie() {
        let brings = |method: &str, fields: &str| {
            let head =
                request_head(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
            session_of(&head, "engine-1").map(str::to_owned)
        };
        let cookie = "Cookie: other=1; engine-1=abc; engine-2=x\r\n";
        assert_eq!(brings("GET", cookie).as_deref(), Some("abc"));
        for method in ["POST", "DELETE", "PUT", "PATCH"] {
            assert_eq!(brings(method, cookie), None);
            let guarded = format!("{cookie}X-Engine: page\r\n");
            assert_eq!(brings(method, &guarded).as_deref(), Some("abc"));
        }
        assert_eq!(brings("GET", "Cookie: engine-3=abc\r\n"), None);
    }
}
