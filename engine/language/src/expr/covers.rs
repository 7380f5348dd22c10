//! Whether a condition holds only where one of others does, as far as their texts tell.

use super::exclude::{Asked, PARTS_MAX, alternatives, asked, equals, parts, same};
use super::function::Function;
use super::node::{Binary, ExprNode};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A condition without `||` and `&&`, and the question that it asks about one value.
struct CoverPart<'n> {
    node: &'n ExprNode,
    asked: Option<(&'n ExprNode, Asked<'n>)>,
}

/// Those of the others of which one holds wherever this one does. `None` where that cannot be told.
pub(super) fn covered_by(one: &ExprNode, others: &[&ExprNode]) -> Option<BTreeSet<usize>> {
    let alternatives = alternatives(one);
    if PARTS_MAX < alternatives.len() || PARTS_MAX < others.len() {
        return None;
    }
    let conditions: Vec<Vec<Vec<CoverPart<'_>>>> = others.iter().map(|it| split(it)).collect();
    let (mut found, mut left) = (BTreeSet::new(), PARTS_MAX);
    for alternative in alternatives {
        let own = parts(alternative).into_iter().map(part).collect();
        holders(own, &conditions, &mut left, &mut found)?;
    }
    Some(found)
}

fn split(node: &ExprNode) -> Vec<Vec<CoverPart<'_>>> {
    let alternatives = alternatives(node).into_iter().take(PARTS_MAX);
    alternatives.map(|alternative| parts(alternative).into_iter().map(part).collect()).collect()
}

fn part(node: &ExprNode) -> CoverPart<'_> {
    CoverPart { node, asked: asked(node) }
}

/// Notes which of the conditions holds where all these parts hold. Where none does for all values
/// of an `in`, each value may have its own.
fn holders<'n>(
    own: Vec<CoverPart<'n>>,
    conditions: &[Vec<Vec<CoverPart<'_>>>],
    left: &mut usize,
    found: &mut BTreeSet<usize>,
) -> Option<()> {
    let holds = |other: &Vec<CoverPart<'_>>| {
        other.iter().all(|other| own.iter().any(|it| implies(it, other)))
    };
    if let Some(holder) = conditions.iter().position(|condition| condition.iter().any(holds)) {
        found.insert(holder);
        return Some(());
    }
    let (at, values) = own.iter().enumerate().find_map(|(at, it)| match &it.asked {
        Some((_, Asked::In(values))) if 1 < values.len() => Some((at, values.clone())),
        _ => None,
    })?;
    for value in values {
        *left = left.checked_sub(1)?;
        let narrowed = own.iter().enumerate().map(|(index, it)| CoverPart {
            node: it.node,
            asked: match &it.asked {
                Some((subject, _)) if index == at => Some((*subject, Asked::In(vec![value]))),
                asked => asked.clone(),
            },
        });
        holders(narrowed.collect(), conditions, left, found)?;
    }
    Some(())
}

/// Whether the second holds wherever the first does.
fn implies(one: &CoverPart<'_>, other: &CoverPart<'_>) -> bool {
    if same(one.node, other.node) || is_longer(one.node, other.node) {
        return true;
    }
    match (&one.asked, &other.asked) {
        (Some((a, asks_a)), Some((b, asks_b))) => same(a, b) && is_within(asks_a, asks_b),
        _ => false,
    }
}

/// Whether every value that answers the first also answers the second.
fn is_within(one: &Asked<'_>, other: &Asked<'_>) -> bool {
    let has = |all: &[&Value], it: &Value| all.iter().any(|listed| equals(listed, it));
    match (one, other) {
        (Asked::In(a), Asked::In(b)) => a.iter().all(|it| has(b, it)),
        (Asked::In(a), Asked::NotIn(b)) => !a.iter().any(|it| has(b, it)),
        (Asked::NotIn(a), Asked::NotIn(b)) => b.iter().all(|it| has(a, it)),
        (Asked::In(a), Asked::Order(order, bound)) => a.iter().all(|it| fits(it, *order, *bound)),
        // Only numbers have an order to a number.
        (Asked::Order(order, bound), Asked::NotIn(b)) => {
            !b.iter().any(|it| fits(it, *order, *bound))
        }
        (Asked::Order(a, x), Asked::Order(b, y)) => is_tighter((*a, *x), (*b, *y)),
        (Asked::NotIn(_) | Asked::Order(..), _) => false,
    }
}

fn fits(value: &Value, order: Binary, bound: f64) -> bool {
    let found = value.as_f64().and_then(|number| number.partial_cmp(&bound));
    match order {
        Binary::Less => found == Some(Ordering::Less),
        Binary::LessEqual => matches!(found, Some(Ordering::Less | Ordering::Equal)),
        Binary::Greater => found == Some(Ordering::Greater),
        Binary::GreaterEqual => matches!(found, Some(Ordering::Greater | Ordering::Equal)),
        _ => false,
    }
}

