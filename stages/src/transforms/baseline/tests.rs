use super::*;
use crate::testing::{self, Memorised};
use proptest::prelude::*;

const HOUR: i64 = 3600;

fn world(text: &str) -> Memorised {
    Memorised::new(Baseline(testing::settings::<Baseline>(text)))
}

fn text(method: &str, rest: &str) -> String {
    format!("key \"data.k\"\nvalue \"data.v\"\nmethod {method}\n{rest}")
}

/// What is added to an event with this value at this second.
fn added(world: &mut Memorised, at: i64, value: impl Into<Value>) -> Value {
    let step = world.event(at, json!({ "k": "door", "v": value.into() })).expect("it counts");
    serde_json::from_str(&step.output.expect("it adds")).expect("JSON")
}

/// Without the last digits.
fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// `mean`, `sd`, `score` and `n` of what is added.
fn figures(added: &Value) -> [Option<f64>; 4] {
    ["mean", "sd", "score", "n"].map(|it| added[it].as_f64().map(rounded))
}

#[track_caller]
fn check(text: &str, rows: &[(i64, f64)], expected: &[[Option<f64>; 4]]) {
    let mut world = world(text);
    let told = rows.iter().map(|(at, value)| figures(&added(&mut world, *at, *value)));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn the_weight_of_a_value_halves_with_time() {
    // After one half-life, the mean of 0 and 3 is (0.5 · 0 + 1 · 3) / 1.5 = 2, and the variance
    // (0.5 · 4 + 1 · 1) / 1.5 = 2.
    let rows = [(0, 0.0), (HOUR, 3.0), (2 * HOUR, 2.0 + 2.0 * 2.0_f64.sqrt())];
    let expected = [
        [None, None, None, Some(0.0)],
        [Some(0.0), Some(0.0), None, Some(1.0)],
        [Some(2.0), Some(rounded(2.0_f64.sqrt())), Some(2.0), Some(2.0)],
    ];
    check(&text("ewma half-life=\"1h\"", "warm-up 2"), &rows, &expected);
}

#[test]
fn the_median_does_not_follow_an_outlier() {
    // The median of 1, 2, 3, 4 and 900 is 3, of the distances 0, 1, 1, 2 and 897 it is 1.
    let rows = [1.0, 2.0, 900.0, 3.0, 4.0, 3.0 + 14.826];
    let rows: Vec<(i64, f64)> = (0..).zip(rows).collect();
    let mut world = world(&text("mad window=5", "warm-up 5\nband 2.0"));
    let told: Vec<Value> = rows.iter().map(|(at, it)| added(&mut world, *at, *it)).collect();
    assert_eq!(told[4]["score"], Value::Null);
    assert_eq!(figures(&told[5]), [Some(3.0), Some(1.4826), Some(10.0), Some(5.0)]);
    let band = [3.0 - 2.9652, 3.0 + 2.9652];
    assert_eq!([&told[5]["low"], &told[5]["high"]].map(|it| it.as_f64().unwrap()), band);
    assert_eq!([&told[4]["is_warm"], &told[5]["is_warm"]], [&json!(false), &json!(true)]);
    // The first value has left the window: of 2, 3, 4, 17.826 and 900 the middle one is 4.
    assert_eq!(figures(&added(&mut world, 9, 4.0))[..2], [Some(4.0), Some(2.0 * 1.4826)]);
}

#[test]
fn each_hour_of_the_week_has_its_own() {
    let week = 7 * 24 * HOUR;
    // 1970-01-01 has no offset, and is a Thursday.
    let rows = [(0, 5.0), (HOUR, 50.0), (week + 60, 7.0), (week + HOUR, 50.0), (2 * week, 6.0)];
    let expected = [
        [None, None, None, Some(0.0)],
        [None, None, None, Some(0.0)],
        [Some(5.0), Some(0.0), Some(SCORE_MAX), Some(1.0)],
        [Some(50.0), Some(0.0), None, Some(1.0)],
    ];
    let text = text("seasonal half-life=\"7d\"", "warm-up 1");
    check(&text, &rows[..4], &expected);
    // The weights are 2^-(one week and a minute) and 1: both are known, at nearly 1 to 2.
    let mut world = world(&text);
    let last = rows.map(|(at, value)| figures(&added(&mut world, at, value)))[4];
    assert!((last[0].unwrap() - 19.0 / 3.0).abs() < 1e-3 && last[3] == Some(2.0), "{last:?}");
}

#[test]
fn where_nothing_deviates_anything_else_is_far_out() {
    let text = text("ewma half-life=\"1h\"", "warm-up 1");
    let rows = [(0, 0.1), (7, 0.1), (19, 0.1), (20, 0.3), (21, 0.1)];
    let mut world = world(&text);
    let scores = rows.map(|(at, value)| added(&mut world, at, value)["score"].as_f64());
    assert_eq!(scores[..4], [None, None, None, Some(SCORE_MAX)]);
    assert!(-1.0 < scores[4].unwrap() && scores[4].unwrap() < 0.0, "{scores:?}");
    check(
        &text,
        &[(0, 0.0), (1, -1.0)],
        &[[None, None, None, Some(0.0)], [Some(0.0), Some(0.0), Some(-SCORE_MAX), Some(1.0)]],
    );
}

#[test]
fn what_is_not_a_number_does_not_count() {
    let mut world = world(&text("mad", ""));
    for value in [json!("7"), json!(true), Value::Null, json!([1]), json!(1e101)] {
        assert!(world.event(1, json!({ "k": "door", "v": value })).is_none(), "{value}");
    }
    assert!(world.event(1, json!({ "k": null, "v": 1 })).is_none());
    assert_eq!(added(&mut world, 2, 7)["n"], json!(0));
    assert_eq!(added(&mut world, 3, 7)["n"], json!(1));
}

#[test]
fn what_does_not_belong_together_is_found_at_once() {
    let found = |method: &str, rest: &str| testing::findings::<Baseline>(&text(method, rest));
    let wrong = "E0016 `half-life` does not work with `mad`";
    assert_eq!(found("mad half-life=\"1h\"", ""), [wrong]);
    assert_eq!(found("ewma", ""), ["E0015 `ewma` needs `half-life`"]);
    let both =
        ["E0016 `window` does not work with `seasonal`", "E0015 `seasonal` needs `half-life`"];
    assert_eq!(found("seasonal window=9", "").len(), both.len());
    assert!(both.iter().all(|it| found("seasonal window=9", "").contains(&(*it).to_owned())));
    let never = "E0019 only the last 9 values are known";
    assert_eq!(found("mad window=9", "warm-up 10"), [never]);
    assert_eq!(found("mad window=9", ""), Vec::<String>::new());
}

/// Mean and deviation of weighted values, as their definitions say.
fn by_definition(rows: &[(i64, f64)], half_life: f64) -> (f64, f64) {
    let latest = rows.iter().map(|row| row.0).max().expect("some");
    let weights = rows.iter().map(|row| 0.5_f64.powf((latest - row.0) as f64 / half_life));
    let weights: Vec<f64> = weights.collect();
    let sum: f64 = weights.iter().sum();
    let mean = rows.iter().zip(&weights).map(|(it, weight)| it.1 * weight).sum::<f64>() / sum;
    let apart = |it: &(i64, f64)| (it.1 - mean) * (it.1 - mean);
    let variance = rows.iter().zip(&weights).map(|(it, weight)| apart(it) * weight).sum::<f64>();
    (mean, (variance / sum).sqrt())
}

/// The value that half of the others are below, found by counting.
fn middle_by_counting(values: &[f64]) -> f64 {
    let rank = |number: &f64| values.iter().filter(|other| *other < number).count();
    let is_at = |at: usize| {
        move |number: &&f64| {
            let same = values.iter().filter(|other| *other == *number).count();
            (rank(number)..rank(number) + same).contains(&at)
        }
    };
    let at = |at: usize| *values.iter().find(is_at(at)).expect("each rank has one");
    (at((values.len() - 1) / 2) + at(values.len() / 2)) / 2.0
}

fn is_close(one: f64, other: f64, scale: f64) -> bool {
    (one - other).abs() <= 1e-6 * scale
}

/// Values at times that mostly go on, and sometimes back.
fn rows() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![0_i64..7200, -90_000_i64..600_000];
    prop::collection::vec((step, -1e3..1e3_f64), 2..60).prop_map(|rows| {
        let mut at = 10_000_000;
        let mut passed = |step| {
            at += step;
            at
        };
        rows.into_iter().map(|(step, value)| (passed(step), value)).collect()
    })
}

