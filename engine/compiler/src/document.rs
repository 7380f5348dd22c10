//! How the text of a file becomes a KDL document, or findings that say why not.
//!
//! Never: the parser sees a text that could exhaust its stack. The limits are asked first, on
//! our own tokens, and a text with open strings or stray braces is mended before it is parsed.

mod blocks;
mod hints;
pub(crate) mod lex;
mod recovery;
pub(crate) mod secrets;
mod words;

use kdl::KdlDocument;
use language::diagnostic::{Diagnostics, Rule, SourceText};
use lex::{Kind, Lexer};
pub(crate) use recovery::Meant;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// The largest file that is read, in bytes.
pub const SIZE_MAX: usize = 1 << 20;
/// The deepest nesting of blocks and comments.
pub const DEPTH_MAX: usize = 64;
/// The most nodes of a file.
pub const NODES_MAX: usize = 10_000;
/// The most arguments and properties of one node.
pub const ENTRIES_MAX: usize = 1000;
/// The deepest nesting of blocks below a `/-`, which the parser reads more than once.
const DASHED_MAX: usize = 4;
/// The most `*` and `/` inside a comment that the parser sees: it recurses at each of them.
const COMMENT_SIGNS_MAX: usize = 1000;
const STACK_BYTES: usize = 16 << 20;

/// The text of a file, from its bytes.
///
/// Bytes that are no UTF-8 are reported at their place in the replaced text.
pub fn text(bytes: &[u8], name: &str) -> Result<Arc<SourceText>, Box<Diagnostics>> {
    let source = |text: String| Arc::new(SourceText { name: name.to_owned(), text });
    if bytes.len() > SIZE_MAX {
        let mut found = Diagnostics::new(source(String::new()));
        too_large(&mut found, &format!("{} bytes", bytes.len()), 0..0, "1 MiB");
        return Err(Box::new(found));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(source(text.to_owned())),
        Err(fault) => {
            let at = fault.valid_up_to();
            let text = String::from_utf8_lossy(bytes).into_owned();
            let source = source(text);
            let mut found = Diagnostics::new(source.clone());
            secrets::hide(&source.text, &mut found);
            let shown = bytes.get(at).copied().unwrap_or_default();
            found
                .push(Rule::Syntax, "the file is not UTF-8 text")
                .at(at..at + '\u{FFFD}'.len_utf8(), format!("the byte 0x{shown:02X} is not text"))
                .help("save the file as UTF-8");
            Err(Box::new(found))
        }
    }
}

/// Parses a text. What is wrong is reported, and there is no document.
pub fn parse(source: &Arc<SourceText>, diagnostics: &mut Diagnostics) -> Option<KdlDocument> {
    let document = parse_text(&source.text, diagnostics);
    if document.is_none() {
        secrets::hide(&source.text, diagnostics);
    }
    document
}

/// Parses a text. Of one that is no KDL there is the document that was meant, as far as the
/// findings know it, so that what else is wrong is found as well.
pub fn parse_anyway(
    source: &Arc<SourceText>,
    diagnostics: &mut Diagnostics,
) -> Option<(KdlDocument, Option<Meant>)> {
    let before = diagnostics.found().len();
    let read = read_text(&source.text, diagnostics);
    if before < diagnostics.found().len() {
        secrets::hide(&source.text, diagnostics);
    }
    read
}

fn parse_text(text: &str, diagnostics: &mut Diagnostics) -> Option<KdlDocument> {
    read_text(text, diagnostics).filter(|it| it.1.is_none()).map(|it| it.0)
}

fn read_text(text: &str, diagnostics: &mut Diagnostics) -> Option<(KdlDocument, Option<Meant>)> {
    let is_sound = limits(text, diagnostics)?;
    if hints::is_foreign(text, diagnostics) {
        return None;
    }
    if is_sound && let Ok(document) = on_deep_stack(text) {
        return Some((document, None));
    }
    let before = diagnostics.found().len();
    let (document, meant) = hints::explain(text, diagnostics);
    if diagnostics.found().len() == before {
        return document.map(|it| (it, None));
    }
    let meant = meant?;
    let mut over = Diagnostics::new(diagnostics.source().clone());
    let is_sound = limits(&meant.text, &mut over)?;
    let document = if is_sound { on_deep_stack(&meant.text).ok() } else { None };
    document.map(|it| (it, Some(meant)))
}

/// The paths that a text includes, as far as it can be read.
pub fn included(text: &str) -> Vec<String> {
    let (mut found, mut words) = (Vec::new(), Vec::new());
    let (mut depth, mut end) = (0_usize, |words: &mut Vec<&str>| {
        if words.first() == Some(&"include") {
            let paths = words[1..].iter().filter(|it| !it.contains('='));
            found.extend(paths.map(|it| it.trim_matches(['"', '#']).to_owned()));
        }
        words.clear();
    });
    for token in Lexer::new(text) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Newline | Kind::Semicolon | Kind::Line => end(&mut words),
            _ if depth == 0 => words.push(&text[token.span.clone()]),
            _ => {}
        }
    }
    end(&mut words);
    found
}

