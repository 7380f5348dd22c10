//! The remote road to its end: events that were accepted are run and finished, also those that a
//! start or an overflow left in the inbox.

use super::Engine;
use crate::metrics::EventCounter;
use crate::run::enrich::{Disposition, EventRun, KeptStage};
use kernel::event::Event;
use serde_json::Value;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use store::{Entry, InboxRow, Receipt, StoreFault};

impl Engine {
    /// Runs an accepted event now, or leaves it in the inbox when too many are held.
    pub(super) fn spawn_run(self: &Arc<Self>, seq: u64, walk: EventRun) {
        match self.held.try_acquire_arc() {
            Some(held) => {
                // The pump may have found its row first.
                if !self.in_flight().insert(seq) {
                    return;
                }
                let engine = self.clone();
                self.spawn(async move {
                    engine.finish(walk).await;
                    engine.in_flight().remove(&seq);
                    drop(held);
                    engine.outbox.wake_inbox();
                });
            }
            None => {
                self.outbox.leave_in_inbox();
            }
        }
    }

    /// The remote road to its end: one transaction finishes the event.
    async fn finish(self: &Arc<Self>, mut walk: EventRun) {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner).clone();
        walk.run(&places, &|stage, output| self.keep(stage, output)).await;
        let received = walk.event().envelope.received;
        let (verdict, tally) = self.conclude(walk);
        let (entry, fate) = match verdict {
            Disposition::Finished(finished) => {
                (Entry::Finish(finished.stored()), EventCounter::Stored)
            }
            Disposition::Discarded(event, reason) => {
                (Entry::Discard { event, reason }, EventCounter::Discarded)
            }
            Disposition::Dead(event, stage, attempts, reason) => {
                let letter = self.letter(&event, stage, attempts, reason);
                (Entry::Bury { event, letter }, EventCounter::Dead)
            }
        };
        // A store that is full or busy is asked again; the event is safe in the inbox meanwhile.
        let receipts = loop {
            match self.store.submit(vec![entry.clone()]).await {
                Ok(receipts) => break receipts,
                Err(_) if self.store.is_broken() => return,
                Err(fault) => {
                    tracing::debug!(reason = %fault, "a finished event was not stored; retrying");
                    self.env.clock.sleep(Duration::from_secs(1)).await;
                }
            }
        };
        if matches!(receipts[..], [Receipt::Duplicate { .. }]) {
            return;
        }
        self.count_run(&tally, received);
        match entry {
            Entry::Discard { reason, .. } => self.metrics.discarded(&reason),
            _ => self.metrics.count(fate, 1),
        }
    }

    /// Keeps what a remote stage answered while others are still asked, so that a crash does not
    /// ask it again. Nobody waits for it: without it the stage is asked once more.
    fn keep(self: &Arc<Self>, stage: &KeptStage<'_>, output: &Value) {
        let entry = Entry::Result {
            seq: stage.seq,
            stage: stage.name.clone(),
            generation: stage.generation,
            output: output.to_string(),
        };
        let engine = self.clone();
        self.spawn(async move {
            engine.store.submit(vec![entry]).await.ok();
        });
    }

    /// Takes up what the inbox holds and memory does not: after a start, and after an overflow.
    pub async fn drain_inbox(self: Arc<Self>) {
        loop {
            let told = self.outbox.listen_inbox();
            if self.outbox.take_unclaimed()
                && let Err(fault) = self.pump_once().await
            {
                tracing::warn!(reason = %fault, "the inbox could not be read; retrying");
                self.outbox.leave_in_inbox();
                self.env.clock.sleep(Duration::from_secs(1)).await;
                continue;
            }
            smol::future::or(told, self.when_stopped()).await;
            if self.is_stopping() {
                return;
            }
        }
    }

    async fn pump_once(self: &Arc<Self>) -> Result<(), StoreFault> {
        let mut after = 0;
        loop {
            let rows = self.store.read(move |it| it.inbox(after, 64)).await?;
            let Some(last) = rows.last().map(|it| it.seq) else { return Ok(()) };
            after = last;
            for row in rows {
                if self.in_flight().contains(&row.seq) {
                    continue;
                }
                let held = self.held.acquire_arc().await;
                let seq = row.seq;
                // It may have been finished while this waited for a place.
                let is_there = self
                    .store
                    .read(move |it| {
                        Ok(it.inbox(seq - 1, 1)?.first().is_some_and(|it| it.seq == seq))
                    })
                    .await?;
                if !is_there || !self.in_flight().insert(seq) {
                    continue;
                }
                let results = self.store.read(move |it| it.results(seq)).await?;
                let walk = self.resume(row, results);
                let engine = self.clone();
                self.spawn(async move {
                    match walk {
                        Some(walk) => engine.finish(walk).await,
                        None => tracing::error!(seq, "an event of the inbox cannot be read"),
                    }
                    engine.in_flight().remove(&seq);
                    drop(held);
                });
            }
        }
    }

    /// An accepted event again, from its bytes; its stages run from the start, the intake is
    /// behind it.
    fn resume(&self, row: InboxRow, results: Vec<(String, String)>) -> Option<EventRun> {
        let generation = self.generation();
        let data: Value = serde_json::from_str(row.body.data_text()).ok()?;
        let message = row.body.message().filter(|_| generation.plan.reads_raw);
        let raw = message.map(|it| serde_json::from_slice(it).ok());
        let event = Event {
            seq: row.seq,
            generation: generation.number,
            envelope: row.envelope,
            body: row.body,
            data: Arc::new(data),
            raw: raw.flatten().map(Arc::new),
            enrich: serde_json::Map::new(),
            globals: generation.plan.globals.clone(),
        };
        let parsed = |it: (String, String)| Some((it.0, serde_json::from_str(&it.1).ok()?));
        let known = results.into_iter().filter_map(parsed).collect();
        Some(EventRun::resume(generation, event, self.env.clone(), known))
    }
}
