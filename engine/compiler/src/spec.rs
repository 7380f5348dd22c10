//! The file, typed: what each node says, with the place of every name.
//!
//! Invariant: equality of specs ignores places, so a reload that only moves lines changes nothing.

mod failure;
mod manners;
mod metric;
mod read;

pub use failure::{
    Backoff, BackoffCurve, Breaker, BreakerTrip, Defaults, FailureHandling, Jitter, PolicyNode,
    RateLimit, Retry,
};
pub use manners::{
    AlertNodes, DigestTexts, EscalateNode, GroupNode, Manners, QuietHoursNode, RecoverNode,
    SilenceCause, SilenceNode, UpdateNode, WaitNode,
};
pub use metric::{MetricNode, MetricRule, MetricType};
pub use read::read;
pub(crate) use read::reads_of;

use kernel::choice;
use kernel::event::Priority;
use language::expr::{Expr, Template};
use language::spanned::{Span, Spanned};
use language::{Environment, Needed, Setting};
use stages::catalog::{EnrichSpec, MemorySpec, NotifySpec, SinkSpec, SourceSpec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::BacklogLimit;

/// A name where it stands.
pub type Name = Spanned<String>;

/// A pipeline file.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The pipeline's name.
    pub name: Name,
    /// A description.
    pub description: String,
    /// The IANA zone of times in templates.
    pub timezone: String,
    /// Names and values of the file's own.
    pub labels: BTreeMap<String, String>,
    /// `param`, as expressions read them (`min-score` is `min_score`).
    pub params: Vec<(Name, serde_json::Value)>,
    /// The HTTP server.
    pub server: ServerSettings,
    /// Limits of the whole pipeline.
    pub limits: PipelineLimits,
    /// How urgent events are.
    pub priority: PriorityRules,
    /// Failure handling by name.
    pub policies: Vec<PolicyNode>,
    /// Failure handling by role.
    pub defaults: Defaults,
    /// The sources.
    pub sources: Vec<SourceNode>,
    /// What is accepted.
    pub validate: Validate,
    /// What passes, in file order.
    pub filters: Vec<Filter>,
    /// What looks on, in file order.
    pub watchers: Vec<Watcher>,
    /// What is added.
    pub enrichments: Vec<Enrichment>,
    /// What is counted for the file itself.
    pub metrics: Vec<MetricNode>,
    /// Where events go.
    pub route: Option<RouteNode>,
    /// What takes events out.
    pub sinks: Vec<Sink>,
    /// The notifiers.
    pub notifiers: Vec<Notifier>,
    /// The rules for dead letters.
    pub dead_letter: DeadLetters,
    /// Nodes that could not be read, which was reported: references to them are not wrong too.
    pub unread: UnreadNodes,
    /// What reads the message as received.
    pub raw: RawReaders,
}

/// What reads `raw`, beside `map`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawReaders {
    /// Whether anything does.
    pub any: bool,
    /// The first sink or notifier that does: it reads what is stored.
    pub delivering: Option<Span>,
    /// The first stage or case of the route that does: where a stage waits, a restart runs them
    /// from what is stored.
    pub running: Option<Span>,
    /// The first case of `priority` that does, which is asked again after the stages where a case
    /// reads what they add.
    pub ranking: Option<Span>,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// `HOST:PORT`.
    pub listen: Spanned<Setting>,
    /// How others reach it.
    pub public_url: Option<Spanned<Setting>>,
    /// Further hosts that requests may be addressed to.
    pub hosts: Vec<Spanned<Setting>>,
    /// The largest request body, in bytes.
    pub body_max: u64,
    /// The certificate to serve HTTPS with.
    pub tls: Option<TlsNode>,
    /// Bearer tokens; empty where there is no `auth`.
    pub tokens: Vec<TokenNode>,
    /// Whether the file has `auth`.
    pub has_auth: bool,
}

