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
use clap::{Parser, Subcommand};

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
    /// Whether reports are coloured; `auto` heeds `NO_COLOR` and whether it is a terminal.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: Colour,
    /// Errors and results only: no warnings in passing, no summaries, no lists of files, no hints.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also what is read and left as it is, and the warnings of a file that is only used; with
    /// `run`, every step in the log; with `test`, what happened in every test.
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline until it is told to stop.
    Run(run::RunArgs),
    /// Check pipeline files: every mistake at its place, nothing is started.
    Check(check::CheckArgs),
    /// Show a file as it takes effect: includes, parameters and policies in their places.
    Expand(expand::ExpandArgs),
    /// Put pipeline files in one layout; comments and values stay as they are.
    Fmt(fmt::FmtArgs),
    /// Try an expression or template on an event.
    Eval(eval::EvalArgs),
    /// Begin a pipeline: its file, its schemas and a message to send.
    New(new::NewArgs),
    /// Draw a file: what there is, what waits for what, and what is off.
    Graph(graph::GraphArgs),
    /// Show what a reload would change: what is opened, closed, replaced, and which state is kept.
    Diff(diff::DiffArgs),
    /// Run the tests of pipeline files, on a virtual clock and without the outside.
    Test(test::TestArgs),
    /// Look for what keeps an engine from working, or whether a running one works.
    Doctor(doctor::DoctorArgs),
    /// Send one event to a running engine.
    Send(Box<send::SendArgs>),
    /// List the events of a running engine, or show one with all that happened to it.
    Events(Box<events::EventsArgs>),
    /// Print events as they become visible.
    Tail(Box<tail::TailArgs>),
    /// List, show, redrive, drop or export the dead letters of a running engine.
    Dlq(dlq::DlqArgs),
    /// List what the notifiers of a running engine sent and did not send, or test one.
    Notify(notify::NotifyArgs),
    /// Count the events of a running engine, with latencies and sizes.
    Stats(Box<stats::StatsArgs>),
    /// Let a running engine look at its file now.
    Reload(Box<reload::ReloadArgs>),
    /// Pause a sink or notifier of a running engine: its deliveries wait.
    Pause(Box<pause::PauseArgs>),
    /// End the pause of a sink or notifier: what waits is sent.
    Resume(Box<pause::ResumeArgs>),
    /// Show why an event is still stored, or what the next sweep deletes.
    Retention(Box<retention::RetentionArgs>),
    /// Show what each part of a running engine does, again and again.
    Top(Box<top::TopArgs>),
    /// Query a store with SQL; it is only read, and an engine may be running on it.
    Sql(sql::SqlArgs),
    /// Explain a code such as E0203, or a word of the language.
    Explain(explain::ExplainArgs),
    /// Describe the whole language.
    Schema(schema::SchemaArgs),
    /// Print what completes this command line in a shell.
    Completions(completions::CompletionsArgs),
    /// Print a manual page.
    Man(man::ManArgs),
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
