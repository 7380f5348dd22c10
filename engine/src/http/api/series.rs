//! Counts over time, of the hours in which events came.

use super::events::time;
use super::{Answer, failed, json_text, problem};
use crate::http::app::App;
use crate::http::query;
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Globals;
use kernel::time::{Timestamp, calendar_span};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use store::CountBy;
use tide::Request;

const HOUR: i64 = 3_600_000_000;
const HOUR_SPAN: Duration = Duration::from_secs(3600);
/// The most buckets of an answer.
const BUCKETS_MAX: usize = 1_100;
/// The most lines of an answer: what comes behind them is one.
const LINES_MAX: usize = 50;
/// What the others are called.
const OTHERS: &str = "others";

choice! {
    /// How long a bucket is.
    enum Bucket {
        /// An hour.
        Hour = "1h",
        /// A day of the pipeline's zone.
        Day = "1d",
    }
}

/// What is asked for.
struct SeriesRequest {
    bucket: Bucket,
    by: CountBy,
    since: Option<Timestamp>,
    until: Timestamp,
}

fn series_request(text: &str, now: Timestamp) -> Result<SeriesRequest, String> {
    let pairs = query::pairs(text).ok_or("the query cannot be read")?;
    let mut request =
        SeriesRequest { bucket: Bucket::Hour, by: CountBy::Outcome, since: None, until: now };
    let mut wrong = Vec::new();
    for (name, value) in pairs {
        let is_right = match name.as_str() {
            "bucket" => Bucket::of_word(&value).map(|it| request.bucket = it),
            "by" => CountBy::of_word(&value).map(|it| request.by = it),
            "since" => time(&value, now).map(|it| request.since = Some(it)),
            "until" => time(&value, now).map(|it| request.until = it),
            _ => None,
        };
        if is_right.is_none() {
            wrong.push(match name.as_str() {
                "bucket" => "`bucket` must be 1h or 1d".to_owned(),
                "by" => "`by` must be type, source, priority, outcome or stage".to_owned(),
                "since" | "until" => format!("`{name}` must be RFC 3339 or -1h"),
                _ => format!("`{name}` is not a parameter; there are bucket, by, since and until"),
            });
        }
    }
    if wrong.is_empty() { Ok(request) } else { Err(wrong.join("; ")) }
}

/// The beginnings of the buckets that hold all of a stretch of time, and the end of the last.
fn edges(bucket: Bucket, globals: &Globals, since: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let (span, zone) = match bucket {
        Bucket::Hour => (HOUR_SPAN, None),
        Bucket::Day => (24 * HOUR_SPAN, globals.zone.as_ref()),
    };
    let (first, mut end) = calendar_span(since, span, zone);
    let mut edges = vec![first, end];
    while edges.len() <= BUCKETS_MAX + 1 && end <= until {
        end = calendar_span(end, span, zone).1;
        edges.push(end);
    }
    edges
}

/// Counts of each bucket, also of those with nothing in them.
pub(super) async fn series(request: Request<App>) -> Answer {
    let app = request.state();
    let now = app.engine.env.clock.wall();
    let asked = match series_request(request.url().query().unwrap_or_default(), now) {
        Ok(asked) => asked,
        Err(detail) => return Ok(problem(400, &detail)),
    };
    let days = if asked.bucket == Bucket::Hour { 1 } else { 30 };
    let since = asked.since.unwrap_or(Timestamp(asked.until.0 - days * 24 * HOUR));
    let globals = app.engine.generation().plan.globals.clone();
    let edges = edges(asked.bucket, &globals, since, asked.until);
    if asked.until < since || BUCKETS_MAX < edges.len() - 1 {
        let detail = format!("`since` to `until` must be 0 to {BUCKETS_MAX} buckets");
        return Ok(problem(400, &detail));
    }
    app.engine.store.write_counts().await;
    let by = asked.by;
    let (from, to) = (edges[0].0.div_euclid(HOUR), edges[edges.len() - 1].0.div_euclid(HOUR));
    let counts = match app.engine.store.read(move |it| it.counts(by, from, to)).await {
        Ok(counts) => counts,
        Err(fault) => return Ok(failed(&fault)),
    };
    let starts = &edges[..edges.len() - 1];
    Ok(json_text(
        json!({
            "bucket": asked.bucket.word(),
            "by": by.word(),
            "times": starts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "series": lines(starts, counts),
        })
        .to_string(),
    ))
}

/// One line for each name, with a count for each bucket; the smallest of too many are one.
fn lines(starts: &[Timestamp], counts: Vec<(i64, String, u64)>) -> BTreeMap<String, Value> {
    let mut lines: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (hour, name, count) in counts {
        // An hour belongs to the bucket in which it begins.
        let at = starts.partition_point(|it| it.0 <= hour * HOUR).saturating_sub(1);
        lines.entry(name).or_insert_with(|| vec![0; starts.len()])[at] += count;
    }
    let mut sums: Vec<(u64, String)> =
        lines.iter().map(|it| (it.1.iter().sum(), it.0.clone())).collect();
    sums.sort_by(|one, other| other.cmp(one));
    for (_, name) in sums.into_iter().skip(LINES_MAX) {
        let line = lines.remove(&name).expect("it is there");
        let others = lines.entry(OTHERS.to_owned()).or_insert_with(|| vec![0; starts.len()]);
        others.iter_mut().zip(line).for_each(|(sum, count)| *sum += count);
    }
    lines.into_iter().map(|(name, line)| (name, json!(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn days_are_those_of_the_zone_also_when_clocks_change() {
        let zone = kernel::time::zone("Europe/Berlin");
        let globals = Globals { zone, ..Globals::default() };
        let found =
            edges(Bucket::Day, &globals, at("2026-03-28T12:00:00Z"), at("2026-03-29T23:00:00Z"));
        let expected = [
            "2026-03-27T23:00:00.000Z",
            "2026-03-28T23:00:00.000Z",
            "2026-03-29T22:00:00.000Z",
            "2026-03-30T22:00:00.000Z",
        ];
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn gaps_are_zero_and_too_many_lines_are_put_together() {
        let starts = [Timestamp(0), Timestamp(HOUR), Timestamp(2 * HOUR)];
        let one = |hour, name: &str, count| (hour, name.to_owned(), count);
        let found = lines(&starts, vec![one(0, "a", 2), one(2, "a", 1), one(2, "b", 5)]);
        assert_eq!((&found["a"], &found["b"]), (&json!([2, 0, 1]), &json!([0, 0, 5])));
        let many = (0..60).map(|it| one(1, &format!("n{it:02}"), it + 1)).collect();
        let found = lines(&starts, many);
        assert_eq!((found.len(), &found[OTHERS]), (51, &json!([0, 55, 0])));
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let told = series_request("bucket=2h&by=colour&since=x&y=1", Timestamp(0)).err();
        let told = told.expect("it is refused");
        for part in ["`bucket` must", "`by` must", "`since` must", "`y` is not"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
