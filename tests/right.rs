//! No false alarm: right files made along the language's table check clean. Each kind of each role
//! comes with each of its optional children and properties alone, and the top nodes with theirs.

use compiler::files::PipelinePath;
use compiler::load::{PipelineLoader, PipelineTexts};
use compiler::{expand, grammar};
use language::diagnostic::Rule;
use language::{Arity, Environment, KindRow, Kinds, NodeRole, NodeRow, ValueKind};
use serde_json::Value;
use stages::catalog::Catalog;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Every variable is set, to something that fits no number.
struct Set;

impl Environment for Set {
    fn is_set(&self, _: &str) -> bool {
        true
    }

    fn value(&self, _: &str) -> Option<String> {
        None
    }
}

/// Nodes whose right values do not follow from their types, by the path to them.
const WRITTEN: &[(&str, &str)] = &[
    ("source.mqtt.tls", "tls ca=\"other\""),
    ("sink.mqtt.tls", "tls ca=\"other\""),
    (
        "sink.mqtt.discovery",
        "discovery \"{{ event.type }}\" { sensor celsius topic=\"home/pump\" }",
    ),
    (
        "notify.mqtt.discovery",
        "discovery \"{{ event.type }}\" { sensor celsius topic=\"home/pump\" }",
    ),
    ("notify.mqtt.tls", "tls ca=\"other\""),
    ("source.mqtt.decode", "decode text"),
    // Its messages are text.
    ("source.http.decode", "decode logfmt"),
    ("source.http.path", "path \"/x\""),
    ("source.http.auth", "auth bearer=(env)\"TOKEN\""),
    ("source.http.idempotency", "idempotency header=\"X-Id\""),
    ("source.http.respond.content-type", "content-type \"text/html; charset=utf-8\""),
    ("command", "command \"/usr/local/bin/program\""),
    ("source.file.path", "path \"in.ndjson\""),
    ("source.demo.rate", "rate \"10/min\""),
    // With all that the examples of `map` read.
    (
        "source.demo.emit",
        r##"emit "ring" { data #"{ "uuid": "u", "kind": "bell", "camera": "gate", "seen_at": 0, "milliseconds": 0, "payload": {}, "urgent": true, "visit": "v", "cause": "c", "text": "{}", "Message": "{}", "list": [1], "alerts": [{}] }"# }"##,
    ),
    ("source.demo.emit.data", "data \"[{{ random.int(1, 9) }}]\""),
    ("source.timer.cron", "cron \"30 7 * * *\""),
    ("source.timer.every", "every \"10m\""),
    ("source.timer.per", "per table=\"people.csv\" key=id"),
    ("source.map", "map { type \"'ring'\" }"),
    ("map.json", "json \"data.text\""),
    ("map.each", "each \"data.list\""),
    ("source.decode", "decode ndjson"),
    ("decode.time", "time at \"yyyy-MM-dd HH:mm\""),
    ("decode.separator", "separator \";\""),
    ("map.type", "type \"'ring'\""),
    ("map.id", "id \"'1'\""),
    ("map.source", "source \"'bell'\""),
    ("map.subject", "subject \"'door'\""),
    ("map.time", "time \"now()\""),
    ("map.data", "data \"{ 'n': 1 }\""),
    ("map.priority", "priority \"'high'\""),
    ("map.correlation-id", "correlation-id \"'1'\""),
    ("map.parent-id", "parent-id \"'1'\""),
    ("source.schema", "schema file=\"ring.json\""),
    ("enrich.baseline.value", "value \"data.n\""),
    ("enrich.baseline.method", "method mad"),
    ("enrich.http.get", "get \"http://127.0.0.1:1/{{ data.id }}\""),
    ("enrich.http.post", "post \"http://127.0.0.1:1/{{ data.id }}\""),
    ("enrich.http.body", "post \"http://127.0.0.1:1/\"; body \"{{ data.id }}\""),
    ("enrich.lookup.table", "table \"people.csv\" key=id"),
    ("enrich.lookup.match", "match \"data.id\""),
    ("enrich.lookup.select", "select name"),
    ("enrich.lookup.on-miss", "on-miss drop"),
    ("enrich.set.set", "set \"title\" \"{{ event.type }}\""),
    ("enrich.after", "after weather"),
    ("enrich.needs", "needs weather"),
    ("enrich.into", "into \"enrich.other\""),
    ("enrich.http.header", "header \"X-Key\" \"{{ data.id }}\""),
    ("notify.webhook.header", "header \"X-Key\" \"{{ data.id }}\""),
    ("enrich.on-error", "on-error drop reason=\"no answer\""),
    ("sink.sqlite.path", "path \"data/other.db\""),
    ("sink.sqlite.synchronous", "synchronous full"),
    ("sink.sqlite.retention.keep", "keep \"30d\""),
    ("sink.sqlite.search", "search \"data.note\""),
    ("sink.sse.path", "path \"/other\""),
    ("sink.file.path", "path \"data/{{ event.type }}.jsonl\""),
    ("sink.redact", "redact \"data.name\""),
    ("notify.file.path", "path \"data/told.jsonl\""),
    ("notify.attach", "attach \"http://127.0.0.1:1/{{ data.id }}.jpg\""),
    ("notify.fallback", "fallback phone"),
    ("notify.escalate", "escalate after=\"5m\" to=phone until=\"event.type == 'seen'\""),
    ("notify.email.smtp", "smtp \"smtps://mail.example.org\""),
    ("notify.email.from", "from \"Door <door@example.org>\""),
    ("notify.email.to", "to \"eva@example.org\" \"{{ data.mail }}\""),
    ("notify.ntfy.topic", "topic (env)\"TOPIC\""),
    ("policy", "policy patient"),
    ("retry", "retry 2"),
    ("retry.backoff", "backoff exponential base=\"1s\" max=\"5s\""),
    ("rate", "rate \"10/min\" burst=2"),
    ("breaker.trip", "trip after=3 within=\"30s\""),
];

