//! What a pipeline may begin as: files that stand beside this one, about `my-pipeline`.

use clap::ValueEnum;

/// The name that the templates' own files go by.
const PLACEHOLDER: &str = "my-pipeline";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Template {
    /// Receives notes over HTTP, stores and streams them.
    Minimal,
    /// Announces presses and motion at a door; has a demo.
    Doorbell,
    /// Receives the webhooks of a service and announces failures.
    Webhooks,
    /// Receives measurements and announces values out of range.
    Sensors,
    /// Reads Frigate's events from its MQTT broker and announces each visit of a person once.
    Frigate,
}

impl Template {
    /// Paths and texts.
    pub(super) fn files(self, name: &str) -> Vec<(String, String)> {
        let files: &[(&str, &str)] = match self {
            Template::Minimal => &[
                ("pipelines/my-pipeline.kdl", include_str!("minimal/pipeline.kdl")),
                ("schemas/my-pipeline.json", include_str!("minimal/schema.json")),
                ("samples/my-pipeline.json", include_str!("minimal/sample.json")),
            ],
            Template::Doorbell => &[
                ("pipelines/my-pipeline.kdl", include_str!("doorbell/pipeline.kdl")),
                ("schemas/my-pipeline-press.json", include_str!("doorbell/press.json")),
                ("schemas/my-pipeline-motion.json", include_str!("doorbell/motion.json")),
                ("samples/my-pipeline.json", include_str!("doorbell/sample.json")),
            ],
            Template::Webhooks => &[
                ("pipelines/my-pipeline.kdl", include_str!("webhooks/pipeline.kdl")),
                ("schemas/my-pipeline.json", include_str!("webhooks/schema.json")),
                ("samples/my-pipeline.json", include_str!("webhooks/sample.json")),
            ],
            Template::Sensors => &[
                ("pipelines/my-pipeline.kdl", include_str!("sensors/pipeline.kdl")),
                ("schemas/my-pipeline.json", include_str!("sensors/schema.json")),
                ("samples/my-pipeline.json", include_str!("sensors/sample.json")),
            ],
            Template::Frigate => &[
                ("pipelines/my-pipeline.kdl", include_str!("frigate/pipeline.kdl")),
                ("schemas/my-pipeline.json", include_str!("frigate/schema.json")),
                ("tables/my-pipeline-cameras.csv", include_str!("frigate/cameras.csv")),
                ("samples/my-pipeline.json", include_str!("frigate/sample.json")),
            ],
        };
        let named = |text: &str| text.replace(PLACEHOLDER, name);
        files.iter().map(|(path, text)| (named(path), named(text))).collect()
    }

    /// What to do with them.
    pub(super) fn next(self, name: &str) -> String {
        let post =
            |path: &str| format!("curl --json @samples/{name}.json http://127.0.0.1:8600{path}");
        let send = match self {
            Template::Minimal | Template::Doorbell => post("/events"),
            Template::Webhooks => post("/hooks"),
            Template::Sensors => post("/measurements"),
            Template::Frigate => {
                format!("mosquitto_pub -q 1 -t frigate/events -f samples/{name}.json")
            }
        };
        format!(
            "run it:        engine run pipelines/{name}.kdl\n\
             send to it:    {send}\n\
             look at it:    http://127.0.0.1:8600/\n"
        )
    }
}
