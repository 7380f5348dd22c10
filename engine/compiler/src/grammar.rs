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
    NodeRow::new("pipeline", "names the pipeline; the first node of the file")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .props(&[Prop::required("schema-version", ValueKind::Int(1, i64::MAX))])
        .children(&[PIPELINE])
        .required(),
    NodeRow::new("include", "reads other files as if they stood here")
        .args(&[Arg::some("path", ValueKind::Path)])
        .props(&[Prop::new("optional", ValueKind::Bool)])
        .repeated(),
    NodeRow::new("param", "a value that expressions read as `param.NAME`")
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("value", ValueKind::Any)])
        .repeated(),
    NodeRow::new("server", "the HTTP server").children(&[SERVER]),
    NodeRow::new("limits", "bounds of the whole pipeline").children(&[LIMITS]),
    NodeRow::new("priority", "how urgent an event is; the first case that holds wins")
        .props(&[Prop::new("default", ValueKind::Word(LEVELS))])
        .children(&[&[NodeRow::new("case", "gives this level to events for which `when` holds")
            .args(&[Arg::one("level", ValueKind::Word(LEVELS))])
            .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
            .repeated()]])
        .default("normal"),
    NodeRow::new("policy", "failure handling, to be named by stages")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("defaults", "failure handling where neither node nor policy says anything")
        .children(&[DEFAULTS]),
    NodeRow::new("source", "makes events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[SOURCE])
        .repeated(),
    NodeRow::new("validate", "JSON Schemas and rules of `data`, by event type")
        .children(&[VALIDATE]),
    NodeRow::new("filter", "keeps the events for which `keep` holds")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[FILTER, PASSING])
        .repeated(),
    NodeRow::new("dedupe", "lets the first event of a key through, and no other for a while")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[DEDUPE, PASSING])
        .repeated(),
    NodeRow::new("throttle", "lets events of a key through at a rate")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .children(&[THROTTLE, PASSING])
        .repeated(),
    NodeRow::new("enrich", "adds to events")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[STAGE, ENRICH, POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("route", "which sinks and notifiers an event goes to")
        .args(&[Arg::optional("name", ValueKind::Ident)])
        .props(&[Prop::new("mode", ValueKind::Word(&["first", "all"]))])
        .children(&[ROUTE])
        .default("every event to every sink and notifier"),
    NodeRow::new("sink", "takes events out")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[DISABLED, BACKLOG, POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("notify", "tells someone")
        .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
        .children(&[DISABLED, NOTIFY, BACKLOG, POLICY_REF, FAILURE])
        .repeated(),
    NodeRow::new("dead-letter", "how long what was set aside is kept").children(&[DEAD_LETTER]),
    TEST,
];

/// Every node that may stand at the top of a file of tests.
pub const TEST_FILE: &[NodeRow] = &[TEST];

const TEST: NodeRow =
    NodeRow::new("test", "what goes in and what must come out; `engine test` runs it")
        .args(&[Arg::one("name", ValueKind::Literal)])
        .children(&[TESTS])
        .repeated();

const PIPELINE: &[NodeRow] = &[
    NodeRow::new("description", "what it is for").args(&[Arg::one("text", ValueKind::Text)]),
    NodeRow::new("timezone", "the zone of times in templates")
        .args(&[Arg::one("zone", ValueKind::Zone)])
        .default("UTC"),
    NodeRow::new("labels", "names and values of your own").open(LABEL_TEXT),
];

const SERVER: &[NodeRow] = &[
    NodeRow::new("listen", "the address; loopback unless `auth` is set")
        .args(&[Arg::one("address", ValueKind::Socket)])
        .default("127.0.0.1:8600"),
    NodeRow::new("public-url", "how others reach it: its host is served, pages of it may use the API, and templates read `server.public_url`")
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("from `listen`"),
    NodeRow::new("hosts", "further names and addresses that requests may be addressed to")
        .args(&[Arg::some("host", ValueKind::Host)])
        .default("`localhost`, the address of the connection, and the host of `public-url`"),
    NodeRow::new("max-body", "the largest request body")
        .args(&[Arg::one("size", BODY)])
        .default("1MiB"),
    NodeRow::new("auth", "who may do what").children(&[&[NodeRow::new("token", "a bearer token")
        .args(&[Arg::one("name", ValueKind::Ident), Arg::one("value", ValueKind::Secret)])
        .props(&[Prop::new("scope", ValueKind::Words(SCOPES))])
        .repeated()
        .required()]]),
];

const LIMITS: &[NodeRow] = &[
    NodeRow::new("queue", "events that may wait for their first commit")
        .args(&[Arg::one("events", ValueKind::Int(1, 1_000_000))])
        .default("4096"),
    NodeRow::new("overflow", "what becomes of a message that finds no room in `queue`")
        .args(&[Arg::one("mode", ValueKind::Word(&["block", "reject", "drop-newest"]))])
        .default("reject"),
    NodeRow::new("outbox", "deliveries that may wait, for all sinks and notifiers together")
        .args(&[Arg::optional("deliveries", ValueKind::Int(1, 100_000_000))])
        .props(&[Prop::new("max-bytes", ValueKind::Bytes(1 << 10, 1 << 50))])
        .default("1000000 max-bytes=\"1GiB\""),
    NodeRow::new("concurrency", "accepted events that have a stage running")
        .args(&[Arg::one("events", ValueKind::Int(1, 10_000))])
        .default("100"),
    NodeRow::new("event-timeout", "from the start of an event's stages to its routing")
        .args(&[Arg::one("duration", AGE)])
        .default("60s"),
    NodeRow::new("shutdown-grace", "how long a stop waits for what is running")
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
    NodeRow::flag("disabled", "keeps the node in the file without running it"),
    NodeRow::new("description", "what it is for").args(&[Arg::one("text", ValueKind::Text)]),
];

/// What happens to a delivery for which there is no room.
pub const ON_FULL: &[&str] = &["reject", "dead-letter", "drop-oldest"];

const BACKLOG: &[NodeRow] =
    &[NodeRow::new("backlog", "deliveries that may wait for it, and what happens beyond that")
        .args(&[Arg::optional("deliveries", ValueKind::Int(1, 100_000_000))])
        .props(&[
            Prop::new("max-bytes", ValueKind::Bytes(1 << 10, 1 << 50)),
            Prop::new("on-full", ValueKind::Word(ON_FULL)),
        ])
        .default("as many as `outbox` of `limits` has room for, on-full=reject")];

const STAGE: &[NodeRow] = &[
    NodeRow::new("after", "runs after these have ended, however they ended")
        .args(&[Arg::some("stage", ValueKind::Ref)])
        .repeated(),
    NodeRow::new("needs", "runs after these, and only if they succeeded")
        .args(&[Arg::some("stage", ValueKind::Ref)])
        .repeated(),
    NodeRow::new("when", "runs only for events for which this holds")
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::flag("disabled", "keeps the stage in the graph without running it"),
    NodeRow::new("description", "what it is for").args(&[Arg::one("text", ValueKind::Text)]),
];

const ENRICH: &[NodeRow] = &[
    NodeRow::new("into", "where the addition goes")
        .args(&[Arg::one("path", ValueKind::Field)])
        .default("enrich.NAME"),
    NodeRow::new("on-error", "what becomes of an event when the stage gives up")
        .args(&[Arg::one("mode", ValueKind::Word(&["continue", "dead-letter", "drop"]))])
        .props(&[Prop::new("reason", ValueKind::Text)])
        .default("continue"),
];

const POLICY_REF: &[NodeRow] = &[NodeRow::new("policy", "the failure handling to begin with")
    .args(&[Arg::one("name", ValueKind::Ref)])];

const FAILURE: &[NodeRow] = &[
    NodeRow::new("timeout", "the longest one attempt may take")
        .args(&[Arg::one("duration", SHORT)])
        .default("2s for enrich, 10s for sink and notify"),
    NodeRow::new("retry", "further tries after a transient fault")
        .args(&[Arg::optional("attempts", ValueKind::Int(0, 200))])
        .props(&[
            Prop::new("on", ValueKind::Words(CAUSES)),
            Prop::new("give-up", ValueKind::Duration(Duration::from_secs(1), MS_DAY)),
        ])
        .children(&[&[NodeRow::new("backoff", "the wait between tries")
            .args(&[Arg::one("curve", ValueKind::Word(&["exponential", "linear", "constant"]))])
            .props(&[
                Prop::new("base", WAIT),
                Prop::new("max", WAIT),
                Prop::new("factor", ValueKind::Number(1.0, 100.0)),
                Prop::new("jitter", ValueKind::Word(&["full", "none"])),
            ])
            .default("exponential base=\"200ms\" max=\"30s\" factor=2.0 jitter=full")]])
        .default("0 for enrich, give-up=\"24h\" for sink and notify"),
    NodeRow::new("breaker", "stops asking what does not answer; an open one is asked nothing")
        .args(&[Arg::optional("on", ValueKind::Bool)])
        .children(&[BREAKER])
        .default("off"),
    NodeRow::new("rate", "how often it is asked; more calls wait")
        .args(&[Arg::one("rate", ValueKind::Rate)])
        .props(&[Prop::new("burst", ValueKind::Int(1, 10_000))])
        .default("unlimited"),
    NodeRow::new("concurrency", "calls at once")
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
    NodeRow::new("open-for", "how long nothing is asked")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .default("20s"),
    NodeRow::new("probes", "good answers after that time until it closes")
        .args(&[Arg::one("answers", ValueKind::Int(1, 100))])
        .default("1"),
];

const DEFAULTS: &[NodeRow] = &[
    NodeRow::new("enrich", "for every enrichment").children(&[FAILURE]),
    NodeRow::new("sink", "for every sink").children(&[FAILURE]),
    NodeRow::new("notify", "for every notifier").children(&[FAILURE]),
];

const MS_DAY: Duration = Duration::from_secs(30 * DAY);

const SOURCE: &[NodeRow] = &[
    NodeRow::flag("disabled", "keeps the source in the file without starting it"),
    NodeRow::new("description", "what it is for").args(&[Arg::one("text", ValueKind::Text)]),
    NodeRow::new("schema", "JSON Schema of the message as received")
        .props(&[Prop::required("file", ValueKind::Path)]),
    NodeRow::new("map", "where the parts of an event stand in a message").children(&[MAP]),
];

const fn mapped(name: &'static str, note: &'static str, default: &'static str) -> NodeRow {
    const ARGS: &[Arg] = &[Arg::one("expression", ValueKind::Expr(Roots::MAP))];
    NodeRow::new(name, note).args(ARGS).default(default)
}

const MAP: &[NodeRow] = &[
    mapped("type", "the event's type", "`type` of the message"),
    mapped("id", "what makes it unique within its source", "a new UUID"),
    mapped("source", "who says so", "the name of the source node"),
    mapped("subject", "what it is about", "empty"),
    mapped("time", "Unix seconds or RFC 3339", "when it arrived"),
    mapped("data", "the payload", "the whole message"),
    mapped("priority", "a level in any case", "from `priority`"),
    mapped("correlation-id", "what groups it with others", "none"),
    mapped("parent-id", "the event it came from", "none"),
];

const VALIDATE: &[NodeRow] = &[
    NodeRow::new("schema", "the schema of `data` for these event types")
        .args(&[Arg::one("type", ValueKind::Glob)])
        .props(&[Prop::required("file", ValueKind::Path)])
        .repeated(),
    NodeRow::new("rule", "what a schema cannot say; false is a violation, null passes")
        .args(&[Arg::one("type", ValueKind::Glob)])
        .props(&[
            Prop::required("check", ValueKind::Expr(Roots::RULE)),
            Prop::new("at", ValueKind::Pointer),
            Prop::new("message", ValueKind::Text),
        ])
        .repeated(),
    NodeRow::new("on-invalid", "what becomes of what is refused")
        .args(&[Arg::one("mode", ValueKind::Word(&["dead-letter", "reject", "drop", "tag"]))])
        .default("dead-letter"),
    NodeRow::new("on-unknown-type", "what becomes of a type that no schema covers")
        .args(&[Arg::one("mode", ValueKind::Word(&["accept", "drop", "reject", "dead-letter"]))])
        .default("accept"),
    NodeRow::new("formats", "whether `format` in a schema is checked")
        .args(&[Arg::one("mode", ValueKind::Word(&["annotate", "assert"]))])
        .default("annotate"),
];

const FILTER: &[NodeRow] = &[NodeRow::new("keep", "lets the event pass when this holds")
    .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
    .required()
    .repeated()];

const KEYS: ValueKind = ValueKind::Int(1, 1_000_000);

const DEDUPE: &[NodeRow] = &[
    NodeRow::new("key", "what makes two events the same; null passes")
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new("window", "how long no other passes, from the first on")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .required(),
    NodeRow::new("max-keys", "keys that are remembered; the oldest go first")
        .args(&[Arg::one("keys", KEYS)])
        .default("10000"),
];

const THROTTLE: &[NodeRow] = &[
    NodeRow::new("key", "what is counted apart; null passes")
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .default("all events are one"),
    NodeRow::new("rate", "how many pass")
        .args(&[Arg::one("rate", ValueKind::Rate)])
        .props(&[Prop::new("burst", ValueKind::Int(1, 10_000))])
        .required(),
    NodeRow::new("max-keys", "keys that are remembered; the oldest go first")
        .args(&[Arg::one("keys", KEYS)])
        .default("10000"),
];

const PASSING: &[NodeRow] = &[
    NodeRow::new("when", "asks only events for which this holds")
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::new("on-drop", "what becomes of what does not pass")
        .args(&[Arg::one("mode", ValueKind::Word(&["drop", "dead-letter", "tag"]))])
        .props(&[Prop::new("reason", ValueKind::Text)])
        .default("drop"),
    NodeRow::flag("disabled", "keeps the node in the file and lets everything pass"),
    NodeRow::new("description", "what it is for").args(&[Arg::one("text", ValueKind::Text)]),
];

const TO: &[NodeRow] = &[NodeRow::new("to", "the sinks and notifiers")
    .args(&[Arg::some("target", ValueKind::Ref)])
    .required()
    .repeated()];

const ROUTE: &[NodeRow] = &[
    NodeRow::new("case", "events for which `when` holds")
        .args(&[Arg::one("name", ValueKind::Ident)])
        .props(&[Prop::required("when", ValueKind::Expr(Roots::EVENT))])
        .children(&[TO])
        .repeated(),
    NodeRow::new("otherwise", "events that fit no case").children(&[TO]),
];

const NOTIFY: &[NodeRow] = &[
    NodeRow::new("title", "the headline")
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::EVENT))])
        .default("{{ event.type }}"),
    NodeRow::new("message", "the text")
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::EVENT))])
        .default("{{ event.subject }}"),
    NodeRow::new("cooldown", "at most one per key in this time")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(1), MS_DAY))])
        .props(&[
            Prop::new("key", ValueKind::Expr(Roots::EVENT)),
            Prop::new("except", ValueKind::Expr(Roots::EVENT)),
        ]),
];

