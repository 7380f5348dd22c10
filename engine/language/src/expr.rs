//! Expressions and templates: CEL's operators over an event, compiled once, evaluated in place.
//!
//! Total and free of effects: a missing path is null, arithmetic that has no answer is null, and
//! nothing loops, so the work of an evaluation is bounded by the size of the text (4 KiB, 32
//! levels) and by 1 MiB of text that a result may have.
//!
//! Wherever CEL has a result, ours is the same; a test compares both. The differences are
//! deliberate: a missing path is null instead of an error, and so is every other error and every
//! number that is not finite; `??` gives a default, `not in` negates `in`, and `event.priority`
//! compares by level. `docs/expressions.md` has the whole list.

mod aggregate;
mod covers;
mod eval;
mod exclude;
mod function;
mod infer;
mod lex;
mod names;
mod node;
mod parse;
mod problem;
mod quotes;
mod schema;
mod stored;
mod template;
mod type_env;
mod value;
mod value_type;

pub use aggregate::Aggregate;
pub(crate) use function::is_function;
pub use function::meant as meant_function;
pub use function::{TimePattern, number_of, pattern_help, percent_encoded};
pub use infer::Declared;
pub use lex::is_escape;
pub(crate) use lex::quoted_length;
pub use problem::{ExprProblem, ProblemKind};
pub use quotes::{expression_in_quotes, quotes_inside, template_in_quotes};
pub use schema::of_schema;
pub use template::Template;
pub use type_env::{EventType, EventTypes, ExprFinding, NotYetSet, TypeEnv, TypedExpr, union};
pub use value::Val;
pub use value_type::{SchemaOrigin, ValueType};

use function::Function;
use kernel::additions::Additions;
use kernel::condition::Condition;
use kernel::env::Random;
use kernel::event::{Event, Globals};
use kernel::time::Timestamp;
use node::ExprNode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// The longest source text of an expression, in bytes.
pub const SIZE_MAX: usize = 4096;
/// The deepest nesting of brackets and operators.
pub const DEPTH_MAX: usize = 32;

/// The most items of a list that macros and functions over lists go through.
pub const ITEMS_MAX: usize = 1000;
/// The most macros inside each other.
pub const LOOPS_MAX: usize = 2;
/// The most steps of an evaluation: each item costs one for every value, operator and call in the
/// macro's expression.
pub const STEPS_MAX: u32 = 100_000;
/// The code that the log gives for an evaluation that met one of these limits.
pub const TOO_MUCH_WORK: &str = "R0101";

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// The envelope.
    Event,
    /// The payload; in `map`, the whole message.
    Data,
    /// The decoded message as received.
    Raw,
    /// What enrichments added.
    Enrich,
    /// The file's `param`s.
    Param,
    /// The server's `public_url`.
    Server,
    /// The pipeline's `name`, `labels`.
    Pipeline,
    /// The HTTP request that brought the message.
    Http,
    /// The file that the message was read from: `path`, `line`, `offset`.
    File,
    /// How a broker brought the message: `topic`, `topic_parts`, `params`, `qos`, `retain`.
    Mqtt,
    /// One item of the message, in a `map` that has `each`.
    Item,
    /// The body of a response.
    Body,
    /// The status of a response.
    Status,
    /// The headers of a response.
    Headers,
    /// The rendered headline of a notification.
    Title,
    /// The rendered text of a notification.
    Message,
    /// The events that a notification is about.
    Group,
    /// Why a notification is sent.
    Told,
    /// The message that a notification sends or changes: `key`, `id`, `first`.
    Update,
    /// What a window made of its events. It has no name: whatever begins a path is one of them.
    Aggregate,
}

