//! Sinks and notifiers that somebody paused: they call nobody, and what is for them waits in the
//! outbox.
//!
//! A pause belongs to a node of the file, so it covers every recipient and outlives reloads,
//! restarts and crashes. It ends when somebody resumes the node, when its time is over, or with the
//! node.
//!
//! *Invariant:* who asked for a pause is answered when it is on disk; and what the store holds was
//! written in the order in which memory changed.

use super::Engine;
use compiler::plan::{NotPausable, node_of};
use event_listener::{Event as Signal, EventListener};
use kernel::env::Clock;
use kernel::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{AuditRecord, StoreEntry, StoreFault, StoreTrouble};

/// The longest that a pause with an end may be.
pub const PAUSE_MAX: Duration = Duration::from_secs(31 * 86_400);
/// Whose state they are in the store. No node has a name with a dot.
const OWNER: &str = ".pauses";
/// A wall clock may be set, so it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The pauses of an engine, by node.
#[derive(Debug, Default)]
pub struct NodePauses {
    nodes: Mutex<BTreeMap<Arc<str>, NodeState>>,
    /// Held by whoever changes a pause, in memory and on disk.
    turn: smol::lock::Mutex<()>,
    /// The time of the next end has changed.
    changed: Signal,
}

/// The pause of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePause {
    /// When it began.
    pub since: Timestamp,
    /// When it ends; `None` where somebody has to resume it.
    pub until: Option<Timestamp>,
    /// When it ends on the monotonic clock at the latest: a wall clock that is put back must not
    /// make it longer.
    latest: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NodeState {
    Paused(NodePause),
    /// It was, until then.
    Resumed(Timestamp),
}

/// The state of a node as the store keeps it, in microseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredState {
    Paused { since: i64, until: Option<i64> },
    Resumed { at: i64 },
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct PauseOrder {
    /// The sink or notifier.
    pub name: String,
    /// What to do with it.
    pub action: PauseAction,
    /// The name of the token that was shown; empty where none is asked for.
    pub who: String,
}

/// What to do with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseAction {
    /// Pause it for so long, at most [`PAUSE_MAX`], or until it is resumed. A pause that it has
    /// already gets this end.
    Pause(Option<Duration>),
    /// End its pause, if it has one.
    Resume,
}

/// What an order came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseChange {
    /// The pause that the node had.
    pub before: Option<NodePause>,
    /// The pause that it has.
    pub after: Option<NodePause>,
}

/// Why an order was not carried out. Nothing has changed.
#[derive(Debug)]
pub enum PauseRefusal {
    /// The name is not one that can be paused.
    Name(NotPausable),
    /// The store does not take it now.
    Store(StoreFault),
}

impl NodePause {
    fn new(since: Timestamp, until: Option<Timestamp>, clock: &dyn Clock) -> Self {
        let now = clock.wall();
        // A wall clock that was put back since then must not make it longer than was asked for.
        let longest = until.map_or(Duration::ZERO, |until| until.since(since)).min(PAUSE_MAX);
        let rest = until.map_or(Duration::ZERO, |until| until.since(now)).min(longest);
        NodePause { since, until, latest: clock.monotonic() + rest }
    }

    /// How long it still lasts; `None` where it has no end.
    fn rest(&self, clock: &dyn Clock) -> Option<Duration> {
        let until = self.until?;
        Some(until.since(clock.wall()).min(self.latest.saturating_sub(clock.monotonic())))
    }

    fn end_in_words(&self) -> String {
        self.until.map_or_else(|| "until it is resumed".to_owned(), |it| format!("until {it}"))
    }
}

impl NodeState {
    fn pause(&self) -> Option<&NodePause> {
        match self {
            NodeState::Paused(pause) => Some(pause),
            NodeState::Resumed(_) => None,
        }
    }

    fn text(&self) -> String {
        let stored = match self {
            NodeState::Paused(NodePause { since, until, .. }) => {
                StoredState::Paused { since: since.0, until: until.map(|until| until.0) }
            }
            NodeState::Resumed(at) => StoredState::Resumed { at: at.0 },
        };
        serde_json::to_string(&stored).expect("it is JSON")
    }

