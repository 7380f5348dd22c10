//! What functions give for what they are given.

use super::super::aggregate::Aggregate;
use super::super::function::{Function, has_date, wanted};
use super::super::node::{ExprNode, Field};
use super::super::type_env::EventTypes;
use super::super::value_type::{ValueType, Words};
use super::{Infer, SeenPaths, name_of};
use crate::diagnostic::Rule;
use kernel::choice::Choice;
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
        let shapes: Vec<ValueType> =
            arguments.iter().map(|argument| self.see(argument, here).shape).collect();
        let name = name_of(function);
        if let Function::Aggregate(aggregate) = function {
            return SeenPaths::of(self.aggregated(*aggregate, arguments, &shapes, here), here);
        }
        if let [ExprNode::Field(Field::Kind, _), rest @ ..] = arguments
            && let Some(asks) = question(function, name, rest)
        {
            return self.asked(&*asks, span, here);
        }
        // A filter takes whatever value as its text.
        let is_filter = matches!(function, Function::Filter(_));
        let all = arguments.iter().zip(&shapes).enumerate();
        for (index, (argument, shape)) in all.skip(usize::from(is_filter)) {
            self.expect_argument(name, index, argument, shape, here);
        }
        if let ("time", false, [value, ExprNode::Literal(Value::String(pattern), place), ..]) =
            (name, is_filter, arguments)
        {
            self.expect_date(value, &shapes[0], (pattern, place), here);
        }
        if let ("contains", [list, item]) = (name, arguments) {
            self.looked_for(list, &shapes[0], item, here);
        }
        if let (Function::Within(..), [value]) = (function, arguments) {
            self.expect_moment(value, &shapes[0], span.clone(), here);
        }
        self.expect_no_level(name, arguments, span.clone(), here);
        if let ("contains", false, [text, list]) = (name, is_filter, arguments) {
            self.contains_list(text, &shapes[0], list, span.clone(), here);
        }
        if let Function::Groups(regex) = function {
            let text = || ValueType::text().or_null();
            let groups = regex.capture_names().flatten().map(|name| (name, text()));
            return SeenPaths::of(ValueType::map(groups).or_null(), here);
        }
        let shape = match is_filter {
            true => shows(name, arguments, &shapes),
            false => gives(name, arguments, &shapes),
        };
        SeenPaths::of(shape, here)
    }

    /// What is made of the values of many events.
    fn aggregated(
        &mut self,
        aggregate: Aggregate,
        arguments: &[ExprNode],
        shapes: &[ValueType],
        here: &EventTypes,
    ) -> ValueType {
        let value = || shapes.first().cloned().unwrap_or_else(ValueType::any);
        match aggregate {
            Aggregate::Count => ValueType::between(0.0, f64::INFINITY),
            Aggregate::First | Aggregate::Last => value().in_json().or_null(),
            Aggregate::Distinct => ValueType::list(ValueType { null: false, ..value().in_json() }),
            _ => {
                if let ([argument], [shape]) = (arguments, shapes)
                    && !shape.is_any()
                    && shape.has_value()
                    && shape.number.is_none()
                {
                    let (word, shown) = (aggregate.word(), self.shown(argument).to_owned());
                    let is = shape.told_in_a_sentence();
                    let message = format!("`{word}` takes numbers; `{shown}` is {is}");
                    let label = "no event has a number here";
                    let span = argument.span();
                    if let Some(it) = self.report(here, Rule::NeverCompare, span, message, label) {
                        it.help = Some(format!("read a number: `{word}(number({shown}))`"));
                    }
                }
                ValueType::number().or_null()
            }
        }
    }

    /// `hour(event.time) in '07:00-22:00'`: a number of hours is no time.
    fn expect_moment(
        &mut self,
        value: &ExprNode,
        shape: &ValueType,
        span: Range<usize>,
        here: &EventTypes,
    ) {
        let is_small = shape.number.is_some_and(|number| number.most <= SECONDS_OF_DAY);
        let is_other = shape.text.is_some() || shape.time || shape.is_any();
        if !is_small || is_other {
            return;
        }
        let time = match value {
            ExprNode::Call(_, arguments, _) => arguments.first().map(|time| self.shown(time)),
            _ => None,
        };
        let time = time.unwrap_or("event.time").to_owned();
        let range = self.text.get(value.span().end..span.end).unwrap_or_default().trim_start();
        let range = range.trim_start_matches(')').trim_start().to_owned();
        let message = format!("`{}` is a number, not a time", self.shown(value));
        let label = "a range of the time of day needs a time";
        if let Some(it) = self.report(here, Rule::NeverCompare, span, message, label) {
            it.help = Some(format!("write `{time} {range}`"));
        }
    }

    /// `max(event.priority, 'high')`: a function knows words, and no levels.
    fn expect_no_level(
        &mut self,
        name: &str,
        arguments: &[ExprNode],
        span: Range<usize>,
        here: &EventTypes,
    ) {
        let is_level = |node: &ExprNode| match node {
            ExprNode::List(items) => items.iter().any(ExprNode::is_level),
            node => node.is_level(),
        };
        if !matches!(name, "min" | "max" | "sort") || !arguments.iter().any(is_level) {
            return;
        }
        let message = format!("`{name}` orders priorities by their letters, not by their levels");
        let label = "`critical` comes before `low` here";
        if let Some(it) = self.report(here, Rule::NeverCompare, span, message, label) {
            it.help =
                Some("compare the priority itself, as in `event.priority >= 'high'`".to_owned());
        }
    }

    /// `contains(event.type, ['a', 'b'])`: a list of what a text may be.
    fn contains_list(
        &mut self,
        text: &ExprNode,
        shape: &ValueType,
        list: &ExprNode,
        span: Range<usize>,
        here: &EventTypes,
    ) {
        let is_list = matches!(list, ExprNode::List(_) | ExprNode::Literal(Value::Array(_), _));
        if !is_list || !shape.is_only_text() {
            return;
        }
        let (shown, items) = (self.shown(text).to_owned(), self.list_behind(text, &span));
        let message = format!("`{shown}` is text, and `contains` looks for one text in it");
        if let Some(it) = self.report(here, Rule::NeverCompare, span, message, "always null") {
            it.help = Some(format!("write `{shown} in {items}`"));
        }
    }

    /// The second of two arguments as it is written.
    fn list_behind(&self, first: &ExprNode, call: &Range<usize>) -> String {
        let rest = self.text.get(first.span().end..call.end.saturating_sub(1));
        rest.unwrap_or_default().trim_start_matches([')', ' ', ',']).trim().to_owned()
    }

    /// A pattern by which no time can be read, since it has no date.
    fn expect_date(
        &mut self,
        value: &ExprNode,
        shape: &ValueType,
        (pattern, place): (&str, &Range<usize>),
        here: &EventTypes,
    ) {
        let is_read = shape.text.is_some() && !shape.time && !shape.is_any();
        if !is_read || has_date(pattern) {
            return;
        }
        let message = format!("the pattern `{pattern}` has no year, month and day");
        let shown = self.shown(value).to_owned();
        let place = place.clone();
        if let Some(it) = self.report(here, Rule::NeverCompare, place, message, "always null") {
            it.help = Some(format!(
                "a time is read from a whole date, such as `yyyy-MM-dd HH:mm`; to show one, write \
                 `date({shown}, '{pattern}')`"
            ));
        }
    }

    /// An argument of the wrong sort makes the call null.
    fn expect_argument(
        &mut self,
        name: &str,
        index: usize,
        argument: &ExprNode,
        shape: &ValueType,
        here: &EventTypes,
    ) {
        let wanted = match name {
            "matches" | "regex_capture" | "regex_replace" => "text",
            _ => wanted(name, index),
        };
        let fits = match wanted {
            "text" => shape.text.is_some(),
            "a number" => shape.number.is_some() || name == "abs" && shape.span,
            "a time" => shape.time || shape.text.is_some() || shape.number.is_some(),
            "a list" => shape.list.is_some(),
            "a map" => shape.map.is_some(),
            "a text or number" => shape.text.is_some() || shape.number.is_some() || shape.span,
            "a text or list" => shape.text.is_some() || shape.list.is_some(),
            "a text, list or map" => {
                shape.text.is_some() || shape.list.is_some() || shape.map.is_some()
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
                "a list" => "`data.items` or `[1, 2]`",
                "a map" => "`data` or `{'a': 1}`",
                "a text or number" => "`'5m'` or `data.seconds`",
                _ => "`event.subject` or `[1, 2]`",
            }
        );
        let span = argument.span();
        if let Some(it) = self.report(here, Rule::NeverCompare, span, message, "always null") {
            it.help = Some(help);
        }
    }
}

