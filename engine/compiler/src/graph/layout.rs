//! Places for a layered drawing: every node below those that lead to it, edges around the nodes
//! that they pass.

use super::{Graph, GraphPhase};

/// Between two neighbours, and between two layers.
const GAP: f64 = 28.0;
const LAYER_GAP: f64 = 44.0;
/// How wide the way of an edge is where it passes a layer.
const LANE: f64 = 12.0;
/// How often neighbours are sorted by where their neighbours are, and moved towards them.
const SWEEPS: usize = 8;

/// A rectangle; `x` is its centre, `y` its top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Position {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Layout {
    /// By the nodes of the graph.
    pub(super) nodes: Vec<Position>,
    /// By the edges of the graph: the lanes between its ends, from top to bottom.
    pub(super) lanes: Vec<Vec<Position>>,
    /// Width and height of the whole.
    pub(super) size: (f64, f64),
}

/// A node, or a lane in a layer that an edge passes.
struct Cell {
    layer: usize,
    place: Position,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Places nodes of these sizes.
pub(super) fn layout(graph: &Graph, sizes: &[(f64, f64)]) -> Layout {
    let mut cells: Vec<Cell> = layers(graph)
        .into_iter()
        .zip(sizes)
        .map(|(layer, (width, height))| Cell {
            layer,
            place: Position { x: 0.0, y: 0.0, width: *width, height: *height },
            above: Vec::new(),
            below: Vec::new(),
        })
        .collect();
    let mut ways = Vec::new();
    for edge in &graph.edges {
        let mut way = Vec::new();
        let mut last = edge.from;
        for layer in cells[edge.from].layer + 1..cells[edge.to].layer {
            let place = Position { x: 0.0, y: 0.0, width: LANE, height: 0.0 };
            cells.push(Cell { layer, place, above: Vec::new(), below: Vec::new() });
            way.push(cells.len() - 1);
            link(&mut cells, last, way[way.len() - 1]);
            last = way[way.len() - 1];
        }
        link(&mut cells, last, edge.to);
        ways.push(way);
    }
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        rows.resize(rows.len().max(cell.layer + 1), Vec::new());
        rows[cell.layer].push(index);
    }
    for row in &rows {
        pack(&mut cells, row, |_, index| index as f64);
    }
    for sweep in 0..SWEEPS {
        let is_down = sweep % 2 == 0;
        let order: Vec<usize> =
            if is_down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in order {
            settle(&mut cells, &mut rows[layer], is_down, sweep + 2 < SWEEPS);
        }
    }
    let size = finish(&mut cells, &rows);
    Layout {
        nodes: cells[..sizes.len()].iter().map(|cell| cell.place).collect(),
        lanes: ways.iter().map(|way| way.iter().map(|it| cells[*it].place).collect()).collect(),
        size,
    }
}

/// The layer of each node: one below the lowest that leads to it; what events leave by is at the
/// bottom.
fn layers(graph: &Graph) -> Vec<usize> {
    let mut layers = vec![0; graph.nodes.len()];
    for node in 0..graph.nodes.len() {
        let above =
            graph.edges.iter().filter(|edge| edge.to == node).map(|edge| layers[edge.from] + 1);
        layers[node] = above.max().unwrap_or(0);
    }
    let lowest = layers.iter().copied().max().unwrap_or(0);
    for (layer, node) in layers.iter_mut().zip(&graph.nodes) {
        if node.phase == GraphPhase::Sink {
            *layer = lowest;
        }
    }
    layers
}

fn link(cells: &mut [Cell], from: usize, to: usize) {
    cells[from].below.push(to);
    cells[to].above.push(from);
}

/// Puts a row side by side, near the wanted centres and without overlaps.
fn pack(cells: &mut [Cell], row: &[usize], wanted: impl Fn(&[Cell], usize) -> f64) {
    let wishes: Vec<f64> = row.iter().map(|it| wanted(cells, *it)).collect();
    let mut edge = f64::NEG_INFINITY;
    for (index, wish) in row.iter().zip(&wishes) {
        let half = cells[*index].place.width / 2.0;
        cells[*index].place.x = wish.max(edge + GAP + half);
        edge = cells[*index].place.x + half;
    }
    let moved = row.iter().zip(&wishes).map(|(index, wish)| wish - cells[*index].place.x);
    let shift = moved.sum::<f64>() / row.len().max(1) as f64;
    row.iter().for_each(|it| cells[*it].place.x += shift);
}

/// Sorts a row by the neighbours of its cells, and moves the cells towards them.
fn settle(cells: &mut [Cell], row: &mut [usize], is_down: bool, may_sort: bool) {
    let wanted = |cells: &[Cell], index: usize| {
        let cell = &cells[index];
        let near = if is_down { &cell.above } else { &cell.below };
        match near.len() {
            0 => cell.place.x,
            count => near.iter().map(|it| cells[*it].place.x).sum::<f64>() / count as f64,
        }
    };
    if may_sort {
        row.sort_by(|a, b| wanted(cells, *a).total_cmp(&wanted(cells, *b)));
    }
    pack(cells, row, wanted);
}

/// Heights of the layers, and everything moved so that the drawing begins at 0. The whole size.
fn finish(cells: &mut [Cell], rows: &[Vec<usize>]) -> (f64, f64) {
    let left =
        cells.iter().map(|cell| cell.place.x - cell.place.width / 2.0).fold(f64::MAX, f64::min);
    let mut y = 0.0;
    for row in rows {
        let height = row.iter().map(|it| cells[*it].place.height).fold(0.0, f64::max);
        for index in row {
            let place = &mut cells[*index].place;
            place.x -= left;
            place.y = y;
            // A lane is as high as its layer, so that an edge passes all of it.
            if place.height == 0.0 {
                place.height = height;
            }
        }
        y += height + LAYER_GAP;
    }
    let right = cells.iter().map(|cell| cell.place.x + cell.place.width / 2.0).fold(0.0, f64::max);
    (right, (y - LAYER_GAP).max(0.0))
}
