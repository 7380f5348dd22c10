//! What is checked: files, the files of folders, standard input.

use compiler::document;
use compiler::files::{self, PipelinePath};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A text to check.
#[derive(Debug, PartialEq)]
pub(super) enum Input {
    File(PathBuf),
    /// Standard input, and the file that it stands for.
    Text {
        file: PathBuf,
        bytes: Vec<u8>,
    },
}

impl Input {
    pub(super) fn name(&self) -> String {
        match self {
            Input::File(file) | Input::Text { file, .. } => file.display().to_string(),
        }
    }

    pub(super) fn place(&self, root: Option<&Path>) -> PipelinePath {
        match self {
            Input::File(file) | Input::Text { file, .. } => PipelinePath::of(file, root, None),
        }
    }
}

/// What paths came to.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) found: Vec<Input>,
    /// What could not be read, in words.
    pub(super) unread: Vec<String>,
    /// What to watch.
    pub(super) seen: BTreeSet<PathBuf>,
}

/// Whether a path means standard input.
pub(super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Everything that the paths name, each file once.
pub(super) fn of(paths: &[PathBuf], stdin_name: Option<&Path>) -> Inputs {
    let mut inputs = Inputs::default();
    for path in paths {
        if is_standard(path) {
            inputs.standard(stdin_name.unwrap_or(Path::new("<stdin>")));
        } else if path.is_dir() {
            inputs.folder(path);
        } else {
            inputs.seen.insert(path.clone());
            inputs.add(path.clone());
        }
    }
    inputs
}

impl Inputs {
    fn add(&mut self, path: PathBuf) {
        // A file of tests is checked with its pipeline.
        let input = Input::File(files::tested_by(&path).unwrap_or(path));
        if !self.found.contains(&input) {
            self.found.push(input);
        }
    }

    fn standard(&mut self, name: &Path) {
        let mut bytes = Vec::new();
        // One byte more than is read of a file, so that a longer text is refused as such.
        let limit = document::SIZE_MAX as u64 + 1;
        match std::io::stdin().lock().take(limit).read_to_end(&mut bytes) {
            Ok(_) => self.found.push(Input::Text { file: name.to_owned(), bytes }),
            Err(fault) => self.unread.push(format!("cannot read standard input: {fault}")),
        }
    }

    fn folder(&mut self, folder: &Path) {
        // The folder of this path is what is watched: a new file counts.
        self.seen.insert(folder.join("*.kdl"));
        match files::in_folder(folder) {
            Ok(files) if files.is_empty() => {
                self.unread.push(format!(
                    "there is no pipeline file in {}; `engine new NAME` begins one",
                    folder.display()
                ));
            }
            Ok(files) => {
                for file in files {
                    let beside = file.parent().unwrap_or(folder).join("*.kdl");
                    self.seen.insert(beside);
                    self.add(file);
                }
            }
            Err(fault) => self.unread.push(files::cannot_read(folder, &fault)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_pipeline_files_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["b.kdl", "a.kdl", "a.test.kdl", ".hidden.kdl", "notes.md"] {
            std::fs::write(at(name), "").expect("it writes");
        }
        std::fs::create_dir(at("common.kdl")).expect("it makes a folder");
        let below =
            [("common.kdl/c.kdl", ""), ("b.kdl", "include \"common.kdl/c.kdl\" optional=#true")];
        for (name, text) in below.into_iter().chain([("common.kdl/d.kdl", "")]) {
            std::fs::write(at(name), text).expect("it writes");
        }
        let inputs = of(&[at("b.kdl"), folder.path().to_owned()], None);
        let expected = ["b.kdl", "a.kdl", "common.kdl/d.kdl"].map(|it| Input::File(at(it)));
        assert_eq!(inputs.found, expected);
        assert_eq!(inputs.unread, Vec::<String>::new());
    }

    #[test]
    fn a_folder_without_pipelines_is_no_success() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(of(&[folder.path().to_owned()], None).unread.len(), 1);
    }
}
