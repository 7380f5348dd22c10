//! A message as received to an event, or to the reasons why not.
//!
//! Nothing waits and nothing is written; what a filter that remembers has to know is noted, and
//! judged when the event is stored. The checks of the message, of what `map` takes from it and of
//! its data all speak, so one answer names everything that is wrong.

mod cloud;
mod items;
mod reading;

pub use items::{ITEMS_MAX, ItemOrigin, WholeMessage, spread};
pub(crate) use reading::is_before_filters;

use crate::run::memories::{FilterNote, NotPassing, OpenedMemories};
use cloud::Parts;
use compiler::plan::{Plan, SourcePlan, Violation, violations};
use compiler::spec::{self, Filter, OnDrop, OnInvalid, OnUnknownType, Passing};
use kernel::additions::Additions;
use kernel::decode;
use kernel::env::Random;
use kernel::event::{Body, DataAt, Envelope, Event, Priority};
use kernel::pattern::glob_fits;
use kernel::time::{Timestamp, smaller_unit};
use language::expr::{Expr, Root, Scope, Val};
use language::spanned::Spanned;
use language::write_bytes;
use reading::Unread;
use serde_json::{Value, json};
use std::sync::Arc;

/// The longest id, type or source, in bytes.
const WORD_MAX: usize = 256;
/// The longest subject, correlation or parent id, in bytes.
const TEXT_MAX: usize = 1024;

/// A message on its way in.
pub struct IncomingMessage<'a> {
    /// The bytes of one event.
    pub bytes: Arc<[u8]>,
    /// The source that brought it.
    pub source: &'a SourcePlan,
    /// The request that brought it, for `http`.
    pub http: Option<&'a Value>,
    /// The file that it was read from.
    pub file: Option<&'a Value>,
    /// The topic that it came on, and how.
    pub mqtt: Option<&'a Value>,
    /// The id to use when `map` gives none.
    pub id: Option<&'a str>,
    /// The type to use when `map` gives none.
    pub kind: Option<&'a Arc<str>>,
    /// The time to use when `map` gives none.
    pub time: Option<Timestamp>,
    /// The subject to use when `map` gives none.
    pub subject: Option<&'a Arc<str>>,
    /// Something that stands for the message when it is not JSON.
    pub decoded: Option<&'a Value>,
    /// What it is an item of.
    pub item_of: Option<&'a ItemOrigin>,
    /// The time of arrival.
    pub received: Timestamp,
    /// What remembers.
    pub memories: &'a OpenedMemories,
    /// The running generation.
    pub generation: u64,
}

/// What a message comes to.
#[derive(Debug)]
pub enum Intake {
    /// An event, and what filters noted about it.
    Event(Box<Event>, Vec<FilterNote>),
    /// Dropped by the rule with this name; this is what the filters before it noted.
    Discarded(Box<Event>, Arc<str>, Vec<FilterNote>),
    /// Refused.
    Refused(Rejection),
}

/// Why a message is refused.
#[derive(Debug)]
pub struct Rejection {
    /// 400, 413 or 422.
    pub status: u16,
    /// In one sentence.
    pub detail: String,
    /// Every place that is wrong.
    pub violations: Vec<Violation>,
    /// Whether it is kept as a dead letter: not what no JSON is.
    pub is_kept: bool,
    /// The source it names, as far as it could be read.
    pub source: Option<String>,
    /// The id it names.
    pub id: Option<String>,
    /// `validate`, or the filter.
    pub stage: Arc<str>,
    /// Whether a message is refused as a whole that would have been many events.
    pub is_whole: bool,
}

