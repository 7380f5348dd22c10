//! Words of other tools (Vector, Bento, Fluent Bit, Node-RED, GitHub Actions, Compose, Frigate,
//! Home Assistant), and what they are called here.

/// A word of other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignWord {
    /// The word.
    pub word: &'static str,
    /// Ours, the first that may stand in the place is meant.
    pub ours: &'static [&'static str],
    /// Whether what stands behind the word can stay as it is.
    pub is_same: bool,
    /// Where to say it when none of ours may stand in the place; empty where nothing is to say.
    pub elsewhere: &'static str,
}

const fn same(
    word: &'static str,
    ours: &'static [&'static str],
    elsewhere: &'static str,
) -> ForeignWord {
    ForeignWord { word, ours, is_same: true, elsewhere }
}

const fn like(
    word: &'static str,
    ours: &'static [&'static str],
    elsewhere: &'static str,
) -> ForeignWord {
    ForeignWord { word, ours, is_same: false, elsewhere }
}

const EDGES: &str = "use `after` and `needs` to wait for other stages; send events to a sink \
    with `route { case … { to NAME } }`";
const METRICS: &str =
    "`/metrics` is always available; `metric NAME counter` adds a figure of your own";
const KIND: &str = "the kind is the first word after the role: `sink sqlite NAME`";
const CONDITION: &str = "conditions are `when \"…\"` of a stage, `keep when=\"…\"` of a `filter` and \
    `case NAME when=\"…\"` of `route`";
const SOURCES: &str = "every source is a node of its own: `source KIND NAME { … }`";
const SINKS: &str = "every sink is a node of its own: `sink KIND NAME { … }`";
const STAGES: &str = "every stage is a node of its own: `enrich KIND NAME { … }`";
const QUEUE: &str = "limit waiting events with `limits { queue N }`";
const ANSWER: &str = "a source responds after the commit; there is nothing to turn on";
const HEALTH: &str = "`/healthz` and `/readyz` are always available; there is nothing to configure";
const STATE: &str = "the database file is the `path` of `sink sqlite`";
const AGAIN: &str = "use `retry N` in the stage to retry after a failure";
const EXTERNAL: &str = "reference variables as `(env)\"NAME\"`, where they are used";
const ADDRESS: &str = "the address is `server { listen \"HOST:PORT\" }`";
const PORT: &str = "a port is a part of its address: `listen \"HOST:PORT\"`, \
    `url \"http://HOST:PORT\"`";
const OFF: &str = "write `disabled` in the block of a node to turn it off; `/-` before a node \
    comments it out";
const RETENTION: &str =
    "set how long events are kept in `sink sqlite`: `retention { keep \"30d\" }`";
const LOG: &str = "the log is set on the command line: `engine run --help`";
const CAMERA: &str = "cameras are not named in the file: their events come to a `source`, and \
    expressions read `event.source`";
const BROKER: &str = "an MQTT broker is the `url` of `source mqtt`";
const OTHER_BROKER: &str = "of brokers, `source mqtt` reads MQTT; others can post to `source http`";
const COMMAND: &str =
    "programs are started by `source exec`, `enrich exec` and `notify exec`, with `command`";
const IMAGE: &str = "`attach` sends a picture along, where the service takes one";
const SIGNED: &str = "`auth` of `source http` checks tokens and signatures";
const CERTIFICATE: &str = "`tls cert=\"…\" key=\"…\"` in `server` turns HTTPS on";
const PROXY: &str = "list the names that a proxy passes on in `hosts` of `server`";

