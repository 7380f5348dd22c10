//! Metrics of the file's own: what is counted of which events, over reloads and restarts, and how
//! `/metrics` shows it.

use crate::support::world::{Behaviour, World};
use crate::support::{Engine, root, until};
use engine::metrics::{MetricsForm, MetricsText, write_own};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

fn pipeline(metrics: &str) -> String {
    format!(
        r#"
pipeline figures schema-version=1
server {{ listen "127.0.0.1:0" }}
source http hook {{ path "/events"; map {{ id "data.id"; type "data.type" }} }}
filter good {{ keep when="event.type != 'noise'" }}
enrich set words {{ set "speed" "{{{{ data.seconds > 1 ? 'slow' : 'fast' }}}}" }}
{metrics}
sink sqlite journal {{ path "data/journal.db"; retention {{ keep "30d" }} }}
"#
    )
}

fn world(metrics: &str) -> World {
    let folder = tempfile::tempdir().expect("a folder");
    World::start(folder, &pipeline(metrics), 1).expect("it starts")
}

/// What `/metrics` has of the file's own metrics.
fn shown(world: &World) -> String {
    let mut text = MetricsText::new(MetricsForm::Prometheus);
    write_own(&mut text, &world.engine.generation().metrics);
    text.finish()
}

/// The lines that begin so, without that.
fn lines(world: &World, start: &str) -> Vec<String> {
    shown(world).lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect()
}

fn send(world: &World, id: u32, data: serde_json::Value) -> String {
    let mut data = data;
    data["id"] = id.to_string().into();
    let answer = world.post("hook", &data.to_string());
    world.simulation.settle();
    answer
}

#[test]
fn each_type_shows_what_was_stored() {
    let world = world(
        r#"
metric requests counter { when "event.type == 'request'"; by status="data.status" speed="enrich.speed"; description "Requests, \"slow\" and fast\nby \\status" }
metric bytes counter { value "data.bytes" }
metric warmth gauge { value "data.celsius" }
metric duration histogram { when "data.seconds != null"; value "data.seconds"; buckets 0.5 1 }
metric unused gauge { value "data.bytes"; disabled }
"#,
    );
    let request = |status, seconds: f64, bytes| json!({ "type": "request", "status": status, "seconds": seconds, "bytes": bytes });
    assert_eq!(send(&world, 1, request(json!(200), 0.5, json!(1000))), "accepted");
    assert_eq!(send(&world, 2, request(json!(200), 0.75, json!(-5))), "accepted");
    assert_eq!(send(&world, 3, request(json!("a\"b\\c\nd"), 3.0, json!("many"))), "accepted");
    assert_eq!(send(&world, 3, request(json!("a\"b\\c\nd"), 3.0, json!("many"))), "duplicate");
    assert_eq!(send(&world, 4, json!({ "type": "noise", "bytes": 7 })), "discarded");
    assert_eq!(send(&world, 5, json!({ "type": "reading", "celsius": 7, "bytes": 2 })), "accepted");
    assert_eq!(send(&world, 6, json!({ "type": "reading", "celsius": -3.5 })), "accepted");
    let expected = r#"# HELP pipeline_requests_total Requests, "slow" and fast\nby \\status
# TYPE pipeline_requests_total counter
pipeline_requests_total{status="200",speed="fast"} 2
pipeline_requests_total{status="a\"b\\c\nd",speed="slow"} 1
# HELP pipeline_bytes_total The counter `bytes`
# TYPE pipeline_bytes_total counter
pipeline_bytes_total 1002
# HELP pipeline_warmth The gauge `warmth`
# TYPE pipeline_warmth gauge
pipeline_warmth -3.5
# HELP pipeline_duration The histogram `duration`
# TYPE pipeline_duration histogram
pipeline_duration_bucket{le="0.5"} 1
pipeline_duration_bucket{le="1"} 2
pipeline_duration_bucket{le="+Inf"} 3
pipeline_duration_sum 4.25
pipeline_duration_count 3
# HELP engine_metric_series Series of a metric of the file
# TYPE engine_metric_series gauge
engine_metric_series{metric="requests"} 2
engine_metric_series{metric="bytes"} 1
engine_metric_series{metric="warmth"} 1
engine_metric_series{metric="duration"} 1
# HELP engine_metric_overflow_total Events counted as `other` beyond `max-series`
# TYPE engine_metric_overflow_total counter
engine_metric_overflow_total{metric="requests"} 0
engine_metric_overflow_total{metric="bytes"} 0
engine_metric_overflow_total{metric="warmth"} 0
engine_metric_overflow_total{metric="duration"} 0
# HELP engine_metric_skipped_total Events whose value is not a number, or is negative for a counter
# TYPE engine_metric_skipped_total counter
engine_metric_skipped_total{metric="requests"} 0
engine_metric_skipped_total{metric="bytes"} 3
engine_metric_skipped_total{metric="warmth"} 3
engine_metric_skipped_total{metric="duration"} 0
"#;
    assert_eq!(shown(&world), expected);
    world.close();
}

