//! A pipeline with its tests, and a plan of it for each set of variables.

use super::Variables;
use super::coverage::{self, Item};
use compiler::cases::{self, Test};
use compiler::files::PipelinePath;
use compiler::include::SourceMap;
use compiler::load::{self, Loaded, LookAt, PipelineTexts};
use compiler::plan::Plan;
use compiler::spec::Spec;
use kdl::KdlDocument;
use language::Context;
use language::diagnostic::{Diagnostic, Severity, SourceText};
use stages::catalog::Catalog;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pipeline and its tests.
pub struct Suite {
    /// What was found in the files.
    pub diagnostics: Vec<Diagnostic>,
    /// In the order of the files.
    pub tests: Vec<Test>,
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
    let (mut tests, mut items) = (Vec::new(), Vec::new());
    let variables = Variables::default();
    let mut look_at =
        |spec: &Spec, documents: &[&KdlDocument], texts: &SourceMap, it: &mut Context<'_>| {
            variables.complete(spec);
            tests = cases::read(documents, spec, texts, it);
            items = coverage::items(spec);
        };
    let (loaded, texts) = walk(&given, place, catalog, &variables, &mut look_at);
    let mut suite = Suite {
        diagnostics: loaded.diagnostics,
        tests,
        texts,
        items,
        given,
        place: place.clone(),
        plans: BTreeMap::new(),
    };
    if let Some(plan) = loaded.plan {
        suite.plans.insert(BTreeMap::new(), (plan, Arc::new(variables)));
    }
    suite
}

fn walk(
    given: &PipelineTexts,
    place: &PipelinePath,
    catalog: &Catalog,
    variables: &Variables,
    look_at: &mut LookAt<'_>,
) -> (Loaded, SourceMap) {
    load::walk(given, place, &[], catalog, variables, look_at)
}

impl Suite {
    /// Whether the files are in order.
    pub fn is_sound(&self) -> bool {
        !self.diagnostics.iter().any(|it| it.rule.severity() == Severity::Error)
    }

    /// The plan as the variables of `test` make it, or why there is none.
    pub fn plan(&mut self, test: &Test, catalog: &Catalog) -> Result<Planned, Vec<Diagnostic>> {
        if let Some((plan, variables)) = self.plans.get(&test.variables) {
            return Ok((plan.clone(), variables.clone()));
        }
        let variables = Arc::new(Variables::new(test.variables.clone()));
        let mut look_at = |spec: &Spec, _: &[&KdlDocument], _: &SourceMap, _: &mut Context<'_>| {
            variables.complete(spec);
        };
        let (loaded, _) = walk(&self.given, &self.place, catalog, &variables, &mut look_at);
        let plan = loaded.plan.ok_or(loaded.diagnostics)?;
        self.plans.insert(test.variables.clone(), (plan.clone(), variables.clone()));
        Ok((plan, variables))
    }
}
