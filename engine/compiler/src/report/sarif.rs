//! Findings as SARIF 2.1.0, for services that show them beside the code.

use super::{CheckedFile, Position, RepositoryPaths, all, further, primary, range, word};
use crate::manual;
use kernel::health::printable_json;
use language::diagnostic::{Diagnostic, Edit, Rule, SourceText};
use language::expr::percent_encoded;
use serde_json::{Value, json};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::path::{Component, Path};

/// Findings as one SARIF log. Files are named from the root of their repository; `unread` are files that
/// could not be read, in words.
pub fn sarif(files: &[CheckedFile], paths: &RepositoryPaths, unread: &[String]) -> String {
    let mut rules: Vec<Rule> = all(files).map(|it| it.rule).collect();
    rules.sort_by_key(|rule| rule.code());
    rules.dedup();
    let mut seen = BTreeMap::new();
    let results: Vec<Value> =
        all(files).map(|it| SarifLog { paths, rules: &rules }.result(it, &mut seen)).collect();
    let notes: Vec<Value> =
        unread.iter().map(|it| json!({"level": "error", "message": {"text": it}})).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "engine",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| descriptor(*rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": unread.is_empty(),
                "toolExecutionNotifications": notes,
            }],
            "results": results,
        }],
    });
    printable_json(format!("{log:#}\n"))
}

fn descriptor(rule: Rule) -> Value {
    let explanation = rule.explanation().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let text = explanation.trim();
    json!({
        "id": rule.code(),
        "name": format!("{rule:?}"),
        "shortDescription": {"text": manual::first_line(rule)},
        "fullDescription": {"text": text},
        "help": {"text": format!("{text}\n\n`engine explain {}` explains it.", rule.code())},
        "defaultConfiguration": {"level": word(rule.severity())},
    })
}

struct SarifLog<'a> {
    paths: &'a RepositoryPaths,
    rules: &'a [Rule],
}

impl SarifLog<'_> {
    /// `seen` counts equal findings, so that each has a fingerprint of its own.
    fn result(&self, it: &Diagnostic, seen: &mut BTreeMap<String, usize>) -> Value {
        let help = it.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        let hash = fingerprint(it);
        let nth = seen.entry(format!("{hash} {}", it.source.name)).or_insert(0);
        *nth += 1;
        let mut result = json!({
            "ruleId": it.rule.code(),
            "ruleIndex": self.rules.iter().position(|rule| *rule == it.rule),
            "level": word(it.severity),
            "message": {"text": format!("{}{help}", it.message)},
            "locations": [self.location(&it.source, primary(it), it.labels.first().map(|label| &label.text))],
            "partialFingerprints": {"codeAndMessage/v1": format!("{hash}:{nth}")},
        });
        let related: Vec<Value> = further(it)
            .map(|(source, label)| {
                self.location(source, range(source, &label.span), Some(&label.text))
            })
            .collect();
        if !related.is_empty() {
            result["relatedLocations"] = related.into();
        }
        if !it.fix.is_empty() {
            result["fixes"] = json!([self.fix(it)]);
        }
        result
    }

    fn location(
        &self,
        source: &SourceText,
        place: (Position, Position),
        text: Option<&String>,
    ) -> Value {
        let mut location = json!({"physicalLocation": {
            "artifactLocation": {"uri": uri(&self.paths.name(&source.name))},
            "region": region(place),
        }});
        if let Some(text) = text {
            location["message"] = json!({"text": text});
        }
        location
    }

    fn fix(&self, it: &Diagnostic) -> Value {
        let replacement = |edit: &Edit| {
            json!({
                "deletedRegion": region(range(&it.source, &edit.span)),
                "insertedContent": {"text": edit.text},
            })
        };
        json!({
            "description": {"text": it.help.as_ref().unwrap_or(&it.message)},
            "artifactChanges": [{
                "artifactLocation": {"uri": uri(&self.paths.name(&it.source.name))},
                "replacements": it.fix.iter().map(replacement).collect::<Vec<_>>(),
            }],
        })
    }
}

