//! `engine eval`: an expression or template on an event, as the terminal shows it.

use crate::support::{Answer, engine, root};

const EVENT: &str = r#"{"seq": 41, "pos": 43, "id": "e-1", "type": "DOORBELL_PRESSED",
    "source": "gpio", "subject": "front_door", "time": "2026-01-01T09:50:04.318Z",
    "received": "2026-01-01T09:50:04.402Z", "priority": "high", "correlation_id": null,
    "parent_id": null, "pipeline": "doorbell", "generation": 3,
    "data": {"channel": 18, "tags": ["a", "b"]}, "enrich": {"meta": {"age": 1.5}}}"#;

fn eval(arguments: &[&str], input: &str) -> Answer {
    engine(&root(), &[&["eval"], arguments].concat(), input)
}

#[track_caller]
fn check(arguments: &[&str], expected: &str) {
    let answer = eval(arguments, EVENT);
    let found = (answer.code, answer.output.as_str(), answer.error.as_str());
    assert_eq!(found, (0, format!("{expected}\n").as_str(), ""));
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, error: &str) {
    let answer = eval(arguments, "");
    assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (code, "", error));
}

#[test]
fn an_expression_prints_its_value_as_json() {
    check(&["1 + 2"], "3");
    check(&["-1"], "-1");
    check(&["'a' + 'b'"], r#""ab""#);
    check(&["{'a': [1, 2.5, null]}"], r#"{"a":[1,2.5,null]}"#);
    check(&["data.x ?? 'none'"], r#""none""#);
    check(&["event.type"], "null");
}

#[test]
fn an_event_is_read_as_the_engine_shows_it() {
    check(&["event.type", "--event", EVENT], r#""DOORBELL_PRESSED""#);
    check(&["event.time", "--event", EVENT], r#""2026-01-01T09:50:04.318Z""#);
    check(&["event.priority >= 'high'", "--event", EVENT], "true");
    check(&["data.tags[1]", "--event", EVENT], r#""b""#);
    check(&["enrich.meta.age * 2", "--event", EVENT], "3.0");
    check(&["[event.seq, event.generation]", "--event", EVENT], "[41,3]");
    check(&["event.parent_id", "--event", EVENT], "null");
    check(&["pipeline.name", "--event", EVENT], r#""doorbell""#);
    check(&["[event.id, event.priority]", "--event", r#"{"data": 1}"#], r#"["","normal"]"#);
    check(&["now() - event.time < duration('1m')", "--event", r#"{"data": 1}"#], "true");
}

#[test]
fn anything_else_is_its_data() {
    check(&["data.channel", "--event", r#"{"channel": 18}"#], "18");
    check(&["raw.channel", "--event", r#"{"channel": 18}"#], "18");
    check(&["data.data.x", "--event", r#"{"event_type": "A", "data": {"x": 1}}"#], "1");
    check(&["data", "--event", "[1]"], "[1]");
}

#[test]
fn an_event_comes_from_a_file_or_standard_input() {
    check(&["data.event_type", "--event", "@tests/samples/good-1.json"], r#""DOORBELL_PRESSED""#);
    check(&["data.channel", "--event", "@-"], "18");
}

#[test]
fn a_template_prints_its_text() {
    let template = "{{ event.subject | humanize }}, {{ event.time | time('HH:mm') }}";
    check(&["--template", template, "--event", EVENT], r#""front door, 09:50""#);
    check(&["--template", "{{ data.tags }}", "--event", EVENT], r#"["a","b"]"#);
    check(&["--template", "1 + 2"], r#""1 + 2""#);
}

#[test]
fn a_mistake_is_shown_at_its_place() {
    let error = "E0102

  × there is no function `lenn`
   ╭─[<expression>:1:1]
 1 │ lenn(data.tags) > 1
   · ──┬─
   ·   ╰── unknown
   ╰────
  help: did you mean `len`?

";
    refused(&["lenn(data.tags) > 1"], 1, error);
    let error = "E0103

  × `'hihg'` is not a priority
   ╭─[<expression>:1:19]
 1 │ event.priority == 'hihg'
   ·                   ───┬──
   ·                      ╰── never equal
   ╰────
  help: did you mean `'high'`? low normal high critical

";
    refused(&["event.priority == 'hihg'"], 1, error);
    let error = "E0106

  × `{{` is never closed
   ╭─[<template>:1:3]
 1 │ a {{ data.x
   ·   ─┬
   ·    ╰── here
   ╰────
  help: put `}}` after the expression

";
    refused(&["--template", "a {{ data.x"], 1, error);
}

#[test]
fn what_is_no_event_is_refused_with_a_reason() {
    let refused = |event: &str, reason: &str| {
        refused(&["1", "--event", event], 2, &format!("engine: {reason}\n"));
    };
    refused("{", "the event is not JSON: EOF while parsing an object at line 1 column 1");
    refused("@none.json", "cannot read none.json: No such file or directory (os error 2)");
    refused(
        r#"{"data": 1, "time": "now"}"#,
        "`time` of the event must be a time such as 2026-01-01T09:50:04Z",
    );
    refused(
        r#"{"data": 1, "priority": "urgent"}"#,
        "`priority` of the event must be one of low, normal, high, critical",
    );
    refused(r#"{"data": 1, "seq": -1}"#, "`seq` of the event must be a whole number");
    refused(r#"{"data": 1, "id": 7}"#, "`id` of the event must be text");
    refused(r#"{"data": 1, "enrich": []}"#, "`enrich` of the event must be an object");
}
