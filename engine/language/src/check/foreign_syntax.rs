//! Habits from other formats that KDL takes for words: commas, single quotes, colons, and text
//! or expressions without quotes.

use super::super::offsets::{is_bare, value_span, written};
use super::super::table::{Arity, NodeRow, ValueKind};
use super::super::value::{bytes_of, duration_of, number};
use super::units::{meant_duration, meant_size};
use crate::diagnostic::{Diagnostics, Rule};
use crate::expr::{expression_in_quotes, quotes_inside};
use kdl::{KdlEntry, KdlNode, KdlValue};

/// Reports the first habit in a node's arguments. What stands behind it is not looked at.
pub(super) fn arguments(
    diagnostics: &mut Diagnostics,
    row: &NodeRow,
    node: &KdlNode,
    given: &[&KdlEntry],
) -> bool {
    unquoted(diagnostics, row, node, given)
        || number_and_unit(diagnostics, row, given)
        || given.iter().any(|entry| {
            is_bare(entry)
                && entry.ty().is_none()
                && (single_quotes(diagnostics, given, entry)
                    || comma(diagnostics, given, entry)
                    || colon(diagnostics, row, node, entry))
        })
}

/// `when a < b`: words that make one value together.
fn unquoted(
    diagnostics: &mut Diagnostics,
    row: &NodeRow,
    node: &KdlNode,
    given: &[&KdlEntry],
) -> bool {
    let Some((index, arg)) = row.args.iter().enumerate().next_back() else { return false };
    let is_single = matches!(arg.arity, Arity::One | Arity::Optional);
    let words = given.get(index..).unwrap_or_default();
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return false };
    // Only what stands in one piece: no property between the words.
    let is_property = |entry: &&KdlEntry| {
        let name = written(entry).strip_suffix(':').map(str::to_owned);
        name.is_some_and(|name| row.props.iter().any(|prop| prop.name == name))
    };
    let is_run = words.len() > 1
        && !words.iter().any(|word| word.ty().is_some())
        && !words.iter().any(is_property);
    let is_quoted =
        written(first).starts_with(|written| written == '\'' || is_printed_quote(written));
    let is_plain = is_bare(first) && !is_quoted && is_run && is_single;
    let span = value_span(first).start..value_span(last).end;
    let has_property = node
        .entries()
        .iter()
        .any(|entry| entry.name().is_some() && span.contains(&entry.span().offset()));
    if !is_plain || has_property {
        return false;
    }
    let text = diagnostics.source().text.get(span.clone()).unwrap_or_default();
    let name = row.name;
    let before: String = given[..index].iter().map(|it| format!(" {}", written(it))).collect();
    match arg.ty {
        ValueKind::Expr(_) => {
            let (quoted, is_sure) = expression_in_quotes(text);
            let found = diagnostics
                .push(Rule::UnquotedExpression, "an expression must be one quoted string")
                .at(span.clone(), "quote from here to the end of the line")
                .help(format!("write `{name}{before} {quoted}`{}", quotes_inside(&quoted)));
            if is_sure {
                found.fix(span, quoted);
            }
        }
        ValueKind::Text
        | ValueKind::Literal
        | ValueKind::Template(_)
        | ValueKind::OwnTemplate(_)
        | ValueKind::UrlTemplate(_)
        | ValueKind::Path
            // A value in quotes is whole: the words before it are not a part of it.
            if words.iter().all(|word| is_bare(word)) =>
        {
            let quoted = format!("\"{text}\"");
            diagnostics
                .push(Rule::WrongArgument, format!("the text of `{name}` must be in quotes"))
                .at(span.clone(), "several words are several values")
                .help(format!("write `{name}{before} {quoted}`"))
                .fix(span, quoted);
        }
        _ => return false,
    }
    true
}

/// `cooldown 5 min`.
fn number_and_unit(diagnostics: &mut Diagnostics, row: &NodeRow, given: &[&KdlEntry]) -> bool {
    let Some((index, arg)) = row.args.iter().enumerate().next_back() else { return false };
    let [number, unit] = given.get(index..).unwrap_or_default() else { return false };
    let (what, rule) = match arg.ty {
        ValueKind::Duration(..) => ("a duration", Rule::BadDuration),
        ValueKind::Bytes(..) => ("a size", Rule::BadSize),
        _ => return false,
    };
    let is_pair = matches!(number.value(), KdlValue::Integer(_)) && is_bare(unit);
    if !is_pair || number.ty().is_some() || unit.ty().is_some() {
        return false;
    }
    let text = format!("{} {}", written(number), written(unit));
    let meant = match rule {
        Rule::BadDuration => meant_duration(&text).map(|duration| duration.0),
        _ => meant_size(&text),
    };
    let keeps = row.name == "keep" && (text.contains('M') || meant.is_none());
    let meant = match meant.filter(|_| !keeps) {
        Some(it) => it,
        None if row.name == "keep" => "30d".to_owned(),
        None if rule == Rule::BadDuration => "30s".to_owned(),
        None => "256KiB".to_owned(),
    };
    diagnostics
        .push(rule, format!("{what} is written as one text in quotes"))
        .at(value_span(number).start..value_span(unit).end, "a number and a unit without a space")
        .help(format!("write `{} \"{meant}\"`", row.name));
    true
}

