//! Where the parts of an entry stand: `kdl` knows entries and names, the rest follows from the
//! text that it kept.

use kdl::{KdlEntry, KdlIdentifier, KdlValue};

use crate::spanned::Span;

/// Where a name stands.
pub(super) fn name_span(name: &KdlIdentifier) -> Span {
    range(name.span())
}

/// Where the whole entry stands: `name=value`.
pub(super) fn entry_span(entry: &KdlEntry) -> Span {
    range(entry.span())
}

/// Where the value of an entry stands: behind the `=` of a property, its annotation included
/// (who replaces the value replaces both).
pub(super) fn value_span(entry: &KdlEntry) -> Span {
    let bare = bare_span(entry);
    let before = entry.format().map_or(0, |it| it.before_ty_name.len());
    let start = entry.ty().map(|ty| name_span(ty).start.saturating_sub(before + 1));
    start.filter(|it| entry_span(entry).start <= *it && *it <= bare.start).unwrap_or(bare.start)
        ..bare.end
}

/// Where the annotation of an entry stands, parentheses included.
pub(super) fn annotation_span(entry: &KdlEntry) -> Span {
    let whole = value_span(entry);
    let after = entry.format().map_or(0, |it| it.after_ty.len());
    whole.start..bare_span(entry).start.saturating_sub(after).max(whole.start)
}

/// Where the value alone stands, without its annotation, its quotes included.
fn bare_span(entry: &KdlEntry) -> Span {
    let whole = entry_span(entry);
    let length = entry.format().map_or(whole.len(), |it| it.value_repr.len());
    whole.end.saturating_sub(length).max(whole.start)..whole.end
}

/// Where a part of a text value stands in the file, given its bytes in the value.
///
/// Exact inside quoted, raw, bare and multi-line strings; where the file's text and the value
/// cannot be laid side by side, the span of the whole value.
pub fn value_text_span(entry: &KdlEntry, part: Span) -> Span {
    let bare = bare_span(entry);
    let exact = || {
        let value = entry.value().as_string()?;
        let offsets = offsets(&entry.format()?.value_repr, value)?;
        let start = *offsets.get(part.start.min(value.len()))?;
        let end = match part.end.min(value.len()) {
            end if end <= part.start => start,
            end => *offsets.get(end - 1)? + last_width(value, end),
        };
        (bare.start + end <= bare.end).then(|| bare.start + start..bare.start + end)
    };
    exact().unwrap_or_else(|| value_span(entry))
}

/// How a value is written in the file, quotes and all.
pub(super) fn written(entry: &KdlEntry) -> String {
    entry.format().map_or_else(|| entry.value().to_string(), |it| it.value_repr.clone())
}

/// Whether a text value is written as a bare word.
pub(super) fn is_bare(entry: &KdlEntry) -> bool {
    matches!(entry.value(), KdlValue::String(_)) && !written(entry).ends_with(['"', '#'])
}

fn range(span: miette::SourceSpan) -> Span {
    span.offset()..span.offset() + span.len()
}

fn last_width(value: &str, end: usize) -> usize {
    let continues = value.as_bytes().get(end).is_some_and(|bytes| bytes & 0xC0 == 0x80);
    if continues { 0 } else { 1 }
}

/// For every byte of the value and its end, where it stands in the written form.
fn offsets(written: &str, value: &str) -> Option<Vec<usize>> {
    let hashes = written.len() - written.trim_start_matches('#').len();
    let inner = written.get(hashes..written.len().checked_sub(hashes)?)?;
    let mut walk = OffsetMap { written, offsets: Vec::new(), text: String::new(), raw: 0 < hashes };
    if let Some(body) = inner.strip_prefix("\"\"\"").filter(|it| 3 <= it.len()) {
        walk.lines(hashes + 3, body.strip_suffix("\"\"\"")?)?;
    } else if inner.starts_with('"') && 2 <= inner.len() {
        walk.line(hashes + 1, hashes + inner.len() - 1)?;
    } else {
        walk.raw = true;
        walk.line(0, written.len())?;
    }
    (walk.text == value).then_some(walk.offsets)
}

struct OffsetMap<'a> {
    written: &'a str,
    offsets: Vec<usize>,
    text: String,
    raw: bool,
}

