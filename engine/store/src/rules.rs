//! The part of a policy that deletes: what it keeps, in words and as the store remembers it.

use super::policy::{Evict, KeepRule, RetentionPolicy};
use kernel::event::Priority;
use kernel::pattern::glob_fits;
use kernel::time::Timestamp;
use kernel::time::write_duration;
use serde_json::{Value, json};
use std::time::Duration;

/// What is deleted when, as the file says it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RetentionRules {
    pub(super) keep: Vec<KeepRule>,
    pub(super) size_max: Option<u64>,
    pub(super) evict: Evict,
    pub(super) dead_keep: Duration,
    pub(super) dead_max: u64,
}

/// Which rule is for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RuleOfEvent {
    /// The one with this index.
    Keep(usize),
    /// It was not sent to the store, and passes through.
    Passing,
    /// None: it stays.
    None,
}

impl RetentionRules {
    /// Deletes nothing.
    pub(super) fn keeping_everything() -> Self {
        RetentionRules {
            keep: Vec::new(),
            size_max: None,
            evict: Evict::Oldest,
            dead_keep: Duration::MAX,
            dead_max: i64::MAX as u64,
        }
    }

    pub(super) fn of(policy: &RetentionPolicy) -> Self {
        RetentionRules {
            keep: policy.keep.clone(),
            size_max: policy.size_max,
            evict: policy.evict,
            dead_keep: policy.dead_keep,
            dead_max: policy.dead_max,
        }
    }

    pub(super) fn put_into(&self, policy: &mut RetentionPolicy) {
        policy.keep = self.keep.clone();
        (policy.size_max, policy.evict) = (self.size_max, self.evict);
        (policy.dead_keep, policy.dead_max) = (self.dead_keep, self.dead_max);
    }

    /// Deletes only what both delete.
    pub(super) fn and(&self, other: &RetentionRules) -> RetentionRules {
        RetentionRules {
            keep: self.keep.clone(),
            size_max: self.size_max.zip(other.size_max).map(|(one, two)| one.max(two)),
            evict: self.evict,
            dead_keep: self.dead_keep.max(other.dead_keep),
            dead_max: self.dead_max.max(other.dead_max),
        }
    }

    /// The rule for a visible event.
    pub(super) fn rule_of(&self, priority: Priority, kind: &str) -> RuleOfEvent {
        let rule = self.keep.iter().position(|it| fits(it, priority, kind));
        rule.map_or(RuleOfEvent::None, RuleOfEvent::Keep)
    }

    /// Whether a visible event is too old.
    pub(super) fn is_over(
        &self,
        priority: Priority,
        kind: &str,
        received: i64,
        now: Timestamp,
    ) -> bool {
        match self.rule_of(priority, kind) {
            RuleOfEvent::Keep(rule) => received < now.minus(self.keep[rule].age).0,
            _ => false,
        }
    }

    /// Whether it keeps everything by age that `other` keeps, so far as the rules alone tell.
    pub(super) fn keeps_all_of(&self, other: &RetentionRules) -> bool {
        let is_longer = |(own, other): (&KeepRule, &KeepRule)| {
            own.priority == other.priority && own.kind == other.kind && other.age <= own.age
        };
        self.keep.is_empty()
            || (self.keep.len() == other.keep.len()
                && self.keep.iter().zip(&other.keep).all(is_longer))
    }

    /// As the store remembers it.
    pub(super) fn to_text(&self) -> String {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let keep: Vec<Value> = self
            .keep
            .iter()
            .map(|it| {
                json!({
                    "micros": micros(it.age), "priority": it.priority.map(Priority::word),
                    "type": it.kind,
                })
            })
            .collect();
        json!({
            "keep": keep, "max_size": self.size_max,
            "lowest_first": self.evict == Evict::OldestLowestPriority,
            "letters_micros": micros(self.dead_keep), "letters": self.dead_max,
        })
        .to_string()
    }

    /// Reads what [`RetentionRules::to_text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let age = |value: &Value| value.as_u64().map(Duration::from_micros);
        let keep = value["keep"].as_array()?.iter().map(|items| {
            Some(KeepRule {
                age: age(&items["micros"])?,
                priority: items["priority"].as_str().and_then(Priority::parse),
                kind: items["type"].as_str().map(str::to_owned),
            })
        });
        Some(RetentionRules {
            keep: keep.collect::<Option<_>>()?,
            size_max: value["max_size"].as_u64(),
            evict: match value["lowest_first"].as_bool()? {
                true => Evict::OldestLowestPriority,
                false => Evict::Oldest,
            },
            dead_keep: age(&value["letters_micros"])?,
            dead_max: value["letters"].as_u64()?,
        })
    }
}

fn fits(keep: &KeepRule, priority: Priority, kind: &str) -> bool {
    keep.priority.is_none_or(|it| it == priority)
        && keep.kind.as_ref().is_none_or(|it| glob_fits(it, kind))
}

/// A rule as the file writes it: `keep "7d" priority=low`.
pub(super) fn rule_text(keep: &KeepRule) -> String {
    let mut text = format!("keep \"{}\"", write_duration(keep.age));
    if let Some(priority) = keep.priority {
        text.push_str(&format!(" priority={priority}"));
    }
    if let Some(kind) = &keep.kind {
        text.push_str(&format!(" type=\"{kind}\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(days: u64, priority: Option<Priority>, kind: Option<&str>) -> KeepRule {
        let age = Duration::from_secs(days * 86_400);
        KeepRule { age, priority, kind: kind.map(str::to_owned) }
    }

    fn rules(keep: Vec<KeepRule>) -> RetentionRules {
        RetentionRules { keep, ..RetentionRules::of(&RetentionPolicy::default()) }
    }

    #[test]
    fn what_the_store_remembers_is_what_the_file_said() {
        let low = keep(7, Some(Priority::Low), None);
        let all = RetentionRules {
            size_max: Some(5),
            evict: Evict::OldestLowestPriority,
            ..rules(vec![low, keep(30, None, Some("a.*")), keep(1, None, None)])
        };
        for rules in [all, rules(Vec::new()), RetentionRules::keeping_everything()] {
            let read = RetentionRules::parse(&rules.to_text()).expect("it is read");
            assert_eq!(read.to_text(), rules.to_text());
        }
        assert_eq!(RetentionRules::parse("{}"), None);
    }

    #[test]
    fn a_rule_is_named_as_the_file_writes_it() {
        let text = rule_text(&keep(7, Some(Priority::Low), Some("door.*")));
        assert_eq!(text, "keep \"7d\" priority=low type=\"door.*\"");
    }

    #[test]
    fn longer_ages_keep_all_and_other_rules_may_not() {
        let old = rules(vec![keep(7, Some(Priority::Low), None), keep(30, None, None)]);
        let longer = rules(vec![keep(8, Some(Priority::Low), None), keep(30, None, None)]);
        let turned = rules(vec![keep(30, None, None), keep(7, Some(Priority::Low), None)]);
        assert!(longer.keeps_all_of(&old));
        assert!(rules(Vec::new()).keeps_all_of(&old));
        assert!(!old.keeps_all_of(&longer));
        assert!(!turned.keeps_all_of(&old));
        assert!(!old.keeps_all_of(&rules(Vec::new())));
    }
}
