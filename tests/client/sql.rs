//! `engine sql`: beside a running engine, and without one.

use super::{Site, run};
use crate::support::Engine;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;

const RING: &str =
    r#"{"id":"r-1","type":"ring","door":"front door","time":"2026-01-01T09:50:04.318Z"}"#;

/// The query itself, on the store of the site.
fn sql(site: &Site, query: &str, more: &[&str]) -> crate::support::Answer {
    let fixed = ["sql", "pipelines/home.kdl", query, "--data", "data"];
    run(site.folder.path(), &[&fixed[..], more].concat(), "")
}

#[test]
fn a_query_is_answered_while_the_engine_runs_and_after_it() {
    let mut site = Site::start();
    site.post(RING);
    site.post(r#"{"id":"m-1","type":"a\u001b[2Jb","door":"x,y"}"#);
    let query =
        "SELECT type, subject, 1.5 AS n, NULL AS none, x'00ff' AS b FROM events ORDER BY id";
    let expected = "\
type         subject       n  none  b
a\\u{1b}[2Jb  x,y         1.5  NULL  x'00ff'
ring         front door  1.5  NULL  x'00ff'
";
    for is_running in [true, false] {
        let answer = sql(&site, query, &[]);
        let found = (answer.code, &*answer.output, &*answer.error);
        assert_eq!(found, (0, expected, ""), "running: {is_running}");
        let query = "SELECT subject, id, NULL FROM events ORDER BY id";
        let csv = sql(&site, query, &["--format", "csv"]).output;
        assert_eq!(csv, "subject,id,NULL\n\"x,y\",m-1,\nfront door,r-1,\n");
        let text = sql(&site, query, &["--format", "json"]).output;
        let answer: Value = serde_json::from_str(&text).expect("it is JSON");
        let rows = json!([["x,y", "m-1", null], ["front door", "r-1", null]]);
        let columns = json!(["subject", "id", "NULL"]);
        assert_eq!(answer, json!({ "columns": columns, "rows": rows, "is_cut": false }));
        if is_running {
            assert_eq!(site.engine.ask("GET", "/readyz", b"").0, 200);
            assert_eq!(site.engine.stop(), 0);
        }
    }
}

#[test]
fn what_was_answered_is_seen_at_once() {
    let site = Site::start();
    for count in 1..20 {
        site.post(&json!({ "id": format!("e-{count}"), "type": "ring" }).to_string());
        let answer = sql(&site, "SELECT count(*) AS n FROM events", &["--format", "csv"]);
        assert_eq!((&*answer.output, &*answer.error), (format!("n\n{count}\n").as_str(), ""));
    }
}

#[test]
fn a_query_changes_nothing() {
    let mut site = Site::start();
    site.post(RING);
    assert_eq!(site.engine.stop(), 0);
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(site.path("data"))
            .expect("a folder")
            .map(|dir| dir.expect("an entry"))
            .filter(|it| !it.file_name().to_string_lossy().ends_with("-shm"))
            .map(|it| (it.file_name(), it.metadata().expect("it is there").size()))
            .collect();
        files.sort();
        files
    };
    let (before, path) = (files(), site.path("data/home.db"));
    let bytes = std::fs::read(&path).expect("it is read");
    for query in ["DELETE FROM event_rows", "PRAGMA journal_mode = DELETE", "VACUUM", "BEGIN"] {
        let answer = sql(&site, query, &[]);
        let error = "engine: only SELECT is allowed, on this store alone\n";
        assert_eq!((answer.code, &*answer.output, &*answer.error), (2, "", error), "{query}");
    }
    assert_eq!(sql(&site, "SELECT 1", &[]).code, 0);
    let new: Vec<_> = files().into_iter().filter(|file| !before.contains(file)).collect();
    assert!(new.iter().all(|it| it.1 == 0), "{new:?}");
    assert_eq!(std::fs::read(&path).expect("it is read"), bytes);
    let again = Engine::start(&site.path("pipelines/home.kdl"), &site.path("data"), &[]);
    assert_eq!(again.get("/api/events/r-1")["state"], "stored");
}

#[test]
fn a_query_has_limits_and_says_what_is_wrong() {
    let site = Site::start();
    let says = |query: &str, more: &[&str], error: &str| {
        let answer = sql(&site, query, more);
        let found = (answer.code, &*answer.output, &*answer.error);
        assert_eq!(found, (2, "", format!("engine: {error}\n").as_str()), "{query}");
    };
    says("SELECT n FROM events", &[], "no such column: n, at character 8");
    says("SELECT 1; SELECT 2", &[], "write one statement");
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) ";
    let count = format!("{endless} SELECT count(*) FROM n");
    says(&count, &["--timeout", "100ms"], "the query takes longer than 100ms");
    let answer = sql(&site, &format!("{endless} SELECT i FROM n"), &["--limit", "2"]);
    assert_eq!((answer.code, &*answer.output), (0, "i\n1\n2\n"));
    assert_eq!(answer.error, "the first 2 rows; use --limit for more\n");
    let folder = site.folder.path();
    let run = |arguments: &[&str]| {
        let answer = run(folder, arguments, "");
        assert_eq!((answer.code, &*answer.output), (2, ""), "{arguments:?}");
        answer.error
    };
    let store = ["sql", "--store", "data/home.db", "SELECT 1", "SELECT 2"];
    assert_eq!(run(&store), "engine: give FILE or --store, not both\n");
    let error = "engine: give a pipeline file or --store PATH, and a query\n";
    assert_eq!(run(&["sql", "SELECT 1"]), error);
    let error = "engine: pipelines/home.kdl is not a store of an engine\n";
    let found = run(&["sql", "--store", "pipelines/home.kdl", "SELECT 1"]);
    assert!(found == error || found.ends_with(": file is not a database\n"), "{found}");
    let error = "engine: cannot read none.db: No such file or directory (os error 2)\n";
    assert_eq!(run(&["sql", "--store", "none.db", "SELECT 1"]), error);
    assert!(
        run(&["sql", "--store", "data/home.db", "SELECT 1", "--limit", "0"])
            .contains("1..=1000000")
    );
}
