//! The page in a real browser, where there is one: each part of it with events made for it, used as
//! a person does. Pictures of it are in `target/page/`.

use crate::support::chromium::Browser;
use crate::support::receiver::Receiver;
use crate::support::{Engine, root, send, until};
use serde_json::{Value, json};
use std::path::PathBuf;

const PIPELINE: &str = r#"
pipeline home schema-version=1 { description "Doors and lamps" }
server { listen "127.0.0.1:0" }
source http hook {
    path "/events"
    map { id "data.id"; type "data.type"; subject "data.door"; correlation-id "data.visit" }
}
validate { rule "*" check="data.n < 100" message="too large" }
enrich set extra { set "double" "{{ data.n * 2 }}" }
enrich set never { when "data.n > 1000"; set "x" "y" }
sink sqlite journal { path "data/journal.db"; retention { keep "1000d" } }
notify file desk { path "data/desk.jsonl"; title "{{ event.id }}"; when "event.type == 'ring'" }
"#;

const GUARD: &str =
    r#"server { listen "127.0.0.1:0"; auth { token me (file)"token" scope="read send redrive" } }"#;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What an event may bring to harm its reader: markup, and a change of direction.
const HOSTILE: &str = "<img src=x onerror=\"document.title='taken'\">\u{202e}";

/// Every part of the page but that of one event.
const PARTS: [&str; 7] =
    ["live", "flow", "charts", "problems", "notifications", "storage", "config"];

/// An engine, and a browser that looks at it.
struct Site {
    browser: Browser,
    engine: Engine,
    file: PathBuf,
    folder: tempfile::TempDir,
}

