//! `engine graph`: what a pipeline file comes to, as a drawing.

use crate::document;
use crate::files::Place;
use crate::graph;
use crate::load::{self, ProcessEnvironment};
use crate::report;
use clap::{Args, ValueEnum};
use stages::catalog::Catalog;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct GraphArgs {
    /// The pipeline file.
    file: PathBuf,
    /// How it is drawn.
    #[arg(long, value_enum, default_value = "ascii")]
    format: Format,
    /// Nothing outside of this folder is read.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Replace a value of the file, such as `server.listen=127.0.0.1:0`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = super::run::key_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal.
    Ascii,
    /// A Mermaid flowchart, which many pages of Markdown draw.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
    /// For programs; as `/api/pipeline` says it.
    Json,
}

/// Draws; the exit code.
pub(super) fn graph(args: &GraphArgs) -> u8 {
    let bytes = match std::fs::read(&args.file) {
        Ok(bytes) => bytes,
        Err(fault) => {
            let file = args.file.display();
            report::to_terminal(&format!("engine: cannot read {file}: {fault}\n"));
            return 2;
        }
    };
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
    let place = Place::of(&args.file, args.root.as_deref(), None);
    let catalog = Catalog::built_in();
    let (loaded, read) = load::read(&source, &place, &args.set, &catalog, &ProcessEnvironment);
    let (Some(plan), Some(read)) = (&loaded.plan, read) else {
        told(&loaded.diagnostics);
        return 1;
    };
    let drawn = graph::of(plan, &read.spec);
    report::to_output(&match args.format {
        Format::Ascii => graph::ascii(&drawn, report::width()),
        Format::Mermaid => graph::mermaid(&drawn),
        Format::Dot => graph::dot(&drawn),
        Format::Svg => graph::svg(&drawn),
        Format::Json => format!("{:#}\n", serde_json::Value::Object(graph::plain(plan))),
    });
    0
}
