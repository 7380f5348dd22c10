//! What is known of a value before there is one: its shape.
//!
//! A shape says what a value *may* be. It is never narrower than the truth: where nothing is
//! known it is [`ValueType::any`], and whoever asks it stays silent.

mod combine;
mod describe;

use crate::diagnostic::SourceText;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most texts of an `enum` that are told apart; of a longer one, only the type is known.
const WORDS_MAX: usize = 4096;

/// Everything that a value may be; a union of sorts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ValueType {
    /// Nothing is known: it may be whatever there is.
    pub(super) is_any: bool,
    /// It may be null or missing.
    pub(super) null: bool,
    /// It may be `false`, it may be `true`.
    pub(super) truth: [bool; 2],
    pub(super) number: Option<Bounds>,
    pub(super) text: Option<Words>,
    pub(super) time: bool,
    pub(super) span: bool,
    pub(super) list: Option<Arc<ValueType>>,
    pub(super) map: Option<Arc<Fields>>,
}

/// Between which numbers a number lies, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Bounds {
    pub(super) const ALL: Bounds = Bounds { least: f64::NEG_INFINITY, most: f64::INFINITY };
}

/// Which texts a text may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Words {
    Any,
    OneOf(BTreeSet<Arc<str>>),
}

/// What a map may hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fields {
    pub(super) names: BTreeMap<Arc<str>, Field>,
    /// Whether its fields are listed somewhere; one that lists none is open.
    pub(super) is_listed: bool,
    /// Whether it says that there may be more.
    pub(super) has_more: bool,
    /// Whether it is a JSON Schema that lists fields and does not say that there are no others.
    pub(super) is_loose: bool,
}

impl Fields {
    /// Whether a name that is not among its own may stand in it.
    pub(super) fn is_open(&self) -> bool {
        self.has_more || !self.is_listed
    }
}

/// A field of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) shape: ValueType,
    /// Where it is declared, when that is a schema.
    pub(super) origin: Option<Arc<SchemaOrigin>>,
}

/// A place in a schema file.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaOrigin {
    /// The file.
    pub source: Arc<SourceText>,
    /// The JSON pointer of the declaration.
    pub pointer: String,
}

/// The constructors.
impl ValueType {
    /// Nothing at all: the shape of what cannot be.
    pub fn never() -> Self {
        ValueType::default()
    }

    /// Whatever there is.
    pub fn any() -> Self {
        ValueType { is_any: true, null: true, ..ValueType::default() }
    }

    /// Null.
    pub fn null() -> Self {
        ValueType { null: true, ..ValueType::default() }
    }

    /// `true` or `false`.
    pub fn bool() -> Self {
        ValueType { truth: [true, true], ..ValueType::default() }
    }

    /// A number.
    pub fn number() -> Self {
        ValueType { number: Some(Bounds::ALL), ..ValueType::default() }
    }

    /// A number between these, both included.
    pub fn between(least: f64, most: f64) -> Self {
        ValueType { number: Some(Bounds { least, most }), ..ValueType::default() }
    }

    /// A text.
    pub fn text() -> Self {
        ValueType { text: Some(Words::Any), ..ValueType::default() }
    }

