//! What a stage is, and every built-in one. Here is what the author of a kind must know; the
//! traits in [`contract`] say the details.
//!
//! A kind is one file with one type. It implements [`contract::Kind`] and the trait of its role:
//! [`contract::SourceKind`], [`contract::EnrichKind`], [`contract::SinkKind`] or
//! [`contract::NotifyKind`]. A `mod` line and a line in `all` of its folder make it known, and
//! nothing else in the project names it.
//!
//! 1. *Declare.* `NODES` are the rows of its block: names, types, ranges, defaults, examples.
//!    Checking, the manual, completion and the JSON Schema come from them. A default that is a
//!    value is written in the row (`default("50")`); any other is described in words
//!    (`otherwise("the whole row")`).
//! 2. *Read.* `read` turns the block into `Settings`. It is pure, it is what `engine check` calls,
//!    and it reports what the table cannot know, at its place and with what to write instead.
//!    `fields.setting("batch").arg(0, …)` is what is written or the default of the row.
//! 3. *Say what it needs.* `needed` are the values that come from outside the file: a variable that
//!    is missing is reported before anything is opened. `claims` are what no other stage may have:
//!    a route, a file.
//! 4. *Say what it gives.* `brings` (a source) and `adds` (an enrichment) are types, so that a path
//!    that can never be there is found by the check. `ends` says whether a source can come to an
//!    end by itself.
//! 5. *Open.* `open` is the only place that may touch the world, and only through
//!    [`contract::Services`]: its clock, its threads, its HTTP client. A fault leaves what ran
//!    before as it was. What cannot be reached through `Services` cannot be reached in a test
//!    either, and so a test needs no network and no waiting.
//! 6. *Work.* `run`, `enrich`, `deliver` or `notify`. Its future may be dropped at any await, and
//!    what it holds comes back then. A fault says whether trying again may help; the engine does
//!    the rest: it retries, waits, counts, logs and shows.
//!
//! Never: a graph, an executor, a web framework.

pub mod catalog;
pub mod contract;
pub mod credential;
pub mod decode;
pub mod memories;
pub mod memory;
mod mqtt;
mod notifiers;
mod process;
mod request;
pub mod signature;
pub mod sinks;
mod sources;
mod table;
#[cfg(test)]
mod testing;
mod transforms;

/// A notifier that stands in for those that leave the machine, when a pipeline is only tried out:
/// it appends each notification to `path`.
pub fn demo_notifier(
    path: std::path::PathBuf,
    services: contract::Services,
) -> Box<dyn contract::DynNotify> {
    notifiers::to_file(path, services)
}

/// A sink that stands in for those that leave the machine, when a pipeline is only tried out: it
/// appends each event to `path`.
pub fn demo_sink(
    path: &std::path::Path,
    services: contract::Services,
) -> Box<dyn contract::DynDeliver> {
    sinks::to_file(path, services)
}
