//! All files of a source: which ones there are, which one is which, and what is remembered of them.
//!
//! A look walks the pattern and tells apart what it finds: a file that is known, under the same
//! name or another; one that took a known one's path; one that may be a copy; or a new one. What
//! cannot be told yet waits until it can, see [`judge`](super::judge). Reading is in
//! [`work`](super::work).
//!
//! *Invariant:* a file is known by its number; its name, device and inode may change under it.
//! *Invariant:* a look changes no place, so it may run while what was read is being stored.

use super::identity::{FileId, bytes_at, is_out_of_descriptors, open_regular};
use super::judge::compare_with;
use super::names::{is_backup, is_compressed, names_before};
use super::place::{ContentMatch, FilePlace};
use super::read::ReadSettings;
use super::state::{self, FileRecord, key_of};
use super::track::{FileTrack, TrackPhase, TrackPresence, name_of};
use super::trouble::FileTroubles;
use super::walk::{FILES_MAX, FileSighting, PathPattern};
use super::work::{AWAY_MAX, FileBatch};
use kernel::health::PartHealth;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that are gone and still remembered, in case they come back.
const GONE_MAX: usize = 4096;
/// Rows remembered in one transaction without messages.
const ROWS_MAX: usize = 512;
/// A file that appears this soon after another one left its path may be an editor's save.
const SUDDEN: Duration = Duration::from_secs(2);
/// Copies looked for around a file that was begun again.
const COPIES_MAX: usize = 16;

/// The files of one source.
pub(super) struct FileRoster {
    pub(super) pattern: PathPattern,
    pub(super) settings: ReadSettings,
    /// Files are followed; else each is read to its end once.
    pub(super) is_follow: bool,
    pub(super) tracks: BTreeMap<u64, FileTrack>,
    pub(super) troubles: FileTroubles,
    /// What was read and is not handed on yet; of one file only.
    pub(super) queue: VecDeque<FileBatch>,
    next_number: u64,
    /// Rows of the first version whose file was not met yet.
    old_rows: Vec<FileRecord>,
    /// Keys of rows that are to be forgotten.
    forgotten: Vec<String>,
    has_looked: bool,
    is_missing: bool,
    /// Something waits to be judged.
    pub(super) is_judging: bool,
    /// Where the next turn begins.
    pub(super) turn: u64,
    /// At least so many files are open; counted when it becomes too many.
    pub(super) open_guess: usize,
}

/// What was known when a look began.
struct FoundFiles {
    index: TrackIndex,
    /// Which file had which path, the newest of several.
    paths: HashMap<PathBuf, u64>,
    /// Files that were met in this look.
    new: HashMap<PathBuf, u64>,
}

impl FoundFiles {
    /// The file of this name in the same folder, of which the one at `path` may be a copy. Of two
    /// files that are both new only an editor's backup is taken for one: rotated files are new
    /// beside each other when a source begins.
    fn original(&self, path: &Path, name: &str) -> Option<u64> {
        let original = path.with_file_name(name);
        let new = self.new.get(&original).filter(|_| is_backup(name_of(path), name));
        new.or_else(|| self.paths.get(&original)).copied()
    }
}

/// Numbers of tracks by inode.
struct TrackIndex(Vec<(u64, u64)>);

impl FileRoster {
    /// Takes up what is remembered.
    pub(super) fn new(
        pattern: PathPattern,
        settings: ReadSettings,
        is_follow: bool,
        health: PartHealth,
        rows: &[(String, String)],
    ) -> Self {
        let mut roster = FileRoster {
            pattern,
            settings,
            is_follow,
            tracks: BTreeMap::new(),
            troubles: FileTroubles::new(health),
            queue: VecDeque::new(),
            next_number: 1,
            old_rows: Vec::new(),
            forgotten: Vec::new(),
            has_looked: false,
            is_missing: false,
            is_judging: false,
            turn: 0,
            open_guess: 0,
        };
        for record in rows.iter().filter_map(|(key, value)| state::read(key, value)) {
            match record.number {
                Some(number) => {
                    roster.next_number = roster.next_number.max(number + 1);
                    roster.tracks.insert(number, FileTrack::remembered(number, record));
                }
                None => roster.old_rows.push(record),
            }
        }
        roster
    }

