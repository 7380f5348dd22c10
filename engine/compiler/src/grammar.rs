//! The rows of the language that belong to the engine: everything that is not of one kind.

use language::expr::Roots;
use language::{Arg, Node, Prop, Type};
use std::time::Duration;

const DAY: u64 = 86_400;
const SHORT: Type = Type::Duration(Duration::from_millis(10), Duration::from_secs(600));
const AGE: Type = Type::Duration(Duration::from_secs(1), Duration::from_secs(36_500 * DAY));
const WAIT: Type = Type::Duration(Duration::from_millis(1), Duration::from_secs(3600));

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
const BODY: Type = Type::Bytes(1 << 10, 64 << 20);

const LABEL_TEXT: Type = Type::Text;

/// Every node that may stand at the top of a file.
pub const TOP: &[Node] = &[
    Node::new("pipeline", "names the pipeline; the first node of the file")
        .args(&[Arg::one("name", Type::Ident)])
        .props(&[Prop::required("schema-version", Type::Int(1, i64::MAX))])
        .children(&[PIPELINE])
        .required(),
    Node::new("include", "reads other files as if they stood here")
        .args(&[Arg::some("path", Type::Path)])
        .props(&[Prop::new("optional", Type::Bool)])
        .repeated(),
    Node::new("param", "a value that expressions read as `param.NAME`")
        .args(&[Arg::one("name", Type::Ident), Arg::one("value", Type::Any)])
        .repeated(),
    Node::new("server", "the HTTP server").children(&[SERVER]),
    Node::new("limits", "bounds of the whole pipeline").children(&[LIMITS]),
    Node::new("priority", "how urgent an event is; the first case that holds wins")
        .props(&[Prop::new("default", Type::Word(LEVELS))])
        .children(&[&[Node::new("case", "gives this level to events for which `when` holds")
            .args(&[Arg::one("level", Type::Word(LEVELS))])
            .props(&[Prop::required("when", Type::Expr(Roots::EVENT))])
            .repeated()]])
        .default("normal"),
    Node::new("policy", "failure handling, to be named by stages")
        .args(&[Arg::one("name", Type::Ident)])
        .children(&[POLICY_REF, FAILURE])
        .repeated(),
    Node::new("defaults", "failure handling where neither node nor policy says anything")
        .children(&[DEFAULTS]),
    Node::new("source", "makes events")
        .args(&[Arg::one("kind", Type::Ident), Arg::one("name", Type::Ident)])
        .children(&[SOURCE])
        .repeated(),
    Node::new("validate", "JSON Schemas and rules of `data`, by event type").children(&[VALIDATE]),
    Node::new("filter", "keeps the events for which `keep` holds")
        .args(&[Arg::one("name", Type::Ident)])
        .children(&[FILTER, PASSING])
        .repeated(),
    Node::new("dedupe", "lets the first event of a key through, and no other for a while")
        .args(&[Arg::one("name", Type::Ident)])
        .children(&[DEDUPE, PASSING])
        .repeated(),
    Node::new("throttle", "lets events of a key through at a rate")
        .args(&[Arg::one("name", Type::Ident)])
        .children(&[THROTTLE, PASSING])
        .repeated(),
    Node::new("enrich", "adds to events")
        .args(&[Arg::one("kind", Type::Ident), Arg::one("name", Type::Ident)])
        .children(&[STAGE, ENRICH, POLICY_REF, FAILURE])
        .repeated(),
    Node::new("route", "which sinks and notifiers an event goes to")
        .args(&[Arg::optional("name", Type::Ident)])
        .props(&[Prop::new("mode", Type::Word(&["first", "all"]))])
        .children(&[ROUTE])
        .default("every event to every sink and notifier"),
    Node::new("sink", "takes events out")
        .args(&[Arg::one("kind", Type::Ident), Arg::one("name", Type::Ident)])
        .children(&[DISABLED, BACKLOG, POLICY_REF, FAILURE])
        .repeated(),
    Node::new("notify", "tells someone")
        .args(&[Arg::one("kind", Type::Ident), Arg::one("name", Type::Ident)])
        .children(&[DISABLED, NOTIFY, BACKLOG, POLICY_REF, FAILURE])
        .repeated(),
    Node::new("dead-letter", "how long what was set aside is kept").children(&[DEAD_LETTER]),
    TEST,
];

