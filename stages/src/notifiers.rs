//! The list of notifiers. Adding one: a file here, a `mod` line, a line in `all`.

mod attach;
mod button;
mod cloud_event;
mod discord;
mod email;
mod exec;
mod file;
mod gotify;
mod level;
mod link;
mod mqtt;
mod ntfy;
mod pushover;
mod receipt;
mod service;
mod slack;
mod telegram;
#[cfg(test)]
mod testing;
mod text;
mod webhook;

use crate::catalog::Catalog;

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog
        .notify::<discord::Discord>()
        .notify::<email::Email>()
        .notify::<exec::ExecNotifier>()
        .notify::<file::FileNotifier>()
        .notify::<gotify::Gotify>()
        .notify::<mqtt::MqttNotifier>()
        .notify::<ntfy::Ntfy>()
        .notify::<pushover::Pushover>()
        .notify::<slack::Slack>()
        .notify::<telegram::Telegram>()
        .notify::<webhook::Webhook>()
}

/// What `notify file` does, without a node in the file.
pub(crate) fn to_file(
    path: std::path::PathBuf,
    services: crate::contract::Services,
) -> Box<dyn crate::contract::DynNotify> {
    Box::new(file::FileNotifier::at(path, services))
}
