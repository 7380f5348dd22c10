//! A request as the service sees it.

use crate::http::places::Seat;
use crate::http::wire::body::BodyError;
use crate::http::wire::head::Head;
use kernel::env::Pending;
use std::net::IpAddr;

/// Where a body comes from.
pub(crate) trait Source: Send {
    /// All of it, if it is no longer than `limit`.
    fn read(&mut self, limit: usize) -> Pending<'_, Result<Vec<u8>, BodyError>>;

    /// Whose request it is, when it came over a connection.
    fn seat(&self) -> Option<&Seat> {
        None
    }

    /// Counts memory that the request takes besides its body, until it is answered.
    fn charge(&mut self, _more: usize) -> Result<(), BodyError> {
        Ok(())
    }
}

/// A body that is there already, for tests and for requests that we make ourselves.
impl Source for Vec<u8> {
    fn read(&mut self, limit: usize) -> Pending<'_, Result<Vec<u8>, BodyError>> {
        let body = std::mem::take(self);
        let fits = body.len() <= limit;
        Box::pin(async move { if fits { Ok(body) } else { Err(BodyError::TooLarge(limit)) } })
    }
}

/// A head, and a body that is read only when asked for.
pub struct Request<'c> {
    head: Head,
    peer: Option<IpAddr>,
    body: &'c mut dyn Source,
}

impl<'c> Request<'c> {
    /// One of ours: over no connection, with a body that is there already.
    pub fn unconnected(head: Head, body: &'c mut Vec<u8>) -> Self {
        Request { head, peer: None, body }
    }

    /// From its parts.
    pub(crate) fn new(head: Head, peer: Option<IpAddr>, body: &'c mut dyn Source) -> Self {
        Request { head, peer, body }
    }

    /// What came before the body.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The first value of a field; `None` also when it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Who is connected. Behind a proxy that is the proxy.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The connection's place, when it came over one.
    pub(crate) fn seat(&self) -> Option<&Seat> {
        self.body.seat()
    }

    /// Counts so many bytes more as held by the request until it is answered; an error where there
    /// is no memory for them.
    pub(crate) fn charge(&mut self, more: usize) -> Result<(), BodyError> {
        self.body.charge(more)
    }

    /// Reads the body, once; a second call gets an empty one. A body that announces more than
    /// `limit` is refused before any of it is read, and after an error the connection closes.
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        self.body.read(limit).await
    }
}
