//! What remembers looks at an event as it comes in, before any service is called: else events of
//! one key would be judged in the order of the answers.

use crate::spec::{Enrichment, Name, Spec};
use language::diagnostic::{Diagnostics, Rule};
use std::collections::BTreeMap;

/// Reports each enrichment that remembers and waits for one that comes later.
pub(super) fn check(spec: &Spec, diagnostics: &mut Diagnostics) {
    let stages: BTreeMap<&str, &Enrichment> =
        spec.enrichments.iter().map(|it| (it.name.value.as_str(), it)).collect();
    let memories = spec.enrichments.iter().filter(|it| it.spec.memory().is_some());
    for stage in memories.filter(|it| !it.is_disabled) {
        for name in stage.after.iter().chain(&stage.needs) {
            let Some(late) = late(name, &stages, stages.len()) else { continue };
            let why = match late.spec.is_remote() {
                true => "calls a service",
                false => "remembers as well",
            };
            diagnostics
                .push(
                    Rule::NotYetThere,
                    format!(
                        "`{}` is judged when an event comes in, and cannot wait",
                        stage.name.value
                    ),
                )
                .at(name.span.clone(), format!("waits for `{}`, which {why}", late.name.value))
                .help("remove this line; a stage that reads both can wait for both");
        }
    }
}

/// The stage that comes later among one and all that it waits for.
fn late<'a>(
    name: &Name,
    stages: &BTreeMap<&str, &'a Enrichment>,
    depth: usize,
) -> Option<&'a Enrichment> {
    let stage = *stages.get(name.value.as_str())?;
    if stage.spec.is_remote() || stage.spec.memory().is_some() {
        return Some(stage);
    }
    let depth = depth.checked_sub(1)?;
    stage.after.iter().chain(&stage.needs).find_map(|it| late(it, stages, depth))
}
