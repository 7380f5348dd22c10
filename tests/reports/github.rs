//! Payloads in which what is usually there is missing, null, or of another kind.

use super::{Site, pipeline};
use crate::support::{Engine, send, until};
use ring::hmac;
use serde_json::{Value, json};

const SECRET: &str = "it-is-signed";

/// Sends one event as GitHub does: the status.
fn deliver(engine: &Engine, id: &str, kind: &str, payload: &Value) -> u16 {
    let body = payload.to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let fields = format!(
        "Content-Type: application/json\r\nX-GitHub-Event: {kind}\r\nX-GitHub-Delivery: {id}\r\n\
         X-Hub-Signature-256: sha256={hex}\r\n"
    );
    send(&engine.address, "POST", "/events", &fields, body.as_bytes()).status
}

#[test]
fn a_payload_without_what_the_map_reads_is_taken_all_the_same() {
    let site = Site::new();
    site.write("secret", SECRET);
    let source = r#"path "/events"
        auth hmac=(file)"../secret" scheme=github
        idempotency header="X-GitHub-Delivery"
        map {
            type "http.header('X-GitHub-Event')"
            subject "data.repository.full_name"
            time "data.workflow_run.updated_at ?? data.head_commit.timestamp"
            correlation-id "data.workflow_run.head_sha ?? data.after"
        }"#;
    let text = pipeline("").replace("{ path \"/events\" }", &format!("{{ {source} }}"));
    let engine = site.start(&text);
    let house = json!({ "full_name": "acme/house" });
    let time = "2026-10-25T02:30:00+02:00";
    for (id, kind, payload, subject) in [
        (
            "whole",
            "push",
            json!({ "repository": house, "head_commit": { "timestamp": time } }),
            "acme/house",
        ),
        (
            "no-commit",
            "push",
            json!({ "repository": house, "head_commit": null, "after": "0000" }),
            "acme/house",
        ),
        ("no-repository", "organization", json!({ "action": "renamed" }), ""),
        ("null-repository", "meta", json!({ "repository": null }), ""),
        ("no-time", "workflow_run", json!({ "workflow_run": { "updated_at": null } }), ""),
        ("large-number", "ping", json!({ "hook_id": 9_007_199_254_740_993_u64 }), ""),
        (
            "other-letters",
            "issues",
            json!({ "repository": { "full_name": "acme/zoë-🔔" } }),
            "acme/zoë-🔔",
        ),
    ] {
        assert_eq!(deliver(&engine, id, kind, &payload), 202, "{id}");
        until("it is stored", || {
            let event = engine.get(&format!("/api/events/{id}?source=front"));
            event["type"] == kind && event["subject"] == subject && event["data"] == payload
        });
        assert_eq!(deliver(&engine, id, kind, &payload), 200, "{id} comes again");
    }
}
