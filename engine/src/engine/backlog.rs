//! The remote road to its end: events that were accepted are run and finished, also those that a
//! start or an overflow left in the inbox.

use super::Engine;
use super::held::HeldPlace;
use crate::intake::{self, Intake, Rejection};
use crate::metrics::EventCounter;
use crate::run::enrich::{DeadEnd, Disposition, EventRun, KeptStage};
use crate::run::memories::{FilterNote, Notebook, NotedEvent};
use futures_util::FutureExt;
use kernel::additions::Additions;
use kernel::event::Event;
use kernel::fault::FaultClass;
use kernel::time::Timestamp;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use store::{DeadLetter, InboxRow, Notes, StoreEntry, StoreFault, WriteReceipt};

impl Engine {
    /// Runs an accepted event now, or leaves it in the inbox when too many are held.
    pub(super) fn spawn_run(self: &Arc<Self>, seq: u64, event_run: EventRun) {
        match self.held.try_hold(event_run.event().body.size()) {
            Some(held) => {
                // The pump may have found its row first.
                if !self.in_flight().insert(seq) {
                    return;
                }
                let engine = self.clone();
                self.spawn_held(seq, held, async move { engine.finish(event_run).await });
            }
            None => {
                self.outbox.leave_in_inbox();
            }
        }
    }

