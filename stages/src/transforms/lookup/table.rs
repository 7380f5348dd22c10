//! A table file, checked and turned into rows by key.

use super::unique::UniqueJson;
use language::diagnostic::{Diagnostics, Rule, SourceText};
use language::expr::ValueType;
use language::nearest;
use language::spanned::{Span, Spanned};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Rows by key, only with the columns that were asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    rows: HashMap<String, Value>,
    /// What a row may be.
    shape: ValueType,
}

/// What the pipeline file says of columns.
#[derive(Debug)]
pub(super) struct Columns {
    /// Only these; all where there are none.
    pub(super) select: Vec<Spanned<String>>,
    pub(super) numbers: Vec<Spanned<String>>,
    pub(super) flags: Vec<Spanned<String>>,
}

/// A row and where it stands in the file, where that is known.
struct Row {
    fields: Map<String, Value>,
    span: Span,
}

/// What is wrong, and where in the table file.
struct Trouble {
    message: String,
    span: Span,
    label: &'static str,
}

impl Table {
    /// Reads `source`; `path` is where the pipeline file names it.
    pub(super) fn read(
        source: &Arc<SourceText>,
        path: &Spanned<String>,
        key: &Spanned<String>,
        wanted: &Columns,
        diagnostics: &mut Diagnostics,
    ) -> Option<Table> {
        let is_csv = !matches!(path.value.rsplit('.').next(), Some("json" | "jsonl" | "ndjson"));
        let found = match path.value.rsplit('.').next() {
            Some("json") => read_json(&source.text, &key.value),
            Some("jsonl" | "ndjson") => read_lines(&source.text),
            _ => read_csv(&source.text),
        };
        let keyed = found.and_then(|mut rows| {
            let columns: BTreeSet<String> =
                rows.iter().flat_map(|it| it.fields.keys().cloned()).collect();
            if is_csv {
                find_numbers(&mut rows, &columns, &key.value, wanted);
            }
            wanted.numbers.iter().try_for_each(|it| typed(&mut rows, &it.value, number))?;
            wanted.flags.iter().try_for_each(|it| typed(&mut rows, &it.value, flag))?;
            Ok((by_key(rows, &key.value, &columns)?, columns))
        });
        let (rows, columns) = match keyed {
            Ok(found) => found,
            Err(Trouble { message, span, label }) => {
                diagnostics
                    .push(Rule::BadTable, message)
                    .at(path.span.clone(), "in this table")
                    .help("correct that file; it is reloaded when you save it")
                    .frame(source.clone(), span, label);
                return None;
            }
        };
        let is_known = |it: &&Spanned<String>| columns.is_empty() || columns.contains(&it.value);
        let typed = wanted.numbers.iter().chain(&wanted.flags);
        let mut named = wanted.select.iter().chain([key]).chain(typed);
        if let Some(unknown) = named.find(|it| !is_known(it)) {
            report_column(unknown, &columns, diagnostics);
            return None;
        }
        let rows: HashMap<String, Value> =
            rows.into_iter().map(|(key, it)| (key, chosen(it, &wanted.select))).collect();
        let shape = shape_of(&rows);
        Some(Table { rows, shape })
    }

    /// What a row may be.
    pub(super) fn shape(&self) -> &ValueType {
        &self.shape
    }

    /// The row with this key.
    pub(super) fn row(&self, key: &str) -> Option<&Value> {
        self.rows.get(key)
    }
}

/// A cell as a value of its column's type; the error is what it is not.
type Convert = fn(&str) -> Result<Value, &'static str>;

fn number(cell: &str) -> Result<Value, &'static str> {
    cell.parse().map(Value::Number).map_err(|_| "a number")
}

fn flag(cell: &str) -> Result<Value, &'static str> {
    match cell.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(Value::Bool(true)),
        "false" | "no" | "0" => Ok(Value::Bool(false)),
        _ => Err("`true` or `false`"),
    }
}

