//! A pipeline with its tests, and a plan of it for each set of variables.

use super::Variables;
use super::coverage::{self, Item};
use compiler::cases::PipelineTest;
use compiler::files::PipelinePath;
use compiler::include::SourceMap;
use compiler::load::{PipelineLoader, PipelineTexts};
use compiler::plan::Plan;
use language::diagnostic::{Diagnostic, Severity, SourceText};
use stages::catalog::Catalog;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pipeline and its tests.
pub struct Suite {
    /// What was found in the files.
    pub diagnostics: Vec<Diagnostic>,
    /// In the order of the files.
    pub tests: Vec<PipelineTest>,
    /// The texts that the spans of tests lie in.
    pub texts: SourceMap,
    /// What tests can exercise.
    pub(super) items: Vec<Item>,
    given: PipelineTexts,
    place: PipelinePath,
    /// By the variables that are set.
    plans: BTreeMap<BTreeMap<String, String>, Planned>,
}

/// A plan, and the variables that it was made with.
type Planned = (Plan, Arc<Variables>);

/// Reads the pipeline file at `place` with its tests.
pub fn load(place: &PipelinePath, catalog: &Catalog) -> std::io::Result<Suite> {
    Ok(match PipelineTexts::read(place, None)? {
        Ok(given) => of(given, place, catalog),
        Err(refused) => {
            let text = SourceText { name: String::new(), text: String::new() };
            Suite {
                diagnostics: refused.diagnostics,
                tests: Vec::new(),
                texts: SourceMap::new(Arc::new(text.clone()), &place.folder),
                items: Vec::new(),
                given: PipelineTexts { source: Arc::new(text), beside: None },
                place: place.clone(),
                plans: BTreeMap::new(),
            }
        }
    })
}

/// The same for texts as if they lay at `place`.
pub fn of(given: PipelineTexts, place: &PipelinePath, catalog: &Catalog) -> Suite {
    let variables = Variables::default();
    let mut reading = loader(place, catalog, &variables).read(&given);
    let items = reading.spec().map(|spec| {
        variables.complete(spec);
        coverage::items(spec)
    });
    let (tests, texts) = (reading.tests(), reading.texts().clone());
    let loaded = reading.plan().0;
    let mut suite = Suite {
        diagnostics: loaded.diagnostics,
        tests,
        texts,
        items: items.unwrap_or_default(),
        given,
        place: place.clone(),
        plans: BTreeMap::new(),
    };
    if let Some(plan) = loaded.plan {
        suite.plans.insert(BTreeMap::new(), (plan, Arc::new(variables)));
    }
    suite
}

fn loader<'a>(
    place: &'a PipelinePath,
    catalog: &'a Catalog,
    environment: &'a Variables,
) -> PipelineLoader<'a> {
    PipelineLoader { place, overrides: &[], catalog, environment }
}

impl Suite {
    /// Whether the files are in order.
    pub fn is_sound(&self) -> bool {
        !self.diagnostics.iter().any(|diagnostic| diagnostic.rule.severity() == Severity::Error)
    }

    /// The plan as the variables of `test` make it, or why there is none.
    pub fn plan(
        &mut self,
        test: &PipelineTest,
        catalog: &Catalog,
    ) -> Result<Planned, Vec<Diagnostic>> {
        if let Some((plan, variables)) = self.plans.get(&test.variables) {
            return Ok((plan.clone(), variables.clone()));
        }
        let variables = Arc::new(Variables::new(test.variables.clone()));
        let reading = loader(&self.place, catalog, &variables).read(&self.given);
        reading.spec().inspect(|spec| variables.complete(spec));
        let loaded = reading.plan().0;
        let plan = loaded.plan.ok_or(loaded.diagnostics)?;
        self.plans.insert(test.variables.clone(), (plan.clone(), variables.clone()));
        Ok((plan, variables))
    }
}
