//! A stream of what goes into a stage of the running engine, or comes out of it.

use crate::engine::Engine;
use crate::http::problem::ProblemDetails;
use crate::http::timer::Timer;
use crate::http::wire::request::Request;
use crate::http::wire::response::{BodyContent, Feed, Reply};
use crate::http::{paths, query};
use crate::run::tap::{StageTap, TAPS_MAX, TapNews, TapSide, TappedEvent, missing};
use kernel::env::Pending;
use language::nearest;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::write_summary;

/// Where it is.
pub(super) const PATH: &str = "/api/tap";
/// Silence after which a comment is sent.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, PartialEq)]
struct TapRequest {
    stage: String,
    side: TapSide,
}

impl TapRequest {
    fn read(query: &str) -> Result<Self, String> {
        let (mut stage, mut side) = (None, TapSide::Out);
        for (name, value) in query::pairs(query).ok_or("the query cannot be read")? {
            match name.as_str() {
                "stage" => stage = Some(value),
                "at" => side = TapSide::parse(&value).ok_or("`at` must be in or out")?,
                _ => return Err(paths::unknown_parameter(&name, paths::TAP)),
            }
        }
        Ok(TapRequest { stage: stage.ok_or("`stage` is missing: the name of a stage")?, side })
    }
}

/// Answers a request for it.
pub(super) fn open(engine: &Arc<Engine>, request: &Request<'_>) -> Reply {
    let asked = match TapRequest::read(request.head().query().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(detail) => return ProblemDetails::new(400, detail).into(),
    };
    let Some(tap) = engine.generation().taps.open(&asked.stage, asked.side) else {
        let detail = format!("{TAPS_MAX} clients are already watching stages, the maximum");
        return ProblemDetails::new(503, detail).retry_after(1).into();
    };
    // Behind the opening, so that a reload between the two is noticed by one of them.
    let generation = engine.generation();
    let plan = &generation.plan;
    if let Some(why) = missing(generation.number, plan, &asked.stage) {
        let near = nearest(&asked.stage, plan.stages.iter().map(|stage| &*stage.name));
        let near = near.filter(|near| *near != asked.stage);
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return ProblemDetails::new(404, why + &near).into();
    }
    let mut beat = Timer::new(engine.env.clock.clone());
    beat.set(HEARTBEAT);
    // The first comment tells the client at once that it is heard.
    let feed = TapFeed { tap, side: asked.side, pipeline: plan.name.clone(), beat, is_new: true };
    Reply::new(200, "text/event-stream", BodyContent::Stream(Box::new(feed)))
        .with("cache-control", "no-store, no-transform")
        .with("x-accel-buffering", "no")
}

/// A connected client.
struct TapFeed {
    tap: StageTap,
    side: TapSide,
    pipeline: Arc<str>,
    beat: Timer,
    is_new: bool,
}

impl Feed for TapFeed {
    fn fill<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pending<'a, bool> {
        Box::pin(async move {
            if std::mem::take(&mut self.is_new) {
                out.extend_from_slice(b":\n\n");
                return true;
            }
            let more = self.gather(out).await;
            self.beat.set(HEARTBEAT);
            more
        })
    }
}

impl TapFeed {
    async fn gather(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let news = self.tap.listen();
            let TapNews { events, skipped, ended } = self.tap.take();
            for event in &events {
                message(out, "event", &self.line(event));
            }
            if 0 < skipped {
                message(out, "skipped", &json!({ "count": skipped }).to_string());
            }
            if let Some(reason) = ended {
                message(out, "end", &json!({ "reason": reason }).to_string());
                return false;
            }
            if !out.is_empty() {
                return true;
            }
            if self.beat.expires_before(news).await {
                out.extend_from_slice(b":\n\n");
                return true;
            }
        }
    }

    /// The event as streams show it, and behind it `tapped`: where, and how the stage ended.
    fn line(&self, tapped: &TappedEvent) -> String {
        let mut text = String::with_capacity(512);
        write_summary(&mut text, &tapped.event, &self.pipeline, &[]);
        text.pop();
        let mut more = json!({ "at": self.side.word() });
        if let Some(it) = &tapped.result {
            more["stage"] = json!(&*it.stage);
            more["outcome"] = json!(it.outcome.word());
            more["attempts"] = json!(it.attempts);
            more["micros"] = json!(it.micros);
            more["error"] = json!(it.error.as_deref());
        }
        text + &format!(",\"tapped\":{more}}}")
    }
}

fn message(out: &mut Vec<u8>, name: &str, data: &str) {
    out.extend_from_slice(format!("event: {name}\ndata: {data}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_stage_and_a_side() {
        let asked = |stage: &str, side| Ok(TapRequest { stage: stage.to_owned(), side });
        assert_eq!(TapRequest::read("stage=a%20b&at=in"), asked("a b", TapSide::In));
        assert_eq!(TapRequest::read("stage=a"), asked("a", TapSide::Out));
        for (query, told) in [
            ("", "`stage` is missing: the name of a stage"),
            ("stage=a&at=up", "`at` must be in or out"),
            ("stage=a&type=b", "`type` is not a parameter; the parameters are stage and at"),
            ("stage=%ff", "the query cannot be read"),
        ] {
            assert_eq!(TapRequest::read(query), Err(told.to_owned()), "{query}");
        }
    }
}