/// Turns the texts of a column into values of another type; an empty one is null.
fn typed(rows: &mut [Row], column: &str, convert: Convert) -> Result<(), Trouble> {
    for row in rows {
        let Some(value) = row.fields.get_mut(column) else { continue };
        let cell = match &*value {
            Value::String(text) => text.trim().to_owned(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
            other => other.to_string(),
        };
        *value = match cell.as_str() {
            "" => Value::Null,
            cell => convert(cell).map_err(|what| {
                let message = format!("`{cell}` in the column `{column}` is not {what}");
                Trouble { message, span: row.span.clone(), label: "in this row" }
            })?,
        };
    }
    Ok(())
}

/// Columns in which every cell is a number become numbers. Not the key, which is looked for as
/// text, and not what is written otherwise than JSON writes it: `007` may be a name.
fn find_numbers(rows: &mut [Row], columns: &BTreeSet<String>, key: &str, wanted: &Columns) {
    let is_given = |name: &str| wanted.flags.iter().any(|it| it.value == name);
    for column in columns.iter().filter(|it| **it != key && !is_given(it)) {
        let is_number = |row: &Row| {
            let cell = row.fields.get(column).and_then(Value::as_str);
            cell.is_some_and(|it| number(it.trim()).is_ok())
        };
        if rows.iter().all(is_number) {
            typed(rows, column, number).ok();
        }
    }
}

/// The columns and the sorts of what stands in them: what a table holds today may stand
/// differently tomorrow, so single values are not remembered. One without rows may have any.
fn shape_of(rows: &HashMap<String, Value>) -> ValueType {
    let mut columns: BTreeMap<&str, ValueType> = BTreeMap::new();
    for (name, value) in rows.values().filter_map(Value::as_object).flatten() {
        let column = columns.entry(name).or_insert_with(ValueType::never);
        let sort = match value {
            Value::Null => ValueType::null(),
            Value::Bool(_) => ValueType::bool(),
            Value::Number(_) => ValueType::number(),
            Value::String(_) => ValueType::text(),
            Value::Array(_) | Value::Object(_) => ValueType::any(),
        };
        *column = std::mem::take(column).or(sort);
    }
    match columns.is_empty() {
        true => ValueType::open_map(),
        false => ValueType::map(columns),
    }
}

fn report_column(
    unknown: &Spanned<String>,
    columns: &BTreeSet<String>,
    diagnostics: &mut Diagnostics,
) {
    let list = columns.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let near = nearest(&unknown.value, columns.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |it| format!("did you mean `{it}`? "));
    diagnostics
        .push(Rule::BadTable, format!("the table has no column `{}`", unknown.value))
        .at(unknown.span.clone(), "no such column")
        .help(format!("{near}The columns are {list}"));
}

fn chosen(mut fields: Map<String, Value>, select: &[Spanned<String>]) -> Value {
    if !select.is_empty() {
        fields.retain(|name, _| select.iter().any(|it| it.value == *name));
    }
    Value::Object(fields)
}

type Keyed = HashMap<String, Map<String, Value>>;

/// A table without the key column is reported by the caller, once for the whole table.
fn by_key(rows: Vec<Row>, key: &str, columns: &BTreeSet<String>) -> Result<Keyed, Trouble> {
    let mut keyed = Keyed::with_capacity(rows.len());
    if !columns.contains(key) {
        return Ok(keyed);
    }
    for row in rows {
        let text = match row.fields.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            _ => {
                let message = format!("a row of the table has no usable key `{key}`");
                return Err(Trouble { message, span: row.span, label: "this row" });
            }
        };
        if keyed.contains_key(&text) {
            let message = format!("two rows of the table have the key `{text}`");
            return Err(Trouble { message, span: row.span, label: "the second one" });
        }
        keyed.insert(text, row.fields);
    }
    Ok(keyed)
}

