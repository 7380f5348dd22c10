//! One connection: request after request, each understood in full or refused.
//!
//! *Invariant:* answers leave in the order of the requests, and the next request is looked for
//! exactly where the last one's framing says that it ended.
//! *Never:* a connection goes on after something that was refused, cut short or left unread.

pub mod body;
pub mod head;
pub mod hosts;
mod io;
mod reader;
pub(crate) mod refusal;
pub mod request;
pub mod response;
pub(crate) mod target;

#[cfg(test)]
mod tests;

use crate::http::limits::ServerLimits;
use crate::http::places::{Seat, SeatPhase};
use crate::http::problem::ProblemDetails;
use crate::http::service::{ServerContext, count};
use crate::http::timer::Timer;
use futures_util::FutureExt;
use head::{Head, Method, Version};
use io::{Io, Lost};
use reader::Reader;
use refusal::RequestRefusal;
use request::Request;
use response::{BodyContent, Feed, Frame, Reply};
use smol::io::{AsyncRead, AsyncWrite};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// The two addresses of a connection, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ends {
    /// Theirs.
    pub peer: Option<IpAddr>,
    /// Ours, a host that may be asked for.
    pub local: Option<IpAddr>,
}

impl Ends {
    /// Whether the other end is a program on this machine.
    pub(crate) fn is_of_this_machine(self) -> bool {
        let peer = self.peer.map(|peer| peer.to_canonical());
        peer.is_some_and(|it| it.is_loopback() || self.local.map(|own| own.to_canonical()) == peer)
    }
}

/// Bodies shorter than this go out together with their head.
const JOINED_MAX: usize = 16 * 1024;

/// Memory that a stream keeps between its pieces.
const PIECE_KEPT: usize = 32 * 1024;

/// What a client may say while it listens to a stream.
const CHATTER_MAX: usize = 64 * 1024;

/// After so many requests in a row a connection lets others have the thread.
const TURN: u32 = 32;