impl OffsetMap<'_> {
    fn lines(&mut self, start: usize, body: &str) -> Option<()> {
        let body_end = body.rfind('\n')?;
        let indent = &body[body_end + 1..];
        let mut at = start + body.find('\n')? + 1;
        let end = start + body_end;
        let mut is_first = true;
        while at <= end {
            let line_end = self.written[at..end].find('\n').map_or(end, |it| at + it);
            if !is_first {
                self.push('\n', at - 1);
            }
            is_first = false;
            let line = self.written.get(at..line_end)?;
            if !line.trim().is_empty() {
                line.strip_prefix(indent)?;
                self.line(at + indent.len(), line_end)?;
                self.offsets.pop();
            }
            at = line_end + 1;
        }
        self.offsets.push(end);
        Some(())
    }

    fn line(&mut self, start: usize, end: usize) -> Option<()> {
        let written = self.written.get(start..end)?;
        let mut chars = written.char_indices().peekable();
        while let Some((at, it)) = chars.next() {
            if self.raw || it != '\\' {
                self.push(it, start + at);
                continue;
            }
            match chars.next()?.1 {
                'u' => {
                    let digits = written.get(at + 3..)?;
                    let digits = &digits[..digits.find('}')?];
                    let code = u32::from_str_radix(digits, 16).ok()?;
                    self.push(char::from_u32(code)?, start + at);
                    while chars.next_if(|(_, it)| *it != '}').is_some() {}
                    chars.next();
                }
                it if it.is_whitespace() => {
                    while chars.next_if(|(_, it)| it.is_whitespace()).is_some() {}
                }
                it => self.push(escaped(it)?, start + at),
            }
        }
        self.offsets.push(end);
        Some(())
    }

    fn push(&mut self, it: char, at: usize) {
        self.text.push(it);
        let width = self.written[at..].chars().next().map_or(0, char::len_utf8);
        // The bytes of one character stand one behind the other only where it stands for itself.
        let literal = self.written[at..].starts_with(it) && width == it.len_utf8();
        self.offsets.extend((0..it.len_utf8()).map(|byte| if literal { at + byte } else { at }));
    }
}

fn escaped(it: char) -> Option<char> {
    Some(match it {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        's' => ' ',
        'b' => '\u{8}',
        'f' => '\u{c}',
        '\\' | '"' => it,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(document: &kdl::KdlDocument) -> &KdlEntry {
        &document.nodes()[0].entries()[0]
    }

    #[track_caller]
    fn value(text: &str, expected: &str) {
        let document = kdl::KdlDocument::parse_v2(text).expect("a document");
        assert_eq!(&text[value_span(entry(&document))], expected);
    }

    #[test]
    fn a_value_stands_behind_the_equals_sign_with_its_annotation() {
        value("node  \"x\"  ", "\"x\"");
        value("ä k = word; b", "word");
        value("node k=(env)\"X\" other=1", "(env)\"X\"");
        value("node k= ( env ) \"X\"", "( env ) \"X\"");
        value("node (ms)250 {\n}", "(ms)250");
        value("node #\"raw\"#", "#\"raw\"#");
    }

    #[track_caller]
    fn part(text: &str, wanted: &str) {
        let document = kdl::KdlDocument::parse_v2(text).expect("a document");
        let value = entry(&document).value().as_string().expect("a text");
        let at = value.find(wanted).expect("the part");
        let span = value_text_span(entry(&document), at..at + wanted.len());
        assert_eq!(&text[span], wanted);
    }

    #[test]
    fn a_part_of_a_text_is_found_at_its_exact_bytes() {
        part("when \"data.x == 'y'\"", "'y'");
        part("n when=\"äöü data.x\" other=1", "data.x");
        part(r#"when "a \"b\" \u{e4} \n data.x""#, "data.x");
        part("when #\"a \\d data.x\"#", "data.x");
        part("when word.data", "data");
        part("n \"\"\"\n    one\n      two\n\n    {{ x }}\n    \"\"\"", "{{ x }}");
        part("n #\"\"\"\n  one \\d\n  two\n  \"\"\"#", "two");
    }

    #[test]
    fn an_escape_is_one_place() {
        let text = r#"when "a\nb""#;
        let document = kdl::KdlDocument::parse_v2(text).expect("a document");
        assert_eq!(value_text_span(entry(&document), 2..3), 9..10);
        assert_eq!(value_text_span(entry(&document), 1..2).start, 7);
        assert_eq!(value_text_span(entry(&document), 3..3), 10..10);
        assert_eq!(value_text_span(entry(&document), 9..12), 10..10);
    }
}
