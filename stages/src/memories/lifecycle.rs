//! Many messages about one thing that begins, goes on and ends.

use super::{EventSummary, MAX_KEYS, SPAN, name_of, read_key, shape_of};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_of};
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Event;
use kernel::time::{Timestamp, write_duration};
use language::expr::{Expr, Roots, Scope, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::Moment;

const CONDITION: &[Prop] = &[Prop::required("when", ValueKind::Expr(Roots::EVENT))];

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new(
        "key",
        "events with the same key belong to one visit; an event whose key is null belongs to none",
    )
    .examples(&[r#"key "data.id""#])
    .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
    .required(),
    NodeRow::new(
        "start",
        "which events start a visit; an event that another node sent starts one only if it is \
         one of these",
    )
    .examples(&[r#"start when="event.type == 'object.new'""#])
    .props(CONDITION)
    .required(),
    NodeRow::new(
        "update",
        "which other events belong to a visit; one that arrives before any `start` starts it",
    )
    .examples(&[r#"update when="event.type in ['object.update', 'face']""#])
    .props(CONDITION)
    .otherwise("every other event with the key"),
    NodeRow::new(
        "end",
        "which events end a visit; a late event that happened before the end still belongs to it",
    )
    .examples(&[r#"end when="event.type == 'object.end'""#])
    .props(CONDITION)
    .required(),
    NodeRow::new(
        "idle",
        "ends a visit that has had no messages for this long, with an event of type `NAME.end`",
    )
    .examples(&[r#"idle "90s""#])
    .args(&[Arg::one("duration", SPAN)])
    .default("\"2m\""),
    NodeRow::new("emit", "the phases whose events pass; the others are dropped")
        .examples(&["emit start end"])
        .args(&[Arg::some("phase", ValueKind::Word(LifecyclePhase::WORDS))])
        .default("start update end"),
    MAX_KEYS,
];

choice! {
    /// Where in a visit an event is.
    enum LifecyclePhase {
        /// It is the first one.
        Start = "start",
        /// There was one before.
        Update = "update",
        /// It is the last one.
        End = "end",
    }
}

/// The kind `lifecycle`.
pub(super) struct Lifecycle(LifecycleSettings);

/// What begins, goes on and ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LifecycleSettings {
    name: Arc<str>,
    key: Expr,
    start: Expr,
    update: Option<Expr>,
    end: Expr,
    idle: Duration,
    phases: Vec<LifecyclePhase>,
    /// The type of the event that ends a visit of which nothing was heard.
    ended: Spanned<String>,
    shape: MemoryShape,
}

impl Kind for Lifecycle {
    const WORD: &'static str = "lifecycle";
    const SUMMARY: &'static str =
        "groups the messages of one visit, and ends the visit when no more arrive";
    const EXAMPLE: &'static str = r#"lifecycle visit { key "data.id"; start when="event.type == 'object.new'"; end when="event.type == 'object.end'"; idle "90s" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = LifecycleSettings;

    fn read(fields: &Fields<'_>, _: &mut Context<'_>) -> Option<LifecycleSettings> {
        let condition =
            |name: &str| Some(fields.child(name)?.prop("when")?.expr(Roots::EVENT)?.value);
        let name = name_of(fields, "visit");
        let phases = fields.child("emit");
        let phases: Vec<LifecyclePhase> =
            phases.iter().flat_map(Fields::args).filter_map(|it| it.choice()).collect();
        Some(LifecycleSettings {
            name: name.value.as_str().into(),
            key: read_key(fields)?.value,
            start: condition("start")?,
            update: condition("update"),
            end: condition("end")?,
            idle: fields.setting("idle").arg(0, Scalar::duration).value,
            phases: if phases.is_empty() { LifecyclePhase::ALL.to_vec() } else { phases },
            ended: name.map(|name| format!("{name}.end")),
            shape: shape_of(fields, None),
        })
    }
}

impl MemoryKind for Lifecycle {
    fn shape(settings: &LifecycleSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn adds(settings: &LifecycleSettings) -> Option<ValueType> {
        let visit = ValueType::map([
            ("phase", ValueType::one_of(settings.phases.iter().map(|phase| phase.word()))),
            ("id", ValueType::text()),
            ("since", ValueType::text()),
            ("events", ValueType::number()),
            ("seconds", ValueType::number()),
        ]);
        Some(visit.or_null())
    }

    fn emits(settings: &LifecycleSettings, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        let data = ValueType::map([
            ("id", ValueType::text()),
            ("since", ValueType::text()),
            ("events", ValueType::number()),
            ("seconds", ValueType::number()),
            ("last", EventSummary::shape(known.data())),
        ]);
        let sends = settings.phases.contains(&LifecyclePhase::End);
        sends.then(|| (settings.ended.clone(), data)).into_iter().collect()
    }

    fn says(settings: &LifecycleSettings) -> String {
        let idle = write_duration(settings.idle);
        format!("until {}, or {idle} idle{}", settings.end.text(), for_key(Some(&settings.key)))
    }

    fn open(settings: LifecycleSettings, _: Services) -> OpenMemory {
        OpenMemory::of(Lifecycle(settings))
    }
}

/// What an event is to its visit.
pub(super) enum LifecycleNoted {
    /// It starts or ends it, or is of it; where there is none, it may be the first event of one.
    Of { starts: bool, may_begin: bool, ends: bool, event: EventSummary },
    /// It says that the visit is over, and what it was.
    Over(Value),
}

/// A visit that is not over, or not for long.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenVisit {
    /// The id of its first event.
    id: String,
    since: i64,
    events: u64,
    last: EventSummary,
    /// The id of the one that was counted last, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<String>,
    /// When it was over. What happened before and comes late is of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<i64>,
}

impl Remember for Lifecycle {
    type Kept = OpenVisit;
    type Noted = LifecycleNoted;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, LifecycleNoted)> {
        if event.sender() == Some(&*self.0.name) {
            let key = event.envelope.subject.to_string();
            return Some((key, LifecycleNoted::Over((*event.data).clone())));
        }
        let scope = Scope::of(event, now);
        let (starts, ends) = (self.0.start.is_true(&scope), self.0.end.is_true(&scope));
        let updates = || self.0.update.as_ref().is_none_or(|update| update.is_true(&scope));
        if !starts && !ends && !updates() {
            return None;
        }
        let key = key_of(&self.0.key, &scope)?;
        // What a node of the file sends is about a visit, which may be over by then.
        let may_begin = starts || event.sender().is_none();
        Some((key, LifecycleNoted::Of { starts, may_begin, ends, event: EventSummary::of(event) }))
    }

    fn step(
        &self,
        kept: Option<OpenVisit>,
        noted: &LifecycleNoted,
        moment: &Moment<'_>,
    ) -> Change<OpenVisit> {
        let (starts, may_begin, ends, event) = match noted {
            LifecycleNoted::Of { starts, may_begin, ends, event } => {
                (*starts, *may_begin, *ends, event)
            }
            // Another visit may have begun since.
            LifecycleNoted::Over(visit) => {
                let mut visit = visit.clone();
                visit["phase"] = LifecyclePhase::End.word().into();
                return Change { output: Some(visit), ..self.waiting(kept) };
            }
        };
        // What happened at the same time as the end is of the visit, unless it starts the next one.
        let time = moment.time.0 + i64::from(starts);
        let has_visit = |it: &OpenVisit| it.ended.is_none_or(|ended| time < ended);
        if !may_begin && !kept.as_ref().is_some_and(has_visit) {
            return self.waiting(kept);
        }
        let kept = kept.filter(has_visit);
        // Its own visit was over before this one began, and nobody knows any more what it was.
        let is_late = kept.as_ref().is_some_and(|it| self.begins_long_after(it, moment));
        if is_late {
            return Change { is_late, ..self.waiting(kept) };
        }
        let phase = match &kept {
            Some(visit) if visit.ended.is_some() => LifecyclePhase::Update,
            _ if ends => LifecyclePhase::End,
            Some(_) => LifecyclePhase::Update,
            None => LifecyclePhase::Start,
        };
        let event = EventSummary { time: moment.time.0, ..event.clone() };
        let mut visit = match kept {
            Some(visit) => visit.with(event, moment),
            None => OpenVisit::new(event),
        };
        if phase == LifecyclePhase::End {
            // What happened at the same time as the end, too.
            visit.ended = Some(moment.time.0 + 1);
        }
        let mut output = visit.json();
        output["phase"] = phase.word().into();
        let is_dropped = !self.0.phases.contains(&phase);
        Change { output: Some(output), is_dropped, ..self.waiting(Some(visit)) }
    }

    fn wake(&self, visit: OpenVisit, moment: &Moment<'_>) -> Change<OpenVisit> {
        if visit.ended.is_some() {
            return Change::forget();
        }
        let mut data = visit.json();
        data["last"] = visit.last.json();
        let sends = self.0.phases.contains(&LifecyclePhase::End);
        let emission = sends.then(|| visit.last.causes(&self.0.ended, moment, data));
        let visit = OpenVisit { ended: Some(moment.time.0), ..visit };
        Change { emits: emission.into_iter().collect(), ..self.waiting(Some(visit)) }
    }
}

impl Lifecycle {
    /// A visit until nothing is heard of it; one that ended until what comes late is too late.
    fn waiting(&self, visit: Option<OpenVisit>) -> Change<OpenVisit> {
        let Some(visit) = visit else { return Change::forget() };
        let from = visit.ended.unwrap_or(visit.last.time);
        Change::keep(visit).until(Timestamp(from).plus(self.0.idle))
    }

    /// Whether there were so many seconds between an event and the visit that it cannot be of it.
    fn begins_long_after(&self, visit: &OpenVisit, moment: &Moment<'_>) -> bool {
        moment.time.plus(self.0.idle).0 <= visit.since && visit.since <= moment.now.0
    }
}

impl OpenVisit {
    fn new(event: EventSummary) -> Self {
        let (id, since) = (event.id.clone(), event.time);
        OpenVisit { id, since, events: 1, last: event, counted: None, ended: None }
    }

    fn with(self, event: EventSummary, moment: &Moment<'_>) -> Self {
        // One out of order says nothing new.
        let is_older = event.time < self.last.time && self.last.time <= moment.now.0;
        // What was dropped is not known by its id any more, and may be sent again.
        let is_counted = event.id == self.last.id || self.counted.as_ref() == Some(&event.id);
        let events = self.events + u64::from(!is_counted);
        let since = self.since.min(event.time);
        match is_older {
            true => OpenVisit { events, since, counted: Some(event.id), ..self },
            false => OpenVisit { events, since, last: event, counted: None, ..self },
        }
    }

    fn json(&self) -> Value {
        let since = Timestamp(self.since);
        json!({
            "id": self.id,
            "since": since.to_string(),
            "events": self.events,
            "seconds": Timestamp(self.last.time).since(since).as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};

    const TEXT: &str = "key \"data.id\"
start when=\"event.type == 'new'\"
end when=\"event.type == 'end'\"
idle \"60s\"";

    /// The phase of each event, and how many there were; then what was sent.
    #[track_caller]
    fn check(text: &str, rows: &[(&str, i64)], expected: &[&str]) {
        let mut world = Memorised::new(Lifecycle(testing::settings::<Lifecycle>(text)));
        let mut told = Vec::new();
        for (kind, at) in rows {
            told.push(match world.typed(kind, *at, json!({ "id": "a" })) {
                None => format!("{at} -"),
                Some(step) if step.is_dropped => format!("{at} dropped"),
                Some(step) if step.output.is_none() => format!("{at} null"),
                Some(step) => {
                    let visit: Value = serde_json::from_str(&step.output.unwrap()).unwrap();
                    let phase = visit["phase"].as_str().unwrap().to_owned();
                    format!("{at} {phase} {} {}", visit["events"], visit["seconds"])
                }
            });
            told.extend(
                world.told().iter().map(|it| format!("{} {} {}", it.1, it.0, it.2["events"])),
            );
        }
        world.pass(Timestamp(10_000_000_000));
        told.extend(world.told().iter().map(|it| format!("{} {} {}", it.1, it.0, it.2["events"])));
        assert_eq!(told, expected);
    }

    #[test]
    fn a_visit_starts_goes_on_and_ends() {
        let rows = [("new", 0), ("move", 5), ("new", 9), ("end", 20), ("move", 25)];
        let expected = [
            "0 start 1 0.0",
            "5 update 2 5.0",
            "9 update 3 9.0",
            "20 end 4 20.0",
            "25 start 1 0.0",
            "85 visit.end 1",
        ];
        check(TEXT, &rows, &expected);
    }

    #[test]
    fn a_visit_may_start_when_the_last_one_ends() {
        let rows = [("new", 0), ("end", 1), ("move", 1), ("new", 1), ("move", 2)];
        let expected = [
            "0 start 1 0.0",
            "1 end 2 1.0",
            "1 update 3 1.0",
            "1 start 1 0.0",
            "2 update 2 1.0",
            "62 visit.end 2",
        ];
        check(TEXT, &rows, &expected);
    }

    #[test]
    fn what_nobody_ends_ends_by_itself() {
        let rows = [("new", 0), ("move", 50), ("move", 200)];
        let expected = [
            "0 start 1 0.0",
            "50 update 2 50.0",
            "200 start 1 0.0",
            "110 visit.end 2",
            "260 visit.end 1",
        ];
        check(TEXT, &rows, &expected);
        check(TEXT, &[("end", 3)], &["3 end 1 0.0"]);
    }

    #[test]
    fn what_comes_late_is_of_the_visit_in_which_it_happened() {
        let rows = [("new", 100), ("end", 120), ("face", 110), ("end", 105), ("move", 121)];
        let expected = [
            "100 start 1 0.0",
            "120 end 2 20.0",
            "110 update 3 20.0",
            "105 update 4 20.0",
            "121 start 1 0.0",
            "181 visit.end 1",
        ];
        check(TEXT, &rows, &expected);
        // Ended by itself at 160.
        let rows = [("new", 100), ("other", 170), ("move", 159), ("face", 30), ("move", 300)];
        let text = format!("{TEXT}\nupdate when=\"event.type != 'other'\"");
        let expected = [
            "100 start 1 0.0",
            "170 -",
            "160 visit.end 1",
            "159 update 2 59.0",
            "30 null",
            "300 start 1 0.0",
            "360 visit.end 1",
        ];
        check(&text, &rows, &expected);
    }

    #[test]
    fn an_event_of_the_same_type_that_another_stage_sent_is_one_of_the_visit() {
        let rows = [("new", 0), ("visit.end", 5)];
        check(TEXT, &rows, &["0 start 1 0.0", "5 update 2 5.0", "65 visit.end 2"]);
    }

    #[test]
    fn what_another_stage_sent_starts_a_visit_only_where_start_names_it() {
        let check = |text: &str, rows: &[(&str, i64)], expected: &[&str]| {
            let mut world = Memorised::new(Lifecycle(testing::settings::<Lifecycle>(text)));
            let mut told = Vec::new();
            for (kind, at) in rows {
                let (kind, sender) = match kind.strip_prefix('>') {
                    Some(kind) => (kind, Some("silence")),
                    None => (*kind, None),
                };
                let step = world.sent_by(sender, kind, *at, json!({ "id": "a" }));
                let output = step.and_then(|step| step.output);
                let visit = output.map(|it| serde_json::from_str::<Value>(&it).unwrap());
                told.push(visit.map_or("-".to_owned(), |it| {
                    format!("{} {}", it["phase"].as_str().unwrap(), it["events"])
                }));
            }
            assert_eq!(told, expected, "{text}");
        };
        // Before any visit, within one, and after its end by an event or by itself.
        let rows = [(">quiet", 0), ("move", 5), (">quiet", 9), ("end", 20), (">quiet", 25)];
        check(TEXT, &rows, &["-", "start 1", "update 2", "end 3", "-"]);
        check(TEXT, &[("new", 0), (">quiet", 70), ("move", 75)], &["start 1", "-", "start 1"]);
        // What comes late is still of the visit before.
        let rows = [("new", 0), ("end", 20), (">quiet", 25), ("move", 19), (">quiet", 19)];
        check(TEXT, &rows, &["start 1", "end 2", "-", "update 3", "update 4"]);
        // What ends a visit ends only one that there is.
        let ends = TEXT.replace("'end'", "'quiet'");
        check(&ends, &[(">quiet", 0), ("new", 5), (">quiet", 9)], &["-", "start 1", "end 2"]);
        let starts = TEXT.replace("'new'", "'quiet'");
        check(&starts, &[(">quiet", 0), (">other", 5)], &["start 1", "update 2"]);
    }

    #[test]
    fn only_some_events_and_phases_count() {
        let text = format!("{TEXT}\nupdate when=\"event.type == 'face'\"\nemit start end");
        let rows = [("new", 0), ("move", 5), ("face", 9), ("end", 20)];
        check(&text, &rows, &["0 start 1 0.0", "5 -", "9 dropped", "20 end 3 20.0"]);
        let text = format!("{TEXT}\nemit start");
        check(
            &text,
            &[("new", 0), ("end", 20), ("new", 30)],
            &["0 start 1 0.0", "20 dropped", "30 start 1 0.0"],
        );
    }
}
