//! What happened in a test, message by message, in virtual time.

use super::expect::{shown_result, status_of, words_of};
use super::seen::{Arrived, TestRecord};
use crate::engine::IngestResult;
use kernel::event::{Envelope, StageResult};
use kernel::time::Timestamp;
use std::fmt::Write;
use std::time::Duration;
use store::{DeliveryState, StoredEvent};

/// Messages that a timeline shows; the newest count.
const MESSAGES_MAX: usize = 20;

/// The lines of a timeline; times count from `start`.
pub(super) fn of(seen: &TestRecord, start: Timestamp) -> String {
    let mut text = String::new();
    let entries = entries(seen);
    let earlier = entries.len().saturating_sub(MESSAGES_MAX);
    if 0 < earlier {
        writeln!(text, "… {earlier} messages before that").expect("a text takes everything");
    }
    for (at, entry) in &entries[earlier..] {
        let at = since(*at, start);
        match entry {
            TimelineEntry::Arrived(arrived) => message(&mut text, &at, arrived, seen, start),
            TimelineEntry::Sent(envelope) => {
                let (sender, kind) = (&envelope.source, &envelope.kind);
                let about = match &*envelope.subject {
                    "" => String::new(),
                    subject => format!(" for {subject}"),
                };
                line(&mut text, 0, &at, &format!("{sender} ▶ {kind}{about}: sent"));
                event(&mut text, envelope, true, seen, start);
            }
        }
    }
    for timer in &seen.timers {
        let key = if timer.key.is_empty() { "every event" } else { &timer.key };
        let words = format!("{} waits, for {key}", timer.memory);
        line(&mut text, 0, &since(timer.due, start), &words);
    }
    text
}

