//! The nodes that say whether and when a notifier speaks.

mod alerts;

use super::{count, duration, expr_of, template};
use crate::grammar;
use crate::spec::{
    DigestTexts, GroupNode, Manners, QuietHoursNode, SilenceCause, SilenceNode, UpdateNode,
    WaitNode,
};
use kernel::hours::{DayRange, QuietHours, Weekdays};
use language::diagnostic::Rule;
use language::expr::{Root, Roots, Template};
use language::{Context, Fields, Scalar};
use stages::catalog::NotifySpec;
use std::collections::BTreeSet;
use std::time::Duration;
use store::{GroupRule, MessageRate, QUIET_MAX, QuietRule, Silencer};

/// The names that notifiers hand events to.
pub(super) fn relayed_to<'a>(notifiers: impl Iterator<Item = Fields<'a>>) -> BTreeSet<String> {
    let named = |fields: Fields<'a>| {
        let fallback = fields.child("fallback").and_then(|child| child.arg(0)?.text());
        let escalate = fields.child("escalate").and_then(|child| child.prop("to")?.text());
        [fallback, escalate]
    };
    notifiers.flat_map(named).flatten().map(|it| it.value).collect()
}

/// What a notifier of the kind `spec` says; `timezone` is that of the pipeline, and `is_relayed_to` says whether
/// another one hands events to it.
pub(super) fn read(
    fields: &Fields<'_>,
    spec: &dyn NotifySpec,
    timezone: &str,
    is_relayed_to: bool,
    context: &mut Context<'_>,
) -> Manners {
    let manners = Manners {
        quiet: quiet(fields, timezone, context),
        rate: fields.child("rate").and_then(|child| rate(&child)),
        group: fields.child("group").and_then(|child| group(&child, context)),
        digest: digest(fields),
        silences: silences(fields),
        wait: fields.child("wait").and_then(|child| wait(&child)),
        fallback: fields.child("fallback").and_then(|child| child.arg(0)?.text()),
        update: fields.child("update").and_then(|child| update(&child, spec, context)),
        alerts: alerts::read(fields, context),
    };
    // What was told together elsewhere may be handed to it.
    if !is_relayed_to {
        report_digest(fields, &manners, context);
    }
    report_group(fields, &manners, context);
    report_update(fields, &manners, context);
    report_wait(fields, context);
    manners
}

fn quiet(fields: &Fields<'_>, timezone: &str, context: &mut Context<'_>) -> Vec<QuietHoursNode> {
    let nodes: Vec<Fields<'_>> = fields.children("quiet-hours").collect();
    if let Some(extra) = nodes.get(QUIET_MAX) {
        context
            .diagnostics
            .push(Rule::OutOfRange, "a notifier has too many `quiet-hours`")
            .at(extra.name().span, "one too many")
            .help(format!("allowed: at most {QUIET_MAX}; one line may name several days"));
    }
    nodes.iter().take(QUIET_MAX).filter_map(|node| quiet_hours(node, timezone)).collect()
}

fn quiet_hours(fields: &Fields<'_>, timezone: &str) -> Option<QuietHoursNode> {
    let filled = fields.filled();
    let zone = fields.prop("zone").and_then(|prop| prop.text()).map(|text| text.value);
    let hours = QuietHours {
        range: DayRange::parse(&fields.arg(0)?.text()?.value)?,
        days: filled.prop("days", |scalar| Weekdays::parse(&scalar.text()?.value).ok()),
        zone: kernel::time::zone(zone.as_deref().unwrap_or(timezone))?,
    };
    let rule = QuietRule { hours, excess: filled.prop("then", Scalar::choice) };
    Some(QuietHoursNode { rule, allow: expr_of(fields.prop("allow"), Roots::EVENT) })
}

/// Messages are counted only where the file says what becomes of the others.
fn rate(fields: &Fields<'_>) -> Option<MessageRate> {
    let excess = fields.prop("excess")?.choice()?;
    let rate = fields.arg(0)?.rate()?.value;
    let burst = fields.filled().prop("burst", count);
    let interval = Duration::try_from_secs_f64(rate.per.as_secs_f64() / rate.count).ok()?;
    Some(MessageRate { interval, burst, excess })
}

