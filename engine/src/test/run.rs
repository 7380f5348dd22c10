//! One test: a world is opened, the steps happen in it, and it is closed again.

use super::coverage::Coverage;
use super::credentials;
use super::doors::{add_doors, door_of};
use super::outside::{Doors, MockWorld};
use super::seen::{Arrived, Commits, Ledger, TestRecord, Watch};
use super::{Suite, Variables, expect, timeline};
use crate::engine::{Engine, IngestResult, Outbox, Overloaded, ReceivedMessage};
use crate::http::auth::Tokens;
use crate::http::ingest::forms::{self, Messages};
use crate::http::ingest::{is_credential, items_status, without_tokens};
use crate::http::query;
use crate::intake::Rejection;
use crate::run::deliver::DeliveryWorker;
use crate::run::open::OpenedSource;
use crate::run::sources::{self, SourceEmitter};
use crate::run::{self, GenerationTag, OpenContext, Outside};
use crate::simulate::Simulation;
use compiler::cases::{InputContent, PipelineTest, TestAction, TestInput};
use compiler::plan::Plan;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::diagnostic::{Diagnostic, Diagnostics, Rule};
use language::spanned::Span;
use serde_json::{Value, json};
use stages::catalog::Catalog;
use stages::contract::{BodyForm, HttpRoute, Programs};
use stages::signature::Signed;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{
    self, Delivery, LetterFilter, LetterOrder, RetentionPolicy, Settings, Store, Synchronous,
};

/// The dice of every test fall alike.
const SEED: u64 = 1;
/// What is under way when a test ends is given this much time to end.
const AFTERWARDS: Duration = Duration::from_secs(366 * 86_400);
/// Times to look again that a timeline shows.
const TIMERS_MAX: usize = 10;
/// Dead letters that a test looks at.
const LETTERS_MAX: usize = 1000;

/// How a test ended.
#[derive(Debug, Clone)]
pub struct TestVerdict {
    /// Why it failed; nothing when it did not.
    pub failed: Option<TestFailure>,
    /// What happened, for people.
    pub timeline: String,
}

