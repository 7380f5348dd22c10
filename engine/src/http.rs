//! The HTTP surface: a small, strict server of our own, and what rides on it.
//!
//! Every ready-made server either brings an executor of its own or answers requests that two
//! readers could understand differently. This one parses heads with `httparse`, refuses what is
//! ambiguous and closes, and bounds everything that a stranger can make it wait for or hold.
//!
//! *Never:* a byte that was not understood is skipped to find the next request.

mod api;
pub mod app;
pub mod auth;
mod backlog;
mod browser;
pub mod convert;
mod figures;
mod front;
mod gate;
mod grant;
mod guessing;
pub mod hub;
pub(crate) mod ingest;
pub mod limits;
pub mod listener;
mod paths;
mod places;
pub mod ports;
pub mod problem;
pub mod query;
pub mod service;
mod sessions;
pub mod sse;
mod tap;
mod timer;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod testing;

#[cfg(test)]
pub(crate) use guessing::HOLD_MAX;
pub use limits::ServerLimits;
pub use listener::HttpServer;
pub use problem::ProblemDetails;
pub use service::{ServerContext, Service};
pub use wire::body::BodyError;
pub use wire::head::{Head, Method, Version};
pub use wire::hosts::Hosts;
pub use wire::request::Request;
pub use wire::response::{BodyContent, Feed, Reply};