/// Something that a timeline begins with.
enum TimelineEntry<'a> {
    /// A message.
    Arrived(&'a Arrived),
    /// An event that a stage sent.
    Sent(&'a Envelope),
}

/// What came in and what stages sent, in the order of time.
fn entries(seen: &TestRecord) -> Vec<(Timestamp, TimelineEntry<'_>)> {
    let came_in = |envelope: &Envelope| {
        let mut events = seen.arrived.iter().filter_map(|it| it.event.as_ref());
        events.any(|event| {
            event.envelope.source == envelope.source && event.envelope.id == envelope.id
        })
    };
    let stored = seen.stored.iter().map(|it| (it.0, it.1.seq, &it.1.envelope));
    let ended = seen.ended.iter().map(|it| &it.event);
    let ended = ended.map(|it| (it.envelope.received, it.seq, &it.envelope));
    let is_sent = |envelope: &Envelope| {
        seen.generation.memories.contains_key(&*envelope.source) && !came_in(envelope)
    };
    let mut sent: Vec<_> = stored.chain(ended).filter(|it| is_sent(it.2)).collect();
    sent.sort_by_key(|it| (it.0, it.1));
    let mut sent = sent.into_iter().peekable();
    let mut entries: Vec<(Timestamp, TimelineEntry<'_>)> = Vec::new();
    for arrived in seen.arrived.iter() {
        let number = match &arrived.answer {
            Ok(Some(IngestResult::Accepted { seq, .. })) => *seq,
            _ => 0,
        };
        while let Some((at, _, it)) = sent.next_if(|sent| (sent.0, sent.1) < (arrived.at, number)) {
            entries.push((at, TimelineEntry::Sent(it)));
        }
        entries.push((arrived.at, TimelineEntry::Arrived(arrived)));
    }
    entries.extend(sent.map(|(at, _, it)| (at, TimelineEntry::Sent(it))));
    entries
}

fn line(text: &mut String, indent: usize, at: &str, words: &str) {
    writeln!(text, "{:indent$}{at:<8} {words}", "").expect("writing into a text does not fail");
}

fn message(text: &mut String, at: &str, arrived: &Arrived, seen: &TestRecord, start: Timestamp) {
    let kind = arrived.event.as_ref().map_or("a message", |event| &event.envelope.kind);
    let words = words_of(arrived).replace('\n', "; ");
    // Nobody hears a status where a source sends by itself.
    let status = match arrived.is_given {
        true => format!("{}, ", status_of(arrived)),
        false => String::new(),
    };
    line(text, 0, at, &format!("{} ◀ {kind}: {status}{words}", arrived.source));
    let is_accepted = match &arrived.answer {
        Ok(Some(IngestResult::Accepted { .. })) => true,
        Ok(Some(IngestResult::Discarded { .. })) => false,
        _ => return,
    };
    if let Some(it) = &arrived.event {
        event(text, &it.envelope, is_accepted, seen, start);
    }
}

fn event(
    text: &mut String,
    envelope: &Envelope,
    is_accepted: bool,
    seen: &TestRecord,
    start: Timestamp,
) {
    let is_it = |it: &Envelope| it.source == envelope.source && it.id == envelope.id;
    let stored = seen.stored.iter().find(|it| is_it(&it.1.envelope));
    if let Some((at, stored)) = stored {
        stored.stages.iter().for_each(|it| stage(text, it, start));
        let targets = stored.targets.join(" ");
        let words = format!("stored as {}, for {targets}", stored.envelope.priority);
        line(text, 2, &since(*at, start), &words);
        deliveries(text, stored, seen, start);
    }
    let ended = seen.ended.iter().find(|it| is_it(&it.event.envelope));
    if let Some(ended) = ended {
        ended.results.iter().for_each(|it| stage(text, it, start));
        let end = if ended.is_dead { "dead letter" } else { "dropped" };
        let by = ended.by.as_ref().map_or(String::new(), |it| format!(" by {it}"));
        line(text, 2, "", &format!("{end}{by}: {}", ended.reason));
    }
    if stored.is_none() && ended.is_none() && is_accepted {
        line(text, 2, "", "still under way");
    }
}

fn stage(text: &mut String, result: &StageResult, start: Timestamp) {
    let at = since(result.started, start);
    line(text, 2, &at, &format!("{} {}", result.stage, shown_result(result)));
}

fn deliveries(text: &mut String, stored: &StoredEvent, seen: &TestRecord, start: Timestamp) {
    for delivery in seen.deliveries.iter().filter(|delivery| delivery.seq == stored.seq) {
        let told = seen.told.iter().find(|it| it.by == delivery.sink && it.event.seq == stored.seq);
        let at = match (told, delivery.state) {
            (Some(told), _) => since(told.at, start),
            (None, DeliveryState::Pending | DeliveryState::Held) if 0 < delivery.not_before.0 => {
                since(delivery.not_before, start)
            }
            (None, _) => since(delivery.created, start),
        };
        let attempts = match delivery.attempts {
            0 | 1 => String::new(),
            many => format!(" after {many} attempts"),
        };
        let why = match (&delivery.last_error, told) {
            (_, Some(told)) if !told.title.is_empty() => format!(": \"{}\"", told.title),
            (Some(error), _) => format!(": {error}"),
            _ => String::new(),
        };
        let words = format!("{} {}{attempts}{why}", delivery.sink, delivery.state.word());
        line(text, 2, &at, &words);
    }
}

fn since(at: Timestamp, start: Timestamp) -> String {
    format!("+{}", lasting(at.since(start)))
}

/// `0s`, `1.25s`, `2m5s`, `3h`.
pub(super) fn lasting(duration: Duration) -> String {
    let (mut rest, mut text) = (duration.as_secs(), String::new());
    for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds <= rest {
            text.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    let millis = duration.subsec_millis();
    if millis != 0 {
        let exact = format!("{rest}.{millis:03}");
        text.push_str(exact.trim_end_matches('0'));
        text.push('s');
    } else if rest != 0 || text.is_empty() {
        text.push_str(&format!("{rest}s"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_short_as_they_can_be() {
        let shown = |millis| lasting(Duration::from_millis(millis));
        assert_eq!([0, 1250, 125_000, 10_800_000].map(shown), ["0s", "1.25s", "2m5s", "3h"]);
    }
}
