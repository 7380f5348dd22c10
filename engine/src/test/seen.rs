//! What came out of a test so far, and who notes it.

use super::coverage;
use super::outside::Told;
use crate::engine::{IngestObserver, IngestResult, Outbox, Overloaded};
use crate::intake::Intake;
use crate::run::{Generation, enrich};
use compiler::plan::Plan;
use kernel::env::Clock;
use kernel::event::Globals;
use kernel::event::{Event, StageResult};
use kernel::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{CommitObserver, DeadLetter, Delivery, MemoryTimer, StoredEvent};

/// A message that was given or that a source sent, and its answer.
#[derive(Debug)]
pub(super) struct Arrived {
    /// Whether a step of the test gave it.
    pub(super) is_given: bool,
    pub(super) at: Timestamp,
    pub(super) source: Arc<str>,
    /// The answer for the event; nothing where the message was no events at all.
    pub(super) answer: Result<Option<IngestResult>, Overloaded>,
    /// The status of the whole answer, where the message may be several events.
    pub(super) status: Option<u16>,
    /// Which message it came in, in order.
    pub(super) number: usize,
    /// What the intake made of it.
    pub(super) event: Option<Event>,
}

/// An event that its stages let go or set aside.
#[derive(Debug, Clone)]
pub(super) struct SeenEnd {
    pub(super) event: Event,
    pub(super) results: Vec<StageResult>,
    /// The stage that decided so.
    pub(super) by: Option<Arc<str>>,
    /// Why.
    pub(super) reason: String,
    pub(super) is_dead: bool,
}

/// Everything that came out so far.
pub(super) struct TestRecord {
    pub(super) now: Timestamp,
    pub(super) arrived: Arc<Vec<Arrived>>,
    pub(super) stored: Vec<(Timestamp, Arc<StoredEvent>)>,
    pub(super) ended: Vec<SeenEnd>,
    pub(super) told: Vec<Told>,
    pub(super) deliveries: Vec<Delivery>,
    /// The newest last.
    pub(super) letters: Vec<DeadLetter>,
    /// Accepted events that are not finished.
    pub(super) pending: u64,
    /// The first times at which stages want to look again.
    pub(super) timers: Vec<MemoryTimer>,
    pub(super) generation: Arc<Generation>,
}

impl TestRecord {
    /// What expressions read besides an event.
    pub(super) fn globals(&self) -> Arc<Globals> {
        self.generation.plan.globals.clone()
    }
}

/// Stored events with the time of their commit, in the order of `pos`.
pub(super) type Commits = Mutex<Vec<(Timestamp, Arc<StoredEvent>)>>;

/// The writer's view of the world.
pub(super) struct Ledger {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stored: Arc<Commits>,
    pub(super) outbox: Arc<Outbox>,
}

impl CommitObserver for Ledger {
    fn committed(&mut self, batch: &[Arc<StoredEvent>]) {
        let now = self.clock.wall();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.extend(batch.iter().map(|it| (now, it.clone())));
    }

    fn deliveries(&mut self, sinks: &BTreeSet<Arc<str>>) {
        for sink in sinks {
            self.outbox.wake(sink);
        }
    }

    fn unclaimed(&mut self) {
        self.outbox.leave_in_inbox();
    }

    fn emitted(&mut self, seqs: &[u64]) {
        self.outbox.emitted(seqs);
    }

    fn wakes(&mut self, _: Timestamp) {
        self.outbox.wake_timers();
    }
}

/// What the probe has seen.
#[derive(Default)]
pub(super) struct NotedDelivery {
    /// What the intake made of messages whose answers are not noted yet.
    pub(super) taken: Vec<Event>,
    pub(super) ended: Vec<SeenEnd>,
    pub(super) exercised: BTreeSet<String>,
}

/// The engine's probe.
pub(super) struct Watch {
    generation: Arc<Generation>,
    clock: Arc<dyn Clock>,
    noted: Mutex<NotedDelivery>,
}

impl Watch {
    /// Has seen nothing yet.
    pub(super) fn new(generation: Arc<Generation>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Watch { generation, clock, noted: Mutex::default() })
    }

    /// The plan of what it sees.
    pub(super) fn plan(&self) -> &Plan {
        &self.generation.plan
    }

    /// What it has seen.
    pub(super) fn noted(&self) -> MutexGuard<'_, NotedDelivery> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotedDelivery {
    /// What the intake made of the message that has this answer.
    pub(super) fn take_event(&mut self, answer: &IngestResult) -> Option<Event> {
        let id = match answer {
            IngestResult::Accepted { id, .. }
            | IngestResult::Duplicate { id, .. }
            | IngestResult::Conflict { id, .. }
            | IngestResult::Discarded { id, .. } => Some(&**id),
            IngestResult::Refused(refusal) => refusal.id.as_deref(),
        };
        let at = self.taken.iter().position(|event| Some(&*event.envelope.id) == id)?;
        Some(self.taken.remove(at))
    }
}

impl IngestObserver for Watch {
    fn taken(&self, taken: &Intake) {
        let now = self.clock.wall();
        let mut noted = self.noted();
        coverage::taken(&self.generation.plan, taken, now, &mut noted.exercised);
        match taken {
            Intake::Event(event, _) | Intake::Discarded(event, ..) => {
                noted.taken.push((**event).clone());
            }
            Intake::Refused(_) => {}
        }
    }

    fn ended(&self, results: &[StageResult], verdict: &enrich::Disposition, by: Option<&Arc<str>>) {
        let now = self.clock.wall();
        let mut noted = self.noted();
        let plan = &self.generation.plan;
        coverage::ended(plan, results, verdict, now, &mut noted.exercised);
        let (event, reason, is_dead) = match verdict {
            enrich::Disposition::Finished(_) => return,
            enrich::Disposition::Discarded(event, reason) => (event, reason.to_string(), false),
            enrich::Disposition::Dead(event, end) => (event, end.reason.clone(), true),
        };
        let (event, results, by) = (event.clone(), results.to_vec(), by.cloned());
        noted.ended.push(SeenEnd { event, results, by, reason, is_dead });
    }

    fn dropped(&self, event: &Event, by: &Arc<str>) {
        let reason =
            format!("an event that `{}` sent passes the filters, too", event.envelope.source);
        let (event, by, results) = (event.clone(), Some(by.clone()), Vec::new());
        self.noted().ended.push(SeenEnd { event, results, by, reason, is_dead: false });
    }
}
