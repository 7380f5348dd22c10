//! Finds the end of a body, and gives it out under limits.

use crate::http::problem::ProblemDetails;
use crate::http::wire::head::Framing;
use crate::http::wire::response::Reply;
use language::write_bytes;

/// Why a body was not given out. The connection closes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is, or says that it will be, longer than this many bytes.
    TooLarge(usize),
    /// It came too slowly: it had this many seconds, and more for what it brought.
    Timeout(u64),
    /// All bodies and answers under way hold this many bytes, and there are no more for it.
    NoMemory(usize),
    /// Its chunks are not well formed.
    Malformed,
    /// The client went away before its end.
    Closed,
}

impl From<BodyError> for Reply {
    fn from(error: BodyError) -> Reply {
        let problem = match error {
            BodyError::TooLarge(limit) => {
                let most = write_bytes(limit as u64);
                ProblemDetails::new(
                    413,
                    format!("the body is larger than {most}, the maximum for this path"),
                )
            }
            BodyError::Timeout(seconds) => {
                let rule = "plus one for each KiB received";
                let detail = format!("the body came too slowly: it had {seconds} seconds, {rule}");
                ProblemDetails::new(408, detail)
            }
            BodyError::NoMemory(limit) => no_memory(limit),
            BodyError::Malformed => ProblemDetails::new(400, "the chunked body is malformed"),
            BodyError::Closed => ProblemDetails::new(400, "the body is incomplete"),
        };
        Reply::from(problem).closing()
    }
}

/// There is no memory for one more body or answer now.
pub(crate) fn no_memory(limit: usize) -> ProblemDetails {
    let most = write_bytes(limit as u64);
    let detail = format!("requests and responses in progress already hold {most}, the maximum");
    ProblemDetails::new(503, detail).retry_after(1)
}

/// The most digits of a chunk's size: 4 GiB, beyond every limit and far from overflow.
const SIZE_DIGITS: usize = 8;

/// The longest line of a chunk's size with its extensions, and the longest line of a trailer.
const LINE_MAX: usize = 1024;

/// The most lines of trailers that are passed over.
const TRAILERS_MAX: u8 = 32;

/// Takes a body apart, byte for byte as the framing says.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: BodyState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Plain(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    /// After the last chunk, and so many lines of trailers.
    Trailers(u8),
    Done,
}

/// The chunks are not well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => BodyState::Done,
            Framing::Length(length) => BodyState::Plain(length),
            Framing::Chunked => BodyState::Size,
        };
        Decoder { state }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == BodyState::Done
    }

    /// How much is still to come at least.
    pub(crate) fn known_left(&self) -> u64 {
        match self.state {
            BodyState::Plain(left) | BodyState::Chunk(left) => left,
            _ => 0,
        }
    }

    /// How much is still to come, where the client said so.
    pub(crate) fn announced_left(&self) -> Option<u64> {
        match self.state {
            BodyState::Plain(left) => Some(left),
            _ => None,
        }
    }

    /// Moves what belongs to the body from `input` to `out`; how much of `input` is used up.
    /// What it leaves needs more bytes behind it to be understood.
    pub(crate) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let step = match self.state {
                BodyState::Plain(left) => copy(rest, left, out),
                BodyState::Chunk(left) => copy(rest, left, out),
                BodyState::Size => match size(rest)? {
                    Some((size, length)) => {
                        self.state =
                            if size == 0 { BodyState::Trailers(0) } else { BodyState::Chunk(size) };
                        used += length;
                        continue;
                    }
                    None => return Ok(used),
                },
                BodyState::ChunkEnd => {
                    if !line_end(rest)? {
                        return Ok(used);
                    }
                    self.state = BodyState::Size;
                    used += 2;
                    continue;
                }
                BodyState::Trailers(lines) => match trailer(rest)? {
                    Some(2) => {
                        self.state = BodyState::Done;
                        used += 2;
                        continue;
                    }
                    Some(_) if lines == TRAILERS_MAX => return Err(Malformed),
                    Some(length) => {
                        self.state = BodyState::Trailers(lines + 1);
                        used += length;
                        continue;
                    }
                    None => return Ok(used),
                },
                BodyState::Done => return Ok(used),
            };
            if step == 0 {
                return Ok(used);
            }
            used += step;
            self.state = match self.state {
                BodyState::Plain(left) if left == step as u64 => BodyState::Done,
                BodyState::Plain(left) => BodyState::Plain(left - step as u64),
                BodyState::Chunk(left) if left == step as u64 => BodyState::ChunkEnd,
                BodyState::Chunk(left) => BodyState::Chunk(left - step as u64),
                other => other,
            };
        }
    }
}

fn copy(from: &[u8], at_most: u64, out: &mut Vec<u8>) -> usize {
    let count = usize::try_from(at_most).unwrap_or(usize::MAX).min(from.len());
    out.extend_from_slice(&from[..count]);
    count
}

