//! Reads a node that the table has already checked.
//!
//! Nothing here reports: what is missing or wrong was reported by [`check`](super::check), so
//! every reader answers `None` and the caller goes on to the next one.

use super::check::{Kinds, kind_groups};
use super::defaults;
pub use super::scalar::Scalar;
use super::setting::Environment;
use super::table::NodeRow;
use crate::diagnostic::{Diagnostics, Rule, SourceText};
use crate::spanned::{Span, Spanned};
use kdl::{KdlEntry, KdlNode};
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
    /// What is at a path that is absolute or already relative to the working directory.
    fn entry(&self, _path: &Path) -> PathEntry {
        PathEntry::Other
    }
    /// The file at `path` is missing; the watcher waits for it, as for one that was to be read.
    fn note_missing(&mut self, _path: &Path) {}
    /// The table at `path` was looked at; `fault` is what is wrong with it.
    fn note_table(&mut self, _path: &str, _fault: Option<String>) {}
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEntry {
    /// Nothing.
    Missing,
    /// A folder.
    Folder,
    /// A file, or what cannot be told.
    Other,
}

/// Why a file that a pipeline names was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// Whether it lies outside the pipeline's root.
    pub is_outside: bool,
    /// Whether nothing is there, so that the name may have a slip.
    pub is_missing: bool,
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

impl Context<'_> {
    /// Reports a path, relative to `folder`, where there must be a file before the engine starts
    /// and is none. `what` is the file, such as "the certificate". An absolute path belongs to the
    /// machine that runs the pipeline, which need not be the one that checks it.
    pub fn expect_file(&mut self, folder: &Path, written: &Spanned<String>, what: &str) {
        if Path::new(&written.value).is_absolute() {
            return;
        }
        let path = folder.join(&written.value);
        let (reason, help) = match self.files.entry(&path) {
            PathEntry::Other => return,
            PathEntry::Missing => {
                self.files.note_missing(&path);
                ("file not found", "write the file first; a path is relative to this file")
            }
            PathEntry::Folder => ("it is a folder", "write the path of the file itself"),
        };
        self.diagnostics
            .push(Rule::MissingFile, format!("cannot read {what}: {reason}"))
            .at(written.span.clone(), format!("looked for `{}`", written.value))
            .help(help);
    }

    /// Reports a path that names a folder where a file belongs, which need not be there yet.
    pub fn expect_no_folder(&mut self, path: &Path, span: &Span, example: &str) {
        let is_folder =
            path.to_string_lossy().ends_with('/') || self.files.entry(path) == PathEntry::Folder;
        if is_folder {
            self.diagnostics
                .push(Rule::MissingFile, "this is a folder, not a file")
                .at(span.clone(), "a folder")
                .help(format!("add the name of a file, such as `{example}`"));
        }
    }
}

/// A node, read by name along its row of the table.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    node: &'a KdlNode,
    row: &'static NodeRow,
    /// Children that its kind adds to those of its row.
    of_kind: &'static [&'static [NodeRow]],
    folder: &'a Path,
}

impl<'a> Fields<'a> {
    /// A node at the top of a file that lies in `folder`; `None` when the table has no such node.
    pub fn top(
        node: &'a KdlNode,
        top: &'static [NodeRow],
        kinds: &dyn Kinds,
        folder: &'a Path,
    ) -> Option<Self> {
        let row = top.iter().find(|it| it.name == node.name().value())?;
        Some(Fields { node, row, of_kind: kind_groups(node, row, kinds), folder })
    }

