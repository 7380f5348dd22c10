//! What goes through the items of a list: the macros, and functions over a whole list.

use super::super::eval::{MADE_MAX, affords, eval};
use super::super::node::{Macro, MacroKind};
use super::super::value::Val;
use super::super::{ITEMS_MAX, Scope};
use super::join;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::HashSet;

/// The items of a list that is not too long. What is too long is counted as an excess.
pub(super) fn items<'v>(value: &'v Val<'_>, scope: &Scope<'_>) -> Option<&'v [Value]> {
    let items = value.as_json()?.as_array()?;
    if ITEMS_MAX < items.len() {
        scope.exceed();
        return None;
    }
    Some(items)
}

pub(in crate::expr) fn evaluate<'a>(call: &'a Macro, scope: &Scope<'a>) -> Val<'a> {
    let list = eval(&call.list, scope);
    items(&list, scope).map_or(Val::Null, |items| over(call, items, scope))
}

/// What the macro makes of these items; nothing of it is borrowed, since the list may be one that
/// the expression made.
fn over<'b>(call: &'b Macro, items: &'b [Value], scope: &Scope<'b>) -> Val<'static> {
    let mut made = Vec::new();
    let mut budget = MADE_MAX;
    let mut is_open = false;
    for item in items {
        if !scope.spend(call.cost) {
            return Val::Null;
        }
        let mut inner = *scope;
        inner.loops.items[call.slot] = Some(item);
        let value = eval(&call.body, &inner);
        let kept = match (call.kind, value) {
            (MacroKind::Exists, Val::Bool(true)) => return Val::Bool(true),
            (MacroKind::All, Val::Bool(false)) => return Val::Bool(false),
            (MacroKind::Exists | MacroKind::All, Val::Bool(_)) => continue,
            (MacroKind::Exists | MacroKind::All, _) => {
                is_open = true;
                continue;
            }
            (MacroKind::Filter, Val::Bool(true)) => Val::from_json(item),
            (MacroKind::Filter, _) => continue,
            (MacroKind::Map, value) => value,
        };
        if !affords(&mut budget, &kept) {
            return Val::Null;
        }
        made.push(kept.into_json());
    }
    match call.kind {
        _ if is_open => Val::Null,
        MacroKind::Exists => Val::Bool(false),
        MacroKind::All => Val::Bool(true),
        MacroKind::Filter | MacroKind::Map => Val::Owned(Value::Array(made)),
    }
}

/// Sorted from the least; null items come last. Null where two items have no order.
pub(super) fn sort<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(&values[0], scope) else { return Val::Null };
    let (nulls, rest): (Vec<&Value>, Vec<&Value>) = items.iter().partition(|item| item.is_null());
    let mut rest: Vec<(Val<'_>, &Value)> =
        rest.into_iter().map(|it| (Val::from_json(it), it)).collect();
    // Of one type with the first one, all have an order among themselves.
    if !rest.iter().all(|it| it.0.compare(&rest[0].0).is_some()) {
        return Val::Null;
    }
    rest.sort_by(|a, b| a.0.compare(&b.0).unwrap_or(Ordering::Equal));
    let sorted = rest.into_iter().map(|it| it.1).chain(nulls).cloned();
    Val::Owned(Value::Array(sorted.collect()))
}

/// The sum of the numbers; null items do not count, and the sum of nothing is 0.
pub(super) fn sum<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(&values[0], scope) else { return Val::Null };
    let mut sum = Val::Int(0);
    for item in items.iter().filter(|item| !item.is_null()) {
        sum = super::super::eval::plus(&sum, &Val::from_json(item));
    }
    sum
}

/// The average of the numbers; null items do not count, and the average of nothing is null.
pub(super) fn average<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(&values[0], scope) else { return Val::Null };
    let count = items.iter().filter(|item| !item.is_null()).count();
    match sum(values, scope).as_f64() {
        Some(sum) if 0 < count => Val::float(sum / count as f64),
        _ => Val::Null,
    }
}

/// From the last item to the first.
pub(super) fn reverse<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(&values[0], scope) else { return Val::Null };
    let mut budget = MADE_MAX;
    match affords(&mut budget, &values[0]) {
        true => Val::Owned(Value::Array(items.iter().rev().cloned().collect())),
        false => Val::Null,
    }
}

/// The least or greatest item; null items do not count.
pub(super) fn extreme_item<'a>(value: &Val<'a>, wanted: Ordering, scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(value, scope) else { return Val::Null };
    let items: Vec<Val<'_>> =
        items.iter().filter(|item| !item.is_null()).map(Val::from_json).collect();
    match items.is_empty() {
        true => Val::Null,
        false => super::extreme(&items, wanted).into_owned(),
    }
}

/// The first item, or the last one.
pub(super) fn end<'a>(value: &Val<'a>, is_last: bool) -> Val<'a> {
    let pick = |items: &'a [Value]| if is_last { items.last() } else { items.first() };
    match value {
        Val::Json(Value::Array(items)) => pick(items).map_or(Val::Null, Val::from_json),
        Val::Owned(Value::Array(items)) => {
            let item = if is_last { items.last() } else { items.first() };
            item.cloned().map_or(Val::Null, Val::from_owned)
        }
        _ => Val::Null,
    }
}

/// Each item once, where it stands first. `1` and `1.0` are the same.
pub(super) fn distinct<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(&values[0], scope) else { return Val::Null };
    let mut seen = HashSet::new();
    let kept = items.iter().filter(|item| {
        let mut key = String::new();
        write_key(item, &mut key);
        seen.insert(key)
    });
    Val::Owned(Value::Array(kept.cloned().collect()))
}

/// A text that equal values share.
fn write_key(value: &Value, key: &mut String) {
    match value {
        Value::Number(it) => match (it.as_i64(), it.as_f64()) {
            (Some(int), _) => key.push_str(&int.to_string()),
            (None, Some(float)) if float.fract() == 0.0 && float.abs() < 9e15 => {
                key.push_str(&(float as i64).to_string());
            }
            _ => key.push_str(&it.to_string()),
        },
        Value::Array(items) => {
            key.push('[');
            for item in items {
                write_key(item, key);
                key.push(',');
            }
            key.push(']');
        }
        Value::Object(entries) => {
            let mut names: Vec<&String> = entries.keys().collect();
            names.sort();
            key.push('{');
            for name in names {
                key.push_str(&Value::from(name.as_str()).to_string());
                key.push(':');
                write_key(&entries[name], key);
                key.push(',');
            }
            key.push('}');
        }
        other => key.push_str(&other.to_string()),
    }
}

/// The items of the lists in a list; what is no list stays as it is.
pub(super) fn flatten<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(items) = items(&values[0], scope) else { return Val::Null };
    let mut made = Vec::new();
    let mut budget = MADE_MAX;
    for item in items {
        let inner = item.as_array().map_or(std::slice::from_ref(item), Vec::as_slice);
        for it in inner {
            if !affords(&mut budget, &Val::from_json(it)) {
                return Val::Null;
            }
            made.push(it.clone());
        }
    }
    Val::Owned(Value::Array(made))
}

/// The items as one text.
pub(super) fn joined<'a>(values: &[Val<'a>]) -> Val<'a> {
    let between = values.get(1).map_or(Some(", "), Val::as_str);
    let (Some(Value::Array(items)), Some(between)) = (values[0].as_json(), between) else {
        return Val::Null;
    };
    join(items.iter().map(|item| Val::from_json(item).text()), between)
}
