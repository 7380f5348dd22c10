//! The usual slips in one node's line, each with what to write instead.

use super::super::lex::{Kind, LexToken};
use super::super::recovery::Mended;
use super::super::words;
use super::phrase;
use language::NodeRole;
use language::diagnostic::{Diagnostic, Diagnostics, Edit, Rule};
use language::expr::{expression_in_quotes, quotes_inside};
use language::is_printed_quote;
use std::ops::Range;

pub(super) struct Statement<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [LexToken],
    pub(super) mended: &'a mut Mended,
    pub(super) diagnostics: &'a mut Diagnostics,
    /// What was meant, for every finding that knows it.
    pub(super) meant: Vec<Edit>,
    /// How many findings know it.
    clear: usize,
    /// Up to where everything was told.
    pub(super) told: usize,
    /// The finding about commas: those of a line are one mistake.
    pub(super) commas: Option<usize>,
}

impl<'a> Statement<'a> {
    /// Reports what is wrong, and mends it. Gives what was meant, where every finding knows it.
    pub(super) fn explained(
        text: &'a str,
        tokens: &'a [LexToken],
        mended: &'a mut Mended,
        diagnostics: &'a mut Diagnostics,
    ) -> Option<Vec<Edit>> {
        let before = diagnostics.found().len();
        let (meant, clear, told, commas) = (Vec::new(), 0, 0, None);
        let mut statement =
            Statement { text, tokens, mended, diagnostics, meant, clear, told, commas };
        statement.explain();
        let is_clear = statement.clear == statement.diagnostics.found().len() - before;
        is_clear.then_some(statement.meant)
    }

    /// Says what the finding just made takes this for; it is only read, not written.
    pub(super) fn means(&mut self, span: Range<usize>, text: impl Into<String>) {
        self.mean(vec![Edit { span, text: text.into() }]);
    }

    pub(super) fn mean(&mut self, edits: Vec<Edit>) {
        self.meant.extend(edits);
        self.clear += 1;
    }

    fn explain(&mut self) {
        if self.brace() || self.list_item() || self.colon() || self.equals() {
            return;
        }
        if self.expression() || self.brackets() {
            return;
        }
        for index in 0..self.tokens.len() {
            // What was told together with the token before it.
            if self.tokens[index].span.start < self.told {
                continue;
            }
            if self.token(index) {
                return;
            }
        }
    }