/// Why a test failed.
#[derive(Debug, Clone)]
pub struct TestFailure {
    /// Each at its place in the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Runs one test; what it exercises is added to `coverage`.
pub fn run(
    suite: &mut Suite,
    test: &PipelineTest,
    catalog: &Catalog,
    coverage: &mut Coverage,
) -> TestVerdict {
    let (plan, variables) = match suite.plan(test, catalog) {
        Ok(it) => it,
        Err(diagnostics) => {
            return TestVerdict {
                failed: Some(TestFailure { diagnostics }),
                timeline: String::new(),
            };
        }
    };
    let mut found = Diagnostics::new(suite.texts.whole());
    let mut shown = String::new();
    match CaseTrial::open(plan, variables, test) {
        Ok(trial) => {
            trial.play(test, &mut found);
            let seen = trial.seen();
            coverage.add(&trial.probe.noted().exercised);
            coverage.add_deliveries(&seen);
            shown = timeline::of(&seen, test.at);
            drop(seen);
            trial.close();
        }
        Err(fault) => {
            found
                .push(Rule::TestNotRun, format!("this test cannot run: {}", fault.reason))
                .at(test.name.span.clone(), "not run")
                .help("a test sees only the variables of its `env`");
        }
    }
    let diagnostics: Vec<Diagnostic> =
        found.sorted().into_iter().map(|it| suite.texts.placed(it)).collect();
    let failed = (!diagnostics.is_empty()).then_some(TestFailure { diagnostics });
    TestVerdict { failed, timeline: shown }
}

/// Every message that arrived, in order.
struct Arrivals {
    probe: Arc<Watch>,
    list: Mutex<Arc<Vec<Arrived>>>,
}

impl Arrivals {
    fn list(&self) -> MutexGuard<'_, Arc<Vec<Arrived>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how each event of a message was answered.
    fn note(&self, source: &Arc<str>, message: AnsweredMessage) {
        let AnsweredMessage { is_given, at, status, answers } = message;
        let mut list = self.list();
        let number = list.last().map_or(0, |it| it.number + 1);
        let list = Arc::get_mut(&mut list).expect("nobody looks while a message arrives");
        for answer in answers {
            let mut noted = self.probe.noted();
            let result = answer.as_ref().ok().and_then(Option::as_ref);
            let event = result.and_then(|result| noted.take_event(result));
            if let Some(event) = &event {
                let stopped_by = match result {
                    Some(IngestResult::Discarded { name, .. }) => Some(&**name),
                    Some(IngestResult::Refused(it)) => Some(&*it.stage),
                    _ => None,
                };
                let plan = self.probe.plan();
                super::coverage::judged(plan, event, stopped_by, &mut noted.exercised);
            }
            let source = source.clone();
            list.push(Arrived { is_given, at, source, answer, status, number, event });
        }
    }
}

/// A message, and how each of its events was answered.
struct AnsweredMessage {
    /// Whether a step of the test gave it.
    is_given: bool,
    at: Timestamp,
    /// The status of the whole answer, where the message may be several events.
    status: Option<u16>,
    /// Nothing in place of an answer where the message was no events at all.
    answers: Vec<Result<Option<IngestResult>, Overloaded>>,
}

/// Starts a source that reads nothing but the clock.
fn start_source(engine: &Arc<Engine>, opened: OpenedSource, arrivals: &Arc<Arrivals>) {
    let OpenedSource { name, mut source, .. } = opened;
    let (clock, arrivals, from) = (engine.env.clock.clone(), arrivals.clone(), name.clone());
    let observer = move |answers: Vec<IngestResult>| {
        let answers = answers.into_iter().map(|answer| Ok(Some(answer))).collect();
        let at = clock.wall();
        arrivals.note(&from, AnsweredMessage { is_given: false, at, status: None, answers });
    };
    let emitter = SourceEmitter::new(engine.clone(), name.clone(), Arc::default());
    let emitter = emitter.observed(Arc::new(observer));
    engine.spawn(async move {
        if let Err(fault) = source.run(&emitter).await {
            tracing::error!(source = %name, reason = %fault.reason, "a source of a test ended");
        }
    });
}

/// A pipeline in a world of its own.
struct CaseTrial {
    simulation: Simulation,
    world: Arc<MockWorld>,
    engine: Arc<Engine>,
    store: Store,
    stored: Arc<Commits>,
    probe: Arc<Watch>,
    arrivals: Arc<Arrivals>,
    tokens: Tokens,
}

impl CaseTrial {
    fn open(
        mut plan: Plan,
        variables: Arc<Variables>,
        test: &PipelineTest,
    ) -> Result<CaseTrial, Fault> {
        let simulation = Simulation::new(test.at, SEED);
        let env = simulation.env.clone();
        add_doors(&mut plan, test);
        let tokens = credentials::tokens_of(&plan, &*variables);
        let remote = plan.stages.iter().filter(|stage| stage.spec.is_remote());
        let world =
            MockWorld::new(env.clock.clone(), remote.map(|remote| remote.name.clone()).collect());
        let (stored, outbox) = (Arc::<Commits>::default(), Arc::<Outbox>::default());
        let ledger =
            Ledger { clock: env.clock.clone(), stored: stored.clone(), outbox: outbox.clone() };
        let policy = RetentionPolicy { outbox: plan.outbox(), ..RetentionPolicy::default() };
        let opened = store::open(settings(&plan), policy, env.clone(), Box::new(ledger));
        let (store, writer) = opened.map_err(|fault| Fault::permanent(fault.to_string()))?;
        simulation.executor.spawn(writer.run_as_task()).detach();
        let outside = Doors(world.clone());
        let context = OpenContext {
            env: env.clone(),
            environment: variables,
            fetch: outside.fetch(&"".into()),
            demo: None,
            programs: Programs::Mocked,
            outside: Some(Arc::new(outside)),
        };
        let tag = GenerationTag { number: 1, hash: String::new() };
        let open = async move { run::open(plan, tag, &context, None).await };
        let opened = simulation
            .complete(open)
            .unwrap_or_else(|| Err(Fault::permanent("opening the stages takes time")))?;
        let generation = Arc::new(opened.generation);
        let sources = opened.sources;
        let engine = Engine::new(
            env.clone(),
            store.clone(),
            simulation.executor.clone(),
            outbox,
            generation.clone(),
        );
        let probe = Watch::new(generation.clone(), env.clock);
        engine.observe(probe.clone());
        let arrivals = Arc::new(Arrivals { probe: probe.clone(), list: Mutex::default() });
        let (remembering, remember) = (store.clone(), generation.remember());
        simulation.complete(async move { remembering.submit(vec![remember]).await });
        engine.keep_running("reading the inbox", Engine::drain_inbox);
        engine.keep_running("waking what remembers", Engine::wake_memories);
        for target in generation.targets.values() {
            let worker = DeliveryWorker::new(engine.clone(), target.clone());
            let running = engine.clone();
            engine.spawn(async move { worker.run_until(running.when_stopped()).await });
        }
        sources.into_iter().for_each(|it| start_source(&engine, it, &arrivals));
        simulation.settle();
        Ok(CaseTrial { simulation, world, engine, store, stored, probe, arrivals, tokens })
    }

