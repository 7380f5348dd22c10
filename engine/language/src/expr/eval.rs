//! Evaluates the tree straight on the event.

use super::function;
use super::node::{Binary, ExprNode, Field, Step};
use super::value::Val;
use super::{Root, Scope};
use kernel::event::{Event, Priority};
use kernel::time::Timestamp;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The most bytes of text, list or map that an expression makes; beyond it, the result is null.
pub(super) const MADE_MAX: usize = 1 << 20;

pub(super) fn eval<'a>(node: &'a ExprNode, scope: &Scope<'a>) -> Val<'a> {
    match node {
        ExprNode::Literal(value, _) => Val::from_json(value),
        ExprNode::Field(field, _) => {
            scope.event.map_or(Val::Null, |event| event_field(*field, event))
        }
        ExprNode::Path(root, steps, _) => path(*root, steps, scope),
        ExprNode::Index(parts) => indexed(eval(&parts[0], scope), &eval(&parts[1], scope)),
        ExprNode::Not(inner) => match eval(inner, scope) {
            Val::Bool(it) => Val::Bool(!it),
            _ => Val::Null,
        },
        ExprNode::Negate(inner) => match eval(inner, scope) {
            Val::Int(it) => it.checked_neg().map_or(Val::Null, Val::Int),
            Val::Float(it) => Val::Float(-it),
            Val::Long(it) => Val::Long(Cow::Owned(match it.strip_prefix('-') {
                Some(digits) => digits.to_owned(),
                None => format!("-{it}"),
            })),
            Val::Span(it) => it.checked_neg().map_or(Val::Null, Val::Span),
            _ => Val::Null,
        },
        ExprNode::Compare(operator, parts) => compared(*operator, &parts[0], &parts[1], scope),
        ExprNode::Run(first, rest) => run(first, rest, scope),
        ExprNode::Choice(parts) => match eval(&parts[0], scope) {
            Val::Bool(true) => eval(&parts[1], scope),
            _ => eval(&parts[2], scope),
        },
        ExprNode::List(items) => list(items, scope),
        ExprNode::Map(entries) => map(entries, scope),
        ExprNode::Call(function, arguments, _) => function::call(function, arguments, scope),
        ExprNode::Item(slot, steps, _) => {
            scope.loops.items[*slot].map_or(Val::Null, |item| walk(item, steps))
        }
        ExprNode::Macro(it) => function::evaluate(it, scope),
    }
}

fn event_field(field: Field, event: &Event) -> Val<'_> {
    let envelope = &event.envelope;
    let text = |it| Val::Text(Cow::Borrowed(it));
    match field {
        Field::Seq if event.seq == 0 => Val::Null,
        Field::Seq => Val::Int(event.seq as i64),
        Field::Id | Field::Key => text(&*envelope.id),
        Field::Kind => text(&*envelope.kind),
        Field::Source => text(&*envelope.source),
        Field::Subject => text(&*envelope.subject),
        Field::Time => Val::Time(envelope.time),
        Field::Received => Val::Time(envelope.received),
        Field::Priority => text(envelope.priority.word()),
        Field::CorrelationId => envelope.correlation_id.as_deref().map_or(Val::Null, text),
        Field::ParentId => envelope.parent_id.as_deref().map_or(Val::Null, text),
        Field::Generation => Val::Int(event.generation as i64),
        Field::Lifecycle => {
            let visit = event.globals.lifecycle.as_ref().and_then(|name| event.enrich.get(name));
            visit.and_then(|it| it.get("phase")).map_or(Val::Null, Val::from_json)
        }
        Field::Attempt => Val::Null,
    }
}

