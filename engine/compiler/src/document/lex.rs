//! The tokens of a KDL v2 text, right or wrong: what `kdl` gives up on is still told apart here.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word or a number, also one that KDL does not allow.
    Word,
    /// `#true`, `#false`, `#null`, `#inf`, `#-inf`, `#nan`.
    Keyword,
    /// Any other `#`, with the rest of its line.
    Hash,
    /// `"…"` or `"""…"""`.
    Text,
    /// `#"…"#`.
    Raw,
    /// `{{ … }}` without quotes, with the words around it.
    Template,
    /// `// …`.
    Line,
    /// `/* … */`.
    Block,
    /// `/-`.
    Slashdash,
    /// `{`.
    Open,
    /// `}`.
    Close,
    /// `(`.
    Paren,
    /// `)`.
    ParenClose,
    /// `[`.
    Bracket,
    /// `]`.
    BracketClose,
    /// `=`.
    Equals,
    /// `;`.
    Semicolon,
    /// A line end.
    Newline,
    /// `\`.
    Backslash,
}

/// A piece of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LexToken {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
    /// Whether a string or comment has its end.
    pub(crate) is_closed: bool,
    /// How deep comments are nested in it.
    pub(super) depth: usize,
}

/// Goes through a text token by token; blanks are left out.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

/// Where a raw text ends that its line does not close: within some lines, before anything that
/// looks like another text.
fn raw_over_lines(body: &str, end: &str) -> Option<usize> {
    const LINES_MAX: usize = 100;
    let begin: String = end.chars().rev().collect();
    let mut at = 0;
    for (index, line) in body.split_inclusive('\n').take(LINES_MAX).enumerate() {
        let found = line.find(end);
        let begins = line.find(&begin).filter(|_| 0 < index);
        match found {
            Some(place) if begins.is_none_or(|begins| place <= begins) => {
                return Some(at + place + end.len());
            }
            _ if begins.is_some() => return None,
            _ => at += line.len(),
        }
    }
    None
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer { text, at: if text.starts_with('\u{FEFF}') { 3 } else { 0 } }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn token(&mut self, kind: Kind, length: usize) -> LexToken {
        let start = self.at;
        self.at += length;
        LexToken { kind, span: start..self.at, is_closed: true, depth: 0 }
    }

    fn open_token(&mut self, kind: Kind, length: usize) -> LexToken {
        LexToken { is_closed: false, ..self.token(kind, length) }
    }

    fn comment(&mut self) -> LexToken {
        let rest = self.rest();
        let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
        while at < rest.len() {
            let (step, change) = match rest.as_bytes()[at..] {
                [b'/', b'*', ..] => (2, 1),
                [b'*', b'/', ..] => (2, -1),
                _ => (1, 0),
            };
            at += step;
            depth = depth.saturating_add_signed(change);
            deepest = deepest.max(depth);
            if depth == 0 {
                return LexToken { depth: deepest, ..self.token(Kind::Block, at) };
            }
        }
        LexToken { depth: deepest, ..self.open_token(Kind::Block, at) }
    }

    fn hash(&mut self) -> LexToken {
        let rest = self.rest();
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let behind = &rest[hashes..];
        if behind.starts_with('"') {
            return self.raw(hashes);
        }
        let word = &rest[1..1 + word_length(&rest[1..])];
        if matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            return self.token(Kind::Keyword, 1 + word.len());
        }
        self.token(Kind::Hash, line_length(rest))
    }

    fn raw(&mut self, hashes: usize) -> LexToken {
        let rest = self.rest();
        let is_long = rest[hashes..].starts_with("\"\"\"") && {
            let behind = &rest[hashes + 3..];
            behind.starts_with(is_newline)
        };
        let quotes = if is_long { 3 } else { 1 };
        let end = format!("{}{}", "\"".repeat(quotes), "#".repeat(hashes));
        let body = &rest[hashes + quotes..];
        let limit = if is_long { body.len() } else { line_length(body) };
        match body[..limit].find(&end) {
            Some(at) => self.token(Kind::Raw, hashes + quotes + at + end.len()),
            None => {
                let over = if is_long { None } else { raw_over_lines(body, &end) };
                self.open_token(Kind::Raw, hashes + quotes + over.unwrap_or(limit))
            }
        }
    }

    fn quoted(&mut self) -> LexToken {
        let rest = self.rest();
        let is_long = rest.starts_with("\"\"\"");
        let quotes = if is_long { 3 } else { 1 };
        let mut at = quotes;
        while let Some(it) = rest[at..].chars().next() {
            if it == '\\' {
                let escaped = &rest[at + 1..];
                at += 1 + escape_length(escaped, is_long);
            } else if it == '"' && (!is_long || rest[at..].starts_with("\"\"\"")) {
                return self.token(Kind::Text, at + quotes);
            } else if is_newline(it) && !is_long {
                return self.over_lines(at);
            } else {
                at += it.len_utf8();
            }
        }
        self.open_token(Kind::Text, at)
    }

    /// A `"` that its line does not close: up to a line with one more quote, if it comes before
    /// anything that looks like another node's block, else up to the line's end.
    fn over_lines(&mut self, line_end: usize) -> LexToken {
        let rest = self.rest();
        let mut start = line_end;
        for line in rest[line_end..].split_inclusive('\n').skip(1).take(30) {
            start = line.as_ptr() as usize - rest.as_ptr() as usize;
            if line.trim().is_empty() || line.contains(['{', '}', '=']) {
                break;
            }
            if line.matches('"').count() == 1 {
                let at = start + line.find('"').map_or(0, |it| it + 1);
                return self.open_token(Kind::Text, at);
            }
            if line.contains('"') {
                break;
            }
        }
        debug_assert!(line_end <= start);
        self.open_token(Kind::Text, without_braces(&rest[..line_end]))
    }
}

