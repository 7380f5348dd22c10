//! Adds what was usual for a key before this event, and how far from it this event is.
//!
//! Two estimates of what is usual:
//!
//! - With `ewma` and `seasonal`, each value has the weight `2^(-age / half-life)`, and what is
//!   usual is the weighted mean `Σwx / Σw` with the weighted variance `Σw(x - mean)² / Σw`. Both are
//!   carried on from value to value as in West, "Updating mean and variance estimates: an improved
//!   method" (CACM 22, 1979), with the fading of Finch, "Incremental calculation of weighted mean
//!   and variance" (2009).
//! - With `mad`, it is the median, with 1.4826 times the median of the distances from it, which for
//!   a normal distribution is its standard deviation: Rousseeuw and Croux, "Alternatives to the
//!   median absolute deviation" (JASA 88, 1993).

use crate::contract::{Adds, EnrichKind, Enricher, Kind, Services};
use crate::memories::{MAX_KEYS, SPAN, read_key, shape_of};
use crate::memory::{Change, MemoryShape, OpenMemory, Remember, key_of};
use kernel::event::Event;
use kernel::fault::Fault;
use kernel::time::{Timestamp, hour_of_week};
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Scope, TypeEnv, ValueType};
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use store::Moment;

/// The words of `method`.
const METHODS: &[&str] = &["ewma", "mad", "seasonal"];
/// The most values that `mad` keeps.
const WINDOW_MAX: i64 = 1000;
/// How many it keeps where the file does not say it.
const WINDOW: usize = 200;
/// From so far out, a number does not count: sums of squares stay finite.
const VALUE_MAX: f64 = 1e100;
/// A deviation of less than this part of the mean is rounding.
const ROUNDING: f64 = 1e-9;
/// The highest score, and that of a value that differs where none did before.
const SCORE_MAX: f64 = 1000.0;
/// Makes the median absolute deviation of a normal distribution its standard deviation.
const MAD_SCALE: f64 = 1.4826;

const NODES: &[NodeRow] = &[
    NodeRow::new("key", "each key has its own baseline; an event whose key is null has none")
        .examples(&[r#"key "event.subject""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new(
        "value",
        "the number that is compared and then learned; an event for which it is not a number gets null and does not count",
    )
    .examples(&[r#"value "data.celsius""#])
    .args(&[Arg::one("number", ValueKind::Expr(Roots::EVENT))])
    .required(),
    NodeRow::new(
        "method",
        "how the usual value is computed: `ewma` is a mean in which a value has half its weight after `half-life`; `mad` is the median of the last `window` values (200), which single outliers do not move; `seasonal` is an `ewma` for each hour of the week, in the pipeline's zone",
    )
    .examples(&[
        r#"method ewma half-life="24h""#,
        "method mad window=200",
        r#"method seasonal half-life="28d""#,
    ])
    .args(&[Arg::one("method", ValueKind::Word(METHODS))])
    .props(&[Prop::new("half-life", SPAN), Prop::new("window", ValueKind::Int(2, WINDOW_MAX))])
    .required(),
    NodeRow::new(
        "warm-up",
        "how many values must be known before there is a score; with `seasonal`, of the same hour of the week",
    )
    .examples(&["warm-up 8"])
    .args(&[Arg::one("values", ValueKind::Int(1, 1_000_000))])
    .default("24"),
    NodeRow::new("band", "how many standard deviations `low` and `high` are from the mean")
        .examples(&["band 2.5"])
        .args(&[Arg::one("deviations", ValueKind::Number(0.1, 1000.0))])
        .default("3.0"),
    MAX_KEYS,
];

/// The kind `baseline`.
pub(super) struct Baseline(BaselineSettings);

/// What is learned, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BaselineSettings {
    key: Expr,
    value: Expr,
    method: LearningMethod,
    warm_up: u64,
    band: f64,
    shape: MemoryShape,
}

#[derive(Debug, Clone, PartialEq)]
enum LearningMethod {
    /// Weights halve in this time.
    Ewma(Duration),
    /// The last so many values.
    Mad(usize),
    /// Weights halve in this time, for each hour of the week.
    Seasonal(Duration),
}

impl Kind for Baseline {
    const WORD: &'static str = "baseline";
    const SUMMARY: &'static str = "adds what was usual for the key, and how unusual the event is: `mean`, `sd`, `low`, `high`, `score`, `is_warm` and `n`";
    const EXAMPLE: &'static str = r#"enrich baseline usual { key "event.subject"; value "data.celsius"; method ewma half-life="24h" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = BaselineSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<BaselineSettings> {
        let value = fields.child("value").and_then(|child| child.arg(0)?.expr(Roots::EVENT));
        let warm_up =
            fields.setting("warm-up").arg(0, |scalar| u64::try_from(scalar.int()?.value).ok());
        let node = fields.child("method")?;
        let word = node.arg(0)?.text()?;
        let method = read_method(&node, &word.value, context)?;
        if let LearningMethod::Mad(window) = method
            && let Some(given) = fields.child("warm-up").and_then(|child| child.arg(0))
            && (window as u64) < warm_up
        {
            context
                .diagnostics
                .push(Rule::OutOfRange, format!("only the last {window} values are known"))
                .at(given.span(), "more than the window holds")
                .help(format!("write `warm-up {window}` or less, or a longer `window`"));
        }
        // A window that is short by itself is all that there is to wait for.
        let warm_up = match method {
            LearningMethod::Mad(window) => warm_up.min(window as u64),
            _ => warm_up,
        };
        let mut shape = shape_of(fields, None);
        let value = value?.value;
        shape.form = format!("{} of {}", word.value, value.text());
        Some(BaselineSettings {
            key: read_key(fields)?.value,
            value,
            method,
            warm_up,
            band: fields.setting("band").arg(0, |scalar| Some(scalar.number()?.value)),
            shape,
        })
    }
}

/// The method with what belongs to it; what belongs to another one is a mistake.
fn read_method(node: &Fields<'_>, word: &str, context: &mut Context<'_>) -> Option<LearningMethod> {
    let (half_life, window) = (node.prop("half-life"), node.prop("window"));
    let is_mad = word == METHODS[1];
    let (other, name, own, example) = match is_mad {
        true => (&half_life, "half-life", "window", "method ewma half-life=\"24h\""),
        false => (&window, "window", "half-life", "method mad window=200"),
    };
    if let Some(scalar) = other {
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("`{name}` does not work with `{word}`"))
            .at(scalar.span(), format!("`{word}` takes `{own}`"))
            .help(format!("remove it, or write `{example}`"));
    }
    if is_mad {
        let window = window.and_then(|window| usize::try_from(window.int()?.value).ok());
        return Some(LearningMethod::Mad(window.unwrap_or(WINDOW)));
    }
    let Some(half_life) = half_life else {
        let is_seasonal = word == METHODS[2];
        let example = if is_seasonal { "28d" } else { "24h" };
        context
            .diagnostics
            .push(Rule::MissingArgument, format!("`{word}` needs `half-life`"))
            .at(node.head(), "no half-life is given")
            .help(format!("write `method {word} half-life=\"{example}\"`"));
        return None;
    };
    let half_life = Scalar::duration(&half_life)?.value;
    Some(match word == METHODS[0] {
        true => LearningMethod::Ewma(half_life),
        false => LearningMethod::Seasonal(half_life),
    })
}

