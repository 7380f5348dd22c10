//! Reads included files and puts their nodes where `include` stands.

use super::texts::{SourceMap, with_chain};
use crate::document::{self, Meant};
use kdl::{KdlDocument, KdlEntry, KdlIdentifier, KdlNode, KdlValue};
use kernel::pattern::glob_fits;
use language::diagnostic::{Diagnostic, Diagnostics, Rule, SourceText};
use language::spanned::Span;
use language::{FileFault, Files, nearest};
use miette::SourceSpan;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How deep includes may nest.
const DEPTH_MAX: usize = 8;
/// Most files of one pipeline.
const FILES_MAX: usize = 64;

/// Parses a pipeline file with everything that it includes.
///
/// Findings about texts that are no KDL, and about includes, go to `found`, each in its own
/// file. Of a text that is no KDL the document is what was meant by it; `found` says so then.
pub fn read(
    texts: &mut SourceMap,
    source: &Arc<SourceText>,
    files: &mut dyn Files,
    found: &mut Vec<Diagnostic>,
) -> Option<KdlDocument> {
    let open = vec![plain(&source.name).to_owned()];
    let mut splice = Splice { texts, files, found, is_whole: true, open };
    let (mut document, meant) = splice.parse(source, &[])?;
    if let Some(meant) = meant {
        splice.texts.mend(meant);
    }
    splice.includes(&mut document);
    splice.overrides(&mut document);
    splice.is_whole.then_some(document)
}

/// A text that was parsed by itself, and what is wrong with it.
pub struct Parsed {
    source: Arc<SourceText>,
    document: Option<(KdlDocument, Option<Meant>)>,
    found: Vec<Diagnostic>,
}

impl Parsed {
    /// Parses a file that lies beside the pipeline file and belongs to it.
    pub fn of(source: &Arc<SourceText>) -> Self {
        let mut diagnostics = Diagnostics::new(source.clone());
        let document = document::parse_anyway(source, &mut diagnostics);
        Parsed { source: source.clone(), document, found: diagnostics.sorted() }
    }

    /// Lays it behind the other texts, its spans moved there. Nothing is included in it.
    pub fn beside(self, texts: &mut SourceMap, found: &mut Vec<Diagnostic>) -> Option<KdlDocument> {
        found.extend(self.found);
        let folder = texts.home(0).folder.to_owned();
        let start = texts.add(self.source, String::new(), folder, Vec::new());
        let (mut document, meant) = self.document?;
        if let Some(meant) = meant {
            texts.mend(meant);
        }
        shift_document(&mut document, start);
        Some(document)
    }
}

struct Splice<'a> {
    texts: &'a mut SourceMap,
    files: &'a mut dyn Files,
    found: &'a mut Vec<Diagnostic>,
    /// Whether every text so far could be read, be it as it was meant.
    is_whole: bool,
    /// The names of the files that are being read, the pipeline file first.
    open: Vec<String>,
}

