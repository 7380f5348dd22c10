//! What `dedupe` and `throttle` let through, on the virtual clock.

use crate::retry::{Ends, dark, run_pipeline};
use std::sync::Arc;
use std::time::Duration;

/// Sends 30 events, one each 100 ms, through a pipeline with this rule.
fn run(rule: &str) -> Ends {
    let pipeline = format!(
        r#"
pipeline passing schema-version=1
source http front {{
    path "/events"
    map {{ id "data.id" }}
}}
{rule}
sink sqlite db {{ path "never.db"; retention {{ keep "1d" }} }}
"#
    );
    run_pipeline(&pipeline, 30, Duration::from_millis(100), Arc::new(|_, _| dark()))
}

fn numbers(ends: &Ends) -> Vec<u32> {
    let number = |text: &String| text.trim_start_matches("e-").parse().expect("a number");
    let mut numbers: Vec<u32> = ends.keys().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_first_of_each_key_and_window_passes() {
    let rule = r#"dedupe same { key "data.number % 2"; window "1s" }"#;
    assert_eq!(numbers(&run(rule)), [0, 1, 10, 11, 20, 21]);
    let rule = r#"dedupe same { key "data.number < 5 ? null : 'x'"; window "1m" }"#;
    assert_eq!(numbers(&run(rule)), [0, 1, 2, 3, 4, 5], "a null key passes");
    let rule = r#"dedupe same { when "data.number > 26"; key "'x'"; window "1m" }"#;
    assert_eq!(numbers(&run(rule)).len(), 28, "only those of `when` are asked");
    let rule = r#"dedupe same { disabled; key "'x'"; window "1m" }"#;
    assert_eq!(numbers(&run(rule)).len(), 30);
}

#[test]
fn events_of_a_key_pass_at_a_rate() {
    let rule = r#"throttle calm { rate "1/s" burst=2 }"#;
    assert_eq!(numbers(&run(rule)), [0, 1, 10, 20]);
    let rule = r#"throttle calm { key "data.number % 2"; rate "1/s" }"#;
    assert_eq!(numbers(&run(rule)), [0, 1, 10, 11, 20, 21]);
}

#[test]
fn what_does_not_pass_can_be_marked_instead() {
    let rule = r#"dedupe the-same { key "'x'"; window "1m"; on-drop tag reason="seen before" }"#;
    let ends = run(rule);
    assert_eq!(ends.len(), 30);
    assert_eq!(&*ends["e-0"].1.enrich, "{}");
    assert_eq!(&*ends["e-7"].1.enrich, r#"{"the_same":{"dropped":"seen before"}}"#);
}

#[test]
fn rules_are_asked_in_file_order() {
    let rules = r#"
filter odd { keep when="data.number % 2 == 1" }
dedupe same { key "'x'"; window "1m" }
"#;
    assert_eq!(numbers(&run(rules)), [1]);
    let rules = r#"
dedupe same { key "'x'"; window "1m" }
filter odd { keep when="data.number % 2 == 1" }
"#;
    assert_eq!(numbers(&run(rules)), Vec::<u32>::new());
}