const DEAD_LETTER: &[NodeRow] = &[
    NodeRow::new("keep", "how long").args(&[Arg::one("duration", AGE)]).default("7d"),
    NodeRow::new("max-entries", "how many; the oldest go first")
        .args(&[Arg::one("entries", ValueKind::Int(1, 10_000_000))])
        .default("10000"),
];

/// In the order of their effect: each step begins where the one before it has ended.
const TESTS: &[NodeRow] = &[
    NodeRow::new("description", "what it is for").args(&[Arg::one("text", ValueKind::Literal)]),
    NodeRow::new("at", "the time at which the test begins")
        .args(&[Arg::one("time", ValueKind::Moment)])
        .default("2026-01-01T00:00:00Z"),
    NodeRow::new("env", "variables that are set; no other is").open(ValueKind::Literal),
    NodeRow::new("mock", "answers for the outside; several in a row answer one after the other")
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
        ])
        .children(&[GIVEN])
        .repeated(),
    NodeRow::new("replay", "messages arrive one after the other, one a line of a file")
        .props(&[
            Prop::required("source", ValueKind::Ref),
            Prop::required("file", ValueKind::Literal),
        ])
        .repeated(),
    NodeRow::new("advance", "time passes")
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_millis(1), YEAR))])
        .repeated(),
    NodeRow::new("expect", "what must have come out by now")
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
    NodeRow::new("data", "the event's data, behind `map`")
        .args(&[Arg::one("json", ValueKind::Json)]),
    NodeRow::new("header", "a header of the request")
        .args(&[Arg::one("name", ValueKind::Literal), Arg::one("value", ValueKind::Literal)])
        .repeated(),
];
