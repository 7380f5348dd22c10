//! KDL to [`PipelineTest`]s. The table has checked words and types; names, samples and steps that say two
//! things at once are reported here.

use super::{
    ExpectedSubject, InputContent, MockAnswer, PipelineTest, StageMock, TestAction,
    TestExpectation, TestInput, TestStep,
};
use crate::files::based;
use crate::grammar;
use crate::include::SourceMap;
use crate::plan::names::unknown;
use crate::spec::{Name, Spec};
use kdl::KdlDocument;
use kernel::event::Outcome;
use kernel::time::Timestamp;
use language::diagnostic::{Diagnostic, Rule};
use language::expr::Roots;
use language::spanned::{Span, Spanned};
use language::{Context, Fields, Scalar, nearest};
use stages::catalog::Catalog;
use stages::contract::SinkRole;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads the `test` nodes of a pipeline's documents.
pub fn read(
    documents: &[&KdlDocument],
    spec: &Spec,
    texts: &SourceMap,
    catalog: &Catalog,
    context: &mut Context<'_>,
) -> Vec<PipelineTest> {
    let text = texts.main().text.clone();
    let mut read = CaseReader { spec, texts, text, context };
    let nodes = documents.iter().flat_map(|document| document.nodes());
    let nodes = nodes.filter(|node| node.name().value() == "test");
    let mut tests: Vec<PipelineTest> = Vec::new();
    for node in nodes {
        let folder = texts.home(node.span().offset()).folder;
        let fields = Fields::top(node, grammar::TEST_FILE, catalog, folder).expect("a test");
        let Some(test) = read.test(&fields) else { continue };
        if let Some(earlier) = tests.iter().find(|it| it.name == test.name) {
            let (again, first) = (test.name.span.clone(), earlier.name.span.clone());
            read.report(Rule::DuplicateName, "two tests have the same name", again, "again")
                .at(first, "first, here")
                .help("rename one of them");
        }
        tests.push(test);
    }
    tests
}

struct CaseReader<'a, 'c> {
    spec: &'a Spec,
    texts: &'a SourceMap,
    text: String,
    context: &'a mut Context<'c>,
}

/// What may be asked of each thing.
fn asked_of(word: &str) -> &'static [&'static str] {
    match word {
        "stage" => &["count", "dropped", "outcome", "attempts", "contains", "where"],
        "sink" | "event" => &["count", "contains", "where"],
        "notify" => &["count", "dropped", "title", "contains", "where"],
        _ => &["contains"],
    }
}

const SUBJECTS: &[&str] = &["stage", "sink", "notify", "event", "dead-letter", "status"];

impl CaseReader<'_, '_> {
    fn report(
        &mut self,
        rule: Rule,
        message: impl Into<String>,
        span: Span,
        label: &str,
    ) -> &mut Diagnostic {
        self.context.diagnostics.push(rule, message).at(span, label)
    }

