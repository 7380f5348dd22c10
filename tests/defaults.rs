//! What the table says where a file says nothing is right by the table itself: as if it had been
//! written.

use compiler::document;
use compiler::grammar;
use language::diagnostic::Diagnostics;
use language::{DefaultValue, Kinds, NodeRole, NodeRow, check_file};
use stages::catalog::Catalog;

/// Every row below these, and they themselves.
fn below(rows: &'static [NodeRow], all: &mut Vec<&'static NodeRow>) {
    for row in rows {
        all.push(row);
        row.children.iter().for_each(|child| below(child, all));
    }
}

fn every_row() -> Vec<&'static NodeRow> {
    let mut all = Vec::new();
    below(grammar::TOP, &mut all);
    let catalog = Catalog::built_in();
    let kinds = NodeRole::ALL.iter().flat_map(|it| catalog.kinds(*it));
    kinds.for_each(|kind| kind.nodes.iter().for_each(|node| below(node, &mut all)));
    all
}

/// What the table says of a node that is written like this.
fn found(row: NodeRow, written: &str) -> Vec<String> {
    let source = document::text(written.as_bytes(), "default.kdl").expect("it is text");
    let document = kdl::KdlDocument::parse_v2(written).expect("it is KDL");
    let mut diagnostics = Diagnostics::new(source);
    let rows: &'static [NodeRow] = Box::leak(Box::new([row]));
    check_file(&document, rows, "a node", &Catalog::built_in(), &mut diagnostics);
    let found = diagnostics.sorted();
    found.iter().map(|it| format!("{written}: {} {}", it.rule.code(), it.message)).collect()
}

#[test]
fn every_default_could_have_been_written() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for row in every_row() {
        if let DefaultValue::Value(value) = row.default {
            seen += 1;
            // Without its name a node of a role would be checked for its kind.
            let row = NodeRow { name: "node", children: &[], ..*row };
            wrong.extend(found(row, &format!("node {value}")));
        }
        for prop in row.props {
            let DefaultValue::Value(value) = prop.default else { continue };
            seen += 1;
            let props = Box::leak(Box::new([*prop]));
            let row = NodeRow::new("node", "").props(props);
            wrong.extend(found(row, &format!("node {}={value}", prop.name)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(40 < seen, "{seen} defaults");
}

#[test]
fn a_default_that_is_wrong_would_be_seen() {
    let limit = [language::Arg::one("events", language::ValueKind::Int(1, 9))];
    let row = NodeRow::new("node", "").args(Box::leak(Box::new(limit)));
    assert_eq!(found(row, "node 10").len(), 1);
}
