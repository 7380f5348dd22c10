//! What a new plan changes: the one place that knows what "the same" is.
//!
//! A reload opens, closes and keeps by it; the history, `engine diff` and the log show it; and
//! state is kept exactly where it says so. Pure: two plans in, one answer out.
//!
//! *Invariant:* every source, filter, stage, sink and notifier of either plan has one change.

mod same;
mod text;

use super::outline::{self, SettingChange};
use super::{Plan, environment};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a part of a plan is, by its word in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanRole {
    /// `pipeline`: its zone, labels and description; `param`.
    Pipeline,
    /// `server`.
    Server,
    /// `limits`.
    Limits,
    /// `source`.
    Source,
    /// `validate`, with the content of its schemas.
    Validate,
    /// `filter`, or what remembers and lets events pass, by its word.
    Passes(&'static str),
    /// What looks on and sends events of its own, by its word.
    Watches(&'static str),
    /// `enrich`.
    Enrich,
    /// `metric`.
    Metric,
    /// `priority`.
    Priority,
    /// `route`.
    Route,
    /// `sink`.
    Sink,
    /// `notify`.
    Notify,
    /// `dead-letter`.
    DeadLetter,
}

impl PlanRole {
    /// Its word in the file.
    pub fn word(self) -> &'static str {
        match self {
            PlanRole::Pipeline => "pipeline",
            PlanRole::Server => "server",
            PlanRole::Limits => "limits",
            PlanRole::Source => "source",
            PlanRole::Validate => "validate",
            PlanRole::Passes(word) | PlanRole::Watches(word) => word,
            PlanRole::Enrich => "enrich",
            PlanRole::Metric => "metric",
            PlanRole::Priority => "priority",
            PlanRole::Route => "route",
            PlanRole::Sink => "sink",
            PlanRole::Notify => "notify",
            PlanRole::DeadLetter => "dead-letter",
        }
    }
}

/// What becomes of a running part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartFate {
    /// It runs on; new settings are in force from the next event.
    Kept,
    /// It starts.
    Opened,
    /// It ends.
    Closed,
    /// It ends, and another with the same name starts.
    Replaced,
}

impl PartFate {
    /// Its word in the history and in `engine diff`.
    pub fn word(self) -> &'static str {
        ["kept", "opened", "closed", "replaced"][self as usize]
    }
}

/// State that outlives a part's settings, where these allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartState {
    /// How far a source has read.
    Position,
    /// What is remembered by key.
    Keys,
    /// Answers of a stage.
    Cache,
    /// Whether a circuit breaker is open, and the calls that it has counted.
    Breaker,
    /// The calls that a rate has counted.
    Rate,
    /// Deliveries that wait in the store.
    Deliveries,
    /// The keys of a cooldown, in the store.
    Cooldown,
    /// Connected clients of a stream.
    Clients,
    /// What a metric has counted.
    Counts,
}

impl PartState {
    /// Its word in the history and in `engine diff`.
    pub fn word(self) -> &'static str {
        [
            "position",
            "keys",
            "cache",
            "breaker",
            "rate",
            "deliveries",
            "cooldown",
            "clients",
            "counts",
        ][self as usize]
    }
}

/// What happens to one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartChange {
    /// What it is.
    pub role: PlanRole,
    /// Its name; empty for a part that there is one of.
    pub name: Arc<str>,
    /// What becomes of what runs.
    pub fate: PartFate,
    /// Why it does not run afterwards, where the file has it all the same.
    pub off: Option<String>,
    /// Whether only one of the two plans has it.
    pub is_of_one: bool,
    /// The settings that differ, as the file writes them.
    pub settings: Vec<SettingChange>,
    /// Whether something that the file does not show differs: a secret, a table, a schema.
    pub is_changed_outside: bool,
    /// The state that it has, and whether that is kept.
    pub state: Vec<(PartState, bool)>,
}

impl PartChange {
    /// Whether there is anything to tell.
    pub fn is_change(&self) -> bool {
        self.fate != PartFate::Kept
            || self.is_of_one
            || !self.settings.is_empty()
            || self.is_changed_outside
    }
}

/// What a new plan changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    parts: Vec<PartChange>,
    rejections: Vec<String>,
}

impl Diff {
    /// What a start opens: everything.
    pub fn opening(new: &Plan) -> Diff {
        let mut diff = Diff { parts: Vec::new(), rejections: Vec::new() };
        for part in same::parts(new) {
            let fate = if part.off.is_none() { PartFate::Opened } else { PartFate::Kept };
            let state = part.state.iter().map(|state| (*state, false)).collect();
            diff.parts.push(PartChange {
                role: part.role,
                name: part.name,
                fate,
                off: part.off,
                is_of_one: true,
                settings: Vec::new(),
                is_changed_outside: false,
                state,
            });
        }
        diff
    }

