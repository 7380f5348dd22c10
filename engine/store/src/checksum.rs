//! What must come back as it was written carries a checksum: every column that is read, and the
//! bytes of the body.
//!
//! A database checks how its pages hang together, not what is in them: a bit that flips in a text
//! is another text. The checksum is keyed with the secret of the store like the hash of a claim,
//! so the hash of the body that a claim needs anyway serves both.

use super::claim::Keys;
use super::{StoreFault, StoreTrouble};
use rusqlite::types::{ToSqlOutput, Value as Cell, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};
use std::hash::Hasher;

/// The tables whose rows have a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SummedTable {
    Event,
    Inbox,
    Result,
    Letter,
}

/// What is in a row: its columns, in the order in which they are written and read.
///
/// *Invariant:* a table's INSERT and SELECT name the same columns in the same order, then the body
/// where it has one, then the checksum.
fn sum<'a>(
    keys: Keys,
    table: SummedTable,
    columns: impl Iterator<Item = ValueRef<'a>>,
    body: i64,
) -> i64 {
    let mut hasher = keys.hasher();
    hasher.write_u8(table as u8);
    for column in columns {
        match column {
            ValueRef::Null => hasher.write_u8(0),
            ValueRef::Integer(number) => {
                hasher.write_u8(1);
                hasher.write_i64(number);
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                hasher.write_u8(2);
                hasher.write_u64(bytes.len() as u64);
                hasher.write(bytes);
            }
            ValueRef::Real(number) => {
                hasher.write_u8(3);
                hasher.write_u64(number.to_bits());
            }
        }
    }
    hasher.write_i64(body);
    hasher.finish() as i64
}

/// The bytes of a row, with their hash.
#[derive(Clone, Copy)]
pub(super) struct RowBody<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) hash: i64,
}

/// Inserts a row with its checksum: `sql` has a mark for each column, for the body where there is
/// one, and for the checksum.
pub(super) fn insert(
    connection: &Connection,
    keys: Keys,
    table: SummedTable,
    sql: &str,
    columns: &[ValueRef<'_>],
    body: Option<RowBody<'_>>,
) -> Result<(), StoreFault> {
    let checksum = sum(keys, table, columns.iter().copied(), body.map_or(0, |body| body.hash));
    let body = body.map(|body| ValueRef::Blob(body.bytes));
    let all = columns.iter().copied().chain(body).chain([ValueRef::Integer(checksum)]);
    let values = params_from_iter(all.map(ToSqlOutput::Borrowed));
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// A fault when a row with so many columns, a body behind them where `has_body`, and a checksum
/// last is not what was written. False for a row of before there were checksums, which cannot be
/// known to be.
pub(super) fn verify(
    keys: Keys,
    table: SummedTable,
    row: &Row<'_>,
    columns: usize,
    has_body: bool,
) -> Result<bool, StoreFault> {
    let Some(written) = row.get::<_, Option<i64>>(columns + usize::from(has_body))? else {
        return Ok(false);
    };
    // A column that cannot be had reads as none, and the sum differs.
    let values = (0..columns).map(|index| row.get_ref(index).unwrap_or(ValueRef::Null));
    let found = match has_body {
        true => of_row(keys, table, row, columns)?,
        false => sum(keys, table, values, 0),
    };
    if found == written {
        return Ok(true);
    }
    Err(StoreFault::new(StoreTrouble::Damaged, "the checksum does not match"))
}

/// The checksum of a row as it stands, with so many columns and a body behind them.
pub(super) fn of_row(
    keys: Keys,
    table: SummedTable,
    row: &Row<'_>,
    columns: usize,
) -> Result<i64, StoreFault> {
    let body = keys.body_hash(row.get_ref(columns)?.as_blob().map_err(rusqlite::Error::from)?);
    let values = (0..columns).map(|index| row.get_ref(index).unwrap_or(ValueRef::Null));
    Ok(sum(keys, table, values, body))
}

/// A number as a column.
pub(super) fn number(value: impl Into<i64>) -> ValueRef<'static> {
    ValueRef::Integer(value.into())
}

/// A text as a column.
pub(super) fn text(value: &str) -> ValueRef<'_> {
    ValueRef::Text(value.as_bytes())
}

/// A number or none as a column.
pub(super) fn maybe_number(value: Option<i64>) -> ValueRef<'static> {
    value.map_or(ValueRef::Null, ValueRef::Integer)
}

/// A text or none as a column.
pub(super) fn maybe_text(value: Option<&str>) -> ValueRef<'_> {
    value.map_or(ValueRef::Null, text)
}

/// A code, or the word itself, as a column.
pub(super) fn cell(value: &Cell) -> ValueRef<'_> {
    ValueRef::from(value)
}
