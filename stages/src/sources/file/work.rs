//! Which file is read next, how much of it, and which ones are kept open.
//!
//! *Invariant:* at most [`OPEN_MAX`] files are open at once. A file that lost its name is kept open
//! for as long as somebody may write to it, because nothing else leads to it any more.

use super::identity::{FileStamp, is_out_of_descriptors};
use super::place::FilePlace;
use super::read::{FileEnd, LineBatch, ReadOutcome, read_whole};
use super::roster::FileRoster;
use super::track::{FileTrack, TrackPhase, TrackPresence};
use crate::contract::Message;
use crate::sources::lines::is_utf16;
use std::io;
use std::time::Duration;

/// Most files of one source that are open at once.
const OPEN_MAX: usize = 128;
/// So many are closed when it is time to close some.
const CLOSED_AT_ONCE: usize = 32;
/// Most of them that lost their names.
pub(super) const AWAY_MAX: usize = 64;
/// A renamed file is closed when nothing was written to it for this long, and the rest of a line at
/// its end is handed on. Programs that buffer may take minutes to complete a line.
const AWAY_QUIET: Duration = Duration::from_secs(600);
/// The same for a deleted one. It takes room on the disk as long as it is open.
const DELETED_QUIET: Duration = Duration::from_millis(200);
/// Zeros where a line should begin are passed after this: over NFS data may arrive late.
const HOLE_QUIET: Duration = Duration::from_secs(2);
/// Most bytes of a followed file that are read before others have their turn.
const TURN_MAX: usize = 16 << 20;

/// Messages of one file, and its place after them.
#[derive(Debug)]
pub(super) struct FileBatch {
    pub(super) number: u64,
    pub(super) messages: Vec<Message>,
    pub(super) place: FilePlace,
    /// The hash of the whole file, where that is one message.
    whole: Option<u64>,
}

impl FileRoster {
    /// The next messages; `None` when there are none for now.
    pub(super) fn next(&mut self, now: Duration) -> Option<FileBatch> {
        loop {
            if let Some(batch) = self.queue.pop_front() {
                return Some(batch);
            }
            if self.is_judging {
                self.judge(now);
            }
            if self.pick().is_none() {
                self.release(now);
            }
            let number = self.pick()?;
            if let Err(fault) = self.read(number, now) {
                self.fail(number, &fault, now);
            }
        }
    }

    /// The row that says that a batch was handed on.
    pub(super) fn row_of(&mut self, batch: &FileBatch) -> Vec<(String, String)> {
        let Some(track) = self.tracks.get_mut(&batch.number) else { return Vec::new() };
        track.whole = batch.whole;
        vec![track.row(&batch.place)]
    }

    /// A batch was handed on.
    pub(super) fn commit(&mut self, number: u64, place: FilePlace) {
        if let Some(track) = self.tracks.get_mut(&number) {
            let is_back = place.offset < track.place.offset;
            debug_assert!(!is_back || track.whole.is_some(), "places only move on");
            track.place = place;
        }
    }

    /// Whether everything was read that is there.
    pub(super) fn is_done(&self) -> bool {
        let is_open = |track: &FileTrack| match track.phase {
            _ if track.presence == TrackPresence::Gone => false,
            TrackPhase::Skipped => false,
            TrackPhase::Reading => track.is_due || (!self.is_by_line() && !track.is_still()),
            TrackPhase::Changed | TrackPhase::After { .. } => true,
            TrackPhase::CopyOf { of } => {
                let is_read = self.tracks.get(&of).is_none_or(FileTrack::is_read);
                !is_read || !track.is_still()
            }
        };
        self.queue.is_empty()
            && !self.tracks.values().any(|track| is_open(track) && !self.is_troubled(track))
    }

    fn is_troubled(&self, track: &FileTrack) -> bool {
        !self.troubles.may_try(&track.at, Duration::ZERO)
    }

    fn is_by_line(&self) -> bool {
        self.settings.codec.is_by_line()
    }

