//! What keeps a store from taking events, and what of it is damaged: one state that the writer and
//! the readers write, and that everybody asks.

use super::open_error::{REPAIR, damaged};
use super::{StoreFault, StoreTrouble};
use event_listener::Event as Signal;
use kernel::health::{Health, HealthProblem, PartHealth, PartRole};
use kernel::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A store with more damaged rows than this is damaged as a whole.
const DAMAGED_MAX: usize = 1000;

/// Something that keeps the store from taking events until it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Obstacle {
    /// Another program holds the lock for writing.
    Locked,
    /// A write failed for lack of room.
    Full,
    /// So little room is left that a write may fail soon.
    Low,
    /// The file system is read-only.
    ReadOnly,
    /// The files were taken away; the store is about to break.
    Leaving,
}

impl Obstacle {
    fn code(self) -> &'static str {
        ["store-locked", "disk-full", "disk-low", "disk-read-only", "store-leaving"][self as usize]
    }

    /// As senders see it.
    fn fault(self) -> StoreFault {
        let (class, reason) = match self {
            Obstacle::Locked => (StoreTrouble::Busy, "another program holds a lock on the store"),
            Obstacle::Full => (StoreTrouble::Full, "the disk of the store is full"),
            Obstacle::Low => (StoreTrouble::Full, "the disk of the store is almost full"),
            Obstacle::ReadOnly => (StoreTrouble::ReadOnly, "the disk of the store is read-only"),
            Obstacle::Leaving => (StoreTrouble::Io, "the files of the store were removed"),
        };
        StoreFault::new(class, reason)
    }

    fn advice(self) -> &'static str {
        match self {
            Obstacle::Locked => "close the other program, or end its transaction",
            Obstacle::Full | Obstacle::Low => {
                "free some space on the disk, raise the limit that was reached, or shorten `retention`; \
                 events are accepted again as soon as there is space"
            }
            Obstacle::ReadOnly => {
                "mount the file system for writing; if the system made it read-only, look in the \
                 kernel's log for a failing disk"
            }
            Obstacle::Leaving => "",
        }
    }
}

/// The state of one store.
pub(super) struct StoreStatus {
    /// The database's path, or what stands for it.
    label: String,
    store: PartHealth,
    disk: PartHealth,
    /// In full: with its path, and what to do.
    broken: OnceLock<StoreFault>,
    ended: Signal,
    obstacles: Mutex<BTreeMap<Obstacle, StoreFault>>,
    /// Whether there is an obstacle; asked before every event.
    is_blocked: AtomicBool,
    damaged: Mutex<BTreeMap<String, DamagedRow>>,
    /// Whether any row was found damaged since the start.
    has_been_damaged: AtomicBool,
    /// Whether the index of texts was found damaged, until it is given up.
    is_index_damaged: AtomicBool,
    /// When the last pass over all rows ended, until it is written.
    passed: Mutex<Option<Timestamp>>,
}

struct DamagedRow {
    /// Its place in a stream, when it is an event.
    pos: Option<u64>,
    /// Not met again in the pass that runs.
    is_old: bool,
}

impl StoreStatus {
    pub(super) fn new(label: String, health: &Arc<Health>) -> Self {
        StoreStatus {
            label,
            store: health.part(PartRole::Store, ""),
            disk: health.part(PartRole::Disk, ""),
            broken: OnceLock::new(),
            ended: Signal::new(),
            obstacles: Mutex::default(),
            is_blocked: AtomicBool::new(false),
            damaged: Mutex::default(),
            has_been_damaged: AtomicBool::new(false),
            is_index_damaged: AtomicBool::new(false),
            passed: Mutex::default(),
        }
    }

    /// The database's path, for people.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Why nothing is taken before a restart, with what to do.
    pub(super) fn failure(&self) -> Option<StoreFault> {
        self.broken.get().cloned()
    }

    /// The same for senders: what a stranger may know.
    pub(super) fn broken(&self) -> Option<StoreFault> {
        let class = self.broken.get()?.class;
        let reason = match class {
            StoreTrouble::Corrupt => "the store is damaged and accepts nothing more",
            _ => "the store failed and accepts nothing more",
        };
        Some(StoreFault::new(class, reason))
    }