/// Reads one message.
pub fn take(plan: &Plan, incoming: IncomingMessage<'_>, random: &Random) -> Intake {
    let size_max = plan.limits.event_size_max;
    if size_max < incoming.bytes.len() as u64 {
        let detail = format!(
            "the event is {} bytes long, more than {}; write `limits {{ max-event-size \"…\" }}` in \
             the pipeline file to accept larger ones",
            incoming.bytes.len(),
            write_bytes(size_max),
        );
        return Intake::Refused(Rejection::plain(413, detail, false));
    }
    let arrived = (incoming.decoded, incoming.received);
    let read = match reading::read(plan, incoming.source, &incoming.bytes, arrived) {
        Ok(read) => read,
        Err(Unread::Refused(refusal)) => return Intake::Refused(refusal),
        Err(Unread::Dropped) => return reading::dropped(plan, &incoming, random),
    };
    // A letter of an item may come in again when the file takes nothing apart any more.
    let item_of = incoming.item_of.filter(|_| incoming.source.map.each.is_some());
    let time = item_of.map_or(read.time, |it| it.whole.time);
    let is_cloud_event =
        cloud::is_one(incoming.source.spec.cloud_events(), &incoming.source.map, &read.value);
    let mut reading = IntakeReading {
        plan,
        incoming,
        is_cloud_event,
        item_of,
        random,
        message: read.value,
        time,
        tag: read.tag,
        raw: None,
        wrong: Vec::new(),
    };
    reading.check_message();
    reading.parse_texts();
    reading.event()
}

impl Rejection {
    fn plain(status: u16, detail: String, is_kept: bool) -> Self {
        Rejection {
            status,
            detail,
            violations: Vec::new(),
            is_kept,
            source: None,
            id: None,
            stage: "validate".into(),
            is_whole: false,
        }
    }

    /// Every reason on its line, with its place.
    pub fn reason(&self) -> String {
        if self.violations.is_empty() {
            return self.detail.clone();
        }
        self.violations.iter().map(Violation::told).collect::<Vec<_>>().join("\n")
    }
}

struct IntakeReading<'a> {
    plan: &'a Plan,
    incoming: IncomingMessage<'a>,
    item_of: Option<&'a ItemOrigin>,
    /// Whether the message says of itself where the parts of an event are.
    is_cloud_event: bool,
    random: &'a Random,
    /// The item, or the message with what `json` has parsed.
    message: Value,
    /// When it was written, where its line says so.
    time: Option<Timestamp>,
    /// What is noted of a line that is not what `decode` says.
    tag: Option<Value>,
    /// The message as received, where `json` has changed it.
    raw: Option<Value>,
    wrong: Vec<Violation>,
}

/// A part of an event that `map` reads.
type Part<'a> = Option<&'a Spanned<Expr>>;

impl<'a> IntakeReading<'a> {
    /// The schema is that of the whole message.
    fn check_message(&mut self) {
        self.wrong = match (self.item_of, &self.incoming.source.schema) {
            (Some(item), _) => item.whole.wrong.clone(),
            (None, Some(schema)) => violations(schema.validator(), &self.message, ""),
            (None, None) => Vec::new(),
        };
    }

    fn parse_texts(&mut self) {
        let map = &self.incoming.source.map;
        if self.item_of.is_none() && !map.json.is_empty() {
            self.raw = Some(self.message.clone());
            items::parse_texts(map, &mut self.message, &mut self.wrong);
        }
    }

