//! Retention, as the file says it.

use super::outbox::OutboxLimits;
use super::search_fields::SearchFields;
use kernel::event::Priority;
use std::time::Duration;

kernel::choice! {
    /// Commit durability; the words are SQLite's.
    #[derive(Default)]
    pub enum Synchronous {
        /// The operating system decides; a power cut may corrupt.
        Off = "off",
        /// A power cut may take the last moments.
        Normal = "normal",
        /// Nothing acknowledged is ever lost.
        #[default]
        Full = "full",
    }
}

/// One rule of retention.
#[derive(Debug, Clone, PartialEq)]
pub struct KeepRule {
    /// How long, counted from `received`.
    pub age: Duration,
    /// Only events of this priority.
    pub priority: Option<Priority>,
    /// Only events whose type fits this pattern (`*` for any run of characters).
    pub kind: Option<String>,
}

kernel::choice! {
    /// What goes first when the store is too large.
    #[derive(Default)]
    pub enum Evict {
        /// The oldest.
        #[default]
        Oldest = "oldest",
        /// The oldest of the lowest priority there is.
        OldestLowestPriority = "oldest-lowest-priority",
    }
}

kernel::choice! {
    /// What becomes of the room that deleted events leave.
    #[derive(Default)]
    pub enum Vacuum {
        /// It goes back to the disk, step by step.
        #[default]
        Incremental = "incremental",
        /// It stays in the database, for what comes next.
        None = "none",
    }
}

/// Retention: how long events are kept. May change while the store is open.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionPolicy {
    /// Tried in order, the first that fits rules; what fits none stays.
    pub keep: Vec<KeepRule>,
    /// The largest that database and log may grow on the disk, in bytes.
    pub size_max: Option<u64>,
    /// What goes first beyond it.
    pub evict: Evict,
    /// Time between sweeps.
    pub sweep_every: Duration,
    /// How long a reload waits before it deletes more than half of the events.
    pub reload_grace: Duration,
    /// Whether freed space is given back to the file system.
    pub vacuum: Vacuum,
    /// How long dead letters stay.
    pub dead_keep: Duration,
    /// Most dead letters.
    pub dead_max: u64,
    /// How long streams can go back to an event that was not sent to this store. It goes when
    /// that is over and its last delivery has ended.
    pub passing_keep: Duration,
    /// What may wait in the outbox.
    pub outbox: OutboxLimits,
    /// Whose texts are searched; `None` keeps no index of them.
    pub search: Option<SearchFields>,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        RetentionPolicy {
            keep: Vec::new(),
            size_max: None,
            evict: Evict::Oldest,
            sweep_every: Duration::from_secs(3600),
            reload_grace: Duration::from_secs(60),
            vacuum: Vacuum::default(),
            dead_keep: Duration::from_secs(7 * 86_400),
            dead_max: 10_000,
            passing_keep: Duration::from_secs(3600),
            outbox: OutboxLimits::default(),
            search: None,
        }
    }
}