    fn test(&mut self, fields: &Fields<'_>) -> Option<PipelineTest> {
        let at = fields.setting("at").arg(0, |scalar| Timestamp::parse(&scalar.text()?.value));
        let variables = fields.child("env").map(|child| {
            let value =
                |(name, child): (&str, Scalar<'_>)| Some((name.to_owned(), child.text()?.value));
            child.props().filter_map(value).collect::<BTreeMap<_, _>>()
        });
        let mut steps = Vec::new();
        for step in fields.block() {
            let what = match step.name().value {
                "mock" => self.mock(&step).map(TestAction::Mock),
                "given" => self.given(&step).map(|it| TestAction::Give(vec![it])),
                "replay" => self.replay(&step).map(TestAction::Give),
                "advance" => {
                    step.arg(0).and_then(|arg| Some(TestAction::Advance(arg.duration()?.value)))
                }
                "expect" => self.expect(&step).map(TestAction::Expect),
                _ => None,
            };
            steps.extend(what.map(|what| TestStep { span: step.head(), what }));
        }
        let name = fields.arg(0)?.text()?;
        let variables = variables.unwrap_or_default();
        Some(PipelineTest { name, at, variables, steps })
    }

    /// The name, when one of `known` has it.
    fn known(&mut self, name: &Name, rule: Rule, known: &[&str], what: &str) -> Option<Arc<str>> {
        if known.contains(&name.value.as_str()) {
            return Some(name.value.as_str().into());
        }
        if let Some((other, help)) = self.other_role(&name.value) {
            let message = format!("`{}` is a {other}", name.value);
            let found = self.context.diagnostics.push(rule, message);
            found.at(name.span.clone(), format!("not one of the {what}")).help(help);
            return None;
        }
        let message = format!("the test uses `{}`, which does not exist", name.value);
        unknown(self.context.diagnostics, rule, message, name, known, &self.text, what);
        None
    }

    /// What else a name is, and how a test speaks of that.
    fn other_role(&self, name: &str) -> Option<(&'static str, String)> {
        let spec = self.spec;
        let is = |it: &Name| it.value == name;
        if spec.sources.iter().any(|source| is(&source.name)) {
            let help = format!(
                "`given source={name}` sends it a message; check the result of the event, such as \
                 `expect sink=NAME count=1`"
            );
            return Some(("source", help));
        }
        let role = if spec.sinks.iter().any(|sink| is(&sink.name)) {
            ("sink", "sink")
        } else if spec.notifiers.iter().any(|notifier| is(&notifier.name)) {
            ("notifier", "notify")
        } else if spec.filters.iter().any(|filter| is(&filter.name)) {
            ("filter", "stage")
        } else if spec.enrichments.iter().any(|enrichment| is(&enrichment.name)) {
            ("stage", "stage")
        } else {
            return None;
        };
        Some((role.0, format!("write `expect {}={name}`", role.1)))
    }

    fn source(&mut self, fields: &Fields<'_>) -> Option<Arc<str>> {
        let name = fields.prop("source")?.text()?;
        let known: Vec<&str> =
            self.spec.sources.iter().map(|source| source.name.value.as_str()).collect();
        self.known(&name, Rule::UnknownStage, &known, "sources")
    }

    fn stage(&mut self, name: &Name) -> Option<Arc<str>> {
        let filters = self.spec.filters.iter().map(|filter| filter.name.value.as_str());
        let stages = self.spec.enrichments.iter().map(|enrichment| enrichment.name.value.as_str());
        let known: Vec<&str> = filters.chain(stages).collect();
        self.known(name, Rule::UnknownStage, &known, "filters and stages")
    }

    fn enrichment(&mut self, name: &Name) -> Option<Arc<str>> {
        let known: Vec<&str> =
            self.spec.enrichments.iter().map(|enrichment| enrichment.name.value.as_str()).collect();
        self.known(name, Rule::UnknownStage, &known, "stages")
    }

    fn sink(&mut self, name: &Name) -> Option<Arc<str>> {
        let known: Vec<&str> =
            self.spec.sinks.iter().map(|sink| sink.name.value.as_str()).collect();
        self.known(name, Rule::UnknownTarget, &known, "sinks")
    }

    fn notifier(&mut self, name: &Name) -> Option<Arc<str>> {
        let known: Vec<&str> =
            self.spec.notifiers.iter().map(|notifier| notifier.name.value.as_str()).collect();
        self.known(name, Rule::UnknownTarget, &known, "notifiers")
    }

    /// Whether a stage, sink or notifier of this name reaches the outside.
    fn asks(&self, name: &str) -> bool {
        let stage = self.spec.enrichments.iter().find(|enrichment| enrichment.name.value == name);
        let sink = self.spec.sinks.iter().find(|sink| sink.name.value == name);
        stage.is_none_or(|stage| stage.spec.is_remote())
            && sink.is_none_or(|sink| matches!(sink.spec.shape(), SinkRole::Outside))
    }

    fn mock(&mut self, fields: &Fields<'_>) -> Option<StageMock> {
        let (role, name) = (fields.arg(0)?.text()?, fields.arg(1)?.text()?);
        let stage = match role.value.as_str() {
            "enrich" => self.enrichment(&name),
            "sink" => self.sink(&name),
            "notify" => self.notifier(&name),
            _ => None,
        };
        if stage.is_some() && !self.asks(&name.value) {
            let message = format!("`{}` never calls an outside service", name.value);
            self.report(Rule::UnclearStep, message, name.span.clone(), "never called")
                .help("delete this `mock`");
        }
        let status = fields.prop("status").and_then(|prop| prop.int());
        let body = fields.prop("body").and_then(|prop| prop.text());
        let error = fields.prop("error").and_then(|prop| prop.text());
        if let Some(error) = &error
            && (status.is_some() || body.is_some())
        {
            let message = "a mock returns a response or an error, not both";
            self.report(
                Rule::UnclearStep,
                message,
                error.span.clone(),
                "with an error there is no response",
            )
            .help("delete `error=`, or `status=` and `body=`");
        }
        let answer = match error.as_ref().map(|error| error.value.as_str()) {
            Some("timeout") => MockAnswer::Timeout,
            Some("connect") => MockAnswer::Connect,
            Some(_) => MockAnswer::Permanent,
            None => MockAnswer::Response {
                status: status.and_then(|status| u16::try_from(status.value).ok()).unwrap_or(200),
                body: body.map(|body| body.value).unwrap_or_default(),
            },
        };
        let times = fields.prop("times").and_then(|prop| prop.int());
        Some(StageMock {
            stage: stage?,
            answer,
            delay: fields
                .prop("delay")
                .and_then(|prop| prop.duration())
                .map_or(std::time::Duration::ZERO, |duration| duration.value),
            times: times.map(|time| time.value.unsigned_abs()),
        })
    }

    fn given(&mut self, fields: &Fields<'_>) -> Option<TestInput> {
        let source = self.source(fields);
        let is_message = fields.child("data").is_none();
        let topic = source.as_ref().and_then(|it| self.topic(fields, it, is_message));
        let kind = fields.prop("type").and_then(|prop| prop.text());
        let text = |name: &str| fields.child(name).and_then(|child| child.arg(0)?.text());
        let (body, data, query) = (text("body"), text("data"), text("query"));
        let file = fields.prop("file").and_then(|prop| prop.text());
        let count = [&body, &data, &file, &query].iter().filter(|it| it.is_some()).count();
        // One that cannot be read was told.
        let is_told = ["body", "data", "query"].iter().any(|name| fields.child(name).is_some());
        if count == 0 && is_told {
            return None;
        }
        if count != 1 {
            let message = if count == 0 {
                "`given` has no message"
            } else {
                "`given` has more than one message"
            };
            self.report(Rule::UnclearStep, message, fields.head(), "give exactly one message")
                .help("write one of `file=\"sample.json\"`, `body #\"{ … }\"#` and, with `type=`, `data #\"{ … }\"#`");
            return None;
        }
        let map = source.as_ref().and_then(|name| {
            let node = self.spec.sources.iter().find(|source| source.name.value == **name)?;
            Some(&node.map)
        });
        let is_behind_map = map.is_some_and(|map| map.data.is_some());
        let content = match (body, data, file) {
            _ if query.is_some() => InputContent::Query(query?.value),
            (Some(body), ..) => InputContent::Message(body.value.into_bytes().into()),
            (_, Some(data), _) => {
                if is_behind_map && kind.is_none() {
                    let message = "`data` alone has no type";
                    self.report(Rule::UnclearStep, message, fields.head(), "which event type?")
                        .help("add `type=`, or give the whole message as `body`");
                }
                let is_message = !is_behind_map;
                let message = || InputContent::Message(data.value.clone().into_bytes().into());
                if is_message { message() } else { InputContent::Data(data.value.clone()) }
            }
            (_, _, file) => InputContent::Message(self.file(&file?)?.trim_end().as_bytes().into()),
        };
        let header = |fields: Fields<'_>| {
            Some((fields.arg(0)?.text()?.value.to_ascii_lowercase(), fields.arg(1)?.text()?.value))
        };
        let headers = fields.children("header").filter_map(header).collect();
        Some(TestInput {
            source: source?,
            kind: kind.map(|kind| kind.value),
            content,
            topic,
            headers,
            is_authenticated: is_authenticated(fields),
        })
    }

