//! Text with `{{ expression | filter }}` inside.

mod check;

use super::function::percent_encoded;
use super::lex::quoted_length;
use super::node::ExprNode;
use super::parse::{parse, parse_filter};
use super::problem::ExprProblem;
use super::value::Val;
use super::{Expr, PathRead, Root, Roots, Scope};
use std::ops::Range;

/// The longest text that a template renders, in bytes; what is longer is cut.
const RENDERED_MAX: usize = 1 << 20;
/// The longest template, in bytes.
const TEMPLATE_MAX: usize = 64 << 10;

/// The most filters of one value.
const FILTERS_MAX: usize = 8;

/// A compiled template. Equal when the text is.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// An expression that ends in filters; `end` is where the value before them ends in its text.
    Value {
        expr: Expr,
        start: usize,
        end: usize,
        filters: Vec<String>,
    },
}

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

    /// A text without expressions, whatever it has in it.
    pub fn plain(text: impl Into<String>) -> Template {
        let text = text.into();
        Template { parts: vec![Part::Text(text.clone())], text }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is no expression inside.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// What stands between its expressions.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Value { .. } => None,
        })
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

    /// The rendered text, with every value that an event gives as `insert` makes it of it.
    pub fn render_as(&self, scope: &Scope<'_>, insert: impl Fn(String) -> String) -> String {
        let mut rendered = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Value { expr, .. } if part.is_fixed() => {
                    rendered.push_str(&expr.eval(scope).text());
                }
                Part::Value { expr, .. } => rendered.push_str(&insert(expr.eval(scope).text())),
            }
        }
        cut(&mut rendered, RENDERED_MAX);
        rendered
    }

    fn render_by(&self, scope: &Scope<'_>, is_url: bool) -> String {
        let mut rendered = String::new();
        render_parts(&self.parts, scope, is_url, &mut rendered);
        rendered
    }

    /// A lone `{{ }}` keeps its value's type; anything else is text.
    pub fn value<'a>(&'a self, scope: &Scope<'a>) -> Val<'a> {
        match self.parts.as_slice() {
            [Part::Value { expr, .. }] => expr.eval(scope),
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
    let end = |index: usize| cuts.get(index + 1).map_or(inner.len(), |cut| cut - 1);
    let moved = |found: Vec<ExprProblem>| -> Vec<ExprProblem> {
        let place = |range: Range<usize>| range.start + start..range.end + start;
        found.into_iter().map(|it| ExprProblem { span: place(it.span.clone()), ..it }).collect()
    };
    if FILTERS_MAX < cuts.len() - 1 {
        let message = format!("more than {FILTERS_MAX} filters");
        let problem = ExprProblem::too_large(start..start + inner.len(), message);
        return Err(vec![problem.help("compute a part of it in an `enrich set` stage")]);
    }
    let (mut problems, mut filters) = (Vec::new(), Vec::new());
    let mut node = match parse(&inner[..end(0)], roots) {
        Ok(node) => node,
        Err(found) => {
            problems.extend(moved(found));
            ExprNode::Path(Root::Data, Box::new([]), 0..0)
        }
    };
    for (index, cut) in cuts.iter().enumerate().skip(1) {
        match parse_filter(inner, *cut..end(index), node.clone(), roots) {
            Ok((filtered, name)) => {
                node = filtered;
                filters.push(name);
            }
            Err(found) => problems.extend(moved(found)),
        }
    }
    match problems.is_empty() {
        true => Ok(Part::Value { expr: Expr::of(inner, node), start, end: end(0), filters }),
        false => Err(problems),
    }
}

fn render_parts(parts: &[Part], scope: &Scope<'_>, is_url: bool, rendered: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => rendered.push_str(text),
            Part::Value { expr, filters, .. } => {
                let value = expr.eval(scope).text();
                if is_url && !filters.iter().any(|filter| filter == "urlencode") {
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
    let end = (0..=length.min(text.len())).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    text.truncate(end);
}
