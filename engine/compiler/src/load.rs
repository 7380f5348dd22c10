//! The road of the text: files → document → spec → plan, with everything that was read on the way.

use crate::cases;
use crate::document;
use crate::expand;
use crate::files::{self, OpenedFiles, PipelinePath};
use crate::follow_ups;
use crate::grammar;
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
pub struct Loaded {
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

/// Reads and checks a pipeline file to run it: the plan also knows what each node says and has
/// fingerprints of its secrets, so that it can be compared with the next one. The error is that
/// the file itself cannot be read.
pub fn load(
    place: &PipelinePath,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
    mode: RunMode,
) -> std::io::Result<Loaded> {
    let bytes = files::read_pipeline(&place.file)?;
    let name = place.file.display().to_string();
    let (mut loaded, read) = match document::text(&bytes, &name) {
        Ok(source) => read_anyway(&source, place, overrides, catalog, environment),
        Err(found) => (unreadable(&found, &bytes), None),
    };
    loaded.files.insert(place.file.clone());
    let Some(read) = read else { return Ok(loaded) };
    // Also of a file that is rejected: it may be for one of them, and waits for its return.
    loaded.files.extend(plan::secret_files(&read.spec));
    loaded.inputs.secrets = plan::secret_inputs(&read.spec, environment);
    if let Some(plan) = &mut loaded.plan {
        plan.select(mode);
        let expanded = expand::expand(&read, catalog);
        plan.outline = expanded.outline();
        plan.effective = expanded.kdl().into();
        plan.secrets = Secrets::of(&read.spec, environment);
        plan.inputs = loaded.inputs.clone();
    }
    Ok(loaded)
}

/// What a file comes to that is no text.
fn unreadable(found: &Diagnostics, bytes: &[u8]) -> Loaded {
    let diagnostics = found.clone().sorted();
    let (files, inputs) = (BTreeSet::new(), FileInputs::default());
    Loaded { plan: None, diagnostics, files, hash: hash([bytes]), inputs }
}

/// Checks bytes as if they were what the file at `place` holds.
pub fn load_bytes(
    bytes: &[u8],
    place: &PipelinePath,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> Loaded {
    let name = place.file.display().to_string();
    let mut loaded = match document::text(bytes, &name) {
        Ok(source) => check(&source, place, overrides, catalog, environment),
        Err(found) => unreadable(&found, bytes),
    };
    loaded.files.insert(place.file.clone());
    loaded
}

/// Reads and checks a pipeline file together with its tests: those that stand in it, and those of
/// `NAME.test.kdl` beside `NAME.kdl`. `place` is of either; `bytes` stand for what it holds.
pub fn load_with_tests(
    place: &PipelinePath,
    bytes: Option<&[u8]>,
    catalog: &Catalog,
    environment: &dyn Environment,
) -> std::io::Result<Loaded> {
    let given = match PipelineTexts::read(place, bytes)? {
        Ok(given) => given,
        Err(refused) => return Ok(refused),
    };
    let mut loaded = check_with_tests(&given, place, catalog, environment);
    loaded.files.insert(place.file.clone());
    loaded.files.insert(given.source.name.clone().into());
    loaded.files.extend(given.beside.map(|it| it.name.clone().into()));
    Ok(loaded)
}

/// The same for texts as if they lay at `place`.
pub fn check_with_tests(
    given: &PipelineTexts,
    place: &PipelinePath,
    catalog: &Catalog,
    environment: &dyn Environment,
) -> Loaded {
    let mut look_at =
        |spec: &Spec, documents: &[&KdlDocument], texts: &SourceMap, it: &mut Context<'_>| {
            cases::read(documents, spec, texts, it);
        };
    walk(given, place, &[], catalog, environment, &mut look_at).0
}

/// The texts that a pipeline begins with.
pub struct PipelineTexts {
    /// The pipeline file.
    pub source: Arc<SourceText>,
    /// The file of tests beside it.
    pub beside: Option<Arc<SourceText>>,
}

impl PipelineTexts {
    /// Reads the pipeline file that `place` is or tests, and the file of tests beside it where
    /// there is one. The inner error is a file that is no text.
    pub fn read(
        place: &PipelinePath,
        bytes: Option<&[u8]>,
    ) -> std::io::Result<Result<PipelineTexts, Loaded>> {
        let read = |file: &Path| match (bytes.filter(|_| file == place.file), place) {
            (Some(bytes), _) => Ok(bytes.to_vec()),
            (None, place) if place.instead.contains_key(file) => {
                Ok(place.instead[file].clone().into_bytes())
            }
            (None, _) => files::read_pipeline(file),
        };
        let refused = |bytes: &[u8], found: Box<Diagnostics>, file: &Path| Loaded {
            plan: None,
            diagnostics: found.sorted(),
            files: BTreeSet::from([file.to_owned()]),
            hash: hash([bytes]),
            inputs: FileInputs::default(),
        };
        let file = files::tested_by(&place.file).unwrap_or_else(|| place.file.clone());
        let bytes = read(&file)?;
        let source = match document::text(&bytes, &file.display().to_string()) {
            Ok(source) => source,
            Err(found) => return Ok(Err(refused(&bytes, found, &file))),
        };
        let tests = file.with_extension("test.kdl");
        let beside = match read(&tests) {
            Ok(bytes) => match document::text(&bytes, &tests.display().to_string()) {
                Ok(beside) => Some(beside),
                Err(found) => return Ok(Err(refused(&bytes, found, &tests))),
            },
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => None,
            Err(fault) => return Err(fault),
        };
        Ok(Ok(PipelineTexts { source, beside }))
    }
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

/// Checks a text as if it were the file at `place`; its tests are not looked into. Pure but for
/// the files that the text names, inside the pipeline's root.
pub fn check(
    source: &Arc<SourceText>,
    place: &PipelinePath,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> Loaded {
    let given = PipelineTexts { source: source.clone(), beside: None };
    walk(&given, place, overrides, catalog, environment, &mut |_, _, _, _| ()).0
}

/// The same, and what was read when nothing is wrong with it.
pub fn read(
    source: &Arc<SourceText>,
    place: &PipelinePath,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> (Loaded, Option<LoadedFile>) {
    let (loaded, read) = read_anyway(source, place, overrides, catalog, environment);
    let read = read.filter(|_| loaded.plan.is_some());
    (loaded, read)
}

/// The same, and what was read also when something is wrong with it.
fn read_anyway(
    source: &Arc<SourceText>,
    place: &PipelinePath,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> (Loaded, Option<LoadedFile>) {
    let given = PipelineTexts { source: source.clone(), beside: None };
    let mut kept = None;
    let mut keep = |spec: &Spec, documents: &[&KdlDocument], _: &SourceMap, _: &mut Context<'_>| {
        kept = documents.first().map(|it| ((*it).clone(), spec.clone()));
    };
    let (loaded, texts) = walk(&given, place, overrides, catalog, environment, &mut keep);
    (loaded, kept.map(|(document, spec)| LoadedFile { document, texts, spec }))
}

/// Sees a spec before its plan is built, with every document that `test` may stand in; the
/// pipeline's own is the first.
pub type LookAt<'a> = dyn FnMut(&Spec, &[&KdlDocument], &SourceMap, &mut Context<'_>) + 'a;

/// The whole road, with a look at the spec on the way.
pub fn walk(
    given: &PipelineTexts,
    place: &PipelinePath,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
    look_at: &mut LookAt<'_>,
) -> (Loaded, SourceMap) {
    let source = &given.source;
    let mut opened = OpenedFiles::new(place.clone());
    let mut texts = SourceMap::new(source.clone(), &place.folder);
    let mut found = Vec::new();
    // The parser takes most of the time of a check, so the two files are parsed side by side.
    let (document, tests) = std::thread::scope(|scope| {
        let tests = given.beside.as_ref().map(|it| scope.spawn(|| Parsed::of(it)));
        let document = include::read(&mut texts, source, &mut opened, &mut found);
        (document, tests.map(|it| it.join().expect("the parser's panics are caught")))
    });
    let tests = tests.and_then(|it| it.beside(&mut texts, &mut found));
    let document = document.map(|mut it| {
        crate::overrides::apply(&mut it, overrides, &mut texts, &mut found);
        it
    });
    let is_sound = !found.iter().any(|it| it.rule.severity() == Severity::Error);
    let mut diagnostics = Diagnostics::new(texts.whole());
    let plan = document.and_then(|mut document| {
        params::apply(&mut document, &mut diagnostics);
        let place_variables = |it: &mut KdlDocument, top, found: &mut Diagnostics| {
            variables::apply(it, top, catalog, environment, found);
        };
        place_variables(&mut document, grammar::TOP, &mut diagnostics);
        let tests = tests.map(|mut it| {
            place_variables(&mut it, grammar::TEST_FILE, &mut diagnostics);
            it
        });
        language::check(&document, grammar::TOP, catalog, &mut diagnostics);
        if let Some(tests) = &tests {
            let whole = "a file of tests";
            language::check_file(tests, grammar::TEST_FILE, whole, catalog, &mut diagnostics);
        }
        let told = diagnostics.found().len();
        let mut context =
            Context { diagnostics: &mut diagnostics, files: &mut opened, environment };
        let spec = spec::read(&document, &texts, catalog, &mut context)?;
        let documents: Vec<&KdlDocument> = [&document].into_iter().chain(&tests).collect();
        look_at(&spec, &documents, &texts, &mut context);
        let main = texts.main().text.as_str();
        let plan = plan::build(spec.clone(), main, &mut context);
        typing::check(&document, &spec, main.len(), catalog, &mut context);
        follow_ups::drop(&document, told, context.diagnostics);
        plan.filter(|_| !context.diagnostics.has_errors())
    });
    if !diagnostics.found().is_empty() {
        document::secrets::hide(&texts.whole().text, &mut diagnostics);
    }
    // What could not be included may well be the source.
    let is_told = |it: &Diagnostic| is_sound || it.rule != Rule::NoSource;
    let own = diagnostics.sorted().into_iter().filter(is_told);
    let own = own.filter(|it| texts.is_worth_telling(it)).collect::<Vec<_>>();
    found.extend(own.into_iter().map(|it| texts.placed(it)));
    let inputs = FileInputs { tables: opened.tables(), ..FileInputs::default() };
    let seen = opened.into_seen();
    let texts_read = seen.values().map(|it| it.as_ref().map_or(&b""[..], |it| it.text.as_bytes()));
    let beside = given.beside.iter().map(|it| it.text.as_bytes());
    let set = overrides.iter().map(|it| it.1.as_bytes());
    let hash =
        hash([source.text.as_bytes()].into_iter().chain(texts_read).chain(set).chain(beside));
    let plan = plan.filter(|_| is_sound);
    let files = seen.into_keys().collect();
    (Loaded { plan, diagnostics: found, files, hash, inputs }, texts)
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
