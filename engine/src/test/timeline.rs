//! What happened in a test, message by message, in virtual time.

use super::expect::{shown_result, status_of, words_of};
use super::seen::{Arrived, TestRecord};
use crate::engine::IngestResult;
use kernel::event::StageResult;
use kernel::time::Timestamp;
use std::fmt::Write;
use std::time::Duration;
use store::{DeliveryState, Stored};

/// Messages that a timeline shows; the newest count.
const MESSAGES_MAX: usize = 20;

/// The lines of a timeline; times count from `start`.
pub(super) fn of(seen: &TestRecord, start: Timestamp) -> String {
    let mut text = String::new();
    let earlier = seen.arrived.len().saturating_sub(MESSAGES_MAX);
    if 0 < earlier {
        writeln!(text, "… {earlier} messages before that").expect("a text takes everything");
    }
    for arrived in &seen.arrived[earlier..] {
        let at = since(arrived.at, start);
        let kind = arrived.event.as_ref().map_or("a message", |it| &it.envelope.kind);
        let words = words_of(arrived).replace('\n', "; ");
        // Nobody hears a status where a source sends by itself.
        let status = match arrived.is_given {
            true => format!("{}, ", status_of(arrived)),
            false => String::new(),
        };
        line(&mut text, 0, &at, &format!("{} ◀ {kind}: {status}{words}", arrived.source));
        if matches!(
            arrived.answer,
            Ok(Some(IngestResult::Accepted { .. } | IngestResult::Discarded { .. }))
        ) {
            event(&mut text, arrived, seen, start);
        }
    }
    text
}

fn line(text: &mut String, indent: usize, at: &str, words: &str) {
    writeln!(text, "{:indent$}{at:<8} {words}", "").expect("writing into a text does not fail");
}

fn event(text: &mut String, arrived: &Arrived, seen: &TestRecord, start: Timestamp) {
    let Some(event) = &arrived.event else { return };
    let is_it =
        |source: &str, id: &str| *source == *event.envelope.source && *id == *event.envelope.id;
    let stored = seen.stored.iter().find(|it| is_it(&it.1.envelope.source, &it.1.envelope.id));
    if let Some((at, stored)) = stored {
        stored.stages.iter().for_each(|it| stage(text, it, start));
        let targets = stored.targets.join(" ");
        let words = format!("stored as {}, for {targets}", stored.envelope.priority);
        line(text, 2, &since(*at, start), &words);
        deliveries(text, stored, seen, start);
    }
    let ended =
        seen.ended.iter().find(|it| is_it(&it.event.envelope.source, &it.event.envelope.id));
    if let Some(ended) = ended {
        ended.results.iter().for_each(|it| stage(text, it, start));
        let end = if ended.is_dead { "dead letter" } else { "dropped" };
        let by = ended.by.as_ref().map_or(String::new(), |it| format!(" by {it}"));
        line(text, 2, "", &format!("{end}{by}: {}", ended.reason));
    }
    let is_accepted = matches!(arrived.answer, Ok(Some(IngestResult::Accepted { .. })));
    if stored.is_none() && ended.is_none() && is_accepted {
        line(text, 2, "", "still under way");
    }
}

fn stage(text: &mut String, result: &StageResult, start: Timestamp) {
    let at = since(result.started, start);
    line(text, 2, &at, &format!("{} {}", result.stage, shown_result(result)));
}

fn deliveries(text: &mut String, stored: &Stored, seen: &TestRecord, start: Timestamp) {
    for delivery in seen.deliveries.iter().filter(|it| it.seq == stored.seq) {
        let told = seen.told.iter().find(|it| it.by == delivery.sink && it.event.seq == stored.seq);
        let at = match (told, delivery.state) {
            (Some(told), _) => since(told.at, start),
            (None, DeliveryState::Pending) => since(delivery.not_before, start),
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
