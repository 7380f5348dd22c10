//! Templates for what is known of their values.

use super::super::type_env::{ExprFinding, TypeEnv};
use super::super::value_type::ValueType;
use super::{Part, Template};
use crate::diagnostic::Rule;
use serde_json::Value;
use std::ops::Range;

impl TypeEnv {
    /// Looks at a template: its shape, and what is wrong with its expressions. Spans are bytes of
    /// the template.
    pub fn check_template(&self, template: &Template) -> (ValueType, Vec<ExprFinding>) {
        let mut findings = Vec::new();
        let mut shape = ValueType::text();
        for part in &template.parts {
            let Part::Value { expr, start, .. } = part else { continue };
            let checked = self.check(expr);
            shape = checked.shape;
            findings.extend(checked.findings.into_iter().map(|finding| moved(finding, *start)));
        }
        match template.parts.as_slice() {
            [Part::Value { .. }] => (shape, findings),
            _ => (ValueType::text(), findings),
        }
    }

    /// Values that a JSON body takes as they are, though they may hold anything, and where a body
    /// that is sent as JSON stops being it. `says_json` is whether a header says so; without one,
    /// a text that begins like a list or map counts.
    pub fn check_json_body(&self, template: &Template, says_json: bool) -> Vec<ExprFinding> {
        // A value outside of quotes may be a number, a text with its quotes, or nothing.
        let filled = ["0", "\"\"", ""].map(|it| filled(template, it));
        if filled.iter().all(Result::is_err) {
            let [first, ..] = filled;
            let fault = first.err().and_then(|it| it.finding(template, says_json));
            return fault.into_iter().collect();
        }
        if !filled[..2].iter().any(|it| matches!(it, Ok(true))) {
            return Vec::new();
        }
        let mut findings = Vec::new();
        let mut quotes = Quotes::default();
        for (index, part) in template.parts.iter().enumerate() {
            match part {
                Part::Text(text) => quotes.pass(text),
                Part::Value { expr, start, end, filters } => {
                    let shape = self.check(expr).shape;
                    let text = &expr.text()[..*end];
                    let span = *start..start + end;
                    let found = unquoted(text, span, &shape, filters, quotes.is_open);
                    let whole = whole_text(&template.parts, index);
                    findings.extend(found.map(|it| match (quotes.is_open, whole) {
                        (true, Some(whole)) => ExprFinding { help: Some(whole), ..it },
                        _ => it,
                    }));
                }
            }
        }
        findings
    }
}

/// Where a body stops being JSON.
struct NotJson {
    /// Bytes of the template.
    span: Range<usize>,
    reason: String,
}

impl NotJson {
    fn finding(self, template: &Template, says_json: bool) -> Option<ExprFinding> {
        let begins = template.text.trim_start();
        // `[ring] somebody` and `{{ event.type }}: …` are texts.
        let is_map = begins.starts_with('{') && !begins.starts_with("{{");
        let is_list = begins.starts_with('[') && begins.trim_end().ends_with(']');
        let looks = is_map && begins.trim_end().ends_with('}') || is_list && begins.contains('"');
        (says_json || looks).then(|| ExprFinding {
            rule: Rule::NotJson,
            span: self.span,
            message: "this body is not JSON".to_owned(),
            label: self.reason,
            help: Some(
                "JSON needs double quotes around names and texts, and no trailing comma".into(),
            ),
            origin: None,
        })
    }
}

