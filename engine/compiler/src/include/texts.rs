//! The texts of a pipeline, laid one behind the other.

use crate::document::Meant;
use language::diagnostic::{Diagnostic, Edit, Label, Rule, SourceText};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file in the long text.
#[derive(Debug, Clone)]
struct IncludedFile {
    source: Arc<SourceText>,
    /// Its first byte in the long text.
    start: usize,
    /// Its folder, relative to the pipeline file's; empty or with a slash at its end.
    prefix: String,
    /// Where it is included: `doorbell.kdl:12`, the nearest first.
    chain: Vec<String>,
    /// What is written in the file, where `source` is only what was meant by it.
    written: Option<(Arc<SourceText>, Meant)>,
}

impl IncludedFile {
    /// Its part of the long text as it may be shown.
    fn part_of(&self, shown: &SourceText) -> Option<Arc<SourceText>> {
        let text = shown.text.get(self.start..self.start + self.source.text.len())?.to_owned();
        let text = match &self.written {
            Some((written, meant)) => meant.masked(&text, &written.text),
            None => text,
        };
        Some(Arc::new(SourceText { name: self.source.name.clone(), text }))
    }

    /// What the file holds.
    fn written(&self) -> &Arc<SourceText> {
        self.written.as_ref().map_or(&self.source, |written| &written.0)
    }

    /// A place of the long text in the file.
    fn moved(&self, span: &Range<usize>) -> Range<usize> {
        let span = moved(span, self.start);
        match &self.written {
            Some((written, meant)) => meant.written(&span, &written.text),
            None => span,
        }
    }
}

/// Where relative paths of a file begin.
#[derive(Debug, Clone, Copy)]
pub struct BasePath<'a> {
    /// In front of paths that are relative to the pipeline file: `""` or `common/`.
    pub prefix: &'a str,
    /// The folder itself.
    pub folder: &'a Path,
}

/// The pipeline file and everything that it includes.
#[derive(Debug, Clone)]
pub struct SourceMap {
    files: Vec<IncludedFile>,
    folders: Vec<PathBuf>,
    whole: String,
}

impl SourceMap {
    /// The pipeline file alone; `folder` is where it lies.
    pub fn new(source: Arc<SourceText>, folder: &Path) -> Self {
        let whole = source.text.clone();
        let file = IncludedFile {
            source,
            start: 0,
            prefix: String::new(),
            chain: Vec::new(),
            written: None,
        };
        SourceMap { files: vec![file], folders: vec![folder.to_owned()], whole }
    }

    /// Lays a text behind the others; where it begins.
    pub(super) fn add(
        &mut self,
        source: Arc<SourceText>,
        prefix: String,
        folder: PathBuf,
        chain: Vec<String>,
    ) -> usize {
        self.whole.push('\n');
        let start = self.whole.len();
        self.whole.push_str(&source.text);
        self.files.push(IncludedFile { source, start, prefix, chain, written: None });
        self.folders.push(folder);
        start
    }

    /// Reads the file that was added last, or the pipeline file, as it was meant.
    pub(super) fn mend(&mut self, meant: Meant) {
        let Some(file) = self.files.last_mut() else { return };
        self.whole.truncate(file.start);
        self.whole.push_str(&meant.text);
        let source = SourceText { name: file.source.name.clone(), text: meant.text.clone() };
        let written = std::mem::replace(&mut file.source, Arc::new(source));
        file.written = Some((written, meant));
    }

    /// Lays an option of the command line behind the texts; where it begins.
    pub(crate) fn option(&mut self, source: Arc<SourceText>) -> usize {
        let folder = self.folders[0].clone();
        self.add(source, String::new(), folder, Vec::new())
    }

    /// The pipeline file's own text.
    pub fn main(&self) -> &Arc<SourceText> {
        &self.files[0].source
    }

