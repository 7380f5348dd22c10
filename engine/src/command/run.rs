//! `engine run`: a pipeline until it is told to stop.

use crate::host::{self, Options};
use crate::log::{self, LogFormat};
use crate::terminal::{self, Volume};
use clap::{Args, ValueEnum};
use compiler::files::PipelinePath;
use compiler::plan::RunMode;
use std::path::PathBuf;
use tracing::Level;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine run pipelines/home.kdl
  engine run pipelines/home.kdl --demo
  engine run pipelines/home.kdl --set server.listen=127.0.0.1:0 --verbose"#)]
pub(super) struct RunArgs {
    /// The pipeline file.
    file: PathBuf,
    /// Start the demo sources, with a separate store under `data/demo/`.
    #[arg(long)]
    demo: bool,
    /// Exit once all finite sources are exhausted and every delivery is settled.
    #[arg(long)]
    once: bool,
    /// With --once: exit 1 if there are any dead letters.
    #[arg(long, requires = "once")]
    fail_on_dead: bool,
    /// Use this folder instead of `data/` next to `pipelines/`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Reject schemas, tables and includes outside this folder.
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    root: Option<PathBuf>,
    /// Replace a value of the file, such as `server.listen=127.0.0.1:0`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Whether to reload when the file changes.
    #[arg(long, value_enum, default_value = "auto")]
    watch: Watching,
    /// Allow the pipeline to start programs (`exec`).
    #[arg(long)]
    allow_exec: bool,
    /// The log format.
    #[arg(long, value_enum, default_value = "text")]
    log_format: RunFormat,
    /// The lowest level to log; `RUST_LOG` overrides it.
    /// Default: `error` with --quiet, `debug` with --verbose, otherwise `info`.
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Watching {
    /// Reload when the file changes; uses file-system events, with slow polling as a fallback.
    Auto,
    /// Do not watch the file; SIGHUP still reloads.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RunFormat {
    /// A line for people, with the local time.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl RunArgs {
    fn level(&self) -> Level {
        match (self.log_level, terminal::volume()) {
            (Some(LogLevel::Error), _) | (None, Volume::Quiet) => Level::ERROR,
            (Some(LogLevel::Warn), _) => Level::WARN,
            (Some(LogLevel::Info), _) | (None, Volume::Normal) => Level::INFO,
            (Some(LogLevel::Debug), _) | (None, Volume::Verbose) => Level::DEBUG,
            (Some(LogLevel::Trace), _) => Level::TRACE,
        }
    }
}

/// Reads `PATH=VALUE`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE")?;
    Ok((path.to_owned(), value.to_owned()))
}

/// Runs; the exit code.
pub(super) fn run(args: RunArgs) -> u8 {
    let log = match args.log_format {
        RunFormat::Text => LogFormat::Text,
        RunFormat::Json => LogFormat::Json,
    };
    if let Err(reason) = log::start(log, args.level()) {
        log::failure(log, &reason);
        return 2;
    }
    let options = Options {
        place: PipelinePath::of(&args.file, args.root.as_deref(), args.data.as_deref()),
        mode: RunMode { is_demo: args.demo, is_once: args.once },
        allows_exec: args.allow_exec,
        fails_on_dead: args.fail_on_dead,
        is_watched: args.watch == Watching::Auto,
        overrides: args.set,
        log,
    };
    match host::run(options) {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                log::failure(log, &failure.message);
            }
            failure.code
        }
    }
}
