//! Counts over time, of the minutes, hours or days in which events came, and how long they took.

use super::events::time;
use super::{Answer, failed, json_text, problem};
use crate::http::app::App;
use crate::http::{paths, query};
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Globals;
use kernel::time::{Timestamp, calendar_span};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{CountBy, CountGrain, CountRow, MINUTES_KEPT, PERCENTILES, Spread, SpreadRow};
use tide::Request;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// The most buckets of an answer.
const BUCKETS_MAX: usize = 1_100;
/// The most lines of an answer: what comes behind them is one.
const LINES_MAX: usize = 50;
/// What the others are called.
const OTHERS: &str = "others";

choice! {
    /// How long a bucket is.
    enum Bucket {
        /// A minute.
        Minute = "1m",
        /// Five of them.
        FiveMinutes = "5m",
        /// An hour.
        Hour = "1h",
        /// A day of the pipeline's zone.
        Day = "1d",
    }
}

impl Bucket {
    fn span(self) -> Duration {
        match self {
            Bucket::Minute => MINUTE,
            Bucket::FiveMinutes => 5 * MINUTE,
            Bucket::Hour => 60 * MINUTE,
            Bucket::Day => DAY,
        }
    }

    /// What is counted that such buckets are made of.
    fn grain(self) -> CountGrain {
        match self {
            Bucket::Minute | Bucket::FiveMinutes => CountGrain::Minute,
            Bucket::Hour | Bucket::Day => CountGrain::Hour,
        }
    }

    /// How far back it goes when nothing is said.
    fn default_reach(self) -> Duration {
        match self {
            Bucket::Minute => 60 * MINUTE,
            Bucket::FiveMinutes => 360 * MINUTE,
            Bucket::Hour => DAY,
            Bucket::Day => 30 * DAY,
        }
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
            "bucket" => Bucket::of_word(&value).map(|word| request.bucket = word),
            "by" => CountBy::of_word(&value).map(|word| request.by = word),
            "since" => time(&value, now).map(|time| request.since = Some(time)),
            "until" => time(&value, now).map(|time| request.until = time),
            _ => None,
        };
        if is_right.is_none() {
            wrong.push(match name.as_str() {
                "bucket" => "`bucket` must be 1m, 5m, 1h or 1d".to_owned(),
                "by" => "`by` must be type, source, priority, outcome or stage".to_owned(),
                "since" | "until" => format!("`{name}` must be RFC 3339 or -1h"),
                _ => paths::unknown_parameter(&name, paths::SERIES),
            });
        }
    }
    if wrong.is_empty() { Ok(request) } else { Err(wrong.join("; ")) }
}

/// The beginnings of the buckets that hold all of a stretch of time, and the end of the last.
fn edges(bucket: Bucket, globals: &Globals, since: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let zone = if bucket == Bucket::Day { globals.zone.as_ref() } else { None };
    let (first, mut end) = calendar_span(since, bucket.span(), zone);
    let mut edges = vec![first, end];
    while edges.len() <= BUCKETS_MAX + 1 && end <= until {
        end = calendar_span(end, bucket.span(), zone).1;
        edges.push(end);
    }
    edges
}

/// The buckets that are asked for; the error says which may be.
fn asked_edges(
    asked: &SeriesRequest,
    globals: &Globals,
    now: Timestamp,
) -> Result<Vec<Timestamp>, String> {
    let since = asked.since.unwrap_or(asked.until.minus(asked.bucket.default_reach()));
    // Also the last one that is kept, which has begun before.
    let kept = now.minus(MINUTES_KEPT + 5 * MINUTE);
    if asked.bucket.grain() == CountGrain::Minute && since < kept {
        let hours = MINUTES_KEPT.as_secs() / 3600;
        return Err(format!("minutes are kept for {hours} hours; `bucket=1h` goes back further"));
    }
    let edges = edges(asked.bucket, globals, since, asked.until);
    if asked.until < since || BUCKETS_MAX < edges.len() - 1 {
        return Err(format!("`since` to `until` must be 0 to {BUCKETS_MAX} buckets"));
    }
    Ok(edges)
}

/// Counts of each bucket, also of those with nothing in them.
pub(super) async fn series(request: Request<App>) -> Answer {
    let app = request.state();
    let now = app.engine.env.clock.wall();
    let globals = app.engine.generation().plan.globals.clone();
    let asked = series_request(request.url().query().unwrap_or_default(), now);
    let asked = asked.and_then(|asked| {
        let edges = asked_edges(&asked, &globals, now)?;
        Ok((asked, edges))
    });
    let (SeriesRequest { bucket, by, .. }, edges) = match asked {
        Ok(asked) => asked,
        Err(detail) => return Ok(problem(400, &detail)),
    };
    app.engine.store.write_counts().await;
    let grain = bucket.grain();
    let piece = |edge: usize| edges[edge].0.div_euclid(grain.micros());
    let span = (piece(0), piece(edges.len() - 1));
    let both = move |reader: &store::Reader<'_>| {
        Ok((reader.counts(by, grain, span)?, reader.spreads(by, grain, span)?))
    };
    let (counts, spreads) = match app.engine.store.read(both).await {
        Ok(found) => found,
        Err(fault) => return Ok(failed(&fault)),
    };
    let pieces = Pieces { starts: &edges[..edges.len() - 1], micros: grain.micros() };
    let mut answer = json!({
        "bucket": bucket.word(),
        "by": by.word(),
        "times": pieces.starts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "series": pieces.lines(counts),
    });
    if matches!(by, CountBy::Stage | CountBy::Outcome) {
        answer["micros"] = pieces.percentiles(spreads);
    }
    Ok(json_text(answer.to_string()))
}