    fn event(mut self) -> Intake {
        let source = self.incoming.source;
        if self.is_cloud_event {
            for (name, message) in cloud::complaints(&self.message) {
                self.complain(&format!("/{name}"), message);
            }
        }
        let map = Parts::of(&source.map, self.is_cloud_event);
        let received = self.incoming.received;
        let fallback = source.kind.clone().or_else(|| self.incoming.kind.cloned());
        let constant = source.kind.clone().filter(|_| map.kind.is_none());
        let kind = match constant.or_else(|| self.word(map.kind, Some("type"))) {
            Some(kind) => kind,
            None => fallback.unwrap_or_else(|| {
                let at = self.place_of(map.kind, "/type");
                self.complain(&at, "an event needs a type");
                "".into()
            }),
        };
        let id = self.word(map.id, None);
        let given = self.incoming.id.map(Arc::from);
        let id = id.or(given).unwrap_or_else(|| self.random.uuid(received).to_string().into());
        let who = self.word(map.source, None);
        let subject = self.text(map.subject).or(self.incoming.subject.cloned());
        let envelope = Envelope {
            id,
            kind,
            source: who.unwrap_or_else(|| source.name.clone()),
            subject: subject.unwrap_or_else(|| "".into()),
            time: self
                .time(map.time)
                .or(self.time)
                .or(self.incoming.time)
                .unwrap_or(received)
                .in_millis(),
            received,
            priority: self.priority(map.priority).unwrap_or(self.plan.priority.default),
            correlation_id: self.text(map.correlation_id),
            parent_id: self.text(map.parent_id),
        };
        let raw = || Arc::new(self.raw.as_ref().unwrap_or(&self.message).clone());
        let raw = self.plan.reads_raw.then(raw);
        let (data, at, prefix) = self.data(map.data);
        let body = Body { bytes: self.incoming.bytes.clone(), data: at };
        // What the file leaves out of `data` it does not want to be kept.
        let is_part = source.map.data.is_some() && !self.plan.keeps_message;
        let body = if is_part { body.alone() } else { body };
        let mut enrich = Additions::default();
        if let Some(tag) = self.tag.take() {
            enrich.put(&[reading::DECODE.to_owned()], tag);
        }
        let event = Event {
            seq: 0,
            generation: self.incoming.generation,
            envelope,
            body,
            data: Arc::new(data),
            raw,
            enrich,
            globals: self.plan.globals.clone(),
        };
        self.judge(event, &prefix)
    }

