//! Walks an expression before there is an event: what each part may be, and what is wrong with it.
//!
//! Every node is visited once, with the types of events that may be there: the right side of
//! `event.type == 'a' && …` is seen by events of type `a` alone. Where no event can be, nothing
//! is told.

mod calls;
mod compare;
mod items;
mod paths;
mod sorts;

pub use paths::Declared;
pub(super) use paths::declared;

use super::Root;
use super::exclude;
use super::function::Function;
use super::node::{Binary, ExprNode, Field, Step};
use super::type_env::{EventTypes, ExprFinding, TypeEnv, TypedExpr, common, union};
use super::value_type::{Bounds, ValueType};
use crate::diagnostic::Rule;
use kernel::choice::Choice;
use kernel::event::Priority;
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

pub(super) fn check(node: &ExprNode, text: &str, known: &TypeEnv) -> TypedExpr {
    let mut infer = Infer { known, text, variables: Vec::new(), findings: Vec::new() };
    let here = known.here.clone();
    let seen = infer.see(node, &here);
    let fails = union(&seen.fails, &seen.nulls);
    TypedExpr { shape: seen.shape, findings: infer.findings, holds: seen.holds, fails }
}

struct Infer<'k> {
    known: &'k TypeEnv,
    /// The expression's.
    text: &'k str,
    /// What the variables of the macros that are open may be.
    variables: Vec<ValueType>,
    findings: Vec<ExprFinding>,
}

/// What a part may be, and for which types of events it may be true, false or neither.
struct SeenPaths {
    shape: ValueType,
    holds: EventTypes,
    fails: EventTypes,
    nulls: EventTypes,
}

impl SeenPaths {
    /// A value that does not depend on the type of the event.
    fn of(shape: ValueType, here: &EventTypes) -> SeenPaths {
        let part = |may_be: bool| if may_be { here.clone() } else { Arc::default() };
        let is_other = shape.is_any() || shape.has_value() && !shape.is_truth();
        SeenPaths {
            holds: part(shape.may_hold()),
            fails: part(shape.is_any() || shape.truth[0]),
            nulls: part(shape.null || is_other),
            shape,
        }
    }

    /// A condition.
    fn condition(holds: EventTypes, fails: EventTypes, nulls: EventTypes) -> SeenPaths {
        let shape = ValueType {
            truth: [!fails.is_empty(), !holds.is_empty()],
            null: !nulls.is_empty(),
            ..ValueType::never()
        };
        SeenPaths { shape, holds, fails, nulls }
    }
}