impl ServerSettings {
    /// Everything that may come from outside the file: the address first.
    pub fn settings(&self) -> impl Iterator<Item = &Spanned<Setting>> {
        let address = [Some(&self.listen), self.public_url.as_ref()];
        let tls = self.tls.iter().flat_map(|it| [&it.cert, &it.key]);
        let tokens = self.tokens.iter().map(|token| &token.value);
        address.into_iter().flatten().chain(tls).chain(tokens)
    }

    /// The files of certificate and key; `None` where the server speaks plain HTTP, or a variable
    /// in them is not set.
    pub fn tls_files(&self, environment: &dyn Environment) -> Option<(PathBuf, PathBuf)> {
        let tls = self.tls.as_ref()?;
        let path = |spanned: &Spanned<Setting>| {
            Some(tls.folder.join(spanned.value.resolve(environment).ok()?))
        };
        Some((path(&tls.cert)?, path(&tls.key)?))
    }
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsNode {
    /// The file with the certificate and those that have signed it.
    pub cert: Spanned<Setting>,
    /// The file with the private key.
    pub key: Spanned<Setting>,
    /// What both are relative to.
    pub folder: PathBuf,
}

/// A bearer token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenNode {
    /// Whose.
    pub name: Name,
    /// The secret.
    pub value: Spanned<Setting>,
    /// What it allows.
    pub scopes: Vec<String>,
}

/// Limits of the whole pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineLimits {
    /// How many events may wait for their first commit.
    pub queue: usize,
    /// What becomes of what finds no room to wait.
    pub overflow: Overflow,
    /// Most deliveries that wait, for all targets together.
    pub outbox_rows: u64,
    /// Most bytes of them.
    pub outbox_bytes: u64,
    /// How many events are enriched at once.
    pub concurrency: usize,
    /// The longest an event may spend in its stages.
    pub event_timeout: Spanned<Duration>,
    /// How long a shutdown waits for running work.
    pub shutdown_grace: Duration,
    /// The largest single event, in bytes.
    pub event_size_max: u64,
}

choice! {
    /// What becomes of a message that finds the queue full. None was accepted, so none is lost that
    /// anybody was promised.
    pub enum Overflow {
        /// A request waits for room; the client feels it.
        Block = "block",
        /// A request is answered 503; a source that nobody waits for offers it again.
        Reject = "reject",
        /// The same for a request; a source that nobody waits for lets it go.
        DropNewest = "drop-newest",
    }
}

/// How urgent events are.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorityRules {
    /// For events that no case fits and that bring no level of their own.
    pub default: Priority,
    /// In file order; the first that holds wins.
    pub cases: Vec<(Priority, Spanned<Expr>)>,
}

/// What makes events.
#[derive(Debug, Clone)]
pub struct SourceNode {
    /// Its name.
    pub name: Name,
    /// Its kind and settings.
    pub spec: Arc<dyn SourceSpec>,
    /// Whether it is switched off.
    pub is_disabled: bool,
    /// The schema of the message as received: the path as written.
    pub schema: Option<Name>,
    /// The type of every event, where `map` gives none.
    pub kind: Option<Name>,
    /// Whether it has a node for the type, also one in its `map` or one that cannot be read.
    pub has_type: bool,
    /// Where the parts of an event stand.
    pub map: Map,
}

/// Where to find each event field in the message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// Where text of the message is JSON that the rest of the map reads: paths below `data`.
    pub json: Vec<Spanned<Expr>>,
    /// A list of the message, of which each item is an event.
    pub each: Option<Spanned<Expr>>,
    /// The type.
    pub kind: Option<Spanned<Expr>>,
    /// The id.
    pub id: Option<Spanned<Expr>>,
    /// Where the event comes from.
    pub source: Option<Spanned<Expr>>,
    /// What the event is about.
    pub subject: Option<Spanned<Expr>>,
    /// When it happened.
    pub time: Option<Spanned<Expr>>,
    /// The payload.
    pub data: Option<Spanned<Expr>>,
    /// How urgent it is.
    pub priority: Option<Spanned<Expr>>,
    /// An id that groups related events.
    pub correlation_id: Option<Spanned<Expr>>,
    /// What it came from.
    pub parent_id: Option<Spanned<Expr>>,
}

