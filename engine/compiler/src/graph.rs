//! The stage graph of a checked file: what there is, what waits for what, and what is off; drawn
//! for a terminal, for Mermaid, for Graphviz and as a picture.
//!
//! Every text in a [`Graph`] is printable and of one line, whatever stands in the file; a form
//! escapes what means something to it.

mod ascii;
mod build;
mod dot;
mod drawing;
mod layout;
mod mermaid;
mod plain;
mod svg;

pub use ascii::{ascii, coloured};
pub use build::of;
pub use dot::dot;
pub use drawing::drawing;
pub use mermaid::mermaid;
pub use plain::plain;
pub use svg::svg;

use std::fmt::Write;

/// Where an event is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GraphPhase {
    /// It is made.
    Source,
    /// It is checked.
    Validate,
    /// It may be let go.
    Filter,
    /// Somebody looks on, and may send events of its own.
    Watch,
    /// Something is added.
    Enrich,
    /// Its level is told.
    Priority,
    /// It is counted for the file itself.
    Metric,
    /// It is sent on.
    Route,
    /// It leaves.
    Sink,
}

impl GraphPhase {
    /// Every phase, in the order of an event's way.
    pub const ALL: [GraphPhase; 9] = [
        GraphPhase::Source,
        GraphPhase::Validate,
        GraphPhase::Filter,
        GraphPhase::Watch,
        GraphPhase::Enrich,
        GraphPhase::Priority,
        GraphPhase::Metric,
        GraphPhase::Route,
        GraphPhase::Sink,
    ];

    /// `source`, `validate`, …
    pub fn word(self) -> &'static str {
        match self {
            GraphPhase::Source => "source",
            GraphPhase::Validate => "validate",
            GraphPhase::Filter => "filter",
            GraphPhase::Watch => "watch",
            GraphPhase::Enrich => "enrich",
            GraphPhase::Priority => "priority",
            GraphPhase::Metric => "metric",
            GraphPhase::Route => "route",
            GraphPhase::Sink => "sink",
        }
    }
}

/// Something that events come through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphNode {
    /// Where on the way.
    pub phase: GraphPhase,
    /// The word that its node begins with in the file: mostly the phase's, or `dedupe`, `notify`.
    pub role: &'static str,
    /// Its kind and name, or what there is to say in a few words; empty where the notes say it.
    pub title: String,
    /// What it asks or does, a line each.
    pub notes: Vec<String>,
    /// Why it is off.
    pub off: Option<String>,
}

impl GraphNode {
    /// The name of the part that it is, if it is one.
    fn part(&self) -> Option<&str> {
        match self.phase {
            GraphPhase::Validate | GraphPhase::Priority | GraphPhase::Route => None,
            GraphPhase::Filter | GraphPhase::Watch => Some(&self.title),
            GraphPhase::Source | GraphPhase::Enrich | GraphPhase::Metric | GraphPhase::Sink => {
                self.title.split_once(' ').map(|it| it.1)
            }
        }
    }

    /// The lines of its box below a word for its phase: title, notes, and why it is off.
    fn lines(&self) -> Vec<String> {
        let role = if self.role == self.phase.word() { "" } else { self.role };
        let title = format!("{role} {}", self.title).trim().to_owned();
        let off = self.off.iter().map(|it| format!("off: {it}"));
        let all = [title].into_iter().chain(self.notes.iter().cloned()).chain(off);
        all.filter(|it| !it.is_empty()).collect()
    }
}

/// What an edge means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeKind {
    /// Events go along here.
    Flow,
    /// The later stage runs only when the earlier one succeeded.
    Needs,
    /// The later stage runs when the earlier one has ended, however it did.
    After,
}

/// From one node to another, by their places in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphEdge {
    /// The earlier one.
    pub from: usize,
    /// The later one.
    pub to: usize,
    /// What it means.
    pub kind: EdgeKind,
}

/// The graph of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// The pipeline's name.
    pub name: String,
    /// A description.
    pub description: String,
    /// Phase by phase; every node stands behind those that lead to it.
    pub nodes: Vec<GraphNode>,
    /// What leads where.
    pub edges: Vec<GraphEdge>,
}

impl Graph {
    /// The nodes of a phase, with their places.
    pub fn of_phase(&self, phase: GraphPhase) -> impl Iterator<Item = (usize, &GraphNode)> {
        self.nodes.iter().enumerate().filter(move |it| it.1.phase == phase)
    }
}

/// The text on one line, with nothing in it that moves a cursor or turns the direction.
fn printable(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for it in text.chars() {
        let turns = matches!(it, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if it.is_control() || turns {
            write!(made, "{}", it.escape_default()).expect("writing to a String cannot fail");
        } else {
            made.push(it);
        }
    }
    made
}

/// At most so many characters; what is cut ends in `…`.
fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let short: String = text.chars().take(length.saturating_sub(1)).collect();
    format!("{}…", short.trim_end())
}

#[cfg(test)]
mod tests;
