//! A store that is larger than it may be: what goes first, and pages given back to the disk.
//!
//! `max-size` is what lies on the disk. A part of it is for the log; the rest is for the database,
//! whose free pages are used again before it grows.

use super::StoreFault;
use super::policy::{Evict, Vacuum};
use super::sweep::{ScannedRow, Slice, SliceResult, scan};
use super::wal::LogLimits;
use super::writer::Writer;
use kernel::event::Priority;

/// For the index of the log.
const SHARED_MEMORY: u64 = 64 << 10;
/// Free pages that stay for what comes next, at least and at most.
const SPARE: (u64, u64) = (16, 4096);
/// Pages given back between two looks at the clock.
const PAGES_BETWEEN: u64 = 16;

/// How far it has come with what goes because the store is too large.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    /// Up to where nothing of a level is left that could go, by level.
    after: [u64; 4],
    /// Nothing could go when it was last tried.
    pub(super) is_exhausted: bool,
}

/// How large the database is.
#[derive(Debug, Clone, Copy)]
struct DatabaseSize {
    pages: u64,
    free: u64,
    page_bytes: u64,
}

/// The part of `max-size` that is the database's, in bytes.
pub(super) fn database_part(size_max: u64) -> u64 {
    size_max.saturating_sub(LogLimits::of(Some(size_max)).reset_at + SHARED_MEMORY)
}

impl Writer {
    fn database_size(&self) -> Result<DatabaseSize, StoreFault> {
        let one = |sql: &str| -> Result<u64, StoreFault> {
            let mut pragma = self.connection.prepare_cached(sql)?;
            Ok(pragma.query_row([], |row| row.get::<_, i64>(0))? as u64)
        };
        Ok(DatabaseSize {
            pages: one("PRAGMA page_count")?,
            free: one("PRAGMA freelist_count")?,
            page_bytes: one("PRAGMA page_size")?,
        })
    }

    /// Bytes of the database in use, without its free pages.
    pub(super) fn used_bytes(&self) -> Result<u64, StoreFault> {
        let size = self.database_size()?;
        Ok((size.pages - size.free) * size.page_bytes)
    }

    fn gives_back(&self) -> bool {
        self.policy.vacuum == Vacuum::Incremental
    }

    /// Whether the database is larger than it may be, or so full that it will be.
    pub(super) fn is_over_size(&self) -> Result<bool, StoreFault> {
        let Some(size_max) = self.policy.size_max else { return Ok(false) };
        let size = self.database_size()?;
        let most = database_part(size_max) / size.page_bytes;
        let gives_back = self.gives_back() && most < size.pages && 0 < size.free;
        Ok(gives_back || most < (size.pages - size.free) + spare_of(most))
    }

    /// One slice of making it smaller.
    pub(super) fn shrink(&mut self, slice: &Slice) -> Result<SliceResult, StoreFault> {
        let Some(size_max) = self.policy.size_max else {
            return Ok(SliceResult { deleted: 0, is_done: true });
        };
        let size = self.database_size()?;
        let most = database_part(size_max) / size.page_bytes;
        if self.gives_back() && most < size.pages && 0 < size.free {
            self.give_back((size.pages - most).min(size.free), slice)?;
            return Ok(SliceResult { deleted: 0, is_done: false });
        }
        let over = (size.pages - size.free + spare_of(most)).saturating_sub(most);
        if over == 0 {
            return Ok(SliceResult { deleted: 0, is_done: true });
        }
        self.evict(over * size.page_bytes, slice)
    }

    /// Takes about so many bytes of what goes first.
    fn evict(&mut self, bytes: u64, slice: &Slice) -> Result<SliceResult, StoreFault> {
        let (level, is_ruled) = match self.policy.evict {
            Evict::Oldest => (Some(0), false),
            Evict::OldestLowestPriority => (self.lowest_level()?, true),
        };
        let Some(level) = level else { return Ok(self.exhausted()) };
        let after = self.sweep.eviction.after[level];
        let scanned = scan(&self.connection, after, slice)?;
        let is_next = |row: &&ScannedRow| !is_ruled || row.priority as usize == level;
        let mut taken = 0;
        let enough = |row: &&ScannedRow| {
            let is_enough = bytes <= taken;
            taken += row.bytes;
            !is_enough
        };
        let fitting = scanned.iter().filter(is_next);
        let count = fitting.clone().count();
        let doomed: Vec<&ScannedRow> = fitting.take_while(enough).collect();
        let Some(end) = scanned.last().map(|it| it.pos) else {
            // Whatever is left of this level must stay.
            self.sweep.eviction.after[level] = u64::MAX >> 1;
            return Ok(match is_ruled {
                true => SliceResult { deleted: 0, is_done: false },
                false => self.exhausted(),
            });
        };
        let (gone, last) = self.evict_rows(&doomed, slice)?;
        let is_whole = doomed.len() == count && last == doomed.last().map(|it| it.pos);
        self.sweep.eviction.after[level] = if is_whole { end } else { last.unwrap_or(after) };
        Ok(SliceResult { deleted: gone, is_done: false })
    }

    fn exhausted(&mut self) -> SliceResult {
        self.sweep.eviction = Eviction { is_exhausted: true, ..Eviction::default() };
        SliceResult { deleted: 0, is_done: true }
    }

    /// The lowest priority of which something may be left.
    fn lowest_level(&self) -> Result<Option<usize>, StoreFault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM event_rows INDEXED BY event_rows_priority
                    WHERE priority = ?)";
        let mut exists = self.connection.prepare_cached(sql)?;
        for level in 0..Priority::ALL.len() {
            let is_passed = self.sweep.eviction.after[level] == u64::MAX >> 1;
            if !is_passed && exists.query_row([level as i64], |row| row.get::<_, bool>(0))? {
                return Ok(Some(level));
            }
        }
        Ok(None)
    }

    /// Gives free pages back to the disk, but for some that are used again soon.
    pub(super) fn give_back_spare(&mut self, slice: &Slice) -> Result<SliceResult, StoreFault> {
        let size = self.database_size()?;
        let spare = spare_of(size.pages - size.free);
        let more = size.free.saturating_sub(spare);
        if !self.gives_back() || more == 0 {
            return Ok(SliceResult { deleted: 0, is_done: true });
        }
        self.give_back(more, slice)?;
        Ok(SliceResult { deleted: 0, is_done: false })
    }

    /// Stepped to its end: one step frees one page.
    fn give_back(&mut self, pages: u64, slice: &Slice) -> Result<(), StoreFault> {
        let mut left = pages;
        while 0 < left {
            let now = left.min(PAGES_BETWEEN);
            let mut vacuum =
                self.connection.prepare(&format!("PRAGMA incremental_vacuum({now})"))?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
            left -= now;
            if slice.is_over() {
                break;
            }
        }
        Ok(())
    }
}

fn spare_of(pages: u64) -> u64 {
    (pages / 16).clamp(SPARE.0, SPARE.1)
}
