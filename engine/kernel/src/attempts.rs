//! Single attempts at something outside, kept within a bound.

use crate::fault::{Fault, FaultClass};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How many of the first attempts are kept.
pub const FIRST_MAX: usize = 4;
/// How many of the last attempts are kept.
pub const LAST_MAX: usize = 4;
/// What is kept of a reason, in bytes.
pub const REASON_MAX: usize = 160;

/// One attempt that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRecord {
    /// When it began, wall clock.
    pub began: Timestamp,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Why it failed; `None` where it succeeded.
    pub fault: Option<AttemptFault>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptFault {
    /// What it says about trying again.
    pub class: FaultClass,
    /// The reason, cut to [`REASON_MAX`] bytes.
    pub reason: Arc<str>,
}

impl AttemptRecord {
    /// An attempt that began then, took so long and ended so.
    pub fn new(began: Timestamp, took: Duration, fault: Option<&Fault>) -> Self {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let fault = fault
            .map(|fault| AttemptFault { class: fault.class, reason: shortened(&fault.reason) });
        AttemptRecord { began, micros, fault }
    }

    /// When it ended.
    pub fn ended(&self) -> Timestamp {
        self.began.plus(Duration::from_micros(self.micros))
    }

    /// Its end as a word: `ok`, or the class of its fault.
    pub fn word(&self) -> &'static str {
        self.fault.as_ref().map_or("ok", |fault| fault.class.word())
    }
}

fn shortened(reason: &str) -> Arc<str> {
    if reason.len() <= REASON_MAX {
        return reason.into();
    }
    let mut end = REASON_MAX - '…'.len_utf8();
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &reason[..end]).into()
}

/// The attempts at one thing, in order: the first [`FIRST_MAX`] and the last [`LAST_MAX`].
///
/// *Invariant:* none is left out before there are more than both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AttemptLog {
    records: Vec<AttemptRecord>,
    left_out: u32,
}

impl AttemptLog {
    /// What was kept before; `None` where that is not what a log keeps.
    pub fn of(records: Vec<AttemptRecord>, left_out: u32) -> Option<Self> {
        let most = FIRST_MAX + LAST_MAX;
        let fits = if left_out == 0 { records.len() <= most } else { records.len() == most };
        fits.then_some(AttemptLog { records, left_out })
    }

    /// One more attempt. The same one again changes nothing.
    pub fn push(&mut self, record: AttemptRecord) {
        if self.records.last() == Some(&record) {
            return;
        }
        if self.records.len() == FIRST_MAX + LAST_MAX {
            self.records.remove(FIRST_MAX);
            self.left_out = self.left_out.saturating_add(1);
        }
        self.records.push(record);
    }

    /// The attempts that are kept.
    pub fn records(&self) -> &[AttemptRecord] {
        &self.records
    }

    /// How many were left out after the first ones.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Each attempt that is kept with its number, counted from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &AttemptRecord)> {
        (1..).zip(&self.records).map(|(number, record)| {
            let is_last = FIRST_MAX < number as usize;
            (if is_last { self.left_out.saturating_add(number) } else { number }, record)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Cause;

    fn record(began: i64, reason: Option<&str>) -> AttemptRecord {
        let fault = reason.map(|reason| Fault::transient(Cause::Other, reason));
        AttemptRecord::new(Timestamp(began), Duration::from_millis(1), fault.as_ref())
    }

    #[test]
    fn the_first_and_the_last_are_kept_with_their_numbers() {
        for count in 0..40 {
            let mut log = AttemptLog::default();
            for number in 1..=count {
                log.push(record(i64::from(number), None));
            }
            let numbers: Vec<u32> = log.numbered().map(|it| it.0).collect();
            let expected: Vec<u32> = (1..=count).filter(|it| *it <= 4 || count < it + 4).collect();
            assert_eq!(numbers, expected);
            assert!(log.numbered().all(|(number, it)| it.began.0 == i64::from(number)));
            assert_eq!(numbers.len() as u32 + log.left_out(), count);
            assert_eq!(AttemptLog::of(log.records().to_vec(), log.left_out()), Some(log));
        }
        assert_eq!(AttemptLog::of(vec![record(1, None); 9], 0), None);
        assert_eq!(AttemptLog::of(vec![record(1, None); 7], 1), None);
    }

    #[test]
    fn the_same_attempt_is_kept_once() {
        let mut log = AttemptLog::default();
        log.push(record(1, Some("no")));
        log.push(record(1, Some("no")));
        log.push(record(2, Some("no")));
        assert_eq!(log.records().len(), 2);
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        for lead in 0..4 {
            let reason = format!("{}{}", "a".repeat(lead), "ü".repeat(REASON_MAX));
            let kept = record(1, Some(&reason)).fault.expect("it failed").reason;
            assert!(kept.len() <= REASON_MAX && REASON_MAX - 4 <= kept.len(), "{}", kept.len());
            assert!(kept.ends_with('…') && reason.starts_with(kept.trim_end_matches('…')));
        }
        let exact = "a".repeat(REASON_MAX);
        assert_eq!(&*record(1, Some(&exact)).fault.expect("it failed").reason, exact);
    }
}
