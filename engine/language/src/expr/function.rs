//! The functions, each with its name, arity and meaning in one row. Filters are the same functions,
//! given their first value by the `|` before them.

mod lists;
mod maps;
mod moment;
mod texts;

pub(super) use lists::evaluate;
pub use moment::TimePattern;
pub use texts::{number_of, percent_encoded};

use super::aggregate::Aggregate;
use super::eval::eval;
use super::node::{ExprNode, MacroKind};
use super::problem::ExprProblem;
use super::value::Val;
use super::{Roots, Scope};
use crate::nearest;
use kernel::hours::DayRange;
use kernel::time::Timestamp;
use regex::Regex;
use serde_json::Value;
use siphasher::sip::SipHasher13;
use std::borrow::Cow;
use std::hash::Hasher;
use std::ops::Range;
use texts::join;

/// The largest compiled regular expression, in bytes. `\w` and `\d` know every script, so that an
/// everyday pattern of ten of them takes half a megabyte.
const REGEX_MAX: usize = 1 << 20;

type Body = for<'a> fn(&[Val<'a>], &Scope<'a>) -> Val<'a>;

/// A function, ready to be called.
#[derive(Debug, Clone)]
pub(super) enum Function {
    Plain(&'static FunctionRow),
    /// Behind a `|`: null stays null for most, and functions of texts take any value as its text.
    Filter(&'static FunctionRow),
    Matches(Regex),
    Capture(Regex),
    /// Each match replaced; `$1` and `${name}` in the new text are groups.
    Replace(Regex),
    /// The map of a pattern's named groups.
    Groups(Regex),
    /// `time in '22:00-07:00'`, and whether `not in` was written.
    Within(DayRange, bool),
    /// The value that is counted of one event.
    Aggregate(Aggregate),
}

impl Function {
    /// Whether it goes through all items of a list, which has a limit.
    pub(super) fn is_of_lists(&self) -> bool {
        const OF_LISTS: [&str; 13] = [
            "sort", "sum", "avg", "min", "max", "distinct", "flatten", "reverse", "keys", "values",
            "entries", "omit", "merge",
        ];
        matches!(self, Function::Plain(row) | Function::Filter(row) if OF_LISTS.contains(&row.name))
    }
}

/// A function: its name, what it takes and what it does.
#[derive(Debug)]
pub(super) struct FunctionRow {
    pub(super) name: &'static str,
    /// Fewest and most arguments.
    arity: (usize, usize),
    body: Body,
    /// What it does as a filter, where that is something else.
    filter: Option<Body>,
}

const fn row(name: &'static str, least: usize, most: usize, body: Body) -> FunctionRow {
    FunctionRow { name, arity: (least, most), body, filter: None }
}

/// A word that shows a value as a filter, and reads one as a function.
const fn shows(row: FunctionRow, filter: Body) -> FunctionRow {
    FunctionRow { filter: Some(filter), ..row }
}

const ROWS: &[FunctionRow] = &[
    row("get", 2, 3, get),
    row("now", 0, 0, |_, scope| Val::Time(scope.now)),
    row("len", 1, 1, |it, _| length(&it[0])),
    row("count", 1, 1, |it, _| length(&it[0])),
    row("lower", 1, 1, |it, _| text(&it[0], str::to_lowercase)),
    row("upper", 1, 1, |it, _| text(&it[0], str::to_uppercase)),
    row("title", 1, 1, |it, _| text(&it[0], texts::title)),
    row("text", 1, 1, |it, _| told(&it[0], str::to_owned)),
    row("trim", 1, 1, |it, _| text(&it[0], |it| it.trim().to_owned())),
    row("replace", 3, 3, |it, _| texts::replace(it)),
    row("split", 1, 2, |it, _| texts::split(it)),
    row("join", 1, 2, |it, _| lists::joined(it)),
    row("slice", 2, 3, |it, _| texts::slice(it)),
    row("pad", 2, 3, |it, _| texts::pad(it)),
    row("truncate", 2, 2, |it, _| match &it[1] {
        Val::Int(length) => {
            let length = usize::try_from(*length).unwrap_or(0);
            told(&it[0], |it| texts::truncate(it, length))
        }
        _ => Val::Null,
    }),
    row("slug", 1, 1, |it, _| told(&it[0], texts::slug)),
    row("humanize", 1, 1, |it, _| told(&it[0], texts::humanized)),
    row("urlencode", 1, 1, |it, _| told(&it[0], percent_encoded)),
    row("base64", 1, 1, |it, _| text(&it[0], texts::base64)),
    row("unbase64", 1, 1, |it, _| texts::unbase64(it)),
    shows(
        row("json", 1, 1, |it, _| {
            let parsed = it[0].as_str().and_then(|text| serde_json::from_str(text).ok());
            parsed.map_or(Val::Null, Val::from_owned)
        }),
        to_json,
    ),
    row("to_json", 1, 1, to_json),
    row("contains", 2, 2, contains),
    row("starts_with", 2, 2, |it, _| two(it, |a, b| a.starts_with(b))),
    row("ends_with", 2, 2, |it, _| two(it, |a, b| a.ends_with(b))),
    row("number", 1, 1, |it, _| texts::number(&it[0])),
    row("abs", 1, 1, absolute),
    shows(row("round", 1, 2, round), fixed),
    row("floor", 1, 1, |it, _| whole(&it[0], f64::floor)),
    row("ceil", 1, 1, |it, _| whole(&it[0], f64::ceil)),
    row("fixed", 1, 2, fixed),
    row("min", 1, 16, |it, scope| least_or_most(it, std::cmp::Ordering::Less, scope)),
    row("max", 1, 16, |it, scope| least_or_most(it, std::cmp::Ordering::Greater, scope)),
    row("sum", 1, 1, lists::sum),
    row("avg", 1, 1, lists::average),
    row("sort", 1, 1, lists::sort),
    row("reverse", 1, 1, lists::reverse),
    row("distinct", 1, 1, lists::distinct),
    row("flatten", 1, 1, lists::flatten),
    row("first", 1, 1, |it, _| lists::end(&it[0], false)),
    row("last", 1, 1, |it, _| lists::end(&it[0], true)),
    row("keys", 1, 1, maps::keys),
    row("values", 1, 1, maps::values),
    row("entries", 1, 1, maps::entries),
    row("omit", 2, 16, maps::omit),
    row("merge", 2, 16, maps::merge),
    row("coalesce", 1, 16, |it, _| {
        it.iter().find(|it| !it.is_null()).cloned().unwrap_or(Val::Null)
    }),
    row("default", 2, 2, |it, _| it[usize::from(it[0].is_null())].clone()),
    row("hash", 1, 1, hash),
    row("uuid", 0, 0, |_, scope| {
        scope.random.map_or(Val::Null, |random| owned(random.uuid(scope.now).to_string()))
    }),
    shows(row("time", 1, 3, read_time), |it, scope| show_time(it, "HH:mm", scope)),
    row("date", 1, 3, |it, scope| show_time(it, "yyyy-MM-dd", scope)),
    row("hour", 1, 2, |it, scope| local(it, scope, jiff::Zoned::hour)),
    row("minute", 1, 2, |it, scope| local(it, scope, jiff::Zoned::minute)),
    row("day", 1, 2, |it, scope| local(it, scope, jiff::Zoned::day)),
    row("weekday", 1, 2, |it, scope| local(it, scope, |it| it.weekday().to_monday_one_offset())),
    row("duration", 1, 1, |it, _| moment::span(&it[0])),
    row("geo_distance", 4, 4, geo_distance),
    row("http.header", 1, 1, |it, scope| {
        let headers = scope.http.and_then(|http| http.get("headers"));
        let name = it[0].as_str().map(str::to_ascii_lowercase);
        name.and_then(|name| headers?.get(name)).map_or(Val::Null, Val::from_json)
    }),
    row("http.query", 1, 1, |it, scope| {
        let query = scope.http.and_then(|http| http.get("query"));
        it[0].as_str().and_then(|text| query?.get(text)).map_or(Val::Null, Val::from_json)
    }),
    row("random.float", 2, 2, |it, scope| match (it[0].as_f64(), it[1].as_f64(), scope.random) {
        (Some(low), Some(high), Some(random)) => Val::float(low + (high - low) * random.ratio()),
        _ => Val::Null,
    }),
    row("random.int", 2, 2, |it, scope| match (&it[0], &it[1], scope.random) {
        (Val::Int(low), Val::Int(high), Some(random)) if low <= high => {
            Val::Int(random.with(|random| random.i64(*low..=*high)))
        }
        _ => Val::Null,
    }),
    row("random.pick", 1, 16, |it, scope| {
        scope
            .random
            .map_or(Val::Null, |random| it[random.with(|dice| dice.usize(..it.len()))].clone())
    }),
];

/// The functions whose second argument is a pattern, which is compiled with the file.
const PATTERNS: [&str; 3] = ["matches", "regex_capture", "regex_replace"];

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
    ("match", "matches"),
    ("test", "matches"),
    ("includes", "contains"),
    ("toLowerCase", "lower"),
    ("toUpperCase", "upper"),
    ("lowercase", "lower"),
    ("uppercase", "upper"),
    ("ascii_downcase", "lower"),
    ("strip", "trim"),
    ("int", "number"),
    ("float", "number"),
    ("double", "number"),
    ("to_number", "number"),
    ("toNumber", "number"),
    ("capitalize", "title"),
    ("string", "text"),
    ("str", "text"),
    ("to_string", "text"),
    ("toString", "text"),
    ("tostring", "text"),
    ("substring", "slice"),
    ("substr", "slice"),
    ("unique", "distinct"),
    ("uniq", "distinct"),
    ("average", "avg"),
    ("mean", "avg"),
    ("ceiling", "ceil"),
    ("reversed", "reverse"),
    ("to_entries", "entries"),
    ("toEntries", "entries"),
    ("without", "omit"),
    ("except", "omit"),
    ("del", "omit"),
    ("assign", "merge"),
    ("gsub", "regex_replace"),
    ("re_replace", "regex_replace"),
    ("replace_re", "regex_replace"),
    ("from_json", "json"),
    ("tojson", "to_json"),
    ("strftime", "time"),
    ("any", "exists"),
    ("some", "exists"),
    ("find", "filter"),
    ("every", "all"),
    ("select", "filter"),
];

/// The function that is meant by a name, where it may be called anywhere.
pub fn meant(name: &str) -> Option<&'static str> {
    let names = names(Roots::EVENT);
    let known = names.iter().find(|it| **it == name).copied();
    let foreign = || FOREIGN.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1);
    known.or_else(foreign).or_else(|| nearest(name, names.iter().copied()))
}

