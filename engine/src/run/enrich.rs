//! The enrichment graph of one event: no tiers and no barriers, each stage starts the moment its
//! own dependencies have ended.
//!
//! The plan has the stages in an order in which each stands behind what it waits for, so one pass
//! over them runs every local stage that can run. Remote ones are asked side by side in one
//! future per event.

use super::attempt::{self, CallOutcome};
use super::memories::Notebook;
use super::relays;
use super::tap::TapSide;
use super::{Generation, PANICKED};
use super::{alerts, facts};
use crate::intake;
use crate::metrics::{self, Measurement, RunTally, StageRun};
use compiler::plan::{Plan, StagePlan};
use compiler::spec::{self, Manners, OnError, SilenceCause, SilenceNode};
use futures_util::stream::{FuturesUnordered, StreamExt};
use kernel::attempts::AttemptLog;
use kernel::env::{Clock, Env, Pending};
use kernel::event::{Event, Outcome, StageResult};
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::pattern::glob_fits;
use kernel::time::{Timestamp, write_duration};
use language::expr::Scope;
use serde_json::Value;
use smol::lock::Semaphore;
use stages::contract::{Addition, Enricher};
use stages::memory;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use store::{
    CooldownClaim, DeliveryTraits, FinishedEvent, NewDelivery, NoteRole, Noted, SilenceClaim,
};

/// Why a stage was skipped whose condition is not true.
pub const WHEN_IS_FALSE: &str = "`when` is not met";

/// The same, to be shared by the events that it is said of.
static WHEN_SAID: LazyLock<Arc<str>> = LazyLock::new(|| WHEN_IS_FALSE.into());

/// What the stages made of an event.
#[derive(Debug)]
pub enum Disposition {
    /// To be stored and sent on.
    Finished(RoutedEvent),
    /// Dropped, for this reason.
    Discarded(Event, Arc<str>),
    /// Set aside.
    Dead(Event, DeadEnd),
}

/// Why an event becomes a dead letter.
#[derive(Debug)]
pub struct DeadEnd {
    /// The stage that gave up.
    pub stage: Arc<str>,
    /// Its tries.
    pub attempts: u32,
    /// Whether another try may help.
    pub class: FaultClass,
    /// Why, in words.
    pub reason: String,
}

/// An event that has passed its stages, and where it goes.
#[derive(Debug)]
pub struct RoutedEvent {
    /// The event with everything that was added.
    pub event: Event,
    stages: Arc<[StageResult]>,
    targets: Arc<[Arc<str>]>,
    deliveries: Vec<NewDelivery>,
    silences: Vec<(Arc<str>, SilenceClaim)>,
    answers: Vec<(Arc<str>, String)>,
    /// What the file's own metrics count of it.
    pub measured: Vec<Measurement>,
}

impl RoutedEvent {
    /// What is stored of it.
    pub fn stored(self) -> FinishedEvent {
        let RoutedEvent { event, stages, targets, deliveries, silences, answers, .. } = self;
        FinishedEvent { event: event.into(), stages, targets, deliveries, silences, answers }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunState {
    Waiting,
    Asked,
    Succeeded,
    Ended,
}

/// An event between its stages.
pub struct EventRun {
    generation: Arc<Generation>,
    env: Env,
    /// Shared with the stages that are asked; what they add goes into a copy then.
    event: Arc<Event>,
    states: Vec<RunState>,
    results: Vec<Option<StageResult>>,
    /// Remote stages that may be asked now.
    ready: Vec<usize>,
    /// What remote stages answered before a crash, by name.
    known: BTreeMap<String, Value>,
    fate: Option<StageEnd>,
    /// The stage that ended last.
    last: usize,
    /// Stages that remember and wait for what is decided, with what they noted.
    noted: Vec<(usize, String, Noted)>,
    /// Whether it was decided.
    is_judged: bool,
}

/// The time of the local stages of one pass, in sequence: each begins where the one before
/// it has ended, so the clock is read once for each of them.
struct PassClock {
    clock: Arc<dyn Clock>,
    wall: Timestamp,
    monotonic: Duration,
}

impl PassClock {
    fn start(clock: Arc<dyn Clock>) -> Self {
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        PassClock { clock, wall, monotonic }
    }

    /// A stage has ended: when it began, and how many microseconds it took.
    fn lap(&mut self) -> (Timestamp, u64) {
        let now = self.clock.monotonic();
        let (started, took) = (self.wall, now - self.monotonic);
        self.wall = started.plus(took);
        self.monotonic = now;
        (started, took.as_micros() as u64)
    }
}

/// A remote stage whose answer is worth keeping.
pub struct KeptStage<'a> {
    /// The event.
    pub seq: u64,
    /// The generation that asked.
    pub generation: u64,
    /// The stage.
    pub name: &'a Arc<str>,
}

/// Keeps the answer of a remote stage.
pub type KeepResult<'a> = dyn Fn(&KeptStage<'_>, &Value) + Send + Sync + 'a;