    /// Looks at all files.
    pub(super) fn look(&mut self, now: Duration) {
        let result = self.pattern.walk();
        self.troubles.note_too_many(result.is_cut.then_some(FILES_MAX));
        self.note_missing(result.files.is_empty() && result.faults.is_empty());
        self.troubles.note_walk(result.faults);
        self.troubles.note_strange(result.strange);
        let index = TrackIndex::of(&self.tracks);
        let (known, unknown) = self.told_apart(result.files, &index);
        let paths = if unknown.is_empty() { HashMap::new() } else { self.paths() };
        let mut seen: HashSet<u64> = HashSet::with_capacity(known.len());
        for (number, sighting) in known {
            seen.insert(number);
            if let Some(track) = self.tracks.get_mut(&number) {
                track.sight(sighting, now);
            }
        }
        // First what has gone, so that what took its place is compared with what it held at last.
        self.leave(&seen, now);
        let mut found = FoundFiles { index, paths, new: HashMap::new() };
        for sighting in unknown {
            seen.extend(self.meet(sighting, &mut found, &seen, now));
        }
        self.mark(now);
        self.close_surplus();
        self.forget_oldest();
        self.has_looked = true;
    }

    /// Which of the files are known; each of them once.
    fn told_apart(
        &mut self,
        files: Vec<FileSighting>,
        index: &TrackIndex,
    ) -> (Vec<(u64, FileSighting)>, Vec<FileSighting>) {
        let (mut known, mut unknown) = (Vec::with_capacity(files.len()), Vec::new());
        for sighting in files {
            match self.known(&sighting, index) {
                Some(number) => known.push((number, sighting)),
                None => unknown.push(sighting),
            }
        }
        (known, unknown)
    }

    fn known(&mut self, sighting: &FileSighting, index: &TrackIndex) -> Option<u64> {
        let is_by_line = self.settings.codec.is_by_line();
        index.with_inode(sighting.id.inode).find(|number| {
            let Some(track) = self.tracks.get_mut(number) else { return false };
            if !track.id.is_same(&sighting.id) {
                return false;
            }
            // While it is held open nobody else can have its inode, and nobody else was born there
            // at the same time.
            let is_born = track.id == sighting.id && track.id.born.is_some();
            let is_held = is_born || track.file.is_some();
            let is_certain = is_held || track.at == sighting.path || !is_by_line;
            is_certain || is_recognised(track, sighting)
        })
    }

    /// Which file has which path; where none has it, the last one that had.
    fn paths(&self) -> HashMap<PathBuf, u64> {
        let mut paths: HashMap<PathBuf, (Duration, u64)> =
            HashMap::with_capacity(self.tracks.len());
        for track in self.tracks.values() {
            let before = track.renamed.iter().map(|(path, until)| (path, *until));
            let until = track.left(&track.path).unwrap_or(Duration::MAX);
            for (path, until) in before.chain([(&track.path, until)]) {
                let known = paths.entry(path.clone()).or_default();
                *known = (*known).max((until, track.number));
            }
        }
        paths.into_iter().map(|(path, (_, number))| (path, number)).collect()
    }

