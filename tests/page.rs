//! The page in a real browser, where there is one: each part of it with events made for it.

use crate::support::{Engine, until};
use serde_json::json;
use std::path::Path;
use std::process::Command;

const PIPELINE: &str = r#"
pipeline home schema-version=1 { description "Doors and lamps" }
server { listen "127.0.0.1:0" }
source http hook { path "/events"; map { id "data.id"; type "data.type"; subject "data.door" } }
validate { rule "*" check="data.n < 100" message="too large" }
enrich set extra { set "double" "{{ data.n * 2 }}" }
enrich set never { when "data.n > 1000"; set "x" "y" }
sink sqlite journal { path "data/journal.db"; retention { keep "1000d" } }
notify file desk { path "data/desk.jsonl"; title "{{ event.id }}"; when "event.type == 'ring'" }
"#;

const HOSTILE: &str = "<img src=x onerror=\"document.title='taken'\">\u{202e}";

/// A browser, where one is installed; `.ci/run` installs one.
fn browser() -> Option<&'static str> {
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    known.into_iter().find(|it| Path::new(it).exists())
}

struct Site {
    engine: Engine,
    folder: tempfile::TempDir,
    browser: &'static str,
}

impl Site {
    /// `None` without a browser: then nobody looks at the page.
    fn start(pipeline: &str) -> Option<Site> {
        let browser = browser()?;
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("token");
        std::fs::write(secret, "0123456789abcdef0123456789abcdef").expect("it writes");
        let file = folder.path().join("p.kdl");
        std::fs::write(&file, pipeline).expect("it is written");
        let engine = Engine::start(&file, &folder.path().join("data"), &["--watch", "off"]);
        Some(Site { engine, folder, browser })
    }

    /// The document that the browser has of a part of the page, some seconds of its time later.
    fn shown(&self, part: &str) -> String {
        let profile = self.folder.path().join("profile");
        let address = format!("http://{}/#/{part}", self.engine.address);
        let answer = Command::new(self.browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"])
            .args(["--window-size=360,800", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(address)
            .output()
            .expect("the browser runs");
        String::from_utf8(answer.stdout).expect("text")
    }

    #[track_caller]
    fn shows(&self, part: &str, texts: &[&str]) {
        let document = self.shown(part);
        for text in texts {
            assert!(document.contains(text), "`{part}` lacks `{text}`:\n{document}");
        }
        assert!(!document.contains("<img"), "what an event contains is text:\n{document}");
        assert!(!document.contains("This did not work"), "{document}");
    }
}

#[test]
fn each_part_of_the_page_shows_what_there_is() {
    let Some(mut site) = Site::start(PIPELINE) else { return };
    let post = |id: &str, kind: &str, door: &str, n: u32| {
        let event = json!({ "id": id, "type": kind, "door": door, "n": n });
        site.engine.post(&event.to_string()).0
    };
    assert_eq!(post("r/1", "ring", HOSTILE, 7), 202);
    assert_eq!(post("l-1", "lamp", "garden", 8), 202);
    assert_eq!(post("l-2", "lamp", HOSTILE, 200), 422, "a rule rejects it");
    until("all is delivered", || {
        let page = site.engine.get("/api/notifications?state=done");
        page["notifications"].as_array().is_some_and(|it| it.len() == 1)
    });
    let hostile = "&lt;img src=x onerror=\"document.title='taken'\"&gt;\\u{202e}";
    site.shows("live", &["2 shown", ">ring</a>", ">lamp</a>", hostile, "home – engine"]);
    site.shows(
        "event/r%2F1",
        &["Event r/1", hostile, "is not met", "desk", ">done<", "\"double\": 14", "engine send"],
    );
    site.shows("flow", &["Doors and lamps", "POST /events", "never", "data.n &gt; 1000", "desk"]);
    site.shows(
        "charts",
        &[
            "Events by outcome, last hour",
            ">p95<",
            "Events by type, 24 hours",
            "ring: 1",
            "lamp: 1",
            "rejected: 1",
        ],
    );
    site.shows(
        "problems",
        &["1 at validate", "l-2", "Redrive 1", "Delete 1", "Redrive 1 as edited"],
    );
    site.shows("notifications", &[">done<", ">suppressed<", ">when<"]);
    site.shows("config", &["Generation 1 runs", "notify file desk"]);
    assert!(site.shown("event/unknown").contains("event not found"));
    assert_eq!(site.engine.stop(), 0);
}

#[test]
fn who_has_no_token_is_asked_for_it_and_sees_nothing() {
    let guarded = PIPELINE.replace(
        "server { listen \"127.0.0.1:0\" }",
        "server { listen \"127.0.0.1:0\"; auth { token me (file)\"token\" } }",
    );
    let Some(mut site) = Site::start(&guarded) else { return };
    let document = site.shown("live");
    assert!(document.contains("This engine asks for a token"), "{document}");
    assert!(!document.contains("home"), "it is told nothing: {document}");
    assert_eq!(site.engine.stop(), 0);
}
