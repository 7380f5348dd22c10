//! What the first bytes of a file say about the rest.

use kernel::decode::UTF8_MARK;

/// Magic bytes of compressed files.
const COMPRESSED: &[&[u8]] = &[
    b"\x1f\x8b\x08",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\x00",
    b"\x04\x22\x4d\x18",
    b"\x1f\x9d",
    b"PK\x03\x04",
];
/// What follows `BZh` and a digit in every bzip2 file.
const BZIP2: &[u8] = b"\x31\x41\x59\x26\x53\x59";

/// Whether the file is compressed.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    COMPRESSED.iter().any(|magic| head.starts_with(magic))
        || (head.starts_with(b"BZh") && head.get(4..10) == Some(BZIP2))
}

/// Length of the mark at the beginning; `None` while it may become one.
pub(super) fn mark_length(head: &[u8], is_final: bool) -> Option<usize> {
    if head.starts_with(UTF8_MARK) {
        return Some(UTF8_MARK.len());
    }
    let may_become =
        head.len() < UTF8_MARK.len() && UTF8_MARK.starts_with(head) && !head.is_empty();
    (!may_become || is_final).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_waited_for() {
        assert_eq!(mark_length(b"\xef\xbb\xbf{}", false), Some(3));
        assert_eq!(mark_length(b"\xef\xbb", false), None);
        assert_eq!(mark_length(b"\xef\xbb", true), Some(0));
        assert_eq!(mark_length(b"{", false), Some(0));
    }

    #[test]
    fn compressed_files_are_known_by_their_first_bytes() {
        assert!(is_compressed(b"\x1f\x8b\x08\x00"));
        assert!(is_compressed(b"BZh91AY&SY"));
        assert!(!is_compressed(b"BZhello, world") && !is_compressed(b"{}") && !is_compressed(b""));
    }
}
