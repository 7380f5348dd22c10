//! Compressed bodies: gzip (RFC 1952), of one member or several.

use crate::http::problem::ProblemDetails;
use crate::http::wire::body::BodyError;
use crate::http::wire::head::Head;
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use flate2::bufread::MultiGzDecoder;
use language::write_bytes;
use std::io::Read;

/// How much is unpacked before other tasks get the thread.
const TURN: usize = 1 << 16;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
}

/// The coding that the request names; another one is refused by its name.
pub(super) fn coding_of(head: &Head) -> Result<Coding, Reply> {
    let values = head.headers().filter(|header| header.0.eq_ignore_ascii_case("content-encoding"));
    let values: Vec<String> =
        values.map(|value| String::from_utf8_lossy(value.1).into_owned()).collect();
    let codings = values.iter().flat_map(|value| value.split(','));
    let codings = codings.map(str::trim).filter(|coding| !coding.is_empty());
    let mut found = Coding::Plain;
    for coding in codings.filter(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let is_gzip = ["gzip", "x-gzip"].iter().any(|it| coding.eq_ignore_ascii_case(it));
        let detail = match (is_gzip, found) {
            (true, Coding::Plain) => {
                found = Coding::Gzip;
                continue;
            }
            (true, Coding::Gzip) => "the body is compressed twice; compress it once".to_owned(),
            (false, _) => {
                let shown: String = coding.chars().take(30).collect();
                format!(
                    "`Content-Encoding: {shown}` is not supported; send the body with gzip, or \
                     uncompressed"
                )
            }
        };
        let refused = Reply::from(ProblemDetails::new(415, detail));
        return Err(refused.with("accept-encoding", "gzip, identity"));
    }
    Ok(found)
}

/// The body without its compression, at most `most` bytes of it: the limit counts while it is
/// unpacked, so a small body that would be huge costs no more than the limit.
pub(super) async fn unpack(
    request: &mut Request<'_>,
    packed: &[u8],
    most: usize,
) -> Result<Vec<u8>, Reply> {
    let mut decoder = MultiGzDecoder::new(packed);
    let (mut body, mut piece) = (Vec::new(), vec![0; TURN]);
    loop {
        let count = decoder.read(&mut piece).map_err(|_| broken())?;
        if count == 0 {
            return Ok(body);
        }
        if most - body.len() < count {
            return Err(too_large(most));
        }
        if body.capacity() < body.len() + count {
            let more = (body.len() + count).max(2 * body.capacity()).min(most) - body.len();
            request.charge(more).map_err(|error: BodyError| Reply::from(error))?;
            body.reserve_exact(more);
        }
        body.extend_from_slice(&piece[..count]);
        smol::future::yield_now().await;
    }
}

fn broken() -> Reply {
    let detail = "the body is not valid gzip, although its `Content-Encoding` says so";
    ProblemDetails::new(400, detail).into()
}

fn too_large(most: usize) -> Reply {
    let most = write_bytes(most as u64);
    let detail = format!(
        "the body is larger than {most} when unpacked; write `server {{ max-body \"…\" }}` in the \
         pipeline file to accept larger ones"
    );
    ProblemDetails::new(413, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request_head;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The body, or the status.
    fn unpacked(packed: &[u8], most: usize) -> Result<Vec<u8>, u16> {
        let head = request_head("POST /e HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut nothing = Vec::new();
        let mut request = Request::new(head, None, &mut nothing);
        smol::block_on(unpack(&mut request, packed, most)).map_err(|fault| fault.status())
    }

    #[test]
    fn members_are_joined_and_the_limit_is_of_what_they_hold() {
        let both = [packed(b"{\"a\":"), packed(b"1}")].concat();
        assert_eq!(unpacked(&both, 7), Ok(b"{\"a\":1}".to_vec()));
        assert_eq!(unpacked(&both, 6), Err(413));
        let bomb = packed(&vec![b' '; 50 << 20]);
        assert!(bomb.len() < 1 << 16);
        assert_eq!(unpacked(&bomb, 1 << 20), Err(413));
    }

    #[test]
    fn what_is_cut_damaged_or_no_gzip_at_all_is_refused() {
        let whole = packed(b"{\"type\":\"ring\"}");
        for length in 0..whole.len() {
            assert_eq!(unpacked(&whole[..length], 100), Err(400), "{length}");
        }
        let mut damaged = whole.clone();
        let sum = damaged.len() - 8;
        damaged[sum] ^= 1;
        assert_eq!(unpacked(&damaged, 100), Err(400));
        assert_eq!(unpacked(&[&whole[..], b"rest"].concat(), 100), Err(400));
        assert_eq!(unpacked(b"{\"type\":\"ring\"}", 100), Err(400));
    }

    #[test]
    fn another_coding_is_refused_by_its_name() {
        let coding = |value: &str| {
            let fields = format!("Content-Encoding: {value}\r\n");
            let head = format!("POST /e HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
            coding_of(&request_head(&head)).map_err(|fault| {
                assert_eq!(
                    (fault.status(), fault.header("accept-encoding")),
                    (415, Some("gzip, identity"))
                );
                String::from_utf8(fault.content().bytes().unwrap().to_vec()).unwrap()
            })
        };
        for plain in ["identity", "", "Identity, identity"] {
            assert_eq!(coding(plain), Ok(Coding::Plain), "{plain}");
        }
        for gzip in ["gzip", "GZIP", "x-gzip", "identity, gzip"] {
            assert_eq!(coding(gzip), Ok(Coding::Gzip), "{gzip}");
        }
        for other in ["br", "deflate", "zstd", "gzip, br"] {
            let name = other.rsplit(", ").next().unwrap();
            assert!(coding(other).unwrap_err().contains(&format!("Content-Encoding: {name}`")));
        }
        assert!(coding("gzip, gzip").unwrap_err().contains("twice"));
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(bytes in proptest::collection::vec(any::<u8>(), 0..300_000)) {
            prop_assert_eq!(unpacked(&packed(&bytes), bytes.len()), Ok(bytes));
        }
    }
}
