//! What is kept of the values of many events: as little as their aggregate needs.

use language::expr::{Aggregate, Val};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The most values that `distinct` keeps.
const DISTINCT_MAX: usize = 1000;
/// The most bytes of them, as JSON.
const DISTINCT_BYTES: usize = 64 << 10;
/// Up to so many numbers, a percentile is exact.
const EXACT_MAX: usize = 256;
/// Beyond, it is off by at most this part.
const ACCURACY: f64 = 0.01;

/// What is kept for one aggregate. States of the same aggregate can be put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum AggregateState {
    /// How many.
    Count(u64),
    /// Sum, and how many. `None` where it is beyond every number.
    Sum(Option<Number>, u64),
    /// The least or the greatest.
    Extreme(Option<Number>),
    /// How many, mean, and the sum of squares of what differs from it: Welford's method, put
    /// together after Chan, Golub and LeVeque.
    Spread(u64, f64, f64),
    /// Numbers as they are.
    Exact(Vec<f64>),
    /// Numbers by size.
    Sketch(NumberSketch),
    /// The value at the earliest or the latest time.
    End(Option<(i64, Value)>),
    /// Each once.
    Distinct(Vec<Value>),
}

/// Numbers counted in buckets that grow with them, so that each is known to within 1 %: DDSketch
/// (Masson, Rim, Lee 2019) with all of its buckets, of which a `f64` has at most 71,000.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct NumberSketch {
    below: BTreeMap<i32, u64>,
    zeros: u64,
    above: BTreeMap<i32, u64>,
}

impl AggregateState {
    pub(super) fn empty(aggregate: Aggregate) -> Self {
        match aggregate {
            Aggregate::Count => AggregateState::Count(0),
            Aggregate::Sum | Aggregate::Avg => AggregateState::Sum(Some(0.into()), 0),
            Aggregate::Min | Aggregate::Max => AggregateState::Extreme(None),
            Aggregate::Stddev => AggregateState::Spread(0, 0.0, 0.0),
            Aggregate::P50 | Aggregate::P95 => AggregateState::Exact(Vec::new()),
            Aggregate::First | Aggregate::Last => AggregateState::End(None),
            Aggregate::Distinct => AggregateState::Distinct(Vec::new()),
        }
    }

    /// With the value of an event. What is null, or no number where one is needed, does not count.
    pub(super) fn add(&mut self, aggregate: Aggregate, value: &Value, time: i64) {
        match (self, value.as_f64()) {
            (AggregateState::Count(count), _) => *count += 1,
            (state @ AggregateState::Sum(..), Some(_)) => {
                state.merge(aggregate, AggregateState::Sum(value.as_number().cloned(), 1));
            }
            (state @ AggregateState::Extreme(_), Some(_)) => {
                state.merge(aggregate, AggregateState::Extreme(value.as_number().cloned()));
            }
            (state @ AggregateState::Spread(..), Some(number)) => {
                state.merge(aggregate, AggregateState::Spread(1, number, 0.0));
            }
            (state @ (AggregateState::Exact(_) | AggregateState::Sketch(_)), Some(number)) => {
                state.merge(aggregate, AggregateState::Exact(vec![number]));
            }
            (state @ AggregateState::End(_), _) if !value.is_null() => {
                state.merge(aggregate, AggregateState::End(Some((time, value.clone()))));
            }
            (AggregateState::Distinct(known), _) if !value.is_null() => add_once(known, value),
            _ => {}
        }
    }