fn path<'a>(root: Root, steps: &[Step], scope: &Scope<'a>) -> Val<'a> {
    let base = match root {
        Root::Event => None,
        Root::Data => scope.data,
        Root::Raw => scope.raw,
        Root::Enrich => return enriched(steps, scope),
        Root::Param => scope.param,
        Root::Server => scope.server,
        Root::Pipeline => scope.pipeline,
        Root::Http => scope.http,
        Root::File => scope.file,
        Root::Mqtt => scope.mqtt,
        Root::Item => scope.item,
        Root::Body => scope.body,
        Root::Headers => scope.headers,
        Root::Group => scope.group,
        Root::Told => scope.told,
        Root::Update => scope.update,
        Root::Aggregate => scope.aggregated,
        Root::Status if steps.is_empty() => {
            return scope.status.map_or(Val::Null, |status| Val::Int(i64::from(status)));
        }
        Root::Title | Root::Message if steps.is_empty() => {
            let text = if root == Root::Title { scope.title } else { scope.message };
            return text.map_or(Val::Null, |text| Val::Text(Cow::Borrowed(text)));
        }
        Root::Status | Root::Title | Root::Message => None,
    };
    base.map_or(Val::Null, |base| walk(base, steps))
}

/// `enrich` is made of parts, each a value.
fn enriched<'a>(steps: &[Step], scope: &Scope<'a>) -> Val<'a> {
    let Some(additions) = scope.enrich else { return Val::Null };
    match steps.split_first() {
        None => Val::Owned(additions.to_value()),
        Some((Step::Name(name), rest)) => {
            additions.get(name).map_or(Val::Null, |addition| walk(addition, rest))
        }
        Some((Step::Index(_), _)) => Val::Null,
    }
}

fn walk<'a>(base: &'a Value, steps: &[Step]) -> Val<'a> {
    let mut value = base;
    for step in steps {
        let next = match step {
            Step::Name(name) => value.get(name),
            Step::Index(index) => value.get(index),
        };
        let Some(next) = next else { return Val::Null };
        value = next;
    }
    Val::from_json(value)
}

fn indexed<'a>(base: Val<'a>, index: &Val<'_>) -> Val<'a> {
    fn step<'v>(base: &'v Value, index: &Val<'_>) -> Option<&'v Value> {
        match index {
            Val::Text(name) => base.get(name.as_ref()),
            Val::Int(at) => base.get(usize::try_from(*at).ok()?),
            _ => None,
        }
    }
    match base {
        Val::Json(base) => step(base, index).map_or(Val::Null, Val::from_json),
        Val::Owned(base) => step(&base, index).cloned().map_or(Val::Null, Val::from_owned),
        _ => Val::Null,
    }
}

/// Operators that bind alike, from the left.
fn run<'a>(first: &'a ExprNode, rest: &'a [(Binary, ExprNode)], scope: &Scope<'a>) -> Val<'a> {
    let mut value = eval(first, scope);
    for (operator, right) in rest {
        value = match (operator, value) {
            (Binary::And, value) => logic(&value, right, scope, false),
            (Binary::Or, value) => logic(&value, right, scope, true),
            (Binary::Coalesce, Val::Null) => eval(right, scope),
            (Binary::Coalesce, value) => value,
            (Binary::Add, Val::Text(text)) => joined(text, &eval(right, scope)),
            (_, value) => strict(*operator, &value, &eval(right, scope)),
        };
    }
    value
}

fn compared<'a>(
    operator: Binary,
    left: &'a ExprNode,
    right: &'a ExprNode,
    scope: &Scope<'a>,
) -> Val<'a> {
    if left.is_level() || right.is_level() {
        return levels(operator, left, right, scope);
    }
    strict(operator, &eval(left, scope), &eval(right, scope))
}

/// CEL's commutative logic with null for its errors: what decides, decides from either side.
fn logic<'a>(first: &Val<'_>, right: &'a ExprNode, scope: &Scope<'a>, decides: bool) -> Val<'a> {
    if matches!(first, Val::Bool(it) if *it == decides) {
        return Val::Bool(decides);
    }
    match (first, eval(right, scope)) {
        (_, Val::Bool(it)) if it == decides => Val::Bool(decides),
        (Val::Bool(_), Val::Bool(_)) => Val::Bool(!decides),
        _ => Val::Null,
    }
}

