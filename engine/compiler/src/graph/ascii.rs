//! The graph for a terminal: phases from top to bottom, dependencies and routes as rails beside
//! the names.

use super::{EdgeKind, Graph, GraphEdge, GraphNode, GraphPhase, cut};

/// How far the phases' words reach.
const MARGIN: usize = 10;
/// Notes stand in one column, but no farther to the right than this.
const NOTES_MAX: usize = 48;

/// A line before its notes are aligned.
struct AsciiLine {
    text: String,
    notes: String,
}

/// Draws the graph; notes are cut at `width` characters.
pub fn ascii(graph: &Graph, width: usize) -> String {
    let mut drawn = vec![graph.name.clone()];
    if !graph.description.is_empty() {
        drawn.push(cut(&graph.description, width));
    }
    drawn.push(String::new());
    let mut lines: Vec<AsciiLine> = Vec::new();
    for phase in GraphPhase::ALL {
        let nodes: Vec<(usize, &GraphNode)> = graph.of_phase(phase).collect();
        let section = match phase {
            GraphPhase::Enrich => enrichments(graph, &nodes),
            GraphPhase::Priority => nodes.iter().flat_map(|node| levels(node.1)).collect(),
            GraphPhase::Route => routes(graph, &nodes),
            // They are the ends of the route's rails.
            GraphPhase::Sink => continue,
            _ => nodes.iter().map(|node| line(&symbol(node.1), node.1, &[])).collect(),
        };
        if section.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines
                .push(AsciiLine {
                    text: format!("{}▼", " ".repeat(MARGIN)), notes: String::new()
                });
        }
        for (index, line) in section.into_iter().enumerate() {
            let word = if index == 0 { phase.word() } else { "" };
            lines.push(AsciiLine {
                text: format!("{word:MARGIN$}{}", line.text),
                notes: line.notes,
            });
        }
    }
    let noted = lines.iter().filter(|line| !line.notes.is_empty());
    let column =
        noted.map(|noted| noted.text.chars().count() + 2).max().unwrap_or(0).min(NOTES_MAX);
    for line in lines {
        let whole = match line.notes.as_str() {
            "" => line.text,
            notes => format!("{:column$}  {notes}", line.text, column = column.saturating_sub(2)),
        };
        drawn.push(cut(&whole, width));
    }
    drawn.push(String::new());
    drawn.push("● on   ○ off   ─ needs   ┄ after".to_owned());
    drawn.push(String::new());
    drawn.join("\n")
}

/// The drawing in colour: its name bold, the words of the phases in cyan, what is on in green and
/// what is off in yellow.
pub fn coloured(drawn: &str) -> String {
    let mut is_head = true;
    let paint = |(index, line): (usize, &str)| {
        is_head &= !line.is_empty();
        match (index, is_head) {
            (0, _) => format!("\x1b[1m{line}\x1b[0m\n"),
            (_, true) => format!("{line}\n"),
            (_, false) => format!("{}\n", painted(line)),
        }
    };
    drawn.lines().enumerate().map(paint).collect()
}

fn painted(line: &str) -> String {
    let end = line.char_indices().nth(MARGIN).map_or(line.len(), |it| it.0);
    let (word, rest) = line.split_at(end);
    let is_phase = GraphPhase::ALL.iter().any(|phase| phase.word() == word.trim_end());
    let word = if is_phase { format!("\x1b[36m{word}\x1b[0m") } else { word.to_owned() };
    let symbol = rest.char_indices().find(|(_, letter)| matches!(letter, '●' | '○'));
    let Some((at, symbol)) = symbol else { return word + rest };
    let (before, rest) = (&rest[..at], &rest[at + symbol.len_utf8()..]);
    // The rest of what is off is a note that says why.
    match symbol {
        '●' => format!("{word}{before}\x1b[32m{symbol}\x1b[0m{rest}"),
        _ => format!("{word}{before}\x1b[33m{symbol}{rest}\x1b[0m"),
    }
}

