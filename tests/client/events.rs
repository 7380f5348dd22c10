//! `engine events` and `engine events show`.

use super::{Site, command, timeless};
use crate::support::until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

const RING: &str = r#"{"id":"r-1","type":"ring","door":"front door","time":"2026-01-01T09:50:04.318Z",
    "priority":"high","data":{"z":1.50,"a":"b"}}"#;
const MOTION: &str =
    r#"{"id":"m-1","type":"motion","door":"garden","time":"2026-01-01T09:51:00Z"}"#;

const HOSTILE_ID: &str = "/a//b/<b>&?x=%2F#\u{202e}é";

/// Everything in it is hostile.
fn hostile() -> String {
    let nasty = "\u{1b}[2J\n<b>&\u{202e}\u{9b}";
    json!({
        "id": HOSTILE_ID, "type": format!("t{nasty}"), "door": nasty,
        "time": "2026-01-01T09:52:00Z", "data": { nasty: nasty, "long": "x".repeat(20_000) },
    })
    .to_string()
}

#[test]
fn a_wrong_expression_is_reported_as_in_a_file_and_nothing_is_asked() {
    let site = Site::start();
    let answer = site.run(&["events", "--where", "data.n >"]);
    let report = "\
E0101

  × the expression ends too early
   ╭─[<expression>:1:8]
 1 │ data.n >
   ·        ┬
   ·        ╰── a value is missing after this
   ╰────
  help: add a value, such as `data.name`, `'text'` or `5`

";
    assert_eq!((answer.code, &*answer.output, &*answer.error), (1, "", report));
}

#[test]
fn a_list_is_a_table_that_fits_the_terminal() {
    let site = Site::start();
    let answer = site.run(&["events"]);
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, "", "no events\n"));
    site.prints(&["events", "--quiet"], "");
    for event in [RING, MOTION] {
        site.post(event);
    }
    let whole = "\
TIME                 TYPE    PRIORITY  SOURCE  SUBJECT     ID
2026-01-01 09:51:00  motion  normal    front   garden      m-1
2026-01-01 09:50:04  ring    high      front   front door  r-1
";
    site.prints(&["events"], whole);
    let narrow = "\
TIME                 TYPE    PRIORITY  ID
2026-01-01 09:51:00  motion  normal    m-1
2026-01-01 09:50:04  ring    high      r-1
";
    site.prints(&["events", "columns=46"], narrow);
    let ring = "\
TIME                 TYPE  PRIORITY  SOURCE  SUBJECT     ID
2026-01-01 09:50:04  ring  high      front   front door  r-1
";
    let all = ["--since", "2026-01-01T00:00:00Z", "--until", "2026-01-01T09:50:30Z"];
    let filters: [&[&str]; 7] = [
        &["--type", "ring", "--type", "no&such"],
        &["--priority", "high"],
        &["--subject", "front door"],
        &["--source", "front", "--until", "2026-01-01T09:50:04.318Z"],
        &["--where", "data.z == 1.5 && event.priority >= 'high'"],
        &["--first", "oldest", "--limit", "1", "--quiet"],
        &all,
    ];
    for filter in filters {
        site.prints(&[&["events"], filter].concat(), ring);
    }
    let answer = site.run(&["events", "--since", "2h"]);
    assert_eq!((answer.code, &*answer.error), (0, "no events\n"), "both are long ago");
    let answer = site.run(&["events", "--limit", "1"]);
    assert_eq!(answer.output.lines().count(), 2);
    assert_eq!(answer.error, "the newest 1; use --limit for more, or --until for older ones\n");
}

#[test]
fn programs_get_json_and_comma_separated_values() {
    let site = Site::start();
    site.prints(&["events", "--format", "json"], "{\"events\":[],\"next\":null}\n");
    for event in [RING, MOTION, &hostile()] {
        site.post(event);
    }
    let answer = site.run(&["events", "--format", "json"]);
    let (page, served) = (answer.output, site.engine.get("/api/events"));
    assert_eq!(serde_json::from_str::<Value>(&page).expect("it is JSON"), served);
    assert!(
        page.lines().nth(3).is_some_and(|line| line.contains("{\"z\":1.50,\"a\":\"b\"}")),
        "{page}"
    );
    assert!(page.lines().all(|line| !line.contains(|letter: char| letter.is_control())), "{page}");
    let answer = site.run(&["events", "--format", "csv", "--type", "ring"]);
    let mut lines = answer.output.lines();
    assert_eq!(
        lines.next(),
        Some(
            "seq,pos,id,type,source,subject,time,received,priority,correlation_id,parent_id,data,\
             enrich"
        )
    );
    let row = lines.next().expect("a row");
    assert!(row.starts_with("1,1,r-1,ring,front,front door,2026-01-01T09:50:04.318Z,"), "{row}");
    let end = r#"Z,high,,,"{""z"":1.50,""a"":""b""}","{""text"":""ring at the front door""}""#;
    assert!(row.ends_with(end), "{row}");
}

