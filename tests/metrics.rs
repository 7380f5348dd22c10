//! Metrics of the file's own: what is counted of which events, over reloads and restarts, and how
//! `/metrics` shows it.

use crate::support::world::World;
use crate::support::{Engine, until};
use engine::metrics::{MetricsForm, MetricsText, write_own};
use serde_json::json;

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