fn region((start, end): (Position, Position)) -> Value {
    json!({
        "startLine": start.line,
        "startColumn": start.column,
        "endLine": end.line,
        "endColumn": end.column,
    })
}

/// What stays the same when lines move: the code and the message.
fn fingerprint(it: &Diagnostic) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(it.rule.code().as_bytes());
    hasher.write(it.message.as_bytes());
    format!("{:032x}", hasher.finish128().as_u128())
}

/// A path as a URI, with slashes on every system.
fn uri(path: &Path) -> String {
    let parts: Vec<String> = path
        .components()
        .filter_map(|it| match it {
            Component::Normal(part) => Some(percent_encoded(&part.to_string_lossy())),
            Component::ParentDir => Some("..".to_owned()),
            _ => None,
        })
        .collect();
    let parts = parts.join("/");
    if path.is_absolute() { format!("file:///{parts}") } else { parts }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use language::diagnostic::Diagnostics;

    fn log(files: &[CheckedFile], unread: &[String]) -> Value {
        serde_json::from_str(&sarif(files, &RepositoryPaths::around(Path::new("/project")), unread))
            .expect("JSON")
    }

    #[test]
    fn a_finding_has_its_rule_its_places_and_its_repair() {
        let log = log(&testing::found(), &[]);
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "E0011");
        let first = &run["results"][0];
        assert_eq!((&first["ruleIndex"], &first["level"]), (&json!(0), &json!("error")));
        let expected = json!({"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 3});
        assert_eq!(first["locations"][0]["physicalLocation"]["region"], expected);
        let replacement = &first["fixes"][0]["artifactChanges"][0]["replacements"][0];
        assert_eq!(replacement["insertedContent"]["text"], "");
        let second = &run["results"][1];
        let related = &second["relatedLocations"][0];
        assert_eq!(related["physicalLocation"]["artifactLocation"]["uri"], "other.json");
        assert_eq!(related["message"]["text"], "and here");
    }

    #[test]
    fn a_fingerprint_stays_when_lines_move_and_tells_equal_findings_apart() {
        let prints = |before: &str| {
            let mut found = Diagnostics::new(testing::source("a.kdl", &format!("{before}x\nx\n")));
            for at in [before.len(), before.len() + 2] {
                found.push(Rule::UnknownNode, "no `x` here").at(at..at + 1, "unknown");
            }
            let log = log(&[CheckedFile { name: "a.kdl".to_owned(), found: found.sorted() }], &[]);
            let print = |index: usize| {
                log["runs"][0]["results"][index]["partialFingerprints"]["codeAndMessage/v1"].clone()
            };
            (print(0), print(1))
        };
        assert_eq!(prints(""), prints("\n\n// more\n"));
        let (first, second) = prints("");
        assert_ne!(first, second);
    }

    #[test]
    fn what_could_not_be_read_is_said() {
        let log = log(&[], &["cannot read a.kdl".to_owned()]);
        let invocation = &log["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        let note = &invocation["toolExecutionNotifications"][0]["message"]["text"];
        assert_eq!(note, "cannot read a.kdl");
    }

    #[track_caller]
    fn becomes(name: &str, expected: &str) {
        let paths = RepositoryPaths::around(Path::new("/project"));
        assert_eq!(uri(&paths.name(name)), expected);
    }

    #[test]
    fn a_path_becomes_a_uri() {
        becomes("pipelines/a.kdl", "pipelines/a.kdl");
        becomes("./a.kdl", "a.kdl");
        becomes("../a b.kdl", "../a%20b.kdl");
        becomes("/project/pipelines/ä.kdl", "pipelines/%C3%A4.kdl");
        becomes("/elsewhere/a.kdl", "file:///elsewhere/a.kdl");
        becomes("<stdin>", "%3Cstdin%3E");
    }
}
