//! The road of the text: files → document → spec → plan, with everything that was read on the way.

use crate::cases::{self, PipelineTest};
use crate::document;
use crate::expand;
use crate::files::{self, OpenedFiles, PipelinePath};
use crate::follow_ups;
use crate::grammar;
use crate::graph;
use crate::include::{self, Parsed, SourceMap};
use crate::params;
use crate::plan::{self, Plan, RunMode, Secrets};
use crate::spec::{self, Spec};
use crate::typing;
use crate::variables;
use kdl::KdlDocument;
use language::diagnostic::{Diagnostic, Diagnostics, Rule, Severity, SourceText};
use language::{self, Context, Environment};
use siphasher::sip128::{Hasher128, SipHasher13};
use stages::catalog::Catalog;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a pipeline file came to.
#[derive(Debug)]
pub struct LoadedPipeline {
    /// The plan, when nothing in the file is wrong.
    pub plan: Option<Plan>,
    /// Everything found, by position.
    pub diagnostics: Vec<Diagnostic>,
    /// Every file that was asked for, also the missing ones: what to watch.
    pub files: BTreeSet<PathBuf>,
    /// Hash of everything that was read.
    pub hash: String,
    /// The files that it takes tables and secrets from.
    pub inputs: FileInputs,
}

/// Files that a pipeline takes tables and secrets from, each with what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct FileInputs {
    /// Tables that stages look up, by their path in the file.
    pub tables: BTreeMap<Arc<str>, Option<String>>,
    /// Secrets that the pipeline cannot do without.
    pub secrets: BTreeMap<Arc<str>, Option<String>>,
}

/// What every file is read with: where it lies, what was set from outside, and the kinds.
#[derive(Clone, Copy)]
pub struct PipelineLoader<'a> {
    /// Where the pipeline file lies.
    pub place: &'a PipelinePath,
    /// Paths of settings and their values, as `--set` gives them.
    pub overrides: &'a [(String, String)],
    /// The kinds.
    pub catalog: &'a Catalog,
    /// Where variables come from.
    pub environment: &'a dyn Environment,
}

impl<'a> PipelineLoader<'a> {
    /// Reads and checks the pipeline file to run it: the plan also knows what each node says and
    /// has fingerprints of its secrets, so that it can be compared with the next one. The error is
    /// that the file itself cannot be read.
    pub fn load(&self, mode: RunMode) -> std::io::Result<LoadedPipeline> {
        let file = &self.place.file;
        let bytes = files::read_pipeline(file)?;
        let given = match PipelineTexts::of(&bytes, file) {
            Ok(given) => given,
            Err(refused) => return Ok(*refused),
        };
        let (mut loaded, read) = self.read(&given).plan();
        loaded.files.insert(file.clone());
        let Some(read) = read else { return Ok(loaded) };
        // Also of a file that is rejected: it may be for one of them, and waits for its return.
        loaded.files.extend(plan::secret_files(&read.spec));
        let tls = read.spec.server.tls_files(self.environment);
        loaded.files.extend(tls.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]));
        loaded.inputs.secrets = plan::secret_inputs(&read.spec, self.environment);
        if let Some(plan) = &mut loaded.plan {
            plan.secret_files.extend(tls.map(|tls| tls.1));
            plan.select(mode);
            plan.look_outside(self.environment);
            let expanded = expand::expand(&read, self.catalog);
            plan.outline = expanded.outline();
            plan.effective = expanded.kdl().into();
            plan.secrets = Secrets::of(&read.spec, self.environment);
            plan.inputs = loaded.inputs.clone();
            plan.graph = Some(Arc::new(graph::of(plan, &read.spec)));
        }
        Ok(loaded)
    }

    /// Checks texts with their tests.
    pub fn check(&self, given: &PipelineTexts) -> LoadedPipeline {
        let mut reading = self.read(given);
        reading.tests();
        let mut loaded = reading.plan().0;
        loaded.files.insert(given.source.name.clone().into());
        loaded.files.extend(given.beside.iter().map(|it| it.name.clone().into()));
        loaded
    }

    /// Text to document to spec. Pure but for the files that the text names, inside the
    /// pipeline's root.
    pub fn read<'t>(&self, given: &'t PipelineTexts) -> PipelineReading<'a, 't> {
        let source = &given.source;
        let mut opened = OpenedFiles::new(self.place.clone());
        let mut texts = SourceMap::new(source.clone(), &self.place.folder);
        let mut found = Vec::new();
        // The parser takes most of the time of a check, so the two files are parsed side by side.
        let (document, tests) = std::thread::scope(|scope| {
            let tests = given.beside.as_ref().map(|beside| scope.spawn(|| Parsed::of(beside)));
            let document = include::read(&mut texts, source, &mut opened, &mut found);
            (document, tests.map(|test| test.join().expect("the parser's panics are caught")))
        });
        let tests = tests.and_then(|tests| tests.beside(&mut texts, &mut found));
        let document = document.map(|mut it| {
            crate::overrides::apply(&mut it, self.overrides, &mut texts, &mut found);
            it
        });
        let mut diagnostics = Diagnostics::new(texts.whole());
        let document = document.map(|document| self.checked(document, tests, &mut diagnostics));
        let told = diagnostics.found().len();
        let mut context = Context {
            diagnostics: &mut diagnostics,
            files: &mut opened,
            environment: self.environment,
        };
        let spec = document.as_ref().and_then(|document| {
            spec::read(&document.pipeline, &texts, self.catalog, &mut context)
        });
        PipelineReading {
            loader: *self,
            given,
            texts,
            opened,
            document,
            spec,
            found,
            diagnostics,
            told,
        }
    }

    /// The documents with every value in its place, checked along the table.
    fn checked(
        &self,
        mut pipeline: KdlDocument,
        mut tests: Option<KdlDocument>,
        diagnostics: &mut Diagnostics,
    ) -> Documents {
        params::apply(&mut pipeline, diagnostics);
        let (catalog, environment) = (self.catalog, self.environment);
        variables::apply(&mut pipeline, grammar::TOP, catalog, environment, diagnostics);
        if let Some(tests) = &mut tests {
            variables::apply(tests, grammar::TEST_FILE, catalog, environment, diagnostics);
        }
        let meant = language::check(&pipeline, grammar::TOP, catalog, diagnostics);
        language::correct(&mut pipeline, &meant);
        if let Some(tests) = &mut tests {
            let whole = "a file of tests";
            let file = grammar::TEST_FILE;
            let meant = language::check_file(tests, file, whole, catalog, diagnostics);
            language::correct(tests, &meant);
        }
        crate::shorthand::apply(&mut pipeline);
        Documents { pipeline, tests }
    }
}

