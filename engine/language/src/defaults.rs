//! What the table says where the file says nothing, as nodes that can be read like written ones.

use super::table::{DefaultValue, NodeRow, Prop};
use kdl::{KdlDocument, KdlNode};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The node that `row` stands for where it is absent; empty when it has no value.
pub(super) fn node_of(row: &NodeRow) -> &'static KdlNode {
    match row.default {
        DefaultValue::Value(value) => node(row.name, "", value),
        DefaultValue::None | DefaultValue::Words(_) => empty(row),
    }
}

/// A node of this row that says nothing.
pub(super) fn empty(row: &NodeRow) -> &'static KdlNode {
    node(row.name, "", "")
}

/// A node with nothing but this property, as it is where it is absent.
pub(super) fn node_of_prop(prop: &Prop) -> Option<&'static KdlNode> {
    let DefaultValue::Value(value) = prop.default else { return None };
    Some(node("node", prop.name, value))
}

/// Made once and kept for good: there are as many as the table has defaults.
fn node(name: &'static str, prop: &'static str, value: &'static str) -> &'static KdlNode {
    type Written = (&'static str, &'static str, &'static str);
    static MADE: Mutex<BTreeMap<Written, &'static KdlNode>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry((name, prop, value)).or_insert_with(|| {
        let equals = if prop.is_empty() { "" } else { "=" };
        let text = format!("{name} {prop}{equals}{value}");
        let document = KdlDocument::parse_v2(&text).expect("a default of the table is KDL");
        Box::leak(Box::new(document.nodes()[0].clone()))
    })
}
