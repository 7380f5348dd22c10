//! Settles what had to wait: files that changed in place, took another one's path, or may be copies.
//!
//! It gathers what [`decide`](super::decide) has to know and does what that says. It runs only while
//! nothing is under way to the store, so places do not move meanwhile.

use super::decide::{FileDecision, FileFate, FileObservation, FileRelation, ProofStrength, decide};
use super::names::is_backup;
use super::place::{ContentMatch, FilePlace, count_lines, last_line_end};
use super::roster::{FileRoster, is_alike, name_now};
use super::track::{FileTrack, TrackPhase, TrackPresence, name_of};
use std::io;
use std::time::Duration;

impl FileRoster {
    /// Settles what can be settled now.
    pub(super) fn judge(&mut self, now: Duration) {
        let is_waiting = |track: &&FileTrack| {
            let is_there = track.presence != TrackPresence::Gone;
            let is_waiting = !matches!(track.phase, TrackPhase::Reading | TrackPhase::Skipped);
            is_there && is_waiting
        };
        let waiting: Vec<u64> =
            self.tracks.values().filter(is_waiting).map(|track| track.number).collect();
        self.is_judging = !waiting.is_empty();
        for number in waiting {
            let Some(track) = self.tracks.get(&number) else { continue };
            if !self.troubles.may_try(&track.at, now) {
                continue;
            }
            let at = track.at.clone();
            if let Err(fault) = self.judge_one(number, now) {
                self.troubles.note_file(&at, &fault, now);
            }
        }
    }

    fn judge_one(&mut self, number: u64, now: Duration) -> io::Result<()> {
        // Taken out, so that it can be compared with the others.
        let Some(mut track) = self.tracks.remove(&number) else { return Ok(()) };
        let observed = self.observe(&mut track, now);
        let (of, is_copy) = match track.phase {
            TrackPhase::After { of, .. } => (Some(of), false),
            TrackPhase::CopyOf { of } => (Some(of), true),
            _ => (None, false),
        };
        let decision =
            observed.map(|observed| observed.as_ref().map_or(FileDecision::Wait, decide));
        let before = of.and_then(|of| self.tracks.get(&of)).map(|track| track.place.clone());
        let settled = decision.and_then(|it| self.apply(&mut track, it, before, now));
        let is_older = of.is_some_and(|of| number < of) && track.phase == TrackPhase::Reading;
        if is_older && !is_copy {
            // It has the path after the other one, and so the larger number.
            self.forget_row(number);
            track.number = self.next_number();
            self.renumber(number, track.number, None);
        }
        let number = track.number;
        self.tracks.insert(number, track);
        match of {
            Some(of) if settled? && (!is_copy || self.is_gone(of)) => self.retire(of, number),
            _ => Ok(()),
        }
    }

    fn is_gone(&self, number: u64) -> bool {
        self.tracks.get(&number).is_some_and(|track| track.presence == TrackPresence::Gone)
    }

    /// What is known about a file that waits; `None` while it is too early to look.
    fn observe(
        &mut self,
        track: &mut FileTrack,
        now: Duration,
    ) -> io::Result<Option<FileObservation>> {
        match track.phase {
            TrackPhase::Changed => observe_changed(track, now).map(Some),
            TrackPhase::After { of, is_sudden } => {
                let Some(other) = self.tracks.get(&of) else { return Ok(Some(unrelated())) };
                // What cannot be read holds up no other file.
                if !other.is_read() && !self.troubles.has(&other.at) {
                    return Ok(None);
                }
                let fate = fate_after(other, name_of(&track.path));
                let place = other.place.clone();
                let (relation, size) = (FileRelation::TookPath, track.size());
                let content = place.compare(track.open()?, size)?;
                let seen = FileObservation { relation, content, fate, is_sudden, ..unrelated() };
                with_search(track, &place, seen, now).map(Some)
            }
            // Another file may hold what the original held.
            TrackPhase::CopyOf { of } if self.is_awaited(of) => Ok(None),
            TrackPhase::CopyOf { of } => {
                let Some(other) = self.tracks.get_mut(&of) else { return Ok(Some(unrelated())) };
                observe_copy(track, other, now)
            }
            TrackPhase::Reading | TrackPhase::Skipped => Ok(None),
        }
    }

    /// Does what was decided. Gives whether the file goes on where the other one was left.
    fn apply(
        &mut self,
        track: &mut FileTrack,
        decision: FileDecision,
        before: Option<FilePlace>,
        now: Duration,
    ) -> io::Result<bool> {
        let before = before.unwrap_or_else(|| track.place.clone());
        let offset = match decision {
            FileDecision::Wait => return Ok(false),
            FileDecision::Begin => {
                self.begin(track, now);
                return Ok(false);
            }
            FileDecision::Continue => before.offset,
            FileDecision::ContinueAt(offset) => offset,
        };
        let is_here = offset == before.offset && decision == FileDecision::Continue;
        let file = track.open()?;
        let line = match before.line {
            Some(line) if is_here => Some(line),
            _ => count_lines(file, offset)?,
        };
        let place = FilePlace::taken(file, offset, line)?;
        track.place = FilePlace { repeats: before.repeats, ..place };
        resume(track, now);
        Ok(true)
    }