impl Splice<'_> {
    fn parse(
        &mut self,
        source: &Arc<SourceText>,
        chain: &[String],
    ) -> Option<(KdlDocument, Option<Meant>)> {
        let mut diagnostics = Diagnostics::new(source.clone());
        let document = document::parse_anyway(source, &mut diagnostics);
        self.is_whole &= document.is_some();
        for mut it in diagnostics.sorted() {
            with_chain(&mut it, chain);
            self.found.push(it);
        }
        document
    }

    /// Replaces each `include` of a document whose spans are those of the long text.
    fn includes(&mut self, document: &mut KdlDocument) {
        let nodes = std::mem::take(document.nodes_mut());
        for node in nodes {
            if node.name().value() != "include" {
                document.nodes_mut().push(node);
                continue;
            }
            for path in self.paths(&node) {
                if let Some(included) = self.include(&path) {
                    document.nodes_mut().extend(included);
                }
            }
            // It stays, so that the table checks it.
            document.nodes_mut().push(node);
        }
    }

    /// The files that an `include` names: relative to the pipeline file, globs as the files that
    /// fit, in the order of their names.
    fn paths(&mut self, node: &KdlNode) -> Vec<SpliceWanted> {
        let at = node.span().offset();
        let prefix = self.texts.home(at).prefix.to_owned();
        let is_optional = node.get("optional").and_then(KdlValue::as_bool) == Some(true);
        let mut wanted = Vec::new();
        for entry in
            node.entries().iter().filter(|entry| entry.name().is_none() && entry.ty().is_none())
        {
            let Some(text) = entry.value().as_string() else { continue };
            let span = span_of(entry.span());
            let path = if text.starts_with('/') { text.into() } else { format!("{prefix}{text}") };
            if !text.contains('*') {
                wanted.push(SpliceWanted { path, span, is_optional });
                continue;
            }
            let (folder, pattern) = path.rsplit_once('/').unwrap_or(("", &path));
            let fits = |text: &String| text.ends_with(".kdl") && glob_fits(pattern, text);
            let names: Vec<String> = self
                .files
                .neighbours(&path)
                .into_iter()
                .filter(|neighbour| fits(neighbour))
                .collect();
            // Asked for, so that a file that comes later is seen.
            self.files.read(&path).ok();
            if names.is_empty() && !is_optional {
                self.report(span, "no file matches this pattern", "no match here")
                    .help("only the last part of a path takes `*`; add `optional=#true` if there may be none");
                continue;
            }
            let join = |it: String| if folder.is_empty() { it } else { format!("{folder}/{it}") };
            let named = |it| SpliceWanted { path: join(it), span: span.clone(), is_optional };
            wanted.extend(names.into_iter().map(named));
        }
        wanted
    }

    fn include(&mut self, wanted: &SpliceWanted) -> Option<Vec<KdlNode>> {
        let (at, path) = (wanted.span.start, wanted.path.as_str());
        if DEPTH_MAX < self.open.len() || FILES_MAX <= self.texts.count() {
            let message = "too many files are included";
            self.report(wanted.span.clone(), message, "one too many")
                .help(format!("at most {FILES_MAX} files, {DEPTH_MAX} levels deep"));
            return None;
        }
        let source = match self.files.read(path) {
            Ok(source) => source,
            Err(_) if wanted.is_optional => return None,
            Err(why) => {
                self.unread(wanted, &why);
                return None;
            }
        };
        let name = plain(&source.name).to_owned();
        if self.open.contains(&name) {
            self.report(wanted.span.clone(), "this file includes itself", "again")
                .help("delete one of the `include` nodes in this cycle");
            return None;
        }
        if self.texts.has(&name) {
            self.report(wanted.span.clone(), "this file is included twice", "again")
                .help("delete one of the two");
            return None;
        }
        if document::SIZE_MAX < self.texts.size() + source.text.len() {
            self.report(wanted.span.clone(), "the files together are too large", "over 1 MiB")
                .help("all files of a pipeline together may have at most 1 MiB");
            return None;
        }
        let mut chain = vec![self.texts.line(at)];
        chain.extend_from_slice(self.texts.chain(at));
        let (mut document, meant) = self.parse(&source, &chain)?;
        let prefix = path.rfind('/').map_or("", |it| &path[..=it]).to_owned();
        let folder = Path::new(&source.name).parent().map_or(PathBuf::new(), Path::to_owned);
        let start = self.texts.add(source.clone(), prefix, folder, chain);
        if let Some(meant) = meant {
            self.texts.mend(meant);
        }
        shift_document(&mut document, start);
        self.refuse_header(&mut document);
        self.open.push(name);
        self.includes(&mut document);
        self.open.pop();
        Some(std::mem::take(document.nodes_mut()))
    }

    /// A pipeline has one header, in its own file.
    fn refuse_header(&mut self, document: &mut KdlDocument) {
        for node in document.nodes().iter().filter(|node| node.name().value() == "pipeline") {
            let span = span_of(node.name().span());
            self.report(
                span,
                "an included file must not have its own `pipeline`",
                "a second header",
            )
            .help("delete it; the including file is the pipeline");
        }
        document.nodes_mut().retain(|it| it.name().value() != "pipeline");
    }

    fn unread(&mut self, wanted: &SpliceWanted, why: &FileFault) {
        let name = wanted.path.rsplit('/').next().unwrap_or_default();
        let neighbours = self.files.neighbours(&wanted.path);
        let near = nearest(name, neighbours.iter().map(String::as_str));
        let near = near.filter(|_| why.is_missing);
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let message = format!("cannot read the included file: {}", why.reason);
        let rule = why.rule(Rule::BadInclude);
        self.push(rule, wanted.span.clone(), &message, "looked for here").help(format!(
            "paths are relative to this file{near}; a file that may be missing has `optional=#true`"
        ));
    }

    fn report(&mut self, span: Span, message: &str, label: &str) -> &mut Diagnostic {
        self.push(Rule::BadInclude, span, message, label)
    }

    /// Reports in the long text and leads back at once: the text still grows.
    fn push(&mut self, rule: Rule, span: Span, message: &str, label: &str) -> &mut Diagnostic {
        let mut diagnostics = Diagnostics::new(self.texts.whole());
        diagnostics.push(rule, message).at(span, label);
        let found =
            diagnostics.sorted().into_iter().map(|diagnostic| self.texts.placed(diagnostic));
        self.found.extend(found);
        self.found.last_mut().expect("one was just pushed")
    }

    /// A later node with `override=#true` takes the place of an earlier one of its role and name.
    fn overrides(&mut self, document: &mut KdlDocument) {
        let mut nodes: Vec<KdlNode> = Vec::new();
        for mut node in std::mem::take(document.nodes_mut()) {
            let given = node.entries().iter().find(|entry| is_override(entry)).cloned();
            let Some(given) = given else {
                nodes.push(node);
                continue;
            };
            node.entries_mut().retain(|it| !is_override(it));
            if given.value().as_bool() != Some(true) {
                nodes.push(node);
                continue;
            }
            match nodes.iter().position(|it| identity(it) == identity(&node)) {
                Some(earlier) => nodes[earlier] = node,
                None => {
                    let (role, name) = identity(&node);
                    let what = name.map_or(role.to_owned(), |name| format!("{role} {name}"));
                    let message = format!("nothing before this has the name `{what}`");
                    self.report(span_of(given.span()), &message, "overrides nothing")
                        .help("delete `override=#true`, or include the other file before this");
                    nodes.push(node);
                }
            }
        }
        document.nodes_mut().extend(nodes);
    }
}