fn symbol(node: &GraphNode) -> String {
    if node.off.is_some() { "○ " } else { "● " }.to_owned()
}

/// A node behind what stands left of it, with its notes and what else there is to say.
fn line(before: &str, node: &GraphNode, first: &[String]) -> AsciiLine {
    let off = node.off.as_ref().map(|off| format!("off: {off}"));
    // Why it is off comes first, for long notes are cut.
    let notes: Vec<&str> = off.iter().chain(first).chain(&node.notes).map(String::as_str).collect();
    // Sinks and notifiers share a section without a word of its own.
    let is_plain = node.role == node.phase.word() && node.phase != GraphPhase::Sink;
    let role = if is_plain { String::new() } else { format!("{} ", node.role) };
    AsciiLine { text: format!("{before}{role}{}", node.title), notes: notes.join(" · ") }
}

fn levels(node: &GraphNode) -> Vec<AsciiLine> {
    let level = |note: &String| match note.split_once(' ') {
        Some((level, rest)) => AsciiLine { text: level.to_owned(), notes: rest.to_owned() },
        None => AsciiLine { text: note.clone(), notes: String::new() },
    };
    node.notes.iter().map(level).collect()
}

/// A vertical line from a node down to the last one that it leads to.
#[derive(Clone, Copy)]
struct Rail {
    from: usize,
    last: usize,
}

