//! Reads on in one file: complete lines, each with its place, in batches.
//!
//! *Invariant:* nothing is read without comparing what is before it with what was read there, in
//! the same call. *Invariant:* a batch ends where its last line ends.

use super::encoding::{is_compressed, mark_length};
use super::grouping::LineGrouping;
use super::identity::bytes_at;
use super::place::{FilePlace, HEAD_MAX, HeadMark, TailMark};
use crate::contract::{Message, MessageOrigin};
use crate::sources::lines::{BATCH_MAX, Codec, Decoding, MESSAGE_MAX, is_utf16};
use siphasher::sip::SipHasher13;
use std::fs::File;
use std::hash::Hasher as _;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes read at once: one more than the longest line.
const CHUNK: usize = MESSAGE_MAX + 1;
const BLOCK: usize = 64 << 10;

/// How the files of a source are read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadSettings {
    pub(super) codec: Codec,
    /// Whether the first line of each file is not a message.
    pub(super) has_header: bool,
    /// Which lines belong together; each is a message where it is `None`.
    pub(super) grouping: Option<LineGrouping>,
}

impl ReadSettings {
    pub(super) fn of(decoding: &Decoding, grouping: Option<LineGrouping>) -> ReadSettings {
        ReadSettings { codec: decoding.codec, has_header: decoding.has_header, grouping }
    }
}

/// What the end of a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileEnd {
    /// Nothing: more may come.
    Open,
    /// The lines that belong together: nothing was written for a while.
    Quiet,
    /// Its last line too: nobody will complete it.
    Final,
}

/// What was found while nothing could be handed on, so that it is not looked for again.
#[derive(Debug, Default)]
pub(super) struct ScanState {
    /// There is no line end, or nothing but zeros, before this.
    from: u64,
}

/// Some messages of one file, and the place after them.
#[derive(Debug)]
pub(super) struct LineBatch {
    pub(super) messages: Vec<Message>,
    pub(super) place: FilePlace,
}

/// What reading on gave.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// Messages. `is_end`: there are no more complete ones for now. `is_open`: there are whole lines
    /// to which others may belong that are still to come.
    Lines { batches: Vec<LineBatch>, is_end: bool, is_open: bool },
    /// Zeros where a line should begin, and what is after them.
    Hole { after: FilePlace, length: u64 },
    /// It holds something else than what was read.
    Replaced,
    /// It is compressed.
    Compressed,
}

/// One call of reading on.
pub(super) struct LineReader<'a> {
    pub(super) file: &'a File,
    pub(super) place: &'a FilePlace,
    pub(super) scan: &'a mut ScanState,
    pub(super) settings: &'a ReadSettings,
    /// The file as it is named to people.
    pub(super) shown: &'a Arc<str>,
    pub(super) end: FileEnd,
}

/// What was read at once: some bytes before the place, and those after it.
struct ReadChunk {
    bytes: Vec<u8>,
    /// Bytes before the place.
    before: usize,
    is_utf16: bool,
    /// The whole file up to its end is in it.
    is_end: bool,
}

/// The complete lines of a chunk, each with its line end.
struct WholeLines {
    lines: Vec<Range<usize>>,
    /// There are no more in the file for now.
    are_all: bool,
    /// There are zeros where the next one should begin.
    is_hole: bool,
}

