//! What a kind of stage promises, and what it is promised.
//!
//! A kind has two steps. `read` is pure: `engine check` calls it and nothing else. `open` is the
//! only place where a kind may access the outside. Each has one verb: a source runs, an enrichment
//! enriches, a sink delivers, a notifier tells.
//!
//! Never: a stage retries, times out or logs by itself; the engine does.

use crate::credential::Credentials;
use crate::decode::LineDecoder;
use crate::memory::{MemoryShape, OpenMemory};
use kernel::choice;
use kernel::env::{Env, Pending};
use kernel::event::Event;
use kernel::event::Globals;
use kernel::fault::Fault;
use kernel::health::PartHealth;
use kernel::time::Timestamp;
use language::expr::{self, Template, TypeEnv};
use language::spanned::Spanned;
use language::{Context, Environment, Fields, Needed, NodeRow};
use serde_json::{Map, Value, json};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::fmt::{self, Debug};
use std::future::Future;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::StoredEvent;
use wire::Fetch;

/// Services that all stages share; the engine passes them to `open`.
#[derive(Clone)]
pub struct Services {
    /// Time, chance, blocking threads.
    pub env: Env,
    /// Where variables come from.
    pub environment: Arc<dyn Environment>,
    /// HTTP to the outside.
    pub fetch: Arc<dyn Fetch>,
    /// Whether programs may be started.
    pub programs: Programs,
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// What expressions read besides an event.
    pub globals: Arc<Globals>,
    /// The database of the pipeline's store, whose files no stage may write to.
    pub store: Option<Arc<Path>>,
    /// Where this source, stage, sink or notifier says what does not work, while it does the rest
    /// of its work. What a call returns as a [`Fault`] the engine reports by itself.
    pub health: PartHealth,
}

/// A resource that a stage needs exclusively.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// An HTTP route.
    Route {
        /// `POST`.
        method: String,
        /// `/events`.
        path: String,
    },
    /// A file that is written.
    File(PathBuf),
    /// A file that whole lines are appended to, so that several stages may share it.
    Appended(PathBuf),
    /// A program that it starts, which any number of stages may.
    Program(PathBuf),
    /// A client id at a broker; the broker disconnects the client that already uses it.
    Client {
        /// Which broker: `127.0.0.1:1883`.
        broker: String,
        /// The name.
        id: String,
    },
}

/// Whether programs may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// The engine was started with `--allow-exec`.
    Allowed,
    /// It was not.
    Refused,
    /// A test answers for them, by the stand-in of HTTP.
    Mocked,
}

/// What every kind has.
pub trait Kind: Send + Sync + 'static {
    /// Its word in the file.
    const WORD: &'static str;
    /// What it does, one line.
    const SUMMARY: &'static str;
    /// A whole node of it as a file has it, for the reference.
    const EXAMPLE: &'static str;
    /// The children of its own.
    const NODES: &'static [&'static [NodeRow]];
    /// What the file says, read. Equal settings mean an equal stage, so a reload keeps it.
    type Settings: Debug + Clone + PartialEq + Send + Sync + 'static;

    /// Reads what the table has checked; reports what a table cannot know. Pure.
    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Self::Settings>;

    /// What it takes from outside the file; the engine asks whether it is there.
    fn needed(_settings: &Self::Settings) -> Vec<Needed> {
        Vec::new()
    }

    /// What it needs for itself.
    fn claims(_settings: &Self::Settings) -> Vec<Spanned<Claim>> {
        Vec::new()
    }
}

/// What is known statically about the messages of a source.
#[derive(Debug, Clone)]
pub struct Brings {
    /// What its messages may be.
    pub message: expr::ValueType,
    /// The type that they have when `map` gives none.
    pub kind: Option<Arc<str>>,
    /// Whether they say when they were written, so that events have that time when `map` gives
    /// none.
    pub has_time: bool,
    /// What `map` knows as `mqtt`, where they come on topics.
    pub mqtt: Option<expr::ValueType>,
    /// Whether `map` knows as `file` where each was read.
    pub has_file: bool,
    /// Whether they have a subject when `map` gives none.
    pub has_subject: bool,
}