/// Each stage in a line, and a rail from each stage that others wait for.
fn enrichments(graph: &Graph, nodes: &[(usize, &GraphNode)]) -> Vec<AsciiLine> {
    let within = |edge: &&GraphEdge| edge.kind != EdgeKind::Flow;
    let mut rails: Vec<Option<Rail>> = Vec::new();
    let mut rows: Vec<(Vec<Option<Rail>>, usize)> = Vec::new();
    for (place, _) in nodes {
        rows.push((rails.clone(), *place));
        for rail in &mut rails {
            *rail = rail.filter(|rail| *place < rail.last);
        }
        let led_to = graph.edges.iter().filter(within).filter(|edge| edge.from == *place);
        if let Some(last) = led_to.map(|led_to| led_to.to).max() {
            let free = rails.iter().position(Option::is_none).unwrap_or(rails.len());
            rails.resize(rails.len().max(free + 1), None);
            rails[free] = Some(Rail { from: *place, last });
        }
    }
    let columns = rails.len();
    let mut lines = Vec::new();
    for (index, (rails, place)) in rows.iter().enumerate() {
        let node = &graph.nodes[*place];
        let named = |kind: EdgeKind, word: &str| {
            let edges = graph.edges.iter().filter(|edge| edge.to == *place && edge.kind == kind);
            let names: Vec<&str> = edges.map(|edge| name(&graph.nodes[edge.from])).collect();
            (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
        };
        let waits: Vec<String> = [named(EdgeKind::Needs, "needs"), named(EdgeKind::After, "after")]
            .into_iter()
            .flatten()
            .collect();
        let arrival = arriving(graph, rails, *place, columns);
        lines.push(line(&format!("{arrival}{}", symbol(node)), node, &waits));
        let next = rows.get(index + 1).map_or(&[][..], |row| &row.0);
        if let Some(own) = next.iter().position(|it| it.is_some_and(|it| it.from == *place)) {
            lines.push(AsciiLine { text: departing(next, own, columns), notes: String::new() });
        }
    }
    lines
}

/// The last word of a title.
fn name(node: &GraphNode) -> &str {
    node.title.rsplit(' ').next().unwrap_or_default()
}

/// What stands left of a node: the rails, and lines from those that it waits for.
fn arriving(graph: &Graph, rails: &[Option<Rail>], place: usize, columns: usize) -> String {
    let mut text = String::new();
    let mut drawn = None;
    for column in 0..columns {
        let rail = rails.get(column).copied().flatten();
        let edge = rail.and_then(|rail| {
            graph.edges.iter().find(|edge| edge.from == rail.from && edge.to == place)
        });
        text.push(match (rail, edge, drawn) {
            (Some(rail), Some(_), None) if rail.last == place => '╰',
            (Some(_), Some(_), None) => '├',
            (Some(rail), Some(_), Some(_)) if rail.last == place => '┴',
            (Some(_), Some(_), Some(_)) => '┼',
            (Some(_), None, _) => '│',
            (None, _, line) => line.unwrap_or(' '),
        });
        drawn = match (edge.map(|edge| edge.kind), drawn) {
            (Some(EdgeKind::Needs), _) | (_, Some('─')) => Some('─'),
            (Some(_), _) | (_, Some(_)) => Some('┄'),
            (None, None) => None,
        };
        text.push(drawn.unwrap_or(' '));
    }
    text
}

/// The line from below a node to the top of its rail.
fn departing(rails: &[Option<Rail>], own: usize, columns: usize) -> String {
    let mut text = String::new();
    for column in 0..columns {
        let is_there = rails.get(column).is_some_and(Option::is_some);
        text.push_str(match (column.cmp(&own), is_there) {
            (std::cmp::Ordering::Less, true) => "│ ",
            (std::cmp::Ordering::Less, false) => "  ",
            (std::cmp::Ordering::Equal, _) => "╭─",
            (std::cmp::Ordering::Greater, true) => "│─",
            (std::cmp::Ordering::Greater, false) => "──",
        });
    }
    text.push('╯');
    text
}

/// The cases above, what events leave by below, and a rail for each of those.
fn routes(graph: &Graph, cases: &[(usize, &GraphNode)]) -> Vec<AsciiLine> {
    let outside: Vec<(usize, &GraphNode)> = graph.of_phase(GraphPhase::Sink).collect();
    let leads =
        |case: usize, to: usize| graph.edges.iter().any(|edge| edge.from == case && edge.to == to);
    // Where no event goes there is no rail.
    let (reached, unreached): (Vec<_>, Vec<_>) =
        outside.into_iter().partition(|it| cases.iter().any(|case| leads(case.0, it.0)));
    let mut begun = vec![false; reached.len()];
    let mut lines = Vec::new();
    for (case, node) in cases {
        let (mut text, mut drawn) = (String::new(), ' ');
        for (column, (place, end)) in reached.iter().enumerate() {
            let joins = leads(*case, *place);
            begun[column] |= joins;
            drawn = if joins { '─' } else { drawn };
            text.push(match (joins, begun[column]) {
                (true, _) => symbol(end).chars().next().unwrap_or('●'),
                (false, true) => rail(end),
                (false, false) => drawn,
            });
            text.push(drawn);
        }
        lines.push(line(&format!("{text} "), node, &[]));
    }
    for (column, (_, node)) in reached.iter().enumerate().rev() {
        let before: String = reached[..column].iter().flat_map(|it| [rail(it.1), ' ']).collect();
        let dash = if node.off.is_some() { "┄" } else { "─" };
        let along = dash.repeat(2 * (reached.len() - column) - 1);
        lines.push(line(&format!("{before}╰{along}{}", symbol(node)), node, &[]));
    }
    let indent = "  ".repeat(reached.len());
    lines.extend(unreached.iter().map(|(place, node)| {
        line(&format!("{indent}{}", symbol(node)), node, &[received(graph, *place)])
    }));
    lines
}

/// What a sink or notifier receives that no case leads to.
fn received(graph: &Graph, place: usize) -> String {
    let senders = graph.edges.iter().filter(|edge| edge.to == place);
    let names = senders.filter_map(|edge| graph.nodes[edge.from].part());
    match names.collect::<Vec<_>>().as_slice() {
        [] => "receives no events".to_owned(),
        names => format!("receives what {} passes on", names.join(", ")),
    }
}

fn rail(node: &GraphNode) -> char {
    if node.off.is_some() { '┆' } else { '│' }
}
