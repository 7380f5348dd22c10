//! What retention will do, before it does: why one event is still there, and what the next sweep
//! deletes.
//!
//! *Never:* a rule of its own: [`RuleBook`] decides, as for the sweep.

use super::record::DeliveryState;
use super::rule_book::{RuleBook, RulesInForce, waits_sql};
use super::rules::RuleOfEvent;
use super::sweep::{AHEAD_MAX, RowWords, ScannedRow, Slice, scan, scan_one};
use super::{StoreFault, StoreTrouble, sql};
use kernel::env::Clock;
use kernel::event::Priority;
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a forecast looks; a query may not take much longer.
const LOOK_MAX: Duration = Duration::from_millis(1500);
/// Deliveries and letters that are named for one event.
const HOLDS_MAX: i64 = 100;

/// Whose store it is, and what its rules are.
#[derive(Debug, Clone, Copy)]
pub struct RetentionView<'a> {
    /// The rules.
    pub in_force: &'a RulesInForce,
    /// The name of the store in the file.
    pub store: &'a str,
    /// When it is asked.
    pub now: Timestamp,
}

impl RetentionView<'_> {
    fn book<'b>(&'b self, connection: &'b Connection, words: &'b mut RowWords) -> RuleBook<'b> {
        RuleBook {
            connection,
            words,
            store: self.store,
            rules: &self.in_force.rules,
            pending: self.in_force.pending.as_ref(),
            passing_keep: self.in_force.passing_keep,
        }
    }
}

/// Why an event is still there.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptEvent {
    id: String,
    source: String,
    kind: String,
    priority: Priority,
    received: Timestamp,
    /// As the file writes it.
    rule: Option<String>,
    until: Option<Timestamp>,
    holds: Vec<Value>,
    is_over: bool,
}

impl KeptEvent {
    /// `kept` by its rule, `held` by something else, or `due`: it goes at the next sweep.
    pub fn outcome(&self) -> &'static str {
        match (self.is_over, self.holds.is_empty()) {
            (false, _) => "kept",
            (true, false) => "held",
            (true, true) => "due",
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id, "source": self.source, "type": self.kind,
            "priority": self.priority.word(), "received": self.received.to_string(),
            "rule": self.rule, "until": self.until.map(|it| it.to_string()),
            "held_by": self.holds, "outcome": self.outcome(),
        })
    }
}

/// What the next sweep deletes.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepForecast {
    /// For each rule as the file writes it: how many events go, and how many are held back.
    pub rules: Vec<(String, u64, u64)>,
    /// How many dead letters go.
    pub letters: u64,
    /// False when there was too much to look at: there may be more.
    pub is_exact: bool,
    /// Whether other rules wait to be in force.
    pub has_pending: bool,
    sweep_every: Duration,
    size_max: Option<u64>,
}

impl SweepForecast {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let rule = |(rule, due, held): &(String, u64, u64)| json!({ "rule": rule, "due": due, "held": held });
        json!({
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "dead_letters": self.letters,
            "is_exact": self.is_exact,
            "has_pending_rules": self.has_pending,
            "sweep_every_seconds": self.sweep_every.as_secs(),
            "max_size": self.size_max,
        })
    }
}