impl Brings {
    /// Messages of which nothing is known but this.
    pub fn message(message: expr::ValueType) -> Brings {
        Brings {
            message,
            kind: None,
            has_time: false,
            mqtt: None,
            has_file: false,
            has_subject: false,
        }
    }
}

/// Which messages of a source are CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudEvents {
    /// None.
    Never,
    /// Those that say so by their attribute `specversion`.
    Some,
    /// All of them.
    All,
}

/// A kind of source.
pub trait SourceKind: Kind {
    /// What its messages are known to be; whatever a `schema` says besides.
    fn brings(_settings: &Self::Settings) -> Brings {
        Brings::message(expr::ValueType::any())
    }
    /// Whether its messages may be CloudEvents, whose attributes are the event's where `map` says
    /// nothing.
    fn cloud_events(_settings: &Self::Settings) -> CloudEvents {
        CloudEvents::Never
    }
    /// What takes its lines apart, where its messages are lines of text.
    fn decoder(_settings: &Self::Settings) -> Option<&LineDecoder> {
        None
    }
    /// Whether its messages are texts; JSON otherwise.
    fn is_text(settings: &Self::Settings) -> bool {
        Self::decoder(settings).is_some()
    }
    /// The messages in a file that a test replays: its lines, but for a kind that knows better.
    fn messages<'a>(_settings: &Self::Settings, text: &'a str) -> Vec<&'a str> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }
    /// Whether it ends by itself, so that `--once` may start it.
    fn ends(settings: &Self::Settings) -> bool;
    /// Whether only `--demo` starts it while it is `disabled`.
    const IS_DEMO: bool = false;
    /// Whether the engine's HTTP server serves it.
    const IS_SERVED: bool = false;
    /// Whether it needs nothing but the clock, so that a test may run it.
    const IS_CLOCK: bool = false;
    /// When or what it brings, in a few words; empty where the kind says it all.
    fn says(_settings: &Self::Settings) -> String {
        String::new()
    }
    /// What it hands on when this comes on a topic, for who tests a pipeline without a broker; the
    /// error is why nothing comes on this topic. `None` where its messages have no topics.
    fn on_topic(
        _settings: &Self::Settings,
        _topic: Option<&str>,
        _body: &[u8],
    ) -> Option<Result<Message, String>> {
        None
    }
    /// Opens it: an [`OpenSource::Route`] exactly when `IS_SERVED`. A fault here rejects the start
    /// or the reload, so what can be known to fail should fail here.
    fn open(
        settings: Self::Settings,
        services: Services,
    ) -> impl Future<Output = Result<OpenSource, Fault>> + Send;
}

/// A source, opened.
pub enum OpenSource {
    /// The engine's HTTP server serves it.
    Route(HttpRoute),
    /// It runs by itself.
    Task(Box<dyn DynSource>),
}

choice! {
    /// What a body may be.
    pub enum BodyForm {
        /// `application/json` and types that end in `+json`: one event, or an array of them.
        Json = "json",
        /// `application/x-ndjson`: one event a line.
        Lines = "ndjson",
        /// The same as [`BodyForm::Json`], sent as `text/plain` or without a type.
        Text = "text",
        /// `application/x-www-form-urlencoded`: one event, its fields as text.
        Form = "form",
        /// CloudEvents 1.0: structured, binary and batched.
        CloudEvents = "cloudevents",
    }
}

/// What the HTTP server must know of a source that it serves.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// The path, exact.
    pub path: String,
    /// The methods accepted.
    pub methods: Vec<String>,
    /// What bodies may be; nothing where they are text.
    pub accepts: Vec<BodyForm>,
    /// How they fall into messages, where they are text of any type.
    pub text: Option<TextBody>,
    /// What senders show, when the source has credentials of its own.
    pub credentials: Credentials,
    /// The header that names the event's id when `map` gives none.
    pub idempotency_header: Option<String>,
    /// The largest body, when the source says so itself.
    pub body_max: Option<u64>,
    /// How an event that was accepted, or was before, is answered.
    pub respond: Respond,
}

