//! What the HTTP server counts, for `/metrics`.

use crate::http::service::ServerState;
use crate::metrics::MetricsText;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes every figure of the server.
pub(super) fn write(text: &mut MetricsText, state: &ServerState, waiting_queries: usize) {
    let counters = &state.counters;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let open = state.places.len() as f64;
    text.gauge("engine_http_open_connections", "Open connections", open);
    let held = state.places.bytes() as f64;
    text.gauge("engine_http_held_bytes", "Memory of requests and responses in progress", held);
    let waiting = waiting_queries as f64;
    text.gauge("engine_http_queries_waiting", "Requests that wait to read the store", waiting);
    let family = "engine_http_connections_total";
    text.family(family, "counter", "Connections by outcome");
    for (outcome, count) in [
        ("accepted", &counters.accepted),
        ("refused", &counters.refused_total),
        ("refused-address", &counters.refused_ip),
        ("evicted", &counters.evicted),
    ] {
        text.sample(family, &[("outcome", outcome)], load(count));
    }
    text.family("engine_http_requests_total", "counter", "Requests that were parsed");
    text.sample("engine_http_requests_total", &[], load(&counters.requests));
    let family = "engine_http_refused_total";
    text.family(family, "counter", "Requests that the server rejected or cut off, by reason");
    for (reason, count) in [
        ("malformed", &counters.refused_requests),
        ("foreign-page", &counters.foreign_pages),
        ("memory", &counters.refused_bytes),
        ("timeout", &counters.timeouts),
        ("panic", &counters.panics),
    ] {
        text.sample(family, &[("reason", reason)], load(count));
    }
    let family = "engine_auth_failures_total";
    text.family(family, "counter", "Requests without a valid token or signature");
    for (reason, count) in counters.auth_failures.all() {
        text.sample(family, &[("reason", reason)], count as f64);
    }
}
