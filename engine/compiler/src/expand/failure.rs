//! Failure handling in the effective file: the value that wins, and the layer that it is from.

use super::shown::Shown;
use crate::plan::{CallPolicy, Layer, PolicyRole, layers, resolve};
use crate::spec::{Backoff, Breaker, BreakerTrip, FailureHandling, Name, RateLimit, Spec};
use kdl::{KdlEntry, KdlValue};
use kernel::choice::Choice;
use kernel::time::write_duration;

const PARTS: &[&str] = &["timeout", "retry", "breaker", "rate", "concurrency"];

/// Whether a child belongs to failure handling.
pub(super) fn is_part(name: &str) -> bool {
    PARTS.contains(&name) || name == "policy"
}

/// Puts the resolved failure handling of a stage, sink or notifier into its node.
pub(super) fn apply(shown: &mut Shown, spec: &Spec, role: PolicyRole, title: &str) {
    let Some((named, own)) = find(spec, role, title) else { return };
    let policy = resolve(spec, role, named, own);
    let layers = layers(spec, role, named, own);
    shown.children.retain(|child| !is_part(&child.name));
    shown.children.extend(nodes(&policy, &layers));
}

fn find<'a>(
    spec: &'a Spec,
    role: PolicyRole,
    title: &str,
) -> Option<(Option<&'a Name>, &'a FailureHandling)> {
    let is_it = |name: &Name| name.value == title;
    match role {
        PolicyRole::Enrich => {
            let it = spec.enrichments.iter().find(|enrichment| is_it(&enrichment.name))?;
            Some((it.policy.as_ref(), &it.failure))
        }
        PolicyRole::Sink => {
            let it = spec.sinks.iter().find(|sink| is_it(&sink.name))?;
            Some((it.policy.as_ref(), &it.failure))
        }
        PolicyRole::Notify => {
            let it = spec.notifiers.iter().find(|notifier| is_it(&notifier.name))?;
            Some((it.policy.as_ref(), &it.failure))
        }
    }
}

/// The layer that says something; none for the node itself.
fn origin(layers: &[Layer<'_>], says: impl Fn(&FailureHandling) -> bool) -> Option<String> {
    let layer = layers.iter().find(|layer| says(layer.failure));
    match layer.map(|layer| layer.origin) {
        None => Some("built-in".to_owned()),
        Some("") => None,
        Some("defaults") => Some("defaults".to_owned()),
        Some(policy) => Some(format!("policy {policy}")),
    }
}

fn nodes(policy: &CallPolicy, layers: &[Layer<'_>]) -> Vec<Shown> {
    let mut timeout = with("timeout", [text(write_duration(policy.timeout))]);
    timeout.origin = origin(layers, |it| it.timeout.is_some());
    let mut concurrency = with("concurrency", [number(policy.concurrency)]);
    concurrency.origin = origin(layers, |it| it.concurrency.is_some());
    let mut nodes = vec![timeout, retry(policy, layers)];
    if let Some(settings) = &policy.breaker {
        let mut node = breaker(settings);
        node.origin = origin(layers, |it| it.breaker.is_some());
        nodes.push(node);
    }
    if let Some(RateLimit { rate, burst }) = policy.rate {
        let mut node = with("rate", [text(rate.to_string())]);
        node.entry(Some("burst"), number(burst as usize));
        node.origin = origin(layers, |it| it.rate.is_some());
        nodes.push(node);
    }
    nodes.push(concurrency);
    nodes
}

fn retry(policy: &CallPolicy, layers: &[Layer<'_>]) -> Shown {
    let mut node = with("retry", policy.retries.map(|retry| number(retry as usize)));
    if !policy.on.is_empty() {
        node.entry(Some("on"), text(policy.on.join(" ")));
    }
    node.entry(Some("give-up"), text(write_duration(policy.give_up)));
    node.origin = origin(layers, |it| it.retry.is_some());
    let mut curve = backoff(&policy.backoff);
    let says = |handling: &FailureHandling| {
        handling.retry.as_ref().is_some_and(|retry| retry.backoff.is_some())
    };
    curve.origin = origin(layers, says);
    node.children.push(curve);
    node
}

fn backoff(settings: &Backoff) -> Shown {
    let curve = settings.curve.word().to_owned();
    let mut node = with("backoff", [KdlEntry::new(KdlValue::String(curve))]);
    node.entry(Some("base"), text(write_duration(settings.base)));
    node.entry(Some("max"), text(write_duration(settings.max)));
    node.entry(Some("factor"), KdlEntry::new(KdlValue::Float(settings.factor)));
    let jitter = settings.jitter.word();
    node.entry(Some("jitter"), KdlEntry::new(KdlValue::String(jitter.to_owned())));
    node
}

fn breaker(settings: &Breaker) -> Shown {
    let mut trip = with("trip", []);
    match settings.trip {
        BreakerTrip::After(faults) => trip.entry(Some("after"), number(faults)),
        BreakerTrip::Ratio(ratio, least) => {
            trip.entry(Some("ratio"), KdlEntry::new(KdlValue::Float(ratio)));
            trip.entry(Some("min"), number(least));
        }
    }
    trip.entry(Some("within"), text(write_duration(settings.within)));
    let open_for = with("open-for", [text(write_duration(settings.open_for))]);
    let probes = with("probes", [number(settings.probes as usize)]);
    let mut node = with("breaker", []);
    node.children = vec![trip, open_for, probes];
    node
}

fn with(name: &str, arguments: impl IntoIterator<Item = KdlEntry>) -> Shown {
    let mut node = Shown::new(name);
    arguments.into_iter().for_each(|argument| node.entry(None, argument));
    node
}

fn text(value: String) -> KdlEntry {
    super::quoted(&value)
}

fn number(value: usize) -> KdlEntry {
    KdlEntry::new(KdlValue::Integer(value as i128))
}