/// Words of other tools, for names of nodes and properties.
pub(in super::super) const WORDS: &[ForeignWord] = &[
    // Edges.
    same("inputs", &["after"], EDGES),
    same("depends_on", &["needs"], EDGES),
    same("depends-on", &["needs"], EDGES),
    same("dependsOn", &["needs"], EDGES),
    same("requires", &["needs"], EDGES),
    like("depends", &["needs"], EDGES),
    same("wants", &["after"], EDGES),
    like("wires", &["to", "after"], EDGES),
    like("links", &["to", "after"], EDGES),
    like("match", &["when"], CONDITION),
    same("then", &["to"], EDGES),
    same("targets", &["to"], EDGES),
    like("destination", &["to"], EDGES),
    like("destinations", &["to"], EDGES),
    // Tests.
    like("send", &["given"], "`given source=NAME { body \"{…}\" }` sends a message in a test"),
    like("inject", &["given"], "`given source=NAME { body \"{…}\" }` sends a message in a test"),
    like("assert", &["expect"], "`expect sink=NAME count=1` asserts a result"),
    like("sleep", &["advance"], "`advance \"5s\"` moves the clock of a test"),
    like("wait", &["advance"], "`advance \"5s\"` moves the clock of a test"),
    // Conditions.
    same("if", &["when"], CONDITION),
    same("condition", &["when"], CONDITION),
    like("conditions", &["when"], CONDITION),
    like("check", &["when"], CONDITION),
    like("where", &["when"], CONDITION),
    like("unless", &["when"], "write `when \"!(…)\"`"),
    like("else", &["otherwise"], "events that match no case go to `otherwise { to … }` of `route`"),
    like(
        "default",
        &["otherwise"],
        "events that match no case go to `otherwise { to … }` of `route`",
    ),
    like("--", &[], "comments start with `//`"),
    like("<!--", &[], "comments start with `//`"),
    like(
        "drop",
        &["filter"],
        "leave `otherwise` out to drop what matches no case; `filter` drops earlier",
    ),
    like("metrics", &[], METRICS),
    like("kafka", &[], OTHER_BROKER),
    like("nats", &[], OTHER_BROKER),
    like("rabbitmq", &[], OTHER_BROKER),
    like("amqp", &[], OTHER_BROKER),
    like("switch", &["route"], "cases belong in `route` and in `priority`"),
    like("choose", &["route"], "cases belong in `route` and in `priority`"),
    // Roles.
    like("source", &["source"], SOURCES),
    like("sources", &["source"], SOURCES),
    like("input", &["source"], SOURCES),
    like("trigger", &["source"], SOURCES),
    like("triggers", &["source"], SOURCES),
    like("transform", &["enrich"], STAGES),
    like("transforms", &["enrich"], STAGES),
    like("processor", &["enrich"], STAGES),
    like("processors", &["enrich"], STAGES),
    like("steps", &["enrich"], STAGES),
    like("jobs", &["enrich"], STAGES),
    like("nodes", &["enrich"], STAGES),
    like("function", &["enrich"], STAGES),
    like("mapping", &["map", "enrich"], "`map` belongs in a `source`; `enrich set` adds values"),
    like("remap", &["map", "enrich"], "`map` belongs in a `source`; `enrich set` adds values"),
    like("bloblang", &["map", "enrich"], "`map` belongs in a `source`; `enrich set` adds values"),
    like("output", &["sink"], SINKS),
    like("outputs", &["sink"], SINKS),
    like("sinks", &["sink"], SINKS),
    like("store", &["sink"], "events are kept by `sink sqlite NAME { path \"…\" }`"),
    like("database", &["sink"], "events are kept by `sink sqlite NAME { path \"…\" }`"),
    like("notification", &["notify"], "`notify KIND NAME { … }` sends notifications"),
    like("notifications", &["notify"], "`notify KIND NAME { … }` sends notifications"),
    like("notifier", &["notify"], "`notify KIND NAME { … }` sends notifications"),
    like("alert", &["notify"], "`notify KIND NAME { … }` sends notifications"),
    like("alerts", &["notify"], "`notify KIND NAME { … }` sends notifications"),
    like("action", &["button", "notify", "to"], "`route` sends events to sinks and notifiers"),
    like("actions", &["button", "notify", "to"], "`route` sends events to sinks and notifiers"),
    like("routes", &["route"], EDGES),
    like("router", &["route"], EDGES),
    like("broker", &["url"], BROKER),
    like("mqtt", &["source"], BROKER),
    like("workflow", &["pipeline"], "the first node is `pipeline NAME schema-version=1`"),
    like("automation", &["pipeline"], "the first node is `pipeline NAME schema-version=1`"),
    like("flow", &["pipeline"], "the first node is `pipeline NAME schema-version=1`"),
    like("service", &["pipeline"], "the first node is `pipeline NAME schema-version=1`"),
    like("services", &["pipeline"], "the first node is `pipeline NAME schema-version=1`"),
    like("http", &["server"], ADDRESS),
    like("api", &["server"], "the API is always there, at the address of `server { listen … }`"),
    // Names and texts.
    like("alias", &["description"], "the name comes after the kind: `enrich http NAME`"),
    like("label", &["description"], "the name comes after the kind: `enrich http NAME`"),
    like("id", &["description"], "the name comes after the kind: `enrich http NAME`"),
    like(
        "name",
        &["description"],
        "the name comes after the role and the kind: `sink sqlite NAME`",
    ),
    like("import", &["include"], "include other files with `include \"PATH\"` at the top"),
    like("imports", &["include"], "include other files with `include \"PATH\"` at the top"),
    like(
        "extends",
        &["policy", "include"],
        "include other files with `include \"PATH\"` at the top",
    ),
    same("comment", &["description"], "comments start with `//`"),
    same("notes", &["description"], "comments start with `//`"),
    like("text", &["message"], ""),
    like("content", &["message", "body"], ""),
    like("html", &["message"], "messages are plain text"),
    like("payload", &["body", "data"], ""),
    // Of services that pass messages on.
    like("chat_id", &["chat"], ""),
    like("bot_token", &["token"], ""),
    like("app_token", &["token"], ""),
    like("api_token", &["token"], ""),
    like("user_key", &["user"], ""),
    like("webhook", &["url"], ""),
    like("webhook_url", &["url"], ""),
    like("smtp_host", &["smtp"], ""),
    like("smtp_server", &["smtp"], ""),
    like("recipient", &["to", "topic", "chat", "user"], ""),
    like("recipients", &["to", "topic", "chat", "user"], ""),
    like("cc", &["to"], ""),
    like("bcc", &["to"], ""),
    like("link", &["click"], ""),
    like("image", &["attach"], IMAGE),
    like("photo", &["attach"], IMAGE),
    like("picture", &["attach"], IMAGE),
    like("snapshot", &["attach"], IMAGE),
    like("attachment", &["attach"], IMAGE),
    like("attachments", &["attach"], IMAGE),
    like("silence", &["mute", "quiet-hours"], ""),
    like("dnd", &["quiet-hours"], ""),
    like("silent_hours", &["quiet-hours"], ""),
    like("do_not_disturb", &["quiet-hours"], ""),
    like("group_by", &["group"], ""),
    like("group_wait", &["group"], ""),
    like("group_interval", &["group"], ""),
    like("max_per_hour", &["rate"], ""),
    like("inhibit", &["unless"], ""),
    like("summary", &["title"], ""),
    like("headline", &["title"], ""),
    like("subject_line", &["title"], ""),
    like("tags", &["labels"], "`labels` belong in `pipeline`"),
    like("version", &["schema-version"], "`pipeline NAME schema-version=1` sets the version"),
    // Kinds.
    like("type", &[], KIND),
    like("kind", &[], KIND),
    like("class", &[], KIND),
    like("uses", &["policy"], KIND),
    like("plugin", &[], KIND),
    like("driver", &[], KIND),
    like("with", &[], "write settings directly in the block of their node"),
    like("options", &[], "write settings directly in the block of their node"),
    like("config", &[], "write settings directly in the block of their node"),
    like("params", &["param"], "`param NAME VALUE` belongs at the top of the file"),
    like("vars", &["param"], "`param NAME VALUE` belongs at the top of the file"),
    like("variables", &["param"], "`param NAME VALUE` belongs at the top of the file"),
    like("env", &["param"], EXTERNAL),
    like("environment", &["env", "param"], EXTERNAL),
    like("secrets", &[], EXTERNAL),
    like("resources", &["policy"], "named failure handling is `policy NAME { … }`"),
    // Addresses.
    like("address", &["listen", "url", "path"], ADDRESS),
    like("bind", &["listen"], ADDRESS),
    like("port", &["listen"], PORT),
    like("ports", &["listen"], PORT),
    like("host", &["listen", "smtp", "url"], ADDRESS),
    like("server", &["smtp", "url"], ADDRESS),
    like("brokers", &["url"], BROKER),
    like("subscribe", &["topic"], ""),
    like("clean_session", &["session"], ""),
    like("clean_start", &["session"], ""),
    like("user", &["username"], ""),
    like("pass", &["password", "token"], ""),
    like("allowed_hosts", &["hosts"], ""),
    like("trusted_proxies", &["hosts"], PROXY),
    like("ssl", &["tls"], CERTIFICATE),
    like("https", &["tls"], CERTIFICATE),
    like("certificate", &["tls"], CERTIFICATE),
    like("tls_cert", &["tls"], CERTIFICATE),
    like("hmac", &["auth", "sign"], SIGNED),
    like("secret", &["auth", "sign", "token", "password"], SIGNED),
    like("signature", &["auth", "sign"], SIGNED),
    like("content_type", &["accept"], ""),
    like(
        "cors",
        &["public-url"],
        "pages of the origin in `public-url` of `server` may use the API",
    ),
    like("uri", &["url", "get"], ""),
    like("url", &["get", "path", "public-url"], ""),
    like("endpoint", &["url", "get", "path"], ""),
    like("file", &["path", "table"], ""),
    like("filename", &["path", "table"], ""),
    like("topics", &["topic"], ""),
    like("channel", &["topic"], ""),
    like("headers", &["header"], ""),
    like("verb", &["method"], ""),
    like("auth_token", &["token"], ""),
    like("api_key", &["token"], ""),
    like("password", &["token"], ""),
    like("method", &["get", "post"], ""),
    // Time.
    same("ttl", &["keep"], RETENTION),
    same("retain", &["keep", "retention"], RETENTION),
    like("days", &["keep"], RETENTION),
    like("record", &["sink"], RETENTION),
    like("history", &["retention"], RETENTION),
    like("interval", &["every"], ""),
    like("period", &["every"], ""),
    like("schedule", &["cron", "every"], ""),
    same("crontab", &["cron"], ""),
    like("timeout-minutes", &["timeout"], ""),
    like("timeout_ms", &["timeout"], ""),
    like("timeout_secs", &["timeout"], ""),
    like("debounce", &["throttle", "cooldown"], ""),
    like("rate_limit", &["rate", "throttle", "cooldown"], QUEUE),
    like("stop_grace_period", &["shutdown-grace"], "`limits { shutdown-grace \"10s\" }`"),
    // Failure.
    same("retries", &["retry"], AGAIN),
    same("max_retries", &["retry"], AGAIN),
    same("max-retries", &["retry"], AGAIN),
    same("retry_attempts", &["retry"], AGAIN),
    same("attempts", &["retry"], AGAIN),
    like("restart", &["retry"], AGAIN),
    like("backoff", &["retry"], "`backoff` belongs in `retry N { … }`"),
    like("continue-on-error", &["on-error"], "write `on-error continue`"),
    like("continue_on_error", &["on-error"], "write `on-error continue`"),
    like("catch", &["on-error"], "`on-error` of a stage says what happens to the event"),
    like("drop_on_error", &["on-error"], "write `on-error drop reason=\"…\"`"),
    like(
        "fallback",
        &["on-error", "otherwise"],
        "`on-error continue` continues without the stage's result",
    ),
    like("try", &["retry"], AGAIN),
    like("dlq", &["dead-letter"], "dead letters are kept by `dead-letter { keep … }`"),
    like("deadletter", &["dead-letter"], "dead letters are kept by `dead-letter { keep … }`"),
    // Limits.
    like("circuit_breaker", &["breaker"], ""),
    like("circuit-breaker", &["breaker"], ""),
    like("distinct", &["dedupe"], ""),
    like("unique", &["dedupe"], ""),
    like(
        "when_full",
        &["overflow"],
        "`limits { overflow … }` says what to do with excess messages",
    ),
    like("on_full", &["overflow"], "`limits { overflow … }` says what to do with excess messages"),
    like("buffer", &["batch", "queue"], QUEUE),
    like("buffers", &["batch", "queue"], QUEUE),
    like("queue_size", &["queue"], QUEUE),
    same("batch_size", &["batch"], ""),
    like("workers", &["concurrency"], ""),
    like("threads", &["concurrency"], ""),
    like("parallelism", &["concurrency"], ""),
    same("max_in_flight", &["concurrency"], ""),
    like("max-parallel", &["concurrency"], ""),
    like("request", &["timeout", "retry"], ""),
    like("mode", &["route"], ""),
    // On and off.
    like("enabled", &["disabled"], OFF),
    like("enable", &["disabled"], OFF),
    like("active", &["disabled"], OFF),
    same("disable", &["disabled"], OFF),
    like("off", &["disabled"], OFF),
    like("skip", &["disabled"], OFF),
    // What is not needed here.
    like("acknowledgements", &[], ANSWER),
    like("ack", &[], ANSWER),
    like("healthcheck", &[], HEALTH),
    like("healthchecks", &[], HEALTH),
    like("health", &[], HEALTH),
    like("data_dir", &["path"], STATE),
    like("volumes", &["path"], STATE),
    like("storage", &["sink"], STATE),
    like("logger", &[], LOG),
    like("logging", &[], LOG),
    like("log_level", &[], LOG),
    like("log", &["notify"], LOG),
    like("run", &["command"], COMMAND),
    like("cmd", &["command"], COMMAND),
    like("args", &["command"], COMMAND),
    like("argv", &["command"], COMMAND),
    like("shell", &["command"], COMMAND),
    like("program", &["command"], COMMAND),
    like("command", &[], COMMAND),
    like("runs-on", &[], COMMAND),
    like("entrypoint", &["command"], COMMAND),
    like("cwd", &["directory"], ""),
    like("workdir", &["directory"], ""),
    like("working_directory", &["directory"], ""),
    like("on", &["source", "when"], SOURCES),
    like("cameras", &["source"], CAMERA),
    like("camera", &["source"], CAMERA),
    like("detect", &["source"], CAMERA),
    like("objects", &["filter"], CAMERA),
    like("zones", &["filter"], CAMERA),
    like("snapshots", &["sink"], CAMERA),
    // Shapes of data.
    like(
        "encoding",
        &["decode", "body"],
        "sinks write JSON; `decode` of a source reads other formats, `body` of a notifier writes them",
    ),
    like(
        "codec",
        &["decode", "body"],
        "sinks write JSON; `decode` of a source reads other formats, `body` of a notifier writes them",
    ),
    like(
        "format",
        &["decode", "body"],
        "sinks write JSON; `decode` of a source reads other formats, `body` of a notifier writes them",
    ),
    like("decoding", &["decode", "map"], "`decode` of a source reads formats other than JSON"),
    like("parser", &["decode", "map"], "`decode` of a source reads formats other than JSON"),
    like("query", &["match"], ""),
    like("lookup", &["match"], ""),
    same("fields", &["select", "include-fields"], ""),
    same("columns", &["select"], ""),
    like("target", &["into", "to"], ""),
    like("result_map", &["into"], ""),
    like("schemas", &["schema"], "`schema TYPE file=\"…\"` belongs in `validate`"),
    like("json_schema", &["schema"], "`schema TYPE file=\"…\"` belongs in `validate`"),
    like("deduplicate", &["dedupe"], "`idempotency` of `source http` detects duplicates"),
    like("exclude", &["redact", "filter"], ""),
    like("mask", &["redact"], ""),
    like("hide", &["redact"], ""),
    like("severity", &["priority", "level"], ""),
    like("level", &["priority"], ""),
    like("importance", &["priority", "level"], ""),
    like("priority", &["level"], ""),
    like("urgency", &["level", "priority"], ""),
];