impl EnrichKind for Baseline {
    const IS_REMOTE: bool = false;

    fn memory(settings: &BaselineSettings) -> Option<MemoryShape> {
        Some(settings.shape.clone())
    }

    fn adds(_: &BaselineSettings, _: &TypeEnv) -> Adds {
        let number = || ValueType::number().or_null();
        let shape = ValueType::map([
            ("mean", number()),
            ("sd", number()),
            ("low", number()),
            ("high", number()),
            ("score", ValueType::between(-SCORE_MAX, SCORE_MAX).or_null()),
            ("is_warm", ValueType::bool()),
            ("n", ValueType::number()),
        ]);
        Adds::Value(shape.or_null())
    }

    async fn open(settings: BaselineSettings, _: Services) -> Result<Enricher, Fault> {
        Ok(Enricher::Memory(OpenMemory::of(Baseline(settings))))
    }
}

/// The value of an event, and the hour of the week in which it happened.
pub(super) struct BaselineNoted {
    value: f64,
    hour: u8,
}

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum BaselineKept {
    /// Of all values.
    Faded(FadedMoments),
    /// The last values, in the order in which they came.
    Values(Vec<f64>),
    /// By the hour of the week.
    Hours(BTreeMap<u8, FadedMoments>),
}

/// What is kept of values whose weight halves in a fixed time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FadedMoments {
    /// How many values there were.
    n: u64,
    /// The latest time of any of them.
    time: i64,
    /// The sum of weights, at that time.
    weight: f64,
    mean: f64,
    /// The sum of squares of what differs from the mean, by weight.
    squares: f64,
}

/// What was usual, where anything is known.
#[derive(Debug, Clone, Copy, PartialEq)]
struct UsualValue {
    mean: f64,
    sd: f64,
    n: u64,
}

