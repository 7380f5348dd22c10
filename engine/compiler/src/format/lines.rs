//! Moves the lines of a string or comment that spans several, together with its block.
//!
//! A tab counts as four columns, and what is moved is indented with blanks.

use super::lex::{Kind, is_newline};

/// How wide a level of indentation is.
pub(super) const LEVEL: usize = 4;

/// Where a token of several lines stood, and where it stands now.
pub(super) struct Move<'a> {
    /// The text before it on its line, as it was.
    pub(super) before: &'a str,
    /// The text before it on its line, as it is now.
    pub(super) after: &'a str,
}

impl Move<'_> {
    /// How far a comment's lines go to the right, to stay below its beginning.
    fn of_begin(&self) -> isize {
        width(self.after).cast_signed() - width(self.before).cast_signed()
    }

    /// How far a string's lines go to the right, to stay in step with the line that it begins on.
    fn of_line(&self) -> isize {
        let (before, after) = (indentation(self.before), indentation(self.after));
        width(after).cast_signed() - width(before).cast_signed()
    }
}

/// The token's text for its new place.
pub(super) fn moved(text: &str, kind: Kind, place: &Move<'_>) -> String {
    if !text.contains(is_newline) {
        return text.to_owned();
    }
    match kind {
        Kind::Block => comment(text, place.of_begin()),
        Kind::Raw => raw(text, place.of_line()),
        Kind::Text => quoted(text, place.of_line()),
        _ => text.to_owned(),
    }
}

/// What stands on the last line of `text`.
pub(super) fn last_line(text: &str) -> &str {
    text.rsplit(is_newline).next().unwrap_or_default()
}

fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn width(text: &str) -> usize {
    text.chars().map(|letter| if letter == '\t' { LEVEL } else { 1 }).sum()
}

fn shifted(blanks: &str, by: isize) -> String {
    " ".repeat(width(blanks).saturating_add_signed(by))
}

/// The lines of a text; `\r\n` is one line end.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_newline) {
        lines.push(&rest[..at]);
        rest = &rest[at + newline_length(&rest[at..])..];
    }
    lines.push(rest);
    lines
}

fn newline_length(text: &str) -> usize {
    if text.starts_with("\r\n") { 2 } else { text.chars().next().map_or(0, char::len_utf8) }
}

fn comment(text: &str, by: isize) -> String {
    let lines = lines(text);
    let mut moved = lines[0].trim_end().to_owned();
    for line in &lines[1..] {
        moved.push('\n');
        let words = line.trim();
        if !words.is_empty() {
            moved.push_str(&shifted(indentation(line), by));
            moved.push_str(words);
        }
    }
    moved
}

/// In front of every line that is not empty stands what stands in front of the closing quotes.
fn raw(text: &str, by: isize) -> String {
    let lines = lines(text);
    let prefix = lines.last().map_or("", |line| indentation(line));
    let mut moved = lines[0].to_owned();
    for line in &lines[1..] {
        moved.push('\n');
        if !line.trim().is_empty() {
            moved.push_str(&shifted(prefix, by));
            moved.push_str(line.strip_prefix(prefix).unwrap_or(line));
        }
    }
    moved
}

/// The same with escapes: a line that begins behind an escaped line end has blanks in front that
/// are no part of the value, and none that the closing quotes ask for.
fn quoted(text: &str, by: isize) -> String {
    let prefix = closing_prefix(text);
    let mut moved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(it) = rest.chars().next() {
        let length = match it {
            '\\' => {
                let blanks = blanks(&rest[1..]);
                if blanks.contains(is_newline) {
                    moved.push('\\');
                    moved.push_str(&escaped(blanks, by));
                    1 + blanks.len()
                } else {
                    let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                    moved.push_str(&rest[..length]);
                    length
                }
            }
            it if is_newline(it) => {
                moved.push('\n');
                let length = newline_length(rest);
                let line = &rest[length..];
                let blanks = indentation(line.split(is_newline).next().unwrap_or_default());
                let is_empty = line[blanks.len()..].starts_with(is_newline);
                if !is_empty {
                    moved.push_str(&shifted(prefix, by));
                    moved.push_str(blanks.strip_prefix(prefix).unwrap_or(blanks));
                }
                length + blanks.len()
            }
            it => {
                moved.push(it);
                it.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    moved
}

fn blanks(text: &str) -> &str {
    indentation(text)
}

/// What an escape swallows over several lines: the lines are empty, the last one is indented.
fn escaped(blanks: &str, by: isize) -> String {
    let lines = lines(blanks);
    let last = lines.last().copied().unwrap_or_default();
    format!("{}{}", "\n".repeat(lines.len() - 1), shifted(last, by))
}

/// The blanks of the last line that does not begin behind an escaped line end.
fn closing_prefix(text: &str) -> &str {
    let (mut start, mut at) = (text.len(), 0);
    while let Some(it) = text[at..].chars().next() {
        if it == '\\' {
            let blanks = blanks(&text[at + 1..]).len();
            let one = text[at + 1..].chars().next().map_or(0, char::len_utf8);
            at += 1 + blanks.max(one);
        } else if is_newline(it) {
            at += newline_length(&text[at..]);
            start = at;
        } else {
            at += it.len_utf8();
        }
    }
    let line = text[start..].split(is_newline).next().unwrap_or_default();
    indentation(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, after: &str, text: &str, expected: &str) {
        assert_eq!(moved(text, kind, &Move { before: "  a ", after }), expected);
    }

    #[test]
    fn a_comment_stays_below_its_beginning() {
        check(Kind::Block, "    a ", "/* b\n  c  \n\n*/", "/* b\n    c\n\n  */");
        check(Kind::Block, "a ", "/*\r\n\t* b\n */", "/*\n  * b\n*/");
    }

    #[test]
    fn a_raw_string_goes_with_its_line() {
        check(
            Kind::Raw,
            "    a ",
            "#\"\"\"\n  b \n \n    c\n  \"\"\"#",
            "#\"\"\"\n    b \n\n      c\n    \"\"\"#",
        );
        check(Kind::Raw, "a ", "#\"\"\"\n\tb\n\t\"\"\"#", "#\"\"\"\n  b\n  \"\"\"#");
    }

    #[test]
    fn nothing_goes_beyond_the_left_edge() {
        check(Kind::Raw, "a ", "#\"\"\"\n b\n \"\"\"#", "#\"\"\"\nb\n\"\"\"#");
        check(Kind::Block, "", "/*\n b */", "/*\nb */");
    }

    #[test]
    fn escaped_line_ends_are_no_lines_of_the_string() {
        let text = "\"\"\"\n  b \\  \n\n c\n  \\\n  \"\"\"";
        check(Kind::Text, "    a ", text, "\"\"\"\n    b \\\n\n   c\n    \\\n    \"\"\"");
        check(Kind::Text, "    a ", "\"b \\\n    c\"", "\"b \\\n      c\"");
        let text = "\"\"\"\n b\n \\ \n     \"\"\"";
        check(Kind::Text, "    a ", text, "\"\"\"\n   b\n   \\\n       \"\"\"");
        check(
            Kind::Text,
            "    a ",
            "\"\"\"\n  \\\"\"\" \\s\n  \"\"\"",
            "\"\"\"\n    \\\"\"\" \\s\n    \"\"\"",
        );
    }
}
