//! `store "data/events.db" { keep "30d" }`: the usual store in one node, put in as the sink that it
//! means once the file was checked as it is written.

use kdl::{KdlDocument, KdlEntry, KdlIdentifier, KdlNode};
use stages::sinks::STORE_KIND;

/// The name of the sink.
pub(crate) const NAME: &str = "store";

/// Replaces `store`. Every event goes there, whatever the route says.
pub(crate) fn apply(document: &mut KdlDocument) {
    let is_routed = document.nodes().iter().any(|node| node.name().value() == "route");
    for node in document.nodes_mut().iter_mut().filter(|it| it.name().value() == NAME) {
        *node = sink(node, is_routed);
    }
}

fn sink(store: &KdlNode, is_routed: bool) -> KdlNode {
    let place = store.name().span();
    let named = |name: &str| {
        let mut identifier = KdlIdentifier::from(name);
        identifier.set_span(place);
        let mut node = KdlNode::new(identifier);
        node.set_span(store.span());
        node
    };
    let word = |word: &str| {
        let mut entry = KdlEntry::new(word);
        entry.set_span(place);
        entry
    };
    let mut path = named("path");
    path.entries_mut().extend(store.entries().iter().cloned());
    let mut retention = named("retention");
    retention.set_children(store.children().cloned().unwrap_or_default());
    let mut block = KdlDocument::new();
    block.nodes_mut().extend([path, retention]);
    if is_routed {
        let mut when = named("when");
        when.push(word("true"));
        block.nodes_mut().push(when);
    }
    let mut sink = named("sink");
    sink.entries_mut().extend([word(STORE_KIND), word(NAME)]);
    sink.set_children(block);
    sink
}
