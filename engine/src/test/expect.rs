//! Expected against got.

use super::seen::{Arrived, TestRecord};
use super::timeline::lasting;
use crate::engine::IngestResult;
use crate::intake::Rejection;
use crate::intake::is_before_filters;
use compiler::cases::{ExpectedSubject, TestExpectation};
use compiler::plan::node_of;
use compiler::spec::tag_of;
use kernel::event::{Event, Outcome, StageResult};
use kernel::pattern::glob_fits;
use language::expr::{Expr, Roots, Scope};
use stages::contract::event_of;
use std::sync::Arc;
use std::time::Duration;
use store::{DeliveryState, StoredEvent, write_event};

/// Things that a help lists.
const LISTED_MAX: usize = 5;
/// The longest line of a help.
const LINE_MAX: usize = 160;

/// An expectation that does not hold.
pub(super) struct ExpectMiss {
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: String,
}

/// Why an expectation does not hold; `None` when it does.
pub(super) fn miss(expect: &TestExpectation, seen: &TestRecord) -> Option<ExpectMiss> {
    match &expect.subject {
        ExpectedSubject::Status(status) => answered(expect, *status, seen),
        ExpectedSubject::DeadLetter(count) => letters(expect, *count, seen),
        ExpectedSubject::Stage(name) => staged(expect, name, seen),
        ExpectedSubject::Notify(name) => told(expect, name, seen),
        ExpectedSubject::Sink(_) | ExpectedSubject::Event(_) => stored(expect, seen),
    }
}

/// A thing that may fit, as a help shows it.
struct Candidate {
    shown: String,
    fits: bool,
}

/// Compares numbers: what fits, and what was let go.
fn compare(
    expect: &TestExpectation,
    candidates: &[Candidate],
    dropped: u64,
    seen: &TestRecord,
) -> Option<ExpectMiss> {
    let got = candidates.iter().filter(|candidate| candidate.fits).count() as u64;
    let what = expect.subject.written();
    let wants_some = expect.count.is_none() && expect.dropped.is_none();
    let (message, label) = if let Some(count) = expect.count.filter(|it| *it != got) {
        (format!("expected {count} at `{what}`, got {got}"), format!("got {got}"))
    } else if let Some(count) = expect.dropped.filter(|it| *it != dropped) {
        let message = format!("expected {count} dropped at `{what}`, got {dropped}");
        (message, format!("dropped {dropped}"))
    } else if wants_some && got == 0 {
        (format!("expected at least one at `{what}`, got none"), "got none".to_owned())
    } else {
        return None;
    };
    let mut lines: Vec<String> =
        candidates.iter().rev().take(LISTED_MAX).map(|candidate| cut(&candidate.shown)).collect();
    lines.reverse();
    if LISTED_MAX < candidates.len() {
        lines.insert(0, format!("… {} before that", candidates.len() - LISTED_MAX));
    }
    let mut help = match lines.is_empty() {
        true => "there was nothing".to_owned(),
        false => format!("there was:\n{}", lines.join("\n")),
    };
    if 0 < seen.pending {
        let is = if seen.pending == 1 { "event is" } else { "events are" };
        help.push_str(&format!(
            "\n{} {is} still under way: `advance \"10s\"` lets time pass",
            seen.pending
        ));
    }
    Some(ExpectMiss { message, label, help })
}