/// Every node that may stand at the top of a file of tests.
pub const TEST_FILE: &[Node] = &[TEST];

const TEST: Node = Node::new("test", "what goes in and what must come out; `engine test` runs it")
    .args(&[Arg::one("name", Type::Literal)])
    .children(&[TESTS])
    .repeated();

const PIPELINE: &[Node] = &[
    Node::new("description", "what it is for").args(&[Arg::one("text", Type::Text)]),
    Node::new("timezone", "the zone of times in templates")
        .args(&[Arg::one("zone", Type::Zone)])
        .default("UTC"),
    Node::new("labels", "names and values of your own").open(LABEL_TEXT),
];

const SERVER: &[Node] = &[
    Node::new("listen", "the address; loopback unless `auth` is set")
        .args(&[Arg::one("address", Type::Socket)])
        .default("127.0.0.1:8600"),
    Node::new("public-url", "how others reach it: its host is served, pages of it may use the API, and templates read `server.public_url`")
        .args(&[Arg::one("url", Type::Url)])
        .default("from `listen`"),
    Node::new("hosts", "further names and addresses that requests may be addressed to")
        .args(&[Arg::some("host", Type::Host)])
        .default("`localhost`, the address of the connection, and the host of `public-url`"),
    Node::new("max-body", "the largest request body")
        .args(&[Arg::one("size", BODY)])
        .default("1MiB"),
    Node::new("auth", "who may do what").children(&[&[Node::new("token", "a bearer token")
        .args(&[Arg::one("name", Type::Ident), Arg::one("value", Type::Secret)])
        .props(&[Prop::new("scope", Type::Words(SCOPES))])
        .repeated()
        .required()]]),
];

const LIMITS: &[Node] = &[
    Node::new("queue", "events that may wait for their first commit")
        .args(&[Arg::one("events", Type::Int(1, 1_000_000))])
        .default("4096"),
    Node::new("overflow", "what becomes of a message that finds no room in `queue`")
        .args(&[Arg::one("mode", Type::Word(&["block", "reject", "drop-newest"]))])
        .default("reject"),
    Node::new("outbox", "deliveries that may wait, for all sinks and notifiers together")
        .args(&[Arg::optional("deliveries", Type::Int(1, 100_000_000))])
        .props(&[Prop::new("max-bytes", Type::Bytes(1 << 10, 1 << 50))])
        .default("1000000 max-bytes=\"1GiB\""),
    Node::new("concurrency", "accepted events that have a stage running")
        .args(&[Arg::one("events", Type::Int(1, 10_000))])
        .default("100"),
    Node::new("event-timeout", "from the start of an event's stages to its routing")
        .args(&[Arg::one("duration", AGE)])
        .default("60s"),
    Node::new("shutdown-grace", "how long a stop waits for what is running")
        .args(&[Arg::one("duration", Type::Duration(Duration::ZERO, Duration::from_secs(600)))])
        .default("10s"),
    Node::new("max-event-size", "the largest single event")
        .args(&[Arg::one("size", BODY)])
        .default("256KiB"),
];

const DISABLED: &[Node] = &[
    Node::flag("disabled", "keeps the node in the file without running it"),
    Node::new("description", "what it is for").args(&[Arg::one("text", Type::Text)]),
];

/// What happens to a delivery for which there is no room.
pub const ON_FULL: &[&str] = &["reject", "dead-letter", "drop-oldest"];

const BACKLOG: &[Node] =
    &[Node::new("backlog", "deliveries that may wait for it, and what happens beyond that")
        .args(&[Arg::optional("deliveries", Type::Int(1, 100_000_000))])
        .props(&[
            Prop::new("max-bytes", Type::Bytes(1 << 10, 1 << 50)),
            Prop::new("on-full", Type::Word(ON_FULL)),
        ])
        .default("as many as `outbox` of `limits` has room for, on-full=reject")];

