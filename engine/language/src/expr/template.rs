//! Text with `{{ expression | filter }}` inside.

mod check;

use super::function::time;
use super::lex::quoted_length;
use super::problem::ExprProblem;
use super::value::Val;
use super::{Expr, PathRead, Root, Roots, SIZE_MAX, Scope};
use crate::nearest;
use jiff::tz::TimeZone;
use kernel::time::Timestamp;
use serde_json::Value;
use std::fmt::Write;
use std::ops::Range;

/// The longest text that a template renders, in bytes; what is longer is cut.
const RENDERED_MAX: usize = 1 << 20;
/// The longest template, in bytes.
const TEMPLATE_MAX: usize = 64 << 10;

/// A compiled template. Equal when the text is.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Value { expr: Expr, start: usize, filters: Vec<Filter> },
}

#[derive(Debug, Clone, PartialEq)]
enum Filter {
    Default(Value),
    Json,
    UrlEncode,
    Slug,
    Humanize,
    Time(String),
    Round(usize),
    Truncate(usize),
    Upper,
    Lower,
    Join(String),
}

pub(super) const FILTERS: &[&str] = &[
    "default",
    "json",
    "urlencode",
    "slug",
    "humanize",
    "time",
    "date",
    "round",
    "truncate",
    "upper",
    "lower",
    "join",
];

impl Part {
    /// Whether it is the same for every event: a path of the file's own, as it stands.
    fn is_fixed(&self) -> bool {
        let Part::Value { expr, filters, .. } = self else { return true };
        let path = expr.plain_path();
        let is_ours = |it: &(Root, Vec<String>)| {
            matches!(it.0, Root::Param | Root::Server | Root::Pipeline) && !it.1.is_empty()
        };
        filters.is_empty() && path.as_ref().is_some_and(is_ours)
    }
}