    /// Runs the task of an accepted event that is in memory until the task ends. One that panics
    /// would panic again, so it is not taken up before the next start.
    fn spawn_held(
        self: &Arc<Self>,
        seq: u64,
        held: HeldPlace,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let engine = self.clone();
        self.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                let what = "it stays in the inbox until the next start; please report it";
                return tracing::error!(seq, "internal error (panic) with event {seq}: {what}");
            }
            engine.in_flight().remove(&seq);
            drop(held);
            engine.outbox.wake_inbox();
        });
    }

    /// The remote road to its end: one transaction finishes the event.
    async fn finish(self: &Arc<Self>, mut event_run: EventRun) {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner).clone();
        event_run.run(&places, &|stage, output| self.keep(stage, output)).await;
        self.end(event_run, None).await;
    }

    /// Its stages have ended, and what it comes to is written; with what was noted about it, where
    /// that was not judged before.
    async fn end(self: &Arc<Self>, event_run: EventRun, notes: Option<Notes>) {
        let received = event_run.event().envelope.received;
        // Only what a stage sent is judged by the filters here.
        let sent = notes.is_some().then(|| event_run.event().clone());
        let (disposition, tally) = self.conclude(event_run);
        let (entry, fate) = match disposition {
            Disposition::Finished(finished) => {
                (StoreEntry::Finish(finished.stored()), EventCounter::Stored)
            }
            Disposition::Discarded(event, reason) => {
                (StoreEntry::Discard { event, reason }, EventCounter::Discarded)
            }
            Disposition::Dead(event, end) => {
                let letter = self.letter(&event, end);
                (StoreEntry::DeadLetter { event, letter }, EventCounter::Dead)
            }
        };
        let discarded = match &entry {
            StoreEntry::Discard { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        let Some(receipt) = self.settle_accepted(entry, notes).await else { return };
        match (receipt, discarded) {
            (WriteReceipt::Duplicate { .. }, _) => {}
            (WriteReceipt::Dropped { node }, _) => match sent {
                Some(event) => self.drop_emitted(&event, &node),
                None => self.metrics.discarded(&node),
            },
            (_, Some(reason)) => {
                self.count_run(&tally, received);
                self.metrics.discarded(&reason);
            }
            (_, None) => {
                self.count_run(&tally, received);
                self.metrics.count(fate, 1);
            }
        }
    }

    /// Writes how an accepted event goes on. A store that is full or busy is asked again; the event
    /// is safe in the inbox meanwhile. `None` when the store takes nothing any more.
    async fn settle_accepted(
        &self,
        entry: StoreEntry,
        notes: Option<Notes>,
    ) -> Option<WriteReceipt> {
        let entry = match notes {
            Some(notes) => StoreEntry::Judged { notes, entry: Box::new(entry) },
            None => entry,
        };
        loop {
            match self.store.submit(vec![entry.clone()]).await {
                Ok(mut receipts) => return receipts.pop(),
                Err(_) if self.store.is_broken() => return None,
                Err(fault) => {
                    tracing::debug!(reason = %fault, "a finished event was not stored; retrying");
                    self.env.clock.sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// An event that a stage sent goes the way of one that came in, from the filters on.
    async fn take_emitted(self: &Arc<Self>, event: Event, lane: Arc<str>) {
        let generation = self.generation();
        self.metrics.count(EventCounter::Accepted, 1);
        let as_sent = event.clone();
        let taken = intake::filter(&generation.plan, event, &generation.memories);
        self.observer.get().inspect(|it| it.taken(&taken));
        match taken {
            Intake::Event(event, filters) => {
                let mut event_run = EventRun::start(generation, *event, self.env.clone());
                let NotedEvent { notes, answers, .. } =
                    self.noted(lane, event_run.event(), filters, |it| event_run.note(it));
                if !event_run.is_remote() && !answers {
                    return self.end(event_run, Some(notes)).await;
                }
                let take = StoreEntry::Take(event_run.event().clone());
                match self.settle_accepted(take, Some(notes)).await {
                    Some(WriteReceipt::Judged { outputs, .. }) => event_run.judged(&outputs),
                    Some(WriteReceipt::Dropped { node }) => {
                        return self.drop_emitted(event_run.event(), &node);
                    }
                    Some(WriteReceipt::Accepted { .. }) => event_run.judged(&[]),
                    _ => return,
                }
                self.finish(event_run).await;
            }
            Intake::Discarded(event, reason, filters) => {
                let notes = self.noted(lane, &event, filters, |_| {}).notes;
                let entry = StoreEntry::Discard { event: *event, reason: reason.clone() };
                if self.settle_accepted(entry, Some(notes)).await.is_some() {
                    self.drop_emitted(&as_sent, &reason);
                }
            }
            Intake::Refused(refusal) => {
                let letter = self.letter_of_filter(&as_sent, &refusal);
                let notes = self.noted(lane, &as_sent, Vec::new(), |_| {}).notes;
                let entry = StoreEntry::DeadLetter { event: as_sent, letter };
                if self.settle_accepted(entry, Some(notes)).await.is_some() {
                    self.metrics.count(EventCounter::Dead, 1);
                }
            }
        }
    }

    fn drop_emitted(&self, event: &Event, by: &Arc<str>) {
        self.observer.get().inspect(|it| it.dropped(event, by));
        self.metrics.discarded(by);
    }

    fn noted(
        &self,
        lane: Arc<str>,
        event: &Event,
        filters: Vec<FilterNote>,
        more: impl FnOnce(&mut Notebook<'_>),
    ) -> NotedEvent {
        let letter = |refusal: &Rejection| Some(self.letter_of_filter(event, refusal));
        NotedEvent::gather(lane, event, filters, letter, more)
    }

    fn letter_of_filter(&self, event: &Event, refusal: &Rejection) -> DeadLetter {
        let (stage, class) = (refusal.stage.clone(), FaultClass::Permanent);
        self.letter(event, DeadEnd { stage, attempts: 0, class, reason: refusal.reason() })
    }

    /// Lets stages look again at what they remember when the time comes that they asked for.
    pub async fn wake_memories(self: Arc<Self>) {
        // A wall clock may be set; so it is looked at now and then.
        const LONGEST: Duration = Duration::from_secs(60);
        while !self.is_stopping() {
            let told = self.outbox.listen_timers();
            let wake = self.store.figures().wake.load(Ordering::Relaxed);
            let now = self.env.clock.wall();
            let is_set = wake != 0 && wake != i64::MAX;
            if is_set && wake <= now.0 {
                if self.store.submit(vec![StoreEntry::Wake]).await.is_err() {
                    let pause = self.env.clock.sleep(Duration::from_secs(1));
                    smol::future::or(pause, self.when_stopped()).await;
                }
                continue;
            }
            let changed = smol::future::or(told, self.when_stopped());
            match is_set {
                true => {
                    let left = Timestamp(wake).since(now).min(LONGEST);
                    smol::future::or(self.env.clock.sleep(left), changed).await;
                }
                false => changed.await,
            }
        }
    }

    /// Keeps what a remote stage answered while others are still asked, so that a crash does not
    /// ask it again. Nobody waits for it: without it the stage is asked once more.
    fn keep(self: &Arc<Self>, stage: &KeptStage<'_>, output: &Value) {
        let entry = StoreEntry::Result {
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
            for seq in self.outbox.take_emitted() {
                if self.take_up(seq, 0).await.is_err() {
                    self.outbox.leave_in_inbox();
                }
            }
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
            let waiting = self.store.read(move |reader| reader.waiting(after, 256)).await?;
            let Some((last, _)) = waiting.last().copied() else { return Ok(()) };
            after = last;
            for (seq, bytes) in waiting {
                if !self.in_flight().contains(&seq) {
                    self.take_up(seq, bytes).await?;
                }
            }
        }
    }

    /// Runs one event of the inbox, once there is a place for it.
    async fn take_up(self: &Arc<Self>, seq: u64, bytes: u64) -> Result<(), StoreFault> {
        let held = self.held.hold(bytes).await;
        // It may have been finished while this waited for a place.
        let found = self.store.read(move |reader| {
            let row = reader.inbox(seq - 1, 1)?.pop().filter(|it| it.seq == seq);
            Ok((row, reader.results(seq)?, reader.emitted(seq)?))
        });
        let (Some(row), results, lane) = found.await? else { return Ok(()) };
        if !self.in_flight().insert(seq) {
            return Ok(());
        }
        let event = self.event_of(row);
        let engine = self.clone();
        self.spawn_held(seq, held, async move {
            match (event, lane) {
                (Some(event), Some(lane)) => engine.take_emitted(event, lane).await,
                (Some(event), None) => engine.finish(engine.resume(event, results)).await,
                (None, _) => tracing::error!(seq, "an event of the inbox cannot be read"),
            }
        });
        Ok(())
    }

    /// An accepted event again, from its bytes.
    fn event_of(&self, row: InboxRow) -> Option<Event> {
        let generation = self.generation();
        let data: Value = serde_json::from_str(row.body.data_text()).ok()?;
        let message = row.body.message().filter(|_| generation.plan.reads_raw);
        let raw = message.map(|message| serde_json::from_slice(message).ok());
        Some(Event {
            seq: row.seq,
            generation: generation.number,
            envelope: row.envelope,
            body: row.body,
            data: Arc::new(data),
            raw: raw.flatten().map(Arc::new),
            enrich: Additions::default(),
            globals: generation.plan.globals.clone(),
        })
    }

    /// Its stages run from the start; the intake is behind it.
    fn resume(&self, event: Event, results: Vec<(String, String)>) -> EventRun {
        let parsed = |(stage, text): (String, String)| match serde_json::from_str(&text) {
            Ok(value) => Some((stage, value)),
            Err(_) => {
                let seq = event.seq;
                tracing::warn!(
                    seq,
                    stage,
                    "a stored result cannot be read; the stage is called again"
                );
                None
            }
        };
        let known = results.into_iter().filter_map(parsed).collect();
        EventRun::resume(self.generation(), event, self.env.clone(), known)
    }
}