const STAGE: &[Node] = &[
    Node::new("after", "runs after these have ended, however they ended")
        .args(&[Arg::some("stage", Type::Ref)])
        .repeated(),
    Node::new("needs", "runs after these, and only if they succeeded")
        .args(&[Arg::some("stage", Type::Ref)])
        .repeated(),
    Node::new("when", "runs only for events for which this holds")
        .args(&[Arg::one("condition", Type::Expr(Roots::EVENT))]),
    Node::flag("disabled", "keeps the stage in the graph without running it"),
    Node::new("description", "what it is for").args(&[Arg::one("text", Type::Text)]),
];

const ENRICH: &[Node] = &[
    Node::new("into", "where the addition goes")
        .args(&[Arg::one("path", Type::Field)])
        .default("enrich.NAME"),
    Node::new("on-error", "what becomes of an event when the stage gives up")
        .args(&[Arg::one("mode", Type::Word(&["continue", "dead-letter", "drop"]))])
        .props(&[Prop::new("reason", Type::Text)])
        .default("continue"),
];

const POLICY_REF: &[Node] =
    &[Node::new("policy", "the failure handling to begin with")
        .args(&[Arg::one("name", Type::Ref)])];

const FAILURE: &[Node] = &[
    Node::new("timeout", "the longest one attempt may take")
        .args(&[Arg::one("duration", SHORT)])
        .default("2s for enrich, 10s for sink and notify"),
    Node::new("retry", "further tries after a transient fault")
        .args(&[Arg::optional("attempts", Type::Int(0, 200))])
        .props(&[
            Prop::new("on", Type::Words(CAUSES)),
            Prop::new("give-up", Type::Duration(Duration::from_secs(1), MS_DAY)),
        ])
        .children(&[&[Node::new("backoff", "the wait between tries")
            .args(&[Arg::one("curve", Type::Word(&["exponential", "linear", "constant"]))])
            .props(&[
                Prop::new("base", WAIT),
                Prop::new("max", WAIT),
                Prop::new("factor", Type::Number(1.0, 100.0)),
                Prop::new("jitter", Type::Word(&["full", "none"])),
            ])
            .default("exponential base=\"200ms\" max=\"30s\" factor=2.0 jitter=full")]])
        .default("0 for enrich, give-up=\"24h\" for sink and notify"),
    Node::new("breaker", "stops asking what does not answer; an open one is asked nothing")
        .args(&[Arg::optional("on", Type::Bool)])
        .children(&[BREAKER])
        .default("off"),
    Node::new("rate", "how often it is asked; more calls wait")
        .args(&[Arg::one("rate", Type::Rate)])
        .props(&[Prop::new("burst", Type::Int(1, 10_000))])
        .default("unlimited"),
    Node::new("concurrency", "calls at once")
        .args(&[Arg::one("calls", Type::Int(1, 1000))])
        .default("8 for enrich, 1 for sink and notify"),
];

const BREAKER: &[Node] = &[
    Node::new("trip", "when it opens")
        .props(&[
            Prop::new("after", Type::Int(1, 1000)),
            Prop::new("within", WAIT),
            Prop::new("ratio", Type::Number(0.01, 1.0)),
            Prop::new("min", Type::Int(1, 1000)),
        ])
        .default("after=5 within=\"30s\""),
    Node::new("open-for", "how long nothing is asked")
        .args(&[Arg::one("duration", Type::Duration(Duration::from_secs(1), MS_DAY))])
        .default("20s"),
    Node::new("probes", "good answers after that time until it closes")
        .args(&[Arg::one("answers", Type::Int(1, 100))])
        .default("1"),
];

const DEFAULTS: &[Node] = &[
    Node::new("enrich", "for every enrichment").children(&[FAILURE]),
    Node::new("sink", "for every sink").children(&[FAILURE]),
    Node::new("notify", "for every notifier").children(&[FAILURE]),
];

const MS_DAY: Duration = Duration::from_secs(30 * DAY);

