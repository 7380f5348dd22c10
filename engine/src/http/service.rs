//! What the rest of the engine plugs in, and what all connections share.

use crate::http::limits::ServerLimits;
use crate::http::places::Places;
use crate::http::tls::TlsSlot;
use crate::http::wire::hosts::HostList;
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use event_listener::{Event, EventListener};
use kernel::env::{Clock, Pending};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one. It may be dropped at any wait when its time is over. A panic is answered
    /// with 500 and ends the connection.
    fn respond<'a>(&'a self, request: &'a mut Request<'_>) -> Pending<'a, Reply>;

    /// Connections cannot be accepted, for this reason, or can be again.
    fn accepting(&self, _fault: Option<&io::Error>) {}
}

/// Tells connections that it is time to end.
#[derive(Debug, Default)]
pub struct ShutdownSignal {
    stopped: AtomicBool,
    told: Event,
}

impl ShutdownSignal {
    /// From now on every connection ends with the request under way.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.told.notify(usize::MAX);
    }

    /// It is time to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn listen(&self) -> EventListener {
        self.told.listen()
    }
}

/// What happened, for `/metrics`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Connections closed at accept since there were too many.
    pub refused_total: AtomicU64,
    /// Connections closed at accept since their address had too many.
    pub refused_ip: AtomicU64,
    /// Connections closed to make room for others.
    pub evicted: AtomicU64,
    /// Bodies and answers for which there was no memory.
    pub refused_bytes: AtomicU64,
    /// Failures to accept.
    pub accept_errors: AtomicU64,
    /// Requests handed to the service.
    pub requests: AtomicU64,
    /// Requests refused before the service saw them.
    pub refused_requests: AtomicU64,
    /// Requests that a page of another address had a browser send.
    pub foreign_pages: AtomicU64,
    /// Requests without a valid token or signature.
    pub auth_failures: AuthFailures,
    /// Requests cut off by the clock.
    pub timeouts: AtomicU64,
    /// Panics caught.
    pub panics: AtomicU64,
}

/// Requests that were refused for who sent them, by reason.
#[derive(Debug, Default)]
pub struct AuthFailures([AtomicU64; 4]);

impl AuthFailures {
    const REASONS: [&'static str; 4] = ["missing", "unknown", "scope", "signature"];

    pub(crate) fn note(&self, reason: &str) {
        let index = Self::REASONS.iter().position(|it| *it == reason);
        debug_assert!(index.is_some(), "`{reason}` is not counted");
        index.inspect(|index| count(&self.0[*index]));
    }

    /// Each reason and how often it was given.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Self::REASONS.into_iter().zip(self.0.iter().map(|it| it.load(Ordering::Relaxed)))
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a listener and the application behind it share.
#[derive(Clone, Default)]
pub struct ServerState {
    /// Whom requests may be addressed to.
    pub hosts: Arc<HostList>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// What HTTPS is served with.
    pub tls: Arc<TlsSlot>,
    pub(crate) places: Arc<Places>,
}

/// What all connections of one listener share.
pub struct ServerContext {
    /// Answers.
    pub service: Arc<dyn Service>,
    /// Whom requests may be addressed to.
    pub hosts: Arc<HostList>,
    /// Bounds.
    pub limits: ServerLimits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The end.
    pub stop: ShutdownSignal,
    /// What happened.
    pub counters: Arc<Counters>,
    /// What HTTPS is served with.
    pub tls: Arc<TlsSlot>,
    pub(crate) places: Arc<Places>,
    date: Mutex<(i64, [u8; 29])>,
}

impl ServerContext {
    /// From its parts.
    pub fn new(
        service: Arc<dyn Service>,
        state: ServerState,
        limits: ServerLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let ServerState { hosts, counters, tls, places } = state;
        ServerContext {
            service,
            hosts,
            limits,
            clock,
            stop: ShutdownSignal::default(),
            counters,
            tls,
            places,
            date: Mutex::new((i64::MIN, [0; 29])),
        }
    }

    /// The `Date` of an answer given now, made once a second.
    pub(crate) fn date(&self) -> [u8; 29] {
        let now = self.clock.wall();
        let second = now.0.div_euclid(1_000_000);
        let mut date = self.date.lock().unwrap_or_else(PoisonError::into_inner);
        if date.0 != second {
            *date = (second, http_date(second, &now.to_string()));
        }
        date.1
    }
}

/// `Thu, 01 Jan 2026 09:50:04 GMT`, from Unix seconds and the same time in RFC 3339.
fn http_date(second: i64, rfc3339: &str) -> [u8; 29] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let day = DAYS[second.div_euclid(86_400).rem_euclid(7) as usize];
    let part = |from: usize, to: usize| rfc3339.get(from..to).unwrap_or("00");
    let month = part(5, 7).parse::<usize>().unwrap_or(1).clamp(1, 12);
    let (year, month, time) = (part(0, 4), MONTHS[month - 1], part(11, 19));
    let text = format!("{day}, {} {month} {year} {time} GMT", part(8, 10));
    // A clock beyond the year 9999 is the only way to another length.
    text.as_bytes().try_into().unwrap_or(*b"Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_in_the_form_of_http() {
        assert_eq!(
            http_date(784_111_777, "1994-11-06T08:49:37.000Z").escape_ascii().to_string(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}
