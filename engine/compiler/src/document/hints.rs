//! Explains what is no KDL: the usual slips by name, the rest at the parser's place in our words.

mod phrase;
mod statement_hints;
mod text;

use super::blocks;
use super::lex::{Kind, LexToken, Lexer};
use super::parse::{self, FaultKind};
use super::recovery::{Meant, Mended};
use kdl::KdlDocument;
use language::diagnostic::{Diagnostics, Edit, Rule};
use language::is_printed_quote;
use statement_hints::Statement;
use std::collections::BTreeSet;

/// How often a text is mended and parsed again for one more finding, by its length.
const ROUNDS: usize = 12;
const ROUNDS_LONG: usize = 2;
const LONG: usize = 64 << 10;

/// Reports what keeps a text from being KDL, each region once, in one run.
///
/// Gives the document after all when nothing was found, and else the text as it was meant.
pub(super) fn explain(
    text: &str,
    diagnostics: &mut Diagnostics,
) -> (Option<KdlDocument>, Option<Meant>) {
    let before = diagnostics.found().len();
    let tokens = with_templates(text, with_quotes(text, Lexer::new(text).collect()));
    let mut mended = Mended::new(text);
    let mut lines = BTreeSet::new();
    let ends: Vec<usize> = text.match_indices('\n').map(|index| index.0).collect();
    if text.trim_start().starts_with(['{', '[']) {
        json(text, diagnostics);
        return (None, None);
    }
    invisible(text, &mut mended, diagnostics);
    blocks::explain(text, &tokens, &mut mended, diagnostics);
    for found in &diagnostics.found()[before..] {
        lines.extend(found.labels.iter().map(|label| line_of(&ends, label.span.start)));
    }
    let tokens: Vec<LexToken> = tokens
        .into_iter()
        .filter(|token| !(token.is_closed && matches!(token.kind, Kind::Line | Kind::Block)))
        .collect();
    for statement in statements(&tokens) {
        let known = diagnostics.found().len();
        let whole = whole_line(statement);
        let edits = Statement::explained(text, statement, &mut mended, diagnostics);
        let is_found = known < diagnostics.found().len();
        match edits {
            Some(edits) if is_found => mended.means(whole, edits),
            _ if is_found => mended.is_unclear(whole),
            _ => {}
        }
        for found in &diagnostics.found()[known..] {
            let Some(label) = found.labels.first() else { continue };
            let last = label.span.end.max(label.span.start + 1) - 1;
            lines.extend(line_of(&ends, label.span.start)..=line_of(&ends, last));
        }
    }
    let document = rest(text, &ends, &mut mended, &mut lines, diagnostics);
    (document, mended.into_meant(text))
}

/// From the first token to the last.
fn whole_line(statement: &[LexToken]) -> std::ops::Range<usize> {
    let start = statement.first().map_or(0, |it| it.span.start);
    start..statement.last().map_or(start, |it| it.span.end)
}

/// The tokens with each text in single or printed quotes as one word: what it holds is no block, no
/// comment and no other node.
fn with_quotes(text: &str, tokens: Vec<LexToken>) -> Vec<LexToken> {
    let mut joined: Vec<LexToken> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    // What was looked at already: each line is read once.
    let mut seen = 0;
    while let Some(token) = rest.next() {
        let start = token.span.start;
        let is_value = matches!(joined.last(), Some(it) if it.kind != Kind::Newline);
        let is_begin = token.kind == Kind::Word && is_value && seen <= start;
        let quote = text[start..]
            .chars()
            .next()
            .filter(|letter| *letter == '\'' || is_printed_quote(*letter));
        let Some(quote) = quote.filter(|_| is_begin) else {
            joined.push(token);
            continue;
        };
        let line = &text[start..];
        let line = &line[..line.find(super::lex::is_newline).unwrap_or(line.len())];
        let Some(end) = end_of_quotes(line, quote).map(|quote| start + quote) else {
            seen = start + line.len();
            joined.push(token);
            continue;
        };
        seen = end;
        let first = token.span.clone();
        joined.push(token);
        let mut last = first.end;
        while let Some(it) = rest.next_if(|it| it.span.start < end) {
            last = it.span.end;
            joined.push(it);
        }
        let is_hidden = |token: &LexToken| {
            matches!(
                token.kind,
                Kind::Open | Kind::Close | Kind::Semicolon | Kind::Line | Kind::Block
            )
        };
        let own = joined.iter().rposition(|it| it.span == first).expect("it was put there");
        if joined[own..].iter().any(is_hidden) {
            joined.truncate(own + 1);
            joined[own].span.end = end;
            // What a comment swallowed is read again.
            if end < last {
                let behind = Lexer::new(&text[end..last])
                    .map(|it| LexToken { span: it.span.start + end..it.span.end + end, ..it });
                joined.extend(behind);
            }
        }
    }
    joined
}