    fn read(text: &str, clock: &dyn Clock) -> Option<Self> {
        Some(match serde_json::from_str(text).ok()? {
            StoredState::Paused { since, until } => {
                let (since, until) = (Timestamp(since), until.map(Timestamp));
                NodeState::Paused(NodePause::new(since, until, clock))
            }
            StoredState::Resumed { at } => NodeState::Resumed(Timestamp(at)),
        })
    }
}

impl NodePauses {
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, NodeState>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a target may call nobody now.
    pub fn is_paused(&self, target: &str) -> bool {
        self.of(target).is_some()
    }

    /// The pause of a target: that of its node.
    pub fn of(&self, target: &str) -> Option<NodePause> {
        self.nodes().get(node_of(target))?.pause().cloned()
    }

    /// Every pause, by node.
    pub fn all(&self) -> Vec<(Arc<str>, NodePause)> {
        let nodes = self.nodes();
        let paused =
            nodes.iter().filter_map(|(node, it)| Some((node.clone(), it.pause()?.clone())));
        paused.collect()
    }

    /// When the last pause of a target ended, in this run of the engine.
    fn resumed_at(&self, target: &str) -> Option<Timestamp> {
        match self.nodes().get(node_of(target)) {
            Some(NodeState::Resumed(at)) => Some(*at),
            _ => None,
        }
    }

    /// The nodes whose time is over, and how long until that of another may be.
    fn over(&self, clock: &dyn Clock) -> (Vec<Arc<str>>, Duration) {
        let (mut over, mut wait) = (Vec::new(), LOOK_EVERY);
        for (node, pause) in self.all() {
            match pause.rest(clock) {
                Some(Duration::ZERO) => over.push(node),
                rest => wait = wait.min(rest.unwrap_or(LOOK_EVERY)),
            }
        }
        (over, wait)
    }

    fn set(&self, node: Arc<str>, state: NodeState) {
        self.nodes().insert(node, state);
        self.changed.notify(usize::MAX);
    }

    fn listen(&self) -> EventListener {
        self.changed.listen()
    }
}

fn saved(node: &str, state: Option<&NodeState>) -> StoreEntry {
    let value = state.map(NodeState::text);
    StoreEntry::Save { owner: OWNER.into(), key: node.to_owned(), value }
}

impl Engine {
    /// For how long a delivery of a target that was made at `created` can have been tried: a pause
    /// takes nothing of the time that it has, nor does a clock that is set.
    pub fn tried_for(&self, target: &str, created: Timestamp) -> Duration {
        let elapsed = |moment| self.history.elapsed(moment, &*self.env.clock);
        let resumed = self.pauses.resumed_at(target).map(elapsed);
        elapsed(created).min(resumed.unwrap_or(Duration::MAX))
    }

    /// Which sinks and notifiers are paused.
    pub fn pauses(&self) -> &NodePauses {
        &self.pauses
    }

    /// Takes up what the store knows of pauses. To be called before anything delivers.
    pub async fn restore_pauses(&self) -> Result<(), StoreFault> {
        let rows = self.store.read(|reader| reader.states(OWNER)).await?;
        for (node, text) in rows {
            let Some(state) = NodeState::read(&text, &*self.env.clock) else {
                tracing::warn!(
                    target = node,
                    "the stored pause of `{node}` cannot be read, so it is ignored; pause it again if needed"
                );
                continue;
            };
            if let Some(pause) = state.pause() {
                tracing::info!(target = node, "`{node}` is paused {}", pause.end_in_words());
            }
            self.pauses.set(node.into(), state);
        }
        Ok(())
    }

    /// Carries an order out; answers after the commit. Dropped before that, it is carried out all
    /// the same.
    pub async fn order_pause(
        self: &Arc<Self>,
        order: PauseOrder,
    ) -> Result<PauseChange, PauseRefusal> {
        let (reply, answer) = async_channel::bounded(1);
        let engine = self.clone();
        self.spawn(async move {
            reply.send(engine.change_pause(&order).await).await.ok();
        });
        // Only an engine that ends drops its tasks.
        let ended =
            || StoreFault { class: StoreTrouble::Closed, reason: "the engine ends".to_owned() };
        answer.recv().await.unwrap_or_else(|_| Err(PauseRefusal::Store(ended())))
    }