    /// The topic that messages for this source come on; reports one that nothing comes on.
    fn topic(&mut self, fields: &Fields<'_>, source: &str, is_message: bool) -> Option<String> {
        let node = self.spec.sources.iter().find(|it| it.name.value == source)?;
        let scalar = fields.prop("topic");
        let topic = scalar.and_then(|scalar| scalar.text());
        let given = topic.as_ref().map(|topic| topic.value.as_str());
        let span = topic.as_ref().map_or_else(|| fields.head(), |topic| topic.span.clone());
        match node.spec.on_topic(given, b"") {
            Some(Err(reason)) if is_message || given.is_some() => {
                let help =
                    "write `topic=\"…\"` with a topic that one of the source's `topic` matches";
                self.report(Rule::UnclearStep, reason, span, "nothing arrives here").help(help);
            }
            None if given.is_some() => {
                let message = format!("messages of `{source}` have no topic");
                self.report(Rule::UnclearStep, message, span, "has no effect here")
                    .help("remove it");
            }
            _ => {}
        }
        topic.map(|topic| topic.value)
    }

    fn replay(&mut self, fields: &Fields<'_>) -> Option<Vec<TestInput>> {
        let source = self.source(fields);
        let text = self.file(&fields.prop("file")?.text()?)?;
        let source = source?;
        let node = self.spec.sources.iter().find(|it| it.name.value == *source)?;
        let messages = node.spec.messages(&text);
        let topic = self.topic(fields, &source, true);
        let is_authenticated = is_authenticated(fields);
        let given = |message: &str| TestInput {
            source: source.clone(),
            kind: None,
            content: InputContent::Message(message.as_bytes().into()),
            topic: topic.clone(),
            headers: Vec::new(),
            is_authenticated,
        };
        Some(messages.into_iter().map(given).collect())
    }