/// Where the text in quotes with which a line begins has its end: before a blank or a sign.
fn end_of_quotes(line: &str, quote: char) -> Option<usize> {
    let mut letters = line.char_indices().skip(1).peekable();
    while let Some((at, it)) = letters.next() {
        let is_quote = if quote == '\'' { it == '\'' } else { is_printed_quote(it) || it == '"' };
        let ends = |next: char| next.is_whitespace() || matches!(next, ';' | '}' | '{');
        if is_quote && letters.peek().is_none_or(|next| ends(next.1)) {
            return Some(at + it.len_utf8());
        }
    }
    None
}

/// The tokens with each template that has no quotes as one word: its braces are no blocks.
fn with_templates(text: &str, tokens: Vec<LexToken>) -> Vec<LexToken> {
    let mut joined: Vec<LexToken> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    // The end of the line that was looked at last, and of its last `}}`: each line is read once.
    let mut seen = (0, None);
    while let Some(token) = rest.next() {
        let is_value = joined.last().is_some_and(|it| {
            matches!(it.kind, Kind::Word | Kind::Equals | Kind::Text | Kind::Raw)
        });
        let start = token.span.start;
        let behind = &text[start..];
        let is_begin = behind.starts_with("{{") && is_value;
        if is_begin && seen.0 <= start {
            let line = &behind[..behind.find(super::lex::is_newline).unwrap_or(behind.len())];
            seen = (start + line.len(), line.rfind("}}").map(|it| start + it + 2));
        }
        let Some(end) = seen.1.filter(|it| is_begin && start < *it).map(|it| it - start) else {
            joined.push(token);
            continue;
        };
        let line = &text[start..seen.0];
        // The words around it are of the same text: `title Bell {{ x }} rang`.
        let after = &line[end..];
        let is_plain = !after.contains(['{', '}', ';', '"', '=']) && !after.contains("//");
        let end = token.span.start + if is_plain { line.trim_end().len() } else { end };
        let mut start = token.span.start;
        while let [.., name, word] = &joined[..]
            && (name.kind, word.kind) == (Kind::Word, Kind::Word)
            && !text[name.span.start..word.span.end].contains('\n')
        {
            start = word.span.start;
            joined.pop();
        }
        while rest.next_if(|it| it.span.start < end).is_some() {}
        joined.push(LexToken { kind: Kind::Template, span: start..end, ..token });
    }
    joined
}