    /// With what another one counted.
    pub(super) fn merge(&mut self, aggregate: Aggregate, other: AggregateState) {
        match (&mut *self, other) {
            (AggregateState::Count(count), AggregateState::Count(more)) => *count += more,
            (AggregateState::Sum(sum, count), AggregateState::Sum(more, others)) => {
                *sum = sum.take().zip(more).and_then(|(sum, more)| added(&sum, &more));
                *count += others;
            }
            (AggregateState::Extreme(known), AggregateState::Extreme(other)) => {
                *known = match (known.take(), other) {
                    (Some(one), Some(other)) => Some(extreme(aggregate, one, other)),
                    (one, other) => one.or(other),
                };
            }
            (
                AggregateState::Spread(count, mean, squares),
                AggregateState::Spread(others, theirs, more),
            ) => {
                let all = *count + others;
                if 0 < others {
                    let apart = theirs - *mean;
                    *squares +=
                        more + apart * apart * (*count as f64) * (others as f64) / all as f64;
                    *mean += apart * others as f64 / all as f64;
                }
                *count = all;
            }
            (AggregateState::Exact(known), AggregateState::Exact(more)) => {
                known.extend(more);
                if EXACT_MAX < known.len() {
                    let mut sketch = NumberSketch::default();
                    known.iter().for_each(|number| sketch.add(*number, 1));
                    *self = AggregateState::Sketch(sketch);
                }
            }
            (AggregateState::Sketch(sketch), AggregateState::Exact(more)) => {
                more.iter().for_each(|number| sketch.add(*number, 1));
            }
            (AggregateState::Sketch(sketch), AggregateState::Sketch(other)) => sketch.merge(&other),
            (AggregateState::Exact(known), AggregateState::Sketch(mut other)) => {
                known.iter().for_each(|number| other.add(*number, 1));
                *self = AggregateState::Sketch(other);
            }
            (AggregateState::End(known), AggregateState::End(Some(other))) => {
                let is_later = |it: &(i64, Value)| match aggregate {
                    Aggregate::First => other.0 < it.0,
                    // Of the same moment, the one that came last.
                    _ => it.0 <= other.0,
                };
                if known.as_ref().is_none_or(is_later) {
                    *known = Some(other);
                }
            }
            (AggregateState::Distinct(known), AggregateState::Distinct(more)) => {
                more.iter().for_each(|value| add_once(known, value));
            }
            _ => {}
        }
    }

    /// What it comes to; null where nothing counted.
    pub(super) fn value(&self, aggregate: Aggregate) -> Value {
        match self {
            AggregateState::Count(count) => Value::from(*count),
            AggregateState::Sum(sum, _) if aggregate == Aggregate::Sum => written(sum.as_ref()),
            AggregateState::Sum(_, 0) | AggregateState::Spread(0, ..) => Value::Null,
            AggregateState::Sum(sum, count) => {
                let sum = sum.as_ref().and_then(Number::as_f64);
                sum.map_or(Value::Null, |sum| number(sum / *count as f64))
            }
            AggregateState::Extreme(known) => written(known.as_ref()),
            AggregateState::Spread(count, _, squares) => number((squares / *count as f64).sqrt()),
            AggregateState::Exact(numbers) => {
                let mut sorted = numbers.clone();
                sorted.sort_by(f64::total_cmp);
                let rank = rank(aggregate, sorted.len() as u64);
                sorted.get(rank as usize).map_or(Value::Null, |it| number(*it))
            }
            AggregateState::Sketch(sketch) => number(sketch.at(rank(aggregate, sketch.count()))),
            AggregateState::End(known) => {
                known.as_ref().map_or(Value::Null, |(_, value)| value.clone())
            }
            AggregateState::Distinct(known) => Value::Array(known.clone()),
        }
    }
}

fn extreme(aggregate: Aggregate, one: Number, other: Number) -> Number {
    let wanted = if aggregate == Aggregate::Min { Ordering::Less } else { Ordering::Greater };
    let order = match (whole_of(&one), whole_of(&other)) {
        (Some(one), Some(other)) => Some(other.cmp(&one)),
        _ => other.as_f64().partial_cmp(&one.as_f64()),
    };
    if order == Some(wanted) { other } else { one }
}

/// The sum: exact as long as there is no fraction. `None` where no number is as large.
fn added(one: &Number, other: &Number) -> Option<Number> {
    let whole = whole_of(one).zip(whole_of(other));
    match whole.and_then(|(one, other)| one.checked_add(other)) {
        Some(sum) => Number::from_i128(sum),
        None => Number::from_f64(one.as_f64()? + other.as_f64()?),
    }
}

/// A whole number with all of its digits, however it is written.
fn whole_of(number: &Number) -> Option<i128> {
    let float = || number.as_f64().filter(|it| it.fract() == 0.0 && it.abs() <= WHOLE_MAX);
    number.as_str().parse().ok().or_else(|| float().map(|it| it as i128))
}

