//! Server-sent events: a client is a cursor into the hub's ring or, before that, the store.

use crate::http::hub::{ClientSlot, Found, Framed, Hub, Serialise};
use crate::http::problem::ProblemDetails;
use crate::http::query;
use crate::http::timer::Timer;
use crate::http::wire::request::Request;
use crate::http::wire::response::{BodyContent, Feed, Reply};
use kernel::env::{Clock, Pending};
use kernel::event::{Globals, Priority};
use kernel::health::{self, PartHealth};
use language::expr::{Expr, Scope};
use smol::lock::Semaphore;
use stages::contract::event_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::StoredEvent;

/// The store, as far as a client behind the ring needs it.
pub trait Backlog: Send + Sync {
    /// Visible events after `after_pos`, up to and including `up_to`, in the order of `pos`: at
    /// most [`CHUNK`] of them, and no more once they hold [`CHUNK_BYTES`]. It may leave out what
    /// was not routed to this sink.
    fn chunk(&self, after_pos: u64, up_to: u64) -> Pending<'_, Result<BacklogChunk, String>>;

    /// The highest position that retention took; 0 when it took none.
    fn taken_pos(&self) -> u64;

    /// The highest position that is visible.
    fn highest_pos(&self) -> u64;

    /// Positions in the same range that can never be sent, because what is there is damaged; of
    /// what [`Backlog::chunk`] has read.
    fn damaged(&self, _after_pos: u64, _up_to: u64) -> Vec<u64> {
        Vec::new()
    }
}

/// A stretch of the store.
pub struct BacklogChunk {
    /// Its events, in the order of `pos`.
    pub events: Vec<Arc<StoredEvent>>,
    /// There are no others up to and including this position.
    pub to: u64,
}

/// The settings of one streaming sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// The most clients.
    pub clients_max: usize,
    /// The most that `?replay=` gives.
    pub replay_max: usize,
    /// Silence after which a comment is sent.
    pub heartbeat: Duration,
    /// After which a client connects again.
    pub retry: Duration,
    /// What a client is sent is gathered for this long, so that many clients cost little.
    pub pace: Duration,
    /// What to do when there are more clients than may be.
    pub advice: &'static str,
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings {
            clients_max: 50,
            replay_max: 100,
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(2),
            pace: Duration::ZERO,
            advice: "write a larger `max-clients` in its sink",
        }
    }
}

/// One streaming sink, ready to be connected to.
#[derive(Clone)]
pub struct Stream {
    /// The newest events.
    pub hub: Arc<Hub>,
    /// The older ones.
    pub backlog: Arc<dyn Backlog>,
    /// Settings.
    pub settings: StreamSettings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The roots of expressions that are the same for every event.
    pub globals: Arc<Globals>,
    /// Turns at the store, for the clients of all streams.
    pub turns: Arc<Semaphore>,
    /// Where it says that all places are taken.
    pub health: PartHealth,
}

/// The code of a stream without a free place.
const FULL: &str = "full";

/// Most events taken from the ring or the store at once.
pub const CHUNK: usize = 64;

/// What these may hold, in bytes; one event is taken, however large it is.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Clients that read the store at the same time, of all streams. A client takes a turn for each
/// chunk, so that none of them waits for another's whole history, and queries always find a
/// connection that no stream uses.
pub const TURNS_MAX: usize = 1;

/// Bytes after which a piece is sent.
const PIECE: usize = 16 * 1024;

impl Stream {
    /// Answers a request for the stream.
    pub fn open(&self, request: &Request<'_>) -> Reply {
        let query = request.head().query().unwrap_or_default();
        let asked = match SseAsked::read(query, request, self) {
            Ok(asked) => asked,
            Err(detail) => return ProblemDetails::new(400, detail).into(),
        };
        let Some(place) = self.hub.enter(self.settings.clients_max) else {
            let StreamSettings { clients_max: most, retry, advice, .. } = self.settings;
            let reason = format!("all {most} places are in use; more clients are rejected");
            self.health.report(health::HealthProblem::degraded(FULL, reason).advise(advice));
            let seconds = retry.as_secs().max(1);
            let detail =
                format!("{most} clients are connected, the maximum for this stream; {advice}");
            return ProblemDetails::new(503, detail).retry_after(seconds).into();
        };
        let client = self.client(asked, place);
        Reply::new(200, "text/event-stream", BodyContent::Stream(Box::new(client)))
            .with("cache-control", "no-store, no-transform")
            .with("x-accel-buffering", "no")
    }

