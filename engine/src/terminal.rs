//! What the two streams are, and writing to them.

use clap::ValueEnum;
use kernel::health::is_unprintable;
use language::diagnostic::{Diagnostic, Severity};
use std::env::var_os;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

/// When to color output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// Follow the environment; otherwise, color only a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// The choice for a stream that is a terminal or not: `NO_COLOR`, `CLICOLOR_FORCE`,
    /// `CLICOLOR=0`, then whether it is one.
    pub(crate) fn is_wanted(self, is_terminal: bool) -> bool {
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => from(|name| var_os(name)?.into_string().ok(), is_terminal),
        }
    }
}

fn from(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is_set = |name| variable(name).is_some_and(|variable| !variable.is_empty());
    if is_set("NO_COLOR") || variable("TERM").is_some_and(|variable| variable == "dumb") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE").is_none_or(|variable| variable != "0")
    {
        return true;
    }
    is_terminal && variable("CLICOLOR").is_none_or(|variable| variable != "0")
}

/// What the command line says about the output of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutputChoice {
    /// Whether it is coloured.
    pub(crate) colour: Colour,
    /// How much is said.
    pub(crate) volume: Volume,
}

/// How much a command says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Volume {
    /// Errors and results.
    Quiet,
    /// Also warnings and summaries, where they are what was asked for.
    Normal,
    /// Also what was read or left as it is, and the warnings of a file that a command only uses.
    Verbose,
}

static CHOICE: OnceLock<OutputChoice> = OnceLock::new();

/// Keeps the choice for the whole process; the first one counts.
pub(crate) fn choose(choice: OutputChoice) {
    CHOICE.set(choice).ok();
}

fn choice() -> OutputChoice {
    let default = OutputChoice { colour: Colour::Auto, volume: Volume::Normal };
    CHOICE.get().copied().unwrap_or(default)
}

/// How much is said.
pub(crate) fn volume() -> Volume {
    choice().volume
}

/// The findings to show to a person: with `--quiet`, only errors.
pub(crate) fn wanted(found: &[Diagnostic]) -> Vec<Diagnostic> {
    let is_error = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
    match volume() {
        Volume::Quiet => found.iter().filter(is_error).cloned().collect(),
        Volume::Normal | Volume::Verbose => found.to_vec(),
    }
}

/// Whether standard error is a terminal.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether standard output is a terminal.
pub(crate) fn is_output_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard error takes colour.
pub(crate) fn has_colour() -> bool {
    choice().colour.is_wanted(is_terminal())
}

/// Whether standard output takes colour.
pub(crate) fn output_has_colour() -> bool {
    choice().colour.is_wanted(is_output_terminal())
}

/// Writes a remark to standard error, where the user wants to hear more.
pub(crate) fn remark(text: &str) {
    if volume() == Volume::Verbose {
        to_terminal(&format!("{text}\n"));
    }
}

/// How wide reports are: as `COLUMNS` says, or as wide as the terminal.
pub(crate) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
    let asked = || {
        let size = [
            rustix::termios::tcgetwinsize(std::io::stderr()).ok(),
            rustix::termios::tcgetwinsize(std::io::stdout()).ok(),
        ];
        let mut columns = size.into_iter().flatten().map(|size| usize::from(size.ws_col));
        columns.find(|columns| 0 < *columns)
    };
    columns.or_else(asked).unwrap_or(100).clamp(40, 160)
}

/// How wide tables are: as reports, but where a program reads them nothing is cut, unless `COLUMNS`
/// says how wide they are.
pub(crate) fn table_width() -> usize {
    match is_output_terminal() || var_os("COLUMNS").is_some() {
        true => width(),
        false => usize::MAX,
    }
}

/// Writes to standard error, where everything but results goes.
pub(crate) fn to_terminal(text: &str) {
    above_progress(harmless(text).as_bytes());
}

