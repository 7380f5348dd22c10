//! What the names of files say: which one a rotated file had before, and which ones editors give
//! to the copy that they keep. Only hints; what files hold decides.

/// What rotation puts behind a name besides numbers and dates.
const OLD_WORDS: &[&str] = &["old", "bak", "backup", "orig", "copy", "prev", "save"];
/// What an editor, or `sed -i` and its like, puts behind the name of the file that it replaces.
const BACKUP_ENDINGS: &[&str] = &["~", ".bak", ".orig", ".backup", ".save"];

/// The names that a rotated file may have had before, the likeliest first: `app.log` for
/// `app.log.2`, `app.log-20261128`, `app-20261128.log`, `app.log.old`.
pub(super) fn names_before(name: &str) -> Vec<String> {
    let mut names: Vec<String> = without_mark(name).map(str::to_owned).into_iter().collect();
    if let Some((stem, ending)) = name.rsplit_once('.')
        && let Some(stem) = without_mark(stem)
    {
        names.push(format!("{stem}.{ending}"));
    }
    names
}

/// Whether `name` is the one under which an editor keeps what `of` was before it saved, or under
/// which NFS hides a file that was deleted while somebody had it open.
pub(super) fn is_backup(name: &str, of: &str) -> bool {
    if name.starts_with(".nfs") {
        return true;
    }
    let Some(ending) = name.strip_prefix(of) else { return false };
    let is_numbered = ending.starts_with(".~") && ending.ends_with('~');
    is_numbered || BACKUP_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Whether content under this name is compressed, going by its ending.
pub(super) fn is_compressed(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ["gz", "zst", "bz2", "xz", "lz4", "zip", "z"].iter().any(|it| ending.eq_ignore_ascii_case(it))
}

fn without_mark(text: &str) -> Option<&str> {
    let rest = text.strip_suffix('~').or_else(|| without_word(text)).or_else(|| without_date(text));
    rest.filter(|it| !it.is_empty())
}

fn without_word(text: &str) -> Option<&str> {
    let (rest, word) = text.rsplit_once(['.', '-', '_'])?;
    OLD_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)).then_some(rest)
}

/// Takes off digits and what stands between them in dates, down to the sign before them.
fn without_date(text: &str) -> Option<&str> {
    let is_mark = |letter: char| letter.is_ascii_digit() || "._-:+TZ".contains(letter);
    let rest = text.trim_end_matches(is_mark);
    let mark = &text[rest.len()..];
    let is_apart = mark.starts_with(['.', '-', '_']);
    (is_apart && mark.contains(|letter: char| letter.is_ascii_digit())).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_name_leads_back_to_the_one_before() {
        for name in [
            "app.log.1",
            "app.log.27",
            "app.log-20261128",
            "app.log.2026-11-28",
            "app.log.2026-11-28T12:00:00Z.3",
            "app.log.20261128-101500",
            "app-20261128.log",
            "app.3.log",
            "app.log.old",
            "app.old.log",
            "app.log.BAK",
            "app.log~",
        ] {
            assert!(names_before(name).iter().any(|it| it == "app.log"), "{name}");
        }
        for name in ["app.log", "app2.log", "applog.1", "1", ".1", "app.log.txt", "old"] {
            assert!(!names_before(name).iter().any(|it| it == "app.log"), "{name}");
        }
    }

    #[test]
    fn a_backup_of_an_editor_is_known_by_its_name() {
        for name in ["app.log~", "app.log.bak", "app.log.ORIG", "app.log.~3~", ".nfs0000a1"] {
            assert!(is_backup(name, "app.log"), "{name}");
        }
        for name in ["app.log", "app.log.1", "app.log.old", "other.log~", "app.log-20261128"] {
            assert!(!is_backup(name, "app.log"), "{name}");
        }
    }

    #[test]
    fn compressed_files_are_known_by_their_ending() {
        assert!(is_compressed("app.log.1.gz") && is_compressed("A.ZST") && is_compressed("a.xz"));
        assert!(!is_compressed("app.log") && !is_compressed("gz"));
    }
}
