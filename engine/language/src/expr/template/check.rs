//! Templates for what is known of their values.

use super::super::known::{Finding, Known};
use super::super::shape::Shape;
use super::{Filter, Part, Template};
use crate::diagnostic::Rule;
use serde_json::Value;
use std::ops::Range;

impl Known {
    /// Looks at a template: its shape, and what is wrong with its expressions. Spans are bytes of
    /// the template.
    pub fn check_template(&self, template: &Template) -> (Shape, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut shape = Shape::text();
        for part in &template.parts {
            let Part::Value { expr, start, filters } = part else { continue };
            let checked = self.check(expr);
            shape = filters.iter().fold(checked.shape, filtered);
            findings.extend(checked.findings.into_iter().map(|it| moved(it, *start)));
        }
        match template.parts.as_slice() {
            [Part::Value { .. }] => (shape, findings),
            _ => (Shape::text(), findings),
        }
    }

    /// Values that a JSON body takes as they are, though they may hold anything. Nothing is said
    /// of a text that is no JSON.
    pub fn check_json_body(&self, template: &Template) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut quotes = Quotes::default();
        for part in template.parts.iter().filter(|_| is_json(&template.parts)) {
            match part {
                Part::Text(text) => quotes.pass(text),
                Part::Value { expr, start, filters } => {
                    let shape = self.check(expr).shape;
                    let span = *start..start + expr.text().len();
                    findings.extend(unquoted(expr.text(), span, &shape, filters, quotes.is_open));
                }
            }
        }
        findings
    }
}

/// Whether a template is a list or map of JSON once values stand in it.
fn is_json(parts: &[Part]) -> bool {
    let mut filled = String::new();
    let mut quotes = Quotes::default();
    for part in parts {
        match part {
            Part::Text(text) => {
                quotes.pass(text);
                filled.push_str(text);
            }
            Part::Value { filters, .. }
                if quotes.is_open && filters.last() == Some(&Filter::Json) => {}
            Part::Value { .. } => filled.push('0'),
        }
    }
    let value = serde_json::from_str::<Value>(&filled);
    value.is_ok_and(|it| it.is_array() || it.is_object())
}

/// Whether a text in JSON is open.
#[derive(Default)]
struct Quotes {
    is_open: bool,
    is_escaped: bool,
}

impl Quotes {
    fn pass(&mut self, text: &str) {
        for it in text.chars() {
            match it {
                _ if self.is_escaped => self.is_escaped = false,
                '\\' => self.is_escaped = self.is_open,
                '"' => self.is_open = !self.is_open,
                _ => {}
            }
        }
    }
}

fn unquoted(
    text: &str,
    span: Range<usize>,
    shape: &Shape,
    filters: &[Filter],
    is_in_quotes: bool,
) -> Option<Finding> {
    let last = filters.last();
    let is_json = last == Some(&Filter::Json);
    let is_fine = match is_in_quotes {
        false => is_json || filters.is_empty() && shape.is_plain_json(),
        true => {
            let is_word = filters.is_empty() && shape.is_safe_word();
            is_word || matches!(last, Some(Filter::UrlEncode | Filter::Slug | Filter::Time(_)))
        }
    };
    if is_fine {
        return None;
    }
    let trimmed = text.trim();
    let (label, help) = match is_in_quotes {
        true => (
            "inside quotes of the body",
            format!("write `{{{{ {trimmed} | json }}}}` without the quotes around it"),
        ),
        false => ("not JSON by itself", format!("write `{{{{ {trimmed} | json }}}}`")),
    };
    let lead = text.len() - text.trim_start().len();
    let message = match is_in_quotes && is_json {
        true => "`| json` brings its own quotes".to_owned(),
        false => format!("`{trimmed}` is put into JSON as it is"),
    };
    let span = span.start + lead..span.start + lead + trimmed.len();
    let (label, help, origin) = (label.to_owned(), Some(help), None);
    Some(Finding { rule: Rule::NotJson, span, message, label, help, origin })
}

fn filtered(shape: Shape, filter: &Filter) -> Shape {
    match filter {
        Filter::Default(_) if shape.is_any() => shape,
        Filter::Default(value) => Shape { null: false, ..shape }.or(Shape::of_value(value)),
        Filter::Json => Shape::text(),
        Filter::Round(_) | Filter::Join(_) => Shape::any(),
        _ => Shape::text().or_null(),
    }
}

fn moved(finding: Finding, by: usize) -> Finding {
    Finding { span: finding.span.start + by..finding.span.end + by, ..finding }
}
