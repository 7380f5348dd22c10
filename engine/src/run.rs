//! A generation: one running instance of a plan.
//!
//! Owns the opened stages and targets. Leaves *when* to open and replace them to
//! [`reload`](crate::reload), and where events come from and go to to
//! [`engine`](crate::engine).
//!
//! Never: a check of the user's text. A plan that arrives here is right.

mod alerts;
pub mod attempt;
pub mod breaker;
pub mod cache;
pub mod condition;
pub mod deliver;
pub mod enrich;
mod facts;
pub mod limits;
pub mod memories;
pub mod message_cause;
pub mod message_group;
pub mod open;
pub mod rate;
mod relays;
pub mod retry_budget;
pub mod sources;
pub mod stop;
pub mod tap;
pub mod target;
pub mod target_pace;
pub mod task;
pub mod test_message;

pub use open::{
    DemoFiles, GenerationTag, OpenContext, OpenedParts, OpenedSource, Outside, open, open_notifier,
};
pub use target::Target;

use crate::metrics::OwnMetric;
use cache::AnswerCache;
use compiler::plan::Plan;
use kernel::health::PartHealth;
use kernel::time::Timestamp;
use limits::CallLimits;
use memories::OpenedMemories;
use smol::lock::Semaphore;
use stages::contract::{Enricher, HttpRoute};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::StoreEntry;
use tap::StageTaps;

/// The fault of a call that panicked.
const PANICKED: &str = "internal error (panic); please report it";

/// One running instance of a plan.
pub struct Generation {
    /// Its number; it grows over restarts.
    pub number: u64,
    /// Hash of everything that it was built from.
    pub hash: String,
    /// When it was loaded.
    pub loaded: Timestamp,
    /// What it runs.
    pub plan: Plan,
    /// The opened stages, in the order of the plan; `None` where a stage is off.
    pub stages: Vec<Option<Arc<OpenStage>>>,
    /// What remembers, by name.
    pub memories: OpenedMemories,
    /// The metrics of the file, in the order of the plan.
    pub metrics: Vec<OwnMetric>,
    /// What delivers to the outside, by name.
    pub targets: BTreeMap<Arc<str>, Arc<Target>>,
    /// Who looks on at its stages; those of the generation before go on.
    pub taps: Arc<StageTaps>,
    /// Sources that the HTTP server serves: index of the source, and its route.
    pub routes: Vec<(usize, HttpRoute)>,
}

/// An enrichment, opened.
pub struct OpenStage {
    /// What it does.
    pub enricher: Arc<Enricher>,
    /// Most calls at once.
    pub concurrency: usize,
    /// A permit for each of them.
    pub slots: Arc<Semaphore>,
    /// Whether and how often it may be called.
    pub limits: CallLimits,
    /// Answers that are kept.
    pub cache: Option<Arc<AnswerCache>>,
    /// Where it says what does not work.
    pub health: PartHealth,
}

impl Generation {
    /// Tells the store who remembers from now on; what others remembered is forgotten.
    pub fn remember(&self) -> StoreEntry {
        let nodes = self.memories.values().map(|memory| memory.node.clone()).collect();
        let rules = self.plan.rules().into_iter().map(Arc::new).collect();
        let targets = self.plan.outside();
        StoreEntry::Remember { generation: self.number, nodes, rules, targets }
    }

    /// An opened stage by its name.
    pub fn stage(&self, name: &str) -> Option<&Arc<OpenStage>> {
        let at = self.plan.stages.iter().position(|stage| *stage.name == *name)?;
        self.stages[at].as_ref()
    }
}
