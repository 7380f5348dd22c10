//! What bytes are, when they are not JSON: what people send and save by mistake.

/// What the bytes look like, and what to send instead; `None` where they may well be JSON with a
/// mistake in it.
pub(super) fn unlike_json(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("it is empty"),
        [0xef, 0xbb, 0xbf, ..] => {
            Some("it begins with a byte order mark (EF BB BF); send it without one")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{' | b'[', ..] | [b'{' | b'[', 0, ..] => {
            Some("it is UTF-16; send it as UTF-8")
        }
        [0x1f, 0x8b, ..] => {
            Some("it is compressed with gzip; over HTTP, send `Content-Encoding: gzip` with it")
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed with zstd; send it uncompressed"),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            Some("it is compressed with zlib; send it uncompressed")
        }
        [b'<', ..] => Some("it begins like XML or HTML; send JSON"),
        [b'-', b'-', ..] if bytes.windows(20).any(is_disposition) => {
            Some("it is a form in several parts (multipart/form-data); send JSON")
        }
        _ if is_form(bytes) => Some("it is a form (name=value&…); send JSON"),
        _ => None,
    }
}

fn is_disposition(bytes: &[u8]) -> bool {
    bytes.eq_ignore_ascii_case(b"content-disposition:")
}

/// `payload=%7B…` or `a=1&b=2`: one name, a sign, and nothing that a form would have encoded.
fn is_form(bytes: &[u8]) -> bool {
    let name = bytes.iter().take_while(|it| it.is_ascii_alphanumeric() || b"-_.[]%+".contains(it));
    let length = name.count();
    0 < length
        && bytes.get(length) == Some(&b'=')
        && bytes[length..].iter().all(|it| it.is_ascii_graphic() && !b"{}\"<>".contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_by_mistake_is_named() {
        let utf_16: Vec<u8> = "{\"a\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [&[0xff, 0xfe][..], &utf_16].concat();
        for (bytes, told) in [
            (&b""[..], "empty"),
            ("\u{feff}{}".as_bytes(), "byte order mark"),
            (&utf_16, "UTF-16"),
            (&marked, "UTF-16"),
            (b"\xfe\xff\0{", "UTF-16"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x28\xb5\x2f\xfd\0", "zstd"),
            (b"\x78\x9c\xab", "zlib"),
            (b"<?xml version=\"1.0\"?>", "XML"),
            (b"payload=%7B%22a%22%3A1%7D", "form (name=value&"),
            (b"a=1&b[]=2&c=", "form (name=value&"),
            (b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n", "several parts"),
        ] {
            let found = unlike_json(bytes).unwrap_or("");
            assert!(found.contains(told), "{}: {found}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_may_be_json_with_a_mistake_is_left_to_the_parser() {
        for text in ["{", "nul", "{'a': 1}", "[1,]", "x", "a=b c", "= 1", "{\"a\"=1}", "--"] {
            assert_eq!(unlike_json(text.as_bytes()), None, "{text}");
        }
    }
}
