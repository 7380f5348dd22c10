//! Reads the body of the request under way from its connection.

use crate::http::service::{Site, count};
use crate::http::wire::body::{BodyError, Decoder};
use crate::http::wire::head::Head;
use crate::http::wire::io::{Io, Lost};
use crate::http::wire::request::Source;
use smol::io::{AsyncRead, AsyncWrite};
use stages::env::Pending;
use std::time::Duration;

/// Unread body that may be skipped for the sake of the next request, if it is here already.
const SKIPPED_MAX: u64 = 16 * 1024;

/// The body of the request under way.
pub(crate) struct Reader<'c, 's, S> {
    io: &'c mut Io<'s, S>,
    decoder: Decoder,
    continue_due: bool,
    failed: Option<BodyError>,
    site: &'s Site,
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
            self.failed = result.as_ref().err().copied();
            if self.failed == Some(BodyError::Timeout) {
                count(&self.site.counters.timeouts);
            }
            result
        })
    }
}

impl<'c, 's, S: AsyncRead + AsyncWrite + Unpin + Send> Reader<'c, 's, S> {
    pub(crate) fn new(head: &Head, io: &'c mut Io<'s, S>, site: &'s Site) -> Self {
        let decoder = Decoder::new(head.framing());
        Reader { io, decoder, continue_due: head.expects_continue(), failed: None, site }
    }

    /// Whether all of the request was taken from the wire, so that another one may follow.
    pub(crate) fn finish(mut self) -> bool {
        self.failed.is_none() && self.skip()
    }

    async fn collect(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        if (limit as u64) < self.decoder.known_left() {
            return Err(BodyError::TooLarge);
        }
        let mut body = Vec::with_capacity(self.decoder.known_left().min(64 * 1024) as usize);
        let mut start = None;
        loop {
            let used = self.decoder.decode(self.io.unread(), &mut body);
            self.io.used(used.map_err(|_| BodyError::Malformed)?);
            if limit < body.len() {
                return Err(BodyError::TooLarge);
            }
            if self.decoder.is_done() {
                return Ok(body);
            }
            let limits = &self.site.limits;
            let start = *start.get_or_insert_with(|| self.io.timer.now());
            let bought = Duration::from_secs(body.len() as u64 / limits.body_rate.max(1));
            let until = start + limits.body_time + bought;
            if std::mem::take(&mut self.continue_due) && self.io.unread().is_empty() {
                let word = b"HTTP/1.1 100 Continue\r\n\r\n";
                self.io.write(word, limits.write_time, until).await.map_err(gone)?;
            }
            self.io.timer.set_at(until);
            self.io.fill().await.map_err(gone)?;
        }
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
}

fn gone(lost: Lost) -> BodyError {
    if lost == Lost::Timeout { BodyError::Timeout } else { BodyError::Closed }
}