/// Properties that belong to a longer text, and what that is.
const WITH: &[(&str, &str)] = &[
    ("enrich.baseline.method.half-life", "method ewma half-life=\"1h\""),
    ("enrich.lookup.on-miss.set", "on-miss set=\"{ 'name': 'nobody' }\""),
    ("breaker.trip.ratio", "trip ratio=0.5"),
    ("breaker.trip.min", "trip ratio=0.5 min=4"),
    ("retry.backoff.factor", "backoff exponential factor=3.0"),
    ("source.mqtt.tls.cert", "tls cert=\"other\" key=(env)\"HUSH\""),
    ("source.mqtt.tls.key", "tls cert=\"other\" key=(env)\"HUSH\""),
    ("sink.mqtt.tls.cert", "tls cert=\"other\" key=(env)\"HUSH\""),
    ("sink.mqtt.tls.key", "tls cert=\"other\" key=(env)\"HUSH\""),
    ("notify.mqtt.tls.cert", "tls cert=\"other\" key=(env)\"HUSH\""),
    ("notify.mqtt.tls.key", "tls cert=\"other\" key=(env)\"HUSH\""),
    ("enrich.http.expect.content-type", "expect content-type=\"application/json\""),
    ("source.http.auth.token", "auth token=(env)\"TOKEN\" header=\"X-Token\""),
    ("source.http.auth.field", "auth token=(env)\"TOKEN\" field=\"token\""),
    ("source.http.auth.basic", "auth basic=(env)\"USER_AND_PASSWORD\""),
    ("source.http.auth.hmac", "auth hmac=(env)\"KEY\" scheme=github"),
    ("source.http.auth.scheme", "auth hmac=(env)\"KEY\" scheme=stripe"),
    ("source.http.auth.header", "auth hmac=(env)\"KEY\" scheme=hex header=\"X-Sum\""),
    ("source.http.auth.tolerance", "auth hmac=(env)\"KEY\" scheme=stripe tolerance=\"1m\""),
    ("source.http.auth.replay", "auth hmac=(env)\"KEY\" scheme=github replay=allow"),
    ("notify.attach.file", "attach file=\"pictures/{{ data.id }}.jpg\""),
    (
        "notify.email.smtp.username",
        "smtp \"smtps://mail.example.org\" username=(env)\"USER\" password=(env)\"KEY\"",
    ),
    (
        "notify.email.smtp.password",
        "smtp \"smtps://mail.example.org\" username=(env)\"USER\" password=(env)\"KEY\"",
    ),
    ("notify.email.smtp.ca", "smtp \"smtps://mail.example.org\" ca=(env)\"LAN_CA\""),
    ("notify.cooldown.except", "cooldown \"1m\" except=\"event.priority == 'critical'\""),
    ("notify.group.then", "group \"30s\" then=\"5m\""),
    ("source.timer.every.jitter", "every \"10m\" jitter=\"5m\""),
    ("source.timer.per.key", "per table=\"people.csv\" key=name"),
    ("sink.sqlite.retention.keep.type", "keep \"7d\" type=\"ring\"; keep \"30d\""),
    ("sink.sqlite.retention.keep.priority", "keep \"7d\" priority=low; keep \"30d\""),
];

