//! Logs of attempts: their text, `[left out, [began, micros, class, reason], …]`, and how those of
//! deliveries grow within the writer's transaction.
//!
//! `began` is in microseconds after a moment that the row has anyway. An attempt that succeeded has
//! neither class nor reason; one that failed for the reason of the attempt before it has no reason
//! of its own. The attempt that ends a delivery well is not in its log: its end and how long it took
//! are columns, so that nothing is written for a delivery that succeeds at once.

use super::StoreFault;
use super::insert::Batch;
use kernel::attempts::{AttemptFault, AttemptLog, AttemptRecord};
use kernel::fault::FaultClass;
use kernel::time::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the times of a delivery are counted from.
const EPOCH: Timestamp = Timestamp(0);

/// All attempts at a delivery: those of its log, and the one that the other side accepted, with how
/// long that took and when it ended. A log that cannot be read says nothing.
pub(super) fn of_delivery(log: Option<&str>, micros: Option<i64>, ended: Timestamp) -> AttemptLog {
    let mut log = log.and_then(|text| read(text, EPOCH)).unwrap_or_default();
    if let Some(micros) = micros {
        let took = Duration::from_micros(micros.max(0) as u64);
        log.push(AttemptRecord::new(ended.minus(took), took, None));
    }
    log
}

impl Batch<'_> {
    /// Keeps an attempt that failed. Whatever became of the delivery meanwhile, it was made.
    pub(super) fn log_attempt(
        &mut self,
        sink: &str,
        seq: u64,
        attempt: &AttemptRecord,
    ) -> Result<(), StoreFault> {
        let sql = "SELECT attempt_log FROM delivery_rows WHERE sink = ? AND seq = ?";
        let found: Option<Option<String>> = {
            let mut select = self.connection.prepare_cached(sql)?;
            select.query_row(params![sink, seq as i64], |row| row.get(0)).optional()?
        };
        let Some(text) = found else { return Ok(()) };
        let mut log = of_delivery(text.as_deref(), None, EPOCH);
        log.push(attempt.clone());
        self.run(
            "UPDATE delivery_rows SET attempt_log = ? WHERE sink = ? AND seq = ?",
            params![write(&log, EPOCH), sink, seq as i64],
        )?;
        Ok(())
    }

    /// A delivery that was made is to be made once more: the attempt that made it goes into its log.
    pub(super) fn log_success(&mut self, sink: &str, seq: u64) -> Result<(), StoreFault> {
        let sql = "SELECT attempt_log, micros, not_before FROM delivery_rows
                   WHERE sink = ? AND seq = ? AND micros IS NOT NULL";
        let found = {
            let mut select = self.connection.prepare_cached(sql)?;
            let log = |row: &rusqlite::Row<'_>| {
                let text: Option<String> = row.get(0)?;
                Ok(of_delivery(text.as_deref(), row.get(1)?, Timestamp(row.get(2)?)))
            };
            select.query_row(params![sink, seq as i64], log).optional()?
        };
        let Some(log) = found else { return Ok(()) };
        self.run(
            "UPDATE delivery_rows SET attempt_log = ?, micros = NULL WHERE sink = ? AND seq = ?",
            params![write(&log, EPOCH), sink, seq as i64],
        )?;
        Ok(())
    }
}

/// The log as text, its times counted from `base`.
pub(super) fn write(log: &AttemptLog, base: Timestamp) -> String {
    to_json(log, base).to_string()
}

/// The same as JSON, to be written as a part of something else.
pub(super) fn to_json(log: &AttemptLog, base: Timestamp) -> Value {
    let mut rows = vec![json!(log.left_out())];
    let mut before: Option<&Arc<str>> = None;
    for record in log.records() {
        let mut row = vec![json!(record.began.0.saturating_sub(base.0)), json!(record.micros)];
        if let Some(fault) = &record.fault {
            row.push(json!(fault.class as usize));
            if before != Some(&fault.reason) {
                row.push(json!(&*fault.reason));
            }
        }
        before = record.fault.as_ref().map(|fault| &fault.reason);
        rows.push(Value::from(row));
    }
    Value::from(rows)
}

