//! A copy of a text in which what was reported is replaced byte for byte, so that the parser
//! finds what else is wrong, at unchanged places.

use language::diagnostic::Edit;
use std::ops::Range;

pub(super) struct Mended {
    bytes: Vec<u8>,
    length: usize,
    is_lost: bool,
    /// Where the one block that is open should end.
    end: Option<usize>,
    /// What was surely meant, each with the node's line that it puts right.
    meant: Vec<(Range<usize>, Vec<Edit>)>,
    /// Where a mistake stands of which nobody knows what was meant.
    unclear: Vec<Range<usize>>,
}

impl Mended {
    pub(super) fn new(text: &str) -> Self {
        Mended {
            bytes: text.as_bytes().to_vec(),
            length: text.len(),
            is_lost: false,
            end: None,
            meant: Vec::new(),
            unclear: Vec::new(),
        }
    }

    /// Says what the line is taken for.
    pub(super) fn means(&mut self, line: Range<usize>, edits: Vec<Edit>) {
        self.meant.push((line, edits));
    }

    /// Says that what stands there was reported and is not understood.
    pub(super) fn is_unclear(&mut self, span: Range<usize>) {
        self.unclear.push(span);
    }

    /// The text as it was meant, as far as that is known; the rest is mended.
    pub(super) fn into_meant(self, text: &str) -> Option<Meant> {
        let mut bytes = self.bytes;
        let mut edits = Vec::new();
        if let Some(at) = self.end {
            bytes.truncate(self.length);
            edits.push(Edit { span: at..at, text: "}\n".to_owned() });
        }
        for (line, of_line) in self.meant {
            bytes[line.clone()].copy_from_slice(text.as_bytes().get(line)?);
            edits.extend(of_line);
        }
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        let is_apart = edits.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start);
        for edit in edits.iter().rev().filter(|_| is_apart) {
            bytes.splice(edit.span.clone(), edit.text.bytes());
        }
        let text = String::from_utf8(bytes).ok().filter(|_| is_apart && !self.is_lost)?;
        Some(Meant { text, edits, unclear: self.unclear })
    }

    /// Puts a harmless word there.
    pub(super) fn word(&mut self, span: Range<usize>) {
        self.bytes[span].fill(b'x');
    }

    /// Puts blanks there.
    pub(super) fn blank(&mut self, span: Range<usize>) {
        self.bytes[span].fill(b' ');
    }

    /// Puts blanks there and leaves line ends and braces as they are.
    pub(super) fn hollow(&mut self, span: Range<usize>) {
        for it in &mut self.bytes[span] {
            if !matches!(it, b'\n' | b'\r' | b'{' | b'}') {
                *it = b' ';
            }
        }
    }

    /// Ends a node at a blank.
    pub(super) fn end_node(&mut self, at: usize) {
        self.bytes[at] = b';';
    }

    /// Says that no mending makes sense of the rest.
    pub(super) fn give_up(&mut self) {
        self.is_lost = true;
    }

    /// Closes so many blocks at the end.
    pub(super) fn close(&mut self, blocks: usize) {
        self.bytes.push(b'\n');
        self.bytes.extend(std::iter::repeat_n(b'}', blocks));
    }

    /// Says that the one open block ends before this byte, and not at the end.
    pub(super) fn close_at(&mut self, at: usize) {
        self.end = Some(at);
    }

    /// The text; where a replacement has cut a character, nothing is to be learned from it.
    pub(super) fn text(&self) -> Option<&str> {
        if self.is_lost { None } else { std::str::from_utf8(&self.bytes).ok() }
    }

    pub(super) fn clip(&self, span: Range<usize>) -> Range<usize> {
        span.start.min(self.length)..span.end.min(self.length)
    }
}

/// A text that is no KDL, as it was meant.
#[derive(Debug, Clone)]
pub struct Meant {
    /// The text that is read instead.
    pub(crate) text: String,
    /// How it came from what is written, in order and apart.
    edits: Vec<Edit>,
    /// What is written there is not understood, so nothing is said of it.
    unclear: Vec<Range<usize>>,
}

impl Meant {
    /// The place in the text as it is written. A place inside an edit is the same words there,
    /// or all that the edit replaced.
    pub(crate) fn written(&self, span: &Range<usize>, written: &str) -> Range<usize> {
        let mut moved = 0_isize;
        for edit in &self.edits {
            let start = edit.span.start.saturating_add_signed(moved);
            let end = start + edit.text.len();
            if span.end <= start {
                break;
            }
            if span.start < end {
                return self.inside(edit, span, written);
            }
            let (new, old) = (edit.text.len(), edit.span.len());
            moved = moved.saturating_add_unsigned(new).saturating_sub_unsigned(old);
        }
        let back = |at: usize| at.saturating_add_signed(-moved).min(written.len());
        back(span.start)..back(span.end)
    }

    fn inside(&self, edit: &Edit, span: &Range<usize>, written: &str) -> Range<usize> {
        let words = self.text.get(span.clone()).filter(|it| !it.is_empty());
        let old = written.get(edit.span.clone()).unwrap_or_default();
        match words.and_then(|words| old.find(words).map(|at| (at, words.len()))) {
            Some((at, length)) => edit.span.start + at..edit.span.start + at + length,
            None => edit.span.clone(),
        }
    }

    /// Whether a place as it is written belongs to something that is not understood.
    pub(crate) fn is_unclear(&self, span: &Range<usize>) -> bool {
        self.unclear.iter().any(|it| it.start <= span.end && span.start <= it.end)
    }

    /// Whether a place as it is written was put right.
    pub(crate) fn is_edited(&self, span: &Range<usize>) -> bool {
        self.edits.iter().any(|edit| edit.span.start < span.end && span.start < edit.span.end)
    }

    /// Whether everything is understood.
    pub(crate) fn is_whole(&self) -> bool {
        self.unclear.is_empty()
    }

    /// The text as it is written, with what `shown` masks of the other one masked.
    pub(crate) fn masked(&self, shown: &str, written: &str) -> String {
        let (mut masked, mut at, mut from) = (String::new(), 0, 0);
        for edit in &self.edits {
            let length = edit.span.start - from;
            masked.push_str(shown.get(at..at + length).unwrap_or_default());
            at += length;
            let old = written.get(edit.span.clone()).unwrap_or_default();
            let is_same = shown.get(at..at + edit.text.len()) == Some(&edit.text);
            let star = |letter: char| {
                if letter == '\n' { '\n'.to_string() } else { "*".repeat(letter.len_utf8()) }
            };
            match is_same {
                true => masked.push_str(old),
                false => masked.extend(old.chars().map(star)),
            }
            (at, from) = (at + edit.text.len(), edit.span.end);
        }
        let rest = written.len() - from;
        masked.push_str(shown.get(at..at + rest).unwrap_or_default());
        masked
    }
}
