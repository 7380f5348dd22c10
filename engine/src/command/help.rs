//! Help, and what is wrong with a command line, as they are shown.

use crate::terminal::{self, Colour};
use clap::ValueEnum;
use std::ffi::OsString;

/// Shows why a command line is not carried out: its help, its version, or what is wrong with it.
pub fn show(error: &clap::Error, arguments: impl Iterator<Item = OsString>) {
    let text = error.render().to_string();
    let choice = colour_of(arguments);
    if error.use_stderr() {
        let is_coloured = choice.is_wanted(terminal::is_terminal());
        terminal::to_terminal(&if is_coloured { coloured(&text) } else { text });
    } else {
        let is_coloured = choice.is_wanted(terminal::is_output_terminal());
        terminal::to_output(&if is_coloured { coloured(&text) } else { text });
    }
}

/// The words of a command line as they are read: those that every command takes come before
/// `help`, which takes nothing but names of commands.
pub fn words(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).is_none_or(|word| word != "help") {
        return arguments;
    }
    let (mut first, mut others) = (vec![arguments[0].clone()], Vec::new());
    let mut rest = arguments.into_iter().skip(1);
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("--color") => first.extend([Some(word), rest.next()].into_iter().flatten()),
            Some("-q" | "--quiet" | "-v" | "--verbose") => first.push(word),
            Some(text) if text.starts_with("--color=") => first.push(word),
            _ => others.push(word),
        }
    }
    first.append(&mut others);
    first
}

/// What `--color` says on a command line that is not read any further.
fn colour_of(arguments: impl Iterator<Item = OsString>) -> Colour {
    let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "--color").map(|pair| &*pair[1]);
    let joined = words.iter().filter_map(|word| word.strip_prefix("--color="));
    let given = pairs.chain(joined).next_back();
    given.and_then(|word| Colour::from_str(word, false).ok()).unwrap_or(Colour::Auto)
}

/// Headings bold, options and commands in colour.
fn coloured(text: &str) -> String {
    text.lines().map(|line| painted(line) + "\n").collect()
}

fn painted(line: &str) -> String {
    for (word, colour) in [("error:", "1;31"), ("Usage:", "1")] {
        if let Some(rest) = line.strip_prefix(word) {
            return format!("\x1b[{colour}m{word}\x1b[0m{rest}");
        }
    }
    let inner = line.trim_start();
    let indent = line.len() - inner.len();
    if indent == 0 && inner.ends_with(':') {
        return format!("\x1b[1m{line}\x1b[0m");
    }
    let is_option = inner.starts_with('-') && !inner.starts_with("- ");
    // What is indented deeper belongs to the text of an option.
    let is_name = indent == 2 && !inner.starts_with('<') && !inner.starts_with("engine ");
    if 0 < indent && indent < 8 && (is_option || is_name) {
        let end = inner.find("  ").unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        return format!("{}\x1b[36m{name}\x1b[0m{rest}", &line[..indent]);
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choice_of_a_command_line_counts() {
        let choice = |line: &str| colour_of(line.split(' ').map(OsString::from));
        assert_eq!(choice("engine --help"), Colour::Auto);
        assert_eq!(choice("engine --color always --help"), Colour::Always);
        assert_eq!(choice("engine --color=never --help"), Colour::Never);
        assert_eq!(choice("engine --color sometimes"), Colour::Auto);
    }

    #[test]
    fn help_takes_the_flags_of_all() {
        let words = |line: &str| {
            let words = words(line.split(' ').map(OsString::from));
            words.iter().filter_map(|word| word.to_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("engine help run --color always -q"), "engine --color always -q help run");
        assert_eq!(words("engine help --color"), "engine --color help");
        assert_eq!(words("engine run help --color never"), "engine run help --color never");
    }

    #[test]
    fn only_names_and_headings_are_painted() {
        assert_eq!(painted("Options:"), "\x1b[1mOptions:\x1b[0m");
        assert_eq!(painted("  run    Run it: now"), "  \x1b[36mrun\x1b[0m    Run it: now");
        assert_eq!(painted("  -q, --quiet"), "  \x1b[36m-q, --quiet\x1b[0m");
        assert_eq!(painted("      --fix"), "      \x1b[36m--fix\x1b[0m");
        assert_eq!(painted("error: no"), "\x1b[1;31merror:\x1b[0m no");
        for plain in ["", "          - auto: it", "  engine check pipelines/", "  <FILE>"] {
            assert_eq!(painted(plain), plain);
        }
    }
}
