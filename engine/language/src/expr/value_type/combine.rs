//! What is one shape or another, both at once, or one inside of another.

use super::{Bounds, Field, Fields, ValueType, Words};
use std::collections::BTreeSet;
use std::sync::Arc;

impl ValueType {
    /// What is one or the other.
    #[must_use]
    pub fn or(self, other: ValueType) -> ValueType {
        if self.is_any || other.is_any {
            return ValueType::any();
        }
        ValueType {
            is_any: false,
            null: self.null || other.null,
            truth: [self.truth[0] || other.truth[0], self.truth[1] || other.truth[1]],
            number: either(self.number, other.number, |a, b| Bounds {
                least: a.least.min(b.least),
                most: a.most.max(b.most),
            }),
            text: either(self.text, other.text, |a, b| match (a, b) {
                (Words::OneOf(a), Words::OneOf(b)) => {
                    Words::OneOf(a.into_iter().chain(b).collect())
                }
                _ => Words::Any,
            }),
            time: self.time || other.time,
            span: self.span || other.span,
            list: either(self.list, other.list, |a, b| match a == b {
                true => a,
                false => Arc::new((*a).clone().or((*b).clone())),
            }),
            map: either(self.map, other.map, |a, b| match a == b {
                true => a,
                false => Arc::new((*a).clone().or((*b).clone())),
            }),
        }
    }

    /// What is both at once. `budget` counts the work; when it is used up, nothing is known.
    pub(in crate::expr) fn and(&self, other: &ValueType, budget: &mut usize) -> ValueType {
        if self.is_any || other.is_any {
            return if self.is_any { other.clone() } else { self.clone() };
        }
        if *budget == 0 {
            return ValueType::any();
        }
        *budget -= 1;
        ValueType {
            is_any: false,
            null: self.null && other.null,
            truth: [self.truth[0] && other.truth[0], self.truth[1] && other.truth[1]],
            number: both(self.number, other.number)
                .map(|(a, b)| Bounds { least: a.least.max(b.least), most: a.most.min(b.most) })
                .filter(|it| it.least <= it.most),
            text: both(self.text.as_ref(), other.text.as_ref()).and_then(|it| match it {
                (Words::OneOf(a), Words::OneOf(b)) => {
                    let common: BTreeSet<_> = a.intersection(b).cloned().collect();
                    (!common.is_empty()).then_some(Words::OneOf(common))
                }
                (Words::Any, other) | (other, Words::Any) => Some(other.clone()),
            }),
            time: self.time && other.time,
            span: self.span && other.span,
            list: both(self.list.as_ref(), other.list.as_ref())
                .map(|(a, b)| Arc::new(a.and(b, budget))),
            map: both(self.map.as_ref(), other.map.as_ref())
                .map(|(a, b)| Arc::new(a.and(b, budget))),
        }
    }

    /// Puts `shape` at `path`, beside what is there already.
    pub fn put(&mut self, path: &[String], shape: ValueType) {
        let Some((name, rest)) = path.split_first() else {
            *self = if self.has_value() { std::mem::take(self).or(shape) } else { shape };
            return;
        };
        if self.is_any {
            return;
        }
        let listed = || Arc::new(Fields { is_listed: true, ..Fields::default() });
        let fields = Arc::make_mut(self.map.get_or_insert_with(listed));
        let unknown = || Field { shape: ValueType::never(), origin: None };
        let field = fields.names.entry(name.as_str().into()).or_insert_with(unknown);
        field.origin = None;
        field.shape.put(rest, shape);
    }

    /// A map with the same fields that may have others, of which nothing is known.
    #[must_use]
    pub fn with_more(mut self) -> ValueType {
        if let Some(map) = &mut self.map {
            Arc::make_mut(map).has_more = true;
        }
        self
    }

    /// The same fields, and nothing known of what stands in them: for values that nobody checked.
    #[must_use]
    pub fn unchecked(&self) -> ValueType {
        let Some(map) = self.map.as_ref().filter(|_| !self.is_any) else { return ValueType::any() };
        let unchecked = |(name, field): (&Arc<str>, &Field)| {
            let (shape, origin) = (field.shape.unchecked(), field.origin.clone());
            (name.clone(), Field { shape, origin })
        };
        let names = map.names.iter().map(unchecked).collect();
        ValueType::of_fields(Fields { names, ..**map }).or_null()
    }
}

fn either<T>(a: Option<T>, b: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

fn both<T>(a: Option<T>, b: Option<T>) -> Option<(T, T)> {
    Some((a?, b?))
}

impl Fields {
    /// The fields of one map or the other. A name that only one lists may be missing, as any may;
    /// where the other is open, it may hold anything there.
    fn or(self, other: Fields) -> Fields {
        let (is_open, other_is_open) = (self.is_open(), other.is_open());
        let is_listed = self.is_listed && other.is_listed;
        let has_more = self.has_more || other.has_more;
        let mut names = self.names;
        if other_is_open {
            let only_here = |text: &&Arc<str>| !other.names.contains_key(*text);
            let alone: Vec<Arc<str>> = names.keys().filter(only_here).cloned().collect();
            for name in alone {
                names.entry(name).and_modify(|entry| entry.shape = ValueType::any());
            }
        }
        for (name, field) in other.names {
            let joined = match names.remove(&name) {
                Some(own) => {
                    Field { shape: own.shape.or(field.shape), origin: own.origin.or(field.origin) }
                }
                None if is_open => Field { shape: ValueType::any(), ..field },
                None => field,
            };
            names.insert(name, joined);
        }
        let is_loose = self.is_loose || other.is_loose;
        Fields { names, is_listed, has_more, is_loose }
    }

    /// The fields that two parts of one schema list.
    fn and(&self, other: &Fields, budget: &mut usize) -> Fields {
        let mut all = self.clone();
        for (name, field) in &other.names {
            *budget = budget.saturating_sub(1);
            let met = match self.names.get(name) {
                Some(own) => Field {
                    shape: own.shape.and(&field.shape, budget),
                    origin: own.origin.clone().or_else(|| field.origin.clone()),
                },
                None => field.clone(),
            };
            all.names.insert(name.clone(), met);
        }
        let is_loose = |fields: &Fields| fields.is_loose || !fields.is_listed;
        all.is_loose = is_loose(&all) && is_loose(other);
        all.is_listed |= other.is_listed;
        all.has_more |= other.has_more;
        all
    }
}
