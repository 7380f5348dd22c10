//! The file as it takes effect: includes and parameters in their places, failure handling with
//! every layer applied, and behind each value where it comes from.
//!
//! Never: the value of a secret. What the file takes from outside is shown as the file writes it.

mod failure;
mod shown;

use crate::grammar;
use crate::load::LoadedFile;
use crate::plan::Outline;
use crate::plan::PolicyRole;
use kdl::{KdlDocument, KdlEntry, KdlEntryFormat, KdlNode, KdlValue};
use language::diagnostic::{is_secret_name, without_secrets};
use language::{NodeRow, ValueKind};
use serde_json::Value;
use shown::Shown;
use stages::catalog::Catalog;

/// What stands in for a secret that the file itself holds.
const MASK: &str = "…";

/// The effective file, ready to be written.
pub struct Expanded(Vec<Shown>);

impl Expanded {
    /// As KDL: it can be read again, and comes to the same pipeline.
    pub fn kdl(&self) -> String {
        let mut text = String::new();
        for (index, node) in self.0.iter().enumerate() {
            if 0 < index {
                text.push('\n');
            }
            node.write(&mut text, 0);
        }
        text
    }

    /// As JSON, in the form that the JSON Schema of the language describes.
    pub fn json(&self) -> Value {
        self.0.iter().map(Shown::json).collect()
    }

    /// Only the nodes of this name, or of this role where nothing has the name.
    pub fn only(self, name: &str) -> Expanded {
        let is_named = |it: &Shown| it.title() == Some(name);
        if self.0.iter().any(is_named) {
            return Expanded(self.0.into_iter().filter(is_named).collect());
        }
        Expanded(self.0.into_iter().filter(|it| it.name == name).collect())
    }

    /// What each node says, setting by setting, to compare it with another file.
    pub fn outline(&self) -> Outline {
        let mut outline = Outline::default();
        for node in &self.0 {
            node.outline(&mut outline);
        }
        outline
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Expands a file that was checked.
pub fn expand(read: &LoadedFile, catalog: &Catalog) -> Expanded {
    let walk = Expander { read, catalog };
    let nodes = read.document.nodes().iter();
    // Their work is done: what they said stands where it takes effect.
    let is_done =
        |node: &&KdlNode| matches!(node.name().value(), "include" | "policy" | "defaults" | "test");
    let shown = nodes.filter(|node| !is_done(node)).map(|node| walk.top(node));
    Expanded(shown.collect())
}

struct Expander<'a> {
    read: &'a LoadedFile,
    catalog: &'a Catalog,
}

type Groups = Vec<&'static [NodeRow]>;

impl Expander<'_> {
    fn top(&self, node: &KdlNode) -> Shown {
        let name = node.name().value();
        let row = grammar::TOP.iter().find(|it| it.name == name);
        let groups = row.map(|it| language::child_groups(node, it, self.catalog));
        let groups: Groups = groups.unwrap_or_default();
        let texts: Vec<&str> =
            node.entries().iter().filter_map(|entry| entry.value().as_string()).collect();
        let mut shown = self.node(node, row, &groups);
        shown.origin = self.origin(node);
        if let (Some(failing), Some(title)) = (failing(name), texts.get(1)) {
            failure::apply(&mut shown, &self.read.spec, failing, title);
        }
        shown
    }

    /// The file that a node was included from.
    fn origin(&self, node: &KdlNode) -> Option<String> {
        let at = node.name().span().offset();
        let is_own = self.read.texts.is_first(at);
        (!is_own).then(|| self.read.texts.line(at))
    }

