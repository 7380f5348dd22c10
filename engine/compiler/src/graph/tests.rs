//! What any graph comes to: rails that join what belongs together, boxes that keep apart.

use super::layout::layout;
use super::*;
use proptest::prelude::*;

/// Stages in order, each with what it needs and what it comes after.
fn stages(waits: &[(Vec<usize>, Vec<usize>)]) -> Graph {
    let mut graph = Graph {
        name: "some".to_owned(),
        description: String::new(),
        nodes: Vec::new(),
        edges: Vec::new(),
    };
    for (index, (needs, after)) in waits.iter().enumerate() {
        let node = GraphNode {
            phase: GraphPhase::Enrich,
            role: "enrich",
            title: format!("set s{index}"),
            notes: Vec::new(),
            off: None,
        };
        graph.nodes.push(node);
        let edges = needs.iter().map(|it| (*it, EdgeKind::Needs));
        let edges = edges.chain(after.iter().map(|it| (*it, EdgeKind::After)));
        graph.edges.extend(edges.map(|(from, kind)| GraphEdge { from, to: index, kind }));
    }
    graph
}

#[track_caller]
fn check(waits: &[(Vec<usize>, Vec<usize>)], expected: &[&str]) {
    let drawn = ascii(&stages(waits), 200);
    let rows = drawn.lines().skip(2).take_while(|line| !line.is_empty());
    let rails: Vec<String> = rows.map(rails).collect();
    assert_eq!(rails, expected, "\n{drawn}");
}

/// What stands between the phase's word and the notes.
fn rails(row: &str) -> String {
    let row: String = row.chars().skip(10).collect();
    let notes = ["  needs ", "  after "].map(|it| row.find(it).unwrap_or(row.len()));
    row[..notes[0].min(notes[1])].trim_end().to_owned()
}

#[test]
fn who_gets_only_what_another_passes_on_is_drawn_so() {
    let node = |phase, title: &str| GraphNode {
        phase,
        role: if phase == GraphPhase::Sink { "notify" } else { "route" },
        title: title.to_owned(),
        notes: Vec::new(),
        off: None,
    };
    let edge = |from, to, kind| GraphEdge { from, to, kind };
    let sinks = ["file phone", "file pager", "file nobody"];
    let sinks = sinks.map(|title| node(GraphPhase::Sink, title));
    let graph = Graph {
        name: "some".to_owned(),
        description: String::new(),
        nodes: [node(GraphPhase::Route, "every event")].into_iter().chain(sinks).collect(),
        edges: vec![edge(0, 1, EdgeKind::Flow), edge(1, 2, EdgeKind::After)],
    };
    let drawn = ascii(&graph, 200);
    let notes: Vec<&str> = drawn.lines().filter(|line| line.contains("receives")).collect();
    let said = |line: &&str| line.split("receives ").nth(1).unwrap_or_default().to_owned();
    let said: Vec<String> = notes.iter().map(said).collect();
    assert_eq!(said, ["what phone passes on", "no events"], "\n{drawn}");
}

#[test]
fn what_waits_for_nothing_has_no_rail() {
    check(&[(vec![], vec![]), (vec![], vec![])], &["● set s0", "● set s1"]);
}

#[test]
fn a_rail_joins_a_stage_with_all_that_wait_for_it() {
    check(
        &[(vec![], vec![]), (vec![0], vec![]), (vec![], vec![0])],
        &["  ● set s0", "╭─╯", "├─● set s1", "╰┄● set s2"],
    );
}

#[test]
fn a_line_bridges_the_rails_that_it_does_not_join() {
    check(
        &[(vec![], vec![]), (vec![0], vec![]), (vec![], vec![0]), (vec![1], vec![])],
        &["    ● set s0", "╭───╯", "├───● set s1", "│ ╭─╯", "╰┄│┄● set s2", "  ╰─● set s3"],
    );
}

#[test]
fn long_texts_are_cut_where_asked() {
    assert_eq!(cut("front door", 6), "front…");
    assert_eq!(cut("front door", 5), "fron…");
    assert_eq!(cut("door", 4), "door");
}