impl Root {
    const ALL: [(Root, &'static str); 19] = [
        (Root::Event, "event"),
        (Root::Data, "data"),
        (Root::Raw, "raw"),
        (Root::Enrich, "enrich"),
        (Root::Param, "param"),
        (Root::Server, "server"),
        (Root::Pipeline, "pipeline"),
        (Root::Http, "http"),
        (Root::File, "file"),
        (Root::Mqtt, "mqtt"),
        (Root::Item, "item"),
        (Root::Body, "body"),
        (Root::Status, "status"),
        (Root::Headers, "headers"),
        (Root::Title, "title"),
        (Root::Message, "message"),
        (Root::Group, "group"),
        (Root::Told, "told"),
        (Root::Update, "update"),
    ];
}

/// Which roots a place allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots(u32);

/// The bit that allows `random.…`.
const RANDOM: u32 = 1 << 31;
/// The bit that asks for an aggregate such as `max(data.score)`.
const AGGREGATES: u32 = 1 << 30;

impl Roots {
    /// In `map`: the message, and the request, file or topic that brought it.
    pub const MAP: Roots =
        Roots::of(&[Root::Data, Root::Raw, Root::Http, Root::File, Root::Mqtt, Root::Param]);
    /// The same with an item of the message, where `map` has `each`.
    pub const MAP_ITEM: Roots = Roots(Roots::MAP.0 | Roots::of(&[Root::Item]).0);
    /// In rules of `validate`.
    pub const RULE: Roots = Roots::of(&[Root::Event, Root::Data, Root::Raw, Root::Param]);
    /// In the answer to the request that brought an event: nothing has been added to it.
    pub const REPLY: Roots = Roots::of(&[Root::Event, Root::Data, Root::Param]);
    /// Behind the intake: the whole event.
    pub const EVENT: Roots = Roots::of(&[
        Root::Event,
        Root::Data,
        Root::Raw,
        Root::Enrich,
        Root::Param,
        Root::Server,
        Root::Pipeline,
    ]);
    /// Where a response is at hand.
    pub const RESPONSE: Roots =
        Roots(Roots::EVENT.0 | Roots::of(&[Root::Body, Root::Status, Root::Headers]).0);
    /// In the title and message of a notification.
    pub const NOTIFICATION: Roots =
        Roots(Roots::EVENT.0 | Roots::of(&[Root::Group, Root::Told, Root::Update]).0);
    /// In what a notifier sends besides its title and message.
    pub const NOTICE: Roots =
        Roots(Roots::EVENT.0 | Roots::of(&[Root::Title, Root::Message, Root::Update]).0);
    /// In an aggregate: what is read off each event.
    pub const AGGREGATE: Roots = Roots(AGGREGATES | Roots::EVENT.0);
    /// Where aggregates are read by their names.
    pub const AGGREGATED: Roots = Roots::of(&[Root::Aggregate, Root::Param]);
    /// In `demo` templates, where `random.…` may be called.
    pub const DEMO: Roots = Roots(RANDOM | Roots::of(&[Root::Param]).0);

    /// These roots.
    pub const fn of(roots: &[Root]) -> Roots {
        let (mut bits, mut index) = (0, 0);
        while index < roots.len() {
            bits |= 1 << roots[index] as u32;
            index += 1;
        }
        Roots(bits)
    }

    /// Whether `root` is one of these.
    pub const fn contains(self, root: Root) -> bool {
        self.0 & (1 << root as u32) != 0
    }

    /// Whether the text is an aggregate.
    const fn is_aggregate(self) -> bool {
        self.0 & AGGREGATES != 0
    }

    /// Whether `random.…` may be called.
    const fn has_random(self) -> bool {
        self.0 & RANDOM != 0
    }

    /// The names of these roots.
    pub fn names(self) -> Vec<&'static str> {
        Root::ALL.iter().filter(|it| self.contains(it.0)).map(|it| it.1).collect()
    }
}

/// A compiled expression. Equal when the text is.
#[derive(Debug, Clone)]
pub struct Expr {
    text: String,
    node: ExprNode,
    /// Whether it goes through the items of lists, so that its steps are counted.
    has_loops: bool,
}

/// A static path that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRead {
    /// Where it begins.
    pub root: Root,
    /// The names behind it, up to the first computed step.
    pub path: Vec<String>,
    /// Where it stands in the expression's text.
    pub span: Range<usize>,
}

impl Expr {
    /// Compiles `text`. The error lists every problem that could be told apart.
    pub fn parse(text: &str, roots: Roots) -> Result<Expr, Vec<ExprProblem>> {
        Ok(Expr::of(text, parse::parse(text, roots)?))
    }