impl Template {
    /// Compiles `text`; spans of problems are bytes of it.
    pub fn parse(text: &str, roots: Roots) -> Result<Template, Vec<ExprProblem>> {
        if TEMPLATE_MAX < text.len() {
            let message = format!("a template of more than {} KiB", TEMPLATE_MAX >> 10);
            let help = "move a part of the text into an `enrich set` stage";
            return Err(vec![ExprProblem::too_large(0..0, message).help(help)]);
        }
        let (mut parts, mut problems, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(offset) = text[at..].find("{{") {
            let start = at + offset + 2;
            if 0 < offset {
                parts.push(Part::Text(text[at..at + offset].to_owned()));
            }
            let Some(length) = inner_length(&text[start..]) else {
                let mut problem = ExprProblem::syntax(start - 2..start, "`{{` is never closed");
                problem.help = Some("put `}}` after the expression".to_owned());
                problems.push(problem);
                at = text.len();
                break;
            };
            match value(&text[start..start + length], start, roots) {
                Ok(part) => parts.push(part),
                Err(found) => problems.extend(found),
            }
            at = start + length + 2;
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        if problems.is_empty() {
            Ok(Template { text: text.to_owned(), parts })
        } else {
            Err(problems)
        }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is no expression inside.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|it| matches!(it, Part::Text(_)))
    }

    /// The text before the first expression.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The text with every leading expression that is the same for all events (`param.x`,
    /// `server.public_url`) replaced by a stand-in; the rest as written. The stand-in is given what
    /// stands before it.
    pub fn with_fixed(&self, stand_in: impl Fn(&str) -> &'static str) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                part if part.is_fixed() => text.push_str(stand_in(&text)),
                Part::Value { start, .. } => {
                    text.push_str(&self.text[start - 2..]);
                    break;
                }
            }
        }
        text
    }

    /// The text up to the first expression that is not the same for all events or that `value` does
    /// not know.
    pub fn fixed_beginning(
        &self,
        mut value: impl FnMut(Root, &[String]) -> Option<String>,
    ) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Value { expr, .. } if part.is_fixed() => {
                    let Some((root, path)) = expr.plain_path() else { break };
                    let Some(known) = value(root, &path) else { break };
                    text.push_str(&known);
                }
                Part::Value { .. } => break,
            }
        }
        text
    }

    /// The rendered URL, and how many bytes of it come before the first value that an event gives.
    /// Every inserted value is percent-encoded, but for those that are the same for all events while
    /// `is_open` says that the host is not over.
    pub fn render_url_of(
        &self,
        scope: &Scope<'_>,
        is_open: impl Fn(&str) -> bool,
    ) -> (String, usize) {
        let (mut rendered, mut rest) = (String::new(), &self.parts[..]);
        while let Some((part, behind)) = rest.split_first() {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Value { expr, .. } if part.is_fixed() && is_open(&rendered) => {
                    rendered.push_str(&expr.eval(scope).text());
                }
                Part::Value { .. } => break,
            }
            rest = behind;
        }
        let fixed = rendered.len();
        render_parts(rest, scope, true, &mut rendered);
        (rendered, fixed)
    }

    /// The rendered text; null is nothing. At most 1 MiB.
    pub fn render(&self, scope: &Scope<'_>) -> String {
        self.render_by(scope, false)
    }

    /// The rendered text with every value percent-encoded for a URL.
    pub fn render_url(&self, scope: &Scope<'_>) -> String {
        self.render_by(scope, true)
    }

    fn render_by(&self, scope: &Scope<'_>, is_url: bool) -> String {
        let mut rendered = String::new();
        render_parts(&self.parts, scope, is_url, &mut rendered);
        rendered
    }

    /// A lone `{{ }}` keeps its value's type; anything else is text.
    pub fn value<'a>(&'a self, scope: &Scope<'a>) -> Val<'a> {
        match self.parts.as_slice() {
            [Part::Value { expr, filters, .. }] => filtered(expr.eval(scope), filters, scope),
            _ => Val::Text(self.render(scope).into()),
        }
    }

    /// Every static path that it reads, its place in bytes of the template.
    pub fn reads(&self) -> Vec<PathRead> {
        let mut reads = Vec::new();
        for part in &self.parts {
            if let Part::Value { expr, start, .. } = part {
                let moved = |it: PathRead| PathRead {
                    span: it.span.start + start..it.span.end + start,
                    ..it
                };
                reads.extend(expr.reads().into_iter().map(moved));
            }
        }
        reads
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Length up to the closing `}}` that stands in no quotes and closes no map.
fn inner_length(text: &str) -> Option<usize> {
    let mut open_maps = 0_usize;
    for (at, it) in outside_quotes(text) {
        match it {
            '{' => open_maps += 1,
            '}' if 0 < open_maps => open_maps -= 1,
            '}' if text[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// Characters that stand in no quoted text, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut at, mut is_in_name) = (0, false);
    std::iter::from_fn(move || {
        // An `r` that ends a name opens no raw text.
        while !(is_in_name && text[at..].starts_with(['r', 'R']))
            && let Some(length) = quoted_length(&text[at..])
        {
            at += length;
            is_in_name = false;
        }
        let it = text[at..].chars().next()?;
        let found = (at, it);
        at += it.len_utf8();
        is_in_name = it.is_ascii_alphanumeric() || it == '_';
        Some(found)
    })
}

/// One `{{ … }}`: an expression and the filters behind single `|`s.
fn value(inner: &str, start: usize, roots: Roots) -> Result<Part, Vec<ExprProblem>> {
    let mut cuts = vec![0];
    let bytes = inner.as_bytes();
    for (at, it) in outside_quotes(inner) {
        let is_alone = bytes.get(at + 1) != Some(&b'|') && (at == 0 || bytes[at - 1] != b'|');
        if it == '|' && is_alone {
            cuts.push(at + 1);
        }
    }
    let end = |index: usize| cuts.get(index + 1).map_or(inner.len(), |it| it - 1);
    let moved = |mut it: ExprProblem, by: usize| {
        it.span = it.span.start + by..it.span.end + by;
        it
    };
    let expr = Expr::parse(&inner[..end(0)], roots)
        .map_err(|found| found.into_iter().map(|it| moved(it, start)).collect::<Vec<_>>());
    let (mut filters, mut problems) = (Vec::new(), Vec::new());
    for index in 1..cuts.len() {
        match filter(&inner[cuts[index]..end(index)]) {
            Ok(filter) => filters.push(filter),
            Err(problem) => problems.push(moved(problem, start + cuts[index])),
        }
    }
    match expr {
        Ok(expr) if problems.is_empty() => Ok(Part::Value { expr, start, filters }),
        Ok(_) => Err(problems),
        Err(found) => Err(found.into_iter().chain(problems).collect()),
    }
}

fn filter(text: &str) -> Result<Filter, ExprProblem> {
    let lead = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    let (name, rest) = trimmed.split_at(trimmed.find('(').unwrap_or(trimmed.len()));
    let name = name.trim();
    let span = lead..lead + name.len();
    let place = lead + trimmed.len() - rest.len()..lead + trimmed.len();
    if !FILTERS.contains(&name) {
        return Err(unknown_filter(name, span));
    }
    let given = argument(rest, place.start)?;
    let wrong = |wanted: &str| {
        let message = format!("`{name}` {wanted}");
        let at = if place.is_empty() { span.clone() } else { place.clone() };
        ExprProblem::syntax(at, message)
    };
    Ok(match (name, given) {
        ("default", Some(it)) => Filter::Default(it),
        ("default", None) => return Err(wrong("needs a value").help("write `default('?')`")),
        ("time", None) => Filter::Time("HH:mm".to_owned()),
        ("date", None) => Filter::Time("yyyy-MM-dd".to_owned()),
        ("time" | "date", Some(Value::String(it))) => Filter::Time(pattern(it, &place)?),
        ("time" | "date", Some(_)) => {
            return Err(wrong("takes a pattern").help(format!("write `{name}('HH:mm')`")));
        }
        ("join", None) => Filter::Join(", ".to_owned()),
        ("join", Some(Value::String(it))) => Filter::Join(it),
        ("join", Some(_)) => {
            return Err(wrong("takes the separator text").help("write `join(', ')`"));
        }
        ("round", None) => Filter::Round(0),
        ("round" | "truncate", given) => {
            let number = given.as_ref().and_then(Value::as_u64);
            let number = number.and_then(|it| usize::try_from(it).ok());
            match (name, number) {
                ("round", Some(it @ 0..=15)) => Filter::Round(it),
                ("round", _) => {
                    return Err(wrong("takes a number of digits, 0 to 15").help("write `round(2)`"));
                }
                (_, Some(it)) => Filter::Truncate(it),
                (_, None) => {
                    return Err(wrong("needs a number of characters").help("write `truncate(80)`"));
                }
            }
        }
        (_, Some(_)) => {
            return Err(wrong("takes no argument").help(format!("write `| {name}`")));
        }
        ("json", None) => Filter::Json,
        ("urlencode", None) => Filter::UrlEncode,
        ("slug", None) => Filter::Slug,
        ("humanize", None) => Filter::Humanize,
        ("upper", None) => Filter::Upper,
        (_, None) => Filter::Lower,
    })
}

fn unknown_filter(name: &str, span: Range<usize>) -> ExprProblem {
    let all = || format!("the filters are {}", FILTERS.join(", "));
    if name.is_empty() {
        return ExprProblem::syntax(span, "a filter is missing after `|`").help(all());
    }
    let near = nearest(name, FILTERS.iter().copied());
    let help = near.map_or_else(all, |it| format!("did you mean `{it}`?"));
    ExprProblem::unknown(span, format!("there is no filter `{name}`"), Some(help))
}

/// A pattern whose letters all mean something.
fn pattern(text: String, place: &Range<usize>) -> Result<String, ExprProblem> {
    let rest = PLACES.iter().fold(text.clone(), |rest, (name, _)| rest.replace(name, ""));
    match rest.chars().find(|it| it.is_alphabetic()) {
        None => Ok(text),
        Some(letter) => {
            let message = format!("`{letter}` means nothing in the pattern `{text}`");
            Err(ExprProblem::syntax(place.clone(), message)
                .help("a pattern is made of yyyy MM dd HH mm ss and separators"))
        }
    }
}

/// The literal in brackets behind a filter's name.
fn argument(text: &str, at: usize) -> Result<Option<Value>, ExprProblem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let inner = text.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
    let literal = inner.filter(|it| it.len() <= SIZE_MAX).and_then(|it| {
        let expr = Expr::parse(it, Roots::of(&[])).ok()?;
        Some(expr.eval(&Scope::at(Timestamp(0))).into_json())
    });
    match literal {
        Some(value) => Ok(Some(value)),
        None => Err(ExprProblem::syntax(at..at + text.len(), "a filter takes one number or text")
            .help("write `default('?')` or `truncate(80)`")),
    }
}

fn filtered<'a>(mut value: Val<'a>, filters: &'a [Filter], scope: &Scope<'a>) -> Val<'a> {
    for filter in filters {
        value = apply(filter, value, scope);
    }
    value
}

fn apply<'a>(filter: &'a Filter, value: Val<'a>, scope: &Scope<'a>) -> Val<'a> {
    let text = |made: String| Val::Text(made.into());
    match filter {
        Filter::Json => text(value.to_json().to_string()),
        Filter::Default(default) if value.is_null() => Val::from_json(default),
        Filter::Default(_) => value,
        // What is missing stays missing, so that a `default` behind it still applies.
        _ if value.is_null() => Val::Null,
        Filter::UrlEncode => text(percent_encoded(&value.text())),
        Filter::Slug => text(slug(&value.text())),
        Filter::Humanize => text(humanized(&value.text())),
        Filter::Time(pattern) => {
            time(&value).map_or(Val::Null, |it| text(stamped(it, pattern, scope.zone)))
        }
        Filter::Round(digits) => match value.as_f64() {
            Some(number) => text(format!("{number:.*}", *digits)),
            None => value,
        },
        Filter::Truncate(length) => {
            let whole = value.text();
            let mut short: String = whole.chars().take(*length).collect();
            if short.len() < whole.len() {
                short.push('…');
            }
            text(short)
        }
        Filter::Upper => text(value.text().to_uppercase()),
        Filter::Lower => text(value.text().to_lowercase()),
        Filter::Join(between) => match value.as_json().and_then(|it| it.as_array()) {
            Some(items) => {
                let texts: Vec<String> = items.iter().map(|it| Val::from_json(it).text()).collect();
                text(texts.join(between))
            }
            None => value,
        },
    }
}