/// How a text falls into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextBody {
    /// It is one.
    Whole,
    /// Each line is one.
    Lines {
        /// Whether the first line only names the columns.
        has_header: bool,
    },
}

impl TextBody {
    /// The messages in a text, without their line ends; a blank one is none.
    pub fn messages(self, text: &str) -> impl Iterator<Item = &str> {
        let (lines, whole, skipped) = match self {
            TextBody::Whole => (None, Some(text.trim_end()), 0),
            TextBody::Lines { has_header } => (Some(text.lines()), None, usize::from(has_header)),
        };
        let messages = lines.into_iter().flatten().chain(whole).skip(skipped);
        messages.filter(|message| !message.trim().is_empty())
    }
}

/// How an event is answered once it is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Respond {
    /// The status, which for a repeated event is 200 where the file says nothing.
    pub status: Option<u16>,
    /// The body, from the event; without it the id and the number as JSON.
    pub body: Option<Arc<Template>>,
    /// What the body is.
    pub content_type: String,
}

impl Default for Respond {
    fn default() -> Self {
        Respond { status: None, body: None, content_type: "text/plain; charset=utf-8".to_owned() }
    }
}

impl HttpRoute {
    /// A path that takes POST of JSON and NDJSON from whom the server trusts.
    pub fn at(path: impl Into<String>) -> Self {
        HttpRoute {
            path: path.into(),
            methods: vec!["POST".to_owned()],
            accepts: vec![BodyForm::Json, BodyForm::Lines],
            text: None,
            credentials: Credentials::default(),
            idempotency_header: None,
            body_max: None,
            respond: Respond::default(),
        }
    }
}

/// Produces events.
pub trait Source: Send + 'static {
    /// Runs until it has no more or `emit` says [`Closed`].
    ///
    /// Promised: `emit` waits while the engine is full and returns after the commit.
    /// To promise: return soon after `Closed`; never buffer without a limit.
    fn run(&mut self, emit: &dyn Emit) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The boxed twin of [`Source`], so that no author ever boxes a future.
pub trait DynSource: Send {
    /// See [`Source::run`].
    fn run<'a>(&'a mut self, emit: &'a dyn Emit) -> Pending<'a, Result<(), Fault>>;
}

impl<T: Source> DynSource for T {
    fn run<'a>(&'a mut self, emit: &'a dyn Emit) -> Pending<'a, Result<(), Fault>> {
        Box::pin(Source::run(self, emit))
    }
}

/// It is time to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// A message as received, before `map`.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The bytes of one event.
    pub body: Vec<u8>,
    /// The type to use when `map` gives none.
    pub kind: Option<Arc<str>>,
    /// Something other than JSON was asked for: the decoded message.
    pub decoded: Option<Value>,
    /// Where it was read, for whoever has to find it again.
    pub origin: Option<MessageOrigin>,
    /// The topic that it came on, and how: what `map` knows as `mqtt`.
    pub mqtt: Option<Value>,
    /// The id to use when `map` gives none: the same for the same message, so that it is stored
    /// once. A new one where it is `None`.
    pub id: Option<String>,
    /// The time to use when `map` gives none; that of arrival where it is `None`.
    pub time: Option<Timestamp>,
    /// The subject to use when `map` gives none.
    pub subject: Option<Arc<str>>,
}

/// Where a message was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageOrigin {
    /// The file as it is named to people, or `standard input`.
    pub name: Arc<str>,
    /// Its line, counted from 1; `None` where the whole file is one message, and for a file of
    /// which more was read by an older version than can be counted.
    pub line: Option<u64>,
    /// Its first byte, counted from 0.
    pub offset: u64,
}

impl fmt::Display for MessageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ", byte {}", self.offset)
    }
}