/// Answers the requests of one connection until it ends.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    ends: Ends,
    seat: &Arc<Seat>,
    site: &ServerContext,
) {
    let io = Io::new(stream, site.limits.head_bytes, site.clock.clone(), &site.stop);
    let total = Timer::new(site.clock.clone());
    let mut connection = WireConnection { io, total, site, seat, ends, out: Vec::new() };
    let mut requests = 0u32;
    while connection.turn().await == Then::Next {
        requests = requests.wrapping_add(1);
        if requests.is_multiple_of(TURN) {
            smol::future::yield_now().await;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    Next,
    End,
}

struct WireConnection<'s, S> {
    io: Io<'s, S>,
    /// Of the request under way.
    total: Timer,
    site: &'s ServerContext,
    seat: &'s Arc<Seat>,
    ends: Ends,
    out: Vec<u8>,
}

/// Why there is no request to answer.
enum NoHead {
    Refused(RequestRefusal),
    Gone,
}

impl From<RequestRefusal> for NoHead {
    fn from(refusal: RequestRefusal) -> Self {
        NoHead::Refused(refusal)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> WireConnection<'_, S> {
    /// One request and its answer.
    async fn turn(&mut self) -> Then {
        let head = match self.head().await {
            Ok(head) => head,
            Err(NoHead::Gone) => return Then::End,
            Err(NoHead::Refused(refusal)) => {
                self.refuse(refusal).await;
                return Then::End;
            }
        };
        count(&self.site.counters.requests);
        let (method, version) = (head.method(), head.version());
        let wishes_more = head.keeps_alive();
        let (reply, whole) = self.ask(head).await;
        let reply = self.affordable(reply);
        let keeps_alive = wishes_more
            && whole
            && !reply.closes()
            && !reply.is_stream()
            && !self.site.stop.is_stopped();
        let answered = self.answer(reply, method, version, keeps_alive).await;
        self.seat.note_answer();
        self.site.places.release(self.seat);
        match answered {
            Ok(()) if keeps_alive => Then::Next,
            Ok(()) => {
                self.linger().await;
                Then::End
            }
            Err(_) => Then::End,
        }
    }

    /// The reply, or the refusal to hold so much until the client has taken it.
    fn affordable(&self, reply: Reply) -> Reply {
        let size = reply.content().own_size();
        if size < JOINED_MAX {
            return reply;
        }
        let (limits, now) = (&self.site.limits, self.io.timer.now());
        if !self.site.places.charge(self.seat, size, limits, now) {
            count(&self.site.counters.refused_bytes);
            return body::no_memory(limits.held_bytes).into();
        }
        self.seat.enter(SeatPhase::Writing, now);
        reply
    }

    /// Waits for a head and reads it.
    async fn head(&mut self) -> Result<Head, NoHead> {
        self.seat.enter(SeatPhase::Waiting, self.io.timer.now());
        self.io.timer.set(self.site.limits.idle_time);
        self.skip_empty_line().await?;
        let start = self.io.timer.now();
        self.total.set_at(start + self.site.limits.total_time);
        self.io.timer.set_at(start + self.site.limits.head_time);
        let mut scanned = 0;
        let length = loop {
            let bytes = self.io.unread();
            if let Some(length) = head::end(bytes, scanned)? {
                break length;
            }
            scanned = bytes.len();
            if self.io.is_full() {
                return Err(too_long(bytes, &self.site.limits).into());
            }
            match self.io.fill().await {
                Ok(()) => {}
                Err(Lost::Timeout) => return Err(late_head(&self.site.limits).into()),
                Err(_) => return Err(NoHead::Gone),
            }
        };
        let bytes = &self.io.unread()[..length];
        let (limits, hosts) = (&self.site.limits, self.site.hosts.get());
        let head = Head::parse(bytes, limits, &hosts, self.ends.local)?;
        self.io.used(length);
        Ok(head)
    }

    /// Waits for the first byte of a head. One empty line before it is passed over, as some
    /// clients send one behind a body.
    async fn skip_empty_line(&mut self) -> Result<(), NoHead> {
        let mut skipped = false;
        loop {
            match self.io.unread() {
                [b'\r', b'\n', ..] if !skipped => {
                    self.io.used(2);
                    skipped = true;
                }
                [] | [b'\r'] if !skipped => self.more_idle().await?,
                [] => self.more_idle().await?,
                _ => return Ok(()),
            }
        }
    }

    async fn more_idle(&mut self) -> Result<(), NoHead> {
        self.io.fill_idle().await.map_err(|_| NoHead::Gone)
    }

    /// Lets the service answer; and whether all of the request was taken from the wire, so that
    /// another one may follow.
    async fn ask(&mut self, head: Head) -> (Reply, bool) {
        let (site, seat) = (self.site, self.seat);
        seat.enter(SeatPhase::Answering, self.io.timer.now());
        let mut reader = Reader::new(&head, &mut self.io, seat, site);
        let mut request = Request::new(head, self.ends.peer, &mut reader);
        let work = AssertUnwindSafe(async {
            // The service's own making of the future may panic as well as its polling.
            site.service.respond(&mut request).await
        })
        .catch_unwind();
        let late = async {
            self.total.expired().await;
            None
        };
        let reply = smol::future::or(async { Some(work.await) }, late).await;
        let whole = reader.finish();
        match reply {
            Some(Ok(reply)) => (reply, whole),
            Some(Err(_)) => {
                count(&site.counters.panics);
                (ProblemDetails::new(500, "the response could not be produced").into(), false)
            }
            None => {
                count(&site.counters.timeouts);
                (ProblemDetails::new(408, "the request took too long").into(), false)
            }
        }
    }

    /// Tells why, and ends.
    async fn refuse(&mut self, refusal: RequestRefusal) {
        let counters = &self.site.counters;
        let late = refusal.status == 408;
        count(if late { &counters.timeouts } else { &counters.refused_requests });
        let reply = Reply::from(ProblemDetails::new(refusal.status, refusal.detail));
        let reply = match refusal.status {
            // What is allowed here is not known yet: these are all the methods that there are.
            405 => reply.with("allow", Method::WORDS.join(", ")),
            _ => reply,
        };
        self.total.set(self.site.limits.write_time);
        if self.answer(reply, Method::Get, Version::Http11, false).await.is_ok() {
            self.linger().await;
        }
    }

    async fn answer(
        &mut self,
        reply: Reply,
        method: Method,
        version: Version,
        keeps_alive: bool,
    ) -> Result<(), Lost> {
        let date = self.site.date();
        let frame = Frame { version, keeps_alive, date: &date };
        self.out.clear();
        frame.head(&reply, &mut self.out);
        let bare = method == Method::Head || !reply.may_have_body();
        match reply.into_content() {
            _ if bare => self.write_rest(&[]).await,
            BodyContent::Full(bytes) => self.write_rest(&bytes).await,
            BodyContent::Shared(bytes) => self.write_rest(&bytes).await,
            BodyContent::Static(bytes) => self.write_rest(bytes).await,
            BodyContent::Stream(feed) => self.stream(feed, frame.chunks()).await,
        }
    }

    /// Writes what stands in `out`, and `bytes`.
    async fn write_rest(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let pause = self.site.limits.write_time;
        // An answer that was late has a moment to leave all the same.
        let until = self.total.deadline().max(self.total.now() + Duration::from_secs(1));
        let joined = bytes.len() < JOINED_MAX;
        if joined {
            self.out.extend_from_slice(bytes);
        }
        self.io.write(&self.out, pause, until).await?;
        if joined { Ok(()) } else { self.io.write(bytes, pause, until).await }
    }

    /// Writes what stands in `out`, and then what the feed gives until it or the client ends.
    async fn stream(&mut self, mut feed: Box<dyn Feed>, chunks: bool) -> Result<(), Lost> {
        let pause = self.site.limits.write_time;
        self.seat.enter(SeatPhase::Streaming, self.io.timer.now());
        self.io.write(&self.out, pause, Duration::MAX).await?;
        let (mut piece, mut allowance) = (Vec::new(), CHATTER_MAX);
        loop {
            piece.clear();
            let more = match self.io.unless_gone(feed.fill(&mut piece), &mut allowance).await {
                Ok(more) => more,
                Err(Lost::Stopped) => false,
                Err(lost) => return Err(lost),
            };
            self.out.clear();
            if chunks && !piece.is_empty() {
                response::chunk(&piece, &mut self.out);
            }
            if chunks && !more {
                response::chunk(&[], &mut self.out);
            }
            self.afford_piece(piece.capacity() + self.out.capacity())?;
            let bytes = if chunks { &self.out } else { &piece };
            self.io.write(bytes, pause, Duration::MAX).await?;
            self.site.places.release(self.seat);
            // A large event must not stay for as long as its listener does.
            piece.shrink_to(PIECE_KEPT);
            self.out.shrink_to(PIECE_KEPT);
            if !more {
                return Ok(());
            }
        }
    }

    /// Counts what is held until the client has taken it. Without memory for it the stream ends;
    /// the client comes back for it.
    fn afford_piece(&self, size: usize) -> Result<(), Lost> {
        let (limits, now) = (&self.site.limits, self.io.timer.now());
        if size <= 2 * PIECE_KEPT || self.site.places.charge(self.seat, size, limits, now) {
            return Ok(());
        }
        count(&self.site.counters.refused_bytes);
        Err(Lost::Closed)
    }

    async fn linger(&mut self) {
        self.seat.enter(SeatPhase::Leaving, self.io.timer.now());
        let limits = &self.site.limits;
        self.io.linger(limits.linger_time, limits.linger_bytes).await;
    }
}

/// What is too long about a head that does not end.
fn too_long(bytes: &[u8], limits: &ServerLimits) -> RequestRefusal {
    match bytes.contains(&b'\n') {
        true => RequestRefusal::long_head(limits),
        false => RequestRefusal::long_target(limits),
    }
}

fn late_head(limits: &ServerLimits) -> RequestRefusal {
    let seconds = limits.head_time.as_secs();
    RequestRefusal::new(408, format!("the request head was not complete within {seconds} seconds"))
}