    /// One of these texts.
    pub fn one_of<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let words = words.into_iter().map(Arc::from).collect();
        ValueType { text: Some(Words::OneOf(words)), ..ValueType::default() }
    }

    /// A point in time.
    pub fn time() -> Self {
        ValueType { time: true, ..ValueType::default() }
    }

    /// A duration.
    pub fn span() -> Self {
        ValueType { span: true, ..ValueType::default() }
    }

    /// The same once it went through JSON, as what is stored, added or put into a list does: times
    /// and durations are texts then.
    #[must_use]
    pub fn in_json(self) -> Self {
        if !self.time && !self.span {
            return self;
        }
        ValueType { time: false, span: false, text: Some(Words::Any), ..self }
    }

    /// A list of such items.
    pub fn list(items: ValueType) -> Self {
        ValueType { list: Some(Arc::new(items)), ..ValueType::default() }
    }

    /// A map with these fields and no others.
    pub fn map<N: Into<Arc<str>>>(fields: impl IntoIterator<Item = (N, ValueType)>) -> Self {
        let field = |(name, shape): (N, ValueType)| (name.into(), Field { shape, origin: None });
        let names = fields.into_iter().map(field).collect();
        ValueType::of_fields(Fields { names, is_listed: true, ..Fields::default() })
    }

    /// A map in which nothing stands.
    pub fn empty_map() -> Self {
        ValueType::of_fields(Fields { is_listed: true, ..Fields::default() })
    }

    /// A map of which no field is known.
    pub fn open_map() -> Self {
        ValueType::of_fields(Fields::default())
    }

    /// Whatever JSON can say, sort by sort.
    pub(super) fn json() -> Self {
        ValueType {
            is_any: false,
            null: true,
            truth: [true, true],
            number: Some(Bounds::ALL),
            text: Some(Words::Any),
            time: false,
            span: false,
            list: Some(Arc::new(ValueType::any())),
            map: Some(Arc::default()),
        }
    }

    pub(super) fn of_fields(fields: Fields) -> Self {
        ValueType { map: Some(Arc::new(fields)), ..ValueType::default() }
    }

    /// Exactly this value, as far as shapes tell values apart.
    pub fn of_value(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => ValueType::null(),
            Value::Bool(it) => ValueType { truth: [!it, *it], ..ValueType::default() },
            Value::Number(it) => it
                .as_f64()
                .map_or_else(ValueType::number, |number| ValueType::between(number, number)),
            Value::String(it) => ValueType::one_of([it.as_str()]),
            Value::Array(items) => {
                let items = items.iter().map(ValueType::of_value);
                ValueType::list(items.fold(ValueType::never(), ValueType::or))
            }
            Value::Object(entries) => ValueType::map(
                entries
                    .iter()
                    .map(|(name, it)| (Arc::from(name.as_str()), ValueType::of_value(it))),
            ),
        }
    }

    /// One of these values. More texts than [`WORDS_MAX`] are not told apart.
    pub(super) fn of_values(values: &[serde_json::Value]) -> Self {
        let texts: BTreeSet<Arc<str>> =
            values.iter().filter_map(|value| value.as_str()).map(Arc::from).collect();
        let text = match texts.len() {
            0 => None,
            few if few <= WORDS_MAX => Some(Words::OneOf(texts)),
            _ => Some(Words::Any),
        };
        let mut others: Vec<&serde_json::Value> =
            values.iter().filter(|value| !value.is_string()).collect();
        let numbers = others.iter().filter_map(|it| it.as_f64());
        let number = numbers.fold(None, |bounds: Option<Bounds>, it| {
            let bounds = bounds.unwrap_or(Bounds { least: it, most: it });
            Some(Bounds { least: bounds.least.min(it), most: bounds.most.max(it) })
        });
        others.retain(|it| !it.is_number());
        let is_many = WORDS_MAX < others.len();
        let others = match is_many {
            true => ValueType::any(),
            false => {
                others.into_iter().map(ValueType::of_value).fold(ValueType::never(), ValueType::or)
            }
        };
        others.or(ValueType { text, number, ..ValueType::default() })
    }

    /// The same, or null.
    #[must_use]
    pub fn or_null(mut self) -> Self {
        self.null = true;
        self
    }
}

/// The questions.
impl ValueType {
    /// Whether nothing is known.
    pub fn is_any(&self) -> bool {
        self.is_any
    }

    /// Whether it may be null.
    pub fn may_be_null(&self) -> bool {
        self.is_any || self.null
    }

    /// Whether it may be `true`.
    pub fn may_hold(&self) -> bool {
        self.is_any || self.truth[1]
    }

    /// Whether it may be a number. What is only null is missing, and that is told elsewhere.
    pub fn may_be_number(&self) -> bool {
        self.is_any || self.number.is_some() || !self.has_value()
    }

    /// Whether it is true, false or null, and nothing else.
    pub(super) fn is_truth(&self) -> bool {
        let rest = ValueType { truth: [false; 2], ..self.clone() };
        !rest.has_value()
    }

    /// Whether it may be anything but null.
    pub(super) fn has_value(&self) -> bool {
        self.is_any || *self != ValueType { null: self.null, ..ValueType::default() }
    }

    /// What stands in the field of this name; `None` when nothing ever does.
    pub(super) fn field(&self, name: &str) -> Option<(ValueType, Option<Arc<SchemaOrigin>>)> {
        if self.is_any {
            return Some((ValueType::any(), None));
        }
        let map = self.map.as_ref()?;
        match map.names.get(name) {
            Some(field) => Some((field.shape.clone().or_null(), field.origin.clone())),
            None => map.is_open().then(|| (ValueType::any(), None)),
        }
    }

    /// What stands at an index; `None` when nothing ever does.
    pub(super) fn item(&self) -> Option<ValueType> {
        match &self.list {
            _ if self.is_any => Some(ValueType::any()),
            Some(items) => Some((**items).clone().or_null()),
            None => None,
        }
    }

    /// What the items of the list are that it may be; `None` when it is never a list.
    pub fn items(&self) -> Option<ValueType> {
        match &self.list {
            _ if self.is_any => Some(ValueType::any()),
            items => items.as_ref().map(|item| (**item).clone()),
        }
    }

    /// Whether it may be a text.
    pub fn may_be_text(&self) -> bool {
        self.is_any || self.text.is_some()
    }

    /// Whether one of its fields is declared in a schema.
    pub(super) fn has_origin(&self) -> bool {
        let fields = self.map.iter().flat_map(|it| it.names.values());
        fields.into_iter().any(|field| field.origin.is_some())
    }

