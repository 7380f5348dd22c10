//! Slips in strings: ends that are missing, escapes, what sticks to them.

use super::super::lex::Kind;
use super::phrase;
use super::statement_hints::Statement;
use language::diagnostic::{Edit, Rule};
use language::expr::template_in_quotes;
use language::is_printed_quote;
use std::ops::Range;

impl Statement<'_> {
    pub(super) fn unclosed(&mut self, index: usize) -> bool {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        self.mended.word(span.clone());
        let start = span.start;
        if self.tokens[index].kind == Kind::Block {
            self.mended.blank(span);
            self.report(
                Rule::Unclosed,
                "this comment is never closed",
                start..start + 2,
                "opened here",
            )
            .help("add `*/` where it ends");
            return true;
        }
        let hashes = word.len() - word.trim_start_matches('#').len();
        let quotes = if word[hashes..].starts_with("\"\"\"") { 3 } else { 1 };
        let end = format!("{}{}", "\"".repeat(quotes), "#".repeat(hashes));
        let is_long = word.contains('\n') && quotes == 1;
        let help = if is_long && 0 < hashes {
            let hashes = "#".repeat(hashes);
            format!(
                "write `{hashes}\"\"\"` and begin the text on the next line; end it with \
                 `\"\"\"{hashes}` on a line of its own"
            )
        } else if is_long {
            "write text of several lines between `\"\"\"`, each on a line of its own".to_owned()
        } else if quotes == 3 {
            format!("add `{end}` on a line of its own")
        } else {
            format!("write `{}`", self.shown(index, &format!("{}{end}", word.trim_end())))
        };
        let message = if is_long {
            format!("text in `{}\"` must end on the same line", "#".repeat(hashes))
        } else {
            "this text is never closed".to_owned()
        };
        self.report(Rule::Unclosed, message, start..start + hashes + quotes, "opened here")
            .help(help);
        if !is_long && quotes == 1 {
            self.means(span, format!("{}{end}", word.trim_end()));
        }
        true
    }

    pub(super) fn escape(&mut self, index: usize) {
        let (word, start) = (self.word(index), self.tokens[index].span.start);
        let Some(bad) = super::bad_escape(word) else { return };
        let escape = &word[bad.clone()];
        self.mended.word(start + 1..self.tokens[index].span.end - 1);
        let message = format!("`{escape}` is not an escape in a quoted string");
        // Their patterns are texts, not expressions.
        let is_pattern = matches!(self.word(0), "decode" | "lines");
        let raw = phrase::raw(word, !is_pattern);
        let help = if escape == "\\u" {
            "a character is written with braces: `\\u{e4}`".to_owned()
        } else {
            format!("use a raw string: `{}`", self.shown(index, &raw))
        };
        let whole = self.tokens[index].span.clone();
        let found = self
            .report(Rule::BadEscape, message, start + bad.start..start + bad.end, "here")
            .help(help);
        if phrase::is_raw_alike(word) {
            found.fix(whole.clone(), &*raw);
            self.means(whole, raw);
        }
    }

    /// Whether a node seems to begin there: a word with a value of its own, or a block.
    fn is_node(&self, index: usize) -> bool {
        let Some(Kind::Word) = self.kind(index) else { return false };
        match self.kind(index + 1) {
            Some(kind) => matches!(kind, Kind::Text | Kind::Raw),
            None => self.text[self.tokens[index].span.end..].trim_start().starts_with('{'),
        }
    }

    /// What sticks to the end of a string.
    pub(super) fn behind_text(&mut self, index: usize) -> bool {
        let sticks = matches!(self.kind(index + 1), Some(Kind::Word | Kind::Text | Kind::Raw));
        if !sticks || !self.is_glued(index) {
            return false;
        }
        let span = self.tokens[index + 1].span.clone();
        let word = self.word(index + 1);
        if word == "," && self.is_node(index + 2) {
            self.mended.end_node(span.start);
            let message = "two nodes on one line need a `;` between them";
            self.report(Rule::Syntax, message, span.clone(), "no comma here")
                .help("write `;`, or begin a new line")
                .fix(span.clone(), ";");
            self.means(span, ";");
            return true;
        }
        let tail = self.tail(index + 1);
        self.mended.blank(tail);
        if word.starts_with(',') {
            let comma = span.start..span.start + 1;
            self.comma(comma, if word == "," { "" } else { " " });
        } else {
            self.report(
                Rule::Syntax,
                "a space is missing after this text",
                span,
                "directly attached",
            )
            .help("put a space between them; a `\"` inside text is written `\\\"`");
        }
        true
    }

    /// A comma between values; `instead` stands there when it is gone.
    pub(super) fn comma(&mut self, place: Range<usize>, instead: &str) {
        let edit = Edit { span: place.clone(), text: instead.to_owned() };
        if let Some(first) = self.commas {
            self.meant.push(edit.clone());
            if let Some(found) = self.diagnostics.found_at(first) {
                found.fix.push(edit);
            }
            return;
        }
        self.commas = Some(self.diagnostics.found().len());
        let message = "separate values with spaces";
        self.report(Rule::Syntax, message, place.clone(), "no comma here")
            .help("delete the comma")
            .fix(place.clone(), instead);
        self.means(place, instead);
    }

    /// `"""` with text behind it, or with lines left of its end.
    pub(super) fn long_text(&mut self, index: usize) -> bool {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        let body = &word[3..word.len() - 3];
        let first = body.lines().next().unwrap_or_default();
        let indent = body.rsplit('\n').next().unwrap_or_default();
        let mut lines = body.split_inclusive('\n').skip(1);
        let is_left = |text: &&str| {
            text.ends_with('\n') && !text.trim().is_empty() && !text.starts_with(indent)
        };
        let quotes = span.start..span.start + 3;
        let (message, place, label, help) = if !first.is_empty() || !body.contains('\n') {
            let help = "begin the text on the next line, and end it with `\"\"\"` on its own line";
            ("nothing may follow on the line of `\"\"\"`", quotes, "opened here", help)
        } else if !indent.trim().is_empty() {
            let end = span.end - 3..span.end;
            ("`\"\"\"` must be on a line of its own", end, "text before it", "move it down")
        } else if let Some(line) = lines.find(is_left) {
            let start = line.as_ptr() as usize - self.text.as_ptr() as usize;
            let place = start..start + line.trim_end().len();
            let help = "indent every line at least like the closing `\"\"\"`";
            ("this line is indented less than the closing `\"\"\"`", place, "indented less", help)
        } else {
            self.escape(index);
            return self.behind_text(index);
        };
        self.mended.word(span);
        self.report(Rule::Syntax, message, place, label).help(help);
        true
    }

    pub(super) fn single_quotes(&mut self, index: usize) -> bool {
        let start = self.tokens[index].span.start;
        let line = &self.text[self.tail(index)];
        let end = line[1..].find('\'').map_or(line.len(), |it| it + 2);
        let inner = line[..end].trim_matches('\'');
        let help = format!("write `{}`", self.shown(index, &format!("\"{inner}\"")));
        let tail = self.tail(index);
        self.mended.word(tail);
        let (span, fix) = (start..start + end, format!("\"{inner}\""));
        let is_closed = line[..end].len() > 1 && line[..end].ends_with('\'');
        let is_known = is_closed && !inner.contains(['"', '\\', '\'']);
        // A quote inside of words, as in `'it's'`, ends it too early.
        let is_sure = is_known
            && self.text[start + end..]
                .chars()
                .next()
                .is_none_or(|letter| letter.is_whitespace() || letter == ';');
        let label = "these quotes are for expressions";
        let found =
            self.report(Rule::Syntax, "use double quotes for text", span.clone(), label).help(help);
        if is_sure {
            found.fix(span.clone(), &*fix);
        }
        let is_last = start + end == self.tail(index).end;
        if is_known && (is_last || is_sure) {
            self.means(span, fix);
        }
        true
    }

    /// `path /live"`, `path “/live”`, `r"…"`: text with other quotes, or with one of two. Answers
    /// whether the rest of the line is beyond telling; nothing where the word is no such text.
    pub(super) fn misquoted(&mut self, index: usize) -> Option<bool> {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        let next = self.kind(index + 1).filter(|_| self.is_glued(index));
        if word == "r" && matches!(next, Some(Kind::Text | Kind::Raw)) {
            return Some(self.first_version(index));
        }
        if word.starts_with(is_printed_quote) {
            return Some(self.printed_quotes(index));
        }
        // The text behind it begins with what was meant to end this one.
        let end = self.tokens.get(index + 1).map(|token| token.span.clone())?;
        let is_end = next == Some(Kind::Text) && !self.tokens[index + 1].is_closed;
        let rest = self.text[end.clone()].trim_start_matches('"').trim();
        if !is_end || index == 0 || !rest.is_empty() {
            return None;
        }
        let (whole, quoted) = (span.start..end.end, format!("\"{word}\""));
        let help = format!("write `{}`", self.shown(index, &quoted));
        self.mended.word(whole.clone());
        self.report(
            Rule::Unclosed,
            "this text has only one quote",
            end.start..end.start + 1,
            "ends here",
        )
        .help(help);
        self.means(whole, quoted);
        Some(true)
    }

    /// `r"\d"` and `r#"…"#` of KDL version 1.
    fn first_version(&mut self, index: usize) -> bool {
        let (start, text) = (self.tokens[index].span.start, &self.tokens[index + 1]);
        let (span, is_closed, is_raw) =
            (start..text.span.end, text.is_closed, text.kind == Kind::Raw);
        let written = self.word(index + 1);
        let value = if is_raw { written.to_owned() } else { format!("#{written}#") };
        let help = format!("write `{}`", self.shown(index, &value));
        self.mended.word(span.clone());
        let message = "KDL version 2 writes raw text without `r`";
        let found =
            self.report(Rule::Syntax, message, span.clone(), "this is version 1").help(help);
        if is_closed {
            found.fix(span.clone(), &*value);
            self.means(span.clone(), value);
        }
        self.told = span.end;
        !is_closed
    }

    /// `“text”`.
    pub(super) fn printed_quotes(&mut self, index: usize) -> bool {
        let start = self.tokens[index].span.start;
        let line = &self.text[self.tail(index)];
        let mut behind = line.char_indices().skip(1);
        let end = behind.find(|it| is_printed_quote(it.1) || it.1 == '"');
        let end = end.map_or(line.len(), |it| it.0 + it.1.len_utf8());
        let inner = line[..end].trim_matches(|it| is_printed_quote(it) || it == '"').to_owned();
        let help = format!("write `{}`", self.shown(index, &format!("\"{inner}\"")));
        let is_whole = line[end..].chars().next().is_none_or(char::is_whitespace);
        let span = start..start + end;
        let tail = self.tail(index);
        self.mended.word(tail);
        let message = "use straight double quotes for text";
        let label = match line.starts_with('`') {
            true => "these are backticks",
            false => "these are printed quotes",
        };
        let found = self.report(Rule::Syntax, message, span.clone(), label).help(help);
        if is_whole && !inner.contains(['"', '\\']) {
            // Which printed quotes belong to the text, nobody knows; a backtick is none of them.
            if line.starts_with('`') && line[..end].ends_with('`') {
                found.fix(span.clone(), format!("\"{inner}\""));
            }
            self.means(span, format!("\"{inner}\""));
        }
        true
    }

    /// `title {{ event.type }}`.
    pub(super) fn template(&mut self, index: usize) -> bool {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        let (quoted, is_sure) = template_in_quotes(word);
        let help = format!("write `{}`", self.shown(index, &quoted));
        self.mended.word(span.clone());
        let message = "a template must be in quotes";
        let found = self.report(Rule::Syntax, message, span.clone(), "quote all of it").help(help);
        if is_sure {
            found.fix(span.clone(), &*quoted);
            self.means(span, quoted);
        }
        false
    }
}
