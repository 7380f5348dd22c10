//! The rows of the language that belong to the engine: everything that is not of one kind.

use language::expr::Roots;
use language::{Arg, NodeRow, Prop, ValueKind};
use std::time::Duration;

const DAY: u64 = 86_400;
const SHORT: ValueKind = ValueKind::Duration(Duration::from_millis(10), Duration::from_secs(600));
const AGE: ValueKind =
    ValueKind::Duration(Duration::from_secs(1), Duration::from_secs(36_500 * DAY));
const WAIT: ValueKind = ValueKind::Duration(Duration::from_millis(1), Duration::from_secs(3600));

/// The words of the four priorities.
pub const LEVELS: &[&str] = &["low", "normal", "high", "critical"];
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

/// Every node that may stand at the top of a file.
pub const TOP: &[NodeRow] = &[
    NodeRow::new("pipeline", "names the pipeline; must be the first node of the file")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .props(&[Prop::required("schema-version", ValueKind::Int(1, i64::MAX))])
        .children(&[PIPELINE])
        .required(),
    NodeRow::new("include", "inserts other files at this place")
        .args(&[Arg::some("path", ValueKind::Path)])
        .props(&[Prop::new("optional", ValueKind::Bool)])
        .repeated(),
    NodeRow::new("param", "a value that expressions read as `param.NAME`")
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("value", ValueKind::Any)])
        .repeated(),
    NodeRow::new("server", "the HTTP server").children(&[SERVER]),
    NodeRow::new("limits", "limits of the whole pipeline").children(&[LIMITS]),
    NodeRow::new("priority", "how urgent an event is; the first matching case wins")
        .props(&[Prop::new("default", ValueKind::Word(LEVELS))])
        .children(&[&[NodeRow::new("case", "gives this level to events that match `when`")
            .args(&[Arg::one("level", ValueKind::Word(LEVELS))])
            .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
            .repeated()]])
        .default("normal"),
    NodeRow::new("policy", "named failure handling that stages can use")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("defaults", "failure handling where neither the node nor its policy sets it")
        .children(&[DEFAULTS]),
    NodeRow::new("source", "produces events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[SOURCE])
        .repeated(),
    NodeRow::new("validate", "JSON Schemas and rules for `data`, by event type")
        .children(&[VALIDATE]),
    NodeRow::new("filter", "keeps the events that match `keep` and drops the others")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[FILTER, PASSING])
        .repeated(),
    NodeRow::new(
        "dedupe",
        "keeps the first event of each key and drops repeats within a time window",
    )
    .args(&[Arg::one("name", ValueKind::Ident)])
    .children(&[DEDUPE, PASSING])
    .repeated(),
    NodeRow::new("throttle", "limits the rate of events, per key")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[THROTTLE, PASSING])
        .repeated(),
    NodeRow::new("enrich", "adds fields to events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[STAGE, ENRICH, POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("route", "chooses the sinks and notifiers of an event")
        .args(&[Arg::optional("name", ValueKind::Ident)])
        .props(&[Prop::new("mode", ValueKind::Word(&["first", "all"]))])
        .children(&[ROUTE])
        .default("every event to every sink and notifier"),
    NodeRow::new("sink", "delivers events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[DISABLED, BACKLOG, POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("notify", "sends notifications")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[DISABLED, NOTIFY, BACKLOG, POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("dead-letter", "how long dead letters are kept").children(&[DEAD_LETTER]),
    TEST,
];

/// Every node that may stand at the top of a file of tests.
pub const TEST_FILE: &[NodeRow] = &[TEST];

const TEST: NodeRow =
    NodeRow::new("test", "a test with its input and the expected results; run by `engine test`")
        .args(&[Arg::one("name", ValueKind::Literal)])
        .children(&[TESTS])
        .repeated();

const PIPELINE: &[NodeRow] = &[
    NodeRow::new("description", "a description").args(&[Arg::one("text", ValueKind::Text)]),
    NodeRow::new("timezone", "the time zone used in templates")
        .args(&[Arg::one("zone", ValueKind::Zone)])
        .default("UTC"),
    NodeRow::new("labels", "your own names and values").open(LABEL_TEXT),
];

const SERVER: &[NodeRow] = &[
    NodeRow::new("listen", "the address to listen on; must be loopback unless `auth` is set")
        .args(&[Arg::one("address", ValueKind::Socket)])
        .default("127.0.0.1:8600"),
    NodeRow::new("public-url", "the URL that others use: requests to its host are accepted, its pages may use the API, and templates read it as `server.public_url`")
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("from `listen`"),
    NodeRow::new("hosts", "more host names and addresses that requests may be sent to")
        .args(&[Arg::some("host", ValueKind::Host)])
        .default("`localhost`, the address of the connection, and the host of `public-url`"),
    NodeRow::new("max-body", "the largest request body")
        .args(&[Arg::one("size", BODY)])
        .default("1MiB"),
    NodeRow::new("auth", "the tokens and what each may do").children(&[&[NodeRow::new("token", "a bearer token")
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("value", ValueKind::Secret)])
        .props(&[Prop::new("scope", ValueKind::Words(SCOPES))])
        .repeated()
        .required()]]),
];

