//! What an expression yields.

use kernel::time::Timestamp;
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write;

/// A value, borrowed from the event wherever it can be.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    /// Nothing, or a missing path.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number; never NaN.
    Float(f64),
    /// A whole number that does not fit [`Val::Int`], with all of its digits.
    Long(Cow<'a, str>),
    /// Text.
    Text(Cow<'a, str>),
    /// A point in time.
    Time(Timestamp),
    /// A duration in microseconds.
    Span(i64),
    /// A list or map of the event.
    Json(&'a Value),
    /// A list or map that the expression made.
    Owned(Value),
}

impl<'a> Val<'a> {
    /// A JSON value, without copying.
    pub fn from_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(it) => Val::Bool(*it),
            Value::Number(it) => Val::from_number(it),
            Value::String(it) => Val::Text(Cow::Borrowed(it)),
            Value::Array(_) | Value::Object(_) => Val::Json(value),
        }
    }

    /// A JSON value of its own.
    pub fn from_owned(value: Value) -> Val<'static> {
        match value {
            Value::Null => Val::Null,
            Value::Bool(it) => Val::Bool(it),
            Value::Number(it) => match Val::from_number(&it) {
                Val::Long(digits) => Val::Long(Cow::Owned(digits.into_owned())),
                Val::Int(it) => Val::Int(it),
                Val::Float(it) => Val::Float(it),
                _ => Val::Null,
            },
            Value::String(it) => Val::Text(Cow::Owned(it)),
            other => Val::Owned(other),
        }
    }

    fn from_number(number: &Number) -> Val<'_> {
        let digits = number.as_str();
        match number.as_i64() {
            Some(0) if digits.starts_with('-') => Val::Float(-0.0),
            Some(int) => Val::Int(int),
            None if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
                Val::Long(Cow::Borrowed(digits))
            }
            None => number.as_f64().map_or(Val::Null, Val::Float),
        }
    }

    /// A float, or null where it is not finite.
    pub(super) fn float(value: f64) -> Val<'static> {
        if value.is_finite() { Val::Float(value) } else { Val::Null }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }

    /// The text, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::Text(it) => Some(it),
            _ => None,
        }
    }

    /// The number, when it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Val::Int(it) => Some(*it as f64),
            Val::Float(it) => Some(*it),
            Val::Long(it) => it.parse().ok(),
            _ => None,
        }
    }

    /// The list or map, when it is one.
    pub fn as_json(&self) -> Option<&Value> {
        match self {
            Val::Json(it) => Some(it),
            Val::Owned(it) => Some(it),
            _ => None,
        }
    }

    /// As JSON: a time is RFC 3339 text, a duration text such as `1m30s`.
    pub fn to_json(&self) -> Value {
        match self {
            Val::Null => Value::Null,
            Val::Bool(it) => Value::Bool(*it),
            Val::Int(it) => Value::from(*it),
            Val::Float(it) => Value::from(*it),
            Val::Long(it) => it.parse().map_or(Value::Null, Value::Number),
            Val::Text(it) => Value::String(it.as_ref().to_owned()),
            Val::Time(_) | Val::Span(_) => Value::String(self.text()),
            Val::Json(it) => (*it).clone(),
            Val::Owned(it) => it.clone(),
        }
    }

    /// As JSON, without copying what it owns.
    pub fn into_json(self) -> Value {
        match self {
            Val::Text(it) => Value::String(it.into_owned()),
            Val::Owned(it) => it,
            other => other.to_json(),
        }
    }

    /// The same, without borrowing anything.
    pub(super) fn into_owned(self) -> Val<'static> {
        match self {
            Val::Null => Val::Null,
            Val::Bool(it) => Val::Bool(it),
            Val::Int(it) => Val::Int(it),
            Val::Float(it) => Val::Float(it),
            Val::Long(it) => Val::Long(Cow::Owned(it.into_owned())),
            Val::Text(it) => Val::Text(Cow::Owned(it.into_owned())),
            Val::Time(it) => Val::Time(it),
            Val::Span(it) => Val::Span(it),
            Val::Json(it) => Val::Owned(it.clone()),
            Val::Owned(it) => Val::Owned(it),
        }
    }

    /// As it stands in a text: nothing for null, JSON for lists and maps.
    pub fn text(&self) -> String {
        match self {
            Val::Null => String::new(),
            Val::Bool(it) => it.to_string(),
            Val::Int(it) => it.to_string(),
            Val::Float(it) => float_text(*it),
            Val::Text(it) | Val::Long(it) => it.as_ref().to_owned(),
            Val::Time(it) => it.to_string(),
            Val::Span(it) => span_text(*it),
            Val::Json(it) => it.to_string(),
            Val::Owned(it) => it.to_string(),
        }
    }

    /// The text that tells this value from others, as keys, hashes and cached answers do: values
    /// of one type that are equal have the same one, at every depth (`1` and `1.0`, `[0]` and
    /// `[-0.0]`).
    ///
    /// Stores keep it, so it must stay what it is: [`Val::text`], but for numbers that can be
    /// written in several ways.
    pub fn identity(&self) -> String {
        match self {
            Val::Float(it) => float_identity(*it),
            Val::Json(it) => json_identity(it).to_string(),
            Val::Owned(it) => json_identity(it).to_string(),
            other => other.text(),
        }
    }

    /// Equality: numbers by value, times with RFC 3339 text as times, else by type and value.
    pub fn equals(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Val::Null, Val::Null) => true,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::Json(_) | Val::Owned(_), _) => match (self.as_json(), other.as_json()) {
                (Some(a), Some(b)) => json_equals(a, b),
                _ => false,
            },
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// Order, where there is one.
    pub(super) fn compare(&self, other: &Val<'_>) -> Option<Ordering> {
        match (self, other) {
            (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
            (Val::Int(a), Val::Float(b)) => compare_mixed(*a, *b),
            (Val::Float(a), Val::Int(b)) => compare_mixed(*b, *a).map(Ordering::reverse),
            (Val::Float(a), Val::Float(b)) => a.partial_cmp(b),
            (Val::Long(a), Val::Long(b)) => Some(compare_digits(a, b)),
            // Whatever fits is nearer to zero than what does not.
            (Val::Long(a), Val::Int(_)) => Some(away(a)),
            (Val::Int(_), Val::Long(b)) => Some(away(b).reverse()),
            (Val::Long(_), Val::Float(b)) => self.as_f64()?.partial_cmp(b),
            (Val::Float(a), Val::Long(_)) => a.partial_cmp(&other.as_f64()?),
            (Val::Text(a), Val::Text(b)) => Some(a.as_ref().cmp(b.as_ref())),
            (Val::Time(a), Val::Time(b)) => Some(a.cmp(b)),
            (Val::Time(a), Val::Text(b)) => Some(a.cmp(&Timestamp::parse(b)?)),
            (Val::Text(a), Val::Time(b)) => Some(Timestamp::parse(a)?.cmp(b)),
            (Val::Span(a), Val::Span(b)) => Some(a.cmp(b)),
            (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// As CEL does it: the whole number as the nearest float, which beyond 2^53 may be another number.
fn compare_mixed(int: i64, float: f64) -> Option<Ordering> {
    (int as f64).partial_cmp(&float)
}

/// On which side of every [`Val::Int`] a longer number is.
fn away(digits: &str) -> Ordering {
    if digits.starts_with('-') { Ordering::Less } else { Ordering::Greater }
}

/// The order of two whole numbers by their digits; JSON has no zeros before them.
fn compare_digits(a: &str, b: &str) -> Ordering {
    let by_size = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    match (a.starts_with('-'), b.starts_with('-')) {
        (false, false) => by_size(a, b),
        (true, true) => by_size(b, a),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

fn json_equals(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_equals(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| json_equals(a, b)))
        }
        // A list is never a map, and only what is neither may go back to `equals`.
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => false,
        _ => Val::from_json(a).equals(&Val::from_json(b)),
    }
}

/// With all of its digits where it is whole, as a whole number of any length has them.
fn float_identity(value: f64) -> String {
    match value.fract() == 0.0 {
        true => format!("{:.0}", value + 0.0),
        false => float_text(value),
    }
}

/// With each number in its one form. A map is in the order of its keys already.
fn json_identity(value: &Value) -> Value {
    match value {
        Value::Number(it) => {
            Val::from_number(it).identity().parse().map_or_else(|_| value.clone(), Value::Number)
        }
        Value::Array(items) => items.iter().map(json_identity).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), json_identity(value))).collect()
        }
        other => other.clone(),
    }
}

/// The shortest text that reads back as the same: `21`, `0.1`, `1e300`; there is one zero.
fn float_text(value: f64) -> String {
    let text = format!("{:?}", value + 0.0);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// `1d2h3m4.5s`.
fn span_text(micros: i64) -> String {
    let mut text = String::new();
    let mut rest = micros.unsigned_abs();
    if micros < 0 {
        text.push('-');
    }
    for (unit, size) in [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000_u64)] {
        if size <= rest {
            write!(text, "{}{unit}", rest / size).expect("writing to a String cannot fail");
            rest %= size;
        }
    }
    if 0 < rest || text.len() <= usize::from(micros < 0) {
        write!(text, "{}s", rest as f64 / 1e6).expect("writing to a String cannot fail");
    }
    text
}
