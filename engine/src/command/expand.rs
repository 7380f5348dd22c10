//! `engine expand`: the file as it takes effect.

use super::checked;
use crate::terminal;
use clap::{Args, ValueEnum};
use compiler::expand;
use stages::catalog::Catalog;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine expand pipelines/home.kdl
  engine expand pipelines/home.kdl --format json"#)]
pub(super) struct ExpandArgs {
    /// The pipeline file.
    file: PathBuf,
    /// The output format.
    #[arg(long, value_enum, default_value = "kdl")]
    format: ExpandFormat,
    /// Only the node of this name, or the nodes of this role.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Reject schemas, tables and includes outside this folder.
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    root: Option<PathBuf>,
    /// Replace a value of the file, such as `server.listen=127.0.0.1:0`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = super::run::key_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExpandFormat {
    /// A pipeline file, with the origins as comments.
    Kdl,
    /// The JSON form that `engine schema --format json-schema` describes.
    Json,
}

/// Expands; the exit code.
pub(super) fn expand(args: &ExpandArgs) -> u8 {
    let catalog = Catalog::built_in();
    let read = checked::read(&args.file, args.root.as_deref(), &args.set, &catalog);
    let (_, read) = match read {
        Ok(read) => read,
        Err(code) => return code,
    };
    let mut expanded = expand::expand(&read, &catalog);
    if let Some(only) = &args.only {
        expanded = expanded.only(only);
        if expanded.is_empty() {
            terminal::to_terminal(&format!("engine: the file has no node named `{only}`\n"));
            return 2;
        }
    }
    terminal::to_output(&match args.format {
        ExpandFormat::Kdl => expanded.kdl(),
        ExpandFormat::Json => format!("{:#}\n", expanded.json()),
    });
    0
}
