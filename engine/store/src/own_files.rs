//! Which files belong to a store, so that nothing else writes to them.
//!
//! A store is more than its database: SQLite, the lock, the engine's address and what was rescued
//! have names that begin with the database's.

use super::files::{FileId, beside, leads_to};
use std::path::{Path, PathBuf};

/// What the names of a store's files add to the name of the database. `.url` is the engine's
/// address.
const ENDS: [&str; 7] = ["", "-wal", "-shm", "-journal", ".lock", ".url", super::files::PROBE];
/// What the names begin with of what was saved or set aside, after the name of the database.
const KEPT: [&str; 2] = [super::files::RESCUED, "-wal.strange"];

/// The files that the store at `store` has while it is open, whether they are there or not.
pub fn store_files(store: &Path) -> impl Iterator<Item = PathBuf> + use<'_> {
    ENDS.iter().map(move |end| beside(store, end))
}

/// Whether a path is one of a file of the store at `store`, as both are written: in the same
/// folder, with a name that is one of the store's.
pub fn is_store_name(store: &Path, path: &Path) -> bool {
    let names = (store.file_name(), path.file_name());
    let (Some(own), Some(name)) = names else { return false };
    let (own, name) = (own.as_encoded_bytes(), name.as_encoded_bytes());
    let Some(end) = name.strip_prefix(own) else { return false };
    let is_own = ENDS.iter().any(|it| it.as_bytes() == end)
        || KEPT.iter().any(|it| end.starts_with(it.as_bytes()));
    is_own && store.parent() == path.parent()
}

/// The same of what the paths lead to: through links, and by another name of the same file.
pub fn is_store_file(store: &Path, path: &Path) -> bool {
    let is_named = match (leads_to(store), leads_to(path)) {
        (Some(store), Some(path)) => is_store_name(&store, &path),
        _ => is_store_name(store, path),
    };
    let is_same = |id: FileId| store_files(store).any(|own| FileId::at(&own) == Some(id));
    is_named || FileId::at(path).is_some_and(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const OWN: [&str; 9] = [
        "a.db",
        "a.db-wal",
        "a.db-shm",
        "a.db-journal",
        "a.db.lock",
        "a.db.url",
        "a.db.probe",
        "a.db.rescued-20260101T000000",
        "a.db-wal.strange",
    ];

    #[test]
    fn the_files_of_a_store_are_known_by_name_through_links_and_by_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("data")).unwrap();
        symlink(at("data"), at("link")).unwrap();
        let store = at("data/a.db");
        for name in OWN {
            // None of them is there yet, nor is the folder of the last one.
            for way in ["data", "link", "data/../data", "data/./x/.."] {
                let path = at(way).join(name);
                assert!(is_store_file(&store, &path), "{}", path.display());
            }
            assert!(is_store_name(&store, &at("data").join(name)), "{name}");
            symlink(at("data").join(name), at("to")).unwrap();
            assert!(is_store_file(&store, &at("to")), "a link to {name}, which is not there");
            std::fs::remove_file(at("to")).unwrap();
        }
        std::fs::write(&store, "x").unwrap();
        std::fs::hard_link(&store, at("other")).unwrap();
        assert!(is_store_file(&store, &at("other")), "another name of the same file");
    }

    #[test]
    fn a_file_beside_the_store_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("a.db");
        std::fs::write(&store, "x").unwrap();
        for name in ["a.dbx", "a.db.jsonl", "b.db", "a", "x/a.db", "a.db.locked", "a.db/x"] {
            let path = folder.path().join(name);
            assert!(!is_store_file(&store, &path) && !is_store_name(&store, &path), "{name}");
        }
    }
}
