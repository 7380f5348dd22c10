//! A table file, checked and turned into rows.
//!
//! It is read with the pipeline file, so `engine check` finds what is wrong in it; a reload reads
//! it again, and what runs keeps its rows while the file cannot be used.

mod unique;

use language::diagnostic::{Diagnostics, Rule, SourceText};
use language::expr::ValueType;
use language::spanned::{Span, Spanned};
use language::{Arg, Context, Fields, NodeRow, Scalar, ValueKind, nearest};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::repeat;
use std::sync::Arc;
use unique::UniqueJson;

/// The children of a node that names a table.
pub(crate) const COLUMNS: &[NodeRow] = &[
    NodeRow::new("number", "columns that hold numbers; an empty cell is null")
        .examples(&["number limit price"])
        .args(&[Arg::some("column", ValueKind::Text)])
        .repeated()
        .otherwise("a column of a CSV table, other than the key, in which every cell is a number"),
    NodeRow::new(
        "flag",
        "columns that hold `true` or `false`, `yes` or `no`, `1` or `0`; an empty cell is null",
    )
    .examples(&["flag is-inside"])
    .args(&[Arg::some("column", ValueKind::Text)])
    .repeated(),
];

/// Rows in the order of the file, only with the columns that were selected.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    rows: Vec<TableRow>,
    by_key: HashMap<String, usize>,
    /// What a row may be.
    shape: ValueType,
}

/// A row as stages see it.
#[derive(Debug, PartialEq)]
pub(crate) struct TableRow {
    /// What is in the key column; `None` where the pipeline file names none.
    pub(crate) key: Option<String>,
    pub(crate) value: Value,
}

/// What the pipeline file says of a table.
pub(crate) struct TableNode<'a> {
    /// The node.
    pub(crate) node: Fields<'a>,
    /// Whether it has [`COLUMNS`] in its block.
    pub(crate) has_columns: bool,
    pub(crate) path: Scalar<'a>,
    /// The name of the column that tells rows apart.
    pub(crate) key: Option<Spanned<String>>,
    /// Only these columns; all where there are none.
    pub(crate) select: Vec<Spanned<String>>,
}

impl TableNode<'_> {
    /// Reads the file; reports what is wrong with it, and notes it for the health of the table.
    pub(crate) fn open(self, context: &mut Context<'_>) -> Option<Table> {
        let Some(path) = self.path.text() else {
            let written = self.node.name().value;
            context
                .diagnostics
                .push(Rule::BadAnnotation, "the path of a table must be a literal in the file")
                .at(self.path.span(), "not a literal")
                .help(match written {
                    "table" => "write its path: `table \"tables/people.csv\" key=NAME`",
                    _ => "write its path: `table=\"tables/people.csv\"`",
                });
            return None;
        };
        let columns = |kind: &str| -> Vec<_> {
            let nodes = Some(&self.node).filter(|_| self.has_columns).into_iter();
            let columns = nodes.flat_map(|node| node.children(kind)).flat_map(|it| it.args());
            columns.filter_map(|column| column.text()).collect()
        };
        let (numbers, flags) = (columns("number"), columns("flag"));
        let wanted = Columns { key: self.key, select: self.select, numbers, flags };
        let found_before = context.diagnostics.found().len();
        let table = open(&path, &wanted, context);
        let found = &context.diagnostics.found()[found_before..];
        let fault = found.first().map(|finding| finding.message.clone());
        context.files.note_table(&path.value, fault);
        table
    }
}

fn open(path: &Spanned<String>, wanted: &Columns, context: &mut Context<'_>) -> Option<Table> {
    match context.files.read(&path.value) {
        Ok(source) => Table::read(&source, path, wanted, context.diagnostics),
        Err(why) => {
            let neighbours = context.files.neighbours(&path.value);
            let name = path.value.rsplit('/').next().unwrap_or_default();
            let near = nearest(name, neighbours.iter().map(String::as_str));
            let near = near.filter(|_| why.is_missing);
            let found = context
                .diagnostics
                .push(why.rule(Rule::BadTable), format!("cannot read the table: {}", why.reason))
                .at(path.span.clone(), format!("looked for `{}`", path.value));
            found.help(match near {
                Some(near) => format!("did you mean `{near}`? Paths are relative to this file"),
                None => "paths are relative to this file".to_owned(),
            });
            None
        }
    }
}