    /// The next file that is to be read: one after the other, the oldest first, and none for so
    /// long that the others wait.
    fn pick(&mut self) -> Option<u64> {
        for _ in 0..2 {
            let is_follow = self.is_follow;
            let may_read = |track: &&FileTrack| !is_follow || track.spent < TURN_MAX;
            let due =
                self.tracks.range(self.turn..).map(|range| range.1).filter(|track| track.is_due);
            if let Some(track) = due.clone().find(may_read) {
                self.turn = track.number;
                return Some(track.number);
            }
            self.turn = 0;
            self.tracks.values_mut().for_each(|track| track.spent = 0);
        }
        None
    }

    fn read(&mut self, number: u64, now: Duration) -> io::Result<()> {
        if self.tracks.get(&number).is_some_and(|track| track.file.is_none()) {
            self.open_guess += 1;
            self.close_surplus();
        }
        let is_by_line = self.is_by_line();
        let (is_follow, is_awaited) = (self.is_follow, self.is_awaited(number));
        let Some(track) = self.tracks.get_mut(&number) else { return Ok(()) };
        track.open()?;
        if !is_by_line {
            return self.read_whole(number);
        }
        let end = match track.is_final || !is_follow {
            true => FileEnd::Final,
            false if track.is_quiet(&self.settings, is_awaited, now) => FileEnd::Quiet,
            false => FileEnd::Open,
        };
        let (outcome, stamp) = track.read_on(&self.settings, end)?;
        // What is held without a name says nothing of the file that has its path now.
        let readable = (!track.presence.is_away()).then(|| track.at.clone());
        match outcome {
            ReadOutcome::Lines { batches, is_end, is_open } => {
                track.has_open_group = is_open;
                if is_end {
                    (track.seen, track.read) = (Some(stamp), Some(stamp));
                    track.is_due = false;
                }
                self.take(number, batches);
            }
            ReadOutcome::Hole { after, length } => self.pass_hole(number, after, length, now),
            ReadOutcome::Replaced => self.has_changed(number, now),
            ReadOutcome::Compressed => {
                (track.phase, track.is_due, track.file) = (TrackPhase::Skipped, false, None);
                (track.seen, track.read) = (Some(stamp), Some(stamp));
                let at = track.at.clone();
                self.troubles.note_compressed(&at);
            }
        }
        if let Some(at) = readable {
            self.troubles.clear_file(&at);
        }
        Ok(())
    }