enum StageEnd {
    Dropped(Arc<str>),
    Dead(DeadEnd),
}

impl EventRun {
    /// Runs every local stage that waits for no remote one.
    pub fn start(generation: Arc<Generation>, event: Event, env: Env) -> Self {
        EventRun::of(generation, event, env, BTreeMap::new(), false)
    }

    /// The same for an event that was under way when the engine ended: `known` is what remote
    /// stages had answered.
    pub fn resume(
        generation: Arc<Generation>,
        event: Event,
        env: Env,
        known: BTreeMap<String, Value>,
    ) -> Self {
        EventRun::of(generation, event, env, known, true)
    }

    fn of(
        generation: Arc<Generation>,
        event: Event,
        env: Env,
        known: BTreeMap<String, Value>,
        is_judged: bool,
    ) -> Self {
        let count = generation.plan.stages.len();
        let mut event_run = EventRun {
            generation,
            env,
            event: Arc::new(event),
            states: vec![RunState::Waiting; count],
            results: vec![None; count],
            ready: Vec::new(),
            known,
            fate: None,
            last: 0,
            noted: Vec::new(),
            is_judged,
        };
        event_run.put_tags();
        event_run.advance();
        event_run
    }

    /// Whether a remote stage is due, so that the event must be accepted before it goes on.
    pub fn is_remote(&self) -> bool {
        self.fate.is_none()
            && (!self.ready.is_empty() || !self.noted.is_empty() || self.waits_for_filters())
    }

    /// Whether a stage reads what filters decide with the event.
    fn waits_for_filters(&self) -> bool {
        let stages = self.generation.plan.stages.iter().zip(&self.states);
        !self.is_judged
            && stages
                .into_iter()
                .any(|(it, state)| it.waits_for_filters && *state == RunState::Waiting)
    }

    /// Adds what its stages noted, and what those see that look on; an event that was let go is
    /// seen by nobody.
    pub fn note(&self, notebook: &mut Notebook<'_>) {
        if self.fate.is_some() {
            return;
        }
        for (index, key, noted) in &self.noted {
            let name = &self.generation.plan.stages[*index].name;
            let memory = self.generation.memories.get(name).expect("it was opened");
            notebook.add(memory, key.clone(), noted.clone(), NoteRole::Adds);
        }
        notebook.add_watchers(&self.generation, self.env.clock.wall());
    }

    /// It was decided: this is what stages that remember add, and what filters say that would have
    /// let the event go.
    pub fn judged(&mut self, outputs: &[(Arc<str>, Arc<str>)]) {
        let parsed = outputs.iter().filter_map(|(name, text)| {
            Some((name.to_string(), serde_json::from_str::<Value>(text).ok()?))
        });
        self.known.extend(parsed);
        self.is_judged = true;
        self.put_tags();
        for (index, ..) in std::mem::take(&mut self.noted) {
            self.states[index] = RunState::Waiting;
        }
        self.advance();
    }

    /// What filters say goes under `enrich` at once.
    fn put_tags(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let generation = self.generation.clone();
        for filter in &generation.plan.filters {
            if let Some(tag) = self.known.remove(&filter.name.value) {
                let path = [spec::tag_of(&filter.name.value)];
                Arc::make_mut(&mut self.event).enrich.put(&path, tag);
            }
        }
    }

    /// The event as it is now.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The event was accepted under this number.
    pub fn accepted(&mut self, seq: u64) {
        let event = Arc::make_mut(&mut self.event);
        event.seq = seq;
        event.body = event.body.clone().claimed();
    }