    fn play(&self, test: &PipelineTest, found: &mut Diagnostics) {
        let mut row: HashSet<&Arc<str>> = HashSet::new();
        let mut number = 0;
        for step in &test.steps {
            if let TestAction::Mock(mock) = &step.what {
                self.world.mock(mock, row.insert(&mock.stage));
                continue;
            }
            row.clear();
            match &step.what {
                TestAction::Mock(_) => {}
                TestAction::Give(messages) => {
                    let is_off = self.note_off(messages, &step.span, found);
                    self.note_unasked(messages, &step.span, found);
                    for given in messages {
                        if !is_off {
                            self.give(given, &door_of(given, number));
                        }
                        number += 1;
                    }
                }
                TestAction::Advance(duration) => self.simulation.advance(*duration),
                TestAction::Expect(it) => {
                    if let Some(miss) = expect::miss(it, &self.seen()) {
                        let failed = found.push(Rule::FailedExpectation, miss.message);
                        failed.at(step.span.clone(), miss.label);
                        if !miss.help.is_empty() {
                            failed.help(miss.help);
                        }
                    }
                }
            }
            self.note_unanswered(&step.span, found);
        }
    }

    /// A source that is off takes nothing; a message for it is a slip of the test.
    fn note_off(&self, messages: &[TestInput], place: &Span, found: &mut Diagnostics) -> bool {
        let generation = self.engine.generation();
        let Some(first) = messages.first() else { return false };
        let source = generation.plan.sources.iter().find(|source| source.name == first.source);
        let off = source.and_then(|source| source.off.as_ref());
        if let Some(off) = off {
            found
                .push(Rule::TestNotRun, format!("`{}` is off: {off}", first.source))
                .at(place.clone(), "nothing arrives here")
                .help("set the variable in this test: `env NAME=\"value\"`");
        }
        off.is_some()
    }

    /// A credential for a source that asks for none is a slip of the test.
    fn note_unasked(&self, messages: &[TestInput], place: &Span, found: &mut Diagnostics) {
        let generation = self.engine.generation();
        let Some(first) = messages.first().filter(|message| message.is_authenticated) else {
            return;
        };
        let source = generation.plan.sources.iter().position(|source| source.name == first.source);
        let route =
            generation.routes.iter().find(|route| Some(route.0) == source).map(|route| &route.1);
        let is_message = matches!(first.content, InputContent::Message(_));
        if !is_message || route.is_none_or(|route| !credentials::are_asked(route, &self.tokens)) {
            found
                .push(Rule::UnclearStep, "`authenticated` has no effect here")
                .at(place.clone(), "no credential is checked for this message")
                .help("remove it");
        }
    }

