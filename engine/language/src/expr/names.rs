//! Checks the names and levels in an expression, and says what was probably meant.

use super::lex::{ExprToken, lex};
use super::node::{ExprNode, FIELDS, Field};
use super::problem::{ExprProblem, ProblemKind};
use super::{Root, Roots};
use crate::nearest;
use crate::words::one_slip;
use kernel::event::Priority;
use serde_json::Value;
use std::ops::Range;

/// The field of `event` with this name.
pub(super) fn field(name: &str, whole: &Range<usize>) -> Result<Field, ExprProblem> {
    if let Some((_, field)) = FIELDS.iter().find(|field| field.0 == name) {
        return Ok(*field);
    }
    let names: Vec<&str> = FIELDS.iter().map(|field| field.0).collect();
    if matches!(name, "data" | "payload" | "body" | "json") {
        let help = "the fields of the message are under `data`, without `event.`".to_owned();
        let message = format!("an event has no `{name}`");
        return Err(ExprProblem::unknown(whole.clone(), message, Some(help)));
    }
    let help = nearest(name, names.iter().copied()).map_or_else(
        || format!("an event has: {}", names.join(", ")),
        |nearest| format!("did you mean `event.{nearest}`?"),
    );
    Err(ExprProblem::unknown(whole.clone(), format!("an event has no `{name}`"), Some(help)))
}

/// A name at the beginning of a path that is no root here; `text` is the whole expression.
pub(super) fn unknown_root(
    name: &str,
    span: Range<usize>,
    text: &str,
    roots: Roots,
) -> ExprProblem {
    let names = roots.names();
    let before = &text[..span.start];
    let exists = Root::ALL.iter().any(|it| it.1 == name);
    let message = if exists {
        format!("`{name}` is not available here")
    } else {
        format!("`{name}` is unknown")
    };
    // A text without its quotes is more likely than a literal with two slips.
    let near =
        one_slip(name, ["true", "false", "null"]).or_else(|| nearest(name, names.iter().copied()));
    let behind_hyphen = before
        .strip_suffix('-')
        .is_some_and(|it| it.ends_with(|letter: char| letter.is_alphanumeric()));
    let help = match (name, near) {
        ("not", _) => "`!` negates".to_owned(),
        ("None" | "nil" | "undefined", _) => "the missing value is written `null`".to_owned(),
        ("True" | "TRUE", _) => "write `true`".to_owned(),
        ("False" | "FALSE", _) => "write `false`".to_owned(),
        ("payload" | "msg" | "message" | "body" | "json" | "record" | "this" | "root", _)
            if !exists && names.contains(&"data") =>
        {
            "the message's own fields are below `data`".to_owned()
        }
        ("env" | "ENV" | "secrets" | "vars", _) if !exists => {
            "an expression reads no variables: use a `param`, or write `${NAME}` in a header, a body \
             or a URL"
                .to_owned()
        }
        // In `map` there is no event yet.
        ("event", _) if roots.contains(Root::Data) && roots.contains(Root::Http) => {
            let rest = &text[span.end..];
            let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || "._".contains(letter);
            let end = rest.find(|letter| !is_of_path(letter)).unwrap_or(rest.len());
            format!("the event does not exist yet here, only the message does: write `data{}`", &rest[..end])
        }
        (_, _) if super::function::names(roots).contains(&name) && !exists => {
            let takes_none = matches!(name, "now" | "uuid");
            let call = if takes_none { format!("{name}()") } else { format!("{name}(…)") };
            format!("this is a function: write `{call}`; use single quotes for text")
        }
        ("random", _) => "`random.…` is a function of `demo`".to_owned(),
        (_, _) if behind_hyphen => {
            "write a name with a hyphen in brackets: `data['front-door']`; a parameter is read \
             with `_`: `param.min_score`"
                .to_owned()
        }
        (_, Some(it)) => format!("did you mean `{it}`?"),
        (_, None) if exists => format!("here a path starts with {}", names.join(", ")),
        (_, None) if names.is_empty() => "use single quotes for text".to_owned(),
        (_, None) => {
            format!("use single quotes for text; a path starts with {}", names.join(", "))
        }
    };
    ExprProblem::unknown(span, message, Some(help))
}

