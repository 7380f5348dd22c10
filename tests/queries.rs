//! The list of events over HTTP: what is asked, what is answered, and what is wrong with a query.

use crate::support::{Engine, until};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
pipeline queries schema-version=1
server { listen "127.0.0.1:0" }
source http hook {
    path "/events"
    map { id "data.id"; type "data.type"; time "data.at"; subject "data.door" }
}
enrich set extra { set "double" "{{ data.n * 2 }}" }
sink sqlite journal { path "data/journal.db"; search; retention { keep "1000d" } }
notify file desk { path "data/desk.jsonl"; title "{{ event.id }}"; when "event.type == 'ring'" }
notify file log { path "data/log.jsonl"; title "{{ event.id }}"; cooldown "1h" }
"#;

/// Twenty events, a second apart.
fn started(folder: &tempfile::TempDir) -> Engine {
    let file = folder.path().join("p.kdl");
    std::fs::write(&file, PIPELINE).expect("it is written");
    let engine = Engine::start(&file, &folder.path().join("data"), &["--watch", "off"]);
    for n in 0..20 {
        let (kind, door) = (["ring", "motion"][n % 2], ["front", "back", "side"][n % 3]);
        let at = 1_767_225_600 + n;
        let body =
            json!({ "id": format!("e{n:02}"), "type": kind, "door": door, "n": n, "at": at });
        assert_eq!(engine.post(&body.to_string()).0, 202);
    }
    until("all are stored", || ids(&engine.get("/api/events")).len() == 20);
    engine
}

fn ids(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("a list");
    events.iter().map(|event| event["id"].as_str().expect("an id")).collect()
}

#[test]
fn a_list_is_narrowed_by_an_expression_ordered_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let page = engine.get("/api/events?where=data.n%20%3E%2016&type=ring&count=true");
    assert_eq!(ids(&page), ["e18"]);
    assert_eq!(page["count"], json!({ "events": 1, "is_exact": true }));
    let page = engine.get("/api/events?where=enrich.double%20%3D%3D%2014&order=asc");
    assert_eq!((ids(&page), &page["next"]), (vec!["e07"], &Value::Null));
    let mut found = Vec::new();
    let mut path = "/api/events?order=asc&subject=front&limit=3".to_owned();
    loop {
        let page = engine.get(&path);
        found.extend(ids(&page).iter().map(|it| (*it).to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/events?order=asc&subject=front&limit=3&cursor={next}");
    }
    assert_eq!(found, ["e00", "e03", "e06", "e09", "e12", "e15", "e18"]);
    let page = engine.get("/api/events?limit=1&count=true");
    assert_eq!((ids(&page), page["count"]["events"].as_u64()), (vec!["e19"], Some(20)));
}

#[test]
fn everything_that_is_wrong_with_a_query_is_said_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let detail = |query: &str| {
        let (status, body) = engine.ask("GET", &format!("/api/events?{query}"), b"");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        (status, body["detail"].as_str().expect("a detail").to_owned())
    };
    let (status, told) = detail("limit=0&order=up&since=yesterday&where=data.n%20%3E");
    assert_eq!(status, 400);
    for part in [
        "`limit` must be 1 to 1000",
        "`order` must be asc or desc",
        "`since` must be RFC 3339 or -1h",
        "`where`, character 8: ",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let (_, told) = detail("pigment=red");
    assert!(told.contains("the parameters are type, source"), "{told}");
    assert_eq!(detail("cursor=1.2.3").0, 400);
}

#[test]
fn counts_over_time_fill_their_gaps() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let series = engine.get("/api/series?by=type&bucket=1h&since=-3h");
    let times = series["times"].as_array().expect("times").len();
    assert!((4..=5).contains(&times), "{series}");
    for kind in ["ring", "motion"] {
        let line = series["series"][kind].as_array().expect("a line");
        let sum: u64 = line.iter().filter_map(Value::as_u64).sum();
        assert_eq!((line.len(), sum), (times, 10), "{series}");
    }
    let days = engine.get("/api/series?by=stage&bucket=1d");
    assert_eq!(days["times"].as_array().expect("times").len(), 31);
    for (by, name) in [("stage", "extra"), ("outcome", "stored")] {
        let series = engine.get(&format!("/api/series?by={by}&bucket=1m&since=-5m"));
        let counts = series["series"][name].as_array().expect("a line");
        assert_eq!(counts.iter().filter_map(Value::as_u64).sum::<u64>(), 20, "{series}");
        for percent in ["p50", "p95", "p99"] {
            let times = series["micros"][name][percent].as_array().expect("a line");
            for (time, count) in times.iter().zip(counts) {
                assert_eq!(time.is_null(), *count == 0, "{series}");
            }
        }
    }
    let stats = engine.get("/api/stats");
    assert!(stats["stages"][0]["p95_micros"].is_u64() && stats["duration"]["p50_micros"].is_u64());
    let (status, _) = engine.ask("GET", "/api/series?since=-9000h", b"");
    assert_eq!(status, 400, "too many buckets");
    for (bound, path) in [("since", "events"), ("until", "events"), ("since", "dead-letters")] {
        let path = format!("/api/{path}?{bound}=9999-12-31T23:59:59Z");
        assert_eq!(engine.ask("GET", &path, b"").0, 200, "{path}");
    }
}

