//! JSON Schemas: read inside the pipeline's root, compiled once, asked by event type.

mod beside;
mod formats;
mod violation_text;

use crate::spec::{Formats, Name, Validate};
use jsonschema::Validator;
use kernel::pattern::glob_fits;
use language::diagnostic::{Rule, SourceText};
use language::{Context, nearest};
use serde_json::{Value, json};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

/// Most files that a help text lists.
const LISTED_MAX: usize = 10;
/// Most violations told in one answer.
const VIOLATIONS_MAX: usize = 32;

/// Something that a message or payload breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer into what was received.
    pub instance: String,
    /// JSON pointer into the schema, or the rule's text.
    pub schema: String,
    /// What is wrong.
    pub message: String,
}

impl Violation {
    /// In one line, with its place where it has one.
    pub fn told(&self) -> String {
        match self.instance.as_str() {
            "" => self.message.clone(),
            instance => format!("{instance}: {}", self.message),
        }
    }

    /// As HTTP answers show it.
    pub fn json(&self) -> Value {
        json!({ "instance": self.instance, "schema": self.schema, "message": self.message })
    }
}

/// A schema, ready to check values. Equal schemas were compiled from equal texts.
#[derive(Debug, Clone)]
pub struct CompiledSchema {
    validator: Arc<Validator>,
    fingerprint: u128,
}

impl CompiledSchema {
    /// What checks values.
    pub fn validator(&self) -> &Validator {
        &self.validator
    }
}

impl PartialEq for CompiledSchema {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

/// The schemas of `data` by type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schemas {
    exact: HashMap<String, CompiledSchema>,
    /// Longest text before the first `*` first.
    patterns: Vec<(String, CompiledSchema)>,
}

impl Schemas {
    /// The schema that covers a type.
    pub fn of(&self, kind: &str) -> Option<&Validator> {
        let exact = self.exact.get(kind);
        let found = exact.or_else(|| {
            self.patterns
                .iter()
                .find(|pattern| glob_fits(&pattern.0, kind))
                .map(|pattern| &pattern.1)
        });
        found.map(CompiledSchema::validator)
    }
}

/// What `value` breaks, its places behind `prefix`. Empty when it is valid.
pub fn violations(validator: &Validator, value: &Value, prefix: &str) -> Vec<Violation> {
    if validator.is_valid(value) {
        return Vec::new();
    }
    let violation = |error: jsonschema::ValidationError<'_>| Violation {
        instance: format!("{prefix}{}", error.instance_path()),
        schema: error.schema_path().to_string(),
        message: violation_text::of(&error),
    };
    validator.iter_errors(value).take(VIOLATIONS_MAX).map(violation).collect()
}

pub(super) fn of_message(file: Option<&Name>, context: &mut Context<'_>) -> Option<CompiledSchema> {
    compile(file?, false, "the message", context)
}

pub(super) fn of_data(validate: &Validate, context: &mut Context<'_>) -> Schemas {
    let mut schemas = Schemas::default();
    // Several types may share a file; it is compiled once.
    let mut compiled: HashMap<&str, CompiledSchema> = HashMap::new();
    for (kind, file) in &validate.schemas {
        let asserts = validate.formats == Formats::Assert;
        let of = format!("`{}`", kind.value);
        let known = compiled.get(&*file.value).cloned();
        let Some(schema) = known.or_else(|| compile(file, asserts, &of, context)) else {
            continue;
        };
        compiled.insert(&file.value, schema.clone());
        if kind.value.contains('*') {
            schemas.patterns.push((kind.value.clone(), schema));
        } else {
            schemas.exact.insert(kind.value.clone(), schema);
        }
    }
    let literal = |text: &str| text.find('*').unwrap_or(text.len());
    schemas.patterns.sort_by_key(|pattern| std::cmp::Reverse(literal(&pattern.0)));
    schemas
}

fn compile(
    file: &Name,
    asserts_formats: bool,
    of: &str,
    context: &mut Context<'_>,
) -> Option<CompiledSchema> {
    let source = match context.files.read(&file.value) {
        Ok(source) => source,
        Err(why) => {
            let near = match why.is_missing {
                true => file_near(&file.value, context),
                false => String::new(),
            };
            context
                .diagnostics
                .push(
                    why.rule(Rule::BadSchema),
                    format!("cannot read the schema for {of}: {}", why.reason),
                )
                .at(file.span.clone(), "looked for here")
                .help(format!("paths are relative to this file{near}"));
            return None;
        }
    };
    let parsed = match serde_json::from_str::<Value>(&source.text) {
        Ok(parsed) => parsed,
        Err(fault) => {
            let at = offset(&source.text, fault.line(), fault.column());
            broken(file, of, &format!("it is not JSON: {}", plain(&fault)), context).frame(
                source.clone(),
                at..(at + 1).min(source.text.len()),
                "here",
            );
            return None;
        }
    };
    if let Some(number) = too_large(&parsed) {
        frame(broken(file, of, &format!("the number {number} is too large"), context), &source, "");
        return None;
    }
    let beside = beside::read(&file.value, &parsed, &source, context);
    if let Some(unread) = &beside.unread {
        let reason = format!("cannot follow `{}`: {}", unread.reference, unread.reason);
        let (reference, source) = (unread.reference.clone(), unread.source.clone());
        frame(broken(file, of, &reason, context), &source, &reference);
        return None;
    }
    if asserts_formats {
        warn_of_formats(file, &parsed, &source, context);
    }
    let mut hasher = SipHasher13::new();
    let sources = [&source].into_iter().chain(&beside.sources);
    sources.for_each(|source| hasher.write(source.text.as_bytes()));
    hasher.write_u8(u8::from(asserts_formats));
    let fingerprint = hasher.finish128().as_u128();
    // `$schema` decides the draft; without it, 2020-12.
    let built = jsonschema::options()
        .should_validate_formats(asserts_formats)
        .with_base_uri(beside.base.clone())
        .with_retriever(beside)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&parsed);
    match built {
        Ok(validator) => Some(CompiledSchema { validator: Arc::new(validator), fingerprint }),
        Err(fault) => {
            unusable(file, of, &source, &fault, context);
            None
        }
    }
}

