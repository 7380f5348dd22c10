//! Braces that have no partner.

use super::lex::{Kind, LexToken};
use super::recovery::Mended;
use language::diagnostic::{Diagnostics, Rule};

struct Line {
    number: usize,
    indent: usize,
    start: usize,
}

/// Reports blocks that are never closed and braces that close nothing.
pub(super) fn explain(
    text: &str,
    tokens: &[LexToken],
    mended: &mut Mended,
    diagnostics: &mut Diagnostics,
) {
    let (mut open, mut suspect) = (Vec::new(), None);
    for token in tokens {
        match token.kind {
            Kind::Open => open.push(token),
            Kind::Close => match open.pop() {
                Some(opened) => {
                    let (own, its) = (line(text, token), line(text, opened));
                    let is_first = text[own.start..token.span.start].trim().is_empty();
                    if suspect.is_none() && is_first && own.indent < its.indent {
                        suspect = Some(opened);
                    }
                }
                None => {
                    mended.blank(token.span.clone());
                    // The one too many stands anywhere in the last block at the margin.
                    let is_outer =
                        |it: &&LexToken| it.kind == Kind::Open && line(text, it).indent == 0;
                    let before = tokens.iter().take_while(|it| it.span.start < token.span.start);
                    let start = before.filter(is_outer).last().map_or(0, |it| line(text, it).start);
                    mended.is_unclear(start..token.span.end);
                    diagnostics
                        .push(Rule::Syntax, "unmatched `}`")
                        .at(token.span.clone(), "no block is open here")
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
    for opened in suspect.map_or(open, |it| vec![it]) {
        let end = unclosed(text, tokens, opened, diagnostics);
        match end {
            Some(at) if is_one => mended.close_at(at),
            None if is_one => {}
            _ => mended.is_unclear(opened.span.clone()),
        }
    }
}

/// Reports a block, and gives the byte before which it seems to end.
fn unclosed(
    text: &str,
    tokens: &[LexToken],
    opened: &LexToken,
    diagnostics: &mut Diagnostics,
) -> Option<usize> {
    let home = line(text, opened);
    let outside = tokens
        .iter()
        .filter(|it| opened.span.end <= it.span.start)
        .filter(|it| !matches!(it.kind, Kind::Newline | Kind::Line | Kind::Block))
        .map(|it| (it, line(text, it)))
        .find(|(it, line)| {
            line.number != home.number
                && line.indent <= home.indent
                && text[line.start..it.span.start].trim().is_empty()
        });
    let found = diagnostics
        .push(Rule::Unclosed, "this block is never closed")
        .at(opened.span.clone(), "opened here");
    match outside {
        Some((token, line)) => {
            found.at(token.span.clone(), "this seems to be outside of it").help(format!(
                "add `}}` before line {} (guessed from the indentation)",
                line.number
            ));
            Some(line.start)
        }
        None => {
            found.help("add `}` at the end of the file");
            None
        }
    }
}

fn line(text: &str, token: &LexToken) -> Line {
    let before = &text[..token.span.start];
    let start = before.rfind('\n').map_or(0, |it| it + 1);
    let body = &text[start..];
    let indent = body.len() - body.trim_start_matches([' ', '\t']).len();
    Line { number: before.matches('\n').count() + 1, indent, start }
}
