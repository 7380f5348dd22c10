//! The road of the text: files → document → spec → plan, with everything that was read on the way.

use crate::document;
use crate::files::{Opened, Place};
use crate::grammar;
use crate::include::{self, Texts};
use crate::params;
use crate::plan::{self, Plan};
use crate::spec::{self, Spec};
use crate::typing;
use kdl::KdlDocument;
use siphasher::sip128::{Hasher128, SipHasher13};
use stages::catalog::Catalog;
use stages::diagnostic::{Diagnostic, Diagnostics, Severity, SourceText};
use stages::language::{self, Context, Environment};
use std::collections::BTreeSet;
use std::hash::Hasher;
use std::path::PathBuf;
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
}

/// Reads and checks a pipeline file. The error is that the file itself cannot be read.
pub fn load(
    place: &Place,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> std::io::Result<Loaded> {
    let bytes = std::fs::read(&place.file)?;
    Ok(load_bytes(&bytes, place, overrides, catalog, environment))
}

/// Checks bytes as if they were what the file at `place` holds.
pub fn load_bytes(
    bytes: &[u8],
    place: &Place,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> Loaded {
    let name = place.file.display().to_string();
    let mut loaded = match document::text(bytes, &name) {
        Ok(source) => check(&source, place, overrides, catalog, environment),
        Err(found) => Loaded {
            plan: None,
            diagnostics: found.sorted(),
            files: BTreeSet::new(),
            hash: hash([bytes]),
        },
    };
    loaded.files.insert(place.file.clone());
    loaded
}

/// A file that was read, for what shows it again.
pub struct Read {
    /// The document with everything that is included and every parameter in its place.
    pub document: KdlDocument,
    /// Where its parts come from.
    pub texts: Texts,
    /// What it says.
    pub spec: Spec,
}

/// Checks a text as if it were the file at `place`. Pure but for the files that the text names,
/// inside the pipeline's root.
pub fn check(
    source: &Arc<SourceText>,
    place: &Place,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> Loaded {
    check_and_keep(source, place, overrides, catalog, environment, |_, _| ()).0
}

/// The same, and what was read when nothing is wrong with it.
pub fn read(
    source: &Arc<SourceText>,
    place: &Place,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
) -> (Loaded, Option<Read>) {
    let keep = |document: &KdlDocument, spec: &Spec| (document.clone(), spec.clone());
    let (loaded, kept, texts) =
        check_and_keep(source, place, overrides, catalog, environment, keep);
    let read = kept.filter(|_| loaded.plan.is_some());
    (loaded, read.map(|(document, spec)| Read { document, texts, spec }))
}

fn check_and_keep<T>(
    source: &Arc<SourceText>,
    place: &Place,
    overrides: &[(String, String)],
    catalog: &Catalog,
    environment: &dyn Environment,
    keep: impl FnOnce(&KdlDocument, &Spec) -> T,
) -> (Loaded, Option<T>, Texts) {
    let mut opened = Opened::new(place.clone());
    let mut texts = Texts::new(source.clone(), &place.folder);
    let mut found = Vec::new();
    let document = include::read(&mut texts, source, &mut opened, &mut found);
    let is_sound = !found.iter().any(|it| it.rule.severity() == Severity::Error);
    let mut diagnostics = Diagnostics::new(texts.whole());
    let mut kept = None;
    let plan = document.and_then(|mut document| {
        crate::overrides::apply(&mut document, overrides, &mut diagnostics);
        params::apply(&mut document, &mut diagnostics);
        language::check(&document, grammar::TOP, catalog, &mut diagnostics);
        let mut context =
            Context { diagnostics: &mut diagnostics, files: &mut opened, environment };
        let spec = spec::read(&document, &texts, catalog, &mut context)?;
        kept = Some(keep(&document, &spec));
        let plan = plan::build(spec.clone(), &source.text, &mut context);
        typing::check(&document, &spec, source.text.len(), catalog, &mut context);
        plan.filter(|_| !context.diagnostics.has_errors())
    });
    found.extend(diagnostics.sorted().into_iter().map(|it| texts.placed(it)));
    let seen = opened.into_seen();
    let read = seen.values().map(|it| it.as_ref().map_or(&b""[..], |it| it.text.as_bytes()));
    let given = overrides.iter().map(|it| it.1.as_bytes());
    let hash = hash([source.text.as_bytes()].into_iter().chain(read).chain(given));
    let plan = plan.filter(|_| is_sound);
    let files = seen.into_keys().collect();
    (Loaded { plan, diagnostics: found, files, hash }, kept, texts)
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

    fn value(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