#[test]
fn a_limit_may_be_beyond_one_page() {
    let site = Site::start();
    let items = (0..1000).map(|it| json!({ "id": format!("e-{it}"), "type": "ring" }));
    for more in ["a", "b", "c"] {
        let items: Vec<Value> = items
            .clone()
            .map(|mut item| {
                item["id"] = format!("{more}-{}", item["id"]).into();
                item
            })
            .collect();
        let (status, _) = site.engine.ask("POST", "/events", json!(items).to_string().as_bytes());
        assert_eq!(status, 202);
    }
    let ids = |limit: &str| {
        let answer = site.run(&["events", "--format", "json", "--limit", limit]);
        let mut page: Value = serde_json::from_str(&answer.output).expect("it is JSON");
        let Value::Array(events) = page["events"].take() else { panic!("a list") };
        let ids = events.iter().map(|event| event["id"].to_string());
        (ids.collect::<std::collections::BTreeSet<_>>().len(), page["next"].is_null())
    };
    assert_eq!(ids("2500"), (2500, false));
    assert_eq!(ids("3001"), (3000, true));
    let answer = site.run(&["events", "--limit", "5000"]);
    assert_eq!((answer.output.lines().count(), &*answer.error), (3001, ""));
    // Whoever reads only the first line stops the command, and that is not an error.
    for format in ["table", "csv", "json"] {
        let url = format!("http://{}", site.engine.address);
        let arguments = ["events", "--limit", "3000", "--format", format, "--url", &url];
        let mut child = command(site.folder.path(), &arguments).spawn().expect("it starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        output.read_line(&mut String::new()).expect("it writes text");
        drop(output);
        let ended = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!((ended.status.code(), error.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn one_event_is_shown_with_its_timeline() {
    let site = Site::start();
    site.post(RING);
    site.settled("r-1");
    let answer = site.run(&["events", "show", "r-1"]);
    let expected = "\
type ring
id r-1
source front
subject front door
priority high
received     TIME
received     TIME
number 1
generation 1
state stored

… received
… sentence (set) ok in …
… delivery to lines done in …

data
  {
    \"z\": 1.50,
    \"a\": \"b\"
  }

enrich
  {
    \"text\": \"ring at the front door\"
  }
";
    assert_eq!((answer.code, timeless(&answer.output), &*answer.error), (0, expected.into(), ""));
    assert!(answer.output.contains("\ntime         2026-01-01 09:50:04.318\n"));
    let json = site.run(&["events", "show", "r-1", "--source", "front", "--format", "json"]);
    let shown: Value = serde_json::from_str(&json.output).expect("it is JSON");
    assert_eq!(shown, site.engine.get("/api/events/r-1"));
    assert!(json.output.contains("\"data\":{\"z\":1.50,\"a\":\"b\"}"), "{}", json.output);
}

#[test]
fn what_an_event_says_is_only_text() {
    let site = Site::start();
    site.post(&hostile());
    let id = HOSTILE_ID;
    for arguments in
        [&["events"][..], &["events", "show", id], &["events", "show", id, "--format", "json"]]
    {
        let answer = site.run(arguments);
        assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{arguments:?}");
        let obeyed = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
        assert!(!answer.output.contains(obeyed), "{:?}", answer.output);
        assert!(answer.output.contains("<b>&"), "{}", answer.output);
    }
    assert_eq!(site.run(&["events"]).output.lines().count(), 2, "one line for one event");
    let shown = site.run(&["events", "show", id, "columns=60"]).output;
    let wide = shown.lines().filter(|line| 60 < line.chars().count());
    assert_eq!(wide.filter(|wide| !wide.starts_with("id ")).count(), 0, "{shown}");
}

#[test]
fn what_cannot_be_shown_is_said_to_be_wrong() {
    let site = Site::start();
    for id in ["none", "a/b", "", "-x", "%", "?", "é", "/", "/a", "a/"] {
        site.refused(&["events", "show", "--", id], 1, "engine: event not found\n");
    }
    for id in ["..", ".", "a/../b", "a\nb", "\u{1b}[2J", "a\\b"] {
        let answer = site.run(&["events", "show", "--", id]);
        assert_eq!((answer.code, &*answer.output), (2, ""), "{id:?}");
        assert!(answer.error.starts_with("engine: an id with control characters, "));
    }
    let usage = |arguments: &[&str], part: &str| {
        let answer = site.run(arguments);
        assert_eq!((answer.code, answer.output.as_str()), (2, ""), "{arguments:?}");
        assert!(answer.error.contains(part), "{}", answer.error);
    };
    usage(&["events", "--limit", "0"], "0 is not in 1..=100000");
    usage(&["events", "--priority", "urgent"], "write one of low, normal, high, critical");
    usage(&["events", "--since", "soon"], "write how long ago, such as 2h");
    usage(&["events", "--timeout", "0s"], "write a duration from 1ms to 1h");
    usage(&["events", "show"], "<ID>");
    let rejected = site.engine.post(r#"{"id":"no"}"#);
    assert_eq!(rejected.0, 422);
    let answer = site.run(&["events", "show", "no"]);
    assert_eq!(answer.code, 1);
    assert!(answer.error.contains("dead letter 1 has a message with this id"), "{}", answer.error);
}

#[test]
fn a_huge_event_is_shown_in_part_and_given_in_full() {
    let site = Site::start();
    let numbers: Vec<u32> = (0..20_000).collect();
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let event = format!(
        r#"{{"id":"huge","type":"ring","data":{{"numbers":{},"text":"{}","deep":{deep}}}}}"#,
        json!(numbers),
        "é".repeat(20_000)
    );
    site.post(&event);
    let shown = site.run(&["events", "show", "huge"]);
    assert_eq!((shown.code, &*shown.error), (0, ""));
    assert!(shown.output.contains(" more lines; see --format json\n"), "{}", shown.output);
    assert!(shown.output.lines().count() < 150);
    let whole = site.run(&["events", "show", "huge", "--format", "json"]).output;
    let whole: Value = serde_json::from_str(&whole).expect("it is JSON");
    assert_eq!(whole["data"]["numbers"].as_array().map(Vec::len), Some(20_000));
}

/// A site whose store searches the data of its events.
fn searching() -> Site {
    Site::of(&super::PIPELINE.replace("home.db\"", "home.db\"\n    search \"data\""))
}

#[test]
fn words_are_found_where_the_store_searches() {
    let site = searching();
    for event in [RING, MOTION] {
        site.post(event);
    }
    site.post(r#"{"id":"p","type":"note","door":"gate","data":{"note":"A parcel at the Café"}}"#);
    until("the index is there, with what came before it", || {
        site.engine.get("/api/events?q=parcel").get("searched_since").is_none()
    });
    let ids = |words: &str| {
        let answer = site.run(&["events", "--search", words, "--format", "csv"]);
        assert_eq!((answer.code, &*answer.error), (0, ""), "{words}");
        let rows =
            answer.output.lines().skip(1).map(|row| row.split(',').nth(2).map(str::to_owned));
        rows.collect::<Option<Vec<_>>>().expect("ids")
    };
    assert_eq!(ids("cafe parc*"), ["p"]);
    assert_eq!(ids("parcel -\"the cafe\""), [""; 0]);
    assert_eq!(ids("b"), ["r-1"]);
    let counted = site.engine.get("/api/events?q=at&type=note&count=true&order=asc&limit=1");
    assert_eq!(counted["count"], json!({ "events": 1, "is_exact": true }));
    site.prints(&["events", "--search", "b", "--where", "data.z < 1", "--quiet"], "");
    for (words, wanted) in [
        (
            "-b",
            "a word that must occur, such as `door`, `\"front door\"`, `deliv*` or `door -back`",
        ),
        ("b*", "words with at least 2 letters before a `*`"),
    ] {
        let error = format!("engine: `q` must be {wanted}\n");
        let answer = site.run(&["events", "--search", words]);
        assert_eq!((&*answer.output, answer.error), ("", error), "{words}");
    }
    assert_eq!(site.engine.ask("GET", "/api/events?q=aa&q=bb", b"").0, 400);
}

#[test]
fn words_are_refused_where_the_store_does_not_search() {
    let site = Site::start();
    let error = "engine: `q` finds nothing in this store: add `search` to its `sink sqlite`\n";
    let answer = site.run(&["events", "--search", "parcel"]);
    assert_eq!((&*answer.output, &*answer.error), ("", error));
}

#[test]
fn what_a_program_reads_is_not_cut() {
    let site = Site::start();
    let id = "x".repeat(150);
    site.post(&format!(r#"{{"id":"{id}","type":"ring","door":"front"}}"#));
    site.settled(&id);
    let url = format!("http://{}", site.engine.address);
    let mut list = super::command(site.folder.path(), &["events", "--url", &url]);
    let listed = list.env_remove("COLUMNS").output().expect("it ends").stdout;
    let listed = String::from_utf8_lossy(&listed);
    assert!(listed.contains(&id), "{listed}");
    assert!(!site.run(&["events"]).output.contains(&id), "with COLUMNS it is");
}
