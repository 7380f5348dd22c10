//! Comparisons: what is never equal, and never in order.

use super::super::Root;
use super::super::names;
use super::super::node::{Binary, ExprNode, Field, Step};
use super::super::type_env::{EventType, EventTypes, split};
use super::super::value_type::{Bounds, ValueType};
use super::sorts::{can_compare, compared, sort};
use super::{Infer, SeenPaths, paths};
use crate::diagnostic::Rule;
use crate::nearest;
use kernel::event::Priority;
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// A literal and where it stands.
type Literal = (Value, Range<usize>);

impl Infer<'_> {
    pub(super) fn compare(
        &mut self,
        operator: Binary,
        left: &ExprNode,
        right: &ExprNode,
        here: &EventTypes,
    ) -> SeenPaths {
        let (a, b) = (self.see(left, here).shape, self.see(right, here).shape);
        let is_field =
            |node: &ExprNode, wanted| matches!(node, ExprNode::Field(field, _) if *field == wanted);
        if left.is_level() || right.is_level() {
            return self.levels(operator, left, right, here);
        }
        let literals = |node: &ExprNode| {
            let mut found = Vec::new();
            names::alternatives(node, self.text, &mut found);
            found
        };
        let (left_given, right_given) = (literals(left), literals(right));
        let span = left.span().start..right.span().end;
        let is_in = matches!(operator, Binary::In | Binary::NotIn);
        let is_equality = is_in || matches!(operator, Binary::Equal | Binary::Unequal);
        let negates = matches!(operator, Binary::NotIn | Binary::Unequal);
        let is_list = |node: &ExprNode| {
            matches!(node, ExprNode::List(_) | ExprNode::Literal(Value::Array(_), _))
        };
        if is_equality
            && is_in == is_list(right)
            && is_field(left, Field::Kind)
            && is_literal(right)
        {
            return self.types(&right_given, negates, here);
        }
        let is_plain = !is_in && !is_list(left);
        if is_equality && is_plain && is_field(right, Field::Kind) && is_literal(left) {
            return self.types(&left_given, negates, here);
        }
        match (is_literal(left), is_literal(right)) {
            (true, true) => {}
            (false, true) if is_equality => self.words_of(left, &a, &right_given, here),
            (true, false) if !is_in && is_equality => self.words_of(right, &b, &left_given, here),
            (true, false) if is_in => {
                let items = b.item().unwrap_or_else(ValueType::any);
                self.words_of(right, &items, &left_given, here);
            }
            _ => {}
        }
        let is_constant = is_literal(left) && is_literal(right);
        if let (ExprNode::Literal(one, _), ExprNode::Literal(other, _), false) =
            (left, right, is_in)
            && (one.is_string() || other.is_string())
        {
            let message = "this compares two values of the file itself".to_owned();
            let label = "the same for every event";
            if let Some(it) = self.report(here, Rule::AlwaysSame, span.clone(), message, label) {
                it.help = Some("a path has no quotes: `event.type == 'ring'`".to_owned());
            }
        }
        if !is_equality {
            self.text_for_number(left, (&a, &b), here);
            self.text_for_number(right, (&b, &a), here);
        }
        let shape = if is_in {
            self.membership(left, right, (&a, &b), span, here)
        } else {
            let shape = compared(operator, &a, &b);
            if !is_constant {
                self.tell(operator, (left, right), (&a, &b), &shape, span, here);
            }
            shape
        };
        SeenPaths::of(shape, here)
    }

    /// `event.priority` against literals: decided where events of one priority are looked at.
    fn levels(
        &self,
        operator: Binary,
        left: &ExprNode,
        right: &ExprNode,
        here: &EventTypes,
    ) -> SeenPaths {
        let holds = self.known.level.and_then(|level| level_holds(operator, left, right, level));
        match holds {
            None => SeenPaths::of(ValueType::bool().or_null(), here),
            Some(true) => SeenPaths::condition(here.clone(), Arc::default(), Arc::default()),
            Some(false) => SeenPaths::condition(Arc::default(), here.clone(), Arc::default()),
        }
    }

    /// `event.type` against literals: which types fit.
    fn types(&mut self, words: &[Literal], negates: bool, here: &EventTypes) -> SeenPaths {
        let mut found: Vec<EventType> = Vec::new();
        let mut is_told = false;
        for (literal, span) in words {
            let word = literal.as_str().unwrap_or_default();
            match self.known.fitting(word, here) {
                Some(it) => found.push(it),
                None if self.known.known_type(word).is_some() => {}
                None => {
                    is_told = true;
                    self.no_such_type(literal, span.clone(), here);
                }
            }
        }
        if let (true, false, Some((word, span))) = (found.is_empty(), is_told, words.first()) {
            let label = if negates { "always true" } else { "never true" };
            let message = format!("no event here can have type `{}`", shown(word));
            if let Some(it) = self.report(here, Rule::AlwaysSame, span.clone(), message, label) {
                it.help = Some(format!("only {} can arrive here", paths::told(here)));
            }
        }
        let is_named = |name: &str| words.iter().any(|word| word.0.as_str() == Some(name));
        let rest: EventTypes = here.iter().filter(|it| !is_named(&it.kind)).cloned().collect();
        let found: EventTypes = found.into();
        match negates {
            false => SeenPaths::condition(found, rest, Arc::default()),
            true => SeenPaths::condition(rest, found, Arc::default()),
        }
    }

    fn no_such_type(&mut self, literal: &Value, span: Range<usize>, here: &EventTypes) {
        let Some(word) = literal.as_str() else {
            let message = format!("`{literal}` is not an event type");
            self.report(here, Rule::NeverCompare, span, message, "an event type is text");
            return;
        };
        let known: Vec<&str> = self.known.all.iter().map(|it| &*it.kind).collect();
        let help = match nearest(word, known.iter().copied().filter(|it| !it.contains('*'))) {
            Some(near) => format!("did you mean `'{near}'`?"),
            None if known.len() <= 16 => {
                format!("the types that can arrive: {}", known.join(", "))
            }
            None => "no source sends it, or no `schema` of `validate` covers it".to_owned(),
        };
        let message = format!("no event of type `{word}` can arrive");
        if let Some(it) = self.report(here, Rule::NotOneOf, span, message, "never equal") {
            it.help = Some(help);
        }
    }

    /// A literal that is looked for in a list of words: `contains(data.tags, 'a')`.
    pub(super) fn looked_for(
        &mut self,
        list: &ExprNode,
        shape: &ValueType,
        item: &ExprNode,
        here: &EventTypes,
    ) {
        let is_list = shape.list.is_some() && shape.text.is_none();
        if let (true, true, Some(items)) = (is_list, is_literal(item), shape.item()) {
            let mut given = Vec::new();
            names::alternatives(item, self.text, &mut given);
            self.words_of(list, &items, &given, here);
        }
    }

    /// Literals against something that has words of its own.
    fn words_of(
        &mut self,
        node: &ExprNode,
        shape: &ValueType,
        given: &[Literal],
        here: &EventTypes,
    ) {
        let Some(words) = shape.words().filter(|_| shape.is_only_text()) else { return };
        let words: Vec<String> = words.map(str::to_owned).collect();
        for (literal, span) in given {
            let Some(word) = literal.as_str() else { continue };
            if words.iter().any(|it| it == word) {
                continue;
            }
            let message = format!("`{}` is never `{word}`", self.shown(node));
            let told = words.iter().take(16).map(String::as_str).collect::<Vec<_>>().join(", ");
            let help = match nearest(word, words.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `'{near}'`? The words are: {told}"),
                None => format!("the words are: {told}"),
            };
            let span = span.clone();
            if let Some(it) = self.report(here, Rule::NotOneOf, span, message, "never equal") {
                it.help = Some(help);
            }
        }
    }

    fn membership(
        &mut self,
        left: &ExprNode,
        right: &ExprNode,
        (a, b): (&ValueType, &ValueType),
        span: Range<usize>,
        here: &EventTypes,
    ) -> ValueType {
        let result = ValueType::bool().or_null();
        if b.is_any() || !b.has_value() {
            return result;
        }
        if b.list.is_none() && b.map.is_none() {
            let told = match b.is_only_text() {
                true => "text".to_owned(),
                false => b.told_in_a_sentence(),
            };
            let message = format!("`{}` is {told}, not a list", self.shown(right));
            if let Some(it) = self.report(here, Rule::NeverCompare, span, message, "always null") {
                it.help =
                    Some("use `in` with a list or a map, and `contains` with a text".to_owned());
            }
            return result;
        }
        let (Some(items), None, false) = (&b.list, &b.map, is_literal(left) && is_literal(right))
        else {
            return result;
        };
        if a.has_value() && items.has_value() && !can_compare(a, items, true) {
            let message = format!(
                "`{}` is {}, and the list holds {}",
                self.shown(left),
                a.told_in_a_sentence(),
                items.told_in_a_sentence()
            );
            self.report(here, Rule::NeverCompare, span, message, "never equal");
        }
        result
    }

    /// `enrich.row.limit ?? 60 < data.n`: the default is a number, and what it stands in for is
    /// always text, as in a CSV table.
    fn text_for_number(
        &mut self,
        node: &ExprNode,
        (own, other): (&ValueType, &ValueType),
        here: &EventTypes,
    ) {
        let ExprNode::Run(first, rest) = node else { return };
        let [(Binary::Coalesce, ExprNode::Literal(Value::Number(default), _))] = &**rest else {
            return;
        };
        let bounds = default.as_f64().map(|number| Bounds { least: number, most: number });
        let is_mixed = own.text.is_some() && own.number == bounds && !own.is_any();
        if !is_mixed || !other.is_any() && other.number.is_none() {
            return;
        }
        let message = format!("`{}` is text, and `{default}` is a number", self.shown(first));
        let label = "null whenever it has a value";
        if let Some(it) = self.report(here, Rule::NeverCompare, first.span(), message, label) {
            it.help = Some(
                "convert it with `number(…)`; a column of a table is declared as in \
                 `table \"…\" key=… { number COLUMN }`"
                    .to_owned(),
            );
        }
    }

    /// What can never be equal, or never in order.
    fn tell(
        &mut self,
        operator: Binary,
        nodes: (&ExprNode, &ExprNode),
        (a, b): (&ValueType, &ValueType),
        result: &ValueType,
        span: Range<usize>,
        here: &EventTypes,
    ) {
        let is_equality = matches!(operator, Binary::Equal | Binary::Unequal);
        let negates = operator == Binary::Unequal;
        if a.is_any() || b.is_any() {
            return;
        }
        if a.has_value() && b.has_value() && !can_compare(a, b, is_equality) {
            let message = format!(
                "`{}` is {}, and `{}` is {}",
                self.shown(nodes.0),
                sort(a),
                self.shown(nodes.1),
                sort(b)
            );
            let message = not_a_time(nodes, (a, b)).unwrap_or(message);
            let label = match (is_equality, negates) {
                (false, _) => "always null",
                (true, false) => "never equal",
                (true, true) => "always unequal",
            };
            let help = match is_equality || a.span || b.span || a.time || b.time {
                true => other_sort(nodes, (a, b)),
                false => self.number_of_text(operator, nodes, (a, b)),
            };
            let help = help.or_else(|| {
                let sides = [(nodes.0, a, b), (nodes.1, b, a)];
                let text = sides.iter().find(|it| it.1.is_only_text() && it.2.span)?;
                let shown = self.shown(text.0);
                Some(format!("read the text first: `duration({shown})`"))
            });
            if let Some(it) = self.report(here, Rule::NeverCompare, span, message, label) {
                it.help = help;
            }
            return;
        }
        let label = match result.truth {
            [_, false] if !result.null || !is_equality => "never true",
            [false, true] if !result.null => "always true",
            _ => return,
        };
        // Words that are never equal were told at their own place.
        let is_words = is_equality && a.words().is_some() && b.words().is_some();
        if is_words && self.findings.iter().any(|finding| finding.rule == Rule::NotOneOf) {
            return;
        }
        let given = if is_literal(nodes.1) { nodes.0 } else { nodes.1 };
        let shape = if is_literal(nodes.1) { a } else { b };
        let message = match is_literal(nodes.0) || is_literal(nodes.1) {
            true if !shape.null && (!a.has_value() || !b.has_value()) => {
                format!("`{}` is never null", self.shown(given))
            }
            true => format!("`{}` is {}", self.shown(given), shape.told_in_a_sentence()),
            false => format!(
                "`{}` is {}, and `{}` is {}",
                self.shown(nodes.0),
                a.told_in_a_sentence(),
                self.shown(nodes.1),
                b.told_in_a_sentence()
            ),
        };
        if let Some(it) = self.report(here, Rule::AlwaysSame, span, message, label) {
            it.help = Some("compare with something else, or remove this".to_owned());
        }
    }

    /// What to write where a text is compared with a number by order.
    fn number_of_text(
        &self,
        operator: Binary,
        nodes: (&ExprNode, &ExprNode),
        (a, b): (&ValueType, &ValueType),
    ) -> Option<String> {
        let sign = operator.sign();
        let (left, right) = (self.shown(nodes.0), self.shown(nodes.1));
        let (text, written) = match (a.is_only_text(), b.is_only_text()) {
            (true, false) if b.number.is_some() => {
                (nodes.0, format!("number({left}) {sign} {right}"))
            }
            (false, true) if a.number.is_some() => {
                (nodes.1, format!("{left} {sign} number({right})"))
            }
            _ => return None,
        };
        if let ExprNode::Literal(..) = text {
            return other_sort(nodes, (a, b));
        }
        let field = match text {
            ExprNode::Path(Root::Data, steps, _) if self.known.is_decoded => match &**steps {
                [Step::Name(name)] => Some(name),
                _ => None,
            },
            _ => None,
        };
        Some(match field {
            Some(name) => format!("add `number {name}` to `decode`, or write `{written}`"),
            None => format!("write `{written}`"),
        })
    }

    /// Questions about the name of the type: `starts_with(event.type, 'FACE_')`.
    pub(super) fn asked(
        &mut self,
        asks: &dyn Fn(&str) -> bool,
        span: Range<usize>,
        here: &EventTypes,
    ) -> SeenPaths {
        let (holds, fails) = split(here, asks);
        if holds.is_empty() {
            let is_known = !split(&self.known.all, asks).0.is_empty();
            let (rule, message) = match is_known {
                true => (Rule::AlwaysSame, "no event here has this type"),
                false => (Rule::NotOneOf, "no event that can arrive has this type"),
            };
            if let Some(it) = self.report(here, rule, span, message.to_owned(), "never true") {
                it.help = Some(format!("only {} can arrive here", paths::told(here)));
            }
        }
        SeenPaths::condition(holds, fails, Arc::default())
    }
}