/// A file to include.
struct SpliceWanted {
    path: String,
    span: Span,
    is_optional: bool,
}

pub(super) fn plain(name: &str) -> &str {
    name.trim_start_matches("./")
}

fn is_override(entry: &KdlEntry) -> bool {
    entry.name().is_some_and(|name| name.value() == "override")
}

/// The role of a node and its name, which is its last text argument.
fn identity(node: &KdlNode) -> (&str, Option<&str>) {
    let texts = node.entries().iter().filter(|entry| entry.name().is_none());
    let role = node.name().value();
    // `param NAME VALUE`: the name comes first.
    let name = match role {
        "param" => texts.clone().next(),
        _ => texts.clone().next_back(),
    };
    (role, name.and_then(|name| name.value().as_string()))
}

fn span_of(span: SourceSpan) -> Span {
    span.offset()..span.offset() + span.len()
}

fn shift_document(document: &mut KdlDocument, start: usize) {
    document.set_span(shifted(document.span(), start));
    for node in document.nodes_mut() {
        shift_node(node, start);
    }
}

fn shift_node(node: &mut KdlNode, start: usize) {
    node.set_span(shifted(node.span(), start));
    shift_name(node.name_mut(), start);
    if let Some(ty) = node.ty_mut() {
        shift_name(ty, start);
    }
    for entry in node.entries_mut() {
        entry.set_span(shifted(entry.span(), start));
        if let Some(name) = entry.name_mut() {
            shift_name(name, start);
        }
        if let Some(ty) = entry.ty_mut() {
            shift_name(ty, start);
        }
    }
    if let Some(children) = node.children_mut() {
        shift_document(children, start);
    }
}

fn shift_name(name: &mut KdlIdentifier, start: usize) {
    name.set_span(shifted(name.span(), start));
}

fn shifted(span: SourceSpan, start: usize) -> SourceSpan {
    (span.offset() + start, span.len()).into()
}
