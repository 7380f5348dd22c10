//! A pipeline file that a command shows: it is read and checked first.

use crate::terminal::{self, Volume};
use compiler::files::{self, PipelinePath};
use compiler::load::{LoadedFile, PipelineLoader, PipelineTexts, ProcessEnvironment};
use compiler::plan::Plan;
use compiler::report;
use language::diagnostic::Diagnostic;
use stages::catalog::Catalog;
use std::path::Path;

/// What a file without mistakes comes to. Anything else is told, and answered with the exit code.
pub(super) fn read(
    file: &Path,
    root: Option<&Path>,
    overrides: &[(String, String)],
    catalog: &Catalog,
) -> Result<(Plan, LoadedFile), u8> {
    let bytes = files::read_pipeline(file).map_err(|fault| {
        terminal::to_terminal(&format!("engine: {}\n", files::cannot_read(file, &fault)));
        2
    })?;
    let given = PipelineTexts::of(&bytes, file).map_err(|fault| tell(&fault.diagnostics))?;
    let place = &PipelinePath::of(file, root, None);
    let loader = PipelineLoader { place, overrides, catalog, environment: &ProcessEnvironment };
    let (loaded, read) = loader.read(&given).plan();
    let (plan, read) = loaded.plan.zip(read).ok_or_else(|| tell(&loaded.diagnostics))?;
    if terminal::volume() == Volume::Verbose {
        tell(&loaded.diagnostics);
    }
    Ok((plan, read))
}

pub(super) fn tell(found: &[Diagnostic]) -> u8 {
    let found = terminal::wanted(found);
    terminal::to_terminal(&report::human(&found, terminal::has_colour(), terminal::width()));
    1
}
