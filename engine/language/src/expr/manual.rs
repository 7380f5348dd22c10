//! `docs/expressions.md` against the code: its examples, and that nothing is missing on it.

use super::{Expr, Root, Roots, Scope, Template, function, node};
use kernel::env::Random;
use kernel::event::Priority;
use kernel::time::Timestamp;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Fewer examples than this mean that the page is no longer read as it is written.
const EXAMPLES_MIN: usize = 90;

fn page() -> String {
    document("expressions.md")
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(path).expect("the page is there")
}

/// What stands in blocks that begin with this fence.
fn blocks<'p>(page: &'p str, fence: &str) -> Vec<&'p str> {
    let ends = page.split(fence).skip(1);
    ends.map(|it| it.split("```").next().expect("a block has an end")).collect()
}

/// Examples with their results: `EXPR  →  JSON` in text blocks, `` `EXPR` → `JSON` `` elsewhere.
fn examples(page: &str) -> Vec<(String, String)> {
    let lines = blocks(page, "```text\n").into_iter().flat_map(str::lines);
    let mut found: Vec<(String, String)> = lines
        .map(|line| line.split_once("  →  ").unwrap_or_else(|| panic!("no arrow: {line}")))
        .map(|(text, result)| (text.to_owned(), result.to_owned()))
        .collect();
    // In a table, a pipe stands behind a backslash.
    for line in page.lines().map(|line| line.replace(r"\|", "|")) {
        let ends: Vec<usize> = line.match_indices("` → `").map(|index| index.0).collect();
        for end in ends {
            let start = line[..end].rfind('`').expect("the expression is in backticks") + 1;
            let rest = &line[end + "` → `".len()..];
            let result = rest.split('`').next().expect("there is a first part");
            found.push((line[start..end].to_owned(), result.to_owned()));
        }
    }
    found
}

/// `text`, evaluated on the event that the page shows.
fn evaluated(text: &str, world: &Value) -> Value {
    let field = |name: &str| &world[name];
    let word = |name: &str| field(name).as_str().expect("a text");
    let moment = |name: &str| Timestamp::parse(word(name)).expect("a time");
    let mut event = kernel::testing::event(field("data").clone());
    event.envelope.id = word("id").into();
    event.envelope.kind = word("type").into();
    event.envelope.source = word("source").into();
    event.envelope.subject = word("subject").into();
    event.envelope.time = moment("time");
    event.envelope.received = moment("received");
    event.envelope.priority = Priority::parse(word("priority")).expect("a level");
    event.enrich = field("enrich").as_object().expect("a map").clone().into();
    let random = Random::seeded(7);
    let scope = Scope {
        raw: Some(world),
        param: Some(field("param")),
        server: Some(field("server")),
        pipeline: Some(field("pipeline")),
        http: Some(field("http")),
        file: Some(field("file")),
        item: Some(field("item")),
        body: Some(field("body")),
        status: field("status").as_u64().and_then(|number| u16::try_from(number).ok()),
        headers: Some(field("headers")),
        title: field("title").as_str(),
        message: field("message").as_str(),
        random: Some(&random),
        ..Scope::of(&event, Timestamp::parse("2026-01-01T10:00:00Z").expect("a time"))
    };
    // Every root at once; which place has which is the page's own table.
    let roots = Roots(Roots::RESPONSE.0 | Roots::MAP_ITEM.0 | Roots::DEMO.0 | Roots::NOTICE.0);
    if text.contains("{{") {
        let template =
            Template::parse(text, roots).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        template.value(&scope).to_json()
    } else {
        let expr = Expr::parse(text, roots).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        expr.eval(&scope).to_json()
    }
}

#[test]
fn every_example_of_the_page_has_the_result_beside_it() {
    let page = page();
    let world = blocks(&page, "```json\n")[0];
    let world: Value = serde_json::from_str(world).expect("the event is JSON");
    let examples = examples(&page);
    let mut wrong = Vec::new();
    for (text, expected) in &examples {
        let wanted: Value = serde_json::from_str(expected)
            .unwrap_or_else(|fault| panic!("the result of {text} is not JSON: {fault}"));
        let result = evaluated(text, &world);
        if result != wanted {
            wrong.push(format!("{text}  →  {result}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(EXAMPLES_MIN <= examples.len(), "{} examples", examples.len());
}

#[test]
fn every_function_root_and_field_is_on_the_page_with_an_example() {
    let page = page();
    let examples: Vec<String> = examples(&page).into_iter().map(|example| example.0).collect();
    let rows: Vec<String> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.replace(r"\|", "|"))
        .collect();
    for name in function::names(Roots(Roots::EVENT.0 | Roots::DEMO.0)) {
        let call = format!("{name}(");
        assert!(rows.iter().any(|row| row.starts_with(&format!("| `{call}"))), "no row: {name}");
        assert!(examples.iter().any(|example| example.contains(&call)), "no example: {name}");
    }
    let mentions = |name: &str| page.contains(&format!("`{name}`"));
    for (_, name) in Root::ALL {
        assert!(mentions(name), "the root `{name}` is missing");
    }
    for (name, _) in node::FIELDS {
        assert!(mentions(name) || mentions(&format!("event.{name}")), "`event.{name}` is missing");
    }
}

#[test]
fn the_guide_lists_every_function_and_root() {
    let guide = document("guide.md");
    let listed = |what: &str| {
        let row = guide.lines().find_map(|line| line.strip_prefix(&format!("| {what} | ")));
        let row = row.unwrap_or_else(|| panic!("no row of {what}"));
        let mut names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        names.sort_unstable();
        names
    };
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(listed("roots"), sorted(Root::ALL.iter().map(|it| it.1).collect()));
    let mut functions = [listed("functions"), listed("functions of lists")].concat();
    functions.sort_unstable();
    assert_eq!(functions, sorted(function::names(Roots(Roots::EVENT.0 | Roots::DEMO.0))));
}