/// What words mean in the block of one node and nowhere else: the node, the word, and ours.
pub fn words_in_nodes() -> &'static [(&'static str, &'static str, &'static str)] {
    IN_NODE
}

/// What a word means in the block of one node and nowhere else: the node, the word, and ours.
pub(in super::super) const IN_NODE: &[(&str, &str, &str)] = &[
    ("dedupe", "ttl", "window"),
    ("dedupe", "by", "key"),
    ("dedupe", "on", "key"),
    ("dedupe", "id", "key"),
    ("dedupe", "for", "window"),
    ("dedupe", "interval", "window"),
    ("dedupe", "period", "window"),
    ("dedupe", "every", "window"),
    ("throttle", "by", "key"),
    ("throttle", "limit", "rate"),
    ("throttle", "interval", "rate"),
    ("throttle", "every", "rate"),
    ("throttle", "per", "rate"),
    ("window", "by", "key"),
    ("window", "size", "tumbling"),
    ("window", "every", "tumbling"),
    ("window", "length", "tumbling"),
    ("watch", "when", "hold"),
    ("watch", "condition", "hold"),
    ("watch", "if", "hold"),
    ("source", "route", "path"),
    ("filter", "condition", "keep"),
    ("filter", "if", "keep"),
    ("filter", "where", "keep"),
    ("filter", "match", "keep"),
    ("filter", "only", "keep"),
    ("filter", "allow", "keep"),
    ("filter", "include", "keep"),
    ("dedupe", "within", "window"),
    ("lifecycle", "timeout", "idle"),
    ("lifecycle", "ttl", "idle"),
    ("filter", "drop", "keep"),
    ("filter", "reject", "keep"),
    ("filter", "discard", "keep"),
    ("filter", "exclude", "keep"),
    ("filter", "pass", "keep"),
    ("sink", "max-size", "rotate"),
    ("rotate", "max-size", "size"),
    ("rotate", "max_size", "size"),
    ("rotate", "max-age", "every"),
    ("rotate", "max_age", "every"),
];

