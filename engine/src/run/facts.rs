//! What an event means to notifiers that wait for a fact: it waits, or it is what they wait for.

use compiler::plan::{NotifierPlan, Plan};
use compiler::spec::Manners;
use language::expr::Scope;
use stages::memory;
use store::{FactClaim, NewDelivery};

/// What an event that goes to a notifier waits for or brings; nothing where its key is null.
pub(super) fn claim(manners: &Manners, scope: &Scope<'_>) -> Option<FactClaim> {
    let node = manners.wait.as_ref()?;
    let key = match &node.key {
        Some(key) => memory::key_of(&key.value, scope)?,
        None => String::new(),
    };
    Some(FactClaim { key, is_fact: node.fact.value.is_true(scope), is_routed: true })
}

/// Adds the deliveries of an event that brings a fact to notifiers that it would not go to.
pub(super) fn add_facts(plan: &Plan, scope: &Scope<'_>, deliveries: &mut Vec<NewDelivery>) {
    for notifier in plan.notifiers.iter().filter(|notifier| notifier.off.is_none()) {
        let goes = |delivery: &NewDelivery| {
            delivery.sink == notifier.name && delivery.suppressed.is_none()
        };
        let Some(delivery) = fact(plan, notifier, scope) else { continue };
        if !deliveries.iter().any(goes) {
            deliveries.retain(|delivery| delivery.sink != notifier.name);
            deliveries.push(delivery);
        }
    }
}

/// Whether an event is what some notifier may wait for.
pub(super) fn is_any(plan: &Plan, scope: &Scope<'_>) -> bool {
    let on = plan.notifiers.iter().filter(|notifier| notifier.off.is_none());
    on.filter_map(|it| claim(&it.manners, scope)).any(|it| it.is_fact)
}

fn fact(plan: &Plan, notifier: &NotifierPlan, scope: &Scope<'_>) -> Option<NewDelivery> {
    let claim = claim(&notifier.manners, scope).filter(|claim| claim.is_fact)?;
    let mut delivery = super::enrich::delivery(plan, &notifier.name, scope);
    delivery.traits.fact = Some(FactClaim { is_routed: false, ..claim });
    Some(delivery)
}
