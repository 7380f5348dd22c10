//! `engine check`: every mistake of pipeline files, nothing is started.

use crate::files::Place;
use crate::load::{self, ProcessEnvironment};
use crate::report;
use clap::{Args, ValueEnum};
use stages::catalog::Catalog;
use stages::diagnostic::{Diagnostic, Severity};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Pipeline files.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How findings are written.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// Nothing outside of this folder is read.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// Checks; the exit code.
pub(super) fn check(args: &CheckArgs) -> u8 {
    let catalog = Catalog::built_in();
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut read = 0;
    for path in &args.paths {
        match check_file(path, args.root.as_deref(), &catalog) {
            Ok(diagnostics) => {
                read += 1;
                found.extend(diagnostics);
            }
            Err(fault) => {
                report::to_terminal(&format!("engine: cannot read {}: {fault}\n", path.display()));
            }
        }
    }
    let errors = found.iter().filter(|it| it.rule.severity() == Severity::Error).count();
    match args.format {
        Format::Json => report::to_output(&format!("{}\n", report::json(&found))),
        Format::Human => {
            report::to_output(&report::human(&found, report::has_colour(), report::width()));
            if 0 < read {
                report::to_output(&summary(read, errors, found.len() - errors));
            }
        }
    }
    match (read == args.paths.len(), errors) {
        (false, _) => 2,
        (true, 0) => 0,
        (true, _) => 1,
    }
}

fn check_file(
    path: &Path,
    root: Option<&Path>,
    catalog: &Catalog,
) -> std::io::Result<Vec<Diagnostic>> {
    let place = Place::of(path, root, None);
    Ok(load::load(&place, &[], catalog, &ProcessEnvironment)?.diagnostics)
}

fn summary(files: usize, errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    };
    match (errors, warnings) {
        (0, 0) => format!("{} checked, nothing to complain about\n", count(files, "file")),
        _ => format!(
            "{} checked: {}, {}\n",
            count(files, "file"),
            count(errors, "error"),
            count(warnings, "warning")
        ),
    }
}