    fn client(&self, asked: SseAsked, place: ClientSlot) -> SseClient {
        let hub = place.hub();
        let (after, to) = hub.range();
        let mut first = format!("retry: {}\n\n", self.settings.retry.as_millis()).into_bytes();
        let cursor = match (asked.last_id, asked.replay) {
            (Some(LastId::Position(id)), _) if id <= to.max(self.backlog.highest_pos()) => {
                let taken = hub.taken();
                let is_gap = (after..taken).contains(&id);
                if is_gap {
                    gap(hub, id, taken, &mut first);
                }
                if is_gap { taken } else { id }
            }
            (Some(id), _) => {
                // Of another store, of one in memory that a restart emptied, or of another stream
                // that was at this address.
                let from = if let LastId::Position(id) = id { id } else { 0 };
                gap(hub, from, after, &mut first);
                after
            }
            (None, Some(count)) => {
                let count = count.min(self.settings.replay_max);
                hub.rewind(count, |hub| asked.filter.lets_through(hub))
            }
            (None, None) => to,
        };
        let mut beat = Timer::new(self.clock.clone());
        beat.set(self.settings.heartbeat);
        SseClient {
            place,
            backlog: self.backlog.clone(),
            turns: self.turns.clone(),
            health: self.health.clone(),
            filter: asked.filter,
            heartbeat: self.settings.heartbeat,
            pace: self.settings.pace,
            clock: self.clock.clone(),
            cursor,
            first,
            beat,
            has_sent: false,
        }
    }
}

/// What lies after `from`, up to and including `to`, is or may be missing. It has an id, so that
/// a client that connects again goes on behind it.
fn gap(hub: &Hub, from: u64, to: u64, out: &mut Vec<u8>) {
    hub.counters.gaps.fetch_add(1, Ordering::Relaxed);
    let data = format!("{{\"from\":{from},\"to\":{to}}}");
    out.extend_from_slice(format!("id: {to}\nevent: gap\ndata: {data}\n\n").as_bytes());
}

/// The last id that a client remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastId {
    Position(u64),
    /// It is none of ours.
    Foreign,
}

impl LastId {
    fn read(text: &str) -> Self {
        number(text).map_or(LastId::Foreign, LastId::Position)
    }
}

/// What the client asked for.
struct SseAsked {
    last_id: Option<LastId>,
    replay: Option<usize>,
    filter: SseFilter,
}

impl SseAsked {
    fn read(query: &str, request: &Request<'_>, stream: &Stream) -> Result<Self, String> {
        let mut asked = SseAsked { last_id: None, replay: None, filter: SseFilter::of(stream) };
        let pairs = query::pairs(query).ok_or("the query is not percent-encoded text")?;
        for (name, value) in pairs {
            match name.as_str() {
                "type" => asked.filter.kinds.push(value),
                "source" => asked.filter.sources.push(value),
                "priority" => {
                    let level = Priority::parse(&value);
                    let level = level.ok_or("`priority` must be low, normal, high or critical")?;
                    asked.filter.priorities.push(level);
                }
                "where" => {
                    let condition = query::condition(&value)?;
                    asked.filter.conditions.push(condition);
                }
                "last_event_id" if value.is_empty() => {}
                "last_event_id" => asked.last_id = Some(LastId::read(&value)),
                "replay" => {
                    let count =
                        number(&value).ok_or("`replay` must be a whole number of events")?;
                    asked.replay = Some(usize::try_from(count).unwrap_or(usize::MAX));
                }
                _ => {
                    let known = "type, source, priority, where, last_event_id and replay";
                    return Err(format!("unknown parameter `{name}`, only {known}"));
                }
            }
        }
        // What the browser remembers is newer than the address that the page was given.
        if let Some(id) = request.header("last-event-id").filter(|header| !header.is_empty()) {
            asked.last_id = Some(LastId::read(id));
        }
        Ok(asked)
    }
}

fn number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// Any of the values of a kind, for every kind that has values, and every condition.
struct SseFilter {
    kinds: Vec<String>,
    sources: Vec<String>,
    priorities: Vec<Priority>,
    conditions: Vec<Expr>,
    clock: Arc<dyn Clock>,
    globals: Arc<Globals>,
}

impl SseFilter {
    /// Lets everything of a stream through.
    fn of(stream: &Stream) -> Self {
        SseFilter {
            kinds: Vec::new(),
            sources: Vec::new(),
            priorities: Vec::new(),
            conditions: Vec::new(),
            clock: stream.clock.clone(),
            globals: stream.globals.clone(),
        }
    }

