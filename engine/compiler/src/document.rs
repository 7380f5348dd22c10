//! How the text of a file becomes a KDL document, or findings that say why not.
//!
//! Never: a text takes longer than its length allows, or exhausts the stack. The limits are
//! asked first, on our own tokens, and the parser reads each of these once.

mod blocks;
mod hints;
pub(crate) mod lex;
mod parse;
mod recovery;
pub(crate) mod secrets;
mod words;

use kdl::KdlDocument;
use language::diagnostic::{Diagnostics, Rule, SourceText};
use lex::{Kind, Lexer};
pub(crate) use recovery::Meant;
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

/// The text of a file, from its bytes.
///
/// Bytes that are no UTF-8 are reported at their place in the replaced text.
pub fn text(bytes: &[u8], name: &str) -> Result<Arc<SourceText>, Box<Diagnostics>> {
    let source = |text: String| Arc::new(SourceText { name: name.to_owned(), text });
    if bytes.len() > SIZE_MAX {
        let mut found = Diagnostics::new(source(String::new()));
        too_large(&mut found, "more than 1 MiB", 0..0, "1 MiB");
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
    read_text(text, diagnostics).filter(|text| text.1.is_none()).map(|text| text.0)
}

fn read_text(text: &str, diagnostics: &mut Diagnostics) -> Option<(KdlDocument, Option<Meant>)> {
    limits(text, diagnostics)?;
    if hints::is_foreign(text, diagnostics) {
        return None;
    }
    if let Ok(document) = parse::document(text) {
        return Some((document, None));
    }
    let before = diagnostics.found().len();
    let (document, meant) = hints::explain(text, diagnostics);
    if diagnostics.found().len() == before {
        return document.map(|document| (document, None));
    }
    let meant = meant?;
    let mut over = Diagnostics::new(diagnostics.source().clone());
    limits(&meant.text, &mut over)?;
    let document = parse::document(&meant.text).ok();
    document.map(|document| (document, Some(meant)))
}

/// The paths that a text includes, as far as it can be read.
pub fn included(text: &str) -> Vec<String> {
    let (mut found, mut words) = (Vec::new(), Vec::new());
    let (mut depth, mut end) = (0_usize, |words: &mut Vec<&str>| {
        if words.first() == Some(&"include") {
            let paths = words[1..].iter().filter(|word| !word.contains('='));
            found.extend(paths.map(|path| path.trim_matches(['"', '#']).to_owned()));
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

/// `None` when the text is over a limit.
fn limits(text: &str, diagnostics: &mut Diagnostics) -> Option<()> {
    if SIZE_MAX < text.len() {
        too_large(diagnostics, &format!("{} bytes", text.len()), 0..0, "1 MiB");
        return None;
    }
    let (mut depth, mut nodes, mut is_start, mut words) = (0_usize, 0, true, 0);
    for token in Lexer::new(text) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
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
        if DEPTH_MAX < depth.max(token.depth) {
            too_large(diagnostics, "too deep", token.span, "64 levels");
            return None;
        }
        if NODES_MAX < nodes {
            too_large(diagnostics, "too many nodes", token.span, "10,000 nodes");
            return None;
        }
    }
    Some(())
}

fn too_large(diagnostics: &mut Diagnostics, what: &str, place: Range<usize>, limit: &str) {
    diagnostics
        .push(Rule::TooLarge, format!("the file is too large: {what}"))
        .at(place, format!("more than {limit}"))
        .help("split the pipeline into several files, or remove the large part");
}

#[cfg(test)]
#[path = "document/tests.rs"]
mod tests;
