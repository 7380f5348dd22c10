//! The picture for programs that draw it themselves and put figures into its boxes.

use super::layout::layout;
use super::svg::{curve, lines, size};
use super::{EdgeKind, Graph};
use serde_json::{Value, json};

/// Room for two lines of figures in the box of a part.
const FIGURES: (f64, f64) = (190.0, 34.0);

/// Boxes and the ways between them. `part` is the name of the part that a box is, and `x` and `y`
/// are its upper left corner.
pub fn drawing(graph: &Graph) -> Value {
    let lines: Vec<Vec<String>> = graph.nodes.iter().map(lines).collect();
    let with_figures = |(width, height): (f64, f64)| (width.max(FIGURES.0), height + FIGURES.1);
    let sizes: Vec<(f64, f64)> = graph
        .nodes
        .iter()
        .zip(&lines)
        .map(|(node, lines)| match node.part() {
            Some(_) => with_figures(size(lines)),
            None => size(lines),
        })
        .collect();
    let layout = layout(graph, &sizes);
    let nodes = graph.nodes.iter().zip(&lines).zip(&layout.nodes);
    let nodes = nodes.map(|((node, lines), place)| {
        json!({
            "phase": node.phase.word(), "role": node.role, "part": node.part(), "off": node.off,
            "lines": lines, "x": place.x - place.width / 2.0, "y": place.y, "width": place.width,
            "height": place.height,
        })
    });
    let edges = graph.edges.iter().zip(&layout.lanes).map(|(edge, lanes)| {
        let way = curve(&layout.nodes[edge.from], lanes, &layout.nodes[edge.to]);
        json!({ "from": edge.from, "to": edge.to, "after": edge.kind == EdgeKind::After, "way": way })
    });
    json!({
        "width": layout.size.0, "height": layout.size.1, "nodes": nodes.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
    })
}
