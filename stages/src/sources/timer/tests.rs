//! The timer on a clock that moves only while somebody sleeps, from 2026-01-01T10:00:00Z on.

use super::*;
use crate::testing::{self, Inbox, ReadIn};
use kernel::health::PartRole;
use serde_json::{Value, json};
use std::path::Path;

const ROOMS: &str = "name,limit\nhall,20\nattic,5\n";

fn read(text: &str, table: &str) -> ReadIn<TimerSource> {
    testing::read_in::<TimerSource>(text, Path::new("/x"), &[("rooms.csv", table)])
}

/// What a timer is and does, until the inbox has taken `batches_max` transactions.
struct Trial {
    inbox: Inbox,
    services: Services,
}

impl Trial {
    fn new(batches_max: usize) -> Self {
        Trial { inbox: Inbox::closing_after(batches_max), services: testing::alone() }
    }

    /// It was there before: `schedule` ticked last at `at`.
    fn knowing(self, schedule: &str, at: &str) -> Self {
        let at = kernel::time::Timestamp::parse(at).expect("a time").0;
        let place = json!({ "schedule": schedule, "at": at }).to_string();
        self.inbox.remembered.lock().unwrap().insert("tick".to_owned(), place);
        self
    }

    #[track_caller]
    fn run(self, text: &str, table: &str) -> Self {
        let (settings, found) = read(text, table);
        assert_eq!(found, Vec::<String>::new());
        let settings = settings.expect("there is no finding");
        let told = TimerSource::brings(&settings).message;
        let opened = smol::block_on(TimerSource::open(settings, self.services.clone())).unwrap();
        let OpenSource::Task(mut source) = opened else { panic!("it runs by itself") };
        smol::block_on(source.run(&self.inbox)).unwrap();
        for body in self.inbox.bodies() {
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!(told.admits(&body), "it brings what it says: {body}");
        }
        self
    }

    /// The times of what was sent, and the rows: `10:10 hall`. A transaction is a line.
    fn sent(&self) -> Vec<String> {
        let batches = self.inbox.batches.lock().unwrap();
        let shown = |message: &crate::contract::Message| {
            let (id, time) = (message.id.as_ref().unwrap(), message.time.unwrap().to_string());
            let row = id.strip_prefix(&format!("tested/{time}")).expect("the id begins so");
            format!("{}{}", &time[11..16], row.replace('/', " "))
        };
        batches.iter().map(|batch| batch.iter().map(shown).collect::<Vec<_>>().join(", ")).collect()
    }

    fn place(&self) -> Value {
        let remembered = self.inbox.remembered.lock().unwrap();
        serde_json::from_str(&remembered["tick"]).unwrap()
    }
}

