//! The functions, each with its name, arity and meaning in one row.

use super::eval::eval;
use super::node::ExprNode;
use super::problem::ExprProblem;
use super::value::Val;
use super::{Roots, Scope};
use crate::{nearest, parse_duration};
use kernel::time::Timestamp;
use regex::Regex;
use serde_json::Value;
use siphasher::sip::SipHasher13;
use std::borrow::Cow;
use std::hash::Hasher;
use std::ops::Range;

/// The largest compiled regular expression, in bytes. `\w` and `\d` know every script, so that an
/// everyday pattern of ten of them takes half a megabyte.
const REGEX_MAX: usize = 1 << 20;

type Body = for<'a> fn(&[Val<'a>], &Scope<'a>) -> Val<'a>;

/// A function, ready to be called.
#[derive(Debug, Clone)]
pub(super) enum Function {
    Plain(&'static Row),
    Matches(Regex),
    Capture(Regex),
}

/// A function: its name, what it takes and what it does.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Fewest and most arguments.
    arity: (usize, usize),
    body: Body,
}

const fn row(name: &'static str, least: usize, most: usize, body: Body) -> Row {
    Row { name, arity: (least, most), body }
}

const ROWS: &[Row] = &[
    row("get", 2, 3, get),
    row("now", 0, 0, |_, scope| Val::Time(scope.now)),
    row("len", 1, 1, |it, _| length(&it[0])),
    row("count", 1, 1, |it, _| length(&it[0])),
    row("lower", 1, 1, |it, _| text(&it[0], str::to_lowercase)),
    row("upper", 1, 1, |it, _| text(&it[0], str::to_uppercase)),
    row("trim", 1, 1, |it, _| text(&it[0], |it| it.trim().to_owned())),
    row("contains", 2, 2, contains),
    row("starts_with", 2, 2, |it, _| two(it, |a, b| a.starts_with(b))),
    row("ends_with", 2, 2, |it, _| two(it, |a, b| a.ends_with(b))),
    row("abs", 1, 1, absolute),
    row("round", 1, 2, round),
    row("min", 1, 16, |it, _| extreme(it, std::cmp::Ordering::Less)),
    row("max", 1, 16, |it, _| extreme(it, std::cmp::Ordering::Greater)),
    row("coalesce", 1, 16, |it, _| {
        it.iter().find(|it| !it.is_null()).cloned().unwrap_or(Val::Null)
    }),
    row("hash", 1, 1, hash),
    row("uuid", 0, 0, |_, scope| {
        scope.random.map_or(Val::Null, |it| owned(it.uuid(scope.now).to_string()))
    }),
    row("time", 1, 1, |it, _| time(&it[0]).map_or(Val::Null, Val::Time)),
    row("date", 1, 1, |it, _| {
        time(&it[0]).map_or(Val::Null, |it| owned(it.to_string()[..10].to_owned()))
    }),
    row("duration", 1, 1, |it, _| {
        let parsed = it[0].as_str().and_then(parse_duration);
        parsed.and_then(|it| i64::try_from(it.as_micros()).ok()).map_or(Val::Null, Val::Span)
    }),
    row("geo_distance", 4, 4, geo_distance),
    row("http.header", 1, 1, |it, scope| {
        let headers = scope.http.and_then(|it| it.get("headers"));
        let name = it[0].as_str().map(str::to_ascii_lowercase);
        name.and_then(|it| headers?.get(it)).map_or(Val::Null, Val::from_json)
    }),
    row("http.query", 1, 1, |it, scope| {
        let query = scope.http.and_then(|it| it.get("query"));
        it[0].as_str().and_then(|it| query?.get(it)).map_or(Val::Null, Val::from_json)
    }),
    row("random.float", 2, 2, |it, scope| match (it[0].as_f64(), it[1].as_f64(), scope.random) {
        (Some(low), Some(high), Some(random)) => Val::float(low + (high - low) * random.ratio()),
        _ => Val::Null,
    }),
    row("random.int", 2, 2, |it, scope| match (&it[0], &it[1], scope.random) {
        (Val::Int(low), Val::Int(high), Some(random)) if low <= high => {
            Val::Int(random.with(|it| it.i64(*low..=*high)))
        }
        _ => Val::Null,
    }),
    row("random.pick", 1, 16, |it, scope| {
        scope
            .random
            .map_or(Val::Null, |random| it[random.with(|dice| dice.usize(..it.len()))].clone())
    }),
];

