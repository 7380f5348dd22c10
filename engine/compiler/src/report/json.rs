//! Findings as one JSON object. `format_version` names its shape: a minor version only adds.

use super::{CheckedFile, all, count, range, word};
use kernel::health::printable_json;
use language::diagnostic::{Diagnostic, Edit, Severity, SourceText};
use serde_json::{Value, json};
use std::ops::Range;

/// Findings as one JSON object on one line.
pub fn json(files: &[CheckedFile]) -> String {
    let errors = count(files, Severity::Error);
    let object = json!({
        "format_version": "1.0",
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": count(files, Severity::Warning),
        "diagnostics": all(files).map(object).collect::<Vec<_>>(),
    });
    printable_json(object.to_string())
}

fn object(it: &Diagnostic) -> Value {
    let labels: Vec<Value> = it
        .labels
        .iter()
        .map(|label| json!({"text": label.text, "range": shown(&it.source, &label.span)}))
        .collect();
    let primary = it.labels.first().map_or(0..0, |label| label.span.clone());
    let mut object = json!({
        "severity": word(it.severity),
        "code": it.rule.code(),
        "message": it.message,
        "help": it.help,
        "file": it.source.name,
        "range": shown(&it.source, &primary),
        "labels": labels,
        "fix": fix(&it.source, &it.fix),
    });
    if !it.related.is_empty() {
        object["related"] = it.related.iter().map(self::object).collect();
    }
    object
}

/// What `engine check --fix` would write, or null where the repair is the user's choice.
fn fix(source: &SourceText, edits: &[Edit]) -> Value {
    if edits.is_empty() {
        return Value::Null;
    }
    let edits: Vec<Value> = edits
        .iter()
        .map(|edit| json!({"range": shown(source, &edit.span), "text": edit.text}))
        .collect();
    json!({ "edits": edits })
}

fn shown(source: &SourceText, span: &Range<usize>) -> Value {
    let (start, end) = range(source, span);
    let place = |position: super::Position| json!({"line": position.line, "column": position.column, "byte": position.byte});
    json!({"start": place(start), "end": place(end)})
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn programs_get_lines_and_columns_from_one_and_bytes() {
        let object: Value = serde_json::from_str(&json(&testing::found())).expect("JSON");
        assert_eq!(object["valid"], false);
        assert_eq!((&object["error_count"], &object["warning_count"]), (&json!(1), &json!(1)));
        let first = &object["diagnostics"][0];
        assert_eq!(first["range"]["end"], json!({"line": 1, "column": 3, "byte": 3}));
        assert_eq!(first["code"], "E0011");
        let edit = &first["fix"]["edits"][0];
        assert_eq!(edit["range"]["start"], json!({"line": 1, "column": 2, "byte": 2}));
        assert_eq!(edit["text"], "");
        let second = &object["diagnostics"][1];
        assert_eq!(second["range"]["start"], json!({"line": 2, "column": 1, "byte": 6}));
        assert_eq!(second["severity"], "warning");
        assert_eq!((&second["help"], &second["fix"]), (&Value::Null, &Value::Null));
        assert_eq!(second["related"][0]["file"], "other.json");
    }
}
