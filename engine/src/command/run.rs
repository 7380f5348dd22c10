//! `engine run`: a pipeline until it is told to stop.

use crate::files::Place;
use crate::host::{self, Options};
use crate::plan::RunMode;
use crate::report;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
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

/// Reads `PATH=VALUE`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE")?;
    Ok((path.to_owned(), value.to_owned()))
}

/// Runs; the exit code.
pub(super) fn run(args: RunArgs) -> u8 {
    log_to_terminal(args.log_format);
    let options = Options {
        place: Place::of(&args.file, args.root.as_deref(), args.data.as_deref()),
        mode: RunMode { is_demo: args.demo, is_once: args.once },
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