    /// Takes in a file that is not known by device and inode. Gives its number.
    fn meet(
        &mut self,
        sighting: FileSighting,
        found: &mut FoundFiles,
        seen: &HashSet<u64>,
        now: Duration,
    ) -> Option<u64> {
        if is_compressed(name_of(&sighting.path)) {
            self.troubles.note_compressed(&sighting.path);
            return None;
        }
        let before = found.paths.get(&sighting.path).copied();
        if let Some(number) = self.as_known(&sighting, before, found, seen) {
            let track = self.tracks.get_mut(&number).expect("it is known");
            (track.id, track.file) = (sighting.id, None);
            (track.read, track.is_dirty) = (None, true);
            track.sight(sighting, now);
            return Some(number);
        }
        let number = self.next_number();
        let mut track = FileTrack::new(number, sighting, now);
        if !self.resume_old(&mut track) {
            track.phase = self.first_phase(&mut track, before, found, now);
        }
        found.new.insert(track.path.clone(), number);
        self.tracks.insert(number, track);
        // Held from now on, so that it is not lost when it is renamed before its turn comes.
        if self.settings.codec.is_by_line() && self.has_room() {
            self.try_open(number, now);
        }
        Some(number)
    }

    /// A known file with another device number; or, where a whole file is one message, the one
    /// that had the path before.
    fn as_known(
        &mut self,
        sighting: &FileSighting,
        before: Option<u64>,
        found: &FoundFiles,
        seen: &HashSet<u64>,
    ) -> Option<u64> {
        let is_free = |number: &u64| !seen.contains(number);
        if !self.settings.codec.is_by_line() && before.as_ref().is_some_and(is_free) {
            return before;
        }
        found.index.with_inode(sighting.id.inode).filter(is_free).find(|number| {
            let Some(track) = self.tracks.get_mut(number) else { return false };
            track.id.is_renumbered(&sighting.id) && is_recognised(track, sighting)
        })
    }

    /// Takes over what the first version remembered of a file.
    fn resume_old(&mut self, track: &mut FileTrack) -> bool {
        let is_it = |row: &FileRecord| row.id.is_same(&track.id) || row.id.is_renumbered(&track.id);
        let Some(at) = self.old_rows.iter().position(is_it) else { return false };
        let Ok((file, _)) = open_regular(&track.path) else { return false };
        let row = self.old_rows.swap_remove(at);
        self.forgotten.push(row.key);
        let is_equal = row.place.compare(&file, track.size());
        let is_equal = is_equal.is_ok_and(|found| found == ContentMatch::Equal);
        if is_equal && self.settings.codec.is_by_line() {
            track.place = row.place;
        } else if is_equal && track.size() == row.place.offset {
            track.whole = super::read::hash_of_whole(&file).ok();
        }
        is_equal
    }

    /// What is to be known before a new file is read.
    fn first_phase(
        &mut self,
        track: &mut FileTrack,
        before: Option<u64>,
        found: &FoundFiles,
        now: Duration,
    ) -> TrackPhase {
        if !self.settings.codec.is_by_line() {
            return TrackPhase::Reading;
        }
        let original = names_before(track.name())
            .into_iter()
            .find_map(|name| found.original(&track.path, &name))
            .or_else(|| self.original_elsewhere(track));
        let is_backup = names_before(track.name()).iter().any(|it| is_backup(track.name(), it));
        if let Some(of) = original
            && (is_backup || before.is_none() || self.may_be_copy(track, of))
        {
            return TrackPhase::CopyOf { of };
        }
        let Some(of) = before.map(|of| self.last_with_content(of)) else {
            return TrackPhase::Reading;
        };
        let left = self.tracks.get(&of).and_then(|other| other.left(&track.path));
        let is_sudden = !self.has_looked || left.is_none_or(|left| now < left + SUDDEN);
        TrackPhase::After { of, is_sudden }
    }

    /// An editor's file that was replaced again while it was empty stands for the one before it.
    fn last_with_content(&self, of: u64) -> u64 {
        match self.tracks.get(&of) {
            Some(track) if track.size() == 0 && track.presence != TrackPresence::Listed => {
                match track.phase {
                    TrackPhase::After { of: earlier, .. } => earlier,
                    _ => of,
                }
            }
            _ => of,
        }
    }

