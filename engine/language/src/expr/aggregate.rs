//! What is made of the values of many events.

use crate::nearest;
use kernel::choice;
use kernel::choice::Choice;

choice! {
    /// How values are put together.
    pub enum Aggregate {
        /// How many events.
        Count = "count",
        /// The sum of the numbers.
        Sum = "sum",
        /// Their mean.
        Avg = "avg",
        /// The least of them.
        Min = "min",
        /// The greatest of them.
        Max = "max",
        /// Their standard deviation, of the population.
        Stddev = "stddev",
        /// Half of them are at most this.
        P50 = "p50",
        /// 95 % of them are at most this.
        P95 = "p95",
        /// The earliest value.
        First = "first",
        /// The latest value.
        Last = "last",
        /// Every value, once.
        Distinct = "distinct",
    }
}

/// Names from elsewhere, and ours.
const FOREIGN: &[(&str, Aggregate)] = &[
    ("mean", Aggregate::Avg),
    ("average", Aggregate::Avg),
    ("len", Aggregate::Count),
    ("size", Aggregate::Count),
    ("total", Aggregate::Sum),
    ("minimum", Aggregate::Min),
    ("maximum", Aggregate::Max),
    ("median", Aggregate::P50),
    ("stdev", Aggregate::Stddev),
    ("std", Aggregate::Stddev),
    ("latest", Aggregate::Last),
    ("earliest", Aggregate::First),
    ("unique", Aggregate::Distinct),
    ("collect", Aggregate::Distinct),
    ("list", Aggregate::Distinct),
];

impl Aggregate {
    /// The one that is meant by a name.
    pub(super) fn meant(name: &str) -> Option<Aggregate> {
        let foreign = FOREIGN.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1);
        let near = || nearest(name, Aggregate::WORDS.iter().copied());
        foreign.or_else(|| near().and_then(Aggregate::of_word))
    }

    /// All of them, for people.
    pub(super) fn list() -> String {
        Aggregate::WORDS.join(", ")
    }
}