const LIMITS: &[NodeRow] = &[
    NodeRow::new("queue", "how many events may wait for their first commit")
        .args(&[Arg::one("events", ValueKind::Int(1, 1_000_000))])
        .default("4096"),
    NodeRow::new("overflow", "what to do with a message when `queue` is full")
        .args(&[Arg::one("mode", ValueKind::Word(&["block", "reject", "drop-newest"]))])
        .default("reject"),
    NodeRow::new("outbox", "how many deliveries may wait, for all sinks and notifiers together")
        .args(&[Arg::optional("deliveries", ValueKind::Int(1, 100_000_000))])
        .props(&[Prop::new("max-bytes", ValueKind::Bytes(1 << 10, 1 << 50))])
        .default("1000000 max-bytes=\"1GiB\""),
    NodeRow::new("concurrency", "how many events are enriched at once")
        .args(&[Arg::one("events", ValueKind::Int(1, 10_000))])
        .default("100"),
    NodeRow::new("event-timeout", "the longest an event may spend in its stages")
        .args(&[Arg::one("duration", AGE)])
        .default("60s"),
    NodeRow::new("shutdown-grace", "how long a shutdown waits for running work")
        .args(&[Arg::one(
            "duration",
            ValueKind::Duration(Duration::ZERO, Duration::from_secs(600)),
        )])
        .default("10s"),
    NodeRow::new("max-event-size", "the largest single event")
        .args(&[Arg::one("size", BODY)])
        .default("256KiB"),
];

const DISABLED: &[NodeRow] = &[
    NodeRow::flag("disabled", "turns the node off"),
    NodeRow::new("description", "a description").args(&[Arg::one("text", ValueKind::Text)]),
];

/// What happens to a delivery for which there is no room.
pub const ON_FULL: &[&str] = &["reject", "dead-letter", "drop-oldest"];

const BACKLOG: &[NodeRow] = &[NodeRow::new(
    "backlog",
    "how many deliveries may wait for it, and what happens when there are more",
)
.args(&[Arg::optional("deliveries", ValueKind::Int(1, 100_000_000))])
.props(&[
    Prop::new("max-bytes", ValueKind::Bytes(1 << 10, 1 << 50)),
    Prop::new("on-full", ValueKind::Word(ON_FULL)),
])
.default("the `outbox` limit, on-full=reject")];

const STAGE: &[NodeRow] = &[
    NodeRow::new("after", "runs after these stages, whether or not they succeeded")
        .args(&[Arg::some("stage", ValueKind::Ref)])
        .repeated(),
    NodeRow::new("needs", "runs after these stages, and only if they succeeded")
        .args(&[Arg::some("stage", ValueKind::Ref)])
        .repeated(),
    NodeRow::new("when", "runs only for events that match")
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::flag("disabled", "turns the stage off; it stays in the graph"),
    NodeRow::new("description", "a description").args(&[Arg::one("text", ValueKind::Text)]),
];

const ENRICH: &[NodeRow] = &[
    NodeRow::new("into", "where to put the result")
        .args(&[Arg::one("path", ValueKind::Field)])
        .default("enrich.NAME"),
    NodeRow::new("on-error", "what happens to an event when the stage fails")
        .args(&[Arg::one("mode", ValueKind::Word(&["continue", "dead-letter", "drop"]))])
        .props(&[Prop::new("reason", ValueKind::Text)])
        .default("continue"),
];

const POLICY_REF: &[NodeRow] =
    &[NodeRow::new("policy", "the policy to start from").args(&[Arg::one("name", ValueKind::Ref)])];

