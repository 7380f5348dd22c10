//! How far a file was read, and the marks by which what was read is known again.
//!
//! A file's first bytes alone prove little: programs write the same banner into every new file.
//! So the last lines before the place count as well, and they also lead to the place again when an
//! editor took something out before it. Marks are hashes: nothing of a file is kept as text.

use super::decide::ProofStrength;
use super::identity::bytes_at;
use siphasher::sip::SipHasher13;
use std::fs::File;
use std::hash::Hasher as _;
use std::io;

/// Bytes of the beginning that are compared.
pub(super) const HEAD_MAX: usize = 1024;
/// Lines before the place that are compared, and bytes of them.
const TAIL_LINES_MAX: usize = 4;
pub(super) const TAIL_MAX: usize = 4096;
/// So many equal bytes are no banner.
const CERTAIN_MIN: u64 = 4096;
/// How much of a file is searched for its last lines, or counted for line numbers.
const SEARCH_MAX: u64 = 64 << 20;
const BLOCK: usize = 64 << 10;

/// A place in a file: everything before it was handed on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct FilePlace {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Lines before it, where known.
    pub(super) line: Option<u64>,
    pub(super) head: HeadMark,
    pub(super) tail: TailMark,
    /// The first line came again. Such content proves nothing: the next run writes the same.
    pub(super) repeats: bool,
    /// The bytes that `head` is of, once they were read by this process.
    pub(super) head_bytes: Vec<u8>,
}

/// The hash of the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HeadMark {
    pub(super) length: usize,
    pub(super) hash: u64,
}

/// The hash of the last bytes before a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TailMark {
    pub(super) length: usize,
    pub(super) hash: u64,
    /// They are several lines, no two of them equal.
    pub(super) is_distinct: bool,
}

/// How what a file holds compares with what was read up to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentMatch {
    /// Nothing was read, so there is nothing to compare.
    Nothing,
    /// The same up to the place.
    Equal,
    /// It ends before the place, and is the same as far as it goes.
    Shorter,
    /// Something else.
    Other,
}

impl FilePlace {
    /// The beginning of a file.
    pub(super) fn start() -> Self {
        FilePlace { line: Some(0), ..FilePlace::default() }
    }

    /// A place in a file that was not read by this process up to there.
    pub(super) fn taken(file: &File, offset: u64, line: Option<u64>) -> io::Result<Self> {
        let head_bytes = bytes_at(file, 0, HEAD_MAX.min(to_usize(offset)))?;
        let length = TAIL_MAX.min(to_usize(offset));
        let before = bytes_at(file, offset - length as u64, length)?;
        Ok(FilePlace {
            offset,
            line,
            head: HeadMark::of(&head_bytes),
            tail: TailMark::before_end(&before),
            repeats: false,
            head_bytes,
        })
    }

    /// How much it means when another file holds the same.
    pub(super) fn proof(&self) -> ProofStrength {
        match !self.repeats && self.tail.is_distinct {
            false => ProofStrength::Weak,
            true if self.offset < CERTAIN_MIN => ProofStrength::Strong,
            true => ProofStrength::Certain,
        }
    }

    /// Compares what `file` holds, which is `size` bytes long, with what was read.
    pub(super) fn compare(&self, file: &File, size: u64) -> io::Result<ContentMatch> {
        if self.offset == 0 {
            return Ok(ContentMatch::Nothing);
        }
        if size < self.offset {
            return self.compare_shorter(file, size);
        }
        let head = bytes_at(file, 0, self.head.length)?;
        let before = bytes_at(file, self.offset - self.tail.length as u64, self.tail.length)?;
        let is_tail = TailMark::hash_of(&before) == self.tail.hash;
        Ok(match is_tail && self.is_head(&head) {
            true => ContentMatch::Equal,
            false => ContentMatch::Other,
        })
    }

    /// Whether these are the first bytes. A hole there was made to free room, and the rest stayed.
    pub(super) fn is_head(&self, head: &[u8]) -> bool {
        let is_punched = || 0 < self.tail.length && head.iter().all(|it| *it == 0);
        head.len() == self.head.length && (HeadMark::of(head) == self.head || is_punched())
    }

    fn compare_shorter(&self, file: &File, size: u64) -> io::Result<ContentMatch> {
        let head = bytes_at(file, 0, HEAD_MAX.min(to_usize(size)))?;
        let is_same = match self.head_bytes.is_empty() {
            false => self.head_bytes.starts_with(&head),
            true => self.head.length <= head.len() && self.is_head(&head[..self.head.length]),
        };
        let is_same = is_same && !head.is_empty();
        Ok(if is_same { ContentMatch::Shorter } else { ContentMatch::Other })
    }

