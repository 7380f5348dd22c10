//! HTTP to the outside, behind one trait, so that a test can be the outside.

pub(crate) mod answer;
pub(crate) mod text;
mod wire;

pub use answer::settled;
pub use wire::{Wire, WireUse};

use crate::contract::Fault;
use crate::env::Pending;
use std::time::Duration;

/// A request to make.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchRequest {
    /// `GET`, `POST`, `PUT` or `PATCH`.
    pub method: &'static str,
    /// Absolute URL.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body, when there is one.
    pub body: Option<Vec<u8>>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// A longer response is a fault.
    pub body_max: usize,
}

/// What came back, whatever its status.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchResponse {
    /// The status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes HTTP requests. Follows no redirects.
pub trait Fetch: Send + Sync + 'static {
    /// A fault means that there was no usable response; a response with a bad status is one.
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>>;

    /// How its sockets are used, where it has some.
    fn usage(&self) -> Option<WireUse> {
        None
    }
}