#[test]
fn notifications_are_listed_with_what_became_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let list = |query: &str| engine.get(&format!("/api/notifications?{query}"));
    let count = |page: &Value| page["notifications"].as_array().expect("a list").len();
    until("all are settled", || count(&list("state=pending")) == 0);
    let page = list("state=suppressed&notifier=desk&limit=1000");
    assert_eq!((count(&page), &page["next"]), (10, &Value::Null));
    let first = &page["notifications"][0];
    assert_eq!(
        [&first["event_id"], &first["type"], &first["reason"], &first["attempts"]],
        [&json!("e19"), &json!("motion"), &json!("when"), &json!(0)]
    );
    let page = list("notifier=log&limit=5");
    assert_eq!((count(&page), page["next"].is_string()), (5, true));
    assert_eq!(page["notifications"][0]["reason"], "cooldown");
    assert_eq!(count(&list("state=done")), 11, "ten at the desk, and one before the cooldown");
    let (status, body) = engine.ask("GET", "/api/notifications?notifier=phone&state=lost", b"");
    let body = String::from_utf8(body).expect("text");
    assert_eq!(status, 400);
    for part in ["there are: desk, log", "`state` must be pending, held"] {
        assert!(body.contains(part), "{body}");
    }
}

#[test]
fn a_demo_is_shown_as_on_where_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    let demo = "source demo ticks { disabled; rate \"1/s\"; emit tick { data \"{}\" } }\n";
    std::fs::write(&file, format!("{PIPELINE}{demo}")).expect("it is written");
    for (more, off) in [(&["--demo"][..], Value::Null), (&[], json!("disabled"))] {
        let mut engine = Engine::start(&file, &folder.path().join("data"), more);
        let plan = engine.get("/api/pipeline");
        let sources = plan["sources"].as_array().expect("a list");
        let source = sources.iter().find(|source| source["name"] == "ticks").expect("it is there");
        assert_eq!(source["off"], off, "{source}");
        assert_eq!(engine.stop(), 0);
    }
}

#[test]
fn a_wrong_path_is_answered_by_those_that_there_are_also_without_sources() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    let text = "pipeline bare schema-version=1\nserver { listen \"127.0.0.1:0\" }\nsource timer ticks { every \"1h\"; type tick }\nsink sqlite db { path \"data/a.db\"; retention { keep \"1d\" } }\n";
    std::fs::write(&file, text).expect("it is written");
    let engine = Engine::start(&file, &folder.path().join("data"), &["--watch", "off"]);
    let (status, body) = engine.ask("GET", "/somewhere", b"");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let expected = "there is nothing at `/somewhere`; try the page at `/`, or `/api/…`";
    assert_eq!((status, &body["detail"]), (404, &json!(expected)));
}

