//! What may be paused by hand: whatever has deliveries that can wait.

use super::{NAME_SHOWN, Plan, node_of};
use language::nearest;
use stages::contract::SinkRole;

/// Why a name cannot be paused, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPausable {
    /// The file has nothing of this name.
    Unknown(String),
    /// It is something else, or it is off.
    Other(String),
}

impl Plan {
    /// Whether `name` is a sink or notifier with deliveries that may wait, whether it is on or off.
    /// All recipients of a notifier are paused together, by the name of the node.
    pub fn pausable(&self, name: &str) -> Result<(), NotPausable> {
        if self.pausable_nodes().any(|node| node == name) {
            return Ok(());
        }
        if self.notifiers.iter().any(|notifier| *notifier.name == *name) {
            let node = node_of(name);
            return Err(NotPausable::Other(format!(
                "`{name}` is a recipient of `{node}`, and all of them are paused together: \
                 name `{node}`"
            )));
        }
        let known: Vec<&str> = self.pausable_nodes().collect();
        if let Some(what) = self.role_of(name) {
            let there_is = match &known[..] {
                [] => "the file has none".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            return Err(NotPausable::Other(format!(
                "`{name}` is {what}; only sinks and notifiers with deliveries of their own can be \
                 paused; {there_is}"
            )));
        }
        let name: String = name.chars().take(NAME_SHOWN).collect();
        let missing = format!("there is no sink or notifier `{name}`");
        Err(NotPausable::Unknown(match nearest(&name, known.iter().copied()) {
            Some(meant) => format!("{missing}; did you mean `{meant}`?"),
            None if known.is_empty() => format!("{missing}, nor any other that can be paused"),
            None => format!("{missing} that can be paused; there are: {}", known.join(", ")),
        }))
    }

    /// Why a sink or notifier is off, if it is.
    pub fn target_off(&self, name: &str) -> Option<&str> {
        let sinks = self.sinks.iter().map(|sink| (&sink.name, &sink.off));
        let notifiers = self.notifiers.iter().map(|notifier| (&notifier.name, &notifier.off));
        sinks.chain(notifiers).find(|it| **it.0 == *name)?.1.as_deref()
    }

    fn pausable_nodes(&self) -> impl Iterator<Item = &str> {
        let sinks = self.sinks.iter().filter(|sink| sink.shape == SinkRole::Outside);
        let nodes = self.notifiers.iter().filter(|it| node_of(&it.name) == &*it.name);
        sinks.map(|sink| &*sink.name).chain(nodes.map(|notifier| &*notifier.name))
    }

    /// What a node is that cannot be paused.
    fn role_of(&self, name: &str) -> Option<&'static str> {
        let sink = self.sinks.iter().find(|sink| *sink.name == *name);
        if let Some(sink) = sink {
            return Some(match sink.shape {
                SinkRole::Store(_) => "a store, which is written by the commit of the event itself",
                SinkRole::Stream(_) => "a stream, which has no deliveries",
                SinkRole::Outside => unreachable!("it can be paused"),
            });
        }
        let is = |named: &str| named == name;
        if self.sources.iter().any(|source| is(&source.name)) {
            return Some("a source");
        }
        if self.stages.iter().any(|stage| is(&stage.name)) {
            return Some("a stage");
        }
        if self.filters.iter().any(|filter| is(&filter.name.value)) {
            return Some("a filter");
        }
        self.watchers
            .iter()
            .any(|it| is(&it.name.value))
            .then_some("a stage that only observes events")
    }
}
