//! Watching one stage while the engine runs: events as they enter it, or as they leave it.
//!
//! *Invariant:* no event waits for who looks on: what does not fit is left out and counted.
//! *Invariant:* while nobody looks on, a stage pays one load for it.

use compiler::plan::Plan;
use event_listener::{Event as Signal, EventListener};
use kernel::event::{Event, StageResult};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::StoredEvent;

/// How many may look on at once.
pub const TAPS_MAX: usize = 8;
/// Events that wait to be read by who looks on, and what they may hold, in bytes.
const EVENTS_MAX: usize = if cfg!(test) { 4 } else { 256 };
const BYTES_MAX: usize = 4 << 20;

/// Which side of a stage is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapSide {
    /// What a stage is about to see.
    In,
    /// What it has added, or why it has not.
    Out,
}

impl TapSide {
    /// Its word in queries and answers.
    pub fn word(self) -> &'static str {
        match self {
            TapSide::In => "in",
            TapSide::Out => "out",
        }
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        [TapSide::In, TapSide::Out].into_iter().find(|it| it.word() == word)
    }
}

/// An event at a stage.
#[derive(Debug, Clone)]
pub struct TappedEvent {
    /// As it was then.
    pub event: StoredEvent,
    /// How the stage ended, where it has.
    pub result: Option<StageResult>,
}

/// All taps, across all generations of an engine.
#[derive(Debug, Default)]
pub struct StageTaps {
    count: AtomicUsize,
    skipped: AtomicU64,
    queues: Mutex<Vec<Arc<TapQueue>>>,
}

/// What somebody sees who looks on at one side of a stage; dropping it ends that.
#[derive(Debug)]
pub struct StageTap {
    taps: Arc<StageTaps>,
    queue: Arc<TapQueue>,
}

/// What has come since the last look.
#[derive(Debug, Default)]
pub struct TapNews {
    /// In the order in which they came.
    pub events: Vec<TappedEvent>,
    /// How many were left out behind them.
    pub skipped: u64,
    /// Why no more will come.
    pub ended: Option<String>,
}

#[derive(Debug)]
struct TapQueue {
    stage: Arc<str>,
    side: TapSide,
    waiting: Mutex<WaitingEvents>,
    news: Signal,
}

#[derive(Debug, Default)]
struct WaitingEvents {
    news: VecDeque<TappedEvent>,
    bytes: usize,
    skipped: u64,
    ended: Option<String>,
}

impl StageTaps {
    /// Looks on from now on; `None` where too many do.
    pub fn open(self: &Arc<Self>, stage: &str, side: TapSide) -> Option<StageTap> {
        let mut queues = self.queues();
        if TAPS_MAX <= queues.len() {
            return None;
        }
        let (waiting, news) = (Mutex::default(), Signal::new());
        let queue = Arc::new(TapQueue { stage: stage.into(), side, waiting, news });
        queues.push(queue.clone());
        self.count.store(queues.len(), Ordering::Release);
        drop(queues);
        Some(StageTap { taps: self.clone(), queue })
    }