/// What has no effect in its place, so that it is warned of: `sink.sqlite.retry` and the like.
fn has_effect(place: &str, name: &str) -> bool {
    let is_failure =
        ["timeout", "retry", "breaker", "rate", "concurrency", "policy"].contains(&name);
    let inside = [
        "sink.sqlite",
        "sink.sse",
        "enrich.baseline",
        "enrich.lookup",
        "enrich.metadata",
        "enrich.previous",
        "enrich.set",
    ];
    let is_inside = inside.contains(&place);
    // What remembers is judged before any service is called.
    let remembers = ["enrich.baseline", "enrich.previous"].contains(&place);
    let waits = remembers && matches!(name, "after" | "needs");
    // Without anything that makes digests.
    let is_text = name == "digest" || place.ends_with(".digest");
    // Whose messages cannot be changed.
    let fixed = ["notify.gotify", "notify.pushover"];
    let is_fixed = name == "update" && fixed.contains(&place);
    let is_path = place == "enrich.set" && name == "into";
    !waits && !is_text && !is_fixed && !is_path && !(is_inside && (is_failure || name == "backlog"))
}

/// A value that is right for a type.
fn value(ty: ValueKind) -> String {
    let lasts = |least: Duration, most: Duration| Duration::from_secs(30).clamp(least, most);
    match ty {
        ValueKind::Ident | ValueKind::Ref => "other".to_owned(),
        ValueKind::Word(words) | ValueKind::Words(words) => words[0].to_owned(),
        ValueKind::Expr(_) => "\"data.id != null\"".to_owned(),
        ValueKind::Template(_) | ValueKind::OwnTemplate(_) => "\"{{ event.type }}\"".to_owned(),
        ValueKind::Duration(least, most) => format!("\"{}ms\"", lasts(least, most).as_millis()),
        ValueKind::Bytes(least, most) => format!("\"{}B\"", (1_u64 << 20).clamp(least, most)),
        ValueKind::Rate => "\"10/min\"".to_owned(),
        ValueKind::Path => "\"other\"".to_owned(),
        ValueKind::Glob => "ring".to_owned(),
        ValueKind::Url | ValueKind::UrlTemplate(_) => "\"http://127.0.0.1:1/x\"".to_owned(),
        ValueKind::BrokerUrl => "\"mqtts://127.0.0.1\"".to_owned(),
        ValueKind::Secret | ValueKind::Topic => "(env)\"HUSH\"".to_owned(),
        ValueKind::Socket => "\"127.0.0.1:8600\"".to_owned(),
        ValueKind::Host => "engine.lan".to_owned(),
        ValueKind::Bool => "#true".to_owned(),
        ValueKind::Int(least, most) => 2_i64.clamp(least, most).to_string(),
        ValueKind::Number(least, most) => format!("{:?}", 2_f64.clamp(least, most)),
        ValueKind::Field => "\"data.name\"".to_owned(),
        ValueKind::Addition => "\"person.name\"".to_owned(),
        ValueKind::Pointer => "\"/id\"".to_owned(),
        ValueKind::Statuses => "\"2xx 404\"".to_owned(),
        ValueKind::Zone => "\"Europe/Berlin\"".to_owned(),
        ValueKind::Text | ValueKind::Literal => "\"some text\"".to_owned(),
        ValueKind::Json => "#\"{}\"#".to_owned(),
        ValueKind::Moment => "\"2026-01-01T12:00:00Z\"".to_owned(),
        ValueKind::Hours => "\"22:00-07:00\"".to_owned(),
        ValueKind::Days => "\"mon-fri\"".to_owned(),
        ValueKind::Any => "1".to_owned(),
    }
}

fn written(table: &[(&str, &str)], places: &[String]) -> Option<String> {
    let found = places.iter().find_map(|place| table.iter().find(|it| it.0 == place));
    found.map(|it| it.1.to_owned())
}