/// Whether a comparison of `event.priority` with literals holds for a level; `None` where that
/// cannot be told before there is an event.
fn level_holds(
    operator: Binary,
    left: &ExprNode,
    right: &ExprNode,
    level: Priority,
) -> Option<bool> {
    let is_priority = |node: &ExprNode| matches!(node, ExprNode::Field(Field::Priority, _));
    let parsed = |value: &Value| value.as_str().and_then(Priority::parse);
    let valued = |node: &ExprNode| match node {
        ExprNode::Literal(value, _) => parsed(value),
        node if is_priority(node) => Some(level),
        _ => None,
    };
    if matches!(operator, Binary::In | Binary::NotIn) {
        let wanted = valued(left)?;
        let found = match right {
            ExprNode::Literal(Value::Array(items), _) => {
                items.iter().any(|item| parsed(item) == Some(wanted))
            }
            ExprNode::List(items) if items.iter().all(|item| valued(item).is_some()) => {
                items.iter().any(|item| valued(item) == Some(wanted))
            }
            _ => return None,
        };
        return Some(found == (operator == Binary::In));
    }
    let order = valued(left)?.cmp(&valued(right)?);
    Some(operator.comparison()?.holds(order))
}

fn shown(literal: &Value) -> String {
    literal.as_str().map_or_else(|| literal.to_string(), str::to_owned)
}