/// Reads what [`write`] wrote; `None` where it is something else.
pub(super) fn read(text: &str, base: Timestamp) -> Option<AttemptLog> {
    of_json(&serde_json::from_str(text).ok()?, base)
}

/// The same as JSON that was read.
pub(super) fn of_json(value: &Value, base: Timestamp) -> Option<AttemptLog> {
    let (left_out, rows) = value.as_array()?.split_first()?;
    let mut records: Vec<AttemptRecord> = Vec::with_capacity(rows.len());
    for row in rows {
        let before = records.last().and_then(|record| record.fault.as_ref());
        let record = record(row.as_array()?, base, before)?;
        records.push(record);
    }
    AttemptLog::of(records, u32::try_from(left_out.as_u64()?).ok()?)
}

fn record(row: &[Value], base: Timestamp, before: Option<&AttemptFault>) -> Option<AttemptRecord> {
    let began = Timestamp(base.0.saturating_add(row.first()?.as_i64()?));
    let micros = row.get(1)?.as_u64()?;
    let Some(class) = row.get(2) else {
        return Some(AttemptRecord { began, micros, fault: None });
    };
    let class = *FaultClass::ALL.get(usize::try_from(class.as_u64()?).ok()?)?;
    let reason = match row.get(3) {
        Some(reason) => reason.as_str()?.into(),
        None => before?.reason.clone(),
    };
    Some(AttemptRecord { began, micros, fault: Some(AttemptFault { class, reason }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::fault::{Cause, Fault};
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_back() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let base = Timestamp(random.i64(-5..1_767_225_600_000_000));
            let mut log = AttemptLog::default();
            for number in 0..random.i64(0..20) {
                let reason = random.choice(["", "the response is 503", "\"no\"\n[1]", "é"]);
                let mut fault = Fault::transient(Cause::Other, reason.expect("there are some"));
                fault.class = random.choice(FaultClass::ALL).expect("there are some");
                let began = base.plus(Duration::from_secs(number as u64));
                let took = Duration::from_micros(random.u64(0..1 << 40));
                let fault = random.bool().then_some(&fault);
                log.push(AttemptRecord::new(began, took, fault));
            }
            let text = write(&log, base);
            assert_eq!(read(&text, base), Some(log), "seed {seed}: {text}");
        }
    }

    #[test]
    fn a_reason_that_repeats_is_written_once() {
        let mut log = AttemptLog::default();
        let fault = Fault::transient(Cause::Status(503), "the response is 503");
        for number in 0..3 {
            let began = Timestamp(number * 1000);
            log.push(AttemptRecord::new(began, Duration::from_micros(7), Some(&fault)));
        }
        log.push(AttemptRecord::new(Timestamp(3000), Duration::from_micros(8), None));
        let expected = r#"[0,[0,7,0,"the response is 503"],[1000,7,0],[2000,7,0],[3000,8]]"#;
        assert_eq!(write(&log, Timestamp(0)), expected);
    }

    #[test]
    fn what_is_not_a_log_is_none() {
        let wrong = [
            "",
            "{}",
            "[]",
            "[-1]",
            "[0,1]",
            "[0,[1]]",
            "[0,[1,-1]]",
            "[0,[1,1,3,\"no\"]]",
            "[0,[1,1,0]]",
            "[0,[1,1,0,5]]",
            "[1,[1,1]]",
            "[4294967296]",
        ];
        for text in wrong {
            assert_eq!(read(text, Timestamp(0)), None, "{text}");
        }
    }

    #[test]
    fn however_often_it_is_tried_the_text_stays_small() {
        let mut log = AttemptLog::default();
        for number in 0..1000 {
            let fault = Fault::permanent("\u{1}".repeat(500) + &number.to_string());
            let began = Timestamp(1_767_225_600_000_000 + number);
            log.push(AttemptRecord::new(began, Duration::MAX, Some(&fault)));
        }
        let text = write(&log, Timestamp(0));
        assert!(text.len() < 8 << 10, "{}", text.len());
    }
}
