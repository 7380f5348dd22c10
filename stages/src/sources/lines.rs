//! How bytes of a file or of standard input become messages.

use crate::contract::{Brings, Message, TextBody};
use crate::decode::{self, LineDecoder};
use kernel::choice;
use kernel::choice::Choice;
use kernel::decode::UTF8_MARK;
use language::expr::ValueType;
use language::{Arg, Context, Fields, NodeRow, Scalar, ValueKind};
use serde_json::Value;
use std::sync::Arc;

/// A longer line, or file that is one message, is cut here, and so refused by validation.
pub(super) const MESSAGE_MAX: usize = 1 << 20;
/// Most messages handed on at once.
pub(super) const BATCH_MAX: usize = 512;

/// The child `decode`.
pub(super) const DECODE: NodeRow = NodeRow::new(
    "decode",
    "what becomes one event (a line or the whole input), and how it is decoded",
)
.examples(&[
    "decode json",
    r##"decode regex #"^(?<client>[^ ]+) (?<status>[0-9]+)$"# { number status }"##,
    r#"decode csv { columns at user database; header; time at "yyyy-MM-dd HH:mm:ss" }"#,
    "decode logfmt { number duration; time ts; on-mismatch tag }",
    "decode syslog",
])
.args(&[
    Arg::one("codec", ValueKind::Word(Codec::WORDS)),
    Arg::optional("pattern", ValueKind::Literal),
])
.children(&[decode::FIELDS])
.default("ndjson");

/// The child `decode` of a source whose messages are JSON unless it is written.
pub(super) const DECODE_TEXT: NodeRow = NodeRow::new(
    "decode",
    "the body is text, of any type: each line is an event, or with `raw` the whole body, and what \
     is in it; a single event is answered as one",
)
.examples(&[
    "decode raw",
    r##"decode regex #"^(?<zone>[0-9]+) (?<state>open|closed)$"# { number zone }"##,
    "decode csv { columns at meter kwh; number kwh }",
])
.args(&[
    Arg::one("codec", ValueKind::Word(Codec::TEXT_WORDS)),
    Arg::optional("pattern", ValueKind::Literal),
])
.children(&[decode::FIELDS])
.otherwise("bodies are what `accept` says");

choice! {
    /// What one message is.
    pub(crate) enum Codec {
        /// A line of JSON.
        Ndjson = "ndjson",
        /// All of it, one JSON value.
        Json = "json",
        /// A line of text.
        Text = "text",
        /// All of it, as text.
        Raw = "raw",
        /// A line of values that commas separate.
        Csv = "csv",
        /// A line of `key=value` pairs.
        Logfmt = "logfmt",
        /// A line with named groups.
        Regex = "regex",
        /// A line of syslog.
        Syslog = "syslog",
    }
}

/// What `decode` says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decoding {
    pub(super) codec: Codec,
    /// Whether the first line of each file is not a message.
    pub(super) has_header: bool,
    pub(crate) decoder: Option<Arc<LineDecoder>>,
}

impl Decoding {
    /// Reads it from the block of a source; `None` when something is wrong with it.
    pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Decoding> {
        let codec = fields.setting("decode").arg(0, Scalar::choice);
        match fields.child("decode") {
            Some(decode) => Decoding::read_node(codec, &decode, context),
            None => Some(Decoding { codec, has_header: false, decoder: None }),
        }
    }

    /// Reads the node itself.
    pub(super) fn read_node(
        codec: Codec,
        decode: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Decoding> {
        let before = context.diagnostics.found().len();
        let decoder = decode::read(codec, decode, context).map(Arc::new);
        let has_header = decode.is_on("header");
        let is_right = context.diagnostics.found().len() == before;
        is_right.then_some(Decoding { codec, has_header, decoder })
    }

    /// How a text falls into its messages.
    pub(super) fn body(&self) -> TextBody {
        match self.codec.is_by_line() {
            true => TextBody::Lines { has_header: self.has_header },
            false => TextBody::Whole,
        }
    }

    /// The messages in a text.
    pub(super) fn messages<'a>(&self, text: &'a str) -> Vec<&'a str> {
        self.body().messages(text).collect()
    }

    /// What its messages are known to be.
    pub(super) fn brings(&self) -> Brings {
        let text = || matches!(self.codec, Codec::Text | Codec::Raw).then(ValueType::text);
        let message = self.decoder.as_ref().map(|decoder| decoder.shape()).or_else(text);
        Brings {
            has_time: self.decoder.as_ref().is_some_and(|decoder| decoder.has_time()),
            has_file: true,
            ..Brings::message(message.unwrap_or_else(ValueType::any))
        }
    }
}

