//! One file, how far it was read, and how to know it again.

use crate::contract::Message;
use crate::sources::lines::{Codec, MESSAGE_MAX};
use siphasher::sip::SipHasher13;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read as _, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of the beginning by which a file is known again.
const PREFIX_MAX: usize = 256;

/// An open file and its place.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where it was found.
    pub(super) path: PathBuf,
    /// What its state is remembered under.
    pub(super) key: String,
    /// Everything before this was handed on.
    pub(super) offset: u64,
    /// The file's first bytes, up to the place.
    prefix: Vec<u8>,
    file: File,
}

/// What one look at a file gave.
pub(super) struct Read {
    /// Each message, or `None` for a blank line, and the place behind it.
    pub(super) lines: Vec<(Option<Message>, u64)>,
    /// There is nothing more for now.
    pub(super) is_end: bool,
}

impl Tail {
    /// Opens a file at its beginning; `None` when it is gone.
    pub(super) fn open(path: PathBuf) -> io::Result<Option<Tail>> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let key = key_of(&file.metadata()?, &path);
        Ok(Some(Tail { path, key, offset: 0, prefix: Vec::new(), file }))
    }

    /// Goes on at the remembered place when the file still begins as it did then.
    pub(super) fn resumed(mut self, state: Option<&str>) -> io::Result<Tail> {
        let Some((offset, hash)) = state.and_then(|it| it.split_once(' ')) else {
            return Ok(self);
        };
        let Ok(offset) = offset.parse::<u64>() else { return Ok(self) };
        let prefix = self.first_bytes(offset)?;
        if offset <= self.file.metadata()?.len() && hash_of(&prefix) == hash {
            (self.offset, self.prefix) = (offset, prefix);
        }
        Ok(self)
    }

    /// What is to be remembered when everything before `offset` was handed on.
    pub(super) fn state(&self, offset: u64) -> String {
        let length = self.prefix.len().min(usize::try_from(offset).unwrap_or(PREFIX_MAX));
        format!("{offset} {}", hash_of(&self.prefix[..length]))
    }

    /// Itself, and whether the path still leads here.
    pub(super) fn looked_up(self) -> (Tail, bool) {
        let there = std::fs::metadata(&self.path).map(|it| key_of(&it, &self.path));
        let is_current = there.is_ok_and(|it| it == self.key);
        (self, is_current)
    }

    /// Reads on. `is_final`: the end of the file ends its last line.
    pub(super) fn read(
        &mut self,
        codec: Codec,
        kind: Option<&Arc<str>>,
        is_final: bool,
    ) -> io::Result<Read> {
        let length = self.file.metadata()?.len();
        let known = self.offset.min(PREFIX_MAX as u64);
        let begins = self.first_bytes(known)?;
        if length < self.offset || self.prefix.get(..known as usize) != Some(&begins[..]) {
            // It was truncated and begun again.
            self.offset = 0;
        }
        if length == self.offset {
            return Ok(Read { lines: Vec::new(), is_end: true });
        }
        self.prefix = self.first_bytes(length)?;
        if codec.is_by_line() {
            self.read_lines(codec, kind, is_final)
        } else {
            self.read_whole(codec, kind, length)
        }
    }

    fn read_lines(
        &mut self,
        codec: Codec,
        kind: Option<&Arc<str>>,
        is_final: bool,
    ) -> io::Result<Read> {
        let bytes = self.bytes_at(self.offset, MESSAGE_MAX + 1)?;
        let is_end = bytes.len() <= MESSAGE_MAX;
        let (mut lines, mut end) = (Vec::new(), self.offset);
        for part in bytes.split_inclusive(|it| *it == b'\n') {
            let text = match part.strip_suffix(b"\n") {
                Some(text) => text,
                None if is_end && is_final => part,
                None => break,
            };
            end += part.len() as u64;
            lines.push((codec.message(text, false, kind), end));
        }
        if lines.is_empty() && !is_end {
            // The line is longer than any may be: its beginning goes on, to be refused.
            let behind = self.line_end(self.offset + bytes.len() as u64)?;
            let Some(behind) = behind.or(is_final.then_some(self.file.metadata()?.len())) else {
                return Ok(Read { lines, is_end: true });
            };
            lines.push((codec.message(&bytes[..MESSAGE_MAX], true, kind), behind));
        }
        Ok(Read { lines, is_end })
    }

    /// A whole file is one message; it is another one when it has changed.
    fn read_whole(
        &mut self,
        codec: Codec,
        kind: Option<&Arc<str>>,
        length: u64,
    ) -> io::Result<Read> {
        let mut bytes = self.bytes_at(0, MESSAGE_MAX + 1)?;
        let is_cut = MESSAGE_MAX < bytes.len();
        bytes.truncate(MESSAGE_MAX);
        let lines = vec![(codec.message(&bytes, is_cut, kind), length)];
        Ok(Read { lines, is_end: true })
    }

    /// The place behind the next line end at or after `from`.
    fn line_end(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut from = from;
        loop {
            let bytes = self.bytes_at(from, 64 << 10)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(at) = bytes.iter().position(|it| *it == b'\n') {
                return Ok(Some(from + at as u64 + 1));
            }
            from += bytes.len() as u64;
        }
    }

    fn first_bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        self.bytes_at(0, length.min(PREFIX_MAX as u64) as usize)
    }

    fn bytes_at(&mut self, from: u64, length_max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(from))?;
        (&self.file).take(length_max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn hash_of(bytes: &[u8]) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

#[cfg(unix)]
fn key_of(is: &std::fs::Metadata, _path: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}:{}", is.dev(), is.ino())
}

#[cfg(not(unix))]
fn key_of(_is: &std::fs::Metadata, path: &std::path::Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let long = "x".repeat(3 * MESSAGE_MAX);
        std::fs::write(&path, format!("{long}\n1\n")).unwrap();
        let mut tail = Tail::open(path).unwrap().unwrap();
        let kind: Arc<str> = "t".into();
        let read = tail.read(Codec::Text, Some(&kind), false).unwrap();
        let message = read.lines[0].0.as_ref().unwrap();
        assert_eq!((message.body.len(), &message.decoded), (MESSAGE_MAX, &None));
        tail.offset = read.lines[0].1;
        let read = tail.read(Codec::Text, Some(&kind), false).unwrap();
        assert_eq!(read.lines[0].0.as_ref().unwrap().body, b"1");
    }

    #[test]
    fn another_file_under_an_old_inode_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let open = || Tail::open(path.clone()).unwrap().unwrap();
        let mut tail = open();
        tail.read(Codec::Text, Some(&"t".into()), false).unwrap();
        let state = tail.state(4);
        assert_eq!(open().resumed(Some(&state)).unwrap().offset, 4);
        std::fs::write(&path, "six\ntwo\n").unwrap();
        assert_eq!(open().resumed(Some(&state)).unwrap().offset, 0);
        assert_eq!(open().resumed(Some("nonsense")).unwrap().offset, 0);
    }
}
