//! What of an expression a store can tell by itself, exactly as evaluation would.

use super::Root;
use super::Scope;
use super::eval::eval;
use super::exclude::{alternatives, parts};
use super::function::Function;
use super::node::{Binary, ExprNode, Field, Step};
use super::value::Val;
use kernel::condition::{
    Comparison, Condition, JsonPlace, JsonTest, NumberField, NumberTest, TextField, TextTest,
};
use kernel::event::Priority;
use kernel::time::Timestamp;
use serde_json::Value;

/// Functions whose result depends on their arguments and the time alone.
const PURE: [&str; 5] = ["now", "time", "duration", "lower", "upper"];

/// What has to hold where the expression is true, and whether nothing else has to.
pub(super) fn condition(node: &ExprNode, scope: &Scope<'_>) -> (Condition, bool) {
    let parts = parts(node);
    let known: Vec<Condition> = parts.iter().filter_map(|it| part(it, scope)).collect();
    let is_whole = known.len() == parts.len() && known.iter().all(Condition::is_exact);
    (Condition::All(known), is_whole)
}

/// Where this is true the condition holds; `None` where nothing is known.
fn part(node: &ExprNode, scope: &Scope<'_>) -> Option<Condition> {
    let all_of = |nodes: Vec<&ExprNode>| -> Option<Vec<_>> {
        nodes.into_iter().map(|node| part(node, scope)).collect()
    };
    match (parts(node), alternatives(node)) {
        (all, _) if 1 < all.len() => Some(Condition::All(all_of(all)?)),
        (_, any) if 1 < any.len() => Some(Condition::Any(all_of(any)?)),
        _ => leaf(node, scope),
    }
}

/// Something that is asked for.
enum StoredPlace {
    Text(TextField),
    Number(NumberField),
    Json(JsonPlace),
}

fn leaf(node: &ExprNode, scope: &Scope<'_>) -> Option<Condition> {
    match node {
        ExprNode::Literal(Value::Bool(true), _) => Some(Condition::Always),
        ExprNode::Literal(..) => Some(Condition::Never),
        ExprNode::Path(..) => match place(node)? {
            StoredPlace::Json(place) => Some(Condition::Json(place, JsonTest::IsBool(true))),
            _ => None,
        },
        ExprNode::Compare(operator, sides) => {
            let [left, right] = &**sides;
            match place(left) {
                Some(place) => compared(place, *operator, &constant(right, scope)?),
                None => {
                    let by = operator.comparison()?.flipped();
                    ordered(place(right)?, by, &constant(left, scope)?)
                }
            }
        }
        ExprNode::Call(Function::Plain(row), arguments, _) if row.name == "starts_with" => {
            let [text, start] = &**arguments else { return None };
            let Val::Text(start) = constant(start, scope)? else { return Some(Condition::Never) };
            starting(place(text)?, start.into_owned())
        }
        _ => None,
    }
}

fn starting(place: StoredPlace, start: String) -> Option<Condition> {
    match place {
        StoredPlace::Text(field) => Some(Condition::Text(field, TextTest::StartsWith(start))),
        StoredPlace::Json(place) if is_plain(&start) => {
            Some(Condition::Json(place, JsonTest::StartsWith(start)))
        }
        _ => None,
    }
}

