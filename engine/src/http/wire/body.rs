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
                    format!("the body is larger than {most}, the most for this path"),
                )
            }
            BodyError::Timeout(seconds) => {
                let rule = "plus one for each KiB received";
                let detail = format!("the body came too slowly: it had {seconds} seconds, {rule}");
                ProblemDetails::new(408, detail)
            }
            BodyError::NoMemory(limit) => no_memory(limit),
            BodyError::Malformed => {
                ProblemDetails::new(400, "the body's chunks are not well formed")
            }
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

/// Takes a body apart, byte for byte as the framing says.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Plain(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    LastEnd,
    Done,
}

/// The chunks are not well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Plain(length),
            Framing::Chunked => State::Size,
        };
        Decoder { state }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How much is still to come at least.
    pub(crate) fn known_left(&self) -> u64 {
        match self.state {
            State::Plain(left) | State::Chunk(left) => left,
            _ => 0,
        }
    }

    /// How much is still to come, where the client said so.
    pub(crate) fn announced_left(&self) -> Option<u64> {
        match self.state {
            State::Plain(left) => Some(left),
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
                State::Plain(left) => copy(rest, left, out),
                State::Chunk(left) => copy(rest, left, out),
                State::Size => match size(rest)? {
                    Some((size, length)) => {
                        self.state = if size == 0 { State::LastEnd } else { State::Chunk(size) };
                        used += length;
                        continue;
                    }
                    None => return Ok(used),
                },
                State::ChunkEnd | State::LastEnd => {
                    if !line_end(rest)? {
                        return Ok(used);
                    }
                    let last = self.state == State::LastEnd;
                    self.state = if last { State::Done } else { State::Size };
                    used += 2;
                    continue;
                }
                State::Done => return Ok(used),
            };
            if step == 0 {
                return Ok(used);
            }
            used += step;
            self.state = match self.state {
                State::Plain(left) if left == step as u64 => State::Done,
                State::Plain(left) => State::Plain(left - step as u64),
                State::Chunk(left) if left == step as u64 => State::ChunkEnd,
                State::Chunk(left) => State::Chunk(left - step as u64),
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
/// are refused: nobody needs them, and readers differ over what ends them.
fn size(rest: &[u8]) -> Result<Option<(u64, usize)>, Malformed> {
    let digits = rest.iter().take_while(|it| it.is_ascii_hexdigit()).count();
    if SIZE_DIGITS < digits || (digits == 0 && !rest.is_empty()) {
        return Err(Malformed);
    }
    if !line_end(&rest[digits..])? {
        return Ok(None);
    }
    let digit = |it: &u8| u64::from(char::from(*it).to_digit(16).unwrap_or_default());
    let size = rest[..digits].iter().fold(0, |sum, it| sum * 16 + digit(it));
    Ok(Some((size, digits + 2)))
}

/// Whether a line ends here; `false` while that cannot be told. Trailers are refused by this too:
/// behind the last chunk only the empty line is taken.
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
        let read = read(b"4\r\nwiki\r\n5;\r\n").err();
        assert_eq!(read, Some(Malformed));
        let good = b"4\r\nwiki\r\n00A\r\n0123456789\r\n0\r\n\r\nGET";
        assert_eq!(self::read(good), Ok((b"wiki0123456789".to_vec(), 3, true)));
    }

    #[test]
    fn what_is_not_a_chunk_is_told_at_its_first_wrong_byte() {
        for bad in [
            &b"5\n"[..],
            b" 5",
            b"5 ",
            b"5;a=b",
            b"+5",
            b"0x5",
            b"-1",
            b"\r\n",
            b"123456789",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"1\r\nab",
            b"1\r\na\n",
            b"0\r\nX: y\r\n\r\n",
            b"0\r\n\n",
        ] {
            assert_eq!(read(bad), Err(Malformed), "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn cutting_the_bytes_anywhere_changes_nothing(
            input in proptest::collection::vec(
                prop_oneof![Just(b'0'), Just(b'2'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..60),
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