/// `when=event.type != "motion"`, `when event.type != "x"`: an expression without quotes of which
/// KDL made several values and properties.
pub(super) fn open_expression(
    diagnostics: &mut Diagnostics,
    row: &NodeRow,
    node: &KdlNode,
) -> bool {
    let takes_expr = |entry: &KdlEntry| match entry.name() {
        Some(name) => row
            .props
            .iter()
            .any(|prop| prop.name == name.value() && matches!(prop.ty, ValueKind::Expr(_))),
        None => row.args.last().is_some_and(|arg| matches!(arg.ty, ValueKind::Expr(_))),
    };
    let entries = node.entries();
    let first = entries.iter().position(|entry| {
        takes_expr(entry)
            && is_bare(entry)
            && entry.ty().is_none()
            && !written(entry).starts_with('\'')
    });
    let Some(first) = first else { return false };
    let is_known = |entry: &KdlEntry| {
        entry.name().is_some_and(|name| row.props.iter().any(|prop| prop.name == name.value()))
    };
    let rest: Vec<&KdlEntry> =
        entries[first + 1..].iter().take_while(|entry| !is_known(entry)).collect();
    let is_sign = |entry: &KdlEntry| match entry.name() {
        Some(name) => matches!(name.value(), "!" | "<" | ">"),
        None => {
            is_bare(entry) && matches!(entry.value().as_string(), Some(word) if is_operator(word))
        }
    };
    let Some(last) = rest.last().filter(|_| rest.iter().any(|it| is_sign(it))) else {
        return false;
    };
    let span = value_span(&entries[first]).start..value_span(last).end;
    let start = entries[first].name().map_or(span.start, |name| name.span().offset());
    let text = &diagnostics.source().text;
    let before = text.get(start..span.start).unwrap_or_default();
    let (quoted, is_sure) = expression_in_quotes(text.get(span.clone()).unwrap_or_default());
    let help = format!("write `{} {before}{quoted}`{}", row.name, quotes_inside(&quoted));
    let is_last = first + 1 + rest.len() == entries.len();
    let found = diagnostics
        .push(Rule::UnquotedExpression, "an expression must be one quoted string")
        .at(span.clone(), "quote from here to the end of the line")
        .help(help);
    if is_last && is_sure {
        found.fix(span, quoted);
    }
    true
}

/// `header='X-Id'` and `header=“X-Id”`: the quotes are letters of the value.
pub(super) fn quotes_of_property(diagnostics: &mut Diagnostics, entry: &KdlEntry) -> bool {
    is_bare(entry) && entry.ty().is_none() && single_quotes(diagnostics, &[entry], entry)
}

fn is_operator(word: &str) -> bool {
    matches!(
        word,
        "<" | ">"
            | "!"
            | "&&"
            | "||"
            | "??"
            | "?"
            | "+"
            | "-"
            | "*"
            | "%"
            | "in"
            | "and"
            | "or"
            | "not"
            | "contains"
            | "matches"
    )
}

/// `'text'` is a word that has quotes in it.
fn single_quotes(diagnostics: &mut Diagnostics, given: &[&KdlEntry], entry: &KdlEntry) -> bool {
    let word = written(entry);
    if word.starts_with(is_printed_quote) {
        return printed_quotes(diagnostics, given, entry);
    }
    if !word.starts_with('\'') {
        return false;
    }
    let start = value_span(entry).start;
    let last = given
        .iter()
        .filter(|it| start <= value_span(it).start)
        .find(|it| written(it).len() > 1 && written(it).ends_with('\''))
        .map(|it| value_span(it).end);
    let last = last.or_else(|| end_in_comment(diagnostics, start));
    let last = last.unwrap_or(value_span(entry).end);
    let text = diagnostics.source().text.get(start..last).unwrap_or(&word);
    let inner = text.trim_matches('\'').to_owned();
    let found = diagnostics
        .push(Rule::Syntax, "use double quotes for text")
        .at(start..last, "these quotes are for expressions")
        .help(format!("write `\"{inner}\"`"));
    if !inner.contains(['"', '\\', '\'']) {
        found.fix(start..last, format!("\"{inner}\""));
    }
    true
}