/// Where a number ends that counts hours, minutes or seconds of a day.
const SECONDS_OF_DAY: f64 = 86_400.0;

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
                    shapes[0].field(key).filter(|_| shapes[0].names().any(|name| name == key))
                }
                _ => None,
            };
            known.map_or_else(ValueType::any, |(shape, _)| shape.or(default))
        }
        "now" => ValueType::time(),
        "time" if arguments.len() == 1 => ValueType::time().or_null(),
        "time" => {
            let is_any = shapes[0].is_any();
            ValueType {
                time: is_any || shapes[0].text.is_some(),
                text: (is_any || shapes[0].time || shapes[0].number.is_some())
                    .then_some(Words::Any),
                null: true,
                ..ValueType::never()
            }
        }
        "hour" => ValueType::between(0.0, 23.0).or_null(),
        "minute" => ValueType::between(0.0, 59.0).or_null(),
        "weekday" => ValueType::between(1.0, 7.0).or_null(),
        "day" => ValueType::between(1.0, 31.0).or_null(),
        "len" | "count" => ValueType::between(0.0, f64::INFINITY).or_null(),
        "lower" => changed(&shapes[0], str::to_lowercase),
        "upper" => changed(&shapes[0], str::to_uppercase),
        "trim" => changed(&shapes[0], |it| it.trim().to_owned()),
        "contains" | "starts_with" | "ends_with" | "matches" | "in" => ValueType::bool().or_null(),
        "abs" => ValueType {
            span: shapes[0].span || shapes[0].is_any(),
            ..ValueType::number().or_null()
        },
        "round" | "floor" | "ceil" | "geo_distance" | "number" | "sum" | "avg" => {
            ValueType::number().or_null()
        }
        "keys" => ValueType::list(ValueType::text()).or_null(),
        "entries" => {
            let fields = [("key", ValueType::text()), ("value", ValueType::any())];
            ValueType::list(ValueType::map(fields)).or_null()
        }
        "values" => ValueType::list(ValueType::any()).or_null(),
        "min" | "max" => match shapes {
            [only] if only.is_any() => ValueType::any(),
            [only] if only.list.is_some() => {
                let rest = ValueType { list: None, ..only.clone() };
                only.item().unwrap_or_else(ValueType::any).or(rest).or_null()
            }
            _ => either().or_null(),
        },
        "coalesce" | "random.pick" => either().or_null(),
        "default" => ValueType { null: false, ..shapes[0].clone() }.or(shapes[1].clone()),
        "first" | "last" | "sort" | "distinct" | "reverse" | "flatten" | "slice" => {
            part(name, &shapes[0])
        }
        "split" => ValueType::list(ValueType::text()).or_null(),
        "to_json" => ValueType::text(),
        "text" => ValueType { null: shapes[0].null, ..ValueType::text() },
        "hash" | "date" | "regex_capture" | "regex_replace" | "http.header" | "http.query"
        | "uuid" | "title" | "replace" | "join" | "pad" | "truncate" | "slug" | "humanize"
        | "urlencode" | "base64" | "unbase64" => ValueType::text().or_null(),
        "duration" => ValueType::span().or_null(),
        "random.float" | "random.int" => ValueType::number().or_null(),
        _ => ValueType::any(),
    }
}

