//! The time zone of a pipeline: an expression has the same value in every place of a file.

use crate::support::world::World;
use serde_json::{Value, json};
use std::time::Duration;

/// Shows a time that names its offset, and reads one that does not.
const SHOWN: &str = "date(data.at, 'yyyy-MM-dd HH:mm') + ' ' + text(number(time(data.local)))";

/// It is tomorrow already in Berlin, and ten o'clock there is nine in UTC.
const EXPECTED: &str = "2025-12-06 00:30 1764925200";

/// As it is where no blanks or colons can be.
const SLUG: &str = "2025-12-06-00-30-1764925200";

const MESSAGE: &str = r#"{ "type": "ring", "at": "2025-12-05T23:30:00Z", "local": "2025-12-05T10:00:00", "items": [1] }"#;

/// `SHOWN` stands for the expression, and `RIGHT` for whether it has the expected value.
const PIPELINE: &str = r#"
pipeline zones schema-version=1 { timezone "Europe/Berlin" }
server { listen "127.0.0.1:0" }
source http hook {
    path "/hook"
    map {
        type "data.type"
        id "SHOWN"
        source "SHOWN"
        subject "SHOWN"
        correlation-id "SHOWN"
        parent-id "SHOWN"
        time "data.local"
        priority "RIGHT ? 'high' : 'low'"
        data "{ 'at': data.at, 'local': data.local, 'mapped': SHOWN }"
    }
    respond 200 {
        body "{ \"answer\": {{ SHOWN | json }} }"
        content-type "application/json"
    }
}
source http lists {
    path "/lists"
    map {
        each "RIGHT ? data.items : []"
        type "'item'"
        subject "SHOWN"
        data "{ 'at': data.at, 'local': data.local }"
    }
}
validate { rule "*" check="RIGHT" message="another zone" }
filter kept { when "event.type in ['ring', 'item']"; keep when="RIGHT" }
lifecycle visit {
    when "event.type == 'ring'"
    key "SHOWN"
    start when="RIGHT"
    end when="!(RIGHT)"
    idle "1m"
}
watch quiet {
    when "event.type == 'ring'"
    key "SHOWN"
    hold "RIGHT" for="1m"
    emit still-quiet
}
join pair {
    when "event.type == 'ring'"
    key "SHOWN"
    first "RIGHT"
    then "!(RIGHT)" within="1m"
    emit paired missed=alone
}
window sums {
    when "event.type == 'ring'"
    key "SHOWN"
    tumbling "1m"
    aggregate shown="first(SHOWN)" at="first(data.at)" local="first(data.local)"
    having "date(at, 'yyyy-MM-dd HH:mm') + ' ' + text(number(time(local))) == 'EXPECTED'"
    emit summed
}
enrich previous before { when "event.type == 'ring'"; key "SHOWN"; type ring }
enrich set words { set "shown" "{{ SHOWN }}" }
enrich lookup places {
    table "places.csv" key=shown
    match "SHOWN"
}
enrich http outside {
    when "event.type == 'ring' && RIGHT"
    get "http://asked/{{ SHOWN | slug }}"
    select "SHOWN"
}
priority default=normal { case critical when="RIGHT" }
route main {
    case right when="RIGHT" { to db live lines told }
    otherwise { to db }
}
metric rings counter { when "event.type == 'ring'"; by shown="SHOWN" }
sink sqlite db { path "journal.db"; retention { keep "9999d" } }
sink file lines { when "RIGHT"; path "lines-{{ SHOWN | slug }}.jsonl" }
sink sse live { path "/live" }
notify webhook told {
    when "event.type == 'ring'"
    url "http://told/"
    title "{{ SHOWN }}"
    message "{{ SHOWN }}"
    body "[{{ title }}][{{ message }}][{{ SHOWN }}]"
    cooldown "1m" key="SHOWN" except="!(RIGHT)"
}
"#;

/// A file with the expression in every place, and the events that it knows of.
fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let table = format!("shown,place\n{EXPECTED},home\n");
    std::fs::write(folder.path().join("places.csv"), table).expect("it writes");
    let text = PIPELINE
        .replace("RIGHT", &format!("SHOWN == '{EXPECTED}'"))
        .replace("SHOWN", SHOWN)
        .replace("EXPECTED", EXPECTED);
    World::start_durable(folder, &text)
}

/// The only event of a type, as the API shows it.
fn event(world: &World, kind: &str) -> Value {
    let (status, found) = world.request(&format!("GET /api/events?type={kind} HTTP/1.1"), "");
    assert_eq!(status, 200, "{found}");
    let events = found["events"].as_array().expect("a list");
    assert_eq!(events.len(), 1, "{kind}: {found}");
    let id = language::expr::percent_encoded(events[0]["id"].as_str().expect("a text"));
    world.request(&format!("GET /api/events/{id} HTTP/1.1"), "").1
}