fn read_csv(text: &str) -> Result<Vec<Row>, Trouble> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|it| csv_trouble(text, &it))?.clone();
    let names: Vec<&str> = headers.iter().map(str::trim).collect();
    if let Some(twice) = named_twice(&names) {
        let message = format!("two columns of the table are called `{twice}`");
        return Err(Trouble { message, span: line_at(text, 0), label: "in this line" });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|it| csv_trouble(text, &it))?;
        let span = line_at(text, record.position().map_or(0, |it| it.byte() as usize));
        let mut fields = Map::new();
        for (name, cell) in names.iter().zip(record.iter()) {
            if !name.is_empty() {
                fields.insert((*name).to_owned(), Value::from(cell));
            } else if !cell.trim().is_empty() {
                let line = record.position().map_or(0, csv::Position::line);
                let what = "has a value in a column without a name";
                let message = format!("line {line} of the table {what}");
                return Err(Trouble { message, span, label: "this line" });
            }
        }
        rows.push(Row { fields, span });
    }
    Ok(rows)
}

/// A name that more than one column has. Spreadsheets leave columns without a name behind; those
/// are no trouble while nothing is in them.
fn named_twice<'a>(names: &[&'a str]) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().find(|name| !name.is_empty() && !seen.insert(*name))
}

fn csv_trouble(text: &str, error: &csv::Error) -> Trouble {
    let at = error.position().map_or(0, |it| it.byte() as usize);
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!(
            "line {} of the table has {len} field{}, not {expected_len}",
            error.position().map_or(0, csv::Position::line),
            if *len == 1 { "" } else { "s" },
        ),
        _ => format!("the table is not CSV: {error}"),
    };
    Trouble { message, span: line_at(text, at), label: "this line" }
}

/// A list of objects, or an object of objects: then the outer name is the key.
fn read_json(text: &str, key: &str) -> Result<Vec<Row>, Trouble> {
    let UniqueJson(value) = serde_json::from_str(text).map_err(|it| json_trouble(text, 0, &it))?;
    let rows: Option<Vec<Row>> = match value {
        Value::Array(items) => items.into_iter().map(row_of).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(name, value)| {
                let mut row = row_of(value)?;
                row.fields.entry(key).or_insert(Value::String(name));
                Some(row)
            })
            .collect(),
        _ => None,
    };
    rows.ok_or_else(|| Trouble {
        message: "the table is neither a list nor a map of objects".to_owned(),
        span: line_at(text, 0),
        label: "here",
    })
}

fn row_of(value: Value) -> Option<Row> {
    match value {
        Value::Object(fields) => Some(Row { fields, span: 0..0 }),
        _ => None,
    }
}

fn read_lines(text: &str) -> Result<Vec<Row>, Trouble> {
    let (mut rows, mut start) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let span = line_at(text, start);
        if !line.trim().is_empty() {
            let UniqueJson(value) =
                serde_json::from_str(line).map_err(|it| json_trouble(line, start, &it))?;
            let Value::Object(fields) = value else {
                let message = "a line of the table is not a JSON object".to_owned();
                return Err(Trouble { message, span, label: "this line" });
            };
            rows.push(Row { fields, span });
        }
        start += line.len();
    }
    Ok(rows)
}

/// `start` is where `text` begins in the file.
fn json_trouble(text: &str, start: usize, error: &serde_json::Error) -> Trouble {
    let before: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (before + error.column().saturating_sub(1)).min(text.len());
    let message = format!("the table is not JSON: {error}");
    Trouble { message, span: start + at..start + at, label: "here" }
}

/// The rest of the line that `at` stands on.
fn line_at(text: &str, at: usize) -> Span {
    let rest = text.get(at..).unwrap_or_default();
    let skipped = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
    let line = rest[skipped..].split(['\r', '\n']).next().unwrap_or_default();
    at + skipped..at + skipped + line.len()
}
