//! Waits for ticks and sends them.
//!
//! *Invariant:* what is remembered goes in the transaction of the events that it is about. The last
//! tick is remembered, and of one whose events need several transactions, the last row.

use super::{CatchUp, Settings};
use crate::contract::{Closed, Emit, Message, Services};
use crate::sources::lines::BATCH_MAX;
use jiff::tz::TimeZone;
use kernel::health::HealthProblem;
use kernel::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use smol::future::or;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// A tick that comes later than this was missed.
const PUNCTUAL: Duration = Duration::from_secs(30);
/// A wall clock may be set, and a machine may sleep; so it is looked at now and then.
const LONGEST: Duration = Duration::from_secs(10);
/// A clock that goes back further than this was wrong before: its ticks are not waited for.
const BACK_MAX: Duration = Duration::from_secs(86_400);
/// Most ticks that are caught up with; the newest of them.
const CATCH_UP_MAX: usize = 1000;
/// Ticks that are left out are counted up to here.
const COUNT_MAX: usize = 10_000;
/// Under this key the last tick is remembered.
const PLACE: &str = "tick";
/// The code of a timer that left out ticks.
const MISSED: &str = "missed-ticks";

/// Where a timer is; what it remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TickPlace {
    /// See [`super::schedule::Schedule::print`].
    schedule: String,
    /// The last tick, or the time from which they count.
    at: i64,
    /// The last row that was sent, where others of this tick are still to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<String>,
}

/// One run of a timer.
pub(super) struct Ticking<'a> {
    settings: &'a Settings,
    services: &'a Services,
    emit: &'a dyn Emit,
    name: &'a str,
    /// What gives its ticks delays of their own.
    delays: String,
}

impl<'a> Ticking<'a> {
    pub(super) fn new(settings: &'a Settings, services: &'a Services, emit: &'a dyn Emit) -> Self {
        let name = &services.health.part().name;
        let delays = format!("{}/{name}", services.pipeline);
        Ticking { settings, services, emit, name, delays }
    }

    pub(super) async fn run(&self) -> Result<Infallible, Closed> {
        let rows = self.emit.recall().await?;
        let known = rows.iter().find(|row| row.0 == PLACE);
        let mut known: Option<TickPlace> = known.and_then(|it| serde_json::from_str(&it.1).ok());
        loop {
            // A reload may change it.
            let zone = self.emit.globals().zone.clone().unwrap_or(TimeZone::UTC);
            let schedule = self.settings.schedule.print(&zone);
            let now = self.services.env.clock.wall();
            let is_known = |place: &TickPlace| {
                place.schedule == schedule && Timestamp(place.at) <= now.plus(BACK_MAX)
            };
            let place = match known.take().filter(is_known) {
                Some(place) => place,
                None => self.begin(schedule, now).await?,
            };
            known = Some(self.step(place, now, &zone).await?);
        }
    }

    /// Ticks count from now on.
    async fn begin(&self, schedule: String, now: Timestamp) -> Result<TickPlace, Closed> {
        let place = TickPlace { schedule, at: now.0, row: None };
        self.emit.emit(Vec::new(), vec![remembered(&place)]).await?;
        Ok(place)
    }

