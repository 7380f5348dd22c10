//! Streams events to browsers. The engine serves the stream; this says how.

use crate::contract::{Claim, DynDeliver, Kind, Services, SinkKind, SinkRole, StreamShape};
use kernel::fault::Fault;
use language::literal::literal;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Scalar, ValueKind, field_path};
use std::time::Duration;

const NODES: &[NodeRow] = &[
    NodeRow::new("path", "the route of the stream")
        .examples(&[r#"path "/live""#])
        .args(&[Arg::one("path", ValueKind::Text)])
        .required(),
    NodeRow::new("max-clients", "the most clients at once")
        .examples(&["max-clients 200"])
        .args(&[Arg::one("n", ValueKind::Int(1, 100_000))])
        .default("50"),
    NodeRow::new("replay", "events kept in memory for new clients")
        .examples(&["replay 500"])
        .args(&[Arg::one("n", ValueKind::Int(0, 100_000))])
        .default("100"),
    NodeRow::new("heartbeat", "time between comments that keep a quiet stream open")
        .examples(&[r#"heartbeat "30s""#])
        .args(&[Arg::one(
            "every",
            ValueKind::Duration(Duration::from_secs(5), Duration::from_secs(120)),
        )])
        .default("\"15s\""),
];

/// What of an event is not sent.
pub(super) const REDACT: &[NodeRow] =
    &[NodeRow::new("redact", "paths that are removed before anything is sent")
        .examples(&[r#"redact "data.name" "enrich.weather""#])
        .args(&[Arg::some("path", ValueKind::Field)])
        .otherwise("none")];

/// The kind `sse`.
pub(super) struct Sse;

/// What the stream is to be, and its route for the claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SseSettings {
    shape: StreamShape,
    path: Spanned<String>,
}

impl Kind for Sse {
    const WORD: &'static str = "sse";
    const SUMMARY: &'static str = "streams events to browsers";
    const EXAMPLE: &'static str = r#"sink sse live { path "/live" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, REDACT];
    type Settings = SseSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<SseSettings> {
        let path =
            fields.child("path").and_then(|child| literal(&child.arg(0)?, context.diagnostics));
        let path = crate::sources::route_of(path?, context.diagnostics)?;
        let count = |scalar: &Scalar<'_>| usize::try_from(scalar.int()?.value).ok();
        let shape = StreamShape {
            path: path.value.clone(),
            clients_max: fields.setting("max-clients").arg(0, count),
            replay: fields.setting("replay").arg(0, count),
            heartbeat: fields.setting("heartbeat").arg(0, |scalar| Some(scalar.duration()?.value)),
            redact: read_redact(fields),
        };
        Some(SseSettings { shape, path })
    }

    fn claims(settings: &SseSettings) -> Vec<Spanned<Claim>> {
        let route = |path| Claim::Route { method: "GET".to_owned(), path };
        vec![settings.path.clone().map(route)]
    }
}

/// The paths of `redact`.
pub(super) fn read_redact(fields: &Fields<'_>) -> Vec<Vec<String>> {
    let paths = fields.children("redact").flat_map(|child| child.args());
    paths.filter_map(|path| field_path(&path.text()?.value)).collect()
}

impl SinkKind for Sse {
    fn shape(settings: &SseSettings) -> SinkRole {
        SinkRole::Stream(settings.shape.clone())
    }

    async fn open(_: SseSettings, _: Services) -> Result<Box<dyn DynDeliver>, Fault> {
        Err(super::not_opened(Self::WORD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn shape(text: &str) -> StreamShape {
        match Sse::shape(&testing::settings::<Sse>(text)) {
            SinkRole::Stream(shape) => shape,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_alone_is_a_stream() {
        let shape = shape("path \"/live\"");
        assert_eq!((shape.clients_max, shape.replay), (50, 100));
        assert_eq!(shape.heartbeat, Duration::from_secs(15));
    }

    #[test]
    fn every_child_is_read() {
        let shape = shape(
            r#"path "/live"
            max-clients 2
            replay 5
            heartbeat "20s"
            redact "data.embedding" "data.a.token""#,
        );
        assert_eq!((shape.clients_max, shape.replay), (2, 5));
        assert_eq!(shape.heartbeat, Duration::from_secs(20));
        assert_eq!(shape.redact[1], ["data", "a", "token"]);
    }

    #[test]
    fn the_route_is_claimed() {
        let claims = Sse::claims(&testing::settings::<Sse>("path \"/live\""));
        let route = Claim::Route { method: "GET".to_owned(), path: "/live".to_owned() };
        assert_eq!(claims[0].value, route);
        assert_eq!(testing::findings::<Sse>("path \"live\"").len(), 1);
    }
}