/// Where a node is in the table, from the closest name to the widest: `sink.sse.redact`,
/// `sink.redact`, `redact`.
fn places(place: &str, name: &str) -> Vec<String> {
    let mut parts: Vec<&str> = place.split('.').filter(|part| !part.is_empty()).collect();
    let mut found = vec![parts.iter().chain(&[name]).copied().collect::<Vec<_>>().join(".")];
    if 1 < parts.len() {
        let without: Vec<&str> =
            parts.iter().enumerate().filter(|it| it.0 != 1).map(|it| *it.1).collect();
        found.push(without.iter().chain(&[name]).copied().collect::<Vec<_>>().join("."));
    }
    while !parts.is_empty() {
        parts.remove(0);
        found.push(parts.iter().chain(&[name]).copied().collect::<Vec<_>>().join("."));
    }
    found
}

/// The node with what it must have.
fn plain(place: &str, row: &NodeRow) -> String {
    if let Some(text) = written(WRITTEN, &places(place, row.name)) {
        return text;
    }
    let mut text = row.name.to_owned();
    let args = row.args.iter().filter(|arg| matches!(arg.arity, Arity::One | Arity::Some));
    args.for_each(|arg| text.push_str(&format!(" {}", value(arg.ty))));
    let props = row.props.iter().filter(|prop| prop.required);
    props.for_each(|prop| text.push_str(&format!(" {}={}", prop.name, value(prop.ty))));
    let inside = format!("{place}.{}", row.name);
    let children: Vec<String> = row
        .children
        .iter()
        .flat_map(|child| child.iter())
        .filter(|it| it.required)
        .map(|it| plain(&inside, it))
        .collect();
    if !children.is_empty() {
        text.push_str(&format!(" {{ {} }}", children.join("; ")));
    }
    text
}

/// The node as it is, with each optional argument and property, and with each optional child.
fn forms(place: &str, row: &NodeRow) -> Vec<String> {
    let mut found = vec![plain(place, row)];
    found.extend(row.examples.iter().map(|example| (*example).to_owned()));
    let has_own = written(WRITTEN, &places(place, row.name)).is_some();
    for prop in row.props.iter().filter(|prop| !prop.required) {
        let name = format!("{}.{}", row.name, prop.name);
        match written(WITH, &places(place, &name)) {
            Some(text) => found.push(text),
            None if has_own && plain(place, row).contains(&format!("{}=", prop.name)) => {}
            None if plain(place, row).ends_with('}') => {}
            None => found.push(format!("{} {}={}", plain(place, row), prop.name, value(prop.ty))),
        }
    }
    if let Some(arg) = row.args.iter().find(|arg| arg.arity == Arity::Optional && !has_own) {
        found.push(format!("{} {}", plain(place, row), value(arg.ty)));
    }
    let inside = format!("{place}.{}", row.name);
    let inside = inside.trim_start_matches('.');
    for child in row.children.iter().flat_map(|child| child.iter()) {
        let before = plain(place, row);
        let required: Vec<String> = row
            .children
            .iter()
            .flat_map(|child| child.iter())
            .filter(|it| it.required && it.name != child.name)
            .map(|it| plain(inside, it))
            .collect();
        let head = before.split(" {").next().unwrap_or_default();
        for form in forms(inside, child) {
            let block: Vec<String> = required.iter().cloned().chain([form]).collect();
            found.push(format!("{head} {{ {} }}", block.join("; ")));
        }
    }
    found
}

/// What every file has: a source, a stage to wait for, a store with everything in order, and a
/// notifier. The examples of the table know these names.
const WHOLE: &str = r#"
pipeline right schema-version=1
policy patient { retry 3 }
source http bell { path "/bell" }
source http porch { path "/porch"; auth bearer=(env)"GATE_TOKEN" }
source http button { path "/button"; method GET }
source mqtt frigate { url "mqtt://127.0.0.1"; topic "frigate/events" }
enrich http weather { get "http://127.0.0.1:1/weather"; policy patient }
sink sqlite journal { path "data/events.db"; retention { keep "30d" } }
notify webhook phone { url "http://127.0.0.1:1/phone" }
"#;

