//! Formats of a schema that are not checked although the file says `formats assert`.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A text that fits no format at all.
const UNFIT: &str = "({ \u{1}%";

/// The formats of a schema that nothing checks, each once.
pub(super) fn unchecked(schema: &Value) -> Vec<String> {
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    let mut open = vec![schema];
    while let Some(part) = open.pop() {
        match part {
            Value::Array(items) => open.extend(items),
            Value::Object(entries) => {
                let format = entries.get("format").and_then(Value::as_str);
                if let Some(format) = format.filter(|it| !known.contains_key(*it)) {
                    known.insert(format.to_owned(), is_checked(format, schema.get("$schema")));
                }
                let inner = entries.iter().filter(|entry| {
                    !matches!(entry.0.as_str(), "enum" | "const" | "default" | "examples")
                });
                open.extend(inner.map(|inner| inner.1));
            }
            _ => {}
        }
    }
    known.into_iter().filter(|it| !it.1).map(|it| it.0).collect()
}

/// Whether a format refuses anything in the draft that the schema names.
fn is_checked(format: &str, draft: Option<&Value>) -> bool {
    let mut schema = json!({ "format": format });
    if let Some(draft) = draft {
        schema["$schema"] = draft.clone();
    }
    let built = jsonschema::options().should_validate_formats(true).build(&schema);
    built.is_ok_and(|built| !built.is_valid(&Value::from(UNFIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_the_standard_is_checked_and_no_other() {
        let formats = [
            "date",
            "time",
            "date-time",
            "duration",
            "email",
            "hostname",
            "ipv4",
            "ipv6",
            "uri",
            "uri-reference",
            "iri",
            "iri-reference",
            "uri-template",
            "json-pointer",
            "relative-json-pointer",
            "regex",
            "uuid",
        ];
        for format in formats {
            let schema = json!({ "properties": { "a": { "format": format } } });
            assert_eq!(unchecked(&schema), Vec::<String>::new());
        }
        let formats = ["phone", "int32", "idn-email", "idn-hostname"];
        let schema = json!({ "anyOf": formats.map(|it| json!({ "format": it })) });
        assert_eq!(unchecked(&schema), ["idn-email", "idn-hostname", "int32", "phone"]);
        // A value may well have a field of this name.
        assert!(unchecked(&json!({ "const": { "format": "phone" } })).is_empty());
        let old = "http://json-schema.org/draft-07/schema#";
        assert_eq!(unchecked(&json!({ "$schema": old, "format": "uuid" })), ["uuid"]);
    }
}
