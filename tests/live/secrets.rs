//! A file that is refused while the engine runs is shown to people who may not read it.

use super::{pipeline, rows};
use crate::support::{Engine, send, until};

const GOOD: &str = r#"
pipeline small schema-version=1
source http front {
    path "/events"
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
"#;

/// Each is refused for something beside a secret.
const BROKEN: [&str; 4] = [
    "notify ntfy phone {\n    topic \"canary-topic\"\n    colour blue\n}\n",
    "notify ntfy phone {\n    topic \"canary-topic\"\n    enabled=true\n}\n",
    "notify ntfy phone {\n    token \"canary-token\"\n    topic 'canary-quoted'\n",
    "enrich http w {\n    header Authorization \"Bearer canary-header\"\n    \
     get \"http://me:canary-user@127.0.0.1:1/?key=canary-query\"\n    timeout 5s\n}\n",
];

#[test]
fn a_refused_file_shows_its_mistake_and_none_of_its_secrets() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = pipeline(folder.path(), GOOD);
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    let mut shown = String::new();
    for (index, broken) in BROKEN.iter().enumerate() {
        std::fs::write(&file, format!("{GOOD}\n{broken}")).expect("it writes");
        let told = format!("E00{}", ["10", "01", "02", "03"][index]);
        until("the mistake is shown", || {
            let ready = send(&engine.address, "GET", "/readyz", "", b"").text();
            let is_told = ready.contains("stale") && ready.contains(&told);
            shown.push_str(if is_told { &ready } else { "" });
            is_told
        });
        for path in ["/api/pipeline", "/api/reloads", "/metrics", "/"] {
            shown.push_str(&send(&engine.address, "GET", path, "", b"").text());
        }
    }
    shown.extend(engine.lines.try_iter());
    let data = folder.path().join("data");
    shown.push_str(&rows(&data, "events.db", "SELECT diagnostics FROM reloads").join("\n"));
    assert!(shown.contains("****"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
