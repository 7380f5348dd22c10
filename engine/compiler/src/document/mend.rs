//! A copy of a text in which what was reported is replaced byte for byte, so that the parser
//! finds what else is wrong, at unchanged places.

use std::ops::Range;

pub(super) struct Mended {
    bytes: Vec<u8>,
    length: usize,
    is_lost: bool,
}

impl Mended {
    pub(super) fn new(text: &str) -> Self {
        Mended { bytes: text.as_bytes().to_vec(), length: text.len(), is_lost: false }
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

    /// Says that no mending makes sense of the rest.
    pub(super) fn give_up(&mut self) {
        self.is_lost = true;
    }

    /// Closes so many blocks at the end.
    pub(super) fn close(&mut self, blocks: usize) {
        self.bytes.push(b'\n');
        self.bytes.extend(std::iter::repeat_n(b'}', blocks));
    }

    /// The text; where a replacement has cut a character, nothing is to be learned from it.
    pub(super) fn text(&self) -> Option<&str> {
        if self.is_lost { None } else { std::str::from_utf8(&self.bytes).ok() }
    }

    pub(super) fn clip(&self, span: Range<usize>) -> Range<usize> {
        span.start.min(self.length)..span.end.min(self.length)
    }
}
