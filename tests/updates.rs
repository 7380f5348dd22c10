//! Messages that change, over faults, reloads and kills: no older text follows a newer one, and a
//! message is only sent anew where nobody could know that it was sent.

use crate::support::world::{Behaviour, World};
use fastrand::Rng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEQUENCES: u64 = 4;
const EVENTS: u64 = 50;
const GAPS: [u64; 8] = [0, 0, 1, 5, 20, 31, 120, 900];
const VISITS: [&str; 3] = ["a", "b", "c"];
/// Nine in the evening, in seconds after the beginning of the world's clock.
const EVENING: i64 = 21 * 3600;

/// The one that is no webhook.
const SLACK: &str = "slack";

/// Each with the manners that its messages have.
const NOTIFIERS: [(&str, &str); 7] = [
    ("plain", ""),
    (SLACK, ""),
    ("batched", "batch 10"),
    ("night", "quiet-hours \"22:00-07:00\" allow=\"data.n % 5 == 0\""),
    ("grouped", "group \"30s\" key=\"data.visit\""),
    ("few", "rate \"6/h\" burst=2 excess=delay; cooldown \"5m\" key=\"event.type\""),
    ("mixed", "rate \"12/h\" burst=1 excess=digest"),
];

const SLACK_BOT: &str = "api \"http://slack.example/api\"; token \"xoxb\"; channel \"#door\"; \
     title \"\"; click \"\"; message \"{{ data.visit }} {{ data.n }}\"";
const WEBHOOK_BODY: &str =
    r##"body #"{ "n": {{ data.n | json }}, "update": {{ [update.key, update.first] | json }} }"#"##;

fn pipeline(comment: &str) -> String {
    let notifier = |(name, manners): &(&str, &str)| {
        let (kind, service) = match *name {
            SLACK => ("slack", SLACK_BOT.to_owned()),
            name => ("webhook", format!("url \"http://{name}.example/\"; {WEBHOOK_BODY}")),
        };
        format!(
            "notify {kind} {name} {{\n    {service}; {manners}\n    \
             timeout \"5s\"; retry give-up=\"30d\" {{ backoff constant base=\"20s\" }}\n    \
             update key=\"data.visit\"\n}}\n"
        )
    };
    let notifiers: String = NOTIFIERS.iter().map(notifier).collect();
    format!(
        "// {comment}\npipeline updates schema-version=1\n\
         source http hook {{ path \"/hook\"; map {{ id \"data.n\"; type \"'seen'\" }} }}\n\
         sink sqlite db {{ path \"db.sqlite\"; retention {{ keep \"300d\" }} }}\n{notifiers}"
    )
}

/// A message that a service took.
#[derive(Debug, Clone, PartialEq)]
struct TakenMessage {
    /// The event that it tells of.
    n: u64,
    is_first: bool,
    /// Which message was changed, where the service gives them names.
    changed: Option<String>,
}

/// By notifier and visit, in the order in which they were taken.
type Taken = BTreeMap<(String, String), Vec<TakenMessage>>;

fn note_taken(world: &World, taken: &mut Taken) {
    for call in world.outside.calls.lock().expect("no panic").drain(..) {
        if call.answered != Some(200) {
            continue;
        }
        let body: Value = serde_json::from_str(&call.body).expect("it is JSON");
        if let Some((_, method)) = call.url.split_once("/chat.") {
            note_slack(method, &body, taken);
            continue;
        }
        let host = call.url.trim_start_matches("http://").split('.').next().expect("a host");
        for message in body.as_array().cloned().unwrap_or_else(|| vec![body]) {
            note_message(host, &message, taken);
        }
    }
}

fn note_message(host: &str, body: &Value, taken: &mut Taken) {
    let Some(visit) = body["update"][0].as_str() else {
        // A digest is a message of its own.
        assert_eq!(host, "mixed", "{body}");
        return;
    };
    let is_first = body["update"][1].as_bool().expect("it is told");
    let n = body["n"].as_u64().expect("a number");
    let message = TakenMessage { n, is_first, changed: None };
    taken.entry((host.to_owned(), visit.to_owned())).or_default().push(message);
}

fn note_slack(method: &str, body: &Value, taken: &mut Taken) {
    let (visit, n) = body["text"].as_str().and_then(|it| it.split_once(' ')).expect("its text");
    let changed = match method {
        "postMessage" => None,
        "update" => Some(format!("{} {}", body["channel"], body["ts"])),
        other => panic!("chat.{other}"),
    };
    let n = n.parse().expect("a number");
    let message = TakenMessage { n, is_first: changed.is_none(), changed };
    taken.entry((SLACK.to_owned(), visit.to_owned())).or_default().push(message);
}