/// Whether every value that it may come to stands in the expression.
fn is_literal(node: &ExprNode) -> bool {
    match node {
        ExprNode::Literal(..) => true,
        ExprNode::List(items) => items.iter().all(is_literal),
        ExprNode::Choice(parts) => parts[1..].iter().all(is_literal),
        _ => false,
    }
}

/// A literal as a duration: `'5m'`, or a number of seconds.
pub(super) fn as_duration(literal: &Value) -> Option<String> {
    let read = match literal {
        Value::String(text) => crate::parse_duration(text)?,
        number => std::time::Duration::try_from_secs_f64(number.as_f64()?).ok()?,
    };
    Some(format!("write `duration('{}')`", kernel::time::write_duration(read)))
}

/// A text beside a time that cannot be read as one.
fn not_a_time(nodes: (&ExprNode, &ExprNode), shapes: (&ValueType, &ValueType)) -> Option<String> {
    let literal = match nodes {
        (ExprNode::Literal(Value::String(text), _), _) if shapes.1.time => text,
        (_, ExprNode::Literal(Value::String(text), _)) if shapes.0.time => text,
        _ => return None,
    };
    Some(format!("`'{literal}'` is not a time"))
}

/// What to write where a number stands in quotes.
fn other_sort(nodes: (&ExprNode, &ExprNode), shapes: (&ValueType, &ValueType)) -> Option<String> {
    for (node, other) in [(nodes.0, shapes.1), (nodes.1, shapes.0)] {
        let ExprNode::Literal(literal, _) = node else { continue };
        if other.span {
            return as_duration(literal);
        }
        if other.time && literal.is_string() {
            return Some(
                "write a time such as `'2026-01-01T12:00:00Z'`, or compare the time of day, as in \
                 `event.time in '22:00-07:00'`"
                    .to_owned(),
            );
        }
        let bare = match literal {
            Value::String(text) if text.parse::<f64>().is_ok() => other.number.is_some(),
            Value::String(text) if matches!(text.as_str(), "true" | "false") => {
                other.truth != [false; 2]
            }
            _ => false,
        };
        match literal {
            Value::String(text) if bare => return Some(format!("write `{text}` without quotes")),
            Value::Number(_) | Value::Bool(_) if other.text.is_some() => {
                return Some(format!("write `'{literal}'`"));
            }
            _ => {}
        }
    }
    None
}