const FAILURE: &[NodeRow] = &[
    NodeRow::new("timeout", "the longest one attempt may take")
        .args(&[Arg::one("duration", SHORT)])
        .default("2s for enrich, 10s for sink and notify"),
    NodeRow::new("retry", "retries after a transient failure")
        .args(&[Arg::optional("attempts", ValueKind::Int(0, 200))])
        .props(&[
            Prop::new("on", ValueKind::Words(CAUSES)),
            Prop::new("give-up", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
        ])
        .children(&[&[NodeRow::new("backoff", "the wait between attempts")
            .args(&[Arg::one("curve", ValueKind::Word(&["exponential", "linear", "constant"]))])
            .props(&[
                Prop::new("base", WAIT),
                Prop::new("max", WAIT),
                Prop::new("factor", ValueKind::Number(1.0, 100.0)),
                Prop::new("jitter", ValueKind::Word(&["full", "none"])),
            ])
            .default("exponential base=\"200ms\" max=\"30s\" factor=2.0 jitter=full")]])
        .default("0 for enrich, give-up=\"24h\" for sink and notify"),
    NodeRow::new("breaker", "circuit breaker: stops calling a service that keeps failing")
        .args(&[Arg::optional("on", ValueKind::Bool)])
        .children(&[BREAKER])
        .default("off"),
    NodeRow::new("rate", "how often it is called; further calls wait")
        .args(&[Arg::one("rate", ValueKind::Rate)])
        .props(&[Prop::new("burst", ValueKind::Int(1, 10_000))])
        .default("unlimited"),
    NodeRow::new("concurrency", "how many calls run at once")
        .args(&[Arg::one("calls", ValueKind::Int(1, 1000))])
        .default("8 for enrich, 1 for sink and notify"),
];

const BREAKER: &[NodeRow] = &[
    NodeRow::new("trip", "when it opens")
        .props(&[
            Prop::new("after", ValueKind::Int(1, 1000)),
            Prop::new("within", WAIT),
            Prop::new("ratio", ValueKind::Number(0.01, 1.0)),
            Prop::new("min", ValueKind::Int(1, 1000)),
        ])
        .default("after=5 within=\"30s\""),
    NodeRow::new("open-for", "how long no calls are made")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .default("20s"),
    NodeRow::new("probes", "successful calls needed after that time before it closes")
        .args(&[Arg::one("answers", ValueKind::Int(1, 100))])
        .default("1"),
];

const DEFAULTS: &[NodeRow] = &[
    NodeRow::new("enrich", "for every enrich stage").children(&[FAILURE]),
    NodeRow::new("sink", "for every sink").children(&[FAILURE]),
    NodeRow::new("notify", "for every notifier").children(&[FAILURE]),
];

const MS_DAY: Duration = Duration::from_secs(30 * DAY);

const SOURCE: &[NodeRow] = &[
    NodeRow::flag("disabled", "turns the source off"),
    NodeRow::new("description", "a description").args(&[Arg::one("text", ValueKind::Text)]),
    NodeRow::new("schema", "JSON Schema of the message as received")
        .props(&[Prop::required("file", ValueKind::Path)]),
    NodeRow::new("map", "where to find each event field in the message").children(&[MAP]),
];

const fn mapped(name: &'static str, note: &'static str, default: &'static str) -> NodeRow {
    const ARGS: &[Arg] = &[Arg::one("expression", ValueKind::Expr(Roots::MAP))];
    NodeRow::new(name, note).args(ARGS).default(default)
}

const MAP: &[NodeRow] = &[
    mapped("type", "the event's type", "`type` of the message"),
    mapped("id", "the id, unique within its source", "a new UUID"),
    mapped("source", "where the event comes from", "the name of the source node"),
    mapped("subject", "what the event is about", "empty"),
    mapped("time", "Unix seconds or RFC 3339", "the time of arrival"),
    mapped("data", "the payload", "the whole message"),
    mapped("priority", "a priority level, in upper or lower case", "from `priority`"),
    mapped("correlation-id", "an id that groups related events", "none"),
    mapped("parent-id", "the id of the event that caused it", "none"),
];

const VALIDATE: &[NodeRow] = &[
    NodeRow::new("schema", "the schema of `data` for these event types")
        .args(&[Arg::one("type", ValueKind::Glob)])
        .props(&[Prop::required("file", ValueKind::Path)])
        .repeated(),
    NodeRow::new(
        "rule",
        "a condition that a schema cannot express; false is a violation, null passes",
    )
    .args(&[Arg::one("type", ValueKind::Glob)])
    .props(&[
        Prop::required("check", ValueKind::Expr(Roots::RULE)),
        Prop::new("at", ValueKind::Pointer),
        Prop::new("message", ValueKind::Text),
    ])
    .repeated(),
    NodeRow::new("on-invalid", "what to do with a message that is not valid")
        .args(&[Arg::one("mode", ValueKind::Word(&["dead-letter", "reject", "drop", "tag"]))])
        .default("dead-letter"),
    NodeRow::new("on-unknown-type", "what to do with an event type that no schema covers")
        .args(&[Arg::one("mode", ValueKind::Word(&["accept", "drop", "reject", "dead-letter"]))])
        .default("accept"),
    NodeRow::new("formats", "whether `format` in a schema is checked")
        .args(&[Arg::one("mode", ValueKind::Word(&["annotate", "assert"]))])
        .default("annotate"),
];

const FILTER: &[NodeRow] = &[NodeRow::new("keep", "keeps events that match")
    .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
    .required()
    .repeated()];

const KEYS: ValueKind = ValueKind::Int(1, 1_000_000);

const DEDUPE: &[NodeRow] = &[
    NodeRow::new("key", "events with the same key are repeats; an event whose key is null passes")
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new("window", "how long repeats are dropped, counted from the first event")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .required(),
    NodeRow::new("max-keys", "how many keys are remembered; the oldest are forgotten first")
        .args(&[Arg::one("keys", KEYS)])
        .default("10000"),
];

const THROTTLE: &[NodeRow] = &[
    NodeRow::new("key", "the rate is counted per key; an event whose key is null passes")
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .default("one rate for all events"),
    NodeRow::new("rate", "how many events pass")
        .args(&[Arg::one("rate", ValueKind::Rate)])
        .props(&[Prop::new("burst", ValueKind::Int(1, 10_000))])
        .required(),
    NodeRow::new("max-keys", "how many keys are remembered; the oldest are forgotten first")
        .args(&[Arg::one("keys", KEYS)])
        .default("10000"),
];

const PASSING: &[NodeRow] = &[
    NodeRow::new("when", "applies only to events that match; the others pass")
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::new("on-drop", "what to do with an event that does not pass")
        .args(&[Arg::one("mode", ValueKind::Word(&["drop", "dead-letter", "tag"]))])
        .props(&[Prop::new("reason", ValueKind::Text)])
        .default("drop"),
    NodeRow::flag("disabled", "turns the node off; every event passes"),
    NodeRow::new("description", "a description").args(&[Arg::one("text", ValueKind::Text)]),
];

const TO: &[NodeRow] = &[NodeRow::new("to", "the sinks and notifiers")
    .args(&[Arg::some("target", ValueKind::Ref)])
    .required()
    .repeated()];

const ROUTE: &[NodeRow] = &[
    NodeRow::new("case", "events that match `when`")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
        .children(&[TO])
        .repeated(),
    NodeRow::new("otherwise", "events that match no case").children(&[TO]),
];

const NOTIFY: &[NodeRow] = &[
    NodeRow::new("title", "the headline")
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::EVENT))])
        .default("{{ event.type }}"),
    NodeRow::new("message", "the text")
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::EVENT))])
        .default("{{ event.subject }}"),
    NodeRow::new("cooldown", "sends at most one per key in this time")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .props(&[
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("except", ValueKind::Expr(Roots::EVENT)),
        ]),
];

