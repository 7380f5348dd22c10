//! What a new plan changes, by `engine diff`: one table, and the command's own texts.

use crate::support::engine;
use std::path::Path;
use tempfile::TempDir;

const FILE: &str = r#"
pipeline door schema-version=1 { timezone "UTC" }
server { listen "127.0.0.1:8600" }
policy lan { timeout "2s" }
source http bell { path "/rings" }
source file log { path "in/*.jsonl"; follow; type ring }
validate { schema "ring" file="ring.json" }
dedupe once { key "event.subject"; window "30s" }
enrich http weather { policy lan; get "http://127.0.0.1:8700/"; cache "5m"; breaker }
enrich lookup people { table "people.csv" key=id; match "data.person" }
metric rings counter { by who="data.person" }
sink sqlite db { path "door.db"; retention { keep "30d" } }
sink sse live { path "/live" }
sink file copy { path "copy.jsonl" }
notify webhook chat { url "http://127.0.0.1:8701/"; title "Someone rings" }
"#;

/// A folder with the file, its schema and its table.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("it writes");
    };
    write("old.kdl", FILE);
    write("ring.json", r#"{ "type": "object" }"#);
    write("people.csv", "id,name\na,Anna\n");
    folder
}

/// `engine diff old.kdl new.kdl` with `more`; the exit code and the output.
fn diff(folder: &Path, new: &str, more: &[&str]) -> (i32, String) {
    std::fs::write(folder.join("new.kdl"), new).expect("it writes");
    let file = |name: &str| folder.join(name).display().to_string();
    let (old, new) = (file("old.kdl"), file("new.kdl"));
    let mut arguments = vec!["diff", &old, &new];
    arguments.extend(more);
    let answer = engine(folder, &arguments, "");
    (answer.code, answer.output)
}

/// The first lines of each change, and what becomes of its state.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    let folder = folder();
    assert_eq!(FILE.matches(from).count(), 1, "{from:?} is there once");
    let (code, text) = diff(folder.path(), &FILE.replace(from, to), &[]);
    let is_wanted = |line: &&str| !line.starts_with("    -") && !line.starts_with("    +");
    let told: Vec<&str> = text.lines().filter(is_wanted).map(str::trim).collect();
    assert_eq!((code, told.join("; ").as_str()), (0, expected), "{from:?} → {to:?}:\n{text}");
}

#[test]
fn what_is_opened_is_replaced_and_what_is_read_at_each_event_is_changed() {
    check("timezone \"UTC\"", "timezone \"Europe/Rome\"", "changed pipeline");
    check("path \"in/*.jsonl\"", "path \"other/*.jsonl\"", "replaced source log; keeps position");
    check(
        "type ring }",
        "type ring; map { type \"'bell'\" } }",
        "changed source log; keeps position",
    );
    check("path \"/rings\"", "path \"/bells\"", "replaced source bell; keeps position");
    check("window \"30s\"", "window \"60s\"", "changed dedupe once; keeps keys");
    check(
        "key \"event.subject\"",
        "key \"event.subject\"; on-drop tag",
        "changed dedupe once; keeps keys",
    );
    check("{ by who=", "{ by whom=", "changed metric rings; loses counts");
    check("{ by who=", "{ description \"All\"; by who=", "changed metric rings; keeps counts");
    check("8700/\"", "8701/\"", "replaced enrich weather; loses cache, breaker, rate");
    check(
        "cache \"5m\"",
        "cache \"9m\"",
        "changed enrich weather; keeps breaker, rate; loses cache",
    );
    check(
        "policy lan { timeout \"2s\" }",
        "policy lan { timeout \"3s\" }",
        "changed enrich weather; keeps cache, breaker, rate",
    );
    check("keep \"30d\"", "keep \"60d\"", "changed sink db");
    check(
        "path \"/live\"",
        "path \"/live\"; replay 7",
        "replaced sink live; its clients connect again and resume",
    );
    check(
        "Someone rings",
        "Ding dong",
        "replaced notify chat; keeps deliveries, cooldown, breaker, rate",
    );
    check(
        "title \"Someone",
        "cooldown \"60s\"; title \"Someone",
        "changed notify chat; keeps deliveries, cooldown, breaker, rate",
    );
    check(
        "8701/\"",
        "8702/\"",
        "replaced notify chat; keeps deliveries, cooldown; loses breaker, rate",
    );
    check("127.0.0.1:8600", "127.0.0.1:8601", "replaced server");
}