    /// Whether one of the files has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| super::splice::plain(&file.source.name) == name)
    }

    /// How many files there are, the pipeline file included.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all texts.
    pub(super) fn size(&self) -> usize {
        self.whole.len()
    }

    /// The one long text. With a single file it is that file.
    pub fn whole(&self) -> Arc<SourceText> {
        match &self.files[..] {
            [only] => only.source.clone(),
            files => {
                let name = files[0].source.name.clone();
                Arc::new(SourceText { name, text: self.whole.clone() })
            }
        }
    }

    fn index(&self, at: usize) -> usize {
        self.files.partition_point(|file| file.start <= at).saturating_sub(1)
    }

    /// Where the paths begin that stand at this byte of the long text.
    pub fn home(&self, at: usize) -> BasePath<'_> {
        let index = self.index(at);
        BasePath { prefix: &self.files[index].prefix, folder: &self.folders[index] }
    }

    /// The file and line of a byte of the long text: `pipelines/doorbell.kdl:12`.
    pub fn line(&self, at: usize) -> String {
        let file = &self.files[self.index(at)];
        let at = file.moved(&(at..at)).start;
        let before = file.written().text.as_bytes().iter().take(at);
        let line = before.filter(|it| **it == b'\n').count() + 1;
        format!("{}:{line}", file.source.name)
    }

    /// The name of the file that a byte of the long text lies in.
    pub fn file(&self, at: usize) -> &str {
        &self.files[self.index(at)].source.name
    }

    /// Whether a byte of the long text stands in the pipeline file itself.
    pub fn is_first(&self, at: usize) -> bool {
        self.index(at) == 0
    }

    /// The files that lead to the one at this byte, the nearest first.
    pub(super) fn chain(&self, at: usize) -> &[String] {
        &self.files[self.index(at)].chain
    }

    /// Whether a finding is more than what follows from a mistake that was told: of a text that is
    /// read as it was meant, what was put right is not looked at again, and where some of it is
    /// not understood, only what has to do with one node alone is said.
    pub(crate) fn is_worth_telling(&self, found: &Diagnostic) -> bool {
        let is_whole = self
            .files
            .iter()
            .all(|file| file.written.as_ref().is_none_or(|written| written.1.is_whole()));
        if !is_whole && !is_local(found.rule) {
            return false;
        }
        let Some(label) = found.labels.first() else { return true };
        let file = &self.files[self.index(label.span.start)];
        let Some((_, meant)) = &file.written else { return true };
        let span = file.moved(&label.span);
        let is_of_value = found.rule.code().starts_with("E00");
        !(meant.is_unclear(&span) || is_of_value && meant.is_edited(&span))
    }

    /// A finding of the long text as one of the file that its first label lies in. Labels in
    /// other files become frames of their own.
    pub fn placed(&self, mut found: Diagnostic) -> Diagnostic {
        if self.files.len() == 1 && self.files[0].written.is_none() {
            return found;
        }
        let first = self.index(found.position());
        let file = &self.files[first];
        let labels = std::mem::take(&mut found.labels);
        let (own, other): (Vec<Label>, Vec<Label>) =
            labels.into_iter().partition(|label| self.index(label.span.start) == first);
        let moved =
            |label: Label, file: &IncludedFile| Label { span: file.moved(&label.span), ..label };
        found.labels = own.into_iter().map(|it| moved(it, file)).collect();
        found.source = file.written().clone();
        let shown = found.shown.take();
        found.shown = shown.as_ref().and_then(|it| file.part_of(it));
        for label in other {
            let there = &self.files[self.index(label.span.start)];
            let label = moved(label, there);
            found.frame(there.written().clone(), label.span, &label.text);
            if let Some(frame) = found.related.last_mut() {
                frame.shown = shown.as_ref().and_then(|it| there.part_of(it));
            }
        }
        // A repair that reaches into another file is left to the user.
        if found.fix.iter().any(|it| self.index(it.span.start) != first) {
            found.fix.clear();
        }
        for edit in &mut found.fix {
            edit.span = file.moved(&edit.span);
        }
        // So is one of what is not written that way.
        let is_edited =
            |edit: &Edit| file.written.as_ref().is_some_and(|meant| meant.1.is_edited(&edit.span));
        if found.fix.iter().any(is_edited) {
            found.fix.clear();
        }
        with_chain(&mut found, &file.chain);
        found
    }
}

/// Rules that look at one node alone, so that what is wrong elsewhere does not mislead them.
fn is_local(rule: Rule) -> bool {
    let code = rule.code();
    ("E0010".."E0018").contains(&code)
        || ("E0019".."E0027").contains(&code)
        || matches!(code, "E0101" | "E0102" | "E0103" | "E0106" | "W0401")
}

/// Says how the file of a finding came to be read.
pub(super) fn with_chain(found: &mut Diagnostic, chain: &[String]) {
    if chain.is_empty() {
        return;
    }
    let told = format!("included from {}", chain.join(", included from "));
    found.help = Some(match found.help.take() {
        Some(help) => format!("{help}\n{told}"),
        None => told,
    });
}

fn moved(span: &Range<usize>, start: usize) -> Range<usize> {
    span.start.saturating_sub(start)..span.end.saturating_sub(start)
}
