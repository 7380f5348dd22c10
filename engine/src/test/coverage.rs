//! What tests exercise of a pipeline, and what they do not.

use super::seen::TestRecord;
use crate::intake::Intake;
use crate::run::enrich::{Disposition, WHEN_IS_FALSE};
use compiler::include::SourceMap;
use compiler::plan::{Plan, node_of};
use compiler::spec::{Filter, Passing, Spec, tag_of};
use kernel::event::{Event, Outcome, StageResult};
use kernel::time::Timestamp;
use language::expr::Scope;
use language::spanned::Span;
use std::collections::BTreeSet;
use store::DeliveryState;

/// One thing that a test can exercise.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The same for the one who sees it happen.
    key: String,
    span: Span,
    /// What did not happen, in words.
    missed: String,
}

/// Everything in a pipeline that tests can exercise.
pub(super) fn items(spec: &Spec) -> Vec<Item> {
    let mut items = Vec::new();
    let mut add = |key: String, span: &Span, missed: String| {
        items.push(Item { key, span: span.clone(), missed });
    };
    for (index, rule) in spec.validate.rules.iter().enumerate() {
        add(format!("rule {index}"), &rule.kind.span, "rule: never broken".to_owned());
    }
    for filter in spec.filters.iter().filter(|filter| !filter.is_disabled) {
        let (name, span) = (&filter.name.value, &filter.name.span);
        add(format!("filter {name} keeps"), span, format!("filter {name}: never keeps an event"));
        add(format!("filter {name} drops"), span, format!("filter {name}: never drops an event"));
        if let Some(when) = &filter.when {
            let missed = format!("filter {name}: `when` is never false");
            add(format!("filter {name} is skipped"), &when.span, missed);
        }
    }
    for stage in spec.enrichments.iter().filter(|enrichment| !enrichment.is_disabled) {
        let (name, span) = (&stage.name.value, &stage.name.span);
        add(format!("stage {name}"), span, format!("stage {name}: never succeeds"));
        if let Some(when) = &stage.when {
            let missed = format!("stage {name}: `when` is never false");
            add(format!("stage {name} when"), &when.span, missed);
        }
    }
    for (index, (level, when)) in spec.priority.cases.iter().enumerate() {
        let missed = format!("priority case {level}: never decides");
        add(format!("priority {index}"), &when.span, missed);
    }
    if let Some(route) = &spec.route {
        for (index, case) in route.cases.iter().enumerate() {
            let missed = format!("route case {}: never used", case.name.value);
            add(format!("route {index}"), &case.name.span, missed);
        }
        if route.otherwise.is_some() {
            let missed = "route otherwise: never used".to_owned();
            add("route otherwise".to_owned(), &route.name.span, missed);
        }
    }
    for notifier in spec.notifiers.iter().filter(|notifier| !notifier.is_disabled) {
        let (name, span) = (&notifier.name.value, &notifier.name.span);
        add(format!("notify {name}"), span, format!("notify {name}: never sends anything"));
        if notifier.cooldown.is_some() {
            let missed = format!("notify {name}: its cooldown never suppresses anything");
            add(format!("notify {name} cooldown"), span, missed);
        }
    }
    items
}

/// Notes what the intake of a message exercised.
pub(super) fn taken(plan: &Plan, taken: &Intake, now: Timestamp, exercised: &mut BTreeSet<String>) {
    let (event, stopped_by) = match taken {
        Intake::Event(event, _) => (event, None),
        Intake::Discarded(event, name, _) => (event, Some(name)),
        Intake::Refused(refusal) => {
            for (index, rule) in plan.validate.rules.iter().enumerate() {
                let is_it = |violation: &compiler::plan::Violation| {
                    violation.instance == rule.at && violation.message == rule.message
                };
                if refusal.violations.iter().any(is_it) {
                    exercised.insert(format!("rule {index}"));
                }
            }
            exercised.insert(format!("filter {} drops", refusal.stage));
            return;
        }
    };
    let scope = Scope::of(event, now);
    let is_judged_now =
        |filter: &&Filter| matches!(filter.rule, Passing::Keep(_)) && !filter.is_disabled;
    for filter in plan.filters.iter().filter(is_judged_now) {
        let name = &filter.name.value;
        if stopped_by.is_some_and(|it| **it == **name) {
            exercised.insert(format!("filter {name} drops"));
            break;
        }
        if event.enrich.contains(&tag_of(name)) {
            exercised.insert(format!("filter {name} drops"));
            continue;
        }
        let is_asked = filter.when.as_ref().is_none_or(|when| when.value.is_true(&scope));
        let verdict = if is_asked { "keeps" } else { "is skipped" };
        exercised.insert(format!("filter {name} {verdict}"));
    }
    priority(plan, event, now, exercised);
}