    fn node(&self, node: &KdlNode, row: Option<&NodeRow>, groups: &Groups) -> Shown {
        let mut shown = Shown::new(node.name().value());
        let mut index = 0;
        for entry in node.entries() {
            let ty = match entry.name() {
                Some(name) => row.and_then(|row| {
                    let prop = row.props.iter().find(|prop| prop.name == name.value());
                    prop.map(|prop| prop.ty).or(row.open)
                }),
                None => {
                    index += 1;
                    row.and_then(|row| row.args.get(index - 1).or(row.args.last()))
                        .map(|arg| arg.ty)
                }
            };
            let is_secret = is_secret(node, entry, ty);
            shown.entry(entry.name().map(|name| name.value()), value(entry, ty, is_secret));
            if let Some(param) = param(entry) {
                shown.origin = Some(format!("param {param}"));
            }
        }
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        for child in children {
            let row = groups
                .iter()
                .flat_map(|group| group.iter())
                .find(|it| it.name == child.name().value());
            let below = row.map(|row| row.children.to_vec()).unwrap_or_default();
            shown.children.push(self.node(child, row, &below));
        }
        shown.has_block = node.children().is_some();
        self.absent(&mut shown, groups);
        shown
    }

    /// What holds because nobody says anything, as remarks.
    fn absent(&self, shown: &mut Shown, groups: &Groups) {
        if !shown.has_block {
            return;
        }
        let rows = groups.iter().flat_map(|group| group.iter());
        for row in rows.filter(|row| !failure::is_part(row.name)) {
            let Some(default) = row.default.text() else { continue };
            if !shown.children.iter().any(|child| child.name == row.name) {
                shown.remarks.push(format!("{}: {default} (built-in)", row.name));
            }
        }
    }
}

fn failing(role: &str) -> Option<PolicyRole> {
    Some(match role {
        "enrich" => PolicyRole::Enrich,
        "sink" => PolicyRole::Sink,
        "notify" => PolicyRole::Notify,
        _ => return None,
    })
}

/// Whether a value is a secret: by its type, by its own name, or by the name before it.
fn is_secret(node: &KdlNode, entry: &KdlEntry, ty: Option<ValueKind>) -> bool {
    if matches!(ty, Some(ValueKind::Secret | ValueKind::Topic)) {
        return true;
    }
    if let Some(name) = entry.name() {
        return is_secret_name(name.value())
            && matches!(ty, Some(ValueKind::Text | ValueKind::Literal));
    }
    let before = node.entries().iter().take_while(|it| !std::ptr::eq(*it, entry));
    let title =
        before.filter(|it| it.name().is_none()).filter_map(|it| it.value().as_string()).last();
    matches!(node.name().value(), "header" | "param") && title.is_some_and(is_secret_name)
}

/// A value as it is written, a literal secret masked, and what looks like one inside a text.
fn value(entry: &KdlEntry, ty: Option<ValueKind>, is_secret: bool) -> KdlEntry {
    let is_literal = entry.ty().is_none();
    let is_name = matches!(ty, Some(ValueKind::Ident | ValueKind::Ref | ValueKind::Word(_)));
    let mut plain = match entry.value().as_string() {
        Some(_) if is_literal && is_secret => quoted(MASK),
        Some(text) if is_literal && !is_name => quoted(&without_secrets(text)),
        Some(text) if !is_name => quoted(text),
        _ => KdlEntry::new(entry.value().clone()),
    };
    if let Some(ty) = entry.ty() {
        plain.set_ty(ty.value());
    }
    plain
}

/// Free text in quotes, also where a bare word would do.
fn quoted(text: &str) -> KdlEntry {
    let mut entry = KdlEntry::new(KdlValue::String(text.to_owned()));
    let value_repr = format!("{text:?}");
    entry.set_format(KdlEntryFormat { value_repr, ..KdlEntryFormat::default() });
    entry
}

/// The parameter that a value came from.
fn param(entry: &KdlEntry) -> Option<String> {
    let written = &entry.format()?.value_repr;
    let (annotation, name) = written.strip_prefix('(')?.split_once(')')?;
    let is_param = entry.ty().is_none() && annotation.trim() == "param";
    is_param.then(|| name.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests;
