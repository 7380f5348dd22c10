//! `engine graph`: what a pipeline file comes to, as a drawing.

use super::checked;
use crate::terminal;
use clap::{Args, ValueEnum};
use compiler::graph;
use stages::catalog::Catalog;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine graph pipelines/home.kdl
  engine graph pipelines/home.kdl --format svg > home.svg"#)]
pub(super) struct GraphArgs {
    /// The pipeline file.
    file: PathBuf,
    /// The output format.
    #[arg(long, value_enum, default_value = "ascii")]
    format: GraphFormat,
    /// Reject schemas, tables and includes outside this folder.
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    root: Option<PathBuf>,
    /// Replace a value of the file, such as `server.listen=127.0.0.1:0`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = super::run::key_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    /// For a terminal.
    Ascii,
    /// A Mermaid flowchart, for Markdown pages.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// An SVG image.
    Svg,
    /// JSON for programs, the same as `/api/pipeline`.
    Json,
}

/// Draws; the exit code.
pub(super) fn graph(args: &GraphArgs) -> u8 {
    let catalog = Catalog::built_in();
    let read = checked::read(&args.file, args.root.as_deref(), &args.set, &catalog);
    let (plan, read) = match read {
        Ok(read) => read,
        Err(code) => return code,
    };
    let drawn = graph::of(&plan, &read.spec);
    terminal::to_output(&match args.format {
        GraphFormat::Ascii => {
            let plain = graph::ascii(&drawn, terminal::width());
            if terminal::output_has_colour() { graph::coloured(&plain) } else { plain }
        }
        GraphFormat::Mermaid => graph::mermaid(&drawn),
        GraphFormat::Dot => graph::dot(&drawn),
        GraphFormat::Svg => graph::svg(&drawn),
        GraphFormat::Json => format!("{:#}\n", serde_json::Value::Object(graph::plain(&plan))),
    });
    0
}