/// Up to here, a `f64` has every whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Which of so many sorted numbers a percentile is, counted from 0: the nearest rank.
fn rank(aggregate: Aggregate, count: u64) -> u64 {
    let part = if aggregate == Aggregate::P50 { 0.5 } else { 0.95 };
    ((count as f64 * part).ceil() as u64).max(1) - 1
}

fn add_once(known: &mut Vec<Value>, value: &Value) {
    let is_known = |known: &Value| Val::from_json(known).equals(&Val::from_json(value));
    if known.len() < DISTINCT_MAX && !known.iter().any(is_known) {
        let bytes = |value: &Value| value.to_string().len();
        if known.iter().map(bytes).sum::<usize>() + bytes(value) <= DISTINCT_BYTES {
            known.push(value.clone());
        }
    }
}

/// A number as people write it: `3`, not `3.0`.
fn number(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        true => Value::from(number as i64),
        false => serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

/// The same, with all digits of a whole number.
fn written(known: Option<&Number>) -> Value {
    let Some(known) = known else { return Value::Null };
    let whole = whole_of(known).and_then(Number::from_i128).map(Value::Number);
    whole.or_else(|| known.as_f64().map(number)).unwrap_or(Value::Null)
}

impl NumberSketch {
    fn add(&mut self, number: f64, count: u64) {
        match number {
            0.0 => self.zeros += count,
            number if number < 0.0 => *self.below.entry(bucket(-number)).or_default() += count,
            number => *self.above.entry(bucket(number)).or_default() += count,
        }
    }

    fn merge(&mut self, other: &NumberSketch) {
        for (bucket, count) in &other.below {
            *self.below.entry(*bucket).or_default() += count;
        }
        self.zeros += other.zeros;
        for (bucket, count) in &other.above {
            *self.above.entry(*bucket).or_default() += count;
        }
    }

    fn count(&self) -> u64 {
        self.below.values().sum::<u64>() + self.zeros + self.above.values().sum::<u64>()
    }

    /// The number of this rank, counted from 0.
    fn at(&self, rank: u64) -> f64 {
        let below = self.below.iter().rev().map(|(bucket, count)| (-middle(*bucket), *count));
        let above = self.above.iter().map(|(bucket, count)| (middle(*bucket), *count));
        let mut seen = 0;
        let mut last = 0.0;
        for (number, count) in below.chain([(0.0, self.zeros)]).chain(above) {
            seen += count;
            last = if 0 < count { number } else { last };
            if rank < seen {
                break;
            }
        }
        last
    }
}

fn growth() -> f64 {
    (1.0 + ACCURACY) / (1.0 - ACCURACY)
}

fn bucket(number: f64) -> i32 {
    (number.ln() / growth().ln()).ceil() as i32
}

/// The number in a bucket that is nowhere far from any other in it.
fn middle(bucket: i32) -> f64 {
    2.0 * growth().powi(bucket) / (growth() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::choice::Choice;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(aggregate: Aggregate, values: &[Value]) -> AggregateState {
        let mut state = AggregateState::empty(aggregate);
        for (time, value) in values.iter().enumerate() {
            state.add(aggregate, value, time as i64);
        }
        state
    }

    #[test]
    fn each_comes_to_what_its_name_says() {
        let values = json!([2, null, 4, 4, "x", 4, 5, 5, 7, 9]);
        let values = values.as_array().unwrap();
        let told = |aggregate: &Aggregate| of(*aggregate, values).value(*aggregate);
        let told: Vec<Value> = Aggregate::ALL.iter().map(told).collect();
        let expected = json!([10, 40, 5, 2, 9, 2, 4, 9, 2, 9, [2, 4, "x", 5, 7, 9]]);
        assert_eq!(Value::Array(told), expected);
    }

    #[test]
    fn of_nothing_there_is_nothing() {
        let told = |aggregate: &Aggregate| AggregateState::empty(*aggregate).value(*aggregate);
        let told: Vec<Value> = Aggregate::ALL.iter().map(told).collect();
        let expected = json!([0, 0, null, null, null, null, null, null, null, null, []]);
        assert_eq!(Value::Array(told), expected);
    }

    #[test]
    fn whole_numbers_keep_their_digits() {
        let values: Vec<Value> = ["9007199254740993", "9007199254740992", "1.0"]
            .iter()
            .map(|digits| serde_json::from_str(digits).unwrap())
            .collect();
        let told = |aggregate| of(aggregate, &values).value(aggregate).to_string();
        assert_eq!(told(Aggregate::Max), "9007199254740993");
        assert_eq!(told(Aggregate::Min), "1");
        assert_eq!(told(Aggregate::Sum), "18014398509481986");
        let mixed = [json!(1), json!(0.5)];
        assert_eq!(of(Aggregate::Sum, &mixed).value(Aggregate::Sum), json!(1.5));
        let huge = [json!(1e308), json!(1e308), json!(-1e308)];
        assert_eq!(of(Aggregate::Sum, &huge).value(Aggregate::Sum), Value::Null);
    }

    #[test]
    fn what_earlier_versions_stored_is_read() {
        for (stored, aggregate, expected) in [
            (r#"{"Sum":[5.0,2]}"#, Aggregate::Sum, json!(5)),
            (r#"{"Sum":[5.5,2]}"#, Aggregate::Avg, json!(2.75)),
            (r#"{"Extreme":3.0}"#, Aggregate::Max, json!(3)),
            (r#"{"Extreme":null}"#, Aggregate::Max, Value::Null),
        ] {
            let state: AggregateState = serde_json::from_str(stored).unwrap();
            assert_eq!(state.value(aggregate), expected, "{stored}");
        }
    }

    #[test]
    fn equal_values_are_distinct_once() {
        let values = [json!(1), json!(1.0), json!([0]), json!([-0.0]), json!("1")];
        let told = of(Aggregate::Distinct, &values).value(Aggregate::Distinct);
        assert_eq!(told, json!([1, [0], "1"]));
    }

    #[test]
    fn what_is_distinct_is_kept_within_limits() {
        let many: Vec<Value> = (0..5000).map(Value::from).collect();
        let told = of(Aggregate::Distinct, &many).value(Aggregate::Distinct);
        assert_eq!(told.as_array().unwrap().len(), DISTINCT_MAX);
        let long: Vec<Value> =
            (0..40).map(|it| json!(format!("{it}{}", "x".repeat(4000)))).collect();
        let told = of(Aggregate::Distinct, &long).value(Aggregate::Distinct);
        assert_eq!(told.as_array().unwrap().len(), 16);
    }

    fn close(one: &Value, other: &Value, part: f64) -> bool {
        match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => {
                (one - other).abs() <= part * one.abs().max(other.abs()) + 1e-6
            }
            _ => one == other,
        }
    }

    proptest! {
        #[test]
        fn parts_put_together_are_the_whole(
            numbers in prop::collection::vec(-1e6..1e6_f64, 0..700),
            at in 0_usize..700,
        ) {
            let values: Vec<Value> = numbers.iter().map(|number| json!(number)).collect();
            let at = at.min(values.len());
            for aggregate in Aggregate::ALL.iter().copied().filter(|it| *it != Aggregate::Distinct) {
                let mut state = AggregateState::empty(aggregate);
                for (time, value) in values[..at].iter().enumerate() {
                    state.add(aggregate, value, time as i64);
                }
                let mut rest = AggregateState::empty(aggregate);
                for (time, value) in values.iter().enumerate().skip(at) {
                    rest.add(aggregate, value, time as i64);
                }
                // It survives being stored, too.
                let stored = serde_json::to_string(&state).unwrap();
                let mut state: AggregateState = serde_json::from_str(&stored).unwrap();
                state.merge(aggregate, rest);
                let whole = of(aggregate, &values);
                let (put, whole) = (state.value(aggregate), whole.value(aggregate));
                prop_assert!(close(&put, &whole, 1e-6), "{aggregate:?} {put} {whole}");
            }
        }

        #[test]
        fn percentiles_are_within_one_percent(numbers in prop::collection::vec(-1e6..1e6_f64, 1..2000)) {
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let values: Vec<Value> = numbers.iter().map(|number| json!(number)).collect();
            for aggregate in [Aggregate::P50, Aggregate::P95] {
                let exact = sorted[rank(aggregate, sorted.len() as u64) as usize];
                let told = of(aggregate, &values).value(aggregate);
                prop_assert!(close(&told, &json!(exact), 0.011), "{told} {exact}");
            }
        }
    }
}
