//! `(env)` where the table expects a number, a duration, a size, a rate or a flag: the value is put
//! in before anything is checked, so that it is checked like one that the file gives.
//!
//! Texts are not touched: they may be secrets, and are looked up by the stage that needs them.

use crate::params::with;
use crate::plan::environment;
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::diagnostic::Diagnostics;
use language::spanned::Spanned;
use language::{Environment, Kinds, NodeRow, Setting, ValueKind};

/// What is needed on the way down.
struct VariableReader<'a> {
    environment: &'a dyn Environment,
    diagnostics: &'a mut Diagnostics,
}

/// Replaces every such `(env)`; a variable that is missing is reported.
pub(crate) fn apply(
    document: &mut KdlDocument,
    top: &'static [NodeRow],
    kinds: &dyn Kinds,
    environment: &dyn Environment,
    diagnostics: &mut Diagnostics,
) {
    let mut reader = VariableReader { environment, diagnostics };
    for node in document.nodes_mut() {
        let Some(row) = top.iter().find(|it| it.name == node.name().value()) else { continue };
        let groups = language::child_groups(node, row, kinds);
        reader.node(node, row, &groups);
    }
}

impl VariableReader<'_> {
    fn node(&mut self, node: &mut KdlNode, row: &NodeRow, groups: &[&'static [NodeRow]]) {
        self.entries(node, row);
        let children = node.children_mut().as_mut();
        for child in children.into_iter().flat_map(KdlDocument::nodes_mut) {
            let name = child.name().value().to_owned();
            let row = groups.iter().flat_map(|group| group.iter()).find(|it| it.name == name);
            if let Some(row) = row {
                self.node(child, row, row.children);
            }
        }
    }

    fn entries(&mut self, node: &mut KdlNode, row: &NodeRow) {
        let default = language::default_of(node);
        let (mut index, mut is_replaced) = (0, false);
        for entry in node.entries_mut() {
            let ty = match entry.name() {
                Some(name) => {
                    row.props.iter().find(|prop| prop.name == name.value()).map(|prop| prop.ty)
                }
                None => {
                    index += 1;
                    row.args.get(index - 1).or(row.args.last()).map(|arg| arg.ty)
                }
            };
            let is_env = entry.ty().is_some_and(|ty| ty.value() == "env");
            let Some(ty) = ty.filter(|ty| is_env && ty.takes_variable()) else { continue };
            if let Some(value) = self.value(entry, default.as_deref()) {
                *entry = with(entry, typed(&value, ty));
                is_replaced = true;
            }
        }
        // `default=` belongs to the variable, which is gone.
        if is_replaced && !row.props.iter().any(|prop| prop.name == "default") {
            node.entries_mut().retain(|it| it.name().is_none_or(|name| name.value() != "default"));
        }
    }

    /// What the variable holds. `None` where it is not known here, or missing, which is reported.
    fn value(&mut self, entry: &KdlEntry, default: Option<&str>) -> Option<String> {
        let name = entry.value().as_string()?.to_owned();
        let given = self.environment.value(&name).filter(|value| !value.is_empty());
        if let Some(value) = given.or_else(|| default.map(str::to_owned)) {
            return Some(value);
        }
        let setting = Setting::Variable { name, default: None };
        let unset = setting.missing(self.environment)?;
        let span = entry.span().offset()..entry.span().offset() + entry.span().len();
        environment::report(
            &Spanned::new(setting, span),
            &unset,
            self.environment,
            self.diagnostics,
        );
        None
    }
}

/// A text as a value of the type; what is none stays a text, and is reported where it stands.
fn typed(text: &str, ty: ValueKind) -> KdlValue {
    let text = text.trim();
    let parsed = match ty {
        ValueKind::Int(..) => text.parse().ok().map(KdlValue::Integer),
        ValueKind::Number(..) => text.parse().ok().map(KdlValue::Float),
        ValueKind::Bool => text.parse().ok().map(KdlValue::Bool),
        _ => None,
    };
    parsed.unwrap_or_else(|| KdlValue::String(text.to_owned()))
}