/// Whether a function has this name.
pub(crate) fn is_function(name: &str) -> bool {
    names(Roots::EVENT).contains(&name)
}

/// Finds a function and checks what can be checked before it is called.
pub(super) fn resolve(
    name: &str,
    at: &Range<usize>,
    whole: Range<usize>,
    arguments: Vec<ExprNode>,
    roots: Roots,
) -> Result<ExprNode, ExprProblem> {
    if PATTERNS.contains(&name) {
        return regex(name, whole, arguments);
    }
    let Some(row) = find(name, roots) else {
        return Err(unknown(name, at.clone(), roots));
    };
    let (least, most) = row.arity;
    if arguments.len() < least || most < arguments.len() {
        return Err(arity(name, whole, row.arity, arguments.len()));
    }
    check_literals(name, &whole, &arguments, false)?;
    Ok(ExprNode::Call(Function::Plain(row), arguments.into(), whole))
}

fn find(name: &str, roots: Roots) -> Option<&'static FunctionRow> {
    let allowed = |row: &&FunctionRow| roots.has_random() || !row.name.starts_with("random.");
    ROWS.iter().filter(allowed).find(|row| row.name == name)
}

/// The same for a filter: the first argument is the value before its `|`, `at` the place of its
/// name, and `place` that of its brackets.
pub(super) fn resolve_filter(
    name: &str,
    at: &Range<usize>,
    place: Range<usize>,
    arguments: Vec<ExprNode>,
    roots: Roots,
) -> Result<ExprNode, ExprProblem> {
    let whole = at.start..place.end;
    if PATTERNS.contains(&name) {
        return regex(name, whole, arguments);
    }
    // What takes no value first is no filter.
    let row = find(name, roots).filter(|it| 0 < it.arity.1);
    let Some(row) = row else { return Err(unknown_filter(name, at.clone(), roots)) };
    let (least, most) = row.arity;
    let given = arguments.len();
    if given < least || most < given {
        let (message, help) = match (least, most) {
            (_, 1) => (format!("`{name}` takes no argument"), format!("write `| {name}`")),
            _ if given < least => (format!("`{name}` needs {}", needed(name)), example(name)),
            _ => {
                let most = most - 1;
                let plural = if most == 1 { "" } else { "s" };
                (format!("`{name}` takes at most {most} argument{plural}"), example(name))
            }
        };
        let span = if place.is_empty() { at.clone() } else { place };
        return Err(ExprProblem::syntax(span, message).help(help));
    }
    check_literals(name, &place, &arguments, true)?;
    Ok(ExprNode::Call(Function::Filter(row), arguments.into(), whole))
}

