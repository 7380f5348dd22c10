//! Functions of maps.

use super::super::eval::{MADE_MAX, affords};
use super::super::value::Val;
use super::super::{ITEMS_MAX, Scope};
use serde_json::{Map, Value, json};

/// The entries of a map that does not have too many. What has too many is counted as an excess.
fn entries_of<'v>(value: &'v Val<'_>, scope: &Scope<'_>) -> Option<&'v Map<String, Value>> {
    let entries = value.as_json()?.as_object()?;
    if ITEMS_MAX < entries.len() {
        scope.exceed();
        return None;
    }
    Some(entries)
}

/// The list that each entry gives an item of; names in order.
fn list<'a>(
    values: &[Val<'a>],
    scope: &Scope<'a>,
    item: fn((&String, &Value)) -> Value,
) -> Val<'a> {
    let Some(entries) = entries_of(&values[0], scope) else { return Val::Null };
    let mut budget = MADE_MAX;
    let mut made = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        if budget < name.len() || !affords(&mut budget, &Val::from_json(value)) {
            return Val::Null;
        }
        budget -= name.len();
        made.push(item((name, value)));
    }
    Val::Owned(Value::Array(made))
}

/// The names of a map.
pub(super) fn keys<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    list(values, scope, |(name, _)| Value::from(name.as_str()))
}

/// The values of a map, in the order of their names.
pub(super) fn values<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    list(values, scope, |(_, value)| value.clone())
}

/// A map `{ key, value }` for each entry, in the order of the names.
pub(super) fn entries<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    list(values, scope, |(name, value)| json!({ "key": name, "value": value }))
}

/// A map without the entries of these names.
pub(super) fn omit<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let names: Option<Vec<&str>> = values[1..].iter().map(Val::as_str).collect();
    let (Some(names), Some(entries)) = (names, entries_of(&values[0], scope)) else {
        return Val::Null;
    };
    let mut budget = MADE_MAX;
    if !affords(&mut budget, &values[0]) {
        return Val::Null;
    }
    let kept = entries.iter().filter(|entry| !names.contains(&entry.0.as_str()));
    Val::Owned(Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

/// The entries of several maps; of two with one name, that of the later map.
pub(super) fn merge<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let mut made = Map::new();
    let mut budget = MADE_MAX;
    for value in values {
        let Some(entries) = entries_of(value, scope).filter(|_| affords(&mut budget, value)) else {
            return Val::Null;
        };
        made.extend(entries.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Val::Owned(Value::Object(made))
}