impl Iterator for Lexer<'_> {
    type Item = LexToken;

    fn next(&mut self) -> Option<LexToken> {
        loop {
            let rest = self.rest();
            let first = rest.chars().next()?;
            if is_newline(first) {
                let length = if rest.starts_with("\r\n") { 2 } else { first.len_utf8() };
                return Some(self.token(Kind::Newline, length));
            }
            if first.is_whitespace() || first == '\u{FEFF}' {
                self.at += first.len_utf8();
                continue;
            }
            let kind = match first {
                '"' => return Some(self.quoted()),
                '#' => return Some(self.hash()),
                '/' if rest.starts_with("//") => {
                    return Some(self.token(Kind::Line, line_length(rest)));
                }
                '/' if rest.starts_with("/*") => return Some(self.comment()),
                '/' if rest.starts_with("/-") => return Some(self.token(Kind::Slashdash, 2)),
                '{' => Kind::Open,
                '}' => Kind::Close,
                '(' => Kind::Paren,
                ')' => Kind::ParenClose,
                '[' => Kind::Bracket,
                ']' => Kind::BracketClose,
                '=' => Kind::Equals,
                ';' => Kind::Semicolon,
                '\\' => Kind::Backslash,
                _ => return Some(self.token(Kind::Word, word_length(rest).max(first.len_utf8()))),
            };
            return Some(self.token(kind, 1));
        }
    }
}

/// How much of an open string is text: a brace that ends its line opens or closes a block.
fn without_braces(line: &str) -> usize {
    let cut = line.trim_end();
    if let Some(before) = cut.strip_suffix(" {") {
        return before.trim_end().len();
    }
    let mut cut = cut;
    while let Some(before) = cut.strip_suffix('}').filter(|it| !it.contains('{')) {
        cut = before.trim_end().trim_end_matches(';').trim_end();
    }
    cut.len()
}