/// What a filter needs behind its name.
fn needed(name: &str) -> &'static str {
    match name {
        "default" | "contains" => "a value",
        "truncate" => "a number of characters",
        "pad" => "a length",
        "slice" => "a place to begin at",
        "replace" => "two texts",
        "get" => "a name",
        _ => "an argument",
    }
}

fn example(name: &str) -> String {
    format!("write `{name}({})`", behind_value(name))
}

/// A call of a function, for help texts.
fn call_of(name: &str) -> String {
    let value = match name {
        "time" | "date" | "hour" | "minute" | "day" | "weekday" => "event.time",
        "random.float" | "random.int" => return format!("as in `{name}(1, 6)`"),
        "geo_distance" => return "as in `geo_distance(data.lat, data.lon, 52.5, 13.4)`".to_owned(),
        "round" | "fixed" | "abs" | "floor" | "ceil" | "pad" => "data.n",
        _ => "data.name",
    };
    match behind_value(name) {
        "" => format!("as in `{name}({value})`"),
        arguments => format!("as in `{name}({value}, {arguments})`"),
    }
}

/// What a function takes behind its value, for help texts.
fn behind_value(name: &str) -> &'static str {
    match name {
        "default" => "'?'",
        "truncate" => "80",
        "time" => "'HH:mm'",
        "date" => "'dd.MM.yyyy'",
        "join" => "', '",
        "replace" => "'_', ' '",
        "split" => "','",
        "pad" => "2, '0'",
        "slice" => "0, 5",
        "round" | "fixed" => "2",
        "hour" | "minute" | "day" | "weekday" => "'Europe/Berlin'",
        "get" => "'key'",
        "min" | "max" => "5",
        "coalesce" => "'none'",
        "omit" => "'token'",
        "merge" => "{'a': 1}",
        _ if ROWS.iter().any(|row| row.name == name && row.arity.1 == 1) => "",
        _ => "'text'",
    }
}

