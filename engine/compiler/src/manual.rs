//! The language told out of its own table: to people who ask for a word, as the reference of the
//! manual, and to programs as a JSON Schema.
//!
//! Never: a word of the language is listed here. What is told is what is checked.

mod code;
mod explain;
mod failures;
mod reference;
mod schema;
mod words;

pub use code::{Example, first_line, index, page};
pub use explain::{explain, similar};
pub use reference::reference;
pub use schema::json_schema;

use language::{KindRow, Kinds, NodeRole, NodeRow};

/// The whole table: the nodes at the top of a file, and the kinds of the roles.
#[derive(Clone, Copy)]
pub struct Language<'a> {
    /// What may stand at the top.
    pub top: &'static [NodeRow],
    /// Knows the kinds.
    pub kinds: &'a dyn Kinds,
}

impl Language<'_> {
    /// The role that a node at the top stands for, with its kinds.
    fn role(&self, row: &NodeRow) -> Option<(NodeRole, Vec<KindRow>)> {
        let role = NodeRole::of(row.name)?;
        Some((role, self.kinds.kinds(role)))
    }
}

/// The rows of groups, one behind the other.
fn rows(groups: &'static [&'static [NodeRow]]) -> impl Iterator<Item = &'static NodeRow> {
    groups.iter().flat_map(|group| group.iter())
}