/// Accepts the messages of a source.
pub trait Emit: Send + Sync {
    /// Hands on some messages (at most 1,024), and what the source must remember with them (key,
    /// value), in one transaction. An empty value forgets its key. Returns after the commit; a
    /// message that is refused is kept as a dead letter. Waits while the store is busy.
    fn emit<'a>(
        &'a self,
        messages: Vec<Message>,
        remember: Vec<(String, String)>,
    ) -> Pending<'a, Result<(), Closed>>;

    /// Everything that this source has remembered, as (key, value). Waits until the store can be
    /// read: what cannot be recalled must not pass for nothing.
    fn recall(&self) -> Pending<'_, Result<Vec<(String, String)>, Closed>>;

    /// Ends when it is time to stop.
    fn closed(&self) -> Pending<'_, ()>;

    /// What expressions read besides an event; a reload may change it.
    fn globals(&self) -> Arc<Globals>;
}

/// What is known statically about an addition; the counterpart of [`Addition`].
#[derive(Debug, Clone)]
pub enum Adds {
    /// Something of this shape at the stage's `into`.
    Value(expr::ValueType),
    /// Something at these paths below `enrich`.
    At(Vec<(Arc<[String]>, expr::ValueType)>),
}

/// A kind of enrichment.
pub trait EnrichKind: Kind {
    /// What it adds for what is known at its place. Never narrower than the truth: where the kind
    /// cannot know, [`ValueType::any`](expr::ValueType::any).
    fn adds(_settings: &Self::Settings, _known: &TypeEnv) -> Adds {
        Adds::Value(expr::ValueType::any())
    }
    /// Whether it may drop or dead-letter an event, so that it is useful even where nothing
    /// reads what it adds.
    fn decides(_settings: &Self::Settings) -> bool {
        false
    }
    /// Whether it may wait or has effects outside. Such a stage runs only after its event was
    /// accepted durably.
    const IS_REMOTE: bool;
    /// What it is to the engine where it remembers something for each key.
    fn memory(_settings: &Self::Settings) -> Option<MemoryShape> {
        None
    }
    /// Opens it: a [`Enricher::Remote`] exactly when `IS_REMOTE`, an [`Enricher::Memory`] exactly
    /// when it is a [`EnrichKind::memory`].
    fn open(
        settings: Self::Settings,
        services: Services,
    ) -> impl Future<Output = Result<Enricher, Fault>> + Send;
}

/// An enrichment, opened.
pub enum Enricher {
    /// Never waits.
    Local(Box<dyn Local>),
    /// May wait.
    Remote(Box<dyn DynRemote>),
    /// Remembers.
    Memory(OpenMemory),
}

/// What an enrichment yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Addition {
    /// Put at the stage's `into`.
    Value(Value),
    /// The same as JSON text, which becomes a tree only if something reads it. For a stage that
    /// never waits: what a remote one answers is kept and shared as a value.
    Text(Arc<str>),
    /// Put at these paths below `enrich`.
    At(Vec<(Arc<[String]>, Value)>),
    /// There is nothing to add.
    Nothing,
    /// The file says to drop such an event, for this reason.
    Drop(String),
    /// The file says to make such an event a dead letter, for this reason.
    DeadLetter(String),
}

/// An enrichment that never waits.
pub trait Local: Send + Sync + 'static {
    /// Looks at the event and says what to add. Must not block.
    fn enrich(&self, event: &Event) -> Result<Addition, Fault>;
}

/// An enrichment that may wait.
pub trait Remote: Send + Sync + 'static {
    /// May be called for several events at once; may be dropped midway. `timeout` is what the
    /// engine allows this attempt.
    fn enrich(
        &self,
        event: &Event,
        timeout: Duration,
    ) -> impl Future<Output = Result<Addition, Fault>> + Send;

    /// The cache key of the request for this event, so that equal requests share a response; `None`
    /// where only the file can tell.
    fn question(&self, _event: &Event) -> Option<String> {
        None
    }
}

