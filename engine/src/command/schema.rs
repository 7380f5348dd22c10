//! `engine schema`: the whole language, for programs or as the reference of the manual.

use crate::terminal;
use clap::{Args, ValueEnum};
use compiler::grammar;
use compiler::manual::{self, Language};
use stages::catalog::Catalog;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine schema --format json-schema > pipeline.schema.json"#)]
pub(super) struct SchemaArgs {
    /// The output format.
    #[arg(long, value_enum)]
    format: SchemaFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaFormat {
    /// A JSON Schema of pipeline files in their JSON form (described in the schema).
    JsonSchema,
    /// The reference of every node.
    Markdown,
}

/// Describes; the exit code.
pub(super) fn schema(args: &SchemaArgs) -> u8 {
    let catalog = Catalog::built_in();
    let language = Language { top: grammar::TOP, kinds: &catalog };
    terminal::to_output(&match args.format {
        SchemaFormat::JsonSchema => format!("{:#}\n", manual::json_schema(language)),
        SchemaFormat::Markdown => manual::reference(language),
    });
    0
}