fn list<'a>(items: &'a [ExprNode], scope: &Scope<'a>) -> Val<'a> {
    let mut budget = MADE_MAX;
    let mut made = Vec::with_capacity(items.len());
    for item in items {
        let value = eval(item, scope);
        if !affords(&mut budget, &value) {
            return Val::Null;
        }
        made.push(value.into_json());
    }
    Val::Owned(Value::Array(made))
}

fn map<'a>(entries: &'a [(ExprNode, ExprNode)], scope: &Scope<'a>) -> Val<'a> {
    let mut budget = MADE_MAX;
    let mut made = Map::new();
    for (key, value) in entries {
        let (key, value) = (eval(key, scope), eval(value, scope));
        let Val::Text(key) = key else { return Val::Null };
        if !affords(&mut budget, &Val::Text(Cow::Borrowed(&key))) || !affords(&mut budget, &value) {
            return Val::Null;
        }
        made.insert(key.into_owned(), value.into_json());
    }
    Val::Owned(Value::Object(made))
}

/// Takes the size of a value from the budget, before the value is copied.
pub(super) fn affords(budget: &mut usize, value: &Val<'_>) -> bool {
    let rest = match value.as_json() {
        Some(json) => charged(Some(*budget), json),
        None => budget.checked_sub(value.as_str().map_or(16, str::len)),
    };
    *budget = rest.unwrap_or(0);
    rest.is_some()
}

fn charged(budget: Option<usize>, value: &Value) -> Option<usize> {
    let budget = budget?.checked_sub(16)?;
    match value {
        Value::String(text) => budget.checked_sub(text.len()),
        Value::Array(items) => items.iter().try_fold(budget, |left, it| charged(Some(left), it)),
        Value::Object(entries) => entries
            .iter()
            .try_fold(budget, |left, (key, it)| charged(left.checked_sub(key.len()), it)),
        _ => Some(budget),
    }
}

/// Comparisons with `event.priority` compare levels.
fn levels<'a>(
    operator: Binary,
    left: &'a ExprNode,
    right: &'a ExprNode,
    scope: &Scope<'a>,
) -> Val<'a> {
    fn level<'v>(value: Val<'v>) -> Val<'v> {
        match value.as_str().and_then(Priority::parse) {
            Some(level) => Val::Int(level as i64),
            None => value,
        }
    }
    let (left, right) = (eval(left, scope), eval(right, scope));
    if let (Binary::In | Binary::NotIn, Some(list)) = (operator, right.as_json()) {
        let wanted = left.as_str().and_then(Priority::parse);
        let is_wanted = |value: &Value| value.as_str().and_then(Priority::parse) == wanted;
        let found =
            wanted.is_some() && list.as_array().is_some_and(|items| items.iter().any(is_wanted));
        return Val::Bool(found == (operator == Binary::In));
    }
    strict(operator, &level(left), &level(right))
}

fn strict<'a>(operator: Binary, left: &Val<'_>, right: &Val<'_>) -> Val<'a> {
    let ordered = |holds: fn(Ordering) -> bool| match (left, right) {
        (Val::Null, _) | (_, Val::Null) => Val::Null,
        _ => left.compare(right).map_or(Val::Null, |compare| Val::Bool(holds(compare))),
    };
    match operator {
        Binary::Equal => Val::Bool(left.equals(right)),
        Binary::Unequal => Val::Bool(!left.equals(right)),
        Binary::Less => ordered(Ordering::is_lt),
        Binary::LessEqual => ordered(Ordering::is_le),
        Binary::Greater => ordered(Ordering::is_gt),
        Binary::GreaterEqual => ordered(Ordering::is_ge),
        Binary::In => contains(left, right).map_or(Val::Null, Val::Bool),
        Binary::NotIn => contains(left, right).map_or(Val::Null, |it| Val::Bool(!it)),
        Binary::Add => add(left, right),
        Binary::Subtract => subtract(left, right),
        Binary::Multiply => number(left, right, i64::checked_mul, |a, b| a * b),
        Binary::Divide => number(left, right, i64::checked_div, |a, b| a / b),
        Binary::Remainder => number(left, right, i64::checked_rem, |a, b| a % b),
        Binary::And | Binary::Or | Binary::Coalesce => Val::Null,
    }
}