/// Files that have one node in one form each.
fn files(catalog: &Catalog) -> Vec<String> {
    let mut files = Vec::new();
    for role in NodeRole::ALL {
        let top = grammar::TOP.iter().find(|it| it.name == role.word()).expect("a row");
        for kind in catalog.kinds(role) {
            let place = format!("{}.{}", role.word(), kind.word);
            let rows = || {
                let groups = kind.nodes.iter().chain(top.children);
                groups.flat_map(|group| group.iter()).filter(|it| has_effect(&place, it.name))
            };
            let needed = |but: &str| {
                let required = rows().filter(|row| row.required && row.name != but);
                let mut needed: Vec<String> =
                    required.map(|required| plain(&place, required)).collect();
                if place == "source.timer" {
                    let is_other = |names: &[&str]| !names.contains(&but);
                    let schedule = is_other(&["cron", "every"]).then_some("every \"1h\"");
                    let kind = is_other(&["type"]).then_some("type tick");
                    // A schema of the message is open, for all that the examples of `map` read.
                    let schema = (but == "map").then_some("schema file=\"ring.json\"");
                    needed
                        .extend([schedule, kind, schema].into_iter().flatten().map(str::to_owned));
                }
                // Lines need not say of which type their events are.
                if place.starts_with("source.") && but == "decode" {
                    needed.push("type line".to_owned());
                }
                if place == "enrich.http" && !["get", "post", "body"].contains(&but) {
                    needed.push("get \"http://127.0.0.1:1/other\"".to_owned());
                }
                if place == "notify.slack" {
                    needed.extend(slack_with(but));
                }
                needed
            };
            for row in rows() {
                // What says nothing has no effect.
                for form in forms(&place, row).into_iter().filter(|form| form != "rotate") {
                    let form = match (&*place, row.name) {
                        // What it emits is in the `data` of its messages.
                        ("source.demo", "map") => form
                            .replace("data.", "data.data.")
                            .replace("{ each", "{ type \"'ring'\"; each"),
                        (_, "decode") => with_codec(&form),
                        // The type of a body needs one.
                        ("source.http", "respond") => {
                            form.replace("{ content-type", "{ body \"yes\"; content-type")
                        }
                        ("enrich.http", "body") if !form.contains("post ") => {
                            format!("post \"http://127.0.0.1:1/\"; {form}")
                        }
                        _ => form,
                    };
                    let block = [needed(row.name), vec![form]].concat().join("\n    ");
                    let node = format!("{} {} other {{\n    {block}\n}}\n", role.word(), kind.word);
                    // There is one store.
                    files.push(match kind.word {
                        "sqlite" if !block.contains("retention") => {
                            let block = format!("{block}\n    retention {{ keep \"30d\" }}");
                            let whole = WHOLE.replace("sink sqlite journal", "//");
                            format!("{whole}sink sqlite other {{\n    {block}\n}}\n")
                        }
                        "sqlite" => format!("{}{node}", WHOLE.replace("sink sqlite journal", "//")),
                        _ => format!("{WHOLE}{node}"),
                    });
                }
            }
        }
    }
    for name in ["server", "limits", "dead-letter", "filter", "dedupe", "throttle", "validate"] {
        let row = grammar::TOP.iter().find(|it| it.name == name).expect("a row");
        let forms = forms("", row);
        files.extend(forms.iter().map(|form| format!("{WHOLE}{}\n", with_schema(form))));
    }
    files.extend(kinds(catalog).iter().map(|kind| whole_with(kind.example)));
    files.extend(examples_at_the_top());
    files
}

/// `validate` with a schema where it asks for one: without any, no type is known.
fn with_schema(form: &str) -> String {
    match form.contains("schema ") {
        true => form.to_owned(),
        false => form
            .replace("{ on-unknown-type", "{ schema \"ring\" file=\"ring.json\"; on-unknown-type"),
    }
}

/// Where messages go: as a bot for what only a bot has, and by a webhook otherwise.
fn slack_with(but: &str) -> Vec<String> {
    let all: &[(&str, &str)] = match but {
        "token" | "channel" | "api" | "update" => {
            &[("token", "token (env)\"SLACK_TOKEN\""), ("channel", "channel \"C0123456789\"")]
        }
        _ => &[("url", "url (env)\"SLACK_URL\"")],
    };
    all.iter().filter(|it| it.0 != but).map(|it| it.1.to_owned()).collect()
}