/// Whether the body is a list or map, with stand-ins: `bare` for a value outside of quotes that may
/// be any text.
fn filled(template: &Template, bare: &str) -> Result<bool, NotJson> {
    let (mut filled, mut places) = (String::new(), Vec::new());
    let (mut quotes, mut at) = (Quotes::default(), 0);
    for part in &template.parts {
        match part {
            Part::Text(text) => {
                at += template.text[at..].find(text.as_str()).unwrap_or(0);
                places.push((filled.len(), at));
                filled.push_str(&without_references(text));
                quotes.pass(text);
                at += text.len();
            }
            Part::Value { filters, start, expr, .. } => {
                places.push((filled.len(), *start));
                at = start + expr.text().len();
                let is_json = is_json(filters);
                match quotes.is_open {
                    true if is_json => {}
                    true => filled.push('0'),
                    false if is_json => filled.push('0'),
                    false => filled.push_str(bare),
                }
            }
        }
    }
    let fault = match serde_json::from_str::<Value>(&filled) {
        Ok(value) => return Ok(value.is_array() || value.is_object()),
        Err(fault) => fault,
    };
    let before = filled.split_inclusive('\n').take(fault.line().saturating_sub(1));
    let byte = before.map(str::len).sum::<usize>() + fault.column().saturating_sub(1);
    let (from, place) =
        places.iter().rev().find(|place| place.0 <= byte).copied().unwrap_or_default();
    let start = (place + byte - from.min(byte)).min(template.text.len());
    let start = (0..=start).rev().find(|it| template.text.is_char_boundary(*it)).unwrap_or(0);
    let width = template.text[start..].chars().next().map_or(0, char::len_utf8);
    let reason = fault.to_string();
    let reason = reason.split(" at line").next().unwrap_or_default().to_owned();
    Err(NotJson { span: start..start + width, reason })
}

/// A number as long as each `${NAME}`, so that places stay what they are.
fn without_references(text: &str) -> String {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let Some(end) = behind.find('}') else { break };
        replaced.push_str(before);
        replaced.push_str(&format!("{:<1$}", 0, end + 3));
        rest = &behind[end + 1..];
    }
    replaced + rest
}

/// What to write where a value is a part of a longer text in quotes: the text as one value.
fn whole_text(parts: &[Part], index: usize) -> Option<String> {
    let is_text = |part: &&Part| matches!(part, Part::Text(text) if text.contains('"'));
    let first = parts[..index].iter().rposition(|part| is_text(&part))?;
    let last = index + parts[index..].iter().position(|part| is_text(&part))?;
    let (Part::Text(before), Part::Text(behind)) = (&parts[first], &parts[last]) else {
        return None;
    };
    let before = before.rsplit('"').next().unwrap_or_default();
    let behind = behind.split('"').next().unwrap_or_default();
    if before.is_empty() && behind.is_empty() && last - first == 2 {
        return None;
    }
    let mut pieces = vec![format!("'{before}'")];
    for part in &parts[first + 1..last] {
        match part {
            Part::Text(text) => pieces.push(format!("'{text}'")),
            Part::Value { expr, end, filters, .. } if filters.is_empty() => {
                let text = expr.text()[..*end].trim();
                let is_one =
                    text.chars().all(|letter| letter.is_alphanumeric() || "._".contains(letter));
                pieces.push(if is_one { text.to_owned() } else { format!("({text})") });
            }
            Part::Value { .. } => return Some(by_stage()),
        }
    }
    if !behind.is_empty() {
        pieces.push(format!("'{behind}'"));
    }
    let written = pieces.join(" + ");
    match written.contains(['\\', '\n']) || 120 < written.len() {
        true => Some(by_stage()),
        false => Some(format!(
            "write the whole text as one value, without quotes around it: \
                               `{{{{ {written} | json }}}}`"
        )),
    }
}

fn by_stage() -> String {
    "put the whole text together in an `enrich set` stage, and write `{{ enrich.NAME | json }}` \
     without quotes around it"
        .to_owned()
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
    shape: &ValueType,
    filters: &[String],
    is_in_quotes: bool,
) -> Option<ExprFinding> {
    let is_json = is_json(filters);
    let is_fine = match is_in_quotes {
        false => is_json || filters.is_empty() && shape.is_plain_json(),
        true => {
            let is_word = filters.is_empty() && shape.is_safe_word();
            let last = filters.last().map(String::as_str);
            let is_plain = matches!(last, Some("urlencode" | "slug" | "time" | "date" | "base64"));
            is_word || is_plain
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
        true => "`| json` adds its own quotes".to_owned(),
        false => format!("`{trimmed}` is inserted into JSON unescaped"),
    };
    let span = span.start + lead..span.start + lead + trimmed.len();
    let (label, help, origin) = (label.to_owned(), Some(help), None);
    Some(ExprFinding { rule: Rule::NotJson, span, message, label, help, origin })
}

/// Whether what is rendered is JSON.
fn is_json(filters: &[String]) -> bool {
    filters.last().is_some_and(|filter| filter == "json" || filter == "to_json")
}

fn moved(finding: ExprFinding, by: usize) -> ExprFinding {
    ExprFinding { span: finding.span.start + by..finding.span.end + by, ..finding }
}
