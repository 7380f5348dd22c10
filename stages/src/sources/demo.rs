//! Generates sample events: the same seed makes the same ones.

use super::lines::BATCH_MAX;
use crate::contract::{Brings, Emit, Kind, Message, OpenSource, Services, Source, SourceKind};
use kernel::env::Random;
use kernel::event::Globals;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Roots, Scope, Template, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, ValueKind};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const DATA: &[NodeRow] = &[NodeRow::new("data", "the payload: a template that renders JSON")
    .examples(&[r##"data #"{ "score": {{ random.float(0.5, 1.0) }} }"#"##])
    .args(&[Arg::one("json", ValueKind::OwnTemplate(Roots::DEMO))])
    .default("\"{}\"")];

const NODES: &[NodeRow] = &[
    NodeRow::new("rate", "how many events per time").examples(&[r#"rate "10/min""#])
        .args(&[Arg::one("rate", ValueKind::Rate)])
        .default("\"2/s\""),
    NodeRow::new("seed", "the same seed makes the same events").examples(&["seed 7"])
        .args(&[Arg::one("n", ValueKind::Int(0, i64::MAX))])
        .otherwise("random"),
    NodeRow::new("count", "stops after this many events").examples(&["count 100"])
        .args(&[Arg::one("n", ValueKind::Int(1, i64::MAX))])
        .otherwise("endless"),
    NodeRow::new("emit", "one type of event").examples(&[r#"emit "ring""#, r##"emit "motion" weight=5 { data #"{ "zone": {{ random.pick('door', 'path') | json }} }"# }"##])
        .args(&[Arg::one("type", ValueKind::Text)])
        .props(&[Prop::new("weight", ValueKind::Int(1, 1_000_000)).default("1")])
        .children(&[DATA])
        .repeated()
        .required(),
];

/// The kind `demo`.
pub(super) struct Demo {
    settings: DemoSettings,
    random: Random,
    services: Services,
}

/// What to make, and how often.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DemoSettings {
    /// Time between two events.
    every: Duration,
    seed: Option<u64>,
    count: Option<u64>,
    sorts: Vec<DemoSort>,
}

#[derive(Debug, Clone, PartialEq)]
struct DemoSort {
    kind: Arc<str>,
    weight: u64,
    data: Data,
}

/// JSON with templates inside.
#[derive(Debug, Clone, PartialEq)]
enum Data {
    Fixed(Value),
    /// A text in the JSON; a lone `{{ }}` keeps its type.
    Text(Template),
    List(Vec<Data>),
    Map(Vec<(String, Data)>),
    /// Text that is JSON only once it is rendered.
    Whole(Template),
}

impl Kind for Demo {
    const WORD: &'static str = "demo";
    const SUMMARY: &'static str = "generates sample events";
    const EXAMPLE: &'static str = r#"source demo made { rate "10/min"; emit "ring" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = DemoSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<DemoSettings> {
        let number = |name: &str| match fields.child(name) {
            Some(it) => Some(Some(it.arg(0)?.int()?.value.unsigned_abs())),
            None => Some(None),
        };
        let rate = fields.setting("rate").arg(0, |scalar| Some(scalar.rate()?.value));
        let every = Duration::try_from_secs_f64(rate.per.as_secs_f64() / rate.count).ok()?;
        let sorts: Vec<Option<DemoSort>> =
            fields.children("emit").map(|child| sort_of(&child, context.diagnostics)).collect();
        let sorts = sorts.into_iter().collect::<Option<Vec<DemoSort>>>()?;
        let is_empty = sorts.is_empty();
        let settings =
            DemoSettings { every, seed: number("seed")?, count: number("count")?, sorts };
        (!is_empty).then_some(settings)
    }
}

fn sort_of(node: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<DemoSort> {
    let kind = language::literal::literal(&node.arg(0)?, diagnostics)?;
    let weight = node.prop("weight").and_then(|prop| prop.int()).map_or(1, |int| int.value);
    let data = match node.child("data") {
        Some(it) => {
            let text = language::literal::literal(&it.arg(0)?, diagnostics)?;
            let data = Data::parse(&text.value);
            if data.is_none() {
                report_data(text, diagnostics);
            }
            data?
        }
        None => Data::Fixed(json!({})),
    };
    Some(DemoSort { kind: kind.value.into(), weight: weight.unsigned_abs(), data })
}

fn report_data(text: Spanned<String>, diagnostics: &mut Diagnostics) {
    diagnostics
        .push(Rule::BadTemplate, "this is not JSON, even after rendering")
        .at(text.span, "the payload of a sample event")
        .help("write JSON, with templates in its strings: { \"score\": \"{{ random.float(0, 1) }}\" }");
}

impl Data {
    /// `None` for what is no JSON, also when it is rendered with some seed.
    fn parse(text: &str) -> Option<Data> {
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return Data::of(value);
        }
        let data = Data::Whole(Template::parse(text, Roots::DEMO).ok()?);
        let random = Random::seeded(0);
        let mut scope = Scope::without_pipeline(Timestamp(0));
        scope.random = Some(&random);
        data.render(&scope).map(|_| data)
    }

    fn of(value: Value) -> Option<Data> {
        Some(match value {
            Value::String(text) if text.contains("{{") => {
                Data::Text(Template::parse(&text, Roots::DEMO).ok()?)
            }
            Value::Array(items) => {
                Data::List(items.into_iter().map(Data::of).collect::<Option<_>>()?)
            }
            Value::Object(entries) => {
                let entry = |(name, value)| Some((name, Data::of(value)?));
                Data::Map(entries.into_iter().map(entry).collect::<Option<_>>()?)
            }
            other => Data::Fixed(other),
        })
    }

    fn shape(&self, known: &TypeEnv) -> ValueType {
        match self {
            Data::Fixed(value) => ValueType::of_value(value),
            Data::Text(template) => known.check_template(template).0,
            Data::List(items) => {
                let items = items.iter().map(|item| item.shape(known));
                ValueType::list(items.fold(ValueType::never(), ValueType::or))
            }
            Data::Map(entries) => {
                let entries = entries.iter();
                ValueType::map(entries.map(|(name, it)| (name.as_str(), it.shape(known))))
            }
            Data::Whole(_) => ValueType::any(),
        }
    }

    fn render(&self, scope: &Scope<'_>) -> Option<Value> {
        Some(match self {
            Data::Fixed(value) => value.clone(),
            Data::Text(template) => template.value(scope).to_json(),
            Data::List(items) => {
                items.iter().map(|item| item.render(scope)).collect::<Option<_>>()?
            }
            Data::Map(entries) => {
                let entry =
                    |(name, data): &(String, Data)| Some((name.clone(), data.render(scope)?));
                Value::Object(entries.iter().map(entry).collect::<Option<Map<_, _>>>()?)
            }
            Data::Whole(template) => serde_json::from_str(&template.render(scope)).ok()?,
        })
    }
}

impl SourceKind for Demo {
    const IS_DEMO: bool = true;

    fn brings(settings: &DemoSettings) -> Brings {
        let nothing = TypeEnv::default();
        let data = settings.sorts.iter().map(|it| it.data.shape(&nothing));
        let kinds = settings.sorts.iter().map(|it| &*it.kind);
        let message = ValueType::map([
            ("type", ValueType::one_of(kinds)),
            ("data", data.fold(ValueType::never(), ValueType::or)),
        ]);
        Brings::message(message)
    }

    fn ends(settings: &DemoSettings) -> bool {
        settings.count.is_some()
    }

    async fn open(settings: DemoSettings, services: Services) -> Result<OpenSource, Fault> {
        let random = settings.seed.map_or_else(Random::from_entropy, Random::seeded);
        Ok(OpenSource::Task(Box::new(Demo { settings, random, services })))
    }
}

impl Source for Demo {
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        let clock = self.services.env.clock.clone();
        let mut made = 0;
        let mut next = clock.monotonic();
        while self.settings.count.is_none_or(|it| made < it) {
            let now = clock.monotonic();
            if now < next {
                let sleep = async { clock.sleep(next.saturating_sub(now)).await };
                smol::future::or(emit.closed(), sleep).await;
            }
            let mut batch = Vec::new();
            let now = clock.monotonic();
            while batch.len() < BATCH_MAX
                && (next <= now || batch.is_empty())
                && self.settings.count.is_none_or(|it| made < it)
            {
                batch.extend(self.make(&emit.globals()));
                (made, next) = (made + 1, next + self.settings.every);
            }
            if emit.emit(batch, Vec::new()).await.is_err() {
                return Ok(());
            }
            // What the engine was too busy to take is not made up for.
            next = next.max(clock.monotonic().saturating_sub(Duration::from_secs(1)));
        }
        Ok(())
    }
}

impl Demo {
    fn make(&self, globals: &Globals) -> Option<Message> {
        let sorts = &self.settings.sorts;
        let total: u64 = sorts.iter().map(|it| it.weight).sum();
        let mut drawn = self.random.with(|random| random.u64(0..total.max(1)));
        let sort = sorts.iter().find(|it| {
            let is_drawn = drawn < it.weight;
            drawn = drawn.saturating_sub(it.weight);
            is_drawn
        })?;
        let mut scope = Scope::at(self.services.env.clock.wall(), globals);
        scope.random = Some(&self.random);
        let data = sort.data.render(&scope)?;
        let body = json!({ "type": &*sort.kind, "data": data }).to_string().into_bytes();
        Some(Message { body, kind: Some(sort.kind.clone()), ..Message::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Inbox};

    fn made(text: &str) -> Vec<Value> {
        let settings = testing::settings::<Demo>(text);
        let told = Demo::brings(&settings).message;
        let opened = smol::block_on(Demo::open(settings, testing::alone())).unwrap();
        let OpenSource::Task(mut source) = opened else { panic!("it runs by itself") };
        let inbox = Inbox::open();
        smol::block_on(source.run(&inbox)).unwrap();
        let bodies: Vec<Value> =
            inbox.bodies().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        assert!(bodies.iter().all(|body| told.admits(body)), "it makes what it says");
        bodies
    }

    const TWO: &str = r##"rate "50/s"
        seed 42
        count 40
        emit a weight=3 { data #"{ "score": "{{ random.float(0.4, 0.99) }}" }"# }
        emit b { data #"{ "n": {{ random.int(1, 9) }} }"# }"##;

    #[test]
    fn the_same_seed_makes_the_same_events() {
        let events = made(TWO);
        assert_eq!(events.len(), 40);
        assert_eq!(events, made(TWO));
        assert_ne!(events, made(&TWO.replace("42", "43")));
        let heavy = events.iter().filter(|event| event["type"] == "a").count();
        assert!((20..40).contains(&heavy), "{heavy}");
    }

    #[test]
    fn a_template_in_the_payload_keeps_its_type() {
        for event in made(TWO) {
            let data = &event["data"];
            assert!(data["score"].is_f64() || data["n"].is_i64(), "{event}");
        }
    }

    #[test]
    fn a_payload_that_is_not_json_is_found() {
        let found = testing::findings::<Demo>("emit a { data \"{ x: 1 }\" }");
        assert_eq!(found, ["E0106 this is not JSON, even after rendering"]);
        assert!(!Demo::ends(&testing::settings::<Demo>("emit a")));
        assert!(Demo::ends(&testing::settings::<Demo>("count 1\nemit a")));
    }
}