fn unknown_filter(name: &str, span: Range<usize>, roots: Roots) -> ExprProblem {
    let names: Vec<&str> = names(roots).into_iter().filter(|name| !name.contains('.')).collect();
    if name.is_empty() {
        let help = "a function's name follows: `{{ data.name | upper }}`";
        return ExprProblem::syntax(span, "a filter is missing after `|`").help(help);
    }
    let foreign = FOREIGN.iter().find(|it| it.0 == name).map(|it| it.1);
    let near = foreign.or_else(|| nearest(name, names.iter().copied()));
    let help = near.map_or_else(
        || format!("the filters are {}", names.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    ExprProblem::unknown(span, format!("there is no filter `{name}`"), Some(help))
}

/// What an argument of a function must be, where it must be of one type.
pub(super) fn wanted(name: &str, index: usize) -> &'static str {
    match (name, index) {
        (
            "lower" | "upper" | "trim" | "title" | "starts_with" | "ends_with" | "http.header"
            | "http.query" | "replace" | "regex_replace" | "split" | "base64" | "unbase64",
            _,
        )
        | ("json", 0)
        | ("join" | "time" | "date" | "hour" | "minute" | "day" | "weekday", 1)
        | ("pad" | "time" | "date", 2) => "text",
        (
            "abs" | "round" | "floor" | "ceil" | "geo_distance" | "random.float" | "random.int",
            _,
        )
        | ("slice", 1 | 2)
        | ("pad" | "truncate" | "fixed", 1) => "a number",
        ("sort" | "sum" | "avg" | "distinct" | "flatten" | "reverse" | "first" | "last", _)
        | ("join", 0) => "a list",
        ("keys" | "values" | "entries" | "omit", 0) | ("merge", _) => "a map",
        ("omit", _) => "text",
        ("date" | "hour" | "minute" | "day" | "weekday" | "in", 0) => "a time",
        ("time", 0) => "a time",
        ("duration", _) => "a text or number",
        ("len" | "count", _) => "a text, list or map",
        ("slice", 0) => "a text or list",
        _ => "anything",
    }
}

/// Literals of the wrong type would make every call null.
fn check_literals(
    name: &str,
    whole: &Range<usize>,
    arguments: &[ExprNode],
    is_filter: bool,
) -> Result<(), ExprProblem> {
    for (index, argument) in arguments.iter().enumerate() {
        let ExprNode::Literal(literal, span) = argument else { continue };
        let wanted = wanted(name, index);
        let fits = match wanted {
            "text" => literal.is_string(),
            "a number" => literal.is_number(),
            "a list" => literal.is_array(),
            "a text or number" => literal.is_string() || literal.is_number(),
            _ => true,
        };
        let is_value = is_filter && index == 0;
        if !fits && !is_value {
            let message = format!("`{name}` takes {wanted}, not `{}`", shown(literal));
            let help = match wanted {
                "text" => "use single quotes for text; a path has no quotes: `data.name`",
                "a list" => "write a list in brackets: `[1, 2]`, or a path: `data.items`",
                _ => "write numbers without quotes, and paths without quotes: `data.count`",
            };
            let span = if arguments.len() == 1 || is_filter { whole } else { span };
            return Err(ExprProblem::syntax(span.clone(), message).help(help));
        }
        check_moment(name, index, literal, span)?;
        check_number(name, index, literal, span, is_filter)?;
    }
    let Some(ExprNode::Literal(Value::String(text), span)) = arguments.first() else {
        return Ok(());
    };
    let help = match name {
        "duration" if moment::parse_span(text).is_none() => {
            "write `duration('5m')`; units: ms s m h d w"
        }
        "time" | "date" | "hour" | "minute" | "day" | "weekday"
            if Timestamp::parse_in(text, None).is_none()
                && (arguments.len() == 1 || name != "time") =>
        {
            "write `time('2026-01-01T09:30:00Z')`: RFC 3339; without `Z` or an offset, it is in \
             the pipeline's zone"
        }
        _ => return Ok(()),
    };
    let what = if name == "duration" { "duration" } else { "time" };
    let span = if is_filter { span } else { whole };
    Err(ExprProblem::syntax(span.clone(), format!("`'{text}'` is not a {what}")).help(help))
}

/// A pattern or a zone that is none.
fn check_moment(
    name: &str,
    index: usize,
    literal: &Value,
    span: &Range<usize>,
) -> Result<(), ExprProblem> {
    let Some(text) = literal.as_str() else { return Ok(()) };
    let is_pattern = matches!((name, index), ("time", 1) | ("date", 1));
    let is_zone = matches!(
        (name, index),
        ("time" | "date", 2) | ("hour" | "minute" | "day" | "weekday" | "date", 1)
    );
    if is_zone && kernel::time::zone(text).is_some() {
        return Ok(());
    }
    if is_zone && (!is_pattern || text.contains('/')) {
        let near = jiff::tz::db().available().map(|available| available.as_str().to_owned());
        let near: Vec<String> = near.collect();
        let help = match nearest(text, near.iter().map(String::as_str)) {
            Some(it) => format!("did you mean `'{it}'`?"),
            None => "write a name such as `'Europe/Berlin'`".to_owned(),
        };
        let message = format!("`{text}` is not a time zone");
        return Err(ExprProblem::syntax(span.clone(), message).help(help));
    }
    match moment::pattern_problem(text, span).filter(|_| is_pattern) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// A number of digits or characters that is none.
fn check_number(
    name: &str,
    index: usize,
    literal: &Value,
    span: &Range<usize>,
    is_filter: bool,
) -> Result<(), ExprProblem> {
    let (wanted, fits) = match (name, index) {
        ("round" | "fixed", 1) => {
            ("a number of digits, 0 to 15", literal.as_u64().is_some_and(|number| number <= 15))
        }
        ("truncate", 1) => ("a number of characters", literal.is_u64()),
        ("slice", 1 | 2) => ("whole numbers", literal.is_i64()),
        ("pad", 1) => ("a whole number", literal.is_i64()),
        ("pad", 2) => (
            "one character to fill with",
            literal.as_str().is_some_and(|text| text.chars().count() == 1),
        ),
        _ => return Ok(()),
    };
    match fits {
        true => Ok(()),
        false => {
            let help = if is_filter { example(name) } else { call_of(name) };
            Err(ExprProblem::syntax(span.clone(), format!("`{name}` takes {wanted}")).help(help))
        }
    }
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
        _ => call_of(name),
    };
    ExprProblem::syntax(whole, format!("`{name}` takes {wanted} argument{plural}, not {given}"))
        .help(help)
}

/// Every function that may be called where these roots are.
pub(super) fn names(roots: Roots) -> Vec<&'static str> {
    ROWS.iter()
        .map(|row| row.name)
        .chain(PATTERNS)
        .chain(MacroKind::ALL.map(|it| it.0))
        .filter(|name| roots.has_random() || !name.starts_with("random."))
        .collect()
}

