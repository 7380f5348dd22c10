//! The command line: the commands, each a file of its own that takes arguments and answers an
//! exit code.

mod check;
mod checked;
mod completions;
mod diff;
mod dlq;
mod doctor;
mod eval;
mod events;
mod expand;
mod explain;
mod expression;
mod fmt;
mod graph;
mod help;
mod man;
mod new;
mod notify;
mod pause;
mod reload;
mod retention;
mod run;
mod schema;
mod send;
mod sql;
mod stats;
mod tail;
mod test;
mod top;

use crate::terminal::{self, Colour, OutputChoice, Volume};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

pub use help::{show, words};

/// A declarative event-pipeline engine: one KDL file in, durable events out.
#[derive(Debug, Parser)]
#[command(name = "engine", version, about)]
#[command(after_help = r#"Examples:
  engine new home
  engine check pipelines/
  engine run pipelines/home.kdl
  engine help run"#)]
pub struct Line {
    #[command(subcommand)]
    command: Command,
    /// When to color output; `auto` respects `NO_COLOR` and colors only a terminal.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Colour,
    /// Print only errors and results: no warnings, summaries, file lists or hints.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also print unchanged files and, with `graph`, `expand` and `diff`, warnings; with `run`, log
    /// every step; with `test`, show the timeline of every test.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline until it is stopped.
    Run(run::RunArgs),
    /// Check pipeline files and report every mistake; starts nothing.
    Check(check::CheckArgs),
    /// Print the effective file: includes, parameters and policies resolved.
    Expand(expand::ExpandArgs),
    /// Format pipeline files; keeps comments and values.
    Fmt(fmt::FmtArgs),
    /// Try an expression or template on an event.
    Eval(eval::EvalArgs),
    /// Create a pipeline with its schemas and a sample message.
    New(new::NewArgs),
    /// Draw the stage graph: nodes, dependencies and disabled stages.
    Graph(graph::GraphArgs),
    /// Show what a reload would change: what opens, closes or is replaced, and which state is kept.
    Diff(diff::DiffArgs),
    /// Run the tests of pipeline files on a virtual clock, without outside services.
    Test(test::TestArgs),
    /// Check that a pipeline can run on this machine, or that a running engine is healthy.
    Doctor(doctor::DoctorArgs),
    /// Send one event to a running engine.
    Send(Box<send::SendArgs>),
    /// List the events of a running engine, or show the history of one.
    Events(Box<events::EventsArgs>),
    /// Print events as they become visible.
    Tail(Box<tail::TailArgs>),
    /// List, show, redrive, drop or export the dead letters of a running engine.
    Dlq(dlq::DlqArgs),
    /// Show what a running engine's notifiers sent or held back, or send a test message.
    Notify(notify::NotifyArgs),
    /// Show event counts, latencies and sizes of a running engine.
    Stats(Box<stats::StatsArgs>),
    /// Reload the file of a running engine now.
    Reload(Box<reload::ReloadArgs>),
    /// Pause a sink or notifier; its deliveries wait in the outbox.
    Pause(Box<pause::PauseArgs>),
    /// Resume a sink or notifier and send what is waiting.
    Resume(Box<pause::ResumeArgs>),
    /// Show why an event is still stored, or what the next sweep deletes.
    Retention(Box<retention::RetentionArgs>),
    /// Show rates, failures and latencies of a running engine, refreshed continuously.
    Top(Box<top::TopArgs>),
    /// Query a store with SQL, read-only; works while an engine runs.
    Sql(sql::SqlArgs),
    /// Explain a code such as E0203, or a word of the language.
    Explain(explain::ExplainArgs),
    /// Describe the whole language.
    Schema(schema::SchemaArgs),
    /// Print a shell completion script.
    Completions(completions::CompletionsArgs),
    /// Print a manual page.
    Man(man::ManArgs),
}

/// How a command prints what it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ChangeFormat {
    /// In words.
    Text,
    /// One JSON object.
    Json,
}

/// A folder that is there, from the command line.
fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such folder".to_owned()) }
}

/// Does what the command line says; the exit code.
pub fn main(line: Line) -> u8 {
    let volume = match (line.quiet, line.verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    };
    terminal::choose(OutputChoice { colour: line.color, volume });
    let code = carry_out(line.command);
    match terminal::output_fault() {
        Some(fault) => {
            terminal::to_terminal(&format!("engine: cannot write the result: {fault}\n"));
            if code == 0 { 2 } else { code }
        }
        None => code,
    }
}

fn carry_out(command: Command) -> u8 {
    match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(&args),
        Command::Expand(args) => expand::expand(&args),
        Command::Fmt(args) => fmt::fmt(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::New(args) => new::new(&args),
        Command::Graph(args) => graph::graph(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Events(args) => events::events(&args),
        Command::Send(args) => send::send(&args),
        Command::Tail(args) => tail::tail(&args),
        Command::Dlq(args) => dlq::dlq(&args),
        Command::Notify(args) => notify::notify(&args),
        Command::Stats(args) => stats::stats(&args),
        Command::Reload(args) => reload::reload(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Retention(args) => retention::retention(&args),
        Command::Top(args) => top::top(&args),
        Command::Sql(args) => sql::sql(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Test(args) => test::test(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    }
}
