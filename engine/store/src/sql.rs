//! Queries of people to a store, in SQL, beside an engine that may be running.
//!
//! *Invariant:* nothing is written, no other file is opened, and the database is held for a limited
//! time: a reader that stays would keep the writer from beginning its log again.

use super::connect::APPLICATION_ID;
use kernel::env::Clock;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

/// How long a lock is waited for.
const LOCK: Duration = Duration::from_secs(2);

/// What one answer holds, in bytes; further rows are left out.
const BYTES_MAX: usize = 64 << 20;

/// Pragmas whose value names what they describe.
const DESCRIBING: [&str; 4] = ["table_info", "table_xinfo", "index_list", "index_info"];

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// `NULL`.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// What a query finds.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlResult {
    /// The names of the columns, which may repeat.
    pub columns: Vec<String>,
    /// The rows; each has one value per column.
    pub rows: Vec<Vec<SqlValue>>,
    /// Whether there are more rows.
    pub is_cut: bool,
}

/// How much a query may take.
#[derive(Debug, Clone, Copy)]
pub struct SqlLimits {
    /// How long it may run.
    pub time: Duration,
    /// The most rows of its answer.
    pub rows: usize,
}

/// Queries the store at `path`, read-only; it sees what was committed before it began. The error says
/// what is wrong with the query or the store.
pub fn read_sql(
    path: &Path,
    sql: &str,
    limits: SqlLimits,
    clock: Arc<dyn Clock>,
) -> Result<SqlResult, String> {
    let mut connection = open(path)?;
    let until = clock.monotonic() + limits.time;
    let is_over = move || until < clock.monotonic();
    let limited = connection.progress_handler(STEPS, Some(is_over));
    let guarded = limited.and_then(|()| connection.authorizer(Some(authorized)));
    guarded.map_err(|fault| fault.to_string())?;
    let told = |fault: rusqlite::Error| in_words(&fault, limits.time);
    let mut statement = connection.prepare(sql).map_err(told)?;
    answer(&mut statement, limits.rows).map_err(told)
}

/// A store, only to be read.
pub(super) fn open(path: &Path) -> Result<Connection, String> {
    let shown = path.display();
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(format!("{shown} is not a file")),
        Err(fault) => return Err(format!("cannot read {shown}: {fault}")),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let cannot = |fault: rusqlite::Error| format!("cannot read {shown}: {fault}");
    let connection = Connection::open_with_flags(path, flags).map_err(cannot)?;
    connection.busy_timeout(LOCK).map_err(cannot)?;
    let id = connection.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0));
    if id.map_err(cannot)? != APPLICATION_ID {
        return Err(format!("{shown} is not a store of an engine"));
    }
    let settings = "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;
                    PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;";
    connection.execute_batch(settings).map_err(cannot)?;
    Ok(connection)
}

/// Reading only: `ATTACH` would open other files, and a pragma with a value changes a setting.
fn authorized(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Pragma { pragma_name, .. } if DESCRIBING.contains(&pragma_name) => {
            Authorization::Allow
        }
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Function { .. }
        | AuthAction::Recursive
        | AuthAction::Pragma { pragma_value: None, .. } => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

fn answer(statement: &mut Statement<'_>, rows_max: usize) -> Result<SqlResult, rusqlite::Error> {
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let (count, mut bytes) = (columns.len(), 0);
    let mut answer = SqlResult { columns, rows: Vec::new(), is_cut: false };
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if rows_max <= answer.rows.len() || BYTES_MAX <= bytes {
            answer.is_cut = true;
            break;
        }
        let mut values = Vec::with_capacity(count);
        for index in 0..count {
            let value = value(row.get_ref(index)?);
            bytes += match &value {
                SqlValue::Text(text) => text.len(),
                SqlValue::Blob(blob) => blob.len(),
                _ => 0,
            } + size_of::<SqlValue>();
            values.push(value);
        }
        answer.rows.push(values);
    }
    Ok(answer)
}

fn value(found: ValueRef<'_>) -> SqlValue {
    match found {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(number) => SqlValue::Integer(number),
        ValueRef::Real(number) => SqlValue::Real(number),
        ValueRef::Text(text) => SqlValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => SqlValue::Blob(bytes.to_vec()),
    }
}

