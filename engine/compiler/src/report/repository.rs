//! What a repository calls its files: GitHub looks for them from its root, whatever folder the
//! check ran in.

use std::path::{Component, Path, PathBuf};

/// The folder that a check runs in, and the root of the repository that it lies in.
#[derive(Debug, Clone)]
pub struct RepositoryPaths {
    folder: PathBuf,
    root: PathBuf,
}

impl RepositoryPaths {
    /// Looks for the root: the nearest folder at or above `folder` with a `.git`, else `folder`.
    pub fn around(folder: &Path) -> Self {
        let root = folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(folder);
        RepositoryPaths { folder: folder.to_owned(), root: root.to_owned() }
    }

    /// A file by its path from the root; one outside keeps the path that it was given.
    pub fn name(&self, file: &str) -> PathBuf {
        let mut whole = PathBuf::new();
        for part in self.folder.join(file).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    whole.pop();
                }
                part => whole.push(part),
            }
        }
        whole.strip_prefix(&self.root).map_or_else(|_| PathBuf::from(file), Path::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_the_root_of_its_repository() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("home/pipelines");
        std::fs::create_dir_all(&folder).expect("folders");
        let alone = RepositoryPaths::around(&folder);
        assert_eq!(alone.name("./a.kdl"), Path::new("a.kdl"));
        assert_eq!(alone.name("../b.kdl"), Path::new("../b.kdl"));
        std::fs::create_dir(root.path().join(".git")).expect("a repository");
        let paths = RepositoryPaths::around(&folder);
        assert_eq!(paths.name("./a.kdl"), Path::new("home/pipelines/a.kdl"));
        assert_eq!(paths.name("../b.kdl"), Path::new("home/b.kdl"));
        assert_eq!(paths.name("../../../c.kdl"), Path::new("../../../c.kdl"));
        assert_eq!(paths.name("/etc/d.kdl"), Path::new("/etc/d.kdl"));
        let absolute = folder.join("e.kdl");
        let absolute = absolute.to_str().expect("text");
        assert_eq!(paths.name(absolute), Path::new("home/pipelines/e.kdl"));
    }
}