fn unknown(name: &str, at: Range<usize>, roots: Roots) -> ExprProblem {
    let names = names(roots);
    let other = match name {
        "sqrt" | "pow" | "power" | "exp" | "log" | "ln" | "sin" | "cos" | "tan" => {
            Some("numbers have `+ - * / %`, `abs`, `round`, `floor`, `ceil`, `min` and `max`")
        }
        "isset" | "defined" | "present" | "is_null" | "isNull" | "empty" | "isEmpty" => {
            Some("compare with null: `data.name != null`")
        }
        "if" | "iff" | "ternary" => Some("write `condition ? one : other`"),
        "not" => Some("`!` negates"),
        "env" | "getenv" => Some(
            "an expression reads no variables: use a `param`, which `--set param.NAME=VALUE` \
             changes, or write `${NAME}` in a header, a body or a URL",
        ),
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
    let (least, most) = match name {
        "matches" => (2, 2),
        "regex_replace" => (3, 3),
        _ => (2, 3),
    };
    if arguments.len() < least || most < arguments.len() {
        return Err(arity(name, whole, (least, most), arguments.len()));
    }
    let ExprNode::Literal(Value::String(pattern), place) = arguments.remove(1) else {
        let problem = ExprProblem::syntax(whole, "a pattern must be a quoted text");
        return Err(problem.help("patterns are compiled when the file is read"));
    };
    let compiled = regex::RegexBuilder::new(&pattern).size_limit(REGEX_MAX).build();
    let regex = compiled.map_err(|fault| bad_pattern(&pattern, &place, &fault))?;
    if name == "regex_replace" {
        check_literals(name, &whole, &arguments, false)?;
        check_references(&regex, &pattern, &arguments[1])?;
        return Ok(ExprNode::Call(Function::Replace(regex), arguments.into(), whole));
    }
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    if let Some(ExprNode::Literal(Value::String(group), span)) = arguments.get(1) {
        let Some(index) = regex.capture_names().position(|name| name == Some(group)) else {
            let message = format!("`{pattern}` has no group `{group}`");
            let help = match (nearest(group, names.iter().copied()), names.is_empty()) {
                (Some(near), _) => format!("did you mean `'{near}'`?"),
                (None, true) => "name a group with `(?<name>…)`".to_owned(),
                (None, false) => format!("its groups are {}", names.join(", ")),
            };
            return Err(ExprProblem::syntax(span.clone(), message).help(help));
        };
        arguments[1] = ExprNode::Literal(Value::from(index), span.clone());
    }
    if let Some(ExprNode::Literal(group, span)) = arguments.get(1)
        && group.as_u64().is_none_or(|number| regex.captures_len() as u64 <= number)
    {
        let groups = regex.captures_len() - 1;
        let message = format!("`{pattern}` has no group `{}`", shown(group));
        return Err(ExprProblem::syntax(span.clone(), message)
            .help(format!("0 is the whole match; the groups go up to {groups}")));
    }
    let function = match (name, names.is_empty() || 1 < arguments.len()) {
        ("matches", _) => Function::Matches(regex),
        (_, true) => Function::Capture(regex),
        (_, false) => Function::Groups(regex),
    };
    Ok(ExprNode::Call(function, arguments.into(), whole))
}

/// A `$name` in the text that replaces a match must be a group: it would be replaced by nothing.
fn check_references(regex: &Regex, pattern: &str, to: &ExprNode) -> Result<(), ExprProblem> {
    let ExprNode::Literal(Value::String(text), span) = to else { return Ok(()) };
    for reference in texts::references(text) {
        let is_group = match reference.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|name| name == reference),
        };
        if is_group {
            continue;
        }
        let digits =
            reference.len() - reference.trim_start_matches(|it: char| it.is_ascii_digit()).len();
        let help = match reference.split_at(digits) {
            ("", _) => "write `$$` for a dollar sign".to_owned(),
            (_, "") => {
                let groups = regex.captures_len() - 1;
                format!("the groups go up to {groups}; write `$$` for a dollar sign")
            }
            (number, rest) => format!("write `${{{number}}}{rest}`, or `$$` for a dollar sign"),
        };
        let message = format!("`{pattern}` has no group `{reference}`");
        return Err(ExprProblem::syntax(span.clone(), message).help(help));
    }
    Ok(())
}