impl Map {
    /// The parts of an event that it says, without `each` and `json`.
    pub fn parts(&self) -> impl Iterator<Item = &Spanned<Expr>> {
        [
            &self.kind,
            &self.id,
            &self.source,
            &self.subject,
            &self.time,
            &self.data,
            &self.priority,
            &self.correlation_id,
            &self.parent_id,
        ]
        .into_iter()
        .flatten()
    }
}

/// What is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Validate {
    /// Type patterns and the paths of their schemas.
    pub schemas: Vec<(Name, Name)>,
    /// What a schema cannot say.
    pub rules: Vec<CheckRule>,
    /// What to do with a message that is not valid.
    pub on_invalid: OnInvalid,
    /// What to do with an event type that no schema covers.
    pub on_unknown_type: OnUnknownType,
    /// Whether `format` is checked.
    pub formats: Formats,
}

choice! {
    /// What `format` does in a schema.
    pub enum Formats {
        /// It is a note for readers.
        Annotate = "annotate",
        /// A value that is not of its format is not valid.
        Assert = "assert",
    }
}

/// What a schema cannot say.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRule {
    /// Types that it concerns.
    pub kind: Name,
    /// False is a violation.
    pub check: Spanned<Expr>,
    /// The JSON pointer to blame.
    pub at: String,
    /// What to say.
    pub message: String,
}

choice! {
    /// What becomes of an event that validation refuses.
    pub enum OnInvalid {
        /// Refused and kept.
        DeadLetter = "dead-letter",
        /// Refused.
        Reject = "reject",
        /// Let go without a complaint.
        Drop = "drop",
        /// Accepted, the violations under `enrich.validate`.
        Tag = "tag",
    }
}

choice! {
    /// What becomes of an event whose type no schema covers.
    pub enum OnUnknownType {
        /// Accepted unchecked.
        Accept = "accept",
        /// Let go.
        Drop = "drop",
        /// Refused.
        Reject = "reject",
        /// Refused and kept.
        DeadLetter = "dead-letter",
    }
}

/// What remembers and stands at the top of the file.
#[derive(Debug, Clone, Copy)]
pub struct MemoryNode<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Which events it is for.
    pub when: Option<&'a Spanned<Expr>>,
    /// Its kind and settings.
    pub spec: &'a Arc<dyn MemorySpec>,
}

/// What looks on and sends events of its own, such as a `watch`.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// Its name.
    pub name: Name,
    /// Looks only at these.
    pub when: Option<Spanned<Expr>>,
    /// Its kind and settings.
    pub spec: Arc<dyn MemorySpec>,
    /// Whether it is switched off.
    pub is_disabled: bool,
}

impl Watcher {
    /// The nodes that look on.
    pub const WORDS: &[&str] = &["watch", "join", "window"];
}

/// What passes: a `filter`, `dedupe`, `throttle` or `changes`.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Its name.
    pub name: Name,
    /// Asks only these.
    pub when: Option<Spanned<Expr>>,
    /// What it lets through.
    pub rule: Passing,
    /// What becomes of the others.
    pub on_drop: OnDrop,
    /// Why, in the file's words.
    pub reason: Option<String>,
    /// Whether it is switched off.
    pub is_disabled: bool,
}

/// What a filter lets through.
#[derive(Debug, Clone, PartialEq)]
pub enum Passing {
    /// Events for which all of these hold.
    Keep(Vec<Spanned<Expr>>),
    /// What a kind that remembers lets through.
    Remembers(Arc<dyn MemorySpec>),
}

choice! {
    /// What becomes of an event that a filter does not let through.
    pub enum OnDrop {
        /// Let go.
        Drop = "drop",
        /// Refused and kept.
        DeadLetter = "dead-letter",
        /// It passes, the reason under `enrich`.
        Tag = "tag",
    }
}

