//! One request and its answer on one connection.
//!
//! *Invariant:* a connection is used again only when every byte of the answer was understood, and
//! no byte followed it.

use super::body::BodyReader;
use super::input::InputBuffer;
use super::pool::ConnectionLease;
use super::problem::{CallPhase, CallProgress, broken_fault, closed_fault, is_close};
use super::problem::{malformed, protocol_fault};
use super::request::PreparedRequest;
use super::stream::Connection;
use crate::{FetchRequest, FetchResponse};
use kernel::env::{Clock, within};
use kernel::fault::Fault;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use ureq_proto::Error as ProtocolError;
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, MAX_RESPONSE_HEADERS, RecvResponseResult};
use ureq_proto::http::{HeaderMap, Response};
use ureq_proto::parser::try_parse_response;

/// Interim answers (1xx) that may come before the one that counts.
const INTERIM_MAX: usize = 32;

/// An answer, and whether its connection may be used again.
pub(super) struct Exchanged {
    pub(super) response: FetchResponse,
    pub(super) is_reusable: bool,
}

/// No answer, and whether there was a sign of one.
pub(super) struct BrokenExchange {
    pub(super) fault: Fault,
    /// The connection ended before any byte of an answer.
    pub(super) is_unanswered: bool,
}

impl Exchanged {
    pub(super) fn end<C>(self, lease: ConnectionLease<C>) -> FetchResponse {
        if self.is_reusable {
            lease.keep();
        }
        self.response
    }
}

/// Sends `prepared`, which was made of `request`, and reads the answer.
pub(super) async fn exchange<S: Connection>(
    stream: &mut S,
    prepared: PreparedRequest,
    request: &FetchRequest,
    progress: &CallProgress,
) -> Result<Exchanged, BrokenExchange> {
    let mut exchange = HttpExchange::new(stream, prepared.call);
    let body = request.body.as_deref().filter(|_| !prepared.is_joined).unwrap_or_default();
    progress.enter(CallPhase::Sending);
    match exchange.head_of_answer([&prepared.start, body], progress).await {
        Ok(head) => {
            progress.enter(CallPhase::Reading);
            let rest = exchange.rest(head, request.body_max).await;
            rest.map_err(|fault| BrokenExchange { fault, is_unanswered: false })
        }
        Err(fault) => {
            let is_unanswered = exchange.is_ended && exchange.input.is_untouched();
            Err(BrokenExchange { fault, is_unanswered })
        }
    }
}

/// What takes the parts of a body as they come, and says whether it wants more.
pub(super) type TakePart<'a> = &'a mut (dyn FnMut(&[u8]) -> bool + Send);

/// The same for an answer that may never end: `take` gets the body of a 200 part by part, and
/// that of any other status is read whole. The limit of time is for the head, for a body that is
/// read whole, and for each silence between two parts.
pub(super) async fn follow<S: Connection>(
    stream: &mut S,
    prepared: PreparedRequest,
    request: &FetchRequest,
    progress: &CallProgress,
    clock: &dyn Clock,
    take: TakePart<'_>,
) -> Result<FetchResponse, Fault> {
    let mut exchange = HttpExchange::new(stream, prepared.call);
    let body = request.body.as_deref().filter(|_| !prepared.is_joined).unwrap_or_default();
    progress.enter(CallPhase::Sending);
    let head = exchange.head_of_answer([&prepared.start, body], progress);
    let head = within(clock, request.timeout, head).await;
    let head = head.unwrap_or_else(|| Err(progress.too_late()))?;
    progress.enter(CallPhase::Reading);
    if head.status().as_u16() != 200 {
        let rest = within(clock, request.timeout, exchange.rest(head, request.body_max)).await;
        return Ok(rest.unwrap_or_else(|| Err(progress.too_late()))?.response);
    }
    let HttpExchange { stream, mut input, call, is_ended, .. } = exchange;
    let response =
        FetchResponse { status: 200, headers: readable(head.headers()), body: Vec::new() };
    let Some(RecvResponseResult::RecvBody(call)) = call.proceed() else { return Ok(response) };
    let mut reader = BodyReader::new(stream, &mut input, call, is_ended, &head)?;
    let mut part = Vec::new();
    loop {
        let step = within(clock, request.timeout, reader.step(&mut part, request.body_max)).await;
        let has_more = step.unwrap_or_else(|| Err(progress.too_late()))?;
        if !part.is_empty() && !take(&part) || !has_more {
            return Ok(response);
        }
        part.clear();
    }
}

struct HttpExchange<'a, S> {
    stream: &'a mut S,
    input: InputBuffer,
    call: Call<RecvResponse>,
    /// The head of the answer, as soon as it is whole.
    head: Option<Response<()>>,
    interim: usize,
    /// Bytes of the request that are sent.
    sent: usize,
    is_sent: bool,
    /// The other side sends nothing more.
    is_ended: bool,
    /// Why sending broke off; counts only when there is no answer.
    fault: Option<io::Error>,
}

enum ExchangeStep {
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
    Read(io::Result<usize>),
}

impl<'a, S: Connection> HttpExchange<'a, S> {
    fn new(stream: &'a mut S, call: Call<RecvResponse>) -> Self {
        HttpExchange {
            stream,
            input: InputBuffer::new(),
            call,
            head: None,
            interim: 0,
            sent: 0,
            is_sent: false,
            is_ended: false,
            fault: None,
        }
    }

