//! What a value breaks of its schema, in our words where those of `jsonschema` are wrong or not
//! English. They never show the value, which may be a secret.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};

/// What is wrong, in one sentence that begins with "the value" where it is about it.
pub(super) fn of(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::AnyOf { .. } => "the value matches no schema of `anyOf`".to_owned(),
        ValidationErrorKind::OneOfNotValid { .. } => {
            "the value matches no schema of `oneOf`".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "the value matches more than one schema of `oneOf`".to_owned()
        }
        ValidationErrorKind::Not { .. } => "the value matches the schema of `not`".to_owned(),
        ValidationErrorKind::Contains => contains(error).to_owned(),
        ValidationErrorKind::FalseSchema => "the schema allows no value here".to_owned(),
        ValidationErrorKind::Format { format } => format!("the value is not a valid `{format}`"),
        ValidationErrorKind::MinItems { limit } => fewer(*limit, "item", "items"),
        ValidationErrorKind::MinProperties { limit } => fewer(*limit, "property", "properties"),
        ValidationErrorKind::Type { kind: TypeKind::Multiple(types) } => {
            let types: Vec<String> = types.iter().map(|it| format!("\"{it}\"")).collect();
            format!("the value is not of type {}", types.join(" or "))
        }
        _ => error.masked_with("the value").to_string(),
    }
}

/// The crate has one kind for `contains` and for how often it may apply; only the place in the
/// schema tells which it was.
fn contains(error: &ValidationError<'_>) -> &'static str {
    match error.schema_path().as_str().rsplit('/').next() {
        Some("maxContains") => "the value has too many items that match `contains`",
        Some("minContains") => "the value has too few items that match `contains`",
        _ => "the value has no item that matches `contains`",
    }
}

fn fewer(limit: u64, one: &str, many: &str) -> String {
    format!("the value has fewer than {limit} {}", if limit == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::super::violations;
    use serde_json::{Value, json};

    #[test]
    fn what_is_broken_is_said_in_our_words() {
        for (schema, value, told) in [
            (
                json!({ "contains": { "type": "integer" }, "maxContains": 1 }),
                json!([1, 2]),
                "the value has too many items that match `contains`",
            ),
            (
                json!({ "contains": { "type": "integer" }, "minContains": 2 }),
                json!([1]),
                "the value has too few items that match `contains`",
            ),
            (
                json!({ "contains": { "type": "integer" }, "minContains": 2, "maxContains": 3 }),
                json!([1]),
                "the value has too few items that match `contains`",
            ),
            (
                json!({ "contains": { "type": "integer" } }),
                json!(["a"]),
                "the value has no item that matches `contains`",
            ),
            (json!({ "minItems": 2 }), json!([1]), "the value has fewer than 2 items"),
            (json!({ "minProperties": 1 }), json!({}), "the value has fewer than 1 property"),
            (json!({ "format": "email" }), json!("x"), "the value is not a valid `email`"),
            (
                json!({ "type": ["string", "number"] }),
                json!(true),
                "the value is not of type \"number\" or \"string\"",
            ),
            (json!(false), json!(1), "the schema allows no value here"),
            (
                json!({ "not": { "type": "integer" } }),
                json!(1),
                "the value matches the schema of `not`",
            ),
            (
                json!({ "oneOf": [{ "type": "integer" }, { "minimum": 0 }] }),
                json!(1),
                "the value matches more than one schema of `oneOf`",
            ),
            (
                json!({ "anyOf": [{ "type": "string" }, { "maximum": 0 }] }),
                json!(1),
                "the value matches no schema of `anyOf`",
            ),
            (json!({ "maxLength": 2 }), json!("abc"), "the value is longer than 2 characters"),
        ] {
            let validator = jsonschema::options().should_validate_formats(true).build(&schema);
            let found: Vec<String> = violations(&validator.expect("a schema"), &value, "")
                .into_iter()
                .map(|it| it.message)
                .collect();
            assert_eq!(found, [told], "{schema} {}", Value::to_string(&value));
        }
    }
}
