//! A real browser, driven by its DevTools protocol over two pipes: no port, and nothing to install
//! beside the browser itself.
//!
//! What a person does is done by events of mouse and keyboard; only looking is done by scripts.

use super::{PATIENCE, pause, root};
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Finds what can be used, as a reader would: by selector and visible text, whole or its beginning.
const FIND: &str = r#"(selector, text) => {
  const seen = [...document.querySelectorAll(selector)].filter((it) => it.checkVisibility());
  const said = (it) => it.textContent.replace(/\s+/g, " ").trim();
  return seen.find((it) => said(it) === text) ?? seen.find((it) => said(it).startsWith(text));
}"#;

/// One page of a browser of its own. Dropping it ends the browser.
pub(crate) struct Browser {
    child: Child,
    orders: ChildStdin,
    answers: mpsc::Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What the page asked the network for.
    pub(crate) requests: Vec<String>,
    /// What the console was told, and what no script caught.
    pub(crate) faults: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `None` where none is installed; `.ci/run` installs one.
    pub(crate) fn start() -> Option<Browser> {
        let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
        let program = known.into_iter().find(|it| Path::new(it).exists())?;
        let profile = tempfile::tempdir().expect("a folder");
        // The browser reads orders from 3 and answers to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec 3<&0 4>&1 </dev/null >&2 && exec \"$@\"", "sh", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--remote-debugging-pipe", "--lang=en-US", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let orders = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("it speaks JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (requests, faults) = (Vec::new(), Vec::new());
        let mut browser = Browser {
            child,
            orders,
            answers,
            session: None,
            last: 0,
            requests,
            faults,
            _profile: profile,
        };
        browser.attach();
        Some(browser)
    }

    /// Opens the page that everything else is about.
    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let asked = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", asked);
        self.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// One order, and what it came to.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let text = format!("{order}\0");
        self.orders.write_all(text.as_bytes()).expect("the browser listens");
        loop {
            let answer = self.answers.recv_timeout(PATIENCE).expect("the browser answers");
            if answer["id"] != self.last {
                self.note(&answer);
                continue;
            }
            assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
            return answer["result"].clone();
        }
    }

    /// What the browser says by itself.
    fn note(&mut self, message: &Value) {
        let said = &message["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => self.requests.push(text(&said["request"]["url"])),
            Some("Runtime.exceptionThrown") => {
                self.faults.push(said["exceptionDetails"].to_string());
            }
            // A status that is no success is said there, too, and is no fault of the page.
            Some("Log.entryAdded")
                if said["entry"]["source"] != "network" && said["entry"]["level"] != "verbose" =>
            {
                self.faults.push(text(&said["entry"]["text"]));
            }
            _ => {}
        }
    }

    /// Goes to an address, and waits until its document has been read.
    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
        self.until("document.readyState === 'complete'");
    }

    /// The window is so wide and high, in pixels of the page.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the reader prefers: `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// What an expression of the page is; a promise is waited for.
    #[track_caller]
    pub(crate) fn look(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", asked);
        let fault = &answer["exceptionDetails"];
        assert!(fault.is_null(), "{expression}: {fault}");
        answer["result"]["value"].clone()
    }

    /// Looks until an expression holds.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.look(&format!("Boolean({expression})")) == true {
                return;
            }
            pause(LOOK);
        }
        let text = self.text();
        panic!("it never came to this: {expression}\n{text}\n{:?}", self.faults);
    }

    /// Looks until all of these are shown.
    #[track_caller]
    pub(crate) fn until_shown(&mut self, texts: &[&str]) {
        for text in texts {
            self.until(&format!("document.body.innerText.includes({})", json!(text)));
        }
    }

    /// Everything that is shown.
    pub(crate) fn text(&mut self) -> String {
        self.look("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Clicks what a selector and a visible text name, in its middle, once it is there. Where
    /// something moved it away under the pointer, it is clicked again.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str, text: &str) {
        let found = format!("({FIND})({}, {})", json!(selector), json!(text));
        for _ in 0..10 {
            self.until(&found);
            let place = self.look(&format!(
                "(() => {{ const it = {found}; it.scrollIntoView({{ block: 'center' }});
                   window.hit = false;
                   it.addEventListener('click', () => {{ window.hit = true; }}, {{ once: true }});
                   const {{ x, y, width, height }} = it.getBoundingClientRect();
                   return [x + width / 2, y + height / 2]; }})()"
            ));
            for kind in ["mousePressed", "mouseReleased"] {
                let event = json!({
                    "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
                });
                self.call("Input.dispatchMouseEvent", event);
            }
            if self.look("window.hit") == true {
                return;
            }
        }
        panic!("`{text}` is never hit:\n{}", self.text());
    }

    /// Presses a key: `Tab`, `Enter`, ` `, `Escape`.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "Escape" => (27, ""),
            other => panic!("`{other}` is no key of this list"),
        };
        let event = |kind: &str| {
            json!({
                "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text,
            })
        };
        self.call("Input.dispatchKeyEvent", event("keyDown"));
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    /// Types into what has the focus.
    pub(crate) fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Replaces what a field says.
    #[track_caller]
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        let field = format!("document.querySelector({})", json!(selector));
        self.until(&field);
        self.look(&format!("(() => {{ const it = {field}; it.focus(); it.select(); }})()"));
        self.enter(text);
    }

    /// What it looks like, under `target/page/`, where CI finds it.
    pub(crate) fn picture(&mut self, name: &str) {
        let folder = root().join("target/page");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let shown = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = shown["data"].as_str().expect("a picture");
        let data = base64::engine::general_purpose::STANDARD.decode(data).expect("Base64");
        std::fs::write(folder.join(name).with_extension("png"), data).expect("it is written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