    /// The same as numbers, to be counted.
    pub fn tally(&self) -> RunTally {
        let ended = self.results.iter().enumerate();
        let runs = ended.filter_map(|(stage, result)| {
            let result = result.as_ref()?;
            let (outcome, attempts, micros) = (result.outcome, result.attempts, result.micros);
            Some(StageRun { stage, outcome, attempts, micros })
        });
        RunTally {
            generation: self.generation.clone(),
            stages: runs.collect(),
            measured: Vec::new(),
        }
    }

    /// How the stages have ended so far.
    pub fn results(&self) -> impl Iterator<Item = &StageResult> {
        self.results.iter().flatten()
    }

    /// The stage that let the event go or set it aside, when one did.
    pub fn ended_by(&self) -> Option<&Arc<str>> {
        self.fate.as_ref().map(|_| &self.generation.plan.stages[self.last].name)
    }

    /// Asks what is remote, to the end or until the event's time is over.
    pub async fn run(&mut self, places: &Semaphore, keep: &KeepResult<'_>) {
        let limit = self.generation.plan.limits.event_timeout.value;
        let clock = self.env.clock.clone();
        let in_time = kernel::env::within(&*clock, limit, self.ask_all(places, keep)).await;
        if in_time.is_none() {
            self.time_out(limit);
        }
    }

    async fn ask_all(&mut self, places: &Semaphore, keep: &KeepResult<'_>) {
        let generation = self.generation.clone();
        let mut asked: FuturesUnordered<Pending<'_, (usize, CallOutcome)>> =
            FuturesUnordered::new();
        loop {
            for index in std::mem::take(&mut self.ready) {
                let plan = &generation.plan.stages[index];
                let stage =
                    generation.stages[index].clone().expect("a stage that is off is skipped");
                let (event, env) = (self.event.clone(), self.env.clone());
                asked.push(Box::pin(async move {
                    (index, attempt::ask(plan, stage, event, places, &env).await)
                }));
            }
            let Some((index, ended)) = asked.next().await else { return };
            let answer = match &ended.addition {
                Some(Addition::Value(value)) => Some(value.clone()),
                _ => None,
            };
            self.take(index, ended);
            if self.fate.is_some() {
                return;
            }
            self.advance();
            // The last answer goes into the commit that finishes the event.
            if let Some(answer) = answer.filter(|_| !asked.is_empty() || !self.ready.is_empty()) {
                let name = &generation.plan.stages[index].name;
                let number = generation.number;
                keep(&KeptStage { seq: self.event.seq, generation: number, name }, &answer);
            }
        }
    }

    /// What has not ended when the event's time is over is timed out, each stage by its own
    /// `on-error`.
    fn time_out(&mut self, limit: Duration) {
        let limit = write_duration(limit);
        let reason = format!("the event spent more than {limit} in its stages (`event-timeout`)");
        for index in 0..self.states.len() {
            if matches!(self.states[index], RunState::Waiting | RunState::Asked)
                && self.fate.is_none()
            {
                let ended = CallOutcome {
                    outcome: Outcome::TimedOut,
                    attempts: u32::from(self.states[index] == RunState::Asked),
                    started: self.env.clock.wall(),
                    micros: 0,
                    addition: None,
                    error: Some(Fault::transient(Cause::Timeout, reason.clone())),
                    attempt_log: AttemptLog::default(),
                };
                self.take(index, ended);
            }
        }
    }

