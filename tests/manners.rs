//! Whether and when somebody is told: random events with reloads, kills and faults, over the nights
//! on which clocks change, against a plain model of each notifier.

use crate::support::world::{Behaviour, World};
use fastrand::Rng;
use kernel::time::{Timestamp, hour_of_week, zone};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEQUENCES: u64 = 4;
const EVENTS: usize = 40;
/// 2026-01-01T00:00:00Z, where the virtual clock begins.
const START: i64 = 1_767_225_600;
/// Noon on the days before the clocks change, in Berlin and in New York.
const BASES: [&str; 4] = [
    "2026-03-28T12:00:00Z",
    "2026-03-07T12:00:00Z",
    "2026-10-24T12:00:00Z",
    "2026-10-31T12:00:00Z",
];
const GAPS: [i64; 11] = [0, 1, 10, 29, 30, 31, 60, 119, 300, 3600, 5 * 3600];
const DOORS: [&str; 2] = ["front", "back"];
/// The length of a cooldown, in seconds.
const COOLDOWN: i64 = 600;

/// A notifier as the file has it, and as the model needs it. Times in seconds.
#[derive(Debug, Clone, Copy)]
struct NotifierCase {
    name: &'static str,
    /// The zone of its quiet hours, from 22:00 to 07:00.
    quiet: Option<(&'static str, &'static str)>,
    /// Days on which they begin, Monday first.
    days: [bool; 7],
    /// The time between messages, how many at once, and what becomes of the others.
    rate: Option<(i64, i64, &'static str)>,
    /// How long it waits for others, and then.
    group: Option<(i64, i64)>,
    has_cooldown: bool,
    /// For how long a fire at a door silences it.
    mute: Option<i64>,
    /// Whether its service refuses everything.
    is_dead: bool,
    /// How long it waits for a fire at its door.
    wait: Option<i64>,
    /// How often it sends an alert of a door again, and how often at most.
    repeat: Option<(i64, u32)>,
    /// Whether a fire takes back the alerts of its door.
    recovers: bool,
    /// Who gets an alert after so long, unless there is a fire at its door.
    escalate: Option<(i64, &'static str)>,
    /// Who gets what it could not deliver.
    fallback: Option<&'static str>,
    /// Whose it gets, and nothing else.
    from: Option<&'static str>,
}

const PLAIN: NotifierCase = NotifierCase {
    name: "",
    quiet: None,
    days: [true; 7],
    rate: None,
    group: None,
    has_cooldown: false,
    mute: None,
    is_dead: false,
    wait: None,
    repeat: None,
    recovers: false,
    escalate: None,
    fallback: None,
    from: None,
};

const NOTIFIERS: [NotifierCase; 17] = [
    NotifierCase { name: "later", quiet: Some(("Europe/Berlin", "delay")), ..PLAIN },
    NotifierCase {
        name: "never",
        quiet: Some(("America/New_York", "drop")),
        days: [true, true, true, true, true, false, true],
        has_cooldown: true,
        ..PLAIN
    },
    NotifierCase { name: "morning", quiet: Some(("America/New_York", "digest")), ..PLAIN },
    NotifierCase { name: "few", rate: Some((60, 2, "drop")), has_cooldown: true, ..PLAIN },
    NotifierCase { name: "calm", mute: Some(300), has_cooldown: true, ..PLAIN },
    NotifierCase { name: "slow", rate: Some((120, 2, "delay")), ..PLAIN },
    NotifierCase { name: "together", group: Some((30, 300)), ..PLAIN },
    NotifierCase {
        name: "all",
        quiet: Some(("Europe/Berlin", "digest")),
        days: [true, true, true, true, false, true, true],
        rate: Some((600, 1, "digest")),
        group: Some((30, 300)),
        has_cooldown: true,
        ..PLAIN
    },
    NotifierCase {
        name: "dead",
        group: Some((30, 30)),
        has_cooldown: true,
        is_dead: true,
        fallback: Some("spare"),
        ..PLAIN
    },
    NotifierCase {
        name: "spare",
        quiet: Some(("Europe/Berlin", "delay")),
        rate: Some((600, 1, "drop")),
        has_cooldown: true,
        is_dead: true,
        fallback: Some("last"),
        from: Some("dead"),
        ..PLAIN
    },
    NotifierCase {
        name: "last",
        quiet: Some(("America/New_York", "digest")),
        from: Some("spare"),
        ..PLAIN
    },
    NotifierCase {
        name: "patient",
        quiet: Some(("Europe/Berlin", "delay")),
        wait: Some(45),
        has_cooldown: true,
        ..PLAIN
    },
    NotifierCase { name: "again", repeat: Some((601, 3)), ..PLAIN },
    NotifierCase {
        name: "nag",
        quiet: Some(("Europe/Berlin", "delay")),
        repeat: Some((7321, 2)),
        has_cooldown: true,
        ..PLAIN
    },
    NotifierCase {
        name: "clear",
        quiet: Some(("America/New_York", "delay")),
        recovers: true,
        has_cooldown: true,
        ..PLAIN
    },
    NotifierCase {
        name: "guard",
        rate: Some((120, 2, "delay")),
        escalate: Some((299, "boss")),
        ..PLAIN
    },
    NotifierCase {
        name: "boss",
        quiet: Some(("Europe/Berlin", "digest")),
        from: Some("guard"),
        ..PLAIN
    },
];

impl NotifierCase {
    fn text(&self) -> String {
        let mut text = format!(
            "notify webhook {0} {{\n    url \"http://{0}.example/\"\n    retry give-up=\"30d\"\n",
            self.name
        );
        if let Some((zone, then)) = self.quiet {
            let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let days: Vec<&str> =
                days.into_iter().zip(self.days).filter(|it| it.1).map(|it| it.0).collect();
            text.push_str(&format!(
                "    quiet-hours \"22:00-07:00\" days=\"{}\" zone=\"{zone}\" then={then} \
                 allow=\"event.type == 'fire'\"\n",
                days.join(" ")
            ));
        }
        if let Some((interval, burst, excess)) = self.rate {
            let rate = 3600 / interval;
            text.push_str(&format!("    rate \"{rate}/h\" burst={burst} excess={excess}\n"));
        }
        if let Some((wait, then)) = self.group {
            text.push_str(&format!(
                "    group \"{wait}s\" key=\"event.subject\" then=\"{then}s\"\n"
            ));
        }
        if let Some(mute) = self.mute {
            text.push_str(&format!(
                "    mute when=\"event.type == 'fire'\" for=\"{mute}s\" key=\"event.subject\"\n"
            ));
        }
        let (key, fire) = ("key=\"event.subject\"", "\"event.type == 'fire'\"");
        if let Some(wait) = self.wait {
            text.push_str(&format!("    wait for={fire} up-to=\"{wait}s\" {key}\n"));
        }
        if let Some((every, max)) = self.repeat {
            text.push_str(&format!("    repeat \"{every}s\" {key} max={max} until={fire}\n"));
        }
        if self.recovers {
            text.push_str(&format!("    recover when={fire} {key}\n"));
        }
        if let Some((after, to)) = self.escalate {
            text.push_str(&format!("    escalate after=\"{after}s\" to={to} {key} until={fire}\n"));
        }
        if let Some(fallback) = self.fallback {
            text.push_str(&format!("    fallback {fallback}\n"));
        }
        if self.has_cooldown {
            text.push_str(&format!("    cooldown \"{COOLDOWN}s\" key=\"data.what\"\n"));
        }
        text + "}\n"
    }

    fn is_quiet(&self, at: i64) -> bool {
        let Some((name, _)) = self.quiet else { return false };
        let hour = hour_of_week(Timestamp(at * 1_000_000), zone(name).as_ref());
        let (day, hour) = (usize::from(hour / 24), hour % 24);
        (22 <= hour && self.days[day]) || (hour < 7 && self.days[(day + 6) % 7])
    }

    /// The first moment that is not quiet.
    fn quiet_end(&self, at: i64) -> i64 {
        let first = at - at % 60;
        (1..).map(|minute| first + 60 * minute).find(|it| !self.is_quiet(*it)).expect("it ends")
    }
}

fn pipeline(comment: &str) -> String {
    let notifiers: String = NOTIFIERS.iter().map(NotifierCase::text).collect();
    format!(
        r#"
// {comment}
pipeline manners schema-version=1
source http hook {{
    path "/hook"
    map {{ id "data.id"; type "data.type"; subject "data.door" }}
}}
sink sqlite db {{ path "db.sqlite"; retention {{ keep "300d" }} }}
{notifiers}"#
    )
}

#[derive(Debug, Clone)]
struct SentEvent {
    /// Unix seconds.
    at: i64,
    id: usize,
    is_fire: bool,
    door: &'static str,
    what: u8,
}

impl SentEvent {
    fn text(&self) -> String {
        let kind = if self.is_fire { "fire" } else { "ring" };
        let SentEvent { id, door, what, .. } = self;
        format!(r#"{{"id":"e{id}","type":"{kind}","door":"{door}","what":"w{what}"}}"#)
    }
}

/// What becomes of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    state: &'static str,
    /// Why it was suppressed, or told with another one.
    reason: Option<&'static str>,
    told_with: Option<usize>,
    /// When its message was sent.
    at: Option<i64>,
}

#[derive(Debug, Clone)]
struct Message {
    lead: usize,
    /// With the reason for which each joined.
    parts: Vec<(usize, &'static str)>,
    is_allowed: bool,
    held: &'static str,
    key: Option<&'static str>,
    due: i64,
    has_place: bool,
    /// How often it was sent before.
    repeats: u32,
}

/// One notifier, step by step.
struct Model<'a> {
    case: &'a NotifierCase,
    waiting: Vec<Message>,
    /// When the next message would be due at an even distance.
    next: i64,
    told: BTreeMap<&'static str, i64>,
    /// When there was a fire, by door.
    muted: BTreeMap<&'static str, i64>,
    /// Who began it, and when.
    cooling: BTreeMap<u8, (i64, usize)>,
    ended: BTreeMap<usize, Expected>,
    /// Messages that its service took or refused, in order.
    left: Vec<(i64, Message)>,
    /// The door of each event.
    doors: BTreeMap<usize, &'static str>,
    fires: BTreeSet<usize>,
    /// By door, what is sent again: when, what, and how often it was sent again.
    again: BTreeMap<&'static str, (i64, usize, u32)>,
    /// Alerts after which there was a fire.
    answered: BTreeSet<usize>,
    /// What was sent again: the event, which time, and when.
    repeated: Vec<(usize, u32, i64)>,
    /// By door, the alerts that a fire takes back, and whether they were sent.
    open: BTreeMap<&'static str, BTreeMap<usize, bool>>,
    /// By door, the alert that goes to another one, and when.
    escalating: BTreeMap<&'static str, (usize, Option<i64>)>,
    escalated: Vec<(i64, usize)>,
    acknowledged: Vec<usize>,
}

impl<'a> Model<'a> {
    fn of(case: &'a NotifierCase, sent: &'a [SentEvent], end: i64) -> Self {
        let (waiting, told, left) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (cooling, ended, muted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let doors = sent.iter().map(|it| (it.id, it.door)).collect();
        let mut model = Model {
            case,
            waiting,
            next: 0,
            told,
            muted,
            cooling,
            ended,
            left,
            doors,
            fires: sent.iter().filter(|it| it.is_fire).map(|it| it.id).collect(),
            again: BTreeMap::new(),
            answered: BTreeSet::new(),
            repeated: Vec::new(),
            open: BTreeMap::new(),
            escalating: BTreeMap::new(),
            escalated: Vec::new(),
            acknowledged: Vec::new(),
        };
        match case.from {
            Some(from) => model.take_all_of(from, sent, end),
            None => sent.iter().for_each(|it| {
                model.pass(it.at);
                if it.is_fire {
                    model.answer(it.door);
                }
                match case.recovers && it.is_fire {
                    true => model.take_back(it),
                    false => model.take(it),
                }
                if it.is_fire {
                    model.muted.insert(it.door, it.at);
                }
            }),
        }
        model.pass(end);
        model
    }

    /// What another one could not deliver.
    fn take_all_of(&mut self, from: &str, sent: &[SentEvent], end: i64) {
        let from = NOTIFIERS.iter().find(|notifier| notifier.name == from).expect("it is there");
        if from.escalate.is_some() {
            return self.take_escalated(&Model::of(from, sent, end), sent);
        }
        for (at, dead) in Model::of(from, sent, end).left {
            self.pass(at);
            let event = sent.iter().find(|it| it.id == dead.lead).expect("it was sent");
            let parts = dead.parts.iter().map(|part| (part.0, "fallback"));
            let message =
                Message { is_allowed: event.is_fire, parts: parts.collect(), ..Message::of(event) };
            if self.cools(event) {
                self.end_all(&message, "suppressed", Some("cooldown"), None);
                continue;
            }
            self.judge_alone(message, at);
        }
    }

    /// What nobody reacted to.
    fn take_escalated(&mut self, from: &Model<'_>, sent: &[SentEvent]) {
        for (at, id) in &from.escalated {
            self.pass(*at);
            let event = sent.iter().find(|it| it.id == *id).expect("it was sent");
            self.judge_alone(Message { is_allowed: event.is_fire, ..Message::of(event) }, *at);
        }
        for id in &from.acknowledged {
            self.end(*id, "suppressed", Some("until"), None, None);
        }
    }

    /// A fire at a door.
    fn answer(&mut self, door: &'static str) {
        let doors = &self.doors;
        self.answered.extend(self.ended.keys().filter(|key| doors[*key] == door));
        self.answered
            .extend(self.waiting.iter().map(|it| it.lead).filter(|lead| doors[lead] == door));
        self.again.remove(door);
        self.waiting.retain(|it| it.repeats == 0 || doors[&it.lead] != door);
        if let Some((id, _)) = self.escalating.remove(door) {
            self.acknowledged.push(id);
        }
    }

    /// An all-clear: what nobody has seen is dropped.
    fn take_back(&mut self, event: &SentEvent) {
        let open = self.open.remove(event.door).unwrap_or_default();
        for (id, _) in open.iter().filter(|it| !it.1) {
            let at = self.waiting.iter().position(|it| it.lead == *id).expect("it waits");
            let message = self.waiting.remove(at);
            self.end_all(&message, "suppressed", Some("recover"), None);
        }
        match open.values().any(|value| *value) {
            true => self.judge_alone(Message::of(event), event.at),
            false => self.end(event.id, "suppressed", Some("recover"), None, None),
        }
    }

    /// What follows when a message was sent.
    fn follow(&mut self, message: &Message, now: i64) {
        let (id, door) = (message.lead, self.doors[&message.lead]);
        let timed = self.again.get(door).map(|it| it.1);
        let held = self.waiting.iter().filter(|it| 0 < it.repeats).map(|it| it.lead);
        let held = held.filter(|it| self.doors[it] == door);
        let is_newest = timed.into_iter().chain(held).all(|it| it <= id);
        if let Some((every, max)) = self.case.repeat.filter(|_| is_newest) {
            self.waiting.retain(|it| it.repeats == 0 || self.doors[&it.lead] != door);
            let is_over = self.answered.contains(&id) || max <= message.repeats;
            match is_over {
                true => self.again.remove(door),
                false => self.again.insert(door, (now + every, id, message.repeats)),
            };
        }
        if let Some(known) = self.open.get_mut(door).and_then(|it| it.get_mut(&id)) {
            *known = true;
        }
        let after = self.case.escalate.map(|escalate| escalate.0);
        if let Some((known, due)) = self.escalating.get_mut(door).filter(|it| it.0 == id) {
            assert_eq!(*known, id);
            *due = after.map(|it| now + it);
        }
    }

    /// Whether a cooldown suppresses it; else it begins one.
    fn cools(&mut self, event: &SentEvent) -> bool {
        let began = self.cooling.get(&event.what);
        let is_cooling = began.is_some_and(|it| (event.at - it.0).abs() < COOLDOWN);
        if self.case.has_cooldown && !is_cooling {
            self.cooling.insert(event.what, (event.at, event.id));
        }
        self.case.has_cooldown && is_cooling
    }

    /// Everything that waits for a time up to this one.
    fn pass(&mut self, until: i64) {
        loop {
            let due = self.waiting.iter().enumerate().filter(|it| it.1.due <= until);
            let next = due.min_by_key(|it| (it.1.due, it.1.lead)).map(|it| (it.1.due, it.0));
            let again = self.again.iter().map(|it| (it.1.0, *it.0)).min();
            let again =
                again.filter(|again| again.0 <= until && next.is_none_or(|next| again.0 < next.0));
            let later = self.escalating.iter().filter_map(|it| Some((it.1.1?, it.1.0, *it.0)));
            let later = later.min().filter(|it| it.0 <= until);
            if let Some((at, id, door)) = later {
                self.escalating.remove(door);
                self.escalated.push((at, id));
                continue;
            }
            if let Some((at, door)) = again {
                let (_, id, repeats) = self.again.remove(door).expect("it is there");
                let is_allowed = self.fires.contains(&id);
                let message = Message { repeats: repeats + 1, is_allowed, ..Message::about(id) };
                self.judge_alone(message, at);
                continue;
            }
            let Some((_, at)) = next else { return };
            let mut message = self.waiting.remove(at);
            let now = message.due;
            match message.held {
                "group" => {
                    self.told.insert(message.key.take().expect("a key"), now);
                }
                "rate" => message.has_place = message.key.is_none(),
                _ => {}
            }
            self.judge_alone(message, now);
        }
    }

    fn take(&mut self, event: &SentEvent) {
        let fire = self.case.mute.zip(self.muted.get(event.door));
        if fire.is_some_and(|(mute, at)| event.at - at < mute) {
            return self.end(event.id, "suppressed", Some("mute"), None, None);
        }
        let is_waiting =
            |message: &Message| message.held == "wait" && message.key == Some(event.door);
        let waiting = self.waiting.iter().position(is_waiting);
        // What is waited for is held back by no cooldown, and begins none.
        let is_wanted = event.is_fire && waiting.is_some();
        if !is_wanted && self.cools(event) {
            return self.end(event.id, "suppressed", Some("cooldown"), None, None);
        }
        if let Some(wait) = self.case.wait {
            return self.take_patiently(event, waiting, wait);
        }
        if self.case.recovers {
            self.open.entry(event.door).or_default().insert(event.id, false);
        }
        if self.case.escalate.is_some() {
            self.escalating.entry(event.door).or_insert((event.id, None));
        }
        let message = Message::of(event);
        let Some((wait, then)) = self.case.group else {
            return self.judge_alone(message, event.at);
        };
        let same = self.waiting.iter_mut();
        let mut same = same.filter(|it| it.held == "group" && it.key == Some(event.door));
        if let Some(lead) = same.next() {
            return lead.join(message, "group", true);
        }
        let told = self.told.get(event.door).map(|it| it + then).filter(|it| event.at < *it);
        let due = told.unwrap_or(event.at + wait);
        self.waiting.push(Message { held: "group", key: Some(event.door), due, ..message });
    }

    /// One that waits for a fire, or is one.
    fn take_patiently(&mut self, event: &SentEvent, waiting: Option<usize>, wait: i64) {
        let mut message = Message { due: event.at + wait, ..Message::of(event) };
        if let Some(earlier) = waiting.map(|at| self.waiting.remove(at)) {
            message.due = earlier.due;
            message.join(earlier, "wait", false);
        }
        match event.is_fire {
            true => self.judge_alone(message, event.at),
            false => {
                self.waiting.push(Message { held: "wait", key: Some(event.door), ..message });
            }
        }
    }

    /// A message that is not to be grouped any more.
    fn judge_alone(&mut self, message: Message, now: i64) {
        if !message.is_allowed && self.case.is_quiet(now) {
            let (_, then) = self.case.quiet.expect("it is quiet");
            let end = self.case.quiet_end(now);
            return self.over(message, "quiet-hours", then, end);
        }
        let Some((interval, burst, excess)) = self.case.rate.filter(|_| !message.has_place) else {
            return self.send(message, now);
        };
        if let Some(lead) = self.digest("rate") {
            return lead.join(message, "rate", false);
        }
        let next = self.next.max(now);
        let free = next - (burst - 1) * interval;
        if free <= now || excess == "delay" {
            self.next = next + interval;
        }
        match free <= now {
            true => self.send(message, now),
            false => self.over(message, "rate", excess, free),
        }
    }

    fn digest(&mut self, by: &'static str) -> Option<&mut Message> {
        self.waiting.iter_mut().find(|it| it.held == by && it.key == Some(""))
    }

    /// What may not be sent now.
    fn over(&mut self, message: Message, by: &'static str, then: &str, due: i64) {
        match then {
            "drop" => self.end_all(&message, "suppressed", Some(by), None),
            "digest" => match self.digest(by) {
                Some(lead) => lead.join(message, by, false),
                None => self.waiting.push(Message { held: by, key: Some(""), due, ..message }),
            },
            _ => self.waiting.push(Message { held: by, key: None, due, ..message }),
        }
    }

    fn send(&mut self, message: Message, now: i64) {
        let state = if self.case.is_dead { "dead" } else { "done" };
        self.follow(&message, now);
        if 0 < message.repeats {
            self.repeated.push((message.lead, message.repeats, now));
            return;
        }
        self.end_all(&message, state, None, Some(now));
        self.left.push((now, message));
    }

    fn end_all(
        &mut self,
        message: &Message,
        state: &'static str,
        reason: Option<&'static str>,
        at: Option<i64>,
    ) {
        self.end(message.lead, state, reason, None, at);
        for (part, by) in &message.parts {
            let reason = if state == "suppressed" { reason } else { Some(*by) };
            self.end(*part, state, reason, Some(message.lead), at);
        }
        if state != "done" {
            let all = message.parts.iter().map(|part| part.0).chain([message.lead]);
            let all: Vec<usize> = all.collect();
            self.cooling.retain(|_, it| !all.contains(&it.1));
        }
    }

    fn end(
        &mut self,
        id: usize,
        state: &'static str,
        reason: Option<&'static str>,
        told_with: Option<usize>,
        at: Option<i64>,
    ) {
        let reason = if state == "dead" { None } else { reason };
        self.ended.insert(id, Expected { state, reason, told_with, at });
    }
}

impl Message {
    fn of(event: &SentEvent) -> Message {
        Message { is_allowed: event.is_fire, ..Message::about(event.id) }
    }

    fn about(lead: usize) -> Message {
        Message {
            lead,
            parts: Vec::new(),
            is_allowed: false,
            held: "",
            key: None,
            due: 0,
            has_place: false,
            repeats: 0,
        }
    }

    fn join(&mut self, other: Message, by: &'static str, is_group: bool) {
        debug_assert!(is_group == (by == "group"));
        self.parts.push((other.lead, by));
        self.parts.extend(other.parts.iter().map(|part| (part.0, by)));
        self.is_allowed |= other.is_allowed;
    }
}

fn draw(random: &mut Rng, base: i64) -> Vec<SentEvent> {
    let mut at = base + 60;
    let event = |id| {
        at += *random.choice(&GAPS).expect("not empty");
        let (is_fire, what) = (random.u8(..8) == 0, random.u8(..4));
        SentEvent { at, id, is_fire, door: random.choice(DOORS).expect("not empty"), what }
    };
    (0..EVENTS).map(event).collect()
}

/// The deliveries of one notifier, as the API lists them, by the number in the event's id.
fn listed(world: &World, name: &str) -> BTreeMap<usize, Value> {
    let head = format!("GET /api/notifications?notifier={name}&limit=1000 HTTP/1.1");
    let (status, page) = world.request(&head, "");
    assert_eq!(status, 200, "{page}");
    let rows = page["notifications"].as_array().expect("a list").clone();
    let number = |value: &Value| id_of(value["event_id"].as_str().expect("an id"));
    rows.into_iter().map(|row| (number(&row), row)).collect()
}

fn id_of(text: &str) -> usize {
    text.trim_start_matches('e').parse().expect("an id of ours")
}

/// At any time: each event that came has one delivery to each notifier, and what is told together
/// stands or falls together.
fn compare_states(world: &World, triggered: usize, context: &str) {
    for case in &NOTIFIERS {
        let rows = listed(world, case.name);
        let has_all = rows.len() == triggered || case.from.is_some();
        assert!(has_all, "{context}: {} has {} of {triggered}", case.name, rows.len());
        for (id, row) in &rows {
            let state = row["state"].as_str().expect("a state");
            let is_known = ["pending", "held", "done", "suppressed", "dead"].contains(&state);
            assert!(is_known, "{context}: {row}");
            let waits = |value: &Value| value["state"] == "pending" || value["state"] == "held";
            match row["told_with"].as_str() {
                Some(lead) => {
                    let lead = &rows[&id_of(lead)];
                    let is_same = waits(lead) && state == "held" || lead["state"] == state;
                    assert!(is_same, "{context}: {} e{id}: {row} with {lead}", case.name);
                    assert!(lead["told_with"].is_null(), "{context}: {row} with {lead}");
                }
                // Some wait for the end of another delivery.
                None if row["reason"] == "escalate" || row["reason"] == "recover" => {}
                None => assert_eq!(row["until"].is_string(), state == "held", "{context}: {row}"),
            }
            let is_reasoned = state == "held" || state == "suppressed" || state == "dead";
            assert!(!is_reasoned || row["reason"].is_string(), "{context}: {row}");
        }
    }
}

/// When each notifier's service took which message first, in seconds of the world's clock.
fn note_calls(world: &World, began: i64, calls: &mut BTreeMap<String, i64>) {
    for line in world.journal.take() {
        let Some((at, rest)) = line.split_once("s POST http://") else { continue };
        let Some((call, status)) = rest.split_once(" → ") else { continue };
        if status != "200" && status != "422" {
            continue;
        }
        let key = call.split_once(' ').expect("a key").1.to_owned();
        let at: f64 = at.parse().expect("seconds");
        calls.entry(key).or_insert(began + at.round() as i64);
    }
}

/// At the end: each delivery of a notifier is what its rules come to.
fn compare(
    world: &World,
    case: &NotifierCase,
    sent: &[SentEvent],
    end: i64,
    calls: &BTreeMap<String, i64>,
    seed: u64,
) {
    let rows = listed(world, case.name);
    let model = Model::of(case, sent, end);
    assert_eq!(rows.len(), model.ended.len(), "SEED={seed} {}", case.name);
    let repeats = calls.iter().filter_map(|(key, at)| {
        let (id, rest) = key.split_once('/')?;
        let (by, times) = rest.split_once('/')?;
        (by == case.name).then(|| (id_of(id), times.parse::<u32>().expect("a number") - 1, *at))
    });
    let (mut repeats, mut expected) = (repeats.collect::<Vec<_>>(), model.repeated);
    repeats.sort_unstable();
    expected.sort_unstable();
    assert_eq!(repeats, expected, "SEED={seed} {} sends again", case.name);
    for (id, expected) in model.ended {
        let (row, name) = (&rows[&id], case.name);
        let context = format!("SEED={seed} {name} e{id}: {expected:?}, and there is {row}");
        assert_eq!(row["state"], expected.state, "{context}");
        let told_with = expected.told_with.map(|told_with| format!("e{told_with}"));
        assert_eq!(row["told_with"].as_str(), told_with.as_deref(), "{context}");
        // Of what was sent again it says why that ended.
        if expected.state != "dead" && case.repeat.is_none() {
            assert_eq!(row["reason"].as_str(), expected.reason, "{context}");
        }
        let called = calls.get(&format!("e{id}/{name}"));
        let is_lead = expected.told_with.is_none() && expected.at.is_some();
        assert_eq!(called.is_some(), is_lead, "{context}: called at {called:?}");
        let is_at_once = is_lead && name != "together" && name != "clear";
        assert!(!is_at_once || called == expected.at.as_ref(), "{context}: at {called:?}");
    }
}

fn play(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let base = Timestamp::parse(random.choice(&BASES).expect("some")).expect("a time");
    let base = base.0 / 1_000_000;
    let sent = draw(&mut random, base);
    let end = sent.last().expect("some").at + 86_400;
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start_durable(folder, &pipeline("first"));
    world.simulation.set_wall(base - START);
    let prepare = |world: &World| {
        let refuses = Behaviour::Status(422, Duration::ZERO);
        world.outside.behave("dead.example", refuses);
        world.outside.behave("spare.example", refuses);
    };
    prepare(&world);
    // Wall time at which the monotonic clock of the world was zero.
    let (mut began, mut now) = (base, base);
    let (mut calls, mut is_down) = (BTreeMap::new(), false);
    for event in &sent {
        world.simulation.advance(Duration::from_secs((event.at - now) as u64));
        now = event.at;
        let context = format!("SEED={seed} before e{}", event.id);
        match random.u8(..16) {
            0 | 1 => world.reload(&pipeline(&context)),
            2 => {
                note_calls(&world, began, &mut calls);
                world = world.kill(&pipeline("again"), Duration::ZERO);
                began = now;
                prepare(&world);
                is_down = false;
            }
            3 | 4 => {
                // Its messages come late, and are the same.
                is_down = !is_down;
                let status = if is_down { 503 } else { 200 };
                for host in ["together.example", "clear.example"] {
                    world.outside.behave(host, Behaviour::Status(status, Duration::ZERO));
                }
            }
            5 => compare_states(&world, event.id, &context),
            _ => {}
        }
        assert_eq!(world.post("hook", &event.text()), "accepted", "{context}");
        world.simulation.settle();
    }
    for host in ["together.example", "clear.example"] {
        world.outside.behave(host, Behaviour::Status(200, Duration::ZERO));
    }
    world.simulation.advance(Duration::from_secs((end - now) as u64));
    note_calls(&world, began, &mut calls);
    compare_states(&world, sent.len(), &format!("SEED={seed} at the end"));
    NOTIFIERS.iter().for_each(|it| compare(&world, it, &sent, end, &calls, seed));
    world.close();
}

#[test]
fn whoever_is_told_or_not_is_what_the_rules_come_to() {
    let given = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let first = given("SEED").unwrap_or(0);
    (first..first + given("SEQUENCES").unwrap_or(SEQUENCES)).for_each(play);
}