impl LineReader<'_> {
    /// Reads on.
    pub(super) fn read(mut self) -> io::Result<ReadOutcome> {
        let Some(chunk) = self.chunk()? else { return Ok(ReadOutcome::Replaced) };
        let bytes = &chunk.bytes[chunk.before..];
        if self.place.offset == 0 && is_compressed(bytes) {
            return Ok(ReadOutcome::Compressed);
        }
        if bytes.first() == Some(&0) && !chunk.is_utf16 {
            return self.hole();
        }
        let mark = match self.place.offset {
            0 => mark_length(bytes, self.end == FileEnd::Final),
            _ => Some(0),
        };
        let Some(mark) = mark else { return Ok(nothing()) };
        match self.lines(&chunk, mark) {
            ReadOutcome::Lines { batches, is_end: false, .. } if batches.is_empty() => {
                self.too_long(&chunk)
            }
            outcome => Ok(outcome),
        }
    }

    /// The bytes around the place; `None` when those before it are not what was read.
    fn chunk(&self) -> io::Result<Option<ReadChunk>> {
        let (place, before) = (self.place, self.place.tail.length);
        let bytes = bytes_at(self.file, place.offset - before as u64, before + CHUNK)?;
        // The head is read last: what was truncated in between shows there.
        let head = bytes_at(self.file, 0, place.head.length.max(2))?;
        let is_known = before <= bytes.len()
            && TailMark::hash_of(&bytes[..before]) == place.tail.hash
            && place.head.length <= head.len()
            && place.is_head(&head[..place.head.length])
            && place.offset <= self.file.metadata()?.len();
        let is_end = bytes.len() < before + CHUNK;
        let is_utf16 = is_utf16(&head);
        Ok(is_known.then_some(ReadChunk { bytes, before, is_utf16, is_end }))
    }

    /// The messages of a chunk, as [`ReadOutcome::Lines`].
    fn lines(&self, chunk: &ReadChunk, mark: usize) -> ReadOutcome {
        let (mut batches, mut messages) = (Vec::new(), Vec::new());
        let mut place = PlaceBuilder::new(self.place, chunk, mark);
        let found = self.whole_lines(chunk, mark);
        let (mut count, mut lines) = (0, &found.lines[..]);
        while let Some(length) = self.group_length(chunk, lines, &found, &place) {
            let (group, rest) = lines.split_at(length);
            let text = &chunk.bytes[group[0].start..group[length - 1].end];
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            messages.extend(self.message(text, chunk.is_utf16, false, &place));
            group.iter().for_each(|it| place.pass(&chunk.bytes[it.clone()]));
            (count, lines) = (count + 1, rest);
            if count % BATCH_MAX == 0 {
                batches.push(LineBatch {
                    messages: std::mem::take(&mut messages),
                    place: place.place(),
                });
            }
        }
        if count % BATCH_MAX != 0 {
            batches.push(LineBatch { messages, place: place.place() });
        }
        let is_open = found.are_all && !lines.is_empty();
        ReadOutcome::Lines { batches, is_end: chunk.is_end && !found.is_hole || is_open, is_open }
    }

    /// The lines of a chunk that are complete.
    fn whole_lines(&self, chunk: &ReadChunk, mark: usize) -> WholeLines {
        let mut at = chunk.before + mark;
        let mut found = WholeLines { lines: Vec::new(), are_all: chunk.is_end, is_hole: false };
        for part in chunk.bytes[at..].split_inclusive(|it| *it == b'\n') {
            if part[0] == 0 && !chunk.is_utf16 {
                (found.are_all, found.is_hole) = (true, true);
                break;
            }
            let is_final = chunk.is_end && self.end == FileEnd::Final;
            if !part.ends_with(b"\n") && !is_final {
                break;
            }
            found.lines.push(at..at + part.len());
            at += part.len();
        }
        found
    }

    /// How many of these lines are the next message; `None` when it is not complete yet.
    fn group_length(
        &self,
        chunk: &ReadChunk,
        lines: &[Range<usize>],
        found: &WholeLines,
        at: &PlaceBuilder<'_>,
    ) -> Option<usize> {
        let grouping = self.settings.grouping.as_ref();
        let is_header = self.settings.has_header && at.line == Some(0);
        let Some(grouping) = grouping.filter(|_| !is_header) else {
            return (!lines.is_empty()).then_some(1);
        };
        let texts = lines.iter().map(|line| &chunk.bytes[line.clone()]);
        let next = texts.enumerate().skip(1).find(|(index, line)| grouping.begins(line, *index));
        // What is larger than a chunk ends with the chunk.
        let is_over = match found.are_all {
            true => self.end != FileEnd::Open,
            false => at.offset == self.place.offset,
        };
        let rest = (is_over && !lines.is_empty()).then_some(lines.len());
        next.map(|(index, _)| index).or(rest)
    }

    fn message(
        &self,
        text: &[u8],
        is_utf16: bool,
        is_cut: bool,
        at: &PlaceBuilder<'_>,
    ) -> Option<Message> {
        if is_utf16 && text.iter().all(|it| *it == 0 || it.is_ascii_whitespace()) {
            return None;
        }
        if self.settings.has_header && at.line == Some(0) {
            return None;
        }
        // Half of the letters must not pass for a text.
        let is_undecodable = is_cut || is_utf16;
        let mut message = self.settings.codec.message(text, is_undecodable)?;
        message.origin = Some(MessageOrigin {
            name: self.shown.clone(),
            line: at.line.map(|line| line + 1),
            offset: at.offset,
        });
        Some(message)
    }

    /// The line is longer than any may be: its beginning goes on, to be refused.
    fn too_long(&mut self, chunk: &ReadChunk) -> io::Result<ReadOutcome> {
        let from = self.scan.from.max(self.place.offset + MESSAGE_MAX as u64);
        let size = self.file.metadata()?.len();
        let is_line_end = |byte: u8| byte == b'\n';
        let end = match self.find(from, is_line_end)? {
            Some(at) => at + 1,
            None if self.end == FileEnd::Final => size,
            None => return Ok(nothing()),
        };
        let mut at = PlaceBuilder::new(self.place, chunk, 0);
        let text = &chunk.bytes[chunk.before..chunk.before + MESSAGE_MAX];
        let messages = self.message(text, chunk.is_utf16, true, &at).into_iter().collect();
        at.line = at.line.map(|line| line + 1);
        let mut place = FilePlace::taken(self.file, end, at.line)?;
        place.repeats = self.place.repeats;
        let batches = vec![LineBatch { messages, place }];
        Ok(ReadOutcome::Lines { batches, is_end: false, is_open: false })
    }

    /// Zeros where a line should begin: a writer went on at its own place after the file was
    /// truncated, or a machine died before the data reached the disk. They are only passed when
    /// something follows: some writers reserve room first and fill it later.
    fn hole(&mut self) -> io::Result<ReadOutcome> {
        let from = self.scan.from.max(self.place.offset);
        let Some(end) = self.find(from, |byte| byte != 0)? else { return Ok(nothing()) };
        let mut after = FilePlace::taken(self.file, end, self.place.line)?;
        after.repeats = self.place.repeats;
        Ok(ReadOutcome::Hole { after, length: end - self.place.offset })
    }

    /// The first byte at or after `from` that fits. Remembers how far it looked.
    fn find(&mut self, from: u64, is_it: impl Fn(u8) -> bool) -> io::Result<Option<u64>> {
        let mut from = from;
        loop {
            let block = bytes_at(self.file, from, BLOCK)?;
            if let Some(at) = block.iter().position(|byte| is_it(*byte)) {
                return Ok(Some(from + at as u64));
            }
            from += block.len() as u64;
            self.scan.from = from;
            if block.len() < BLOCK {
                return Ok(None);
            }
        }
    }
}

