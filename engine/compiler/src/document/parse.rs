//! A document from the tokens of a text.
//!
//! The crate `kdl` gives the types, and reads each name and value; the nodes around them are
//! read here. Its own parser reads what is below a `/-` several times at every level, so that
//! 200 bytes can keep it busy for minutes. Here each token is read once.

use super::DEPTH_MAX;
use super::lex::{Kind, LexToken, Lexer};
use kdl::{KdlDocument, KdlEntry, KdlEntryFormat, KdlIdentifier, KdlNode, KdlValue};
use std::ops::Range;

/// Where a text stops being KDL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DocumentFault {
    pub(super) span: Range<usize>,
    pub(super) kind: FaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A node begins on the line of another one, whose block ends at this byte.
    SecondNode(usize),
    Other,
}

impl DocumentFault {
    fn at(span: &Range<usize>) -> Self {
        DocumentFault { span: span.clone(), kind: FaultKind::Other }
    }
}

/// Reads a text; the first thing that is not KDL ends it.
pub(super) fn document(text: &str) -> Result<KdlDocument, DocumentFault> {
    let mut parser = DocumentParser { text, tokens: significant(text)?, at: 0, depth: 0 };
    let document = parser.nodes()?;
    match parser.tokens.get(parser.at) {
        Some(stray) => Err(DocumentFault::at(&stray.span)),
        None => Ok(document),
    }
}

/// The tokens without comments and continued line ends.
fn significant(text: &str) -> Result<Vec<LexToken>, DocumentFault> {
    let (mut found, mut continued, mut end) = (Vec::new(), None, 0);
    for token in Lexer::new(text) {
        // A mark of byte order counts as a blank for the lexer, and is one only at the start.
        if let Some(mark) = text[end..token.span.start].rfind('\u{FEFF}').filter(|at| 0 < end + at)
        {
            return Err(DocumentFault::at(&(end + mark..end + mark + 3)));
        }
        end = token.span.end;
        if !token.is_closed || token.kind == Kind::Hash {
            return Err(DocumentFault::at(&token.span));
        }
        match (token.kind, &continued) {
            (Kind::Line | Kind::Block, _) => {}
            (Kind::Newline, Some(_)) => continued = None,
            (_, Some(backslash)) => return Err(DocumentFault::at(backslash)),
            (Kind::Backslash, None) => continued = Some(token.span),
            _ => found.push(token),
        }
    }
    Ok(found)
}

struct DocumentParser<'a> {
    text: &'a str,
    tokens: Vec<LexToken>,
    /// The token that is read next.
    at: usize,
    depth: usize,
}

impl<'a> DocumentParser<'a> {
    fn kind(&self) -> Option<Kind> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    /// The next token's place, or the end of the text.
    fn here(&self) -> Range<usize> {
        let end = self.text.len();
        self.tokens.get(self.at).map_or(end..end, |token| token.span.clone())
    }