/// What may be in the block of `decode` depends on the codec.
fn with_codec(form: &str) -> String {
    let codecs = ["decode ndjson { ", "decode logfmt { "];
    let Some(block) = codecs.iter().find_map(|codec| form.strip_prefix(codec)) else {
        return form.to_owned();
    };
    match block.split(' ').next() {
        Some("columns") => format!("decode csv {{ {block}"),
        Some("header" | "separator") => format!("decode csv {{ columns at; {block}"),
        _ => format!("decode logfmt {{ {block}"),
    }
}

/// Every kind of every role.
fn kinds(catalog: &Catalog) -> Vec<KindRow> {
    NodeRole::ALL.iter().flat_map(|role| catalog.kinds(*role)).collect()
}

/// The whole file with one more node; there is one store, and one beginning.
fn whole_with(node: &str) -> String {
    let rest = match node.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["sink", "sqlite"] => WHOLE.replace("sink sqlite journal", "//"),
        ["pipeline", _] => WHOLE.replace("pipeline right schema-version=1", node),
        _ => WHOLE.to_owned(),
    };
    if node.starts_with("pipeline ") { rest } else { format!("{rest}{node}\n") }
}

/// The examples of the nodes whose other forms are not made here, and of what is in their blocks.
fn examples_at_the_top() -> Vec<String> {
    let mut files = Vec::new();
    for name in ["pipeline", "include", "param", "priority", "policy", "defaults", "route", "test"]
    {
        let row = grammar::TOP.iter().find(|it| it.name == name).expect("a row");
        files.extend(row.examples.iter().map(|example| {
            let reader = "filter reader { keep when=\"param.min_score != null\" }\n";
            let user = |policy: &str| {
                format!("notify webhook user {{ url \"http://127.0.0.1:1/\"; policy {policy} }}\n")
            };
            let rest = match name {
                "param" => reader.to_owned(),
                "policy" => user(example.split(' ').nth(1).unwrap_or_default()),
                _ => String::new(),
            };
            whole_with(example) + &rest
        }));
        let head = match name {
            "pipeline" => "pipeline right schema-version=1",
            "policy" => "policy other",
            "test" => "test \"other\"",
            _ => name,
        };
        let below = row.children.iter().flat_map(|child| child.iter());
        files.extend(below.flat_map(inside).map(|it| {
            let case = "case other when=\"event.type == 'other'\" { to phone }";
            let inside = match name {
                // A header alone is no message.
                "test" => {
                    let it = it.replace("{ header", "{ body \"{}\"; header");
                    format!("{it}; expect status=202")
                }
                "route" if it.starts_with("otherwise") => format!("{case}; {it}"),
                "route" => format!("{it}; otherwise {{ to journal phone }}"),
                _ => it,
            };
            let user = match name {
                "policy" => "\nnotify webhook user { url \"http://127.0.0.1:1/\"; policy other }",
                _ => "",
            };
            whole_with(&format!("{head} {{ {inside} }}{user}"))
        }));
    }
    files
}

/// The examples of a node, and those of what is in its block, in it.
fn inside(row: &NodeRow) -> Vec<String> {
    let own = row.examples.iter().map(|example| (*example).to_owned());
    let head =
        row.examples.first().and_then(|example| example.split(" {").next()).unwrap_or(row.name);
    let below = row.children.iter().flat_map(|child| child.iter()).flat_map(inside);
    own.chain(below.map(|it| format!("{head} {{ {it} }}"))).collect()
}

/// Every row of the table with its place.
fn rows(
    place: &str,
    rows: &'static [&'static [NodeRow]],
    found: &mut Vec<(String, &'static NodeRow)>,
) {
    for row in rows.iter().flat_map(|row| row.iter()) {
        let place = format!("{place} {}", row.name);
        self::rows(&place, row.children, found);
        found.push((place, row));
    }
}