/// Names from elsewhere, and ours.
const FOREIGN: &[(&str, &str)] = &[
    ("startsWith", "starts_with"),
    ("endsWith", "ends_with"),
    ("has", "get"),
    ("size", "len"),
    ("length", "len"),
    ("timestamp", "time"),
    ("downcase", "lower"),
    ("upcase", "upper"),
    ("default", "coalesce"),
    ("match", "matches"),
    ("test", "matches"),
    ("includes", "contains"),
    ("toLowerCase", "lower"),
    ("toUpperCase", "upper"),
    ("lowercase", "lower"),
    ("uppercase", "upper"),
    ("ascii_downcase", "lower"),
    ("strip", "trim"),
];

/// The function that is meant by a name, where it may be called anywhere.
pub fn meant(name: &str) -> Option<&'static str> {
    let names = names(Roots::EVENT);
    let known = names.iter().find(|it| **it == name).copied();
    let foreign = || FOREIGN.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1);
    known.or_else(foreign).or_else(|| nearest(name, names.iter().copied()))
}

/// Finds a function and checks what can be checked before it is called.
pub(super) fn resolve(
    name: &str,
    at: &Range<usize>,
    whole: Range<usize>,
    arguments: Vec<ExprNode>,
    roots: Roots,
) -> Result<ExprNode, ExprProblem> {
    if name == "matches" || name == "regex_capture" {
        return regex(name, whole, arguments);
    }
    let allowed = |it: &&Row| roots.has_random() || !it.name.starts_with("random.");
    let Some(row) = ROWS.iter().filter(allowed).find(|it| it.name == name) else {
        return Err(unknown(name, at.clone(), roots));
    };
    let (least, most) = row.arity;
    if arguments.len() < least || most < arguments.len() {
        return Err(arity(name, whole, row.arity, arguments.len()));
    }
    check_literals(name, &whole, &arguments)?;
    Ok(ExprNode::Call(Function::Plain(row), arguments.into(), whole))
}

/// What the arguments of a function must be, where they are all of one sort.
pub(super) fn wanted(name: &str) -> &'static str {
    match name {
        "lower" | "upper" | "trim" | "starts_with" | "ends_with" | "duration" | "http.header"
        | "http.query" => "text",
        "abs" | "round" | "geo_distance" | "random.float" | "random.int" => "a number",
        _ => "anything",
    }
}

/// Literals of the wrong sort would make the call null for ever.
fn check_literals(
    name: &str,
    whole: &Range<usize>,
    arguments: &[ExprNode],
) -> Result<(), ExprProblem> {
    let wanted = wanted(name);
    for argument in arguments {
        let ExprNode::Literal(literal, _) = argument else { continue };
        let fits = match wanted {
            "text" => literal.is_string(),
            "a number" => literal.is_number(),
            _ => true,
        };
        if !fits {
            let message = format!("`{name}` takes {wanted}, not `{}`", shown(literal));
            let help = match wanted {
                "text" => "use single quotes for text; a path has no quotes: `data.name`",
                _ => "write numbers without quotes, and paths without quotes: `data.count`",
            };
            return Err(ExprProblem::syntax(whole.clone(), message).help(help));
        }
    }
    let Some(ExprNode::Literal(Value::String(text), _)) = arguments.first() else { return Ok(()) };
    let help = match name {
        "duration" if parse_duration(text).is_none() => {
            "write `duration('5m')`; units: ms s m h d w"
        }
        "time" | "date" if Timestamp::parse(text).is_none() => {
            "write `time('2026-01-01T09:30:00Z')`: RFC 3339, with `Z` or an offset"
        }
        _ => return Ok(()),
    };
    let what = if name == "duration" { "duration" } else { "time" };
    Err(ExprProblem::syntax(whole.clone(), format!("`'{text}'` is not a {what}")).help(help))
}