    async fn change_pause(&self, order: &PauseOrder) -> Result<PauseChange, PauseRefusal> {
        let _turn = self.pauses.turn.lock().await;
        let generation = self.generation();
        generation.plan.pausable(&order.name).map_err(PauseRefusal::Name)?;
        let before = self.pauses.of(&order.name);
        let (now, node) = (self.env.clock.wall(), Arc::<str>::from(&*order.name));
        let (action, state) = match order.action {
            PauseAction::Pause(time) => {
                if let Some(why) = generation.plan.target_off(&node) {
                    let why = format!("`{node}` is off, so there is nothing to pause: {why}");
                    return Err(PauseRefusal::Name(NotPausable::Other(why)));
                }
                let since = before.as_ref().map_or(now, |before| before.since.min(now));
                let until = time.map(|time| now.plus(time.min(PAUSE_MAX)));
                ("pause", NodeState::Paused(NodePause::new(since, until, &*self.env.clock)))
            }
            PauseAction::Resume if before.is_none() => {
                return Ok(PauseChange { before, after: None });
            }
            PauseAction::Resume => ("resume", NodeState::Resumed(now)),
        };
        let after = state.pause().cloned();
        let until = after.as_ref().and_then(|pause| pause.until).map(|until| until.to_string());
        let audit = AuditRecord {
            who: order.who.clone(),
            action,
            subject: json!({ "name": &*node }),
            outcome: json!({ "until": until }),
        };
        let entries = vec![saved(&node, Some(&state)), StoreEntry::Audit(audit)];
        self.store.submit(entries).await.map_err(PauseRefusal::Store)?;
        let who = &*order.who;
        match &after {
            Some(pause) => {
                tracing::info!(target = &*node, who, "`{node}` is paused {}", pause.end_in_words());
            }
            None => tracing::info!(target = &*node, who, "`{node}` is resumed"),
        }
        self.pauses.set(node.clone(), state);
        self.wake_node(&node);
        Ok(PauseChange { before, after })
    }

    /// Ends pauses when their time is over.
    pub async fn end_pauses(self: Arc<Self>) {
        while !self.is_stopping() {
            let changed = self.pauses.listen();
            let (over, wait) = self.pauses.over(&*self.env.clock);
            if !over.is_empty() {
                self.end_over(&over).await;
                continue;
            }
            let changed = smol::future::or(changed, self.when_stopped());
            smol::future::or(self.env.clock.sleep(wait), changed).await;
        }
    }

    /// What the store keeps of a pause that is over says so by itself, so nothing waits for it.
    async fn end_over(&self, nodes: &[Arc<str>]) {
        let _turn = self.pauses.turn.lock().await;
        let (still, _) = self.pauses.over(&*self.env.clock);
        for node in nodes.iter().filter(|node| still.contains(node)) {
            let state = NodeState::Resumed(self.env.clock.wall());
            let entry = saved(node, Some(&state));
            tracing::info!(target = &**node, "the pause of `{node}` is over");
            self.pauses.set(node.clone(), state);
            self.wake_node(node);
            if let Err(fault) = self.store.submit(vec![entry]).await {
                tracing::debug!(target = &**node, reason = %fault, "the end of a pause could not be stored");
            }
        }
    }

    /// Forgets the pauses of nodes that the running generation does not have. To be called after
    /// each change of the generation.
    pub async fn drop_pauses(&self) {
        let _turn = self.pauses.turn.lock().await;
        let plan = &self.generation().plan;
        let states = self.pauses.nodes().clone();
        for (node, state) in states.iter().filter(|it| plan.pausable(it.0).is_err()) {
            if let Err(fault) = self.store.submit(vec![saved(node, None)]).await {
                tracing::warn!(reason = %fault, "the pause of `{node}` could not be removed from the store");
                continue;
            }
            if state.pause().is_some() {
                tracing::info!(
                    target = &**node,
                    "the file no longer has `{node}`, so its pause ends"
                );
            }
            self.pauses.nodes().remove(node);
        }
    }

    fn wake_node(&self, node: &str) {
        for target in self.generation().targets.keys().filter(|key| node_of(key) == node) {
            self.outbox.wake(target);
        }
    }
}
