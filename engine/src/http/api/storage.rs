//! What the store holds, how long it keeps it, and for how long there is room.

use super::{Answer, failed, json_text};
use crate::http::app::App;
use crate::reload;
use kernel::choice::Choice;
use kernel::event::Priority;
use kernel::time::{Timestamp, write_duration};
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{EventCount, EventQuery, KeepRule, Reader, RetentionPolicy, StoreFault};
use tide::Request;

/// How many days a forecast looks back at.
const DAYS: u32 = 7;
/// With fewer events the room that one of them takes is not known.
const EVENTS_MIN: u64 = 1000;
const DAY: Duration = Duration::from_secs(86_400);

/// Figures of the store, its policy, and a forecast.
pub(super) async fn storage(request: Request<App>) -> Answer {
    let app = request.state();
    let (engine, now) = (&app.engine, app.engine.env.clock.wall());
    engine.store.write_counts().await;
    let read = move |reader: &Reader<'_>| Ok((reader.stats(DAYS, now)?, rows(reader)?));
    let (stats, rows) = match engine.store.read(read).await {
        Ok(found) => found,
        Err(fault) => return Ok(failed(&fault)),
    };
    let figures = engine.store.figures();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let generation = engine.generation();
    let policy = reload::policy(&generation.plan);
    let (bytes, free) =
        (load(&figures.bytes) + load(&figures.wal_bytes), load(&figures.free_bytes));
    let since_oldest = rows.oldest().map_or(Duration::ZERO, |oldest| now.since(oldest));
    let growth = Growth {
        daily: daily(&stats["by_priority"], since_oldest),
        event_bytes: load(&figures.bytes) as f64 / rows.at_most.max(1) as f64,
        bytes,
        room: policy.size_max.map_or(bytes + free, |it| it.min(bytes + free)),
    };
    let deleted = figures.deleted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let next = figures.next_sweep.load(Ordering::Relaxed);
    let body = json!({
        "bytes": load(&figures.bytes),
        "wal_bytes": load(&figures.wal_bytes),
        "free_bytes": free,
        "events": { "at_most": rows.at_most },
        "priorities": rows.told,
        "pending": load(&figures.pending),
        "pending_bytes": load(&figures.pending_bytes),
        "deliveries": load(&figures.outbox_rows),
        "dead_letters": load(&figures.dead_letters),
        "retention": shown(&policy),
        "deleted": deleted.iter().map(|(rule, count)| (rule.to_string(), json!(count))).collect::<Map<_, _>>(),
        "next_sweep": (next != 0).then(|| Timestamp(next).to_string()),
        "forecast": (EVENTS_MIN <= rows.at_most).then(|| growth.forecast(&policy)),
    });
    Ok(json_text(body.to_string()))
}

/// What there is of each priority.
struct StoredRows {
    /// By priority: how many, and the oldest and the newest time.
    told: Vec<Value>,
    times: Vec<Timestamp>,
    /// How many there are, or a few more where some between them were deleted.
    at_most: u64,
}

impl StoredRows {
    fn oldest(&self) -> Option<Timestamp> {
        self.times.iter().min().copied()
    }
}