const ONLY_MQTT: &str = "the only brokers are those that speak MQTT; `source exec` reads what a \
    program prints, such as a client of another broker";
const OWN_STORE: &str = "the engine keeps events in SQLite: `sink sqlite NAME { path \"…\" }`";

/// Words of other tools, for kinds.
pub(in super::super) const KINDS: &[ForeignWord] = &[
    like("http_server", &["http"], ""),
    like("http-server", &["http"], ""),
    like("webhook", &["http", "webhook"], ""),
    like("http", &["webhook"], ""),
    like("https", &["http", "webhook"], ""),
    like("rest", &["http", "webhook"], ""),
    like("api", &["http", "webhook"], ""),
    like("post", &["http", "webhook"], ""),
    like("http_poller", &["http"], ""),
    like("http_client", &["http", "webhook"], ""),
    like("tail", &["file"], ""),
    like("files", &["file"], ""),
    like("jsonl", &["file"], ""),
    like("generate", &["demo"], ""),
    like("generator", &["demo"], ""),
    like("demo_logs", &["demo"], ""),
    like("dummy", &["demo"], ""),
    like("inject", &["demo"], ""),
    like("cron", &["timer"], ""),
    like("schedule", &["timer"], ""),
    like("scheduler", &["timer"], ""),
    like("interval", &["timer"], ""),
    like("clock", &["timer"], ""),
    like("remap", &["set"], ""),
    like("mapping", &["set"], ""),
    like("bloblang", &["set"], ""),
    like("template", &["set"], ""),
    like("change", &["set"], ""),
    like("csv", &["lookup"], ""),
    like("table", &["lookup"], ""),
    like("enrichment_table", &["lookup"], ""),
    like("join", &["lookup"], ""),
    like("meta", &["metadata"], ""),
    like("db", &["sqlite"], ""),
    like("database", &["sqlite"], ""),
    like("sql", &["sqlite"], ""),
    like("sql_insert", &["sqlite"], ""),
    like("postgres", &["sqlite"], OWN_STORE),
    like("mysql", &["sqlite"], OWN_STORE),
    like("influxdb", &["sqlite"], OWN_STORE),
    like("elasticsearch", &["sqlite"], OWN_STORE),
    like("console", &["stdout"], ""),
    like("debug", &["stdout"], ""),
    like("print", &["stdout"], ""),
    like("stream", &["sse"], ""),
    like("eventsource", &["sse"], ""),
    like("websocket", &["sse"], ""),
    like("websocket_server", &["sse"], ""),
    like("kafka", &[], ONLY_MQTT),
    like("redis", &[], ONLY_MQTT),
    like("nats", &[], ONLY_MQTT),
    like("amqp", &[], ONLY_MQTT),
    like("rabbitmq", &[], ONLY_MQTT),
    like("broker", &["mqtt"], ""),
    like("mosquitto", &["mqtt"], ""),
    like("homeassistant", &["mqtt", "webhook"], ""),
    like("home-assistant", &["mqtt", "webhook"], ""),
    like("teams", &["webhook"], ""),
    like("signal", &["webhook"], ""),
    like("whatsapp", &["webhook"], ""),
    like("matrix", &["webhook"], ""),
    like("pagerduty", &["webhook"], ""),
    like("apprise", &["webhook"], ""),
    like("sms", &["webhook"], ""),
    like("mattermost", &["slack"], ""),
    like("rocketchat", &["slack"], ""),
    like("push", &["ntfy"], ""),
    like("mail", &["email"], ""),
    like("smtp", &["email"], ""),
    like("log", &["file"], ""),
    like("command", &["exec"], ""),
    like("shell", &["exec"], ""),
    like("script", &["exec"], ""),
    like("process", &["exec"], ""),
    like("subprocess", &["exec"], ""),
];

/// Every word of other tools that is known for a node or a property.
pub fn foreign_words() -> &'static [ForeignWord] {
    WORDS
}

/// Every word of other tools that is known for a kind.
pub fn foreign_kinds() -> &'static [ForeignWord] {
    KINDS
}
