use super::*;
use crate::files::PipelinePath;
use crate::load::{PipelineLoader, PipelineTexts};
use language::Environment;
use std::path::Path;

struct Everything;

impl Environment for Everything {
    fn is_set(&self, _: &str) -> bool {
        true
    }

    fn value(&self, _: &str) -> Option<String> {
        panic!("no value is asked for")
    }
}

#[track_caller]
fn expanded(folder: &Path, text: &str) -> Expanded {
    let place = &PipelinePath::of(&folder.join("main.kdl"), None, None);
    let catalog = Catalog::built_in();
    let given = PipelineTexts::of(text.as_bytes(), Path::new("main.kdl")).expect("text");
    let loader =
        PipelineLoader { place, overrides: &[], catalog: &catalog, environment: &Everything };
    let (loaded, read) = loader.read(&given).plan();
    let read = read.filter(|_| loaded.plan.is_some());
    let told = crate::report::human(&loaded.diagnostics, false, 100);
    expand(&read.unwrap_or_else(|| panic!("{told}")), &catalog)
}

const TEXT: &str = r#"
pipeline shop schema-version=1
include "more.kdl"
param patience "5s"
defaults { enrich { concurrency 2 } }
policy lan { policy base; timeout "1s" }
policy base { retry 3 on="5xx"; breaker }
server {
    listen "127.0.0.1:0"
    auth { token reader "hush hush"; token other (env)"OTHER" }
}
enrich http weather {
    policy lan
    get "http://127.0.0.1:1/"
    timeout (param)patience
}
sink sqlite db { path "a.db"; retention { keep "1d" } }
"#;

const EXPECTED: &str = r#"pipeline shop schema-version=1

source demo press { // FOLDER/more.kdl:1
    emit "ring"
    // disabled: #false (built-in)
    // seed: random (built-in)
    // count: endless (built-in)
}

param patience "5s"

server {
    listen "127.0.0.1:0"
    auth {
        token reader "…"
        token other (env)"OTHER"
    }
    // public-url: from `listen` (built-in)
    // hosts: `localhost`, the address of the connection, and the host of `public-url` (built-in)
    // max-body: "1MiB" (built-in)
    // tls: plain HTTP (built-in)
}

enrich http weather {
    get "http://127.0.0.1:1/"
    timeout "5s"
    retry 3 on="5xx" give-up="1d" { // policy base
        backoff exponential base="200ms" max="30s" factor=2.0 jitter=full // built-in
    }
    breaker { // policy base
        trip after=5 within="30s"
        open-for "20s"
        probes 1
    }
    concurrency 2 // defaults
"#;

#[test]
fn every_value_stands_where_it_takes_effect_with_its_origin() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("more.kdl"), "source demo press { emit ring }")
        .expect("it writes");
    let text = expanded(folder.path(), TEXT).kdl();
    let text = text.replace(&folder.path().display().to_string(), "FOLDER");
    assert_eq!(text.get(..EXPECTED.len()), Some(EXPECTED), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn what_is_expanded_can_be_read_and_expands_to_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("more.kdl"), "source demo press { emit ring }")
        .expect("it writes");
    let once = expanded(folder.path(), TEXT).kdl();
    let bare = |text: &str| {
        let cut = |text: &str| text.split(" //").next().unwrap_or_default().trim_end().to_owned();
        text.lines().map(cut).filter(|it| !it.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(bare(&expanded(folder.path(), &once).kdl()), bare(&once));
}

#[test]
fn one_node_can_be_asked_for_and_json_tells_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("more.kdl"), "source demo press { emit ring }")
        .expect("it writes");
    let json = expanded(folder.path(), TEXT).only("weather").json();
    let timeout = &json[0]["children"][1];
    assert_eq!((&timeout["node"], &timeout["args"][0]), (&"timeout".into(), &"5s".into()));
    let retry = &json[0]["children"][2];
    assert_eq!((&retry["origin"], &retry["props"]["on"]), (&"policy base".into(), &"5xx".into()));
    let server = expanded(folder.path(), TEXT).only("server").json();
    let token = &server[0]["children"][1]["children"][1]["args"][1];
    assert_eq!(token, &serde_json::json!({ "type": "env", "value": "OTHER" }));
    assert!(expanded(folder.path(), TEXT).only("nothing").is_empty());
}

#[test]
fn no_literal_that_looks_like_a_secret_is_shown() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = r#"
pipeline shop schema-version=1
param api-key "canary-1"
enrich http weather {
    get "https://user:canary-2@weather.example/now?appid=5&token=canary-3"
    header Authorization "Bearer canary-4"
    header X-Api-Key (param)api-key
    header X-Kind "plain"
}
sink sqlite db { path "a.db"; retention { keep "1d" } }
notify webhook chat { url "https://hooks.slack.com/services/T0/B0/canary-5" }
notify ntfy phone { topic "canary-6"; click "https://ntfy.sh/canary-7" }
"#;
    let shown = expanded(folder.path(), text);
    for shown in [shown.kdl(), shown.json().to_string()] {
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("weather.example/now?appid=5&token="), "{shown}");
        assert!(shown.contains("plain"), "{shown}");
    }
}