    fn scope(&self) -> Scope<'_> {
        let mut scope = Scope::at(self.incoming.received, &self.plan.globals);
        match self.item_of {
            Some(item) => {
                scope.data = Some(&item.whole.data);
                scope.raw = Some(item.whole.raw());
                scope.item = Some(&self.message);
            }
            None => {
                scope.data = Some(&self.message);
                scope.raw = self.raw.as_ref().or(Some(&self.message));
            }
        }
        scope.http = self.incoming.http;
        scope.file = self.incoming.file;
        scope.mqtt = self.incoming.mqtt;
        scope.random = Some(self.random);
        scope
    }

    /// A violation, unless the place has one already: a schema's word is more exact than ours.
    fn complain(&mut self, instance: &str, message: impl Into<String>) {
        if self.wrong.iter().any(|it| it.instance == instance) {
            return;
        }
        self.add_violation(instance, "map", message.into());
    }

    /// `schema` is what it violates.
    fn add_violation(&mut self, instance: &str, schema: &str, message: String) {
        let (instance, schema) = (instance.to_owned(), schema.to_owned());
        self.wrong.push(Violation { instance, schema, message });
    }

    /// A text that must not be empty; `own` is where it stands when `map` says nothing.
    fn word(&mut self, part: Part<'_>, own: Option<&str>) -> Option<Arc<str>> {
        let found = match (part, own) {
            (Some(expr), _) => expr.value.eval(&self.scope()),
            (None, own) => self.message.get(own?).map_or(Val::Null, Val::from_json),
        };
        let text = (!found.is_null()).then(|| as_text(&found))?;
        let text = text.filter(|text| (1..=WORD_MAX).contains(&text.len()));
        if text.is_none() {
            let own = own.filter(|_| part.is_none()).map(|own| format!("/{own}"));
            let at = self.place_of(part, &own.unwrap_or_default());
            self.complain(&at, format!("must be a text of 1 to {WORD_MAX} bytes"));
        }
        text
    }

    fn text(&mut self, part: Part<'_>) -> Option<Arc<str>> {
        let found = part?.value.eval(&self.scope());
        let text = (!found.is_null()).then(|| as_text(&found))?;
        let text = text.filter(|text| text.len() <= TEXT_MAX);
        if text.is_none() {
            let at = self.place_of(part, "");
            self.complain(&at, format!("must be a text of at most {TEXT_MAX} bytes"));
        }
        text
    }

    fn time(&mut self, part: Part<'_>) -> Option<Timestamp> {
        let expr = part?;
        let value = expr.value.eval(&self.scope());
        let zone = self.plan.globals.zone.as_ref();
        let found = match &value {
            Val::Null => return None,
            Val::Time(it) => Some(*it),
            Val::Text(text) => Timestamp::parse_in(text, zone),
            other => other.as_f64().and_then(Timestamp::from_unix_seconds),
        };
        let problem = found.is_none().then(|| no_time(&expr.value, &value));
        if let Some(problem) = problem {
            let at = self.place_of(part, "");
            self.complain(&at, problem);
        }
        found
    }

    fn priority(&mut self, part: Part<'_>) -> Option<Priority> {
        let expr = part?;
        let found = match expr.value.eval(&self.scope()) {
            Val::Null => return None,
            word => word.as_str().and_then(Priority::parse),
        };
        if found.is_none() {
            let at = self.place_of(part, "");
            self.complain(&at, "must be one of low, normal, high, critical");
        }
        found
    }

    /// The payload, where its text stands, and the pointer to it in the message. A plain path is
    /// moved out of the message instead of copied; nothing reads the message after this.
    fn data(&mut self, part: Part<'_>) -> (Value, DataAt, String) {
        let plain = match part {
            None => Some(Vec::new()),
            Some(expr) => self.own_path(&expr.value),
        };
        let pointer = plain.as_deref().map(pointer_of);
        let own = |pointer: &String| format!("{}{pointer}", self.pointer());
        let prefix = pointer.as_ref().map(own).unwrap_or_default();
        // What `json` has parsed is not in the bytes.
        let is_text = self.incoming.decoded.is_none() && self.raw.is_none();
        if let (Some(path), Some(pointer), true) = (&plain, &pointer, is_text) {
            let slice = decode::range_of(&self.incoming.bytes, path);
            let found = self.message.pointer_mut(pointer).filter(|it| !it.is_null());
            if let (Some(slice), Some(found)) = (slice, found) {
                return (found.take(), DataAt::Slice(slice), prefix);
            }
        }
        let value = match part {
            Some(expr) => expr.value.eval(&self.scope()).into_json(),
            None => self.message.clone(),
        };
        let binary = || cloud::binary_data(&self.message).filter(|_| self.is_cloud_event);
        let value = if value.is_null() { binary().unwrap_or(value) } else { value };
        let text = DataAt::Own(value.to_string().into());
        (value, text, prefix)
    }

    /// The path below what an event is made of, where an expression is nothing else.
    fn own_path(&self, expr: &Expr) -> Option<Vec<String>> {
        let (root, path) = expr.plain_path()?;
        let is_own = match root {
            Root::Item => self.item_of.is_some(),
            Root::Data => self.item_of.is_none(),
            Root::Raw => self.item_of.is_none() && self.raw.is_none(),
            _ => false,
        };
        is_own.then_some(path)
    }

    /// Where the item is in its message.
    fn pointer(&self) -> &str {
        self.item_of.map_or("", |it| &it.pointer)
    }

    /// The JSON pointer of what an expression reads, when it reads one plain path.
    fn place_of(&self, part: Part<'_>, default: &str) -> String {
        match part.and_then(|part| part.value.plain_path()) {
            Some((Root::Item, path)) => format!("{}{}", self.pointer(), pointer_of(&path)),
            Some((Root::Data | Root::Raw, path)) => pointer_of(&path),
            _ => format!("{}{default}", self.pointer()),
        }
    }

    /// The schema and rules of the event's type, then the filters.
    fn judge(mut self, mut event: Event, prefix: &str) -> Intake {
        let validate = &self.plan.validate;
        let kind = event.envelope.kind.clone();
        let mut unknown = None;
        match validate.schemas.of(&kind) {
            Some(schema) => {
                for it in violations(schema, &event.data, prefix) {
                    if !self.wrong.iter().any(|known| known.instance == it.instance) {
                        self.wrong.push(it);
                    }
                }
            }
            None => unknown = Some(validate.on_unknown_type),
        }
        self.check_rules(&event);
        match unknown {
            Some(OnUnknownType::Drop) if self.wrong.is_empty() => {
                return Intake::Discarded(Box::new(event), "validate".into(), Vec::new());
            }
            Some(OnUnknownType::Reject | OnUnknownType::DeadLetter) => {
                let known = self.wrong.len();
                let kind_part = Parts::of(&self.incoming.source.map, self.is_cloud_event).kind;
                let type_at = self.place_of(kind_part, "/type");
                self.complain(&type_at, format!("no schema covers the type `{kind}`"));
                self.wrong[known..].iter_mut().for_each(|it| it.schema = "validate".to_owned());
            }
            _ => {}
        }
        if self.wrong.is_empty() {
            return self.filter(event);
        }
        let only_unknown = self.wrong.len() == 1 && self.wrong[0].schema == "validate";
        match validate.on_invalid {
            OnInvalid::Drop if !only_unknown => {
                Intake::Discarded(Box::new(event), "validate".into(), Vec::new())
            }
            OnInvalid::Tag if !only_unknown => {
                let told: Vec<Value> = self.wrong.iter().map(Violation::json).collect();
                event.enrich.put(&["validate".to_owned()], Value::Array(told));
                self.wrong.clear();
                self.filter(event)
            }
            on_invalid => {
                let is_kept = if only_unknown {
                    unknown == Some(OnUnknownType::DeadLetter)
                } else {
                    on_invalid == OnInvalid::DeadLetter
                };
                Intake::Refused(self.refusal(&event, is_kept))
            }
        }
    }

    fn refusal(self, event: &Event, is_kept: bool) -> Rejection {
        let count = self.wrong.len();
        let detail = match count {
            1 => "one part of the event is not valid".to_owned(),
            _ => format!("{count} parts of the event are not valid"),
        };
        Rejection {
            violations: self.wrong,
            source: Some(event.envelope.source.to_string()),
            id: Some(event.envelope.id.to_string()),
            ..Rejection::plain(422, detail, is_kept)
        }
    }

    fn check_rules(&mut self, event: &Event) {
        let plan = self.plan;
        for rule in &plan.validate.rules {
            if !glob_fits(&rule.kind.value, &event.envelope.kind) {
                continue;
            }
            let scope = Scope::of(event, self.incoming.received);
            let holds = rule.check.value.eval(&scope);
            let is_told = self.wrong.iter().any(|it| it.instance == rule.at);
            if matches!(holds, Val::Bool(false)) && !is_told {
                let text = rule.check.value.text();
                self.add_violation(&rule.at, text, rule.message.clone());
            }
        }
    }

    fn filter(self, event: Event) -> Intake {
        filter(self.plan, event, self.incoming.memories)
    }
}