/// Why a stored event is still there: the newest with this id, of one source where it is given.
pub(super) fn explain(
    connection: &Connection,
    view: &RetentionView<'_>,
    clock: &Arc<dyn Clock>,
    id: &str,
    source: Option<&str>,
) -> Result<Option<KeptEvent>, StoreFault> {
    let sql = "SELECT pos, coalesce((SELECT text FROM names WHERE code = source), source) AS said
               FROM event_rows INDEXED BY event_rows_id
               WHERE id = ?1 AND (?2 IS NULL OR said = ?2) ORDER BY pos DESC LIMIT 1";
    let found = connection.query_row(sql, params![id, source], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    });
    let Some((pos, source)) = found.optional()? else { return Ok(None) };
    let Some(row) = scan_one(connection, pos as u64)? else { return Ok(None) };
    let mut words = RowWords::default();
    let kind = words.kind(connection, &row)?.to_string();
    let mut book = view.book(connection, &mut words);
    let rule = book.rule_of(&row)?;
    let age = book.age_of(rule);
    let is_over = age.is_some_and(|age| row.received < view.now.minus(age).0);
    let mut holds = holds(connection, rule, row.seq)?;
    if is_over && !book.may_go(&row, view.now)? {
        holds.push(json!({ "what": "new-rules" }));
    }
    if is_over && holds.is_empty() && !is_reached(connection, view, clock, row.pos)? {
        holds.push(json!({ "what": "younger-event-before" }));
    }
    let received = Timestamp(row.received);
    Ok(Some(KeptEvent {
        id: id.to_owned(),
        source,
        kind,
        priority: row.priority,
        received,
        rule: view.in_force.text_of(rule),
        until: age.map(|age| received.plus(age)),
        holds,
        is_over,
    }))
}

/// What keeps an event from going with its rule.
fn holds(connection: &Connection, rule: RuleOfEvent, seq: u64) -> Result<Vec<Value>, StoreFault> {
    if !connection.query_row(waits_sql(rule), [seq as i64], |row| row.get::<_, bool>(0))? {
        return Ok(Vec::new());
    }
    let sql = "SELECT sink, state FROM delivery_rows WHERE seq = ?
                AND (state IN (0, 3, 5) OR again > 0) ORDER BY sink LIMIT ?";
    let mut select = connection.prepare(sql)?;
    let deliveries = select.query_map(params![seq as i64, HOLDS_MAX], |row| {
        let state = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(usize::MAX);
        let state = DeliveryState::ALL.get(state).map(|it| it.word());
        Ok(json!({ "what": "delivery", "sink": row.get::<_, String>(0)?, "state": state }))
    })?;
    let mut holds = deliveries.collect::<Result<Vec<Value>, _>>()?;
    if rule == RuleOfEvent::Passing {
        let mut select =
            connection.prepare("SELECT id FROM dead_letters WHERE seq = ? ORDER BY id LIMIT ?")?;
        let letters = select.query_map(params![seq as i64, HOLDS_MAX], |row| {
            Ok(json!({ "what": "dead-letter", "id": row.get::<_, i64>(0)? }))
        })?;
        for letter in letters {
            holds.push(letter?);
        }
    }
    Ok(holds)
}

/// Whether the next sweep comes to an event that is over, and deletes it.
fn is_reached(
    connection: &Connection,
    view: &RetentionView<'_>,
    clock: &Arc<dyn Clock>,
    pos: u64,
) -> Result<bool, StoreFault> {
    let mut rehearsal = Rehearsal::new(view.in_force);
    rehearsal.run(connection, view, clock, pos)?;
    // Where there is too much to look at, nothing is known of a younger one.
    Ok(!rehearsal.is_whole || rehearsal.last_due == Some(pos))
}

/// What the next sweep deletes.
pub(super) fn forecast(
    connection: &Connection,
    view: &RetentionView<'_>,
    clock: &Arc<dyn Clock>,
) -> Result<SweepForecast, StoreFault> {
    let in_force = view.in_force;
    let mut rehearsal = Rehearsal::new(in_force);
    rehearsal.run(connection, view, clock, u64::MAX)?;
    let cutoff = view.now.minus(in_force.rules.dead_keep).0;
    let sql = "SELECT count(*) FROM dead_letters INDEXED BY dead_letters_last WHERE last < ?";
    let letters = connection.query_row(sql, [cutoff], |row| row.get::<_, i64>(0))? as u64;
    let told = rehearsal.rules.into_iter().map(|rule| {
        let text = in_force.text_of(rule.rule).expect("it is a rule that deletes");
        (text, rule.due, rule.held)
    });
    Ok(SweepForecast {
        rules: told.collect(),
        letters,
        is_exact: rehearsal.is_whole,
        has_pending: in_force.pending.is_some(),
        sweep_every: in_force.sweep_every,
        size_max: in_force.rules.size_max,
    })
}

