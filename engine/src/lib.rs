//! How a pipeline file becomes a running graph.
//!
//! # The crates
//!
//! ```text
//!              engine        runs plans, serves HTTP, and is the command line
//!             ╱      ╲
//!     compiler        ╲      text → document → spec → plan; nothing is left to check
//!             ╲       ╱
//!              stages        the contract of a kind, and every kind
//!            ╱   │    ╲
//!    language  store  wire   diagnostics, expressions, the table · SQLite · HTTP to the outside
//!            ╲   │    ╱
//!              kernel        events, time, faults, health, and the seam to clock and threads
//! ```
//!
//! Arrows point down only; `tests/tidy.rs` holds them. Within the engine, the commands that call a
//! running one share `client`, which knows nothing of its inside but what HTTP answers.
//!
//! # The road
//!
//! ```text
//! text ──document──▶ KdlDocument ──spec──▶ Spec ──plan──▶ Plan ──run──▶ Generation ──▶ records
//!        syntax, with    words, types,      names, order,     open, enrich,
//!        our own words   properties         schemas, claims   deliver
//! └───────────── engine check: pure, total ─────────────┘└────── may fault ──────┘
//! ```
//!
//! Each arrow is one function in one module: [`compiler::document::parse`] (over every file:
//! [`compiler::include::read`]), [`language::check`] and [`compiler::spec::read`],
//! [`compiler::plan::build`], [`run::open`](fn@run::open). [`compiler::load`] walks it up to the
//! plan. Checking reports everything that is wrong in one run and never stops at the first; a
//! [`compiler::plan::Plan`] in hand means that nothing is left to check, and what runs asserts it
//! and does not check again.
//!
//! # The way of an event
//!
//! ```text
//! bytes ─▶ intake ─▶ local stages ─┬─ nothing to wait for ─▶ record ───────────────▶ streams, outbox
//!                                  └─ a stage must wait ───▶ accept ─▶ run ─▶ finish ─▶ the same
//! ```
//!
//! [`intake`] reads a message by the source's map, schema and rules. [`run::enrich`] runs the
//! enrichment graph of one event. [`engine`] chooses the path and answers, after the commit,
//! always. [`run::deliver`] works off the outbox. [`http`] is the only module that knows how any of
//! it looks from a socket.
//!
//! # Lifetimes
//!
//! The [`host`] owns the store, the executor, the listener and the streams, and lends them to
//! generations. [`reload`] opens the next generation fully before it swaps one pointer; an event
//! holds the generation that it began on, so the old one goes with its last event. [`watch`] only
//! says that something may have changed; content decides.
//!
//! **Invariant:** an answer follows its commit. **Invariant:** every queue has a bound: messages
//! before their first commit, accepted events in memory, the inbox on disk, the ring of a stream.
//! **Never:** this crate names a kind of stage. **Never:** an event changes after it was emitted.
//! **Never:** `check` reads a file outside the pipeline's root, or a secret's value.

mod client;
pub mod command;
pub mod engine;
pub mod host;
pub mod http;
pub mod intake;
pub mod log;
pub mod metrics;
pub mod reload;
mod resources;
pub mod run;
pub mod simulate;
pub mod supervisor;
mod terminal;
pub mod test;
pub mod watch;
