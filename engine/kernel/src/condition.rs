//! What a store can tell of an event without the language: a part of an expression, in terms of
//! what is kept.

use std::cmp::Ordering;

/// A condition on a stored event.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// It holds for every event.
    Always,
    /// It holds for none.
    Never,
    /// All of them hold.
    All(Vec<Condition>),
    /// One of them holds.
    Any(Vec<Condition>),
    /// Of a text of the envelope.
    Text(TextField, TextTest),
    /// Of a number of the envelope.
    Number(NumberField, NumberTest),
    /// Of a value in JSON: where the condition holds, this does, but not the other way round.
    Json(JsonPlace, JsonTest),
}

/// A text of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextField {
    /// `event.id`.
    Id,
    /// `event.type`.
    Kind,
    /// `event.source`.
    Source,
    /// `event.subject`.
    Subject,
    /// `event.correlation_id`, which may be missing.
    CorrelationId,
    /// `event.parent_id`, which may be missing.
    ParentId,
}

/// A number of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberField {
    /// `event.time`, in microseconds since 1970.
    Time,
    /// `event.received`, in microseconds since 1970.
    Received,
    /// `event.priority`, as a level from 0.
    Priority,
    /// `event.seq`.
    Seq,
    /// `event.generation`.
    Generation,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Equal,
    /// They differ.
    Unequal,
    /// The first is less.
    Less,
    /// It is not more.
    LessEqual,
    /// It is more.
    Greater,
    /// It is not less.
    GreaterEqual,
}

impl Comparison {
    /// Whether values in this order compare so.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::Unequal => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
        }
    }

    /// The same with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessEqual => Comparison::GreaterEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterEqual => Comparison::LessEqual,
            same => same,
        }
    }
}

/// What is asked of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextTest {
    /// How it compares, by its bytes. What is missing differs from every text, and is neither less
    /// nor more.
    Is(Comparison, String),
    /// Whether it is missing.
    IsMissing(bool),
    /// Whether it is one of these; `None` is a text that is missing.
    IsIn(Vec<Option<String>>, bool),
    /// Whether it begins so.
    StartsWith(String),
}

impl TextTest {
    /// Whether a text passes.
    pub fn holds(&self, text: Option<&str>) -> bool {
        match (self, text) {
            (TextTest::Is(by, wanted), Some(text)) => by.holds(text.cmp(wanted)),
            (TextTest::Is(by, _), None) => *by == Comparison::Unequal,
            (TextTest::IsMissing(wanted), text) => text.is_none() == *wanted,
            (TextTest::IsIn(all, wanted), text) => {
                all.iter().any(|it| it.as_deref() == text) == *wanted
            }
            (TextTest::StartsWith(start), text) => text.is_some_and(|text| text.starts_with(start)),
        }
    }
}

/// What is asked of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberTest {
    /// How it compares.
    Is(Comparison, i64),
    /// Whether it is one of these.
    IsIn(Vec<i64>, bool),
}

impl NumberTest {
    /// Whether a number passes.
    pub fn holds(&self, number: i64) -> bool {
        match self {
            NumberTest::Is(by, wanted) => by.holds(number.cmp(wanted)),
            NumberTest::IsIn(all, wanted) => all.contains(&number) == *wanted,
        }
    }
}

/// A value in the data or the additions of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPlace {
    /// Whether it is in the additions, and not in the data.
    pub is_added: bool,
    /// The way to it: `$."a"."b"[0]`, of letters, digits, `_` and `-` alone.
    pub path: String,
}

/// What is asked of a value in JSON. No text has a zero in it.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTest {
    /// Whether it is one of these texts.
    IsIn(Vec<String>),
    /// Whether it is a text that begins so.
    StartsWith(String),
    /// Whether it is true, or false.
    IsBool(bool),
    /// How it compares with a number, which may be rounded. Never [`Comparison::Unequal`].
    Is(Comparison, f64),
}

impl Condition {
    /// Whether it says all that the expression said that it was made of.
    pub fn is_exact(&self) -> bool {
        match self {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().all(Condition::is_exact),
            Condition::Json(..) => false,
            _ => true,
        }
    }

    /// Conditions that all have to hold.
    pub fn parts(&self) -> Vec<&Condition> {
        match self {
            Condition::All(parts) => parts.iter().flat_map(Condition::parts).collect(),
            one => vec![one],
        }
    }
}
