//! The nodes that say what becomes of an alert after it was sent.

use super::{count, duration, expr_of};
use crate::spec::{AlertNodes, EscalateNode, RecoverNode};
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Template};
use language::spanned::Spanned;
use language::{Context, Fields};
use store::RepeatRule;

/// The nodes that have a `key`.
const WORDS: [&str; 3] = ["repeat", "recover", "escalate"];

pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> AlertNodes {
    let recover = fields.child("recover");
    let escalate = fields.child("escalate");
    let untils = [fields.child("repeat"), escalate].into_iter().flatten();
    let nodes = AlertNodes {
        key: key(fields, context),
        repeat: fields.child("repeat").and_then(|child| repeat(&child)),
        recover: recover.and_then(|recover| self::recover(&recover)),
        escalate: escalate.as_ref().and_then(self::escalate),
        until: untils.filter_map(|it| expr_of(it.prop("until"), Roots::EVENT)).collect(),
    };
    if let Some(node) = escalate.filter(|_| nodes.until.is_empty() && nodes.recover.is_none()) {
        context
            .diagnostics
            .push(
                Rule::MissingArgument,
                "`escalate` can never be stopped: nothing says when somebody has reacted",
            )
            .at(node.name().span, "no `until`")
            .help("add `until=\"event.type == 'seen'\"` here, or a `recover` to the notifier");
    }
    report_update(fields, context);
    nodes
}

/// A changed message makes no sound: nobody would notice that an alert is repeated.
fn report_update(fields: &Fields<'_>, context: &mut Context<'_>) {
    let Some(update) = fields.child("update") else { return };
    for node in ["repeat", "escalate"].into_iter().filter_map(|it| fields.child(it)) {
        let word = node.name().value;
        context
            .diagnostics
            .push(Rule::UnknownNode, format!("`{word}` cannot be used together with `update`"))
            .at(node.name().span, "needs a message that makes a sound")
            .at(update.name().span, "changes a message without a sound")
            .help("use a second notifier for events that need a reaction");
    }
}

/// The one key of a notifier's alerts, which may be written at any of its nodes.
fn key(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Spanned<Expr>> {
    let nodes = WORDS.iter().filter_map(|word| fields.child(word));
    let keys: Vec<Spanned<Expr>> =
        nodes.filter_map(|node| expr_of(node.prop("key"), Roots::EVENT)).collect();
    let first = keys.first()?;
    for other in keys.iter().filter(|key| key.value.text() != first.value.text()) {
        context
            .diagnostics
            .push(Rule::OutOfRange, "the alerts of a notifier have one `key`")
            .at(other.span.clone(), "another key")
            .at(first.span.clone(), "the key")
            .help(format!("write `key=\"{}\"` here as well, or leave it out", first.value.text()));
    }
    keys.into_iter().next()
}

fn repeat(fields: &Fields<'_>) -> Option<RepeatRule> {
    let every = fields.arg(0)?.duration()?.value;
    Some(RepeatRule { every, max: fields.filled().prop("max", count) })
}

fn recover(fields: &Fields<'_>) -> Option<RecoverNode> {
    let text = |name: &str| -> Option<Template> {
        Some(fields.prop(name)?.template(Roots::NOTIFICATION)?.value)
    };
    let when = expr_of(fields.prop("when"), Roots::EVENT)?;
    Some(RecoverNode { when, title: text("title"), message: text("message") })
}

fn escalate(fields: &Fields<'_>) -> Option<EscalateNode> {
    let after = fields.prop("after").as_ref().and_then(duration)?;
    Some(EscalateNode { after, to: fields.prop("to")?.text()? })
}