impl Site {
    /// `None` without a browser: then nobody looks at the page.
    fn start(pipeline: &str) -> Option<Site> {
        let browser = Browser::start()?;
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("token");
        std::fs::write(&secret, SECRET).expect("it is written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, mode).expect("it is ours");
        let file = folder.path().join("p.kdl");
        std::fs::write(&file, pipeline).expect("it is written");
        let engine = Engine::start(&file, &folder.path().join("data"), &["--watch", "auto"]);
        Some(Site { browser, engine, file, folder })
    }

    /// One whose engine wants a token.
    fn guarded() -> Option<Site> {
        Site::start(&PIPELINE.replace(r#"server { listen "127.0.0.1:0" }"#, GUARD))
    }

    fn post(&self, event: &Value) -> u16 {
        self.engine.post(&event.to_string()).0
    }

    fn ring(&self, id: &str, n: u32) {
        let event = json!({ "id": id, "type": "ring", "door": "front", "n": n });
        assert_eq!(self.post(&event), 202);
    }

    /// Shows a part of the page.
    fn open(&mut self, part: &str) {
        self.browser.open(&format!("http://{}/#/{part}", self.engine.address));
    }

    /// Looks until a part of the page shows all of this.
    #[track_caller]
    fn shows(&mut self, part: &str, texts: &[&str]) {
        self.open(part);
        self.browser.until_shown(texts);
        assert!(!self.browser.text().contains("This failed"));
    }

    /// What holds for whatever was looked at.
    #[track_caller]
    fn end(mut self) {
        let own = format!("http://{}/", self.engine.address);
        self.browser.look("0");
        let foreign: Vec<&String> =
            self.browser.requests.iter().filter(|request| !request.starts_with(&own)).collect();
        assert!(foreign.is_empty(), "it asks only its own engine: {foreign:?}");
        assert!(self.browser.faults.is_empty(), "{:?}", self.browser.faults);
        assert_eq!(self.engine.stop(), 0);
    }
}

/// Two events that are stored, one of which somebody is told of, and one that is rejected; all of
/// them are hostile where they can be.
fn with_events() -> Option<Site> {
    let site = Site::start(PIPELINE)?;
    let event = |id: &str, kind: &str, n: u32| json!({ "id": id, "type": kind, "door": HOSTILE, "n": n, "visit": HOSTILE });
    assert_eq!(site.post(&event("r/1", "ring", 7)), 202);
    assert_eq!(site.post(&event("l-1", HOSTILE, 8)), 202);
    assert_eq!(site.post(&event("l-2", "lamp", 200)), 422, "a rule rejects it");
    until("all is delivered", || {
        let page = site.engine.get("/api/notifications?state=done");
        page["notifications"].as_array().is_some_and(|items| items.len() == 1)
    });
    Some(site)
}

#[test]
fn each_part_of_the_page_shows_what_there_is() {
    let Some(mut site) = with_events() else { return };
    let hostile = "<img src=x onerror=\"document.title='taken'\">\\u{202e}";
    site.shows("live", &["2 shown", "ring", hostile, "home"]);
    site.shows(
        "event/r%2F1",
        &["Event r/1", hostile, "is not met", "desk", "done", "enrich.double", "engine send"],
    );
    site.shows("event/l-1", &["Event l-1", hostile, "2 events, the first"]);
    site.shows("flow", &["Doors and lamps", "POST /events"]);
    site.browser.click("button", "Table");
    let row = "[...document.querySelectorAll('tbody tr')].map((it) => it.innerText).join('\\n')";
    site.browser.until(&format!("{row}.includes('2 · 0.0/s · p95')"));
    site.browser.until_shown(&["when data.n > 1000", "2 · 0.0/s"]);
    site.browser.click("button", "Picture");
    let drawn = "[...document.querySelectorAll('svg .figure')].map((it) => it.textContent)";
    site.browser.until(&format!("{drawn}.some((it) => it.startsWith('2 · 0.0/s'))"));
    site.browser.look("document.querySelector('[data-part=desk]').focus()");
    site.browser.press("Enter");
    site.browser.until_shown(&["notify desk", "state\nok"]);
    let charts = ["Events by outcome, last hour", "p95", "ring: 1", "rejected: 1"];
    site.shows("charts", &charts);
    let problems = ["1 at validate", "l-2", "Redrive 1", "Delete 1", "Edit 1"];
    site.shows("problems", &problems);
    assert!(!site.browser.text().contains("Silent sources"));
    site.shows("notifications", &["done", "suppressed", "when", "not paused"]);
    site.browser.click("button", "Send a test");
    site.browser.until_shown(&["Sent to desk."]);
    site.shows("storage", &["too few events", "normal\t2", "1000d", "at most 10000"]);
    site.shows(
        "config",
        &["Generation 1 runs", "There is only one generation", "notify file desk"],
    );
    site.open("event/unknown");
    site.browser.until_shown(&["This failed", "event not found"]);
    site.shows("nonsense", &["Nothing here"]);
    assert_eq!(site.browser.look("document.title"), "home – engine", "no markup was markup");
    site.end();
}

#[test]
fn a_notifier_is_paused_and_resumed_with_buttons() {
    let Some(mut site) = with_events() else { return };
    let delivered =
        |site: &Site| site.engine.get("/api/figures")["deliveries"]["desk"]["done"].clone();
    site.shows("notifications", &["not paused"]);
    site.browser.click("button", "Pause until resumed");
    site.browser.until_shown(&["paused until resumed", "Resume"]);
    site.ring("r-2", 1);
    until("it waits", || site.engine.get("/api/figures")["waiting"]["desk"] == 1);
    site.open("flow");
    let drawn =
        "[...document.querySelectorAll('[data-part=desk] .figure')].map((it) => it.textContent)";
    site.browser.until(&format!("{drawn}.includes('paused · 1 waiting')"));
    site.browser.click("button", "Picture");
    site.browser.look("document.querySelector('[data-part=desk]').focus()");
    site.browser.press("Enter");
    site.browser.until_shown(&["notify desk", "paused until resumed"]);
    site.browser.click("button", "Pause 2 h");
    site.browser.until_shown(&["paused until 20"]);
    assert_eq!(delivered(&site), 1);
    site.browser.click("button", "Resume");
    site.browser.until_shown(&["not paused"]);
    until("it is delivered", || delivered(&site) == 2);
    site.browser.click("button", "Pause 30 min");
    site.browser.until_shown(&["paused until 20"]);
    // Ended elsewhere, which the panel sees by itself.
    let ended = site.engine.ask("POST", "/api/resume", br#"{"name":"desk"}"#);
    assert_eq!(ended.0, 200);
    site.browser.until_shown(&["not paused"]);
    // A part that has no deliveries has no buttons.
    site.browser.look("document.querySelector('[data-part=journal]').focus()");
    site.browser.press("Enter");
    site.browser.until_shown(&["sink journal"]);
    assert!(!site.browser.text().contains("not paused"));
    site.end();
}

#[test]
fn an_event_shows_each_attempt_in_a_picture_and_in_a_table() {
    // The stage fails once, then the delivery does.
    let service =
        Receiver::start(|_, before| ([503, 200, 503, 200][before.min(3)], "{}".to_owned()));
    let retry = r#"retry 3 { backoff constant base="1s" jitter=none }"#;
    let pipeline = PIPELINE
        .replace(
            "enrich set extra",
            &format!("enrich http sky {{ get \"{}/\"; {retry} }}\nenrich set extra", service.url),
        )
        .replace(
            "notify file desk { path \"data/desk.jsonl\"; title",
            &format!("notify webhook desk {{ url \"{}/\"; {retry}; body", service.url),
        );
    let Some(mut site) = Site::start(&pipeline) else { return };
    site.ring("r-1", 7);
    until("it is delivered", || {
        let event = site.engine.get("/api/events/r-1");
        event["deliveries"][0]["state"] == "done"
    });
    site.shows("event/r-1", &["Attempts", "sky\t1\t", "sky\t2\t", "desk\t1\t", "desk\t2\t"]);
    site.browser.until_shown(&["\ttransient\t", "\tthe response is 503"]);
    let drawn = "[...document.querySelectorAll('main svg')].map((it) => it.querySelectorAll('rect').length)";
    site.browser.until(&format!("{drawn}.join() === '4,2'"));
    let places = "[...document.querySelectorAll('main svg')[1].querySelectorAll('rect')].map((it) => +it.getAttribute('x'))";
    let gap = site.browser.look(&format!("{places}[1] - {places}[0]"));
    assert!(gap.as_f64().is_some_and(|gap| 6.0 < gap), "the wait is a gap: {gap}");
    site.browser.resize(360, 800);
    let root = "document.documentElement";
    let hidden = site.browser.look(&format!("{root}.scrollWidth - {root}.clientWidth"));
    assert_eq!(hidden, 0, "it is wider than a telephone");
    site.end();
}

#[test]
fn each_part_fits_a_telephone_and_pleases_by_day_and_by_night() {
    let Some(mut site) = with_events() else { return };
    for (scheme, width) in [("light", 1100), ("dark", 1100), ("light", 360), ("dark", 360)] {
        site.browser.resize(width, 800);
        site.browser.prefer(scheme);
        for part in PARTS.into_iter().chain(["event/r%2F1"]) {
            site.browser.look("document.querySelector('h2')?.setAttribute('data-seen', '')");
            site.open(part);
            site.browser.until("document.querySelector('h2:not([data-seen])')");
            site.browser.until("document.querySelector('#figures').textContent !== ''");
            let root = "document.documentElement";
            let hidden = site.browser.look(&format!("{root}.scrollWidth - {root}.clientWidth"));
            assert_eq!(hidden, 0, "`{part}` is wider than {width}");
            if part == "flow" {
                let drawn = site.browser.look("document.querySelector('.graph').checkVisibility()");
                assert_eq!(drawn, width > 360, "a narrow window has the table at first");
            }
            let back = site.browser.look("getComputedStyle(document.body).backgroundColor");
            let is_dark = back == "rgb(20, 24, 28)";
            assert_eq!(is_dark, scheme == "dark", "{part}: {back}");
            site.browser.picture(&format!("{}-{scheme}-{width}", part.replace("/r%2F1", "")));
        }
    }
    site.end();
}

#[test]
fn a_browser_that_has_the_files_loads_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    std::fs::write(&file, PIPELINE).expect("it is written");
    let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
    for path in ["/", "/api/page/app.js", "/api/page/style.css"] {
        let first = send(&engine.address, "GET", path, "", b"");
        assert_eq!((first.status, first.body.is_empty()), (200, false), "{path}");
        assert!(first.head.contains("cache-control: no-cache\r\n"), "{}", first.head);
        let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
        let again =
            send(&engine.address, "GET", path, &format!("If-None-Match: \"x\", {tag}\r\n"), b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let changed = send(&engine.address, "GET", path, "If-None-Match: \"x\"\r\n", b"");
        assert_eq!((changed.status, changed.body), (200, first.body), "{path}");
    }
    assert_eq!(send(&engine.address, "GET", "/api/page/other.js", "", b"").status, 404);
    assert_eq!(engine.stop(), 0);
}

#[test]
fn what_the_page_counts_is_what_there_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    std::fs::write(&file, PIPELINE).expect("it is written");
    let mut engine = Engine::start(&file, &folder.path().join("data"), &["--watch", "auto"]);
    for (id, n) in [("a", 1), ("b", 2), ("b", 2), ("c", 200)] {
        let event = json!({ "id": id, "type": "ring", "door": "front", "n": n });
        engine.post(&event.to_string());
    }
    until("both are delivered", || engine.get("/api/figures")["deliveries"]["desk"]["done"] == 2);
    let figures = engine.get("/api/figures");
    assert_eq!((&figures["pipeline"], &figures["generation"]), (&json!("home"), &json!(1)));
    assert_eq!(figures["received"], json!({ "hook": 4 }));
    let outcomes = ["accepted", "duplicate", "rejected", "stored", "dead"];
    let outcomes = outcomes.map(|outcome| figures["events"][outcome].as_u64());
    assert_eq!(outcomes, [2, 1, 1, 2, 0].map(Some));
    let runs = |stage: &str, outcome: &str| figures["runs"][stage][outcome].as_u64();
    assert_eq!((runs("extra", "ok"), runs("never", "skipped")), (Some(2), Some(2)));
    assert_eq!((&figures["dead_letters"], &figures["pending"]), (&json!(1), &json!(0)));
    assert_eq!(figures["breakers"], json!({}));
    let storage = engine.get("/api/storage");
    let normal = &storage["priorities"][1];
    assert_eq!((&normal["priority"], &normal["events"]), (&json!("normal"), &json!(2)));
    assert_eq!(storage["events"], json!({ "at_most": 2 }));
    assert_eq!(storage["retention"]["keep"][0]["age"], "1000d");
    assert_eq!((&storage["forecast"], &storage["dead_letters"]), (&Value::Null, &json!(1)));
    let graph = engine.get("/api/pipeline/graph");
    let parts: Vec<&str> = graph["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|items| items["part"].as_str())
        .collect();
    assert_eq!(parts, ["hook", "extra", "never", "journal", "desk"]);
    std::fs::write(&file, PIPELINE.replace("1000d", "900d")).expect("it is written");
    until("it is reloaded", || engine.get("/api/reloads")["kept"] == json!([1, 2]));
    let text = |number: u64| {
        let path = format!("/api/pipeline/file?generation={number}");
        send(&engine.address, "GET", &path, "", b"").text()
    };
    assert!(text(1).contains("keep \"1000d\"") && text(2).contains("keep \"900d\""), "{}", text(2));
    assert!(text(3).contains("available generations: 1, 2"), "{}", text(3));
    assert!(engine.get("/api/pipeline/file?generation=x")["detail"].is_string());
    assert_eq!(engine.stop(), 0);
}

/// What axe-core finds serious or worse, one line for each place.
const AXE: &str = r#"axe.run(document).then(({ passes, violations }) =>
  passes.length < 10 ? ["hardly anything was looked at"] : violations.filter((it) => ["serious", "critical"].includes(it.impact)).flatMap((it) =>
    it.nodes.map((node) => `${it.id}: ${node.html}: ${node.failureSummary}`)))"#;

#[test]
fn nothing_keeps_anybody_from_reading_it() {
    let script = root().join("target/axe/node_modules/axe-core/axe.min.js");
    // `.ci/run` installs it where there is npm, and says so where there is none.
    let Ok(script) = std::fs::read_to_string(script) else { return };
    let Some(mut site) = with_events() else { return };
    for (scheme, width) in [("light", 1100), ("dark", 1100), ("light", 360)] {
        site.browser.resize(width, 800);
        site.browser.prefer(scheme);
        for part in PARTS.into_iter().chain(["event/r%2F1"]) {
            // A new document: what the one before had in it is gone.
            site.browser.open("about:blank");
            site.open(part);
            site.browser.until("document.querySelector('h2')");
            site.browser.until("document.querySelector('#figures').textContent !== ''");
            site.browser.look(&script);
            let found = site.browser.look(AXE);
            assert_eq!(found, json!([]), "`{part}`, {scheme}, {width}");
        }
    }
    site.browser.requests.retain(|request| request != "about:blank");
    site.end();
}

#[test]
fn somebody_signs_in_stays_signed_in_and_signs_out() {
    let Some(mut site) = Site::guarded() else { return };
    site.open("live");
    site.browser.until_shown(&["This engine requires a token", "signed out"]);
    assert!(!site.browser.text().contains("home"), "it is told nothing");
    site.browser.fill("#token", "wrong");
    site.browser.press("Enter");
    site.browser.until_shown(&["unknown token"]);
    site.browser.fill("#token", SECRET);
    site.browser.click("form button", "Sign in");
    site.browser.until_shown(&["No event matches yet.", "home", "ready"]);
    assert_eq!(site.browser.look("document.cookie"), "", "no script can read it");
    let token = format!("Bearer {SECRET}");
    let event = json!({ "id": "1", "type": "ring", "door": "front", "n": 1 }).to_string();
    let fields = format!("Authorization: {token}\r\nContent-Type: application/json\r\n");
    let posted = send(&site.engine.address, "POST", "/events", &fields, event.as_bytes());
    assert_eq!(posted.status, 202);
    site.browser.until_shown(&["1 shown"]);
    site.open("charts");
    site.browser.until_shown(&["Events by outcome"]);
    // The token changes: what it opened is shut, also for who is signed in.
    let other = SECRET.replace('0', "9");
    std::fs::write(site.folder.path().join("token"), &other).expect("it is written");
    let moved = std::fs::read_to_string(&site.file).expect("it reads") + "\n// Changed.\n";
    std::fs::write(&site.file, moved).expect("it is written");
    site.browser.until_shown(&["signed out", "You are signed out"]);
    site.browser.fill("#token", &other);
    site.browser.click("form button", "Sign in");
    site.browser.until_shown(&["Events by outcome"]);
    site.browser.click("nav a", "Live");
    site.browser.until_shown(&["1 shown"]);
    site.browser.click("header button", "Sign out");
    site.browser.until_shown(&["This engine requires a token"]);
    assert!(!site.browser.text().contains("You are signed out"));
    site.open("charts");
    site.browser.until_shown(&["This engine requires a token"]);
    site.end();
}

#[test]
fn a_token_that_may_only_read_is_told_what_it_may_not() {
    let guard = GUARD.replace("read send redrive", "read");
    let pipeline = PIPELINE.replace(r#"server { listen "127.0.0.1:0" }"#, &guard);
    let Some(mut site) = Site::start(&pipeline) else { return };
    site.open("problems");
    site.browser.until("document.querySelector('#token')");
    site.browser.fill("#token", SECRET);
    site.browser.press("Enter");
    site.browser.until_shown(&["Silent sources", "Dead letters", "scope"]);
    site.shows("notifications", &["There are none."]);
    site.browser.click("button", "Send a test");
    site.browser.until_shown(&["scope"]);
    site.shows("live", &["No event matches yet."]);
    site.end();
}

#[test]
fn the_live_list_filters_pauses_and_keeps_the_readers_place() {
    let Some(mut site) = Site::start(PIPELINE) else { return };
    site.open("live");
    site.browser.until_shown(&["No event matches yet."]);
    site.shows("problems", &["Nothing has come from hook since the engine started."]);
    site.shows("live", &["No event matches yet."]);
    site.ring("a", 1);
    site.ring("b", 2);
    site.browser.until_shown(&["2 shown"]);
    site.browser.look("document.querySelector('tbody a').focus()");
    site.ring("c", 3);
    site.browser.until_shown(&["3 shown"]);
    let focused = site.browser.look("document.activeElement.closest('tr').lastChild.textContent");
    assert_eq!(focused, "b", "rows that are there stay");
    site.browser.click("button", "Pause");
    site.ring("d", 4);
    site.browser.until_shown(&["3 shown, 1 waiting"]);
    site.browser.click("button", "Continue");
    site.browser.until_shown(&["4 shown"]);
    site.browser.fill("#where", "data.n >= 3");
    site.browser.press("Enter");
    site.browser.until_shown(&["2 shown"]);
    site.browser.fill("#where", "data.n >=");
    site.browser.click("button", "Apply");
    site.browser.until_shown(&["`where`, character"]);
    site.browser.fill("#where", "data.n == 1000");
    site.browser.press("Enter");
    site.browser.until_shown(&["No event matches yet."]);
    assert!(!site.browser.text().contains("character"), "the mistake is corrected");
    site.end();
}

#[test]
fn a_reload_is_seen_and_so_is_a_file_that_does_not_run() {
    let Some(mut site) = Site::start(PIPELINE) else { return };
    site.open("config");
    site.browser.until_shown(&["Generation 1 runs", "generation 1 ·"]);
    let changed = PIPELINE.replace("data.n > 1000", "data.n > 2000");
    std::fs::write(&site.file, &changed).expect("it is written");
    site.browser.until_shown(&["generation 2 ·", "Generation 2 runs", "data.n > 2000"]);
    site.browser.until_shown(&["-     when \"data.n > 1000\"", "+     when \"data.n > 2000\""]);
    std::fs::write(&site.file, changed.replace("retention", "retenshun")).expect("it is written");
    site.browser.until_shown(&[
        "the file on disk is not valid",
        "could not be applied since",
        "generation 2 keeps running",
        "did you mean `retention`?",
    ]);
    std::fs::write(&site.file, &changed).expect("it is written");
    site.browser.until_shown(&["Generation 2 runs", "ready"]);
    site.end();
}

#[test]
fn the_flow_shows_what_is_off_what_fails_and_what_waits() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = nobody.local_addr().expect("it is bound");
    drop(nobody);
    let more = format!(
        r#"
notify webhook bell {{
    url "http://{address}/"
    retry 100 {{ backoff constant base="50ms" jitter=none }}
    breaker {{ trip after=3; open-for "10m" }}
}}
notify webhook chat {{ url "http://{address}/"; retry 0; fallback spare }}
notify file spare {{ path "data/spare.jsonl" }}
enrich http weather {{ get (env)"NO_SUCH_VARIABLE" optional=#true }}
"#
    );
    let Some(mut site) = Site::start(&format!("{PIPELINE}{more}")) else { return };
    site.ring("a", 1);
    site.open("flow");
    site.browser.click("button", "Picture");
    let box_of = |part: &str| {
        let label = json!(format!("[data-part={part}]"));
        format!("document.querySelector({label})?.textContent")
    };
    site.browser.until(&format!("{}.includes('breaker open')", box_of("bell")));
    site.browser.until(&format!("{}.includes('1 waiting')", box_of("bell")));
    site.browser.until(&format!("{}.includes('NO_SUCH_VARIABLE')", box_of("weather")));
    site.browser.until(&format!("{}.includes('1 · 0.0/s')", box_of("journal")));
    site.browser.click("[data-part=bell] text", "notify webhook bell");
    site.browser.until_shown(&["notify bell", "degraded"]);
    site.shows("problems", &["Open breakers", "bell: open", "Degraded or failed"]);
    site.shows("notifications", &["via fallback chat"]);
    site.end();
}

#[test]
fn a_rejected_message_is_edited_and_redriven_by_clicks() {
    let Some(mut site) = Site::start(PIPELINE) else { return };
    let event = |id: &str, n: u32| json!({ "id": id, "type": "ring", "door": "front", "n": n });
    assert_eq!(site.post(&event("big", 200)), 422);
    assert_eq!(site.post(&event("bigger", 300)), 422);
    site.open("problems");
    site.browser.until_shown(&["2 at validate"]);
    site.browser.click("button", "Preview: redrive all");
    site.browser.until_shown(&["2 dead letters would be redriven."]);
    site.browser.click("section button", "Redrive 2");
    site.browser.until_shown(&["Redriven: 0 of 2."]);
    site.browser.click("summary", "Edit 2");
    let edited = event("bigger", 30).to_string();
    site.browser.fill("textarea", &edited);
    site.browser.click("button", "Redrive 2 as edited");
    site.browser.until_shown(&["Redriven.", "1 at validate"]);
    let stored = site.engine.get("/api/events/bigger");
    assert_eq!((&stored["data"]["n"], &stored["state"]), (&json!(30), &json!("stored")));
    site.browser.look("window.confirm = () => true");
    site.browser.click("button", "Delete 1");
    site.browser.until_shown(&["Dead letter 1 is deleted.", "There are none."]);
    assert_eq!(site.engine.get("/api/dead-letters")["dead_letters"], json!([]));
    site.end();
}

#[test]
fn a_keyboard_is_enough() {
    let Some(mut site) = Site::start(PIPELINE) else { return };
    site.ring("a", 1);
    site.open("live");
    site.browser.until_shown(&["1 shown"]);
    let focused = |site: &mut Site| site.browser.look("document.activeElement.textContent");
    site.browser.press("Tab");
    assert_eq!(focused(&mut site), "Skip to the content");
    let mut seen = Vec::new();
    while focused(&mut site) != "ring" {
        seen.push(focused(&mut site).as_str().unwrap_or_default().to_owned());
        assert!(seen.len() < 40, "no way to the event: {seen:?}");
        site.browser.press("Tab");
        let drawn = "getComputedStyle(document.activeElement).outlineStyle !== 'none'";
        assert_eq!(site.browser.look(drawn), true, "the focus is seen: {seen:?}");
    }
    for part in ["Live", "Flow", "Config", "Apply", "Pause"] {
        assert!(seen.iter().any(|it| it == part), "{part}: {seen:?}");
    }
    site.browser.press("Enter");
    site.browser.until_shown(&["Event a"]);
    assert_eq!(site.browser.look("document.activeElement.id"), "main");
    site.end();
}