    /// Rotation may move what it copies into another folder.
    fn original_elsewhere(&self, track: &FileTrack) -> Option<u64> {
        let names = names_before(track.name());
        let is_it = |other: &&FileTrack| {
            names.iter().any(|name| name == other.name()) && 0 < other.place.offset
        };
        self.tracks.values().rev().find(is_it).map(|other| other.number)
    }

    /// Whether a file may be a copy of another one, as far as that was read.
    fn may_be_copy(&mut self, track: &mut FileTrack, of: u64) -> bool {
        let Some(other) = self.tracks.get_mut(&of) else { return false };
        // What it holds now is not known yet; or a copy was just made, and is empty.
        if other.phase == TrackPhase::Changed || track.size() == 0 {
            return true;
        }
        match compare_with(track, other) {
            Ok(Some(ContentMatch::Equal | ContentMatch::Shorter)) => true,
            // What was read of the other one may not be handed on yet.
            Ok(Some(ContentMatch::Nothing)) => true,
            // The other one does not hold it any more, which shows when that is read.
            Ok(None) => true,
            Ok(Some(ContentMatch::Other)) | Err(_) => false,
        }
    }

    /// What was there at the last look and is not any more, or was never looked for.
    fn leave(&mut self, seen: &HashSet<u64>, now: Duration) {
        let mut folders = FolderInodes::default();
        let unseen = |track: &&mut FileTrack| !seen.contains(&track.number);
        let is_by_line = self.settings.codec.is_by_line();
        let mut room = AWAY_MAX.saturating_sub(self.away_count());
        // The newest first: they are the likeliest to be written still.
        for track in self.tracks.values_mut().rev().filter(unseen) {
            if track.presence == TrackPresence::Listed {
                (track.changed, track.lost_name) = (now, Some(now));
            } else if track.presence == TrackPresence::Gone && self.has_looked {
                continue;
            }
            if track.file.is_none() && is_by_line && 0 < room {
                folders.follow(track);
                room -= usize::from(track.file.is_some());
            }
            let is_held = is_by_line && track.file.is_some();
            if !is_held || track.sight_away(now).is_err() {
                (track.presence, track.file, track.is_due) = (TrackPresence::Gone, None, false);
                self.troubles.clear_content(&track.path);
            }
        }
        // What cannot be looked at may be there.
        self.troubles.keep_files(|path| path.try_exists().unwrap_or(true));
    }

    /// Marks what is to be read.
    fn mark(&mut self, now: Duration) {
        (self.is_judging, self.turn) = (true, 0);
        let is_by_line = self.settings.codec.is_by_line();
        let awaited: HashSet<u64> = self.tracks.values().filter_map(FileTrack::awaits).collect();
        let mut changed = Vec::new();
        for track in self.tracks.values_mut() {
            let is_there = track.presence != TrackPresence::Gone;
            // Without following, each file is read to its end once.
            let is_over = !self.is_follow && track.read.is_some();
            if !is_there || is_over || !self.troubles.may_try(&track.at, now) {
                continue;
            }
            if !is_by_line {
                track.is_due = track.is_still() && track.read != track.seen;
            } else if track.phase == TrackPhase::Reading && track.size() < track.place.offset {
                changed.push(track.number);
            } else {
                let is_awaited = awaited.contains(&track.number);
                let is_quiet = track.is_quiet(&self.settings, is_awaited, now);
                track.is_due |= (track.has_open_group && is_quiet) || track.may_have_more(now);
            }
        }
        changed.into_iter().for_each(|number| self.has_changed(number, now));
    }

    /// A file does not hold what was read any more.
    pub(super) fn has_changed(&mut self, number: u64, now: Duration) {
        let Some(track) = self.tracks.get_mut(&number) else { return };
        track.has_changed(now);
        self.is_judging = true;
        let (place, path) = (track.place.clone(), track.path.clone());
        // Held at once: rotation may compress it.
        self.find_copies(number, &place, &path, now);
    }