    /// Where the last token ended.
    fn end(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |last| self.tokens[last].span.end)
    }

    fn between(&self, end: usize) -> String {
        self.text.get(end..self.here().start).unwrap_or_default().to_owned()
    }

    fn is_next(&mut self, kind: Kind) -> bool {
        let is_next = self.kind() == Some(kind);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_newlines(&mut self) {
        while self.is_next(Kind::Newline) {}
    }

    fn nodes(&mut self) -> Result<KdlDocument, DocumentFault> {
        let mut document = KdlDocument::new();
        let mut start = None;
        loop {
            self.skip_newlines();
            if matches!(self.kind(), None | Some(Kind::Close)) {
                break;
            }
            let is_dashed = self.is_next(Kind::Slashdash);
            if is_dashed {
                self.skip_newlines();
            }
            let node = self.node()?;
            if !is_dashed {
                start.get_or_insert(node.span().offset());
                document.nodes_mut().push(node);
            }
            match self.kind() {
                Some(Kind::Newline | Kind::Semicolon) => self.at += 1,
                None | Some(Kind::Close) => {}
                Some(kind) => return Err(self.no_end(kind)),
            }
        }
        let start = start.unwrap_or(self.here().start);
        document.set_span(start..self.end().max(start));
        Ok(document)
    }

    /// A node should have ended before the next token.
    fn no_end(&self, kind: Kind) -> DocumentFault {
        let last = self.at.checked_sub(1).map(|last| self.tokens[last].kind);
        let begins = matches!(kind, Kind::Word | Kind::Text | Kind::Raw | Kind::Slashdash);
        let kind = match last {
            Some(Kind::Close) if begins => FaultKind::SecondNode(self.end()),
            _ => FaultKind::Other,
        };
        DocumentFault { span: self.here(), kind }
    }

    fn node(&mut self) -> Result<KdlNode, DocumentFault> {
        let start = self.here().start;
        let annotation = self.annotation()?;
        let mut node = KdlNode::new(self.name()?);
        if let Some(Annotation { name, .. }) = annotation {
            node.set_ty(name);
        }
        // After a block, also one that is switched off, there are only blocks.
        let mut has_block = false;
        while let Some(kind) = self.kind() {
            let is_apart = self.end() < self.here().start;
            match kind {
                Kind::Slashdash => {
                    self.at += 1;
                    self.skip_newlines();
                    if self.kind() == Some(Kind::Open) {
                        self.block()?;
                        has_block = true;
                    } else if has_block {
                        self.at -= 1;
                        break;
                    } else {
                        self.entry(String::new())?;
                    }
                }
                Kind::Open if node.children().is_none() => {
                    node.set_children(self.block()?);
                    has_block = true;
                }
                Kind::Word | Kind::Keyword | Kind::Text | Kind::Raw | Kind::Paren
                    if is_apart && !has_block =>
                {
                    let leading = self.between(self.end());
                    let entry = self.entry(leading)?;
                    node.entries_mut().push(entry);
                }
                _ => break,
            }
        }
        node.set_span(start..self.end());
        Ok(node)
    }

    fn block(&mut self) -> Result<KdlDocument, DocumentFault> {
        let open = self.here();
        self.at += 1;
        self.depth += 1;
        if DEPTH_MAX < self.depth {
            return Err(DocumentFault::at(&open));
        }
        let document = self.nodes()?;
        self.depth -= 1;
        if self.is_next(Kind::Close) { Ok(document) } else { Err(DocumentFault::at(&open)) }
    }

    /// `value` or `name=value`.
    fn entry(&mut self, leading: String) -> Result<KdlEntry, DocumentFault> {
        let start = self.here().start;
        let mut format = KdlEntryFormat { leading, ..KdlEntryFormat::default() };
        let equals = self.tokens.get(self.at + 1).map(|token| token.kind);
        let name = if equals == Some(Kind::Equals) { Some(self.name()?) } else { None };
        if name.is_some() {
            format.after_key = self.between(self.end());
            self.at += 1;
            format.after_eq = self.between(self.end());
        }
        let annotation = self.annotation()?;
        let span = self.here();
        let written = &self.text[span.clone()];
        let value = match self.kind() {
            Some(Kind::Word | Kind::Keyword | Kind::Text | Kind::Raw) => value_of(written),
            _ => None,
        };
        let Some(value) = value else { return Err(DocumentFault::at(&span)) };
        self.at += 1;
        let mut entry = KdlEntry::new(value);
        entry.set_name(name);
        if let Some(Annotation { name, before, after }) = annotation {
            entry.set_ty(name);
            (format.before_ty_name, format.after_ty_name) = (before, after);
            format.after_ty = self.text[self.tokens[self.at - 2].span.end..span.start].to_owned();
        }
        written.clone_into(&mut format.value_repr);
        entry.set_format(format);
        entry.set_span(start..span.end);
        Ok(entry)
    }

    /// `(env)`.
    fn annotation(&mut self) -> Result<Option<Annotation>, DocumentFault> {
        if !self.is_next(Kind::Paren) {
            return Ok(None);
        }
        let before = self.between(self.end());
        let name = self.name()?;
        let after = self.between(self.end());
        if !self.is_next(Kind::ParenClose) {
            return Err(DocumentFault::at(&self.here()));
        }
        Ok(Some(Annotation { name, before, after }))
    }

    fn name(&mut self) -> Result<KdlIdentifier, DocumentFault> {
        let span = self.here();
        let is_name = matches!(self.kind(), Some(Kind::Word | Kind::Text | Kind::Raw));
        let read = if is_name { name_of(&self.text[span.clone()]) } else { None };
        let Some(mut name) = read else { return Err(DocumentFault::at(&span)) };
        self.at += 1;
        name.set_span(span);
        Ok(name)
    }
}

/// What a value says. Most are as plain as they look; the parser of the `kdl` crate, which would
/// take a quarter of the time of a check, reads the others.
fn value_of(written: &str) -> Option<KdlValue> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let inside = written.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    if let Some(text) = inside.filter(|inside| inside.as_bytes().iter().all(is_plain)) {
        return Some(KdlValue::String(text.to_owned()));
    }
    if is_bare(written) {
        return Some(KdlValue::String(written.to_owned()));
    }
    let is_number = written.bytes().all(|byte| byte.is_ascii_digit()) && !written.starts_with('0');
    if let Some(number) = written.parse().ok().filter(|_| is_number && written.len() < 19) {
        return Some(KdlValue::Integer(number));
    }
    KdlEntry::parse(written).ok().map(|it| it.value().clone())
}

fn name_of(written: &str) -> Option<KdlIdentifier> {
    if !is_bare(written) {
        return KdlIdentifier::parse(written).ok();
    }
    let mut name = KdlIdentifier::from(written);
    name.set_repr(written);
    Some(name)
}

/// Whether a word is one in KDL as well, beyond doubt.
fn is_bare(word: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_keyword = matches!(word, "true" | "false" | "null" | "inf" | "nan");
    word.starts_with(|letter: char| letter.is_ascii_lowercase())
        && word.bytes().all(is_plain)
        && !is_keyword
}

struct Annotation {
    name: KdlIdentifier,
    /// The blanks around the name.
    before: String,
    after: String,
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
