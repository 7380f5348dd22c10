//! Messages that change: services that know each message, and forget one when they are told to.

use super::Site;
use crate::support::receiver::{Heard, Receiver, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Messages of a chat, by their number, and how often one was sent as a new one.
#[derive(Debug, Clone, Default)]
struct Chat {
    texts: BTreeMap<u64, String>,
    sent: u64,
    edits: u64,
}

type SharedChat = Arc<Mutex<Chat>>;

fn not_documented(what: &str) -> Reply {
    (400, json!({ "ok": false, "description": what, "message": what }).to_string())
}

/// As <https://core.telegram.org/bots/api#editmessagetext> has it.
fn telegram(chat: &SharedChat, heard: &Heard) -> Reply {
    let mut chat = chat.lock().expect("no answer panics");
    let body = heard.json();
    let text = body["text"].as_str().unwrap_or_default().to_owned();
    let taken = |id: u64| (200, json!({ "ok": true, "result": { "message_id": id } }).to_string());
    match heard.path.rsplit('/').next() {
        Some("sendMessage") => {
            chat.sent += 1;
            let id = 100 + chat.sent;
            chat.texts.insert(id, text);
            taken(id)
        }
        Some("editMessageText") => {
            let id = body["message_id"].as_u64().unwrap_or_default();
            match chat.texts.get(&id) {
                None => not_documented("Bad Request: message to edit not found"),
                Some(known) if *known == text => {
                    not_documented("Bad Request: message is not modified: it is the same")
                }
                Some(_) => {
                    chat.edits += 1;
                    chat.texts.insert(id, text);
                    taken(id)
                }
            }
        }
        _ => not_documented("Bad Request: no such method"),
    }
}

/// As <https://discord.com/developers/docs/resources/webhook#edit-webhook-message> has it.
fn discord(chat: &SharedChat, heard: &Heard) -> Reply {
    let mut chat = chat.lock().expect("no answer panics");
    let text = heard.json()["embeds"][0]["description"].as_str().unwrap_or_default().to_owned();
    let path = heard.path.as_str();
    match (&*heard.method, path.split_once("/messages/")) {
        ("POST", None) => {
            chat.sent += 1;
            let id = chat.sent;
            chat.texts.insert(id, text);
            match path.ends_with("?wait=true") {
                true => (200, json!({ "id": id.to_string() }).to_string()),
                false => (204, String::new()),
            }
        }
        ("PATCH", Some((_, id))) => match chat.texts.get_mut(&id.parse().unwrap_or_default()) {
            Some(known) => {
                *known = text;
                chat.edits += 1;
                (200, json!({ "id": id }).to_string())
            }
            None => (404, json!({ "message": "Unknown Message", "code": 10008 }).to_string()),
        },
        _ => not_documented("404: Not Found"),
    }
}

/// As <https://docs.slack.dev/reference/methods/chat.update> has it: a channel is found by its name
/// when a message is posted, and by its id alone when it is changed.
fn slack(chat: &SharedChat, heard: &Heard) -> Reply {
    let mut chat = chat.lock().expect("no answer panics");
    let body = heard.json();
    let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let refused = |error: &str| (200, json!({ "ok": false, "error": error }).to_string());
    let taken = |id: u64| {
        let time = format!("{id}.000200");
        (200, json!({ "ok": true, "channel": "C0123456789", "ts": time }).to_string())
    };
    if heard.header("authorization") != Some("Bearer canary-token") {
        return refused("invalid_auth");
    }
    if 4_000 < field("text").encode_utf16().count() {
        return refused("msg_too_long");
    }
    match (&*heard.path, &*field("channel")) {
        ("/api/chat.postMessage", "#door") => {
            chat.sent += 1;
            let id = chat.sent;
            chat.texts.insert(id, field("text"));
            taken(id)
        }
        ("/api/chat.update", "C0123456789") => {
            let time = field("ts");
            let id = time.strip_suffix(".000200").and_then(|it| it.parse().ok()).unwrap_or(0);
            let Some(known) = chat.texts.get_mut(&id) else { return refused("message_not_found") };
            *known = field("text");
            chat.edits += 1;
            taken(id)
        }
        _ => refused("channel_not_found"),
    }
}

/// A visit of three events, one that says nothing new, and another visit; then the message is
/// deleted by hand.
#[track_caller]
fn check(notifier: &str, service: fn(&SharedChat, &Heard) -> Reply, has_same: bool) {
    let chat = SharedChat::default();
    let answering = chat.clone();
    let receiver = Receiver::start(move |heard, _| service(&answering, heard));
    let site = Site::start(notifier, &receiver);
    let tell = |visit: &str, message: &str| {
        let event = json!({ "type": "object", "visit": visit, "title": "t", "message": message });
        let deliveries = site.tell(&event);
        assert!(deliveries.iter().all(|delivery| delivery["state"] == "done"), "{deliveries:?}");
    };
    tell("a", "somebody");
    tell("a", "somebody at the steps");
    tell("b", "a cat");
    tell("a", "Anna");
    tell("a", "Anna");
    let seen = chat.lock().expect("no panic").clone();
    let texts: Vec<&String> = seen.texts.values().collect();
    assert!(texts[0].ends_with("Anna") && texts[1].ends_with("a cat"), "{seen:?}");
    assert_eq!((texts.len(), seen.sent, seen.edits), (2, 2, if has_same { 2 } else { 3 }));
    chat.lock().expect("no panic").texts.clear();
    tell("a", "Anna left");
    let seen = chat.lock().expect("no panic").clone();
    assert!(seen.texts.values().all(|text| text.ends_with("Anna left")), "{seen:?}");
    assert_eq!((seen.texts.len(), seen.sent), (1, 3));
}

const REST: &str = "update key=\"data.visit\"; message \"{{ data.message }}\"; click \"\"; \
     retry 3 { backoff constant base=\"10ms\" jitter=none }";

#[test]
fn telegram_shows_one_message_for_a_visit() {
    let node = "telegram t { url \"{url}\"; token (env)\"TOKEN\"; chat \"-100\"; ";
    check(&format!("{node}{REST} }}"), telegram, true);
}

#[test]
fn discord_shows_one_message_for_a_visit() {
    let node = "discord d { url \"{url}/api/webhooks/1/canary\"; ";
    check(&format!("{node}{REST} }}"), discord, false);
}

#[test]
fn slack_shows_one_message_for_a_visit() {
    let node = "slack s { api \"{url}/api/\"; token (env)\"TOKEN\"; channel \"#door\"; ";
    check(&format!("{node}{REST} }}"), slack, false);
}

/// Which message a service has is still known after the engine was killed, and after a reload.
#[test]
fn a_message_is_changed_after_a_kill() {
    let chat = SharedChat::default();
    let answering = chat.clone();
    let receiver = Receiver::start(move |heard, _| telegram(&answering, heard));
    let node = "telegram t { url \"{url}\"; token (env)\"TOKEN\"; chat \"-100\"; ";
    let mut site = Site::start(&format!("{node}{REST} }}"), &receiver);
    let event =
        |message: &str| json!({ "type": "object", "visit": "a", "title": "t", "message": message });
    site.tell(&event("somebody"));
    site = site.killed();
    site.tell(&event("Anna"));
    let seen = chat.lock().expect("no panic").clone();
    assert_eq!((seen.sent, seen.edits), (1, 1), "{seen:?}");
}

/// The fields that tell a receiver of ours which message it is.
#[test]
fn a_webhook_says_which_message_it_changes() {
    let receiver = Receiver::start(|_, _| (200, "{}".to_owned()));
    let node = "webhook w { url \"{url}\"; update key=\"data.visit\"; \
         body #\"{ \"tag\": {{ update.id | json }}, \"first\": {{ update.first | json }} }\"# }";
    let site = Site::start(node, &receiver);
    for visit in ["a", "a", "b"] {
        site.tell(&json!({ "type": "object", "visit": visit }));
    }
    let heard: Vec<Value> = receiver.heard().iter().map(Heard::json).collect();
    let firsts: Vec<&Value> = heard.iter().map(|it| &it["first"]).collect();
    assert_eq!(firsts, [&json!(true), &json!(false), &json!(true)]);
    assert_eq!(heard[0]["tag"], heard[1]["tag"]);
    assert_ne!(heard[0]["tag"], heard[2]["tag"]);
}