proptest! {
    #[test]
    fn a_faded_mean_is_what_its_definition_says(rows in rows(), hours in 1_i64..72) {
        let text = text(&format!("ewma half-life=\"{hours}h\""), "warm-up 1");
        let mut world = world(&text);
        for (index, (at, value)) in rows.iter().enumerate() {
            let told = figures(&added(&mut world, *at, *value));
            if index == 0 {
                continue;
            }
            let (mean, sd) = by_definition(&rows[..index], (hours * HOUR) as f64);
            prop_assert!(is_close(told[0].unwrap(), mean, 1e3), "{told:?} {mean}");
            prop_assert!(is_close(told[1].unwrap(), sd, 1e4), "{told:?} {sd}");
            if 1.0 < sd {
                let score = ((value - mean) / sd).clamp(-SCORE_MAX, SCORE_MAX);
                prop_assert!(is_close(told[2].unwrap(), score, 1e4), "{told:?} {score}");
            }
        }
    }

    #[test]
    fn a_seasonal_mean_knows_only_its_hour(rows in rows()) {
        let mut world = world(&text("seasonal half-life=\"7d\"", "warm-up 1"));
        let hour = |at: i64| (at / HOUR + 72) % 168;
        for (index, (at, value)) in rows.iter().enumerate() {
            let told = figures(&added(&mut world, *at, *value));
            let own = rows[..index].iter().filter(|row| hour(row.0) == hour(*at));
            let own: Vec<(i64, f64)> = own.copied().collect();
            prop_assert_eq!(told[3], Some(own.len() as f64));
            if !own.is_empty() {
                let (mean, sd) = by_definition(&own, 168.0 * HOUR as f64);
                prop_assert!(is_close(told[0].unwrap(), mean, 1e3), "{told:?} {mean}");
                prop_assert!(is_close(told[1].unwrap(), sd, 1e4), "{told:?} {sd}");
            }
        }
    }

    #[test]
    fn a_median_is_the_one_in_the_middle(rows in rows(), window in 2_usize..30) {
        let mut world = world(&text(&format!("mad window={window}"), ""));
        for (index, (at, value)) in rows.iter().enumerate() {
            let told = figures(&added(&mut world, *at, *value));
            let values = rows[index.saturating_sub(window)..index].iter().map(|row| row.1);
            let values: Vec<f64> = values.collect();
            prop_assert_eq!(told[3], Some(values.len() as f64));
            if values.is_empty() {
                continue;
            }
            let middle = middle_by_counting(&values);
            let apart: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
            let sd = middle_by_counting(&apart) * 1.4826;
            prop_assert!(is_close(told[0].unwrap(), middle, 1e3), "{told:?} {middle}");
            prop_assert!(is_close(told[1].unwrap(), sd, 1e3), "{told:?} {sd}");
        }
    }
}