/// A right value for a parameter.
fn sample(name: &str) -> &'static str {
    match name {
        "priority" => "high",
        "since" | "until" => "-1h",
        "where" => "data.n%20%3E%201",
        "order" => "asc",
        "count" => "true",
        "limit" => "3",
        "cursor" => "0.0",
        "before" => "9",
        "bucket" => "1h",
        "by" => "type",
        "notifier" => "desk",
        "state" => "done",
        "what" => "rejected",
        "days" | "replay" => "3",
        "generation" => "1",
        "id" => "e01",
        _ => "front",
    }
}

#[test]
fn what_the_description_lists_is_there_and_takes_its_parameters() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let description = engine.get("/openapi.json");
    assert_eq!(
        (&description["openapi"], &description["info"]["title"]),
        (&json!("3.1.0"), &json!("queries"))
    );
    let paths = description["paths"].as_object().expect("paths");
    assert!(
        paths.contains_key("/events") && paths["/events"]["post"]["responses"]["202"].is_object()
    );
    // Looking on at a stage needs a stage, and has a test of its own.
    assert_eq!(engine.ask("GET", "/api/tap", b"").0, 400);
    let reads = paths.iter().filter(|path| path.1["get"].is_object() && *path.0 != "/api/tap");
    for (path, operations) in reads {
        let get = &operations["get"];
        let parameters: Vec<&Value> = get["parameters"].as_array().into_iter().flatten().collect();
        let is_letter = path.starts_with("/api/dead-letters/");
        let id = if is_letter { "1" } else { sample("id") };
        let address = path.replace("{id}", id);
        // A stream has no end.
        let method = if path == "/api/stream" { "HEAD" } else { "GET" };
        let status = |query: &str| engine.ask(method, &format!("{address}{query}"), b"").0;
        let expected = if is_letter { 404 } else { 200 };
        assert_eq!(status(""), expected, "{path}");
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            // A cursor of this list has a name in it.
            let value = if path == "/api/notifications" && name == "cursor" {
                "9.desk"
            } else {
                sample(name)
            };
            let found = status(&format!("?{name}={value}"));
            // No event of this id is from there.
            let expected = if path.ends_with("/{id}") { 404 } else { expected };
            assert_eq!(found, expected, "{path}?{name}={value}");
        }
        if get["responses"]["400"].is_object() {
            assert_eq!(status("?colour=red"), 400, "{path} says what it does not know");
        }
    }
}

#[test]
fn what_a_request_has_too_much_is_refused_everywhere_but_where_probes_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    for path in [
        "/api/audit",
        "/api/reloads",
        "/api/pipeline",
        "/api/pipeline/graph",
        "/api/storage",
        "/api/figures",
        "/api/retention",
        "/api/dead-letters/1",
        "/openapi.json",
        "/api/stream",
        "/api/events",
    ] {
        let (status, body) = engine.ask("GET", &format!("{path}?colour=red"), b"");
        let body = String::from_utf8_lossy(&body);
        assert!(status == 400 && body.contains("`colour` is not a parameter"), "{path}: {body}");
    }
    for path in ["/api/events?limit=1", "/api/stream?replay=1", "/api/stats?days=7"] {
        let name = path.split(['?', '=']).nth(1).expect("a name");
        let (status, body) = engine.ask("GET", &format!("{path}&{name}=2"), b"");
        let body = String::from_utf8_lossy(&body);
        assert!(status == 400 && body.contains("is given twice"), "{path}: {body}");
    }
    for path in ["/metrics", "/healthz", "/readyz", "/"] {
        assert_eq!(
            engine.ask("GET", &format!("{path}?colour=red&colour=blue"), b"").0,
            200,
            "{path}"
        );
    }
    for body in [r#"{"name":"a","name":"b"}"#, "no"] {
        for path in ["/api/pause", "/api/resume", "/api/reload", "/api/dead-letters/redrive"] {
            assert_eq!(engine.ask("POST", path, body.as_bytes()).0, 400, "{path} {body}");
        }
    }
    assert_eq!(engine.ask("POST", "/api/reload", b"").0, 200);
}