fn group(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<GroupNode> {
    let (first, then) = (fields.arg(0)?, fields.prop("then"));
    let wait = first.duration()?.value;
    let longer = then.as_ref().and_then(duration);
    if let (Some(place), Some(longer)) = (&then, longer)
        && longer < wait
    {
        context
            .diagnostics
            .push(Rule::OutOfRange, "`then` is shorter than the first wait")
            .at(place.span(), "the time between two messages")
            .at(first.span(), "the first wait")
            .help("make `then` at least as long, or leave it out");
    }
    let rule = GroupRule { wait, then: longer };
    Some(GroupNode { rule, key: expr_of(fields.prop("key"), Roots::EVENT) })
}

fn wait(fields: &Fields<'_>) -> Option<WaitNode> {
    let up_to = fields.prop("up-to")?.duration()?.value;
    let fact = expr_of(fields.prop("for"), Roots::EVENT)?;
    Some(WaitNode { fact, key: expr_of(fields.prop("key"), Roots::EVENT), up_to })
}

/// Two that hold a message for the events of its key.
fn report_wait(fields: &Fields<'_>, context: &mut Context<'_>) {
    let (Some(wait), Some(group)) = (fields.child("wait"), fields.child("group")) else { return };
    context
        .diagnostics
        .push(Rule::UnknownNode, "`wait` cannot be used together with `group`")
        .at(wait.name().span, "holds each message for another event")
        .at(group.name().span, "holds it as well")
        .help(
            "remove one of them: `group` sends one message for all events in its time, `wait` one about the \
             newest event as soon as the awaited event arrives",
        );
}

fn silences(fields: &Fields<'_>) -> Vec<SilenceNode> {
    let mutes = fields.children("mute").filter_map(|child| {
        let cause = SilenceCause::When(expr_of(child.prop("when"), Roots::EVENT)?);
        silence(&child, Silencer::Mute, cause, "for")
    });
    let others = fields.children("unless").filter_map(|child| {
        let cause = SilenceCause::Type(child.prop("type")?.text()?.value);
        silence(&child, Silencer::Unless, cause, "within")
    });
    mutes.chain(others).collect()
}

fn silence(
    fields: &Fields<'_>,
    by: Silencer,
    cause: SilenceCause,
    window: &str,
) -> Option<SilenceNode> {
    let window = fields.prop(window)?.duration()?.value;
    Some(SilenceNode { by, cause, key: expr_of(fields.prop("key"), Roots::EVENT), window })
}

/// Reports it where the service cannot do it.
fn update(
    fields: &Fields<'_>,
    spec: &dyn NotifySpec,
    context: &mut Context<'_>,
) -> Option<UpdateNode> {
    if let Some(why) = spec.no_update() {
        context
            .diagnostics
            .push(Rule::UnknownNode, "`update` has no effect on this notifier")
            .at(fields.name().span, why.reason)
            .help(why.help);
        return None;
    }
    let within = fields.filled().prop("within", duration);
    Some(UpdateNode { key: expr_of(fields.prop("key"), Roots::EVENT)?, within })
}

fn digest(fields: &Fields<'_>) -> DigestTexts {
    let node = fields.child("digest");
    let node = node.unwrap_or_else(|| Fields::absent(&grammar::DIGEST));
    DigestTexts {
        title: node.setting("title").arg(0, template),
        message: node.setting("message").arg(0, template),
    }
}

/// Texts that nobody would ever see.
fn report_digest(fields: &Fields<'_>, manners: &Manners, context: &mut Context<'_>) {
    let Some(node) = fields.child("digest").filter(|_| !manners.makes_digests()) else { return };
    context
        .diagnostics
        .push(Rule::UnknownNode, "`digest` has no effect here")
        .at(node.name().span, "this notifier never sends a digest")
        .help("write `then=digest` at `quiet-hours` or `excess=digest` at `rate`, or remove it");
}

/// `update.…` where no message replaces another one.
fn report_update(fields: &Fields<'_>, manners: &Manners, context: &mut Context<'_>) {
    // One that could not be read was reported.
    if manners.update.is_some() || fields.child("update").is_some() {
        return;
    }
    let texts = ["title", "message"].into_iter();
    let texts = texts.filter_map(|text| fields.child(text)?.arg(0));
    let texts = texts.filter_map(|it| Some((it.template(Roots::NOTIFICATION)?, it)));
    let body = fields.takes("body").then(|| fields.child("body")?.arg(0)).flatten();
    let headers = fields.takes("header").then(|| fields.children("header")).into_iter().flatten();
    let sent = headers.filter_map(|header| header.arg(1)).chain(body);
    for (text, scalar) in texts.chain(sent.filter_map(|it| Some((it.template(Roots::NOTICE)?, it))))
    {
        if let Some(read) = text.value.reads().iter().find(|it| it.root == Root::Update) {
            context
                .diagnostics
                .push(
                    Rule::UnknownPath,
                    "`update` is not available here: this notifier has no `update`",
                )
                .at(scalar.part_span(read.span.clone()), "each event is sent as a new message")
                .help("add `update key=\"data.id\"` to this notifier");
        }
    }
}

/// `group.…` in the texts of a single event.
fn report_group(fields: &Fields<'_>, manners: &Manners, context: &mut Context<'_>) {
    if manners.group.is_some() || manners.wait.is_some() {
        return;
    }
    for name in ["title", "message"] {
        let Some(scalar) = fields.child(name).and_then(|child| child.arg(0)) else { continue };
        let text: Option<language::spanned::Spanned<Template>> =
            scalar.template(Roots::NOTIFICATION);
        let reads = text.map(|text| text.value.reads()).unwrap_or_default();
        let Some(read) = reads.iter().find(|it| it.root == Root::Group) else { continue };
        let help = match manners.makes_digests() {
            true => format!("write it into `digest {{ {name} \"…\" }}`, or add `group \"30s\"`"),
            false => "add `group \"30s\" key=\"event.subject\"` to this notifier".to_owned(),
        };
        context
            .diagnostics
            .push(Rule::UnknownPath, "`group` is not available here: this notifier has no `group`")
            .at(scalar.part_span(read.span.clone()), "each message is about one event")
            .help(help);
    }
}