/// A number of a schema that nothing could be compared with.
fn too_large(schema: &Value) -> Option<String> {
    match schema {
        Value::Number(it) if it.as_f64().is_none_or(|number| !number.is_finite()) => {
            Some(it.to_string())
        }
        Value::Array(items) => items.iter().find_map(too_large),
        Value::Object(entries) => entries.values().find_map(too_large),
        _ => None,
    }
}

/// A schema that cannot be compiled.
fn unusable(
    file: &Name,
    of: &str,
    source: &Arc<SourceText>,
    fault: &jsonschema::ValidationError<'_>,
    context: &mut Context<'_>,
) {
    let pattern = fault.instance().as_str().unwrap_or_default().to_owned();
    if let Some(what) = looks_around(&pattern) {
        let reason = format!("the pattern `{pattern}` uses {what}, which is not supported");
        let found = broken(file, of, &reason, context);
        found.help(
            "patterns are matched in linear time; express the rest with `not`, `allOf` or a `rule` of \
             `validate`",
        );
        frame(found, source, &serde_json::Value::from(pattern).to_string().replace('"', ""));
        return;
    }
    let found = broken(file, of, &format!("it is not a valid JSON Schema: {fault}"), context);
    let place = fault.instance_path().to_string();
    frame(found, source, place.rsplit('/').next().unwrap_or_default());
}

/// What a pattern asks that cannot be answered in linear time.
fn looks_around(pattern: &str) -> Option<&'static str> {
    let mut rest = pattern;
    while let Some(at) = rest.find(['\\', '(']) {
        let here = &rest[at..];
        if let Some(escaped) = here.strip_prefix('\\') {
            let is_number = escaped.starts_with(|letter: char| ('1'..='9').contains(&letter));
            if is_number || escaped.starts_with("k<") {
                return Some("a back-reference");
            }
            rest = escaped.get(escaped.chars().next().map_or(0, char::len_utf8)..).unwrap_or("");
            continue;
        }
        for (sign, what) in [
            ("(?=", "a look-ahead"),
            ("(?!", "a look-ahead"),
            ("(?<=", "a look-behind"),
            ("(?<!", "a look-behind"),
        ] {
            if here.starts_with(sign) {
                return Some(what);
            }
        }
        rest = &here[1..];
    }
    None
}

fn warn_of_formats(
    file: &Name,
    schema: &Value,
    source: &Arc<SourceText>,
    context: &mut Context<'_>,
) {
    for format in formats::unchecked(schema) {
        let message = format!("unknown format `{format}`");
        let found = context.diagnostics.push(Rule::UncheckedFormat, message);
        found
            .at(file.span.clone(), "in this schema")
            .help("use a `pattern`, or remove the `format`");
        frame(found, source, &format);
    }
}

fn broken<'a>(
    file: &Name,
    of: &str,
    reason: &str,
    context: &'a mut Context<'_>,
) -> &'a mut language::diagnostic::Diagnostic {
    let message = format!("cannot use the schema for {of}: {reason}");
    context
        .diagnostics
        .push(Rule::BadSchema, message)
        .at(file.span.clone(), "this file")
        .help("correct that file: a schema is JSON Schema, in JSON without comments")
}

/// Shows a quoted text of a schema.
fn frame(found: &mut language::diagnostic::Diagnostic, source: &Arc<SourceText>, text: &str) {
    let quoted = format!("\"{text}\"");
    if let Some(at) = source.text.find(&quoted).filter(|_| !text.is_empty()) {
        found.frame(source.clone(), at..at + quoted.len(), "here");
    }
}

fn file_near(path: &str, context: &mut Context<'_>) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let neighbours = context.files.neighbours(path);
    match nearest(name, neighbours.iter().map(String::as_str)) {
        Some(it) if folder.is_empty() => format!("; did you mean `{it}`?"),
        Some(it) => format!("; did you mean `{folder}/{it}`?"),
        None => {
            let like: Vec<&str> = neighbours
                .iter()
                .map(String::as_str)
                .filter(|text| text.ends_with(".json"))
                .take(LISTED_MAX)
                .collect();
            if like.is_empty() { String::new() } else { format!("; there are {}", like.join(", ")) }
        }
    }
}

/// serde_json's words without its own "at line …".
fn plain(fault: &serde_json::Error) -> String {
    let text = fault.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len().saturating_sub(1));
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
