//! Adds what the engine knows about an event without asking anyone.

use crate::contract::{Addition, Adds, EnrichKind, Enricher, Kind, Local, Services};
use kernel::event::{Event, Priority};
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::expr::{Root, TypeEnv, ValueType};
use language::{Arg, Context, Fields, NodeRow, ValueKind};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

const WORDS: &[&str] = &["timestamps", "host", "event-age", "relations", "labels", "processing"];

const NODES: &[NodeRow] = &[NodeRow::new("include-fields", "which groups of fields to add")
    .examples(&["include-fields timestamps host labels"])
    .args(&[Arg::some("field", ValueKind::Word(WORDS))])
    .default("timestamps event-age relations")];

/// The kind `metadata`.
pub(super) struct Metadata {
    has: MetadataSettings,
    host: Value,
    services: Services,
}

/// Which groups of fields to add.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetadataSettings(Vec<String>);

impl MetadataSettings {
    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|it| it == word)
    }
}

impl Kind for Metadata {
    const WORD: &'static str = "metadata";
    const SUMMARY: &'static str = "adds times, age, relations, host or labels";
    const EXAMPLE: &'static str = "enrich metadata meta { include-fields timestamps host }";
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = MetadataSettings;

    fn read(fields: &Fields<'_>, _context: &mut Context<'_>) -> Option<MetadataSettings> {
        let mut words =
            fields.setting("include-fields").args(|setting| Some(setting.text()?.value));
        words.sort();
        words.dedup();
        Some(MetadataSettings(words))
    }
}

impl EnrichKind for Metadata {
    const IS_REMOTE: bool = false;

    fn adds(settings: &MetadataSettings, known: &TypeEnv) -> Adds {
        let (text, number) = (ValueType::text, ValueType::number);
        let words = settings.0.iter().map(|word| match word.as_str() {
            "timestamps" => {
                let times = ["event_time", "processed_at", "timezone"].map(|it| (it, text()));
                let seconds = ["event_unix_time", "processed_unix_time"].map(|it| (it, number()));
                ("timestamps", ValueType::map(times.into_iter().chain(seconds)))
            }
            "event-age" => ("age_seconds", number()),
            "relations" => {
                let ids = ["parent_id", "correlation_id"].map(|it| (it, text().or_null()));
                let fields = ids.into_iter().chain([("has_parent", ValueType::bool())]);
                ("relations", ValueType::map(fields))
            }
            "host" => {
                let names = ["hostname", "platform", "platform_version", "architecture"];
                ("host", ValueType::map(names.map(|name| (name, text().or_null()))))
            }
            "labels" => ("labels", known.at(Root::Pipeline, &["labels"])),
            _ => {
                let texts = ["engine", "version", "pipeline", "id", "type", "source"];
                let fields = texts.map(|it| (it, text())).into_iter().chain([
                    ("generation", number()),
                    ("priority", ValueType::one_of(Priority::ALL.map(Priority::word))),
                ]);
                ("processing", ValueType::map(fields))
            }
        });
        Adds::Value(ValueType::map(words))
    }

    async fn open(settings: MetadataSettings, services: Services) -> Result<Enricher, Fault> {
        let host = match settings.has("host") {
            true => host(&services).await,
            false => Value::Null,
        };
        Ok(Enricher::Local(Box::new(Metadata { has: settings, host, services })))
    }
}

/// Facts of the machine, asked for once.
async fn host(services: &Services) -> Value {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = services.env.pools.files.run(kernel).await.ok().flatten();
    let release = || std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let release = services.env.pools.files.run(release).await.ok().flatten();
    let name = name.or_else(|| services.environment.value("HOSTNAME"));
    let name = name.map(|name| name.trim().to_owned());
    json!({
        "hostname": name,
        "platform": std::env::consts::OS,
        "platform_version": release.map(|release| release.trim().to_owned()),
        "architecture": std::env::consts::ARCH,
    })
}

/// What is added, with the groups that the file asks for; names in the order of a JSON map.
#[derive(Serialize)]
struct Added<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing: Option<AddedProcessing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relations: Option<AddedRelations<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamps: Option<AddedTimestamps<'a>>,
}

#[derive(Serialize)]
struct AddedProcessing<'a> {
    engine: &'static str,
    generation: u64,
    id: &'a str,
    pipeline: &'a str,
    priority: &'static str,
    source: &'a str,
    r#type: &'a str,
    version: &'static str,
}