/// What the pipeline file says of columns.
#[derive(Debug)]
struct Columns {
    key: Option<Spanned<String>>,
    /// Only these; all where there are none.
    select: Vec<Spanned<String>>,
    numbers: Vec<Spanned<String>>,
    flags: Vec<Spanned<String>>,
}

/// A row and where it stands in the file.
struct Row {
    fields: Map<String, Value>,
    span: Span,
}

/// What is in the file.
struct FileRows {
    rows: Vec<Row>,
    /// The names of its columns. CSV has them where there are no rows, too.
    columns: BTreeSet<String>,
}

impl FileRows {
    fn of(rows: Vec<Row>) -> Self {
        let columns = rows.iter().flat_map(|row| row.fields.keys().cloned()).collect();
        FileRows { rows, columns }
    }
}

/// What is wrong, and where in the table file.
struct Trouble {
    message: String,
    span: Span,
    label: &'static str,
}

impl Table {
    /// Reads `source`; `path` is where the pipeline file names it.
    fn read(
        source: &Arc<SourceText>,
        path: &Spanned<String>,
        wanted: &Columns,
        diagnostics: &mut Diagnostics,
    ) -> Option<Table> {
        let key = wanted.key.as_ref().map(|key| key.value.as_str());
        let is_csv = !matches!(path.value.rsplit('.').next(), Some("json" | "jsonl" | "ndjson"));
        let found = match path.value.rsplit('.').next() {
            Some("json") => read_json(&source.text, key),
            Some("jsonl" | "ndjson") => read_lines(&source.text),
            _ => read_csv(&source.text),
        };
        let read = found.and_then(|FileRows { mut rows, columns }| {
            if is_csv {
                find_numbers(&mut rows, &columns, wanted);
            }
            wanted.numbers.iter().try_for_each(|it| typed(&mut rows, &it.value, number))?;
            wanted.flags.iter().try_for_each(|it| typed(&mut rows, &it.value, flag))?;
            Ok((keyed(rows, key, &columns)?, columns))
        });
        let (rows, columns) = match read {
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
        let is_known =
            |spanned: &&Spanned<String>| columns.is_empty() || columns.contains(&spanned.value);
        let typed = wanted.numbers.iter().chain(&wanted.flags);
        let mut named = wanted.select.iter().chain(&wanted.key).chain(typed);
        if let Some(unknown) = named.find(|it| !is_known(it)) {
            report_column(unknown, &columns, diagnostics);
            return None;
        }
        let rows = rows.into_iter();
        let rows: Vec<TableRow> = rows
            .map(|(key, fields)| TableRow { key, value: chosen(fields, &wanted.select) })
            .collect();
        let by_key = rows.iter().enumerate().filter_map(|(at, row)| Some((row.key.clone()?, at)));
        let by_key = by_key.collect();
        let shape = shape_of(&rows);
        Some(Table { rows, by_key, shape })
    }

    /// What a row may be.
    pub(crate) fn shape(&self) -> &ValueType {
        &self.shape
    }

    /// The row with this key.
    pub(crate) fn row(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|at| &self.rows[*at].value)
    }