pub(crate) fn is_newline(it: char) -> bool {
    matches!(it, '\n' | '\r' | '\u{85}' | '\u{B}' | '\u{C}' | '\u{2028}' | '\u{2029}')
}

fn line_length(text: &str) -> usize {
    text.find(is_newline).unwrap_or(text.len())
}

/// A slash belongs to the word unless it begins a comment: `10/min`, `/events`.
fn word_length(text: &str) -> usize {
    let ends = |(at, it): (usize, char)| match it {
        '/' => text[at + 1..].starts_with(['/', '*', '-']),
        '\\' | '(' | ')' | '{' | '}' | '[' | ']' | ';' | '"' | '#' | '=' => true,
        _ => it.is_whitespace() || is_newline(it) || it == '\u{FEFF}',
    };
    text.char_indices().find(|it| ends(*it)).map_or(text.len(), |it| it.0)
}

fn escape_length(behind: &str, is_long: bool) -> usize {
    let Some(it) = behind.chars().next() else { return 0 };
    if !it.is_whitespace() && !is_newline(it) {
        return it.len_utf8();
    }
    if is_long {
        return it.len_utf8();
    }
    // An escaped line end swallows all blanks behind it, and the text goes on.
    behind.len() - behind.trim_start().len()
}

/// The words behind each `/-` that stands before a node, with their lines.
pub(super) fn commented_out(text: &str) -> Vec<(String, usize)> {
    let tokens: Vec<LexToken> =
        Lexer::new(text).filter(|it| !matches!(it.kind, Kind::Line | Kind::Block)).collect();
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let begins = index == 0
            || matches!(
                tokens[index - 1].kind,
                Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close
            );
        if token.kind != Kind::Slashdash || !begins {
            continue;
        }
        let line = text[..token.span.start].matches('\n').count() + 1;
        let words = tokens[index + 1..]
            .iter()
            .take_while(|token| matches!(token.kind, Kind::Word | Kind::Text | Kind::Raw))
            .map(|token| text[token.span.clone()].trim_matches(['"', '#']).to_owned());
        found.extend(words.take(3).map(|word| (word, line)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> =
            Lexer::new(text).map(|it| text.get(it.span).expect("whole characters")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn strings_comments_and_words_are_told_apart() {
        check("a 10/min \"b {\" // c {", &["a", "10/min", "\"b {\"", "// c {"]);
        check("/* a /* b */ c */ x", &["/* a /* b */ c */", "x"]);
        check("#\"a\"b\"# #true #x y", &["#\"a\"b\"#", "#true", "#x y"]);
        check("\"a\\\"b\" c=1", &["\"a\\\"b\"", "c", "=", "1"]);
        check("\"\"\"\n a \" {\n \"\"\" b", &["\"\"\"\n a \" {\n \"\"\"", "b"]);
        check("/-a {};", &["/-", "a", "{", "}", ";"]);
        check("##\"\"\"\n \"# \n\"\"\"## x", &["##\"\"\"\n \"# \n\"\"\"##", "x"]);
    }

    #[test]
    fn what_is_not_closed_ends_with_its_line() {
        check("a \"b {\nc", &["a", "\"b", "{", "\n", "c"]);
        check("a \"b\nmore\" d", &["a", "\"b\nmore\"", "d"]);
        check("/* a", &["/* a"]);
        check("\"\\", &["\"\\"]);
    }

    #[test]
    fn what_is_commented_out_is_known_by_its_words() {
        let text = "a\n/- enrich http weather {\n  x\n}\n/-sink sqlite \"db\"\nnode /-arg\n";
        let expected = [("enrich", 2), ("http", 2), ("weather", 2), ("sink", 5), ("sqlite", 5)];
        let found = commented_out(text);
        let found: Vec<_> = found.iter().map(|(name, line)| (name.as_str(), *line)).collect();
        assert_eq!(found[..5], expected);
        assert_eq!(found[5..], [("db", 5)]);
    }
}
