//! What was deleted and by which rule: counted, and said in one line.

use super::Figures;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Deletions are said at most this often; what comes in between is added up.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deleted {
    /// An event of the store.
    Event,
    /// A dead letter.
    Letter,
    /// An event that was never to stay: counted, and not worth a line.
    Passing,
}

/// What was deleted since it was last said.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    unsaid: BTreeMap<(Deleted, Arc<str>), u64>,
    next: Duration,
}

impl Deletions {
    pub(super) fn note(&mut self, what: Deleted, rule: &str, count: u64, figures: &Figures) {
        if count == 0 {
            return;
        }
        let rule: Arc<str> = rule.into();
        let mut all = figures.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(rule.clone()).or_default() += count;
        if what != Deleted::Passing {
            *self.unsaid.entry((what, rule)).or_default() += count;
        }
    }

    /// Says it, unless it was said a moment ago.
    pub(super) fn say(&mut self, now: Duration) {
        if now < self.next {
            return;
        }
        if let Some(line) = self.take() {
            self.next = now + SAY_EVERY;
            tracing::info!("{line}");
        }
    }

    /// What is still to be said, at the end.
    pub(super) fn say_last(&mut self) {
        if let Some(line) = self.take() {
            tracing::info!("{line}");
        }
    }

    fn take(&mut self) -> Option<String> {
        let unsaid = std::mem::take(&mut self.unsaid);
        let parts = [(Deleted::Event, "event"), (Deleted::Letter, "dead letter")];
        let parts = parts.into_iter().filter_map(|(what, noun)| part_of(&unsaid, what, noun));
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("retention deleted {}", parts.join(", and ")))
    }
}

/// `1,204 events: 1,200 by `keep "7d"`, 4 by `max-size``.
fn part_of(
    unsaid: &BTreeMap<(Deleted, Arc<str>), u64>,
    what: Deleted,
    noun: &str,
) -> Option<String> {
    let of_kind: Vec<(&Arc<str>, u64)> =
        unsaid.iter().filter(|it| it.0.0 == what).map(|it| (&it.0.1, *it.1)).collect();
    let total: u64 = of_kind.iter().map(|it| it.1).sum();
    let by: Vec<String> =
        of_kind.iter().map(|(rule, count)| format!("{} by `{rule}`", grouped(*count))).collect();
    let noun = if total == 1 { noun.to_owned() } else { format!("{noun}s") };
    (0 < total).then(|| format!("{} {noun}: {}", grouped(total), by.join(", ")))
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_told_in_one_line_by_rule() {
        let (mut deletions, figures) = (Deletions::default(), Figures::default());
        assert_eq!(deletions.take(), None);
        deletions.note(Deleted::Event, "keep \"7d\" priority=low", 1200, &figures);
        deletions.note(Deleted::Event, "max-size", 3, &figures);
        deletions.note(Deleted::Event, "max-size", 1, &figures);
        deletions.note(Deleted::Letter, "max-entries", 1, &figures);
        deletions.note(Deleted::Passing, "passing", 77, &figures);
        let expected = "retention deleted 1,204 events: 1,200 by `keep \"7d\" priority=low`, \
                        4 by `max-size`, and 1 dead letter: 1 by `max-entries`";
        assert_eq!(deletions.take().as_deref(), Some(expected));
        assert_eq!(deletions.take(), None);
        let counts = figures.deleted.lock().expect("no test panics").clone();
        assert_eq!(counts.values().sum::<u64>(), 1282);
    }

    #[test]
    fn thousands_are_told_apart() {
        let numbers = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
    }
}