fn nothing() -> ReadOutcome {
    ReadOutcome::Lines { batches: Vec::new(), is_end: true, is_open: false }
}

/// The place while lines are passed.
struct PlaceBuilder<'a> {
    chunk: &'a ReadChunk,
    before: &'a FilePlace,
    first_line: Option<Vec<u8>>,
    offset: u64,
    line: Option<u64>,
    repeats: bool,
}

impl<'a> PlaceBuilder<'a> {
    fn new(before: &'a FilePlace, chunk: &'a ReadChunk, mark: usize) -> Self {
        let end = before.head_bytes.iter().position(|it| *it == b'\n');
        PlaceBuilder {
            chunk,
            before,
            first_line: end.map(|end| before.head_bytes[..=end].to_vec()),
            offset: before.offset + mark as u64,
            line: before.line,
            repeats: before.repeats,
        }
    }

    fn pass(&mut self, part: &[u8]) {
        match &self.first_line {
            Some(first) => self.repeats |= part == first.as_slice(),
            None if self.before.offset == 0 => self.first_line = Some(part.to_vec()),
            None => {}
        }
        self.offset += part.len() as u64;
        self.line = self.line.map(|line| line + 1);
    }

    fn place(&self) -> FilePlace {
        let before = self.before;
        let passed = (self.offset - before.offset) as usize;
        let new = &self.chunk.bytes[self.chunk.before..self.chunk.before + passed];
        let mut head_bytes = before.head_bytes.clone();
        head_bytes.extend(new.iter().take(HEAD_MAX - head_bytes.len().min(HEAD_MAX)));
        FilePlace {
            offset: self.offset,
            line: self.line,
            head: HeadMark::of(&head_bytes),
            tail: TailMark::before_end(&self.chunk.bytes[..self.chunk.before + passed]),
            repeats: self.repeats,
            head_bytes,
        }
    }
}