    /// Sends what is due next, or waits for it for a while.
    async fn step(
        &self,
        place: TickPlace,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<TickPlace, Closed> {
        let last = Timestamp(place.at);
        if place.row.is_some() {
            return self.send(place, last).await;
        }
        let next = self.settings.schedule.next(last, zone).map(|at| (at, self.due(at)));
        match next {
            Some((_, due)) if due < now.minus(PUNCTUAL) => self.catch_up(place, now, zone).await,
            Some((at, due)) if due <= now => {
                let place = self.send(place, at).await?;
                self.services.health.clear(MISSED);
                Ok(place)
            }
            next => {
                self.wait_until(next.map(|it| it.1), now).await?;
                Ok(place)
            }
        }
    }

    /// Waits until a tick is due, the clock goes back, or a reload may have changed the zone.
    async fn wait_until(&self, due: Option<Timestamp>, mut now: Timestamp) -> Result<(), Closed> {
        let globals = self.emit.globals();
        loop {
            let left = due.map_or(LONGEST, |due| due.since(now).min(LONGEST));
            self.wait(left).await?;
            let before = std::mem::replace(&mut now, self.services.env.clock.wall());
            let is_due = due.is_some_and(|due| due <= now);
            if is_due || now < before || !Arc::ptr_eq(&globals, &self.emit.globals()) {
                return Ok(());
            }
        }
    }

    async fn wait(&self, duration: Duration) -> Result<(), Closed> {
        let closed = async {
            self.emit.closed().await;
            Err(Closed)
        };
        let over = async {
            self.services.env.clock.sleep(duration).await;
            Ok(())
        };
        or(closed, over).await
    }

    /// When a tick is sent.
    fn due(&self, at: Timestamp) -> Timestamp {
        at.plus(self.settings.schedule.delay(at, &self.delays))
    }

    /// Sends of what was missed as much as the file says.
    async fn catch_up(
        &self,
        mut place: TickPlace,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<TickPlace, Closed> {
        let (schedule, floor) = (&self.settings.schedule, Timestamp(place.at));
        let count = match self.settings.catch_up {
            CatchUp::None | CatchUp::Last => 1,
            CatchUp::All => CATCH_UP_MAX,
        };
        let until = now.minus(PUNCTUAL);
        // Of the newest one the delay may not be over.
        let mut missed = schedule.newest(floor, until, zone, count + 1);
        while missed.pop_if(|at| until <= self.due(*at)).is_some() {}
        let missed = missed.split_off(missed.len().saturating_sub(count));
        let Some(newest) = missed.last().copied() else {
            unreachable!("a tick that was missed is among those that were");
        };
        if self.settings.catch_up == CatchUp::None {
            place.at = newest.0;
            self.emit.emit(Vec::new(), vec![remembered(&place)]).await?;
            return Ok(place);
        }
        if self.settings.catch_up == CatchUp::All {
            self.report(floor, missed[0], zone);
        }
        for at in missed {
            place = self.send(place, at).await?;
        }
        Ok(place)
    }

    /// Says how many ticks are left out, after `floor` and before the `first` that is sent.
    fn report(&self, floor: Timestamp, first: Timestamp, zone: &TimeZone) {
        let ticks = self.settings.schedule.ticks(floor, Timestamp(first.0 - 1), zone);
        let count = match ticks.take(COUNT_MAX + 1).count() {
            0 => return,
            more if COUNT_MAX < more => format!("more than {COUNT_MAX}"),
            count => count.to_string(),
        };
        let reason = format!("left out {count} ticks that were missed before {first}");
        let advice = format!("at most {CATCH_UP_MAX} are sent afterwards; no action is needed");
        self.services.health.report(HealthProblem::degraded(MISSED, reason).advise(advice));
    }

    /// Sends one tick, or the rest of it: what is behind the last row that was sent.
    async fn send(&self, place: TickPlace, at: Timestamp) -> Result<TickPlace, Closed> {
        let TickPlace { schedule, row, .. } = place;
        let messages = self.messages(at);
        // Where the table has lost that row meanwhile, ids tell what was sent.
        let sent = row.and_then(|row| messages.iter().position(|message| message.0 == row));
        let mut rest = messages.into_iter().skip(sent.map_or(0, |sent| sent + 1)).peekable();
        loop {
            let (rows, batch): (Vec<String>, Vec<Message>) = rest.by_ref().take(BATCH_MAX).unzip();
            let has_more = rest.peek().is_some();
            let row = rows.last().filter(|_| has_more).cloned();
            let place = TickPlace { schedule: schedule.clone(), at: at.0, row };
            self.emit.emit(batch, vec![remembered(&place)]).await?;
            if !has_more {
                return Ok(place);
            }
        }
    }

    /// The messages of a tick, each with what tells it from the others.
    fn messages(&self, at: Timestamp) -> Vec<(String, Message)> {
        let message = |id: String, body: String, subject: Option<&str>| Message {
            body: body.into_bytes(),
            id: Some(id),
            time: Some(at),
            subject: subject.map(Into::into),
            ..Message::default()
        };
        let tick = format!("{}/{at}", self.name);
        let Some(table) = &self.settings.per else {
            let body = json!({ "scheduled": at.to_string() }).to_string();
            return vec![(String::new(), message(tick, body, None))];
        };
        let rows = table.rows().iter().enumerate();
        rows.map(|(index, row)| {
            let name = row.key.clone().unwrap_or_else(|| (index + 1).to_string());
            let id = format!("{tick}/{name}");
            let message = message(id, row.value.to_string(), row.key.as_deref());
            (name, message)
        })
        .collect()
    }
}

fn remembered(place: &TickPlace) -> (String, String) {
    let text = serde_json::to_string(place).expect("texts and numbers are JSON");
    (PLACE.to_owned(), text)
}