const SOURCE: &[Node] = &[
    Node::flag("disabled", "keeps the source in the file without starting it"),
    Node::new("description", "what it is for").args(&[Arg::one("text", Type::Text)]),
    Node::new("schema", "JSON Schema of the message as received")
        .props(&[Prop::required("file", Type::Path)]),
    Node::new("map", "where the parts of an event stand in a message").children(&[MAP]),
];

const fn mapped(name: &'static str, note: &'static str, default: &'static str) -> Node {
    const ARGS: &[Arg] = &[Arg::one("expression", Type::Expr(Roots::MAP))];
    Node::new(name, note).args(ARGS).default(default)
}

const MAP: &[Node] = &[
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

const VALIDATE: &[Node] = &[
    Node::new("schema", "the schema of `data` for these event types")
        .args(&[Arg::one("type", Type::Glob)])
        .props(&[Prop::required("file", Type::Path)])
        .repeated(),
    Node::new("rule", "what a schema cannot say; false is a violation, null passes")
        .args(&[Arg::one("type", Type::Glob)])
        .props(&[
            Prop::required("check", Type::Expr(Roots::RULE)),
            Prop::new("at", Type::Pointer),
            Prop::new("message", Type::Text),
        ])
        .repeated(),
    Node::new("on-invalid", "what becomes of what is refused")
        .args(&[Arg::one("mode", Type::Word(&["dead-letter", "reject", "drop", "tag"]))])
        .default("dead-letter"),
    Node::new("on-unknown-type", "what becomes of a type that no schema covers")
        .args(&[Arg::one("mode", Type::Word(&["accept", "drop", "reject", "dead-letter"]))])
        .default("accept"),
    Node::new("formats", "whether `format` in a schema is checked")
        .args(&[Arg::one("mode", Type::Word(&["annotate", "assert"]))])
        .default("annotate"),
];

const FILTER: &[Node] = &[Node::new("keep", "lets the event pass when this holds")
    .props(&[Prop::required("when", Type::Expr(Roots::EVENT))])
    .required()
    .repeated()];

const KEYS: Type = Type::Int(1, 1_000_000);

const DEDUPE: &[Node] = &[
    Node::new("key", "what makes two events the same; null passes")
        .args(&[Arg::one("expression", Type::Expr(Roots::EVENT))])
        .required(),
    Node::new("window", "how long no other passes, from the first on")
        .args(&[Arg::one("duration", Type::Duration(Duration::from_secs(1), MS_DAY))])
        .required(),
    Node::new("max-keys", "keys that are remembered; the oldest go first")
        .args(&[Arg::one("keys", KEYS)])
        .default("10000"),
];

const THROTTLE: &[Node] = &[
    Node::new("key", "what is counted apart; null passes")
        .args(&[Arg::one("expression", Type::Expr(Roots::EVENT))])
        .default("all events are one"),
    Node::new("rate", "how many pass")
        .args(&[Arg::one("rate", Type::Rate)])
        .props(&[Prop::new("burst", Type::Int(1, 10_000))])
        .required(),
    Node::new("max-keys", "keys that are remembered; the oldest go first")
        .args(&[Arg::one("keys", KEYS)])
        .default("10000"),
];

const PASSING: &[Node] = &[
    Node::new("when", "asks only events for which this holds")
        .args(&[Arg::one("condition", Type::Expr(Roots::EVENT))]),
    Node::new("on-drop", "what becomes of what does not pass")
        .args(&[Arg::one("mode", Type::Word(&["drop", "dead-letter", "tag"]))])
        .props(&[Prop::new("reason", Type::Text)])
        .default("drop"),
    Node::flag("disabled", "keeps the node in the file and lets everything pass"),
    Node::new("description", "what it is for").args(&[Arg::one("text", Type::Text)]),
];

const TO: &[Node] = &[Node::new("to", "the sinks and notifiers")
    .args(&[Arg::some("target", Type::Ref)])
    .required()
    .repeated()];

const ROUTE: &[Node] = &[
    Node::new("case", "events for which `when` holds")
        .args(&[Arg::one("name", Type::Ident)])
        .props(&[Prop::required("when", Type::Expr(Roots::EVENT))])
        .children(&[TO])
        .repeated(),
    Node::new("otherwise", "events that fit no case").children(&[TO]),
];

const NOTIFY: &[Node] = &[
    Node::new("title", "the headline")
        .args(&[Arg::one("text", Type::OwnTemplate(Roots::EVENT))])
        .default("{{ event.type }}"),
    Node::new("message", "the text")
        .args(&[Arg::one("text", Type::OwnTemplate(Roots::EVENT))])
        .default("{{ event.subject }}"),
    Node::new("cooldown", "at most one per key in this time")
        .args(&[Arg::one("duration", Type::Duration(Duration::from_secs(1), MS_DAY))])
        .props(&[
            Prop::new("key", Type::Expr(Roots::EVENT)),
            Prop::new("except", Type::Expr(Roots::EVENT)),
        ]),
];

const DEAD_LETTER: &[Node] = &[
    Node::new("keep", "how long").args(&[Arg::one("duration", AGE)]).default("7d"),
    Node::new("max-entries", "how many; the oldest go first")
        .args(&[Arg::one("entries", Type::Int(1, 10_000_000))])
        .default("10000"),
];

/// In the order of their effect: each step begins where the one before it has ended.
const TESTS: &[Node] = &[
    Node::new("description", "what it is for").args(&[Arg::one("text", Type::Literal)]),
    Node::new("at", "the time at which the test begins")
        .args(&[Arg::one("time", Type::Moment)])
        .default("2026-01-01T00:00:00Z"),
    Node::new("env", "variables that are set; no other is").open(Type::Literal),
    Node::new("mock", "answers for the outside; several in a row answer one after the other")
        .args(&[Arg::one("role", Type::Word(MOCKED)), Arg::one("stage", Type::Ref)])
        .props(&[
            Prop::new("status", Type::Int(100, 599)),
            Prop::new("body", Type::Literal),
            Prop::new("error", Type::Word(ERRORS)),
            Prop::new("delay", Type::Duration(Duration::from_millis(1), MS_DAY)),
            Prop::new("times", Type::Int(1, 1_000_000)),
        ])
        .repeated(),
    Node::new("given", "a message arrives")
        .props(&[
            Prop::required("source", Type::Ref),
            Prop::new("type", Type::Literal),
            Prop::new("file", Type::Literal),
        ])
        .children(&[GIVEN])
        .repeated(),
    Node::new("replay", "messages arrive one after the other, one a line of a file")
        .props(&[Prop::required("source", Type::Ref), Prop::required("file", Type::Literal)])
        .repeated(),
    Node::new("advance", "time passes")
        .args(&[Arg::one("duration", Type::Duration(Duration::from_millis(1), YEAR))])
        .repeated(),
    Node::new("expect", "what must have come out by now")
        .props(&[
            Prop::new("stage", Type::Ref),
            Prop::new("sink", Type::Ref),
            Prop::new("notify", Type::Ref),
            Prop::new("event", Type::Glob),
            Prop::new("dead-letter", Type::Int(0, 1_000_000)),
            Prop::new("status", Type::Int(100, 599)),
            Prop::new("count", Type::Int(0, 1_000_000)),
            Prop::new("dropped", Type::Int(0, 1_000_000)),
            Prop::new("outcome", Type::Word(OUTCOMES)),
            Prop::new("attempts", Type::Int(0, 1_000_000)),
            Prop::new("title", Type::Literal),
            Prop::new("contains", Type::Literal),
            Prop::new("where", Type::Expr(Roots::EVENT)),
        ])
        .required()
        .repeated(),
];

const YEAR: Duration = Duration::from_secs(366 * DAY);

const GIVEN: &[Node] = &[
    Node::new("body", "the message as it is received").args(&[Arg::one("text", Type::Literal)]),
    Node::new("data", "the event's data, behind `map`").args(&[Arg::one("json", Type::Json)]),
    Node::new("header", "a header of the request")
        .args(&[Arg::one("name", Type::Literal), Arg::one("value", Type::Literal)])
        .repeated(),
];