fn rows(reader: &Reader<'_>) -> Result<StoredRows, StoreFault> {
    let (mut told, mut times, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for level in Priority::ALL {
        let of = |is_oldest_first| EventQuery {
            priorities: vec![level],
            limit: 1,
            is_oldest_first,
            ..EventQuery::default()
        };
        let EventCount { events, is_exact } = reader.count_events(&of(true), None)?;
        let mut end = |is_oldest_first| -> Result<Option<String>, StoreFault> {
            let found = reader.events(&of(is_oldest_first))?.rows.pop();
            Ok(found.map(|it| {
                places.push(it.pos);
                times.push(it.envelope.received);
                it.envelope.time.to_string()
            }))
        };
        let (oldest, newest) = (end(true)?, end(false)?);
        told.push(json!({
            "priority": level.word(), "events": events, "is_exact": is_exact, "oldest": oldest,
            "newest": newest,
        }));
    }
    let ends = places.iter().min().zip(places.iter().max());
    let at_most = ends.map_or(0, |(first, last)| last - first + 1);
    Ok(StoredRows { told, times, at_most })
}

/// Events a day of each priority, of the days there are.
fn daily(by_priority: &Value, since_oldest: Duration) -> Vec<(Priority, f64)> {
    let days = (since_oldest.as_secs_f64() / DAY.as_secs_f64()).clamp(1.0, f64::from(DAYS));
    let of = |level: Priority| by_priority[level.word()].as_f64().unwrap_or(0.0) / days;
    Priority::ALL.map(|level| (level, of(level))).into()
}

/// What a store grows by.
struct Growth {
    /// Events a day, by priority.
    daily: Vec<(Priority, f64)>,
    /// What one of them takes, with its share of everything else.
    event_bytes: f64,
    /// What is used.
    bytes: u64,
    /// What may be used.
    room: u64,
}

impl Growth {
    /// Where this leads as long as it goes on: the size at which as much is deleted as comes, and
    /// the days until the room is used up where that is larger.
    fn forecast(&self, policy: &RetentionPolicy) -> Value {
        let daily_bytes = self.daily.iter().map(|it| it.1).sum::<f64>() * self.event_bytes;
        let levels_off = self.daily.iter().filter(|it| 0.0 < it.1).try_fold(0.0, |sum, it| {
            let days = kept(&policy.keep, it.0)?.as_secs_f64() / DAY.as_secs_f64();
            Some(sum + it.1 * days * self.event_bytes)
        });
        let is_enough = levels_off.is_some_and(|levels_off| levels_off <= self.room as f64);
        let left = self.room.saturating_sub(self.bytes) as f64;
        let days = (!is_enough && 0.0 < daily_bytes).then(|| (left / daily_bytes).floor());
        json!({
            "bytes_per_day": daily_bytes.round(), "levels_off_at": levels_off.map(f64::round),
            "room": self.room, "full_in_days": days,
        })
    }
}

/// How long events of a priority stay, whatever their type; `None` for good.
fn kept(rules: &[KeepRule], level: Priority) -> Option<Duration> {
    let fits = |rule: &&KeepRule| rule.priority.is_none_or(|of| of == level);
    // A rule for some types may be the longer one: none of the following rules is asked then.
    let of_types =
        rules.iter().filter(|rule| rule.kind.is_some()).filter(fits).map(|rule| rule.age).max();
    let of_all = rules.iter().filter(|rule| rule.kind.is_none()).find(fits)?.age;
    Some(of_types.map_or(of_all, |it| it.max(of_all)))
}

/// The rules as a file writes them.
fn shown(policy: &RetentionPolicy) -> Value {
    let keep = policy.keep.iter().map(|it| {
        json!({
            "age": write_duration(it.age), "priority": it.priority.map(Priority::word),
            "type": it.kind,
        })
    });
    json!({
        "keep": keep.collect::<Vec<_>>(),
        "max_size": policy.size_max,
        "evict": policy.evict.word(),
        "every": write_duration(policy.sweep_every),
        "dead_letters": { "keep": write_duration(policy.dead_keep), "max": policy.dead_max },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(days: u32, priority: Option<Priority>, kind: Option<&str>) -> KeepRule {
        KeepRule { age: DAY * days, priority, kind: kind.map(str::to_owned) }
    }

    #[track_caller]
    fn check(keep: Vec<KeepRule>, room: u64, levels_off: Value, days: Value) {
        let growth = Growth {
            daily: vec![(Priority::Low, 10.0), (Priority::High, 1.0), (Priority::Critical, 0.0)],
            event_bytes: 100.0,
            bytes: 1100,
            room,
        };
        let policy = RetentionPolicy { keep, ..RetentionPolicy::default() };
        let found = growth.forecast(&policy);
        assert_eq!(found["bytes_per_day"], json!(1100.0));
        assert_eq!((&found["levels_off_at"], &found["full_in_days"]), (&levels_off, &days));
    }

    #[test]
    fn a_store_levels_off_or_is_full_some_day() {
        let rules = || vec![rule(30, Some(Priority::High), None), rule(3, None, None)];
        check(rules(), 1_000_000, json!(6000.0), Value::Null);
        check(rules(), 5500, json!(6000.0), json!(4.0));
        check(vec![rule(3, Some(Priority::Low), None)], 12_100, Value::Null, json!(10.0));
        check(
            vec![rule(5, None, Some("a.*")), rule(1, None, None)],
            9000,
            json!(5500.0),
            Value::Null,
        );
        check(Vec::new(), 1100, Value::Null, json!(0.0));
    }

    #[test]
    fn a_young_store_counts_the_day_that_it_had() {
        let counted = json!({ "low": 70, "critical": 7 });
        assert_eq!(daily(&counted, Duration::ZERO)[0], (Priority::Low, 70.0));
        let week = daily(&counted, 30 * DAY);
        assert_eq!((week[0].1, week[1].1, week[3].1), (10.0, 0.0, 1.0));
    }
}
