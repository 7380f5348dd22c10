//! A pipeline file that a command shows: it is read and checked first.

use crate::document;
use crate::files::Place;
use crate::load::{self, ProcessEnvironment, Read};
use crate::plan::Plan;
use crate::report;
use language::diagnostic::Diagnostic;
use stages::catalog::Catalog;
use std::path::Path;

/// What a file without mistakes comes to. Anything else is told, and answered with the exit code.
pub(super) fn read(
    file: &Path,
    root: Option<&Path>,
    overrides: &[(String, String)],
    catalog: &Catalog,
) -> Result<(Plan, Read), u8> {
    let bytes = std::fs::read(file).map_err(|fault| {
        report::to_terminal(&format!("engine: cannot read {}: {fault}\n", file.display()));
        2
    })?;
    let source = document::text(&bytes, &file.display().to_string())
        .map_err(|found| tell(&found.sorted()))?;
    let place = Place::of(file, root, None);
    let (loaded, read) = load::read(&source, &place, overrides, catalog, &ProcessEnvironment);
    loaded.plan.zip(read).ok_or_else(|| tell(&loaded.diagnostics))
}

pub(super) fn tell(found: &[Diagnostic]) -> u8 {
    report::to_terminal(&report::human(found, report::has_colour(), report::width()));
    1
}