/// `count() > 5` in `having`, which reads aggregates by their names.
pub(super) fn aggregate_here(text: &str, call: &Range<usize>) -> ExprProblem {
    let called = &text[call.clone()];
    let message = format!("`{called}` is computed in `aggregate`; read it here by its name");
    let meant = format!("{}n{}", &text[..call.start], &text[call.end..]);
    let help = format!("write `aggregate n=\"{called}\"`, and `{meant}` here");
    ExprProblem::syntax(call.clone(), message).help(help)
}

/// Whether `in` stands right before this byte.
pub(super) fn is_after_in(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end();
    let is_word = |it: &str| it.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    before.strip_suffix("in").is_some_and(|it| !is_word(it))
}

/// The list in parentheses that begins at this byte, in brackets.
pub(super) fn in_brackets(text: &str, at: usize) -> String {
    let inner = &text[at + 1..];
    format!("[{}]", &inner[..inner.find(')').unwrap_or(inner.len())])
}

/// `x => x == 1` as the arguments of a macro, where it is in brackets.
pub(super) fn arrow(text: &str, at: usize) -> Option<String> {
    let before = text[..at].trim_end();
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name = before.trim_end_matches(is_of_name);
    let is_argument = name.len() < before.len() && name.trim_end().ends_with(['(', ',']);
    is_argument.then(|| format!("{before}, {}", text[at + 2..].trim_start()))
}

/// `event.type | lower` as a call, where a filter of that name is a function here; `lower(…)` where
/// nobody can tell what it was to take.
pub(super) fn filter(text: &str, at: usize) -> Option<String> {
    let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || "_.[]'".contains(letter);
    let before = text[..at].trim_end();
    let value = &before[before.trim_end_matches(is_of_path).len()..];
    let rest = text[at + 1..].trim_start();
    let end = rest
        .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .unwrap_or(rest.len());
    // `data.a | data.b` is no filter.
    let is_path = rest[end..].starts_with(['.', '[']);
    let ours = super::function::meant(&rest[..end]).filter(|_| !is_path)?;
    let arguments = rest[end..].strip_prefix('(').and_then(|it| it.split_once(')')).map(|it| it.0);
    let arguments = arguments.map(str::trim).filter(|argument| !argument.is_empty());
    // A text with other letters is not cut in the middle, and of `1 + data.a | round` a template
    // would round the sum.
    let others = before[..before.len() - value.len()].trim_end();
    let is_operand = others.ends_with(['+', '-', '*', '/', '%', '?', ':', '!']);
    let is_whole = !value.is_empty() && value.matches('\'').count().is_multiple_of(2);
    if is_whole && is_operand {
        return Some(format!("{ours}(…)"));
    }
    is_whole.then(|| match arguments {
        Some(arguments) => format!("{ours}({value}, {arguments})"),
        None => format!("{ours}({value})"),
    })
}

/// What a word between two values was probably meant to be.
pub(super) fn foreign_operator(word: &str) -> Option<&'static str> {
    let lower = word.to_ascii_lowercase();
    Some(match lower.as_str() {
        "and" => "`&&` means and",
        "or" => "`||` means or",
        "is" | "eq" | "equals" => "`==` compares",
        "gt" | "lt" | "ge" | "le" | "gte" | "lte" => "`<`, `<=`, `>` and `>=` compare",
        "between" => "write `1 <= data.a && data.a <= 5`",
        "like" | "ilike" | "regex" => "write `matches(text, 'pattern')`",
        "then" | "else" => "write `condition ? one : other`",
        "ne" => "`!=` compares",
        "contains" => "write `contains(text, 'part')`",
        "matches" => "write `matches(text, 'pattern')`",
        "startswith" | "starts_with" => "write `starts_with(text, 'begin')`",
        "endswith" | "ends_with" => "write `ends_with(text, 'end')`",
        "mod" => "`%` is the remainder",
        "if" => "write `condition ? one : other`",
        "in" => "write `in` in lower case",
        "not" => "write `not in`, or `!` before a condition",
        _ if nearest(word, ["in"]).is_some() => "did you mean `in`?",
        _ => return None,
    })
}