fn in_words(fault: &rusqlite::Error, time: Duration) -> String {
    match (fault, fault.sqlite_error_code()) {
        (_, Some(ErrorCode::OperationInterrupted)) => {
            format!("the query takes longer than {}", kernel::time::write_duration(time))
        }
        (_, Some(ErrorCode::AuthorizationForStatementDenied)) => {
            "only SELECT is allowed, on this store alone".to_owned()
        }
        (rusqlite::Error::MultipleStatement, _) => "write one statement".to_owned(),
        (rusqlite::Error::SqlInputError { msg, offset, sql, .. }, _) => {
            let before = usize::try_from(*offset).ok().and_then(|at| sql.get(..at));
            let place = before.map_or_else(String::new, |it| {
                format!(", at character {}", it.chars().count() + 1)
            });
            format!("{msg}{place}")
        }
        (fault, _) => fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::testing::StillClock;

    const LIMITS: SqlLimits = SqlLimits { time: Duration::from_secs(5), rows: 3 };

    fn store(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("a.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA application_id = {APPLICATION_ID};
                 CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2.5, x'00ff'), (NULL, '');"
            ))
            .unwrap();
        path
    }

    fn found(path: &Path, sql: &str) -> Result<SqlResult, String> {
        read_sql(path, sql, LIMITS, Arc::new(StillClock::default()))
    }

    #[test]
    fn a_query_finds_every_type_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path());
        let answer = found(&path, "SELECT a, b, a FROM t").unwrap();
        assert_eq!(
            (answer.columns, answer.is_cut),
            (vec!["a".into(), "b".into(), "a".into()], false)
        );
        let blob = SqlValue::Blob(vec![0, 255]);
        assert_eq!(answer.rows[1], [SqlValue::Real(2.5), blob, SqlValue::Real(2.5)]);
        assert_eq!(answer.rows[2][..2], [SqlValue::Null, SqlValue::Text(String::new())]);
        let many = found(&path, "SELECT 1 FROM t, t UNION ALL SELECT 2").unwrap();
        assert_eq!((many.rows.len(), many.is_cut), (3, true));
        assert!(found(&path, "EXPLAIN QUERY PLAN SELECT * FROM t").is_ok());
        assert_eq!(found(&path, "PRAGMA table_info(t)").map(|it| it.rows.len()), Ok(2));
    }

    #[test]
    fn nothing_but_reading_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path());
        let denied = "only SELECT is allowed, on this store alone";
        let other = format!("ATTACH '{}' AS b", folder.path().join("b.db").display());
        for sql in
            ["DELETE FROM t", "CREATE TABLE u (a)", "PRAGMA query_only = OFF", &other, "VACUUM"]
        {
            assert_eq!(found(&path, sql), Err(denied.to_owned()), "{sql}");
        }
        assert!(!folder.path().join("b.db").exists());
        let wrong = |sql: &str| found(&path, sql).unwrap_err();
        assert_eq!(wrong("SELECT 1; SELECT 2"), "write one statement");
        assert_eq!(wrong("SELECT é FRO t"), "near \"t\": syntax error, at character 14");
        assert_eq!(wrong("SELECT n FROM t"), "no such column: n, at character 8");
        assert_eq!(wrong("-- nothing"), "SQL is empty or comment only");
    }

    #[test]
    fn what_is_not_a_store_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = |name: &str| found(&folder.path().join(name), "SELECT 1").unwrap_err();
        assert!(wrong("none").starts_with("cannot read ") && !folder.path().join("none").exists());
        assert!(wrong("").ends_with(" is not a file"));
        std::fs::write(folder.path().join("text"), "x".repeat(5000)).unwrap();
        assert!(wrong("text").ends_with("file is not a database"), "{}", wrong("text"));
        Connection::open(folder.path().join("other"))
            .unwrap()
            .execute_batch("CREATE TABLE t (a)")
            .unwrap();
        assert!(wrong("other").ends_with(" is not a store of an engine"));
    }

    #[test]
    fn a_query_ends_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = store(folder.path());
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                       SELECT count(*) FROM n";
        let clock = Arc::new(StillClock::default());
        let limits = SqlLimits { time: Duration::ZERO, ..LIMITS };
        let ended = std::thread::scope(|scope| {
            let asking = scope.spawn(|| read_sql(&path, endless, limits, clock.clone()));
            while !asking.is_finished() {
                clock.pass(Duration::from_secs(1));
            }
            asking.join().unwrap()
        });
        assert_eq!(ended, Err("the query takes longer than 0ms".to_owned()));
    }
}