/// What the texts of a pipeline came to.
struct Documents {
    pipeline: KdlDocument,
    tests: Option<KdlDocument>,
}

/// A pipeline that was read, and is no plan yet.
pub struct PipelineReading<'a, 't> {
    loader: PipelineLoader<'a>,
    given: &'t PipelineTexts,
    texts: SourceMap,
    opened: OpenedFiles,
    document: Option<Documents>,
    spec: Option<Spec>,
    /// What was found in the texts, each in its own file.
    found: Vec<Diagnostic>,
    /// What was found since, in all texts as one.
    diagnostics: Diagnostics,
    /// How much of it the table found.
    told: usize,
}

impl PipelineReading<'_, '_> {
    /// What the pipeline says, when it could be read.
    pub fn spec(&self) -> Option<&Spec> {
        self.spec.as_ref()
    }

    /// Where its parts come from.
    pub fn texts(&self) -> &SourceMap {
        &self.texts
    }

    /// Reads the tests: those that stand in the pipeline, and those of the file beside it.
    pub fn tests(&mut self) -> Vec<PipelineTest> {
        let (Some(documents), Some(spec)) = (&self.document, &self.spec) else { return Vec::new() };
        let both: Vec<&KdlDocument> =
            [&documents.pipeline].into_iter().chain(&documents.tests).collect();
        let mut context = Context {
            diagnostics: &mut self.diagnostics,
            files: &mut self.opened,
            environment: self.loader.environment,
        };
        cases::read(&both, spec, &self.texts, self.loader.catalog, &mut context)
    }

    /// Spec to plan. What was read comes back too, also when there is no plan of it.
    pub fn plan(mut self) -> (LoadedPipeline, Option<LoadedFile>) {
        let is_sound = !self.found.iter().any(|it| it.rule.severity() == Severity::Error);
        let plan = self.build().filter(|_| is_sound);
        let PipelineReading { given, loader, texts, opened, mut diagnostics, mut found, .. } = self;
        if let Some(documents) = &self.document {
            params::blame(&documents.pipeline, &mut diagnostics);
        }
        if !diagnostics.found().is_empty() {
            document::secrets::hide(&texts.whole().text, &mut diagnostics);
        }
        // What could not be included may well be the source.
        let is_told = |diagnostic: &Diagnostic| is_sound || diagnostic.rule != Rule::NoSource;
        let own = diagnostics.sorted().into_iter().filter(is_told);
        let own = own.filter(|it| texts.is_worth_telling(it)).collect::<Vec<_>>();
        found.extend(own.into_iter().map(|it| texts.placed(it)));
        let inputs = FileInputs { tables: opened.tables(), ..FileInputs::default() };
        let seen = opened.into_seen();
        let hash = given.hash(&seen, loader.overrides);
        let files = seen.into_keys().collect();
        let read = self.document.zip(self.spec).map(|(documents, spec)| LoadedFile {
            document: documents.pipeline,
            texts,
            spec,
        });
        (LoadedPipeline { plan, diagnostics: found, files, hash, inputs }, read)
    }