/// The same for filters, some of which show what functions read.
fn shows(name: &str, arguments: &[ExprNode], shapes: &[ValueType]) -> ValueType {
    match name {
        "default" if shapes[0].is_any() => ValueType::any(),
        "json" | "to_json" => ValueType::text(),
        "round" | "fixed" => ValueType::any(),
        "time" | "lower" | "upper" | "trim" => ValueType::text().or_null(),
        _ => gives(name, arguments, shapes),
    }
}

/// A part of a list, or the same items in another way.
fn part(name: &str, shape: &ValueType) -> ValueType {
    match name {
        "first" | "last" => shape.item().unwrap_or_else(ValueType::any),
        "sort" | "distinct" | "reverse" => of_list(shape, |it| it),
        "flatten" => of_list(shape, |it| match (&it.list, it.is_any()) {
            (Some(inner), false) => ValueType { list: None, ..it.clone() }.or((**inner).clone()),
            _ => it,
        }),
        "slice" => ValueType {
            text: shape.text.as_ref().map(|_| Words::Any),
            list: shape.list.clone(),
            null: true,
            is_any: shape.is_any(),
            ..ValueType::never()
        },
        _ => ValueType::any(),
    }
}

/// A list of other items.
fn of_list(shape: &ValueType, change: fn(ValueType) -> ValueType) -> ValueType {
    let items = match &shape.list {
        Some(items) if !shape.is_any() => change((**items).clone()),
        _ => ValueType::any(),
    };
    ValueType::list(items).or_null()
}

fn changed(shape: &ValueType, change: fn(&str) -> String) -> ValueType {
    let words = shape.words().filter(|_| shape.is_only_text());
    let text = match words {
        Some(words) => Words::OneOf(words.map(|word| change(word).into()).collect()),
        None => Words::Any,
    };
    ValueType { text: Some(text), null: true, ..ValueType::never() }
}
