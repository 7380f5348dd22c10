//! What functions give for what they are given.

use super::super::function::{Function, wanted};
use super::super::node::{ExprNode, Field};
use super::super::type_env::EventTypes;
use super::super::value_type::{ValueType, Words};
use super::{Infer, SeenPaths, name_of};
use crate::diagnostic::Rule;
use serde_json::Value;
use std::ops::Range;

impl Infer<'_> {
    pub(super) fn call(
        &mut self,
        function: &Function,
        arguments: &[ExprNode],
        span: Range<usize>,
        here: &EventTypes,
    ) -> SeenPaths {
        let shapes: Vec<ValueType> = arguments.iter().map(|it| self.see(it, here).shape).collect();
        let name = name_of(function);
        if let [ExprNode::Field(Field::Kind, _), rest @ ..] = arguments
            && let Some(asks) = question(function, name, rest)
        {
            return self.asked(&*asks, span, here);
        }
        for (argument, shape) in arguments.iter().zip(&shapes) {
            self.expect_argument(name, argument, shape, here);
        }
        if let ("contains", [list, item]) = (name, arguments) {
            self.looked_for(list, &shapes[0], item, here);
        }
        SeenPaths::of(gives(name, arguments, &shapes), here)
    }

    /// An argument of the wrong sort makes the call null.
    fn expect_argument(
        &mut self,
        name: &str,
        argument: &ExprNode,
        shape: &ValueType,
        here: &EventTypes,
    ) {
        let (fits, wanted) = match wanted(name) {
            "text" => (shape.text.is_some(), "text"),
            "a number" => {
                let is_span = name == "abs" && shape.span;
                (shape.number.is_some() || is_span, "a number")
            }
            _ if matches!(name, "matches" | "regex_capture") => (shape.text.is_some(), "text"),
            _ if matches!(name, "time" | "date") => {
                (shape.time || shape.text.is_some() || shape.number.is_some(), "a time")
            }
            _ if matches!(name, "len" | "count") => {
                let has_length =
                    shape.text.is_some() || shape.list.is_some() || shape.map.is_some();
                (has_length, "a text, list or map")
            }
            _ => return,
        };
        // The second argument of these is a number, whatever the first one is.
        let is_second = name == "regex_capture" && shape.number.is_some();
        if fits || shape.is_any() || !shape.has_value() || is_second {
            return;
        }
        let message = format!(
            "`{name}` takes {wanted}; `{}` is {}",
            self.shown(argument),
            shape.told_in_a_sentence()
        );
        let help = format!(
            "give `{name}` {wanted}, such as {}",
            match wanted {
                "text" => "`event.subject` or `'text'`",
                "a number" => "`data.count` or `5`",
                "a time" => "`event.time` or `time(data.at)`",
                _ => "`event.subject` or `[1, 2]`",
            }
        );
        let span = argument.span();
        if let Some(it) = self.report(here, Rule::NeverCompare, span, message, "always null") {
            it.help = Some(help);
        }
    }
}

/// Something that a name fits or not.
type Question<'f> = Box<dyn Fn(&str) -> bool + 'f>;

/// A question about a text whose other side is a literal.
fn question<'f>(function: &'f Function, name: &str, rest: &'f [ExprNode]) -> Option<Question<'f>> {
    if let Function::Matches(regex) = function {
        return Some(Box::new(|it| regex.is_match(it)));
    }
    let [ExprNode::Literal(Value::String(part), _)] = rest else { return None };
    Some(match name {
        "starts_with" => Box::new(move |it| it.starts_with(part.as_str())),
        "ends_with" => Box::new(move |it| it.ends_with(part.as_str())),
        "contains" => Box::new(move |it| it.contains(part.as_str())),
        _ => return None,
    })
}

fn gives(name: &str, arguments: &[ExprNode], shapes: &[ValueType]) -> ValueType {
    let either = || shapes.iter().cloned().fold(ValueType::never(), ValueType::or);
    match name {
        "get" => {
            let default = shapes.get(2).cloned().unwrap_or_else(ValueType::null);
            let known = match arguments.get(1) {
                Some(ExprNode::Literal(Value::String(key), _)) => {
                    shapes[0].field(key).filter(|_| shapes[0].names().any(|it| it == key))
                }
                _ => None,
            };
            known.map_or_else(ValueType::any, |(shape, _)| shape.or(default))
        }
        "now" => ValueType::time(),
        "time" => ValueType::time().or_null(),
        "len" | "count" => ValueType::between(0.0, f64::INFINITY).or_null(),
        "lower" => changed(&shapes[0], str::to_lowercase),
        "upper" => changed(&shapes[0], str::to_uppercase),
        "trim" => changed(&shapes[0], |it| it.trim().to_owned()),
        "contains" | "starts_with" | "ends_with" | "matches" => ValueType::bool().or_null(),
        "abs" => ValueType {
            span: shapes[0].span || shapes[0].is_any(),
            ..ValueType::number().or_null()
        },
        "round" | "geo_distance" => ValueType::number().or_null(),
        "min" | "max" | "coalesce" | "random.pick" => either().or_null(),
        "hash" | "date" | "regex_capture" | "http.header" | "http.query" | "uuid" => {
            ValueType::text().or_null()
        }
        "duration" => ValueType::span().or_null(),
        "random.float" | "random.int" => ValueType::number().or_null(),
        _ => ValueType::any(),
    }
}

fn changed(shape: &ValueType, change: fn(&str) -> String) -> ValueType {
    let words = shape.words().filter(|_| shape.is_only_text());
    let text = match words {
        Some(words) => Words::OneOf(words.map(|it| change(it).into()).collect()),
        None => Words::Any,
    };
    ValueType { text: Some(text), null: true, ..ValueType::never() }
}
