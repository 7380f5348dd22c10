//! `engine fmt`: pipeline files in one layout.

use crate::terminal::{self, Volume};
use clap::Args;
use compiler::files;
use compiler::format::{self, Unformatted};
use compiler::{document, report};
use similar::TextDiff;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine fmt pipelines/
  engine fmt pipelines/ --check
  engine fmt pipelines/home.kdl --diff"#)]
pub(super) struct FmtArgs {
    /// Files, folders of `.kdl` files, or `-` for standard input to standard output.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Write nothing; list the files that would change, and exit 1 if there are any.
    #[arg(long)]
    check: bool,
    /// Write nothing and show what would change.
    #[arg(long)]
    diff: bool,
}

/// What became of one text; the worst of all is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Fine = 0,
    Found = 1,
    Failed = 2,
}

/// Formats; the exit code.
pub(super) fn fmt(args: &FmtArgs) -> u8 {
    let endings = args.paths.iter().map(|path| {
        if path.as_os_str() == "-" {
            return standard_input(args);
        }
        match kdl_files(path) {
            Ok(found) if found.is_empty() => {
                failed(&format!("there is no .kdl file in {}", path.display()))
            }
            Ok(found) => found.iter().map(|it| file(it, args)).max().unwrap_or(Ending::Fine),
            Err(fault) => failed(&files::cannot_read(path, &fault)),
        }
    });
    endings.max().unwrap_or(Ending::Fine) as u8
}

/// The file itself, or every `.kdl` file in the folder and below it, tests and included ones too,
/// but nothing hidden; sorted.
fn kdl_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A folder behind a link is left out, so that no circle is walked.
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "kdl") && path.is_file()
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn failed(reason: &str) -> Ending {
    terminal::to_terminal(&format!("engine: {reason}\n"));
    Ending::Failed
}

fn standard_input(args: &FmtArgs) -> Ending {
    let mut bytes = Vec::new();
    // One byte more than is read tells that there are more.
    let limit = document::SIZE_MAX as u64 + 1;
    if let Err(fault) = std::io::stdin().lock().take(limit).read_to_end(&mut bytes) {
        return failed(&format!("cannot read standard input: {fault}"));
    }
    let name = "<stdin>";
    match formatted(&bytes, name) {
        Ok((before, after)) if args.check || args.diff => shown(name, &before, &after, args),
        Ok((_, after)) => {
            terminal::to_output(&after);
            Ending::Fine
        }
        Err(ending) => ending,
    }
}

fn file(path: &Path, args: &FmtArgs) -> Ending {
    let name = path.display().to_string();
    let bytes = match files::read_pipeline(path) {
        Ok(bytes) => bytes,
        Err(fault) => return failed(&files::cannot_read(path, &fault)),
    };
    match formatted(&bytes, &name) {
        Ok((before, after)) if before == after => {
            terminal::remark(&format!("{name} is left as it is"));
            Ending::Fine
        }
        Ok((before, after)) if args.check || args.diff => shown(&name, &before, &after, args),
        Ok((_, after)) => match files::replace(path, &after) {
            Ok(()) => {
                if terminal::volume() != Volume::Quiet {
                    terminal::to_output(&format!("{name}\n"));
                }
                Ending::Fine
            }
            Err(fault) => failed(&format!("cannot write {name}: {fault}")),
        },
        Err(ending) => ending,
    }
}

/// The text as it is and in our layout.
fn formatted(bytes: &[u8], name: &str) -> Result<(String, String), Ending> {
    let source = document::text(bytes, name).map_err(|found| told(&found.sorted()))?;
    match format::format(&source) {
        Ok(after) => Ok((source.text.clone(), after)),
        Err(Unformatted::Findings(found)) => Err(told(&found)),
        Err(Unformatted::Altered) => Err(failed(&format!(
            "{name} is left as it is: formatting would change what it says, which is a bug in \
             `engine fmt`"
        ))),
    }
}

fn told(found: &[language::diagnostic::Diagnostic]) -> Ending {
    terminal::to_terminal(&report::human(found, terminal::has_colour(), terminal::width()));
    Ending::Found
}

/// A diff in the colours of `git diff`.
fn coloured(diff: &str) -> String {
    let paint = |line: &str| {
        let colour = match line.as_bytes() {
            [b'@', ..] => "36",
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => "1",
            [b'+', ..] => "32",
            [b'-', ..] => "31",
            _ => return format!("{line}\n"),
        };
        format!("\x1b[{colour}m{line}\x1b[0m\n")
    };
    diff.lines().map(paint).collect()
}

/// Says what would change; `--diff` alone finds nothing wrong in it.
fn shown(name: &str, before: &str, after: &str, args: &FmtArgs) -> Ending {
    if before == after {
        return Ending::Fine;
    }
    if args.diff {
        let diff = TextDiff::from_lines(before, after);
        let plain = diff.unified_diff().header(name, name).to_string();
        let is_coloured = terminal::output_has_colour();
        terminal::to_output(&if is_coloured { coloured(&plain) } else { plain });
    } else {
        terminal::to_output(&format!("{name}\n"));
    }
    if args.check { Ending::Found } else { Ending::Fine }
}
