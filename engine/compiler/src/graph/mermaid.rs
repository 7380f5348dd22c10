//! A flowchart for Mermaid, as GitHub and many editors draw it.

use super::{EdgeKind, Graph, GraphNode, GraphPhase};
use std::fmt::Write;

/// The text of a flowchart from top to bottom, a box for each phase.
pub fn mermaid(graph: &Graph) -> String {
    let mut text = format!("%% {}\nflowchart TD\n", graph.name);
    written(graph, &mut text).expect("writing to a String cannot fail");
    text
}

fn written(graph: &Graph, text: &mut String) -> std::fmt::Result {
    for phase in GraphPhase::ALL {
        let nodes: Vec<_> = graph.of_phase(phase).collect();
        if nodes.is_empty() {
            continue;
        }
        writeln!(text, "    subgraph {}_phase[\"{}\"]", phase.word(), phase.word())?;
        for (place, node) in nodes {
            writeln!(text, "        n{place}[\"{}\"]", label(node))?;
        }
        writeln!(text, "    end")?;
    }
    for edge in &graph.edges {
        let arrow = if edge.kind == EdgeKind::After { "-.->" } else { "-->" };
        writeln!(text, "    n{} {arrow} n{}", edge.from, edge.to)?;
    }
    let off = graph.nodes.iter().enumerate().filter(|it| it.1.off.is_some());
    let off: Vec<String> = off.map(|off| format!("n{}", off.0)).collect();
    if !off.is_empty() {
        writeln!(text, "    classDef off stroke-dasharray: 4 4,opacity: 0.6")?;
        writeln!(text, "    class {} off", off.join(","))?;
    }
    Ok(())
}

fn label(node: &GraphNode) -> String {
    node.lines().iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br/>")
}

/// Everything that could end the text or begin a tag, an entity, a directive or Markdown, as the
/// number of its character.
fn escaped(text: &str) -> String {
    let mut made = String::new();
    for it in text.chars() {
        if it.is_alphanumeric() || " _.,:;=+/()[]'!?|-…".contains(it) {
            made.push(it);
        } else {
            write!(made, "#{};", u32::from(it)).expect("writing to a String cannot fail");
        }
    }
    made
}
