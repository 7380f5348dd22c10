//! The tests of a pipeline, as its files have them.

mod read;

pub use read::read;

use kernel::event::Outcome;
use kernel::time::Timestamp;
use language::expr::Expr;
use language::spanned::{Span, Spanned};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A test as the file has it. Its spans are those of the pipeline's long text.
#[derive(Debug, Clone)]
pub struct PipelineTest {
    /// What it promises.
    pub name: Spanned<String>,
    /// When it begins.
    pub at: Timestamp,
    /// Variables that are set.
    pub variables: BTreeMap<String, String>,
    /// In file order.
    pub steps: Vec<TestStep>,
}

/// One step of a test, and where it stands.
#[derive(Debug, Clone)]
pub struct TestStep {
    /// Its first line.
    pub span: Span,
    /// What it does.
    pub what: TestAction,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum TestAction {
    /// Answers for the outside from here on.
    Mock(StageMock),
    /// Messages arrive, one after the other.
    Give(Vec<TestInput>),
    /// Time passes.
    Advance(Duration),
    /// Something must have come out.
    Expect(TestExpectation),
}

/// An answer of the outside.
#[derive(Debug, Clone)]
pub struct StageMock {
    /// The stage, sink or notifier that asks.
    pub stage: Arc<str>,
    /// What it gets.
    pub answer: MockAnswer,
    /// How long that takes.
    pub delay: Duration,
    /// How often it answers; `None` is always.
    pub times: Option<u64>,
}

/// What a mock says.
#[derive(Debug, Clone)]
pub enum MockAnswer {
    /// An HTTP answer; a sink or notifier that speaks no HTTP takes a bad status as its fault.
    Response {
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// No answer in time.
    Timeout,
    /// No connection.
    Connect,
    /// A fault that another try does not mend.
    Permanent,
}

/// A message that arrives.
#[derive(Debug, Clone)]
pub struct TestInput {
    /// The source node.
    pub source: Arc<str>,
    /// The type, whatever `map` says.
    pub kind: Option<String>,
    /// What is given.
    pub content: InputContent,
    /// The topic that it comes on.
    pub topic: Option<String>,
    /// Headers of the request, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether its sender has the credential that the source asks for.
    pub is_authenticated: bool,
}

/// What is given.
#[derive(Debug, Clone)]
pub enum InputContent {
    /// The message as received: it passes the source's schema and map.
    Message(Arc<[u8]>),
    /// The query of a request without a body.
    Query(String),
    /// The event's data, behind a map that takes it out of the message: JSON text.
    Data(String),
}

/// An expected result.
#[derive(Debug, Clone)]
pub struct TestExpectation {
    /// What is looked at.
    pub subject: ExpectedSubject,
    /// How many fit; without any number, at least one.
    pub count: Option<u64>,
    /// How many were dropped there.
    pub dropped: Option<u64>,
    /// How the stage ended.
    pub outcome: Option<Outcome>,
    /// How often the stage was tried.
    pub attempts: Option<u64>,
    /// The exact headline.
    pub title: Option<String>,
    /// A part of the text.
    pub contains: Option<String>,
    /// What holds for the event.
    pub condition: Option<Expr>,
}

/// What an expectation looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedSubject {
    /// Events that this stage or filter worked on.
    Stage(Arc<str>),
    /// Events that went to this sink.
    Sink(Arc<str>),
    /// What this notifier told.
    Notify(Arc<str>),
    /// Stored events whose type fits.
    Event(String),
    /// Dead letters, so many.
    DeadLetter(u64),
    /// The answer to the last message.
    Status(u16),
}

impl ExpectedSubject {
    /// As the file writes it.
    pub fn written(&self) -> String {
        match self {
            ExpectedSubject::Stage(name) => format!("stage={name}"),
            ExpectedSubject::Sink(name) => format!("sink={name}"),
            ExpectedSubject::Notify(name) => format!("notify={name}"),
            ExpectedSubject::Event(kind) => format!("event={kind}"),
            ExpectedSubject::DeadLetter(count) => format!("dead-letter={count}"),
            ExpectedSubject::Status(status) => format!("status={status}"),
        }
    }

    /// The property that names it.
    pub fn word(&self) -> &'static str {
        match self {
            ExpectedSubject::Stage(_) => "stage",
            ExpectedSubject::Sink(_) => "sink",
            ExpectedSubject::Notify(_) => "notify",
            ExpectedSubject::Event(_) => "event",
            ExpectedSubject::DeadLetter(_) => "dead-letter",
            ExpectedSubject::Status(_) => "status",
        }
    }
}
