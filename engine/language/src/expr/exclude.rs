//! Whether two conditions can both hold for one event, as far as their texts tell.

use super::node::{Binary, ExprNode, Field, Step};
use serde_json::Value;
use std::cmp::Ordering;

/// Conditions with more parts than this are not compared part by part.
pub(super) const PARTS_MAX: usize = 64;

/// Whether the two never hold together. `false` where that cannot be told.
pub(super) fn excludes(one: &ExprNode, other: &ExprNode) -> bool {
    let (a, b) = (alternatives(one), alternatives(other));
    a.len() * b.len() <= PARTS_MAX
        && a.iter().all(|a| {
            b.iter().all(|b| parts(a).iter().any(|a| parts(b).iter().any(|b| never_both(a, b))))
        })
}

/// Whether each alternative has two parts that never hold together.
pub(super) fn never_holds(node: &ExprNode) -> bool {
    let all = alternatives(node);
    all.len() <= PARTS_MAX
        && all.iter().all(|it| {
            let parts = parts(it);
            parts.len() <= PARTS_MAX
                && parts
                    .iter()
                    .enumerate()
                    .any(|(at, one)| parts[..at].iter().any(|other| never_both(one, other)))
        })
}

/// Whether one of the two always holds: a value is never both of two others.
pub(super) fn always_either(one: &ExprNode, other: &ExprNode) -> bool {
    match (asked(one), asked(other)) {
        (Some((a, Asked::NotIn(these))), Some((b, Asked::NotIn(those)))) => {
            reads_same(a, b) && !these.iter().any(|a| those.iter().any(|b| equals(a, b)))
        }
        _ => false,
    }
}

/// The same value, also where it is a priority: every word is a level in any case.
fn reads_same(one: &ExprNode, other: &ExprNode) -> bool {
    let is_field = |a: &ExprNode, b: &ExprNode| matches!((a, b), (ExprNode::Field(a, _), ExprNode::Field(b, _)) if a == b);
    same(one, other) || is_field(one, other)
}

/// What `||` joins: one of them holds where the whole does.
pub(super) fn alternatives(node: &ExprNode) -> Vec<&ExprNode> {
    joined(node, Binary::Or)
}

/// What `&&` joins: all of them hold where the whole does.
pub(super) fn parts(node: &ExprNode) -> Vec<&ExprNode> {
    joined(node, Binary::And)
}

fn joined(node: &ExprNode, by: Binary) -> Vec<&ExprNode> {
    match node {
        ExprNode::Run(first, rest) if rest.iter().all(|it| it.0 == by) => {
            let rest = rest.iter().flat_map(|it| joined(&it.1, by));
            joined(first, by).into_iter().chain(rest).collect()
        }
        node => vec![node],
    }
}