#[derive(Serialize)]
struct AddedRelations<'a> {
    correlation_id: Option<&'a str>,
    has_parent: bool,
    parent_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AddedTimestamps<'a> {
    #[serde(serialize_with = "as_text")]
    event_time: Timestamp,
    event_unix_time: f64,
    #[serde(serialize_with = "as_text")]
    processed_at: Timestamp,
    processed_unix_time: f64,
    timezone: &'a str,
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl Local for Metadata {
    /// As text: hardly anything reads it before it is stored.
    fn enrich(&self, event: &Event) -> Result<Addition, Fault> {
        let now = self.services.env.clock.wall();
        let envelope = &event.envelope;
        let no_labels = Value::Object(Map::new());
        let added = Added {
            age_seconds: (self.has.has("event-age"))
                .then(|| (now.0.saturating_sub(envelope.time.0)) as f64 / 1e6),
            host: self.has.has("host").then_some(&self.host),
            labels: (self.has.has("labels"))
                .then(|| event.globals.pipeline.get("labels").unwrap_or(&no_labels)),
            processing: self.has.has("processing").then(|| self.processing(event)),
            relations: self.has.has("relations").then(|| AddedRelations {
                correlation_id: envelope.correlation_id.as_deref(),
                has_parent: envelope.parent_id.is_some(),
                parent_id: envelope.parent_id.as_deref(),
            }),
            timestamps: self.has.has("timestamps").then(|| AddedTimestamps {
                event_time: envelope.time,
                event_unix_time: envelope.time.unix_seconds(),
                processed_at: now,
                processed_unix_time: now.unix_seconds(),
                timezone: zone_of(event),
            }),
        };
        let text = serde_json::to_string(&added).expect("it is all texts and numbers");
        Ok(Addition::Text(text.into()))
    }
}

fn zone_of(event: &Event) -> &str {
    event.globals.zone.as_ref().and_then(|zone| zone.iana_name()).unwrap_or("UTC")
}

impl Metadata {
    fn processing<'a>(&'a self, event: &'a Event) -> AddedProcessing<'a> {
        AddedProcessing {
            engine: "engine",
            generation: event.generation,
            id: &event.envelope.id,
            pipeline: &self.services.pipeline,
            priority: event.envelope.priority.word(),
            source: &event.envelope.source,
            r#type: &event.envelope.kind,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// What it adds; it must be what it said.
    fn added(text: &str) -> Value {
        let settings = testing::settings::<Metadata>(text);
        let Adds::Value(shape) = Metadata::adds(&settings, &TypeEnv::default()) else {
            panic!("it adds at its own place")
        };
        let Enricher::Local(metadata) =
            smol::block_on(Metadata::open(settings, testing::alone())).unwrap()
        else {
            panic!("it is local")
        };
        match metadata.enrich(&testing::event(json!({}))) {
            Ok(Addition::Text(text)) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(*text, value.to_string(), "as a map would be written");
                assert!(shape.admits(&value), "{value}");
                for name in value.as_object().expect("a map").keys() {
                    assert!(shape.has_field(name), "{name}");
                }
                value
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn times_are_utc_and_the_sender_s_is_kept_apart_from_ours() {
        let expected = json!({
            "timestamps": {
                "event_time": "2026-01-01T09:59:55.000Z", "event_unix_time": 1_767_261_595.0,
                "processed_at": "2026-01-01T10:00:00.000Z", "processed_unix_time": 1_767_261_600.0,
                "timezone": "UTC",
            },
            "age_seconds": 5.0,
            "relations": { "has_parent": false, "parent_id": null, "correlation_id": "c-1" },
        });
        assert_eq!(added(""), expected);
    }

    #[test]
    fn only_the_groups_asked_for_are_added() {
        let added = added("include-fields labels host processing");
        assert_eq!(added["labels"], json!({ "site": "home" }));
        assert_eq!(added["host"]["platform"], json!(std::env::consts::OS));
        assert_eq!(added["processing"]["priority"], json!("high"));
        assert_eq!(added["processing"]["id"], json!("e-1"));
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(added["host"]["platform_version"], json!(release.trim()));
        assert_eq!(added.as_object().unwrap().len(), 3);
    }
}
