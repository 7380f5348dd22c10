//! The list of notifiers. Adding one: a file here, a `mod` line, a line in `all`.

mod file;
mod ntfy;
mod webhook;

use crate::catalog::Catalog;

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog.notify::<file::File>().notify::<ntfy::Ntfy>().notify::<webhook::Webhook>()
}

/// What `notify file` does, without a node in the file.
pub(crate) fn to_file(
    path: std::path::PathBuf,
    services: crate::contract::Services,
) -> Box<dyn crate::contract::DynNotify> {
    Box::new(file::File::at(path, services))
}
