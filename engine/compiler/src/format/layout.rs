//! Where each token goes: what stands between it and the one before.

use super::lex::{Kind, Lexer, is_newline};
use super::lines::{LEVEL, Move, last_line, moved};

/// A token, and how it stood to the one before.
struct LayoutPiece<'a> {
    kind: Kind,
    text: &'a str,
    start: usize,
    /// Line ends before it.
    lines: usize,
    /// Whether anything stands between it and the one before.
    is_apart: bool,
    /// For braces: whether the whole block stands on one line.
    is_single: bool,
}

/// What stands between two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    Nothing,
    Blank,
    /// So many line ends, then so many levels.
    Lines(usize, usize),
}

/// The text in our layout. It must be KDL.
pub(super) fn lay_out(source: &str) -> String {
    let pieces = pieces(source);
    let mut page = LayoutPage::new(source, &pieces);
    for index in 0..pieces.len() {
        page.put(index);
    }
    page.end()
}

fn pieces(source: &str) -> Vec<LayoutPiece<'_>> {
    let mut pieces: Vec<LayoutPiece<'_>> = Vec::new();
    let (mut open, mut lines, mut end) = (Vec::new(), 0, 0);
    for token in Lexer::new(source) {
        if token.kind == Kind::Newline {
            lines += 1;
            continue;
        }
        let mut is_single = false;
        match token.kind {
            Kind::Open => open.push(pieces.len()),
            Kind::Close => {
                if let Some(index) = open.pop() {
                    let begin: &mut LayoutPiece<'_> = &mut pieces[index];
                    is_single = !source[begin.start..token.span.start].contains(is_newline);
                    begin.is_single = is_single;
                }
            }
            _ => {}
        }
        pieces.push(LayoutPiece {
            kind: token.kind,
            text: &source[token.span.clone()],
            start: token.span.start,
            lines: std::mem::take(&mut lines),
            is_apart: end < token.span.start,
            is_single,
        });
        end = token.span.end;
    }
    pieces
}

struct LayoutPage<'a> {
    source: &'a str,
    pieces: &'a [LayoutPiece<'a>],
    text: String,
    /// How many blocks are open.
    depth: usize,
    /// Whether the node of this line has begun: what is continued is indented.
    has_begun: bool,
    /// Behind `/-`, where a line end ends nothing.
    is_dashed: bool,
    /// Behind `\`, up to the line end that it escapes.
    is_escaping: bool,
    /// In a comment that stands behind its block's `{`.
    is_head: bool,
}

impl<'a> LayoutPage<'a> {
    fn new(source: &'a str, pieces: &'a [LayoutPiece<'a>]) -> Self {
        let mut text = String::with_capacity(source.len());
        if source.starts_with('\u{FEFF}') {
            text.push('\u{FEFF}');
        }
        LayoutPage {
            source,
            pieces,
            text,
            depth: 0,
            has_begun: false,
            is_dashed: false,
            is_escaping: false,
            is_head: false,
        }
    }

    fn put(&mut self, index: usize) {
        let piece = &self.pieces[index];
        match self.gap(index) {
            Gap::Nothing => {}
            Gap::Blank => {
                self.is_head |=
                    self.pieces[index - 1].kind == Kind::Open && !self.pieces[index - 1].is_single;
                self.text.push(' ');
            }
            Gap::Lines(lines, levels) => {
                (self.is_head, self.is_escaping) = (false, false);
                self.has_begun &= self.depth < levels;
                self.text.push_str(&"\n".repeat(lines));
                self.text.push_str(&" ".repeat(levels * LEVEL));
            }
        }
        let place =
            Move { before: last_line(&self.source[..piece.start]), after: last_line(&self.text) };
        let text = moved(piece.text, piece.kind, &place);
        self.text.push_str(if piece.kind == Kind::Line { text.trim_end() } else { &text });
        self.went_by(piece.kind);
    }

    fn went_by(&mut self, kind: Kind) {
        match kind {
            Kind::Line | Kind::Block => return,
            Kind::Backslash => {
                self.is_escaping = true;
                return;
            }
            Kind::Slashdash => {
                self.is_dashed = true;
                return;
            }
            Kind::Open => self.depth += 1,
            Kind::Close => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.is_dashed = false;
        self.has_begun = !matches!(kind, Kind::Open | Kind::Semicolon);
    }

    fn gap(&self, index: usize) -> Gap {
        let Some(before) = index.checked_sub(1).map(|it| &self.pieces[it]) else {
            return Gap::Nothing;
        };
        let next = &self.pieces[index];
        if self.is_escaping {
            return self.escaping(next);
        }
        if self.is_dashed {
            return self.dashed(before, next);
        }
        match (before.kind, next.kind) {
            (Kind::Open, Kind::Close) | (_, Kind::Semicolon) => Gap::Nothing,
            (Kind::Open, _) if before.is_single => Gap::Blank,
            (_, Kind::Close) if next.is_single => Gap::Blank,
            (Kind::Open, _) if self.is_head_comment(index) => Gap::Blank,
            (Kind::Open, _) => Gap::Lines(1, self.depth),
            (_, Kind::Close) => Gap::Lines(1, self.depth.saturating_sub(1)),
            _ if 0 < next.lines => {
                Gap::Lines(if self.is_head { 1 } else { next.lines.min(2) }, self.depth)
            }
            (before, next) => within_line(before, next),
        }
    }

    /// Behind `\`: its comments, then the line end that it escapes. Another line end ends the
    /// node, whatever follows it.
    fn escaping(&self, next: &LayoutPiece<'_>) -> Gap {
        match (next.lines, next.kind) {
            (0, _) => Gap::Blank,
            (_, Kind::Close) => Gap::Lines(1, self.depth.saturating_sub(1)),
            (2.., _) if !self.is_dashed => Gap::Lines(2, self.depth),
            _ => Gap::Lines(1, self.depth + usize::from(self.has_begun)),
        }
    }

    /// Behind `/-`: only a comment to the line's end needs a line end.
    fn dashed(&self, before: &LayoutPiece<'_>, next: &LayoutPiece<'_>) -> Gap {
        match before.kind {
            Kind::Line => Gap::Lines(1, self.depth + usize::from(self.has_begun)),
            Kind::Slashdash if next.lines == 0 && !next.is_apart => Gap::Nothing,
            _ => Gap::Blank,
        }
    }

    /// Whether only comments stand between `{` and the end of its line.
    fn is_head_comment(&self, index: usize) -> bool {
        let is_comment = |piece: &LayoutPiece<'_>| matches!(piece.kind, Kind::Line | Kind::Block);
        let comments =
            self.pieces[index..].iter().take_while(|piece| is_comment(piece) && piece.lines == 0);
        let behind = index + comments.count();
        index < behind && self.pieces.get(behind).is_none_or(|piece| 0 < piece.lines)
    }

    fn end(mut self) -> String {
        if !self.pieces.is_empty() {
            self.text.push('\n');
        }
        self.text
    }
}

/// Between two tokens of one line.
fn within_line(before: Kind, next: Kind) -> Gap {
    let is_comment = |it| matches!(it, Kind::Line | Kind::Block | Kind::Backslash);
    match (before, next) {
        (Kind::Paren, _) | (_, Kind::ParenClose) => Gap::Nothing,
        _ if is_comment(before) || is_comment(next) => Gap::Blank,
        (Kind::ParenClose | Kind::Equals, _) | (_, Kind::Equals) => Gap::Nothing,
        _ => Gap::Blank,
    }
}