impl Remember for Baseline {
    type Kept = BaselineKept;
    type Noted = BaselineNoted;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, BaselineNoted)> {
        let scope = Scope::of(event, now);
        let key = key_of(&self.0.key, &scope)?;
        let value =
            self.0.value.eval(&scope).as_f64().filter(|number| number.abs() <= VALUE_MAX)?;
        let hour = match self.0.method {
            LearningMethod::Seasonal(_) => {
                hour_of_week(event.counts_at(), event.globals.zone.as_ref())
            }
            _ => 0,
        };
        Some((key, BaselineNoted { value, hour }))
    }

    fn step(
        &self,
        kept: Option<BaselineKept>,
        noted: &BaselineNoted,
        moment: &Moment<'_>,
    ) -> Change<BaselineKept> {
        let mut kept = kept.unwrap_or_else(|| self.nothing());
        let output = self.judged(kept.usual(noted.hour), noted.value);
        match (&mut kept, &self.0.method) {
            (BaselineKept::Faded(faded), LearningMethod::Ewma(half_life)) => {
                faded.learn(noted.value, moment, *half_life);
            }
            (BaselineKept::Hours(hours), LearningMethod::Seasonal(half_life)) => {
                let faded = hours.entry(noted.hour).or_default();
                faded.learn(noted.value, moment, *half_life);
            }
            (BaselineKept::Values(values), LearningMethod::Mad(window)) => {
                values.push(noted.value);
                values.drain(..values.len().saturating_sub(*window));
            }
            // Another method has another form, so that nothing of it is found here.
            (kept, _) => *kept = self.nothing(),
        }
        Change { output: Some(output), ..Change::keep(kept) }
    }
}

impl Baseline {
    fn nothing(&self) -> BaselineKept {
        match self.0.method {
            LearningMethod::Ewma(_) => BaselineKept::Faded(FadedMoments::default()),
            LearningMethod::Mad(_) => BaselineKept::Values(Vec::new()),
            LearningMethod::Seasonal(_) => BaselineKept::Hours(BTreeMap::new()),
        }
    }

    fn judged(&self, usual: Option<UsualValue>, value: f64) -> Value {
        let Some(UsualValue { mean, sd, n }) = usual else {
            return json!({
                "mean": null, "sd": null, "low": null, "high": null, "score": null,
                "is_warm": false, "n": 0,
            });
        };
        let (is_warm, reach) = (self.0.warm_up <= n, sd * self.0.band);
        let score = if is_warm { score(value, mean, sd) } else { None };
        json!({
            "mean": mean, "sd": sd, "low": mean - reach, "high": mean + reach, "score": score,
            "is_warm": is_warm, "n": n,
        })
    }
}

/// How many standard deviations a value is from the mean, at most [`SCORE_MAX`]. Where nothing
/// deviated before, that is the score of anything else, and the same value again has none.
fn score(value: f64, mean: f64, sd: f64) -> Option<f64> {
    let apart = value - mean;
    match 0.0 < sd {
        true => Some((apart / sd).clamp(-SCORE_MAX, SCORE_MAX)),
        false if apart.abs() <= mean.abs() * ROUNDING => None,
        false => Some(SCORE_MAX.copysign(apart)),
    }
}

impl UsualValue {
    /// What is left of a deviation by rounding is none.
    fn new(mean: f64, sd: f64, n: u64) -> Self {
        let sd = if sd <= mean.abs() * ROUNDING { 0.0 } else { sd };
        UsualValue { mean, sd, n }
    }
}

impl BaselineKept {
    fn usual(&self, hour: u8) -> Option<UsualValue> {
        match self {
            BaselineKept::Faded(faded) => faded.usual(),
            BaselineKept::Hours(hours) => hours.get(&hour)?.usual(),
            BaselineKept::Values(values) => {
                let middle = median(values.clone())?;
                let apart = values.iter().map(|value| (value - middle).abs()).collect();
                let sd = median(apart)? * MAD_SCALE;
                Some(UsualValue::new(middle, sd, values.len() as u64))
            }
        }
    }
}

/// The middle one, or what is midway between the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let above = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { above } else { (values[middle - 1] + above) / 2.0 })
}

impl FadedMoments {
    fn usual(&self) -> Option<UsualValue> {
        let sd = (self.squares / self.weight).sqrt();
        (0 < self.n).then(|| UsualValue::new(self.mean, sd, self.n))
    }

    /// With one more value. One that comes late has the weight that it would have by now, so that
    /// the order of arrival does not matter.
    fn learn(&mut self, value: f64, moment: &Moment<'_>, half_life: Duration) {
        let time = moment.time;
        let faded = |micros: i64| (-(micros as f64) / half_life.as_micros() as f64).exp2();
        self.time = if self.n == 0 { time.0 } else { self.time.min(moment.now.0) };
        let passed = time.0.saturating_sub(self.time);
        let own = faded(passed.saturating_neg().max(0));
        if 0 < passed {
            self.weight *= faded(passed);
            self.squares *= faded(passed);
            self.time = time.0;
        }
        self.weight += own;
        let apart = value - self.mean;
        self.mean += apart * own / self.weight;
        // Rounding must not make it less than nothing.
        self.squares += (own * apart * (value - self.mean)).max(0.0);
        self.n = self.n.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
