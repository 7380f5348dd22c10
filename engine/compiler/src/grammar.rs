//! The rows of the language that belong to the engine: everything that is not of one kind.

use crate::spec::{
    BackoffCurve, Formats, Jitter, MetricType, OnDrop, OnErrorMode, OnInvalid, OnUnknownType,
    Overflow, RouteMode,
};
use kernel::choice::Choice;
use kernel::event::Priority;
use language::expr::{Root, Roots};
use language::{Arg, NodeRow, Prop, ValueKind};
use stages::memories;
use stages::sinks::STORE;
use std::time::Duration;
use store::{Excess, OnFull};

const DAY: u64 = 86_400;
const SHORT: ValueKind = ValueKind::Duration(Duration::from_millis(10), Duration::from_secs(600));
const AGE: ValueKind =
    ValueKind::Duration(Duration::from_secs(1), Duration::from_secs(36_500 * DAY));
const WAIT: ValueKind = ValueKind::Duration(Duration::from_millis(1), Duration::from_secs(3600));

/// The words of the four priorities.
pub const LEVELS: &[&str] = Priority::WORDS;
/// What a token may do.
pub const SCOPES: &[&str] = &["read", "send", "redrive", "reload"];
/// What `retry on=` knows.
pub const CAUSES: &[&str] = &[
    "timeout", "connect", "any", "4xx", "5xx", "400", "401", "403", "404", "408", "409", "410",
    "413", "422", "425", "429", "500", "501", "502", "503", "504", "507",
];

/// Roles that a test can answer for.
pub const MOCKED: &[&str] = &["enrich", "sink", "notify"];
/// How the outside can fail in a test.
pub const ERRORS: &[&str] = &["timeout", "connect", "permanent"];
/// How a stage can end for an event.
pub const OUTCOMES: &[&str] = &["ok", "skipped", "failed", "timed-out", "circuit-open", "cached"];

/// A number of bytes between 1 KiB and 64 MiB.
const BODY: ValueKind = ValueKind::Bytes(1 << 10, 64 << 20);

const LABEL_TEXT: ValueKind = ValueKind::Text;