/// The buckets, and how long a piece is that they are put together from.
struct Pieces<'a> {
    starts: &'a [Timestamp],
    micros: i64,
}

impl Pieces<'_> {
    /// A piece belongs to the bucket in which it begins.
    fn bucket_of(&self, piece: i64) -> usize {
        self.starts.partition_point(|it| it.0 <= piece * self.micros).saturating_sub(1)
    }

    /// One line for each name, with a count for each bucket; the smallest of too many are one.
    fn lines(&self, counts: Vec<CountRow>) -> BTreeMap<String, Value> {
        let nothing = || vec![0; self.starts.len()];
        let mut lines: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for CountRow { piece, name, count } in counts {
            lines.entry(name).or_insert_with(nothing)[self.bucket_of(piece)] += count;
        }
        let mut sums: Vec<(u64, String)> =
            lines.iter().map(|line| (line.1.iter().sum(), line.0.clone())).collect();
        sums.sort_by(|one, other| other.cmp(one));
        for (_, name) in sums.into_iter().skip(LINES_MAX) {
            let line = lines.remove(&name).expect("it is there");
            let others = lines.entry(OTHERS.to_owned()).or_insert_with(nothing);
            others.iter_mut().zip(line).for_each(|(sum, count)| *sum += count);
        }
        lines.into_iter().map(|(name, line)| (name, json!(line))).collect()
    }

    /// Percentiles of each name for each bucket, null where nothing ran.
    fn percentiles(&self, spreads: Vec<SpreadRow>) -> Value {
        let mut lines: BTreeMap<String, Vec<Spread>> = BTreeMap::new();
        for SpreadRow { piece, name, spread } in spreads {
            let name = if name.is_empty() { "stored".to_owned() } else { name };
            let line =
                lines.entry(name).or_insert_with(|| vec![Spread::default(); self.starts.len()]);
            line[self.bucket_of(piece)].merge(&spread);
        }
        let told = lines.into_iter().take(LINES_MAX).map(|(name, line)| {
            let of = |percent| line.iter().map(|it| json!(it.percentile(percent))).collect();
            let told = PERCENTILES.map(|(name, percent)| (name.to_owned(), of(percent)));
            (name, Value::Object(told.into_iter().collect()))
        });
        Value::Object(told.collect::<Map<_, _>>())
    }
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
        let micros = CountGrain::Hour.micros();
        let starts = [0, 1, 2].map(|it| Timestamp(it * micros));
        let pieces = Pieces { starts: &starts, micros };
        let one = |piece, name: &str, count| CountRow { piece, name: name.to_owned(), count };
        let found = pieces.lines(vec![one(0, "a", 2), one(2, "a", 1), one(2, "b", 5)]);
        assert_eq!((&found["a"], &found["b"]), (&json!([2, 0, 1]), &json!([0, 0, 5])));
        let many = (0..60).map(|it| one(1, &format!("n{it:02}"), it + 1)).collect();
        let found = pieces.lines(many);
        assert_eq!((found.len(), &found[OTHERS]), (51, &json!([0, 55, 0])));
    }

    #[test]
    fn minutes_make_buckets_and_are_not_asked_for_when_they_are_gone() {
        let now = at("2026-03-28T12:03:20Z");
        let told = |query: &str| {
            let asked = series_request(query, now).expect("it is read");
            asked_edges(&asked, &Globals::default(), now)
                .map(|edge| (edge[0].to_string(), edge.len() - 1))
        };
        assert_eq!(told("bucket=5m"), Ok(("2026-03-28T06:00:00.000Z".to_owned(), 73)));
        assert_eq!(told("bucket=1m&since=-2m"), Ok(("2026-03-28T12:01:00.000Z".to_owned(), 3)));
        assert_eq!(told("bucket=5m&since=-48h").map(|it| it.1), Ok(577));
        let gone = "minutes are kept for 48 hours; `bucket=1h` goes back further";
        assert_eq!(told("bucket=5m&since=-49h"), Err(gone.to_owned()));
        assert!(told("bucket=1m&since=-40h").is_err_and(|fault| fault.contains("1100 buckets")));
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