    fn of(text: &str, node: ExprNode) -> Expr {
        let has_loops = node.has_loops();
        Expr { text: text.to_owned(), node, has_loops }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value for what `scope` holds.
    pub fn eval<'a>(&'a self, scope: &Scope<'a>) -> Val<'a> {
        if !self.has_loops {
            return eval::eval(&self.node, scope);
        }
        let work = Work::default();
        let value = self.counted(scope, &work);
        work.report(&self.text, scope.now);
        value
    }

    /// The value, and whether a limit on work made some part of it null.
    pub fn eval_limited<'a>(&'a self, scope: &Scope<'a>) -> (Val<'a>, bool) {
        let work = Work::default();
        let value = self.counted(scope, &work);
        (value, work.is_exceeded())
    }

    fn counted(&self, scope: &Scope<'_>, work: &Work) -> Val<'static> {
        let loops = EvalState { work: Some(work), ..scope.loops };
        eval::eval(&self.node, &Scope { loops, ..*scope }).into_owned()
    }

    /// Whether it holds: only `true` does.
    pub fn is_true(&self, scope: &Scope<'_>) -> bool {
        matches!(self.eval(scope), Val::Bool(true))
    }

    /// Every static path that it reads, in order.
    pub fn reads(&self) -> Vec<PathRead> {
        let mut reads = Vec::new();
        self.node.reads(&mut reads);
        reads
    }

    /// Whether it reads anything of `root`.
    pub fn uses(&self, root: Root) -> bool {
        self.reads().iter().any(|it| it.root == root)
    }

    /// Whether it reads this field of `event`.
    pub fn reads_event(&self, field: &str) -> bool {
        let is_it =
            |it: &PathRead| it.root == Root::Event && it.path.first().is_some_and(|it| it == field);
        self.reads().iter().any(is_it)
    }

    /// Whether it and the other one never hold for the same event, as far as their texts tell.
    pub fn excludes(&self, other: &Expr) -> bool {
        exclude::excludes(&self.node, &other.node)
    }

    /// Whether it holds for no event, because its own parts exclude each other.
    pub fn never_holds(&self) -> bool {
        exclude::never_holds(&self.node)
    }

    /// What has to hold of a stored event where this is true, in terms of what is kept, and whether
    /// that is all; `scope` is for what reads nothing of an event.
    pub fn condition(&self, scope: &Scope<'_>) -> (Condition, bool) {
        stored::condition(&self.node, scope)
    }

    /// The places of those of the others that leave no event for this one, as far as their texts
    /// tell.
    pub fn covered_by(&self, others: &[&Expr]) -> Option<BTreeSet<usize>> {
        let others: Vec<&ExprNode> = others.iter().map(|it| &it.node).collect();
        covers::covered_by(&self.node, &others)
    }

    /// The literals that it may come to, each with its place in the text.
    pub fn literals(&self) -> Vec<(Value, Range<usize>)> {
        let mut found = Vec::new();
        names::alternatives(&self.node, &self.text, &mut found);
        found
    }

    /// Literals that it may come to and that are no level, for places that take one.
    pub fn bad_levels(&self) -> Vec<ExprProblem> {
        let mut found = Vec::new();
        names::alternatives(&self.node, &self.text, &mut found);
        found.iter().filter_map(|(it, span)| names::bad_level(it, span)).collect()
    }

    /// How values are put together, where it is an aggregate; [`Expr::eval`] gives the value of one
    /// event.
    pub fn aggregate(&self) -> Option<Aggregate> {
        match &self.node {
            ExprNode::Call(Function::Aggregate(aggregate), ..) => Some(*aggregate),
            _ => None,
        }
    }

    /// The path, when the expression is nothing but `root.a.b`, or that with a literal default
    /// behind `??`.
    pub fn plain_path(&self) -> Option<(Root, Vec<String>)> {
        self.node.plain_path()
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What an expression reads. Everything that is not set reads as null.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// What `now()` says.
    pub now: Timestamp,
    /// `event`.
    pub event: Option<&'a Event>,
    /// `data`.
    pub data: Option<&'a Value>,
    /// `raw`.
    pub raw: Option<&'a Value>,
    /// `enrich`.
    pub enrich: Option<&'a Additions>,
    /// `param`.
    pub param: Option<&'a Value>,
    /// `server`.
    pub server: Option<&'a Value>,
    /// `pipeline`.
    pub pipeline: Option<&'a Value>,
    /// `http`.
    pub http: Option<&'a Value>,
    /// `file`.
    pub file: Option<&'a Value>,
    /// `mqtt`.
    pub mqtt: Option<&'a Value>,
    /// `item`.
    pub item: Option<&'a Value>,
    /// `body`.
    pub body: Option<&'a Value>,
    /// `status`.
    pub status: Option<u16>,
    /// `headers`.
    pub headers: Option<&'a Value>,
    /// `title`.
    pub title: Option<&'a str>,
    /// `message`.
    pub message: Option<&'a str>,
    /// `group`.
    pub group: Option<&'a Value>,
    /// `told`.
    pub told: Option<&'a Value>,
    /// `update`.
    pub update: Option<&'a Value>,
    /// What a window made of its events, by name.
    pub aggregated: Option<&'a Value>,
    /// For `random.…` and `uuid()`.
    pub random: Option<&'a Random>,
    /// The time zone used in templates; UTC when there is none.
    pub zone: Option<&'a jiff::tz::TimeZone>,
    /// What goes through lists here; nothing where an evaluation begins.
    pub loops: EvalState<'a>,
}

/// What the evaluation that a scope is for has done and is in the middle of.
#[derive(Clone, Copy, Default)]
pub struct EvalState<'a> {
    /// What the variables of macros hold.
    items: [Option<&'a Value>; LOOPS_MAX],
    work: Option<&'a Work>,
}

/// What an evaluation has done so far. Atomic, since a scope may be held while its task moves to
/// another thread.
#[derive(Debug, Default)]
struct Work {
    steps: AtomicU32,
    /// Whether it met a limit.
    is_exceeded: AtomicBool,
}

/// When the last report of too much work was written, in seconds.
static REPORTED: AtomicI64 = AtomicI64::new(i64::MIN);

impl Work {
    fn is_exceeded(&self) -> bool {
        self.is_exceeded.load(Ordering::Relaxed)
    }

    /// Says so in the log, at most once a minute: every event may meet the same limit.
    fn report(&self, text: &str, now: Timestamp) {
        let seconds = now.0 / 1_000_000;
        if !self.is_exceeded() {
            return;
        }
        let last = REPORTED.load(Ordering::Relaxed);
        if last.saturating_add(60) <= seconds || seconds < last {
            REPORTED.store(seconds, Ordering::Relaxed);
            tracing::warn!(
                code = TOO_MUCH_WORK,
                expression = text,
                "an expression goes through more than {ITEMS_MAX} items or {STEPS_MAX} steps; \
                 it is null"
            );
        }
    }
}

impl<'a> Scope<'a> {
    /// The time, and what is the same for every event of a pipeline.
    pub fn at(now: Timestamp, globals: &'a Globals) -> Self {
        Scope {
            param: Some(&globals.param),
            server: Some(&globals.server),
            pipeline: Some(&globals.pipeline),
            zone: globals.zone.as_ref(),
            ..Scope::without_pipeline(now)
        }
    }

    /// Nothing but the time, for what belongs to no pipeline: the zone is UTC. Whatever a file says
    /// is evaluated with [`Scope::at`] or [`Scope::of`], or it would be in another zone.
    pub fn without_pipeline(now: Timestamp) -> Self {
        Scope {
            now,
            event: None,
            data: None,
            raw: None,
            enrich: None,
            param: None,
            server: None,
            pipeline: None,
            http: None,
            file: None,
            mqtt: None,
            item: None,
            body: None,
            status: None,
            headers: None,
            title: None,
            message: None,
            group: None,
            told: None,
            update: None,
            aggregated: None,
            random: None,
            zone: None,
            loops: EvalState::default(),
        }
    }

    /// An event with its payload, its additions, and what it reads besides.
    pub fn of(event: &'a Event, now: Timestamp) -> Self {
        Scope {
            event: Some(event),
            data: Some(&event.data),
            raw: event.raw.as_deref(),
            enrich: Some(&event.enrich),
            ..Scope::at(now, &event.globals)
        }
    }

    /// Takes steps from what the evaluation may still do; false when there are not so many left.
    fn spend(&self, steps: u32) -> bool {
        let Some(work) = self.loops.work else { return true };
        let done = work.steps.load(Ordering::Relaxed).saturating_add(steps);
        work.steps.store(done, Ordering::Relaxed);
        if STEPS_MAX < done {
            self.exceed();
            return false;
        }
        true
    }

    /// Notes that a limit was met.
    fn exceed(&self) {
        if let Some(work) = self.loops.work {
            work.is_exceeded.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod against_cel;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod tests;
