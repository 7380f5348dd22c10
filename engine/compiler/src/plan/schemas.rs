//! JSON Schemas: read inside the pipeline's root, compiled once, asked by event type.

use crate::spec::{Name, Validate};
use jsonschema::{Retrieve, Uri, Validator};
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
        let found = exact
            .or_else(|| self.patterns.iter().find(|it| glob_fits(&it.0, kind)).map(|it| &it.1));
        found.map(CompiledSchema::validator)
    }
}

/// What `value` breaks, its places behind `prefix`. Empty when it is valid.
pub fn violations(validator: &Validator, value: &Value, prefix: &str) -> Vec<Violation> {
    if validator.is_valid(value) {
        return Vec::new();
    }
    let violation = |it: jsonschema::ValidationError<'_>| Violation {
        instance: format!("{prefix}{}", it.instance_path()),
        schema: it.schema_path().to_string(),
        message: it.masked_with("the value").to_string(),
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
        let asserts = validate.asserts_formats;
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
    let literal = |it: &str| it.find('*').unwrap_or(it.len());
    schemas.patterns.sort_by_key(|it| std::cmp::Reverse(literal(&it.0)));
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
            let near = file_near(&file.value, context);
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
    // `$schema` decides the draft; without it, 2020-12.
    let built = jsonschema::options()
        .should_validate_formats(asserts_formats)
        .with_retriever(NoRetriever)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&parsed);
    match built {
        Ok(validator) => {
            let mut hasher = SipHasher13::new();
            hasher.write(source.text.as_bytes());
            hasher.write_u8(u8::from(asserts_formats));
            let fingerprint = hasher.finish128().as_u128();
            Some(CompiledSchema { validator: Arc::new(validator), fingerprint })
        }
        Err(fault) => {
            let reason = format!("it is no JSON Schema: {fault}");
            let found = broken(file, of, &reason, context);
            let place = fault.instance_path().to_string();
            let key = place.rsplit('/').next().unwrap_or_default();
            frame_key(found, &source, key);
            None
        }
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
        .help("put it right in that file: a schema is JSON Schema, in JSON without comments")
}

fn frame_key(found: &mut language::diagnostic::Diagnostic, source: &Arc<SourceText>, key: &str) {
    let quoted = format!("\"{key}\"");
    if let Some(at) = source.text.find(&quoted).filter(|_| !key.is_empty()) {
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
                .filter(|it| it.ends_with(".json"))
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

/// References lead nowhere but into the schema itself: no file, no network.
struct NoRetriever;

impl Retrieve for NoRetriever {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` lies outside the schema; references stay inside one file").into())
    }
}
