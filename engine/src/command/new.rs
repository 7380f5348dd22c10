//! `engine new`: the first files of a pipeline, out of a template.
//!
//! **Never:** a file that is already there is touched.

mod templates;

use crate::terminal::{self, Volume};
use clap::Args;
use language::{as_name, is_name};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use templates::Template;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine new home"#)]
pub(super) struct NewArgs {
    /// The name of the pipeline: lower case letters, digits and dashes.
    name: String,
    /// The template to start from.
    #[arg(long, value_enum, default_value = "minimal")]
    template: Template,
}

/// Writes the files below the current folder and names them; the exit code.
pub(super) fn new(args: &NewArgs) -> u8 {
    let name = &args.name;
    if !is_name(name) {
        return failed(&format!(
            "`{name}` cannot be the name of a pipeline; names are lower case letters, digits and \
             dashes: `{}`",
            as_name(name)
        ));
    }
    let files = args.template.files(name);
    let mut written: Vec<&str> = Vec::new();
    for (path, text) in &files {
        if let Err(fault) = write(Path::new(path), text) {
            // Half a pipeline would be in the way of the next try.
            for path in written {
                std::fs::remove_file(path).ok();
            }
            return failed(&match fault.kind() {
                ErrorKind::AlreadyExists => format!("{path} already exists; nothing was written"),
                _ => format!("cannot write {path}: {fault}"),
            });
        }
        written.push(path);
    }
    for path in written {
        terminal::to_output(&format!("{path}\n"));
    }
    if terminal::volume() != Volume::Quiet {
        terminal::to_terminal(&args.template.next(name));
    }
    0
}

fn failed(reason: &str) -> u8 {
    terminal::to_terminal(&format!("engine: {reason}\n"));
    2
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = File::create_new(path)?;
    let written = file.write_all(text.as_bytes());
    if written.is_err() {
        std::fs::remove_file(path).ok();
    }
    written
}