impl Infer<'_> {
    /// Something wrong that events of `here` would meet.
    fn report(
        &mut self,
        here: &EventTypes,
        rule: Rule,
        span: Range<usize>,
        message: String,
        label: &str,
    ) -> Option<&mut ExprFinding> {
        if here.is_empty() {
            return None;
        }
        let label = label.to_owned();
        self.findings.push(ExprFinding { rule, span, message, label, help: None, origin: None });
        self.findings.last_mut()
    }

    /// The part's text.
    fn shown(&self, node: &ExprNode) -> &str {
        self.text.get(node.span()).unwrap_or_default()
    }

    fn see(&mut self, node: &ExprNode, here: &EventTypes) -> SeenPaths {
        match node {
            ExprNode::Literal(value, _) => SeenPaths::of(ValueType::of_value(value), here),
            ExprNode::Field(Field::Lifecycle, span) => {
                SeenPaths::of(self.lifecycle(span.clone(), here), here)
            }
            ExprNode::Field(field, _) => SeenPaths::of(self.field(*field, here), here),
            ExprNode::Path(root, steps, span) => {
                SeenPaths::of(self.path(*root, steps, span.clone(), here), here)
            }
            ExprNode::Index(parts) => self.indexed(parts, here),
            ExprNode::Not(inner) => {
                let seen = self.see(inner, here);
                self.expect_condition(inner, &seen.shape, here);
                match seen.shape.is_any() {
                    true => SeenPaths::of(ValueType::any(), here),
                    false => SeenPaths::condition(seen.fails, seen.holds, seen.nulls),
                }
            }
            ExprNode::Negate(inner) => {
                let seen = self.see(inner, here).shape;
                let has_sign = seen.is_any() || seen.number.is_some() || seen.span;
                if seen.has_value() && !has_sign {
                    let message =
                        format!("`{}` is {}", self.shown(inner), seen.told_in_a_sentence());
                    let label = "cannot be negated, so this is always null";
                    self.report(here, Rule::NeverCompare, node.span(), message, label);
                }
                let number = seen.number.map(|_| Bounds::ALL);
                let shape = ValueType { number, span: seen.span, null: true, ..ValueType::never() };
                let is_known = has_sign && !seen.is_any();
                SeenPaths::of(if is_known { shape } else { ValueType::any() }, here)
            }
            ExprNode::Compare(operator, parts) => {
                self.compare(*operator, &parts[0], &parts[1], here)
            }
            ExprNode::Run(first, rest) => self.run(first, rest, here),
            ExprNode::Choice(parts) => self.choice(parts, here),
            ExprNode::List(items) => {
                let items = items.iter().map(|item| self.see(item, here).shape.in_json());
                SeenPaths::of(
                    ValueType::list(items.fold(ValueType::never(), ValueType::or)).or_null(),
                    here,
                )
            }
            ExprNode::Map(entries) => SeenPaths::of(self.map(entries, here), here),
            ExprNode::Call(function, arguments, span) => {
                self.call(function, arguments, span.clone(), here)
            }
            ExprNode::Item(slot, steps, span) => {
                SeenPaths::of(self.item(*slot, steps, span.clone(), here), here)
            }
            ExprNode::Macro(it) => SeenPaths::of(self.macro_call(it, here), here),
        }
    }

    fn indexed(&mut self, parts: &[ExprNode; 2], here: &EventTypes) -> SeenPaths {
        let (base, index) = (self.see(&parts[0], here), self.see(&parts[1], here));
        let is_plain = !base.shape.is_any() && base.shape.has_value();
        if is_plain && base.shape.map.is_none() && base.shape.list.is_none() {
            let shown = self.shown(&parts[0]);
            let message =
                format!("`{shown}` is {} and has no fields", base.shape.told_in_a_sentence());
            let help = format!("write `{shown}` alone, or pass it to a function");
            let (span, label) = (parts[0].span().start..parts[1].span().end, "always null");
            if let Some(it) = self.report(here, Rule::NeverCompare, span, message, label) {
                it.help = Some(help);
            }
        }
        if let ExprNode::Literal(Value::String(name), place) = &parts[1]
            && !base.shape.is_any()
            && base.shape.map.is_some()
        {
            let found = self.named(&base.shape, name, &parts[0], place.clone(), here);
            return SeenPaths::of(found, here);
        }
        let item = base.shape.item().filter(|_| index.shape.number.is_some());
        SeenPaths::of(item.unwrap_or_else(ValueType::any), here)
    }

    fn field(&self, field: Field, here: &EventTypes) -> ValueType {
        match field {
            Field::Kind if here.iter().all(|it| !it.kind.contains('*')) => {
                ValueType::one_of(here.iter().map(|it| &*it.kind))
            }
            Field::Kind | Field::Id | Field::Key | Field::Source | Field::Subject => {
                ValueType::text()
            }
            Field::Seq => ValueType::number().or_null(),
            Field::Generation => ValueType::number(),
            Field::Time | Field::Received => ValueType::time(),
            Field::Priority => ValueType::one_of(Priority::ALL.map(Priority::word)),
            Field::CorrelationId | Field::ParentId => ValueType::text().or_null(),
            Field::Lifecycle | Field::Attempt => ValueType::any(),
        }
    }

    /// Where in a visit an event is: what the filter says that adds it.
    fn lifecycle(&mut self, span: Range<usize>, here: &EventTypes) -> ValueType {
        let Some(name) = self.known.lifecycle.clone() else { return ValueType::any() };
        let steps = [name.to_string(), "phase".to_owned()].map(Step::Name);
        self.path(Root::Enrich, &steps, span, here).or_null()
    }

    fn map(&mut self, entries: &[(ExprNode, ExprNode)], here: &EventTypes) -> ValueType {
        let mut fields = Vec::new();
        let mut is_open = false;
        for (key, value) in entries {
            let shape = self.see(value, here).shape.in_json();
            match key {
                ExprNode::Literal(Value::String(name), _) => fields.push((name.clone(), shape)),
                key => {
                    self.see(key, here);
                    is_open = true;
                }
            }
        }
        if is_open { ValueType::open_map().or_null() } else { ValueType::map(fields).or_null() }
    }

    fn choice(&mut self, parts: &[ExprNode; 3], here: &EventTypes) -> SeenPaths {
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
        SeenPaths {
            shape,
            holds: union(&yes.holds, &no.holds),
            fails: union(&yes.fails, &no.fails),
            nulls: union(&yes.nulls, &no.nulls),
        }
    }

    /// Operators that bind alike, from the left.
    fn run(
        &mut self,
        first: &ExprNode,
        rest: &[(Binary, ExprNode)],
        here: &EventTypes,
    ) -> SeenPaths {
        let mut seen = self.see(first, here);
        let mut left = first.span();
        for (index, (operator, right)) in rest.iter().enumerate() {
            let span = left.start..right.span().end;
            seen = match operator {
                Binary::And | Binary::Or => {
                    if index == 0 {
                        self.expect_condition(first, &seen.shape, here);
                    }
                    if *operator == Binary::Or
                        && let Some(unlike) = self.always_either(first, rest, index, here)
                    {
                        left = span;
                        seen = unlike;
                        continue;
                    }
                    let meant = self.meant_list(first, rest, index);
                    self.logic(*operator == Binary::And, seen, (right, meant), here)
                }
                Binary::Coalesce => {
                    let behind = self.see(right, &seen.nulls);
                    let shape = ValueType { null: false, ..seen.shape.clone() };
                    let shape = match seen.shape.null {
                        true if seen.shape.is_any() => ValueType::any(),
                        true => shape.or(behind.shape),
                        false => shape,
                    };
                    // What is no condition counts as null in a condition, and stays what it is.
                    SeenPaths {
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
                        let shown = self.text.get(left.clone()).unwrap_or_default();
                        let sides = [(shown, &seen.shape), (self.shown(right), &other)];
                        let help = sorts::converted(*operator, sides);
                        let (span, label) = (span.clone(), "always null");
                        let is_time = seen.shape.time || seen.shape.span;
                        let help = match right {
                            ExprNode::Literal(literal, _) if is_time => {
                                compare::as_duration(literal).or(help)
                            }
                            _ => help,
                        };
                        if let Some(it) =
                            self.report(here, Rule::NeverCompare, span, message, label)
                        {
                            it.help = help;
                        }
                    }
                    // What is null for a reason that was told says nothing more.
                    let made = if made.has_value() { made } else { ValueType::any() };
                    SeenPaths::of(made, here)
                }
            };
            left = span;
        }
        seen
    }

    /// `event.type != 'a' || event.type != 'b'`: no event is both, so that one of them holds.
    fn always_either(
        &mut self,
        first: &ExprNode,
        rest: &[(Binary, ExprNode)],
        index: usize,
        here: &EventTypes,
    ) -> Option<SeenPaths> {
        let right = &rest[index].1;
        let mut before = [first].into_iter().chain(rest[..index].iter().map(|part| &part.1));
        let other = before.find(|it| exclude::always_either(it, right))?;
        let span = other.span().start..right.span().end;
        let help = match self.meant_list(first, rest, index) {
            Some(list) => format!("`&&` means and; {list}"),
            None => "`&&` means and".to_owned(),
        };
        let message = "one of these is always true".to_owned();
        let label = "no value equals both";
        if let Some(it) = self.report(here, Rule::AlwaysSame, span, message, label) {
            it.help = Some(help);
        }
        Some(SeenPaths::of(ValueType::bool(), here))
    }

    /// `&&` and `||`: the right side is seen by what the left side leaves open.
    fn logic(
        &mut self,
        is_and: bool,
        left: SeenPaths,
        (right, meant): (&ExprNode, Option<String>),
        here: &EventTypes,
    ) -> SeenPaths {
        let open = if is_and { &left.holds } else { &left.fails };
        let open = union(open, &left.nulls);
        let seen = self.see(right, &open);
        let meant = meant.filter(|_| matches!(right, ExprNode::Literal(..)));
        self.expect_compared(right, &seen.shape, here, meant);
        let nulls = union(&left.nulls, &seen.nulls);
        match is_and {
            true => SeenPaths::condition(
                common(&seen.holds, &left.holds),
                union(&left.fails, &seen.fails),
                nulls,
            ),
            false => SeenPaths::condition(
                union(&left.holds, &seen.holds),
                common(&seen.fails, &left.fails),
                nulls,
            ),
        }
    }

    /// Something that is neither true nor false where a condition stands.
    fn expect_condition(&mut self, node: &ExprNode, shape: &ValueType, here: &EventTypes) {
        self.expect_compared(node, shape, here, None);
    }

    /// The same with what was probably meant.
    fn expect_compared(
        &mut self,
        node: &ExprNode,
        shape: &ValueType,
        here: &EventTypes,
        meant: Option<String>,
    ) {
        if let Some((message, help)) = no_condition(shape, node, self.shown(node)) {
            let label = "neither true nor false";
            if let Some(it) = self.report(here, Rule::NeverCompare, node.span(), message, label) {
                it.help = Some(meant.unwrap_or(help));
            }
        }
    }

    /// `data.a == 'x' || 'y'`: the literals that were meant to be compared with what the operands
    /// before them are. `at` is the first of them in `rest`.
    fn meant_list(
        &self,
        first: &ExprNode,
        rest: &[(Binary, ExprNode)],
        at: usize,
    ) -> Option<String> {
        let mut values = Vec::new();
        let mut compared: Option<(&str, bool)> = None;
        let before = [first].into_iter().chain(rest[..at].iter().map(|part| &part.1));
        for node in before.collect::<Vec<_>>().into_iter().rev() {
            match node {
                ExprNode::Literal(..) if compared.is_none() => values.push(self.shown(node)),
                ExprNode::Compare(operator @ (Binary::Equal | Binary::Unequal), parts)
                    if matches!(parts[1], ExprNode::Literal(..)) =>
                {
                    let own = (self.shown(&parts[0]), *operator == Binary::Unequal);
                    if *compared.get_or_insert(own) != own {
                        break;
                    }
                    values.push(self.shown(&parts[1]));
                }
                _ => break,
            }
        }
        let (left, negates) = compared?;
        values.reverse();
        let behind = rest[at..].iter().map(|part| &part.1);
        for node in behind {
            match node {
                ExprNode::Literal(..) => values.push(self.shown(node)),
                ExprNode::Compare(Binary::Unequal, parts)
                    if negates && self.shown(&parts[0]) == left =>
                {
                    values.push(self.shown(&parts[1]));
                }
                _ => break,
            }
        }
        // `==` on both sides of `&&` would never hold.
        let is_and = rest[at].0 == Binary::And;
        let word = if negates { "not in" } else { "in" };
        (negates || !is_and).then(|| format!("write `{left} {word} [{}]`", values.join(", ")))
    }
}

