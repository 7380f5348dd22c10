//! What a stage is, and every built-in one.

pub mod catalog;
pub mod contract;
mod notifiers;
mod request;
pub mod signature;
mod sinks;
mod sources;
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