fn cut(line: &str) -> String {
    let line = line.replace('\n', "⏎");
    match line.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Whether `where` holds, and the values that it reads.
fn condition(expect: &TestExpectation, event: &Event, seen: &TestRecord) -> (bool, String) {
    let Some(condition) = &expect.condition else { return (true, String::new()) };
    let scope = Scope::of(event, seen.now);
    let mut shown: Vec<String> = Vec::new();
    for read in condition.reads() {
        let text = &condition.text()[read.span];
        let Ok(path) = Expr::parse(text, Roots::EVENT) else { continue };
        let value = format!("{text} = {}", path.eval(&scope).to_json());
        if !shown.contains(&value) {
            shown.push(value);
        }
    }
    (condition.is_true(&scope), shown.join(", "))
}

fn shown_event(event: &Event) -> String {
    let envelope = &event.envelope;
    format!("{} ({})", envelope.kind, envelope.priority)
}

fn joined(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(": ")
}

fn contains(expect: &TestExpectation, texts: &[&str]) -> bool {
    expect
        .contains
        .as_ref()
        .is_none_or(|part| texts.iter().any(|text| text.contains(part.as_str())))
}

fn stored(expect: &TestExpectation, seen: &TestRecord) -> Option<ExpectMiss> {
    let is_meant = |stored: &StoredEvent| match &expect.subject {
        ExpectedSubject::Sink(name) => {
            stored.targets.contains(name) && has_left(stored, name, seen)
        }
        ExpectedSubject::Event(pattern) => glob_fits(pattern, &stored.envelope.kind),
        _ => false,
    };
    let events = seen.stored.iter().map(|it| &it.1).filter(|it| is_meant(it));
    let candidates: Vec<Candidate> = events
        .filter_map(|event| Some((event, event_of(event, seen.globals())?)))
        .map(|(stored, event)| {
            let (holds, values) = condition(expect, &event, seen);
            let fits = holds && contains(expect, &[&json_of(stored)]);
            Candidate { shown: joined(&[shown_event(&event), values]), fits }
        })
        .collect();
    compare(expect, &candidates, 0, seen)
}

/// What goes to an outside sink has left only when it was taken there.
fn has_left(stored: &StoredEvent, name: &Arc<str>, seen: &TestRecord) -> bool {
    if !seen.generation.targets.contains_key(name) {
        return true;
    }
    seen.told.iter().any(|it| it.by == *name && it.event.seq == stored.seq)
}

fn json_of(stored: &StoredEvent) -> String {
    let mut text = String::new();
    write_event(&mut text, stored, "");
    text
}

fn staged(expect: &TestExpectation, name: &Arc<str>, seen: &TestRecord) -> Option<ExpectMiss> {
    if seen.generation.plan.filters.iter().any(|filter| *filter.name.value == **name) {
        return filtered(expect, name, seen);
    }
    let finished = seen
        .stored
        .iter()
        .filter_map(|it| Some((event_of(&it.1, seen.globals())?, it.1.stages.to_vec())));
    let ended = seen.ended.iter().map(|it| (it.event.clone(), it.results.clone()));
    let mut candidates = Vec::new();
    for (event, results) in finished.chain(ended) {
        let Some(result) = results.iter().find(|result| result.stage == *name) else { continue };
        let (holds, values) = condition(expect, &event, seen);
        let error = result.error.clone().unwrap_or_default();
        let fits = holds && fits_outcome(expect, result) && contains(expect, &[&error]);
        let shown = joined(&[shown_event(&event), shown_result(result), values]);
        candidates.push(Candidate { shown, fits });
    }
    let dropped = seen.ended.iter().filter(|it| it.by.as_ref() == Some(name)).count();
    compare(expect, &candidates, dropped as u64, seen)
}

/// A filter has no results of its own: what became of each message says what it did.
fn filtered(expect: &TestExpectation, name: &Arc<str>, seen: &TestRecord) -> Option<ExpectMiss> {
    let sent = seen.ended.iter().filter(|end| end.by.as_ref() == Some(name)).count();
    let (mut candidates, mut dropped) = (Vec::new(), sent as u64);
    for arrived in seen.arrived.iter() {
        let Some(word) = at_filter(arrived, name, seen) else { continue };
        dropped += u64::from(word != KEPT);
        let Some(event) = &arrived.event else { continue };
        let (holds, values) = condition(expect, event, seen);
        let shown = joined(&[shown_event(event), word.to_owned(), values]);
        candidates.push(Candidate { shown, fits: word == KEPT && holds });
    }
    compare(expect, &candidates, dropped, seen)
}

const KEPT: &str = "kept";

/// What a filter did with a message; `None` when it never saw it.
fn at_filter(arrived: &Arrived, name: &Arc<str>, seen: &TestRecord) -> Option<&'static str> {
    let filters = &seen.generation.plan.filters;
    let place = |name: &str| filters.iter().position(|filter| filter.name.value == name);
    let by = match &arrived.answer {
        Ok(Some(IngestResult::Discarded { name, .. })) => Some((name, "dropped")),
        Ok(Some(IngestResult::Refused(it))) => Some((&it.stage, "refused")),
        Ok(Some(IngestResult::Accepted { .. })) => None,
        _ => return None,
    };
    if let Some((by, word)) = by {
        if by == name {
            return Some(word);
        }
        // Decoding and validation come before every filter, a stage behind all of them.
        let is_behind = match place(by) {
            Some(at) => place(name)? < at,
            None => !is_before_filters(by),
        };
        if !is_behind {
            return None;
        }
    }
    let event = arrived.event.as_ref()?;
    let is_marked = event.enrich.contains(&tag_of(name));
    Some(if is_marked { "marked" } else { KEPT })
}

fn fits_outcome(expect: &TestExpectation, result: &StageResult) -> bool {
    let is_so = match expect.outcome {
        Some(outcome) => result.outcome == outcome,
        None => result.outcome != Outcome::Skipped,
    };
    is_so && expect.attempts.is_none_or(|attempts| attempts == u64::from(result.attempts))
}