#[test]
fn series_beyond_the_most_are_one() {
    let world = world(
        r#"
metric hits counter { by path="data.path"; max-series 2 }
metric size histogram { value "data.size"; by path="data.path"; buckets 10; max-series 1 }
"#,
    );
    let long = "ü".repeat(200);
    for (id, path) in (1..).zip(["/a", "/b", "/c", "/d", "/a", &long]) {
        send(&world, id, json!({ "type": "hit", "path": path, "size": id }));
    }
    let hits = ["{path=\"/a\"} 2", "{path=\"/b\"} 1", "{other=\"true\"} 3"];
    assert_eq!(lines(&world, "pipeline_hits_total"), hits);
    assert_eq!(lines(&world, "pipeline_size_count"), ["{path=\"/a\"} 2", "{other=\"true\"} 4"]);
    assert_eq!(lines(&world, "pipeline_size_sum"), ["{path=\"/a\"} 6", "{other=\"true\"} 15"]);
    assert_eq!(lines(&world, "engine_metric_overflow_total{metric=\"hits\"}"), [" 3"]);
    assert_eq!(lines(&world, "engine_metric_series{metric=\"size\"}"), [" 1"]);
    world.close();
}

#[test]
fn a_long_label_is_cut_between_letters_and_null_is_empty() {
    let world = world("metric hits counter { by path=\"data.path\" at=\"data.at\" }");
    send(&world, 1, json!({ "type": "hit", "path": format!("x{}", "ü".repeat(200)), "at": [1] }));
    send(&world, 2, json!({ "type": "hit", "at": true }));
    let cut = format!("x{}", "ü".repeat(63));
    let expected =
        ["{path=\"\",at=\"true\"} 1".to_owned(), format!("{{path=\"{cut}\",at=\"[1]\"}} 1")];
    assert_eq!(lines(&world, "pipeline_hits_total"), expected);
    world.close();
}

#[test]
fn a_reload_counts_on_what_counts_the_same() {
    let world = world("metric hits counter { }\nmetric sizes counter { value \"data.size\" }");
    let hit = || json!({ "type": "hit", "size": 4, "weight": 10 });
    assert_eq!(lines(&world, "pipeline_hits_total"), [" 0"]);
    send(&world, 1, hit());
    let changed = "metric sizes counter { value \"data.weight\" }\n\
         metric hits counter { description \"Hits\" }\nmetric others counter { }";
    world.reload(&pipeline(changed));
    let last = world.last_reload();
    assert!(last.starts_with("loaded generation 2"), "{last}");
    send(&world, 2, hit());
    assert_eq!(lines(&world, "pipeline_hits_total"), [" 2"]);
    assert_eq!(lines(&world, "pipeline_sizes_total"), [" 10"]);
    assert_eq!(lines(&world, "pipeline_others_total"), [" 1"]);
    world.reload(&pipeline(""));
    assert_eq!(shown(&world), "");
    world.reload(&pipeline("metric hits counter { }"));
    assert_eq!(lines(&world, "pipeline_hits_total"), [" 0"]);
    world.close();
}

