//! One file that is followed, whatever happens to its name.

use super::identity::{FileId, FileStamp, is_deleted, open_regular};
use super::names::is_backup;
use super::place::{FilePlace, count_lines};
use super::read::{FileEnd, LineReader, ReadOutcome, ReadSettings, ScanState};
use super::state::{self, FileRecord, RecordedWait};
use super::walk::FileSighting;
use kernel::health::printable;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The longest name of a file that is shown.
const SHOWN_MAX: usize = 1024;
/// A file that changes is judged at last after this. Nothing of it is read before, so when it is
/// copied and truncated again in this time, what it held is lost.
const SETTLE_MAX: Duration = Duration::from_millis(400);
/// An empty one after this: an editor may have just emptied it to write it again.
const SETTLE_EMPTY: Duration = Duration::from_secs(2);
/// For this long after a change its content is compared at every look, since times of files may be
/// as coarse as this.
const RECHECK: Duration = Duration::from_secs(3);

/// A file, its place, and what is known about it.
pub(super) struct FileTrack {
    /// Smaller numbers hold older lines and are read first.
    pub(super) number: u64,
    /// The name under which the pattern led to it last, but for the name of an editor's backup.
    pub(super) path: PathBuf,
    /// The name that it has now, as far as known.
    pub(super) at: PathBuf,
    /// The name that it had before, and when it got another one.
    pub(super) renamed: Option<(PathBuf, Duration)>,
    /// When it lost the name under which it was found first: rotation renamed or deleted it.
    pub(super) lost_name: Option<Duration>,
    /// `path` as it is named to people.
    pub(super) shown: Arc<str>,
    pub(super) id: FileId,
    pub(super) place: FilePlace,
    pub(super) phase: TrackPhase,
    pub(super) presence: TrackPresence,
    pub(super) file: Option<File>,
    /// As it was at the last look.
    pub(super) seen: Option<FileStamp>,
    /// As it was when it was read to its end.
    pub(super) read: Option<FileStamp>,
    /// When `seen` changed last, or the file left its name.
    pub(super) changed: Duration,
    pub(super) settle: SettleState,
    pub(super) scan: ScanState,
    /// When zeros were found at the place.
    pub(super) hole_since: Option<Duration>,
    /// The hash of all of it, where a whole file is one message.
    pub(super) whole: Option<u64>,
    /// It is to be read.
    pub(super) is_due: bool,
    /// Its end ends its last line.
    pub(super) is_final: bool,
    /// Whole lines at its end wait for others that may belong to them.
    pub(super) has_open_group: bool,
    /// Its row is not as it should be.
    pub(super) is_dirty: bool,
    /// How it was when it was compared last, how far the other one was read, and whether it had
    /// stopped changing.
    pub(super) compared: Option<(FileStamp, u64, bool)>,
    /// Bytes read in this round.
    pub(super) spent: usize,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackPhase {
    /// It is read on from its place.
    Reading,
    /// It does not hold what was read any more.
    Changed,
    /// It has the path that another one had. `is_sudden`: there was hardly a moment between.
    After { of: u64, is_sudden: bool },
    /// It may be a copy of another one.
    CopyOf { of: u64 },
    /// It is compressed.
    Skipped,
}

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackPresence {
    /// The pattern leads to it.
    Listed,
    /// It is held open, but the pattern does not lead to it any more.
    Away { is_deleted: bool },
    /// It is only remembered.
    Gone,
}

/// Whether a file keeps changing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SettleState {
    since: Duration,
    looks: u32,
    is_still: bool,
}

impl FileTrack {
    pub(super) fn new(number: u64, sighting: FileSighting, now: Duration) -> Self {
        let mut track = Self::at_place(number, sighting.path.clone(), sighting.id, now);
        track.sight(sighting, now);
        track.settle = SettleState { since: now, ..SettleState::default() };
        track.is_dirty = true;
        track
    }

