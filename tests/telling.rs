//! Each kind of notifier against a server of its own protocol, which refuses what the service's
//! documentation does not allow.

mod email;
mod services;
mod updates;

use crate::support::receiver::Receiver;
use crate::support::{Engine, until};
use serde_json::{Value, json};
use std::process::Command;

/// A running engine with one notifier.
struct Site {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Site {
    /// `{url}` in the notifier is the address of the service.
    fn start(notifier: &str, service: &Receiver) -> Site {
        Site::of(&notifier.replace("{url}", &service.url), "")
    }

    fn of(notifier: &str, server: &str) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("small.kdl");
        let text = format!(
            "pipeline small schema-version=1\n{server}\n\
             source http front {{ path \"/events\" }}\n\
             sink sqlite store {{ path \"data/events.db\"; retention {{ keep \"1d\" }} }}\n\
             notify {notifier}\n"
        );
        std::fs::write(&file, text).expect("it is written");
        Site { engine: Site::engine(&folder), folder }
    }

    fn engine(folder: &tempfile::TempDir) -> Engine {
        let file = folder.path().join("small.kdl");
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.env("TOKEN", "canary-token").env("PUBLIC_URL", "https://door.example/");
        let data = folder.path().join("data");
        Engine::spawn_by(command, &file, &data, &[]).ready()
    }

    /// The same engine after a kill -9.
    fn killed(mut self) -> Site {
        self.engine.kill();
        self.engine = Site::engine(&self.folder);
        self
    }

    /// Sends an event and waits for the end of its deliveries.
    fn tell(&self, event: &Value) -> Vec<Value> {
        let (status, answer) = self.engine.post(&event.to_string());
        assert_eq!(status, 202, "{answer}");
        let path = format!("/api/events/{}", answer["id"].as_str().expect("an id"));
        let mut deliveries = Vec::new();
        until("its deliveries are settled", || {
            deliveries =
                self.engine.get(&path)["deliveries"].as_array().cloned().unwrap_or_default();
            !deliveries.is_empty()
                && deliveries.iter().all(|delivery| delivery["state"] != "pending")
        });
        deliveries
    }

    /// The same for a text that has to arrive at everyone.
    #[track_caller]
    fn arrives(&self, title: &str, message: &str) {
        let event = json!({ "type": "door.bell", "title": title, "message": message });
        for delivery in self.tell(&event) {
            let shown: String = title.chars().take(40).collect();
            assert_eq!(delivery["state"], "done", "{shown:?}: {delivery}");
        }
    }
}

/// Titles and messages that have broken notifications of others.
fn hostile() -> Vec<(String, String)> {
    let pairs = [
        ("Zażółć 🔔 — 入口", "line one\nline two"),
        ("a\r\nX-Evil: 1", "{\"not\":\"json\""),
        ("\0zero \u{202e}gnirts", "</b><script>&amp; *_~`|[x](http://y)"),
        ("", "👨\u{200d}👩\u{200d}👧"),
        ("only a title", ""),
        ("", ""),
    ];
    let long = ["x", "é", "🔔", "&", "\"", "*"].map(|it| (it.repeat(600), it.repeat(20_000)));
    let pairs = pairs.map(|(title, message)| (title.to_owned(), message.to_owned()));
    pairs.into_iter().chain(long).collect()
}
