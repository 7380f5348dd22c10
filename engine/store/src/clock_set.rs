//! What becomes of the times at which stages want to look again when the wall clock is set.
//!
//! A door that has been open for nine of ten minutes is told of in one minute, whether a clock that
//! was never set is put right in between or somebody sets it by mistake. So every such time is
//! moved along with the clock, and is as far away as it was.

use super::StoreFault;
use super::clock::ClockFace;
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
        if self.memories.is_empty() {
            return Ok(());
        }
        let face = &self.clock;
        let moved = self.memories.clock_moved(face);
        let is_start = self.memories.offset.replace(face.offset(face.wall)).is_none();
        match moved {
            Some(moved) => self.run(
                "UPDATE remembered SET touched = touched + ?1, wake = wake + ?1,
                    due = iif(wake - due < ?2, due + ?1, due) WHERE wake IS NOT NULL",
                params![moved, NEAR_MICROS],
            ),
            None if is_start => self.run(
                "UPDATE remembered SET touched = ?1, wake = wake - touched + ?1,
                    due = iif(wake - due < ?2, due - touched + ?1, due)
                 WHERE wake IS NOT NULL AND ?1 < touched",
                params![self.now.0, NEAR_MICROS],
            ),
            None => return Ok(()),
        }?;
        self.memories.look_anew();
        Ok(())
    }
}