impl Codec {
    /// Those whose messages are text.
    const TEXT_WORDS: &[&str] = &["text", "raw", "csv", "logfmt", "regex", "syslog"];

    /// Whether each line is a message.
    pub(super) fn is_by_line(self) -> bool {
        !matches!(self, Codec::Json | Codec::Raw)
    }

    /// Whether a message is text, and not JSON.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Codec::Ndjson | Codec::Json)
    }

    /// Whether it knows fields in a line.
    pub(crate) fn has_fields(self) -> bool {
        matches!(self, Codec::Csv | Codec::Logfmt | Codec::Regex | Codec::Syslog)
    }

    /// The message in `bytes`, without its line end; `None` for a blank line. What was cut stays
    /// without a decoded form: half a text must not pass for a whole one.
    pub(super) fn message(self, bytes: &[u8], is_cut: bool) -> Option<Message> {
        let bytes = match self.is_by_line() {
            true => bytes.strip_suffix(b"\r").unwrap_or(bytes),
            false => bytes,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let decoded = (self.is_text() && !is_cut)
            .then(|| Value::String(String::from_utf8_lossy(bytes).into_owned()));
        Some(Message { body: bytes.to_vec(), decoded, ..Message::default() })
    }
}

/// Whether text that begins so has two bytes a letter.
pub(super) fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff")
}

/// Puts lines together from pieces, with bounded memory.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    line: Vec<u8>,
    /// Bytes of the line, also those that were cut off.
    length: u64,
    /// Where the line begins.
    start: u64,
    /// Lines before it.
    number: u64,
}

/// A line, or a whole message, as it was put together.
pub(super) struct SplitLine<'a> {
    pub(super) text: &'a [u8],
    pub(super) is_cut: bool,
    /// Counted from 1.
    pub(super) number: u64,
    /// Its first byte, counted from 0.
    pub(super) offset: u64,
}

impl LineSplitter {
    /// Takes one piece and gives each line that it completes.
    pub(super) fn push(&mut self, piece: &[u8], mut take: impl FnMut(SplitLine<'_>)) {
        for part in piece.split_inclusive(|piece| *piece == b'\n') {
            let text = part.strip_suffix(b"\n");
            self.push_whole(text.unwrap_or(part));
            if text.is_some() {
                self.finish(&mut take);
                self.start += 1;
            }
        }
    }

    /// Takes one piece of a message that has no lines.
    pub(super) fn push_whole(&mut self, piece: &[u8]) {
        let room = MESSAGE_MAX.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.length += piece.len() as u64;
    }

    /// Gives what has no line end, if there is anything.
    pub(super) fn finish(&mut self, mut take: impl FnMut(SplitLine<'_>)) {
        self.number += 1;
        let mark = match self.start == 0 && self.line.starts_with(UTF8_MARK) {
            true => UTF8_MARK.len(),
            false => 0,
        };
        take(SplitLine {
            text: &self.line[mark..],
            is_cut: (self.line.len() as u64) < self.length,
            number: self.number,
            offset: self.start + mark as u64,
        });
        self.start += self.length;
        self.line.clear();
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_pieces_and_a_long_one_is_cut() {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        let long = vec![b'x'; MESSAGE_MAX];
        for piece in [b"a\nb".as_slice(), b"c\n", &long, &long, b"\nd\n"] {
            splitter.push(piece, |splitter| {
                lines.push((splitter.number, splitter.offset, splitter.text.len(), splitter.is_cut))
            });
        }
        let after = 6 + 2 * MESSAGE_MAX as u64;
        let long = (3, 5, MESSAGE_MAX, true);
        assert_eq!(lines, [(1, 0, 1, false), (2, 2, 2, false), long, (4, after, 1, false)]);
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_part_of_the_text() {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for piece in [b"\xef".as_slice(), b"\xbb\xbfa\n", b"\xef\xbb\xbfb\n"] {
            splitter.push(piece, |splitter| lines.push((splitter.offset, splitter.text.to_vec())));
        }
        assert_eq!(lines, [(3, b"a".to_vec()), (5, b"\xef\xbb\xbfb".to_vec())]);
    }

    #[test]
    fn the_codecs_of_text_are_listed() {
        let texts = Codec::ALL.iter().filter(|codec| codec.is_text());
        assert_eq!(texts.map(|codec| codec.word()).collect::<Vec<_>>(), Codec::TEXT_WORDS);
    }

    #[test]
    fn a_cut_text_has_no_decoded_form() {
        let message = Codec::Text.message(b"hi\r", false).unwrap();
        assert_eq!(message.decoded, Some(Value::from("hi")));
        assert_eq!(Codec::Text.message(b"hi", true).unwrap().decoded, None);
        assert!(Codec::Ndjson.message(b" \r", false).is_none());
    }
}