fn is_tighter((a, x): (Binary, f64), (b, y): (Binary, f64)) -> bool {
    let has_bound = |it| matches!(it, Binary::LessEqual | Binary::GreaterEqual);
    let is_below = |it| matches!(it, Binary::Less | Binary::LessEqual);
    let is_inside = if is_below(a) { x < y } else { y < x };
    is_below(a) == is_below(b) && (is_inside || x == y && (has_bound(b) || !has_bound(a)))
}

/// `starts_with(x, 'ab')` after `starts_with(x, 'a')`.
fn is_longer(one: &ExprNode, other: &ExprNode) -> bool {
    let (ExprNode::Call(Function::Plain(a), one, _), ExprNode::Call(Function::Plain(b), other, _)) =
        (one, other)
    else {
        return false;
    };
    let ([x, long], [y, short]) = (&one[..], &other[..]) else { return false };
    let (ExprNode::Literal(Value::String(long), _), ExprNode::Literal(Value::String(short), _)) =
        (long, short)
    else {
        return false;
    };
    let has = match a.name {
        "starts_with" => long.starts_with(short),
        "ends_with" => long.ends_with(short),
        _ => false,
    };
    has && a.name == b.name && same(x, y)
}

#[cfg(test)]
mod tests {
    use crate::expr::{Expr, Roots};

    /// Whether the last of the conditions has an event of its own.
    #[track_caller]
    fn check(earlier: &[&str], later: &str, expected: &[usize]) {
        let parsed = |text: &str| Expr::parse(text, Roots::EVENT).expect("it parses");
        let earlier: Vec<Expr> = earlier.iter().map(|it| parsed(it)).collect();
        let others: Vec<&Expr> = earlier.iter().collect();
        let found = parsed(later).covered_by(&others).unwrap_or_default();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{later}");
    }

    #[test]
    fn a_condition_inside_of_another_is_covered() {
        check(&["data.n > 10"], "data.n > 20", &[0]);
        check(&["data.n > 10"], "20 < data.n", &[0]);
        check(&["data.n >= 10"], "data.n == 12", &[0]);
        check(&["data.n >= 10"], "data.n in [10, 11]", &[0]);
        check(&["data.n < 10"], "data.n <= 5 && data.m > 1", &[0]);
        check(&["data.n != null"], "data.n > 3", &[0]);
        check(&["data.n != 3"], "data.n > 3", &[0]);
        check(&["data.a in ['x', 'y']"], "data.a in ['y']", &[0]);
        check(&["data.a in ['x', 'y']"], "data.a == 'x'", &[0]);
        check(&["data.a == 'x' || data.b == 'y'"], "data.a == 'x'", &[0]);
        check(&["data.a == 'x' || data.a == 'y'"], "data.a in ['y', 'x']", &[0]);
        check(&["data.a != 'x'"], "data.a not in ['x', 'y']", &[0]);
        check(&["data.a != 'x'"], "data.a == 'y'", &[0]);
        check(&["data.a"], "data.a && data.b", &[0]);
        check(&["data.a"], "data.a == true", &[0]);
        check(&["starts_with(data.a, 'x')"], "starts_with(data.a, 'xy')", &[0]);
        check(&["data.n > 5", "data.n < 9"], "data.n < 7", &[1]);
    }

    #[test]
    fn several_earlier_conditions_cover_together() {
        check(&["data.a == 'x'", "data.a == 'y'"], "data.a in ['x', 'y']", &[0, 1]);
        check(&["data.a == 'x'", "data.n > 3"], "data.a == 'x' || data.n > 5", &[0, 1]);
        check(&["data.a == 'x'", "data.a == 'y'"], "data.a in ['x', 'z']", &[]);
    }

    #[test]
    fn what_takes_something_of_its_own_is_not_covered() {
        check(&["data.n > 20"], "data.n > 10", &[]);
        check(&["data.n > 10"], "data.n >= 10", &[]);
        check(&["data.n > 10"], "data.n < 20", &[]);
        check(&["data.n > 10"], "data.m > 20", &[]);
        check(&["data.n > 10 && data.m > 1"], "data.n > 20", &[]);
        check(&["data.a in ['x']"], "data.a in ['x', 'y']", &[]);
        check(&["data.a != 'x'"], "data.a != 'y'", &[]);
        check(&["data.n > 10"], "data.n != null", &[]);
        check(&["starts_with(data.a, 'xy')"], "starts_with(data.a, 'x')", &[]);
        check(&["starts_with(data.a, 'x')"], "ends_with(data.a, 'xy')", &[]);
        check(&[], "data.a", &[]);
    }
}
