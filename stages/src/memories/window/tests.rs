use super::*;
use crate::testing::{self, Memorised};
use serde_json::json;

fn world(text: &str) -> Memorised {
    let settings = testing::settings::<Window>(text);
    Memorised::new(Window { settings, globals: testing::globals() })
}

/// What was sent for these events: type, second, and the data without its times.
#[track_caller]
fn check(text: &str, rows: &[(i64, i64)], until: i64, expected: &[(i64, Value)]) {
    let mut world = world(text);
    for (at, value) in rows {
        world.event(*at, json!({ "v": value }));
    }
    world.pass(Timestamp(until * 1_000_000));
    let told = world.told().into_iter().map(|(_, at, mut data)| {
        let fields = data.as_object_mut().unwrap();
        fields.retain(|name, _| !OWN.contains(&name.as_str()));
        (at, data)
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

const EACH: &str = "aggregate n=\"count()\" top=\"max(data.v)\"\nemit sum";

#[test]
fn windows_follow_each_other_and_empty_ones_send_nothing() {
    let text = format!("tumbling \"10s\"\n{EACH}");
    let rows = [(0, 5), (9, 7), (10, 1), (45, 2)];
    let expected = [
        (10, json!({ "n": 2, "top": 7 })),
        (20, json!({ "n": 1, "top": 1 })),
        (50, json!({ "n": 1, "top": 2 })),
    ];
    check(&text, &rows, 100, &expected);
    check(&text, &rows, 49, &expected[..2]);
}

#[test]
fn durations_are_summed_up_by_their_seconds() {
    let made = ["sum", "avg", "min", "max"].map(|how| {
        format!(" {how}=\"{how}(number(time(data.v) - time(0)))\" of_{how}=\"{how}(number(duration(data.v)))\"")
    });
    let text = format!("tumbling \"100s\"\naggregate{}\nemit took", made.concat());
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let rows: Vec<(i64, i64)> =
            (0..random.i64(1..20)).map(|at| (at, random.i64(-100_000..1_000_000))).collect();
        let values = rows.iter().map(|row| row.1);
        let sum: i64 = values.clone().sum();
        let average = sum as f64 / rows.len() as f64;
        let average = if average.fract() == 0.0 { json!(average as i64) } else { json!(average) };
        let (least, most) = (values.clone().min(), values.max());
        let expected = json!({
            "sum": sum, "of_sum": sum, "avg": average, "of_avg": average,
            "min": least, "of_min": least, "max": most, "of_max": most,
        });
        check(&text, &rows, 1000, &[(100, expected)]);
    }
}

#[test]
fn late_events_count_while_the_window_waits() {
    let text = format!("tumbling \"10s\" lateness=\"5s\"\n{EACH}");
    let expected = [(10, json!({ "n": 2, "top": 9 })), (20, json!({ "n": 1, "top": 1 }))];
    check(&text, &[(1, 5), (14, 1), (3, 9)], 100, &expected);
    // At 15 the first one is over, and is not told of again.
    let mut world = world(&text);
    world.event(1, json!({ "v": 5 }));
    world.event(15, json!({ "v": 1 }));
    let late = world.event(3, json!({ "v": 9 })).unwrap();
    assert!(late.is_late);
    world.pass(Timestamp(100_000_000));
    assert_eq!(world.told().iter().map(|it| it.1).collect::<Vec<_>>(), [10, 20]);
}

#[test]
fn a_window_that_slides_tells_when_its_condition_becomes_true() {
    let text = format!("sliding \"60s\"\nhaving \"n > 2\"\n{EACH}");
    let rows = [(0, 1), (59, 1), (60, 1), (61, 8), (62, 1), (200, 1), (201, 1), (202, 3)];
    let expected = [(61, json!({ "n": 3, "top": 8 })), (202, json!({ "n": 3, "top": 3 }))];
    check(&text, &rows, 1000, &expected);
}

#[test]
fn once_counts_from_what_was_told_last() {
    let text = format!("sliding \"60s\"\nhaving \"n > 1\" once=\"30s\"\n{EACH}");
    let rows: Vec<(i64, i64)> = (0..8).map(|it| (it * 10, it)).collect();
    let expected = [
        (10, json!({ "n": 2, "top": 1 })),
        (40, json!({ "n": 5, "top": 4 })),
        (70, json!({ "n": 6, "top": 7 })),
    ];
    check(&text, &rows, 1000, &expected);
}

#[test]
fn without_a_condition_each_event_tells() {
    let text = "sliding \"10s\" max-events=2\naggregate all=\"sum(data.v)\"\nemit sum";
    let expected = [(0, json!({"all": 1})), (1, json!({"all": 3})), (2, json!({"all": 6}))];
    check(text, &[(0, 1), (1, 2), (2, 4)], 1000, &expected);
    // One out of order counts, and one that is too old does not.
    let expected = [(9, json!({"all": 1})), (5, json!({"all": 3})), (20, json!({"all": 8}))];
    check(
        "sliding \"10s\"\naggregate all=\"sum(data.v)\"\nemit sum",
        &[(9, 1), (5, 2), (20, 8), (10, 9)],
        1000,
        &expected,
    );
}

#[test]
fn a_session_lasts_until_a_gap() {
    let text = format!("session gap=\"10s\"\n{EACH}");
    let expected = [(18, json!({ "n": 2, "top": 5 })), (30, json!({ "n": 1, "top": 6 }))];
    check(&text, &[(0, 5), (8, 1), (20, 6)], 1000, &expected);
    // A late event joins two that were apart.
    let text = format!("session gap=\"10s\" lateness=\"30s\"\n{EACH}");
    let expected = [(26, json!({ "n": 3, "top": 6 }))];
    check(&text, &[(0, 5), (16, 6), (8, 1)], 1000, &expected);
}

#[test]
fn the_times_are_those_of_the_window() {
    let told = |text: &str| {
        let mut world = world(text);
        world.event(12, json!({}));
        world.event(15, json!({}));
        world.pass(Timestamp(1_000_000_000));
        let (kind, _, data) = world.told().pop().unwrap();
        let times = OWN.map(|it| data[it].as_str().unwrap()[17..19].to_owned());
        (kind, times.join(" "))
    };
    assert_eq!(told("tumbling \"10s\"\nemit a"), ("a".to_owned(), "10 20".to_owned()));
    assert_eq!(told("sliding \"10s\"\nemit a"), ("a".to_owned(), "12 15".to_owned()));
    assert_eq!(told("session gap=\"10s\"\nemit a"), ("a".to_owned(), "12 15".to_owned()));
}

#[test]
fn nothing_is_kept_for_ever() {
    for text in
        ["tumbling \"10s\"", "sliding \"10s\"\nhaving \"n > 0\" once=\"1h\"", "session gap=\"9s\""]
    {
        let mut world = world(&format!("{text}\nemit a"));
        world.event(1, json!({}));
        world.pass(Timestamp(3 * 86_400 * 1_000_000));
        assert_eq!(world.keys(), 0, "{text}");
    }
}

#[test]
fn mistakes_are_found() {
    let found = testing::findings::<Window>;
    assert_eq!(found("emit a"), ["E0018 a window needs `tumbling`, `sliding` or `session`"]);
    assert_eq!(
        found("tumbling \"1s\"\nsession gap=\"1s\"\nemit a"),
        ["E0017 a window has one of `tumbling`, `sliding` and `session`"]
    );
    assert_eq!(
        found("tumbling \"1s\" lateness=\"1h\"\nemit a"),
        ["E0019 `lateness` is more than 60 windows long"]
    );
    assert_eq!(
        found("tumbling \"1s\"\naggregate end=\"count()\" n-max=\"max(data.n)\"\nemit a"),
        [
            "E0206 the event's data already has a field `end`",
            "E0206 `n-max` cannot be read by `having`",
        ]
    );
}