/// The boxed twin of [`Remote`].
pub trait DynRemote: Send + Sync {
    /// See [`Remote::enrich`].
    fn enrich<'a>(
        &'a self,
        event: &'a Event,
        timeout: Duration,
    ) -> Pending<'a, Result<Addition, Fault>>;
    /// See [`Remote::question`].
    fn question(&self, event: &Event) -> Option<String>;
}

impl<T: Remote> DynRemote for T {
    fn enrich<'a>(
        &'a self,
        event: &'a Event,
        timeout: Duration,
    ) -> Pending<'a, Result<Addition, Fault>> {
        Box::pin(Remote::enrich(self, event, timeout))
    }

    fn question(&self, event: &Event) -> Option<String> {
        Remote::question(self, event)
    }
}

/// A kind of sink.
pub trait SinkKind: Kind {
    /// What the engine has to do with such a sink.
    fn shape(settings: &Self::Settings) -> SinkRole;
    /// Whether it leaves the machine; with `--demo` such a one writes to a file instead.
    fn is_remote(_settings: &Self::Settings) -> bool {
        false
    }
    /// Opens a [`SinkRole::Outside`]; the engine never calls it for the others.
    fn open(
        settings: Self::Settings,
        services: Services,
    ) -> impl Future<Output = Result<Box<dyn DynDeliver>, Fault>> + Send;
}

/// What the engine has to do with a sink.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkRole {
    /// It is a store; the first of the file is the pipeline's own.
    Store(StoreShape),
    /// A live stream over HTTP, fed by the hub.
    Stream(StreamShape),
    /// It delivers to the outside, from the outbox.
    Outside,
}

/// What a store sink asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreShape {
    /// The database file.
    pub path: PathBuf,
    /// The most events in one transaction.
    pub batch: usize,
    /// How long a transaction waits for more.
    pub linger: Duration,
    /// Commit durability.
    pub synchronous: store::Synchronous,
    /// Retention.
    pub policy: store::RetentionPolicy,
    /// Whether it keeps messages as they were received, also where `map` takes a part of them.
    pub keeps_raw: bool,
}

/// What a stream sink asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamShape {
    /// Its route.
    pub path: String,
    /// The most clients at once.
    pub clients_max: usize,
    /// Events kept in memory for new clients.
    pub replay: usize,
    /// Time between comments.
    pub heartbeat: Duration,
    /// Paths that are removed before anything is sent.
    pub redact: Vec<Vec<String>>,
}

/// An event on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Made when it is asked for: most files are written without it.
    event: OnceLock<Event>,
    globals: Arc<Globals>,
    /// The event as stored, for its JSON.
    pub stored: Arc<StoredEvent>,
    /// `<event id>/<sink>`: the same for every attempt.
    pub key: String,
    /// What the engine allows this attempt.
    pub timeout: Duration,
}

impl Outgoing {
    /// A stored event on its way to a target; `globals` is what expressions read besides it.
    pub fn new(
        stored: Arc<StoredEvent>,
        globals: Arc<Globals>,
        key: String,
        timeout: Duration,
    ) -> Self {
        Outgoing { event: OnceLock::new(), globals, stored, key, timeout }
    }

    /// The key, as a header can hold it.
    pub(crate) fn header_key(&self) -> String {
        header_key(&self.key)
    }

    /// The event, for expressions.
    ///
    /// # Panics
    ///
    /// When what is stored is not JSON: no such row is read.
    pub fn event(&self) -> &Event {
        self.event.get_or_init(|| {
            event_of(&self.stored, self.globals.clone()).expect("what is stored is JSON")
        })
    }
}

