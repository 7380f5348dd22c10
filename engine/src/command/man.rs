//! `engine man`: manual pages, of the program and of each command.

use super::Line;
use crate::terminal;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine man | man -l -
  engine man run | man -l -
  engine man dlq list | man -l -"#)]
pub(super) struct ManArgs {
    /// The command, such as `run` or `dlq list`; without one, the page of the whole program.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Prints the page for `man`; the exit code.
pub(super) fn man(args: &ManArgs) -> u8 {
    let mut line = Line::command().disable_help_subcommand(true);
    // Names such as `engine-fmt`, which the pages refer to, are given when it is built.
    line.build();
    let name = args.command.join(" ");
    // Pages refer to each other as `engine-dlq-list`.
    let words = name.strip_prefix("engine-").unwrap_or(&name).split([' ', '-']);
    let mut found = Some(&line);
    for word in words.filter(|word| !word.is_empty()) {
        found = found.and_then(|command| command.find_subcommand(word));
    }
    match found.cloned() {
        Some(command) => print(command),
        None => {
            terminal::to_terminal(&format!("engine: there is no command `{name}`\n"));
            2
        }
    }
}

fn print(command: Command) -> u8 {
    let mut page = Vec::new();
    let program = concat!("engine ", env!("CARGO_PKG_VERSION"));
    match Man::new(command).source(program).render(&mut page) {
        Ok(()) => {
            terminal::to_output(&String::from_utf8_lossy(&page));
            0
        }
        Err(fault) => {
            terminal::to_terminal(&format!("engine: cannot write the page: {fault}\n"));
            2
        }
    }
}