/// Where `'http://…'` ends, of which KDL takes the most part for a comment.
fn end_in_comment(diagnostics: &Diagnostics, start: usize) -> Option<usize> {
    let line = diagnostics.source().text.get(start..)?.lines().next()?;
    let comment = line.find("//")?;
    let end = comment + line[comment..].find('\'')? + 1;
    let ends = |letter: char| letter.is_whitespace() || letter == ';';
    line[end..].chars().next().is_none_or(ends).then_some(start + end)
}

/// Whether this is a quotation mark of printed text, or a backtick.
pub fn is_printed_quote(it: char) -> bool {
    matches!(it, '“' | '”' | '„' | '‟' | '«' | '»' | '‘' | '’' | '‚' | '‹' | '›' | '`')
}

/// What a text in other quotes is told.
fn other_quotes(text: &str) -> &'static str {
    if text.starts_with('`') { "these are backticks" } else { "these are printed quotes" }
}

/// `“text”`: never repaired, as nobody knows which quotes belong to the text.
fn printed_quotes(diagnostics: &mut Diagnostics, given: &[&KdlEntry], entry: &KdlEntry) -> bool {
    let start = value_span(entry).start;
    let behind = given.iter().filter(|it| start <= value_span(it).start);
    let ends = |entry: &&&KdlEntry| {
        let word = written(entry);
        1 < word.chars().count() && word.ends_with(is_printed_quote)
    };
    let end = behind.clone().find(ends).map_or(value_span(entry).end, |it| value_span(it).end);
    let text = diagnostics.source().text.get(start..end).unwrap_or_default();
    let (inner, label) = (text.trim_matches(is_printed_quote).to_owned(), other_quotes(text));
    diagnostics
        .push(Rule::Syntax, "use straight double quotes for text")
        .at(start..end, label)
        .help(format!("write `\"{inner}\"`"));
    true
}

/// `to a, b`.
fn comma(diagnostics: &mut Diagnostics, given: &[&KdlEntry], entry: &KdlEntry) -> bool {
    let end = value_span(entry).end;
    let word = written(entry);
    if !word.ends_with(',') {
        return false;
    }
    let found = diagnostics
        .push(Rule::Syntax, "separate values with spaces")
        .at(end - 1..end, "no comma here")
        .help(format!("write `{}` without the comma", word.trim_end_matches(',')));
    // A list of several is one mistake.
    for it in given.iter().filter(|it| is_bare(it) && written(it).ends_with(',')) {
        let end = value_span(it).end;
        found.fix(end - 1..end, "");
    }
    true
}

/// `days: sat` in the middle of a line, and `http://…` without quotes.
fn colon(diagnostics: &mut Diagnostics, row: &NodeRow, node: &KdlNode, entry: &KdlEntry) -> bool {
    let span = value_span(entry);
    let word = written(entry);
    let Some(name) = word.strip_suffix(':') else { return false };
    let behind = diagnostics.source().text.get(span.end..).unwrap_or_default();
    if behind.starts_with("//") {
        let rest = behind.split(char::is_whitespace).next().unwrap_or_default();
        let (end, quoted) = (span.end + rest.len(), format!("\"{word}{rest}\""));
        diagnostics
            .push(Rule::Syntax, "a URL must be written in quotes")
            .at(span.start..end, "`//` begins a comment")
            .help(format!("write `{quoted}`"))
            .fix(span.start..end, quoted);
        return true;
    }
    if !row.props.iter().any(|prop| prop.name == name) {
        return false;
    }
    let next = node.entries().iter().find(|entry| span.end <= entry.span().offset());
    let value = next.map_or_else(|| "VALUE".to_owned(), written);
    let found = diagnostics
        .push(Rule::YamlColon, format!("a property is written `{name}=`"))
        .at(span.clone(), "this colon is YAML")
        .help(format!("write `{name}={value}`"));
    if let Some(next) = next.filter(|it| it.name().is_none()) {
        found.fix(span.start..value_span(next).start, format!("{name}="));
    }
    true
}

/// What the first argument is, when a property's value would do as one and none is given:
/// `retry max=3`.
pub(super) fn first_argument(
    row: &NodeRow,
    node: &KdlNode,
    entry: &KdlEntry,
) -> Option<&'static str> {
    let is_given = node.entries().iter().any(|entry| entry.name().is_none());
    let annotation = entry.ty().map(kdl::KdlIdentifier::value);
    let arg = row.args.first().filter(|_| !is_given)?;
    let (fits, what) = match arg.ty {
        ValueKind::Int(..) => (matches!(entry.value(), KdlValue::Integer(_)), "number"),
        ValueKind::Number(..) => (number(entry.value()).is_some(), "number"),
        ValueKind::Duration(..) => (duration_of(entry.value(), annotation).is_some(), "duration"),
        ValueKind::Bytes(..) => (bytes_of(entry.value(), annotation).is_some(), "size"),
        _ => (false, ""),
    };
    fits.then_some(what)
}
