//! What is remembered about each file over restarts, as text.
//!
//! One row a file, under a number that the file keeps whatever happens to its name, device or
//! inode. The first version kept `OFFSET HASH` under `DEVICE:INODE`; such rows are still read.

use super::identity::FileId;
use super::place::{FilePlace, HeadMark, TailMark};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const VERSION: u32 = 2;
const KEY: &str = "file:";
/// Bytes of the beginning that the first version hashed.
const OLD_HEAD_MAX: u64 = 256;

/// What is remembered about one file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileRecord {
    /// Its number; `None` for a row of the first version, which has to be replaced.
    pub(super) number: Option<u64>,
    /// The key that the row has now.
    pub(super) key: String,
    pub(super) path: Option<PathBuf>,
    pub(super) id: FileId,
    pub(super) place: FilePlace,
    /// What has to be known about another file before this one is read.
    pub(super) waits: Option<RecordedWait>,
    /// The hash of all of it, where a whole file is one message.
    pub(super) whole: Option<u64>,
}

/// What a file waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RecordedWait {
    /// It has the path that this one had.
    After(u64),
    /// It may be a copy of this one.
    Copy(u64),
}

#[derive(Serialize, Deserialize)]
struct WrittenRecord<'a> {
    v: u32,
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    device: u64,
    inode: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
    offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    head: (usize, u64),
    tail: (usize, u64, bool),
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    repeats: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits: Option<RecordedWait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<u64>,
}

/// The key of the file with this number.
pub(super) fn key_of(number: u64) -> String {
    format!("{KEY}{number}")
}

/// The row of a file.
pub(super) fn written(
    path: &Path,
    id: &FileId,
    place: &FilePlace,
    waits: Option<RecordedWait>,
    whole: Option<u64>,
) -> String {
    let record = WrittenRecord {
        v: VERSION,
        path: path.to_string_lossy(),
        device: id.device,
        inode: id.inode,
        born: id.born,
        offset: place.offset,
        line: place.line,
        head: (place.head.length, place.head.hash),
        tail: (place.tail.length, place.tail.hash, place.tail.is_distinct),
        repeats: place.repeats,
        waits,
        whole,
    };
    serde_json::to_string(&record).expect("numbers and text become JSON")
}

/// Reads a row; `None` for what no version wrote.
pub(super) fn read(key: &str, value: &str) -> Option<FileRecord> {
    match key.strip_prefix(KEY) {
        Some(number) => read_current(key, number.parse().ok()?, value),
        None => read_first(key, value),
    }
}

fn read_current(key: &str, number: u64, value: &str) -> Option<FileRecord> {
    let record: WrittenRecord<'_> = serde_json::from_str(value).ok()?;
    let (length, hash, is_distinct) = record.tail;
    if record.v != VERSION || record.offset < length as u64 {
        return None;
    }
    let place = FilePlace {
        offset: record.offset,
        line: record.line,
        head: HeadMark { length: record.head.0, hash: record.head.1 },
        tail: TailMark { length, hash, is_distinct },
        repeats: record.repeats,
        head_bytes: Vec::new(),
    };
    Some(FileRecord {
        number: Some(number),
        key: key.to_owned(),
        path: Some(PathBuf::from(record.path.into_owned())),
        id: FileId { device: record.device, inode: record.inode, born: record.born },
        place,
        waits: record.waits,
        whole: record.whole,
    })
}

fn read_first(key: &str, value: &str) -> Option<FileRecord> {
    let (device, inode) = key.split_once(':')?;
    let (offset, hash) = value.split_once(' ')?;
    let offset = offset.parse::<u64>().ok()?;
    let head = HeadMark {
        length: offset.min(OLD_HEAD_MAX) as usize,
        hash: u64::from_str_radix(hash, 16).ok()?,
    };
    Some(FileRecord {
        number: None,
        key: key.to_owned(),
        path: None,
        id: FileId { device: device.parse().ok()?, inode: inode.parse().ok()?, born: None },
        place: FilePlace { offset, head, ..FilePlace::default() },
        waits: None,
        whole: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let id = FileId { device: 7, inode: u64::MAX, born: Some(9) };
        let place = FilePlace {
            offset: 5000,
            line: Some(12),
            head: HeadMark { length: 1024, hash: u64::MAX },
            tail: TailMark { length: 90, hash: 4, is_distinct: true },
            repeats: true,
            head_bytes: Vec::new(),
        };
        let waits = Some(RecordedWait::Copy(3));
        let text = written(Path::new("/a \"b\".log"), &id, &place, waits, Some(8));
        let record = read("file:17", &text).unwrap();
        assert_eq!((record.number, record.id, record.place), (Some(17), id, place));
        assert_eq!((record.waits, record.whole), (waits, Some(8)));
        assert_eq!(record.path, Some(PathBuf::from("/a \"b\".log")));
    }

    #[test]
    fn rows_of_the_first_version_are_understood() {
        let record = read("2049:1234", "300 00000000000000ff").unwrap();
        assert_eq!((record.number, record.id.device, record.id.inode), (None, 2049, 1234));
        assert_eq!(record.place.offset, 300);
        assert_eq!(record.place.head, HeadMark { length: 256, hash: 255 });
    }

    #[test]
    fn what_no_version_wrote_is_left_alone() {
        for (key, value) in [
            ("file:1", "nonsense"),
            ("file:x", "{}"),
            ("other", "1"),
            ("a:b", "1 ff"),
            ("1:2", "x ff"),
            ("1:2", "9 no hash"),
        ] {
            assert_eq!(read(key, value), None, "{key} {value}");
        }
    }
}