/// Makes a service slow, busy, silent or well.
fn disturb(world: &World, random: &mut Rng) {
    let (name, _) = random.choice(&NOTIFIERS).expect("there are some");
    let behaviour = match random.u8(..6) {
        0 => Behaviour::Status(503, Duration::ZERO),
        1 => Behaviour::Status(200, Duration::from_secs(3)),
        2 => Behaviour::Hang,
        3 => Behaviour::Refuse,
        _ => Behaviour::Status(200, Duration::ZERO),
    };
    world.outside.behave(&format!("{name}.example"), behaviour);
}

fn calm(world: &World) {
    for (name, _) in NOTIFIERS {
        world.outside.behave(&format!("{name}.example"), Behaviour::Status(200, Duration::ZERO));
    }
}

/// What becomes of the deliveries of one notifier, by the number of their event.
fn ends(world: &World, name: &str) -> BTreeMap<u64, (String, String)> {
    let head = format!("GET /api/notifications?notifier={name}&limit=1000 HTTP/1.1");
    let (status, page) = world.request(&head, "");
    assert_eq!(status, 200, "{page}");
    let rows = page["notifications"].as_array().expect("a list").iter();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    rows.map(|row| {
        let n = text(row, "event_id").parse().expect("an id of ours");
        (n, (text(row, "state"), text(row, "reason")))
    })
    .collect()
}

fn play(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start_durable(folder, &pipeline("first"));
    world.simulation.set_wall(EVENING);
    let (mut taken, mut kills, mut newest) = (Taken::new(), 0, BTreeMap::new());
    for n in 1..=EVENTS {
        let gap = *random.choice(&GAPS).expect("there are some");
        world.simulation.advance(Duration::from_secs(gap));
        match random.u8(..12) {
            0 => world.reload(&pipeline(&format!("before {n}"))),
            1 => {
                note_taken(&world, &mut taken);
                world = world.kill(&pipeline("again"), Duration::ZERO);
                kills += 1;
            }
            2..=5 => disturb(&world, &mut random),
            _ => {}
        }
        let visit = *random.choice(&VISITS).expect("there are some");
        newest.insert(visit, n);
        let event = format!(r#"{{"n":{n},"visit":"{visit}"}}"#);
        assert_eq!(world.post("hook", &event), "accepted", "SEED={seed} {n}");
        world.simulation.settle();
    }
    calm(&world);
    world.simulation.advance(Duration::from_secs(16 * 3600));
    note_taken(&world, &mut taken);
    for ((name, visit), messages) in &taken {
        let context = format!("SEED={seed} {name} {visit}: {messages:?}");
        assert!(messages.is_sorted_by_key(|message| message.n), "{context}");
        assert!(messages[0].is_first, "{context}");
        // From one new message to the next, it is that one which changes.
        for same in messages.chunk_by(|_, next| !next.is_first) {
            let changed: BTreeSet<_> = same.iter().filter_map(|it| it.changed.as_ref()).collect();
            assert!(changed.len() <= 1, "{context}");
        }
        // What was answered when the engine was killed, nobody has written down.
        let again = messages[1..].iter().filter(|message| message.is_first).count();
        assert!(again <= kills, "{context} with {kills} kills");
    }
    for (name, _) in NOTIFIERS {
        let ends = ends(&world, name);
        assert_eq!(ends.len() as u64, EVENTS, "SEED={seed} {name}");
        for (n, (state, reason)) in &ends {
            let is_replaced = state == "suppressed" && reason == "update";
            let is_cooled = name == "few" && state == "suppressed" && reason == "cooldown";
            assert!(
                state == "done" || is_replaced || is_cooled,
                "SEED={seed} {name} {n}: {ends:?}"
            );
        }
        if ["plain", SLACK, "batched", "night"].contains(&name) {
            for (visit, n) in &newest {
                let last = taken[&(name.to_owned(), (*visit).to_owned())].last();
                assert_eq!(last.map(|it| it.n), Some(*n), "SEED={seed} {name} {visit}");
            }
        }
    }
    world.close();
}

#[test]
fn a_message_is_as_new_as_can_be_and_there_once() {
    let given = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let first = given("SEED").unwrap_or(0);
    (first..first + given("SEQUENCES").unwrap_or(SEQUENCES)).for_each(play);
}
