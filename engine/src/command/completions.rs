//! `engine completions`: what completes the command line in a shell.

use super::Line;
use crate::terminal;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine completions bash > ~/.local/share/bash-completion/completions/engine"#)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script; the exit code.
pub(super) fn completions(args: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Line::command(), "engine", &mut script);
    terminal::to_output(&String::from_utf8_lossy(&script));
    0
}
