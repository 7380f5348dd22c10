//! The health of tables and secrets that come from files: the only place where it is written.
//!
//! A file that cannot be used makes the reload fail, so what runs keeps what it had; without this,
//! nothing would say which file it is about, nor that it is whole again.

use compiler::load::FileInputs;
use kernel::health::{Health, HealthPart, HealthProblem, PartRole};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The code of a table or secret whose file cannot be used.
const UNUSABLE: &str = "unusable";

type Inputs = BTreeMap<Arc<str>, Option<String>>;

/// Notes what a look at the file found; `generation` is what runs. What was not looked at, as
/// behind a mistake in the syntax, stays as it was.
pub(super) fn note(health: &Arc<Health>, inputs: &FileInputs, generation: u64) {
    for (role, inputs, what) in roles(inputs) {
        for (name, fault) in inputs {
            let part = health.part(role, name.clone());
            let Some(reason) = fault else {
                part.clear(UNUSABLE);
                continue;
            };
            let advice = format!(
                "correct the file; generation {generation} keeps using the previous {what}"
            );
            part.report(HealthProblem::degraded(UNUSABLE, reason.clone()).advise(advice));
        }
    }
}

/// Forgets what the running generation no longer reads.
pub(super) fn keep(health: &Health, inputs: &FileInputs) {
    let known: Vec<HealthPart> = health.report().into_iter().map(|report| report.part).collect();
    for part in known {
        let gone =
            |it: &(PartRole, &Inputs, &str)| it.0 == part.role && !it.1.contains_key(&part.name);
        if roles(inputs).iter().any(gone) {
            health.remove(&part);
        }
    }
}

fn roles(inputs: &FileInputs) -> [(PartRole, &Inputs, &'static str); 2] {
    [(PartRole::Table, &inputs.tables, "rows"), (PartRole::Secret, &inputs.secrets, "secret")]
}
