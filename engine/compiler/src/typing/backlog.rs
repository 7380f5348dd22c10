//! Memories by arrival over events that are read long after they happened.

use crate::spec::{Filter, Passing, Spec};
use language::diagnostic::{Diagnostics, Rule};

/// Reports a node that counts by arrival over a source that reads all its events at once although
/// they have times of their own: hours pass in an instant.
pub(super) fn check(spec: &Spec, diagnostics: &mut Diagnostics) {
    let past = spec.sources.iter().find_map(|source| {
        let decoded = source.spec.brings().has_time.then_some(&source.name.span);
        let time = source.map.time.as_ref().map(|time| &time.span).or(decoded);
        Some((&source.name.value, time.filter(|_| source.spec.ends() && !source.is_disabled)?))
    });
    let Some((source, time)) = past else { return };
    for filter in
        spec.filters.iter().filter(|filter| !filter.is_disabled && !chooses_source(filter))
    {
        let Passing::Remembers(spec) = &filter.rule else { continue };
        if !spec.shape().by_arrival {
            continue;
        }
        let name = &filter.name;
        diagnostics
            .push(
                Rule::CountsArrival,
                format!(
                    "`{}` counts by arrival, and `{source}` reads all its events at once",
                    spec.word()
                ),
            )
            .at(name.span.clone(), "not by the time of the event")
            .at(time.clone(), "the events have a time of their own")
            .help(format!(
                "remove `by=arrival`, so that the time of the events counts, or leave the source \
                 out: `when \"event.source != '{source}'\"`"
            ));
    }
}

/// Whether a condition asks where an event comes from: then the source may be left out.
fn chooses_source(filter: &Filter) -> bool {
    filter.when.as_ref().is_some_and(|when| when.value.reads_event("source"))
}
