//! What the two streams are, and writing to them.

use clap::ValueEnum;
use std::env::var_os;
use std::io::{IsTerminal, Write as _};

/// Whether reports are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// As the environment says, or where the stream is a terminal.
    Auto,
    /// In any case.
    Always,
    /// In no case.
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
    let is_set = |name| variable(name).is_some_and(|it| !it.is_empty());
    if is_set("NO_COLOR") || variable("TERM").is_some_and(|it| it == "dumb") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE").is_none_or(|it| it != "0") {
        return true;
    }
    is_terminal && variable("CLICOLOR").is_none_or(|it| it != "0")
}

/// Whether standard error takes colour.
pub(crate) fn has_colour() -> bool {
    Colour::Auto.is_wanted(std::io::stderr().is_terminal())
}

/// How wide reports are.
pub(crate) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
    columns.unwrap_or(100).clamp(40, 160)
}

/// Writes to standard error, where everything but results goes.
pub(crate) fn to_terminal(text: &str) {
    // A closed terminal must not stop the engine.
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Writes a result to standard output. Answers whether someone took it.
pub(crate) fn to_output(text: &str) -> bool {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], is_terminal: bool, expected: bool) {
        let value = |name: &str| {
            let found = variables.iter().find(|it| it.0 == name);
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
    fn a_choice_goes_before_the_surroundings() {
        assert!(Colour::Always.is_wanted(false));
        assert!(!Colour::Never.is_wanted(true));
    }
}
