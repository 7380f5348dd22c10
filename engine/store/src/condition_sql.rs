//! Conditions in SQL, with the meaning that evaluation gives them.

use super::names::WORDS_MAX;
use kernel::condition::{
    Comparison, Condition, JsonPlace, JsonTest, NumberField, NumberTest, TextField, TextTest,
};
use rusqlite::types::Value as Cell;

/// The data of a row as text.
pub(super) const DATA: &str = "CASE WHEN data_from IS NOT NULL
    THEN CAST(substr(body, data_from + 1, data_size) AS TEXT)
    ELSE coalesce(data, CAST(body AS TEXT)) END";

/// The words of a column that holds codes.
pub(super) struct ColumnWords<'a> {
    pub(super) types: &'a [(i64, String)],
    pub(super) sources: &'a [(i64, String)],
}

/// A condition as SQL, with its values in their order.
pub(super) fn write(
    condition: &Condition,
    words: &ColumnWords<'_>,
    sql: &mut String,
    values: &mut Vec<Cell>,
) {
    match condition {
        Condition::Always => sql.push('1'),
        Condition::Never => sql.push('0'),
        Condition::All(parts) => joined(parts, " AND ", "1", words, sql, values),
        Condition::Any(parts) => joined(parts, " OR ", "0", words, sql, values),
        Condition::Text(TextField::Kind, test) => coded("type", words.types, test, sql, values),
        Condition::Text(TextField::Source, test) => {
            coded("source", words.sources, test, sql, values);
        }
        Condition::Text(field, test) => text(column(*field), test, sql, values),
        Condition::Number(field, test) => number(number_column(*field), test, sql, values),
        Condition::Json(place, test) => json(place, test, sql, values),
    }
}

fn joined(
    parts: &[Condition],
    by: &str,
    none: &str,
    words: &ColumnWords<'_>,
    sql: &mut String,
    values: &mut Vec<Cell>,
) {
    if parts.is_empty() {
        sql.push_str(none);
        return;
    }
    for (index, part) in parts.iter().enumerate() {
        sql.push_str(if index == 0 { "(" } else { by });
        write(part, words, sql, values);
    }
    sql.push(')');
}

/// The plus keeps a column from choosing an index: the stretches that are read are chosen already.
fn column(field: TextField) -> &'static str {
    match field {
        TextField::Id => "+id",
        TextField::Kind | TextField::Source => unreachable!("these hold codes"),
        TextField::Subject => "+subject",
        TextField::CorrelationId => "+correlation",
        TextField::ParentId => "+parent",
    }
}

fn number_column(field: NumberField) -> &'static str {
    match field {
        NumberField::Time => "+time",
        NumberField::Received => "+received",
        NumberField::Priority => "+priority",
        NumberField::Seq => "coalesce(seq, pos)",
        NumberField::Generation => "+generation",
    }
}

fn sign(by: Comparison) -> &'static str {
    match by {
        Comparison::Equal => "IS",
        Comparison::Unequal => "IS NOT",
        Comparison::Less => "<",
        Comparison::LessEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterEqual => ">=",
    }
}

/// Every word is looked at here, and the codes of those that pass are wanted; a word that has no
/// code is in the row itself.
fn coded(
    column: &str,
    words: &[(i64, String)],
    test: &TextTest,
    sql: &mut String,
    values: &mut Vec<Cell>,
) {
    let codes =
        words.iter().filter(|word| test.holds(Some(&word.1))).map(|word| word.0.to_string());
    let codes = codes.collect::<Vec<_>>().join(", ");
    *sql += &format!("(+{column} IN ({codes})");
    if WORDS_MAX <= words.len() {
        *sql += &format!(" OR (typeof({column}) = 'text' AND ");
        text(&format!("+{column}"), test, sql, values);
        sql.push(')');
    }
    sql.push(')');
}