/// Asks the filters about an event. One that remembers only notes what it read: whether the event
/// passes is decided when it is stored.
pub fn filter(plan: &Plan, mut event: Event, memories: &OpenedMemories) -> Intake {
    let now = event.envelope.received;
    let given = event.envelope.priority;
    event.envelope.priority = level(plan, &event, now);
    let mut notes = Vec::new();
    for filter in plan.filters.iter().filter(|filter| !filter.is_disabled) {
        let scope = Scope::of(&event, now);
        if filter.when.as_ref().is_some_and(|when| !when.value.is_true(&scope)) {
            continue;
        }
        let name = filter.name.value.as_str();
        match &filter.rule {
            Passing::Remembers(_) => {
                let memory = memories.get(name).expect("everything that remembers is opened");
                if let Some((key, noted)) = memory.read(&event, now) {
                    let otherwise = not_passing(filter, &event);
                    notes.push(FilterNote { memory: memory.clone(), key, noted, otherwise });
                }
            }
            Passing::Keep(keep) if keep.iter().all(|it| it.value.is_true(&scope)) => {}
            Passing::Keep(_) => match not_passing(filter, &event) {
                NotPassing::Dropped => {
                    return Intake::Discarded(Box::new(event), name.into(), notes);
                }
                NotPassing::Refused(refusal) => return Intake::Refused(*refusal),
                NotPassing::Tagged(tag) => {
                    event.enrich.put(&[spec::tag_of(name)], tag);
                }
            },
        }
    }
    if plan.priority_reads_enrich {
        // The cases are asked again after the stages, and where none holds then, this counts.
        event.envelope.priority = given;
    }
    Intake::Event(Box::new(event), notes)
}