    fn lets_through(&self, stored: &StoredEvent) -> bool {
        let envelope = &stored.envelope;
        let any = |of: &[String], it: &str| of.is_empty() || of.iter().any(|other| other == it);
        any(&self.kinds, &envelope.kind)
            && any(&self.sources, &envelope.source)
            && (self.priorities.is_empty() || self.priorities.contains(&envelope.priority))
            && self.meets_conditions(stored)
    }

    fn meets_conditions(&self, stored: &StoredEvent) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        let Some(event) = event_of(stored, self.globals.clone()) else { return false };
        let scope = Scope::of(&event, self.clock.wall());
        self.conditions.iter().all(|condition| condition.is_true(&scope))
    }
}

/// A connected client. It holds a position and nothing that grows.
struct SseClient {
    place: ClientSlot,
    backlog: Arc<dyn Backlog>,
    turns: Arc<Semaphore>,
    health: PartHealth,
    filter: SseFilter,
    heartbeat: Duration,
    pace: Duration,
    clock: Arc<dyn Clock>,
    cursor: u64,
    first: Vec<u8>,
    beat: Timer,
    has_sent: bool,
}

impl Drop for SseClient {
    /// A place is free again.
    fn drop(&mut self) {
        self.health.clear(FULL);
    }
}

impl Feed for SseClient {
    fn fill<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pending<'a, bool> {
        Box::pin(async move {
            if self.has_sent && !self.pace.is_zero() {
                self.clock.sleep(self.pace).await;
            }
            self.has_sent = true;
            out.append(&mut self.first);
            let more = self.gather(out).await;
            self.beat.set(self.heartbeat);
            more
        })
    }
}

impl SseClient {
    async fn gather(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let news = self.place.hub().listen();
            match self.place.hub().next(self.cursor, CHUNK, CHUNK_BYTES) {
                Found::Before(range) => {
                    if let Err(error) = self.read_store(range, out).await {
                        // The client connects again and goes on from its last id.
                        tracing::warn!(%error, "a stream could not read the store");
                        return false;
                    }
                }
                Found::Next(events, to) => self.take(&events, to, out),
                // The client connects again, and resumes after its last id.
                Found::Closed => return false,
                Found::Nothing if !out.is_empty() => return true,
                Found::Nothing => {
                    if self.beat.expires_before(news).await {
                        out.extend_from_slice(b":\n\n");
                        return true;
                    }
                }
            }
            if PIECE <= out.len() {
                return true;
            }
            // A filter that lets nothing through must not keep the thread.
            smol::future::yield_now().await;
        }
    }

    /// One step through the store, towards the ring's range.
    async fn read_store(&mut self, up_to: u64, out: &mut Vec<u8>) -> Result<(), String> {
        let chunk = {
            let _turn = self.turns.acquire().await;
            self.backlog.chunk(self.cursor, up_to).await?
        };
        // Asked after the chunk: what retention takes meanwhile is then told, not lost.
        let taken = self.backlog.taken_pos().min(up_to);
        if self.cursor < taken {
            gap(self.place.hub(), self.cursor, taken, out);
            self.cursor = taken;
        }
        let last = chunk.to.max(self.cursor);
        let mut rest = chunk.events.as_slice();
        for pos in self.backlog.damaged(self.cursor, last) {
            let before = rest.partition_point(|it| it.pos < pos);
            self.take_stored(&rest[..before], pos - 1, out);
            rest = &rest[before..];
            gap(self.place.hub(), pos - 1, pos, out);
            self.cursor = pos;
        }
        self.take_stored(rest, last, out);
        Ok(())
    }

    fn take_stored(&mut self, chunk: &[Arc<StoredEvent>], last: u64, out: &mut Vec<u8>) {
        let events: Vec<_> = chunk
            .iter()
            .filter(|it| self.cursor < it.pos && self.place.hub().takes(it))
            .map(|it| Arc::new(Framed::new(it.clone())))
            .collect();
        self.take(&events, last.max(self.cursor), out);
    }

    fn take(&mut self, events: &[Arc<Framed>], to: u64, out: &mut Vec<u8>) {
        let hub = self.place.hub();
        let serialise: &Serialise = hub.serialise();
        let wanted = events.iter().filter(|event| self.filter.lets_through(&event.stored));
        let mut sent = 0;
        for event in wanted {
            out.extend_from_slice(event.bytes(serialise));
            sent += 1;
        }
        hub.counters.sent.fetch_add(sent, Ordering::Relaxed);
        self.cursor = to;
    }
}

#[cfg(test)]
mod tests;
