//! Reads a node that the table has already checked.
//!
//! Nothing here reports: what is missing or wrong was reported by [`check`](super::check), so
//! every reader answers `None` and the caller goes on to the next one.

pub use super::scalar::Scalar;
use super::setting::Environment;
use crate::diagnostic::{Diagnostics, Rule, SourceText};
use crate::spanned::{Span, Spanned};
use kdl::KdlNode;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads files that a pipeline names, inside its root only, and remembers them all (also the
/// missing ones) for the watcher.
pub trait Files {
    /// The text of a file, its path relative to the pipeline file.
    fn read(&mut self, path: &str) -> Result<Arc<SourceText>, FileFault>;
    /// Where a path leads that the engine will write: relative to the pipeline file or to
    /// the data folder that was asked for.
    fn place(&self, path: &str) -> PathBuf;
    /// Names of the files in the folder of `path`, for suggestions.
    fn neighbours(&self, path: &str) -> Vec<String>;
    /// The table at `path` was looked at; `fault` is what is wrong with it.
    fn note_table(&mut self, _path: &str, _fault: Option<String>) {}
}

/// Why a file that a pipeline names was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// Whether it lies outside the pipeline's root.
    pub is_outside: bool,
    /// In words that fit behind "cannot read it:".
    pub reason: String,
}

impl FileFault {
    /// The rule that it breaks: `otherwise`, unless it lies outside the root.
    pub fn rule(&self, otherwise: Rule) -> Rule {
        if self.is_outside { Rule::OutsideRoot } else { otherwise }
    }
}

/// What reading may need beside the node.
pub struct Context<'a> {
    /// Where findings go.
    pub diagnostics: &'a mut Diagnostics,
    /// The pipeline's files.
    pub files: &'a mut dyn Files,
    /// Whether variables are set.
    pub environment: &'a dyn Environment,
}

/// A node, read by name.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    node: &'a KdlNode,
    folder: &'a Path,
}

impl<'a> Fields<'a> {
    /// A node of a file that lies in `folder`.
    pub fn new(node: &'a KdlNode, folder: &'a Path) -> Self {
        Fields { node, folder }
    }

    /// The node's name and its place.
    pub fn name(&self) -> Spanned<&'a str> {
        let name = self.node.name();
        let span = name.span();
        Spanned::new(name.value(), span.offset()..span.offset() + span.len())
    }

    /// Where its first line stands: the name, the arguments, the properties.
    pub fn head(&self) -> Span {
        let name = self.name().span;
        let ends = self.node.entries().iter().map(|it| it.span().offset() + it.span().len());
        name.start..ends.max().unwrap_or(name.end)
    }

    /// Where the file lies; a path that is only read is relative to it.
    pub fn folder(&self) -> &'a Path {
        self.folder
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<Fields<'a>> {
        self.children(name).next()
    }

    /// All children of this name, in file order.
    pub fn children(&self, name: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let (folder, name) = (self.folder, name.to_owned());
        let nodes = self.node.children().map(kdl::KdlDocument::nodes).unwrap_or_default();
        nodes
            .iter()
            .filter(move |it| it.name().value() == name)
            .map(move |node| Fields { node, folder })
    }

    /// Every child, in file order.
    pub fn block(&self) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let folder = self.folder;
        let nodes = self.node.children().map(kdl::KdlDocument::nodes).unwrap_or_default();
        nodes.iter().map(move |node| Fields { node, folder })
    }

    /// The argument at `index`, counted from 0.
    pub fn arg(&self, index: usize) -> Option<Scalar<'a>> {
        self.args().nth(index)
    }

    /// All arguments.
    pub fn args(&self) -> impl Iterator<Item = Scalar<'a>> + use<'a> {
        let (node, folder) = (self.node, self.folder);
        node.entries()
            .iter()
            .filter(|it| it.name().is_none())
            .map(move |entry| Scalar::of(entry, node, folder))
    }

    /// The property of this name; of several, the last, as KDL has it.
    pub fn prop(&self, name: &str) -> Option<Scalar<'a>> {
        let (node, folder) = (self.node, self.folder);
        node.entries()
            .iter()
            .rev()
            .find(|it| it.name().is_some_and(|it| it.value() == name))
            .map(move |entry| Scalar::of(entry, node, folder))
    }

    /// Every property with its name.
    pub fn props(&self) -> impl Iterator<Item = (&'a str, Scalar<'a>)> + use<'a> {
        let (node, folder) = (self.node, self.folder);
        node.entries()
            .iter()
            .filter_map(move |entry| Some((entry.name()?.value(), Scalar::of(entry, node, folder))))
    }

    /// Whether the flag child of this name stands and is not switched off.
    pub fn is_on(&self, name: &str) -> bool {
        self.child(name).is_some_and(|it| it.arg(0).is_none_or(|on| on.boolean() != Some(false)))
    }
}