/// Reports a file of another format as what it is. What each of its lines means in KDL is not
/// for a machine to guess.
pub(super) fn is_foreign(text: &str, diagnostics: &mut Diagnostics) -> bool {
    const LINES: usize = 200;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<&str> = lines.take(LINES).collect();
    let Some(first) = lines.first().filter(|_| !lines.iter().any(|line| line.ends_with('{')))
    else {
        return false;
    };
    let is_name = |text: &str| {
        !text.is_empty()
            && text.chars().all(|letter| letter.is_alphanumeric() || "_-.\"'".contains(letter))
    };
    let is_yaml = |it: &str| {
        let it = it.strip_prefix("- ").unwrap_or(it);
        it == "---"
            || it.starts_with("- ")
            || it.split_once(':').is_some_and(|(name, value)| {
                is_name(name) && (value.is_empty() || value.starts_with(' '))
            })
    };
    let is_head =
        |text: &str| text.starts_with('[') && text.ends_with(']') && !text.contains(['"', ',']);
    let is_toml = |text: &str| {
        is_head(text)
            || text.split_once('=').is_some_and(|(name, value)| {
                is_name(name.trim()) && name.ends_with(' ') && !value.starts_with('=')
            })
    };
    let most =
        |is: &dyn Fn(&str) -> bool| 2 * lines.iter().filter(|line| is(line)).count() > lines.len();
    let format = if lines.len() < 2 {
        return false;
    } else if is_yaml(first) && most(&is_yaml) {
        "YAML"
    } else if lines.iter().any(|line| is_head(line)) && is_toml(first) && most(&is_toml) {
        "TOML"
    } else {
        return false;
    };
    let start = first.as_ptr() as usize - text.as_ptr() as usize;
    diagnostics
        .push(Rule::Syntax, format!("this is {format}, and a pipeline file is KDL"))
        .at(start..start + first.len(), format!("{format} begins here"))
        .help("begin with `pipeline NAME schema-version=1`; `engine explain pipeline` explains it");
    true
}

fn json(text: &str, diagnostics: &mut Diagnostics) {
    let start = text.len() - text.trim_start().len();
    diagnostics
        .push(Rule::Syntax, "this is JSON, and a pipeline file is KDL")
        .at(start..start + 1, "JSON begins here")
        .help("begin with `pipeline NAME schema-version=1`; `engine explain pipeline` explains it");
}