/// A sweep that deletes nothing.
struct Rehearsal {
    /// In the order in which a sweep follows them.
    rules: Vec<RuleForecast>,
    /// The place of the last event that goes.
    last_due: Option<u64>,
    /// Whether there was time to look at everything.
    is_whole: bool,
}

/// What one rule deletes.
struct RuleForecast {
    rule: RuleOfEvent,
    due: u64,
    held: u64,
    /// It came to an event that is young enough: a sweep looks no further.
    is_done: bool,
}

impl Rehearsal {
    fn new(in_force: &RulesInForce) -> Self {
        let rule = |rule| RuleForecast { rule, due: 0, held: 0, is_done: false };
        let rules = in_force.all().into_iter().map(rule).collect();
        Rehearsal { rules, last_due: None, is_whole: true }
    }

    /// Looks at every event up to a place, as long as there is time and a rule that looks further.
    fn run(
        &mut self,
        connection: &Connection,
        view: &RetentionView<'_>,
        clock: &Arc<dyn Clock>,
        up_to: u64,
    ) -> Result<(), StoreFault> {
        let (mut from, mut words) = (0, RowWords::default());
        let until = clock.monotonic() + LOOK_MAX;
        while self.rules.iter().any(|rule| !rule.is_done) {
            if until < clock.monotonic() {
                self.is_whole = false;
                return Ok(());
            }
            let scanned = scan(connection, from, &Slice::begin(clock))?;
            let Some(last) = scanned.last() else { return Ok(()) };
            from = last.pos;
            let mut book = view.book(connection, &mut words);
            for row in scanned.iter().take_while(|it| it.pos <= up_to) {
                self.look_at(&mut book, row, view.now)?;
            }
            if up_to <= from {
                return Ok(());
            }
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        book: &mut RuleBook<'_>,
        row: &ScannedRow,
        now: Timestamp,
    ) -> Result<(), StoreFault> {
        let own = book.rule_of(row)?;
        let ahead = now.plus(AHEAD_MAX).0;
        for rule in self.rules.iter_mut().filter(|rule| !rule.is_done) {
            let age = book.age_of(rule.rule).expect("it is a rule that deletes");
            if now.minus(age).0 <= row.received {
                rule.is_done = row.received <= ahead;
            } else if rule.rule == own {
                if is_held(book, own, row, now)? {
                    rule.held += 1;
                } else {
                    rule.due += 1;
                    self.last_due = Some(row.pos);
                    // It is gone before the rules behind this one come to it.
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn is_held(
    book: &mut RuleBook<'_>,
    rule: RuleOfEvent,
    row: &ScannedRow,
    now: Timestamp,
) -> Result<bool, StoreFault> {
    let mut waits = book.connection.prepare_cached(waits_sql(rule))?;
    let is_held = waits.query_row([row.seq as i64], |row| row.get::<_, bool>(0))?;
    Ok(is_held || !book.may_go(row, now)?)
}

/// Why an event of a store without an engine is still there.
pub fn explain_in_file(
    path: &Path,
    view: &RetentionView<'_>,
    clock: &Arc<dyn Clock>,
    id: &str,
    source: Option<&str>,
) -> Result<Option<KeptEvent>, String> {
    let connection = sql::open(path)?;
    explain(&connection, view, clock, id, source).map_err(|fault| cannot_look(path, &fault))
}

/// What the first sweep of an engine on this store deletes.
pub fn forecast_in_file(
    path: &Path,
    view: &RetentionView<'_>,
    clock: &Arc<dyn Clock>,
) -> Result<SweepForecast, String> {
    let connection = sql::open(path)?;
    forecast(&connection, view, clock).map_err(|fault| cannot_look(path, &fault))
}

fn cannot_look(path: &Path, fault: &StoreFault) -> String {
    let shown = path.display();
    match fault.class {
        StoreTrouble::Other => {
            format!("cannot read {shown}: {}; `engine run` brings it up to date", fault.reason)
        }
        _ => format!("cannot read {shown}: {}", fault.reason),
    }
}