#[test]
fn parts_come_and_go_by_name_and_what_is_disabled_does_not_run() {
    check("sink file copy { path \"copy.jsonl\" }", "", "closed sink copy");
    check("sink file copy {", "sink file copied {", "opened sink copied; closed sink copy");
    check("sink file copy {", "sink file copy { disabled;", "closed sink copy, off: disabled");
    check(
        "notify webhook chat {",
        "notify webhook chat { disabled;",
        "closed notify chat, off: disabled",
    );
    check("dedupe once {", "dedupe twice {", "opened dedupe twice; closed dedupe once");
    check(
        "source file log { path \"in/*.jsonl\"; follow; type ring }",
        "source stdin log",
        "replaced source log; loses position",
    );
    check(
        "\nsink file",
        "\nenrich set more { disabled; set \"a\" \"b\" }\nsink file",
        "added enrich more, off: disabled",
    );
}

#[test]
fn what_a_running_engine_cannot_change_needs_a_restart() {
    let restart = |what: &str| format!("changed sink db; needs a restart: {what}");
    check("door.db", "other.db", &restart("the store's name, path, batch or synchronous changes"));
    let folder = folder();
    let (_, text) = diff(folder.path(), &FILE.replace("pipeline door", "pipeline gate"), &[]);
    assert!(
        text.contains("needs a restart: the pipeline is renamed from `door` to `gate`"),
        "{text}"
    );
}

#[test]
fn moved_lines_and_comments_change_nothing() {
    let folder = folder();
    let moved = FILE.replace("enrich http", "// what the weather is like\n\n\nenrich   http");
    assert_eq!(
        diff(folder.path(), &moved, &["--detailed-exitcode"]),
        (0, "nothing changes\n".to_owned())
    );
}

#[test]
fn what_the_file_does_not_show_is_compared_too() {
    let folder = folder();
    let mut other = FILE.replace("ring.json", "bell.json").replace("people.csv", "guests.csv");
    std::fs::write(folder.path().join("bell.json"), r#"{ "type": "array" }"#).expect("it writes");
    std::fs::write(folder.path().join("guests.csv"), "id,name\nb,Ben\n").expect("it writes");
    let (_, text) = diff(folder.path(), &other, &[]);
    assert!(text.contains("changed validate") && text.contains("replaced enrich people"), "{text}");
    // The same content under another name is another word of the file all the same.
    other = FILE.replace("people.csv", "copy.csv");
    std::fs::copy(folder.path().join("people.csv"), folder.path().join("copy.csv"))
        .expect("it copies");
    let (_, text) = diff(folder.path(), &other, &[]);
    assert!(text.starts_with("changed enrich people\n"), "{text}");
}

#[test]
fn the_exit_code_may_tell_and_json_has_every_detail() {
    let folder = folder();
    let new = FILE.replace("\"Someone rings\"", "\"Ding dong\"");
    assert_eq!(diff(folder.path(), &new, &["--detailed-exitcode"]).0, 2);
    let (code, text) = diff(folder.path(), &new, &["--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let expected = serde_json::json!({
        "changes": [{
            "role": "notify", "name": "chat", "fate": "replaced", "off": null,
            "settings": [{
                "setting": "title", "old": "title \"Someone rings\"", "new": "title \"Ding dong\"",
            }],
            "changed_outside": false,
            "state": {
                "deliveries": "kept", "cooldown": "kept", "breaker": "kept", "rate": "kept",
            },
        }],
        "needs_restart": [],
    });
    assert_eq!((code, told), (0, expected));
    let broken = FILE.replace("window", "windw");
    assert_eq!(diff(folder.path(), &broken, &["--detailed-exitcode"]).0, 1);
    assert_eq!(diff(folder.path(), &broken, &[]).0, 1);
}
