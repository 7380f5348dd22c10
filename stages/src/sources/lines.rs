//! How bytes of a file or of standard input become messages.

use crate::contract::Message;
use crate::language::{Arg, Fields, Node, Type};
use serde_json::Value;
use std::sync::Arc;

/// A longer line, or file that is one message, is cut here, and so refused by validation.
pub(super) const MESSAGE_MAX: usize = 1 << 20;
/// Most messages handed on at once.
pub(super) const BATCH_MAX: usize = 512;

/// The child `decode`.
pub(super) const DECODE: Node = Node::new("decode", "what an event is: a line or all of it")
    .args(&[Arg::one("codec", Type::Word(&["ndjson", "json", "text", "raw"]))])
    .default("ndjson");

/// What one message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// A line of JSON.
    Ndjson,
    /// All of it, one JSON value.
    Json,
    /// A line of text.
    Text,
    /// All of it, as text.
    Raw,
}

impl Codec {
    pub(super) fn read(fields: &Fields<'_>) -> Option<Codec> {
        let Some(node) = fields.child("decode") else { return Some(Codec::Ndjson) };
        match node.arg(0)?.text()?.value.as_str() {
            "ndjson" => Some(Codec::Ndjson),
            "json" => Some(Codec::Json),
            "text" => Some(Codec::Text),
            "raw" => Some(Codec::Raw),
            _ => None,
        }
    }

    /// Whether each line is a message.
    pub(super) fn is_by_line(self) -> bool {
        matches!(self, Codec::Ndjson | Codec::Text)
    }

    /// The message in `bytes`, without its line end; `None` for a blank line. What was cut stays
    /// without a decoded form: half a text must not pass for a whole one.
    pub(super) fn message(
        self,
        bytes: &[u8],
        is_cut: bool,
        kind: Option<&Arc<str>>,
    ) -> Option<Message> {
        let bytes = match self.is_by_line() {
            true => bytes.strip_suffix(b"\r").unwrap_or(bytes),
            false => bytes,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let decoded = (matches!(self, Codec::Text | Codec::Raw) && !is_cut)
            .then(|| Value::String(String::from_utf8_lossy(bytes).into_owned()));
        Some(Message { body: bytes.to_vec(), kind: kind.cloned(), decoded })
    }
}

/// Puts lines together from pieces, with bounded memory.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    line: Vec<u8>,
    is_cut: bool,
}

impl Splitter {
    /// Takes one piece and gives each line that it completes, and whether the line was cut.
    pub(super) fn push(&mut self, piece: &[u8], mut take: impl FnMut(&[u8], bool)) {
        for part in piece.split_inclusive(|it| *it == b'\n') {
            let (text, is_whole) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = MESSAGE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.is_cut |= room < text.len();
            if is_whole {
                self.finish(&mut take);
            }
        }
    }

    /// Takes one piece of a message that has no lines.
    pub(super) fn push_whole(&mut self, piece: &[u8]) {
        let room = MESSAGE_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.is_cut |= room < piece.len();
    }

    /// Gives what stands without a line end, if anything does.
    pub(super) fn finish(&mut self, mut take: impl FnMut(&[u8], bool)) {
        take(&self.line, self.is_cut);
        self.line.clear();
        self.is_cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_pieces_and_a_long_one_is_cut() {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        let long = vec![b'x'; MESSAGE_MAX];
        for piece in [b"a\nb".as_slice(), b"c\n", &long, &long, b"\nd\n"] {
            splitter.push(piece, |line, is_cut| lines.push((line.len(), is_cut)));
        }
        assert_eq!(lines, [(1, false), (2, false), (MESSAGE_MAX, true), (1, false)]);
    }

    #[test]
    fn a_cut_text_has_no_decoded_form() {
        let message = Codec::Text.message(b"hi\r", false, None).unwrap();
        assert_eq!(message.decoded, Some(Value::from("hi")));
        assert_eq!(Codec::Text.message(b"hi", true, None).unwrap().decoded, None);
        assert!(Codec::Ndjson.message(b" \r", false, None).is_none());
    }
}