const DEAD_LETTER: &[NodeRow] = &[
    NodeRow::new("keep", "how long").args(&[Arg::one("duration", AGE)]).default("7d"),
    NodeRow::new("max-entries", "how many are kept; the oldest are deleted first")
        .args(&[Arg::one("entries", ValueKind::Int(1, 10_000_000))])
        .default("10000"),
];

/// In the order of their effect: each step begins where the one before it has ended.
const TESTS: &[NodeRow] = &[
    NodeRow::new("description", "a description").args(&[Arg::one("text", ValueKind::Literal)]),
    NodeRow::new("at", "the time at which the test starts")
        .args(&[Arg::one("time", ValueKind::Moment)])
        .default("2026-01-01T00:00:00Z"),
    NodeRow::new("env", "the environment variables of the test; no others are set")
        .open(ValueKind::Literal),
    NodeRow::new("mock", "the response of an outside service; several in a row are used in order")
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
        .props(&[
            Prop::required("source", ValueKind::Ref),
            Prop::new("type", ValueKind::Literal),
            Prop::new("file", ValueKind::Literal),
            Prop::new("authenticated", ValueKind::Bool),
        ])
        .children(&[GIVEN])
        .repeated(),
    NodeRow::new("replay", "messages arrive in order, one per line of a file")
        .props(&[
            Prop::required("source", ValueKind::Ref),
            Prop::required("file", ValueKind::Literal),
            Prop::new("authenticated", ValueKind::Bool),
        ])
        .repeated(),
    NodeRow::new("advance", "time passes")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_millis(1), YEAR))])
        .repeated(),
    NodeRow::new("expect", "the result expected at this point")
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
        .args(&[Arg::one("text", ValueKind::Literal)]),
    NodeRow::new("data", "the event's data, after `map`")
        .args(&[Arg::one("json", ValueKind::Json)]),
    NodeRow::new("header", "a header of the request")
        .args(&[Arg::one("name", ValueKind::Literal), Arg::one("value", ValueKind::Literal)])
        .repeated(),
];