    fn note_unanswered(&self, place: &Span, found: &mut Diagnostics) {
        for name in self.world.take_unanswered() {
            found
                .push(Rule::NoMock, format!("`{name}` calls an outside service that has no mock"))
                .at(place.clone(), "called here")
                .help(format!("put `mock enrich {name} status=200 body=#\"{{ … }}\"#` before it"));
        }
    }

    /// One message, up to its answer and everything that takes no time behind it.
    fn give(&self, given: &TestInput, door: &str) {
        let plan = &self.engine.generation().plan;
        let source = plan.sources.iter().position(|source| source.name == given.source);
        let route = self.engine.generation();
        let route = route.routes.iter().find(|route| Some(route.0) == source).map(|route| &route.1);
        let headers: serde_json::Map<String, Value> = given
            .headers
            .iter()
            .map(|header| (header.0.clone(), Value::from(header.1.as_str())))
            .collect();
        let id = route
            .and_then(|route| route.idempotency_header.as_ref())
            .and_then(|it| headers.get(&it.to_ascii_lowercase())?.as_str())
            .map(str::to_owned);
        let query = match &given.content {
            InputContent::Query(text) => text.as_str(),
            _ => "",
        };
        let http = route.map(|route| {
            let method = route.methods.first().map_or("POST", String::as_str);
            let query = query_of(query);
            let mut headers = headers.clone();
            headers.retain(|name, _| !is_credential(&route.credentials, name));
            Arc::new(
                json!({ "headers": headers, "query": query, "method": method, "path": route.path }),
            )
        });
        let is_unheard = http.is_none();
        let is_message = !matches!(given.content, InputContent::Data(_));
        let at = self.simulation.env.clock.wall();
        let received = self.received(given, route, &headers);
        let (bytes, signed) = match received {
            Ok(received) => received,
            Err(refusal) => {
                let answers = vec![Ok(Some(IngestResult::Refused(refusal)))];
                let message = AnsweredMessage { is_given: true, at, status: None, answers };
                return self.arrivals.note(&given.source, message);
            }
        };
        let id = id.or(signed.id);
        // A source of texts decodes what it is given, as it reads it from its file.
        let is_text =
            is_message && source.is_some_and(|source| plan.sources[source].spec.is_text());
        let decoded = is_text.then(|| Value::from(String::from_utf8_lossy(&bytes)));
        let on_topic = source.filter(|_| is_message).and_then(|source| {
            let spec = &plan.sources[source].spec;
            // What nothing comes on was reported when the test was read.
            spec.on_topic(given.topic.as_deref(), &bytes)?.ok()
        });
        let one = || ReceivedMessage { bytes, http, id, decoded, ..ReceivedMessage::default() };
        let arrival = on_topic.map_or_else(one, sources::received);
        let (engine, door) = (self.engine.clone(), door.to_owned());
        let answer = self.simulation.complete(async move {
            engine.ingest(&door, vec![arrival], Vec::new(), is_unheard).await
        });
        let stuck = Overloaded { code: "store", reason: "the answer does not come".to_owned() };
        let answer = answer.unwrap_or(Err(stuck));
        let is_spread =
            is_message && source.is_some_and(|source| plan.sources[source].map.each.is_some());
        let own = route.and_then(|route| route.respond.status);
        let status = match (&answer, is_spread) {
            (Ok(answers), true) => items_status(answers),
            // As the file answers what it takes or drops.
            (Ok(answers), false) if answers.iter().all(IngestResult::is_good) => own,
            _ => None,
        };
        let answers = match answer {
            Err(unavailable) => vec![Err(unavailable)],
            Ok(answers) if answers.is_empty() => vec![Ok(None)],
            Ok(answers) => answers.into_iter().map(|answer| Ok(Some(answer))).collect(),
        };
        let message = AnsweredMessage { is_given: true, at, status, answers };
        self.arrivals.note(&given.source, message);
    }

