//! JSON for people: laid out again, with digits and the order of members as they were sent.

use crate::terminal;

/// Lines of one value that are shown; more is what `--format json` is for.
const LINES_MAX: usize = 60;

/// JSON text with a line for each value, indented by `indent`; long lines and many lines are cut.
pub(crate) fn lines(json: &str, indent: usize) -> Vec<String> {
    let width = terminal::width().saturating_sub(indent);
    let whole = pretty(json);
    let mut lines: Vec<String> = whole
        .lines()
        .take(LINES_MAX)
        .map(|line| format!("{:indent$}{}", "", super::table::cut(line, width)))
        .collect();
    let more = whole.lines().count().saturating_sub(LINES_MAX);
    if 0 < more {
        lines.push(format!("{:indent$}… and {more} more lines; see --format json", ""));
    }
    lines
}

/// JSON text, laid out again. What a terminal would obey is escaped.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    let letters: Vec<char> = json.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect();
    let mut rest = letters.iter().copied().peekable();
    while let Some(letter) = rest.next() {
        if is_text {
            out.push(letter);
            is_text = is_escaped || letter != '"';
            is_escaped = !is_escaped && letter == '\\';
            continue;
        }
        match letter {
            ' ' | '\t' => {}
            '{' | '[' => {
                out.push(letter);
                while rest.next_if(|it| it.is_ascii_whitespace()).is_some() {}
                match rest.next_if(|it| matches!(it, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                is_text = letter == '"';
                out.push(letter);
            }
        }
    }
    kernel::health::printable_json(out)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    // Deep nesting must not make long lines of blanks.
    out.extend(std::iter::repeat_n("  ", depth.min(32)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_order_stay_and_nothing_commands_the_terminal() {
        let json = "{\"z\":1.50,\"a\" : [ ],\"t\":\"a\\\"b, {c}: \u{9b}2J\",\"l\":[1,{}]}";
        let expected = "{
  \"z\": 1.50,
  \"a\": [],
  \"t\": \"a\\\"b, {c}: \\u009b2J\",
  \"l\": [
    1,
    {}
  ]
}";
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty("\"x\""), "\"x\"");
        assert_eq!(pretty("{\"a\":\"\\\\\"}"), "{\n  \"a\": \"\\\\\"\n}");
    }

    #[test]
    fn many_lines_are_cut_and_counted() {
        let json = format!("[{}]", vec!["1"; 100].join(","));
        let lines = lines(&json, 2);
        assert_eq!((lines.len(), lines[1].as_str()), (61, "    1,"));
        assert_eq!(lines[60], "  … and 42 more lines; see --format json");
    }
}
