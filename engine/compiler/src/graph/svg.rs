//! A picture: one SVG without scripts or anything from elsewhere, for light and dark pages.

use super::layout::{Layout, Position, layout};
use super::{EdgeKind, Graph, GraphNode, cut};
use std::fmt::Write;

/// Characters of a line in a box; the whole text is in the box's tooltip.
const LINE_MAX: usize = 52;
/// How wide a character is taken to be, and how high a line.
const CHARACTER: f64 = 7.3;
const LINE: f64 = 17.0;
const PADDING: f64 = 10.0;
const MARGIN: f64 = 20.0;
/// Where the boxes begin below name and description.
const HEAD: f64 = 52.0;

const STYLE: &str = "\
text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328}\
.name{font-weight:bold;font-size:16px}.title{font-weight:bold}.quiet{fill:#59636e}\
.box{fill:#f6f8fa;stroke:#818b98}.off .box{stroke-dasharray:4 3;fill:none}.off text{fill:#59636e}\
.edge{fill:none;stroke:#818b98;stroke-width:1.3}.after{stroke-dasharray:5 4}.tip{fill:#818b98}\
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet,.off text{fill:#9198a1}\
.box{fill:#151b23;stroke:#656c76}.edge{stroke:#656c76}.tip{fill:#656c76}}";

/// The text of the picture.
pub fn svg(graph: &Graph) -> String {
    let lines: Vec<Vec<String>> = graph.nodes.iter().map(lines).collect();
    let sizes: Vec<(f64, f64)> = lines.iter().map(|line| size(line)).collect();
    let mut text = String::new();
    let layout = layout(graph, &sizes);
    written(graph, &lines, &layout, &mut text).expect("writing to a String cannot fail");
    text
}

/// The phase, and what the box says.
pub(super) fn lines(node: &GraphNode) -> Vec<String> {
    let all = [node.phase.word().to_owned()].into_iter().chain(node.lines());
    all.map(|it| cut(&it, LINE_MAX)).collect()
}

pub(super) fn size(lines: &[String]) -> (f64, f64) {
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    (longest as f64 * CHARACTER + 2.0 * PADDING, lines.len() as f64 * LINE + PADDING)
}

fn written(
    graph: &Graph,
    lines: &[Vec<String>],
    layout: &Layout,
    text: &mut String,
) -> std::fmt::Result {
    let head = [&graph.name, &graph.description].map(|it| it.chars().count() as f64 * CHARACTER);
    let width = layout.size.0.max(head[0] * 1.4).max(head[1]) + 2.0 * MARGIN;
    let height = layout.size.1 + HEAD + 2.0 * MARGIN;
    // Boxes stand in the middle where the description is wider than they are.
    let left = (width - layout.size.0) / 2.0;
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">"
    )?;
    writeln!(text, "<title>{}</title>", escaped(&graph.name))?;
    writeln!(text, "<desc>{}</desc>", escaped(&graph.description))?;
    writeln!(text, "<style>{STYLE}</style>")?;
    writeln!(
        text,
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8z\"/></marker></defs>"
    )?;
    writeln!(text, "<text class=\"name\" x=\"{MARGIN}\" y=\"32\">{}</text>", escaped(&graph.name))?;
    writeln!(
        text,
        "<text class=\"quiet\" x=\"{MARGIN}\" y=\"52\">{}</text>",
        escaped(&graph.description)
    )?;
    writeln!(text, "<g transform=\"translate({left:.1} {:.1})\">", HEAD + MARGIN)?;
    for (edge, lanes) in graph.edges.iter().zip(&layout.lanes) {
        let way = curve(&layout.nodes[edge.from], lanes, &layout.nodes[edge.to]);
        let class = if edge.kind == EdgeKind::After { "edge after" } else { "edge" };
        writeln!(text, "<path class=\"{class}\" d=\"{way}\" marker-end=\"url(#tip)\"/>")?;
    }
    for ((node, lines), place) in graph.nodes.iter().zip(lines).zip(&layout.nodes) {
        boxed(node, lines, place, text)?;
    }
    writeln!(text, "</g>\n</svg>")
}

/// From the bottom of one box to the top of another, straight along the lanes between them.
pub(super) fn curve(from: &Position, lanes: &[Position], to: &Position) -> String {
    let mut way = format!("M{:.1} {:.1}", from.x, from.y + from.height);
    let mut last = (from.x, from.y + from.height);
    for lane in lanes.iter().chain([to]) {
        let middle = (last.1 + lane.y) / 2.0;
        let bend = (last.0, middle, lane.x, middle, lane.x, lane.y);
        write!(
            way,
            "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
            bend.0, bend.1, bend.2, bend.3, bend.4, bend.5
        )
        .expect("writing to a String cannot fail");
        last = (lane.x, lane.y + lane.height);
        if !std::ptr::eq(lane, to) {
            write!(way, "V{:.1}", last.1).expect("writing to a String cannot fail");
        }
    }
    way
}

fn boxed(
    node: &GraphNode,
    lines: &[String],
    place: &Position,
    text: &mut String,
) -> std::fmt::Result {
    let (x, y) = (place.x - place.width / 2.0, place.y);
    writeln!(text, "<g{}>", if node.off.is_some() { " class=\"off\"" } else { "" })?;
    writeln!(text, "<title>{}</title>", escaped(&node.lines().join("\n")))?;
    writeln!(
        text,
        "<rect class=\"box\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"6\"/>",
        place.width, place.height
    )?;
    for (index, line) in lines.iter().enumerate() {
        let class = match index {
            0 => " class=\"quiet\"",
            1 if !node.title.is_empty() => " class=\"title\"",
            _ => "",
        };
        let (x, y) = (x + PADDING, y + LINE * (index as f64 + 1.0));
        writeln!(text, "<text{class} x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(line))?;
    }
    writeln!(text, "</g>")
}

/// For text and attributes of XML.
fn escaped(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => made.push_str("&amp;"),
            '<' => made.push_str("&lt;"),
            '>' => made.push_str("&gt;"),
            '"' => made.push_str("&quot;"),
            '\'' => made.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => made.push('\u{fffd}'),
            it => made.push(it),
        }
    }
    made
}