/// How a stage ended: `failed after 4 attempts in 1.4s: the answer is 503`.
pub(super) fn shown_result(result: &StageResult) -> String {
    let attempts = match result.attempts {
        0 | 1 => String::new(),
        many => format!(" after {many} attempts"),
    };
    let took = match result.micros {
        0 => String::new(),
        micros => format!(" in {}", lasting(Duration::from_micros(micros))),
    };
    let error = result.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    format!("{}{attempts}{took}{error}", result.outcome.word())
}

fn told(expect: &TestExpectation, name: &Arc<str>, seen: &TestRecord) -> Option<ExpectMiss> {
    let notices = seen.told.iter().filter(|it| !it.is_replaced && node_of(&it.by) == &**name);
    let candidates: Vec<Candidate> = notices
        .map(|notice| {
            let (holds, values) = condition(expect, &notice.event, seen);
            let is_title = expect.title.as_ref().is_none_or(|title| *title == notice.title);
            let fits = holds
                && is_title
                && contains(expect, &[&notice.title, &notice.message, &notice.sent]);
            let title = format!("\"{}\"", notice.title);
            Candidate {
                shown: joined(&[title, notice.message.clone(), notice.sent.clone(), values]),
                fits,
            }
        })
        .collect();
    let is_held = |delivery: &&store::Delivery| {
        node_of(&delivery.sink) == &**name && delivery.state == DeliveryState::Suppressed
    };
    let held = seen.deliveries.iter().filter(is_held).count() as u64;
    compare(expect, &candidates, held, seen)
}

fn letters(expect: &TestExpectation, count: u64, seen: &TestRecord) -> Option<ExpectMiss> {
    let fits = |letter: &&store::DeadLetter| contains(expect, &[&letter.reason, &letter.stage]);
    let got = seen.letters.iter().filter(fits).count() as u64;
    if got == count {
        return None;
    }
    let lines: Vec<String> = seen
        .letters
        .iter()
        .take(LISTED_MAX)
        .map(|letter| {
            cut(&format!("{} of {}: {}", letter.what.word(), letter.stage, letter.reason))
        })
        .collect();
    let help = match lines.is_empty() {
        true => "there was nothing".to_owned(),
        false => format!("there was:\n{}", lines.join("\n")),
    };
    let message = format!("expected {count} dead letters, got {got}");
    Some(ExpectMiss { message, label: format!("got {got}"), help })
}

/// The HTTP status that an answer has.
pub(super) fn status_of(arrived: &Arrived) -> u16 {
    match &arrived.answer {
        Ok(None) => 202,
        Ok(Some(IngestResult::Accepted { .. } | IngestResult::Discarded { .. })) => 202,
        Ok(Some(IngestResult::Duplicate { .. })) => 200,
        Ok(Some(IngestResult::Conflict { .. })) => 409,
        Ok(Some(IngestResult::Refused(refusal))) => refusal.status,
        Err(_) => 503,
    }
}

/// The answer in words.
pub(super) fn words_of(arrived: &Arrived) -> String {
    match &arrived.answer {
        Ok(None) => "no events".to_owned(),
        Ok(Some(IngestResult::Accepted { .. })) => "accepted".to_owned(),
        Ok(Some(IngestResult::Discarded { name, .. })) => format!("dropped by {name}"),
        Ok(Some(IngestResult::Duplicate { seq, .. })) => format!("a duplicate of {seq}"),
        Ok(Some(IngestResult::Conflict { seq, .. })) => {
            format!("already accepted with a different body, as {seq}")
        }
        Ok(Some(IngestResult::Refused(refusal))) => refused(refusal),
        Err(unavailable) => unavailable.reason.clone(),
    }
}

fn refused(refusal: &Rejection) -> String {
    let mut lines = vec![refusal.detail.clone()];
    lines.extend(refusal.violations.iter().map(compiler::plan::Violation::told));
    lines.join("\n")
}

fn answered(expect: &TestExpectation, status: u16, seen: &TestRecord) -> Option<ExpectMiss> {
    let Some(last) = seen.arrived.iter().rfind(|it| it.is_given) else {
        return Some(ExpectMiss {
            message: format!("expected the response {status}, but there was no `given`"),
            label: "no response yet".to_owned(),
            help: "put a `given` before it".to_owned(),
        });
    };
    let got = last.status.unwrap_or_else(|| status_of(last));
    let message = seen.arrived.iter().filter(|it| it.number == last.number);
    let words = message.map(words_of).collect::<Vec<_>>().join("\n");
    if got == status && contains(expect, &[&words]) {
        return None;
    }
    let message = match (got == status, &expect.contains) {
        (true, Some(part)) => format!("the response {got} does not mention `{part}`"),
        _ => format!("expected the response {status}, got {got}"),
    };
    let lines: Vec<String> = words.lines().take(LISTED_MAX + 1).map(cut).collect();
    Some(ExpectMiss { message, label: format!("got {got}"), help: lines.join("\n") })
}