#[test]
fn the_first_start_sends_nothing_of_the_past() {
    for catch_up in ["none", "last", "all"] {
        let trial = Trial::new(3).run(&format!("every \"10m\"\ncatch-up {catch_up}"), "");
        assert_eq!(trial.sent(), ["", "10:10", "10:20"]);
        assert_eq!(trial.inbox.bodies()[0], r#"{"scheduled":"2026-01-01T10:10:00.000Z"}"#);
    }
    let trial = Trial::new(3).run("cron \"15 11-12 * * *\"", "");
    assert_eq!(trial.sent(), ["", "11:15", "12:15"]);
}

#[test]
fn what_was_missed_is_sent_as_the_file_says() {
    let missed = |catch_up: &str, batches| {
        let trial = Trial::new(batches).knowing("every 10m", "2026-01-01T09:25:00Z");
        trial.run(&format!("every \"10m\"\ncatch-up {catch_up}"), "").sent()
    };
    // The one that is due now was not missed.
    assert_eq!(missed("none", 3), ["", "10:00", "10:10"]);
    assert_eq!(missed("last", 3), ["09:50", "10:00", "10:10"]);
    assert_eq!(missed("all", 5), ["09:30", "09:40", "09:50", "10:00", "10:10"]);
    let cron = Trial::new(2).knowing("cron 0 9 * * * UTC", "2025-12-24T00:00:00Z");
    let cron = cron.run("cron \"0 9 * * *\"\ncatch-up last", "");
    assert_eq!(cron.sent(), ["09:00", "09:00"]);
    assert_eq!(cron.place()["at"], json!(1_767_344_400_000_000_i64));
}

#[test]
fn of_too_many_the_newest_are_sent_and_the_rest_is_counted() {
    let health = |every: &str, since: &str| {
        let trial = Trial::new(1000).knowing(&format!("every {every}"), since);
        let trial = trial.run(&format!("every \"{every}\"\ncatch-up all"), "");
        let sent = trial.sent();
        let report = trial.services.env.health.report().pop().expect("a report");
        assert_eq!(report.part.role, PartRole::Stage);
        let reason = report.problems.first().map(|problem| problem.problem.reason.clone());
        (sent.first().cloned(), sent.last().cloned(), reason.expect("a problem"))
    };
    let (first, last, reason) = health("1m", "2025-12-31T10:00:00Z");
    assert_eq!((first.as_deref(), last.as_deref()), (Some("17:20"), Some("09:59")));
    assert_eq!(reason, "left out 439 ticks that were missed before 2025-12-31T17:20:00.000Z");
    let (_, _, reason) = health("1s", "2025-12-31T10:00:00Z");
    assert!(reason.starts_with("left out more than 10000 ticks"), "{reason}");
    let caught_up = Trial::new(1001).knowing("every 1m", "2025-12-31T10:00:00Z");
    let caught_up = caught_up.run("every \"1m\"\ncatch-up all", "");
    assert!(caught_up.services.env.health.report()[0].problems.is_empty(), "it ticks again");
}

#[test]
fn another_schedule_counts_from_now_and_so_does_a_clock_that_was_wrong() {
    let all = "every \"10m\"\ncatch-up all";
    let other = Trial::new(2).knowing("every 5m", "2026-01-01T09:00:00Z").run(all, "");
    assert_eq!(other.sent(), ["", "10:10"]);
    let zone = Trial::new(2).knowing("cron 0 * * * * Europe/Rome", "2026-01-01T01:00:00Z");
    assert_eq!(zone.run("cron \"0 * * * *\"\ncatch-up all", "").sent(), ["", "11:00"]);
    let wrong = Trial::new(2).knowing("every 10m", "2036-01-01T00:00:00Z").run(all, "");
    assert_eq!(wrong.sent(), ["", "10:10"]);
    // After an hour back, the ticks of that hour are not sent again.
    let back = Trial::new(2).knowing("every 10m", "2026-01-01T11:00:00Z").run(all, "");
    assert_eq!(back.sent(), ["11:10", "11:20"]);
}

#[test]
fn a_row_is_an_event_with_its_key_as_subject() {
    let trial = Trial::new(3).run("every \"1h\"\nper table=\"rooms.csv\" key=name", ROOMS);
    let eleven = "11:00 hall, 11:00 attic";
    assert_eq!(trial.sent(), ["", eleven, "12:00 hall, 12:00 attic"]);
    assert_eq!(trial.inbox.bodies()[1], r#"{"limit":5,"name":"attic"}"#);
    let subjects = |trial: &Trial| -> Vec<Option<String>> {
        let batches = trial.inbox.batches.lock().unwrap();
        batches[1].iter().map(|batch| batch.subject.as_ref().map(ToString::to_string)).collect()
    };
    assert_eq!(subjects(&trial), [Some("hall".to_owned()), Some("attic".to_owned())]);
    let trial = Trial::new(2).run("every \"1h\"\nper table=\"rooms.csv\"", ROOMS);
    assert_eq!(trial.sent(), ["", "11:00 1, 11:00 2"]);
    assert_eq!(subjects(&trial), [None, None]);
    let empty = Trial::new(3).run("every \"1h\"\nper table=\"rooms.csv\" key=name", "name,limit\n");
    assert_eq!(empty.sent(), ["", "", ""]);
}

#[test]
fn a_tick_of_many_rows_is_finished_after_a_kill() {
    let rows: String = (0..1100).map(|it| format!("r{it},{it}\n")).collect();
    let table = format!("name,limit\n{rows}");
    let text = "every \"1h\"\nper table=\"rooms.csv\" key=name";
    let killed = Trial::new(2).run(text, &table);
    assert_eq!(killed.place()["row"], "r511");
    let sizes = |trial: &Trial| -> Vec<usize> {
        trial.inbox.batches.lock().unwrap().iter().map(Vec::len).collect()
    };
    assert_eq!(sizes(&killed), [0, 512]);
    let again = |table: &str, batches| {
        let trial = Trial::new(batches);
        *trial.inbox.remembered.lock().unwrap() = killed.inbox.remembered.lock().unwrap().clone();
        trial.run(text, table)
    };
    let finished = again(&table, 2);
    assert_eq!(sizes(&finished), [512, 76]);
    assert!(finished.sent()[0].starts_with("11:00 r512, "), "it goes on behind the last row");
    assert_eq!(finished.place().get("row"), None);
    // Without that row nobody knows how far it was; ids tell.
    let other = again(&table.replace("r511,", "x,"), 3);
    assert_eq!(sizes(&other), [512, 512, 76]);
}

#[test]
fn what_is_wrong_is_found_at_its_place() {
    let found = |text: &str, table: &str| read(text, table).1.join("; ");
    assert_eq!(found("catch-up last", ""), "E0018 a timer needs `cron` or `every`");
    let both = "cron \"0 7 * * *\"\nevery \"1h\"";
    assert_eq!(found(both, ""), "E0017 a timer has either `cron` or `every`");
    let two = "E0016 `61` is not a minute; E0016 `24` is not an hour";
    assert_eq!(found("cron \"61 24 * * *\"", ""), two);
    let long = "E0019 `jitter` must be at most half of `every`, 5m";
    assert_eq!(found("every \"10m\" jitter=\"301s\"", ""), long);
    assert_eq!(found("every \"10m\" jitter=\"5m\"", ""), "");
    let per = |key: &str, table: &str| {
        found(&format!("every \"1h\"\nper table=\"rooms.csv\" {key}"), table)
    };
    assert_eq!(per("key=nam", ROOMS), "E0303 the table has no column `nam`");
    assert_eq!(per("key=name", "name\na\na\n"), "E0303 two rows of the table have the key `a`");
    assert_eq!(per("", "name\na\na\n"), "");
    assert_eq!(per("{ number name }", ROOMS), "E0303 `hall` in the column `name` is not a number");
    let many = format!("name\n{}", "a\n".repeat(10_001));
    assert_eq!(per("", &many), "E0303 the table has 10001 rows, more than 10000");
    let long = format!("name\n{}\n", "a".repeat(129));
    assert_eq!(per("key=name", &long), "E0303 a key of the table has 129 bytes, more than 128");
}