    /// Where the last lines before the place are in `file` now, when they are there once and could
    /// be nowhere else.
    pub(super) fn search(&self, file: &File, size: u64) -> io::Result<Option<u64>> {
        let length = self.tail.length;
        let is_hopeless = !self.tail.is_distinct || self.repeats || SEARCH_MAX < size;
        if is_hopeless || size < length as u64 {
            return Ok(None);
        }
        let mut rolling = RollingHash::new(length);
        let (mut found, mut from, mut before) = (None, 0, Vec::new());
        loop {
            let block = bytes_at(file, from, BLOCK)?;
            if block.is_empty() {
                return Ok(found);
            }
            before.extend_from_slice(&block);
            let first = before.len() - block.len();
            for at in first..before.len() {
                let out = at.checked_sub(length).map(|it| before[it]);
                rolling.push(before[at], out);
                let end = from + (at - first) as u64 + 1;
                let begins_line = out.is_none_or(|out| out == b'\n');
                if length as u64 <= end && begins_line && rolling.value == self.tail.hash {
                    if found.is_some() {
                        return Ok(None);
                    }
                    found = Some(end);
                }
            }
            from += block.len() as u64;
            before.drain(..before.len().saturating_sub(length));
        }
    }
}

impl HeadMark {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return HeadMark::default();
        }
        let mut hasher = SipHasher13::new();
        hasher.write(bytes);
        HeadMark { length: bytes.len(), hash: hasher.finish() }
    }
}

impl TailMark {
    /// The mark of the last lines of `bytes`, which end at the place.
    pub(super) fn before_end(bytes: &[u8]) -> Self {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_MAX)..];
        let ends = bytes.iter().enumerate().rev().skip(1).filter(|(_, it)| **it == b'\n');
        let start = ends.map(|it| it.0 + 1).nth(TAIL_LINES_MAX - 1).unwrap_or(0);
        let last = &bytes[start..];
        TailMark { length: last.len(), hash: Self::hash_of(last), is_distinct: is_distinct(last) }
    }

    pub(super) fn hash_of(bytes: &[u8]) -> u64 {
        let mut rolling = RollingHash::new(bytes.len());
        bytes.iter().for_each(|byte| rolling.push(*byte, None));
        rolling.value
    }
}

/// Whether these are several lines, no two of them equal.
fn is_distinct(bytes: &[u8]) -> bool {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|bytes| *bytes == b'\n').collect();
    let is_first = |(at, line): (usize, &&[u8])| !lines[..at].contains(line);
    1 < lines.len() && lines.iter().enumerate().all(is_first)
}

/// Where the last complete line of a file ends that has several.
pub(super) fn last_line_end(file: &File, size: u64) -> io::Result<Option<u64>> {
    let first = bytes_at(file, 0, HEAD_MAX)?;
    let from = size.saturating_sub(TAIL_MAX as u64);
    let last = bytes_at(file, from, TAIL_MAX)?;
    let has_several = 1 < first.iter().filter(|it| **it == b'\n').count();
    let end = last.iter().rposition(|it| *it == b'\n').map(|at| from + at as u64 + 1);
    Ok(end.filter(|_| has_several))
}

