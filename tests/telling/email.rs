//! E-mail, against a mail server.

use super::{Site, hostile};
use crate::support::smtp::{AUTHORITY, Answer, Begins, MailServer, SILENCE};
use crate::support::until;
use serde_json::{Value, json};

const USUAL: Answer = |_, _| None;

/// A notifier that writes to two through `server`.
fn notifier(scheme: &str, server: &MailServer, more: &str) -> String {
    format!(
        "email mail {{ smtp \"{scheme}://localhost:{}\" {more}\n\
         from \"Door <door@example.org>\"; to \"eva@example.org\" \"Max <max@example.org>\"\n\
         title \"{{{{ data.title }}}}\"; message \"{{{{ data.message }}}}\"\n\
         timeout \"2s\"; retry 2 {{ backoff constant base=\"10ms\" jitter=none }} }}",
        server.port
    )
}

fn secured() -> String {
    let ca = AUTHORITY.replace('\n', "\\n");
    format!("username=\"door\" password=(env)\"TOKEN\" ca=\"{ca}\"")
}

fn event(title: &str) -> Value {
    json!({ "type": "door.bell", "title": title, "message": "m" })
}

fn line<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
}

#[test]
fn everybody_gets_a_letter_of_their_own_over_each_kind_of_connection() {
    for (begins, scheme, more) in [
        (Begins::Plain, "smtp", String::new()),
        (Begins::StartTls, "smtp+starttls", secured()),
        (Begins::Tls, "smtps", secured()),
    ] {
        let server = MailServer::start(begins, USUAL);
        let site = Site::of(&notifier(scheme, &server, &more), "");
        let count = hostile().len();
        for (title, message) in hostile() {
            site.arrives(&title, &message);
        }
        let taken = server.taken();
        assert_eq!(taken.len(), 2 * count, "{scheme}");
        for letter in &taken {
            assert!(["eva@example.org", "max@example.org"].contains(&&*letter.to), "{letter:?}");
            let (head, body) = letter.text.split_once("\n\n").expect("a head and a body");
            assert!(line(head, "To: ").contains(&letter.to), "{head}");
            assert!(!head.lines().any(|line| line.starts_with("X-Evil")), "{head}");
            assert!(!line(head, "Subject: ").is_empty() && !body.trim().is_empty(), "{head}");
        }
        let ids: std::collections::BTreeSet<&str> =
            taken.iter().map(|it| line(&it.text, "Message-ID: ")).collect();
        assert_eq!(ids.len(), taken.len(), "each letter has an id");
        let log: String = site.engine.lines.try_iter().collect();
        let shown = site.engine.get("/api/pipeline").to_string();
        assert!(!format!("{log}{shown}").contains("canary"), "{log}");
    }
}

