//! The list of sinks. Adding one: a file here, a `mod` line, a line in `all`.

pub(crate) mod file;
mod mqtt;
mod sqlite;
mod sse;
mod stdout;

pub use sqlite::SHORTHAND as STORE;

/// The kind of sink that is the store.
pub const STORE_KIND: &str = <sqlite::Sqlite as crate::contract::Kind>::WORD;

use crate::catalog::Catalog;

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog
        .sink::<file::FileSink>()
        .sink::<mqtt::MqttSink>()
        .sink::<sqlite::Sqlite>()
        .sink::<sse::Sse>()
        .sink::<stdout::Stdout>()
}

/// What `sink file` does, without a node in the file.
pub(crate) fn to_file(
    path: &std::path::Path,
    services: crate::contract::Services,
) -> Box<dyn crate::contract::DynDeliver> {
    Box::new(file::FileSink::at(path, services))
}

/// What a kind answers whose sinks the engine runs itself.
fn not_opened(word: &str) -> kernel::fault::Fault {
    kernel::fault::Fault::permanent(format!("the engine runs a sink of kind `{word}` itself"))
}
