//! Whether a file continues one that was read, and where.
//!
//! One pure function over what was observed. Rotators and editors do the same few things in
//! different orders: they rename, copy, truncate, delete and write again. What they mean by it
//! shows in three facts: how the file is related to the one that was read, how its bytes compare
//! with what was read, and what has become of the one that was read.
//!
//! *Invariant:* a line is skipped only where the same line was read at the same place, or where the
//! lines before it are the last ones that were read.

use super::place::ContentMatch;

/// How a file is related to one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileRelation {
    /// It is that file, by device and inode, but not as it was left.
    Same,
    /// It has the path that the other one had.
    TookPath,
    /// It has a name that rotation makes of the other one's.
    Rotated,
}

/// What has become of the file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFate {
    /// It has its name and is as it was left.
    Intact,
    /// It was begun again in place.
    Rewritten,
    /// It has another name.
    Renamed,
    /// It has the name of an editor's backup.
    Backup,
    /// No name leads to it any more.
    Gone,
}

/// How much it means when content is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProofStrength {
    /// One line, or lines that come again and again.
    Weak,
    /// Several lines, none of them twice.
    Strong,
    /// So many bytes that no banner explains them.
    Certain,
}

/// What was observed of a file and of the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileObservation {
    pub(super) relation: FileRelation,
    /// The file's content, compared with what was read of the other one.
    pub(super) content: ContentMatch,
    pub(super) fate: FileFate,
    pub(super) proof: ProofStrength,
    /// Where the last lines that were read end in it, when they are somewhere else.
    pub(super) found: Option<u64>,
    /// Where its last complete line ends, when it is shorter and has several lines. The beginning
    /// of one line proves nothing: most lines of a log begin alike.
    pub(super) cut: Option<u64>,
    /// It does not change at the moment.
    pub(super) is_settled: bool,
    /// The other one was read to its end.
    pub(super) is_read: bool,
    /// There was hardly a moment without a file at the path.
    pub(super) is_sudden: bool,
    /// It is longer than the other one.
    pub(super) is_longer: bool,
}

/// What to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileDecision {
    /// Look again later.
    Wait,
    /// Read on at the place where the other one was left.
    Continue,
    /// Read on at this place.
    ContinueAt(u64),
    /// Read it from its beginning.
    Begin,
}

/// Decides. The tests below are the table.
pub(super) fn decide(seen: &FileObservation) -> FileDecision {
    match seen.relation {
        FileRelation::Same => same(seen),
        FileRelation::TookPath => took_path(seen),
        FileRelation::Rotated => rotated(seen),
    }
}

fn same(seen: &FileObservation) -> FileDecision {
    match seen.content {
        ContentMatch::Nothing | ContentMatch::Equal => FileDecision::Continue,
        ContentMatch::Shorter | ContentMatch::Other => edited(seen),
    }
}

/// Part of what was read is in it, or it is something new.
fn edited(seen: &FileObservation) -> FileDecision {
    if !seen.is_settled {
        return FileDecision::Wait;
    }
    match seen.cut_place().or(seen.found) {
        Some(place) => FileDecision::ContinueAt(place),
        None => FileDecision::Begin,
    }
}

impl FileObservation {
    /// Where a file ends of which the last lines were taken out.
    fn cut_place(&self) -> Option<u64> {
        let is_proved = ProofStrength::Strong <= self.proof;
        self.cut.filter(|_| is_proved && self.content == ContentMatch::Shorter)
    }
}

fn took_path(seen: &FileObservation) -> FileDecision {
    if !seen.is_read {
        return FileDecision::Wait;
    }
    let is_equal = seen.content == ContentMatch::Equal;
    if is_equal && seen.proof == ProofStrength::Certain {
        return FileDecision::Continue;
    }
    match seen.fate {
        FileFate::Backup | FileFate::Gone if seen.is_sudden => match seen.content {
            ContentMatch::Nothing => FileDecision::Begin,
            ContentMatch::Equal => FileDecision::Continue,
            ContentMatch::Shorter | ContentMatch::Other => edited(seen),
        },
        // Where the old one lives on under a rotated name, the new one merely begins alike.
        _ => FileDecision::Begin,
    }
}

