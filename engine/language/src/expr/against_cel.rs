//! Random expressions over random events, evaluated by us and by the `cel` crate: wherever CEL
//! has a result, ours is the same.
//!
//! Three things are counted instead of compared: errors of CEL, where we are total (what is
//! missing, of the wrong sort, too large or divided by zero is null); numbers that are not finite,
//! which JSON cannot hold and which are null here; and what the crate evaluates although CEL has
//! no such operator. `PROPTEST_CASES` sets how many cases there are, from 1500 up.

mod random;
mod term;

use super::*;
use cel::objects::Key;
use cel::{ExecutionError, Program, Value as Cel};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use term::{Dialect, Term};

/// The fewest cases of a run.
const CASES_MIN: u32 = 1500;

/// What both sides say about a term.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Both have the same result.
    Same(Value),
    /// CEL has no result.
    Undefined,
    /// They differ, and a number on the way is not finite, so it is null here.
    NotFinite,
    /// They differ, and the crate has computed what CEL does not know.
    NotCel,
    /// They differ, and a macro goes through the keys of a map, which is null here.
    NotOurs,
}

/// An event, and the same as CEL sees it.
struct World {
    event: Event,
    context: cel::Context<'static, 'static>,
}

impl World {
    fn of(data: Value) -> World {
        let event = kernel::testing::event(data.clone());
        let envelope = &event.envelope;
        let fields = json!({
            "seq": event.seq, "type": &*envelope.kind, "source": &*envelope.source,
            "subject": &*envelope.subject, "id": &*envelope.id,
        });
        let mut context = cel::Context::default();
        context.add_variable_from_value("data", to_cel(&data));
        context.add_variable_from_value("event", to_cel(&fields));
        World { event, context }
    }

    fn cel(&self, term: &Term) -> Result<Cel, ExecutionError> {
        let text = term.spelled(Dialect::Cel);
        let program =
            Program::compile(&text).unwrap_or_else(|fault| panic!("CEL reads {text}: {fault}"));
        program.execute(&self.context)
    }

    /// Compares both sides; the error tells how they differ.
    fn compare(&self, term: &Term) -> Result<Verdict, String> {
        let text = term.spelled(Dialect::Ours);
        let expr =
            Expr::parse(&text, Roots::EVENT).map_err(|fault| format!("{text}: {fault:?}"))?;
        let ours = expr.eval(&Scope::of(&self.event, Timestamp(0))).into_json();
        let theirs = match self.cel(term) {
            Ok(theirs) => theirs,
            Err(fault) if is_ours_by_design(&fault) => return Ok(Verdict::Undefined),
            Err(fault) => return Err(format!("{text}: CEL does not know this: {fault}")),
        };
        match from_cel(&theirs) {
            Some(theirs) if theirs == ours => Ok(Verdict::Same(ours)),
            _ if self.meets(term, &|it| self.is_not_finite(it)) => Ok(Verdict::NotFinite),
            _ if self.meets(term, &|it| self.adds_keys(it)) => Ok(Verdict::NotCel),
            _ if self.meets(term, &|it| self.goes_through_keys(it)) => Ok(Verdict::NotOurs),
            theirs => Err(format!("{text}: CEL {theirs:?}, ours {ours}")),
        }
    }

    /// Whether the term, or one inside it, is like this.
    fn meets(&self, term: &Term, is: &dyn Fn(&Term) -> bool) -> bool {
        is(term) || term.children().into_iter().any(|child| self.meets(child, is))
    }

    /// A macro over a map, or one inside a macro whose list has a map among its items.
    fn goes_through_keys(&self, term: &Term) -> bool {
        let Term::Macro(_, parts, "x") = term else { return false };
        let is_macro = |term: &Term| matches!(term, Term::Macro(..));
        match self.cel(&parts[0]) {
            Ok(Cel::Map(_)) => true,
            Ok(Cel::List(items)) => {
                self.meets(&parts[1], &is_macro)
                    && items.iter().any(|item| matches!(item, Cel::Map(_)))
            }
            _ => false,
        }
    }

    fn is_not_finite(&self, term: &Term) -> bool {
        matches!(self.cel(term), Ok(Cel::Float(it)) if !it.is_finite())
    }

    /// The crate adds the keys of a map to a list. In CEL, a list is added to a list only.
    fn adds_keys(&self, term: &Term) -> bool {
        let Term::Binary("+", parts) = term else { return false };
        matches!((self.cel(&parts[0]), self.cel(&parts[1])), (Ok(Cel::List(_)), Ok(Cel::Map(_))))
    }
}