/// Whether a time can be read by this pattern: it has a year, a month and a day.
pub(super) fn has_date(pattern: &str) -> bool {
    moment::has_date(pattern)
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
        .help(pattern_help(reason))
}

/// What to do about a pattern that the compiler refuses for this reason.
pub fn pattern_help(reason: &str) -> &'static str {
    const HELPS: &[(&str, &str)] = &[
        ("unclosed character class", r"end it with `]`; the character itself is `\[`"),
        ("unclosed group", r"end it with `)`; the character itself is `\(`"),
        ("unopened group", r"begin it with `(`; the character itself is `\)`"),
        ("unclosed counted repetition", r"end it with `}`; the character itself is `\{`"),
        (
            "repetition operator missing",
            r"nothing is before it to repeat; the character itself is `\*`, `\+` or `\?`",
        ),
        (
            "repetition quantifier expects",
            r"write how often, such as `{2,5}`; the character itself is `\{`",
        ),
        (
            "invalid character class range",
            r"write the lower end first; a `-` itself is last, as in `[a-z-]`",
        ),
        (
            "look-around",
            "look-around is not supported: match what is before or after as well, in a group of its own",
        ),
        ("backreferences", "a pattern cannot refer to its own groups"),
        (
            "unrecognized escape",
            r"write the letter without a backslash; a backslash itself is `\\`",
        ),
        ("incomplete escape", r"a backslash itself is `\\`"),
    ];
    let known = HELPS.iter().find(|help| reason.contains(help.0));
    known.map_or("put a backslash before a character that has a special meaning", |help| help.1)
}