/// Every node that is allowed at the top of a file.
pub const TOP: &[NodeRow] = &[
    NodeRow::new("pipeline", "names the pipeline; usually the first node of the file").examples(&["pipeline home schema-version=1", r#"pipeline home schema-version=1 { timezone "Europe/Berlin" }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .props(&[Prop::required("schema-version", ValueKind::Int(1, i64::MAX))])
        .children(&[PIPELINE])
        .required(),
    NodeRow::new("include", "inserts other files at this place").examples(&[r#"include "shared/policies.kdl" "shared/people.kdl""#, r#"include "local.kdl" optional=#true"#])
        .args(&[Arg::some("path", ValueKind::Path)])
        .props(&[Prop::new("optional", ValueKind::Bool)])
        .repeated(),
    NodeRow::new("param", "a value that expressions read as `param.NAME`").examples(&["param min-score 0.8"])
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("value", ValueKind::Any)])
        .repeated(),
    NodeRow::new("server", "the HTTP server").examples(&[r#"server { listen "127.0.0.1:8600" }"#]).children(&[SERVER]),
    NodeRow::new("limits", "limits of the whole pipeline").examples(&["limits { queue 10000; overflow block }"]).children(&[LIMITS]),
    NodeRow::new("priority", "how urgent an event is; the first matching case wins").examples(&[r#"priority default=low { case critical when="event.type == 'fire'" }"#])
        .props(&[Prop::new("default", ValueKind::Word(LEVELS)).default("normal")])
        .children(&[&[NodeRow::new("case", "gives this level to events that match `when`").examples(&[r#"case high when="event.type in ['ring', 'alarm']""#])
            .args(&[Arg::one("level", ValueKind::Word(LEVELS))])
            .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
            .repeated()]]),
    NodeRow::new("policy", "named failure handling that stages can use").examples(&[r#"policy gentle { retry 5; rate "1/s" }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[POLICY_REF, RATE, CALLS])
        .repeated(),
    NodeRow::new("defaults", "failure handling where neither the node nor its policy sets it").examples(&[r#"defaults { enrich { timeout "1s" } }"#])
        .children(&[DEFAULTS]),
    NodeRow::new("source", "produces events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[SOURCE])
        .repeated(),
    NodeRow::new("validate", "JSON Schemas and rules for `data`, by event type").examples(&[r#"validate { schema "ring" file="schemas/ring.json" }"#])
        .children(&[VALIDATE]),
    NodeRow::new("filter", "keeps the events that match `keep` and drops the others").examples(&[r#"filter sure { keep when="data.score > 0.8" }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[FILTER, PASSING])
        .repeated(),
    NodeRow::new("lifecycle", "groups the messages of one visit; `event.lifecycle` says where in it an event is").examples(&[r#"lifecycle visit { key "data.id"; start when="event.type == 'object.new'"; end when="event.type == 'object.end'"; idle "90s" }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[memories::LIFECYCLE, WATCHING]),
    NodeRow::new(
        "dedupe",
        "keeps one event of each key and drops repeats within a time window",
    ).examples(&[r#"dedupe once { key "data.id"; window "10m" }"#])
    .args(&[Arg::one("name", ValueKind::Ident)])
    .children(&[memories::DEDUPE, PASSING])
    .repeated(),
    NodeRow::new("throttle", "limits the rate of events, per key").examples(&[r#"throttle calm { key "event.source"; rate "10/min" }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[memories::THROTTLE, PASSING])
        .repeated(),
    NodeRow::new("changes", "keeps events whose value differs from the last one of their key").examples(&[r#"changes state { key "event.subject"; value "data.state" }"#, r#"changes warmth { key "event.subject"; value "data.celsius"; by 0.5 }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[memories::CHANGES, PASSING])
        .repeated(),
    NodeRow::new("watch", "sends an event when a condition lasts, or when events stop arriving").examples(&[r#"watch doors { key "event.subject"; hold "event.type == 'open'" for="10m" again="10m"; emit door.left-open }"#, r#"watch sensors { when "event.type == 'reading'"; key "event.subject"; silent "5m"; emit sensor.silent back=sensor.back }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[memories::WATCH, WATCHING])
        .repeated(),
    NodeRow::new("join", "sends an event when two events of a key belong together").examples(&[r#"join visit { key "event.subject"; first "event.type == 'motion'"; then "event.type == 'face'" within="30s"; emit visit.recognised missed=visit.unknown }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[memories::JOIN, WATCHING])
        .repeated(),
    NodeRow::new("window", "sends an event that aggregates the events of a period").examples(&[r#"window five-minutes { when "event.type == 'reading'"; key "event.subject"; tumbling "5m"; aggregate mean="avg(data.celsius)"; emit reading.mean }"#, r#"window attack { when "event.type == 'ssh.failed'"; key "data.address"; sliding "1m"; aggregate n="count()" user="last(data.user)"; having "n > 5" once="10m"; emit ssh.attack }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[memories::WINDOW, WATCHING])
        .repeated(),
    NodeRow::new("enrich", "adds fields to events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[STAGE, ENRICH, POLICY_REF, RATE, CALLS])
        .repeated(),
    NodeRow::new("metric", "a figure of your own in `/metrics`: `pipeline_NAME`, counted when an event is stored").examples(&[r#"metric requests counter { by status="data.status" }"#, r#"metric duration histogram { value "data.seconds"; buckets 0.1 0.5 1 5 }"#])
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("type", ValueKind::Word(MetricType::WORDS))])
        .children(&[METRIC])
        .repeated(),
    NodeRow::new("route", "chooses the sinks and notifiers of an event").examples(&[r#"route { case urgent when="event.priority >= 'high'" { to journal phone }; otherwise { to journal } }"#, r#"route delivery mode=all { case every when="true" { to journal }; case loud when="event.type == 'alarm'" { to phone } }"#])
        .args(&[Arg::optional("name", ValueKind::Ident)])
        .props(&[Prop::new("mode", ValueKind::Word(RouteMode::WORDS)).default("first")])
        .children(&[ROUTE])
        .otherwise("every event to every sink and notifier"),
    NodeRow::new("store", "keeps every event in a SQLite file: the same as a `sink` for the store that is named `store`").examples(&[r#"store "data/events.db" { keep "30d" }"#, r#"store "data/events.db" { keep "365d" priority=high; keep "30d"; max-size "2GiB" }"#])
        .args(&[Arg::one("path", ValueKind::Path)])
        .children(&[STORE]),
    NodeRow::new("sink", "delivers events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[DISABLED, ONLY, BACKLOG, POLICY_REF, RATE, CALLS])
        .repeated(),
    NodeRow::new("notify", "sends notifications")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[DISABLED, ONLY, NOTIFY, BACKLOG, POLICY_REF, NOTIFY_RATE, CALLS])
        .repeated(),
    NodeRow::new("dead-letter", "how long dead letters are kept").examples(&[r#"dead-letter { keep "30d" }"#]).children(&[DEAD_LETTER]),
    TEST,
];

/// Every node that may stand at the top of a file of tests.
pub const TEST_FILE: &[NodeRow] = &[TEST];

const TEST: NodeRow =
    NodeRow::new("test", "a test with its input and the expected results; run by `engine test`").examples(&[r##"test "a ring is stored" { given source=bell { body #"{ "type": "ring" }"# }; expect sink=journal count=1 }"##])
        .args(&[Arg::one("name", ValueKind::Literal)])
        .children(&[TESTS])
        .repeated();

const PIPELINE: &[NodeRow] = &[
    NodeRow::new("description", "a description")
        .examples(&[r#"description "who is at the door""#])
        .args(&[Arg::one("text", ValueKind::Text)]),
    NodeRow::new("timezone", "the time zone used in templates")
        .examples(&[r#"timezone "Europe/Berlin""#])
        .args(&[Arg::one("zone", ValueKind::Zone)])
        .default("UTC"),
    NodeRow::new("labels", "your own names and values")
        .examples(&[r#"labels site=home floor="2""#])
        .open(LABEL_TEXT),
];

const SERVER: &[NodeRow] = &[
    NodeRow::new("listen", "the address to listen on; must be loopback unless `auth` is set").examples(&[r#"listen "127.0.0.1:8600""#, r#"listen (env)"LISTEN" default="127.0.0.1:8600""#])
        .args(&[Arg::one("address", ValueKind::Socket)])
        .default("\"127.0.0.1:8600\""),
    NodeRow::new("public-url", "the URL that others use: requests to its host are accepted, its pages may use the API, and templates read it as `server.public_url`").examples(&[r#"public-url "https://events.example.org""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .otherwise("from `listen`"),
    NodeRow::new("hosts", "more host names and addresses that requests may be sent to").examples(&[r#"hosts "events.example.org" "192.168.1.20:8600""#])
        .args(&[Arg::some("host", ValueKind::Host)])
        .otherwise("`localhost`, the address of the connection, and the host of `public-url`"),
    NodeRow::new("max-body", "the largest request body").examples(&[r#"max-body "4MiB""#])
        .args(&[Arg::one("size", BODY)])
        .default("\"1MiB\""),
    NodeRow::new("tls", "serves HTTPS with this certificate and key (PEM); both are read again when the files change").examples(&[r#"tls cert="certs/door.pem" key="certs/door.key""#, r#"tls cert="/etc/letsencrypt/live/door/fullchain.pem" key="/run/credentials/engine.service/door.key""#])
        .props(&[Prop::required("cert", ValueKind::Path), Prop::required("key", ValueKind::Path)])
        .otherwise("plain HTTP"),
    NodeRow::new("auth", "the tokens and what each may do").examples(&[r#"auth { token phone (env)"PHONE_TOKEN" scope="read" }"#]).children(&[&[NodeRow::new("token", "a bearer token").examples(&[r#"token camera (env)"CAMERA_TOKEN" scope="send""#])
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("value", ValueKind::Secret)])
        .props(&[Prop::new("scope", ValueKind::Words(SCOPES)).default("read")])
        .repeated()
        .required()]]),
];

const LIMITS: &[NodeRow] = &[
    NodeRow::new("queue", "how many events may wait for their first commit")
        .examples(&["queue 10000"])
        .args(&[Arg::one("events", ValueKind::Int(1, 1_000_000))])
        .default("4096"),
    NodeRow::new("overflow", "what to do with a message when `queue` is full")
        .examples(&["overflow block"])
        .args(&[Arg::one("mode", ValueKind::Word(Overflow::WORDS))])
        .default("reject"),
    NodeRow::new("outbox", "how many deliveries may wait, for all sinks and notifiers together")
        .examples(&[r#"outbox 200000 max-bytes="512MiB""#])
        .args(&[Arg::optional("deliveries", ValueKind::Int(1, 100_000_000))])
        .props(&[Prop::new("max-bytes", ValueKind::Bytes(1 << 10, 1 << 50))])
        .default("1000000 max-bytes=\"1GiB\""),
    NodeRow::new("concurrency", "how many events are enriched at once")
        .examples(&["concurrency 50"])
        .args(&[Arg::one("events", ValueKind::Int(1, 10_000))])
        .default("100"),
    NodeRow::new("event-timeout", "the longest an event may spend in its stages")
        .examples(&[r#"event-timeout "30s""#])
        .args(&[Arg::one("duration", AGE)])
        .default("\"60s\""),
    NodeRow::new("shutdown-grace", "how long a shutdown waits for running work")
        .examples(&[r#"shutdown-grace "20s""#])
        .args(&[Arg::one(
            "duration",
            ValueKind::Duration(Duration::ZERO, Duration::from_secs(600)),
        )])
        .default("\"10s\""),
    NodeRow::new("max-event-size", "the largest single event")
        .examples(&[r#"max-event-size "1MiB""#])
        .args(&[Arg::one("size", BODY)])
        .default("\"256KiB\""),
];

const DISABLED: &[NodeRow] = &[
    NodeRow::flag("disabled", "turns the node off").examples(&["disabled", "disabled #false"]),
    NodeRow::new("description", "a description")
        .examples(&[r#"description "for the tablet in the kitchen""#])
        .args(&[Arg::one("text", ValueKind::Text)]),
];

const ONLY: &[NodeRow] = &[NodeRow::new(
    "when",
    "receives only matching events: of those that a route sends to it, or of all events if no route names it",
)
.examples(&[r#"when "event.priority >= 'high'""#])
.args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))])];

const BACKLOG: &[NodeRow] = &[NodeRow::new(
    "backlog",
    "how many deliveries may wait for it, and what happens when there are more",
)
.examples(&[r#"backlog 1000 max-bytes="64MiB" on-full=drop-oldest"#])
.args(&[Arg::optional("deliveries", ValueKind::Int(1, 100_000_000))])
.props(&[
    Prop::new("max-bytes", ValueKind::Bytes(1 << 10, 1 << 50)),
    Prop::new("on-full", ValueKind::Word(OnFull::WORDS)).default("reject"),
])
.otherwise("the `outbox` limit")];

const STAGE: &[NodeRow] = &[
    NodeRow::new("after", "runs after these stages, whether or not they succeeded")
        .examples(&["after weather"])
        .args(&[Arg::some("stage", ValueKind::Ref)])
        .repeated(),
    NodeRow::new("needs", "runs after these stages, and only if they succeeded")
        .examples(&["needs weather"])
        .args(&[Arg::some("stage", ValueKind::Ref)])
        .repeated(),
    NodeRow::new("when", "runs only for events that match")
        .examples(&[r#"when "event.type == 'ring'""#])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::flag("disabled", "turns the stage off; it stays in the graph")
        .examples(&["disabled", "disabled #false"]),
    NodeRow::new("description", "a description")
        .examples(&[r#"description "what the weather is at the door""#])
        .args(&[Arg::one("text", ValueKind::Text)]),
];

const ENRICH: &[NodeRow] = &[
    NodeRow::new(
        "into",
        "where to put the result, below `enrich`; not for `enrich set`, whose values have paths of their own",
    )
        .examples(&[r#"into "outside""#, r#"into "outside.weather""#])
        .args(&[Arg::one("path", ValueKind::Addition)])
        .otherwise("enrich.NAME"),
    NodeRow::new("on-error", "what happens to an event when the stage fails")
        .examples(&["on-error dead-letter", r#"on-error drop reason="no answer""#])
        .args(&[Arg::one("mode", ValueKind::Word(OnErrorMode::WORDS))])
        .props(&[Prop::new("reason", ValueKind::Text)])
        .default("continue"),
];

const POLICY_REF: &[NodeRow] = &[NodeRow::new("policy", "the policy to start from")
    .examples(&["policy patient"])
    .args(&[Arg::one("name", ValueKind::Ref)])];

/// The rate of a notifier.
const NOTIFY_RATE: &[NodeRow] = &[NodeRow::new(
    "rate",
    "how often it may be called; further calls wait, or `excess` says what happens to messages beyond the rate",
)
.examples(&[r#"rate "10/min" burst=3"#, r#"rate "4/h" burst=2 excess=digest"#])
.args(&[Arg::one("rate", ValueKind::Rate)])
.props(&[
    Prop::new("burst", ValueKind::Int(1, 10_000)).default("1"),
    Prop::new("excess", ValueKind::Word(Excess::WORDS)),
])
.otherwise("unlimited")];

const RATE: &[NodeRow] = &[NodeRow::new("rate", "how often it is called; further calls wait")
    .examples(&[r#"rate "10/min" burst=3"#])
    .args(&[Arg::one("rate", ValueKind::Rate)])
    .props(&[Prop::new("burst", ValueKind::Int(1, 10_000)).default("1")])
    .otherwise("unlimited")];

const CALLS: &[NodeRow] = &[
    NodeRow::new("timeout", "the longest one attempt may take")
        .examples(&[r#"timeout "5s""#])
        .args(&[Arg::one("duration", SHORT)])
        .otherwise("2s for enrich, 10s for sink and notify"),
    NodeRow::new("retry", "retries after a transient failure")
        .examples(&[
            r#"retry 3 on="timeout connect 5xx""#,
            r#"retry give-up="30s""#,
            r#"retry 5 { backoff exponential base="1s" max="1m" }"#,
        ])
        .args(&[Arg::optional("attempts", ValueKind::Int(0, 200))])
        .props(&[
            Prop::new("on", ValueKind::Words(CAUSES)),
            Prop::new("give-up", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
        ])
        .children(&[&[BACKOFF]])
        .otherwise("0 for enrich, give-up=\"24h\" for sink and notify"),
    BREAKER,
    NodeRow::new("concurrency", "how many calls run at once")
        .examples(&["concurrency 4"])
        .args(&[Arg::one("calls", ValueKind::Int(1, 1000))])
        .otherwise("8 for enrich, 1 for sink and notify"),
];

/// What stands for a backoff that the file does not describe.
pub const BACKOFF: NodeRow = NodeRow::new("backoff", "the wait between attempts")
    .examples(&[
        r#"backoff exponential base="1s" max="1m" factor=3.0"#,
        r#"backoff constant base="5s" jitter=none"#,
    ])
    .args(&[Arg::one("curve", ValueKind::Word(BackoffCurve::WORDS))])
    .props(&[
        Prop::new("base", WAIT),
        Prop::new("max", WAIT),
        Prop::new("factor", ValueKind::Number(1.0, 100.0)),
        Prop::new("jitter", ValueKind::Word(Jitter::WORDS)),
    ])
    .default("exponential base=\"200ms\" max=\"30s\" factor=2.0 jitter=full");

/// The same of a breaker.
pub const BREAKER: NodeRow =
    NodeRow::new("breaker", "circuit breaker: stops calling a service that keeps failing")
        .examples(&[
            "breaker",
            r#"breaker { trip after=3 within="10s"; open-for "1m" }"#,
            "breaker #false",
        ])
        .args(&[Arg::optional("on", ValueKind::Bool)])
        .children(&[BREAKER_CHILDREN])
        .otherwise("off");

const BREAKER_CHILDREN: &[NodeRow] = &[
    NodeRow::new("trip", "when it opens")
        .examples(&[r#"trip after=3 within="10s""#, r#"trip ratio=0.5 min=10 within="1m""#])
        .props(&[
            Prop::new("after", ValueKind::Int(1, 1000)),
            Prop::new("within", WAIT),
            Prop::new("ratio", ValueKind::Number(0.01, 1.0)),
            Prop::new("min", ValueKind::Int(1, 1000)).default("10"),
        ])
        .default("after=5 within=\"30s\""),
    NodeRow::new("open-for", "how long no calls are made")
        .examples(&[r#"open-for "1m""#])
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .default("\"20s\""),
    NodeRow::new("probes", "successful calls needed after that time before it closes")
        .examples(&["probes 2"])
        .args(&[Arg::one("answers", ValueKind::Int(1, 100))])
        .default("1"),
];

const DEFAULTS: &[NodeRow] = &[
    NodeRow::new("enrich", "for every enrich stage")
        .examples(&[r#"enrich { timeout "1s"; retry 2 }"#])
        .children(&[RATE, CALLS]),
    NodeRow::new("sink", "for every sink")
        .examples(&[r#"sink { retry give-up="2d" }"#])
        .children(&[RATE, CALLS]),
    NodeRow::new("notify", "for every notifier")
        .examples(&[r#"notify { rate "1/s" }"#])
        .children(&[RATE, CALLS]),
];

const MS_DAY: Duration = Duration::from_secs(30 * DAY);

const SOURCE: &[NodeRow] = &[
    NodeRow::flag("disabled", "turns the source off").examples(&["disabled", "disabled #false"]),
    NodeRow::new("description", "a description")
        .examples(&[r#"description "the button at the gate""#])
        .args(&[Arg::one("text", ValueKind::Text)]),
    NodeRow::new("type", "the type of every event, unless `map` sets one")
        .examples(&["type ring", r#"type "log.line""#])
        .args(&[Arg::one("type", ValueKind::Text)]),
    NodeRow::new("schema", "JSON Schema of the message as received")
        .examples(&[r#"schema file="schemas/ring.json""#])
        .props(&[Prop::required("file", ValueKind::Path)]),
    NodeRow::new("map", "where to find each event field in the message")
        .examples(&[r#"map { type "'ring'"; id "data.uuid" }"#])
        .children(&[MAP]),
];

const fn mapped(
    name: &'static str,
    note: &'static str,
    default: &'static str,
    examples: &'static [&'static str],
) -> NodeRow {
    const ARGS: &[Arg] = &[Arg::one("expression", ValueKind::Expr(Roots::MAP_ITEM))];
    NodeRow::new(name, note).args(ARGS).otherwise(default).examples(examples)
}

/// What `map { json … }` reads.
pub const MESSAGE: Roots = Roots::of(&[Root::Data]);

const MAP: &[NodeRow] = &[
    NodeRow::new(
        "json",
        "text in the message that contains JSON; the rest of `map` reads the parsed value instead",
    )
    .examples(&[r#"json "data.Message""#])
    .args(&[Arg::some("path", ValueKind::Expr(MESSAGE))]),
    NodeRow::new(
        "each",
        "a list in the message, each item of which becomes an event; the rest of `map` reads the item as `item`",
    )
    .examples(&[r#"each "data.alerts""#])
    .args(&[Arg::one("list", ValueKind::Expr(Roots::MAP))])
    .otherwise("the message is one event"),
    mapped(
        "type",
        "the event's type",
        "the source's `type`, or `type` of the message or item",
        &[r#"type "'camera.' + data.kind""#],
    ),
    mapped("id", "the id, unique within its source", "a new UUID", &[r#"id "data.uuid""#]),
    mapped(
        "source",
        "where the event comes from",
        "the name of the source node",
        &[r#"source "data.camera""#],
    ),
    mapped("subject", "what the event is about", "empty", &[r#"subject "data.camera""#]),
    mapped(
        "time",
        "Unix seconds or RFC 3339 text; a text without an offset is in the pipeline's zone",
        "the time of arrival",
        &[r#"time "data.seen_at""#, r#"time "data.milliseconds / 1000.0""#],
    ),
    mapped("data", "the payload", "the item of `each`, or the whole message", &[r#"data "data.payload""#]),
    mapped(
        "priority",
        "a priority level, in upper or lower case",
        "from `priority`",
        &[r#"priority "data.urgent ? 'high' : 'normal'""#],
    ),
    mapped(
        "correlation-id",
        "an id that groups related events",
        "none",
        &[r#"correlation-id "data.visit""#],
    ),
    mapped(
        "parent-id",
        "the id of the event that caused it",
        "none",
        &[r#"parent-id "data.cause""#],
    ),
];

const VALIDATE: &[NodeRow] = &[
    NodeRow::new("schema", "the schema of `data` for these event types")
        .examples(&[r#"schema "ring" file="schemas/ring.json""#])
        .args(&[Arg::one("type", ValueKind::Glob)])
        .props(&[Prop::required("file", ValueKind::Path)])
        .repeated(),
    NodeRow::new(
        "rule",
        "a condition that a schema cannot express; false is a violation, null passes",
    )
    .examples(&[
        r#"rule "ring" check="data.score <= 1.0" at="/score" message="a score is at most 1""#,
    ])
    .args(&[Arg::one("type", ValueKind::Glob)])
    .props(&[
        Prop::required("check", ValueKind::Expr(Roots::RULE)),
        Prop::new("at", ValueKind::Pointer).default("\"/data\""),
        Prop::new("message", ValueKind::Text),
    ])
    .repeated(),
    NodeRow::new("on-invalid", "what to do with a message that is not valid")
        .examples(&["on-invalid reject"])
        .args(&[Arg::one("mode", ValueKind::Word(OnInvalid::WORDS))])
        .default("dead-letter"),
    NodeRow::new("on-unknown-type", "what to do with an event type that no schema covers")
        .examples(&["on-unknown-type drop"])
        .args(&[Arg::one("mode", ValueKind::Word(OnUnknownType::WORDS))])
        .default("accept"),
    NodeRow::new("formats", "whether `format` in a schema is checked")
        .examples(&["formats assert"])
        .args(&[Arg::one("mode", ValueKind::Word(Formats::WORDS))])
        .default("annotate"),
];

const FILTER: &[NodeRow] = &[NodeRow::new("keep", "keeps events that match")
    .examples(&[r#"keep when="data.score > 0.8""#])
    .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
    .required()
    .repeated()];

const WATCHING: &[NodeRow] = &[
    NodeRow::new("when", "looks only at events that match")
        .examples(&[r#"when "event.type == 'reading'""#])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::flag("disabled", "turns the node off; what it remembers stays")
        .examples(&["disabled", "disabled #false"]),
    NodeRow::new("description", "a description")
        .examples(&[r#"description "reports doors that were left open""#])
        .args(&[Arg::one("text", ValueKind::Text)]),
];

/// How far from zero the bound of a bucket may be.
const BOUND: f64 = 1e15;

const METRIC: &[NodeRow] = &[
    NodeRow::new("when", "counts only events that match")
        .examples(&[r#"when "event.type == 'request'""#])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::new(
        "value",
        "the number: what a counter adds, a gauge shows, or a histogram sorts into buckets; an event without one is skipped",
    )
    .examples(&[r#"value "data.seconds""#])
    .args(&[Arg::one("number", ValueKind::Expr(Roots::EVENT))])
    .otherwise("1 for a counter; required for the others"),
    NodeRow::new("by", "labels, each with its value; null is an empty label")
        .examples(&[r#"by status="data.status" path="data.path""#])
        .open(ValueKind::Expr(Roots::EVENT)),
    NodeRow::new("buckets", "the upper bounds of a histogram's buckets, ascending")
        .examples(&["buckets 0.1 0.5 1 5"])
        .args(&[Arg::some("bound", ValueKind::Number(-BOUND, BOUND))])
        .otherwise("for a histogram: 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10"),
    NodeRow::new(
        "max-series",
        "how many combinations of labels have their own series; all others share one series with the label `other=\"true\"`",
    )
    .examples(&["max-series 200"])
    .args(&[Arg::one("series", ValueKind::Int(1, 10_000))])
    .default("1000"),
    NodeRow::flag("disabled", "turns the metric off").examples(&["disabled", "disabled #false"]),
    NodeRow::new("description", "a description; `/metrics` shows it as help")
        .examples(&[r#"description "Requests by status""#])
        .args(&[Arg::one("text", ValueKind::Literal)]),
];

const PASSING: &[NodeRow] = &[
    NodeRow::new("when", "applies only to events that match; the others pass")
        .examples(&[r#"when "event.type == 'ring'""#])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::new("on-drop", "what to do with an event that does not pass")
        .examples(&["on-drop tag", r#"on-drop dead-letter reason="seen before""#])
        .args(&[Arg::one("mode", ValueKind::Word(OnDrop::WORDS))])
        .props(&[Prop::new("reason", ValueKind::Text)])
        .default("drop"),
    NodeRow::flag("disabled", "turns the node off; every event passes")
        .examples(&["disabled", "disabled #false"]),
    NodeRow::new("description", "a description")
        .examples(&[r#"description "drops what the camera is unsure of""#])
        .args(&[Arg::one("text", ValueKind::Text)]),
];

const TO: &[NodeRow] = &[NodeRow::new("to", "the sinks and notifiers")
    .examples(&["to journal phone"])
    .args(&[Arg::some("target", ValueKind::Ref)])
    .required()
    .repeated()];

const ROUTE: &[NodeRow] = &[
    NodeRow::new("case", "events that match `when`")
        .examples(&[r#"case urgent when="event.priority >= 'high'" { to journal phone }"#])
        .args(&[Arg::one("name", ValueKind::Ident)])
        .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
        .children(&[TO])
        .repeated(),
    NodeRow::new("otherwise", "events that match no case")
        .examples(&["otherwise { to journal }"])
        .children(&[TO]),
];

const NOTIFY: &[NodeRow] = &[
    NodeRow::new("title", "the headline")
        .examples(&[r#"title "{{ event.type }} at {{ event.subject }}""#])
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::NOTIFICATION))])
        .default("\"{{ event.type }}\""),
    NodeRow::new("message", "the text")
        .examples(&[r#"message "{{ data.name ?? 'somebody' }} rings""#])
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::NOTIFICATION))])
        .default("\"{{ event.subject }}\""),
    NodeRow::new("cooldown", "sends at most one per key in this time")
        .examples(&[
            r#"cooldown "5m""#,
            r#"cooldown "5m" key="event.subject" except="event.priority == 'critical'""#,
        ])
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .props(&[
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("except", ValueKind::Expr(Roots::EVENT)),
        ]),
    NodeRow::new("quiet-hours", "sends nothing in these hours; `days` are those on which they begin")
        .examples(&[
            r#"quiet-hours "22:00-07:00" allow="event.priority == 'critical'""#,
            r#"quiet-hours "22:00-07:00" days="sun-thu" zone="Europe/Berlin" then=digest"#,
        ])
        .args(&[Arg::one("hours", ValueKind::Hours)])
        .props(&[
            Prop::new("days", ValueKind::Days).default("\"mon-sun\""),
            Prop::new("zone", ValueKind::Zone),
            Prop::new("allow", ValueKind::Expr(Roots::EVENT)),
            Prop::new("then", ValueKind::Word(Excess::WORDS)).default("delay"),
        ])
        .repeated(),
    NodeRow::new("mute", "after an event that matches `when`, sends nothing for the same `key` for a while")
        .examples(&[r#"mute when="event.type == 'camera.off'" for="30m" key="event.subject""#])
        .props(&[
            Prop::required("when", ValueKind::Expr(Roots::EVENT)),
            Prop::required("for", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
        ])
        .repeated(),
    NodeRow::new("unless", "sends nothing if an event of this type with the same `key` came shortly before")
        .examples(&[r#"unless within="2m" type="face.known" key="event.subject""#])
        .props(&[
            Prop::required("within", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
            Prop::required("type", ValueKind::Glob),
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
        ])
        .repeated(),
    NodeRow::new("group", "waits for more events with the same key and sends one message for all; `then` is the time between two messages of a key")
        .examples(&[r#"group "30s" key="event.subject" then="5m""#])
        .args(&[Arg::one("wait", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .props(&[
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("then", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
        ]),
    NodeRow::new("update", "edits the previous message with the same `key` instead of sending a new one, for up to `within` after it was last sent or edited")
        .examples(&[
            r#"update key="data.id""#,
            r#"update key="event.subject" within="12h""#,
        ])
        .props(&[
            Prop::required("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("within", ValueKind::Duration(Duration::from_secs(1), MS_DAY)).default("\"1d\""),
        ]),
    DIGEST,
    NodeRow::new("wait", "waits for an event with the same `key` that matches `for`, and then sends only the newest")
        .examples(&[r#"wait for="event.type == 'face'" up-to="8s" key="event.subject""#])
        .props(&[
            Prop::required("for", ValueKind::Expr(Roots::EVENT)),
            Prop::required("up-to", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
        ]),
    NodeRow::new("fallback", "the notifier that receives what this one could not deliver")
        .examples(&["fallback phone"])
        .args(&[Arg::one("notifier", ValueKind::Ref)]),
    NodeRow::new("repeat", "sends the notification again until an event with the same `key` matches `until`")
        .examples(&[r#"repeat "5m" key="event.subject" max=6 until="event.type == 'seen'""#])
        .args(&[Arg::one("every", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .props(&[
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("max", ValueKind::Int(1, 1000)).default("10"),
            Prop::new("until", ValueKind::Expr(Roots::EVENT)),
        ]),
    NodeRow::new("recover", "sends an all-clear when an event matches `when`, if a notification with the same `key` was sent before")
        .examples(&[
            r#"recover when="event.type == 'closed'" key="event.subject" title="{{ event.subject }} is closed" message="all clear""#,
        ])
        .props(&[
            Prop::required("when", ValueKind::Expr(Roots::EVENT)),
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("title", ValueKind::OwnTemplate(Roots::NOTIFICATION)),
            Prop::new("message", ValueKind::OwnTemplate(Roots::NOTIFICATION)),
        ]),
    NodeRow::new("escalate", "notifies another notifier as well if no event with the same `key` matches `until` in time")
        .examples(&[
            r#"escalate after="5m" to=phone key="event.subject" until="event.type == 'seen'""#,
        ])
        .props(&[
            Prop::required("after", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
            Prop::required("to", ValueKind::Ref),
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("until", ValueKind::Expr(Roots::EVENT)),
        ]),
];

/// What stands for the texts of a digest that the file does not give.
pub const DIGEST: NodeRow =
    NodeRow::new("digest", "the text of the single message that is sent for several waiting ones")
        .examples(&[
            r#"digest { title "{{ group.count }} while you slept"; message "{{ group.text }}" }"#,
        ])
        .children(&[DIGEST_TEXTS]);

const DIGEST_TEXTS: &[NodeRow] = &[
    NodeRow::new("title", "the headline of a digest")
        .examples(&[r#"title "{{ group.count }} while you slept""#])
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::NOTIFICATION))])
        .default("\"{{ group.count }} notifications\""),
    NodeRow::new("message", "the text of a digest")
        .examples(&[r#"message "{{ group.text }}""#])
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::NOTIFICATION))])
        .default("\"{{ group.text }}\""),
];

const DEAD_LETTER: &[NodeRow] = &[
    NodeRow::new("keep", "how long")
        .examples(&[r#"keep "30d""#])
        .args(&[Arg::one("duration", AGE)])
        .default("\"7d\""),
    NodeRow::new("max-entries", "how many are kept; the oldest are deleted first")
        .examples(&["max-entries 50000"])
        .args(&[Arg::one("entries", ValueKind::Int(1, 10_000_000))])
        .default("10000"),
];

/// In the order of their effect: each step begins where the one before it has ended.
const TESTS: &[NodeRow] = &[
    NodeRow::new("description", "a description")
        .examples(&[r#"description "what the night shift relies on""#])
        .args(&[Arg::one("text", ValueKind::Literal)]),
    NodeRow::new("at", "the time at which the test starts")
        .examples(&[r#"at "2026-06-01T22:00:00+02:00""#])
        .args(&[Arg::one("time", ValueKind::Moment)])
        .default("\"2026-01-01T00:00:00Z\""),
    NodeRow::new("env", "the environment variables of the test; no others are set")
        .examples(&[r#"env WEATHER_TOKEN="a-token""#])
        .open(ValueKind::Literal),
    NodeRow::new("mock", "the response of an outside service; several in a row are used in order")
        .examples(&[
            r##"mock enrich weather status=200 body=#"{ "temperature": 21 }"#"##,
            "mock enrich weather error=timeout times=2",
            r#"mock notify phone status=503 delay="2s""#,
        ])
        .args(&[Arg::one("role", ValueKind::Word(MOCKED)), Arg::one("stage", ValueKind::Ref)])
        .props(&[
            Prop::new("status", ValueKind::Int(100, 599)),
            Prop::new("body", ValueKind::Literal),
            Prop::new("error", ValueKind::Word(ERRORS)),
            Prop::new("delay", ValueKind::Duration(Duration::from_millis(1), MS_DAY)),
            Prop::new("times", ValueKind::Int(1, 1_000_000)),
        ])
        .repeated(),
    NodeRow::new("given", "a message arrives")
        .examples(&[
            r##"given source=bell { body #"{ "type": "ring" }"# }"##,
            r##"given source=bell type="ring" { data #"{ "id": 1 }"# }"##,
            r#"given source=bell file="ring.json""#,
            r##"given source=porch authenticated=#true { body #"{ "type": "ring" }"# }"##,
            r#"given source=button { query "type=ring&battery=90" }"#,
            r##"given source=frigate topic="frigate/events" { body #"{ "type": "new" }"# }"##,
        ])
        .props(&[
            Prop::required("source", ValueKind::Ref),
            Prop::new("type", ValueKind::Literal),
            Prop::new("topic", ValueKind::Literal),
            Prop::new("file", ValueKind::Literal),
            Prop::new("authenticated", ValueKind::Bool),
        ])
        .children(&[GIVEN])
        .repeated(),
    NodeRow::new("replay", "messages arrive in order, one per line of a file")
        .examples(&[
            r#"replay source=bell file="rings.jsonl""#,
            r#"replay source=porch file="rings.jsonl" authenticated=#true"#,
            r#"replay source=frigate topic="frigate/events" file="visit.jsonl""#,
        ])
        .props(&[
            Prop::required("source", ValueKind::Ref),
            Prop::required("file", ValueKind::Literal),
            Prop::new("topic", ValueKind::Literal),
            Prop::new("authenticated", ValueKind::Bool),
        ])
        .repeated(),
    NodeRow::new("advance", "time passes")
        .examples(&[r#"advance "5m""#])
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_millis(1), YEAR))])
        .repeated(),
    NodeRow::new("expect", "the result expected at this point")
        .examples(&[
            "expect status=202",
            "expect sink=journal count=1",
            r#"expect notify=phone title="ring" contains="door""#,
            "expect stage=weather outcome=failed attempts=2",
            r#"expect event="ring" where="data.id == 1""#,
            "expect dead-letter=0",
            "expect stage=weather dropped=1",
        ])
        .props(&[
            Prop::new("stage", ValueKind::Ref),
            Prop::new("sink", ValueKind::Ref),
            Prop::new("notify", ValueKind::Ref),
            Prop::new("event", ValueKind::Glob),
            Prop::new("dead-letter", ValueKind::Int(0, 1_000_000)),
            Prop::new("status", ValueKind::Int(100, 599)),
            Prop::new("count", ValueKind::Int(0, 1_000_000)),
            Prop::new("dropped", ValueKind::Int(0, 1_000_000)),
            Prop::new("outcome", ValueKind::Word(OUTCOMES)),
            Prop::new("attempts", ValueKind::Int(0, 1_000_000)),
            Prop::new("title", ValueKind::Literal),
            Prop::new("contains", ValueKind::Literal),
            Prop::new("where", ValueKind::Expr(Roots::EVENT)),
        ])
        .required()
        .repeated(),
];

const YEAR: Duration = Duration::from_secs(366 * DAY);

const GIVEN: &[NodeRow] = &[
    NodeRow::new("body", "the message as it is received")
        .examples(&[r##"body #"{ "type": "ring" }"#"##])
        .args(&[Arg::one("text", ValueKind::Literal)]),
    NodeRow::new("data", "the event's data, after `map`")
        .examples(&[r##"data #"{ "id": 1 }"#"##])
        .args(&[Arg::one("json", ValueKind::Json)]),
    NodeRow::new("query", "the query of a GET without a body")
        .examples(&[r#"query "device=cellar&tC=21.5""#])
        .args(&[Arg::one("text", ValueKind::Literal)]),
    NodeRow::new("header", "a header of the request")
        .examples(&[r#"header "X-Request-Id" "7""#])
        .args(&[Arg::one("name", ValueKind::Literal), Arg::one("value", ValueKind::Literal)])
        .repeated(),
];