fn shown(literal: &Value) -> String {
    match literal {
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

fn arity(
    name: &str,
    whole: Range<usize>,
    (least, most): (usize, usize),
    given: usize,
) -> ExprProblem {
    let wanted = match (least, most) {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let plural = if wanted == "1" { "" } else { "s" };
    let help = match most {
        0 => format!("write `{name}()`"),
        _ => format!("write `{name}({})`", ["a", "b", "c", "d"][..least.clamp(1, 4)].join(", ")),
    };
    ExprProblem::syntax(whole, format!("`{name}` takes {wanted} argument{plural}, not {given}"))
        .help(help)
}

/// Every function that may be called where these roots are.
pub(super) fn names(roots: Roots) -> Vec<&'static str> {
    ROWS.iter()
        .map(|it| it.name)
        .chain(["matches", "regex_capture"])
        .filter(|it| roots.has_random() || !it.starts_with("random."))
        .collect()
}

fn unknown(name: &str, at: Range<usize>, roots: Roots) -> ExprProblem {
    let names = names(roots);
    let other = match name {
        "exists" | "isset" | "defined" | "present" | "is_null" | "isNull" | "empty" | "isEmpty" => {
            Some("compare with null: `data.name != null`")
        }
        "if" | "iff" | "ternary" => Some("write `condition ? one : other`"),
        "not" => Some("`!` negates"),
        "env" | "getenv" => Some("use a `param`, or write `${NAME}` in a header, a body or a URL"),
        _ => None,
    };
    if let Some(help) = other {
        let message = format!("there is no function `{name}`");
        return ExprProblem::unknown(at, message, Some(help.to_owned()));
    }
    let foreign = FOREIGN.iter().find(|it| it.0 == name).map(|it| it.1);
    let help = match foreign.or_else(|| nearest(name, names.iter().copied())) {
        Some(it) => format!("did you mean `{it}`?"),
        None => format!("there are: {}", names.join(", ")),
    };
    ExprProblem::unknown(at, format!("there is no function `{name}`"), Some(help))
}

fn regex(
    name: &str,
    whole: Range<usize>,
    mut arguments: Vec<ExprNode>,
) -> Result<ExprNode, ExprProblem> {
    let most = if name == "matches" { 2 } else { 3 };
    if arguments.len() < 2 || most < arguments.len() {
        return Err(arity(name, whole, (2, most), arguments.len()));
    }
    let ExprNode::Literal(Value::String(pattern), _) = arguments.remove(1) else {
        let problem = ExprProblem::syntax(whole, "a pattern must be a quoted text");
        return Err(problem.help("patterns are compiled when the file is read"));
    };
    let compiled = regex::RegexBuilder::new(&pattern).size_limit(REGEX_MAX).build();
    let regex = compiled.map_err(|fault| bad_pattern(&pattern, &whole, &fault))?;
    if let Some(ExprNode::Literal(group, _)) = arguments.get(1)
        && group.as_u64().is_none_or(|it| regex.captures_len() as u64 <= it)
    {
        let groups = regex.captures_len() - 1;
        let message = format!("`{pattern}` has no group `{}`", shown(group));
        return Err(ExprProblem::syntax(whole, message)
            .help(format!("0 is the whole match; the groups go up to {groups}")));
    }
    let function =
        if name == "matches" { Function::Matches(regex) } else { Function::Capture(regex) };
    Ok(ExprNode::Call(function, arguments.into(), whole))
}

fn bad_pattern(pattern: &str, whole: &Range<usize>, fault: &regex::Error) -> ExprProblem {
    if matches!(fault, regex::Error::CompiledTooBig(_)) {
        let message = format!("`{pattern}` is larger than {} KiB when compiled", REGEX_MAX >> 10);
        return ExprProblem::too_large(whole.clone(), message).help(
            r"`\w` and `\d` match every script; `[A-Za-z0-9_]` and `[0-9]` are much smaller",
        );
    }
    let full = fault.to_string();
    let reason = full.lines().last().unwrap_or_default().trim_start_matches("error: ");
    ExprProblem::syntax(whole.clone(), format!("`{pattern}` is not a valid pattern: {reason}"))
        .help(r"escape special characters with a backslash, written twice: `'\\.'`")
}

pub(super) fn call<'a>(
    function: &'a Function,
    arguments: &'a [ExprNode],
    scope: &Scope<'a>,
) -> Val<'a> {
    let values: Vec<Val<'a>> = arguments.iter().map(|it| eval(it, scope)).collect();
    match function {
        Function::Plain(row) => (row.body)(&values, scope),
        Function::Matches(regex) => {
            values[0].as_str().map_or(Val::Null, |it| Val::Bool(regex.is_match(it)))
        }
        Function::Capture(regex) => {
            let group = match values.get(1) {
                Some(Val::Int(it)) => usize::try_from(*it).unwrap_or(usize::MAX),
                _ => usize::from(1 < regex.captures_len()),
            };
            let found = values[0].as_str().and_then(|it| regex.captures(it)?.get(group));
            found.map_or(Val::Null, |it| owned(it.as_str().to_owned()))
        }
    }
}