/// The line below everything else that is written over again; empty where there is none.
static PROGRESS: Mutex<String> = Mutex::new(String::new());

/// To the beginning of the line, and nothing on it.
const EMPTY_LINE: &str = "\r\x1b[K";

/// Whether there is somebody to show progress to.
pub(crate) fn shows_progress() -> bool {
    is_terminal() && volume() != Volume::Quiet && var_os("TERM").is_none_or(|os| os != "dumb")
}

/// Shows how far something has come, in one line; an empty one takes it away.
pub(crate) fn progress(line: &str) {
    let mut shown = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
    // A line that wraps could not be written over.
    *shown = harmless(line).chars().take(width() - 1).collect();
    std::io::stderr().lock().write_all(format!("{EMPTY_LINE}{shown}").as_bytes()).ok();
}

/// Writes whole lines to standard error; progress stays below them.
fn above_progress(lines: &[u8]) {
    let shown = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stderr = std::io::stderr().lock();
    // A closed terminal must not stop the engine.
    if shown.is_empty() {
        stderr.write_all(lines).ok();
    } else {
        let text = [EMPTY_LINE.as_bytes(), lines, shown.as_bytes()].concat();
        stderr.write_all(&text).ok();
    }
}

/// Standard error for the log, whose writes are whole lines.
pub(crate) struct LogOutput;

impl std::io::Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        above_progress(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A text with what is not printable escaped, except for our own colours.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let colour = colour_length(rest);
        if 0 < colour {
            shown.push_str(&rest[..colour]);
            rest = &rest[colour..];
            continue;
        }
        if is_unprintable(letter) && !matches!(letter, '\n' | '\t') {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
        rest = &rest[letter.len_utf8()..];
    }
    shown
}

/// How long the colour is that a text begins with.
fn colour_length(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = codes.len()
        - codes.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';').len();
    if codes[digits..].starts_with('m') { digits + 3 } else { 0 }
}

/// Why a result could not be written, other than that nobody reads it.
static OUTPUT_FAULT: OnceLock<String> = OnceLock::new();

/// Writes a result to standard output. Answers whether someone took it.
pub(crate) fn to_output(text: &str) -> bool {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => true,
        // Whoever reads only the beginning has what was wanted.
        Err(fault) if fault.kind() == ErrorKind::BrokenPipe => false,
        Err(fault) => {
            OUTPUT_FAULT.set(fault.to_string()).ok();
            false
        }
    }
}

/// Why a result could not be written, where that was tried: a full disk, for example.
pub(crate) fn output_fault() -> Option<&'static str> {
    OUTPUT_FAULT.get().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], is_terminal: bool, expected: bool) {
        let value = |name: &str| {
            let found = variables.iter().find(|variable| variable.0 == name);
            found.map(|it| it.1.to_owned())
        };
        assert_eq!(from(value, is_terminal), expected, "{variables:?}");
    }

    #[test]
    fn who_says_no_is_heard_before_who_insists() {
        check(&[], true, true);
        check(&[], false, false);
        check(&[("CLICOLOR_FORCE", "1")], false, true);
        check(&[("CLICOLOR_FORCE", "0")], false, false);
        check(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false);
        check(&[("NO_COLOR", "")], true, true);
        check(&[("CLICOLOR", "0")], true, false);
        check(&[("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0")], false, true);
        check(&[("TERM", "dumb")], true, false);
    }

    #[test]
    fn nothing_but_a_colour_commands_the_terminal() {
        let shown = harmless("\x1b[1;31mé\x1b[0m \x1b]0;x\x07 \x1b[2J\u{9b}\n\t");
        let expected = "\x1b[1;31mé\x1b[0m \\u{1b}]0;x\\u{7} \\u{1b}[2J\\u{9b}\n\t";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_choice_goes_before_the_surroundings() {
        assert!(Colour::Always.is_wanted(false));
        assert!(!Colour::Never.is_wanted(true));
    }
}
