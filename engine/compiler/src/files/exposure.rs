//! Files that more people may read or change than a pipeline's secrets and rules are meant for.

use kernel::health::{Health, HealthProblem, PartHealth, PartRole};
use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everybody may write.
const ANYBODY_WRITES: u32 = 0o002;
/// Only its owner may remove an entry of such a folder, whoever may write to it.
const STICKY: u32 = 0o1000;
/// The group or everybody may do anything at all.
const NOT_ONLY_OWNER: u32 = 0o077;

/// What is too open about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileExposure {
    /// Anybody on the machine may change it.
    Writable,
    /// Anybody on the machine may put another file in its place.
    Replaceable,
    /// Others than its owner may read it, and it is a secret.
    Readable,
}

impl fmt::Display for FileExposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileExposure::Writable => "anybody on this machine can change it",
            FileExposure::Replaceable => {
                "anybody on this machine can replace it: its folder is writable"
            }
            FileExposure::Readable => "users other than its owner can read it",
        })
    }
}

impl FileExposure {
    /// The command that closes it, for a file of this name.
    pub fn advice(self, name: &str) -> String {
        match self {
            FileExposure::Writable => format!("chmod o-w {name}"),
            FileExposure::Replaceable => format!("chmod o-w the folder of {name}"),
            FileExposure::Readable => format!("chmod 600 {name}"),
        }
    }
}

/// What is too open about the file at `path`, if anything; with links followed. Nothing where it
/// cannot be looked at.
pub fn file_exposure(path: &Path, is_secret: bool) -> Option<FileExposure> {
    let mode = |path: &Path| path.metadata().ok().map(|metadata| metadata.permissions().mode());
    let file = mode(path)?;
    if file & ANYBODY_WRITES != 0 {
        return Some(FileExposure::Writable);
    }
    let path = path.canonicalize().ok()?;
    let folder = mode(path.parent()?)?;
    if folder & ANYBODY_WRITES != 0 && folder & STICKY == 0 {
        return Some(FileExposure::Replaceable);
    }
    (is_secret && file & NOT_ONLY_OWNER != 0).then_some(FileExposure::Readable)
}

/// Says so in the state of the parts, and that it is over.
pub fn report_exposure(
    health: &Arc<Health>,
    files: &BTreeSet<PathBuf>,
    secrets: &BTreeSet<PathBuf>,
) {
    let files = files.iter().map(|file| (file.as_path(), false));
    report(&health.part(PartRole::Config, ""), health, "file-exposed", files);
    let secrets = secrets.iter().map(|secret| (secret.as_path(), true));
    report(&health.part(PartRole::Secret, ""), health, "secret-exposed", secrets);
}

fn report<'a>(
    part: &PartHealth,
    health: &Health,
    code: &'static str,
    files: impl Iterator<Item = (&'a Path, bool)>,
) {
    let mut open = BTreeSet::new();
    for (path, is_secret) in files {
        let Some(exposure) = file_exposure(path, is_secret) else { continue };
        let name = path.display().to_string();
        let problem = HealthProblem::degraded(code, format!("{name}: {exposure}"));
        part.report(problem.about(name.as_str()).advise(exposure.advice(&name)));
        open.insert(name);
    }
    let problems = health.of(part.part()).into_iter().flat_map(|it| it.problems);
    for problem in problems.map(|problem| problem.problem).filter(|problem| problem.code == code) {
        if !open.contains(&*problem.subject) {
            part.clear_about(code, &problem.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_open_is_told_by_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "").unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        let check = |mode, of_file, of_secret| {
            set(&path, mode);
            assert_eq!(file_exposure(&path, false), of_file, "{mode:o}");
            assert_eq!(file_exposure(&path, true), of_secret, "{mode:o}");
        };
        use FileExposure::{Readable, Replaceable, Writable};
        check(0o600, None, None);
        check(0o640, None, Some(Readable));
        check(0o644, None, Some(Readable));
        check(0o606, Some(Writable), Some(Writable));
        set(folder.path(), 0o777);
        check(0o600, Some(Replaceable), Some(Replaceable));
        set(folder.path(), 0o1777);
        check(0o600, None, None);
        assert_eq!(file_exposure(&folder.path().join("none"), true), None);
    }

    #[test]
    fn a_file_that_is_too_open_is_reported_until_it_is_not_or_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(kernel::env::SystemClock::default());
        let health = Health::new(clock);
        let paths = ["a.kdl", "b.kdl", "token"].map(|it| folder.path().join(it));
        for path in &paths {
            std::fs::write(path, "").unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
        }
        let problems = |files: &[usize], secrets: &[usize]| -> Vec<String> {
            let files = files.iter().map(|file| paths[*file].clone()).collect();
            let secrets = secrets.iter().map(|secret| paths[*secret].clone()).collect();
            report_exposure(&health, &files, &secrets);
            let problems = health.report().into_iter().flat_map(|it| it.problems);
            problems
                .map(|problem| problem.problem)
                .map(|problem| format!("{} {}", problem.code, problem.advice))
                .collect()
        };
        let at = |number: usize| paths[number].display();
        let expected = [
            format!("file-exposed chmod o-w {}", at(0)),
            format!("file-exposed chmod o-w {}", at(1)),
            format!("secret-exposed chmod o-w {}", at(2)),
        ];
        assert_eq!(problems(&[0, 1], &[2]), expected);
        assert_eq!(problems(&[0, 1], &[2]), expected, "told once");
        std::fs::set_permissions(&paths[2], PermissionsExt::from_mode(0o644)).unwrap();
        let readable = format!("secret-exposed chmod 600 {}", at(2));
        assert_eq!(problems(&[1], &[2]), [expected[1].clone(), readable]);
        std::fs::set_permissions(&paths[1], PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(problems(&[1], &[]), [""; 0]);
    }
}