impl Passing {
    /// The nodes that say what passes.
    pub const WORDS: &[&str] = &["filter", "lifecycle", "dedupe", "throttle", "changes"];
}

impl Enrichment {
    /// Whether it runs only after its event was accepted: it calls a service, is judged with the
    /// event, or reads what is.
    pub fn runs_late(&self) -> bool {
        self.spec.is_remote() || self.spec.memory().is_some() || self.waits_for_filters
    }
}

/// A stage that adds to events.
#[derive(Debug, Clone)]
pub struct Enrichment {
    /// Its name.
    pub name: Name,
    /// Its kind and settings.
    pub spec: Arc<dyn EnrichSpec>,
    /// Order only. The span of the node stands with each name's own.
    pub after: Vec<Name>,
    /// Order and success.
    pub needs: Vec<Name>,
    /// Runs only for these.
    pub when: Option<Spanned<Expr>>,
    /// Where to put the result, below `enrich`.
    pub into: Spanned<Vec<String>>,
    /// What becomes of the event when it gives up.
    pub on_error: OnError,
    /// The policy to begin with.
    pub policy: Option<Name>,
    /// What it says itself.
    pub failure: FailureHandling,
    /// Answers that are kept.
    pub cache: Option<CacheSettings>,
    /// Whether it is switched off.
    pub is_disabled: bool,
    /// Whether it reads what a filter adds, which is decided with the event.
    pub waits_for_filters: bool,
}

/// Answers of a remote stage that are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheSettings {
    /// How long one is as good as new.
    pub keep: Duration,
    /// What tells questions apart; without it, the request itself.
    pub key: Option<Spanned<Expr>>,
    /// How long one stands in for an answer that could not be had.
    pub stale_if_error: Option<Duration>,
    /// Most answers.
    pub entries_max: usize,
}

choice! {
    /// What becomes of an event when a stage gives up, without its reason.
    pub enum OnErrorMode {
        /// It goes on.
        Continue = "continue",
        /// It is set aside.
        DeadLetter = "dead-letter",
        /// It is let go.
        Drop = "drop",
    }
}

/// What becomes of an event when a stage gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    /// It goes on.
    Continue,
    /// It is set aside.
    DeadLetter,
    /// It is let go, for this reason.
    Drop(String),
}

choice! {
    /// Which of the cases that hold count.
    pub enum RouteMode {
        /// The first.
        First = "first",
        /// All of them.
        All = "all",
    }
}

/// Where events go.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteNode {
    /// Where it stands.
    pub name: Name,
    /// How many of its cases count.
    pub mode: RouteMode,
    /// In file order.
    pub cases: Vec<Case>,
    /// For what fits no case.
    pub otherwise: Option<Vec<Name>>,
}

impl RouteNode {
    /// Whether a case sends to this target.
    pub fn names(&self, target: &str) -> bool {
        let cases = self.cases.iter().flat_map(|case| &case.to);
        cases.chain(self.otherwise.iter().flatten()).any(|case| case.value == target)
    }
}

/// One case of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: Name,
    /// When it holds.
    pub when: Spanned<Expr>,
    /// Where to.
    pub to: Vec<Name>,
}

/// What takes events out.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name.
    pub name: Name,
    /// Its kind and settings.
    pub spec: Arc<dyn SinkSpec>,
    /// Gets only these.
    pub when: Option<Spanned<Expr>>,
    /// The policy to begin with.
    pub policy: Option<Name>,
    /// What it says itself.
    pub failure: FailureHandling,
    /// What may wait for it.
    pub backlog: BacklogLimit,
    /// Whether it is switched off.
    pub is_disabled: bool,
}