    /// One pass: local stages run, remote ones become ready, what cannot run is skipped.
    fn advance(&mut self) {
        let generation = self.generation.clone();
        let mut clock = PassClock::start(self.env.clock.clone());
        for (index, plan) in generation.plan.stages.iter().enumerate() {
            if self.states[index] != RunState::Waiting || !self.is_free(plan) {
                continue;
            }
            // What it reads is decided with the event.
            if plan.waits_for_filters && !self.is_judged {
                continue;
            }
            if let Some(reason) = self.obstacle(&generation.plan, plan, clock.wall) {
                self.skip(index, plan, reason);
                continue;
            }
            let stage = generation.stages[index].as_ref().expect("a stage that is off is skipped");
            match &*stage.enricher {
                Enricher::Remote(_) => match self.known.remove(&*plan.name) {
                    Some(value) => self.take(index, self.remembered(Addition::Value(value))),
                    None => {
                        self.show(index, TapSide::In);
                        self.states[index] = RunState::Asked;
                        self.ready.push(index);
                    }
                },
                Enricher::Memory(_) => self.ask_memory(index, plan),
                Enricher::Local(local) => {
                    self.show(index, TapSide::In);
                    let event = &self.event;
                    let result = catch_unwind(AssertUnwindSafe(|| local.enrich(event)))
                        .unwrap_or_else(|_| Err(Fault::permanent(PANICKED)));
                    let (started, micros) = clock.lap();
                    self.take(index, CallOutcome::of_local(result, started, micros));
                    if self.fate.is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// A stage that remembers notes what it reads, and waits for what is decided.
    fn ask_memory(&mut self, index: usize, plan: &StagePlan) {
        if self.is_judged {
            let addition =
                self.known.remove(&*plan.name).map_or(Addition::Nothing, Addition::Value);
            return self.take(index, self.remembered(addition));
        }
        self.show(index, TapSide::In);
        let memory = self.generation.memories.get(&plan.name).expect("it was opened");
        match memory.read(&self.event, self.env.clock.wall()) {
            Some((key, noted)) => {
                self.states[index] = RunState::Asked;
                self.noted.push((index, key, noted));
            }
            // A null key: there is nothing to remember.
            None => self.take(index, self.remembered(Addition::Nothing)),
        }
    }

    /// What is known without a call.
    fn remembered(&self, addition: Addition) -> CallOutcome {
        CallOutcome::of_local(Ok(addition), self.event.envelope.received, 0)
    }

    /// Whether everything that a stage waits for has ended.
    fn is_free(&self, plan: &StagePlan) -> bool {
        let has_ended =
            |number: &usize| matches!(self.states[*number], RunState::Succeeded | RunState::Ended);
        plan.after.iter().chain(&plan.needs).all(has_ended)
    }

    /// Why a stage that is free does not run.
    fn obstacle(&self, plan: &Plan, stage: &StagePlan, now: Timestamp) -> Option<Arc<str>> {
        if let Some(off) = &stage.off {
            return Some(off.clone());
        }
        if let Some(missed) = stage.needs.iter().find(|it| self.states[**it] != RunState::Succeeded)
        {
            let result = self.results[*missed].as_ref();
            let outcome = result.map_or("skipped", |result| result.outcome.word());
            return Some(format!("because `{}` is {outcome}", plan.stages[*missed].name).into());
        }
        let when = stage.when.as_ref()?;
        let scope = Scope::of(&self.event, now);
        (!when.is_true(&scope)).then(|| WHEN_SAID.clone())
    }

    fn skip(&mut self, index: usize, plan: &StagePlan, reason: Arc<str>) {
        self.states[index] = RunState::Ended;
        self.results[index] = Some(StageResult {
            stage: plan.name.clone(),
            kind: plan.kind.clone(),
            outcome: Outcome::Skipped,
            attempts: 0,
            started: self.event.envelope.received,
            micros: 0,
            error: Some(reason),
            attempt_log: AttemptLog::default(),
        });
    }

    /// A stage has ended: its addition goes in, or its `on-error` speaks.
    fn take(&mut self, index: usize, ended: CallOutcome) {
        self.last = index;
        let generation = self.generation.clone();
        let plan = &generation.plan.stages[index];
        let has_succeeded = matches!(ended.outcome, Outcome::Ok | Outcome::Cached);
        self.states[index] = if has_succeeded { RunState::Succeeded } else { RunState::Ended };
        if !has_succeeded {
            let fault = ended.error.clone().expect("what did not succeed says why");
            self.fate = match &plan.on_error {
                OnError::Continue => None,
                OnError::DeadLetter => Some(self.dead_end(index, ended.attempts, fault)),
                OnError::Drop(why) => Some(StageEnd::Dropped(why.as_str().into())),
            };
        }
        match ended.addition {
            None | Some(Addition::Nothing) => {}
            Some(Addition::Value(value)) => {
                Arc::make_mut(&mut self.event).enrich.put(&plan.into, value);
            }
            Some(Addition::Text(text)) => {
                Arc::make_mut(&mut self.event).enrich.put_text(&plan.into, text);
            }
            Some(Addition::At(values)) => {
                for (path, value) in values {
                    Arc::make_mut(&mut self.event).enrich.put(&path, value);
                }
            }
            Some(Addition::Drop(why)) => self.fate = Some(StageEnd::Dropped(why.into())),
            Some(Addition::DeadLetter(why)) => {
                self.fate = Some(self.dead_end(index, ended.attempts, Fault::permanent(why)));
            }
        }
        self.results[index] = Some(StageResult {
            stage: plan.name.clone(),
            kind: plan.kind.clone(),
            outcome: ended.outcome,
            attempts: ended.attempts,
            started: ended.started,
            micros: ended.micros,
            error: ended.error.map(|fault| Arc::from(fault.reason)),
            attempt_log: ended.attempt_log,
        });
        self.show(index, TapSide::Out);
    }

    fn dead_end(&self, index: usize, attempts: u32, fault: Fault) -> StageEnd {
        let stage = self.generation.plan.stages[index].name.clone();
        StageEnd::Dead(DeadEnd { stage, attempts, class: fault.class, reason: fault.reason })
    }

    /// Shows the event as it is now to who looks on at a stage.
    fn show(&self, index: usize, side: TapSide) {
        let name = &self.generation.plan.stages[index].name;
        let result = self.results[index].as_ref();
        self.generation.taps.show(name, side, &self.event, result);
    }

    /// The end: the level is computed again where it reads additions, and the route decides.
    pub fn finish(self) -> Disposition {
        // Nobody is asked any more.
        let mut event = Arc::unwrap_or_clone(self.event);
        match self.fate {
            Some(StageEnd::Dropped(reason)) => return Disposition::Discarded(event, reason),
            Some(StageEnd::Dead(end)) => return Disposition::Dead(event, end),
            None => {}
        }
        let plan = &self.generation.plan;
        let now = self.env.clock.wall();
        if plan.priority_reads_enrich {
            event.envelope.priority = intake::level(plan, &event, now);
        }
        let scope = Scope::of(&event, now);
        let routed = targets(plan, &scope);
        let (targets, suppressed) = with_conditions(plan, &routed, &scope);
        let answers = alerts::answers(plan, &scope);
        let is_expected = !answers.is_empty() || facts::is_any(plan, &scope);
        if !is_expected && targets.is_empty() {
            let reason = if routed.is_empty() { "unrouted" } else { "when" };
            return Disposition::Discarded(event, reason.into());
        }
        let mut deliveries: Vec<NewDelivery> = targets
            .iter()
            .filter(|target| self.generation.targets.contains_key(*target))
            .map(|it| match suppressed.contains(it) {
                true => NewDelivery {
                    sink: it.clone(),
                    cooldown: None,
                    suppressed: Some("when".to_owned()),
                    traits: DeliveryTraits::default(),
                },
                false => delivery(plan, it, &scope),
            })
            .collect();
        facts::add_facts(plan, &scope, &mut deliveries);
        alerts::add_recoveries(plan, &scope, &mut deliveries);
        let silences = silences(plan, &scope);
        let measured = metrics::measure(plan, &scope);
        let stages = self.results.into_iter().flatten().collect();
        Disposition::Finished(RoutedEvent {
            event,
            stages,
            targets,
            deliveries,
            silences,
            answers,
            measured,
        })
    }
}

/// Where an event goes.
fn targets(plan: &Plan, scope: &Scope<'_>) -> Arc<[Arc<str>]> {
    let mut targets: Vec<Arc<str>> = Vec::new();
    for (_, when, to) in &plan.route.cases {
        if when.is_true(scope) {
            for target in to {
                if !targets.contains(target) {
                    targets.push(target.clone());
                }
            }
            if !plan.route.takes_all {
                return targets.into();
            }
        }
    }
    if targets.is_empty() { plan.route.otherwise.as_slice().into() } else { targets.into() }
}

/// The same with the conditions that targets have of their own, and which of them suppress a
/// delivery. A store or stream that an event does not match is left out: nothing is delivered
/// there that could be recorded. So is a target that no route names.
fn with_conditions(
    plan: &Plan,
    routed: &Arc<[Arc<str>]>,
    scope: &Scope<'_>,
) -> (Arc<[Arc<str>]>, Vec<Arc<str>>) {
    if plan.route.only.is_empty() {
        return (routed.clone(), Vec::new());
    }
    let (mut targets, mut suppressed) = (routed.to_vec(), Vec::new());
    for only in &plan.route.only {
        let is_met = only.when.is_true(scope);
        let is_there = targets.contains(&only.target);
        match (is_met, only.is_routed) {
            (true, false) if !is_there => targets.push(only.target.clone()),
            (false, true) if is_there && only.is_outside => suppressed.push(only.target.clone()),
            (false, _) => targets.retain(|target| *target != only.target),
            (true, _) => {}
        }
    }
    (targets.into(), suppressed)
}

pub(super) fn delivery(plan: &Plan, target: &Arc<str>, scope: &Scope<'_>) -> NewDelivery {
    let notifier = plan.notifiers.iter().find(|notifier| notifier.name == *target);
    let cooldown = notifier.and_then(|notifier| notifier.cooldown.as_ref()).filter(|cooldown| {
        !cooldown.except.as_ref().is_some_and(|except| except.value.is_true(scope))
    });
    let cooldown = cooldown.and_then(|cooldown| {
        let key = match &cooldown.key {
            Some(key) => key.value.eval(scope),
            None => language::expr::Val::Text("".into()),
        };
        // A null key is told apart from nothing: it bypasses the cooldown.
        let time = scope.event?.counts_at();
        (!key.is_null()).then(|| CooldownClaim {
            key: key.identity(),
            time,
            window: cooldown.window,
        })
    });
    let traits = notifier.map(|it| DeliveryTraits {
        fallbacks: relays::of_full(plan, it, scope),
        escalations: relays::escalations(plan, it, scope),
        ..traits(&it.manners, scope)
    });
    let traits = traits.unwrap_or_default();
    NewDelivery { sink: target.clone(), cooldown, suppressed: None, traits }
}

/// What the rules of a notifier need to know of an event.
fn traits(manners: &Manners, scope: &Scope<'_>) -> DeliveryTraits {
    let allowed = allowed(manners, scope);
    let group = manners.group.as_ref().and_then(|group| match &group.key {
        // A null key is told apart from nothing: it is told alone.
        Some(key) => memory::key_of(&key.value, scope),
        None => Some(String::new()),
    });
    // A null key is told apart from nothing: its message is one of its own.
    let message_key =
        manners.update.as_ref().and_then(|update| memory::key_of(&update.key.value, scope));
    let claims = manners.silences.iter();
    let silences = claims.filter_map(|claim| silence_claim(claim, scope)).collect();
    let (alert, fact) = (alerts::key(manners, scope), facts::claim(manners, scope));
    DeliveryTraits {
        silences,
        group,
        allowed,
        message_key,
        alert,
        fact,
        ..DeliveryTraits::default()
    }
}

/// The quiet hours that do not hold an event, a bit for each.
pub(super) fn allowed(manners: &Manners, scope: &Scope<'_>) -> u32 {
    let quiet = manners.quiet.iter().enumerate();
    quiet
        .filter(|(_, it)| it.allow.as_ref().is_some_and(|allow| allow.value.is_true(scope)))
        .fold(0, |bits, (index, _)| bits | 1 << index)
}

/// The keys of notifiers that an event silences.
fn silences(plan: &Plan, scope: &Scope<'_>) -> Vec<(Arc<str>, SilenceClaim)> {
    let on = plan.notifiers.iter().filter(|notifier| notifier.off.is_none());
    let all = on.flat_map(|it| it.manners.silences.iter().map(move |node| (&it.name, node)));
    let caused = all.filter(|(_, node)| match &node.cause {
        SilenceCause::When(condition) => condition.value.is_true(scope),
        SilenceCause::Type(pattern) => {
            scope.event.is_some_and(|event| glob_fits(pattern, &event.envelope.kind))
        }
    });
    caused.filter_map(|(name, node)| Some((name.clone(), silence_claim(node, scope)?))).collect()
}

/// What an event silences or is silenced by; nothing where its key is null.
fn silence_claim(node: &SilenceNode, scope: &Scope<'_>) -> Option<SilenceClaim> {
    let key = match &node.key {
        Some(key) => memory::key_of(&key.value, scope)?,
        None => String::new(),
    };
    let time = scope.event?.counts_at();
    let rule = node.cause.text().to_owned();
    Some(SilenceClaim { by: node.by, rule, key, time, window: node.window })
}