fn owned(text: String) -> Val<'static> {
    Val::Text(Cow::Owned(text))
}

fn text<'a>(value: &Val<'a>, change: fn(&str) -> String) -> Val<'a> {
    value.as_str().map_or(Val::Null, |it| owned(change(it)))
}

fn two<'a>(values: &[Val<'a>], holds: fn(&str, &str) -> bool) -> Val<'a> {
    match (values[0].as_str(), values[1].as_str()) {
        (Some(a), Some(b)) => Val::Bool(holds(a, b)),
        _ => Val::Null,
    }
}

fn get<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    let default = || values.get(2).cloned().unwrap_or(Val::Null);
    let Some(key) = values[1].as_str() else { return default() };
    let found = match &values[0] {
        Val::Json(base) => base.get(key).map(Val::from_json),
        Val::Owned(base) => base.get(key).cloned().map(Val::from_owned),
        _ => None,
    };
    found.filter(|it| !it.is_null()).unwrap_or_else(default)
}

fn length<'a>(value: &Val<'a>) -> Val<'a> {
    let length = match value.as_json() {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(entries)) => entries.len(),
        _ => match value.as_str() {
            Some(text) => text.chars().count(),
            None => return Val::Null,
        },
    };
    Val::Int(length as i64)
}

fn contains<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    match values[0].as_json() {
        Some(Value::Array(items)) => {
            Val::Bool(items.iter().any(|it| Val::from_json(it).equals(&values[1])))
        }
        Some(_) => Val::Null,
        None => two(values, |a, b| a.contains(b)),
    }
}

fn absolute<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    match &values[0] {
        Val::Int(it) => it.checked_abs().map_or(Val::Null, Val::Int),
        Val::Float(it) => Val::Float(it.abs()),
        Val::Long(it) => Val::Long(Cow::Owned(it.trim_start_matches('-').to_owned())),
        Val::Span(it) => it.checked_abs().map_or(Val::Null, Val::Span),
        _ => Val::Null,
    }
}

fn round<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    let digits = match values.get(1) {
        None => 0,
        Some(Val::Int(it)) => i32::try_from((*it).clamp(0, 15)).unwrap_or(0),
        Some(_) => return Val::Null,
    };
    match &values[0] {
        Val::Int(_) | Val::Long(_) => values[0].clone(),
        Val::Float(it) if digits == 0 && it.abs() < 9e15 => Val::Int(it.round() as i64),
        Val::Float(it) => {
            let scale = 10_f64.powi(digits);
            Val::float((it * scale).round() / scale)
        }
        _ => Val::Null,
    }
}

fn extreme<'a>(values: &[Val<'a>], wanted: std::cmp::Ordering) -> Val<'a> {
    let mut best = values[0].clone();
    for value in &values[1..] {
        match value.compare(&best) {
            Some(order) if order == wanted => best = value.clone(),
            Some(_) => {}
            None => return Val::Null,
        }
    }
    best
}

/// SipHash-1-3 with a zero key, as 16 hexadecimal digits: stable for ever, no protection
/// against who wants collisions.
fn hash<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    if values[0].is_null() {
        return Val::Null;
    }
    let mut hasher = SipHasher13::new();
    hasher.write(values[0].text().as_bytes());
    owned(format!("{:016x}", hasher.finish()))
}

pub(super) fn time(value: &Val<'_>) -> Option<Timestamp> {
    match value {
        Val::Time(it) => Some(*it),
        Val::Text(it) => Timestamp::parse(it),
        other => Timestamp::from_unix_seconds(other.as_f64()?),
    }
}

/// Great-circle distance in metres on a sphere of 6,371,008.8 m (haversine).
fn geo_distance<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    let mut degrees = [0.0; 4];
    for (degree, value) in degrees.iter_mut().zip(values) {
        let Some(number) = value.as_f64() else { return Val::Null };
        *degree = number.to_radians();
    }
    let [lat1, lon1, lat2, lon2] = degrees;
    let half_lat = ((lat2 - lat1) / 2.0).sin();
    let half_lon = ((lon2 - lon1) / 2.0).sin();
    let chord = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lon * half_lon;
    Val::float(2.0 * 6_371_008.8 * chord.sqrt().min(1.0).asin())
}
