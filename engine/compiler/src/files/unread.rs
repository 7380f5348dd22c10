//! Why a file of the command line cannot be read, and what to do next.

use super::in_folder;
use language::nearest;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// More files than these are not listed.
const LISTED_MAX: usize = 5;

/// `cannot read pipelines/hom.kdl: there is no such file; did you mean pipelines/home.kdl?`
pub fn cannot_read(path: &Path, fault: &Error) -> String {
    let (reason, next) = if path.is_dir() {
        ("it is a folder".to_owned(), listed("name a file in it", path))
    } else {
        match fault.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => missing(path),
            ErrorKind::PermissionDenied => {
                ("permission denied".to_owned(), Some("change its owner or mode".to_owned()))
            }
            _ => (fault.to_string(), None),
        }
    };
    let next = next.map_or_else(String::new, |it| format!("; {it}"));
    format!("cannot read {}: {reason}{next}", path.display())
}

fn missing(path: &Path) -> (String, Option<String>) {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let gone = folder
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
        .last();
    if let Some(gone) = gone {
        let what = if gone.exists() { "is not a folder" } else { "does not exist" };
        return (format!("{} {what}", gone.display()), Some("correct the path".to_owned()));
    }
    let reason = "there is no such file".to_owned();
    let found = in_folder(folder).unwrap_or_default();
    let names = || found.iter().filter_map(|it| it.file_name()?.to_str());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(near) = nearest(name, names()) {
        let near = path.with_file_name(near);
        return (reason, Some(format!("did you mean {}?", near.display())));
    }
    (reason, listed("the folder has", folder))
}

/// The pipeline files of a folder, or how to begin one.
fn listed(beginning: &str, folder: &Path) -> Option<String> {
    let found = in_folder(folder).unwrap_or_default();
    if found.is_empty() {
        return Some("`engine new NAME` begins a pipeline".to_owned());
    }
    let short = |path: &Path| path.strip_prefix(".").unwrap_or(path).display().to_string();
    let mut names: Vec<String> = found.iter().take(LISTED_MAX).map(|it| short(it)).collect();
    if LISTED_MAX < found.len() {
        names.push("…".to_owned());
    }
    Some(format!("{beginning}: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let told = |name: &str| {
            let path = at(name);
            let fault = fs::read(&path).expect_err("it cannot be read");
            let whole = format!("{}/", folder.path().display());
            cannot_read(&path, &fault).replace(&whole, "")
        };
        let begins = "`engine new NAME` begins a pipeline";
        assert_eq!(told("a.kdl"), format!("cannot read a.kdl: there is no such file; {begins}"));
        fs::create_dir(at("pipelines")).expect("a folder");
        assert_eq!(told("pipelines"), format!("cannot read pipelines: it is a folder; {begins}"));
        for name in ["home.kdl", "garden.kdl"] {
            fs::write(at("pipelines").join(name), "").expect("it writes");
        }
        assert_eq!(
            told("pipelines"),
            "cannot read pipelines: it is a folder; name a file in it: pipelines/garden.kdl, \
             pipelines/home.kdl"
        );
        assert_eq!(
            told("pipelines/hom.kdl"),
            "cannot read pipelines/hom.kdl: there is no such file; did you mean \
             pipelines/home.kdl?"
        );
        assert_eq!(
            told("pipelines/else.kdl"),
            "cannot read pipelines/else.kdl: there is no such file; the folder has: \
             pipelines/garden.kdl, pipelines/home.kdl"
        );
        assert_eq!(
            told("pipelins/more/home.kdl"),
            "cannot read pipelins/more/home.kdl: pipelins does not exist; correct the path"
        );
        assert_eq!(
            told("pipelines/home.kdl/more.kdl"),
            "cannot read pipelines/home.kdl/more.kdl: pipelines/home.kdl is not a folder; \
             correct the path"
        );
        let denied = cannot_read(Path::new("x.kdl"), &Error::from(ErrorKind::PermissionDenied));
        assert_eq!(denied, "cannot read x.kdl: permission denied; change its owner or mode");
    }
}