    fn build(&mut self) -> Option<Plan> {
        let (Some(documents), Some(spec)) = (&self.document, &self.spec) else { return None };
        let (document, catalog) = (&documents.pipeline, self.loader.catalog);
        let mut context = Context {
            diagnostics: &mut self.diagnostics,
            files: &mut self.opened,
            environment: self.loader.environment,
        };
        let main = self.texts.main().text.as_str();
        let plan = plan::build(spec.clone(), main, &mut context);
        typing::check(document, spec, main.len(), catalog, &mut context);
        follow_ups::drop(document, self.told, context.diagnostics);
        plan.filter(|_| !context.diagnostics.has_errors())
    }
}

/// The texts that a pipeline begins with.
pub struct PipelineTexts {
    /// The pipeline file.
    pub source: Arc<SourceText>,
    /// The file of tests beside it.
    pub beside: Option<Arc<SourceText>>,
}

impl PipelineTexts {
    /// The bytes of a pipeline file alone. The error is what a file comes to that is no text.
    pub fn of(bytes: &[u8], file: &Path) -> Result<PipelineTexts, Box<LoadedPipeline>> {
        text(bytes, file).map(|source| PipelineTexts { source, beside: None })
    }

    /// Reads the pipeline file that `place` is or tests, and the file of tests beside it where
    /// there is one; `bytes` stand for what `place` holds. The inner error is a file that is no
    /// text.
    pub fn read(
        place: &PipelinePath,
        bytes: Option<&[u8]>,
    ) -> std::io::Result<Result<PipelineTexts, Box<LoadedPipeline>>> {
        let read = |file: &Path| match (bytes.filter(|_| file == place.file), place) {
            (Some(bytes), _) => Ok(bytes.to_vec()),
            (None, place) if place.instead.contains_key(file) => {
                Ok(place.instead[file].clone().into_bytes())
            }
            (None, _) => files::read_pipeline(file),
        };
        let file = files::tested_by(&place.file).unwrap_or_else(|| place.file.clone());
        let mut given = match PipelineTexts::of(&read(&file)?, &file) {
            Ok(given) => given,
            Err(refused) => return Ok(Err(refused)),
        };
        let tests = file.with_extension("test.kdl");
        given.beside = match read(&tests) {
            Ok(bytes) => match text(&bytes, &tests) {
                Ok(beside) => Some(beside),
                Err(refused) => return Ok(Err(refused)),
            },
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => None,
            Err(fault) => return Err(fault),
        };
        Ok(Ok(given))
    }

    /// The hash of everything that was read.
    fn hash(
        &self,
        seen: &BTreeMap<PathBuf, Option<Arc<SourceText>>>,
        overrides: &[(String, String)],
    ) -> String {
        let read =
            seen.values().map(|value| value.as_ref().map_or(&b""[..], |it| it.text.as_bytes()));
        let beside = self.beside.iter().map(|it| it.text.as_bytes());
        let set = overrides.iter().map(|it| it.1.as_bytes());
        hash([self.source.text.as_bytes()].into_iter().chain(read).chain(set).chain(beside))
    }
}

fn text(bytes: &[u8], file: &Path) -> Result<Arc<SourceText>, Box<LoadedPipeline>> {
    document::text(bytes, &file.display().to_string()).map_err(|found| {
        Box::new(LoadedPipeline {
            plan: None,
            diagnostics: found.sorted(),
            files: BTreeSet::from([file.to_owned()]),
            hash: hash([bytes]),
            inputs: FileInputs::default(),
        })
    })
}

/// A file that was read, for what shows it again.
pub struct LoadedFile {
    /// The document with everything that is included and every parameter in its place.
    pub document: KdlDocument,
    /// Where its parts come from.
    pub texts: SourceMap,
    /// What it says.
    pub spec: Spec,
}

fn hash<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = SipHasher13::new();
    for text in texts {
        hasher.write_u64(text.len() as u64);
        hasher.write(text);
    }
    format!("{:032x}", hasher.finish128().as_u128())
}

/// The process's own environment.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn is_set(&self, name: &str) -> bool {
        std::env::var_os(name).is_some()
    }

    fn is_empty(&self, name: &str) -> bool {
        std::env::var_os(name).is_some_and(|value| value.is_empty())
    }

    fn value(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|it| it.0.into_string().ok()).collect()
    }
}

/// The process's environment, in which every variable counts as set: for a check on a machine that
/// does not run the pipeline, and for commands that need none of its secrets.
#[derive(Debug, Clone, Copy)]
pub struct LenientEnvironment;

impl Environment for LenientEnvironment {
    fn is_set(&self, _: &str) -> bool {
        true
    }

    fn value(&self, name: &str) -> Option<String> {
        ProcessEnvironment.value(name)
    }
}