fn rotated(seen: &FileObservation) -> FileDecision {
    let is_strong = ProofStrength::Strong <= seen.proof;
    match (seen.fate, seen.content) {
        (_, ContentMatch::Other) => FileDecision::Begin,
        (FileFate::Rewritten, ContentMatch::Equal) => FileDecision::Continue,
        (FileFate::Gone, ContentMatch::Equal) if is_strong => FileDecision::Continue,
        (FileFate::Rewritten | FileFate::Gone, ContentMatch::Shorter) => edited(seen),
        (FileFate::Rewritten | FileFate::Gone, _) => FileDecision::Begin,
        (_, ContentMatch::Nothing) if seen.is_read => FileDecision::Begin,
        // A copy of what is still there: the lines come from the original.
        (_, ContentMatch::Nothing | ContentMatch::Shorter) => FileDecision::Wait,
        (_, ContentMatch::Equal) if seen.is_read && seen.is_longer && seen.is_settled => {
            FileDecision::Continue
        }
        (_, ContentMatch::Equal) => FileDecision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentMatch::{Equal, Nothing, Other, Shorter};
    use FileDecision::{Begin, Continue, ContinueAt, Wait};
    use FileFate::{Backup, Gone, Intact, Renamed, Rewritten};
    use ProofStrength::{Certain, Strong, Weak};

    /// Settled, read, sudden, with strong proof.
    fn seen(relation: FileRelation, fate: FileFate, content: ContentMatch) -> FileObservation {
        FileObservation {
            relation,
            content,
            fate,
            proof: Strong,
            found: None,
            cut: Some(5),
            is_settled: true,
            is_read: true,
            is_sudden: true,
            is_longer: true,
        }
    }

    #[track_caller]
    fn check(rows: &[(FileObservation, FileDecision)]) {
        for (row, (observation, expected)) in rows.iter().enumerate() {
            assert_eq!(decide(observation), *expected, "row {row}: {observation:?}");
        }
    }

    #[test]
    fn a_file_that_changed_in_place() {
        let same = |content| seen(FileRelation::Same, Intact, content);
        check(&[
            // Nothing happened, or an editor wrote the same and more.
            (same(Nothing), Continue),
            (same(Equal), Continue),
            (FileObservation { is_settled: false, ..same(Equal) }, Continue),
            // It is being written: an editor's save begins with an empty file.
            (FileObservation { is_settled: false, ..same(Shorter) }, Wait),
            (FileObservation { is_settled: false, ..same(Other) }, Wait),
            // Its last lines were taken out.
            (same(Shorter), ContinueAt(5)),
            (FileObservation { proof: Weak, ..same(Shorter) }, Begin),
            // It was begun again, and its first line begins as it always does.
            (FileObservation { cut: None, ..same(Shorter) }, Begin),
            // Lines before its last ones were taken out or in.
            (FileObservation { found: Some(7), ..same(Other) }, ContinueAt(7)),
            // It was truncated and begun again.
            (same(Other), Begin),
        ]);
    }

    #[test]
    fn a_file_that_took_the_path_of_another() {
        let took = |fate, content| seen(FileRelation::TookPath, fate, content);
        check(&[
            // The one before is read to its end first.
            (FileObservation { is_read: false, ..took(Renamed, Other) }, Wait),
            (FileObservation { is_read: false, ..took(Gone, Equal) }, Wait),
            // Rotation, also when the new file begins as the old one did.
            (took(Renamed, Other), Begin),
            (took(Renamed, Nothing), Begin),
            (took(Renamed, Equal), Begin),
            (took(Renamed, Shorter), Begin),
            (FileObservation { proof: Certain, ..took(Renamed, Equal) }, Continue),
            // An editor's save.
            (took(Gone, Equal), Continue),
            (took(Backup, Equal), Continue),
            (FileObservation { proof: Weak, ..took(Gone, Equal) }, Continue),
            (FileObservation { is_settled: false, ..took(Gone, Other) }, Wait),
            (FileObservation { is_settled: false, ..took(Gone, Shorter) }, Wait),
            (FileObservation { found: Some(7), ..took(Gone, Other) }, ContinueAt(7)),
            (took(Gone, Shorter), ContinueAt(5)),
            (FileObservation { proof: Weak, ..took(Gone, Shorter) }, Begin),
            (took(Gone, Other), Begin),
            (took(Gone, Nothing), Begin),
            // Deleted, and after a while another file is made.
            (FileObservation { is_sudden: false, ..took(Gone, Equal) }, Begin),
            (FileObservation { is_sudden: false, found: Some(7), ..took(Gone, Other) }, Begin),
            (FileObservation { is_sudden: false, proof: Certain, ..took(Gone, Equal) }, Continue),
        ]);
    }

    #[test]
    fn a_file_with_a_name_that_rotation_makes() {
        let rotated = |fate, content| seen(FileRelation::Rotated, fate, content);
        check(&[
            // The copy of `copytruncate`, after the original was truncated.
            (rotated(Rewritten, Equal), Continue),
            (rotated(Rewritten, Shorter), ContinueAt(5)),
            (FileObservation { cut: None, ..rotated(Rewritten, Shorter) }, Begin),
            (rotated(Rewritten, Other), Begin),
            (rotated(Rewritten, Nothing), Begin),
            // The copy before that, or one for itself.
            (rotated(Intact, Shorter), Wait),
            (FileObservation { is_longer: false, ..rotated(Intact, Equal) }, Wait),
            (FileObservation { is_read: false, ..rotated(Intact, Equal) }, Wait),
            (FileObservation { is_read: false, ..rotated(Intact, Nothing) }, Wait),
            (FileObservation { is_settled: false, ..rotated(Intact, Equal) }, Wait),
            (rotated(Intact, Equal), Continue),
            (rotated(Intact, Nothing), Begin),
            (rotated(Intact, Other), Begin),
            (rotated(Renamed, Shorter), Wait),
            // Moved to another file system.
            (rotated(Gone, Equal), Continue),
            (FileObservation { proof: Weak, ..rotated(Gone, Equal) }, Begin),
            (FileObservation { is_settled: false, ..rotated(Gone, Shorter) }, Wait),
            (rotated(Gone, Shorter), ContinueAt(5)),
            (rotated(Gone, Other), Begin),
        ]);
    }
}
