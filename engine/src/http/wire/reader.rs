//! Reads the body of the request under way from its connection.

use crate::http::places::{Seat, SeatPhase};
use crate::http::service::{ServerContext, count};
use crate::http::wire::body::{BodyError, Decoder};
use crate::http::wire::head::Head;
use crate::http::wire::io::{Io, Lost};
use crate::http::wire::request::Source;
use kernel::env::Pending;
use smol::io::{AsyncRead, AsyncWrite};
use std::sync::Arc;
use std::time::Duration;

/// Unread body that may be skipped for the sake of the next request, if it is here already.
const SKIPPED_MAX: u64 = 16 * 1024;

/// The body of the request under way. What it takes of memory is given back when it is dropped,
/// which is when the request has been answered.
pub(crate) struct Reader<'c, 's, S> {
    io: &'c mut Io<'s, S>,
    decoder: Decoder,
    continue_due: bool,
    failed: Option<BodyError>,
    seat: &'s Arc<Seat>,
    site: &'s ServerContext,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Source for Reader<'_, '_, S> {
    fn read(&mut self, limit: usize) -> Pending<'_, Result<Vec<u8>, BodyError>> {
        Box::pin(async move {
            if let Some(error) = self.failed {
                return Err(error);
            }
            // Until it is whole it counts as failed, so that a service that stops waiting for
            // it (and drops this future half way) cannot have its rest taken for a request.
            self.failed = Some(BodyError::Closed);
            let result = self.collect(limit).await;
            self.seat.enter(SeatPhase::Answering, self.io.timer.now());
            self.failed = result.as_ref().err().copied();
            let counters = &self.site.counters;
            match self.failed {
                Some(BodyError::Timeout(_)) => count(&counters.timeouts),
                Some(BodyError::NoMemory(_)) => count(&counters.refused_bytes),
                _ => {}
            }
            result
        })
    }

    fn seat(&self) -> Option<&Seat> {
        Some(self.seat)
    }

    fn charge(&mut self, more: usize) -> Result<(), BodyError> {
        let limits = &self.site.limits;
        if self.site.places.charge(self.seat, more, limits, self.io.timer.now()) {
            return Ok(());
        }
        count(&self.site.counters.refused_bytes);
        Err(BodyError::NoMemory(limits.held_bytes))
    }
}

impl<'c, 's, S: AsyncRead + AsyncWrite + Unpin + Send> Reader<'c, 's, S> {
    pub(crate) fn new(
        head: &Head,
        io: &'c mut Io<'s, S>,
        seat: &'s Arc<Seat>,
        site: &'s ServerContext,
    ) -> Self {
        let decoder = Decoder::new(head.framing());
        Reader { io, decoder, continue_due: head.expects_continue(), failed: None, seat, site }
    }

    /// Whether all of the request was taken from the wire, so that another one may follow.
    pub(crate) fn finish(&mut self) -> bool {
        self.failed.is_none() && self.skip()
    }

    async fn collect(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        if (limit as u64) < self.decoder.known_left() {
            return Err(BodyError::TooLarge(limit));
        }
        let mut body = Vec::new();
        let mut start = None;
        loop {
            if self.decoder.is_done() {
                return Ok(body);
            }
            self.make_room(&mut body)?;
            let used = self.decoder.decode(self.io.unread(), &mut body);
            self.io.used(used.map_err(|_| BodyError::Malformed)?);
            if limit < body.len() {
                return Err(BodyError::TooLarge(limit));
            }
            if self.decoder.is_done() {
                continue;
            }
            let limits = &self.site.limits;
            let now = self.io.timer.now();
            let start = *start.get_or_insert_with(|| {
                self.seat.enter(SeatPhase::Body, now);
                now
            });
            let bought = Duration::from_secs(body.len() as u64 / limits.body_rate.max(1));
            let until = start + limits.body_time + bought;
            if std::mem::take(&mut self.continue_due) && self.io.unread().is_empty() {
                let word = b"HTTP/1.1 100 Continue\r\n\r\n";
                let written = self.io.write(word, limits.write_time, until).await;
                written.map_err(|lost| self.gone(lost))?;
            }
            self.io.timer.set_at(until);
            let filled = self.io.fill().await;
            filled.map_err(|lost| self.gone(lost))?;
        }
    }

    /// Memory for what is here already. It grows with what has arrived, never with what a client
    /// says that it will send.
    fn make_room(&self, body: &mut Vec<u8>) -> Result<(), BodyError> {
        let left = self
            .decoder
            .announced_left()
            .map(|announced_left| usize::try_from(announced_left).unwrap_or(usize::MAX));
        let here = self.io.unread().len();
        let wanted = body.len() + left.map_or(here, |it| it.min(here));
        if wanted <= body.capacity() {
            return Ok(());
        }
        let doubled = body.capacity() * 2;
        let whole = left.map_or(doubled, |it| body.len().saturating_add(it));
        let capacity = wanted.max(doubled.min(whole));
        let more = capacity - body.capacity();
        let limits = &self.site.limits;
        if !self.site.places.charge(self.seat, more, limits, self.io.timer.now()) {
            return Err(BodyError::NoMemory(limits.held_bytes));
        }
        body.reserve_exact(capacity - body.len());
        Ok(())
    }

    /// Passes over a body that nobody asked for, if all of it is here; whether it is.
    fn skip(&mut self) -> bool {
        if SKIPPED_MAX < self.decoder.known_left() {
            return false;
        }
        let mut nobodys = Vec::new();
        match self.decoder.decode(self.io.unread(), &mut nobodys) {
            Ok(used) => self.io.used(used),
            Err(_) => return false,
        }
        self.decoder.is_done()
    }

    fn gone(&self, lost: Lost) -> BodyError {
        match lost {
            Lost::Timeout => BodyError::Timeout(self.site.limits.body_time.as_secs()),
            Lost::Closed | Lost::Stopped => BodyError::Closed,
        }
    }
}

impl<S> Drop for Reader<'_, '_, S> {
    fn drop(&mut self) {
        self.site.places.release(self.seat);
    }
}