    /// What was remembered; where the file is now is not known yet.
    pub(super) fn remembered(number: u64, record: FileRecord) -> Self {
        let path = record.path.unwrap_or_default();
        let mut track = Self::at_place(number, path, record.id, Duration::ZERO);
        track.place = record.place;
        track.whole = record.whole;
        track.phase = match record.waits {
            None => TrackPhase::Reading,
            Some(RecordedWait::After(of)) => TrackPhase::After { of, is_sudden: true },
            Some(RecordedWait::Copy(of)) => TrackPhase::CopyOf { of },
        };
        track
    }

    fn at_place(number: u64, path: PathBuf, id: FileId, now: Duration) -> Self {
        FileTrack {
            number,
            shown: shown(&path),
            at: path.clone(),
            path,
            renamed: None,
            lost_name: None,
            id,
            place: FilePlace::start(),
            phase: TrackPhase::Reading,
            presence: TrackPresence::Gone,
            file: None,
            seen: None,
            read: None,
            changed: now,
            settle: SettleState::default(),
            scan: ScanState::default(),
            hole_since: None,
            whole: None,
            is_due: false,
            is_final: false,
            has_open_group: false,
            is_dirty: false,
            compared: None,
            spent: 0,
        }
    }

    /// The pattern leads to it.
    pub(super) fn sight(&mut self, sighting: FileSighting, now: Duration) {
        if self.at != sighting.path {
            self.renamed = Some((self.path.clone(), now));
            self.lost_name.get_or_insert(now);
        }
        // An editor's backup keeps the name of what it was: a new file takes that in a moment.
        let is_named =
            self.path != sighting.path && !is_backup(name_of(&sighting.path), self.name());
        if is_named {
            self.shown = shown(&sighting.path);
            self.path.clone_from(&sighting.path);
            self.is_dirty = true;
        }
        self.at = sighting.path;
        self.is_dirty |= self.id != sighting.id;
        self.id = sighting.id;
        self.presence = TrackPresence::Listed;
        self.stamp(sighting.stamp, now);
    }

    /// When it left a path; `None` if it was there at the last look.
    pub(super) fn left(&self, path: &Path) -> Option<Duration> {
        match &self.renamed {
            Some((before, at)) if before == path => Some(*at),
            _ if self.presence == TrackPresence::Listed => None,
            _ => Some(self.changed),
        }
    }

