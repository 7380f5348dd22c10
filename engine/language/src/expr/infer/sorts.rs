//! Two sorts of values: whether they can be compared, and what an operator makes of them.

use super::super::node::Binary;
use super::super::value_type::{Bounds, ValueType, Words};
use kernel::time::Timestamp;
use std::sync::Arc;

/// A shape in the words of its sort alone: of a single word or number, that it is one.
pub(super) fn sort(shape: &ValueType) -> String {
    let wide = ValueType {
        number: shape.number.map(|_| Bounds::ALL),
        text: shape.text.as_ref().map(|_| Words::Any),
        ..shape.clone()
    };
    wide.told_in_a_sentence()
}

/// Whether some value of one can be compared with some value of the other.
pub(super) fn can_compare(a: &ValueType, b: &ValueType, is_equality: bool) -> bool {
    let is_time = |it: &ValueType| match &it.text {
        Some(Words::OneOf(words)) => words.iter().any(|word| Timestamp::parse(word).is_some()),
        Some(Words::Any) => true,
        None => false,
    };
    let both = |has: fn(&ValueType) -> bool| has(a) && has(b);
    a.is_any()
        || b.is_any()
        || both(|it| it.number.is_some())
        || both(|it| it.text.is_some())
        || both(|it| it.truth != [false; 2])
        || both(|it| it.time)
        || both(|it| it.span)
        || (a.time && is_time(b))
        || (b.time && is_time(a))
        || is_equality && (both(|it| it.list.is_some()) || both(|it| it.map.is_some()))
}

/// What a comparison of two values comes to.
pub(super) fn compared(operator: Binary, a: &ValueType, b: &ValueType) -> ValueType {
    if a.is_any() || b.is_any() {
        return ValueType::bool().or_null();
    }
    let truth = match operator {
        Binary::Equal | Binary::Unequal => {
            let equal = a.null && b.null || may_be_equal(a, b);
            let unequal = a.has_value() || b.has_value();
            let (yes, no) =
                if operator == Binary::Equal { (equal, unequal) } else { (unequal, equal) };
            return ValueType { truth: [no, yes], ..ValueType::never() };
        }
        _ if !can_compare(a, b, false) => [false, false],
        _ => match (a.number, b.number, only_numbers(a) && only_numbers(b)) {
            (Some(a), Some(b), true) => in_order(operator, a, b),
            _ => [true, true],
        },
    };
    let is_same_sort = only_numbers(a) && only_numbers(b) || a.is_only_text() && b.is_only_text();
    ValueType { truth, null: a.null || b.null || !is_same_sort, ..ValueType::never() }
}

fn only_numbers(shape: &ValueType) -> bool {
    let rest = ValueType { number: None, null: false, ..shape.clone() };
    shape.number.is_some() && !rest.has_value()
}

fn may_be_equal(a: &ValueType, b: &ValueType) -> bool {
    if !can_compare(a, b, true) {
        return false;
    }
    if only_numbers(a) && only_numbers(b) {
        return a.number.zip(b.number).is_none_or(|(a, b)| a.least <= b.most && b.least <= a.most);
    }
    match (a.words().filter(|_| a.is_only_text()), b.words().filter(|_| b.is_only_text())) {
        (Some(mut a), Some(b)) => a.any(|it| b.clone().any(|other| it == other)),
        _ => true,
    }
}

/// Whether the comparison may be false, and whether it may be true.
fn in_order(operator: Binary, a: Bounds, b: Bounds) -> [bool; 2] {
    match operator {
        Binary::Less => [a.most >= b.least, a.least < b.most],
        Binary::LessEqual => [a.most > b.least, a.least <= b.most],
        Binary::Greater => [a.least <= b.most, a.most > b.least],
        _ => [a.least < b.most, a.most >= b.least],
    }
}

/// What an operator makes of two values.
pub(super) fn made(operator: Binary, a: &ValueType, b: &ValueType) -> ValueType {
    if a.is_any() || b.is_any() {
        let is_minus = operator == Binary::Subtract;
        // Whatever it takes, arithmetic never makes a truth, a text or a map.
        return match operator {
            Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => ValueType {
                null: true,
                number: Some(Bounds::ALL),
                time: is_minus,
                span: is_minus,
                ..ValueType::never()
            },
            _ => ValueType::any(),
        };
    }
    let is_plus = operator == Binary::Add;
    let is_minus = operator == Binary::Subtract;
    let is_joined = is_plus && a.text.is_some() && b.text.is_some();
    let list = match (&a.list, &b.list) {
        (Some(a), Some(b)) if is_plus => Some(Arc::new((**a).clone().or((**b).clone()))),
        _ => None,
    };
    ValueType {
        null: !(is_joined && a.is_only_text() && b.is_only_text() && !a.null && !b.null),
        number: (a.number.is_some() && b.number.is_some()).then_some(Bounds::ALL),
        text: is_joined.then_some(Words::Any),
        time: is_plus && (a.time && b.span || a.span && b.time) || is_minus && a.time && b.span,
        span: (is_plus || is_minus) && a.span && b.span || is_minus && a.time && b.time,
        list,
        ..ValueType::never()
    }
}

/// What to write where one side is text and the other is not.
pub(super) fn converted(operator: Binary, sides: [(&str, &ValueType); 2]) -> Option<String> {
    let is_text = |it: &ValueType| it.text.is_some();
    let [(one, a), (other, b)] = sides;
    if is_text(a) == is_text(b) {
        return None;
    }
    let (text, rest, shape) = if is_text(a) { (one, other, b) } else { (other, one, a) };
    match operator {
        Binary::Add => Some(format!("write `text({rest})` to join it to the text")),
        Binary::Subtract if shape.time || shape.span => Some(format!(
            "read the text first, with `time({text})` or `duration({text})`: times and durations \
             are texts in JSON"
        )),
        _ if shape.number.is_some() => {
            Some(format!("write `number({text})` where the text holds a number"))
        }
        _ => None,
    }
}

/// Why an operator has no result for two types.
pub(super) fn makes_nothing(operator: Binary, a: &ValueType, b: &ValueType) -> String {
    let (a, b) = (sort(a), sort(b));
    match operator {
        Binary::Add => format!("cannot add {a} and {b}"),
        Binary::Subtract => format!("cannot subtract {b} from {a}"),
        Binary::Multiply => format!("cannot multiply {a} by {b}"),
        Binary::Divide => format!("cannot divide {a} by {b}"),
        _ => format!("cannot take the remainder of {a} by {b}"),
    }
}
