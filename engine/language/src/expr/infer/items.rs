//! Macros over lists: their variable has the type of an item.

use super::super::node::{ExprNode, Macro, MacroKind, Step};
use super::super::type_env::EventTypes;
use super::super::value_type::ValueType;
use super::{Infer, paths};
use crate::diagnostic::Rule;
use crate::nearest;
use std::ops::Range;

impl Infer<'_> {
    pub(super) fn macro_call(&mut self, call: &Macro, here: &EventTypes) -> ValueType {
        let list = self.see(&call.list, here).shape;
        self.expect_list(&call.list, &list, call.kind.name(), here);
        let item = match &list.list {
            Some(item) if !list.is_any() => (**item).clone(),
            _ => ValueType::any(),
        };
        self.variables.push(item.clone());
        let body = self.see(&call.body, here).shape;
        self.variables.pop();
        if call.kind != MacroKind::Map {
            self.expect_condition(&call.body, &body, here);
        }
        match call.kind {
            MacroKind::Exists | MacroKind::All => ValueType::bool().or_null(),
            MacroKind::Filter => ValueType::list(item).or_null(),
            MacroKind::Map => ValueType::list(body.in_json()).or_null(),
        }
    }

    /// Something that is no list where one is gone through.
    pub(super) fn expect_list(
        &mut self,
        node: &ExprNode,
        shape: &ValueType,
        name: &str,
        here: &EventTypes,
    ) {
        if shape.is_any() || shape.list.is_some() || !shape.has_value() {
            return;
        }
        let message = format!(
            "`{name}` takes a list; `{}` is {}",
            self.shown(node),
            shape.told_in_a_sentence()
        );
        let help = format!("give `{name}` a list, such as `data.items` or `[1, 2]`");
        if let Some(it) = self.report(here, Rule::NeverCompare, node.span(), message, "always null")
        {
            it.help = Some(help);
        }
    }

    /// What stands at a path into the item of a list.
    pub(super) fn item(
        &mut self,
        slot: usize,
        steps: &[Step],
        span: Range<usize>,
        here: &EventTypes,
    ) -> ValueType {
        let Some(base) = self.variables.get(slot).cloned() else { return ValueType::any() };
        let name = self.text.get(span.clone()).unwrap_or_default().to_owned();
        let name = name.split(['.', '[']).next().unwrap_or_default().trim().to_owned();
        match paths::walked(&base, steps) {
            Ok(shape) => shape,
            Err((depth, at)) => {
                let shown = self.text.get(span.clone()).unwrap_or_default();
                let message = format!("an item of the list has no `{shown}`");
                let help = match steps.get(depth) {
                    Some(Step::Name(missing)) => fields_help(&at, missing, &name),
                    _ => format!("`{name}` is {}, not a list", at.told_in_a_sentence()),
                };
                let label = "it would always be null";
                if let Some(it) = self.report(here, Rule::UnknownPath, span, message, label) {
                    it.help = Some(help);
                }
                ValueType::any()
            }
        }
    }

    /// The field of a map that the expression made.
    pub(super) fn named(
        &mut self,
        base: &ValueType,
        name: &str,
        node: &ExprNode,
        place: Range<usize>,
        here: &EventTypes,
    ) -> ValueType {
        if let Some((shape, _)) = base.field(name) {
            return shape;
        }
        let message = format!("`{}` has no `{name}`", self.shown(node));
        let help = fields_help(base, name, "it");
        let label = "it would always be null";
        if let Some(it) = self.report(here, Rule::UnknownPath, place, message, label) {
            it.help = Some(help);
        }
        ValueType::any()
    }
}

fn fields_help(at: &ValueType, missing: &str, name: &str) -> String {
    let names: Vec<&str> = at.names().collect();
    match nearest(missing, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => {
            format!("`{name}` is {}: it has no fields", at.told_in_a_sentence())
        }
        None => format!("its fields are {}", names.join(", ")),
    }
}