    /// Every row, in the order of the file.
    pub(crate) fn rows(&self) -> &[TableRow] {
        &self.rows
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
fn find_numbers(rows: &mut [Row], columns: &BTreeSet<String>, wanted: &Columns) {
    let is_given =
        |name: &str| wanted.flags.iter().chain(&wanted.key).any(|flag| flag.value == name);
    for column in columns.iter().filter(|column| !is_given(column)) {
        let is_number = |row: &Row| {
            let cell = row.fields.get(column).and_then(Value::as_str);
            cell.is_some_and(|cell| number(cell.trim()).is_ok())
        };
        if rows.iter().all(is_number) {
            typed(rows, column, number).ok();
        }
    }
}

/// The columns and the sorts of what stands in them: what a table holds today may stand
/// differently tomorrow, so single values are not remembered. One without rows may have any.
fn shape_of(rows: &[TableRow]) -> ValueType {
    let mut columns: BTreeMap<&str, ValueType> = BTreeMap::new();
    for (name, value) in rows.iter().filter_map(|row| row.value.as_object()).flatten() {
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
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
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

type KeyedRow = (Option<String>, Map<String, Value>);

/// A table without the key column is reported by the caller, once for the whole table.
fn keyed(
    rows: Vec<Row>,
    key: Option<&str>,
    columns: &BTreeSet<String>,
) -> Result<Vec<KeyedRow>, Trouble> {
    let Some(key) = key else {
        return Ok(rows.into_iter().map(|row| (None, row.fields)).collect());
    };
    if !columns.contains(key) {
        return Ok(Vec::new());
    }
    let (mut keyed, mut seen) = (Vec::with_capacity(rows.len()), BTreeSet::new());
    for row in rows {
        let text = match row.fields.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            _ => {
                let message = format!("a row of the table has no usable key `{key}`");
                return Err(Trouble { message, span: row.span, label: "this row" });
            }
        };
        if !seen.insert(text.clone()) {
            let message = format!("two rows of the table have the key `{text}`");
            return Err(Trouble { message, span: row.span, label: "the second one" });
        }
        keyed.push((Some(text), row.fields));
    }
    Ok(keyed)
}

fn read_csv(text: &str) -> Result<FileRows, Trouble> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|fault| csv_trouble(text, &fault))?.clone();
    let names: Vec<&str> = headers.iter().map(str::trim).collect();
    let columns: BTreeSet<String> =
        names.iter().filter(|name| !name.is_empty()).map(|name| (*name).to_owned()).collect();
    // Programs empty a file before they write it: that must not pass for a table without rows.
    if columns.is_empty() {
        let message = "the table has no header: its first line must name the columns".to_owned();
        return Err(Trouble { message, span: line_at(text, 0), label: "no column names" });
    }
    if let Some(twice) = named_twice(&names) {
        let message = format!("two columns of the table are called `{twice}`");
        return Err(Trouble { message, span: line_at(text, 0), label: "in this line" });
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|fault| csv_trouble(text, &fault))?;
        let span = line_at(text, record.position().map_or(0, |index| index.byte() as usize));
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
    Ok(FileRows { rows, columns })
}

/// A name that more than one column has. Spreadsheets leave columns without a name behind; those
/// are no trouble while nothing is in them.
fn named_twice<'a>(names: &[&'a str]) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().find(|name| !name.is_empty() && !seen.insert(*name))
}

fn csv_trouble(text: &str, error: &csv::Error) -> Trouble {
    let at = error.position().map_or(0, |index| index.byte() as usize);
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
fn read_json(text: &str, key: Option<&str>) -> Result<FileRows, Trouble> {
    let UniqueJson(value) =
        serde_json::from_str(text).map_err(|fault| json_trouble(text, 0, &fault))?;
    let rows: Result<Vec<Row>, Trouble> = match value {
        Value::Array(items) => {
            let raw: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let spans = raw.into_iter().map(|raw| place_of(text, raw)).chain(repeat(0..0));
            items.into_iter().zip(spans).map(|(item, span)| row_of(item, span)).collect()
        }
        Value::Object(entries) => {
            let raw: HashMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
            let row = |(name, value): (String, Value)| {
                let span = raw.get(&name).map_or(0..0, |raw| place_of(text, raw));
                let mut row = row_of(value, span)?;
                if let Some(key) = key {
                    row.fields.entry(key).or_insert(Value::String(name));
                }
                Ok(row)
            };
            entries.into_iter().map(row).collect()
        }
        other => row_of(other, line_at(text, 0)).map(|row| vec![row]),
    };
    rows.map(FileRows::of)
}

/// Where a row begins, up to the end of that line. `raw` is a part of `text`.
fn place_of(text: &str, raw: &RawValue) -> Span {
    line_at(text, (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize))
}

fn row_of(value: Value, span: Span) -> Result<Row, Trouble> {
    match value {
        Value::Object(fields) => Ok(Row { fields, span }),
        _ => {
            let message = "the table is neither a list nor a map of objects".to_owned();
            Err(Trouble { message, span, label: "not an object" })
        }
    }
}

fn read_lines(text: &str) -> Result<FileRows, Trouble> {
    let (mut rows, mut start) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let span = line_at(text, start);
        if !line.trim().is_empty() {
            let UniqueJson(value) =
                serde_json::from_str(line).map_err(|fault| json_trouble(line, start, &fault))?;
            let Value::Object(fields) = value else {
                let message = "a line of the table is not a JSON object".to_owned();
                return Err(Trouble { message, span, label: "this line" });
            };
            rows.push(Row { fields, span });
        }
        start += line.len();
    }
    Ok(FileRows::of(rows))
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
