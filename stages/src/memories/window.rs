//! What is made of the events of a while.

mod open;
mod state;

use super::{BY, MAX_KEYS, SPAN, read_key, shape_of, with_key};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_or_one};
use kernel::event::{Event, Globals};
use kernel::time::{Timestamp, calendar_span, write_duration};
use language::diagnostic::Rule;
use language::expr::{Aggregate, EventTypes, Expr, Roots, Scope, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};
use open::{OpenWindow, OpenWindows};
use serde_json::{Map, Value};
use state::AggregateState;
use std::sync::Arc;
use std::time::Duration;
use store::{Emission, Moment};

/// The most windows of one key that wait for late events.
const OPEN_MAX: u32 = 60;
/// What a window says besides its aggregates.
const OWN: [&str; 2] = ["start", "end"];

/// Until when late events still count.
const LATENESS: Prop =
    Prop::new("lateness", ValueKind::Duration(Duration::ZERO, Duration::from_secs(366 * 86_400)))
        .default("\"0s\"");

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new("key", "each key has its own windows; an event whose key is null is ignored")
        .examples(&[r#"key "event.subject""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .otherwise("one for all events"),
    NodeRow::new("tumbling", "windows of this length, one after another, cut by the clock of the pipeline's zone: up to a day from midnight on, longer ones from 1970-01-01; each sends its event when it is over")
        .examples(&[r#"tumbling "5m""#, r#"tumbling "1d" by=arrival"#, r#"tumbling "5m" lateness="30s""#])
        .args(&[Arg::one("duration", SPAN)])
        .props(&[BY, LATENESS]),
    NodeRow::new("sliding", "the window that ends with each event; it sends its event when `having` becomes true, or at every event where there is no `having`")
        .examples(&[r#"sliding "1m""#, r#"sliding "1m" by=arrival max-events=5000"#])
        .args(&[Arg::one("duration", SPAN)])
        .props(&[BY, Prop::new("max-events", ValueKind::Int(1, 10_000)).default("1000")]),
    NodeRow::new("session", "a window that lasts until no event comes for the length of `gap`")
        .examples(&[r#"session gap="30s""#, r#"session gap="30s" by=arrival lateness="10s""#])
        .props(&[Prop::required("gap", SPAN), BY, LATENESS]),
    NodeRow::new("aggregate", "the aggregates to compute, each under the name that it gets in `data` of the sent event")
        .examples(&[r#"aggregate n="count()" worst="max(data.score)" users="distinct(data.user)""#])
        .open(ValueKind::Expr(Roots::AGGREGATE))
        .default("n=\"count()\""),
    NodeRow::new("having", "sends the event only where this holds; aggregates are read by their names")
        .examples(&[r#"having "n > 5""#, r#"having "n > 5" once="10m""#])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::AGGREGATED))])
        .props(&[Prop::new("once", SPAN)]),
    NodeRow::new("emit", "the type of the event that is sent")
        .examples(&["emit ssh.attack"])
        .args(&[Arg::one("type", ValueKind::Literal)])
        .required(),
    MAX_KEYS,
];

/// The kind `window`.
pub(super) struct Window {
    settings: WindowSettings,
    globals: Arc<Globals>,
}

/// Which events, and what is made of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WindowSettings {
    key: Option<Expr>,
    form: WindowForm,
    aggregates: Vec<NamedAggregate>,
    /// Aggregates that could not be read, which was reported: a `having` that reads them is right.
    unread: Vec<Arc<str>>,
    having: Option<Expr>,
    once: Option<Duration>,
    emit: Spanned<String>,
    shape: MemoryShape,
}

/// Which events are counted together.
#[derive(Debug, Clone, PartialEq)]
enum WindowForm {
    /// Those of the same stretch of the calendar.
    Tumbling { span: Duration, lateness: Duration },
    /// Those of this long before each.
    Sliding { span: Duration, events_max: usize },
    /// Those without a pause between them.
    Session { gap: Duration, lateness: Duration },
}

#[derive(Debug, Clone, PartialEq)]
struct NamedAggregate {
    name: Arc<str>,
    value: Expr,
    how: Aggregate,
}

impl Kind for Window {
    const WORD: &'static str = "window";
    const SUMMARY: &'static str = "sends an event that aggregates the events of a period";
    const EXAMPLE: &'static str = r#"window attack { when "event.type == 'ssh.failed'"; key "data.address"; sliding "1m"; aggregate n="count()" user="last(data.user)"; having "n > 5" once="10m"; emit ssh.attack }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = WindowSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<WindowSettings> {
        let form = read_form(fields, context);
        let (aggregates, unread) = read_aggregates(fields.child("aggregate"), context);
        let having = fields.child("having");
        let (form, clock) = form?;
        never_enough(&form, &aggregates, having.as_ref(), context);
        let mut shape = shape_of(fields, Some(clock));
        let made = aggregates
            .iter()
            .map(|aggregate| format!(" {}={}", aggregate.name, aggregate.value.text()));
        shape.form = format!("{}{}", told(&form), made.collect::<String>());
        Some(WindowSettings {
            key: read_key(fields).map(|key| key.value),
            form,
            aggregates,
            unread,
            having: having
                .and_then(|having| having.arg(0)?.expr(Roots::AGGREGATED))
                .map(|expr| expr.value),
            once: having
                .and_then(|having| having.prop("once")?.duration())
                .map(|duration| duration.value),
            emit: fields.child("emit")?.arg(0)?.text()?,
            shape,
        })
    }
}

/// Warns of `sliding "5m" max-events=5` with `having "n > 5"`: so many events are never kept. Only
/// of a count that is compared with a number.
fn never_enough(
    form: &WindowForm,
    aggregates: &[NamedAggregate],
    having: Option<&Fields<'_>>,
    context: &mut Context<'_>,
) {
    let WindowForm::Sliding { events_max, .. } = form else { return };
    let condition = having.and_then(|having| having.arg(0)?.expr(Roots::AGGREGATED));
    let Some(condition) = condition else { return };
    let words: Vec<&str> = condition.value.text().split_whitespace().collect();
    let [name, sign, number] = words[..] else { return };
    let is_count = |aggregate: &NamedAggregate| {
        &*aggregate.name == name && aggregate.value.text() == "count()"
    };
    let (Ok(number), true) = (number.parse::<usize>(), aggregates.iter().any(is_count)) else {
        return;
    };
    let needed = match sign {
        ">" => number.saturating_add(1),
        ">=" | "==" => number,
        _ => return,
    };
    if needed <= *events_max {
        return;
    }
    context
        .diagnostics
        .push(Rule::AlwaysSame, "this condition is never true")
        .at(condition.span, format!("the window keeps at most {events_max} events"))
        .help(format!("raise `max-events` of `sliding` to at least {needed}"));
}

/// The form, and the name of the node that says it.
fn read_form(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<(WindowForm, &'static str)> {
    const FORMS: [&str; 3] = ["tumbling", "sliding", "session"];
    let mut found = FORMS.iter().filter_map(|name| Some((*name, fields.child(name)?)));
    let Some((name, node)) = found.next() else {
        context
            .diagnostics
            .push(Rule::MissingNode, "a window needs `tumbling`, `sliding` or `session`")
            .at(fields.head(), "no window is given")
            .help("write `tumbling \"5m\"`, `sliding \"1m\"` or `session gap=\"30s\"`");
        return None;
    };
    if let Some((second, node)) = found.next() {
        context
            .diagnostics
            .push(Rule::RepeatedNode, "a window has one of `tumbling`, `sliding` and `session`")
            .at(node.name().span, format!("beside `{name}`"))
            .help(format!("write a second `window` for `{second}`"));
        return None;
    }
    let span = |fields: &Fields<'_>| Some(fields.arg(0)?.duration()?.value);
    let filled = node.filled();
    let lateness = || filled.prop("lateness", Scalar::duration);
    let form = match name {
        "tumbling" => WindowForm::Tumbling { span: span(&node)?, lateness: lateness().value },
        "sliding" => {
            let events_max =
                filled.prop("max-events", |scalar| usize::try_from(scalar.int()?.value).ok());
            WindowForm::Sliding { span: span(&node)?, events_max }
        }
        _ => WindowForm::Session {
            gap: node.prop("gap")?.duration()?.value,
            lateness: lateness().value,
        },
    };
    if let (Some(lateness), Some(piece)) =
        (node.prop("lateness").and_then(|prop| prop.duration()), form.piece())
        && piece * OPEN_MAX < lateness.value
    {
        let most = write_duration(piece * OPEN_MAX);
        context
            .diagnostics
            .push(Rule::OutOfRange, format!("`lateness` is more than {OPEN_MAX} windows long"))
            .at(lateness.span, "keeps too many windows open for each key")
            .help(format!("write at most `lateness=\"{most}\"`, or longer windows"));
    }
    Some((form, name))
}

fn read_aggregates(
    node: Option<Fields<'_>>,
    context: &mut Context<'_>,
) -> (Vec<NamedAggregate>, Vec<Arc<str>>) {
    let (mut aggregates, mut unread) = (Vec::<NamedAggregate>::new(), Vec::new());
    let Some(node) = node else {
        let value = Expr::parse("count()", Roots::AGGREGATE).expect("it is one");
        let count = NamedAggregate { name: "n".into(), value, how: Aggregate::Count };
        return (vec![count], unread);
    };
    for (name, scalar) in node.props() {
        let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && !name.starts_with(|letter: char| letter.is_ascii_digit());
        let is_taken =
            OWN.contains(&name) || aggregates.iter().any(|aggregate| &*aggregate.name == name);
        let problem = match (is_plain, is_taken) {
            (false, _) => Some((
                format!("`{name}` cannot be read by `having`"),
                format!(
                    "write `{}`",
                    name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
                ),
            )),
            (_, true) => Some((
                format!("the event's data already has a field `{name}`"),
                "give the aggregate another name".to_owned(),
            )),
            _ => None,
        };
        if let Some((message, help)) = problem {
            let found = context.diagnostics.push(Rule::SamePath, message);
            found.at(scalar.span(), "the name of this aggregate").help(help);
        }
        let value = scalar.expr(Roots::AGGREGATE).map(|expr| expr.value);
        match value.and_then(|value| Some((value.aggregate()?, value))) {
            Some((how, value)) => aggregates.push(NamedAggregate { name: name.into(), value, how }),
            None => unread.push(name.into()),
        }
    }
    (aggregates, unread)
}

fn told(form: &WindowForm) -> String {
    match form {
        WindowForm::Tumbling { span, .. } => format!("every {}", write_duration(*span)),
        WindowForm::Sliding { span, .. } => format!("over {}", write_duration(*span)),
        WindowForm::Session { gap, .. } => format!("until a gap of {}", write_duration(*gap)),
    }
}

impl WindowForm {
    /// How long one is at least, where several may wait.
    fn piece(&self) -> Option<Duration> {
        match self {
            WindowForm::Tumbling { span, .. } => Some(*span),
            WindowForm::Session { gap, .. } => Some(*gap),
            WindowForm::Sliding { .. } => None,
        }
    }
}

impl MemoryKind for Window {
    fn shape(settings: &WindowSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn emits(settings: &WindowSettings, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        let own = OWN.iter().map(|name| (Arc::from(*name), ValueType::text()));
        let made = settings.aggregates.iter();
        let made = made.map(|it| (it.name.clone(), known.check(&it.value).shape));
        let unread = settings.unread.iter().map(|it| (it.clone(), ValueType::any()));
        vec![(settings.emit.clone(), ValueType::map(own.chain(made).chain(unread)))]
    }

    fn causes(settings: &WindowSettings, known: &TypeEnv) -> EventTypes {
        with_key(known, settings.key.as_ref()).here
    }

    fn says(settings: &WindowSettings) -> String {
        let made = settings.aggregates.iter().map(|aggregate| aggregate.value.text());
        let made = made.collect::<Vec<_>>().join(", ");
        format!("{made} {}{}", told(&settings.form), for_key(settings.key.as_ref()))
    }

    fn open(settings: WindowSettings, services: Services) -> OpenMemory {
        OpenMemory::of(Window { settings, globals: services.globals })
    }
}

/// What is read off an event.
pub(super) struct WindowNoted {
    id: String,
    /// One for each aggregate.
    values: Vec<Value>,
}

impl Remember for Window {
    type Kept = OpenWindows;
    type Noted = WindowNoted;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, WindowNoted)> {
        let scope = Scope::of(event, now);
        let key = key_or_one(self.settings.key.as_ref(), &scope)?;
        let values = self.settings.aggregates.iter();
        let values = values.map(|value| value.value.eval(&scope).to_json()).collect();
        Some((key, WindowNoted { id: event.envelope.id.to_string(), values }))
    }

    fn step(
        &self,
        kept: Option<OpenWindows>,
        noted: &WindowNoted,
        moment: &Moment<'_>,
    ) -> Change<OpenWindows> {
        let mut kept = kept.unwrap_or_default();
        kept.forget_later(moment.now);
        match &self.settings.form {
            WindowForm::Sliding { span, events_max } => {
                match kept.slide(moment.time, *span, *events_max, &noted.values) {
                    true => self.slid(kept, noted, moment),
                    false => Change { is_late: true, ..self.kept(kept, moment) },
                }
            }
            WindowForm::Tumbling { span, .. } => {
                let zone = self.globals.zone.as_ref();
                let (start, end) = calendar_span(moment.time, *span, zone);
                self.counted(kept, noted, moment, (start.0, end.0))
            }
            WindowForm::Session { gap, .. } => {
                let time = moment.time;
                self.counted(kept, noted, moment, (time.0, time.plus(*gap).0))
            }
        }
    }

    fn wake(&self, mut kept: OpenWindows, moment: &Moment<'_>) -> Change<OpenWindows> {
        if matches!(self.settings.form, WindowForm::Sliding { .. }) {
            (kept.samples, kept.is_told) = (Vec::new(), false);
            return self.kept(kept, moment);
        }
        let mut emits = Vec::new();
        for window in kept.close(moment.time, self.lateness()) {
            let end = Timestamp(window.end);
            let until = match self.settings.form {
                WindowForm::Session { .. } => Timestamp(window.last),
                _ => end,
            };
            let data = self.data(window.states, Timestamp(window.start), until);
            if self.is_wanted(&data, moment.now) && self.may_tell(&kept, end) {
                kept.told = Some(end.0);
                emits.push(self.emission(data, end, &window.id, moment));
            }
        }
        Change { emits, ..self.kept(kept, moment) }
    }
}

impl Window {
    fn lateness(&self) -> Duration {
        match &self.settings.form {
            WindowForm::Tumbling { lateness, .. } | WindowForm::Session { lateness, .. } => {
                *lateness
            }
            WindowForm::Sliding { .. } => Duration::ZERO,
        }
    }

    /// An event is counted in a window that is told when it is over.
    fn counted(
        &self,
        mut kept: OpenWindows,
        noted: &WindowNoted,
        moment: &Moment<'_>,
        (start, end): (i64, i64),
    ) -> Change<OpenWindows> {
        let is_late = kept.closed.is_some_and(|closed| end <= closed);
        if !is_late {
            let mut states = self.states();
            self.add(&mut states, &noted.values, moment.time.0);
            let window =
                OpenWindow { start, end, last: moment.time.0, id: noted.id.clone(), states };
            let joins = matches!(self.settings.form, WindowForm::Session { .. });
            kept.put(window, joins, |state, index, other| {
                state.merge(self.settings.aggregates[index].how, other);
            });
        }
        Change { is_late, ..self.kept(kept, moment) }
    }

    /// Tells of the window that ends with an event, where it is time to.
    fn slid(
        &self,
        mut kept: OpenWindows,
        noted: &WindowNoted,
        moment: &Moment<'_>,
    ) -> Change<OpenWindows> {
        let mut states = self.states();
        for sample in &kept.samples {
            self.add(&mut states, &sample.values, sample.time);
        }
        let end = kept.samples.last().map_or(moment.time, |sample| Timestamp(sample.time));
        let start = kept.samples.first().map_or(moment.time, |sample| Timestamp(sample.time));
        let data = self.data(states, start, end);
        let holds = self.is_wanted(&data, moment.now);
        let is_new = match (&self.settings.having, self.settings.once) {
            (Some(_), None) => !kept.is_told,
            _ => self.may_tell(&kept, moment.time),
        };
        kept.is_told = holds;
        let mut emits = Vec::new();
        if holds && is_new {
            kept.told = Some(moment.time.0);
            emits.push(self.emission(data, moment.time, &noted.id, moment));
        }
        Change { emits, ..self.kept(kept, moment) }
    }

    fn states(&self) -> Vec<AggregateState> {
        self.settings
            .aggregates
            .iter()
            .map(|aggregate| AggregateState::empty(aggregate.how))
            .collect()
    }

    /// Counts the values of one event.
    fn add(&self, states: &mut [AggregateState], values: &[Value], time: i64) {
        let counted = self.settings.aggregates.iter().zip(values);
        for (state, (aggregate, value)) in states.iter_mut().zip(counted) {
            state.add(aggregate.how, value, time);
        }
    }

    fn data(&self, states: Vec<AggregateState>, start: Timestamp, end: Timestamp) -> Value {
        let times = [start, end].map(|it| Value::from(it.to_string()));
        let own = OWN.iter().map(|it| (*it).to_owned()).zip(times);
        let made = self.settings.aggregates.iter().zip(states);
        let made = made.map(|(it, state)| (it.name.to_string(), state.value(it.how)));
        Value::Object(own.chain(made).collect::<Map<_, _>>())
    }

    fn is_wanted(&self, data: &Value, now: Timestamp) -> bool {
        let scope = Scope { aggregated: Some(data), ..Scope::at(now, &self.globals) };
        self.settings.having.as_ref().is_none_or(|having| having.is_true(&scope))
    }

    /// Whether it was told of long enough ago.
    fn may_tell(&self, kept: &OpenWindows, time: Timestamp) -> bool {
        let (Some(once), Some(told)) = (self.settings.once, kept.told) else { return true };
        Timestamp(told).plus(once) <= time
    }

    fn emission(&self, data: Value, time: Timestamp, cause: &str, moment: &Moment<'_>) -> Emission {
        Emission {
            kind: self.settings.emit.value.as_str().into(),
            subject: moment.key.into(),
            time,
            parent_id: Some(cause.into()),
            data,
        }
    }

    /// What is kept from now on, and until when.
    fn kept(&self, kept: OpenWindows, moment: &Moment<'_>) -> Change<OpenWindows> {
        let over = match &self.settings.form {
            // Which events count, hangs on the newest one alone. An event that comes late may still
            // count those that are older than the window by now.
            WindowForm::Sliding { span, .. } => {
                kept.samples.last().map(|sample| Timestamp(sample.time).plus(*span * 2))
            }
            _ => {
                kept.windows.iter().map(|window| Timestamp(window.end).plus(self.lateness())).min()
            }
        };
        let forgotten =
            kept.forgotten(self.settings.once).filter(|forgotten| moment.time < *forgotten);
        match over.or(forgotten) {
            Some(due) => Change::keep(kept).until(due),
            None => Change::forget(),
        }
    }
}

#[cfg(test)]
mod tests;