    /// How many look on.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// How many events were left out because somebody who looks on was too slow.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Shows an event to who looks on at this side of this stage.
    pub(super) fn show(
        &self,
        stage: &str,
        side: TapSide,
        event: &Event,
        result: Option<&StageResult>,
    ) {
        if self.count() == 0 {
            return;
        }
        let queues = self.queues();
        let mut wanted =
            queues.iter().filter(|queue| *queue.stage == *stage && queue.side == side).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let tapped = TappedEvent { event: as_stored(event), result: result.cloned() };
        for queue in wanted {
            if !queue.push(&tapped) {
                self.skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// From now on `plan` runs: who looks on at a stage that it does not have is told so.
    pub fn follow(&self, generation: u64, plan: &Plan) {
        for queue in self.queues().iter() {
            if let Some(why) = missing(generation, plan, &queue.stage) {
                queue.lock().ended = Some(why);
                queue.news.notify(usize::MAX);
            }
        }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<TapQueue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing is to be seen at a stage, where that is so.
pub fn missing(generation: u64, plan: &Plan, stage: &str) -> Option<String> {
    match plan.stages.iter().find(|it| *it.name == *stage) {
        None => Some(format!("generation {generation} has no stage `{stage}`")),
        Some(it) => {
            let why = it.off.as_ref()?;
            Some(format!("in generation {generation} `{stage}` is off: {why}"))
        }
    }
}

impl TapQueue {
    fn lock(&self) -> MutexGuard<'_, WaitingEvents> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room for it.
    fn push(&self, tapped: &TappedEvent) -> bool {
        let mut waiting = self.lock();
        // Once something was left out, the count of it stands behind what came before.
        let is_full = EVENTS_MAX <= waiting.news.len() || BYTES_MAX <= waiting.bytes;
        if is_full || 0 < waiting.skipped {
            waiting.skipped += 1;
            return false;
        }
        waiting.bytes += tapped.event.size();
        waiting.news.push_back(tapped.clone());
        drop(waiting);
        self.news.notify(usize::MAX);
        true
    }
}

impl StageTap {
    /// Told when something has come after this call.
    pub fn listen(&self) -> EventListener {
        self.queue.news.listen()
    }

    /// Takes what has come.
    pub fn take(&self) -> TapNews {
        let mut waiting = self.queue.lock();
        waiting.bytes = 0;
        TapNews {
            events: std::mem::take(&mut waiting.news).into(),
            skipped: std::mem::take(&mut waiting.skipped),
            ended: waiting.ended.clone(),
        }
    }
}

impl Drop for StageTap {
    fn drop(&mut self) {
        let mut queues = self.taps.queues();
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.taps.count.store(queues.len(), Ordering::Release);
    }
}

/// An event that is under way, as what is stored is shown.
fn as_stored(event: &Event) -> StoredEvent {
    StoredEvent {
        pos: 0,
        seq: event.seq,
        generation: event.generation,
        envelope: event.envelope.clone(),
        body: event.body.clone(),
        enrich: event.enrich.to_json().into(),
        stages: Arc::new([]),
        targets: Arc::new([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::testing::event;
    use serde_json::json;

    fn shown(taps: &StageTaps, stage: &str, side: TapSide, count: usize) {
        (0..count).for_each(|it| taps.show(stage, side, &event(json!({ "n": it })), None));
    }

    fn seen(tap: &StageTap) -> (Vec<String>, u64) {
        let news = tap.take();
        let data = news.events.iter().map(|event| event.event.body.data_text().to_owned());
        (data.collect(), news.skipped)
    }

    #[test]
    fn who_looks_on_sees_one_side_of_one_stage() {
        let taps = Arc::<StageTaps>::default();
        shown(&taps, "a", TapSide::In, 1);
        let tap = taps.open("a", TapSide::In).expect("there is room");
        shown(&taps, "a", TapSide::Out, 1);
        shown(&taps, "b", TapSide::In, 1);
        assert_eq!(seen(&tap), (Vec::new(), 0));
        shown(&taps, "a", TapSide::In, 2);
        assert_eq!(seen(&tap), (vec!["{\"n\":0}".to_owned(), "{\"n\":1}".to_owned()], 0));
        drop(tap);
        assert_eq!(taps.count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_counted_behind_what_does() {
        let taps = Arc::<StageTaps>::default();
        let tap = taps.open("a", TapSide::In).expect("there is room");
        shown(&taps, "a", TapSide::In, EVENTS_MAX + 3);
        let (events, skipped) = seen(&tap);
        assert_eq!((events.len(), skipped, taps.skipped()), (EVENTS_MAX, 3, 3));
        shown(&taps, "a", TapSide::In, 1);
        assert_eq!(seen(&tap).1, 0, "it has caught up");
    }

    #[test]
    fn there_are_no_more_than_some() {
        let taps = Arc::<StageTaps>::default();
        let all: Vec<_> = (0..TAPS_MAX).filter_map(|_| taps.open("a", TapSide::Out)).collect();
        assert_eq!((all.len(), taps.open("a", TapSide::Out).is_none()), (TAPS_MAX, true));
        drop(all);
        assert!(taps.open("a", TapSide::Out).is_some());
    }
}
