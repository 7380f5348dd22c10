//! What a run says about itself: what the last one left, what it leaves, and what `--once` did.

use crate::engine::Engine;
use crate::log::LogFormat;
use crate::metrics::{EventCounter, Metrics};
use crate::terminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What waits in the store.
struct SummaryWaiting {
    events: u64,
    deliveries: u64,
    parked: u64,
    letters: u64,
    /// Keys of stages, whose time is to come.
    timers: u64,
}

impl SummaryWaiting {
    async fn of(engine: &Engine) -> Self {
        let figures = engine.store.figures();
        let counted = engine
            .store
            .read(|reader| Ok(reader.parked()?.iter().map(|(_, count)| count).sum()))
            .await;
        let parked: u64 = counted.unwrap_or_default();
        SummaryWaiting {
            events: figures.pending.load(Ordering::Relaxed),
            deliveries: figures.outbox_rows.load(Ordering::Relaxed).saturating_sub(parked),
            parked,
            letters: figures.dead_letters.load(Ordering::Relaxed),
            timers: timers(engine),
        }
    }

    /// `3 accepted events, 12 deliveries`; nothing where nothing waits.
    fn in_words(&self) -> Option<String> {
        let parts = [
            (self.events, "accepted event"),
            (self.deliveries, "delivery"),
            (self.parked, "parked delivery"),
            (self.letters, "dead letter"),
            (self.timers, "key with a timer"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|part| 0 < part.0)
            .map(|(count, what)| counted(*count, what))
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// How many keys stages look at again later.
fn timers(engine: &Engine) -> u64 {
    let generation = engine.generation();
    let nodes = generation.memories.values();
    nodes.map(|memory| memory.node.figures.timers.load(Ordering::Relaxed)).sum()
}

/// `1 delivery`, `2 deliveries`, `2 keys with a timer`.
pub(super) fn counted(count: u64, what: &str) -> String {
    if let Some((noun, more)) = what.split_once(" with ") {
        return format!("{} with {more}", counted(count, noun));
    }
    match (count, what.strip_suffix('y').filter(|stem| !stem.ends_with('e'))) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

/// Says what the last run left in the store, if anything.
pub(super) async fn at_start(engine: &Engine) {
    if let Some(waiting) = SummaryWaiting::of(engine).await.in_words() {
        tracing::info!("found in the store: {waiting}");
    }
}

/// Says what is left for the next run, if anything.
pub(super) async fn at_stop(engine: &Engine) {
    match SummaryWaiting::of(engine).await.in_words() {
        Some(waiting) => tracing::info!("stopped; left for the next start: {waiting}"),
        None => tracing::info!("stopped; nothing is pending"),
    }
}

/// Takes the line of progress away, however a run ends.
struct ProgressLine;

impl Drop for ProgressLine {
    fn drop(&mut self) {
        terminal::progress("");
    }
}

/// Shows how far a run with `--once` has come, to whoever sits before it; never ends.
pub(super) async fn show_progress<T>(engine: &Engine, log: LogFormat) -> T {
    if log != LogFormat::Text || !terminal::shows_progress() {
        return smol::future::pending().await;
    }
    let _line = ProgressLine;
    loop {
        terminal::progress(&progress_of(&engine.metrics));
        engine.env.clock.sleep(PROGRESS_EVERY).await;
    }
}

/// `120 read, 118 stored, 2 rejected, 0 dead, 90 delivered`.
fn progress_of(metrics: &Metrics) -> String {
    format!(
        "{} read, {} stored, {} rejected, {} dead, {} delivered",
        metrics.received_total(),
        metrics.of(EventCounter::Stored),
        metrics.of(EventCounter::Rejected),
        metrics.of(EventCounter::Dead),
        metrics.deliveries("done"),
    )
}

/// Says what a run with `--once` did.
pub(super) async fn after_once(engine: &Engine, took: Duration) {
    let metrics = &engine.metrics;
    let took = kernel::time::write_duration(Duration::from_millis(
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    ));
    tracing::info!(
        received = metrics.received_total(),
        stored = metrics.of(EventCounter::Stored),
        duplicate = metrics.of(EventCounter::Duplicate),
        rejected = metrics.of(EventCounter::Rejected),
        discarded = metrics.of(EventCounter::Discarded),
        dead = metrics.of(EventCounter::Dead),
        delivered = metrics.deliveries("done"),
        "everything was read and settled after {took}:"
    );
    // Windows that are open and messages in quiet hours are no work that is left undone.
    let waiting = SummaryWaiting::of(engine).await;
    let later = [(waiting.timers, "key with a timer"), (waiting.deliveries, "held notification")];
    let later = later.iter().filter(|part| 0 < part.0).map(|(count, what)| counted(*count, what));
    let later = later.collect::<Vec<_>>().join(", ");
    if !later.is_empty() {
        tracing::info!("waiting for a later time, in the next run: {later}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_named_and_counted() {
        let waiting =
            SummaryWaiting { events: 1, deliveries: 2, parked: 0, letters: 12, timers: 2 };
        let words = "1 accepted event, 2 deliveries, 12 dead letters, 2 keys with a timer";
        assert_eq!(waiting.in_words().as_deref(), Some(words));
        let nothing = SummaryWaiting { events: 0, deliveries: 0, parked: 0, letters: 0, timers: 0 };
        assert_eq!(nothing.in_words(), None);
    }
}