/// A whole file as one message, and the hash of what it holds.
pub(super) fn read_whole(
    file: &File,
    settings: &ReadSettings,
    shown: &Arc<str>,
) -> io::Result<(Option<Message>, u64)> {
    let mut bytes = bytes_at(file, 0, CHUNK)?;
    let hash = hash_of(&bytes, file.metadata()?.len());
    let is_cut = MESSAGE_MAX < bytes.len();
    bytes.truncate(MESSAGE_MAX);
    let mark = mark_length(&bytes, true).unwrap_or(0);
    let is_undecodable = is_cut || is_utf16(&bytes);
    let message = settings.codec.message(&bytes[mark..], is_undecodable);
    let origin = MessageOrigin { name: shown.clone(), line: None, offset: 0 };
    let message = message.map(|message| Message { origin: Some(origin), ..message });
    Ok((message, hash))
}

/// The hash by which a whole file is known again.
pub(super) fn hash_of_whole(file: &File) -> io::Result<u64> {
    Ok(hash_of(&bytes_at(file, 0, CHUNK)?, file.metadata()?.len()))
}

fn hash_of(bytes: &[u8], size: u64) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.write_u64(size);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A file that grows, and how far it was read.
    struct Growing {
        file: File,
        place: FilePlace,
        scan: ScanState,
        has_header: bool,
        grouping: Option<LineGrouping>,
    }

    impl Growing {
        fn new() -> Self {
            let file = tempfile::tempfile().unwrap();
            Growing {
                file,
                place: FilePlace::start(),
                scan: ScanState::default(),
                has_header: false,
                grouping: None,
            }
        }

        fn grow(&mut self, bytes: &[u8]) {
            io::Seek::seek(&mut self.file, io::SeekFrom::End(0)).unwrap();
            self.file.write_all(bytes).unwrap();
        }

        fn read(&mut self, codec: Codec, end: FileEnd) -> ReadOutcome {
            let reader = LineReader {
                file: &self.file,
                place: &self.place,
                scan: &mut self.scan,
                settings: &ReadSettings {
                    codec,
                    has_header: self.has_header,
                    grouping: self.grouping.clone(),
                },
                shown: &"f".into(),
                end,
            };
            reader.read().unwrap()
        }

        /// Reads as far as it goes; each line as `line@offset text`.
        fn lines(&mut self, is_final: bool) -> Vec<String> {
            self.read_on(if is_final { FileEnd::Final } else { FileEnd::Open })
        }

        /// The same up to this end.
        fn read_on(&mut self, end: FileEnd) -> Vec<String> {
            let mut lines = Vec::new();
            loop {
                match self.read(Codec::Text, end) {
                    ReadOutcome::Lines { batches, is_end, .. } => {
                        for batch in batches {
                            lines.extend(batch.messages.iter().map(shown));
                            self.place = batch.place;
                        }
                        if is_end {
                            return lines;
                        }
                    }
                    ReadOutcome::Hole { after, length } => {
                        lines.push(format!("{length} zeros"));
                        self.place = after;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn shown(message: &Message) -> String {
        let origin = message.origin.as_ref().unwrap();
        let text = String::from_utf8_lossy(&message.body);
        let text = if 50 < text.len() { format!("{} bytes", text.len()) } else { text.into() };
        format!("{}@{} {text}", origin.line.unwrap(), origin.offset)
    }

    #[test]
    fn every_line_knows_its_number_and_its_place() {
        let mut file = Growing::new();
        file.grow(b"one\n\ntw");
        assert_eq!(file.lines(false), ["1@0 one"]);
        file.grow(b"o\r\nthree");
        assert_eq!(file.lines(false), ["3@5 two"]);
        assert_eq!(file.lines(true), ["4@10 three"]);
    }

    #[test]
    fn the_first_line_of_a_file_may_be_a_header() {
        let mut file = Growing { has_header: true, ..Growing::new() };
        file.grow(b"\xef\xbb\xbfa,b\none\n");
        assert_eq!(file.lines(false), ["2@7 one"]);
        file.grow(b"two\n");
        assert_eq!(file.lines(false), ["3@11 two"]);
        let mut long = Growing { has_header: true, ..Growing::new() };
        long.grow(&vec![b'x'; 2 * MESSAGE_MAX]);
        long.grow(b"\none\n");
        assert_eq!(long.lines(false), [format!("2@{} one", 2 * MESSAGE_MAX + 1)]);
    }

    fn grouped(begin: &str, lines_max: usize) -> Growing {
        let text = format!("path \"f\"\ndecode text\nlines begin=#\"{begin}\"# max={lines_max}");
        let settings = crate::testing::settings::<super::super::File>(&text);
        Growing { grouping: settings.grouping, ..Growing::new() }
    }

    #[test]
    fn a_line_that_begins_nothing_belongs_to_the_one_before_it() {
        let mut file = grouped(r"^\S", 500);
        file.grow(b"  rest\none\n  a\n\n  b\ntwo\nthr");
        assert_eq!(file.lines(false), ["1@0   rest", "2@7 one\n  a\n\n  b"]);
        assert_eq!(file.lines(false), Vec::<String>::new(), "more may belong to it");
        file.grow(b"ee\n  c\n");
        assert_eq!(file.lines(false), ["6@20 two"]);
        assert_eq!(file.read_on(FileEnd::Quiet), ["7@24 three\n  c"]);
        file.grow(b"  late\nfour\n  fi");
        assert_eq!(file.lines(false), ["9@34   late"]);
        assert_eq!(file.read_on(FileEnd::Quiet), ["10@41 four"], "half a line is none");
        assert_eq!(file.lines(true), ["11@46   fi"]);
    }

    #[test]
    fn a_group_has_a_limit_of_lines_and_of_bytes() {
        let mut file = grouped("^begin", 3);
        file.grow(b"begin\n1\n2\n3\n4\nbegin\n");
        assert_eq!(file.lines(false), ["1@0 begin\n1\n2", "4@10 3\n4"]);
        let mut file = grouped("^begin", 10_000);
        let line = [b'x'; 1023];
        file.grow(b"begin\n");
        for _ in 0..2 * MESSAGE_MAX / 1024 {
            file.grow(&line);
            file.grow(b"\n");
        }
        file.grow(b"begin\n");
        let whole = MESSAGE_MAX / 1024 * 1024;
        let first = whole - 1024 + 6;
        let lines = file.lines(false);
        assert_eq!(lines[0], format!("1@0 {} bytes", first - 1));
        assert_eq!(lines[1], format!("1025@{first} {} bytes", whole - 1));
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn a_header_begins_nothing_and_zeros_end_no_group_that_is_written() {
        let mut file = Growing { has_header: true, ..grouped("^[0-9]", 500) };
        file.grow(b"names\n1\n a\n2\n");
        assert_eq!(file.lines(false), ["2@6 1\n a"]);
        let mut file = grouped("^[0-9]", 500);
        file.grow(b"1\n a\n\0\0\0\x002\n");
        assert_eq!(file.lines(false), Vec::<String>::new());
        assert_eq!(file.read_on(FileEnd::Quiet), ["1@0 1\n a", "4 zeros", "3@9 2"]);
    }

    /// However a file is written and whenever it is read: the same bytes in the same order, and the
    /// same groups as long as nobody takes the silence for an end.
    #[test]
    fn groups_do_not_depend_on_how_a_file_grows() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let line = |random: &mut fastrand::Rng| {
                let parts = ["one\n", " a\n", "\n", " bb\n", "two\r\n", " ccc\n"];
                (*random.choice(&parts[..]).expect("there are some")).to_owned()
            };
            let text: String = (0..random.usize(..60)).map(|_| line(&mut random)).collect();
            let mut whole = grouped(r"^\S", 7);
            whole.grow(text.as_bytes());
            let expected = whole.lines(true);
            let (mut file, mut at, mut lines) = (grouped(r"^\S", 7), 0, Vec::new());
            while at < text.len() {
                let next = (at + random.usize(1..20)).min(text.len());
                file.grow(&text.as_bytes()[at..next]);
                at = next;
                lines.extend(file.lines(false));
            }
            lines.extend(file.lines(true));
            assert_eq!(lines, expected, "seed {seed}: {text:?}");
        }
    }

    #[test]
    fn a_mark_at_the_beginning_is_no_part_of_the_first_line() {
        let mut file = Growing::new();
        file.grow(b"\xef\xbb");
        assert_eq!(file.lines(false), Vec::<String>::new());
        file.grow(b"\xbfone\ntwo\n");
        assert_eq!(file.lines(false), ["1@3 one", "2@7 two"]);
    }

    #[test]
    fn zeros_before_a_line_are_passed_once_something_follows() {
        let mut file = Growing::new();
        file.grow(&[0; 200_000]);
        assert_eq!(file.lines(false), Vec::<String>::new());
        file.grow(b"one\n\0\0two\n\0");
        assert_eq!(file.lines(false), ["200000 zeros", "1@200000 one", "2 zeros", "2@200006 two"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_read() {
        let mut file = Growing::new();
        let long = vec![b'x'; 3 * MESSAGE_MAX];
        file.grow(&long);
        assert_eq!(file.lines(false), Vec::<String>::new());
        // What was searched for a line end is not searched again.
        assert_eq!(file.scan.from, long.len() as u64);
        file.grow(b"\nnext\n");
        let next = format!("2@{} next", long.len() + 1);
        assert_eq!(file.lines(false), [format!("1@0 {MESSAGE_MAX} bytes"), next]);
        let mut file = Growing::new();
        file.grow(&long);
        assert_eq!(file.lines(true), [format!("1@0 {MESSAGE_MAX} bytes")]);
    }

    #[test]
    fn many_lines_come_in_batches_that_each_know_their_end() {
        let mut file = Growing::new();
        let text: String = (0..1100).map(|it| format!("{it}\n")).collect();
        file.grow(text.as_bytes());
        let ReadOutcome::Lines { batches, is_end, .. } = file.read(Codec::Text, FileEnd::Open)
        else {
            panic!()
        };
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.messages.len()).collect();
        assert_eq!((sizes, is_end), (vec![512, 512, 76], true));
        for batch in batches {
            let offset = batch.place.offset;
            let taken = FilePlace::taken(&file.file, offset, batch.place.line).unwrap();
            assert_eq!(batch.place, taken);
        }
    }

    #[test]
    fn what_was_truncated_or_begun_again_is_noticed() {
        let mut file = Growing::new();
        file.grow(b"one\ntwo\n");
        file.lines(false);
        for now in [&b"one\n"[..], b"one\nTWO\n", b"ONE\ntwo\n", b"1\n2\n3\n4\n5\n"] {
            file.file.set_len(0).unwrap();
            file.grow(now);
            assert!(matches!(file.read(Codec::Text, FileEnd::Open), ReadOutcome::Replaced));
        }
        file.file.set_len(0).unwrap();
        file.grow(b"one\ntwo\nthree\n");
        assert_eq!(file.lines(false), ["3@8 three"]);
    }

    #[test]
    fn compressed_bytes_are_no_lines() {
        let mut file = Growing::new();
        file.grow(b"\x1f\x8b\x08\x00\n\n");
        assert!(matches!(file.read(Codec::Text, FileEnd::Open), ReadOutcome::Compressed));
    }

    #[test]
    fn a_first_line_that_comes_again_is_noted() {
        let mut file = Growing::new();
        file.grow(b"start\n1\n");
        file.lines(false);
        assert!(!file.place.repeats);
        file.grow(b"start\n1\n");
        file.lines(false);
        assert!(file.place.repeats);
    }

    #[test]
    fn utf_16_has_no_decoded_form() {
        let mut file = Growing::new();
        file.grow(b"\xff\xfea\x00\n\x00");
        let ReadOutcome::Lines { batches, .. } = file.read(Codec::Text, FileEnd::Final) else {
            panic!()
        };
        let messages = &batches[0].messages;
        assert_eq!((messages.len(), &messages[0].decoded), (1, &None));
    }
}
