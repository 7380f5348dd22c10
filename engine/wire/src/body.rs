//! The body of an answer, up to where the head says that it ends.

use super::input::InputBuffer;
use super::problem::{broken_fault, closed_fault, is_close, malformed, protocol_fault, too_long};
use super::stream::Connection;
use kernel::fault::Fault;
use std::future::poll_fn;
use std::pin::Pin;
use ureq_proto::BodyMode;
use ureq_proto::client::state::RecvBody;
use ureq_proto::client::{Call, RecvBodyResult};
use ureq_proto::http::{Response, Version, header};

/// Bytes of chunk lengths and trailers in a row, without a byte of the body.
const FRAMING_MAX: usize = 64 << 10;

/// Bytes of one chunk length or trailer. Each is looked at again whenever a byte comes, so that
/// longer ones would let a service that sends single bytes cost us much.
const LINE_MAX: usize = 8 << 10;

/// Reads after which the others have a turn: a service that never makes us wait would hold up
/// all that runs on the same thread, the clock that ends this call included.
const READS_MAX: usize = 16;

/// Reads one body.
pub(super) struct BodyReader<'a, S> {
    stream: &'a mut S,
    input: &'a mut InputBuffer,
    call: Call<RecvBody>,
    is_ended: bool,
    reads: usize,
    /// Bytes of chunk lengths and trailers in a row.
    framing: usize,
    /// The body ended with the connection.
    is_cut: bool,
}

impl<'a, S: Connection> BodyReader<'a, S> {
    /// Fails when the head does not say clearly where the body ends. Without that, one reading
    /// would take a part of the body for the next answer.
    pub(super) fn new(
        stream: &'a mut S,
        input: &'a mut InputBuffer,
        call: Call<RecvBody>,
        is_ended: bool,
        head: &Response<()>,
    ) -> Result<Self, Fault> {
        check_framing(head)?;
        Ok(BodyReader { stream, input, call, is_ended, reads: 0, framing: 0, is_cut: false })
    }

    /// The body, and whether the connection must be closed after it.
    pub(super) async fn read(mut self, body_max: usize) -> Result<(Vec<u8>, bool), Fault> {
        let mode = self.call.body_mode();
        if let BodyMode::LengthDelimited(length) = mode
            && (body_max as u64) < length
        {
            return Err(too_long(body_max));
        }
        let mut body = Vec::new();
        while self.step(&mut body, body_max).await? {}
        let must_close = match self.call.proceed() {
            _ if self.is_cut => true,
            Some(RecvBodyResult::Redirect(call)) => call.must_close_connection(),
            Some(RecvBodyResult::Cleanup(call)) => call.must_close_connection(),
            None => true,
        };
        Ok((body, must_close))
    }

    /// Moves what has arrived behind what `body` has, or waits for more to arrive; `false` at the
    /// end. A body that comes to more than `body_max` bytes is a fault.
    pub(super) async fn step(
        &mut self,
        body: &mut Vec<u8>,
        body_max: usize,
    ) -> Result<bool, Fault> {
        let is_until_close = self.call.body_mode() == BodyMode::CloseDelimited;
        if !is_until_close && self.call.can_proceed() {
            return Ok(false);
        }
        let (used, made) = self.decode(body, body_max)?;
        self.framing = if 0 < made { 0 } else { self.framing + used };
        if FRAMING_MAX < self.framing {
            return Err(malformed("its chunk lengths or trailers are too long"));
        }
        if used == 0 && !self.fill().await? {
            self.is_cut = true;
            return match is_until_close || self.call.is_ended_chunked() {
                true => Ok(false),
                false => Err(closed_fault("in the middle of the response")),
            };
        }
        Ok(true)
    }

    /// Moves what has arrived into the body; how much was used, and how much it made.
    fn decode(&mut self, body: &mut Vec<u8>, body_max: usize) -> Result<(usize, usize), Fault> {
        let (before, unread) = (body.len(), self.input.unread());
        // Never more than has arrived, and one byte over the limit to see that there is one.
        let room = unread.len().min((body_max - before).saturating_add(1));
        body.resize(before + room, 0);
        let (used, made) = self.call.read(unread, &mut body[before..]).map_err(protocol_fault)?;
        body.truncate(before + made);
        self.input.consume(used);
        if body_max < body.len() {
            return Err(too_long(body_max));
        }
        Ok((used, made))
    }

    /// Waits for more; `false` when nothing more comes.
    async fn fill(&mut self) -> Result<bool, Fault> {
        if self.is_ended {
            return Ok(false);
        }
        if LINE_MAX <= self.input.unread().len() {
            return Err(malformed("its chunk lengths or trailers are too long"));
        }
        self.reads += 1;
        if self.reads.is_multiple_of(READS_MAX) {
            smol::future::yield_now().await;
        }
        let read =
            poll_fn(|context| Pin::new(&mut *self.stream).poll_read(context, self.input.space()));
        match read.await {
            Ok(0) => self.is_ended = true,
            Err(fault) if is_close(&fault) => self.is_ended = true,
            Err(fault) => return Err(broken_fault(&fault)),
            Ok(count) => {
                self.input.filled(count);
            }
        }
        Ok(!self.is_ended)
    }
}

fn check_framing(head: &Response<()>) -> Result<(), Fault> {
    let mut codings = head.headers().get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if head.headers().contains_key(header::CONTENT_LENGTH) {
        return Err(malformed("it has both a length and a transfer encoding"));
    }
    if head.version() == Version::HTTP_10 {
        return Err(malformed("it has a transfer encoding, which HTTP/1.0 does not support"));
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(malformed("it has a transfer encoding other than chunked"));
    }
    Ok(())
}