    /// What changes when `new` takes the place of `old`.
    pub fn between(old: &Plan, new: &Plan) -> Diff {
        let (before, after) = (same::parts(old), same::parts(new));
        let mut diff = Diff { parts: Vec::new(), rejections: rejections(old, new) };
        for part in &after {
            let earlier = before.iter().find(|it| it.is_named_like(part));
            diff.parts.push(change(old, new, earlier, Some(part)));
        }
        let is_gone = |part: &&same::Part| !after.iter().any(|later| later.is_named_like(part));
        diff.parts.extend(before.iter().filter(is_gone).map(|it| change(old, new, Some(it), None)));
        diff.parts.sort_by_key(|part| part.role);
        let names: BTreeSet<_> = diff.parts.iter().map(|part| (part.role, &part.name)).collect();
        assert_eq!(names.len(), diff.parts.len(), "every part has one change");
        diff
    }

    /// Every part, also those that nothing happens to.
    pub fn parts(&self) -> &[PartChange] {
        &self.parts
    }

    /// The parts that something happens to.
    pub fn changes(&self) -> impl Iterator<Item = &PartChange> {
        self.parts.iter().filter(|part| part.is_change())
    }

    /// Why a running engine rejects the new plan: what only a restart can change.
    pub fn rejections(&self) -> &[String] {
        &self.rejections
    }

    /// What becomes of a part; a part that neither plan has is closed.
    pub fn fate(&self, role: PlanRole, name: &str) -> PartFate {
        self.part(role, name).map_or(PartFate::Closed, |part| part.fate)
    }

    /// Whether a part keeps this state.
    pub fn keeps(&self, role: PlanRole, name: &str, state: PartState) -> bool {
        let part = self.part(role, name);
        part.is_some_and(|part| part.state.contains(&(state, true)))
    }

    fn part(&self, role: PlanRole, name: &str) -> Option<&PartChange> {
        self.parts.iter().find(|part| part.role == role && *part.name == *name)
    }
}

fn change(
    old: &Plan,
    new: &Plan,
    before: Option<&same::Part>,
    after: Option<&same::Part>,
) -> PartChange {
    let part = after.or(before).expect("a part is of one plan at least");
    let (role, name) = (part.role, part.name.clone());
    let ran = before.is_some_and(|it| it.off.is_none());
    let runs = after.is_some_and(|it| it.off.is_none());
    let is_same = same::service(old, new, role, &name);
    let fate = match (ran, runs) {
        (true, true) if is_same => PartFate::Kept,
        (true, true) => PartFate::Replaced,
        (true, false) => PartFate::Closed,
        (false, true) => PartFate::Opened,
        (false, false) => PartFate::Kept,
    };
    let settings = outline::changed(&old.outline, &new.outline, role.word(), &name);
    let is_of_one = before.is_none() || after.is_none();
    let is_equal = is_of_one || !settings.is_empty() || same::whole(old, new, role, &name);
    // The targets of a route that nobody wrote follow from the sinks, and the public address from
    // the one that the server listens on: those are listed anyway.
    let is_derived = matches!(role, PlanRole::Route | PlanRole::Pipeline);
    let kept = |state: &PartState| ran && runs && same::state(old, new, role, &name, *state);
    PartChange {
        role,
        fate,
        off: after.and_then(|it| it.off.clone()),
        is_of_one,
        is_changed_outside: !is_equal && !is_derived,
        settings: if is_of_one { Vec::new() } else { settings },
        state: part.state.iter().map(|state| (*state, kept(state))).collect(),
        name,
    }
}

/// What a running engine cannot change, or must not without somebody who restarts it.
fn rejections(old: &Plan, new: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    let store = |plan: &Plan| {
        let (name, shape) = plan.store.as_ref()?;
        Some((name.clone(), shape.path.clone(), shape.batch, shape.linger, shape.synchronous))
    };
    if store(old) != store(new) {
        found.push("the store's name, path, batch or synchronous changes".to_owned());
    }
    if old.name != new.name {
        found.push(format!("the pipeline is renamed from `{}` to `{}`", old.name, new.name));
    }
    if old.server.has_auth && !new.server.has_auth {
        found.push("`server.auth` is removed, which would open the API".to_owned());
    }
    if old.server.tls.is_some() && new.server.tls.is_none() {
        found.push("`server.tls` is removed, which would send everything in plain text".to_owned());
    }
    let is_exposed = |plan: &Plan| {
        plan.server.listen.value.literal().is_some_and(|literal| !environment::is_loopback(literal))
    };
    if is_exposed(new) && !is_exposed(old) {
        found.push("`server.listen` leaves this machine, which would expose the API".to_owned());
    }
    found
}