/// A chunk's size and the length of its line; `None` while the line is not complete. Extensions
/// are passed over, as RFC 9112, 7.1.1 wants it.
fn size(rest: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let digits = rest.iter().take_while(|it| it.is_ascii_hexdigit()).count();
    if SIZE_DIGITS < digits || (digits == 0 && !rest.is_empty()) {
        return Err(Malformed);
    }
    let Some(length) = extensions(&rest[digits..])? else { return Ok(None) };
    let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or_default());
    let size = rest[..digits].iter().fold(0, |sum, it| sum * 16 + digit(it));
    Ok(Some((size, digits + length)))
}

/// The length of the extensions and the end of their line. They begin with a semicolon, with or
/// without blanks before it, and have no control character, so that no reader can find another end.
fn extensions(rest: &[u8]) -> Result<Option<usize>, Malformed> {
    let blanks = rest.iter().take_while(|it| matches!(it, b' ' | b'\t')).count();
    match rest.get(blanks) {
        Some(b';') => line(rest),
        Some(_) if 0 < blanks => Err(Malformed),
        Some(_) => Ok(line_end(rest)?.then_some(2)),
        None if LINE_MAX < rest.len() => Err(Malformed),
        None => Ok(None),
    }
}

/// The length of a line of trailers with its end; 2 for the empty line that ends them. What they
/// say is not looked at, so none of them can change what the request is.
fn trailer(rest: &[u8]) -> Result<Option<usize>, Malformed> {
    if matches!(rest, [] | [b'\r', ..]) {
        return Ok(line_end(rest)?.then_some(2));
    }
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let name = rest.iter().take_while(|it| is_token(it)).count();
    if name == 0 || rest.get(name).is_some_and(|it| *it != b':') {
        return Err(Malformed);
    }
    line(rest)
}

/// The length of a line with its end, which is the first control character but a tab in it;
/// `None` while it is not complete.
fn line(rest: &[u8]) -> Result<Option<usize>, Malformed> {
    let is_plain = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    let text = rest.iter().take(LINE_MAX + 1).take_while(|it| is_plain(it)).count();
    if LINE_MAX < text {
        return Err(Malformed);
    }
    Ok(line_end(&rest[text..])?.then_some(text + 2))
}

/// Whether a line ends here; `false` while that cannot be told.
fn line_end(rest: &[u8]) -> Result<bool, Malformed> {
    match rest {
        [b'\r', b'\n', ..] => Ok(true),
        [] | [b'\r'] => Ok(false),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Body and rest.
    fn read(input: &[u8]) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut decoder, mut out) = (Decoder::new(Framing::Chunked), Vec::new());
        let used = decoder.decode(input, &mut out)?;
        Ok((out, input.len() - used, decoder.is_done()))
    }

    #[test]
    fn chunks_are_joined_and_what_follows_is_left() {
        let long = format!("4;{}\r\nwiki\r\n", "x".repeat(LINE_MAX));
        assert_eq!(read(long.as_bytes()).err(), Some(Malformed));
        let good = b"4\r\nwiki\r\n00A\r\n0123456789\r\n0\r\n\r\nGET";
        assert_eq!(self::read(good), Ok((b"wiki0123456789".to_vec(), 3, true)));
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        for good in [
            &b"4;a=b\r\nwiki\r\n0\r\n\r\nGET"[..],
            b"4 ;a=\"b;c\"\r\nwiki\r\n0;last\r\n\r\nGET",
            b"4\r\nwiki\r\n0\r\nX-Sum: 1\r\nContent-Length: 99\r\n\r\nGET",
            b"4\r\nwiki\r\n0\r\nX:\r\n\r\nGET",
        ] {
            let expected = Ok((b"wiki".to_vec(), 3, true));
            assert_eq!(read(good), expected, "{}", good.escape_ascii());
        }
        let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(usize::from(TRAILERS_MAX) + 1));
        assert_eq!(read(many.as_bytes()), Err(Malformed));
    }

    #[test]
    fn what_is_not_a_chunk_is_told_at_its_first_wrong_byte() {
        for bad in [
            &b"5\n"[..],
            b" 5",
            b"5 x",
            b"5;a\0",
            b"5;a\n",
            b"5;a\rx",
            b"+5",
            b"0x5",
            b"-1",
            b"\r\n",
            b"123456789",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\n: y\r\n\r\n",
            b"0\r\n\n",
        ] {
            assert_eq!(read(bad), Err(Malformed), "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn cutting_the_bytes_anywhere_changes_nothing(
            input in proptest::collection::vec(
                prop_oneof![
                    Just(b'0'), Just(b'2'), Just(b'\r'), Just(b'\n'), Just(b';'), Just(b':'),
                    any::<u8>(),
                ],
                0..60),
            cut in 0usize..60,
        ) {
            let whole = read(&input);
            let (mut decoder, mut out) = (Decoder::new(Framing::Chunked), Vec::new());
            let cut = cut.min(input.len());
            let in_two = decoder.decode(&input[..cut], &mut out).and_then(|used| {
                let more = decoder.decode(&input[used..], &mut out)?;
                Ok((out.clone(), input.len() - used - more, decoder.is_done()))
            });
            prop_assert_eq!(whole, in_two);
        }
    }
}