    /// Whether a field of this name may ever have a value.
    pub fn may_have(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.0.has_value())
    }

    /// Whether a field of this name is declared.
    pub fn has_field(&self, name: &str) -> bool {
        self.names().any(|it| it == name)
    }

    /// The names of its fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.map.iter().flat_map(|it| it.names.keys()).map(|it| &**it)
    }

    /// Whether a field that it does not list may well be there, for all that JSON Schema says.
    pub(super) fn is_loose(&self) -> bool {
        self.map.as_ref().is_some_and(|map| map.is_loose)
    }

    /// Whether a field of this name is declared in it, or `depth` levels below.
    pub(super) fn knows(&self, name: &str, depth: usize) -> bool {
        let below = |it: &ValueType| 0 < depth && it.knows(name, depth - 1);
        let fields = self.map.iter().flat_map(|it| it.names.iter());
        let mut in_fields = fields.map(|(own, it)| **own == *name || below(&it.shape));
        in_fields.any(|field| field) || self.list.as_ref().is_some_and(|it| below(it))
    }

    /// The texts that it may be, when it may be no others.
    pub fn words(&self) -> Option<impl Iterator<Item = &str> + Clone> {
        match &self.text {
            Some(Words::OneOf(words)) if !self.is_any => Some(words.iter().map(|word| &**word)),
            _ => None,
        }
    }

    /// Whether it may be something other than a text or null.
    pub fn is_only_text(&self) -> bool {
        let rest = ValueType { text: None, null: false, ..self.clone() };
        self.text.is_some() && !rest.has_value()
    }

    /// Whether its text in a template is JSON as it stands: `12`, `true`.
    pub(super) fn is_plain_json(&self) -> bool {
        let rest = ValueType { number: None, truth: [false; 2], ..self.clone() };
        !self.null && !rest.has_value()
    }

    /// Whether its text may stand in quotes as it is.
    pub(super) fn is_safe_word(&self) -> bool {
        let is_safe = |text: &str| {
            !text.chars().any(|letter| letter.is_control() || letter == '"' || letter == '\\')
        };
        let rest = ValueType { number: None, truth: [false; 2], text: None, ..self.clone() };
        let is_known =
            self.text.is_none() || self.words().is_some_and(|mut words| words.all(is_safe));
        is_known && !ValueType { null: false, time: false, ..rest }.has_value()
    }
}

/// For tests of what a kind says of its additions.
#[cfg(any(test, feature = "testing"))]
impl ValueType {
    /// Whether a value is one that the shape speaks of.
    pub fn admits(&self, value: &serde_json::Value) -> bool {
        use serde_json::Value;
        let is_word =
            |text: &str| self.words().is_none_or(|mut words| words.any(|word| word == text));
        self.is_any
            || match value {
                Value::Null => self.null,
                Value::Bool(it) => self.truth[usize::from(*it)],
                Value::Number(it) => self.number.is_some_and(|bounds| {
                    let number = it.as_f64().expect("a number");
                    (bounds.least..=bounds.most).contains(&number)
                }),
                // Times and durations are text once they are JSON.
                Value::String(it) => self.time || self.span || self.text.is_some() && is_word(it),
                Value::Array(items) => {
                    self.item().is_some_and(|each| items.iter().all(|item| each.admits(item)))
                }
                Value::Object(entries) => {
                    let fits = |name: &str, it| {
                        self.field(name).is_some_and(|(shape, _)| shape.admits(it))
                    };
                    entries.iter().all(|(name, it)| fits(name, it))
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn told(shape: &ValueType, expected: &str) {
        assert_eq!(shape.told(), expected);
    }

    #[test]
    fn shapes_are_told_in_words() {
        told(&ValueType::between(0.0, 1.0).or_null(), "number 0–1");
        told(&ValueType::between(3.0, 3.0), "number 3");
        told(&ValueType::one_of(["a"]).or(ValueType::one_of(["b"])), "one of: a, b");
        told(&ValueType::one_of(["a"]).or(ValueType::text()), "text");
        told(&ValueType::of_value(&json!([1, "x"])).or(ValueType::bool()), "true or false or list");
        told(&ValueType::time().or(ValueType::any()), "anything");
        told(&ValueType::null(), "null");
    }

    #[test]
    fn a_map_is_open_only_where_no_side_lists_its_fields() {
        let listed = ValueType::map([("a", ValueType::text())]);
        let either = listed.clone().or(ValueType::open_map());
        assert!(either.map.expect("a map").is_open());
        let both = listed.and(&ValueType::open_map(), &mut 9);
        assert!(!both.map.expect("a map").is_open());
    }

    #[test]
    fn what_is_put_at_a_path_stands_beside_what_was_there() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mut shape = ValueType::never();
        shape.put(&path("a.b"), ValueType::text());
        shape.put(&path("a.c"), ValueType::number());
        let inner = ValueType::map([("b", ValueType::text()), ("c", ValueType::number())]);
        assert_eq!(shape, ValueType::map([("a", inner)]));
    }

    #[test]
    fn an_intersection_that_costs_too_much_is_anything() {
        let deep = (0..50).fold(ValueType::text(), |it, _| ValueType::list(it));
        assert_eq!(deep.and(&deep, &mut 1000), deep);
        let cut = deep.and(&deep, &mut 10);
        assert!(cut.told() == "list" && cut != deep);
    }
}