    /// Looks beside a file for copies of what it held, whether or not the pattern leads to them.
    pub(super) fn find_copies(&mut self, of: u64, place: &FilePlace, path: &Path, now: Duration) {
        let known: HashSet<FileId> = self.tracks.values().map(|track| track.id).collect();
        for candidate in copies_beside(path) {
            if known.contains(&candidate.id) {
                continue;
            }
            let Ok((file, id)) = open_regular(&candidate.path) else { continue };
            let content = place.compare(&file, candidate.stamp.size);
            if id == candidate.id && matches!(content, Ok(ContentMatch::Equal)) {
                let mut copy = FileTrack::new(self.next_number(), candidate, now);
                copy.phase = TrackPhase::CopyOf { of };
                copy.presence = TrackPresence::Away { is_deleted: false };
                copy.file = Some(file);
                self.tracks.insert(copy.number, copy);
            }
        }
    }

    /// Opens a file, if it can be had.
    pub(super) fn try_open(&mut self, number: u64, now: Duration) -> bool {
        let Some(track) = self.tracks.get_mut(&number) else { return false };
        let Err(fault) = track.open().map(drop) else {
            self.open_guess += 1;
            return true;
        };
        let at = track.at.clone();
        self.troubles.note_file(&at, &fault, now);
        if is_out_of_descriptors(&fault) {
            self.close_half();
        }
        false
    }

    /// A number for what is newer than everything so far.
    pub(super) fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// What is known under this number is no more.
    pub(super) fn forget(&mut self, number: u64) {
        self.tracks.remove(&number);
        self.forgotten.push(key_of(number));
    }

    /// The row of a track is to be removed; the track goes on under another number.
    pub(super) fn forget_row(&mut self, number: u64) {
        self.forgotten.push(key_of(number));
    }

    fn forget_oldest(&mut self) {
        let is_gone = |track: &&FileTrack| track.presence == TrackPresence::Gone;
        let gone: Vec<u64> =
            self.tracks.values().filter(is_gone).map(|track| track.number).collect();
        let surplus = gone.len().saturating_sub(GONE_MAX);
        gone[..surplus].iter().for_each(|number| self.forget(*number));
    }

    /// Rows that are to be remembered although nothing was read; an empty value forgets.
    pub(super) fn rows(&mut self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> =
            self.forgotten.drain(..).map(|key| (key, String::new())).collect();
        for track in self.tracks.values_mut().filter(|track| track.is_dirty) {
            if ROWS_MAX <= rows.len() {
                break;
            }
            rows.push(track.row(&track.place));
            track.is_dirty = false;
        }
        rows
    }

    fn note_missing(&mut self, is_empty: bool) {
        let exact = self.pattern.exact();
        let missing = match &exact {
            Some(path) => Some(path.as_path()),
            None => Some(self.pattern.base()).filter(|base| is_empty && !base.exists()),
        };
        let is_known = |path: &Path| self.tracks.values().any(|track| track.path == path);
        let missing = missing.filter(|path| is_empty && !is_known(path));
        self.is_missing = missing.is_some() && exact.is_some();
        self.troubles.note_missing(missing);
    }

    /// The one file of the source, when it is not there and never was.
    pub(super) fn missing(&self) -> Option<PathBuf> {
        self.pattern.exact().filter(|_| self.is_missing)
    }
}

impl TrackIndex {
    fn of(tracks: &BTreeMap<u64, FileTrack>) -> Self {
        let mut inodes: Vec<(u64, u64)> =
            tracks.values().map(|track| (track.id.inode, track.number)).collect();
        inodes.sort_unstable();
        TrackIndex(inodes)
    }

    /// Tracks with this inode, the newest first.
    fn with_inode(&self, inode: u64) -> impl Iterator<Item = u64> {
        let from = self.0.partition_point(|it| it.0 < inode);
        let to = self.0.partition_point(|it| it.0 <= inode);
        self.0[from..to].iter().rev().map(|it| it.1)
    }
}

