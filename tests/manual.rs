//! The manual: what is generated of it says what the table says, and what `engine explain` and
//! `engine schema` tell is the same.
//!
//! `UPDATE_DOCS=1 cargo test` writes the generated pages anew.

use crate::support::{engine, root};
use compiler::grammar;
use compiler::manual::{self, Example, Language};
use compiler::report::{self, CheckedFile};
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::diagnostic::Rule;
use serde_json::{Map, Value, json};
use stages::catalog::Catalog;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The pages that are generated, with their texts.
fn pages() -> BTreeMap<PathBuf, String> {
    let catalog = Catalog::built_in();
    let language = Language { top: grammar::TOP, kinds: &catalog };
    let docs = root().join("docs");
    let mut pages = BTreeMap::from([
        (docs.join("reference.md"), manual::reference(language)),
        (docs.join("codes/README.md"), manual::index()),
    ]);
    let mut cases = crate::check::every_case();
    cases.extend(crate::test::every_case());
    for rule in Rule::ALL {
        let code = rule.code();
        let beginning = format!("/{}-", code.to_lowercase());
        let case = cases.iter().find(|case| case.name.contains(&beginning));
        let case = case.unwrap_or_else(|| panic!("no case for {code}"));
        let whole = root().display().to_string();
        let name = case.name.trim_start_matches(&whole).trim_start_matches('/');
        let text = std::fs::read(&case.name).expect("it reads");
        // A page is the same wherever the project lies.
        let within = format!("{whole}/");
        let report = report::human(&case.found, false, 100).replace(&within, "");
        let mut found = case.found.clone();
        found
            .iter_mut()
            .for_each(|it| it.help = it.help.take().map(|help| help.replace(&within, "")));
        let example =
            Example { name, text: &String::from_utf8_lossy(&text), report: &report, found: &found };
        pages.insert(docs.join(format!("codes/{code}.md")), manual::page(*rule, &example));
    }
    pages
}

#[test]
fn the_generated_pages_say_what_the_table_says() {
    let pages = pages();
    let mut wrong = Vec::new();
    for (path, text) in &pages {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            // Left alone when it is right, so that nothing is built again.
            if std::fs::read_to_string(path).ok().as_ref() != Some(text) {
                std::fs::write(path, text).expect("it writes");
            }
        }
        if std::fs::read_to_string(path).ok().as_ref() != Some(text) {
            wrong.push(path.display().to_string());
        }
    }
    let codes = std::fs::read_dir(root().join("docs/codes")).expect("the pages are there");
    let codes = codes.map(|code| code.expect("an entry").path());
    wrong.extend(
        codes.filter(|code| !pages.contains_key(code)).map(|code| code.display().to_string()),
    );
    assert!(wrong.is_empty(), "write them with UPDATE_DOCS=1: {}", wrong.join(", "));
}

#[test]
fn the_commands_tell_what_the_manual_tells() {
    let ask = |arguments: &[&str]| {
        let answer = engine(&root(), arguments, "");
        assert_eq!(answer.code, 0, "{arguments:?}: {}", answer.error);
        answer.output
    };
    let reference = &pages()[&root().join("docs/reference.md")];
    assert_eq!(&ask(&["schema", "--format", "markdown"]), reference);
    let cycle = ask(&["explain", "e0203"]);
    assert!(cycle.starts_with("E0203\n") && cycle.contains("An example"), "{cycle}");
    assert!(ask(&["explain", "enrich", "http"]).starts_with("enrich http\n"));
    assert!(ask(&["explain", "notify.cooldown"]).starts_with("notify cooldown\n"));
    let list = ask(&["explain", "--list"]);
    assert!(Rule::ALL.iter().all(|it| list.contains(&format!("{}  ", it.code()))), "{list}");
    let unknown = engine(&root(), &["explain", "retri"], "");
    assert_eq!(unknown.code, 2);
    assert!(unknown.error.contains("did you mean `retry`?"), "{}", unknown.error);
    assert_eq!(engine(&root(), &["explain"], "").code, 2);
}

/// A document in the form that the schema describes.
fn as_json(document: &KdlDocument) -> Value {
    document.nodes().iter().map(node_as_json).collect()
}

fn node_as_json(node: &KdlNode) -> Value {
    let entries = node.entries();
    let args: Vec<Value> =
        entries.iter().filter(|entry| entry.name().is_none()).map(value_as_json).collect();
    let props: Map<String, Value> = entries
        .iter()
        .filter_map(|entry| Some((entry.name()?.value().to_owned(), value_as_json(entry))))
        .collect();
    let children = node.children().map_or(json!([]), as_json);
    json!({"node": node.name().value(), "args": args, "props": props, "children": children})
}