    pub(super) fn word(&self, index: usize) -> &'a str {
        self.tokens.get(index).map_or("", |token| &self.text[token.span.clone()])
    }

    pub(super) fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    pub(super) fn is_glued(&self, index: usize) -> bool {
        let pair = self.tokens.get(index).zip(self.tokens.get(index + 1));
        pair.is_some_and(|(one, other)| one.span.end == other.span.start)
    }

    /// From one token to the end of the line.
    pub(super) fn tail(&self, index: usize) -> Range<usize> {
        let end = self.tokens.last().map_or(0, |token| token.span.end);
        self.tokens.get(index).map_or(end, |token| token.span.start)..end
    }

    pub(super) fn report(
        &mut self,
        rule: Rule,
        message: impl Into<String>,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> &mut Diagnostic {
        self.diagnostics.push(rule, message).at(span, label)
    }

    /// The value at `index` with what stands before it: `max-age="10m"`, `timeout "5s"`.
    pub(super) fn shown(&self, index: usize, value: &str) -> String {
        let equals = index.checked_sub(1).filter(|it| self.kind(*it) == Some(Kind::Equals));
        match equals {
            Some(equals) if 0 < equals => format!("{}={value}", self.word(equals - 1)),
            _ if index == 1 => format!("{} {value}", self.word(0)),
            _ => value.to_owned(),
        }
    }

    /// `{` at the beginning of a line.
    fn brace(&mut self) -> bool {
        if self.kind(0) != Some(Kind::Open) {
            return false;
        }
        let span = self.tokens[0].span.clone();
        let before = self.text[..span.start].trim_end();
        let above = before.lines().next_back().unwrap_or_default().trim();
        let is_node = !above.is_empty() && !above.ends_with(['{', '}', ';']);
        if is_node && !above.contains("//") {
            self.mended.blank(before.len()..span.start);
            self.report(
                Rule::Syntax,
                "this block does not belong to a node",
                span,
                "on a line of its own",
            )
            .help(format!("write `{above} {{` on one line"));
            self.mean(Vec::new());
            return true;
        }
        self.mended.give_up();
        self.report(Rule::Syntax, "this block has no name", span, "a node's name is missing")
            .help("write the node's name in front of `{`");
        true
    }

    /// `- item`.
    fn list_item(&mut self) -> bool {
        if self.word(0) != "-" || self.tokens.len() < 2 {
            return false;
        }
        let span = self.tokens[0].span.clone();
        let item = self.text[self.tail(1)].trim().to_owned();
        self.mended.blank(span.clone());
        self.report(Rule::Syntax, "KDL has no lists with `-`", span, "this dash is YAML").help(
            format!(
                "write several values after one name: `NAME {}`",
                phrase::items(&item, &retold(&item)).join(" ")
            ),
        );
        true
    }

    /// `timeout: "5s"`.
    fn colon(&mut self) -> bool {
        let own = self.word(0).strip_suffix(':').filter(|it| !it.is_empty());
        let json = || (self.kind(0) == Some(Kind::Text)).then(|| self.word(0).trim_matches('"'));
        let is_apart = self.word(1) == ":";
        let Some(name) = own.or_else(|| json().filter(|_| is_apart)) else { return false };
        if self.text[self.tail(0)].starts_with("http") && self.tokens.len() == 1 {
            return false;
        }
        let span = self.tokens[0].span.start..self.tokens[usize::from(own.is_none())].span.end;
        let value = self.text[self.tail(if own.is_none() { 2 } else { 1 })].trim();
        let value = value.trim_end_matches(',');
        let meant = format!("{name} {}", quoted_value(value));
        let message = format!("no node is called `{}`", &self.text[span.clone()]);
        let (line, tail) = (self.tail(0), self.tail(usize::from(own.is_none()) + 1));
        let has_value = !value.is_empty() || self.text[line.end..].trim_start().starts_with('{');
        self.mended.blank(tail);
        self.mended.word(span.clone());
        // Never a repair: how YAML takes the rest of the line is not how KDL does.
        self.report(Rule::YamlColon, message, span, "this colon is YAML")
            .help(format!("write `{}`", meant.trim()));
        if has_value {
            self.means(line, meant.trim());
        }
        true
    }

    /// `timeout = "5s"`.
    fn equals(&mut self) -> bool {
        let is_plain = self.kind(1) == Some(Kind::Equals) && self.kind(2) != Some(Kind::Equals);
        if !is_plain || self.kind(0) != Some(Kind::Word) {
            return false;
        }
        if self.word(0) == "enabled" && words_exactly(self.word(2)) {
            // The name stands before it like that of a property.
            self.mended.blank(self.tokens[1].span.clone());
            self.bare(2);
            return true;
        }
        let span = self.tokens[1].span.clone();
        let arrow = self.word(2) == ">";
        let value = self.text[self.tail(if arrow { 3 } else { 2 })].trim();
        let meant = match self.is_type_of_map(value) {
            true => format!("type \"'{}'\"", value.trim_matches('"')),
            false => format!("{} {}", self.word(0), quoted_value(value)),
        };
        let message = format!("the value of `{}` follows without `=`", self.word(0));
        let (line, tail, is_given) = (self.tail(0), self.tail(1), !value.is_empty());
        let is_one = !arrow && self.tokens.len() == 3 && self.tokens[2].is_closed;
        let is_sure = is_one
            && match self.kind(2) {
                Some(Kind::Text) => super::bad_escape(self.word(2)).is_none(),
                Some(Kind::Word) => words::is_number(self.word(2)) || words::is_plain(self.word(2)),
                kind => matches!(kind, Some(Kind::Raw | Kind::Keyword)),
            };
        self.mended.blank(tail);
        let found = self
            .report(Rule::YamlColon, message, span, "only properties have an equals sign")
            .help(format!("write `{meant}`"));
        if is_sure {
            found.fix(line.clone(), &*meant);
        }
        if is_given {
            self.means(line, meant);
        }
        true
    }

    /// `type="ring"` in `map`, where a type is an expression and a plain word needs quotes of its
    /// own.
    fn is_type_of_map(&self, value: &str) -> bool {
        let word = value.trim_matches('"');
        let is_plain = word.starts_with(char::is_alphabetic)
            && word.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter));
        let start = self.tokens[0].span.start;
        self.word(0) == "type" && is_plain && phrase::parent(self.text, start) == Some("map")
    }

    /// Where a value begins that follows properties which are right.
    fn behind_properties(&self, start: usize) -> usize {
        let mut at = start;
        let is_value = |at: usize| matches!(self.kind(at), Some(Kind::Text | Kind::Raw));
        while is_value(at)
            && self.kind(at + 1) == Some(Kind::Word)
            && self.kind(at + 2) == Some(Kind::Equals)
            && !matches!(self.kind(at + 3), None | Some(Kind::Equals))
        {
            at += 3;
        }
        at
    }

    /// `when event.type == "x"`.
    fn expression(&mut self) -> bool {
        let Some(start) = phrase::expression(self.text, self.tokens) else { return false };
        let start = self.behind_properties(start);
        if self.word(start).starts_with(is_printed_quote) {
            return self.printed_quotes(start);
        }
        let span = self.tail(start);
        let written = &self.text[span.clone()];
        let (quoted, is_sure) = expression_in_quotes(written);
        let help = format!("write `{}`{}", self.shown(start, &quoted), quotes_inside(&quoted));
        let label = if written.starts_with('"') {
            "the second double quote ends it"
        } else {
            "quote from here to the end of the line"
        };
        let is_last = !phrase::has_property(self.text, &self.tokens[start..]);
        self.mended.word(span.clone());
        let message = "an expression must be one quoted string";
        let found = self.report(Rule::UnquotedExpression, message, span.clone(), label).help(help);
        // Where a property follows, nobody can tell where the expression ends.
        if is_last && is_sure {
            found.fix(span.clone(), &*quoted);
            self.means(span, quoted);
        }
        true
    }

    /// `days [sat, sun]`.
    fn brackets(&mut self) -> bool {
        let Some(start) = self
            .tokens
            .iter()
            .position(|token| matches!(token.kind, Kind::Bracket | Kind::BracketClose))
        else {
            return false;
        };
        let close = self.tokens.iter().rposition(|token| token.kind == Kind::BracketClose);
        let end = close.filter(|close| start < *close).unwrap_or(start);
        let span = self.tokens[start].span.start..self.tokens[end].span.end;
        let list = &self.tokens[start..=end];
        let items = phrase::items(self.text, list);
        let is_plain = list.iter().filter(|it| it.kind == Kind::Bracket).count() == 1
            && close == Some(end)
            && !items.is_empty();
        let is_property = start > 1 && self.kind(start - 1) == Some(Kind::Equals);
        let one = || {
            let words: Vec<&str> = items.iter().map(|item| item.trim_matches('"')).collect();
            format!("\"{}\"", words.join(" "))
        };
        let (help, fix) = if is_property {
            (self.shown(start, &one()), (span.clone(), one()))
        } else if start == 1 && matches!(self.word(0), "days" | "on" | "scope") {
            let property = format!("{}={}", self.word(0), one());
            (property.clone(), (self.tokens[0].span.start..span.end, property))
        } else if start == 1 && 1 < items.len() && ONE_EACH.contains(&self.word(0)) {
            let nodes: Vec<String> =
                items.iter().map(|it| format!("{} {}", self.word(0), quoted_value(it))).collect();
            let nodes = nodes.join("; ");
            (nodes.clone(), (self.tokens[0].span.start..span.end, nodes))
        } else {
            let values: Vec<String> = items.iter().map(|item| quoted_value(item)).collect();
            let values = values.join(" ");
            (self.shown(start, &values).trim().to_owned(), (span.clone(), values))
        };
        self.mended.word(span.clone());
        let message = "KDL has no lists in brackets";
        let label = match help.contains("; ") {
            true => "each is a node of its own",
            false => "separate several words with spaces",
        };
        let found =
            self.report(Rule::Brackets, message, span, label).help(format!("write `{help}`"));
        if is_plain {
            found.fix(fix.0.clone(), &*fix.1);
            self.means(fix.0, fix.1);
        }
        true
    }

    /// One token by itself. Answers whether the rest of the line is beyond telling.
    fn token(&mut self, index: usize) -> bool {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        let is_closed = self.tokens[index].is_closed;
        match self.tokens[index].kind {
            Kind::Hash => self.hash(word, span),
            Kind::Text | Kind::Raw | Kind::Block if !is_closed => return self.unclosed(index),
            Kind::Text if word.starts_with("\"\"\"") && word.len() > 5 => {
                return self.long_text(index);
            }
            Kind::Text => {
                self.escape(index);
                return self.behind_text(index);
            }
            Kind::Raw => return self.behind_text(index),
            Kind::Template if word.starts_with('\'') => return self.single_quotes(index),
            Kind::Template if word.starts_with(is_printed_quote) => {
                return self.printed_quotes(index);
            }
            Kind::Template => return self.template(index),
            Kind::Word if word.starts_with('\'') => return self.single_quotes(index),
            Kind::Word if words_exactly(word) && self.is_name(index) => {
                return self.keyword_as_name(index);
            }
            Kind::Word => return self.bare(index),
            Kind::Equals => return self.no_value(index),
            Kind::Paren if index == 0 || !self.is_glued(index - 1) => {
                return self.annotation(index);
            }
            Kind::Backslash => return self.backslash(index),
            Kind::Paren
                if self.kind(index.wrapping_sub(1)) == Some(Kind::Word)
                    && self.is_glued(index - 1) =>
            {
                return self.call(index);
            }
            _ => {}
        }
        false
    }

    fn hash(&mut self, word: &str, span: Range<usize>) {
        let end = |letter: char| !letter.is_alphanumeric();
        let first = word[1..].split(end).next().unwrap_or_default();
        if let Some(keyword) = words::keyword(first).or_else(|| words::near_keyword(first)) {
            let span = span.start..span.start + 1 + first.len();
            self.mended.word(span.clone());
            let message = match words::keyword(first) {
                Some(_) => format!("`#{first}` is written in lower case"),
                None => format!("unknown keyword `#{first}`"),
            };
            self.report(Rule::BareKeyword, message, span.clone(), format!("write `{keyword}`"))
                .help(format!("write `{keyword}`"))
                .fix(span.clone(), keyword);
            self.means(span, keyword);
            return;
        }
        self.mended.blank(span.clone());
        // A block of such lines is one mistake, and was repaired with its first line.
        let above = self.text[..span.start].trim_end_matches([' ', '\t']);
        let above = above.strip_suffix('\n').and_then(|it| it.rsplit('\n').next());
        let is_alone = self.tokens.len() == 1;
        if is_alone && is_hash_line(word) && above.is_some_and(is_hash_line) {
            return;
        }
        let (text, sign) = (self.text, span.start..span.start + 1);
        let label = "`#` begins a raw string or a keyword";
        let found = self
            .report(Rule::HashComment, "comments start with `//`", sign.clone(), label)
            .help("`//` for a line, `/* */` for a part, `/-` to comment out a node");
        // Without a blank behind it, it may as well be a value: `colour #ff0000`.
        if !is_hash_line(word) && !word.starts_with("#!") {
            return;
        }
        found.fix(sign.clone(), "//");
        if !is_alone {
            self.means(sign, "//");
            return;
        }
        let mut at = span.end;
        for line in text[at..].split_inclusive('\n').skip(1).take_while(|it| is_hash_line(it)) {
            at = line.as_ptr() as usize - text.as_ptr() as usize + line.len()
                - line.trim_start().len();
            found.fix(at..at + 1, "//");
        }
        self.means(sign, "//");
    }

    /// `(env "X"`.
    fn annotation(&mut self, index: usize) -> bool {
        let kinds = (self.kind(index + 1), self.kind(index + 2));
        if matches!(kinds, (Some(Kind::Word | Kind::Text | Kind::Raw), Some(Kind::ParenClose))) {
            return false;
        }
        if self.list_in_parentheses(index) {
            return false;
        }
        let (start, span) = (self.tokens[index].span.clone(), self.tail(index));
        let name = self.word(index + 1);
        let help = match name {
            "env" | "file" | "param" => format!("write `({name})\"…\"`"),
            _ => "parentheses contain one word, as in `(env)\"NAME\"`".to_owned(),
        };
        let label = "one word and `)` must follow";
        let is_closed = self.kind(index + 2) == Some(Kind::Text)
            && self.kind(index + 3) == Some(Kind::ParenClose)
            && self.tokens.len() == index + 4;
        let value = format!("({name}){}", self.word(index + 2));
        self.mended.word(span.clone());
        self.report(Rule::Syntax, "this annotation cannot be parsed", start, label).help(help);
        if is_closed {
            self.means(span, value);
        }
        true
    }

    /// `after (meta, people)`.
    fn list_in_parentheses(&mut self, index: usize) -> bool {
        let rest = &self.tokens[index..];
        let Some(close) = rest.iter().position(|it| it.kind == Kind::ParenClose) else {
            return false;
        };
        let list = &rest[1..close];
        let is_word = |token: &LexToken| matches!(token.kind, Kind::Word | Kind::Text | Kind::Raw);
        let items = phrase::items(self.text, list);
        let is_list = list.iter().all(|it| is_word(it) && it.is_closed) && 1 < items.len();
        let first = list.first().map_or("", |it| &self.text[it.span.clone()]);
        if index == 0 || !is_list || matches!(first, "env" | "file" | "param") {
            return false;
        }
        let span = rest[0].span.start..rest[close].span.end;
        let values: Vec<String> = items.iter().map(|item| quoted_value(item)).collect();
        let values = values.join(" ");
        let help = format!("write `{}`", self.shown(index, &values));
        self.mended.word(span.clone());
        self.told = span.end;
        let label = "separate several words with spaces";
        self.report(Rule::Brackets, "KDL has no lists in parentheses", span.clone(), label)
            .help(help)
            .fix(span.clone(), &*values);
        self.means(span, values);
        true
    }

    fn backslash(&mut self, index: usize) -> bool {
        if matches!(self.kind(index + 1), Some(Kind::Newline)) {
            return false;
        }
        let span = self.tokens[index].span.clone();
        let tail = self.tail(index);
        self.mended.blank(tail);
        let label = "it continues a node on the next line";
        self.report(Rule::Syntax, "a `\\` is allowed only at the end of a line", span, label)
            .help("delete it, or put the text into quotes: `#\"a\\b\"#`");
        true
    }

    fn bare(&mut self, index: usize) -> bool {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        let plain = word.trim_end_matches(',').trim_matches('`');
        if let Some(keyword) = words::keyword(word).filter(|_| words_exactly(word)) {
            self.mended.word(span.clone());
            let fix = self.enabled(index, keyword);
            let help = match &fix {
                Some(_) => "stages are on by default; delete this, or write `disabled` to turn \
                            one off"
                    .to_owned(),
                None if keyword == "#null" => "give a value, or leave it out".to_owned(),
                None => format!("write `{}`", self.shown(index, keyword)),
            };
            let message = match keyword {
                "#true" | "#false" => "in KDL v2 the words are `#true` and `#false`".to_owned(),
                _ => format!("in KDL v2 the word is `{keyword}`"),
            };
            let edit = Edit { span: span.clone(), text: keyword.to_owned() };
            let edits = fix.unwrap_or_else(|| vec![edit]);
            let found = self
                .report(Rule::BareKeyword, message, span, format!("write `{keyword}`"))
                .help(help);
            // Nothing takes `#null`: who writes it means that the node is left out, or a word.
            if matches!(keyword, "#true" | "#false") {
                found.fix.extend(edits.clone());
            }
            self.mean(edits);
        } else if let Some(meant) = self.misquoted(index) {
            return meant;
        } else if words::begins_with_digit(word) && words::is_number(plain) && plain != word {
            self.mended.word(span.clone());
            let comma = span.start + plain.len()..span.end;
            self.comma(comma, "");
        } else if words::begins_with_digit(word) && !words::is_number(word) {
            self.mended.word(span.clone());
            let (message, quoted) = (
                format!("{} must be written in quotes", words::meant(plain)),
                format!("\"{plain}\""),
            );
            let help = match self.word(0) {
                // Never a guess: what is kept for too short a time is gone.
                "keep" if !words::is_sure(word) => {
                    "write `keep \"30d\"`; ten years are `\"3650d\"`".to_owned()
                }
                _ => format!("write `{}`", self.shown(index, &quoted)),
            };
            let label = "a bare word cannot start with a digit";
            let is_sure = words::is_sure(word) && !self.is_glued(index);
            let found = self.report(Rule::UnquotedValue, message, span.clone(), label).help(help);
            if is_sure {
                found.fix(span.clone(), &*quoted);
            }
            self.means(span, quoted);
        } else if word.contains('/') {
            self.mended.word(span.clone());
            let quoted = format!("\"{plain}\"");
            let help = format!("write `{}`", self.shown(index, &quoted));
            let message = "text with a `/` must be written in quotes";
            let is_sure = plain == word
                && !self.is_glued(index)
                && !word.contains(|letter: char| letter == '\'' || is_printed_quote(letter));
            let found = self
                .report(Rule::Syntax, message, span.clone(), "a bare word cannot contain `/`")
                .help(help);
            if is_sure {
                found.fix(span.clone(), &*quoted);
            }
            self.means(span, quoted);
        }
        false
    }

    /// What becomes of `enabled=true` and `enabled=false`: nothing, and `disabled`.
    fn enabled(&self, index: usize, keyword: &str) -> Option<Vec<Edit>> {
        let is_property = index > 1 && self.kind(index - 1) == Some(Kind::Equals);
        let at = if is_property { index - 2 } else { 0 };
        if self.word(at) != "enabled" || index + 1 < self.tokens.len() && at == 0 {
            return None;
        }
        let (start, end) = (self.tokens[at].span.start, self.tokens[index].span.end);
        let before = self.text[..start].trim_end_matches([' ', '\t']).len();
        let edit = |span: Range<usize>, text: &str| Edit { span, text: text.to_owned() };
        if at == 0 {
            // A line of its own goes with it.
            let is_alone = self.text[..before].ends_with('\n')
                && self.text[end..].starts_with(['\n', '\r', '}']);
            return Some(match keyword {
                "#false" => vec![edit(start..end, "disabled")],
                _ if is_alone => vec![edit(before - 1..end, "")],
                _ => vec![edit(start..end, "")],
            });
        }
        if keyword != "#false" {
            return Some(vec![edit(before..end, "")]);
        }
        let tail = self.tail(0).end;
        let behind = &self.text[tail..];
        let open = tail + behind.len() - behind.trim_start_matches([' ', '\t']).len();
        Some(match self.text[open..].starts_with('{') {
            true => vec![edit(before..end, ""), edit(open + 1..open + 1, " disabled;")],
            false if tail == end => vec![edit(before..end, " { disabled }")],
            false => vec![edit(before..end, ""), edit(tail..tail, " { disabled }")],
        })
    }

    /// Whether the word is a node's own name.
    fn is_name(&self, index: usize) -> bool {
        const NAMED: &[&str] = &[
            "pipeline", "filter", "dedupe", "throttle", "changes", "window", "watch", "policy",
            "case",
        ];
        match NodeRole::of(self.word(0)) {
            Some(_) => index == 2,
            None => index == 1 && NAMED.contains(&self.word(0)),
        }
    }

    /// `pipeline inf`: a name that KDL does not take for text.
    fn keyword_as_name(&mut self, index: usize) -> bool {
        let (word, span) = (self.word(index), self.tokens[index].span.clone());
        let quoted = format!("\"{word}\"");
        let help = format!("write `{quoted}`");
        self.mended.word(span.clone());
        let message = format!("`{word}` is a keyword of KDL, so as a name it needs quotes");
        self.report(Rule::BareKeyword, message, span.clone(), "not a name without quotes")
            .help(help)
            .fix(span.clone(), &*quoted);
        self.means(span, quoted);
        false
    }

    fn no_value(&mut self, index: usize) -> bool {
        if index == 0 || index + 1 < self.tokens.len() {
            return false;
        }
        let span = self.tokens[index - 1].span.start..self.tokens[index].span.end;
        let name = self.word(index - 1);
        let message = format!("`{name}` has no value");
        let help = format!("write `{name}=VALUE`, or delete it");
        self.mended.blank(span.clone());
        self.report(Rule::Syntax, message, span, "the value is missing after `=`").help(help);
        true
    }

    /// `env("X")`.
    fn call(&mut self, index: usize) -> bool {
        let close = self.tokens.iter().rposition(|token| token.kind == Kind::ParenClose);
        let end = close.filter(|close| index < *close).unwrap_or(self.tokens.len() - 1);
        let span = self.tokens[index - 1].span.start..self.tokens[end].span.end;
        let name = self.word(index - 1);
        let start = self.tokens[index].span.end;
        let stop = close.map_or(span.end, |close| self.tokens[close].span.start).max(start);
        let inner = self.text[start..stop].trim();
        let inner = inner.trim_matches(['"', '\'']);
        let value = if matches!(name, "env" | "file" | "param") {
            format!("({name})\"{inner}\"")
        } else if NodeRole::of(name).is_some() {
            format!("{name} {inner}")
        } else {
            format!("\"{}\"", self.text[span.clone()].replace('"', "'"))
        };
        let help = format!("write `{}`", self.shown(index - 1, &value));
        let is_annotation = value.starts_with('(') && close.is_some() && !inner.is_empty();
        self.mended.word(span.clone());
        let label = "a bare word cannot contain parentheses";
        let found = self.report(Rule::Syntax, "KDL has no calls", span.clone(), label).help(help);
        if is_annotation {
            found.fix(span.clone(), &*value);
        }
        let is_value = index > 1 && is_annotation;
        if is_value {
            self.means(span, value);
        }
        true
    }
}

/// Nodes that take one value each and may be repeated: a list of them is several nodes.
const ONE_EACH: &[&str] = &["topic"];

/// A value as it should stand behind a name: `5s` gets quotes, `true` its sign.
fn quoted_value(value: &str) -> String {
    let is_word = !value.is_empty() && !value.contains(char::is_whitespace);
    let inner = value.trim_matches('\'');
    match words::keyword(value) {
        Some(keyword) => keyword.to_owned(),
        None if inner != value => format!("\"{inner}\""),
        None if is_word && words::begins_with_digit(value) && !words::is_number(value) => {
            format!("\"{value}\"")
        }
        None => value.to_owned(),
    }
}

/// A line that is a comment in other languages.
fn is_hash_line(line: &str) -> bool {
    let line = line.trim();
    line == "#" || line.starts_with("# ")
}

fn words_exactly(word: &str) -> bool {
    matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan")
}

fn retold(text: &str) -> Vec<LexToken> {
    super::super::lex::Lexer::new(text).collect()
}