    fn take(&mut self, number: u64, batches: Vec<LineBatch>) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        let Some(last) = batches.last() else { return };
        track.scan = Default::default();
        track.hole_since = None;
        track.spent += (last.place.offset - track.place.offset) as usize;
        if is_utf16(&last.place.head_bytes) && track.place.offset == 0 {
            self.troubles.note_utf16(&track.path);
        }
        let whole = track.whole;
        self.queue.extend(batches.into_iter().map(|batch| FileBatch {
            number,
            messages: batch.messages,
            place: batch.place,
            whole,
        }));
    }

    fn pass_hole(&mut self, number: u64, after: FilePlace, length: u64, now: Duration) {
        let is_follow = self.is_follow;
        let Some(track) = self.tracks.get_mut(&number) else { return };
        let since = *track.hole_since.get_or_insert(now);
        if is_follow && now < since + HOLE_QUIET {
            (track.is_due, track.read) = (false, None);
            return;
        }
        self.troubles.note_hole(&track.path, track.place.offset, length);
        (track.place, track.is_dirty) = (after, true);
        (track.scan, track.hole_since) = (Default::default(), None);
    }

    fn read_whole(&mut self, number: u64) -> io::Result<()> {
        let Some(track) = self.tracks.get_mut(&number) else { return Ok(()) };
        let (at, shown) = (track.at.clone(), track.shown.clone());
        let file = track.open()?;
        let (message, hash) = read_whole(file, &self.settings, &shown)?;
        // What changed while it was read is read again.
        let stamp = FileStamp::of(&file.metadata()?);
        let is_same = track.seen == Some(stamp);
        (track.file, track.is_due, track.read) = (None, false, track.seen.filter(|_| is_same));
        self.troubles.clear_file(&at);
        let Some(track) = self.tracks.get(&number) else { return Ok(()) };
        if is_same && track.whole != Some(hash) {
            let place = FilePlace { offset: stamp.size, ..FilePlace::default() };
            let messages = message.into_iter().collect();
            self.queue.push_back(FileBatch { number, messages, place, whole: Some(hash) });
        }
        Ok(())
    }

    /// A file could not be read. The others are.
    fn fail(&mut self, number: u64, fault: &io::Error, now: Duration) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        let at = track.at.clone();
        (track.is_due, track.read) = (false, None);
        if !matches!(track.presence, TrackPresence::Away { .. }) {
            track.file = None;
        }
        self.troubles.note_file(&at, fault, now);
        if is_out_of_descriptors(fault) {
            self.close_half();
        }
    }

    /// Closes what lost its name and is not written any more; before that the rest of a line at
    /// its end is read.
    fn release(&mut self, now: Duration) {
        let away = self.tracks.values().filter(|track| track.presence.is_away());
        let surplus = away.count().saturating_sub(AWAY_MAX);
        let mut quiet: Vec<(Duration, u64)> = self
            .tracks
            .values()
            .filter(|track| track.presence.is_away() && track.is_read())
            .map(|track| (track.changed, track.number))
            .collect();
        quiet.sort_unstable();
        for (at, (changed, number)) in quiet.into_iter().enumerate() {
            let is_awaited = self.is_awaited(number);

            let Some(track) = self.tracks.get_mut(&number) else { continue };
            let quiet = match track.presence {
                TrackPresence::Away { is_deleted: true } => DELETED_QUIET,
                _ => AWAY_QUIET,
            };
            let is_over = at < surplus || changed + quiet <= now || !self.is_follow;
            if is_over && !is_awaited {
                match track.has_rest() && !track.is_final {
                    true => (track.is_due, track.is_final) = (true, true),
                    false => (track.presence, track.file) = (TrackPresence::Gone, None),
                }
            }
        }
        self.drop_copies();
    }

    /// Copies beside the pattern are of no use once their original turned out to be whole.
    fn drop_copies(&mut self) {
        let is_whole =
            |of: &u64| self.tracks.get(of).is_none_or(|track| track.phase == TrackPhase::Reading);
        let is_useless = |track: &&FileTrack| match track.phase {
            TrackPhase::CopyOf { of } => track.presence.is_away() && is_whole(&of),
            _ => false,
        };
        let useless: Vec<u64> =
            self.tracks.values().filter(is_useless).map(|track| track.number).collect();
        useless.into_iter().for_each(|number| self.forget(number));
    }

    /// Whether another file waits for what becomes of this one.
    pub(super) fn is_awaited(&self, number: u64) -> bool {
        self.tracks.values().any(|track| track.awaits() == Some(number))
    }

    pub(super) fn has_room(&self) -> bool {
        self.open_guess < OPEN_MAX
    }

    pub(super) fn away_count(&self) -> usize {
        self.tracks.values().filter(|track| track.presence.is_away()).count()
    }

    /// Closes what was not written for the longest time, and first what has nothing to be read.
    pub(super) fn close_surplus(&mut self) {
        if OPEN_MAX <= self.open_guess {
            self.open_guess = self.open_count();
            let surplus = self.open_guess.saturating_sub(OPEN_MAX - CLOSED_AT_ONCE);
            self.close(if OPEN_MAX <= self.open_guess { surplus } else { 0 });
        }
    }

    fn open_count(&self) -> usize {
        self.tracks.values().filter(|track| track.file.is_some()).count()
    }

    /// The process has no descriptors left for others.
    pub(super) fn close_half(&mut self) {
        self.close(self.open_count().div_ceil(2));
    }

    fn close(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let mut open: Vec<(bool, bool, Duration, u64)> = self
            .tracks
            .values()
            .filter(|track| track.file.is_some())
            .map(|track| {
                (
                    track.presence.is_away(),
                    !track.is_read() || track.has_rest(),
                    track.changed,
                    track.number,
                )
            })
            .collect();
        open.sort_unstable();
        self.open_guess = open.len().saturating_sub(count);
        for (.., number) in open.into_iter().take(count) {
            let Some(track) = self.tracks.get_mut(&number) else { continue };
            track.file = None;
            if track.presence.is_away() {
                track.presence = TrackPresence::Gone;
            }
        }
    }
}

impl TrackPresence {
    fn is_away(self) -> bool {
        matches!(self, TrackPresence::Away { .. })
    }
}