    async fn head_of_answer(
        &mut self,
        parts: [&[u8]; 2],
        progress: &CallProgress,
    ) -> Result<Response<()>, Fault> {
        self.send(parts).await?;
        progress.enter(CallPhase::Awaiting);
        loop {
            if let Some(head) = self.head.take() {
                return Ok(head);
            }
            if self.is_ended {
                return Err(self.no_answer());
            }
            let result = poll_fn(|context| self.poll_read(context)).await;
            self.arrived(result)?;
        }
    }

    /// Sends everything, unless the other side has answered before or takes nothing more: what it
    /// has said then is still read, so that a refusal is seen as one.
    async fn send(&mut self, parts: [&[u8]; 2]) -> Result<(), Fault> {
        while !self.is_sent && self.head.is_none() && !self.is_ended {
            match poll_fn(|context| self.poll_send(context, parts)).await {
                ExchangeStep::Wrote(Ok(count)) if 0 < count => self.sent += count,
                ExchangeStep::Wrote(Ok(_)) => {
                    self.fault = Some(io::ErrorKind::WriteZero.into());
                    return Ok(());
                }
                ExchangeStep::Flushed(Ok(())) => self.is_sent = true,
                ExchangeStep::Wrote(Err(fault)) | ExchangeStep::Flushed(Err(fault)) => {
                    self.fault = Some(fault);
                    return Ok(());
                }
                ExchangeStep::Read(result) => self.arrived(result)?,
            }
        }
        Ok(())
    }

    /// Writes first; reads only where writing has to wait, so that a service which answers
    /// without reading the request is heard.
    fn poll_send(&mut self, context: &mut Context<'_>, parts: [&[u8]; 2]) -> Poll<ExchangeStep> {
        let [start, rest] = parts;
        let left = match self.sent.checked_sub(start.len()) {
            None => &start[self.sent..],
            Some(sent) => &rest[sent..],
        };
        let step = if left.is_empty() {
            Pin::new(&mut *self.stream).poll_flush(context).map(ExchangeStep::Flushed)
        } else {
            Pin::new(&mut *self.stream).poll_write(context, left).map(ExchangeStep::Wrote)
        };
        match step {
            Poll::Ready(step) => Poll::Ready(step),
            Poll::Pending => self.poll_read(context).map(ExchangeStep::Read),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let space = self.input.space();
        assert!(!space.is_empty(), "a full buffer is a fault by then");
        Pin::new(&mut *self.stream).poll_read(context, space)
    }

    /// Looks at what a read brought while the head is not whole.
    fn arrived(&mut self, result: io::Result<usize>) -> Result<(), Fault> {
        match result {
            Ok(0) => self.is_ended = true,
            Ok(count) => {
                let is_first = self.input.unread().is_empty();
                // A head can only be whole, or wrong, where a line ends.
                if self.input.filled(count).contains(&b'\n') || is_first {
                    self.parse_head()?;
                }
                if self.head.is_none() && self.input.space().is_empty() {
                    return Err(malformed("its head is too long"));
                }
            }
            Err(fault) => {
                self.is_ended = true;
                self.fault.get_or_insert(fault);
            }
        }
        Ok(())
    }

    fn parse_head(&mut self) -> Result<(), Fault> {
        while let Some(first) = self.input.unread().first() {
            if *first != b'H' {
                return Err(malformed("it does not begin with HTTP/1"));
            }
            let (used, head) = match self.call.try_response(self.input.unread(), false) {
                // A 100 with headers is unusual and means nothing else.
                Err(ProtocolError::HeadersWith100) => (interim_length(self.input.unread()), None),
                result => result.map_err(protocol_fault)?,
            };
            self.input.consume(used);
            self.head = head;
            if self.head.is_some() || used == 0 {
                break;
            }
            self.interim += 1;
            if INTERIM_MAX < self.interim {
                return Err(malformed("too many interim responses"));
            }
        }
        Ok(())
    }

    fn no_answer(&mut self) -> Fault {
        match self.fault.take() {
            Some(fault) if !is_close(&fault) => broken_fault(&fault),
            _ if self.input.is_untouched() => closed_fault("without a response"),
            _ => closed_fault("in the middle of the response"),
        }
    }

    /// The body, by the rules that the head has set.
    async fn rest(self, head: Response<()>, body_max: usize) -> Result<Exchanged, Fault> {
        let HttpExchange { stream, mut input, call, is_sent, is_ended, .. } = self;
        let (body, must_close) = match call.proceed() {
            Some(RecvResponseResult::RecvBody(call)) => {
                BodyReader::new(stream, &mut input, call, is_ended, &head)?.read(body_max).await?
            }
            Some(RecvResponseResult::Redirect(call)) => (Vec::new(), call.must_close_connection()),
            Some(RecvResponseResult::Cleanup(call)) => (Vec::new(), call.must_close_connection()),
            None => return Err(malformed("its head says nothing about its body")),
        };
        let is_reusable = is_sent && !is_ended && !must_close && input.unread().is_empty();
        let (status, headers) = (head.status().as_u16(), readable(head.headers()));
        Ok(Exchanged { response: FetchResponse { status, headers, body }, is_reusable })
    }
}

fn interim_length(input: &[u8]) -> usize {
    let parsed = try_parse_response::<MAX_RESPONSE_HEADERS>(input);
    parsed.ok().flatten().map_or(0, |(used, _)| used)
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.iter();
    headers.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}