    /// Reads a file from its beginning. What it held before may be in a copy, which then goes on
    /// where this one was left.
    fn begin(&mut self, track: &mut FileTrack, now: Duration) {
        self.troubles.clear_content(&track.path);
        let is_known_copy = self.is_orphan(track) && 0 < track.place.offset;
        if let TrackPhase::After { of, .. } = track.phase {
            self.find_copies_of_gone(of, now);
        }
        if track.phase == TrackPhase::Changed {
            let old = track.number;
            self.forget_row(old);
            // Once more: it may have been copied since it changed.
            self.find_copies(old, &track.place, &track.path, now);
            track.number = self.next_number();
            let heir = self.hand_over(track, old, now);
            self.renumber(old, track.number, heir);
        }
        // What was compared while the original was there stays read.
        if !is_known_copy {
            track.place = FilePlace::start();
        }
        resume(track, now);
    }

    /// Looks for copies of a file that was copied, truncated and then replaced, all before a look.
    fn find_copies_of_gone(&mut self, of: u64, now: Duration) {
        let Some(other) = self.tracks.get(&of).filter(|_| self.is_gone(of)) else { return };
        if ProofStrength::Strong <= other.place.proof() {
            let (place, path) = (other.place.clone(), other.path.clone());
            self.find_copies(of, &place, &path, now);
        }
    }

    /// Whether it is a copy of something that is not there any more.
    fn is_orphan(&self, track: &FileTrack) -> bool {
        let TrackPhase::CopyOf { of } = track.phase else { return false };
        self.tracks.get(&of).is_none_or(|other| other.presence == TrackPresence::Gone)
    }

    /// Gives the place of a file that was begun again to a copy of what it held. Of several copies
    /// one is read; the others stay copies, of that one.
    fn hand_over(&mut self, track: &FileTrack, old: u64, now: Duration) -> Option<u64> {
        let mut heir = None;
        let of_old = TrackPhase::CopyOf { of: old };
        for copy in self.tracks.values_mut().filter(|track| track.phase == of_old) {
            let decision = as_copy_of_lost(copy, &track.place);
            match decision {
                FileDecision::Continue if heir.is_some() => continue,
                FileDecision::Continue => {
                    heir = Some(copy.number);
                    copy.place = track.place.clone();
                }
                FileDecision::ContinueAt(offset) => {
                    if let Ok(place) = place_at(copy, offset) {
                        copy.place = place;
                    }
                }
                // What was compared while the original was there stays read.
                _ if 0 < copy.place.offset => {}
                // It may be a copy of what the original holds now.
                _ => {
                    copy.phase = TrackPhase::CopyOf { of: track.number };
                    (copy.compared, copy.is_dirty) = (None, true);
                    continue;
                }
            }
            resume(copy, now);
        }
        heir
    }

    /// Whoever waited for what was known as `old` waits for what it is known as now: copies for the
    /// one that has its content, the others for the file itself.
    fn renumber(&mut self, old: u64, new: u64, heir: Option<u64>) {
        for track in self.tracks.values_mut() {
            match &mut track.phase {
                TrackPhase::After { of, .. } if *of == old => *of = new,
                TrackPhase::CopyOf { of } if *of == old => *of = heir.unwrap_or(new),
                _ => continue,
            }
            track.is_dirty = true;
        }
    }

    /// The content of a file is in another one now. What somebody may still write into the old one
    /// is read, but not the part of a line at its end: that is completed in the new one.
    fn retire(&mut self, of: u64, number: u64) -> io::Result<()> {
        self.renumber(of, number, Some(number));
        let Some(other) = self.tracks.get_mut(&of) else { return Ok(()) };
        if other.presence == TrackPresence::Gone {
            self.forget(of);
        } else if other.has_rest() {
            other.place = place_at(other, other.size())?;
            other.is_dirty = true;
        }
        Ok(())
    }
}

/// Reads it from now on.
fn resume(track: &mut FileTrack, now: Duration) {
    (track.phase, track.read, track.compared) = (TrackPhase::Reading, None, None);
    (track.changed, track.is_due, track.is_dirty) = (now, true, true);
}

fn place_at(track: &mut FileTrack, offset: u64) -> io::Result<FilePlace> {
    let file = track.open()?;
    FilePlace::taken(file, offset, count_lines(file, offset)?)
}

/// Of a file that has to do with no other.
fn unrelated() -> FileObservation {
    FileObservation {
        relation: FileRelation::Rotated,
        content: ContentMatch::Other,
        fate: FileFate::Gone,
        proof: ProofStrength::Weak,
        found: None,
        cut: None,
        is_settled: true,
        is_read: true,
        is_sudden: false,
        is_longer: false,
    }
}

