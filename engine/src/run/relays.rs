//! What one notifier hands to another, worked out where the event is at hand.

use super::enrich;
use crate::engine::Engine;
use compiler::plan::{NotifierPlan, Plan, node_of};
use language::expr::Scope;
use stages::contract::event_of;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{
    DeliveryState, NewDelivery, OnFull, Relay, RelayWord, Settlement, StoreEntry, StoredEvent,
};

/// Who gets what this notifier could not deliver: one for each recipient of its fallback.
fn fallbacks(plan: &Plan, from: &NotifierPlan, scope: &Scope<'_>) -> Vec<NewDelivery> {
    let Some(name) = &from.manners.fallback else { return Vec::new() };
    relayed(plan, &from.name, RelayWord::Fallback, &name.value, scope)
}

/// Who gets an alert of this notifier when nobody reacts. No cooldown holds that back.
pub(super) fn escalations(plan: &Plan, from: &NotifierPlan, scope: &Scope<'_>) -> Vec<NewDelivery> {
    let Some(node) = &from.manners.alerts.escalate else { return Vec::new() };
    let mut all = relayed(plan, &from.name, RelayWord::Escalate, &node.to.value, scope);
    for delivery in &mut all {
        delivery.cooldown = None;
        delivery.traits.silences.clear();
        delivery.traits.group = None;
    }
    all
}

/// The deliveries to a node that another notifier hands an event to.
fn relayed(
    plan: &Plan,
    from: &Arc<str>,
    word: RelayWord,
    to: &str,
    scope: &Scope<'_>,
) -> Vec<NewDelivery> {
    let on = plan
        .notifiers
        .iter()
        .filter(|notifier| notifier.off.is_none() && node_of(&notifier.name) == to);
    let handed = on.map(|it| {
        let mut delivery = enrich::delivery(plan, &it.name, scope);
        // It has waited where it came from.
        delivery.traits.fact = None;
        delivery.traits.via = Some(Relay { word, from: from.clone() });
        delivery
    });
    handed.collect()
}

/// The same for a delivery that may end before it was tried: nothing where it waits for room.
pub(super) fn of_full(plan: &Plan, from: &NotifierPlan, scope: &Scope<'_>) -> Vec<NewDelivery> {
    match from.backlog.on_full {
        OnFull::DeadLetter => fallbacks(plan, from, scope),
        OnFull::Reject | OnFull::DropOldest => Vec::new(),
    }
}

/// The events of deliveries that may be handed on.
#[derive(Default)]
pub(super) struct RelayedEvents(BTreeMap<u64, StoredEvent>);

impl RelayedEvents {
    /// Keeps an event where its target has somebody to hand it to.
    pub(super) fn keep(&mut self, engine: &Engine, target: &str, stored: &StoredEvent) {
        let generation = engine.generation();
        let notifier = generation.plan.notifiers.iter().find(|notifier| *notifier.name == *target);
        if notifier.is_some_and(|notifier| notifier.manners.fallback.is_some()) {
            self.0.insert(stored.seq, stored.clone());
        }
    }

    /// What follows an attempt that settled so, for the transaction that notes it.
    pub(super) fn after(&self, engine: &Engine, settlement: &Settlement) -> Option<StoreEntry> {
        let stored = self.0.get(&settlement.seq)?;
        if settlement.state != DeliveryState::Dead {
            return None;
        }
        let generation = engine.generation();
        let plan = &generation.plan;
        let from = plan.notifiers.iter().find(|notifier| notifier.name == settlement.sink)?;
        let event = event_of(stored, plan.globals.clone())?;
        let to = fallbacks(plan, from, &Scope::of(&event, engine.env.clock.wall()));
        let (from, seq) = (settlement.sink.clone(), settlement.seq);
        (!to.is_empty()).then_some(StoreEntry::Relay { from, seq, to })
    }
}
