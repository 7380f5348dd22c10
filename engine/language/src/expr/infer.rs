//! Walks an expression before there is an event: what each part may be, and what is wrong with it.
//!
//! Every node is visited once, with the types of events that may be there: the right side of
//! `event.type == 'a' && …` is seen by events of type `a` alone. Where no event can be, nothing
//! is told.

mod calls;
mod compare;
mod paths;
mod sorts;

pub use paths::Declared;
pub(super) use paths::declared;

use super::function::Function;
use super::node::{Binary, Field, Node};
use super::type_env::{Arrivals, Checked, Finding, Known, common, union};
use super::value_type::{Bounds, Shape};
use crate::diagnostic::Rule;
use kernel::event::Priority;
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

pub(super) fn check(node: &Node, text: &str, known: &Known) -> Checked {
    let mut infer = Infer { known, text, findings: Vec::new() };
    let here = known.here.clone();
    let seen = infer.see(node, &here);
    let fails = union(&seen.fails, &seen.nulls);
    Checked { shape: seen.shape, findings: infer.findings, holds: seen.holds, fails }
}

struct Infer<'k> {
    known: &'k Known,
    /// The expression's.
    text: &'k str,
    findings: Vec<Finding>,
}

/// What a part may be, and for which types of events it may be true, false or neither.
struct Seen {
    shape: Shape,
    holds: Arrivals,
    fails: Arrivals,
    nulls: Arrivals,
}

impl Seen {
    /// A value that does not depend on the type of the event.
    fn of(shape: Shape, here: &Arrivals) -> Seen {
        let part = |may_be: bool| if may_be { here.clone() } else { Arc::default() };
        let is_other = shape.is_any() || shape.has_value() && !shape.is_truth();
        Seen {
            holds: part(shape.may_hold()),
            fails: part(shape.is_any() || shape.truth[0]),
            nulls: part(shape.null || is_other),
            shape,
        }
    }

    /// A condition.
    fn condition(holds: Arrivals, fails: Arrivals, nulls: Arrivals) -> Seen {
        let shape = Shape {
            truth: [!fails.is_empty(), !holds.is_empty()],
            null: !nulls.is_empty(),
            ..Shape::never()
        };
        Seen { shape, holds, fails, nulls }
    }
}