/// A key as the value of a header: one of visible ASCII stays as it is; of any other, `%` and all
/// that is not visible ASCII are percent-encoded, since the id of an event may be any text.
fn header_key(key: &str) -> String {
    if key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return key.to_owned();
    }
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte.is_ascii_graphic() && byte != b'%' {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A stored event as expressions read it; `None` where it is not JSON.
pub fn event_of(stored: &StoredEvent, globals: Arc<Globals>) -> Option<Event> {
    let data: Value = serde_json::from_str(stored.body.data_text()).ok()?;
    let enrich: Map<String, Value> = serde_json::from_str(&stored.enrich).ok()?;
    Some(Event {
        seq: stored.seq,
        generation: stored.generation,
        envelope: stored.envelope.clone(),
        body: stored.body.clone(),
        data: Arc::new(data),
        raw: stored
            .body
            .message()
            .and_then(|message| serde_json::from_slice(message).ok())
            .map(Arc::new),
        enrich: enrich.into(),
        globals,
    })
}

/// Delivers events.
pub trait Deliver: Send + Sync + 'static {
    /// The most events that are handed over at once: more than one where many cost hardly more
    /// than one.
    const BATCH_MAX: usize = 1;

    /// May be called again for the same `key`, since an attempt's end may be unknown.
    fn deliver(&self, outgoing: &Outgoing) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Delivers several in their order; how each of them ended, in the same order. All of them
    /// together have the time of one.
    fn deliver_all(
        &self,
        batch: &[Outgoing],
    ) -> impl Future<Output = Vec<Result<(), Fault>>> + Send {
        async move {
            let mut results = Vec::with_capacity(batch.len());
            for outgoing in batch {
                results.push(self.deliver(outgoing).await);
            }
            results
        }
    }

    /// Runs beside the deliveries for as long as they may come, until `closed` ends: for who keeps
    /// a connection between them. Then it has a moment to say goodbye.
    fn tend(&self, closed: Pending<'_, ()>) -> impl Future<Output = ()> + Send {
        closed
    }
}

/// The boxed twin of [`Deliver`].
pub trait DynDeliver: Send + Sync {
    /// See [`Deliver::BATCH_MAX`].
    fn batch_max(&self) -> usize;
    /// See [`Deliver::deliver_all`].
    fn deliver_all<'a>(&'a self, batch: &'a [Outgoing]) -> Pending<'a, Vec<Result<(), Fault>>>;
    /// See [`Deliver::tend`].
    fn tend<'a>(&'a self, closed: Pending<'a, ()>) -> Pending<'a, ()>;
}

impl<T: Deliver> DynDeliver for T {
    fn batch_max(&self) -> usize {
        T::BATCH_MAX
    }

    fn deliver_all<'a>(&'a self, batch: &'a [Outgoing]) -> Pending<'a, Vec<Result<(), Fault>>> {
        Box::pin(Deliver::deliver_all(self, batch))
    }

    fn tend<'a>(&'a self, closed: Pending<'a, ()>) -> Pending<'a, ()> {
        Box::pin(Deliver::tend(self, closed))
    }
}

/// A kind of notifier.
pub trait NotifyKind: Kind {
    /// Whether it leaves the machine; with `--demo` such a one writes to a file instead.
    fn is_remote(settings: &Self::Settings) -> bool;
    /// Whether all that leaves the machine goes through [`Services::fetch`], so that a test can
    /// answer in the place of the outside. Of another kind a test opens nothing.
    const USES_FETCH: bool = true;
    /// Whether it sends the whole event, with everything that stages added.
    fn sends_event(_settings: &Self::Settings) -> bool {
        false
    }
    /// Why a message cannot be replaced by a later one; `None` where it can.
    fn no_update(_settings: &Self::Settings) -> Option<NoUpdate> {
        Some(NoUpdate {
            reason: "its messages cannot be changed",
            help: "remove it; `cooldown` or `group` sends fewer messages",
        })
    }
    /// The same for each of several recipients: each gets a delivery of its own, so that one who
    /// cannot be reached holds nobody up, and nobody is told twice.
    fn recipients(settings: &Self::Settings) -> Vec<Self::Settings> {
        vec![settings.clone()]
    }
    /// Opens it for one recipient.
    fn open(
        settings: Self::Settings,
        services: Services,
    ) -> impl Future<Output = Result<Box<dyn DynNotify>, Fault>> + Send;
}

/// Why the messages of a notifier cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoUpdate {
    /// In words, about the notifier.
    pub reason: &'static str,
    /// What to write instead.
    pub help: &'static str,
}