/// The words behind each `/-` that switches a node off (role, kind, name), with their lines.
pub fn commented_out(text: &str) -> Vec<(String, usize)> {
    lex::commented_out(text)
}

/// The block that follows a byte in a sound text, braces included; empty where none follows on
/// the same node.
pub fn block_behind(text: &str, at: usize) -> &str {
    let behind = text.get(at..).unwrap_or_default();
    let (mut depth, mut start) = (0_usize, None);
    for token in Lexer::new(behind) {
        match token.kind {
            Kind::Open => {
                depth += 1;
                start.get_or_insert(token.span.start);
            }
            Kind::Close if depth <= 1 => {
                return start.map_or("", |start| &behind[start..token.span.end]);
            }
            Kind::Close => depth -= 1,
            Kind::Newline | Kind::Semicolon if start.is_none() => return "",
            _ => {}
        }
    }
    ""
}

/// Whether the tokens are whole, so that the parser sees what was counted here; `None` when
/// the text is over a limit.
fn limits(text: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
    if SIZE_MAX < text.len() {
        too_large(diagnostics, &format!("{} bytes", text.len()), 0..0, "1 MiB");
        return None;
    }
    let (mut depth, mut nodes, mut is_start, mut is_sound) = (0_usize, 0, true, true);
    let mut words = 0;
    let mut dashed: Vec<usize> = Vec::new();
    let mut is_dashed = false;
    for token in Lexer::new(text) {
        match token.kind {
            Kind::Open => {
                depth += 1;
                if std::mem::take(&mut is_dashed) {
                    dashed.push(depth);
                }
            }
            Kind::Close => {
                is_sound &= 0 < depth;
                dashed.retain(|it| *it < depth);
                depth = depth.saturating_sub(1);
            }
            Kind::Slashdash => is_dashed = true,
            Kind::Newline | Kind::Semicolon if !is_start => is_dashed = false,
            Kind::Hash | Kind::Bracket | Kind::BracketClose => is_sound = false,
            Kind::Text => is_sound &= hints::bad_escape(&text[token.span.clone()]).is_none(),
            _ => {}
        }
        is_sound &= token.is_closed;
        match token.kind {
            // Nodes without a name are no KDL, and as slow to refuse as nodes are to read.
            Kind::Semicolon if is_start => nodes += 1,
            Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close => is_start = true,
            Kind::Line | Kind::Block | Kind::Slashdash => {}
            _ => nodes += usize::from(std::mem::take(&mut is_start)),
        }
        words = if is_start { 0 } else { words + 1 };
        // A property has three tokens, an annotation two more.
        if 5 * ENTRIES_MAX < words {
            too_large(diagnostics, "too many values", token.span, "1,000 values of one node");
            return None;
        }
        let deepest = depth.max(token.depth);
        if DEPTH_MAX < deepest {
            too_large(diagnostics, "too deep", token.span, "64 levels");
            return None;
        }
        if DASHED_MAX < dashed.len() {
            too_large(diagnostics, "too deep", token.span, "4 levels of `/-` inside `/-`");
            return None;
        }
        if NODES_MAX < nodes {
            too_large(diagnostics, "too many nodes", token.span, "10,000 nodes");
            return None;
        }
    }
    Some(is_sound && depth == 0)
}

fn too_large(diagnostics: &mut Diagnostics, what: &str, place: Range<usize>, limit: &str) {
    diagnostics
        .push(Rule::TooLarge, format!("the file is too large: {what}"))
        .at(place, format!("more than {limit}"))
        .help("split the pipeline into several files, or remove the large part");
}

/// The text with blanks in comments on which the parser would exhaust its stack.
fn calm(text: &str) -> Cow<'_, str> {
    let signs = |it: &str| it.bytes().filter(|it| matches!(it, b'*' | b'/')).count();
    let loud: Vec<Range<usize>> = Lexer::new(text)
        .filter(|it| it.kind == Kind::Block && it.is_closed)
        .map(|it| it.span)
        .filter(|it| COMMENT_SIGNS_MAX < signs(&text[it.clone()]))
        .collect();
    if loud.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    for span in loud {
        let inner = &mut bytes[span.start + 2..span.end - 2];
        inner.iter_mut().filter(|it| !matches!(**it, b'\n' | b'\r')).for_each(|it| *it = b' ');
    }
    // Whole comments were replaced, so whole characters.
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The document, or the places that the parser does not understand.
fn on_deep_stack(text: &str) -> Result<KdlDocument, Vec<Range<usize>>> {
    let text = calm(text);
    let parse = || KdlDocument::parse_v2(&text);
    let parsed = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, parse).ok()?;
        running.join().ok()
    });
    match parsed {
        Some(Ok(document)) => Ok(document),
        Some(Err(fault)) => Err(fault
            .diagnostics
            .iter()
            .map(|it| it.span.offset()..it.span.offset() + it.span.len())
            .collect()),
        None => Err(Vec::new()),
    }
}

#[cfg(test)]
#[path = "document/tests.rs"]
mod tests;