/// The state, attempts and reason of the deliveries to Eva and Max.
fn ends(answer: Answer) -> (Vec<(String, u64, String)>, MailServer) {
    let server = MailServer::start(Begins::Plain, answer);
    let site = Site::of(&notifier("smtp", &server, ""), "");
    let deliveries = site.tell(&event("Ring"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let end = |value: &Value| {
        (text(&value["state"]), value["attempts"].as_u64().unwrap_or(0), text(&value["last_error"]))
    };
    (deliveries.iter().map(end).collect(), server)
}

#[test]
fn a_recipient_that_is_refused_costs_nobody_else_a_letter() {
    let (ends, server) = ends(|command, _| {
        command.starts_with("RCPT TO:<max@").then_some("550 5.1.1 No such user here")
    });
    assert_eq!(ends[0], ("done".to_owned(), 1, String::new()));
    let reason = "the mail server rejected the recipient: 550 5.1.1 No such user here";
    assert_eq!(ends[1], ("dead".to_owned(), 1, reason.to_owned()));
    assert_eq!(server.taken().len(), 1);
}

#[test]
fn what_may_pass_is_tried_again_and_is_the_same_letter() {
    // Taken, and said not to be: what a broken connection comes to.
    let (ends, server) = ends(|command, number| match number {
        0..12 if command == "DATA" => Some("451 4.3.0 Try again later"),
        _ => None,
    });
    assert!(ends.iter().all(|it| it.0 == "done"), "{ends:?}");
    assert!(ends.iter().any(|it| 1 < it.1), "{ends:?}");
    assert_eq!(server.taken().len(), 2);
}

/// Every letter about a visit is in the thread of its first one, also after a kill, and also where
/// the first attempt at one of them failed.
#[test]
fn letters_about_one_visit_are_one_thread() {
    let server = MailServer::start(Begins::Plain, |command, number| {
        (command == "DATA" && number == 8).then_some("451 4.3.0 Try again later")
    });
    let text = notifier("smtp", &server, "").replace(" \"Max <max@example.org>\"", "");
    let mut site = Site::of(&text.replace("timeout", "update key=\"data.visit\"; timeout"), "");
    let mut attempts = 0;
    for (visit, title) in [("a", "Somebody"), ("a", "Anna"), ("b", "A cat"), ("a", "Anna left")] {
        if title == "Anna left" {
            site = site.killed();
        }
        let event = json!({ "type": "seen", "visit": visit, "title": title, "message": "m" });
        let deliveries = site.tell(&event);
        assert!(deliveries.iter().all(|it| it["state"] == "done"), "{deliveries:?}");
        attempts += deliveries[0]["attempts"].as_u64().expect("a number");
    }
    assert_eq!(attempts, 5, "the second letter was tried twice");
    let taken = server.taken();
    let field = |nth: usize, name: &str| line(&taken[nth].text, name).to_owned();
    let subjects: Vec<String> = (0..taken.len()).map(|nth| field(nth, "Subject: ")).collect();
    assert_eq!(subjects, ["Somebody", "Re: Somebody", "A cat", "Re: Somebody"]);
    let first = field(0, "Message-ID: ");
    for nth in [1, 3] {
        assert_eq!(
            (field(nth, "In-Reply-To: "), field(nth, "References: ")),
            (first.clone(), first.clone())
        );
    }
    assert_eq!(field(2, "References: "), "");
    assert!(taken[1].text.contains("\n\nAnna\n\nm\n"), "{}", taken[1].text);
    let ids: std::collections::BTreeSet<String> =
        (0..taken.len()).map(|nth| field(nth, "Message-ID: ")).collect();
    assert_eq!(ids.len(), taken.len(), "each letter has an id of its own");
}

#[test]
fn a_server_that_says_nothing_more_costs_a_thread_until_the_timeout() {
    for command in ["EHLO", "MAIL", "RCPT", "DATA"] {
        let answer: Answer = match command {
            "EHLO" => |it, _| it.starts_with("EHLO").then_some(SILENCE),
            "MAIL" => |it, _| it.starts_with("MAIL").then_some(SILENCE),
            "RCPT" => |it, _| it.starts_with("RCPT").then_some(SILENCE),
            _ => |it, _| it.starts_with("DATA").then_some(SILENCE),
        };
        let server = MailServer::start(Begins::Plain, answer);
        let text = notifier("smtp", &server, "").replace("\"2s\"", "\"300ms\"");
        let mut site = Site::of(&text, "");
        for delivery in site.tell(&event("Ring")) {
            assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("dead"), &json!(3)));
            let reason = delivery["last_error"].as_str().expect("a reason");
            let is_late = reason.contains("in time") || reason.contains("within 300ms");
            assert!(is_late, "{command}: {reason}");
        }
        until("no thread is left with the server", || {
            let figures = site.engine.ask("GET", "/metrics", b"").1;
            let figures = String::from_utf8(figures).expect("text");
            figures.lines().any(|line| line == "engine_pool_busy{pool=\"outside\"} 0")
        });
        assert_eq!(site.engine.stop(), 0);
    }
}

#[test]
fn a_wrong_password_costs_no_event_and_is_not_shown() {
    let server = MailServer::start(Begins::StartTls, USUAL);
    let more = secured().replace("username=\"door\"", "username=\"dora\"");
    let site = Site::of(&notifier("smtp+starttls", &server, &more), "");
    let (status, _) = site.engine.post(&event("Ring").to_string());
    assert_eq!(status, 202);
    until("the mistake is reported", || {
        let report = site.engine.get("/readyz").to_string();
        assert!(!report.contains("canary"), "{report}");
        report.contains("535 5.7.8 Bad credentials")
    });
    assert_eq!(site.engine.get("/api/dead-letters")["dead_letters"], json!([]));
}

#[test]
fn a_certificate_that_nobody_knows_is_refused() {
    let server = MailServer::start(Begins::StartTls, USUAL);
    let site = Site::of(&notifier("smtp+starttls", &server, ""), "");
    for delivery in site.tell(&event("Ring")) {
        let reason = delivery["last_error"].as_str().expect("a reason");
        assert!(reason.to_lowercase().contains("certificate"), "{reason}");
    }
    assert_eq!(server.taken(), []);
}

#[test]
fn a_backlog_is_handed_over_in_few_conversations() {
    let server = MailServer::start(Begins::Plain, |command, number| {
        // The first letters wait until there are more.
        (number < 2 && command.starts_with("EHLO")).then_some("421 4.3.2 Not yet")
    });
    let site = Site::of(&notifier("smtp", &server, ""), "");
    for _ in 0..40 {
        assert_eq!(site.engine.post(&event("Ring").to_string()).0, 202);
    }
    until("all are handed over", || server.taken().len() == 80);
    assert!(server.conversations() < 60, "{} conversations", server.conversations());
}
