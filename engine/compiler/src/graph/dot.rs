//! A digraph for Graphviz: `engine graph FILE --format dot | dot -Tsvg`.

use super::{EdgeKind, Graph, GraphPhase};
use std::fmt::Write;

/// The text of a digraph, the nodes of a phase in a cluster.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::new();
    written(graph, &mut text).expect("writing to a String cannot fail");
    text
}

fn written(graph: &Graph, text: &mut String) -> std::fmt::Result {
    writeln!(text, "digraph {} {{", quoted(&[&graph.name]))?;
    if !graph.description.is_empty() {
        writeln!(text, "    label = {};", quoted(&[&graph.description]))?;
    }
    writeln!(text, "    node [shape = box, style = rounded, fontname = \"sans-serif\"];")?;
    for phase in GraphPhase::ALL {
        let nodes: Vec<_> = graph.of_phase(phase).collect();
        if nodes.is_empty() {
            continue;
        }
        writeln!(text, "    subgraph cluster_{} {{", phase.word())?;
        writeln!(text, "        label = \"{}\"; style = dotted;", phase.word())?;
        for (place, node) in nodes {
            let lines = node.lines();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let style = match node.off {
                Some(_) => ", style = \"rounded,dashed\", fontcolor = gray40",
                None => "",
            };
            writeln!(text, "        n{place} [label = {}{style}];", quoted(&lines))?;
        }
        writeln!(text, "    }}")?;
    }
    for edge in &graph.edges {
        let style = if edge.kind == EdgeKind::After { " [style = dashed]" } else { "" };
        writeln!(text, "    n{} -> n{}{style};", edge.from, edge.to)?;
    }
    writeln!(text, "}}")
}

/// A text in quotes, its lines centred.
fn quoted(lines: &[&str]) -> String {
    let escaped = lines.iter().map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}