/// Comparisons with `event.priority` compare levels, so their literals must be levels.
/// `text` is the expression's.
pub(super) fn check_levels(
    left: &ExprNode,
    right: &ExprNode,
    text: &str,
    problems: &mut Vec<ExprProblem>,
) {
    let mut literals = Vec::new();
    if left.is_level() {
        alternatives(right, text, &mut literals);
    } else if right.is_level() {
        alternatives(left, text, &mut literals);
    }
    problems.extend(literals.iter().filter_map(|(it, span)| bad_level(it, span)));
}

/// What is wrong with a literal that stands where a priority should.
pub(super) fn bad_level(literal: &Value, span: &Range<usize>) -> Option<ExprProblem> {
    let word = literal.as_str().unwrap_or_default();
    if literal.is_null() || Priority::parse(word).is_some() {
        return None;
    }
    let levels = Priority::ALL.map(Priority::word);
    let help = nearest(word, levels).map_or_else(
        || format!("the levels are {}", levels.join(" ")),
        |nearest| format!("did you mean `'{nearest}'`? {}", levels.join(" ")),
    );
    let shown = if literal.is_string() { format!("'{word}'") } else { literal.to_string() };
    Some(ExprProblem {
        span: span.clone(),
        message: format!("`{shown}` is not a priority"),
        label: "never equal".to_owned(),
        help: Some(help),
        instead: None,
        kind: ProblemKind::UnknownPriority,
    })
}

/// The literals that a value may turn out to be, each with its place; of a list, its items.
pub(super) fn alternatives(node: &ExprNode, text: &str, found: &mut Vec<(Value, Range<usize>)>) {
    match node {
        ExprNode::Literal(Value::Array(items), span) => {
            let places = item_spans(text, span, items);
            found.extend(items.iter().cloned().zip(places));
        }
        ExprNode::Literal(literal, span) => found.push((literal.clone(), span.clone())),
        ExprNode::List(items) => items.iter().for_each(|item| alternatives(item, text, found)),
        ExprNode::Choice(parts) => {
            parts[1..].iter().for_each(|part| alternatives(part, text, found))
        }
        ExprNode::Run(_, rest) => {
            let defaults = rest.iter().filter(|it| it.0 == super::node::Binary::Coalesce);
            defaults.for_each(|it| alternatives(&it.1, text, found));
        }
        _ => {}
    }
}

/// Where the items of a literal list stand; `span` is the list's.
pub(super) fn item_spans(text: &str, span: &Range<usize>, items: &[Value]) -> Vec<Range<usize>> {
    let tokens = lex(text.get(span.clone()).unwrap_or_default()).unwrap_or_default();
    let mut at = 0;
    let place = |item: &Value| {
        let is_it = |token: &ExprToken| match (token, item) {
            (ExprToken::Text(text), Value::String(item)) => text == item,
            (ExprToken::Int(int), Value::Number(_)) => item.as_i64() == Some(*int),
            (ExprToken::Float(float), Value::Number(_)) => item.as_f64() == Some(*float),
            (ExprToken::Name(name), Value::Bool(item)) => *name == item.to_string(),
            _ => false,
        };
        let found = tokens.iter().enumerate().skip(at).find(|it| is_it(&it.1.0));
        let Some((index, (_, place))) = found else { return span.clone() };
        at = index + 1;
        span.start + place.start..span.start + place.end
    };
    items.iter().map(place).collect()
}
