//! What an event means to the alerts of notifiers: it is one, answers some, or takes them back.

use compiler::plan::{NotifierPlan, Plan};
use compiler::spec::Manners;
use language::expr::Scope;
use stages::memory;
use std::sync::Arc;
use store::{DeliveryTraits, NewDelivery, Recovery, Relay, RelayWord};

/// The key of the alerts that an event is about; nothing where it is null.
pub(super) fn key(manners: &Manners, scope: &Scope<'_>) -> Option<String> {
    match &manners.alerts.key {
        _ if !manners.alerts.is_any() => None,
        Some(key) => memory::key_of(&key.value, scope),
        None => Some(String::new()),
    }
}

/// The notifiers whose alerts an event answers, each with the key.
pub(super) fn answers(plan: &Plan, scope: &Scope<'_>) -> Vec<(Arc<str>, String)> {
    let on = plan
        .notifiers
        .iter()
        .filter(|notifier| notifier.off.is_none() && notifier.manners.alerts.is_any());
    let answered = on.filter(|it| {
        let alerts = &it.manners.alerts;
        let recover = alerts.recover.iter().map(|it| &it.when);
        alerts.until.iter().chain(recover).any(|it| it.value.is_true(scope))
    });
    answered.filter_map(|it| Some((it.name.clone(), key(&it.manners, scope)?))).collect()
}

/// Puts the all-clears that an event is in the place of what it would have been.
pub(super) fn add_recoveries(plan: &Plan, scope: &Scope<'_>, deliveries: &mut Vec<NewDelivery>) {
    for notifier in plan.notifiers.iter().filter(|notifier| notifier.off.is_none()) {
        let Some(mut delivery) = recovery(notifier, scope) else { continue };
        let own = deliveries.iter().position(|delivery| delivery.sink == notifier.name);
        if let (Some(own), Some(recovery)) = (own, &mut delivery.traits.recovery) {
            recovery.is_routed = deliveries.remove(own).suppressed.is_none();
        }
        deliveries.push(delivery);
    }
}

fn recovery(notifier: &NotifierPlan, scope: &Scope<'_>) -> Option<NewDelivery> {
    let node = notifier.manners.alerts.recover.as_ref()?;
    if !node.when.value.is_true(scope) {
        return None;
    }
    let key = key(&notifier.manners, scope)?;
    let allowed = super::enrich::allowed(&notifier.manners, scope);
    let via = Relay { word: RelayWord::Recover, from: notifier.name.clone() };
    let recovery = Some(Recovery { key, is_routed: false });
    let traits = DeliveryTraits { allowed, via: Some(via), recovery, ..DeliveryTraits::default() };
    Some(NewDelivery { sink: notifier.name.clone(), cooldown: None, suppressed: None, traits })
}
