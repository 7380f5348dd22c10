//! Schemas of several files: what a schema refers to is read inside the pipeline's root, so that
//! it is watched like the schema itself.

use jsonschema::{Retrieve, Uri};
use language::Context;
use language::diagnostic::SourceText;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Most files that one schema may consist of.
const FILES_MAX: usize = 256;

/// Where a schema is read from when it says nothing of it. Deep enough for every `../`.
const BASE: &str = "file:///0/1/2/3/4/5/6/7/8/9/";

/// What a schema consists of beside its own file.
pub(super) struct Beside {
    /// The address of the schema itself.
    pub(super) base: String,
    /// The other files, in the order in which they were met.
    pub(super) sources: Vec<Arc<SourceText>>,
    /// The first reference that leads to no file that can be read.
    pub(super) unread: Option<UnreadSchemas>,
    found: HashMap<String, Value>,
}

/// A reference that cannot be followed.
pub(super) struct UnreadSchemas {
    /// As the schema writes it.
    pub(super) reference: String,
    /// The file in which it is.
    pub(super) source: Arc<SourceText>,
    /// Why not.
    pub(super) reason: String,
}

/// A part of a schema that is still to be looked through.
struct Open<'s> {
    schema: &'s Value,
    /// What references are relative to.
    base: String,
}

/// Reads everything that a schema refers to, and what that refers to.
pub(super) fn read(
    path: &str,
    schema: &Value,
    source: &Arc<SourceText>,
    context: &mut Context<'_>,
) -> Beside {
    let base = join(BASE, &encoded(path));
    let mut beside =
        Beside { base: base.clone(), sources: Vec::new(), unread: None, found: HashMap::new() };
    let mut files = vec![(path.to_owned(), base, schema.clone(), source.clone())];
    while let Some((path, base, schema, source)) = files.pop() {
        for (reference, address) in references(&schema, &base) {
            let is_known = beside.found.contains_key(&address) || address == beside.base;
            if is_known || FILES_MAX <= beside.found.len() {
                continue;
            }
            let target = format!("{}{}", folder_of(&path), decoded(&reference));
            match follow(&target, context) {
                Ok((schema, text)) => {
                    beside.sources.push(text.clone());
                    beside.found.insert(address.clone(), schema.clone());
                    files.push((target, address, schema, text));
                }
                Err(reason) => {
                    let unread = UnreadSchemas { reference, source: source.clone(), reason };
                    beside.unread.get_or_insert(unread);
                }
            }
        }
    }
    beside
}

fn follow(path: &str, context: &mut Context<'_>) -> Result<(Value, Arc<SourceText>), String> {
    let source = context.files.read(path).map_err(|fault| fault.reason)?;
    let schema =
        serde_json::from_str(&source.text).map_err(|fault| format!("it is not JSON: {fault}"))?;
    Ok((schema, source))
}

/// The references of a schema that lead to a file beside it, without what follows `#`, each with
/// its address.
fn references(schema: &Value, base: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = vec![Open { schema, base: base.to_owned() }];
    while let Some(Open { schema, base }) = open.pop() {
        let items = match schema {
            Value::Array(items) => items.iter().collect(),
            Value::Object(entries) => {
                let id = entries.get("$id").or_else(|| entries.get("id")).and_then(Value::as_str);
                let base = id.map_or(base.clone(), |id| join(&base, without_fragment(id)));
                let reference = entries.get("$ref").and_then(Value::as_str).map(without_fragment);
                if let Some(reference) = reference.filter(|reference| is_relative(reference)) {
                    let address = join(&base, reference);
                    if !found.iter().any(|it| it.1 == address) {
                        found.push((reference.to_owned(), address));
                    }
                }
                // A value of `enum`, `const` and the like is no schema.
                let inner = entries.iter().filter(|entry| {
                    !matches!(entry.0.as_str(), "enum" | "const" | "default" | "examples")
                });
                open.extend(inner.map(|inner| Open { schema: inner.1, base: base.clone() }));
                continue;
            }
            _ => Vec::new(),
        };
        open.extend(items.into_iter().map(|schema| Open { schema, base: base.clone() }));
    }
    found
}

fn without_fragment(reference: &str) -> &str {
    reference.split('#').next().unwrap_or_default()
}

/// Whether a reference is a path from the file that it is in.
fn is_relative(reference: &str) -> bool {
    let has_scheme = reference.split('/').next().is_some_and(|part| part.contains(':'));
    !reference.is_empty() && !reference.starts_with('/') && !has_scheme && !reference.contains('?')
}

/// An address relative to another one, without `.` and `..`.
fn join(base: &str, reference: &str) -> String {
    if reference.split('/').next().is_some_and(|part| part.contains(':')) {
        return reference.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("file", base));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut parts: Vec<&str> = match reference.starts_with('/') {
        true => Vec::new(),
        false => path.split('/').collect(),
    };
    parts.pop();
    for part in reference.trim_start_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    format!("{scheme}://{host}/{}", parts.join("/"))
}

fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |it| &path[..=it])
}

/// A path as an address writes it.
fn encoded(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let byte = |byte: u8| {
        if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    path.bytes().map(byte).collect()
}

/// A path from an address.
fn decoded(reference: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = reference.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything is read beforehand, and nothing else is ever asked for: no other file, no network.
impl Retrieve for Beside {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let address = without_fragment(uri.as_str());
        self.found.get(address).cloned().ok_or_else(|| {
            format!("`{address}` is not a file beside the schema; only those are followed").into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_relative_to_what_they_stand_in() {
        for (base, reference, expected) in [
            ("file:///a/b.json", "c.json", "file:///a/c.json"),
            ("file:///a/b.json", "../c/./d.json", "file:///c/d.json"),
            ("https://h/x/y.json", "/z.json", "https://h/z.json"),
            ("https://h/x/y.json", "http://i/z.json", "http://i/z.json"),
        ] {
            assert_eq!(join(base, reference), expected);
        }
        assert_eq!(decoded(&encoded("ä b/c.json")), "ä b/c.json");
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn only_paths_from_the_file_are_followed() {
        let schema = json!({
            "$id": "https://h/s/push.json",
            "properties": {
                "a": { "$ref": "common/user.json#/$defs/x" },
                "b": { "$ref": "#/$defs/y" },
                "c": { "$ref": "https://h/other.json" },
                "d": { "$ref": "/etc/passwd" },
                "e": { "$ref": "file:///etc/passwd" },
                "f": { "const": { "$ref": "no.json" } },
                "g": { "items": [{ "$ref": "common/user.json" }] },
            },
        });
        let expected = ("common/user.json".to_owned(), "https://h/s/common/user.json".to_owned());
        assert_eq!(references(&schema, BASE), [expected]);
    }
}