impl Infer<'_> {
    /// Something wrong that events of `here` would meet.
    fn report(
        &mut self,
        here: &Arrivals,
        rule: Rule,
        span: Range<usize>,
        message: String,
        label: &str,
    ) -> Option<&mut Finding> {
        if here.is_empty() {
            return None;
        }
        let label = label.to_owned();
        self.findings.push(Finding { rule, span, message, label, help: None, origin: None });
        self.findings.last_mut()
    }

    /// The part's text.
    fn shown(&self, node: &Node) -> &str {
        self.text.get(node.span()).unwrap_or_default()
    }

    fn see(&mut self, node: &Node, here: &Arrivals) -> Seen {
        match node {
            Node::Literal(value, _) => Seen::of(Shape::of_value(value), here),
            Node::Field(field, _) => Seen::of(self.field(*field, here), here),
            Node::Path(root, steps, span) => {
                Seen::of(self.path(*root, steps, span.clone(), here), here)
            }
            Node::Index(parts) => {
                let (base, index) = (self.see(&parts[0], here), self.see(&parts[1], here));
                let is_plain = !base.shape.is_any() && base.shape.has_value();
                if is_plain && base.shape.map.is_none() && base.shape.list.is_none() {
                    let shown = self.shown(&parts[0]);
                    let message = format!(
                        "`{shown}` is {} and has no parts",
                        base.shape.told_in_a_sentence()
                    );
                    let help = format!("write `{shown}` alone, or give it to a function");
                    let (span, label) = (node.span(), "always null");
                    if let Some(it) = self.report(here, Rule::NeverCompare, span, message, label) {
                        it.help = Some(help);
                    }
                }
                let item = base.shape.item().filter(|_| index.shape.number.is_some());
                Seen::of(item.unwrap_or_else(Shape::any), here)
            }
            Node::Not(inner) => {
                let seen = self.see(inner, here);
                self.expect_condition(inner, &seen.shape, here);
                match seen.shape.is_any() {
                    true => Seen::of(Shape::any(), here),
                    false => Seen::condition(seen.fails, seen.holds, seen.nulls),
                }
            }
            Node::Negate(inner) => {
                let seen = self.see(inner, here).shape;
                let has_sign = seen.is_any() || seen.number.is_some() || seen.span;
                if seen.has_value() && !has_sign {
                    let message =
                        format!("`{}` is {}", self.shown(inner), seen.told_in_a_sentence());
                    let label = "has no opposite, so this is always null";
                    self.report(here, Rule::NeverCompare, node.span(), message, label);
                }
                let number = seen.number.map(|_| Bounds::ALL);
                let shape = Shape { number, span: seen.span, null: true, ..Shape::never() };
                let is_known = has_sign && !seen.is_any();
                Seen::of(if is_known { shape } else { Shape::any() }, here)
            }
            Node::Compare(operator, parts) => self.compare(*operator, &parts[0], &parts[1], here),
            Node::Run(first, rest) => self.run(first, rest, here),
            Node::Choice(parts) => self.choice(parts, here),
            Node::List(items) => {
                let items = items.iter().map(|it| self.see(it, here).shape);
                Seen::of(Shape::list(items.fold(Shape::never(), Shape::or)).or_null(), here)
            }
            Node::Map(entries) => Seen::of(self.map(entries, here), here),
            Node::Call(function, arguments, span) => {
                self.call(function, arguments, span.clone(), here)
            }
        }
    }

    fn field(&self, field: Field, here: &Arrivals) -> Shape {
        match field {
            Field::Kind if here.iter().all(|it| !it.kind.contains('*')) => {
                Shape::one_of(here.iter().map(|it| &*it.kind))
            }
            Field::Kind | Field::Id | Field::Key | Field::Source | Field::Subject => Shape::text(),
            Field::Seq => Shape::number().or_null(),
            Field::Generation => Shape::number(),
            Field::Time | Field::Received => Shape::time(),
            Field::Priority => Shape::one_of(Priority::ALL.map(Priority::word)),
            Field::CorrelationId | Field::ParentId => Shape::text().or_null(),
            Field::Lifecycle | Field::Attempt => Shape::any(),
        }
    }

    fn map(&mut self, entries: &[(Node, Node)], here: &Arrivals) -> Shape {
        let mut fields = Vec::new();
        let mut is_open = false;
        for (key, value) in entries {
            let shape = self.see(value, here).shape;
            match key {
                Node::Literal(Value::String(name), _) => fields.push((name.clone(), shape)),
                key => {
                    self.see(key, here);
                    is_open = true;
                }
            }
        }
        if is_open { Shape::open_map().or_null() } else { Shape::map(fields).or_null() }
    }

    fn choice(&mut self, parts: &[Node; 3], here: &Arrivals) -> Seen {
        let condition = self.see(&parts[0], here);
        self.expect_condition(&parts[0], &condition.shape, here);
        let otherwise = union(&condition.fails, &condition.nulls);
        let yes = self.see(&parts[1], &condition.holds);
        let no = self.see(&parts[2], &otherwise);
        let shape = match (condition.holds.is_empty(), otherwise.is_empty()) {
            (true, false) => no.shape,
            (false, true) => yes.shape,
            _ => yes.shape.or(no.shape),
        };
        Seen {
            shape,
            holds: union(&yes.holds, &no.holds),
            fails: union(&yes.fails, &no.fails),
            nulls: union(&yes.nulls, &no.nulls),
        }
    }

    /// Operators that bind alike, from the left.
    fn run(&mut self, first: &Node, rest: &[(Binary, Node)], here: &Arrivals) -> Seen {
        let mut seen = self.see(first, here);
        let mut left = first.span();
        for (index, (operator, right)) in rest.iter().enumerate() {
            let span = left.start..right.span().end;
            seen = match operator {
                Binary::And | Binary::Or => {
                    if index == 0 {
                        self.expect_condition(first, &seen.shape, here);
                    }
                    self.logic(*operator == Binary::And, seen, right, here)
                }
                Binary::Coalesce => {
                    let behind = self.see(right, &seen.nulls);
                    let shape = Shape { null: false, ..seen.shape.clone() };
                    let shape = match seen.shape.null {
                        true if seen.shape.is_any() => Shape::any(),
                        true => shape.or(behind.shape),
                        false => shape,
                    };
                    // What is no condition counts as null in a condition, and stays what it is.
                    Seen {
                        holds: union(&seen.holds, &behind.holds),
                        fails: union(&seen.fails, &behind.fails),
                        nulls: if shape.is_truth() { behind.nulls } else { seen.nulls },
                        shape,
                    }
                }
                _ => {
                    let other = self.see(right, here).shape;
                    let made = sorts::made(*operator, &seen.shape, &other);
                    let has_both = seen.shape.has_value() && other.has_value();
                    if has_both && !made.has_value() {
                        let message = sorts::makes_nothing(*operator, &seen.shape, &other);
                        let (span, label) = (span.clone(), "always null");
                        self.report(here, Rule::NeverCompare, span, message, label);
                    }
                    // What is null for a reason that was told says nothing more.
                    let made = if made.has_value() { made } else { Shape::any() };
                    Seen::of(made, here)
                }
            };
            left = span;
        }
        seen
    }

    /// `&&` and `||`: the right side is seen by what the left side leaves open.
    fn logic(&mut self, is_and: bool, left: Seen, right: &Node, here: &Arrivals) -> Seen {
        let open = if is_and { &left.holds } else { &left.fails };
        let open = union(open, &left.nulls);
        let seen = self.see(right, &open);
        self.expect_condition(right, &seen.shape, here);
        let nulls = union(&left.nulls, &seen.nulls);
        match is_and {
            true => Seen::condition(
                common(&seen.holds, &left.holds),
                union(&left.fails, &seen.fails),
                nulls,
            ),
            false => Seen::condition(
                union(&left.holds, &seen.holds),
                common(&seen.fails, &left.fails),
                nulls,
            ),
        }
    }

    /// Something that is neither true nor false where a condition stands.
    fn expect_condition(&mut self, node: &Node, shape: &Shape, here: &Arrivals) {
        if let Some(finding) = no_condition(shape, self.shown(node)) {
            let (message, help) = finding;
            let label = "never true, never false";
            if let Some(it) = self.report(here, Rule::NeverCompare, node.span(), message, label) {
                it.help = Some(help);
            }
        }
    }
}

/// What is wrong with a shape that can be neither true nor false, where a condition stands.
pub(super) fn no_condition(shape: &Shape, shown: &str) -> Option<(String, String)> {
    let is_one = shape.is_any() || shape.truth != [false; 2] || !shape.has_value();
    (!is_one).then(|| {
        let message = format!("`{shown}` is {}, no condition", shape.told_in_a_sentence());
        (message, format!("compare it, such as `{shown} != null`"))
    })
}

/// The name of a function.
fn name_of(function: &Function) -> &'static str {
    match function {
        Function::Plain(row) => row.name,
        Function::Matches(_) => "matches",
        Function::Capture(_) => "regex_capture",
    }
}

#[cfg(test)]
mod tests;