/// A question about one value.
#[derive(Clone)]
pub(super) enum Asked<'n> {
    /// It is among these.
    In(Vec<&'n Value>),
    /// It is not among these.
    NotIn(Vec<&'n Value>),
    /// It is in this order to a number.
    Order(Binary, f64),
}

fn never_both(one: &ExprNode, other: &ExprNode) -> bool {
    let opposite = |a: &ExprNode, b: &ExprNode| matches!(a, ExprNode::Not(inner) if same(inner, b));
    if opposite(one, other) || opposite(other, one) {
        return true;
    }
    match (asked(one), asked(other)) {
        (Some((a, asks_a)), Some((b, asks_b))) => same(a, b) && contradict(&asks_a, &asks_b),
        _ => false,
    }
}

pub(super) fn asked(node: &ExprNode) -> Option<(&ExprNode, Asked<'_>)> {
    const TRUE: &Value = &Value::Bool(true);
    const FALSE: &Value = &Value::Bool(false);
    let ExprNode::Compare(operator, sides) = node else {
        return match node {
            ExprNode::Not(inner) if is_value(inner) => Some((inner, Asked::In(vec![FALSE]))),
            node if is_value(node) => Some((node, Asked::In(vec![TRUE]))),
            _ => None,
        };
    };
    let (left, right) = (&sides[0], &sides[1]);
    match operator {
        Binary::In => Some((left, Asked::In(listed(right)?))),
        Binary::NotIn => Some((left, Asked::NotIn(listed(right)?))),
        operator => {
            let (subject, value, is_turned) = match (literal(left), literal(right)) {
                (None, Some(value)) => (left, value, false),
                (Some(value), None) => (right, value, true),
                _ => return None,
            };
            let asks = match operator {
                Binary::Equal => Asked::In(vec![value]),
                Binary::Unequal => Asked::NotIn(vec![value]),
                operator => Asked::Order(turned(*operator, is_turned), value.as_f64()?),
            };
            Some((subject, asks))
        }
    }
}

fn literal(node: &ExprNode) -> Option<&Value> {
    match node {
        ExprNode::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn listed(node: &ExprNode) -> Option<Vec<&Value>> {
    match node {
        ExprNode::Literal(Value::Array(items), _) => Some(items.iter().collect()),
        ExprNode::List(items) => items.iter().map(literal).collect(),
        _ => None,
    }
}

fn turned(operator: Binary, is_turned: bool) -> Binary {
    match operator {
        Binary::Less if is_turned => Binary::Greater,
        Binary::LessEqual if is_turned => Binary::GreaterEqual,
        Binary::Greater if is_turned => Binary::Less,
        Binary::GreaterEqual if is_turned => Binary::LessEqual,
        operator => operator,
    }
}

fn contradict(one: &Asked<'_>, other: &Asked<'_>) -> bool {
    match (one, other) {
        (Asked::In(a), Asked::In(b)) => !a.iter().any(|a| b.iter().any(|b| equals(a, b))),
        (Asked::In(a), Asked::NotIn(b)) | (Asked::NotIn(b), Asked::In(a)) => {
            a.iter().all(|a| b.iter().any(|b| equals(a, b)))
        }
        (Asked::NotIn(_), _) | (_, Asked::NotIn(_)) => false,
        (Asked::In(values), Asked::Order(operator, bound))
        | (Asked::Order(operator, bound), Asked::In(values)) => values
            .iter()
            .all(|value| value.as_f64().is_none_or(|number| !fits(number, *operator, *bound))),
        (Asked::Order(a, x), Asked::Order(b, y)) => apart((*a, *x), (*b, *y)),
    }
}

pub(super) fn equals(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

fn fits(value: f64, operator: Binary, bound: f64) -> bool {
    match (value.partial_cmp(&bound), operator) {
        (Some(Ordering::Less), Binary::Less | Binary::LessEqual)
        | (Some(Ordering::Greater), Binary::Greater | Binary::GreaterEqual)
        | (Some(Ordering::Equal), Binary::LessEqual | Binary::GreaterEqual) => true,
        (order, _) => order.is_none(),
    }
}

/// Whether no number is in both orders.
fn apart((a, x): (Binary, f64), (b, y): (Binary, f64)) -> bool {
    let is_below = |it| matches!(it, Binary::Less | Binary::LessEqual);
    let ((below, most), (above, least)) = match (is_below(a), is_below(b)) {
        (true, false) => ((a, x), (b, y)),
        (false, true) => ((b, y), (a, x)),
        _ => return false,
    };
    let touches = below == Binary::LessEqual && above == Binary::GreaterEqual;
    most < least || most == least && !touches
}

fn is_value(node: &ExprNode) -> bool {
    matches!(node, ExprNode::Path(..) | ExprNode::Field(..))
}

/// Whether two parts read the same value. What is not a plain path may come out differently.
pub(super) fn same(one: &ExprNode, other: &ExprNode) -> bool {
    let is_same = |a: &[Step], b: &[Step]| a == b;
    match (one, other) {
        (ExprNode::Path(a, steps, _), ExprNode::Path(b, others, _)) => {
            a == b && is_same(steps, others)
        }
        // Words of priorities are levels in any case; typing compares those.
        (ExprNode::Field(a, _), ExprNode::Field(b, _)) => a == b && *a != Field::Priority,
        (ExprNode::Literal(a, _), ExprNode::Literal(b, _)) => a == b,
        (ExprNode::Not(a), ExprNode::Not(b)) => same(a, b),
        (ExprNode::Compare(a, x), ExprNode::Compare(b, y)) => {
            a == b && same(&x[0], &y[0]) && same(&x[1], &y[1])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::{Expr, Roots};

    #[track_caller]
    fn check(one: &str, other: &str, expected: bool) {
        let parsed = |text: &str| Expr::parse(text, Roots::EVENT).expect("it parses");
        assert_eq!(parsed(one).excludes(&parsed(other)), expected, "{one} / {other}");
        assert_eq!(parsed(other).excludes(&parsed(one)), expected, "{other} / {one}");
    }

    #[test]
    fn a_condition_whose_parts_exclude_each_other_never_holds() {
        let never = |text: &str| Expr::parse(text, Roots::EVENT).expect("it parses").never_holds();
        assert!(never("data.n > 10 && data.n < 5"));
        assert!(never("data.a == 'x' && data.b && data.a == 'y'"));
        assert!(never("data.n > 10 && data.n < 5 || data.a && !data.a"));
        assert!(!never("data.n > 5 && data.n < 10"));
        assert!(!never("data.n > 10 && data.n < 5 || data.a"));
        assert!(!never("data.a"));
    }

    #[test]
    fn conditions_on_one_value_that_contradict_each_other_never_both_hold() {
        check("data.a == 'x'", "data.a == 'y'", true);
        check("data.a == 'x'", "'y' == data.a && data.b == 1", true);
        check("data.a == 'x' || data.a == 'z'", "data.a in ['y', 'w']", true);
        check("data.a == 'x'", "data.a != 'x'", true);
        check("data.a in ['x']", "data.a not in ['x', 'y']", true);
        check("data.a == null", "data.a != null", true);
        check("data.a", "!data.a", true);
        check("data.n > 5", "data.n <= 5", true);
        check("5 < data.n", "data.n < 5", true);
        check("data.n == 3", "data.n >= 4", true);
        check("!(data.a == 'x')", "data.a == 'x'", true);
        check("data.n == 1", "data.n == 1.0", false);
        check("data.n >= 5", "data.n <= 5", false);
        check("data.a == 'x'", "data.b == 'y'", false);
        check("data.a == 'x' || data.b", "data.a == 'y'", false);
        check("data.a != 'x'", "data.a != 'y'", false);
        check("len(data.a) == 1", "len(data.a) == 2", false);
    }
}