/// Lines before `offset`; `None` where counting would take too long.
pub(super) fn count_lines(file: &File, offset: u64) -> io::Result<Option<u64>> {
    if SEARCH_MAX < offset {
        return Ok(None);
    }
    let (mut count, mut from) = (0, 0);
    while from < offset {
        let block = bytes_at(file, from, BLOCK.min(to_usize(offset - from)))?;
        if block.is_empty() {
            break;
        }
        count += block.iter().filter(|it| **it == b'\n').count() as u64;
        from += block.len() as u64;
    }
    Ok(Some(count))
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A polynomial over a prime field, so that a window can move by one byte at a time.
struct RollingHash {
    value: u64,
    /// The base to the power of the window's length less one.
    power: u64,
}

impl RollingHash {
    const PRIME: u64 = (1 << 61) - 1;
    const BASE: u64 = 0x0b5a_d4ce_ca55_e77e % Self::PRIME;

    fn new(length: usize) -> Self {
        let power = (1..length).fold(1, |power, _| Self::times(power, Self::BASE));
        RollingHash { value: 0, power }
    }

    fn times(a: u64, b: u64) -> u64 {
        (u128::from(a) * u128::from(b) % u128::from(Self::PRIME)) as u64
    }

    /// Takes a byte in, and the one that leaves the window out.
    fn push(&mut self, byte: u8, out: Option<u8>) {
        // One more than the byte, so that zeros count.
        let leaves = out.map_or(0, |out| Self::times(u64::from(out) + 1, self.power));
        let rest = (self.value + Self::PRIME - leaves) % Self::PRIME;
        self.value = (Self::times(rest, Self::BASE) + u64::from(byte) + 1) % Self::PRIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn place(before: &[u8]) -> FilePlace {
        FilePlace::taken(&file(before), before.len() as u64, None).unwrap()
    }

    #[track_caller]
    fn check(before: &[u8], now: &[u8], expected: ContentMatch) {
        let found = place(before).compare(&file(now), now.len() as u64).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn content_is_known_by_its_beginning_and_by_what_is_before_the_place() {
        use ContentMatch::{Equal, Nothing, Other, Shorter};
        check(b"", b"1\n", Nothing);
        check(b"1\n2\n", b"1\n2\n", Equal);
        check(b"1\n2\n", b"1\n2\n3\n", Equal);
        check(b"1\n2\n", b"1\n3\n3\n", Other);
        check(b"1\n2\n", b"1\n", Shorter);
        check(b"1\n2\n", b"3\n", Other);
        check(b"1\n2\n", b"", Other);
        let banner = "#".repeat(2000);
        let before = format!("{banner}\n1\n2\n3\n4\n5\n");
        check(before.as_bytes(), format!("{banner}\n1\n2\n3\n4\n6\n").as_bytes(), Other);
        check(before.as_bytes(), format!("!{}\n1\n2\n3\n4\n5\n", &banner[1..]).as_bytes(), Other);
    }

    #[test]
    fn a_hole_that_was_punched_at_the_beginning_changes_nothing() {
        let mut bytes = [b'x'; 9000];
        bytes[8990] = b'\n';
        let before = place(&bytes);
        bytes[..4096].fill(0);
        let found = before.compare(&file(&bytes), 9000).unwrap();
        assert_eq!(found, ContentMatch::Equal);
    }

    #[track_caller]
    fn check_search(before: &[u8], now: &[u8], expected: Option<u64>) {
        assert_eq!(place(before).search(&file(now), now.len() as u64).unwrap(), expected);
    }

    #[test]
    fn the_last_lines_lead_to_the_place_after_an_edit() {
        check_search(b"1\n2\n3\n4\n5\n", b"3\n2\n3\n4\n5\n6\n", Some(10));
        check_search(b"1\n2\n3\n4\n5\n", b"2\n3\n4\n5\n", Some(8));
        check_search(b"1\n2\n3\n4\n5\n", b"2\n3\n5\n6\n", None);
        // They are there twice, or begin in the middle of a line.
        check_search(b"1\n2\n3\n4\n5\n", b"2\n3\n4\n5\n2\n3\n4\n5\n", None);
        check_search(b"1\n2\n3\n4\n5\n", b"12\n3\n4\n5\n", None);
        // One line, or equal ones, could be from anywhere.
        check_search(b"1\n", b"0\n1\n", None);
        check_search(b"1\n1\n", b"0\n1\n1\n", None);
        let far = [b"x".repeat(3 * BLOCK - 5), b"\n2\n3\n4\n5\nrest".to_vec()].concat();
        check_search(b"1\n2\n3\n4\n5\n", &far, Some(3 * BLOCK as u64 + 4));
    }

    #[test]
    fn the_last_complete_line_is_found_where_there_are_several() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(last_line_end(&file(bytes), bytes.len() as u64).unwrap(), expected);
        };
        check(b"1\n2\n", Some(4));
        check(b"1\n2\n3", Some(4));
        check(b"1\n", None);
        check(b"", None);
        check(format!("1\n2\n{}", "x".repeat(9000)).as_bytes(), None);
        check(format!("1\n2\n{}\n3", "x".repeat(9000)).as_bytes(), Some(9005));
    }

    #[test]
    fn lines_are_counted_up_to_the_place() {
        assert_eq!(count_lines(&file(b"1\n2\n3"), 5).unwrap(), Some(2));
        assert_eq!(count_lines(&file(b"1\n2\n3"), 3).unwrap(), Some(1));
    }
}
