//! `engine expand`: the file as it takes effect.

use crate::document;
use crate::expand;
use crate::files::Place;
use crate::load::{self, ProcessEnvironment};
use crate::report;
use clap::{Args, ValueEnum};
use stages::catalog::Catalog;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ExpandArgs {
    /// The pipeline file.
    file: PathBuf,
    /// How it is written.
    #[arg(long, value_enum, default_value = "kdl")]
    format: Format,
    /// Only the node of this name, or the nodes of this role.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Nothing outside of this folder is read.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Replace a value of the file, such as `server.listen=127.0.0.1:0`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = super::run::key_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Kdl,
    Json,
}

/// Expands; the exit code.
pub(super) fn expand(args: &ExpandArgs) -> u8 {
    let bytes = match std::fs::read(&args.file) {
        Ok(bytes) => bytes,
        Err(fault) => {
            let file = args.file.display();
            report::to_terminal(&format!("engine: cannot read {file}: {fault}\n"));
            return 2;
        }
    };
    let place = Place::of(&args.file, args.root.as_deref(), None);
    let catalog = Catalog::built_in();
    let told = |found: &[stages::diagnostic::Diagnostic]| {
        report::to_terminal(&report::human(found, report::has_colour(), report::width()));
    };
    let source = match document::text(&bytes, &args.file.display().to_string()) {
        Ok(source) => source,
        Err(found) => {
            told(&found.sorted());
            return 1;
        }
    };
    let (loaded, read) = load::read(&source, &place, &args.set, &catalog, &ProcessEnvironment);
    let Some(read) = read else {
        told(&loaded.diagnostics);
        return 1;
    };
    let mut expanded = expand::expand(&read, &catalog);
    if let Some(only) = &args.only {
        expanded = expanded.only(only);
        if expanded.is_empty() {
            report::to_terminal(&format!("engine: nothing in the file is called `{only}`\n"));
            return 2;
        }
    }
    report::to_output(&match args.format {
        Format::Kdl => expanded.kdl(),
        Format::Json => format!("{:#}\n", expanded.json()),
    });
    0
}