    /// Looks at it through its descriptor.
    pub(super) fn sight_away(&mut self, now: Duration) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let metadata = file.metadata()?;
        self.presence = TrackPresence::Away { is_deleted: is_deleted(&metadata) };
        self.stamp(FileStamp::of(&metadata), now);
        Ok(())
    }

    fn stamp(&mut self, stamp: FileStamp, now: Duration) {
        self.settle.looks += 1;
        self.settle.is_still = self.seen == Some(stamp);
        if !self.settle.is_still {
            (self.seen, self.changed) = (Some(stamp), now);
            if self.phase == TrackPhase::Skipped {
                self.phase = TrackPhase::Reading;
            }
        }
    }

    /// Whether there may be something new in it.
    pub(super) fn may_have_more(&self, now: Duration) -> bool {
        self.phase == TrackPhase::Reading
            && (self.read != self.seen || now < self.changed + RECHECK)
    }

    /// Whether nothing was written for so long that its last group of lines is taken as whole. Where
    /// another file waits for it, what is still written to it counts no more than its lost name.
    pub(super) fn is_quiet(
        &self,
        settings: &ReadSettings,
        is_awaited: bool,
        now: Duration,
    ) -> bool {
        let lost_name = self.lost_name.filter(|_| is_awaited);
        let since = lost_name.map_or(self.changed, |lost_name| lost_name.min(self.changed));
        settings.grouping.as_ref().is_some_and(|grouping| since + grouping.flush <= now)
    }

    /// It does not hold what was read any more.
    pub(super) fn has_changed(&mut self, now: Duration) {
        self.phase = TrackPhase::Changed;
        self.settle = SettleState { since: now, ..SettleState::default() };
        (self.is_due, self.has_open_group) = (false, false);
        (self.scan, self.hole_since) = (ScanState::default(), None);
    }

    /// Whether it has stopped changing, or has been changing for long enough.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let SettleState { since, looks, is_still } = self.settle;
        match self.size() {
            0 => 0 < looks && since + SETTLE_EMPTY <= now,
            _ => 0 < looks && (is_still || since + SETTLE_MAX <= now),
        }
    }

    /// Whether it was as it is already a look ago.
    pub(super) fn is_still(&self) -> bool {
        self.settle.is_still
    }

    pub(super) fn size(&self) -> u64 {
        self.seen.map_or(0, |stamp| stamp.size)
    }

    /// Everything complete in it was read, or is read as part of another file.
    pub(super) fn is_read(&self) -> bool {
        match self.phase {
            _ if self.presence == TrackPresence::Gone => true,
            TrackPhase::Skipped => true,
            TrackPhase::Reading => !self.is_due && !self.has_open_group && self.read == self.seen,
            TrackPhase::CopyOf { .. } => {
                self.compared.is_some_and(|compared| Some(compared.0) == self.seen)
            }
            TrackPhase::Changed | TrackPhase::After { .. } => false,
        }
    }

    /// The file that is read to its end before this one.
    pub(super) fn awaits(&self) -> Option<u64> {
        match self.phase {
            TrackPhase::After { of, .. } if self.presence != TrackPresence::Gone => Some(of),
            _ => None,
        }
    }

    /// Whether part of a line is at its end.
    pub(super) fn has_rest(&self) -> bool {
        self.phase == TrackPhase::Reading && self.place.offset < self.size()
    }

    /// Opens it under the name that it has now. Another file there counts as none.
    pub(super) fn open(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let (file, id) = open_regular(&self.at)?;
            if !id.is_same(&self.id) {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.file = Some(file);
        }
        Ok(self.file.as_ref().expect("it was just opened"))
    }

    /// Reads on. The file must be open.
    pub(super) fn read_on(
        &mut self,
        settings: &ReadSettings,
        end: FileEnd,
    ) -> io::Result<(ReadOutcome, FileStamp)> {
        let file = self.file.as_ref().expect("it is open");
        let stamp = FileStamp::of(&file.metadata()?);
        if self.place.head_bytes.is_empty() && 0 < self.place.offset {
            if self.place.compare(file, stamp.size)? != super::place::ContentMatch::Equal {
                return Ok((ReadOutcome::Replaced, stamp));
            }
            self.place = marked_anew(file, &self.place)?;
        }
        let reader = LineReader {
            file,
            place: &self.place,
            scan: &mut self.scan,
            settings,
            shown: &self.shown,
            end,
        };
        Ok((reader.read()?, stamp))
    }

    /// The row to remember when everything before `place` was handed on.
    pub(super) fn row(&self, place: &FilePlace) -> (String, String) {
        let waits = match self.phase {
            TrackPhase::After { of, .. } => Some(RecordedWait::After(of)),
            TrackPhase::CopyOf { of } => Some(RecordedWait::Copy(of)),
            TrackPhase::Reading | TrackPhase::Changed | TrackPhase::Skipped => None,
        };
        let text = state::written(&self.path, &self.id, place, waits, self.whole);
        (state::key_of(self.number), text)
    }

    /// The name in its folder.
    pub(super) fn name(&self) -> &str {
        name_of(&self.path)
    }
}

/// The same place with all its marks, also where it comes from a row that had fewer.
fn marked_anew(file: &File, place: &FilePlace) -> io::Result<FilePlace> {
    let line = match place.line {
        Some(line) => Some(line),
        None => count_lines(file, place.offset)?,
    };
    let repeats = place.repeats;
    Ok(FilePlace { repeats, ..FilePlace::taken(file, place.offset, line)? })
}

fn shown(path: &Path) -> Arc<str> {
    printable(&path.display().to_string(), SHOWN_MAX).into()
}

/// The last part of a path.
pub(super) fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("")
}