fn observe_changed(track: &mut FileTrack, now: Duration) -> io::Result<FileObservation> {
    let (place, size) = (track.place.clone(), track.size());
    let content = place.compare(track.open()?, size)?;
    let (relation, fate) = (FileRelation::Same, FileFate::Intact);
    with_search(track, &place, FileObservation { relation, content, fate, ..unrelated() }, now)
}

/// Adds what is only looked for when it may be needed.
fn with_search(
    track: &mut FileTrack,
    place: &FilePlace,
    seen: FileObservation,
    now: Duration,
) -> io::Result<FileObservation> {
    let (is_settled, size) = (track.is_settled(now), track.size());
    let is_edited = matches!(seen.content, ContentMatch::Shorter | ContentMatch::Other);
    let (mut found, mut cut) = (None, None);
    if is_settled && is_edited {
        let file = track.open()?;
        (found, cut) = (place.search(file, size)?, last_line_end(file, size)?);
    }
    Ok(FileObservation { proof: place.proof(), found, cut, is_settled, ..seen })
}

fn observe_copy(
    track: &mut FileTrack,
    other: &mut FileTrack,
    now: Duration,
) -> io::Result<Option<FileObservation>> {
    // Whether it still holds what was read shows when it is read.
    if !other.is_read() {
        return Ok(None);
    }
    let is_settled = track.is_settled(now);
    let compared = track.seen.map(|stamp| (stamp, other.place.offset, is_settled));
    if compared == track.compared {
        return Ok(None);
    }
    let (fate, size) = (fate_of_original(other), track.size());
    let Some(content) = compare_with(track, other)? else { return Ok(None) };
    track.compared = compared;
    let is_copy = matches!(content, ContentMatch::Shorter | ContentMatch::Equal);
    let alike = size.min(other.place.offset);
    if fate == FileFate::Intact && is_copy && track.place.offset != alike {
        track.place = place_at(track, alike)?;
        track.is_dirty = true;
    }
    let cut = last_line_end(track.open()?, size)?;
    let (proof, is_longer) = (other.place.proof(), other.size() < size);
    let seen = FileObservation { content, fate, proof, cut, is_settled, ..unrelated() };
    Ok(Some(FileObservation { is_longer, ..seen }))
}

/// What to do with a copy of a file that was begun again.
fn as_copy_of_lost(copy: &mut FileTrack, place: &FilePlace) -> FileDecision {
    let (size, fate, proof) = (copy.size(), FileFate::Rewritten, place.proof());
    let compared =
        copy.open().and_then(|file| Ok((place.compare(file, size)?, last_line_end(file, size)?)));
    match compared {
        Ok((content, cut)) => decide(&FileObservation { content, fate, proof, cut, ..unrelated() }),
        // It cannot be read at the moment. Reading compares it again.
        Err(_) => FileDecision::Continue,
    }
}

/// Compares a file with what was read of another one; `None` when the other one is there and does
/// not hold it any more.
pub(super) fn compare_with(
    track: &mut FileTrack,
    other: &mut FileTrack,
) -> io::Result<Option<ContentMatch>> {
    let size = track.size();
    match fate_of_original(other) {
        FileFate::Gone => other.place.compare(track.open()?, size).map(Some),
        _ => compare_files(track, other),
    }
}

/// Compares a file with another one that is still there, as far as that was read; `None` when the
/// other one does not hold it any more.
fn compare_files(track: &mut FileTrack, other: &mut FileTrack) -> io::Result<Option<ContentMatch>> {
    let (size, place) = (track.size(), other.place.clone());
    let other_size = other.size();
    let is_alike = match size < place.offset {
        false => return place.compare(track.open()?, size).map(Some),
        true => is_alike(track.open()?, other.open()?, size)?,
    };
    let is_whole = place.compare(other.open()?, other_size)? == ContentMatch::Equal;
    let content = if is_alike { ContentMatch::Shorter } else { ContentMatch::Other };
    Ok(is_whole.then_some(content))
}

/// What has become of a file whose name another one has now.
fn fate_after(track: &FileTrack, name: &str) -> FileFate {
    let at = match track.presence {
        TrackPresence::Gone | TrackPresence::Away { is_deleted: true } => return FileFate::Gone,
        TrackPresence::Listed => Some(track.at.clone()),
        TrackPresence::Away { is_deleted: false } => name_now(track),
    };
    match at.is_some_and(|at| is_backup(name_of(&at), name)) {
        true => FileFate::Backup,
        false => FileFate::Renamed,
    }
}

/// What has become of a file that there may be a copy of.
fn fate_of_original(track: &FileTrack) -> FileFate {
    match track.presence {
        TrackPresence::Gone => FileFate::Gone,
        TrackPresence::Listed | TrackPresence::Away { .. } => FileFate::Intact,
    }
}