/// What becomes of an event that a filter does not let pass.
fn not_passing(filter: &Filter, event: &Event) -> NotPassing {
    let name = &filter.name.value;
    let detail = || filter.reason.clone().unwrap_or_else(|| format!("not kept by `{name}`"));
    match filter.on_drop {
        OnDrop::Drop => NotPassing::Dropped,
        OnDrop::Tag => NotPassing::Tagged(json!({ "dropped": detail() })),
        OnDrop::DeadLetter => {
            let refusal = Rejection::by_filter(event, name.as_str().into(), detail());
            NotPassing::Refused(Box::new(refusal))
        }
    }
}

impl Rejection {
    fn by_filter(event: &Event, name: Arc<str>, detail: String) -> Self {
        let violation = Violation {
            instance: String::new(),
            schema: format!("filter {name}"),
            message: detail.clone(),
        };
        Rejection {
            violations: vec![violation],
            source: Some(event.envelope.source.to_string()),
            id: Some(event.envelope.id.to_string()),
            stage: name,
            ..Rejection::plain(422, detail, true)
        }
    }
}

/// The event's level: the first case that holds, else what it has.
pub fn level(plan: &Plan, event: &Event, now: Timestamp) -> Priority {
    let scope = Scope::of(event, now);
    let case = plan.priority.cases.iter().find(|case| case.1.value.is_true(&scope));
    case.map_or(event.envelope.priority, |case| case.0)
}

/// Why a value is not a time, and what to write in `map` where that is known.
fn no_time(expr: &Expr, value: &Val<'_>) -> String {
    let number = match value {
        Val::Text(text) => language::expr::number_of(text).and_then(|it| it.as_f64()),
        other => other.as_f64(),
    };
    let Some(number) = number else {
        return "must be a time: Unix seconds or RFC 3339 text".to_owned();
    };
    let read = match value {
        Val::Text(_) => format!("number({})", expr.text()),
        _ if expr.plain_path().is_some() => expr.text().to_owned(),
        _ => format!("({})", expr.text()),
    };
    match smaller_unit(number) {
        Some((unit, size)) => format!(
            "must be a time in seconds, and this number has the size of {unit}: write \
             `time \"{read} / {size}.0\"`",
        ),
        None if value.as_str().is_some() => {
            format!("must be a time, and this is a number in a text: write `time \"{read}\"`")
        }
        None => "must be a time: Unix seconds or RFC 3339 text".to_owned(),
    }
}

/// A text, or a number, time or duration as a template writes it.
fn as_text(value: &Val<'_>) -> Option<Arc<str>> {
    match value {
        Val::Text(text) => Some(Arc::from(&**text)),
        Val::Null | Val::Bool(_) | Val::Json(_) | Val::Owned(_) => None,
        Val::Int(_) | Val::Float(_) | Val::Long(_) | Val::Time(_) | Val::Span(_) => {
            Some(value.text().into())
        }
    }
}

/// The JSON pointer (RFC 6901) of a path.
fn pointer_of(path: &[String]) -> String {
    let mut pointer = String::new();
    for name in path {
        pointer.push('/');
        for letter in name.chars() {
            match letter {
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                other => pointer.push(other),
            }
        }
    }
    pointer
}