/// The message that a notice sends or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUpdate {
    /// What tells it apart from the others of its notifier.
    pub key: String,
    /// Its name for services that have it from us: 32 letters and digits, the same for each change.
    pub id: String,
    /// What the service calls the message before; `None` for the first one.
    pub before: Option<String>,
}

impl MessageUpdate {
    /// Of the message of `key` that `target` sends.
    pub fn new(target: &str, key: &str, before: Option<String>) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(target.as_bytes());
        hasher.write_u8(0);
        hasher.write(key.as_bytes());
        let id = format!("{:032x}", hasher.finish128().as_u128());
        MessageUpdate { key: key.to_owned(), id, before }
    }

    /// As templates read it.
    pub fn shown(&self) -> Value {
        json!({ "key": self.key, "id": self.id, "first": self.before.is_none() })
    }
}

/// A rendered notification.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What the event is about.
    pub outgoing: Outgoing,
    /// Rendered.
    pub title: String,
    /// Rendered.
    pub message: String,
    /// The message that it sends or changes; `None` where it is one of its own.
    pub update: Option<MessageUpdate>,
}

/// Sends notifications.
pub trait Notify: Send + Sync + 'static {
    /// May be called again for the same key.
    fn notify(&self, notice: &Notice) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The same for a notice with an `update`: changes the message before, or sends the first one.
    /// What the service calls the message; in place of one that is gone, a new one is sent.
    fn update(&self, notice: &Notice) -> impl Future<Output = Result<String, Fault>> + Send {
        async move { self.notify(notice).await.map(|()| String::new()) }
    }

    /// The most notices that are handed over at once. Where that is more than one, the service
    /// calls messages nothing, and all go the way of [`Notify::notify_all`].
    fn batch_max(&self) -> usize {
        1
    }

    /// Sends several in their order; how each of them ended, in the same order. All of them
    /// together have the time of one.
    fn notify_all(&self, batch: &[Notice]) -> impl Future<Output = Vec<Result<(), Fault>>> + Send {
        async move {
            let mut results = Vec::with_capacity(batch.len());
            for notice in batch {
                results.push(self.notify(notice).await);
            }
            results
        }
    }

    /// See [`Deliver::tend`].
    fn tend(&self, closed: Pending<'_, ()>) -> impl Future<Output = ()> + Send {
        closed
    }
}

/// The boxed twin of [`Notify`].
pub trait DynNotify: Send + Sync {
    /// See [`Notify::notify`].
    fn notify<'a>(&'a self, notice: &'a Notice) -> Pending<'a, Result<(), Fault>>;
    /// See [`Notify::update`].
    fn update<'a>(&'a self, notice: &'a Notice) -> Pending<'a, Result<String, Fault>>;
    /// See [`Notify::batch_max`].
    fn batch_max(&self) -> usize;
    /// See [`Notify::notify_all`].
    fn notify_all<'a>(&'a self, batch: &'a [Notice]) -> Pending<'a, Vec<Result<(), Fault>>>;
    /// See [`Notify::tend`].
    fn tend<'a>(&'a self, closed: Pending<'a, ()>) -> Pending<'a, ()>;
}

impl<T: Notify> DynNotify for T {
    fn notify<'a>(&'a self, notice: &'a Notice) -> Pending<'a, Result<(), Fault>> {
        Box::pin(Notify::notify(self, notice))
    }

    fn update<'a>(&'a self, notice: &'a Notice) -> Pending<'a, Result<String, Fault>> {
        Box::pin(Notify::update(self, notice))
    }

    fn batch_max(&self) -> usize {
        Notify::batch_max(self)
    }

    fn notify_all<'a>(&'a self, batch: &'a [Notice]) -> Pending<'a, Vec<Result<(), Fault>>> {
        Box::pin(Notify::notify_all(self, batch))
    }

    fn tend<'a>(&'a self, closed: Pending<'a, ()>) -> Pending<'a, ()> {
        Box::pin(Notify::tend(self, closed))
    }
}