#[test]
fn an_expression_has_one_value_in_every_place_of_a_file() {
    let world = world();
    world.connect(&format!("/live?where={}", encoded()), None, "live");
    let (status, answer) = world.request("POST /hook HTTP/1.1", MESSAGE);
    assert_eq!(status, 200, "{answer}");
    let (status, items) = world.request("POST /lists HTTP/1.1", MESSAGE);
    assert_eq!(status, 202, "{items}");
    world.simulation.advance(Duration::from_secs(180));
    let ring = event(&world, "ring");
    let calls = world.outside.calls.lock().expect("no panic").clone();
    let call = |host: &str| {
        let of_host: Vec<_> = calls.iter().filter(|call| call.url.contains(host)).collect();
        assert_eq!(of_host.len(), 1, "{calls:?}");
        of_host[0].clone()
    };
    let query = format!("GET /api/events?type=ring&where={} HTTP/1.1", encoded());
    let found = world.request(&query, "").1;
    let mut values = vec![
        ("respond", answer["answer"].clone()),
        ("set", ring["enrich"]["shown"].clone()),
        ("selection", ring["enrich"]["outside"].clone()),
        ("aggregate", event(&world, "summed")["data"]["shown"].clone()),
        ("where of the API", found["events"][0]["correlation_id"].clone()),
    ];
    for part in ["id", "source", "subject", "correlation_id", "parent_id"] {
        values.push((part, ring[part].clone()));
    }
    values.push(("data", ring["data"]["mapped"].clone()));
    for kind in ["item", "visit.end", "still-quiet", "alone", "summed"] {
        values.push((kind, event(&world, kind)["subject"].clone()));
    }
    for (place, value) in values {
        assert_eq!(value, json!(EXPECTED), "{place}");
    }
    assert_eq!(ring["time"], "2025-12-05T09:00:00.000Z");
    assert_eq!(ring["priority"], "critical");
    assert_eq!(ring["enrich"]["places"]["place"], "home");
    assert_eq!(call("//asked").url, format!("http://asked/{SLUG}"));
    assert_eq!(call("//told").body, format!("[{EXPECTED}]").repeat(3));
    assert!(world.folder.path().join(format!("lines-{SLUG}.jsonl")).exists());
    let metrics = world.metrics();
    let counted = format!("pipeline_rings_total{{shown=\"{EXPECTED}\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");
    let journal = world.journal.take().join("\n");
    assert!(journal.contains("live gets ring"), "{journal}");
}

/// The condition in a query.
fn encoded() -> String {
    language::expr::percent_encoded(&format!("{SHOWN} == '{EXPECTED}'"))
}

#[test]
fn a_time_that_map_cannot_read_is_refused_with_what_to_write() {
    let read = |time: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let text = r#"
pipeline times schema-version=1 { timezone "Europe/Berlin" }
server { listen "127.0.0.1:0" }
source http hook { path "/hook"; type ring; map { time "TIME" } }
sink sqlite db { path "journal.db"; retention { keep "9999d" } }
"#;
        let world = World::start(folder, &text.replace("TIME", time), 1).expect("it starts");
        move |value: Value| {
            let (status, answer) =
                world.request("POST /hook HTTP/1.1", &json!({ "t": value }).to_string());
            world.simulation.settle();
            match status {
                202 => world.stored.lock().expect("no panic")[0].envelope.time.to_string(),
                _ => answer["errors"][0].to_string(),
            }
        }
    };
    let check = |time: &str, value: Value, expected: &str| {
        let found = read(time)(value.clone());
        assert!(found.contains(expected), "{time} of {value}: {found}");
    };
    let nine = "2025-12-05T09:00:00.000Z";
    for same in ["2025-12-05T10:00:00", "2025-12-05 10:00", "2025-12-05T09:00:00Z"] {
        check("data.t", json!(same), nine);
        check("time(data.t)", json!(same), nine);
    }
    check("data.t", json!(1_764_925_200), nine);
    check("time(data.t, '''dd.MM.yyyy'T'HH:mm''')", json!("05.12.2025T10:00"), nine);
    let of_size = |unit: &str, read: &str| {
        format!("this number has the size of {unit}: write `time \\\"{read}\\\"`")
    };
    for (value, unit, size) in [
        (json!(1_764_925_200_000_i64), "milliseconds", 1000),
        (json!(1_764_925_200_000_000_i64), "microseconds", 1_000_000),
        (json!(1_764_925_200_000_000_000_i64), "nanoseconds", 1_000_000_000),
    ] {
        check("data.t", value.clone(), &of_size(unit, &format!("data.t / {size}.0")));
        check("data.t + 0", value.clone(), &of_size(unit, &format!("(data.t + 0) / {size}.0")));
        let whole = "time(data.t) ?? data.t";
        check(whole, value.clone(), &of_size(unit, &format!("({whole}) / {size}.0")));
        let read = format!("number(data.t) / {size}.0");
        check("data.t", json!(value.to_string()), &of_size(unit, &read));
        check(&read, value.clone(), nine);
        check(&format!("data.t / {size}.0"), value, nine);
    }
    let in_text = "this is a number in a text: write `time \\\"number(data.t)\\\"`";
    check("data.t", json!("1764925200"), in_text);
    let other = "must be a time: Unix seconds or RFC 3339 text";
    for value in [json!("soon"), json!("2025-12-05"), json!(1e300), json!([1]), json!(true)] {
        check("data.t", value, other);
    }
}