fn place(node: &ExprNode) -> Option<StoredPlace> {
    match node {
        ExprNode::Field(field, _) => Some(match field {
            Field::Id | Field::Key => StoredPlace::Text(TextField::Id),
            Field::Kind => StoredPlace::Text(TextField::Kind),
            Field::Source => StoredPlace::Text(TextField::Source),
            Field::Subject => StoredPlace::Text(TextField::Subject),
            Field::CorrelationId => StoredPlace::Text(TextField::CorrelationId),
            Field::ParentId => StoredPlace::Text(TextField::ParentId),
            Field::Time => StoredPlace::Number(NumberField::Time),
            Field::Received => StoredPlace::Number(NumberField::Received),
            Field::Priority => StoredPlace::Number(NumberField::Priority),
            Field::Seq => StoredPlace::Number(NumberField::Seq),
            Field::Generation => StoredPlace::Number(NumberField::Generation),
            Field::Lifecycle | Field::Attempt => return None,
        }),
        ExprNode::Path(root @ (Root::Data | Root::Enrich), steps, _) if !steps.is_empty() => {
            let mut path = "$".to_owned();
            for step in steps {
                path += &match step {
                    Step::Name(name) if is_word(name) => format!(".\"{name}\""),
                    Step::Name(_) => return None,
                    Step::Index(index) => format!("[{index}]"),
                };
            }
            Some(StoredPlace::Json(JsonPlace { is_added: *root == Root::Enrich, path }))
        }
        _ => None,
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// SQLite ends a text of JSON at a zero.
fn is_plain(text: &str) -> bool {
    !text.contains('\0')
}

/// The value of what reads nothing of an event.
fn constant(node: &ExprNode, scope: &Scope<'_>) -> Option<Val<'static>> {
    fn is_constant(node: &ExprNode) -> bool {
        let is_own = match node {
            ExprNode::Literal(..) | ExprNode::Negate(_) | ExprNode::List(_) | ExprNode::Run(..) => {
                true
            }
            // With a pattern, a time is of the pipeline's zone.
            ExprNode::Call(Function::Plain(row), arguments, _) => {
                PURE.contains(&row.name) && arguments.len() < 2
            }
            _ => false,
        };
        let mut is_all = is_own;
        node.each_child(&mut |it| is_all &= is_constant(it));
        is_all
    }
    is_constant(node).then(|| eval(node, scope).into_owned())
}

fn compared(place: StoredPlace, operator: Binary, value: &Val<'_>) -> Option<Condition> {
    match operator {
        Binary::In | Binary::NotIn => {
            let items = value.as_json()?.as_array()?;
            among(place, items, operator == Binary::In)
        }
        _ => ordered(place, operator.comparison()?, value),
    }
}

/// What becomes of values that have no order.
fn apart(by: Comparison) -> Condition {
    if by == Comparison::Unequal { Condition::Always } else { Condition::Never }
}

fn ordered(place: StoredPlace, by: Comparison, value: &Val<'_>) -> Option<Condition> {
    match place {
        StoredPlace::Text(field) => ordered_text(field, by, value),
        StoredPlace::Number(field) => ordered_number(field, by, value),
        StoredPlace::Json(place) => {
            let test = match (by, value) {
                (Comparison::Equal, Val::Text(text)) if is_plain(text) => {
                    JsonTest::IsIn(vec![text.to_string()])
                }
                (Comparison::Equal, Val::Bool(wanted)) => JsonTest::IsBool(*wanted),
                (Comparison::Unequal, _) => return None,
                (by, Val::Int(number)) => JsonTest::Is(by, *number as f64),
                (by, Val::Float(number)) => JsonTest::Is(by, *number),
                _ => return None,
            };
            Some(Condition::Json(place, test))
        }
    }
}

fn ordered_text(field: TextField, by: Comparison, value: &Val<'_>) -> Option<Condition> {
    let may_miss = matches!(field, TextField::CorrelationId | TextField::ParentId);
    Some(match (value, by) {
        (Val::Text(text), by) => Condition::Text(field, TextTest::Is(by, text.to_string())),
        // A text may be a time.
        (Val::Time(_), _) => return None,
        (Val::Null, Comparison::Equal) if may_miss => {
            Condition::Text(field, TextTest::IsMissing(true))
        }
        (Val::Null, Comparison::Unequal) if may_miss => {
            Condition::Text(field, TextTest::IsMissing(false))
        }
        (_, by) => apart(by),
    })
}

fn ordered_number(field: NumberField, by: Comparison, value: &Val<'_>) -> Option<Condition> {
    let number = match (field, value) {
        (NumberField::Time | NumberField::Received, Val::Time(time)) => Some(time.0),
        (NumberField::Time | NumberField::Received, Val::Text(text)) => {
            Timestamp::parse(text).map(|it| it.0)
        }
        (NumberField::Time | NumberField::Received, _) => None,
        (NumberField::Priority, Val::Text(text)) => Priority::parse(text).map(|it| it as i64),
        (_, Val::Int(number)) => Some(*number),
        (_, Val::Float(_) | Val::Long(_)) => return None,
        _ => None,
    };
    Some(match number {
        Some(number) => Condition::Number(field, NumberTest::Is(by, number)),
        None => apart(by),
    })
}

fn among(place: StoredPlace, items: &[Value], wanted: bool) -> Option<Condition> {
    match place {
        StoredPlace::Text(field) => {
            let text = |value: &Value| match value {
                Value::Null => Some(None),
                Value::String(text) => Some(Some(text.clone())),
                _ => None,
            };
            let texts = items.iter().filter_map(text).collect();
            Some(Condition::Text(field, TextTest::IsIn(texts, wanted)))
        }
        StoredPlace::Number(field) => {
            let number = |value: &Value| match field {
                NumberField::Time | NumberField::Received => {
                    Some(value.as_str().and_then(Timestamp::parse).map(|it| it.0))
                }
                NumberField::Priority => {
                    Some(value.as_str().and_then(Priority::parse).map(|it| it as i64))
                }
                NumberField::Seq | NumberField::Generation => match Val::from_json(value) {
                    Val::Int(number) => Some(Some(number)),
                    Val::Float(_) | Val::Long(_) => None,
                    _ => Some(None),
                },
            };
            let numbers: Vec<Option<i64>> = items.iter().map(number).collect::<Option<_>>()?;
            let numbers = numbers.into_iter().flatten().collect();
            Some(Condition::Number(field, NumberTest::IsIn(numbers, wanted)))
        }
        StoredPlace::Json(place) if wanted => {
            let text =
                |value: &Value| value.as_str().filter(|text| is_plain(text)).map(str::to_owned);
            let texts = items.iter().map(text).collect::<Option<_>>()?;
            Some(Condition::Json(place, JsonTest::IsIn(texts)))
        }
        StoredPlace::Json(_) => None,
    }
}
