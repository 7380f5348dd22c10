//! What remembers looks at an event as it comes in, before any service is called: else events of
//! one key would be judged in the order of the answers.

use crate::spec::{Enrichment, Spec};
use language::diagnostic::{Diagnostics, Rule};
use std::collections::BTreeMap;

/// Reports each enrichment that remembers and waits for one that comes later. In `order` each
/// stands behind what it waits for.
pub(super) fn check(spec: &Spec, order: &[usize], diagnostics: &mut Diagnostics) {
    // By name: the stage that runs late among one and all that it waits for.
    let mut late: BTreeMap<&str, &Enrichment> = BTreeMap::new();
    for index in order {
        let stage = &spec.enrichments[*index];
        let waits = stage.after.iter().chain(&stage.needs);
        let waits = waits.filter_map(|name| Some((name, *late.get(name.value.as_str())?)));
        let waits: Vec<_> = waits.collect();
        let remembers = stage.spec.memory().is_some() && !stage.is_disabled;
        for (name, other) in waits.iter().filter(|_| remembers) {
            let why = match (other.spec.is_remote(), other.waits_for_filters) {
                (true, _) => "calls a service",
                (_, true) => "reads the position of the event within its visit",
                _ => "keeps state per key as well",
            };
            let own = &stage.name.value;
            diagnostics
                .push(
                    Rule::NotYetThere,
                    format!("`{own}` is judged when an event comes in, and cannot wait"),
                )
                .at(name.span.clone(), format!("waits for `{}`, which {why}", other.name.value))
                .help("remove this line; another stage can wait for both");
        }
        if remembers && stage.waits_for_filters {
            let own = &stage.name.value;
            diagnostics
                .push(
                    Rule::NotYetThere,
                    format!("`{own}` is judged when an event comes in, and cannot wait"),
                )
                .at(stage.name.span.clone(), "reads the position of the event within its visit")
                .help("read the event itself; a later stage can read what both of them add");
        }
        let first = if stage.runs_late() { Some(stage) } else { waits.first().map(|it| it.1) };
        late.extend(first.map(|it| (stage.name.value.as_str(), it)));
    }
}
