//! What becomes of the times that are waited for when the wall clock is set: when stages want to
//! look again, and until when notifications wait.
//!
//! A door that has been open for nine of ten minutes is told of in one minute, whether a clock that
//! was never set is put right in between or somebody sets it by mistake. So every such time is
//! moved along with the clock, and is as far away as it was. Quiet hours are not: they are times of
//! the day.

use super::StoreFault;
use super::clock::ClockFace;
use super::held::NEVER;
use super::insert::Batch;
use super::keyed::Memories;
use rusqlite::params;

/// A clock that moves by more than this against a steady one was set; by less, it is kept right.
const SET_MICROS: i64 = 10_000_000;
/// An event that came within this time after it happened has its time from the same clock.
const NEAR_MICROS: i64 = 10_000_000;

impl Memories {
    /// By how much the wall clock was set since the last look.
    pub(super) fn clock_moved(&self, face: &ClockFace) -> Option<i64> {
        let moved = face.offset(face.wall) - self.offset?;
        (SET_MICROS < moved.abs()).then_some(moved)
    }
}

impl Batch<'_> {
    /// Moves what is waited for along with the wall clock, where that was set since the last look.
    /// At a start nobody knows by how much; but a row of a time that has not come was written
    /// before the clock was set back.
    pub(super) fn follow_clock(&mut self) -> Result<(), StoreFault> {
        let face = &self.clock;
        let moved = self.memories.clock_moved(face);
        let is_start = self.memories.offset.replace(face.offset(face.wall)).is_none();
        match moved {
            Some(moved) => {
                self.move_stages(moved)?;
                self.move_notifications(moved)?;
            }
            None if is_start => self.correct_future()?,
            None => return Ok(()),
        }
        self.memories.forget_wake();
        self.held.forget_wake();
        Ok(())
    }

    fn move_stages(&self, moved: i64) -> Result<(), StoreFault> {
        self.run(
            "UPDATE remembered SET touched = touched + ?1, wake = wake + ?1,
                due = iif(wake - due < ?2, due + ?1, due) WHERE wake IS NOT NULL",
            params![moved, NEAR_MICROS],
        )?;
        Ok(())
    }

    fn move_notifications(&self, moved: i64) -> Result<(), StoreFault> {
        self.run(
            "UPDATE delivery_rows INDEXED BY delivery_rows_release
             SET not_before = iif(not_before < ?2, not_before + ?1, not_before),
                created = created + ?1
             WHERE state = 5 AND lead IS NULL AND held <> 'quiet-hours'",
            params![moved, NEVER],
        )?;
        self.run(
            "UPDATE delivery_rows INDEXED BY delivery_rows_again SET again = max(again + ?1, 1)
             WHERE again > 0",
            [moved],
        )?;
        // When the next message is due by a rate, and when a group was told.
        self.run(
            "UPDATE state SET value = CAST(value AS INTEGER) + ?1, expires = expires + ?1
             WHERE key = 'rate' OR key LIKE 'group:%'",
            [moved],
        )?;
        Ok(())
    }

    fn correct_future(&self) -> Result<(), StoreFault> {
        self.run(
            "UPDATE remembered SET touched = ?1, wake = wake - touched + ?1,
                due = iif(wake - due < ?2, due - touched + ?1, due)
             WHERE wake IS NOT NULL AND ?1 < touched",
            params![self.now.0, NEAR_MICROS],
        )?;
        self.run(
            "UPDATE delivery_rows INDEXED BY delivery_rows_release
             SET not_before = iif(not_before < ?2, not_before - created + ?1, not_before),
                created = ?1
             WHERE state = 5 AND lead IS NULL AND held <> 'quiet-hours' AND ?1 < created",
            params![self.now.0, NEVER],
        )?;
        self.run(
            "UPDATE delivery_rows INDEXED BY delivery_rows_again
             SET again = again - created + ?1, created = ?1 WHERE again > 0 AND ?1 < created",
            [self.now.0],
        )?;
        Ok(())
    }
}