    /// Why nothing is taken now.
    pub(super) fn trouble(&self) -> Option<StoreFault> {
        let blocked = || self.obstacles().values().next().cloned();
        self.broken().or_else(|| if self.is_blocked() { blocked() } else { None })
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    pub(super) fn is_blocked_by(&self, obstacle: Obstacle) -> bool {
        self.is_blocked() && self.obstacles().contains_key(&obstacle)
    }

    /// Ends when the store is broken.
    pub(super) async fn when_broken(&self) -> StoreFault {
        loop {
            let ended = self.ended.listen();
            if let Some(fault) = self.failure() {
                return fault;
            }
            ended.await;
        }
    }

    /// From now on nothing is taken. Only the first reason counts.
    pub(super) fn fail(
        &self,
        class: StoreTrouble,
        code: &'static str,
        reason: String,
        advice: &str,
    ) {
        assert!(class.is_final(), "what may pass does not end the store");
        let fault = StoreFault::new(class, format!("{reason}; {advice}"));
        if self.broken.set(fault).is_ok() {
            self.store.report(HealthProblem::failed(code, reason).advise(advice));
            self.ended.notify(usize::MAX);
        }
    }

    /// The database is damaged as a whole.
    pub(super) fn fail_damaged(&self, reason: &str) {
        let fault = StoreFault::new(StoreTrouble::Corrupt, damaged(&self.label, reason));
        if self.broken.set(fault).is_ok() {
            let reason = format!("{} is damaged: {reason}", self.label);
            self.store.report(HealthProblem::failed("store-corrupt", reason).advise(REPAIR));
            self.ended.notify(usize::MAX);
        }
    }

    /// Nothing is taken until [`StoreStatus::unblock`].
    pub(super) fn block(&self, obstacle: Obstacle, reason: &str) {
        let problem = HealthProblem::failed(obstacle.code(), reason).advise(obstacle.advice());
        self.part(obstacle).report(problem);
        self.stop_intake(obstacle);
    }

    /// Nothing is taken any more, and why will be said in a moment.
    pub(super) fn hold(&self) {
        self.stop_intake(Obstacle::Leaving);
    }

    fn stop_intake(&self, obstacle: Obstacle) {
        let mut obstacles = self.obstacles();
        obstacles.insert(obstacle, obstacle.fault());
        self.is_blocked.store(true, Ordering::Relaxed);
    }

    pub(super) fn unblock(&self, obstacle: Obstacle) {
        if !self.is_blocked() {
            return;
        }
        let mut obstacles = self.obstacles();
        if obstacles.remove(&obstacle).is_some() {
            self.is_blocked.store(!obstacles.is_empty(), Ordering::Relaxed);
            drop(obstacles);
            self.part(obstacle).clear(obstacle.code());
        }
    }

    fn part(&self, obstacle: Obstacle) -> &PartHealth {
        if obstacle == Obstacle::Locked { &self.store } else { &self.disk }
    }

    fn obstacles(&self) -> MutexGuard<'_, BTreeMap<Obstacle, StoreFault>> {
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Damage of single rows.
impl StoreStatus {
    /// The index of texts is damaged: the writer gives it up.
    pub(super) fn note_damaged_index(&self) {
        self.is_index_damaged.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_index_damaged(&self) -> bool {
        self.is_index_damaged.load(Ordering::Relaxed)
    }

    /// Whether it was, and is dealt with now.
    pub(super) fn take_damaged_index(&self) -> bool {
        self.is_index_damaged.swap(false, Ordering::Relaxed)
    }

    /// A query met this: what it says about the store is kept.
    pub(super) fn note_read(&self, fault: &StoreFault) {
        match fault.class {
            StoreTrouble::Corrupt => self.fail_damaged(&fault.reason),
            StoreTrouble::Damaged => self.note_damaged(fault, None),
            StoreTrouble::TextIndex => self.note_damaged_index(),
            StoreTrouble::Io => {
                let reason = format!("a part of {} cannot be read: {fault}", self.label);
                let advice = "check the kernel log for a failing disk, and save a copy";
                self.store
                    .report(HealthProblem::degraded("store-unreadable", reason).advise(advice));
            }
            _ => {}
        }
    }

    /// One row is damaged; `pos` is its place in streams, when it is an event.
    pub(super) fn note_damaged(&self, fault: &StoreFault, pos: Option<u64>) {
        self.has_been_damaged.store(true, Ordering::Relaxed);
        let subject = fault.subject();
        let mut damaged = self.damaged();
        let known = damaged.remove(subject);
        let pos = pos.or(known.as_ref().and_then(|it| it.pos));
        damaged.insert(subject.to_owned(), DamagedRow { pos, is_old: false });
        let count = damaged.len();
        drop(damaged);
        let problem = HealthProblem::degraded("store-corrupt", format!("{}: {fault}", self.label));
        self.store.report(problem.about(subject).advise(REPAIR));
        if DAMAGED_MAX < count {
            self.fail_damaged("more than a thousand rows differ from what was written");
        }
    }

    /// Whether a row was damaged at any time since the start.
    pub(super) fn has_been_damaged(&self) -> bool {
        self.has_been_damaged.load(Ordering::Relaxed)
    }

    /// How many damaged rows are known.
    pub(super) fn damaged_count(&self) -> usize {
        self.damaged().len()
    }

    /// Places of damaged events behind `after`, up to and with `up_to`, in their order.
    pub(super) fn damaged_between(&self, after: u64, up_to: u64) -> Vec<u64> {
        let damaged = self.damaged();
        let places = damaged.values().filter_map(|value| value.pos);
        let mut places: Vec<u64> =
            places.filter(|place| after < *place && *place <= up_to).collect();
        places.sort_unstable();
        places
    }

    /// A pass over all rows begins.
    pub(super) fn begin_pass(&self) {
        self.damaged().values_mut().for_each(|value| value.is_old = true);
    }

    /// A pass over all rows has ended: what it has not met is gone.
    pub(super) fn end_pass(&self, now: Timestamp) {
        let mut gone = Vec::new();
        self.damaged().retain(|subject, it| {
            if it.is_old {
                gone.push(subject.clone());
            }
            !it.is_old
        });
        for subject in gone {
            self.store.clear_about("store-corrupt", &subject);
        }
        self.store.clear("store-unreadable");
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// When the last pass ended, once.
    pub(super) fn take_passed(&self) -> Option<Timestamp> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn is_damaged_event(&self, pos: i64) -> bool {
        self.damaged().values().any(|value| value.pos == Some(pos as u64))
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeMap<String, DamagedRow>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says so when the writer ends by a panic: then nobody answers any more.
#[derive(Clone)]
pub(super) struct WriterAlarm(pub(super) Arc<StoreStatus>);

impl Drop for WriterAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the thread that writes the store panicked".to_owned();
            let advice = "restart the engine; accepted events are on disk";
            self.0.fail(StoreTrouble::Io, "store-panicked", reason, advice);
        }
    }
}