/// What tells people.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// Its name.
    pub name: Name,
    /// Its kind and settings.
    pub spec: Arc<dyn NotifySpec>,
    /// Gets only these.
    pub when: Option<Spanned<Expr>>,
    /// The headline.
    pub title: Template,
    /// The text.
    pub message: Template,
    /// How often it may speak.
    pub cooldown: Option<CooldownNode>,
    /// Whether and when it speaks.
    pub manners: Manners,
    /// The policy to begin with.
    pub policy: Option<Name>,
    /// What it says itself.
    pub failure: FailureHandling,
    /// What may wait for it.
    pub backlog: BacklogLimit,
    /// Whether it is switched off.
    pub is_disabled: bool,
}

/// How often a notifier may speak.
#[derive(Debug, Clone, PartialEq)]
pub struct CooldownNode {
    /// Once in this time per key.
    pub window: Duration,
    /// What is told apart; without it, everything is one.
    pub key: Option<Spanned<Expr>>,
    /// What is never held back.
    pub except: Option<Spanned<Expr>>,
}

/// Names of nodes that could not be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnreadNodes {
    /// Stages.
    pub stages: Vec<Name>,
    /// Sinks.
    pub sinks: Vec<Name>,
    /// Notifiers.
    pub notifiers: Vec<Name>,
    /// Whether some node of a role has no name at all, so that any name may be its own.
    pub has_nameless: bool,
}

/// What was set aside.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetters {
    /// How long it stays.
    pub keep: Duration,
    /// How many stay.
    pub entries_max: u64,
}

impl Spec {
    /// Whether another notifier hands events to this one.
    pub fn is_relayed_to(&self, name: &str) -> bool {
        let all = self.notifiers.iter().flat_map(|notifier| notifier.manners.relays());
        all.into_iter().any(|it| it.1.value == name)
    }

    /// The sinks and notifiers, each with the condition that it has of its own.
    pub fn targets(&self) -> impl Iterator<Item = (&Name, Option<&Spanned<Expr>>)> {
        let sinks = self.sinks.iter().map(|sink| (&sink.name, sink.when.as_ref()));
        sinks.chain(self.notifiers.iter().map(|notifier| (&notifier.name, notifier.when.as_ref())))
    }

    /// What remembers and stands at the top of the file: its name, which events it is for, and its
    /// kind. What is switched off is left out.
    pub fn memories(&self) -> impl Iterator<Item = MemoryNode<'_>> {
        let filters = self.filters.iter().filter(|filter| !filter.is_disabled);
        let filters = filters.filter_map(|filter| match &filter.rule {
            Passing::Remembers(spec) => {
                Some(MemoryNode { name: &filter.name, when: filter.when.as_ref(), spec })
            }
            Passing::Keep(_) => None,
        });
        let watchers = self.watchers.iter().filter(|watcher| !watcher.is_disabled);
        let watchers = watchers.map(|Watcher { name, when, spec, .. }| MemoryNode {
            name,
            when: when.as_ref(),
            spec,
        });
        filters.chain(watchers)
    }

    /// The filter that says where in a visit an event is.
    pub fn lifecycle(&self) -> Option<&Name> {
        self.memories().find(|memory| memory.spec.adds().is_some()).map(|memory| memory.name)
    }

    /// Every value that the file takes from outside, with the name of the node that needs it.
    pub fn needed(&self) -> Vec<(&Name, Needed)> {
        let sources = self.sources.iter().map(|source| (&source.name, source.spec.needed()));
        let stages =
            self.enrichments.iter().map(|enrichment| (&enrichment.name, enrichment.spec.needed()));
        let sinks = self.sinks.iter().map(|sink| (&sink.name, sink.spec.needed()));
        let notifiers =
            self.notifiers.iter().map(|notifier| (&notifier.name, notifier.spec.needed()));
        let all = sources.chain(stages).chain(sinks).chain(notifiers);
        all.flat_map(|(name, needed)| needed.into_iter().map(move |it| (name, it))).collect()
    }
}

/// Where an event says that this filter did not let it through, and that it went on all the same.
pub fn tag_of(filter: &str) -> String {
    filter.replace('-', "_")
}