    /// The text of a sample, its path relative to the file that names it.
    fn file(&mut self, path: &Spanned<String>) -> Option<String> {
        let home = self.texts.home(path.span.start);
        let from_pipeline = based(home.prefix, &path.value);
        match self.context.files.read(&from_pipeline) {
            Ok(source) => Some(source.text.clone()),
            Err(why) => {
                let name = path.value.rsplit('/').next().unwrap_or_default().to_owned();
                let neighbours = self.context.files.neighbours(&from_pipeline);
                let near = nearest(&name, neighbours.iter().map(String::as_str));
                let near = near.filter(|_| why.is_missing);
                let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                let message = format!("cannot read the sample: {}", why.reason);
                let rule = why.rule(Rule::BadSample);
                self.report(rule, message, path.span.clone(), "looked for here")
                    .help(format!("paths are relative to this file{near}"));
                None
            }
        }
    }

    fn expect(&mut self, fields: &Fields<'_>) -> Option<TestExpectation> {
        let named: Vec<(&str, Scalar<'_>)> =
            fields.props().filter(|prop| SUBJECTS.contains(&prop.0)).collect();
        let [(word, subject)] = &named[..] else {
            let (message, label) = if named.is_empty() {
                ("this `expect` checks nothing", "says nothing about a result")
            } else {
                ("this `expect` checks two things at once", "keep one of them")
            };
            self.report(Rule::UnclearStep, message, fields.head(), label).help(
                "name one of `stage=`, `sink=`, `notify=`, `event=`, `dead-letter=` and `status=`",
            );
            return None;
        };
        let allowed = asked_of(word);
        // What `expect` does not have at all was reported before.
        let is_known =
            |name: &str| SUBJECTS.iter().any(|subject| asked_of(subject).contains(&name));
        for (name, it) in fields.props().filter(|prop| !SUBJECTS.contains(&prop.0)) {
            if !allowed.contains(&name) && is_known(name) {
                let message = format!("`{name}` cannot be checked with `{word}=`");
                let list: Vec<String> = allowed.iter().map(|it| format!("`{it}=`")).collect();
                self.report(Rule::UnclearStep, message, it.span(), "has no effect here")
                    .help(format!("`{word}=` can be combined with {}", list.join(", ")));
            }
        }
        let subject = self.subject(word, subject)?;
        let number = |name: &str| Some(fields.prop(name)?.int()?.value.unsigned_abs());
        let text = |name: &str| Some(fields.prop(name)?.text()?.value);
        let outcome = text("outcome");
        Some(TestExpectation {
            subject,
            count: number("count"),
            dropped: number("dropped"),
            outcome: outcome
                .and_then(|outcome| Outcome::ALL.into_iter().find(|o| o.word() == outcome)),
            attempts: number("attempts"),
            title: text("title"),
            contains: text("contains"),
            condition: fields.prop("where").and_then(|prop| Some(prop.expr(Roots::EVENT)?.value)),
        })
    }

    fn subject(&mut self, word: &str, value: &Scalar<'_>) -> Option<ExpectedSubject> {
        Some(match word {
            "dead-letter" => ExpectedSubject::DeadLetter(value.int()?.value.unsigned_abs()),
            "status" => ExpectedSubject::Status(u16::try_from(value.int()?.value).ok()?),
            "event" => ExpectedSubject::Event(value.text()?.value),
            "stage" => ExpectedSubject::Stage(self.stage(&value.text()?)?),
            "sink" => ExpectedSubject::Sink(self.sink(&value.text()?)?),
            _ => ExpectedSubject::Notify(self.notifier(&value.text()?)?),
        })
    }
}

/// Whether a message says that its sender has the credential that the source asks for.
fn is_authenticated(fields: &Fields<'_>) -> bool {
    fields.prop("authenticated").and_then(|prop| prop.boolean()) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar;

    #[test]
    fn an_outcome_can_be_expected_by_every_word_that_it_has() {
        assert_eq!(Outcome::ALL.map(Outcome::word), *grammar::OUTCOMES);
    }
}