fn text(column: &str, test: &TextTest, sql: &mut String, values: &mut Vec<Cell>) {
    match test {
        TextTest::Is(by, wanted) => {
            *sql += &format!("{column} {} ?", sign(*by));
            values.push(Cell::Text(wanted.clone()));
        }
        TextTest::IsMissing(true) => *sql += &format!("{column} IS NULL"),
        TextTest::IsMissing(false) => *sql += &format!("{column} IS NOT NULL"),
        TextTest::IsIn(all, wanted) => {
            let texts: Vec<Cell> = all.iter().flatten().cloned().map(Cell::Text).collect();
            let marks = vec!["?"; texts.len()].join(", ");
            // What is missing is in no list of SQL, not even in one that has NULL.
            let missing = if all.contains(&None) { "1" } else { "0" };
            *sql += &format!(
                "CASE WHEN {column} IS NULL THEN {missing} ELSE {column} IN ({marks}) END IS {}",
                i32::from(*wanted)
            );
            values.extend(texts);
        }
        TextTest::StartsWith(start) => starting(column, start, sql, values),
    }
}

/// By bytes: `LIKE` and `GLOB` read some characters otherwise, and `substr` of a text ends at a
/// zero.
fn starting(value: &str, start: &str, sql: &mut String, values: &mut Vec<Cell>) {
    if start.is_empty() {
        // Of an empty text, SQLite takes no part, not even an empty one.
        *sql += &format!("{value} IS NOT NULL");
        return;
    }
    *sql += &format!("substr(CAST({value} AS BLOB), 1, {}) IS ?", start.len());
    values.push(Cell::Blob(start.as_bytes().to_vec()));
}

fn number(column: &str, test: &NumberTest, sql: &mut String, values: &mut Vec<Cell>) {
    match test {
        NumberTest::Is(by, wanted) => {
            *sql += &format!("{column} {} ?", sign(*by));
            values.push(Cell::Integer(*wanted));
        }
        NumberTest::IsIn(all, wanted) => {
            let marks = vec!["?"; all.len()].join(", ");
            *sql += &format!("({column} IN ({marks})) IS {}", i32::from(*wanted));
            values.extend(all.iter().copied().map(Cell::Integer));
        }
    }
}

/// How much a number that SQLite reads may differ from the same digits read exactly, and more: what
/// is left out must surely be left out.
const ROUNDING: f64 = 1e-12;

/// Lets through whatever may pass: a number that is near to the wanted one, and a list or map whose
/// text is wanted. What is not JSON is left to whoever reads the row.
fn json(place: &JsonPlace, test: &JsonTest, sql: &mut String, values: &mut Vec<Cell>) {
    let text = if place.is_added { "enrich" } else { DATA };
    // Letters, digits, `_` and `-` alone.
    let value = format!("json_extract({text}, '{}')", place.path);
    *sql += &format!("CASE WHEN json_valid({text}) THEN ");
    match test {
        JsonTest::IsIn(all) => {
            *sql += &format!("{value} IN ({})", vec!["?"; all.len()].join(", "));
            values.extend(all.iter().cloned().map(Cell::Text));
        }
        JsonTest::StartsWith(start) => starting(&value, start, sql, values),
        JsonTest::IsBool(wanted) => *sql += &format!("{value} IS {}", i32::from(*wanted)),
        JsonTest::Is(by, wanted) => {
            let slack = wanted.abs() * ROUNDING + f64::MIN_POSITIVE;
            let (least, most) = match by {
                Comparison::Equal => (Some(wanted - slack), Some(wanted + slack)),
                Comparison::Unequal => unreachable!("almost every value differs"),
                Comparison::Less | Comparison::LessEqual => (None, Some(wanted + slack)),
                Comparison::Greater | Comparison::GreaterEqual => (Some(wanted - slack), None),
            };
            *sql += &format!("typeof({value}) IN ('integer', 'real')");
            for (sign, bound) in [(">=", least), ("<=", most)] {
                if let Some(bound) = bound {
                    *sql += &format!(" AND {value} {sign} ?");
                    values.push(Cell::Real(bound));
                }
            }
        }
    }
    sql.push_str(" ELSE 1 END");
}
