//! What a stage is, and every built-in one.

pub mod catalog;
pub mod contract;
pub mod diagnostic;
pub mod env;
pub mod event;
pub mod expr;
pub mod fetch;
pub mod health;
pub mod language;
mod literal;
mod notifiers;
pub mod signature;
mod sinks;
mod sources;
pub mod spanned;
pub mod store;
#[cfg(test)]
mod testing;
pub mod time;
mod transforms;

/// A notifier that stands in for those that leave the machine, when a pipeline is only tried out:
/// it appends each notification to `path`.
pub fn demo_notifier(
    path: std::path::PathBuf,
    services: contract::Services,
) -> Box<dyn contract::DynNotify> {
    notifiers::to_file(path, services)
}
