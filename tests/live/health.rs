//! What the log, `/readyz`, `/metrics` and `/api/pipeline` say of a part that does not work, and
//! that they say it again when it does.

use super::{metric, pipeline, until};
use crate::support::{Engine, send};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;

const HEAD: &str = "pipeline small schema-version=1
server { listen \"127.0.0.1:0\" }
source http in { path \"/in\" }
sink sqlite db { path \"../data/small.db\"; retention { keep \"30d\" } }
sink sse live { path \"/live\" }
enrich set who { set who \"'somebody'\" }
";

/// A notifier that asks `url` again and again.
fn hook(url: &str) -> String {
    format!(
        "notify webhook hook {{ url \"{url}\"; retry 200 {{ backoff constant base=\"50ms\" jitter=none }} }}\n"
    )
}

/// An address that nobody listens on.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    format!("http://{}/x", listener.local_addr().expect("it is bound"))
}

fn start(text: &str) -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = pipeline(folder.path(), text);
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

/// The problem with this part and code at `/readyz`.
fn problem(engine: &Engine, part: &str, code: &str) -> Option<Value> {
    let ready = engine.get("/readyz");
    assert_eq!(ready["ready"], true, "it takes events: {ready}");
    let found = ready["degraded"].as_array().expect("a list").iter();
    let mut found = found.filter(|it| it["part"] == part && it["code"] == code).cloned();
    let problem = found.next();
    assert_eq!(ready["status"] == "ok", ready["degraded"] == Value::Array(Vec::new()));
    problem
}

fn metrics(engine: &Engine) -> String {
    let (_, metrics) = engine.ask("GET", "/metrics", b"");
    String::from_utf8(metrics).expect("it is text")
}

#[test]
fn a_target_that_fails_is_named_everywhere_and_again_when_it_works() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let (_folder, engine) = start(&format!("{HEAD}{}", hook(&format!("http://{address}/x"))));
    assert_eq!(metric(&engine, "engine_health{role=\"target\",name=\"hook\"}"), 0);
    assert_eq!(engine.ask("POST", "/in", b"{\"type\":\"x\"}").0, 202);
    let line = engine.wait_for("target hook is degraded");
    assert!(line.contains("WARN") && line.contains("deliveries are retried"), "{line}");
    let found = until("it is told", || problem(&engine, "target hook", "unreachable"));
    for (name, word) in [("role", "target"), ("name", "hook"), ("state", "degraded")] {
        assert_eq!(found[name], word, "{found}");
    }
    for name in ["reason", "advice", "since"] {
        assert_ne!(found[name].as_str(), Some(""), "{found}");
    }
    assert_eq!(metric(&engine, "engine_health{role=\"target\",name=\"hook\"}"), 1);
    let code = "engine_health_problems{role=\"target\",name=\"hook\",code=\"unreachable\"}";
    assert_eq!(metric(&engine, code), 1);
    let waiting = "engine_outbox_deliveries{sink=\"hook\",state=\"pending\"}";
    assert_eq!(metric(&engine, waiting), 1);
    let shown = engine.get("/api/pipeline");
    let health = &shown["notifiers"][0]["health"];
    assert_eq!(
        (&health["state"], &health["problems"][0]["code"]),
        (&"degraded".into(), &found["code"])
    );
    assert_eq!(shown["stages"][0]["health"]["state"], "ok");

    let listener = TcpListener::bind(address).expect("the port is free still");
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it is asked");
        let mut head = [0; 4096];
        let _ = std::io::Read::read(&mut client, &mut head).expect("a request");
        std::io::Write::write_all(&mut client, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .expect("it is written");
    });
    engine.wait_for("target hook recovered after");
    server.join().expect("the server ends well");
    assert_eq!(problem(&engine, "target hook", "unreachable"), None);
    assert_eq!(metric(&engine, "engine_health{role=\"target\",name=\"hook\"}"), 0);
    until("nothing waits", || (metric(&engine, waiting) == 0).then_some(()));
}

#[test]
fn deliveries_for_a_target_that_the_file_no_longer_has_are_told_until_it_is_back() {
    let with_hook = format!("{HEAD}{}", hook(&closed_port()));
    let (folder, engine) = start(&with_hook);
    for id in ["1", "2"] {
        let body = format!("{{\"type\":\"x\",\"id\":\"{id}\"}}");
        assert_eq!(engine.ask("POST", "/in", body.as_bytes()).0, 202);
    }
    pipeline(folder.path(), HEAD);
    let line = engine.wait_for("deliveries are parked");
    assert!(line.contains("target hook is degraded: 2 deliveries"), "{line}");
    assert!(line.contains("delivered once the file has it again"), "{line}");
    let found = problem(&engine, "target hook", "parked").expect("it is told");
    assert_eq!(found["state"], "degraded");
    let shown = engine.get("/api/pipeline");
    assert_eq!(
        (&shown["parked"][0]["sink"], &shown["parked"][0]["deliveries"]),
        (&"hook".into(), &2.into())
    );
    assert_eq!(metric(&engine, "engine_outbox_deliveries{sink=\"hook\",state=\"parked\"}"), 2);
    assert_eq!(metric(&engine, "engine_health{role=\"target\",name=\"hook\"}"), 1);
    pipeline(folder.path(), &with_hook);
    engine.wait_for("target hook recovered");
    until("they wait again", || {
        let waiting = metrics(&engine);
        waiting.contains("{sink=\"hook\",state=\"pending\"} 2").then_some(())
    });
    assert_eq!(problem(&engine, "target hook", "parked"), None);
    assert_eq!(engine.get("/api/pipeline")["parked"], Value::Array(Vec::new()));
}

#[test]
fn every_series_is_there_from_zero() {
    let (_folder, engine) = start(&format!("{HEAD}{}", hook(&closed_port())));
    let text = metrics(&engine);
    for sample in [
        "engine_health{role=\"store\",name=\"\"} 0",
        "engine_health{role=\"source\",name=\"in\"} 0",
        "engine_health{role=\"stage\",name=\"who\"} 0",
        "engine_health{role=\"target\",name=\"hook\"} 0",
        "engine_events_received_total{source=\"in\"} 0",
        "engine_events_total{outcome=\"dead\"} 0",
        "engine_stage_events_total{stage=\"who\",kind=\"set\",outcome=\"failed\"} 0",
        "engine_stage_retries_total{stage=\"who\"} 0",
        "engine_stage_duration_seconds_count{stage=\"who\"} 0",
        "engine_deliveries_total{sink=\"hook\",outcome=\"dead\"} 0",
        "engine_notifications_suppressed_total{sink=\"hook\",reason=\"cooldown\"} 0",
        "engine_outbox_deliveries{sink=\"hook\",state=\"pending\"} 0",
        "engine_outbox_oldest_seconds{sink=\"hook\",state=\"pending\"} 0",
        "engine_sse_clients{sink=\"live\"} 0",
        "engine_sse_events_total{sink=\"live\",outcome=\"gap\"} 0",
        "engine_config_reloads_total{result=\"refused\"} 0",
        "engine_store_errors_total{class=\"full\"} 0",
        "engine_pool_waiting{pool=\"outside\"} 0",
        "engine_pool_busy{pool=\"sockets\"} 0",
        "engine_config_stale 0",
    ] {
        assert!(text.lines().any(|line| line == sample), "no {sample} in:\n{text}");
    }
    for gauge in ["engine_store_readers_free", "process_open_fds"] {
        assert!(text.contains(&format!("\n{gauge} ")), "no {gauge} in:\n{text}");
    }
}

/// Each family is declared once, has only samples of its own, and none twice; counters end in
/// `_total`, buckets grow, and the end is marked.
fn assert_open_metrics(text: &str) {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let mut bucket = (String::new(), 0.0);
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            assert!(families.insert(family.clone()), "{family} is declared twice");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, word) = rest.split_once(' ').expect("a type");
            assert_eq!(name, family, "help and type belong together");
            kind = word.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a number");
        assert!(samples.insert(series.to_owned()), "{series} is there twice");
        let name = series.split('{').next().expect("a name");
        let suffix = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{name} in {family}"));
        match kind.as_str() {
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "counter" => assert!(suffix == "_total" && 0.0 <= value, "{line}"),
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            other => panic!("no such type: {other}"),
        }
        if suffix == "_bucket" {
            let (of, _) = series.split_once("le=").expect("each bucket has a bound");
            assert!(bucket.0 != of || bucket.1 <= value, "buckets add up: {line}");
            bucket = (of.to_owned(), value);
        }
    }
    assert!(
        families
            .iter()
            .all(|family| family.starts_with("engine_") || family.starts_with("process_"))
    );
}

#[test]
fn the_form_that_openmetrics_asks_for_is_kept() {
    let (_folder, engine) = start(&format!("{HEAD}{}", hook(&closed_port())));
    assert_eq!(engine.ask("POST", "/in", b"{\"type\":\"x\"}").0, 202);
    engine.wait_for("target hook is degraded");
    let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let answer = send(&engine.address, "GET", "/metrics", accept, b"");
    assert_eq!(answer.status, 200);
    assert_open_metrics(&answer.text());
}