#[test]
fn a_restart_counts_from_zero() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    std::fs::write(&file, pipeline("metric hits counter { }")).expect("it is written");
    let data = folder.path().join("data");
    let hits = |engine: &Engine| {
        let (status, body) = engine.ask("GET", "/metrics", b"");
        assert_eq!(status, 200);
        let text = String::from_utf8(body).expect("it is text");
        let line = text.lines().find_map(|line| line.strip_prefix("pipeline_hits_total "));
        line.expect("it is there").to_owned()
    };
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    assert_eq!(engine.post(r#"{"id":"1","type":"hit"}"#).0, 202);
    until("it is counted", || hits(&engine) == "1");
    assert_eq!(engine.stop(), 0);
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    assert_eq!(hits(&engine), "0");
    assert_eq!(engine.post(r#"{"id":"1","type":"hit"}"#).0, 200);
    assert_eq!(hits(&engine), "0");
    assert_eq!(engine.stop(), 0);
}

/// A stage of each sort that counts, and a notifier for each reason for which nothing is sent, or
/// something that no route sends.
const EVERYTHING: &str = r#"
pipeline figures schema-version=1
server { listen "127.0.0.1:0" }
source http hook {
    path "/events"
    map { id "data.id"; type "data.type"; subject "data.door"; time "get(data, 'at')" }
}
validate {
    rule "*" check="(data.n ?? 0) < 100" message="too large"
    on-invalid dead-letter
}
dedupe once { key "data.nonce"; window "1h"; max-keys 1; when "data.nonce != null" }
window busy {
    when "data.nonce != null"
    key "event.type"
    tumbling "1m"
    aggregate n="count()"
    emit summary
}
enrich http sky {
    get "http://sky.example/"
    when "event.type == 'look'"
    retry 1 { backoff constant base="1s" jitter=none }
    breaker { trip after=2 }
}
metric hits counter { by type="event.type"; max-series 1 }
metric sizes counter { value "data.size" }
sink sqlite db { path "data/journal.db"; retention { keep "2h" } }
sink sse live { path "/live" }
notify webhook cooled { url "http://a.example/"; body "x"; cooldown "1h" }
notify webhook full { url "http://down.example/"; body "x"; backlog 1 on-full=drop-oldest }
notify webhook chosen { url "http://a.example/"; body "x"; when "event.type == 'other'" }
notify webhook quiet { url "http://a.example/"; body "x"; quiet-hours "00:00-06:00" zone="UTC" then=drop }
notify webhook few { url "http://a.example/"; body "x"; rate "1/h" burst=1 excess=drop }
notify webhook muted { url "http://a.example/"; body "x"; mute when="event.type == 'fire'" for="1h" }
notify webhook spared { url "http://a.example/"; body "x"; unless within="1h" type="fire" }
notify webhook changed { url "http://down.example/"; body "x"; update key="event.subject" }
notify webhook alarm {
    url "http://a.example/"
    body "x"
    repeat "10m" key="event.subject" max=1 until="event.type == 'seen'"
    escalate after="20m" to=boss until="event.type == 'seen'"
}
notify webhook cleared {
    url "http://a.example/"
    body "x"
    recover when="event.type == 'seen'" key="event.subject"
}
notify webhook unheard {
    url "http://a.example/"
    body "x"
    quiet-hours "00:00-06:00" zone="UTC" then=delay
    recover when="event.type == 'seen'" key="event.subject"
}
notify webhook broken { url "http://wrong.example/"; body "x"; fallback boss }
notify webhook boss { url "http://a.example/"; body "x"; when "event.type == 'never'" }
"#;

/// Figures that may stay as they are in the run below, and why.
const STILL: &[(&str, &str)] = &[
    ("engine_auth_failures_total", "`live::door` shows wrong tokens"),
    ("engine_build_info", "it says the version"),
    ("engine_http_connections_total", "`live::door` connects"),
    ("engine_http_held_bytes", "`http::places` counts what connections hold"),
    ("engine_http_open_connections", "`live::door` connects"),
    ("engine_http_queries_waiting", "`http::app` lets queries wait"),
    ("engine_http_refused_total", "`live::browsers` sends what is refused"),
    ("engine_http_requests_total", "`live::door` connects"),
    ("engine_notification_messages_forgotten_total", "`messages` of the store forgets some"),
    ("engine_pool_busy", "one thread does everything here"),
    ("engine_pool_limit", "it is a setting"),
    ("engine_pool_waiting", "one thread does everything here"),
    ("engine_queue_capacity", "it is a setting"),
    ("engine_stage_taps_skipped_total", "`run::tap` is too slow for some"),
    ("engine_store_damaged_rows", "`damage` of the store damages some"),
    ("engine_store_disk_free_bytes", "the disk is not ours"),
    ("engine_store_errors_total", "`trouble` of the store makes some"),
    ("engine_store_readers", "it is a setting"),
    ("engine_store_readers_free", "one thread does everything here"),
];

/// What is counted by a reason; how often, it says by itself.
const BY_REASON: &[(&str, &str, &str, u64)] = &[
    ("suppressed", "boss", "until", 1),
    ("suppressed", "changed", "update", 6),
    ("suppressed", "chosen", "when", 8),
    ("suppressed", "cooled", "cooldown", 6),
    ("suppressed", "few", "rate", 6),
    ("suppressed", "full", "backlog", 7),
    ("suppressed", "muted", "mute", 2),
    ("suppressed", "quiet", "quiet-hours", 8),
    ("suppressed", "spared", "unless", 2),
    ("suppressed", "unheard", "recover", 7),
    ("relayed", "alarm", "repeat", 3),
    ("relayed", "boss", "escalate", 4),
    ("relayed", "boss", "fallback", 4),
    ("relayed", "cleared", "recover", 1),
    ("relayed", "unheard", "recover", 1),
];

/// Samples by family; those of a histogram are of one.
type Families = BTreeMap<String, Vec<String>>;

/// What `/metrics` says after a look of the store at itself.
fn families(world: &World) -> Families {
    let engine = world.engine.clone();
    world.simulation.complete(async move { engine.store.tick().await }).expect("at once");
    let (mut all, mut family) = (Families::new(), String::new());
    for line in world.metrics().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().expect("a name").to_owned();
            assert!(!all.contains_key(&family), "{family} is there once");
            all.insert(family.clone(), Vec::new());
        } else if !line.starts_with('#') {
            all.get_mut(&family).expect("a family").push(line.to_owned());
        }
    }
    all
}

/// What happens in the run, with a look at every figure after each part of it.
fn looks() -> Vec<Families> {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start_durable(folder, EVERYTHING);
    let mut looks = vec![families(&world)];
    for (host, status) in [("a", 200), ("down", 503), ("wrong", 400), ("sky", 503)] {
        let behaviour = Behaviour::Status(status, Duration::from_millis(20));
        world.outside.behave(&format!("{host}.example"), behaviour);
    }
    world.connect("/live", None, "a browser");
    world.connect("/api/tap?stage=sky", None, "somebody");
    let event = |id: u32, kind: &str, more: &str| {
        let body = format!(r#"{{"id":"{id}","type":"{kind}","door":"front"{more}}}"#);
        let answer = world.post("hook", &body);
        world.simulation.advance(Duration::from_secs(1));
        answer
    };
    assert_eq!(event(1, "ring", r#","nonce":1,"size":"many""#), "accepted");
    assert_eq!(event(1, "ring", r#","nonce":1,"size":"many""#), "duplicate");
    assert_eq!(event(2, "ring", r#","nonce":1"#), "discarded");
    assert_eq!(event(3, "ring", r#","nonce":2,"size":7"#), "accepted");
    assert_eq!(event(4, "ring", r#","n":200"#), "rejected");
    world.simulation.advance(Duration::from_secs(3600));
    event(5, "look", "");
    looks.push(families(&world));
    event(6, "look", "");
    event(7, "fire", "");
    event(8, "ring", "");
    world.simulation.advance(Duration::from_secs(60));
    event(9, "seen", "");
    world.simulation.advance(Duration::from_secs(600));
    looks.push(families(&world));
    // From here on nothing is counted by a reason any more.
    event(10, "ring", r#","nonce":3,"at":"2026-01-01T00:00:03Z""#);
    let (status, body) =
        world.request("POST /api/dead-letters/redrive HTTP/1.1", r#"{"all":true}"#);
    assert_eq!(status, 200, "{body}");
    let (status, body) = world.request("POST /api/pause HTTP/1.1", r#"{"name":"cooled"}"#);
    assert_eq!(status, 200, "{body}");
    world.reload(&EVERYTHING.replace("too large", "too much"));
    world.reload("pipeline broken");
    world.simulation.advance(Duration::from_secs(3 * 3600));
    let engine = world.engine.clone();
    world.simulation.complete(async move { engine.store.sweep().await }).expect("at once");
    looks.push(families(&world));
    world.close();
    looks
}

#[test]
fn every_figure_moves_when_what_it_counts_happens() {
    let looks = looks();
    let (first, last) = (&looks[0], &looks[looks.len() - 1]);
    let is_still = |family: &str| looks.iter().all(|look| look.get(family) == first.get(family));
    let ours = last.keys().filter(|family| !family.starts_with("process_"));
    let still: Vec<&String> = ours.filter(|family| is_still(family)).collect();
    let is_known = |family: &str| STILL.iter().any(|known| known.0 == family);
    let unknown: Vec<_> = still.iter().filter(|family| !is_known(family)).collect();
    assert!(unknown.is_empty(), "nothing moves these: {unknown:?}");
    let gone: Vec<_> = STILL.iter().filter(|known| !last.contains_key(known.0)).collect();
    assert!(gone.is_empty(), "these are not there: {gone:?}");
    let by_reason = &looks[2];
    for (what, sink, reason, count) in BY_REASON {
        let family = format!("engine_notifications_{what}_total");
        let line = format!("{family}{{sink=\"{sink}\",reason=\"{reason}\"}} {count}");
        assert!(by_reason[&family].contains(&line), "{line} in {:#?}", by_reason[&family]);
        assert!(!first[&family].contains(&line), "{line} from the beginning");
    }
    let guide = std::fs::read_to_string(root().join("docs/guide.md")).expect("it reads");
    let words = guide.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let named: Vec<&str> = words.filter(|word| word.starts_with("engine_")).collect();
    assert!(10 < named.len(), "the guide names some: {named:?}");
    let is_shown = |word: &str| last.keys().any(|family| word == family);
    let missing: Vec<_> = named.iter().filter(|word| !is_shown(word)).collect();
    assert!(missing.is_empty(), "the guide names {missing:?}");
}
