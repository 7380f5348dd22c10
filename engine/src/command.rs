//! The command line: what each command does, and its exit code.

use crate::files::Place;
use crate::host::{self, Options};
use crate::load::{self, ProcessEnvironment};
use crate::report;
use clap::{Args, Parser, Subcommand, ValueEnum};
use stages::catalog::Catalog;
use stages::diagnostic::{Diagnostic, Severity};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A declarative event-pipeline engine: one KDL file in, durable events out.
#[derive(Debug, Parser)]
#[command(name = "engine", version, about)]
pub struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline until it is told to stop.
    Run(RunArgs),
    /// Check pipeline files: every mistake at its place, nothing is started.
    Check(CheckArgs),
    /// Explain a code such as E0203.
    Explain {
        /// The code.
        code: String,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The pipeline file.
    file: PathBuf,
    /// Start the demo sources, on a store of their own below `data/demo/`.
    #[arg(long)]
    demo: bool,
    /// End when the sources that end have ended and everything is delivered.
    #[arg(long)]
    once: bool,
    /// With --once: exit 1 when anything became a dead letter.
    #[arg(long, requires = "once")]
    fail_on_dead: bool,
    /// Stands in for the folder `data/` beside `pipelines/`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Nothing outside of this folder is read.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Replace a value of the file, such as `server.listen=127.0.0.1:0`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Whether the file is followed.
    #[arg(long, value_enum, default_value = "auto")]
    watch: Watching,
    /// How the log is written.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Watching {
    /// By hints of the file system, with a slow poll as a net.
    Auto,
    /// Not at all; SIGHUP still reloads.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct CheckArgs {
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

fn key_value(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE")?;
    Ok((path.to_owned(), value.to_owned()))
}

/// Does what the command line says; the exit code.
pub fn main(line: Line) -> u8 {
    match line.command {
        Command::Run(args) => run(args),
        Command::Check(args) => check(&args),
        Command::Explain { code } => explain(&code),
    }
}

fn run(args: RunArgs) -> u8 {
    log_to_terminal(args.log_format);
    let options = Options {
        place: Place::of(&args.file, args.root.as_deref(), args.data.as_deref()),
        is_demo: args.demo,
        is_once: args.once,
        fails_on_dead: args.fail_on_dead,
        is_watched: args.watch == Watching::Auto,
        overrides: args.set,
    };
    match host::run(options) {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                report::to_terminal(&format!("engine: {}\n", failure.message));
            }
            failure.code
        }
    }
}

fn log_to_terminal(format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(report::has_colour())
        .with_max_level(tracing::Level::INFO);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn check(args: &CheckArgs) -> u8 {
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

fn explain(code: &str) -> u8 {
    let rule = stages::diagnostic::Rule::ALL.iter().find(|it| it.code().eq_ignore_ascii_case(code));
    match rule {
        Some(rule) => {
            let lines = rule.explanation().lines().map(|it| format!("{}\n", it.trim()));
            report::to_output(&format!("{}\n\n{}", rule.code(), lines.collect::<String>()));
            0
        }
        None => {
            let mut error = std::io::stderr().lock();
            writeln!(error, "engine: there is no code `{code}`").ok();
            2
        }
    }
}