    /// The message as the engine's server would hand it on, and what its signature proves.
    fn received(
        &self,
        given: &TestInput,
        route: Option<&HttpRoute>,
        headers: &serde_json::Map<String, Value>,
    ) -> Result<(Arc<[u8]>, Signed), Rejection> {
        let bytes: Arc<[u8]> = match &given.content {
            InputContent::Message(bytes) => bytes.clone(),
            InputContent::Query(_) => Arc::default(),
            InputContent::Data(text) => {
                let bytes = format!("{{\"data\":{text}}}").into_bytes().into();
                return Ok((bytes, Signed::default()));
            }
        };
        let Some(route) = route else { return Ok((bytes, Signed::default())) };
        let now = self.simulation.env.clock.wall();
        let signed = match given.is_authenticated {
            true => Some(Signed::default()),
            false => credentials::check(route, &self.tokens, headers, &bytes, now)?,
        };
        let kind = headers.get("content-type").and_then(Value::as_str).unwrap_or_default();
        let is_form = kind.starts_with("application/x-www-form-urlencoded");
        let message = match &given.content {
            InputContent::Query(query) => forms::query_message(query),
            _ if is_form && route.accepts.contains(&BodyForm::Form) => forms::form_message(&bytes),
            _ => Ok(bytes.to_vec()),
        };
        let message = message.map_err(|fault| credentials::refused(fault.status, fault.detail))?;
        let message = Messages::One(message);
        let message = without_tokens(&route.credentials, message, signed.is_some());
        match message.map_err(|fault| credentials::stranger(&fault))? {
            Messages::One(message) => Ok((message.into(), signed.unwrap_or_default())),
            Messages::Many(_) => unreachable!("one message stays one"),
        }
    }

    fn seen(&self) -> TestRecord {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seqs: Vec<u64> = stored.iter().map(|it| it.1.seq).collect();
        let store = self.store.clone();
        let read = self.simulation.complete(async move {
            store
                .read(move |reader| {
                    let oldest = LetterOrder::Oldest(0);
                    let deliveries: Result<Vec<Vec<Delivery>>, _> =
                        seqs.iter().map(|seq| reader.deliveries_of(*seq)).collect();
                    Ok((
                        deliveries?.concat(),
                        reader
                            .dead_letters(
                                &LetterFilter::default(),
                                oldest,
                                LETTERS_MAX,
                                usize::MAX,
                            )?
                            .letters,
                        reader.inbox(0, LETTERS_MAX)?.len(),
                        reader.timers(TIMERS_MAX)?,
                    ))
                })
                .await
        });
        let (deliveries, letters, pending, timers) =
            read.and_then(Result::ok).expect("a store in memory is read at once");
        TestRecord {
            now: self.simulation.env.clock.wall(),
            arrived: self.arrivals.list().clone(),
            stored,
            ended: self.probe.noted().ended.clone(),
            told: self.world.told(),
            deliveries,
            letters,
            pending: pending as u64,
            timers,
            generation: self.engine.generation(),
        }
    }

    /// Ends every task, so that nothing of the world is left.
    fn close(self) {
        self.engine.stop();
        let end = self.simulation.now() + AFTERWARDS;
        let engine = self.engine.clone();
        self.simulation.run_until(|| engine.running() == 0 || end < self.simulation.now());
        let store = self.store.clone();
        self.simulation.complete(async move { store.close().await });
    }
}

fn query_of(text: &str) -> serde_json::Map<String, Value> {
    let pairs = query::pairs(text).unwrap_or_default();
    pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        place: store::StoreLocation::Memory,
        synchronous: Synchronous::Full,
        batch: 1024,
        linger: Duration::ZERO,
        name: plan.store.as_ref().map_or("".into(), |store| store.0.clone()),
    }
}