fn render_parts(parts: &[Part], scope: &Scope<'_>, is_url: bool, rendered: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => rendered.push_str(text),
            Part::Value { expr, filters, .. } => {
                let value = filtered(expr.eval(scope), filters, scope).text();
                if is_url && !filters.contains(&Filter::UrlEncode) {
                    rendered.push_str(&percent_encoded(&value));
                } else {
                    rendered.push_str(&value);
                }
            }
        }
        if RENDERED_MAX < rendered.len() {
            cut(rendered, RENDERED_MAX);
            break;
        }
    }
}

fn cut(text: &mut String, length: usize) {
    let end = (0..=length).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    text.truncate(end);
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    encoded
}

/// `Front Door!` becomes `front-door`.
fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// `front_door` becomes `front door`, and `DOORBELL_PRESSED` becomes `doorbell pressed`.
fn humanized(text: &str) -> String {
    let spaced = text.replace(['_', '-'], " ");
    if spaced.chars().any(char::is_lowercase) { spaced } else { spaced.to_lowercase() }
}

/// What a pattern may name, and where that stands in RFC 3339.
const PLACES: [(&str, Range<usize>); 6] =
    [("yyyy", 0..4), ("MM", 5..7), ("dd", 8..10), ("HH", 11..13), ("mm", 14..16), ("ss", 17..19)];

/// The time as the pattern says, in the pipeline's zone or in UTC.
fn stamped(time: Timestamp, pattern: &str, zone: Option<&TimeZone>) -> String {
    let instant = jiff::Timestamp::from_microsecond(time.0).ok();
    let offset = zone.zip(instant).map_or(0, |(zone, it)| zone.to_offset(it).seconds());
    let full = Timestamp(time.0 + i64::from(offset) * 1_000_000).to_string();
    PLACES
        .into_iter()
        .fold(pattern.to_owned(), |text, (name, place)| text.replace(name, &full[place]))
}