/// Errors for which we have a value by design. Anything else, such as an unknown name, would be
/// a mistake of this test.
fn is_ours_by_design(fault: &ExecutionError) -> bool {
    matches!(
        fault,
        ExecutionError::NoSuchKey(_)
            | ExecutionError::IndexOutOfBounds(_)
            | ExecutionError::NoSuchOverload(_)
            | ExecutionError::ValuesNotComparable(..)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::UnsupportedBinaryOperator(..)
            | ExecutionError::UnsupportedIndex(..)
            | ExecutionError::UnsupportedKeyType(_)
            | ExecutionError::UnsupportedTargetType { .. }
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::DuplicateKey(_)
    )
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(it) => Cel::Bool(*it),
        Value::Number(it) => match it.as_i64() {
            Some(int) => Cel::Int(int),
            None => Cel::Float(it.as_f64().expect("a number that is not whole is a float")),
        },
        Value::String(it) => Cel::String(Arc::new(it.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, it)| (key.clone(), to_cel(it)));
            Cel::Map(entries.collect::<HashMap<String, Cel>>().into())
        }
    }
}

/// As JSON, whole numbers and others kept apart; nothing where JSON has no such value.
fn from_cel(value: &Cel) -> Option<Value> {
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(it) => Value::from(*it),
        Cel::Int(it) => Value::from(*it),
        Cel::Float(it) => Value::Number(serde_json::Number::from_f64(*it)?),
        Cel::String(it) => Value::from(it.as_str()),
        Cel::List(items) => Value::Array(items.iter().map(from_cel).collect::<Option<_>>()?),
        Cel::Map(entries) => {
            let entries = entries.map.iter().map(|(key, it)| match key {
                Key::String(key) => Some((key.as_str().to_owned(), from_cel(it)?)),
                _ => None,
            });
            Value::Object(entries.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// How often something was compared, and how often not.
#[derive(Debug, Default)]
struct Tally {
    same: u32,
    undefined: u32,
    not_finite: u32,
    not_cel: u32,
    not_ours: u32,
    /// Compared terms by the operators and functions in them.
    by_part: BTreeMap<&'static str, u32>,
    /// Compared terms by the sort of their result, where that is not null.
    results: BTreeMap<&'static str, u32>,
}

impl Tally {
    fn count(&mut self, term: &Term, verdict: &Verdict) {
        match verdict {
            Verdict::Undefined => self.undefined += 1,
            Verdict::NotFinite => self.not_finite += 1,
            Verdict::NotCel => self.not_cel += 1,
            Verdict::NotOurs => self.not_ours += 1,
            Verdict::Same(result) => {
                self.same += 1;
                term.parts(&mut |it| *self.by_part.entry(it).or_default() += 1);
                let sort = match result {
                    Value::Null => return,
                    Value::Bool(true) => "true",
                    Value::Bool(false) => "false",
                    Value::Number(it) if it.is_f64() => "float",
                    Value::Number(_) => "whole",
                    Value::String(_) => "text",
                    Value::Array(_) => "list",
                    Value::Object(_) => "map",
                };
                *self.results.entry(sort).or_default() += 1;
            }
        }
    }
}

#[test]
fn wherever_cel_has_a_result_ours_is_the_same() {
    let config = ProptestConfig::with_source_file(file!());
    let cases = config.cases.max(CASES_MIN);
    let tally = std::cell::RefCell::new(Tally::default());
    let mut runner = TestRunner::new(ProptestConfig { cases, ..config });
    let outcome = runner.run(&(random::any_term(), random::any_data()), |(term, data)| {
        let verdict = World::of(data).compare(&term).map_err(TestCaseError::fail)?;
        tally.borrow_mut().count(&term, &verdict);
        Ok(())
    });
    if let Err(TestError::Fail(reason, (term, data))) = outcome {
        panic!("{reason}\nwith data {data}\nand {term:?}");
    }
    let tally = tally.into_inner();
    let total = tally.same + tally.undefined + tally.not_finite + tally.not_cel + tally.not_ours;
    assert!(total >= cases && tally.same * 2 >= total, "too few are compared: {tally:#?}");
    for part in term::PARTS {
        assert!(tally.by_part.contains_key(part), "`{part}` is never compared: {tally:#?}");
    }
    assert_eq!(tally.results.len(), 7, "some sort of result never occurs: {tally:#?}");
}
