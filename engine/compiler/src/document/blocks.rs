//! Braces that have no partner.

use super::lex::{Kind, LexToken};
use super::recovery::Mended;
use language::diagnostic::{Diagnostics, Rule};

/// A line of the text.
struct BlockLine {
    number: usize,
    indent: usize,
    start: usize,
}

/// A token, the line it begins on, and whether it is the first of that line.
struct Placed<'a> {
    token: &'a LexToken,
    line: usize,
    is_first: bool,
}

/// Where every token is, found in one pass: any text may be one token a thousand times.
struct BlockLayout<'a> {
    lines: Vec<BlockLine>,
    tokens: Vec<Placed<'a>>,
    /// How many bytes and tokens were looked at.
    steps: usize,
}

impl<'a> BlockLayout<'a> {
    fn of(text: &str, tokens: &'a [LexToken]) -> Self {
        let mut layout = BlockLayout { lines: Vec::new(), tokens: Vec::new(), steps: text.len() };
        let mut start = 0;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            layout.lines.push(BlockLine { number: index + 1, indent, start });
            start += line.len();
        }
        // A token at the very end, after the last line end.
        layout.lines.push(BlockLine { number: layout.lines.len() + 1, indent: 0, start });
        let mut at = 0;
        for token in tokens {
            while layout.lines.get(at + 1).is_some_and(|line| line.start <= token.span.start) {
                at += 1;
                layout.steps += 1;
            }
            let line = &layout.lines[at];
            let is_first = token.span.start <= line.start + line.indent;
            layout.tokens.push(Placed { token, line: at, is_first });
            layout.steps += 1;
        }
        layout
    }

    fn line(&self, index: usize) -> &BlockLine {
        &self.lines[self.tokens[index].line]
    }

    /// For each token, the first one after it that begins a line and is indented no deeper.
    fn ends(&mut self) -> Vec<Option<usize>> {
        let mut ends = vec![None; self.tokens.len()];
        // From the last to the first; the outermost are at the bottom.
        let mut open: Vec<usize> = Vec::new();
        for index in (0..self.tokens.len()).rev() {
            self.steps += 1;
            let indent = self.line(index).indent;
            // What is deeper than this line ends nothing before it, if this token begins the line.
            let place = open.partition_point(|it| self.line(*it).indent <= indent);
            ends[index] = place.checked_sub(1).map(|it| open[it]);
            let of = &self.tokens[index];
            let is_blank = matches!(of.token.kind, Kind::Newline | Kind::Line | Kind::Block);
            if of.is_first && !is_blank {
                while open.last().is_some_and(|it| indent <= self.line(*it).indent) {
                    open.pop();
                    self.steps += 1;
                }
                open.push(index);
            }
        }
        ends
    }
}

/// Reports blocks that are never closed and braces that close nothing.
pub(super) fn explain(
    text: &str,
    tokens: &[LexToken],
    mended: &mut Mended,
    diagnostics: &mut Diagnostics,
) {
    let mut layout = BlockLayout::of(text, tokens);
    look(&mut layout, mended, diagnostics);
    debug_assert!(layout.steps <= STEPS_A_BYTE * (text.len() + 2), "blocks are found in one pass");
}

/// How much work a byte of text may make.
const STEPS_A_BYTE: usize = 8;

fn look(layout: &mut BlockLayout<'_>, mended: &mut Mended, diagnostics: &mut Diagnostics) {
    let (mut open, mut suspect) = (Vec::new(), None);
    // Where the last block at the margin begins: one brace too many may be anywhere in it.
    let mut outer = 0;
    // A run of braces too many is one mistake.
    let mut is_in_run = false;
    for (index, placed) in layout.tokens.iter().enumerate() {
        let own = layout.line(index);
        is_in_run &= matches!(placed.token.kind, Kind::Close | Kind::Newline);
        match placed.token.kind {
            Kind::Open => {
                if own.indent == 0 {
                    outer = own.start;
                }
                open.push(index);
            }
            Kind::Close => match open.pop() {
                Some(opened) => {
                    let its = layout.line(opened);
                    if suspect.is_none() && placed.is_first && own.indent < its.indent {
                        suspect = Some(opened);
                    }
                }
                None => {
                    let span = placed.token.span.clone();
                    mended.blank(span.clone());
                    if std::mem::replace(&mut is_in_run, true) {
                        continue;
                    }
                    mended.is_unclear(outer..span.end);
                    diagnostics
                        .push(Rule::Syntax, "unmatched `}`")
                        .at(span, "no block is open here")
                        .help("delete it, or look for an extra `}` above");
                }
            },
            _ => {}
        }
    }
    if open.is_empty() {
        return;
    }
    mended.close(open.len());
    let is_one = open.len() == 1;
    let ends = layout.ends();
    for opened in suspect.map_or(open, |suspect| vec![suspect]) {
        let end = unclosed(layout, opened, ends[opened], diagnostics);
        match end {
            Some(at) if is_one => mended.close_at(at),
            None if is_one => {}
            _ => mended.is_unclear(layout.tokens[opened].token.span.clone()),
        }
    }
}

/// Reports a block, and gives the byte before which it seems to end.
fn unclosed(
    layout: &BlockLayout<'_>,
    opened: usize,
    outside: Option<usize>,
    diagnostics: &mut Diagnostics,
) -> Option<usize> {
    let found = diagnostics
        .push(Rule::Unclosed, "this block is never closed")
        .at(layout.tokens[opened].token.span.clone(), "opened here");
    let Some(outside) = outside else {
        found.help("add `}` at the end of the file");
        return None;
    };
    let line = layout.line(outside);
    found
        .at(layout.tokens[outside].token.span.clone(), "this seems to be outside of it")
        .help(format!("add `}}` before line {} (guessed from the indentation)", line.number));
    Some(line.start)
}

#[cfg(test)]
mod tests {
    use super::super::lex::Lexer;
    use super::*;
    use language::diagnostic::SourceText;
    use std::sync::Arc;

    /// How many steps a text takes.
    fn steps(text: &str) -> usize {
        let tokens: Vec<LexToken> = Lexer::new(text).collect();
        let mut layout = BlockLayout::of(text, &tokens);
        let source = SourceText { name: "a.kdl".to_owned(), text: text.to_owned() };
        look(&mut layout, &mut Mended::new(text), &mut Diagnostics::new(Arc::new(source)));
        layout.steps
    }

    #[test]
    fn a_text_of_one_repeated_token_costs_linear_work() {
        for piece in ["{", "}", "a{\n", "a\n", "}\n", " {\n", "a {\n}\n}\n", "\"x\" ", ";", "\n"] {
            let [once, tenfold] = [500, 5000].map(|times| steps(&piece.repeat(times)));
            assert!(
                tenfold <= 11 * once,
                "{piece:?}: {once} steps, and {tenfold} for ten times it"
            );
        }
    }

    #[test]
    fn a_deep_stair_costs_linear_work() {
        let stair = |depth: usize| -> String {
            (0..depth).map(|it| format!("{}a {{\n", " ".repeat(it % 40))).collect()
        };
        let [once, tenfold] = [400, 4000].map(|depth| steps(&stair(depth)));
        assert!(tenfold <= 11 * once, "{once} steps, and {tenfold} for ten times it");
    }
}