fn value_as_json(entry: &KdlEntry) -> Value {
    let value = match entry.value() {
        KdlValue::String(text) => json!(text),
        KdlValue::Integer(it) => json!(i64::try_from(*it).expect("it is small")),
        KdlValue::Float(it) => json!(it),
        KdlValue::Bool(it) => json!(it),
        KdlValue::Null => Value::Null,
    };
    match entry.ty() {
        Some(ty) => json!({"type": ty.value(), "value": value}),
        None => value,
    }
}

fn validator() -> jsonschema::Validator {
    let answer = engine(&root(), &["schema", "--format", "json-schema"], "");
    let schema: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    jsonschema::validator_for(&schema).expect("it is a schema")
}

#[test]
fn the_schema_takes_the_shipped_pipelines() {
    let validator = validator();
    for name in ["doorbell.kdl", "ci-alerts.kdl", "frigate.kdl", "quiet-camera.kdl"] {
        let text = std::fs::read_to_string(root().join("pipelines").join(name)).expect("it reads");
        let document = as_json(&KdlDocument::parse_v2(&text).expect("it parses"));
        let wrong: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{name}: {}", wrong.join("\n"));
    }
}

/// Values with an annotation in every form.
const WITH_UNITS: &str = r#"
pipeline units schema-version=1
param patience "5s"
limits { event-timeout (min)2; shutdown-grace (duration)"PT5S"; max-event-size (MiB)1; queue (env)"QUEUE" default="100" }
source http front { path "/events"; disabled (env)"OFF" default="false" }
enrich http weather { get (env)"WEATHER" default="http://127.0.0.1:1/"; timeout (param)patience; rate (env)"RATE" default="5/s" }
sink sqlite journal { path "events.db"; retention { keep (d)30; max-size (GiB)2 } }
notify webhook chat { url (env)"CHAT" optional=#true; retry (env)"TRIES" default="3" }
"#;

#[test]
fn what_is_expanded_is_in_the_form_that_the_schema_describes() {
    let validator = validator();
    let mut expanded = crate::right::every_expanded();
    let folder = tempfile::tempdir().expect("a folder");
    let units = folder.path().join("units.kdl");
    std::fs::write(&units, WITH_UNITS).expect("it writes");
    let units = units.display().to_string();
    for file in
        ["pipelines/doorbell.kdl", "pipelines/ci-alerts.kdl", "tests/corpus/every-word.kdl", &units]
    {
        let place = if file == units { folder.path().to_owned() } else { root() };
        let place = place.display().to_string();
        let arguments = ["expand", file, "--format", "json", "--root", &place];
        let answer = engine(&root(), &arguments, "");
        let json = serde_json::from_str(&answer.output);
        let json = json.unwrap_or_else(|fault| panic!("{file}: {fault}: {}", answer.error));
        expanded.push((file.to_owned(), json));
    }
    let with = |part: &str| expanded.iter().any(|it| it.1.to_string().contains(part));
    for part in ["\"origin\"", "\"built_in\"", "\"type\":\"env\"", "\"type\":\"MiB\""] {
        assert!(with(part), "{part} is in none");
    }
    let mut wrong = Vec::new();
    for (text, json) in &expanded {
        let found =
            validator.iter_errors(json).map(|error| format!("{}: {error}", error.instance_path()));
        wrong.extend(found.map(|it| format!("{text}\n{it:.300}")));
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_schema_refuses_what_the_check_refuses_for_its_form() {
    let validator = validator();
    // What a schema sees: words, arguments, properties and how often a node stands.
    let forms = [
        "E0010", "E0012", "E0013", "E0014", "E0015", "E0016", "E0017", "E0018", "E0020", "E0021",
        "E0022", "E0023", "E0024", "E0025",
    ];
    let mut cases = crate::check::every_case();
    cases.extend(crate::test::every_case());
    let is_valid = |case: &CheckedFile| {
        let text = std::fs::read(&case.name).expect("it reads");
        let document = KdlDocument::parse_v2(&String::from_utf8_lossy(&text)).ok()?;
        Some(validator.is_valid(&as_json(&document)))
    };
    for code in forms {
        let beginning = format!("/{}-", code.to_lowercase());
        let case = cases.iter().find(|case| case.name.contains(&beginning)).expect("it has a case");
        assert_eq!(is_valid(case), Some(false), "{}", case.name);
    }
    // What is wrong with expressions, names and the graph is no matter of form.
    let is_fine =
        |text: &str| text.starts_with("E01") || text.starts_with("E02") || text == "W0506";
    let fine = cases.iter().filter(|case| case.found.iter().all(|it| is_fine(it.rule.code())));
    let taken =
        fine.inspect(|fine| assert_eq!(is_valid(fine), Some(true), "{}", fine.name)).count();
    assert!(5 < taken, "only {taken} cases");
}