#[test]
fn every_field_of_the_language_has_an_example_with_all_that_it_takes() {
    let catalog = Catalog::built_in();
    let mut found = Vec::new();
    for row in grammar::TOP {
        rows(row.name, row.children, &mut found);
        let Some(role) = NodeRole::of(row.name) else {
            found.push((row.name.to_owned(), row));
            continue;
        };
        for kind in catalog.kinds(role) {
            let name = format!("{} {}", row.name, kind.word);
            assert!(kind.example.starts_with(&format!("{name} ")), "{name}: {}", kind.example);
            rows(&name, kind.nodes, &mut found);
        }
    }
    let mut missing = Vec::new();
    for (place, row) in &found {
        let head = |text: &str| text.split(" {").next().unwrap_or_default().to_owned();
        let shown: Vec<String> = row.examples.iter().map(|example| head(example)).collect();
        if shown.is_empty() || !shown.iter().all(|it| it.split(' ').next() == Some(row.name)) {
            missing.push(place.clone());
        }
        for prop in row.props {
            if !shown.iter().any(|it| it.contains(&format!(" {}=", prop.name))) {
                missing.push(format!("{place} {}=", prop.name));
            }
        }
        let is_value = |text: &&str| text.starts_with('"') || !text.contains('=');
        let values = |text: &String| text.split(' ').skip(1).filter(is_value).count();
        let most = shown.iter().map(values).max().unwrap_or_default();
        if most < row.args.len() && row.name != "breaker" {
            missing.push(format!("{place}: {} values", row.args.len()));
        }
    }
    assert!(150 < found.len(), "only {} fields", found.len());
    assert!(missing.is_empty(), "without an example:\n{}", missing.join("\n"));
}

fn check(text: &str, folder: &Path, catalog: &Catalog) -> Vec<String> {
    let name = folder.join("right.kdl");
    let given = PipelineTexts::of(text.as_bytes(), &name).expect("it is text");
    let place = &PipelinePath::of(&name, Some(folder), None);
    let loaded = PipelineLoader { place, overrides: &[], catalog, environment: &Set }.check(&given);
    // Whether programs may be started is for who starts the engine to say.
    let found =
        loaded.diagnostics.iter().filter(|diagnostic| diagnostic.rule != Rule::StartsProgram);
    found.map(|it| format!("{} {}", it.rule.code(), it.message)).collect()
}

/// A folder with everything that the files name.
fn surroundings() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::fs::write(path, text).expect("it writes");
    };
    // Every column that an example of a lookup names, and those of the samples.
    let table = "id,name,role,limit,price,is-inside,some text\n1,Ines,host,40,2.5,yes,1\n";
    for path in ["people.csv", "tables/people.csv", "tables/rooms.csv"] {
        write(path, table);
    }
    for name in
        ["certs/ca.pem", "certs/engine.pem", "certs/door.pem", "certs/door.key", "read-plate.py"]
    {
        write(name, "a stand-in\n");
    }
    for name in ["ring.json", "schemas/ring.json", "other"] {
        write(name, r#"{ "type": "object" }"#);
    }
    write("in.ndjson", "");
    write("rings.jsonl", "{ \"type\": \"ring\" }\n");
    write("visit.jsonl", "{ \"type\": \"new\" }\n");
    write("shared/policies.kdl", "policy fast { timeout \"1s\" }\n");
    write("shared/people.kdl", "param hosts 2\n");
    folder
}

/// The expanded form of every right file, as JSON.
pub(crate) fn every_expanded() -> Vec<(String, Value)> {
    let folder = surroundings();
    let catalog = Catalog::built_in();
    let name = folder.path().join("right.kdl");
    let place = PipelinePath::of(&name, Some(folder.path()), None);
    let expanded = |text: String| {
        let given = PipelineTexts::of(text.as_bytes(), &name).expect("it is text");
        let loader =
            PipelineLoader { place: &place, overrides: &[], catalog: &catalog, environment: &Set };
        let (_, read) = loader.read(&given).plan();
        let json = expand::expand(&read.expect("it is right"), &catalog).json();
        (text, json)
    };
    files(&catalog).into_iter().map(expanded).collect()
}

#[test]
fn right_files_of_every_kind_and_child_check_clean() {
    let folder = surroundings();
    let catalog = Catalog::built_in();
    let files = files(&catalog);
    assert!(120 <= files.len(), "{} files", files.len());
    let alarms: Vec<String> = files
        .iter()
        .filter_map(|text| {
            let found = check(text, folder.path(), &catalog);
            let own = text.strip_prefix(WHOLE).unwrap_or(text);
            (!found.is_empty()).then(|| format!("{own}{}", found.join("\n")))
        })
        .collect();
    assert!(alarms.is_empty(), "{} of {}:\n{}", alarms.len(), files.len(), alarms.join("\n\n"));
}
