//! One argument or property, read as what its place asks for.

use super::offsets::{value_span, value_text_span};
use super::setting::{self, Setting};
use super::value::{self, Rate, parse_rate};
use crate::expr::{Expr, Roots, Template};
use crate::spanned::{Span, Spanned};
use kdl::{KdlEntry, KdlNode, KdlValue};
use kernel::choice::Choice;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A value and where it stands.
#[derive(Clone)]
pub struct Scalar<'a> {
    value: &'a KdlValue,
    annotation: Option<&'a str>,
    span: Span,
    node: &'a KdlNode,
    folder: &'a Path,
}

impl<'a> Scalar<'a> {
    pub(super) fn of(entry: &'a KdlEntry, node: &'a KdlNode, folder: &'a Path) -> Self {
        let span = value_span(entry);
        let annotation = entry.ty().map(kdl::KdlIdentifier::value);
        Scalar { value: entry.value(), annotation, span, node, folder }
    }

    /// A value that stands in no file.
    pub(super) fn by_default(entry: &'static KdlEntry, node: &'static KdlNode) -> Scalar<'static> {
        Scalar { span: 0..0, ..Scalar::of(entry, node, Path::new("")) }
    }

    /// Where the value stands (without a property's name).
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Where the name of a property is; the value's place for an argument.
    pub fn name_span(&self) -> Span {
        let entry = self.node.entries().iter().find(|entry| value_span(entry) == self.span);
        let name = entry.and_then(|entry| entry.name());
        name.map_or_else(|| self.span(), super::offsets::name_span)
    }

    /// Where a part of the text is in the file, given its bytes in the text.
    pub fn part_span(&self, part: Span) -> Span {
        let entry = self.node.entries().iter().find(|entry| value_span(entry) == self.span);
        entry.map_or_else(|| self.span(), |entry| value_text_span(entry, part))
    }

    /// The text as written; not for values that may come from outside.
    pub fn text(&self) -> Option<Spanned<String>> {
        let text = self.value.as_string()?;
        self.annotation.is_none().then(|| Spanned::new(text.to_owned(), self.span()))
    }

    /// One of several words.
    pub fn choice<T: Choice>(&self) -> Option<T> {
        T::of_word(self.value.as_string()?)
    }

    /// `#true` or `#false`.
    pub fn boolean(&self) -> Option<bool> {
        self.value.as_bool()
    }

    /// A whole number.
    pub fn int(&self) -> Option<Spanned<i64>> {
        let number = i64::try_from(self.value.as_integer()?).ok()?;
        Some(Spanned::new(number, self.span()))
    }

    /// Any number.
    pub fn number(&self) -> Option<Spanned<f64>> {
        value::number(self.value).map(|number| Spanned::new(number, self.span()))
    }

    /// A duration.
    pub fn duration(&self) -> Option<Spanned<Duration>> {
        value::duration_of(self.value, self.annotation).map(|it| Spanned::new(it, self.span()))
    }

    /// A size in bytes.
    pub fn bytes(&self) -> Option<Spanned<u64>> {
        value::bytes_of(self.value, self.annotation).map(|it| Spanned::new(it, self.span()))
    }

    /// A rate.
    pub fn rate(&self) -> Option<Spanned<Rate>> {
        self.text()?.map(|text| parse_rate(&text)).transpose()
    }

    /// Words separated by blanks in one text.
    pub fn words(&self) -> Vec<String> {
        let text = self.value.as_string().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// An expression over `roots`, as the table declares them for this place.
    pub fn expr(&self, roots: Roots) -> Option<Spanned<Expr>> {
        let expr = Expr::parse(self.value.as_string()?, roots).ok()?;
        Some(Spanned::new(expr, self.span()))
    }

    /// A template over `roots`, given in the file itself.
    pub fn template(&self, roots: Roots) -> Option<Spanned<Template>> {
        let template = Template::parse(self.value.as_string()?, roots).ok()?;
        self.annotation.is_none().then(|| Spanned::new(template, self.span()))
    }

    /// A text that may come from `(env)` or `(file)`.
    pub fn setting(&self) -> Option<Spanned<Setting>> {
        setting::of(self.value, self.annotation, self.node, self.folder)
            .map(|it| Spanned::new(it, self.span()))
    }

    /// Whether the node says that this may be missing (`optional=#true`).
    pub fn is_optional(&self) -> bool {
        self.node.get("optional").and_then(KdlValue::as_bool) == Some(true)
    }

    /// The value as JSON, for places that take anything.
    pub fn json(&self) -> Value {
        match self.value {
            KdlValue::String(it) => Value::String(it.clone()),
            KdlValue::Integer(it) => i64::try_from(*it).map_or(Value::Null, Value::from),
            KdlValue::Float(it) => Value::from(*it),
            KdlValue::Bool(it) => Value::Bool(*it),
            KdlValue::Null => Value::Null,
        }
    }
}