    /// A node of a kind, whatever its role.
    pub fn of_kind(
        node: &'a KdlNode,
        of_kind: &'static [&'static [NodeRow]],
        folder: &'a Path,
    ) -> Self {
        const NO_ROLE: &NodeRow = &NodeRow::new("node", "");
        Fields { node, row: NO_ROLE, of_kind, folder }
    }

    /// A node that does not stand in the file.
    pub fn absent(row: &'static NodeRow) -> Fields<'static> {
        Fields { node: defaults::empty(row), row, of_kind: &[], folder: Path::new("") }
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
        let ends =
            self.node.entries().iter().map(|entry| entry.span().offset() + entry.span().len());
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
        let row = self.row_of(name);
        let (folder, of_kind) = (self.folder, &[][..]);
        self.nodes().filter(move |node| node.name().value() == row.name).map(move |node| Fields {
            node,
            row,
            of_kind,
            folder,
        })
    }

    /// Whether anything stands in its block, right or wrong.
    pub fn has_block(&self) -> bool {
        self.nodes().next().is_some()
    }

    /// Every child that the table knows, in file order.
    pub fn block(&self) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let (of_this, folder, of_kind) = (*self, self.folder, &[][..]);
        self.nodes().filter_map(move |node| {
            let row = of_this.find_row(node.name().value())?;
            Some(Fields { node, row, of_kind, folder })
        })
    }

    /// Whether the table knows such a child here: some belong to some kinds only.
    pub fn takes(&self, name: &str) -> bool {
        self.find_row(name).is_some()
    }

    fn nodes(&self) -> impl Iterator<Item = &'a KdlNode> + use<'a> {
        self.node.children().map(kdl::KdlDocument::nodes).unwrap_or_default().iter()
    }

    fn find_row(&self, name: &str) -> Option<&'static NodeRow> {
        let groups = self.row.children.iter().chain(self.of_kind);
        groups.flat_map(|group| group.iter()).find(|it| it.name == name)
    }

    fn row_of(&self, name: &str) -> &'static NodeRow {
        let row = self.find_row(name);
        row.unwrap_or_else(|| panic!("the table has no `{name}` in `{}`", self.row.name))
    }

    /// The argument at `index`, counted from 0.
    pub fn arg(&self, index: usize) -> Option<Scalar<'a>> {
        self.args().nth(index)
    }

    /// All arguments.
    pub fn args(&self) -> impl Iterator<Item = Scalar<'a>> + use<'a> {
        let (node, folder) = (self.node, self.folder);
        arguments(node).map(move |entry| Scalar::of(entry, node, folder))
    }

    /// The property of this name; of several, the last, as KDL has it.
    pub fn prop(&self, name: &str) -> Option<Scalar<'a>> {
        property(self.node, name).map(|entry| Scalar::of(entry, self.node, self.folder))
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
        self.child(name)
            .is_some_and(|child| child.arg(0).is_none_or(|on| on.boolean() != Some(false)))
    }

    /// This node, with what its row says where it says nothing.
    pub fn filled(&self) -> FilledFields<'a> {
        FilledFields { written: Some(*self), row: self.row }
    }

    /// The child of this name, with what its row says where it says nothing or is absent.
    pub fn setting(&self, name: &str) -> FilledFields<'a> {
        FilledFields { written: self.child(name), row: self.row_of(name) }
    }
}

/// A node that says everything: what is not written, or cannot be read, comes from its row.
#[derive(Clone, Copy)]
pub struct FilledFields<'a> {
    written: Option<Fields<'a>>,
    row: &'static NodeRow,
}

impl<'a> FilledFields<'a> {
    /// The argument at `index`. Its row has it.
    pub fn arg<T>(&self, index: usize, read: impl Fn(&Scalar<'a>) -> Option<T>) -> T {
        let written =
            self.written.and_then(|written| written.arg(index)).and_then(|arg| read(&arg));
        written.unwrap_or_else(|| {
            let node = defaults::node_of(self.row);
            let entry = arguments(node).nth(index);
            let value = entry.and_then(|entry| read(&Scalar::by_default(entry, node)));
            value.unwrap_or_else(|| panic!("`{}` has no default number {index}", self.row.name))
        })
    }

    /// Every argument, or else those of its row.
    pub fn args<T>(&self, read: impl Fn(&Scalar<'a>) -> Option<T>) -> Vec<T> {
        let written = self.written.iter().flat_map(Fields::args);
        let written: Vec<T> = written.filter_map(|it| read(&it)).collect();
        if !written.is_empty() {
            return written;
        }
        let node = defaults::node_of(self.row);
        arguments(node).filter_map(|argument| read(&Scalar::by_default(argument, node))).collect()
    }

    /// The property of this name. Its row has it.
    pub fn prop<T>(&self, name: &str, read: impl Fn(&Scalar<'a>) -> Option<T>) -> T {
        let written =
            self.written.and_then(|written| written.prop(name)).and_then(|prop| read(&prop));
        written.unwrap_or_else(|| {
            let row = self.row.props.iter().find(|prop| prop.name == name);
            let of_prop = row.and_then(defaults::node_of_prop);
            let node = of_prop.unwrap_or_else(|| defaults::node_of(self.row));
            let value =
                property(node, name).and_then(|property| read(&Scalar::by_default(property, node)));
            value.unwrap_or_else(|| panic!("`{}` has no default for `{name}`", self.row.name))
        })
    }
}

fn arguments(node: &KdlNode) -> impl Iterator<Item = &KdlEntry> {
    node.entries().iter().filter(|entry| entry.name().is_none())
}

fn property<'a>(node: &'a KdlNode, name: &str) -> Option<&'a KdlEntry> {
    let mut entries = node.entries().iter().rev();
    entries.find(|entry| entry.name().is_some_and(|it| it.value() == name))
}
