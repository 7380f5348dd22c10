//! Server-sent events: a client is a cursor into the hub's ring or, before that, the store.

use crate::http::hub::{Found, Framed, Hub, Place, Serialise};
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::timer::Timer;
use crate::http::wire::head::Method;
use crate::http::wire::request::Request;
use crate::http::wire::response::{Content, Feed, Reply};
use stages::env::{Clock, Pending};
use stages::event::Priority;
use stages::store::Stored;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The store, as far as a client behind the ring needs it.
pub trait Backlog: Send + Sync {
    /// Visible events after `after_pos`, up to and including `up_to`, in the order of `pos`, the
    /// first `limit` of them. It may leave out what was not routed to this sink. Fewer than
    /// `limit` means that there are no more up to `up_to`.
    fn chunk(
        &self,
        after_pos: u64,
        up_to: u64,
        limit: usize,
    ) -> Pending<'_, Result<Vec<Arc<Stored>>, String>>;

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
}

impl Default for StreamSettings {
    fn default() -> Self {
        StreamSettings {
            clients_max: 50,
            replay_max: 100,
            heartbeat: Duration::from_secs(15),
            retry: Duration::from_secs(2),
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
}

/// Events taken from the ring or the store at once.
const CHUNK: usize = 64;

/// Bytes after which a piece is sent.
const PIECE: usize = 16 * 1024;

impl Stream {
    /// Answers a request for the stream.
    pub fn open(&self, request: &Request<'_>) -> Reply {
        let head = request.head();
        if !matches!(head.method(), Method::Get | Method::Head) {
            let problem = Problem::new(405, "a stream is only read");
            return Reply::from(problem).with("allow", "GET, HEAD");
        }
        let asked = match Asked::read(head.query().unwrap_or_default(), request) {
            Ok(asked) => asked,
            Err(detail) => return Problem::new(400, detail).into(),
        };
        let Some(place) = self.hub.enter(self.settings.clients_max) else {
            let seconds = self.settings.retry.as_secs().max(1);
            return Problem::new(503, "the stream has no place left").retry_after(seconds).into();
        };
        let client = self.client(asked, place);
        Reply::new(200, "text/event-stream", Content::Stream(Box::new(client)))
            .with("cache-control", "no-store, no-transform")
            .with("x-accel-buffering", "no")
    }

    fn client(&self, asked: Asked, place: Place) -> Client {
        let hub = place.hub();
        let (after, to) = hub.range();
        let mut first = format!("retry: {}\n\n", self.settings.retry.as_millis()).into_bytes();
        let cursor = match (asked.last_id, asked.replay) {
            (Some(id), _) if to.max(self.backlog.highest_pos()) < id => {
                // Of another store, or of one in memory that a restart emptied.
                gap(hub, id, after, &mut first);
                after
            }
            (Some(id), _) => id,
            (None, Some(count)) => {
                let count = count.min(self.settings.replay_max);
                hub.rewind(count, |it| asked.filter.lets_through(it))
            }
            (None, None) => to,
        };
        let mut beat = Timer::new(self.clock.clone());
        beat.set(self.settings.heartbeat);
        Client {
            place,
            backlog: self.backlog.clone(),
            filter: asked.filter,
            heartbeat: self.settings.heartbeat,
            cursor,
            first,
            beat,
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

/// What the client asked for.
#[derive(Default)]
struct Asked {
    last_id: Option<u64>,
    replay: Option<usize>,
    filter: Filter,
}

impl Asked {
    fn read(query: &str, request: &Request<'_>) -> Result<Self, String> {
        let mut asked = Asked::default();
        let pairs = query::pairs(query).ok_or("the query is not percent-encoded text")?;
        for (name, value) in pairs {
            match name.as_str() {
                "type" => asked.filter.kinds.push(value),
                "source" => asked.filter.sources.push(value),
                "priority" => {
                    let level = Priority::parse(&value);
                    let level = level.ok_or("`priority` is low, normal, high or critical")?;
                    asked.filter.priorities.push(level);
                }
                "last_event_id" => asked.last_id = Some(number(&value, "last_event_id")?),
                "replay" => {
                    let count = number(&value, "replay")?;
                    asked.replay = Some(usize::try_from(count).unwrap_or(usize::MAX));
                }
                _ => return Err(format!("there is no parameter `{name}`")),
            }
        }
        // What the browser remembers is newer than the address that the page was given.
        if let Some(id) = request.header("last-event-id").filter(|it| !it.is_empty()) {
            asked.last_id = Some(number(id, "Last-Event-ID")?);
        }
        Ok(asked)
    }
}

fn number(text: &str, name: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let value = if digits { text.parse().ok() } else { None };
    value.ok_or_else(|| format!("`{name}` is not a number that we gave"))
}

/// Any of the values of a kind, for every kind that has values.
#[derive(Default)]
struct Filter {
    kinds: Vec<String>,
    sources: Vec<String>,
    priorities: Vec<Priority>,
}

impl Filter {
    fn lets_through(&self, stored: &Stored) -> bool {
        let envelope = &stored.envelope;
        let any = |of: &[String], it: &str| of.is_empty() || of.iter().any(|other| other == it);
        any(&self.kinds, &envelope.kind)
            && any(&self.sources, &envelope.source)
            && (self.priorities.is_empty() || self.priorities.contains(&envelope.priority))
    }
}

/// A connected client. It holds a position and nothing that grows.
struct Client {
    place: Place,
    backlog: Arc<dyn Backlog>,
    filter: Filter,
    heartbeat: Duration,
    cursor: u64,
    first: Vec<u8>,
    beat: Timer,
}

impl Feed for Client {
    fn fill<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pending<'a, bool> {
        Box::pin(async move {
            out.append(&mut self.first);
            let more = self.gather(out).await;
            self.beat.set(self.heartbeat);
            more
        })
    }
}

impl Client {
    async fn gather(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let news = self.place.hub().listen();
            match self.place.hub().next(self.cursor, CHUNK) {
                Found::Before(range) => {
                    if let Err(error) = self.read_store(range, out).await {
                        // The client connects again and goes on from its last id.
                        tracing::warn!(%error, "a stream could not read the store");
                        return false;
                    }
                }
                Found::Next(events, to) => self.take(&events, to, out),
                Found::Nothing if !out.is_empty() => return true,
                Found::Nothing => {
                    let late = async {
                        self.beat.expired().await;
                        true
                    };
                    let told = async {
                        news.await;
                        false
                    };
                    if smol::future::or(told, late).await {
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
        let chunk = self.backlog.chunk(self.cursor, up_to, CHUNK).await?;
        // Asked after the chunk: what retention takes meanwhile is then told, not lost.
        let taken = self.backlog.taken_pos().min(up_to);
        if self.cursor < taken {
            gap(self.place.hub(), self.cursor, taken, out);
            self.cursor = taken;
        }
        let last = chunk.last().filter(|_| CHUNK <= chunk.len()).map_or(up_to, |it| it.pos);
        let mut rest = chunk.as_slice();
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

    fn take_stored(&mut self, chunk: &[Arc<Stored>], last: u64, out: &mut Vec<u8>) {
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
        let wanted = events.iter().filter(|it| self.filter.lets_through(&it.stored));
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