/// Whether a list has the item, or a map the key.
fn contains(item: &Val<'_>, all: &Val<'_>) -> Option<bool> {
    match all.as_json()? {
        Value::Array(items) => Some(items.iter().any(|it| Val::from_json(it).equals(item))),
        Value::Object(entries) => {
            Some(item.as_str().is_some_and(|text| entries.contains_key(text)))
        }
        _ => None,
    }
}

/// The sum of two numbers.
pub(super) fn plus(left: &Val<'_>, right: &Val<'_>) -> Val<'static> {
    number(left, right, i64::checked_add, |a, b| a + b)
}

fn add<'a>(left: &Val<'_>, right: &Val<'_>) -> Val<'a> {
    match (left, right) {
        (Val::Time(a), Val::Span(b)) | (Val::Span(b), Val::Time(a)) => moment(a.0.checked_add(*b)),
        (Val::Span(a), Val::Span(b)) => a.checked_add(*b).map_or(Val::Null, Val::Span),
        (Val::Json(Value::Array(_)) | Val::Owned(Value::Array(_)), _) => {
            match (left.as_json(), right.as_json()) {
                (Some(Value::Array(a)), Some(Value::Array(b)))
                    if a.iter()
                        .chain(b)
                        .try_fold(MADE_MAX, |left, it| charged(Some(left), it))
                        .is_some() =>
                {
                    Val::Owned(Value::Array(a.iter().chain(b).cloned().collect()))
                }
                _ => Val::Null,
            }
        }
        _ => number(left, right, i64::checked_add, |a, b| a + b),
    }
}

/// Text appended in place, so that a long run copies nothing twice.
fn joined<'a>(left: Cow<'a, str>, right: &Val<'_>) -> Val<'a> {
    match right.as_str() {
        Some(right) if left.len() + right.len() <= MADE_MAX => {
            let mut text = left.into_owned();
            text.push_str(right);
            Val::Text(Cow::Owned(text))
        }
        _ => Val::Null,
    }
}

/// A time in the years 1 to 9999, which RFC 3339 can write; else null.
fn moment<'a>(micros: Option<i64>) -> Val<'a> {
    let range = -62_135_596_800_000_000..253_402_300_800_000_000;
    micros
        .filter(|micros| range.contains(micros))
        .map_or(Val::Null, |micros| Val::Time(Timestamp(micros)))
}

fn subtract<'a>(left: &Val<'_>, right: &Val<'_>) -> Val<'a> {
    match (left, right) {
        (Val::Time(a), Val::Time(b)) => a.0.checked_sub(b.0).map_or(Val::Null, Val::Span),
        (Val::Time(a), Val::Span(b)) => moment(a.0.checked_sub(*b)),
        (Val::Span(a), Val::Span(b)) => a.checked_sub(*b).map_or(Val::Null, Val::Span),
        _ => number(left, right, i64::checked_sub, |a, b| a - b),
    }
}

/// Whole numbers stay whole; what overflows or divides by zero is null.
fn number<'a>(
    left: &Val<'_>,
    right: &Val<'_>,
    whole: fn(i64, i64) -> Option<i64>,
    float: fn(f64, f64) -> f64,
) -> Val<'a> {
    match (left, right) {
        (Val::Int(a), Val::Int(b)) => whole(*a, *b).map_or(Val::Null, Val::Int),
        _ => match (left.as_f64(), right.as_f64()) {
            (Some(a), Some(b)) => Val::float(float(a, b)),
            _ => Val::Null,
        },
    }
}