pub(super) fn call<'a>(
    function: &'a Function,
    arguments: &'a [ExprNode],
    scope: &Scope<'a>,
) -> Val<'a> {
    let mut values: Vec<Val<'a>> = arguments.iter().map(|argument| eval(argument, scope)).collect();
    match function {
        Function::Plain(row) => (row.body)(&values, scope),
        Function::Filter(row) => {
            let takes_null = matches!(row.name, "default" | "coalesce" | "json" | "to_json");
            if values[0].is_null() && !takes_null && row.name != "hash" {
                return Val::Null;
            }
            if wanted(row.name, 0) == "text" && row.filter.is_none() {
                values[0] = owned(values[0].text());
            }
            (row.filter.unwrap_or(row.body))(&values, scope)
        }
        Function::Within(range, negates) => {
            let zone = scope.zone.unwrap_or(&UTC);
            let found = time(&values[0], scope).and_then(|it| moment::is_within(*range, it, zone));
            found.map_or(Val::Null, |it| Val::Bool(it != *negates))
        }
        Function::Groups(regex) => {
            let found = values[0].as_str().and_then(|text| regex.captures(text));
            let Some(found) = found else { return Val::Null };
            let groups = regex.capture_names().flatten();
            let text =
                |name| found.name(name).map_or(Value::Null, |name| Value::from(name.as_str()));
            Val::Owned(Value::Object(groups.map(|group| (group.to_owned(), text(group))).collect()))
        }
        Function::Replace(regex) => texts::replace_pattern(&values, regex),
        Function::Matches(regex) => {
            values[0].as_str().map_or(Val::Null, |text| Val::Bool(regex.is_match(text)))
        }
        Function::Capture(regex) => {
            let group = match values.get(1) {
                Some(Val::Int(it)) => usize::try_from(*it).unwrap_or(usize::MAX),
                _ => usize::from(1 < regex.captures_len()),
            };
            let found = values[0].as_str().and_then(|text| regex.captures(text)?.get(group));
            found.map_or(Val::Null, |it| owned(it.as_str().to_owned()))
        }
        Function::Aggregate(_) => values.pop().unwrap_or(Val::Null),
    }
}

fn owned(text: String) -> Val<'static> {
    Val::Text(Cow::Owned(text))
}

/// For scopes that have no zone.
static UTC: jiff::tz::TimeZone = jiff::tz::TimeZone::UTC;

/// The text of any value, changed.
fn told<'a>(value: &Val<'a>, change: impl Fn(&str) -> String) -> Val<'a> {
    if value.is_null() { Val::Null } else { owned(change(&value.text())) }
}

fn to_json<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    owned(values[0].to_json().to_string())
}

/// How many decimal digits are wanted; `None` where that is no number.
fn digits(given: Option<&Val<'_>>) -> Option<usize> {
    match given {
        None => Some(0),
        Some(Val::Int(it)) => usize::try_from((*it).clamp(0, 15)).ok(),
        Some(_) => None,
    }
}

/// A number with so many decimal digits, halves away from zero, and never a negative zero.
fn rounded(number: f64, digits: usize) -> f64 {
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or(0));
    let made = (number * scale).round() / scale;
    // What is too large to be scaled has no fraction.
    if made.is_finite() { made + 0.0 } else { number }
}