/// Characters that KDL refuses because nobody sees them: control and direction characters.
fn invisible(text: &str, mended: &mut Mended, diagnostics: &mut Diagnostics) {
    let mut before = None;
    for (at, it) in text.char_indices() {
        let is_refused = matches!(it,
            '\0'..='\u{8}' | '\u{E}'..='\u{1F}' | '\u{7F}' | '\u{200E}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
        if !is_refused || at == 0 && it == '\u{FEFF}' {
            continue;
        }
        let span = at..at + it.len_utf8();
        mended.blank(span.clone());
        // A run of them, as in a binary file, is one mistake.
        if before.replace(span.end).is_none_or(|before| text[before..at].contains('\n')) {
            diagnostics
                .push(Rule::Syntax, "an invisible character is not allowed here")
                .at(span, format!("U+{:04X}", u32::from(it)))
                .help(format!("delete it, or write it as `\\u{{{:x}}}` in text", u32::from(it)));
        }
    }
}

/// What the parser still finds in the mended text, line by line.
fn rest(
    text: &str,
    ends: &[usize],
    mended: &mut Mended,
    lines: &mut BTreeSet<usize>,
    diagnostics: &mut Diagnostics,
) -> Option<KdlDocument> {
    let rounds = if LONG < text.len() { ROUNDS_LONG } else { ROUNDS };
    for _ in 0..rounds {
        let fault = match parse::document(mended.text()?) {
            Ok(document) => return Some(document),
            Err(fault) => fault,
        };
        // Of a text that it gives up on altogether the parser blames the beginning.
        if fault.span.start == 0 && !diagnostics.found().is_empty() {
            return None;
        }
        if let FaultKind::SecondNode(end) = fault.kind
            && text.get(..end).is_some_and(|it| it.ends_with('}'))
        {
            if !second_node(text, end, mended, diagnostics) {
                let line = text[end..].find('\n').map_or(text.len(), |it| end + it);
                mended.hollow(end..line);
                mended.is_unclear(end..line);
            }
            continue;
        }
        let span = visible(text, mended.clip(fault.span));
        if lines.insert(line_of(ends, span.start)) {
            diagnostics
                .push(Rule::Syntax, "this part of the file cannot be parsed")
                .at(span.clone(), "cannot be parsed from here")
                .help(
                    "a node is `name value property=value { … }`: use double quotes for text, \
                     separate values with spaces",
                );
        }
        let start = text[..span.start].rfind('\n').map_or(0, |it| it + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |it| span.start + it);
        mended.hollow(start..end);
        mended.is_unclear(start..end);
    }
    if diagnostics.found().is_empty() {
        diagnostics
            .push(Rule::Syntax, "the file cannot be parsed")
            .at(0..0, "not KDL version 2")
            .help("a node is `name value property=value { … }`");
    }
    None
}

/// `a { } b`: between the two nodes a sign is missing. Answers whether it could be put there.
fn second_node(text: &str, end: usize, mended: &mut Mended, diagnostics: &mut Diagnostics) -> bool {
    if text[end..].starts_with(',') {
        let comma = end..end + 1;
        diagnostics
            .push(Rule::Syntax, "nodes have no commas between them")
            .at(comma.clone(), "no comma here")
            .help("delete the comma")
            .fix(comma.clone(), "");
        mended.blank(comma.clone());
        mended.means(comma.clone(), vec![Edit { span: comma, text: String::new() }]);
        return true;
    }
    let message = "two nodes on one line need a `;` between them";
    diagnostics
        .push(Rule::Syntax, message)
        .at(end - 1..end, "another node begins after this")
        .help("write `};`, or begin a new line")
        .fix(end..end, ";");
    let is_apart = text[end..].starts_with([' ', '\t']);
    if is_apart {
        mended.end_node(end);
        let edit = Edit { span: end..end, text: ";".to_owned() };
        mended.means(end..end + 1, vec![edit]);
    }
    is_apart
}

/// The part of a span that is worth a label: its first line, without blanks around it.
fn visible(text: &str, span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = (0..=span.start).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    let body = &text[start..];
    let start = start + (body.len() - body.trim_start().len());
    if start == text.len() {
        return start..start;
    }
    let line = text[start..].find('\n').map_or(text.len(), |it| start + it);
    let end = span.end.clamp(start, line);
    let end = (end..=line).find(|it| text.is_char_boundary(*it)).unwrap_or(line);
    let shown = text[start..end].trim_end().len();
    let least = text[start..].chars().next().map_or(0, char::len_utf8);
    start..start + shown.max(least)
}

/// The number of the line, from the places where lines end.
fn line_of(ends: &[usize], at: usize) -> usize {
    ends.partition_point(|it| *it < at)
}

/// The tokens of each node's own line. Line ends inside brackets do not end it.
fn statements(tokens: &[LexToken]) -> Vec<&[LexToken]> {
    let (mut found, mut start, mut brackets, mut is_continued) = (Vec::new(), 0, 0_usize, false);
    for (index, token) in tokens.iter().enumerate() {
        let is_end = match token.kind {
            Kind::Newline => brackets == 0 && !is_continued,
            Kind::Semicolon | Kind::Open | Kind::Close => true,
            _ => false,
        };
        match token.kind {
            Kind::Bracket => brackets += 1,
            Kind::BracketClose => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        is_continued = token.kind == Kind::Backslash;
        if is_end {
            brackets = 0;
            // An opening brace without a name of its own is a statement's beginning gone wrong.
            let with_brace = token.kind == Kind::Open && start == index;
            let end = if with_brace { index + 1 } else { index };
            found.push(&tokens[start..end]);
            start = index + 1;
        }
    }
    found.push(&tokens[start.min(tokens.len())..]);
    found.retain(|it| !it.is_empty());
    found
}

/// The first escape in a quoted string that KDL does not know, as bytes of the string.
pub(super) fn bad_escape(written: &str) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    while let Some(found) = written[at..].find('\\') {
        let start = at + found;
        let it = written[start + 1..].chars().next()?;
        let length = 1 + it.len_utf8();
        let is_known = match it {
            'u' => is_code_point(&written[start + 2..]),
            'n' | 'r' | 't' | 's' | 'b' | 'f' | '\\' | '"' => true,
            it => it.is_whitespace(),
        };
        if !is_known {
            return Some(start..start + length);
        }
        at = start + length;
    }
    None
}

fn is_code_point(text: &str) -> bool {
    let digits = text.strip_prefix('{').and_then(|it| it.split_once('}')).map(|it| it.0);
    digits
        .filter(|digit| digit.len() <= 6)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|it| char::from_u32(it).is_some())
}
