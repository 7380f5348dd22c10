//! Something holds for a while, or nothing comes for a while.

use super::{BY, EventSummary, MAX_KEYS, SPAN, read_key, shape_of, with_key};
use crate::contract::{Kind, Services};
use crate::memory::{
    Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_or_one, shortened,
};
use crate::table::TableNode;
use kernel::event::Event;
use kernel::time::{Timestamp, write_duration};
use language::diagnostic::Rule;
use language::expr::{EventTypes, Expr, Roots, Scope, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, ValueKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use store::{Emission, Moment};

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new("key", "each key is watched separately; an event whose key is null is ignored")
        .examples(&[r#"key "event.subject""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .otherwise("all events together"),
    NodeRow::new("hold", "sends an event when this condition has held for the duration of `for`: it begins with the first event that meets it, and ends with one that does not")
        .examples(&[
            r#"hold "event.type == 'open'" for="10m" again="10m""#,
            r#"hold "data.power < 5" for="60s" once-after="data.power > 10""#,
            r#"hold "data.power < 5" for="60s" by=arrival"#,
        ])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))])
        .props(&[
            Prop::required("for", SPAN),
            Prop::new("again", SPAN),
            Prop::new("once-after", ValueKind::Expr(Roots::EVENT)),
            BY,
        ]),
    NodeRow::new("silent", "sends an event when none arrives for this long")
        .examples(&[r#"silent "5m""#, r#"silent "5m" again="1h" by=arrival"#])
        .args(&[Arg::one("duration", SPAN)])
        .props(&[Prop::new("again", SPAN), BY]),
    NodeRow::new("keys", "a table of keys that are watched from the start, so that `silent` also reports those that never sent an event")
        .examples(&[r#"keys table="tables/sensors.csv" column=id"#])
        .props(&[
            Prop::required("table", ValueKind::Path),
            Prop::required("column", ValueKind::Text),
        ]),
    NodeRow::new("emit", "the type of the event that is sent, and of the one that is sent when it is over")
        .examples(&["emit door.left-open", "emit sensor.silent back=sensor.back"])
        .args(&[Arg::one("type", ValueKind::Literal)])
        .props(&[Prop::new("back", ValueKind::Literal)])
        .required(),
    MAX_KEYS,
];

/// The kind `watch`.
pub(super) struct WatchMemory(WatchSettings);

/// What is watched, and what is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WatchSettings {
    key: Option<Expr>,
    what: Watched,
    span: Duration,
    again: Option<Duration>,
    emit: Spanned<String>,
    back: Option<Spanned<String>>,
    /// Keys that are watched from the start.
    expected: Vec<String>,
    shape: MemoryShape,
}

#[derive(Debug, Clone, PartialEq)]
enum Watched {
    Hold { condition: Box<Expr>, armed_by: Option<Box<Expr>> },
    Silence,
}

impl Kind for WatchMemory {
    const WORD: &'static str = "watch";
    const SUMMARY: &'static str =
        "sends an event when a condition lasts, or when events stop arriving";
    const EXAMPLE: &'static str = r#"watch doors { key "event.subject"; hold "event.type == 'open'" for="10m"; emit door.left-open }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = WatchSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<WatchSettings> {
        let (hold, silent) = (fields.child("hold"), fields.child("silent"));
        let node = match (&hold, &silent) {
            (Some(hold), None) => hold,
            (None, Some(silent)) => silent,
            (Some(_), Some(second)) => {
                context
                    .diagnostics
                    .push(Rule::RepeatedNode, "a watch has either `hold` or `silent`")
                    .at(second.name().span, "a second condition")
                    .help("write a second `watch` for it");
                return None;
            }
            (None, None) => {
                context
                    .diagnostics
                    .push(Rule::MissingNode, "a watch needs `hold` or `silent`")
                    .at(fields.head(), "no condition is given")
                    .help("write `hold \"data.power < 5\" for=\"60s\"` or `silent \"5m\"`");
                return None;
            }
        };
        let emit = fields.child("emit")?;
        let what = match &hold {
            Some(hold) => Watched::Hold {
                condition: Box::new(hold.arg(0)?.expr(Roots::EVENT)?.value),
                armed_by: hold
                    .prop("once-after")
                    .and_then(|prop| prop.expr(Roots::EVENT))
                    .map(|expr| Box::new(expr.value)),
            },
            None => Watched::Silence,
        };
        let span = match &hold {
            Some(hold) => hold.prop("for"),
            None => node.arg(0),
        };
        let shape = shape_of(fields, Some(node.name().value));
        let expected = match fields.child("keys") {
            Some(keys) => read_expected(&keys, &what, &shape, context)?,
            None => Vec::new(),
        };
        Some(WatchSettings {
            expected,
            key: read_key(fields).map(|key| key.value),
            what,
            span: span?.duration()?.value,
            again: node
                .prop("again")
                .and_then(|prop| prop.duration())
                .map(|duration| duration.value),
            emit: emit.arg(0)?.text()?,
            back: emit.prop("back").and_then(|prop| prop.text()),
            shape,
        })
    }
}

/// The keys of a table.
fn read_expected(
    keys: &Fields<'_>,
    what: &Watched,
    shape: &MemoryShape,
    context: &mut Context<'_>,
) -> Option<Vec<String>> {
    let (path, column) = (keys.prop("table")?, keys.prop("column")?.text()?);
    let problem = match what {
        Watched::Hold { .. } => Some((
            "`keys` has no effect on `hold`",
            "remove it: a condition can hold only from an event on; `silent` reports keys that never sent one",
        )),
        Watched::Silence if shape.key.is_empty() => Some((
            "`keys` needs a `key`",
            "say which value of an event is the key: `key \"event.subject\"`",
        )),
        Watched::Silence => None,
    };
    if let Some((message, help)) = problem {
        let found = context.diagnostics.push(Rule::NoEffect, message);
        found.at(keys.name().span, "no key is read from the table").help(help);
        return Some(Vec::new());
    }
    let span = path.span();
    let table =
        TableNode { node: *keys, has_columns: false, path, key: Some(column), select: Vec::new() };
    let table = table.open(context)?;
    let expected = table.rows().iter().filter_map(|row| row.key.clone()).map(shortened);
    let expected: Vec<String> = expected.collect();
    if shape.keys_max < expected.len() as u64 {
        let (count, most) = (expected.len(), shape.keys_max);
        context
            .diagnostics
            .push(Rule::OutOfRange, format!("the table has {count} keys, more than `max-keys`"))
            .at(span, format!("at most {most} are remembered"))
            .help(format!("write `max-keys {count}`, or more if others come"));
    }
    Some(expected)
}

impl MemoryKind for WatchMemory {
    fn shape(settings: &WatchSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn emits(settings: &WatchSettings, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        let data = match &settings.what {
            Watched::Hold { condition, .. } => known.data_where(condition),
            Watched::Silence => known.data(),
        };
        let last = EventSummary::shape(data);
        let shape = ValueType::map([
            ("since", ValueType::text()),
            ("seconds", ValueType::number()),
            ("last", if settings.expected.is_empty() { last } else { last.or_null() }),
        ]);
        let kinds = std::iter::once(&settings.emit).chain(&settings.back);
        kinds.map(|kind| (kind.clone(), shape.clone())).collect()
    }

    fn causes(settings: &WatchSettings, known: &TypeEnv) -> EventTypes {
        let known = with_key(known, settings.key.as_ref());
        match &settings.what {
            Watched::Hold { condition, .. } => known.always(condition),
            Watched::Silence => known.here,
        }
    }

    fn says(settings: &WatchSettings) -> String {
        let (span, key) = (write_duration(settings.span), for_key(settings.key.as_ref()));
        match &settings.what {
            Watched::Hold { condition, .. } => format!("{} for {span}{key}", condition.text()),
            Watched::Silence => format!("silent for {span}{key}"),
        }
    }

    fn open(settings: WatchSettings, _: Services) -> OpenMemory {
        OpenMemory::of(WatchMemory(settings))
    }
}

/// What an event says.
pub(super) struct WatchNoted {
    holds: bool,
    arms: bool,
    event: EventSummary,
}

/// What is known of one key.
#[derive(Serialize, Deserialize)]
pub(super) struct WatchKept {
    /// Since when it holds, or nothing came; none while it does not hold.
    since: Option<i64>,
    /// Whether that was told.
    is_told: bool,
    /// When it was reported last.
    #[serde(default)]
    told: Option<i64>,
    /// Whether it may be told again.
    is_armed: bool,
    last: EventSummary,
}

impl Remember for WatchMemory {
    type Kept = WatchKept;
    type Noted = WatchNoted;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, WatchNoted)> {
        let scope = Scope::of(event, now);
        let key = key_or_one(self.0.key.as_ref(), &scope)?;
        let (holds, arms) = match &self.0.what {
            Watched::Hold { condition, armed_by } => {
                let arms = armed_by.as_ref().map(|it| it.is_true(&scope));
                let holds = condition.is_true(&scope);
                (holds, arms.unwrap_or(!holds))
            }
            Watched::Silence => (true, true),
        };
        Some((key, WatchNoted { holds, arms, event: EventSummary::of(event) }))
    }

    fn step(
        &self,
        kept: Option<WatchKept>,
        noted: &WatchNoted,
        moment: &Moment<'_>,
    ) -> Change<WatchKept> {
        let before = kept.as_ref();
        // An event out of order says nothing of what holds now.
        let is_older =
            |it: &WatchKept| moment.time.0 < it.last.time && it.last.time <= moment.now.0;
        if before.is_some_and(|it| it.came() && is_older(it)) {
            let kept = kept.expect("there is one");
            let due = self.due(&kept);
            return Change { due, is_late: true, ..Change::keep(kept) };
        }
        let back = before.filter(|it| it.is_told && self.is_over(noted)).and_then(|it| {
            let kind = self.0.back.as_ref()?;
            Some(self.emission(kind, it, moment))
        });
        let is_silence = self.0.what == Watched::Silence;
        let needs_arming = self.needs_arming();
        let is_armed = noted.arms || before.map_or(!needs_arming, |it| it.is_armed);
        let since = match before {
            _ if is_silence => Some(moment.time.0),
            _ if !noted.holds => None,
            _ => {
                let since = before.and_then(|it| it.since).unwrap_or(moment.time.0);
                Some(since.min(moment.time.0))
            }
        };
        let was_told = before.is_some_and(|it| it.is_told);
        let kept = WatchKept {
            since,
            is_told: was_told && !self.is_over(noted),
            told: before.and_then(|it| it.told),
            is_armed,
            last: EventSummary { time: moment.time.0, ..noted.event.clone() },
        };
        let due = match since {
            Some(_) if kept.is_told => self.due(&kept),
            Some(since) if is_armed => Some(Timestamp(since).plus(self.0.span)),
            Some(_) => None,
            None => self.due(&kept),
        };
        Change { kept: Some(kept), due, emits: back.into_iter().collect(), ..Change::forget() }
    }

    fn wake(&self, kept: WatchKept, moment: &Moment<'_>) -> Change<WatchKept> {
        if kept.since.is_none() {
            return Change::forget();
        }
        let emission = self.emission(&self.0.emit, &kept, moment);
        let told = Some(moment.time.0);
        let kept = WatchKept { is_told: true, told, is_armed: false, ..kept };
        let due = self.due(&kept);
        Change { due, emits: vec![emission], ..Change::keep(kept) }
    }

    fn expected(&self) -> &[String] {
        &self.0.expected
    }

    fn expect(&self, moment: &Moment<'_>) -> Change<WatchKept> {
        let last = EventSummary { time: moment.time.0, ..EventSummary::default() };
        let since = Some(moment.time.0);
        let kept = WatchKept { since, is_told: false, told: None, is_armed: true, last };
        Change::keep(kept).until(moment.time.plus(self.0.span))
    }
}

impl WatchKept {
    /// Whether an event came at all.
    fn came(&self) -> bool {
        !self.last.id.is_empty()
    }
}

impl WatchMemory {
    /// Whether something else has to come before it may be told.
    fn needs_arming(&self) -> bool {
        matches!(&self.0.what, Watched::Hold { armed_by: Some(_), .. })
    }

    /// Whether an event ends what was told.
    fn is_over(&self, noted: &WatchNoted) -> bool {
        match &self.0.what {
            Watched::Hold { .. } => !noted.holds,
            Watched::Silence => true,
        }
    }

    /// The next time to tell of what goes on.
    fn due(&self, kept: &WatchKept) -> Option<Timestamp> {
        let Some(since) = kept.since.map(Timestamp) else {
            // For a while it is known that it does not hold: an event may come out of order.
            let forgets = !self.needs_arming();
            return forgets.then(|| Timestamp(kept.last.time).plus(self.0.span));
        };
        let first = since.plus(self.0.span);
        if !kept.is_told {
            return kept.is_armed.then_some(first);
        }
        // Counted from what was told last: an event out of order must not have it told again.
        Some(kept.told.map_or(first, Timestamp).plus(self.0.again?))
    }

    fn emission(&self, kind: &Spanned<String>, kept: &WatchKept, moment: &Moment<'_>) -> Emission {
        let since = Timestamp(kept.since.unwrap_or(moment.time.0));
        let data = json!({
            "since": since.to_string(),
            "seconds": moment.time.since(since).as_secs_f64(),
            "last": if kept.came() { kept.last.json() } else { Value::Null },
        });
        let emission = kept.last.causes(kind, moment, data);
        Emission { parent_id: emission.parent_id.filter(|_| kept.came()), ..emission }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};

    #[track_caller]
    fn check(text: &str, rows: &[(i64, Value)], until: i64, expected: &[(&str, i64, f64)]) {
        let mut world = Memorised::new(WatchMemory(testing::settings::<WatchMemory>(text)));
        for (at, power) in rows {
            world.event(*at, json!({ "p": power }));
        }
        world.pass(Timestamp(until * 1_000_000));
        let told = world.told().into_iter();
        let told: Vec<_> = told.map(|it| (it.0, it.1, it.2["seconds"].as_f64().unwrap())).collect();
        let expected: Vec<_> = expected.iter().map(|it| (it.0.to_owned(), it.1, it.2)).collect();
        assert_eq!(told, expected);
    }

    fn powers(rows: &[(i64, i64)]) -> Vec<(i64, Value)> {
        rows.iter().map(|(at, power)| (*at, json!(power))).collect()
    }

    #[test]
    fn what_holds_long_enough_is_told_once() {
        let text = "hold \"data.p < 5\" for=\"60s\"\nemit done";
        check(text, &powers(&[(0, 1), (30, 2), (59, 3)]), 60, &[("done", 60, 60.0)]);
        check(text, &powers(&[(0, 1), (30, 9), (40, 1)]), 99, &[]);
        check(text, &powers(&[(0, 1), (30, 9), (40, 1)]), 500, &[("done", 100, 60.0)]);
        let twice = [("done", 60, 60.0), ("done", 160, 60.0)];
        check(text, &powers(&[(0, 1), (90, 9), (100, 1)]), 500, &twice);
        // Exactly when it is due, the time comes before the event.
        check(text, &powers(&[(0, 1), (60, 9)]), 60, &[("done", 60, 60.0)]);
        check(text, &powers(&[(0, 9)]), 500, &[]);
    }

    #[test]
    fn an_event_out_of_order_says_nothing() {
        let text = "hold \"data.p < 5\" for=\"60s\"\nemit done";
        check(text, &powers(&[(0, 1), (30, 9), (20, 1)]), 500, &[]);
        check(text, &powers(&[(0, 1), (30, 1), (20, 9)]), 60, &[("done", 60, 60.0)]);
        let mut world = Memorised::new(WatchMemory(testing::settings::<WatchMemory>(text)));
        world.event(0, json!({ "p": 9 }));
        assert_eq!(world.keys(), 1);
        world.pass(Timestamp(60_000_000));
        assert_eq!((world.keys(), world.told().len()), (0, 0));
    }

    #[test]
    fn what_was_told_is_not_told_again_because_of_an_event_out_of_order() {
        let text = "hold \"data.p < 5\" for=\"60s\" again=\"20s\"\nemit long";
        let mut world = Memorised::new(WatchMemory(testing::settings::<WatchMemory>(text)));
        world.event(0, json!({ "p": 1 }));
        world.pass(Timestamp(85_000_000));
        world.event(-5, json!({ "p": 9 }));
        world.pass(Timestamp(100_000_000));
        let told: Vec<i64> = world.told().into_iter().map(|it| it.1).collect();
        assert_eq!(told, [60, 80, 100]);
    }

    #[test]
    fn it_is_told_again_and_when_it_is_over() {
        let text = "hold \"data.p < 5\" for=\"60s\" again=\"20s\"\nemit long back=over";
        let expected =
            [("long", 60, 60.0), ("long", 80, 80.0), ("over", 90, 90.0), ("long", 160, 60.0)];
        check(text, &powers(&[(0, 1), (70, 2), (90, 9), (100, 1)]), 170, &expected);
    }

    #[test]
    fn what_must_be_armed_waits_for_it() {
        let text = "hold \"data.p < 5\" for=\"60s\" once-after=\"data.p > 10\"\nemit done";
        check(text, &powers(&[(0, 1)]), 500, &[]);
        let rows = powers(&[(0, 1), (100, 20), (110, 1), (200, 7), (210, 1)]);
        check(text, &rows, 900, &[("done", 170, 60.0)]);
    }

    #[test]
    fn silence_is_told_and_its_end() {
        let text = "silent \"5m\"\nemit quiet back=here";
        let expected = [("quiet", 310, 300.0), ("here", 1000, 990.0), ("quiet", 1300, 300.0)];
        check(text, &powers(&[(0, 1), (10, 1), (1000, 1)]), 2000, &expected);
    }

    #[test]
    fn a_watch_is_for_one_thing() {
        let found = testing::findings::<WatchMemory>("emit a");
        assert_eq!(found, ["E0018 a watch needs `hold` or `silent`"]);
        let both = "hold \"true\" for=\"1s\"\nsilent \"1s\"\nemit a";
        assert_eq!(
            testing::findings::<WatchMemory>(both),
            ["E0017 a watch has either `hold` or `silent`"]
        );
    }
}