/// Whether a file with the same inode but another name holds what was read of the known one. Keeps
/// it open if so.
fn is_recognised(track: &mut FileTrack, sighting: &FileSighting) -> bool {
    let Ok((file, id)) = open_regular(&sighting.path) else {
        // It cannot be compared now, and is when it is read.
        return true;
    };
    let is_known = match track.place.compare(&file, sighting.stamp.size) {
        Ok(ContentMatch::Equal) => 0 < track.place.offset,
        // Nothing was read of it, so the time of its birth has to tell, or its name.
        Ok(ContentMatch::Nothing) => {
            track.id.born.is_some()
                || names_before(name_of(&sighting.path)).iter().any(|it| it == track.name())
        }
        Ok(ContentMatch::Shorter | ContentMatch::Other) | Err(_) => false,
    };
    if is_known && id.is_same(&sighting.id) {
        track.file = Some(file);
    }
    is_known
}

/// The inodes of folders, each read once a look.
#[derive(Default)]
struct FolderInodes(HashMap<PathBuf, HashMap<u64, PathBuf>>);

impl FolderInodes {
    /// Finds a file that has another name in its folder now, and holds it open.
    fn follow(&mut self, track: &mut FileTrack) {
        let Some(folder) = track.path.parent() else { return };
        let inodes = self
            .0
            .entry(folder.to_owned())
            .or_insert_with(|| inodes_of(folder).unwrap_or_default());
        let Some(path) = inodes.get(&track.id.inode) else { return };
        let Ok(metadata) = std::fs::metadata(path) else { return };
        let sighting = FileSighting::of(path.clone(), &metadata);
        let is_it = metadata.is_file() && track.id.is_same(&sighting.id);
        if is_it && is_recognised(track, &sighting) {
            track.at = sighting.path;
        }
    }
}

#[cfg(unix)]
fn inodes_of(folder: &Path) -> io::Result<HashMap<u64, PathBuf>> {
    use std::os::unix::fs::DirEntryExt as _;
    let entries = std::fs::read_dir(folder)?.flatten();
    Ok(entries.map(|entry| (entry.ino(), entry.path())).collect())
}

#[cfg(not(unix))]
fn inodes_of(_: &Path) -> io::Result<HashMap<u64, PathBuf>> {
    Ok(HashMap::new())
}

/// Files in the same folder with a name that rotation makes of this one's, the newest first.
fn copies_beside(path: &Path) -> Vec<FileSighting> {
    let Some(Ok(entries)) = path.parent().map(std::fs::read_dir) else { return Vec::new() };
    let is_copy = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let names = name.to_str().map(names_before).unwrap_or_default();
        names.iter().any(|name| name == name_of(path))
    };
    let mut copies: Vec<FileSighting> = entries
        .flatten()
        .filter(is_copy)
        .filter_map(|entry| {
            let metadata =
                std::fs::metadata(entry.path()).ok().filter(|metadata| metadata.is_file())?;
            Some(FileSighting::of(entry.path(), &metadata))
        })
        .collect();
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.stamp.modified));
    copies.truncate(COPIES_MAX);
    copies
}

/// Where a file is that is open, going by its folder; for what cannot be told by a descriptor.
pub(super) fn name_now(track: &FileTrack) -> Option<PathBuf> {
    let inodes = inodes_of(track.path.parent()?).ok()?;
    inodes.get(&track.id.inode).cloned()
}

/// Whether both are the same up to `length`, going by the beginning, the middle and the end.
pub(super) fn is_alike(a: &File, b: &File, length: u64) -> io::Result<bool> {
    const BLOCK: u64 = 4096;
    for from in [0, length / 2, length.saturating_sub(BLOCK)] {
        let count = BLOCK.min(length - from) as usize;
        let (in_a, in_b) = (bytes_at(a, from, count)?, bytes_at(b, from, count)?);
        if in_a.len() != count || in_a != in_b {
            return Ok(false);
        }
    }
    Ok(true)
}