/// A number with so many digits behind the point, as text.
fn fixed<'a>(values: &[Val<'a>], _: &Scope<'a>) -> Val<'a> {
    let Some(digits) = digits(values.get(1)) else { return Val::Null };
    let point = if digits == 0 { "" } else { "." };
    match &values[0] {
        // No float holds every whole number.
        Val::Int(_) | Val::Long(_) => owned(format!("{}{point}{:0<digits$}", values[0].text(), "")),
        Val::Float(number) => owned(format!("{:.digits$}", rounded(*number, digits))),
        other => other.clone(),
    }
}

/// Of several values, or of the items of the only one.
fn least_or_most<'a>(values: &[Val<'a>], wanted: std::cmp::Ordering, scope: &Scope<'a>) -> Val<'a> {
    match values {
        [list] if list.as_json().is_some_and(Value::is_array) => {
            lists::extreme_item(list, wanted, scope)
        }
        _ => extreme(values, wanted),
    }
}

/// The zone that is named, or the pipeline's, or UTC.
fn zone(name: Option<&Val<'_>>, scope: &Scope<'_>) -> Option<jiff::tz::TimeZone> {
    match name {
        None => Some(scope.zone.unwrap_or(&UTC).clone()),
        Some(name) => kernel::time::zone(name.as_str()?),
    }
}

/// A part of a time as the clocks and calendars of a zone show it.
fn local<'a>(values: &[Val<'a>], scope: &Scope<'a>, part: fn(&jiff::Zoned) -> i8) -> Val<'a> {
    let zone = zone(values.get(1), scope);
    let at = time(&values[0], scope).zip(zone).and_then(|(time, zone)| moment::zoned(time, &zone));
    at.map_or(Val::Null, |it| Val::Int(i64::from(part(&it))))
}

/// A time as text: the second value is a pattern or the name of a zone, the third is a zone.
fn show_time<'a>(values: &[Val<'a>], usual: &str, scope: &Scope<'a>) -> Val<'a> {
    let given = values.get(1).map(|value| value.as_str().unwrap_or_default());
    let named = match values.get(2) {
        Some(name) => zone(Some(name), scope),
        None => given.and_then(kernel::time::zone),
    };
    if named.is_none() && 2 < values.len() {
        return Val::Null;
    }
    let is_zone = named.is_some() && values.len() == 2;
    let pattern = if is_zone { usual } else { given.unwrap_or(usual) };
    let zone = named.as_ref().unwrap_or(scope.zone.unwrap_or(&UTC));
    let text = time(&values[0], scope).and_then(|time| moment::shown(time, pattern, zone));
    text.map_or(Val::Null, owned)
}

/// A time out of a value; a text is read by the pattern behind it. What is a time already is
/// shown by the pattern, as by the filter.
fn read_time<'a>(values: &[Val<'a>], scope: &Scope<'a>) -> Val<'a> {
    let Some(pattern) = values.get(1) else {
        return time(&values[0], scope).map_or(Val::Null, Val::Time);
    };
    let (Some(pattern), Some(zone)) = (pattern.as_str(), zone(values.get(2), scope)) else {
        return Val::Null;
    };
    match &values[0] {
        Val::Text(text) => moment::read(text, pattern, &zone).map_or(Val::Null, Val::Time),
        value => {
            let text = time(value, scope).and_then(|time| moment::shown(time, pattern, &zone));
            text.map_or(Val::Null, owned)
        }
    }
}

fn text<'a>(value: &Val<'a>, change: fn(&str) -> String) -> Val<'a> {
    value.as_str().map_or(Val::Null, |text| owned(change(text)))
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
            Val::Bool(items.iter().any(|item| Val::from_json(item).equals(&values[1])))
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
    let Some(digits) = digits(values.get(1)) else { return Val::Null };
    match &values[0] {
        Val::Int(_) | Val::Long(_) => values[0].clone(),
        Val::Float(it) if digits == 0 && it.abs() < 9e15 => Val::Int(it.round() as i64),
        Val::Float(it) => Val::float(rounded(*it, digits)),
        _ => Val::Null,
    }
}

/// A number without its fraction, by the way that it is rounded.
fn whole<'a>(value: &Val<'a>, way: fn(f64) -> f64) -> Val<'a> {
    match value {
        Val::Int(_) | Val::Long(_) => value.clone(),
        Val::Float(it) if it.abs() < 9e15 => Val::Int(way(*it) as i64),
        Val::Float(it) => Val::Float(way(*it)),
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
    hasher.write(values[0].identity().as_bytes());
    owned(format!("{:016x}", hasher.finish()))
}

fn time(value: &Val<'_>, scope: &Scope<'_>) -> Option<Timestamp> {
    match value {
        Val::Time(it) => Some(*it),
        Val::Text(it) => Timestamp::parse_in(it, scope.zone),
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