/// What is wrong with a shape that can be neither true nor false, where a condition stands.
pub(super) fn no_condition(
    shape: &ValueType,
    node: &ExprNode,
    shown: &str,
) -> Option<(String, String)> {
    let is_one = shape.is_any() || shape.truth != [false; 2] || !shape.has_value();
    (!is_one).then(|| {
        let told = match shape.is_only_text() {
            true => "text".to_owned(),
            false => shape.told_in_a_sentence(),
        };
        let message = format!("`{shown}` is {told}, not a condition");
        (message, to_compare(shape, node, shown))
    })
}

/// How to turn a value that is not a condition into one that differs between events.
fn to_compare(shape: &ValueType, node: &ExprNode, shown: &str) -> String {
    let is_number = ValueType { number: None, null: false, ..shape.clone() } == ValueType::never();
    match node {
        ExprNode::Literal(Value::String(word), _) if matches!(word.as_str(), "true" | "false") => {
            format!("write `{word}` without quotes")
        }
        ExprNode::Literal(..) => {
            format!("compare a value with it, such as `data.value == {shown}`")
        }
        ExprNode::Choice(_) => {
            "give conditions after `?` and `:`, such as `true` and `false`".to_owned()
        }
        _ if shape.is_only_text() => format!("write `{shown} == '…'`"),
        _ if is_number => format!("compare it, such as `{shown} > 0`"),
        _ if shape.null => format!("compare it, such as `{shown} != null`"),
        _ if shape.list.is_some() => format!("compare its length, such as `len({shown}) > 0`"),
        _ => "compare it with another value".to_owned(),
    }
}

/// The name of a function.
fn name_of(function: &Function) -> &'static str {
    match function {
        Function::Plain(row) | Function::Filter(row) => row.name,
        Function::Matches(_) => "matches",
        Function::Capture(_) | Function::Groups(_) => "regex_capture",
        Function::Replace(_) => "regex_replace",
        Function::Within(..) => "in",
        Function::Aggregate(aggregate) => aggregate.word(),
    }
}

#[cfg(test)]
mod tests;