#[test]
fn what_would_move_a_cursor_is_spelled_out() {
    assert_eq!(
        printable("a\u{1b}[2J\r\n\u{202e}b\u{2028}é"),
        "a\\u{1b}[2J\\r\\n\\u{202e}b\\u{2028}é"
    );
}

/// Stages that wait for earlier ones, as any checked file has them.
fn any_stages() -> impl Strategy<Value = Vec<(Vec<usize>, Vec<usize>)>> {
    let wait = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    prop::collection::vec((wait.clone(), wait), 1..14).prop_map(|all| {
        let earlier = |wait: &[prop::sample::Index], index: usize| {
            let mut places: Vec<usize> =
                wait.iter().filter(|_| index > 0).map(|it| it.index(index)).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        let waits = all.iter().enumerate().map(|(index, (needs, after))| {
            let needs = earlier(needs, index);
            let after = earlier(after, index).into_iter().filter(|it| !needs.contains(it));
            (needs.clone(), after.collect())
        });
        waits.collect()
    })
}

/// Follows the line left of a stage along its row, then each joined rail up to where it begins:
/// the stages found there.
fn followed(rows: &[Vec<char>], row: usize) -> Vec<String> {
    let title = |row: &[char]| row.iter().skip_while(|it| **it != '●').skip(2).collect::<String>();
    let dot = rows[row].iter().position(|row| *row == '●').expect("a stage is in this row");
    let joined = (0..dot).filter(|it| matches!(rows[row][*it], '├' | '╰' | '┼' | '┴'));
    joined
        .map(|column| {
            let top = (0..row).rev().find(|it| rows[*it][column] == '╭').expect("a rail begins");
            let passed = top + 1..row;
            assert!(passed.clone().all(|it| matches!(rows[it][column], '│' | '├' | '┼')));
            title(&rows[top - 1])
        })
        .collect()
}

proptest! {
    #[test]
    fn each_stage_is_joined_with_exactly_what_it_waits_for(waits in any_stages()) {
        let drawn = ascii(&stages(&waits), 400);
        let rows: Vec<Vec<char>> = drawn
            .lines()
            .skip(2)
            .take_while(|line| !line.is_empty())
            .map(|line| rails(line).chars().collect())
            .collect();
        let mut place = 0;
        for row in 0..rows.len() {
            if !rows[row].contains(&'●') {
                continue;
            }
            let mut expected: Vec<String> =
                waits[place].0.iter().chain(&waits[place].1).map(|it| format!("set s{it}")).collect();
            let mut found = followed(&rows, row);
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected, "{}", drawn);
            place += 1;
        }
        prop_assert_eq!(place, waits.len());
    }

    #[test]
    fn boxes_keep_apart_and_edges_go_down(waits in any_stages()) {
        let graph = stages(&waits);
        let sizes: Vec<(f64, f64)> =
            (0..waits.len()).map(|it| (40.0 + 37.0 * (it % 5) as f64, 20.0 + (it % 3) as f64)).collect();
        let layout = layout(&graph, &sizes);
        for (index, one) in layout.nodes.iter().enumerate() {
            prop_assert!(one.x - one.width / 2.0 >= -0.01 && one.x + one.width / 2.0 <= layout.size.0 + 0.01);
            prop_assert!(one.y >= 0.0 && one.y + one.height <= layout.size.1 + 0.01);
            let lanes = layout.lanes.iter().flatten();
            for other in layout.nodes[index + 1..].iter().chain(lanes) {
                let is_beside = (one.x - other.x).abs() >= (one.width + other.width) / 2.0 - 0.01;
                let is_below = one.y + one.height <= other.y + 0.01 || other.y + other.height <= one.y + 0.01;
                prop_assert!(is_beside || is_below, "{one:?} and {other:?}");
            }
        }
        for (edge, lanes) in graph.edges.iter().zip(&layout.lanes) {
            let mut bottom = layout.nodes[edge.from].y + layout.nodes[edge.from].height;
            for step in lanes.iter().chain([&layout.nodes[edge.to]]) {
                prop_assert!(bottom <= step.y, "{edge:?} goes up");
                bottom = step.y + step.height;
            }
        }
    }
}