/// Notes what the filters did that remember: they decide when an event is stored.
pub(super) fn judged(
    plan: &Plan,
    event: &Event,
    stopped_by: Option<&str>,
    exercised: &mut BTreeSet<String>,
) {
    let scope = Scope::of(event, event.envelope.received);
    for filter in plan.filters.iter().filter(|filter| !filter.is_disabled) {
        let name = &filter.name.value;
        let is_asked = filter.when.as_ref().is_none_or(|when| when.value.is_true(&scope));
        let verdict = match stopped_by {
            Some(by) if *by == **name => "drops",
            _ if is_asked => "keeps",
            _ => "is skipped",
        };
        if matches!(filter.rule, Passing::Remembers(_)) {
            exercised.insert(format!("filter {name} {verdict}"));
        }
        if verdict == "drops" {
            return;
        }
    }
}

fn priority(plan: &Plan, event: &Event, now: Timestamp, exercised: &mut BTreeSet<String>) {
    let scope = Scope::of(event, now);
    if let Some(index) = plan.priority.cases.iter().position(|case| case.1.value.is_true(&scope)) {
        exercised.insert(format!("priority {index}"));
    }
}

/// Notes what the stages and the route of an event exercised.
pub(super) fn ended(
    plan: &Plan,
    results: &[StageResult],
    verdict: &Disposition,
    now: Timestamp,
    exercised: &mut BTreeSet<String>,
) {
    for result in results {
        match result.outcome {
            Outcome::Ok | Outcome::Cached => exercised.insert(format!("stage {}", result.stage)),
            Outcome::Skipped if result.error.as_deref() == Some(WHEN_IS_FALSE) => {
                exercised.insert(format!("stage {} when", result.stage))
            }
            _ => false,
        };
    }
    let Disposition::Finished(finished) = verdict else { return };
    for filter in &plan.filters {
        if finished.event.enrich.contains(&tag_of(&filter.name.value)) {
            exercised.insert(format!("filter {} drops", filter.name.value));
        }
    }
    priority(plan, &finished.event, now, exercised);
    let scope = Scope::of(&finished.event, now);
    let mut is_taken = false;
    for (index, case) in plan.route.cases.iter().enumerate() {
        if (!is_taken || plan.route.takes_all) && case.1.is_true(&scope) {
            exercised.insert(format!("route {index}"));
            is_taken = true;
        }
    }
    if !is_taken {
        exercised.insert("route otherwise".to_owned());
    }
}

/// What the tests of one pipeline have exercised together.
#[derive(Debug, Default)]
pub struct Coverage {
    exercised: BTreeSet<String>,
}

impl Coverage {
    pub(super) fn add(&mut self, exercised: &BTreeSet<String>) {
        self.exercised.extend(exercised.iter().cloned());
    }

    pub(super) fn add_deliveries(&mut self, seen: &TestRecord) {
        for told in &seen.told {
            self.exercised.insert(format!("notify {}", node_of(&told.by)));
        }
        for held in
            seen.deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Suppressed)
        {
            self.exercised.insert(format!("notify {} cooldown", node_of(&held.sink)));
        }
    }

    /// How much there is to exercise, and a line with its place for each part that was not.
    pub(super) fn missed(&self, items: &[Item], texts: &SourceMap) -> (usize, Vec<String>) {
        let missed = items.iter().filter(|item| !self.exercised.contains(&item.key));
        let line = |item: &Item| format!("{}: {}", texts.line(item.span.start), item.missed);
        (items.len(), missed.map(line).collect())
    }
}
