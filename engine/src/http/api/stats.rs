//! Statistics of the stored events.

use super::{Answer, failed, json_text, problem};
use crate::http::app::{App, PAGE_STREAM};
use crate::http::query;
use serde_json::json;
use std::sync::atomic::Ordering;
use tide::Request;

/// How many days are asked for.
fn days(text: &str) -> Result<u32, &'static str> {
    let Some(given) = query::value(text, "days") else { return Ok(7) };
    let days = given.parse().ok().filter(|it| (1..=36_500).contains(it));
    days.ok_or("`days` must be 1 to 36500")
}

/// Totals of some days, with figures of the store and the streams.
pub(super) async fn stats(request: Request<App>) -> Answer {
    let app = request.state();
    let days = match days(request.url().query().unwrap_or_default()) {
        Ok(days) => days,
        Err(detail) => return Ok(problem(400, detail)),
    };
    let now = app.engine.env.clock.wall();
    app.engine.store.write_counts().await;
    let mut stats = match app.engine.store.read(move |reader| reader.stats(days, now)).await {
        Ok(stats) => stats,
        Err(fault) => return Ok(failed(&fault)),
    };
    let figures = app.engine.store.figures();
    stats["store"] = json!({
        "bytes": figures.bytes.load(Ordering::Relaxed),
        "pending": figures.pending.load(Ordering::Relaxed),
        "dead_letters": figures.dead_letters.load(Ordering::Relaxed),
    });
    stats["streaming"] = app
        .streams()
        .iter()
        // People ask for those of the file.
        .filter(|(name, _)| **name != *PAGE_STREAM)
        .map(|(name, stream)| {
            let counters = &stream.hub.counters;
            json!({
                "sink": &**name,
                "active_connections": counters.clients.load(Ordering::Relaxed),
                "events_streamed": counters.sent.load(Ordering::Relaxed),
                "max_connections": stream.settings.clients_max,
                "buffer_size": stream.settings.replay_max,
            })
        })
        .collect();
    Ok(json_text(stats.to_string()))
}
